"""Each kind of operation as a command, and the id that its answer gives.

Commands are built to be sendable in a batch where they can be: a batch knows neither null nor an empty list, so what
would say nothing at a creation is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from bitrix_sync.model.actions import (
    Action,
    AddItem,
    AddLine,
    CreateTask,
    DeferTask,
    Kind,
    MoveDeal,
    SendMessage,
    SetDeadline,
    SetPeople,
)
from bitrix_sync.model.facts import DEFERRED, IN_PROGRESS, PortalTask
from bitrix_sync.model.items import Item
from bitrix_sync.model.keys import mark_of
from bitrix_sync.model.operations import Operation
from bitrix_sync.portal.dialect.commands import Command
from bitrix_sync.portal.dialect.outcomes import Outcome, made_id, whole

METHODS: Mapping[Kind, str] = {
    Kind.CREATE: "tasks.task.add",
    Kind.DEADLINE: "tasks.task.update",
    Kind.PEOPLE: "tasks.task.update",
    Kind.COMPLETE: "tasks.task.complete",
    Kind.DEFER: "tasks.task.defer",
    Kind.RESUME: "tasks.task.renew",
    Kind.DELETE: "tasks.task.delete",
    Kind.CHECKLIST: "task.checklistitem.add",
    Kind.LINE: "task.commentitem.add",
    Kind.MOVE_DEAL: "crm.item.update",
    Kind.MESSAGE: "im.message.add",
}
NOTICE = "im.notify.system.add"
"""How the webhook's own user is told: a message to oneself would not be shown as news."""
SORT_STEP = 10


def command(
    operation: Operation,
    *,
    task_id: int | None = None,
    seen: PortalTask | None = None,
    self_id: int = 0,
    heading: int | None = None,
) -> Command:
    """The command that carries an operation out.

    ``task_id``: the portal's id of its task; ``seen``: the task as read just before (PEOPLE replaces the whole list of
    observers, so it must be known); ``self_id``: the webhook's own user; ``heading``: the item that a check-list item
    hangs on, 0 for the check list itself, None to leave that to the portal. ValueError when one of them is needed and
    missing, or a moment has no offset.
    """
    method = METHODS[operation.kind]
    match operation.action:
        case CreateTask(fields=fields):
            return Command(method, {"fields": _new_task(operation, fields)})
        case MoveDeal(stage=stage):
            item = Item.of(operation.deal_id)
            fields = {"stageId": item.kind.stage_told(stage)}
            return Command(method, {"entityTypeId": item.kind.entity_type, "id": item.id, "fields": fields})
        case SendMessage(user=user, text=text, mark=mark):
            return _message(user, signed(text, mark), self_id)
        case action if task_id is None:
            raise ValueError(f"{action.kind.value} needs the portal's id of its task")
        case action:
            return _of_task(action, method, task_id, seen, heading)


def _of_task(action: Action, method: str, task_id: int, seen: PortalTask | None, heading: int | None) -> Command:
    """The command for a task that is there."""
    match action:
        case SetDeadline(deadline=deadline):
            return Command(method, {"taskId": task_id, "fields": {"DEADLINE": moment_text(deadline)}})
        case SetPeople() as change:
            return Command(method, {"taskId": task_id, "fields": _people(change, seen)})
        case AddItem(title=title, index=index):
            fields = {"TITLE": title, "SORT_INDEX": (index + 1) * SORT_STEP}
            if heading is not None:
                fields["PARENT_ID"] = heading
            return Command(method, {"TASKID": task_id, "FIELDS": fields})
        case DeferTask() if seen is not None and seen.status == IN_PROGRESS:
            # tasks.task.defer takes only a task that waits
            return Command("tasks.task.update", {"taskId": task_id, "fields": {"STATUS": DEFERRED}})
        case AddLine(text=text):
            return Command(method, {"TASKID": task_id, "FIELDS": {"POST_MESSAGE": text}})
        case _:
            return Command(method, {"taskId": task_id})


def created_id(kind: Kind, outcome: Outcome) -> int | None:
    """The id that the portal gave to what was made (task, checklist item, comment, message); None for other kinds and
    for an answer without one."""
    if not outcome.done:
        return None
    if kind in (Kind.CREATE, Kind.CHECKLIST, Kind.LINE):
        return made_id(METHODS[kind], outcome.value)
    return whole(outcome.value) or None if kind is Kind.MESSAGE else None


def moment_text(value: str | datetime | None) -> str:
    """ISO 8601 with an offset; "" (which clears the deadline) for None. The portal reads a moment without offset in its
    own zone, so that is a ValueError."""
    if value is None or value == "":
        return ""
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError(f"{value}: a moment for the portal needs an offset")
    return moment.isoformat(timespec="seconds")


def signed(text: str, mark: str) -> str:
    """The message with its mark at the end, by which it is found again, unless it ends so already."""
    return text if not mark or text.endswith((mark, f"({mark})")) else f"{text}\n\n{mark}"


def _new_task(operation: Operation, given: Mapping[str, Any]) -> dict[str, Any]:
    fields = {name: _plain(value) for name, value in given.items()}
    if "DEADLINE" in fields:
        fields["DEADLINE"] = moment_text(fields["DEADLINE"])
    fields["XML_ID"] = mark_of(operation.task)
    if operation.deal_id:
        fields["UF_CRM_TASK"] = [Item.of(operation.deal_id).binding]
    return {name: value for name, value in fields.items() if value is not None and value not in ([], {})}


def _plain(value: Any) -> Any:
    if isinstance(value, bool):
        return "Y" if value else "N"
    return list(value) if isinstance(value, tuple) else value


def _people(change: SetPeople, seen: PortalTask | None) -> dict[str, Any]:
    """Owner, and observers with the supervisor put in place of former ones; the rest of the observers stays."""
    if seen is None:
        raise ValueError("people of a task cannot be changed unread: its observers would be lost")
    owner = change.owner or seen.owner_id
    wanted = {
        "RESPONSIBLE_ID": owner,
        "CREATED_BY": change.creator or seen.creator_id,
        "AUDITORS": _observers(change, seen),
    }
    there = {"RESPONSIBLE_ID": seen.owner_id, "CREATED_BY": seen.creator_id, "AUDITORS": list(seen.auditors)}
    return {name: value for name, value in wanted.items() if value != there[name]} or {"RESPONSIBLE_ID": owner}


def _observers(change: SetPeople, seen: PortalTask) -> list[int]:
    supervisor = change.supervisor
    kept = [user for user in seen.auditors if user not in change.drop or user == supervisor]
    return [*kept, supervisor] if supervisor and supervisor not in kept else kept


def _message(user: int, text: str, self_id: int) -> Command:
    if user == self_id:
        return Command(NOTICE, {"USER_ID": user, "MESSAGE": text})
    return Command(METHODS[Kind.MESSAGE], {"DIALOG_ID": str(user), "MESSAGE": text, "URL_PREVIEW": "N"})
