"""The documentation is true: its examples load, its tables are computed, its names are those of the code.

How examples are marked is told in ``documents.py``.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from datetime import UTC, timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

from bitrix_sync import cli
from bitrix_sync.decisions import plan
from bitrix_sync.model.actions import AddItem
from bitrix_sync.model.facts import Deal, Visit
from bitrix_sync.model.operations import DealState, State
from bitrix_sync.report import REPORTS
from bitrix_sync.rules.conditions import CannotJudge, Facts
from bitrix_sync.rules.deadlines import compute
from bitrix_sync.rules.durations import UNITS
from bitrix_sync.rules.file import SECTIONS, TaskEntry, keys_of
from bitrix_sync.rules.load import load
from bitrix_sync.rules.model import Rules
from bitrix_sync.rules.persons import Picks
from bitrix_sync.rules.schema import json_schema
from bitrix_sync.rules.yaml import read
from bitrix_sync.settings import Settings
from bitrix_sync.store import Store
from bitrix_sync.words import language as catalogue
from bitrix_sync.words.texts import VERDICTS, moment_text
from tests.documents import (
    FENCE,
    KEYED,
    LANGUAGES,
    LINK,
    NAMES,
    ROOT,
    Block,
    anchors,
    blocks,
    codes,
    document,
    moment,
    portal,
    prose,
    table,
    tables,
    task_with,
    whole_file,
)
from tests.test_layers import LAYERS
from tools import docs

DOCUMENTS = [
    "README.md",
    "README.ru.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    *(str(p.relative_to(ROOT)) for p in ROOT.glob("docs/**/*.md")),
]
READMES = {"en": "README.md", "ru": "README.ru.md"}
TASK_KEYS = frozenset(keys_of(TaskEntry))


def loaded(kind: str, text: str, language: str) -> Rules:
    """The rules of an example; fails with what is wrong with it."""
    found = load(whole_file(kind, text, language), directory=portal(language))
    assert [str(problem) for problem in found.errors] == []
    assert found.rules is not None
    return found.rules


def task_codes(text: str) -> list[str]:
    """Code within lines that says what a task does: ``owner: head``."""
    return [code for code in codes(text) if (key := KEYED.match(code)) and key[1] in TASK_KEYS and "…" not in code]


def examples(language: str) -> list[tuple[str, str]]:
    """Kind and text of every example of the language's page on rules."""
    text = document(f"docs/{language}/rules.md")
    found = [(block.kind, block.text) for block in blocks(text, "yaml") if block.kind != "yaml wrong"]
    return found + [("yaml task", task_with(code)) for code in dict.fromkeys(task_codes(text))]


# --- the rules language ----------------------------------------------------------------------------------------------


def yaml_blocks() -> list[Any]:
    """Every block of every page that must load, with its language."""
    found = []
    pages = [(language, f"docs/{language}/{page}.md") for language in LANGUAGES for page in ("rules", "operation")]
    for language, path in [*pages, *READMES.items()]:
        for block in blocks(document(path), "yaml"):
            if block.kind not in ("yaml wrong", "yaml prometheus"):
                found.append(pytest.param(language, block, id=f"{path}:{block.line}"))
    return found


@pytest.mark.parametrize(("language", "block"), yaml_blocks())
def test_every_example_is_a_file_that_loads(language: str, block: Block) -> None:
    loaded(block.kind, block.text, language)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_example_within_a_line_loads(language: str) -> None:
    found = dict.fromkeys(task_codes(document(f"docs/{language}/rules.md")))
    assert len(found) > 50
    for code in found:
        loaded("yaml task", task_with(code), language)


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_shown_as_wrong_is_refused_in_these_words(language: str) -> None:
    found = blocks(document(f"docs/{language}/rules.md"))
    pairs = [(one, two) for one, two in pairwise(found) if one.kind == "yaml wrong"]
    assert pairs
    for wrong, message in pairs:
        problems = load(whole_file(wrong.kind, wrong.text, language), directory=portal(language)).errors
        assert [str(problem) for problem in problems] == message.text.splitlines()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_key_and_every_word_of_the_language_has_an_example(language: str) -> None:
    keys, words = wanted()
    shown: set[str] = set()
    spans: set[str] = set()
    for kind, text in examples(language):
        used = set(everything(read(whole_file(kind, text, language)).data))
        shown |= used
        spans |= {word.rstrip("s") for one in used if (word := one.partition(" ")[2])}
    # a value that stands in a table beside its key is shown there
    told = shown | set(codes(document(f"docs/{language}/rules.md")))
    assert sorted(keys - shown) == []
    assert sorted(words - told) == []
    assert sorted({unit.rstrip("s") for unit in UNITS} - spans) == []


