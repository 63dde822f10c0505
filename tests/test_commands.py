"""Commands that change something: beside a running service, which then does the work, and alone; to the same effect."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from bitrix_sandbox.http.server import Sandbox
from bitrix_sandbox.state.clock import Clock
from bitrix_sandbox.state.task_records import Task
from bitrix_sync.store import Store
from tests.world.blank import blank_store
from tests.world.company import MONDAY
from tests.world.company import at as utc
from tests.world.office import RULES
from tests.world.process import Running, until
from tests.world.shell import Ran, Shell

SWEEPS = """
overdue:
  morning: {at: "09:00", move_to: {after: 0 workdays}}
  evening: {at: "18:30", move_to: {after: 1 workday}}
safety: {max_new_tasks: 20}
"""


class Place:
    """A portal, its rules, a shell; perhaps a service at work, that never polls and hears no event."""

    def __init__(self, folder: Path, portal: Sandbox, *, beside: bool) -> None:
        self.folder, self.portal = folder, portal
        (folder / "rules.yaml").write_text(RULES + SWEEPS, encoding="utf-8")
        environ = {
            "BITRIX_WEBHOOK_URL": portal.url,
            "BITRIX_POLL_SECONDS": "3600",
            "BITRIX_LISTEN": "127.0.0.1:0",
            "BITRIX_RATE": "100/1000",
        }
        self.shell = Shell(folder, environ)
        self.service = Running(folder, environ).ready() if beside else None
        if not beside:
            assert self.shell("sync").code == 0

    @property
    def store(self) -> Store:
        """The store, opened for a look."""
        return Store(blank_store(self.folder / "bitrix-sync.db"))

    def done(self, *words: str) -> Ran:
        """A command that must end well and say nothing on stderr."""
        ran = self.shell(*words)
        assert (ran.code, ran.err) == (0, ""), ran
        return ran

    def add_deal(self, title: str = "Romashka", stage: str = "NEW") -> int:
        """A person makes a deal."""
        return self.portal.state.add_deal(title, stage=stage, responsible=5, by=5)

    def tasks(self, deal: int) -> list[Task]:
        """The portal's tasks of a deal, by id."""
        with self.portal.state.lock:
            return [task for task in self.portal.state.tasks.values() if f"D_{deal}" in task.crm]

    def a_task(self) -> Task:
        """A deal in the first stage, with its task."""
        deal = self.add_deal()
        self.done("sync")
        (task,) = self.tasks(deal)
        return task

    def wait(self, **span: float) -> None:
        """Time passes in the portal."""
        self.portal.clock.advance(timedelta(**span))


