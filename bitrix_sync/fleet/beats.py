"""A worker's beats: that it lives, told to the database and to itself.

Whoever gives no beat for ``lost`` seconds is succeeded by others; the fence is the other side of that: a worker that
cannot be sure of its beats sends nothing. A beat counts from the moment when it was begun, by a clock that only goes
forward; one that comes too late ends all that was begun before it, for good (a new generation). The database's time is
learnt by the way: all moments that workers note are by it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import structlog

from bitrix_sync.clock import Clock
from bitrix_sync.errors import NOT_RENEWED, LeaseLost, StoreError
from bitrix_sync.store.lease import MARGIN, Hold
from bitrix_sync.store.workers import Beat, WorkerRow, Workers

log = structlog.get_logger(__name__)

BEATS = 3
"""Beats within the time after which a worker is lost."""
TELL_AHEAD, REFUSE_AHEAD = 1.0, 30.0
"""Seconds that the machine's clock may differ from the database's before it is told, and before the worker ends."""
KEEPS = 60.0
"""A sharper look at the database's clock rules for so many seconds."""


class ServerTime:
    """The database's time by our own steady clock; it never goes back."""

    def __init__(self, steady: Callable[[], float]) -> None:
        self._steady = steady
        self._offset, self._error, self._at = 0.0, float("inf"), 0.0
        self._last = 0.0

    def learn(self, told: datetime, sent: float, received: float) -> None:
        """What the database said in answer to a question of that time (steady seconds)."""
        error = (received - sent) / 2
        if error <= self._error or received - self._at > KEEPS:
            self._offset, self._error, self._at = told.timestamp() - (sent + error), error, received

    def seconds(self) -> float:
        """Epoch seconds."""
        self._last = max(self._last, self._steady() + self._offset)
        return self._last


class Beats:
    """The beats of one worker. ``engine``: its number in the queue, None while it has none. ``unknown`` is called when
    the queue does not know that number any more."""

    def __init__(self, table: Workers, row: WorkerRow, *, lost: float, unknown: Callable[[], object]) -> None:
        self._table, self._row, self._unknown = table, row, unknown
        self._steady = Clock().seconds
        self.lost = lost
        self.time = ServerTime(self._steady)
        self.engine: int | None = None
        self.portals = 0
        """How many are kept in memory."""
        self.generation = 0
        self.last = float("-inf")
        """When the last beat that succeeded was begun."""
        self.sign = time.monotonic()
        """When the thread of the beats last came round."""
        self.away = ""
        """Why the last beat did not succeed."""
        self.oldest = ""
        """Version of the oldest program that may work with the tables."""
        self.ahead = 0.0
        self._told_ahead = False
        self._soon = threading.Event()

    def clock(self) -> Clock:
        """A clock that goes as the database's."""
        return Clock(self.time.seconds, self.time.seconds)

    def register(self, engine: int) -> None:
        """The queue knows the worker by this number from now on."""
        self.engine = engine
        self.beat()

    def leave(self) -> None:
        """Nobody is to give this worker a turn any more; those that it has go on."""
        self._row = replace(self._row, threads=0)
        self.wake()

    def wake(self) -> None:
        """The next beat is wanted now."""
        self._soon.set()

    def beat(self) -> None:
        """Give one, if the worker has a number."""
        if self.engine is None:
            return
        began, wall = self._steady(), time.time()
        ours = replace(self._row, engine=self.engine, portals=self.portals, ahead=self.ahead)
        try:
            answer = self._table.beat(ours)
        except StoreError as fault:
            if str(fault) != self.away:
                log.error("no beat", problem=str(fault))
            self.away = str(fault)
            return
        self._note(answer, began, wall, ours.engine)

    def _note(self, answer: Beat, began: float, wall: float, engine: int) -> None:
        received = self._steady()
        self.time.learn(answer.at, began, received)
        self.ahead = wall + (received - began) / 2 - answer.at.timestamp()
        if self.last > 0 and began - self.last >= self.fence:
            self.generation += 1
            log.error("a beat came late; what was under way is left to others", seconds=round(began - self.last, 1))
        if self.away:
            log.info("working")
        self.last, self.away, self.oldest = began, "", answer.oldest
        if (abs(self.ahead) > TELL_AHEAD) != self._told_ahead:
            self._told_ahead = not self._told_ahead
            log.warning("this machine's clock differs from the database's; set it (NTP)", seconds=round(self.ahead, 1))
        if not answer.known and engine == self.engine:
            self._unknown()

    @property
    def fence(self) -> float:
        """Seconds after the last beat when nothing is sent any more."""
        return self.lost - MARGIN.total_seconds()

    def require(self, generation: int) -> None:
        """Raises LeaseLost when others may think that this worker is gone, or thought so since then."""
        if generation != self.generation or self._steady() - self.last >= self.fence:
            raise LeaseLost(NOT_RENEWED)

    def go_on(self, done: threading.Event) -> None:
        """Give beats until done, and awoken."""
        while True:
            self.sign = time.monotonic()
            self.beat()
            self._soon.wait(self.lost / BEATS)
            self._soon.clear()
            if done.is_set():
                return


class WorkerHold(Hold):
    """A portal's lease as a worker has it for a turn: good as long as the worker's beats are."""

    def __init__(self, epoch: int, beats: Beats, generation: int) -> None:
        super().__init__(epoch, beats.last)
        self._beats, self._generation = beats, generation

    def look(self, now: float) -> None:
        """The beats are looked at whenever it is required."""

    def require(self) -> None:
        """Raises LeaseLost once the worker's beats are not sure."""
        self._beats.require(self._generation)
