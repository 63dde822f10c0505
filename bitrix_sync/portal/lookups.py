"""Did it arrive? What the portal shows of check lists, comments and messages, to settle a write that is in doubt.

A line stands in the task's comments, or from tasks 25.700.0 on in the task's chat (docs: tasks/tasks-new.md). Where
neither may be read, the write counts as done: a line is said at most once rather than twice.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

import structlog

from bitrix_sync.portal.answers import Outcome, whole
from bitrix_sync.portal.client import Portal
from bitrix_sync.portal.forms import Command
from bitrix_sync.portal.parsing import rows

log = structlog.get_logger(__name__)

PAGE = 50
PAGES = 3
"""Pages of a chat that are looked through, the newest first: a doubt is settled within minutes."""


def checklist(portal: Portal, task_id: int) -> dict[str, int]:
    """Title → id of everything in a task's check lists, their headings too; the lowest id of equal titles."""
    value = portal.read_one(Command("task.checklistitem.getlist", {"TASKID": task_id, "ORDER": {"ID": "asc"}})).value
    found = [(str(row.get("TITLE") or ""), whole(row.get("ID")) or 0) for row in rows(value, "")]
    return dict(sorted(found, key=lambda item: -item[1]))


def has_line(portal: Portal, task_id: int, text: str) -> bool:
    """True when a comment of the task says this, or when nobody can tell."""
    wanted = _bare(text)
    comments, task = portal.read(
        [
            Command("task.commentitem.getlist", {"TASKID": task_id, "ORDER": {"ID": "desc"}}),
            Command("tasks.task.get", {"taskId": task_id, "select": ["ID", "CHAT_ID"]}),
        ],
        optional=True,
    )
    if comments.done and any(_bare(str(row.get("POST_MESSAGE") or "")) == wanted for row in rows(comments.value, "")):
        return True
    found = task.value.get("task") if task.done and isinstance(task.value, dict) else None
    chat = whole(found.get("chatId")) if isinstance(found, dict) else None
    if not chat:
        return not comments.done
    texts = _chat(portal, f"chat{chat}")
    if texts is None:
        log.warning("the task's chat cannot be read; the line counts as written", task=task_id)
        return True
    return any(_bare(one) == wanted for one in texts)


def heard(portal: Portal, asked: Sequence[tuple[int, str]]) -> set[tuple[int, str]]:
    """Those of the users and marks whose personal chat holds the mark, or of which nobody can tell; the latest messages
    of fifty chats in one request."""
    users = list(dict.fromkeys(user for user, _ in asked))
    commands = [Command("im.dialog.messages.get", {"DIALOG_ID": str(user), "LIMIT": PAGE}) for user in users]
    shown = dict(zip(users, portal.read(commands, optional=True) if commands else (), strict=True))
    return {(user, mark) for user, mark in asked if _holds(portal, shown[user], user, mark)}


def _holds(portal: Portal, outcome: Outcome, user_id: int, mark: str) -> bool:
    """Whether the latest messages hold the mark; where there are more, they are looked through."""
    if not outcome.done:
        log.warning("the chat cannot be read; the message counts as sent", user=user_id)
        return True
    found = rows(outcome.value, "messages")
    if any(_marked(str(row.get("text") or ""), mark) for row in found):
        return True
    return len(found) == PAGE and has_message(portal, user_id, mark)


def has_message(portal: Portal, user_id: int, mark: str) -> bool:
    """True when the personal chat with a user holds the mark, or when nobody can tell."""
    texts = _chat(portal, str(user_id))
    if texts is None:
        log.warning("the chat cannot be read; the message counts as sent", user=user_id)
        return True
    return any(_marked(one, mark) for one in texts)


def _marked(text: str, mark: str) -> bool:
    return re.search(rf"(?<![\w:/-]){re.escape(mark)}(?![\w:/-])", text) is not None


def _chat(portal: Portal, dialog: str) -> Sequence[str] | None:
    """The latest texts of a chat; None when it may not be read."""
    texts: list[str] = []
    last = 0
    for _ in range(PAGES):
        params = {"DIALOG_ID": dialog, "LIMIT": PAGE, **({"LAST_ID": last} if last else {})}
        outcome = portal.read_one(Command("im.dialog.messages.get", params), optional=True)
        if not outcome.done:
            return None
        messages = rows(outcome.value, "messages")
        texts += [str(row.get("text") or "") for row in messages]
        numbers = [number for row in messages if (number := whole(row.get("id")))]
        if len(messages) < PAGE or not numbers or min(numbers) == last:
            break
        last = min(numbers)
    return texts


def _bare(text: str) -> str:
    """A text without what the portal does to it on its way: line breaks as tags, entities, spaces."""
    broken = re.sub(r"<br\s*/?>|\[br\]", "\n", text, flags=re.IGNORECASE)
    return " ".join(html.unescape(broken).split())
