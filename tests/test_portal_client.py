"""The client over real HTTP against a server that misbehaves on order."""

from __future__ import annotations

import contextlib
import gzip
import json
import logging
import socket
import ssl
import struct
import threading
import time
import tracemalloc
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests
from urllib3.exceptions import MaxRetryError, NameResolutionError, NewConnectionError

from bitrix_sync.errors import PortalError, PortalRefused, SettingError
from bitrix_sync.model.actions import Kind
from bitrix_sync.model.webhook import WebhookUrl
from bitrix_sync.portal import body
from bitrix_sync.portal.client import Command, Portal
from bitrix_sync.portal.rate_limiter import Stopped
from bitrix_sync.portal.timing import PortalClock
from tests.test_portal_pacer import FakeClock
from tests.world.process import until

CODE = "secretcode123456"
ADD = Command("tasks.task.add", {"fields": {"TITLE": "Call", "RESPONSIBLE_ID": 5}})
LIST_OF_TASKS = Command("tasks.task.list", {})
LIST = Command("tasks.task.get", {"filter": {"ID": [1, 2]}, "select": ["ID"]})


class Server:
    """Answers with the planned answers in turn; remembers what it was asked."""

    def __init__(self) -> None:
        self.plan: list[Any] = []
        self.seen: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        self.connections = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                outer.connections += 1
                super().setup()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.seen.append((self.path, json.loads(body), dict(self.headers)))
                step = outer.plan.pop(0) if outer.plan else {"result": True}
                if callable(step):
                    step(self)
                elif isinstance(step, tuple):
                    outer.say(self, *step)
                else:
                    outer.say(self, 200, step)

            def do_GET(self) -> None:
                outer.seen.append(("GET " + self.path, {}, {}))
                outer.say(self, 200, {"result": "a GET"})

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.http.server_address[1]}"

    @property
    def url(self) -> str:
        return f"http://{self.host}/rest/7/{CODE}/"

    @staticmethod
    def say(handler: BaseHTTPRequestHandler, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json; charset=utf-8")
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(raw)))
        handler.end_headers()
        handler.wfile.write(raw)

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


def drop(handler: BaseHTTPRequestHandler) -> None:
    """Cut the connection with a reset, after the request was read."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.close_connection = True
    handler.connection.close()


def cut(handler: BaseHTTPRequestHandler) -> None:
    """Promise more than is sent."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"result": {"task":')
    handler.close_connection = True


def late(handler: BaseHTTPRequestHandler) -> None:
    """Say nothing until the client has given up."""
    handler.close_connection = True
    with contextlib.suppress(OSError):
        handler.rfile.read(1)


def trickle(handler: BaseHTTPRequestHandler, *, start: bytes, drop: bytes, end: bytes) -> None:
    """A byte before each time-out, then a whole answer: for whoever still listens."""
    handler.close_connection = True
    with contextlib.suppress(OSError):
        for part in (start, *[drop] * 60, end):
            handler.wfile.write(part)
            handler.wfile.flush()
            time.sleep(0.05)


DONE = b'{"result": {"task": {"id": 8}}}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
TRICKLES = {
    "headers": partial(trickle, start=b"HTTP/1.1 200 OK\r\nX: ", drop=b"x", end=b"\r\n\r\n" + DONE),
    "a body that says its length": partial(trickle, start=HEAD % (60 + len(DONE)), drop=b" ", end=DONE),
    "a body that ends with the connection": partial(trickle, start=b"HTTP/1.1 200 OK\r\n\r\n", drop=b" ", end=DONE),
}
BOMBS = {
    "zeros": gzip.compress(b" " * (body.LIMIT + 1)),
    "lists": gzip.compress(b'{"result": [' + b"[]," * body.VALUES + b"1]}"),
    "cut": gzip.compress(DONE)[:-4],
    "no gzip": b"PK" + DONE,
}


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def portal(server: Server, clock: FakeClock) -> Iterator[Portal]:
    """A client whose clock stands still, and that waits as long as a slow machine takes."""
    portal = Portal(server.url, rate=(1000.0, 1000), clock=clock, sleep=clock.sleep)
    yield portal
    portal.close()


