"""The sweeps of a day: claim the slot, read what is overdue, decide, record, let it be applied, tell the people.

The same pipeline as a pass with another gatherer. A slot's row is claimed once; a sweep killed half-way goes on from
what is recorded: its moves are operations, its messages too (``summary``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import structlog

from bitrix_sync.decisions import lending, overdue, plan
from bitrix_sync.engine.passes import ServiceContext, picks_of, take_in, tell_admins
from bitrix_sync.engine.recheck import OpenWork, open_work, remember
from bitrix_sync.engine.sender import note_outcomes
from bitrix_sync.model.actions import Kind, SetPeople, pack
from bitrix_sync.model.facts import Deal
from bitrix_sync.model.keys import Key, Purpose, SlotId
from bitrix_sync.model.operations import (
    Changeset,
    Decision,
    Operation,
    OperationResult,
    State,
    StoredOperation,
    TaskRecord,
    Trace,
)
from bitrix_sync.model.reasons import Reason
from bitrix_sync.portal import reading
from bitrix_sync.rules.model import Rules, Slot
from bitrix_sync.rules.persons import StandIns
from bitrix_sync.store import Store, Sweep
from bitrix_sync.sweeps.days import Load, days_of, loads, read_past
from bitrix_sync.sweeps.idle import made_sure
from bitrix_sync.sweeps.state import (
    CLAIMED,
    DONE,
    HELD,
    MOVING,
    RECENT,
    SKIPPED,
    WAITING,
    deadline_of,
    is_move,
    moves_of,
    note_rest,
    slot_rule,
)
from bitrix_sync.sweeps.summary import tell, tell_when_through
from bitrix_sync.words import texts

log = structlog.get_logger(__name__)

TOO_OLD = timedelta(hours=12)
"""A claimed sweep that nobody came to decide is missed after so long."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a sweep decided: the fates of overdue tasks and the moves that follow. ``seen`` is what it was decided
    from."""

    slot: str
    moment: datetime
    seen: OpenWork
    late: Sequence[overdue.OverdueTask] = ()
    moves: Sequence[Operation] = ()
    lent: Sequence[Decision] = ()
    """What goes to substitutes, and what comes back from them."""
    load: Mapping[int, Load] = field(default_factory=dict)
    """Of everybody whose tasks are moved."""
    room: Mapping[int, int | None] = field(default_factory=dict)
    """How many tasks a day people can do; None: no bound."""

    @property
    def overdue(self) -> int:
        """How many tasks are overdue; one that awaits acceptance is not."""
        return sum(one.fate != "awaiting" for one in self.late)

    @property
    def held(self) -> bool:
        """More moves than the safety limit allows."""
        return any(move.state is State.HELD for move in self.moves)


# --- the clock's side ------------------------------------------------------------------------------------------------


def run_due(context: ServiceContext) -> None:
    """Claim the slot that is due; take what goes on one step further."""
    rules = context.rulebook.rules
    read_past(context)
    claim_due(context.store, rules, context.portal.now())
    if rules.overdue is None:
        give_up(context)
    else:
        go_on(context)


def goes_on(context: ServiceContext) -> bool:
    """Whether a sweep has begun that is not told of yet."""
    return any(one.state in (CLAIMED, MOVING, HELD) for one in context.store.sweeps(limit=RECENT))


def next_slot(context: ServiceContext) -> datetime | None:
    """When the next sweep is due (the portal's time)."""
    rules = context.rulebook.rules
    if rules.overdue is None:
        return None
    return overdue.next_slot(rules.overdue, calendar=rules.calendar, now=context.portal.now())


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
        elif store.claim_sweep(one.slot, one.moment, state=SKIPPED, summary={"reason": Reason.MISSED}):
            log.warning("sweep missed and skipped", slot=one.slot)


def slots_since(store: Store, rules: Rules, now: datetime) -> dict[str, datetime]:
    """When the file first had each of its sweeps: before that nothing was due; a time to come was told by a clock that
    was wrong. What is no longer in it is forgotten."""
    known = store.flags.sweeps_since
    since: dict[str, datetime] = {
        slot.name: min(known.get(slot.name, now), now) for slot in (rules.overdue.slots if rules.overdue else ())
    }
    if since != known:
        store.flags.sweeps_since = since
    return since


def go_on(context: ServiceContext) -> None:
    """Decide the sweep that was claimed; write the messages of one whose moves are through."""
    claimed = next((one for one in context.store.sweeps(limit=RECENT) if one.state == CLAIMED), None)
    if claimed is not None:
        carry(context, claimed)
    for one in reversed(context.store.sweeps(limit=RECENT)):
        if one.state in (MOVING, HELD):
            tell_when_through(context, one)
    note_rest(context)


def carry(context: ServiceContext, sweep: Sweep) -> Plan | None:
    """End the sweep before; read what is new; gather, decide, record. After a crash all of it is done again, and what
    was recorded is known. None: there is nothing to decide any more."""
    rules, store, now = context.rulebook.rules, context.store, context.portal.now()
    rule = slot_rule(rules, sweep.slot)
    if rule is None or now - sweep.moment > TOO_OLD:
        reason = Reason.NOT_IN_RULES if rule is None else Reason.MISSED
        store.close_sweep(sweep.slot, SKIPPED, {"reason": reason})
        log.warning("sweep skipped", slot=sweep.slot, reason=reason)
        return None
    end_earlier(context, sweep)
    take_in(context)
    read_past(context)
    decided = decide(context, sweep.slot, rule, sweep.moment)
    remember(context, decided.seen)
    if decided.seen.lost:
        store.close_sweep(sweep.slot, DONE, {"rights_lost": True})
        return decided
    settle_earlier(context, decided)
    idle = made_sure(context, sweep.moment) if decided.seen.ahead is not None else ()
    watch = rules.safety.watch
    changes = [*(one for made in decided.lent for one in made.operations), *decided.moves]
    if watch:
        log_moves(changes)
    held = decided.held and not watch
    state, summary = HELD if held else MOVING, {**summary_of(decided, watch=watch), "idle": idle}
    operations = () if watch else (*decided.moves, *(held_notice(context, decided) if held else ()))
    recording = Changeset(
        at=context.portal.now(),
        decisions=() if watch else tuple(decided.lent),
        operations=operations,
        traces=() if watch else traces_of(decided),
        sweep=(sweep.slot, state, summary),
        trial=tuple(changes) if watch else (),
    )
    store.record(recording, context.sender.epoch)
    log.info("sweep", slot=sweep.slot, overdue=decided.overdue, moves=len(decided.moves), held=held)
    return decided


def log_moves(moves: Iterable[Operation]) -> None:
    """Under ``watch: true`` the log says what would be moved."""
    for move in moves:
        log.info("watch: would move", deal=move.deal_id, task=move.task, **pack(move.action))


def decide(context: ServiceContext, slot: str, rule: Slot, moment: datetime) -> Plan:
    """What the sweep would do, from a fresh reading of all that is overdue and of all that is known to be open; nothing
    is written."""
    rules, store = context.rulebook.rules, context.store
    context.rulebook.freshen_company(context.portal.now())
    seen = open_work(context, fresh=reading.overdue_tasks(context.portal, moment))
    if seen.lost:
        return Plan(slot, moment, seen)
    records = {record.ref: record for record in (*store.open_tasks(), *seen.tasks)}
    orphans = [record for record in records.values() if record.deal_id and record.deal_id not in seen.deals]
    days = days_of(context, seen.deals, moment, again=SlotId.parse(slot).run > 1)
    lent = pass_on(context, records.values(), seen.deals, days, slot, moment)
    tasks = [after(record, lent) for record in records.values()]
    late = overdue.weigh(
        tasks,
        rules=rules,
        days=days,
        slot=rule,
        company=context.rulebook.company,
        deals=seen.deals,
        moment=moment,
        gone={record.deal_id for record in orphans},
        told=store.told([overdue.gone_key(record.ref) for record in orphans]),
        steps=store.escalations([overdue.step_key(one.ref) for one in tasks if overdue.is_overdue(one, moment)]),
    )
    moves = overdue.operations(late, rules=rules, slot=slot, beside=len(lent))
    held = any(move.state is State.HELD for move in moves)
    lent = {ref: held_back(one) if held else one for ref, one in lent.items()}
    return Plan(
        slot, moment, seen, late, moves, tuple(lent.values()), loads(tasks, late, days, rules, moment), days.room
    )


def pass_on(
    context: ServiceContext,
    records: Iterable[TaskRecord],
    deals: Mapping[int, Deal],
    days: overdue.Days,
    slot: str,
    moment: datetime,
) -> dict[str, Decision]:
    """What is lent to substitutes, and what comes back from them, by task."""
    rules, company = context.rulebook.rules, context.rulebook.company
    standing = StandIns(days.presence, rules.substitutes)
    wanted = lending.passings(records, rules=rules, company=company, deals=deals, standing=standing, moment=moment)
    if not wanted:
        return {}
    now = context.portal.now()
    read = {one.record.ref: one.record for one in wanted}
    states = {
        deal: replace(state, tasks=tuple(read.get(task.ref, task) for task in state.tasks))
        for deal, state in context.store.deal_states([one.record.deal_id for one in wanted], now=now).items()
    }
    world = plan.World(
        replace(company, absences=days.absences), picks_of(context), context.store.rules_loaded(), context.started
    )
    found: dict[str, Decision] = {}
    for one in wanted:
        state, name = states[one.record.deal_id], one.record.occurrence
        if one.to is not None and one.until is not None:
            made = plan.lend(state, rules, world, occurrence=name, to=one.to, until=one.until, slot=slot, now=now)
        else:
            made = plan.give_back(state, rules, world, occurrence=name, slot=slot, now=now)
        if made is not None:
            found[one.record.ref] = made
    return found


def after(record: TaskRecord, lent: Mapping[str, Decision]) -> TaskRecord:
    """A task as it will be when what was passed on has reached the portal."""
    change = next((one.action for one in lent[record.ref].operations), None) if record.ref in lent else None
    if not isinstance(change, SetPeople) or change.owner is None:
        return record
    absent = change.absent if change.lending == "lend" else None
    supervisor = change.supervisor or record.supervisor_id
    return replace(record, owner_id=change.owner, owner_sent=change.owner, lent_from=absent, supervisor_id=supervisor)


def held_back(decision: Decision) -> Decision:
    """What waits for an administrator with the moves of its sweep."""
    return replace(decision, operations=tuple(replace(one, state=State.HELD) for one in decision.operations))


def traces_of(plan: Plan) -> tuple[Trace, ...]:
    """Why each task of a rule goes to the day that it goes to."""
    return tuple(
        Trace(
            one.record.deal_id,
            one.record.visit_id,
            one.record.rule_id,
            "swept",
            plan.moment,
            {
                "sweep": plan.slot,
                "before": one.record.deadline.isoformat() if one.record.deadline else "",
                "after": one.place.deadline.isoformat(),
                "fits": one.place.fits,
                "refused": [day.packed for day in one.place.refused],
            },
        )
        for one in plan.late
        if one.place is not None and one.record.rule_id and one.record.deal_id
    )


def held_notice(context: ServiceContext, plan: Plan) -> tuple[Operation, ...]:
    """The admins hear that a sweep is held."""
    rules = context.rulebook.rules
    text = texts.say(
        rules.language, "admin.moves_held", sweep=plan.slot, count=len(plan.moves), limit=rules.safety.max_moves
    )
    return tell_admins(context.rulebook, Key(Purpose.SWEEP_HELD, plan.slot), text)


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
            "step": one.step,
            "spell": one.spell,
            "last": one.before.at.isoformat() if one.before else None,
            "known": one.before.step if one.before else 0,
        }
        for one in plan.late
        if one.fate not in ("move", "stay")
    ]
    unfit = sum(one.place is not None and not one.place.fits for one in plan.late)
    counts = {"overdue": plan.overdue, "moves": len(plan.moves), "unfit": unfit, "passed": len(plan.lent)}
    return {**counts, "watch": watch, "stays": stays}


