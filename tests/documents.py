"""The documentation as data: its example blocks, its tables, its links; and a portal on which the examples make sense.

How examples are written in docs/*/rules.md:

- a block ``yaml`` is a whole file; ``yaml section`` are keys of the top level; ``yaml stage`` are stages of one funnel;
  ``yaml task`` are tasks of one stage. What is missing around a fragment is put there by ``whole_file``.
- a block ``yaml wrong`` must be refused; the block ``text`` after it is how the first error begins.
- code within a line that begins with a key of a task (``deadline: {after: 1 day}``) is a fragment of one task.
- a table whose first column holds such code and whose last holds a moment, or yes and no, is computed.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

from bitrix_sync.model.facts import (
    LOST,
    PROGRESS,
    WON,
    Company,
    DealField,
    Department,
    Directory,
    Funnel,
    PortalCalendar,
    Stage,
    User,
)
from bitrix_sync.words.texts import date_text

ROOT = Path(__file__).parent.parent
LANGUAGES = ("ru", "en")
ZONE = ZoneInfo("Europe/Moscow")
YEAR = 2026
"""Of all dates in the tables."""

FENCE = re.compile(r"^ *```([^\n`]*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
KEYED = re.compile(r"(\w+): \S")
HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


class Block(NamedTuple):
    """A fenced block: what its fence says (``yaml task``), its text, the line where it begins."""

    kind: str
    text: str
    line: int


@dataclass(frozen=True)
class Names:
    """What the portal of the examples is called in a language."""

    funnel: str
    stages: tuple[tuple[str, str, str], ...]
    fields: tuple[DealField, ...]
    departments: tuple[Department, ...]
    people: tuple[str, ...]
    yes: str
    no: str
    error: str
    deal: str


# fmt: off
NAMES = {
    "ru": Names(
        "Продажи",
        (("NEW", "Новая заявка", PROGRESS), ("PREPARATION", "Презентация", PROGRESS),
         ("EXECUTING", "КП отправлено", PROGRESS), ("AGREEMENT", "Согласование", PROGRESS),
         ("CONTRACT", "Договор", PROGRESS), ("SHIPMENT", "Отгрузка", PROGRESS),
         ("WON", "Сделка успешна", WON), ("LOSE", "Сделка провалена", LOST)),
        (DealField("UF_CRM_REGION", "Регион", "enumeration",
                   options={"51": "Москва", "52": "Сибирь", "53": "Заграница"}),
         DealField("UF_CRM_PRODUCTS", "Товары", "enumeration", multiple=True,
                   options={"61": "Насосы", "62": "Трубы", "63": "Краны", "64": "Фильтры"}),
         DealField("SOURCE_ID", "Источник", "crm_status", options={"WEB": "Веб-сайт", "REC": "Рекомендация"})),
        (Department(1, "Компания", 0, 1), Department(2, "Отдел продаж", 1, 5),
         Department(3, "Юридический отдел", 1, 7), Department(4, "Отдел логистики", 1, 9)),
        ("Мария Иванова", "Олег Смирнов", "Анна Петрова", "Ирина Лебедева", "Павел Орлов", "Егор Белов", "Вера Зуева"),
        "да", "нет", "ошибка", "Ромашка, 12 насосов",
    ),
    "en": Names(
        "Sales",
        (("NEW", "New request", PROGRESS), ("PREPARATION", "Presentation", PROGRESS),
         ("EXECUTING", "Offer sent", PROGRESS), ("AGREEMENT", "Agreement", PROGRESS),
         ("CONTRACT", "Contract", PROGRESS), ("SHIPMENT", "Shipment", PROGRESS),
         ("WON", "Won", WON), ("LOSE", "Lost", LOST)),
        (DealField("UF_CRM_REGION", "Region", "enumeration",
                   options={"51": "Moscow", "52": "Siberia", "53": "Abroad"}),
         DealField("UF_CRM_PRODUCTS", "Products", "enumeration", multiple=True,
                   options={"61": "Pumps", "62": "Pipes", "63": "Taps", "64": "Filters"}),
         DealField("SOURCE_ID", "Source", "crm_status", options={"WEB": "Web site", "REC": "Recommendation"})),
        (Department(1, "Company", 0, 1), Department(2, "Sales department", 1, 5),
         Department(3, "Legal", 1, 7), Department(4, "Logistics", 1, 9)),
        ("Maria Ivanova", "Oleg Smirnov", "Anna Petrova", "Irina Lebedeva", "Pavel Orlov", "Egor Belov", "Vera Zueva"),
        "yes", "no", "error", "Romashka, 12 pumps",
    ),
}
# fmt: on

FIELDS = (
    DealField("TITLE", "Deal name"),
    DealField("OPPORTUNITY", "Amount", "double"),
    DealField("CLOSEDATE", "Close date", "date"),
    DealField("UF_CRM_SIGN_DATE", "Signing", "date"),
    DealField("UF_CRM_SHIP_DATE", "Shipping", "date"),
    DealField("UF_CRM_INVOICE_DATE", "Invoice", "date"),
    DealField("UF_CRM_CALL_AT", "Next call", "datetime"),
    DealField("UF_CRM_LOGIST", "Logistics manager", "employee"),
    DealField("UF_CRM_URGENT", "Urgent", "boolean"),
    DealField("UF_CRM_NOTE", "Note"),
)
TASK_FIELDS = (
    DealField("UF_OBJECT", "Object"),
    DealField("UF_HOURS", "Hours", "double"),
    DealField("UF_VISIT_DATE", "Visit", "date"),
    DealField("UF_KIND", "Kind", "enumeration", options={"1": "Монтаж", "2": "Installation"}),
    DealField("UF_URGENT", "Urgent", "boolean"),
    DealField("UF_ENGINEER", "Engineer", "employee"),
)
USERS = (
    User(1, "", email="maria@example.com", departments=(1,)),
    User(5, "", email="oleg@example.com", departments=(2,)),
    User(6, "", email="anna@example.com", departments=(2,)),
    User(7, "", email="irina@example.com", departments=(3,)),
    User(8, "", email="lawyer@example.com", departments=(3,)),
    User(9, "", email="egor@example.com", departments=(4,)),
    User(12, "", email="vera@example.com", departments=(4,)),
)
"""Without their names, which are those of the language."""


def portal(language: str) -> Directory:
    """The portal of the examples."""
    names = NAMES[language]
    stages = tuple(Stage(key, name, 0, kind, 10 * at) for at, (key, name, kind) in enumerate(names.stages))
    return Directory(
        funnels=(Funnel(0, names.funnel, stages),),
        fields={field.code: field for field in (*FIELDS, *names.fields)},
        company=Company(
            users={user.id: replace(user, name=name) for user, name in zip(USERS, names.people, strict=True)},
            departments={one.id: one for one in names.departments},
            self_id=1,
        ),
        groups=frozenset({12}),
        calendar=PortalCalendar(9 * 60, 18 * 60, frozenset({5, 6})),
        time_zone=ZONE.key,
        utc_offset=3 * 3600,
        admin=True,
        scopes=frozenset({"crm", "task", "user_basic", "department", "im", "calendar"}),
        task_fields={field.code: field for field in TASK_FIELDS},
    )


# --- reading ---------------------------------------------------------------------------------------------------------


def document(path: str) -> str:
    """A document of the project, by its path from the root."""
    return (ROOT / path).read_text(encoding="utf-8")


def blocks(text: str, kind: str = "") -> list[Block]:
    """The fenced blocks whose fence begins with ``kind``."""
    found = (
        Block(one[1].strip(), textwrap.dedent(one[2]), text.count("\n", 0, one.start()) + 2)
        for one in FENCE.finditer(text)
    )
    return [block for block in found if block.kind.startswith(kind)]


def prose(text: str) -> str:
    """The document without its blocks."""
    return FENCE.sub("", text)


def codes(text: str) -> list[str]:
    """Code within lines, in order."""
    return CODE.findall(prose(text))


def tables(text: str) -> Iterator[list[list[str]]]:
    """Each table as rows of cells, its head first."""
    for found in re.finditer(r"(?:^\|.*\n?)+", prose(text), re.MULTILINE):
        rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip()[1:-1])] for line in found[0].splitlines()]
        yield [rows[0], *rows[2:]]


def table(text: str, *head: str) -> list[list[str]]:
    """The rows of the table whose head begins with these cells."""
    return next(rows[1:] for rows in tables(text) if tuple(rows[0][: len(head)]) == head)


def anchors(text: str) -> set[str]:
    """What a heading is called in a link."""
    plain = (re.sub(r"[^\w\- ]", "", found.lower().replace("`", "")) for found in HEADING.findall(prose(text)))
    return {one.strip().replace(" ", "-") for one in plain}


def moment(language: str, cell: str) -> datetime | None:
    """``Thu 12 March, 17:50`` in Moscow; a day without a time is its midnight; None for a cell that says none."""
    found = re.search(r"\w+ (\d+) (\w+)(?:, (\d\d):(\d\d))?", cell)
    if found is None:
        return None
    month = 1 + [date_text(language, date(YEAR, one, 1), "MMMM") for one in range(1, 13)].index(found[2])
    return datetime(YEAR, month, int(found[1]), int(found[3] or 0), int(found[4] or 0), tzinfo=ZONE)


# --- fragments into files --------------------------------------------------------------------------------------------

KNOWN_RULES = ("presentation", "contract", "offer")
"""Rules that fragments may refer to though they do not show them."""


def whole_file(kind: str, text: str, language: str) -> str:
    """A rules file around a fragment of this kind (see the module's docstring)."""
    names = NAMES[language]
    stage = {key: name for key, name, _ in names.stages}
    text = text.rstrip("\n")
    head = f"version: 1\nlanguage: {language}\nfallback_owner: 1\n"
    if kind in ("yaml", "yaml wrong"):
        return text + "\n"
    if kind == "yaml section":
        return f"{head}{text}\nfunnels:\n  0:\n    NEW:\n{_task('call', '{after: 1 workday}', 6)}"
    if kind == "yaml stage":
        return f"{head}funnels:\n  {names.funnel}:\n{_indent(text, 4)}\n"
    assert kind == "yaml task", kind
    shown = set(re.findall(r"^- id: (\S+)", text, re.MULTILINE))
    others = "".join(_task(one, "{after: 2 workdays}", 6) for one in KNOWN_RULES if one not in shown)
    beside = f"    {stage['EXECUTING']}:\n{others}" if others else ""
    return f"{head}funnels:\n  {names.funnel}:\n    {stage['CONTRACT']}:\n{_indent(text, 6)}\n{beside}"


def task_with(code: str) -> str:
    """A task that says what a piece of code within a line does (``owner: head``)."""
    deadline = "" if code.startswith("deadline:") else "\n  deadline: {after: 1 workday}"
    return f"- id: example\n  title: Example\n  {code}{deadline}"


def _task(rule_id: str, deadline: str, indent: int) -> str:
    return _indent(f"- id: {rule_id}\n  title: {rule_id}\n  deadline: {deadline}", indent) + "\n"


def _indent(text: str, by: int) -> str:
    return textwrap.indent(text, " " * by)
