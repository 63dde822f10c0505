"""What names in a rules file mean: on a portal, after a rename, after a loss; and what is worth knowing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from bitrix_sandbox.http.server import Sandbox
from bitrix_sync.model.facts import Company, Directory, PortalCalendar
from bitrix_sync.portal import reading
from bitrix_sync.portal.client import Portal
from bitrix_sync.rules import model
from bitrix_sync.rules.load import Loaded, load
from bitrix_sync.rules.model import Duration, Entered, Rules
from tests.world.company import DIRECTORY, SALES_STAGES, USERS, with_field, with_stages, without_field

ROOT = Path(__file__).parent.parent
CALL = "{id: call, title: A, deadline: {after: 1 day}}"


def bound(text: str, directory: Directory = DIRECTORY, bindings: dict[str, str] | None = None) -> Rules:
    """The rules of a file that must be right."""
    loaded = load(text, directory=directory, bindings=bindings or {})
    assert loaded.rules is not None, [str(one) for one in loaded.errors]
    return loaded.rules


def file(*tasks: str, stage: str = "Договор", more: str = "") -> str:
    """A file with these tasks in one stage."""
    lines = "".join(f"      - {task}\n" for task in tasks)
    return f"version: 1\ntimezone: Europe/Moscow\n{more}funnels:\n  Продажи:\n    {stage}:\n{lines}"


def warned(loaded: Loaded, word: str) -> list[str]:
    """The warnings that hold a word."""
    return [str(one) for one in loaded.warnings if word in str(one)]


def renamed(names: dict[str, str]) -> Directory:
    """The directory with some stages of the sales funnel under other names."""
    return with_stages(DIRECTORY, 0, {**SALES_STAGES, **names})


def less(*stages: str) -> Directory:
    """The directory without some stages of the sales funnel."""
    return with_stages(DIRECTORY, 0, {key: name for key, name in SALES_STAGES.items() if key not in stages})


# --- the shipped example ---------------------------------------------------------------------------------------------


def test_the_shipped_example_is_bound_to_the_department() -> None:
    rules = bound((ROOT / "bitrix_sync/rules/example.yaml").read_text(encoding="utf-8"))
    assert list(rules.by_id) == [
        *("first-call", "presentation", "offer", "offer-answer", "keep-in-touch", "contract", "prepayment", "shipment")
    ]
    assert rules.policies["PREPARATION"].limit == Duration(5, "workdays")
    assert rules.policies["PREPARATION"].advance_to == "UC_OFFER1"
    assert [one.id for one in rules.policies["FINAL_INVOICE"].rules] == ["prepayment", "shipment"]
    assert rules.fields == {
        *("TITLE", "OPPORTUNITY", "CURRENCY_ID", "UF_CRM_SIGN_DATE", "UF_CRM_INVOICE_DATE", "UF_CRM_SHIP_DATE"),
        "UF_CRM_LOGIST",
    }
    assert rules.overdue is not None
    assert [(slot.name, slot.at) for slot in rules.overdue.slots] == [("morning", time(9)), ("evening", time(18, 30))]
    assert (rules.admins, rules.fallback_owner) == ((1,), 1)


def test_the_shipped_example_loads_on_the_sandbox() -> None:
    with Sandbox(rate=None) as sandbox:
        portal = Portal(sandbox.url)
        try:
            loaded = load(
                (ROOT / "bitrix_sync/rules/example.yaml").read_text(encoding="utf-8"),
                directory=reading.directory(portal),
            )
        finally:
            portal.close()
    assert loaded.rules is not None, [str(one) for one in loaded.errors]
    assert len(loaded.rules.by_id) == 8
    assert [one.path for one in loaded.warnings] == ["supervisor"], "the director alone has no head over her"


# --- funnels and stages ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("funnel", ["Продажи", " продажи ", "ПРОДАЖИ", "0"])
@pytest.mark.parametrize("stage", ["Договор", " договор", "EXECUTING", "executing"])
def test_names_are_compared_without_regard_to_case_and_outer_spaces(funnel: str, stage: str) -> None:
    text = file(CALL).replace("Продажи", f'"{funnel}"').replace("Договор", f'"{stage}"')
    assert bound(text).by_id["call"].stage_ids == {"EXECUTING"}


def test_a_star_means_every_stage_in_progress_besides_what_a_named_stage_says() -> None:
    text = f"""version: 1
