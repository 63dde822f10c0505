"""The table of layers: who may import whom, and what pure code may not touch. A new module has to be put into it."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from bitrix_sync.model.keys import FOREIGN, MARK, Moment, Purpose

ROOT = Path(__file__).parent.parent

LAYERS: Mapping[str, frozenset[str]] = {
    "doors": frozenset({"cli", "demo", "fleet", "scheduler", "webhooks"}),
    "services": frozenset({"app", "commands", "engine", "explain", "report", "setup", "sweeps"}),
    "outside world": frozenset({"clock", "log", "portal", "settings", "store"}),
    "pure core": frozenset({"decisions", "errors", "model", "rules", "words"}),
    "apart": frozenset({"bitrix_sandbox"}),
}
"""The first part of a module's name below ``bitrix_sync``, or the top-level name → its layer."""

DOWN = ("doors", "services", "outside world", "pure core")
SIBLINGS: Mapping[str, frozenset[str]] = {
    "cli": frozenset({"webhooks", "scheduler", "demo", "fleet"}),  # the command line is what starts the others
    "demo": frozenset({"webhooks", "scheduler", "bitrix_sandbox"}),
    "fleet": frozenset({"webhooks"}),  # the web side of many portals
    "portal": frozenset({"clock", "log"}),
    "store": frozenset({"log"}),
}
"""What else one may import beside or across its layer. Services know one another, but for ``app``, which wires them."""

# fmt: off
PURE_IMPORTS = frozenset({
    "__future__", "babel", "bisect", "calendar", "collections", "contextlib", "contextvars", "copy", "dataclasses",
    "datetime", "decimal", "difflib", "enum", "fractions", "functools", "hashlib", "heapq", "html", "importlib",
    "ipaddress", "itertools", "json", "math", "operator", "pkgutil", "re", "statistics", "string", "textwrap", "types",
    "typing", "unicodedata", "urllib", "zoneinfo",
    "holidays", "jinja2", "markupsafe", "pydantic", "pydantic_core", "rich", "yaml",
})
# fmt: on
"""The libraries of the pure core: none has a clock, an environment, a socket or a file of its own that we use."""

PURE_CALLS_NOT = frozenset({"open", "input", "print", "exec", "eval", "__import__"})
CLOCKS = frozenset({"now", "utcnow", "today"})
CLOCK_READERS = frozenset({"app", "bitrix_sandbox"})
MOST_ROOMS, MOST_ARROWS = 25, 149
"""Rooms of the whole house, and how many of them know each other: beyond that nobody has them in mind any more."""
SANDBOX_DOWN = ("http", "methods", "state")
"""The rooms of the sandbox portal, each above those that it may import; its door, the package itself, is above all."""


def modules() -> dict[str, str]:
    """Every module of the product by its dotted name, with its source."""
    packages = ("bitrix_sync", "bitrix_sandbox", "webhooks")
    files = [*(file for name in packages for file in ROOT.glob(f"{name}/**/*.py")), ROOT / "scheduler.py"]
    names = {file: ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in files}
    return {name: file.read_text(encoding="utf-8") for file, name in names.items()}


MODULES = modules()
tree = cache(ast.parse)


def everywhere(look: Callable[[str, str], list[Any]]) -> list[Any]:
    """What is found in any module of the product."""
    return [(module, found) for module, source in MODULES.items() for found in look(module, source)]


def head(module: str) -> str:
    """The name under which a module stands in the table; ``bitrix_sync`` itself stands in none."""
    parts = module.split(".")
    return parts[1] if parts[0] == "bitrix_sync" and len(parts) > 1 else parts[0]


def layer(name: str) -> str | None:
    return next((layer for layer, names in LAYERS.items() if name in names), None)


