"""The rules language, section Deadlines, sentence by sentence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitrix_sync.model.facts import DealField
from bitrix_sync.model.worktime import Calendar, build_calendar
from bitrix_sync.rules.deadlines import Computed, DeadlineError, compute
from bitrix_sync.rules.model import Becomes, Deadline, Done, Duration, Entered, Event, Test

MOSCOW, BERLIN = ZoneInfo("Europe/Moscow"), ZoneInfo("Europe/Berlin")
NINE_TO_SIX = dict.fromkeys(range(5), ((time(9), time(18)),))
FRIDAY_SHORT = NINE_TO_SIX | {4: ((time(9), time(16)),)}
PLAIN = build_calendar(zone=MOSCOW, week=NINE_TO_SIX)
RUSSIA = build_calendar(zone=MOSCOW, week=NINE_TO_SIX, country="RU")
SHORT = build_calendar(zone=MOSCOW, week=FRIDAY_SHORT)
GERMANY = build_calendar(zone=BERLIN, week=NINE_TO_SIX)
ALWAYS = build_calendar(zone=BERLIN, week=dict.fromkeys(range(7), ((time(0), time(23, 59)),)))

DAY, WHEN, OTHER = "UF_CRM_DAY", "UF_CRM_WHEN", "UF_CRM_OTHER"
FIELDS = {
    DAY: DealField(DAY, "Day", "date"),
    WHEN: DealField(WHEN, "When", "datetime"),
    OTHER: DealField(OTHER, "Other", "date"),
}
OFFER = Done("offer", same_stage=True)


def after(amount: int, unit: Any, **rest: Any) -> Deadline:
    return Deadline(Duration(amount, unit), 1, **rest)


def before(amount: int, unit: Any, **rest: Any) -> Deadline:
    return Deadline(Duration(amount, unit), -1, **rest)


def moment(text: str, zone: tzinfo = MOSCOW) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone)


def computed(
    deadline: Deadline,
    entry: str = "2026-03-12 10:00",  # a Thursday
    *,
    now: str | None = None,
    start: str | None = None,
    calendar: Calendar = PLAIN,
    fields: Mapping[str, Any] | None = None,
    events: Mapping[Event, str] | None = None,
) -> Computed:
    zone = calendar.zone
    came = {event: moment(text, zone) for event, text in (events or {}).items()}
    return compute(
        deadline,
        entry=moment(entry, zone),
        start=moment(start or entry, zone),
        now=moment(now or start or entry, zone),
        calendar=calendar,
        fields=fields or {},
        deal_fields=FIELDS,
        happened=came.get,
    )


def due(deadline: Deadline, entry: str = "2026-03-12 10:00", *, calendar: Calendar = PLAIN, **rest: Any) -> str:
    """When it is due, on the clocks of the calendar's zone."""
    at = computed(deadline, entry, calendar=calendar, **rest).at
    assert at.tzinfo is UTC
    assert not at.second
    assert not at.microsecond
    return f"{calendar.local(at):%Y-%m-%d %H:%M}"


# --- units -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("deadline", "entry", "expected"),
    [
        (after(30, "minutes"), "2026-03-12 23:45", "2026-03-13 00:15"),
        (after(90, "minutes"), "2026-03-13 17:30", "2026-03-13 19:00"),
        (after(2, "hours"), "2026-03-13 23:00", "2026-03-14 01:00"),
        (after(48, "hours"), "2026-03-13 10:00", "2026-03-15 10:00"),
    ],
)
def test_minutes_and_hours_by_the_clock_also_at_night_and_kept_on_a_day_off(
    deadline: Deadline, entry: str, expected: str
) -> None:
    assert due(deadline, entry) == expected


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("next", "2026-03-16 01:00"), ("previous", "2026-03-13 01:00"), ("keep", "2026-03-14 01:00")],
)
def test_minutes_hours_moved_off_a_day_off_keep_their_time_of_day(policy: Any, expected: str) -> None:
    assert due(after(26, "hours", on_day_off=policy), "2026-03-12 23:00") == expected


@pytest.mark.parametrize(
    ("deadline", "entry", "expected"),
    [
        (after(30, "workminutes"), "2026-03-12 10:00", "2026-03-12 10:30"),
        (after(30, "workminutes"), "2026-03-12 17:45", "2026-03-13 09:15"),
        (after(30, "workminutes"), "2026-03-13 23:00", "2026-03-16 09:30"),
        (after(4, "workhours"), "2026-03-13 16:00", "2026-03-16 11:00"),
        (after(1, "workhours"), "2026-03-12 03:00", "2026-03-12 10:00"),
    ],
)
def test_workminutes_workhours_inside_working_hours_only(deadline: Deadline, entry: str, expected: str) -> None:
    assert due(deadline, entry) == expected


def test_workhours_that_end_exactly_with_a_span_stay_there() -> None:
    assert due(after(8, "workhours"), "2026-03-12 10:00") == "2026-03-12 18:00"
    assert due(after(9, "workhours"), "2026-03-12 18:00") == "2026-03-13 18:00"
    assert due(before(6, "workhours", field=WHEN), fields={WHEN: "2026-03-20T15:00:00+03:00"}) == "2026-03-20 09:00"


