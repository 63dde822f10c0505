"""Workers of a fleet: who gets which portal, when a worker may send, what it leaves to others. The long plays are in
``tests/fleet`` (``make fleet``)."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bitrix_sync.errors import LeaseLost
from bitrix_sync.fleet.beats import Beats, ServerTime, WorkerHold
from bitrix_sync.fleet.queue import preferred
from bitrix_sync.fleet.service import SPREAD, delay_of
from bitrix_sync.fleet.worker import clock_fault
from bitrix_sync.store.workers import Beat, WorkerRow
from tests import postgres
from tests.fleet.fleet import Fleet, fleet
from tests.world.process import until

on_server = pytest.mark.skipif(not postgres.server(), reason="needs a PostgreSQL server: make test-postgres")
ROW = WorkerRow("w1", 0, "here", 1, "0.2.0", 16)
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


# --- who gets which --------------------------------------------------------------------------------------------------


def test_portals_are_spread_evenly_and_everybody_says_the_same() -> None:
    workers = ["a", "b", "c"]
    found = {portal: preferred(portal, workers) for portal in range(1000)}
    assert found == {portal: preferred(portal, workers[::-1]) for portal in range(1000)}
    assert max(Counter(found.values()).values()) < 1.3 * min(Counter(found.values()).values())


def test_when_a_worker_goes_only_its_portals_change_hands() -> None:
    before = {portal: preferred(portal, ["a", "b", "c"]) for portal in range(1000)}
    after = {portal: preferred(portal, ["a", "c"]) for portal in range(1000)}
    assert {before[portal] for portal in before if before[portal] != after[portal]} == {"b"}


def test_without_workers_a_turn_is_anybodys() -> None:
    assert preferred(1, []) is None


def test_sweeps_that_are_due_together_begin_within_two_minutes() -> None:
    delays = [delay_of(number) for number in range(1000)]
    assert (min(delays), max(delays)) == (0, SPREAD - 1)
    assert delays == [delay_of(number) for number in range(1000)]


# --- beats -----------------------------------------------------------------------------------------------------------


class Table:
    """Answers to beats, by a clock of the test's."""

    def __init__(self) -> None:
        self.beats: list[WorkerRow] = []
        self.known = True

    def beat(self, row: WorkerRow) -> Beat:
        self.beats.append(row)
        return Beat(NOON, self.known, "0005")


@pytest.fixture
def table() -> Table:
    return Table()


def beats_of(table: Table, steady: list[float], unknown: list[int]) -> Beats:
    made = Beats(table, ROW, lost=5.0, unknown=lambda: unknown.append(1))  # type: ignore[arg-type]
    made._steady = lambda: steady[0]
    made.time = ServerTime(made._steady)
    return made


def test_a_worker_sends_only_as_long_as_its_last_beat_is_sure(table: Table) -> None:
    steady = [1000.0]
    beats = beats_of(table, steady, [])
    with pytest.raises(LeaseLost):
        beats.require(beats.generation)
    beats.register(7)
    hold = WorkerHold(3, beats, beats.generation)
    steady[0] += 3.9
    hold.require()
    steady[0] += 0.1
    with pytest.raises(LeaseLost):
        hold.require()


def test_a_beat_that_comes_too_late_ends_for_good_what_was_begun_before(table: Table) -> None:
    steady = [1000.0]
    beats = beats_of(table, steady, [])
    beats.register(7)
    hold = WorkerHold(3, beats, beats.generation)
    steady[0] += 30
    beats.beat()
    with pytest.raises(LeaseLost):
        hold.require()
    WorkerHold(3, beats, beats.generation).require()


def test_a_number_that_the_queue_has_forgotten_is_given_up(table: Table) -> None:
    unknown: list[int] = []
    beats = beats_of(table, [1000.0], unknown)
    beats.register(7)
    table.known = False
    beats.beat()
    assert unknown == [1]


def test_who_is_about_to_end_takes_no_more_turns(table: Table) -> None:
    beats = beats_of(table, [1000.0], [])
    beats.register(7)
    beats.leave()
    beats.beat()
    assert [row.threads for row in table.beats] == [16, 0]


def test_the_databases_time_never_goes_back() -> None:
    steady = [100.0]
    server = ServerTime(lambda: steady[0])
    server.learn(NOON, 99.0, 101.0)
    assert server.seconds() == NOON.timestamp()
    server.learn(NOON - timedelta(seconds=5), 99.9, 100.1)  # a sharper look, at a server whose clock was put back
    assert server.seconds() == NOON.timestamp()
    steady[0] += 6
    assert server.seconds() == NOON.timestamp() + 1


@pytest.mark.parametrize(("ahead", "said"), [(45.2, "45 s ahead of"), (-31.0, "31 s behind")])
def test_a_clock_that_is_far_off_is_told_with_its_cure(ahead: float, said: str) -> None:
    assert said in clock_fault(ahead)
    assert "NTP" in clock_fault(ahead)


# --- together --------------------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Fleet]:
    with fleet(tmp_path, postgres.database_at(tmp_path), ["north", "south"], BITRIX_POLL_SECONDS="2") as made:
        yield made


@on_server
def test_two_workers_serve_and_one_takes_over_from_the_other(place: Fleet) -> None:
    north, south = place.members.values()
    workers = [place.worker(), place.worker()]
    until(place.served)
    for one in (north, south):
        one.add_deal()
    place.ring()
    until(lambda: not north.lost and not south.lost)
    code, overview = place.command("fleet", "--json")
    assert code == 0
    assert '"served": 2' in overview
    workers[0].kill()
    os.kill(workers[1].process.pid, signal.SIGTERM)  # type: ignore[union-attr]
    assert workers[1].wait() == 0, workers[1].said
    place.worker()
    for one in (north, south):
        one.add_deal()
    place.ring()
    until(lambda: not north.lost and not south.lost)
    assert (north.doubled, south.doubled) == (set(), set())


@on_server
def test_a_command_is_carried_out_by_workers_and_here_where_there_is_none(place: Fleet) -> None:
    north, _ = place.members.values()
    code, said = place.command("sync", "--portal", "north")
    assert code == 0, said
    assert place.rows()["north"].seen_ok is not None
    place.worker()
    until(place.served)
    code, said = place.command("pause", "--portal", "north")
    assert code == 0, said
    assert place.command("portal", "disable", "south")[0] == 0
    code, said = place.command("sync", "--portal", "south")
    assert code == 1
    assert "portal south: is disabled; first `bitrix-sync portal enable south`" in said
    assert north.number


@on_server
def test_other_rules_are_in_force_soon_and_wrong_ones_never(place: Fleet) -> None:
    north, _ = place.members.values()
    place.worker()
    until(place.served)
    number = north.number
    rules = place.rows()["north"].rules
    place.portals.change(number, by="a test", rules=rules.replace("title: Note", "title: Another note"))
    until(lambda: place.rows()["north"].due is not None)
    north.add_deal()
    place.ring(north)
    until(lambda: not north.lost)
    with north.portal.state.lock:
        assert "Another note" in {task.title for task in north.portal.state.tasks.values()}