@cache
def wanted() -> tuple[frozenset[str], frozenset[str]]:
    """Every key that the schema has, and every word that it lists as a value."""
    keys: set[str] = set()
    words: set[str] = set()
    pending: list[Any] = [json_schema()]
    while pending:
        part = pending.pop()
        if isinstance(part, dict):
            keys |= set(part.get("properties", {}))
            listed = part.get("enum", [part["const"]] if "const" in part else [])
            words |= {one for one in listed if isinstance(one, str)} if len(listed) < 50 else set()
            pending += part.values()
        elif isinstance(part, list):
            pending += part
    return frozenset(keys), frozenset(words)


def everything(data: Any) -> Iterator[str]:
    """Keys and texts of plain data."""
    if isinstance(data, dict):
        yield from data
        data = list(data.values())
    if isinstance(data, list):
        for one in data:
            yield from everything(one)
    elif isinstance(data, str):
        yield data


def test_what_is_made_from_the_program_is_up_to_date() -> None:
    made = docs.pages()
    assert set(made) >= {ROOT / f"docs/{language}/rules.md" for language in LANGUAGES}
    assert [str(path) for path, text in made.items() if path.read_text(encoding="utf-8") != text] == [], "run make docs"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_section_of_keys_has_its_table(language: str) -> None:
    assert {found[2] for found in docs.TABLE.finditer(document(f"docs/{language}/rules.md"))} == set(SECTIONS)


# --- computed tables -------------------------------------------------------------------------------------------------


def example_of(code: str, language: str) -> tuple[Rules, Any]:
    rules = loaded("yaml section", "timezone: Europe/Moscow", language)
    task = loaded("yaml task", task_with(code), language)
    return rules, task.by_id["example"]


def rows_with(language: str, key: str) -> list[tuple[list[str], list[str]]]:
    """Head and row of the tables whose first column are codes of this key and whose third is a result."""
    found = []
    for rows in tables(document(f"docs/{language}/rules.md")):
        head, body = rows[0], rows[1:]
        found += [(head, row) for row in body if len(row) == 3 and row[0].startswith(f"`{key}: ")]
    return found


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_dates_in_the_tables_are_those_that_the_program_computes(language: str) -> None:
    rows = [(head, row) for head, row in rows_with(language, "deadline") if moment(language, row[2])]
    assert len(rows) > 25
    for head, (code, seen, due) in rows:
        rules, task = example_of(code.strip("`"), language)
        fixed = moment(language, head[2])
        entered = fixed or moment(language, seen)
        assert entered is not None
        value = moment(language, seen) if fixed else None
        computed = compute(
            task.deadline,
            entry=entered,
            start=entered,
            now=entered,
            calendar=rules.calendar,
            fields={code: value.isoformat() if value else None for code in ("UF_CRM_SHIP_DATE", "UF_CRM_CALL_AT")},
            deal_fields=rules.deal_fields,
            happened=lambda event: None,
        )
        assert moment_text(language, rules.calendar.local(computed.at)) == due, (code, seen)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_conditions_in_the_table_hold_where_it_says_so(language: str) -> None:
    names = NAMES[language]
    rows = rows_with(language, "if")
    assert len(rows) > 10
    for _, (code, deal, task) in rows:
        rules, rule = example_of(code.strip("`"), language)
        fields = read(deal.strip("`")).data
        assert fields.keys() <= rule_fields(rules, code)
        try:
            judged = Facts(fields=fields, deal_fields=rules.deal_fields, zone=rules.calendar.zone).judge(rule.condition)
            verdict = names.yes if judged.holds else names.no
        except CannotJudge:
            verdict = names.error
        assert verdict == task, (code, deal)