@pytest.fixture
def impatient(server: Server) -> Iterator[Portal]:
    """A client for tests in which nothing good is answered."""
    portal = Portal(server.url, rate=(1000.0, 1000), timeouts=(5.0, 0.3))
    yield portal
    portal.close()


def items(*values: Any) -> dict[str, Any]:
    return {"result": {"result": {f"k{i}": v for i, v in enumerate(values)} or [], "result_error": []}}


# --- one command -----------------------------------------------------------------------------------------------------


def test_a_command_goes_as_json_by_post_with_our_name(server: Server, portal: Portal) -> None:
    server.plan = [{"result": {"task": {"id": "8017"}}}]
    assert portal.call(ADD).value == {"task": {"id": "8017"}}
    path, body, headers = server.seen[0]
    assert path == f"/rest/7/{CODE}/tasks.task.add"
    assert body == ADD.params
    assert headers["Content-Type"] == "application/json"
    assert headers["User-Agent"].startswith("bitrix-sync/")


def test_requests_share_one_connection(server: Server, portal: Portal) -> None:
    for _ in range(5):
        portal.call(LIST)
    assert (server.connections, portal.stats.requests) == (1, 5)


@pytest.mark.parametrize("fault", [drop, cut, late, (502, b"<html>Bad gateway</html>"), (504, b""), (200, b"oops")])
def test_a_write_without_a_whole_answer_is_unknown_and_never_repeated(
    server: Server, impatient: Portal, fault: Any
) -> None:
    server.plan = [fault]
    assert impatient.call(ADD).kind == "unknown"
    until(lambda: server.seen)
    assert len(server.seen) == 1


@pytest.mark.parametrize("name", TRICKLES)
def test_an_answer_that_trickles_is_not_waited_for_to_its_end(server: Server, name: str) -> None:
    """Each byte comes in time, so nothing but an end of the whole exchange ends it."""
    portal = Portal(server.url, rate=(1000.0, 1000), timeouts=(0.2, 1.0))
    server.plan = [TRICKLES[name], {"result": {"task": {"id": "9"}}}]
    outcome = portal.call(ADD)
    assert (outcome.kind, outcome.text) == ("unknown", "the answer does not end")
    assert portal.call(ADD).done, "the next one goes by another connection"
    portal.close()


def test_a_kept_connection_that_trickles_is_cut_as_well(server: Server) -> None:
    portal = Portal(server.url, rate=(1000.0, 1000), timeouts=(0.2, 1.0))
    server.plan = [{"result": {"task": {"id": "7"}}}, TRICKLES["headers"]]
    assert portal.call(ADD).done
    assert portal.call(ADD).kind == "unknown"
    assert server.connections == 1
    portal.close()


@pytest.mark.parametrize("name", BOMBS)
def test_an_answer_that_unpacks_to_more_than_there_may_be_is_refused(server: Server, name: str) -> None:
    portal = Portal(server.url, rate=(1000.0, 1000))
    server.plan = [(200, BOMBS[name], {"Content-Encoding": "gzip"})]
    assert portal.call(ADD).kind == "unknown"
    server.plan = [(200, gzip.compress(DONE), {"Content-Encoding": "gzip"})]
    assert portal.call(ADD).done
    portal.close()


def test_a_packed_body_is_not_unpacked_beyond_its_bound() -> None:
    bomb = gzip.compress(bytes(4 * body.LIMIT))
    tracemalloc.start()
    try:
        with pytest.raises(body.UnfitBody, match="larger than"):
            body.Body("gzip").take(bomb)
        assert tracemalloc.get_traced_memory()[1] < 3 * body.LIMIT
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("coding", ["br", "zstd", "deflate", "gzip, gzip"])
def test_a_packing_that_nobody_asked_for_is_no_answer(server: Server, portal: Portal, coding: str) -> None:
    server.plan = [(200, DONE, {"Content-Encoding": coding})]
    assert portal.call(ADD).kind == "unknown"


def test_a_write_that_found_no_portal_did_not_run() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    portal = Portal(f"http://127.0.0.1:{port}/rest/7/{CODE}/", rate=(1000.0, 1000))
    outcome = portal.call(ADD)
    assert (outcome.kind, outcome.code) == ("again", "no_connection")
    assert outcome.retry_at is not None
    portal.close()


