"""Batches of the sandbox portal: order, references, shapes, limits (docs: settings/how-to-call-rest-api/batch.md)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from tests.world.echo import Echo, echo_portal


@pytest.fixture(scope="module")
def portal() -> Iterator[Echo]:
    with echo_portal(rate=None, operating_limit=None) as portal:
        yield portal


@pytest.fixture
def echo(portal: Echo) -> Echo:
    portal.added.clear()
    portal.sandbox.faults.clear()
    return portal


MAPS = {"result", "result_error", "result_total", "result_next", "result_time"}


def test_commands_run_in_order_and_answer_under_their_keys(echo: Echo) -> None:
    maps = echo.batch({"b": "t.add?title=1", "a": "t.add?title=2"})
    assert set(maps) == MAPS
    assert [one["title"] for one in echo.added] == ["1", "2"]
    assert list(maps["result"]) == ["b", "a"]


def test_parameters_inside_are_strings_and_nest(echo: Echo) -> None:
    query = urlencode([("fields[N]", 5), ("fields[A][0]", 7), ("fields[A][1]", 8), ("fields[E]", ""), ("t", "x&y=z?")])
    maps = echo.batch({"k": f"t.echo?{query}"})
    assert maps["result"]["k"] == {"fields": {"N": "5", "A": ["7", "8"], "E": ""}, "t": "x&y=z?"}


def test_totals_and_next_pages_have_maps_of_their_own(echo: Echo) -> None:
    maps = echo.batch({"x": "t.list", "y": "t.echo"})
    assert maps["result_total"] == {"x": 120}
    assert maps["result_next"] == {"x": 50}
    assert maps["result_error"] == []
    assert set(maps["result_time"]) == {"x", "y"}
    assert maps["result_time"]["x"]["date_start"] == "2026-03-02T10:00:00+03:00"
    assert {"operating", "operating_reset_at", "start", "finish", "duration", "processing"} < set(
        maps["result_time"]["x"]
    )


def test_a_command_fails_by_itself_and_has_no_time(echo: Echo) -> None:
    maps = echo.batch({"a": "t.add?title=x", "b": "t.fail", "c": "t.secret", "d": "no.such", "e": "t.echo"})
    assert set(maps["result"]) == set(maps["result_time"]) == {"a", "e"}
    assert maps["result_error"] == {
        "b": {"error": "", "error_description": "Not found"},
        "c": {"error": "insufficient_scope", "error_description": ""},
        "d": {"error": "ERROR_METHOD_NOT_FOUND", "error_description": "Method not found!"},
    }


@pytest.mark.parametrize(("halt", "ran"), [(0, 2), (1, 1), ("0", 2), ("1", 1), (False, 2), (True, 1), ("false", 2)])
def test_halt_stops_at_the_first_failure_and_leaves_no_trace_of_the_rest(echo: Echo, halt: Any, ran: int) -> None:
    maps = echo.batch({"a": "t.add?title=1", "b": "t.fail", "c": "t.add?title=2"}, halt=halt)
    assert len(echo.added) == ran
    assert ("c" in maps["result"]) == (ran == 2)
    assert set(maps["result_error"]) == {"b"}


def test_lists_appear_for_each_map_by_itself_where_keys_are_exactly_0_to_n(echo: Echo) -> None:
    as_array = echo.batch(["t.echo?a=1", "t.fail"])
    assert as_array["result"] == [{"a": "1"}]
    assert set(as_array["result_error"]) == {"1"}
    captured = echo.batch({"0": "t.fail", "1": "t.fail", "35943": "t.echo?a=1"})
    assert captured["result"] == {"35943": {"a": "1"}}
    assert [one["error_description"] for one in captured["result_error"]] == ["Not found"] * 2
    gaps = echo.batch({"1": "t.echo", "3": "t.echo"})
    assert set(gaps["result"]) == {"1", "3"}
    assert echo.batch([]) == {name: [] for name in MAPS}
    assert echo.post("batch").json()["result"] == {name: [] for name in MAPS}


def test_an_empty_answer_of_a_command_is_a_success(echo: Echo) -> None:
    maps = echo.batch({"k": "t.get"})
    assert maps["result"] == {"k": []}
    assert maps["result_error"] == []


def test_commands_above_fifty_fail_one_by_one(echo: Echo) -> None:
    maps = echo.batch({f"k{number}": f"t.add?title={number}" for number in range(53)})
    assert len(maps["result"]) == len(echo.added) == 50
    assert {one["error"] for one in maps["result_error"].values()} == {"ERROR_BATCH_LENGTH_EXCEEDED"}
    assert set(maps["result_error"]) == {"k50", "k51", "k52"}


def test_a_batch_inside_a_batch_is_not_allowed(echo: Echo) -> None:
    maps = echo.batch({"in": f"batch?{urlencode({'cmd[a]': 't.add?title=x'})}"})
    assert maps["result_error"]["in"]["error"] == "ERROR_BATCH_METHOD_NOT_ALLOWED"
    assert echo.added == []


def test_entries_that_are_no_texts_are_skipped(echo: Echo) -> None:
    maps = echo.batch({"a": {"method": "t.add"}, "b": 5, "c": "t.echo"})
    assert set(maps["result"]) == {"c"}
    assert maps["result_error"] == []


def test_a_batch_may_come_as_a_form_or_in_the_address_encoded_twice(echo: Echo) -> None:
    line = "t.echo?" + urlencode({"title": "John&Martin"})
    url = echo.sandbox.url + "batch"
    by_form = echo.session.post(url, data={"cmd[k]": line, "halt": "0"}, timeout=60).json()
    by_query = echo.session.get(f"{url}?cmd[0]={quote(line, safe='')}", timeout=60).json()
    assert by_form["result"]["result"] == {"k": {"title": "John&Martin"}}
    assert by_query["result"]["result"] == [{"title": "John&Martin"}]


# --- references --------------------------------------------------------------------------------------------------


def test_later_commands_refer_to_results_of_earlier_ones(echo: Echo) -> None:
    line = "t.echo?id=$result[new][task][id]&text=no $result[new][task][id]!"
    maps = echo.batch({"new": "t.add?title=x", "next": line})
    assert maps["result"]["next"] == {"id": "1", "text": "no 1!"}


def test_a_whole_reference_brings_the_value_as_it_is(echo: Echo) -> None:
    maps = echo.batch({"list": "t.list", "e": "t.echo?row=$result[list][1]&id=$result[list][1][ID]&n=$total[list]"})
    assert maps["result"]["e"] == {"row": {"ID": "8"}, "id": "8", "n": 120}


def test_totals_next_pages_errors_and_times_are_referred_to_too(echo: Echo) -> None:
    line = "t.echo?next=$next[l]&code=$error[f][error_description]&at=$time[l][date_start]&f[x][]=$total[l]"
    maps = echo.batch({"l": "t.list", "f": "t.fail", "e": line})
    assert maps["result"]["e"] == {
        "next": 50,
        "code": "Not found",
        "at": "2026-03-02T10:00:00+03:00",
        "f": {"x": [120]},
    }


def test_references_are_replaced_in_peoples_texts_as_well(echo: Echo) -> None:
    maps = echo.batch({"a": "t.add?title=secret", "b": "t.add?" + urlencode({"title": "see $result[a][task][title]"})})
    assert maps["result"]["b"]["task"]["title"] == "see secret"


def test_a_reference_that_leads_nowhere_is_left_or_stops_half_way(echo: Echo) -> None:
    line = "t.echo?a=$result[none][x]&b=$result[later]&c=$result[n][task][nope]&d=x $result[n][task][nope]&e=$result x"
    maps = echo.batch({"n": "t.add?title=t", "m": line, "later": "t.echo"})
    assert maps["result"]["m"] == {
        "a": "$result[none][x]",
        "b": "$result[later]",
        "c": {"id": "1", "title": "t"},
        "d": "x $result[n][task][nope]",
        "e": "$result x",
    }


# --- REST 3.0 ----------------------------------------------------------------------------------------------------


def test_a_batch_of_rest_3_is_an_array_answered_in_order(echo: Echo) -> None:
    body = echo.v3("batch", [{"method": "t.get", "query": {"id": 1}}, {"method": "t.get", "query": {"id": 2}}]).json()
    assert body["result"] == [{"item": {"id": 1}}, {"item": {"id": 2}}]


def test_results_of_rest_3_are_handed_on_by_alias(echo: Echo) -> None:
    calls = [
        {"method": "t.add", "query": {"title": "x"}, "alias": "new"},
        {"method": "t.get", "query": {"items": [{"id": 4}, {"id": 5}]}, "alias": "all"},
        {
            "method": "t.get",
            "query": {"id": {"$ref": "new.item.id"}, "ids": {"$refArray": "all.item.items.id"}, "no": {"$ref": "x.y"}},
        },
    ]
    assert echo.v3("batch", calls).json()["result"][2] == {"item": {"id": 1, "ids": [4, 5], "no": None}}


def test_the_first_failure_of_rest_3_hides_what_was_done_before_it(echo: Echo) -> None:
    answer = echo.v3("batch", [{"method": "t.add"}, {"method": "t.fail"}, {"method": "t.add"}])
    assert answer.status_code == 403
    assert answer.json()["error"]["code"].endswith("INSUFFICIENTSCOPEEXCEPTION")
    assert len(echo.added) == 1


@pytest.mark.parametrize("body", [{"cmd": {"a": "t.get"}}, {}])
def test_rest_3_refuses_the_old_form_of_a_batch(echo: Echo, body: Any) -> None:
    answer = echo.v3("batch", body)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "BITRIX_REST_V3_EXCEPTION_INVALIDSELECTEXCEPTION"


@pytest.mark.parametrize("body", [[{"query": {}}], ["t.get"], [{"method": "t.get"}] * 51])
def test_rest_3_refuses_calls_without_method_and_too_many(echo: Echo, body: Any) -> None:
    assert echo.v3("batch", body).json()["error"]["code"].endswith("REQUESTVALIDATIONEXCEPTION")
