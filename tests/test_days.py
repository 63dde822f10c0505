"""A date that holds, end to end: sweeps that know who is there and who has room, on the sandbox portal over HTTP."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bitrix_sync.commands import changes
from bitrix_sync.explain import why, why_lines
from bitrix_sync.model.operations import State
from tests.world.sweeps import HEAD, IGOR, LAWYER, MARIA, MONDAY, RULES, SWEEPS, Department, department, section

ROOM = RULES.replace("fallback_owner: 1\n", "fallback_owner: 1\nroom: 2\n") + SWEEPS
LENDING = RULES.replace(
    "fallback_owner: 1\n", "fallback_owner: 1\naway: substitute\nsubstitutes: {5: 7}\n"
) + SWEEPS.replace("tasks: deals", "tasks: rules")  # fmt: skip
E1, M2, E2 = "2026-03-02/evening", "2026-03-03/morning", "2026-03-03/evening"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Department]:
    with department(tmp_path, ROOM) as found:
        yield found


@pytest.fixture
def lending(tmp_path: Path) -> Iterator[Department]:
    with department(tmp_path, LENDING) as found:
        yield found


def absent(place: Department, user: int, begin: str, end: str) -> None:
    """An absence of somebody, told by the portal."""
    place.portal.state.add_absence(user, place.at(begin), place.at(end))


def first_call(place: Department, owner: int) -> int:
    """The task that the rule makes for a new deal of that owner, due the same day at eleven."""
    before = set(place.portal.state.tasks)
    place.add_deal("Romashka", responsible=owner)
    for _ in range(3):
        place.turn()
    (made,) = set(place.portal.state.tasks) - before
    return made


def owner(place: Department, task: int) -> int:
    """Who has a task in the portal."""
    return int(place.portal.state.tasks[task].responsible_id)


# --- room ------------------------------------------------------------------------------------------------------------


def test_what_is_overdue_is_spread_over_days_that_have_room_and_the_message_says_why(place: Department) -> None:
    place.task("Waits", MARIA, "2026-03-03 12:00")
    tasks = [place.task(f"Offer {n}", MARIA, "2026-03-02 12:00") for n in range(4)]
    place.sweeps("18:30")
    assert [place.due(task)[:10] for task in tasks] == ["2026-03-03", "2026-03-04", "2026-03-04", "2026-03-05"]
    lines = section(place.heard(HEAD, E1), "Deadline moved: 4 tasks")
    assert "Мария Кузнецова: Offer 0. From Mon 2 March, 12:00 to Tue 3 March, 18:00, move no. 1" in lines
    assert (
        "Мария Кузнецова: Offer 3. From Mon 2 March, 12:00 to Thu 5 March, 18:00, move no. 1 "
        "(full until Thursday: 2 of 2)" in lines
    )


def test_the_dearer_deal_and_the_more_urgent_task_come_first(place: Department) -> None:
    state = place.portal.state
    cheap, dear, urgent = (place.task(title, IGOR, "2026-03-02 12:00") for title in ("Cheap", "Dear", "Urgent"))
    deals = {one.title: one for one in state.deals.values()}
    for title, amount, currency in (("Cheap", 5000, "RUB"), ("Dear", 100, "USD")):
        state.set_fields(deals[title].id, {"OPPORTUNITY": amount, "CURRENCY_ID": currency}, by=HEAD)
    state.tasks[urgent].priority = 2
    place.sweeps("18:30")
    assert [place.due(task)[:10] for task in (urgent, dear, cheap)] == ["2026-03-03", "2026-03-03", "2026-03-04"]


def test_what_fits_on_none_of_ten_days_is_listed_by_itself(place: Department) -> None:
    day = MONDAY
    for _ in range(14):
        day += timedelta(days=1)
        for n in range(2):
            place.task(f"Busy {n}", MARIA, f"{day:%Y-%m-%d} 12:00")
    place.task("Offer", MARIA, "2026-03-02 12:00")
    place.sweeps("18:30")
    (line,) = section(place.heard(HEAD, E1), "Room on none of ten days, put where most is left: 1 task")
    assert line.startswith("Мария Кузнецова: Offer. From Mon 2 March, 12:00 to Tue 3 March, 18:00")
    assert section(place.heard(HEAD, E1), "Deadline moved") == []


def test_why_tells_each_day_that_was_refused(tmp_path: Path) -> None:
    with department(tmp_path, ROOM) as place:
        for n in range(2):
            place.task(f"Busy {n}", MARIA, "2026-03-03 12:00")
        task = first_call(place, MARIA)
        absent(place, MARIA, "2026-03-04 00:00", "2026-03-05 00:00")
        place.sweeps("18:30")
        assert place.due(task) == "2026-03-05 18:00"
        deal = place.record(task).deal_id
        story = why.story_of(place.store, deal)
        told = next(line for line in why_lines.lines_of(story) if "Sweep 2026-03-02/evening" in line)
        assert "Refused: Tue 3 March — full: 2 of 2; Wed 4 March — away until Thu 5 March" in told


# --- absence ---------------------------------------------------------------------------------------------------------


def test_a_deadline_never_falls_into_an_absence_and_such_a_move_does_not_count(place: Department) -> None:
    absent(place, MARIA, "2026-03-03 00:00", "2026-03-05 00:00")
    task = place.task("Offer", MARIA, "2026-03-02 12:00")
    place.sweeps("18:30")
    assert place.due(task) == "2026-03-05 18:00"
    record = place.record(task)
    assert (record.moves, record.moves_for_absence) == (0, 1)
    assert section(place.heard(HEAD, E1), "Deadline moved: 1 task") == [
        "Мария Кузнецова: Offer. From Mon 2 March, 12:00 to Thu 5 March, 18:00, because of an absence "
        "(away until 5 March)"
    ]


def test_nobody_is_escalated_for_what_fell_due_while_they_were_away(place: Department) -> None:
    absent(place, MARIA, "2026-03-02 00:00", "2026-03-03 00:00")
    missed, late = (place.task(title, who, "2026-03-02 12:00") for title, who in (("Missed", MARIA), ("Late", IGOR)))
    place.turn()
    for task in (missed, late):
        ref = place.record(task).ref
        with place.store.writing("test") as connection:
            connection.exec_driver_sql(f"UPDATE tasks SET moves = 3 WHERE portal_id = {ref.removeprefix('task:')}")
    place.sweeps("2026-03-03 09:00")
    assert place.due(missed) == "2026-03-03 18:00", "moved, though its moves are used up"
    assert place.due(late) == "2026-03-02 12:00", "stays, and is escalated"
    assert place.record(missed).moves_for_absence == 1


def test_undo_takes_a_move_for_an_absence_back_from_its_own_count(place: Department) -> None:
    absent(place, MARIA, "2026-03-03 00:00", "2026-03-05 00:00")
    task = place.task("Offer", MARIA, "2026-03-02 12:00")
    place.sweeps("18:30")
    changes.perform(place.context, "undo", {"slot": E1})
    assert place.due(task) == "2026-03-02 12:00"
    assert place.record(task).moves_for_absence == 0


# --- lending ---------------------------------------------------------------------------------------------------------


def lent_task(place: Department) -> int:
    """A task of Maria's that Igor has, for she is away from Tuesday to Wednesday."""
    task = first_call(place, MARIA)
    absent(place, MARIA, "2026-03-03 00:00", "2026-03-05 00:00")
    place.sweeps("2026-03-03 09:00")
    return task


