"""What the service's operator relies on: signals, a full disk, a locked or missing database, backups, two processes;
and that what was decided waits without harm while the world goes on."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bitrix_sync.operations import State
from tests.live import Office, office, utc
from tests.running import until
from tests.sweeping import DIRECTOR, HEAD, IGOR, MARIA, OLGA, Department, department
from tests.test_service import Town, portal_on_a_monday

ADVANCING = """
version: 1
language: en
timezone: Europe/Moscow
calendar: {hours: "09:00-18:00"}
fallback_owner: 1
funnels:
  Продажи:
    Новая заявка:
      advance_to: Презентация
      tasks:
        - {id: call, title: Call, deadline: {after: 1 workday}}
    Отгрузка:
      - id: ship
        title: Ship
        deadline: {field: UF_CRM_SHIP_DATE, at: "12:00", else: {after: 10 workdays}}
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Office]:
    with office(tmp_path, ADVANCING) as found:
        yield found


# --- what was decided waits ------------------------------------------------------------------------------------------


def test_a_move_decided_before_a_pause_does_not_pull_the_deal_back(place: Office) -> None:
    deal = place.add_deal()
    place.run()
    place.wait(minutes=5)
    place.portal.state.complete_task(place.tasks(deal)[0].id, by=5)
    place.desk.store.set_setting("paused", "1")
    place.run()
    place.wait(minutes=5)
    place.move(deal, "UC_OFFER1")
    place.desk.store.set_setting("paused", None)
    place.run()
    assert place.portal.state.deals[deal].stage_id == "UC_OFFER1"


def test_a_deadline_in_doubt_rests_so_that_it_cannot_undo_the_next_one(tmp_path: Path) -> None:
    with office(tmp_path, ADVANCING, BITRIX_SETTLE_SECONDS="65", BITRIX_RATE="99/999") as place:
        deal = place.add_deal(stage="FINAL_INVOICE")
        place.run()
        place.wait(minutes=5)
        place.portal.state.set_fields(deal, {"UF_CRM_SHIP_DATE": "2026-03-12T15:00:00+03:00"})
        place.portal.faults.next("late_commit", "tasks.task.update", seconds=30, hold=0.0)
        place.run()
        place.wait(seconds=10)
        place.portal.state.set_fields(deal, {"UF_CRM_SHIP_DATE": "2026-03-13T15:00:00+03:00"})
        place.run()
        assert place.desk.store.counts()[State.UNKNOWN] == 1
        place.wait(minutes=1)
        place.portal.settle()
        assert place.tasks(deal)[0].deadline == utc("2026-03-12 12:00"), "the first one came through late"
        place.environ["BITRIX_SETTLE_SECONDS"] = "0"
        place.restart()
        place.run()
        assert place.tasks(deal)[0].deadline == utc("2026-03-13 12:00")


def test_what_was_read_before_an_interruption_is_read_again_after_it(place: Office) -> None:
    deals = [place.add_deal(stage="FINAL_INVOICE") for _ in range(70)]
    place.run()
    place.wait(minutes=5)
    for deal in deals:
        place.portal.state.set_fields(deal, {"UF_CRM_SHIP_DATE": "2026-03-12T15:00:00+03:00"})
    batches = iter([False, True])
    place.run(interrupted=lambda: next(batches))
    late = [task for task in place.tasks() if task.deadline != utc("2026-03-12 12:00")]
    assert 0 < len(late) < len(deals)
    place.portal.state.set_deadline(late[0].id, utc("2026-03-05 11:00"), by=5)
    place.run()
    assert place.portal.state.tasks[late[0].id].deadline == utc("2026-03-05 11:00")
    assert {task.deadline for task in place.tasks() if task.id != late[0].id} == {utc("2026-03-12 12:00")}


# --- a backup is put back --------------------------------------------------------------------------------------------

BUSY = """
version: 1
language: en
timezone: Europe/Moscow
calendar: {hours: {mon-sun: "09:00-18:00"}}
admins: [1]
fallback_owner: 1
funnels:
  Продажи:
    Новая заявка:
      - id: call
        title: Call
        deadline: {after: 1 workday}
        checklist: [First, Second]
    Презентация:
      advance_to: КП отправлено
      tasks:
        - {id: show, title: Show, deadline: {after: 1 workday}}
    Согласование:
      - {id: ask, title: Ask, deadline: {after: 9 workdays}, repeat: if_none_open}
    Отгрузка:
      - id: ship
        title: Ship
        deadline: {field: UF_CRM_SHIP_DATE, at: "12:00", else: {after: 10 workdays}}
overdue:
  evening: {at: "18:30", move_to: {after: 1 workday}}
"""


