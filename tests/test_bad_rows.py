"""A row of the portal that cannot be read: left out, counted and told, not taken for absent; all other work goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bitrix_sandbox.http.faults import MISSING
from bitrix_sync.commands import changes
from bitrix_sync.engine import recheck
from bitrix_sync.explain import preview
from bitrix_sync.model.operations import State
from bitrix_sync.portal.dialect import outcomes, parsing
from bitrix_sync.portal.dialect.outcomes import decode
from bitrix_sync.portal.read_hints import UnreadableRow
from bitrix_sync.report import state_of_things
from bitrix_sync.settings import load_settings
from tests.world.office import Office, office
from tests.world.sweeps import HEAD, MARIA, SWEEPS, department, forget

DEEP: Any = "x"
for _ in range(200):
    DEEP = {"a": [DEEP]}
ODD: tuple[Any, ...] = (
    "0001-01-01T00:00:00+03:00",
    "10000-01-01T00:00:00+03:00",
    "9999-12-31T23:59:59-05:00",
    2**63,
    -(2**63) - 1,
    10**400,
    1e300,
    -7,
    "12.5",
    "١٢x",
    True,
    [],
    [[1]],
    {"x": {"y": 1}},
    "\ud83d",
    "x" * 1_000_000,
    DEEP,
    MISSING,
)
TASK_KEYS = ("id", "deadline", "status", "responsibleId", "title", "xmlId", "ufCrmTask", "auditors", "changedDate")
DEAL_KEYS = ("id", "categoryId", "stageId", "assignedById", "title", "createdTime", "updatedTime", "opportunity")
VISIT_KEYS = ("ID", "OWNER_ID", "CREATED_TIME", "STAGE_ID", "CATEGORY_ID", "TYPE_ID")
METHODS = ("tasks.task.list", "crm.item.list", "crm.stagehistory.list")
CASES = [
    *(("tasks.task.list", key, value) for key in TASK_KEYS for value in ODD),
    *(("crm.item.list", key, value) for key in DEAL_KEYS for value in ODD),
    *(("crm.stagehistory.list", key, value) for key in VISIT_KEYS for value in ODD),
    *(
        (method, "", row)
        for method in ("tasks.task.list", "crm.item.list", "crm.stagehistory.list")
        for row in (None, [], 7)
    ),
]


@contextmanager
def garbled(place: Office, method: str, field: str, value: Any, row: Any) -> Iterator[None]:
    """From now on the portal tells nonsense in one row."""
    place.portal.faults.next("garbled", method, times=None, row=row, field=field, value=value)
    try:
        yield
    finally:
        place.portal.faults.clear()


@pytest.mark.parametrize("method", ["tasks.task.list", "crm.item.list", "crm.stagehistory.list"])
def test_nonsense_in_one_row_stops_nothing_and_is_not_absence(tmp_path: Path, method: str) -> None:
    with office(tmp_path) as place:
        for number, (_, field, value) in enumerate(case for case in CASES[::11] if case[0] == method):
            bad, good = place.add_deal("Bad"), place.add_deal("Good")
            place.service.turn({"poll"}, wide=True)
            task = place.tasks(bad)[0]
            before = (len(place.tasks()), task.deadline, task.responsible_id, task.status)
            next_row = max(place.portal.state.history) + 1
            row = {"tasks.task.list": task.id, "crm.item.list": bad}.get(method, next_row)
            place.wait(minutes=1)
            with garbled(place, method, field, value, row):
                place.portal.state.set_deadline(task.id, task.deadline, by=5)
                fresh = place.add_deal("Fresh")
                place.service.turn({"poll"}, wide=True)
                recheck.run(place.context)
                if number % 6 == 0:
                    place.restart()
                    place.service.turn({"poll"}, wide=True)
                other = place.add_deal("Other")
                place.service.turn({"poll"}, wide=True)
                assert place.marks(other) == ["first-call"], (field, repr(value)[:40])
            place.wait(minutes=1)
            place.service.turn({"poll"}, wide=True)
            assert (len(place.tasks()) - 2, task.deadline, task.responsible_id, task.status) == before
            record = {one.portal_id: one for one in place.service.store.task_records()}[task.id]
            assert not record.gone, (field, repr(value)[:40])
            assert place.marks(good) == place.marks(fresh) == place.marks(other) == ["first-call"], (field, value)
        assert not place.service.store.counts().keys() & {State.SENDING, State.UNKNOWN, State.FAILED}


def test_a_row_left_out_is_told_to_the_admins_in_status_and_in_the_figures(tmp_path: Path) -> None:
    with office(tmp_path) as place:
        deal = place.add_deal()
        place.service.turn({"poll"}, wide=True)
        task = place.tasks(deal)[0]
        with garbled(place, "tasks.task.list", "deadline", "0001-01-01T00:00:00+03:00", task.id):
            place.portal.state.start_task(task.id, by=5)
            for _ in range(3):
                place.service.turn({"poll"}, wide=True)
        told = [notice for notice in place.portal.state.notices_of(1) if "cannot be read" in notice.text]
        assert len(told) == 1
        assert "deadline" in told[0].text
        service = place.service
        assert state_of_things(service.store, service.settings)["bad_rows"] == {"task: deadline is no moment": 1}
        assert service.numbers()["bad_rows"] == 1
        place.service.turn({"poll"}, wide=True)
        assert state_of_things(service.store, service.settings)["bad_rows"] == {}


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b'{"a": "\xff"}', {"a": "\ufffd"}),
        (b'{"a": "\\ud83d"}', {"a": "\ufffd"}),
        (b'{"a": "\\ud83d\\ude00"}', {"a": "\U0001f600"}),
        (b'{"a": NaN, "b": [Infinity, -1e309]}', {"a": None, "b": [None, None]}),
        (b'{"a": ' + b"9" * 5000 + b', "b": 2}', {"a": None, "b": 2}),
        (b"[" * 100_000, None),
        (b'{"a": ', None),
        (b"", None),
    ],
    ids=range(9),
)
def test_one_bad_value_keeps_no_answer_from_being_read(body: bytes, value: Any) -> None:
    assert decode(body) == value


@pytest.mark.parametrize("value", ODD, ids=range(len(ODD)))
def test_a_parser_gives_a_fact_that_the_store_can_keep_or_says_what_is_wrong(value: Any) -> None:
    for parse in (parsing.visit, parsing.task, parsing.user, parsing.department, parsing.task_or_mark):
        for key in (*TASK_KEYS, *VISIT_KEYS, "NAME", "UF_DEPARTMENT", "PARENT", "UF_HEAD"):
            row = {"id": 1, "ID": 1, "OWNER_ID": 2, "CREATED_TIME": "2026-03-02T10:00:00+03:00", "STAGE_ID": "NEW"}
            row |= {"status": 2, "responsibleId": 5, "deadline": None, key: value}
            with suppress(UnreadableRow):
                assert parse(row)
    assert outcomes.whole(value) is None or abs(outcomes.whole(value) or 0) < 2**63
    outcomes.number(value)


# --- the directory ---------------------------------------------------------------------------------------------------

NAMES = """
version: 1
language: en
timezone: Europe/Moscow
admins: [1]
fallback_owner: 1
funnels:
  Продажи:
    Новая заявка:
      - {id: first-call, title: "Call {{ deal.OPPORTUNITY }}", deadline: {after: 2 workhours}}
      - {id: review, title: Look, owner: head, deadline: {after: 2 workhours}}
  Сервис:
    "*":
      - {id: serve, title: Serve, deadline: {after: 1 workday}}
