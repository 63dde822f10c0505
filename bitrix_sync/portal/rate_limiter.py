"""How fast one may ask: the portal's leaky bucket and the operating time of each method.

Docs: settings/performance/limits.md. The counter grows by one a request (a batch is one), shrinks by ``rate`` a
second, and above ``size`` the portal refuses. A slot is charged before the bytes leave, so a crash never leaves us
believing that the bucket is emptier than it is. Moments are epoch seconds of our own clock, which is never set.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bitrix_sync.clock import Clock
from bitrix_sync.errors import PortalError

LIMIT, STOP_AT = 480.0, 470.0
"""Operating seconds from which on the portal refuses a method, and at which we stop by ourselves."""
RESERVE = 20.0
"""Of these so many are kept for urgent work."""
WINDOW = 600.0
"""Seconds in which a method may use its operating time."""
LATEST_RESET = WINDOW + 60.0
"""A reset that is told for later than in so many seconds is not believed."""
BAN = 300.0
"""Newer portals ban a method for so long; assumed when a refusal does not tell."""
SAME_WINDOW = 2.0
"""Moments of a method's reset that lie no further apart are the same one."""
SPARE = 1.0
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
SINCE_NOTED = 10.0
"""The level is noted every few seconds: what a process sent after that is not in it."""
SLICE = 1.0
"""Longest sleep at a stretch, so that a stop is heard."""


class Stopped(PortalError):
    """The service is stopping; nothing was sent."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What is left to spend. ``free`` requests may go at once; ``held_until`` after a refusal; ``blocked``: method →
    until when; ``operating``: method → seconds used in its window."""

    free: float
    size: int
    rate: float
    held_until: float | None
    blocked: Mapping[str, float]
    operating: Mapping[str, float]


