"""The nightly recheck: what may have slipped through is read again, what vanished is noted, twins are removed.

Also asked by sweeps: before anything is moved, the open tasks that we know and their deals are read again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta

import structlog

from bitrix_sync.decisions.guards import is_of_deal
from bitrix_sync.engine import recognition, steps
from bitrix_sync.engine.passes import (
    FEW,
    Gathered,
    ServiceContext,
    carry_out,
    decide,
    ended_steps,
    has_changed,
    look_whose,
    notices_of_tasks,
    observe_tasks,
    sift,
    tell_admins,
)
from bitrix_sync.model.actions import DeleteTask
from bitrix_sync.model.facts import Absent, Ahead, Changes, Deal, PortalTask, Unread
from bitrix_sync.model.items import ItemKind
from bitrix_sync.model.keys import Key, Purpose, foreign_ref, mark_of, occurrence_in
from bitrix_sync.model.operations import Changeset, DeadlineChange, Operation, StoredOperation, TaskRecord
from bitrix_sync.portal import reading
from bitrix_sync.store import Store
from bitrix_sync.words import texts

log = structlog.get_logger(__name__)

HOUR = 3
"""Local hour of the recheck."""
LOOK_BACK = timedelta(hours=48)
CHUNK = 500
"""Deals judged at a time."""
KEEP = timedelta(days=180)
"""How long traces and the payloads of finished operations are kept."""
PAST = timedelta(days=396)
"""How long values of fields and absences are kept: thirteen months."""
SHARE = 0.05
"""More than ``FEW`` and this share of all vanishing at once means that rights were lost, not that people deleted so
much."""
TWIN_REST = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class OpenWork:
    """All that is open as the portal shows it now, compared with what is known; nothing is written yet.

    ``tasks``: the records that differ from those remembered, new ones too. ``deals``: every deal with an open task, as
    remembered if it could not be read (``unread``).
    ``vanished``: how many known open tasks the portal no longer shows, ``of`` how many. ``lost``: "tasks" or "deals",
    if more of them have vanished than people delete at once: then rights were lost."""

    at: datetime
    tasks: tuple[TaskRecord, ...]
    slips: tuple[DeadlineChange, ...]
    deals: Mapping[int, Deal]
    gone_deals: tuple[int, ...]
    vanished: Mapping[str, int]
    of: Mapping[str, int]
    lost: str = ""
    unread: frozenset[int] = frozenset()
    operations: tuple[Operation, ...] = ()
    """What the admins hear of tasks that are not those remembered."""
    released: tuple[str, ...] = ()
    doubted: tuple[str, ...] = ()
    ahead: Ahead | None = None
    """What is new of known planned activities; None: they could not be read, or are not."""


def run_due(context: ServiceContext) -> None:
    """The recheck once a night, and twins whose rest is over. On the day of the first start all was read just now."""
    now = context.portal.now()
    remove_twins(context, now)
    local = context.rulebook.rules.calendar.local(now)
    today, last = local.date(), context.store.flags.rechecked
    if local.hour < HOUR or last == today:  # a day to come was told by a clock that was wrong
        return
    if last is not None:
        run(context)
    context.store.flags.rechecked = today


def next_run(context: ServiceContext) -> datetime:
    """When the next recheck is due (the portal's time)."""
    calendar = context.rulebook.rules.calendar
    today = calendar.local(context.portal.now()).date()
    day = today + timedelta(days=1) if context.store.flags.rechecked == today else today
    return calendar.moment(day, time(HOUR))


def run(context: ServiceContext) -> None:
    """Read the history of two days and all that is open again, deals as the portal shows them; decide what was missed;
    look once more for tasks that were made twice; forget what is old."""
    now = context.portal.now()
    look_whose(context)
    changes = Changes(
        visits=tuple(
            visit
            for kind in kinds_read(context)
            for visit in reading.history_since(context.portal, now - LOOK_BACK, kind)
        )
    )
    recording, report = decide(context, sift(context, changes, ask=context.store.unjudged()))
    context.store.record(recording, context.sender.epoch)
    met = meet_deals(context)
    seen = open_work(context)
    remember(context, seen)
    ours = context.sender.clock()
    resent = context.store.resent_creates(ours - TWIN_REST)
    look_for_twins(context, [row for row in resent if row.sent and ours - row.sent < LOOK_BACK], now)
    context.store.prune(now - KEEP, past_before=now - PAST)
    log.info("recheck", missed_visits=report.visits, deals=met, vanished=seen.vanished["tasks"], lost=seen.lost)


def kinds_read(context: ServiceContext) -> list[ItemKind]:
    """The kinds of items that are read."""
    cursor = context.store.cursor()
    return [] if cursor is None else cursor.read


def meet_deals(context: ServiceContext) -> int:
    """Take in each open deal of the portal that is not remembered as it is now, with its whole history: one that could
    not be read before, or whose change was missed; returns how many."""
    remembered = context.store.deals(open_only=True)
    read = reading.open_deals(context.portal, fields=context.rulebook.rules.fields, kinds=kinds_read(context))
    new = [deal for deal in read if has_changed(remembered.get(deal.id), deal)]
    for begin in range(0, len(new), CHUNK):
        deals = new[begin : begin + CHUNK]
        visits = reading.deal_history(context.portal, [deal.id for deal in deals])
        recording, _ = decide(context, sift(context, Changes(visits=tuple(visits), deals=tuple(deals))))
        context.store.record(recording, context.sender.epoch)
    return len(new)


def open_work(context: ServiceContext, *, fresh: Sequence[PortalTask] = ()) -> OpenWork:
    """Read every known open task again, and the deals of all that are open. ``fresh``: tasks that were read just now;
    they are not asked for again, and those of them that nobody knew are met here."""
    known = [record for record in context.store.open_tasks() if record.workable]
    seen = {task.id: task for task in fresh}
    seen |= recognition.shown(context.portal, [record for record in known if record.portal_id not in seen])
    facts = Gathered(context.portal.now(), Changes(tasks=tuple(seen.values())))
    observe_tasks(context, facts)
    missing = recognition.not_shown(context.portal, known, seen)
    deals = look_at_deals(context, [*known, *facts.tasks.values()])
    vanished = {"tasks": len(missing), "deals": len(deals.gone) + len(deals.hidden)}
    of = {"tasks": len(known), "deals": deals.remembered}
    ahead, vanished["activities"], of["activities"] = planned_again(context, facts.now)
    believed = context.store.flags.vanished_believed is not None
    return OpenWork(
        at=facts.now,
        tasks=(*facts.tasks.values(), *(replace(record, gone=True) for record in missing)),
        slips=tuple(facts.slips),
        deals=deals.shown,
        gone_deals=deals.gone,
        vanished=vanished,
        of=of,
        lost="" if believed else next((what for what in vanished if too_many(vanished[what], of[what])), ""),
        operations=notices_of_tasks(context, facts),
        released=facts.released,
        doubted=tuple(facts.seen.doubted),
        unread=deals.hidden,
        ahead=ahead,
    )


def planned_again(context: ServiceContext, at: datetime) -> tuple[Ahead | None, int, int]:
    """What is new of known planned activities, how many are gone, and of how many; None: that is not known."""
    planned = steps.seen_again(context.store, context.portal, at) if context.store.flags.steps_scope else None
    if isinstance(planned, Unread):
        log.warning("planned activities could not be read again; those known last stay", problem=planned.why)
    return planned if isinstance(planned, tuple) else (None, 0, 0)


@dataclass(frozen=True, slots=True)
class OpenDeals:
    """Deals with an open task. ``shown``: as the portal shows them now, or as remembered if it does not say
    (``hidden``); ``remembered``: how many of them were known."""

    shown: Mapping[int, Deal]
    gone: tuple[int, ...]
    hidden: frozenset[int]
    remembered: int


def look_at_deals(context: ServiceContext, tasks: Iterable[TaskRecord]) -> OpenDeals:
    """Read the deals of these tasks."""
    ids = sorted({record.deal_id for record in tasks} - {0})
    ends = reading.deals(context.portal, ids, fields=context.rulebook.rules.fields)
    remembered = context.store.deals(ids)
    hidden = {deal_id: deal for deal_id, deal in remembered.items() if isinstance(ends[deal_id], Unread)}
    gone = tuple(deal_id for deal_id in remembered if isinstance(ends[deal_id], Absent))
    shown = {deal.id: deal for deal in reading.found_deals(ends)} | hidden
    return OpenDeals(shown, gone, frozenset(hidden), len(remembered))


def remember(context: ServiceContext, seen: OpenWork) -> None:
    """Remember what a look taught, and judge the deals of our tasks that it concerns. When rights were lost the admins
    hear of it instead, and nothing is changed."""
    store = context.store
    if seen.lost:
        report_rights_lost(context, seen)
        return
    store.record(
        Changeset(
            at=seen.at,
            tasks=seen.tasks,
            slips=seen.slips,
            gone_deals=seen.gone_deals,
            operations=seen.operations,
            released=seen.released,
            doubted=seen.doubted,
            ahead=seen.ahead,
        ),
        context.sender.epoch,
    )
    store.flags.vanished = store.flags.vanished_believed = None
    judged = {record.deal_id for record in seen.tasks if record.rule_id and record.deal_id in seen.deals}
    judged |= ended_steps(context, seen.tasks, seen.ahead)
    if judged:
        read = Changes(deals=tuple(seen.deals[one] for one in sorted(seen.deals.keys() & judged - seen.unread)))
        recording, _ = decide(context, sift(context, read, ask=judged))
        store.record(recording, context.sender.epoch)


def too_many(missing: int, known: int) -> bool:
    """True when so much vanished at once that it cannot have been people."""
    return missing > FEW and missing > known * SHARE


def report_rights_lost(context: ServiceContext, seen: OpenWork) -> None:
    """Tell the admins, once a day. If people did delete so much, ``release`` lets the next look believe it."""
    missing, known = seen.vanished[seen.lost], seen.of[seen.lost]
    log.error(
        "too much has vanished at once; rights were probably lost, nothing is changed",
        what=seen.lost,
        missing=missing,
        of=known,
    )
    context.store.flags.vanished = seen.at
    text = texts.say(context.rulebook.rules.language, f"admin.rights_lost_{seen.lost}", missing=missing, known=known)
    notices = tell_admins(context.rulebook, Key(Purpose.RIGHTS, seen.at.date()), text)
    context.store.record(Changeset(at=seen.at, operations=notices), context.sender.epoch)


def believe(store: Store) -> bool:
    """An administrator says that what vanished was deleted by people: the next look believes it. False: there was
    nothing to believe."""
    doubted = store.flags.vanished
    store.flags.vanished_believed, store.flags.vanished = doubted, None
    return doubted is not None


# --- twins -----------------------------------------------------------------------------------------------------------


def remove_twins(context: ServiceContext, now: datetime) -> None:
    """Five minutes after a second send: is there a task twice?"""
    if due := resent_unlooked(context, context.sender.clock() - TWIN_REST):
        look_for_twins(context, due, now)


def resent_unlooked(context: ServiceContext, before: datetime) -> list[StoredOperation]:
    """Creations that were sent twice, the last time before then, and that nobody has looked for yet."""
    resent = context.store.resent_creates(before)
    told = context.store.told([twin_key(row) for row in resent])
    return [row for row in resent if twin_key(row) not in told]


def look_for_twins(context: ServiceContext, rows: Sequence[StoredOperation], now: datetime) -> None:
    """Of two tasks of a deal with one mark the one that we know stays, for its check list hangs on it (if we know
    neither, the elder); the other goes if it is of our own making and nobody touched it, else the admins are told."""
    records = context.store.task_records([row.operation.task for row in rows])
    known = {record.occurrence: record.portal_id for record in records}
    deals = {mark_of(record.occurrence): record.deal_id for record in records}
    by_mark: dict[str, list[PortalTask]] = {}
    for task in reading.tasks_by_mark(context.portal, list(deals)):
        mark = str(task.mark)
        if is_of_deal(task, deals[mark]):
            by_mark.setdefault(mark, []).append(task)
    late = {mark_of(row.operation.task): sent_last(context, row) + TWIN_REST for row in rows}
    operations: list[Operation] = []
    for mark, tasks in by_mark.items():
        known_id = known[occurrence_in(mark)]
        ours, *twins = sorted(tasks, key=lambda task: (task.id != known_id, task.id))
        for twin in twins:
            operations += twin_operations(context, twin, copied=is_copy(twin, ours, late[mark]))
    looked = tuple(twin_key(row) for row in rows)
    context.store.record(Changeset(at=now, operations=tuple(operations), told=looked), context.sender.epoch)
    carry_out(context)


def twin_key(row: StoredOperation) -> str:
    """Says that an occurrence was looked at for twins."""
    return str(Key(Purpose.TWINS, row.operation.task))


def is_copy(twin: PortalTask, ours: PortalTask, late: datetime) -> bool:
    """True of a task that a person may have made from ours, with its mark: by somebody else, or later (``late``) than
    what we sent can have come through."""
    return twin.created is None or twin.created > late or twin.creator_id != ours.creator_id


def sent_last(context: ServiceContext, row: StoredOperation) -> datetime:
    """When a creation was sent the last time, in the portal's time."""
    return (row.sent or context.sender.clock()) + context.portal.offset


def twin_operations(context: ServiceContext, twin: PortalTask, *, copied: bool) -> tuple[Operation, ...]:
    """Delete an untouched twin; tell the admins of one that a person made or works with."""
    log.warning("two tasks with one mark", task=twin.id, mark=twin.mark, touched=touched(twin), copied=copied)
    if copied or touched(twin):
        text = texts.say(context.rulebook.rules.language, "admin.twin", task=twin.id, title=twin.title)
        return tell_admins(context.rulebook, Key(Purpose.TWIN, twin.id), text)
    deletion = DeleteTask("twin", twin.mark or "")
    return (Operation(str(Key(Purpose.TWIN, twin.id)), deletion, task=foreign_ref(twin.id)),)


def touched(task: PortalTask) -> bool:
    """True when somebody worked with the task after its creation: another status, or a later change."""
    later = task.changed and task.created and task.changed - task.created > timedelta(seconds=5)
    return task.status != 2 or bool(later)
