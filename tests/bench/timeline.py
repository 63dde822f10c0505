"""Simulated time that two processes share, and the events that one of them hears of: a few numbers in a mapped file.

Whoever waits moves the time on; the portal moves it on by what its commands take. So "seconds at the portal's real
limits" cost no real ones. Nobody sleeps while a request is under way.
"""

from __future__ import annotations

import mmap
import struct
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bitrix_sandbox.state.clock import Clock

MONDAY = datetime(2026, 3, 2, 7, 0, tzinfo=UTC)
"""Ten in the morning in Moscow, where the portal is."""
PLACES = 16
HEARD = ("ONCRMDEALADD", "ONCRMDEALUPDATE", "ONCRMDEALDELETE", "ONTASKADD", "ONTASKUPDATE", "ONTASKCOMMENTADD")
"""Events with a counter of their own; the first place is the time's."""


class Timeline:
    """Epoch seconds, and how often each event of ``HEARD`` was raised."""

    def __init__(self, path: Path, start: datetime | None = None) -> None:
        if start is not None:
            path.write_bytes(struct.pack("d", start.timestamp()) + bytes(8 * PLACES))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 8 * PLACES)
        self._lock = threading.Lock()

    def now(self) -> float:
        """Now."""
        return float(struct.unpack_from("d", self._map, 0)[0])

    def moment(self) -> datetime:
        """Now, aware."""
        return datetime.fromtimestamp(self.now(), UTC)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        with self._lock:
            struct.pack_into("d", self._map, 0, self.now() + seconds)

    def raised(self, event: str) -> None:
        """Count an event; one that is not of ``HEARD`` is not counted."""
        if event in HEARD:
            place = 8 * (1 + HEARD.index(event))
            with self._lock:
                struct.pack_into("q", self._map, place, struct.unpack_from("q", self._map, place)[0] + 1)

    def counts(self) -> Sequence[int]:
        """Events raised so far, in the order of ``HEARD``."""
        return struct.unpack_from(f"{len(HEARD)}q", self._map, 8)


class SharedClock(Clock):
    """The sandbox portal's clock on a timeline; it stands still unless somebody moves it on."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        super().__init__()

    @property
    def frozen(self) -> bool:
        return True

    def _now(self) -> float:
        return self._timeline.now()

    def _shift(self, seconds: float) -> None:
        self._timeline.advance(seconds)
