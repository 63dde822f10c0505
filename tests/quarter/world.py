"""A quarter played: the real service on the sandbox portal over HTTP, on a clock that is turned from sweep to sweep."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

from bitrix_sandbox.http.server import Sandbox
from bitrix_sandbox.state import seed as portals
from bitrix_sandbox.state.clock import Clock
from bitrix_sandbox.state.portal import PortalState
from bitrix_sandbox.state.task_records import Task
from tests.quarter.ledger import Count, Ledger
from tests.quarter.script import FIRST_DAY, Person, next_workday, people, workdays
from tests.world.company import MOSCOW
from tests.world.sweeps import Department

RULES = """
version: 1
language: en
timezone: Europe/Moscow
admins: [1]
calendar: {{hours: "09:00-18:00"}}
fallback_owner: 1
room: {room}
funnels:
  Продажи:
    Новая заявка:
      - id: first-call
        title: Call
        deadline: {{after: 1 workday}}
overdue:
  tasks: all
  morning: {{at: "09:00", move_to: {{after: 0 workdays}}}}
  evening: {{at: "18:30", move_to: {{after: 1 workday}}}}
  limit: {limit}
safety: {{max_moves: 20000}}
"""
ROOMS = ("none", "learned")
HEAVY = 0.9
"""From this load on nothing is promised."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is played."""

    weeks: int
    owners: int
    limit: int = 3
    """Moves after which a task is escalated."""
    newer_first: bool = False
    """Of equally urgent tasks of a day people do the newer first, and leave what sweeps have put there."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A quarter's figures, of all owners and of those with a load below ``HEAVY``, and how long it took."""

    room: str
    all: Count
    lighter: Count
    seconds: float
    requests: int


def run(seed: int, plan: Plan, room: str) -> Outcome:
    """The whole quarter with this ``room``."""
    began, clock = time.monotonic(), Clock()
    clock.set(datetime.combine(FIRST_DAY, datetime.min.time(), MOSCOW) + timedelta(hours=7))
    clock.freeze()
    state = portals.build_big(clock, deals=plan.owners, owners=plan.owners, departments=max(2, plan.owners // 8))
    with tempfile.TemporaryDirectory() as folder, Sandbox(state) as portal:
        portal.limits.cost_factor = 0.01
        place = Department(portal, Path(folder), RULES.format(room=room, limit=plan.limit))
        try:
            world = World(place, people(seed, weeks=plan.weeks, owners=plan.owners), plan, learns=room == "learned")
            days = workdays(plan.weeks)
            for day in days:
                world.play(day)
            assert portal.limits.refused() == 0, "the portal never had to refuse"
            lighter = [owner for owner, one in world.staff.items() if one.load < HEAVY]
            return Outcome(
                room,
                world.ledger.count(world.staff, today=days[-1]),
                world.ledger.count(lighter, today=days[-1]),
                time.monotonic() - began,
                place.service.portal.stats.requests,
            )
        finally:
            place.close()


class World:
    """The department with its people. ``learns``: the measure of a day is what the service has learned, otherwise what
    its owner can do."""

    def __init__(self, place: Department, persons: list[Person], plan: Plan, *, learns: bool) -> None:
        self.place, self.newer_first, self.learns = place, plan.newer_first, learns
        state: PortalState = place.portal.state
        owners = sorted(user for user in state.users if user != 1)
        self.staff: Mapping[int, Person] = dict(zip(owners, persons, strict=True))
        self.known = {owner: set(one.leave) for owner, one in self.staff.items()}
        self.ledger = Ledger(self.known, limit=plan.limit)
        for owner, one in self.staff.items():
            if one.leave:
                self.absent(owner, min(one.leave), max(one.leave))
        place.turn()

    @property
    def state(self) -> PortalState:
        return self.place.portal.state

    def absent(self, owner: int, first: date, last: date) -> None:
        """The portal is told of whole days of absence."""
        self.state.add_absence(owner, first.isoformat(), (last + timedelta(days=1)).isoformat())

    def play(self, day: date) -> None:
        """A working day: who is ill says so, the morning's sweep, people are given tasks and work, the evening's."""
        self.place.until(f"{day} 08:30")
        self.fall_ill(day)
        self.sweep(f"{day} 09:00", first=day, day=day)
        self.place.until(f"{day} 10:00")
        self.give(day)
        self.place.until(f"{day} 17:00")
        self.work(day)
        self.sweep(f"{day} 18:30", first=next_workday(day), day=day, evening=True)

    def fall_ill(self, day: date) -> None:
        """Now it is known; what the evening's sweep has put on today cannot be kept any more."""
        for owner, one in self.staff.items():
            if day in one.sick:
                self.known[owner].update(one.sick[day])
                self.absent(owner, day, max(one.sick[day]))

    def give(self, day: date) -> None:
        """Deadlines are ends of working days, as rules that count in working days give them."""
        for owner, one in self.staff.items():
            for number, new in enumerate(one.given.get(day, ())):
                task = self.state.add_task(
                    f"Task {day} {number}",
                    responsible=owner,
                    by=1,
                    deadline=self.place.at(f"{new.due} 18:00"),
                    priority=2 if new.urgent else 1,
                )
                self.ledger.given(task, owner, new.due)

    def work(self, day: date) -> None:
        """Whoever is there does what is due, as much as they can: the urgent first, then the sooner due, then the
        older (or the newer)."""
        due: dict[int, list[tuple[int, datetime, int]]] = {owner: [] for owner in self.staff}
        for task in self.open():
            if task.deadline and task.deadline.astimezone(MOSCOW).date() <= day:
                due[task.responsible_id].append(
                    (-task.priority, task.deadline, -task.id if self.newer_first else task.id)
                )
        for owner, one in self.staff.items():
            for _, _, number in sorted(due[owner])[: 0 if day in one.away else one.capacity]:
                self.state.complete_task(abs(number), owner)
                self.ledger.closed(abs(number), day)

    def open(self) -> list[Task]:
        """What is not done yet."""
        return [self.state.tasks[task] for task in self.ledger.lives if self.ledger.lives[task].closed is None]

    def sweep(self, moment: str, *, first: date, day: date, evening: bool = False) -> None:
        """It becomes that time; the sweep runs to its end, and what it has done is noted."""
        self.place.sweeps(moment)
        due = {task.id: task.deadline.astimezone(MOSCOW).date() for task in self.open() if task.deadline}
        self.ledger.swept(due, first=first, day=day, daily=not evening, room=self.rooms())

    def rooms(self) -> Mapping[int, int]:
        """Tasks a day by owner, by which days are judged."""
        learned = self.place.store.flags.rooms
        if self.learns and learned is not None:
            return dict(learned.rooms)
        return {owner: one.capacity for owner, one in self.staff.items()}
