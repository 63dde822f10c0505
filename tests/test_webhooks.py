"""The web side: what an event looks like, what its address answers to all else, health, metrics, the server's end."""

from __future__ import annotations

import http.client
import io
import json
import os
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

import pytest
import requests
from flask import Blueprint, Flask
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from bitrix_sync import __version__
from bitrix_sync.errors import SettingError
from bitrix_sync.settings import Listen, Settings, load_settings
from tests.world.process import until
from webhooks import server as server_module
from webhooks.event_endpoint import ADDRESS, MAX_BODY, REMEMBERED, Deliveries
from webhooks.events import FORM, MAX_FIELDS, Event, NotAnEvent, genuine, parse
from webhooks.server import WebServer, create_app

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

BODIES = int(os.environ.get("EVENT_BODIES", "3000"))
"""How many mutated deliveries the address is shown; the long run takes 100,000."""

TOKEN = "jvh9y1ulvt2m6k5or90v9mg8nn32ozas"
OLD_TOKEN = "an-0ld.token_of/the+same=portal"
AUTH = {
    "auth[domain]": "some-domain.bitrix24.com",
    "auth[client_endpoint]": "https://some-domain.bitrix24.com/rest/",
    "auth[server_endpoint]": "https://oauth.bitrix.info/rest/",
    "auth[member_id]": "d897063e1ce7c5eb9f04b9751eef5915",
    "auth[application_token]": TOKEN,
}
DEAL_UPDATE = {
    "event": "ONCRMDEALUPDATE",
    "event_handler_id": "975",
    "data[FIELDS][ID]": "7405",
    "ts": "1766047124",
    **AUTH,
}
GENUINE = urlencode(DEAL_UPDATE).encode()


@dataclass(frozen=True)
class State:
    ready: bool
    reason: str


@dataclass
class WakeSignal:
    """A service that only hears the bell, and says of itself what the test wants."""

    settings: Settings
    state: Callable[[], State] = lambda: State(True, "ok")
    figures: Callable[[], Mapping[str, float]] = dict
    heard: list[str] = field(default_factory=list)
    met: list[tuple[str, str]] = field(default_factory=list)
    started: datetime = datetime(2026, 3, 12, 9, tzinfo=UTC)

    def wake(self, reason: str) -> None:
        self.heard.append(reason)

    def meet(self, domain: str, member: str) -> None:
        self.met.append((domain, member))

    def alive(self) -> State:
        return State(True, "ok")

    def health(self) -> State:
        return self.state()

    def numbers(self) -> Mapping[str, float]:
        return self.figures()


def settings(token: str = f"{TOKEN}, {OLD_TOKEN}") -> Settings:
    return load_settings({"BITRIX_APPLICATION_TOKEN": token}, None, need_portal=False)


@pytest.fixture
def wake_signal() -> WakeSignal:
    return WakeSignal(settings())


@pytest.fixture
def app(wake_signal: WakeSignal) -> Flask:
    return create_app(wake_signal)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def send(client: FlaskClient, body: bytes, content_type: str | None = FORM, **more: Any) -> int:
    return client.post(ADDRESS, data=body, content_type=content_type, **more).status_code


# --- an event, from its bytes ---------------------------------------------------------------------------------------


