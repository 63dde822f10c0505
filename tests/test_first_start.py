"""The first start on a portal of which it sees nothing, or a part: what was entered before it never acts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from bitrix_sandbox.http.server import Sandbox
from bitrix_sandbox.state.clock import Clock
from bitrix_sync.commands import changes
from bitrix_sync.engine import recheck
from bitrix_sync.model.actions import Kind
from bitrix_sync.model.operations import State
from bitrix_sync.report import state_of_things
from bitrix_sync.settings import load_settings
from bitrix_sync.setup.check import examine
from tests.world.company import MONDAY
from tests.world.office import RULES, Office
from tests.world.process import Running, until

OLD = 12


@contextmanager
def blind(folder: Path, rules: str = RULES, *, seen: int = 0) -> Iterator[tuple[Office, list[int]]]:
    """A service that begins where deals have moved about for hours, and that sees ``seen`` of them: the newest."""
    clock = Clock()
    clock.set(MONDAY - timedelta(hours=3))
    with Sandbox(clock=clock, rate=None) as portal:
        old = [portal.state.add_deal(f"Old {number}", stage="NEW", responsible=5, by=5) for number in range(OLD)]
        clock.advance(timedelta(hours=1))
        for deal in old[::2]:
            portal.state.move_deal(deal, "PREPARATION", by=5)
        clock.advance(timedelta(hours=2))
        for deal in sorted(portal.state.deals)[: -seen or None]:
            portal.state.hide_deal(deal)
        place = Office(portal, folder, rules, BITRIX_RATE="100/1000")
        try:
            yield place, old
        finally:
            place.close()


def show_all(place: Office) -> None:
    """The webhook's user is given the right to read deals; somebody edits each of them, so that each is read."""
    for deal in list(place.portal.state.switches.hidden_deals):
        place.portal.state.show_deal(deal)


def read(place: Office) -> None:
    """The worker reads the portal."""
    place.service.read(place.context)


def told(place: Office) -> list[str]:
    """What the administrators were told in the portal."""
    place.service.turn(set(), wide=False)
    return [row.operation.action.text for row in place.service.store.operations() if row.operation.kind is Kind.MESSAGE]


@pytest.mark.parametrize("seen", [0, 1, 5])
@pytest.mark.parametrize("how", ["an edit", "the recheck", "a new deal", "a restart", "another file"])
def test_what_was_entered_before_the_first_start_never_acts_however_it_comes_to_light(
    tmp_path: Path, seen: int, how: str
) -> None:
    with blind(tmp_path, seen=seen) as (place, old):
        place.wait(minutes=5)
        show_all(place)
        match how:
            case "an edit":
                for deal in old:
                    place.portal.state.set_fields(deal, {"OPPORTUNITY": 5}, by=5)
            case "the recheck":
                recheck.run(place.context)
            case "a new deal":
                place.add_deal("New")
            case "a restart":
                place.restart()
                place.add_deal("New")
            case "another file":
                place.rules.write_text(RULES.replace("first-call", "other-call"), encoding="utf-8")
                place.context.rulebook.reload_if_changed()
                place.add_deal("New")
        read(place)
        place.wait(hours=1)
        recheck.run(place.context)
        read(place)
        new = [deal for deal in place.portal.state.deals if deal not in old and deal > max(old)]
        assert [name for deal in old for name in place.marks(deal)] == []
        assert [place.marks(deal) for deal in new] == [["other-call" if how == "another file" else "first-call"]] * len(
            new
        )
        assert set(old) <= set(place.service.store.deals()), "they are facts"
        assert place.service.store.operations(state=State.HELD) == []


def test_what_is_entered_after_it_acts_also_in_its_own_second(tmp_path: Path) -> None:
    with blind(tmp_path) as (place, old):
        deal = place.add_deal("New")
        show_all(place)
        place.move(old[1], "PREPARATION")
        read(place)
        assert (place.marks(deal), place.marks(old[1])) == (["first-call"], ["presentation"])


