"""The nightly recheck: what slipped through is found, what vanished is noted, twins are removed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, timedelta
from pathlib import Path

import pytest

from bitrix_sync.app import Service
from bitrix_sync.engine.recheck import KEEP, PAST
from bitrix_sync.model.actions import CreateTask, Kind
from bitrix_sync.model.operations import State
from bitrix_sync.settings import load_settings
from bitrix_sync.store import schema
from bitrix_sync.store.database import upsert
from tests.world.sweeps import DIRECTOR, MARIA, RULES, Department, department


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Department]:
    with department(
        tmp_path, RULES.replace("{after: 2 workhours}", "{after: 2 workhours}\n        checklist: [Ask]")
    ) as found:
        yield found


def twice(place: Department) -> tuple[int, list[int]]:
    """A deal whose task came to the portal twice: the first send ran minutes after everybody had given it up. The deal
    and both tasks."""
    place.portal.faults.next("late_commit", "tasks.task.add", seconds=200, hold=0.0)
    deal = place.add_deal("Romashka")
    place.turn()
    place.wait(seconds=100)
    place.turn()
    assert len(place.tasks(deal)) == 1
    place.wait(seconds=150)
    assert place.portal.settle()
    return deal, [task.id for task in place.tasks(deal)]


def test_of_two_tasks_with_one_mark_the_one_that_nobody_knows_goes(place: Department) -> None:
    deal, (ours, twin) = twice(place)
    assert place.record(ours).occurrence
    place.wait(minutes=4)
    place.turn()
    assert [task.id for task in place.tasks(deal)] == [ours]
    assert not place.record(ours).gone
    assert place.store.task_records(portal_ids=[twin])[0].gone
    assert place.mail(DIRECTOR) == []


def test_a_twin_that_somebody_works_with_is_left_and_told_to_the_admins(place: Department) -> None:
    deal, both = twice(place)
    place.portal.state.start_task(both[1], by=MARIA)
    place.wait(minutes=4)
    place.turn()
    place.turn()
    assert [task.id for task in place.tasks(deal)] == both
    (notice,) = place.mail(DIRECTOR)
    assert f"No. {both[1]}" in notice


@pytest.mark.parametrize(("by", "minutes"), [(MARIA, 1), (DIRECTOR, 12)])
def test_a_copy_that_a_person_made_with_its_mark_is_no_twin_of_ours(place: Department, by: int, minutes: int) -> None:
    deal, (ours, twin) = twice(place)
    place.portal.state.delete_task(twin)
    task = place.portal.state.tasks[ours]
    place.wait(minutes=minutes)
    copy = place.portal.state.add_task(task.title, responsible=MARIA, by=by, deals=[deal], xml_id=task.xml_id)
    place.until("2026-03-03 03:10")
    place.turn()
    place.turn()
    assert [one.id for one in place.tasks(deal)] == [ours, copy]
    assert place.record(ours).occurrence


def test_the_night_looks_for_twins_once_more(place: Department) -> None:
    deal, (ours, twin) = twice(place)
    place.portal.state.hide_task(twin)
    place.wait(minutes=4)
    place.turn()
    place.portal.state.show_task(twin)
    place.until("2026-03-03 03:10")
    place.turn()
    assert [task.id for task in place.tasks(deal)] == [ours]


def set_back(place: Department, behind: timedelta) -> None:
    """A new process, on a machine whose clock is behind."""
    place.die()
    place.service = Service(
        load_settings(place.environ, None),
        clock=lambda: place.portal.clock.now().astimezone(UTC) - behind,
        sleep=place.rest,
    )
    assert place.service.take_lease()
    place.context = place.service.open()


def test_the_night_looks_for_twins_though_our_clock_is_days_behind(place: Department) -> None:
    set_back(place, timedelta(days=3))
    test_the_night_looks_for_twins_once_more(place)


@pytest.mark.parametrize("behind", [timedelta(minutes=55), timedelta(days=3), timedelta(days=20_000)], ids=str)
def test_what_we_wrote_is_known_by_the_portals_clock(place: Department, behind: timedelta) -> None:
    set_back(place, behind)
    deal = place.add_deal("Romashka")
    place.turn()
    (task,) = place.tasks(deal)
    (written,) = place.store.last_writes([place.record(task.id).ref]).values()
    assert timedelta() <= place.portal.clock.now() - written < timedelta(minutes=5)
    place.store.prune(place.portal.clock.now() - KEEP, past_before=place.portal.clock.now() - PAST)
    (made,) = place.store.operations(deal_id=deal, kind=Kind.CREATE)
    assert isinstance(made.operation.action, CreateTask)
    assert made.operation.action.title == task.title


def test_a_night_that_a_wrong_clock_told_keeps_no_other_from_being_read(place: Department) -> None:
    place.turn()
    place.store.flags.rechecked = date(2031, 1, 1)
    place.until("2026-03-03 03:10")
    place.turn()
    assert place.store.flags.rechecked == date(2026, 3, 3)


def test_the_recheck_runs_once_a_night_and_finds_a_visit_that_became_visible_late(place: Department) -> None:
    place.turn()
    place.portal.state.switches.history_late_every = 1
    place.portal.state.switches.history_late_seconds = 6 * 3600
    place.until("23:00")
    deal = place.add_deal("Late")
    for minute in (1, 20, 59):
        place.until(f"23:{minute:02}")
        place.turn()
    assert place.marks(deal) == []
    place.until("2026-03-03 05:30")
    place.turn()
    place.turn()
    assert place.marks(deal) == ["first-call"]
    assert str(place.store.flags.rechecked) == "2026-03-03"
    calls = place.portal.calls["crm.stagehistory.list"]
    place.until("06:00")
    place.turn()
    assert place.portal.calls["crm.stagehistory.list"] - calls <= 1, "the reading of the pass alone"


def test_the_night_that_version_0_1_read_is_not_read_again(place: Department) -> None:
    place.turn()
    place.until("2026-03-03 05:30")
    with place.store.writing("test") as connection:
        upsert(connection, schema.settings, [{"name": "audited", "value": "2026-03-03"}])
    calls = place.portal.calls["crm.stagehistory.list"]
    place.turn()
    assert str(place.store.flags.rechecked) == "2026-03-03"
    assert place.portal.calls["crm.stagehistory.list"] - calls <= 1, "the reading of the pass alone"


def test_what_vanished_is_gone_and_holds_nothing_up(place: Department) -> None:
    deal = place.add_deal("Romashka")
    place.turn()
    (task,) = place.tasks(deal)
    place.portal.state.delete_task(task.id)
    place.until("2026-03-03 03:10")
    place.turn()
    assert place.record(task.id).gone
    assert place.store.operations(state=State.PLANNED) == []
