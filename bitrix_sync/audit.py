"""The nightly audit: what may have slipped through is read again, what vanished is noted, twins are removed.

Also asked by sweeps: before anything is moved, the open tasks that we know and their deals are read again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from bitrix_sync import plan, texts
from bitrix_sync.facts import Changes, PortalTask
from bitrix_sync.operations import MARK, Kind, Operation, Recorded, Recording, State, TaskRecord
from bitrix_sync.portal import reading
from bitrix_sync.sync import Desk, carry_out, decide, sift, tell_admins

log = structlog.get_logger(__name__)

HOUR = 3
"""Local hour of the nightly audit."""
LOOK_BACK = timedelta(hours=48)
KEEP = timedelta(days=180)
"""How long traces and the payloads of finished operations are kept."""
FEW, SHARE = 20, 0.05
"""More than both vanishing at once means that rights were lost, not that people deleted so much."""
TWIN_REST = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Vanished:
    """Known open tasks that the portal no longer shows. ``rights_lost``: too many to believe; nothing was changed."""

    tasks: tuple[TaskRecord, ...]
    rights_lost: bool


def run_due(desk: Desk) -> None:
    """The audit once a night, and twins whose rest is over."""
    now = desk.portal.now()
    remove_twins(desk, now)
    local = desk.rulebook.rules.calendar.local(now)
    today = local.date().isoformat()
    if local.hour < HOUR or (desk.store.setting("audited") or "") >= today:
        return
    audit(desk)
    desk.store.set_setting("audited", today)


def audit(desk: Desk) -> None:
    """Read the history of two days and all that is open again; decide what was missed; forget what is old."""
    now = desk.portal.now()
    changes = Changes(visits=tuple(reading.history_since(desk.portal, now - LOOK_BACK)))
    recording, report = decide(desk, sift(desk, changes))
    desk.store.record(recording, desk.hands.epoch)
    lost = reread_open(desk)
    desk.store.prune(now - KEEP)
    log.info("nightly audit", missed_visits=report.visits, vanished=len(lost.tasks), rights_lost=lost.rights_lost)


def reread_open(desk: Desk, *, fresh: Mapping[int, PortalTask] | None = None) -> Vanished:
    """Read every known open task again, and the deals of those that are left; what is missing is gone, unless so much
    is missing that rights must have been lost: then the admins hear of it and nothing is changed. ``fresh``: tasks
    that were read just now, by id; they are not asked for again."""
    store, portal = desk.store, desk.portal
    now = portal.now()
    known = [record for record in store.open_tasks() if record.portal_id is not None]
    seen = dict(fresh or {})
    unread = [record.portal_id for record in known if record.portal_id and record.portal_id not in seen]
    seen |= {task.id: task for task in reading.tasks(portal, unread)}
    missing = tuple(record for record in known if record.portal_id not in seen)
    if too_many(len(missing), len(known)):
        report_rights_lost(desk, len(missing), len(known), now)
        return Vanished(missing, rights_lost=True)
    records = [replace(record, gone=True) for record in missing]
    slips = []
    for record in known:
        task = seen.get(record.portal_id or 0)
        if task is not None:
            observed, slip = plan.observe(record, task, at=now)
            slips += [slip] if slip else []
            records += [observed] if observed != record else []
    deal_ids = sorted({record.deal_id for record in known if record.deal_id})
    rules = desk.rulebook.rules
    there = {deal.id for deal in reading.deals(portal, deal_ids, fields=rules.fields)}
    gone = tuple(deal_id for deal_id in deal_ids if deal_id not in there)
    if too_many(len(gone), len(deal_ids)):
        report_rights_lost(desk, len(gone), len(deal_ids), now)
        gone = ()
    judged = {record.deal_id for record in records if record.rule_id and record.deal_id in there}
    recording = Recording(at=now, tasks=tuple(records), slips=tuple(slips), gone_deals=gone)
    store.record(recording, desk.hands.epoch)
    if judged:
        recording, _ = decide(desk, sift(desk, Changes(), ask=judged))
        store.record(recording, desk.hands.epoch)
    return Vanished(missing, rights_lost=False)


def too_many(missing: int, known: int) -> bool:
    """True when so much vanished at once that it cannot have been people."""
    return missing > FEW and missing > known * SHARE


def report_rights_lost(desk: Desk, missing: int, known: int, now: datetime) -> None:
    """Tell the admins, once a day."""
    log.error("too much has vanished at once; rights were probably lost, nothing is changed", missing=missing, of=known)
    text = texts.say(desk.rulebook.rules.language, "admin.rights_lost", missing=missing, known=known)
    notices = tell_admins(desk.rulebook, f"rights:{now:%Y-%m-%d}", text)
    desk.store.record(Recording(at=now, operations=notices), desk.hands.epoch)


# --- twins -----------------------------------------------------------------------------------------------------------


def remove_twins(desk: Desk, now: datetime) -> None:
    """Five minutes after a second send: of two tasks with one mark the younger goes if nobody touched it, else the
    admins are told."""
    resent = desk.store.resent_creates(desk.hands.clock() - TWIN_REST)
    told = desk.store.told([twin_key(row) for row in resent])
    due = [row for row in resent if twin_key(row) not in told]
    if not due:
        return
    marks = [MARK + row.operation.task for row in due]
    by_mark: dict[str, list[PortalTask]] = {}
    for task in reading.tasks_by_mark(desk.portal, marks):
        by_mark.setdefault(task.mark, []).append(task)
    operations: list[Operation] = []
    for tasks in by_mark.values():
        for twin in sorted(tasks, key=lambda task: task.id)[1:]:
            operations += twin_operations(desk, twin)
    desk.store.record(
        Recording(at=now, operations=tuple(operations), told=tuple(twin_key(row) for row in due)), desk.hands.epoch
    )
    carry_out(desk)


def twin_key(row: Recorded) -> str:
    """Says that an occurrence was looked at for twins."""
    return f"twins:{row.operation.task}"


def twin_operations(desk: Desk, twin: PortalTask) -> tuple[Operation, ...]:
    """Delete an untouched twin; tell the admins of one that people work with."""
    log.warning("two tasks with one mark", task=twin.id, mark=twin.mark, touched=touched(twin))
    if touched(twin):
        text = texts.say(desk.rulebook.rules.language, "admin.twin", task=twin.id, title=twin.title)
        return tell_admins(desk.rulebook, f"twin:{twin.id}", text)
    return (Operation(f"twin:{twin.id}", Kind.DELETE, {"reason": "twin"}, task=f"task:{twin.id}", state=State.PLANNED),)


def touched(task: PortalTask) -> bool:
    """True when somebody worked with the task after its creation: another status, or a later change."""
    later = task.changed and task.created and task.changed - task.created > timedelta(seconds=5)
    return task.status != 2 or bool(later)
