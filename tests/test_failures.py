"""Refusals of the portal: who hears of them, how often, and that they are tried again when their cause is gone."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from bitrix_sync.commands import changes
from bitrix_sync.decisions import failures
from bitrix_sync.decisions.failures import Failure
from bitrix_sync.engine import retries
from bitrix_sync.engine.passes import carry_out, take_in, tell_failures
from bitrix_sync.model.actions import Kind, unpack
from bitrix_sync.model.keys import Purpose
from bitrix_sync.model.operations import Operation, State, StoredOperation
from bitrix_sync.portal.dialect.writing import METHODS
from bitrix_sync.report import held_back, state_of_things
from bitrix_sync.settings import load_settings
from bitrix_sync.store import Store
from tests.world.office import RULES, Office, office
from tests.world.sweeps import MARIA, department

ADMIN, HEAD, SELLER = 1, 3, 5
ALL = 10_000
RELEASE = Path(__file__).parent / "data" / "release-0.1.0.sql"


def told(place: Office, user: int) -> list[str]:
    """What the service told a person: messages, and notices to the webhook's own user; oldest first."""
    state = place.portal.state
    said = [one.text for one in state.messages_to(user)]
    return said or [one.text for one in state.notices_of(user)]


def refuse(
    place: Office, method: str, text: str = "Access denied", *, times: int = ALL, code: str = "ERROR_CORE"
) -> None:
    """The portal refuses the next calls of a method."""
    place.portal.faults.next("refuse", method=method, times=times, code=code, text=text)


def tick(place: Office, **span: float) -> None:
    """Time passes; the service looks at what it has to tell, and tells it."""
    place.wait(**span)
    place.run()
    tell_failures(place.context)
    place.run()


ADVANCING = """
version: 1
language: en
timezone: Europe/Moscow
admins: [1]
calendar: {hours: "09:00-18:00"}
funnels:
  Продажи:
    Новая заявка:
      advance_to: Презентация
      tasks: [{id: call, title: Call, deadline: {after: 1 workday}}]
"""


# --- causes ----------------------------------------------------------------------------------------------------------


def failure(text: str, *, kind: Kind = Kind.CREATE, code: str = "ERROR_CORE", number: int = 1, **more: Any) -> Failure:
    """A refusal of the portal."""
    operation = Operation(f"create:{number}:call", unpack(kind, {}), deal_id=number, task=f"{number}:call")
    row = StoredOperation(number, operation, State.FAILED, error_code=code, error_text=text)
    values: dict[str, Any] = {"reader": 0, "task": f"Call {number}", "deal": f"Deal {number}"}
    return Failure(row, METHODS[kind], **(values | more))


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        (failure("Task 17 is closed<br>"), failure("Task 18  is CLOSED", number=2), True),
        (failure("“Call 1” of Deal 1: no"), failure("“Call 2” of Deal 2: no", number=2), True),
        (failure('Field "A" is required'), failure('Field "B" is required'), False),
        (failure("UF_AUTO_1 is required"), failure("UF_AUTO_2 is required"), False),
        (failure("no"), failure("no", code="ACCESS_DENIED"), False),
        (failure("no"), failure("no", kind=Kind.DELETE), False),
        (failure("no"), failure("no", reader=HEAD), False),
    ],
)
def test_a_cause_is_method_code_and_text_without_what_is_one_tasks_own(
    one: Failure, other: Failure, alike: bool
) -> None:
    assert ((one.family, one.cause) == (other.family, other.cause)) is alike


def test_a_portal_that_words_every_refusal_otherwise_floods_nobody() -> None:
    many = [failure(f"Ivan{'a' * number} cannot", number=number) for number in range(100)]
    news = failures.gather(many, ())
    assert len(news) == failures.MANY + 1
    assert sum(map(len, news.values())) == 100, "and nothing is left out"
    told = {str(cause) for cause in news}
    assert {key.startswith(Purpose.REFUSED.beginning) for key in told} == {True}
    again = failures.gather([failure(f"Olga{'a' * number} cannot", number=number) for number in range(9)], told)
    assert again == {}, "within the hour"


