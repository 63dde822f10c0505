"""Talk of the sandbox portal: chats with their messages, and notices in the bell."""

from __future__ import annotations

from typing import Any

from bitrix_sandbox.state.core import Core
from bitrix_sandbox.state.records import Message, Notice


class TalkBook(Core):
    """Messages and notices. A personal dialog is a chat of two; a task has a chat of its own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.messages: dict[int, Message] = {}
        self.chats: dict[int, list[int]] = {}
        self.dialogs: dict[frozenset[int], int] = {}
        self.task_chats: dict[int, int] = {}
        self.notices: list[Notice] = []
        self.start_numbers("chat", 1400)
        self.start_numbers("message", 34000)
        self.start_numbers("notice", 12000)

    def dialog(self, one: int, other: int) -> int:
        """The chat of two users, made if there is none."""
        pair = frozenset((one, other))
        if pair not in self.dialogs:
            self.dialogs[pair] = self.number("chat", 2)
        return self.dialogs[pair]

    def say(self, chat_id: int, author_id: int, text: str, *, system: bool = False) -> int:
        """A message in a chat; gives its id."""
        message = Message(self.number("message", 2), chat_id, author_id, self.moment(), text, system)
        self.messages[message.id] = message
        self.chats.setdefault(chat_id, []).append(message.id)
        return message.id

    def write_to(self, user_id: int, text: str, by: int) -> int:
        """A person writes to another in their personal dialog; gives the message's id."""
        return self.say(self.dialog(user_id, by), by, text)

    def notify(self, user_id: int, author_id: int, text: str, *, kind: str, tag: str = "") -> int:
        """A notice for a user; gives its id."""
        if tag and self.switches.notice_tags:
            self.notices = [one for one in self.notices if not (one.user_id == user_id and one.tag == tag)]
        notice = Notice(self.number("notice"), user_id, author_id, self.moment(), text, kind, tag)
        self.notices.append(notice)
        return notice.id

    def messages_to(self, user_id: int) -> list[Message]:
        """What others wrote to a user in personal dialogs, oldest first."""
        chats = {chat for pair, chat in self.dialogs.items() if user_id in pair}
        return [
            one
            for one in self.messages.values()
            if one.chat_id in chats and (one.author_id != user_id or len(self._pair(one.chat_id)) == 1)
        ]

    def _pair(self, chat_id: int) -> frozenset[int]:
        return next(pair for pair, chat in self.dialogs.items() if chat == chat_id)

    def messages_of_task(self, task_id: int) -> list[Message]:
        """The lines of a task's chat, oldest first."""
        chat = next((chat for chat, task in self.task_chats.items() if task == task_id), 0)
        return [self.messages[number] for number in self.chats.get(chat, ())]

    def notices_of(self, user_id: int) -> list[Notice]:
        """A user's notices, oldest first."""
        return [one for one in self.notices if one.user_id == user_id]
