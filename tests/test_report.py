"""What reports promise: every open task is counted once, by the portal's clock, in the file's zone, from the store."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from pathlib import Path
from time import thread_time
from typing import Any

import pytest
from typer.testing import CliRunner

from bitrix_sync import report
from bitrix_sync.cli import app
from bitrix_sync.errors import UserError
from bitrix_sync.model.actions import CompleteTask, Kind, unpack
from bitrix_sync.model.facts import AWAITING, DEFERRED, DONE, Absence, Deal, Visit
from bitrix_sync.model.operations import DeadlineChange, Operation, State
from bitrix_sync.model.reading import Reading
from bitrix_sync.report import snapshot, tables
from bitrix_sync.rules import words
from bitrix_sync.rules.model import (
    AllOf,
    AnyOf,
    Becomes,
    Creator,
    Deadline,
    Done,
    Duration,
    Entered,
    FromDepartment,
    FromField,
    Head,
    Nobody,
    Not,
    OneOf,
    OwnerOf,
    Person,
    Responsible,
    Room,
    Test,
    UserId,
)
from bitrix_sync.store import LearnedRooms, Store
from tests.world.company import after
from tests.world.office import office as office_of
from tests.world.records import (
    ANNA,
    BOSS,
    COMPANY,
    DAY,
    DIRECTORY,
    FIRED,
    HEAD,
    HOUR,
    IVAN,
    LAWYER,
    LOGIST,
    NOW,
    OLGA,
    PORTAL,
    Recorder,
    book,
    bustle,
    furnish,
    settings,
)
from webhooks.metrics import HELP

FRIDAY, MONDAY = "2026-03-13", "2026-03-16"


@pytest.fixture
def office(store: Store) -> Recorder:
    furnish(store)
    return Recorder(store)


def row(lines: list[dict[str, Any]], **wanted: Any) -> dict[str, Any]:
    return next(line for line in lines if all(line[key] == value for key, value in wanted.items()))


def loads(store: Store, **more: Any) -> dict[int, dict[str, Any]]:
    return {line["user_id"]: line for line in report.load(store, now=NOW, **more)}


# --- load ------------------------------------------------------------------------------------------------------------


def test_load_counts_every_open_task_by_day_overdue_and_today(store: Store, office: Recorder) -> None:
    office.task("вчера", ANNA, NOW - DAY)
    office.task("сегодня утром", ANNA, NOW - 2 * HOUR, rule_id="offer")
    office.task("сегодня вечером", ANNA, NOW + 2 * HOUR)
    office.task("завтра", ANNA, NOW + DAY)
    office.task("завтра отложенная", ANNA, NOW + DAY, status=DEFERRED)
    office.task("в понедельник", ANNA, NOW + 4 * DAY)
    office.task("когда-нибудь", ANNA, NOW + 40 * DAY)
    office.task("без срока", ANNA, None)
    line = loads(store)[ANNA]
    assert (line["user"], line["department"]) == ("Анна Петрова", "Отдел продаж")
    assert (line["open"], line["overdue"], line["today"]) == (8, 2, 2)
    assert line["by_day"] == {
        "2026-03-12": 2,
        FRIDAY: 2,
        MONDAY: 1,
        "2026-03-17": 0,
        "2026-03-18": 0,
        "2026-03-19": 0,
        "2026-03-20": 0,
        "2026-03-23": 0,
    }
    assert (line["next_7_workdays"], line["later"], line["no_deadline"]) == (3, 1, 1)


def test_a_day_off_is_shown_only_if_something_is_due_on_it(store: Store, office: Recorder) -> None:
    office.task("в субботу", IVAN, NOW + 2 * DAY)
    assert loads(store)[IVAN]["by_day"]["2026-03-14"] == 1
    assert "2026-03-15" not in loads(store)[IVAN]["by_day"]


def test_load_tells_room_and_free_places_by_day_and_who_is_away(store: Store, office: Recorder) -> None:
    rules = replace(book(), room=Room("learned", {IVAN: 2}))
    store.flags.snapshot = snapshot.pack(DIRECTORY, rules, portal=PORTAL)
    store.flags.rooms = LearnedRooms(NOW.date(), {ANNA: 3})
    for number in range(4):
        office.task(f"в пятницу {number}", ANNA, NOW + DAY)
    office.task("отложенная", ANNA, NOW + DAY, status=DEFERRED)
    office.task("в пятницу", IVAN, NOW + DAY)
    store.note_absences([Absence(IVAN, NOW - HOUR, NOW + 20 * HOUR)], NOW)
    found = loads(store)
    assert (found[ANNA]["room"], found[IVAN]["room"]) == (3, 2)
    assert found[ANNA]["free_by_day"][FRIDAY] == 0, "four of three"
    assert found[ANNA]["free_by_day"][MONDAY] == 3
    assert found[IVAN]["free_by_day"][FRIDAY] == 1
    assert found[IVAN]["away_until"] == NOW + 20 * HOUR
    assert found[ANNA]["away_until"] is None


def test_without_room_nothing_is_told_of_it(store: Store, office: Recorder) -> None:
    office.task("в пятницу", ANNA, NOW + DAY)
    assert (loads(store)[ANNA]["room"], loads(store)[ANNA]["free_by_day"]) == (None, {})


def test_what_is_done_gone_or_not_yet_in_the_portal_is_no_load(store: Store, office: Recorder) -> None:
    office.task("выполнена", ANNA, NOW, status=DONE)
    office.task("удалена", ANNA, NOW, gone=True)
    office.task("на пути", ANNA, NOW, rule_id="offer", portal_id=None)
    assert report.load(store, now=NOW) == []


def test_deferred_and_awaiting_tasks_are_open_but_never_overdue(store: Store, office: Recorder) -> None:
    office.task("отложена", ANNA, NOW - DAY, status=DEFERRED)
    office.task("ждёт приёмки", ANNA, NOW - DAY, status=AWAITING)
    assert (loads(store)[ANNA]["open"], loads(store)[ANNA]["overdue"]) == (2, 0)
    assert report.overdue(store, now=NOW) == []


def test_a_day_is_a_day_of_the_files_zone(store: Store, office: Recorder) -> None:
    office.task("в полночь по Москве", ANNA, NOW.replace(hour=0, minute=0) + DAY)
    office.task("за минуту до неё", IVAN, NOW.replace(hour=23, minute=59))
    assert loads(store)[ANNA]["today"] == 0
    assert loads(store)[IVAN]["today"] == 1


def test_idle_colleagues_are_shown_on_request(store: Store, office: Recorder) -> None:
    office.task("завтра", ANNA, NOW + DAY)
    assert set(loads(store)) == {ANNA}
    everyone = loads(store, idle=True)
    assert set(everyone) == {HEAD, ANNA, IVAN, OLGA, 8}
    assert everyone[IVAN]["open"] == 0


def test_load_is_ordered_by_department_the_busiest_first(store: Store, office: Recorder) -> None:
    for owner in (ANNA, IVAN, IVAN, LAWYER, LOGIST):
        office.task("дело", owner, NOW + DAY)
    office.task("ничьё", 999, NOW + DAY)
    assert [line["user_id"] for line in report.load(store, now=NOW)] == [LOGIST, IVAN, ANNA, LAWYER, 999]
    assert loads(store)[999]["user"] == "#999"


def test_the_portals_clock_decides_not_ours(store: Store, office: Recorder) -> None:
    office.task("через час", ANNA, NOW + HOUR)
    assert loads(store)[ANNA]["overdue"] == 0
    store.flags.clock_offset = 7200.0
    assert loads(store)[ANNA]["overdue"] == 1


# --- tasks -----------------------------------------------------------------------------------------------------------


def test_overdue_tells_age_moves_first_deadline_deal_and_supervisor(store: Store, office: Recorder) -> None:
    deal = office.deal("Станки", ("NEW", NOW - 9 * DAY))
    late = office.task(
        "Позвонить",
        ANNA,
        NOW - 30 * HOUR,
        rule_id="first-call",
        deal_id=deal,
        supervisor_id=HEAD,
        first_deadline=NOW - 3 * DAY,
        moves=2,
        moves_by_us=2,
        moves_by_people=1,
    )
    office.task("позже", IVAN, NOW - HOUR)
    first, second = report.overdue(store, now=NOW)
    assert first["task_id"] == late.portal_id
    assert (first["deal_id"], first["deal"], first["owner"]) == (deal, "Станки", "Анна Петрова")
    assert (first["supervisor_id"], first["moves"], first["age_hours"]) == (HEAD, 2, 30.0)
    assert (first["first_deadline"], first["deadline"]) == (NOW - 3 * DAY, NOW - 30 * HOUR)
    assert first["deadline"].utcoffset() == timedelta(hours=3)
    assert second["title"] == "позже"


def test_a_foreign_task_is_controlled_by_the_head_over_its_owner(store: Store, office: Recorder) -> None:
    office.task("чужая", ANNA, NOW - DAY)
    office.task("руководителя", HEAD, NOW - DAY)
    office.task("без контролёра", IVAN, NOW - DAY, rule_id="offer", supervisor_id=None)
    assert [line["supervisor_id"] for line in report.overdue(store, now=NOW)] == [HEAD, BOSS, None]


def test_a_long_list_can_be_cut(store: Store, office: Recorder) -> None:
    for number in range(5):
        office.task(f"дело {number}", ANNA, NOW - (number + 1) * HOUR)
    assert [line["title"] for line in report.overdue(store, now=NOW, limit=2)] == ["дело 4", "дело 3"]
    assert [line["title"] for line in report.late(store, now=NOW, limit=2)] == ["дело 4", "дело 3"]
    assert len(report.late_ages(store, now=NOW)) == 5


def test_today_lists_what_is_due_today_also_when_its_hour_is_past(store: Store, office: Recorder) -> None:
    office.task("прошла", ANNA, NOW - HOUR)
    office.task("впереди", IVAN, NOW + HOUR)
    office.task("завтра", IVAN, NOW + DAY)
    found = report.today(store, now=NOW)
    assert [(line["title"], line["overdue"]) for line in found] == [("прошла", True), ("впереди", False)]


def test_moves_lists_open_tasks_whose_deadline_was_moved(store: Store, office: Recorder) -> None:
    office.task("на месте", ANNA, NOW + DAY)
    office.task(
        "сдвинута", ANNA, NOW + DAY, rule_id="offer", first_deadline=NOW - DAY, moves_by_us=2, moves_by_people=1
    )
    office.task("закрыта", ANNA, NOW, moves_by_us=3, status=DONE)
    (line,) = report.moves(store, now=NOW)
    assert (line["title"], line["rule"], line["moves_by_us"], line["moves_by_people"]) == ("сдвинута", "offer", 2, 1)
    assert line["slip_hours"] == 48.0


# --- slips -----------------------------------------------------------------------------------------------------------


def test_slips_are_counted_by_person_and_by_rule(store: Store, office: Recorder) -> None:
    anna = office.task("одна", ANNA, NOW + DAY, rule_id="offer")
    ivan = office.task("другая", IVAN, NOW + DAY)
    for _ in range(3):
        office.slip(anna, "sweep")
    office.slip(anna, "people")
    office.slip(ivan, "sweep")
    people = report.slips_by_person(store, now=NOW)
    assert [(line["owner_id"], line["by_us"], line["by_people"], line["total"]) for line in people] == [
        (ANNA, 3, 1, 4),
        (IVAN, 1, 0, 1),
    ]
    assert [(line["rule_id"], line["total"]) for line in report.slips_by_rule(store, now=NOW)] == [
        ("offer", 4),
        ("", 1),
    ]


def test_following_an_undone_sweep_and_an_earlier_deadline_are_no_slips(store: Store, office: Recorder) -> None:
    task = office.task("дело", ANNA, NOW + DAY)
    office.slip(task, "follow")
    office.slip(task, "sweep")
    office.slip(task, "undo", days=-1)
    office.slip(task, "people", days=-2)
    office.slip(task, "sweep", at=NOW - 40 * DAY)
    assert all(line["total"] == 0 for line in report.slips_by_person(store, now=NOW))


def test_the_first_deadline_kept_is_held_against_the_last(store: Store, office: Recorder) -> None:
    done = {"status": DONE, "rule_id": "offer"}
    office.task("к первому", ANNA, NOW, closed=NOW - DAY, **done)
    office.task("к последнему", ANNA, NOW, first_deadline=NOW - 3 * DAY, closed=NOW - DAY, **done)
    office.task("опоздала", ANNA, NOW - 2 * DAY, closed=NOW - DAY, **done)
    office.task("давно", ANNA, NOW, closed=NOW - 60 * DAY, **done)
    (line,) = report.slips_by_person(store, now=NOW)
    assert (line["done"], line["kept_first"], line["kept_last"]) == (3, 1, 2)
    person = report.employee(store, ANNA, now=NOW)
    assert person is not None
    assert (len(person["done"]), person["kept_first"], person["kept_last"]) == (3, 1, 2)


@pytest.mark.parametrize("closed_by", [None, COMPANY.self_id])
def test_what_the_service_closed_is_no_persons_work(store: Store, office: Recorder, closed_by: int | None) -> None:
    closed: dict[str, Any] = {"status": DONE, "rule_id": "offer", "closed": NOW - HOUR, "closed_by": closed_by}
    office.task("сама", ANNA, NOW, status=DONE, rule_id="offer", closed=NOW - DAY, closed_by=ANNA)
    ours = office.task("закрыта службой", ANNA, NOW, **closed)
    again = office.task("открыта снова и выполнена", ANNA, NOW, **(closed | {"closed": NOW, "closed_by": ANNA}))
    for one in (ours, again):
        office.operation(Operation(f"leave:{one.ref}", CompleteTask("leave"), task=one.ref))
    for one in (ours, again):
        office.record(tasks=(one,))
    for (line,) in (report.slips_by_person(store, now=NOW), report.slips_by_rule(store, now=NOW)):
        assert (line["done"], line["kept_first"], line["kept_last"], line["by_service"]) == (2, 2, 2, 1)
    person = report.employee(store, ANNA, now=NOW)
    assert person is not None
    assert (len(person["done"]), person["by_service"], person["kept_first"]) == (3, 1, 2)
    assert row(person["done"], title="закрыта службой")["kept_first"] is False
    assert row(person["done"], title="сама")["closed_by"] == "Анна Петрова"


def test_who_moved_a_deadline_has_a_name(store: Store, office: Recorder) -> None:
    task = office.task("дело", ANNA, NOW + DAY, moves_by_people=3)
    for mover in (IVAN, FIRED, IVAN, COMPANY.self_id):
        office.record(slips=(DeadlineChange(task.ref, NOW, NOW + DAY, "people", NOW, mover=mover),))
    (line,) = report.moves(store, now=NOW)
    assert line["mover_ids"] == [IVAN, FIRED]
    assert line["movers"].endswith("(больше не работает)")


def test_an_employee_is_told_with_head_tasks_and_load(store: Store, office: Recorder) -> None:
    office.task("завтра", ANNA, NOW + DAY)
    office.task("без срока", ANNA, None)
    office.task("вчера", ANNA, NOW - DAY)
    person = report.employee(store, ANNA, now=NOW)
    assert person is not None
    assert (person["user"], person["head"], person["load"]["open"]) == ("Анна Петрова", "Марина Лебедева", 3)
    assert [line["title"] for line in person["tasks"]] == ["вчера", "завтра", "без срока"]
    idle = report.employee(store, OLGA, now=NOW)
    assert idle is not None
    assert idle["load"]["open"] == 0
    fired = report.employee(store, FIRED, now=NOW)
    assert fired is not None
    assert not fired["active"]
    assert report.employee(store, 4711, now=NOW) is None


# --- deals -----------------------------------------------------------------------------------------------------------


def test_stages_tell_deals_median_ninetieth_percentile_and_over_the_limit(store: Store, office: Recorder) -> None:
    for hours in (10, 20, 30):
        begun = NOW - 20 * DAY
        office.deal(
            f"прошла за {hours}", ("PREPARATION", begun), ("OFFER", begun + hours * HOUR), ("WON", begun + 40 * HOUR)
        )
    office.deal("стоит", ("PREPARATION", NOW - 40 * HOUR))
    office.deal("застряла", ("PREPARATION", NOW - 12 * DAY))
    lines = report.stages(store, now=NOW)
    line = row(lines, stage_id="PREPARATION")
    assert (line["funnel_id"], line["funnel"], line["stage"]) == (0, "Продажи", "Презентация")
    assert (line["deals"], line["over_limit"], line["limit"], line["stays"]) == (2, 1, [5, "workdays"], 5)
    assert line["median_hours"] == 30.0
    assert line["p90_hours"] == pytest.approx(40 + (288 - 40) * 0.6)
    empty = row(lines, stage_id="CONTRACT")
    assert (empty["deals"], empty["median_hours"], empty["p90_hours"], empty["over_limit"]) == (0, None, None, 0)
    won = row(lines, stage_id="WON")
    assert (won["deals"], won["median_hours"]) == (3, None)


def test_stages_come_in_the_portals_order_and_a_vanished_one_last(store: Store, office: Recorder) -> None:
    visit, deal = Visit(1, 1, 2, 0, "OLD", "P", NOW - DAY), Deal(1, "x", 0, "OLD", "P", 5, 5, 0, 0, NOW, NOW)
    office.record(visits=(visit,), deals=(deal,))
    ids = [line["stage_id"] for line in report.stages(store, now=NOW)]
    assert ids == [stage.id for funnel in DIRECTORY.funnels for stage in funnel.stages] + ["OLD"]
    assert row(report.stages(store, now=NOW), stage_id="OLD")["deals"] == 1


def test_stays_of_long_ago_no_longer_count(store: Store, office: Recorder) -> None:
    begun = NOW - 300 * DAY
    office.deal("давно", ("NEW", begun), ("OFFER", begun + 9 * DAY), ("WON", begun + 10 * DAY))
    assert row(report.stages(store, now=NOW), stage_id="NEW")["stays"] == 0


def test_deals_over_the_limit_come_first_by_how_long_they_are_over_it(store: Store, office: Recorder) -> None:
    office.deal("без предела", ("NEW", NOW - 90 * DAY))
    office.deal("сверх на день", ("AGREEMENT", NOW - 8 * DAY))
    office.deal("сверх на месяц", ("CONTRACT", NOW - 40 * DAY))
    office.deal("в пределах", ("AGREEMENT", NOW - 6 * DAY))
    found = report.deals_in_stages(store, now=NOW).lines
    assert [(line["title"], line["over"]) for line in found] == [
        ("сверх на месяц", True),
        ("сверх на день", True),
        ("без предела", False),
        ("в пределах", False),
    ]
    assert found[1]["over_since"] == datetime.fromisoformat("2026-03-11T18:00+03:00")
    assert found[1]["over_hours"] == 20.0
    for limit in range(5):
        part = report.deals_in_stages(store, now=NOW, limit=limit)
        assert (part.deals, part.over, part.lines) == (4, 2, found[:limit])


def test_the_limit_found_by_search_is_the_limit_of_each_deal(store: Store, office: Recorder) -> None:
    entries = [NOW - timedelta(hours=7 * number) for number in range(40)]
    for entered in entries:
        office.deal(entered.isoformat(), ("AGREEMENT", entered))
    limit = snapshot.unpack(store.flags.snapshot).limits["AGREEMENT"]
    calendar = book().calendar
    ends = {
        e.isoformat(): calendar.moment(calendar.nth_working_after(e.date(), limit.amount), calendar.usual[-1][1])
        for e in entries
    }
    found = report.deals_in_stages(store, now=NOW).lines
    assert {line["title"]: line["over"] for line in found} == {title: end < NOW for title, end in ends.items()}


def test_a_deals_path_tells_every_movement_with_time_and_who_made_it(store: Store, office: Recorder) -> None:
    begun = NOW - 10 * DAY
    deal = office.deal("Станки", ("NEW", begun), ("PREPARATION", begun + DAY), moved_by=ANNA)
    office.operation(Operation("move:1", unpack(Kind.MOVE_DEAL, {"stage": "OFFER", "visit": 102}), deal))
    moved = Visit(103, deal, 2, 0, "OFFER", "P", NOW - DAY)
    office.record(visits=(moved,), deals=(Deal(deal, "Станки", 0, "OFFER", "P", ANNA, ANNA, 0, 0, begun, NOW, 1),))
    found = report.deal_path(store, deal, now=NOW)
    assert found is not None
    assert [(step["stage"], step["hours"], step["moved_by"], step["by_service"]) for step in found["path"]] == [
        ("Новая заявка", 24.0, ANNA, False),
        ("Презентация", 192.0, ANNA, False),
        ("КП отправлено", 24.0, 1, True),
    ]
    assert [step["left"] for step in found["path"]] == [begun + DAY, NOW - DAY, None]
    assert [step["over_limit"] for step in found["path"]] == [False, True, False]
    assert report.deal_path(store, 4711, now=NOW) is None


def test_who_moved_a_deal_before_it_was_seen_stays_unknown(store: Store, office: Recorder) -> None:
    visits = (Visit(1, 7, 1, 0, "NEW", "P", NOW - 3 * DAY), Visit(2, 7, 2, 0, "OFFER", "P", NOW - DAY))
    office.record(visits=visits, deals=(Deal(7, "x", 0, "OFFER", "P", 5, 5, 0, 0, NOW, NOW, moved_by=IVAN),))
    found = report.deal_path(store, 7, now=NOW)
    assert found is not None
    assert [step["moved_by_name"] for step in found["path"]] == ["", "Иван Сидоров"]


def test_the_mover_kept_with_a_visit_is_never_overwritten_by_the_next_ones(store: Store, office: Recorder) -> None:
    deal = office.deal("x", ("NEW", NOW - DAY), moved_by=ANNA)
    later = Deal(deal, "x", 0, "NEW", "P", IVAN, ANNA, 0, 0, NOW, NOW, moved_by=IVAN)
    office.record(deals=(later,))
    found = report.deal_path(store, deal, now=NOW)
    assert found is not None
    assert found["path"][0]["moved_by"] == ANNA


def test_a_closed_deal_stays_in_its_final_stage_without_time(store: Store, office: Recorder) -> None:
    deal = office.deal("x", ("NEW", NOW - 3 * DAY), ("WON", NOW - DAY))
    found = report.deal_path(store, deal, now=NOW)
    assert found is not None
    assert (found["closed"], found["won"], found["path"][-1]["hours"]) == (True, True, None)


def test_deals_and_people_are_found_by_a_part_of_their_name(store: Store, office: Recorder) -> None:
    office.deal("Поставка СТАНКОВ", ("NEW", NOW - DAY))
    office.deal("закрыта: станки", ("NEW", NOW - DAY), ("WON", NOW))
    found = report.search(store, " станк ", limit=5)
    assert [one["title"] for one in found["deals"]] == ["Поставка СТАНКОВ"]
    assert [one["user_id"] for one in report.search(store, "ПЕТР", limit=5)["people"]] == [ANNA]
    assert report.search(store, "  ", limit=5) == {"people": [], "deals": []}


# --- the service itself ----------------------------------------------------------------------------------------------


def test_the_last_sweeps_are_told_by_the_slots_that_should_have_run(store: Store, office: Recorder) -> None:
    office.sweep("2026-03-11/evening", NOW - DAY, moved=2, failed=1)
    office.sweep("2026-03-12/morning", NOW.replace(hour=9), state="skipped")
    morning, evening = report.last_sweeps(store, now=NOW)
    assert (morning["name"], morning["verdict"], morning["due"]) == ("morning", "missed", NOW.replace(hour=9))
    assert (evening["verdict"], evening["moved"], evening["failed"]) == ("done", 2, 1)
    assert evening["due"] == datetime.fromisoformat("2026-03-11T18:30+03:00")


@pytest.mark.parametrize(
    ("hour", "minute", "verdict", "day"),
    [(9, 5, "waiting", 12), (9, 30, "missed", 12), (8, 59, "missed", 11)],
)
def test_a_slot_that_nobody_claimed_is_missed_after_a_while(
    store: Store, office: Recorder, hour: int, minute: int, verdict: str, day: int
) -> None:
    lines = report.last_sweeps(store, now=NOW.replace(hour=hour, minute=minute))
    morning = row(lines, name="morning")
    assert (morning["verdict"], morning["due"].day) == (verdict, day)


def test_a_sweep_that_was_never_due_is_not_missed(store: Store, office: Recorder) -> None:
    began = NOW - HOUR
    store.flags.sweeps_since = {"morning": began, "evening": began}
    assert {line["verdict"] for line in report.last_sweeps(store, now=NOW)} == {"none"}
    store.flags.sweeps_since = {}
    assert {line["verdict"] for line in report.last_sweeps(store, now=NOW)} == {"none"}
    furnish(store, book(sweeps=False))
    assert report.last_sweeps(store, now=NOW) == []


def test_what_is_held_and_what_failed_is_told_with_its_reason(store: Store, office: Recorder) -> None:
    held = Operation("1:offer", unpack(Kind.CREATE, {"fields": {"TITLE": "Предложение"}}), 7, "1:offer")
    office.operation(held, State.HELD)
    webhook = "https://example.bitrix24.ru/rest/1/s3cr3tc0de/"
    office.operation(
        Operation("m", unpack(Kind.MOVE_DEAL, {"stage": "OFFER", "visit": 1}), 7),
        State.FAILED,
        error_code="ACCESS_DENIED",
        error_text=f"нет прав, {webhook}",
    )
    (one,) = report.held_back(store)
    assert (one["kind"], one["title"], one["deal_id"]) == ("task.create", "Предложение", 7)
    json.dumps(one)
    (failed,) = report.operations(store, now=NOW, states=[State.FAILED])
    assert (failed["stage"], failed["error_code"]) == ("КП отправлено", "ACCESS_DENIED")
    assert "s3cr3tc0de" not in failed["error"]
    assert report.standing(store, now=NOW)["failed_today"] == 1
    assert report.standing(store, now=NOW + 2 * DAY)["failed_today"] == 0


def test_the_state_of_things_is_plain_json(store: Store) -> None:
    empty = report.state_of_things(store, settings())
    assert (empty["cursor"], empty["queue"], empty["last_sweeps"]) == (None, {}, [])
    office = bustle(store)
    store.renew_lease(office.epoch, NOW, 12.4)
    told = json.loads(json.dumps(report.state_of_things(store, settings())))
    assert told["cursor"]["history_id"] == 4711
    assert told["queue"]["held"] == 1
    assert told["last_sweeps"][0] == {"slot": "2026-03-12/morning", "state": "done", "moved": 6}
    assert told["budget"]["free"] == 37
    assert told["holder"]["name"] == "test"
    assert told["paused"] is False


def test_sweeps_list_what_became_of_their_moves(store: Store, office: Recorder) -> None:
    office.sweep("2026-03-11/evening", NOW - DAY, moved=2, failed=1)
    office.sweep("2026-03-12/morning", NOW, state="skipped")
    skipped, done = report.sweeps(store)
    assert (skipped["state"], skipped["moved"], skipped["reason"]) == ("skipped", 0, "missed")
    assert (done["slot"], done["moved"], done["failed"], done["overdue"]) == ("2026-03-11/evening", 2, 1, 3)


# --- the snapshot ----------------------------------------------------------------------------------------------------


def test_the_snapshot_comes_back_as_it_was_packed() -> None:
    rules = book("en")
    packed = snapshot.pack(DIRECTORY, rules, portal=PORTAL, source="version: 1", warnings=("w",), loaded=NOW)
    known = snapshot.unpack(packed)
    assert (known.company.users, known.company.departments) == (COMPANY.users, COMPANY.departments)
    assert [(funnel.id, funnel.name) for funnel in known.funnels] == [(0, "Продажи"), (5, "Сервис")]
    assert known.stage_name("AGREEMENT") == "Согласование"
    assert known.calendar == rules.calendar
    assert {stage: limit.amount for stage, limit in known.limits.items()} == {
        "PREPARATION": 5,
        "AGREEMENT": 5,
        "CONTRACT": 1,
    }
    assert [(slot.name, f"{slot.at:%H:%M}") for slot in known.slots] == [("morning", "09:00"), ("evening", "18:30")]
    assert (known.language, known.source, known.warnings, known.loaded) == ("en", "version: 1", ("w",), NOW)


@pytest.mark.parametrize("text", ["", '{"form": 0}', '{"form": 99, "users": "other"}'])
def test_without_a_snapshot_reports_still_speak(store: Store, text: str) -> None:
    store.flags.snapshot = text
    Recorder(store).task("дело", ANNA, NOW - DAY)
    assert report.frame(store).known is False
    assert [line["owner"] for line in report.overdue(store, now=NOW)] == ["#5"]
    assert report.stages(store, now=NOW) == []


@pytest.mark.parametrize("language", ["ru", "en"])
def test_every_rule_is_told_in_words(language: str) -> None:
    sheets = {sheet["stage_id"]: sheet for sheet in words.sheets(book(language), DIRECTORY)}
    assert list(sheets) == ["NEW", "PREPARATION", "AGREEMENT", "CONTRACT"]
    (contract,) = sheets["CONTRACT"]["tasks"]
    if language == "ru":
        assert contract["owner"] == "отдел «Юридический отдел», наименее загруженный"
        assert contract["deadline"] == "за 3 рабочих дня до «Дата подписания»; иначе через 3 рабочих дня"
        assert contract["notes"] == ["Ушла со стадии: откладывается", "Не закрыть без результата"]
        assert sheets["PREPARATION"]["tasks"][0]["notes"][0] == "Только если Сумма: не меньше 100\N{NO-BREAK SPACE}000"
        assert sheets["CONTRACT"]["limit"] == "1 неделя"
    else:
        assert contract["deadline"] == "3 working days before “Дата подписания”; else in 3 working days"
    assert any("18:30" in line for line in words.frame(book(language), DIRECTORY))


@pytest.mark.parametrize(
    ("deadline", "text"),
    [
        (after(0), "в тот же рабочий день"),
        (after(1, "weeks"), "через 1 неделю"),
        (after(21, "workminutes"), "через 21 рабочую минуту"),
        (after(2, at=time(15)), "через 2 рабочих дня, в 15:00"),
        (Deadline(field="UF_CRM_SIGN", otherwise=after(1, "days")), "в день «Дата подписания»; иначе через 1 день"),
        (
            Deadline(offset=Duration(1, "days"), field="UF_X", on_day_off="keep"),
            "через 1 день после «UF_X» (и в выходной)",
        ),
        (Deadline(date=date(2026, 12, 25)), "25 декабря 2026"),
        (Deadline(event=Done("offer", True)), "в тот день, когда будет выполнена задача «offer»"),
        (
            Deadline(offset=Duration(5, "workdays"), event=Becomes(Test("UF_CRM_SIGN", "filled", True))),
            "через 5 рабочих дней после того, как будет заполнено поле «Дата подписания»",
        ),
        (Deadline(event=Entered(frozenset({"WON"}))), "в тот день, когда сделка войдёт в стадию «Сделка успешна»"),
    ],
)
def test_a_deadline_is_told_in_words(deadline: Deadline, text: str) -> None:
    assert words.Words(book(), DIRECTORY).deadline(deadline) == text


@pytest.mark.parametrize(
    ("person", "text"),
    [
        (Responsible(), "ответственный за сделку"),
        (Creator(), "создатель сделки"),
        (Head(), "руководитель"),
        (Nobody(), "никто"),
        (UserId(ANNA), "Анна Петрова"),
        (FromField("UF_CRM_LOGIST", Head()), "сотрудник из поля «UF_CRM_LOGIST»; иначе руководитель"),
        (OwnerOf("offer"), "исполнитель задачи «offer»"),
        (FromDepartment(77, "first"), "отдел «#77», первый по порядку"),
        (OneOf((UserId(ANNA), Creator()), "round_robin"), "один из: Анна Петрова, создатель сделки; по очереди"),
    ],
)
def test_a_person_is_told_in_words(person: Person, text: str) -> None:
    assert words.Words(book(), DIRECTORY).person(person) == text


def test_a_condition_is_told_in_words() -> None:
    both = AllOf(
        (AnyOf((Test("OPPORTUNITY", "max", 5), Test("TITLE", "not", ["a", "b"]))), Not(Test("X", "filled", True)))
    )
    told = words.Words(book(), DIRECTORY).condition(both)
    assert told == "(Сумма: не больше 5 или Название: ни одно из: a, b) и не (X: заполнено)"


# --- on the living service -------------------------------------------------------------------------------------------


def test_the_service_keeps_what_reports_need_without_asking_the_portal(tmp_path: Path) -> None:
    with office_of(tmp_path) as place:
        deal = place.add_deal("Romashka", by=5)
        place.run()
        place.wait(days=1)
        place.move(deal, "PREPARATION", by=6)
        place.service.read(place.context, Reading(people=False))
        store, clock = place.service.store, place.service.clock()
        requests = place.service.requests
        late = row(report.overdue(store, now=clock), deal_id=deal)
        path = report.deal_path(store, deal, now=clock)
        known = report.frame(store)
        assert place.service.requests == requests
    assert (late["title"], late["deal"], late["owner_id"], late["rule"]) == (
        "Call: Romashka",
        "Romashka",
        5,
        "first-call",
    )
    assert late["owner"] == known.company.users[5].name
    assert late["supervisor_id"] == 3
    assert path is not None
    assert [(step["stage"], step["moved_by"]) for step in path["path"]] == [("Новая заявка", 5), ("Презентация", 6)]
    assert path["path"][0]["hours"] == pytest.approx(24, abs=0.1)
    assert (known.language, known.portal) == ("en", place.portal.url.partition("/rest/")[0])
    assert known.source == place.rules.read_text(encoding="utf-8")
    assert [sheet["stage"] for sheet in known.sheets] == ["Новая заявка", "Презентация", "КП отправлено"]
    place.service.store.backup(copy := tmp_path / "copy.db")
    assert place.portal.url.split("/")[5] not in store_text(copy)


def test_metrics_tell_what_is_worth_an_alert(tmp_path: Path) -> None:
    with office_of(tmp_path, BITRIX_RATE="2/50") as place:
        place.service.store.claim_sweep("2026-03-02/morning", place.context.portal.now())
        place.service.store.close_sweep("2026-03-02/morning", "skipped", {"reason": "missed"})
        assert place.service.numbers()["last_pass_age_seconds"] == -1
        place.service.read(place.context, Reading(people=False))
        numbers = place.service.numbers()
        assert 0 <= numbers["last_pass_age_seconds"] < 60
        assert (numbers["operations_unknown"], numbers["operations_failed"], numbers["operations_held"]) == (0, 0, 0)
        assert 0 < numbers["bucket_free"] <= 50
        assert (numbers["sweeps_missed"], numbers["last_sweep_age_seconds"]) == (1, -1)
        assert numbers["rules_refused"] == 0
        place.service.store.claim_sweep("2026-03-02/evening", place.context.portal.now())
        place.wait(minutes=5)
        place.service.read(place.context, Reading(people=False))
        assert place.service.numbers()["last_sweep_age_seconds"] == pytest.approx(300, abs=30)


def test_every_figure_of_the_service_says_what_it_is(tmp_path: Path) -> None:
    with office_of(tmp_path) as place:
        families = {"operations" if name.startswith("operations_") else name for name in place.service.numbers()}
        assert families == HELP.keys() - OF_FLEET


OF_FLEET = {"portals", "oldest_due_seconds", "pass_age_p50_seconds", "pass_age_p95_seconds"}
"""Figures of a web side of many portals."""


def store_text(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "replace")


# --- the command -----------------------------------------------------------------------------------------------------

INTERFACE = {
    "load": ["user_id", "user", "department", "open", "overdue", "today", "by_day"],
    "overdue": ["task_id", "title", "deal_id", "owner_id", "supervisor_id", "deadline", "first_deadline", "moves"],
    "today": ["task_id", "title", "deal_id", "owner_id", "supervisor_id", "deadline", "first_deadline", "moves"],
    "stages": ["funnel_id", "funnel", "stage_id", "stage", "deals", "median_hours", "p90_hours", "over_limit"],
    "moves": ["task_id", "rule", "owner_id", "moves_by_us", "moves_by_people", "first_deadline", "deadline"],
}


TABLES = {
    one.name: one
    for declared in report.REPORTS.values()
    for one in (declared, *declared.beside, *declared.instead.values())
}


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("busy") / "store.db"
    with Store(f"sqlite:///{path}") as store:
        bustle(store)
    return path


def command(path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from bitrix_sync.cli import main; main()", "report", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=path.parent,
        env={**os.environ, "DATABASE_URL": f"sqlite:///{path}", "PYTHONPATH": str(Path(__file__).parent.parent)},
    )


@pytest.mark.parametrize("name", INTERFACE)
def test_json_and_csv_have_the_keys_of_the_interface(busy: Path, name: str) -> None:
    with Store(f"sqlite:///{busy}") as store:
        lines = report.REPORTS[name].rows(store, now=NOW)
    rows = json.loads(json.dumps(tables.json_rows(report.REPORTS[name], lines)))
    assert len(rows) > 3
    assert all(key in row for row in rows for key in INTERFACE[name])
    read = list(csv.DictReader(io.StringIO(tables.csv_text(report.REPORTS[name], lines))))
    assert len(read) == len(rows)
    assert set(INTERFACE[name]) <= set(read[0])


def test_the_command_prints_table_json_and_csv_without_a_portal(busy: Path) -> None:
    told = command(busy, "load", "--json")
    assert (told.returncode, told.stderr) == (0, "")
    assert {"user_id", "by_day"} <= set(json.loads(told.stdout)[0])
    assert "Загрузка сотрудников" in command(busy, "load").stdout
    assert command(busy, "stages", "--csv").stdout.startswith("funnel_id,funnel,stage_id")


def test_the_command_tells_one_deals_path(busy: Path) -> None:
    told = json.loads(command(busy, "stages", "--deal", "191", "--json").stdout)
    assert [step["stage"] for step in told] == ["Новая заявка", "Презентация"]
    assert {"entered", "left", "hours", "moved_by"} <= set(told[0])
    unknown = command(busy, "stages", "--deal", "4711")
    assert unknown.returncode == 1
    assert "deal 4711 was never seen" in unknown.stderr


@pytest.mark.parametrize("wrong", [["loads"], ["load", "--deal", "5"], ["load", "--json", "--csv"]])
def test_a_wrong_usage_exits_with_2(workdir: Path, wrong: list[str]) -> None:
    assert CliRunner().invoke(app, ["report", *wrong]).exit_code == 2


def test_a_deal_that_was_never_seen_is_the_users_turn(store: Store) -> None:
    with pytest.raises(UserError, match="never seen"):
        report.REPORTS["stages"].instead["deal"].rows(store, deal=5, now=NOW)


@pytest.mark.parametrize("language", ["ru", "en"])
@pytest.mark.parametrize("name", TABLES)
def test_every_table_has_a_cell_for_each_heading(busy: Path, name: str, language: str) -> None:
    shown = TABLES[name]
    with Store(f"sqlite:///{busy}") as store:
        lines = shown.rows(store, now=NOW, **({"deal": 191} if name == "path" else {}))
        known = snapshot.unpack(snapshot.pack(DIRECTORY, book(language), portal=PORTAL))
    _, heads, cells = tables.terminal(shown, lines, known)
    assert len(heads) == len(set(heads))
    assert cells
    assert all(len(line) == len(heads) for line in cells)
    assert all(words.strip() for words in heads)


def test_a_cell_that_a_spreadsheet_would_compute_is_disarmed(store: Store, office: Recorder) -> None:
    office.task('=HYPERLINK("http://evil")', ANNA, NOW - DAY)
    text = tables.csv_text(report.REPORTS["overdue"], report.overdue(store, now=NOW))
    assert "'=HYPERLINK" in text


SIGNS = "=+-@＝＋－＠﹦﹢﹣﹫−"
EVIL = [
    f"{before}{sign}cmd|' /C calc'!A0"
    for sign in SIGNS
    for before in (
        "",
        " ",
        "\t",
        "\r",
        "\n",
        "\u200b",
        "\ufeff",
        "\xa0",
        "x;",
        "x,",
        "x\t",
        'x";"',
        'x","',
        'x"\n',
        "x\n",
    )
] + ['x"",""=1+1', '";=1', ",,=1", "x;'=1", '"=1', "x|=1", 'a" ;" =1', "\x00=1", "\x1b=1", "\u202e=1"]


@pytest.mark.parametrize("written", [",", ";"])
@pytest.mark.parametrize("opened", [",", ";", "\t", "|"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_NONE])
def test_no_cell_is_a_formula_whichever_separator_the_file_is_opened_with(
    store: Store, office: Recorder, written: str, opened: str, quoting: Any
) -> None:
    for title in EVIL:
        office.task(title, ANNA, NOW - DAY)
    text = tables.csv_text(report.REPORTS["overdue"], report.overdue(store, now=NOW), tables.CsvForm(written))
    read = list(csv.reader(io.StringIO(text, newline=""), delimiter=opened, quoting=quoting))
    assert len(read) == len(EVIL) + 1, "a row is a row"
    for cell in (cell for row in read[1:] for cell in row):
        first = cell.strip(" \"'\u200b\ufeff\xa0")[:1]
        assert not first or first not in SIGNS or "'" in cell[: cell.index(first)], cell


@pytest.mark.parametrize("piece", [*";,|\"'", "; ", "\u200b", ";\u200b", "x;", "; x", "-;"])
def test_a_long_cell_is_made_safe_at_once(piece: str) -> None:
    begun = thread_time()
    assert tables.safe_cell(piece * 100_000 + "x;=1").endswith("x;'=1")
    assert thread_time() - begun < 5.0


def test_what_is_no_formula_stays_as_it_is_in_a_cell() -> None:
    for text in ("Ромашка", "ООО «А-Б»", "a=b", "12-15", "ivan@example.com", "C1:NEW", "'", "1 + 1", "x, y; z", ""):
        assert tables.safe_cell(text) == text


@pytest.mark.parametrize(
    ("hours", "text"),
    [
        (None, "—"),
        (0.0, "0 мин"),
        (0.5, "30 мин"),
        (5.0, "5 ч"),
        (5.34, "5 ч 20 мин"),
        (24.0, "1 дн"),
        (30.0, "1 дн 6 ч"),
        (-30.0, "1 дн 6 ч"),
        (300.0, "13 дн"),
    ],
)
def test_spans_are_told_in_two_units_at_most(hours: float | None, text: str) -> None:
    assert tables.span_text("ru", hours) == text


def test_reports_cannot_ask_the_portal() -> None:
    """Not even by a detour: no module of the portal's client is loaded with them."""
    look = "import sys, bitrix_sync.report; print([m for m in sys.modules if m.startswith('bitrix_sync.portal')])"
    told = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_a_fired_owner_is_marked(store: Store, office: Recorder) -> None:
    office.task("дело", FIRED, NOW + DAY)
    assert loads(store)[FIRED]["active"] is False