# --- who hears, and how often ----------------------------------------------------------------------------------------


def test_a_hundred_refusals_of_one_cause_are_one_message_also_in_several_passes(tmp_path: Path) -> None:
    with office(tmp_path) as place:
        refuse(place, "tasks.task.add", "Not allowed")
        for _ in range(60):
            place.add_deal()
        place.run()
        place.run()
        (text,) = told(place, ADMIN)
        assert "60 refusals" in text
        assert "Not allowed (ERROR_CORE)" in text
        assert "“Call: Romashka”" in text
        for _ in range(40):
            place.add_deal()
        tick(place, minutes=5)
        tick(place, minutes=5)
        assert len(told(place, ADMIN)) == 1, "the hour is not over"
        tick(place, minutes=51)
        assert "40 refusals" in told(place, ADMIN)[1]
        tick(place, hours=2)
        assert len(told(place, ADMIN)) == 2, "they did not go on"


def test_each_cause_has_its_own_message(tmp_path: Path) -> None:
    with office(tmp_path) as place:
        refuse(place, "tasks.task.add", "One thing", times=2)
        refuse(place, "tasks.task.add", "Another", times=3)
        for _ in range(5):
            place.add_deal()
        place.run()
        place.run()
        assert sorted(text.split()[0] for text in told(place, ADMIN)) == ["2", "3"]


REFUSED = """
version: 1
language: ru
timezone: Europe/Moscow
admins: [1]
calendar: {hours: "09:00-18:00"}
fallback_owner: 1
funnels:
  Продажи:
    Новая заявка:
      - id: call
        title: "Звонок: {{ deal.TITLE }}"
        deadline: {field: UF_CRM_SHIP_DATE, else: {after: 3 workdays}}
        checklist: [Раз, Два]
        on_leave: %s
"""


@pytest.mark.parametrize(
    ("ending", "method", "words"),
    [
        ("keep", "task.checklistitem.add", "дополнить чек-лист задачи"),
        ("keep", "task.commentitem.add", "написать в задачу"),
        ("complete", "tasks.task.complete", "завершить задачу"),
        ("defer", "tasks.task.defer", "отложить задачу"),
        ("delete", "tasks.task.delete", "удалить задачу"),
        ("keep", "tasks.task.update", "перенести срок задачи"),
    ],
)
def test_what_the_portal_refuses_of_any_kind_is_told(tmp_path: Path, ending: str, method: str, words: str) -> None:
    with office(tmp_path, REFUSED % ending) as place:
        if "item" in method:
            refuse(place, f"{method.rpartition('.')[0].partition('item')[0]}*")
            refuse(place, "im.message.add")
        else:
            refuse(place, method)
        deal = place.add_deal("Ромашка")
        place.run()
        place.wait(minutes=1)
        place.portal.state.set_fields(deal, {"UF_CRM_SHIP_DATE": "2026-03-20"}, by=SELLER)
        place.run()
        place.wait(minutes=1)
        place.move(deal, "PREPARATION")
        place.run()
        place.run()
        found = [text for text in told(place, ADMIN) if words in text]
        assert len(found) == 1, told(place, ADMIN)
        assert "«Звонок: Ромашка» по сделке «Ромашка»" in found[0] or "чек-лист" in found[0]


def test_a_refused_message_to_a_supervisor_is_in_the_log_and_the_admins_hear_of_it(tmp_path: Path) -> None:
    with office(tmp_path, ADVANCING) as place:
        place.portal.state.require_field("PREPARATION", "UF_CRM_ADDRESS")
        refuse(place, "im.message.add", "Chat is closed", code="ACCESS_DENIED")
        deal = place.add_deal()
        place.run()
        place.wait(minutes=5)
        place.portal.state.complete_task(place.tasks(deal)[0].id, by=SELLER)
        with structlog.testing.capture_logs() as logged:
            for _ in range(3):
                place.run()
        assert "Chat is closed" in [one["text"] for one in logged if one["event"] == "the portal refused"]
        (text,) = told(place, ADMIN)
        assert "it was not possible to deliver a message" in text
        assert "Chat is closed (ACCESS_DENIED)" in text