def test_a_first_start_that_ended_half_way_began_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(point: str) -> None:
        if point == "record:before-commit":
            raise SystemExit

    with Sandbox(clock=Clock(MONDAY), rate=None) as portal:
        monkeypatch.setattr("bitrix_sync.store.store.crash_point", cut)
        with pytest.raises(SystemExit):
            Office(portal, tmp_path, BITRIX_RATE="100/1000")
        monkeypatch.undo()
        portal.clock.advance(timedelta(minutes=1))
        past = portal.state.add_deal("Between", stage="NEW", responsible=5, by=5)
        portal.state.hide_deal(past)
        portal.clock.advance(timedelta(minutes=1))
        place = Office(portal, tmp_path, BITRIX_RATE="100/1000")
        new = place.add_deal()
        show_all(place)
        portal.state.set_fields(past, {"OPPORTUNITY": 5}, by=5)
        place.run()
        assert (place.marks(past), place.marks(new)) == ([], ["first-call"])
        place.close()


@pytest.mark.parametrize(("language", "words"), [("en", "shows no deal"), ("ru", "не показывает ни одной сделки")])
def test_a_first_start_that_sees_no_deal_says_so_everywhere(tmp_path: Path, language: str, words: str) -> None:
    with blind(tmp_path, RULES.replace("language: en", f"language: {language}")) as (place, old):
        settings = load_settings(place.environ, None)
        assert [words in text for text in told(place)] == [True]
        assert state_of_things(place.service.store, settings)["sees_no_deals_since"] is not None
        assert changes.perform(place.context, "sync", {})["sees_no_deals"] is True
        assert any("no deal in progress" in line.text for line in examine(settings, offline=False))
        place.restart()
        read(place)
        assert len(told(place)) == 1, "once"
        show_all(place)
        new = place.add_deal("New")
        read(place)
        assert [text for text in told(place) if "backfill" in text] == told(place)[1:]
        assert len(told(place)) == 2
        assert state_of_things(place.service.store, settings)["sees_no_deals_since"] is None
        assert set(place.service.store.deals(open_only=True)) >= {*old, new}, "all are facts now"
        assert not any("no deal in progress" in line.text for line in examine(settings, offline=False))


def test_a_first_start_that_sees_deals_complains_of_nothing(tmp_path: Path) -> None:
    with blind(tmp_path, seen=1) as (place, _):
        assert told(place) == []
        assert state_of_things(place.service.store, load_settings(place.environ, None))["sees_no_deals_since"] is None


def test_a_service_as_a_process_that_is_given_rights_later_makes_nothing_of_the_past(tmp_path: Path) -> None:
    with Sandbox(clock=Clock(MONDAY), rate=None) as portal:
        old = [portal.state.add_deal(f"Old {number}", stage="NEW", responsible=5, by=5) for number in range(OLD)]
        portal.clock.advance(timedelta(minutes=30))
        for deal in list(portal.state.deals):
            portal.state.hide_deal(deal)
        (tmp_path / "rules.yaml").write_text(RULES, encoding="utf-8")
        environ = {
            "BITRIX_WEBHOOK_URL": portal.url,
            "BITRIX_POLL_SECONDS": "1",
            "BITRIX_LISTEN": "127.0.0.1:0",
            "BITRIX_RATE": "100/1000",
        }
        service = Running(tmp_path, environ).ready()
        assert "shows no deal" in service.said
        portal.clock.advance(timedelta(minutes=1))
        for deal in list(portal.state.deals):
            portal.state.show_deal(deal)
        new = portal.state.add_deal("New", stage="NEW", responsible=5, by=5)

        def with_tasks() -> set[str]:
            with portal.state.lock:
                return {name for task in portal.state.tasks.values() if task.xml_id for name in task.crm}

        until(lambda: f"D_{new}" in with_tasks())
        command = Running(tmp_path, environ, "backfill", "--dry-run", "--json")
        assert command.wait() == 0, command.said
        planned = json.loads(command.out.read_text("utf-8"))["planned"]
        assert {one["deal_id"] for one in planned} >= set(old)
        assert with_tasks() == {f"D_{new}"}
        assert service.end() == 0


def test_backfill_is_for_what_comes_to_light_later(tmp_path: Path) -> None:
    with blind(tmp_path) as (place, old):
        place.wait(minutes=5)
        assert changes.perform(place.context, "backfill", {})["planned"] == []
        show_all(place)
        read(place)
        assert place.tasks() == []
        done = changes.perform(place.context, "backfill", {})
        assert {one["deal_id"] for one in done["planned"]} >= set(old)
        assert sorted(name for deal in old for name in place.marks(deal)) == ["first-call"] * 6 + ["presentation"] * 6
