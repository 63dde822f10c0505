"""What can be written in the file: funnels and stages, fields and their values, people, departments, workgroups.

Declared as reports are, but their rows come from a directory: as the portal shows it now, or as the store knows it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Any

from bitrix_sync.model.facts import Absent, DealField, Directory, Unread
from bitrix_sync.report.declaration import Column, Form, Line, Report
from bitrix_sync.report.snapshot import Snapshot
from bitrix_sync.report.tables import json_rows, terminal
from bitrix_sync.rules.names import NameIndex, Names
from bitrix_sync.rules.problem import Remarks
from bitrix_sync.rules.spelling import key_of, quoted
from bitrix_sync.rules.suggest import nearest
from bitrix_sync.words.language import Language
from bitrix_sync.words.texts import phrase

PARTS: Mapping[str, tuple[str, ...]] = {
    "funnels": ("funnels", "stages:"),
    "fields": ("fields", "user_fields", "options:", "task_fields"),
    "people": ("users",),
    "departments": ("departments",),
    "workgroups": ("groups",),
}
"""The parts of a reading of the portal (or how their names begin) that each listing is made of."""


def funnels(directory: Directory) -> list[Line]:
    """A row a stage, in the portal's order; a funnel without stages has one row."""
    names, lines = Names(directory, {}, Remarks()), list[Line]()
    for funnel in directory.funnels:
        own = {"funnel_id": funnel.id, "funnel": funnel.name, **_spelt("funnel", str(funnel.id), names.funnels)}
        stages = names.stages(funnel.id)
        lines += [
            {**own, "stage_id": stage.id, "stage": stage.name, **_spelt("stage", stage.id, stages)}
            | {"semantic": stage.semantic}
            for stage in funnel.stages
        ] or [{**own, "stage_id": "", "stage": "", "stage_in_file": "", "semantic": ""}]
    return lines


def fields(directory: Directory) -> list[Line]:
    """Fields of deals, each under one code, then the user fields of tasks that a rule can fill."""
    names = Names(directory, {}, Remarks())
    kinds = (("deal", directory.fields, names.fields), ("task", directory.task_fields, names.task_fields))
    return [
        _field(of, code, described[code], names.options(described[code]))
        for of, described, index in kinds
        for code, title in index.names.items()
        if title or not described[code].title  # an older code of a field that is there already has no title here
    ]


def _field(of: str, code: str, field: DealField, options: NameIndex) -> Line:
    values = [{"id": one, "name": name, "in_file": key_of(one, options)[0]} for one, name in options.names.items()]
    return {"of": of, "code": code, "title": field.title, "type": field.type, "multiple": field.multiple} | {
        "values": values,
        "values_in_file": ", ".join(
            f"{one['in_file']} ({one['id'] if one['in_file'] != quoted(one['id']) else one['name']})" for one in values
        ),
    }


def people(directory: Directory) -> list[Line]:
    """Employees by name, those who do not work here any more last."""
    company = directory.company
    lines = [
        {
            "id": user.id,
            "name": user.name,
            "email": user.email,
            "department_ids": list(user.departments),
            "departments": ", ".join(
                company.departments[one].name for one in user.departments if one in company.departments
            ),
            "active": user.active,
        }
        for user in company.users.values()
    ]
    return sorted(lines, key=lambda line: (not line["active"], line["name"].casefold(), line["id"]))


def departments(directory: Directory) -> list[Line]:
    """Departments, each with the one above it and its head."""
    company, index = directory.company, Names(directory, {}, Remarks()).departments
    return [
        {"id": one.id, "name": one.name, **_spelt("", str(one.id), index)}
        | {
            "parent_id": one.parent_id,
            "parent": above.name if (above := company.departments.get(one.parent_id)) else "",
        }
        | {"head_id": one.head_id, "head": company.name(one.head_id) if one.head_id else ""}
        for one in company.departments.values()
    ]


def workgroups(directory: Directory) -> list[Line]:
    """Workgroups by number, those that are closed last."""
    index, closed = Names(directory, {}, Remarks()).groups, directory.closed_groups
    return [
        {
            "id": one,
            "name": directory.group_names.get(one, ""),
            **_spelt("", str(one), index),
            "active": one not in closed,
        }
        for one in sorted(directory.groups or (), key=lambda one: (one in closed, one))
    ]


def _spelt(what: str, own_id: str, things: NameIndex) -> dict[str, str]:
    """How a thing is written in the file, and as a cell: with the name in a comment where the id is what to write."""
    written, comment = key_of(own_id, things)
    prefix = f"{what}_" if what else ""
    return {f"{prefix}in_file": written, f"{prefix}cell": f"{written}{comment}"}


