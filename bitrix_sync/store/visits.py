"""Visits that are known; and forgetting those that the portal's history has no more, for it was put back from its
backup and counts ids anew.

What bears the number of a forgotten visit in its name gives the name up, for the next visit with that number will need
it: occurrences and so marks, keys of operations, what was told. Rows stay where they prove something: tasks with what
was sent to them, operations with their outcome. Inside the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, ScalarSelect, and_, bindparam, delete, func, select, update

from bitrix_sync.model.facts import Deal, Visit
from bitrix_sync.model.items import DEAL, SPAN, Item, ItemKind
from bitrix_sync.model.keys import Key, Moment, Purpose, names_visit
from bitrix_sync.model.operations import Decision, State
from bitrix_sync.model.reasons import Reason
from bitrix_sync.store.database import insert_new, upsert
from bitrix_sync.store.mapping import change_with, chunks, from_row, rows_with, to_row
from bitrix_sync.store.operations import UNFINISHED, drop_orphans
from bitrix_sync.store.schema import deals, escalations, moments, operations, tasks, told, traces, visits
from bitrix_sync.store.tasks import lose_numbers


def latest_of_deal() -> ScalarSelect[Any]:
    """The id of the latest visit of the deal in the row."""
    return select(func.max(visits.c.id)).where(visits.c.deal_id == deals.c.id).correlate(deals).scalar_subquery()


def present_visits(connection: Connection, stages: Iterable[str]) -> dict[int, Visit]:
    """The visit in which each deal that stands in one of these stages is now, by deal."""
    latest = latest_of_deal()
    query = (
        select(visits)
        .join(deals, visits.c.id == latest)
        .where(deals.c.stage_id.in_(list(stages)), deals.c.gone.is_(False), visits.c.stage_id == deals.c.stage_id)
        .order_by(visits.c.id)
    )
    return {row.deal_id: from_row(Visit, row) for row in connection.execute(query)}


def known_visits(connection: Connection, ids: Iterable[int]) -> dict[int, Visit]:
    """Those of the ids that are recorded, with what they were: the id alone is no identity."""
    return {row.id: from_row(Visit, row) for row in rows_with(connection, select(visits), visits.c.id, ids)}


def _of(kind: ItemKind) -> ColumnElement[bool]:
    return and_(visits.c.id >= kind.first, visits.c.id < kind.first + SPAN)


def newest_visit(connection: Connection, kind: ItemKind) -> Visit | None:
    """The visit of that kind of items with the highest id."""
    row = connection.execute(select(visits).where(_of(kind)).order_by(visits.c.id.desc()).limit(1)).first()
    return None if row is None else from_row(Visit, row)


def anchors(connection: Connection, *, newest: int, older: int) -> list[Visit]:
    """By which a portal is known: so many of the newest visits of deals, and others spread over all before them, by
    id."""
    query = select(visits).where(_of(DEAL)).order_by(visits.c.id.desc()).limit(newest)
    latest = [from_row(Visit, row) for row in connection.execute(query)]
    if len(latest) < newest:
        return latest[::-1]
    before = select(visits.c.id).where(visits.c.id < latest[-1].id).order_by(visits.c.id)
    ids = list(connection.execute(before).scalars())
    spread = known_visits(connection, ids[:: max(len(ids) // older, 1)][:older])
    return sorted([*spread.values(), *latest], key=lambda visit: visit.id)


def visits_from(connection: Connection, first: int, *, before: datetime) -> list[Visit]:
    """Visits with this id or a higher one of the same kind of items that were entered before a moment."""
    of_kind = _of(Item.of(first).kind)
    query = select(visits).where(visits.c.id >= first, of_kind, visits.c.entered < before).order_by(visits.c.id)
    return [from_row(Visit, row) for row in connection.execute(query)]


def write(connection: Connection, read: Iterable[Visit], *, history: bool) -> None:
    """Visits that are not known yet; ``history``: facts of the past."""
    insert_new(connection, visits, [to_row(visit, handled=history) for visit in read])


def note_movers(connection: Connection, read: Iterable[Deal]) -> None:
    """The portal tells only who made a deal's last movement: kept with that visit before the next one comes."""
    movers = [{"deal": deal.id, "stage": deal.stage_id, "user": deal.moved_by} for deal in read if deal.moved_by]
    if not movers:
        return
    latest = select(func.max(visits.c.id)).where(visits.c.deal_id == bindparam("deal")).scalar_subquery()
    connection.execute(
        update(visits)
        .where(visits.c.id == latest, visits.c.stage_id == bindparam("stage"), visits.c.moved_by.is_(None))
        .values(moved_by=bindparam("user")),
        movers,
    )


