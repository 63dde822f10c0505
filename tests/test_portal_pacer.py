"""The pace: never above the portal's bucket, never a call of a method that rests."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitrix_sync.portal.pacer import Pacer, Stopped


class FakeClock:
    def __init__(self, now: float = 1_766_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Bucket:
    """The portal's own counter: it falls by ``rate`` once a second, as the documentation has it, or evenly."""

    def __init__(self, rate: float, size: float, clock: FakeClock, *, stepwise: bool) -> None:
        self.rate, self.size, self.clock, self.stepwise = rate, size, clock, stepwise
        self.level, self.at = 0.0, clock()

    def arrive(self) -> bool:
        passed = self.clock() - self.at
        if self.stepwise:
            passed = float(int(passed))
        self.level = max(0.0, self.level - passed * self.rate) + 1
        self.at += passed
        return self.level <= self.size + 1e-6


def paced(rate: float = 2.0, size: int = 50) -> tuple[Pacer, FakeClock]:
    clock = FakeClock()
    return Pacer(rate, size, clock=clock, sleep=clock.sleep), clock


def test_a_burst_goes_at_once_and_the_rest_at_the_rate() -> None:
    pacer, clock = paced()
    begun = clock()
    for _ in range(47):
        pacer.wait()
    assert clock() == begun
    for _ in range(100):
        pacer.wait()
    assert clock() - begun == pytest.approx(50, rel=0.004)


def test_after_a_rest_the_bucket_is_empty_again() -> None:
    pacer, clock = paced()
    for _ in range(60):
        pacer.wait()
    clock.now += 25
    begun = clock()
    for _ in range(47):
        pacer.wait()
    assert clock() == begun


@given(
    st.lists(st.floats(0, 5), min_size=1, max_size=150),
    st.sampled_from([(2.0, 50), (5.0, 250), (2.0, 5), (0.5, 10)]),
    st.booleans(),
    st.floats(0, 1),
)
@settings(max_examples=100, deadline=None)
def test_the_portal_never_has_to_refuse(
    pauses: list[float], limits: tuple[float, int], stepwise: bool, phase: float
) -> None:
    pacer, clock = paced(*limits)
    bucket = Bucket(limits[0], limits[1], clock, stepwise=stepwise)
    clock.now += phase
    for pause in pauses:
        clock.now += pause if pause > 4 else 0
        pacer.wait()
        assert bucket.arrive()


def test_requests_that_arrive_closer_than_they_left_do_not_overflow() -> None:
    pacer, clock = paced()
    bucket = Bucket(2.0, 50, clock, stepwise=True)
    for number in range(200):
        pacer.wait()
        late = 0.3 if number % 2 == 0 else 0.0
        clock.now += late
        assert bucket.arrive()
        clock.now -= late


def test_a_refusal_fills_the_bucket_and_each_next_one_waits_longer() -> None:
    pacer, clock = paced()
    pauses = []
    for _ in range(8):
        until = pacer.overflowed()
        pauses.append(until - clock())
        pacer.wait()
        assert clock() >= until
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    pacer.answered()
    assert pacer.overflowed() - clock() == 1


def test_refusals_of_one_moment_count_once() -> None:
    pacer, _ = paced()
    assert pacer.overflowed() == pacer.overflowed()


def test_after_a_crash_the_bucket_is_never_taken_as_empty() -> None:
    pacer, clock = paced()
    pacer.restore(3.0, 2)
    assert pacer.level == 50
    begun = clock()
    pacer.wait()
    assert clock() > begun


def test_after_a_long_downtime_the_bucket_has_drained() -> None:
    pacer, _ = paced()
    pacer.restore(50.0, 3600)
    assert pacer.level == 0
    pacer.restore(50.0, 20)
    assert pacer.level == pytest.approx(30)


def test_what_was_sent_already_is_not_forgotten_by_restoring() -> None:
    pacer, _ = paced()
    for _ in range(20):
        pacer.wait()
    pacer.restore(0.0, 3600)
    assert pacer.level == 20


def test_a_level_noted_in_the_future_counts_as_full() -> None:
    pacer, _ = paced()
    pacer.restore(5.0, -500)
    assert pacer.level == 50


def test_a_clock_that_jumps_back_frees_nothing() -> None:
    pacer, clock = paced()
    for _ in range(10):
        pacer.wait()
    clock.now -= 1000
    assert pacer.level == 10


def test_a_stop_ends_the_wait() -> None:
    clock, stop = FakeClock(), threading.Event()

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        stop.set()

    pacer = Pacer(0.01, 1, clock=clock, sleep=sleep, stop=stop)
    pacer.wait()
    begun = clock()
    with pytest.raises(Stopped):
        pacer.wait()
    assert clock() - begun <= 1


def test_a_method_rests_when_its_operating_time_is_nearly_used_up() -> None:
    pacer, clock = paced()
    reset = clock() + 400
    pacer.note("tasks.task.update", 469.9, reset)
    assert pacer.blocked("tasks.task.update") is None
    pacer.note("tasks.task.update", 470.5, reset)
    assert pacer.blocked("TASKS.task.update") == reset
    assert pacer.blocked("tasks.task.add") is None
    clock.now = reset + 1
    assert pacer.blocked("tasks.task.update") is None


def test_operating_time_is_the_latest_figure_not_a_sum() -> None:
    pacer, clock = paced()
    for used in (200.0, 300.0, 400.0):
        pacer.note("m", used, clock() + 600)
    assert pacer.blocked("m") is None
    assert pacer.budget().operating == {"m": 400.0}


def test_an_answer_without_operating_time_changes_nothing() -> None:
    pacer, clock = paced()
    pacer.note("m", 475.0, clock() + 100)
    pacer.note("m", None, None)
    assert pacer.blocked("m") == clock() + 100


@pytest.mark.parametrize(("told", "rest"), [(250.0, 250.0), (None, 300.0), (-5.0, 300.0)])
def test_a_refused_method_rests_as_told_or_five_minutes(told: float | None, rest: float) -> None:
    pacer, clock = paced()
    pacer.ban("m", None if told is None else clock() + told)
    assert pacer.blocked("m") == clock() + rest


def test_a_refusal_that_does_not_tell_waits_for_the_reset_seen_before() -> None:
    pacer, clock = paced()
    pacer.note("m", 460.0, clock() + 123)
    assert pacer.ban("m") == clock() + 123


def test_the_budget_says_what_is_left() -> None:
    pacer, clock = paced()
    pacer.wait()
    pacer.ban("m", clock() + 60)
    budget = pacer.budget()
    assert (budget.free, budget.size, budget.rate, budget.held_until) == (46, 50, 2.0, None)
    assert budget.blocked == {"m": clock() + 60}
    until = pacer.overflowed()
    assert pacer.budget().free == 0
    assert pacer.budget().held_until == until


def test_eight_threads_never_overdraw_the_bucket() -> None:
    pacer = Pacer(1e-6, 41)
    taken = []

    def work() -> None:
        for _ in range(20):
            if pacer.take() == 0.0:
                taken.append(1)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 39


@pytest.mark.parametrize(("rate", "size"), [(0, 50), (-1, 50), (2, 0)])
def test_a_bucket_without_drain_or_room_is_refused(rate: float, size: int) -> None:
    with pytest.raises(ValueError):
        Pacer(rate, size)
