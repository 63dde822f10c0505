"""What is known of deals. Inside the caller's transaction; ids in portions, no limit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Column, Connection, Row, Table, bindparam, delete, select, update

from bitrix_sync.model.actions import Action, Kind
from bitrix_sync.model.facts import LOST, WON, Deal, Unread, Visit
from bitrix_sync.model.operations import Changeset, DealState, Decision, State, TaskRecord
from bitrix_sync.store.database import upsert
from bitrix_sync.store.mapping import action_of, change_with, from_row, rows_with, to_row
from bitrix_sync.store.schema import deals, moments, operations, portal, tasks, unjudged, visits

_DAY = timedelta(hours=24)
SOON, SELDOM = timedelta(seconds=30), timedelta(hours=1)
"""When a deal is asked for again of which something could not be read, at first and at the latest."""
_LOST = (State.FAILED, State.DROPPED)
_CHANGES = (Kind.DEADLINE, Kind.PEOPLE, Kind.COMPLETE, Kind.DELETE)


def _by_deal(
    connection: Connection, table: Table, ids: Sequence[int], *columns: Column[Any]
) -> dict[int, list[Row[Any]]]:
    found: dict[int, list[Row[Any]]] = defaultdict(list)
    query = select(*columns) if columns else select(table)
    for row in rows_with(connection, query.order_by(*table.primary_key), table.c.deal_id, ids):
        found[row.deal_id].append(row)
    return found


def deal_states(connection: Connection, ids: Iterable[int], *, now: datetime | None = None) -> dict[int, DealState]:
    """All that is known of each deal asked for; ``deal`` is None for one that is gone or was never seen. ``moved``
    holds the automatic moves of the 24 hours before ``now`` (the portal's; None: before the last recording)."""
    wanted = sorted(set(ids))
    if not wanted:
        return {}
    found = known_deals(connection, wanted)
    seen = _by_deal(connection, visits, wanted)
    made = _by_deal(connection, tasks, wanted)
    happened = _by_deal(connection, moments, wanted)
    o = operations.c
    decided = _by_deal(connection, operations, wanted, o.deal_id, o.key, o.kind, o.state, o.created, o.task)
    latest = now or connection.execute(select(portal.c.recorded)).scalar_one()
    underway = _underway(connection, wanted)
    return {
        deal: DealState(
            deal_id=deal,
            deal=found.get(deal),
            visits=tuple(from_row(Visit, row) for row in seen.get(deal, ())),
            tasks=tuple(from_row(TaskRecord, row) for row in made.get(deal, ()) if row.occurrence),
            moments={(row.visit_id, row.name): row.at for row in happened.get(deal, ())},
            keys=frozenset(row.key for row in decided.get(deal, ())),
            moved=_moved(decided.get(deal, ()), latest),
            handled=frozenset(row.id for row in seen.get(deal, ()) if row.handled),
            unmade=_unmade(decided.get(deal, ())),
            underway=underway.get(deal, {}),
        )
        for deal in wanted
    }


def _moved(decided: Iterable[Row[Any]], latest: datetime) -> tuple[datetime, ...]:
    """When the service moved the deal, or will have, in the last 24 hours."""
    moves = (row for row in decided if row.kind == Kind.MOVE_DEAL and row.state not in _LOST)
    return tuple(row.created for row in moves if row.created > latest - _DAY)


def _unmade(decided: Iterable[Row[Any]]) -> dict[str, State]:
    """Occurrences of which there is no task for the time being, or ever."""
    creations = (row for row in decided if row.kind == Kind.CREATE)
    return {row.task: State(row.state) for row in creations if row.state in (*_LOST, State.HELD)}


def _underway(
    connection: Connection, deals_wanted: Sequence[int]
) -> dict[int, dict[tuple[str, Kind], tuple[Action, ...]]]:
    """Changes of deadlines and people, and endings, that are decided and may or may not have reached the portal."""
    o = operations.c
    query = (
        select(o.deal_id, o.kind, o.payload, tasks.c.occurrence)
        .join(tasks, tasks.c.id == o.task_row)
        .where(
            o.kind.in_([kind.value for kind in _CHANGES]),
            o.state.in_([State.PLANNED.value, State.SENDING.value, State.UNKNOWN.value]),
        )
        .order_by(o.id)
    )
    found: dict[int, dict[tuple[str, Kind], tuple[Action, ...]]] = defaultdict(dict)
    for row in rows_with(connection, query, o.deal_id, deals_wanted):
        name = (row.occurrence, Kind(row.kind))
        found[row.deal_id][name] = (*found[row.deal_id].get(name, ()), action_of(row))
    return found


def known_deals(
    connection: Connection, ids: Iterable[int] | None = None, *, open_only: bool = False
) -> dict[int, Deal]:
    """Deals by id as last read, without those that are gone; None: all. ``open_only``: neither won nor lost."""
    query = select(deals).where(deals.c.gone.is_(False)).order_by(deals.c.id)
    if open_only:
        query = query.where(deals.c.semantic.not_in([WON, LOST]))
    if ids is None:
        return {row.id: from_row(Deal, row) for row in connection.execute(query)}
    return {row.id: from_row(Deal, row) for row in rows_with(connection, query, deals.c.id, ids)}


def deal_titles(connection: Connection, ids: Iterable[int]) -> dict[int, str]:
    """The titles of deals, gone ones too, by id."""
    query = select(deals.c.id, deals.c.title)
    return {row.id: row.title for row in rows_with(connection, query, deals.c.id, ids)}


def due_deals(connection: Connection, now: datetime) -> list[int]:
    """Deals whose ``wake_at`` has come, and those of which something that could not be read is to be asked for; the
    longest waiting first."""
    query = select(deals.c.id).where(deals.c.wake_at <= now, deals.c.gone.is_(False)).order_by(deals.c.wake_at)
    waiting = select(unjudged.c.deal_id).where(unjudged.c.again <= now).order_by(unjudged.c.again)
    return list(dict.fromkeys([*connection.execute(waiting).scalars(), *connection.execute(query).scalars()]))


def unjudged_deals(connection: Connection) -> dict[int, tuple[datetime, Unread]]:
    """Deals that wait to be judged, for something needed could not be read: since when, and what."""
    query = select(unjudged).order_by(unjudged.c.since, unjudged.c.deal_id)
    return {row.deal_id: (row.since, Unread(row.code, row.why)) for row in connection.execute(query)}


def write(connection: Connection, read: Iterable[Deal], gone: Sequence[int]) -> None:
    """Deals as read; those that the portal has no more wait for nothing."""
    upsert(connection, deals, [to_row(deal, gone=False) for deal in read])
    change_with(connection, update(deals).values(gone=True, wake_at=None), deals.c.id, gone)


def note_unjudged(connection: Connection, made: Changeset) -> None:
    """What waits longer is asked for more seldom."""
    judged = {decision.deal_id for decision in made.decisions} - made.unjudged.keys()
    change_with(connection, delete(unjudged), unjudged.c.deal_id, judged)
    waiting = rows_with(connection, select(unjudged.c.deal_id, unjudged.c.since), unjudged.c.deal_id, made.unjudged)
    since = {row.deal_id: row.since for row in waiting}
    rows = []
    for deal, end in made.unjudged.items():
        begun = since.get(deal, made.at)
        rest = min(max((made.at - begun) / 2, SOON), SELDOM)
        values = {"deal_id": deal, "since": begun, "again": made.at + rest, "code": end.code, "why": end.why}
        rows.append(values)
    upsert(connection, unjudged, rows)


def wake(connection: Connection, decisions: Iterable[Decision]) -> None:
    """When each deal is to be looked at though nothing changes."""
    wakes = [{"deal": decision.deal_id, "wake": decision.wake_at} for decision in decisions]
    if wakes:
        connection.execute(
            update(deals)
            .where(deals.c.id == bindparam("deal"), deals.c.gone.is_(False))
            .values(wake_at=bindparam("wake")),
            wakes,
        )
