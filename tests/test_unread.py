"""What could not be read is not taken for what is not there: whatever reading fails in whatever way, no task is lost,
none goes to the wrong person, no rule is off, no deal is thought gone; when it is over everything is made once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from bitrix_sync.engine import recheck
from bitrix_sync.errors import PortalError
from bitrix_sync.model.facts import Unread
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
    *("calendar.settings.get", "calendar.user.settings.get", "calendar.accessibility.get", "sonet_group.get"),
    *("user.get", "department.get", "crm.stagehistory.list", "crm.item.list", "tasks.task.list", "crm.item.get"),
)


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


@pytest.mark.parametrize("fault", ["refuse", "garbage", "empty_result", "cut_before"])
@pytest.mark.parametrize("method", METHODS)
def test_what_cannot_be_read_is_not_taken_for_absent(place: Department, method: str, fault: str) -> None:
    before = place.add_deal("Before", responsible=MARIA)
    place.turn()
    made_once(place, before)
    place.portal.faults.next(fault, method, times=None)
    during = place.add_deal("During", responsible=MARIA)
    place.until("2026-03-02 10:30")
    turns(place, 2)
    with suppress(PortalError):
        place.context.rulebook.refresh_directory()
        place.context.rulebook.bind_anew()
    with suppress(PortalError):
        recheck.run(place.context)
    assert not any(rule.disabled for rule in place.context.rulebook.rules.by_id.values())
    assert not place.context.rulebook.error
    place.portal.faults.clear()
    after = place.add_deal("After", responsible=MARIA)
    turns(place, 4)
    for deal in (before, during, after):
        made_once(place, deal)
        assert place.store.deals([deal])
    assert place.store.unjudged() == {}


@pytest.mark.parametrize("method", ["crm.status.list", "department.get", "calendar.settings.get", "user.get"])
def test_what_was_known_last_is_known_after_a_restart(place: Department, method: str) -> None:
    calendar = place.context.rulebook.rules.calendar
    place.portal.faults.next("refuse", method, times=None)
    place.service.close()
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
