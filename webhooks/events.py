"""An event of the portal, from the bytes of its delivery. Nothing here knows of a server.

Wire format: a form whose keys have PHP's brackets; only ``event``, ``data`` and ``auth[application_token]`` are in
every delivery of every kind of portal (docs: local-integrations/local-webhooks.md, api-reference/events/index.md).
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import unquote_plus, unquote_to_bytes

FORM = "application/x-www-form-urlencoded"
MAX_FIELDS = 1000

_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_HIGH_ESCAPE = re.compile(rb"%[89A-Fa-f]")
_NAME = re.compile(r"[A-Za-z0-9_.:\\]{1,100}")
_NUMBER = re.compile(r"[0-9]{1,18}")
_IDS = ("data[FIELDS][ID]", "data[FIELDS_AFTER][TASK_ID]", "data[FIELDS_AFTER][ID]", "data[FIELDS_BEFORE][ID]")


class NotAnEvent(Exception):
    """The bytes are no event of a portal; the message says why, and repeats none of them."""


@dataclass(frozen=True, slots=True)
class Event:
    """One delivery. It proves nothing but that something changed; everything but ``name`` and ``token`` may be missing.

    ``object_id``: the deal or task; of a comment its task. ``ts``: Unix seconds, when the portal queued it.
    """

    name: str
    token: str = field(repr=False)
    object_id: int | None
    domain: str
    member_id: str
    ts: int | None


def parse(body: bytes, content_type: str | None) -> Event:
    """The event in a delivery; NotAnEvent if it is none. The token is not judged here: see ``genuine``."""
    if (content_type or "").partition(";")[0].strip().lower() != FORM:
        raise NotAnEvent(f"the content type is not {FORM}")
    fields = _fields(body)
    name, token = fields.get("event"), fields.get("auth[application_token]")
    if name is None or token is None or not any(key.partition("[")[0] == "data" for key in fields):
        raise NotAnEvent("event, data or auth[application_token] is missing")
    name = unquote_plus(name).upper()
    if _NAME.fullmatch(name) is None:
        raise NotAnEvent("the event's name is not one")
    return Event(
        name=name,
        token=unquote_plus(token),
        object_id=next((number for key in _IDS if (number := _number(fields.get(key))) is not None), None),
        domain=unquote_plus(fields.get("auth[domain]", ""))[:255],
        member_id=unquote_plus(fields.get("auth[member_id]", ""))[:255],
        ts=_number(fields.get("ts")),
    )


def genuine(event: Event, tokens: Iterable[bytes]) -> bool:
    """True if the event carries one of ``tokens``; takes as long whether it does or not."""
    offered = event.token.encode()
    found = False
    for token in tokens:
        found |= hmac.compare_digest(token, offered)
    return found


def _fields(body: bytes) -> dict[str, str]:
    """Decoded key → value as it travels; of a key that comes twice the last, as PHP has it.

    Values are left encoded because few of them are ever looked at, and a flood of events must cost little.
    """
    if body.count(b"&") >= MAX_FIELDS:
        raise NotAnEvent("it has too many fields")
    if _BROKEN_ESCAPE.search(body):
        raise NotAnEvent("it has a broken percent escape")
    try:
        text = body.decode()
        if _HIGH_ESCAPE.search(body):
            unquote_to_bytes(body).decode()
    except UnicodeDecodeError:
        raise NotAnEvent("it is not UTF-8") from None
    fields: dict[str, str] = {}
    for pair in text.split("&"):
        key, _, value = pair.partition("=")
        fields[_key(key) if len(key) <= 100 else key] = value
    return fields


@lru_cache(maxsize=512)
def _key(encoded: str) -> str:
    return unquote_plus(encoded)


def _number(encoded: str | None) -> int | None:
    return int(encoded) if encoded is not None and _NUMBER.fullmatch(encoded) else None
