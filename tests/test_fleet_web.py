"""The web side of many portals: the door for their events, a page for each, the operator's page."""

from __future__ import annotations

import base64
import io
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from werkzeug.test import Client

from bitrix_sync.fleet.door import AT_ONCE, Allowances, FleetDoor, KnownPortals, Rings
from bitrix_sync.fleet.portal_settings import sealed_tokens
from bitrix_sync.fleet.seal import Seals, password_kept
from bitrix_sync.fleet.web import FleetWeb
from bitrix_sync.settings import Settings
from bitrix_sync.store import Store
from bitrix_sync.store.portals import PortalRow, Portals
from bitrix_sync.store.schema import OPERATOR
from tests import postgres
from tests.world.blank import blank_store

on_server = pytest.mark.skipif(not postgres.server(), reason="needs a PostgreSQL server: make test-postgres")
SEALS = Seals([base64.urlsafe_b64encode(b"k" * 32).decode()])
PASSWORD, OPERATORS = "the password of north", "the operator's password"
AT = "/webhooks/bitrix24"


def row(name: str, number: int, *tokens: str, **more: object) -> PortalRow:
    given = {
        "address": f"https://{name}.bitrix24.ru",
        "webhook_user": 7,
        "webhook": SEALS.seal(f"https://{name}.bitrix24.ru/rest/7/hunter2{name}/"),
        "tokens": sealed_tokens(list(tokens), SEALS),
        "token_marks": tuple(map(SEALS.mark, tokens)),
        "rules": "version: 1\nlanguage: en\n",
        "version": number,
        **more,
    }
    return PortalRow(name=name, number=number, **given)  # type: ignore[arg-type]


class HeardRings(Rings):
    """Rings that are looked at."""

    @property
    def rung(self) -> set[int]:
        return self._rung


def post(door: FleetDoor, path: str, token: str, **more: object) -> int:
    """The status of the answer to an event."""
    body = urlencode(
        {"event": "ONCRMDEALUPDATE", "data[FIELDS][ID]": "7", "auth[application_token]": token, "auth[domain]": "x"}
    )
    sent = {"data": body, "content_type": "application/x-www-form-urlencoded", **more}
    return int(Client(door).post(path, **sent).status_code)


@pytest.fixture
def rings() -> HeardRings:
    return HeardRings()


@pytest.fixture
def door(rings: HeardRings) -> FleetDoor:
    known = KnownPortals()
    known.take([row("north", 2, "tn"), row("south", 3, "ts", "both"), row("east", 4), row("west", 5, "both")])
    return FleetDoor(known, SEALS, rings)


# --- the door --------------------------------------------------------------------------------------------------------


def test_the_path_names_the_portal_and_the_token_proves_it(door: FleetDoor, rings: HeardRings) -> None:
    assert post(door, f"{AT}/north", "tn") == 200
    assert rings.rung == {2}
    assert post(door, f"{AT}/south/", "ts") == 200
    assert rings.rung == {2, 3}


def test_a_token_of_one_portal_under_the_path_of_another_is_refused(door: FleetDoor, rings: HeardRings) -> None:
    assert post(door, f"{AT}/north", "ts") == 403
    assert post(door, f"{AT}/north", "") == 403
    assert rings.rung == set()


def test_at_the_bare_address_the_token_alone_names_the_portal(door: FleetDoor, rings: HeardRings) -> None:
    assert post(door, AT, "tn") == 200
    assert rings.rung == {2}
    assert post(door, AT, "both") == 200  # two portals with one token: both are read
    assert rings.rung == {2, 3, 5}
    assert post(door, AT, "nobody's") == 403


class Untouched(io.BytesIO):
    """A body that must not be read."""

    def read(self, *_: object) -> bytes:
        raise AssertionError("the body was read")


@pytest.mark.parametrize("name", ["nowhere", "east", "north/x", "%00", "../north"])
def test_an_unknown_name_is_not_found_and_its_body_is_not_read(door: FleetDoor, name: str) -> None:
    assert post(door, f"{AT}/{name}", "tn", data=None, input_stream=Untouched()) == 404


def test_without_any_token_there_is_no_door() -> None:
    known = KnownPortals()
    known.take([row("east", 4)])
    assert post(FleetDoor(known, SEALS, Rings()), AT, "tn") == 404


