"""Where a sweep puts what is overdue: a day on which its owner is there and has room."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from bitrix_sync.decisions.placing import LOOKED_AT, UNLEARNED, Misplaced, Place, learned, place
from bitrix_sync.model.facts import Absence
from bitrix_sync.model.presence import Presence
from bitrix_sync.model.worktime import build_calendar
from bitrix_sync.rules.model import Deadline, Duration

CALENDAR = build_calendar(zone=UTC, week={day: [(time(9), time(18))] for day in range(5)})
MONDAY = date(2026, 3, 9)
EVENING = datetime(2026, 3, 9, 18, 30, tzinfo=UTC)
NEXT_DAY = Deadline(offset=Duration(1, "workdays"))
ANNA, PETR = 5, 6
TUE, WED, THU, FRI, NEXT_MON = (MONDAY + timedelta(days=days) for days in (1, 2, 3, 4, 7))


def away(user: int, first: date, last: date) -> Absence:
    """An absence of whole days, both included."""
    midnight = time(0, tzinfo=UTC)
    return Absence(user, datetime.combine(first, midnight), datetime.combine(last + timedelta(days=1), midnight))


def task(number: int, owner: int = ANNA, move_to: Deadline = NEXT_DAY, **more: object) -> Misplaced:
    """An overdue task."""
    return Misplaced(f"t{number}", owner, number, move_to, **more)  # type: ignore[arg-type]


def placed(
    *tasks: Misplaced,
    room: int | None = None,
    taken: dict[date, int] | None = None,
    absences: tuple[Absence, ...] = (),
) -> dict[str, Place]:
    """Placed on Monday evening; the same room for everybody, days taken of Anna's."""
    return place(
        tasks,
        moment=EVENING,
        calendar=CALENDAR,
        presence=Presence(absences, CALENDAR),
        room={ANNA: room, PETR: room},
        taken={ANNA: taken or {}},
    )


def days(found: dict[str, Place]) -> dict[str, date]:
    """Task → the day it goes to."""
    return {ref: one.deadline.date() for ref, one in found.items()}


# --- room ------------------------------------------------------------------------------------------------------------


def test_without_room_all_go_to_the_day_that_the_file_gives() -> None:
    found = placed(*map(task, range(20)), taken={TUE: 50})
    assert set(days(found).values()) == {TUE}
    assert {one.deadline.time() for one in found.values()} == {time(18)}


def test_a_day_takes_no_more_than_there_is_room() -> None:
    found = placed(*map(task, range(6)), room=4, taken={TUE: 3, WED: 2, THU: 1})
    assert Counter(days(found).values()) == {TUE: 1, WED: 2, THU: 3}
    assert found["t5"].refused[0].why == "full"
    assert (found["t5"].refused[0].taken, found["t5"].refused[0].room) == (4, 4)


def test_room_of_one_is_not_room_of_the_other() -> None:
    assert days(placed(task(1), task(2, PETR), room=1)) == {"t1": TUE, "t2": TUE}


def test_the_time_of_day_is_that_of_move_to() -> None:
    at_noon = Deadline(offset=Duration(1, "workdays"), at=time(12))
    found = placed(task(1, move_to=at_noon), task(2, move_to=at_noon), room=1)
    assert [one.deadline for one in found.values()] == [
        datetime(2026, 3, 10, 12, tzinfo=UTC),
        datetime(2026, 3, 11, 12, tzinfo=UTC),
    ]


def test_days_off_are_passed_over() -> None:
    full = {TUE: 1, WED: 1, THU: 1, FRI: 1}
    (found,) = placed(task(1), room=1, taken=full).values()
    assert found.deadline.date() == NEXT_MON
    assert [one.why for one in found.refused] == ["full"] * 4 + ["day_off"] * 2