def test_an_answer_larger_than_memory_should_hold_is_refused(
    server: Server, portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bitrix_sync.portal.body.LIMIT", 100_000)
    server.plan = [(200, b" " * 400_000)]
    assert portal.call(ADD).kind == "unknown"


def test_a_refused_method_is_not_asked_again_before_its_time(server: Server, portal: Portal, clock: FakeClock) -> None:
    server.plan = [(429, {"error": "OPERATION_TIME_LIMIT", "error_description": "blocked"})]
    first, second = portal.call(ADD), portal.call(ADD)
    assert first.kind == second.kind == "again"
    assert first.retry_at == second.retry_at
    assert first.retry_at is not None
    assert first.retry_at - clock() == pytest.approx(300, abs=5)
    assert len(server.seen) == 1
    assert portal.call(LIST).done


def test_a_method_that_nears_its_limit_rests_until_the_portal_says(
    server: Server, portal: Portal, clock: FakeClock
) -> None:
    reset = int(clock()) + 200
    server.plan = [{"result": {"task": {"id": 1}}, "time": {"operating": 471.5, "operating_reset_at": reset}}]
    assert portal.call(ADD).done
    outcome = portal.call(ADD)
    assert (outcome.kind, outcome.retry_at) == ("again", pytest.approx(reset, abs=2))


def test_a_window_that_ends_within_this_second_is_waited_for_and_not_held_for_a_ban(
    server: Server, portal: Portal, clock: FakeClock
) -> None:
    refused = {"error": "OPERATION_TIME_LIMIT", "error_description": "blocked"}
    server.plan = [(429, {**refused, "time": {"operating_reset_at": clock() - 0.2}})]
    retry_at = portal.call(ADD).retry_at
    assert retry_at is not None
    assert retry_at - clock() < 5


def test_a_full_bucket_holds_everything_back(server: Server, portal: Portal) -> None:
    server.plan = [(503, {"error": "QUERY_LIMIT_EXCEEDED", "error_description": "Too many requests"})]
    outcome = portal.call(ADD)
    assert outcome.kind == "again"
    assert portal.rate_limiter.budget().held_until == outcome.retry_at


def test_a_stopping_service_sends_nothing(server: Server) -> None:
    stop = threading.Event()
    portal = Portal(server.url, rate=(1000.0, 1000), stop=stop)
    stop.set()
    assert portal.call(ADD).kind == "again"
    assert [outcome.kind for outcome in portal.batch([ADD, ADD])] == ["again", "again"]
    with pytest.raises(Stopped):
        portal.read([LIST])
    assert server.seen == []
    portal.close()


def test_every_request_is_counted(server: Server) -> None:
    count: list[int] = []
    portal = Portal(server.url, rate=(1000.0, 1000), on_answer=lambda: count.append(1))
    server.plan = [drop, items(1, 2)]
    portal.call(LIST)
    portal.batch([LIST, LIST])
    assert (len(count), portal.stats.requests, portal.stats.commands, portal.stats.trouble) == (2, 2, 3, 1)
    portal.close()


# --- a renamed portal ------------------------------------------------------------------------------------------------


def redirect(location: str, status: int = 302) -> tuple[int, bytes, dict[str, str]]:
    return status, b"<html>moved</html>", {"Location": location}


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_renamed_portal_gets_the_same_post_once_more(server: Server, portal: Portal, status: int) -> None:
    other = Server()
    other.plan = [{"result": {"task": {"id": 9}}}]
    server.plan = [redirect(f"{other.url}tasks.task.add", status)]
    assert portal.call(ADD).value == {"task": {"id": 9}}
    assert [(path, body) for path, body, _ in other.seen] == [(f"/rest/7/{CODE}/tasks.task.add", ADD.params)]
    assert portal.call(LIST).done
    assert (len(server.seen), len(other.seen), portal.host) == (1, 2, other.host)
    other.close()


def test_a_redirect_to_anything_else_stops_all_work(server: Server, portal: Portal) -> None:
    for location in (f"http://{server.host}/auth/", "http://127.0.0.1:9/", "", f"{server.url}tasks.task.add"):
        server.plan = [redirect(location)]
        outcome = portal.call(ADD)
        assert (outcome.kind, outcome.fatal, outcome.code) == ("refused", True, "redirect")
    assert all(not path.startswith("GET") for path, _, _ in server.seen)


def test_redirects_are_followed_once(server: Server, portal: Portal) -> None:
    other = Server()
    server.plan = [redirect(f"{other.url}tasks.task.add")]
    other.plan = [redirect(f"{server.url}tasks.task.add")]
    assert portal.call(ADD).code == "redirect"
    assert (len(server.seen), len(other.seen)) == (1, 1)
    other.close()


def test_the_code_never_goes_to_a_host_less_safe_than_the_old_one() -> None:
    old = WebhookUrl(f"https://old.example/rest/7/{CODE}/")
    path = f"/rest/7/{CODE}/m"
    moved = old.moved(f"https://new.example{path}", "m")
    assert moved is not None
    assert moved.host == "new.example"
    for location in (
        f"http://new.example{path}",
        f"http://127.0.0.1{path}",
        f"https://user@new.example{path}",
        "https://new.example/",
        f"https://old.example{path}",
        "https://[",
    ):
        assert old.moved(location, "m") is None


# --- batches ---------------------------------------------------------------------------------------------------------


def test_a_batch_gives_the_outcomes_in_order(server: Server, portal: Portal) -> None:
    server.plan = [
        {
            "result": {
                "result": {"k2": {"tasks": []}, "k0": {"task": {"id": "5"}}},
                "result_error": {"k1": {"error": "0", "error_description": "Action on the task is not allowed"}},
            }
        }
    ]
    outcomes = portal.batch([ADD, Command("tasks.task.delete", {"taskId": 3}), LIST])
    assert [outcome.kind for outcome in outcomes] == ["done", "refused", "done"]
    path, body, _ = server.seen[0]
    assert path.endswith("/batch")
    assert list(body["cmd"]) == ["k0", "k1", "k2"]
    assert body["halt"] == 0
    assert body["cmd"]["k1"] == "tasks.task.delete?taskId=3"


def test_what_does_not_fit_a_batch_goes_alone(server: Server, portal: Portal) -> None:
    strange = Command("tasks.task.add", {"fields": {"TITLE": "$result[x]", "AUDITORS": []}})
    server.plan = [items({"task": {"id": 1}}, {"tasks": []}), {"result": {"task": {"id": 2}}}]
    outcomes = portal.batch([ADD, strange, LIST])
    assert [outcome.value for outcome in outcomes] == [{"task": {"id": 1}}, {"task": {"id": 2}}, {"tasks": []}]
    assert server.seen[1][1] == strange.params


def test_more_than_fifty_commands_go_in_several_batches(server: Server, portal: Portal) -> None:
    server.plan = [items(*range(1, 51)), items(*range(51, 61))]
    outcomes = portal.batch([Command("task.checklistitem.add", {"TASKID": n}) for n in range(60)])
    assert [outcome.value for outcome in outcomes] == list(range(1, 61))
    assert [len(body["cmd"]) for _, body, _ in server.seen] == [50, 10]


def test_one_command_needs_no_batch(server: Server, portal: Portal) -> None:
    assert portal.batch([LIST])[0].done
    assert server.seen[0][0].endswith("tasks.task.get")


@pytest.mark.parametrize(
    ("fault", "kind", "fatal"),
    [
        (drop, "unknown", False),
        ((502, b"<html>"), "unknown", False),
        ({"result": []}, "unknown", False),
        ((503, {"error": "QUERY_LIMIT_EXCEEDED"}), "again", False),
        ((429, {"error": "OPERATION_TIME_LIMIT"}), "again", False),
        ((401, {"error": "INVALID_CREDENTIALS"}), "refused", True),
        ((403, {"error": "ACCESS_DENIED"}), "refused", True),
    ],
)
def test_the_fate_of_a_batch_is_that_of_all_its_commands(
    server: Server, portal: Portal, fault: Any, kind: str, fatal: bool
) -> None:
    server.plan = [fault]
    outcomes = portal.batch([ADD, ADD])
    assert [(outcome.kind, outcome.fatal) for outcome in outcomes] == [(kind, fatal)] * 2
    assert len(server.seen) == 1


def test_nothing_is_known_of_a_batch_that_is_never_answered(server: Server, impatient: Portal) -> None:
    server.plan = [late]
    assert [(outcome.kind, outcome.fatal) for outcome in impatient.batch([ADD, ADD])] == [("unknown", False)] * 2


def test_half_a_batch_is_judged_by_halves(server: Server, portal: Portal) -> None:
    server.plan = [items({"task": {"id": 1}})]
    assert [outcome.kind for outcome in portal.batch([ADD, ADD])] == ["done", "unknown"]


def test_a_method_blocked_inside_a_batch_rests_the_others_go_on(
    server: Server, portal: Portal, clock: FakeClock
) -> None:
    server.plan = [
        {
            "result": {
                "result": {"k1": {"tasks": []}},
                "result_error": {"k0": {"error": "OPERATION_TIME_LIMIT", "error_description": ""}},
                "result_time": {"k1": {"operating": 12.5, "operating_reset_at": int(clock()) + 500}},
            }
        },
        {"result": {"tasks": []}},
    ]
    first = portal.batch([ADD, LIST])
    assert [outcome.kind for outcome in first] == ["again", "done"]
    assert first[0].retry_at is not None
    assert [outcome.kind for outcome in portal.batch([ADD, LIST])] == ["again", "done"]
    assert len(server.seen) == 2
    assert portal.rate_limiter.budget().operating == {"tasks.task.get": 12.5}


def test_an_empty_batch_asks_nothing(server: Server, portal: Portal) -> None:
    assert portal.batch([]) == []
    assert server.seen == []


# --- readings --------------------------------------------------------------------------------------------------------


def quick(server: Server, **more: Any) -> tuple[Portal, list[float]]:
    """A client whose pauses take no time: its clock runs on with them alone."""
    skipped: list[float] = []
    begun = FakeClock()()
    return Portal(
        server.url, rate=(1000.0, 1000), clock=lambda: begun + sum(skipped), sleep=skipped.append, **more
    ), skipped


def test_nobody_waits_long_for_a_portal_that_answers_nonsense(server: Server) -> None:
    portal, skipped = quick(server)
    server.plan = [{"result": {"tasks": "none"}}] * 200
    with pytest.raises(PortalError):
        portal.read([LIST_OF_TASKS], patience=900)
    assert sum(skipped) <= 20


def test_a_reading_is_repeated_until_it_is_answered(server: Server) -> None:
    portal, skipped = quick(server)
    server.plan = [drop, (502, b"<html>"), (503, {"error": "QUERY_LIMIT_EXCEEDED"}), {"result": {"tasks": []}}]
    assert portal.read([LIST])[0].done
    assert len(server.seen) == 4
    assert sum(skipped) > 3
    portal.close()


def test_only_what_is_missing_of_a_reading_is_asked_again(server: Server) -> None:
    portal, _ = quick(server)
    server.plan = [items({"tasks": []}), {"result": "second"}]
    assert [outcome.value for outcome in portal.read([LIST, LIST])] == [{"tasks": []}, "second"]
    portal.close()


def test_a_reading_gives_up_with_a_clear_line(server: Server) -> None:
    portal, skipped = quick(server)
    server.plan = [drop] * 50
    with pytest.raises(PortalError, match=r"tasks\.task\.get: the connection broke") as caught:
        portal.read([LIST])
    assert not isinstance(caught.value, PortalRefused)
    assert sum(skipped) <= 60
    assert 5 < len(server.seen) < 20
    portal.close()


def test_a_reading_does_not_wait_longer_than_it_may_for_a_resting_method(server: Server) -> None:
    portal, skipped = quick(server)
    server.plan = [(429, {"error": "OPERATION_TIME_LIMIT", "error_description": ""}), {"result": 1}]
    with pytest.raises(PortalError, match="has used up its operating time until"):
        portal.read([LIST])
    assert portal.read([LIST], patience=900)[0].done
    assert sum(skipped) == pytest.approx(300, abs=10)
    portal.close()


@pytest.mark.parametrize(
    ("status", "code", "says"),
    [
        (401, "INVALID_CREDENTIALS", "make a new incoming webhook"),
        (401, "NO_AUTH_FOUND", "make a new incoming webhook"),
        (401, "insufficient_scope", "lacks the scope 'task'"),
        (403, "ACCESS_DENIED", "plan or its REST subscription"),
        (503, "OVERLOAD_LIMIT", "write to its support"),
        (302, "", "renamed"),
        (400, "ERROR_CORE", r"tasks\.task\.get refused: ERROR_CORE why"),
    ],
)
def test_a_refused_reading_says_what_to_do(server: Server, portal: Portal, status: int, code: str, says: str) -> None:
    server.plan = [(status, {"error": code, "error_description": "why"})]
    with pytest.raises(PortalRefused, match=says) as caught:
        portal.read([LIST])
    assert CODE not in str(caught.value)
    assert len(server.seen) == 1


def test_a_reading_that_may_be_refused_comes_back_with_the_refusal(server: Server, portal: Portal) -> None:
    server.plan = [(403, {"error": "insufficient_scope", "error_description": ""})] * 2
    assert portal.read([Command("calendar.settings.get")], optional=True)[0].kind == "refused"
    with pytest.raises(PortalRefused, match="'calendar'"):
        portal.read([Command("calendar.settings.get")])


# --- time ------------------------------------------------------------------------------------------------------------


def test_the_portals_clock_is_learnt_from_its_answers(server: Server, portal: Portal, clock: FakeClock) -> None:
    now = clock() + 120.25
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now + 10800)) + "+03:00"
    told = {"start": now - 0.001, "finish": now, "duration": 0.001, "date_finish": stamp}
    server.plan = [{"result": 1, "time": told}]
    portal.call(LIST)
    assert portal.offset.total_seconds() == pytest.approx(120.25)
    assert portal.now().timestamp() == pytest.approx(now)
    assert portal.now().utcoffset() is not None
    assert portal.utc_offset == 10800