@pytest.mark.parametrize(
    ("deadline", "entry", "expected"),
    [
        (after(1, "days"), "2026-03-12 10:00", "2026-03-13 18:00"),
        (after(1, "days"), "2026-03-12 23:59", "2026-03-13 18:00"),
        (after(4, "days", at=time(12)), "2026-03-12 10:00", "2026-03-16 12:00"),
        (after(2, "weeks"), "2026-03-12 10:00", "2026-03-26 18:00"),
        (after(1, "months"), "2026-03-13 10:00", "2026-04-13 18:00"),
        (after(12, "months"), "2026-03-12 10:00", "2027-03-12 18:00"),
    ],
)
def test_days_weeks_months_that_many_later_by_the_calendar(deadline: Deadline, entry: str, expected: str) -> None:
    assert due(deadline, entry) == expected


@pytest.mark.parametrize(
    ("months", "entry", "expected"),
    [
        (1, "2026-01-31 10:00", "2026-02-28"),
        (1, "2028-01-31 10:00", "2028-02-29"),
        (3, "2026-08-31 10:00", "2026-11-30"),
        (2, "2026-12-31 10:00", "2027-02-28"),
    ],
)
def test_a_months_end_is_clamped(months: int, entry: str, expected: str) -> None:
    assert due(after(months, "months", on_day_off="keep"), entry)[:10] == expected


def test_a_months_end_is_clamped_before_a_date_too() -> None:
    deadline = before(1, "months", field=DAY, on_day_off="keep")
    assert due(deadline, fields={DAY: "2028-03-31"})[:10] == "2028-02-29"
    assert due(replace(deadline, offset=Duration(3, "months")), fields={DAY: "2027-01-31"})[:10] == "2026-10-31"


@pytest.mark.parametrize(
    ("n", "entry", "expected"),
    [
        (1, "2026-03-12 10:00", "2026-03-13 18:00"),
        (1, "2026-03-13 23:59", "2026-03-16 18:00"),
        (1, "2026-03-14 10:00", "2026-03-16 18:00"),
        (2, "2026-03-15 10:00", "2026-03-17 18:00"),
        (5, "2026-03-12 00:00", "2026-03-19 18:00"),
    ],
)
def test_after_n_workdays_the_nth_working_day_strictly_after_the_day_of_the_moment(
    n: int, entry: str, expected: str
) -> None:
    assert due(after(n, "workdays"), entry) == expected


@pytest.mark.parametrize(
    ("n", "day", "expected"),
    [
        (1, "2026-03-20", "2026-03-19 18:00"),
        (1, "2026-03-23", "2026-03-20 18:00"),
        (3, "2026-03-22", "2026-03-18 18:00"),
        (3, "2026-03-25", "2026-03-20 18:00"),
    ],
)
def test_before_n_workdays_the_nth_strictly_before(n: int, day: str, expected: str) -> None:
    assert due(before(n, "workdays", field=DAY), fields={DAY: day}) == expected


def test_workdays_take_their_time_of_day_from_at_or_from_the_end_of_that_days_hours() -> None:
    assert due(after(1, "workdays"), calendar=SHORT) == "2026-03-13 16:00"
    assert due(after(2, "workdays"), calendar=SHORT) == "2026-03-16 18:00"
    assert due(after(1, "workdays", at=time(20)), calendar=SHORT) == "2026-03-13 20:00"


@pytest.mark.parametrize(
    ("entry", "at", "expected"),
    [
        ("2026-03-12 10:00", None, "2026-03-12 18:00"),
        ("2026-03-12 17:59", None, "2026-03-12 18:00"),
        ("2026-03-12 18:00", None, "2026-03-13 18:00"),
        ("2026-03-12 10:00", time(12), "2026-03-12 12:00"),
        ("2026-03-12 12:00", time(12), "2026-03-13 12:00"),
        ("2026-03-12 19:00", time(20), "2026-03-12 20:00"),
        ("2026-03-13 19:00", None, "2026-03-16 18:00"),
        ("2026-03-14 08:00", time(12), "2026-03-16 12:00"),
    ],
)
def test_0_workdays_today_if_it_works_and_its_at_or_end_of_hours_is_still_ahead_else_the_next_working_day(
    entry: str, at: time | None, expected: str
) -> None:
    assert due(after(0, "workdays", at=at), entry) == expected


@pytest.mark.parametrize(
    ("field", "value", "at", "expected"),
    [
        (DAY, "2026-03-20", None, "2026-03-20 18:00"),
        (DAY, "2026-03-21", None, "2026-03-20 18:00"),
        (DAY, "2026-03-21", time(10), "2026-03-20 10:00"),
        (WHEN, "2026-03-20T12:00:00+03:00", None, "2026-03-19 18:00"),
        (WHEN, "2026-03-20T12:00:00+03:00", time(11), "2026-03-20 11:00"),
        (WHEN, "2026-03-20T19:00:00+03:00", None, "2026-03-20 18:00"),
    ],
)
def test_before_0_workdays_is_never_beyond_the_date(field: str, value: str, at: time | None, expected: str) -> None:
    assert due(before(0, "workdays", field=field, at=at), fields={field: value}) == expected


def test_0_workdays_after_a_date_is_that_day_if_it_works() -> None:
    assert due(after(0, "workdays", field=DAY), fields={DAY: "2026-03-20"}) == "2026-03-20 18:00"
    assert due(after(0, "workdays", field=DAY), fields={DAY: "2026-03-21"}) == "2026-03-23 18:00"
    late = {WHEN: "2026-03-20T18:30:00+03:00"}
    assert due(after(0, "workdays", field=WHEN), fields=late) == "2026-03-23 18:00"