def rule_fields(rules: Rules, code: str) -> set[str]:
    return {field for field in rules.deal_fields if field in code}


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_first_rule_of_the_readme_makes_the_task_beside_it(language: str) -> None:
    text, names = document(READMES[language]), NAMES[language]
    rules = loaded("yaml", blocks(text, "yaml")[0].text, language)
    entered = moment(language, prose(text))
    assert entered is not None
    company = portal(language).company
    deal = Deal(7, names.deal, 0, "NEW", "P", 6, 6, 0, 0, entered, entered, fields={"TITLE": names.deal})
    world = plan.World(company, Picks(), loaded={"first-call": entered - timedelta(days=1)}, started=entered)
    state = DealState(7, deal, visits=(Visit(9031, 7, 1, 0, "NEW", "P", entered),))
    decided = plan.decide(state, rules, world, now=entered.astimezone(UTC) + timedelta(seconds=5))
    (record,) = decided.tasks
    assert record.deadline is not None
    assert record.supervisor_id is not None
    assert [row[1] for row in table(text, "", "")] == [
        record.title,
        company.name(record.owner_id),
        company.name(record.supervisor_id),
        moment_text(language, rules.calendar.local(record.deadline)),
        " · ".join(op.action.title for op in decided.operations if isinstance(op.action, AddItem) and op.action.under),
    ]
    assert names.deal in prose(text)


# --- the README ------------------------------------------------------------------------------------------------------


def settings_in_code() -> list[tuple[str, str, str]]:
    """Name, default and meaning of each setting, as the table writes them."""
    found = []
    for field in Settings.model_fields.values():
        default = field.default
        shown = f"`{default:g}`" if isinstance(default, float | int) else f"`{default}`"
        shown = "required" if field.alias == "BITRIX_WEBHOOK_URL" else "none" if not default else shown
        found.append((str(field.alias), shown, str(field.description)))
    return found


def test_the_table_of_settings_is_that_of_the_code() -> None:
    rows = table(document("README.md"), "name", "default", "meaning")
    assert [(row[0].strip("`"), row[1], row[2]) for row in rows] == settings_in_code()


def test_the_russian_table_of_settings_has_the_same_names_and_defaults() -> None:
    rows = table(document("README.ru.md"), "имя", "по умолчанию", "что значит")
    words = {"required": "обязательна", "none": "нет"}
    assert [(row[0].strip("`"), row[1]) for row in rows] == [
        (name, words.get(default, default)) for name, default, _ in settings_in_code()
    ]


def commands_in_code() -> dict[str, Any]:
    """Every command of the command line by its name, those of a group with the group's before it."""
    found: dict[str, Any] = {}
    for name, command in typer.main.get_command(cli.app).commands.items():  # type: ignore[attr-defined]
        below = getattr(command, "commands", {"": command})
        found |= {f"{name} {one}".strip(): other for one, other in below.items()}
    return found


def command_named(cell: str) -> str:
    """The name of the command in a cell of the table."""
    words = cell.strip("`").split()[1:]
    return " ".join(words[: 1 + (" ".join(words[:2]) in commands_in_code())])


