"""What an answer means: did the request run?"""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from bitrix_sync.errors import PortalRefused
from bitrix_sync.portal.dialect.error_text import explain, need_scopes
from bitrix_sync.portal.dialect.outcomes import (
    LOOKED_AT,
    TEXT_LIMIT,
    Outcome,
    made_id,
    plain,
    read_answer,
    read_batch,
    read_error,
    read_result,
)

NOW = 1_766_000_000.0


def judged(status: int, body: Any, method: str = "tasks.task.update") -> Outcome:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_answer(status, raw, method=method, now=NOW)[0]


def error(code: Any, text: str = "why") -> dict[str, Any]:
    return {"error": code, "error_description": text}


@pytest.mark.parametrize(
    ("status", "body", "kind", "fatal"),
    [
        # refused before it ran
        (503, error("QUERY_LIMIT_EXCEEDED"), "again", False),
        (503, error("query_limit_exceeded"), "again", False),
        (200, error("QUERY_LIMIT_EXCEEDED"), "again", False),
        (429, error("OPERATION_TIME_LIMIT"), "again", False),
        (401, error("expired_token"), "again", False),
        (429, b"<html>Too many requests</html>", "again", False),
        # refused for good, this command alone
        (400, error("0", "Action on the task is not allowed"), "refused", False),
        (400, error(100, "Could not find value for parameter {fields}"), "refused", False),
        (400, error("", "Not found"), "refused", False),
        (400, error("ERROR_CORE", "TASKS_ERROR_EXCEPTION_#8<br>"), "refused", False),
        (400, error("ACCESS_DENIED"), "refused", False),
        (404, error("ERROR_METHOD_NOT_FOUND"), "refused", False),
        (200, error("NOT_FOUND"), "refused", False),
        (403, {"error": {"code": "BITRIX_REST_V3_EXCEPTION_ACCESSDENIEDEXCEPTION", "message": "no"}}, "refused", False),
        # refused for good, everything
        (401, error("NO_AUTH_FOUND"), "refused", True),
        (401, error("INVALID_CREDENTIALS"), "refused", True),
        (403, error("invalid_credentials"), "refused", True),
        (401, error("authorization_error"), "refused", True),
        (403, error("ACCESS_DENIED", "REST API is available only on commercial plans"), "refused", True),
        (401, error("insufficient_scope"), "refused", True),
        (403, error("insufficient_scope"), "refused", True),
        (503, error("OVERLOAD_LIMIT"), "refused", True),
        (500, error("PORTAL_DELETED"), "refused", True),
        (400, error("INVALID_REQUEST", "Https required."), "refused", True),
        # may have run
        (500, error("INTERNAL_SERVER_ERROR"), "unknown", False),
        (500, error("ERROR_UNEXPECTED_ANSWER"), "unknown", False),
        (500, error("SOMETHING_NEW"), "unknown", False),
        (502, b"<html>Bad gateway</html>", "unknown", False),
        (504, b"", "unknown", False),
        (503, b"<html>Unavailable</html>", "unknown", False),
        (403, b"<html>Forbidden</html>", "unknown", False),
        (200, b'{"result": {"task": {"id": "80', "unknown", False),
        (200, b"<html>maintenance</html>", "unknown", False),
        (200, [], "unknown", False),
        (200, {"time": {}}, "unknown", False),
        (200, b"[" * 100_000, "unknown", False),
        # done
        (200, {"result": {"task": {"id": "8017"}}}, "done", False),
        (200, {"result": []}, "done", False),
        (200, {"result": False}, "done", False),
        (200, {"result": None}, "done", False),
    ],
)
def test_every_answer_has_its_class(status: int, body: Any, kind: str, fatal: bool) -> None:
    outcome = judged(status, body)
    assert (outcome.kind, outcome.fatal) == (kind, fatal)


def test_a_missing_scope_of_messages_stops_no_other_work() -> None:
    assert not judged(403, error("insufficient_scope"), "im.message.add").fatal
    assert judged(403, error("insufficient_scope"), "crm.item.list").fatal


def test_scopes_that_the_portal_does_not_tell_are_not_missing() -> None:
    need_scopes(frozenset(), host="portal.example")
    with pytest.raises(PortalRefused, match="lacks the scope 'task'"):
        need_scopes({"crm", "user_brief"}, host="portal.example")


def test_a_calendar_that_may_not_be_read_is_no_reason_to_stop() -> None:
    assert not judged(403, error("ACCESS_DENIED"), "calendar.accessibility.get").fatal
    assert not judged(403, error("ACCESS_DENIED", "Access denied! Application context required"), "crm.x").fatal


def test_a_refused_batch_concerns_the_whole_portal_its_items_do_not() -> None:
    assert judged(400, error("ACCESS_DENIED"), "batch").fatal
    assert not read_error(error("ACCESS_DENIED"), status=None, method="crm.item.update", now=NOW).fatal


@pytest.mark.parametrize(
    ("method", "value", "made"),
    [
        ("tasks.task.add", {"task": {"id": "8017"}}, 8017),
        ("tasks.task.add", {"task": {"id": 8017}}, 8017),
        ("Tasks.Task.Add", [], None),
        ("tasks.task.add", {"task": []}, None),
        ("tasks.task.add", {"task": {"id": None}}, None),
        ("tasks.task.add", True, None),
        ("task.checklistitem.add", 475, 475),
        ("task.commentitem.add", "3141", 3141),
        ("im.message.add", 0, None),
        ("im.message.add", False, None),
    ],
)
def test_an_add_without_an_id_may_have_made_something(method: str, value: Any, made: int | None) -> None:
    assert made_id(method, value) == made
    assert read_result(value, method=method).kind == ("done" if made else "unknown")


