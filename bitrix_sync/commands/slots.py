"""What the commands ``sweep`` and ``undo`` do, for whoever holds the lease: see ``commands``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

from bitrix_sync.commands.runs import Account, Steps, Wait
from bitrix_sync.decisions import overdue
from bitrix_sync.decisions.guards import guard
from bitrix_sync.engine import recognition
from bitrix_sync.engine.passes import ServiceContext
from bitrix_sync.engine.sender import UPDATE
from bitrix_sync.errors import UserError
from bitrix_sync.model.actions import Action, Kind, SetDeadline, SetPeople
from bitrix_sync.model.facts import PortalTask
from bitrix_sync.model.keys import Key, Purpose, SlotId
from bitrix_sync.model.operations import Changeset, Operation, OperationResult, State, StoredOperation, TaskRecord
from bitrix_sync.model.reasons import Reason
from bitrix_sync.store import Store, Sweep
from bitrix_sync.sweeps.run import Plan, carry, decide, finish, go_on, summary_of
from bitrix_sync.sweeps.state import (
    CLAIMED,
    HELD,
    MOVING,
    SKIPPED,
    UNDONE,
    WAITING,
    count_states,
    last_run,
    lendings_of,
    moves_of,
    note_rest,
    rest_of,
    slot_rule,
)
from bitrix_sync.sweeps.summary import tell_when_through, would_tell

WAIT = timedelta(seconds=30)
"""So long a command waits for what the portal puts off; then the service does it."""


def sweep(context: ServiceContext, args: Mapping[str, Any]) -> Steps:
    """Today's sweep of that ``name``, now, once; ``rerun``: once more, if it was undone; ``dry_run`` only says what it
    would do. UserError if it was done, or if the file has none of that name."""
    store, rules, now = context.store, context.rulebook.rules, context.portal.now()
    name = str(args["name"])
    slot = str(SlotId(rules.calendar.local(now).date(), name))
    rule = slot_rule(rules, slot)
    if rule is None:
        raise UserError(
            f"rules.yaml has no '{name}' under 'overdue'; "
            f'add it, e.g. {name}: {{at: "09:00", move_to: {{after: 1 workday}}}}'
        )
    if args.get("dry_run"):
        would = decide(context, slot, rule, now)
        return {**describe_plan(context, would), "drafts": drafts(context, would), "dry_run": True}
    last = last_run(store, slot)
    if last is not None:
        slot = last.slot
    if last is None or "resumed" not in args:
        slot = next_run(slot, last, again=bool(args.get("rerun")))
        store.claim_sweep(slot, now)
    claimed = store.sweep(slot)
    plan = carry(context, claimed) if claimed is not None and claimed.state == CLAIMED else None
    yield from work_off(context, slot)
    rows, now_is = moves_of(store, slot), store.sweep(slot)
    counts = count_states(rows)
    until = rest_of(context, counts["remaining"])
    return {
        **(describe_plan(context, plan) if plan is not None else {"sweep": slot, "tasks": []}),
        **counts,
        "failed": refusals(context, rows),
        "messages": now_is.summary.get("messages", 0) if now_is else 0,
        "until": clock_time(context, until),
    }


def drafts(context: ServiceContext, plan: Plan) -> list[Account]:
    """The messages that the sweep would write if all it does were done."""
    would = [*plan.moves, *(one for made in plan.lent for one in made.operations)]
    rows = [StoredOperation(0, one, State.DONE) for one in would]
    sweep = Sweep(plan.slot, plan.moment, CLAIMED, summary_of(plan, watch=False))
    return [
        {"user_id": one.user, "user": context.rulebook.person(one.user), "text": one.text}
        for one in would_tell(context, sweep, rows)
    ]


def next_run(slot: str, last: Sweep | None, *, again: bool) -> str:
    """The name of the sweep that may run now; UserError if none may, for the ``last`` one was done, or was undone and
    nobody said that it be done again."""
    if last is None:
        return slot
    if last.state == UNDONE and not again:
        raise UserError(
            f"the sweep {slot} was undone; `bitrix-sync sweep {SlotId.parse(slot).name} --again` does it once more"
        )
    if last.state not in (UNDONE, SKIPPED):
        raise UserError(f"the sweep {slot} was done already; `bitrix-sync undo {slot}` takes it back")
    before = SlotId.parse(slot)
    return str(replace(before, run=before.run + 1))


def work_off(context: ServiceContext, slot: str) -> Iterator[Wait]:
    """Have the moves carried out, and tell; wait a little for what the portal puts off: the service does the rest."""
    until: datetime | None = None
    while True:
        yield Wait([row.id for row in moves_of(context.store, slot) if row.state is State.PLANNED])
        until = until or context.sender.clock() + WAIT
        row = context.store.sweep(slot)
        if row is None or row.state not in (MOVING, HELD):
            break
        if tell_when_through(context, row):
            yield Wait(messages(context.store))
            break
        if context.sender.clock() >= until or nothing_goes(context, slot):
            break
        yield Wait(rest=1.0)
    note_rest(context)


def nothing_goes(context: ServiceContext, slot: str) -> bool:
    """True when what is left of the moves cannot be written now."""
    if context.store.flags.paused or context.rulebook.rules.safety.watch:
        return True
    held = context.store.move_counts(slot).get(State.HELD)
    return bool(held) or context.portal.rate_limiter.resting_until(UPDATE) is not None


def messages(store: Store) -> list[int]:
    """Messages that wait to be sent."""
    return [row.id for row in store.operations(state=State.PLANNED, kind=Kind.MESSAGE)]


def after_release(context: ServiceContext) -> Iterator[Wait]:
    """A held sweep was let go and carried out: its messages."""
    go_on(context)
    yield Wait(messages(context.store))


def describe_plan(context: ServiceContext, plan: Plan) -> Account:
    """A plan for people and programs."""
    names = context.rulebook.person
    return {
        "sweep": plan.slot,
        "overdue": plan.overdue,
        "moves": len(plan.moves),
        "held": plan.held,
        "watch": context.rulebook.rules.safety.watch,
        "rights_lost": bool(plan.seen.lost),
        "handed_over": [passed_line(context, one) for made in plan.lent for one in made.operations if passed(one)],
        "load": [
            {
                "user_id": user,
                "user": names(user),
                "room": plan.room.get(user),
                "before": {day.isoformat(): count for day, count in load.before.items()},
                "after": {day.isoformat(): count for day, count in load.after.items()},
            }
            for user, load in plan.load.items()
        ],
        "tasks": [
            {
                "task_id": one.record.portal_id,
                "title": one.record.title,
                "deal_id": one.record.deal_id,
                "owner_id": one.record.owner_id,
                "owner": names(one.record.owner_id),
                "supervisor_id": one.supervisor,
                "supervisor": names(one.supervisor) if one.supervisor else "",
                "fate": one.fate,
                "why": why_not_moved(one, plan),
                "from": clock_time(context, one.record.deadline),
                "to": clock_time(context, one.deadline),
                "moves": one.record.moves,
                "for_absence": one.for_absence,
                "fits": one.place.fits if one.place else None,
                "refused": [
                    asdict(day) | {"day": day.day.isoformat(), "until": clock_time(context, day.until)}
                    for day in (one.place.refused if one.place else ())
                ],
            }
            for one in plan.late
        ],
    }


def passed(operation: Operation) -> bool:
    """True of a handing over, not of the line that tells of it."""
    return isinstance(operation.action, SetPeople)


def passed_line(context: ServiceContext, operation: Operation) -> Account:
    """A task that goes to a substitute, or comes back."""
    change, names = operation.action, context.rulebook.person
    assert isinstance(change, SetPeople)
    (record,) = context.store.task_records(refs=[operation.task])
    return {
        "task_id": record.portal_id,
        "title": record.title,
        "deal_id": operation.deal_id,
        "back": change.lending == "back",
        "from_id": change.seen,
        "from": names(change.seen or 0),
        "to_id": change.owner,
        "to": names(change.owner or 0),
        "until": clock_time(context, change.until),
    }


def clock_time(context: ServiceContext, moment: datetime | None) -> str | None:
    """A moment on the clocks of the file's zone."""
    return context.rulebook.rules.calendar.local(moment).isoformat(timespec="minutes") if moment else None


