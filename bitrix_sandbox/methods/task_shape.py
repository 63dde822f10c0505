"""How v2 shows a task: camelCase keys, mostly strings, PHP's empty arrays (api-reference/tasks/fields.md)."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any

from bitrix_sandbox.methods import task_rights
from bitrix_sandbox.state import values
from bitrix_sandbox.state.crm_fields import camel
from bitrix_sandbox.state.portal import PortalState
from bitrix_sandbox.state.task_records import AWAITING, DONE, ChecklistItem, Task

_ON_DEMAND = ("UF_CRM_TASK", "UF_TASK_WEBDAV_FILES", "UF_MAIL_MESSAGE")
"""Asked for by any of them, all three come."""
_ITEM_ACTIONS = dict.fromkeys(("modify", "remove", "toggle", "add", "addAccomplice"), True)


@dataclass(frozen=True, slots=True)
class View:
    """A caller's view of tasks: his zone."""

    state: PortalState
    user_id: int
    zone: tzinfo

    def time(self, at: datetime | None) -> str | None:
        """A moment in the caller's zone."""
        if at is None or not self.state.switches.offset_of_now:
            return values.iso(at, self.zone)
        local = at.astimezone(self.zone).replace(tzinfo=None)
        return local.isoformat(timespec="seconds") + self.state.moment().astimezone(self.zone).isoformat()[-6:]


def view(state: PortalState, user_id: int) -> View:
    """The view of a user."""
    return View(state, user_id, state.zone_of(user_id))


Read = Callable[[View, Task], Any]


def _id(number: int) -> str | None:
    return str(number) if number else None


def _ids(numbers: Iterable[int]) -> list[str]:
    return [str(number) for number in numbers]


def _known(read: Callable[[Task], Any]) -> Read:
    return lambda look, task: read(task)


def _fixed(value: Any) -> Read:
    return lambda look, task: value


def _time(read: Callable[[Task], datetime | None]) -> Read:
    return lambda look, task: look.time(read(task))


COLUMNS: dict[str, Read] = {
    "ID": _known(lambda task: str(task.id)),
    "PARENT_ID": _known(lambda task: _id(task.parent_id)),
    "TITLE": _known(lambda task: task.title),
    "DESCRIPTION": _known(lambda task: task.description),
    "MARK": _known(lambda task: task.mark),
    "PRIORITY": _known(lambda task: str(task.priority)),
    "MULTITASK": _fixed("N"),
    "NOT_VIEWED": _fixed("N"),
    "REPLICATE": _fixed("N"),
    "STAGE_ID": _known(lambda task: str(task.stage_id)),
    "SPRINT_ID": _fixed(None),
    "BACKLOG_ID": _fixed(None),
    "CREATED_BY": _known(lambda task: str(task.creator_id)),
    "CREATED_DATE": _time(lambda task: task.created),
    "RESPONSIBLE_ID": _known(lambda task: str(task.responsible_id)),
    "CHANGED_BY": _known(lambda task: str(task.changed_by)),
    "CHANGED_DATE": _time(lambda task: task.changed),
    "STATUS_CHANGED_BY": _known(lambda task: _id(task.status_changed_by)),
    "CLOSED_BY": _known(lambda task: str(task.closed_by) if task.status_changed_by else None),
    "CLOSED_DATE": _time(lambda task: task.closed),
    "ACTIVITY_DATE": _time(lambda task: task.activity),
    "DATE_START": _time(lambda task: task.date_start),
    "DEADLINE": _time(lambda task: task.deadline),
    "START_DATE_PLAN": _time(lambda task: task.start_plan),
    "END_DATE_PLAN": _time(lambda task: task.end_plan),
    "GUID": _known(lambda task: guid(task)),
    "XML_ID": _known(lambda task: task.xml_id),
    "COMMENTS_COUNT": lambda look, task: _id(len(look.state.chats.get(task.chat_id, ()))),
    "SERVICE_COMMENTS_COUNT": _fixed(None),
    "ALLOW_CHANGE_DEADLINE": _known(lambda task: values.yes_no(task.allow_deadline)),
    "ALLOW_TIME_TRACKING": _known(lambda task: values.yes_no(task.allow_time)),
    "TASK_CONTROL": _known(lambda task: values.yes_no(task.control)),
    "ADD_IN_REPORT": _known(lambda task: values.yes_no(task.add_in_report)),
    "FORKED_BY_TEMPLATE_ID": _fixed(None),
    "TIME_ESTIMATE": _known(lambda task: str(task.time_estimate)),
    "TIME_SPENT_IN_LOGS": _fixed(None),
    "MATCH_WORK_TIME": _known(lambda task: values.yes_no(task.match_work)),
    "FORUM_TOPIC_ID": _fixed(None),
    "FORUM_ID": _fixed(None),
    "SITE_ID": _fixed("s1"),
    "SUBORDINATE": _fixed("Y"),
    "EXCHANGE_MODIFIED": _fixed(None),
    "EXCHANGE_ID": _fixed(None),
    "OUTLOOK_VERSION": _known(lambda task: str(len(task.log))),
    "VIEWED_DATE": _fixed(None),
    "SORTING": _fixed(None),
    "DURATION_FACT": _fixed(None),
    "IS_MUTED": _fixed("N"),
    "IS_PINNED": _fixed("N"),
    "IS_PINNED_IN_GROUP": _fixed("N"),
    "FLOW_ID": _fixed(None),
    "DESCRIPTION_IN_BBCODE": _fixed("Y"),
    "STATUS": _known(lambda task: str(task.status)),
    "STATUS_CHANGED_DATE": _time(lambda task: task.status_changed),
    "DURATION_PLAN": _fixed(None),
    "DURATION_TYPE": _fixed("days"),
    "FAVORITE": _fixed("N"),
    "GROUP_ID": _known(lambda task: str(task.group_id)),
    "AUDITORS": _known(lambda task: _ids(task.auditors)),
    "ACCOMPLICES": _known(lambda task: _ids(task.accomplices)),
    "NEW_COMMENTS_COUNT": _fixed(0),
    "CHAT_ID": lambda look, task: task.chat_id if look.state.switches.new_task_card else None,
}
"""What can be selected, by the names of requests; user fields and tags apart."""

