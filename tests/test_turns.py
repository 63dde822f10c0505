"""Turns of the worker: what one costs, and when it wants the next one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, update

from bitrix_sync.app import Service
from bitrix_sync.clock import Clock
from bitrix_sync.decisions.schedule import Wish
from bitrix_sync.errors import PortalError
from bitrix_sync.model.actions import Kind
from bitrix_sync.settings import load_settings
from bitrix_sync.store import Store, schema
from tests.world.office import RULES, Office, office


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Office]:
    with office(tmp_path) as found:
        yield found


@contextmanager
def transactions(store: Store) -> Iterator[list[int]]:
    """One entry for each transaction that begins meanwhile."""
    seen: list[int] = []

    def begin(_connection: object) -> None:
        seen.append(1)

    engine = store._database._dialect.reader
    event.listen(engine, "begin", begin)
    try:
        yield seen
    finally:
        event.remove(engine, "begin", begin)


def test_an_idle_pass_costs_six_transactions_and_one_request(place: Office) -> None:
    for number in range(5):
        place.add_deal(f"Deal {number}")
    for _ in range(3):
        place.service.turn({"poll", "slots", "rules"}, wide=True)
    requests = place.service.requests
    with transactions(place.service.store) as seen:
        place.service.turn({"poll", "slots", "rules"}, wide=False)
    assert len(seen) <= 6
    assert place.service.requests == requests + 1


def test_within_a_view_a_thread_reads_one_commit_until_it_writes_or_looks_away(place: Office) -> None:
    store = place.service.store
    with Store(place.environ["DATABASE_URL"]) as other, transactions(store) as seen, store.view():
        assert not store.flags.paused
        other.flags.paused = True
        assert not store.flags.paused
        assert len(seen) == 1
        store.look_away()
        assert store.flags.paused
        store.flags.trouble = "x"
        assert store.flags.trouble == "x"
        other.flags.paused = False
        store.look_away()
        assert not store.flags.paused
    assert not store.flags.paused


def test_a_view_that_meets_a_fault_is_over_and_the_next_reading_begins_anew(place: Office) -> None:
    store = place.service.store
    with store.view():
        with pytest.raises(KeyError), store.reading():
            raise KeyError
        assert store.cursor() is not None


@pytest.mark.parametrize(("hours", "edit", "alone"), [(0, "", True), (0, "\n", False), (2, "", False)])
def test_a_start_from_what_the_store_knows_asks_only_whose_portal_it_is(
    place: Office, hours: int, edit: str, alone: bool
) -> None:
    place.service.turn(set(), wide=True)
    place.service.close()
    place.wait(hours=hours)
    place.rules.write_text(RULES + edit, encoding="utf-8")
    service = place.service = Service(load_settings(place.environ, None), clock=place.portal.clock.now)
    service.prove()
    assert (service.requests == 1) is alone
    asked = service.requests
    assert service.take_lease()
    service.open()
    assert service.requests == asked
    service.turn(set(), wide=True)
    assert service.health().trouble is None


# --- when the next one is wanted -------------------------------------------------------------------------------------


class Steady:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = float(int(time.time()))
        self.clock = Clock(lambda: self.now, lambda: self.now)


@contextmanager
def standing(folder: Path, rules: str = RULES, **settings: str) -> Iterator[tuple[Office, Steady]]:
    """An office whose service has read the portal, and whose time stands."""
    steady = Steady()
    with office(folder, rules, **settings) as place:
        place.service.close()
        service = place.service = Service(load_settings(place.environ, None), clock=steady.clock)
        assert service.take_lease()
        place.context = service.open()
        service.turn(set(), wide=True)
        yield place, steady


def test_an_idle_service_wants_its_next_turn_when_the_poll_is_due(tmp_path: Path) -> None:
    with standing(tmp_path) as (place, steady):
        steady.now += 10.0
        place.service.turn(set(), wide=False)
        assert place.service.wish == Wish(steady.now + 20.0)
        requests = place.service.requests
        steady.now += 20.0
        assert place.service.await_turn() == set()
        place.service.turn(set(), wide=False)
        assert place.service.requests == requests + 1


def test_an_event_that_comes_too_soon_after_a_reading_is_put_off_and_nobody_sleeps(tmp_path: Path) -> None:
    with standing(tmp_path) as (place, steady):
        deal = place.add_deal()
        steady.now += 0.25
        place.service.turn({"ONCRMDEALADD"}, wide=False)
        assert place.marks(deal) == []
        assert place.service.wish == Wish(steady.now + 0.75, steady.now + 0.75)
        steady.now += 0.75
        place.service.turn(set(), wide=False)
        assert place.marks(deal) == ["first-call"]


def test_trouble_is_rested_between_two_turns(tmp_path: Path) -> None:
    with standing(tmp_path) as (place, steady):
        for pause in (2.0, 5.0, 10.0):
            place.service.suffer(PortalError("no answer"))
            assert place.service.wish == Wish(steady.now + pause, steady.now + pause)
            assert place.service.wide


@pytest.mark.parametrize(
    ("values", "after"),
    [
        ({"state": "planned", "not_before": 7.0}, 7.0),
        ({"state": "planned", "not_before": 70.0}, 20.0),
        ({"state": "unknown", "sent": -60.0, "noticed": -2.0}, 8.0),
        ({"state": "unknown", "sent": -60.0, "noticed": -60.0}, 5.0),
    ],
)
def test_what_is_put_off_or_in_doubt_has_its_turn(tmp_path: Path, values: dict[str, Any], after: float) -> None:
    with standing(tmp_path, BITRIX_SETTLE_SECONDS="65") as (place, steady):
        place.add_deal()
        steady.now += 30.0
        place.service.turn(set(), wide=False)
        row = {
            name: value if name == "state" else steady.clock() + timedelta(seconds=value)
            for name, value in values.items()
        }
        with place.service.store.writing("test") as connection:
            made = schema.operations.c.kind == Kind.CREATE.value
            connection.execute(update(schema.operations).where(made).values(ended=None, **row))
        place.service.turn(set(), wide=False)
        assert place.service.wish == Wish(steady.now + after)


def test_a_slot_has_its_turn_at_its_moment_however_seldom_the_portal_is_read(tmp_path: Path) -> None:
    sweeps = RULES + 'overdue:\n  morning: {at: "10:03", move_to: {after: 1 workday}}\n'
    with standing(tmp_path, sweeps, BITRIX_POLL_SECONDS="3600") as (place, steady):
        now = place.service.portal.now()
        slot = now.replace(hour=7, minute=3, second=0, microsecond=0)
        assert place.service.wish.at - steady.now == pytest.approx((slot - now).total_seconds())
        place.portal.clock.set(slot)
        steady.now = place.service.wish.at + 0.001
        place.service.turn(set(), wide=False)
        assert [one.slot for one in place.service.store.sweeps()] == ["2026-03-02/morning"]


def test_what_others_write_is_noticed_by_a_look(tmp_path: Path) -> None:
    with standing(tmp_path) as (place, steady):
        service = place.service
        service.is_asked()
        with transactions(service.store) as seen:
            assert not service.is_asked()
            assert seen == []
        with Store(place.environ["DATABASE_URL"]) as other:
            other.ask("pause", {}, now=steady.clock())
        assert service.is_asked()
        assert not service.is_file_changed()
        place.rules.write_text(RULES + "\n", encoding="utf-8")
        assert not service.is_file_changed()
        steady.now += 5.0
        assert service.is_file_changed()
        service.turn({"rules"}, wide=False)
        steady.now += 5.0
        assert not service.is_file_changed()
