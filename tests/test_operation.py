"""What the service's operator relies on: signals, a full disk, a locked or missing database, backups, two processes;
and that what was decided waits without harm while the world goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bitrix_sync.operations import State
from tests.live import Office, office, utc

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
    with office(tmp_path, ADVANCING, BITRIX_SETTLE_SECONDS="65") as place:
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