def test_an_open_task_goes_to_the_substitute_and_comes_back(lending: Department) -> None:
    task = lent_task(lending)
    assert owner(lending, task) == IGOR
    assert lending.due(task) == "2026-03-03 18:00", "placed by the days of who has it now"
    assert section(lending.heard(HEAD, M2), "Handed over to substitutes: 1 task") == [
        "Call: Romashka: Мария Кузнецова → Игорь Попов, until Thu 5 March"
    ]
    assert any("is away until" in one.text for one in lending.portal.state.messages_of_task(task))
    lending.sweeps("18:30")
    lending.sweeps("2026-03-04 09:00")
    assert owner(lending, task) == IGOR, "she is still away"
    slot = lending.sweeps("2026-03-05 09:00")
    assert owner(lending, task) == MARIA
    assert section(lending.heard(HEAD, slot), "Back again from substitutes: 1 task") == [
        "Call: Romashka: Игорь Попов → Мария Кузнецова"
    ]
    assert lending.record(task).lent_from is None


def test_a_substitute_who_is_away_too_leaves_it_to_the_head_and_a_persons_hand_ends_it(lending: Department) -> None:
    absent(lending, IGOR, "2026-03-03 00:00", "2026-03-05 00:00")
    task = lent_task(lending)
    assert owner(lending, task) == HEAD
    lending.portal.state.set_owner(task, LAWYER, by=HEAD)
    lending.turn()
    lending.sweeps("2026-03-05 09:00")
    assert owner(lending, task) == LAWYER


