"""Reports on promises against a slow reckoning of their own: late, done, deals, week, with every filter; and how the
command takes filters."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from typer.testing import CliRunner

from bitrix_sync import report
from bitrix_sync.cli import app
from bitrix_sync.errors import UserError, WrongFilter
from bitrix_sync.model.actions import CompleteTask
from bitrix_sync.model.facts import DONE, OPEN_STATUSES, Deal, User, Visit
from bitrix_sync.model.items import Item
from bitrix_sync.model.keys import Key, Occurrence, Purpose
from bitrix_sync.model.operations import DeadlineChange, Operation, OperationResult, State, TaskRecord
from bitrix_sync.report import REPORTS, Selection, tables, weeks
from bitrix_sync.report.declaration import FILTERS
from bitrix_sync.rules.deadlines import counted
from bitrix_sync.rules.model import Deadline
from bitrix_sync.store import Store
from tests.world.blank import blank_store
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
    SALES,
    SERVICE,
    Recorder,
    book,
    furnish,
)

TWICE = 12
"""Somebody who works in two departments."""
USERS = {**COMPANY.users, TWICE: User(TWICE, "Вера Двойная", departments=(4, 5))}
PORTAL = replace(
    DIRECTORY,
    company=replace(COMPANY, users=USERS),
    currencies={"RUB": Decimal(1), "USD": Decimal(90)},
)
OWNERS = (BOSS, HEAD, ANNA, IVAN, OLGA, LAWYER, LOGIST, FIRED, TWICE, 999)
RULES = ("", "first-call", "offer", "contract")
WEEK = timedelta(days=7)
MONDAY = NOW.replace(hour=0, minute=0) - timedelta(days=NOW.weekday())


@dataclass
class World:
    """What happened in a department, as plain lists, and the store that was told of it."""

    store: Store
    deals: dict[int, Deal]
    gone: set[int]
    visits: list[Visit]
    tasks: list[TaskRecord]
    slips: list[DeadlineChange]
    ours: set[int]
    """Tasks that the service closed."""


def world(store: Store, seed: int, deals: int) -> World:
    """A random past: deals on their way, tasks of theirs and others, moves, some taken back, some closed by us."""
    chance = random.Random(seed)
    furnish(store, directory=PORTAL)
    made = World(store, {}, set(), [], [], [], set())
    for number in range(1, deals + 1):
        _deal(made, chance, number)
    for number in range(1, deals * 2 + 1):
        _task(made, chance, number, deals)
    office = Recorder(store)
    gone = {number for number in made.deals if chance.random() < 0.03}
    ours = [one for one in made.tasks if one.portal_id in made.ours]
    operations = [Operation(f"leave:{one.ref}", CompleteTask("leave"), task=one.ref) for one in ours]
    office.record(visits=tuple(made.visits), deals=tuple(made.deals.values()), tasks=tuple(made.tasks))
    office.record(slips=tuple(made.slips), gone_deals=tuple(sorted(gone)))
    made.gone = gone
    numbers = office.record(operations=tuple(operations))
    store.mark_sending(numbers, office.epoch, NOW)
    store.finish([OperationResult(number, State.DONE) for number in numbers], office.epoch, NOW - HOUR)
    office.record(tasks=tuple(ours))
    return made


def _deal(made: World, chance: random.Random, number: int) -> None:
    funnel, stages = chance.choice([(0, SALES), (0, SALES), (5, SERVICE)])
    entered = created = NOW - timedelta(days=chance.uniform(0.1, 420))
    path = [chance.choice(stages[:-2])[0] for _ in range(chance.randint(1, 3))]
    if chance.random() < 0.5:
        path.append(chance.choice([row[0] for row in stages if row[2] != "P"]))
    for stage_id in path:
        stage = DIRECTORY.stage(stage_id)
        assert stage is not None
        made.visits.append(Visit(len(made.visits) + 1, number, 2, funnel, stage_id, stage.semantic, entered))
        last, entered = entered, min(entered + timedelta(days=chance.expovariate(1 / 9)), NOW - HOUR)
    money = {"OPPORTUNITY": chance.choice([0, 100.5, 2000, None]), "CURRENCY_ID": chance.choice(["RUB", "USD", "XXX"])}
    by = chance.choice(OWNERS[:-1])
    made.deals[number] = Deal(
        number, f"Сделка {number}", funnel, stage.id, stage.semantic, by, by, 0, 0, created, last, by, money
    )


def _task(made: World, chance: random.Random, number: int, deals: int) -> None:
    rule = chance.choice(RULES)
    created = NOW - timedelta(days=chance.uniform(0, 80))
    first = chance.choice([None, created + timedelta(days=chance.uniform(-1, 20))])
    status = chance.choice([DONE, DONE, DONE, 2, 3, 4, 6])
    closed = created + (NOW - created) * chance.random() if status == DONE else None
    record = TaskRecord(
        str(Occurrence(number, rule)) if rule else "",
        deal_id=chance.choice([0, chance.randint(1, deals)]),
        rule_id=rule,
        visit_id=number if rule else 0,
        deadline=chance.choice([first, NOW + DAY, NOW - DAY]) if first else None,
        owner_id=chance.choice(OWNERS),
        title=f"Задача {number}",
        portal_id=number,
        status=status,
        gone=chance.random() < 0.05,
        first_deadline=first,
        promise=chance.choice([None, first + 2 * DAY]) if first else None,
        created=chance.choice([created, created, None]),
        closed=closed,
        closed_by=None,
    )
    made.tasks.append(record)
    if status == DONE and rule and not record.gone and chance.random() < 0.2:
        made.ours.add(number)
        made.tasks[-1] = record = replace(record, closed=NOW - HOUR)
    for _ in range(chance.choice([0, 0, 1, 2])):
        at, by = NOW - timedelta(days=chance.uniform(0, 70)), chance.choice(["sweep", "people", "follow", "undo"])
        after = at + timedelta(days=chance.choice([-1, 1]))
        made.slips.append(DeadlineChange(record.ref, at, after, by, at))


@pytest.fixture(scope="module", params=[1, 2])
def past(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with Store(blank_store(tmp_path_factory.mktemp("past") / "store.db")) as store:
        yield world(store, request.param, 150)


# --- the slow reckoning ----------------------------------------------------------------------------------------------


def departments(user: int) -> set[int]:
    return set(USERS[user].departments) if user in USERS else set()


def below(department: int) -> set[int]:
    return {1: {1, 3, 4, 5}}.get(department, {department})


def wanted(past: World, task: TaskRecord, chosen: dict[str, Any]) -> bool:
    funnel = past.deals[task.deal_id].funnel_id if task.deal_id in past.deals else None
    return (
        ("department" not in chosen or bool(departments(task.owner_id) & below(chosen["department"])))
        and ("person" not in chosen or task.owner_id == chosen["person"])
        and ("funnel" not in chosen or funnel == chosen["funnel"])
        and ("rule" not in chosen or task.rule_id == chosen["rule"])
    )


def promise(task: TaskRecord) -> datetime | None:
    return task.promise or task.first_deadline


def counts(past: World, task: TaskRecord) -> bool:
    return not task.gone and task.portal_id not in past.ours


def kept(task: TaskRecord) -> bool:
    due = promise(task)
    return task.status == DONE and task.closed is not None and due is not None and task.closed <= due


def moved(past: World, since: datetime, until: datetime) -> Iterator[tuple[TaskRecord, int]]:
    by_ref = {task.ref: task for task in past.tasks}
    for slip in past.slips:
        if since <= slip.at < until:
            later = slip.before is None or (slip.after is not None and slip.after > slip.before)
            number = -1 if slip.by == "undo" else 1 if slip.by in ("sweep", "people") and later else 0
            if number:
                yield by_ref[slip.ref], number


CHOICES: list[dict[str, Any]] = [
    {},
    {"department": 1},
    {"department": 4},
    {"person": ANNA},
    {"person": FIRED},
    {"funnel": 5},
    {"rule": "offer"},
    {"department": 3, "funnel": 0, "rule": "first-call"},
]


def rows(past: World, name: str, chosen: dict[str, Any]) -> list[dict[str, Any]]:
    found = REPORTS[name]
    asked = {key: str(value) for key, value in chosen.items()}
    choice = report.choose(past.store, report.frame(past.store), found, asked)
    return found.rows(past.store, now=NOW, chosen=choice)


def slow_late(past: World, chosen: dict[str, Any]) -> set[int | None]:
    return {
        task.portal_id
        for task in past.tasks
        if not task.gone and task.status in OPEN_STATUSES and (due := promise(task)) and due < NOW
        if wanted(past, task, chosen)
    }


@pytest.mark.parametrize("chosen", CHOICES, ids=str)
def test_late_is_what_was_not_done_by_its_promise(past: World, chosen: dict[str, Any]) -> None:
    found = rows(past, "late", chosen)
    assert {line["task_id"] for line in found} == slow_late(past, chosen)
    assert [line["promise"] for line in found] == sorted(line["promise"] for line in found)
    for line in found:
        movable = line["status"] in (2, 3)
        assert line["overdue"] == (movable and line["deadline"] is not None and line["deadline"] < NOW)


@pytest.mark.parametrize("chosen", CHOICES, ids=str)
def test_other_lists_of_tasks_hold_what_is_asked_for(past: World, chosen: dict[str, Any]) -> None:
    open_tasks = [task for task in past.tasks if not task.gone and task.status in OPEN_STATUSES]
    mine = [task for task in open_tasks if wanted(past, task, chosen)]
    midnight = NOW.replace(hour=0, minute=0)
    late = {task.portal_id for task in mine if task.status in (2, 3) and task.deadline and task.deadline < NOW}
    due = {task.portal_id for task in mine if task.deadline and midnight <= task.deadline < midnight + DAY}
    assert {line["task_id"] for line in rows(past, "overdue", chosen)} == late
    assert {line["task_id"] for line in rows(past, "today", chosen)} == due
    if not {"funnel", "rule"} & set(chosen):
        found = rows(past, "load", chosen)
        assert sum(line["open"] for line in found) == len(mine), "somebody in several departments counts once"
        assert sum(line["overdue"] for line in found) == len(late)


def test_moves_of_a_period_are_of_tasks_that_were_moved_in_it(store: Store) -> None:
    furnish(store)
    office = Recorder(store)
    for title, days in (("вчера", 1), ("давно", 20)):
        task = office.task(title, ANNA, NOW + DAY, moves_by_us=1, moves=1)
        office.slip(task, "sweep", at=NOW - days * DAY)
    found = REPORTS["moves"]
    chosen = report.choose(store, report.frame(store), found, {"since": "2026-03-10"})
    assert [line["title"] for line in found.rows(store, now=NOW, chosen=chosen)] == ["вчера"]
    assert len(found.rows(store, now=NOW)) == 2
    (person,) = report.slips_by_person(store, now=NOW, chosen=chosen)
    assert person["total"] == 1


KEYS: dict[str, Callable[[World, TaskRecord], set[Any]]] = {
    "person": lambda past, task: {task.owner_id},
    "department": lambda past, task: departments(task.owner_id) or {None},
    "rule": lambda past, task: {task.rule_id or None},
    "funnel": lambda past, task: {past.deals[task.deal_id].funnel_id if task.deal_id in past.deals else None},
}
PERIODS: list[dict[str, Any]] = [{}, {"since": "2026-02-10", "until": "2026-02-20"}]


@pytest.mark.parametrize("by", KEYS)
@pytest.mark.parametrize("chosen", [{}, {"department": 1}, {"rule": "offer"}], ids=str)
@pytest.mark.parametrize("period", PERIODS, ids=str)
def test_done_counts_what_people_closed_in_the_period(
    past: World, by: str, chosen: dict[str, Any], period: dict[str, Any]
) -> None:
    since, until = NOW - 30 * DAY, NOW + DAY
    if period:
        since = NOW.replace(month=2, day=10, hour=0, minute=0)
        until = NOW.replace(month=2, day=21, hour=0, minute=0)
    expected: dict[Any, dict[str, Any]] = {}

    def line(one: Any) -> dict[str, Any]:
        fresh = {"done": 0, "kept": 0, "late": 0, "closed_by_service": 0, "moves": 0, "hours": []}
        return expected.setdefault(one, fresh)

    for task in past.tasks:
        if task.gone or task.closed is None or not since <= task.closed < until or not wanted(past, task, chosen):
            continue
        for one in KEYS[by](past, task):
            if task.portal_id in past.ours:
                line(one)["closed_by_service"] += 1
                continue
            line(one)["done"] += 1
            line(one)["kept"] += kept(task)
            line(one)["late"] += promise(task) is not None and not kept(task)
            line(one)["hours"] += [(task.closed - task.created) / HOUR] if task.created else []
    for task, number in moved(past, since, until):
        if wanted(past, task, chosen):
            for one in KEYS[by](past, task):
                line(one)["moves"] += number
    found = {line["id"]: line for line in rows(past, "done", chosen | period | {"by": by})}
    for one, sums in expected.items():
        hours = sums.pop("hours")
        if not any(sums.values()):
            assert one not in found
            continue
        assert {key: found[one][key] for key in sums} == sums
        due = sums["kept"] + sums["late"]
        assert found[one]["kept_share"] == (round(sums["kept"] / due, 4) if due else None)
        assert found[one]["median_hours"] == (pytest.approx(median(hours), abs=0.01) if hours else None)
    assert set(found) <= set(expected)


def closed_at(past: World, deal: Deal) -> datetime | None:
    own = [visit for visit in past.visits if visit.deal_id == deal.id]
    return own[-1].entered if deal.closed else None


def worth(deal: Deal) -> Decimal:
    rate = PORTAL.currencies.get(deal.fields["CURRENCY_ID"])
    amount = deal.fields["OPPORTUNITY"]
    return Decimal(str(amount)) * rate if rate is not None and amount is not None else Decimal(0)


@pytest.mark.parametrize("chosen", [{}, {"department": 4}, {"person": ANNA, "funnel": 5}], ids=str)
def test_deals_tell_won_lost_and_what_is_open_with_its_worth(past: World, chosen: dict[str, Any]) -> None:
    present = [deal for deal in past.deals.values() if deal.id not in past.gone]
    ends = {deal.id: closed_at(past, deal) for deal in present}
    found = {(line["funnel_id"], line["responsible_id"]): line for line in rows(past, "deals", chosen)}
    groups: dict[tuple[int, int], list[Deal]] = {}
    for deal in present:
        fits = "department" not in chosen or bool(departments(deal.responsible_id) & below(chosen["department"]))
        fits &= "person" not in chosen or deal.responsible_id == chosen["person"]
        if fits and ("funnel" not in chosen or deal.funnel_id == chosen["funnel"]):
            groups.setdefault((deal.funnel_id, deal.responsible_id), []).append(deal)
    for (funnel, user), own in groups.items():
        recent = [deal for deal in own if (end := ends[deal.id]) and end >= NOW - 30 * DAY]
        going = [deal for deal in own if not deal.closed]
        norm = [
            (end - deal.created) / DAY
            for deal in present
            if deal.funnel_id == funnel and deal.semantic == "S" and (end := ends[deal.id]) and end >= NOW - 365 * DAY
        ]
        over = [deal for deal in going if norm and (NOW - deal.created) / DAY > round(median(norm), 2)]
        line = found.pop((funnel, user), None)
        if not recent and not going:
            assert line is None
            continue
        assert line is not None
        won = [deal for deal in recent if deal.semantic == "S"]
        assert (line["won"], line["lost"]) == (len(won), len(recent) - len(won))
        assert (line["open"], line["over_norm"]) == (len(going), len(over))
        assert line["amount_open"] == pytest.approx(float(sum(map(worth, going), Decimal(0))), abs=0.01)
        assert line["currency"] == "RUB"
        days = [(end - deal.created) / DAY for deal in won if (end := ends[deal.id])]
        assert line["median_days"] == (pytest.approx(median(days), abs=0.01) if days else None)
    assert found == {}


def slow_weeks(past: World, chosen: dict[str, Any], shown: int = 9) -> list[dict[str, Any]]:
    limits = report.frame(past.store).limits
    calendar = report.frame(past.store).calendar
    by_deal: dict[int, list[Visit]] = {}
    for visit in past.visits:
        by_deal.setdefault(visit.deal_id, []).append(visit)
    lines = []
    for number in range(shown - 1, -1, -1):
        begin = MONDAY - number * WEEK
        end = begin + WEEK
        at = min(end, NOW)
        due = [
            task
            for task in past.tasks
            if counts(past, task) and (day := promise(task)) and begin <= day < at and wanted(past, task, chosen)
        ]
        stuck = []
        for deal in past.deals.values():
            if deal.id in past.gone or not wanted(past, TaskRecord("", owner_id=deal.responsible_id), chosen):
                continue
            own = by_deal[deal.id]
            for visit, after in zip(own, [*own[1:], None], strict=True):
                if visit.stage_id not in limits or visit.entered > at or (after is not None and after.entered <= at):
                    continue
                if counted(Deadline(offset=limits[visit.stage_id]), visit.entered, calendar) < at:
                    stuck.append(deal)
        lines.append(
            {
                "from": begin.date(),
                "to": (end - DAY).date(),
                "fell_due": len(due),
                "kept": sum(map(kept, due)),
                "late": len(due) - sum(map(kept, due)),
                "moves": sum(n for task, n in moved(past, begin, end) if wanted(past, task, chosen)),
                "over_limit": len(stuck),
                "amount_stuck": pytest.approx(float(sum(map(worth, stuck), Decimal(0))), abs=0.01),
            }
        )
    return lines


@pytest.mark.parametrize("chosen", [{}, {"department": 1}, {"department": 4}, {"person": ANNA}], ids=str)
def test_the_weeks_tell_promises_moves_and_what_stood_still(past: World, chosen: dict[str, Any]) -> None:
    found = rows(past, "week", chosen)
    expected = slow_weeks(past, chosen)
    assert [{key: line[key] for key in expected[0]} for line in found] == expected


def test_the_weeks_asked_for_are_those_that_the_period_touches(past: World) -> None:
    found = rows(past, "week", {"since": "2026-02-18", "until": "2026-03-02"})
    assert [line["from"] for line in found] == [date(2026, 2, 16), date(2026, 2, 23), date(2026, 3, 2)]
    ahead = rows(past, "week", {"since": "2026-03-01", "until": "2027-01-01"})
    assert ahead[-1]["from"] == date(2026, 3, 9), "the running one is the last"
    assert rows(past, "week", {"since": "2026-04-01", "until": "2026-05-01"}) == []


def test_a_week_counts_each_deal_once_of_which_it_was_told_that_it_has_no_next_step(store: Store) -> None:
    furnish(store)
    office = Recorder(store)
    for days, by in ((9, ANNA), (9, IVAN), (20, ANNA)):
        office.deal("Сделка", ("NEW", NOW - days * DAY), by=by)
    for visit, minutes, at in ((101, "1", 5), (101, "2", 4), (102, "1", 5), (103, "1", 12)):
        office.record(at=NOW - at * DAY, told=(str(Key(Purpose.IDLE, Item.of(visit), minutes)),))

    def idle(**chosen: Any) -> list[int]:
        return [line["idle"] for line in report.week(store, now=NOW, chosen=Selection(**chosen))][-4:-1]

    assert idle() == [0, 1, 2]
    assert idle(people=frozenset({IVAN})) == [0, 0, 1]


def test_the_gauges_are_as_many_as_the_reports_have_rows(past: World) -> None:
    running = rows(past, "week", {})[-1]
    assert weeks.numbers(past.store, now=NOW) == {
        "late": len(rows(past, "late", {})),
        "over_limit": running["over_limit"],
    }


def test_who_kept_the_promises_of_last_week_and_who_did_not(past: World) -> None:
    begin = MONDAY - WEEK
    found = {line["owner_id"]: line for line in report.kept_by_person(past.store, now=NOW)}
    for owner in OWNERS:
        own = [task for task in past.tasks if task.owner_id == owner and counts(past, task)]
        due = [task for task in own if (day := promise(task)) and begin <= day < MONDAY]
        before = [task for task in own if (day := promise(task)) and begin - 4 * WEEK <= day < begin]
        if not due:
            assert owner not in found
            continue
        assert (found[owner]["due"], found[owner]["kept"]) == (len(due), sum(map(kept, due)))
        assert (found[owner]["due_before"], found[owner]["kept_before"]) == (len(before), sum(map(kept, before)))


def test_ten_thousand_deals_lose_and_invent_nothing(tmp_path: Path) -> None:
    with Store(blank_store(tmp_path / "store.db")) as store:
        past = world(store, 3, 10_000)
        assert {line["task_id"] for line in rows(past, "late", {})} == slow_late(past, {})
        found, expected = rows(past, "week", {}), slow_weeks(past, {}, 9)
        assert [{key: line[key] for key in expected[0]} for line in found] == expected


# --- filters ---------------------------------------------------------------------------------------------------------

TAKES = {
    "load": "department person",
    "overdue": "department person funnel rule",
    "today": "department person funnel rule",
    "late": "department person funnel rule",
    "stages": "funnel",
    "moves": "since until department person funnel rule",
    "done": "since until department person funnel rule",
    "deals": "since until department person funnel",
    "idle": "department person funnel",
    "undone": "department person funnel",
    "asleep": "department person funnel",
    "week": "since until department person",
    "trial": "",
}
RIGHT = {"department": "3", "person": "5", "funnel": "0", "rule": "offer", "since": "2026-03-01", "until": "2026-03-02"}


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_takes_its_filters_and_no_other(past: World, name: str) -> None:
    known = report.frame(past.store)
    for option in FILTERS:
        if option in TAKES[name].split():
            report.choose(past.store, known, REPORTS[name], {option: RIGHT[option]})
        else:
            with pytest.raises(WrongFilter, match=f"--{option}"):
                report.choose(past.store, known, REPORTS[name], {option: RIGHT[option]})


@pytest.mark.parametrize(
    ("written", "people"),
    [
        ({"department": "юридический отдел"}, {LAWYER, 10, TWICE}),
        ({"department": "4"}, {LAWYER, 10, TWICE}),
        ({"department": "Компания"}, set(USERS)),
        ({"person": "Петрова"}, {ANNA}),
        ({"person": "Фёдор Бывший"}, {FIRED}),
        ({"department": "Логистика", "person": "Вера Двойная"}, {TWICE}),
        ({"department": "Логистика", "person": "Анна Петрова"}, set()),
    ],
)
def test_people_are_named_by_name_or_id_a_department_with_those_below_it(
    past: World, written: dict[str, str], people: set[int]
) -> None:
    chosen = report.choose(past.store, report.frame(past.store), REPORTS["late"], written)
    assert chosen.people == people


def test_a_rule_is_named_by_its_id_or_title_also_one_that_the_file_has_no_more(store: Store) -> None:
    furnish(store)
    Recorder(store).task("старая", ANNA, NOW, rule_id="of-last-year")
    known = report.frame(store)
    for text, rule in (
        ("offer", "offer"),
        ("подготовить коммерческое предложение", "offer"),
        ("of-last-year", "of-last-year"),
    ):
        assert report.choose(store, known, REPORTS["late"], {"rule": text}).rule == rule


@pytest.mark.parametrize(
    ("written", "nearest"),
    [
        ({"department": "Отдел продажи"}, "Отдел продаж"),
        ({"person": "Анна Петровна"}, "Анна Петрова"),
        ({"funnel": "Продажа"}, "Продажи"),
        ({"rule": "ofer"}, "offer"),
        ({"person": "4711"}, "4711"),
    ],
)
def test_an_unknown_name_is_told_with_the_nearest(past: World, written: dict[str, str], nearest: str) -> None:
    with pytest.raises(UserError, match=nearest) as told:
        report.choose(past.store, report.frame(past.store), REPORTS["late"], written)
    assert told.value.exit_code == 1


def test_what_is_unknown_is_told_in_the_files_language(past: World) -> None:
    known = report.frame(past.store)
    for written, words in (
        ({"rule": "оффер"}, "Правила `оффер` нет. Здесь есть правила `first-call`, `offer`, `contract`."),
        ({"department": "Продаж"}, "В портале нет отдела"),
        ({"person": "Сидорова"}, "Может быть, `Иван Сидоров`?"),
    ):
        with pytest.raises(UserError) as told:
            report.choose(past.store, known, REPORTS["late"], written)
        assert words in str(told.value)


@pytest.mark.parametrize(
    "written",
    [
        {"since": "вчера"},
        {"until": "2026-02-30"},
        {"since": "2026-03-02", "until": "2026-03-01"},
        {"by": "week"},
    ],
)
def test_a_filter_that_is_written_wrongly_is_wrong_usage(past: World, written: dict[str, str]) -> None:
    with pytest.raises(WrongFilter) as told:
        report.choose(past.store, report.frame(past.store), REPORTS["done"], written)
    assert told.value.exit_code == 2


def test_the_command_takes_filters_and_tells_wrong_ones(
    past: World, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = workdir / "store.db"
    past.store.backup(copy)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{copy}")

    def told(*words: str) -> tuple[int, str, str]:
        ran = CliRunner().invoke(app, ["report", *words])
        return getattr(ran.exception, "exit_code", ran.exit_code), ran.stdout, str(ran.exception)

    code, printed, _ = told("late", "--person", "Анна Петрова", "--json")
    assert code == 0
    assert {line["owner"] for line in json.loads(printed)} == {"Анна Петрова"}
    assert told("done", "--by", "department", "--since", "2026-02-01", "--csv")[0] == 0
    assert told("late", "--since", "2026-02-01")[0] == 2
    assert told("load", "--by", "person")[0] == 2
    assert told("load", "--excel")[0] == 2
    code, _, wrong = told("deals", "--department", "Логистике")
    assert code == 1
    assert "Логистика" in wrong


def test_a_spreadsheet_in_russian_reads_the_file_as_it_is(past: World) -> None:
    lines = rows(past, "done", {})
    text = tables.csv_text(REPORTS["done"], lines, tables.EXCEL)
    assert text.startswith("\ufeffid;name;done")
    read = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff")), delimiter=";"))
    hours = [line["median_hours"] for line in lines if line["median_hours"] is not None]
    assert [float(row["median_hours"].replace(",", ".")) for row in read if row["median_hours"]] == hours
    assert all("." not in row["median_hours"] for row in read)


@pytest.mark.parametrize("name", ["late", "done", "deals", "week"])
def test_without_anything_there_is_nothing_to_tell(store: Store, name: str) -> None:
    furnish(store, book(limits=False))
    found = REPORTS[name].rows(store, now=NOW, chosen=Selection())
    assert [line for line in found if line.get("fell_due") or name != "week"] == []