# --- holidays and moved days -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("deadline", "entry", "expected"),
    [
        (after(1, "workdays"), "2025-12-30 10:00", "2026-01-12 18:00"),  # 31 December, 9 January: days off moved there
        (after(2, "workdays"), "2026-03-06 10:00", "2026-03-11 18:00"),  # 9 March instead of Sunday the 8th
        (after(1, "workdays"), "2027-02-19 10:00", "2027-02-20 18:00"),  # a working Saturday
        (after(2, "workdays"), "2027-02-19 10:00", "2027-02-24 18:00"),
        (after(1, "workhours"), "2025-12-30 17:30", "2026-01-12 09:30"),
        (after(1, "days"), "2027-02-19 10:00", "2027-02-20 18:00"),
        (after(1, "days"), "2026-05-08 10:00", "2026-05-12 18:00"),
    ],
)
def test_public_holidays_and_moved_working_days_are_known(deadline: Deadline, entry: str, expected: str) -> None:
    assert due(deadline, entry, calendar=RUSSIA) == expected


# --- a field, a date -------------------------------------------------------------------------------------------------


def test_field_and_date_are_that_day_at_at_else_end_of_hours() -> None:
    fields = {DAY: "2026-03-20"}
    assert due(Deadline(field=DAY), fields=fields) == "2026-03-20 18:00"
    assert due(Deadline(field=DAY), fields=fields, calendar=SHORT) == "2026-03-20 16:00"
    assert due(Deadline(field=DAY, at=time(12)), fields=fields) == "2026-03-20 12:00"
    assert due(Deadline(date=date(2026, 12, 25))) == "2026-12-25 18:00"
    assert due(Deadline(date=date(2026, 12, 25), at=time(9, 30))) == "2026-12-25 09:30"


def test_a_date_time_field_keeps_its_own_time_unless_at_is_given() -> None:
    fields = {WHEN: "2026-03-20T14:30:00+03:00"}
    assert due(Deadline(field=WHEN), fields=fields) == "2026-03-20 14:30"
    assert due(Deadline(field=WHEN, at=time(12)), fields=fields) == "2026-03-20 12:00"


def test_a_date_time_field_stands_on_the_day_that_it_is_in_the_files_time_zone() -> None:
    fields = {WHEN: "2026-03-19T22:30:00-05:00"}
    assert due(Deadline(field=WHEN), fields=fields) == "2026-03-20 06:30"
    assert due(Deadline(field=WHEN, at=time(12)), fields=fields) == "2026-03-20 12:00"
    assert due(before(1, "days", field=WHEN), fields=fields) == "2026-03-19 18:00"


@pytest.mark.parametrize(
    "value", ["2026-03-20", "2026-03-20T00:00:00+03:00", "2026-03-20T02:00:00+02:00", "2026-03-20T23:00:00-10:00"]
)
def test_a_date_field_is_a_civil_date_as_written_whatever_its_offset(value: str) -> None:
    found = computed(Deadline(field=DAY), fields={DAY: value})
    assert PLAIN.local(found.at) == moment("2026-03-20 18:00")
    assert found.basis == f"field:{DAY}=2026-03-20"


def test_a_field_of_unknown_type_is_a_civil_date() -> None:
    assert due(Deadline(field="UF_CRM_NEW"), fields={"UF_CRM_NEW": "2026-03-20T02:00:00+02:00"}) == "2026-03-20 18:00"


def test_a_multiple_field_counts_by_its_earliest_value() -> None:
    fields = {DAY: ["2026-03-25", "", "2026-03-20"], WHEN: ["2026-03-25T10:00:00+03:00", "2026-03-24T10:00:00+03:00"]}
    assert due(Deadline(field=DAY), fields=fields) == "2026-03-20 18:00"
    assert due(Deadline(field=WHEN), fields=fields) == "2026-03-24 10:00"


@pytest.mark.parametrize(
    ("deadline", "value", "expected"),
    [
        (before(3, "workdays", field=DAY), "2026-03-25", "2026-03-20 18:00"),
        (before(10, "days", field=DAY), "2026-04-03", "2026-03-24 18:00"),
        (before(1, "weeks", field=DAY, at=time(11)), "2026-04-03", "2026-03-27 11:00"),
        (after(1, "days", field=DAY), "2026-03-25", "2026-03-26 18:00"),
        (after(2, "workdays", field=DAY), "2026-03-27", "2026-03-31 18:00"),
        (before(2, "hours", field=WHEN), "2026-03-20T15:00:00+03:00", "2026-03-20 13:00"),
        (after(45, "minutes", field=WHEN), "2026-03-20T15:00:00+03:00", "2026-03-20 15:45"),
        (before(2, "workhours", field=WHEN), "2026-03-23T10:00:00+03:00", "2026-03-20 17:00"),
    ],
)
def test_days_before_or_after_a_date(deadline: Deadline, value: str, expected: str) -> None:
    assert due(deadline, fields={deadline.field or "": value}) == expected


@pytest.mark.parametrize("unit", ["minutes", "hours", "workminutes", "workhours"])
def test_minutes_and_hours_need_a_moment_with_a_time(unit: str) -> None:
    with pytest.raises(DeadlineError, match="has no time of day") as fault:
        computed(before(2, unit, field=DAY), fields={DAY: "2026-03-20"})
    assert (fault.value.field, fault.value.value) == (DAY, "2026-03-20")


