"""Idle deals against a slow second opinion: in a store of many, in two weeks of people's work over HTTP, in a year."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bitrix_sync.decisions.idle import idle_key, idle_since, too_long
from bitrix_sync.model.facts import Visit
from bitrix_sync.model.operations import Steps
from bitrix_sync.rules.model import Duration
from tests.idle_reckoning import Diary, Planned, after_workdays, compare
from tests.test_idle import RULES, Idleness
from tests.world.company import MOSCOW, WEEK, at
from tests.world.sweeps import HEAD, MARIA, SWEEPS, department

DAY = Duration(1, "workdays")
ENTERED = at("2026-03-02 10:00")


@pytest.mark.parametrize(
    ("known", "since"),
    [
        ({}, "2026-03-02 10:00"),
        ({"busy": True}, None),
        ({"ended": "2026-03-04 12:00"}, "2026-03-04 12:00"),
        ({"ended": "2026-02-20 12:00"}, "2026-03-02 10:00"),
        ({"planned": [None]}, None),
        ({"planned": ["2026-03-05 12:00"]}, "2026-03-06 18:00"),
        ({"planned": ["2026-03-06 12:00"]}, "2026-03-09 18:00"),  # Friday, so until the end of Monday
        ({"planned": ["2026-02-20 12:00"]}, "2026-03-02 10:00"),
        ({"planned": ["2026-03-05 12:00", "2026-03-03 12:00"], "ended": "2026-03-06 09:00"}, "2026-03-06 18:00"),
        ({"planned": ["2026-03-05 12:00", None]}, None),
        ({"planned": ["2026-03-05 12:00"], "busy": True}, None),
    ],
)
def test_a_deal_is_idle_since_the_latest_of_what_was_there(known: Mapping[str, Any], since: str | None) -> None:
    steps = Steps(
        Visit(7, 7, 2, 0, "NEW", "P", ENTERED),
        known.get("busy", False),
        at(known["ended"]) if "ended" in known else None,
        tuple(due and at(due) for due in known.get("planned", ())),
    )
    assert idle_since(steps, DAY, WEEK) == (at(since) if since else None)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_report_is_that_of_the_reckoning(tmp_path: Path, seed: int) -> None:
    found = compare(tmp_path, deals=500, seed=seed)
    assert found["idle"] > 50
    assert (found["missing"], found["false"]) == (0, 0)


# --- two weeks of work -----------------------------------------------------------------------------------------------

PATIENCE = {"NEW": 1, "PREPARATION": 3, "UC_OFFER1": 1, "PREPAYMENT_INVOICE": 1}
STAGES = (*PATIENCE, "EXECUTING")


@dataclass
class Fortnight:
    """A portal in which people do what comes to their minds, and what became of it in diaries."""

    place: Idleness
    chance: random.Random
    diaries: dict[int, Diary] = field(default_factory=dict)
    tasks: dict[int, Planned] = field(default_factory=dict)
    activities: dict[int, Planned] = field(default_factory=dict)
    gone: list[Planned] = field(default_factory=list)
    told: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def now(self) -> datetime:
        return self.place.portal.state.moment()

    def open(self, planned: dict[int, Planned], *, seen: bool = False) -> int | None:
        """One of what is planned still; ``seen``: and was when the portal was read last."""
        found = sorted(
            number
            for number, one in planned.items()
            if one.spans[-1][1] is None and not (seen and one.spans[-1][0] == self.now)
        )
        return self.chance.choice(found) if found else None

    def some_deals(self) -> list[int]:
        return self.chance.sample(sorted(self.diaries), self.chance.choice([1, 1, 1, 2]))

    def happen(self) -> None:
        """Somebody does something."""
        deeds = (self.arrive, self.move, self.plan_task, self.plan, self.plan, self.finish_task, self.finish, self.note)
        self.chance.choice((*deeds, self.finish, self.delete_task, self.delete, self.put_off, self.put_back))()

    def arrive(self) -> None:
        if len(self.diaries) < 30:
            stage = self.chance.choice(STAGES)
            deal = self.place.deal(f"Deal {len(self.diaries)}", stage)
            self.diaries[deal] = Diary([(self.now, stage)])

    def move(self) -> None:
        (deal, *_) = self.some_deals()
        stage = self.chance.choice(STAGES)
        if stage != self.diaries[deal].entries[-1][1]:
            self.place.move(deal, stage)
            self.diaries[deal].entries.append((self.now, stage))

    def plan_task(self) -> None:
        deals = self.some_deals()
        task = self.place.portal.state.add_task("Do", responsible=MARIA, by=MARIA, deals=deals)
        self.keep(self.tasks, task, deals)

    def plan(self) -> None:
        deal, *also = self.some_deals()
        due = self.chance.choice([None, self.now + timedelta(hours=self.chance.randint(1, 90))])
        owner = {"contact": 7, "also": [deal, *also]} if also or self.chance.random() < 0.3 else {"deal": deal}
        number = self.place.portal.state.add_activity("Meet", deadline=due, **owner)
        self.keep(self.activities, number, [deal, *also], due=[(self.now, due)])

    def keep(self, planned: dict[int, Planned], number: int, deals: list[int], **more: Any) -> None:
        one = planned[number] = Planned([[self.now, None]], **more)
        for deal in deals:
            self.diaries[deal].planned.append(one)

    def note(self) -> None:
        (deal, *_) = self.some_deals()
        self.place.portal.state.add_activity("They called", deal=deal, completed=True)
        self.diaries[deal].planned.append(Planned([[self.now, self.now]]))

    def finish_task(self) -> None:
        if (number := self.open(self.tasks)) is not None:
            self.place.portal.state.complete_task(number, MARIA)
            self.tasks[number].end(self.now)

    def finish(self) -> None:
        if (number := self.open(self.activities)) is not None:
            self.place.portal.state.complete_activity(number)
            self.activities[number].end(self.now)

    def delete_task(self) -> None:
        if (number := self.open(self.tasks, seen=True)) is not None:
            self.place.portal.state.delete_task(number)
            self.gone.append(self.tasks.pop(number))

    def delete(self) -> None:
        if (number := self.open(self.activities, seen=True)) is not None:
            self.place.portal.state.delete_activity(number)
            self.gone.append(self.activities.pop(number))

    def put_off(self) -> None:
        if (number := self.open(self.tasks, seen=True)) is not None:
            self.place.portal.state.defer_task(number, MARIA)
            self.tasks[number].end(self.now)

    def put_back(self) -> None:
        found = [number for number in self.tasks if self.place.portal.state.tasks[number].status in (5, 6)]
        if found:
            number = self.chance.choice(found)
            self.place.portal.state.reopen_task(number, MARIA)
            self.tasks[number].begin(self.now)

    def notice(self) -> None:
        """What was deleted is noticed now: at a sweep, or at the first look of a day."""
        for one in self.gone:
            one.end(self.now)
        self.gone.clear()

    def sweep(self, text: str) -> None:
        """The sweep of the moment, and of what is told in it."""
        self.place.until(text)
        self.notice()
        slot = self.place.sweeps(text)
        for line in self.place.heard(HEAD, slot).splitlines():
            if "nothing planned since" in line:
                deal, _, rest = line.removeprefix("• ").partition(":")
                self.told[(deal, rest.partition("since ")[2].partition(", responsible")[0])] += 1

    def true(self) -> dict[str, datetime]:
        """Who is idle for too long now."""
        found = {
            f"Deal {place}": diary.too_long(self.now, PATIENCE[stage])
            for place, diary in enumerate(self.diaries.values())
            if (stage := diary.entries[-1][1]) in PATIENCE
        }
        return {title: since for title, since in found.items() if since is not None}


def test_two_weeks_of_work_are_told_as_they_were_each_spell_once(tmp_path: Path) -> None:
    rules = RULES.replace("start: {idle: 1 workday}\n", "start: {filled: UF_CRM_NONE}\n")
    rules = rules.split("      - id: what-next")[0].rstrip().removesuffix("Согласование:").rstrip() + "\n"
    with department(tmp_path, rules + SWEEPS, kind=Idleness) as place:
        weeks, seen = Fortnight(place, random.Random(7)), 0
        for _ in range(8):
            weeks.arrive()
        for day in range(2, 14):
            for text in ("09:00", "12:30", "16:20", "18:30"):
                moment = f"2026-03-{day:02} {text}"
                if text in ("09:00", "18:30") and datetime.fromisoformat(moment).weekday() < 5:
                    weeks.sweep(moment)
                else:
                    place.until(moment)
                    if text == "09:00":  # the first look of a day that has no sweep
                        weeks.notice()
                        place.turn()
                    for _ in range(weeks.chance.randint(0, 4)):
                        weeks.happen()
                place.turn()
                shown = {line["deal"]: line["since"] for line in place.lines()}
                true = weeks.true()
                assert shown.keys() == true.keys(), moment
                assert all(abs(shown[deal] - true[deal]) < timedelta(seconds=3) for deal in shown), moment
                seen += len(shown)
        assert seen > 50
        assert len(weeks.told) > 8
        assert set(weeks.told.values()) == {1}


def test_in_a_year_each_spell_is_told_once() -> None:
    """Two looks a day at deals of which the diary tells what is planned with them."""
    chance, told, longest = random.Random(3), Counter[str](), set[tuple[int, datetime]]()
    start = datetime(2026, 1, 12, 9, tzinfo=MOSCOW)
    diaries = {number: Diary([(start, "NEW")]) for number in range(1, 13)}
    for day in range(365):
        for hour in (9, 18.6):
            now = start + timedelta(days=day, hours=hour - 9)
            for diary in diaries.values():
                live_on(chance, diary, now)
            if now.weekday() > 4:
                continue
            steps = {number: steps_of(diary, now, number) for number, diary in diaries.items()}
            late = too_long(steps, {"NEW": DAY}, WEEK, now)
            keys = {idle_key(steps[number], since) for number, since in late.items()}
            told.update(key for key in keys if key not in told)
            true = {number: diary.too_long(now, 1) for number, diary in diaries.items()}
            assert late == {number: since for number, since in true.items() if since is not None}
            longest |= {(number, since) for number, since in late.items()}
    assert len(longest) > 300
    assert len(told) == len(longest)
    assert set(told.values()) == {1}


def live_on(chance: random.Random, diary: Diary, now: datetime) -> None:
    """Now and then something is planned with the deal, and what is planned comes to an end."""
    ahead = [one for one in diary.planned if one.spans[-1][1] is None]
    diary.planned = [*ahead, *(one for one in diary.planned if one.spans[-1][1] is not None)][:6]
    moment = now - timedelta(minutes=chance.randint(1, 200))
    if ahead and chance.random() < 0.3:
        chance.choice(ahead).end(moment)
    elif chance.random() < 0.12:
        due = chance.choice([None, moment + timedelta(hours=chance.randint(1, 60))])
        diary.planned.insert(0, Planned([[moment, None]], [(moment, due)]))


def steps_of(diary: Diary, now: datetime, number: int) -> Steps:
    """What a store would know."""
    ends = [at for one in diary.planned for at in one.ends()]
    due = tuple(one.due[-1][1] for one in diary.planned if one.spans[-1][1] is None)
    entered = diary.entries[-1][0].astimezone(UTC)
    return Steps(Visit(number, number, 2, 0, "NEW", "P", entered), False, max(ends, default=None), due)


def test_the_second_opinion_counts_as_a_person_would() -> None:
    assert after_workdays(at("2026-03-06 12:00"), 1) == at("2026-03-09 18:00")
    one = Planned([[at("2026-03-03 10:00"), None]], [(at("2026-03-03 10:00"), at("2026-03-04 12:00"))])
    diary = Diary([(ENTERED, "NEW")], [one])
    assert diary.idle_since(at("2026-03-02 12:00"), 1) == ENTERED
    assert diary.idle_since(at("2026-03-05 17:00"), 1) is None
    assert diary.idle_since(at("2026-03-06 10:00"), 1) == at("2026-03-05 18:00")
