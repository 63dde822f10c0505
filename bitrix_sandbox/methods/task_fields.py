"""What ``fields`` of ``tasks.task.add`` and ``update`` mean, and how ``tasks.task.getFields`` describes them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from bitrix_sandbox.state import values
from bitrix_sandbox.state.errors import RestError
from bitrix_sandbox.state.portal import PortalState
from bitrix_sandbox.state.records import UserField
from bitrix_sandbox.state.task_records import AWAITING, DEFERRED, DONE, IN_PROGRESS, WAITING, Task

_STATUSES = frozenset({WAITING, IN_PROGRESS, AWAITING, DONE, DEFERRED})


def read(state: PortalState, fields: dict[str, Any], task: Task | None = None) -> dict[str, Any]:
    """Attributes of a task from upper-case fields; unknown ones are ignored, null says nothing, ``""`` clears a date.

    Lists replace the whole list. ``task``: the one that is changed.

    :raises RestError: ``ERROR_CORE`` with the documented texts.
    """
    sent = {name: value for name, value in fields.items() if value is not None and not _says_nothing(name, value)}
    found = {attr: kind(state, sent[name]) for kind, names in _KINDS for name, attr in names.items() if name in sent}
    if "SE_PARAMETER" in sent:
        found["params"] = _params(sent["SE_PARAMETER"], task)
    _check(state, found, task)
    _check_place(state, found, task)
    if own := _own_fields(state, fields, task):
        found["extra"] = {**(task.extra if task else {}), **own}
    return found


def _says_nothing(name: str, value: Any) -> bool:
    return (name == "STATUS" and value == "") or (name == "MARK" and value not in ("P", "N", ""))


def _own_fields(state: PortalState, fields: dict[str, Any], task: Task | None) -> dict[str, Any]:
    """Values of user fields that are sent; of those that must be filled none may be missing."""
    own = {code: _own(state, field, fields[code]) for code, field in state.task_fields.items() if code in fields}
    empty = [
        f'Field "{field.title}" is required'
        for code, field in state.task_fields.items()
        if field.mandatory and (task is None or code in own) and own.get(code) in (None, "", ())
    ]
    if empty:
        raise RestError("ERROR_CORE", "<br>".join(empty) + "<br>")
    return own


def _own(state: PortalState, field: UserField, value: Any) -> Any:
    """The value of a user field, as its type keeps it; None for none."""
    if field.multiple:
        return tuple(_own_one(state, field, one) for one in values.listed(value) if one not in (None, ""))
    return None if value in (None, "", []) else _own_one(state, field, value)


def _own_one(state: PortalState, field: UserField, value: Any) -> Any:
    """One value.

    :raises RestError: ``ERROR_CORE`` for what is no value of that type.
    """
    wrong = RestError("ERROR_CORE", f'The value of the field "{field.title}" is incorrect<br>')
    if isinstance(value, list | dict):
        raise wrong
    match field.type:
        case "integer" | "double":
            if not re.fullmatch(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", str(value)):
                raise wrong
            return values.php_float(value) if field.type == "double" else values.php_int(value)
        case "boolean":
            return 0 if value in (0, "0", False) else 1
        case "date":
            day = values.civil_date(value, state.clock.zone)
            if day is None:
                raise wrong
            return day.isoformat()
        case "datetime":
            at = values.moment(value, state.clock.zone)
            if at is None:
                raise wrong
            return values.iso(at, state.clock.zone)
        case "enumeration":
            if values.integer(value) not in field.options:
                raise wrong
            return values.integer(value)
        case "employee":
            if values.integer(value) not in state.users:
                raise wrong
            return values.integer(value)
    return str(value)


def described(state: PortalState) -> dict[str, dict[str, Any]]:
    """What ``tasks.task.getFields`` says: the fields of every portal, then this one's own. Of a list it names the type
    alone; its values are told by ``task.item.userfield.getlist``."""
    own = {
        code: {"title": field.title, "type": field.type, **({"required": True} if field.mandatory else {})}
        for code, field in state.task_fields.items()
    }
    return DESCRIPTIONS | own


def _words(value: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(item) for item in values.listed(value) if item not in (None, "")))


def _time(state: PortalState, value: Any) -> Any:
    if value == "" or value is False:
        return None
    at = values.moment(value, state.clock.zone)
    if at is None:
        raise RestError("ERROR_CORE", "Incorrect date<br>")
    return at


def _params(value: Any, task: Task | None) -> frozenset[int]:
    codes = set(task.params) if task else set()
    for item in values.listed(value):
        pair = values.mapped(item) or {}
        code = values.php_int(pair.get("CODE"))
        codes.discard(code)
        if values.flag(pair.get("VALUE")):
            codes.add(code)
    return frozenset(codes)


def _check(state: PortalState, found: dict[str, Any], task: Task | None) -> None:
    if "title" in found and not found["title"].strip():
        raise RestError("ERROR_CORE", "Task title is not specified<br>")
    if task is not None and found.get("responsible_id", 1) == 0:
        raise RestError("ERROR_CORE", "Responsible person not specified<br>")
    if found.get("responsible_id") and found["responsible_id"] not in state.users:
        raise RestError("ERROR_CORE", 'User specified in the "Responsible" field not found<br>')
    if found.get("creator_id") == 0:
        del found["creator_id"]
    if "status" in found and found["status"] not in _STATUSES:
        raise RestError("ERROR_CORE", "Incorrect status<br>")


def _check_place(state: PortalState, found: dict[str, Any], task: Task | None) -> None:
    parent = found.get("parent_id")
    if parent and parent not in state.tasks:
        raise RestError("ERROR_CORE", 'Task specified in the "Parent Task" field not found<br>')
    if task is not None and parent == task.id:
        raise RestError("ERROR_CORE", "Cannot bind the node to itself<br>")
    begin, end = found.get("start_plan"), found.get("end_plan")
    if begin and end and end < begin:
        raise RestError("ERROR_CORE", "The end date in scheduling is earlier than the start date<br>")


_KINDS: tuple[tuple[Callable[[PortalState, Any], Any], dict[str, str]], ...] = (
    (lambda state, value: str(value), {"TITLE": "title", "DESCRIPTION": "description"}),
    (lambda state, value: str(value) or None, {"XML_ID": "xml_id", "MARK": "mark"}),
    (
        lambda state, value: values.php_int(value),
        {
            "RESPONSIBLE_ID": "responsible_id",
            "CREATED_BY": "creator_id",
            "GROUP_ID": "group_id",
            "PARENT_ID": "parent_id",
            "STAGE_ID": "stage_id",
            "PRIORITY": "priority",
            "TIME_ESTIMATE": "time_estimate",
            "STATUS": "status",
        },
    ),
    (
        lambda state, value: values.flag(value),
        {
            "TASK_CONTROL": "control",
            "ALLOW_CHANGE_DEADLINE": "allow_deadline",
            "ALLOW_TIME_TRACKING": "allow_time",
            "MATCH_WORK_TIME": "match_work",
            "ADD_IN_REPORT": "add_in_report",
        },
    ),
    (
        lambda state, value: tuple(values.whole_numbers(value)),
        {"AUDITORS": "auditors", "ACCOMPLICES": "accomplices", "DEPENDS_ON": "depends_on"},
    ),
    (lambda state, value: _words(value), {"TAGS": "tags", "UF_CRM_TASK": "crm"}),
    (_time, {"DEADLINE": "deadline", "START_DATE_PLAN": "start_plan", "END_DATE_PLAN": "end_plan"}),
)
"""How the values of fields are read, and of which attributes of a task."""


def _enum(title: str | None, choices: dict[str, str], default: Any) -> dict[str, Any]:
    return {"title": title, "type": "enum", "values": choices, "default": default}


_YES_NO = {"Y": "Yes", "N": "No"}
DESCRIPTIONS: dict[str, dict[str, Any]] = {
    "ID": {"title": "ID", "type": "integer", "primary": True},
    "PARENT_ID": {"title": "Base Task ID", "type": "integer", "default": 0},
    "TITLE": {"title": "Title", "type": "string", "required": True},
    "DESCRIPTION": {"title": "Description", "type": "string"},
    "MARK": _enum("Rating", {"N": "Negative", "P": "Positive"}, None),
    "PRIORITY": _enum("Priority", {"2": "High", "1": "Medium", "0": "Low"}, 1),
    "STATUS": _enum(
        "Status",
        {"2": "Pending", "3": "In Progress", "4": "Awaiting Review", "5": "Completed", "6": "Deferred"},
        2,
    ),
    "GROUP_ID": {"title": "Project", "type": "integer", "default": 0},
    "STAGE_ID": {"title": "Stage", "type": "integer", "default": 0},
    "CREATED_BY": {"title": "Creator", "type": "integer", "required": True},
    "CREATED_DATE": {"title": None, "type": "datetime"},
    "RESPONSIBLE_ID": {"title": "Participant", "type": "integer", "required": True},
    "ACCOMPLICES": {"title": None, "type": "array"},
    "AUDITORS": {"title": None, "type": "array"},
    "CHANGED_BY": {"title": "Modified By", "type": "integer"},
    "CHANGED_DATE": {"title": "Modification Date", "type": "datetime"},
    "STATUS_CHANGED_BY": {"title": "Status Changed By", "type": "integer"},
    "STATUS_CHANGED_DATE": {"title": "Status Change Date", "type": "datetime"},
    "CLOSED_BY": {"title": "Closed By", "type": "integer", "default": None},
    "CLOSED_DATE": {"title": "Closure Date", "type": "datetime", "default": None},
    "ACTIVITY_DATE": {"title": None, "type": "datetime", "default": None},
    "DATE_START": {"title": "Start Date", "type": "datetime", "default": None},
    "DEADLINE": {"title": "Deadline", "type": "datetime", "default": None},
    "START_DATE_PLAN": {"title": "Planned Start", "type": "datetime", "default": None},
    "END_DATE_PLAN": {"title": "Planned Completion", "type": "datetime", "default": None},
    "GUID": {"title": "GUID", "type": "string", "default": None},
    "XML_ID": {"title": "XML_ID", "type": "string", "default": None},
    "ALLOW_CHANGE_DEADLINE": _enum(None, _YES_NO, "N"),
    "ALLOW_TIME_TRACKING": _enum(None, _YES_NO, "N"),
    "TASK_CONTROL": _enum("Accept Work", _YES_NO, "N"),
    "ADD_IN_REPORT": _enum("Add to Report", _YES_NO, "N"),
    "TIME_ESTIMATE": {"title": "Estimated Time", "type": "integer"},
    "MATCH_WORK_TIME": {"title": "Skip Weekends", "type": "integer"},
    "SITE_ID": {"title": "SITE_ID", "type": "string"},
    "CHECKLIST": {"title": None, "type": "array"},
    "FLOW_ID": {"title": "Flow", "type": "integer", "default": 0},
    "UF_CRM_TASK": {"title": "CRM Entities", "type": "crm"},
    "UF_TASK_WEBDAV_FILES": {"title": "Upload Files", "type": "disk_file"},
    "UF_MAIL_MESSAGE": {"title": None, "type": "mail_message"},
}
