"""What one answer of the portal, or its lack, means: did the request run?

That question alone decides whether a write may be sent again; whether an error is "temporary" does not matter. Errors
are known by their code, compared without regard to case; the HTTP status speaks only where no code is given (docs:
error-codes.md, _includes/system-errors.md).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from bitrix_sync.log import redact
from bitrix_sync.model.items import KINDS

OutcomeKind = Literal["done", "again", "refused", "unknown"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one command.

    ``done``: ``value`` is its result, ``total`` and ``next`` those of a list. ``again``: refused before it ran; send
    again not before ``retry_at`` (our clock, epoch seconds; None: as soon as the pacer allows). ``refused``: for good,
    with the portal's ``code`` and ``text``; ``fatal`` when the refusal concerns the whole portal (or one of the scopes
    that all work hangs on) and not this command. ``unknown``: it may have run. ``seconds``: how long the portal says
    that it took. ``operating`` and ``reset_at`` (the
    portal's epoch seconds) are the method's account, where the answer tells it."""

    kind: OutcomeKind
    value: Any = None
    code: str = ""
    text: str = ""
    retry_at: float | None = None
    fatal: bool = False
    total: int | None = None
    next: int | None = None
    operating: float | None = None
    reset_at: float | None = None
    seconds: float | None = None

    @property
    def done(self) -> bool:
        """True when the command ran and ``value`` is its result."""
        return self.kind == "done"

    @property
    def heard(self) -> bool:
        """True when the portal itself has spoken of this command, whatever it said: it is there and works."""
        return self.kind in ("done", "refused") or self.code.lower() in (GARBAGE, NOT_IN_ANSWER, OPERATION_LIMIT)


GARBAGE, NOT_IN_ANSWER = "garbage", "not_in_answer"
"""Our own codes for an answer that makes no sense, and for one of a batch that says nothing of a command."""
QUERY_LIMIT = "query_limit_exceeded"
OPERATION_LIMIT = "operation_time_limit"
BEFORE_IT_RAN = frozenset({QUERY_LIMIT, OPERATION_LIMIT, "expired_token", "error_batch_length_exceeded"})
MAY_HAVE_RUN = frozenset({"internal_server_error", "error_unexpected_answer"})
WHOLE_PORTAL = frozenset(
    {
        "no_auth_found",
        "invalid_credentials",
        "authorization_error",
        "application_not_found",
        "error_oauth",
        "invalid_token",
        "invalid_request",
        "payment_required",
        "portal_deleted",
        "user_access_error",
        "allowed_only_intranet_user",
        "overload_limit",
    }
)
"""Codes that say: nothing goes until an administrator does something."""
NO_SCOPE, NO_ACCESS, NO_METHOD = "insufficient_scope", "access_denied", "error_method_not_found"
ESSENTIAL = ("crm.", "task.", "tasks.", "batch")
"""Methods without whose scope there is no work at all."""

ADDS = frozenset({"tasks.task.add", "task.checklistitem.add", "task.commentitem.add", "im.message.add"})
"""Methods that answer with the id of what they made; without an id nobody knows what happened."""
NOTICES = frozenset({"im.notify.system.add", "im.notify.personal.add"})
"""These answer ``false`` when no notice was made (docs: chats/notifications)."""

LISTS: Mapping[str, str] = {
    "crm.stagehistory.list": "items",
    "crm.item.list": "items",
    "crm.category.list": "categories",
    "crm.status.list": "",
    "crm.activity.list": "",
    "crm.activity.binding.list": "",
    **{kind.user_fields: "" for kind in KINDS.values()},
    "tasks.task.list": "tasks",
    "task.checklistitem.getlist": "",
    "task.commentitem.getlist": "",
    "user.get": "",
    "department.get": "",
    "sonet_group.get": "",
    "im.dialog.messages.get": "messages",
}
"""Readings of lists, and where the rows stand in their result ("": they are the result)."""
MAPS: Mapping[str, str] = {
    "crm.item.fields": "fields",
    "crm.item.get": "item",
    "calendar.settings.get": "",
    "profile": "",
}
"""Readings of one thing with its fields, and where it stands."""

LONGEST_SPAN = 3600.0
"""More seconds than a portal can need for anything: it cuts a request at sixty."""
LARGEST = 2**63
"""No number of the portal's, and none that the store can keep, is as large."""
EXPIRED_PAUSE = 60.0
TEXT_LIMIT, LOOKED_AT = 300, 20_000
"""Characters that are kept of what the portal says, and in which they are looked for."""


def read_answer(status: int, body: bytes, *, method: str, now: float) -> tuple[Outcome, Mapping[str, Any]]:
    """Classify one HTTP answer; with it the decoded envelope ({} when the body is no JSON object)."""
    envelope = decode(body)
    if not isinstance(envelope, dict):
        return _no_envelope(status, now), {}
    return read_envelope(envelope, status=status, method=method, now=now), envelope


