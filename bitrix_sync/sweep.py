"""The sweeps of a day: claim the slot, read what is overdue, decide, record, let it be applied, tell the people.

The same pipeline as a pass with another gatherer. A slot's row is claimed once; a sweep killed half-way goes on from
what is recorded: its moves are operations, its messages too. A sweep is ``claimed``, then ``moving`` or ``held``, then
``done`` when its messages are written (moves may still be on their way); ``skipped`` if its time was missed, ``undone``
if it was taken back.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog

from bitrix_sync import notices, overdue, texts
from bitrix_sync.apply import UPDATE
from bitrix_sync.audit import Look, look, note
from bitrix_sync.facts import Deal
from bitrix_sync.notices import NEXT_BEGAN, NOT_RELEASED, UNFINISHED, News, Stay
from bitrix_sync.operations import Finished, Kind, Operation, Recorded, Recording, State
from bitrix_sync.plan import passed_limit
from bitrix_sync.portal import reading
from bitrix_sync.rules.model import Rules, Slot
from bitrix_sync.store import Store, Sweep
from bitrix_sync.sync import Desk, look_first, take_in, tell_admins

log = structlog.get_logger(__name__)

TELL_AFTER = timedelta(minutes=20)
"""Messages are written when the moves are through, or so long after they began, saying what remains."""
TOO_OLD = timedelta(hours=12)
"""A claimed sweep that nobody came to decide is missed after so long."""
WAIT = timedelta(seconds=30)
"""So long a command waits for what the portal puts off; then the service does it."""
RECENT = 8
"""Sweeps that are looked through for one that goes on."""
CLAIMED, MOVING, HELD, DONE, SKIPPED, UNDONE = "claimed", "moving", "held", "done", "skipped", "undone"
SINCE, LET_GO, REST = "sweeps_since", "let_go", "sweep_rest"
"""Settings: when the file first had each sweep; when a pause or a hold ended; what of a sweep is on its way."""
WAITING = (State.PLANNED, State.HELD)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a sweep decided: the fates of overdue tasks and the moves that follow. ``seen`` is what it was decided
    from."""

    slot: str
    moment: datetime
    seen: Look
    late: Sequence[overdue.Late] = ()
    moves: Sequence[Operation] = ()

    @property
    def held(self) -> bool:
        """More moves than the safety limit allows."""
        return any(move.state is State.HELD for move in self.moves)


# --- the clock's side ------------------------------------------------------------------------------------------------


def run_due(desk: Desk) -> None:
    """Claim the slot that is due; take what goes on one step further."""
    rules = desk.rulebook.rules
    claim_due(desk.store, rules, desk.portal.now())
    if rules.overdue is None:
        give_up(desk)
    else:
        go_on(desk)


def claim_due(store: Store, rules: Rules, now: datetime) -> None:
    """Claim the slot that is due at the portal's time ``now``, and note those that were missed."""
    since = slots_since(store, rules, now)
    if rules.overdue is None:
        return
    first = rules.calendar.local(now).date() - timedelta(days=overdue.LOOK_BACK_DAYS + 1)
    due = overdue.due_slots(
        rules.overdue, calendar=rules.calendar, now=now, since=since, claimed=store.slots_since(first.isoformat())
    )
    for one in due:
        if one.runs:
            store.claim_sweep(one.slot, now)
        elif store.claim_sweep(one.slot, one.moment, state=SKIPPED, summary={"reason": "missed"}):
            log.warning("sweep missed and skipped", slot=one.slot)


def slots_since(store: Store, rules: Rules, now: datetime) -> dict[str, datetime]:
    """When the file first had each of its sweeps: before that nothing was due. What is no longer in it is forgotten."""
    text = store.setting(SINCE) or "{}"
    known = json.loads(text)
    since = {
        slot.name: known.get(slot.name, now.isoformat()) for slot in (rules.overdue.slots if rules.overdue else ())
    }
    if since != known:
        store.set_setting(SINCE, json.dumps(since))
    return {name: datetime.fromisoformat(moment) for name, moment in since.items()}


def go_on(desk: Desk) -> None:
    """Decide the sweep that was claimed; write the messages of one whose moves are through."""
    claimed = next((one for one in desk.store.sweeps(limit=RECENT) if one.state == CLAIMED), None)
    if claimed is not None:
        carry(desk, claimed)
    for one in reversed(desk.store.sweeps(limit=RECENT)):
        if one.state in (MOVING, HELD):
            tell_when_through(desk, one)
    note_rest(desk)


