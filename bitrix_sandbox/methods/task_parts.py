"""What hangs on a task: checklist items, comments, results (api-reference/tasks/checklist-item, ...)."""

from __future__ import annotations

from typing import Any

from bitrix_sandbox.methods import filters, task_rights, task_shape
from bitrix_sandbox.methods.protocol import Answer, Caller, method
from bitrix_sandbox.state import values
from bitrix_sandbox.state.errors import RestError
from bitrix_sandbox.state.portal import PortalState
from bitrix_sandbox.state.records import Message
from bitrix_sandbox.state.task_records import ChecklistItem, Task

_FAILED = "8/TE/ACTION_FAILED_TO_BE_PROCESSED<br>"
_CHECKLIST_ORDER = frozenset(
    {
        "ID",
        "PARENT_ID",
        "CREATED_BY",
        "TITLE",
        "SORT_INDEX",
        "IS_COMPLETE",
        "IS_IMPORTANT",
        "TOGGLED_BY",
        "TOGGLED_DATE",
    }
)


@method("task.checklistitem.add", "task", cost=0.15, writes=True)
def checklist_add(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """An item. PARENT_ID 0 or one that is not there begins a checklist; without PARENT_ID the item joins the first
    checklist, which is made if there is none."""
    number = _task_number(params, "ctaskchecklistitem::add()")
    fields = values.mapped(_positional(params, "FIELDS", 1))
    if not fields:
        raise _wrong("Param #1 (arFields) expected by method ctaskchecklistitem::add(), but not given.")
    task = _changeable(state, caller, number, "Adding item: action not allowed")
    title = str(fields.get("TITLE") or "").strip()
    if not title:
        raise RestError("ERROR_CORE", f"TASKS_ERROR_EXCEPTION_#8; Item name not specified; {_FAILED}")
    parent = _parent(state, caller, task, fields)
    sort = values.integer(fields.get("SORT_INDEX"))
    siblings = sum(1 for item in (task.checklist or {}).values() if item.parent_id == parent)
    item = state.add_checklist_item(
        number,
        title,
        caller.user_id,
        parent_id=parent,
        sort=siblings if sort is None else sort,
        complete=values.flag(fields.get("IS_COMPLETE")),
        important=values.flag(fields.get("IS_IMPORTANT")),
        members=_members(fields.get("MEMBERS")),
    )
    return Answer(item.id)


@method("task.checklistitem.getlist", "task")
def checklist_list(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """The items of a task; by default the newest first."""
    number = _task_number(params, "ctaskchecklistitem::getlist()")
    order = values.mapped(_positional(params, "ORDER", 1)) or {}
    for key in order:
        if key not in _CHECKLIST_ORDER:
            raise _wrong(f'Param #1 (arOrder) for method ctaskchecklistitem::getlist() must not contain key "{key}".')
    task = _readable(state, caller, number)
    look = task_shape.view(state, caller.user_id)
    rows = [_item(look, task, item) for item in (task.checklist or {}).values()]
    for key, direction in reversed((order or {"ID": "desc"}).items()):
        rows.sort(key=lambda one: _sortable(one[key]), reverse=str(direction).lower() == "desc")
    return Answer(rows)


@method("task.checklistitem.delete", "task", cost=0.15, writes=True)
def checklist_delete(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """Delete an item with what hangs on it."""
    number = _task_number(params, "ctaskchecklistitem::delete()")
    item = values.integer(_positional(params, "ITEMID", 1))
    if item is None:
        raise _wrong("Param #1 (itemId) expected by method ctaskchecklistitem::delete(), but not given.")
    refusal = "Deleting item: action not allowed"
    task = _changeable(state, caller, number, refusal)
    if item not in (task.checklist or {}):
        raise RestError("ERROR_CORE", f"TASKS_ERROR_EXCEPTION_#8; {refusal}; {_FAILED}")
    state.drop_checklist_item(number, item, caller.user_id)
    return Answer(True)


@method("task.commentitem.add", "task", cost=0.2, writes=True)
def comment_add(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """A comment (a message of the task's chat in the new card), in anybody's name."""
    number = _task_number(params, "ctaskcommentitem::add()")
    fields = values.mapped(_positional(params, "FIELDS", 1)) or {}
    text = str(fields.get("POST_MESSAGE") or "").strip()
    if not text:
        raise RestError("ERROR_CORE", "Comment text is not specified<br>")
    task = state.tasks.get(number)
    if task is None or not state.reads_task(caller.user_id, task):
        raise RestError("ERROR_CORE", "Insufficient permissions to add a comment.<br>")
    author = values.php_int(fields.get("AUTHOR_ID")) or caller.user_id
    return Answer(state.comment_task(number, text, author))


@method("task.commentitem.getlist", "task")
def comment_list(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """The comments of a task; does not work in the new card: nothing comes."""
    number = _task_number(params, "ctaskcommentitem::getlist()")
    _readable(state, caller, number)
    if state.switches.new_task_card:
        return Answer([])
    order = values.mapped(_positional(params, "ORDER", 1)) or {"ID": "desc"}
    wanted = values.mapped(_positional(params, "FILTER", 2)) or {}
    look = task_shape.view(state, caller.user_id)
    kept = [one for one in state.messages_of_task(number) if _passes(state, one, wanted)]
    backwards = str(values.first(order.values())).lower() == "desc"
    return Answer([_comment(look, one) for one in sorted(kept, key=lambda one: one.id, reverse=backwards)])


@method("tasks.task.result.list", "task")
def result_list(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """The results of a task, the newest first; in the new card ``commentId`` is 0."""
    number = values.integer(params.get("taskId"))
    if number is None:
        raise RestError("100", "Invalid value {taskId} to match with parameter {taskId}. Should be value of type int.")
    task = state.tasks.get(number)
    if task is None or not state.reads_task(caller.user_id, task):
        raise RestError("0", "Access denied.")
    look = task_shape.view(state, caller.user_id)
    rows: list[dict[str, Any]] = [
        {
            "id": one.id,
            "taskId": number,
            "commentId": 0,
            "createdBy": one.author_id,
            "createdAt": look.time(one.created),
            "updatedAt": look.time(one.created),
            "status": 0 if one.open else 1,
            "text": one.text,
            "formattedText": one.text,
            "files": [],
        }
        for one in reversed(task.results or [])
    ]
    return Answer(rows)


def _positional(params: dict[str, Any], name: str, place: int) -> Any:
    """A parameter of the old positional methods: by name, or by its place in a list."""
    return values.pick(params, name, name.lower(), str(place))


def _task_number(params: dict[str, Any], called: str) -> int:
    number = values.integer(values.pick(params, "TASKID", "taskid", "taskId", "0"))
    if number is None:
        raise _wrong(
            f'Param #0 (taskId) for method {called} expected to be of type "integer", but given something else.'
        )
    return number


def _wrong(text: str) -> RestError:
    return RestError("ERROR_CORE", f"TASKS_ERROR_EXCEPTION_#256; {text}; 256/TE/WRONG_ARGUMENTS<br>")


def _readable(state: PortalState, caller: Caller, number: int) -> Task:
    task = state.tasks.get(number)
    if task is None or not state.reads_task(caller.user_id, task):
        raise RestError("ERROR_CORE", f"TASKS_ERROR_EXCEPTION_#8; Action failed; {_FAILED}")
    return task


def _changeable(state: PortalState, caller: Caller, number: int, refusal: str) -> Task:
    task = state.tasks.get(number)
    user = caller.user_id
    if (
        task is None
        or not state.reads_task(user, task)
        or not (task_rights.works_on(state, user, task) or task_rights.may_edit(state, user, task))
    ):
        raise RestError("ERROR_CORE", f"TASKS_ERROR_EXCEPTION_#8; {refusal}; {_FAILED}")
    return task


def _parent(state: PortalState, caller: Caller, task: Task, fields: dict[str, Any]) -> int:
    items = task.checklist or {}
    if fields.get("PARENT_ID") in (None, ""):
        root = next((item.id for item in items.values() if item.parent_id == 0), None)
        return state.add_checklist_item(task.id, "BX_CHECKLIST_1", caller.user_id).id if root is None else root
    wanted = values.php_int(fields["PARENT_ID"])
    return wanted if wanted in items else 0


def _members(value: Any) -> dict[int, str]:
    people = values.mapped(value) or {}
    return {values.php_int(key): str((values.mapped(one) or {}).get("TYPE", "A")) for key, one in people.items()}


def _item(look: task_shape.View, task: Task, item: ChecklistItem) -> dict[str, Any]:
    users = look.state.users
    return {
        "ID": str(item.id),
        "TASK_ID": str(task.id),
        "PARENT_ID": str(item.parent_id) if item.parent_id else 0,
        "CREATED_BY": str(item.creator_id),
        "TITLE": item.title,
        "SORT_INDEX": str(item.sort),
        "IS_COMPLETE": values.yes_no(item.complete),
        "IS_IMPORTANT": values.yes_no(item.important),
        "TOGGLED_BY": str(item.toggled_by) if item.toggled_by else None,
        "TOGGLED_DATE": look.time(item.toggled) or "",
        "MEMBERS": [
            {
                "ID": str(user),
                "TYPE": kind,
                "NAME": users[user].full_name if user in users else "",
                "PERSONAL_PHOTO": None,
                "PERSONAL_GENDER": users[user].gender if user in users else "",
                "IMAGE": "",
                "IS_COLLABER": False,
            }
            for user, kind in item.members.items()
        ],
        "ATTACHMENTS": [],
    }


def _sortable(value: Any) -> tuple[int, str]:
    number = values.integer(value)
    return (number, "") if number is not None else (0, str(value))


def _comment(look: task_shape.View, message: Message) -> dict[str, Any]:
    user = look.state.users.get(message.author_id)
    return {
        "POST_MESSAGE_HTML": None,
        "ID": str(message.id),
        "AUTHOR_ID": str(message.author_id),
        "AUTHOR_NAME": user.full_name if user else "",
        "AUTHOR_EMAIL": "",
        "POST_DATE": look.time(message.at),
        "POST_MESSAGE": message.text,
        "ATTACHED_OBJECTS": {},
    }


def _passes(state: PortalState, message: Message, wanted: dict[str, Any]) -> bool:
    have = {"ID": ("int", message.id), "AUTHOR_ID": ("int", message.author_id), "POST_DATE": ("moment", message.at)}
    for key, value in wanted.items():
        one = filters.condition(key, value)
        if one.name not in have:
            raise _wrong(f'Param #2 (arFilter) for method ctaskcommentitem::getlist() must not contain key "{key}".')
        kind, stored = have[one.name]
        if not filters.predicate(one.op, kind, value, state.clock.zone)(stored):
            return False
    return True