def test_a_clock_that_tells_whole_seconds_does_not_replace_a_better_one(
    server: Server, portal: Portal, clock: FakeClock
) -> None:
    now = clock()
    server.plan = [
        {"result": 1, "time": {"finish": now + 60.25, "duration": 0}},
        {"result": 1, "time": {"finish": int(now + 60.25), "duration": 0, "date_finish": "2026-05-14T10:26:33+02:00"}},
        {"result": 1, "time": []},
        {"result": 1, "time": {"finish": "soon", "date_finish": "never", "duration": None}},
    ]
    for _ in range(4):
        portal.call(LIST)
    assert portal.offset.total_seconds() == pytest.approx(60.25)
    assert portal.utc_offset == 7200


def test_a_clock_that_was_set_is_noticed_at_once(server: Server, portal: Portal, clock: FakeClock) -> None:
    for ahead in (60.25, -300.25):
        server.plan = [{"result": 1, "time": {"finish": clock() + ahead, "duration": 0}}]
        portal.call(LIST)
        assert portal.offset.total_seconds() == pytest.approx(ahead, abs=1)


NONSENSE: dict[str, Any] = {
    "a text": "soon",
    "a list": [],
    "words": {"start": "then", "finish": "soon", "duration": "long", "date_finish": "never"},
    "no number": {"start": float("nan"), "finish": float("nan"), "duration": float("nan")},
    "without end": {"finish": float("inf"), "duration": float("inf")},
    "true": {"finish": True},
    "nought": {"finish": 0},
    "far future": {"finish": 9e13, "duration": 9e13},
    "the year 2500": {"finish": 16_725_225_600.5},
    "milliseconds": {"finish": 1_766_000_000_000},
    "before 2000": {"finish": 900_000_000},
    "ends before it starts": {"start": FakeClock()() + 120, "finish": FakeClock()() - 120},
}


