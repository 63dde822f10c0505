"""Heartbeat and alerts: what a watcher outside hears, and what it never hears."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bitrix_sync.engine.watchers import Trouble, Watchers
from bitrix_sync.portal.client import Command, Portal
from bitrix_sync.portal.http import send, trusted
from tests.world.process import Running, until
from tests.world.town import Town, portal_on_a_monday

DATA = Path(__file__).parent / "data"
AUTHORITY = DATA / "authority.pem"
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
FATED = "tests/world/fated.py"


class Watcher:
    """Somebody who listens: every request as (method, path, body); answers with ``status``."""

    def __init__(self, *, tls: bool = False) -> None:
        self.heard: list[tuple[str, str, str]] = []
        self.status = 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                outer.heard.append((self.command, self.path, body))
                self.send_response(outer.status)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_POST = do_GET

            def log_message(self, format: str, *args: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(DATA / "localhost.pem")
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def alerts(self) -> list[tuple[str, str, str]]:
        """The alerts as (event, reason, since)."""
        said = [json.loads(body) for method, _, body in self.heard if method == "POST"]
        assert all(set(one) == {"event", "reason", "since"} for one in said)
        return [(one["event"], one["reason"], one["since"]) for one in said]


@pytest.fixture
def watcher() -> Iterator[Watcher]:
    watcher = Watcher()
    yield watcher
    watcher.close()


class Scene:
    """A service whose trouble and time are set by hand, and those who watch it."""

    def __init__(self, watcher: Watcher) -> None:
        self.seconds = 1000.0
        self.trouble: Trouble | None = None
        self.fails = False
        self.watchers = Watchers(
            self.asked,
            lambda: self.seconds,
            lambda: NOW,
            heartbeat=f"{watcher.url}/beat",
            alert=f"{watcher.url}/alert",
        )

    def asked(self) -> Trouble | None:
        if self.fails:
            raise RuntimeError("the database says https://portal.example/rest/1/secret/")
        return self.trouble

    def look(self, seconds: float, trouble: Trouble | None) -> None:
        """So many seconds later, in this trouble."""
        self.seconds += seconds
        self.trouble = trouble
        self.watchers.look()


def test_the_heart_beats_once_a_minute_while_all_is_well(watcher: Watcher) -> None:
    scene = Scene(watcher)
    for _ in range(61):
        scene.look(2.0, None)
    assert [path for _, path, _ in watcher.heard] == ["/beat"] * 3
    for _ in range(61):
        scene.look(2.0, Trouble.PORTAL)
    assert [path for method, path, _ in watcher.heard if method == "GET"] == ["/beat"] * 3
    scene.look(2.0, None)
    assert [path for method, path, _ in watcher.heard if method == "GET"] == ["/beat"] * 4


def test_trouble_is_told_when_it_begins_and_when_it_ends_with_codes_alone(watcher: Watcher) -> None:
    scene = Scene(watcher)
    for trouble in (None, Trouble.DATABASE, Trouble.PORTAL, Trouble.DATABASE, None, None, Trouble.STALE, None):
        scene.look(2.0, trouble)
    since = NOW.isoformat()
    assert watcher.alerts() == [
        ("begin", "database", since),
        ("end", "database", since),
        ("begin", "stale", since),
        ("end", "stale", since),
    ]


def test_a_start_is_no_trouble_unless_it_takes_long(watcher: Watcher) -> None:
    scene = Scene(watcher)
    scene.look(30.0, Trouble.STARTING)
    assert watcher.alerts() == []
    scene.look(31.0, Trouble.STARTING)
    assert [reason for _, reason, _ in watcher.alerts()] == ["starting"]


def test_an_alert_that_is_not_taken_comes_again_and_none_out_of_turn(watcher: Watcher) -> None:
    scene = Scene(watcher)
    watcher.status = 503
    scene.look(2.0, Trouble.PORTAL)
    scene.look(2.0, Trouble.PORTAL)
    assert len(watcher.alerts()) == 1
    watcher.status = 204
    scene.look(2.0, None)
    assert len(watcher.alerts()) == 1
    scene.look(60.0, None)
    assert [event for event, _, _ in watcher.alerts()] == ["begin", "begin", "end"]


def test_health_that_cannot_be_told_is_trouble_and_nothing_of_it_leaks(watcher: Watcher) -> None:
    scene = Scene(watcher)
    scene.fails = True
    scene.look(2.0, None)
    assert [(event, reason) for event, reason, _ in watcher.alerts()] == [("begin", "unexpected")]


def test_no_redirect_is_followed(watcher: Watcher) -> None:
    watcher.status = 307
    assert "307" in send(f"{watcher.url}/beat", None, seconds=5.0, trust=trusted())
    assert [path for _, path, _ in watcher.heard] == ["/beat"]


def test_nobody_is_waited_for_beyond_the_time_and_no_address_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}/secret-path"
        problem = send(url, b"{}", seconds=0.2, trust=trusted())
    assert problem
    assert "secret-path" not in problem


@pytest.mark.parametrize(("ca_file", "told"), [(AUTHORITY, ""), (None, "BITRIX_CA_FILE")])
def test_a_companys_own_authority_is_believed_where_it_is_named(ca_file: Path | None, told: str) -> None:
    watcher = Watcher(tls=True)
    try:
        problem = send(f"{watcher.url}/beat", None, seconds=5.0, trust=trusted(ca_file))
        assert told in problem
        assert bool(told) == bool(problem)
        assert len(watcher.heard) == (0 if told else 1)
        portal = Portal(f"{watcher.url}/rest/1/secret/", ca_file=ca_file)
        outcome = portal.call(Command("profile"))
        portal.close()
        assert ("BITRIX_CA_FILE" in outcome.text) == bool(told)
    finally:
        watcher.close()


def test_a_service_that_ends_by_itself_says_so_with_its_last_word(tmp_path: Path, watcher: Watcher) -> None:
    with portal_on_a_monday() as sandbox:
        town = Town(tmp_path, sandbox)
        watched = {"BITRIX_ALERT_URL": f"{watcher.url}/alert", "BITRIX_HEARTBEAT_URL": f"{watcher.url}/beat"}
        environ = {**town.environ, **watched, "BITRIX_POLL_SECONDS": "0.5"}
        service = Running(tmp_path, environ).ready()
        until(lambda: any(path == "/beat" for _, path, _ in watcher.heard))
        assert service.end() == 0
        assert watcher.alerts() == []
        assert Running(tmp_path, {**environ, "FATE_DIES": "lease:SystemExit"}, script=FATED).wait() == 3
        until(lambda: [(event, reason) for event, reason, _ in watcher.alerts()] == [("begin", "ended")])
