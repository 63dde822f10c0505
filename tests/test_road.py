"""The whole road with real parts: a deal moves in the portal, its task appears there. Over HTTP, on a real store."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from bitrix_sync import app, report
from bitrix_sync.app import Service
from bitrix_sync.commands import changes
from bitrix_sync.decisions import schedule
from bitrix_sync.engine import sender
from bitrix_sync.engine.passes import take_in
from bitrix_sync.model.operations import State
from bitrix_sync.report import state_of_things
from bitrix_sync.settings import load_settings
from tests.world.company import at as utc
from tests.world.office import Office, office
from tests.world.sweeps import department


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Office]:
    with office(tmp_path) as found:
        yield found


def test_a_deal_enters_a_stage_and_its_task_is_in_the_portal(place: Office) -> None:
    deal = place.add_deal("Romashka")
    report = place.run()
    (task,) = place.tasks(deal)
    assert (report.visits, report.recorded) == (1, 1)
    assert task.title == "Call: Romashka"
    assert task.responsible_id == 5
    assert task.deadline == utc("2026-03-02 10:30")
    assert f"D_{deal}" in task.crm
    assert task.auditors, "the supervisor observes"


def test_a_moved_deal_gets_the_new_stages_task_with_its_check_list(place: Office) -> None:
    deal = place.add_deal()
    place.run()
    place.wait(minutes=1)
    place.move(deal, "PREPARATION")
    place.run()
    assert place.marks(deal) == ["first-call", "presentation"]
    task = place.tasks(deal)[-1]
    assert task.deadline == utc("2026-03-04 15:00")
    assert [(item.title, bool(item.parent_id)) for item in task.checklist.values()] == [
        ("Checklist", False),
        ("Materials", True),
        ("Time", True),
    ]


def test_a_quiet_portal_costs_one_request_a_pass(place: Office) -> None:
    place.run()
    place.wait(hours=1)
    place.run()
    before = place.service.portal.stats.requests
    place.run()
    assert place.service.portal.stats.requests - before == 1


def test_an_event_is_read_at_once_however_often_readings_led_to_nothing(place: Office) -> None:
    place.run()
    service = place.service
    at_once = schedule.gap(service.last, busy=False)
    for reason in ("poll", "ONCRMDEALUPDATE") * 5:
        service.last = replace(service.last, at=schedule.NEVER)
        service.turn({reason}, wide=False)
    assert schedule.gap(service.last, busy=False) == at_once <= 1.0
    assert schedule.gap(service.last, busy=True) > at_once, (
        "but a flood that means nothing leaves the budget to the writes"
    )


def test_writing_does_not_rest_until_events_may_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []
    with office(tmp_path, BITRIX_POLL_SECONDS="2") as place:
        place.run()
        deals = [place.add_deal() for _ in range(3)]
        take_in(place.context)
        service = place.service
        service.last = replace(service.last, at=service.portal.clock() - 1.0)
        monkeypatch.setattr(service.portal.rate_limiter, "rest", rests.append)
        service.turn({"ONCRMDEALUPDATE"}, wide=False)
        assert [place.marks(deal) for deal in deals] == [["first-call"]] * 3
        assert [rest for rest in rests if rest > 0] == []


def test_a_second_pass_makes_nothing_twice(place: Office) -> None:
    deal = place.add_deal()
    place.run()
    place.run()
    place.restart()
    place.run()
    assert place.marks(deal) == ["first-call"]


def test_a_deal_that_passed_three_stages_while_the_service_was_down_gets_the_tasks_of_all(place: Office) -> None:
    place.run()
    place.service.close()
    deal = place.add_deal()
    for stage in ("PREPARATION", "UC_OFFER1"):
        place.wait(minutes=20)
        place.move(deal, stage)
    place.wait(hours=2)
    place.start()
    place.run()
    assert sorted(place.marks(deal)) == ["ask", "first-call", "presentation"]


def test_the_first_start_decides_nothing_about_the_past_and_backfill_is_for_it(tmp_path: Path) -> None:
    with office(tmp_path) as place:
        place.run()
        assert place.tasks() == []
        dry = changes.perform(place.context, "backfill", {"dry_run": True})
        assert place.tasks() == []
        done = changes.perform(place.context, "backfill", {})
        assert len(dry["planned"]) == len(done["planned"]) == len(place.tasks()) > 0
        assert changes.perform(place.context, "backfill", {})["planned"] == []


def test_a_thousand_deals_at_once_make_a_thousand_tasks_with_few_requests(tmp_path: Path) -> None:
    with office(tmp_path, BITRIX_RATE="999/9999") as place:
        place.run()
        before = place.service.portal.stats.requests
        for number in range(1000):
            place.add_deal(f"Deal {number}")
        place.run()
        assert len(place.tasks()) == 1000
        assert len({task.xml_id for task in place.tasks()}) == 1000
        assert place.service.portal.stats.requests - before <= 30


def test_more_than_the_safety_limit_is_held_until_it_is_released(tmp_path: Path) -> None:
    from tests.world.office import RULES

    with office(tmp_path, RULES + "safety: {max_new_tasks: 3}\n") as place:
        place.run()
        for number in range(5):
            place.add_deal(f"Deal {number}")
        assert place.run().held == 2
        assert len(place.tasks()) == 3
        assert place.portal.state.notices_of(1), "the webhook's own user is the administrator here"
        changes.perform(place.context, "release", {})
        assert len(place.tasks()) == 5


def test_a_paused_service_reads_and_writes_nothing(place: Office) -> None:
    place.service.store.flags.paused = True
    deal = place.add_deal()
    place.run()
    assert place.tasks(deal) == []
    place.service.store.flags.paused = False
    place.run()
    assert place.marks(deal) == ["first-call"]


def test_a_watching_service_says_what_it_would_do_and_writes_nothing(tmp_path: Path) -> None:
    from tests.world.office import RULES

    with office(tmp_path, RULES + "safety: {watch: true}\n") as place:
        place.run()
        place.add_deal()
        assert [operation.kind.value for operation in place.run().watched] == ["task.create"]
        assert place.tasks() == []
        place.run()
        (line,) = report.REPORTS["trial"].rows(place.context.store, now=place.context.portal.now())
        assert (line["kind"], line["rule"], bool(line["title"] and line["owner"] and line["deadline"])) == (
            "task.create",
            "first-call",
            True,
        )
        place.rules.write_text(RULES, "utf-8")
        assert place.context.rulebook.reload_if_changed()
        assert report.REPORTS["trial"].rows(place.context.store, now=place.context.portal.now()) == []


def test_a_task_that_a_person_deleted_is_not_made_again(place: Office) -> None:
    deal = place.add_deal()
    place.run()
    place.portal.state.delete_task(place.tasks(deal)[0].id, by=5)
    place.run()
    place.restart()
    place.run()
    assert place.tasks(deal) == []


def test_a_deleted_deal_stops_nothing(place: Office) -> None:
    gone, stays = place.add_deal("Gone"), place.add_deal("Stays")
    place.portal.state.delete_deal(gone)
    place.run()
    assert place.marks(stays) == ["first-call"]


def test_a_restored_deal_gets_nothing_twice(place: Office) -> None:
    deal = place.add_deal()
    place.run()
    place.portal.state.delete_deal(deal)
    place.run()
    place.portal.state.restore_deal(deal)
    place.run()
    place.wait(hours=3)
    place.run()
    assert place.marks(deal) == ["first-call"]


def test_a_change_of_funnel_is_found_without_any_event(place: Office) -> None:
    deal = place.add_deal(stage="C5:NEW", funnel=5)
    place.run()
    assert place.tasks(deal) == []
    place.move(deal, "NEW")
    place.run()
    assert place.marks(deal) == ["first-call"]


def test_an_end_between_send_and_note_makes_no_second_task(place: Office) -> None:
    deal = place.add_deal()
    store = place.service.store

    class Killed(Exception):
        pass

    def kill(name: str) -> None:
        if name == "send:after":
            raise Killed

    before = sender.crash_point
    sender.crash_point = kill
    try:
        with pytest.raises(Killed):
            place.run()
    finally:
        sender.crash_point = before
    assert len(place.tasks(deal)) == 1
    assert store.counts()[State.UNKNOWN] == 1
    place.service.store.drop_lease(place.context.sender.epoch)
    place.start()
    place.run()
    assert place.marks(deal) == ["first-call"]
    assert State.UNKNOWN not in store.counts()
    assert store.task_records()[-1].portal_id == place.tasks(deal)[0].id


def test_what_a_killed_process_sent_counts_before_the_next_one_asks_anything(tmp_path: Path) -> None:
    with office(tmp_path, BITRIX_RATE="100/1000") as place:
        place.run()
        after = Service(load_settings(place.environ, None))
        after.prove()
        assert after.portal.rate_limiter.level > 500
        asked = after.portal.stats.requests
        assert after.take_lease()
        after.open()
        assert after.portal.stats.requests == asked, "what the start has read is not read twice"
        after.close()


def test_a_portal_that_hangs_does_not_keep_the_web_side_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "FIRST_ANSWER", 0.1)
    monkeypatch.setattr(app, "FIRST_PATIENCE", 0.0)
    with office(tmp_path) as place, socket.create_server(("127.0.0.1", 0)) as hanging:
        address = f"http://127.0.0.1:{hanging.getsockname()[1]}/rest/1/code/"
        service = Service(load_settings({**place.environ, "BITRIX_WEBHOOK_URL": address}, None))
        service.prove()
        assert "no answer within the time allowed" in service.health().reason
        service.close()


def test_only_one_process_writes(place: Office) -> None:
    other = Service(load_settings(place.environ, None))
    assert other.take_lease() or other.hold is None
    other.close()


def test_rules_are_loaded_again_and_a_bad_file_never_replaces_a_good_one(place: Office) -> None:
    book = place.context.rulebook
    good = place.rules.read_text(encoding="utf-8")
    place.rules.write_text("version: 1\nfunnels: nonsense\n", encoding="utf-8")
    assert not book.reload_if_changed()
    assert "rules.yaml:2" in book.error
    assert "first-call" in book.rules.by_id
    place.rules.write_text(good.replace("Call:", "Ring:") + "\n", encoding="utf-8")
    assert book.reload_if_changed()
    deal = place.add_deal("Romashka")
    place.run()
    assert place.tasks(deal)[0].title == "Ring: Romashka"


ENDINGS = """
version: 1
language: en
timezone: Europe/Moscow
calendar: {hours: "09:00-18:00"}
fallback_owner: 1
funnels:
  Продажи:
    Новая заявка:
      - {id: finish, title: Finish, deadline: {after: 1 workday}, on_leave: complete}
      - {id: rest, title: Rest, deadline: {after: 1 workday}, on_leave: defer}
      - {id: drop, title: Drop, deadline: {after: 1 workday}, on_leave: delete}
      - {id: keep, title: Keep, deadline: {after: 1 workday}}
