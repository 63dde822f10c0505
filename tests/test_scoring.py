"""``audit``: how far a portal keeps the standards, judged without rules and without a store."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitrix_sandbox import Sandbox
from bitrix_sandbox.state.clock import Clock
from bitrix_sandbox.state.portal import PortalState
from bitrix_sync.decisions.scoring import Audited, Lack, Missing, Score, audit, worked_on
from bitrix_sync.model.facts import Company, Deal, Department, PortalTask, Unread, User
from bitrix_sync.model.worktime import build_calendar
from tests.world.company import MONDAY
from tests.world.shell import Shell

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)  # Wednesday
CALENDAR = build_calendar(zone=UTC, week=dict.fromkeys(range(5), ((time(9), time(18)),)))
BOSS, HEAD, ANNA, BORIS, GONE = 1, 2, 5, 6, 9
COMPANY = Company(
    users={
        number: User(number, f"Person {number}", active=number != GONE, departments=(10 if number == BOSS else 20,))
        for number in (BOSS, HEAD, ANNA, BORIS, GONE)
    },
    departments={10: Department(10, "Firm", 0, BOSS), 20: Department(20, "Sales", 10, HEAD)},
)


def deal(number: int, responsible: int = ANNA) -> Deal:
    return Deal(number, f"Deal {number}", 0, "NEW", "P", responsible, BOSS, 0, 0, NOW, NOW)


def task(number: int, owner: int = ANNA, *, deals: tuple[int, ...] = (1,), **more: object) -> PortalTask:
    given = {"deadline": NOW + timedelta(days=1), "creator_id": BOSS, "deal_ids": deals, "status": 2, **more}
    return PortalTask(id=number, title=f"Task {number}", owner_id=owner, **given)  # type: ignore[arg-type]


def judge(deals: list[Deal], tasks: list[PortalTask], planned: set[int] | None = frozenset(), **more: object):  # type: ignore[no-untyped-def, assignment]
    world = {"company": COMPANY, "calendar": CALENDAR, "now": NOW, **more}
    return audit(Audited(deals, tasks, planned, **world))  # type: ignore[arg-type]


def whole(*given: object, **more: object) -> Score:
    return judge(*given, **more)[0][0]  # type: ignore[arg-type]


def test_a_portal_that_keeps_all_has_a_hundred() -> None:
    assert whole([deal(1)], [task(1)]) == Score("all", 0, 100.0, 100.0, 100.0, 100.0, 100.0, 1, 1)


def test_where_there_is_nothing_to_judge_by_there_is_no_score() -> None:
    assert whole([], []) == Score("all", 0, None, None, None, None, None, 0, 0)
    lone = whole([deal(1)], [])
    assert (lone.s4, lone.s5, lone.s6, lone.s7, lone.score) == (0.0, None, None, None, 0.0)


@pytest.mark.parametrize(
    ("tasks", "planned", "s4"),
    [
        ([], {1}, 100.0),
        ([task(1)], {1}, 100.0),
        ([task(1, status=6)], set(), 100.0),
        ([task(1, status=4)], set(), 100.0),
        ([task(1, status=5)], set(), 0.0),
        ([task(1, deals=(2,))], set(), 0.0),
        ([task(1, deals=(2, 1))], set(), 100.0),
        ([task(1)], None, None),
    ],
)
def test_a_deal_has_a_next_step_by_a_task_or_an_activity(
    tasks: list[PortalTask], planned: set[int] | None, s4: float | None
) -> None:
    assert whole([deal(1)], tasks, planned).s4 == s4


@pytest.mark.parametrize(
    ("one", "scores", "lacks"),
    [
        (task(1, deadline=None), (0.0, 100.0, None), [Lack.NO_DEADLINE]),
        (task(1, GONE), (0.0, 100.0, 100.0), [Lack.OWNER_FIRED]),
        (task(1, creator_id=ANNA), (100.0, 50.0, 100.0), [Lack.NOBODY_WATCHES]),
        (task(1, creator_id=GONE), (100.0, 50.0, 100.0), [Lack.NOBODY_WATCHES]),
        (task(1, creator_id=ANNA, auditors=(BORIS,)), (100.0, 100.0, 100.0), []),
        (task(1, BOSS, creator_id=ANNA), (100.0, 100.0, 100.0), []),  # nobody is over who heads all
        (task(1, 77), (0.0, 50.0, 100.0), [Lack.OWNER_FIRED, Lack.NO_HEAD]),
        (task(1, deadline=datetime(2026, 3, 3, 12, tzinfo=UTC)), (100.0, 100.0, 100.0), []),
        (task(1, deadline=datetime(2026, 3, 3, 11, 59, tzinfo=UTC)), (100.0, 100.0, 0.0), [Lack.OVERDUE]),
    ],
)
def test_what_a_task_lacks(one: PortalTask, scores: tuple[float | None, ...], lacks: list[Lack]) -> None:
    found, missing = judge([deal(1)], [one])
    assert (found[0].s5, found[0].s6, found[0].s7) == scores
    assert [row.why for row in missing] == lacks


@pytest.mark.parametrize(
    ("deadline", "until"),
    [
        (datetime(2026, 3, 6, 18, tzinfo=UTC), datetime(2026, 3, 9, 18, tzinfo=UTC)),  # Friday → Monday
        (datetime(2026, 3, 7, 12, tzinfo=UTC), datetime(2026, 3, 9, 12, tzinfo=UTC)),
        (datetime(2026, 3, 3, 10, tzinfo=UTC), datetime(2026, 3, 4, 10, tzinfo=UTC)),
    ],
)
def test_a_working_day_is_that_of_the_portals_calendar(deadline: datetime, until: datetime) -> None:
    assert worked_on(deadline, CALENDAR) == until


def test_a_deal_counts_for_its_responsible_and_a_task_for_its_owner() -> None:
    scores, missing = judge([deal(1), deal(2, BORIS)], [task(1, ANNA, deals=(1, 2), deadline=None)])
    rows = {(one.scope, one.id): (one.s4, one.s5, one.deals, one.tasks) for one in scores}
    assert rows == {
        ("all", 0): (100.0, 0.0, 2, 1),
        ("department", 20): (100.0, 0.0, 2, 1),
        ("person", ANNA): (100.0, 0.0, 1, 1),
        ("person", BORIS): (100.0, None, 1, 0),
    }
    assert missing == [Missing(5, Lack.NO_DEADLINE, ANNA, 1, 1)]


def test_without_people_what_hangs_on_them_is_not_judged() -> None:
    unread = Company(missing=frozenset({"users"}), unread={"users": Unread("x", "no answer")})
    found = whole([deal(1)], [task(1)], company=unread)
    assert (found.s4, found.s5, found.s6, found.s7) == (100.0, None, None, 100.0)


def test_halves_go_up() -> None:
    found = whole([deal(number) for number in range(1, 17)], [task(1)])
    assert found.s4 == 6.3  # one of sixteen: 6.25


PEOPLE = st.sampled_from([BOSS, HEAD, ANNA, BORIS, GONE, 77])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(PEOPLE, max_size=6),
    st.lists(
        st.tuples(
            PEOPLE,
            PEOPLE,
            st.lists(st.integers(1, 8), max_size=3),
            st.sampled_from([2, 3, 4, 5, 6]),
            st.sampled_from([None, NOW - timedelta(days=3), NOW + timedelta(days=3)]),
        ),
        max_size=8,
    ),
    st.sets(st.integers(1, 8)),
)
def test_it_equals_a_slow_reckoning(owners: list[int], given_tasks: list[tuple], planned: set[int]) -> None:  # type: ignore[type-arg]
    deals = [deal(number, owner) for number, owner in enumerate(owners, 1)]
    tasks = [
        task(number, owner, deals=tuple(bound), creator_id=creator, status=status, deadline=deadline)
        for number, (owner, creator, bound, status, deadline) in enumerate(given_tasks, 1)
    ]
    scores, _ = judge(deals, tasks, planned)
    for one in scores:
        mine = {
            "all": lambda _: True,
            "department": lambda who, one=one: who in COMPANY.users and one.id in COMPANY.users[who].departments,
            "person": lambda who, one=one: who == one.id,
        }[one.scope]
        assert (one.s4, one.s5, one.s7) == slow(mine, deals, tasks, planned), one


def slow(mine, deals, tasks, planned):  # type: ignore[no-untyped-def]
    numbers = [one.id for one in deals]
    bound = [one for one in tasks if one.status != 5 and any(number in numbers for number in one.deal_ids)]
    good = [
        one.id in planned or any(one.id in other.deal_ids for other in bound)
        for one in deals
        if mine(one.responsible_id)
    ]
    whole = [
        one.deadline is not None and one.owner_id in (BOSS, HEAD, ANNA, BORIS) for one in bound if mine(one.owner_id)
    ]
    due = [one.deadline > NOW for one in bound if mine(one.owner_id) and one.deadline is not None]
    return tuple(round(sum(part) / len(part) * 100 + 1e-9, 1) if part else None for part in (good, whole, due))


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def portal() -> Iterator[Sandbox]:
    state = PortalState(Clock(MONDAY))
    state.add_department("Firm", parent=0, head=BOSS, department_id=1)
    for number in (BOSS, ANNA):
        state.hire("Anna", f"Number{number}", [1], id=number, admin=number == BOSS)
    state.add_funnel("Sales", funnel_id=0, sort=100)
    state.add_stage("NEW", "New")
    state.add_webhook(BOSS, "code0123456789", ("crm", "task", "user_basic", "department", "calendar"))
    first, second = (state.add_deal(title, stage="NEW", responsible=ANNA) for title in ("One", "Two"))
    state.add_task("Call", responsible=ANNA, deals=[first])
    assert second
    with Sandbox(state) as made:
        yield made


def test_the_command_needs_neither_rules_nor_a_store_and_writes_nothing(portal: Sandbox, tmp_path: Path) -> None:
    run = Shell(tmp_path, {"BITRIX_WEBHOOK_URL": portal.url})
    ran = run("audit", "--json")
    assert (ran.code, ran.err) == (0, "")
    first = json.loads(ran.out)[0]
    assert list(first) == ["scope", "id", "name", "s4", "s5", "s6", "s7", "score", "deals", "tasks"]
    assert (first["s4"], first["s5"], first["s6"], first["s7"]) == (50.0, 0.0, 100.0, None)
    lines = json.loads(run("audit", "--details", "--json").out)
    assert lines[0] == {"standard": 4, "deal_id": 3, "task_id": None, "person_id": ANNA, "why": Lack.NO_NEXT_STEP}
    assert next(row["score"] for row in csv.DictReader(io.StringIO(run("audit", "--csv").out))) == "50.0"
    assert "no open task and no planned activity" in run("audit", "--details").out
    assert list(tmp_path.iterdir()) == []
    assert not {name for name in portal.calls if name.endswith((".add", ".update", ".delete"))}


def test_a_webhook_without_tasks_is_told_which_scope_it_lacks(portal: Sandbox, tmp_path: Path) -> None:
    portal.state.add_webhook(BOSS, "lesser0123456", ("crm", "user_basic", "department"))
    ran = Shell(tmp_path, {"BITRIX_WEBHOOK_URL": portal.url_of(BOSS, "lesser0123456")})("audit")
    assert ran.code == 1
    assert "lacks the scope 'task'; tick it" in ran.err


def test_activities_that_cannot_be_read_leave_a_standard_without_a_score(portal: Sandbox, tmp_path: Path) -> None:
    portal.faults.next("refuse", method="crm.activity.list", times=1000, code="ACCESS_DENIED")
    ran = Shell(tmp_path, {"BITRIX_WEBHOOK_URL": portal.url})("audit", "--json")
    assert ran.code == 0, ran.err
    first = json.loads(ran.out)[0]
    assert (first["s4"], first["s5"], first["deals"]) == (None, 0.0, 2)
    assert "planned activities: not read" in ran.err


def test_a_refused_webhook_is_one_sentence(portal: Sandbox, tmp_path: Path) -> None:
    ran = Shell(tmp_path, {"BITRIX_WEBHOOK_URL": portal.url.replace("code0123456789", "wrong00000000")})("audit")
    assert ran.code in (1, 3)
    assert "Traceback" not in ran.err
    assert "wrong00000000" not in ran.err
