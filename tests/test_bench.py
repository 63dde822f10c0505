"""The benchmark in small: what it counts (requests, losses) is the same on every machine; times are not tested."""

from __future__ import annotations

import pytest

from tests.bench import core, door, million
from tests.bench.__main__ import CONTENDERS, OURS, SCRIPTS, burst, idle, sweep


def test_many_deals_moved_at_once_cost_few_requests_and_none_is_refused() -> None:
    row = burst(OURS, 300)
    assert row.requests <= 1.25 * row.floor + 5
    assert (row.refused, row.lost, row.doubled) == (0, 0, 0)


def test_on_a_slow_portal_the_methods_own_limit_is_kept() -> None:
    row = burst(OURS, 1_500, quick=False)
    assert row.seconds > 480
    assert (row.refused, row.lost, row.doubled) == (0, 0, 0)


def test_with_faults_nothing_is_lost_or_doubled() -> None:
    row = burst(OURS, 200, faults=0.2, seed=4)
    assert (row.lost, row.doubled) == (0, 0)


def test_a_sweep_costs_little_more_than_its_writes() -> None:
    row = sweep(OURS, 300)
    assert row.requests <= row.floor + 20
    assert (row.refused, row.lost, row.doubled) == (0, 0, 0)


def test_while_nothing_happens_a_poll_is_one_request() -> None:
    row = idle(300)
    assert row.requests <= row.floor + 1


@pytest.mark.parametrize("name", [name for name in CONTENDERS if name != OURS])
def test_the_others_work_too(name: str) -> None:
    row = burst(name, 20)
    assert (row.refused, row.lost, row.doubled) == (0, 0, 0)


@pytest.mark.parametrize("name", [name for name in SCRIPTS if name != OURS])
def test_the_others_can_sweep_too(name: str) -> None:
    assert sweep(name, 10).doubled == 0


def test_an_event_burst_wakes_few_passes() -> None:
    found = door.measure(500, half_seconds=0.2)
    assert found["ready"]
    assert found["requests"] <= 5 + found["seconds"] * 2


def test_what_is_measured_alone_is_measured() -> None:
    assert core.measure_loading(40)["rules"] == 40
    assert core.measure_deciding(1_000, 200)["operations"] >= 1_000
    assert million.measure(400)["tasks"] == 400
