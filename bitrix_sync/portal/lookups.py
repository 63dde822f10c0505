"""Did it arrive? What the portal shows of check lists, comments and messages, to settle a write that is in doubt.

A line stands in the task's comments, or from tasks 25.700.0 on in the task's chat (docs: tasks/tasks-new.md). What the
portal refuses to show counts as there: it is said at most once rather than twice. What it answers without sense, or not
at all, says nothing: it is asked again later.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from bitrix_sync.portal.client import Portal
from bitrix_sync.portal.dialect.commands import Command
from bitrix_sync.portal.dialect.outcomes import Outcome, whole
from bitrix_sync.portal.dialect.parsing import rows

log = structlog.get_logger(__name__)

PAGE = 50
PAGES = 3
"""Pages of a chat that are looked through, the newest first: a doubt is settled within minutes."""
PATIENCE = 2.0
"""Seconds that a look may be tried: whoever asks comes again."""
UNREADABLE = ""
"""Stands for a text that is none; a row without text says nothing and is left out."""
Pair = tuple[int, str]
"""A task and a text in it, or a user and the mark of a message to him."""


@dataclass(slots=True)
class Shown:
    """What was looked for and is there, with its id where it has one; and what nobody can tell of now."""

    there: dict[Pair, int | None] = field(default_factory=dict)
    unsure: set[Pair] = field(default_factory=set)

    def note(self, pair: Pair, texts: Mapping[str, int | None] | bool | None) -> None:
        """Take in what was read where the pair belongs: texts (``bare``) with their ids, that it counts as there or is
        surely not, or None: nobody can tell. A text that is ``UNREADABLE`` may be any."""
        if texts is None:
            self.unsure.add(pair)
        elif isinstance(texts, bool):
            if texts:
                self.there[pair] = None
        elif (text := bare(pair[1])) in texts:
            self.there[pair] = texts[text]
        elif UNREADABLE in texts:
            self.unsure.add(pair)


def _read(portal: Portal, commands: Sequence[Command]) -> list[Outcome]:
    return portal.read(commands, optional=True, patience=PATIENCE) if commands else []


def _texts(outcome: Outcome, part: str, key: str, number: str) -> dict[str, int | None] | bool | None:
    """The texts of a list's rows with their ids, the lowest of equal ones; True when they are not for us, None when
    they were not read."""
    if outcome.kind == "refused":
        log.warning("what was written cannot be read; it counts as written", problem=outcome.text or outcome.code)
        return True
    if not outcome.done:
        return None
    found: dict[str, int | None] = {}
    for row in sorted(rows(outcome.value, part), key=lambda row: -(whole(row.get(number)) or 0)):
        text = row.get(key, 0)
        if not isinstance(text, str | None):
            found[UNREADABLE] = None
        elif plain := bare(text or ""):
            found[plain] = whole(row.get(number))
    return found


def find_items(portal: Portal, asked: Iterable[Pair]) -> Shown:
    """Which of the tasks have an item of this title in their check lists, headings too; fifty tasks in one request."""
    tasks = list(dict.fromkeys(task for task, _ in asked))
    commands = [Command("task.checklistitem.getlist", {"TASKID": one, "ORDER": {"ID": "asc"}}) for one in tasks]
    shown = dict(zip(tasks, _read(portal, commands), strict=True))
    found = Shown()
    for pair in asked:
        found.note(pair, _texts(shown[pair[0]], "", "TITLE", "ID"))
    return found


def find_lines(portal: Portal, asked: Sequence[Pair]) -> Shown:
    """Which of the tasks have a comment of this text; twenty-five tasks in one request, fifty of their chats in
    another."""
    tasks = list(dict.fromkeys(task for task, _ in asked))
    comments, chats = _comments_and_chats(portal, tasks)
    found, in_chats = Shown(), dict[Pair, str]()
    for pair in asked:
        texts = _texts(comments[pair[0]], "", "POST_MESSAGE", "ID")
        if isinstance(texts, Mapping) and bare(pair[1]) in texts:
            found.note(pair, texts)
        elif isinstance(chat := chats[pair[0]], str):
            in_chats[pair] = chat
        else:
            found.note(pair, texts if chat is False else chat)
    latest = _latest(portal, in_chats.values())
    for pair, dialog in in_chats.items():
        found.note(pair, _of_chat(portal, latest[dialog], dialog))
    return found


def _comments_and_chats(
    portal: Portal, tasks: Sequence[int]
) -> tuple[dict[int, Outcome], dict[int, str | bool | None]]:
    lines = [Command("task.commentitem.getlist", {"TASKID": task, "ORDER": {"ID": "desc"}}) for task in tasks]
    cards = [Command("tasks.task.get", {"taskId": task, "select": ["ID", "CHAT_ID"]}) for task in tasks]
    answers = _read(portal, [command for pair in zip(lines, cards, strict=True) for command in pair])
    return dict(zip(tasks, answers[::2], strict=True)), dict(zip(tasks, map(_chat_of, answers[1::2]), strict=True))


def _chat_of(outcome: Outcome) -> str | bool | None:
    """A task's chat; False when it has none, True when that is not for us, None when it was not read."""
    if outcome.kind == "refused" or (outcome.done and outcome.value == []):
        return outcome.kind == "refused"
    task = outcome.value.get("task") if outcome.done and isinstance(outcome.value, Mapping) else None
    if not isinstance(task, Mapping) or whole(task.get("id")) is None:
        return None
    number = whole(task.get("chatId"))
    return f"chat{number}" if number else False


