"""What reports ask of the store: counts and plain rows, never more than is shown. Inside the caller's transaction.

An open task here is one that the portal has: neither done nor gone, its id known. Overdue is one that waits or is in
progress and whose deadline is past (the rules language, section Overdue).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Row,
    ScalarSelect,
    Select,
    and_,
    case,
    exists,
    false,
    func,
    or_,
    select,
    true,
    type_coerce,
)

from bitrix_sync.model.actions import Kind, MoveDeal
from bitrix_sync.model.facts import DONE, LOST, MOVABLE_STATUSES, OPEN_STATUSES, PROGRESS, WON
from bitrix_sync.model.keys import Purpose, foreign_ref, visit_in
from bitrix_sync.model.operations import Operation, State
from bitrix_sync.store.mapping import action_of, chunks, rows_with
from bitrix_sync.store.schema import deals, operations, slips, tasks, told, traces, trial, visits
from bitrix_sync.store.visits import latest_of_deal

Rows = Sequence[Any]
"""Rows of a result: their columns are attributes."""

OPEN = and_(tasks.c.gone.is_(False), tasks.c.status.in_(OPEN_STATUSES), tasks.c.portal_id.is_not(None))
LATE_STATUS = and_(tasks.c.gone.is_(False), tasks.c.status.in_(MOVABLE_STATUSES), tasks.c.portal_id.is_not(None))
IN_PROGRESS = and_(deals.c.gone.is_(False), deals.c.semantic == PROGRESS)
HOUR = 3_600_000_000
"""In the store's microseconds."""
SOON = HOUR // 6
"""Within this after we closed a task, its closing is ours."""


promised = func.coalesce(tasks.c.promise, tasks.c.first_deadline, type_=tasks.c.promise.type)
"""By when a task was to be done; NULL: it never had a deadline."""
ANY = true()
"""No condition: all tasks."""


def _late(now: datetime) -> ColumnElement[bool]:
    return and_(tasks.c.status.in_(MOVABLE_STATUSES), tasks.c.deadline < now)


def _number(column: ColumnElement[Any]) -> ColumnElement[int]:
    """A moment as the microseconds that are stored."""
    return type_coerce(column, BigInteger)


# --- filters ---------------------------------------------------------------------------------------------------------


def chosen_tasks(people: Collection[int] | None, funnel: int | None, rule: str | None) -> ColumnElement[bool]:
    """The tasks of these owners, of the deals of this funnel, of this rule; None: of any."""
    of_funnel = select(deals.c.id).where(deals.c.funnel_id == funnel)
    return and_(
        ANY,
        ANY if people is None else tasks.c.owner_id.in_(people),
        ANY if funnel is None else tasks.c.deal_id.in_(of_funnel),
        ANY if rule is None else tasks.c.rule_id == rule,
    )


def rules_of_tasks(connection: Connection) -> list[str]:
    """The ids of all rules that ever made a task."""
    query = select(tasks.c.rule_id).where(tasks.c.rule_id != "").distinct().order_by(tasks.c.rule_id)
    return list(connection.execute(query).scalars())


# --- tasks -----------------------------------------------------------------------------------------------------------


def open_by_owner(
    connection: Connection, *, now: datetime, midnights: Sequence[datetime], only: ColumnElement[bool] = ANY
) -> Rows:
    """Open tasks counted by owner and day: rows (owner_id, day, open, late, to_do); what awaits acceptance, or is put
    off, is not to do. ``day`` is how many of the rising
    ``midnights`` are not after the deadline, NULL without a deadline."""
    day = case(
        (tasks.c.deadline.is_(None), None),
        *((tasks.c.deadline < midnight, number) for number, midnight in enumerate(midnights)),
        else_=len(midnights),
    )
    late = func.sum(case((_late(now), 1), else_=0))
    to_do = func.sum(case((tasks.c.status.in_(MOVABLE_STATUSES), 1), else_=0))
    counts = (func.count().label("open"), late.label("late"), to_do.label("to_do"))
    query = select(tasks.c.owner_id, day.label("day"), *counts).where(OPEN, only).group_by(tasks.c.owner_id, day)
    return connection.execute(query).all()


