"""``backfill``: for every rule, as often as it is asked for, on what the portal shows; and what recommends it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bitrix_sandbox.http.server import Sandbox
from bitrix_sandbox.state.clock import Clock
from bitrix_sync.commands import changes
from bitrix_sync.decisions.plan import Backfill
from bitrix_sync.errors import UserError
from bitrix_sync.explain import preview
from bitrix_sync.explain.why import story_of
from bitrix_sync.rules.model import Test
from bitrix_sync.settings import load_settings
from tests.world.company import MONDAY, after, at
from tests.world.company import at as utc
from tests.world.office import RULES, Office
from tests.world.story import Story, book, rule

STAGES = {"NEW": "first-call", "PREPARATION": "presentation", "UC_OFFER1": "ask"}

# --- one deal, decided -----------------------------------------------------------------------------------------------


def old_story(*rules: Any) -> Story:
    """A deal that has been in its stage since Monday at ten; the rules came an hour later, and now it is noon."""
    story = Story(book(*rules)).enters("NEW", decide=False).wait(hours=2)
    story.loaded = at("2026-03-02 11:00")
    return story.decide()


def test_nothing_comes_by_itself_and_each_backfill_brings_what_is_new() -> None:
    story = old_story(rule("call"))
    assert story.made() == []
    assert story.decide(backfill=Backfill()).made() == ["call"]
    assert story.decide(backfill=Backfill()).made() == []
    story.wait(hours=1).rules = book(rule("call"), rule("write"))
    story.loaded_later["write"] = story.now
    assert story.wait(hours=1).decide().made() == []
    assert story.decide(backfill=Backfill()).made() == ["write"]


def test_a_backfill_of_one_rule_leaves_the_others_alone() -> None:
    story = old_story(rule("call"), rule("write"))
    assert story.decide(backfill=Backfill(rules=frozenset({"write"}))).made() == ["write"]
    assert story.decide().made() == []
    assert story.decide(backfill=Backfill(rules=frozenset({"call"}))).made() == ["call"]


def test_what_version_0_1_remembered_of_a_backfill_counts_for_the_rules_of_its_time() -> None:
    story = old_story(rule("call"), rule("write"))
    story.loaded_later["write"] = at("2026-03-02 11:45")
    (visit,) = story.state.visits
    story.state = replace(story.state, moments={**story.state.moments, (visit.id, "backfill"): at("2026-03-02 11:30")})
    assert story.decide().made() == ["call"]


@pytest.mark.parametrize(
    ("asked", "deadline"),
    [
        ([Backfill()], "2026-03-02 15:00"),
        ([Backfill(from_now=True)], "2026-03-02 17:00"),
        ([Backfill(from_now=True), Backfill()], "2026-03-02 15:00"),
        ([Backfill(), Backfill(from_now=True)], "2026-03-02 18:00"),
        ([Backfill(from_now=True), Backfill(from_now=True)], "2026-03-02 18:00"),
    ],
)
def test_deadlines_are_counted_as_the_latest_backfill_wants_it(asked: list[Backfill], deadline: str) -> None:
    wants = Test("OPPORTUNITY", "min", 5000)
    story = old_story(rule("call", deadline=after(5, "workhours"), condition=wants))
    for number, one in enumerate(asked):
        story.wait(hours=number).decide(backfill=one)
        assert story.made() == []
    story.sets(OPPORTUNITY=5000)
    assert story.task("call").first_deadline == at(deadline)


def test_what_remove_took_away_comes_again_only_when_that_is_asked_for() -> None:
    story = old_story(rule("call")).decide(backfill=Backfill())
    for number in (1, 2):
        record = story.task("call")
        assert record.number == number
        story.state = replace(story.state, keys=story.state.keys | {f"remove:{record.ref}"})
        story.deletes("call")
        assert story.decide(backfill=Backfill()).made() == []
        assert story.decide(backfill=Backfill(rules=frozenset({"other"}), again=True)).made() == []
        assert story.decide(backfill=Backfill(again=True)).made() == ["call"]
        assert story.decide(backfill=Backfill(again=True)).made() == []


def test_what_a_person_deleted_does_not_come_again() -> None:
    story = old_story(rule("call")).decide(backfill=Backfill()).deletes("call")
    assert story.decide(backfill=Backfill(again=True)).made() == []


# --- on a portal -----------------------------------------------------------------------------------------------------


class Backlog(Office):
    """A service that began beside two deals in each of three stages, of which only the first stage has a rule."""

    def __init__(self, portal: Sandbox, folder: Path) -> None:
        for deal in list(portal.state.deals):
            portal.state.delete_deal(deal)
        self.old = {
            stage: [portal.state.add_deal(f"{stage} {n}", stage=stage, responsible=5, by=5) for n in range(2)]
            for stage in STAGES
        }
        portal.clock.advance(timedelta(hours=3))
        super().__init__(portal, folder, RULES[: RULES.index("    Презентация")], BITRIX_RATE="100/1000")

    def load(self, rules: str) -> None:
        """The administrator writes another file."""
        self.wait(minutes=20)
        self.run()
        self.rules.write_text(rules, encoding="utf-8")
        assert self.context.rulebook.reload_if_changed()

    def backfill(self, **args: Any) -> list[int]:
        """Deals that get a task."""
        dry = changes.perform(self.context, "backfill", {**args, "dry_run": True})
        shown = {one.deal_id for one in self.new_lines()} if not args else set()
        done = changes.perform(self.context, "backfill", args)
        assert dry["planned"] == done["planned"], "a dry run says what is done"
        assert all(one["id"] for one in done["done"])
        deals = sorted(one["deal_id"] for one in done["planned"])
        assert not args or not shown or shown <= set(deals)
        return deals

    def new_lines(self) -> list[Any]:
        """Lines of a preview of all deals with a new task."""
        found = preview.of_all(load_settings(self.environ, None))
        return [type("Line", (), line) for line in found.lines if line["result"] == "new"]

    def cures(self, deal: int) -> list[str]:
        """What ``why`` recommends."""
        story = story_of(self.service.store, deal)
        return [rule["cure"] for visit in story["visits"] for rule in visit["rules"] if rule["cure"]]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Backlog]:
    with Sandbox(clock=Clock(MONDAY - timedelta(hours=3)), rate=None) as portal:
        found = Backlog(portal, tmp_path)
        yield found
        found.close()


def test_a_new_rule_and_the_first_rule_of_another_stage_reach_the_deals_that_sit_there(place: Backlog) -> None:
    assert place.backfill() == place.old["NEW"]
    extra = RULES.replace(
        "    Презентация", "      - {id: second, title: Write, deadline: {after: 1 workday}}\n    Презентация"
    )
    place.load(extra)
    place.run()
    assert {one.by for one in place.new_lines()} == {"backfill"}
    assert place.backfill() == sorted(deal for deals in place.old.values() for deal in deals)
    assert place.marks(place.old["NEW"][0]) == ["first-call", "second"]
    assert place.marks(place.old["UC_OFFER1"][0]) == ["ask"]
    assert place.backfill() == []


@pytest.mark.parametrize(
    ("args", "stages"),
    [
        ({"rule": "ask"}, ["UC_OFFER1"]),
        ({"stage": "Презентация"}, ["PREPARATION"]),
        ({"stage": "PREPARATION"}, ["PREPARATION"]),
        ({"stage": "  презентация "}, ["PREPARATION"]),
        ({"funnel": "Продажи"}, list(STAGES)),
        ({"funnel": "0", "rule": "first-call"}, ["NEW"]),
        ({"funnel": "0", "stage": "NEW", "rule": "first-call"}, ["NEW"]),
    ],
)
def test_deals_are_chosen_by_rule_funnel_and_stage(place: Backlog, args: dict[str, Any], stages: list[str]) -> None:
    place.load(RULES)
    assert place.backfill(**args) == sorted(deal for stage in stages for deal in place.old[stage])


def test_the_file_counts_as_it_is_now_and_a_broken_one_is_refused(place: Backlog) -> None:
    text = place.rules.read_text(encoding="utf-8")
    place.rules.write_text(text.replace("id: first-call", "id: other-call"), encoding="utf-8")
    assert place.backfill(rule="other-call") == place.old["NEW"]
    place.rules.write_text(text.replace("Новая заявка:", "Новые заявки:"), encoding="utf-8")
    for _ in range(2):
        with pytest.raises(UserError, match="Новые заявки"):
            place.backfill()
        place.restart()


def test_one_deal_is_chosen_by_its_number(place: Backlog) -> None:
    _, deal = place.old["NEW"]
    assert place.backfill(deal=deal) == [deal]
    assert place.cures(deal) == []
    assert place.cures(place.old["NEW"][0]) == [
        f"To make the task: bitrix-sync backfill --deal {place.old['NEW'][0]} --rule first-call"
    ]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"rule": "first-cal"}, "Did you mean `first-call`?"),
        ({"rule": "zzz"}, "The rules are `first-call`"),
        ({"stage": "Презентацыя"}, "Did you mean `Презентация`?"),
        ({"funnel": "Прадажи"}, "Did you mean `Продажи`?"),
        ({"funnel": "77"}, "no funnel `77`"),
        ({"rule": "first-call", "stage": "Презентация"}, "Its stages are `Новая заявка`"),
        ({"deal": 99999}, "the portal does not show it"),
    ],
)
def test_a_name_that_there_is_not_is_told_with_the_cure(place: Backlog, args: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=r"no |not ") as refused:
        changes.perform(place.context, "backfill", args)
    assert said in str(refused.value)
    assert place.tasks() == []


def test_deals_that_were_never_seen_are_read_from_the_portal(place: Backlog) -> None:
    portal = place.portal.state
    unseen = [
        portal.add_deal(f"Unseen {n}", stage="NEW", responsible=5, by=5, at=MONDAY - timedelta(hours=9)) for n in (1, 2)
    ]
    assert [line.deal_id for line in place.new_lines() if line.deal_id in unseen] == unseen
    assert set(place.backfill()) == {*place.old["NEW"], *unseen}


def test_a_deal_that_goes_on_while_a_backfill_runs_is_left_to_where_it_went(
    place: Backlog, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.load(RULES)
    monkeypatch.setattr(changes, "CHUNK", 1)
    first, second = place.old["NEW"]
    steps = changes.backfill(place.context, {"stage": "NEW"})
    for _ in range(2):
        next(steps)
    place.move(second, "PREPARATION")
    for _ in steps:
        pass
    place.run()
    assert (place.marks(first), place.marks(second)) == (["first-call"], ["presentation"])


@pytest.mark.parametrize(("from_now", "deadline"), [(False, "2026-03-04 15:00"), (True, "2026-03-06 15:00")])
def test_deadlines_are_counted_from_now_when_that_is_asked_for(place: Backlog, from_now: bool, deadline: str) -> None:
    place.wait(days=1, hours=20)
    place.run()
    place.load(RULES)
    assert place.backfill(rule="presentation", from_now=from_now) == place.old["PREPARATION"]
    (task,) = place.tasks(place.old["PREPARATION"][0])
    assert task.deadline == utc(deadline)


@pytest.mark.parametrize(("from_now", "deadline"), [(False, "2026-03-04 15:00"), (True, "2026-03-06 15:00")])
def test_those_of_what_was_refused_too(place: Backlog, from_now: bool, deadline: str) -> None:
    place.load(RULES)
    place.portal.faults.next("refuse", method="tasks.task.add", times=2)
    changes.perform(place.context, "backfill", {"rule": "presentation"})
    place.wait(days=1, hours=20)
    place.run()
    assert place.backfill(rule="presentation", from_now=from_now) == place.old["PREPARATION"]
    (task,) = place.tasks(place.old["PREPARATION"][0])
    assert task.deadline == utc(deadline)


def test_what_remove_took_away_is_recommended_and_made_again(place: Backlog) -> None:
    (deal, other) = place.backfill()
    since = place.context.portal.now() - timedelta(hours=1)
    removed = changes.perform(place.context, "remove", {"rule": "first-call", "since": since.isoformat()})
    assert len(removed["delete"]) == 2
    assert place.tasks() == []
    command = f"bitrix-sync backfill --deal {deal} --rule first-call --again"
    assert place.cures(deal) == [f"To make the task: {command}"]
    assert [(line.by, line.brings) for line in place.new_lines() if line.deal_id == deal] == [("again", command)]
    assert changes.perform(place.context, "backfill", {})["planned"] == []
    assert place.backfill(deal=deal, removed=True) == [deal]
    assert place.backfill(removed=True) == [other]
    assert place.marks(deal) == ["first-call"]
    assert place.backfill(removed=True) == []
    assert place.cures(deal) == []


def test_what_the_portal_refused_is_recommended_and_made_when_the_cause_is_gone(place: Backlog) -> None:
    place.portal.faults.next("refuse", method="tasks.task.add", times=2)
    refused = changes.perform(place.context, "backfill", {})
    assert len(refused["failed"]) == 2
    assert place.tasks() == []
    deal = place.old["NEW"][0]
    command = f"bitrix-sync backfill --deal {deal} --rule first-call"
    assert place.cures(deal) == [f"To make the task: {command}"]
    assert [(line.by, line.brings) for line in place.new_lines() if line.deal_id == deal] == [("backfill", command)]
    assert place.backfill() == place.old["NEW"]
    assert len(place.tasks()) == 2
    assert place.backfill() == []