def test_a_notice_that_was_not_made_is_a_refusal() -> None:
    assert read_result(False, method="im.notify.system.add").kind == "refused"
    assert read_result(15, method="im.notify.system.add").kind == "done"


def test_paging_and_operating_time_are_read_where_they_are() -> None:
    outcome = judged(
        200,
        {
            "result": {"tasks": []},
            "total": 120,
            "next": 50,
            "time": {"operating": 3.3, "operating_reset_at": 1766000600},
        },
    )
    assert (outcome.total, outcome.next, outcome.operating, outcome.reset_at) == (120, 50, 3.3, 1766000600.0)
    bare = judged(200, {"result": {}, "time": {"operating": 0}})
    assert (bare.total, bare.next, bare.operating, bare.reset_at) == (None, None, 0.0, None)


def test_a_description_loses_its_html_and_its_length() -> None:
    outcome = judged(400, error("ERROR_CORE", "Title<br>is   missing<br>" + "x" * 1000))
    assert outcome.text.startswith("Title is missing")
    assert len(outcome.text) <= 300


@pytest.mark.parametrize("piece", ["\\", "<", "< ", "a ", "a/rest/1/"], ids=repr)
def test_however_much_the_portal_says_it_is_read_at_once_and_no_half_secret_is_kept(piece: str) -> None:
    begun = time.thread_time()
    said = plain(piece * (16_000_000 // len(piece)))
    assert time.thread_time() - begun < 5.0
    assert len(said) <= TEXT_LIMIT
    cut = "<i></i> " * (LOOKED_AT // 8 - 1) + "secret " + ADDRESS[:-1]
    assert CODE[:3] not in plain(cut[: LOOKED_AT - 3] + CODE + "y" * LOOKED_AT)


def batch(**parts: Any) -> list[Outcome]:
    names = ("result", "result_error", "result_total", "result_next", "result_time")
    result = {name: parts.get(name, []) for name in names}
    return read_batch({"result": result}, ["tasks.task.add", "crm.item.list", "tasks.task.update"], now=NOW)


CODE = "s3cr3tc0de"
ADDRESS = f"https://portal.example/rest/1/{CODE}/tasks.task.add"


@pytest.mark.parametrize(
    "said",
    [
        ADDRESS,
        ADDRESS.upper(),
        ADDRESS.replace("/", "\\/"),
        ADDRESS.replace("/", "%2F"),
        f"<a href='{ADDRESS}'>{ADDRESS}</a>",
        f"auth={CODE}",
        f'{{"application_token": "{CODE}"}}',
        f"auth[application_token]={CODE}",
        "x" * 270 + ADDRESS,
    ],
)
def test_no_secret_that_the_portal_repeats_is_in_what_is_kept_of_its_answer(said: str) -> None:
    errors: list[Any] = [
        {"error": "ERROR", "error_description": said},
        {"error": said, "error_description": ""},
        {"error": {"code": "E", "message": said}},
        {"error": {"code": said, "message": ""}},
        said,
    ]
    outcomes = [read_error(error, status=400, method="m", now=0.0) for error in errors]
    answers = [{"result": {"result": [], "result_error": {"k0": error}}} for error in errors]
    outcomes += [read_batch(answer, ["m"], now=0.0)[0] for answer in answers]
    for outcome in outcomes:
        assert CODE not in f"{outcome}{explain('portal.example', 'm', outcome)}".lower()
        assert outcome.code or outcome.text


def test_each_command_of_a_batch_is_judged_by_itself() -> None:
    outcomes = batch(
        result={"k0": {"task": {"id": "5"}}, "k1": {"items": []}},
        result_error={"k2": error("0", "Action on the task is not allowed")},
        result_total={"k1": 70},
        result_next={"k1": 50},
        result_time={"k0": {"operating": 1.5, "operating_reset_at": 1766000600}},
    )
    assert [outcome.kind for outcome in outcomes] == ["done", "done", "refused"]
    assert (outcomes[1].total, outcomes[1].next) == (70, 50)
    assert outcomes[0].operating == 1.5


def test_what_a_halted_batch_does_not_mention_may_have_run() -> None:
    assert [o.kind for o in batch(result={"k0": {"task": {"id": "5"}}})] == ["done", "unknown", "unknown"]
    assert [o.kind for o in read_batch({"result": []}, ["tasks.task.add"], now=NOW)] == ["unknown"]


def test_maps_of_a_batch_may_come_as_lists() -> None:
    outcomes = batch(result=[{"task": {"id": "5"}}], result_error=[])
    assert [outcome.kind for outcome in outcomes] == ["done", "unknown", "unknown"]
    two = read_batch({"result": {"result": [], "result_error": [error(""), error("")]}}, ["a", "b"], now=NOW)
    assert [outcome.kind for outcome in two] == ["refused", "refused"]


def test_limits_met_inside_a_batch_concern_their_command() -> None:
    outcomes = batch(
        result={"k1": {"items": []}},
        result_error={"k0": error("OPERATION_TIME_LIMIT"), "k2": error("INTERNAL_SERVER_ERROR")},
    )
    assert [outcome.kind for outcome in outcomes] == ["again", "done", "unknown"]


def test_an_add_without_an_id_inside_a_batch_is_unknown() -> None:
    assert batch(result={"k0": []})[0].kind == "unknown"


def test_an_empty_result_in_a_batch_is_a_result() -> None:
    assert read_batch({"result": {"result": {"k0": False}}}, ["user.admin"], now=NOW)[0].kind == "done"
    assert read_batch({"result": {"result": {"k0": []}}}, ["user.get"], now=NOW)[0].kind == "done"
    assert read_batch({"result": {"result": {"k0": False}}}, ["user.get"], now=NOW)[0].kind == "unknown"