def decode(body: bytes) -> Any:
    """The JSON text of an answer; None for anything else. What is no text in UTF-8 (a byte, half a surrogate) is a mark
    in its place, and what is no number is none: one bad value must not keep the rest from being read."""
    text = body.decode("utf-8-sig", errors="replace")
    try:
        try:
            value = json.loads(text, parse_constant=_finite, parse_float=_finite)
        except ValueError:  # a number of thousands of digits, or no JSON at all
            value = json.loads(text, parse_constant=_finite, parse_float=_finite, parse_int=_finite)
        return _pair(value) if _SURROGATE.search(text) else value
    except (ValueError, RecursionError):
        return None


def _finite(text: str) -> float | None:
    number_ = float(text)
    return number_ if math.isfinite(number_) else None


_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
"""Half a character beyond the first 65,536: two of them are one."""


def _pair(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", errors="surrogatepass").decode("utf-16", errors="replace")
    if isinstance(value, dict):
        return {_pair(name): _pair(one) for name, one in value.items()}
    return [_pair(one) for one in value] if isinstance(value, list) else value


def read_envelope(envelope: Mapping[str, Any], *, status: int, method: str, now: float) -> Outcome:
    """Classify a decoded answer. An ``error`` key is an error also under HTTP 200."""
    account = read_account(envelope.get("time"))
    if "error" in envelope:
        error = read_error(envelope, status=status, method=method, now=now)
        return replace(error, operating=account[0], reset_at=account[1])
    if "result" not in envelope:
        return _no_envelope(status, now)
    if status >= 400:
        return Outcome("unknown", code=f"http_{status}", text=f"HTTP {status} with a result")
    outcome = read_result(envelope["result"], method=method, total=whole(envelope.get("total")))
    return replace(
        outcome,
        total=whole(envelope.get("total")),
        next=whole(envelope.get("next")),
        operating=account[0],
        reset_at=account[1],
        seconds=read_duration(envelope.get("time")),
    )


def read_result(value: Any, *, method: str, total: int | None = None) -> Outcome:
    """A result as it stands in an envelope or in a batch, with the portal's count of a list. An add that gives no id
    may have made something; a list that is no list tells nothing, least of all that there is nothing, unless it is
    counted as empty."""
    name = method.lower()
    if name in LISTS and rows_of(value, LISTS[name]) is None and not (value == [] and total == 0):
        return Outcome("unknown", code=GARBAGE, text="the portal answered no list")
    if name in MAPS and not _has_entries(value, MAPS[name]):
        return Outcome("unknown", code=GARBAGE, text="the portal answered without what was asked for")
    if name in ADDS and made_id(name, value) is None:
        return Outcome("unknown", value, code="no_id", text="the portal answered without an id")
    if name in NOTICES and value is False:
        return Outcome("refused", value, code="not_created", text="the portal made no notice and gave no reason")
    return Outcome("done", value)


def rows_of(value: Any, key: str) -> list[Any] | None:
    """The rows in a list's result: ``{"items": [...]}`` by ``key``, or with key "" the result itself; a list whose keys
    have gaps comes as a map of rows. None: this is no list (an empty one is ``[]``, never ``{}``)."""
    inner = _inner(value, key)
    if isinstance(inner, list):
        return inner
    if isinstance(inner, Mapping) and inner and all(isinstance(row, Mapping) for row in inner.values()):
        return list(inner.values())
    return None


def _has_entries(value: Any, key: str) -> bool:
    inner = _inner(value, key)
    return isinstance(inner, Mapping) and bool(inner)


def _inner(value: Any, key: str) -> Any:
    return value.get(key) if key and isinstance(value, Mapping) else None if key else value


def made_id(method: str, value: Any) -> int | None:
    """The id that an add gives: ``{"task": {"id": "8017"}}``, or a bare number; None when there is none."""
    if method.lower() == "tasks.task.add":
        task = value.get("task") if isinstance(value, Mapping) else None
        value = task.get("id", task.get("ID")) if isinstance(task, Mapping) else None
    number = whole(value)
    return number if number and number > 0 else None


def read_error(error: Any, *, status: int | None, method: str, now: float) -> Outcome:
    """Classify an error: an envelope with ``error``, or an entry of ``result_error`` (``status`` None). A code that is
    not in a table above is a refusal, unless a 5xx came with it."""
    code, text = _code_and_text(error)
    name = code.lower()
    if name in BEFORE_IT_RAN:
        return Outcome("again", code=code, text=text, retry_at=now + EXPIRED_PAUSE if name == "expired_token" else None)
    if name in WHOLE_PORTAL:
        return Outcome("refused", code=code, text=text, fatal=True)
    if name == NO_SCOPE:
        return Outcome("refused", code=code, text=text, fatal=method.lower().startswith(ESSENTIAL))
    if name == NO_ACCESS:
        return Outcome("refused", code=code, text=text, fatal=_closed_to_us(status, method, text))
    if name in MAY_HAVE_RUN or (status is not None and status >= 500):
        return Outcome("unknown", code=code or f"http_{status}", text=text)
    return Outcome("refused", code=code, text=text)


def _closed_to_us(status: int | None, method: str, text: str) -> bool:
    """ACCESS_DENIED says both "your plan has no REST" (401, 403) and "not this item" (400, or inside a batch)."""
    name = method.lower()
    if name == "batch":
        return True
    return status in (401, 403) and name.startswith(ESSENTIAL) and "context required" not in text.lower()


def _code_and_text(error: Any) -> tuple[str, str]:
    """Code and text of an error in any of the portal's shapes (REST 3.0 puts an object into ``error``)."""
    if not isinstance(error, Mapping):
        return plain(error), ""
    code, text = error.get("error", ""), error.get("error_description")
    if isinstance(code, Mapping):
        code, text = code.get("code", ""), code.get("message")
    return plain("" if code is None else code), plain(text)


def plain(text: Any) -> str:
    """A code or description of the portal's without its HTML, one line, cut; and without our webhook's address or a
    token, which the portal likes to repeat: what is read here is kept, told and shown."""
    said = str(text or "")
    if len(said) > LOOKED_AT:  # without its last word: half a secret would not be known for one
        said = said[:LOOKED_AT].rpartition(" ")[0]
    bare = re.sub(r"<[^>]{0,200}>", " ", redact(said))
    return redact(" ".join(bare.split()))[:TEXT_LIMIT]


def _no_envelope(status: int, now: float) -> Outcome:
    """No JSON object of the portal's: a page of its frontend, a cut body. Only 429 says that nothing ran."""
    if status == 429:
        return Outcome("again", code="http_429", text="too many requests", retry_at=now + EXPIRED_PAUSE)
    return Outcome("unknown", code=f"http_{status}", text=f"HTTP {status} without an answer of the portal's")


def lost_answer(text: str) -> Outcome:
    """The request left, no whole answer came: time-out, cut connection, too big a body."""
    return Outcome("unknown", code="no_answer", text=text)


def not_sent(text: str, *, code: str = "not_sent", retry_at: float | None = None) -> Outcome:
    """The request never left."""
    return Outcome("again", code=code, text=text, retry_at=retry_at)


def read_account(time: Any) -> tuple[float | None, float | None]:
    """``operating`` and ``operating_reset_at`` of a ``time`` block; each may be missing, or make no sense."""
    if not isinstance(time, Mapping):
        return None, None
    return _span(time.get("operating")), number(time.get("operating_reset_at"))


def read_duration(time: Any) -> float | None:
    """``duration`` of a ``time`` block, which may be missing, or make no sense."""
    return _span(time.get("duration")) if isinstance(time, Mapping) else None


def _span(value: Any) -> float | None:
    """Seconds that a portal may have needed; None for anything else."""
    seconds = number(value)
    return seconds if seconds is not None and 0 <= seconds <= LONGEST_SPAN else None


def number(value: Any) -> float | None:
    """A finite JSON number or a numeric string as float."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        result = float(value)
    except (ValueError, OverflowError):
        return None
    return result if abs(result) < 1e15 else None


def whole(value: Any) -> int | None:
    """An int, given as JSON int or as digits, as far as the portal's own numbers go."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if abs(value) < LARGEST else None
    if isinstance(value, str) and re.fullmatch(r"\s*-?\d{1,18}\s*", value):
        return int(value)
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < LARGEST else None


def read_batch(
    envelope: Mapping[str, Any], methods: Sequence[str], *, now: float, keys: Sequence[str] | None = None
) -> list[Outcome]:
    """Outcomes of a batch's commands ``k0``, ``k1``, ... (or ``keys``) in order, each judged by itself.

    Maps may come as objects or lists, empty ones as ``[]``; a command in no map (halted, cut) may have run.
    """
    result = envelope.get("result")
    parts = result if isinstance(result, Mapping) else {}
    names = ("result", "result_error", "result_total", "result_next", "result_time")
    values, errors, totals, nexts, times = (_by_key(parts.get(name)) for name in names)
    outcomes = []
    for index, method in enumerate(methods):
        key = keys[index] if keys else batch_key(index)
        if key in errors:
            outcome = read_error(errors[key], status=None, method=method, now=now)
        elif key in values:
            outcome = read_result(values[key], method=method, total=whole(totals.get(key)))
        else:
            outcome = Outcome("unknown", code=NOT_IN_ANSWER, text="the batch's answer says nothing of this command")
        operating, reset_at = read_account(times.get(key))
        total, following = whole(totals.get(key)), whole(nexts.get(key))
        outcome = replace(outcome, total=total, next=following, operating=operating, reset_at=reset_at)
        outcomes.append(replace(outcome, seconds=read_duration(times.get(key))))
    return outcomes


def batch_key(index: int) -> str:
    """Key of a command: never numeric, for numeric keys come back as lists."""
    return f"k{index}"


def _by_key(part: Any) -> Mapping[str, Any]:
    if isinstance(part, list):
        return {batch_key(index): value for index, value in enumerate(part)}
    return part if isinstance(part, Mapping) else {}