def _by_service(self_id: int) -> ColumnElement[bool]:
    """True of a closed task that the service completed (``on_leave``, ``on_close``): no person's work, unless a person
    opened it again and closed it. ``self_id``: whose the webhook is."""
    ours = and_(
        operations.c.task_row == tasks.c.id,
        operations.c.kind == Kind.COMPLETE,
        operations.c.state == State.DONE,
        operations.c.sent.is_not(None),  # otherwise it was done already
        or_(
            tasks.c.closed_by.is_(None),
            tasks.c.closed_by == self_id,
            (operations.c.error_text == "") & (_number(tasks.c.closed) <= _number(operations.c.ended) + SOON),
        ),
    )
    return and_(tasks.c.status == DONE, exists().where(ours))


def undone_since(connection: Connection, since: datetime) -> dict[str, datetime]:
    """Tasks (refs) of which a sweep's move was taken back since a moment, and when that was last."""
    query = (
        select(tasks.c.occurrence, tasks.c.portal_id, func.max(slips.c.at).label("at"))
        .join(tasks, tasks.c.id == slips.c.task_row)
        .where(slips.c.by == "undo", slips.c.at >= since)
        .group_by(tasks.c.id, tasks.c.occurrence, tasks.c.portal_id)
    )
    return {row.occurrence or foreign_ref(row.portal_id): row.at for row in connection.execute(query)}


def lending_counts(connection: Connection) -> dict[str, int]:
    """How many tasks are with substitutes now, and how many moves there were because of absences."""
    lent = select(func.count()).where(OPEN, tasks.c.lent_from.is_not(None), tasks.c.owner_id == tasks.c.owner_sent)
    moves = select(func.coalesce(func.sum(tasks.c.moves_for_absence), 0))
    return {
        "tasks_lent": int(connection.execute(lent).scalar_one()),
        "moves_for_absence": int(connection.execute(moves).scalar_one()),
    }


def closings(connection: Connection, *, since: datetime, self_id: int) -> Rows:
    """Tasks that people closed at or after a moment: rows (owner_id, closed). ``self_id``: whose the webhook is."""
    done = and_(tasks.c.gone.is_(False), tasks.c.status == DONE, tasks.c.closed >= since)
    query = select(tasks.c.owner_id, tasks.c.closed).where(done, ~_by_service(self_id))
    return connection.execute(query).all()


def _listed(by_service: ColumnElement[bool] | None = None) -> Select[Any]:
    service = false() if by_service is None else by_service
    query = select(tasks, deals.c.title.label("deal"), service.label("by_service"))
    return query.outerjoin(deals, deals.c.id == tasks.c.deal_id)


def late_tasks(
    connection: Connection, *, now: datetime, only: ColumnElement[bool] = ANY, limit: int | None = None
) -> Rows:
    """Overdue tasks with the title of their deal, the oldest deadline first."""
    query = _listed().where(LATE_STATUS, tasks.c.deadline < now, only).order_by(tasks.c.deadline, tasks.c.id)
    return connection.execute(query.limit(limit)).all()


def broken_promises(
    connection: Connection, *, now: datetime, only: ColumnElement[bool] = ANY, limit: int | None = None
) -> Rows:
    """Open tasks whose promise is past, the oldest promise first."""
    query = _listed().where(OPEN, promised < now, only).order_by(promised, tasks.c.id)
    return connection.execute(query.limit(limit)).all()


def promises_broken(connection: Connection, *, now: datetime, only: ColumnElement[bool] = ANY) -> list[datetime]:
    """The promises of open tasks that are past, for counting them by age."""
    return list(connection.execute(select(promised).where(OPEN, promised < now, only)).scalars())


def count_broken(connection: Connection, *, now: datetime) -> int:
    """How many open tasks have a promise that is past."""
    return int(connection.execute(select(func.count()).select_from(tasks).where(OPEN, promised < now)).scalar_one())


