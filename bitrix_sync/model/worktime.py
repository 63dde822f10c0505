"""Working time of a company: which days it works, at which hours, in which zone. Pure: no clock, no portal.

Days are civil days of ``zone`` (``date``), hours are walls' clocks (``time``), moments are aware datetimes; what comes
out is UTC. Durations inside working hours are real minutes: a span across a change of clocks is as long as it lasts.

Source: the rules language, sections Calendar and Deadlines.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import MAXYEAR, MINYEAR, UTC, date, datetime, time, timedelta, timezone, tzinfo
from functools import lru_cache
from itertools import pairwise
from typing import Annotated
from zoneinfo import ZoneInfo

import holidays
from pydantic import PlainSerializer, PlainValidator

from bitrix_sync.errors import UserError

Spans = tuple[tuple[time, time], ...]
"""Working hours of one day, in order: (from, to). The last minute of a day that works till midnight is 23:59."""

ONE_MINUTE = timedelta(minutes=1)
BARREN_YEARS = 10
"""So many years in a row without a working day: there will be none, the search gives up."""
MOVED_YEARLY = 5
"""A country that moved days in so many years one after another does so every year."""
WORK_YEARS = 100
"""No sum of working hours reaches further than this."""


def zone_name(zone: tzinfo) -> str | float:
    """A zone as it is kept: its name, or a fixed offset in seconds."""
    offset = zone.utcoffset(None) or timedelta()
    return zone.key if isinstance(zone, ZoneInfo) and zone.key else offset.total_seconds()


def zone_of(name: str | float) -> tzinfo:
    """The zone that was kept so."""
    return ZoneInfo(name) if isinstance(name, str) else timezone(timedelta(seconds=name))


class CalendarError(UserError):
    """A calendar that cannot be built, or that has no working time where some was sought."""


@dataclass(frozen=True, slots=True)
class Calendar:
    """A working calendar; made by ``build_calendar``, which checks it.

    What makes a day a working one, the first that speaks: ``working_days``, ``days_off``, the yearly pairs
    ``extra_working`` and ``holidays``, the ``country``'s public holidays and moved working days, the ``week``.
    """

    zone: Annotated[tzinfo, PlainValidator(zone_of), PlainSerializer(zone_name)]
    week: tuple[Spans, ...]
    country: str | None = None
    days_off: frozenset[date] = frozenset()
    working_days: frozenset[date] = frozenset()
    holidays: frozenset[tuple[int, int]] = frozenset()
    extra_working: frozenset[tuple[int, int]] = frozenset()
    _years: dict[int, list[int]] = field(default_factory=dict, init=False, repr=False, compare=False)

    # --- days --------------------------------------------------------------------------------------------------------

    def is_working(self, day: date) -> bool:
        """True on a working day."""
        ordinals = self._year(day.year)
        ordinal = day.toordinal()
        at = bisect_left(ordinals, ordinal)
        return at < len(ordinals) and ordinals[at] == ordinal

    def next_working(self, day: date, inclusive: bool = False) -> date:
        """The first working day after ``day``, or from it on. CalendarError when there is none."""
        return self._later(day.year, day.toordinal() - inclusive, 1)

    def previous_working(self, day: date, inclusive: bool = False) -> date:
        """The last working day before ``day``, or up to it. CalendarError when there is none."""
        return self._earlier(day.year, day.toordinal() + inclusive, 1)

    def nth_working_after(self, day: date, n: int) -> date:
        """The ``n``-th (from 1) working day strictly after ``day``. CalendarError when there are not so many."""
        return self._later(day.year, day.toordinal(), n)

    def nth_working_before(self, day: date, n: int) -> date:
        """The ``n``-th (from 1) working day strictly before ``day``. CalendarError when there are not so many."""
        return self._earlier(day.year, day.toordinal(), n)

    # --- hours -------------------------------------------------------------------------------------------------------

    @property
    def usual(self) -> Spans:
        """Hours of a usual working day: those of the week's first one (Monday is the week's first day)."""
        return next(spans for spans in self.week if spans)

    def spans(self, day: date) -> Spans:
        """Working hours of the day, () on a day off. A working day out of turn (one whose weekday has no hours) has
        the usual ones."""
        return self._hours(day) if self.is_working(day) else ()

    def start_of(self, day: date) -> time:
        """When that day's hours begin; on a day off, when a usual day's do."""
        return (self.spans(day) or self.usual)[0][0]

    def end_of(self, day: date) -> time:
        """When that day's hours end; on a day off, when a usual day's do."""
        return (self.spans(day) or self.usual)[-1][1]

    # --- moments -----------------------------------------------------------------------------------------------------

    def moment(self, day: date, at: time) -> datetime:
        """The moment, in UTC, when the zone's clocks show ``at`` on ``day``. A time that a change of clocks leaves out
        becomes the next one that exists, a doubled one its first. OverflowError at the ends of time."""
        return self._moment(day, at)[0]

    def due(self, day: date, at: time) -> datetime:
        """The moment as above, never on a day off when ``day`` works: where a change of clocks leaves out the end of
        the day, and the time that comes next belongs to a day off, it is the last minute before the change."""
        moment, shown = self._moment(day, at)
        if shown != day and self.is_working(day) and not self.is_working(shown):
            return moment - ONE_MINUTE
        return moment

    def local(self, moment: datetime) -> datetime:
        """The moment on the zone's clocks. ValueError for a naive one."""
        if moment.tzinfo is None:
            raise ValueError(f"{moment} is a time without an offset from UTC")
        return moment.astimezone(self.zone)

    def add_work(self, moment: datetime, minutes: int) -> datetime:
        """The moment, in UTC, when so many minutes of working hours have passed (negative: before which they pass).

        What ends exactly with a span stays at its end (counted back: at its start). 0 minutes: the moment itself.
        CalendarError when the hours do not suffice within ``WORK_YEARS``.
        """
        now = moment.astimezone(UTC)
        left = timedelta(minutes=abs(minutes))
        if not left:
            return now
        for start, end in self._stretches(now, forward=minutes > 0):
            if end - start >= left:
                found = start + left if minutes > 0 else end - left
                # a change of clocks may leave nothing between the hours' end and a day off
                return found if self.is_working(self.local(found).date()) else found - ONE_MINUTE
            left -= end - start
        raise CalendarError(f"There are no {abs(minutes)} working minutes within {WORK_YEARS} years of {now}.")

    # --- inside ------------------------------------------------------------------------------------------------------

    def _moment(self, day: date, at: time) -> tuple[datetime, date]:
        """See ``moment``; and the day that the zone's clocks show then."""
        wall = datetime.combine(day, at.replace(fold=0), tzinfo=self.zone)
        before, after = wall.utcoffset(), wall.replace(fold=1).utcoffset()
        if before is None or after is None or before >= after:
            return wall.astimezone(UTC), day
        moment = self._change(wall.replace(tzinfo=UTC) - after, wall.replace(tzinfo=UTC) - before)
        return moment, self.local(moment).date()

    def _hours(self, day: date) -> Spans:
        return self.week[day.weekday()] or self.usual

    def _stretches(self, now: datetime, *, forward: bool) -> Iterator[tuple[datetime, datetime]]:
        """Stretches of working time in UTC from ``now`` on, forward or backward, none of them empty."""
        day = self.local(now).date()
        horizon = day.year + (WORK_YEARS if forward else -WORK_YEARS)
        inclusive = True
        while True:
            day = self.next_working(day, inclusive) if forward else self.previous_working(day, inclusive)
            inclusive = False
            if (day.year > horizon) if forward else (day.year < horizon):
                return
            spans = self._hours(day)
            for opens, closes in spans if forward else reversed(spans):
                start, end = self.moment(day, opens), self.moment(day, closes)
                start, end = (max(start, now), end) if forward else (start, min(end, now))
                if start < end:
                    yield start, end

    def _change(self, low: datetime, high: datetime) -> datetime:
        """The moment in (low, high] at which the zone's clocks are put forward."""
        offset = high.astimezone(self.zone).utcoffset()
        low, high = low.replace(microsecond=0), high.replace(microsecond=0)
        while high - low > timedelta(seconds=1):
            middle = (low + (high - low) / 2).replace(microsecond=0)
            if middle.astimezone(self.zone).utcoffset() == offset:
                high = middle
            else:
                low = middle
        return high

    def _later(self, year: int, ordinal: int, n: int) -> date:
        """The n-th working day after the ordinal, which lies in ``year`` or on the eve of it."""
        if n < 1:
            raise ValueError(f"working days are counted from 1, not {n}")
        ordinals = self._year(year)
        at = bisect_right(ordinals, ordinal) + n - 1
        barren = 0
        while at >= len(ordinals):
            at -= len(ordinals)
            barren = 0 if ordinals else barren + 1
            year += 1
            if year > MAXYEAR or barren > BARREN_YEARS:
                raise CalendarError(f"The calendar has no working day from {year - barren} on.")
            ordinals = self._year(year)
        return date.fromordinal(ordinals[at])

    def _earlier(self, year: int, ordinal: int, n: int) -> date:
        """The n-th working day before the ordinal, which lies in ``year`` or on the morrow of it."""
        if n < 1:
            raise ValueError(f"working days are counted from 1, not {n}")
        ordinals = self._year(year)
        at = bisect_left(ordinals, ordinal) - n
        barren = 0
        while at < 0:
            barren = 0 if ordinals else barren + 1
            year -= 1
            if year < MINYEAR or barren > BARREN_YEARS:
                raise CalendarError(f"The calendar has no working day up to {year + barren}.")
            ordinals = self._year(year)
            at += len(ordinals)
        return date.fromordinal(ordinals[at])

    def _year(self, year: int) -> list[int]:
        """The year's working days as ordinals, in order; reckoned once."""
        known = self._years.get(year)
        if known is None:
            first, last = date(year, 1, 1).toordinal(), date(year, 12, 31).toordinal()
            known = [day for day in range(first, last + 1) if self._works(date.fromordinal(day))]
            self._years[year] = known
        return known

    def _works(self, day: date) -> bool:
        pair = (day.day, day.month)
        if day in self.working_days:
            return True
        if day in self.days_off:
            return False
        if pair in self.extra_working:
            return True
        if pair in self.holidays:
            return False
        if self.country:
            off, moved = _country_year(self.country, day.year)
            if day in off or day in moved:
                return day in moved
        return bool(self.week[day.weekday()])