def why_not_moved(one: overdue.OverdueTask, plan: Plan) -> str:
    """Why a task is not moved; "" if it is."""
    if one.fate == "move":
        return ""
    if one.fate == "awaiting":
        return Reason.AWAITING
    if one.record.deal_id and one.record.deal_id not in plan.seen.deals:
        return Reason.DEAL_GONE
    deal = plan.seen.deals.get(one.record.deal_id)
    return Reason.DEAL_CLOSED if deal is not None and deal.closed else Reason.LIMIT.of(one.record.moves)


def refusals(context: ServiceContext, rows: Iterable[StoredOperation]) -> list[Account]:
    """What the portal refused, with its reasons."""
    failed = [row for row in rows if row.state is State.FAILED]
    records = {one.ref: one for one in context.store.task_records(refs=[row.operation.task for row in failed])}
    return [
        {
            "kind": row.operation.kind.value,
            "deal_id": row.operation.deal_id,
            "task_id": row.task_id,
            "title": records[row.operation.task].title if row.operation.task in records else "",
            "code": row.error_code,
            "error": row.error_text,
        }
        for row in failed
    ]


def undo(context: ServiceContext, args: Mapping[str, Any]) -> Steps:
    """Put the deadlines of a sweep, in its latest run, back where they are still what it set; counts go back too. What
    it had not sent yet is not sent; messages that were not written yet are not written. ``dry_run`` only says it."""
    store = context.store
    row = undoable(store, str(args["slot"]), resumed="resumed" in args)
    slot = row.slot
    if args.get("dry_run"):
        return to_be_undone(context, slot)
    if context.rulebook.rules.safety.watch:
        raise UserError("rules.yaml says 'watch: true', so nothing is written to the portal; take it out, then undo")
    moves = [*moves_of(store, slot), *lendings_of(store, slot)]
    unsent = [OperationResult(one.id, State.DROPPED, error_text=Reason.UNDONE) for one in moves if one.state in WAITING]
    finish(context, unsent)
    back = undoings(moves)
    summary = {name: value for name, value in row.summary.items() if name not in ("stays", "left")}
    given_up = tuple(replace(one.operation, state=State.DROPPED) for one in moves if one.state is State.FAILED)
    recording = Changeset(
        at=context.portal.now(), operations=tuple(back), renewed=given_up, sweep=(slot, UNDONE, summary)
    )
    yield Wait(store.record(recording, context.sender.epoch))
    note_rest(context)
    rows = store.operations(keys=[one.key for one in back])
    counts = count_states(rows)
    account = {"put_back": counts["moved"], "left_alone": len(moves) - len(unsent) - counts["moved"]}
    store.close_sweep(slot, UNDONE, {**summary, **account})
    return {
        "sweep": slot,
        "put_back": counts["moved"],
        "left_alone": counts["dropped"],
        "unsent": len(unsent),
        "waiting": counts["remaining"],
        "failed": refusals(context, rows),
    }