@pytest.mark.parametrize(
    ("field", "value"),
    [(DAY, "soon"), (DAY, "20.03.2026"), (DAY, 5), (DAY, ["2026-03-20", "x"]), (WHEN, "2026-03-20"), (WHEN, "10:00")],
)
def test_a_value_that_is_no_date_is_an_error_that_names_field_and_value(field: str, value: Any) -> None:
    with pytest.raises(DeadlineError, match=field) as fault:
        computed(Deadline(field=field, otherwise=after(1, "days")), fields={field: value})
    assert (fault.value.field, fault.value.value) == (field, value)
    assert repr(value) in str(fault.value)


# --- on_day_off ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("deadline", "expected"),
    [
        (after(2, "days"), "2026-03-16 18:00"),
        (after(2, "days", at=time(11)), "2026-03-16 11:00"),
        (after(2, "days", on_day_off="previous"), "2026-03-13 18:00"),
        (after(2, "days", on_day_off="keep"), "2026-03-14 18:00"),
        (after(2, "days", on_day_off="keep", at=time(11)), "2026-03-14 11:00"),
        (before(1, "days", field=DAY), "2026-03-20 18:00"),
        (before(1, "days", field=DAY, on_day_off="next"), "2026-03-23 18:00"),
        (before(1, "weeks", field=DAY), "2026-03-13 18:00"),
        (before(1, "months", field=DAY, on_day_off="keep"), "2026-03-16 18:00"),
        (after(1, "days", field=OTHER), "2026-03-23 18:00"),
        (Deadline(field=OTHER), "2026-03-20 18:00"),
        (Deadline(field=OTHER, at=time(12)), "2026-03-20 12:00"),
        (Deadline(field=OTHER, on_day_off="next"), "2026-03-23 18:00"),
        (Deadline(field=OTHER, on_day_off="keep"), "2026-03-21 18:00"),
        (Deadline(date=date(2026, 3, 21)), "2026-03-20 18:00"),
        (Deadline(date=date(2026, 3, 21), on_day_off="next"), "2026-03-23 18:00"),
        (Deadline(field=WHEN), "2026-03-20 15:00"),
        (Deadline(field=WHEN, on_day_off="next"), "2026-03-23 15:00"),
        (Deadline(field=WHEN, on_day_off="keep"), "2026-03-21 15:00"),
    ],
)
def test_default_on_day_off_next_after_previous_before_and_previous_for_a_bare_field_or_date(
    deadline: Deadline, expected: str
) -> None:
    months = deadline.offset is not None and deadline.offset.unit == "months"
    fields = {DAY: "2026-04-16" if months else "2026-03-22", OTHER: "2026-03-21", WHEN: "2026-03-21T15:00:00+03:00"}
    assert due(deadline, fields=fields) == expected


def test_the_moved_result_keeps_its_at_and_end_of_hours_is_the_new_days() -> None:
    assert due(Deadline(field=DAY), fields={DAY: "2026-03-21"}, calendar=SHORT) == "2026-03-20 16:00"
    assert due(after(2, "days"), calendar=SHORT) == "2026-03-16 18:00"
    assert due(Deadline(field=DAY, at=time(17)), fields={DAY: "2026-03-21"}, calendar=SHORT) == "2026-03-20 17:00"


def test_a_day_off_that_is_kept_and_has_no_at_the_end_of_a_usual_working_day() -> None:
    week = {0: ((time(10), time(19)),), 4: ((time(9), time(16)),)}
    calendar = build_calendar(zone=MOSCOW, week=week)
    assert due(Deadline(field=DAY, on_day_off="keep"), fields={DAY: "2026-03-21"}, calendar=calendar) == (
        "2026-03-21 19:00"
    )


# --- an event --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "event",
    [
        OFFER,
        Done("offer", same_stage=False),
        Entered(frozenset({"C5:NEW"})),
        Becomes(Test("UF_CRM_INVOICE_DATE", "filled", True)),
    ],
)
def test_a_certain_event_counts_from_its_moment(event: Event) -> None:
    deadline = Deadline(Duration(1, "workdays"), event=event, otherwise=after(10, "workdays"))
    assert due(deadline, events={event: "2026-03-17 11:00"}, now="2026-03-17 11:00") == "2026-03-18 18:00"
    assert due(deadline) == "2026-03-26 18:00"


def test_after_is_optional_with_an_event_0_workdays() -> None:
    deadline = Deadline(event=OFFER, otherwise=after(10, "workdays"))
    for moment_, expected in [("2026-03-17 11:00", "2026-03-17 18:00"), ("2026-03-17 18:30", "2026-03-18 18:00")]:
        assert due(deadline, events={OFFER: moment_}, now=moment_) == expected
        assert due(replace(deadline, offset=Duration(0, "workdays")), events={OFFER: moment_}, now=moment_) == expected


def test_an_event_has_a_time_for_minutes_and_hours() -> None:
    deadline = Deadline(Duration(2, "workhours"), event=OFFER, otherwise=after(1, "days"))
    assert due(deadline, events={OFFER: "2026-03-17 17:00"}, now="2026-03-17 17:00") == "2026-03-18 10:00"


# --- else ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("empty", [None, "", [], False])
def test_else_stands_for_as_long_as_the_field_is_empty(empty: Any) -> None:
    deadline = before(3, "workdays", field=DAY, otherwise=after(3, "workdays"))
    found = computed(deadline, fields={DAY: empty})
    assert (found.branch, found.basis) == ("else", "else:entry")
    assert PLAIN.local(found.at) == moment("2026-03-17 18:00")
    assert computed(deadline).basis == "else:entry", "a field that was not read is empty"
    assert computed(deadline, fields={DAY: "2026-03-25"}).branch == "main"