def test_a_refused_message_to_an_admin_makes_no_further_messages_and_stands_in_status(tmp_path: Path) -> None:
    with office(tmp_path, RULES.replace("admins: [1]", f"admins: [{HEAD}]")) as place:
        refuse(place, "im.message.add", "Chat is closed")
        refuse(place, "tasks.task.add", "No")
        place.add_deal()
        with structlog.testing.capture_logs() as logged:
            for _ in range(5):
                tick(place, hours=1, minutes=1)
        rows = place.context.store.operations(kind=Kind.MESSAGE)
        assert [row.state for row in rows] == [State.FAILED], "one try to say it, none about that"
        assert any(one.get("text") == "Chat is closed" for one in logged)
        settings = load_settings(place.environ, None)
        status = state_of_things(place.context.store, settings)
        assert status["unheard"][0]["user"] == HEAD
        assert "Chat is closed" in status["unheard"][0]["error"]


def test_moves_of_one_supervisors_deals_are_one_message_that_names_them(tmp_path: Path) -> None:
    with office(tmp_path, ADVANCING) as place:
        place.portal.state.require_field("PREPARATION", "UF_CRM_ADDRESS")
        deals = [place.add_deal(title) for title in ("Romashka", "Vasilek")]
        place.run()
        place.wait(minutes=5)
        for deal in deals:
            place.portal.state.complete_task(place.tasks(deal)[0].id, by=SELLER)
        place.run()
        place.run()
        (text,) = told(place, HEAD)
        assert "2 deals" in text
        assert "“Romashka”, “Vasilek”" in text
        assert "Презентация" in text


# --- tried again -----------------------------------------------------------------------------------------------------


def refused_deal(place: Office, stage: str = "PREPARATION") -> int:
    """A deal whose task the portal refused; from now on it refuses no more."""
    refuse(place, "tasks.task.add", "Field X is required", times=1)
    deal = place.add_deal(stage=stage)
    place.run()
    assert place.tasks(deal) == []
    return deal


def items(place: Office, deal: int) -> list[str]:
    """The check list of the deal's task."""
    (task,) = place.tasks(deal)
    return [one.title for one in task.checklist.values() if one.parent_id]


def test_release_makes_the_refused_task_with_its_check_list(tmp_path: Path) -> None:
    with office(tmp_path) as place:
        deal = refused_deal(place)
        place.wait(minutes=30)
        (line,) = held_back(place.context.store)
        assert (line["deal_id"], line["state"], line["why"]) == (deal, "failed", "Field X is required")
        account = changes.perform(place.context, "release", {})
        assert account["tried_again"] == 1
        assert place.marks(deal) == ["presentation"]
        assert items(place, deal) == ["Materials", "Time"]
        assert held_back(place.context.store) == []
        assert changes.perform(place.context, "release", {})["tried_again"] == 0
        place.run()
        assert len(place.tasks(deal)) == 1


def test_backfill_makes_it_and_a_dry_run_says_so(tmp_path: Path) -> None:
    with office(tmp_path) as place:
        deal = refused_deal(place)
        said = changes.perform(place.context, "backfill", {"dry_run": True})
        assert [one["deal_id"] for one in said["planned"]].count(deal) == 1
        assert place.tasks(deal) == []
        changes.perform(place.context, "backfill", {})
        assert place.marks(deal) == ["presentation"]


def test_a_new_rules_file_makes_it_with_the_text_that_it_has_now(tmp_path: Path) -> None:
    with office(tmp_path) as place:
        place.service.turn({"rules"}, wide=True)
        deal = refused_deal(place)
        place.service.turn({"rules"}, wide=True)
        place.service.turn(set(), wide=False)
        assert place.tasks(deal) == [], "the file is the same"
        place.rules.write_text(RULES.replace("title: Present", "title: Present it").replace("Time]", "Room, Time]"))
        place.service.turn({"rules"}, wide=False)
        place.service.turn({"poll"}, wide=False)
        assert [task.title for task in place.tasks(deal)] == ["Present it"]
        assert items(place, deal) == ["Materials", "Room", "Time"]


