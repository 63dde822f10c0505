"""Faults on order: what goes wrong with which call, for a number of calls or by chance and seed.

A fault strikes a request (a batch as a whole is the method ``batch``) or one command inside a batch. Random faults draw
once for every request that they match, in order: the same requests and the same seed meet the same faults.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from bitrix_sandbox.http.wire import Response
from bitrix_sandbox.state.errors import RestError

ERRORS: Mapping[str, tuple[str, str, int]] = {
    "too_many": ("QUERY_LIMIT_EXCEEDED", "Too many requests", 503),
    "overload": ("OVERLOAD_LIMIT", "REST API is blocked due to overload.", 503),
    "operation_limit": ("OPERATION_TIME_LIMIT", "Method is blocked due to operation time limit.", 429),
    "auth_lost": ("INVALID_CREDENTIALS", "Invalid request credentials", 401),
    "owner_gone": ("authorization_error", "Unable to authorize user", 401),
    "token_expired": ("expired_token", "The access token provided has expired", 401),
    "scope_lost": (
        "insufficient_scope",
        "The request requires higher privileges than provided by the webhook token",
        403,
    ),
    "no_rest": ("ACCESS_DENIED", "REST API is available only on commercial plans", 403),
    "internal": ("INTERNAL_SERVER_ERROR", "Internal server error", 500),
    "refuse": ("ERROR_CORE", "The sandbox was told to refuse this", 400),
}
"""Kinds that are answers of the portal: code, text, HTTP status. ``refuse`` is for any other error."""
PAGES = {"page_500": 500, "page_502": 502, "page_504": 504}
"""Kinds that are pages of the frontend."""
KINDS: Mapping[str, str] = {
    **{kind: f"the error {error[0]}" for kind, error in ERRORS.items()},
    **{kind: f"an HTML page {status}; effect: the command ran" for kind, status in PAGES.items()},
    "cut_before": "the connection is cut, nothing ran",
    "cut_after": "it ran, then the connection is cut",
    "batch_cut": "the first `after` commands of a batch ran, then the connection is cut",
    "half_answer": "it ran, the connection is cut in the middle of the answer",
    "broken_json": "it ran, the answer is a whole HTTP answer with half a JSON text",
    "hang": "no answer until the client gives up (at most `hold` s); nothing ran",
    "late_answer": "it ran, the answer comes `hold` s later",
    "late_run": "it runs `hold` s later and then answers, whether or not the client still waits",
    "late_commit": "no answer (see hang), and it runs when `seconds` of the portal's clock have passed",
    "moved": "302 to `location`; nothing ran",
    "empty_result": "it ran, `result` is []",
    "garbage": "it ran, `result` is a text that means nothing",
    "odd_time": "it ran; `time.finish` is `value`, or without one `seconds` off, and `time.start` with it",
    "garbled": "it ran; in the row of its list whose id is `row` (None: in the first one) `field` has this `value`"
    ' (no field: the row itself; `row` is "*" and no field: the whole result)',
}
"""Every kind and what it does. Seconds of ``hold`` are real ones."""
OF_COMMANDS = frozenset({*ERRORS, "empty_result", "garbage", "garbled"})
"""Kinds that, drawn for a batch by chance, strike one of its commands."""
OF_REQUESTS = frozenset({"moved", "batch_cut"})
"""Kinds that never strike a command inside a batch."""
LEFT_OPEN = frozenset({*PAGES, "internal", "refuse"})
"""Kinds for which ``effect`` says whether the command ran."""
MISSING = "(missing)"
"""As the ``value`` of ``garbled``: the key is not there."""
GIVES_UP = 120.0
"""Longest that a hanging answer waits for the client to give up."""


def _number(row: Mapping[str, Any]) -> int | None:
    text = str(row.get("id", row.get("ID")))
    return int(text) if text.isdecimal() else None


class Broken(Exception):
    """How a fault ends an exchange otherwise than by an answer.

    Wait ``hold`` real seconds (None: until the client gives up), then send what ``then`` gives, or the first half of it
    and cut; without ``then``, cut the connection.
    """

    def __init__(
        self, *, hold: float | None = 0.0, then: Callable[[], Response] | None = None, half: bool = False
    ) -> None:
        super().__init__("the connection breaks")
        self.hold, self.then, self.half = hold, then, half


def _rows(result: Any) -> list[Any]:
    """The rows of a list's result, wherever they stand in it."""
    while isinstance(result, dict) and result:
        result = next((part for part in result.values() if isinstance(part, list)), next(iter(result.values())))
    return result if isinstance(result, list) else []


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong. ``kind`` is one of KINDS.

    ``effect``: the command ran though the answer does not say so. ``hold``: real seconds (None: until the client gives
    up). ``seconds``: of the portal's clock. ``after``: how many commands of a batch run before the cut. ``item``: which
    command of a batch is struck; None, the request itself. ``code``, ``text``, ``status``: of an error, where the
    usual ones shall not do.
    """

    kind: str
    effect: bool = False
    hold: float | None = None
    seconds: float = 0.0
    after: int | None = None
    item: int | None = None
    code: str | None = None
    text: str | None = None
    status: int | None = None
    location: str = ""
    row: int | str | None = None
    field: str = ""
    value: Any = None

    def garble(self, result: Any) -> Any:
        """A result with what ``garbled`` does to it; the same where there is no such row. ``MISSING``: no such key."""
        if self.row == "*" and not self.field:
            return self.value
        rows = _rows(result)
        for place, row in enumerate(rows):
            if isinstance(row, dict) and self.row in (None, "*", row.get("id"), row.get("ID"), _number(row)):
                rows[place] = self._changed(row)
                if self.row != "*":
                    break
        return result

    def _changed(self, row: dict[str, Any]) -> Any:
        if self.value == MISSING:
            return {name: one for name, one in row.items() if name != self.field}
        return {**row, self.field: self.value} if self.field else self.value

    def mistime(self, block: dict[str, Any]) -> dict[str, Any]:
        """A ``time`` block with what ``odd_time`` does to it."""
        if self.value is not None:
            return {**block, "finish": self.value}
        return {**block, **{name: block[name] + self.seconds for name in ("start", "finish")}}

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"there is no fault '{self.kind}', only {', '.join(sorted(KINDS))}")
        if self.effect and self.kind not in LEFT_OPEN:
            raise ValueError(f"'{self.kind}' says by itself whether the command ran")

    def error(self) -> RestError | None:
        """The error of the portal that this kind is, if it is one."""
        if self.kind not in ERRORS:
            return None
        code, text, status = ERRORS[self.kind]
        return RestError(
            code if self.code is None else self.code,
            text if self.text is None else self.text,
            self.status or status,
        )


@dataclass(frozen=True, slots=True)
class Struck:
    """A fault that struck: when (epoch seconds of the portal), which method, which kind."""

    at: float
    method: str
    kind: str


@dataclass(slots=True)
class _Armed:
    """A fault, or a choice of faults with their chances, with what it is to strike."""

    patterns: tuple[str, ...]
    faults: tuple[tuple[float, Fault], ...]
    left: int | None
    skip: int = 0
    rng: random.Random | None = None

    def matches(self, method: str, inside: bool) -> bool:
        """``*`` means requests alone: inside a batch a method has to be named."""
        return any(fnmatchcase(method, one) for one in self.patterns if not (inside and one == "*"))

    def draw(self, commands: int, inside: bool) -> Fault | None:
        """The fault for a matching call, if any."""
        if self.rng is None:
            chosen: Fault | None = self.faults[0][1]
            if self.skip:
                self.skip -= 1
                return None
        else:
            point, chosen = self.rng.random(), None
            place = self.rng.randrange(max(commands, 1))
            for chance, fault in self.faults:
                if point < chance:
                    chosen = self._aimed(fault, place, commands, inside)
                    break
                point -= chance
        if inside and chosen is not None and chosen.kind in OF_REQUESTS:
            return None
        if chosen is not None and self.left is not None:
            self.left -= 1
        return chosen

    def _aimed(self, fault: Fault, place: int, commands: int, inside: bool) -> Fault:
        if fault.kind == "batch_cut" and fault.after is None:
            return replace(fault, after=place)
        if fault.kind in OF_COMMANDS and commands and not inside and fault.kind != "too_many":
            return replace(fault, item=place)
        return fault


class Faults:
    """The faults that wait for a portal's calls, and those that have struck. Thread-safe."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._armed: list[_Armed] = []
        self._lock = threading.Lock()
        self.struck: list[Struck] = []

    def next(
        self, kind: str, method: str | Iterable[str] = "*", *, times: int | None = 1, skip: int = 0, **more: Any
    ) -> None:
        """Let the next ``times`` calls (None: all) of a method go wrong, after ``skip`` that do not.

        ``method`` is a name or a pattern as of a shell (or several); ``batch`` is a batch as a whole, other names also
        match commands inside batches, ``*`` matches requests alone. ``more``: attributes of :class:`Fault`.
        """
        self._arm(_Armed(_patterns(method), ((1.0, Fault(kind, **more)),), times, skip))

    def at_random(
        self,
        chances: Mapping[str, float],
        method: str | Iterable[str] = "*",
        *,
        seed: int,
        times: int | None = None,
        **more: Any,
    ) -> None:
        """Let calls go wrong by chance: ``chances`` maps kinds to probabilities of a matching call (sum at most 1).

        For the kinds that leave it open, ``page_502+`` means that the command ran. ``batch_cut`` cuts at a random
        command, errors strike a random command of a batch.
        """
        if sum(chances.values()) > 1:
            raise ValueError("the chances of faults add up to more than 1")
        faults = tuple(
            (chance, Fault(kind.removesuffix("+"), effect=kind.endswith("+"), **_fitting(kind, more)))
            for kind, chance in chances.items()
        )
        self._arm(_Armed(_patterns(method), faults, times, rng=random.Random(seed)))

    def clear(self, *kinds: str) -> None:
        """Take back every fault that has not struck, or those of some kinds; what struck stays on record."""
        with self._lock:
            self._armed = [one for one in self._armed if kinds and one.faults[0][1].kind not in kinds]

    def waiting(self) -> int:
        """How many orders have not been used up."""
        with self._lock:
            return len(self._armed)

    def counts(self) -> Counter[str]:
        """How often each kind has struck."""
        with self._lock:
            return Counter(one.kind for one in self.struck)

    def pick(self, method: str, *, commands: int = 0, inside: bool = False) -> Fault | None:
        """The fault for this call, if one waits: the oldest order that matches. ``commands``: size of a batch."""
        name = method.lower()
        with self._lock:
            for armed in self._armed:
                if not armed.matches(name, inside):
                    continue
                fault = armed.draw(commands, inside)
                self._armed = [one for one in self._armed if one.left is None or one.left > 0]
                if fault is not None:
                    self.struck.append(Struck(self._clock(), name, fault.kind))
                    return fault
            return None

    def missed(self, method: str, kind: str) -> None:
        """The newest strike of a kind at a method found nothing to spoil: it is no strike."""
        with self._lock:
            for place in range(len(self.struck) - 1, -1, -1):
                if (self.struck[place].method, self.struck[place].kind) == (method.lower(), kind):
                    del self.struck[place]
                    return

    def _arm(self, armed: _Armed) -> None:
        with self._lock:
            self._armed.append(armed)


def _patterns(method: str | Iterable[str]) -> tuple[str, ...]:
    return tuple(one.lower() for one in ([method] if isinstance(method, str) else method))


def _fitting(kind: str, more: Mapping[str, Any]) -> dict[str, Any]:
    """What of the common attributes a kind looks at, so that one order can serve several kinds."""
    wanted = {
        "hang": {"hold"},
        "late_answer": {"hold"},
        "late_run": {"hold"},
        "late_commit": {"hold", "seconds"},
        "moved": {"location"},
        "batch_cut": {"after"},
    }.get(kind, {"code", "text", "status"} if kind.removesuffix("+") == "refuse" else set())
    return {name: value for name, value in more.items() if name in wanted}
