"""Turns of the worker: what one costs, and when it wants the next one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import event

from bitrix_sync.store import Store
from tests.world.office import Office, office


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
    with Store(f"sqlite:///{store.path}") as other, transactions(store) as seen, store.view():
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
