"""The portals of a fleet: the operator's table on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from bitrix_sync.errors import StoreError
from bitrix_sync.store.portals import KEPT_RULES, PortalRow, Portals
from tests import postgres
from tests.world.blank import blank_store

on_server = pytest.mark.skipif(not postgres.server(), reason="needs a PostgreSQL server: make test-postgres")


@pytest.fixture
def address(tmp_path: Path) -> str:
    return blank_store(tmp_path / "store.db")


@pytest.fixture
def portals(address: str) -> Iterator[Portals]:
    with Portals(address) as found:
        yield found


def north(**values: object) -> PortalRow:
    given = {"name": "north", "address": "https://north.bitrix24.ru", "rules": "version: 1\n", **values}
    return PortalRow(**given)  # type: ignore[arg-type]


def south(**values: object) -> PortalRow:
    return north(**{"name": "south", "address": "https://south.bitrix24.ru", **values})


def test_a_file_of_sqlite_holds_no_portals(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="many portals need PostgreSQL"):
        Portals(f"sqlite:///{tmp_path / 'store.db'}")


@on_server
class TestPortals:
    def test_a_portal_is_found_by_its_name_and_number(self, portals: Portals) -> None:
        row = portals.add(north(webhook=b"sealed", token_marks=("a1",), settings={"BITRIX_RATE": "5/250"}), by="anna")
        portals.add(south(), by="anna")
        assert (row.name, row.version, row.rules_version, row.enabled) == ("north", 1, 1, True)
        assert portals.named("north") == portals.numbered(row.number) == row
        assert [one.name for one in portals.rows()] == ["north", "south"]
        assert portals.named("east") is None
        assert "sealed" not in repr(row)

    def test_the_first_number_is_left_to_a_service_that_serves_one_portal(self, portals: Portals) -> None:
        assert portals.add(north(), by="anna").number == 2

    def test_what_an_administrator_changes_is_seen_by_the_version(self, portals: Portals) -> None:
        one, two = portals.write([north(), south()], {}, by="anna")
        assert portals.changed_since(0) == [one, two]
        changed = portals.change(one.number, by="anna", enabled=False)
        assert portals.changed_since(two.version) == [changed]
        assert changed.due is None
        assert portals.changed_since(changed.version) == []

    def test_what_the_work_notes_is_no_change(self, portals: Portals) -> None:
        row = portals.add(north(), by="anna")
        portals.note(row.number, "the portal does not answer", None)
        portals.ring([row.number])
        portals.set_due(row.number, portals.clock())
        assert portals.changed_since(row.version) == []
        assert portals.named("north").trouble == "the portal does not answer"  # type: ignore[union-attr]

    def test_one_address_or_name_is_not_taken_twice_and_nothing_is_half_done(self, portals: Portals) -> None:
        portals.add(north(), by="anna")
        with pytest.raises(StoreError, match="is the address of portal north already"):
            portals.write([south(), north(name="east")], {}, by="anna")
        assert [one.name for one in portals.rows()] == ["north"]
        with pytest.raises(StoreError, match="none is given twice"):
            portals.add(south(name="north"), by="anna")
        two = portals.add(south(), by="anna")
        with pytest.raises(StoreError, match="is the address of portal north already"):
            portals.change(two.number, by="anna", address="https://north.bitrix24.ru")

    def test_a_removed_portal_leaves_its_name_alone(self, portals: Portals) -> None:
        row = portals.add(north(webhook=b"sealed"), by="anna")
        portals.remove(row.number)
        assert portals.rows() == []
        gone = portals.changed_since(row.version)[0]
        assert (gone.name, gone.removed, gone.webhook, gone.rules, gone.address) == ("north", True, b"", "", "")
        assert portals.history(row.number) == []
        with pytest.raises(StoreError, match="none is given twice"):
            portals.add(north(), by="anna")
        portals.add(north(name="north-2"), by="anna")  # its address is free

    def test_who_waits_longest_is_due_first(self, portals: Portals) -> None:
        one, two = portals.write([north(), south()], {}, by="anna")
        later = portals.clock() + timedelta(minutes=1)
        assert portals.due(later, 10) == [one.number, two.number]
        portals.set_due(one.number, later)
        assert portals.due(later, 10) == [two.number, one.number]
        assert portals.due(later, 1) == [two.number]
        assert portals.due(later - timedelta(minutes=1), 10) == [two.number]
        portals.change(two.number, by="anna", enabled=False)
        assert portals.due(later, 10) == [one.number]

    def test_a_ring_makes_due_at_once_and_is_not_lost_in_a_turn(self, portals: Portals) -> None:
        one, two = portals.write([north(), south()], {}, by="anna")
        later = portals.clock() + timedelta(hours=1)
        for row in (one, two):
            portals.set_due(row.number, later)
        portals.ring([one.number])
        assert portals.due(portals.clock(), 10) == [one.number]
        rung = portals.numbered(one.number).rung  # type: ignore[union-attr]
        portals.ring([one.number])  # while its turn goes on
        portals.set_due(one.number, later, rung=rung)
        assert portals.due(portals.clock(), 10) == [one.number]
        portals.set_due(one.number, later, rung=portals.numbered(one.number).rung)  # type: ignore[union-attr]
        assert portals.due(portals.clock(), 10) == []

    def test_rules_keep_their_last_versions_and_go_back(self, portals: Portals) -> None:
        number = portals.add(north(rules="1"), by="anna").number
        for text in ("2", "2", "3"):
            portals.change(number, by="boris", rules=text)
        assert [(one.version, one.text, one.by) for one in portals.history(number)] == [
            (3, "3", "boris"),
            (2, "2", "boris"),
            (1, "1", "anna"),
        ]
        before = portals.numbered(number)
        portals.take_rules(number, 2)
        back = portals.numbered(number)
        assert before
        assert back
        assert (back.rules, back.rules_version) == ("2", 2)
        assert back.version > before.version
        assert portals.change(number, by="anna", rules="4").rules_version == 4
        for text in range(5, 40):
            portals.change(number, by="anna", rules=str(text))
        assert [one.version for one in portals.history(number)] == list(range(39, 39 - KEPT_RULES, -1))