def carry(desk: Desk, sweep: Sweep) -> Plan | None:
    """End the sweep before; read what is new; gather, decide, record. After a crash all of it is done again, and what
    was recorded is known. None: there is nothing to decide any more."""
    rules, store, now = desk.rulebook.rules, desk.store, desk.portal.now()
    rule = slot_rule(rules, sweep.slot)
    if rule is None or now - sweep.moment > TOO_OLD:
        reason = "not in the rules" if rule is None else "missed"
        store.close_sweep(sweep.slot, SKIPPED, {"reason": reason})
        log.warning("sweep skipped", slot=sweep.slot, reason=reason)
        return None
    end_earlier(desk, sweep)
    take_in(desk)
    plan = decide(desk, sweep.slot, rule, sweep.moment)
    note(desk, plan.seen)
    if plan.seen.lost:
        store.close_sweep(sweep.slot, DONE, {"rights_lost": True})
        return plan
    settle_earlier(desk, plan)
    watch = rules.safety.watch
    if watch:
        for move in plan.moves:
            log.info("watch: would move", deal=move.deal_id, task=move.task, to=move.payload["deadline"])
    held = plan.held and not watch
    state, summary = HELD if held else MOVING, summary_of(plan, watch=watch)
    operations = () if watch else (*plan.moves, *(held_notice(desk, plan) if held else ()))
    recording = Recording(at=desk.portal.now(), operations=operations, sweep=(sweep.slot, state, summary))
    store.record(recording, desk.hands.epoch)
    log.info("sweep", slot=sweep.slot, overdue=len(plan.late), moves=len(plan.moves), held=held)
    return plan


def decide(desk: Desk, slot: str, rule: Slot, moment: datetime) -> Plan:
    """What the sweep would do, from a fresh reading of all that is overdue and of all that is known to be open; nothing
    is written."""
    rules, store = desk.rulebook.rules, desk.store
    desk.rulebook.freshen_company(desk.portal.now())
    seen = look(desk, fresh=reading.overdue_tasks(desk.portal, moment))
    if seen.lost:
        return Plan(slot, moment, seen)
    records = {record.ref: record for record in (*store.open_tasks(), *seen.tasks)}
    late = overdue.weigh(
        records.values(), rules=rules, slot=rule, company=desk.rulebook.company, deals=seen.deals, moment=moment
    )
    return Plan(slot, moment, seen, late, overdue.operations(late, rules=rules, slot=slot))


def slot_rule(rules: Rules, slot: str) -> Slot | None:
    """The slot's entry of the file; None if it has none (any more)."""
    name = slot.partition("/")[2]
    return next((one for one in (rules.overdue.slots if rules.overdue else ()) if one.name == name), None)


def held_notice(desk: Desk, plan: Plan) -> tuple[Operation, ...]:
    """The admins hear that a sweep is held."""
    rules = desk.rulebook.rules
    text = texts.say(
        rules.language, "admin.moves_held", sweep=plan.slot, count=len(plan.moves), limit=rules.safety.max_moves
    )
    return tell_admins(desk.rulebook, f"sweep-held:{plan.slot}", text)


def summary_of(plan: Plan, *, watch: bool) -> dict[str, Any]:
    """What must be remembered for the messages and for whoever asks: everything that is not an operation."""
    stays = [
        {
            "ref": one.record.ref,
            "fate": one.fate,
            "supervisor": one.supervisor,
            "owner": one.record.owner_id,
            "since": (one.record.deadline or plan.moment).isoformat(),
            "moves": one.record.moves,
            "to": one.escalated_to,
            "at_top": one.at_top,
        }
        for one in plan.late
        if one.fate in ("escalate", "awaiting", "closed_deal")
    ]
    return {"overdue": len(plan.late), "moves": len(plan.moves), "watch": watch, "stays": stays}


# --- the sweep before ------------------------------------------------------------------------------------------------


def end_earlier(desk: Desk, sweep: Sweep) -> None:
    """The next slot begins: what is unsent of earlier ones is dropped, and their messages list it."""
    drop_unsent(desk, lambda row: NOT_RELEASED if row.state is State.HELD else NEXT_BEGAN, apart=sweep.slot)
    for earlier in desk.store.sweeps(limit=RECENT):
        if earlier.slot == sweep.slot or earlier.moment > sweep.moment:
            continue
        if earlier.state == CLAIMED:
            desk.store.close_sweep(earlier.slot, SKIPPED, {"reason": NEXT_BEGAN})
        elif earlier.state in (MOVING, HELD):
            tell(desk, earlier, moves_of(desk.store, earlier.slot))


