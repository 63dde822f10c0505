"""What names can mean on a portal: funnels, fields, people, workgroups, its calendar and what the webhook may do.

What could not be read is named, so that what was known last stays and a check can say what is missing; without crm or
task there is nothing to do, and PortalRefused says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from bitrix_sync.model.facts import (
    PROGRESS,
    Absence,
    Absent,
    Company,
    DealField,
    Directory,
    End,
    Funnel,
    PortalCalendar,
    Stage,
    Unread,
)
from bitrix_sync.model.items import DEAL, KINDS, Item, ItemKind
from bitrix_sync.model.known import EMPTY
from bitrix_sync.portal import bulk
from bitrix_sync.portal.client import PATIENCE, Portal
from bitrix_sync.portal.dialect import parsing
from bitrix_sync.portal.dialect.commands import Command
from bitrix_sync.portal.dialect.names import code_of, synonyms
from bitrix_sync.portal.dialect.outcomes import GARBAGE, NO_METHOD, NO_SCOPE, Outcome, whole
from bitrix_sync.portal.dialect.parsing import Row, rows, whole_or
from bitrix_sync.portal.paging import from_start, lost_rows, read_offsets
from bitrix_sync.portal.read_hints import UnreadableRow
from bitrix_sync.portal.sources import lenient
from bitrix_sync.words.language import DEFAULT

T = TypeVar("T")

USERS = Command(
    "user.get",
    {
        "sort": "ID",
        "order": "ASC",
        "select": ["ID", "ACTIVE", "NAME", "LAST_NAME", "EMAIL", "TIME_ZONE", "UF_DEPARTMENT"],
    },
)
DEPARTMENTS = Command("department.get", {"sort": "ID", "order": "ASC"})
TASK_TYPES = {"enum": "enumeration", "list": "enumeration", "number": "double", "float": "double", "int": "integer"}
TASK_TYPES |= {"bool": "boolean", "text": "string"}
"""Types of task fields that the portal calls by more than one name."""
WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
CHUNK = 50
PROFILE, SCOPE, FIELDS = "profile", "scope", "crm.item.fields"
CALENDAR, OWN_CALENDAR = "calendar.settings.get", "calendar.user.settings.get"
TASK_FIELDS, CURRENCIES = "tasks.task.getFields", "crm.currency.list"
SINGLE = (
    Command(PROFILE),
    Command(SCOPE),
    Command(CALENDAR),
    Command(OWN_CALENDAR),
    Command(TASK_FIELDS),
    Command("task.item.userfield.getlist", {"ORDER": {"ID": "ASC"}, "FILTER": {}}),
    Command(CURRENCIES),
)
GROUPS = Command("sonet_group.get", {"ORDER": {"ID": "ASC"}, "IS_ADMIN": "Y"})
STATUSES = "crm.status.list"
ENTITY = re.compile(r"[A-Z][A-Z0-9_]{0,49}")
"""What lists of crm.status.list are called."""
NEVER_HAD = frozenset({NO_SCOPE, NO_METHOD})
"""Codes that say: this webhook, or this portal, has no such thing at all."""
OPTIONAL = frozenset(
    {
        *("profile", "scopes", "groups", "calendar", "user_fields", "departments", "options", "time_zone"),
        *("task_fields", "currencies"),
    }
)
"""Parts without which rules can work."""
BAD_ROWS = "bad_rows"
"""Code of a list of which rows could not be read."""
NO_FUNNEL = (
    "portal {host}: no funnel can be read; give the webhook's user a CRM role that reads deals "
    "(CRM > Settings > Access permissions)"
)
NO_PEOPLE = "portal {host}: no employee can be read; tick the scope 'user_basic' in the webhook's form"


def directory(portal: Portal, *, language: str = DEFAULT, patience: float = PATIENCE) -> Directory:
    """Everything that a rules file can name; what could not be read is empty and named in ``unread``. Remembers the
    names of the deal's fields for later readings. ``language``: of labels that the portal has in several;
    ``patience``: seconds after which a portal that gives no answer at all is given up."""
    parts, kinds = _Parts(portal), list(KINDS.values())
    commands = [*SINGLE, *(Command(FIELDS, {"entityTypeId": kind.entity_type}) for kind in kinds)]
    profile, scope, settings, own, of_tasks, own_of_tasks, money, *fields = portal.read(
        commands, optional=True, patience=patience
    )
    asked = [(GROUPS, ""), *(command for kind in kinds for command in _lists_of(kind))]
    groups, *lists = read_offsets(portal, asked, name="directory")
    read = [_of_kind(portal, kind, one, lists, parts) for kind, one in zip(kinds, fields, strict=True)]
    parts.hear("profile", PROFILE, profile)
    parts.hear("scopes", SCOPE, scope)
    task_fields = _task_fields(of_tasks, own_of_tasks, language)
    if not task_fields:
        parts.lack("task_fields", portal.as_unread(TASK_FIELDS, of_tasks))
    rates = rows(money.value, "") if money.done else portal.as_unread(CURRENCIES, money)
    dictionaries = _dictionaries(portal, read, parts)
    workgroups = _groups(parts.whole("groups", groups))
    zone = _zone(portal, own, profile)
    if not zone:
        parts.hear("time_zone", OWN_CALENDAR, own)
    hours = calendar(settings.value) if settings.done else portal.as_unread(CALENDAR, settings)
    return Directory(
        funnels=tuple(_funnel(portal, funnel, dictionaries, parts) for kind in read for funnel in kind.funnels),
        fields=_fields_of_all(read, dictionaries),
        company=_everyone(portal),
        groups=None if workgroups is None else frozenset(workgroups),
        group_names={number: name for number, (name, _) in (workgroups or {}).items()},
        closed_groups=frozenset(number for number, (_, closed) in (workgroups or {}).items() if closed),
        calendar=parts.whole("calendar", hours),
        time_zone=zone,
        utc_offset=portal.utc_offset,
        admin=isinstance(profile.value, Mapping) and parsing.yes(profile.value.get("ADMIN"), default=False),
        scopes=_scopes(scope.value) if scope.done else frozenset(),
        unread=parts.unread,
        without=parts.without,
        task_fields=task_fields,
        names=dict(portal.memory.names),
        currencies=dict(parts.facts("currencies", CURRENCIES, rates, lenient(portal, "currency", parsing.currency))),
    )


@dataclass(frozen=True, slots=True)
class _Funnel:
    """A funnel as crm.category.list names it; that of a kind without funnels is called as the kind."""

    kind: ItemKind
    id: int
    name: str
    sort: int = 0

    @property
    def number(self) -> int:
        return Item(self.kind, self.id).number

    @property
    def entity(self) -> str:
        return self.kind.stages_of(self.id)

    @property
    def part(self) -> str:
        return f"stages:{self.number}"


@dataclass(frozen=True, slots=True)
class _OfKind:
    """What the portal says of one kind of items. ``described``: name in crm.item.* → upper-case code, description."""

    funnels: Sequence[_Funnel]
    described: Mapping[str, tuple[str, Row]]
    user_fields: Sequence[Row]


def _lists_of(kind: ItemKind) -> list[tuple[Command, str]]:
    """What is listed of a kind of items, and where the rows stand."""
    categories = (Command("crm.category.list", {"entityTypeId": kind.entity_type}), "categories")
    user_fields = (Command(kind.user_fields, {"order": {"ID": "ASC"}}), "")
    return [categories, user_fields] if kind.has_funnels else [user_fields]


def _of_kind(
    portal: Portal, kind: ItemKind, fields: Outcome, lists: list[list[Row] | Unread], parts: _Parts
) -> _OfKind:
    """Takes what belongs to the kind from the front of ``lists``. Remembers the names of its fields."""
    other = kind.apart(":")
    funnels = [_Funnel(kind, 0, kind.name)]
    if kind.has_funnels:
        read = lenient(portal, "funnel", partial(_category, kind=kind), kind)
        funnels = parts.facts(f"funnels{other}", "crm.category.list", lists.pop(0), read)
        if not funnels:
            parts.lack(f"funnels{other}", Unread(EMPTY, NO_FUNNEL.format(host=portal.host)))
    described = _descriptions(fields)
    parts.hear(f"fields{other}", FIELDS, fields)
    parts.count(f"fields{other}", FIELDS, fields.value["fields"] if fields.done else (), described)
    names = {code: name for name, (code, _) in described.items()}
    portal.memory.names.update(names if kind is DEAL else names | portal.memory.names)
    ordered = {one.id: one for one in sorted(funnels, key=lambda one: (one.sort, one.id))}
    return _OfKind(list(ordered.values()), described, parts.whole("user_fields", lists.pop(0)) or [])


class _Parts:
    """Which parts of a directory could not be read, and which there are not."""

    def __init__(self, portal: Portal) -> None:
        self.portal = portal
        self.unread: dict[str, Unread] = {}
        self.without: dict[str, Absent] = {}

    def lack(self, part: str, end: Unread) -> None:
        """A part was not read: the first reason counts. Of what the portal or the webhook does not have there is surely
        nothing."""
        if end.code in NEVER_HAD and part.partition(":")[0] in OPTIONAL:
            self.without[part] = Absent(end.why)
        else:
            self.unread.setdefault(part, end)

    def hear(self, part: str, method: str, outcome: Outcome) -> None:
        """A part was not read if its method was not answered, or with neither a map nor a list."""
        if not outcome.done:
            self.lack(part, self.portal.as_unread(method, outcome))
        elif not isinstance(outcome.value, Mapping | list):
            self.lack(part, Unread(GARBAGE, f"portal {self.portal.host}: {method} answers nothing that makes sense"))

    def whole(self, part: str, end: T | Unread) -> T | None:
        """What was read of a part; None of one that was not."""
        if isinstance(end, Unread):
            self.lack(part, end)
            return None
        return end

    def facts(self, part: str, method: str, end: list[Row] | Unread, read: Callable[[Row], T | None]) -> list[T]:
        """What the rows of a part hold; it is lacking some if there are rows that cannot be read."""
        listed = self.whole(part, end) or []
        found = _facts(listed, read)
        self.count(part, method, listed, found)
        return found

    def count(self, part: str, method: str, listed: Sized, found: Sized) -> None:
        """A part lacks some of its rows if not all that the portal listed were found to make sense."""
        if len(found) < len(listed):
            self.lack(part, Unread(BAD_ROWS, f"portal {self.portal.host}: {method} has rows that cannot be read"))


def _groups(groups: list[Row] | None) -> dict[int, tuple[str, bool]] | None:
    """Workgroups by id: the name, and whether it is closed (in the archive)."""
    if groups is None:
        return None
    return {
        found: (str(row.get("NAME") or ""), parsing.yes(row.get("CLOSED"), default=False))
        for row in groups
        if (found := whole(row.get("ID")))
    }


def _scopes(value: Any) -> frozenset[str]:
    """Codes of the ``scope`` method, which a portal may give as a list or as a map; empty when it does not tell."""
    codes = list(value.values()) if isinstance(value, Mapping) else value
    return frozenset(str(one).strip().lower() for one in codes) if isinstance(codes, list) else frozenset()


# --- people ----------------------------------------------------------------------------------------------------------


def company(portal: Portal) -> Company:
    """People and departments as they are now, without absences; one request for a company of average size."""
    lists = [(USERS, ""), (DEPARTMENTS, "")]
    people, departments = read_offsets(portal, lists, name="company")
    return _company(portal, people, departments)


def company_commands(known: Company) -> list[Command]:
    """The same as commands that may travel with other readings, as many pages as the company had when last read."""
    counts = ((USERS, len(known.users)), (DEPARTMENTS, len(known.departments)))
    return [from_start(command, start) for command, count in counts for start in range(0, max(count, 1), CHUNK)]


def company_of(portal: Portal, known: Company, outcomes: Sequence[Outcome]) -> Company | None:
    """What their outcomes tell; None when they do not tell all: it is then read by itself."""
    pages = -(-max(len(known.users), 1) // CHUNK)
    if not all(one.done for one in outcomes):
        return None
    people, departments = _all_rows(outcomes[:pages]), _all_rows(outcomes[pages:])
    return None if people is None or departments is None else _company(portal, people, departments)


def _all_rows(pages: Sequence[Outcome]) -> list[Row] | None:
    """The rows of all pages of a list; None when there are more of them."""
    found = [row for page in pages for row in rows(page.value, "")]
    total = max((page.total or 0 for page in pages), default=0)
    more = any(page.next is not None for page in pages[-1:])
    return None if more or len({whole(row.get("ID")) for row in found}) < total else found


def _everyone(portal: Portal) -> Company:
    """The same by bulk, for companies of any size."""
    return _company(portal, bulk.read_table(portal, USERS), bulk.read_table(portal, DEPARTMENTS))


def _company(portal: Portal, people: list[Row] | Unread, departments: list[Row] | Unread) -> Company:
    parts = _Parts(portal)
    users = parts.facts("users", USERS.method, people, lenient(portal, "user", parsing.user))
    nodes = parts.facts(
        "departments", DEPARTMENTS.method, departments, lenient(portal, "department", parsing.department)
    )
    if not users:
        parts.lack("users", Unread(EMPTY, NO_PEOPLE.format(host=portal.host)))
    if not nodes and "departments" not in parts.unread:  # of those known last nobody believes that all are gone
        parts.without.setdefault("departments", Absent(f"portal {portal.host}: shows no department"))
    return Company(
        users={user.id: user for user in sorted(users, key=lambda user: user.id)},
        departments={node.id: node for node in sorted(nodes, key=lambda node: node.id)},
        self_id=portal.self_id,
        unread=parts.unread,
        missing=frozenset(part for part in parts.unread if not {"users": users, "departments": nodes}[part])
        | {"absences"},
        without=parts.without,
    )


def _facts(listed: list[Row] | None, read: Callable[[Row], T | None]) -> list[T]:
    return [found for row in listed or () if (found := read(row)) is not None]


def absences(portal: Portal, user_ids: Sequence[int], start: datetime, end: datetime) -> End[tuple[Absence, ...]]:
    """Absences of these users between two moments; Absent when the webhook may not read calendars."""
    commands = absence_commands(user_ids, start, end)
    return absences_of(portal, user_ids, start, end, portal.read(commands, optional=True) if commands else [])


def absence_commands(user_ids: Sequence[int], start: datetime, end: datetime) -> list[Command]:
    """The same as commands that may travel with other readings."""
    span = {"from": start.date().isoformat(), "to": end.date().isoformat()}
    return [
        Command("calendar.accessibility.get", {"users": list(user_ids[begin : begin + CHUNK]), **span})
        for begin in range(0, len(user_ids), CHUNK)
    ]


def absences_of(
    portal: Portal, user_ids: Sequence[int], start: datetime, end: datetime, outcomes: Sequence[Outcome]
) -> End[tuple[Absence, ...]]:
    """What their outcomes tell."""
    wanted, found = set(user_ids), list[Absence]()
    method = "calendar.accessibility.get"
    for outcome in outcomes:
        if not outcome.done:
            end_ = portal.as_unread(method, outcome)
            return Absent(end_.why) if end_.code in NEVER_HAD else end_
        events = parsing.events(outcome.value)
        if events is None:
            return Unread(GARBAGE, f"portal {portal.host}: {method} answers something else than absences")
        for owner, event in events:
            read = lenient(portal, "absence", partial(parsing.absence, owner, utc_offset=portal.utc_offset))
            found += [one for one in _facts([event], read) if one.user_id in wanted]
    found.sort(key=lambda one: (one.user_id, one.start))
    return tuple(absence for absence in found if absence.start < end and absence.end > start)


# --- funnels and fields ----------------------------------------------------------------------------------------------


def _described(fields: Outcome) -> dict[str, Row]:
    """Descriptions of fields by name, as ``{"fields": {...}}`` tells them."""
    inner = fields.value.get("fields") if fields.done and isinstance(fields.value, Mapping) else None
    found = inner if isinstance(inner, Mapping) else {}
    return {str(name): row for name, row in found.items() if isinstance(row, Mapping)}


def _descriptions(fields: Outcome) -> dict[str, tuple[str, Row]]:
    """Name in crm.item.* → (upper-case code, description)."""
    return {name: (str(row.get("upperName") or code_of(name)), row) for name, row in _described(fields).items()}


def _dictionaries(portal: Portal, read: Sequence[_OfKind], parts: _Parts) -> dict[str, list[Row]]:
    """Entries of crm.status.list by ENTITY_ID: the stages of every funnel, and what the fields choose from. A funnel
    without any stage was not read: there is none."""
    stages = {funnel.entity: funnel.part for kind in read for funnel in kind.funnels}
    wanted = {entity: f"options:{entity}" for kind in read for entity in _choices(kind.described)} | stages
    lists = read_offsets(portal, [(_entries(entity), "") for entity in wanted])
    found: dict[str, list[Row]] = {}
    for (entity, part), listed in zip(wanted.items(), lists, strict=True):
        entries = parts.whole(part, listed) or ()
        found[entity] = [row for row in entries if _is_of(row, entity)]
    for entity in stages:
        if not found[entity]:
            parts.lack(stages[entity], lost_rows(portal, STATUSES))
    return found


def _choices(described: Mapping[str, tuple[str, Row]]) -> list[str]:
    """ENTITY_ID of all that fields choose from."""
    return sorted({str(row["statusType"]) for _, row in described.values() if row.get("statusType")})


def _category(row: Row, kind: ItemKind) -> _Funnel:
    """A row of crm.category.list: the first funnel's id is 0."""
    parsing.count(row, "id")
    return _Funnel(kind, parsing.funnel(row, "id"), str(row.get("name") or ""), whole_or(row.get("sort")))