def test_else_is_always_counted_from_entry() -> None:
    deadline = Deadline(field=DAY, otherwise=after(10, "workdays"))
    assert due(deadline, "2026-03-02 10:00", start="2026-03-12 10:00") == "2026-03-16 18:00"
    assert due(after(10, "workdays"), "2026-03-02 10:00", start="2026-03-12 10:00") == "2026-03-26 18:00"


def test_else_has_its_own_at_and_on_day_off() -> None:
    deadline = Deadline(field=DAY, at=time(12), on_day_off="keep", otherwise=after(2, "days"))
    assert due(deadline) == "2026-03-16 18:00"


def test_nested_else_ends_in_a_sure_kind() -> None:
    deadline = Deadline(field=DAY, otherwise=Deadline(event=OFFER, otherwise=after(10, "workdays")))
    assert computed(deadline).branch == "else:else"
    assert computed(deadline).basis == "else:else:entry"
    found = computed(deadline, events={OFFER: "2026-03-17 11:00"})
    assert (found.branch, found.basis) == ("else", "else:event:done:offer@2026-03-17T08:00:00Z")


def test_no_else_where_one_is_needed_is_an_error() -> None:
    with pytest.raises(DeadlineError, match="no else"):
        computed(Deadline(field=DAY))


# --- in the past when computed ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("deadline", "now", "expected"),
    [
        (after(30, "workminutes"), "2026-03-12 11:00", "2026-03-12 18:00"),
        (after(1, "workdays"), "2026-03-16 09:00", "2026-03-16 18:00"),
        (after(1, "workdays"), "2026-03-16 18:00", "2026-03-17 18:00"),
        (after(1, "workdays", at=time(12)), "2026-03-16 11:00", "2026-03-16 12:00"),
        (after(1, "workdays", at=time(12)), "2026-03-16 13:00", "2026-03-17 12:00"),
        (after(1, "days", on_day_off="keep"), "2026-03-14 11:00", "2026-03-16 18:00"),
        (Deadline(date=date(2026, 3, 11)), "2026-03-12 10:00", "2026-03-12 18:00"),
    ],
)
def test_in_the_past_when_computed_after_0_workdays_from_now_with_its_own_at(
    deadline: Deadline, now: str, expected: str
) -> None:
    assert due(deadline, now=now) == expected
    assert computed(deadline, now=now).lifted


def test_what_is_due_this_very_minute_is_not_past() -> None:
    assert due(after(1, "workdays"), now="2026-03-13 18:00") == "2026-03-13 18:00"
    assert not computed(after(1, "workdays"), now="2026-03-13 18:00").lifted
    assert due(after(1, "workdays"), now="2026-03-13 18:00:01") == "2026-03-16 18:00"


TODAY_AT_3, TOMORROW_AT_3 = "2026-03-12T15:00:00+03:00", "2026-03-13T15:00:00+03:00"


@pytest.mark.parametrize(
    ("deadline", "value", "now", "expected"),
    [
        # the meeting is at 15:00 today: what had to be done before it cannot wait for the evening
        (before(2, "hours", field=WHEN), TODAY_AT_3, "2026-03-12 14:00", "2026-03-12 15:00"),
        (
            before(1, "days", field=WHEN, at=time(17)),
            TODAY_AT_3,
            "2026-03-12 14:00",
            "2026-03-12 15:00",
        ),
        (
            before(1, "days", field=WHEN, at=time(14, 30)),
            TODAY_AT_3,
            "2026-03-12 14:00",
            "2026-03-12 14:30",
        ),
        (before(2, "hours", field=WHEN), TODAY_AT_3, "2026-03-12 15:00", "2026-03-12 18:00"),
        (before(2, "workdays", field=WHEN), TOMORROW_AT_3, "2026-03-12 14:00", "2026-03-12 18:00"),
        (before(2, "workdays", field=WHEN), TOMORROW_AT_3, "2026-03-12 19:00", "2026-03-13 15:00"),
        # a date lasts to the end of its hours
        (before(3, "workdays", field=DAY), "2026-03-12", "2026-03-12 10:00", "2026-03-12 18:00"),
        (before(3, "workdays", field=DAY), "2026-03-12", "2026-03-12 19:00", "2026-03-13 18:00"),
        (before(3, "workdays", field=DAY, at=time(9, 30)), "2026-03-12", "2026-03-12 10:00", "2026-03-12 18:00"),
        (before(3, "workdays", field=DAY, at=time(20)), "2026-03-12", "2026-03-12 10:00", "2026-03-12 20:00"),
        (Deadline(field=DAY, at=time(9)), "2026-03-12", "2026-03-12 10:00", "2026-03-12 18:00"),
        (Deadline(field=DAY), "2026-03-10", "2026-03-12 10:00", "2026-03-12 18:00"),
        (after(1, "days", field=DAY), "2026-03-10", "2026-03-12 10:00", "2026-03-12 18:00"),
    ],
)
def test_for_every_kind_with_field_not_beyond_the_fields_own_moment_if_that_is_still_ahead(
    deadline: Deadline, value: str, now: str, expected: str
) -> None:
    fields = {deadline.field or "": value}
    found = computed(deadline, "2026-03-09 10:00", now=now, fields=fields)
    assert f"{PLAIN.local(found.at):%Y-%m-%d %H:%M}" == expected
    assert found.lifted


