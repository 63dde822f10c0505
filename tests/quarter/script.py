"""What happens in a quarter whatever sweeps do, the same for the same seed: people, leaves, sick days, new tasks."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from math import exp
from random import Random

FIRST_DAY = date(2026, 3, 2)
"""A Monday."""
CAPACITY, LOAD = (6, 10), (0.75, 0.95)
LEAVE_DAYS = 5
SICK, SICK_DAYS = 0.015, 3
"""The chance of falling ill on a day, and for how many working days at most."""
AHEAD = 3
"""Working days that a new task has at most."""
URGENT = 0.15


@dataclass(frozen=True, slots=True)
class Given:
    """A task that somebody is given in the morning."""

    due: date
    urgent: bool


@dataclass(slots=True)
class Person:
    """An owner: tasks a day that they can do, how many of these they are given on the average, when they are away."""

    capacity: int
    load: float
    leave: frozenset[date] = frozenset()
    """Known from the beginning."""
    sick: dict[date, list[date]] = field(default_factory=dict)
    """Working days of an illness, by the first one, on whose morning it becomes known."""
    given: dict[date, list[Given]] = field(default_factory=dict)
    """By the day; nobody is given anything while they are away."""
    away: set[date] = field(default_factory=set)
    """Leave and illness."""


def workdays(weeks: int) -> list[date]:
    """Mondays to Fridays."""
    return [FIRST_DAY + timedelta(days=7 * week + day) for week in range(weeks) for day in range(5)]


def next_workday(day: date) -> date:
    """The first one after a day."""
    return day + timedelta(days={4: 3, 5: 2}.get(day.weekday(), 1))


def people(seed: int, *, weeks: int, owners: int) -> list[Person]:
    """Everybody's quarter; each one's own, however many there are."""
    return [_person(Random(f"{seed}:{number}"), weeks) for number in range(owners)]


def _person(chance: Random, weeks: int) -> Person:
    days = workdays(weeks + 1)
    one = Person(chance.randint(*CAPACITY), chance.uniform(*LOAD))
    monday = 5 * chance.randrange(min(1, weeks - 1), weeks)
    one.leave = frozenset(days[monday : monday + LEAVE_DAYS])
    one.away = set(one.leave)
    for place, day in enumerate(days[: 5 * weeks]):
        if day not in one.away and chance.random() < SICK:
            one.sick[day] = days[place : place + chance.randint(1, SICK_DAYS)]
            one.away.update(one.sick[day])
        if day not in one.away:
            one.given[day] = [
                Given(days[min(place + chance.randint(1, AHEAD), len(days) - 1)], chance.random() < URGENT)
                for _ in range(_poisson(chance, one.load * one.capacity))
            ]
    return one


def _poisson(chance: Random, mean: float) -> int:
    count, product, bound = 0, chance.random(), exp(-mean)
    while product > bound:
        count, product = count + 1, product * chance.random()
    return count
