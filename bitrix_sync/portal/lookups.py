"""Did it arrive? What the portal shows of check lists, comments and messages, to settle a write that is in doubt.

A line stands in the task's comments, or from tasks 25.700.0 on in the task's chat (docs: tasks/tasks-new.md). Where
neither may be read, the write counts as done: a line is said at most once rather than twice.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

import structlog

from bitrix_sync.portal.client import Portal
from bitrix_sync.portal.dialect.commands import Command
from bitrix_sync.portal.dialect.outcomes import Outcome, whole
from bitrix_sync.portal.dialect.parsing import rows

log = structlog.get_logger(__name__)

PAGE = 50
PAGES = 3
"""Pages of a chat that are looked through, the newest first: a doubt is settled within minutes."""


def checklists(portal: Portal, task_ids: Sequence[int]) -> dict[int, dict[str, int]]:
    """Task → title (``bare``) → id of everything in its check lists, their headings too; the lowest id of equal titles.
    Fifty tasks in one request; of a task that is gone or hidden there is nothing."""
    wanted = list(dict.fromkeys(task_ids))
    commands = [Command("task.checklistitem.getlist", {"TASKID": one, "ORDER": {"ID": "asc"}}) for one in wanted]
    shown = portal.read(commands, optional=True) if commands else ()
    return {task_id: _titles(outcome) for task_id, outcome in zip(wanted, shown, strict=True)}


def _titles(outcome: Outcome) -> dict[str, int]:
    listed = rows(outcome.value, "") if outcome.done else []
    found = [(bare(str(row.get("TITLE") or "")), whole(row.get("ID")) or 0) for row in listed]
    return dict(sorted(found, key=lambda item: -item[1]))


def find_lines(portal: Portal, asked: Sequence[tuple[int, str]]) -> set[tuple[int, str]]:
    """Those of the tasks and texts of which a comment of the task says so, or of which nobody can tell; twenty-five
    tasks in one request, and fifty of their chats in another."""
    tasks = list(dict.fromkeys(task for task, _ in asked))
    commands = [
        command
        for task in tasks
        for command in (
            Command("task.commentitem.getlist", {"TASKID": task, "ORDER": {"ID": "desc"}}),
            Command("tasks.task.get", {"taskId": task, "select": ["ID", "CHAT_ID"]}),
        )
    ]
    answers = portal.read(commands, optional=True) if commands else []
    comments, chats = dict(zip(tasks, answers[::2], strict=True)), dict(zip(tasks, answers[1::2], strict=True))
    there = {(task, text) for task, text in asked if _says(comments[task], "POST_MESSAGE", text)}
    left = [pair for pair in asked if pair not in there]
    there |= {(task, text) for task, text in left if not _chat_of(chats[task]) and not comments[task].done}
    places = {task: f"chat{chat}" for task, _ in left if (chat := _chat_of(chats[task]))}
    dialogs = [Command("im.dialog.messages.get", {"DIALOG_ID": place, "LIMIT": PAGE}) for place in places.values()]
    latest = dict(zip(places, portal.read(dialogs, optional=True) if dialogs else (), strict=True))
    for task, text in left:
        if task in places and _chat_says(portal, latest[task], places[task], text):
            there.add((task, text))
    return there


def _says(outcome: Outcome, key: str, text: str) -> bool:
    wanted = bare(text)
    return outcome.done and any(bare(str(row.get(key) or "")) == wanted for row in rows(outcome.value, ""))


def _chat_of(outcome: Outcome) -> int | None:
    """The number of a task's chat."""
    found = outcome.value.get("task") if outcome.done and isinstance(outcome.value, dict) else None
    return whole(found.get("chatId")) or None if isinstance(found, dict) else None


def _chat_says(portal: Portal, latest: Outcome, dialog: str, text: str) -> bool:
    """Whether a task's chat holds the text; where it has more than the latest messages, it is looked through."""
    texts: Sequence[str] | None = None
    if latest.done:
        found = rows(latest.value, "messages")
        texts = [str(row.get("text") or "") for row in found]
        if len(found) == PAGE:
            texts = _chat(portal, dialog)
    if texts is None:
        log.warning("the task's chat cannot be read; the line counts as written", chat=dialog)
        return True
    wanted = bare(text)
    return any(bare(one) == wanted for one in texts)


def find_messages(portal: Portal, asked: Sequence[tuple[int, str]]) -> set[tuple[int, str]]:
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
    """A message ends with its mark: one that only speaks of it (the notice that a sweep is held) is another one."""
    return f" {bare(text)}".endswith(f" {bare(mark)}")


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


def bare(text: str) -> str:
    """A text as it is compared, without what the portal does to it: line breaks as tags, entities, spaces."""
    broken = re.sub(r"<br\s*/?>|\[br\]", "\n", text, flags=re.IGNORECASE)
    return " ".join(html.unescape(broken).split())
