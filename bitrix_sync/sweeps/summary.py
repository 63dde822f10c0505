"""Telling people of a sweep: when its messages are written, and what they are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from bitrix_sync.decisions import overdue
from bitrix_sync.decisions.plan import passed_limit
from bitrix_sync.engine.passes import ServiceContext, look_first
from bitrix_sync.model.actions import Kind, SendMessage, SetDeadline, SetPeople
from bitrix_sync.model.facts import Deal, Visit
from bitrix_sync.model.keys import Key, Purpose, SlotId
from bitrix_sync.model.operations import Changeset, Operation, State, StoredOperation
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
    summary |= {"messages": len(operations), "left": [row.id for row in rows if row.state in UNFINISHED]}
    recording = Changeset(
        at=context.portal.now(),
        operations=operations,
        told=told,
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
    stays = [Stay(**{**one, "since": datetime.fromisoformat(one["since"])}) for one in sweep.summary.get("stays", ())]
    left = left_before(store, sweep)
    open_tasks = store.open_tasks()
    records = {record.ref: record for record in open_tasks}
    spoken_of = {row.operation.task for row in (*rows, *left, *passed)} | {one.ref for one in stays}
    records |= {record.ref: record for record in store.task_records(refs=spoken_of - records.keys())}
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
        stuck=stuck_deals(context, sweep.moment),
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


def stuck_deals(context: ServiceContext, moment: datetime) -> dict[str, tuple[Deal, datetime]]:
    """Deals that are longer in their stage than its limit and of which nobody heard yet; told once for each visit."""
    late = late_visits(context.store, context.rulebook.rules, moment)
    told = context.store.told(late)
    deals = context.store.deals([visit.deal_id for key, visit in late.items() if key not in told])
    found = {key: (deals.get(visit.deal_id), visit.entered) for key, visit in late.items()}
    return {key: (deal, entered) for key, (deal, entered) in found.items() if deal is not None and not deal.closed}


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