def imports(module: str, source: str, known: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """Line and dotted name of all that is imported, for type checking too; ``from p import m`` is ``p.m`` if known."""
    package = module if any(name.startswith(f"{module}.") for name in known) else module.rpartition(".")[0]
    for node in ast.walk(tree(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *filter(None, [node.module])])
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                yield node.lineno, whole if whole in known else base


def may_import(importer: str, imported: str) -> bool:
    """Whether the table lets one name import the other."""
    if importer == imported or imported in SIBLINGS.get(importer, frozenset()):
        return True
    above, below = layer(importer), layer(imported)
    if above not in DOWN or below not in DOWN:
        return False
    if above == below:
        return above == "pure core" or (above == "services" and imported != "app")
    return DOWN.index(above) < DOWN.index(below)


def floor(module: str) -> int:
    """How deep a module of the sandbox portal lies."""
    room = module.split(".")[1:2]
    return SANDBOX_DOWN.index(room[0]) if room else -1


def breaches(module: str, source: str, known: Mapping[str, str]) -> list[str]:
    """What in a module is against the table, each with its line."""
    name = head(module)
    ours = {name.split(".")[0] for name in known}
    pure = layer(name) == "pure core"
    found = []
    for line, imported in imports(module, source, known):
        top = imported.split(".")[0]
        if top in ours:
            if imported != "bitrix_sync" and not may_import(name, head(imported)):
                found.append(f"{module}:{line} imports {imported}")
            elif top == name == "bitrix_sandbox" and floor(module) > floor(imported):
                found.append(f"{module}:{line} imports {imported}, which is above it")
        elif pure and top not in PURE_IMPORTS:
            found.append(f"{module}:{line} imports {imported}, and is pure")
    for node in ast.walk(tree(source)):
        match node:
            case ast.Call(func=ast.Name(id=called)) if pure and called in PURE_CALLS_NOT:
                found.append(f"{module}:{node.lineno} calls {called}, and is pure")
            case ast.Attribute(value=ast.Name(id="datetime" | "date"), attr=attr) if (
                attr in CLOCKS and layer(name) != "doors" and name not in CLOCK_READERS
            ):
                found.append(f"{module}:{node.lineno} reads the clock: take the time as an argument")
            case ast.Attribute(value=ast.Name(id="os"), attr="environ" | "getenv") if name != "settings":
                found.append(f"{module}:{node.lineno} reads the environment: only settings.py does")
            case ast.ImportFrom(module="os", names=names) if name != "settings" and any(
                alias.name in ("environ", "getenv") for alias in names
            ):
                found.append(f"{module}:{node.lineno} reads the environment: only settings.py does")
    return found


def circle(arrows: Mapping[str, set[str]]) -> list[str]:
    """Names from which a road leads into a circle; empty when there is none."""
    left = {name: set(ends) for name, ends in arrows.items()}
    while ready := [name for name, ends in left.items() if not ends & left.keys()]:
        for name in ready:
            del left[name]
    return sorted(left)


def test_no_modules_import_each_other_in_a_circle() -> None:
    arrows = {name: {imported for _, imported in imports(name, MODULES[name], MODULES)} for name in MODULES}
    assert circle(arrows) == []


def test_a_circle_is_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == ["a", "b", "c", "d"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def room(module: str) -> str:
    """A folder or single module, as whoever looks for something meets it; the sandbox portal has three."""
    parts = module.split(".")
    return f"bitrix_sandbox.{[*parts, 'http'][1]}" if parts[0] == "bitrix_sandbox" else head(module)


def rooms(known: Mapping[str, str]) -> dict[str, set[str]]:
    """Rooms that others import or that import others, each with those that it imports."""
    arrows: dict[str, set[str]] = {}
    for module, source in known.items():
        for _, imported in imports(module, source, known):
            if imported in known and room(imported) not in (room(module), "bitrix_sync"):
                arrows.setdefault(room(module), set()).add(room(imported))
                arrows.setdefault(room(imported), set())
    return arrows


def test_the_house_has_few_rooms_and_none_leads_into_a_circle() -> None:
    arrows = rooms(MODULES)
    assert len(arrows) <= MOST_ROOMS, sorted(arrows)
    assert sum(map(len, arrows.values())) <= MOST_ARROWS
    assert circle(arrows) == []


def test_rooms_that_lead_into_a_circle_are_found() -> None:
    """No two modules are in a circle here, but their rooms are."""
    known = {
        "bitrix_sync.engine.a": "from bitrix_sync.sweeps import c",
        "bitrix_sync.engine.b": "",
        "bitrix_sync.sweeps.c": "",
        "bitrix_sync.sweeps.d": "from bitrix_sync.engine import b",
        "bitrix_sandbox.http.e": "from bitrix_sandbox.state import f",
        "bitrix_sandbox.state.f": "",
    }
    arrows = rooms(known)
    assert arrows["bitrix_sandbox.http"] == {"bitrix_sandbox.state"}
    assert circle(arrows) == ["engine", "sweeps"]


def test_every_module_has_its_place_in_the_table() -> None:
    homeless = [module for module in MODULES if module != "bitrix_sync" and layer(head(module)) is None]
    assert homeless == [], "put them into LAYERS"


def test_no_name_stands_in_two_layers() -> None:
    names = [name for layer in LAYERS.values() for name in layer]
    assert sorted(names) == sorted(set(names))


def test_imports_go_down_only_and_pure_code_is_pure() -> None:
    assert everywhere(lambda module, source: breaches(module, source, MODULES)) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("bitrix_sync.decisions.plan", "import time"),
        ("bitrix_sync.decisions.plan", "from pathlib import Path"),
        ("bitrix_sync.decisions.plan", "import structlog"),
        ("bitrix_sync.decisions.plan", "import os.path"),
        ("bitrix_sync.decisions.plan", "from bitrix_sync.store import Store"),
        ("bitrix_sync.decisions.plan", "from bitrix_sync.engine.passes import run_pass"),
        ("bitrix_sync.decisions.plan", "from .. import app"),
        ("bitrix_sync.decisions.plan", "def f():\n    import socket"),
        ("bitrix_sync.decisions.plan", "if TYPE_CHECKING:\n    from bitrix_sync.settings import Settings"),
        ("bitrix_sync.rules.load", "text = open('rules.yaml').read()"),
        ("bitrix_sync.rules.load", "from ..store import Store"),
        ("bitrix_sync.model.worktime", "today = date.today()"),
        ("bitrix_sync.model.worktime", "clock = datetime.now"),
        ("bitrix_sync.engine.passes", "now = datetime.now(UTC)"),
        ("bitrix_sync.engine.passes", "from bitrix_sync.app import Service"),
        ("bitrix_sync.engine.passes", "import webhooks.server"),
        ("bitrix_sync.engine.passes", "import os\nos.environ['X']"),
        ("bitrix_sync.engine.passes", "from bitrix_sandbox import Sandbox"),
        ("bitrix_sync.portal.client", "from bitrix_sync.store import Store"),
        ("bitrix_sync.portal.client", "from bitrix_sync.settings import Settings"),
        ("bitrix_sync.store.store", "from bitrix_sync.portal.client import Portal"),
        ("bitrix_sync.store.store", "from os import getenv"),
        ("bitrix_sync.log", "from bitrix_sync.settings import Settings"),
        ("bitrix_sync.app", "from bitrix_sync.cli import main"),
        ("bitrix_sync.app", "import scheduler"),
        ("bitrix_sandbox.state.portal", "from bitrix_sync.model.facts import Deal"),
        ("bitrix_sandbox.state.portal", "from bitrix_sync.portal.client import Portal"),
        ("bitrix_sandbox.http.server", "import bitrix_sync.errors"),
        ("bitrix_sandbox.http.server", "from webhooks.server import serve"),
        ("bitrix_sandbox.http.server", "import scheduler"),
        ("bitrix_sandbox.http.server", "from bitrix_sandbox import Sandbox"),
        ("bitrix_sandbox.methods.crm", "from bitrix_sandbox.http.wire import Request"),
        ("bitrix_sandbox.state.portal", "from bitrix_sandbox.methods.protocol import Answer"),
        ("bitrix_sandbox.state.portal", "if TYPE_CHECKING:\n    from bitrix_sandbox.http import wire"),
        ("bitrix_sync.app", "from bitrix_sandbox import Sandbox"),
        ("bitrix_sync.cli", "from bitrix_sandbox import Sandbox"),
        ("webhooks.server", "from bitrix_sync.cli import main"),
        ("webhooks.server", "import scheduler"),
        ("webhooks.server", "from bitrix_sandbox import Sandbox"),
        ("scheduler", "from webhooks.server import serve"),
    ],
)
def test_a_breach_is_found(module: str, source: str) -> None:
    known = {**MODULES, "bitrix_sync.engine.passes": "", "bitrix_sync.app": "", "bitrix_sync.rules.load": ""}
    assert breaches(module, source, known)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "bitrix_sync.decisions.plan",
            "from bitrix_sync.words.texts import say\nfrom bitrix_sync.rules.model import Rule\nimport math",
        ),
        (
            "bitrix_sync.engine.passes",
            "from bitrix_sync.store import Store\nfrom bitrix_sync.engine.sender import apply",
        ),
        ("bitrix_sync.app", "now = datetime.now(UTC)\nfrom bitrix_sync.engine.passes import run_pass"),
        (
            "bitrix_sync.cli",
            "from webhooks.server import serve\nfrom bitrix_sync import demo\nimport scheduler",
        ),
        (
            "bitrix_sync.portal.client",
            "import time\nfrom bitrix_sync.portal.rate_limiter import Pacer\nfrom bitrix_sync.log import redact",
        ),
        ("bitrix_sync.demo.story", "from bitrix_sandbox import Sandbox"),
        ("bitrix_sandbox.http.events", "from bitrix_sandbox.methods.protocol import method"),
        ("bitrix_sandbox.methods.crm", "from bitrix_sandbox.state.portal import PortalState"),
        ("webhooks.page", "from bitrix_sync.report import load\nfrom webhooks import Service"),
    ],
)
def test_what_is_allowed_is_no_breach(module: str, source: str) -> None:
    assert breaches(module, source, MODULES) == []


