"""What people meet in the portal, section by section of the rules language: the section "A task" and "Persons", told on
the sandbox portal over HTTP with the real store."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from bitrix_sandbox.state.errors import RestError
from bitrix_sync.commands import changes
from bitrix_sync.decisions import plan
from bitrix_sync.engine import recheck
from bitrix_sync.model.operations import DealState, Decision, State
from bitrix_sync.report import state_of_things
from tests.world.company import at as utc
from tests.world.office import Office, office

HEAD = """
version: 1
language: en
timezone: Europe/Moscow
admins: [3]
calendar: {hours: "09:00-18:00"}
fallback_owner: 3
funnels:
  Продажи:
"""


def file(*stages: str) -> str:
    """A rules file with these stages of the funnel."""
    return HEAD + "".join(f"    {line}\n" for stage in stages for line in stage.strip("\n").splitlines())


def status_of(place: Office, deal: int) -> dict[str, int]:
    """Statuses of the deal's tasks by rule."""
    return {task.xml_id.split(":", 2)[2]: task.status for task in place.tasks(deal)}


# --- visits and occurrences ------------------------------------------------------------------------------------------


def test_a_task_is_bound_to_its_deal_and_carries_its_mark_and_the_next_one_its_number(tmp_path: Path) -> None:
    with office(
        tmp_path, file("Новая заявка:", "  - {id: t, title: T, deadline: {after: 1 workday}, again: 1 day}")
    ) as place:
        deal = place.add_deal()
        place.run()
        place.wait(minutes=5)
        place.portal.state.complete_task(place.tasks(deal)[0].id, by=5)
        place.run()
        assert len(place.tasks(deal)) == 1
        place.wait(days=1)
        place.run()
        (row,) = (row.id for row in place.portal.state.history.values() if row.deal_id == deal)
        assert [task.xml_id for task in place.tasks(deal)] == [f"bitrix-sync:{row}:t", f"bitrix-sync:{row}:t:2"]
        assert {task.crm for task in place.tasks(deal)} == {(f"D_{deal}",)}
        assert place.tasks(deal)[-1].deadline == utc("2026-03-04 18:00"), "counted from the start of 3 March"


def test_a_deal_that_went_away_and_came_back_has_a_second_task(tmp_path: Path) -> None:
    with office(tmp_path) as place:
        deal = place.add_deal()
        for stage in ("PREPARATION", "NEW"):
            place.run()
            place.wait(minutes=5)
            place.move(deal, stage)
        place.run()
        assert place.marks(deal) == ["first-call", "presentation", "first-call"]


def test_a_deal_restored_under_new_history_ids_gets_nothing_twice(tmp_path: Path) -> None:
    with office(tmp_path) as place:
        deal = place.add_deal()
        place.run()
        place.wait(minutes=5)
        place.portal.state.delete_deal(deal)
        place.run()
        place.wait(minutes=5)
        place.portal.state.restore_deal(deal, new_history=True)
        for _ in range(2):
            place.run()
            recheck.run(place.context)
        assert place.marks(deal) == ["first-call"]
        place.wait(minutes=5)
        place.move(deal, "PREPARATION")
        place.run()
        assert place.marks(deal) == ["first-call", "presentation"], "and it goes on"


def test_a_deleted_task_is_gone_and_holds_nothing_up(tmp_path: Path) -> None:
    with office(
        tmp_path,
        file(
            "Новая заявка:",
            "  advance_to: Презентация",
            "  tasks:",
            "    - {id: a, title: A, deadline: {after: 1 workday}, again: 1 day}",
            "    - {id: b, title: B, deadline: {after: 1 workday}}",
        ),
    ) as place:
        deal = place.add_deal()
        place.run()
        place.wait(minutes=5)
        first, second = place.tasks(deal)
        place.portal.state.delete_task(first.id, by=5)
        place.portal.state.complete_task(second.id, by=5)
        place.run()
        assert place.portal.state.deals[deal].stage_id == "PREPARATION"
        place.wait(days=2)
        place.run()
        assert place.marks(deal) == ["b"], "neither made anew nor followed by another"


def test_a_deleted_task_is_not_taken_over_by_a_new_visit(tmp_path: Path) -> None:
    rules = file(
        "Новая заявка:",
        "  - {id: a, title: A, deadline: {after: 1 workday}, repeat: if_none_open}",
    )
    with office(tmp_path, rules) as place:
        deal = place.add_deal()
        place.run()
        (first,) = place.tasks(deal)
        place.portal.state.delete_task(first.id, by=5)
        place.wait(minutes=5)
        place.move(deal, "PREPARATION")
        place.wait(minutes=5)
        place.move(deal, "NEW")
        place.run()
        (second,) = place.tasks(deal)
        assert second.id != first.id


