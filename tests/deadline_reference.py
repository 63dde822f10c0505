"""Deadlines reckoned again, slowly: a second opinion on ``model.worktime`` and ``rules.deadlines``.

Written from the rules language alone; shares no code with the product. Days are walked one by one, minutes one by one:
clocks are asked only which local time a minute of UTC shows. Public holidays are typed in from the published
production calendars. Whole minutes only.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import cached_property

ONE_DAY, ONE_MINUTE = timedelta(days=1), timedelta(minutes=1)

RUSSIAN_DAYS_OFF = {
    2023: "1-8.1 23-24.2 8.3 1.5 8-9.5 12.6 6.11 4.11",
    2024: "1-8.1 23.2 8.3 29-30.4 1.5 9-10.5 12.6 4.11 30-31.12",
    2025: "1-8.1 23.2 8.3 1-2.5 8-9.5 12-13.6 3-4.11 31.12",
    2026: "1-9.1 23.2 8-9.3 1.5 9.5 11.5 12.6 4.11 31.12",
    2027: "1-8.1 22-23.2 8.3 1.5 3.5 9-10.5 12.6 14.6 4-5.11 31.12",
}
RUSSIAN_WORKING_WEEKENDS = {2023: "", 2024: "27.4 2.11 28.12", 2025: "1.11", 2026: "", 2027: "20.2"}


def days(table: dict[int, str]) -> frozenset[date]:
    """``{2026: "1-9.1"}``: the first to the ninth of January 2026."""
    found = set()
    for year, text in table.items():
        for part in text.split():
            span, month = part.split(".")
            first, _, last = span.partition("-")
            found |= {date(year, int(month), day) for day in range(int(first), int(last or first) + 1)}
    return frozenset(found)


@dataclass(frozen=True)
class SlowCalendar:
    """Hours by weekday as minutes of the day; ``off`` and ``on``: days against the week's turn. ``first``, ``last``:
    the days that are reckoned at all."""

    zone: tzinfo
    week: dict[int, list[tuple[int, int]]]
    first: date
    last: date
    off: frozenset[date] = frozenset()
    on: frozenset[date] = frozenset()
    moments: dict[tuple[date, int], datetime] = field(default_factory=dict)

    def works(self, day: date) -> bool:
        """The lists first, then the week."""
        return day in self.on or (day not in self.off and day.weekday() in self.week)

    def hours(self, day: date) -> list[tuple[int, int]]:
        """The weekday's; those of the first working weekday where it has none."""
        return self.week[day.weekday()] if day.weekday() in self.week else self.week[min(self.week)]

    def end(self, day: date) -> int:
        """Minute of the day at which its hours end; on a day off a usual day's."""
        return (self.hours(day) if self.works(day) else self.week[min(self.week)])[-1][1]

    def moment(self, day: date, minute: int) -> datetime:
        """The first minute of UTC at which the clocks show that time of that day, or a later one."""
        known = self.moments.get((day, minute))
        if known is None:
            wish = datetime.combine(day, time(minute // 60, minute % 60))
            offset = (datetime.combine(day, time(12), UTC) - ONE_DAY).astimezone(self.zone).utcoffset()
            assert offset is not None
            known = (wish - offset).replace(tzinfo=UTC) - timedelta(hours=3)
            while known.astimezone(self.zone).replace(tzinfo=None) < wish:
                known += ONE_MINUTE
            self.moments[(day, minute)] = known
        return known

    def due(self, day: date, minute: int) -> datetime:
        """The same, but the last minute of a working day that has no such time, where the next day is off."""
        found = self.moment(day, minute)
        while self.works(day) and not self.works(found.astimezone(self.zone).date()):
            found -= ONE_MINUTE
        return found

    @cached_property
    def minutes(self) -> list[datetime]:
        """Every minute of UTC that is worked, between the first and the last day."""
        found = []
        minute = datetime.combine(self.first, time(0), UTC)
        stop = datetime.combine(self.last, time(0), UTC)
        while minute < stop:
            wall = minute.astimezone(self.zone)
            day, at = wall.date(), wall.hour * 60 + wall.minute
            # A doubled hour counts once where a span ends in it: what has once closed does not open again.
            if self.works(day) and any(
                start <= at < end and minute < self.moment(day, end) for start, end in self.hours(day)
            ):
                found.append(minute)
            minute += ONE_MINUTE
        return found


@dataclass(frozen=True)
class Case:
    """A deadline and what it is reckoned from, in plain words. ``source``: "moment" (entry, event), "datetime" (a
    field) or "date" (a field: ``moment`` is its day at midnight UTC). ``unit`` "": the field itself."""

    source: str
    unit: str = ""
    amount: int = 0
    before: bool = False
    at: int | None = None
    on_day_off: str = ""


def policy_of(case: Case) -> str:
    """What it undergoes on a day off."""
    if case.on_day_off:
        return case.on_day_off
    if case.unit in ("minutes", "hours"):
        return "keep"
    return "previous" if case.before or not case.unit else "next"


def reckon(case: Case, moment: datetime, now: datetime, calendar: SlowCalendar) -> datetime:
    """When it is due. ``moment`` and ``now`` on whole minutes."""
    result = count(case, moment, calendar)
    if result >= now:
        return result
    lifted = at_once(case, now, calendar)
    if case.source == "moment":
        return lifted
    wall = moment.astimezone(calendar.zone)
    day = moment.date() if case.source == "date" else wall.date()
    own = moment if case.source == "datetime" else last_of(day, case, calendar)
    if not now < own < lifted:
        return lifted
    placed = off_day_off(day, policy_of(case), calendar)
    if placed == day:
        return own
    latest = [calendar.due(placed, calendar.end(placed))]
    if case.source == "date":
        latest.append(last_of(placed, case, calendar))
    else:
        latest.append(calendar.due(placed, wall.hour * 60 + wall.minute))
        if latest[1] > now:
            return min(lifted, latest[1])
    return min([lifted, *(found for found in (max(latest),) if found > now)])


def last_of(day: date, case: Case, calendar: SlowCalendar) -> datetime:
    """The last moment of that day that a date stands for."""
    return calendar.due(day, max(calendar.end(day), case.at or 0))


def at_once(case: Case, moment: datetime, calendar: SlowCalendar) -> datetime:
    """0 workdays."""
    day = moment.astimezone(calendar.zone).date()
    while True:
        due = on(day, case, calendar)
        if calendar.works(day) and due > moment:
            return due
        day += ONE_DAY


def on(day: date, case: Case, calendar: SlowCalendar) -> datetime:
    """That day at ``at``, else at the end of hours."""
    return calendar.due(day, calendar.end(day) if case.at is None else case.at)


def count(case: Case, moment: datetime, calendar: SlowCalendar) -> datetime:
    """When it is due, past or not."""
    step = -ONE_DAY if case.before else ONE_DAY
    day = moment.date() if case.source == "date" else moment.astimezone(calendar.zone).date()
    if case.unit in ("minutes", "hours", "") and (case.unit or (case.source == "datetime" and case.at is None)):
        for _ in range(case.amount * (60 if case.unit == "hours" else 1)):
            moment += -ONE_MINUTE if case.before else ONE_MINUTE
        wall = moment.astimezone(calendar.zone)
        moved = off_day_off(wall.date(), policy_of(case), calendar)
        return moment if moved == wall.date() else calendar.due(moved, wall.hour * 60 + wall.minute)
    if case.unit in ("workminutes", "workhours"):
        left = case.amount * (60 if case.unit == "workhours" else 1)
        passed = bisect_left(calendar.minutes, moment)
        worked = calendar.minutes[passed - left] if case.before else calendar.minutes[passed + left - 1] + ONE_MINUTE
        return worked if calendar.works(worked.astimezone(calendar.zone).date()) else worked - ONE_MINUTE
    if case.unit == "workdays":
        if case.amount == 0:
            return at_once(case, moment, calendar)
        left = case.amount
        while left:
            day += step
            left -= calendar.works(day)
        return on(day, case, calendar)
    if case.unit == "months":
        month = day.replace(day=1)
        for _ in range(case.amount):
            month += step
            while month.day != 1:
                month += step
        target = month
        while target.day < day.day and (target + ONE_DAY).month == month.month:
            target += ONE_DAY
        day = target
    else:
        for _ in range(case.amount * {"weeks": 7, "days": 1, "": 0}[case.unit]):
            day += step
    return on(off_day_off(day, policy_of(case), calendar), case, calendar)


def off_day_off(day: date, policy: str, calendar: SlowCalendar) -> date:
    """The working day that a day off gives way to."""
    while policy != "keep" and not calendar.works(day):
        day += ONE_DAY if policy == "next" else -ONE_DAY
    return day
