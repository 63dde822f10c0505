"""The sandbox portal speaks as the documented one: addresses, forms, envelopes, errors, limits, REST 3.0."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from bitrix_sandbox import Sandbox, serve
from bitrix_sandbox.http.limits import Limits
from bitrix_sandbox.http.wire import parse_form
from bitrix_sandbox.state.clock import Clock
from bitrix_sandbox.state.errors import RestError
from bitrix_sandbox.state.portal import PortalState
from tests.world.echo import BEGINNING, CODE, Echo, echo_portal

CAPTURED = Path(__file__).parent / "samples" / "portal"


@pytest.fixture
def echo() -> Iterator[Echo]:
    with echo_portal(rate=None) as portal:
        yield portal


# --- how parameters are read -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=1&b=x+y%2Fz", {"a": "1", "b": "x y/z"}),
        ("filter[ID][]=1&filter[ID][]=2", {"filter": {"ID": ["1", "2"]}}),
        ("f[AUDITORS][0]=5&f[AUDITORS][1]=6", {"f": {"AUDITORS": ["5", "6"]}}),
        ("f[3]=x&f[]=y", {"f": {"3": "x", "4": "y"}}),
        ("f[1]=b&f[0]=a", {"f": {"1": "b", "0": "a"}}),
        ("a=1&a=2", {"a": "2"}),
        ("a=1&a[b]=2", {"a": {"b": "2"}}),
        ("a[b][c]=1&a[b][d]=2", {"a": {"b": {"c": "1", "d": "2"}}}),
        ("fields[AUDITORS]=", {"fields": {"AUDITORS": ""}}),
        ("filter[%3E%3DDEADLINE]=2026-03-02", {"filter": {">=DEADLINE": "2026-03-02"}}),
        ("flag&empty=", {"flag": "", "empty": ""}),
        ("user.name=1&a b=2", {"user_name": "1", "a_b": "2"}),
        ("a[b=1", {"a_b": "1"}),
        ("a[b]c=1", {"a": {"b": "1"}}),
        ("=1&&[x]=2", []),
        ("cmd%5B0%5D=m%3Fa%5B%5D%3D1%252B1", {"cmd": ["m?a[]=1%2B1"]}),
    ],
)
def test_forms_are_read_as_php_reads_them(text: str, value: Any) -> None:
    assert parse_form(text) == value


def test_a_method_is_called_by_get_by_form_by_multipart_and_by_json(echo: Echo) -> None:
    url = echo.sandbox.url + "t.echo"
    wanted = {"filter": {"ID": ["1", "2"]}, "title": "Счёт"}
    pairs = [("filter[ID][]", "1"), ("filter[ID][]", "2"), ("title", "Счёт")]
    assert echo.session.get(url, params=pairs, timeout=60).json()["result"] == wanted
    assert echo.session.post(url, data=pairs, timeout=60).json()["result"] == wanted
    parts = [(name, (None, value)) for name, value in pairs]
    assert echo.session.post(url, files=parts, timeout=60).json()["result"] == wanted
    assert echo.post("t.echo", wanted).json()["result"] == wanted


def test_json_keeps_types_and_form_does_not(echo: Echo) -> None:
    given = {"a": None, "b": [], "c": True, "d": 1.5, "e": {"f": 1}}
    assert echo.post("t.echo", given).json()["result"] == given


def test_body_overrides_query_of_the_same_name(echo: Echo) -> None:
    answer = echo.post("t.echo?a=query&b=query", {"a": "body"})
    assert answer.json()["result"] == {"a": "body", "b": "query"}


@pytest.mark.parametrize("media", ["application/json; charset=utf-8", "Application/JSON"])
def test_json_is_known_by_its_content_type_before_the_semicolon(echo: Echo, media: str) -> None:
    answer = echo.session.post(
        echo.sandbox.url + "t.echo", data=b'{"a":1}', headers={"Content-Type": media}, timeout=60
    )
    assert answer.json()["result"] == {"a": 1}


@pytest.mark.parametrize(
    ("media", "body"),
    [("application/json", b'{"a":'), ("application/json", b'"text"'), ("text/json", b'{"a":1}'), ("", b'{"a":1}')],
)
def test_malformed_json_or_json_by_another_name_is_an_empty_set_of_parameters(
    echo: Echo, media: str, body: bytes
) -> None:
    answer = echo.session.post(echo.sandbox.url + "t.echo", data=body, headers={"Content-Type": media}, timeout=60)
    assert (answer.status_code, answer.json()["result"]) == (200, {})


def test_names_of_methods_know_no_case_and_may_end_in_json(echo: Echo) -> None:
    assert echo.post("T.Echo.json", {"a": 1}).json()["result"] == {"a": 1}


# --- the envelope ------------------------------------------------------------------------------------------------


def test_an_answer_is_ascii_with_escaped_slashes(echo: Echo) -> None:
    answer = echo.post("t.list")
    assert rb'"NAME":"a\/\u0431"' in answer.content
    assert answer.content.isascii()


def test_total_and_next_come_only_with_lists(echo: Echo) -> None:
    listed, single = echo.post("t.list").json(), echo.post("t.echo").json()
    assert (listed["total"], listed["next"]) == (120, 50)
    assert set(single) == {"result", "time"}


def test_time_tells_the_portals_clock_in_the_servers_zone(echo: Echo) -> None:
    block = echo.post("t.list").json()["time"]
    moment = BEGINNING.timestamp()
    assert block["start"] == block["finish"] == moment
    assert block["date_start"] == block["date_finish"] == "2026-03-02T10:00:00+03:00"
    assert block["operating"] == 2.0
    assert block["operating_reset_at"] == moment + 600


def test_old_portals_tell_no_operating_time_and_new_kernels_whole_seconds(echo: Echo) -> None:
    echo.sandbox.shapes.turn({"operating": False, "whole_seconds": True})
    block = echo.post("t.echo").json()["time"]
    assert not block.keys() & {"operating", "operating_reset_at"}
    assert type(block["start"]) is int
    echo.sandbox.shapes.time = False
    assert set(echo.post("t.echo").json()) == {"result"}
    with pytest.raises(KeyError):
        echo.sandbox.shapes.turn({"operatng": False})


def shape(value: Any, depth: int = 2) -> Any:
    """Keys and kinds of an answer, as deep as it matters for the envelope; numbers are one kind."""
    if isinstance(value, dict):
        return {key: shape(one, depth - 1) for key, one in value.items()} if depth else "map"
    if isinstance(value, list):
        return "list" if value else "empty list"
    return "number" if isinstance(value, int | float) else type(value).__name__


def test_envelope_has_the_shape_of_a_captured_list(echo: Echo) -> None:
    """crm.item.list of a portal in May 2024; three items, so there was no next page."""
    echo.sandbox.shapes.operating = False
    captured = {
        "total": 3,
        "time": {
            "start": 1716807327.463936,
            "finish": 1716807327.524198,
            "duration": 0.06026196479797363,
            "processing": 0.030804872512817383,
            "date_start": "2024-05-27T13:55:27+03:00",
            "date_finish": "2024-05-27T13:55:27+03:00",
        },
    }
    ours = echo.post("t.list").json()
    del ours["next"], ours["result"]
    assert shape(ours) == shape(captured)


def test_empty_batch_has_the_shape_of_a_captured_one(echo: Echo) -> None:
    captured = json.loads((CAPTURED / "batch_list_empty.json").read_text(encoding="utf-8"))
    ours = echo.post("batch", {"cmd": {"order0000000000": "t.get"}}).json()
    del captured["result"]["result_total"], ours["result"]["result_total"]  # no total: t.get is no list
    block = ours["result"]["result_time"]["order0000000000"]
    assert block.pop("operating_reset_at") == ours["time"].pop("operating_reset_at")
    assert shape(ours, 4) == shape(captured, 4)


def test_batch_of_two_errors_has_the_shape_of_a_captured_one(echo: Echo) -> None:
    captured = json.loads((CAPTURED / "batch_of_two_errors.json").read_text(encoding="utf-8"))
    ours = echo.post("batch", {"cmd": ["t.fail", "t.fail"]}).json()
    assert ours["result"] | {"result_error": 0} == captured["result"] | {"result_error": 0}
    assert [set(one) for one in ours["result"]["result_error"]] == [{"error", "error_description"}] * 2


# --- errors ------------------------------------------------------------------------------------------------------


def error(answer: requests.Response) -> tuple[int, str]:
    body = answer.json()
    assert set(body) == {"error", "error_description"}
    return answer.status_code, body["error"]


def test_an_error_is_a_string_with_a_description(echo: Echo) -> None:
    answer = echo.post("t.fail")
    assert answer.json() == {"error": "", "error_description": "Not found"}
    assert answer.status_code == 400


def test_an_unknown_method_is_404(echo: Echo) -> None:
    assert error(echo.post("no.such")) == (404, "ERROR_METHOD_NOT_FOUND")
    assert error(echo.post("v3:t.add")) == (404, "ERROR_METHOD_NOT_FOUND")
    assert error(echo.post("")) == (404, "ERROR_METHOD_NOT_FOUND")


def test_a_method_outside_the_scopes_is_refused(echo: Echo) -> None:
    assert error(echo.post("t.secret")) == (403, "insufficient_scope")
    echo.sandbox.state.set_scopes(1, CODE, {"calendar"})
    assert echo.post("t.secret").json()["result"] is True
    assert error(echo.post("t.add")) == (403, "insufficient_scope")


def test_a_webhook_that_is_not_there_or_dead_has_no_authorisation(echo: Echo) -> None:
    sandbox = echo.sandbox
    for address in ("1/wrong", f"2/{CODE}", "x/y"):
        assert error(echo.session.post(f"http://{sandbox.host}/rest/{address}/t.echo", timeout=60)) == (
            401,
            "NO_AUTH_FOUND",
        )
    sandbox.state.webhooks[1, CODE].alive = False
    assert error(echo.post("t.echo")) == (401, "NO_AUTH_FOUND")


@pytest.mark.parametrize("status", [401, 403])
def test_status_of_authorisation_errors_is_a_switch(echo: Echo, status: int) -> None:
    echo.sandbox.shapes.turn({"auth_status": status, "auth_code": "INVALID_CREDENTIALS"})
    assert error(echo.post("t.secret")) == (status, "insufficient_scope")
    echo.sandbox.state.webhooks[1, CODE].alive = False
    assert error(echo.post("t.echo")) == (status, "INVALID_CREDENTIALS")


def test_a_dismissed_owner_cannot_be_authorised_but_a_hidden_one_can(echo: Echo) -> None:
    echo.sandbox.state.fire(1)
    assert error(echo.post("t.echo")) == (401, "authorization_error")
    echo.sandbox.state.delete_user(1)
    assert echo.post("t.echo").status_code == 200


def test_a_token_of_an_application_may_come_in_query_or_body(echo: Echo) -> None:
    echo.sandbox.rest.tokens = {"good": (1, CODE), "old": None}
    url = f"http://{echo.sandbox.host}/rest/t.echo"
    assert echo.session.get(url, params={"auth": "good", "a": "1"}, timeout=60).json()["result"] == {"a": "1"}
    assert echo.session.post(url, json={"auth": "good"}, timeout=60).json()["result"] == {}
    assert error(echo.session.post(url, json={"auth": "old"}, timeout=60)) == (401, "expired_token")
    assert error(echo.session.post(url, json={"auth": "bad"}, timeout=60)) == (401, "NO_AUTH_FOUND")


def test_methods_of_applications_are_refused_to_a_webhook(echo: Echo) -> None:
    assert error(echo.post("event.bind", {"event": "ONCRMDEALADD"})) == (403, "WRONG_AUTH_TYPE")


def test_addresses_outside_rest_are_a_page(echo: Echo) -> None:
    answer = echo.session.get(f"http://{echo.sandbox.host}/company/", timeout=60)
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "text/html")


def test_a_defect_of_a_handler_answers_500_and_comes_to_light_at_the_end() -> None:
    with pytest.raises(ZeroDivisionError), echo_portal() as echo:
        assert error(echo.post("t.crash")) == (500, "INTERNAL_SERVER_ERROR")


def test_a_renamed_portal_redirects_with_the_whole_path(echo: Echo) -> None:
    sandbox = echo.sandbox
    sandbox.rename(f"localhost:{sandbox.port}")
    answer = echo.post("t.add", {"title": "x"})
    assert (answer.status_code, answer.headers["Location"]) == (
        302,
        f"http://localhost:{sandbox.port}/rest/1/{CODE}/t.add",
    )
    assert echo.added == []
    assert echo.session.post(answer.headers["Location"], json={}, timeout=60).status_code == 200


# --- limits ------------------------------------------------------------------------------------------------------


def test_a_full_bucket_of_requests_refuses_and_drains_with_the_portals_clock() -> None:
    with echo_portal(rate=(2, 5)) as echo:
        limits = echo.sandbox.limits
        assert [echo.post("t.echo").status_code for _ in range(7)] == [200] * 5 + [503] * 2
        assert error(echo.post("t.echo")) == (503, "QUERY_LIMIT_EXCEEDED")
        assert limits.high_water == 5
        assert limits.refused("QUERY_LIMIT_EXCEEDED") == 3
        echo.sandbox.clock.advance(1)
        assert [echo.post("t.echo").status_code for _ in range(3)] == [200, 200, 503]


def test_a_batch_is_one_request_and_rest_3_shares_the_bucket() -> None:
    with echo_portal(rate=(2, 2)) as echo:
        assert len(echo.batch(["t.echo"] * 50)["result"]) == 50
        assert echo.v3("t.get").status_code == 200
        assert error(echo.v3("t.get")) == (503, "QUERY_LIMIT_EXCEEDED")
        assert error(echo.post("batch", {"cmd": ["t.add"]})) == (503, "QUERY_LIMIT_EXCEEDED")
        assert echo.added == []


def test_the_bucket_drains_once_a_second_as_documented_or_evenly() -> None:
    now = [100.0]
    for stepwise, refused in ((True, True), (False, False)):
        limits = Limits(lambda: now[0], rate=(2, 2), stepwise=stepwise)
        limits.enter("m")
        limits.enter("m")
        now[0] += 0.6
        if refused:
            with pytest.raises(RestError):
                limits.enter("m")
        else:
            limits.enter("m")


def test_two_requests_a_second_never_meet_a_full_bucket() -> None:
    now = [0.0]
    limits = Limits(lambda: now[0], rate=(2, 50))
    for _ in range(500):
        limits.enter("m")
        now[0] += 0.5
    assert limits.refusals == []
    assert limits.high_water <= 3


def test_others_behind_the_same_address_fill_the_bucket_too() -> None:
    with echo_portal(rate=(2, 5)) as echo:
        echo.sandbox.limits.fill(5)
        assert echo.post("t.echo").status_code == 503


def test_a_method_over_its_operating_time_rests_until_a_basket_is_dropped() -> None:
    """The example of the documentation: 480 s allowed, calls of 20 s (settings/performance/limits.md)."""
    with echo_portal(rate=None) as echo:
        limits, clock = echo.sandbox.limits, echo.sandbox.clock
        limits.costs["t.list"] = 20.0
        first = echo.post("t.list").json()["time"]
        assert first["operating_reset_at"] == BEGINNING.timestamp() + 600
        echo.post("t.list")
        clock.advance(60)
        spent = [echo.post("t.list").json()["time"]["operating"] for _ in range(23)]
        assert spent[-2:] == [480.0, 500.0]  # 480 is not above the limit, and the call that crosses it still runs
        assert error(echo.post("t.list")) == (429, "OPERATION_TIME_LIMIT")
        assert echo.post("t.echo").status_code == 200
        clock.advance(539)
        assert echo.post("t.list").status_code == 429
        clock.advance(1)
        assert echo.post("t.list").json()["time"]["operating"] == 480.0
        assert limits.refused("OPERATION_TIME_LIMIT") == 2


def test_a_request_that_takes_too_long_is_cut_and_what_ran_has_run() -> None:
    """60 s in the cloud (settings/performance/limits.md); the third of these commands is still running then."""
    with echo_portal(rate=None) as echo:
        echo.sandbox.limits.longest = 60
        echo.sandbox.limits.costs["t.add"] = 25
        answer = echo.post("batch", {"cmd": {f"k{number}": f"t.add?title={number}" for number in range(5)}})
        assert (answer.status_code, answer.headers["content-type"]) == (504, "text/html")
        assert [one["title"] for one in echo.added] == ["0", "1", "2"]
        assert echo.post("t.add", {"title": "alone"}).status_code == 200
        echo.sandbox.limits.costs["t.add"] = 61
        assert echo.v3("t.add", {"title": "new"}).status_code == 504
        assert len(echo.added) == 5


def test_operating_time_is_counted_for_each_webhook_by_itself(echo: Echo) -> None:
    echo.sandbox.limits.operating_limit = 1
    echo.sandbox.state.add_webhook(5, "other", {"task"})
    echo.post("t.list")
    assert echo.post("t.list").status_code == 429
    assert echo.session.post(echo.sandbox.url_of(5, "other") + "t.list", timeout=60).status_code == 200


def test_inside_a_batch_a_resting_method_fails_and_others_go_on(echo: Echo) -> None:
    echo.sandbox.limits.operating_limit = 3
    maps = echo.batch({"a": "t.list", "b": "t.list", "c": "t.list", "d": "t.echo"})
    assert set(maps["result"]) == {"a", "b", "d"}
    assert maps["result_error"]["c"]["error"] == "OPERATION_TIME_LIMIT"
    assert [maps["result_time"][key]["operating"] for key in "abd"] == [2.0, 4.0, 0.05]


def test_newer_portals_ban_a_method_for_300_seconds_and_count_no_quick_calls(echo: Echo) -> None:
    limits, clock = echo.sandbox.limits, echo.sandbox.clock
    limits.ban, limits.operating_limit = True, 3
    assert echo.post("t.echo").json()["time"]["operating"] == 0
    echo.post("t.list")
    block = echo.post("t.list").json()["time"]
    assert block["operating_reset_at"] == BEGINNING.timestamp() + 300
    assert echo.post("t.list").status_code == 429
    clock.advance(301)
    assert echo.post("t.list").json()["time"]["operating"] == 2.0
    maps = echo.batch(["t.add"] * 2)
    assert len(maps["result"]) == 2
    assert echo.post("batch", {"cmd": []}).json()["time"]["operating"] == 1.0


# --- REST 3.0 ----------------------------------------------------------------------------------------------------


def code(answer: requests.Response) -> tuple[int, str]:
    inner = answer.json()["error"]
    assert set(answer.json()) == {"error"}
    assert inner["message"]
    return answer.status_code, inner["code"].removeprefix("BITRIX_REST_V3_EXCEPTION_")


def test_rest_3_answers_with_result_and_time(echo: Echo) -> None:
    body = echo.v3("t.get", {"id": 51}).json()
    assert body["result"] == {"item": {"id": 51}}
    assert type(body["time"]["start"]) is int
    assert set(body) == {"result", "time"}


def test_rest_3_reads_json_bodies_only(echo: Echo) -> None:
    url = echo.sandbox.url.replace("/rest/", "/rest/api/") + "t.get"
    assert echo.session.get(url, params={"id": 51}, timeout=60).json()["result"] == {"item": {}}
    assert code(echo.session.post(url, data={"id": 51}, timeout=60)) == (400, "INVALIDJSONEXCEPTION")
    broken = echo.session.post(url, data=b"{", headers={"Content-Type": "application/json"}, timeout=60)
    assert code(broken) == (400, "INVALIDJSONEXCEPTION")


def test_errors_of_rest_3_are_objects(echo: Echo) -> None:
    assert code(echo.v3("t.echo")) == (404, "METHODNOTFOUNDEXCEPTION")
    assert code(echo.v3("t.fail")) == (403, "INSUFFICIENTSCOPEEXCEPTION")
    echo.sandbox.limits.operating_limit = 0
    echo.v3("t.get")
    assert code(echo.v3("t.get")) == (429, "RATELIMITEXCEPTION")
    echo.sandbox.state.webhooks[1, CODE].alive = False
    assert code(echo.v3("t.get")) == (401, "ACCESSDENIEDEXCEPTION")


def test_an_idempotency_key_replays_the_stored_answer_for_a_day(echo: Echo) -> None:
    key = {"Idempotency-Key": "9f1c1a7e"}
    first, again = (echo.v3("t.add", {"fields": {"title": "x"}}, headers=key) for _ in range(2))
    assert first.content == again.content
    assert len(echo.added) == 1
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert first.headers["Idempotency-Key"] == again.headers["Idempotency-Key"] == "9f1c1a7e"
    assert code(echo.v3("t.add", {"fields": {}}, headers=key)) == (422, "IDEMPOTENCYKEYREUSEDEXCEPTION")
    echo.sandbox.clock.advance(timedelta(days=1))
    assert echo.v3("t.add", {"fields": {"title": "x"}}, headers=key).json()["result"] == {"item": {"id": 2}}


def test_an_idempotency_key_is_for_writes_of_rest_3_only(echo: Echo) -> None:
    key = {"Idempotency-Key": "k"}
    for _ in range(2):
        assert "Idempotency-Key" not in echo.v3("t.get", headers=key).headers
        echo.post("t.add", headers=key)
    assert len(echo.added) == 2
    assert code(echo.v3("t.add", headers={"Idempotency-Key": "k" * 256})) == (400, "INVALIDIDEMPOTENCYKEYEXCEPTION")


# --- the portal itself -------------------------------------------------------------------------------------------


def test_the_journal_keeps_every_request_and_counts_calls_inside_batches(echo: Echo) -> None:
    echo.post("t.echo")
    echo.batch({"a": "t.echo", "b": "t.fail"})
    echo.post("no.such")
    kept = [(one.method, one.user_id, one.commands, one.status, one.code) for one in echo.sandbox.log]
    assert kept == [
        ("t.echo", 1, 0, 200, ""),
        ("batch", 1, 2, 200, ""),
        ("no.such", 1, 0, 404, "ERROR_METHOD_NOT_FOUND"),
    ]
    assert echo.sandbox.calls == {"t.echo": 2, "t.fail": 1}


def test_one_connection_carries_many_requests() -> None:
    with echo_portal(rate=None) as echo:
        for _ in range(20):
            assert echo.post("t.echo").status_code == 200
        pools = echo.session.adapters["http://"].poolmanager.pools  # type: ignore[attr-defined]
        assert [pool.num_connections for pool in pools._container.values()] == [1]


def test_closing_ends_waiting_connections() -> None:
    with echo_portal() as echo:
        echo.post("t.echo")
    with pytest.raises(requests.ConnectionError):
        echo.post("t.echo")


def test_a_sandbox_runs_in_the_foreground_until_it_is_stopped() -> None:
    stop, told = threading.Event(), []

    def announce(url: str) -> None:
        told.append((url, requests.post(url + "profile", json={}, timeout=60).json()["result"]["ID"]))
        stop.set()

    serve(announce=announce, stop=stop, latency=0.001)
    ((url, owner),) = told
    assert url.startswith("http://127.0.0.1:")
    assert url.split("/")[4] == owner


def test_a_state_with_a_clock_that_cannot_be_turned_is_refused() -> None:
    class Fixed:
        zone = UTC

        def now(self) -> datetime:
            return BEGINNING

    with pytest.raises(TypeError, match="clock"):
        Sandbox(PortalState(Fixed()))


def test_the_clock_runs_freezes_and_is_turned() -> None:
    clock = Clock(datetime(2026, 3, 2, tzinfo=UTC))
    assert clock.now().utcoffset() == timedelta(hours=3)
    assert not clock.frozen
    clock.freeze()
    stood = clock.now()
    clock.advance(timedelta(days=2))
    clock.advance(0.5)
    assert clock.now() - stood == timedelta(days=2, seconds=0.5)
    clock.run()
    clock.set(BEGINNING)
    assert timedelta(0) <= clock.now() - BEGINNING < timedelta(minutes=1)
    with pytest.raises(ValueError, match="zone"):
        clock.set(datetime(2026, 3, 2))  # noqa: DTZ001
    assert time.time() != clock.timestamp()
