"""Every day of a year, every kind of deadline, several calendars and zones: all as the slow reference has it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from itertools import product
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from bitrix_sync.model.facts import DealField
from bitrix_sync.model.worktime import Calendar, build_calendar
from bitrix_sync.rules.deadlines import compute
from bitrix_sync.rules.model import Deadline, Done, Duration
from tests.deadline_reference import RUSSIAN_DAYS_OFF, RUSSIAN_WORKING_WEEKENDS, Case, SlowCalendar, days, reckon

MOSCOW, BERLIN, NEW_YORK = ZoneInfo("Europe/Moscow"), ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")
NUUK = ZoneInfo("America/Nuuk")
INDIA = timezone(timedelta(hours=5, minutes=30))
NINE_TO_SIX: dict[int, list[tuple[int, int]]] = {weekday: [(540, 1080)] for weekday in range(5)}


@dataclass(frozen=True)
class Setting:
    """A calendar, told to both."""

    name: str
    year: int
    zone: tzinfo
    week: dict[int, list[tuple[int, int]]]
    told: dict[str, Any]
    off: frozenset[date] = frozenset()
    on: frozenset[date] = frozenset()
    hours: tuple[str, ...] = ("08:00", "12:30", "18:00", "23:59")

    def product(self) -> Calendar:
        week = {
            weekday: [(time(a // 60, a % 60), time(b // 60, b % 60)) for a, b in spans]
            for weekday, spans in self.week.items()
        }
        return build_calendar(zone=self.zone, week=week, **self.told)

    def reference(self) -> SlowCalendar:
        first, last = date(self.year, 1, 1) - timedelta(days=75), date(self.year, 12, 31) + timedelta(days=75)
        return SlowCalendar(self.zone, self.week, first, last, off=self.off, on=self.on)


SETTINGS = [
    Setting(
        "Russia with moved days off",
        2026,
        MOSCOW,
        NINE_TO_SIX,
        {"country": "RU"},
        days(RUSSIAN_DAYS_OFF),
        days(RUSSIAN_WORKING_WEEKENDS),
    ),
    Setting(
        "Russia with moved working days",
        2024,
        MOSCOW,
        NINE_TO_SIX | {4: [(540, 780), (840, 1005)]},
        {"country": "RU", "days_off": {date(2024, 7, 5)}, "working_days": {date(2024, 7, 6), date(2024, 5, 10)}},
        days(RUSSIAN_DAYS_OFF) - {date(2024, 5, 10)} | {date(2024, 7, 5)},
        days(RUSSIAN_WORKING_WEEKENDS) | {date(2024, 7, 6)},
    ),
    Setting(
        "Berlin, hours differ by day, a working Sunday on which clocks change",
        2026,
        BERLIN,
        {0: [(600, 1140)], 1: [(540, 1080)], 3: [(540, 780), (840, 990)], 4: [(540, 600)], 5: [(600, 780), (840, 960)]},
        {"working_days": {date(2026, 3, 29), date(2026, 10, 25)}, "days_off": {date(2026, 12, 24), date(2026, 5, 14)}},
        frozenset({date(2026, 12, 24), date(2026, 5, 14)}),
        frozenset({date(2026, 3, 29), date(2026, 10, 25)}),
        ("01:59", "02:30", "11:00", "13:00", "21:45"),
    ),
    Setting(
        "New York, nights, Sundays too",
        2026,
        NEW_YORK,
        {6: [(0, 200), (1320, 1439)], 0: [(90, 150)], 2: [(60, 300), (300, 420)]},
        {},
        hours=("00:00", "01:30", "02:30", "22:10"),
    ),
    Setting(
        "a fixed offset, the portal's yearly holidays",
        2026,
        INDIA,
        NINE_TO_SIX,
        {"holidays": {(26, 1), (15, 8), (2, 10), (1, 1)}, "extra_working": {(24, 1), (3, 10)}},
        days(dict.fromkeys((2025, 2026, 2027), "26.1 15.8 2.10 1.1")),
        days(dict.fromkeys((2025, 2026, 2027), "24.1 3.10")),
    ),
    Setting(
        "Nuuk: a Saturday that ends at eleven before Sundays off, weeks of holidays",
        2024,
        NUUK,
        {weekday: [(540, 1080)] for weekday in (0, 2, 4)} | {5: [(600, 780), (1320, 1439)]},
        {"days_off": days({2024: "1-21.7 20-31.12"})},
        days({2024: "1-21.7 20-31.12"}),
        hours=("00:00", "12:30", "23:00", "23:59"),
    ),
]

TIMED = [("minutes", 45), ("hours", 7), ("workminutes", 50), ("workhours", 9)]
DAYS = [("days", 1), ("days", 5), ("weeks", 2), ("months", 1), ("workdays", 1), ("workdays", 7)]
POLICIES = ("", "next", "previous", "keep")
KINDS = [
    *(Case("moment", unit, amount) for unit, amount in TIMED),
    *(Case("moment", unit, amount, on_day_off=policy) for (unit, amount), policy in product(TIMED[:2], POLICIES[1:])),
    *(Case("moment", unit, amount, at=at) for (unit, amount), at in product(DAYS, (None, 150, 900))),
    *(Case("moment", unit, amount, on_day_off=policy) for (unit, amount), policy in product(DAYS[:4], POLICIES[1:])),
    *(Case("moment", "workdays", 0, at=at) for at in (None, 150, 900)),
    *(Case("datetime", unit, amount, before) for (unit, amount), before in product(TIMED, (False, True))),
    *(
        Case(source, unit, amount, before, at)
        for source, (unit, amount), before, at in product(("date", "datetime"), DAYS, (False, True), (None, 690))
    ),
    *(
        Case("datetime", unit, amount, True, on_day_off=policy)
        for (unit, amount), policy in product(TIMED[:2], POLICIES[1:])
    ),
    *(
        Case(source, unit, amount, True, at, policy)
        for source, (unit, amount), at, policy in product(
            ("date", "datetime"), (("days", 3), ("workdays", 2)), (None, 30, 1410), POLICIES[1:]
        )
    ),
    *(Case(source, at=at, on_day_off=p) for source, at, p in product(("date", "datetime"), (None, 690), POLICIES)),
]
MANY = 9
"""Every kind meets every day, at one of the hours in turn; every so many kinds an event instead of entry."""

DAY, WHEN, EVENT = "UF_CRM_DAY", "UF_CRM_WHEN", Done("offer", same_stage=True)
FIELDS = {DAY: DealField(DAY, "Day", "date"), WHEN: DealField(WHEN, "When", "datetime")}
WAITS = [
    *(timedelta(hours=hours) for hours in (0, -400, 3, 48, -5)),
    *(timedelta(days=-4, minutes=7), timedelta(days=-1), timedelta(hours=-11), timedelta(hours=-35)),
]
"""How long after the moment it counts from a deadline is computed. A field's lies ahead at most: what counts back from
it is past by then."""


def deadline_of(case: Case, *, event: bool) -> Deadline:
    return Deadline(
        offset=Duration(case.amount, case.unit) if case.unit else None,  # type: ignore[arg-type]
        direction=-1 if case.before else 1,
        field={"date": DAY, "datetime": WHEN}.get(case.source),
        event=EVENT if event else None,
        at=None if case.at is None else time(case.at // 60, case.at % 60),
        on_day_off=case.on_day_off or None,  # type: ignore[arg-type]
        otherwise=Deadline(Duration(3, "workdays")),
    )


def every_day(year: int) -> Iterator[date]:
    day = date(year, 1, 1)
    while day.year == year:
        yield day
        day += timedelta(days=1)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_every_day_of_a_year_and_every_kind_agree_with_the_reference(setting: Setting) -> None:
    fast, slow = setting.product(), setting.reference()
    deadlines = [(case, deadline_of(case, event=False), deadline_of(case, event=True)) for case in KINDS]
    turn = 0
    for day in every_day(setting.year):
        turn += 1  # so that no kind keeps one hour for the year
        for case, plain, of_event in deadlines:
            turn += 1
            hour = time.fromisoformat(setting.hours[turn % len(setting.hours)])
            moment = datetime.combine(day, hour, setting.zone).astimezone(UTC)
            now = moment + WAITS[turn % len(WAITS)]
            event = case.source == "moment" and turn % MANY == 0
            found = compute(
                of_event if event else plain,
                entry=moment,
                start=moment,
                now=now,
                calendar=fast,
                fields={DAY: f"{day}T02:00:00+02:00", WHEN: moment.isoformat()},
                deal_fields=FIELDS,
                happened=lambda _: moment,  # noqa: B023 - called at once
            )
            counted = datetime.combine(day, time(0), UTC) if case.source == "date" else moment
            assert found.at == reckon(case, counted, now, slow), (case, moment, now)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_every_day_works_or_not_in_both(setting: Setting) -> None:
    fast, slow = setting.product(), setting.reference()
    for day in every_day(setting.year):
        assert fast.is_working(day) == slow.works(day), day
        spans = [(a.hour * 60 + a.minute, b.hour * 60 + b.minute) for a, b in fast.spans(day)]
        assert spans == (slow.hours(day) if slow.works(day) else []), day