@pytest.mark.parametrize(
    ("deadline", "value", "now", "expected"),
    [
        (before(2, "workdays", field=DAY, at=time(10)), "2027-01-10", "2026-12-30 10:05", "2026-12-30 18:00"),
        (before(2, "workdays", field=DAY, at=time(10)), "2027-01-10", "2026-12-30 18:00", "2027-01-11 10:00"),
        (before(2, "workdays", field=DAY, at=time(10)), "2027-01-10", "2027-01-02 10:05", "2027-01-11 10:00"),
        (
            before(2, "workdays", field=DAY, at=time(10), on_day_off="keep"),
            "2027-01-10",
            "2027-01-02 10:05",
            "2027-01-10 18:00",
        ),
        (
            before(2, "workdays", field=DAY, at=time(10), on_day_off="next"),
            "2027-01-10",
            "2026-12-30 10:05",
            "2027-01-11 10:00",
        ),
        (before(1, "weeks", field=DAY), "2027-01-03", "2026-12-29 10:00", "2026-12-29 18:00"),
        (before(1, "weeks", field=DAY, at=time(9)), "2027-01-03", "2026-12-30 10:00", "2026-12-30 18:00"),
        (Deadline(field=DAY), "2027-01-10", "2027-01-02 10:00", "2027-01-11 18:00"),
        (Deadline(field=DAY, at=time(9)), "2027-01-10", "2026-12-30 12:00", "2026-12-30 18:00"),
        (Deadline(field=WHEN), "2027-01-10T15:00:00+03:00", "2027-01-10 10:00", "2027-01-11 18:00"),
        (Deadline(field=WHEN), "2027-01-10T15:00:00+03:00", "2026-12-30 16:00", "2026-12-30 18:00"),
        (
            before(2, "workdays", field=WHEN, at=time(10)),
            "2027-01-10T15:00:00+03:00",
            "2026-12-30 11:00",
            "2026-12-30 15:00",
        ),
        (before(4, "workhours", field=WHEN), "2027-01-10T15:00:00+03:00", "2027-01-10 12:00", "2027-01-11 18:00"),
        (before(9, "hours", field=WHEN), "2027-01-10T15:00:00+03:00", "2027-01-10 12:00", "2027-01-10 15:00"),
        (
            before(9, "hours", field=WHEN, on_day_off="previous"),
            "2027-01-10T15:00:00+03:00",
            "2027-01-10 12:00",
            "2027-01-11 18:00",
        ),
    ],
)
def test_a_replaced_deadline_obeys_on_day_off_like_any_other_and_if_the_day_is_past_the_next_working_day(
    deadline: Deadline, value: str, now: str, expected: str
) -> None:
    found = computed(deadline, "2026-12-29 09:00", now=now, calendar=RUSSIA, fields={deadline.field or "": value})
    assert f"{RUSSIA.local(found.at):%Y-%m-%d %H:%M}" == expected
    assert found.lifted


@pytest.mark.parametrize(
    ("deadline", "entry"),
    [
        (after(1, "days", at=time(23, 30)), "2024-03-29 10:00"),
        (after(1, "workdays"), "2024-03-29 10:00"),
        (after(0, "workdays"), "2024-03-30 10:00"),
        (after(90, "workminutes"), "2024-03-30 21:29"),
        (after(47, "hours", on_day_off="previous"), "2024-03-29 23:40"),
    ],
)
def test_a_time_left_out_at_the_end_of_a_day_is_not_made_up_for_on_the_day_off_behind_it(
    deadline: Deadline, entry: str
) -> None:
    nuuk = build_calendar(zone=ZoneInfo("America/Nuuk"), week=dict.fromkeys(range(6), ((time(9), time(23, 59)),)))
    assert due(deadline, entry, calendar=nuuk) == "2024-03-30 22:59"


def test_the_trace_says_that_it_was_lifted_and_held_back() -> None:
    fields = {WHEN: "2026-03-12T15:00:00+03:00"}
    found = computed(before(2, "hours", field=WHEN), "2026-03-09 10:00", now="2026-03-12 14:00", fields=fields)
    assert found.data == {
        "from": f"field:{WHEN}=2026-03-12T12:00:00Z",
        "counted_from": "2026-03-12T12:00:00Z",
        "count": "before 2 hours",
        "computed": "2026-03-12T10:00:00Z",
        "capped": True,
    }
    plain = computed(after(2, "days"))
    assert not plain.lifted
    assert plain.data == {
        "from": "entry",
        "counted_from": "2026-03-12T07:00:00Z",
        "count": "after 2 days",
        "computed": "2026-03-16T15:00:00Z",
        "day_off": "2026-03-14",
    }
    json.dumps([dict(found.data), dict(plain.data)])


# --- clocks ----------------------------------------------------------------------------------------------------------


def test_a_change_of_clocks_moves_nothing_days_are_civil_days() -> None:
    # Berlin puts its clocks forward on 29 March and back on 25 October 2026.
    assert due(after(1, "days", at=time(10)), "2026-03-28 23:30", calendar=ALWAYS) == "2026-03-29 10:00"
    assert due(after(1, "weeks"), "2026-03-26 23:30", calendar=GERMANY) == "2026-04-02 18:00"
    assert due(after(1, "workdays"), "2026-10-23 00:30", calendar=GERMANY) == "2026-10-26 18:00"
    assert due(before(1, "weeks", field=DAY), fields={DAY: "2026-04-03"}, calendar=GERMANY) == "2026-03-27 18:00"


