"""What ``docs/security.md`` promises and no module can promise for itself: secrets that pass through everything, the
statements of the whole program, how secrets are compared."""

from __future__ import annotations

import ast
import hmac
import html
import re
import sqlite3
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask, request
from pydantic import SecretStr

from bitrix_sandbox.state.seed import CODE
from bitrix_sync.model.operations import Changeset
from bitrix_sync.store import Store
from bitrix_sync.store.schema import metadata
from tests.test_store_contract import DAY, NOW, make_deal, make_task
from tests.world.process import ROOT, Running, event, until
from tests.world.shell import Shell
from tests.world.town import Town, portal_on_a_monday
from webhooks.events import Event, genuine
from webhooks.page_auth import PageAuth, Password

TOKEN = "token0of0outgoing0webhook"
PASSWORD = "correct-horse-battery"


# --- secrets ---------------------------------------------------------------------------------------------------------


def page_of(service: Running) -> str:
    """What a manager sees who logs in, and all pages that the first one leads to."""
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))

    def read(path: str, data: bytes | None = None) -> str:
        with browser.open(service.url + path, data) as answer:
            return str(answer.read().decode())

    token = re.search(r'name="token" value="([^"]+)"', read("/login"))
    assert token
    first = read("/login", urlencode({"token": token[1], "password": PASSWORD, "next": "/"}).encode())
    paths = sorted({html.unescape(path) for path in re.findall(r'href="(/[^"#]*)', first)})
    assert len(paths) > 3
    return first + "".join(read(path) for path in paths)


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_secret_is_in_a_log_an_error_a_trace_a_figure_a_page_or_the_database(form: str, tmp_path: Path) -> None:
    with portal_on_a_monday() as portal:
        town = Town(tmp_path, portal)
        given = {"BITRIX_APPLICATION_TOKEN": TOKEN, "BITRIX_PAGE_PASSWORD": PASSWORD, "BITRIX_LOG": form}
        service = town.run(BITRIX_POLL_SECONDS="0.3", **given).ready()
        for kind in ("broken_json", "page_502", "cut_after"):
            portal.faults.next(kind)
        portal.faults.next("moved", location=f"{portal.url}x")
        deals = [town.add_deal(f"Deal {number}") for number in range(3)]
        until(lambda: all(town.rules_of(deal) for deal in deals))
        assert service.post("/webhooks/bitrix24", event(TOKEN))[0] == 200
        assert service.post("/webhooks/bitrix24", event(TOKEN[:-1]))[0] == 403
        assert service.post(f"/webhooks/bitrix24?token={TOKEN}", b"\xff" + TOKEN.encode())[0] == 400
        service.ready()
        shown = "".join(service.get(path)[1] for path in ("/healthz", "/readyz", "/metrics", "/", "/no/such/page"))
        shown += page_of(service)
        shell = Shell(tmp_path, {**town.environ, **given})
        for words in (
            ["status", "--json"],
            ["why", str(deals[0]), "--json"],
            ["report", "load"],
            ["backup", "copy.db"],
        ):
            ran = shell(*words)
            assert ran.code == 0, ran.err
            shown += ran.out + ran.err
        assert service.end() == 0
    shown += service.said
    kept = b"".join(file.read_bytes() for file in tmp_path.glob("*.db*"))
    assert "cannot work" in shown, "there was an error to tell"
    for secret in (CODE, TOKEN, PASSWORD):
        assert secret not in shown
        assert secret.encode() not in kept


