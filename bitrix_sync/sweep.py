"""The sweeps of a day: claim the slot, read what is overdue, decide, record, let it be applied, tell the people.

The same pipeline as a pass with another gatherer. A slot's row is claimed once; a sweep killed half-way goes on from
what is recorded: its moves are operations, its messages too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import structlog

from bitrix_sync import notices, overdue, texts
from bitrix_sync.audit import reread_open
from bitrix_sync.errors import UserError
from bitrix_sync.facts import Deal
from bitrix_sync.operations import Finished, Kind, Operation, Recorded, Recording, State
from bitrix_sync.portal import reading
from bitrix_sync.rules.model import Slot
from bitrix_sync.store import Store, Sweep
from bitrix_sync.sync import Desk, carry_out, observe_seen, tell_admins

log = structlog.get_logger(__name__)

TELL_AFTER = timedelta(minutes=20)
"""Messages go out when the moves are through, or so long after the sweep's moment, saying what remains."""
UNFINISHED = (State.PLANNED, State.SENDING, State.UNKNOWN)
CLAIMED, MOVING, HELD, DONE, SKIPPED, UNDONE = "claimed", "moving", "held", "done", "skipped", "undone"
WAITS = {CLAIMED, MOVING, HELD}


@dataclass(slots=True)
class Plan:
    """What a sweep decided: the fates of overdue tasks and the moves that follow."""

    slot: str
    moment: datetime
    late: list[overdue.Late]
    moves: tuple[Operation, ...]
    held: bool = False
    rights_lost: bool = False


# --- the clock's side ------------------------------------------------------------------------------------------------


def run_due(desk: Desk, *, interrupted: Callable[[], bool] = lambda: False) -> None:
    """Claim and run the slot that is due, resume one that was killed, send the messages of one that is through."""
    rules, store, now = desk.rulebook.rules, desk.store, desk.portal.now()
    if rules.overdue is None:
        store.set_setting("sweeps_since", None)
        return
    since = store.setting("sweeps_since")
    if since is None:
        store.set_setting("sweeps_since", now.isoformat())
        return
    claimed = {one.slot for one in store.sweeps()}
    due = overdue.due_slots(rules.overdue, rules=rules, now=now, since=datetime.fromisoformat(since), claimed=claimed)
    for one in due:
        if one.runs:
            begin(desk, one.slot)
        elif store.claim_sweep(one.slot, now):
            store.close_sweep(one.slot, SKIPPED, {"reason": "missed"})
            log.warning("sweep missed and skipped", slot=one.slot)
    go_on(desk)


def begin(desk: Desk, slot: str) -> bool:
    """Claim a slot; the sweep before it is ended first. False: somebody had it."""
    now = desk.portal.now()
    if not desk.store.claim_sweep(slot, now):
        return False
    for earlier in desk.store.sweeps():
        if earlier.state in WAITS and earlier.slot != slot:
            end_unfinished(desk, earlier)
    desk.store.set_setting("last_sweep", slot)
    return True


def go_on(desk: Desk) -> None:
    """Take every sweep that waits one step further."""
    for one in reversed(desk.store.sweeps(limit=8)):
        if one.state == CLAIMED:
            carry(desk, one)
        elif one.state in (MOVING, HELD):
            tell_when_through(desk, one)


def carry(desk: Desk, sweep: Sweep) -> Plan:
    """Gather, decide, record; after a crash the operations already recorded are simply known."""
    plan = decide(desk, sweep.slot, sweep.moment)
    notes: tuple[Operation, ...] = ()
    rules = desk.rulebook.rules
    if plan.held:
        text = texts.say(
            rules.language, "admin.moves_held", sweep=sweep.slot, count=len(plan.moves), limit=rules.safety.max_moves
        )
        notes = tell_admins(desk.rulebook, f"sweep-held:{sweep.slot}", text)
    moves = () if rules.safety.watch else plan.moves
    desk.store.record(Recording(at=desk.portal.now(), operations=(*moves, *notes)), desk.hands.epoch)
    state = HELD if plan.held else MOVING
    desk.store.close_sweep(sweep.slot, state, summary_of(plan, watch=rules.safety.watch))
    log.info("sweep", slot=sweep.slot, overdue=len(plan.late), moves=len(plan.moves), held=plan.held)
    return plan


