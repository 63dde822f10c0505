"""A Russian administrator meets no English sentence: every table, every sentence of the source, and a walk through
every command, page and message with ``language: ru``. Names, codes, keys, commands and addresses stay as they are."""

from __future__ import annotations

import ast
import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from typer.main import get_command

from bitrix_sandbox import Sandbox
from bitrix_sandbox.state.clock import Clock
from bitrix_sync.cli import app, every
from bitrix_sync.portal.dialect.error_text import explain
from bitrix_sync.portal.dialect.outcomes import not_sent
from bitrix_sync.report import REPORTS
from bitrix_sync.rules.schema import json_schema
from bitrix_sync.store import Store
from bitrix_sync.words import ru
from bitrix_sync.words.texts import reason_text
from bitrix_sync.words.usage import fault_text, usage_text
from tests.world.records import Door, Standing, settings
from tests.world.shell import Ran, Shell
from tests.world.sweeps import FIRED, HEAD, IGOR, MARIA, MONDAY, Department, plain
from webhooks import page
from webhooks.server import create_app

ROOT = Path(__file__).parent.parent
# --- what is no English ----------------------------------------------------------------------------------------------

TECHNICAL = """
    Bitrix24 bitrix sync yaml server json csv sqlite http https localhost float args kwargs set filter crm com mon fri
    never text ctrl pip install workday workhours workminutes make demo IPv PostgreSQL stderr env mail true false null
    SIGTERM sonet userfieldconfig template fleet chat fsync conf linux macos windows wsl
    cryptography git gitignore person rule funnel
"""
"""Names, signs of the file's language and of templates that the schema does not list."""


def keys(part: Any) -> Iterator[str]:
    """Keys and values of the rules language."""
    if isinstance(part, dict):
        yield from part.get("properties", {})
        yield from (one for one in part.get("enum", ()) if isinstance(one, str))
    for below in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from keys(below)


COMMANDS = sorted(name for one in every(get_command(app)) for name in getattr(one, "commands", {}))
ALLOWED = frozenset(word.lower() for word in [*TECHNICAL.split(), *keys(json_schema("en")), *COMMANDS, *REPORTS])
CODES = re.compile(
    r"https?://\S+|\S+@\S+|[\w.~-]*/[\w./~:-]+|\b[a-z]+(?:\.[a-z]+)+\b|\b[a-z]+[A-Z]\w*|--[a-z-]+|\w+_\w+|\{\{.*?\}\}|"
    r"\{%.*?%\}|\{[a-z_:]*\}|\w+\.(?:pem|db|yaml)|\([A-Z]\w+Error\)|\bX-[A-Z][\w-]+|\bUTM \w+|\"[a-z]+\"|"
    r"пометке: \S+"
)
"""Addresses, paths, methods of the portal, options, codes with underscores, what a template or a sentence fills in,
the portal's own names in Latin letters, kinds of errors, keys of JSON, marks of messages."""


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


# --- the walk --------------------------------------------------------------------------------------------------------

