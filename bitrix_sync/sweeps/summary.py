"""Telling people of a sweep: when its messages are written, and what they are made of."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from bitrix_sync.decisions import overdue
from bitrix_sync.decisions.escalation import heads, next_step
from bitrix_sync.decisions.plan import passed_limit
from bitrix_sync.decisions.sleeping import asleep
from bitrix_sync.engine.passes import ServiceContext, look_first
from bitrix_sync.model.actions import Kind, SendMessage, SetDeadline, SetPeople
from bitrix_sync.model.facts import Deal, Visit
from bitrix_sync.model.keys import Key, Purpose, SlotId
from bitrix_sync.model.operations import Changeset, Escalation, Operation, State, StoredOperation
from bitrix_sync.portal import reading
from bitrix_sync.rules.model import Rules
from bitrix_sync.store import Store, Sweep
from bitrix_sync.sweeps import notices
from bitrix_sync.sweeps.idle import Idle, untold
from bitrix_sync.sweeps.notice_text import Stay, SweepSummary
from bitrix_sync.sweeps.notices import UNFINISHED
from bitrix_sync.sweeps.state import DONE, RECENT, count_states, lendings_of, moves_of, rest_of, slot_rule, unfinished

log = structlog.get_logger(__name__)

TELL_AFTER = timedelta(minutes=20)
"""Messages are written when the moves are through, or so long after they began, saying what remains."""


def tell_when_through(context: ServiceContext, sweep: Sweep) -> bool:
    """Write the messages of a sweep when its moves are through or time is up; True when they are written. A held sweep
    waits for its release, and nobody is told while the service is paused."""
    store, now = context.store, context.portal.now()
    counts = store.move_counts(sweep.slot)
    if store.flags.paused or counts.get(State.HELD):
        return False
    began = max(sweep.moment, context.started, store.flags.let_go or sweep.moment)
    if unfinished(counts) and timedelta() <= now - began < TELL_AFTER:  # less: the clock was put back
        return False
    tell(context, sweep, moves_of(store, sweep.slot))
    return True


def tell(context: ServiceContext, sweep: Sweep, rows: list[StoredOperation]) -> None:
    """One message for each person who has something to hear; with what is told once, in one transaction."""
    watch, drafts = context.rulebook.rules.safety.watch, tuple[Operation, ...]()
    moves = would_be(context.store, sweep.slot) if watch else []
    passed = [*lendings_of(context.store, sweep.slot), *(one for one in moves if one.operation.kind is Kind.PEOPLE)]
    told, operations = notices.messages(as_if_moved(summarize(context, sweep, [*rows, *moves], passed), moves))
    if not on_time(context, sweep):
        operations = look_first(operations)
    if watch:
        drafts = operations
        for one in operations:
            log.info("watch: would tell", key=one.key, sweep=sweep.slot)
        told, operations = (), ()
    summary = {name: value for name, value in sweep.summary.items() if name not in ("stays", "idle")}
    escalated = () if watch else steps_of(context, sweep, told)
    summary |= {"messages": len(operations), "left": [row.id for row in rows if row.state in UNFINISHED]}
    recording = Changeset(
        at=context.portal.now(),
        operations=operations,
        told=tuple(key for key in told if not key.startswith(Purpose.STEP.beginning)),
        escalated=escalated,
        sweep=(sweep.slot, DONE, summary),
        trial=drafts,
    )
    context.store.record(recording, context.sender.epoch)
    log.info("sweep told", slot=sweep.slot, messages=len(operations), **count_states(rows))


def would_tell(context: ServiceContext, sweep: Sweep, rows: Sequence[StoredOperation]) -> list[SendMessage]:
    """The messages of a sweep as if these operations were done; nothing is written."""
    moves = [one for one in rows if one.operation.kind is Kind.DEADLINE]
    passed = [one for one in rows if one.operation.kind is Kind.PEOPLE]
    _, operations = notices.messages(as_if_moved(summarize(context, sweep, moves, passed), rows))
    return [one.action for one in operations if isinstance(one.action, SendMessage)]


def would_be(store: Store, slot: str) -> list[StoredOperation]:
    """The moves that the sweep would have made, as if they were made: so the draft of a message reads."""
    return [StoredOperation(0, move, State.DONE) for move in store.trial_of_sweep(slot)]


def as_if_moved(summary: SweepSummary, moves: Sequence[StoredOperation]) -> SweepSummary:
    """The same after these changes: what would have been moved is not overdue any more, what would have been handed
    over is somebody else's."""
    tasks = {one.ref: one for one in summary.open_tasks}
    for ref, action in ((one.operation.task, one.operation.action) for one in moves):
        if ref in tasks and isinstance(action, SetDeadline):
            tasks[ref] = replace(tasks[ref], deadline=action.deadline)
        elif ref in tasks and isinstance(action, SetPeople) and action.owner:
            tasks[ref] = replace(tasks[ref], owner_id=action.owner, owner_sent=action.owner)
    return replace(summary, open_tasks=list(tasks.values()))