def _is_of(row: Row, entity: str) -> bool:
    """False for an entry that the portal calls another list's."""
    other = row.get("ENTITY_ID", entity)
    return other == entity or not isinstance(other, str) or not ENTITY.fullmatch(other)


def _entries(entity: str) -> Command:
    return Command(STATUSES, {"filter": {"ENTITY_ID": entity}, "order": {"SORT": "ASC"}})


def with_left_out(portal: Portal, read: Directory, last: Directory) -> Directory:
    """The reading, which says of each funnel that was known ``last`` and is not named any more, but still has stages or
    cannot be asked for: it is not gone."""
    named = {funnel.id for funnel in read.funnels}
    missing = [funnel for funnel in last.funnels if funnel.id not in named and "funnels" not in read.unread]
    if not missing:
        return read
    items = [Item.of(funnel.id) for funnel in missing]
    lists = read_offsets(portal, [(_entries(item.kind.stages_of(item.id)), "") for item in items])
    why = Unread(GARBAGE, f"portal {portal.host}: crm.category.list leaves out a funnel that has stages")
    doubted = {
        f"stages:{funnel.id}": entries if isinstance(entries, Unread) else why
        for funnel, entries in zip(missing, lists, strict=True)
        if entries
    }
    return replace(read, unread={**read.unread, **doubted})