# --- the sweep before ------------------------------------------------------------------------------------------------


def end_earlier(context: ServiceContext, sweep: Sweep) -> None:
    """The next slot begins: what is unsent of earlier ones is dropped, and their messages list it."""
    drop_unsent(
        context, lambda row: Reason.NOT_RELEASED if row.state is State.HELD else Reason.NEXT_BEGAN, apart=sweep.slot
    )
    for earlier in context.store.sweeps(limit=RECENT):
        if earlier.slot == sweep.slot or earlier.moment > sweep.moment:
            continue
        if earlier.state == CLAIMED:
            context.store.close_sweep(earlier.slot, SKIPPED, {"reason": Reason.NEXT_BEGAN})
        elif earlier.state in (MOVING, HELD):
            tell(context, earlier, moves_of(context.store, earlier.slot))


def settle_earlier(context: ServiceContext, plan: Plan) -> None:
    """Moves of earlier sweeps of which nobody knows whether they arrived: the reading of this one tells."""
    rows = [row for row in context.store.operations(state=State.UNKNOWN, kind=Kind.DEADLINE) if is_move(row)]
    rows = [row for row in rows if row.operation.sweep != plan.slot]
    records = {record.ref: record for record in context.store.task_records(refs=[row.operation.task for row in rows])}
    finished = []
    for row in rows:
        record = records.get(row.operation.task)
        if record is not None and record.deadline == deadline_of(row):
            finished.append(OperationResult(row.id, State.DONE))
        else:
            finished.append(OperationResult(row.id, State.DROPPED, error_text=Reason.NEXT_BEGAN))
    finish(context, finished)


def give_up(context: ServiceContext) -> None:
    """The file has no sweeps any more: what is unsent is dropped, and nobody is told."""
    drop_unsent(context, lambda row: Reason.NO_SWEEPS)
    for one in context.store.sweeps(limit=RECENT):
        if one.state in (CLAIMED, MOVING, HELD):
            context.store.close_sweep(one.slot, DONE, {"reason": Reason.NOT_IN_RULES})
    note_rest(context)


def drop_unsent(context: ServiceContext, why: Callable[[StoredOperation], str], *, apart: str = "") -> None:
    """What sweeps had not sent yet is not to be sent; what is of the slot ``apart`` stays."""
    rows = [row for row in context.store.operations(state=WAITING, kind=Kind.DEADLINE) if is_move(row)]
    rows += [row for row in context.store.operations(state=WAITING, kind=Kind.PEOPLE) if row.operation.sweep]
    finish(
        context,
        [OperationResult(row.id, State.DROPPED, error_text=why(row)) for row in rows if row.operation.sweep != apart],
    )


def finish(context: ServiceContext, finished: Sequence[OperationResult]) -> None:
    """What became of moves that are not sent."""
    if finished:
        note_outcomes(context.sender, finished)