@pytest.mark.parametrize("block", NONSENSE.values(), ids=NONSENSE)
def test_a_time_that_makes_no_sense_teaches_nothing(server: Server, portal: Portal, block: Any) -> None:
    """However often it is told."""
    server.plan = [{"result": 1, "time": block}] * 3
    for _ in range(3):
        portal.call(LIST)
    assert abs(portal.offset.total_seconds()) < 5
    assert not portal.clock_known


@pytest.mark.parametrize("known", [None, 60.0])
@pytest.mark.parametrize("far", [-400 * 86_400.0, -3300.0, 3300.0, 3 * 86_400.0, 30 * 365 * 86_400.0])
def test_a_clock_far_from_what_was_known_is_believed_when_a_second_answer_agrees(
    known: float | None, far: float
) -> None:
    clock, now = PortalClock(), 1_766_000_000.0

    def learn(ahead: float, told: float | None = None) -> float:
        nonlocal now
        now += 10.0
        finish = now + ahead if told is None else told
        clock.learn({"finish": finish + 0.25, "duration": 0.0}, sent=now - 0.1, received=now + 0.1)
        return clock.offset

    usual = 0.0 if known is None else pytest.approx(known, abs=1)
    if known is not None:
        learn(known)
    assert learn(far) == usual, "one alone"
    assert learn(known or 0.0) == pytest.approx(known or 0.0, abs=1)
    assert learn(far) == pytest.approx(known or 0.0, abs=1), "the one before was long ago"
    assert learn(2 * far) == pytest.approx(known or 0.0, abs=1), "another one"
    assert learn(2 * far) == pytest.approx(2 * far, abs=1)