def event(name: str, object_id: int | None, **more: Any) -> Event:
    usual = {
        "token": TOKEN,
        "domain": "some-domain.bitrix24.com",
        "member_id": "d897063e1ce7c5eb9f04b9751eef5915",
        "ts": 1466439714,
    }
    return Event(name=name, object_id=object_id, **{**usual, **more})


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"event": "ONCRMDEALADD", "data[FIELDS][ID]": "7405"}, event("ONCRMDEALADD", 7405)),
        ({"event": "ONCRMDEALDELETE", "data[FIELDS][ID]": "7405"}, event("ONCRMDEALDELETE", 7405)),
        (
            {
                "event": "ONCRMDEALMOVETOCATEGORY",
                "data[FIELDS][ID]": "7405",
                "data[FIELDS][CATEGORY_ID]": "1",
                "data[FIELDS][STAGE_ID]": "C1:NEW",
            },
            event("ONCRMDEALMOVETOCATEGORY", 7405),
        ),
        (
            {
                "event": "ONTASKADD",
                "data[FIELDS_BEFORE]": "undefined",
                "data[FIELDS_AFTER][ID]": "123",
                "data[IS_ACCESSIBLE_BEFORE]": "N",
                "data[IS_ACCESSIBLE_AFTER]": "undefined",
            },
            event("ONTASKADD", 123),
        ),
        (
            {
                "event": "ONTASKUPDATE",
                "event_handler_id": "977",
                "data[FIELDS_BEFORE][ID]": "123",
                "data[FIELDS_AFTER][ID]": "123",
                "data[IS_ACCESSIBLE_BEFORE]": "undefined",
                "data[IS_ACCESSIBLE_AFTER]": "undefined",
            },
            event("ONTASKUPDATE", 123),
        ),
        (
            {"event": "ONTASKDELETE", "data[FIELDS_BEFORE][ID]": "123", "data[FIELDS_AFTER]": "undefined"},
            event("ONTASKDELETE", 123),
        ),
        (
            {
                "event": "ONTASKCOMMENTADD",
                "data[FIELDS_BEFORE]": "undefined",
                "data[FIELDS_AFTER][ID]": "0",
                "data[FIELDS_AFTER][TASK_ID]": "123",
                "data[FIELDS_AFTER][MESSAGE_ID]": "77",
            },
            event("ONTASKCOMMENTADD", 123),
        ),
        ({"event": "ONAPPTEST", "data[QUERY][any]": "привет"}, event("ONAPPTEST", None)),
        ({"event": "onCrmDealUpdate", "data[FIELDS][ID]": "7"}, event("ONCRMDEALUPDATE", 7)),
        (
            {
                "event": "ONCRMDEALUPDATE",
                "data[FIELDS][ID]": "7",
                "auth[access_token]": "s6p6eclrvim6da22ft9ch94ekreb52lv",
                "auth[expires_in]": "3600",
                "auth[scope]": "crm",
                "auth[status]": "L",
            },
            event("ONCRMDEALUPDATE", 7),
        ),
    ],
    ids=lambda value: value.get("event") if isinstance(value, dict) else "",
)
def test_an_event_of_the_documentation(data: dict[str, str], expected: Event) -> None:
    assert parse(urlencode({**data, "ts": "1466439714", **AUTH}).encode(), FORM) == expected


def test_of_an_old_portal_only_three_fields_may_come() -> None:
    body = f"event=ONCRMDEALUPDATE&data[FIELDS][ID]=7&auth[application_token]={TOKEN}".encode()
    assert parse(body, FORM) == Event("ONCRMDEALUPDATE", TOKEN, 7, "", "", None)


@pytest.mark.parametrize(
    "body",
    [
        GENUINE,
        GENUINE.replace(b"%5B", b"[").replace(b"%5D", b"]"),
        GENUINE.replace(b"%5B", b"%5b").replace(b"%5D", b"%5d"),
        GENUINE.replace(b"event=", b"%65vent="),
        b"&" + GENUINE + b"&",
        b"auth[application_token]=other&event=ONOTHER&" + GENUINE,
        urlencode(dict(reversed(DEAL_UPDATE.items()))).encode(),
    ],
    ids=["as sent", "raw brackets", "small escapes", "escaped letter", "empty pairs", "the last counts", "backwards"],
)
@pytest.mark.parametrize("content_type", [FORM, f"{FORM}; charset=UTF-8", FORM.upper()])
def test_one_event_in_many_spellings(body: bytes, content_type: str) -> None:
    assert parse(body, content_type) == event("ONCRMDEALUPDATE", 7405, ts=1766047124)


@pytest.mark.parametrize("odd", ["", "undefined", "-5", "5.0", "٣", "9" * 19, "0x10"])
def test_an_odd_number_is_no_number_and_no_error(odd: str) -> None:
    parsed = parse(urlencode({**DEAL_UPDATE, "data[FIELDS][ID]": odd, "ts": odd}).encode(), FORM)
    assert (parsed.object_id, parsed.ts) == (None, None)


def without(*names: str) -> bytes:
    return urlencode({key: value for key, value in DEAL_UPDATE.items() if key not in names}).encode()


