"""Who may do what with a task: the product's access rules, as far as they need no role settings.

Statuses are those that the documentation's samples of ``action`` show: a task is started, paused into waiting, deferred
from waiting only, renewed from completed or deferred, accepted or sent back from "awaiting acceptance".
"""

from __future__ import annotations

from collections.abc import Callable

from bitrix_sandbox.state.portal import PortalState
from bitrix_sandbox.state.task_records import AWAITING, DEFERRED, DONE, IN_PROGRESS, WAITING, Task


def works_on(state: PortalState, user_id: int, task: Task) -> bool:
    """Creator, responsible, participants, their superiors, administrators: those who may change the status."""
    doers = {task.creator_id, task.responsible_id, *task.accomplices}
    return user_id in doers or state.is_admin(user_id) or not doers.isdisjoint(state.subordinates(user_id))


def may_edit(state: PortalState, user_id: int, task: Task) -> bool:
    """Administrators, the creator while the task is open, superiors of the creator."""
    if state.is_admin(user_id) or task.creator_id in state.subordinates(user_id):
        return True
    return user_id == task.creator_id and not task.finished


def may_move_deadline(state: PortalState, user_id: int, task: Task) -> bool:
    """The milder right of an update that holds dates only."""
    if task.id in state.switches.frozen_deadlines:
        return False
    if task.allow_deadline and (user_id == task.responsible_id or task.responsible_id in state.subordinates(user_id)):
        return True
    return may_edit(state, user_id, task)


def may_delegate(state: PortalState, user_id: int, task: Task) -> bool:
    """Whoever works on an open task, participants left out."""
    return not task.finished and works_on(state, user_id, task) and user_id not in task.accomplices


def may_delete(state: PortalState, user_id: int, task: Task) -> bool:
    """Administrators, the creator, superiors of the creator."""
    reach = state.subordinates(user_id)
    return state.is_admin(user_id) or user_id == task.creator_id or task.creator_id in reach


def may_complete(state: PortalState, user_id: int, task: Task) -> bool:
    """Whoever works on an open task; one that awaits acceptance: those who may accept it."""
    if task.finished:
        return False
    return may_judge(state, user_id, task) if task.status == AWAITING else works_on(state, user_id, task)


def may_judge(state: PortalState, user_id: int, task: Task) -> bool:
    """Accept or send back: the creator, his superiors, administrators; only what awaits acceptance."""
    return task.status == AWAITING and may_delete(state, user_id, task)


def may_start(state: PortalState, user_id: int, task: Task) -> bool:
    """A waiting task."""
    return task.status == WAITING and works_on(state, user_id, task)


def may_pause(state: PortalState, user_id: int, task: Task) -> bool:
    """A task in progress."""
    return task.status == IN_PROGRESS and works_on(state, user_id, task)


def may_defer(state: PortalState, user_id: int, task: Task) -> bool:
    """A waiting task; one in progress must be paused first."""
    return task.status == WAITING and works_on(state, user_id, task)


def may_renew(state: PortalState, user_id: int, task: Task) -> bool:
    """A completed or deferred task; one that awaits acceptance, by those who do it."""
    if task.status == AWAITING:
        return user_id != task.creator_id and user_id in {task.responsible_id, *task.accomplices}
    return task.status in (DONE, DEFERRED) and works_on(state, user_id, task)


def may_assign(state: PortalState, user_id: int, responsible_id: int) -> bool:
    """Give a task to somebody: oneself, subordinates, and anybody unless an administrator has cut that right."""
    if state.switches.assign_to_anyone or state.is_admin(user_id) or user_id == responsible_id:
        return True
    return responsible_id in state.subordinates(user_id)


def actions(state: PortalState, user_id: int, task: Task) -> dict[str, bool]:
    """The allowed actions as ``tasks.task.getaccess`` names them."""
    known = user_id in state.users

    def may(right: Callable[[PortalState, int, Task], bool]) -> bool:
        return known and right(state, user_id, task)

    edit, deadline, works = may(may_edit), may(may_move_deadline), may(works_on)
    return {
        "ACCEPT": False,
        "DECLINE": False,
        "COMPLETE": may(may_complete),
        "APPROVE": may(may_judge),
        "DISAPPROVE": may(may_judge),
        "START": may(may_start),
        "PAUSE": may(may_pause),
        "DELEGATE": may(may_delegate),
        "REMOVE": may(may_delete),
        "EDIT": edit,
        "DEFER": may(may_defer),
        "RENEW": may(may_renew),
        "CREATE": known,
        "CHANGE_DEADLINE": deadline,
        "CHECKLIST_ADD_ITEMS": works or edit,
        "ADD_FAVORITE": known,
        "DELETE_FAVORITE": False,
        "RATE": edit,
        "TAKE": False,
        "EDIT.ORIGINATOR": False,
        "CHECKLIST.REORDER": works or edit,
        "ELAPSEDTIME.ADD": works,
        "DAYPLAN.TIMER.TOGGLE": False,
        "EDIT.PLAN": deadline,
        "CHECKLIST.ADD": works or edit,
        "FAVORITE.ADD": known,
        "FAVORITE.DELETE": False,
    }
