"""Sweeps end to end: the real service on the sandbox portal, over HTTP, with a real store. The promises of the section
"Overdue" of the rules language and of the commands ``sweep``, ``undo`` and ``release``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bitrix_sync import report
from bitrix_sync.commands import changes
from bitrix_sync.engine.passes import carry_out
from bitrix_sync.errors import PortalError, UserError
from bitrix_sync.model.actions import Kind
from bitrix_sync.model.operations import State
from bitrix_sync.sweeps import run, state
from tests.world.sweeps import (
    DIRECTOR,
    FIRED,
    HEAD,
    IGOR,
    LAWYER,
    LAWYER_HEAD,
    LOGIST,
    LOGIST_HEAD,
    MARIA,
    OLGA,
    RULES,
    SWEEPS,
    Department,
    department,
    measure_big_sweep,
    section,
)

E1 = "2026-03-02/evening"
M2 = "2026-03-03/morning"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Department]:
    with department(tmp_path) as found:
        yield found


def states(place: Department, slot: str) -> dict[str, int]:
    """Moves of a sweep by state."""
    return {state.value: count for state, count in place.store.move_counts(slot).items()}


def written(place: Department) -> dict[str, int]:
    """What was written to the portal so far."""
    names = ("tasks.task.update", "tasks.task.add", "im.message.add", "im.notify.system.add")
    return {name: place.portal.calls[name] for name in names}


# --- moving ----------------------------------------------------------------------------------------------------------


def test_what_is_overdue_in_the_evening_is_due_on_the_next_working_day_and_people_know(place: Department) -> None:
    task = place.task("Offer", MARIA, "2026-03-02 12:00")
    assert place.sweeps("18:30") == E1
    assert place.due(task) == "2026-03-03 18:00"
    assert place.readers(E1) == [HEAD, MARIA]
    assert section(place.heard(HEAD, E1), "Deadline moved: 1 task") == [
        "Мария Кузнецова: Offer. From Mon 2 March, 12:00 to Tue 3 March, 18:00, move no. 1"
    ]
    assert section(place.heard(MARIA, E1), "Your tasks, deadline moved: 1 task") == [
        "Offer. From Mon 2 March, 12:00 to Tue 3 March, 18:00, move no. 1"
    ]


def test_in_the_morning_it_is_due_today(place: Department) -> None:
    task = place.task("Offer", MARIA, "2026-03-01 12:00")
    place.sweeps("09:00")
    assert place.due(task) == "2026-03-02 18:00"


def test_nothing_to_say_no_message(place: Department) -> None:
    place.task("Later", MARIA, "2026-03-12 12:00")
    assert place.sweeps("18:30") == E1
    assert place.readers(E1) == []


def test_a_slot_runs_once_also_after_a_restart(place: Department) -> None:
    place.task("Offer", MARIA, "2026-03-02 12:00")
    place.sweeps("18:30")
    moves = written(place)
    late = place.task("Overdue since the sweep", MARIA, "2026-03-02 18:45")
    place.until("19:30")
    place.turn()
    place.restart()
    place.turn()
    assert place.due(late) == "2026-03-02 18:45"
    assert written(place) == moves


def test_a_person_who_moved_a_deadline_starts_the_count_anew_and_is_counted_apart(place: Department) -> None:
    task = place.task("Offer", MARIA, "2026-03-02 12:00")
    place.sweeps("18:30")
    place.until("2026-03-03 10:00")
    place.portal.state.set_deadline(task, place.at("2026-03-03 15:00"), by=MARIA)
    place.turn()
    record = place.record(task)
    assert (record.moves, record.moves_by_us, record.moves_by_people) == (0, 1, 1)
    place.sweeps("2026-03-03 18:30")
    record = place.record(task)
    assert (record.moves, record.moves_by_us, record.moves_by_people) == (1, 2, 1)
    assert record.first_deadline == place.at("2026-03-02 12:00")
    assert [(slip.by, slip.sweep) for slip in place.store.slips(refs=[record.ref])] == [
        ("sweep", E1),
        ("people", ""),
        ("sweep", "2026-03-03/evening"),
    ]
    (line,) = report.moves(place.store, now=place.service.clock())
    assert (line["task_id"], line["moves_by_us"], line["moves_by_people"]) == (task, 2, 1)
    assert line["first_deadline"] == place.at("2026-03-02 12:00")


def test_a_deadline_that_a_person_moves_between_decision_and_write_is_left_alone(place: Department) -> None:
    task = place.task("Offer", MARIA, "2026-03-02 12:00")
    place.until("18:30")
    run.run_due(place.context)
    place.portal.state.set_deadline(task, place.at("2026-03-05 12:00"), by=MARIA)
    carry_out(place.context)
    place.turn()
    assert place.due(task) == "2026-03-05 12:00"
    assert states(place, E1) == {"dropped": 1}
    assert place.heard(HEAD, E1) == ""


def test_a_person_who_sets_the_same_minute_moved_nothing(place: Department) -> None:
    task = place.task("Offer", MARIA, "2026-03-02 12:00")
    place.sweeps("18:30")
    place.portal.state.set_deadline(task, place.at("2026-03-03 18:00"), by=MARIA)
    place.until("2026-03-03 10:00")
    place.turn()
    assert place.record(task).moves_by_people == 0


@pytest.mark.parametrize(
    ("scope", "moved"),
    [("rules", ["of rule"]), ("deals", ["of rule", "of deal"]), ("all", ["of rule", "of deal", "of nothing"])],
)
def test_scope(tmp_path: Path, scope: str, moved: list[str]) -> None:
    with department(tmp_path, RULES + SWEEPS.replace("tasks: deals", f"tasks: {scope}")) as place:
        deal = place.add_deal("of rule")
        place.task("of deal", MARIA, "2026-03-02 12:00")
        place.task("of nothing", MARIA, "2026-03-02 12:00", deals=[])
        place.turn()
        (ours,) = place.tasks(deal)
        before = {task.id: task.deadline for task in place.portal.state.tasks.values()}
        place.sweeps("18:30")
        found = [
            "of rule" if task.id == ours.id else task.title
            for task in place.portal.state.tasks.values()
            if task.deadline != before[task.id]
        ]
        assert sorted(found) == sorted(moved)


def test_deferred_tasks_stay_and_those_awaiting_acceptance_are_told(place: Department) -> None:
    deferred = place.task("Deferred", MARIA, "2026-03-02 12:00")
    place.portal.state.defer_task(deferred, by=MARIA)
    awaiting = place.task("Awaiting", MARIA, "2026-03-02 12:00", control=True)
    place.portal.state.complete_task(awaiting, by=MARIA)
    place.sweeps("18:30")
    assert (place.due(deferred), place.due(awaiting)) == ("2026-03-02 12:00", "2026-03-02 12:00")
    assert section(place.heard(HEAD, E1), "Awaiting acceptance") == [
        "Мария Кузнецова: Awaiting. Was due Mon 2 March, 12:00. Accept the work or return it"
    ]
    assert "Deferred" not in place.heard(HEAD, E1)


def test_the_load_in_a_message_is_that_of_the_report(place: Department) -> None:
    place.task("Offer", MARIA, "2026-03-03 16:00")
    awaiting = place.task("Awaiting", MARIA, "2026-03-03 08:00", control=True)
    place.portal.state.complete_task(awaiting, by=MARIA)
    place.sweeps("2026-03-03 09:00")
    (line,) = report.load(place.store, now=place.service.clock())
    assert (line["open"], line["overdue"], line["today"]) == (2, 0, 2)
    assert section(place.heard(HEAD, M2), "Load") == ["Мария Кузнецова: open 2, overdue 0, due that day 2"]
    assert report.sweeps(place.store)[0]["overdue"] == 0


def test_a_task_of_a_closed_deal_is_not_moved_and_told_in_the_morning(place: Department) -> None:
    deal = place.add_deal("Romashka", stage="EXECUTING")
    task = place.task("Papers", MARIA, "2026-03-02 12:00", deal=deal)
    place.move(deal, "WON")
    place.sweeps("18:30")
    assert place.heard(HEAD, E1) == ""
    place.sweeps("2026-03-03 09:00")
    assert place.due(task) == "2026-03-02 12:00"
    assert section(place.heard(HEAD, M2), "Deal closed, task still open") == [
        "Мария Кузнецова: Papers (Romashka). Was due Mon 2 March, 12:00. Complete or delete the task"
    ]


def test_a_task_of_a_deleted_deal_is_told_once_and_then_left_alone(place: Department) -> None:
    deal = place.add_deal("Romashka", stage="EXECUTING")
    task = place.task("Papers", MARIA, "2026-03-02 12:00", deal=deal)
    place.turn()
    place.portal.state.delete_deal(deal)
    place.until("18:30")
    account = changes.perform(place.context, "sweep", {"name": "evening", "dry_run": True})
    assert [one["why"] for one in account["tasks"] if one["title"] == "Papers"] == ["its deal is gone"]
    place.sweeps("18:30")
    (line,) = section(place.heard(HEAD, E1), "Deal deleted or hidden from the webhook, task still open")
    assert "Papers" in line
    assert "Was due Mon 2 March, 12:00, not moved any more" in line
    for moment in ("2026-03-03 09:00", "18:30", "2026-03-04 09:00"):
        slot = place.sweeps(moment)
        assert "Papers" not in place.heard(HEAD, slot)
        assert "Papers" not in place.heard(MARIA, slot)
    assert place.due(task) == "2026-03-02 12:00"
    place.portal.state.restore_deal(deal)
    place.sweeps("18:30")
    assert place.due(task) == "2026-03-05 18:00", "the deal is back, and its task goes on"


def test_a_task_of_a_deleted_deal_that_nobody_controls_is_told_to_the_admins(place: Department) -> None:
    deal = place.add_deal("Romashka", stage="EXECUTING")
    place.task("Papers", DIRECTOR, "2026-03-02 12:00", deal=deal)
    place.portal.state.delete_deal(deal)
    place.sweeps("18:30")
    assert "Papers" in place.heard(DIRECTOR, E1)


def test_what_the_portal_forbids_to_move_is_listed_with_its_reason(place: Department) -> None:
    frozen, other = place.task("Frozen", MARIA, "2026-03-02 12:00"), place.task("Other", MARIA, "2026-03-02 12:00")
    place.portal.state.freeze_deadline(frozen)
    place.sweeps("18:30")
    assert (place.due(frozen), place.due(other)) == ("2026-03-02 12:00", "2026-03-03 18:00")
    assert section(place.heard(HEAD, E1), "The portal refused to move: 1 task") == [
        "Мария Кузнецова: Frozen. Action on the task is not allowed"
    ]


def test_what_the_portal_agrees_to_move_and_does_not_is_listed_too(place: Department) -> None:
    """As its own limits on changes of deadlines may have it."""
    kept = place.task("Kept", MARIA, "2026-03-02 12:00")
    place.portal.state.switches.kept_deadlines.add(kept)
    place.sweeps("18:30")
    assert (place.due(kept), states(place, E1), place.record(kept).moves) == ("2026-03-02 12:00", {"failed": 1}, 0)
    assert section(place.heard(HEAD, E1), "The portal refused to move: 1 task") == [
        "Мария Кузнецова: Kept. The portal agreed but kept the old deadline."
    ]


def test_a_task_that_nobody_controls_and_that_cannot_be_moved_is_told_to_the_administrators(place: Department) -> None:
    frozen = place.task("Frozen", DIRECTOR, "2026-03-02 12:00")
    place.portal.state.freeze_deadline(frozen)
    place.sweeps("18:30")
    assert place.record(frozen).supervisor_id is None
    assert section(place.heard(DIRECTOR, E1), "The portal refused to move") != []


def test_the_milder_right_is_enough(tmp_path: Path) -> None:
    """A webhook of the head of sales: not the creator of the tasks, no administrator."""
    with department(tmp_path) as place:
        state = place.portal.state
        state.add_webhook(HEAD, "headscode12345678", ("calendar", "crm", "department", "im", "task", "user_basic"))
        may = place.task("May", MARIA, "2026-03-02 12:00", by=LAWYER, allow_deadline=True)
        may_not = place.task("May not", MARIA, "2026-03-02 12:00", by=LAWYER)
        place.service.close()
        place.environ["BITRIX_WEBHOOK_URL"] = place.portal.url_of(HEAD, "headscode12345678")
        place.start()
        place.sweeps("18:30")
        assert (place.due(may), place.due(may_not)) == ("2026-03-03 18:00", "2026-03-02 12:00")
        assert section(place.heard(HEAD, E1), "The portal refused to move: 1 task") != []


# --- limit -----------------------------------------------------------------------------------------------------------


def test_after_the_limit_it_is_escalated_to_the_supervisors_own_head_once(tmp_path: Path) -> None:
    with department(tmp_path, RULES + SWEEPS.replace("limit: 3", "limit: 1")) as place:
        task = place.task("Offer", MARIA, "2026-03-02 12:00")
        place.sweeps("18:30")
        assert place.due(task) == "2026-03-03 18:00"
        for slot in ("2026-03-03/evening", "2026-03-04/evening"):
            place.sweeps(slot.replace("/evening", " 18:30"))
            assert place.due(task) == "2026-03-03 18:00"
            assert place.readers(slot) == []
        slot = place.sweeps("2026-03-05 09:00")
        assert place.due(task) == "2026-03-03 18:00"
        assert place.readers(slot) == [DIRECTOR, HEAD]
        assert section(place.heard(DIRECTOR, slot), "Not moved any more, for you to decide: 1 task") == [
            "Мария Кузнецова: Offer. Was due Tue 3 March, 18:00, 1 move. Supervisor: Виктор Орлов"
        ]
        assert section(place.heard(HEAD, slot), "Not moved any more, told above you: 1 task") == [
            "Мария Кузнецова: Offer. Was due Tue 3 March, 18:00, 1 move. Told: Анна Смирнова"
        ]
        assert place.readers(place.sweeps("2026-03-06 09:00")) == [], "told once"


def test_at_the_top_it_is_escalated_to_the_supervisor_himself_marked(tmp_path: Path) -> None:
    with department(tmp_path, RULES + SWEEPS.replace("limit: 3", "limit: 0")) as place:
        place.task("Report", HEAD, "2026-03-01 12:00", by=DIRECTOR)
        place.sweeps("09:00")
        (line,) = section(place.heard(DIRECTOR, "2026-03-02/morning"), "Not moved any more, for you to decide")
        assert line.endswith("Nobody is above you")


# --- supervisors -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("owner", "reader"),
    [(MARIA, HEAD), (HEAD, DIRECTOR), (OLGA, HEAD), (LAWYER, LAWYER_HEAD), (LOGIST, DIRECTOR), (FIRED, HEAD)],
    ids=["of his department", "the head is the owner", "several departments", "another", "head away", "owner fired"],
)
def test_who_is_told(place: Department, owner: int, reader: int) -> None:
    place.task("Offer", owner, "2026-03-02 12:00")
    place.sweeps("18:30")
    assert section(place.heard(reader, E1), "Deadline moved: 1 task") != []
    assert place.readers(E1) == sorted({reader, owner} - {FIRED})


def test_a_head_who_was_fired_or_is_missing_is_replaced_by_the_one_above(place: Department) -> None:
    place.portal.state.fire(HEAD)
    place.portal.state.set_head(5, 0)
    place.task("Offer", MARIA, "2026-03-02 12:00")
    place.task("Contract", LAWYER, "2026-03-02 12:00")
    place.sweeps("18:30")
    assert len(section(place.heard(DIRECTOR, E1), "Deadline moved: 2 tasks")) == 2


def test_who_reads_for_somebody_who_is_away_is_told_so(place: Department) -> None:
    place.task("Delivery", LOGIST, "2026-03-02 12:00")
    place.sweeps("18:30")
    assert "These are away, so you read their messages: Сергей Морозов" in place.heard(DIRECTOR, E1)
    assert place.heard(LOGIST_HEAD, E1) == ""


def test_the_load_says_who_is_away(place: Department) -> None:
    state = place.portal.state
    state.add_absence(MARIA, place.at("2026-03-02 00:00"), place.at("2026-03-09 00:00"))
    place.task("Offer", MARIA, "2026-03-02 12:00")
    place.sweeps("18:30")
    assert section(place.heard(HEAD, E1), "Load of your people, Tue 3 March") == [
        "Мария Кузнецова (away until Mon 9 March): open 1, overdue 0, due that day 0"
    ]


def test_open_tasks_of_fired_employees_are_told_to_the_head_over_them(place: Department) -> None:
    place.task("Orphan", FIRED, "2026-03-20 12:00")
    place.sweeps("18:30")
    assert section(place.heard(HEAD, E1), "Owned by people who have left: 1 task") == [
        "Юлия Козлова: Orphan. Give it another owner"
    ]


def test_a_deal_that_is_stuck_in_a_stage_is_told_once_for_its_visit(tmp_path: Path) -> None:
    rules = RULES.replace("    Новая заявка:", "    Договор: {limit: 2 workdays}\n    Новая заявка:") + SWEEPS
    with department(tmp_path, rules) as place:
        for deal in list(place.portal.state.deals.values()):
            if deal.stage_id == "EXECUTING":
                place.portal.state.move_deal(deal.id, "WON", by=1)
        deal_id = place.add_deal("Romashka", stage="EXECUTING")
        place.turn()
        told = []
        for day in ("03", "04", "05", "06"):
            slot = place.sweeps(f"2026-03-{day} 18:30")
            told.append(section(place.heard(HEAD, slot), "Stuck in a stage"))
        assert [len(lines) for lines in told] == [0, 1, 0, 0]
        assert told[1][0].startswith("Romashka: in “Договор” since Mon 2 March, 08:01, responsible Мария Кузнецова")
        place.move(deal_id, "NEW")
        place.wait(minutes=1)
        place.move(deal_id, "EXECUTING")
        place.turn()
        slot = place.sweeps("2026-03-12 18:30")
        assert len(section(place.heard(HEAD, slot), "Stuck in a stage: 1 deal")) == 1


def test_notify_says_who_is_told(tmp_path: Path) -> None:
    with department(tmp_path, RULES + SWEEPS + "  notify: [owner]\n") as place:
        place.task("Offer", MARIA, "2026-03-02 12:00")
        frozen = place.task("Frozen", IGOR, "2026-03-02 12:00")
        place.portal.state.freeze_deadline(frozen)
        place.sweeps("18:30")
        assert place.readers(E1) == [DIRECTOR, MARIA]
        assert "Frozen" in place.heard(DIRECTOR, E1), "what cannot be moved is never dropped silently"


# --- commands --------------------------------------------------------------------------------------------------------


def everything(place: Department) -> tuple[Any, ...]:
    store = place.store
    return (
        store.task_records(),
        store.operations(),
        store.sweeps(),
        store.slips(),
        store.counts(),
        written(place),
        [store.flags.sweeps_since, store.flags.sweep_rest, store.flags.vanished],
    )


def test_a_dry_run_says_what_it_would_do_and_writes_nothing_anywhere(place: Department) -> None:
    task = place.task("Offer", MARIA, "2026-03-02 12:00")
    gone = place.task("Deleted", MARIA, "2026-03-02 12:00")
    place.turn()
    place.portal.state.delete_task(gone)
    unseen = place.task("Not read yet", MARIA, "2026-03-02 13:00")
    place.until("15:00")
    before = everything(place)
    account = changes.perform(place.context, "sweep", {"name": "evening", "dry_run": True})
    assert everything(place) == before
    assert [(line["task_id"], line["fate"], line["to"]) for line in account["tasks"]] == [
        (task, "move", "2026-03-03T18:00+03:00"),
        (unseen, "move", "2026-03-03T18:00+03:00"),
    ]


def test_a_dry_run_says_why_a_task_is_not_moved(tmp_path: Path) -> None:
    with department(tmp_path, RULES + SWEEPS.replace("limit: 3", "limit: 0")) as place:
        deal = place.add_deal("Romashka", stage="EXECUTING")
        place.task("Papers", MARIA, "2026-03-02 12:00", deal=deal)
        place.move(deal, "WON")
        place.task("Offer", MARIA, "2026-03-02 12:00")
        awaiting = place.task("Awaiting", MARIA, "2026-03-02 12:00", control=True)
        place.portal.state.complete_task(awaiting, by=MARIA)
        place.until("15:00")
        account = changes.perform(place.context, "sweep", {"name": "evening", "dry_run": True})
        assert [(line["title"], line["fate"], line["why"]) for line in account["tasks"]] == [
            ("Papers", "stay", "its deal is closed"),
            ("Offer", "stay", "its limit of moves: 0"),
            ("Awaiting", "awaiting", "it awaits acceptance"),
        ]


def test_todays_sweep_may_be_run_before_its_hour_and_counts_as_done(place: Department) -> None:
    task = place.task("Offer", MARIA, "2026-03-02 12:00")
    place.until("15:00")
    account = changes.perform(place.context, "sweep", {"name": "evening"})
    assert (account["moved"], account["remaining"], account["messages"]) == (1, 0, 2)
    assert place.readers(E1) == [HEAD, MARIA]
    with pytest.raises(UserError, match="done already"):
        changes.perform(place.context, "sweep", {"name": "evening"})
    place.portal.state.set_deadline(task, place.at("2026-03-02 16:00"), by=MARIA)
    place.sweeps("18:30")
    assert place.due(task) == "2026-03-02 16:00"


def test_a_sweep_that_the_file_does_not_have_is_refused_with_what_to_write(tmp_path: Path) -> None:
    morning_only = "\n".join(line for line in SWEEPS.splitlines() if "evening" not in line)
    with (
        department(tmp_path, RULES + morning_only) as place,
        pytest.raises(UserError, match=re.escape("evening: {at:")),
    ):
        changes.perform(place.context, "sweep", {"name": "evening", "dry_run": True})


def test_undo_moves_back_what_nobody_has_touched_since_and_counts_go_back(place: Department) -> None:
    kept, touched = place.task("Kept", MARIA, "2026-03-02 12:00"), place.task("Touched", MARIA, "2026-03-02 12:00")
    done = place.task("Done", MARIA, "2026-03-02 12:00")
    place.sweeps("18:30")
    place.portal.state.set_deadline(touched, place.at("2026-03-09 12:00"), by=MARIA)
    place.portal.state.complete_task(done, by=MARIA)
    account = changes.perform(place.context, "undo", {"slot": E1})
    assert (account["put_back"], account["left_alone"], account["failed"]) == (1, 2, [])
    assert (place.due(kept), place.due(touched), place.due(done)) == (
        "2026-03-02 12:00",
        "2026-03-09 12:00",
        "2026-03-03 18:00",
    )
    record = place.record(kept)
    assert (record.moves, record.moves_by_us, record.moves_by_people) == (0, 0, 0)
    assert place.store.sweep(E1).state == "undone"
    place.turn()
    assert place.record(kept).moves_by_people == 0, "our own way back is no person's move"


def test_a_sweep_is_undone_once(place: Department) -> None:
    task = place.task("Offer", MARIA, "2026-03-02 12:00")
    place.sweeps("18:30")
    changes.perform(place.context, "undo", {"slot": E1})
    with pytest.raises(UserError, match="undone already"):
        changes.perform(place.context, "undo", {"slot": E1})
    assert place.due(task) == "2026-03-02 12:00"
    with pytest.raises(UserError, match="there was no sweep"):
        changes.perform(place.context, "undo", {"slot": "2026-03-01/evening"})


def test_what_was_undone_is_moved_by_a_later_sweep_as_if_for_the_first_time(place: Department) -> None:
    task = place.task("Offer", MARIA, "2026-03-02 12:00")
    place.sweeps("18:30")
    changes.perform(place.context, "undo", {"slot": E1})
    place.sweeps("2026-03-03 18:30")
    assert place.due(task) == "2026-03-04 18:00"
    assert place.record(task).moves == 1


def test_undo_of_a_sweep_under_way_sends_no_more_of_it_and_tells_nobody(place: Department) -> None:
    tasks = [place.task(f"Offer {number}", MARIA, "2026-03-02 12:00") for number in range(30)]
    place.until("18:30")
    run.run_due(place.context)
    half = iter([False, True])
    carry_out(place.context, interrupted=lambda: next(half))
    assert 0 < states(place, E1)["done"] < 30
    account = changes.perform(place.context, "undo", {"slot": E1})
    place.turn()
    place.turn()
    assert {place.due(task) for task in tasks} == {"2026-03-02 12:00"}
    assert account["put_back"] + account["unsent"] == 30
    assert place.readers(E1) == []


# --- safety ----------------------------------------------------------------------------------------------------------

CAREFUL = RULES + SWEEPS + "safety: {max_moves: 2}\n"


def test_a_sweep_above_the_safety_limit_is_held_as_a_whole_and_the_admins_are_told(tmp_path: Path) -> None:
    with department(tmp_path, CAREFUL) as place:
        tasks = [place.task(f"Offer {number}", MARIA, "2026-03-02 12:00") for number in range(3)]
        place.sweeps("18:30")
        place.until("19:30")
        place.turn()
        assert {place.due(task) for task in tasks} == {"2026-03-02 12:00"}
        assert (place.store.sweep(E1).state, states(place, E1)) == ("held", {"held": 3})
        assert place.readers(E1) == [DIRECTOR]
        assert "Moves held back: 3" in place.heard(DIRECTOR, E1)
        assert [line["title"] for line in report.held_back(place.store)] == ["Offer 0", "Offer 1", "Offer 2"]


def test_release_lets_a_held_sweep_go_and_its_messages_follow(tmp_path: Path) -> None:
    with department(tmp_path, CAREFUL) as place:
        tasks = [place.task(f"Offer {number}", MARIA, "2026-03-02 12:00") for number in range(3)]
        place.sweeps("18:30")
        place.until("19:30")
        assert changes.perform(place.context, "release", {})["released"] == 3
        assert {place.due(task) for task in tasks} == {"2026-03-03 18:00"}
        assert len(section(place.heard(HEAD, E1), "Deadline moved: 3 tasks")) == 3
        place.turn()
        assert place.readers(E1) == [DIRECTOR, HEAD, MARIA]


def test_a_message_in_doubt_is_not_taken_for_the_notice_that_its_sweep_is_held(tmp_path: Path) -> None:
    with department(tmp_path, CAREFUL.replace("admins: [1]", f"admins: [{HEAD}]")) as place:
        for number in range(3):
            place.task(f"Offer {number}", MARIA, "2026-03-02 12:00")
        place.sweeps("18:30")
        (notice,) = place.mail(HEAD)
        assert E1 in notice
        place.store.release()
        carry_out(place.context)
        run.run_due(place.context)
        rows = place.store.operations(sweep=E1, kind=Kind.MESSAGE)
        place.store.mark_sending([row.id for row in rows], place.context.sender.epoch, place.service.clock())
        place.store.settle_at_start(place.service.clock())
        place.wait(seconds=80)
        place.turn()
        assert len(section(place.mail(HEAD)[-1], "Deadline moved: 3 tasks")) == 3
        assert len(place.mail(HEAD)) == 2


def test_what_was_held_and_never_released_is_listed_when_the_next_slot_begins(tmp_path: Path) -> None:
    with department(tmp_path, CAREFUL) as place:
        tasks = [place.task(f"Offer {number}", MARIA, "2026-03-02 12:00") for number in range(3)]
        place.sweeps("18:30")
        for task in tasks[:2]:
            place.portal.state.complete_task(task, by=MARIA)
        place.sweeps("2026-03-03 09:00")
        lines = section(place.heard(HEAD, E1), "Not moved in time: 3 tasks")
        assert lines[0] == (
            "Мария Кузнецова: Offer 0. There were too many moves at once, and no administrator let them go."
        )
        assert place.due(tasks[2]) == "2026-03-03 18:00"
        assert changes.perform(place.context, "release", {})["released"] == 0


def test_a_held_sweep_may_be_undone(tmp_path: Path) -> None:
    with department(tmp_path, CAREFUL) as place:
        for number in range(3):
            place.task(f"Offer {number}", MARIA, "2026-03-02 12:00")
        place.sweeps("18:30")
        account = changes.perform(place.context, "undo", {"slot": E1})
        assert (account["put_back"], account["unsent"]) == (0, 3)
        assert changes.perform(place.context, "release", {})["released"] == 0


def test_under_watch_nothing_is_written_and_the_slot_is_used_up(tmp_path: Path) -> None:
    rules = RULES + SWEEPS + "safety: {watch: true, max_moves: 1}\n"
    with department(tmp_path, rules) as place:
        tasks = [place.task(f"Offer {number}", MARIA, "2026-03-02 12:00") for number in range(3)]
        before = written(place)
        place.sweeps("18:30")
        assert written(place) == before
        assert place.store.sweep(E1).state == "done"
        assert place.store.sweep(E1).summary["moves"] == 3
        assert place.store.operations(sweep=E1) == []
        with pytest.raises(UserError, match="watch"):
            changes.perform(place.context, "undo", {"slot": E1})
        assert {place.due(task) for task in tasks} == {"2026-03-02 12:00"}
        lines = report.REPORTS["trial"].rows(place.store, now=place.context.portal.now())
        assert [line["title"] for line in lines if line["kind"] == "task.deadline"] == ["Offer 2", "Offer 1", "Offer 0"]
        drafts = {line["owner_id"]: line["text"] for line in lines if line["kind"] == "message"}
        assert "Deadline moved: 3 tasks" in drafts[HEAD]
        assert "open 3, overdue 0, due that day 3" in drafts[HEAD], "as if they were moved"
        assert "[b]" not in drafts[HEAD]


def test_watch_that_is_turned_on_during_a_sweep_stops_it(place: Department) -> None:
    task = place.task("Offer", MARIA, "2026-03-02 12:00")
    place.until("18:30")
    run.run_due(place.context)
    place.rules.write_text(place.rules.read_text("utf-8") + "safety: {watch: true}\n", "utf-8")
    assert place.context.rulebook.reload_if_changed()
    place.turn()
    place.until("18:55")
    place.turn()
    assert place.due(task) == "2026-03-02 12:00"
    assert place.readers(E1) == []


def test_a_pause_holds_moves_and_messages_until_it_ends(place: Department) -> None:
    task = place.task("Offer", MARIA, "2026-03-02 12:00")
    place.store.flags.paused = True
    place.sweeps("18:30")
    place.until("19:30")
    place.turn()
    assert place.due(task) == "2026-03-02 12:00"
    state.resume_at(place.store, place.service.clock())
    place.turn()
    place.turn()
    place.turn()
    assert place.due(task) == "2026-03-03 18:00"
    assert "Still being moved" not in place.heard(HEAD, E1)
    assert section(place.heard(HEAD, E1), "Deadline moved: 1 task") != []


def test_when_rights_are_lost_nothing_is_moved_and_the_admins_are_told_once_a_day(place: Department) -> None:
    tasks = [place.task(f"Offer {number}", MARIA, "2026-03-02 12:00") for number in range(40)]
    place.turn()
    for task in tasks[:30]:
        place.portal.state.hide_task(task)
    place.sweeps("18:30")
    assert {place.due(task) for task in tasks} == {"2026-03-02 12:00"}
    assert place.readers(E1) == []
    (notice,) = place.mail(DIRECTOR)
    assert "no longer shows 30 of 40 tasks" in notice
    for task in tasks[:30]:
        place.portal.state.show_task(task)
    place.sweeps("2026-03-03 09:00")
    assert {place.due(task) for task in tasks} == {"2026-03-03 18:00"}


def test_so_much_that_people_did_delete_is_believed_after_a_release(place: Department) -> None:
    tasks = [place.task(f"Offer {number}", MARIA, "2026-03-02 12:00") for number in range(40)]
    place.turn()
    for task in tasks[:30]:
        place.portal.state.delete_task(task)
    place.sweeps("18:30")
    assert changes.perform(place.context, "release", {})["believed"]
    place.sweeps("2026-03-03 09:00")
    assert {place.due(task) for task in tasks[30:]} == {"2026-03-03 18:00"}
    assert len(place.mail(DIRECTOR)) == 1
    assert sum(record.gone for record in place.store.task_records()) == 30


# --- when the file changes -------------------------------------------------------------------------------------------


def rewrite(place: Department, old: str, new: str) -> None:
    text = place.rules.read_text("utf-8")
    assert old in text
    place.rules.write_text(text.replace(old, new), "utf-8")
    assert place.context.rulebook.reload_if_changed(), place.context.rulebook.error


def test_a_sweep_taken_out_of_the_file_stops_nothing_else(place: Department) -> None:
    place.until("18:30")
    assert place.store.claim_sweep(E1, place.context.portal.now())
    rewrite(place, '  evening: {at: "18:30", move_to: {after: 1 workday}}\n', "")
    deal = place.add_deal()
    place.turn()
    assert place.store.sweep(E1).state == "skipped"
    assert place.marks(deal) == ["first-call"]


def test_without_the_section_what_is_unsent_is_dropped(place: Department) -> None:
    task = place.task("Offer", MARIA, "2026-03-02 12:00")
    place.until("18:30")
    run.run_due(place.context)
    rewrite(place, SWEEPS, "")
    place.turn()
    place.turn()
    assert place.due(task) == "2026-03-02 12:00"
    assert (states(place, E1), place.readers(E1)) == ({"dropped": 1}, [])
    assert place.store.flags.sweeps_since == {}


def test_a_sweep_that_comes_into_the_file_after_its_hour_waits_for_tomorrow(place: Department) -> None:
    rewrite(place, '  morning: {at: "09:00", move_to: {after: 0 workdays}}\n', "")
    place.turn()
    place.until("12:00")
    rewrite(place, "  evening:", '  morning: {at: "09:00", move_to: {after: 0 workdays}}\n  evening:')
    place.turn()
    assert place.store.sweeps() == []
    assert place.sweeps("2026-03-03 09:00") == M2


def test_a_beginning_that_a_wrong_clock_told_keeps_no_sweep_back(place: Department) -> None:
    place.turn()
    ahead = place.service.portal.now() + timedelta(days=400)
    place.store.flags.sweeps_since = {"morning": ahead, "evening": ahead}
    place.turn()
    assert place.sweeps("2026-03-03 09:00") == M2


# --- a slow portal ---------------------------------------------------------------------------------------------------


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[tuple[Department, list[int]]]:
    """A portal in which a change costs four seconds, and 300 tasks of two people."""
    with department(tmp_path) as place:
        place.portal.limits.costs["tasks.task.update"] = 400.0
        people = (MARIA, LAWYER)
        yield place, [place.task(f"Offer {n}", people[n % 2], "2026-03-02 12:00") for n in range(300)]


def test_a_slow_portal_finishes_person_by_person_and_says_how_long_the_rest_takes(
    slow: tuple[Department, list[int]],
) -> None:
    place, tasks = slow
    place.sweeps("18:30")
    moved = [task for task in tasks if place.due(task) != "2026-03-02 12:00"]
    assert 100 < len(moved) < 125, "what fits into one window of operating time"
    assert {place.portal.state.tasks[task].responsible_id for task in moved} == {MARIA}, "of one supervisor first"
    line = report.state_of_things(place.store, place.service.settings)["last_sweeps"][0]
    until = datetime.fromisoformat(line["until"])
    assert line["remaining"] == 300 - len(moved)
    assert timedelta(minutes=15) < until - place.at("18:30") < timedelta(minutes=35)
    assert place.readers(E1) == [], "twenty minutes are not over"


def test_after_twenty_minutes_people_are_told_what_remains_and_the_next_message_tells_of_it(
    slow: tuple[Department, list[int]],
) -> None:
    place, tasks = slow
    place.sweeps("18:30")
    place.sweeps("18:50")
    assert place.readers(E1) == [HEAD, MARIA, LAWYER_HEAD]
    lawyers = place.heard(LAWYER_HEAD, E1)
    assert "Still being moved" in lawyers
    assert "It will take until about Mon 2 March, 19:" in lawyers
    place.sweeps("19:05")
    place.sweeps("19:20")
    assert {place.due(task) for task in tasks} == {"2026-03-03 18:00"}
    assert "remaining" not in report.state_of_things(place.store, place.service.settings)["last_sweeps"][0]
    slot = place.sweeps("2026-03-03 09:00")
    assert any(line.startswith("Moved after the last message: ") for line in place.heard(LAWYER_HEAD, slot).split("\n"))


def test_what_is_unsent_when_the_next_slot_begins_is_dropped_listed_and_decided_anew(
    slow: tuple[Department, list[int]],
) -> None:
    place, tasks = slow
    place.sweeps("18:30")
    place.sweeps("18:50")
    left = [task for task in tasks if place.due(task) == "2026-03-02 12:00"]
    assert left
    place.portal.limits.costs.clear()
    slot = place.sweeps("2026-03-03 09:00")
    place.sweeps("09:11")
    assert {place.due(task) for task in left} == {"2026-03-03 18:00"}
    assert states(place, E1) == {"done": 300 - len(left), "dropped": len(left)}
    unsent = section(place.heard(LAWYER_HEAD, slot), "Not moved in time")
    assert unsent[0].endswith("The next sweep began.")
    assert unsent[-1].startswith("…and ")


def test_a_command_says_what_is_left_to_the_service_and_until_when(slow: tuple[Department, list[int]]) -> None:
    place, _ = slow
    place.until("15:00")
    account = changes.perform(place.context, "sweep", {"name": "evening"})
    assert account["remaining"] > 100
    assert account["until"].startswith("2026-03-02T15:")
    assert json.dumps(account)


# --- whatever happens ------------------------------------------------------------------------------------------------


def test_what_is_in_doubt_when_the_next_slot_begins_is_settled_by_its_reading(place: Department) -> None:
    arrived, lost = place.task("Arrived", MARIA, "2026-03-02 12:00"), place.task("Lost", MARIA, "2026-03-02 12:00")
    place.until("18:30")
    run.run_due(place.context)
    rows = place.store.operations(sweep=E1, kind=Kind.DEADLINE)
    place.store.mark_sending([row.id for row in rows], place.context.sender.epoch, place.service.clock())
    place.portal.state.set_deadline(arrived, place.at("2026-03-03 18:00"), by=1)
    place.store.settle_at_start(place.service.clock())
    place.until("2026-03-03 09:00")
    run.run_due(place.context)
    ends = {row.operation.task: row.state for row in place.store.operations(sweep=E1, kind=Kind.DEADLINE)}
    assert ends == {f"task:{arrived}": State.DONE, f"task:{lost}": State.DROPPED}
    place.turn()
    place.turn()
    assert place.due(lost) == "2026-03-03 18:00"
    assert place.record(arrived).moves == 1
    assert place.record(lost).moves == 1


STEPS = frozenset({"send:before", "send:after"}) | {
    f"{name}:after-commit" for name in ("claim_sweep", "record", "mark_sending", "finish")
}
"""After each commit of a sweep (who dies before one has not come further than the last), and around each request."""


class Killed(BaseException):
    """The process ends here."""


def test_killed_at_any_moment_and_started_again_it_ends_in_the_same_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every evening the process is killed one step later. Each evening every
    overdue task is moved once, and everybody concerned has one message."""
    rules = RULES + 'overdue: {tasks: deals, evening: {at: "18:30", move_to: {after: 1 workday}}}\n'
    step = {"left": 0}

    def count_down(name: str) -> None:
        if name in STEPS:
            step["left"] -= 1
            if step["left"] == 0:
                raise Killed(name)

    monkeypatch.setattr("bitrix_sync.store.store.crash_point", count_down)
    monkeypatch.setattr("bitrix_sync.engine.sender.crash_point", count_down)
    with department(tmp_path, rules) as place:
        tasks = [place.task(f"Offer {n}", (MARIA, LAWYER)[n % 2], "2026-03-02 12:00") for n in range(12)]
        evening = place.at("2026-03-02 18:30")
        killed: list[str] = []
        while True:
            place.portal.clock.set(evening)
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
            assert place.readers(row.slot) == [HEAD, MARIA, LAWYER_HEAD, LAWYER], killed[-1]
            sweeps = len(place.store.sweeps())
            for task in tasks:
                moves = [change for change in place.portal.state.tasks[task].log if change.field == "DEADLINE"]
                assert len(moves) == place.record(task).moves == sweeps, killed[-1]
            if len(killed) < sweeps:
                step["left"] = 0
                break
            evening += timedelta(days=3 if evening.weekday() == 4 else 1)
    assert set(killed) == STEPS