NOT_EVENTS = {
    "empty": b"",
    "no event": without("event"),
    "no data": without("data[FIELDS][ID]"),
    "no token": without("auth[application_token]"),
    "an array of events": GENUINE.replace(b"event=", b"event[]=", 1),
    "an empty name": GENUINE.replace(b"ONCRMDEALUPDATE", b""),
    "a name with spaces": GENUINE.replace(b"ONCRMDEALUPDATE", b"ON+CRM"),
    "a name with markup": GENUINE.replace(b"ONCRMDEALUPDATE", b"%3Cscript%3E"),
    "a name with a line end": GENUINE.replace(b"ONCRMDEALUPDATE", b"ONCRM%0A"),
    "a long name": GENUINE.replace(b"ONCRMDEALUPDATE", b"A" * 101),
    "a broken escape": GENUINE + b"&x=%zz",
    "an escape cut off": GENUINE + b"&x=%4",
    "Latin 1": GENUINE + b"&x=%E9t%E9",
    "raw Latin 1": GENUINE + b"&x=\xe9t\xe9",
    "half a surrogate": GENUINE + b"&x=%ED%A0%80",
    "UTF-16": GENUINE.decode().encode("utf-16"),
    "too many fields": GENUINE + b"&x=1" * MAX_FIELDS,
    "JSON": json.dumps(DEAL_UPDATE).encode(),
    "JSON, nested": json.dumps({"event": "X", "data": {}, "auth": {"application_token": TOKEN}}).encode(),
    "XML": b"<event>ONCRMDEALUPDATE</event>",
}


@pytest.mark.parametrize("case", list(NOT_EVENTS))
def test_what_is_no_event(case: str) -> None:
    with pytest.raises(NotAnEvent) as caught:
        parse(NOT_EVENTS[case], FORM)
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(
    "content_type", [None, "", "application/json", "multipart/form-data; boundary=x", "text/plain", f"x-{FORM}"]
)
def test_only_a_form_is_an_event(content_type: str | None) -> None:
    with pytest.raises(NotAnEvent, match="the content type is not"):
        parse(GENUINE, content_type)


@pytest.mark.parametrize(
    ("offered", "is_genuine"),
    [
        (TOKEN, True),
        (OLD_TOKEN, True),
        (TOKEN.upper(), False),
        (TOKEN[:-1], False),
        (TOKEN + "s", False),
        (f"{TOKEN},{OLD_TOKEN}", False),
        ("", False),
        ("токен", False),
        ("\0", False),
    ],
)
def test_a_genuine_event_carries_one_of_our_tokens(offered: str, is_genuine: bool) -> None:
    tokens = [TOKEN.encode(), OLD_TOKEN.encode()]
    parsed = parse(urlencode({**DEAL_UPDATE, "auth[application_token]": offered}).encode(), FORM)
    assert genuine(parsed, tokens) is is_genuine
    assert not genuine(parsed, [])


def test_an_event_does_not_show_its_token() -> None:
    assert TOKEN not in repr(parse(GENUINE, FORM))


# --- its address ----------------------------------------------------------------------------------------------------


def test_a_genuine_event_wakes_with_its_name(client: FlaskClient, wake_signal: WakeSignal) -> None:
    assert send(client, GENUINE) == 200
    assert send(client, urlencode({**DEAL_UPDATE, "auth[application_token]": OLD_TOKEN}).encode()) == 200
    assert wake_signal.heard == ["ONCRMDEALUPDATE", "ONCRMDEALUPDATE"]


@pytest.mark.parametrize("case", list(NOT_EVENTS))
def test_what_is_no_event_is_a_bad_request(case: str, client: FlaskClient, wake_signal: WakeSignal) -> None:
    assert send(client, NOT_EVENTS[case]) == 400
    assert wake_signal.heard == []


def test_json_is_a_bad_request(client: FlaskClient, wake_signal: WakeSignal) -> None:
    assert client.post(ADDRESS, json=DEAL_UPDATE).status_code == 400
    assert wake_signal.heard == []


def test_a_foreign_token_is_forbidden(client: FlaskClient, wake_signal: WakeSignal) -> None:
    assert send(client, GENUINE.replace(TOKEN.encode(), b"guessed")) == 403
    assert wake_signal.heard == []


def test_without_a_token_set_the_address_does_not_exist() -> None:
    wake_signal = WakeSignal(settings(""))
    client = create_app(wake_signal).test_client()
    assert send(client, GENUINE) == 404
    assert send(client, GENUINE.replace(TOKEN.encode(), b"")) == 404
    assert client.get(ADDRESS).status_code == 404
    assert wake_signal.heard == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_events_come_by_post_only(method: str, client: FlaskClient, wake_signal: WakeSignal) -> None:
    answer = client.open(f"{ADDRESS}?{GENUINE.decode()}", method=method, data=GENUINE, content_type=FORM)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert wake_signal.heard == []


def filled(size: int) -> bytes:
    return GENUINE + b"&x=" + b"x" * (size - len(GENUINE) - 3)


def test_the_limit_is_64_kib(client: FlaskClient, wake_signal: WakeSignal) -> None:
    assert MAX_BODY == 65_536
    assert send(client, filled(MAX_BODY)) == 200
    assert send(client, filled(MAX_BODY + 1)) == 413
    assert len(wake_signal.heard) == 1


