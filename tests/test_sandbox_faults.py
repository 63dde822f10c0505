"""Faults on order: what the client sees, and what has happened in the portal meanwhile. And events, and the control."""

from __future__ import annotations

import inspect
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

import pytest
import requests

from bitrix_sandbox.http.control import LIMITS, Control
from bitrix_sandbox.http.events import Weather
from bitrix_sandbox.http.faults import ERRORS, KINDS, Fault
from bitrix_sandbox.http.wire import Request, Shapes
from bitrix_sandbox.state.clock import Agenda, Clock
from bitrix_sandbox.state.portal import PortalState
from bitrix_sandbox.state.switches import Switches
from tests.documents import document
from tests.world.echo import BEGINNING, CODE, Echo, echo_portal
from tests.world.process import until


@pytest.fixture(scope="module")
def portal() -> Iterator[Echo]:
    with echo_portal(rate=None, operating_limit=None) as portal:
        yield portal


@pytest.fixture
def echo(portal: Echo) -> Iterator[Echo]:
    portal.added.clear()
    yield portal
    portal.sandbox.faults.clear()
    portal.sandbox.events.unsubscribe()


def titles(echo: Echo) -> list[str]:
    return [one["title"] for one in echo.added]


def add(echo: Echo, title: str = "x") -> requests.Response:
    return echo.post("t.add", {"title": title})


def add_three(echo: Echo) -> requests.Response:
    return echo.post("batch", {"cmd": {f"k{number}": f"t.add?title={number}" for number in range(3)}})


# --- a single call -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "ran"), [("cut_before", 0), ("cut_after", 1), ("half_answer", 1)])
def test_a_cut_connection_says_nothing_of_what_ran(echo: Echo, kind: str, ran: int) -> None:
    echo.sandbox.faults.next(kind, "t.add")
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        add(echo)
    assert len(echo.added) == ran
    assert add(echo).status_code == 200
    assert echo.sandbox.log[-2].status == 0
    assert echo.sandbox.log[-2].fault == kind


@pytest.mark.parametrize("status", [500, 502, 504])
@pytest.mark.parametrize("effect", [False, True])
def test_a_page_of_the_frontend_comes_with_or_without_effect(echo: Echo, status: int, effect: bool) -> None:
    echo.sandbox.faults.next(f"page_{status}", "t.add", effect=effect)
    answer = add(echo)
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "text/html")
    assert b"<html>" in answer.content
    assert len(echo.added) == effect


def test_broken_json_arrives_whole_and_is_half(echo: Echo) -> None:
    echo.sandbox.faults.next("broken_json")
    answer = add(echo)
    assert answer.status_code == 200
    with pytest.raises(requests.JSONDecodeError):
        answer.json()
    assert len(echo.added) == 1


@pytest.mark.parametrize(("more", "finish"), [({"value": "noon"}, "noon"), ({"seconds": 86400.0}, None)])
def test_an_answer_tells_another_time_than_it_is(echo: Echo, more: dict[str, Any], finish: str | None) -> None:
    right = add(echo).json()["time"]["finish"]
    echo.sandbox.faults.next("odd_time", **more)
    told = add(echo).json()["time"]["finish"]
    assert told == finish if finish else told - right == pytest.approx(86400.0, abs=60.0)
    assert add(echo).json()["time"]["finish"] == pytest.approx(right, abs=60.0)


def test_faults_of_a_kind_are_taken_back_and_others_stay(echo: Echo) -> None:
    echo.sandbox.faults.next("garbage", "t.add")
    echo.sandbox.faults.next("internal", "t.add")
    echo.sandbox.faults.clear("garbage")
    assert add(echo).json()["error"] == "INTERNAL_SERVER_ERROR"


