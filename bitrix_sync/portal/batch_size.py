"""How quick the portal's commands are, and so how many of those that are ready go in one batch.

The portal reports for each command how long it took and what its method has used of its operating time. A batch takes
as many as it can carry out in ``QUICK`` seconds, and no more of a method than surely fit into its time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from bitrix_sync.portal.dialect.commands import BATCH_LIMIT
from bitrix_sync.portal.dialect.outcomes import Outcome
from bitrix_sync.portal.rate_limiter import STOP_AT, WINDOW, RateLimiter

QUICK = 20.0
"""Seconds that a batch should take at the most; the portal cuts it at sixty."""
FIRST_BATCH = 10
"""Commands of a batch of which nobody knows yet how long they take."""


@dataclass(slots=True)
class BatchSize:
    """Seconds that a command of each method takes, as the last batches showed."""

    seconds: dict[str, float] = field(default_factory=dict)

    def learn(self, methods: Sequence[str], outcomes: Sequence[Outcome], took: float) -> None:
        """What a batch of these methods showed, ``took`` seconds under way: slower is believed at once, quicker by and
        by, and not from commands that failed."""
        each = took / max(len(methods), 1)
        heard: dict[str, list[float]] = {}
        for method, outcome in zip(methods, outcomes, strict=False):
            if outcome.kind in ("done", "unknown"):
                heard.setdefault(method, []).append(each if outcome.seconds is None else outcome.seconds)
        sure = all(outcome.done for outcome in outcomes)
        for method, spent in heard.items():
            mean, before = sum(spent) / len(spent), self.seconds.get(method)
            if before is None or mean > before:
                self.seconds[method] = mean
            elif sure:
                self.seconds[method] = (mean + before) / 2

    def batch(self, methods: Sequence[str], rate_limiter: RateLimiter, *, most: int = BATCH_LIMIT) -> list[int]:
        """Which of the commands that wait go now, by their places: in their order, at least one unless their methods
        rest."""
        room = {method: rate_limiter.room(method) for method in set(methods)}
        counts: Counter[str] = Counter()
        going: list[int] = []
        spent = 0.0
        for place, method in enumerate(methods):
            left = room[method]
            if left is not None and counts[method] >= left:
                continue
            spent += self.seconds.get(method, QUICK / FIRST_BATCH)
            if going and (spent > QUICK + 1e-9 or len(going) >= most):
                break
            counts[method] += 1
            going.append(place)
        return going

    def takes(self, counts: Mapping[str, int], rate_limiter: RateLimiter) -> timedelta | None:
        """About how long so many commands of each method will take: their own time one after another, or the waiting
        for the windows of the method that has to wait longest. None: no batch has told yet."""
        if not any(method in self.seconds for method in counts):
            return None
        least = 1 / (rate_limiter.rate * (BATCH_LIMIT - 1))
        own = sum(count * max(self.seconds.get(method, 0.0), least) for method, count in counts.items())
        return timedelta(seconds=max([own, *(self._waits(method, counts[method], rate_limiter) for method in counts)]))

    def _waits(self, method: str, count: int, rate_limiter: RateLimiter) -> float:
        cost = rate_limiter.cost(method)
        used, window = rate_limiter.use_of(method)
        over = count * cost - max(STOP_AT - used, 0.0)
        if over <= 0:
            return 0.0
        last = over % STOP_AT / cost * max(self.seconds.get(method, 0.0), cost)
        return (window or WINDOW) + over // STOP_AT * WINDOW + last
