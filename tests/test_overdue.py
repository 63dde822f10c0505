"""What a sweep does with each overdue task, and which slot is due: the section "Overdue" of the rules language."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from bitrix_sync.decisions.overdue import (
    Days,
    OverdueTask,
    away_through,
    due_days,
    due_slots,
    gone_key,
    operations,
    reader_for,
    supervisor_of,
    weigh,
)
from bitrix_sync.model.actions import pack
from bitrix_sync.model.facts import AWAITING, DEFERRED, DONE, IN_PROGRESS, Absence, Company, Deal, Department, User
from bitrix_sync.model.keys import SlotId
from bitrix_sync.model.operations import State, TaskRecord
from bitrix_sync.model.presence import Presence
from bitrix_sync.model.worktime import build_calendar
from bitrix_sync.rules.model import Nobody, Overdue, OverdueOverride, Rules, Safety, Slot, UserId
from tests.world.company import MOSCOW, NINE_TO_SIX, WEEK, after, at
from tests.world.story import BOSS, COMPANY, FIRED, HEAD, LAWYER, OTHER, OWNER, book, rule

MORNING = Slot("morning", time(9), after(0))
EVENING = Slot("evening", time(18, 30), after(1))
NIGHT = at("2026-03-03 18:30")


def rules_with(**more: Any) -> Rules:
    section: dict[str, Any] = {"slots": (MORNING, EVENING), "limit": 3}
    whole = {name: more.pop(name) for name in ("safety", "supervisor") if name in more}
    return book(
        rule("call"),
        rule("never", overdue=OverdueOverride(never=True)),
        rule("once", overdue=OverdueOverride(limit=1)),
        rule("late", overdue=OverdueOverride(move_to=after(5))),
        rule("alone", supervisor=Nobody()),
        rule("by-lawyer", supervisor=UserId(LAWYER)),
        overdue=Overdue(**(section | more)),
        **whole,
    )


def task(rule_id: str = "call", **more: Any) -> TaskRecord:
    values: dict[str, Any] = {
        "occurrence": f"10:{rule_id}" if rule_id else "",
        "rule_id": rule_id,
        "deal_id": 7,
        "portal_id": 100,
        "deadline": at("2026-03-02 18:00"),
        "owner_id": OWNER,
        "owner_sent": OWNER,
        "supervisor_id": HEAD,
    }
    return TaskRecord(**(values | more))


def fates(
    *records: TaskRecord, slot: Slot = EVENING, deals: dict[int, Deal] | None = None, **more: Any
) -> list[OverdueTask]:
    of_gone = {name: more.pop(name) for name in ("gone", "told") if name in more}
    rules = rules_with(**more)
    days = Days(Presence((), rules.calendar))
    return weigh(
        records, rules=rules, slot=slot, company=COMPANY, deals=deals or {}, moment=NIGHT, days=days, **of_gone
    )


# --- fates -----------------------------------------------------------------------------------------------------------


def test_an_overdue_task_is_moved_to_a_real_deadline_counted_from_the_sweep() -> None:
    (late,) = fates(task())
    assert (late.fate, late.supervisor) == ("move", HEAD)
    assert late.deadline == at("2026-03-04 18:00")


@pytest.mark.parametrize(
    ("changes", "fate"),
    [
        ({"status": IN_PROGRESS}, "move"),
        ({"status": AWAITING}, "awaiting"),
        ({"status": DEFERRED}, None),
        ({"status": DONE}, None),
        ({"gone": True}, None),
        ({"deadline": None}, None),
        ({"deadline": at("2026-03-03 18:30")}, None),
        ({"deadline": at("2026-03-03 18:29")}, "move"),
        ({"portal_id": None}, None),
    ],
)
def test_what_is_overdue(changes: dict[str, Any], fate: str | None) -> None:
    found = fates(task(**changes))
    assert (found[0].fate if found else None) == fate


@pytest.mark.parametrize(
    ("scope", "expected"),
    [("rules", {"10:call"}), ("deals", {"10:call", "task:101"}), ("all", {"10:call", "task:101", "task:102"})],
)
def test_scope(scope: str, expected: set[str]) -> None:
    foreign = task("", portal_id=101, supervisor_id=None)
    alone = task("", portal_id=102, deal_id=0, supervisor_id=None)
    assert {late.record.ref for late in fates(task(), foreign, alone, tasks=scope)} == expected


def test_never_means_never() -> None:
    assert fates(task("never")) == []


def test_after_the_limit_it_stays_and_is_escalated_in_the_morning_to_the_supervisors_own_head() -> None:
    assert fates(task(moves=2))[0].fate == "move"
    tired = task(moves=3)
    assert fates(tired)[0].fate == "stay"
    (late,) = fates(tired, slot=MORNING)
    assert (late.fate, late.escalated_to, late.at_top) == ("escalate", BOSS, False)


def test_a_file_without_a_morning_escalates_in_the_evening() -> None:
    assert fates(task(moves=3), slots=(EVENING,))[0].fate == "escalate"


def test_at_the_top_it_is_escalated_to_the_supervisor_himself_marked() -> None:
    (late,) = fates(task(moves=3, supervisor_id=BOSS), slot=MORNING)
    assert (late.escalated_to, late.at_top) == (BOSS, True)


def test_nothing_is_escalated_to_the_owner_himself() -> None:
    (late,) = fates(task(moves=3, owner_id=HEAD, owner_sent=HEAD, supervisor_id=OTHER), slot=MORNING)
    assert (late.supervisor, late.escalated_to) == (OTHER, BOSS)


def test_a_rules_own_limit_and_move_to_override_the_files() -> None:
    assert fates(task("once", moves=1))[0].fate == "stay"
    assert fates(task("late"))[0].deadline == at("2026-03-10 18:00")


def test_a_removed_rules_task_is_treated_by_the_files_defaults() -> None:
    (late,) = fates(task("removed"))
    assert (late.fate, late.supervisor, late.deadline) == ("move", HEAD, at("2026-03-04 18:00"))


def test_without_a_limit_it_is_moved_for_ever() -> None:
    assert fates(task(moves=99), limit=None)[0].fate == "move"


def test_a_task_of_a_closed_deal_is_not_moved_and_told_in_the_morning() -> None:
    won = Deal(7, "R", 0, "WON", "S", OWNER, OWNER, 0, 0, NIGHT, NIGHT)
    assert fates(task(), deals={7: won})[0].fate == "stay"
    assert fates(task(), slot=MORNING, deals={7: won})[0].fate == "closed_deal"


def test_a_task_whose_deal_is_gone_is_told_once_in_any_sweep_and_never_moved() -> None:
    awaiting = task(status=AWAITING)
    for slot in (MORNING, EVENING):
        for record in (task(), task(moves=99), awaiting):
            assert fates(record, slot=slot, gone={7})[0].fate == "gone_deal"
            assert fates(record, slot=slot, gone={7}, told={gone_key(record.ref)})[0].fate == "stay"


# --- people ----------------------------------------------------------------------------------------------------------


def controls(record: TaskRecord, company: Company = COMPANY, **more: Any) -> int | None:
    """Who controls the task."""
    return supervisor_of(record, company, rules=rules_with(**more))


def test_the_supervisor_is_the_one_that_the_task_was_given() -> None:
    assert controls(task(supervisor_id=LAWYER)) == LAWYER


def test_a_foreign_tasks_supervisor_is_the_head_over_its_owner() -> None:
    foreign = task("", supervisor_id=None, owner_id=OTHER)
    assert controls(foreign) == HEAD
    assert controls(foreign, supervisor=Nobody()) == HEAD


def test_a_fired_supervisor_is_replaced_by_the_head_over_him() -> None:
    assert controls(task(supervisor_id=FIRED)) == HEAD


def test_nobody_ever_controls_himself_in_anothers_place() -> None:
    assert controls(task(owner_id=HEAD, owner_sent=HEAD, supervisor_id=FIRED)) == BOSS


def test_supervisor_none_means_nobody() -> None:
    assert controls(task("alone", supervisor_id=None)) is None
    assert controls(task("alone", supervisor_id=HEAD)) is None
    assert controls(task("removed", supervisor_id=HEAD), supervisor=Nobody()) is None


def test_who_had_no_head_is_controlled_by_the_one_he_has_now() -> None:
    assert controls(task(supervisor_id=None)) == HEAD
    assert controls(task(owner_id=BOSS, owner_sent=BOSS, supervisor_id=None)) is None


def test_a_task_given_to_somebody_else_by_hand_is_controlled_by_the_head_over_him() -> None:
    assert controls(task(owner_id=LAWYER)) == BOSS
    assert controls(task("by-lawyer", owner_id=OTHER, supervisor_id=LAWYER)) == LAWYER


@pytest.mark.parametrize(
    ("departments", "expected"),
    [
        ((3, 4), HEAD),
        ((4, 3), HEAD),
        ((4,), BOSS),
        ((5,), BOSS),
        ((6, 3), LAWYER),
    ],
    ids=["first of several", "a head is missing", "one up", "the head was fired", "the first that has one"],
)
def test_the_company_tree(departments: tuple[int, ...], expected: int) -> None:
    tree = {
        **COMPANY.departments,
        5: Department(5, "Fired head", parent_id=1, head_id=FIRED),
        6: Department(6, "Lawyers of sales", parent_id=3, head_id=LAWYER),
    }
    people = {**COMPANY.users, OWNER: User(OWNER, "Ivan Ivanov", departments=departments)}
    assert controls(task("", supervisor_id=None), replace(COMPANY, users=people, departments=tree)) == expected


def test_while_a_supervisor_is_away_the_head_over_him_reads() -> None:
    assert reader_for(HEAD, COMPANY) == HEAD
    assert reader_for(HEAD, COMPANY, away={HEAD}) == BOSS
    assert reader_for(HEAD, COMPANY, away={HEAD, BOSS}) == HEAD, "rather one who is away than nobody"
    assert reader_for(FIRED, COMPANY, away={HEAD}) == BOSS
    assert reader_for(FIRED, COMPANY, away={HEAD, BOSS}) in (HEAD, BOSS)
    assert reader_for(OTHER, COMPANY, away={OTHER}, owner=HEAD) == BOSS, "never the owner himself"
    assert reader_for(None, COMPANY) is None


def test_away_is_who_cannot_read_the_message_in_time() -> None:
    def absence(begin: str, end: str, user: int = HEAD) -> Absence:
        return Absence(user, at(begin), at(end))

    def away(*absences: Absence) -> dict[int, datetime]:
        return away_through(absences, moment=at("2026-03-03 09:00"), until=at("2026-03-03 18:00"))

    assert away(absence("2026-03-01 00:00", "2026-03-15 00:00")) == {HEAD: at("2026-03-15 00:00")}
    assert away(absence("2026-03-03 00:00", "2026-03-04 00:00")) == {HEAD: at("2026-03-04 00:00")}
    assert away(absence("2026-03-03 08:00", "2026-03-03 12:00")) == {}, "back at noon"
    assert away(absence("2026-03-03 12:00", "2026-03-04 00:00")) == {}, "still here in the morning"
    in_two = absence("2026-03-02 00:00", "2026-03-03 12:00"), absence("2026-03-03 12:00", "2026-03-06 00:00")
    assert away(*in_two) == {HEAD: at("2026-03-06 00:00")}


# --- moves -----------------------------------------------------------------------------------------------------------


def test_moves_are_ordered_by_supervisor_and_carry_what_they_were_based_on() -> None:
    late = fates(task(), task("once", portal_id=9, supervisor_id=BOSS, occurrence="10:once"))
    moves = operations(late, rules=rules_with(), slot="2026-03-03/evening")
    assert [move.action.supervisor for move in moves] == [BOSS, HEAD]
    assert moves[1].key == "sweep:2026-03-03/evening:10:call"
    assert pack(moves[1].action)["seen"] == "2026-03-02T15:00:00+00:00"
    assert pack(moves[1].action)["deadline"] == "2026-03-04T18:00:00+03:00"
    assert {move.sweep for move in moves} == {"2026-03-03/evening"}
    assert {move.state for move in moves} == {State.PLANNED}


def test_more_moves_than_the_safety_limit_are_all_held() -> None:
    late = fates(task(), task("once", portal_id=9, occurrence="10:once"))
    two, one = (rules_with(safety=Safety(max_moves=limit)) for limit in (2, 1))
    assert {move.state for move in operations(late, rules=two, slot="s")} == {State.PLANNED}
    assert {move.state for move in operations(late, rules=one, slot="s")} == {State.HELD}


# --- slots -----------------------------------------------------------------------------------------------------------


def due(
    now: str, *, since: str = "2026-03-01 00:00", claimed: tuple[str, ...] = (), rules: Rules | None = None, **new: str
) -> list[str]:
    """The slots that are due, and what becomes of them. ``new``: sweeps that came into the file later."""
    rules = rules or rules_with()
    assert rules.overdue is not None
    began: dict[str, datetime] = {slot.name: at(new.get(slot.name, since)) for slot in rules.overdue.slots}
    found = due_slots(rules.overdue, calendar=rules.calendar, now=at(now), since=began, claimed=claimed)
    return [f"{one.slot}{'' if one.runs else ' skipped'}" for one in found]


def test_a_slot_runs_once_at_its_time_on_a_working_day() -> None:
    assert due("2026-03-02 08:59") == []
    assert due("2026-03-02 09:00") == ["2026-03-02/morning"]
    assert due("2026-03-02 12:00", claimed=("2026-03-02/morning",)) == []


def test_days_off_have_no_sweep_unless_every_day() -> None:
    assert due("2026-03-01 12:00", since="2026-02-28 00:00") == []
    daily = rules_with(slots=(replace(MORNING, every_day=True),))
    assert due("2026-03-01 12:00", since="2026-03-01 00:00", rules=daily) == ["2026-03-01/morning"]


def test_of_missed_slots_only_the_newest_of_today_runs() -> None:
    assert due("2026-03-03 19:00") == [
        "2026-03-02/morning skipped",
        "2026-03-02/evening skipped",
        "2026-03-03/morning skipped",
        "2026-03-03/evening",
    ]
    assert due("2026-03-04 08:00", claimed=("2026-03-02/morning", "2026-03-02/evening", "2026-03-03/morning")) == [
        "2026-03-03/evening skipped"
    ]


def test_slots_before_the_file_had_them_are_nobodys() -> None:
    assert due("2026-03-02 20:00", since="2026-03-02 19:00") == []
    assert due("2026-03-03 20:00", evening="2026-03-03 19:00", claimed=("2026-03-02/morning",)) == [
        "2026-03-03/morning"
    ]


def test_a_later_slot_of_today_that_is_done_leaves_the_earlier_one_skipped() -> None:
    assert due("2026-03-02 19:00", claimed=("2026-03-02/evening",)) == ["2026-03-02/morning skipped"]


def test_a_sweep_that_somebody_ran_before_its_hour_is_not_run_again() -> None:
    assert due("2026-03-02 18:31", claimed=("2026-03-02/morning", "2026-03-02/evening")) == []


def test_what_a_sweep_calls_due() -> None:
    assert due_days(SlotId.parse("2026-03-05/morning"), WEEK) == (date(2026, 3, 5), date(2026, 3, 5))
    assert due_days(SlotId.parse("2026-03-05/evening"), WEEK) == (date(2026, 3, 6), date(2026, 3, 6))
    assert due_days(SlotId.parse("2026-03-06/evening"), WEEK) == (date(2026, 3, 7), date(2026, 3, 9)), (
        "over the weekend"
    )


@pytest.mark.parametrize("zone", ["Europe/Moscow", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
def test_a_change_of_clocks_neither_loses_nor_doubles_a_slot(zone: str) -> None:
    """A tick every twenty minutes through the nights in which clocks change; the slot lies in the changed hour."""
    week = dict.fromkeys(range(7), NINE_TO_SIX)
    rules = replace(
        rules_with(slots=(replace(MORNING, at=time(2, 10)), EVENING)),
        calendar=build_calendar(zone=ZoneInfo(zone), week=week),
    )
    assert rules.overdue is not None
    for month, first, last in ((3, 1, 31), (4, 1, 8), (10, 1, 31), (11, 1, 5)):
        start = datetime(2026, month, first, tzinfo=MOSCOW)
        ran: list[str] = []
        for tick in range(3 * 24 * (last - first)):
            now = start + timedelta(minutes=20 * tick)
            since = dict.fromkeys(("morning", "evening"), start)
            found = due_slots(rules.overdue, calendar=rules.calendar, now=now, since=since, claimed=ran)
            ran += [one.slot for one in found]
            assert all(one.runs for one in found)
        assert len(ran) == len(set(ran))
        assert abs(len(ran) - 2 * (last - first)) <= 1
