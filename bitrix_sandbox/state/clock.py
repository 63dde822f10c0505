"""The sandbox portal's clock: the machine's time shifted at will, or standing still; and jobs that wait for it."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import count
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
        self._watchers: list[Callable[[], None]] = []
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
        with self._lock:
            self._shift(_aware(moment).timestamp() - self._now())
        self._tell()

    def advance(self, step: timedelta | float) -> None:
        """Move on by a time span or by seconds."""
        seconds = step.total_seconds() if isinstance(step, timedelta) else float(step)
        with self._lock:
            self._shift(seconds)
        self._tell()

    def freeze(self, at: datetime | None = None) -> None:
        """Stand still from now on, or at a moment."""
        with self._lock:
            self._frozen = self._now() if at is None else _aware(at).timestamp()
        self._tell()

    def run(self) -> None:
        """Go on from where the clock stands."""
        with self._lock:
            if self._frozen is not None:
                self._offset = self._frozen - time.time()
                self._frozen = None
        self._tell()

    def watch(self, called: Callable[[], None]) -> None:
        """Have ``called`` run after each turn of the clock, in the thread that turned it."""
        self._watchers.append(called)

    def unwatch(self, called: Callable[[], None]) -> None:
        """Take :meth:`watch` back."""
        self._watchers.remove(called)

    def _now(self) -> float:
        return time.time() + self._offset if self._frozen is None else self._frozen

    def _shift(self, seconds: float) -> None:
        if self._frozen is None:
            self._offset += seconds
        else:
            self._frozen += seconds

    def _tell(self) -> None:
        for called in list(self._watchers):
            called()


def _aware(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError(f"the clock needs a moment with its zone, not {moment.isoformat()}")
    return moment


class Agenda:
    """Jobs that run one after another in a thread of their own, each when the clock has come to its moment.

    Jobs due at once run in the order given. A job must not raise. Jobs whose moment has not come when the agenda closes
    are dropped.
    """

    def __init__(self, clock: Clock, name: str) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._wake = threading.Condition()
        self._running = threading.Lock()
        """Held while a job is chosen and run, so that jobs never overlap nor overtake each other."""
        self._closed = False
        self._busy = False
        clock.watch(self._stir)
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def add(self, job: Callable[[], None], *, after: float = 0.0) -> None:
        """Run ``job`` when ``after`` seconds of the clock have passed."""
        with self._wake:
            heapq.heappush(self._heap, (self._clock.timestamp() + after, next(self._numbers), job))
            self._wake.notify_all()

    def run_due(self) -> None:
        """Run what is due, here and now; the caller holds no lock that a job needs."""
        while True:
            with self._running:
                job = self._take()
                if job is None:
                    return
                self._run(job)

    def waiting(self) -> int:
        """Jobs that have not run, those of the future too."""
        with self._wake:
            return len(self._heap) + self._busy

    def settle(self, timeout: float) -> bool:
        """Wait until nothing that is due is left; False if that took longer than ``timeout`` real seconds."""
        with self._wake:
            return self._wake.wait_for(lambda: not self._busy and not self._is_due(), timeout)

    def close(self) -> None:
        """End the thread, after the job that runs."""
        self._clock.unwatch(self._stir)
        with self._wake:
            self._closed = True
            self._wake.notify_all()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._wake:
                while not self._closed and not self._is_due():
                    self._wake.wait(self._pause())
                if self._closed:
                    return
            self.run_due()

    def _take(self) -> Callable[[], None] | None:
        with self._wake:
            if self._closed or not self._is_due():
                return None
            self._busy = True
            return heapq.heappop(self._heap)[2]

    def _run(self, job: Callable[[], None]) -> None:
        try:
            job()
        finally:
            with self._wake:
                self._busy = False
                self._wake.notify_all()

    def _is_due(self) -> bool:
        return bool(self._heap) and self._heap[0][0] <= self._clock.timestamp()

    def _pause(self) -> float | None:
        if not self._heap or self._clock.frozen:
            return None
        return max(0.0, self._heap[0][0] - self._clock.timestamp())

    def _stir(self) -> None:
        with self._wake:
            self._wake.notify_all()