def test_what_is_no_event_is_told_as_at_the_door_of_one_portal(door: FleetDoor) -> None:
    assert Client(door).get(f"{AT}/north").status_code == 405
    assert post(door, f"{AT}/north", "tn", data="x" * 70000) == 413
    assert post(door, f"{AT}/north", "tn", data="event=x") == 400


def test_a_flood_of_one_portal_leaves_the_others_alone() -> None:
    now = [0.0]
    allowed = Allowances(lambda: now[0])
    assert sum(allowed.take(2) for _ in range(2 * int(AT_ONCE))) == AT_ONCE
    assert allowed.take(3)
    assert not allowed.take(2)
    now[0] += 1.0
    assert allowed.take(2)


def test_what_is_too_much_is_not_read(rings: HeardRings) -> None:
    known = KnownPortals()
    known.take([row("north", 2, "tn"), row("south", 3, "ts")])
    door = FleetDoor(known, SEALS, rings, Allowances(lambda: 0.0))
    for _ in range(int(AT_ONCE)):
        post(door, f"{AT}/north", "wrong")
    assert post(door, f"{AT}/north", "tn", data=None, input_stream=Untouched()) == 429
    assert post(door, f"{AT}/south", "ts") == 200


def test_a_disabled_portal_is_answered_and_not_rung(rings: HeardRings) -> None:
    known = KnownPortals()
    known.take([row("north", 2, "tn", enabled=False)])
    assert post(FleetDoor(known, SEALS, rings), f"{AT}/north", "tn") == 200
    assert rings.rung == set()


def test_a_changed_portal_is_known_anew_and_a_removed_one_no_more() -> None:
    known = KnownPortals()
    known.take([row("north", 2, "tn"), row("south", 3, "ts")])
    known.take([row("north", 2, "new", version=9), row("south", 3, removed=True, version=8)])
    assert (known.version, list(known.names)) == (9, ["north"])
    assert list(known.marks) == [SEALS.mark("new")]


def test_a_token_is_known_by_an_older_key_too() -> None:
    new, old = (base64.urlsafe_b64encode(letter * 32).decode() for letter in (b"n", b"k"))
    known = KnownPortals()
    known.take([row("north", 2, "tn")])
    door = FleetDoor(known, Seals([new, old]), Rings())
    assert post(door, f"{AT}/north", "tn") == 200
    assert post(door, AT, "tn") == 200


# --- pages -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def address(tmp_path: Path) -> str:
    return blank_store(tmp_path / "store.db")


@pytest.fixture
def web(address: str) -> Iterator[FleetWeb]:
    base = Settings(DATABASE_URL=address, BITRIX_FLEET_PASSWORD=SecretStr(OPERATORS))
    with Portals(address) as portals, Store(address, portal=OPERATOR) as store:
        portals.write(
            [row("north", 0, "tn", page_password=password_kept(PASSWORD)), row("south", 0, "ts")], {}, by="anna"
        )
        made = FleetWeb(base, portals, SEALS, store=store, language="en")
        made.look()
        yield made
        made.close()


def log_in(client: Client, place: str, password: str) -> int:
    form = client.get(f"{place}/login")
    token = re.search(r'name="token" value="([^"]+)"', form.text)
    assert token, form.text
    return int(client.post(f"{place}/login", data={"token": token[1], "password": password}).status_code)


def had_a_turn(web: FleetWeb, number: int, *, trouble: str = "", ago: float = 0.0) -> None:
    """A worker had a turn at a portal, so many seconds ago."""
    portals = web.fleet.portals
    turn = portals.take(number, "a worker", "here", 1)
    portals.end_turn(turn, after=3600.0, trouble=trouble, level=0.0, passed=None if trouble else portals.clock())
    with portals._database.unqueued() as connection:
        connection.execute(
            text("UPDATE portals SET seen_ok = seen_ok - :ago WHERE number = :number"),
            {"ago": int(ago * 1e6), "number": number},
        )