def test_what_fits_nowhere_goes_where_most_is_left_and_says_so() -> None:
    working = [day for days in range(1, 15) if CALENDAR.is_working(day := MONDAY + timedelta(days=days))]
    assert len(working) == LOOKED_AT
    full = dict.fromkeys(working, 9) | {THU: 8, FRI: 8}
    (found,) = placed(task(1), room=8, taken=full).values()
    assert (found.deadline.date(), found.fits) == (THU, False)
    assert [one.day for one in found.refused] == [TUE, WED]


def test_minutes_look_at_absence_and_not_at_room() -> None:
    soon = Deadline(offset=Duration(30, "minutes"))
    assert placed(task(1, move_to=soon), room=1, taken={MONDAY: 5})["t1"].deadline == EVENING + timedelta(minutes=30)
    (found,) = placed(task(1, move_to=soon), absences=(away(ANNA, MONDAY, WED),)).values()
    assert found.deadline == datetime(2026, 3, 12, 19, tzinfo=UTC)


def test_more_urgent_dearer_and_older_promises_go_first() -> None:
    found = placed(
        task(1, priority=0, amount=Decimal(900)),
        task(2, amount=None, promise=EVENING - timedelta(days=9)),
        task(3, amount=Decimal(5), promise=EVENING - timedelta(days=1)),
        task(4, amount=Decimal(5), promise=EVENING - timedelta(days=2)),
        task(5, amount=Decimal(7)),
        task(6, priority=2),
        room=1,
    )
    assert sorted(found, key=lambda ref: found[ref].deadline) == ["t6", "t5", "t4", "t3", "t2", "t1"]


# --- absence ---------------------------------------------------------------------------------------------------------


def test_a_deadline_never_falls_into_an_absence() -> None:
    (found,) = placed(task(1), absences=(away(ANNA, TUE, THU),)).values()
    assert found.deadline.date() == FRI
    assert found.for_absence
    assert {one.why for one in found.refused} == {"away"}


def test_whoever_misses_all_working_hours_of_a_day_is_away_on_it() -> None:
    hours = Absence(ANNA, datetime(2026, 3, 10, 9, tzinfo=UTC), datetime(2026, 3, 10, 18, tzinfo=UTC))
    assert days(placed(task(1), absences=(hours,))) == {"t1": WED}
    morning = Absence(ANNA, datetime(2026, 3, 10, 9, tzinfo=UTC), datetime(2026, 3, 10, 14, tzinfo=UTC))
    assert days(placed(task(1), absences=(morning,))) == {"t1": TUE}
    until_the_end = Absence(ANNA, datetime(2026, 3, 10, 17, tzinfo=UTC), datetime(2026, 3, 10, 20, tzinfo=UTC))
    assert days(placed(task(1), absences=(until_the_end,))) == {"t1": WED}, "it holds the deadline itself"


def test_two_absences_that_meet_are_one() -> None:
    presence = Presence((away(ANNA, TUE, WED), away(ANNA, THU, FRI)), CALENDAR)
    assert presence.away_on(ANNA, datetime(2026, 3, 10, 18, tzinfo=UTC)) == datetime(2026, 3, 14, tzinfo=UTC)


# --- properties ------------------------------------------------------------------------------------------------------

MOVES = (NEXT_DAY, Deadline(offset=Duration(0, "workdays")), Deadline(offset=Duration(3, "days"), at=time(11)))
ABSENCES = st.builds(
    lambda user, first, length: away(user, MONDAY + timedelta(days=first), MONDAY + timedelta(days=first + length)),
    st.sampled_from([ANNA, PETR]),
    st.integers(-3, 20),
    st.integers(0, 15),
)
TASKS = st.lists(
    st.tuples(
        st.sampled_from([ANNA, PETR]),
        st.sampled_from(MOVES),
        st.integers(0, 2),
        st.none() | st.integers(0, 3).map(Decimal),
    ),
    max_size=30,
)


