"""What became of the dates that sweeps chose, seen from outside: deadlines in the portal before and after a sweep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta

LOOKED_AT = 10
"""Working days on which its owner is there that a sweep looks at."""


@dataclass(slots=True)
class Life:
    """A task: whose it is, the day it was first due, where sweeps put it, whether each of these days was kept."""

    owner: int
    promised: date
    due: date
    swept: list[date] = field(default_factory=list)
    kept: int = 0
    broken: int = 0
    blamed: int = 0
    """Moves that no absence was the reason of."""
    escalated: bool = False
    closed: date | None = None


@dataclass(slots=True)
class Count:
    """What is told of a number of owners."""

    tasks: int = 0
    late: int = 0
    kept_promises: int = 0
    moves: int = 0
    moved: int = 0
    for_absence: int = 0
    """Moves that an absence was the reason of."""
    kept: int = 0
    broken: int = 0
    into_absence: int = 0
    over_room: int = 0
    escalated: int = 0
    escalated_for_absence: int = 0

    @property
    def share_kept(self) -> float:
        """Of the swept dates that have passed."""
        return 1 - self.broken / max(1, self.kept + self.broken)

    @property
    def moves_each(self) -> float:
        """Moves of a task that was moved."""
        return self.moves / max(1, self.moved)


class Ledger:
    """The tasks of one run. ``away``: days on which an owner is known to be away, kept up by whoever plays;
    ``limit``: moves after which a task is escalated, those for an absence apart."""

    def __init__(self, away: Mapping[int, set[date]], *, limit: int) -> None:
        self.away, self.limit = away, limit
        self.lives: dict[int, Life] = {}
        self.into_absence: Counter[int] = Counter()
        self.over_room: Counter[int] = Counter()
        self.escalated_for_absence: Counter[int] = Counter()

    def given(self, task: int, owner: int, due: date) -> None:
        """Somebody was given a task."""
        self.lives[task] = Life(owner, due, due)

    def closed(self, task: int, day: date) -> None:
        """Its owner did it."""
        life = self.lives[task]
        life.closed = day
        if life.swept:
            life.kept += day <= life.due
            life.broken += day > life.due and not life.escalated

    def swept(self, due: Mapping[int, date], *, first: date, day: date, daily: bool, room: Mapping[int, int]) -> None:
        """A sweep has run. ``due``: the days of all open tasks now; ``first``: the day that it moves to; ``daily``: it
        tells what is told once a day; ``room``: tasks a day by owner."""
        load = Counter((self.lives[task].owner, when) for task, when in due.items())
        filled: set[tuple[int, date]] = set()
        for task, when in due.items():
            life = self.lives[task]
            if when != life.due:
                filled.add((life.owner, when))
                self._moved(life, when, first)
            elif when < day and daily:
                self._escalated(life)
        for owner, when in sorted(filled):
            free = any(load[owner, other] < room[owner] for other in self._looked_at(owner, first))
            self.over_room[owner] += load[owner, when] > room[owner] and free

    def _moved(self, life: Life, when: date, first: date) -> None:
        away = self.away[life.owner]
        for_absence = life.due in away or any(one in away for one in _workdays(first, when))
        life.blamed += not for_absence
        life.broken += bool(life.swept)
        life.swept.append(when)
        life.due = when
        self.into_absence[life.owner] += when in away

    def _escalated(self, life: Life) -> None:
        if not life.escalated:
            life.broken += bool(life.swept)
            self.escalated_for_absence[life.owner] += life.blamed < self.limit or life.due in self.away[life.owner]
        life.escalated = True

    def _looked_at(self, owner: int, first: date) -> list[date]:
        found, day = list[date](), first
        while len(found) < LOOKED_AT:
            if day.weekday() < 5 and day not in self.away[owner]:
                found.append(day)
            day += timedelta(days=1)
        return found

    def count(self, owners: Iterable[int], *, today: date) -> Count:
        """All of these owners together, on the evening of a day."""
        found, chosen = Count(), set(owners)
        for life in self.lives.values():
            if life.owner not in chosen or life.promised > today:
                continue
            found.tasks += 1
            found.kept_promises += life.closed is not None and life.closed <= life.promised
            found.late += life.closed is None or life.closed > life.promised
            found.moves += len(life.swept)
            found.moved += bool(life.swept)
            found.for_absence += len(life.swept) - life.blamed
            found.kept += life.kept
            found.broken += life.broken
            found.escalated += life.escalated
        for owner in chosen:
            found.into_absence += self.into_absence[owner]
            found.over_room += self.over_room[owner]
            found.escalated_for_absence += self.escalated_for_absence[owner]
        return found


def _workdays(first: date, until: date) -> list[date]:
    """Working days before ``until``."""
    days = [first + timedelta(days=offset) for offset in range((until - first).days)]
    return [day for day in days if day.weekday() < 5]