def settle_earlier(desk: Desk, plan: Plan) -> None:
    """Moves of earlier sweeps of which nobody knows whether they arrived: the reading of this one tells."""
    rows = [row for row in desk.store.operations(state=State.UNKNOWN, kind=Kind.DEADLINE) if is_move(row)]
    rows = [row for row in rows if row.operation.sweep != plan.slot]
    records = {record.ref: record for record in desk.store.task_records(refs=[row.operation.task for row in rows])}
    finished = []
    for row in rows:
        record = records.get(row.operation.task)
        arrived = record is not None and record.deadline == deadline_of(row)
        finished.append(
            Finished(row.id, State.DONE if arrived else State.DROPPED, error_text="" if arrived else NEXT_BEGAN)
        )
    finish(desk, finished)


def give_up(desk: Desk) -> None:
    """The file has no sweeps any more: what is unsent is dropped, and nobody is told."""
    drop_unsent(desk, lambda row: "sweeps were taken out of the rules")
    for one in desk.store.sweeps(limit=RECENT):
        if one.state in (CLAIMED, MOVING, HELD):
            desk.store.close_sweep(one.slot, DONE, {"reason": "not in the rules"})
    note_rest(desk)


def drop_unsent(desk: Desk, why: Callable[[Recorded], str], *, apart: str = "") -> None:
    """Moves of sweeps that were not sent yet are not to be sent; those of the slot ``apart`` stay."""
    rows = [row for row in desk.store.operations(state=WAITING, kind=Kind.DEADLINE) if is_move(row)]
    finish(desk, [Finished(row.id, State.DROPPED, error_text=why(row)) for row in rows if row.operation.sweep != apart])


def finish(desk: Desk, finished: Sequence[Finished]) -> None:
    """What became of moves that are not sent."""
    if finished:
        desk.store.finish(finished, desk.hands.epoch, desk.hands.clock())


def is_move(row: Recorded) -> bool:
    """True for what a sweep decided: neither undone nor following."""
    return row.operation.key.startswith(overdue.MOVES)


def moves_of(store: Store, slot: str) -> list[Recorded]:
    """The moves of a sweep, in the order of deciding."""
    return [row for row in store.operations(sweep=slot, kind=Kind.DEADLINE) if is_move(row)]


def deadline_of(row: Recorded) -> datetime:
    """Where a move goes."""
    return datetime.fromisoformat(row.operation.payload["deadline"])


# --- messages --------------------------------------------------------------------------------------------------------


def tell_when_through(desk: Desk, sweep: Sweep) -> bool:
    """Write the messages of a sweep when its moves are through or time is up; True when they are written. A held sweep
    waits for its release, and nobody is told while the service is paused."""
    store, now = desk.store, desk.portal.now()
    counts = store.move_counts(sweep.slot)
    if store.setting("paused") or counts.get(State.HELD):
        return False
    let_go = store.setting(LET_GO)
    began = max(sweep.moment, desk.started, datetime.fromisoformat(let_go) if let_go else sweep.moment)
    if unfinished(counts) and now - began < TELL_AFTER:
        return False
    tell(desk, sweep, moves_of(store, sweep.slot))
    return True


def tell(desk: Desk, sweep: Sweep, rows: list[Recorded]) -> None:
    """One message for each person who has something to hear; with what is told once, in one transaction."""
    told, operations = notices.messages(gather_news(desk, sweep, rows))
    if not on_time(desk, sweep):
        operations = look_first(operations)
    if desk.rulebook.rules.safety.watch:
        for one in operations:
            log.info("watch: would tell", user=one.payload["user"], sweep=sweep.slot)
        told, operations = (), ()
    summary = {name: value for name, value in sweep.summary.items() if name != "stays"}
    summary |= {"messages": len(operations), "left": [row.id for row in rows if row.state in UNFINISHED]}
    recording = Recording(at=desk.portal.now(), operations=operations, told=told, sweep=(sweep.slot, DONE, summary))
    desk.store.record(recording, desk.hands.epoch)
    log.info("sweep told", slot=sweep.slot, messages=len(operations), **count_states(rows))


def on_time(desk: Desk, sweep: Sweep) -> bool:
    """False for a sweep that was due before this process began: another one may have told of it, and the store, put
    back from a backup, have forgotten."""
    rule = slot_rule(desk.rulebook.rules, sweep.slot)
    if rule is None:
        return False
    return desk.rulebook.rules.calendar.moment(overdue.day_of(sweep.slot), rule.at) > desk.started


def gather_news(desk: Desk, sweep: Sweep, rows: Sequence[Recorded]) -> News:
    """All that the messages of a sweep are made of."""
    rules, store, rulebook = desk.rulebook.rules, desk.store, desk.rulebook
    stays = [Stay(**{**one, "since": datetime.fromisoformat(one["since"])}) for one in sweep.summary.get("stays", ())]
    left = left_before(store, sweep)
    open_tasks = store.open_tasks()
    records = {record.ref: record for record in open_tasks}
    spoken_of = {row.operation.task for row in (*rows, *left)} | {one.ref for one in stays}
    records |= {record.ref: record for record in store.task_records(refs=spoken_of - records.keys())}
    until = rest_of(desk, sum(row.state in UNFINISHED for row in rows))
    return News(
        slot=sweep.slot,
        moment=sweep.moment,
        rules=rules,
        company=rulebook.company,
        address=desk.portal.address,
        admins=rulebook.admins,
        open_tasks=open_tasks,
        records=records,
        rows=rows,
        left=left,
        stays=stays,
        stuck=stuck_deals(desk, sweep.moment),
        away=away_now(desk, sweep),
        until=until,
    )