@pytest.mark.parametrize("kind", sorted(ERRORS))
def test_an_error_of_the_portal_on_order(echo: Echo, kind: str) -> None:
    echo.sandbox.faults.next(kind, "t.add")
    answer = add(echo)
    assert (answer.json()["error"], answer.status_code) == (ERRORS[kind][0], ERRORS[kind][2])
    assert echo.added == []
    assert add(echo).status_code == 200


def test_any_error_may_be_worded(echo: Echo) -> None:
    echo.sandbox.faults.next("refuse", "t.add", code="0", text="No<br>", status=400, effect=True)
    answer = add(echo)
    assert answer.json() == {"error": "0", "error_description": "No<br>"}
    assert len(echo.added) == 1


def test_errors_are_objects_in_rest_3_but_for_the_frontends_own(echo: Echo) -> None:
    echo.sandbox.faults.next("no_rest", "t.*")
    assert echo.v3("t.add").json()["error"]["code"] == "BITRIX_REST_V3_EXCEPTION_ACCESSDENIEDEXCEPTION"
    echo.sandbox.faults.next("overload", "t.*")
    assert echo.v3("t.add").json()["error"] == "OVERLOAD_LIMIT"


def test_an_empty_result_hides_what_was_made(echo: Echo) -> None:
    echo.sandbox.faults.next("empty_result", "t.add")
    answer = add(echo)
    assert (answer.status_code, answer.json()["result"]) == (200, [])
    assert len(echo.added) == 1


def test_a_moved_portal_redirects(echo: Echo) -> None:
    echo.sandbox.faults.next("moved", location="https://new.example/rest/1/code/t.add")
    answer = add(echo)
    assert (answer.status_code, answer.headers["Location"]) == (302, "https://new.example/rest/1/code/t.add")
    assert echo.added == []


@pytest.mark.parametrize(("kind", "ran"), [("hang", 0), ("late_answer", 1)])
def test_a_hanging_answer_ends_when_the_client_gives_up(echo: Echo, kind: str, ran: int) -> None:
    echo.sandbox.faults.next(kind, "t.add")
    with pytest.raises(requests.ReadTimeout):
        echo.session.post(echo.sandbox.url + "t.add", json={}, timeout=(60, 0.05))
    until(lambda: len(echo.added) == ran)


def test_a_late_answer_arrives_at_a_patient_client(echo: Echo) -> None:
    echo.sandbox.faults.next("late_answer", "t.add", hold=0.02)
    assert add(echo).json()["result"]["task"]["id"] == "1"


def test_a_late_run_commits_though_the_client_has_gone(echo: Echo) -> None:
    ran = threading.Event()
    echo.sandbox.faults.next("late_run", "t.add")
    echo.sandbox.events.subscribe("http://127.0.0.1:9/", "token", ["ONTASKADD"])
    old, echo.sandbox.state.emit = echo.sandbox.state.emit, lambda event, data: ran.set()
    with pytest.raises(requests.ReadTimeout):
        echo.session.post(echo.sandbox.url + "t.add", json={"title": "late"}, timeout=(60, 0.05))
    assert ran.wait(60)
    echo.sandbox.state.emit = old
    assert titles(echo) == ["late"]


def test_a_late_commit_happens_by_the_portals_clock(echo: Echo) -> None:
    echo.sandbox.faults.next("late_commit", "t.add", seconds=40, hold=0.0)
    with pytest.raises(requests.ConnectionError):
        add(echo, "late")
    echo.post("t.echo")
    assert echo.added == []
    echo.sandbox.clock.advance(40)
    echo.post("t.echo")
    assert titles(echo) == ["late"]


# --- inside a batch ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", range(4))
def test_a_batch_is_cut_after_its_first_commands(echo: Echo, after: int) -> None:
    echo.sandbox.faults.next("batch_cut", "batch", after=after)
    with pytest.raises(requests.ConnectionError):
        add_three(echo)
    assert titles(echo) == [str(number) for number in range(after)]