def test_of_two_processes_one_sweeps_and_the_other_takes_over_when_it_is_gone(place: Department) -> None:
    task = place.task("Offer", MARIA, "2026-03-02 12:00")
    place.until("18:30")
    place.die()
    service = place.begin()
    assert service.store.take_lease("elsewhere:1", 1, "elsewhere", service.clock()) is not None
    with pytest.raises(PortalError, match="another process"):
        service.turn({"slots", "poll"}, wide=True)
    assert service.store.sweeps() == []
    place.wait(seconds=31)
    place.turn()
    place.turn()
    assert place.due(task) == "2026-03-03 18:00"
    assert place.readers(E1) == [HEAD, MARIA]


def test_a_sweep_counts_from_the_moment_at_which_it_was_claimed_however_late_it_goes_on(tmp_path: Path) -> None:
    rules = RULES + 'overdue: {tasks: deals, evening: {at: "18:30", move_to: {after: 4 hours}}}\n'
    with department(tmp_path, rules) as place:
        task = place.task("Offer", MARIA, "2026-03-02 12:00")
        place.until("18:30")
        run.claim_due(place.store, place.context.rulebook.rules, place.context.portal.now())
        place.die()
        place.until("20:00")
        place.start()
        place.turn()
        place.turn()
        assert place.due(task) == "2026-03-02 22:30"