def test_tokens_and_passwords_are_compared_in_constant_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every token is compared, by a comparison that takes as long for a near miss, also after one that fits."""
    compared: list[tuple[Any, Any]] = []
    honest = hmac.compare_digest

    def seen(one: Any, other: Any) -> bool:
        compared.append((one, other))
        return honest(one, other)

    monkeypatch.setattr(hmac, "compare_digest", seen)
    offered = Event("ONCRMDEALADD", TOKEN, None, "", "", None)
    assert genuine(offered, [TOKEN.encode(), b"another"])
    assert not genuine(offered, [TOKEN[:-1].encode(), b"another"])
    assert compared == [
        (known, TOKEN.encode()) for known in (TOKEN.encode(), b"another", TOKEN[:-1].encode(), b"another")
    ]
    compared.clear()
    gate = PageAuth(Password(SecretStr(PASSWORD)), store)
    with Flask("gate").test_request_context():
        assert gate.try_password(request, PASSWORD) == (True, 0.0)
        assert gate.try_password(request, PASSWORD[:-1]) == (False, 0.0)
    assert len(compared) == 2


SECRET_NAMES = re.compile("token|password|secret|nonce|signature|mac", re.IGNORECASE)


def test_no_secret_is_compared_with_an_equals_sign() -> None:
    for file in sources("webhooks"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Compare) and any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops):
                said = ast.unparse(node)
                assert not SECRET_NAMES.search(said), f"{file.name}:{node.lineno}: {said}"


# --- statements ------------------------------------------------------------------------------------------------------

RUNS_SQL = {"execute", "executemany", "executescript", "exec_driver_sql", "text", "literal_column", "scalar", "scalars"}


def sources(*places: str) -> Iterator[Path]:
    """The program's own files in these directories."""
    for place in places:
        yield from sorted((ROOT / place).rglob("*.py"))


def pasted(node: ast.AST) -> Iterator[ast.AST]:
    """Strings that are put together from parts, other than from constants of the module (``_LOG_BYTES``)."""
    for part in ast.walk(node):
        match part:
            case ast.JoinedStr(values=values):
                named = [value.value for value in values if isinstance(value, ast.FormattedValue)]
                if not all(isinstance(name, ast.Name) and name.id.isupper() for name in named):
                    yield part
            case ast.BinOp(left=ast.Constant(value=str()), op=ast.Mod() | ast.Add()):
                yield part
            case ast.Call(func=ast.Attribute(attr="format", value=ast.Constant(value=str()))):
                yield part


def test_no_statement_is_put_together_from_text() -> None:
    seen = 0
    for file in sources("bitrix_sync/store", "bitrix_sync/report", "webhooks"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in RUNS_SQL:
                seen += 1
                for argument in node.args:
                    found = [ast.unparse(part) for part in pasted(argument)]
                    assert found == [], f"{file.name}:{node.lineno}: bind values instead of writing them into the text"
    assert seen > 50


WORDS = [
    "'); DROP TABLE tasks; --",
    '" OR 1=1 --',
    "%",
    "_",
    "a'b\"c;",
    ":name",
    "?1",
    "\\",
    "Робин'); DELETE FROM deals;",
]


def test_words_that_would_be_statements_are_words(store: Store) -> None:
    epoch = store.take_lease("a", 1, "b", NOW)
    assert epoch
    deals = tuple(make_deal(number, title=word) for number, word in enumerate(WORDS, start=1))
    tasks = tuple(make_task(number, number, title=word, rule_id=word) for number, word in enumerate(WORDS, start=1))
    store.record(
        Changeset(at=NOW, deals=deals, tasks=tasks, told=tuple(WORDS), picks=tuple((word, 5) for word in WORDS)), epoch
    )
    for word in WORDS:
        store.bind({word: word})
    store.note_rules(WORDS, NOW)
    store.bind({word: word for word in WORDS})
    assert [deal.title for deal in store.deals().values()] == WORDS
    assert [task.title for task in store.task_records()] == WORDS
    assert [[task.title for task in store.tasks_of_rule(word, since=NOW - DAY)] for word in WORDS] == [
        [word] for word in WORDS
    ]
    assert store.told([*WORDS, "x"]) == set(WORDS)
    assert store.bindings() == {word: word for word in WORDS}
    assert store.bindings() == {word: word for word in WORDS}
    assert set(store.rules_loaded()) == set(WORDS)
    with closing(sqlite3.connect(store.name)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert set(metadata.tables) <= tables