class RateLimiter:
    """One per portal; thread-safe. ``sleep`` takes seconds; when a ``stop`` event is set, waiting ends with Stopped."""

    def __init__(
        self,
        rate: float,
        size: int,
        *,
        clock: Callable[[], float] | None = None,
        sleep: Callable[[float], object] | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        if rate <= 0 or size < 1:
            raise ValueError("rate and size of the bucket are above zero")
        self.rate, self.size = float(rate), int(size)
        self._room = max(1.0, self.size - self.rate - SPARE)
        """What may be in the bucket by our count. The portal takes a second's drain off at once, so its count may be
        that much higher, and requests may reach it closer together than they left."""
        self._clock, self._stop = clock or Clock().seconds, stop or threading.Event()
        self._sleep: Callable[[float], object] = sleep or self._stop.wait
        self._lock = threading.Lock()
        self._level, self._at = 0.0, self._clock()
        self._held_until, self._pause = 0.0, 0.0
        self._operating: dict[str, tuple[float, float]] = {}
        self._costs: dict[str, float] = {}
        self._banned: dict[str, float] = {}

    @property
    def level(self) -> float:
        """Requests in the bucket now."""
        with self._lock:
            self._drain()
            return self._level

    def restore(self, level: float, ago: float, *, final: bool = False) -> None:
        """Take over from an earlier process that noted ``level`` so many seconds ago. Unless that was ``final``, it may
        have sent much since, so the bucket counts as full until shortly after that moment, and drains from there."""
        with self._lock:
            self._drain()
            idle = max(0.0, ago if final else ago - SINCE_NOTED)
            assumed = (level if final else max(float(self.size), level)) - idle * self.rate
            self._level = max(self._level, min(float(self.size), assumed), 0.0)

    def take(self, *, charge: bool = True) -> float:
        """Charge one slot: 0.0 when it is ours, else seconds after which to ask again. Never waits. Raises Stopped.
        Without ``charge``: only whether there is one."""
        if self._stop.is_set():
            raise Stopped("stopping")
        with self._lock:
            self._drain()
            now = self._clock()
            if now < self._held_until:
                return self._held_until - now
            if self._level + 1 > self._room + 1e-9:
                return max((self._level + 1 - self._room) / self.rate, 1e-3)
            self._level += charge
            return 0.0

    def wait(self) -> None:
        """Obtain one slot, however long it takes. Raises Stopped."""
        while delay := self.take():
            self.rest(delay)

    def await_slot(self) -> None:
        """Wait until a slot is free and leave it there: what is noted as being sent then leaves at once. Raises
        Stopped."""
        while delay := self.take(charge=False):
            self.rest(delay)

    def rest(self, seconds: float) -> None:
        """Sleep, in slices. Raises Stopped."""
        until = self._clock() + seconds
        while (left := until - self._clock()) > 0:
            if self._stop.is_set():
                raise Stopped("stopping")
            self._sleep(min(left, SLICE))
        if self._stop.is_set():
            raise Stopped("stopping")

    def note_overflow(self) -> float:
        """The portal says that the bucket ran over (others may share it): count it as full and hold, each time twice as
        long. Returns the moment from which one may ask again."""
        with self._lock:
            self._drain()
            self._level = float(self.size)
            now = self._clock()
            if now >= self._held_until:
                self._pause = min(max(FIRST_PAUSE, 2 * self._pause), LONGEST_PAUSE)
                self._held_until = now + self._pause
            return self._held_until

    def note_answer(self) -> None:
        """The portal took a request: the next refusal begins with a short pause again."""
        with self._lock:
            self._pause = 0.0

    def note(self, method: str, operating: float | None, reset_at: float | None) -> None:
        """The latest account of a method, as its answer told it; it already is a sum."""
        if operating is None:
            return
        with self._lock:
            name, now = method.lower(), self._clock()
            until = reset_at if reset_at is not None and reset_at <= now + LATEST_RESET else now + 2 * BAN
            used, before = self._operating.get(name, (0.0, 0.0))
            if operating > used and abs(until - before) < SAME_WINDOW:
                self._costs[name] = max(operating - used, 0.9 * self._costs.get(name, 0.0))
            self._operating[name] = (operating, until)

    def cost(self, method: str) -> float:
        """Operating seconds of one call, as the last ones showed; 0.0: nobody knows."""
        with self._lock:
            return self._costs.get(method.lower(), 0.0)

    def room(self, method: str) -> int | None:
        """How many calls of a method that does not rest fit into its operating time, one at least, for the call that
        passes the limit is still taken; None: nobody knows what they cost.

        When its window has passed, only what was used in the window's first minute is free again, and how much that is
        the next answer tells: until then there is room below the limit alone.
        """
        with self._lock:
            name = method.lower()
            cost = self._costs.get(name, 0.0)
            if cost <= 0:
                return None
            used, until = self._operating.get(name, (0.0, 0.0))
            limit = STOP_AT if until > self._clock() else LIMIT
            return max(1, int((limit - used) / cost))

    def ban(self, method: str, reset_at: float | None = None) -> float:
        """The portal refuses the method; returns until when."""
        with self._lock:
            now = self._clock()
            if reset_at is None or not now < reset_at <= now + LATEST_RESET:
                known = self._operating.get(method.lower(), (0.0, 0.0))[1]
                reset_at = known if known > now else now + BAN
            self._banned[method.lower()] = reset_at
            return reset_at

    def use_of(self, method: str) -> tuple[float, float]:
        """Operating seconds that a method has used in its window, and how many seconds the window still lasts."""
        with self._lock:
            used, reset = self._operating.get(method.lower(), (0.0, 0.0))
            left = reset - self._clock()
            return (used, left) if left > 0 else (0.0, 0.0)

    def resting_until(self, method: str, *, reserve: float = 0.0) -> float | None:
        """Until when the method rests; None: it may be called. ``reserve``: leave so many operating seconds unused."""
        with self._lock:
            return self._resting_until(method.lower(), self._clock(), reserve)

    def budget(self) -> Budget:
        """The account, for status and metrics."""
        with self._lock:
            self._drain()
            now = self._clock()
            names = self._operating.keys() | self._banned.keys()
            blocked = {name: until for name in sorted(names) if (until := self._resting_until(name, now)) is not None}
            operating = {name: used for name, (used, reset) in self._operating.items() if reset > now}
            held = self._held_until if self._held_until > now else None
            return Budget(max(0.0, self._room - self._level), self.size, self.rate, held, blocked, operating)

    def _resting_until(self, name: str, now: float, reserve: float = 0.0) -> float | None:
        banned = self._banned.get(name, 0.0)
        used, reset = self._operating.get(name, (0.0, 0.0))
        until = max(banned, reset if used >= STOP_AT - reserve else 0.0)
        return until if until > now else None

    def _drain(self) -> None:
        now = self._clock()
        self._level = max(0.0, self._level - max(0.0, now - self._at) * self.rate)
        self._at = now
