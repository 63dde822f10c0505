"""Writing down one pass or sweep: what was read and what was decided, in the caller's one transaction."""

from __future__ import annotations

from itertools import chain
from typing import Any

from sqlalchemy import Connection, select, update

from bitrix_sync.model.facts import Cursor, Reached
from bitrix_sync.model.items import DEAL
from bitrix_sync.model.operations import Changeset
from bitrix_sync.store import (
    changes,
    deals,
    escalations,
    names,
    operations,
    steps,
    sweeps,
    tasks,
    traces,
    trial,
    visits,
)
from bitrix_sync.store.database import upsert
from bitrix_sync.store.mapping import from_row, to_row
from bitrix_sync.store.schema import cursors, portal


def cursor(connection: Connection) -> Cursor | None:
    """How far the portal has been read; None before the first start."""
    row = connection.execute(select(portal)).one()
    if row.history_id is None:
        return None
    others = {one.kind: from_row(Reached, one) for one in connection.execute(select(cursors).order_by(cursors.c.kind))}
    return Cursor({DEAL.name: from_row(Reached, row), **others}, row.tasks_time, row.activities_time)


def write(connection: Connection, made: Changeset) -> list[int]:
    """Everything in the changeset; what is known already (visits, moments, keys, told) is left as it is, but for
    moments of which the latest counts.

    Returns the ids of the operations that are new, rising: those of the decisions in their order, then the others.
    """
    decisions = made.decisions
    visits.forget(connection, made.retired, made.at)
    visits.forget_tasks(connection, tasks.find(connection, made.unmade), made.at)
    released = tasks.find(connection, made.released)
    tasks.lose_numbers(connection, released)
    visits.write(connection, made.visits, history=made.history)
    changes.note_fields(connection, made.deals)
    deals.write(connection, made.deals, made.gone_deals)
    visits.note_movers(connection, made.deals)
    deals.note_unjudged(connection, made)
    deals.wake(connection, decisions)
    records = chain(made.tasks, *(decision.tasks for decision in decisions))
    ended = released | tasks.write(connection, [record.noticed(made.at) for record in records])
    tasks.write_deadline_changes(connection, made.slips)
    if made.ahead is not None:
        steps.write(connection, made.ahead)
    visits.write_moments(connection, decisions)
    planned = [*chain.from_iterable(decision.operations for decision in decisions), *made.operations]
    ids, acted_on = operations.write(connection, planned, made.at)
    operations.renew(connection, made.renewed, made.at)
    operations.doubt(connection, made.doubted)
    operations.drop_orphans(connection, ended | acted_on, made.at)
    traces.write(connection, [*chain.from_iterable(decision.traces for decision in decisions), *made.traces])
    trial.write(connection, made.trial, made.at)
    names.note_told(connection, made.told, made.at)
    escalations.write(connection, made.escalated)
    names.note_picks(connection, made.picks)
    if made.sweep is not None:
        sweeps.close(connection, *made.sweep)
    read: dict[str, Any] = {}
    if made.cursor is not None:
        others = {kind: reached for kind, reached in made.cursor.kinds.items() if kind != DEAL.name}
        upsert(connection, cursors, [to_row(reached, kind=kind) for kind, reached in others.items()])
        times = {"tasks_time": made.cursor.tasks_time, "activities_time": made.cursor.activities_time}
        read = to_row(made.cursor.deals, **times)
    connection.execute(update(portal).where(portal.c.id == 1).values(recorded=made.at, **read))
    return ids