funnels:
  Сервис:
    Обращение: [{CALL}]
    "*": [{{id: next, title: B, deadline: {{after: 3 days}}}}]
    Диагностика: [{{id: look, title: C, deadline: {{after: 2 days}}}}]
"""
    rules = bound(text)
    assert rules.by_id["next"].stage_ids == {"C5:NEW", "C5:PREPARATION"}
    assert [one.id for one in rules.policies["C5:NEW"].rules] == ["call", "next"]
    assert [one.id for one in rules.policies["C5:PREPARATION"].rules] == ["next", "look"], "in the file's order"
    assert set(rules.policies) == {"C5:NEW", "C5:PREPARATION"}


def test_the_funnel_star_means_every_funnel_that_has_such_a_stage() -> None:
    directory = with_stages(DIRECTORY, 5, {"C5:NEW": "новая заявка", "C5:WON": "Выполнено"})
    text = f'version: 1\nfunnels:\n  "*":\n    Новая заявка: [{CALL}]\n    "*": [{CALL.replace("call", "any")}]\n'
    rules = bound(text, directory)
    assert rules.by_id["call"].stage_ids == {"NEW", "C5:NEW"}
    assert rules.by_id["any"].stage_ids == {*list(SALES_STAGES)[:6], "C5:NEW"}
    assert rules.policies["C5:NEW"].funnel_id == 5


def test_a_named_stage_goes_before_a_star() -> None:
    text = f"""version: 1
funnels:
  Продажи:
    Договор: {{limit: 1 day, advance_to: Отгрузка, tasks: [{CALL}]}}
    "*": {{limit: 9 days, advance_to: Сделка провалена}}
  "*":
    "*": {{limit: 30 days}}
    Договор: {{limit: 20 days}}
"""
    rules = bound(text)
    assert (rules.policies["EXECUTING"].limit, rules.policies["EXECUTING"].advance_to) == (
        Duration(1, "days"),
        "FINAL_INVOICE",
    )
    assert (rules.policies["NEW"].limit, rules.policies["NEW"].advance_to) == (Duration(9, "days"), "LOSE")
    assert rules.policies["C5:NEW"].limit == Duration(30, "days")


def test_a_star_leaves_its_own_target_alone() -> None:
    rules = bound(f'version: 1\nfunnels:\n  Продажи:\n    "*": {{advance_to: Отгрузка, tasks: [{CALL}]}}\n')
    assert rules.policies["FINAL_INVOICE"].advance_to is None
    assert rules.policies["NEW"].advance_to == "FINAL_INVOICE"


def test_final_stages_may_have_tasks() -> None:
    assert bound(file(CALL, stage="Сделка успешна")).by_id["call"].stage_ids == {"WON"}


def test_stages_that_advance_in_a_circle_are_warned_of() -> None:
    stages = f"    NEW: {{advance_to: Договор, tasks: [{CALL}]}}\n    Договор: {{advance_to: NEW}}\n"
    text = f"version: 1\nfunnels:\n  0:\n{stages}"
    assert warned(load(text, directory=DIRECTORY), "circle") == [
        "rules.yaml:4:23: funnels > 0 > NEW > advance_to: Deals would go round in a circle: "
        "Новая заявка → Договор → Новая заявка. Let one of these stages not advance."
    ]


def test_an_event_of_a_stage_means_the_same_funnel_unless_an_id_is_given() -> None:
    both = with_stages(DIRECTORY, 5, {"C5:NEW": "Обращение", "C5:SHIP": "Отгрузка"})
    task = "{id: call, title: A, deadline: {event: {stage: Отгрузка}, else: {after: 1 day}}}"
    assert bound(file(task), both).by_id["call"].deadline.event == Entered(frozenset({"FINAL_INVOICE"}))
    by_id = bound(file(task.replace("Отгрузка", '"C5:SHIP"')), both).by_id["call"].deadline.event
    assert by_id == Entered(frozenset({"C5:SHIP"}))
    anywhere = f'version: 1\nfunnels:\n  "*":\n    "*": [{task}]\n'
    assert bound(anywhere, both).by_id["call"].deadline.event == Entered(frozenset({"FINAL_INVOICE", "C5:SHIP"}))


def test_a_reference_from_every_stage_means_the_newest_task_of_the_deal() -> None:
    text = f"""version: 1
