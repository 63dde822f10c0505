"""``tasks.task.list`` of the sandbox: the filter that ignores what it does not know, metas of STATUS, pages.

Sources: api-reference/tasks/tasks-task-list.md, and for XML_ID, empty values and unknown keys the product's behaviour.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from bitrix_sandbox.methods import filters, task_shape
from bitrix_sandbox.methods.protocol import Answer, Caller, method
from bitrix_sandbox.state import values
from bitrix_sandbox.state.errors import RestError
from bitrix_sandbox.state.portal import PortalState
from bitrix_sandbox.state.task_records import AWAITING, DONE, Task

Keep = Callable[[Task], bool]

_KEYS: dict[str, tuple[str, Callable[[Task], Any]]] = {
    "ID": ("int", lambda task: task.id),
    "PARENT_ID": ("int", lambda task: task.parent_id),
    "GROUP_ID": ("int", lambda task: task.group_id),
    "CREATED_BY": ("int", lambda task: task.creator_id),
    "RESPONSIBLE_ID": ("int", lambda task: task.responsible_id),
    "CHANGED_BY": ("int", lambda task: task.changed_by),
    "STATUS_CHANGED_BY": ("int", lambda task: task.status_changed_by),
    "CLOSED_BY": ("int", lambda task: task.closed_by),
    "PRIORITY": ("int", lambda task: task.priority),
    "STAGE_ID": ("int", lambda task: task.stage_id),
    "REAL_STATUS": ("int", lambda task: task.status),
    "ACCOMPLICE": ("int", lambda task: task.accomplices),
    "AUDITOR": ("int", lambda task: task.auditors),
    "DEPENDS_ON": ("int", lambda task: task.depends_on),
    "MEMBER": ("int", lambda task: tuple(task.members())),
    "DOER": ("int", lambda task: (task.responsible_id, *task.accomplices)),
    "MARK": ("text", lambda task: task.mark),
    "SITE_ID": ("text", lambda task: "s1"),
    "FAVORITE": ("text", lambda task: "N"),
    "ADD_IN_REPORT": ("flag", lambda task: task.add_in_report),
    "ALLOW_CHANGE_DEADLINE": ("flag", lambda task: task.allow_deadline),
    "ALLOW_TIME_TRACKING": ("flag", lambda task: task.allow_time),
    "XML_ID": ("text", lambda task: task.xml_id),
    "UF_CRM_TASK": ("text", lambda task: task.crm),
    "DEADLINE": ("moment", lambda task: task.deadline),
    "CREATED_DATE": ("moment", lambda task: task.created),
    "CHANGED_DATE": ("moment", lambda task: task.changed),
    "CLOSED_DATE": ("moment", lambda task: task.closed),
    "STATUS_CHANGED_DATE": ("moment", lambda task: task.status_changed),
    "ACTIVITY_DATE": ("moment", lambda task: task.activity),
    "DATE_START": ("moment", lambda task: task.date_start),
    "START_DATE_PLAN": ("moment", lambda task: task.start_plan),
    "END_DATE_PLAN": ("moment", lambda task: task.end_plan),
}
_OTHERS = frozenset({"TITLE", "TAG", "STATUS", "ONLY_ROOT_TASKS", "OVERDUED", "META:DEADLINE_TS"})

_ORDER: dict[str, Callable[[Task], Any]] = {
    name: _KEYS[name][1]
    for name in (
        "ID",
        "DATE_START",
        "CREATED_DATE",
        "CHANGED_DATE",
        "CLOSED_DATE",
        "ACTIVITY_DATE",
        "START_DATE_PLAN",
        "END_DATE_PLAN",
        "DEADLINE",
        "REAL_STATUS",
        "PRIORITY",
        "MARK",
        "GROUP_ID",
    )
} | {
    "TITLE": lambda task: task.title,
    "STATUS": lambda task: task.status,
    "STATUS_COMPLETE": lambda task: int(task.status in (AWAITING, DONE)),
    "TIME_ESTIMATE": lambda task: task.time_estimate,
    "TIME_SPENT_IN_LOGS": lambda task: 0,
    "ALLOW_CHANGE_DEADLINE": lambda task: int(task.allow_deadline),
    "ALLOW_TIME_TRACKING": lambda task: int(task.allow_time),
    "MATCH_WORK_TIME": lambda task: int(task.match_work),
    "CREATED_BY_LAST_NAME": lambda task: task.creator_id,
    "RESPONSIBLE_LAST_NAME": lambda task: task.responsible_id,
    "FAVORITE": lambda task: 0,
    "SORTING": lambda task: 0,
    "IS_PINNED": lambda task: 0,
    "IS_PINNED_IN_GROUP": lambda task: 0,
}


@method("tasks.task.list", "task", cost=0.1)
def task_list(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """Tasks that the caller may read; by default the newest first."""
    wanted = values.mapped(params.get("filter"))
    order = {str(key).upper(): value for key, value in (values.mapped(params.get("order")) or {}).items()}
    if wanted is None:
        raise RestError(
            "100", "Invalid value {filter} to match with parameter {filter}. Should be value of type array."
        )
    if not set(order) <= set(_ORDER):
        raise RestError("0", "Invalid sorting key")
    select = values.listed(params.get("select"))
    if not all(isinstance(name, str) for name in select):
        raise RestError("0", "Invalid select data")
    timed = _mentions(wanted, ("STATUS", "OVERDUED"))
    page = filters.page(
        state,
        lambda: _candidates(state, wanted, backwards=_backwards(order)),
        keep=filters.all_of([_group(state, wanted), _readable(state, caller)]),
        order=() if _by_id(order) else _sorts(order),
        start=params.get("start"),
        remember=None if timed else ("tasks", caller.user_id, json.dumps([wanted, order], default=str)),
    )
    look = task_shape.view(state, caller.user_id)
    return page.answer({"tasks": [task_shape.listed(look, task, select or None) for task in page.rows]})


def _readable(state: PortalState, caller: Caller) -> Keep:
    hidden = state.switches.hidden_tasks
    if caller.admin:
        return lambda task: task.id not in hidden
    return lambda task: state.reads_task(caller.user_id, task)


def _group(state: PortalState, wanted: Mapping[str, Any]) -> Keep:
    tests: list[Keep] = []
    for key, value in wanted.items():
        if key.startswith("::SUBFILTER"):
            tests.append(_group(state, values.mapped(value) or {}))
        elif not key.startswith("::"):
            tests += _test(state, key, value)
    return filters.any_of(tests) if str(wanted.get("::LOGIC", "")).upper() == "OR" and tests else filters.all_of(tests)


def _test(state: PortalState, key: str, value: Any) -> list[Keep]:
    """The test of one filter key: none for a key the portal does not know, and for a value that says nothing."""
    one = filters.condition(key, list(value.values()) if isinstance(value, dict) else value)
    if one.name not in _KEYS and one.name not in _OTHERS:
        state.ignore_filter("tasks.task.list", key)
        return []
    if one.name == "DEADLINE" and one.value == "":
        return [lambda task: (task.deadline is None) is not (one.op == "!=")]
    if filters.empty(one.value):
        return []
    if one.name in _OTHERS:
        return [_other(state, one, plain=key == one.name)]
    kind, read = _KEYS[one.name]
    if kind == "text" and one.op in ("@", "!@"):
        numbers = {values.php_int(item) for item in values.listed(one.value)}
        return [lambda task: read(task) is not None and (values.php_int(read(task)) in numbers) is (one.op == "@")]
    if kind == "moment":
        return [_on(read, filters.predicate(one.op, kind, _moment(state, one.value), state.clock.zone))]
    # PHP casts a filled array to 1: a reference of a batch may lead to one
    wanted = 1 if isinstance(one.value, list) and one.op in (">", ">=", "<", "<=") else one.value
    return [_on(read, filters.predicate(one.op, kind, wanted, state.clock.zone))]


def _on(read: Callable[[Task], Any], passes: filters.Test) -> Keep:
    return lambda task: passes(read(task))


def _moment(state: PortalState, value: Any) -> datetime:
    """A date of a filter: what cannot be read is the beginning of Unix time, as ``strtotime`` gives false."""
    return values.moment(value, state.clock.zone) or datetime.fromtimestamp(0, UTC)


def _other(state: PortalState, one: filters.Condition, *, plain: bool) -> Keep:
    if one.name == "TITLE":
        return _title(state, one, plain=plain)
    if one.name == "TAG":
        tags = {str(tag).casefold() for tag in values.listed(one.value)}
        return lambda task: tags <= {tag.casefold() for tag in task.tags}
    if one.name == "ONLY_ROOT_TASKS":
        root = values.flag(one.value)
        return lambda task: not root or task.parent_id not in state.tasks
    if one.name == "STATUS":
        return _status(state, one)
    overdue = values.flag(one.value)
    return lambda task: not overdue or state.overdue(task)


def _title(state: PortalState, one: filters.Condition, *, plain: bool) -> Keep:
    """Without an operator a part of the title, or a pattern if it has a sign of one."""
    op, value = one.op, str(one.value)
    if plain:
        op = "=%" if "%" in value or "_" in value else "%"
        value = f"%{value}%" if op == "=%" and "%" not in value else value
    return _on(lambda task: task.title, filters.predicate(op, "text", value if plain else one.value, state.clock.zone))


def _status(state: PortalState, one: filters.Condition) -> Keep:
    now = state.moment()
    chosen = {values.php_int(item) for item in values.listed(one.value)}
    soon = now + timedelta(days=1)

    def judge(task: Task) -> bool:
        open_ = task.status not in (AWAITING, DONE)
        due = task.deadline if open_ else None
        meta = -1 if due and due < now else -3 if due and due < soon else task.status
        return ({meta, task.status} if meta == -3 else {meta}).isdisjoint(chosen) is (one.op == "!=")

    return judge


def _mentions(wanted: Mapping[str, Any], names: Iterable[str]) -> bool:
    text = json.dumps(list(_all_keys(wanted)))
    return any(f'"{name}"' in text for name in names)


def _all_keys(wanted: Mapping[str, Any]) -> Iterable[str]:
    for key, value in wanted.items():
        yield filters.condition(key, None).name
        if isinstance(value, dict):
            yield from _all_keys(value)


def _by_id(order: Mapping[str, Any]) -> bool:
    return not order or next(iter(order)) == "ID"


def _backwards(order: Mapping[str, Any]) -> bool:
    return not order or (_by_id(order) and str(order["ID"]).lower() != "asc")


def _sorts(order: Mapping[str, Any]) -> list[filters.SortBy]:
    return [
        filters.SortBy(_ORDER[name], str(direction).lower().startswith("desc"), nulls_last=name == "DEADLINE")
        for name, direction in order.items()
    ]


def _candidates(state: PortalState, wanted: Mapping[str, Any], *, backwards: bool) -> Iterable[Task]:
    ids = _narrow(state, wanted)
    return (state.tasks[number] for number in (reversed(ids) if backwards else ids) if number in state.tasks)


def _narrow(state: PortalState, wanted: Mapping[str, Any]) -> list[int]:
    """Ids, ascending, among which every match is."""
    if str(wanted.get("::LOGIC", "")).upper() == "OR":
        return state.task_ids.all()
    return filters.candidates(
        wanted,
        state.clock.zone,
        key="ID",
        ids=state.task_ids,
        time="CHANGED_DATE",
        times=state.tasks_changed,
        indexes={
            ("=", "XML_ID"): lambda mark: state.tasks_by_mark.get(str(mark), ()),
            ("=", "UF_CRM_TASK"): lambda binding: state.tasks_by_binding.get(str(binding), ()),
        },
    )