RULES = """
version: 1
language: ru
timezone: Europe/Moscow
admins: [1]
calendar: {hours: "09:00-18:00"}
supervisor: head
funnels:
  Продажи:
    Новая заявка:
      - id: звонок
        title: "Позвонить клиенту: {{ deal.TITLE }}"
        deadline: {after: 30 workminutes}
        on_leave: complete
      - id: крупная
        title: Крупная сделка
        if: {OPPORTUNITY: {min: 100000}, UF_CRM_DELIVERY: true}
        deadline: {after: 1 workday}
      - id: пустая
        title: "{{ deal.COMMENTS }}"
        deadline: {after: 1 workday}
      - id: деление
        title: "Разделить {{ deal.OPPORTUNITY / 0 }}"
        deadline: {after: 1 workday}
      - id: сравнение
        title: "{% if deal.TITLE > 5 %}Много{% endif %}"
        deadline: {after: 1 workday}
      - id: текстом
        title: Условие не на число
        if: {TITLE: {min: 5}}
        deadline: {after: 1 workday}
      - id: отгрузка
        title: Проверить отгрузку
        deadline: {before: 3 workdays, field: UF_CRM_SHIP_DATE, else: {after: 3 workdays}}
      - id: логист
        title: Договориться с логистом
        owner: {field: UF_CRM_LOGIST, else: {department: Юридический отдел, pick: least_loaded}}
        deadline: {after: 1 workday}
    Презентация:
      limit: 1 workday
      advance_to: КП отправлено
      tasks:
        - id: показ
          title: Провести презентацию
          deadline: {after: 2 workdays, at: "15:00"}
          checklist: [Собрать материалы]
        - id: предложение
          title: Отправить предложение
          start: {done: показ}
          deadline: {after: 1 workday}
overdue:
  tasks: deals
  morning: {at: "09:00", move_to: {after: 0 workdays}}
  evening: {at: "18:30", move_to: {after: 1 workday}}
  limit: 1
safety: {max_new_tasks: 16}
"""
LOOKS = [one.split() for one in (
    "", "--help", "report --help", "nosuch", "statsu", "status --nosuch", "status x", "why", "why abc", "remove",
    "preview --deal 0", "status", "held", "check", "undo", "names people", "names --offline неттакого", "preview --all",
    "backfill --dry-run", "sweep evening --dry-run", "sweep morning", "undo 2026-03-03/morning --dry-run",
    "undo 2026-03-03/morning", "undo 2026-03-03/morning", "undo 2020-01-01/evening", "pause", "status", "check",
    "resume", "remove --rule звонок --since 2026-03-01 --dry-run", "remove --rule звонок --since 2026-03-01",
    "remove --rule звонок --since вчера", "release", "backup copy.db", "backup copy.db", "init", "sync",
    "backfill --rule нет", "backfill --stage нет", "why 99999", "why {deal}", "why {deal} --rule нет",
    "preview --deal 99999", "preview --deal {deal} --stage Ремонт", "report stages --deal {deal}",
    *(f"report {name}" for name in REPORTS),
)]  # fmt: skip
"""Commands, right and wrong, in the order in which they are tried; ``{deal}`` is one that has seen much."""
PAGES = ("/", "/load", "/late", "/today", "/stages", "/moves", "/done", "/deals", "/week", "/service",
         "/rules", "/names", "/names?of=fields",
         "/names?q=мария", "/find?q=ром", "/find?q=неттакого", "/deals/{deal}", "/deals/99999", "/people/5",
         "/people/25", "/trial", "/nosuch")  # fmt: skip
