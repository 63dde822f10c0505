"""The portal of the bench: a large department whose clock is the timeline, at the limits of the real one."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

from bitrix_sandbox.http.server import Sandbox
from bitrix_sandbox.state.seed import build_big
from tests.bench.timeline import SharedClock, Timeline

ON_THE_WAY = 0.05
"""Seconds that a request is on its way, there and back."""
QUICK = 0.01
"""A quick portal's commands take so much of what the sandbox takes for usual (0.35 s for a new task)."""
OWNERS, DEPARTMENTS = 200, 30
MARK = "bitrix-sync:"
STAGE = "PREPARATION"
"""Where deals are moved to; the rules have one task there."""
FAULTS = {"cut_before": 1, "cut_after": 2, "page_502": 1, "page_504+": 2, "internal": 1, "internal+": 1, "batch_cut": 2}
"""What goes wrong, in tenths of all that does."""


@dataclass(frozen=True, slots=True)
class Bill:
    """What the portal was asked for between two looks."""

    requests: int
    seconds: float
    refused: int


class Department:
    """The portal, what people do in it, and what it was asked for. ``quick``: its commands take next to no time."""

    def __init__(self, timeline: Timeline, *, deals: int, overdue: int = 0, quick: bool = True) -> None:
        self.timeline = timeline
        clock = SharedClock(timeline)
        self.state = build_big(
            clock, deals=deals, owners=OWNERS, departments=DEPARTMENTS, moves=1, overdue_tasks=overdue
        )
        self.sandbox = Sandbox(self.state)
        self.sandbox.limits.cost_factor = QUICK if quick else 1.0
        self.deals = sorted(self.state.deals)
        self.began = clock.now()
        self._spend = self.sandbox.limits.spend
        self.sandbox.limits.spend = self.spend  # type: ignore[method-assign]
        self._enter = self.sandbox.limits.enter
        self.sandbox.limits.enter = self.enter  # type: ignore[method-assign]
        self.state.emit = self.emit
        self._before = self._asked()

    def __enter__(self) -> Department:
        return self

    def __exit__(self, *_: object) -> None:
        self.sandbox.close()

    def enter(self, method: str) -> None:
        """A request arrives: it was on its way for a while."""
        self.timeline.advance(ON_THE_WAY)
        self._enter(method)

    def spend(self, who: Any, method: str, cost: float) -> None:
        """A command ran, and took as long as it costs."""
        self._spend(who, method, cost)
        if method.lower() != "batch":
            self.timeline.advance(cost)

    def emit(self, event: str, data: dict[str, Any]) -> None:
        """Something happened: whoever listens hears of it."""
        self.timeline.raised(event)

    def look(self) -> Bill:
        """What was asked since the last look."""
        before, self._before = self._before, self._asked()
        return Bill(*(new - old for new, old in zip(self._before, before, strict=True)))  # type: ignore[arg-type]

    def _asked(self) -> tuple[int, float, int]:
        refused = len(self.sandbox.limits.refusals)
        return sum(self.sandbox.journal.requests.values()), self.timeline.now(), refused

    # --- what people do ----------------------------------------------------------------------------------------------

    def move_all(self) -> None:
        """Every deal is moved at once."""
        for deal in self.deals:
            self.state.move_deal(deal, STAGE, by=1)

    def disturb(self, share: float, seed: int) -> None:
        """From now on so many requests go wrong; half of them did run."""
        chances = {kind: share * weight / 10 for kind, weight in FAULTS.items()}
        self.sandbox.faults.at_random(chances, seed=seed)

    # --- what came of it ---------------------------------------------------------------------------------------------

    def tasks_of_deals(self) -> tuple[int, int]:
        """(losses, duplicates): each deal should have one task made by a contender."""
        made = Counter(
            binding for task in self.state.tasks.values() if task.title.startswith("Bench") for binding in task.crm
        )
        return of_one([made[f"D_{deal}"] for deal in self.deals])

    def moves_and_messages(self) -> tuple[int, int]:
        """(losses, duplicates): each overdue task should have a later deadline, each person who has to do with one a
        message."""
        still = sum(task.deadline < self.began for task in self.state.tasks.values() if task.deadline)
        people = {task.responsible_id for task in self.state.tasks.values()}
        lost, doubled = of_one([len(self.state.messages_to(person)) for person in sorted(people)])
        return still + lost, doubled


def of_one(counts: list[int]) -> tuple[int, int]:
    """How many are lacking, and how many there are too many, where there should be one each."""
    return sum(count == 0 for count in counts), sum(max(0, count - 1) for count in counts)


def floor(count: int) -> int:
    """Requests if everything were known: the writes, fifty in one."""
    return math.ceil(count / 50)
