"""When the portal is read, and how: from the time, what was read last and what waits. Pure.

Moments are seconds of our own clock, which nothing that sets a clock moves.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from bitrix_sync.model.reading import OVERLAP, Reading

NEVER = float("-inf")
EVENT_GAP = 1.0
"""Seconds between two readings that events ask for, while nothing waits to be written: half of what the portal allows,
however much else happens there, so that a moved deal has its task within two seconds."""
BUSY_GAP = 5.0
"""The same while operations are being written. Readings that events asked for in vain double it: a flood of events that
mean nothing must not eat the budget of the writes."""
WIDE_GAP = 300.0
"""While operations are being written, what may have become visible late is read again only so often."""
LATE_PAGE_GAP, LATE_GAP = 0.5, 60.0
"""What the last minute's history costs after a burst: so many seconds without it for each page read, up to so many."""
WIDE_PAGE_GAP = 10.0
"""Else so many seconds for each page beyond the first of each list: after a burst it is read again less often."""
LONGEST_BACK = 3600.0
"""After a start so much is read once more, for nobody knows when the process before last did."""
TICK = 0.5
"""Seconds after which the worker looks at requests, and takes its next turn while there is something to do."""
LISTS = 3
"""History, deals and tasks: a reading has a page of each at least."""
QUIET = frozenset({"ONTASKADD", "ONTASKCOMMENTADD"})
"""Events that nothing is decided upon: the next reading sees what they tell of. Most of them echo our own writes."""
ECHOES = frozenset({"ONTASKUPDATE", "ONTASKDELETE", "ONCRMACTIVITYADD", "ONCRMACTIVITYUPDATE", "ONCRMACTIVITYDELETE"})
"""Events that wait while operations are being written: then most of them echo our own writes."""


@dataclass(frozen=True, slots=True)
class LastReadings:
    """Moments of the last reading, of the last one with the last minute (``late``) and with overlap (``wide``).

    ``poll``: the setting, in seconds. ``pages``: read since the last wide one, which itself had ``wide_pages``.
    ``fruitless``: how many events in a row asked in vain."""

    poll: float
    at: float = NEVER
    late: float = NEVER
    wide: float = NEVER
    pages: float = 0.0
    wide_pages: int = 0
    fruitless: int = 0

    def after(self, made: Reading, *, pages: float, wide_pages: int, fruitful: bool) -> LastReadings:
        """The same once a reading that began at ``at`` is through; it brought so many ``pages``."""
        whole = made.overlap is not None
        return replace(
            self,
            late=self.at if made.late or whole else self.late,
            wide=self.at if whole else self.wide,
            pages=0.0 if whole else self.pages + pages,
            wide_pages=wide_pages,
            fruitless=0 if fruitful else self.fruitless + made.people,
        )


@dataclass(frozen=True, slots=True)
class Waiting:
    """Reasons to read, and the work that competes with reading.

    ``events``: names of those that came since the last reading. ``polled``: the poll's time has come. ``wide``: nobody
    knows what was missed, so all is read again. ``operations``: some wait; ``writable``: and may be sent now.
    ``batch``: seconds that the next batch of them will take."""

    events: frozenset[str] = frozenset()
    polled: bool = False
    wide: bool = False
    operations: bool = False
    writable: bool = False
    batch: float = 0.0


@dataclass(frozen=True, slots=True)
class Wish:
    """When the next turn is wanted: then, or as soon as anybody rings, but not before ``rest`` is over."""

    at: float = NEVER
    rest: float = NEVER


def due(now: float, last: LastReadings, waiting: Waiting) -> Reading | None:
    """The reading that is to be made; None: not yet, so what waits is written."""
    reading = Reading(overlap(now, last, waiting), people=bool(waiting.events), along=waiting.writable)
    if waiting.wide or waiting.polled or is_due(now, last):
        late = now - last.late >= min(LATE_GAP, LATE_PAGE_GAP * last.pages)
        return replace(reading, late=late)
    travels = may_travel(now, last, waiting)
    if waiting.events and not (waiting.events <= ECHOES and waiting.writable):
        # what is left to write must not rest too
        rest = 0.0 if travels else max(0.0, gap(last, busy=waiting.writable) - (now - last.at))
        return replace(reading, rest=rest)
    return replace(reading, people=False) if travels else None


def interrupts(now: float, last: LastReadings, *, events: bool, batch: float) -> bool:
    """Whether writing stops between two batches, for a reading that is due or ``events`` other than echoes."""
    passed = now - last.at
    return passed >= shortest_rest(last, batch) or (events and passed >= gap(last, busy=True))


def is_due(now: float, last: LastReadings) -> bool:
    """True when the portal has not been read for as long as it may be."""
    return now - last.at >= longest_rest(last)


def may_travel(now: float, last: LastReadings, waiting: Waiting) -> bool:
    """True when a reading will be due before the next write is through, so that this may take it along."""
    return waiting.writable and now - last.at >= shortest_rest(last, waiting.batch)


def gap(last: LastReadings, *, busy: bool) -> float:
    """Seconds between two readings that events ask for."""
    if not busy:
        return EVENT_GAP
    return min(BUSY_GAP * 2.0 ** min(last.fruitless, 10), max(BUSY_GAP, last.poll))


def longest_rest(last: LastReadings) -> float:
    """Seconds without a reading, after which one is due though nothing happened."""
    return max(last.poll - TICK, last.poll / 2)


def shortest_rest(last: LastReadings, batch: float) -> float:
    """Seconds after a reading from which on a write takes the next one along."""
    return max(longest_rest(last) - batch, last.poll / 4)


def overlap(now: float, last: LastReadings, waiting: Waiting) -> timedelta | None:
    """Span read once more because rows of it may have become visible late: all since ten minutes before it was read so
    the last time. None: not now; the more there is, the less often."""
    passed = now - last.wide
    pause = WIDE_PAGE_GAP * max(last.wide_pages - LISTS, last.pages)
    pause = max(pause, WIDE_GAP) if waiting.operations else max(min(pause, WIDE_GAP), longest_rest(last))
    if not (waiting.wide or passed >= pause):
        return None
    return OVERLAP + timedelta(seconds=min(passed, LONGEST_BACK))
