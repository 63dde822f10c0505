"""What a sweep does with each overdue task, and which slot is due: the section "Overdue" of the rules language."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, time, timedelta
from typing import Any

import pytest

from bitrix_sync.facts import AWAITING, DEFERRED, DONE, IN_PROGRESS, Deal
from bitrix_sync.operations import State, TaskRecord
from bitrix_sync.overdue import Late, due_slots, operations, weigh
from bitrix_sync.rules.model import Overdue, OverdueOverride, Rules, Slot
from tests.stories import BOSS, COMPANY, FIRED, HEAD, MOSCOW, OTHER, OWNER, after, at, book, rule

MORNING = Slot("morning", time(9), after(0))
EVENING = Slot("evening", time(18, 30), after(1))
NIGHT = at("2026-03-03 18:30")


def rules_with(**more: Any) -> Rules:
    section: dict[str, Any] = {"slots": (MORNING, EVENING), "limit": 3}
    return book(
        rule("call"),
        rule("never", overdue=OverdueOverride(never=True)),
        rule("once", overdue=OverdueOverride(limit=1)),
        rule("late", overdue=OverdueOverride(move_to=after(5))),
        overdue=Overdue(**(section | more)),
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


def fates(*records: TaskRecord, slot: Slot = EVENING, deals: dict[int, Deal] | None = None, **more: Any) -> list[Late]:
    return weigh(records, rules=rules_with(**more), slot=slot, company=COMPANY, deals=deals or {}, moment=NIGHT)


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
    tired = task(moves=3)
    assert fates(tired)[0].fate == "stay"
    (late,) = fates(tired, slot=MORNING)
    assert (late.fate, late.escalated_to, late.at_top) == ("escalate", BOSS, False)


def test_at_the_top_it_is_escalated_to_the_supervisor_himself_marked() -> None:
    (late,) = fates(task(moves=3, supervisor_id=BOSS), slot=MORNING)
    assert (late.escalated_to, late.at_top) == (BOSS, True)


def test_a_rules_own_limit_and_move_to_override_the_files() -> None:
    assert fates(task("once", moves=1))[0].fate == "stay"
    assert fates(task("late"))[0].deadline == at("2026-03-10 18:00")


def test_a_task_of_a_closed_deal_is_not_moved_and_told_in_the_morning() -> None:
    won = Deal(7, "R", 0, "WON", "S", OWNER, OWNER, 0, 0, NIGHT, NIGHT)
    assert fates(task(), deals={7: won})[0].fate == "stay"
    assert fates(task(), slot=MORNING, deals={7: won})[0].fate == "closed_deal"


def test_a_foreign_tasks_supervisor_is_the_head_over_its_owner() -> None:
    assert fates(task("", portal_id=5, supervisor_id=None, owner_id=OTHER), tasks="all")[0].supervisor == HEAD


def test_a_fired_supervisor_is_replaced_by_the_head_over_him() -> None:
    assert fates(task(supervisor_id=FIRED))[0].supervisor == HEAD


def test_supervisor_none_means_nobody_hears() -> None:
    assert fates(task(supervisor_id=None))[0].supervisor is None


def test_moves_are_ordered_by_supervisor_and_carry_what_they_were_based_on() -> None:
    late = fates(task(), task("once", portal_id=9, supervisor_id=BOSS, occurrence="10:once"))
    moves = operations(late, rules=rules_with(), slot="2026-03-03/evening", held=False)
    assert [move.payload["supervisor"] for move in moves] == [BOSS, HEAD]
    assert moves[1].payload["seen"] == "2026-03-02T15:00:00+00:00"
    assert moves[1].payload["deadline"] == "2026-03-04T18:00:00+03:00"
    assert {move.sweep for move in moves} == {"2026-03-03/evening"}
    held = operations(late, rules=rules_with(), slot="2026-03-03/evening", held=True)
    assert {move.state for move in held} == {State.HELD}


# --- slots -----------------------------------------------------------------------------------------------------------


def due(
    now: str, *, since: str = "2026-03-01 00:00", claimed: tuple[str, ...] = (), rules: Rules | None = None
) -> list[str]:
    rules = rules or rules_with()
    assert rules.overdue is not None
    found = due_slots(rules.overdue, rules=rules, now=at(now), since=at(since), claimed=claimed)
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


def test_slots_before_the_service_knew_of_sweeps_are_nobodys() -> None:
    assert due("2026-03-02 20:00", since="2026-03-02 19:00") == []


def test_a_later_slot_of_today_that_is_done_leaves_the_earlier_one_skipped() -> None:
    assert due("2026-03-02 19:00", claimed=("2026-03-02/evening",)) == ["2026-03-02/morning skipped"]


@pytest.mark.parametrize("zone", ["Europe/Moscow", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
def test_a_year_of_ticks_with_downtimes_runs_each_slot_at_most_once(zone: str) -> None:
    """A tick an hour for a year; nights of the clock change included; three weeks of downtime."""
    from zoneinfo import ZoneInfo

    from bitrix_sync.worktime import build_calendar

    calendar = build_calendar(zone=ZoneInfo(zone), week={day: [(time(9), time(18))] for day in range(7)})
    slots = (replace(MORNING, at=time(2, 30)), EVENING)
    rules = replace(rules_with(slots=slots), calendar=calendar)
    assert rules.overdue is not None
    start = datetime(2026, 1, 1, tzinfo=MOSCOW)
    claimed: list[str] = []
    ran: list[str] = []
    for hour in range(365 * 24):
        now = start + timedelta(hours=hour)
        if 100 <= now.timetuple().tm_yday < 121:
            continue
        for one in due_slots(rules.overdue, rules=rules, now=now, since=start, claimed=claimed[-80:]):
            claimed.append(one.slot)
            if one.runs:
                ran.append(one.slot)
    assert len(claimed) == len(set(claimed))
    assert len(ran) == len(set(ran))
    assert len(ran) >= 2 * (365 - 21) - 2