def test_tasks_that_only_rights_hide_are_not_held_for_deleted(tmp_path: Path) -> None:
    rules = file(
        "Новая заявка:",
        "  - {id: a, title: A, deadline: {after: 1 workday}, repeat: if_none_open}",
    )
    with office(tmp_path, rules) as place:
        deals = [place.add_deal() for _ in range(30)]
        place.run()
        made = {task.id for task in place.tasks()}
        hidden = {task: place.portal.state.tasks.pop(task) for task in made}
        place.wait(minutes=5)
        for deal in deals:
            place.move(deal, "PREPARATION")
        place.wait(minutes=5)
        for deal in deals:
            place.move(deal, "NEW")
        place.run()
        place.portal.state.tasks.update(hidden)
        assert {task.id for task in place.tasks()} == made


# --- if, start -------------------------------------------------------------------------------------------------------


def test_if_is_judged_on_each_change_with_the_values_of_that_time(tmp_path: Path) -> None:
    rules = file(
        "Новая заявка:",
        "  - {id: visit, title: Visit, if: {OPPORTUNITY: {min: 100000}, Важность: Ключевой клиент},",
        "     deadline: {after: 1 workday}}",
    )
    with office(tmp_path, rules) as place:
        deal = place.add_deal(fields={"OPPORTUNITY": 150000})
        place.run()
        place.wait(minutes=5)
        place.portal.state.set_fields(deal, {"OPPORTUNITY": 50000, "UF_CRM_PRIORITY": 1}, by=5)
        place.run()
        assert place.marks(deal) == [], "never both at the same time"
        place.wait(days=2)
        place.portal.state.set_fields(deal, {"OPPORTUNITY": 200000}, by=5)
        place.run()
        (task,) = place.tasks(deal)
        assert task.deadline == utc("2026-03-04 18:00"), "counted from entry, that is past: today"
        place.wait(minutes=5)
        place.portal.state.set_fields(deal, {"OPPORTUNITY": 1}, by=5)
        place.run()
        assert place.marks(deal) == ["visit"], "a task that was made stays"


def test_a_rule_that_fails_on_a_deal_fails_there_and_loudly_and_stops_no_other(tmp_path: Path) -> None:
    rules = file(
        "Новая заявка:",
        "  - {id: near, title: Near, if: {Адрес доставки: {min: 5}}, deadline: {after: 1 workday}}",
        "  - {id: call, title: Call, deadline: {after: 1 workday}}",
    )
    with office(tmp_path, rules) as place:
        bad = place.add_deal("Bad", fields={"UF_CRM_ADDRESS": "about ten"})
        good = place.add_deal("Good", fields={"UF_CRM_ADDRESS": "7"})
        with structlog.testing.capture_logs() as logs:
            place.run()
        assert place.marks(bad) == ["call"]
        assert place.marks(good) == ["near", "call"]
        (failed,) = place.service.store.traces(bad, "near")
        assert failed.verdict == "cannot_judge"
        assert failed.data["field"] == "Адрес доставки (UF_CRM_ADDRESS)"
        assert failed.data["value"] == "about ten"
        assert [line for line in logs if line["event"] == "rule failed on a deal" and line["deal"] == bad]
        (text,) = said_to(place, 3)
        assert "near" in text
        assert "about ten" in text
        assert state_of_things(place.service.store, place.service.settings)["rules_failing"] == {"near": 1}
        place.wait(minutes=5)
        place.portal.state.set_fields(bad, {"OPPORTUNITY": 1}, by=5)
        place.run()
        assert len(said_to(place, 3)) == 1, "told once a day"
        place.portal.state.set_fields(bad, {"UF_CRM_ADDRESS": "10"}, by=5)
        place.run()
        assert place.marks(bad) == ["call", "near"]
        assert state_of_things(place.service.store, place.service.settings)["rules_failing"] == {}


def test_a_deal_that_cannot_be_judged_for_a_fault_of_ours_is_judged_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with office(tmp_path) as place:
        bad, good = place.add_deal("Bad"), place.add_deal("Good")
        judge = plan.decide

        def fails_once(state: DealState, *parts: Any, **named: Any) -> Decision:
            if state.deal_id == bad:
                raise ZeroDivisionError
            return judge(state, *parts, **named)

        monkeypatch.setattr(plan, "decide", fails_once)
        with structlog.testing.capture_logs() as logs:
            place.run()
        monkeypatch.undo()
        assert (place.marks(bad), place.marks(good)) == ([], ["first-call"])
        assert [line["deal"] for line in logs if line["event"] == "deal cannot be judged; the others go on"] == [bad]
        place.run()
        assert place.marks(bad) == [], "nothing has changed since"
        place.wait(minutes=11)
        for _ in range(2):
            place.run()
        assert place.marks(bad) == ["first-call"]