def options(command: Any) -> set[str]:
    """The options of a command that its usage shows."""
    return {name for param in command.params for name in param.opts if name.startswith("--")} - {"--json", "--help"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_table_of_commands_has_every_command_with_its_options(language: str) -> None:
    head = {"en": ("command", "what it does"), "ru": ("команда", "что делает")}[language]
    rows = table(document(READMES[language]), *head)
    shown = {command_named(row[0]): set(re.findall(r"--[a-z-]+", row[0])) for row in rows}
    assert shown == {name: options(command) for name, command in commands_in_code().items()}


def test_the_table_of_commands_says_what_their_help_says() -> None:
    rows = table(document("README.md"), "command", "what it does")
    shown = {command_named(row[0]): row[1].replace("`", "") for row in rows}
    said = {name: (command.help or "").split("\n\n")[0] for name, command in commands_in_code().items()}
    assert shown == {name: " ".join(text.split()).replace("`", "") for name, text in said.items()}


@pytest.mark.parametrize(("language", "head"), [("en", "exit code"), ("ru", "код выхода")])
def test_the_exit_codes_are_those_of_the_errors(language: str, head: str) -> None:
    codes_shown = {int(row[0]) for row in table(document(READMES[language]), head)}
    errors = importlib.import_module("bitrix_sync.errors")
    raised = {value.exit_code for value in vars(errors).values() if hasattr(value, "exit_code")}
    assert codes_shown == {0, 2, 130} | raised


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Any]:
    """A client of the whole web side of a service that has not begun to work."""
    from bitrix_sync.app import Service
    from webhooks.server import create_app

    given = {
        "BITRIX_WEBHOOK_URL": "http://127.0.0.1:9/rest/1/code/",
        "DATABASE_URL": f"sqlite:///{tmp_path / 'store.db'}",
        "BITRIX_RULES": str(tmp_path / "rules.yaml"),
    }
    service = Service(Settings.model_validate(given))
    yield create_app(service).test_client()
    service.close()


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_web_addresses_are_there(language: str, web: Any) -> None:
    rows = table(document(READMES[language]), {"en": "address", "ru": "адрес"}[language])
    shown = [row[0].split("`")[1].split() for row in rows]
    assert ["POST", "/webhooks/bitrix24"] in shown
    for method, address in shown:
        if (method, address) not in {("POST", "/webhooks/bitrix24"), ("GET", "/")}:
            assert web.open(address, method=method).status_code in (200, 503)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_metrics_are_those_that_are_told(language: str, web: Any) -> None:
    told = set(re.findall(r"^# TYPE (\S+) ", web.get("/metrics").get_data(as_text=True), re.MULTILINE))
    text = document(f"docs/{language}/operation.md")
    shown = {row[0].strip("`") for row in table(text, {"en": "metric", "ru": "показатель"}[language])}
    assert shown == told
    (alerts,) = blocks(text, "yaml prometheus")
    assert set(re.findall(r"bitrix_sync_\w+", alerts.text)) <= told
    assert set(re.findall(r'state="(\w+)"', alerts.text)) <= {state.value for state in State}


@pytest.mark.parametrize(("language", "head"), [("en", "report"), ("ru", "отчёт")])
def test_the_keys_of_reports_are_those_that_are_printed(language: str, head: str) -> None:
    rows = table(document(READMES[language]), head)
    shown = {row[0].strip("`"): tuple(re.findall(r"`(\w+)`", row[3])) for row in rows}
    assert shown == {name: one.keys for name, one in REPORTS.items()}, "run `make docs`"


# --- operation -------------------------------------------------------------------------------------------------------


@cache
def sources(*patterns: str) -> str:
    """The text of modules of the package."""
    files = [path for pattern in patterns for path in sorted((ROOT / "bitrix_sync").glob(pattern))]
    return "".join(path.read_text(encoding="utf-8") for path in files)


def listed(language: str, **heads: tuple[str, ...]) -> list[str]:
    """The codes in the first column of the table of the page on operation that has this head in its language."""
    rows = table(document(f"docs/{language}/operation.md"), *heads[language])
    return [code for row in rows for code in re.findall(r"`([^`]+)`", row[0])]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_lines_of_status_are_explained(language: str, store: Store) -> None:
    from bitrix_sync.report import state_of_things

    shown = listed(language, en=("line", "what it says"), ru=("строка", "о чём она"))
    assert shown == list(state_of_things(store, Settings()))


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_states_of_operations_are_explained(language: str) -> None:
    assert listed(language, en=("state",), ru=("состояние",)) == [state.value for state in State]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_lines_of_the_log_are_those_that_are_written(language: str) -> None:
    written = sources("**/*.py")
    lines = listed(language, en=("line", "meaning"), ru=("строка", "что значит"))
    assert len(lines) > 10
    assert [line for line in lines if not re.search(rf'log\.\w+\(\s*"{re.escape(line)}', written)] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_why_says_is_explained(language: str) -> None:
    rows = table(document(f"docs/{language}/operation.md"), {"en": "it says", "ru": "там сказано"}[language])
    shown = [row[0][1:-1] for row in rows]
    said = {verdict: catalogue.MESSAGES[language][f"why.{verdict}"] for verdict in VERDICTS}
    assert [one for one in shown if not any(text.startswith(one) for text in said.values())] == []
    made = {
        verdict
        for verdict in said
        if f'"{verdict}"'
        in sources(*("**/plan.py", "**/sync.py", "**/passes.py", "**/sweep.py", "sweeps/*.py", "engine/*.py"))
    }
    unexplained = {verdict for verdict in made if not said[verdict].startswith(tuple(shown))}
    assert unexplained == {"not_followed_person"}  # its sentence is a choice