@pytest.mark.parametrize(
    ("kind", "more", "ran"),
    [
        ("cut_before", {}, ["0"]),
        ("cut_after", {}, ["0", "1"]),
        ("page_502", {}, ["0"]),
        ("page_502", {"effect": True}, ["0", "1"]),
        ("hang", {"hold": 0.0}, ["0"]),
        ("half_answer", {}, ["0", "1", "2"]),
        ("broken_json", {}, ["0", "1", "2"]),
    ],
)
def test_a_fault_finds_its_method_inside_a_batch(echo: Echo, kind: str, more: dict[str, Any], ran: list[str]) -> None:
    echo.sandbox.faults.next(kind, "t.add", skip=1, **more)
    try:
        assert not add_three(echo).headers["Content-Type"].startswith("application/json") or kind == "broken_json"
    except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
        assert not kind.startswith("page")
    assert titles(echo) == ran
    assert echo.sandbox.log[-1].fault == kind


@pytest.mark.parametrize("kind", ["refuse", "operation_limit", "scope_lost"])
def test_one_command_of_a_batch_is_refused_and_others_run(echo: Echo, kind: str) -> None:
    echo.sandbox.faults.next(kind, "t.add", skip=1)
    maps = add_three(echo).json()["result"]
    assert set(maps["result"]) == {"k0", "k2"}
    assert maps["result_error"]["k1"]["error"] == ERRORS[kind][0]


def test_a_command_of_a_batch_is_struck_by_its_place(echo: Echo) -> None:
    echo.sandbox.faults.next("refuse", "batch", item=2, code="ACCESS_DENIED")
    maps = add_three(echo).json()["result"]
    assert set(maps["result"]) == {"k0", "k1"}
    assert maps["result_error"]["k2"]["error"] == "ACCESS_DENIED"


def test_one_command_of_a_batch_answers_empty_though_it_ran(echo: Echo) -> None:
    echo.sandbox.faults.next("empty_result", "t.add", times=2)
    maps = add_three(echo).json()["result"]
    assert (maps["result"]["k0"], maps["result"]["k1"]) == ([], [])
    assert maps["result"]["k2"]["task"]["id"] == "3"


def test_a_whole_batch_is_refused_by_its_own_name(echo: Echo) -> None:
    echo.sandbox.faults.next("too_many", "batch")
    assert add_three(echo).status_code == 503
    assert echo.added == []


def test_the_rest_of_a_batch_commits_late(echo: Echo) -> None:
    echo.sandbox.faults.next("late_commit", "t.add", skip=1, seconds=55, hold=0.0)
    with pytest.raises(requests.ConnectionError):
        add_three(echo)
    assert titles(echo) == ["0"]
    echo.sandbox.clock.advance(54)
    echo.post("t.echo")
    assert titles(echo) == ["0"]
    echo.sandbox.clock.advance(1)
    echo.post("t.echo")
    assert titles(echo) == ["0", "1", "2"]


def test_a_fault_inside_a_late_batch_strikes_late(echo: Echo) -> None:
    echo.sandbox.faults.next("late_run", "batch", hold=0.05)
    echo.sandbox.faults.next("cut_after", "t.add")
    with pytest.raises(requests.ConnectionError):
        add_three(echo)
    assert titles(echo) == ["0"]


def test_a_late_batch_answers_whole(echo: Echo) -> None:
    echo.sandbox.faults.next("late_run", "t.add", skip=1, hold=0.01)
    assert set(add_three(echo).json()["result"]["result"]) == {"k0", "k1", "k2"}
    assert titles(echo) == ["0", "1", "2"]


def test_calls_of_rest_3_are_struck_by_the_same_name(echo: Echo) -> None:
    echo.sandbox.faults.next("cut_after", "t.add", skip=1)
    with pytest.raises(requests.ConnectionError):
        echo.v3("batch", [{"method": "t.add"}] * 3)
    assert len(echo.added) == 2
    echo.sandbox.faults.next("batch_cut", "batch", after=1)
    with pytest.raises(requests.ConnectionError):
        echo.v3("batch", [{"method": "t.add"}] * 3)
    assert len(echo.added) == 3
    echo.sandbox.faults.next("late_run", "t.add", skip=2, hold=0.01)
    assert len(echo.v3("batch", [{"method": "t.add"}] * 4).json()["result"]) == 4
    assert len(echo.added) == 7


