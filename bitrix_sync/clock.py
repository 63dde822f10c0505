"""The time of this process: it begins as the machine's clock says and runs on by what only ever goes forward.

Whatever rests, ages, pauses, is paced or leased is measured by it, so a clock that is set, back or forward, moves none
of it. A machine's sleep counts as time passed, for it passed in the portal too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime


def _steady() -> float:
    """Seconds since some moment, those asleep included where the system tells them."""
    sleeping = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if sleeping is None else time.clock_gettime(sleeping)


class Clock:
    """Call it for this process's time. ``wall`` (epoch seconds) and ``steady`` (seconds since some moment, never
    backwards) are what it is made of."""

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = _steady) -> None:
        self._wall, self._steady = wall, steady
        self.base = wall() - steady()
        """When ``steady`` was nought, epoch seconds. Of two processes of one boot, the difference says how far the
        machine's clock was set between their beginnings."""

    @classmethod
    def driven(cls, moment: Callable[[], datetime]) -> Clock:
        """One that goes as something else does: a simulated time, a sandbox's."""

        def seconds() -> float:
            return moment().timestamp()

        return cls(seconds, seconds)

    def seconds(self) -> float:
        """This process's time, epoch seconds."""
        return self.base + self._steady()

    def __call__(self) -> datetime:
        """The same, aware UTC."""
        return datetime.fromtimestamp(self.seconds(), UTC)

    def wall(self) -> datetime:
        """What the machine's clock says now: for what other processes compare with theirs."""
        return datetime.fromtimestamp(self._wall(), UTC)
