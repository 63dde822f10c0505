"""Task methods of REST 3.0 (api-reference/tasks/*-rest-v3.md), registered as ``v3:name``.

Typed values, ``{"item": {...}}``, errors with ``BITRIX_REST_V3_EXCEPTION_...`` codes that the server wraps.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from bitrix_sandbox.methods import task_rights, task_shape
from bitrix_sandbox.methods.protocol import Answer, Caller, method
from bitrix_sandbox.state import values
from bitrix_sandbox.state.crm_fields import camel
from bitrix_sandbox.state.errors import V3Error
from bitrix_sandbox.state.portal import PortalState
from bitrix_sandbox.state.task_records import AWAITING, DEFERRED, DONE, IN_PROGRESS, RESULT_REQUIRED, WAITING, Task

_REQUEST = "VALIDATION_REQUESTVALIDATIONEXCEPTION"
_OBJECT = "VALIDATION_DTOVALIDATIONEXCEPTION"
_STATUS = {
    WAITING: "pending",
    IN_PROGRESS: "in_progress",
    AWAITING: "supposedly_completed",
    DONE: "completed",
    DEFERRED: "deferred",
}
_PRIORITY = ("low", "average", "high")
_RIGHTS = {"CHANGE_DEADLINE": "deadline", "RATE": "mark", "CHECKLIST_ADD_ITEMS": "checklistAdd"}


@method("v3:tasks.task.add", "tasks", cost=0.35, writes=True)
def task_add(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """A new task; seconds of the deadline are kept here."""
    fields = _fields(params, "title", "creatorId", "responsibleId")
    creator, responsible = _whole(fields, "creatorId"), _whole(fields, "responsibleId")
    if responsible not in state.users:
        raise _invalid("responsibleId", 'User specified in the "Executor" field not found')
    if creator not in state.users:
        raise _invalid("creatorId", "")
    deadline = _deadline(state, fields.get("deadline"))
    parent = values.php_int(fields.get("parentId"))
    if parent and parent not in state.tasks:
        raise _invalid("parentId", 'Task specified in the "Parent Task" field not found')
    if creator != caller.user_id and not caller.admin and responsible != caller.user_id:
        raise _denied()
    priority = fields.get("priority")
    task = state.keep_task(
        str(fields["title"]),
        by=caller.user_id,
        responsible=responsible,
        creator_id=creator,
        description=str(fields.get("description") or ""),
        xml_id=str(fields["xmlId"]) if fields.get("xmlId") else None,
        crm=tuple(str(one) for one in values.listed(fields.get("crmItemIds"))),
        auditors=tuple(values.whole_numbers(fields.get("auditors"))),
        accomplices=tuple(values.whole_numbers(fields.get("accomplices"))),
        group_id=values.php_int(fields.get("groupId")),
        parent_id=parent,
        priority=_PRIORITY.index(priority) if priority in _PRIORITY else 1,
        control=bool(fields.get("needsControl")),
        allow_deadline=bool(fields.get("allowsChangeDeadline")),
        match_work=bool(fields.get("matchesWorkTime")),
        params=frozenset({RESULT_REQUIRED}) if fields.get("requireResult") else frozenset(),
    )
    task.deadline = deadline
    return Answer({"item": _item(state, caller, task)})


def _deadline(state: PortalState, text: Any) -> datetime | None:
    found = values.moment(text, state.clock.zone) if isinstance(text, str) and "T" in text else None
    if text is not None and found is None:
        raise _invalid("deadline", "Field `deadline` requires data type `DateTime` for this request")
    return found


@method("v3:tasks.task.get", "tasks")
def task_get(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """One task; unlike v2, one that is not there or not for the caller is an error."""
    if params.get("id") is None:
        raise _invalid("id", "Required field `id` is missing")
    number = _whole(params, "id")
    task = state.tasks.get(number)
    if task is None:
        raise V3Error("ENTITYNOTFOUNDEXCEPTION", f"Record with ID = `{number}` not found")
    if not state.reads_task(caller.user_id, task):
        raise _denied()
    item = _item(state, caller, task)
    select = [str(name) for name in values.listed(params.get("select"))]
    own = {name for name in select if "." not in name}
    shown = {name: value for name, value in item.items() if not select or name in own or name == "id"}
    for path in select:
        head, dot, tail = path.partition(".")
        if dot:
            shown.setdefault(head, {})[tail] = _related(state, task, head, tail)
    return Answer({"item": shown})


@method("v3:tasks.task.chat.message.send", "tasks", cost=0.2, writes=True)
def chat_message_send(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """A line in the task's chat in the caller's name; no id comes back."""
    fields = _fields(params, "taskId", "text", code=_OBJECT)
    task = state.tasks.get(_whole(fields, "taskId"))
    if task is None or not state.reads_task(caller.user_id, task):
        raise _denied()
    state.comment_task(task.id, str(fields["text"]), caller.user_id)
    return Answer({"result": True})


@method("v3:tasks.task.result.add", "tasks", cost=0.2, writes=True)
def result_add(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """A result of a task."""
    fields = _fields(params, "taskId", "text", code=_OBJECT)
    task = state.tasks.get(_whole(fields, "taskId"))
    if task is None:
        raise _invalid("taskId", "Task not found")
    if not state.reads_task(caller.user_id, task):
        raise _denied()
    result = state.add_result(task.id, str(fields["text"]), caller.user_id)
    item = {
        "id": result.id,
        "taskId": task.id,
        "text": result.text,
        "authorId": result.author_id,
        "createdAt": task_shape.view(state, caller.user_id).time(result.created),
        "updatedAt": None,
        "status": "open",
        "fileIds": [],
        "rights": {"edit": True, "remove": True},
        "messageId": None,
    }
    return Answer({"item": item})


def _invalid(field: str, text: str) -> V3Error:
    return V3Error(_REQUEST, "Error during request object validation", validation=[{"message": text, "field": field}])


def _denied() -> V3Error:
    return V3Error("ACCESSDENIEDEXCEPTION", "Access denied", status=403)


def _fields(params: dict[str, Any], *required: str, code: str = _REQUEST) -> dict[str, Any]:
    fields = params.get("fields")
    if not isinstance(fields, dict):
        raise _invalid("fields", "Required field `fields` is missing")
    missing = [
        {"message": f"Required field `{name}` is missing", "field": name}
        for name in required
        if fields.get(name) in (None, "")
    ]
    if missing:
        raise V3Error(code, "Error during request object validation", validation=missing)
    return fields


def _whole(fields: dict[str, Any], name: str) -> int:
    value = fields[name]
    if not isinstance(value, int) or isinstance(value, bool):
        raise _invalid(name, f"Field `{name}` requires data type `int` for this request")
    return value


def _related(state: PortalState, task: Task, head: str, tail: str) -> Any:
    user = state.users.get({"creator": task.creator_id, "responsible": task.responsible_id}.get(head, 0))
    known: dict[str, Any] = {}
    if head == "chat":
        known = {"id": task.chat_id, "entityId": task.id, "entityType": "TASKS_TASK"}
    elif user:
        known = {"id": user.id, "name": user.name, "lastName": user.last_name, "email": user.email}
    if tail not in known:
        entity = "ChatDto" if head == "chat" else "UserDto"
        raise V3Error("UNKNOWNDTOPROPERTYEXCEPTION", f"Unknown field `{tail}` for entity `{entity}`")
    return known[tail]


def _item(state: PortalState, caller: Caller, task: Task) -> dict[str, Any]:
    look = task_shape.view(state, caller.user_id)
    rights = task_rights.actions(state, caller.user_id, task)
    return {
        "id": task.id,
        "title": task.title,
        "description": task.description,
        "deadline": look.time(task.deadline),
        "needsControl": task.control,
        "startPlan": look.time(task.start_plan),
        "endPlan": look.time(task.end_plan),
        "fileIds": None,
        "checklist": list(task.checklist or {}),
        "epicId": None,
        "storyPoints": None,
        "priority": _PRIORITY[task.priority],
        "status": _STATUS[task.status],
        "statusChanged": look.time(task.status_changed) if task.status_changed_by else None,
        "parentId": task.parent_id or None,
        "containsChecklist": bool(task.checklist),
        "containsSubTasks": False,
        "containsRelatedTasks": bool(task.depends_on),
        "containsGanttLinks": False,
        "containsPlacements": True,
        "containsResults": bool(task.results),
        "numberOfReminders": 0,
        "chatId": task.chat_id,
        "plannedDuration": 0,
        "actualDuration": 0,
        "durationType": "days",
        "started": look.time(task.date_start),
        "estimatedTime": task.time_estimate,
        "replicate": False,
        "changed": look.time(task.changed),
        "closed": look.time(task.closed),
        "activity": look.time(task.activity),
        "guid": task_shape.guid(task),
        "xmlId": task.xml_id,
        "exchangeId": None,
        "exchangeModified": None,
        "outlookVersion": len(task.log),
        "mark": task.mark or "none",
        "allowsChangeDeadline": task.allow_deadline,
        "allowsTimeTracking": task.allow_time,
        "matchesWorkTime": task.match_work,
        "addInReport": None,
        "isMultitask": False,
        "siteId": "s1",
        "deadlineCount": task.deadline_moves or None,
        "declineReason": None,
        "forumTopicId": None,
        "link": f"/company/personal/user/{caller.user_id}/tasks/task/view/{task.id}/",
        "rights": {"read": True}
        | {_RIGHTS.get(name, camel(name)): on for name, on in rights.items() if "." not in name},
        "archiveLink": f"/bitrix/tools/disk/uf.php?entityId={task.id}&entity=TASKS_TASK",
        "crmItemIds": list(task.crm),
        "requireResult": RESULT_REQUIRED in task.params,
        "matchesSubTasksTime": 1 in task.params,
        "autocompleteSubTasks": 2 in task.params,
        "allowsChangeDatePlan": False,
        "maxDeadlineChangeDate": None,
        "maxDeadlineChanges": None,
        "requireDeadlineChangeReason": False,
        "inFavorite": [],
        "inPin": [],
        "inGroupPin": [],
        "inMute": [],
        "dependsOn": list(task.depends_on),
        "scenarios": ["default"],
    }