def due_tasks(
    connection: Connection,
    *,
    since: datetime,
    until: datetime,
    only: ColumnElement[bool] = ANY,
    limit: int | None = None,
) -> Rows:
    """Open tasks whose deadline lies in [since, until), by deadline."""
    query = _listed().where(OPEN, tasks.c.deadline >= since, tasks.c.deadline < until, only)
    return connection.execute(query.order_by(tasks.c.deadline, tasks.c.id).limit(limit)).all()


def slipped_tasks(
    connection: Connection,
    *,
    only: ColumnElement[bool] = ANY,
    period: tuple[datetime, datetime] | None = None,
    limit: int | None = None,
) -> Rows:
    """Open tasks whose deadline sweeps or people have moved (in [since, until), if a ``period`` is given), those moved
    most first."""
    moved = tasks.c.moves_by_us + tasks.c.moves_by_people + tasks.c.moves_for_absence
    query = _listed().where(OPEN, moved > 0, only)
    if period is not None:
        then = and_(slips.c.at >= period[0], slips.c.at < period[1], slips.c.by.in_(("sweep", "people")))
        query = query.where(tasks.c.id.in_(select(slips.c.task_row).where(then)))
    query = query.order_by(moved.desc(), tasks.c.first_deadline.nulls_first(), tasks.c.id)
    return connection.execute(query.limit(limit)).all()


def _postponed() -> ColumnElement[int]:
    """Of a change of a deadline how often it counts as moved: 1 for a postponement by a sweep or people, -1 for what
    was undone, else 0."""
    later = or_(slips.c.before.is_(None), slips.c.after > slips.c.before)
    return case((and_(slips.c.by.in_(("sweep", "people")), later), 1), (slips.c.by == "undo", -1), else_=0)


def slips_between(connection: Connection, since: datetime, until: datetime, *, only: ColumnElement[bool] = ANY) -> Rows:
    """Moves in [since, until) counted by owner, rule and funnel (None: no deal): rows (owner_id, rule_id, funnel_id,
    by, slips). Only postponements by sweeps and people; those "undo" took back are below 0."""
    moved = func.sum(_postponed())
    keys = (tasks.c.owner_id, tasks.c.rule_id, deals.c.funnel_id, slips.c.by)
    query = (
        select(*keys, moved.label("slips"))
        .join(tasks, tasks.c.id == slips.c.task_row)
        .outerjoin(deals, deals.c.id == tasks.c.deal_id)
        .where(slips.c.at >= since, slips.c.at < until, only)
        .group_by(*keys)
        .having(moved != 0)
    )
    return connection.execute(query).all()


def _part(column: ColumnElement[Any], bounds: Sequence[datetime]) -> ColumnElement[int]:
    """Between which two of the rising ``bounds`` a moment lies: 1 for the first two."""
    return case(*((column < bound, number) for number, bound in enumerate(bounds)), else_=len(bounds))


def moves_by_part(connection: Connection, bounds: Sequence[datetime], *, only: ColumnElement[bool] = ANY) -> Rows:
    """Postponements by sweeps and people between each two of the rising ``bounds``: rows (owner_id, part, moves)."""
    part = _part(slips.c.at, bounds).label("part")
    query = (
        select(tasks.c.owner_id, part, func.sum(_postponed()).label("moves"))
        .join(tasks, tasks.c.id == slips.c.task_row)
        .where(slips.c.at >= bounds[0], slips.c.at < bounds[-1], only)
        .group_by(tasks.c.owner_id, part)
    )
    return connection.execute(query).all()


def promises_by_part(
    connection: Connection,
    bounds: Sequence[datetime],
    *,
    now: datetime,
    self_id: int,
    only: ColumnElement[bool] = ANY,
) -> Rows:
    """Tasks whose promise fell between each two of the rising ``bounds``, and is past: rows (owner_id, part, due,
    kept). Neither what is gone nor what the service closed."""
    part = _part(promised, bounds).label("part")
    kept = and_(tasks.c.status == DONE, tasks.c.closed <= promised)
    query = (
        select(
            tasks.c.owner_id,
            part,
            func.count().label("due"),
            func.sum(case((kept, 1), else_=0)).label("kept"),
        )
        .where(_fell_due(bounds[0], min(bounds[-1], now), self_id), only)
        .group_by(tasks.c.owner_id, part)
    )
    return connection.execute(query).all()