def everything(place: Department) -> dict[str, list[Any]]:
    """All that people can see of what the service did; what the webhook's own user was told cannot be looked up."""
    state = place.portal.state
    return {
        "tasks": [(task.xml_id, task.deadline, task.responsible_id, task.status) for task in place.tasks()],
        "items": [sorted(item.title for item in (task.checklist or {}).values()) for task in place.tasks()],
        "lines": [[line.text for line in state.messages_of_task(task.id)] for task in place.tasks()],
        "stages": [(deal.id, deal.stage_id) for deal in state.deals.values()],
        "told": [(note.chat_id, note.text) for note in state.messages.values() if note.author_id == DIRECTOR],
    }


def test_a_backup_put_back_on_a_portal_that_went_on_doubles_nothing_and_loses_nothing(tmp_path: Path) -> None:
    with department(tmp_path, BUSY) as place:
        ships, shows = ([place.add_deal(stage=stage) for _ in range(4)] for stage in ("FINAL_INVOICE", "PREPARATION"))
        asked = place.add_deal(stage="PREPAYMENT_INVOICE")
        place.add_deal()
        place.turn()
        place.until("2026-03-03 18:05")
        place.turn()
        place.store.backup(tmp_path / "backup.db")

        place.portal.state.set_fields(ships[0], {"UF_CRM_SHIP_DATE": "2026-03-12T15:00:00+03:00"})
        place.portal.state.set_responsible(ships[1], OLGA)
        for stage in ("EXECUTING", "PREPAYMENT_INVOICE"):
            place.move(asked, stage)
        place.add_deal()
        place.portal.state.complete_task(place.tasks(shows[0])[0].id, by=MARIA)
        place.turn()
        slot = place.sweeps("18:31")
        assert place.heard(HEAD, slot)
        place.until("19:05")
        place.turn()
        before = everything(place)
        place.service.close()

        place.add_deal()
        (tmp_path / "backup.db").replace(tmp_path / "store.db")
        place.start()
        for _ in range(4):
            place.turn()
            place.wait(minutes=1)
        assert place.store.sweep(slot), "it was due while nobody worked, as far as the backup knows"
        after = everything(place)
        for name, seen in before.items():
            assert seen, name
            assert after[name][: len(seen)] == seen, name
        assert after["told"] == before["told"]
        (new,) = after["tasks"][len(before["tasks"]) :]
        assert new[0].endswith(":call"), "the deal that came while nobody worked"
        place.portal.state.set_responsible(ships[1], IGOR)
        place.turn()
        assert place.tasks(ships[1])[0].responsible_id == IGOR, (
            "the owner we had set is not taken for a person's choice"
        )


# --- as a process ----------------------------------------------------------------------------------------------------


@contextmanager
def full_disk(process: int = 0) -> Iterator[None]:
    """No file of a process (0: this one) can grow, as on a disk that is full."""
    usual = resource.prlimit(process, resource.RLIMIT_FSIZE)
    resource.prlimit(process, resource.RLIMIT_FSIZE, (8192, usual[1]))
    try:
        yield
    finally:
        resource.prlimit(process, resource.RLIMIT_FSIZE, usual)


def test_a_full_disk_is_told_in_a_line_and_survived(tmp_path: Path) -> None:
    with portal_on_a_monday() as portal:
        town = Town(tmp_path, portal)
        service = town.run(BITRIX_POLL_SECONDS="0.2").ready()
        assert service.process is not None
        with full_disk(service.process.pid):
            deals = [town.add_deal(f"Deal {number}") for number in range(5)]
            until(lambda: "database bitrix-sync.db: the disk" in service.why_not_ready)
        until(lambda: all(town.rules_of(deal) for deal in deals))
        service.ready()
        assert [town.rules_of(deal) for deal in deals] == [["first-call"]] * 5
        assert service.end() == 0
        assert service.said.count("cannot work") == 1
        assert "Traceback" not in service.said


def test_a_lease_that_cannot_be_noted_now_is_noted_later(place: Office) -> None:
    lease = place.service.store.lease()
    with full_disk():
        place.service.renew_lease()
    assert place.service.store.lease() == lease
    place.service.renew_lease()
    later = place.service.store.lease()
    assert lease is not None
    assert later is not None
    assert later.until > lease.until


def test_what_is_in_flight_at_the_end_is_in_doubt_and_made_once(tmp_path: Path) -> None:
    """The portal carries the creation out when nobody waits for the answer any more."""
    with portal_on_a_monday() as portal:
        town = Town(tmp_path, portal, BITRIX_POLL_SECONDS="0.2")
        service = town.run().ready()
        portal.faults.next("late_commit", "tasks.task.add", hold=60, seconds=30)
        deal = town.add_deal()
        until(lambda: portal.faults.struck)
        assert service.end() == 0
        assert town.rules_of(deal) == []
        portal.clock.advance(31)
        assert portal.settle()
        service.start()
        other = town.add_deal()
        until(lambda: town.rules_of(other))
        service.ready()
        assert town.rules_of(deal) == ["first-call"]
        assert service.end() == 0
        assert "Traceback" not in service.said