_ALL = frozenset(COLUMNS)


def row(look: View, task: Task, select: Iterable[str] | None) -> dict[str, Any]:
    """The chosen columns of a task with what comes along: user objects, ``group``. None: all columns."""
    state = look.state
    asked = frozenset(select or ())
    names = _ALL if select is None or "*" in asked else (asked | {"ID"}) & _ALL
    if "DESCRIPTION" in names:
        names = names | {"DESCRIPTION_IN_BBCODE"}
    shown = {camel(name): read(look, task) for name, read in COLUMNS.items() if name in names}
    if "TAGS" in asked:
        tags = {str(place): {"id": place, "title": tag} for place, tag in enumerate(task.tags, 10 * task.id)}
        shown["tags"] = _map(state, tags)
    if not asked.isdisjoint(_ON_DEMAND):
        shown |= {"ufCrmTask": list(task.crm) or False, "ufTaskWebdavFiles": False, "ufMailMessage": None}
    own = state.task_fields if "UF_*" in asked else asked & state.task_fields.keys()
    shown |= {camel(code): _own(task.extra.get(code)) for code in own}
    return shown | _along(state, task, names)


def _along(state: PortalState, task: Task, names: frozenset[str]) -> dict[str, Any]:
    """What comes along with columns: ``group`` always, and people as objects."""
    shown = {"group": _group(state, task) if "GROUP_ID" in names else _map(state, {})}
    if "CREATED_BY" in names:
        shown["creator"] = _person(state, task.creator_id)
    if "RESPONSIBLE_ID" in names:
        shown["responsible"] = _person(state, task.responsible_id)
    for column, name, people in (
        ("ACCOMPLICES", "accomplicesData", task.accomplices),
        ("AUDITORS", "auditorsData", task.auditors),
    ):
        if column in names:
            shown[name] = _map(state, {str(user): _person(state, user) for user in people if user in state.users})
    return shown


def _own(value: Any) -> Any:
    """The value of a user field: strings, lists for multiple ones, false for none."""
    if isinstance(value, tuple):
        return [str(one) for one in value]
    return False if value is None else str(value)


def listed(look: View, task: Task, select: Iterable[str] | None) -> dict[str, Any]:
    """A row of ``tasks.task.list``: with STATUS comes ``subStatus``, which knows the metas."""
    shown = row(look, task, select)
    if "status" in shown:
        shown["subStatus"] = _sub_status(look, task)
    return shown


