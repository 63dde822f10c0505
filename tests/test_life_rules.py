"""A rules file that lives: edited, refused, its portal changing under it. On the sandbox portal over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from bitrix_sync.commands import changes
from bitrix_sync.decisions import overdue
from bitrix_sync.errors import PortalError
from bitrix_sync.report import state_of_things
from bitrix_sync.report.snapshot import unpack
from bitrix_sync.rules.model import OverdueOverride
from tests.test_life import file, said_to, status_of
from tests.world.company import at as utc
from tests.world.office import RULES, Office, office


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Office]:
    with office(tmp_path, RULES.replace("admins: [1]", "admins: [3]")) as found:
        yield found


def edit(place: Office, old: str, new: str) -> None:
    """The administrator edits the file; ten seconds later the service has looked at it."""
    text = place.rules.read_text(encoding="utf-8")
    assert old in text
    place.rules.write_text(text.replace(old, new), encoding="utf-8")
    looks(place)


def looks(place: Office) -> None:
    """What the service does every five seconds, and a poll."""
    place.service.turn({"rules", "poll"}, True)


def an_hour_later(place: Office) -> None:
    """The same file is bound to the portal as it is now."""
    place.wait(hours=1)
    for _ in range(3):
        looks(place)


# --- edited ----------------------------------------------------------------------------------------------------------


def test_a_rule_added_later_acts_on_visits_that_begin_after_it(place: Office) -> None:
    old = place.add_deal()
    place.run()
    place.wait(minutes=5)
    edit(place, "    Презентация:", "      - {id: mail, title: Mail, deadline: {after: 1 workday}}\n    Презентация:")
    place.wait(minutes=5)
    place.portal.state.set_fields(old, {"OPPORTUNITY": 5}, by=5)
    new = place.add_deal()
    looks(place)
    assert place.marks(old) == ["first-call"]
    assert place.marks(new) == ["first-call", "mail"]


def test_a_rule_that_was_removed_leaves_its_tasks_to_people(place: Office) -> None:
    edit(place, "deadline: {after: 30 workminutes}", "deadline: {after: 30 workminutes}\n        on_leave: delete")
    deal = place.add_deal()
    looks(place)
    place.wait(minutes=5)
    edit(place, "id: first-call", "id: other")
    place.move(deal, "PREPARATION")
    looks(place)
    assert place.marks(deal) == ["first-call", "presentation"]
    assert status_of(place, deal)["first-call"] == 2


def test_sweeps_treat_the_tasks_of_a_removed_rule_by_the_files_defaults(place: Office) -> None:
    morning = '\noverdue: {morning: {at: "09:00", move_to: {after: 0 workdays}}, limit: 1}\n'
    place.rules.write_text(place.rules.read_text(encoding="utf-8") + morning, encoding="utf-8")
    edit(place, "deadline: {after: 30 workminutes}", "deadline: {after: 30 workminutes}\n        overdue: never")
    deal = place.add_deal()
    looks(place)
    rules = place.context.rulebook.rules
    assert rules.overdue is not None
    (record,) = [one for one in place.service.store.open_tasks() if one.rule_id]
    assert rules.by_id["first-call"].overdue == OverdueOverride(never=True)
    assert not overdue.in_scope(record, rules.overdue, rules)
    place.wait(minutes=1)
    edit(place, "id: first-call", "id: other")
    rules = place.context.rulebook.rules
    assert rules.overdue is not None
    assert overdue.in_scope(record, rules.overdue, rules)
    assert place.marks(deal) == ["first-call"]


def test_a_new_id_is_a_new_rule_and_a_new_title_is_not(place: Office) -> None:
    deal = place.add_deal("Romashka")
    looks(place)
    place.wait(minutes=5)
    edit(place, "Call: ", "Ring: ")
    place.portal.state.set_fields(deal, {"OPPORTUNITY": 5}, by=5)
    looks(place)
    assert place.marks(deal) == ["first-call"]
    edit(place, "id: first-call", "id: ring")
    place.portal.state.set_fields(deal, {"OPPORTUNITY": 6}, by=5)
    later = place.add_deal("Vasilek")
    looks(place)
    assert place.marks(deal) == ["first-call"], "the deal was here before the new rule"
    assert place.marks(later) == ["ring"]
    assert place.tasks(later)[0].title == "Ring: Vasilek"


def test_the_edit_itself_moves_nothing_and_the_present_text_is_obeyed_from_the_next_reason_on(place: Office) -> None:
    deal = place.add_deal(fields={"UF_CRM_SHIP_DATE": "2026-03-12T10:00:00+03:00"})
    looks(place)
    looks(place)
    place.wait(minutes=1)
    edit(
        place,
        "deadline: {after: 30 workminutes}",
        "deadline: {field: UF_CRM_SHIP_DATE, else: {after: 9 workdays}}\n        on_leave: complete",
    )
    for _ in range(3):
        place.wait(minutes=1)
        looks(place)
    (task,) = place.tasks(deal)
    assert (task.deadline, task.status) == (utc("2026-03-02 10:30"), 2), "nothing happened to the deal"
    place.portal.state.set_fields(deal, {"OPPORTUNITY": 5}, by=5)
    looks(place)
    assert place.tasks(deal)[0].deadline == utc("2026-03-12 10:00")
    place.wait(minutes=5)
    place.move(deal, "PREPARATION")
    looks(place)
    assert status_of(place, deal)["first-call"] == 5


def test_other_numbers_of_a_deadline_concern_new_tasks_only(place: Office) -> None:
    deal = place.add_deal()
    looks(place)
    edit(place, "deadline: {after: 30 workminutes}", "deadline: {after: 4 workdays}")
    place.wait(minutes=1)
    place.portal.state.set_fields(deal, {"OPPORTUNITY": 5}, by=5)
    other = place.add_deal()
    looks(place)
    assert place.tasks(deal)[0].deadline == utc("2026-03-02 10:30")
    assert place.tasks(other)[0].deadline == utc("2026-03-06 18:00")


def test_a_rule_moved_to_another_stage_makes_nothing_for_those_who_had_left_it(place: Office) -> None:
    deal = place.add_deal(stage="EXECUTING")
    looks(place)
    place.wait(minutes=5)
    place.move(deal, "PREPARATION")
    looks(place)
    edit(place, "    КП отправлено:", "    Договор:")
    place.wait(minutes=5)
    place.portal.state.set_fields(deal, {"OPPORTUNITY": 5}, by=5)
    looks(place)
    assert place.marks(deal) == ["presentation"]


# --- loaded again ----------------------------------------------------------------------------------------------------


def test_fields_that_an_edited_file_uses_are_read_for_deals_judged_later(place: Office) -> None:
    title = 'title: "Call: {{ deal.TITLE }}"'
    edit(
        place,
        title,
        title + "\n        if: {Адрес доставки: {contains: Тула}}\n        description: '{{ deal.UF_CRM_PLACES }}'",
    )
    deal = place.add_deal(fields={"UF_CRM_ADDRESS": "Тула, Ленина 1", "UF_CRM_PLACES": 7})
    looks(place)
    assert place.tasks(deal)[0].description == "7"


def test_a_bad_file_never_replaces_a_good_one_and_the_admins_hear_of_it_once(place: Office) -> None:
    good = place.rules.read_text(encoding="utf-8")
    edit(place, "Презентация:", "Презинтация:")
    looks(place)
    status = state_of_things(place.service.store, place.service.settings)
    assert "Did you mean" in status["rules_error"]
    (text,) = said_to(place, 3)
    assert "rules.yaml:14:5: funnels > Продажи > Презинтация" in text
    deal = place.add_deal("Romashka")
    looks(place)
    assert place.marks(deal) == ["first-call"]
    place.rules.write_text(good, encoding="utf-8")
    looks(place)
    assert state_of_things(place.service.store, place.service.settings)["rules_error"] == ""
    place.wait(minutes=2)
    edit(place, "Презентация:", "Презинтация:")
    assert len(said_to(place, 3)) == 2, "the same mistake made again is news"


def test_a_file_that_was_away_for_a_while_is_no_trouble_when_it_is_back(place: Office) -> None:
    away = place.rules.rename(place.rules.with_suffix(".away"))
    looks(place)
    assert "cannot be read" in place.context.rulebook.error
    away.rename(place.rules)
    looks(place)
    assert place.context.rulebook.error == ""


def test_a_file_changed_while_the_portal_is_away_is_taken_up_when_it_is_back(place: Office) -> None:
    text = place.rules.read_text(encoding="utf-8")
    place.rules.write_text(text.replace("Call: ", "Ring: "), encoding="utf-8")
    book, read = place.context.rulebook, place.context.rulebook.refresh_directory
    book.refresh_directory = _portal_away  # type: ignore[method-assign]
    with pytest.raises(PortalError):
        book.reload_if_changed()
    book.refresh_directory = read  # type: ignore[method-assign]
    assert book.reload_if_changed()
    assert book.rules.by_id["first-call"].title.startswith("Ring")


def _portal_away() -> None:
    raise PortalError("the portal does not answer")


# --- renamed, vanished -----------------------------------------------------------------------------------------------


def test_after_a_rename_in_the_portal_the_rule_goes_on_with_a_warning(place: Office) -> None:
    place.portal.state.rename_stage("NEW", "Лид")
    an_hour_later(place)
    deal = place.add_deal()
    looks(place)
    assert place.marks(deal) == ["first-call"]
    assert [one for one in place.context.rulebook.warnings if "is called `Лид` in the portal now" in one]
    assert said_to(place, 3) == []


VANISHING = file(
    "Новая заявка:",
    "  - {id: call, title: Call, deadline: {after: 1 workday}}",
    "  - {id: ship, title: Ship, deadline: {field: UF_CRM_SHIP_DATE, else: {after: 1 workday}}}",
    "  - {id: site, title: 'See {{ deal.UF_CRM_SITE }}', deadline: {after: 1 workday}}",
    "  - {id: store, title: Store, project: GROUP, deadline: {after: 1 workday}}",
    "  - {id: law, title: Law, owner: {one_of: [15, 17], pick: first}, deadline: {after: 1 workday}}",
    "Презентация:",
    "  - {id: show, title: Show, deadline: {after: 1 workday}}",
)


def vanish_stage(state: Any) -> None:
    state.delete_stage("PREPARATION")


def vanish_field(state: Any) -> None:
    state.delete_field("UF_CRM_SHIP_DATE")


def vanish_field_of_a_text(state: Any) -> None:
    state.delete_field("UF_CRM_SITE")


def vanish_user(state: Any) -> None:
    state.delete_user(17)


def vanish_workgroup(state: Any) -> None:
    state.workgroups.clear()


@pytest.mark.parametrize(
    ("vanish", "off"),
    [
        (vanish_stage, "show"),
        (vanish_field, "ship"),
        (vanish_field_of_a_text, "site"),
        (vanish_user, "law"),
        (vanish_workgroup, "store"),
    ],
)
def test_what_vanishes_disables_the_rules_that_need_it_loudly_and_no_others(
    tmp_path: Path, vanish: Any, off: str
) -> None:
    with office(tmp_path, VANISHING.replace("project: GROUP, ", "")) as place:
        group = next(iter(place.portal.state.workgroups))
        edit(place, "title: Store, ", f"title: Store, project: {group}, ")
        vanish(place.portal.state)
        with structlog.testing.capture_logs() as logs:
            an_hour_later(place)
        assert [line for line in logs if "gone from the portal" in str(line.get("problem"))]
        (text,) = said_to(place, 3)
        assert f"({off}). Reason: " in text.splitlines()[0]
        assert list(state_of_things(place.service.store, place.service.settings)["rules_off"]) == [off]
        sheets = unpack(place.service.store.flags.snapshot).sheets
        assert [task["id"] for sheet in sheets for task in sheet["tasks"] if task["disabled"]] == [off], "on the page"
        deal = place.add_deal()
        looks(place)
        assert place.marks(deal) == [one for one in ("call", "ship", "site", "store", "law") if one != off]
        an_hour_later(place)
        place.restart()
        looks(place)
        assert len(said_to(place, 3)) == 1, "told once"


def test_what_is_back_works_again(tmp_path: Path) -> None:
    with office(tmp_path, VANISHING.replace("project: GROUP, ", "")) as place:
        field = place.portal.state.deal_fields["UF_CRM_SHIP_DATE"]
        place.portal.state.delete_field(field.code)
        an_hour_later(place)
        place.portal.state.deal_fields[field.code] = field
        an_hour_later(place)
        assert state_of_things(place.service.store, place.service.settings)["rules_off"] == {}
        deal = place.add_deal()
        looks(place)
        assert "ship" in place.marks(deal)
        place.portal.state.delete_field(field.code)
        an_hour_later(place)
        assert len(said_to(place, 3)) == 2, "gone again: told again"


# --- watching --------------------------------------------------------------------------------------------------------


def test_after_watching_each_deals_present_stage_is_judged_anew_and_no_stage_that_was_left(place: Office) -> None:
    edit(place, "fallback_owner: 1", "fallback_owner: 1\nsafety: {watch: true}")
    passed, stays = place.add_deal(), place.add_deal()
    looks(place)
    place.wait(minutes=5)
    place.move(passed, "PREPARATION")
    looks(place)
    place.portal.state.delete_stage("UC_OFFER1")
    an_hour_later(place)
    assert place.tasks() == []
    assert place.portal.state.messages == {} or said_to(place, 3) == []
    edit(place, "safety: {watch: true}", "safety: {watch: false}")
    for deal in (passed, stays):
        place.portal.state.set_fields(deal, {"OPPORTUNITY": 5}, by=5)
    looks(place)
    assert place.marks(passed) == ["presentation"]
    assert place.marks(stays) == ["first-call"]
    assert said_to(place, 3)[0].startswith("Switched off: “Ask” (ask). Reason: ")


def test_while_watching_backfill_says_what_it_would_do_and_does_nothing(place: Office) -> None:
    edit(place, "fallback_owner: 1", "fallback_owner: 1\nsafety: {watch: true}")
    dry, done = (changes.perform(place.context, "backfill", {"dry_run": dry}) for dry in (True, False))
    assert [one["title"] for one in dry["planned"]] == [one["title"] for one in done["planned"]]
    assert len(dry["planned"]) > 3
    assert place.tasks() == []
    edit(place, "safety: {watch: true}", "safety: {watch: false}")
    assert len(changes.perform(place.context, "backfill", {})["planned"]) == len(dry["planned"]) == len(place.tasks())


# --- one process ------------------------------------------------------------------------------------------------------


def test_the_language_of_notices_is_russian_unless_the_file_says_otherwise(tmp_path: Path) -> None:
    with office(tmp_path, RULES.replace("language: en\n", "").replace("admins: [1]", "admins: [3]")) as place:
        edit(place, "Презентация:", "Презинтация:")
        (text,) = said_to(place, 3)
        assert text.startswith("Новый файл правил не принят")