def _funnel(portal: Portal, funnel: _Funnel, dictionaries: Mapping[str, Sequence[Row]], parts: _Parts) -> Funnel:
    entries = list(dictionaries.get(funnel.entity, ()))
    stages = parts.facts(funnel.part, STATUSES, entries, lenient(portal, "stage", partial(_stage, funnel=funnel)))
    portal.memory.semantics.update({stage.id: stage.semantic for stage in stages})
    return Funnel(funnel.number, funnel.name, tuple(sorted(stages, key=lambda stage: stage.sort)))


def _stage(row: Row, funnel: _Funnel) -> Stage:
    extra = row.get("EXTRA")
    words = {"process": PROGRESS, "success": "S", "failure": "F", "apology": "F"}
    semantic = row.get("SEMANTICS") or words.get(str(extra.get("SEMANTICS")) if isinstance(extra, Mapping) else "")
    stage_id = funnel.kind.stage(parsing.line(row, "STATUS_ID"), funnel.id)
    if not parsing.STAGE.fullmatch(stage_id):
        raise UnreadableRow("STATUS_ID is no stage")
    return Stage(
        id=stage_id,
        name=str(row.get("NAME") or ""),
        funnel_id=funnel.number,
        semantic=str(semantic or PROGRESS),
        sort=whole_or(row.get("SORT")),
    )