def test_start_counts_from_what_started_it_never_from_our_hearing_of_it(tmp_path: Path) -> None:
    rules = file(
        "Новая заявка:",
        "  - {id: show, title: Show, deadline: {after: 1 workday}}",
        "  - {id: offer, title: Offer, start: {done: show}, deadline: {after: 2 workhours}}",
        "  - {id: pay, title: Pay, start: {filled: UF_CRM_INVOICE_DATE}, deadline: {after: 3 hours}}",
    )
    with office(tmp_path, rules) as place:
        deal = place.add_deal()
        place.run()
        assert place.marks(deal) == ["show"]
        place.wait(minutes=30)
        place.portal.state.complete_task(place.tasks(deal)[0].id, by=7)
        place.portal.state.set_fields(deal, {"UF_CRM_INVOICE_DATE": "2026-03-02"}, by=5)
        place.wait(minutes=20)
        place.run()
        deadlines = {task.xml_id.split(":")[2]: task.deadline for task in place.tasks(deal)}
        assert deadlines["offer"] == utc("2026-03-02 12:30")
        assert deadlines["pay"] == utc("2026-03-02 13:30")


# --- endings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ending", "after"), [("complete", 5), ("defer", 6), ("delete", None), ("keep", 2)])
def test_what_tasks_undergo_when_the_deal_is_won(tmp_path: Path, ending: str, after: int | None) -> None:
    rules = file(
        "Новая заявка:",
        "  - {id: first, title: First, deadline: {after: 1 workday}}",
        "Презентация:",
        "  - {id: done, title: Done, deadline: {after: 1 workday}}",
        "  - {id: waits, title: Waits, deadline: {after: 1 workday}, control: true, on_close: keep}",
        "  - {id: own, title: Own, deadline: {after: 1 workday}, on_close: keep}",
    ).replace("funnels:", f"on_close: {ending}\nfunnels:")
    with office(tmp_path, rules) as place:
        deal = place.add_deal()
        place.run()
        place.wait(minutes=5)
        place.move(deal, "PREPARATION")
        place.run()
        tasks = {task.xml_id.split(":")[2]: task.id for task in place.tasks(deal)}
        place.portal.state.complete_task(tasks["done"], by=5)
        place.portal.state.complete_task(tasks["waits"], by=5)
        place.wait(minutes=5)
        place.move(deal, "WON")
        place.run()
        expected = {"first": after, "done": 5, "waits": 4, "own": 2}
        assert status_of(place, deal) == {rule: status for rule, status in expected.items() if status}


def test_a_task_put_off_on_leaving_is_taken_up_when_the_deal_is_back(tmp_path: Path) -> None:
    rules = file(
        "Новая заявка:",
        "  - {id: touch, title: T, deadline: {after: 1 workday}, repeat: if_none_open, on_leave: defer}",
    )
    with office(tmp_path, rules) as place:
        deal = place.add_deal()
        statuses: list[int] = []
        for stage in ("PREPARATION", "NEW", "PREPARATION", "NEW"):
            place.run()
            statuses += status_of(place, deal).values()
            place.wait(days=1)
            place.move(deal, stage)
        place.run()
        (task,) = place.tasks(deal)
        assert (statuses, task.status) == ([2, 6, 2, 6], 2)
        assert task.deadline == utc("2026-03-09 18:00"), "counted from the entry on Friday"


def test_a_deferred_task_is_ended_when_the_deal_leaves(tmp_path: Path) -> None:
    rules = file("Новая заявка:", "  - {id: call, title: Call, deadline: {after: 1 workday}, on_leave: complete}")
    with office(tmp_path, rules) as place:
        deal = place.add_deal()
        place.run()
        place.wait(minutes=5)
        place.portal.state.defer_task(place.tasks(deal)[0].id, by=5)
        place.run()
        place.move(deal, "PREPARATION")
        place.run()
        assert status_of(place, deal) == {"call": 5}


# --- control, result -------------------------------------------------------------------------------------------------

CONTROL = file(
    "Новая заявка:",
    "  - {id: count, title: Count, deadline: {after: 1 workday}, control: true}",
    "  - {id: report, title: Report, deadline: {after: 1 workday}, result_required: true}",
    "  - {id: both, title: Both, deadline: {after: 1 workday}, control: true, result_required: true}",
)


def test_control_lets_the_supervisor_accept_and_a_required_result_keeps_the_task_open(tmp_path: Path) -> None:
    with office(tmp_path, CONTROL) as place:
        deal = place.add_deal()
        place.run()
        state = place.portal.state
        tasks = {task.xml_id.split(":")[2]: task for task in place.tasks(deal)}
        assert (tasks["count"].creator_id, tasks["report"].creator_id) == (3, 1)
        state.complete_task(tasks["count"].id, by=5)
        with pytest.raises(RestError):
            state.complete_task(tasks["report"].id, by=5)
        with pytest.raises(RestError):
            state.complete_task(tasks["both"].id, by=5)
        state.complete_task(tasks["report"].id, by=5, result="Counted")
        state.complete_task(tasks["both"].id, by=5, result="Counted too")
        assert status_of(place, deal) == {"count": 4, "report": 5, "both": 4}
        state.approve_task(tasks["both"].id, by=3)
        assert status_of(place, deal)["both"] == 5


