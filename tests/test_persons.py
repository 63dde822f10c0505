"""Who gets a task, who controls it, who watches: the section Persons of the rules language."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitrix_sync.model.facts import Absence, Company, Deal, Department, User
from bitrix_sync.model.operations import TaskRecord
from bitrix_sync.model.presence import Presence
from bitrix_sync.model.worktime import build_calendar
from bitrix_sync.rules.model import (
    Creator,
    Deadline,
    Duration,
    FromDepartment,
    FromField,
    Head,
    Nobody,
    OneOf,
    OwnerOf,
    Person,
    Responsible,
    Rule,
    UserId,
)
from bitrix_sync.rules.persons import (
    Chosen,
    Picks,
    StandIns,
    follow_owner,
    head_over,
    resolve_owner,
    resolve_people,
    resolve_supervisor,
)

NOW = datetime(2026, 3, 10, 9, 0, tzinfo=UTC)
DUE = NOW + timedelta(days=2)
CALENDAR = build_calendar(zone=UTC, week={day: [(time(9), time(18))] for day in range(5)})

DIRECTOR, OLGA, PETR, LENA, ANNA, IVAN, LAWYER, CLERK, FIRED, WEBHOOK, HIDDEN = 1, 2, 3, 4, 5, 6, 7, 8, 9, 50, 99
ROOT, SALES, NORTH, LEGAL, EMPTY = 1, 10, 11, 20, 30

COMPANY = Company(
    users={
        user.id: user
        for user in (
            User(DIRECTOR, "Директор", departments=(ROOT,)),
            User(OLGA, "Ольга", departments=(SALES,)),
            User(PETR, "Пётр", departments=(NORTH,)),
            User(LENA, "Лена", departments=(LEGAL,)),
            User(ANNA, "Анна", departments=(NORTH,)),
            User(IVAN, "Иван", departments=(NORTH, LEGAL)),
            User(LAWYER, "Юрист", departments=(LEGAL,)),
            User(CLERK, "Клерк", departments=(LEGAL,)),
            User(FIRED, "Фёдор", active=False, departments=(NORTH,)),
            User(WEBHOOK, "Вебхук"),
        )
    },
    departments={
        one.id: one
        for one in (
            Department(ROOT, "Компания", head_id=DIRECTOR),
            Department(SALES, "Продажи", parent_id=ROOT, head_id=OLGA),
            Department(NORTH, "Север", parent_id=SALES, head_id=PETR),
            Department(LEGAL, "Юридический отдел", parent_id=ROOT, head_id=LENA),
            Department(EMPTY, "Пустой", parent_id=ROOT),
        )
    },
    self_id=WEBHOOK,
)


def company(*, fired: tuple[int, ...] = (), away: tuple[int, ...] = (), self_id: int = WEBHOOK) -> Company:
    return replace(
        COMPANY,
        users={i: replace(u, active=u.active and i not in fired) for i, u in COMPANY.users.items()},
        absences=tuple(Absence(user, NOW, NOW + timedelta(days=7)) for user in away),
        self_id=self_id,
    )


def deal(responsible: int = ANNA, creator: int = IVAN) -> Deal:
    return Deal(1, "Ромашка", 0, "NEW", "P", responsible, creator, 0, 0, NOW, NOW)


def owner(
    person: Person,
    *,
    of: Company = COMPANY,
    responsible: int = ANNA,
    fallback: int | None = None,
    picks: Picks | None = None,
    fields: dict[str, Any] | None = None,
    tasks: tuple[TaskRecord, ...] = (),
    substitute: bool = False,
    deadline: datetime = DUE,
    rule_id: str = "rule",
    named: dict[int, int] | None = None,
) -> Chosen:
    rule = Rule(
        rule_id,
        frozenset({"NEW"}),
        0,
        "Позвонить",
        Deadline(Duration(2, "workdays")),
        owner=person,
        away="substitute" if substitute else "keep",
    )
    return resolve_owner(
        rule,
        deal=replace(deal(responsible), fields=fields or {}),
        company=of,
        tasks=tasks,
        fallback=fallback,
        picks=picks or Picks(),
        deadline=deadline,
        standing=StandIns(Presence(of.absences, CALENDAR), named or {}),
        language="ru",
    )


# --- the forms -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("person", "expected", "form"),
    [
        (Responsible(), ANNA, "responsible"),
        (Creator(), IVAN, "other"),
        (Head(), PETR, "head"),
        (UserId(LENA), LENA, "other"),
        (FromField("UF_CRM_LOGIST"), LAWYER, "other"),
        (FromField("UF_CRM_TEXT"), CLERK, "other"),
        (FromField("UF_CRM_TEAM"), ANNA, "other"),
        (FromField("UF_CRM_EMPTY", Head()), PETR, "head"),
        (FromField("UF_CRM_EMPTY", FromField("UF_CRM_NO", Responsible())), ANNA, "responsible"),
        (FromField("UF_CRM_ODD", UserId(LENA)), LENA, "other"),
        (FromField("UF_CRM_HIDDEN", UserId(LENA)), LENA, "other"),
        (OwnerOf("offer"), IVAN, "other"),
        (OwnerOf("nothing", Responsible()), ANNA, "responsible"),
        (OneOf((UserId(FIRED), Responsible()), "first"), ANNA, "responsible"),
        (FromDepartment(LEGAL, "first"), IVAN, "other"),
    ],
)
def test_every_form_of_a_person(person, expected, form):
    fields = {
        "UF_CRM_LOGIST": LAWYER,
        "UF_CRM_TEXT": f" {CLERK} ",
        "UF_CRM_TEAM": [FIRED, 0, HIDDEN, ANNA, IVAN],
        "UF_CRM_EMPTY": [],
        "UF_CRM_ODD": ["", None, False, True, 0, "user_5", "²"],
        "UF_CRM_HIDDEN": HIDDEN,
    }
    tasks = (
        TaskRecord("1:offer", rule_id="offer", visit_id=1, owner_id=LENA),
        TaskRecord("2:offer", rule_id="offer", visit_id=2, owner_id=IVAN),
        TaskRecord("3:offer", rule_id="offer", visit_id=3, owner_id=LAWYER, gone=True),
        TaskRecord("4:offer", rule_id="offer", visit_id=4, owner_id=LAWYER, status=0),
        TaskRecord("5:other", rule_id="other", visit_id=5, owner_id=CLERK),
    )
    chosen = owner(person, fields=fields, tasks=tasks)
    assert (chosen.user_id, chosen.form, chosen.marked) == (expected, form, False)


def test_the_path_tells_how_the_owner_was_found():
    chosen = owner(FromField("UF_CRM_LOGIST", Head()), fields={"UF_CRM_LOGIST": None})
    assert chosen.path == ("поле «UF_CRM_LOGIST» пусто", "иначе (else)", "руководитель (Анна): Пётр")
    assert owner(Responsible(), responsible=FIRED).path == (
        "ответственный за сделку: Фёдор",
        "Фёдор больше не работает",
        "руководитель: Пётр",
    )


# --- heads -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user", "fired", "head"),
    [
        (ANNA, (), PETR),
        (PETR, (), OLGA),
        (OLGA, (), DIRECTOR),
        (DIRECTOR, (), None),
        (ANNA, (PETR,), OLGA),
        (ANNA, (PETR, OLGA), DIRECTOR),
        (IVAN, (PETR,), LENA),
        (IVAN, (PETR, LENA), OLGA),
        (FIRED, (), PETR),
        (WEBHOOK, (), None),
        (HIDDEN, (), None),
        (0, (), None),
    ],
)
def test_the_head_over_a_person_is_the_nearest_active_one(user, fired, head):
    assert head_over(company(fired=fired), user) == head


def test_departments_in_a_circle_or_missing_end_the_climb():
    users = {1: User(1, "A", departments=(1, 77)), 2: User(2, "B", departments=(3,))}
    departments = {
        1: Department(1, "1", parent_id=2, head_id=1),
        2: Department(2, "2", parent_id=1, head_id=0),
        3: Department(3, "3", parent_id=3, head_id=2),
    }
    assert head_over(Company(users, departments), 1) is None
    assert head_over(Company(users, departments), 2) is None


# --- fired, unknown, absent ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("person", "expected"),
    [
        (UserId(FIRED), PETR),
        (FromField("UF_X", Head()), PETR),
        (OwnerOf("offer", UserId(LENA)), PETR),
        (OneOf((UserId(FIRED),), "first"), PETR),
        (OneOf((UserId(FIRED),), "first", UserId(LENA)), LENA),
        (FromDepartment(EMPTY, "first", UserId(LENA)), LENA),
    ],
)
def test_a_fired_employee_is_never_given_a_task(person, expected):
    tasks = (TaskRecord("1:offer", rule_id="offer", owner_id=FIRED),)
    assert owner(person, fields={"UF_X": FIRED}, tasks=tasks).user_id == expected


def test_a_task_whose_fired_responsible_is_replaced_still_follows_the_deal():
    assert owner(Responsible(), responsible=FIRED).form == "responsible"


def test_without_a_head_the_fallback_owner_takes_it():
    chosen = owner(Responsible(), responsible=HIDDEN, fallback=LENA)
    assert (chosen.user_id, chosen.form, chosen.marked) == (LENA, "responsible", False)
    assert owner(Head(), responsible=DIRECTOR, fallback=LENA).user_id == LENA


@pytest.mark.parametrize("fallback", [None, FIRED, HIDDEN])
def test_nobody_at_all_means_the_webhooks_own_user_marked(fallback):
    chosen = owner(FromDepartment(EMPTY, "round_robin"), responsible=0, fallback=fallback)
    assert (chosen.user_id, chosen.marked) == (WEBHOOK, True)


@pytest.mark.parametrize("self_id", [FIRED, HIDDEN, 0])
def test_a_hidden_or_fired_webhook_user_owns_nothing_and_the_task_is_held(self_id):
    chosen = owner(Responsible(), responsible=HIDDEN, of=company(self_id=self_id))
    assert (chosen.user_id, chosen.marked) == (None, False)
    assert chosen.path[-1] == "не нашли никого"


def test_an_absent_owner_is_replaced_only_if_the_rule_says_so_and_the_absence_covers_the_deadline():
    away = company(away=(ANNA,))
    assert owner(Responsible(), of=away).user_id == ANNA
    assert owner(Responsible(), of=away, substitute=True).user_id == PETR
    assert owner(Responsible(), of=away, substitute=True, deadline=NOW - timedelta(days=1)).user_id == ANNA
    late = NOW.replace(hour=22)
    assert owner(Responsible(), of=away, substitute=True, deadline=late).user_id == PETR
    assert owner(Responsible(), of=away, substitute=True, deadline=NOW - timedelta(hours=3)).user_id == PETR, "that day"
    assert owner(Responsible(), of=away, substitute=True, deadline=NOW + timedelta(days=7)).user_id == ANNA
    both = company(away=(ANNA, PETR))
    assert owner(Responsible(), of=both, substitute=True).user_id == ANNA, "the head alone, not further up"


def test_an_absent_owner_keeps_the_task_when_nobody_can_stand_in():
    away = company(away=(DIRECTOR,))
    chosen = owner(UserId(DIRECTOR), of=away, substitute=True)
    assert (chosen.user_id, chosen.marked, chosen.path[-1]) == (DIRECTOR, False, "заменить некем, остаётся Директор")
    kept = owner(UserId(DIRECTOR), of=away, substitute=True, fallback=LENA)
    assert kept.user_id == DIRECTOR, "the fallback owner is for the fired"


def test_whom_the_file_names_stands_in_before_the_head_and_only_if_they_are_there():
    named = {ANNA: CLERK, CLERK: LAWYER}
    assert owner(Responsible(), of=company(away=(ANNA,)), substitute=True, named=named).user_id == CLERK
    away = company(away=(ANNA, CLERK))
    assert owner(Responsible(), of=away, substitute=True, named=named).user_id == PETR, "never a substitute's own"
    fired = company(away=(ANNA,), fired=(CLERK,))
    assert owner(Responsible(), of=fired, substitute=True, named=named).user_id == PETR
    assert owner(Responsible(), of=company(away=(ANNA,)), substitute=False, named=named).user_id == ANNA


def test_two_who_stand_in_for_each_other_are_no_circle():
    named = {ANNA: CLERK, CLERK: ANNA}
    assert owner(Responsible(), of=company(away=(ANNA,)), substitute=True, named=named).user_id == CLERK
    assert owner(UserId(CLERK), of=company(away=(CLERK,)), substitute=True, named=named).user_id == ANNA
    assert owner(UserId(CLERK), of=company(away=(ANNA, CLERK)), substitute=True, named={**named}).user_id != ANNA


def test_the_absent_are_passed_over_in_a_pool():
    away = company(away=(IVAN, LAWYER))
    assert owner(FromDepartment(LEGAL, "first"), of=away, substitute=True).user_id == CLERK
    all_away = company(away=(IVAN, LAWYER, CLERK))
    assert owner(FromDepartment(LEGAL, "first"), of=all_away, substitute=True).user_id == PETR
    assert owner(FromDepartment(LEGAL, "first", UserId(ANNA)), of=all_away, substitute=True).user_id == ANNA


# --- pools -----------------------------------------------------------------------------------------------------------


def test_the_head_of_a_department_works_only_if_alone():
    assert owner(FromDepartment(LEGAL, "first"), of=company(fired=(IVAN, LAWYER, CLERK))).user_id == LENA
    nobody = company(fired=(IVAN, LAWYER, CLERK, LENA))
    assert owner(FromDepartment(LEGAL, "first", Responsible()), of=nobody).user_id == ANNA


def turns(person: Person, picks: Picks, count: int, rule_id: str = "rule", of: Company = COMPANY) -> list[int | None]:
    taken = []
    for _ in range(count):
        chosen = owner(person, picks=picks, rule_id=rule_id, of=of)
        picks.add(chosen.user_id or 0, DUE)
        taken.append(chosen.user_id)
    return taken


def restarted(picks: Picks, stored: dict[tuple[str, int], int]) -> Picks:
    """What a new pass makes of the stored turns: a later change has a greater number."""
    for number, change in enumerate(picks.changes(), max(stored.values(), default=0) + 1):
        stored[change] = number
    return Picks({}, stored)


def test_round_robin_is_fair_over_restarts():
    person, stored, picks, taken = FromDepartment(LEGAL, "round_robin"), {}, Picks(), []
    for count in (1, 2, 3, 1):
        taken += turns(person, picks, count)
        picks = restarted(picks, stored)
    assert taken == [IVAN, LAWYER, CLERK, IVAN, LAWYER, CLERK, IVAN]


def test_two_rules_with_one_department_are_fair_each_and_together():
    person, picks = FromDepartment(LEGAL, "round_robin"), Picks()
    of = company(fired=(IVAN,))
    taken = [(*turns(person, picks, 1, "contract", of), *turns(person, picks, 1, "claim", of)) for _ in range(4)]
    assert taken == [(LAWYER, CLERK), (CLERK, LAWYER), (LAWYER, CLERK), (CLERK, LAWYER)]


def test_a_new_colleague_has_the_next_turn_once():
    picks = Picks({}, {("rule/department:20", IVAN): 5, ("rule/department:20", LAWYER): 6})
    assert turns(FromDepartment(LEGAL, "round_robin"), picks, 4) == [CLERK, IVAN, LAWYER, CLERK]


def test_a_task_that_failed_after_its_owner_was_chosen_costs_no_turn():
    person, picks = FromDepartment(LEGAL, "round_robin"), Picks()
    assert [owner(person, picks=picks).user_id for _ in range(3)] == [IVAN] * 3
    assert picks.changes() == ()
    picks.add(IVAN, DUE)
    picks.add(IVAN, DUE)
    assert picks.changes() == (("rule/department:20", IVAN),)


def test_least_loaded_counts_what_is_due_up_to_the_new_deadline():
    loads = {
        IVAN: [DUE, DUE - timedelta(days=9)],
        LAWYER: [DUE],
        CLERK: [DUE + timedelta(minutes=1)] * 9,
    }
    person = FromDepartment(LEGAL, "least_loaded")
    assert owner(person, picks=Picks(loads)).user_id == CLERK
    assert owner(person, picks=Picks(loads), deadline=DUE + timedelta(days=1)).user_id == LAWYER


def test_least_loaded_counts_those_decided_in_the_same_pass_and_ties_go_to_who_waited_longest():
    person = FromDepartment(LEGAL, "least_loaded")
    assert turns(person, Picks({IVAN: [DUE]}), 6) == [LAWYER, CLERK, IVAN, LAWYER, CLERK, IVAN]
    order = {("rule/department:20", IVAN): 3, ("rule/department:20", LAWYER): 1, ("rule/department:20", CLERK): 2}
    assert turns(person, Picks({}, order), 3) == [LAWYER, CLERK, IVAN]


def test_one_of_takes_each_candidate_once_and_passes_over_the_fired():
    person = OneOf((UserId(FIRED), Responsible(), UserId(ANNA), FromDepartment(LEGAL, "round_robin")), "round_robin")
    picks = Picks()
    assert turns(person, picks, 5) == [ANNA, IVAN, LAWYER, CLERK, ANNA]
    assert [pool for pool, _ in picks.changes()].count("rule/department:20") == 3


def test_the_chosen_of_a_pool_is_explained():
    chosen = owner(
        FromDepartment(LEGAL, "least_loaded"), picks=Picks({IVAN: [DUE] * 2, CLERK: [DUE] * 3, LAWYER: [DUE]})
    )
    assert chosen.path == ("отдел «Юридический отдел»: Юрист", "наименьшая загрузка: 1 задача к этому сроку")


@settings(max_examples=60)
@given(
    st.lists(st.sampled_from(["contract", "claim", "check"]), max_size=40),
    st.sampled_from(["round_robin", "least_loaded"]),
    st.sets(st.integers(0, 40)),
)
def test_whatever_the_order_of_rules_and_restarts_no_rule_favours_anybody(rules, pick, restarts):
    stored: dict[tuple[str, int], int] = {}
    picks, taken = Picks(), {rule: [] for rule in rules}
    for number, rule in enumerate(rules):
        taken[rule] += turns(FromDepartment(LEGAL, pick), picks, 1, rule)
        if number in restarts and pick == "round_robin":
            picks = restarted(picks, stored)
    counted = list(taken.values()) if pick == "round_robin" else [[one for each in taken.values() for one in each]]
    for users in counted:
        counts = [users.count(user) for user in (IVAN, LAWYER, CLERK)]
        assert max(counts) - min(counts) <= 1


# --- following -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "responsible", "expected"),
    [
        ("responsible", LAWYER, LAWYER),
        ("head", LAWYER, LENA),
        ("responsible", FIRED, PETR),
        ("head", DIRECTOR, OLGA),
        ("other", LAWYER, None),
    ],
)
def test_an_open_task_follows_the_new_responsible(form, responsible, expected):
    chosen = follow_owner(form, deal=deal(responsible), company=COMPANY, fallback=OLGA, deadline=DUE)
    assert (chosen.user_id, chosen.form) == (expected, form)


# --- supervisors, observers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("person", "owner_id", "expected"),
    [
        (Head(), ANNA, PETR),
        (Head(), PETR, OLGA),
        (Head(), LAWYER, LENA),
        (Head(), DIRECTOR, None),
        (Head(), None, PETR),
        (Nobody(), ANNA, None),
        (UserId(LENA), ANNA, LENA),
        (Responsible(), LAWYER, ANNA),
        (UserId(FIRED), ANNA, PETR),
        (UserId(FIRED), PETR, OLGA),
        (UserId(HIDDEN), ANNA, None),
        (FromField("UF_X", Head()), ANNA, PETR),
        (FromDepartment(LEGAL, "first"), ANNA, IVAN),
    ],
)
def test_the_supervisor_is_the_head_over_the_owner_or_whoever_is_named(person, owner_id, expected):
    assert resolve_supervisor(person, owner_id=owner_id, deal=deal(), company=COMPANY) == expected


def test_observers_are_named_once_and_the_fired_are_left_out():
    persons = (UserId(LENA), Head(), UserId(FIRED), FromField("UF_TEAM"), UserId(LENA), Nobody(), UserId(HIDDEN))
    team = replace(deal(), fields={"UF_TEAM": [ANNA, IVAN]})
    people = resolve_people(persons, owner_id=LAWYER, deal=team, company=COMPANY)
    assert people == (LENA, ANNA)


def test_a_pool_of_observers_takes_turns():
    picks, pool = Picks(), (FromDepartment(LEGAL, "round_robin"),)
    seen = [resolve_people(pool, owner_id=ANNA, deal=deal(), company=COMPANY, picks=picks) for _ in range(2)]
    assert seen == [(IVAN,), (LAWYER,)]
    assert resolve_supervisor(pool[0], owner_id=ANNA, deal=deal(), company=COMPANY, picks=picks) == CLERK


PERSONS = st.recursive(
    st.sampled_from([Responsible(), Creator(), Head(), UserId(ANNA), UserId(FIRED), UserId(HIDDEN), FromField("UF_X")]),
    lambda inner: (
        st.builds(FromField, st.just("UF_X"), inner)
        | st.builds(OwnerOf, st.just("offer"), inner)
        | st.builds(
            FromDepartment, st.sampled_from([LEGAL, EMPTY, 404]), st.sampled_from(["first", "least_loaded"]), inner
        )
        | st.builds(OneOf, st.lists(inner, min_size=1, max_size=3).map(tuple), st.just("round_robin"), inner)
    ),
    max_leaves=6,
)


@settings(max_examples=150)
@given(
    PERSONS,
    st.sets(st.sampled_from(sorted(COMPANY.users))),
    st.sets(st.sampled_from(sorted(COMPANY.users))),
    st.sampled_from([None, LENA, FIRED, HIDDEN]),
    st.sampled_from([ANNA, FIRED, HIDDEN, 0]),
)
def test_whoever_is_named_the_owner_is_an_active_employee_or_nobody(person, fired, away, fallback, responsible):
    of = company(fired=tuple(fired), away=tuple(away))
    chosen = owner(person, of=of, fallback=fallback, responsible=responsible, fields={"UF_X": [IVAN]}, substitute=True)
    assert chosen.user_id is None or of.active(chosen.user_id)
    assert chosen.path
    assert not chosen.marked or chosen.user_id == WEBHOOK