def _fields_of_all(read: Sequence[_OfKind], dictionaries: Mapping[str, Sequence[Row]]) -> dict[str, DealField]:
    """Fields by code; of one that several kinds have that of the first."""
    found: dict[str, DealField] = {}
    for kind in read:
        found = _fields(kind.described, kind.user_fields, dictionaries) | found
    return found


def _fields(
    described: Mapping[str, tuple[str, Row]], user_fields: Sequence[Row], dictionaries: Mapping[str, Sequence[Row]]
) -> dict[str, DealField]:
    """Fields by code, under their older codes too."""
    own = {str(row.get("FIELD_NAME")): row for row in user_fields}
    found: dict[str, DealField] = {}
    for code, row in described.values():
        user_field = own.get(code, {})
        field = DealField(
            code=code,
            title=str(row.get("title") or user_field.get("EDIT_FORM_LABEL") or code),
            type=str(row.get("type") or user_field.get("USER_TYPE_ID") or "string"),
            multiple=parsing.yes(row.get("isMultiple"), default=False),
            options=_options(row, user_field, dictionaries),
        )
        found[code] = field
        for other in synonyms(code):
            found.setdefault(other, DealField(other, field.title, field.type, field.multiple, field.options))
    return found


def _task_fields(described: Outcome, own: Outcome, language: str) -> dict[str, DealField]:
    """Fields of tasks by code, as tasks.task.getFields tells them; of user fields labels, obligation, values of lists
    also as task.item.userfield.getlist does (docs: api-reference/tasks)."""
    found = _described(described)
    listed = {str(row.get("FIELD_NAME")): row for row in rows(own.value, "")} if found and own.done else {}
    return {code: _task_field(code, found.get(code, {}), listed.get(code, {}), language) for code in found | listed}


