"""The service as it runs, in simulated time: its worker, timers that follow the timeline, events as they are raised."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

from bitrix_sync.app import RENEW_SECONDS, Service, WakeSignal
from bitrix_sync.log import configure
from bitrix_sync.model.operations import State
from bitrix_sync.settings import load_settings
from bitrix_sync.sweeps.state import DONE
from tests.bench.process import serve
from tests.bench.timeline import HEARD, Timeline

RULES = """
version: 1
language: en
timezone: Europe/Moscow
admins: [1]
calendar: {hours: "09:00-18:00"}
fallback_owner: 1
safety: {max_new_tasks: 100000, max_moves: 100000}
funnels:
  Продажи:
    Презентация:
      - id: bench
        title: "Bench: {{ deal.TITLE }}"
        deadline: {after: 2 workdays}
"""
SWEEPS = """
overdue:
  tasks: deals
  morning: {at: "10:10", move_to: {after: 1 workday}}
"""
LONGEST = 43_200.0
"""Seconds after which a run ends though it has not done its work: then something is lost."""
UNFINISHED = (State.PLANNED, State.SENDING, State.UNKNOWN)


class SimulatedBell(WakeSignal):
    """Rung by what the portal raised; waiting moves the time on, and the lease is renewed by it."""

    def __init__(self, service: Service, timeline: Timeline) -> None:
        super().__init__()
        self.service, self.timeline = service, timeline
        self.renewed = timeline.now()
        self.heard = tuple(timeline.counts())
        self.finished: Callable[[], bool] = lambda: False

    def listen(self) -> None:
        """Hear what has happened since the last time."""
        if self.timeline.now() >= self.renewed + RENEW_SECONDS:
            self.service.renew_lease()
            self.renewed = self.timeline.now()
        counts = tuple(self.timeline.counts())
        for name, before, now in zip(HEARD, self.heard, counts, strict=True):
            if now > before:
                self.service.wake(name)
        self.heard = counts

    def has_reason(self, apart: frozenset[str] = frozenset()) -> bool:
        self.listen()
        return super().has_reason(apart)

    def take(self, timeout: float) -> set[str]:
        self.listen()
        if not self.has_reason() and timeout > 0:
            if self.finished():
                self.service.stop()
            else:
                self.timeline.advance(timeout)
        return super().take(0.0)


class Run:
    """One life of the service on the timeline. ``sweeps``: it moves what is overdue."""

    def __init__(self, folder: Path, url: str, *, sweeps: bool = False) -> None:
        self.timeline = Timeline(folder / "time")
        rules = folder / "rules.yaml"
        rules.write_text(RULES + (SWEEPS if sweeps else ""), encoding="utf-8")
        environ = {
            "BITRIX_WEBHOOK_URL": url,
            "BITRIX_RULES": str(rules),
            "DATABASE_URL": f"sqlite:///{folder / 'store.db'}",
        }
        self.service = Service(load_settings(environ, None), clock=self.timeline.moment, sleep=self.timeline.advance)
        self.wake_signal = self.service.wake_signal = SimulatedBell(self.service, self.timeline)

    def start(self) -> None:
        """Take the lease, read the portal for the first time."""
        assert self.service.take_lease()
        self.service.open()

    def work(self, done: int) -> None:
        """Run until so many operations have ended and none waits."""

        def finished() -> bool:
            counts = self.service.store.counts()
            return counts.get(State.DONE, 0) >= done and not any(counts.get(state) for state in UNFINISHED)

        self.until(finished)

    def sweep(self) -> None:
        """Run until the sweep that is due is through, with all that it tells."""
        store = self.service.store

        def finished() -> bool:
            return any(row.state == DONE for row in store.sweeps(limit=1)) and not any(
                store.counts().get(state) for state in UNFINISHED
            )

        self.until(finished)

    def rest(self, seconds: float) -> None:
        """Run for so long."""
        until = self.timeline.now() + seconds
        self.until(lambda: self.timeline.now() >= until)

    def until(self, finished: Callable[[], bool]) -> None:
        """Let the worker work until then, or for half a day."""
        tired = self.timeline.now() + LONGEST
        self.wake_signal.finished = lambda: finished() or self.timeline.now() >= tired
        self.service.stopping.clear()
        self.service.work()


if __name__ == "__main__":
    configure("text")
    serve(Run(Path(sys.argv[1]), sys.argv[2], **json.loads(sys.argv[3])))
