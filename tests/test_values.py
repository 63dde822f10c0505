"""Values of the deal's fields, as the portal sends them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from bitrix_sync.model.facts import DealField
from bitrix_sync.rules.values import civil_date, empty, filled, instant, number


@pytest.mark.parametrize(
    "value",
    [
        "2026-03-12",
        "2026-03-12T00:00:00+03:00",
        "2026-03-12T02:00:00+02:00",  # midnight of UTC shown in the portal's offset
        "2026-03-12T23:30:00-11:00",
        " 2026-03-12 ",
        date(2026, 3, 12),
        datetime(2026, 3, 12, 23, tzinfo=UTC),
    ],
)
def test_a_date_is_civil_as_written_whatever_its_offset(value: object) -> None:
    assert civil_date(value) == date(2026, 3, 12)


@pytest.mark.parametrize(
    "value", ["", None, "soon", "12.03.2026", "2026-02-30", "2026-03-12 or so", 20260312, [], "２０２６-03-12"]
)
def test_what_is_no_date_is_refused_with_the_value(value: object) -> None:
    with pytest.raises(ValueError, match="is not a date"):
        civil_date(value)


@pytest.mark.parametrize(
    "value",
    [
        "2026-03-12T15:00:00+03:00",
        "2026-03-12T12:00:00Z",
        datetime(2026, 3, 12, 15, tzinfo=timezone(timedelta(hours=3))),
    ],
)
def test_a_date_time_is_a_moment(value: object) -> None:
    moment = instant(value)
    assert moment == datetime(2026, 3, 12, 12, tzinfo=UTC)
    assert moment is not None
    assert moment.tzinfo is UTC


@pytest.mark.parametrize("value", [None, "", False, []])
def test_an_empty_date_time_is_none(value: object) -> None:
    assert instant(value) is None


@pytest.mark.parametrize("value", ["2026-03-12T15:00:00", "2026-03-12"])
def test_a_time_without_offset_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="without an offset"):
        instant(value)


@pytest.mark.parametrize(
    "value", ["soon", 5, "2026-03-12T25:00:00+03:00", date(2026, 3, 12), "0001-01-01T00:00:00+03:00"]
)
def test_what_is_no_date_time_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="is not a date with a time"):
        instant(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (100, "100"),
        (999.9, "999.9"),
        (0, "0"),
        ("100.50", "100.50"),
        (" -7 ", "-7"),
        ("100.5|EUR", "100.5"),
        ("0|RUB", "0"),
        ("1e3", "1000"),
        (Decimal("1.1"), "1.1"),
    ],
)
def test_numbers_and_money_are_exact_numbers(value: object, expected: str) -> None:
    assert number(value) == Decimal(expected)


@pytest.mark.parametrize("value", [True, "Y", "", None, "a lot", "1_000", "1 000", "|EUR", float("nan"), [1], "٣"])
def test_what_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="is not a number"):
        number(value)


@pytest.mark.parametrize("value", [None, "", "  ", False, [], [""], [None, False], {}])
def test_nothing_is_empty(value: object) -> None:
    assert empty(value)


@pytest.mark.parametrize("value", [0, "0", "N", [0], {"id": 1}, 0.0, "x"])
def test_something_is_not_empty(value: object) -> None:
    assert not empty(value)


@pytest.mark.parametrize(
    ("type_", "value", "expected"),
    [
        ("integer", 0, True),
        ("double", "0", True),
        ("money", "0|EUR", True),
        ("money", "|EUR", False),
        ("string", "0", True),
        ("string", "", False),
        ("employee", 0, False),
        ("employee", "0", False),
        ("employee", 7, True),
        ("employee", [0], False),
        ("employee", [0, 7], True),
        ("crm_company", 0, False),
        ("crm", "C_7", True),
        ("enumeration", 0, False),
        ("enumeration", 44, True),
        ("enumeration", False, False),
        ("crm_category", 0, True),
        ("file", {"id": 5}, True),
        ("boolean", "Y", True),
        ("boolean", "N", False),
        ("boolean", "0", False),
        ("boolean", True, True),
        ("date", None, False),
        ("date", "2026-03-12", True),
    ],
)
def test_filled_depends_on_what_the_field_holds(type_: str, value: Any, expected: bool) -> None:
    assert filled(value, DealField("UF_CRM_X", "X", type_)) is expected


def test_a_field_of_unknown_type_is_filled_when_it_is_not_empty() -> None:
    assert filled(0, None)
    assert not filled("", None)


def test_a_number_of_hundreds_of_digits_is_none():
    with pytest.raises(ValueError, match="is not a number"):
        number("9" * 101)
    assert number("9" * 100) == 10**100 - 1
