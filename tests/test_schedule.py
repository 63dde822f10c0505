"""When the portal is read, and how: a table of cases."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from bitrix_sync.decisions.schedule import LastReadings, Waiting, due, gap, interrupts
from bitrix_sync.model.reading import OVERLAP, Reading

NOW = 10_000.0
EVENT, ECHO = frozenset({"ONCRMDEALUPDATE"}), frozenset({"ONTASKUPDATE"})
QUIET = Waiting()
BUSY = Waiting(operations=True, writable=True, batch=2.0)


def last(ago: float, **more: float) -> LastReadings:
    """The readings of a service that polls each 30 s and read ``ago``, all of it; moments in ``more`` are ages too."""
    ages = {name: more.pop(name, ago) for name in ("late", "wide")}
    found = LastReadings(30.0, at=NOW - ago, late=NOW - ages["late"], wide=NOW - ages["wide"])
    return replace(found, **more)


@pytest.mark.parametrize(
    ("before", "waiting", "wanted"),
    [
        pytest.param(last(5), QUIET, None, id="nothing happened"),
        pytest.param(
            last(30, wide=31, late=31), QUIET, Reading(OVERLAP + timedelta(seconds=31), True, False), id="poll due"
        ),
        pytest.param(last(20, wide=25), replace(QUIET, polled=True), Reading(None, True, False), id="poll asked for"),
        pytest.param(last(20, pages=100), replace(QUIET, polled=True), Reading(None, False, False), id="after a burst"),
        pytest.param(
            last(1, wide=9_000),
            replace(QUIET, wide=True),
            Reading(OVERLAP + timedelta(hours=1), True, False),
            id="after trouble, an hour back at the most",
        ),
        pytest.param(last(2), replace(QUIET, events=EVENT), Reading(None, people=True, rest=0.0), id="an event"),
        pytest.param(last(0.25), replace(QUIET, events=EVENT), Reading(None, people=True, rest=0.75), id="two events"),
        pytest.param(
            last(2), replace(BUSY, events=EVENT), Reading(None, along=True, rest=3.0), id="an event amid writing"
        ),
        pytest.param(last(2), replace(BUSY, events=ECHO), None, id="an echo of what is written"),
        pytest.param(last(2), replace(QUIET, events=ECHO), Reading(None, rest=0.0), id="no echo"),
        pytest.param(last(27), BUSY, None, id="writing goes on"),
        pytest.param(last(28), BUSY, Reading(None, people=False, along=True), id="a reading travels with writes"),
        pytest.param(
            last(28), replace(BUSY, events=EVENT), Reading(None, along=True, rest=0.0), id="so writing need not rest"
        ),
        pytest.param(last(30, wide=299), BUSY, Reading(None, True, False, True), id="while writing seldom wide"),
        pytest.param(
            last(30, wide=300),
            BUSY,
            Reading(OVERLAP + timedelta(seconds=300), True, False, True),
            id="while writing wide at last",
        ),
        pytest.param(last(30, wide=99, wide_pages=13), QUIET, Reading(None, True, False), id="much is seldom wide"),
        pytest.param(
            last(30, wide=100, wide_pages=13),
            QUIET,
            Reading(OVERLAP + timedelta(seconds=100), True, False),
            id="much is wide in time",
        ),
    ],
)
def test_a_reading_is_due(before: LastReadings, waiting: Waiting, wanted: Reading | None) -> None:
    assert due(NOW, before, waiting) == wanted


def test_a_flood_of_events_that_mean_nothing_leaves_the_budget_to_the_writes() -> None:
    gaps = [gap(last(0, fruitless=count), busy=True) for count in range(12)]
    assert gaps == [5.0, 10.0, 20.0, *[30.0] * 9]
    assert gap(last(0, fruitless=9), busy=False) == 1.0


@pytest.mark.parametrize(
    ("ago", "events", "stops"), [(4.0, True, False), (5.0, True, True), (27.0, False, False), (28.0, False, True)]
)
def test_writing_stops_for_a_reading(ago: float, events: bool, stops: bool) -> None:
    assert interrupts(NOW, last(ago), events=events, batch=1.5) is stops


def test_what_was_read_is_remembered() -> None:
    before = replace(last(10, late=20, wide=30, fruitless=1), at=NOW)
    narrow = before.after(Reading(None), pages=2.5, wide_pages=4, fruitful=False)
    assert (narrow.late, narrow.wide, narrow.pages, narrow.fruitless) == (NOW - 20, NOW - 30, 2.5, 2)
    assert narrow.after(Reading(None, late=True, people=False), pages=1, wide_pages=4, fruitful=False) == replace(
        narrow, late=NOW, pages=3.5
    )
    assert narrow.after(Reading(), pages=9, wide_pages=12, fruitful=True) == LastReadings(
        30.0, at=NOW, late=NOW, wide=NOW, wide_pages=12
    )