ID, NAME, EMAIL = (
    Column("id", Form.NUMBER, "names.id"),
    Column("name", word="employee"),
    Column("email", word="names.email"),
)
FUNNEL, FUNNEL_ID = Column("funnel_cell", word="funnel"), Column("funnel_id", Form.NUMBER, "names.funnel_id")
STAGE, STAGE_ID = Column("stage_cell", word="stage"), Column("stage_id", word="names.stage_id")
SEMANTIC = Column("semantic", Form.SEMANTIC, "names.semantic")
THEIRS = (Column("departments", word="department"), Column("active", Form.ACTIVE, "names.note"))
DEPARTMENT, GROUP = Column("cell", word="department"), Column("cell", word="names.group")
CLOSED = Column("active", Form.CLOSED, "names.note")
PLACE = (Column("parent", word="names.parent"), Column("head", word="names.head"))
NAMES: Mapping[str, Report] = {
    one.name: one
    for one in (
        Report(
            "funnels",
            funnels,
            ("funnel_id", "funnel", "funnel_in_file", "stage_id", "stage", "stage_in_file", "semantic"),
            (FUNNEL, FUNNEL_ID, STAGE, STAGE_ID, SEMANTIC),
            (STAGE, STAGE_ID, FUNNEL, FUNNEL_ID, SEMANTIC),
        ),
        Report(
            "fields",
            fields,
            ("of", "code", "title", "type", "multiple", "values"),
            (
                Column("code", word="names.code"),
                Column("title", word="names.title"),
                Column("of", Form.FIELD_OF, "names.of"),
                Column("type", Form.FIELD_TYPE, "names.type"),
                Column("values_in_file", word="names.values"),
            ),
        ),
        Report(
            "people",
            people,
            ("id", "name", "email", "department_ids", "departments", "active"),
            (ID, NAME, EMAIL, *THEIRS),
            (NAME, EMAIL, ID, *THEIRS),
        ),
        Report(
            "departments",
            departments,
            ("id", "name", "in_file", "parent_id", "parent", "head_id", "head"),
            (ID, DEPARTMENT, *PLACE),
            (DEPARTMENT, ID, *PLACE),
        ),
        Report("workgroups", workgroups, ("id", "name", "in_file", "active"), (ID, GROUP, CLOSED), (GROUP, ID, CLOSED)),
    )
}


def look(name: str, directory: Directory, language: Language, text: str = "", *, fired: bool = False) -> list[Line]:
    """The rows of a listing in which every word of the text stands somewhere. Who does not work here any more, and
    what is closed, is left out, unless asked for or searched for."""
    found, known = NAMES[name], Snapshot(language=language)
    lines = [line for line in found.rows(directory) if line.get("active", True) or fired or text.strip()]
    wanted = _searched(text).split()
    cells = terminal(found, lines, known)[2] if wanted else [[]] * len(lines)
    return [
        line
        for line, shown, plain in zip(lines, cells, json_rows(found, lines), strict=True)
        if _holds(_searched(" ".join([*shown, *_texts(plain)])), wanted)
    ]


def _holds(text: str, words: Sequence[str]) -> bool:
    return all(word in text for word in words)


def _texts(value: Any) -> Iterator[str]:
    """Every text and number within a row."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, str) or type(value) is int:
        yield str(value)


def _searched(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold().replace("ё", "е")


def asked_for(words: Sequence[str]) -> tuple[list[str], str]:
    """The listings and the text to look for: the first word may name a listing, else all are meant."""
    first, *others = words
    if first.lower() in NAMES:
        return [first.lower()], " ".join(others).strip()
    return list(NAMES), " ".join(words).strip()


def gaps(name: str, directory: Directory) -> dict[str, str]:
    """What of a listing could not be read, or is not there for the webhook, and why."""
    company = directory.company
    absent, unread = {**directory.without, **company.without}, {**directory.unread, **company.unread}
    ends: dict[str, Absent | Unread] = {**absent, **unread}
    return {part: end.why for part, end in ends.items() if part.startswith(PARTS[name])}


# --- for programs and people -----------------------------------------------------------------------------------------


def as_dict(found: Mapping[str, list[Line]], directory: Directory) -> dict[str, Any]:
    """Listings for ``--json``, with what of them could not be read."""
    lists = {name: json_rows(NAMES[name], lines) for name, lines in found.items()}
    return {"unread": {name: gaps(name, directory) for name in found}, **lists}


def table_of(name: str, lines: list[Line], language: Language) -> tuple[str, list[str], list[list[str]]]:
    """Title, headings and cells of a listing for a terminal."""
    return terminal(NAMES[name], lines, Snapshot(language=language))


def remarks(
    language: Language, found: Mapping[str, list[Line]], directory: Directory, *, text: str, **origin: Any
) -> Iterator[str]:
    """That nothing was found, what could not be read, and whose names they are and how old (``origin``: see
    ``source_of``)."""
    if text and not any(found.values()):
        yield phrase(language, "names.nothing", text=text)
        if len(found) > 1 and (meant := _listing_meant(language, text.split()[0])):
            yield phrase(language, "names.listing", name=meant)
    for name in found:
        for part, why in gaps(name, directory).items():
            yield phrase(language, "names.gap", part=part, why=why)
    yield from source_of(language, **origin)


def _listing_meant(language: Language, word: str) -> str:
    """The listing whose name, or title, is mistyped; "" for none."""
    names = {one: one for one in NAMES} | {phrase(language, f"report.title.{one}"): one for one in NAMES}
    return next((names[one] for one in nearest(word, names)), "")


def source_of(
    language: Language, *, source: str, portal: str, at: datetime | None, why: str = "", zone: tzinfo | None = None
) -> Iterator[str]:
    """Whose names they are: as the ``portal`` or the ``store`` told them, when that learnt them (None: nobody noted
    it), and why the portal did not tell them now. ``zone``: in which the moment is shown, if not in its own."""
    if why:
        yield phrase(language, "names.no_answer", why=why)
    if source == "portal":
        yield phrase(language, "names.source.portal", host=portal)
    elif at is None:
        yield phrase(language, "names.source.undated", host=portal)
    else:
        yield phrase(language, "names.source.store", zone=zone, host=portal, at=at)
