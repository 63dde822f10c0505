"""What names can mean on a portal: funnels, fields, people, workgroups, its calendar and what the webhook may do.

What a missing scope hides is left empty, so that a check can say what is missing; without crm or task there is
nothing to do, and PortalRefused says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from bitrix_sync.facts import (
    PROGRESS,
    Absence,
    Company,
    DealField,
    Directory,
    Funnel,
    PortalCalendar,
    Stage,
)
from bitrix_sync.portal import bulk, parsing
from bitrix_sync.portal.answers import Outcome, whole
from bitrix_sync.portal.client import PATIENCE, Portal
from bitrix_sync.portal.forms import Command
from bitrix_sync.portal.names import code_of, synonyms
from bitrix_sync.portal.paging import from_start, read_offsets
from bitrix_sync.portal.parsing import Row, rows, whole_or
from bitrix_sync.portal.writing import DEAL

USERS = Command(
    "user.get",
    {
        "sort": "ID",
        "order": "ASC",
        "select": ["ID", "ACTIVE", "NAME", "LAST_NAME", "EMAIL", "TIME_ZONE", "UF_DEPARTMENT"],
    },
)
DEPARTMENTS = Command("department.get", {"sort": "ID", "order": "ASC"})
WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
CHUNK = 50


def directory(portal: Portal, *, patience: float = PATIENCE) -> Directory:
    """Everything that a rules file can name. Remembers the names of the deal's fields for later readings. ``patience``:
    seconds after which a portal that gives no answer at all is given up."""
    profile, scope, fields, settings, own = portal.read(
        [
            Command("profile"),
            Command("scope"),
            Command("crm.item.fields", {"entityTypeId": DEAL}),
            Command("calendar.settings.get"),
            Command("calendar.user.settings.get"),
        ],
        optional=True,
        patience=patience,
    )
    lists = [
        (Command("crm.category.list", {"entityTypeId": DEAL}), "categories"),
        (Command("crm.deal.userfield.list", {"order": {"ID": "ASC"}}), ""),
        (Command("sonet_group.get", {"ORDER": {"ID": "ASC"}, "IS_ADMIN": "Y"}), ""),
    ]
    categories, user_fields, groups = read_offsets(portal, lists, name="directory", optional=True)
    described = _described(fields)
    dictionaries = _dictionaries(portal, categories or [], described)
    portal.memory.names.update({code: name for name, (code, _) in described.items()})
    return Directory(
        funnels=_funnels(categories or [], dictionaries),
        fields=_fields(described, user_fields or [], dictionaries),
        company=_everyone(portal),
        groups=None if groups is None else frozenset(found for row in groups if (found := whole(row.get("ID")))),
        calendar=calendar(settings.value) if settings.done else None,
        time_zone=_zone(portal, own, profile),
        utc_offset=portal.utc_offset,
        admin=isinstance(profile.value, Mapping) and parsing.yes(profile.value.get("ADMIN"), default=False),
        scopes=_scopes(scope.value),
    )


def _scopes(value: Any) -> frozenset[str]:
    """Codes of the ``scope`` method, which a portal may give as a list or as a map; empty when it does not tell."""
    codes = list(value.values()) if isinstance(value, Mapping) else value
    return frozenset(str(one).strip().lower() for one in codes) if isinstance(codes, list) else frozenset()


# --- people ----------------------------------------------------------------------------------------------------------


def company(portal: Portal) -> Company:
    """People and departments as they are now, without absences; one request for a company of average size."""
    lists = [(USERS, ""), (DEPARTMENTS, "")]
    people, departments = read_offsets(portal, lists, name="company", optional=True)
    return _company(portal, people or [], departments or [])


def company_commands(known: Company) -> list[Command]:
    """The same as commands that may travel with other readings, as many pages as the company had when last read."""
    counts = ((USERS, len(known.users)), (DEPARTMENTS, len(known.departments)))
    return [from_start(command, start) for command, count in counts for start in range(0, max(count, 1), CHUNK)]


def company_of(portal: Portal, known: Company, outcomes: Sequence[Outcome]) -> Company | None:
    """What their outcomes tell; None when the company has grown beyond them, or its people may not be read."""
    pages = -(-max(len(known.users), 1) // CHUNK)
    parts = outcomes[:pages], outcomes[pages:]
    if not all(one.done for one in parts[0]):
        return None
    found = [[row for one in part if one.done for row in rows(one.value, "")] for part in parts]
    totals = [max((one.total or 0 for one in part), default=0) for part in parts]
    if any(one.next is not None for part in parts for one in part[-1:]) or any(
        len({whole(row.get("ID")) for row in part}) < total for part, total in zip(found, totals, strict=True)
    ):
        return None
    return _company(portal, *found)


def _everyone(portal: Portal) -> Company:
    """The same by bulk, for companies of any size."""
    people, departments = bulk.read_table(portal, USERS), bulk.read_table(portal, DEPARTMENTS)
    return _company(portal, people or [], departments or [])


def _company(portal: Portal, people: Sequence[Row], departments: Sequence[Row]) -> Company:
    users = [user for row in people if (user := parsing.user(row)) is not None]
    nodes = [node for row in departments if (node := parsing.department(row)) is not None]
    return Company(
        users={user.id: user for user in sorted(users, key=lambda user: user.id)},
        departments={node.id: node for node in sorted(nodes, key=lambda node: node.id)},
        self_id=portal.self_id,
    )


def absences(portal: Portal, user_ids: Sequence[int], start: datetime, end: datetime) -> list[Absence]:
    """Absences of these users between two moments; none when the webhook may not read calendars."""
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
) -> list[Absence]:
    """What their outcomes tell."""
    wanted = set(user_ids)
    found = [
        absence
        for outcome in outcomes
        if outcome.done
        for absence in parsing.absences(outcome.value, utc_offset=portal.utc_offset)
        if absence.user_id in wanted
    ]
    return [absence for absence in found if absence.start < end and absence.end > start]


# --- funnels and fields ----------------------------------------------------------------------------------------------


def _described(fields: Outcome) -> dict[str, tuple[str, Row]]:
    """Name in crm.item.* → (upper-case code, description)."""
    inner = fields.value.get("fields") if isinstance(fields.value, Mapping) else None
    found = inner if isinstance(inner, Mapping) else {}
    return {
        str(name): (str(row.get("upperName") or code_of(str(name))), row)
        for name, row in found.items()
        if isinstance(row, Mapping)
    }


def _dictionaries(
    portal: Portal, categories: Sequence[Row], described: Mapping[str, tuple[str, Row]]
) -> dict[str, list[Row]]:
    """Entries of crm.status.list by ENTITY_ID: the stages of every funnel, and what the fields choose from."""
    wanted = [_stage_entity(whole_or(row.get("id"))) for row in categories]
    wanted += [str(row["statusType"]) for _, row in described.values() if row.get("statusType")]
    wanted = list(dict.fromkeys(wanted))
    commands = [
        (Command("crm.status.list", {"filter": {"ENTITY_ID": entity}, "order": {"SORT": "ASC"}}), "")
        for entity in wanted
    ]
    lists = read_offsets(portal, commands, optional=True) if commands else []
    return {
        entity: [row for row in found or [] if row.get("ENTITY_ID", entity) == entity]
        for entity, found in zip(wanted, lists, strict=True)
    }


def _stage_entity(funnel_id: int) -> str:
    """ENTITY_ID of a funnel's stages: the default funnel has no number (docs: crm/status/crm-status-list.md)."""
    return f"DEAL_STAGE_{funnel_id}" if funnel_id else "DEAL_STAGE"


