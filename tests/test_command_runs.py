"""Commands that take long: beside a running service, which goes on with its work, and after it has ended."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bitrix_sandbox.http.server import Sandbox
from bitrix_sandbox.state.clock import Clock
from bitrix_sync.commands import changes, runs
from bitrix_sync.engine import sender
from bitrix_sync.errors import PortalError
from bitrix_sync.model.actions import Kind
from bitrix_sync.model.operations import State
from tests.world.company import MONDAY
from tests.world.office import RULES, Office
from tests.world.process import Running, until

MANY = 200


def with_tasks(portal: Sandbox, deals: Iterable[int]) -> int:
    """How many of the deals have a task of ours."""
    with portal.state.lock:
        crm = {name for task in portal.state.tasks.values() if task.xml_id for name in task.crm}
    return sum(f"D_{deal}" in crm for deal in deals)


def test_a_deal_that_comes_during_a_backfill_does_not_wait_for_its_end(tmp_path: Path) -> None:
    with Sandbox(clock=Clock(MONDAY), rate=None) as portal:
        old = [portal.state.add_deal(f"Deal {number}", stage="NEW", responsible=5, by=5) for number in range(MANY)]
        (tmp_path / "rules.yaml").write_text(RULES, encoding="utf-8")
        environ = {
            "BITRIX_WEBHOOK_URL": portal.url,
            "BITRIX_POLL_SECONDS": "2",
            "BITRIX_LISTEN": "127.0.0.1:0",
            "BITRIX_RATE": "2/5",
        }
        service = Running(tmp_path, environ).ready()
        command = Running(tmp_path, environ, "backfill", "--json")
        until(lambda: with_tasks(portal, old))
        new = portal.state.add_deal("Romashka", stage="PREPARATION", responsible=5, by=5)

        def has_its_task() -> int:
            assert service.why_not_ready == ""
            return with_tasks(portal, [new])

        until(has_its_task)
        assert command.wait() == 0, command.said
        assert with_tasks(portal, old) == MANY, "the command waits for what it planned"
        last = max(portal.state.tasks.values(), key=lambda task: task.id)
        assert f"D_{new}" not in last.crm, "the new deal came before the last of the old ones"
        assert {one["deal_id"] for one in json.loads(command.out.read_text("utf-8"))["planned"]} >= set(old)
        assert service.end() == 0


# --- step by step ----------------------------------------------------------------------------------------------------


@contextmanager
def backlog(folder: Path, rules: str = RULES) -> Iterator[tuple[Office, list[int]]]:
    """A service that begins beside thirty deals without tasks."""
    with Sandbox(clock=Clock(MONDAY), rate=None) as portal:
        old = [portal.state.add_deal(f"Deal {number}", stage="NEW", responsible=5, by=5) for number in range(30)]
        place = Office(portal, folder, rules, BITRIX_RATE="100/1000")
        turn(place)
        yield place, old
        place.close()


def ask(place: Office, kind: str, **args: object) -> int:
    """A command in another process asks."""
    return place.service.store.ask(kind, args, now=place.service.clock())


def turn(place: Office) -> None:
    """The service's worker takes a turn."""
    place.service.turn(set(), wide=False)


def test_what_is_new_is_more_urgent_than_what_a_backfill_or_a_release_makes(tmp_path: Path) -> None:
    with backlog(tmp_path, RULES + "safety: {max_new_tasks: 20}\n") as (place, _):
        changes.perform(place.context, "backfill", {})
        place.wait(minutes=11)
        new = place.add_deal(stage="PREPARATION")
        place.run()
        rows = place.service.store.operations(kind=Kind.CREATE)
        (fresh,) = (row.operation.urgency for row in rows if row.operation.deal_id == new)
        assert fresh < min(row.operation.urgency for row in rows if row.operation.deal_id != new)
        for number in range(25):
            place.add_deal(f"Deal {number}")
        assert place.run().held
        held = {row.id for row in place.service.store.operations(state=State.HELD)}
        changes.perform(place.context, "release", {})
        released = place.service.store.operations(ids=held)
        assert {row.state for row in released} == {State.DONE}
        assert fresh < min(row.operation.urgency for row in released)


def test_a_dry_run_of_a_backfill_holds_what_the_backfill_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "CHUNK", 7)
    with backlog(tmp_path, RULES + "safety: {max_new_tasks: 20}\n") as (place, old):
        dry = changes.perform(place.context, "backfill", {"dry_run": True})
        done = changes.perform(place.context, "backfill", {})
        assert dry["held"] == done["held"] >= len(old) - 20
        assert dry["planned"] == done["planned"]
        assert sum(one["held"] for one in dry["planned"]) == dry["held"]


def test_a_command_is_answered_when_nothing_more_can_be_written_now(tmp_path: Path) -> None:
    with backlog(tmp_path) as (place, _):
        number = ask(place, "backfill")
        place.service.store.flags.paused = True
        for _ in range(2):
            turn(place)
        request = place.service.store.request(number)
        assert request is not None
        assert request.ok
        assert request.result["waiting"] >= len(request.result["planned"]) > 0
        assert request.result["done"] == []


class Cut(BaseException):
    """The process is gone, or its line."""


def ask_and_be_cut(place: Office, monkeypatch: pytest.MonkeyPatch) -> int:
    """The number of a backfill that was under way when everything ended, after one batch."""
    number = ask(place, "backfill")
    cut_after(monkeypatch, 1)
    with pytest.raises(Cut):
        turns(place)
    monkeypatch.undo()
    return number


def test_what_a_killed_service_left_of_a_command_is_done_and_all_of_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with backlog(tmp_path) as (place, old):
        number = ask_and_be_cut(place, monkeypatch)
        place.restart()
        runs.finish(place.context, number, changes.steps)
        request = place.service.store.request(number)
        assert request is not None
        assert request.ok
        assert {one["deal_id"] for one in request.result["planned"]} >= set(old)
        assert sum(one["kind"] == Kind.CREATE for one in request.result["done"]) == len(request.result["planned"])
        assert with_tasks(place.portal, old) == 30


def test_who_waits_hears_of_trouble_and_what_was_planned_is_done_nevertheless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with backlog(tmp_path) as (place, old):
        number = ask_and_be_cut(place, monkeypatch)
        monkeypatch.setattr(place.service.portal.rate_limiter, "rest", lambda seconds: None)
        place.service.suffer(PortalError("the line was cut"))
        request = place.service.store.request(number)
        assert request is not None
        assert (request.ok, request.result["exit"]) == (False, 3)
        assert request.result["error"].startswith("the line was cut; what was planned is kept")
        place.service.store.settle_at_start(place.service.clock())
        turn(place)
        assert with_tasks(place.portal, old) == 30


def cut_after(monkeypatch: pytest.MonkeyPatch, sends: int) -> None:
    """After so many batches more the next one arrives, and nobody hears."""
    left = [sends]

    def cut(point: str) -> None:
        if point == "send:after":
            left[0] -= 1
            if left[0] < 0:
                raise Cut

    monkeypatch.setattr(sender, "crash_point", cut)


def turns(place: Office) -> None:
    """Turns of the worker, more than a command needs."""
    for _ in range(20):
        turn(place)