def undoable(store: Store, slot: str, *, resumed: bool) -> Sweep:
    """The latest run of the sweep; UserError if there was none, or it was undone, unless that is to be ended now."""
    row = last_run(store, slot)
    if row is None or row.state == SKIPPED:
        known = ", ".join(one.slot for one in store.sweeps(limit=6) if one.state != SKIPPED) or "none yet"
        raise UserError(f"there was no sweep {slot}; there were: {known}")
    if row.state == UNDONE and not resumed:
        raise UserError(f"the sweep {row.slot} was undone already; look at `bitrix-sync undo`")
    return row


def to_be_undone(context: ServiceContext, slot: str) -> Account:
    """What ``undo`` would do, from a reading of the tasks as they are now; nothing is written."""
    moves = [*moves_of(context.store, slot), *lendings_of(context.store, slot)]
    back = undoings(moves)
    records = {one.ref: one for one in context.store.task_records(refs=[one.task for one in back])}
    seen = recognition.shown(context.portal, records.values())
    lines = [undone_line(context, one, records[one.task], seen) for one in back]
    left_alone = sum(bool(line["why"]) for line in lines)
    return {
        "sweep": slot,
        "dry_run": True,
        "put_back": len(lines) - left_alone,
        "left_alone": left_alone,
        "unsent": sum(one.state in WAITING for one in moves),
        "tasks": lines,
    }


def undone_line(
    context: ServiceContext, back: Operation, record: TaskRecord, seen: Mapping[int, PortalTask]
) -> Account:
    """A deadline that is put back, or why it is not."""
    task = seen.get(record.portal_id or 0)
    verdict = guard(back, task, record, now=context.portal.now())
    return {
        "task_id": record.portal_id,
        "title": record.title,
        "deal_id": back.deal_id,
        "from": clock_time(context, task.deadline if task is not None else None),
        "to": clock_time(context, back.action.deadline if isinstance(back.action, SetDeadline) else None),
        "to_owner": context.rulebook.person(back.action.owner)
        if isinstance(back.action, SetPeople) and back.action.owner
        else "",
        "why": verdict.reason if verdict is not None else "",
    }


def undoings(moves: Iterable[StoredOperation]) -> list[Operation]:
    """All moves that were made, or may have been, backwards."""
    made = (State.DONE, State.UNKNOWN)
    return [undoing(one) for one in moves if one.state in made and not one.operation.forgotten]


def backwards(action: Action) -> SetDeadline | SetPeople:
    """What takes a move, or a handing over, back."""
    match action:
        case SetDeadline():
            return SetDeadline(action.seen, "undo", action.deadline, away=action.away)
        case SetPeople():
            return SetPeople(
                action.seen,
                action.owner,
                supervisor=next(iter(action.drop), None),
                drop=(action.supervisor,) if action.supervisor is not None else (),
                lending="lend" if action.lending == "back" else "back",
                absent=action.absent,
            )
    raise ValueError(f"{action.kind} is nothing that a sweep does")


def undoing(move: StoredOperation) -> Operation:
    """The move backwards; whether anybody has touched the task since is seen just before it is sent."""
    operation = move.operation
    return Operation(
        str(Key(Purpose.UNDO, operation.key)),
        backwards(operation.action),
        operation.deal_id,
        operation.task,
        urgency=overdue.URGENCY,
        sweep=operation.sweep,
    )
