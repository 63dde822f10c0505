"""What is wrong with a rules file is told in the file's language, every sentence of it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from time import thread_time
from typing import Any

import pytest

from bitrix_sync import rules
from bitrix_sync.rules.load import load
from bitrix_sync.rules.schema import json_schema
from bitrix_sync.words.language import FALL_BACK, FAULTS, named
from bitrix_sync.words.usage import fault_text
from tests.test_rules_loading import table

LANGUAGES = sorted(FAULTS)
SAME_EVERYWHERE = {
    *("BB-коды", "e-mail", "id", "Id", "YAML", "true", "false", "workdays", "responsible", "creator", "head", "tz"),
}
"""Words that an administrator meets in Latin letters whatever the language."""
OF_PARTS = {
    "{} {} of the funnel {} {} no task.",
    "The webhook lacks the scope {} {}.",
    "A task with `{}: true` cannot be completed by itself{}.",
    "{} {}: write `{}` in {} letters.",
    "{} several {}s of the name `{}`: {}.",
    "The {} `{}` is called `{}` in the portal now ({}){}.",
    "{} no {} `{}`.",
    "{} {}.",
    "{} {}{}.",
    "Write `{}: keep`, `defer` or `delete`{}, or leave `{}` out.",
    "Write the name of a {} as the portal shows it, or its id.",
    "Write the {} of the one you mean.",
}
"""Sentences that are made of words of ours: the table has each of those that can come of them."""


def latin(text: str) -> list[str]:
    """Words in Latin letters that are neither a value of the file nor a code of the portal."""
    bare = re.sub(r"`[^`]*`|\"[^\"]*\"|\([^()]*\)|\S+@\S+|\{\{.*?\}\}", " ", text)
    return [
        word for word in re.findall(r"[A-Za-z][\w:.-]*\w", bare) if word not in SAME_EVERYWHERE and not word.isupper()
    ]


def sentences() -> Iterator[tuple[str, str]]:
    """Every whole sentence in the source of the rules, with where it stands; {} is what varies."""
    for path in sorted(Path(rules.__path__[0]).glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        aside = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        aside |= {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and node.arg == "description":
                aside.add(id(node.value))
            if isinstance(node, ast.Dict):  # a schema's hint
                hints = zip(node.keys, node.values, strict=True)
                aside |= {id(value) for key, value in hints if key is not None and words(key) == "description"}
            if id(node) not in aside and (text := words(node)) and re.match(r"[A-Z`{].* .*[.?]$", text, re.DOTALL):
                yield f"{path.name}:{node.lineno}", text  # type: ignore[attr-defined]


def words(node: ast.AST) -> str:
    """A text of the source; "" for anything else."""
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def test_what_a_broken_file_is_told_in_russian_is_russian() -> None:
    pairs = [pair for broken in table() for pair in zip(broken.english, broken.russian, strict=True)]
    told = [
        russian[next((at for at, one in enumerate(english) if russian[at : at + 1] != one), 0) :]
        for english, russian in pairs
    ]
    assert [line for line in told if latin(line)] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_sentence_of_the_rules_is_in_the_table(language: str) -> None:
    missing = [
        (where, sentence)
        for where, sentence in sentences()
        if sentence not in OF_PARTS and latin(fault_text(language, sentence.replace("{}", "`0`").replace("``", "`")))
    ]
    assert missing == []


def hints(part: Any) -> Iterator[str]:
    """Every hint of a schema."""
    if isinstance(part, dict) and isinstance(hint := part.get("description"), str):
        yield hint
    for below in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from hints(below)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_hints_of_the_schema_are_in_the_language(language: str) -> None:
    assert [hint for hint in hints(json_schema(language)) if latin(hint.replace("bitrix-sync", ""))] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_varies_is_not_lost(language: str) -> None:
    for sentence, said in FAULTS[language].items():
        assert set(re.findall(r"\{\d\}", said)) <= set(re.findall(r"\{\d\}", sentence)), sentence


def test_the_language_is_found_in_a_file_that_cannot_be_read() -> None:
    assert named("language: ru\nfunnels: [\n") == "ru"
    assert named("funnels: [\nlanguage: 'en' # as it is\n") == FALL_BACK
    (line,) = load('version: 1\nlanguage: ru\ntimezone: "Europe/Moscow\n').refusals()
    assert line.startswith("rules.yaml:3:11: Не закрыта кавычка.")


def test_english_stays_as_it_is() -> None:
    loaded = load("language: en\nversion: 2\n")
    assert loaded.refusals() == [str(problem) for problem in loaded.errors]


def test_a_long_text_takes_no_time() -> None:
    began = thread_time()
    for text in ("; " * 100_000, "`" * 100_000, "{0} is " * 50_000, "did you mean " * 50_000):
        fault_text("ru", f"The template is wrong: {text}")
    assert thread_time() - began < 5.0