def on_time(context: ServiceContext, sweep: Sweep) -> bool:
    """False for a sweep that was due before this process began: another one may have told of it, and the store, put
    back from a backup, have forgotten."""
    rule = slot_rule(context.rulebook.rules, sweep.slot)
    if rule is None:
        return False
    return overdue.moment_of(rule, SlotId.parse(sweep.slot).day, context.rulebook.rules.calendar) > context.started


def summarize(
    context: ServiceContext, sweep: Sweep, rows: Sequence[StoredOperation], passed: Sequence[StoredOperation] = ()
) -> SweepSummary:
    """All that the messages of a sweep are made of. ``passed``: what was lent to substitutes, and what came back."""
    rules, store, rulebook = context.rulebook.rules, context.store, context.rulebook
    stays = stays_of(sweep)
    left = left_before(store, sweep)
    open_tasks = store.open_tasks()
    records = {record.ref: record for record in open_tasks}
    spoken_of = {row.operation.task for row in (*rows, *left, *passed)} | {one.ref for one in stays}
    records |= {record.ref: record for record in store.task_records(refs=spoken_of - records.keys())}
    stuck = stuck_deals(context, sweep)
    until = rest_of(context, sum(row.state in UNFINISHED for row in rows))
    return SweepSummary(
        slot=sweep.slot,
        moment=sweep.moment,
        rules=rules,
        company=rulebook.company,
        address=context.portal.address,
        admins=rulebook.admins,
        open_tasks=open_tasks,
        records=records,
        rows=rows,
        left=left,
        passed=passed,
        stays=stays,
        stuck={key: one.of for key, one in stuck.items() if one.step},
        steps={key: (one.step, one.before) for key, one in stuck.items()},
        idle=idle_to_tell(context, sweep),
        deals=store.deal_titles({record.deal_id for record in records.values() if record.deal_id}),
        away=away_now(context, sweep),
        until=until,
    )


def left_before(store: Store, sweep: Sweep) -> list[StoredOperation]:
    """What of the sweep before had no end when its messages were written: this one's messages tell of it."""
    before = next((one for one in store.sweeps(limit=RECENT) if one.moment < sweep.moment and one.state == DONE), None)
    left = set(before.summary.get("left", ())) if before is not None else set()
    return [row for row in moves_of(store, before.slot) if row.id in left] if before is not None and left else []