def test_a_far_clock_is_believed_though_it_stands_still() -> None:
    clock, stuck = PortalClock(), 1_800_000_000.25
    for number in range(2):
        now = 1_766_000_000.0 + 30.0 * number
        clock.learn({"finish": stuck, "duration": 0.0}, sent=now - 0.1, received=now)
    assert clock.offset == pytest.approx(stuck - now)


def test_what_is_decided_after_a_leap_of_the_portals_clock_goes_by_its_new_time(
    server: Server, portal: Portal, clock: FakeClock
) -> None:
    """One answer alone is not believed; the next is asked for at once, and not again for each that contradicts."""
    later = clock() + 3 * 86_400
    leap = {"result": 1, "time": {"finish": later, "duration": 0}}
    server.plan = [leap, {"result": "2026-05-17T10:00:00+03:00", "time": {"finish": later + 0.25, "duration": 0}}]
    assert portal.call(LIST).done
    assert [path.rpartition("/")[2] for path, _, _ in server.seen] == ["tasks.task.get", "server.time"]
    assert portal.offset.total_seconds() == pytest.approx(3 * 86_400, abs=5)


@pytest.mark.parametrize(
    "block",
    [
        {"operating": 475.0, "operating_reset_at": 9e13},
        {"operating": 475.0, "operating_reset_at": "never"},
        {"operating": 475.0, "operating_reset_at": float("nan")},
        {"operating": 9e13, "operating_reset_at": FakeClock()() + 60},
        {"operating": -5.0, "duration": -5.0},
        {"operating": 1.0, "duration": 9e13},
    ],
    ids=("until the year 2851921", "until never", "until nothing", "used for ever", "below zero", "took for ever"),
)
def test_no_account_that_makes_no_sense_stops_a_method_for_long(
    server: Server, portal: Portal, block: dict[str, Any]
) -> None:
    server.plan = [{"result": 1, "time": block}]
    outcome = portal.call(LIST)
    assert (outcome.seconds or 0.0) <= 3600
    until = portal.rate_limiter.resting_until(LIST.method)
    assert until is None or until - portal.clock() <= 660


