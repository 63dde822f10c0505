"""The log: its two forms, and that no secret gets into it by any road."""

from __future__ import annotations

import html
import io
import json
import logging
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Literal
from urllib.parse import quote, quote_plus

import pytest
import requests
import structlog
import urllib3
from hypothesis import given
from hypothesis import strategies as st

from bitrix_sync import log

Form = Literal["text", "json"]
CODE = "s3cr3tc0de"
TOKEN = "t0k3nt0k3n"
URL = f"https://portal.example/rest/1/{CODE}/"
Written = Callable[[], str]


@pytest.fixture(autouse=True)
def _put_back() -> Iterator[None]:
    root, hooks, level = logging.getLogger(), (sys.excepthook, threading.excepthook), logging.getLogger().level
    levels = {name: logging.getLogger(name).level for name in ("urllib3", "waitress", "waitress.queue")}
    yield
    for handler in [handler for handler in root.handlers if type(handler).__module__ == log.__name__]:
        root.removeHandler(handler)
    root.setLevel(level)
    for name, old in levels.items():
        logging.getLogger(name).setLevel(old)
    sys.excepthook, threading.excepthook = hooks
    logging.captureWarnings(False)
    structlog.reset_defaults()
    log._redactor = log.Redactor()


@pytest.fixture(params=["text", "json"])
def form(request: pytest.FixtureRequest) -> Form:
    form: Form = request.param
    return form