def left_before(store: Store, sweep: Sweep) -> list[Recorded]:
    """What of the sweep before had no end when its messages were written: this one's messages tell of it."""
    before = next((one for one in store.sweeps(limit=RECENT) if one.moment < sweep.moment and one.state == DONE), None)
    left = set(before.summary.get("left", ())) if before is not None else set()
    return [row for row in moves_of(store, before.slot) if row.id in left] if before is not None and left else []


def stuck_deals(desk: Desk, moment: datetime) -> dict[str, tuple[Deal, datetime]]:
    """Deals that are longer in their stage than its limit and of which nobody heard yet; told once for each visit."""
    rules, store = desk.rulebook.rules, desk.store
    limits = {stage: policy.limit for stage, policy in rules.policies.items() if policy.limit}
    late = {
        f"stuck:{visit.id}": visit
        for visit in store.present_visits(limits).values()
        if (limit := limits[visit.stage_id]) and passed_limit(limit, visit, rules.calendar, moment)
    }
    told = store.told(late)
    deals = store.deals([visit.deal_id for key, visit in late.items() if key not in told])
    found = {key: (deals.get(visit.deal_id), visit.entered) for key, visit in late.items()}
    return {key: (deal, entered) for key, (deal, entered) in found.items() if deal is not None and not deal.closed}


def away_now(desk: Desk, sweep: Sweep) -> dict[int, datetime]:
    """Who is away up to the end of the day that the messages look at, and until when."""
    rules, users = desk.rulebook.rules, desk.rulebook.company.users
    calendar = rules.calendar
    _, last = overdue.due_days(sweep.slot, calendar)
    until = calendar.moment(last, calendar.end_of(last))
    ids = sorted(user.id for user in users.values() if user.active)
    absences = reading.absences(desk.portal, ids, sweep.moment, until)
    return overdue.away_through(absences, moment=sweep.moment, until=until)


# --- how it stands ---------------------------------------------------------------------------------------------------


def count_states(rows: Collection[Recorded]) -> dict[str, int]:
    """Moves by what became of them."""
    return {
        "moved": sum(row.state is State.DONE for row in rows),
        "refused": sum(row.state is State.FAILED for row in rows),
        "dropped": sum(row.state is State.DROPPED for row in rows),
        "remaining": sum(row.state in UNFINISHED for row in rows),
    }


def unfinished(counts: Mapping[State, int]) -> int:
    """How many moves have no end yet."""
    return sum(count for state, count in counts.items() if state in UNFINISHED)


def rest_of(desk: Desk, count: int) -> datetime | None:
    """When so many moves will be through at the portal's present pace; None: there are none, or nobody can say yet."""
    span = desk.hands.pace.takes({UPDATE: count}, desk.portal.pacer) if count else None
    return desk.portal.now() + span if span is not None else None


def note_rest(desk: Desk) -> None:
    """What of the last sweep is still on its way, and until when, for ``status`` and the page."""
    last = next((one for one in desk.store.sweeps(limit=RECENT) if one.state in (MOVING, HELD, DONE)), None)
    count = unfinished(desk.store.move_counts(last.slot)) if last is not None else 0
    until = rest_of(desk, count)
    said = json.dumps({"sweep": last.slot, "remaining": count, "until": until.isoformat()}) if last and until else None
    if said != desk.store.setting(REST):
        desk.store.set_setting(REST, said)


def let_go(store: Store, now: datetime) -> None:
    """A pause or a hold has ended: the time until messages are written begins anew."""
    store.set_setting(LET_GO, now.isoformat())


def resume_at(store: Store, now: datetime) -> None:
    """The end of a pause."""
    let_go(store, now)
    store.set_setting("paused", None)


def numbers(store: Store, now: datetime) -> dict[str, float]:
    """Gauges: age of the last sweep that ran, and how many of the last thirty slots were missed."""
    recent = store.sweeps(limit=30)
    ran = [one for one in recent if one.state != SKIPPED]
    return {
        "last_sweep_age_seconds": (now - ran[0].moment).total_seconds() if ran else -1.0,
        "sweeps_missed": float(sum(one.state == SKIPPED for one in recent)),
    }