def test_a_batch_tells_how_long_its_longest_request_took(server: Server, portal: Portal, clock: FakeClock) -> None:
    alone = Command("tasks.task.update", {"taskId": 1, "fields": {"AUDITORS": []}})
    server.plan = [lambda handler: (clock.sleep(3), Server.say(handler, 200, items(1, 2))), {"result": True}]
    portal.batch([LIST, LIST, alone])
    assert portal.last_seconds == 3
    portal.call(LIST)
    assert portal.last_seconds == 0


def test_a_batch_that_rests_is_not_sent(server: Server, portal: Portal) -> None:
    server.plan = [(429, {"error": "OPERATION_TIME_LIMIT", "error_description": ""})]
    portal.batch([LIST, LIST])
    assert [outcome.kind for outcome in portal.batch([LIST, LIST])] == ["again", "again"]
    assert len(server.seen) == 1


# --- the secret ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        f"http://portal.example/rest/7/{CODE}/",
        f"https://portal.example/rest/{CODE}/7/",
        f"https://portal.example/rest/7/{CODE}/crm.deal.list",
        f"https://portal.example/rest/7/{CODE}/?a=b",
        f"https://me:{CODE}@portal.example/rest/7/{CODE}/",
        f"ftp://portal.example/rest/7/{CODE}/",
        f"//portal.example/rest/7/{CODE}/",
        f"https://portal.example:99999/rest/7/{CODE}/",
        f"{CODE}",
        "",
    ],
)
def test_a_wrong_address_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(SettingError) as caught:
        Portal(url)
    assert CODE not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "url",
    [
        f"https://portal.example/rest/7/{CODE}",
        f"https://portal.example:8443/rest/7/{CODE}/",
        f"http://127.0.0.1:8080/rest/7/{CODE}/",
        f"http://[::1]:8080/rest/7/{CODE}/",
        f" http://localhost/rest/7/{CODE}/\n",
    ],
)
def test_https_and_loopback_are_taken(url: str) -> None:
    portal = Portal(url)
    assert portal.self_id == 7
    portal.close()