def decide(desk: Desk, slot: str, moment: datetime) -> Plan:
    """What the sweep would do, from a fresh reading of everything overdue and of everything known to be open."""
    rules = desk.rulebook.rules
    rule = slot_rule(desk, slot)
    desk.rulebook.refresh_directory()
    seen = reading.overdue_tasks(desk.portal, moment)
    lost = reread_open(desk, fresh={task.id: task for task in seen})
    observe_seen(desk, seen)
    records = desk.store.open_tasks()
    late_ids = sorted({r.deal_id for r in records if r.deal_id and overdue.is_overdue(r, moment)})
    deals: dict[int, Deal] = {deal.id: deal for deal in reading.deals(desk.portal, late_ids, fields=rules.fields)}
    late = overdue.weigh(records, rules=rules, slot=rule, company=desk.rulebook.company, deals=deals, moment=moment)
    if lost.rights_lost:
        return Plan(slot, moment, [], (), rights_lost=True)
    moves = overdue.operations(late, rules=rules, slot=slot, held=False)
    held = len(moves) > rules.safety.max_moves
    if held:
        moves = tuple(replace(move, state=State.HELD) for move in moves)
    return Plan(slot, moment, late, moves, held)


def slot_rule(desk: Desk, slot: str) -> Slot:
    """The slot's entry of the file; UserError if the file has none (any more)."""
    name = slot.partition("/")[2]
    section = desk.rulebook.rules.overdue
    for one in section.slots if section else ():
        if one.name == name:
            return one
    raise UserError(
        f"rules.yaml has no '{name}' under 'overdue'; "
        f'add it, e.g. {name}: {{at: "09:00", move_to: {{after: 1 workday}}}}'
    )


def summary_of(plan: Plan, *, watch: bool = False) -> dict[str, Any]:
    """What must be remembered for the messages and for whoever asks: everything that is not an operation."""
    stays = [
        {
            "ref": one.record.ref,
            "fate": one.fate,
            "supervisor": one.supervisor,
            "owner": one.record.owner_id,
            "to": one.escalated_to,
            "at_top": one.at_top,
            "moves": one.record.moves,
        }
        for one in plan.late
        if one.fate in ("escalate", "awaiting", "closed_deal")
    ]
    return {
        "overdue": len(plan.late),
        "moves": len(plan.moves),
        "held": plan.held,
        "watch": watch,
        "rights_lost": plan.rights_lost,
        "stays": stays,
    }


# --- messages --------------------------------------------------------------------------------------------------------


def tell_when_through(desk: Desk, sweep: Sweep) -> bool:
    """Record the messages of a sweep when its moves are through or time is up; True when they are recorded."""
    now = desk.portal.now()
    rows = moves_of(desk.store, sweep.slot)
    remains = sum(row.state in UNFINISHED for row in rows)
    if sweep.state == HELD and any(row.state is State.HELD for row in rows):
        return False
    if remains and now - sweep.moment < TELL_AFTER:
        return False
    tell(desk, sweep, rows)
    return True


def tell(desk: Desk, sweep: Sweep, rows: list[Recorded]) -> None:
    """One message for each person who has something to hear; with the told marks in one transaction."""
    rules = desk.rulebook.rules
    told, operations = notices.messages(desk, sweep, rows)
    operations = () if rules.safety.watch else operations
    desk.store.record(Recording(at=desk.portal.now(), operations=operations, told=told), desk.hands.epoch)
    counts = count_states(rows)
    desk.store.close_sweep(sweep.slot, DONE, {**sweep.summary, **counts, "messages": len(operations)})
    log.info("sweep told", slot=sweep.slot, messages=len(operations), **counts)


def end_unfinished(desk: Desk, sweep: Sweep) -> None:
    """The next slot begins: what is unsent of this one is dropped, and listed in its messages."""
    rows = moves_of(desk.store, sweep.slot)
    unsent = [row for row in rows if row.state in (State.PLANNED, State.HELD)]
    finished = [Finished(row.id, State.DROPPED, error_text="the next sweep began") for row in unsent]
    desk.store.finish(finished, desk.hands.epoch, desk.hands.clock())
    if sweep.state == CLAIMED:
        desk.store.close_sweep(sweep.slot, SKIPPED, {"reason": "the next sweep began"})
    else:
        tell(desk, sweep, moves_of(desk.store, sweep.slot))


def moves_of(store: Store, slot: str) -> list[Recorded]:
    """The moves of a sweep, in the order of deciding."""
    return [
        row for row in store.operations(sweep=slot, kind=Kind.DEADLINE) if row.operation.payload["reason"] == "sweep"
    ]


