"""The life of operations: what may be sent now, what was sent, what became of it. Inside the caller's transaction.

An operation waits while an earlier one on the same task (unless both are items of a check list), or an earlier move of
its deal, has no end yet; and, unless it is the creation itself, until the portal's id of its task is known.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)

from bitrix_sync.model.actions import (
    Action,
    CompleteTask,
    DeferTask,
    DeleteTask,
    Kind,
    MoveDeal,
    ResumeTask,
    SetDeadline,
    SetPeople,
    pack,
)
from bitrix_sync.model.facts import DEFERRED, DONE, OPEN_STATUSES
from bitrix_sync.model.facts import WAITING as PENDING
from bitrix_sync.model.keys import Key, Purpose, ground_of, line_about, purpose_of
from bitrix_sync.model.operations import Operation, OperationResult, State, StoredOperation
from bitrix_sync.model.reasons import Reason
from bitrix_sync.store.database import insert_new
from bitrix_sync.store.mapping import action_of, change_with, chunks, rows_with
from bitrix_sync.store.schema import deals, operations, portal, slips, tasks, told, visits
from bitrix_sync.store.tasks import SEEN, absorb, lose_numbers, resolve

UNFINISHED = (State.PLANNED.value, State.HELD.value, State.SENDING.value, State.UNKNOWN.value)
WAITING = (State.PLANNED.value, State.HELD.value)
ITEM = Purpose.ITEM.beginning
STATUS = (Purpose.LEAVE, Purpose.CLOSE, Purpose.RESUME)
OF_SWEEPS = (Purpose.SWEEP, Purpose.UNDO)
INSTEAD: Mapping[Purpose, tuple[Purpose, ...]] = {
    **{Purpose.FOLLOW: (Purpose.FOLLOW,), Purpose.PEOPLE: (Purpose.PEOPLE,)},
    **dict.fromkeys(STATUS, STATUS),
    **dict.fromkeys(OF_SWEEPS, OF_SWEEPS),
    **dict.fromkeys((Purpose.CHECKLIST, Purpose.ITEM), ()),
    **dict.fromkeys((Purpose.LINE_OF_FOLLOW, Purpose.LINE_OF_PEOPLE, Purpose.LINE_OF_TAKEN), ()),
}
"""Changes of tasks that are tried again when they were refused → which later ones on the task take their place."""
TAKEN = "number_taken"
"""Error of a creation that the portal says it carried out under the number of another task of ours."""
_ENDS = (State.DONE, State.FAILED, State.DROPPED)


def _all() -> Select[Any]:
    return select(operations, tasks.c.portal_id.label("task_id")).outerjoin(tasks, tasks.c.id == operations.c.task_row)


def stored_operation(row: Row[Any]) -> StoredOperation:
    """From ``operations`` joined with ``tasks`` (``task_id``)."""
    state = State(row.state)
    return StoredOperation(
        id=row.id,
        operation=Operation(
            key=row.key,
            action=action_of(row),
            deal_id=row.deal_id,
            task=row.task,
            urgency=row.urgency,
            look_first=row.look_first,
            not_before=row.not_before,
            sweep=row.sweep,
            state=state,
        ),
        state=state,
        attempts=row.attempts,
        task_id=row.task_id,
        result=row.result,
        error_code=row.error_code,
        error_text=row.error_text,
        created=row.created,
        sent=row.sent,
        noticed=row.noticed,
    )


def operation_row(operation: Operation, *, created: datetime, task: int | None) -> dict[str, Any]:
    """For ``operations``; ``task`` is the row of the task it acts on."""
    return {
        "key": operation.key,
        "kind": operation.kind.value,
        "payload": pack(operation.action),
        "deal_id": operation.deal_id,
        "task": operation.task,
        "task_row": task,
        "urgency": operation.urgency,
        "look_first": operation.look_first,
        "not_before": operation.not_before,
        "sweep": operation.sweep,
        "state": operation.state.value,
        "attempts": 0,
        "error_code": "",
        "error_text": "",
        "created": created,
    }


def ready(
    connection: Connection,
    now: datetime,
    limit: int,
    exclude_kinds: Collection[Kind] = (),
    scarce: Mapping[Kind, int] | None = None,
) -> list[StoredOperation]:
    """What may be sent now (our clock), by urgency, then age. Never two on one task (items of one check list aside,
    once that is there), never one that would overtake an earlier unfinished one on its task or an earlier unfinished
    move of its deal. ``scarce``: of these kinds only what is of that urgency or a lower number."""
    planned = operations.c.state == State.PLANNED.value
    if connection.execute(select(operations.c.id).where(planned).limit(1)).first() is None:
        return []  # asked twice a second, so it is asked briefly
    earlier, move = operations.alias("earlier"), operations.alias("move")
    query = _all().where(
        planned,
        or_(operations.c.not_before.is_(None), operations.c.not_before <= now),
        or_(
            operations.c.task_row.is_(None),
            operations.c.kind == Kind.CREATE.value,
            tasks.c.portal_id.is_not(None),
        ),
        ~exists().where(
            earlier.c.task_row == operations.c.task_row,
            earlier.c.id < operations.c.id,
            earlier.c.state.in_(UNFINISHED),
            # items wait for their check list, not for each other: a batch keeps their order
            ~and_(earlier.c.key.startswith(ITEM), operations.c.key.startswith(ITEM)),
        ),
        ~exists().where(
            move.c.deal_id == operations.c.deal_id,
            move.c.deal_id != 0,
            move.c.kind == Kind.MOVE_DEAL.value,
            move.c.id < operations.c.id,
            move.c.state.in_(UNFINISHED),
        ),
    )
    if exclude_kinds:
        query = query.where(operations.c.kind.not_in([kind.value for kind in exclude_kinds]))
    for kind, urgency in (scarce or {}).items():
        query = query.where(or_(operations.c.kind != kind.value, operations.c.urgency <= urgency))
    query = query.order_by(operations.c.urgency, operations.c.id).limit(limit)
    return [stored_operation(row) for row in connection.execute(query)]


def put_off_until(connection: Connection, now: datetime) -> datetime | None:
    """When the first of what is planned for later may be sent (our clock); None: nothing is."""
    later = (operations.c.state == State.PLANNED.value) & (operations.c.not_before > now)
    return connection.execute(select(func.min(operations.c.not_before)).where(later)).scalar()


def find(
    connection: Connection,
    *,
    state: State | Collection[State] | None = None,
    sweep: str | None = None,
    keys: Collection[str] | None = None,
    ids: Collection[int] | None = None,
    deal_id: int | None = None,
    kind: Kind | None = None,
    error_code: str | None = None,
    limit: int | None = None,
) -> list[StoredOperation]:
    """Operations that fit every condition given (of ``keys`` and ``ids`` one), by id."""
    conditions = _conditions(state, sweep=sweep, deal_id=deal_id, kind=kind, error_code=error_code)
    query = _all().where(and_(True, *conditions)).order_by(operations.c.id).limit(limit)
    if keys is None and ids is None:
        return [stored_operation(row) for row in connection.execute(query)]
    column, names = (operations.c.id, ids) if ids is not None else (operations.c.key, keys)
    found = [stored_operation(row) for row in rows_with(connection, query, column, names or ())]
    return sorted(found, key=lambda recorded: recorded.id)[:limit]


def _conditions(state: State | Collection[State] | None, **equal: Any) -> list[ColumnElement[bool]]:
    found = [operations.c[name] == value for name, value in equal.items() if value is not None]
    if state is not None:
        found.append(operations.c.state.in_([state] if isinstance(state, State) else state))
    return found


def untold_failures(connection: Connection) -> list[StoredOperation]:
    """What the portal refused and nobody was told of yet, by id."""
    said = exists().where(told.c.key == literal(Purpose.FAILED.beginning) + operations.c.key)
    query = _all().where(operations.c.state == State.FAILED.value, ~said).order_by(operations.c.id)
    return [stored_operation(row) for row in connection.execute(query)]


def counts(connection: Connection) -> dict[State, int]:
    """How many operations are in each state; states without any are missing."""
    query = select(operations.c.state, func.count()).group_by(operations.c.state)
    return {State(state): number for state, number in connection.execute(query)}


def waiting(connection: Connection) -> dict[Kind, int]:
    """How many operations of each kind have no end yet, those held back aside."""
    query = select(operations.c.kind, func.count()).where(operations.c.state.in_(UNFINISHED))
    return {Kind(kind): number for kind, number in connection.execute(query.group_by(operations.c.kind))}


def unsent(connection: Connection, ids: Sequence[int]) -> int:
    """How many of these operations are still to be sent, or being sent."""
    on_its_way = operations.c.state.in_([State.PLANNED.value, State.SENDING.value])
    return sum(
        int(connection.execute(select(func.count()).where(operations.c.id.in_(part), on_its_way)).scalar_one())
        for part in chunks(ids)
    )


def created_since(connection: Connection, moment: datetime) -> int:
    """Tasks decided since then (the portal's time) and let through: not held, watched or dropped."""
    apart = [State.HELD.value, State.WATCHED.value, State.DROPPED.value]
    query = select(func.count()).where(
        operations.c.kind == Kind.CREATE.value, operations.c.created >= moment, operations.c.state.not_in(apart)
    )
    return int(connection.execute(query).scalar_one())


def resent_creates(connection: Connection, before: datetime) -> list[StoredOperation]:
    """Ended creations that were unknown once and sent again, the last time before that moment (our clock): the portal
    may hold two tasks with their mark."""
    query = _all().where(
        operations.c.kind == Kind.CREATE.value,
        operations.c.attempts >= 2,
        operations.c.noticed.is_not(None),
        operations.c.sent <= before,
        operations.c.state.in_([State.DONE.value, State.FAILED.value]),
    )
    return [stored_operation(row) for row in connection.execute(query.order_by(operations.c.id))]


def last_writes(connection: Connection, refs: Collection[str]) -> dict[str, datetime]:
    """When we last wrote to each of these tasks of ours (the portal's time)."""
    query = (
        select(tasks.c.occurrence, func.max(operations.c.ended).label("ended"))
        .join(operations, operations.c.task_row == tasks.c.id)
        .where(operations.c.state == State.DONE.value)
        .group_by(tasks.c.occurrence)
    )
    return {row.occurrence: row.ended for row in rows_with(connection, query, tasks.c.occurrence, refs)}


def drop_unsent(connection: Connection, rule_id: str, *, since: datetime) -> int:
    """Drops the creations of a rule decided since then (the portal's time) that were never sent, with all that waits
    for them; how many."""
    made = select(operations.c.id).where(
        operations.c.kind == Kind.CREATE.value,
        operations.c.created >= since,
        operations.c.state.in_(WAITING),
        operations.c.attempts == 0,
        operations.c.task_row.in_(select(tasks.c.id).where(tasks.c.rule_id == rule_id)),
    )
    ids = list(connection.execute(made).scalars())
    now = connection.execute(select(portal.c.recorded)).scalar_one()
    reason = Reason.REMOVED.of(rule_id)
    finish(connection, [OperationResult(number, State.DROPPED, error_text=reason) for number in ids], now)
    return len(ids)


def write(connection: Connection, planned: Sequence[Operation], at: datetime) -> tuple[list[int], set[int]]:
    """Writes those whose keys are not known; their ids, and the rows of all tasks that they act on."""
    keys = [operation.key for operation in planned]
    known = {row.key for row in rows_with(connection, select(operations.c.key), operations.c.key, keys)}
    new = [operation for operation in planned if operation.key not in known]
    rows = resolve(connection, {operation.task: operation.deal_id for operation in new if operation.task})
    values = [operation_row(operation, created=at, task=rows.get(operation.task)) for operation in new]
    return insert_new(connection, operations, values, returning=True), set(rows.values())


def mark_sending(connection: Connection, ids: Sequence[int], *, epoch: int, now: datetime) -> list[int]:
    """Notes, before the first byte leaves, that these are on their way; those no longer planned are left out."""
    marked: list[int] = []
    for part in chunks(ids):
        planned = and_(operations.c.id.in_(part), operations.c.state == State.PLANNED.value)
        rows = connection.execute(select(operations).where(planned).order_by(operations.c.id)).all()
        marked += [row.id for row in rows]
        for row in rows:
            if row.task_row is not None and isinstance(change := action_of(row), SetDeadline):
                _note_sent(connection, row.task_row, change.deadline)
        connection.execute(
            update(operations)
            .where(planned)
            .values(state=State.SENDING.value, sent=now, epoch=epoch, attempts=operations.c.attempts + 1)
        )
    return marked


def settle(connection: Connection, now: datetime) -> int:
    """Whatever was on its way when its process ended or met trouble may have arrived: unknown from now on. Returns how
    many."""
    return connection.execute(
        update(operations)
        .where(operations.c.state == State.SENDING.value)
        .values(state=State.UNKNOWN.value, noticed=now)
    ).rowcount


def stuck(connection: Connection, before: datetime) -> int:
    """How many operations are being sent since before that moment (our clock), longer than a request takes."""
    query = select(func.count()).where(operations.c.state == State.SENDING.value, operations.c.sent < before)
    return int(connection.execute(query).scalar_one())


def release(connection: Connection, keys: Collection[str] | None = None, *, later: int = 0) -> int:
    """Plans what is held, all or these keys, to be looked up before it is sent, for it is old news by now; returns how
    many. ``later``: they are so much less urgent from now on."""
    held = operations.c.state == State.HELD.value
    urgency = operations.c.urgency + later
    values = {"state": State.PLANNED.value, "look_first": True, "not_before": None, "urgency": urgency}
    if keys is None:
        return connection.execute(update(operations).where(held).values(values)).rowcount
    return change_with(connection, update(operations).where(held).values(values), operations.c.key, keys)


def doubt(connection: Connection, keys: Collection[str]) -> None:
    """The portal is looked at before these creations are sent for the first time: their tasks were seen there."""
    unsent = update(operations).where(operations.c.attempts == 0, operations.c.state.in_(WAITING))
    change_with(connection, unsent.values(look_first=True), operations.c.key, keys)


def renew(connection: Connection, decided_anew: Iterable[Operation], at: datetime) -> None:
    """Plans what is held, was refused or was dropped for it, as it is decided now; old news, so the portal
    is looked at first. A refusal that comes again is told again."""
    moment = literal(at, operations.c.created.type)
    for operation in decided_anew:
        idle = operations.c.state.in_([State.HELD.value, State.FAILED.value, State.DROPPED.value])
        connection.execute(
            update(operations)
            .where(operations.c.key == operation.key, idle)
            .values(
                payload=pack(operation.action),
                urgency=operation.urgency,
                created=case((operations.c.state == State.HELD.value, operations.c.created), else_=moment),
                state=operation.state.value,
                look_first=True,
                not_before=None,
                attempts=0,
                error_code="",
                error_text="",
                ended=None,
            )
        )
        connection.execute(delete(told).where(told.c.key == str(Key(Purpose.FAILED, operation.key))))


def refused(connection: Connection) -> list[StoredOperation]:
    """What the portal refused and may be tried again, by id: creations and moves of deals, of the visits in which these
    still are, and changes of open tasks."""
    return sorted([*_refused_of_visits(connection), *_refused_changes(connection)], key=lambda row: row.id)


def _refused_changes(connection: Connection) -> list[StoredOperation]:
    """Those of tasks, but for what a later change took the place of, and lines about changes that were not made."""
    failed = _all().where(
        operations.c.state == State.FAILED.value,
        or_(tasks.c.rule_id != "", operations.c.sweep != ""),
        tasks.c.portal_id.is_not(None),
        tasks.c.gone.is_(False),
        tasks.c.status.in_(OPEN_STATUSES),
    )
    rows = [row for row in connection.execute(failed) if purpose_of(row.key) in INSTEAD]
    rivals: dict[int, list[_Rival]] = defaultdict(list)
    query = select(operations.c.id, operations.c.key, operations.c.state, operations.c.task_row)
    for other in rows_with(connection, query, operations.c.task_row, {row.task_row for row in rows}):
        rivals[other.task_row].append(_Rival(other.id, other.key, other.state == State.DONE.value))
    return [
        stored_operation(row)
        for row in rows
        if not any(_stands_for(one, _Rival(row.id, row.key)) for one in rivals[row.task_row])
    ]


@dataclass(frozen=True, slots=True)
class _Rival:
    """A change of a task, as it bears upon another one of the task."""

    id: int
    key: str
    done: bool = False


def _stands_for(other: _Rival, refused: _Rival) -> bool:
    """True when a refused change need not be made, for there is this other one on its task: a later one to the same
    end, an item that stands there without the check list, or the change that a line was to explain, if not made."""
    if other.key == ground_of(refused.key) != refused.key:
        return not other.done
    purpose, its = purpose_of(refused.key), purpose_of(other.key)
    if purpose is Purpose.CHECKLIST:
        return its is Purpose.ITEM and other.done
    return other.id > refused.id and purpose is not None and its in INSTEAD[purpose]


def _refused_of_visits(connection: Connection) -> list[StoredOperation]:
    latest = select(func.max(visits.c.id)).where(visits.c.deal_id == operations.c.deal_id).scalar_subquery()
    query = (
        select(operations, tasks.c.portal_id.label("task_id"), tasks.c.visit_id, latest.label("latest"))
        .outerjoin(tasks, tasks.c.id == operations.c.task_row)
        .join(deals, deals.c.id == operations.c.deal_id)
        .where(
            operations.c.state == State.FAILED.value,
            operations.c.kind.in_([Kind.CREATE.value, Kind.MOVE_DEAL.value]),
            deals.c.gone.is_(False),
        )
        .order_by(operations.c.id)
    )
    rows = [(row, action_of(row)) for row in connection.execute(query)]
    of_visit = [(row, action.visit if isinstance(action, MoveDeal) else row.visit_id) for row, action in rows]
    return [stored_operation(row) for row, visit in of_visit if row.latest == visit]


@dataclass(frozen=True, slots=True)
class _Ended:
    """An operation that has come to its end, as its row says, and how."""

    task: int
    sweep: str
    action: Action
    state: State


def finish(
    connection: Connection, outcomes: Iterable[OperationResult], now: datetime, at: datetime | None = None
) -> None:
    """Notes what became of operations, with what follows for their tasks. One that has ended already is left alone.
    What is unknown was noticed ``now`` (our clock), what has ended did so ``at`` (the portal's time)."""
    at = now if at is None else at
    by_id = {outcome.id: outcome for outcome in outcomes}
    unfinished = select(operations).where(operations.c.state.in_(UNFINISHED))
    rows = rows_with(connection, unfinished, operations.c.id, sorted(by_id))
    _note_states(connection, [by_id[row.id] for row in rows], now, at)
    touched = _follow_all(connection, [row for row in rows if row.task_row is not None], by_id, at)
    drop_orphans(connection, touched, at)
    _drop_lines(connection, [(row.key, by_id[row.id].state) for row in rows], at)


def _follow_all(
    connection: Connection, rows: Sequence[Row[Any]], outcomes: Mapping[int, OperationResult], at: datetime
) -> set[int]:
    """What follows for the tasks; the rows of those of which others may have lost their task."""
    touched = {row.task_row for row in rows if outcomes[row.id].stranger}
    lose_numbers(connection, touched)
    made: list[tuple[int, int, int | None]] = []
    for row in rows:
        outcome = outcomes[row.id]
        if outcome.state is State.DONE and row.kind == Kind.CREATE.value:
            made.append((row.id, row.task_row, outcome.result))
        elif outcome.state in _ENDS:
            touched |= _follow(connection, _Ended(row.task_row, row.sweep, action_of(row), outcome.state), at)
    return touched | _adopt_all(connection, made)


def _drop_lines(connection: Connection, ended: Iterable[tuple[str, State]], now: datetime) -> None:
    """The lines that were to tell of those among the changes (keys) that were not made."""
    keys = [line_about(key) for key, state in ended if state in (State.FAILED, State.DROPPED)]
    untrue = update(operations).where(operations.c.state.in_(WAITING))
    dropped = untrue.values(state=State.DROPPED.value, error_text=Reason.NOT_MADE, ended=now)
    change_with(connection, dropped, operations.c.key, keys)


def _note_states(connection: Connection, outcomes: Iterable[OperationResult], now: datetime, at: datetime) -> None:
    """The operations' own rows, in few statements."""
    alike: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for outcome in outcomes:
        values: dict[str, Any] = {
            "state": outcome.state.value,
            "error_code": outcome.error_code,
            "error_text": outcome.error_text,
        }
        if outcome.result is not None:
            values["result"] = outcome.result
        if outcome.state in _ENDS:
            values["ended"] = at
        elif outcome.state is State.UNKNOWN:
            values["noticed"] = now
        else:
            values["not_before"] = outcome.not_before
        alike[tuple(values)].append({**values, "row": outcome.id})
    for names, rows in alike.items():
        columns: dict[str, Any] = {name: bindparam(name) for name in names}
        connection.execute(update(operations).where(operations.c.id == bindparam("row")).values(columns), rows)


def _follow(connection: Connection, ended: _Ended, now: datetime) -> set[int]:
    """What an ended operation means for its task; returns the task's row if others may have lost their task."""
    task = ended.task
    if ended.state is not State.DONE:
        if ended.action.kind is not Kind.CREATE:
            return set()
        connection.execute(update(tasks).where(tasks.c.id == task, tasks.c.portal_id.is_(None)).values(status=0))
        return {task}
    match ended.action:
        case SetDeadline() as change:
            _move(connection, task, change, ended.sweep, now)
        case SetPeople() as change:
            _hand_over(connection, task, change, now)
        case CompleteTask():
            _set(connection, task, status=DONE, closed=now, ended=now)
        case DeferTask():
            _set(connection, task, status=DEFERRED, ended=now)
        case ResumeTask():
            put_off = update(tasks).where(tasks.c.id == task, tasks.c.status == DEFERRED)
            connection.execute(put_off.values(status=PENDING, ended=None))
        case DeleteTask():
            _set(connection, task, gone=True, ended=now)
            return {task}
    return set()


def _set(connection: Connection, task: int, **values: Any) -> None:
    connection.execute(update(tasks).where(tasks.c.id == task).values(**values))


def _adopt_all(connection: Connection, made: Sequence[tuple[int, int, int | None]]) -> set[int]:
    """Tasks have their portal ids (operation, task's row, id); those that nobody has seen yet, in one statement. A
    creation whose id is another task's fails: returns the rows of those tasks."""
    numbers = [portal_id for _, _, portal_id in made if portal_id is not None]
    if len(numbers) < len(made):
        raise ValueError("a creation that is done has the id of its task as result")
    fresh = _fresh(connection, [task for _, task, _ in made], numbers)
    others = [(one, number) for one, number in zip(made, numbers, strict=True) if fresh.get(one[1]) != number]
    return {task for (operation, task, _), number in others if not _adopted(connection, operation, task, number)}


def _fresh(connection: Connection, rows: Sequence[int], numbers: Sequence[int]) -> dict[int, int]:
    """Gives tasks those of the numbers that no other task has."""
    seen = {row.portal_id for row in rows_with(connection, select(tasks.c.portal_id), tasks.c.portal_id, numbers)}
    fresh: dict[int, int] = {}
    for task, number in zip(rows, numbers, strict=True):
        if number not in seen:
            fresh[task] = number
            seen.add(number)
    if fresh:
        connection.execute(
            update(tasks).where(tasks.c.id == bindparam("row")).values(portal_id=bindparam("adopted")),
            [{"row": task, "adopted": number} for task, number in fresh.items()],
        )
    return fresh


def _adopted(connection: Connection, operation: int, task: int, number: int) -> bool:
    """False for a creation whose id is another task's: it has failed."""
    owner = _adopt(connection, task, number)
    if owner:
        text = f"the portal gave it the number {number}, which is that of the task {owner}"
        values = {"state": State.FAILED.value, "error_code": TAKEN, "error_text": text}
        connection.execute(update(operations).where(operations.c.id == operation).values(values))
        _set(connection, task, status=0)
    return not owner


def _adopt(connection: Connection, task: int, portal_id: int) -> str:
    """The task was already seen, and taken for a foreign one: the two rows become one. Returns the occurrence that has
    the number already, if it is another one of ours."""
    seen = connection.execute(select(tasks.c.id, tasks.c.occurrence).where(tasks.c.portal_id == portal_id)).first()
    if seen is None:
        _set(connection, task, portal_id=portal_id)
    elif seen.id != task:
        if seen.occurrence:
            return str(seen.occurrence)
        held = absorb(connection, seen.id, task)
        counted = {name: tasks.c[name] + held[name] for name in ("moves", "moves_by_us", "moves_by_people")}
        _set(connection, task, portal_id=portal_id, **{name: held[name] for name in SEEN}, **counted)
    return ""


def _move(connection: Connection, task: int, change: SetDeadline, sweep: str, now: datetime) -> None:
    """The deadline is what we sent; who moved it is counted."""
    deadline, by = change.deadline, change.reason or "follow"
    held = connection.execute(select(tasks).where(tasks.c.id == task)).one()
    step = {"sweep": 1, "undo": -1}.get(by, 0)
    counted = ("moves_for_absence",) if change.away else ("moves", "moves_by_us")
    _set(connection, task, deadline=deadline, **{name: max(getattr(held, name) + step, 0) for name in counted})
    _note_sent(connection, task, deadline)
    connection.execute(
        insert(slips),
        {"task_row": task, "before": change.seen, "after": deadline, "by": by, "at": now, "sweep": sweep},
    )


def _note_sent(connection: Connection, task: int, deadline: datetime | None) -> None:
    """A deadline that we sent is not a person's when it is seen in the portal."""
    if deadline is None:
        return
    minute = deadline.astimezone(UTC).replace(second=0, microsecond=0)
    sent = connection.execute(select(tasks.c.sent).where(tasks.c.id == task)).scalar_one()
    if minute not in sent:
        _set(connection, task, sent=(*sent, minute))


def _hand_over(connection: Connection, task: int, change: SetPeople, now: datetime) -> None:
    """Owner and observers are what we sent."""
    held = connection.execute(select(tasks).where(tasks.c.id == task)).one()
    owner, supervisor, dropped = change.owner, change.supervisor, change.drop
    values: dict[str, Any] = {"auditors": [user for user in held.auditors if user not in dropped]}
    if owner is not None:
        values |= {"owner_id": owner, "owner_sent": owner}
        if owner != change.seen or change.lending:
            values |= {"lent_from": change.absent if change.lending == "lend" else None, "lent_at": now}
    if change.creator is not None:
        values["creator_id"] = change.creator
    if supervisor is not None:
        values["supervisor_id"] = supervisor
        if supervisor not in values["auditors"]:
            values["auditors"].append(supervisor)
    elif held.supervisor_id in dropped:
        values["supervisor_id"] = None
    _set(connection, task, **values)


def drop_orphans(connection: Connection, rows: Collection[int], now: datetime) -> None:
    """Among operations on these rows of ``tasks``: those not yet sent whose task is gone, or was never made."""
    reasons = (
        (tasks.c.gone.is_(True), Reason.TASK_GONE),
        (and_(tasks.c.status == 0, tasks.c.portal_id.is_(None)), Reason.NOT_CREATED),
    )
    for part in chunks(sorted(rows)):
        for condition, reason in reasons:
            lost = select(tasks.c.id).where(tasks.c.id.in_(part), condition)
            connection.execute(
                update(operations)
                .where(
                    operations.c.task_row.in_(lost),
                    operations.c.state.in_(WAITING),
                    operations.c.kind != Kind.CREATE.value,
                )
                .values(state=State.DROPPED.value, error_text=reason, ended=now)
            )