def test_a_file_that_was_edited_while_the_service_was_down_is_new_too(tmp_path: Path) -> None:
    with office(tmp_path) as place:
        place.service.turn({"rules"}, wide=True)
        deal = refused_deal(place)
        place.rules.write_text(RULES + "# seen\n")
        place.restart()
        place.service.turn(set(), wide=True)
        place.service.turn({"poll"}, wide=False)
        assert place.marks(deal) == ["presentation"]


def test_what_the_portal_made_though_it_refused_is_found_and_not_made_twice(tmp_path: Path) -> None:
    with office(tmp_path) as place:
        deal = refused_deal(place)
        (row,) = place.context.store.operations(state=State.FAILED)
        place.portal.state.add_task(
            "Present", responsible=SELLER, by=ADMIN, deals=[deal], xml_id=f"bitrix-sync:{row.operation.task}"
        )
        changes.perform(place.context, "release", {})
        assert len(place.tasks(deal)) == 1
        assert place.context.store.operations(keys=[row.operation.key])[0].state is State.DONE


def test_a_deal_that_went_on_or_a_rule_that_wants_it_no_more_makes_nothing(tmp_path: Path) -> None:
    with office(tmp_path) as place:
        gone_on, unwanted = refused_deal(place), refused_deal(place)
        place.wait(minutes=5)
        place.move(gone_on, "EXECUTING")
        place.run()
        text = RULES.replace(
            "        title: Present\n", "        title: Present\n        if: {OPPORTUNITY: {min: 10}}\n"
        )
        place.rules.write_text(text)
        place.context.rulebook.reload_if_changed()
        retries.after_new_rules(place.context)
        place.run()
        assert place.marks(gone_on) == []
        assert place.marks(unwanted) == []


def test_what_is_refused_again_is_told_again(tmp_path: Path) -> None:
    with office(tmp_path) as place:
        refused_deal(place)
        place.run()
        place.wait(hours=2)
        refuse(place, "tasks.task.add", "Field X is required")
        changes.perform(place.context, "release", {})
        tick(place, minutes=1)
        assert len(told(place, ADMIN)) == 2


def test_more_than_the_safety_limit_allows_is_held_here_too(tmp_path: Path) -> None:
    rules = RULES + "safety: {max_new_tasks: 3}\n"
    with office(tmp_path, rules) as place:
        refuse(place, "tasks.task.add", times=3)
        for _ in range(3):
            place.add_deal()
        place.run()
        place.wait(minutes=11)
        place.add_deal()
        place.run()
        place.rules.write_text(rules + "# new\n")
        place.context.rulebook.reload_if_changed()
        retries.after_new_rules(place.context)
        place.run()
        assert len(place.tasks()) == 3
        assert place.context.store.counts()[State.HELD] == 1


def test_a_refused_move_of_a_deal_is_tried_again(tmp_path: Path) -> None:
    with office(tmp_path, ADVANCING) as place:
        refuse(place, "crm.item.update", "Fill it", times=1)
        deal = place.add_deal()
        place.run()
        place.wait(minutes=5)
        place.portal.state.complete_task(place.tasks(deal)[0].id, by=SELLER)
        place.run()
        place.run()
        assert place.portal.state.deals[deal].stage_id == "NEW"
        assert changes.perform(place.context, "release", {})["tried_again"] == 1
        assert place.portal.state.deals[deal].stage_id == "PREPARATION"


def lines(place: Office, deal: int) -> list[str]:
    """What was written into the deal's tasks."""
    return [one.text for task in place.tasks(deal) for one in place.portal.state.messages_of_task(task.id)]


def try_again(place: Office) -> int:
    """``release``, an hour later; how much was tried again."""
    place.wait(hours=1)
    return int(changes.perform(place.context, "release", {})["tried_again"])