def test_whoever_controls_the_task_of_a_new_responsible_accepts_its_result(tmp_path: Path) -> None:
    with office(tmp_path, CONTROL) as place:
        deal = place.add_deal()
        place.run()
        place.wait(minutes=5)
        place.portal.state.set_responsible(deal, 15, by=1)
        place.run()
        count = place.tasks(deal)[0]
        assert (count.responsible_id, count.creator_id, count.auditors) == (15, 13, (13,))


# --- advancing -------------------------------------------------------------------------------------------------------

ADVANCE = file(
    "Новая заявка:",
    "  advance_to: Презентация",
    "  tasks:",
    "    - {id: call, title: Call, deadline: {after: 1 workday}}",
    "Презентация:",
    "  advance_to: Новая заявка",
    "  tasks:",
    "    - {id: show, title: Show, deadline: {after: 1 workday}}",
)


def said_to(place: Office, user: int) -> list[str]:
    """What the service told a user, oldest first."""
    return [message.text for message in place.portal.state.messages_to(user)]


def test_a_move_that_the_portal_refuses_is_told_to_the_supervisor_once(tmp_path: Path) -> None:
    with office(tmp_path, ADVANCE) as place:
        place.portal.state.require_field("PREPARATION", "UF_CRM_ADDRESS")
        deal = place.add_deal("Romashka")
        place.run()
        place.wait(minutes=5)
        place.portal.state.complete_task(place.tasks(deal)[0].id, by=5)
        for _ in range(3):
            place.wait(minutes=5)
            place.portal.state.set_fields(deal, {"OPPORTUNITY": place.portal.clock.now().timestamp() // 1}, by=5)
            place.run()
        assert place.portal.state.deals[deal].stage_id == "NEW"
        (text,) = said_to(place, 3)
        assert "Romashka" in text
        assert "Презентация" in text


def test_after_five_automatic_moves_in_a_day_the_supervisor_is_told_instead(tmp_path: Path) -> None:
    with office(tmp_path, ADVANCE) as place:
        deal = place.add_deal("Romashka")
        place.run()
        for _ in range(8):
            for task in place.tasks(deal):
                if task.status == 2:
                    place.portal.state.complete_task(task.id, by=5)
            place.wait(minutes=5)
            place.run()
            place.wait(seconds=2)
            place.run()
        rows = [row for row in place.portal.state.history.values() if row.deal_id == deal]
        assert len(rows) == 6
        (text,) = said_to(place, 3)
        assert "moved automatically 5 times" in text


# --- people ----------------------------------------------------------------------------------------------------------


def owners(place: Office, deal: int) -> dict[str, int]:
    """Owners of the deal's tasks by rule."""
    return {task.xml_id.split(":")[2]: task.responsible_id for task in place.tasks(deal)}


def test_every_form_of_a_person_finds_its_employee(tmp_path: Path) -> None:
    rules = file(
        "Новая заявка:",
        "  - {id: responsible, title: T, deadline: {after: 1 workday}}",
        "  - {id: creator, title: T, owner: creator, deadline: {after: 1 workday}}",
        "  - {id: head, title: T, owner: head, deadline: {after: 1 workday}}",
        "  - {id: number, title: T, owner: 17, deadline: {after: 1 workday}}",
        "  - {id: mail, title: T, owner: user21@standart.example, deadline: {after: 1 workday}}",
        "  - {id: field, title: T, owner: {field: Логист, else: creator}, deadline: {after: 1 workday}}",
        "  - {id: task, title: T, owner: {task: mail}, deadline: {after: 1 workday}}",
        "  - {id: law, title: T, owner: {department: Юридический отдел, pick: first}, deadline: {after: 1 workday}}",
        "  - {id: one, title: T, owner: {one_of: [25, 9, 7], pick: first}, deadline: {after: 1 workday}}",
        "  - {id: fired, title: T, owner: 25, deadline: {after: 1 workday}}",
    )
    with office(tmp_path, rules) as place:
        deal = place.add_deal(by=7, fields={"UF_CRM_LOGIST": 23})
        empty = place.add_deal(by=7)
        place.run()
        expected = {"responsible": 5, "creator": 7, "head": 3, "number": 17, "mail": 21, "field": 23, "task": 21}
        expected |= {"law": 15, "one": 9, "fired": 3}
        assert owners(place, deal) == expected
        assert owners(place, empty)["field"] == 7


def test_the_task_of_a_rule_is_its_newest_on_this_deal(tmp_path: Path) -> None:
    rules = file(
        "Новая заявка:",
        "  - {id: law, title: T, owner: 15, deadline: {after: 1 workday}}",
        "Презентация:",
        "  - {id: sign, title: T, owner: {task: law}, observers: [{task: law}, creator], deadline: {after: 1 workday}}",
    )
    with office(tmp_path, rules) as place:
        deal = place.add_deal(by=7)
        place.run()
        place.wait(minutes=5)
        place.portal.state.set_owner(place.tasks(deal)[0].id, 17, by=13)
        place.move(deal, "PREPARATION")
        place.run()
        sign = place.tasks(deal)[-1]
        assert sign.responsible_id == 17, "whoever owns it now"
        assert sign.auditors == (13, 17, 7)


def test_observers_participants_project_and_tags_reach_the_portal(tmp_path: Path) -> None:
    rules = file(
        "Новая заявка:",
        "  - id: full",
        "    title: T",
        "    supervisor: 9",
        "    observers: [head, 25, 11]",
        "    participants: [{department: Отдел логистики, pick: first}, creator]",
        "    project: 1",
        "    tags: [law, urgent]",
        "    priority: high",
        "    deadline: {after: 1 workday}",
        "  - {id: quiet, title: T, supervisor_observes: false, deadline: {after: 1 workday}}",
        "  - {id: alone, title: T, supervisor: none, deadline: {after: 1 workday}}",
    )
    with office(tmp_path, rules.replace("        project: 1\n", "")) as place:
        group = next(iter(place.portal.state.workgroups))
        text = place.rules.read_text(encoding="utf-8").replace("tags:", f"project: {group}\n        tags:")
        place.rules.write_text(text, encoding="utf-8")
        assert place.context.rulebook.reload_if_changed()
        deal = place.add_deal(by=7)
        place.run()
        full, quiet, alone = place.tasks(deal)
        assert full.auditors == (9, 3, 11), "whoever is fired is left out"
        assert full.accomplices == (9, 7)
        assert (full.group_id, full.tags, full.priority) == (group, ("law", "urgent"), 2)
        assert (quiet.auditors, alone.auditors) == ((), ())
        supervisors = {one.rule_id: one.supervisor_id for one in place.service.store.task_records() if one.rule_id}
        assert supervisors == {"full": 9, "quiet": 3, "alone": None}


def test_round_robin_is_fair_over_restarts(tmp_path: Path) -> None:
    rules = file(
        "Новая заявка:",
        "  - {id: call, title: T, owner: {one_of: [5, 7, 9], pick: round_robin}, deadline: {after: 1 workday}}",
    )
    with office(tmp_path, rules) as place:
        for _ in range(6):
            place.add_deal()
            place.run()
            place.wait(minutes=1)
            place.restart()
        assert [task.responsible_id for task in place.tasks()] == [5, 7, 9, 5, 7, 9]


def test_least_loaded_counts_the_tasks_decided_in_the_same_pass(tmp_path: Path) -> None:
    rules = file(
        "Новая заявка:",
        "  - {id: call, title: T, owner: {department: Юридический отдел, pick: least_loaded},",
        "     deadline: {after: 1 workday}}",
    )
    with office(tmp_path, rules) as place:
        for number in range(3):
            place.portal.state.add_task(f"Old {number}", responsible=15, deadline=utc("2026-03-03 12:00"))
        place.portal.state.add_task("Later", responsible=17, deadline=utc("2026-03-20 12:00"))
        place.run()
        for _ in range(5):
            place.add_deal()
        place.run()
        assert [task.responsible_id for task in place.tasks()] == [17, 17, 17, 15, 17], "15 has three, 17 none by then"


def test_an_owner_whose_absence_covers_the_deadline_is_replaced_if_the_task_says_so(tmp_path: Path) -> None:
    rules = file(
        "Новая заявка:",
        "  - {id: soon, title: T, owner: 7, away: substitute, deadline: {after: 1 workday}}",
        "  - {id: late, title: T, owner: 7, away: substitute, deadline: {after: 5 workdays}}",
        "  - {id: keep, title: T, owner: 7, deadline: {after: 5 workdays}}",
    )
    with office(tmp_path, rules) as place:
        place.portal.state.add_absence(7, utc("2026-03-07 00:00"), utc("2026-03-20 00:00"))
        deal = place.add_deal()
        place.run()
        assert owners(place, deal) == {"soon": 7, "late": 3, "keep": 7}


def test_whoever_nobody_can_be_found_for_goes_to_the_webhooks_own_user_marked(tmp_path: Path) -> None:
    rules = file("Новая заявка:", "  - {id: call, title: Call, description: Now, deadline: {after: 1 workday}}")
    with office(tmp_path, rules.replace("fallback_owner: 3\n", "")) as place:
        for department in place.portal.state.departments:
            place.portal.state.set_head(department, 0)
        place.wait(minutes=2)
        place.run()
        deal = place.add_deal(responsible=25)
        place.run()
        (task,) = place.tasks(deal)
        assert task.responsible_id == 1
        assert task.description.startswith("Now\n\nNo owner could be found by the rule")


def test_nobody_at_all_is_held_and_told_and_released_once_somebody_can_be_found(tmp_path: Path) -> None:
    rules = file("Новая заявка:", "  - {id: call, title: 'For {{ owner.name }}', deadline: {after: 1 workday}}")
    with office(tmp_path, rules.replace("fallback_owner: 3\n", "")) as place:
        state = place.portal.state
        heads = {number: one.head_id for number, one in state.departments.items()}
        for department in heads:
            state.set_head(department, 0)
        state.delete_user(1)
        place.wait(minutes=2)
        deal, other = place.add_deal("Romashka", responsible=25), place.add_deal("Vasilek")
        place.run()
        assert place.marks(deal) == []
        assert place.marks(other) == ["call"], "the others go on"
        (text,) = said_to(place, 3)
        assert "Romashka" in text
        assert changes.perform(place.context, "release", {})["still_held"] == 1
        assert place.marks(deal) == []
        place.wait(days=3)
        for department, head in heads.items():
            state.set_head(department, head)
        place.run()
        assert changes.perform(place.context, "release", {})["released"] == 1
        (task,) = place.tasks(deal)
        assert (task.responsible_id, task.title) == (3, "For Виктор Орлов")
        assert task.deadline == utc("2026-03-05 18:00"), "the old one is past"
        place.run()
        state.rehire(25)
        state.set_responsible(deal, 5, by=3)
        place.wait(minutes=2)
        place.run()
        assert owners(place, deal) == {"call": 5}, "it is the responsible's"


def test_what_the_limit_held_too_long_is_released_with_a_deadline_ahead(tmp_path: Path) -> None:
    rules = file("Новая заявка:", "  - {id: call, title: Call, deadline: {after: 1 workday}}")
    with office(tmp_path, rules + "safety: {max_new_tasks: 1}\n") as place:
        deals = [place.add_deal(), place.add_deal()]
        place.run()
        (text,) = said_to(place, 3)
        assert "Held back: 1 task" in text
        place.wait(days=4)
        place.run()
        assert place.marks(deals[1]) == []
        assert changes.perform(place.context, "release", {})["released"] == 1
        assert place.tasks(deals[1])[0].deadline == utc("2026-03-06 18:00")


def test_what_is_released_after_the_deal_went_on_is_what_would_still_be_there(tmp_path: Path) -> None:
    rules = file(
        "Новая заявка:",
        "  - {id: stays, title: T, deadline: {after: 1 workday}}",
        "  - {id: goes, title: T, deadline: {after: 1 workday}, on_leave: delete, checklist: [One]}",
    )
    with office(tmp_path, rules + "safety: {max_new_tasks: 1}\n") as place:
        deal = place.add_deal()
        place.run()
        assert place.marks(deal) == []
        place.wait(minutes=5)
        place.move(deal, "PREPARATION")
        place.run()
        created = place.portal.calls["tasks.task.add"]
        changes.perform(place.context, "release", {})
        assert place.marks(deal) == ["stays"]
        assert place.portal.calls["tasks.task.add"] - created == 1, "the other was never made"
        assert place.service.store.counts().keys() <= {State.DONE, State.DROPPED}


# --- the deal's responsible changes ----------------------------------------------------------------------------------


def test_open_tasks_follow_unless_a_person_has_changed_the_owner(tmp_path: Path) -> None:
    rules = file(
        "Новая заявка:",
        "  - {id: follows, title: T, deadline: {after: 1 workday}}",
        "  - {id: by-hand, title: T, deadline: {after: 1 workday}}",
        "  - {id: head, title: T, owner: head, deadline: {after: 1 workday}}",
        "  - {id: law, title: T, owner: 15, deadline: {after: 1 workday}}",
        "  - {id: seen, title: T, owner: 15, supervisor: responsible, deadline: {after: 1 workday}}",
        "  - {id: done, title: T, deadline: {after: 1 workday}}",
    )
    with office(tmp_path, rules) as place:
        deal = place.add_deal()
        place.run()
        place.wait(minutes=5)
        tasks = {task.xml_id.split(":")[2]: task.id for task in place.tasks(deal)}
        place.portal.state.set_owner(tasks["by-hand"], 11, by=3)
        place.portal.state.complete_task(tasks["done"], by=5)
        place.portal.state.set_responsible(deal, 21, by=1)
        place.run()
        assert owners(place, deal) == {"follows": 21, "by-hand": 11, "head": 19, "law": 15, "seen": 15, "done": 5}
        auditors = {task.xml_id.split(":")[2]: task.auditors for task in place.tasks(deal)}
        expected: dict[str, Any] = {"follows": (19,), "by-hand": (3,), "head": (1,), "law": (13,), "seen": (21,)}
        assert auditors == {**expected, "done": (3,)}
        lines = place.portal.state.messages_of_task(tasks["seen"])
        assert "Татьяна" in lines[-1].text


# --- texts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("title", "more"),
    [("{{ deal.TITLE }}", 0), ("{{ company.TITLE }}", 1), ("{{ company.TITLE }}: {{ contact.NAME }}", 2)],
)
def test_company_and_contact_are_fetched_only_if_the_file_uses_them(tmp_path: Path, title: str, more: int) -> None:
    rules = file("Новая заявка:", f"  - {{id: t, title: '{title}', deadline: {{after: 1 workday}}}}")
    with office(tmp_path, rules) as place:
        company, contact = next(iter(place.portal.state.companies)), next(iter(place.portal.state.contacts))
        for _ in range(3):
            place.add_deal("Deal", fields={"COMPANY_ID": company, "CONTACT_IDS": [contact]})
        before = place.portal.calls["crm.item.list"]
        place.run()
        deals = 1
        assert place.portal.calls["crm.item.list"] - before == deals + more, "once for all three"
        shown = ["Deal", "ООО «Ромашка»", "ООО «Ромашка»: Иван"][more]
        assert {task.title for task in place.tasks()} == {shown}


def test_text_of_the_portal_brings_no_code_into_a_task(tmp_path: Path) -> None:
    rules = file(
        "Новая заявка:",
        "  - {id: t, title: '{{ deal.TITLE }}', description: '[b]{{ deal.TITLE }}[/b]', deadline: {after: 1 workday}}",
    )
    with office(tmp_path, rules) as place:
        deal = place.add_deal("[url=http://evil.example]Romashka[/url] {{ owner }}")
        place.run()
        (task,) = place.tasks(deal)
        assert task.description == "[b]［url=http://evil.example］Romashka［/url］ {{ owner }}[/b]"


NAMES = [
    "[VIP] Romashka",
    "[url=http://evil.example]x[/url] >> [b]a & b[/b] &amp; &#91;",
    "costs $result[k0] $next[k1] $TOTAL[0] $Error[x] $time[y]",
    "$result[",
    "-------------------------------- «кавычки» <b>'\"\\ {{ owner }} {% x %}",
]


def test_titles_and_check_lists_are_as_the_deal_has_it_also_when_they_have_to_be_looked_up(tmp_path: Path) -> None:
    """The portal reads no code there. What it would replace in a batch goes alone; what was in doubt is found again."""
    rules = file(
        "Новая заявка:",
        "  - {id: t, title: '{{ deal.TITLE }}', description: 'x: {{ deal.TITLE }}', deadline: {after: 1 workday},",
        "     checklist: ['{{ deal.TITLE }}', 'Plain']}",
    )
    with office(tmp_path, rules) as place:
        deals = {place.add_deal(name): name for name in NAMES}
        place.portal.faults.next("cut_after", "tasks.task.add", times=2)
        place.portal.faults.next("cut_after", "task.checklistitem.add", times=20)
        for _ in range(30):
            place.run()
            place.wait(minutes=1)
        for deal, name in deals.items():
            (task,) = place.tasks(deal)
            assert task.title == name
            assert sorted(item.title for item in task.checklist.values()) == sorted(["Checklist", name, "Plain"])
            assert "[" not in task.description
        assert place.service.store.counts().get(State.UNKNOWN, 0) == 0


# --- commands --------------------------------------------------------------------------------------------------------


def test_remove_deletes_what_nobody_touched(tmp_path: Path) -> None:
    with office(tmp_path) as place:
        deals = [place.add_deal(f"Deal {number}") for number in range(5)]
        place.run()
        started, moved, named, told, _ = [place.tasks(deal)[0].id for deal in deals]
        place.portal.state.start_task(started, by=5)
        place.portal.state.set_deadline(moved, utc("2026-03-09 12:00"), by=5)
        place.portal.state.set_title(named, "Mine", by=5)
        later = place.portal.state.moment() + timedelta(minutes=1)
        place.portal.state.change_task(place.portal.state.tasks[told], 5, at=later, description="Mind the dog")
        account = changes.perform(place.context, "remove", {"rule": "first-call", "since": "2026-03-02"})
        assert [one["why"] for one in account["kept"]] == ["status", "deadline", "title", "change"]
        assert [place.marks(deal) for deal in deals] == [["first-call"]] * 4 + [[]]
        assert State.PLANNED not in place.service.store.counts()


def test_funnels_and_stages_may_be_named_by_id_or_meant_all(tmp_path: Path) -> None:
    rules = (
        HEAD.replace("  Продажи:\n", "")
        + "  0:\n    preparation: [{id: show, title: T, deadline: {after: 1 workday}}]\n"
        + '    "*": [{id: next, title: T, deadline: {after: 3 workdays}}]\n'
        + '  " сервис ":\n    C5:UC_REPAIR: [{id: repair, title: T, deadline: {after: 1 workday}}]\n'
        + '  "*":\n    ОБРАЩЕНИЕ: [{id: ask, title: T, deadline: {after: 1 workday}}]\n'
        + "    WON: [{id: thank, title: T, deadline: {after: 1 workday}}]\n"
    )
    with office(tmp_path, rules.replace("WON:", "Сделка успешна:")) as place:
        sales, service = place.add_deal(), place.add_deal(stage="C5:NEW", funnel=5)
        place.run()
        place.wait(minutes=5)
        place.move(sales, "PREPARATION")
        place.move(service, "C5:UC_REPAIR")
        place.run()
        place.wait(minutes=5)
        place.move(sales, "WON")
        place.run()
        assert place.marks(sales) == ["next", "show", "next", "thank"], "the star means no final stage"
        assert place.marks(service) == ["ask", "repair"]


def test_deadlines_count_from_the_entry_that_the_portal_recorded(tmp_path: Path) -> None:
    with office(tmp_path) as place:
        place.run()
        place.service.close()
        deal = place.add_deal()
        place.wait(minutes=25)
        place.start()
        place.run()
        assert place.tasks(deal)[0].deadline == utc("2026-03-02 10:30")


def test_a_title_that_is_too_long_is_cut_with_an_ellipsis(tmp_path: Path) -> None:
    with office(tmp_path) as place:
        deal = place.add_deal("Р" * 255)
        place.run()
        title = place.tasks(deal)[0].title
        assert (len(title), title[-1]) == (250, "…")


def test_neither_a_sweep_nor_its_undoing_stops_following_and_sweeps_move_what_a_person_set(tmp_path: Path) -> None:
    rules = file(
        "Новая заявка:",
        "  - {id: ship, title: T, deadline: {field: UF_CRM_SHIP_DATE, else: {after: 0 workdays}}}",
        "  - {id: mine, title: T, deadline: {field: UF_CRM_SHIP_DATE, else: {after: 0 workdays}}}",
    )
    rules += 'overdue: {evening: {at: "18:30", move_to: {after: 1 workday}}}\n'
    with office(tmp_path, rules) as place:
        deal = place.add_deal()
        place.run()
        ship, mine = (task.id for task in place.tasks(deal))
        place.wait(minutes=5)
        place.portal.state.set_deadline(mine, utc("2026-03-02 17:00"), by=5)
        place.wait(hours=8, minutes=30)
        place.run()
        changes.perform(place.context, "sweep", {"name": "evening"})
        assert [task.deadline for task in place.tasks(deal)] == [utc("2026-03-03 18:00")] * 2
        place.portal.state.set_fields(deal, {"UF_CRM_SHIP_DATE": "2026-03-12T15:00:00+03:00"}, by=5)
        place.run()
        deadlines = {task.id: task.deadline for task in place.tasks(deal)}
        assert deadlines == {ship: utc("2026-03-12 15:00"), mine: utc("2026-03-03 18:00")}
        changes.perform(place.context, "undo", {"slot": "2026-03-02/evening"})
        assert {task.id: task.deadline for task in place.tasks(deal)}[mine] == utc("2026-03-02 17:00")
        place.wait(minutes=5)
        place.portal.state.set_fields(deal, {"UF_CRM_SHIP_DATE": None}, by=5)
        place.run()
        assert {task.id: task.deadline for task in place.tasks(deal)}[ship] == utc("2026-03-03 18:00"), "today is past"


def test_undo_does_not_stop_following(tmp_path: Path) -> None:
    rules = file(
        "Новая заявка:",
        "  - {id: ship, title: T, deadline: {field: UF_CRM_SHIP_DATE, else: {after: 0 workdays}}}",
    )
    rules += 'overdue: {evening: {at: "18:30", move_to: {after: 1 workday}}}\n'
    with office(tmp_path, rules) as place:
        deal = place.add_deal()
        place.run()
        place.wait(hours=8, minutes=35)
        place.run()
        changes.perform(place.context, "sweep", {"name": "evening"})
        changes.perform(place.context, "undo", {"slot": "2026-03-02/evening"})
        assert place.tasks(deal)[0].deadline == utc("2026-03-02 18:00")
        place.run()
        place.portal.state.set_fields(deal, {"UF_CRM_SHIP_DATE": "2026-03-12T15:00:00+03:00"}, by=5)
        place.run()
        assert place.tasks(deal)[0].deadline == utc("2026-03-12 15:00")
