"""A Russian administrator meets no English sentence: every table, every sentence of the source, and a walk through
every command, page and message with ``language: ru``. Names, codes, keys, commands and addresses stay as they are."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from bitrix_sync.cli import app
from bitrix_sync.report import REPORTS
from bitrix_sync.rules.schema import json_schema
from bitrix_sync.words import ru
from bitrix_sync.words.texts import reason_text
from bitrix_sync.words.usage import fault_text, usage_text

ROOT = Path(__file__).parent.parent
# --- what is no English ----------------------------------------------------------------------------------------------

TECHNICAL = """
    Bitrix24 bitrix sync sonet yaml json csv sqlite http https localhost float args kwargs set filter crm com mon fri
    never text ctrl c pip install workday workminutes make demo IPv PostgreSQL stderr env mail true false null SIGTERM
"""
"""Names, signs of the file's language and of templates that the schema does not list."""


def keys(part: Any) -> Iterator[str]:
    """Keys and values of the rules language."""
    if isinstance(part, dict):
        yield from part.get("properties", {})
        yield from (one for one in part.get("enum", ()) if isinstance(one, str))
    for below in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from keys(below)


COMMANDS = sorted(get_command(app).commands)  # type: ignore[attr-defined]
ALLOWED = frozenset(word.lower() for word in [*TECHNICAL.split(), *keys(json_schema("en")), *COMMANDS, *REPORTS])
CODES = re.compile(
    r"https?://\S+|\S+@\S+|[\w.~-]*/[\w./~:-]+|\b[a-z]+(?:\.[a-z]+)+\b|\b[a-z]+[A-Z]\w*|--[a-z-]+|\w+_\w+|\{\{.*?\}\}|\{[a-z_:]*\}"
)
"""Addresses, paths, methods of the portal, options, codes with underscores, what a template or a sentence fills in."""


def english(text: str) -> list[str]:
    """Latin words of three letters or more that are no code, no name and no key."""
    words = re.findall(r"[A-Za-z]{3,}", CODES.sub(" ", text))
    return [word for word in words if word.lower() not in ALLOWED and not word.isupper()]


def test_english_is_seen() -> None:
    assert english("the file cannot be read") == ["the", "file", "cannot", "read"]
    assert english("Правило presentation-call: UF_CRM_X, `bitrix-sync run`, crm.item.list, https://a.example/b") == [
        "presentation",
        "call",
    ]


# --- the tables and the source ---------------------------------------------------------------------------------------


def said(table: Any) -> Iterator[str]:
    """Every text of a table."""
    if isinstance(table, Mapping):
        for value in table.values():
            yield from said(value)
    elif isinstance(table, tuple):
        for value in table:
            yield from said(value)
    elif table:
        yield table


@pytest.mark.parametrize("name", ["MESSAGES", "CHOICES", "NOUNS", "USAGE", "FAULTS", "TROUBLES", "FIRST_RULES", "KEYS"])
def test_every_table_is_russian(name: str) -> None:
    assert [text for text in said(getattr(ru, name)) if english(text)] == []


HANDED_ON = {
    *("UserError", "SettingError", "PortalError", "PortalRefused", "StoreError", "BadParameter", "TemplateFault"),
    *("Unread", "UnreadableRow", "NoReply", "Outcome", "not_sent", "lost_answer", "Health"),
}
"""What carries a sentence to a person; a ValueError does in settings alone."""


def sentences() -> Iterator[tuple[str, str]]:
    """Every sentence that the source hands to a person, with its place; `0` is what varies."""
    for path in sorted([*(ROOT / "bitrix_sync").rglob("*.py"), *(ROOT / "webhooks").rglob("*.py")]):
        where = path.relative_to(ROOT / "bitrix_sync").as_posix() if "bitrix_sync" in path.parts else path.name
        told = HANDED_ON | ({"ValueError"} if where in ("settings.py", "model/webhook.py") else set())
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and _called(node) in told:
                for part in [*node.args, *(one.value for one in node.keywords)]:
                    yield from ((f"{where}:{node.lineno}", text) for text in _sentences_of(part))


def _called(node: ast.Call) -> str:
    return getattr(node.func, "attr", "") or getattr(node.func, "id", "")


def _sentences_of(node: ast.AST) -> Iterator[str]:
    """Texts below an expression, those that are put together as one; of several words."""
    if isinstance(node, ast.JoinedStr):
        text = "".join(str(part.value) if isinstance(part, ast.Constant) else "`0`" for part in node.values)
    elif isinstance(node, ast.Constant):
        text = node.value if isinstance(node.value, str) else ""
    else:
        for below in ast.iter_child_nodes(node):
            yield from _sentences_of(below)
        return
    if " " in text.strip():
        yield text.replace("``", "`")


def test_every_sentence_of_the_source_is_russian() -> None:
    left = [
        (where, text)
        for where, text in sentences()
        if all(english(spoken("ru", text).replace("`0`", "")) for spoken in (usage_text, fault_text, reason_text))
    ]
    assert left == []
