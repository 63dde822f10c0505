"""Idle deals reckoned again, slowly: a second opinion on ``decisions.idle`` and ``store.steps``.

A diary says what happened with a deal, moment by moment; the reckoning goes through it and asks after each moment
whether there is a next step. Written from the rules language alone; shares no code with the product. Mon-Fri, 09:00 to
18:00 in Moscow; ``next_step`` in workdays.

``python -m tests.idle_reckoning --deals 10000`` compares ``report idle`` with it on a store of so many deals.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter

from bitrix_sync import report
from bitrix_sync.model.facts import Activity, Ahead, Deal, Visit
from bitrix_sync.model.operations import TaskRecord
from bitrix_sync.rules.model import Duration
from bitrix_sync.store import Store
from tests.world.company import MOSCOW
from tests.world.records import NOW, Recorder, book, furnish

MOMENT = timedelta(microseconds=1)
DONE, DEFERRED, AWAITING, WAITING = 5, 6, 4, 2


def after_workdays(moment: datetime, count: int) -> datetime:
    """The end of the so manieth working day after the day of a moment."""
    day = moment.astimezone(MOSCOW)
    while count:
        day += timedelta(days=1)
        count -= day.weekday() < 5
    return day.replace(hour=18, minute=0, second=0, microsecond=0)


@dataclass
class Planned:
    """Something planned with a deal. ``spans``: pairs of moments between which it is a step, the last one without an
    end for one that is; ``due``: deadlines with the moment from which each held. Of tasks they do not matter."""

    spans: list[list[datetime | None]]
    due: list[tuple[datetime, datetime | None]] = field(default_factory=list)

    def end(self, at: datetime) -> None:
        """It is over: done, put off, noticed to be gone."""
        if self.spans[-1][1] is None:
            self.spans[-1][1] = at
        else:
            self.spans.append([at, at])  # it was put off, and is done now

    def begin(self, at: datetime) -> None:
        """It is to be done again."""
        self.spans.append([at, None])

    def ends(self) -> Iterator[datetime]:
        yield from (until for _, until in self.spans if until is not None)

    def expiries(self, patience: int) -> Iterator[datetime]:
        yield from (after_workdays(due, patience) for _, due in self.due if due is not None)

    def counts(self, at: datetime, patience: int) -> bool:
        """Whether it is a step at a moment."""
        if not any(since is not None and since <= at and (until is None or at < until) for since, until in self.spans):
            return False
        due = next((due for held, due in reversed(self.due) if held <= at), None)
        return due is None or at <= after_workdays(due, patience)


@dataclass
class Diary:
    """One deal: its entries into stages, and what was planned with it."""

    entries: list[tuple[datetime, str]]
    planned: list[Planned] = field(default_factory=list)

    def idle_since(self, now: datetime, patience: int) -> datetime | None:
        """Since when it has had no next step in its present stage, gone through moment by moment."""
        entered = self.entries[-1][0]
        ends = {at for one in self.planned for at in one.ends()}
        moments = {entered} | ends | {at for one in self.planned for at in one.expiries(patience)}
        moments |= {since for one in self.planned for since, _ in one.spans if since is not None}
        moments |= {held for one in self.planned for held, _ in one.due}
        since = None
        for at in sorted(at for at in moments if entered <= at <= now):
            if any(one.counts(at + MOMENT, patience) for one in self.planned):
                since = None
            elif since is None or at in ends:
                since = at
        return since

    def too_long(self, now: datetime, patience: int) -> datetime | None:
        """Since when, if that is longer than it may be."""
        since = self.idle_since(now, patience)
        return since if since is not None and now > after_workdays(since, patience) else None


# --- a store of many deals -------------------------------------------------------------------------------------------

PATIENCE = {"NEW": 1, "PREPARATION": 3, "AGREEMENT": 1}
"""By stage; of other stages nobody asks."""


def some_time(chance: random.Random, after: datetime) -> datetime:
    """A moment between then and now, whole seconds."""
    return after + timedelta(seconds=int(chance.random() * (NOW - after).total_seconds()))


def write_deals(office: Recorder, chance: random.Random, count: int) -> dict[int, Diary]:
    """So many deals with what was planned with them, recorded as the service would have; their diaries."""
    diaries: dict[int, Diary] = {}
    visits, deals = list[Visit](), list[Deal]()
    tasks, ahead, ends = list[TaskRecord](), list[Activity](), dict[int, datetime]()
    for number in range(1, count + 1):
        entered = NOW - timedelta(hours=chance.randint(1, 400))
        stage = chance.choice([*PATIENCE, "CONTRACT"])
        diary = diaries[number] = Diary([(entered, stage)])
        visits.append(Visit(number, number, 2, 0, stage, "P", entered))
        deals.append(
            Deal(number, f"Deal {number}", 0, stage, "P", 5, 5, 0, 0, entered, entered, fields={"OPPORTUNITY": 10})
        )
        for _ in range(chance.choice([0, 1, 2, 10, 30])):
            begun = some_time(chance, NOW - timedelta(days=20))
            one = Planned([[begun, None]])
            tasks.append(a_task(chance, one, begun, number, count, diaries, len(tasks) + 1))
        for _ in range(chance.choice([0, 0, 0, 1, 2])):
            begun = some_time(chance, NOW - timedelta(days=20))
            due = None if chance.random() < 0.2 else begun + timedelta(hours=chance.randint(0, 300))
            one = Planned([[begun, None]], [(begun, due)])
            diary.planned.append(one)
            if chance.random() < 0.6:
                over = some_time(chance, begun)
                one.end(over)
                ends[number] = max(over, ends.get(number, over))
            else:
                ahead.append(Activity(len(ahead) + 1, False, due, begun, begun, (number,)))
    for begin in range(0, len(tasks), 5000):
        office.record(tasks=tuple(tasks[begin : begin + 5000]))
    office.record(visits=tuple(visits), deals=tuple(deals))
    office.record(ahead=Ahead(tuple(ahead), ends=ends))
    return diaries


def a_task(
    chance: random.Random, one: Planned, begun: datetime, deal: int, count: int, diaries: dict[int, Diary], number: int
) -> TaskRecord:
    """A task of the deal, or of it and an earlier one, as it ended."""
    other = chance.randint(1, deal)
    bound = (deal, other) if chance.random() < 0.02 and other != deal else None
    for of in bound or (deal,):
        diaries[of].planned.append(one)
    over = some_time(chance, begun)
    record = TaskRecord("", deal, portal_id=number, created=begun, changed=begun, bound=bound, owner_id=5)
    ended = over.astimezone(UTC)
    match chance.choices(["open", "awaiting", "done", "deferred", "gone"], [1, 1, 60, 5, 10])[0]:
        case "open":
            return record
        case "awaiting":
            return replace(record, status=AWAITING)
        case "done":
            one.end(over)
            return replace(record, status=DONE, closed=ended)
        case "deferred":
            one.end(over)
            return replace(record, status=DEFERRED, changed=ended)
        case _:
            one.end(over)
            return replace(record, gone=True, ended=ended)


def compare(folder: Path, *, deals: int, seed: int) -> dict[str, float]:
    """``report idle`` against the reckoning: how many are idle, missing and false, and how long the report took."""
    with Store(f"sqlite:///{folder / 'store.db'}") as store:
        office, chance = Recorder(store), random.Random(seed)
        spans = {stage: Duration(days, "workdays") for stage, days in PATIENCE.items()}
        furnish(store, replace(book(), next_steps=spans))
        store.flags.steps_scope = frozenset(spans)
        diaries = write_deals(office, chance, deals)
        begun = perf_counter()
        lines = report.REPORTS["idle"].rows(store, now=NOW)
        took = perf_counter() - begun
    shown = {line["deal_id"]: line["since"] for line in lines}
    true = {
        number: since
        for number, diary in diaries.items()
        if (patience := PATIENCE.get(diary.entries[-1][1])) is not None
        and (since := diary.too_long(NOW, patience)) is not None
    }
    wrong = sum(true.get(number) != since for number, since in shown.items())
    return {"idle": len(true), "missing": len(true.keys() - shown.keys()), "false": wrong, "seconds": round(took, 3)}


def main() -> None:
    """Print the comparison of one store."""
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--deals", type=int, default=10_000)
    given.add_argument("--seed", type=int, default=1)
    asked = given.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(compare(Path(folder), deals=asked.deals, seed=asked.seed))


if __name__ == "__main__":
    main()