class Endless(io.RawIOBase):
    """A body that never ends, and counts what was taken of it."""

    taken = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self.taken += len(buffer)
        buffer[:] = b"x" * len(buffer)
        return len(buffer)


@pytest.mark.parametrize("length", [None, "1000000000", "9" * 5000])
def test_what_is_too_long_is_not_read_to_its_end(length: str | None, client: FlaskClient) -> None:
    body = Endless()
    environ: dict[str, Any] = {"wsgi.input": body, "wsgi.input_terminated": True, "CONTENT_TYPE": FORM}
    if length:
        environ["CONTENT_LENGTH"] = length
    assert client.post(ADDRESS, environ_overrides=environ).status_code == 413
    assert body.taken <= MAX_BODY + 1


@pytest.mark.parametrize("length", ["-1", "1e3", "٣", "x", "+5", " 7"])
def test_a_nonsensical_length_is_a_bad_request(length: str, client: FlaskClient) -> None:
    environ = {"wsgi.input": io.BytesIO(GENUINE), "CONTENT_TYPE": FORM, "CONTENT_LENGTH": length}
    assert client.post(ADDRESS, environ_overrides=environ).status_code == 400


def test_a_body_that_is_cut_off_is_a_bad_request(client: FlaskClient, wake_signal: WakeSignal) -> None:
    environ = {"wsgi.input": io.BytesIO(GENUINE), "CONTENT_TYPE": FORM, "CONTENT_LENGTH": str(len(GENUINE) + 1)}
    assert client.post(ADDRESS, environ_overrides=environ).status_code == 400
    assert wake_signal.heard == []


def test_a_body_without_a_length_is_read_where_the_server_ends_it(client: FlaskClient, wake_signal: WakeSignal) -> None:
    environ = {"wsgi.input": io.BytesIO(GENUINE), "CONTENT_TYPE": FORM, "CONTENT_LENGTH": ""}
    assert client.post(ADDRESS, environ_overrides={**environ, "wsgi.input_terminated": True}).status_code == 200
    assert client.post(ADDRESS, environ_overrides={**environ, "wsgi.input_terminated": False}).status_code == 400
    assert len(wake_signal.heard) == 1


def test_a_genuine_event_says_which_portal_it_comes_from(client: FlaskClient, wake_signal: WakeSignal) -> None:
    assert send(client, GENUINE) == 200
    assert wake_signal.met == [("some-domain.bitrix24.com", "d897063e1ce7c5eb9f04b9751eef5915")]


def test_an_event_is_accepted_even_if_the_service_cannot_be_woken() -> None:
    class Broken(WakeSignal):
        def wake(self, reason: str) -> None:
            raise OSError("no bell")

    assert send(create_app(Broken(settings())).test_client(), GENUINE) == 200


def bombard(client: FlaskClient, wake_signal: WakeSignal, *, count: int, seed: int) -> dict[int, int]:
    """Show the address ``count`` deliveries mutated from genuine ones; how often it answered what.

    AssertionError if anything but 200, 400, 403, 413 is answered, if anything but a 200 wakes, or if a body that does
    not hold one of our tokens gets a 200.
    """
    chance = random.Random(seed)
    seen: dict[int, int] = {}
    for number in range(count):
        body, content_type = _mutated(chance)
        before = len(wake_signal.heard)
        status = send(client, body, content_type)
        seen[status] = seen.get(status, 0) + 1
        woken = len(wake_signal.heard) - before
        where = f"seed {seed}, body {number}: {body[:2000]!r} {content_type!r} got {status}"
        assert status in (200, 400, 403, 413), where
        assert woken == (status == 200), where
        if status == 200:
            fields = dict(parse_qsl(body.decode(), keep_blank_values=True))
            assert fields["auth[application_token]"] in (TOKEN, OLD_TOKEN), where
            assert fields["event"], where
    return seen