def test_a_refused_check_list_is_written_when_its_cause_is_gone(tmp_path: Path) -> None:
    with office(tmp_path) as place:
        refuse(place, "task.checklistitem.add", times=3)
        deal = place.add_deal(stage="PREPARATION")
        place.run()
        assert not place.tasks(deal)[0].checklist
        assert [line["state"] for line in held_back(place.context.store)] == ["failed"] * 3
        assert try_again(place) == 3
        assert items(place, deal) == ["Materials", "Time"]
        assert try_again(place) == 0


def test_a_single_item_of_a_check_list_is_too_and_no_second_check_list_for_it(tmp_path: Path) -> None:
    with office(tmp_path) as place:
        refuse(place, "task.checklistitem.add", times=1)
        deal = place.add_deal(stage="PREPARATION")
        place.run()
        titles = sorted(one.title for one in place.tasks(deal)[0].checklist.values())
        try_again(place)
        assert sorted(one.title for one in place.tasks(deal)[0].checklist.values()) == titles, "it has a list already"


@pytest.mark.parametrize("code", ["ERROR_CORE", ""])
def test_a_deadline_that_could_not_follow_is_not_said_to_have_and_does_when_its_cause_is_gone(
    tmp_path: Path, code: str
) -> None:
    with office(tmp_path, REFUSED % "keep") as place:
        deal = place.add_deal("Romashka")
        place.run()
        refuse(place, "tasks.task.update", times=1, code=code)
        place.wait(minutes=1)
        before = place.tasks(deal)[0].deadline
        place.portal.state.set_fields(deal, {"UF_CRM_SHIP_DATE": "2026-03-20"}, by=SELLER)
        place.run()
        place.run()
        assert (place.tasks(deal)[0].deadline, lines(place, deal)) == (before, [])
        assert try_again(place) == 1
        assert place.tasks(deal)[0].deadline > before
        assert len(lines(place, deal)) == 1
        assert try_again(place) == 0


def test_what_a_later_change_took_the_place_of_is_not_tried_again(tmp_path: Path) -> None:
    with office(tmp_path, REFUSED % "keep") as place:
        deal = place.add_deal("Romashka")
        place.run()
        refuse(place, "tasks.task.update", times=1)
        for day in ("2026-03-20", "2026-03-25"):
            place.wait(minutes=1)
            place.portal.state.set_fields(deal, {"UF_CRM_SHIP_DATE": day}, by=SELLER)
            place.run()
        after = place.tasks(deal)[0].deadline
        assert try_again(place) == 0
        assert place.tasks(deal)[0].deadline == after


@pytest.mark.parametrize("ending", ["complete", "defer", "delete"])
def test_an_ending_that_was_refused_comes_when_its_cause_is_gone(tmp_path: Path, ending: str) -> None:
    with office(tmp_path, REFUSED % ending) as place:
        deal = place.add_deal("Romashka")
        place.run()
        refuse(place, f"tasks.task.{ending}", times=1)
        place.wait(minutes=1)
        place.move(deal, "PREPARATION")
        place.run()
        place.run()
        assert place.tasks(deal)[0].status == 2
        assert try_again(place) == 1
        assert [one.status for one in place.tasks(deal)] == {"complete": [5], "defer": [6], "delete": []}[ending]


def test_a_task_that_could_not_follow_the_responsible_does_when_the_cause_is_gone(tmp_path: Path) -> None:
    with office(tmp_path, REFUSED % "keep") as place:
        deal = place.add_deal("Romashka")
        place.run()
        refuse(place, "tasks.task.update", times=1)
        place.wait(minutes=1)
        place.portal.state.set_responsible(deal, 21, by=HEAD)
        place.run()
        place.run()
        before = place.tasks(deal)[0]
        assert (before.responsible_id, before.auditors, lines(place, deal)) == (SELLER, (HEAD,), [])
        assert try_again(place) == 1
        after = place.tasks(deal)[0]
        assert (after.responsible_id, after.auditors) == (21, (19,)), "the head over the new one watches"
        assert len(lines(place, deal)) == 1