def find_messages(portal: Portal, asked: Sequence[Pair]) -> Shown:
    """Which of the users have a message with this mark in their personal chat; the latest messages of fifty chats in
    one request."""
    latest, found = _latest(portal, [str(user) for user, _ in asked]), Shown()
    for pair in asked:
        texts = _of_chat(portal, latest[str(pair[0])], str(pair[0]))
        if isinstance(texts, Mapping):
            there = any(_marked(text, pair[1]) for text in texts)
            texts = None if UNREADABLE in texts and not there else there
        found.note(pair, texts)
    return found


def _marked(text: str, mark: str) -> bool:
    """A message ends with its mark, as it is or in brackets: one that only speaks of it (the notice that a sweep is
    held) is another one."""
    return f" {text}".endswith((f" {bare(mark)}", f" ({bare(mark)})"))


def _latest(portal: Portal, dialogs: Iterable[str]) -> dict[str, Outcome]:
    """The latest messages of chats."""
    places = list(dict.fromkeys(dialogs))
    commands = [Command("im.dialog.messages.get", {"DIALOG_ID": place, "LIMIT": PAGE}) for place in places]
    return dict(zip(places, _read(portal, commands), strict=True))


def _of_chat(portal: Portal, latest: Outcome, dialog: str) -> dict[str, int | None] | bool | None:
    """The texts of a chat as ``_texts`` gives them; where it has more than the latest ones, it is looked through."""
    texts: dict[str, int | None] = {}
    outcome, last = latest, 0
    for page in range(PAGES):
        if page:
            params = {"DIALOG_ID": dialog, "LIMIT": PAGE, "LAST_ID": last}
            (outcome,) = _read(portal, [Command("im.dialog.messages.get", params)])
        found = _texts(outcome, "messages", "text", "id")
        if not isinstance(found, dict):
            return found
        texts |= found
        messages: list[Mapping[str, Any]] = rows(outcome.value, "messages")
        numbers = [number for row in messages if (number := whole(row.get("id")))]
        if len(messages) < PAGE or not numbers or min(numbers) == last:
            break
        last = min(numbers)
    return texts


def bare(text: str) -> str:
    """A text as it is compared, without what the portal does to it: line breaks as tags, entities, spaces."""
    broken = re.sub(r"<br\s*/?>|\[br\]", "\n", text, flags=re.IGNORECASE)
    return " ".join(html.unescape(broken).split())