def _mutated(chance: random.Random) -> tuple[bytes, str]:
    fields = list({**DEAL_UPDATE, "auth[application_token]": chance.choice([TOKEN, OLD_TOKEN, "foreign"])}.items())
    for _ in range(chance.choice([0, 0, 0, 1, 2, 5])):
        at = chance.randrange(len(fields))
        match chance.randrange(6):
            case 0:
                del fields[at]
                fields = fields or [("event", "X")]
            case 1:
                fields.insert(at, fields[chance.randrange(len(fields))])
            case 2:
                fields[at] = (fields[at][0], chance.choice(["", "undefined", "тест", "\0", "]", "9" * 40, TOKEN[:-1]]))
            case 3:
                fields[at] = (chance.choice(["event", "data", "auth", "auth[]", "data[][]", "]["]), fields[at][1])
            case 4:
                chance.shuffle(fields)
            case _:
                fields += [(f"x{n}", "y") for n in range(chance.choice([1, 500, 2000]))]
    body = bytearray(urlencode(fields, safe=chance.choice(["", "[]"])).encode())
    for _ in range(chance.choice([0, 0, 0, 1, 3, 30])):
        at = chance.randrange(len(body)) if body else 0
        match chance.randrange(5):
            case 0:
                body[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del body[at : at + chance.randrange(50)]
            case 2:
                body[at:at] = bytes(chance.randrange(256) for _ in range(chance.randrange(20)))
            case 3:
                body[at:at] = chance.choice(
                    [b"%", b"%00", b"%ff", b"%C3%A9", b"&", b"=", b"&&", b"[", b"%5B", b"+", b"\r\n"]
                )
            case _:
                body += (bytes(body[at:]) * chance.choice([1, 1, 1, 200]))[:70_000]
    content_type = (
        FORM if chance.random() < 0.9 else chance.choice(["", "text/plain", "application/json", f"{FORM};=", "я"])
    )
    return bytes(body), content_type


def test_no_delivery_however_mutated_is_an_error_or_wakes_without_a_token(
    client: FlaskClient, wake_signal: WakeSignal
) -> None:
    seen = bombard(client, wake_signal, count=BODIES, seed=20260312)
    assert set(seen) == {200, 400, 403, 413}
    assert min(seen.values()) > BODIES / 200


@given(st.binary(max_size=300), st.one_of(st.just(FORM), st.text(st.characters(codec="latin-1"), max_size=40)))
def test_no_bytes_whatever_are_an_error(body: bytes, content_type: str) -> None:
    try:
        parsed = parse(body, content_type)
    except NotAnEvent:
        return
    assert not genuine(parsed, [TOKEN.encode()])


@given(
    st.text(st.characters(codec="utf-8"), max_size=40),
    st.text("ABCabc019_.:", min_size=1, max_size=100),
    st.integers(0, 10**18 - 1),
    st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=9).map(lambda key: f"x{key}"), st.text(max_size=9)),
)
def test_what_is_sent_is_what_is_read(token: str, name: str, deal: int, more: dict[str, str]) -> None:
    more = {key: value for key, value in more.items() if value.isprintable()}
    body = urlencode({**more, "event": name, "data[FIELDS][ID]": deal, "auth[application_token]": token})
    assert parse(body.encode(), FORM) == Event(name.upper(), token, deal, "", "", None)


# --- what is remembered of deliveries -------------------------------------------------------------------------------


def deliveries(app: Flask) -> Deliveries:
    kept: Deliveries = app.extensions["deliveries"]
    return kept


def test_recent_deliveries_are_kept_for_diagnosis_without_secrets(app: Flask, client: FlaskClient) -> None:
    send(client, GENUINE)
    send(client, GENUINE.replace(TOKEN.encode(), b"guessed"))
    send(client, b"x")
    client.get(ADDRESS)
    recent = deliveries(app).recent()
    assert [(one.status, one.reason, one.name, one.object_id) for one in recent] == [
        (405, "the method is not POST", "", None),
        (400, "event, data or auth[application_token] is missing", "", None),
        (403, "the token is none of ours", "ONCRMDEALUPDATE", 7405),
        (200, "", "ONCRMDEALUPDATE", 7405),
    ]
    assert recent[-1].domain == "some-domain.bitrix24.com"
    assert not re.search(f"{TOKEN}|guessed", repr(recent))


def test_a_flood_of_refused_deliveries_does_not_push_out_the_accepted(app: Flask, client: FlaskClient) -> None:
    send(client, GENUINE)
    for _ in range(REMEMBERED + 50):
        send(client, b"x")
    recent = deliveries(app).recent()
    assert len(recent) == REMEMBERED + 1
    assert recent[-1].status == 200
    assert deliveries(app).counts() == {200: 1, 400: REMEMBERED + 50}


