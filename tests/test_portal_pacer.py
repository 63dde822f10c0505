"""The pace: never above the portal's bucket, never a call of a method that rests."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitrix_sync.portal.rate_limiter import RateLimiter, Stopped


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


def paced(rate: float = 2.0, size: int = 50) -> tuple[RateLimiter, FakeClock]:
    clock = FakeClock()
    return RateLimiter(rate, size, clock=clock, sleep=clock.sleep), clock


def test_a_burst_goes_at_once_and_the_rest_at_the_rate() -> None:
    rate_limiter, clock = paced()
    begun = clock()
    for _ in range(47):
        rate_limiter.wait()
    assert clock() == begun
    for _ in range(100):
        rate_limiter.wait()
    assert clock() - begun == pytest.approx(50, rel=0.004)


def test_after_a_rest_the_bucket_is_empty_again() -> None:
    rate_limiter, clock = paced()
    for _ in range(60):
        rate_limiter.wait()
    clock.now += 25
    begun = clock()
    for _ in range(47):
        rate_limiter.wait()
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
    rate_limiter, clock = paced(*limits)
    bucket = Bucket(limits[0], limits[1], clock, stepwise=stepwise)
    clock.now += phase
    for pause in pauses:
        clock.now += pause if pause > 4 else 0
        rate_limiter.wait()
        assert bucket.arrive()


def test_requests_that_arrive_closer_than_they_left_do_not_overflow() -> None:
    rate_limiter, clock = paced()
    bucket = Bucket(2.0, 50, clock, stepwise=True)
    for number in range(200):
        rate_limiter.wait()
        late = 0.3 if number % 2 == 0 else 0.0
        clock.now += late
        assert bucket.arrive()
        clock.now -= late


def test_a_refusal_fills_the_bucket_and_each_next_one_waits_longer() -> None:
    rate_limiter, clock = paced()
    pauses = []
    for _ in range(8):
        until = rate_limiter.note_overflow()
        pauses.append(until - clock())
        rate_limiter.wait()
        assert clock() >= until
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    rate_limiter.note_answer()
    assert rate_limiter.note_overflow() - clock() == 1


def test_refusals_of_one_moment_count_once() -> None:
    rate_limiter, _ = paced()
    assert rate_limiter.note_overflow() == rate_limiter.note_overflow()


def test_after_a_crash_the_bucket_is_never_taken_as_empty() -> None:
    rate_limiter, clock = paced()
    rate_limiter.restore(3.0, 2)
    assert rate_limiter.level == 50
    begun = clock()
    rate_limiter.wait()
    assert clock() > begun


def test_after_an_orderly_end_the_bucket_is_as_it_was_left() -> None:
    rate_limiter, _ = paced()
    rate_limiter.restore(33.0, 4, final=True)
    assert rate_limiter.level == pytest.approx(25)


def test_after_a_long_downtime_the_bucket_has_drained() -> None:
    rate_limiter, _ = paced()
    rate_limiter.restore(50.0, 3600)
    assert rate_limiter.level == 0
    rate_limiter.restore(50.0, 20)
    assert rate_limiter.level == pytest.approx(30)


def test_what_was_sent_already_is_not_forgotten_by_restoring() -> None:
    rate_limiter, _ = paced()
    for _ in range(20):
        rate_limiter.wait()
    rate_limiter.restore(0.0, 3600)
    assert rate_limiter.level == 20


def test_a_level_noted_in_the_future_counts_as_full() -> None:
    rate_limiter, _ = paced()
    rate_limiter.restore(5.0, -500)
    assert rate_limiter.level == 50


def test_a_clock_that_jumps_back_frees_nothing() -> None:
    rate_limiter, clock = paced()
    for _ in range(10):
        rate_limiter.wait()
    clock.now -= 1000
    assert rate_limiter.level == 10


def test_a_stop_ends_the_wait() -> None:
    clock, stop = FakeClock(), threading.Event()

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        stop.set()

    rate_limiter = RateLimiter(0.01, 1, clock=clock, sleep=sleep, stop=stop)
    rate_limiter.wait()
    begun = clock()
    with pytest.raises(Stopped):
        rate_limiter.wait()
    assert clock() - begun <= 1


def test_a_method_rests_when_its_operating_time_is_nearly_used_up() -> None:
    rate_limiter, clock = paced()
    reset = clock() + 400
    rate_limiter.note("tasks.task.update", 469.9, reset)
    assert rate_limiter.resting_until("tasks.task.update") is None
    rate_limiter.note("tasks.task.update", 470.5, reset)
    assert rate_limiter.resting_until("TASKS.task.update") == reset
    assert rate_limiter.resting_until("tasks.task.add") is None
    clock.now = reset + 1
    assert rate_limiter.resting_until("tasks.task.update") is None


def test_operating_time_is_the_latest_figure_not_a_sum() -> None:
    rate_limiter, clock = paced()
    for used in (200.0, 300.0, 400.0):
        rate_limiter.note("m", used, clock() + 600)
    assert rate_limiter.resting_until("m") is None
    assert rate_limiter.budget().operating == {"m": 400.0}


def test_an_answer_without_operating_time_changes_nothing() -> None:
    rate_limiter, clock = paced()
    rate_limiter.note("m", 475.0, clock() + 100)
    rate_limiter.note("m", None, None)
    assert rate_limiter.resting_until("m") == clock() + 100


@pytest.mark.parametrize(("told", "rest"), [(250.0, 250.0), (None, 300.0), (-5.0, 300.0)])
def test_a_refused_method_rests_as_told_or_five_minutes(told: float | None, rest: float) -> None:
    rate_limiter, clock = paced()
    rate_limiter.ban("m", None if told is None else clock() + told)
    assert rate_limiter.resting_until("m") == clock() + rest


def test_a_refusal_that_does_not_tell_waits_for_the_reset_seen_before() -> None:
    rate_limiter, clock = paced()
    rate_limiter.note("m", 460.0, clock() + 123)
    assert rate_limiter.ban("m") == clock() + 123


def test_the_budget_says_what_is_left() -> None:
    rate_limiter, clock = paced()
    rate_limiter.wait()
    rate_limiter.ban("m", clock() + 60)
    budget = rate_limiter.budget()
    assert (budget.free, budget.size, budget.rate, budget.held_until) == (46, 50, 2.0, None)
    assert budget.blocked == {"m": clock() + 60}
    until = rate_limiter.note_overflow()
    assert rate_limiter.budget().free == 0
    assert rate_limiter.budget().held_until == until


def test_eight_threads_never_overdraw_the_bucket() -> None:
    rate_limiter = RateLimiter(1e-6, 41)
    taken = []

    def work() -> None:
        for _ in range(20):
            if rate_limiter.take() == 0.0:
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
        RateLimiter(rate, size)
