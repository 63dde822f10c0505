"""What watchers outside hear of the service: a heartbeat while it is ready, an alert when trouble begins and ends.

Everything goes in a thread of its own, so that a watcher that hangs keeps no pass waiting. Only our own codes leave: no
text of the portal, no name, no address.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

import structlog

from bitrix_sync.portal.http import send, trusted

log = structlog.get_logger(__name__)

BEAT_SECONDS = 60.0
LOOK_SECONDS = 2.0
SEND_SECONDS = 5.0
AGAIN_SECONDS = 60.0
"""After an alert that did not get through."""
START_SECONDS = 60.0
"""How long a start may take before it is trouble."""


class Trouble(StrEnum):
    """What keeps the service from its work, as watchers and metrics name it."""

    STARTING = "starting"
    ENDED = "ended"
    THREAD = "thread"
    DATABASE = "database"
    PORTAL = "portal"
    REFUSED = "portal_refused"
    FOREIGN = "foreign_portal"
    RULES = "rules"
    ELSEWHERE = "works_elsewhere"
    STUCK = "stuck"
    STALE = "stale"
    UNEXPECTED = "unexpected"


@dataclass(frozen=True, slots=True)
class Alert:
    """The beginning of a trouble, or its end; ``since`` is when that trouble began (UTC)."""

    event: str
    reason: Trouble
    since: datetime

    def __str__(self) -> str:
        return json.dumps({"event": self.event, "reason": self.reason, "since": self.since.isoformat()})


class Watchers:
    """Tells them. ``trouble`` is asked every two seconds (None: none); ``clock`` tells seconds and is never set,
    ``wall`` is the machine's clock, for what people read."""

    def __init__(
        self,
        trouble: Callable[[], Trouble | None],
        clock: Callable[[], float],
        wall: Callable[[], datetime],
        *,
        heartbeat: str | None,
        alert: str | None,
        ca_file: Path | None = None,
    ) -> None:
        self._ask, self._clock, self._wall = trouble, clock, wall
        self._heartbeat, self._alert = heartbeat, alert
        self._trust = trusted(ca_file)
        self._began = clock()
        self._beat = self._tried = float("-inf")
        self._trouble: tuple[Trouble, datetime] | None = None
        self._waiting: list[Alert] = []
        self._silent = ""

    def go_on(self, stop: threading.Event) -> None:
        """Look and tell until ``stop``; an end that nobody asked for is told too."""
        while not stop.wait(LOOK_SECONDS):
            self.look()
        if self._ask() is Trouble.ENDED:
            self._tried = float("-inf")
            self.look()

    def look(self) -> None:
        """What has changed since the last look, told to whom it concerns."""
        now = self._clock()
        try:
            trouble = self._ask()
        except Exception:
            log.warning("health cannot be told", exc_info=True)
            trouble = Trouble.UNEXPECTED
        if trouble is None and self._heartbeat and now - self._beat >= BEAT_SECONDS:
            self._beat = now
            self._note("heartbeat", send(self._heartbeat, None, seconds=SEND_SECONDS, trust=self._trust))
        if self._alert:
            self._compare(trouble, now)
            self._deliver(now)

    def _compare(self, trouble: Trouble | None, now: float) -> None:
        """A trouble keeps the reason with which it began, whatever else it becomes."""
        if trouble is Trouble.STARTING and now - self._began < START_SECONDS:
            return
        if trouble is not None and self._trouble is None:
            self._trouble = trouble, self._wall()
            self._waiting.append(Alert("begin", *self._trouble))
        elif trouble is None and self._trouble is not None:
            self._waiting.append(Alert("end", *self._trouble))
            self._trouble = None

    def _deliver(self, now: float) -> None:
        """In their order, each until it is taken; of those that nobody takes the last ten are kept."""
        if now - self._tried < AGAIN_SECONDS:
            return
        del self._waiting[:-10]
        while self._waiting:
            first = self._waiting[0]
            problem = send(self._alert or "", str(first).encode(), seconds=SEND_SECONDS, trust=self._trust)
            self._note("alert", problem)
            if problem:
                self._tried = now
                return
            self._waiting.pop(0)

    def _note(self, what: str, problem: str) -> None:
        """A watcher that does not answer is told in the log, once."""
        if problem and problem != self._silent:
            log.warning("a watcher does not hear", what=what, problem=problem)
        self._silent = problem