# --- names and links -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", DOCUMENTS)
def test_links_lead_somewhere(path: str) -> None:
    text = document(path)
    for target in LINK.findall(prose(text)):
        if target.startswith(("https://", "http://")):
            continue
        file, _, anchor = target.partition("#")
        there = (ROOT / path).parent / file if file else ROOT / path
        assert there.exists(), target
        if anchor:
            assert anchor in anchors(there.read_text(encoding="utf-8")), target


@pytest.mark.parametrize("path", DOCUMENTS)
def test_every_block_is_closed_and_no_line_ends_in_blanks(path: str) -> None:
    text = document(path)
    assert text.count("```") == 2 * len(FENCE.findall(text))
    assert [line for line in text.splitlines() if line != line.rstrip()] == []


@pytest.mark.parametrize(
    "path", ["docs/architecture.md", "docs/sandbox.md", "docs/security.md", "README.md", "CONTRIBUTING.md"]
)
def test_files_functions_and_tests_that_are_named_exist(path: str) -> None:
    found = codes(document(path))
    files = [code for code in found if re.fullmatch(r"[\w./-]+\.(?:py|md|yaml|toml|lock)|[\w./-]+/", code)]
    assert [one for one in files if not (ROOT / one).exists()] == []
    tests = [code for code in found if re.fullmatch(r"tests/\w+\.py::\w+", code)]
    assert [one for one in tests if one.partition("::")[2] not in functions_of(one.partition("::")[0])] == []
    names = [code for code in found if re.fullmatch(r"(?:\w+\.)+\w+", code) and code.split(".")[0] in packages()]
    assert [one for one in names if not (one in files or exists(one))] == []


def test_the_layers_are_those_that_the_test_of_layers_holds() -> None:
    rows = table(document("docs/architecture.md"), "layer", "where")
    shown = {
        row[0]: {
            Path(code.removeprefix("bitrix_sync/")).parts[0].removesuffix(".py")
            for code in re.findall(r"`([^`]+)`", row[1])
        }
        for row in rows
    }
    assert shown.keys() == LAYERS.keys() - {"apart"}
    assert [(layer, name) for layer, names in shown.items() for name in sorted(names - LAYERS[layer])] == []


@cache
def functions_of(path: str) -> frozenset[str]:
    file = ROOT / path
    tree = ast.parse(file.read_text(encoding="utf-8")) if file.exists() else ast.Module([], [])
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


@cache
def packages() -> frozenset[str]:
    """The first part of names such as ``plan.decide`` and ``portal.reading.News``."""
    inside = (path.stem for path in (ROOT / "bitrix_sync").iterdir() if not path.name.startswith("_"))
    return frozenset({*inside, "bitrix_sync", "webhooks", "scheduler"}) - {"schema"}


def exists(name: str) -> bool:
    """True for a module of the product, or something in one, by its name below ``bitrix_sync``."""
    parts = name.split(".")
    for start in ("", "bitrix_sync."):
        for at in range(len(parts), 0, -1):
            try:
                found: ModuleType | Any = importlib.import_module(start + ".".join(parts[:at]))
            except ModuleNotFoundError:
                continue
            for part in parts[at:]:
                found = getattr(found, part, None)
            if found is not None:
                return True
    return False
