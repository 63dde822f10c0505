"""A simulated year of slots: each runs once, whatever happens to the service and to the clocks."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from bitrix_sync.model.keys import SlotId
from bitrix_sync.model.worktime import build_calendar
from bitrix_sync.rules.model import Overdue, Rules, Slot
from bitrix_sync.store import Store
from bitrix_sync.sweeps import run
from tests.world.blank import blank_store
from tests.world.company import NINE_TO_SIX, after
from tests.world.story import book
from tests.world.sweeps import RULES, department

YEAR = 2026
SLOTS = (Slot("morning", time(9), after(0)), Slot("evening", time(18, 30), after(1)))


def rules_of(zone: str, country: str, *slots: Slot) -> Rules:
    """Sweeps on the working days of a country, Saturdays off, with a day off and a working day of its own."""
    calendar = build_calendar(
        zone=ZoneInfo(zone),
        week=dict.fromkeys(range(5), NINE_TO_SIX),
        country=country,
        days_off={date(YEAR, 7, 10)},
        working_days={date(YEAR, 7, 11)},
    )
    return book(overdue=Overdue(slots=slots or SLOTS), calendar=calendar)


def ticks_of_a_year(seed: int) -> Iterator[tuple[datetime, bool]]:
    """Moments at which the service looks whether a slot is due, and whether it was started anew before: every few
    hours, with downtimes from minutes to weeks."""
    dice = random.Random(seed)
    now, end = datetime(YEAR, 1, 1, tzinfo=UTC), datetime(YEAR, 12, 31, tzinfo=UTC)
    while now < end:
        down = dice.random() < 0.01
        now += timedelta(minutes=dice.choice((15, 300, 700, 1500, 15000)) if down else dice.randint(60, 220))
        yield now, down


def expected(rules: Rules, ticks: list[datetime], began: datetime) -> tuple[set[str], set[str]]:
    """Slots that run and slots that are skipped, told the long way: a slot runs if there is a tick between it and the
    next slot of its day, or the day's end."""
    assert rules.overdue is not None
    calendar = rules.calendar
    ran: set[str] = set()
    skipped: set[str] = set()
    day = calendar.local(began).date()
    while day <= calendar.local(ticks[-1]).date():
        if calendar.is_working(day):
            moments = sorted((calendar.moment(day, slot.at), slot.name) for slot in rules.overdue.slots)
            ends = [*(moment for moment, _ in moments[1:]), calendar.moment(day + timedelta(days=1), time(0))]
            for (moment, name), end in zip(moments, ends, strict=True):
                if moment <= began or moment > ticks[-1]:
                    continue
                runs = any(moment <= tick < end for tick in ticks)
                (ran if runs else skipped).add(str(SlotId(day, name)))
        day += timedelta(days=1)
    return ran, skipped


@pytest.mark.parametrize(
    ("zone", "country", "seed"),
    [("Europe/Moscow", "RU", 1), ("Europe/Berlin", "DE", 2)],
)
def test_a_year_with_days_off_changes_of_clocks_and_downtimes_runs_each_slot_once(
    tmp_path: Path, zone: str, country: str, seed: int
) -> None:
    """Two processes on one database look in turn, as if both had the lease; each downtime starts them anew."""
    night = Slot("morning", time(2, 30), after(0))  # in the hour that some clocks skip, and have twice
    rules = rules_of(zone, country, night, SLOTS[1])
    url = blank_store(tmp_path / "store.db")
    stores = [Store(url), Store(url)]
    began = datetime(YEAR, 1, 1, tzinfo=UTC)
    run.claim_due(stores[0], rules, began)
    ticks: list[datetime] = []
    for number, (now, restarted) in enumerate(ticks_of_a_year(seed)):
        if restarted:
            stores[number % 2].close()
            stores[number % 2] = Store(url)
        ticks.append(now)
        for store in stores if number % 5 == 0 else stores[:1]:
            run.claim_due(store, rules, now)
    found = stores[0].sweeps()
    for store in stores:
        store.close()
    names = [one.slot for one in found]
    assert len(names) == len(set(names))
    ran, skipped = expected(rules, ticks, began)
    recent = {one.slot for one in found if one.state == "skipped"}
    assert {one.slot for one in found if one.state == "claimed"} == ran
    assert recent == skipped
    assert len(ran) > 250
    assert str(SlotId(date(YEAR, 7, 10), "evening")) not in names, "a day off of the file's"
    assert str(SlotId(date(YEAR, 1, 1), "evening")) not in names, "a public holiday"


def test_four_weeks_of_the_real_service_move_and_tell_once_a_slot(tmp_path: Path) -> None:
    """Over the change of clocks in Berlin and the days off of Easter, with restarts and downtimes."""
    rules = RULES.replace("Europe/Moscow", "Europe/Berlin").replace('hours: "09:00-18:00"', "country: DE")
    rules += 'overdue: {tasks: deals, evening: {at: "18:30", move_to: {after: 1 workday}}}\n'
    dice = random.Random(7)
    zone = ZoneInfo("Europe/Berlin")
    with department(tmp_path, rules, at=datetime(YEAR, 3, 23, 8, 0, tzinfo=zone)) as place:
        task = place.task("Offer", 5, "2026-03-23 12:00")
        expected_moves = 0
        day = date(YEAR, 3, 23)
        while day < date(YEAR, 4, 20):
            working = place.context.rulebook.rules.calendar.is_working(day)
            down = dice.random() < 0.15
            if dice.random() < 0.2:
                place.restart()
            slot = str(SlotId(day, "evening"))
            if not down:
                for hour, minute in ((18, 29), (18, 31), (18, 32), (23, 50)):
                    place.portal.clock.set(datetime.combine(day, time(hour, minute), zone))
                    place.turn()
                expected_moves += working
                assert bool(place.heard(3, slot)) is working
            day += timedelta(days=1)
        changes = [one for one in place.portal.state.tasks[task].log if one.field == "DEADLINE"]
        assert len(changes) == place.record(task).moves == expected_moves > 10
        last = place.portal.state.tasks[task].deadline
        assert last is not None
        assert last.astimezone(zone).time() == time(18), "the end of hours, before and after the change of clocks"
        messages = [one.text for one in place.portal.state.messages_to(3)]
        assert len(messages) == len(set(messages)) == expected_moves