# --- names that last -------------------------------------------------------------------------------------------------

KEYS = "bitrix_sync.model.keys"
BEGINNINGS = (
    MARK,
    FOREIGN,
    "line:",
    *(one.beginning for one in Purpose),
    Moment.BACKFILL.of(""),
    Moment.FROM_NOW.of(""),
)
NAMES_OF_KEYS = frozenset({"key", "mark", "xml_id", "occurrence", "ref", "slot", "about"})
TAKES_APART = frozenset(
    {"startswith", "removeprefix", "removesuffix", "partition", "rpartition", "split", "rsplit", "endswith"}
)
SIGNS = (":", "/")
KEYLESS = frozenset({"rules", "bitrix_sandbox"})
"""They know nothing of keys; what looks like one there (``task: first-call``, a person of the rules) is none."""


def last_name(node: ast.AST) -> str:
    """``key`` of ``row.operation.key`` and of ``line["key"]``."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.Subscript(slice=ast.Constant(value=str(name))):
            return name
        case _:
            return ""


def is_key(value: object) -> bool:
    """True for text with which a name that lasts begins."""
    return isinstance(value, str) and value.startswith(BEGINNINGS)


def keys_made_by_hand(module: str, source: str) -> list[str]:
    """Where a key, a mark, an occurrence or the name of a sweep is put together or taken apart, each with its line."""
    if module == KEYS or head(module) in KEYLESS:
        return []
    found = []
    for node in ast.walk(tree(source)):
        match node:
            case ast.JoinedStr(values=[ast.Constant(value=begun), _, *_]) if is_key(begun) and " " not in begun:
                found.append(f"{module}:{node.lineno} writes a key")
            case ast.JoinedStr(values=[ast.FormattedValue(value=of), ast.Constant(value=str(sign)), *_]) if (
                last_name(of) in NAMES_OF_KEYS and sign.rstrip() == sign and sign[0] in SIGNS
            ):
                found.append(f"{module}:{node.lineno} writes a key")
            case ast.JoinedStr(values=[ast.FormattedValue(value=of), *_]) if last_name(of) in ("MARK", "FOREIGN"):
                found.append(f"{module}:{node.lineno} writes a key")
            case ast.BinOp(op=ast.Add(), left=left) if last_name(left) in ("MARK", "FOREIGN") or (
                isinstance(left, ast.Constant) and is_key(left.value)
            ):
                found.append(f"{module}:{node.lineno} writes a key")
            case ast.Call(func=ast.Attribute(value=of, attr=how), args=[said, *_]) if how in TAKES_APART and (
                last_name(said) in ("MARK", "FOREIGN")
                or (isinstance(said, ast.Constant) and is_key(said.value))
                or (last_name(of) in NAMES_OF_KEYS and isinstance(said, ast.Constant) and said.value in SIGNS)
            ):
                found.append(f"{module}:{node.lineno} takes a key apart")
    return found


def test_names_that_last_are_written_and_read_in_one_module() -> None:
    assert everywhere(keys_made_by_hand) == []


@pytest.mark.parametrize(
    "source",
    [
        'key = f"create:{record.occurrence}"',
        'key = f"line:follow:{record.occurrence}:{count}"',
        'key = "create:" + occurrence',
        'name = f"{record.occurrence}:2"',
        'name = f"{slot}/2"',
        'mark = f"{MARK}{occurrence}"',
        "mark = MARK + occurrence",
        'ref = f"task:{task.id}"',
        'moment = f"backfill:{rule.id}"',
        'visit = occurrence.partition(":")[0]',
        'rule = operation.key.split(":")[1]',
        'day = line["slot"].split("/")[0]',
        "name = task.mark.removeprefix(MARK)",
        'moved = row.key.startswith("sweep:")',
    ],
)
def test_a_key_made_by_hand_is_found(source: str) -> None:
    assert keys_made_by_hand("bitrix_sync.engine.passes", source)


@pytest.mark.parametrize(
    "source",
    [
        "key = str(Key(Purpose.CREATE, record.occurrence))",
        'text = f"{title}: {count}"',
        'text = f"{key}: {problem}"',
        'host = address.partition(":")[0]',
        'word = f"page.slot.{name}"',
        "moved = row.key.startswith(Purpose.SWEEP.beginning)",
    ],
)
def test_what_is_no_key_is_not_taken_for_one(source: str) -> None:
    assert keys_made_by_hand("bitrix_sync.engine.passes", source) == []


# --- flags -----------------------------------------------------------------------------------------------------------


def text_flags(module: str, source: str) -> list[int]:
    """Lines in which a small value of the store is reached by its name as text: only ``store.flags`` may do that."""
    if module in ("bitrix_sync.store.flags", "bitrix_sync.store.schema"):
        return []
    found = []
    for node in ast.walk(tree(source)):
        match node:
            case ast.Attribute(attr="setting" | "set_setting"):
                found.append(node.lineno)
            case ast.Attribute(value=ast.Name(id="schema"), attr="settings"):
                found.append(node.lineno)
            case ast.ImportFrom(module="bitrix_sync.store.schema", names=names) if any(
                alias.name == "settings" for alias in names
            ):
                found.append(node.lineno)
    return found


def test_flags_are_declared_in_one_place_with_their_types() -> None:
    assert everywhere(text_flags) == []


@pytest.mark.parametrize(
    "source",
    [
        "store.set_setting('paused', '1')",
        "store.setting('paused')",
        "from bitrix_sync.store.schema import settings",
        "connection.execute(select(schema.settings))",
    ],
)
def test_a_flag_that_is_text_is_found(source: str) -> None:
    assert text_flags("bitrix_sync.engine.passes", source) == [1]


# --- what is one database's alone ------------------------------------------------------------------------------------

DATABASES = ("sqlite3", "psycopg", "sqlalchemy.dialects")


def one_databases_own(module: str, source: str) -> list[int]:
    """Lines that know one database: its driver, its dialect, a statement of it alone."""
    if module in ("bitrix_sync.store.dialects", "bitrix_sync.store.postgres"):
        return []
    return [line for line, name in imports(module, source, MODULES) if name.startswith(DATABASES)] + [
        node.lineno
        for node in ast.walk(tree(source))
        if isinstance(node, ast.Constant) and str(node.value).lower().startswith(("pragma ", "begin immediate"))
    ]


def test_what_differs_between_databases_is_in_their_modules() -> None:
    assert everywhere(one_databases_own) == []


@pytest.mark.parametrize(
    "source",
    [
        "import sqlite3",
        "from sqlalchemy.dialects import postgresql",
        "from sqlalchemy.dialects.sqlite import insert",
        "connection.exec_driver_sql('PRAGMA journal_mode')",
    ],
)
def test_what_is_one_databases_own_is_found_elsewhere(source: str) -> None:
    assert one_databases_own("bitrix_sync.store.tasks", source) == [1]


# --- what operations do, typed ---------------------------------------------------------------------------------------

PAYLOADS = frozenset({"bitrix_sync.store.mapping", "bitrix_sync.store.schema", "bitrix_sync.store.retention"})
"""Where an action becomes the JSON of the store and the other way round, and where it is emptied."""


def raw_payloads(module: str, source: str) -> list[str]:
    """Where the stored form of an action is looked into, each with its line. A column may be selected."""
    if module in PAYLOADS or head(module) == "bitrix_sandbox":
        return []
    columns = ("c", "o", "operations")
    found = []
    for node in ast.walk(tree(source)):
        match node:
            case ast.Attribute(value=of, attr="payload") if last_name(of) not in columns:
                found.append(f"{module}:{node.lineno} looks into a payload")
            case ast.Subscript(value=ast.Name(id="payload")) | ast.Subscript(slice=ast.Constant(value="payload")):
                found.append(f"{module}:{node.lineno} looks into a payload")
            case ast.Call(func=ast.Attribute(value=ast.Name(id="payload"), attr="get")):
                found.append(f"{module}:{node.lineno} looks into a payload")
    return found


def test_nobody_looks_into_a_raw_payload() -> None:
    assert everywhere(raw_payloads) == []


@pytest.mark.parametrize(
    "source",
    [
        'user = operation.payload["user"]',
        'user = row.payload.get("user")',
        "payload = one.operation.payload",
        'owner = payload["owner"]',
        'owner = payload.get("owner")',
        'stored = row["payload"]',
    ],
)
def test_a_raw_payload_is_found(source: str) -> None:
    assert raw_payloads("bitrix_sync.engine.passes", source)


@pytest.mark.parametrize("source", ["query = select(o.kind, o.payload)", "owner = operation.action.owner"])
def test_a_typed_action_is_no_raw_payload(source: str) -> None:
    assert raw_payloads("bitrix_sync.engine.passes", source) == []


# --- kinds of items --------------------------------------------------------------------------------------------------

ITEMS = "bitrix_sync.model.items"
OF_DEALS = ("D_", "DEAL_STAGE", "ONCRMDEAL", "/crm/deal/", "crm.deal.")


def words_of_deals(module: str, source: str) -> list[str]:
    """Where the portal's own names for deals stand outside their descriptor, each with its line."""
    if module == ITEMS or head(module) in KEYLESS | {"words"}:
        return []
    whole = tree(source)
    blocks = [node for node in ast.walk(whole) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)]
    docs = {id(block.value) for block in blocks}
    found = []
    for node in ast.walk(whole):
        match node:
            case ast.Constant(value=str(text)) if text.startswith(OF_DEALS) and id(node) not in docs:
                found.append(f"{module}:{node.lineno} names deals: {text}")
            case ast.Dict(keys=keys, values=values):
                found += [
                    f"{module}:{node.lineno} has a number for a kind of items"
                    for key, value in zip(keys, values, strict=True)
                    if isinstance(key, ast.Constant) and key.value == "entityTypeId" and isinstance(value, ast.Constant)
                ]
    return found