def _funnels(categories: Sequence[Row], dictionaries: Mapping[str, Sequence[Row]]) -> tuple[Funnel, ...]:
    found = []
    for row in sorted(categories, key=lambda row: (whole_or(row.get("sort")), whole_or(row.get("id")))):
        number = whole_or(row.get("id"))
        stages = [_stage(entry, number) for entry in dictionaries.get(_stage_entity(number), ())]
        ordered = sorted(stages, key=lambda stage: stage.sort)
        found.append(Funnel(number, str(row.get("name") or ""), tuple(stage for stage in ordered if stage.id)))
    return tuple(found)


def _stage(row: Row, funnel_id: int) -> Stage:
    extra = row.get("EXTRA")
    words = {"process": PROGRESS, "success": "S", "failure": "F", "apology": "F"}
    semantic = row.get("SEMANTICS") or words.get(str(extra.get("SEMANTICS")) if isinstance(extra, Mapping) else "")
    return Stage(
        id=parsing.stage(row.get("STATUS_ID"), funnel_id),
        name=str(row.get("NAME") or ""),
        funnel_id=funnel_id,
        semantic=str(semantic or PROGRESS),
        sort=whole_or(row.get("SORT")),
    )


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


def _options(row: Row, user_field: Row, dictionaries: Mapping[str, Sequence[Row]]) -> dict[str, str]:
    entries = dictionaries.get(str(row.get("statusType") or ""), ())
    if entries:
        return {str(entry.get("STATUS_ID")): str(entry.get("NAME") or "") for entry in entries}
    choices = rows(row.get("items"), "") or rows(user_field.get("LIST"), "")
    return {str(entry.get("ID")): str(entry.get("VALUE") or "") for entry in choices if entry.get("ID") is not None}


# --- calendar --------------------------------------------------------------------------------------------------------


def calendar(value: Any) -> PortalCalendar | None:
    """The working time of calendar.settings.get; None when its hours make no sense. Days are ``d.mm`` without a year,
    hours ``9``, ``9.30``, ``18.00`` (docs: calendar/calendar-settings-get.md)."""
    if not isinstance(value, Mapping):
        return None
    start, end = _minutes(value.get("work_time_start")), _minutes(value.get("work_time_end"))
    if start is None or end is None or start >= end:
        return None
    off = value.get("week_holidays")
    codes = off if isinstance(off, list) else str(off or "").split(",")
    return PortalCalendar(
        start_minute=start,
        end_minute=end,
        days_off=frozenset(WEEKDAYS.index(code) for one in codes if (code := str(one).strip().upper()) in WEEKDAYS),
        holidays=_days(value.get("year_holidays")),
        working_days=_days(value.get("year_workdays")),
    )


def _minutes(value: Any) -> int | None:
    match = re.fullmatch(r"\s*(\d{1,2})(?:[.:](\d{1,2}))?\s*", str(value if value is not None else ""))
    if match is None:
        return None
    hours, rest = int(match[1]), match[2] or "0"
    minutes = int(rest) * 10 if len(rest) == 1 else int(rest)
    return hours * 60 + minutes if hours * 60 + minutes <= 24 * 60 and minutes < 60 else None


def _days(value: Any) -> frozenset[tuple[int, int]]:
    found = re.findall(r"(?<!\d)(\d{1,2})\.(\d{1,2})(?!\d)", str(value or ""))
    return frozenset((int(day), int(month)) for day, month in found if 1 <= int(day) <= 31 and 1 <= int(month) <= 12)


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