def test_hours_by_the_clock_are_as_long_as_they_last_over_a_change_of_clocks() -> None:
    assert due(after(12, "hours"), "2026-03-28 20:00", calendar=GERMANY) == "2026-03-29 09:00"
    assert due(after(12, "hours"), "2026-10-24 20:00", calendar=GERMANY) == "2026-10-25 07:00"
    assert due(after(12, "workhours"), "2026-03-28 20:00", calendar=ALWAYS) == "2026-03-29 09:01"


def test_a_time_of_day_that_does_not_exist_becomes_the_next_one_that_does_a_doubled_one_its_first() -> None:
    gap = computed(after(1, "days", at=time(2, 30)), "2026-03-28 10:00", calendar=ALWAYS)
    assert gap.at == datetime(2026, 3, 29, 1, 0, tzinfo=UTC)
    doubled = computed(after(1, "days", at=time(2, 30)), "2026-10-24 10:00", calendar=ALWAYS)
    assert doubled.at == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


# --- whole minutes, basis --------------------------------------------------------------------------------------------


def test_a_result_has_no_seconds() -> None:
    assert due(after(30, "minutes"), "2026-03-12 10:00:40") == "2026-03-12 10:30"
    assert due(after(30, "workminutes"), "2026-03-12 17:40:40") == "2026-03-13 09:10"
    assert due(after(30, "workminutes"), "2026-03-12 17:29:30") == "2026-03-12 17:59"
    assert due(after(1, "hours"), "2026-03-12 10:00:00") == "2026-03-12 11:00"


def test_nothing_that_is_counted_before_a_moment_ends_after_it() -> None:
    fields = {WHEN: "2026-03-20T15:00:30+03:00"}
    assert due(Deadline(field=WHEN), fields=fields) == "2026-03-20 15:00"
    assert due(before(2, "hours", field=WHEN), fields=fields) == "2026-03-20 13:00"


@pytest.mark.parametrize(
    ("deadline", "basis"),
    [
        (after(1, "days"), "entry"),
        (after(9, "workhours"), "entry"),
        (Deadline(date=date(2026, 12, 25)), "date"),
        (Deadline(date=date(2026, 12, 26)), "date"),
        (Deadline(field=DAY), f"field:{DAY}=2026-03-20"),
        (before(5, "days", field=DAY, at=time(9)), f"field:{DAY}=2026-03-20"),
        (Deadline(field=WHEN), f"field:{WHEN}=2026-03-20T12:00:00Z"),
        (Deadline(event=OFFER), "event:done:offer@2026-03-17T08:00:00Z"),
        (Deadline(event=Becomes(Test(DAY, "filled", True))), f"event:filled:{DAY}@2026-03-18T08:00:00Z"),
        (Deadline(event=Entered(frozenset({"WON", "C5:NEW"}))), "event:stage:C5:NEW,WON@2026-03-19T08:00:00Z"),
    ],
)
def test_the_basis_names_what_was_counted_from_and_none_of_the_rules_numbers(deadline: Deadline, basis: str) -> None:
    fields = {DAY: "2026-03-20T02:00:00+02:00", WHEN: "2026-03-20T15:00:00+03:00"}
    events: dict[Event, str] = {
        OFFER: "2026-03-17 11:00",
        Becomes(Test(DAY, "filled", True)): "2026-03-18 11:00",
        Entered(frozenset({"C5:NEW", "WON"})): "2026-03-19 11:00",
    }
    assert computed(deadline, fields=fields, events=events).basis == basis


def test_the_basis_stays_when_only_the_way_of_writing_the_field_changes() -> None:
    ways = ["2026-03-20T15:00:00+03:00", "2026-03-20T12:00:00Z", "2026-03-20T14:00:00+02:00"]
    assert len({computed(Deadline(field=WHEN), fields={WHEN: way}).basis for way in ways}) == 1


# --- beyond the calendar ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "deadline",
    [
        after(200_000, "months"),
        after(5_000_000, "days"),
        after(10**18, "weeks"),
        after(5_000_000, "workdays"),
        after(10**12, "hours"),
        after(10**7, "workhours"),
    ],
)
def test_a_duration_beyond_the_calendar_is_an_error_not_an_endless_search(deadline: Deadline) -> None:
    with pytest.raises(DeadlineError, match="beyond the calendar") as fault:
        computed(deadline)
    assert fault.value.field == "deadline"
    assert str(fault.value.value).startswith("after ")


@pytest.mark.parametrize(
    ("deadline", "value"),
    [
        (before(5, "workdays", field=DAY), "0001-01-01"),
        (after(5, "days", field=DAY), "9999-12-31"),
        (Deadline(field=WHEN), "9999-12-31T23:59:00-12:00"),
    ],
)
def test_a_date_at_the_ends_of_time_is_an_error_that_names_it(deadline: Deadline, value: str) -> None:
    with pytest.raises(DeadlineError) as fault:
        computed(deadline, fields={deadline.field or "": value})
    assert (fault.value.field, fault.value.value) == (deadline.field, value)


def test_an_ancient_date_is_only_past() -> None:
    assert due(after(5, "days", field=DAY), fields={DAY: "0001-01-01"}) == "2026-03-12 18:00"


# --- properties ------------------------------------------------------------------------------------------------------