def test_what_is_a_deals_own_stands_in_its_descriptor() -> None:
    assert everywhere(words_of_deals) == []


@pytest.mark.parametrize(
    "source",
    [
        'binding = f"D_{deal_id}"',
        'bound = text.startswith("D_")',
        'stages = "DEAL_STAGE"',
        'link = f"/crm/deal/details/{deal_id}/"',
        'method = "crm.deal.userfield.list"',
        'params = {"entityTypeId": 2}',
    ],
)
def test_a_name_of_deals_elsewhere_is_found(source: str) -> None:
    assert words_of_deals("bitrix_sync.portal.reading", source)


@pytest.mark.parametrize("source", ['"""``D_10``"""', 'params = {"entityTypeId": DEAL.entity_type}'])
def test_the_descriptor_is_what_others_use(source: str) -> None:
    assert words_of_deals("bitrix_sync.portal.reading", source) == []


# --- names -----------------------------------------------------------------------------------------------------------

SAME_NAME: Mapping[str, str] = {
    "Moment": "a column of the schema is named by what it holds",
    "Words": "likewise",
    "Slot": "that of a report is the slot of the rules as the snapshot keeps it",
    "Part": "a part of a line of text and one of a chart meet nowhere",
}
"""Classes that may share a name, with the reason."""


def shared_names(sources: Mapping[str, str]) -> dict[str, list[str]]:
    """Class name → the modules that have one, where there are several; the sandbox is a program of its own."""
    found: dict[str, list[str]] = {}
    for module, source in sources.items():
        for node in ast.walk(tree(source)):
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append(module)
    return {name: places for name, places in found.items() if len(places) > 1}


def test_no_two_classes_have_one_name() -> None:
    product = {module: source for module, source in MODULES.items() if not module.startswith("bitrix_sandbox")}
    assert sorted(shared_names(product)) == sorted(SAME_NAME)


def test_a_second_class_of_a_name_is_found() -> None:
    sources = {"webhooks.page": "class Notice: ...", "bitrix_sync.sweeps.run": "def f():\n    class Notice: ..."}
    assert shared_names(sources) == {"Notice": ["webhooks.page", "bitrix_sync.sweeps.run"]}
    assert shared_names({"webhooks.page": "class Notice: ...\nclass Letter: ..."}) == {}
