"""Which day a sweep puts an overdue task on: the first on which its owner is there and has room for one more. Pure.

Source: the rules language, section Room. A day is real for a person if it is a working day, they are not away, and they
have room. Where it leaves a choice:

- What ``move_to`` counts in minutes or hours stays where it is counted, also on a day off; if its owner is away then,
  it goes to the first working day on which they are there at that time of day.
- Somebody who is never there again keeps the day that ``move_to`` gives.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from math import ceil
from statistics import median

from bitrix_sync.model.actions import RefusedDay
from bitrix_sync.model.presence import Presence
from bitrix_sync.model.worktime import Calendar, CalendarError
from bitrix_sync.rules.deadlines import MINUTES, counted
from bitrix_sync.rules.model import Deadline

LOOKED_AT = 10
"""Working days on which the owner is there that are looked at for room."""
LEARNED_DAYS, LEARNED_WITHIN, LEARNED_LEAST = 20, timedelta(days=60), 5
"""Room is learned from the last working days on which somebody closed tasks, none older; fewer teach nothing."""
UNLEARNED = 8
LONGEST_ABSENCE = 800
"""Days after which nobody is waited for any more."""


# --- room ------------------------------------------------------------------------------------------------------------


def learned(
    closed: Mapping[int, Mapping[date, int]],
    *,
    departments: Mapping[int, int],
    presence: Presence,
    calendar: Calendar,
    today: date,
) -> dict[int, int]:
    """How many tasks a day people can do, from those that they closed. ``closed``: by owner and working day;
    ``departments``: everybody's first one. Whoever has not closed enough has what their department has."""
    own: dict[int, int] = {}
    for user, days in closed.items():
        counts = [
            count
            for day, count in sorted(days.items(), reverse=True)
            if count and today - LEARNED_WITHIN <= day < today and calendar.is_working(day)
            if presence.away_all_day(user, day) is None
        ][:LEARNED_DAYS]
        if len(counts) >= LEARNED_LEAST:
            own[user] = _upper_quartile(counts)
    of_department: dict[int, list[int]] = {}
    for user, department in departments.items():
        if user in own:
            of_department.setdefault(department, []).append(own[user])
    typical = {department: ceil(median(rooms)) for department, rooms in of_department.items()}
    others = {user: typical.get(department, UNLEARNED) for user, department in departments.items()}
    return others | own


def _upper_quartile(counts: Sequence[int]) -> int:
    """By the nearest rank."""
    return sorted(counts)[ceil(0.75 * len(counts)) - 1]


# --- tasks -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Misplaced:
    """An overdue task that a sweep moves. ``priority``: 0 low to 2 high; ``amount`` of its deal in the account's
    currency, None if unknown; ``promise`` as its rule last gave it; ``move_to`` as the file, or its rule, has it."""

    ref: str
    owner: int
    portal_id: int
    move_to: Deadline
    priority: int = 1
    amount: Decimal | None = None
    promise: datetime | None = None

    @property
    def place(self) -> tuple[object, ...]:
        """Its turn among those of its owner."""
        known = self.amount is not None
        promised = self.promise.timestamp() if self.promise else float("inf")
        return -self.priority, not known, -(self.amount or 0), promised, self.portal_id


@dataclass(frozen=True, slots=True)
class Place:
    """Where a task goes. ``refused``: the days before that one, in their order; ``fits`` False: no day had room, and it
    goes to the one with the most left."""

    deadline: datetime
    refused: tuple[RefusedDay, ...] = ()
    fits: bool = True

    @property
    def for_absence(self) -> bool:
        """True when a day was refused because the owner is away."""
        return any(one.why == "away" for one in self.refused)


def place(
    tasks: Iterable[Misplaced],
    *,
    moment: datetime,
    calendar: Calendar,
    presence: Presence,
    room: Mapping[int, int | None],
    taken: Mapping[int, Mapping[date, int]],
) -> dict[str, Place]:
    """The place of each task, by its ref, at the sweep's ``moment``. ``room``: tasks a day by owner, None or missing
    for no bound. ``taken``: by owner and civil day what is there already, without the tasks that are placed here."""
    planner = _Planner(moment, calendar, presence)
    days: dict[int, Counter[date]] = {}
    found: dict[str, Place] = {}
    for one in sorted(tasks, key=lambda task: (task.owner, *task.place)):
        diary = days.setdefault(one.owner, Counter(taken.get(one.owner, {})))
        found[one.ref] = planner.put(one, diary, room.get(one.owner))
        diary[calendar.local(found[one.ref].deadline).date()] += 1
    return found


class _Planner:
    """What all tasks of one sweep share."""

    def __init__(self, moment: datetime, calendar: Calendar, presence: Presence) -> None:
        self.moment, self.calendar, self.presence = moment, calendar, presence
        self._earliest: dict[Deadline, datetime] = {}

    def earliest(self, move_to: Deadline) -> datetime:
        """Where ``move_to`` leads by the calendar alone."""
        if move_to not in self._earliest:
            self._earliest[move_to] = counted(move_to, self.moment, self.calendar)
        return self._earliest[move_to]

    def put(self, task: Misplaced, diary: Mapping[date, int], room: int | None) -> Place:
        """The first real day, or of those looked at the one with the most room left."""
        by_the_clock = task.move_to.offset is not None and task.move_to.offset.unit in MINUTES
        refused: list[RefusedDay] = []
        full: list[tuple[int, datetime, int]] = []
        for deadline in self.candidates(task.move_to, by_the_clock=by_the_clock):
            day = self.calendar.local(deadline).date()
            if not (by_the_clock and not refused) and not self.calendar.is_working(day):
                refused.append(RefusedDay(day, "day_off"))
                continue
            if until := self.presence.away_on(task.owner, deadline):
                refused.append(RefusedDay(day, "away", until))
                continue
            count = diary.get(day, 0)
            if by_the_clock or room is None or count < room:
                return Place(deadline, tuple(refused))
            full.append((count, deadline, len(refused)))
            refused.append(RefusedDay(day, "full", taken=count, room=room))
            if len(full) == LOOKED_AT:
                break
        if not full:
            return Place(self.earliest(task.move_to), tuple(refused[:1]))
        _, deadline, before = min(full)
        return Place(deadline, tuple(refused[:before]), fits=False)

    def candidates(self, move_to: Deadline, *, by_the_clock: bool) -> Iterator[datetime]:
        """Moments from where ``move_to`` leads on, day by day, at the time of day that it gives."""
        first = self.earliest(move_to)
        yield first
        shown = self.calendar.local(first)
        day, at = shown.date(), shown.time() if by_the_clock else move_to.at
        for offset in range(1, LONGEST_ABSENCE):
            later = day + timedelta(days=offset)
            try:
                yield self.calendar.due(later, at or self.calendar.end_of(later))
            except (CalendarError, OverflowError):
                return
