"""What could not be read is not taken for what is not there: whatever reading fails in whatever way, no task is lost,
none goes to the wrong person, no rule is off, no deal is thought gone; when it is over everything is made once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from bitrix_sync.engine import recheck
from bitrix_sync.errors import PortalError
from bitrix_sync.explain.why import story_of
from bitrix_sync.explain.why_lines import lines_of
from bitrix_sync.model.facts import Unread
from bitrix_sync.portal import bulk, directory
from bitrix_sync.portal.client import Portal
from tests.world.shell import Shell
from tests.world.sweeps import DIRECTOR, HEAD, MARIA, SWEEPS, Department, department

RULES = (
    """
version: 1
language: en
timezone: Europe/Moscow
admins: [1]
fallback_owner: 1
funnels:
  Продажи:
    Новая заявка:
      - id: first-call
        title: "Call: {{ deal.TITLE }} {{ company.TITLE }}"
        deadline: {after: 2 workhours}
      - id: review
        title: "Look"
        owner: head
        away: substitute
        deadline: {after: 2 workhours}
"""
    + SWEEPS
)
METHODS = (
    *("profile", "scope", "crm.item.fields", "crm.category.list", "crm.status.list", "crm.deal.userfield.list"),
    *("calendar.settings.get", "calendar.user.settings.get", "sonet_group.get", "user.get", "department.get"),
    *("calendar.accessibility.get", "crm.stagehistory.list", "crm.item.list", "tasks.task.list", "crm.item.get"),
)
FAULTS = ("refuse", "garbage", "empty_result", "cut_before")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Department]:
    with department(tmp_path, RULES) as found:
        yield found


def turns(place: Department, count: int) -> None:
    """So many turns of the worker; trouble is told and waited for."""
    for _ in range(count):
        with suppress(PortalError):
            place.turn()
        place.wait(minutes=2)


def made_once(place: Department, deal: int) -> None:
    assert sorted(place.marks(deal)) == ["first-call", "review"]
    owners = {task.xml_id.split(":")[2]: task.responsible_id for task in place.tasks(deal)}
    assert owners == {"first-call": MARIA, "review": HEAD}


@pytest.mark.parametrize("method", METHODS)
def test_what_cannot_be_read_is_not_taken_for_absent(place: Department, method: str) -> None:
    deals = [place.add_deal("Before", responsible=MARIA)]
    place.turn()
    made_once(place, deals[0])
    for fault in FAULTS:
        place.portal.faults.next(fault, method, times=None)
        deals.append(place.add_deal(f"During {fault}", responsible=MARIA))
        place.wait(hours=2)
        turns(place, 2)
        with suppress(PortalError):
            place.context.rulebook.refresh_directory()
            place.context.rulebook.bind_anew()
        with suppress(PortalError):
            recheck.run(place.context)
        assert not any(rule.disabled for rule in place.context.rulebook.rules.by_id.values()), fault
        assert not place.context.rulebook.error, fault
        place.portal.faults.clear()
        deals.append(place.add_deal(f"After {fault}", responsible=MARIA))
        turns(place, 4)
        for deal in deals:
            made_once(place, deal)
            assert place.store.deals([deal]), fault
        assert place.store.unjudged() == {}, fault


@pytest.mark.parametrize("method", ["crm.status.list", "department.get", "calendar.settings.get", "user.get"])
def test_what_was_known_last_is_known_after_a_restart(place: Department, method: str) -> None:
    calendar = place.context.rulebook.rules.calendar
    place.portal.faults.next("refuse", method, times=None)
    place.service.close()
    place.wait(hours=2)  # a start within the hour would not ask
    place.start()
    deal = place.add_deal("Romashka", responsible=MARIA)
    turns(place, 2)
    made_once(place, deal)
    assert place.context.rulebook.rules.calendar == calendar
    assert place.context.rulebook.unread_parts()
    assert any("Could not be read" in one for one in place.mail(DIRECTOR))


def test_of_heads_that_were_never_known_nobody_is_guessed(tmp_path: Path) -> None:
    with department(tmp_path, RULES) as place:
        place.portal.faults.next("refuse", "department.get", times=None)
        place.service.close()
        place.start()
        place.store.flags.known = None
        place.service.close()
        place.start()
        deal = place.add_deal("Romashka", responsible=MARIA)
        turns(place, 2)
        assert place.marks(deal) == []
        assert list(place.store.unjudged()) == [deal]
        place.portal.faults.clear()
        turns(place, 3)
        made_once(place, deal)


def test_a_deal_hidden_by_rights_is_judged_when_they_are_given(place: Department) -> None:
    deal = place.add_deal("Hidden", responsible=MARIA)
    place.portal.faults.next("refuse", "crm.item.get", times=None, code="ACCESS_DENIED", status=400)
    place.portal.faults.next("refuse", "crm.item.list", times=None, code="ACCESS_DENIED", status=400)
    turns(place, 2)
    assert place.marks(deal) == []
    place.portal.faults.clear()
    place.die()
    place.start()
    turns(place, 3)
    made_once(place, deal)


def test_a_missing_method_is_told_as_such(place: Department) -> None:
    place.portal.faults.next("refuse", "crm.category.list", times=None, code="ERROR_METHOD_NOT_FOUND", status=404)
    place.context.rulebook.refresh_directory()
    end = place.context.rulebook.directory.unread["funnels"]
    assert isinstance(end, Unread)
    assert "no method crm.category.list" in end.why
    assert "CRM role" not in end.why


# --- stages and funnels ----------------------------------------------------------------------------------------------

EVERYWHERE = RULES.replace(
    "overdue:",
    """    "*":
      - {id: anywhere, title: Anywhere, deadline: {after: 1 workday}}