def test_a_foreign_token_is_told_once_for_a_while_and_never_shown(
    client: FlaskClient, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(5):
        send(client, GENUINE.replace(TOKEN.encode(), b"guessed"))
    out = capsys.readouterr().out
    assert out.count("compare BITRIX_APPLICATION_TOKEN") == 1
    assert "guessed" not in out


# --- health, metrics, the rest --------------------------------------------------------------------------------------


def test_the_process_lives(client: FlaskClient) -> None:
    answer = client.get("/healthz")
    assert (answer.status_code, answer.text) == (200, "ok\n")


def test_ready_and_not_ready_with_the_reason(client: FlaskClient, wake_signal: WakeSignal) -> None:
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json) == (200, {"ready": True, "reason": "ok"})
    wake_signal.state = lambda: State(False, "the last pass is 200 s old: https://p/rest/1/s3cr3t/ does not answer")
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json == {
        "ready": False,
        "reason": "the last pass is 200 s old: https://p/rest/1/***/ does not answer",
    }


def test_a_service_that_cannot_tell_its_health_is_not_ready(client: FlaskClient, wake_signal: WakeSignal) -> None:
    def locked() -> State:
        raise OSError("database is locked")

    wake_signal.state = locked
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json == {"ready": False, "reason": "health cannot be told: database is locked"}
    assert client.get("/healthz").status_code == 200


