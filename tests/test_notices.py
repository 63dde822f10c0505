"""The messages of a sweep: who hears what, and how it reads on a phone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import time
from textwrap import dedent
from typing import Any

import pytest

from bitrix_sync.model.actions import Kind, unpack
from bitrix_sync.model.facts import AWAITING, DEFERRED, DONE, IN_PROGRESS, Company, Deal, Department, User
from bitrix_sync.model.operations import Operation, State, StoredOperation, TaskRecord
from bitrix_sync.rules.model import Overdue, OverdueOverride, Rules, Slot
from bitrix_sync.sweeps.notice_text import LONGEST, Stay, SweepSummary
from bitrix_sync.sweeps.notices import messages
from tests.world.company import after, at
from tests.world.story import BOSS, COMPANY, FIRED, HEAD, LAWYER, OTHER, OWNER, book, rule
from tests.world.sweeps import plain, section

ADMIN = 1
MORNING, EVENING = Slot("morning", time(9), after(0)), Slot("evening", time(18, 30), after(1))
E, M = "2026-03-05/evening", "2026-03-05/morning"
"""A Thursday."""


def rules_with(language: str = "en", **more: Any) -> Rules:
    overdue = Overdue(**{"slots": (MORNING, EVENING), "tasks": "all", "limit": 3, **more})
    return book(rule("call"), rule("never", overdue=OverdueOverride(never=True)), overdue=overdue, language=language)


def task(number: int, title: str = "", **more: Any) -> TaskRecord:
    """An open task of OWNER under HEAD, due next week."""
    values: dict[str, Any] = {
        "occurrence": f"{number}:call",
        "rule_id": "call",
        "deal_id": 7,
        "portal_id": number,
        "title": title or f"Task {number}",
        "deadline": at("2026-03-12 18:00"),
        "owner_id": OWNER,
        "owner_sent": OWNER,
        "supervisor_id": HEAD,
    }
    return TaskRecord(**(values | more))


def move(record: TaskRecord, state: State = State.DONE, *, error: str = "", **more: Any) -> StoredOperation:
    """Its move from yesterday to tomorrow evening."""
    payload = {
        "deadline": "2026-03-06T18:00:00+03:00",
        "seen": "2026-03-04T18:00:00+03:00",
        "reason": "sweep",
        "supervisor": record.supervisor_id,
        "owner": record.owner_id,
        "move": 1,
        **more,
    }
    operation = Operation(
        f"sweep:{E}:{record.ref}", unpack(Kind.DEADLINE, payload), record.deal_id, record.ref, sweep=E
    )
    return StoredOperation(record.portal_id or 0, operation, state, error_text=error)


def told(*records: TaskRecord, slot: str = E, rules: Rules | None = None, **more: Any) -> Mapping[int, str]:
    """What everybody hears, as it reads."""
    return {user: plain(text) for user, text in sent(*records, slot=slot, rules=rules, **more).items()}


def sent(*records: TaskRecord, slot: str = E, rules: Rules | None = None, **more: Any) -> Mapping[int, str]:
    """What is sent to everybody."""
    values: dict[str, Any] = {
        "slot": slot,
        "moment": at(f"2026-03-05 {'18:30' if slot == E else '09:00'}"),
        "rules": rules or rules_with(),
        "company": COMPANY,
        "address": "https://standart.bitrix24.ru",
        "admins": (ADMIN,),
        "open_tasks": [record for record in records if record.open],
        "records": {record.ref: record for record in records},
    }
    _, operations = messages(SweepSummary(**(values | more)))
    assert len({one.key for one in operations}) == len(operations), "one message for each person"
    return {one.action.user: one.action.text for one in operations}


# --- how it reads ----------------------------------------------------------------------------------------------------


def test_an_evening_as_its_supervisor_reads_it() -> None:
    call = task(1, "Позвонить клиенту: Ромашка", deadline=at("2026-03-06 18:00"))
    offer = task(2, "Подготовить предложение", deadline=at("2026-03-06 12:00"))
    contract = task(3, "Подготовить договор", owner_id=OTHER, owner_sent=OTHER, deadline=at("2026-03-04 15:00"))
    shown = told(
        call,
        offer,
        contract,
        rules=rules_with("ru"),
        rows=[move(call, move=2), move(contract, State.FAILED, error="Действие над задачей запрещено")],
    )
    assert shown[HEAD] == dedent(
        """\
        Вечер, чт 5 марта

        Портал не дал перенести: 1 задача
        • Petr Petrov: Подготовить договор. Действие над задачей запрещено

        Срок перенесён: 1 задача
        • Ivan Ivanov: Позвонить клиенту: Ромашка. Было ср 4 марта, 18:00, стало пт 6 марта, 18:00, перенос № 2

        Срок пт 6 марта: 2 задачи
        • 12:00 Ivan Ivanov: Подготовить предложение
        • и 1 задача из перенесённых

        Загрузка сотрудников на пт 6 марта
        • Ivan Ivanov: открыто 2, просрочено 0, срок в этот день 2
        • Petr Petrov: открыто 1, просрочено 1, срок в этот день 0

        Обход: вечер, чт 5 марта (2026-03-05/evening)"""
    )
    assert shown[OWNER] == dedent(
        """\
        Вечер, чт 5 марта

        Ваши задачи, срок перенесён: 1 задача
        • Позвонить клиенту: Ромашка. Было ср 4 марта, 18:00, стало пт 6 марта, 18:00, перенос № 2

        Ваши задачи на пт 6 марта: 2 задачи
        • 12:00 Подготовить предложение
        • и 1 задача из перенесённых

        Обход: вечер, чт 5 марта (2026-03-05/evening)"""
    )
    assert set(shown) == {HEAD, OWNER}


@pytest.mark.parametrize(("scope", "said"), [("deals", ": все задачи, а не только по сделкам"), ("all", "")])
def test_a_load_of_more_tasks_than_the_lists_have_says_so(scope: str, said: str) -> None:
    shown = told(task(1, deadline=at("2026-03-06 15:00")), rules=rules_with("ru", tasks=scope))
    assert f"Загрузка сотрудников на пт 6 марта{said}" in shown[HEAD].splitlines()


def test_a_morning_says_what_is_due_today() -> None:
    shown = told(task(1, deadline=at("2026-03-05 15:00")), task(2, deadline=at("2026-03-06 15:00")), slot=M)
    assert section(shown[HEAD], "Due today: 1 task") == ["15:00 Ivan Ivanov: Task 1"]
    assert section(shown[OWNER], "Your tasks for today: 1 task") == ["15:00 Task 1"]
    assert shown[HEAD].startswith("Morning, Thu 5 March")


def test_before_a_weekend_it_says_what_is_due_up_to_the_next_working_day() -> None:
    tasks = [task(n, deadline=at(f"2026-03-{day} 12:00")) for n, day in enumerate(("06", "07", "09", "10"))]
    shown = told(*tasks, slot="2026-03-06/evening")
    assert section(shown[OWNER], "Your tasks up to Mon 9 March: 2 tasks") == [
        "Sat 7 March, 12:00 Task 1",
        "Mon 9 March, 12:00 Task 2",
    ]


def test_before_a_weekend_the_load_counts_what_is_due_up_to_the_next_working_day() -> None:
    tasks = [task(n, deadline=at(f"2026-03-{day} 12:00")) for n, day in enumerate(("06", "07", "09", "10"))]
    shown = told(*tasks, slot="2026-03-06/evening", moment=at("2026-03-06 18:30"))
    assert section(shown[HEAD], "Load of your people, Mon 9 March") == ["Ivan Ivanov: open 4, overdue 1, due by then 2"]


def test_where_all_that_is_due_was_moved_there_it_is_not_listed_again() -> None:
    moved = task(1, deadline=at("2026-03-06 18:00"))
    shown = told(moved, rows=[move(moved)])
    assert section(shown[OWNER], "Your tasks for Fri 6 March: 1 task") == ["only those moved, see above"]


def test_titles_from_the_portal_are_links_and_no_markup() -> None:
    evil = task(1, "[b]x[/b] [url=http://evil]free[/url]\nline two", deadline=at("2026-03-06 12:00"))
    text = sent(evil)[OWNER]
    assert "[url=https://standart.bitrix24.ru/company/personal/user/5/tasks/task/view/1/]" in text
    assert re.findall(r"\[/?(?:b|url)", text) == ["[b", "[/b", "[b", "[/b", "[url", "[/url"]
    assert "line two" in text.splitlines()[-3]


def test_the_deal_is_named_where_the_title_does_not() -> None:
    named, bare = task(1, "Call: ромашка", deadline=at("2026-03-06 12:00")), task(2, deadline=at("2026-03-06 15:00"))
    shown = told(named, bare, deals={7: "Ромашка"})
    assert section(shown[OWNER], "Your tasks for Fri 6 March") == ["12:00 Call: ромашка", "15:00 Task 2 (Ромашка)"]


def test_long_lists_are_cut_with_a_count_and_the_most_moved_come_first() -> None:
    tasks = [task(n) for n in range(1, 31)]
    rows = [move(one, move=3 if one.portal_id == 30 else 1) for one in tasks]
    lines = section(told(*tasks, rows=rows)[HEAD], "Deadline moved: 30 tasks")
    assert len(lines) == 13
    assert "Task 30" in lines[0]
    assert lines[-1] == "…and 18 more"


def test_the_longest_message_fits_the_portals_chat() -> None:
    """Everything that can be said, a thousand times, with the longest names and titles; and all of it to one person."""
    long = "Щ" * 400
    users = {n: User(n, long, departments=(3,)) for n in range(100, 400)}
    users |= {HEAD: User(HEAD, long, departments=(3,)), FIRED: User(FIRED, long, active=False, departments=(3,))}
    company = Company(users, {3: Department(3, "Sales", head_id=HEAD)}, self_id=1)
    tasks = [
        task(n, long, owner_id=100 + n % 300, owner_sent=100 + n % 300, deadline=at("2026-03-06 12:00"))
        for n in range(1, 1000)
    ]
    fired = [task(n, long, owner_id=FIRED, owner_sent=FIRED) for n in range(1000, 1300)]
    own = [task(n, long, owner_id=HEAD, supervisor_id=None, deadline=at("2026-03-06 12:00")) for n in range(1300, 1400)]
    ends = [(State.DONE, ""), (State.FAILED, long), (State.DROPPED, "the next sweep began"), (State.PLANNED, "")]
    rows = [move(one, *ends[n % 4][:1], error=ends[n % 4][1]) for n, one in enumerate((*tasks, *own))]
    fates = ("escalate", "awaiting", "closed_deal")
    stays = [
        Stay(one.ref, fates[n % 3], HEAD, one.owner_id, at("2026-03-04 18:00"), 3, HEAD, n % 2 == 0)  # type: ignore[arg-type]
        for n, one in enumerate(tasks)
    ]
    deal = Deal(7, long, 0, "NEW", "P", 100, 100, 0, 0, at("2026-03-01 09:00"), at("2026-03-01 09:00"))
    text = sent(
        *(replace(one, status=AWAITING if n % 3 == 1 else IN_PROGRESS) for n, one in enumerate(tasks)),
        *fired,
        *own,
        company=company,
        address="https://" + "a" * 100 + ".bitrix24.ru",
        rows=rows,
        left=rows,
        stays=stays,
        stuck={f"stuck:{n}": (replace(deal, id=n), at("2026-03-01 09:00")) for n in range(500)},
        away={100 + n: at("2026-03-20 00:00") for n in range(50)},
        until=at("2026-03-05 23:00"),
        deals={7: "Ш" * 400},
    )[HEAD]
    assert len(text) <= LONGEST < 15_000
    assert len(re.findall(r"^\[b\]", text, re.MULTILINE)) >= 14, "no section is lost"


# --- who hears -------------------------------------------------------------------------------------------------------


def test_nothing_to_say_no_message() -> None:
    assert told(task(1), task(2, status=DEFERRED, deadline=at("2026-03-06 12:00"))) == {}


def test_load_alone_is_no_reason_to_write() -> None:
    assert told(task(1), task(2, deadline=at("2026-03-01 12:00"))) == {}


def test_who_controls_his_own_task_hears_of_it_once() -> None:
    mine = task(1, owner_id=HEAD, owner_sent=HEAD, supervisor_id=HEAD, deadline=at("2026-03-06 12:00"))
    shown = told(mine, rows=[move(mine)])[HEAD]
    assert shown.count("Task 1") == 1
    only_supervisors = rules_with(notify=frozenset({"supervisor"}))
    assert "Task 1" in told(mine, rows=[move(mine)], rules=only_supervisors)[HEAD]


def test_a_task_that_nobody_controls_is_told_to_its_owner_alone() -> None:
    alone = task(1, owner_id=BOSS, owner_sent=BOSS, supervisor_id=None)
    assert set(told(alone, rows=[move(alone)])) == {BOSS}


@pytest.mark.parametrize(
    ("state", "error"),
    [(State.FAILED, "no"), (State.DROPPED, "the next sweep began"), (State.DROPPED, "held and not released")],
)
def test_what_could_not_be_moved_is_never_silent(state: State, error: str) -> None:
    alone = task(1, owner_id=BOSS, owner_sent=BOSS, supervisor_id=None)
    assert set(told(alone, rows=[move(alone, state, error=error)])) == {ADMIN}
    nobody = rules_with(notify=frozenset())
    assert set(told(task(2), rows=[move(task(2), state, error=error)], rules=nobody)) == {ADMIN}


@pytest.mark.parametrize("reason", ["a person has set another deadline", "closed", "the task is gone"])
def test_what_people_did_meanwhile_is_not_told(reason: str) -> None:
    assert told(task(1), rows=[move(task(1), State.DROPPED, error=reason)]) == {}


def test_what_is_still_being_moved_is_counted_with_the_time_that_it_takes() -> None:
    tasks = [task(n) for n in range(3)]
    rows = [move(one, State.PLANNED) for one in tasks]
    assert section(told(*tasks, rows=rows)[HEAD], "Still being moved: 3 tasks") == [
        "The next message will tell of them."
    ]
    until = at("2026-03-05 21:40")
    (line,) = section(told(*tasks, rows=rows, until=until)[HEAD], "Still being moved: 3 tasks")
    assert line == "It will take until about Thu 5 March, 21:40. The next message will tell of them."


def test_what_was_left_of_the_sweep_before_is_told() -> None:
    moved, refused, still = task(1), task(2), task(3)
    left = [
        move(moved),
        move(refused, State.FAILED, error="no"),
        move(still, State.DROPPED, error="the next sweep began"),
    ]
    shown = told(moved, refused, still, left=left, slot=M)
    assert len(section(shown[HEAD], "Moved after the last message: 1 task")) == 1
    assert len(section(shown[HEAD], "The portal refused to move: 1 task")) == 1
    assert len(section(shown[HEAD], "Not moved in time: 1 task")) == 1
    assert OWNER not in shown


def stay(record: TaskRecord, fate: Any = "escalate", **more: Any) -> Stay:
    values: dict[str, Any] = {
        "supervisor": HEAD,
        "owner": OWNER,
        "since": at("2026-03-04 18:00"),
        "moves": 3,
        "to": BOSS,
    }
    return Stay(record.ref, fate, **(values | more))


def test_an_escalated_task_is_told_above_and_its_supervisor_knows() -> None:
    shown = told(task(1), stays=[stay(task(1))], slot=M)
    assert section(shown[BOSS], "Not moved any more, for you to decide: 1 task") == [
        "Ivan Ivanov: Task 1. Was due Wed 4 March, 18:00, 3 moves. Supervisor: Head Headov"
    ]
    assert section(shown[HEAD], "Not moved any more, told above you: 1 task") == [
        "Ivan Ivanov: Task 1. Was due Wed 4 March, 18:00, 3 moves. Told: Boss Bossov"
    ]
    assert OWNER not in shown


def test_an_escalated_task_that_nobody_controls_is_told_to_the_administrators_as_that() -> None:
    shown = told(task(1), stays=[stay(task(1), supervisor=None, to=None, at_top=True)], slot=M)
    assert set(shown) == {ADMIN}
    assert section(shown[ADMIN], "Not moved any more, for you to decide: 1 task") == [
        "Ivan Ivanov: Task 1. Was due Wed 4 March, 18:00, 3 moves. Nobody controls it"
    ]


def test_what_was_done_since_the_decision_is_not_told() -> None:
    done = task(1, status=DONE)
    assert told(done, stays=[stay(done)], slot=M) == {}
    accepted = task(2, status=IN_PROGRESS)
    assert told(accepted, stays=[stay(accepted, "awaiting")], slot=M) == {}


def test_while_a_supervisor_is_away_the_one_above_reads_his_message() -> None:
    away = {HEAD: at("2026-03-16 00:00")}
    shown = told(task(1), rows=[move(task(1))], stays=[stay(task(1))], away=away, slot=M)
    assert HEAD not in shown
    assert "These are away, so you read their messages: Head Headov" in shown[BOSS]
    assert len(section(shown[BOSS], "Deadline moved: 1 task")) == 1
    assert section(shown[BOSS], "Not moved any more, told above you") == []
    assert "Ivan Ivanov" in section(shown[BOSS], "Load of your people")[0]


def test_tasks_of_who_has_left_are_told_to_the_head_over_him_and_never_to_himself() -> None:
    orphan = task(1, owner_id=FIRED, owner_sent=FIRED, deadline=at("2026-03-06 12:00"))
    shown = told(orphan)
    assert set(shown) == {HEAD}
    assert section(shown[HEAD], "Owned by people who have left: 1 task") == [
        "Fedor Fired: Task 1. Give it another owner"
    ]


def test_a_stuck_deal_is_told_to_the_head_over_its_responsible_and_noted_only_if_somebody_heard() -> None:
    deal = Deal(7, "Romashka", 0, "NEW", "P", OWNER, OWNER, 0, 0, at("2026-03-01 09:00"), at("2026-03-01 09:00"))
    news = SweepSummary(
        slot=E,
        moment=at("2026-03-05 18:30"),
        rules=rules_with(),
        company=COMPANY,
        address="https://standart.bitrix24.ru",
        admins=(ADMIN,),
        open_tasks=(),
        records={},
        stuck={
            "stuck:10": (deal, at("2026-03-01 09:00")),
            "stuck:11": (replace(deal, responsible_id=BOSS), at("2026-03-02 09:00")),
        },
    )
    keys, operations = messages(news)
    assert keys == ("stuck:10", "stuck:11")
    assert {one.action.user for one in operations} == {HEAD, ADMIN}, "over the boss there is nobody"
    keys, operations = messages(replace(news, admins=(FIRED,), company=replace(COMPANY, departments={})))
    assert (keys, operations) == ((), ())


def test_the_scope_of_the_sweep_is_that_of_what_is_due() -> None:
    due = at("2026-03-06 12:00")
    private = task(1, occurrence="", rule_id="", deal_id=0, supervisor_id=None, deadline=due)
    never = task(2, occurrence="2:never", rule_id="never", deadline=due)
    assert told(private, never, rules=rules_with(tasks="deals")) == {}
    assert set(told(private, rules=rules_with(tasks="all"))) == {OWNER, HEAD}


def test_load_counts_every_open_task_of_an_employee_once() -> None:
    tasks = [
        task(1, deadline=at("2026-03-06 12:00")),
        task(2, deadline=at("2026-03-04 12:00")),
        task(3, deadline=at("2026-03-04 12:00"), status=AWAITING),
        task(4, deadline=None),
        task(5, occurrence="", rule_id="", deal_id=0, supervisor_id=None),
        task(6, supervisor_id=LAWYER, deadline=at("2026-03-06 15:00")),
    ]
    shown = told(*tasks, rules=rules_with(tasks="deals"))
    expected = ["Ivan Ivanov: open 6, overdue 1, due that day 2"]
    assert section(shown[HEAD], "Load of your people, Fri 6 March") == expected
    assert section(shown[LAWYER], "Load of your people, Fri 6 March") == expected


def test_ten_thousand_tasks_are_told_in_no_time() -> None:
    """No loop over all tasks for each person: twice the tasks and twice the people are not four times the work."""

    def work(size: int) -> int:
        users = {n: User(n, f"U{n}", departments=(n % 5,)) for n in range(size // 50)}
        company = Company(users, {n: Department(n, "D", head_id=n) for n in range(5)}, self_id=1)
        records = [
            task(n, owner_id=n % len(users), owner_sent=n % len(users), supervisor_id=n % 5) for n in range(1, size)
        ]
        looks = 0

        class Counted(list[TaskRecord]):
            def __iter__(self) -> Any:
                nonlocal looks
                for one in list.__iter__(self):
                    looks += 1
                    yield one

        sent(*records, company=company, open_tasks=Counted(records), rows=[move(one) for one in records])
        return looks

    assert work(2000) / work(1000) == pytest.approx(2, rel=0.01)


def test_the_mark_and_the_key_are_the_slots() -> None:
    one = task(1)
    _, (operation, *_) = messages(
        SweepSummary(
            slot=E,
            moment=at("2026-03-05 18:30"),
            rules=rules_with(),
            company=COMPANY,
            address="https://standart.bitrix24.ru",
            admins=(ADMIN,),
            open_tasks=[one],
            records={one.ref: one},
            rows=[move(one)],
        )
    )
    assert (operation.key, operation.action.mark, operation.sweep) == (f"notice:{E}:{HEAD}", E, E)