funnels:
  Продажи:
    Договор: [{CALL}]
    "*":
      - {{id: after, title: B, start: {{done: call}}, deadline: {{after: 1 day}}}}
      - {{id: twice, title: C, start: {{done: after}}, deadline: {{after: 1 day}}}}
"""
    rules = bound(text)
    assert rules.by_id["after"].start == model.Done("call", same_stage=False)
    assert rules.by_id["twice"].start == model.Done("after", same_stage=True)


def test_a_name_that_the_portal_has_twice_is_an_error_that_lists_the_ids() -> None:
    loaded = load(file(CALL), directory=renamed({"FINAL_INVOICE": "ДОГОВОР "}))
    assert [str(one) for one in loaded.errors] == [
        "rules.yaml:5:5: funnels > Продажи > Договор: The funnel Продажи has several stages of the name `Договор`: "
        "EXECUTING, FINAL_INVOICE. Write the id of the one you mean."
    ]
    assert bound(file(CALL, stage="EXECUTING"), renamed({"FINAL_INVOICE": "Договор"}))


def test_departments_of_one_name_are_an_error_too() -> None:
    twins = {**DIRECTORY.company.departments, 9: replace(DIRECTORY.company.departments[5], id=9)}
    directory = replace(DIRECTORY, company=replace(DIRECTORY.company, departments=twins))
    loaded = load(file(CALL[:-1] + ", owner: {department: Юридический отдел, pick: first}}"), directory=directory)
    assert "several departments of the name `Юридический отдел`: 5, 9" in str(loaded.errors[0])


def test_a_portal_whose_funnels_cannot_be_read_is_an_error_and_disables_nothing() -> None:
    first = load(file(CALL), directory=DIRECTORY)
    loaded = load(file(CALL), directory=replace(DIRECTORY, funnels=()), bindings=first.bindings)
    assert loaded.rules is None
    assert "CRM role" in str(loaded.errors[0])


# --- renames ---------------------------------------------------------------------------------------------------------


def test_a_rule_goes_on_after_its_stage_was_renamed_with_a_warning() -> None:
    first = load(file(CALL), directory=DIRECTORY)
    second = load(file(CALL), directory=renamed({"EXECUTING": "Контракт"}), bindings=first.bindings)
    assert second.rules is not None
    assert second.rules.by_id["call"].stage_ids == {"EXECUTING"}
    assert second.bindings == first.bindings
    assert warned(second, "Контракт")[0] == (
        "rules.yaml:5:5: funnels > Продажи > Договор: The stage `Договор` is called `Контракт` in the portal now "
        "(EXECUTING). The rules go on with it; write the new name here."
    )


def test_a_bound_name_stays_bound_though_another_stage_takes_it() -> None:
    first = load(file(CALL), directory=DIRECTORY)
    swapped = renamed({"EXECUTING": "Контракт", "FINAL_INVOICE": "Договор"})
    second = load(file(CALL), directory=swapped, bindings=first.bindings)
    assert second.rules is not None
    assert second.rules.by_id["call"].stage_ids == {"EXECUTING"}
    assert "another stage (FINAL_INVOICE) bears that name" in warned(second, "Контракт")[0]


def test_an_old_name_is_free_again_once_the_file_says_the_new_one() -> None:
    first = load(file(CALL), directory=DIRECTORY)
    swapped = renamed({"EXECUTING": "Контракт", "FINAL_INVOICE": "Договор"})
    text = file(CALL) + f"    Контракт: [{CALL.replace('call', 'new')}]\n"
    second = load(text, directory=swapped, bindings=first.bindings)
    assert second.rules is not None
    assert second.rules.by_id["new"].stage_ids == {"EXECUTING"}
    assert second.rules.by_id["call"].stage_ids == {"FINAL_INVOICE"}
    assert second.bindings["stage:0/договор"] == "FINAL_INVOICE"


def test_funnels_fields_options_and_departments_stay_bound_too() -> None:
    task = (
        "{id: call, title: A, if: {Важность: Ключевой клиент}, owner: {department: Юридический отдел, pick: first}, "
        "deadline: {field: Дата отгрузки, else: {after: 1 day}}}"
    )
    first = load(file(task), directory=DIRECTORY)
    directory = with_field(DIRECTORY, "UF_CRM_SHIP_DATE", title="Отправка")
    directory = with_field(directory, "UF_CRM_PRIORITY", title="Значимость", options={"1": "VIP", "3": "Обычный"})
    departments = {**DIRECTORY.company.departments, 5: replace(DIRECTORY.company.departments[5], name="Юристы")}
    funnels = (replace(DIRECTORY.funnels[0], name="Сделки"), DIRECTORY.funnels[1])
    directory = replace(directory, funnels=funnels, company=replace(DIRECTORY.company, departments=departments))
    second = load(file(task), directory=directory, bindings=first.bindings)
    assert second.rules is not None, second.errors
    assert first.rules is not None
    assert second.rules.by_id["call"] == first.rules.by_id["call"]
    assert [len(warned(second, name)) for name in ("Отправка", "Значимость", "VIP", "Юристы", "Сделки`")] == [1] * 5


def test_an_e_mail_stays_bound_to_its_user() -> None:
    first = load(file(CALL[:-1] + ", owner: user15@standart.example}"), directory=DIRECTORY)
    users = {**DIRECTORY.company.users, 15: replace(DIRECTORY.company.users[15], email="dmitry@standart.example")}
    directory = replace(DIRECTORY, company=replace(DIRECTORY.company, users=users))
    second = load(file(CALL[:-1] + ", owner: user15@standart.example}"), directory=directory, bindings=first.bindings)
    assert second.rules is not None
    assert second.rules.by_id["call"].owner == model.UserId(15)
    assert warned(second, "not the e-mail of Дмитрий Новиков (15) any more")


# --- what disappeared ------------------------------------------------------------------------------------------------

GONE = [
    pytest.param("{id: call, title: A, deadline: {after: 1 day}}", less("EXECUTING"), "stage `Договор`", id="stage"),
    pytest.param(
        "{id: call, title: A, deadline: {field: UF_CRM_SIGN_DATE, else: {after: 1 day}}}",
        without_field(DIRECTORY, "UF_CRM_SIGN_DATE"),
        "field `UF_CRM_SIGN_DATE`",
        id="field of a deadline",
    ),
    pytest.param(
        "{id: call, title: A, if: {Дата счёта: {filled: true}}, deadline: {after: 1 day}}",
        without_field(DIRECTORY, "UF_CRM_INVOICE_DATE"),
        "field `Дата счёта` (UF_CRM_INVOICE_DATE)",
        id="field of a condition",
    ),
    pytest.param(
        "{id: call, title: '{{ deal.UF_CRM_PLACES }}', deadline: {after: 1 day}}",
        without_field(DIRECTORY, "UF_CRM_PLACES"),
        "field `UF_CRM_PLACES`",
        id="field of a template",
    ),
    pytest.param(
        "{id: call, title: A, owner: {field: UF_CRM_LOGIST, else: head}, deadline: {after: 1 day}}",
        without_field(DIRECTORY, "UF_CRM_LOGIST"),
        "field `UF_CRM_LOGIST`",
        id="field of a person",
    ),
    pytest.param(
        "{id: call, title: A, start: {filled: UF_CRM_PLACES}, deadline: {after: 1 day}}",
        without_field(DIRECTORY, "UF_CRM_PLACES"),
        "field `UF_CRM_PLACES`",
        id="field of a start",
    ),
    pytest.param(
        "{id: call, title: A, if: {UF_CRM_PRIORITY: Ключевой клиент}, deadline: {after: 1 day}}",
        with_field(DIRECTORY, "UF_CRM_PRIORITY", options={"3": "Обычный клиент"}),
        "value `Ключевой клиент` (1)",
        id="value of a list",
    ),
    pytest.param(
        "{id: call, title: A, deadline: {event: {stage: Отгрузка}, else: {after: 1 day}}}",
        less("FINAL_INVOICE"),
        "stage `Отгрузка` (FINAL_INVOICE)",
        id="stage of an event",
    ),
    pytest.param(
        "{id: call, title: A, observers: [15], deadline: {after: 1 day}}",
        replace(
            DIRECTORY, company=replace(DIRECTORY.company, users={user.id: user for user in USERS if user.id != 15})
        ),
        "user 15",
        id="user",
    ),
    pytest.param(
        "{id: call, title: A, owner: {department: 5, pick: first}, deadline: {after: 1 day}}",
        replace(
            DIRECTORY,
            company=replace(
                DIRECTORY.company,
                departments={key: one for key, one in DIRECTORY.company.departments.items() if key != 5},
            ),
        ),
        "department `5`",
        id="department",
    ),
    pytest.param(
        "{id: call, title: A, project: 4, deadline: {after: 1 day}}",
        replace(DIRECTORY, groups=frozenset({6})),
        "workgroup `4`",
        id="workgroup",
    ),
    pytest.param(
        "{id: call, title: A, deadline: {after: 1 day}}",
        replace(DIRECTORY, funnels=DIRECTORY.funnels[1:]),
        "funnel `Продажи` (0)",
        id="funnel",
    ),
]


@pytest.mark.parametrize(("task", "later", "what"), GONE)
def test_what_disappears_disables_the_rules_that_need_it_and_no_others(task: str, later: Directory, what: str) -> None:
    text = file(task) + f'  Сервис:\n    "*": [{CALL.replace("call", "other")}]\n'
    first = load(text, directory=DIRECTORY)
    second = load(text, directory=later, bindings=first.bindings)
    assert second.rules is not None, [str(one) for one in second.errors]
    assert what in second.rules.by_id["call"].disabled
    assert second.rules.by_id["other"].disabled == ""
    assert warned(second, "is gone from the portal")
    third = load(text, directory=later, bindings=first.bindings | second.bindings)
    assert third.rules == second.rules, "it stays so"
    back = load(text, directory=DIRECTORY, bindings=second.bindings)
    assert back.rules is not None
    assert back.rules.by_id["call"].disabled == "", "until it is back"


@pytest.mark.parametrize(("task", "later", "what"), GONE)
def test_at_a_first_load_what_is_not_there_is_an_error(task: str, later: Directory, what: str) -> None:
    loaded = load(file(task), directory=later)
    assert loaded.rules is None
    assert loaded.errors


def test_a_stage_made_anew_under_its_name_is_meant_again() -> None:
    first = load(file(CALL), directory=DIRECTORY)
    anew = with_stages(DIRECTORY, 0, {("UC_NEW" if key == "EXECUTING" else key): n for key, n in SALES_STAGES.items()})
    second = load(file(CALL), directory=anew, bindings=first.bindings)
    assert second.rules is not None
    assert second.rules.by_id["call"].stage_ids == {"UC_NEW"}
    assert "was EXECUTING, which is gone; now it is UC_NEW" in warned(second, "gone")[0]


def test_without_its_target_a_stage_does_not_advance_but_its_rules_go_on() -> None:
    text = f"version: 1\nfunnels:\n  0:\n    Договор: {{advance_to: Отгрузка, tasks: [{CALL}]}}\n"
    first = load(text, directory=DIRECTORY)
    second = load(text, directory=less("FINAL_INVOICE"), bindings=first.bindings)
    assert second.rules is not None
    assert second.rules.by_id["call"].disabled == ""
    assert second.rules.policies["EXECUTING"].advance_to is None
    assert warned(second, "Deals do not advance there")


def test_a_rule_of_several_stages_goes_on_in_those_that_are_left() -> None:
    text = f'version: 1\nfunnels:\n  "*":\n    Отгрузка: [{CALL}]\n'
    both = with_stages(DIRECTORY, 5, {"C5:NEW": "Обращение", "C5:SHIP": "Отгрузка"})
    first = load(text, directory=both)
    second = load(text, directory=DIRECTORY, bindings=first.bindings)
    assert second.rules is not None
    assert second.rules.by_id["call"].stage_ids == {"FINAL_INVOICE"}
    assert second.rules.by_id["call"].disabled == ""


def test_a_supervisor_of_the_file_who_is_gone_disables_the_rules_that_have_no_own() -> None:
    text = file(CALL, CALL.replace("call", "own")[:-1] + ", supervisor: head}", more="supervisor: 15\n")
    first = load(text, directory=DIRECTORY)
    users = {user.id: user for user in USERS if user.id != 15}
    later = replace(DIRECTORY, company=replace(DIRECTORY.company, users=users))
    second = load(text, directory=later, bindings=first.bindings)
    assert second.rules is not None
    assert "user 15" in second.rules.by_id["call"].disabled
    assert second.rules.by_id["own"].disabled == ""


def test_admins_and_fallback_owner_who_are_gone_are_left_out_with_a_warning() -> None:
    text = file(CALL, more="admins: [1, 15]\nfallback_owner: 15\n")
    first = load(text, directory=DIRECTORY)
    users = {user.id: user for user in USERS if user.id != 15}
    later = replace(DIRECTORY, company=replace(DIRECTORY.company, users=users))
    second = load(text, directory=later, bindings=first.bindings)
    assert second.rules is not None
    assert (second.rules.admins, second.rules.fallback_owner) == ((1,), None)
    assert warned(second, "Name somebody else")


def test_a_fired_user_disables_nothing_and_is_warned_of() -> None:
    loaded = load(file(CALL[:-1] + ", owner: 25}"), directory=DIRECTORY)
    assert loaded.rules is not None
    assert loaded.rules.by_id["call"].disabled == ""
    assert warned(loaded, "Юлия Козлова (25) does not work here any more")


# --- what the webhook may not read -----------------------------------------------------------------------------------


def test_workgroups_that_cannot_be_read_are_taken_on_trust() -> None:
    assert bound(file(CALL[:-1] + ", project: 77}"), replace(DIRECTORY, groups=None)).by_id["call"].project == 77


def test_people_who_cannot_be_read_are_taken_on_trust_by_their_ids() -> None:
    directory = replace(DIRECTORY, company=Company(self_id=1))
    task = CALL[:-1] + ", owner: 5, supervisor: {department: 7, pick: first}}"
    rules = bound(file(task), directory)
    assert rules.by_id["call"].owner == model.UserId(5)
    assert rules.by_id["call"].supervisor == model.FromDepartment(7, "first")
    loaded = load(file(CALL[:-1] + ", owner: {department: Юристы, pick: first}}"), directory=directory)
    assert "may not read departments. Give the webhook the scope department" in str(loaded.errors[0])
    loaded = load(file(CALL[:-1] + ", owner: user5@standart.example}"), directory=directory)
    assert "may not read e-mails" in str(loaded.errors[0])


def test_the_webhooks_own_user_may_be_hidden() -> None:
    directory = replace(DIRECTORY, company=replace(DIRECTORY.company, self_id=99))
    assert bound(file(CALL, more="admins: [99]\n"), directory).admins == (99,)


# --- fields and records ----------------------------------------------------------------------------------------------


def test_every_field_that_the_file_uses_is_known() -> None:
    task = """{id: call, title: '{{ deal.TITLE }}', description: '{{ deal["UF_CRM_PLACES"] }}',
        if: {any: [{OPPORTUNITY: 5}, {not: {SOURCE_ID: WEB}}]}, owner: {one_of: [{field: UF_CRM_LOGIST}], pick: first},
        checklist: ["{{ deal.UF_CRM_ADDRESS }}"], start: {filled: UF_CRM_DELIVERY},
        deadline: {field: UF_CRM_SIGN_DATE, else: {event: {filled: UF_CRM_SHIP_DATE}, else: {after: 1 day}}}}"""
    assert bound(file(task)).fields == {
        *("TITLE", "UF_CRM_PLACES", "OPPORTUNITY", "SOURCE_ID", "UF_CRM_LOGIST", "UF_CRM_ADDRESS", "UF_CRM_DELIVERY"),
        *("UF_CRM_SIGN_DATE", "UF_CRM_SHIP_DATE", "CURRENCY_ID"),
    }


def test_company_contact_and_absences_are_read_only_if_the_file_uses_them() -> None:
    def uses(task: str) -> tuple[bool, bool, bool]:
        rules = bound(file(task))
        return rules.uses_company, rules.uses_contact, rules.uses_absences

    assert uses(CALL) == (False, False, False)
    assert uses(CALL.replace("title: A", "title: '{{ company.TITLE }}'")) == (True, False, False)
    assert uses(CALL.replace("title: A", "title: A, checklist: ['{{ contact.NAME }}']")) == (False, True, False)
    assert uses(CALL[:-1] + ", away: substitute}") == (False, False, True)


def test_admins_are_the_fallback_owner_unless_the_file_says_otherwise() -> None:
    assert bound(file(CALL, more="fallback_owner: 3\n")).admins == (3,)
    assert bound(file(CALL, more="fallback_owner: 3\nadmins: [user5@standart.example, 1, 1]\n")).admins == (5, 1)


# --- calendar and zone -----------------------------------------------------------------------------------------------

PORTAL_HOURS = PortalCalendar(
    10 * 60, 19 * 60, frozenset({4, 5}), holidays=frozenset({(8, 3)}), working_days=frozenset({(6, 3)})
)
MARCH = [datetime(2026, 3, day, tzinfo=UTC).date() for day in range(1, 15)]


def working(more: str, portal: PortalCalendar | None = PORTAL_HOURS) -> tuple[list[int], str]:
    """The working days of the first half of March 2026 (the 1st is a Sunday), and the hours of the 10th."""
    calendar = bound(file(CALL, more=more), replace(DIRECTORY, calendar=portal)).calendar
    spans = ", ".join(f"{start:%H:%M}-{end:%H:%M}" for start, end in calendar.spans(MARCH[9]))
    return [day.day for day in MARCH if calendar.is_working(day)], spans


def test_without_a_calendar_the_portals_own_counts() -> None:
    assert working("") == ([1, 2, 3, 4, 5, 6, 9, 10, 11, 12], "10:00-19:00")


def test_without_the_portals_calendar_monday_to_friday_from_nine_to_six() -> None:
    assert working("", None) == ([2, 3, 4, 5, 6, 9, 10, 11, 12, 13], "09:00-18:00")


@pytest.mark.parametrize(
    ("written", "days", "hours"),
    [
        ('hours: "08:00-17:00"', [2, 3, 4, 5, 6, 9, 10, 11, 12, 13], "08:00-17:00"),
        ("hours: 8:00 - 17:00", [2, 3, 4, 5, 6, 9, 10, 11, 12, 13], "08:00-17:00"),
        ('hours: ["14:00-18:00", "09:00-13:00"]', [2, 3, 4, 5, 6, 9, 10, 11, 12, 13], "09:00-13:00, 14:00-18:00"),
        ('hours: "08:00-17:00", workdays: [mon-wed, sat]', [2, 3, 4, 7, 9, 10, 11, 14], "08:00-17:00"),
        ("workdays: sun-tue", [1, 2, 3, 6, 9, 10], "10:00-19:00"),
        ('hours: {tue: "09:00-12:00", sat-sun: "10:00-11:00"}', [1, 3, 7, 8, 10, 14], "09:00-12:00"),
        ("country: RU", [1, 2, 3, 4, 5, 10, 11, 12], "10:00-19:00"),
        ('hours: "09:00-18:00", country: RU', [2, 3, 4, 5, 6, 10, 11, 12, 13], "09:00-18:00"),
        ("days_off: [2026-03-02]", [1, 3, 4, 5, 6, 9, 10, 11, 12], "10:00-19:00"),
        ('hours: "09:00-18:00", working_days: [2026-03-07]', [2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13], "09:00-18:00"),
    ],
)
def test_the_files_calendar(written: str, days: list[int], hours: str) -> None:
    assert working(f"calendar: {{{written}}}\n") == (days, hours)


def test_hours_of_the_portal_that_make_no_sense_are_warned_of() -> None:
    for portal in (PortalCalendar(600, 600, frozenset()), PortalCalendar(540, 1080, frozenset(range(7)))):
        loaded = load(file(CALL), directory=replace(DIRECTORY, calendar=portal))
        assert loaded.rules is not None
        assert loaded.rules.calendar.usual[-1][1] == time(18)
        assert warned(loaded, "make no sense")


def test_a_country_that_takes_every_working_day_is_an_error_not_a_crash() -> None:
    days = ", ".join(f"2026-03-{day:02}" for day in range(1, 15))
    assert bound(file(CALL, more=f"calendar: {{days_off: [{days}]}}\n"))


def test_the_zone_is_the_files_then_the_portals_then_its_offset_with_a_warning() -> None:
    assert bound(file(CALL)).calendar.zone == ZoneInfo("Europe/Moscow")
    text = file(CALL).replace("timezone: Europe/Moscow\n", "")
    assert bound(text, replace(DIRECTORY, time_zone="Asia/Almaty")).calendar.zone == ZoneInfo("Asia/Almaty")
    for unknown in ("", "Nowhere/City"):
        loaded = load(text, directory=replace(DIRECTORY, time_zone=unknown, utc_offset=-12600))
        assert loaded.rules is not None
        moment = datetime(2026, 7, 1, tzinfo=UTC)
        assert loaded.rules.calendar.local(moment).utcoffset() == timedelta(seconds=-12600)
        assert "UTC-03:30, is used all the year round" in warned(loaded, "time zone")[0]


# --- worth knowing ---------------------------------------------------------------------------------------------------


def test_a_stage_in_progress_of_a_listed_funnel_without_a_task_is_a_warning() -> None:
    loaded = load(file(CALL), directory=DIRECTORY)
    assert warned(loaded, "no task") == [
        "rules.yaml:4:3: funnels > Продажи: The stages Новая заявка, Презентация, КП отправлено, Согласование, "
        'Отгрузка of the funnel Продажи have no task. A deal there has no next step: write a task, or one for `"*"`.'
    ]
    assert not warned(load(file(CALL, stage='"*"'), directory=DIRECTORY), "no task")


def test_an_owner_without_a_supervisor_is_a_warning() -> None:
    loaded = load(file(CALL), directory=DIRECTORY)
    assert warned(loaded, "Nobody is the head over Анна Смирнова (1), who can own a task")
    for task in (
        CALL[:-1] + ", supervisor: 3}",
        CALL[:-1] + ", supervisor: none}",
        CALL[:-1] + ", owner: 5}",
        CALL[:-1] + ", owner: {department: Юридический отдел, pick: first}}",
    ):
        assert not warned(load(file(task), directory=DIRECTORY), "Nobody is the head"), task
    assert warned(load(file(CALL[:-1] + ", owner: head}"), directory=DIRECTORY), "Анна Смирнова (1)")
    assert warned(load(file(CALL[:-1] + ", owner: 5}", more="fallback_owner: 1\n"), directory=DIRECTORY), "(1)")


def test_what_needs_an_administrator_is_a_warning_without_one() -> None:
    text = file(CALL[:-1] + ", control: true}") + "overdue: {tasks: all}\n"
    assert not warned(load(text, directory=DIRECTORY), "administrator")
    loaded = load(text, directory=replace(DIRECTORY, admin=False))
    assert [line.split(": ")[1] for line in warned(loaded, "administrator")] == [
        "funnels > Продажи > Договор > call > control",
        "overdue > tasks",
    ]


def test_what_the_scopes_do_not_cover_is_a_warning() -> None:
    def lacks(text: str, *scopes: str) -> list[str]:
        loaded = load(text, directory=replace(DIRECTORY, scopes=frozenset(scopes)))
        return [line.partition("lacks the scope ")[2].split(" to ")[0] for line in warned(loaded, "lacks the scope")]

    own = file(CALL, more='calendar: {hours: "09:00-18:00"}\n')
    assert lacks(own, "crm", "task", "user_brief", "department", "im") == []
    assert lacks(own, "crm") == ["`task`", "`user` or `user_basic` or `user_brief`", "`department`", "`im`"]
    assert lacks(file(CALL), "crm", "task", "user", "department", "im") == ["`calendar`"]
    away = file(CALL[:-1] + ", away: substitute}", more='calendar: {hours: "09:00-18:00"}\n')
    assert lacks(away, "crm", "task", "user", "department", "im") == ["`calendar`"]
    assert lacks(away) == [], "unknown scopes are not missing"


def test_room_and_substitutes_are_bound_to_people() -> None:
    rules = bound(
        file(CALL, more="room: {default: learned, people: {5: 4, user3@standart.example: none}}\naway: substitute\n"
             "substitutes: {5: 3, Виктор Орлов: 5}\n")
    )  # fmt: skip
    assert [rules.room.of(user) for user in (1, 5, 3)] == ["learned", 4, None]
    assert (rules.substitutes, rules.by_id["call"].away) == ({5: 3, 3: 5}, "substitute")
    own = bound(file(CALL[:-1] + ", away: keep}", more="away: substitute\nroom: 8\n"))
    assert (own.by_id["call"].away, own.room.of(1), own.room.learns) == ("keep", 8, False)


def test_a_file_of_the_first_version_hears_once_what_its_substitutes_do_now() -> None:
    old = file(CALL[:-1] + ", away: substitute}", "{id: two, title: B, away: substitute, deadline: {after: 1 day}}")
    (line,) = warned(load(old, directory=DIRECTORY, bindings={}), "Since version 0.2")
    assert "rules.yaml:6:" in line
    said = file(CALL[:-1] + ", away: substitute}", more="away: keep\n")
    assert warned(load(said, directory=DIRECTORY, bindings={}), "Since version 0.2") == []
