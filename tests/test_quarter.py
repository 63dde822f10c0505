"""A short run of the quarter (`make quarter` is longer), and what it counts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from tests.quarter.ledger import Count, Ledger
from tests.quarter.world import Plan, run

MON, TUE, WED, THU, FRI = (date(2026, 3, day) for day in range(2, 7))
MARIA = 5


def evening(ledger: Ledger, day: date, due: Mapping[int, date]) -> Count:
    """What is counted after a sweep on the evening before ``day``, which tells of what it does not move."""
    ledger.swept(due, first=day, day=day, daily=True, room={MARIA: 2})
    return ledger.count([MARIA], today=FRI)


def ledger(*due: date, away: tuple[date, ...] = ()) -> Ledger:
    """Maria's tasks, 0, 1, 2…, each with its day."""
    found = Ledger({MARIA: set(away)}, limit=3)
    for task, day in enumerate(due):
        found.given(task, MARIA, day)
    return found


def test_no_date_is_in_an_absence_no_day_too_full_while_another_is_free_and_no_absence_escalated() -> None:
    found = run(1, Plan(weeks=3, owners=4, limit=1, newer_first=True), "learned").all
    assert found.for_absence > 10
    assert found.escalated > 0
    assert (found.into_absence, found.over_room, found.escalated_for_absence) == (0, 0, 0)


def test_a_date_is_kept_if_the_task_is_done_by_then_and_broken_if_it_is_moved_again() -> None:
    tasks = ledger(MON, MON)
    evening(tasks, TUE, {0: TUE, 1: TUE})
    tasks.closed(0, TUE)
    found = evening(tasks, WED, {1: WED})
    assert (found.kept, found.broken, found.moves, found.moved) == (1, 1, 3, 2)
    tasks.closed(1, WED)
    found = tasks.count([MARIA], today=FRI)
    assert (found.kept, found.broken, found.late, found.kept_promises) == (2, 1, 2, 0)


def test_a_date_in_an_absence_is_seen() -> None:
    assert evening(ledger(MON, away=(TUE,)), TUE, {0: TUE}).into_absence == 1


def test_a_day_too_full_is_seen_if_a_task_was_put_on_it_and_another_day_is_free() -> None:
    assert evening(ledger(MON, MON, MON), TUE, {0: TUE, 1: TUE, 2: TUE}).over_room == 1
    assert evening(ledger(MON, MON, MON), TUE, {0: TUE, 1: TUE, 2: WED}).over_room == 0
    assert evening(ledger(TUE, TUE, TUE, MON), TUE, {0: TUE, 1: TUE, 2: TUE, 3: WED}).over_room == 0, "people did that"


def test_an_escalation_for_absence_is_seen_by_the_moves_that_no_absence_was_the_reason_of() -> None:
    late = ledger(MON)
    for day in (TUE, WED, THU):
        evening(late, day, {0: day})
    found = evening(late, FRI, {0: THU})
    assert (found.escalated, found.escalated_for_absence) == (1, 0)
    missed = ledger(MON, away=(TUE,))
    evening(missed, TUE, {0: WED})
    evening(missed, THU, {0: THU})
    found = evening(missed, FRI, {0: THU})
    assert (found.for_absence, found.escalated, found.escalated_for_absence) == (1, 1, 1)