ECHOED = {"nosuch", "statsu", "abc"}
"""Wrong words, which are said back."""
LOG = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[.*\n?", re.MULTILINE)


@dataclass
class Walk:
    """What was met on the way: where, and the text."""

    place: Department
    deal: int
    met: list[tuple[str, str]] = field(default_factory=list)

    def hear(self, where: str, *texts: str) -> None:
        """Some texts were met."""
        self.met.extend((where, text) for text in texts)

    def run(self, *words: str, folder: Path | None = None, **environ: str) -> Ran:
        """A command; what it says is met, but for the log."""
        shell = Shell(folder or self.place.folder, {} if folder else self.place.environ)
        ran = shell(*(word.format(deal=self.deal) for word in words), **environ)
        assert "Traceback" not in ran.err, ran.err
        self.hear("bitrix-sync " + " ".join(words), ran.out, LOG.sub("", ran.err))
        return ran

    def read(self, client: FlaskClient, path: str, **how: Any) -> None:
        """A page; met is what it shows, and what its attributes say to people."""
        page = client.open(path.format(deal=self.deal), **how).text
        page = re.sub(r"<pre>.*?</pre>|<code>.*?</code>", " ", page, flags=re.DOTALL)
        spoken = re.findall(r'(?:aria-label|title|placeholder|alt)="([^"]*)"', page)
        self.hear(path, *(html.unescape(one) for one in [*re.split(r"<[^>]*>", page), *spoken]))


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Walk:
    """A department at work for a day, with all kinds of trouble, seen by every command, page and message."""
    folder, clock = tmp_path_factory.mktemp("walk"), Clock()
    clock.set(MONDAY)
    clock.freeze()
    with Sandbox(clock=clock, rate=None, operating_limit=None) as portal:
        place = Department(portal, folder, RULES, BITRIX_RATE="100/1000")
        found = Walk(place, work(place))
        place.service.close()
        for words in LOOKS:
            found.run(*words)
        from_nothing(found, tmp_path_factory.mktemp("new"))
        in_trial(found)
        pages(found)
        written_in(found)
    return found


def work(place: Department) -> int:
    """Deals, sweeps, refusals, gaps, and what people change; a deal that has seen much."""
    state, faults = place.portal.state, place.portal.faults
    place.turn()
    new, show = place.add_deal("Ромашка", fields={"OPPORTUNITY": 5}), place.add_deal("Вектор", stage="PREPARATION")
    place.add_deal("Завесы", responsible=FIRED)
    place.task("Старая задача", MARIA, "08:05")
    place.task("Задача того, кто ушёл", FIRED, "17:00")
    place.turn()
    state.set_fields(new, {"UF_CRM_SHIP_DATE": "2026-03-20T12:00:00+03:00"}, by=IGOR)
    state.set_responsible(new, IGOR, by=HEAD)
    state.complete_task(place.tasks(show)[0].id, by=HEAD)
    place.turn()
    for task in place.tasks(show):
        state.complete_task(task.id, by=HEAD)
    state.set_deadline(place.tasks(new)[0].id, place.at("17:00"), by=HEAD)
    for method in ("crm.deal.update", "crm.item.update"):
        faults.next("refuse", method, times=3, code="CRM_FIELD_ERROR_REQUIRED", text="Не заполнено поле")
    place.sweeps("18:30")
    faults.next("refuse", "tasks.task.add", times=2, code="ERROR_CORE", text="Нельзя")
    for number in range(6):
        place.add_deal(f"Стая {number}")
    state.delete_field("UF_CRM_SHIP_DATE")
    place.sweeps("2026-03-03 09:00")
    place.rules.write_text(RULES.replace("limit: 1\n", "limit: много\n"), "utf-8")
    faults.next("internal", "calendar.settings.get", times=2)
    place.until("11:00")
    place.turn()
    place.rules.write_text(RULES, "utf-8")
    place.store.flags.bad_rows = {"visit: CREATED_TIME is missing": 3}
    place.store.flags.unread = {"stages:5": "portal a.example: crm.status.list answers nothing that makes sense"}
    return new


def from_nothing(walk: Walk, folder: Path) -> None:
    """A new folder, its first files, and all that can be wrong with settings, files, database and portal."""
    russian = {"LC_ALL": "ru_RU.UTF-8"}
    walk.run("init", folder=folder, **russian)
    walk.hear(".env", (folder / ".env").read_text("utf-8"))
    url = walk.place.portal.url
    walk.run("init", folder=folder, BITRIX_WEBHOOK_URL=url, BITRIX_RATE="100/1000", **russian)
    walk.hear("rules.yaml", re.sub(r"- id: [a-z-]+", "", (folder / "rules.yaml").read_text("utf-8")))
    wrong = {
        "BITRIX_WEBHOOK_URL": "http://a.example/rest/1/abcde/", "BITRIX_POLL_SECONDS": "часто", "BITRIX_RATE": "x",
        "BITRIX_LISTEN": "x", "DATABASE_URL": "mysql://x", "BITRIX_LOG": "x", "BITRIX_CA_FILE": "нет.pem",
        "BITRIX_APPLICATION_TOKEN": "а б", "BITRIX_ALERT_URL": "http://a.example", "BITRIX_TRUSTED_PROXY": "x",
    }  # fmt: skip
    walk.run("status", folder=folder, **wrong, **russian)
    (folder / "text.db").write_text("это не база " * 400, "utf-8")
    for database in ("text.db", "нет/нет.db", "."):
        walk.run("status", folder=folder, DATABASE_URL=f"sqlite:///{folder / database}")
    walk.run("why", "1", folder=folder, DATABASE_URL=f"sqlite:///{folder / 'none.db'}")
    (folder / "latin.yaml").write_bytes("language: ru # é".encode("latin-1"))
    for rules in ("none.yaml", "latin.yaml", "."):
        walk.run("sync", folder=folder, BITRIX_WEBHOOK_URL=url, BITRIX_RULES=rules, **russian)
    for code in ("wrong0code9999", "sandbox0code1234"):
        walk.run("check", folder=folder, BITRIX_WEBHOOK_URL=f"{url.rsplit('/', 2)[0]}/{code}/", BITRIX_RATE="100/1000")
    walk.run("run", folder=folder, BITRIX_WEBHOOK_URL=url, BITRIX_LISTEN="203.0.113.1:9", **russian)


def in_trial(walk: Walk) -> None:
    """The same department while its rules only watch."""
    place = walk.place
    place.rules.write_text(RULES.replace("max_new_tasks: 16", "watch: true"), "utf-8")
    place.start()
    place.add_deal("Проба")
    place.task("Ещё одна", MARIA, "10:00")
    place.sweeps("18:30")
    place.service.close()
    for words in ("status", "check", "report trial", f"why {walk.deal}", "undo 2026-03-02/evening", "preview --all"):
        walk.run(*words.split())


def pages(walk: Walk) -> None:
    """Every page: with all that there is to say, for strangers, and without its database."""
    place = walk.place
    with Store(place.environ["DATABASE_URL"]) as store:
        store.flags.rules_error = "rules.yaml:2: нет"
        why = explain("a.example", "crm.item.list", not_sent("its name is not known to the DNS", code="no_connection"))
        door = Door(store, now=place.portal.clock.now(), standing=Standing(False, why))
        client = create_app(door, blueprints=[page.blueprint(door)]).test_client()
        for path in PAGES:
            walk.read(client, path)
        walk.read(client, "/", environ_base={"REMOTE_ADDR": "203.0.113.5"})
        locked = Door(store, settings=settings(BITRIX_PAGE_PASSWORD="correct horse battery"))
        client = create_app(locked, blueprints=[page.blueprint(locked)]).test_client()
        for how in ({}, {"method": "POST", "data": {"password": "x"}}, {"method": "POST", "data": {"token": "x"}}):
            walk.read(client, "/login", **how)
        token = re.search(r'name="token" value="([^"]+)"', client.get("/login").text)
        assert token
        for _ in range(12):
            walk.read(client, "/login", method="POST", data={"password": "x", "token": token[1]})
    client = create_app(door, blueprints=[page.blueprint(door)]).test_client()
    (place.folder / "store.db").rename(place.folder / "gone.db")
    walk.read(client, "/")


def written_in(walk: Walk) -> None:
    """What people find in the portal: messages, notices, tasks with their lines and check lists."""
    state = walk.place.portal.state
    walk.hear("message", *(plain(one.text) for one in state.messages.values()))
    walk.hear("notice", *(plain(one.text) for one in state.notices))
    for task in state.tasks.values():
        walk.hear("task", task.title, task.description)


def test_the_walk_meets_no_english(walk: Walk) -> None:
    assert len(walk.met) > 1000
    left = [(where, text, [word for word in english(text) if word not in ECHOED]) for where, text in walk.met]
    assert [one for one in left if one[2]] == []