@pytest.fixture
def written(form: Form) -> Written:
    """What the configured log has written so far; the level is DEBUG for the libraries too."""
    stream = io.StringIO()
    log.configure(form, stream=stream, level=logging.DEBUG)
    for name in ("urllib3", "waitress"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    return stream.getvalue


def test_text_has_time_level_event_and_values(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("text")
    structlog.get_logger("bitrix_sync.engine.passes").info("pass", visits=2, deal="Сделка")
    line = capsys.readouterr().err
    assert line[4] == "-"
    assert line[19:].strip() == "[info     ] pass [bitrix_sync.engine.passes] deal=Сделка visits=2"


def test_json_is_one_object_a_line_of_ours_and_of_the_libraries(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("json")
    structlog.get_logger("bitrix_sync.engine.passes").warning("pass\nor not", visits=2, deal="Сделка")
    logging.getLogger("requests").error("cannot %s", "connect")
    ours, theirs = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert ours.pop("timestamp") <= theirs.pop("timestamp")
    assert ours == {
        "event": "pass\nor not",
        "level": "warning",
        "logger": "bitrix_sync.engine.passes",
        "visits": 2,
        "deal": "Сделка",
    }
    assert theirs == {"event": "cannot connect", "level": "error", "logger": "requests"}


def test_the_journal_is_told_the_priority_of_every_line(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("text", journal=True)
    logger = structlog.get_logger("bitrix_sync")
    logger.info("pass")
    logger.warning("odd")
    try:
        raise RuntimeError("why")
    except RuntimeError:
        logger.exception("cannot work")
    lines = capsys.readouterr().err.splitlines()
    assert [line[:3] for line in lines[:2]] == ["<6>", "<4>"]
    assert len(lines) > 4
    assert {line[:3] for line in lines[2:]} == {"<3>"}


def test_debug_lines_are_not_written() -> None:
    stream = io.StringIO()
    log.configure("text", stream=stream)
    structlog.get_logger("bitrix_sync").debug("detail")
    logging.getLogger("urllib3").info("chatter")
    logging.getLogger("waitress.queue").warning("Task queue depth is 7")
    assert stream.getvalue() == ""


def test_configuring_again_replaces_the_form_and_adds_no_second_line() -> None:
    first, second = io.StringIO(), io.StringIO()
    log.configure("text", stream=first)
    log.configure("json", stream=second)
    structlog.get_logger("bitrix_sync").info("once")
    assert (first.getvalue(), second.getvalue().count("once")) == ("", 1)


@pytest.mark.parametrize(
    "text",
    [
        URL,
        f"{URL}crm.deal.list.json",
        URL.rstrip("/"),
        f"http://127.0.0.1:8000/rest/1/{CODE}/batch",
        f"https://portal.example/rest/api/1/{CODE}/tasks.task.add",
        f'"POST /rest/1/{CODE}/batch HTTP/1.1" 200 None',
        f"Max retries exceeded with url: /rest/1/{CODE}/batch?halt=0 (Caused by None)",
        URL.replace("/", "\\/"),
        URL.replace("/", "\\\\/"),
        URL.replace("/", "%2F"),
        URL.replace("/", "%2f"),
        URL.upper(),
        URL.replace("/", "%2F").upper(),
        URL.replace("/", "%25252F"),
        URL.replace("/", "\\u002f"),
        URL.replace("/", "&#x2F;"),
        URL.replace("/", "&#47;"),
        f"https://portal.example/rest/crm.deal.list?auth={CODE}&start=0",
        f"auth[application_token]={CODE}&ts=1",
        f"auth%5Bapplication_token%5D={CODE}&ts=1",
        f"b'event=X&auth%5Bapplication_token%5D={CODE}'",
        f'{{"auth": {{"access_token": "{CODE}", "member_id": "m"}}}}',
        f'{{\\"access_token\\":\\"{CODE}\\"}}',
        f"{{'refresh_token': '{CODE}'}}",
        f"client_secret = {CODE}",
        f"BITRIX_APPLICATION_TOKEN={CODE}",
        f"BITRIX_PAGE_PASSWORD: {CODE}",
        f'password="one {CODE}"',
        f"{{'Authorization': 'Basic {CODE}=='}}",
        f"Authorization: Bearer {CODE}",
    ],
)
def test_a_secret_is_known_by_its_surroundings(text: str) -> None:
    assert CODE not in log.redact(text).lower()
    assert log.HIDDEN in log.redact(text)
    assert log.redact(log.redact(text)) == log.redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "expired_token: The access token provided has expired",
        "invalid_token: Unable to get application by token",
        "the author is unknown; no tokens: see the file",
        "https://portal.example/crm/deal/details/15/",
        "rest/portal of 3/4",
        "[2026-03-12T09:00:00+03:00] moved 3 of 5 tasks",
    ],
)
def test_innocent_text_stays_as_it_is(text: str) -> None:
    assert log.redact(text) == text


def test_the_settings_own_secrets_are_hidden_wherever_they_stand() -> None:
    redact = log.Redactor([CODE, 'pa"ss wörd', "short"])
    assert redact(f"x{CODE}y") == "x***y"
    assert redact(json.dumps({"k": 'pa"ss wörd'})) == '{"k": "***"}'
    assert redact("pa%22ss%20w%C3%B6rd") == "***"
    assert redact("shortly") == "shortly"


@pytest.mark.parametrize("piece", ["\\", "rest\\", 'token="\\', "%25", "&#0", "a\\", "\\u006", "auth "], ids=repr)
@pytest.mark.parametrize("secret", [CODE, "\\\\server\\\\\\share", "\\" * 40 + "x", "a" * 256])
def test_whatever_a_text_is_made_of_it_is_redacted_at_once(secret: str, piece: str) -> None:
    redact = log.Redactor([secret])
    for text in (piece * 30_000, piece + "\\" * 100_000, piece + "a" * 100_000, piece + " " * 100_000):
        begun = time.thread_time()
        redact(text)
        assert time.thread_time() - begun < 5.0


@pytest.mark.parametrize("secret", ["s3cr3tc0de", 'pa"ss /wörd', "пароль+\\", "\\\\server\\общая"])
def test_a_known_secret_is_hidden_in_every_spelling(secret: str) -> None:
    redact = log.Redactor([secret])
    spellings = (
        secret,
        secret.upper(),
        quote(secret, safe=""),
        quote(secret, safe="").lower(),
        quote(quote(secret, safe=""), safe=""),
        quote_plus(secret),
        "".join(f"%{byte:02X}" for byte in secret.encode()),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1].replace("/", "\\/"),
        json.dumps(json.dumps(secret)[1:-1])[1:-1],
        repr(secret)[1:-1],
        html.escape(secret),
        "".join(f"&#{ord(sign)};" for sign in secret),
    )
    for spelling in spellings:
        assert redact(f"a {spelling} b").split() == ["a", "***", "b"], spelling


OBEYED = "\x1b[2J\x1b]0;x\x07\x9b\x08\r\u202e\u2066\u2028\x85\x7f"


def test_nothing_that_a_terminal_obeys_and_no_second_line_is_in_a_line_of_the_log(form: Form, written: Written) -> None:
    logger = structlog.get_logger("bitrix_sync")
    logger.info(f"title {OBEYED}\n2026-01-01 00:00:00 [info     ] forged", deal=OBEYED, nested=[f"a\n{OBEYED}"])
    logging.getLogger("urllib3").error("%s", f"x\n{OBEYED}")
    lines = written().removesuffix("\n").split("\n")
    assert len(lines) == 2
    assert not set("".join(lines)) & set(OBEYED.replace("[2J", "").replace("]0;x", ""))
    if form == "json":
        assert json.loads(lines[0])["deal"] == OBEYED


def _leaks() -> dict[str, Callable[[Any, logging.Logger], None]]:
    def raising(_ours: Any, theirs: logging.Logger) -> None:
        try:
            try:
                raise requests.ConnectionError(f"cannot reach {URL}batch")
            except requests.ConnectionError as error:
                raise RuntimeError("call failed") from error
        except RuntimeError:
            theirs.exception("oh")

    def raising_ours(ours: Any, _theirs: logging.Logger) -> None:
        try:
            raise ValueError({"token": TOKEN, "url": URL})
        except ValueError:
            ours.exception("oh")

    def in_a_thread(_ours: Any, _theirs: logging.Logger) -> None:
        thread = threading.Thread(target=lambda: requests.Session().get_adapter(f"gopher://{URL}"))
        thread.start()
        thread.join()

    def uncaught(_ours: Any, _theirs: logging.Logger) -> None:
        error = KeyError(URL)
        sys.excepthook(KeyError, error, None)

    def as_warning(_ours: Any, _theirs: logging.Logger) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn(f"Unverified request to {URL}", urllib3.exceptions.InsecureRequestWarning, stacklevel=1)

    class Shy:
        def __repr__(self) -> str:
            return f"<Shy {URL}>"

    return {
        "message": lambda ours, _: ours.info(f"calling {URL}"),
        "argument": lambda ours, _: ours.info("calling %s", URL),
        "value": lambda ours, _: ours.info("calling", url=URL),
        "object": lambda ours, _: ours.info("calling", what=Shy()),
        "nested value": lambda ours, _: ours.info("calling", what=[{"at": (URL,)}]),
        "key": lambda ours, _: ours.info("calling", what={URL: 1}),
        "named value": lambda ours, _: ours.info("event", token=TOKEN),
        "named value with a space": lambda ours, _: ours.info("event", page_password=f"a {TOKEN}"),
        "named nested value": lambda ours, _: ours.info("event", form={"application_token": [f"a {TOKEN}"]}),
        "library": lambda _, theirs: theirs.debug('%s://%s "POST /rest/1/%s/batch HTTP/1.1"', "https", "p", CODE),
        "library with a mapping": lambda _, theirs: theirs.warning("%(url)s", {"url": URL}),
        "exception": raising,
        "our exception": raising_ours,
        "exception in a thread": in_a_thread,
        "exception that nobody caught": uncaught,
        "warning": as_warning,
    }


@pytest.mark.parametrize("road", list(_leaks()))
def test_no_road_brings_a_secret_into_the_log(road: str, form: Form, written: Written) -> None:
    _leaks()[road](structlog.get_logger("bitrix_sync.portal"), logging.getLogger("urllib3.connectionpool"))
    text = written()
    assert "***" in text
    assert CODE not in text
    assert TOKEN not in text
    if form == "json":
        assert all(isinstance(json.loads(line), dict) for line in text.splitlines())


def test_a_line_that_cannot_be_formatted_is_lost_without_showing_its_arguments(
    written: Written, capsys: pytest.CaptureFixture[str]
) -> None:
    record = logging.LogRecord("waitress", logging.WARNING, "task.py", 7, "%d tasks", (URL,), None)
    (handler,) = [handler for handler in logging.getLogger().handlers if type(handler).__module__ == log.__name__]
    handler.handle(record)
    assert written() == ""
    assert capsys.readouterr().err == "a log line of waitress (task.py:7) could not be written\n"


@given(
    st.text(max_size=20),
    st.sampled_from(
        [URL, f"/rest/1/{CODE}/x", f"token={CODE}", f'"auth":"{CODE}"', f"auth%5Bapplication_token%5D={CODE}"]
    ),
    st.text("\\\"'={}[]:,& \n/aя", max_size=20),
)
def test_json_stays_json_and_keeps_its_secret_whatever_stands_around_it(before: str, secret: str, after: str) -> None:
    stream = io.StringIO()
    log.configure("json", stream=stream)
    structlog.get_logger("bitrix_sync").info(f"{before} {secret} {after}", value=f"{secret} {after}", **{"a\\": after})
    assert CODE not in stream.getvalue()
    assert json.loads(stream.getvalue())["level"] == "info"


def test_a_log_in_utf8_is_not_assumed() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", errors="backslashreplace")
    log.configure("text", stream=stream)
    structlog.get_logger("bitrix_sync").info("Сделка")
    stream.flush()
    assert b"\\u0421" in raw.getvalue()
