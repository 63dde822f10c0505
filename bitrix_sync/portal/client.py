"""The client of one portal: one road, one pace, every answer judged.

``call`` and ``batch`` never repeat anything: they tell what became of each command. ``read`` is for readings, which may
be repeated. Moments given as floats are epoch seconds of our own clock, which is never set (``bitrix_sync.clock``).
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog

from bitrix_sync import __version__
from bitrix_sync.clock import Clock
from bitrix_sync.errors import PortalError, PortalRefused, SettingError
from bitrix_sync.model.actions import Kind
from bitrix_sync.model.facts import Unread
from bitrix_sync.model.webhook import WebhookUrl
from bitrix_sync.portal.dialect.commands import BATCH_LIMIT, Command, batch_line, fits_batch
from bitrix_sync.portal.dialect.error_text import explain
from bitrix_sync.portal.dialect.outcomes import (
    GARBAGE,
    OPERATION_LIMIT,
    QUERY_LIMIT,
    Outcome,
    batch_key,
    lost_answer,
    not_sent,
    read_answer,
    read_batch,
)
from bitrix_sync.portal.dialect.writing import METHODS
from bitrix_sync.portal.http import CONNECT_SECONDS, READ_SECONDS, HttpConnection, NoReply, Reply, trusted
from bitrix_sync.portal.rate_limiter import RateLimiter, Stopped
from bitrix_sync.portal.read_hints import BadRows, ReadHints
from bitrix_sync.portal.timing import PortalClock

__all__ = ["Command", "Outcome", "Portal", "Stats"]

log = structlog.get_logger(__name__)

PATIENCE = 20.0
"""Seconds that a reading tries before it gives up; the service begins anew by itself, and says meanwhile why."""
FIRST_DELAY, LONGEST_DELAY = 0.5, 15.0
NO_CONNECTION_PAUSE = 1.0
CUT = 1.0
"""The portal tells the end of a window in whole seconds: it may come so much later."""
LONGEST_WINDOW = 3600.0
"""Seconds after which any window of operating time is over."""
CLOCK = "server.time"
"""Open to every webhook; asked for nothing but the time of its answer."""
REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(slots=True)
class Stats:
    """What went over the road since the start."""

    requests: int = 0
    commands: int = 0
    seconds: float = 0.0
    trouble: int = 0
    """Requests that brought no whole answer, or a refusal to serve us now."""


class Portal:
    """One portal through one incoming webhook. ``rate`` is (requests a second, size of the bucket). ``on_request`` is
    called before each request waits for its slot, ``on_answer`` after it; ``fence`` raises LeaseLost when no more may
    leave. ``ca_file`` holds certificates to believe beside the usual ones. ``patience``: see there. Thread-safe, one
    request at a time."""

    def __init__(
        self,
        url: str,
        *,
        rate: tuple[float, int] = (2.0, 50),
        clock: Callable[[], float] | None = None,
        sleep: Callable[[float], object] | None = None,
        stop: threading.Event | None = None,
        user_agent: str = f"bitrix-sync/{__version__}",
        on_request: Callable[[], None] | None = None,
        on_answer: Callable[[], None] | None = None,
        timeouts: tuple[float, float] = (CONNECT_SECONDS, READ_SECONDS),
        ca_file: Path | None = None,
        fence: Callable[[], None] = lambda: None,
        patience: float = float("inf"),
    ) -> None:
        try:
            self.webhook = WebhookUrl(url)
        except ValueError as error:
            raise SettingError(f"the webhook's address {error}; copy it from the portal") from None
        self.clock = clock or Clock().seconds
        self.patience = patience
        """Seconds that no reading tries for longer, whatever patience it asks for."""
        self.timeouts = timeouts
        """Seconds for a connection and for a byte; their sum is what a whole exchange may take."""
        self.trust = trusted(ca_file)
        """Whose certificates are believed."""
        self._wire = HttpConnection(user_agent, connect=timeouts[0], read=timeouts[1], trust=self.trust, fence=fence)
        self._on_request, self._on_answer = on_request, on_answer
        self._time = PortalClock()
        self.user_agent = user_agent
        self.rate_limiter = RateLimiter(rate[0], rate[1], clock=self.clock, sleep=sleep, stop=stop)
        self.stats = Stats()
        self.memory = ReadHints(BadRows(self.clock))
        self.last_seconds = 0.0
        """How long the last call was under way, or the longest request of the last batch."""

    def __repr__(self) -> str:
        return f"<Portal {self.host}>"

    @property
    def host(self) -> str:
        """The portal's name, fit to be shown."""
        return self.webhook.host

    @property
    def self_id(self) -> int:
        """The webhook's own user, as its address names him."""
        return self.webhook.user_id

    @property
    def offset(self) -> timedelta:
        """The portal's clock minus ours."""
        return timedelta(seconds=self._time.offset)

    @property
    def clock_known(self) -> bool:
        """True once an answer has told the portal's time."""
        return self._time.best is not None

    @property
    def address(self) -> str:
        """Where people open the portal, ``https://portal``; links begin with it."""
        return self.webhook.root

    @property
    def utc_offset(self) -> int:
        """Seconds east of UTC in which the portal's server writes its times."""
        return self._time.utc_offset

    def now(self) -> datetime:
        """The portal's time, aware UTC."""
        return datetime.fromtimestamp(self.clock() + self._time.offset, UTC)

    def blocked_kinds(self) -> frozenset[Kind]:
        """Kinds of operations that need not be tried now: their method has used up its operating time."""
        return frozenset(
            kind for kind, method in METHODS.items() if self.rate_limiter.resting_until(method) is not None
        )

    @contextlib.contextmanager
    def in_haste(self, seconds: float) -> Iterator[None]:
        """Meanwhile no answer is waited for longer than that. For readings: a write may still be carried out."""
        with self._wire.in_haste(seconds):
            yield

    def close(self) -> None:
        """Close the connection."""
        self._wire.close()

    # --- sending -------------------------------------------------------------------------------------------------

    def call(self, command: Command) -> Outcome:
        """Send one command alone, as JSON. What the pacer forbids (the method rests, we are stopping) is ``again``."""
        self.last_seconds = 0.0
        return self._call(command)

    def _call(self, command: Command) -> Outcome:
        if (until := self.rate_limiter.resting_until(command.method)) is not None:
            return _resting(until)
        outcome, _ = self._request(command.method, command.params)
        outcome = self.account(command.method, outcome)
        self.stats.commands += 1
        return outcome

    def batch(self, commands: Sequence[Command]) -> list[Outcome]:
        """Send commands, fifty in one request, and judge each by itself; outcomes in the order of the commands. What
        cannot travel in a batch goes alone after the others. Commands that refer to each other (``k0``, ``k1``, ... in
        their order here) go in one batch or not at all."""
        self.last_seconds = 0.0
        if any(command.refers for command in commands):
            return self._chain(commands)
        outcomes: dict[int, Outcome] = {}
        going: list[int] = []
        alone: list[int] = []
        for index, command in enumerate(commands):
            if (until := self.rate_limiter.resting_until(command.method)) is not None:
                outcomes[index] = _resting(until)
            else:
                (going if fits_batch(command) else alone).append(index)
        for begin in range(0, len(going), BATCH_LIMIT):
            part = going[begin : begin + BATCH_LIMIT]
            outcomes |= zip(part, self._together([commands[index] for index in part]), strict=True)
        for index in alone:
            outcomes[index] = self._call(commands[index])
        return [outcomes[index] for index in range(len(commands))]

    def _together(self, commands: Sequence[Command]) -> list[Outcome]:
        """Commands that fit one batch; a single one needs none."""
        return self._send_batch(commands) if len(commands) > 1 else [self._call(commands[0])]

    def read(self, commands: Sequence[Command], *, optional: bool = False, patience: float = PATIENCE) -> list[Outcome]:
        """Outcomes of readings, all ``done`` (with ``optional``: or each not, for itself).

        What did not run, or may not have, is asked again with growing pauses for ``patience`` seconds; a portal that
        answers nonsense does not come to its senses by long waiting: then it is ``PATIENCE`` at most. Raises
        PortalRefused (what an administrator must do) or PortalError (try later). With ``optional`` only what concerns
        the whole portal is raised: a refusal of everything, or that it answers nothing at all.
        """
        reading = _Reading(commands)
        patience = min(patience, self.patience)
        begun = self.clock()
        delay = FIRST_DELAY
        while True:
            for command, outcome in reading.note(self.batch(reading.asked())):
                self._raise_refusal(command, outcome, optional)
            if not reading.left:
                return reading.ends()
            wait = max(delay, reading.rest(self.clock()))
            if self.clock() + wait > begun + (min(patience, PATIENCE) if reading.nonsense else patience):
                if optional and reading.heard:
                    return reading.ends()
                raise self.fault(*reading.first_left())
            self.rate_limiter.rest(wait)
            delay = min(2 * delay, LONGEST_DELAY)

    def read_one(self, command: Command, *, optional: bool = False, patience: float = PATIENCE) -> Outcome:
        """The same for one command."""
        return self.read([command], optional=optional, patience=patience)[0]

    # --- the account ---------------------------------------------------------------------------------------------

    def count(self, outcome: Outcome, seconds: float) -> None:
        """Note one request that went out."""
        self.stats.requests += 1
        self.stats.seconds += seconds
        self.stats.trouble += outcome.kind in ("again", "unknown")
        if self._on_answer is not None:
            self._on_answer()

    def account(self, method: str, outcome: Outcome) -> Outcome:
        """Tell the pacer what an answer says about our pace; gives refusals the moment at which to ask again."""
        reset_at = None if outcome.reset_at is None else outcome.reset_at + CUT - self._time.offset
        if reset_at is not None and reset_at > self.clock() + LONGEST_WINDOW:
            reset_at = None  # no window is as long: nobody must rest for years because of one garbled number
        code = outcome.code.lower()
        if outcome.kind == "again" and code == QUERY_LIMIT:
            return replace(outcome, retry_at=self.rate_limiter.note_overflow())
        if outcome.kind == "again" and code == OPERATION_LIMIT:
            return replace(outcome, retry_at=self.rate_limiter.ban(method, reset_at))
        self.rate_limiter.note(method, outcome.operating, reset_at)
        if outcome.kind in ("done", "refused"):
            self.rate_limiter.note_answer()
        return outcome

    # --- inside --------------------------------------------------------------------------------------------------

    def _chain(self, commands: Sequence[Command]) -> list[Outcome]:
        if len(commands) > BATCH_LIMIT:
            raise ValueError(f"a chain has {BATCH_LIMIT} commands at most")
        resting = [
            until for command in commands if (until := self.rate_limiter.resting_until(command.method)) is not None
        ]
        return [_resting(max(resting)) for _ in commands] if resting else self._send_batch(commands)

    def _send_batch(self, commands: Sequence[Command]) -> list[Outcome]:
        if (until := self.rate_limiter.resting_until("batch")) is not None:
            return [_resting(until) for _ in commands]
        lines = {batch_key(index): batch_line(command) for index, command in enumerate(commands)}
        whole, envelope = self._request("batch", {"halt": 0, "cmd": lines})
        self.stats.commands += len(commands)
        self.account("batch", whole)
        if not whole.done:
            return [replace(whole, value=None) for _ in commands]
        outcomes = read_batch(envelope, [command.method for command in commands], now=self.clock())
        return [self.account(command.method, one) for command, one in zip(commands, outcomes, strict=True)]

    def _request(self, method: str, params: Mapping[str, Any]) -> tuple[Outcome, Mapping[str, Any]]:
        """One request through the rate limiter; a renamed portal is followed once, for a redirect did not run. A clock
        that is suddenly far from what was known is asked for at once, for what comes next is decided by its time."""
        sure = self._time.doubted is None
        outcome, envelope, location = self._exchange(method, params)
        if location and (moved := self.webhook.moved(location, method)):
            log.warning("the portal has a new name; write it into the webhook's address", old=self.host, new=moved.host)
            self.webhook = moved
            outcome, envelope, _ = self._exchange(method, params)
        if sure and self._time.doubted is not None:
            self._exchange(CLOCK, {})
        return outcome, envelope

    def _exchange(self, method: str, params: Mapping[str, Any]) -> tuple[Outcome, Mapping[str, Any], str]:
        """One POST: its outcome, its envelope, and where it was redirected to ("" if it was not)."""
        if self._on_request is not None:
            self._on_request()
        try:
            self.rate_limiter.wait()
        except Stopped:
            return not_sent("the service is stopping", code="stopping"), {}, ""
        sent = self.clock()
        reply = self._wire.post(self.webhook, method, params)
        received = self.clock()
        self.last_seconds = max(self.last_seconds, received - sent)
        outcome, envelope, location = self._judge(reply, method, received)
        self._time.learn(envelope.get("time"), sent=sent, received=received)
        self.count(outcome, received - sent)
        return outcome, envelope, location

    @staticmethod
    def _judge(reply: Reply | NoReply, method: str, now: float) -> tuple[Outcome, Mapping[str, Any], str]:
        if isinstance(reply, NoReply):
            if reply.left:
                return lost_answer(reply.text), {}, ""
            return not_sent(reply.text, code="no_connection", retry_at=now + NO_CONNECTION_PAUSE), {}, ""
        if reply.status in REDIRECTS:
            return Outcome("refused", code="redirect", text=f"HTTP {reply.status}", fatal=True), {}, reply.location
        outcome, envelope = read_answer(reply.status, reply.body, method=method, now=now)
        return outcome, envelope, ""

    def _raise_refusal(self, command: Command, outcome: Outcome, optional: bool) -> None:
        if outcome.code == "stopping":
            raise Stopped("the service is stopping")
        if outcome.kind == "refused" and (outcome.fatal or not optional):
            raise self.fault(command.method, outcome)

    def fault(self, method: str, outcome: Outcome) -> PortalError:
        """What a reading raises for an outcome that is not ``done``."""
        text = explain(self.host, method, outcome)
        if outcome.kind == "refused" or outcome.code.lower() == "expired_token":
            return PortalRefused(outcome.code, text)
        return PortalError(text)

    def as_unread(self, method: str, outcome: Outcome) -> Unread:
        """The same as the end of a reading without which others go on."""
        return Unread(outcome.code.lower() or outcome.kind, explain(self.host, method, outcome))


