"""A person's change between decision and write is never overwritten."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bitrix_sync.decisions.guards import guard, touched
from bitrix_sync.model.actions import Kind, unpack
from bitrix_sync.model.facts import AWAITING, DEFERRED, DONE, IN_PROGRESS, WAITING, PortalTask
from bitrix_sync.model.operations import Operation, State, TaskRecord

OLD = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
NEW = OLD + timedelta(days=1)
THIRD = OLD + timedelta(days=2)
NOW = OLD + timedelta(hours=1)
TASK = PortalTask(5, "Call", WAITING, owner_id=7, creator_id=1, deadline=OLD, mark="bitrix-sync:10:call")
RECORD = TaskRecord("10:call", portal_id=5, title="Call", deadline=OLD, owner_id=7, owner_sent=7, sent=(OLD,))


def move(reason: str) -> Operation:
    payload = {"deadline": NEW.isoformat(), "reason": reason, "seen": OLD.isoformat()}
    return Operation("k", unpack(Kind.DEADLINE, payload), task="10:call")


@pytest.mark.parametrize("reason", ["follow", "sweep", "undo"])
def test_a_deadline_still_as_it_was_is_moved(reason: str) -> None:
    assert guard(move(reason), TASK, RECORD, now=NOW) is None


@pytest.mark.parametrize("reason", ["follow", "sweep", "undo"])
def test_a_deadline_that_a_person_set_meanwhile_is_left_alone(reason: str) -> None:
    verdict = guard(move(reason), replace(TASK, deadline=THIRD), RECORD, now=NOW)
    assert verdict is not None
    assert verdict.state is State.DROPPED


@pytest.mark.parametrize("reason", ["follow", "sweep", "undo"])
def test_a_deadline_that_is_there_already_is_done(reason: str) -> None:
    verdict = guard(move(reason), replace(TASK, deadline=NEW), RECORD, now=NOW)
    assert verdict is not None
    assert verdict.state is State.DONE


def test_following_goes_on_over_another_deadline_of_ours_but_undo_does_not() -> None:
    ours = replace(RECORD, sent=(OLD, THIRD))
    assert guard(move("follow"), replace(TASK, deadline=THIRD), ours, now=NOW) is None
    assert guard(move("undo"), replace(TASK, deadline=THIRD), ours, now=NOW) is not None


def test_a_sweep_moves_on_from_an_earlier_sweeps_deadline_only_while_that_is_past_too() -> None:
    ours = replace(RECORD, sent=(OLD, OLD + timedelta(minutes=5), THIRD))
    assert guard(move("sweep"), replace(TASK, deadline=OLD + timedelta(minutes=5)), ours, now=NOW) is None
    verdict = guard(move("sweep"), replace(TASK, deadline=THIRD), ours, now=NOW)
    assert verdict is not None
    assert verdict.reason == "moved otherwise meanwhile"


def test_a_sweep_never_moves_to_a_deadline_that_has_passed_meanwhile() -> None:
    verdict = guard(move("sweep"), TASK, RECORD, now=NEW)
    assert verdict is not None
    assert verdict.reason == "its new deadline has passed"
    assert guard(move("undo"), TASK, RECORD, now=NEW) is None


@pytest.mark.parametrize(
    ("reason", "status", "moves"),
    [
        ("follow", IN_PROGRESS, True),
        ("follow", AWAITING, True),
        ("follow", DEFERRED, True),
        ("follow", DONE, False),
        ("sweep", IN_PROGRESS, True),
        ("sweep", AWAITING, False),
        ("sweep", DEFERRED, False),
        ("sweep", DONE, False),
        ("undo", DONE, False),
    ],
)
def test_which_status_lets_a_deadline_move(reason: str, status: int, moves: bool) -> None:
    assert (guard(move(reason), replace(TASK, status=status), RECORD, now=NOW) is None) is moves


@pytest.mark.parametrize(
    ("kind", "status", "state"),
    [
        (Kind.COMPLETE, WAITING, None),
        (Kind.COMPLETE, DEFERRED, None),
        (Kind.COMPLETE, DONE, State.DONE),
        (Kind.COMPLETE, AWAITING, State.DROPPED),
        (Kind.DEFER, WAITING, None),
        (Kind.DEFER, DEFERRED, State.DONE),
        (Kind.DEFER, DONE, State.DROPPED),
        (Kind.RESUME, DEFERRED, None),
        (Kind.RESUME, WAITING, State.DONE),
        (Kind.RESUME, DONE, State.DONE),
        (Kind.DELETE, WAITING, None),
        (Kind.DELETE, DONE, State.DROPPED),
        (Kind.DELETE, AWAITING, State.DROPPED),
    ],
)
def test_endings(kind: Kind, status: int, state: State | None) -> None:
    ending = Operation("k", unpack(kind, {"reason": "leave"}), task="10:call")
    verdict = guard(ending, replace(TASK, status=status), RECORD, now=NOW)
    assert (verdict.state if verdict else None) is state


def test_a_task_that_is_gone_needs_nothing_more() -> None:
    deleted = guard(Operation("k", unpack(Kind.DELETE, {})), None, RECORD, now=NOW)
    moved = guard(move("sweep"), None, RECORD, now=NOW)
    assert deleted is not None
    assert deleted.state is State.DONE
    assert moved is not None
    assert moved.state is State.DROPPED


def test_an_owner_that_a_person_set_meanwhile_stays() -> None:
    hand_over = Operation(
        "k", unpack(Kind.PEOPLE, {"owner": 8, "seen": 7, "supervisor": None, "drop": []}), task="10:call"
    )
    assert guard(hand_over, TASK, RECORD, now=NOW) is None
    verdict = guard(hand_over, replace(TASK, owner_id=99), RECORD, now=NOW)
    assert verdict is not None
    assert verdict.state is State.DROPPED


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({}, ""),
        ({"status": IN_PROGRESS}, "status"),
        ({"owner_id": 8}, "owner"),
        ({"deadline": THIRD}, "deadline"),
        ({"title": "Other"}, "title"),
    ],
)
def test_only_untouched_tasks_are_ever_deleted(changes: dict[str, Any], what: str) -> None:
    assert touched(RECORD, replace(TASK, **changes)) == what