def test_an_absence_that_is_cancelled_brings_the_task_back_and_not_on_the_same_day(lending: Department) -> None:
    task = lent_task(lending)
    lending.portal.state.absences.clear()
    lending.sweeps("2026-03-03 18:30")
    assert owner(lending, task) == IGOR, "nothing goes to and fro within one day"
    lending.sweeps("2026-03-04 09:00")
    assert owner(lending, task) == MARIA


def test_undo_puts_back_what_was_handed_over(lending: Department) -> None:
    task = lent_task(lending)
    account = changes.perform(lending.context, "undo", {"slot": M2})
    assert owner(lending, task) == MARIA
    assert lending.record(task).lent_from is None
    assert account["put_back"] == 2


def test_undo_leaves_alone_what_somebody_has_touched_since(lending: Department) -> None:
    task = lent_task(lending)
    lending.portal.state.set_owner(task, LAWYER, by=HEAD)
    changes.perform(lending.context, "undo", {"slot": M2})
    assert owner(lending, task) == LAWYER


def test_a_new_task_of_whoever_is_away_at_its_deadline_goes_to_the_substitute(lending: Department) -> None:
    absent(lending, MARIA, "2026-03-02 00:00", "2026-03-03 00:00")
    assert owner(lending, first_call(lending, MARIA)) == IGOR


def test_the_dry_run_shows_where_each_task_goes_the_load_and_the_messages(lending: Department) -> None:
    task = first_call(lending, MARIA)
    absent(lending, MARIA, "2026-03-03 00:00", "2026-03-05 00:00")
    lending.until("2026-03-03 09:00")
    account: Any = changes.perform(lending.context, "sweep", {"name": "evening", "dry_run": True})
    assert owner(lending, task) == MARIA, "nothing was written"
    (over,) = account["handed_over"]
    assert (over["task_id"], over["from_id"], over["to_id"], over["back"]) == (task, MARIA, IGOR, False)
    (load,) = account["load"]
    assert (load["user_id"], load["after"]) == (IGOR, {"2026-03-04": 1})
    assert {one["user_id"] for one in account["drafts"]} == {HEAD, IGOR}
    assert "Handed over to substitutes: 1 task" in next(one["text"] for one in account["drafts"])
    assert lending.store.operations(state=State.PLANNED) == []


# --- learned room ----------------------------------------------------------------------------------------------------


def test_closed_tasks_are_read_once_and_teach_how_many_a_day_takes(tmp_path: Path) -> None:
    learned = ROOM.replace("room: 2", "room: learned")
    with department(tmp_path, learned) as place:
        place.portal.calls.clear()
        place.turn()
        asked = Counter(place.portal.calls)
        for _ in range(3):
            place.until("12:00")
            place.turn()
        assert place.store.flags.closed_since is not None
        assert asked["tasks.task.list"] <= 2
        tasks = [place.task(f"Offer {n}", MARIA, "2026-03-02 12:00") for n in range(9)]
        place.sweeps("18:30")
        assert Counter(place.due(task)[:10] for task in tasks) == {"2026-03-03": 8, "2026-03-04": 1}, "8 to begin with"


# --- crashes ---------------------------------------------------------------------------------------------------------

STEPS = frozenset({"send:before", "send:after"}) | {
    f"{name}:after-commit" for name in ("claim_sweep", "record", "mark_sending", "finish")
}


class Killed(BaseException):
    """The process ends here."""


