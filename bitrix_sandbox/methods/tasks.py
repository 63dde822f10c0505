"""``tasks.task.*`` of the sandbox, old REST (api-reference/tasks): make, read, change, end tasks.

Importing this module registers every task method, v2 and 3.0.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from bitrix_sandbox.methods import (
    task_fields,
    task_list,
    task_parts,
    task_rights,
    task_shape,
    task_userfields,
    tasks_v3,
)
from bitrix_sandbox.methods.protocol import Answer, Caller, method
from bitrix_sandbox.state import values
from bitrix_sandbox.state.errors import RestError
from bitrix_sandbox.state.portal import PortalState
from bitrix_sandbox.state.task_records import AWAITING, DEFERRED, DONE, IN_PROGRESS, RESULT_REQUIRED, WAITING, Task

__all__ = ["task_list", "task_parts", "task_userfields", "tasks_v3"]

_DATES = frozenset({"ID", "DEADLINE", "START_DATE_PLAN", "END_DATE_PLAN", "DURATION_PLAN", "DURATION"})
_NOT_ALLOWED = "Action on the task is not allowed"
Right = Callable[[PortalState, int, Task], bool]


@method("tasks.task.add", "task", cost=0.35, writes=True)
def task_add(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """A new task; the answer reads it back as the caller, so it may be ``[]``."""
    fields = _fields(params)
    given = task_fields.read(state, fields)
    title, responsible = str(given.pop("title", "") or "").strip(), given.pop("responsible_id", 0)
    if not title:
        raise RestError("ERROR_CORE", "Task title is not specified<br>")
    if not responsible:
        raise RestError("ERROR_CORE", "Responsible person not specified<br>")
    creator = given.setdefault("creator_id", caller.user_id)
    if creator != caller.user_id and not caller.admin and responsible != caller.user_id:
        raise RestError("0", _NOT_ALLOWED)
    if not task_rights.may_assign(state, caller.user_id, responsible) or not _may_use_group(state, given):
        raise RestError("0", _NOT_ALLOWED)
    task = state.keep_task(title, by=caller.user_id, responsible=responsible, **given)
    return _read_back(state, caller, task)


@method("tasks.task.get", "task")
def task_get(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """One task; ``[]`` when it is not there or not for the caller."""
    number = _task_id(params)
    select = params.get("select")
    if select is not None and not isinstance(select, list | dict | tuple):
        raise RestError("100", "Invalid value {} to match with parameter {select}. Should be value of type array.")
    task = _readable(state, caller, number)
    if task is None:
        return Answer([])
    names = [str(name) for name in values.listed(select)]
    return Answer({"task": task_shape.full(task_shape.view(state, caller.user_id), task, names or None)})


@method("tasks.task.update", "task", cost=0.25, writes=True)
def task_update(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """Change a task. Dates alone ask for the milder right to move the deadline, anything more for the right to edit."""
    number = _task_id(params)
    fields = _fields(params)
    task = _allowed(state, caller, number, _right_for(set(fields)), "0")
    given = task_fields.read(state, fields, task)
    if "responsible_id" in given and not task_rights.may_assign(state, caller.user_id, given["responsible_id"]):
        raise RestError("0", _NOT_ALLOWED)
    if given.get("status") == DONE:
        given["status"] = _end_of(state, caller, task)
    if number in state.switches.kept_deadlines:
        given.pop("deadline", None)
    state.change_task(task, caller.user_id, **given)
    return _read_back(state, caller, task)


@method("tasks.task.delete", "task", cost=0.15, writes=True)
def task_delete(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """Delete a task."""
    number = _task_id(params)
    task = _readable(state, caller, number)
    if task is None or not task_rights.may_delete(state, caller.user_id, task):
        raise RestError("1048582", "No access to delete the task")
    state.drop_task(task)
    return Answer({"task": True})


@method("tasks.task.complete", "task", cost=0.25, writes=True)
def task_complete(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """Complete; with TASK_CONTROL, when the caller is not the creator, the task awaits acceptance."""
    task = _allowed(state, caller, _task_id(params), task_rights.may_complete, "0")
    state.change_task(task, caller.user_id, status=_end_of(state, caller, task))
    return _read_back(state, caller, task)


@method("tasks.task.renew", "task", cost=0.25, writes=True)
def task_renew(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """Completed or deferred → waiting."""
    task = _allowed(state, caller, _task_id(params), task_rights.may_renew, "1048582")
    state.reopen_task(task.id, caller.user_id)
    return _read_back(state, caller, task)


@method("tasks.task.delegate", "task", cost=0.25, writes=True)
def task_delegate(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """Give a task to another; the old responsible observes it, the status returns to waiting."""
    number = _task_id(params)
    if params.get("userId") in (None, ""):
        raise RestError("100", "Could not find value for parameter {userId}")
    heir = values.php_int(params["userId"])
    task = _allowed(state, caller, number, task_rights.may_delegate, "0")
    if heir not in state.users or not task_rights.may_assign(state, caller.user_id, heir):
        raise RestError("0", _NOT_ALLOWED)
    auditors = tuple(dict.fromkeys([*task.auditors, task.responsible_id]))
    state.change_task(task, caller.user_id, responsible_id=heir, auditors=auditors, status=WAITING)
    return _read_back(state, caller, task)


@method("tasks.task.getfields", "task")
def task_get_fields(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """The fields of tasks."""
    return Answer({"fields": task_fields.described(state)})


@method("tasks.task.getaccess", "task")
def task_get_access(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """Allowed actions per user; an empty array when the caller cannot read the task."""
    number = _task_id(params)
    users = params.get("users")
    if users is not None and not isinstance(users, list | dict | tuple):
        raise RestError("100", "Invalid value {} to match with parameter {users}. Should be value of type array.")
    task = _readable(state, caller, number)
    if task is None:
        return Answer({"allowedActions": []})
    people = [values.php_int(user) for user in values.listed(users)] or [caller.user_id]
    return Answer({"allowedActions": {str(user): task_rights.actions(state, user, task) for user in people}})


@method("tasks.task.history.list", "task")
def task_history(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """Who changed what in a task: newest first unless ``order`` says otherwise."""
    number = _task_id(params)
    task = state.tasks.get(number)
    if task is None:
        return Answer({"list": []})
    if not state.reads_task(caller.user_id, task):
        raise RestError("0", "Access denied.")
    wanted = {str(item) for item in values.listed((values.mapped(params.get("filter")) or {}).get("FIELD"))}
    order = values.mapped(params.get("order")) or {}
    backwards = str(values.first(order.values(), "desc")).lower() != "asc"
    look = task_shape.view(state, caller.user_id)
    rows = [change for change in task.log if not wanted or change.field in wanted]
    return Answer({"list": [_change(look, change) for change in sorted(rows, key=_age, reverse=backwards)]})


def _age(change: Any) -> tuple[datetime, int]:
    return change.at, change.id


def _change(look: task_shape.View, change: Any) -> dict[str, Any]:
    user = look.state.users.get(change.user_id)
    return {
        "id": change.id,
        "createdDate": look.time(change.at),
        "field": change.field,
        "value": {"from": look.state.logged_value(change.before), "to": look.state.logged_value(change.after)},
        "user": {
            "id": change.user_id,
            "name": user.name if user else "",
            "lastName": user.last_name if user else "",
            "secondName": user.second_name if user else "",
            "login": user.email if user else "",
        },
    }


def _task_id(params: dict[str, Any]) -> int:
    if params.get("taskId") in (None, ""):
        raise RestError("100", "CTaskItem All parameters in the constructor must have real class type")
    number = values.integer(params["taskId"])
    if number is None or number < 1:
        raise RestError("0", "wrong task id")
    return number


def _fields(params: dict[str, Any]) -> dict[str, Any]:
    fields = values.mapped(params.get("fields"))
    if not fields:
        raise RestError("100", "Could not find value for parameter {fields}")
    return fields


def _right_for(names: set[str]) -> Right:
    if names <= _DATES:
        return task_rights.may_move_deadline
    if names == {"RESPONSIBLE_ID"}:
        return task_rights.may_delegate
    if names == {"STATUS"}:
        return task_rights.works_on
    return task_rights.may_edit


def _readable(state: PortalState, caller: Caller, number: int) -> Task | None:
    task = state.tasks.get(number)
    return task if task is not None and state.reads_task(caller.user_id, task) else None


def _allowed(state: PortalState, caller: Caller, number: int, right: Right, code: str) -> Task:
    task = _readable(state, caller, number)
    if task is None or not right(state, caller.user_id, task):
        raise RestError(code, _NOT_ALLOWED)
    return task


def _turn(right: Right, code: str, status: int) -> Callable[[PortalState, Caller, dict[str, Any]], Answer]:
    def turn(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
        task = _allowed(state, caller, _task_id(params), right, code)
        state.change_task(task, caller.user_id, status=status)
        return _read_back(state, caller, task)

    return turn


TURNS: tuple[tuple[str, Right, str, int], ...] = (
    ("start", task_rights.may_start, "0", IN_PROGRESS),
    ("pause", task_rights.may_pause, "1048582", WAITING),
    ("defer", task_rights.may_defer, "1048582", DEFERRED),
    ("approve", task_rights.may_judge, "1048582", DONE),
    ("disapprove", task_rights.may_judge, "1048582", WAITING),
)
"""Methods that give a task another status: who may, the code of the refusal, the status."""
for _name, _right, _code, _status in TURNS:
    method(f"tasks.task.{_name}", "task", cost=0.25, writes=True)(_turn(_right, _code, _status))


def _end_of(state: PortalState, caller: Caller, task: Task) -> int:
    spared = state.switches.result_spares_creator and (caller.admin or caller.user_id == task.creator_id)
    if RESULT_REQUIRED in task.params and not task.has_open_result() and not spared:
        raise RestError("0", "The task cannot be completed: a result is required")
    waits = task.control and caller.user_id != task.creator_id and task.status != AWAITING
    return AWAITING if waits else DONE


def _may_use_group(state: PortalState, given: dict[str, Any]) -> bool:
    number = given.get("group_id", 0)
    group = state.workgroups.get(number)
    return number == 0 or (group is not None and not group.closed)


def _read_back(state: PortalState, caller: Caller, task: Task) -> Answer:
    if state.switches.read_back_empty or not state.reads_task(caller.user_id, task):
        return Answer([])
    return Answer({"task": task_shape.full(task_shape.view(state, caller.user_id), task)})