def count_states(rows: list[Recorded]) -> dict[str, int]:
    """Moves by what became of them."""
    return {
        "moved": sum(row.state is State.DONE for row in rows),
        "failed": sum(row.state is State.FAILED for row in rows),
        "dropped": sum(row.state is State.DROPPED for row in rows),
        "remaining": sum(row.state in UNFINISHED for row in rows),
    }


# --- commands --------------------------------------------------------------------------------------------------------


def perform(desk: Desk, args: Mapping[str, Any]) -> dict[str, Any]:
    """``sweep morning|evening``: today's, now, once; ``dry_run`` only says what it would do."""
    now = desk.portal.now()
    day = desk.rulebook.rules.calendar.local(now).date()
    slot = overdue.slot_name(day, str(args["name"]))
    slot_rule(desk, slot)
    if args.get("dry_run"):
        return described(desk, decide(desk, slot, now))
    if not begin(desk, slot):
        raise UserError(f"the sweep {slot} was done already; `bitrix-sync undo {slot}` takes it back")
    sweep = desk.store.sweep(slot)
    assert sweep is not None
    plan = carry(desk, sweep)
    carry_out(desk)
    sweep = desk.store.sweep(slot)
    if sweep is not None and tell_when_through(desk, sweep):
        carry_out(desk)
    return {**described(desk, plan), **count_states(moves_of(desk.store, slot))}


def described(desk: Desk, plan: Plan) -> dict[str, Any]:
    """A plan for people and programs."""
    names, local = desk.rulebook.company.name, desk.rulebook.rules.calendar.local
    return {
        "sweep": plan.slot,
        "overdue": len(plan.late),
        "held": plan.held,
        "rights_lost": plan.rights_lost,
        "tasks": [
            {
                "task_id": one.record.portal_id,
                "title": one.record.title,
                "deal_id": one.record.deal_id,
                "owner": names(one.record.owner_id),
                "supervisor": names(one.supervisor) if one.supervisor else "",
                "fate": one.fate,
                "from": local(one.record.deadline).isoformat() if one.record.deadline else None,
                "to": local(one.deadline).isoformat() if one.deadline else None,
                "moves": one.record.moves,
            }
            for one in plan.late
        ],
    }


def perform_undo(desk: Desk, args: Mapping[str, Any]) -> dict[str, Any]:
    """Put the deadlines of a sweep back where they are still what it set; counts go back too."""
    slot = str(args["slot"])
    sweep = desk.store.sweep(slot)
    if sweep is None or sweep.state == SKIPPED:
        known = ", ".join(one.slot for one in desk.store.sweeps(limit=6) if one.state != SKIPPED) or "none yet"
        raise UserError(f"there was no sweep {slot}; there were: {known}")
    if sweep.state in WAITS:
        end_unfinished(desk, sweep)
    done = [row for row in moves_of(desk.store, slot) if row.state is State.DONE]
    records = {record.ref: record for record in desk.store.task_records(refs=[row.operation.task for row in done])}
    back: list[Operation] = []
    changed = 0
    for row in done:
        payload, record = row.operation.payload, records.get(row.operation.task)
        if record is None or not record.open or record.deadline != datetime.fromisoformat(payload["deadline"]):
            changed += 1
            continue
        back.append(
            Operation(
                f"undo:{row.operation.key}",
                Kind.DEADLINE,
                {"deadline": payload["seen"], "reason": "undo", "seen": payload["deadline"]},
                row.operation.deal_id,
                row.operation.task,
                urgency=overdue.URGENCY,
                sweep=slot,
            )
        )
    desk.store.record(Recording(at=desk.portal.now(), operations=tuple(back)), desk.hands.epoch)
    carry_out(desk)
    sweep = desk.store.sweep(slot) or sweep
    desk.store.close_sweep(slot, UNDONE, {**sweep.summary, "put_back": len(back), "left_alone": changed})
    return {"sweep": slot, "put_back": len(back), "left_alone": changed}


def numbers(store: Store, now: datetime) -> dict[str, float]:
    """Gauges: age of the last sweep that ran, and how many of the last thirty slots were missed."""
    recent = store.sweeps(limit=30)
    ran = [one for one in recent if one.state != SKIPPED]
    return {
        "last_sweep_age_seconds": (now - ran[0].moment).total_seconds() if ran else -1.0,
        "sweeps_missed": float(sum(one.state == SKIPPED for one in recent)),
    }