def build_calendar(
    *,
    zone: tzinfo,
    week: Mapping[int, Sequence[tuple[time, time]]],
    country: str | None = None,
    days_off: Collection[date] = (),
    working_days: Collection[date] = (),
    holidays: Collection[tuple[int, int]] = (),
    extra_working: Collection[tuple[int, int]] = (),
) -> Calendar:
    """A checked calendar. ``week``: working hours by weekday (0 = Monday), of those that work. ``country``: a code of
    ISO 3166 (RU), for its public holidays and moved working days. ``days_off``, ``working_days``: certain dates.
    ``holidays``, ``extra_working``: (day, month) of every year, as the portal has them.

    CalendarError for hours that end before they begin or overlap, a week without a working day, an unknown country, and
    a date that is both a day off and a working day.
    """
    hours = {weekday: _ordered(spans) for weekday, spans in week.items() if spans}
    if not hours or not set(hours) <= set(range(7)):
        raise CalendarError("The calendar's week has no working day: give hours to at least one day.")
    code = country.strip().upper() if country else None
    if code is not None and code not in country_codes():
        raise CalendarError(f"No public holidays are known for the country {country!r}: write its two letters, as RU.")
    if both := sorted(set(days_off) & set(working_days)):
        raise CalendarError(f"{both[0]} is in both days_off and working_days: leave it in one of them.")
    return Calendar(
        zone=zone,
        week=tuple(hours.get(weekday, ()) for weekday in range(7)),
        country=code,
        days_off=frozenset(days_off),
        working_days=frozenset(working_days),
        holidays=frozenset(holidays),
        extra_working=frozenset(extra_working),
    )


