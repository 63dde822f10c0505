"""How high what stays undone was told last. Inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, select

from bitrix_sync.model.operations import Escalation
from bitrix_sync.store.database import upsert
from bitrix_sync.store.mapping import from_row, rows_with, to_row
from bitrix_sync.store.schema import escalations, told


def write(connection: Connection, steps: Iterable[Escalation]) -> None:
    """The steps that are told now, instead of those before."""
    upsert(connection, escalations, [to_row(one) for one in steps])


def known(connection: Connection, keys: Iterable[str]) -> dict[str, Escalation]:
    """The last step of each of the keys. What was told when steps were not counted yet is at the first, of no spell."""
    keys = list(keys)
    found = {
        row.key: Escalation(row.key, None, 1, row.at) for row in rows_with(connection, select(told), told.c.key, keys)
    }
    rows = rows_with(connection, select(escalations), escalations.c.key, keys)
    return found | {row.key: from_row(Escalation, row) for row in rows}