# --- orders ------------------------------------------------------------------------------------------------------


def test_an_order_counts_its_calls_and_names_by_pattern(echo: Echo) -> None:
    faults = echo.sandbox.faults
    faults.next("page_502", ["t.a*", "t.list"], times=2, skip=1)
    statuses = [echo.post(name).status_code for name in ("t.add", "t.echo", "t.list", "T.ADD", "t.add")]
    assert statuses == [200, 200, 502, 502, 200]
    assert faults.waiting() == 0


def test_a_star_means_requests_and_not_commands_of_batches(echo: Echo) -> None:
    echo.sandbox.faults.next("cut_after")
    with pytest.raises(requests.ConnectionError):
        add_three(echo)
    assert len(echo.added) == 3


def test_an_order_without_end_lasts_until_it_is_taken_back(echo: Echo) -> None:
    echo.sandbox.faults.next("no_rest", times=None)
    assert [add(echo).status_code for _ in range(3)] == [403] * 3
    echo.sandbox.faults.clear()
    assert add(echo).status_code == 200


def outcomes(seed: int) -> list[str]:
    """What 60 calls and batches meet under a seed."""
    kinds = ("cut_after", "page_502+", "page_504", "batch_cut", "refuse", "empty_result")
    seen = []
    with echo_portal(rate=None, operating_limit=None) as echo:
        echo.sandbox.faults.at_random(dict.fromkeys(kinds, 0.1), seed=seed)
        for number in range(60):
            before = len(echo.added)
            try:
                answer = add_three(echo) if number % 2 else add(echo)
                seen.append(f"{answer.status_code} {len(answer.content)} {len(echo.added) - before}")
            except requests.ConnectionError:
                seen.append(f"cut {len(echo.added) - before}")
        assert sum(echo.sandbox.faults.counts().values()) > 20
    return seen


def test_a_seed_replays_its_faults() -> None:
    first = outcomes(7)
    assert outcomes(7) == first
    assert outcomes(8) != first
    assert {"cut 0", "cut 1", "cut 2", "cut 3"} <= set(first)


def test_every_kind_is_described_and_unknown_ones_are_refused() -> None:
    for kind in KINDS:
        assert Fault(kind).kind == kind
    with pytest.raises(ValueError, match="no fault 'earthquake', only auth_lost"):
        Fault("earthquake")
    with pytest.raises(ValueError, match="says by itself"):
        Fault("cut_after", effect=True)


def test_chances_above_one_are_refused(echo: Echo) -> None:
    with pytest.raises(ValueError, match="more than 1"):
        echo.sandbox.faults.at_random({"hang": 0.6, "cut_after": 0.6}, seed=1)


# --- work that comes late ----------------------------------------------------------------------------------------


def test_an_agenda_runs_its_jobs_when_the_clock_has_come_to_them() -> None:
    clock = Clock()
    clock.freeze(BEGINNING)
    agenda, ran = Agenda(clock, "test"), []
    agenda.add(lambda: ran.append("late"), after=60)
    agenda.add(lambda: ran.append("now"))
    assert agenda.settle(60)
    assert (ran, agenda.waiting()) == (["now"], 1)
    clock.advance(60)
    assert agenda.settle(60)
    assert ran == ["now", "late"]
    agenda.add(lambda: ran.append("never"), after=1)
    agenda.close()
    clock.advance(1)
    assert ran == ["now", "late"]