@lru_cache(maxsize=1)
def country_codes() -> frozenset[str]:
    """Two-letter codes of the countries whose public holidays are known."""
    return frozenset(code for code in holidays.list_supported_countries(include_aliases=False) if len(code) == 2)


def moved_days_known_until(country: str) -> int | None:
    """The last year of which the days are known that the government moves anew each year; None where it moves none."""
    known = holidays.country_holidays(country)
    kinds = ("special_public_holidays", "special_public_holidays_observed")
    years = sorted({year for kind in kinds for year in getattr(known, kind, ())})
    yearly = len(years) >= MOVED_YEARLY and years[-1] - years[-MOVED_YEARLY] < MOVED_YEARLY
    return years[-1] if yearly else None


def _ordered(spans: Sequence[tuple[time, time]]) -> Spans:
    ordered = tuple(sorted(spans))
    for start, end in ordered:
        if start >= end:
            raise CalendarError(f"Working hours {start:%H:%M}-{end:%H:%M} end before they begin.")
    for (start, end), (after, last) in pairwise(ordered):
        if after < end:
            raise CalendarError(f"Working hours {start:%H:%M}-{end:%H:%M} and {after:%H:%M}-{last:%H:%M} overlap.")
    return ordered


@lru_cache(maxsize=256)
def _country_year(country: str, year: int) -> tuple[frozenset[date], frozenset[date]]:
    """The country's days off and its working days moved to a weekend, of one year. A transfer may be entered under the
    year before or after."""
    years = range(max(year - 1, MINYEAR), min(year + 1, MAXYEAR) + 1)
    known = holidays.country_holidays(country, years=years, expand=False)
    return frozenset(known), frozenset(known.weekend_workdays)