def stays_of(sweep: Sweep) -> list[Stay]:
    """What of the overdue stays as it is, as the sweep found it."""
    moments = [{name: one.get(name) for name in ("since", "last")} for one in sweep.summary.get("stays", ())]
    return [
        Stay(**{**one, **{name: datetime.fromisoformat(at) if at else None for name, at in told.items()}})
        for one, told in zip(sweep.summary.get("stays", ()), moments, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class StuckDeal:
    """A deal over its stage's limit, with its entry; the ``step`` that is told now (0: it sleeps, so that what was told
    of it is over), and the one before."""

    of: tuple[Deal, datetime]
    step: int
    before: Escalation | None = None


def stuck_deals(context: ServiceContext, sweep: Sweep) -> dict[str, StuckDeal]:
    """Deals that are longer in their stage than its limit and of which somebody is to hear: at first in any sweep, then
    step by step in the morning; without ``escalate`` once for each visit."""
    rules, moment = context.rulebook.rules, sweep.moment
    late = late_visits(context.store, rules, moment)
    known = context.store.escalations(late)
    wanted = [key for key in late if key not in known or rules.escalate is not None]
    deals = context.store.deals([late[key].deal_id for key in wanted])
    daily = rules.overdue is not None and overdue.is_daily(rules.overdue, SlotId.parse(sweep.slot).name)
    found: dict[str, StuckDeal] = {}
    for key in wanted:
        deal, before = deals.get(late[key].deal_id), known.get(key)
        if deal is None or deal.closed:
            continue
        step = 0 if asleep(deal, rules, moment) else step_of(context, deal, before, moment)
        if (step == 0 and before is not None and before.spell) or (step and (daily or step == 1)):
            same = before is not None and before.spell in (None, spell_of(deal))
            found[key] = StuckDeal((deal, late[key].entered), step, before if same else None)
    return found


def step_of(context: ServiceContext, deal: Deal, before: Escalation | None, moment: datetime) -> int | None:
    """How high a deal over its stage's limit is to be told of now; None: not at all."""
    rules, top = context.rulebook.rules, len(heads(context.rulebook.company, deal.responsible_id))
    return next_step(
        before, spell_of(deal), top=max(top, 1), every=rules.escalate, calendar=rules.calendar, moment=moment
    )


def spell_of(deal: Deal) -> str:
    """While the deal is somebody's, the steps of its visit go on."""
    return str(deal.responsible_id)


def steps_of(context: ServiceContext, sweep: Sweep, told: Collection[str]) -> tuple[Escalation, ...]:
    """What is told now of the undone, as it is remembered; and that the steps of what sleeps are over."""
    stays = {overdue.step_key(one.ref): one for one in stays_of(sweep) if one.fate == "escalate"}
    stuck = stuck_deals(context, sweep)
    tasks = [Escalation(key, stays[key].spell, stays[key].step, sweep.moment) for key in told if key in stays]
    deals = [
        Escalation(key, spell_of(one.of[0]) if one.step else "", one.step, sweep.moment)
        for key, one in stuck.items()
        if key in told or not one.step
    ]
    return (*tasks, *deals)


def idle_to_tell(context: ServiceContext, sweep: Sweep) -> Idle:
    """Deals without a next step, of whom the sweep made sure; of a sweep that is only tried, all that are known."""
    sure = sweep.summary.get("idle")
    found = untold(context.store, context.rulebook.rules, sweep.moment)
    return found if sure is None else {key: found[key] for key in sure if key in found}


def late_visits(store: Store, rules: Rules, moment: datetime) -> dict[str, Visit]:
    """Visits that last longer than their stage's limit, by the key of what is told of them."""
    limits = {stage: policy.limit for stage, policy in rules.policies.items() if policy.limit}
    return {
        str(Key(Purpose.STUCK, visit.row)): visit
        for visit in store.present_visits(limits).values()
        if (limit := limits[visit.stage_id]) and passed_limit(limit, visit, rules.calendar, moment)
    }


def away_now(context: ServiceContext, sweep: Sweep) -> dict[int, datetime]:
    """Who is away up to the end of the day that the messages look at, and until when."""
    rules, users = context.rulebook.rules, context.rulebook.company.users
    calendar = rules.calendar
    _, last = overdue.due_days(SlotId.parse(sweep.slot), calendar)
    until = calendar.moment(last, calendar.end_of(last))
    ids = sorted(user.id for user in users.values() if user.active)
    read = reading.absences(context.portal, ids, sweep.moment, until)
    absences = read if isinstance(read, tuple) else context.rulebook.company.absences
    return overdue.away_through(absences, moment=sweep.moment, until=until)
