"""What the morning tells though nothing is moved, and what stays undone and goes one head higher, step by step."""

from __future__ import annotations

from pathlib import Path

from tests.world.sweeps import HEAD, MARIA, Department, department, section

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