def _task_field(code: str, row: Row, user_field: Row, language: str) -> DealField:
    kind = str(user_field.get("USER_TYPE_ID") or row.get("type") or "string").lower()
    values = row.get("values")
    options = {str(key): str(text) for key, text in values.items()} if isinstance(values, Mapping) else {}
    required = (row.get("required"), user_field.get("MANDATORY"))
    return DealField(
        code=code,
        title=_label(user_field.get("EDIT_FORM_LABEL"), language) or str(row.get("title") or code),
        type=TASK_TYPES.get(kind, kind),
        multiple=parsing.yes(user_field.get("MULTIPLE") or row.get("multiple"), default=False),
        options=_options({}, user_field, {}) or options,
        required=any(parsing.yes(one, default=False) for one in required),
    )


def _label(label: Any, language: str) -> str:
    """A label: a text, or texts by language."""
    if isinstance(label, Mapping):
        return str(label.get(language) or next((text for text in label.values() if text), ""))
    return str(label or "")


def _options(row: Row, user_field: Row, dictionaries: Mapping[str, Sequence[Row]]) -> dict[str, str]:
    entries = dictionaries.get(str(row.get("statusType") or ""), ())
    if entries:
        return {str(entry.get("STATUS_ID")): str(entry.get("NAME") or "") for entry in entries}
    choices = rows(row.get("items"), "") or rows(user_field.get("LIST"), "")
    return {str(entry.get("ID")): str(entry.get("VALUE") or "") for entry in choices if entry.get("ID") is not None}


