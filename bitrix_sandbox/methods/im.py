"""Chat messages and notices of the sandbox (api-reference/chats/messages, chats/notifications)."""

from __future__ import annotations

import uuid
from typing import Any

from bitrix_sandbox.methods import people
from bitrix_sandbox.methods.protocol import Answer, Caller, method
from bitrix_sandbox.state import values
from bitrix_sandbox.state.errors import RestError
from bitrix_sandbox.state.portal import PortalState
from bitrix_sandbox.state.records import Message

_LIMIT = 20_000
"""Characters of a chat message; what is beyond is cut."""


@method("im.message.add", "im", cost=0.1, writes=True)
def message_add(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """A message in the webhook owner's name to a user (``13``) or a chat (``chat58``); its id."""
    dialog = str(params.get("DIALOG_ID") or "").strip()
    text = str(params.get("MESSAGE") or "")
    if not text.strip() and not params.get("ATTACH"):
        raise RestError("MESSAGE_EMPTY", "Message can't be empty")
    if dialog.startswith("chat"):
        number = values.php_int(dialog[4:])
        task = state.tasks.get(state.task_chats.get(number, 0))
        if task is None and number not in state.chats and number not in state.dialogs.values():
            raise RestError("CHAT_ID", "Error creating message")
        if not _takes_part(state, caller, number):
            raise RestError("ACCESS_ERROR", "Action unavailable")
    else:
        user = values.integer(dialog) or 0
        if user <= 0:
            raise RestError("USER_ID_EMPTY", "User ID can't be empty")
        if user not in state.users:
            raise RestError("USER_NOT_FOUND", "User not found")
        number = state.dialog(caller.user_id, user)
    system = values.flag(params.get("SYSTEM"))
    cut = text if len(text) <= _LIMIT else text[:_LIMIT] + " (...)"
    return Answer(state.say(number, 0 if system else caller.user_id, cut, system=system))


@method("im.dialog.messages.get", "im")
def dialog_messages(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """The newest messages of a dialog (newest first), older ones before LAST_ID, newer ones after FIRST_ID."""
    dialog = str(params.get("DIALOG_ID") or "").strip()
    number = _chat(state, caller, dialog)
    first, last = _edge(params, "FIRST_ID"), _edge(params, "LAST_ID")
    limit = min(50, values.php_int(params.get("LIMIT")) or 20)
    kept = state.chats.get(number, [])
    if first:
        found = [one for one in kept if one > first][:limit]
    else:
        found = [one for one in kept if not last or one < last][::-1][:limit]
    messages = [state.messages[one] for one in found]
    authors = dict.fromkeys(one.author_id for one in messages if one.author_id)
    return Answer(
        {
            "chat_id": number,
            "messages": [_message(state, one) for one in messages],
            "users": [people.card(state, user) for user in authors],
            "files": [],
        }
    )


def _edge(params: dict[str, Any], name: str) -> int:
    """The id of the message where a span begins or ends; 0 for none."""
    if params.get(name) not in (None, "") and values.integer(params[name]) is None:
        raise RestError(f"{name}_STRING", f"{name.split('_')[0].capitalize()} ID can't be string")
    return values.php_int(params.get(name))


@method("im.notify", "im", cost=0.1, writes=True)
def notify(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """A notice, personal unless TYPE is SYSTEM."""
    system = str(params.get("TYPE") or "USER").upper() == "SYSTEM"
    return _notify(state, caller, params, "system" if system else "personal")


@method("im.notify.personal.add", "im", cost=0.1, writes=True)
def notify_personal(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """A notice in the webhook owner's name."""
    return _notify(state, caller, params, "personal")


@method("im.notify.system.add", "im", cost=0.1, writes=True)
def notify_system(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """A notice without an author."""
    return _notify(state, caller, params, "system")


def _notify(state: PortalState, caller: Caller, params: dict[str, Any], kind: str) -> Answer:
    user = values.php_int(params.get("USER_ID"))
    if user <= 0:
        raise RestError("USER_ID_EMPTY", "User ID can't be empty")
    text = str(params.get("MESSAGE") or "").strip()
    if not text:
        raise RestError("MESSAGE_EMPTY", "Message can't be empty")
    if state.switches.notices_fail or user not in state.users:
        return Answer(False)
    author = 0 if kind == "system" else caller.user_id
    return Answer(state.notify(user, author, text, kind=kind, tag=str(params.get("TAG") or "")))


def _chat(state: PortalState, caller: Caller, dialog: str) -> int:
    if dialog.startswith("chat"):
        number = values.php_int(dialog[4:])
        if not number:
            raise RestError("DIALOG_ID_EMPTY", "Dialog ID can't be empty")
        if not _takes_part(state, caller, number):
            raise RestError("ACCESS_ERROR", "You do not have access to the specified dialog", 403)
        return number
    user = values.integer(dialog) or 0
    if user <= 0:
        raise RestError("DIALOG_ID_EMPTY", "Dialog ID can't be empty")
    if user not in state.users:
        raise RestError("ACCESS_ERROR", "You do not have access to the specified dialog", 403)
    return state.dialog(caller.user_id, user)


def _takes_part(state: PortalState, caller: Caller, number: int) -> bool:
    task = state.tasks.get(state.task_chats.get(number, 0))
    if task is None:
        return any(chat == number and caller.user_id in pair for pair, chat in state.dialogs.items())
    if state.switches.task_chat_members_only:
        return caller.user_id in task.members()
    return state.reads_task(caller.user_id, task)


def _message(state: PortalState, message: Message) -> dict[str, Any]:
    return {
        "id": message.id,
        "chat_id": message.chat_id,
        "author_id": message.author_id,
        "date": state.iso(message.at),
        "text": message.text,
        "unread": False,
        "uuid": None if message.system else str(uuid.uuid5(uuid.NAMESPACE_OID, f"message {message.id}")),
        "replaces": [],
        "params": [],
        "disappearing_date": None,
    }