UNITS = ["minutes", "hours", "workminutes", "workhours", "days", "workdays", "weeks", "months"]
CLOCK = {"minutes", "hours"}
CALENDARS = [RUSSIA, SHORT, GERMANY, ALWAYS]
MOMENTS = st.datetimes(datetime(2025, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
TIMES = st.none() | st.times().map(lambda at: at.replace(second=0, microsecond=0))
modest = settings(max_examples=120, deadline=None)


@st.composite
def cases(draw: st.DrawFn, *, units: list[str] = UNITS, policies: bool = False) -> tuple[Deadline, dict[str, Any]]:
    """Any deadline that a file can hold, and what it is computed from."""
    source = draw(st.sampled_from(["entry", "event", DAY, WHEN, "date"]))
    possible = [unit for unit in units if source not in (DAY, "date") or unit not in UNITS[:4]]
    unit = draw(st.sampled_from(possible))
    bare = source in (DAY, WHEN, "date") and draw(st.booleans())
    field = source if source in FIELDS else None
    deadline = Deadline(
        offset=None if bare or source == "date" else Duration(draw(st.integers(1, 40)), unit),  # type: ignore[arg-type]
        direction=draw(st.sampled_from([1, -1])) if field else 1,
        field=field,
        date=draw(st.dates(date(2025, 1, 1), date(2027, 12, 31))) if source == "date" else None,
        event=OFFER if source == "event" else None,
        at=draw(TIMES) if bare or unit not in UNITS[:4] else None,
        on_day_off=draw(st.sampled_from([None, "next", "previous", "keep"])) if policies else None,
        otherwise=after(1, "workdays"),
    )
    entry, when, came = draw(MOMENTS), draw(MOMENTS), draw(MOMENTS)
    world = {
        "entry": entry,
        "start": entry,
        "now": entry + draw(st.timedeltas(timedelta(0), timedelta(days=60))),
        "calendar": draw(st.sampled_from(CALENDARS)),
        "fields": {DAY: when.date().isoformat(), WHEN: when.isoformat()},
        "deal_fields": FIELDS,
        "happened": {OFFER: came}.get,
    }
    return deadline, world


@given(cases(policies=True))
@modest
def test_never_in_the_past_and_always_a_whole_minute(case: tuple[Deadline, dict[str, Any]]) -> None:
    deadline, world = case
    found = compute(deadline, **world)
    assert found.at >= world["now"]
    assert (found.at.second, found.at.microsecond, found.at.tzinfo) == (0, 0, UTC)
    assert found == compute(deadline, **world), "computing twice is computing once"


@given(cases(policies=True))
@settings(max_examples=400, deadline=None)
def test_never_on_a_day_off_unless_said(case: tuple[Deadline, dict[str, Any]]) -> None:
    """``keep`` says so, and minutes and hours by the clock are kept where the file is silent."""
    deadline, world = case
    by_the_clock = deadline.offset is not None and deadline.offset.unit in CLOCK
    if deadline.on_day_off != "keep" and not (by_the_clock and deadline.on_day_off is None):
        found = compute(deadline, **world)
        calendar: Calendar = world["calendar"]
        assert calendar.is_working(calendar.local(found.at).date())


@given(cases())
@modest
def test_what_is_not_lifted_before_a_field_is_not_after_it(case: tuple[Deadline, dict[str, Any]]) -> None:
    deadline, world = case
    deadline = replace(deadline, direction=-1)
    found = compute(deadline, **world)
    if deadline.field and not found.lifted:
        calendar: Calendar = world["calendar"]
        if deadline.field == DAY or deadline.at or (deadline.offset and deadline.offset.unit not in CLOCK):
            day = date.fromisoformat(world["fields"][DAY])
            if deadline.field == WHEN:
                day = calendar.local(datetime.fromisoformat(world["fields"][WHEN])).date()
            assert calendar.local(found.at).date() <= day
        else:
            assert found.at <= datetime.fromisoformat(world["fields"][WHEN])


@given(cases(policies=True))
@modest
def test_lifted_is_after_0_workdays_from_now_or_the_fields_own_moment(
    case: tuple[Deadline, dict[str, Any]],
) -> None:
    deadline, world = case
    found = compute(deadline, **world)
    at_once = compute(after(0, "workdays", at=deadline.at), **(world | {"start": world["now"]}))
    if found.data.get("capped"):
        assert deadline.field
        assert world["now"] < found.at < at_once.at
    elif found.lifted:
        assert found.at == at_once.at


@given(case=cases(), more=st.integers(1, 5))
@modest
def test_more_is_never_earlier_and_later_where_days_off_do_not_count(
    case: tuple[Deadline, dict[str, Any]], more: int
) -> None:
    deadline, world = case
    if deadline.offset is None:
        return
    world["now"] = datetime(2000, 1, 1, tzinfo=UTC)
    longer = replace(deadline, offset=replace(deadline.offset, amount=deadline.offset.amount + more))
    near, far = compute(deadline, **world).at, compute(longer, **world).at
    if deadline.direction < 0:
        near, far = far, near
    if deadline.offset.unit in ("days", "weeks", "months"):  # these may meet at the working day after a holiday
        assert near <= far
    else:
        assert near < far


@given(case=cases(units=UNITS[4:]), later=st.timedeltas(timedelta(0), timedelta(days=20)))
@modest
def test_who_enters_later_is_not_due_earlier(case: tuple[Deadline, dict[str, Any]], later: timedelta) -> None:
    deadline, world = case
    world["now"] = datetime(2000, 1, 1, tzinfo=UTC)
    world["happened"] = lambda event: world["start"]
    early = compute(deadline, **world).at
    world["start"] += later
    assert compute(deadline, **world).at >= early
