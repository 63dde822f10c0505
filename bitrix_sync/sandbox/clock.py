"""The sandbox portal's clock: the machine's time shifted at will, or standing still."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo


class Clock:
    """What the portal believes the time is. Moments given are aware; ``now()`` is in the server's zone.

    Running, it is the machine's time plus an offset that ``set`` and ``advance`` change; frozen, it moves only by them.
    Thread-safe. The clock may be turned back, as a real server's may.
    """

    def __init__(self, start: datetime | None = None, *, zone: tzinfo | str = "Europe/Moscow") -> None:
        self.zone: tzinfo = ZoneInfo(zone) if isinstance(zone, str) else zone
        self._lock = threading.Lock()
        self._offset = 0.0
        self._frozen: float | None = None
        if start is not None:
            self.set(start)

    @property
    def frozen(self) -> bool:
        """Whether it stands still."""
        return self._frozen is not None

    def timestamp(self) -> float:
        """Now, in epoch seconds."""
        with self._lock:
            return self._now()

    def now(self) -> datetime:
        """Now, aware, in the server's zone."""
        return datetime.fromtimestamp(self.timestamp(), UTC).astimezone(self.zone)

    def set(self, moment: datetime) -> None:
        """Make it ``moment``; a frozen clock stays frozen there. Raises ValueError for a naive moment."""
        if moment.tzinfo is None:
            raise ValueError(f"the clock needs a moment with its zone, not {moment.isoformat()}")
        with self._lock:
            self._shift(moment.timestamp() - self._now())

    def advance(self, step: timedelta | float) -> None:
        """Move on by a time span or by seconds."""
        seconds = step.total_seconds() if isinstance(step, timedelta) else float(step)
        with self._lock:
            self._shift(seconds)

    def freeze(self) -> None:
        """Stand still from now on."""
        with self._lock:
            self._frozen = self._now()

    def run(self) -> None:
        """Go on from where the clock stands."""
        with self._lock:
            if self._frozen is not None:
                self._offset = self._frozen - time.time()
                self._frozen = None

    def _now(self) -> float:
        return time.time() + self._offset if self._frozen is None else self._frozen

    def _shift(self, seconds: float) -> None:
        if self._frozen is None:
            self._offset += seconds
        else:
            self._frozen += seconds