@settings(max_examples=150, deadline=None)
@given(TASKS, st.lists(ABSENCES, max_size=3), st.integers(1, 4), st.dictionaries(st.integers(0, 20), st.integers(0, 5)))
def test_every_day_is_one_that_can_be_kept(drawn, absences, room, offsets) -> None:  # type: ignore[no-untyped-def]
    tasks = [task(n, who, move, priority=urgent, amount=sum_) for n, (who, move, urgent, sum_) in enumerate(drawn)]
    taken = {MONDAY + timedelta(days=offset): count for offset, count in offsets.items()}
    presence = Presence(absences, CALENDAR)
    found = placed(*tasks, room=room, taken=taken, absences=tuple(absences))
    assert placed(*reversed(tasks), room=room, taken=taken, absences=tuple(absences)) == found, "the same again"
    load: Counter[tuple[int, date]] = Counter({(ANNA, day): count for day, count in taken.items()})
    for one in sorted(tasks, key=lambda each: (each.owner, *each.place)):
        at = found[one.ref]
        day = at.deadline.date()
        assert presence.away_on(one.owner, at.deadline) is None, "nobody is away that day"
        assert CALENDAR.is_working(day)
        assert at.deadline > EVENING
        assert at.fits is (load[one.owner, day] < room), "over room only where it is said"
        if not at.fits:
            assert sum(each.why == "full" for each in at.refused) < LOOKED_AT
        load[one.owner, day] += 1
    for owner in (ANNA, PETR):
        for move in MOVES:
            turn = sorted((one for one in tasks if (one.owner, one.move_to) == (owner, move)), key=lambda o: o.place)
            fitting = [found[one.ref].deadline for one in turn if found[one.ref].fits]
            assert all(earlier <= later for earlier, later in pairwise(fitting)), "who comes first gets the first day"


# --- what is learned -------------------------------------------------------------------------------------------------


def closed(*counts: int, last: date = date(2026, 3, 6)) -> dict[date, int]:
    """So many tasks closed on each of the working days up to a Friday."""
    found, day = {}, last
    for count in reversed(counts):
        found[day] = count
        day = CALENDAR.previous_working(day)
    return found


def rooms(of: dict[int, dict[date, int]], absences: tuple[Absence, ...] = (), **departments: int) -> dict[int, int]:
    """What is learned on Monday."""
    known = {int(name[1:]): department for name, department in departments.items()}
    return learned(of, departments=known, presence=Presence(absences, CALENDAR), calendar=CALENDAR, today=MONDAY)


def test_room_is_the_upper_quartile_of_what_was_closed_a_day() -> None:
    assert rooms({ANNA: closed(1, 2, 3, 4)} | {PETR: closed(1, 2, 3, 4, 5, 6, 7, 8)}, u6=1)[PETR] == 6
    assert rooms({PETR: closed(5, 5, 5, 5, 9)}, u6=1)[PETR] == 5


def test_only_the_last_twenty_days_of_sixty_count() -> None:
    assert rooms({ANNA: closed(*[99] * 20, *[3] * 20)}, u5=1)[ANNA] == 3
    old = closed(7, 7, 7, 7, 7, last=date(2026, 1, 5))
    assert rooms({ANNA: old}, u5=1)[ANNA] == UNLEARNED


def test_today_days_off_and_absences_teach_nothing() -> None:
    five = closed(4, 4, 4, 4, 4)
    assert rooms({ANNA: five | {MONDAY: 50, date(2026, 3, 7): 50}}, u5=1)[ANNA] == 4
    assert (
        rooms({ANNA: five | {date(2026, 2, 27): 50}}, (away(ANNA, date(2026, 2, 27), date(2026, 2, 27)),), u5=1)[ANNA]
        == 4
    )


def test_who_has_not_closed_enough_has_the_median_of_the_department_rounded_up() -> None:
    learned_ = {1: closed(*[2] * 5), 2: closed(*[5] * 5), 3: closed(1)}
    found = rooms(learned_, u1=10, u2=10, u3=10, u4=10, u7=11)
    assert (found[3], found[4], found[7]) == (4, 4, UNLEARNED)
