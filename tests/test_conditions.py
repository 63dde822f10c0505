"""Conditions of the rules language: what holds, what does not, and what cannot be told."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitrix_sync.model.facts import DealField
from bitrix_sync.model.operations import Check
from bitrix_sync.rules.conditions import CannotJudge, Facts, Judgement
from bitrix_sync.rules.model import AllOf, AnyOf, Condition, Not, Test

MOSCOW = ZoneInfo("Europe/Moscow")
OPTIONS = {"45": "Опт", "46": "Розница", "47": "100"}

DEAL_FIELDS = {
    one.code: one
    for one in (
        DealField("OPPORTUNITY", "Сумма", "double"),
        DealField("COUNT", "Количество", "integer"),
        DealField("MONEY", "Аванс", "money"),
        DealField("DAY", "Дата отгрузки", "date"),
        DealField("MOMENT", "Встреча", "datetime"),
        DealField("FLAG", "Срочно", "boolean"),
        DealField("KIND", "Вид", "enumeration", options=OPTIONS),
        DealField("KINDS", "Виды", "enumeration", multiple=True, options=OPTIONS),
        DealField("SOURCE_ID", "Источник", "crm_status", options={"WEB": "Сайт", "CALL": "Звонок"}),
        DealField("LOGIST", "Логист", "employee"),
        DealField("CITY", "Город", "string"),
        DealField("CITIES", "Города", "string", multiple=True),
        DealField("NUMBERS", "Числа", "double", multiple=True),
        DealField("FILE", "Файл", "file"),
    )
}


def holds(condition: Condition, **fields: Any) -> bool:
    return Facts(fields=fields, deal_fields=DEAL_FIELDS, zone=MOSCOW).judge(condition).holds


def cannot(condition: Condition, **fields: Any) -> CannotJudge:
    with pytest.raises(CannotJudge) as caught:
        Facts(fields=fields, deal_fields=DEAL_FIELDS, zone=MOSCOW).judge(condition)
    return caught.value


@pytest.mark.parametrize(
    ("code", "seen", "op", "wanted", "expected"),
    [
        # numbers as numbers, whatever they come as
        ("OPPORTUNITY", 150000, "min", 100000, True),
        ("OPPORTUNITY", 100000.0, "min", 100000, True),
        ("OPPORTUNITY", "99999.99", "min", 100000, False),
        ("OPPORTUNITY", "100000.00", "eq", 100000, True),
        ("OPPORTUNITY", 0.1 + 0.2, "max", 0.3, False),
        ("OPPORTUNITY", 9, "max", "10", True),
        ("OPPORTUNITY", 0, "min", 0, True),
        ("OPPORTUNITY", 0, "eq", 0, True),
        ("OPPORTUNITY", 5, "in", [4, 5.0], True),
        ("OPPORTUNITY", 5, "not", 5, False),
        ("OPPORTUNITY", 5, "not", [4, 6], True),
        ("MONEY", "100.5|EUR", "min", 100, True),
        ("MONEY", "100|EUR", "eq", 100, True),
        ("MONEY", "|EUR", "min", 0, False),
        ("COUNT", 12345, "contains", "234", True),
        ("CITY", "12", "min", 3, True),
        ("CITY", " 5 ", "eq", 5, True),
        ("CITY", "пять", "eq", 5, False),
        # dates as dates
        ("DAY", "2026-03-12T03:00:00+03:00", "eq", date(2026, 3, 12), True),
        ("DAY", "2026-03-12T23:59:00-10:00", "max", "2026-03-12", True),
        ("DAY", "2026-03-12", "min", date(2026, 3, 13), False),
        ("DAY", "2026-03-12", "in", [date(2026, 3, 11), "2026-03-12"], True),
        ("DAY", "2026-03-12", "min", datetime(2026, 3, 12, 23, tzinfo=UTC), False),
        ("MOMENT", "2026-03-12T21:30:00+00:00", "eq", date(2026, 3, 13), True),
        ("MOMENT", "2026-03-12T20:30:00+00:00", "max", "2026-03-12", True),
        ("MOMENT", "2026-03-12T21:30:00+00:00", "max", "2026-03-12", False),
        ("MOMENT", "2026-03-12T12:00:00+00:00", "eq", "2026-03-12 15:00", True),
        ("MOMENT", "2026-03-12T12:00:00+00:00", "min", datetime(2026, 3, 12, 15, 1), False),  # noqa: DTZ001
        ("MOMENT", "2026-03-12T12:00:00+00:00", "min", "2026-03-12T12:00:00+00:00", True),
        ("CITY", "2026-03-12", "min", "2026-03-01", True),
        # texts
        ("CITY", "Москва", "eq", "Москва", True),
        ("CITY", " Москва ", "eq", "Москва", True),
        ("CITY", "москва", "eq", "Москва", False),
        ("CITY", "Йошкар", "eq", "Йошкар", True),
        ("CITY", "Москва", "in", ["Казань", "Москва"], True),
        ("CITY", "Москва", "not", "Казань", True),
        ("CITY", "Санкт-Петербург", "contains", "петер", True),
        ("CITY", "Санкт-Петербург", "contains", "моск", False),
        ("CITY", "Санкт-Петербург", "contains", ["моск", "ПЕТЕР"], True),
        # list values and statuses by id or by text
        ("KIND", 45, "eq", "45", True),
        ("KIND", "45", "eq", 45, True),
        ("KIND", 45.0, "in", ["46", "45"], True),
        ("KIND", 45, "eq", "Опт", True),
        ("KIND", 45, "eq", "опт", False),
        ("KIND", 45, "not", "Опт", False),
        ("KIND", 45, "contains", "ОП", True),
        ("KIND", 47, "min", 99, True),
        ("SOURCE_ID", "WEB", "eq", "WEB", True),
        ("SOURCE_ID", "WEB", "eq", "Сайт", True),
        ("SOURCE_ID", "WEB", "in", ["CALL"], False),
        ("LOGIST", 5, "eq", 5, True),
        ("LOGIST", "5", "in", [4, 5], True),
        # yes and no
        ("FLAG", "Y", "eq", True, True),
        ("FLAG", "1", "eq", True, True),
        ("FLAG", 1, "eq", "Y", True),
        ("FLAG", "N", "eq", False, True),
        ("FLAG", None, "eq", False, True),
        ("FLAG", False, "eq", True, False),
        ("FLAG", "Y", "not", True, False),
        ("FLAG", "Y", "eq", "да", True),
        ("CITY", "Y", "eq", True, True),
        # several values: any may pass, none may be excluded
        ("KINDS", [45, 46], "eq", "46", True),
        ("KINDS", ["45", 46], "in", ["47", "46"], True),
        ("KINDS", [45, 46], "not", "46", False),
        ("KINDS", [45, 46], "not", "47", True),
        ("CITIES", ["Казань", "Москва"], "contains", "моск", True),
        ("NUMBERS", [1, 200], "min", 100, True),
        ("NUMBERS", [1, 200], "max", 0, False),
        ("NUMBERS", ["много", 200], "min", 100, True),
    ],
)
def test_one_test_on_one_field(code, seen, op, wanted, expected):
    assert holds(Test(code, op, wanted), **{code: seen}) is expected


EMPTY = [("CITY", ""), ("CITY", "  "), ("CITY", None), ("CITY", False), ("CITIES", []), ("KINDS", False), ("LOGIST", 0)]
EMPTY += [("MONEY", "|EUR"), ("DAY", ""), ("OPPORTUNITY", None), ("KIND", "0")]


@pytest.mark.parametrize(("code", "seen"), EMPTY)
def test_an_empty_field_fails_quietly_and_equals_only_nothing(code, seen):
    fields = {code: seen}
    wanted: Any = date(2026, 3, 1) if code == "DAY" else 1
    assert not holds(Test(code, "min", wanted), **fields)
    assert not holds(Test(code, "max", wanted), **fields)
    assert not holds(Test(code, "contains", "a"), **fields)
    assert not holds(Test(code, "eq", wanted), **fields)
    assert holds(Test(code, "not", wanted), **fields)
    assert holds(Test(code, "eq", None), **fields)
    assert holds(Test(code, "eq", ""), **fields)
    assert holds(Test(code, "in", [wanted, None]), **fields)
    assert not holds(Test(code, "not", [wanted, None]), **fields)
    assert holds(Test(code, "filled", False), **fields)
    assert not holds(Test(code, "filled", True), **fields)


@pytest.mark.parametrize(("code", "seen"), [("CITY", "x"), ("OPPORTUNITY", 0), ("KINDS", [45]), ("LOGIST", 5)])
def test_a_filled_field_is_filled(code, seen):
    assert holds(Test(code, "filled", True), **{code: seen})
    assert not holds(Test(code, "filled", False), **{code: seen})
    assert not holds(Test(code, "eq", None), **{code: seen})


@pytest.mark.parametrize(
    ("test", "seen", "field", "value", "wanted"),
    [
        (Test("CITY", "min", 10), "Москва", "Город (CITY)", "Москва", "число (не меньше 10)"),
        (Test("KIND", "max", 10), 45, "Вид (KIND)", "Опт", "число (не больше 10)"),
        (Test("OPPORTUNITY", "eq", 10), "много", "Сумма (OPPORTUNITY)", "много", "число (10)"),
        (
            Test("DAY", "min", date(2026, 3, 1)),
            "скоро",
            "Дата отгрузки (DAY)",
            "скоро",
            "дата (не меньше 1 марта 2026)",
        ),
        (Test("DAY", "min", 5), "2026-03-01", "Дата отгрузки (DAY)", "1 марта 2026", "дата (не меньше 5)"),
        (Test("MOMENT", "eq", "2026-03-01"), "2026-03-01T10:00", "Встреча (MOMENT)", "", "дата (1 марта 2026)"),
        (Test("FLAG", "eq", True), "может быть", "Срочно (FLAG)", "может быть", "да или нет (да)"),
        (Test("FLAG", "min", 1), "Y", "Срочно (FLAG)", "да", "число"),
        (Test("FILE", "contains", "doc"), {"id": 7}, "Файл (FILE)", "", "текст (содержит «doc»)"),
        (Test("FILE", "eq", "doc"), {"id": 7}, "Файл (FILE)", "", "текст (doc)"),
        (Test("NUMBERS", "min", 100), ["много", 1], "Числа (NUMBERS)", "много", "число (не меньше 100)"),
    ],
)
def test_what_cannot_be_judged_is_an_error_that_names_field_and_value(test, seen, field, value, wanted):
    fault = cannot(test, **{test.field: seen})
    assert fault.field == field
    assert value in fault.value
    assert wanted in fault.wanted
    assert field in str(fault)
    assert value in str(fault)


def test_a_field_that_the_portal_did_not_show_cannot_be_judged():
    fault = cannot(Test("GONE", "filled", False))
    assert (fault.field, fault.value, fault.wanted) == ("GONE", "портал не показал это поле", "пусто")


YES, NO, UNCLEAR = Test("CITY", "eq", "a"), Test("CITY", "eq", "b"), Test("CITY", "min", 1)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (AllOf(()), True),
        (AnyOf(()), False),
        (AllOf((YES, Not(NO))), True),
        (AllOf((YES, NO)), False),
        (AnyOf((NO, YES)), True),
        (AnyOf((NO, NO)), False),
        (Not(AllOf((YES, NO))), True),
        (AllOf((UNCLEAR, NO)), False),
        (AnyOf((UNCLEAR, YES)), True),
        (AnyOf((AllOf((UNCLEAR, NO)), YES)), True),
        (AllOf((UNCLEAR, YES)), None),
        (AnyOf((NO, UNCLEAR)), None),
        (Not(UNCLEAR), None),
    ],
)
def test_all_any_and_not_know_yes_no_and_cannot_tell(condition, expected):
    if expected is None:
        assert cannot(condition, CITY="a").field == "Город (CITY)"
    else:
        assert holds(condition, CITY="a") is expected


def test_every_comparison_is_recorded_in_words():
    condition = AllOf(
        (
            Test("OPPORTUNITY", "min", 100000),
            AnyOf((Test("KIND", "eq", "46"), Test("KINDS", "in", ["45", "46"]))),
            Not(Test("DAY", "max", date(2026, 3, 1))),
            Test("MOMENT", "min", date(2026, 3, 1)),
            Test("FLAG", "eq", True),
            Test("CITY", "filled", True),
            Test("MONEY", "not", [1, 2]),
        )
    )
    fields = {
        "OPPORTUNITY": 99999.5,
        "KIND": 45,
        "KINDS": [45, 46],
        "DAY": "2026-03-12T03:00:00+03:00",
        "MOMENT": "2026-03-12T12:00:00+00:00",
        "FLAG": "N",
        "CITY": "",
        "MONEY": "1500|EUR",
    }
    judged = Facts(fields=fields, deal_fields=DEAL_FIELDS, zone=MOSCOW).judge(condition)
    assert judged == Judgement(
        False,
        (
            Check("Сумма (OPPORTUNITY)", "99 999,5", "не меньше 100 000", False),
            Check("Вид (KIND)", "Опт", "Розница", False),
            Check("Виды (KINDS)", "Опт, Розница", "одно из: Опт, Розница", True),
            Check("Дата отгрузки (DAY)", "12 марта 2026", "не больше 1 марта 2026", False),
            Check("Встреча (MOMENT)", "12 марта 2026, 15:00", "не меньше 1 марта 2026", True),
            Check("Срочно (FLAG)", "нет", "да", False),
            Check("Город (CITY)", "пусто", "заполнено", False),
            Check("Аванс (MONEY)", "1 500 EUR", "ни одно из: 1, 2", True),
        ),
    )


def test_the_words_are_in_the_language_asked_for():
    test = Test("OPPORTUNITY", "min", 100000)
    judged = Facts(fields={"OPPORTUNITY": 5}, deal_fields=DEAL_FIELDS, zone=MOSCOW, language="en").judge(test)
    assert judged.checks == (Check("Сумма (OPPORTUNITY)", "5", "at least 100,000", False),)


def test_the_error_carries_the_comparisons_that_could_be_made():
    fault = cannot(AllOf((YES, UNCLEAR)), CITY="a")
    assert fault.checks == (Check("Город (CITY)", "a", "a", True),)


def test_a_long_value_is_shown_short():
    judged = Facts(fields={"CITY": "б\n" * 500}, deal_fields=DEAL_FIELDS, zone=MOSCOW).judge(YES)
    assert len(judged.checks[0].seen) == 200
    assert judged.checks[0].seen.startswith("б б б")


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=True)
    | st.text(max_size=8)
    | st.sampled_from(["2026-03-12", "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00", "45", "1|EUR", "Y"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=1),
    max_leaves=4,
)
WISHES = st.one_of(st.integers(), st.booleans(), st.text(max_size=8), st.dates(), st.datetimes(), st.just("2026-03-12"))


@settings(max_examples=300)
@given(
    st.sampled_from(sorted(DEAL_FIELDS)),
    ANYTHING,
    st.sampled_from(["eq", "min", "max", "not", "contains"]),
    WISHES,
)
def test_whatever_the_portal_sends_is_judged_or_named(code, seen, op, wish):
    test = Test(code, op, wish)
    try:
        judged = Facts(fields={code: seen}, deal_fields=DEAL_FIELDS, zone=MOSCOW).judge(test)
    except CannotJudge as caught:
        judged, fault = None, caught
    else:
        fault = None
    assert judged is None or [check.ok for check in judged.checks] == [judged.holds]
    assert fault is None or (code in fault.field and fault.wanted)


@settings(max_examples=100)
@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_min_and_max_agree_with_arithmetic(seen, wish):
    assert holds(Test("OPPORTUNITY", "min", wish), OPPORTUNITY=seen) is (seen >= wish)
    assert holds(Test("OPPORTUNITY", "max", wish), OPPORTUNITY=seen) is (seen <= wish)
    assert holds(Test("OPPORTUNITY", "eq", wish), OPPORTUNITY=seen) is math.isclose(seen, wish, rel_tol=0)
