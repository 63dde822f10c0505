"""The rules language, section Calendar: days, hours, zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitrix_sync.model.worktime import Calendar, CalendarError, Spans, build_calendar, country_codes

MOSCOW, BERLIN, NEW_YORK = ZoneInfo("Europe/Moscow"), ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")


def spans(*texts: str) -> Spans:
    return tuple((time.fromisoformat(text[:5]), time.fromisoformat(text[6:])) for text in texts)


NINE_TO_SIX = dict.fromkeys(range(5), spans("09:00-18:00"))
DIFFERENT = {
    0: spans("10:00-19:00"),
    1: spans("09:00-18:00"),
    4: spans("09:00-13:00", "14:00-16:30"),
    5: spans("10:00-13:00"),
}


def calendar(zone: tzinfo = MOSCOW, week: Any = NINE_TO_SIX, **rest: Any) -> Calendar:
    return build_calendar(zone=zone, week=week, **rest)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def local(text: str, zone: tzinfo = MOSCOW) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone)


# --- which days work -------------------------------------------------------------------------------------------------


def test_the_days_with_hours_are_the_working_days() -> None:
    ours = calendar(week=DIFFERENT)
    week = [date(2026, 3, 9) + timedelta(days=n) for n in range(7)]
    assert [ours.is_working(day) for day in week] == [True, True, False, False, True, True, False]
    assert ours.spans(week[4]) == spans("09:00-13:00", "14:00-16:30")
    assert ours.spans(week[2]) == ()


def test_spans_are_put_in_order() -> None:
    ours = calendar(week={0: spans("14:00-18:00", "09:00-13:00")})
    assert ours.spans(date(2026, 3, 9)) == spans("09:00-13:00", "14:00-18:00")


@pytest.mark.parametrize("day", ["2026-01-09", "2026-03-09", "2026-05-11", "2026-12-31", "2027-02-22"])
def test_country_takes_public_holidays_and_days_off_that_were_moved(day: str) -> None:
    assert not calendar(country="RU").is_working(date.fromisoformat(day))


@pytest.mark.parametrize("day", ["2024-04-27", "2024-11-02", "2024-12-28", "2025-11-01", "2027-02-20"])
def test_country_takes_moved_working_days(day: str) -> None:
    ours = calendar(country="RU")
    assert ours.is_working(date.fromisoformat(day))
    assert ours.spans(date.fromisoformat(day)) == spans("09:00-18:00")


def test_a_holiday_of_the_country_on_a_working_saturday_is_a_day_off() -> None:
    assert not calendar(week=NINE_TO_SIX | {5: spans("10:00-14:00")}, country="RU").is_working(date(2026, 5, 9))


def test_without_country_there_are_no_public_holidays() -> None:
    assert calendar().is_working(date(2026, 1, 1))


def test_days_off_and_working_days_overrule_the_country() -> None:
    off, working = date(2027, 2, 20), date(2026, 1, 9)
    ours = calendar(country="RU", days_off={off}, working_days={working})
    assert not ours.is_working(off)
    assert ours.is_working(working)


def test_a_working_day_out_of_turn_has_the_first_working_days_hours() -> None:
    sunday, holiday_on_friday = date(2026, 3, 15), date(2026, 6, 12)
    ours = calendar(week=DIFFERENT, country="RU", working_days={sunday, holiday_on_friday})
    assert ours.spans(sunday) == spans("10:00-19:00")
    assert ours.spans(holiday_on_friday) == spans("09:00-13:00", "14:00-16:30"), "a Friday's turn is a Friday's hours"


def test_the_portals_holidays_and_working_days_come_every_year() -> None:
    ours = calendar(holidays={(8, 3), (12, 6)}, extra_working={(14, 3)})
    assert not ours.is_working(date(2026, 6, 12))
    assert not ours.is_working(date(2028, 3, 8))
    assert ours.is_working(date(2026, 3, 14))
    assert ours.is_working(date(2027, 3, 14))


def test_a_certain_date_is_stronger_than_a_yearly_pair() -> None:
    ours = calendar(
        holidays={(12, 6)},
        extra_working={(14, 3)},
        working_days={date(2026, 6, 12)},
        days_off={date(2026, 3, 14)},
    )
    assert ours.is_working(date(2026, 6, 12))
    assert not ours.is_working(date(2028, 6, 12)), "the pair still holds in other years"
    assert not ours.is_working(date(2026, 3, 14))


def test_hours_of_a_day_off_are_those_of_a_usual_day() -> None:
    ours = calendar(week=DIFFERENT)
    sunday, friday = date(2026, 3, 15), date(2026, 3, 13)
    assert (ours.start_of(sunday), ours.end_of(sunday)) == (time(10), time(19)) == (ours.usual[0][0], ours.usual[-1][1])
    assert (ours.start_of(friday), ours.end_of(friday)) == (time(9), time(16, 30))


# --- counting working days -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("day", "n", "after", "before"),
    [
        ("2026-03-12", 1, "2026-03-13", "2026-03-11"),
        ("2026-03-13", 1, "2026-03-16", "2026-03-12"),
        ("2026-03-14", 1, "2026-03-16", "2026-03-13"),
        ("2026-03-15", 2, "2026-03-17", "2026-03-12"),
        ("2025-12-30", 1, "2026-01-12", "2025-12-29"),  # 31 December to 11 January are days off
        ("2026-01-05", 1, "2026-01-12", "2025-12-30"),
        ("2026-12-30", 1, "2027-01-11", "2026-12-29"),
    ],
)
def test_nth_working_day_is_counted_strictly_after_and_strictly_before(
    day: str, n: int, after: str, before: str
) -> None:
    ours = calendar(country="RU")
    assert ours.nth_working_after(date.fromisoformat(day), n).isoformat() == after
    assert ours.nth_working_before(date.fromisoformat(day), n).isoformat() == before


def test_next_and_previous_working_day_take_the_day_itself_only_when_asked() -> None:
    ours, friday, saturday = calendar(), date(2026, 3, 13), date(2026, 3, 14)
    assert ours.next_working(friday, inclusive=True) == friday == ours.previous_working(friday, inclusive=True)
    assert ours.next_working(friday, inclusive=False) == date(2026, 3, 16)
    assert ours.previous_working(friday, inclusive=False) == date(2026, 3, 12)
    assert ours.next_working(saturday, inclusive=True) == date(2026, 3, 16)
    assert ours.previous_working(saturday, inclusive=True) == friday


@pytest.mark.parametrize("day", [date(2026, 1, 1), date(2025, 12, 31)])
def test_the_turn_of_the_year_is_no_border(day: date) -> None:
    ours = calendar(week=dict.fromkeys(range(7), spans("09:00-18:00")))
    assert ours.next_working(day, inclusive=True) == day == ours.previous_working(day, inclusive=True)
    assert ours.next_working(day, inclusive=False) == day + timedelta(days=1)
    assert ours.previous_working(day, inclusive=False) == day - timedelta(days=1)


CALENDARS = [
    calendar(country="RU"),
    calendar(BERLIN, DIFFERENT, days_off={date(2026, 5, 26)}, working_days={date(2026, 5, 30), date(2026, 3, 29)}),
    calendar(NEW_YORK, {6: spans("00:30-03:30", "22:00-23:59"), 2: spans("08:00-08:01")}),
]
DAYS = st.dates(date(2024, 1, 1), date(2028, 12, 31))


@given(ours=st.sampled_from(CALENDARS), day=DAYS, n=st.integers(1, 400))
@settings(max_examples=100, deadline=None)
def test_counting_back_and_forth_ends_on_the_same_day(ours: Calendar, day: date, n: int) -> None:
    start = ours.next_working(day, inclusive=True)
    end = ours.nth_working_after(start, n)
    assert ours.is_working(end)
    assert ours.nth_working_before(end, n) == start
    assert ours.nth_working_after(start, n + 1) > end


# --- moments ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "day", "at", "expected"),
    [
        (MOSCOW, "2026-03-12", "18:00", "2026-03-12 15:00"),
        (timezone(timedelta(hours=5, minutes=30)), "2026-03-12", "18:00", "2026-03-12 12:30"),
        (BERLIN, "2026-03-29", "01:59", "2026-03-29 00:59"),
        (BERLIN, "2026-03-29", "02:00", "2026-03-29 01:00"),
        (BERLIN, "2026-03-29", "02:30", "2026-03-29 01:00"),
        (BERLIN, "2026-03-29", "03:00", "2026-03-29 01:00"),
        (BERLIN, "2026-10-25", "02:30", "2026-10-25 00:30"),
        (BERLIN, "2026-10-25", "03:00", "2026-10-25 02:00"),
        (NEW_YORK, "2026-03-08", "02:30", "2026-03-08 07:00"),
        (NEW_YORK, "2026-11-01", "01:30", "2026-11-01 05:30"),
        (ZoneInfo("America/Santiago"), "2026-09-06", "00:00", "2026-09-06 04:00"),
        (ZoneInfo("Pacific/Apia"), "2011-12-30", "10:00", "2011-12-30 10:00"),
        (ZoneInfo("Australia/Lord_Howe"), "2026-10-04", "02:10", "2026-10-03 15:30"),
    ],
)
def test_a_time_that_does_not_exist_becomes_the_next_one_that_does_a_doubled_one_its_first(
    zone: tzinfo, day: str, at: str, expected: str
) -> None:
    moment = calendar(zone).moment(date.fromisoformat(day), time.fromisoformat(at))
    assert moment == utc(expected)
    assert moment.tzinfo is UTC


def test_local_shows_the_clocks_of_the_zone() -> None:
    assert calendar(BERLIN).local(utc("2026-03-29 01:00")).isoformat() == "2026-03-29T03:00:00+02:00"


def test_a_naive_moment_is_refused() -> None:
    with pytest.raises(ValueError, match="without an offset"):
        calendar().local(datetime(2026, 3, 12))  # noqa: DTZ001


# --- working hours ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "minutes", "expected"),
    [
        ("2026-03-12 10:00", 30, "2026-03-12 10:30"),
        ("2026-03-12 17:45", 30, "2026-03-13 09:15"),
        ("2026-03-12 17:30", 30, "2026-03-12 18:00"),  # ends exactly with the day: stays there
        ("2026-03-12 18:00", 30, "2026-03-13 09:30"),
        ("2026-03-12 07:00", 30, "2026-03-12 09:30"),
        ("2026-03-13 17:00", 120, "2026-03-16 10:00"),
        ("2026-03-14 12:00", 60, "2026-03-16 10:00"),
        ("2026-03-12 09:00", 540, "2026-03-12 18:00"),
        ("2026-03-12 09:00", 541, "2026-03-13 09:01"),
        ("2026-03-12 17:59:30", 1, "2026-03-13 09:00:30"),
        ("2026-03-12 10:00", -30, "2026-03-12 09:30"),
        ("2026-03-12 09:15", -30, "2026-03-11 17:45"),
        ("2026-03-12 09:30", -30, "2026-03-12 09:00"),  # counted back, the start is where it stays
        ("2026-03-12 09:00", -30, "2026-03-11 17:30"),
        ("2026-03-16 08:00", -60, "2026-03-13 17:00"),
        ("2026-03-14 12:00", 0, "2026-03-14 12:00"),
    ],
)
def test_working_minutes_pass_inside_working_hours_only(start: str, minutes: int, expected: str) -> None:
    assert calendar().add_work(local(start), minutes) == local(expected)


@pytest.mark.parametrize(
    ("start", "minutes", "expected"),
    [
        ("2026-03-13 12:30", 30, "2026-03-13 13:00"),
        ("2026-03-13 12:30", 31, "2026-03-13 14:01"),
        ("2026-03-13 13:30", 10, "2026-03-13 14:10"),
        ("2026-03-13 16:00", 60, "2026-03-14 10:30"),
        ("2026-03-14 10:30", -60, "2026-03-13 16:00"),
        ("2026-03-13 14:10", -20, "2026-03-13 12:50"),
        ("2026-03-14 13:00", 60, "2026-03-16 11:00"),
    ],
)
def test_working_minutes_pass_through_every_span_of_every_day(start: str, minutes: int, expected: str) -> None:
    assert calendar(week=DIFFERENT).add_work(local(start), minutes) == local(expected)


def test_a_span_across_a_change_of_clocks_is_as_long_as_it_lasts() -> None:
    ours = calendar(BERLIN, dict.fromkeys(range(7), spans("00:00-06:00")))
    assert ours.add_work(local("2026-03-29 00:00", BERLIN), 300) == local("2026-03-29 06:00", BERLIN)
    assert ours.add_work(local("2026-10-25 00:00", BERLIN), 420) == local("2026-10-25 06:00", BERLIN)


def test_hours_that_a_change_of_clocks_leaves_out_hold_no_work() -> None:
    ours = calendar(BERLIN, {6: spans("02:00-03:00")})
    assert ours.add_work(local("2026-03-29 00:00", BERLIN), 1) == local("2026-04-05 02:01", BERLIN)


@given(
    ours=st.sampled_from(CALENDARS),
    start=st.datetimes(datetime(2025, 1, 1), datetime(2027, 1, 1)),  # noqa: DTZ001
    minutes=st.integers(1, 2000),
)
@settings(max_examples=100, deadline=None)
def test_work_done_can_be_undone(ours: Calendar, start: datetime, minutes: int) -> None:
    start = start.replace(tzinfo=UTC)
    end = ours.add_work(start, minutes)
    assert ours.add_work(start, minutes + 1) > end > start
    assert ours.spans(ours.local(end).date()), "work ends on a working day"
    back = ours.add_work(end, -minutes)
    assert back >= start
    assert ours.add_work(back, minutes) == end


# --- calendars that cannot be, or never work ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"week": {}}, "no working day"),
        ({"week": {0: ()}}, "no working day"),
        ({"week": {7: spans("09:00-18:00")}}, "no working day"),
        ({"week": {0: spans("18:00-09:00")}}, "18:00-09:00 end before they begin"),
        ({"week": {0: spans("09:00-09:00")}}, "end before they begin"),
        ({"week": {0: spans("09:00-14:00", "13:00-18:00")}}, "09:00-14:00 and 13:00-18:00 overlap"),
        ({"country": "XX"}, "country 'XX'"),
        ({"country": "Narnia"}, "as RU"),
        (
            {"days_off": {date(2026, 12, 31)}, "working_days": {date(2026, 12, 31)}},
            "2026-12-31 is in both days_off and working_days",
        ),
    ],
)
def test_a_calendar_that_cannot_be_is_refused_in_words(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(CalendarError, match=message):
        calendar(**wrong)


def test_a_country_may_be_written_small() -> None:
    assert not calendar(country="ru").is_working(date(2026, 1, 9))
    assert {"RU", "DE", "US", "KZ"} <= country_codes()


def test_spans_may_touch() -> None:
    ours = calendar(week={0: spans("09:00-12:00", "12:00-18:00")})
    assert ours.add_work(local("2026-03-09 11:00"), 120) == local("2026-03-09 13:00")


EVERY_DAY = {(day, month) for day in range(1, 32) for month in range(1, 13)}


def test_a_calendar_that_never_works_is_an_error_not_an_endless_search() -> None:
    never = calendar(holidays=EVERY_DAY)
    now, day = utc("2026-03-12 09:00"), date(2026, 3, 12)
    for seek in (never.next_working, never.previous_working):
        with pytest.raises(CalendarError, match="no working day"):
            seek(day, inclusive=True)
    for minutes in (1, -1):
        with pytest.raises(CalendarError, match="no working day"):
            never.add_work(now, minutes)


def test_hours_that_do_not_come_are_an_error_not_an_endless_search() -> None:
    rare = calendar(week={0: spans("09:00-09:01")})
    for minutes in (10_000, -10_000):
        with pytest.raises(CalendarError, match="no 10000 working minutes within 100 years"):
            rare.add_work(utc("2026-03-12 09:00"), minutes)


def test_the_ends_of_time_are_an_error_not_an_endless_search() -> None:
    with pytest.raises(CalendarError, match="no working day"):
        calendar().nth_working_after(date(9999, 12, 30), 5)
    with pytest.raises(CalendarError, match="no working day"):
        calendar().nth_working_before(date(1, 1, 2), 5)


@pytest.mark.parametrize("n", [0, -1])
def test_working_days_are_counted_from_one(n: int) -> None:
    for count in (calendar().nth_working_after, calendar().nth_working_before):
        with pytest.raises(ValueError, match="counted from 1"):
            count(date(2026, 3, 12), n)