overdue:""",
    1,
)


def test_a_stage_newer_than_what_was_read_is_read_before_its_deals_are_judged(tmp_path: Path) -> None:
    with department(tmp_path, EVERYWHERE) as place:
        place.portal.state.add_stage("NEWEST", "Newest")
        deal = place.add_deal("Romashka", stage="NEWEST", responsible=MARIA)
        place.turn()
        assert place.marks(deal) == ["anywhere"]


def test_a_deal_in_a_stage_that_cannot_be_read_waits_and_is_not_read_for_again_and_again(tmp_path: Path) -> None:
    with department(tmp_path, EVERYWHERE) as place:
        place.portal.state.add_stage("NEWEST", "Newest")
        place.portal.faults.next("refuse", "crm.status.list", times=None)
        deal = place.add_deal("Romashka", stage="NEWEST", responsible=MARIA)
        place.turn()
        assert place.marks(deal) == []
        (told,) = place.store.unjudged().values()
        assert "crm.status.list" in told[1].why
        account = story_of(place.store, deal)
        assert "crm.status.list" in account["unjudged"]
        assert not account["gone"]
        assert account["unjudged"] in list(lines_of(account))
        asked = place.context.portal.stats.requests
        place.context.rulebook.meet_stages([(0, "NEWEST")])
        assert place.context.portal.stats.requests == asked
        place.portal.faults.clear()
        turns(place, 40)
        assert place.marks(deal) == ["anywhere"]
        assert story_of(place.store, deal)["unjudged"] == ""


@pytest.mark.parametrize("again", ["", "refuse", "garbage"])
def test_a_funnel_that_one_list_leaves_out_is_not_gone_while_its_stages_are_there(tmp_path: Path, again: str) -> None:
    rules = RULES.replace(
        "overdue:", "  Сервис:\n    '*':\n      - {id: serve, title: Serve, deadline: {after: 1 workday}}\noverdue:", 1
    )
    with department(tmp_path, rules) as place:
        categories = place.portal.faults
        categories.next("garbled", "crm.category.list", times=None, row=5, field="id", value=77)
        if again:
            categories.next(again, "crm.status.list", times=None)
        place.context.rulebook.read_anew()
        rules_now = place.context.rulebook.rules.by_id
        assert not rules_now["serve"].disabled
        deal = place.add_deal("Repair", funnel=5, stage="C5:NEW", responsible=MARIA)
        place.turn()
        assert place.marks(deal) == ["serve"]


def test_a_funnel_that_was_deleted_is_gone(place: Department) -> None:
    place.portal.state.delete_funnel(5)
    place.context.rulebook.read_anew()
    assert [funnel.id for funnel in place.context.rulebook.directory.funnels] == [0]
    assert not place.context.rulebook.unread_parts()


def test_a_deal_of_a_deleted_funnel_is_left_alone_and_told_once(tmp_path: Path) -> None:
    with department(tmp_path, EVERYWHERE) as place:
        deal = place.add_deal("Repair", funnel=5, stage="C5:NEW", responsible=MARIA)
        place.portal.state.delete_funnel(5)
        place.context.rulebook.read_anew()
        for _ in range(4):
            place.turn()
            place.wait(hours=20)
        assert place.marks(deal) == []
        assert len([one for one in place.mail(DIRECTOR) if "Not dealt with yet" in one]) == 1
        assert "no stage C5:NEW" in story_of(place.store, deal)["unjudged"]


# --- sweeps, init, check ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_a_sweep_that_cannot_read_takes_nothing_for_absent(place: Department, method: str) -> None:
    for day, fault in enumerate(FAULTS, 2):
        place.until(f"2026-03-0{day} 11:00")
        task = place.task("Offer", MARIA, f"2026-03-0{day} 12:00")
        place.turn()
        place.until("18:30")
        place.portal.faults.next(fault, method, times=None)
        turns(place, 2)
        assert not place.record(task).gone, fault
        place.portal.faults.clear()
        moved = f"2026-03-0{day + 1} 18:00"
        for _ in range(8):
            turns(place, place.due(task) != moved)
        assert place.due(task) == moved, fault
        assert len([one for one in place.portal.state.tasks[task].log if one.field == "DEADLINE"]) == 1, fault


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands give a portal that makes no sense up at once."""
    for reading in (Portal.read, directory.directory):
        monkeypatch.setitem(reading.__kwdefaults__, "patience", 0.1)
    monkeypatch.setattr(bulk, "LONG_PATIENCE", 0.1)
    monkeypatch.setattr(bulk, "TRIES", 1)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("fault", FAULTS[:2])