"""


@pytest.mark.parametrize("started", [False, True])
def test_what_tasks_undergo_when_the_deal_leaves_the_stage(tmp_path: Path, started: bool) -> None:
    with office(tmp_path, ENDINGS) as place:
        deal = place.add_deal()
        place.run()
        if started:
            for task in place.tasks(deal):
                place.portal.state.start_task(task.id, by=5)
        place.wait(minutes=5)
        place.move(deal, "PREPARATION")
        place.run()
        statuses = {task.xml_id.split(":")[2]: task.status for task in place.tasks(deal)}
        assert statuses == {"finish": 5, "rest": 6, "keep": 3 if started else 2}


@pytest.mark.parametrize("deed", ["complete_task", "delete_task"])
def test_who_ends_a_task_a_moment_before_us_makes_nothing_fail(
    tmp_path: Path, deed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with office(tmp_path, ENDINGS) as place:
        deal = place.add_deal()
        place.run()
        place.wait(minutes=5)
        place.move(deal, "PREPARATION")

        def meanwhile(point: str) -> None:
            if point == "send:before":
                for task in place.tasks(deal):
                    getattr(place.portal.state, deed)(task.id, **({"by": 5} if deed == "complete_task" else {}))

        monkeypatch.setattr(sender, "crash_point", meanwhile)
        report = place.run()
        assert not report.applied.failed
        states = {row.state for row in place.service.store.operations() if row.operation.key.startswith("leave:")}
        assert states <= {State.DONE, State.DROPPED}
        assert states


def test_status_says_how_long_what_waits_will_take(tmp_path: Path) -> None:
    with department(tmp_path) as place:
        place.portal.limits.costs["tasks.task.add"] = 400.0
        deals = [place.add_deal(f"Deal {number}") for number in range(300)]
        place.turn()
        place.wait(seconds=6)
        place.turn()
        made = len(place.tasks())
        assert 100 < made < 125, "what fits into one window of operating time"
        told = state_of_things(place.store, place.service.settings)["rest"]
        assert told["operations"] == len(deals) - made
        left = datetime.fromisoformat(told["until"]) - place.portal.clock.now()
        assert timedelta(minutes=15) < left < timedelta(minutes=35)
        for _ in range(4):
            place.wait(minutes=10)
            place.turn()
        assert len(place.tasks()) == len(deals)
        place.wait(seconds=6)
        place.turn()
        assert state_of_things(place.store, place.service.settings)["rest"] is None


def test_a_deal_advances_when_its_tasks_are_done(tmp_path: Path) -> None:
    from tests.world.office import RULES

    rules = RULES.replace("    Новая заявка:\n", "    Новая заявка:\n      advance_to: Презентация\n      tasks:\n")
    rules = rules.replace("      - id: first-call\n        title", "        - id: first-call\n          title", 1)
    rules = rules.replace("        deadline: {after: 30 workminutes}", "          deadline: {after: 30 workminutes}")
    with office(tmp_path, rules) as place:
        deal = place.add_deal()
        place.run()
        place.wait(minutes=5)
        place.portal.state.complete_task(place.tasks(deal)[0].id, by=5)
        place.run()
        place.wait(seconds=2)
        place.run()
        assert place.portal.state.deals[deal].stage_id == "PREPARATION"
        assert place.marks(deal) == ["first-call", "presentation"]


def test_a_deadline_follows_its_field_and_the_task_says_why(tmp_path: Path) -> None:
    rules = ENDINGS + (
        "    Отгрузка:\n"
        "      - id: ship\n"
        "        title: Ship\n"
        "        deadline: {field: UF_CRM_SHIP_DATE, at: '12:00', else: {after: 10 workdays}}\n"
    )
    with office(tmp_path, rules) as place:
        deal = place.add_deal(stage="FINAL_INVOICE")
        place.run()
        (task,) = place.tasks(deal)
        assert task.deadline == utc("2026-03-16 18:00")
        place.wait(minutes=5)
        place.portal.state.set_fields(deal, {"UF_CRM_SHIP_DATE": "2026-03-12T15:00:00+03:00"}, by=5)
        place.run()
        assert place.tasks(deal)[0].deadline == utc("2026-03-12 12:00")
        assert "12 March" in place.portal.state.messages_of_task(task.id)[-1].text
        place.wait(minutes=5)
        place.portal.state.set_deadline(task.id, utc("2026-03-20 10:00"), by=5)
        place.run()
        place.wait(minutes=5)
        place.portal.state.set_fields(deal, {"UF_CRM_SHIP_DATE": "2026-03-13T15:00:00+03:00"}, by=5)
        place.run()
        assert place.tasks(deal)[0].deadline == utc("2026-03-20 10:00"), "a person's deadline is respected"


def test_open_tasks_follow_a_new_responsible_with_their_supervisor(place: Office) -> None:
    deal = place.add_deal()
    place.run()
    before = place.tasks(deal)[0].auditors
    place.wait(minutes=5)
    place.portal.state.set_responsible(deal, 9, by=1)
    place.run()
    (task,) = place.tasks(deal)
    assert task.responsible_id == 9
    assert task.auditors
    assert before


def test_check_lists_in_doubt_are_looked_up_together(place: Office) -> None:
    deals = [place.add_deal(f"Deal {number}") for number in range(20)]
    place.run()
    place.wait(minutes=5)
    for deal in deals:
        place.move(deal, "PREPARATION")
    place.portal.faults.next("empty_result", "tasks.task.add", times=20)
    before = place.service.portal.stats.requests
    place.run()
    assert place.service.portal.stats.requests - before < 20, "not one request for each item"
    lists = [sorted(item.title for item in (task.checklist or {}).values()) for task in place.tasks()]
    assert sum("Materials" in titles and "Time" in titles for titles in lists) == 20


def test_what_is_in_doubt_is_settled_though_a_reading_is_always_due(place: Office) -> None:
    deal = place.add_deal()
    take_in(place.context)
    place.portal.faults.next("cut_after", "tasks.task.add")
    sender.send(place.context.sender, sender.Applied())
    assert place.service.store.counts()[State.UNKNOWN] == 1
    place.run(interrupted=lambda: True)
    assert State.UNKNOWN not in place.service.store.counts()
    assert place.marks(deal) == ["first-call"]


def test_a_check_list_in_doubt_of_a_task_deleted_meanwhile_stops_nothing(tmp_path: Path) -> None:
    with office(tmp_path, BITRIX_SETTLE_SECONDS="65") as place:
        deal, other = place.add_deal(), place.add_deal()
        place.run()
        place.wait(minutes=5)
        place.move(deal, "PREPARATION")
        place.portal.faults.next("cut_after", "task.checklistitem.add", times=3)
        place.run()
        assert place.service.store.operations(state=State.UNKNOWN)
        place.portal.state.delete_task(place.tasks(deal)[-1].id, by=5)
        place.move(other, "PREPARATION")
        place.environ["BITRIX_SETTLE_SECONDS"] = "0"
        place.restart()
        place.run()
        assert place.marks(other) == ["first-call", "presentation"]
