"""What is planned with deals: their open tasks and planned activities, and when the last of these was over. Inside the
caller's transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, and_, bindparam, delete, func, or_, select, update

from bitrix_sync.model.facts import DEFERRED, OPEN_STATUSES, PROGRESS, Ahead, Visit
from bitrix_sync.model.operations import Steps
from bitrix_sync.store.database import insert_new
from bitrix_sync.store.mapping import change_with, from_row, rows_with
from bitrix_sync.store.schema import activities, deals, tasks, visits
from bitrix_sync.store.visits import latest_of_deal

AHEAD = and_(
    tasks.c.gone.is_(False), tasks.c.status.in_(sorted(OPEN_STATUSES - {DEFERRED})), tasks.c.portal_id.is_not(None)
)
"""A task that is a step ahead of its deals."""


def write(connection: Connection, read: Ahead) -> None:
    """What was read of activities: those that are planned, as they are now, and the ends of others."""
    planned = {one.id: one for one in read.planned}
    change_with(connection, delete(activities), activities.c.id, {*planned, *read.ended})
    rows = [
        {"id": one.id, "deal_id": deal, "task_id": one.task_id, "deadline": one.deadline}
        for one in planned.values()
        if one.id not in read.ended
        for deal in one.deals
    ]
    insert_new(connection, activities, rows)
    if read.ends:
        later = or_(deals.c.steps_ended.is_(None), deals.c.steps_ended < bindparam("over", type_=deals.c.changed.type))
        connection.execute(
            update(deals)
            .where(deals.c.id == bindparam("deal"), later)
            .values(steps_ended=bindparam("over", type_=deals.c.changed.type)),
            [{"deal": deal, "over": at} for deal, at in read.ends.items()],
        )


def forget(connection: Connection) -> None:
    """Activities are not read any more: what was planned is not known."""
    connection.execute(delete(activities))


def planned_activities(
    connection: Connection, ids: Collection[int] | None = None
) -> dict[int, tuple[tuple[int, ...], datetime | None]]:
    """Planned activities, all or these, each with its deals and its deadline."""
    query = select(activities).order_by(activities.c.id, activities.c.deal_id)
    rows = connection.execute(query).all() if ids is None else rows_with(connection, query, activities.c.id, ids)
    found: dict[int, tuple[tuple[int, ...], datetime | None]] = {}
    for row in rows:
        before, _ = found.get(row.id, ((), None))
        found[row.id] = ((*before, row.deal_id), row.deadline)
    return found


def activity_ends(connection: Connection, ids: Iterable[int]) -> dict[int, datetime]:
    """When the last activity of each of these deals was over, as far as is known."""
    query = select(deals.c.id, deals.c.steps_ended).where(deals.c.steps_ended.is_not(None))
    return {row.id: row.steps_ended for row in rows_with(connection, query, deals.c.id, ids)}


def steps(
    connection: Connection, *, stages: Collection[str] = (), ids: Iterable[int] | None = None
) -> dict[int, Steps]:
    """What is planned with deals in progress, by deal: of those that stand in one of these stages and are not busy, or
    of these. One whose stay is not known is left out."""
    rows = _deals(connection, stages, ids)
    wanted = [row.deal_id for row in rows]
    elsewhere = _bound_elsewhere(connection)
    busy = _busy(connection, wanted, whole=ids is None) | {deal for deal, row in elsewhere if _is_ahead(row)}
    idle = [deal for deal in wanted if deal not in busy]
    rows = rows if ids is not None else [row for row in rows if row.deal_id not in busy]
    ended = _ends(connection, idle)
    for deal, row in elsewhere:
        if row.ended is not None and not _is_ahead(row):
            ended[deal] = max(row.ended, ended.get(deal, row.ended))
    planned = _planned(connection, idle)
    return {row.deal_id: _steps(row, busy, ended, planned) for row in rows}


def _steps(
    row: Any, busy: Collection[int], ended: Mapping[int, datetime], planned: Mapping[int, list[datetime | None]]
) -> Steps:
    """What is planned with the deal of a row, from what is known of all."""
    ends = [at for at in (ended.get(row.deal_id), row.steps_ended) if at is not None]
    ahead = tuple(planned.get(row.deal_id, ()))
    return Steps(from_row(Visit, row), row.deal_id in busy, max(ends, default=None), ahead)


def _deals(connection: Connection, stages: Collection[str], ids: Iterable[int] | None) -> Sequence[Any]:
    latest = latest_of_deal()
    query = (
        select(visits, deals.c.steps_ended)
        .join(deals, visits.c.id == latest)
        .where(deals.c.gone.is_(False), deals.c.semantic == PROGRESS, visits.c.stage_id == deals.c.stage_id)
    )
    if ids is not None:
        return rows_with(connection, query, deals.c.id, ids)
    return connection.execute(query.where(deals.c.stage_id.in_(list(stages)))).all()


def _bound_elsewhere(connection: Connection) -> list[tuple[int, Any]]:
    """Tasks that are bound to other deals than the one whose they are, or to several, with each of these."""
    query = select(tasks.c.bound, tasks.c.gone, tasks.c.status, tasks.c.portal_id, tasks.c.ended)
    rows = connection.execute(query.where(tasks.c.bound.is_not(None))).all()
    return [(deal, row) for row in rows for deal in row.bound]


def _is_ahead(row: Any) -> bool:
    return not row.gone and row.status in OPEN_STATUSES - {DEFERRED} and row.portal_id is not None


def _of_tasks(query: Select[Any]) -> Select[Any]:
    return query.where(tasks.c.bound.is_(None), tasks.c.deal_id != 0)


def _busy(connection: Connection, wanted: Sequence[int], *, whole: bool) -> set[int]:
    """Those of the deals with a task that is to be done; ``whole``: they are most of all."""
    query = _of_tasks(select(tasks.c.deal_id).where(AHEAD)).distinct()
    if whole:
        return set(connection.execute(query).scalars())
    return {row.deal_id for row in rows_with(connection, query, tasks.c.deal_id, wanted)}


def _ends(connection: Connection, wanted: Sequence[int]) -> dict[int, datetime]:
    """When the last task of each of these deals was over."""
    last = func.max(tasks.c.ended).label("ended")
    query = _of_tasks(select(tasks.c.deal_id, last).where(tasks.c.ended.is_not(None))).group_by(tasks.c.deal_id)
    return {row.deal_id: row.ended for row in rows_with(connection, query, tasks.c.deal_id, wanted)}


def _planned(connection: Connection, wanted: Sequence[int]) -> Mapping[int, list[datetime | None]]:
    """The deadlines of what is planned with these deals; an activity that shows a task which is known is that task."""
    query = (
        select(activities.c.deal_id, activities.c.deadline)
        .outerjoin(tasks, and_(activities.c.task_id != 0, tasks.c.portal_id == activities.c.task_id))
        .where(tasks.c.id.is_(None))
    )
    found: dict[int, list[datetime | None]] = defaultdict(list)
    for row in rows_with(connection, query, activities.c.deal_id, wanted):
        found[row.deal_id].append(row.deadline)
    return found