def _fell_due(since: datetime, until: datetime, self_id: int) -> ColumnElement[bool]:
    """The promise lay in [since, until); neither what is gone nor what the service closed."""
    there = ~func.coalesce(tasks.c.gone, true())  # by an index of nearly all rows it would take ten times as long
    made = and_(there, tasks.c.portal_id.is_not(None), tasks.c.status != 0)
    return and_(made, promised >= since, promised < until, ~_by_service(self_id))


def tasks_promised(
    connection: Connection, since: datetime, until: datetime, *, self_id: int, only: ColumnElement[bool] = ANY
) -> Rows:
    """Tasks whose promise lay in [since, until), by promise; neither what is gone nor what the service closed."""
    query = _listed().where(_fell_due(since, until, self_id), only)
    return connection.execute(query.order_by(promised, tasks.c.id)).all()


def tasks_closed(
    connection: Connection, since: datetime, until: datetime, *, self_id: int, only: ColumnElement[bool] = ANY
) -> Rows:
    """Tasks closed in [since, until), the latest first, also those that the service closed."""
    closed = and_(tasks.c.gone.is_(False), tasks.c.status == DONE, tasks.c.closed >= since, tasks.c.closed < until)
    query = _listed(_by_service(self_id)).where(closed, only)
    return connection.execute(query.order_by(tasks.c.closed.desc(), tasks.c.id)).all()


def slips_of_deal(connection: Connection, deal_id: int) -> Rows:
    """Every change of the deadlines of a deal's tasks, oldest first: rows (task_row, before, after, by, at, sweep,
    mover)."""
    query = select(slips).join(tasks, tasks.c.id == slips.c.task_row).where(tasks.c.deal_id == deal_id)
    return connection.execute(query.order_by(slips.c.at, slips.c.id)).all()


def closings_between(
    connection: Connection, since: datetime, until: datetime, *, self_id: int, only: ColumnElement[bool] = ANY
) -> Rows:
    """Tasks closed in [since, until): rows (owner_id, rule_id, funnel_id, closed, promise, created, by_service), the
    moments as microseconds."""
    query = (
        select(
            tasks.c.owner_id,
            tasks.c.rule_id,
            deals.c.funnel_id,
            _number(tasks.c.closed).label("closed"),
            _number(promised).label("promise"),
            _number(tasks.c.created).label("created"),
            _by_service(self_id).label("by_service"),
        )
        .outerjoin(deals, deals.c.id == tasks.c.deal_id)
        .where(tasks.c.gone.is_(False), tasks.c.status == DONE, tasks.c.closed >= since, tasks.c.closed < until, only)
    )
    return connection.execute(query).all()


def tasks_of_owner(connection: Connection, owner_id: int, *, limit: int | None = None) -> Rows:
    """A person's open tasks, by deadline; those without one come last."""
    query = _listed().where(OPEN, tasks.c.owner_id == owner_id)
    return connection.execute(
        query.order_by(tasks.c.deadline.is_(None), tasks.c.deadline, tasks.c.id).limit(limit)
    ).all()


def done_of_owner(connection: Connection, owner_id: int, *, since: datetime, self_id: int) -> Rows:
    """A person's tasks that were closed since then, the latest first."""
    done = and_(tasks.c.gone.is_(False), tasks.c.status == DONE, tasks.c.owner_id == owner_id, tasks.c.closed >= since)
    query = _listed(_by_service(self_id)).where(done)
    return connection.execute(query.order_by(tasks.c.closed.desc(), tasks.c.id)).all()


def tasks_of_deal(connection: Connection, deal_id: int, *, self_id: int) -> Rows:
    """Every task of a deal that is or was in the portal, in order of making."""
    query = _listed(_by_service(self_id)).where(tasks.c.deal_id == deal_id, tasks.c.portal_id.is_not(None))
    return connection.execute(query.order_by(tasks.c.id)).all()


