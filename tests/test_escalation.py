"""What the morning tells though nothing is moved, and what stays undone and goes one head higher, step by step."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from bitrix_sync.decisions.escalation import heads, next_step, reader_of
from bitrix_sync.model.operations import Escalation
from bitrix_sync.rules.durations import read_duration
from tests.world.company import WEEK, at
from tests.world.story import BOSS, COMPANY, OWNER
from tests.world.story import HEAD as OVER
from tests.world.sweeps import DIRECTOR, HEAD, IGOR, MARIA, SWEEPS, Department, department, section

RULES = """
version: 1
language: en
timezone: Europe/Moscow
admins: [1]
calendar: {hours: {mon-thu: "09:00-18:00", fri: "10:00-17:00"}}
fallback_owner: 1
funnels:
  Продажи:
    Новая заявка:
      limit: 1 workday
      tasks:
        - id: first-call
          title: "Call: {{ deal.TITLE }}"
          deadline: {after: 4 workdays}
"""


class Escalations(Department):
    """The department, without any deal."""


# --- a file without sweeps -------------------------------------------------------------------------------------------


def test_without_sweeps_the_morning_tells_at_the_start_of_hours_and_moves_nothing(tmp_path: Path) -> None:
    with department(tmp_path, RULES, kind=Escalations) as place:
        place.until("2026-03-02 09:30")
        deal = place.add_deal("Romashka", stage="NEW", responsible=MARIA)
        task = place.task("Old", MARIA, "2026-03-02 12:00", deal=deal)
        place.turn()
        assert place.sweeps("2026-03-04 09:00") == "2026-03-04/morning"
        slot = place.sweeps("2026-03-06 10:00")  # a Friday begins an hour later
        assert slot == "2026-03-06/morning"
        assert section(place.heard(MARIA, slot), "Your tasks for today")
        assert place.due(task) == "2026-03-02 12:00"
        assert place.record(task).moves == 0
        told = [text for text in place.mail(HEAD) if "Romashka" in text and "Stuck in a stage" in text]
        assert len(told) == 1


def test_a_morning_that_moves_nothing_is_taken_up_again_by_another_process(tmp_path: Path) -> None:
    with department(tmp_path, RULES, kind=Escalations) as place:
        place.add_deal("Romashka", stage="NEW", responsible=MARIA)
        place.turn()
        place.until("2026-03-04 12:00")
        place.die()
        place.start()
        place.turn()
        place.turn()
        place.die()
        place.start()
        place.turn()
        assert place.heard(HEAD, "2026-03-04/morning")
        assert place.store.sweeps()[0].slot == "2026-03-04/morning"


def test_a_file_with_nothing_to_tell_has_no_morning(tmp_path: Path) -> None:
    with department(tmp_path, RULES.replace("      limit: 1 workday\n", ""), kind=Escalations) as place:
        place.add_deal("Romashka", stage="NEW", responsible=MARIA)
        place.turn()
        place.until("2026-03-04 12:00")
        place.turn()
        assert place.store.sweeps() == []


# --- steps, pure -----------------------------------------------------------------------------------------------------


def test_heads_go_up_to_the_top_without_the_owner() -> None:
    assert heads(COMPANY, OWNER) == [OVER, BOSS]
    assert heads(COMPANY, OWNER, apart=OVER) == [BOSS]
    assert (heads(COMPANY, BOSS), heads(COMPANY, None)) == ([], [])
    assert [reader_of(step, [OVER, BOSS]) for step in (1, 2, 3)] == [OVER, BOSS, BOSS]
    assert reader_of(1, []) is None


@pytest.mark.parametrize(
    ("every", "step", "told", "moment", "expected"),
    [
        ("2 workdays", 1, "2026-03-02 09:00", "2026-03-03 09:00", None),
        ("2 workdays", 1, "2026-03-02 09:00", "2026-03-04 09:00", 2),
        ("2 workdays", 1, "2026-03-05 09:00", "2026-03-07 09:00", None),  # a Thursday, so the Monday
        ("2 workdays", 1, "2026-03-05 09:00", "2026-03-09 09:00", 2),
        ("3 days", 2, "2026-03-02 18:30", "2026-03-05 09:00", 3),  # on the morning of that day
        ("2 weeks", 2, "2026-03-02 09:00", "2026-03-12 09:00", None),
        ("2 workdays", 3, "2026-03-02 09:00", "2026-03-04 09:00", None),  # at the top once a week
        ("2 workdays", 3, "2026-03-02 09:00", "2026-03-09 09:00", 3),
        ("2 weeks", 3, "2026-03-02 09:00", "2026-03-09 09:00", 3),
        ("", 1, "2026-03-02 09:00", "2026-06-02 09:00", None),
    ],
)
def test_a_step_is_due_on_the_morning_of_its_day(
    every: str, step: int, told: str, moment: str, expected: int | None
) -> None:
    known = Escalation("step:10:call", "a", step, at(told))
    span = read_duration(every) if every else None
    assert next_step(known, "a", top=3, every=span, calendar=WEEK, moment=at(moment)) == expected
    assert next_step(known, "b", top=3, every=span, calendar=WEEK, moment=at(moment)) == 1
    assert next_step(None, "a", top=3, every=span, calendar=WEEK, moment=at(moment)) == 1


# --- steps, in the portal --------------------------------------------------------------------------------------------

STEPS = "escalate: 2 workdays\n" + SWEEPS.replace("limit: 3", "limit: 0")
UNDONE = "Not moved any more, for you to decide"


def test_a_task_goes_higher_step_by_step_and_ends_when_it_is_handed_over(tmp_path: Path) -> None:
    with department(tmp_path, RULES + STEPS, kind=Escalations) as place:
        task = place.task("Offer", MARIA, "2026-03-01 12:00")
        first = place.sweeps("2026-03-02 09:00")
        assert section(place.heard(DIRECTOR, first), UNDONE)
        place.sweeps("2026-03-03 09:00")
        assert place.readers("2026-03-03/morning") == []
        again = place.sweeps("2026-03-09 09:00")  # the director is the top: a week later
        assert section(place.heard(DIRECTOR, again), UNDONE) == [
            "Мария Кузнецова: Offer. Was due Sun 1 March, 12:00, 0 moves. Supervisor: Виктор Орлов. "
            "You were told Mon 2 March, 09:00; nothing has changed"
        ]
        place.portal.state.set_owner(task, IGOR, by=HEAD)
        place.turn()
        slot = place.sweeps("2026-03-10 09:00")
        (line,) = section(place.heard(DIRECTOR, slot), UNDONE)
        assert line.endswith("Supervisor: Виктор Орлов"), "the first step, of somebody else"
        place.portal.state.complete_task(task, IGOR)
        assert place.readers(place.sweeps("2026-03-17 09:00")) == []


def test_a_deal_over_its_stages_limit_goes_higher_until_it_moves_on(tmp_path: Path) -> None:
    with department(tmp_path, "escalate: 2 workdays\n" + RULES.lstrip(), kind=Escalations) as place:
        deal = place.add_deal("Romashka", stage="NEW", responsible=MARIA)
        place.turn()
        first = place.sweeps("2026-03-04 09:00")
        assert "Romashka" in "".join(section(place.heard(HEAD, first), "Stuck"))
        assert section(place.heard(DIRECTOR, place.sweeps("2026-03-05 09:00")), "Stuck") == []
        slot = place.sweeps("2026-03-06 10:00")
        (line,) = section(place.heard(DIRECTOR, slot), "Stuck")
        assert line.endswith("Wed 4 March, 09:00 Виктор Орлов was told; nothing has changed")
        slot = place.sweeps("2026-03-13 10:00")
        (line,) = section(place.heard(DIRECTOR, slot), "Stuck")
        assert line.endswith("You were told Fri 6 March, 10:00; nothing has changed")
        place.portal.state.move_deal(deal, "PREPARATION", by=MARIA)
        place.turn()
        assert section(place.heard(DIRECTOR, place.sweeps("2026-03-23 09:00")), "Stuck") == []


def test_moves_are_counted_anew_for_whom_a_person_hands_the_task(tmp_path: Path) -> None:
    with department(tmp_path, RULES + SWEEPS, kind=Escalations) as place:
        task = place.task("Offer", MARIA, "2026-03-02 12:00")
        place.sweeps("18:30")
        assert place.record(task).moves == 1
        place.portal.state.set_owner(task, IGOR, by=HEAD)
        place.turn()
        assert (place.record(task).owner_id, place.record(task).moves) == (IGOR, 0)


def test_over_a_year_each_step_is_told_once(tmp_path: Path) -> None:
    """A deal and a task that nobody touches, weekends, days off, a process that dies before each second morning, and
    mornings that are missed."""
    holidays = 'days_off: ["2026-03-09", "2026-05-01"], '
    rules = RULES.replace("calendar: {", "calendar: {" + holidays).replace("limit: 1 workday", "limit: 1 workday")
    with department(tmp_path, rules + STEPS, kind=Escalations) as place:
        place.add_deal("Romashka", stage="NEW", responsible=MARIA)
        place.task("Offer", MARIA, "2026-03-01 12:00")
        place.turn()
        day = datetime(2026, 3, 2, tzinfo=UTC)
        while day < datetime(2027, 3, 1, tzinfo=UTC):
            if day.month != 7:  # nobody starts it in July
                place.until(f"{day:%Y-%m-%d} 10:00")
                if day.day % 2:
                    place.die()
                    place.start()
                place.turn()
                place.turn()
            day += timedelta(days=1 if day.month in (3, 4) else 3)
        for name, title in (("Offer", UNDONE), ("Romashka", "Stuck")):
            told = [text for text in place.mail(DIRECTOR) if name in "".join(section(text, title))]
            days = [date.fromisoformat(text.split("(")[-1][:10]) for text in told]
            assert len(days) > 30
            assert all(timedelta(days=7) <= two - one for one, two in pairwise(days)), "once a week at the top"
            quick = [two - one for one, two in pairwise(days) if two < date(2026, 5, 1)]
            assert max(quick) <= timedelta(days=8), "the week after, or the day after a day off"