def write_moments(connection: Connection, decisions: Sequence[Decision]) -> None:
    """What happened in visits: the first time for ever, or of what a person asked for the latest."""

    def rows(happened: Callable[[Decision], Mapping[tuple[int, str], datetime]]) -> list[dict[str, Any]]:
        return [
            {"visit_id": visit, "name": name, "deal_id": decision.deal_id, "at": at}
            for decision in decisions
            for (visit, name), at in happened(decision).items()
        ]

    insert_new(connection, moments, rows(lambda decision: decision.moments))
    upsert(connection, moments, rows(lambda decision: decision.asked))


def forget(connection: Connection, gone: Sequence[Visit], now: datetime) -> None:
    """Forget visits that the portal's history no longer has, so that their ids may be other visits': their moments and
    traces go, their tasks are gone, what was to be done for them is dropped. The visit that is the latest of its deal
    then has not ended."""
    if not gone:
        return
    ids, of_deals = {visit.id for visit in gone}, {visit.deal_id for visit in gone}
    rows = {row.id for row in rows_with(connection, select(tasks.c.id), tasks.c.visit_id, ids)}
    _rename_operations(connection, ids, of_deals, rows, now)
    forget_tasks(connection, rows, now)
    change_with(connection, delete(visits), visits.c.id, ids)
    for table in (moments, traces):
        change_with(connection, delete(table), table.c.visit_id, ids)
    keys = [key for key in connection.execute(select(told.c.key)).scalars() if names_visit(key, ids, entered=False)]
    change_with(connection, delete(told), told.c.key, keys)
    change_with(connection, delete(escalations), escalations.c.key, keys)
    _go_on(connection, of_deals)


def forget_tasks(connection: Connection, rows: Collection[int], now: datetime) -> None:
    """Forget of these rows of ``tasks`` which occurrences they were, and what was to be done with them: the occurrences
    are free, and their tasks gone."""
    if not rows:
        return
    _rename_operations(connection, (), (), rows, now)
    lose_numbers(connection, rows)
    drop_orphans(connection, rows, now)
    nameless = {"occurrence": "", "rule_id": "", "visit_id": 0}
    change_with(connection, update(tasks).values(nameless), tasks.c.id, rows)


def _rename_operations(
    connection: Connection, ids: Collection[int], deal_ids: Collection[int], rows: Collection[int], now: datetime
) -> None:
    """Their keys, and those of messages about them, which belong to no deal."""
    found: dict[int, tuple[str, str]] = {}
    query = select(operations.c.id, operations.c.key, operations.c.state, operations.c.task_row)
    for row in (
        *rows_with(connection, query, operations.c.task_row, rows),
        *rows_with(connection, query, operations.c.deal_id, {*deal_ids, 0}),
    ):
        if row.task_row in rows or names_visit(row.key, ids):
            found[row.id] = (row.key, row.state)
    for number, (key, state) in found.items():
        if key.startswith(Purpose.FORMER.beginning):
            continue
        values: dict[str, object] = {"key": str(Key(Purpose.FORMER, number, key)), "task": ""}
        if state in (*UNFINISHED, State.FAILED.value):  # nobody need hear of its refusal any more
            values |= {"state": State.DROPPED.value, "error_text": Reason.PUT_BACK, "ended": now}
        connection.execute(update(operations).where(operations.c.id == number).values(values))


def _go_on(connection: Connection, deal_ids: Collection[int]) -> None:
    """The visit that is the latest of its deal again has not been left, and did not close the deal's tasks by what came
    after it."""
    for part in chunks(sorted(deal_ids)):
        latest = select(func.max(visits.c.id)).where(visits.c.deal_id.in_(part)).group_by(visits.c.deal_id)
        connection.execute(delete(moments).where(moments.c.visit_id.in_(latest), moments.c.name == Moment.LEFT))