def test_what_would_be_past_already_when_its_turn_comes_is_not_moved_there(tmp_path: Path) -> None:
    rules = RULES + 'overdue: {tasks: deals, evening: {at: "18:30", move_to: {after: 1 hour}}}\n'
    with department(tmp_path, rules) as place:
        task = place.task("Offer", MARIA, "2026-03-02 12:00")
        place.until("18:30")
        run.run_due(place.context)
        place.die()
        place.until("20:00")
        place.start()
        place.turn()
        place.turn()
        assert place.due(task) == "2026-03-02 12:00"
        (line,) = section(place.heard(HEAD, E1), "Not moved in time: 1 task")
        assert line.endswith("Its new deadline had passed before its turn came.")


def test_links_lead_to_the_portals_own_address(place: Department) -> None:
    deal = place.add_deal("Romashka", stage="EXECUTING")
    task = place.task("Offer [b]bold[/b]", MARIA, "2026-03-02 12:00", deal=deal)
    place.sweeps("18:30")
    (message,) = place.portal.state.messages_to(HEAD)
    address = place.service.portal.address
    assert f"[url={address}/company/personal/user/{MARIA}/tasks/task/view/{task}/]" in message.text
    assert f" ([url={address}/crm/deal/details/{deal}/]Romashka[/url])" in message.text
    assert "[b]bold" not in message.text


def test_a_thousand_overdue_tasks_are_moved_in_few_requests(tmp_path: Path) -> None:
    """Of the 240 requests that ten thousand may take, 204 carry 49 moves each; see the benchmark."""
    found = measure_big_sweep(tmp_path, tasks=1000)
    assert (found["moved"], found["messages"], found["refused"]) == (1000, 201, 0)
    assert found["requests"] <= 24 + 36
