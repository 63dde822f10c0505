"""Reading back what is known of deals and tasks. Inside the caller's transaction; ids in portions, no limit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Column, Connection, Row, Table, func, select

from bitrix_sync.model.actions import Action, Kind
from bitrix_sync.model.facts import LOST, OPEN_STATUSES, WON, Deal, Unread, Visit
from bitrix_sync.model.keys import foreign_id
from bitrix_sync.model.operations import DeadlineChange, DealState, State, TaskRecord, Trace
from bitrix_sync.store.rows import action_of, chunks, to_deal, to_slip, to_task, to_trace, to_visit
from bitrix_sync.store.schema import deals, moments, operations, portal, slips, tasks, traces, unjudged, visits

_DAY = timedelta(hours=24)
_CHANGES = (Kind.DEADLINE, Kind.PEOPLE, Kind.COMPLETE, Kind.DELETE)


def _by_deal(
    connection: Connection, table: Table, ids: Sequence[int], *columns: Column[Any]
) -> dict[int, list[Row[Any]]]:
    found: dict[int, list[Row[Any]]] = defaultdict(list)
    query = select(*columns) if columns else select(table)
    for part in chunks(ids):
        for row in connection.execute(query.where(table.c.deal_id.in_(part)).order_by(*table.primary_key)):
            found[row.deal_id].append(row)
    return found


def deal_states(connection: Connection, ids: Iterable[int], *, now: datetime | None) -> dict[int, DealState]:
    """All that is known of each deal. ``moved`` is of the 24 hours before ``now``, else before the last recording."""
    wanted = sorted(set(ids))
    found = known_deals(connection, wanted, open_only=False)
    seen = _by_deal(connection, visits, wanted)
    made = _by_deal(connection, tasks, wanted)
    happened = _by_deal(connection, moments, wanted)
    o = operations.c
    decided = _by_deal(connection, operations, wanted, o.deal_id, o.key, o.kind, o.state, o.created, o.task)
    latest = now or connection.execute(select(portal.c.recorded)).scalar_one()
    lost = (State.FAILED.value, State.DROPPED.value)
    underway = _underway(connection, wanted)
    return {
        deal: DealState(
            deal_id=deal,
            deal=found.get(deal),
            visits=tuple(to_visit(row) for row in seen.get(deal, ())),
            tasks=tuple(to_task(row) for row in made.get(deal, ()) if row.occurrence is not None),
            moments={(row.visit_id, row.name): row.at for row in happened.get(deal, ())},
            keys=frozenset(row.key for row in decided.get(deal, ())),
            moved=tuple(
                row.created
                for row in decided.get(deal, ())
                if row.kind == Kind.MOVE_DEAL.value and row.state not in lost and row.created > latest - _DAY
            ),
            handled=frozenset(row.id for row in seen.get(deal, ()) if row.handled),
            unmade={
                row.task: State(row.state)
                for row in decided.get(deal, ())
                if row.kind == Kind.CREATE.value and row.state in (*lost, State.HELD.value)
            },
            underway=underway.get(deal, {}),
        )
        for deal in wanted
    }


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
    for part in chunks(deals_wanted):
        for row in connection.execute(query.where(o.deal_id.in_(part))):
            name = (row.occurrence, Kind(row.kind))
            found[row.deal_id][name] = (*found[row.deal_id].get(name, ()), action_of(row))
    return found


def known_deals(connection: Connection, ids: Sequence[int] | None, *, open_only: bool) -> dict[int, Deal]:
    """Deals that are not gone, by id; ``ids`` None: all."""
    query = select(deals).where(deals.c.gone.is_(False)).order_by(deals.c.id)
    if open_only:
        query = query.where(deals.c.semantic.not_in([WON, LOST]))
    if ids is None:
        return {row.id: to_deal(row) for row in connection.execute(query)}
    return {
        row.id: to_deal(row) for part in chunks(ids) for row in connection.execute(query.where(deals.c.id.in_(part)))
    }


def deal_titles(connection: Connection, ids: Iterable[int]) -> dict[int, str]:
    """Titles of deals, gone ones too."""
    return {
        row.id: row.title
        for part in chunks(list(ids))
        for row in connection.execute(select(deals.c.id, deals.c.title).where(deals.c.id.in_(part)))
    }


def present_visits(connection: Connection, stages: Iterable[str]) -> dict[int, Visit]:
    """The latest visit of each deal that stands in one of these stages, if it is to that stage."""
    latest = select(func.max(visits.c.id)).where(visits.c.deal_id == deals.c.id).correlate(deals).scalar_subquery()
    query = (
        select(visits)
        .join(deals, visits.c.id == latest)
        .where(deals.c.stage_id.in_(list(stages)), deals.c.gone.is_(False), visits.c.stage_id == deals.c.stage_id)
        .order_by(visits.c.id)
    )
    return {row.deal_id: to_visit(row) for row in connection.execute(query)}


def due_deals(connection: Connection, now: datetime) -> list[int]:
    """Deals that asked to be looked at by now, the longest waiting first."""
    query = select(deals.c.id).where(deals.c.wake_at <= now, deals.c.gone.is_(False)).order_by(deals.c.wake_at)
    waiting = select(unjudged.c.deal_id).where(unjudged.c.again <= now).order_by(unjudged.c.again)
    return list(dict.fromkeys([*connection.execute(waiting).scalars(), *connection.execute(query).scalars()]))


def unjudged_deals(connection: Connection) -> dict[int, tuple[datetime, Unread]]:
    """Deals of which something needed could not be read: since when, and what."""
    query = select(unjudged).order_by(unjudged.c.since, unjudged.c.deal_id)
    return {row.deal_id: (row.since, Unread(row.code, row.why)) for row in connection.execute(query)}


def known_visits(connection: Connection, ids: Iterable[int]) -> dict[int, Visit]:
    """Those of the ids that are recorded, with what they were."""
    return {
        row.id: to_visit(row)
        for part in chunks(list(ids))
        for row in connection.execute(select(visits).where(visits.c.id.in_(part)))
    }


def newest_visit(connection: Connection) -> Visit | None:
    """The visit with the highest id."""
    row = connection.execute(select(visits).order_by(visits.c.id.desc()).limit(1)).first()
    return None if row is None else to_visit(row)


def anchors(connection: Connection, newest: int, older: int) -> list[Visit]:
    """By which a portal is known: so many of the newest visits, and others spread over all before them, by id."""
    latest = [to_visit(row) for row in connection.execute(select(visits).order_by(visits.c.id.desc()).limit(newest))]
    if len(latest) < newest:
        return latest[::-1]
    before = select(visits.c.id).where(visits.c.id < latest[-1].id).order_by(visits.c.id)
    ids = list(connection.execute(before).scalars())
    spread = known_visits(connection, ids[:: max(len(ids) // older, 1)][:older])
    return sorted([*spread.values(), *latest], key=lambda visit: visit.id)


def visits_from(connection: Connection, first: int, before: datetime) -> list[Visit]:
    """Visits with this id or a higher one that were entered before a moment."""
    query = select(visits).where(visits.c.id >= first, visits.c.entered < before).order_by(visits.c.id)
    return [to_visit(row) for row in connection.execute(query)]


def task_records(
    connection: Connection, *, refs: Collection[str] | None, portal_ids: Collection[int] | None
) -> list[TaskRecord]:
    """Tasks by any of their names, in order of making; both None: all."""
    if refs is None and portal_ids is None:
        return [to_task(row) for row in connection.execute(select(tasks).order_by(tasks.c.id))]
    found: dict[int, TaskRecord] = {}
    for column, names in [*_named(refs or ()), (tasks.c.portal_id, list(portal_ids or ()))]:
        for part in chunks(names):
            found |= {row.id: to_task(row) for row in connection.execute(select(tasks).where(column.in_(part)))}
    return [found[row] for row in sorted(found)]


def open_tasks(connection: Connection) -> list[TaskRecord]:
    """Every task, ours or foreign, that is neither done nor gone, also those still on their way to the portal."""
    query = select(tasks).where(tasks.c.gone.is_(False), tasks.c.status.in_(OPEN_STATUSES)).order_by(tasks.c.id)
    return [to_task(row) for row in connection.execute(query)]


def tasks_of_rule(connection: Connection, rule_id: str, *, since: datetime) -> list[TaskRecord]:
    """Tasks of a rule made since then, in order of making."""
    query = select(tasks).where(tasks.c.rule_id == rule_id, tasks.c.created >= since).order_by(tasks.c.id)
    return [to_task(row) for row in connection.execute(query)]


def open_deadlines(connection: Connection) -> dict[int, list[datetime]]:
    """The deadlines of open tasks by owner, rising."""
    found: dict[int, list[datetime]] = defaultdict(list)
    query = (
        select(tasks.c.owner_id, tasks.c.deadline)
        .where(tasks.c.gone.is_(False), tasks.c.status.in_(OPEN_STATUSES), tasks.c.deadline.is_not(None))
        .order_by(tasks.c.deadline)
    )
    for owner, deadline in connection.execute(query):
        found[owner].append(deadline)
    return dict(found)


def all_slips(connection: Connection, *, refs: Collection[str] | None, sweep: str | None) -> list[DeadlineChange]:
    """Changes of deadlines, oldest first: of these tasks, of this sweep, or all."""
    query = select(slips, tasks.c.occurrence, tasks.c.portal_id).join(tasks, tasks.c.id == slips.c.task_row)
    if sweep is not None:
        query = query.where(slips.c.sweep == sweep)
    if refs is None:
        return [to_slip(row) for row in connection.execute(query.order_by(slips.c.id))]
    found = {
        row.id: to_slip(row)
        for column, names in _named(refs)
        for part in chunks(names)
        for row in connection.execute(query.where(column.in_(part)))
    }
    return [found[row] for row in sorted(found)]


def _named(refs: Collection[str]) -> list[tuple[Column[Any], list[Any]]]:
    """Names of tasks by the column in which they stand."""
    numbers = [number for ref in refs if (number := foreign_id(ref)) is not None]
    occurrences = [ref for ref in refs if foreign_id(ref) is None]
    return [(tasks.c.occurrence, occurrences), (tasks.c.portal_id, numbers)]


def traces_of(connection: Connection, deal_id: int, *, rule_id: str | None) -> list[Trace]:
    """Every decision about the deal, oldest first."""
    query = select(traces).where(traces.c.deal_id == deal_id).order_by(traces.c.id)
    if rule_id is not None:
        query = query.where(traces.c.rule_id == rule_id)
    return [to_trace(row) for row in connection.execute(query)]
