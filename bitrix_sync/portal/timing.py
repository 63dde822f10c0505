"""The portal's clock, learnt from the ``time`` block of its answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bitrix_sync.portal.answers import number

KEEP = 600.0
"""A better sample rules for so many seconds; after that any newer one does."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The portal's clock minus ours, in seconds, give or take ``error``; seen at ``at`` (our clock)."""

    offset: float
    error: float
    at: float


class PortalClock:
    """Keeps the best recent sample, and the offset from UTC in which the portal's server writes."""

    def __init__(self) -> None:
        self.best: Sample | None = None
        self.utc_offset = 0

    @property
    def offset(self) -> float:
        """Seconds to add to our clock to get the portal's; 0.0 until an answer was seen."""
        return self.best.offset if self.best else 0.0

    def learn(self, time: Any, *, sent: float, received: float) -> None:
        """Take a sample from an answer to a request that left and came back at these moments of our clock."""
        if not isinstance(time, Mapping):
            return
        written = _moment(time.get("date_finish")) or _moment(time.get("date_start"))
        if written is not None:
            self.utc_offset = int((written.utcoffset() or timedelta()).total_seconds())
        finish = number(time.get("finish"))
        if finish is None:
            moment = _moment(time.get("date_finish"))
            finish = None if moment is None else moment.timestamp()
        if finish is None or finish <= 0:
            return
        spread = 0.0
        if finish.is_integer():  # whole seconds: somewhere within that second
            finish, spread = finish + 0.5, 0.5
        took = number(time.get("duration")) or 0.0
        on_the_way = max(0.0, (received - sent) - max(0.0, took))
        sample = Sample(finish - (received - on_the_way / 2), on_the_way / 2 + spread, received)
        if self.best is None or _better(sample, self.best):
            self.best = sample


def _better(sample: Sample, best: Sample) -> bool:
    """True for a sharper sample, for any when the best is old, and for one that contradicts it: a clock was set."""
    contradicts = abs(sample.offset - best.offset) > sample.error + best.error + 1.0
    return contradicts or sample.error <= best.error or not 0 <= sample.at - best.at < KEEP


def _moment(text: Any) -> datetime | None:
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else None