def test_killed_at_any_moment_it_hands_over_once_and_chooses_the_same_days(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every evening the process is killed one step later. One day Maria is away, the next she is back: each evening
    every task changes hands once, and goes to the next day, which has room for all three."""
    evening_only = 'overdue: {tasks: rules, evening: {at: "18:30", move_to: {after: 1 workday}}}\n'
    rules = LENDING.partition("overdue:")[0].replace("away:", "room: 3\naway:") + evening_only
    step = {"left": 0}

    def count_down(name: str) -> None:
        if name in STEPS:
            step["left"] -= 1
            if step["left"] == 0:
                raise Killed(name)

    monkeypatch.setattr("bitrix_sync.store.store.crash_point", count_down)
    monkeypatch.setattr("bitrix_sync.engine.sender.crash_point", count_down)
    with department(tmp_path, rules) as place:
        tasks = [first_call(place, MARIA) for _ in range(3)]
        evening, killed = place.at("2026-03-02 18:30"), list[str]()
        while True:
            place.portal.clock.set(evening)
            sweeps = len(place.store.sweeps())
            if sweeps % 2 == 0:
                begin = evening.replace(hour=0, minute=0)
                place.portal.state.add_absence(MARIA, begin, begin + timedelta(days=1))
            step["left"] = len(killed) + 1
            try:
                for _ in range(2):
                    place.turn()
            except Killed as death:
                killed.append(str(death))
                place.die()
                place.start()
                for _ in range(3):
                    place.turn()
            (row,) = place.store.sweeps(limit=1)
            assert (row.slot, row.state) == (f"{evening:%Y-%m-%d}/evening", "done"), killed[-1]
            holder = IGOR if sweeps % 2 == 0 else MARIA
            shown = [place.portal.state.tasks[task] for task in tasks]
            assert {one.responsible_id for one in shown} == {holder}, killed[-1]
            handed = [sum(change.field == "RESPONSIBLE_ID" for change in one.log) for one in shown]
            assert set(handed) == {sweeps + 1}, killed[-1]
            moved = [sum(change.field == "DEADLINE" for change in one.log) for one in shown]
            assert set(moved) == {sweeps + 1}, killed[-1]
            if len(killed) <= sweeps:
                step["left"] = 0
                break
            evening += timedelta(days=3 if evening.weekday() == 4 else 1)
    assert set(killed) == STEPS


def test_an_idle_hour_asks_nothing_more(place: Department) -> None:
    """Absences are read at sweeps alone, closed tasks once."""
    place.until("13:00")
    place.turn()
    before = Counter(place.portal.calls)
    for minute in range(10, 60, 10):
        place.until(f"13:{minute}")
        place.turn()
    asked = {name for name, count in (Counter(place.portal.calls) - before).items() if count}
    assert not asked & {"calendar.accessibility.get", "crm.currency.list"}, asked


def test_what_comes_back_is_told_from_the_task_as_it_is_now(lending: Department) -> None:
    """Its title was changed since it was last read, and its substitute is whom its rule names now."""
    task = lent_task(lending)
    deal = lending.portal.state.deals[lending.record(task).deal_id]
    lending.portal.state.set_responsible(deal.id, IGOR, by=HEAD)
    lending.turn()
    lending.portal.state.set_title(task, "Call them at last", by=IGOR)
    lending.sweeps("2026-03-05 09:00")
    record = lending.record(task)
    assert (owner(lending, task), record.lent_from, record.title) == (IGOR, None, "Call them at last")


def test_what_was_undone_is_not_moved_again_before_the_evening_of_the_next_working_day(place: Department) -> None:
    task = place.task("Offer", MARIA, "2026-03-02 12:00")
    place.sweeps("18:30")
    changes.perform(place.context, "undo", {"slot": E1})
    place.sweeps("2026-03-03 09:00")
    assert place.due(task) == "2026-03-02 12:00"
    place.sweeps("2026-03-03 18:30")
    assert place.due(task) == "2026-03-04 18:00"


def test_what_was_undone_is_moved_when_the_sweep_is_run_again(place: Department) -> None:
    task = place.task("Offer", MARIA, "2026-03-02 12:00")
    place.sweeps("18:30")
    changes.perform(place.context, "undo", {"slot": E1})
    changes.perform(place.context, "sweep", {"name": "evening", "rerun": True})
    assert place.due(task) == "2026-03-03 18:00"