# --- calendar --------------------------------------------------------------------------------------------------------


def calendar(value: Any) -> PortalCalendar | Unread:
    """The working time of calendar.settings.get, whole or not at all: half of it would make a holiday or a Saturday a
    working day. Days are ``d.mm`` without a year, hours ``9``, ``9.30``, ``18.00`` (docs:
    calendar/calendar-settings-get.md)."""
    if not isinstance(value, Mapping):
        return Unread(GARBAGE, "calendar.settings.get tells no working time")
    start, end = _minutes(value.get("work_time_start")), _minutes(value.get("work_time_end"))
    off = _weekdays(value.get("week_holidays"))
    holidays = _days(value.get("year_holidays"))
    working = _days(value.get("year_workdays", ""))
    if start is None or end is None or start >= end:
        return Unread(GARBAGE, "calendar.settings.get tells no working hours that make sense")
    if off is None or holidays is None or working is None:
        key = "week_holidays" if off is None else "year_holidays" if holidays is None else "year_workdays"
        return Unread(GARBAGE, f"calendar.settings.get tells its working time by half: `{key}` is missing or no list")
    return PortalCalendar(start_minute=start, end_minute=end, days_off=off, holidays=holidays, working_days=working)


def _weekdays(value: Any) -> frozenset[int] | None:
    """Weekdays of codes as a list or after commas; None when they are not told. No day off at all is an empty list."""
    codes = value if isinstance(value, list) else value.split(",") if isinstance(value, str) else None
    if codes is None:
        return None
    days = [str(one).strip().upper() for one in codes]
    return frozenset(map(WEEKDAYS.index, days)) if all(day in WEEKDAYS for day in days) else None