def movers(connection: Connection, *, self_id: int) -> Rows:
    """Which people moved the deadlines of open tasks: rows (task_id, mover), the latest first. Without ``self_id``:
    that may only be the name of the webhook through which we wrote."""
    query = select(tasks.c.portal_id.label("task_id"), slips.c.mover).join(slips, slips.c.task_row == tasks.c.id)
    query = query.where(OPEN, slips.c.by == "people", slips.c.mover != self_id)
    return connection.execute(query.order_by(slips.c.id.desc())).all()


def kept_between(
    connection: Connection, since: datetime, until: datetime, *, self_id: int, only: ColumnElement[bool] = ANY
) -> Rows:
    """Tasks closed in [since, until), counted by owner and rule: rows (owner_id, rule_id, done, first, last,
    by_service); ``first`` and ``last`` of those done were closed by their first, by their last deadline; those that the
    service closed are counted apart. Tasks without a deadline do not count."""
    by_service = _by_service(self_id)

    def counted(condition: ColumnElement[bool]) -> ColumnElement[int]:
        return func.sum(case((condition, 1), else_=0))

    def closed_by(deadline: Column[Any]) -> ColumnElement[int]:
        return counted(and_(~by_service, tasks.c.closed <= deadline))

    query = (
        select(
            tasks.c.owner_id,
            tasks.c.rule_id,
            counted(~by_service).label("done"),
            counted(by_service).label("by_service"),
            closed_by(tasks.c.first_deadline).label("first"),
            closed_by(tasks.c.deadline).label("last"),
        )
        .where(
            tasks.c.closed >= since,
            tasks.c.closed < until,
            only,
            tasks.c.status == DONE,
            tasks.c.gone.is_(False),
            tasks.c.first_deadline.is_not(None),
            tasks.c.deadline.is_not(None),
        )
        .group_by(tasks.c.owner_id, tasks.c.rule_id)
    )
    return connection.execute(query).all()


def trial_rows(connection: Connection, *, limit: int | None = None) -> Rows:
    """What would have been done, the newest first, with the title of its deal: rows
    (key, kind, payload, at, sweep, deal_id, deal, ref)."""
    query = (
        select(
            *(trial.c[name] for name in ("key", "kind", "payload", "at", "sweep", "deal_id")),
            trial.c.task.label("ref"),
            deals.c.title.label("deal"),
        )
        .outerjoin(deals, deals.c.id == trial.c.deal_id)
        .order_by(trial.c.id.desc())
    )
    return connection.execute(query.limit(limit)).all()


def trial_moves(connection: Connection, slot: str) -> list[Operation]:
    """The moves that a sweep would have made, in the order of deciding."""
    query = select(trial).where(trial.c.sweep == slot, trial.c.kind == Kind.DEADLINE).order_by(trial.c.id)
    return [
        Operation(row.key, action_of(row), row.deal_id, row.task, sweep=row.sweep) for row in connection.execute(query)
    ]


# --- deals -----------------------------------------------------------------------------------------------------------


def _following() -> ScalarSelect[Any]:
    """The id of a deal's next visit after the one in the row."""
    later = visits.alias("later")
    found = select(func.min(later.c.id)).where(later.c.deal_id == visits.c.deal_id, later.c.id > visits.c.id)
    return found.correlate(visits).scalar_subquery()


def _present() -> ScalarSelect[Any]:
    """The id of the visit in which the deal in the row is."""
    found = select(func.max(visits.c.id)).where(visits.c.deal_id == deals.c.id, visits.c.stage_id == deals.c.stage_id)
    return found.correlate(deals).scalar_subquery()


def stays_since(connection: Connection, since: datetime) -> Rows:
    """Ended stays in stages in progress that began since then: rows (stage_id, hours)."""
    after = visits.alias("after")
    hours = (_number(after.c.entered) - _number(visits.c.entered)) / float(HOUR)
    query = select(visits.c.stage_id, hours.label("hours")).where(
        visits.c.entered >= since,
        visits.c.semantic == PROGRESS,
        after.c.id == _following(),
        after.c.deal_id == visits.c.deal_id,
    )
    return connection.execute(query).all()