class _Reading:
    """Commands that are being read; ``left``: places of those that did not run, or may not have, and are asked again,
    with all that refer to each other."""

    def __init__(self, commands: Sequence[Command]) -> None:
        self._commands = commands
        self._chained = any(command.refers for command in commands)
        self._outcomes: dict[int, Outcome] = {}
        self.left = list(range(len(commands)))

    def asked(self) -> list[Command]:
        """What is to be sent now."""
        return [self._commands[place] for place in self._places()]

    def note(self, answers: Sequence[Outcome]) -> list[tuple[Command, Outcome]]:
        """What became of it."""
        asked, places = self.asked(), self._places()
        self._outcomes.update(zip(places, answers, strict=True))
        self.left = [place for place in places if self._outcomes[place].kind in ("again", "unknown")]
        return list(zip(asked, answers, strict=True))

    def _places(self) -> list[int]:
        return list(range(len(self._commands))) if self._chained else self.left

    @property
    def heard(self) -> bool:
        """True when the portal answered any of them."""
        return any(outcome.heard for outcome in self._outcomes.values())

    @property
    def nonsense(self) -> bool:
        """True when an answer to something that is left made no sense."""
        return any(self._outcomes[place].code == GARBAGE for place in self.left)

    def rest(self, now: float) -> float:
        """Seconds until all that is left may be asked again."""
        return max((self._outcomes[place].retry_at or 0.0) - now for place in self.left)

    def first_left(self) -> tuple[str, Outcome]:
        """The first that is left, by its method."""
        return self._commands[self.left[0]].method, self._outcomes[self.left[0]]

    def ends(self) -> list[Outcome]:
        """The outcomes in the order of the commands."""
        return [self._outcomes[place] for place in range(len(self._commands))]


def _resting(until: float) -> Outcome:
    return not_sent("the method has used up its operating time", code=OPERATION_LIMIT, retry_at=until)
