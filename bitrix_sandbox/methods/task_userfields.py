"""``task.item.userfield.*``: user fields of tasks (api-reference/tasks/user-field), for administrators to change."""

from __future__ import annotations

from typing import Any

from bitrix_sandbox.methods.protocol import Answer, Caller, method
from bitrix_sandbox.state import values
from bitrix_sandbox.state.errors import RestError
from bitrix_sandbox.state.portal import PortalState
from bitrix_sandbox.state.records import UserField

TYPES = ("boolean", "date", "datetime", "double", "employee", "enumeration", "integer", "string", "url")
_FIELDS = {
    "ID": "int",
    "ENTITY_ID": "string",
    "FIELD_NAME": "string",
    "USER_TYPE_ID": "string",
    "XML_ID": "string",
    "SORT": "int",
    "MULTIPLE": "char",
    "MANDATORY": "char",
    "EDIT_FORM_LABEL": "string",
    "LIST": "uf_enum_element",
    "SETTINGS": "object",
}


@method("task.item.userfield.getlist", "task")
def userfield_list(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """User fields of tasks; ORDER and FILTER by upper-case keys."""
    wanted = values.mapped(values.pick(params, "FILTER", "filter")) or {}
    rows = [_row(field) for field in state.task_fields.values()]
    for key, value in wanted.items():
        choice = {str(item) for item in values.listed(value)}
        rows = [row for row in rows if str(row.get(key)) in choice]
    return Answer(rows, total=len(rows))


@method("task.item.userfield.get", "task")
def userfield_get(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """One of them by its number."""
    return Answer(_row(_found(state, params)))


@method("task.item.userfield.add", "task", writes=True)
def userfield_add(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """A new one; its code is given the prefix UF_."""
    given = _given(caller, params)
    kind, name = str(given.get("USER_TYPE_ID", "")), str(given.get("FIELD_NAME", "")).upper()
    if kind not in TYPES or not name:
        raise RestError("ERROR_ARGUMENT", "The required parameters USER_TYPE_ID and FIELD_NAME are wrong or missing")
    code = name if name.startswith("UF_") else f"UF_{name}"
    options = [str(item.get("VALUE", "")) for item in values.listed(given.get("LIST")) if isinstance(item, dict)]
    state.add_task_field(
        code,
        str(given.get("EDIT_FORM_LABEL") or given.get("LABEL") or code),
        kind,
        multiple=values.flag(given.get("MULTIPLE")),
        mandatory=values.flag(given.get("MANDATORY")),
        options=options,
    )
    return Answer(state.task_fields[code].id)


@method("task.item.userfield.update", "task", writes=True)
def userfield_update(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """Change label or obligation."""
    given, field = _given(caller, params), _found(state, params)
    if "MANDATORY" in given:
        state.demand_task_field(field.code, mandatory=values.flag(given["MANDATORY"]))
    field.title = str(given.get("EDIT_FORM_LABEL") or field.title)
    return Answer(True)


@method("task.item.userfield.delete", "task", writes=True)
def userfield_delete(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """Take one away."""
    _given(caller, params)
    state.delete_task_field(_found(state, params).code)
    return Answer(True)


@method("task.item.userfield.gettypes", "task")
def userfield_types(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """The types that a field may have."""
    return Answer([{"ID": kind, "title": kind} for kind in TYPES])


@method("task.item.userfield.getfields", "task")
def userfield_fields(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """What there is to know of a field."""
    return Answer({name: {"type": kind, "title": name} for name, kind in _FIELDS.items()})


def _given(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    if not caller.admin:
        raise RestError("ACCESS_DENIED", "Access denied.")
    return values.mapped(values.pick(params, "PARAMS", "DATA", "data", "params")) or {}


def _found(state: PortalState, params: dict[str, Any]) -> UserField:
    number = values.php_int(values.pick(params, "ID", "id"))
    field = next((one for one in state.task_fields.values() if one.id == number), None)
    if field is None:
        raise RestError("ERROR_NOT_FOUND", "Not found")
    return field


def _row(field: UserField) -> dict[str, Any]:
    row: dict[str, Any] = {
        "ID": str(field.id),
        "ENTITY_ID": "TASKS_TASK",
        "FIELD_NAME": field.code,
        "USER_TYPE_ID": field.type,
        "XML_ID": None,
        "SORT": "100",
        "MULTIPLE": values.yes_no(field.multiple),
        "MANDATORY": values.yes_no(field.mandatory),
        "EDIT_FORM_LABEL": field.title,
        "SETTINGS": field.settings or [],
    }
    if field.options:
        row["LIST"] = [{"ID": str(number), "VALUE": text, "DEF": "N"} for number, text in field.options.items()]
    return row
