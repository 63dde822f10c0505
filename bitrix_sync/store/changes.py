"""What was: values of fields that rules use, and absences of people, each with when it came to be known.

Nothing is decided from them yet; whoever later asks what held on a day finds it here. Inside the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from bitrix_sync.model.facts import Absence, Deal
from bitrix_sync.model.items import Item
from bitrix_sync.store.mapping import change_with, rows_with
from bitrix_sync.store.schema import absences, changes, deals

OWNER = "ASSIGNED_BY_ID"
"""The portal's name of a deal's responsible, a field that every rule may use."""


def note_fields(connection: Connection, read: Collection[Deal]) -> None:
    """Values of these deals that are not those known, before the deals themselves are written; at first sight all.
    They hold since the deal's last change at the latest."""
    latest = {deal.id: deal for deal in read}
    query = select(deals.c.id, deals.c.fields, deals.c.responsible_id)
    known: dict[int, dict[str, Any]] = {
        row.id: {**row.fields, OWNER: row.responsible_id} for row in rows_with(connection, query, deals.c.id, latest)
    }
    rows = [
        {"kind": item.kind.name, "item": item.id, "field": field, "value": value, "at": deal.changed}
        for deal in latest.values()
        for item in (Item.of(deal.id),)
        for field, value in {**deal.fields, OWNER: deal.responsible_id}.items()
        if deal.id not in known or field not in known[deal.id] or known[deal.id][field] != value
    ]
    if rows:
        connection.execute(insert(changes), rows)


def known_absences(connection: Connection, *, after: datetime) -> tuple[Absence, ...]:
    """Absences that end after a moment, as the portal told them last, those that are over as they were."""
    query = select(absences).where(absences.c.dropped.is_(None), absences.c.end > after).order_by(absences.c.id)
    return tuple(Absence(row.user_id, row.begin, row.end) for row in connection.execute(query))


def note_absences(connection: Connection, told: Collection[Absence], now: datetime) -> None:
    """The absences that the portal tells ``now``: new ones are known from now on, those it tells no more until now.
    One that is over stays as it was."""
    standing = {
        Absence(row.user_id, row.begin, row.end): row.id
        for row in connection.execute(select(absences).where(absences.c.dropped.is_(None), absences.c.end > now))
    }
    new = [{"user_id": one.user_id, "begin": one.start, "end": one.end, "known": now} for one in {*told} - {*standing}]
    if new:
        connection.execute(insert(absences), new)
    untold = [row for one, row in standing.items() if one not in told]
    change_with(connection, update(absences).values(dropped=now), absences.c.id, untold)
