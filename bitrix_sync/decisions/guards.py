"""Whether an operation still makes sense, now that its task has been read again just before the write. Pure.

A person may have changed the task since the decision; what a person did is never overwritten. And a number is no
identity: on a portal that was put back from its backup, or made anew, the number of a task of ours may be that of a
person's task now. What tells them apart is the mark.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from bitrix_sync.model.actions import CompleteTask, DeferTask, DeleteTask, Kind, ResumeTask, SetDeadline, SetPeople
from bitrix_sync.model.facts import DEFERRED, DONE, IN_PROGRESS, MOVABLE_STATUSES, OPEN_STATUSES, WAITING, PortalTask
from bitrix_sync.model.keys import foreign_id, mark_of
from bitrix_sync.model.operations import Operation, State, TaskRecord
from bitrix_sync.model.reasons import Reason

ENDABLE = frozenset({WAITING, IN_PROGRESS, DEFERRED})

ECHO = timedelta(seconds=5)
"""So much later the portal may date a change of ours, and our clock may differ from its."""
NEED_READING = frozenset(
    {
        *(Kind.DEADLINE, Kind.PEOPLE, Kind.COMPLETE, Kind.DEFER, Kind.RESUME, Kind.DELETE),
        *(Kind.CHECKLIST, Kind.LINE),
    }
)
"""Kinds whose task is read before they are sent: all that change one."""
SAME_CREATION = timedelta(hours=2)
"""So much the time of a task's creation may differ from what was read before: portals show it in the summer's offset in
winter."""
OF_STATUS = frozenset({Kind.COMPLETE, Kind.DEFER, Kind.RESUME, Kind.DELETE})
"""Those which the portal refuses when the task has another status meanwhile."""


@dataclass(frozen=True, slots=True)
class Settled:
    """The operation need not be sent: it is DONE already, or DROPPED for the ``reason``. ``stranger``: the task under
    that number is not the one that we know."""

    state: State
    reason: Reason
    stranger: bool = False


STRANGER = Settled(State.DROPPED, Reason.STRANGER, stranger=True)


def is_stranger(seen: PortalTask, record: TaskRecord | None, ref: str = "") -> bool:
    """True when the task that the portal shows is not the one remembered under its number: another mark, and for a task
    that no rule made, another time of creation. ``ref``: its name in operations, where there is no record."""
    if occurrence := _occurrence(record, ref):
        return seen.mark not in (None, mark_of(occurrence))
    if record is None or record.created is None or seen.created is None:
        return False
    return abs(seen.created - record.created) > SAME_CREATION


def is_unmarked(seen: PortalTask, record: TaskRecord | None, ref: str = "") -> bool:
    """True when the portal does not say whether the task is the one of a rule that is remembered under its number."""
    return seen.mark is None and bool(_occurrence(record, ref))


def _occurrence(record: TaskRecord | None, ref: str) -> str:
    """What a task was made for; "" for one that no rule made."""
    return record.occurrence if record is not None else ref if foreign_id(ref) is None else ""


def is_of_deal(seen: PortalTask, deal_id: int) -> bool:
    """True when the task is bound to the deal, or to none."""
    return deal_id in seen.deal_ids or not seen.deal_ids


def is_for_deal(operation: Operation) -> bool:
    """True for what is done with a task because of its deal; a sweep asks for no deal."""
    swept = isinstance(operation.action, SetDeadline) and operation.action.reason != "follow"
    return operation.deal_id != 0 and foreign_id(operation.task) is None and not swept


def guard(operation: Operation, seen: PortalTask | None, record: TaskRecord | None, *, now: datetime) -> Settled | None:
    """None: send it. ``seen`` is the task as the portal shows it now (None: not there), ``record`` what we remember,
    ``now`` the portal's time."""
    if seen is None:
        return Settled(State.DONE if operation.kind is Kind.DELETE else State.DROPPED, Reason.TASK_GONE)
    if is_stranger(seen, record, operation.task):
        return STRANGER
    if is_for_deal(operation) and not is_of_deal(seen, operation.deal_id):
        return Settled(State.DROPPED, Reason.OTHER_DEAL)
    match operation.action:
        case SetDeadline() as change:
            return _deadline(change, seen, record, now)
        case SetPeople() as change:
            return _people(change, seen)
        case CompleteTask():
            return _ending(seen, DONE)
        case DeferTask():
            return _ending(seen, DEFERRED)
        case DeleteTask() as deletion:
            return _deletion(deletion, seen)
        case ResumeTask() if seen.status != DEFERRED:
            return Settled(State.DONE, Reason.SO_ALREADY)
    return None


def _deadline(change: SetDeadline, seen: PortalTask, record: TaskRecord | None, now: datetime) -> Settled | None:
    of_sweep = change.reason == "sweep"
    if seen.status not in (MOVABLE_STATUSES if of_sweep else OPEN_STATUSES):
        return Settled(State.DROPPED, Reason.NOT_MOVABLE)
    if seen.deadline == change.deadline:
        return Settled(State.DONE, Reason.THERE_ALREADY)
    if of_sweep and change.deadline is not None and change.deadline <= now:
        return Settled(State.DROPPED, Reason.DEADLINE_PASSED)
    return None if seen.deadline == change.seen else _moved_meanwhile(change, seen.deadline, record, now)


def _moved_meanwhile(
    change: SetDeadline, shown: datetime | None, record: TaskRecord | None, now: datetime
) -> Settled | None:
    """The deadline is not the one that the decision was based on: by a person, or by us."""
    if record is None or shown not in record.sent:
        return Settled(State.DROPPED, Reason.OTHER_DEADLINE)
    still_overdue = change.reason == "sweep" and shown is not None and shown < now
    return None if change.reason == "follow" or still_overdue else Settled(State.DROPPED, Reason.MOVED_OTHERWISE)


def _people(change: SetPeople, seen: PortalTask) -> Settled | None:
    if not seen.open:
        return Settled(State.DROPPED, Reason.CLOSED)
    if seen.owner_id not in (change.owner, change.seen or change.owner):
        return Settled(State.DROPPED, Reason.OTHER_OWNER)
    return None


def _deletion(deletion: DeleteTask, seen: PortalTask) -> Settled | None:
    if deletion.mark not in ("", seen.mark):
        return STRANGER
    return None if seen.status in ENDABLE else Settled(State.DROPPED, Reason.CLOSED_OR_AWAITING)


def _ending(seen: PortalTask, ending: int) -> Settled | None:
    if seen.status == ending:
        return Settled(State.DONE, Reason.SO_ALREADY)
    if seen.status not in ENDABLE:
        return Settled(State.DROPPED, Reason.CLOSED_OR_AWAITING)
    return None


def touched(record: TaskRecord, task: PortalTask, *, written: datetime | None = None) -> str:
    """What a person did with a task that we made, a reason ("" if nothing): only untouched ones are ever deleted.

    ``written``: when we last wrote to it, in the portal's time: a later change is somebody else's, whatever it was.
    """
    if task.status != WAITING:
        return Reason.CHANGED_STATUS
    if task.owner_id != record.owner_sent:
        return Reason.CHANGED_OWNER
    if task.deadline != record.deadline and task.deadline not in record.sent:
        return Reason.CHANGED_DEADLINE
    if record.moves_by_people:
        return Reason.CHANGED_DEADLINE
    if task.title != record.title:
        return Reason.CHANGED_TITLE
    return Reason.CHANGED if written and task.changed and task.changed > written + ECHO else ""