"""
NAMED: tuple[tuple[str, int | None, tuple[str, ...]], ...] = (
    ("user.get", MARIA, ("ID", "ACTIVE", "UF_DEPARTMENT", "NAME", "")),
    ("department.get", 4, ("ID", "PARENT", "UF_HEAD", "NAME", "")),
    ("crm.status.list", None, ("ID", "STATUS_ID", "ENTITY_ID", "NAME", "SORT", "")),
    ("crm.category.list", 5, ("id", "name", "sort", "")),
)


def values_for(field: str) -> tuple[Any, ...]:
    """Values that make no sense there; a whole number may be an id, though another one."""
    if not field:
        return (None, [], 7)
    numbers = () if field in ("ID", "id", "STATUS_ID", "UF_DEPARTMENT") else (-7, 2**63)
    return ("0001-01-01T00:00:00+03:00", {"x": {"y": 1}}, [[1]], "\ud83d", *numbers)


@pytest.mark.parametrize(("method", "row", "fields"), NAMED)
def test_nonsense_in_a_row_of_the_directory_takes_nothing_away(
    tmp_path: Path, method: str, row: int | None, fields: tuple[str, ...]
) -> None:
    with department(tmp_path, NAMES) as place:
        book = place.context.rulebook
        cases = [(field, value) for field in fields for value in values_for(field)]
        for number, (field, value) in enumerate(cases):
            place.portal.faults.next("garbled", method, times=None, row=row, field=field, value=value)
            book.read_anew()
            if number % 5 == 1:
                place.service.close()
                place.start()
                book = place.context.rulebook
            assert not book.error, (field, repr(value)[:40])
            assert not any(rule.disabled for rule in book.rules.by_id.values()), (field, repr(value)[:40])
            assert book.company.active(MARIA), (field, repr(value)[:40])
            deal = place.add_deal("Romashka", responsible=MARIA)
            place.turn()
            owners = {task.xml_id.split(":")[2]: task.responsible_id for task in place.tasks(deal)}
            assert owners == {"first-call": MARIA, "review": HEAD}, (field, repr(value)[:40])
            place.portal.faults.clear()
            place.wait(minutes=2)


@pytest.mark.parametrize(
    ("method", "row", "field", "off"),
    [
        ("crm.status.list", 101, "STATUS_ID", {"first-call", "review"}),
        ("crm.category.list", 5, "id", {"serve"}),
        ("user.get", 11, "ID", {"serve"}),
    ],
)
def test_a_row_that_a_first_start_cannot_read_switches_off_what_needs_it_and_nothing_else(
    tmp_path: Path, method: str, row: Any, field: str, off: set[str]
) -> None:
    with department(tmp_path, NAMES.replace("title: Serve", "owner: 11, title: Serve")) as place:
        forget(place)
        place.portal.faults.next("garbled", method, times=None, row=row, field=field, value={"x": {"y": 1}})
        place.start()
        place.turn()
        assert {name for name, why in place.store.flags.rules_off.items() if "could not be read" in why} == off
        kinds = {"first-call": (0, "NEW"), "serve": (5, "C5:NEW")}
        deals = {rule: place.add_deal(rule, funnel=funnel, stage=stage) for rule, (funnel, stage) in kinds.items()}
        place.turn()
        for rule, deal in deals.items():
            assert (rule in place.marks(deal)) is (rule not in off)
        place.portal.faults.clear()
        for _ in range(3):
            place.wait(minutes=30)
            place.turn()
        assert not place.store.flags.rules_off
        assert [rule in place.marks(deal) for rule, deal in deals.items()] == [True, True]


@pytest.mark.parametrize("field", ["CREATED_TIME", "ID", ""])
def test_a_known_row_of_the_history_that_cannot_be_read_keeps_no_start_and_no_recheck_back(
    tmp_path: Path, field: str
) -> None:
    with department(tmp_path, NAMES) as place:
        place.add_deal("Before")
        place.turn()
        newest = max(place.portal.state.history)
        place.portal.faults.next("garbled", "crm.stagehistory.list", times=None, row=newest, field=field, value=None)
        place.die()
        place.start()
        place.service.identify()
        recheck.run(place.context)
        deal = place.add_deal("After")
        place.turn()
        assert len(place.marks(deal)) == 2


def test_a_row_of_the_history_that_several_readings_in_turn_cannot_read_is_waited_for(tmp_path: Path) -> None:
    with department(tmp_path, NAMES) as place:
        place.portal.faults.next("garbled", "crm.stagehistory.list", times=None, row="*", field="ID", value=-7)
        deal = place.add_deal("During")
        for minutes in (150, 2):
            place.wait(minutes=minutes)
            place.turn()
        place.portal.faults.clear()
        for _ in range(3):
            place.wait(minutes=2)
            place.turn()
        assert len(place.marks(deal)) == 2


def test_a_task_of_ours_of_which_the_portal_tells_no_mark_is_neither_ours_nor_anothers(tmp_path: Path) -> None:
    with department(tmp_path, NAMES + SWEEPS) as place:
        deal = place.add_deal("Romashka", responsible=MARIA)
        place.turn()
        ours = [task.id for task in place.tasks(deal)]
        own = place.task("Own", MARIA, "2026-03-02 12:00")
        place.turn()
        before = [place.record(task) for task in ours]
        place.portal.faults.next("garbled", "tasks.task.list", times=None, row="*", field="xmlId", value=MISSING)
        place.portal.state.start_task(ours[0], by=MARIA)
        due = place.due(ours[0])
        for moment in ("18:30", "18:32", "18:34"):
            place.sweeps(moment)
        recheck.run(place.context)
        assert [place.record(task) for task in ours] == before
        assert [place.due(task) for task in (*ours, own)] == [due, due, "2026-03-03 18:00"]
        assert not [one for one in place.mail(1) if "another" in one]
        place.portal.faults.clear()
        for moment in ("18:36", "18:38"):
            place.until(moment)
            place.turn()
        assert [place.due(task) for task in ours] == ["2026-03-03 18:00"] * 2
        assert len(place.tasks(deal)) == 2


def test_a_task_that_was_found_by_its_mark_and_does_not_tell_it_may_be_the_one(tmp_path: Path) -> None:
    with department(tmp_path, NAMES) as place:
        place.portal.faults.next("garbage", "tasks.task.add", times=2)
        place.portal.faults.next("garbled", "tasks.task.list", times=None, row="*", field="xmlId", value=MISSING)
        deal = place.add_deal("Romashka", responsible=MARIA)
        for _ in range(3):
            place.turn()
            place.wait(minutes=2)
        assert len(place.store.unknown()) == len(place.tasks(deal)) == 2
        place.portal.faults.clear()
        place.wait(minutes=2)
        place.turn()
        assert len(place.tasks(deal)) == 2
        assert not place.store.unknown()


def test_a_deal_whose_row_cannot_be_read_among_others_is_asked_for_by_itself(tmp_path: Path) -> None:
    with department(tmp_path, NAMES) as place:
        before = place.portal.clock.now() - timedelta(days=9)
        deals = [place.portal.state.add_deal(name, responsible=MARIA, by=MARIA, at=before) for name in ("Bad", "Good")]
        with garbled(place, "crm.item.list", "createdTime", "never", deals[0]):
            shown = preview.of_all(load_settings(place.environ, None))
            assert set(deals) <= {line["deal_id"] for line in shown.lines}
            changes.perform(place.context, "backfill", {"stage": "NEW"})
        assert [len(place.marks(deal)) for deal in deals] == [2, 2]


@pytest.mark.parametrize(
    ("method", "field", "value"), [("crm.item.list", "id", MISSING), ("crm.stagehistory.list", "ID", -7)]
)
def test_a_backfill_that_cannot_read_whose_a_row_is_says_that_something_is_missing(
    tmp_path: Path, method: str, field: str, value: Any
) -> None:
    with department(tmp_path, NAMES) as place:
        before = place.portal.clock.now() - timedelta(days=9)
        deal = place.portal.state.add_deal("Old", stage="NEW", responsible=MARIA, by=MARIA, at=before)
        with garbled(place, method, field, value, "*"):
            told = changes.perform(place.context, "backfill", {"stage": "NEW"})
            assert told["unread"]
            assert place.marks(deal) == []
        changes.perform(place.context, "backfill", {"stage": "NEW"})
        assert len(place.marks(deal)) == 2