def test_init_writes_the_whole_file_or_none_and_says_what_could_not_be_read(place: Department, fault: str) -> None:
    shell = Shell(place.folder, {**place.environ, "BITRIX_RATE": "100/1000"})
    files = {name: place.folder / f"{name}.yaml" for name in ("whole", *METHODS[:11])}
    whole = shell("init", BITRIX_RULES=str(files["whole"]))
    assert whole.code == 0, whole.err
    tasks = files["whole"].read_text("utf-8").count("- id:")
    for method in METHODS[:11]:
        place.wait(minutes=2)
        place.portal.faults.next(fault, method, times=None)
        ran = shell("init", BITRIX_RULES=str(files[method]))
        place.portal.faults.clear()
        assert method in (ran.err if ran.code else ran.out)
        assert files[method].exists() == (ran.code == 0), method
        assert ran.code or files[method].read_text("utf-8").count("- id:") == tasks, method


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("fault", FAULTS[:2])
def test_check_names_what_could_not_be_read(place: Department, fault: str) -> None:
    shell = Shell(place.folder, {**place.environ, "BITRIX_RATE": "100/1000"})
    for method in METHODS[:11]:
        place.wait(minutes=2)
        place.portal.faults.next(fault, method, times=None)
        ran = shell("check")
        place.portal.faults.clear()
        assert method in ran.out + ran.err