def scraped(client: FlaskClient) -> dict[tuple[str, str], float]:
    """Sample name and its label's value → value."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain; version=")
    return {
        (sample.name, "".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_metrics_have_the_services_figures_and_the_deliveries(client: FlaskClient, wake_signal: WakeSignal) -> None:
    wake_signal.figures = lambda: {
        "last_pass_age_seconds": 12.5,
        "operations_planned": 3.0,
        "operations_done": 40.0,
        "requests_total": 1000.0,
        "last_sweep_age_seconds": 60.0,
        "something-new": 1.0,
    }
    send(client, GENUINE)
    send(client, GENUINE)
    send(client, b"x")
    assert scraped(client) == {
        ("bitrix_sync_up", ""): 1,
        ("bitrix_sync_info", __version__): 1,
        ("bitrix_sync_start_time_seconds", ""): datetime(2026, 3, 12, 9, tzinfo=UTC).timestamp(),
        ("bitrix_sync_events_total", "200"): 2,
        ("bitrix_sync_events_total", "400"): 1,
        ("bitrix_sync_last_pass_age_seconds", ""): 12.5,
        ("bitrix_sync_operations", "planned"): 3,
        ("bitrix_sync_operations", "done"): 40,
        ("bitrix_sync_requests_total", ""): 1000,
        ("bitrix_sync_last_sweep_age_seconds", ""): 60,
        ("bitrix_sync_something_new", ""): 1,
    }


def test_metrics_answer_though_the_service_cannot(client: FlaskClient, wake_signal: WakeSignal) -> None:
    def locked() -> Mapping[str, float]:
        raise OSError("database is locked")

    wake_signal.figures = locked
    send(client, GENUINE)
    figures = scraped(client)
    assert figures["bitrix_sync_up", ""] == 0
    assert figures["bitrix_sync_events_total", "200"] == 1


def test_two_services_in_one_process_do_not_share_figures(client: FlaskClient) -> None:
    send(client, GENUINE)
    other = create_app(WakeSignal(settings())).test_client()
    assert ("bitrix_sync_events_total", "200") not in scraped(other)


def test_the_address_may_end_in_a_slash(client: FlaskClient) -> None:
    assert client.post(f"{ADDRESS}/", data=GENUINE, content_type=FORM).status_code == 200


def test_other_addresses_are_not_found_until_a_page_is_given(client: FlaskClient, wake_signal: WakeSignal) -> None:
    assert [client.get(path).status_code for path in ("/", "/webhooks", f"{ADDRESS}/x", "/static/x")] == [404] * 4
    page = Blueprint("page", __name__)
    page.get("/")(lambda: "the page")
    assert create_app(wake_signal, blueprints=[page]).test_client().get("/").text == "the page"


# --- the server -----------------------------------------------------------------------------------------------------


@contextmanager
def served(app: WSGIApplication) -> Iterator[str]:
    """The application on a free port of this machine, behind the real server; ends it in order."""
    server, stop = WebServer(app, Listen("127.0.0.1", 0)), threading.Event()
    thread = threading.Thread(target=server.run, args=[stop])
    thread.start()
    try:
        yield server.url
    finally:
        stop.set()
        server.wake()
        thread.join(60)
        assert not thread.is_alive()


def test_events_over_http(app: Flask, wake_signal: WakeSignal) -> None:
    with served(app) as url, requests.Session() as session:
        headers = {"Content-Type": FORM}
        assert session.post(url + ADDRESS, GENUINE, headers=headers).status_code == 200
        assert session.post(url + ADDRESS, iter([GENUINE[:9], GENUINE[9:]]), headers=headers).status_code == 200
        assert session.post(url + ADDRESS, json=DEAL_UPDATE).status_code == 400
        assert session.post(url + ADDRESS, DEAL_UPDATE | {"auth[application_token]": "x"}).status_code == 403
        assert session.get(url + ADDRESS).status_code == 405
        assert session.get(url + "/healthz").text == "ok\n"
    assert len(wake_signal.heard) == 2


@pytest.mark.parametrize("size", [MAX_BODY + 1, 4 * MAX_BODY - 1, 4 * MAX_BODY, 8_000_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_client_that_sends_too_much_hears_so(app: Flask, wake_signal: WakeSignal, size: int, chunked: bool) -> None:
    body = filled(size)
    chunks = (body[at : at + 50_000] for at in range(0, size, 50_000))
    with served(app) as url:
        answer = requests.post(url + ADDRESS, chunks if chunked else body, headers={"Content-Type": FORM}, timeout=60)
    assert answer.status_code == 413
    assert wake_signal.heard == []


def test_a_client_that_sends_for_ever_is_cut_off_in_the_end(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "LINGER_SECONDS", 0.1)
    head = f"POST {ADDRESS} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    with served(app) as url, socket.create_connection(url_address(url), 60) as line:
        line.sendall(head)
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"

        def send_for_ever() -> None:
            while True:
                line.sendall(chunk)

        with pytest.raises(OSError, match=r"reset|pipe"):
            send_for_ever()


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01",
        b"GET http://[ HTTP/1.1",
        b"GET http://[x]:y/ HTTP/1.1",
        b"GET http://a]b/ HTTP/1.1",
        b"GET / HTTP/1.1\r\nContent-Length: " + b"9" * 5000,
        b"POST /webhooks/bitrix24 HTTP/1.1\r\nContent-Length: " + b"0" * 5000,
    ],
    ids=repr,
)
def test_garbage_on_the_line_is_a_bad_request(app: Flask, garbage: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with served(app) as url, socket.create_connection(url_address(url), 60) as line:
        line.sendall(garbage + b"\r\n\r\n")
        assert line.recv(100)[8:].startswith(b" 400 ")
    assert caplog.text == ""


def test_a_client_that_left_before_its_bad_request_is_answered_is_no_error(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    with served(app) as url:
        for _ in range(200):
            with socket.create_connection(url_address(url), 60) as line:
                line.sendall(b"GET http://[ HTTP/1.1\r\n\r\n")
                line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert requests.get(f"{url}/healthz", timeout=60).text
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


# --- clients that keep us waiting -----------------------------------------------------------------------------------


def closed(line: socket.socket, *, feed: bytes = b"") -> bool:
    """True when the server ends the connection, though the client goes on sending ``feed`` bit by bit."""
    line.settimeout(0.05 if feed else 60)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if line.recv(65536) == b"":
                return True
        except TimeoutError:
            pass
        except OSError:
            return True
        try:
            line.sendall(feed)
        except OSError:
            return True
    return False


@pytest.mark.parametrize(
    ("begin", "feed"),
    [
        (b"", b""),
        (b"GET / HTT", b""),
        (b"GET / HTTP/1.1\r\n", b"X: y\r\n"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n", b"x"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"\r\n", b"\r\n"),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b""),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /", b"x"),
    ],
    ids=["nothing", "half a line", "headers", "body", "chunks", "empty lines", "kept alive", "the second request"],
)
def test_a_request_that_does_not_come_whole_is_not_waited_for(
    app: Flask, monkeypatch: pytest.MonkeyPatch, begin: bytes, feed: bytes
) -> None:
    for name in ("REQUEST_SECONDS", "IDLE_SECONDS", "TEND_SECONDS"):
        monkeypatch.setattr(server_module, name, 0.2)
    with served(app) as url, socket.create_connection(url_address(url), 60) as line:
        line.sendall(begin)
        assert closed(line, feed=feed)


def test_an_answer_that_nobody_takes_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(server_module, "TEND_SECONDS", 0.1)
    size = 8_000_000

    def large(_environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", [("Content-Length", str(size))])
        return [b"x" * size]

    server, stop = WebServer(large, Listen("127.0.0.1", 0)), threading.Event()
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    line.connect(url_address(server.url))
    line.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    thread = threading.Thread(target=server.run, args=[stop])
    thread.start()
    try:
        line.settimeout(60)
        line.recv(1)
        until(lambda: server._open() == [])
    finally:
        stop.set()
        thread.join(60)
        line.close()


def test_however_many_keep_us_waiting_the_next_one_is_answered(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """More connections than may be open: of one address, then of many."""
    monkeypatch.setattr(server_module, "SHARE", 20)
    monkeypatch.setattr(server_module, "CONNECTIONS", 50)
    lines: list[socket.socket] = []
    with served(app) as url:
        try:
            for number in range(120):
                source = f"127.0.0.{2 + number // 24}"
                lines.append(socket.create_connection(url_address(url), 60, source_address=(source, 0)))
                lines[-1].sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
                if number in (23, 119):
                    assert requests.get(url + "/healthz", timeout=60).text == "ok\n"
            first, last = lines[0], lines[-1]
            assert closed(first), "what has kept us waiting longest makes room"
            last.sendall(b"x" * 9)
            assert last.recv(12).startswith(b"HTTP/1.1 404"), "and the newest is served"
        finally:
            for line in lines:
                line.close()


def test_who_is_being_answered_does_not_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "SHARE", 3)
    begun, go_on = threading.Semaphore(0), threading.Event()

    def slow(_environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        begun.release()
        go_on.wait(60)
        start_response("200 OK", [("Content-Length", "4")])
        return [b"done"]

    with served(slow) as url:
        lines = [socket.create_connection(url_address(url), 60) for _ in range(3)]
        for line in lines:
            line.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert begun.acquire(timeout=60)
        with socket.create_connection(url_address(url), 60) as more:
            assert closed(more)
        go_on.set()
        for line in lines:
            with line, line.makefile("rb") as answer:
                assert answer.readline() == b"HTTP/1.1 200 OK\r\n"


def url_address(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("http://").rpartition(":")
    return host, int(port)


def test_a_burst_on_many_connections_is_answered_whole(app: Flask, wake_signal: WakeSignal) -> None:
    statuses: list[int] = []

    def deliver(url: str) -> None:
        for _ in range(20):
            line = http.client.HTTPConnection(*url_address(url), timeout=60)
            line.request("POST", ADDRESS, GENUINE, {"Content-Type": FORM})
            statuses.append(line.getresponse().status)
            line.close()

    with served(app) as url:
        senders = [threading.Thread(target=deliver, args=[url]) for _ in range(16)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
    assert statuses == [200] * 320
    assert len(wake_signal.heard) == 320


def test_what_is_in_flight_is_answered_before_the_end() -> None:
    begun, go_on = threading.Barrier(3), threading.Event()

    def slow(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        begun.wait(60)
        go_on.wait(60)
        start_response("200 OK", [("Content-Length", "4")])
        return [b"done"]

    answers: list[str] = []
    with served(slow) as url:
        clients = [
            threading.Thread(target=lambda: answers.append(requests.get(url, timeout=60).text)) for _ in range(2)
        ]
        for client in clients:
            client.start()
        begun.wait(60)
        threading.Timer(0.2, go_on.set).start()
    for client in clients:
        client.join()
    assert answers == ["done", "done"]


def test_an_address_that_is_taken_is_told_with_what_to_write(app: Flask) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(SettingError) as caught:
            WebServer(app, Listen("127.0.0.1", port))
    assert str(caught.value) == (
        f"BITRIX_LISTEN: 127.0.0.1:{port} cannot be listened on (Address already in use); "
        "write an address of this machine and a free port, as 127.0.0.1:8080"
    )


PROGRAM = """
    import logging, sys, threading, time
    from bitrix_sync.settings import Listen
    from webhooks.server import serve

    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # as log.configure does

    def slow(environ, start_response):
        print("begun", flush=True)
        time.sleep(0.5)
        start_response("200 OK", [("Content-Length", "4")])
        return [b"done"]

    stop = threading.Event()
    try:
        serve(slow, Listen("127.0.0.1", 0), stop, announce=lambda url: print(url, flush=True))
    except KeyboardInterrupt:
        sys.exit(130)
    assert stop.is_set()
"""


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_lets_the_answer_in_flight_end_and_the_process_with_it(number: signal.Signals, code: int) -> None:
    root = Path(__file__).parent.parent
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        answers: list[str] = []
        client = threading.Thread(target=lambda: answers.append(requests.get(url, timeout=60).text))
        client.start()
        assert process.stdout.readline() == "begun\n"
        process.send_signal(number)
        _, complaints = process.communicate(timeout=60)
        client.join()
    assert (process.returncode, complaints, answers) == (code, "", ["done"])
