"""The portal's clock, learnt from the ``time`` block of its answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from bitrix_sync.portal.dialect.outcomes import number, read_duration

KEEP = 600.0
"""A better sample rules for so many seconds; after that any newer one does."""
FAR = 600.0
"""A portal's clock further from what was known is believed when a second answer says the same."""
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC).timestamp(), datetime(2100, 1, 1, tzinfo=UTC).timestamp()
"""What lies outside is no time of a portal's."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The portal's clock minus ours, in seconds, give or take ``error``; seen at ``at`` (our clock). ``told`` is what
    the portal said."""

    offset: float
    error: float
    at: float
    told: float


class PortalClock:
    """Keeps the best recent sample, and the offset from UTC in which the portal's server writes. An answer without a
    plausible time teaches nothing."""

    def __init__(self) -> None:
        self.best: Sample | None = None
        self.doubted: Sample | None = None
        """The last one, if it is far from all that was known; a second one like it makes both true."""
        self.utc_offset = 0

    @property
    def offset(self) -> float:
        """Seconds to add to our clock to get the portal's; 0.0 until an answer was seen."""
        return self.best.offset if self.best else 0.0

    def learn(self, time: Any, *, sent: float, received: float) -> None:
        """Take a sample from an answer to a request that left and came back at these moments of our clock."""
        sample = _sample(time, sent, received) if isinstance(time, Mapping) else None
        if sample is None or not self._believes(sample):
            return
        written = _moment(time.get("date_finish")) or _moment(time.get("date_start"))
        if written is not None:
            self.utc_offset = int((written.utcoffset() or timedelta()).total_seconds())
        if self.best is None or _better(sample, self.best):
            self.best = sample

    def _believes(self, sample: Sample) -> bool:
        """False for a clock that is far from what was known (ours, before any answer), until the next answer agrees."""
        if abs(sample.offset - self.offset) <= FAR:
            self.doubted = None
            return True
        doubted, self.doubted = self.doubted, None
        if doubted is not None and _agree(doubted, sample):
            return True
        self.doubted = sample
        return False


def _sample(time: Mapping[str, Any], sent: float, received: float) -> Sample | None:
    """What the block of an answer tells; None for no plausible time."""
    finish, start = number(time.get("finish")), number(time.get("start"))
    if time.get("finish") is None and (moment := _moment(time.get("date_finish"))) is not None:
        finish = moment.timestamp()
    if finish is None or not EARLIEST <= finish <= LATEST or (start is not None and start > finish):
        return None
    spread = 0.5 if finish.is_integer() else 0.0  # whole seconds: somewhere within that second
    on_the_way = max(0.0, (received - sent) - max(0.0, read_duration(time) or 0.0))
    offset = finish + spread - (received - on_the_way / 2)
    return Sample(offset, on_the_way / 2 + spread, received, told=finish)


def _better(sample: Sample, best: Sample) -> bool:
    """True for a sharper sample, for any when the best is old, and for one that contradicts it: a clock was set."""
    return _contradict(sample, best) or sample.error <= best.error or not 0 <= sample.at - best.at < KEEP


def _agree(one: Sample, other: Sample) -> bool:
    """True when the later sample can be of the clock that the earlier one is of, which went on or stood still."""
    leeway = one.error + other.error + 1.0
    return -leeway <= other.told - one.told <= other.at - one.at + leeway


def _contradict(one: Sample, other: Sample) -> bool:
    """True when both cannot be samples of one clock."""
    return abs(one.offset - other.offset) > one.error + other.error + 1.0


def _moment(text: Any) -> datetime | None:
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else None
