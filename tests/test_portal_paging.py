"""Lists are read whole, in few requests, whatever the portal makes of references."""

from __future__ import annotations

import gzip
import json
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl

import pytest

from bitrix_sync.errors import PortalError, PortalRefused
from bitrix_sync.model.facts import Unread
from bitrix_sync.portal import body, bulk
from bitrix_sync.portal.client import Command, Portal
from bitrix_sync.portal.paging import Source, read_lists, read_offsets
from bitrix_sync.portal.rate_limiter import Stopped
from tests.test_portal_client import BOMBS, TRICKLES, Server
from tests.test_portal_pacer import FakeClock

HISTORY = Source("crm.stagehistory.list", {"filter": {">=CREATED_TIME": "x"}}, "items", "ID", "ID", "history")
TASKS = Source("tasks.task.list", {"filter": {"REAL_STATUS": [2, 3]}, "select": ["ID"]}, "tasks", "id", "ID", "tasks")
MODES = ("replaced", "literal", "refused", "nothing")


class Lists(Server):
    """A portal of two lists. ``mode``: what becomes of references. ``ids``: method → ids of its rows. ``start``: the
    parameter that says where a page begins."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: dict[str, list[int]] = {}
        self.mode = "replaced"
        self.start = "start"
        self.calls: list[str] = []
        self.requests = 0
        self.plan = [self.answer] * 1000

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.requests += 1
        path, body, _ = self.seen[-1]
        method = path.rpartition("/")[2]
        if method != "batch":
            self.calls.append(method)
            value = self.list(method, body.get("filter", {}), int(body.get(self.start, 0)))
            return self.say(handler, 200, {"result": value, "total": len(self.ids[method]), "time": {"operating": 0.1}})
        values: dict[str, Any] = {}
        errors: dict[str, Any] = {}
        totals: dict[str, int] = {}
        for key, line in body["cmd"].items():
            method, _, query = line.partition("?")
            self.calls.append(method)
            pairs = dict(parse_qsl(query, keep_blank_values=True))
            filters = {
                name[7:-1]: self.refer(text, values) for name, text in pairs.items() if name.startswith("filter[")
            }
            if self.mode == "refused" and "$result" in str(filters.get(">ID")):
                errors[key] = {"error": "INVALID_ARG_VALUE", "error_description": "Invalid filter"}
            else:
                values[key] = self.list(method, filters, int(pairs.get(self.start, 0)))
                totals[key] = len(self.ids[method])
        result = {"result": values or [], "result_error": errors or [], "result_total": totals}
        return self.say(handler, 200, {"result": result, "time": {}})

    def refer(self, text: str, values: dict[str, Any]) -> str:
        match = re.fullmatch(r"\$result\[(\w+)\]\[(\w+)\]\[(\d+)\]\[(\w+)\]", text)
        if self.mode != "replaced" or match is None:
            return text
        try:
            return str(values[match[1]][match[2]][int(match[3])][match[4]])
        except (KeyError, IndexError):
            return text

    def list(self, method: str, filters: dict[str, Any], start: int) -> Any:
        after = str(filters.get(">ID", 0))
        if self.mode == "nothing" and not after.isdigit():
            found: list[int] = []
        else:
            last = int(after) if after.isdigit() else 0
            found = [number for number in self.ids[method] if number > last]
        found = found[max(start, 0) :][:50]
        if method == "tasks.task.list":
            return {"tasks": [{"id": str(number)} for number in found]}
        if method in ("user.get", "department.get"):
            return [{"ID": str(number)} for number in found]
        return {"items": [{"ID": number} for number in found]}


@pytest.fixture
def server() -> Iterator[Lists]:
    server = Lists()
    yield server
    server.close()


@pytest.fixture
def portal(server: Lists) -> Iterator[Portal]:
    clock = FakeClock()
    portal = Portal(server.url, rate=(1000.0, 1000), clock=clock, sleep=clock.sleep)
    yield portal
    portal.close()


def numbers(rows: list[Any], key: str) -> list[int]:
    return [int(row[key]) for row in rows]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("count", [0, 1, 49, 50, 51, 100, 137, 450])
def test_every_row_comes_once_and_in_order(server: Lists, portal: Portal, mode: str, count: int) -> None:
    server.mode = mode
    server.ids = {
        "crm.stagehistory.list": list(range(3, 2 * count + 3, 2)),
        "tasks.task.list": list(range(1, count + 1)),
    }
    history, tasks = read_lists(portal, [HISTORY, TASKS])
    assert numbers(history, "ID") == server.ids["crm.stagehistory.list"]
    assert numbers(tasks, "id") == server.ids["tasks.task.list"]


def test_short_lists_take_one_request(server: Lists, portal: Portal) -> None:
    server.ids = {"crm.stagehistory.list": [1, 2], "tasks.task.list": []}
    read_lists(portal, [HISTORY, TASKS])
    assert (server.requests, len(server.calls)) == (1, 2)


def test_what_was_long_last_time_takes_one_request_this_time(server: Lists, portal: Portal) -> None:
    server.ids = {"crm.stagehistory.list": list(range(1, 700)), "tasks.task.list": list(range(1, 80))}
    read_lists(portal, [HISTORY, TASKS])
    first = server.requests
    assert first <= 5
    history, _ = read_lists(portal, [HISTORY, TASKS])
    assert server.requests == first + 1
    assert len(history) == 699
    server.ids = {"crm.stagehistory.list": [1], "tasks.task.list": [1]}
    read_lists(portal, [HISTORY, TASKS])
    before = len(server.calls)
    read_lists(portal, [HISTORY, TASKS])
    assert len(server.calls) == before + 2


def test_a_chain_has_fifty_pages_at_most(server: Lists, portal: Portal) -> None:
    server.ids = {"crm.stagehistory.list": list(range(1, 7001))}
    (history,) = read_lists(portal, [HISTORY])
    assert len(history) == 7000
    assert server.requests < 12
    assert max(len(body["cmd"]) for path, body, _ in server.seen if path.endswith("batch")) <= 50


def test_many_lists_share_the_batches(server: Lists, portal: Portal) -> None:
    server.ids = {"crm.stagehistory.list": list(range(1, 121))}
    lists = read_lists(portal, [Source(*("crm.stagehistory.list", {}, "items", "ID", "ID"))] * 120)
    assert [len(one) for one in lists] == [120] * 120
    assert server.requests < 10


def test_references_that_failed_are_not_tried_again(server: Lists, portal: Portal) -> None:
    server.mode = "literal"
    server.ids = {"crm.stagehistory.list": list(range(1, 301))}
    read_lists(portal, [HISTORY])
    assert not portal.memory.references
    before = len(server.calls)
    read_lists(portal, [HISTORY])
    assert len(server.calls) == before + 7


def test_a_portal_that_breaks_over_a_chain_is_read_page_by_page(server: Lists) -> None:
    skipped: list[float] = []
    portal = Portal(server.url, rate=(1000.0, 1000), clock=lambda: time.time() + sum(skipped), sleep=skipped.append)
    server.ids = {"crm.stagehistory.list": list(range(1, 301))}
    whole = server.answer

    def fragile(handler: BaseHTTPRequestHandler) -> None:
        if "$result" in str(server.seen[-1][1]) or "%24result" in str(server.seen[-1][1]):
            return server.say(handler, 500, b"<html>")
        return whole(handler)

    server.plan = [fragile] * 100
    (history,) = read_lists(portal, [HISTORY])
    assert numbers(history, "ID") == server.ids["crm.stagehistory.list"]
    assert portal.memory.references
    portal.close()


def test_a_list_without_order_is_not_taken(server: Lists, portal: Portal) -> None:
    server.ids = {"crm.stagehistory.list": list(range(100, 0, -1))}
    with pytest.raises(PortalError, match="not in the order asked for"):
        read_lists(portal, [HISTORY])


def test_a_full_page_of_rows_without_ids_is_not_taken(server: Lists, portal: Portal) -> None:
    server.plan = [{"result": {"items": [{"OWNER_ID": number} for number in range(50)]}, "total": 90}]
    with pytest.raises(PortalError, match="rows without ids"):
        read_lists(portal, [HISTORY])


def test_rows_that_lost_their_fields_are_not_taken_for_none(server: Lists, portal: Portal) -> None:
    """b24-rest-docs issue 368: ``items`` was seen as a list of empty lists."""
    server.plan = [{"result": {"items": [[], [], []]}, "total": 3}]
    with pytest.raises(PortalError, match="rows without ids"):
        read_lists(portal, [HISTORY])


def test_a_refused_list_is_told(server: Lists, portal: Portal) -> None:
    server.plan = [(400, {"error": "INVALID_ARG_VALUE", "error_description": "Invalid filter"})]
    with pytest.raises(PortalRefused, match="INVALID_ARG_VALUE Invalid filter"):
        read_lists(portal, [HISTORY])


# --- by offset -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 50, 51, 260])
def test_small_tables_are_read_by_offset(server: Lists, portal: Portal, count: int) -> None:
    server.ids = {"user.get": list(range(1, count + 1))}
    (users,) = read_offsets(portal, [(Command("user.get"), "")], name="company")
    assert isinstance(users, list)
    assert numbers(users, "ID") == server.ids["user.get"]
    before = server.requests
    read_offsets(portal, [(Command("user.get"), "")], name="company")
    assert server.requests == before + 1


def test_a_table_that_repeats_its_only_page_ends(server: Lists, portal: Portal) -> None:
    page = {"result": [{"ID": str(number)} for number in range(50)], "next": 50}
    server.plan = [page] * 5
    (users,) = read_offsets(portal, [(Command("user.get"), "")])
    assert len(server.seen) == 2
    assert isinstance(users, list)


REFUSED = (403, {"error": "insufficient_scope", "error_description": ""})


def test_a_refused_table_is_not_read_and_says_why(server: Lists, portal: Portal) -> None:
    server.plan = [REFUSED]
    (users,) = read_offsets(portal, [(Command("user.get"), "")])
    assert isinstance(users, Unread)
    assert "'user_basic'" in users.why


def test_a_table_that_counts_more_than_it_shows_is_not_read(server: Lists, portal: Portal) -> None:
    server.plan = [{"result": [{"ID": "1"}], "total": 3}]
    (users,) = read_offsets(portal, [(Command("user.get"), "")])
    assert isinstance(users, Unread)


@pytest.mark.parametrize(
    "result", [None, True, "text", 5, {}, {"tasks": None}, {"tasks": "x"}, {"tasks": {}}, {"other": []}]
)
def test_a_list_that_is_no_list_is_unknown_and_asked_for_again(server: Lists, portal: Portal, result: Any) -> None:
    server.plan = [{"result": result}, {"result": result}, *server.plan]
    server.ids = {"tasks.task.list": [1, 2]}
    (found,) = read_lists(portal, [TASKS])
    assert numbers(found, "id") == [1, 2]


def test_a_list_that_counts_rows_and_shows_none_is_not_believed(server: Lists, portal: Portal) -> None:
    server.plan = [{"result": {"tasks": []}, "total": 3}]
    with pytest.raises(PortalError, match="fewer rows than it counts"):
        read_lists(portal, [TASKS])


# --- by the library --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 50, 51, 260, 2700])
def test_the_library_reads_everything(server: Lists, portal: Portal, count: int) -> None:
    server.ids = {"tasks.task.list": list(range(1, count + 1))}
    found = bulk.read_all(portal, TASKS)
    assert sorted(numbers(found, "id")) == server.ids["tasks.task.list"]
    assert server.requests <= 4
    assert portal.stats.requests == server.requests


def test_the_library_goes_at_our_pace(server: Lists, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    portal = Portal(server.url, rate=(1e-6, 50))
    server.ids = {"tasks.task.list": list(range(1, 2701))}
    bulk.read_all(portal, TASKS)
    assert portal.rate_limiter.level == pytest.approx(3, abs=0.01)
    assert portal.rate_limiter.budget().operating == {"tasks.task.list": 0.1}
    assert not [record for record in caplog.records if record.name == "fast_bitrix24" and record.levelname == "DEBUG"]
    portal.close()


def test_a_list_that_shrinks_under_the_library_is_read_again(server: Lists, portal: Portal) -> None:
    server.ids = {"tasks.task.list": list(range(1, 161))}
    whole = server.answer

    def shrinking(handler: BaseHTTPRequestHandler) -> None:
        whole(handler)
        server.ids["tasks.task.list"] = server.ids["tasks.task.list"][1:]

    server.plan = [shrinking, *server.plan]
    found = bulk.read_all(portal, TASKS)
    assert sorted(numbers(found, "id")) == list(range(2, 161))


@pytest.mark.parametrize(
    "fault",
    [
        (502, b"<html>"),
        (503, {"error": "QUERY_LIMIT_EXCEEDED", "error_description": ""}),
        (200, {"error": "INTERNAL_SERVER_ERROR", "error_description": ""}),
        (200, b"oops"),
    ],
)
def test_the_library_never_sees_a_fault(server: Lists, fault: Any) -> None:
    clock = FakeClock()
    portal = Portal(server.url, rate=(1000.0, 1000), clock=clock, sleep=clock.sleep)
    server.ids = {"tasks.task.list": list(range(1, 161))}
    server.plan = [fault, *server.plan]
    assert len(bulk.read_all(portal, TASKS)) == 160
    portal.close()


BULK_BOMBS = [
    pytest.param((200, BOMBS["zeros"], {"Content-Encoding": "gzip"}), id="packed"),
    pytest.param((200, BOMBS["lists"], {"Content-Encoding": "gzip"}), id="many values"),
    pytest.param((200, b" " * (body.LIMIT + 1)), id="large"),
    pytest.param((200, {"result": {"tasks": [{"id": "1"}] * 50}, "total": 10**9}), id="a total without end"),
    *(pytest.param(fault, id=name) for name, fault in TRICKLES.items()),
]


@pytest.mark.parametrize("fault", BULK_BOMBS)
def test_the_library_is_spared_what_has_no_end(server: Lists, fault: Any) -> None:
    portal = Portal(server.url, rate=(1000.0, 1000), timeouts=(0.2, 1.0))
    server.ids = {"tasks.task.list": list(range(1, 161))}
    asked: list[str] = []

    def once(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.headers["Accept-Encoding"])
        fault(handler) if callable(fault) else server.say(handler, *fault)

    server.plan = [once, *server.plan]
    assert len(bulk.read_all(portal, TASKS)) == 160
    assert asked == ["gzip"]
    portal.close()


def test_a_packed_answer_is_read_by_the_library(server: Lists, portal: Portal) -> None:
    answer = {"result": {"tasks": [{"id": "1"}, {"id": "2"}]}, "total": 2}
    server.plan = [(200, gzip.compress(json.dumps(answer).encode()), {"Content-Encoding": "gzip"})]
    assert numbers(bulk.read_all(portal, TASKS), "id") == [1, 2]
    assert server.plan == []


def test_a_list_without_end_is_given_up(server: Lists, portal: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bitrix_sync.portal.paging.MOST_ROWS", 1000)
    server.ids = {"tasks.task.list": list(range(1, 3001))}
    with pytest.raises(PortalError, match="does not end"):
        read_lists(portal, [TASKS])
    with pytest.raises(PortalError, match="does not end"):
        read_offsets(portal, [(Command("tasks.task.list"), "tasks")])


def test_a_total_beyond_all_pages_asks_for_one_batch_more(server: Lists, portal: Portal) -> None:
    server.ids = {"department.get": list(range(1, 120))}

    def boasting(handler: BaseHTTPRequestHandler) -> None:
        server.say(handler, 200, {"result": server.list("department.get", {}, 0), "total": 10**9})

    server.plan = [boasting, *server.plan]
    (read,) = read_offsets(portal, [(Command("department.get"), "")])
    assert read is not None
    assert len(read) == 119
    assert len(server.calls) < 120


def test_the_library_stops_when_the_service_does(server: Lists) -> None:
    stop = threading.Event()
    portal = Portal(server.url, rate=(1000.0, 1000), stop=stop)
    stop.set()
    with pytest.raises(Stopped):
        bulk.read_all(portal, TASKS)
    assert server.seen == []
    portal.close()


def test_a_page_that_is_refused_to_the_library_is_told_by_ourselves(server: Lists, portal: Portal) -> None:
    server.plan = [(400, {"error": "0", "error_description": "Invalid sorting key"})] * 2
    with pytest.raises(PortalRefused, match="Invalid sorting key"):
        bulk.read_all(portal, TASKS)


def test_a_renamed_portal_is_followed_by_ourselves(server: Lists, portal: Portal) -> None:
    other = Lists()
    other.ids = {"tasks.task.list": list(range(1, 161))}
    location = f"{other.url}tasks.task.list"
    server.plan = [(302, b"", {"Location": location})] * 2
    assert len(bulk.read_all(portal, TASKS)) == 160
    assert portal.host == other.host
    other.close()


def test_departments_are_read_whole_where_pages_begin_at_a_start_in_capitals(server: Lists, portal: Portal) -> None:
    server.ids, server.start = {"department.get": list(range(1, 161))}, "START"
    read = bulk.read_table(portal, Command("department.get"))
    assert isinstance(read, list)
    assert [row["ID"] for row in read] == [str(number) for number in range(1, 161)]


def test_a_missing_scope_leaves_a_table_unread(server: Lists, portal: Portal) -> None:
    server.plan = [(403, {"error": "insufficient_scope", "error_description": ""})] * 2
    assert isinstance(bulk.read_table(portal, Command("department.get")), Unread)