def deals_now(connection: Connection) -> Rows:
    """Deals in progress with their latest visit: rows (id, title, funnel_id, stage_id, responsible_id, entered);
    ``entered`` is NULL when the visit is not known."""
    query = (
        select(deals.c.id, deals.c.title, deals.c.funnel_id, deals.c.stage_id, deals.c.responsible_id, visits.c.entered)
        .outerjoin(visits, visits.c.id == _present())
        .where(IN_PROGRESS)
        .order_by(deals.c.id)
    )
    return connection.execute(query).all()


def deals_open(connection: Connection) -> Rows:
    """Deals in progress: rows (id, funnel_id, responsible_id, created, fields)."""
    d = deals.c
    return connection.execute(select(d.id, d.funnel_id, d.responsible_id, d.created, d.fields).where(IN_PROGRESS)).all()


def deals_closed(connection: Connection, since: datetime) -> Rows:
    """Deals that were won or lost since then, and still are: rows (funnel_id, responsible_id, semantic, created,
    closed). Those whose closing nobody saw are not among them."""
    d = deals.c
    query = (
        select(d.funnel_id, d.responsible_id, d.semantic, d.created, visits.c.entered.label("closed"))
        .join(visits, visits.c.id == _present())
        .where(d.gone.is_(False), d.semantic.in_((WON, LOST)), visits.c.entered >= since)
    )
    return connection.execute(query).all()


def stays_in(connection: Connection, stages: Collection[str], since: datetime) -> Rows:
    """Stays in these stages that ended after then or go on, of deals that there are: rows (deal_id, stage_id,
    responsible_id, fields, entered, left); ``left`` is NULL while the deal is there."""
    after = visits.alias("after")
    v, d = visits.c, deals.c
    query = (
        select(v.deal_id, v.stage_id, d.responsible_id, d.fields, v.entered, after.c.entered.label("left"))
        .join(deals, d.id == v.deal_id)
        .outerjoin(after, after.c.id == _following())
        .where(
            d.gone.is_(False),
            or_(d.semantic == PROGRESS, d.changed >= since),
            v.stage_id.in_(stages),
            or_(after.c.entered.is_(None), after.c.entered > since),
        )
    )
    return connection.execute(query).all()


def told_of_visits(connection: Connection, purpose: Purpose, since: datetime) -> list[tuple[int, int, datetime]]:
    """What was told since then of visits, for a purpose: deal, its responsible, when."""
    query = select(told.c.key, told.c.at).where(told.c.key.startswith(purpose.beginning), told.c.at >= since)
    found = [(visit_in(row.key), row.at) for row in connection.execute(query)]
    whose = select(visits.c.id, visits.c.deal_id, deals.c.responsible_id).join(deals, deals.c.id == visits.c.deal_id)
    known = {row.id: row for row in rows_with(connection, whose, visits.c.id, {visit for visit, _ in found})}
    return [(known[visit].deal_id, known[visit].responsible_id, at) for visit, at in found if visit in known]


def closed_by_stage(connection: Connection) -> Rows:
    """Won and lost deals counted: rows (stage_id, deals)."""
    closed = and_(deals.c.semantic != PROGRESS, deals.c.gone.is_(False))
    query = select(deals.c.stage_id, func.count().label("deals")).where(closed).group_by(deals.c.stage_id)
    return connection.execute(query).all()


def deal(connection: Connection, deal_id: int) -> Row[Any] | None:
    """A deal as last read, also one that is gone."""
    return connection.execute(select(deals).where(deals.c.id == deal_id)).first()


def visits_of_deal(connection: Connection, deal_id: int) -> Rows:
    """Its movements, oldest first."""
    return connection.execute(select(visits).where(visits.c.deal_id == deal_id).order_by(visits.c.id)).all()


def traces_of_deal(connection: Connection, deal_id: int) -> Rows:
    """What rules decided about a deal, oldest first."""
    return connection.execute(select(traces).where(traces.c.deal_id == deal_id).order_by(traces.c.id)).all()