@on_server
class TestPages:
    def test_a_portals_password_opens_its_page_and_no_other(self, web: FleetWeb) -> None:
        client = Client(web)
        assert client.get("/p/north/").headers["Location"] == "/p/north/login"
        assert log_in(client, "/p/north", "wrong") == 403
        assert log_in(client, "/p/north", PASSWORD) == 303
        assert client.get("/p/north/").status_code == 200
        assert client.get("/p/north").status_code == 200
        with client.get("/p/north/static/page.css") as sheet:
            assert sheet.status_code == 200
        assert client.get("/p/south/").status_code == 403
        assert client.get("/fleet/").headers["Location"] == "/fleet/login"

    def test_a_new_password_ends_the_sessions_of_the_old_one(self, web: FleetWeb) -> None:
        client = Client(web)
        log_in(client, "/p/north", PASSWORD)
        web.fleet.portals.change(2, by="anna", page_password=password_kept("another"))
        web.look()
        assert client.get("/p/north/").status_code == 303
        assert log_in(client, "/p/north", PASSWORD) == 403
        assert log_in(client, "/p/north", "another") == 303

    def test_what_nobody_is_called_is_not_found(self, web: FleetWeb) -> None:
        client = Client(web)
        paths = ("/", "/p", "/p/", "/p/nowhere/", "/overdue", "/x")
        assert [client.get(path).status_code for path in paths] == [404] * len(paths)

    def test_the_operator_sees_all_portals(self, web: FleetWeb) -> None:
        client = Client(web)
        assert log_in(client, "/fleet", PASSWORD) == 403
        assert log_in(client, "/fleet", OPERATORS) == 303
        had_a_turn(web, 3, trouble="the webhook is refused")
        shown = client.get("/fleet/").text
        assert shown.index("/p/south/") < shown.index("/p/north/"), "trouble comes first"
        assert "the webhook is refused" in shown
        assert "hunter2" not in shown

    def test_without_its_password_there_is_no_operators_page(self, web: FleetWeb, address: str) -> None:
        bare = FleetWeb(Settings(DATABASE_URL=address), web.fleet.portals, SEALS, store=web.fleet.store, language="en")
        assert Client(bare).get("/fleet/").status_code == 404

    def test_ready_once_every_portal_that_is_served_had_a_pass_in_its_time(self, web: FleetWeb) -> None:
        client, portals = Client(web), web.fleet.portals
        assert client.get("/healthz").status_code == 200
        late = client.get("/readyz")
        assert (late.status_code, json.loads(late.text)["reason"]) == (503, "no pass in its time: north, south")
        had_a_turn(web, 2)
        had_a_turn(web, 3, ago=140)
        assert client.get("/readyz").status_code == 200
        had_a_turn(web, 3, ago=151)
        assert client.get("/readyz").status_code == 503
        portals.change(3, by="anna", settings={"BITRIX_POLL_SECONDS": "120"})
        assert client.get("/readyz").status_code == 200
        portals.change(3, by="anna", settings={}, enabled=False)
        assert client.get("/readyz").status_code == 200

    def test_figures_are_sums_and_a_portals_own_stand_below_its_name(self, web: FleetWeb) -> None:
        client = Client(web)
        post(web.door, f"{AT}/north", "tn")
        sums = client.get("/metrics").text
        assert 'bitrix_sync_portals{state="served"} 2.0' in sums
        assert 'bitrix_sync_portals{state="late"} 2.0' in sums
        assert 'bitrix_sync_events_total{status="200"} 1.0' in sums
        assert "north" not in sums
        own = client.get("/p/north/metrics")
        assert 'bitrix_sync_operations{state="planned"} 0.0' in own.text
        assert 'bitrix_sync_events_total{status="200"} 1.0' in own.text
        assert client.get("/p/north/metrics", headers={"X-Forwarded-For": "1.2.3.4"}).status_code == 404

    def test_rings_make_portals_due_in_one_statement(self, web: FleetWeb) -> None:
        portals = web.fleet.portals
        for number in (2, 3):
            had_a_turn(web, number)
        for _ in range(5):
            post(web.door, f"{AT}/north", "tn")
        web.rings.tell(portals)
        assert portals.claim_due(10) == [2]

    def test_the_door_answers_while_the_database_is_away(self, web: FleetWeb, address: str) -> None:
        name, portals, stopping = address.partition("@/")[2].partition("?")[0], web.fleet.portals, threading.Event()
        thread = threading.Thread(target=web.tend, args=(stopping,))
        with postgres.connect() as server:
            server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
            thread.start()
            client = Client(web)
            assert post(web.door, f"{AT}/north", "tn") == 200
            while not web.fleet.away:
                assert thread.is_alive()
            assert client.get("/p/north/").status_code == 503
            assert client.get("/readyz").status_code == 503
            assert client.get("/healthz").status_code == 200
            assert post(web.door, f"{AT}/north", "ts") == 403
            server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        while web.fleet.away:
            assert thread.is_alive()
        stopping.set()
        thread.join()
        found = portals.numbered(2)
        assert found
        assert found.rung is not None, "nothing that came meanwhile is lost"