def test_no_cookie_is_kept_so_that_none_can_pile_up(server: Server, portal: Portal) -> None:
    server.plan = [(200, {"result": True}, {"Set-Cookie": f"name{number}={'x' * 1000}; Path=/"}) for number in range(9)]
    for _ in range(10):
        portal.call(LIST)
    assert len(server.seen) == 10
    assert not [headers for _, _, headers in server.seen if "Cookie" in headers]


@pytest.mark.parametrize("fault", [drop, cut, late, (401, {"error": "NO_AUTH_FOUND"}), (302, b"")])
def test_the_code_is_nowhere_to_be_seen(server: Server, fault: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    portal, _ = quick(server, timeouts=(5.0, 0.1))
    server.plan = [fault] * 30
    outcome = portal.call(ADD)
    with pytest.raises(PortalError) as caught:
        portal.read([LIST])
    error: BaseException | None = caught.value
    while error is not None:
        assert CODE not in f"{error!s} {error!r}"
        error = error.__cause__ or error.__context__
    assert CODE not in f"{outcome!r} {portal!r} {portal.webhook!r} {portal.stats!r} {caplog.text}"
    portal.close()


# --- did anything leave? ---------------------------------------------------------------------------------------------


def broken(kind: type[Exception], reason: Exception | None = None) -> Exception:
    """An exception as requests raises it, with the address in its text."""
    return kind(MaxRetryError(None, f"/rest/7/{CODE}/m", reason)) if reason else kind(f"/rest/7/{CODE}/m")


@pytest.mark.parametrize(
    ("fault", "left"),
    [
        (broken(requests.ConnectTimeout), False),
        (broken(requests.ConnectionError, NewConnectionError(None, "refused")), False),
        (broken(requests.ConnectionError, NameResolutionError("host", None, OSError())), False),
        (broken(requests.exceptions.ProxyError), False),
        (broken(requests.exceptions.InvalidURL), False),
        (broken(requests.exceptions.SSLError, ssl.SSLCertVerificationError("self-signed")), False),
        (broken(requests.exceptions.SSLError, ssl.SSLEOFError("cut")), True),
        (broken(requests.ReadTimeout), True),
        (broken(requests.ConnectionError), True),
        (broken(requests.exceptions.ChunkedEncodingError), True),
        (broken(requests.exceptions.ContentDecodingError), True),
        (OSError("reset"), True),
    ],
)
def test_only_a_failure_to_connect_surely_left_nothing(
    monkeypatch: pytest.MonkeyPatch, fault: Exception, left: bool
) -> None:
    def post(*_: Any, **__: Any) -> None:
        raise fault

    monkeypatch.setattr(requests.Session, "post", post)
    portal = Portal(f"https://portal.example/rest/7/{CODE}/")
    outcome = portal.call(ADD)
    assert outcome.kind == ("unknown" if left else "again")
    assert CODE not in repr(outcome)
    portal.close()


def test_kinds_whose_method_rests_are_named(server: Server, portal: Portal) -> None:
    assert portal.blocked_kinds() == frozenset()
    portal.rate_limiter.ban("tasks.task.update")
    assert portal.blocked_kinds() == {Kind.DEADLINE, Kind.PEOPLE}