def full(look: View, task: Task, select: Iterable[str] | None = None) -> dict[str, Any]:
    """The object of ``tasks.task.get`` and of every writing method: with ``action`` and, unselected, the checklist."""
    chosen = None if select is None else [*select, "FAVORITE"]
    shown = row(look, task, chosen)
    allowed = task_rights.actions(look.state, look.user_id, task)
    shown["action"] = {name.lower() if "." in name else camel(name): on for name, on in allowed.items()}
    if chosen is None or "*" in chosen or "CHECKLIST" in chosen:
        shown["checklist"] = _map(look.state, {str(one.id): _item(task, one) for one in _items(task)})
        shown["checkListTree"] = _tree(look, task)
        shown["checkListCanAdd"] = allowed["CHECKLIST.ADD"]
    return shown


def guid(task: Task) -> str:
    """The task's GUID, the same for ever."""
    return "{" + str(uuid.uuid5(uuid.NAMESPACE_OID, f"task {task.id}")) + "}"


def _sub_status(look: View, task: Task) -> str:
    if look.state.overdue(task):
        return "-1"
    soon = task.deadline is not None and task.deadline - look.state.moment() < timedelta(days=1)
    return "-3" if soon and task.status not in (AWAITING, DONE) else str(task.status)


def _map(state: PortalState, found: dict[str, Any]) -> dict[str, Any] | list[Any]:
    return values.php_map(found, empty_as_list=state.switches.php_arrays)


def _person(state: PortalState, user_id: int) -> dict[str, Any]:
    user = state.users.get(user_id)
    return {
        "id": str(user_id),
        "name": user.full_name if user else "",
        "link": f"/company/personal/user/{user_id}/",
        "icon": "/bitrix/images/tasks/default_avatar.png",
        "workPosition": user.position if user else "",
    }


def _group(state: PortalState, task: Task) -> Any:
    group = state.workgroups.get(task.group_id)
    if group is None:
        return _map(state, {})
    return {
        "id": str(group.id),
        "name": group.name,
        "opened": group.opened,
        "membersCount": len(group.members),
        "image": "/bitrix/images/socialnetwork/workgroup/folder.png",
        "additionalData": [],
    }


def _items(task: Task) -> list[ChecklistItem]:
    return list((task.checklist or {}).values())


def _item(task: Task, item: ChecklistItem) -> dict[str, Any]:
    return {
        "id": str(item.id),
        "taskId": str(task.id),
        "createdBy": str(item.creator_id),
        "parentId": str(item.parent_id) if item.parent_id else 0,
        "title": item.title,
        "sortIndex": str(item.sort),
        "isComplete": values.yes_no(item.complete),
        "isImportant": values.yes_no(item.important),
        "toggledBy": _id(item.toggled_by),
        "toggledDate": None,
        "ufChecklistFiles": False,
        "members": [],
        "attachments": [],
        "entityId": str(task.id),
        "action": dict(_ITEM_ACTIONS),
    }


def _node(look: View, task: Task, item: ChecklistItem | None, place: str) -> dict[str, Any]:
    return {
        "id": item.id if item else None,
        "copiedId": None,
        "entityId": task.id if item else None,
        "userId": look.user_id,
        "createdBy": item.creator_id if item else None,
        "parentId": item.parent_id if item else None,
        "title": item.title if item else "",
        "sortIndex": item.sort if item else None,
        "displaySortIndex": place,
        "isComplete": bool(item and item.complete),
        "isImportant": bool(item and item.important),
        "completedCount": 0,
        "members": [],
        "attachments": [],
    }


def _tree(look: View, task: Task) -> dict[str, Any]:
    count = iter(range(1, len(_items(task)) + 1))

    def below(parent: int) -> list[dict[str, Any]]:
        children = sorted((one for one in _items(task) if one.parent_id == parent), key=lambda one: (one.sort, one.id))
        return [
            {
                "nodeId": next(count),
                "fields": _node(look, task, item, str(place) if parent else ""),
                "action": dict(_ITEM_ACTIONS),
                "descendants": below(item.id),
            }
            for place, item in enumerate(children, 1)
        ]

    return {"nodeId": 0, "fields": _node(look, task, None, ""), "action": [], "descendants": below(0)}