def _minutes(value: Any) -> int | None:
    match = re.fullmatch(r"\s*(\d{1,2})(?:[.:](\d{1,2}))?\s*", str(value if value is not None else ""))
    if match is None:
        return None
    hours, rest = int(match[1]), match[2] or "0"
    minutes = int(rest) * 10 if len(rest) == 1 else int(rest)
    return hours * 60 + minutes if hours * 60 + minutes <= 24 * 60 and minutes < 60 else None


def _days(value: Any) -> frozenset[tuple[int, int]] | None:
    """Days of a year, ``d.mm`` after commas, or none of them; None when they are not told."""
    if not isinstance(value, str):
        return None
    days = [_day(one.strip()) for one in re.split(r"[,;|]", value) if one.strip()]
    return None if None in days else frozenset(filter(None, days))


def _day(text: str) -> tuple[int, int] | None:
    found = re.fullmatch(r"(\d{1,2})\.(\d{1,2})(?:\.\d{2,4})?", text)
    day, month = (int(found[1]), int(found[2])) if found else (0, 0)
    return (day, month) if 1 <= day <= 31 and 1 <= month <= 12 else None


def _zone(portal: Portal, own: Outcome, profile: Outcome) -> str:
    """The zone that the portal names, if it agrees with the offset in which its server writes; else "": the webhook's
    owner may live elsewhere."""
    settings = own.value if own.done and isinstance(own.value, Mapping) else {}
    person = profile.value if profile.done and isinstance(profile.value, Mapping) else {}
    now = datetime.fromtimestamp(portal.now().timestamp(), UTC)
    for name in (settings.get("timezoneName"), settings.get("timezoneDefaultName"), person.get("TIME_ZONE")):
        try:
            zone = ZoneInfo(str(name or ""))
        except (ValueError, OSError, KeyError):
            continue
        offset = now.astimezone(zone).utcoffset()
        if offset is not None and offset.total_seconds() == portal.utc_offset:
            return zone.key
    return ""
