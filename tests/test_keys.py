"""Names that last: their text is that of version 0.1, for it stands in stores and portals, and it is read back."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from bitrix_sync.model import keys
from bitrix_sync.model.actions import CLASSES, Kind, pack, unpack
from bitrix_sync.model.items import DEAL, Item, ItemKind, bound, by_kind, whereabouts
from bitrix_sync.model.keys import Key, Occurrence, Purpose, Refusal, SlotId, mark_of, names_visit, occurrence_in
from tests.world.kinds import LEAD

README = Path(__file__).parent.parent / "README.md"
NOW = datetime(2026, 3, 12, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (Occurrence(9031, "first-call"), "9031:first-call"),
        (Occurrence(9031, "first-call", 2), "9031:first-call:2"),
        (SlotId(date(2026, 3, 12), "evening"), "2026-03-12/evening"),
        (SlotId(date(2026, 3, 12), "evening", 2), "2026-03-12/evening/2"),
    ],
)
def test_names_are_written_and_read_back(name: Occurrence | SlotId, text: str) -> None:
    assert str(name) == text
    assert type(name).parse(text) == name


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (Key(Purpose.CREATE, "9031:first-call"), "create:9031:first-call"),
        (Key(Purpose.ITEM, "9031:first-call", 0), "item:9031:first-call:0"),
        (Key(Purpose.LINE_OF_FOLLOW, "9031:first-call", 1), "line:follow:9031:first-call:1"),
        (Key(Purpose.SWEEP, SlotId(date(2026, 3, 12), "evening"), "task:7"), "sweep:2026-03-12/evening:task:7"),
        (
            Key(Purpose.TELL, Key(Purpose.ADMIN, Key(Purpose.HELD, keys.hour(NOW))), 5),
            "tell:admin:held:2026-03-12T09:5",
        ),
        (Key(Purpose.PUT_BACK, keys.minute(NOW)), "put-back:2026-03-12T09:30"),
        (Refusal("a1", "b2", NOW), "refused:a1.b2@2026-03-12T09:30:00+00:00"),
    ],
)
def test_keys_have_the_text_that_stores_hold(key: Key | Refusal, text: str) -> None:
    assert str(key) == text


def test_a_cause_that_was_told_is_read_without_its_moment() -> None:
    assert Refusal.parse(str(Refusal("a1", "b2", NOW))) == Refusal("a1", "b2")


@pytest.mark.parametrize(
    "text", ["", "call", "0:call", "9031", "9031:call:x", "task:7", "LEAD.9031:call", "9031:a:b:2"]
)
def test_what_is_no_occurrence_is_none(text: str) -> None:
    assert Occurrence.parse(text) is None


@pytest.mark.parametrize("text", ["", "2026-03-12", "2026-13-45/evening", "evening", "2026-03-12/evening/x"])
def test_what_is_no_sweep_is_an_error(text: str) -> None:
    with pytest.raises(ValueError):
        SlotId.parse(text)


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("4711", ("", 4711)),
        (" № 4711 ", ("", 4711)),
        ("https://Shop.bitrix24.ru/crm/deal/details/4711/", ("Shop.bitrix24.ru", 4711)),
        ("https://shop.bitrix24.ru/crm/deal/details/4711", ("shop.bitrix24.ru", 4711)),
        (
            "https://shop.bitrix24.ru/crm/deal/details/4711/?IFRAME=Y&IFRAME_TYPE=SIDE_SLIDER#tab",
            ("shop.bitrix24.ru", 4711),
        ),
        ("https://shop.bitrix24.ru/crm/deal/show/4711/", ("shop.bitrix24.ru", 4711)),
        ("https://shop.bitrix24.ru/crm/type/2/details/4711/", ("shop.bitrix24.ru", 4711)),
        ("https://shop.bitrix24.ru/mobile/crm/deal/?page=view&deal_id=4711", ("shop.bitrix24.ru", 4711)),
        ("https://crm.example:8443/portal/crm/deal/details/4711/", ("crm.example:8443", 4711)),
        ("shop.bitrix24.ru/crm/deal/details/4711/", ("shop.bitrix24.ru", 4711)),
        ("/crm/deal/details/4711/", ("", 4711)),
        ("bitrix24://shop.bitrix24.ru/crm/deal/details/4711/", ("shop.bitrix24.ru", 4711)),
        ("https://shop.bitrix24.ru/crm/lead/details/4711/", None),
        ("https://shop.bitrix24.ru/crm/type/31/details/4711/", None),
        ("https://shop.bitrix24.ru/crm/type/2/details/4711x/", None),
        ("https://shop.bitrix24.ru/crm/deal/kanban/category/4711/", None),
        ("https://shop.bitrix24.ru/crm/deal/details/0x10/", None),
        ("https://[::1/crm/deal/details/4711/", None),
        ("Ромашка 4711", None),
        ("٤٧", None),
        ("", None),
    ],
)
def test_a_deal_is_told_by_its_number_or_its_address(said: str, found: tuple[str, int] | None) -> None:
    assert whereabouts(said) == found


def test_items_of_another_kind_stand_behind_its_name(lead: ItemKind) -> None:
    visit = Item(lead, 9031)
    occurrence = Occurrence(visit.number, "first-call")
    assert str(occurrence) == "LEAD.9031:first-call"
    assert Occurrence.parse("LEAD.9031:first-call") == occurrence != Occurrence.parse("9031:first-call")
    assert Item.of(visit.number) == visit == Item.parse("LEAD.9031") != Item.parse("9031")
    assert (visit.binding, bound("L_7"), bound("D_7"), bound("C_7")) == ("L_9031", (lead, "7"), (DEAL, "7"), None)
    assert by_kind([7, visit.number, 9]) == {DEAL: [7, 9], lead: [9031]}
    assert whereabouts("https://shop.bitrix24.ru/crm/lead/details/7/") == ("shop.bitrix24.ru", Item(lead, 7).number)
    assert (lead.stage("NEW", 0), lead.stage_told("LEAD:NEW"), DEAL.stage("NEW", 0)) == ("LEAD:NEW", "NEW", "NEW")


def test_a_number_of_an_unknown_kind_is_no_deals_and_its_name_none() -> None:
    assert Item.of(Item(LEAD, 7).number) == Item(DEAL, 10**12 + 7)
    assert Item.parse("LEAD.7") is None


@pytest.mark.parametrize("key", ["advance:{}", "brake:{}:4", "create:{}:call", "leave:7:call:{}"])
def test_a_key_that_names_a_visit_of_one_kind_names_none_of_another(lead: ItemKind, key: str) -> None:
    ours, theirs = Item(DEAL, 9031), Item(lead, 9031)
    for named in (ours, theirs):
        assert [one for one in (ours, theirs) if names_visit(key.format(named), [one.number])] == [named]


def test_a_mark_is_the_occurrence_behind_the_name_of_the_program() -> None:
    assert mark_of("9031:first-call") == "bitrix-sync:9031:first-call"
    assert occurrence_in("bitrix-sync:9031:first-call") == "9031:first-call"
    assert occurrence_in("other:9031:first-call") == ""


def test_the_readme_names_the_events_of_deals() -> None:
    assert [event for event in DEAL.events if f"`{event}`" not in README.read_text(encoding="utf-8")] == []


@pytest.mark.parametrize("kind", list(Kind))
def test_an_action_is_stored_and_read_back(kind: Kind) -> None:
    action = CLASSES[kind]()
    assert unpack(kind, pack(action)) == action
    assert unpack(kind, {}) == action, "emptied"
    assert action.kind is kind