@pytest.fixture(scope="module", params=["alone", "beside a running service"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with Sandbox(clock=Clock(MONDAY), rate=None) as portal:
        found = Place(tmp_path_factory.mktemp("place"), portal, beside=request.param != "alone")
        yield found
        if found.service is not None:
            assert found.service.end() == 0
            assert "Traceback" not in found.service.said


@pytest.fixture(autouse=True)
def _room_for_new_tasks(place: Place) -> None:
    """Eleven minutes later the safety limit has forgotten the tasks of the test before."""
    place.wait(minutes=11)


def test_sync_makes_the_task_and_says_so(place: Place) -> None:
    deal = place.add_deal("Lotos")
    ran = place.done("sync")
    assert [task.title for task in place.tasks(deal)] == ["Call: Lotos"]
    assert "Tasks made: 1 (deals: 1)" in ran.out
    assert "Call: Lotos" in ran.out
    assert place.done("sync", "--json").json["operations"] == 0


def test_backfill_makes_what_its_dry_run_said_and_nothing_twice(place: Place) -> None:
    said = place.done("backfill", "--dry-run", "--json").json["planned"]
    assert said
    assert not any(task.xml_id for one in said for task in place.tasks(one["deal_id"]))
    ran = place.done("backfill")
    assert all(one["title"] in ran.out and one["owner"] in ran.out for one in said)
    for one in said:
        assert [task.title for task in place.tasks(one["deal_id"]) if task.xml_id] == [one["title"]]
    assert place.done("backfill", "--json").json["planned"] == []


def test_a_sweep_is_done_once_and_can_be_undone(place: Place) -> None:
    task = place.a_task()
    before = task.deadline
    place.wait(hours=2)
    place.done("sync")  # so that a service that never polls learns the time
    assert task.title in place.done("sweep", "evening", "--dry-run").out
    assert task.deadline == before
    ran = place.done("sweep", "evening")
    assert task.deadline == utc("2026-03-03 18:00")
    assert task.title in ran.out
    assert "Tue 3 March 2026, 18:00" in ran.out
    assert "Deadlines moved: " in ran.out
    again = place.shell("sweep", "evening")
    assert (again.code, "was done already" in again.err) == (1, True)
    assert "2026-03-02/evening" in place.done("undo").out
    place.done("undo", "2026-03-02/evening")
    assert task.deadline == before
    assert "undone" in place.done("undo").out
    assert place.shell("undo", "2026-03-01/evening").code == 1


def test_a_sweep_that_was_undone_can_be_run_again_and_undone_again(place: Place) -> None:
    task = place.a_task()
    before = task.deadline
    place.wait(hours=2)
    place.done("sync")
    place.done("sweep", "morning")
    moved = task.deadline
    assert moved != before
    day = f"{place.portal.clock.now():%Y-%m-%d}"
    dry = place.done("undo", f"{day}/morning", "--dry-run", "--json").json
    (line,) = (line for line in dry["tasks"] if line["task_id"] == task.id)
    assert (dry["dry_run"], line["why"], task.deadline) == (True, "", moved)
    assert datetime.fromisoformat(line["to"]) == before
    assert place.done("undo", f"{day}/morning", "--json").json["put_back"] == dry["put_back"]
    assert task.deadline == before
    refused = place.shell("sweep", "morning")
    assert (refused.code, "sweep morning --again" in refused.err) == (1, True)
    ran = place.done("sweep", "morning", "--again", "--json").json
    assert (ran["sweep"], task.deadline) == (f"{day}/morning/2", moved)
    assert ran["moved"] >= dry["put_back"], "also what was put back before"
    assert place.shell("sweep", "morning", "--again").code == 1, "it is done"
    place.portal.state.set_deadline(task.id, before + timedelta(days=9), by=5)
    dry = place.done("undo", f"{day}/morning", "--dry-run", "--json").json
    (line,) = (line for line in dry["tasks"] if line["task_id"] == task.id)
    assert line["why"] == "a person has set another deadline"
    assert place.done("undo", f"{day}/morning", "--json").json["sweep"] == f"{day}/morning/2"
    assert task.deadline == before + timedelta(days=9)


@pytest.mark.parametrize("name", ["", "morning", "2026-03-12", "2026-03-12/morning/x", "2026-03-12/morning/0/1", "/"])
def test_what_names_no_sweep_is_not_undone(place: Place, name: str) -> None:
    ran = place.shell("undo", name, "--dry-run")
    assert (ran.code, "there was no sweep" in ran.err) == (1, True)


def test_backfill_takes_a_choice_and_refuses_what_is_unknown(place: Place) -> None:
    place.done("backfill")
    deal = place.add_deal("Chosen", "UC_OFFER1")
    place.done("sync")
    since = f"{place.portal.clock.now() - timedelta(minutes=1):%Y-%m-%dT%H:%M}"
    place.done("remove", "--rule", "ask", "--since", since)
    words = (
        "backfill",
        "--rule",
        "ask",
        "--stage",
        "КП отправлено",
        "--funnel",
        "0",
        "--deal",
        str(deal),
        "--from-now",
    )
    assert place.done(*words, "--json").json["planned"] == []
    dry = place.done(*words, "--again", "--dry-run", "--json").json["planned"]
    done = place.done(*words, "--again", "--json").json
    assert dry == done["planned"]
    assert [(one["deal_id"], one["rule"]) for one in dry] == [(deal, "ask")]
    assert len([task for task in place.tasks(deal) if task.xml_id]) == 1
    refused = place.shell("backfill", "--stage", "КП отправленно")
    assert (refused.code, "Did you mean `КП отправлено`?" in refused.err) == (1, True)


def test_remove_deletes_what_nobody_touched(place: Place) -> None:
    since = f"{place.portal.clock.now():%Y-%m-%dT%H:%M}"
    left, worked_at = place.add_deal("Left alone", "PREPARATION"), place.add_deal("Worked at", "PREPARATION")
    place.done("sync")
    place.portal.state.start_task(place.tasks(worked_at)[0].id, by=5)
    words = ("remove", "--rule", "presentation", "--since", since)
    assert place.done(*words, "--dry-run", "--json").json["delete"][0]["deal_id"] == left
    assert len(place.tasks(left)) == 1
    assert "keep" in place.done(*words).out
    assert (len(place.tasks(left)), len(place.tasks(worked_at))) == (0, 1)
    place.done("sync")
    assert place.tasks(left) == [], "what was removed is not made again"


def test_remove_of_a_rule_that_never_was_says_so(place: Place) -> None:
    ran = place.shell("remove", "--rule", "presentaton", "--since", "2026-03-02", "--dry-run")
    assert (ran.code, "Did you mean `presentation`?" in ran.err) == (1, True)


def test_what_is_no_date_is_refused_and_nothing_stops(place: Place) -> None:
    ran = place.shell("remove", "--rule", "first-call", "--since", "yesterday")
    assert (ran.code, "2026-03-12" in ran.err, "Traceback" in ran.err) == (1, True, False)
    assert place.a_task()


def test_what_the_safety_limit_holds_back_is_listed_and_released(place: Place) -> None:
    deals = [place.add_deal(f"Deal {number}") for number in range(25)]
    assert place.done("sync", "--json").json["held"] == 5
    assert sum(bool(place.tasks(deal)) for deal in deals) == 20
    assert len(place.done("held", "--json").json) == 5
    assert "Released: 5" in place.done("release").out
    assert all(len(place.tasks(deal)) == 1 for deal in deals)
    assert place.done("held", "--json").json == []


def test_paused_it_reads_and_writes_nothing_until_it_is_resumed(place: Place) -> None:
    place.done("pause")
    deal = place.add_deal()
    assert place.done("sync", "--json").json["visits"] == 1
    assert place.tasks(deal) == []
    assert place.done("status", "--json").json["paused"]
    place.done("resume")
    place.done("sync")
    assert len(place.tasks(deal)) == 1


def test_a_backup_is_a_whole_store(place: Place) -> None:
    task = place.a_task()
    place.done("backup", "copy.db")
    with closing(place.store) as ours, closing(Store(blank_store(place.folder / "copy.db"))) as copy:
        assert copy.cursor() == ours.cursor()
        assert [record.portal_id for record in copy.open_tasks()].count(task.id) == 1


def test_status_tells_who_works(place: Place) -> None:
    holder = place.done("status", "--json").json["holder"]
    assert (holder is not None) == (place.service is not None)


def test_a_command_whose_service_is_killed_does_it_itself(place: Place) -> None:
    if place.service is None or place.service.process is None:
        pytest.skip("there is no service to be killed")
    deal = place.add_deal()
    place.service.process.send_signal(signal.SIGSTOP)
    with closing(place.store) as store:
        free = next(number for number in count(1) if store.request(number) is None)
        command = Running(place.folder, place.shell.environ, "sync")
        until(lambda: store.request(free))
    place.service.kill()
    assert command.wait() == 0, command.said
    assert len(place.tasks(deal)) == 1
    place.service.start()
    place.service.ready()