def test_an_agenda_of_a_running_clock_wakes_by_itself() -> None:
    clock, done = Clock(), threading.Event()
    agenda = Agenda(clock, "test")
    agenda.add(lambda: None, after=3600)
    agenda.add(done.set, after=0.02)
    assert done.wait(60)
    agenda.close()


# --- events ------------------------------------------------------------------------------------------------------


class Handler:
    """An event handler of somebody: remembers what it was sent."""

    def __init__(self) -> None:
        self.seen: list[dict[str, str]] = []
        self.types: list[str] = []
        self.status = 200
        outer = self

        class Http(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                outer.seen.append(dict(parse_qsl(body, keep_blank_values=True)))
                outer.types.append(self.headers["Content-Type"])
                self.send_response(outer.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Http)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/webhooks/bitrix24?x=1"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    @property
    def events(self) -> list[str]:
        return [one["event"] for one in self.seen]

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def handler() -> Iterator[Handler]:
    handler = Handler()
    yield handler
    handler.close()


@pytest.fixture
def sales() -> Iterator[Echo]:
    """A portal of its own with two funnels."""
    with echo_portal(rate=None) as echo:
        yield echo


def deal(echo: Echo) -> int:
    state = echo.sandbox.state
    for funnel in (0, 1):
        state.add_funnel(f"Воронка {funnel}", funnel_id=funnel)
        state.add_stage("NEW", "Новая", funnel=funnel)
        state.add_stage("PREPARATION", "В работе", funnel=funnel)
    return state.add_deal("Ромашка", responsible=5)


def test_an_event_is_a_form_with_token_and_an_id_and_no_more(echo: Echo, handler: Handler) -> None:
    made = echo.sandbox.events.subscribe(handler.url, "s3cret", ["oncrmdealupdate"])
    echo.sandbox.events.put("ONCRMDEALUPDATE", {"FIELDS": {"ID": 7405}})
    assert echo.sandbox.settle()
    (seen,) = handler.seen
    assert seen == {
        "event": "ONCRMDEALUPDATE",
        "event_handler_id": str(made.id),
        "data[FIELDS][ID]": "7405",
        "ts": str(int(echo.sandbox.clock.timestamp())),
        "auth[domain]": echo.sandbox.host,
        "auth[client_endpoint]": f"http://{echo.sandbox.host}/rest/",
        "auth[server_endpoint]": "https://oauth.bitrix.info/rest/",
        "auth[member_id]": "d897063e1ce7c5eb9f04b9751eef5915",
        "auth[application_token]": "s3cret",
    }
    assert handler.types == ["application/x-www-form-urlencoded"]
    assert "data%5BFIELDS%5D%5BID%5D=7405" in echo.sandbox.events.sent[-1].body


def test_only_what_was_subscribed_is_sent(echo: Echo, handler: Handler) -> None:
    events = echo.sandbox.events
    events.put("ONTASKADD", {})
    events.subscribe(handler.url, "t", ["ONTASKADD"])
    events.put("ONTASKUPDATE", {})
    events.put("ONTASKADD", {"FIELDS_BEFORE": "undefined", "FIELDS_AFTER": {"ID": 5}})
    assert echo.sandbox.settle()
    assert [(one["event"], one["data[FIELDS_BEFORE]"], one["data[FIELDS_AFTER][ID]"]) for one in handler.seen] == [
        ("ONTASKADD", "undefined", "5")
    ]
    with pytest.raises(ValueError, match="ONCRMDEALMOVETOCATEGORY"):
        events.subscribe(handler.url, "t", ["ONCRMDEALMOVETOCATEGORY"])


def test_a_deal_that_changes_its_funnel_is_not_told(sales: Echo, handler: Handler) -> None:
    number = deal(sales)
    sales.sandbox.events.subscribe(handler.url, "t")
    state = sales.sandbox.state
    first, second = (state.stages_of(funnel) for funnel in (0, 1))
    state.move_deal(number, first[1].id)
    state.move_deal(number, second[0].id)
    state.move_deal(number, second[1].id)
    assert sales.sandbox.settle()
    assert handler.events == ["ONCRMDEALUPDATE"] * 2


def test_a_handler_that_fails_gets_the_event_no_second_time(echo: Echo, handler: Handler) -> None:
    handler.status = 500
    echo.sandbox.events.subscribe(handler.url, "t", ["ONTASKADD"])
    add(echo)
    assert echo.sandbox.settle()
    assert (len(handler.seen), echo.sandbox.events.sent[-1].status) == (1, 500)
    echo.sandbox.events.subscribe("http://127.0.0.1:9/", "t", ["ONTASKUPDATE"])
    echo.sandbox.events.put("ONTASKUPDATE", {})
    assert echo.sandbox.settle()
    assert echo.sandbox.events.sent[-1].status == 0


def test_slow_handlers_are_called_less_often_until_they_are_quick_again(sales: Echo, handler: Handler) -> None:
    events = sales.sandbox.events
    events.subscribe(handler.url, "t", ["ONTASKADD"])
    intervals = []
    for slow_after in (1e-5, 1e-5, 1e-5, 60.0, 60.0):
        events.weather.slow_after = slow_after
        add(sales)
        assert sales.sandbox.settle()
        intervals.append(events.interval)
    assert 0 < intervals[0] < intervals[1] < intervals[2]
    assert intervals[4] == 0
    assert len(handler.seen) == 5


def test_equal_events_of_one_request_are_sent_once_and_our_own_writes_may_be_left_out(
    echo: Echo, handler: Handler
) -> None:
    events = echo.sandbox.events
    events.subscribe(handler.url, "t", ["ONTASKADD"])
    with events.hit():
        events.put("ONTASKADD", {"a": 1})
        events.put("ONTASKADD", {"a": 1})
        events.put("ONTASKADD", {"a": 2})
        assert events.waiting() == 0
    add_three(echo)
    assert echo.sandbox.settle()
    assert len(handler.seen) == 5
    events.weather.turn({"own_writes": False})
    add_three(echo)
    assert echo.sandbox.settle()
    assert len(handler.seen) == 5
    events.weather.turn({"own_writes": True})


def test_events_are_lost_doubled_delayed_and_overtaken_by_seed(echo: Echo, handler: Handler) -> None:
    events, clock = echo.sandbox.events, echo.sandbox.clock
    events.subscribe(handler.url, "t", ["ONTASKADD"])

    def sent(seed: int, **weather: Any) -> list[str]:
        handler.seen.clear()
        events.seed(seed)
        events.weather.turn(weather)
        for number in range(12):
            events.put("ONTASKADD", {"N": number})
            clock.advance(1)
        assert echo.sandbox.settle()
        clock.advance(1000)
        assert echo.sandbox.settle()
        events.weather.turn(dict.fromkeys(weather, 0.0) | ({"delay": (0.0, 0.0)} if "delay" in weather else {}))
        return [one["data[N]"] for one in handler.seen]

    everything = [str(number) for number in range(12)]
    lost = sent(3, drop=0.4)
    assert 2 < len(lost) < 12
    assert sent(3, drop=0.4) == lost
    doubled = sent(3, duplicate=0.4)
    assert len(doubled) > 12
    assert sorted(set(doubled), key=int) == everything
    overtaken = sent(3, reorder=0.4, reorder_seconds=3.0)
    assert overtaken != everything
    assert sorted(overtaken, key=int) == everything
    assert sorted(sent(3, delay=(5, 50)), key=int) == everything


# --- control -----------------------------------------------------------------------------------------------------


def control(echo: Echo, verb: str, name: str, given: Any = None) -> Any:
    answer = echo.session.request(verb, f"http://{echo.sandbox.host}/sandbox/{name}", json=given, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()["result"]


def test_other_processes_turn_the_clock(sales: Echo) -> None:
    assert control(sales, "GET", "clock") == {"now": "2026-03-02T10:00:00+03:00", "frozen": True}
    assert control(sales, "POST", "clock", {"advance": 90})["now"] == "2026-03-02T10:01:30+03:00"
    moved = control(sales, "POST", "clock", {"set": "2026-03-03T09:00:00+03:00", "freeze": True})
    assert moved["now"] == "2026-03-03T09:00:00+03:00"
    assert control(sales, "POST", "clock", {"run": True})["frozen"] is False


def test_other_processes_order_faults(sales: Echo) -> None:
    control(sales, "POST", "faults", {"kind": "page_502", "method": "t.add"})
    control(sales, "POST", "faults", {"chances": {"refuse": 1.0}, "seed": 1, "method": "t.echo", "code": "X"})
    assert add(sales).status_code == 502
    assert sales.post("t.echo").json()["error"] == "X"
    seen = control(sales, "GET", "faults")
    assert seen["waiting"] == 1
    assert [one["kind"] for one in seen["struck"]] == ["page_502", "refuse"]
    control(sales, "DELETE", "faults")
    assert sales.post("t.echo").status_code == 200


def test_other_processes_act_as_people_and_look_at_what_there_is(sales: Echo) -> None:
    number = deal(sales)
    task = control(
        sales, "POST", "act", {"do": "add_task", "with": {"title": "Звонок", "responsible": 5, "deals": [number]}}
    )
    control(sales, "POST", "act", {"do": "complete_task", "with": {"task_id": task, "by": 5}})
    (found,) = control(sales, "GET", f"tasks?id={task}")
    assert (found["title"], found["status"], found["created"]) == ("Звонок", 5, "2026-03-02T07:00:00+00:00")
    assert [one["id"] for one in control(sales, "GET", "deals")] == [number]
    assert len(control(sales, "GET", "history")) == 1
    assert control(sales, "GET", "messages") == control(sales, "GET", "notices") == []


def test_other_processes_take_the_webhook_away_and_give_it_back(sales: Echo) -> None:
    webhook = {"user_id": 1, "code": CODE}
    control(sales, "POST", "act", {"do": "revoke_webhook", "with": webhook})
    assert sales.post("t.echo").status_code == 401
    control(sales, "POST", "act", {"do": "add_webhook", "with": {"user_id": 1, "code": "new", "scopes": ["task"]}})
    renewed = sales.sandbox.url_of(1, "new")
    assert sales.session.post(f"{renewed}t.add", json={}, timeout=60).status_code == 200
    control(sales, "POST", "act", {"do": "restore_webhook", "with": webhook})
    assert sales.post("t.add").status_code == 200
    control(sales, "POST", "act", {"do": "set_scopes", "with": {**webhook, "scopes": ["crm"]}})
    assert sales.post("t.add").status_code == 403


def test_other_processes_make_a_template_and_leave_a_deal_to_nobody(sales: Echo) -> None:
    control(sales, "POST", "act", {"do": "set_responsible", "with": {"deal_id": deal(sales), "user_id": 0}})
    control(sales, "POST", "act", {"do": "add_deal", "with": {"title": "Каждый месяц", "recurring": True}})
    rows = sales.post("crm.item.list", {"entityTypeId": 2}).json()["result"]["items"]
    assert [(row["isRecurring"], row["assignedById"]) for row in rows] == [("N", 0), ("Y", 1)]


def test_other_processes_subscribe_to_events(sales: Echo, handler: Handler) -> None:
    made = control(sales, "POST", "events", {"url": handler.url, "token": "t", "events": ["ONTASKADD"]})
    control(sales, "POST", "weather", {"duplicate": 1.0, "seed": 5})
    add(sales)
    assert sales.sandbox.settle()
    assert handler.events == ["ONTASKADD"] * 2
    assert [one["status"] for one in control(sales, "GET", "events")["sent"]] == [200, 200]
    assert made["token"] == "t"
    control(sales, "DELETE", "events")
    assert control(sales, "GET", "events")["subscriptions"] == []


def test_other_processes_set_limits_and_switches(sales: Echo) -> None:
    control(sales, "POST", "limits", {"rate": [2, 3], "costs": {"t.list": 9}, "fill": 2})
    assert sales.post("t.list").json()["time"]["operating"] == 9
    assert sales.post("t.list").status_code == 503
    control(sales, "POST", "limits", {"rate": None, "operating_limit": 1})
    assert sales.post("t.list").status_code == 429
    control(sales, "POST", "switches", {"history_as_strings": True, "auth_status": 403, "latency": 0})
    assert sales.sandbox.state.switches.history_as_strings
    assert sales.sandbox.shapes.auth_status == 403
    control(sales, "POST", "limits", {"operating_limit": None, "longest": 8})
    assert sales.post("t.list").status_code == 504
    control(sales, "POST", "switches", {"new_name": "localhost:1"})
    assert sales.post("t.echo").status_code == 302


def test_statistics_tell_what_happened_and_control_itself_is_not_counted(sales: Echo) -> None:
    add_three(sales)
    sales.sandbox.limits.rate = (2, 1)
    add(sales)
    add(sales)
    stats = control(sales, "GET", "stats")
    assert stats["requests"] == 3
    assert stats["requests_by_method"] == {"batch": 1, "t.add": 2}
    assert stats["calls"] == {"t.add": 4}
    assert stats["refusals"] == {"QUERY_LIMIT_EXCEEDED": 1}
    assert stats["high_water"] == 1
    assert (stats["deals"], stats["tasks"], stats["crashes"]) == (0, 0, [])
    assert [one["method"] for one in control(sales, "GET", "log?last=2")] == ["t.add", "t.add"]


@pytest.mark.parametrize(
    ("verb", "name", "given"),
    [
        ("POST", "act", {"do": "explode"}),
        ("POST", "act", {"do": "_bind"}),
        ("POST", "act", {"do": "touch"}),
        ("POST", "act", {"do": "move_deal", "with": {"deal_id": 1}}),
        ("POST", "act", {"do": "complete_task", "with": {"task_id": 99, "by": 1}}),
        ("POST", "faults", {"kind": "earthquake"}),
        ("POST", "clock", {"set": "yesterday"}),
        ("POST", "limits", {"rat": 1}),
        ("POST", "switches", {"no_such": 1}),
        ("POST", "weather", {"rain": 1}),
        ("GET", "tasks?id=99", None),
    ],
)
def test_what_control_cannot_do_it_says(echo: Echo, verb: str, name: str, given: Any) -> None:
    answer = echo.session.request(verb, f"http://{echo.sandbox.host}/sandbox/{name}", json=given, timeout=60)
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_only_this_machine_controls(echo: Echo) -> None:
    answer = Control(echo.sandbox).answer(Request("GET", "/sandbox/stats", client="10.0.0.7"))
    assert answer.status == 403


def test_control_has_no_other_addresses(echo: Echo) -> None:
    answer = echo.session.get(f"http://{echo.sandbox.host}/sandbox/secrets", timeout=60)
    assert answer.status_code == 404
    assert CODE not in answer.text


# --- the list of all of it ---------------------------------------------------------------------------------------


def test_the_documentation_lists_everything_that_can_go_wrong() -> None:
    found = re.findall(r"`(fault|switch|weather|limit|act|clock) (\w+)`", document("docs/sandbox.md"))
    told = {way: {name for by, name in found if by == way} for way, _ in found}
    assert told["fault"] == set(KINDS)
    assert told["switch"] == {*Switches.__slots__, *Shapes.__slots__, "latency", "new_name"}
    assert told["weather"] == set(Weather.__slots__)
    assert told["limit"] == {*LIMITS, "fill"}
    assert [verb for verb in told["act"] if not inspect.isfunction(getattr(PortalState, verb, None))] == []