def deal_titles(connection: Connection) -> Rows:
    """Deals in progress, the latest first: rows (id, title)."""
    return connection.execute(select(deals.c.id, deals.c.title).where(IN_PROGRESS).order_by(deals.c.id.desc())).all()


def failing_rules(connection: Connection, faults: Collection[str]) -> dict[str, int]:
    """Rules whose last word on the present visit of a deal in progress is a fault, with the number of such deals."""
    later = traces.alias("later")
    latest = latest_of_deal()
    query = (
        select(traces.c.rule_id, func.count(traces.c.deal_id.distinct()).label("number"))
        .join(deals, deals.c.id == traces.c.deal_id)
        .where(
            traces.c.verdict.in_(faults),
            IN_PROGRESS,
            traces.c.visit_id == latest,
            ~exists().where(
                later.c.deal_id == traces.c.deal_id,
                later.c.visit_id == traces.c.visit_id,
                later.c.rule_id == traces.c.rule_id,
                later.c.id > traces.c.id,
            ),
        )
        .group_by(traces.c.rule_id)
        .order_by(traces.c.rule_id)
    )
    return {row.rule_id: row.number for row in connection.execute(query)}


# --- the service's own work ------------------------------------------------------------------------------------------


def count_states(connection: Connection) -> dict[str, int]:
    """Operations by state; states without any are missing."""
    query = select(operations.c.state, func.count().label("number")).group_by(operations.c.state)
    return {row.state: row.number for row in connection.execute(query)}


def failed_since(connection: Connection, since: datetime) -> int:
    """How many operations the portal has refused since then (our clock)."""
    query = select(func.count()).where(operations.c.state == State.FAILED.value, operations.c.ended >= since)
    return int(connection.execute(query).scalar_one())


def failures_since(connection: Connection, since: datetime | None) -> Rows:
    """Operations that the portal has refused since then (our clock; None: ever), oldest first: rows (kind, payload,
    error_code, error_text, ended)."""
    o = operations.c
    query = select(o.kind, o.payload, o.error_code, o.error_text, o.ended).where(o.state == State.FAILED.value)
    return connection.execute((query if since is None else query.where(o.ended >= since)).order_by(o.id)).all()


def recent_operations(connection: Connection, *, states: Collection[State] | None = None, limit: int) -> Rows:
    """Operations, the newest first, with the title, portal id and owner of their task and the title of their deal."""
    query = (
        select(
            operations,
            tasks.c.title.label("title"),
            tasks.c.portal_id,
            tasks.c.owner_id,
            deals.c.title.label("deal"),
        )
        .outerjoin(tasks, tasks.c.id == operations.c.task_row)
        .outerjoin(deals, deals.c.id == operations.c.deal_id)
        .order_by(operations.c.id.desc())
        .limit(limit)
    )
    if states is not None:
        query = query.where(operations.c.state.in_([state.value for state in states]))
    return connection.execute(query).all()


def moves_by_service(connection: Connection, deal_id: int) -> set[int]:
    """The visits that an automatic move ended, so that the next visit is our doing."""
    query = select(operations.c.kind, operations.c.payload).where(
        operations.c.deal_id == deal_id,
        operations.c.kind == Kind.MOVE_DEAL.value,
        operations.c.state == State.DONE.value,
    )
    moves = [action_of(row) for row in connection.execute(query)]
    return {move.visit for move in moves if isinstance(move, MoveDeal) and move.visit}


def moves_of_sweeps(connection: Connection, slots: Iterable[str]) -> dict[str, dict[str, int]]:
    """Moves of sweeps counted by what became of them: slot → state → number."""
    found: dict[str, dict[str, int]] = {}
    for part in chunks(list(slots)):
        query = (
            select(operations.c.sweep, operations.c.state, func.count())
            .where(operations.c.sweep.in_(part), operations.c.key.startswith(Purpose.SWEEP.beginning))
            .group_by(operations.c.sweep, operations.c.state)
        )
        for slot, state, number in connection.execute(query):
            found.setdefault(slot, {})[state] = number
    return found