def test_remove_called_again_deletes_what_the_portal_would_not_delete(tmp_path: Path) -> None:
    with office(tmp_path) as place:
        deal = place.add_deal()
        place.run()
        refuse(place, "tasks.task.delete", times=1)
        args = {"rule": "first-call", "since": "2026-03-01"}
        assert len(changes.perform(place.context, "remove", args)["failed"]) == 1
        assert len(place.tasks(deal)) == 1
        assert len(changes.perform(place.context, "remove", args)["done"]) == 1
        assert place.tasks(deal) == []


def test_a_line_of_a_change_that_a_person_was_quicker_than_is_not_written(tmp_path: Path) -> None:
    with office(tmp_path, REFUSED % "keep") as place:
        deal = place.add_deal("Romashka")
        place.run()
        place.wait(minutes=1)
        place.portal.state.set_fields(deal, {"UF_CRM_SHIP_DATE": "2026-03-20"}, by=SELLER)
        take_in(place.context)
        place.portal.state.set_deadline(place.tasks(deal)[0].id, "2026-04-20T15:00:00+03:00", by=SELLER)
        carry_out(place.context)
        assert lines(place, deal) == []


def test_status_counts_refusals_of_the_day_by_cause(tmp_path: Path) -> None:
    with office(tmp_path) as place:
        refused_deal(place)
        settings = load_settings(place.environ, None)
        status = state_of_things(place.context.store, settings)
        assert status["refused"] == [
            {"kind": "task.create", "count": 1, "code": "ERROR_CORE", "text": "Field X is required"}
        ]
        assert status["tried_by_release"] == 1
        later = place.context.portal.now() + timedelta(days=2)  # operations are noted by the portal's time
        place.context.store.flags.last_pass = later
        assert state_of_things(place.context.store, settings)["refused"] == []


def test_refusals_of_the_time_before_they_were_told_are_no_news(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with sqlite3.connect(path) as connection:
        connection.executescript(RELEASE.read_text("utf-8"))
        connection.execute("UPDATE operations SET state = 'failed' WHERE kind IN ('task.line', 'message')")
    connection.close()
    with Store(f"sqlite:///{path}") as store:
        assert len(store.operations(state=State.FAILED)) > 1
        assert store.untold_failures() == []


# --- sweeps and messages ---------------------------------------------------------------------------------------------


def test_a_refused_move_of_a_sweep_and_a_refused_message_come_when_the_cause_is_gone(tmp_path: Path) -> None:
    with department(tmp_path) as place:
        task = place.task("Offer", MARIA, "2026-03-02 12:00")
        place.turn()
        refuse(place, "tasks.task.update")
        refuse(place, "im.message.add")
        slot = place.sweeps("18:30")
        place.turn()
        assert (place.due(task), place.heard(HEAD, slot)) == ("2026-03-02 12:00", "")
        place.portal.faults.clear()
        assert [one["sweep"] for one in held_back(place.store)] == [slot]
        assert changes.perform(place.context, "release", {})["tried_again"] >= 2
        place.turn()
        assert place.due(task) == "2026-03-03 18:00"
        assert "Offer" in place.heard(HEAD, slot)
        assert place.record(task).moves == 1
        assert changes.perform(place.context, "release", {})["tried_again"] == 0


def test_a_sweep_that_was_taken_back_is_not_tried_again_but_its_undoing_is(tmp_path: Path) -> None:
    with department(tmp_path) as place:
        refused, moved = (place.task(title, MARIA, "2026-03-02 12:00") for title in ("Refused", "Moved"))
        place.turn()
        place.portal.state.freeze_deadline(refused)
        slot = place.sweeps("18:30")
        place.portal.state.switches.frozen_deadlines.clear()
        refuse(place, "tasks.task.update")
        assert len(changes.perform(place.context, "undo", {"slot": slot})["failed"]) == 1
        place.portal.faults.clear()
        changes.perform(place.context, "release", {})
        assert (place.due(refused), place.due(moved)) == ("2026-03-02 12:00", "2026-03-02 12:00")
        assert place.record(moved).moves == 0
