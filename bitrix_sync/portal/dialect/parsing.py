"""Rows of the portal's lists as facts. Pure.

Numbers come as ints or as strings; nothing as null, ``""``, ``"0"`` or ``false``; an empty map as ``[]``. All are
taken. What decisions hang on is either told or Unreadable is raised: a deadline that makes no sense is not none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, time, timedelta, timezone
from decimal import Decimal, InvalidOperation
from types import MappingProxyType
from typing import Any

from bitrix_sync.model.facts import LOST, PROGRESS, WON, Absence, Activity, Deal, Department, PortalTask, User, Visit
from bitrix_sync.model.items import DEAL, SPAN, Item, ItemKind, bound
from bitrix_sync.model.yes_no import yes_or_no
from bitrix_sync.portal.dialect.names import values
from bitrix_sync.portal.dialect.outcomes import number, rows_of, whole
from bitrix_sync.portal.read_hints import UnreadableRow

Row = Mapping[str, Any]
FIRST_YEAR, LAST_YEAR = 2, 9998
"""Years that can be counted with in every zone."""
STAGE = re.compile(r"([A-Z][A-Z0-9_]{0,30}:)?[A-Za-z0-9_-]{1,60}")
"""The full id of a stage."""
TITLE_LIMIT = 1000
DEPTH = 30
"""Longest title that is kept, and how far a value may be nested."""
NEVER = "9999-"
"""How the deadline of what has none begins."""
TASK_TYPE, TASK_PROVIDERS = 3, ("CRM_TASKS_TASK", "TASKS")
"""An activity that shows a task."""
_NOTHING: tuple[Any, ...] = ("", None, False, "0", "null", [])


def rows(value: Any, key: str) -> list[Row]:
    """The rows of a list's result: ``{"items": [...]}`` by ``key``, or with key "" the result itself. A row without
    fields comes as ``[]`` and is an empty one, so that a page keeps its length."""
    return [row if isinstance(row, Mapping) else {} for row in rows_of(value, key) or ()]


def whole_or(value: Any, default: int = 0) -> int:
    """An id or a number of the portal's as int."""
    found = whole(value)
    return default if found is None else found


def moment(value: Any) -> datetime | None:
    """An ISO 8601 moment as aware UTC; None for anything else. One without an offset counts as UTC."""
    if not isinstance(value, str) or not value:
        return None
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        return None
    if not FIRST_YEAR <= parsed.year <= LAST_YEAR:
        return None
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)


def minute(value: Any) -> datetime | None:
    """A deadline: a moment cut to the minute, as the portal stores it."""
    found = moment(value)
    return None if found is None else found.replace(second=0, microsecond=0)


def own_id(row: Row, key: str) -> int:
    """The id that makes a row what it is."""
    found = whole(row.get(key))
    if found is None or found <= 0:
        raise UnreadableRow(f"{key} is no id")
    return found


def count(row: Row, key: str) -> int:
    """A number or an id that must be told; 0 where the portal says that there is none."""
    found = 0 if key in row and row[key] in _NOTHING else whole(row.get(key))
    if found is None or found < 0:
        raise UnreadableRow(f"{key} is no number")
    return found


def nullable_moment(row: Row, key: str) -> datetime | None:
    """A moment that must be told; None where the portal says that there is none."""
    if key in row and row[key] in _NOTHING:
        return None
    found = moment(row.get(key))
    if found is None:
        raise UnreadableRow(f"{key} is no moment")
    return found


def line(row: Row, key: str) -> str:
    """A text, or a number that stands for one; of a very long one its beginning."""
    value = row.get(key)
    if isinstance(value, Mapping | list) or value is True:
        raise UnreadableRow(f"{key} is no text")
    return str("" if value is None or value is False else value)[:TITLE_LIMIT]


def shallow(row: Row) -> Row:
    """The row itself; Unreadable for one nested so far that nothing of it can be kept."""
    level: list[Any] = [row]
    for _ in range(DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, Mapping) else outer)
            if isinstance(inner, Mapping | list)
        ]
        if not level:
            return row
    raise UnreadableRow("its values are nested too far")


def item(row: Row, key: str, kind: ItemKind) -> int:
    """The number of the item, or the row of a history, that bears this id."""
    found = own_id(row, key)
    if found >= SPAN:
        raise UnreadableRow(f"{key} is no id")
    return Item(kind, found).number


def funnel(row: Row, key: str) -> int:
    """The id of a funnel; 0, the default one, where the portal names none."""
    found = count(row, key) if key in row else 0
    if found >= SPAN:
        raise UnreadableRow(f"{key} is no id")
    return found


def listed(value: Any) -> list[Any]:
    """The values of a list in any of the portal's shapes: as a map where it has gaps, as itself where it is one."""
    return list(value.values()) if isinstance(value, Mapping) else value if isinstance(value, list) else [value]


def ids(value: Any) -> tuple[int, ...]:
    """A list of ids in any of the portal's shapes."""
    return tuple(found for one in listed(value) if (found := whole(one)) and found > 0)


def told_ids(row: Row, key: str) -> tuple[int, ...]:
    """A list of ids each of which must make sense; none where the portal says that there is none."""
    value = row.get(key)
    if any(one not in _NOTHING and whole(one) is None for one in listed(value)):
        raise UnreadableRow(f"{key} is no list of ids")
    return ids(value)


def flag(row: Row, key: str) -> bool:
    """A flag that must make sense; set where the portal does not tell it."""
    value = row.get(key)
    if value not in _NOTHING and yes_or_no(value) is None:
        raise UnreadableRow(f"{key} says neither yes nor no")
    return yes(value)


def yes(value: Any, default: bool = True) -> bool:
    """A flag; absent or null means ``default``, whatever says neither yes nor no the latter."""
    return default if value is None else yes_or_no(value) is True


def visit(row: Row, kind: ItemKind = DEAL) -> Visit:
    """A row of crm.stagehistory.list."""
    funnel_id = funnel(row, "CATEGORY_ID")
    key = f"{kind.stage_key}_ID"
    stage_id, entered = kind.stage(line(row, key), funnel_id), nullable_moment(row, "CREATED_TIME")
    if entered is None:
        raise UnreadableRow("CREATED_TIME is missing")
    if not STAGE.fullmatch(stage_id):
        raise UnreadableRow(f"{key} is no stage")
    return Visit(
        id=item(row, "ID", kind),
        deal_id=item(row, "OWNER_ID", kind),
        kind=whole_or(row.get("TYPE_ID")),
        funnel_id=Item(kind, funnel_id).number,
        stage_id=stage_id,
        semantic=line(row, f"{kind.stage_key}_SEMANTIC_ID") or PROGRESS,
        entered=entered,
    )


def deal(
    row: Row,
    kind: ItemKind,
    fields: Iterable[str] = (),
    *,
    names: Mapping[str, str] = MappingProxyType({}),
    semantics: Mapping[str, str] = MappingProxyType({}),
) -> Deal | None:
    """A row of crm.item.list; None for the template of a recurring deal, which is no deal. ``semantics``: of stages,
    for kinds whose rows do not tell it."""
    number_ = item(row, "id", kind)
    if yes(row.get("isRecurring"), default=False):
        return None
    funnel_id = funnel(row, "categoryId")
    stage_id, told = kind.stage(line(row, "stageId"), funnel_id), values(row, fields, names)
    created = moment(row.get("createdTime"))
    changed = moment(row.get("updatedTime")) or created
    if created is None or changed is None:
        raise UnreadableRow("createdTime is no moment")
    if not STAGE.fullmatch(stage_id):
        raise UnreadableRow("stageId is no stage")
    return Deal(
        id=number_,
        title=line(row, "title"),
        funnel_id=Item(kind, funnel_id).number,
        stage_id=stage_id,
        semantic=line(row, "stageSemanticId") or _semantic(row, stage_id, semantics),
        responsible_id=count(row, "assignedById") if "assignedById" in row else 0,
        creator_id=whole_or(row.get("createdBy")),
        company_id=whole_or(row.get("companyId")),
        contact_id=whole_or(row.get("contactId")) or next(iter(ids(row.get("contactIds"))), 0),
        created=created,
        changed=changed,
        moved_by=whole_or(row.get("movedBy")),
        fields=shallow({code: stage_id if code == "STAGE_ID" else value for code, value in told.items()}),
    )


def _semantic(row: Row, stage_id: str, semantics: Mapping[str, str]) -> str:
    if "closed" not in row:
        return semantics.get(stage_id, PROGRESS)
    if not yes(row.get("closed"), default=False):
        return PROGRESS
    return WON if stage_id.rpartition(":")[2] == "WON" else LOST


def task(row: Row) -> PortalTask:
    """A row of tasks.task.list."""
    deadline = nullable_moment(row, "deadline") if "deadline" in row else None
    return PortalTask(
        id=own_id(row, "id"),
        title=line(row, "title"),
        status=count(row, "status"),
        owner_id=count(row, "responsibleId"),
        creator_id=whole_or(row.get("createdBy")),
        deadline=None if deadline is None else deadline.replace(second=0, microsecond=0),
        mark=line(row, "xmlId") if "xmlId" in row else None,
        deal_ids=_deals(row.get("ufCrmTask")),
        auditors=ids(row.get("auditors")),
        created=moment(row.get("createdDate")),
        changed=moment(row.get("changedDate")),
        closed=moment(row.get("closedDate")),
        changed_by=whole_or(row.get("changedBy")) or None,
        closed_by=whole_or(row.get("closedBy")) or None,
        priority=max(0, min(whole_or(row.get("priority"), 1), 2)),
    )


def task_or_mark(row: Row, *, marked: bool = False) -> PortalTask:
    """A row of tasks.task.list of which only matters whose it is: what else cannot be read counts as nothing, and the
    task as touched by somebody. ``marked``: it was asked for by its mark, so it has one."""
    if marked and "xmlId" not in row:
        raise UnreadableRow("xmlId is missing")
    try:
        return task(row)
    except UnreadableRow:
        deals = _deals(row.get("ufCrmTask"))
        return PortalTask(own_id(row, "id"), "", 0, 0, 0, None, mark=line(row, "xmlId"), deal_ids=deals)


def activity(row: Row) -> Activity:
    """A row of crm.activity.list. That it has no deadline may be said by one at the end of time."""
    changed, owner = nullable_moment(row, "LAST_UPDATED"), count(row, "OWNER_ID")
    if changed is None:
        raise UnreadableRow("LAST_UPDATED is missing")
    if not 0 <= owner < SPAN:
        raise UnreadableRow("OWNER_ID is no id")
    endless = str(row.get("DEADLINE") or "").startswith(NEVER)
    owned = count(row, "OWNER_TYPE_ID") == DEAL.entity_type
    is_task = whole_or(row.get("TYPE_ID")) == TASK_TYPE or row.get("PROVIDER_ID") in TASK_PROVIDERS
    return Activity(
        id=own_id(row, "ID"),
        completed=flag(row, "COMPLETED") if row.get("COMPLETED") is not None else False,
        deadline=None if endless else nullable_moment(row, "DEADLINE"),
        changed=changed,
        created=moment(row.get("CREATED")) or changed,
        deals=(Item(DEAL, owner).number,) if owned and owner else (),
        owned=owned,
        task_id=whole_or(row.get("ASSOCIATED_ENTITY_ID")) if is_task else 0,
    )


def bound_deals(value: Any) -> tuple[int, ...]:
    """The deals among the rows of crm.activity.binding.list."""
    told = [(whole_or(row.get("entityTypeId")), whole_or(row.get("entityId"))) for row in rows(value, "")]
    return tuple(Item(DEAL, number).number for kind, number in told if kind == DEAL.entity_type and 0 < number < SPAN)


def _deals(bindings: Any) -> tuple[int, ...]:
    """Items of the kinds that are known among UF_CRM_TASK: ``["D_10", "C_7"]``; ``false`` or ``""`` without any."""
    texts = [one for one in listed(bindings) if isinstance(one, str)]
    told = [(kind, whole(number)) for kind, number in filter(None, map(bound, texts))]
    return tuple(Item(kind, number).number for kind, number in told if number and 0 < number < SPAN)


def _text(value: Any) -> str:
    return value[:TITLE_LIMIT] if isinstance(value, str) else ""


def user(row: Row) -> User:
    """A row of user.get."""
    number_ = own_id(row, "ID")
    email = _text(row.get("EMAIL"))
    name = " ".join(_text(row.get(key)).strip() for key in ("NAME", "LAST_NAME")).strip()
    return User(
        id=number_,
        name=name or email,
        active=flag(row, "ACTIVE"),
        email=email,
        departments=told_ids(row, "UF_DEPARTMENT"),
        time_zone=_text(row.get("TIME_ZONE")),
    )


def department(row: Row) -> Department:
    """A row of department.get; PARENT and UF_HEAD are absent where there is none."""
    number_ = own_id(row, "ID")
    return Department(
        id=number_,
        name=_text(row.get("NAME")),
        parent_id=count(row, "PARENT") if "PARENT" in row else 0,
        head_id=count(row, "UF_HEAD") if "UF_HEAD" in row else 0,
    )


def currency(row: Row) -> tuple[str, Decimal]:
    """A row of crm.currency.list: its code, and what one unit is worth in the account's own currency."""
    worth, count_ = (_decimal(row, key) for key in ("AMOUNT", "AMOUNT_CNT"))
    if yes(row.get("BASE"), default=False):
        return line(row, "CURRENCY"), Decimal(1)
    if worth <= 0 or count_ <= 0:
        raise UnreadableRow("AMOUNT is no rate")
    return line(row, "CURRENCY"), worth / count_


def _decimal(row: Row, key: str) -> Decimal:
    try:
        found = Decimal(str(row.get(key)))
    except InvalidOperation:
        raise UnreadableRow(f"{key} is no number") from None
    if not found.is_finite():
        raise UnreadableRow(f"{key} is no number")
    return found


def events(value: Any) -> list[tuple[int, Row]] | None:
    """Events of people's calendars with their owners, as calendar.accessibility.get tells them (``{"7": [...]}``, or
    ``[]`` where nobody was asked for); None for what is none of that."""
    if value == []:
        return []
    if not isinstance(value, Mapping):
        return None
    lists = {who: listed(one) for who, one in value.items() if isinstance(one, Mapping | list)}
    if len(lists) < len(value):
        return None
    return [(whole_or(owner), event) for owner, own in lists.items() for event in rows(own, "")]


def absence(owner: int, event: Row, *, utc_offset: int) -> Absence | None:
    """The absence that an event is; None for any other, or one that is over as it begins.

    Whole days, the last one included, come as midnights of UTC or of the portal's zone: they are days of the portal,
    ``utc_offset`` seconds east of UTC. Raises UnreadableRow for one that does not say when."""
    if event.get("ACCESSIBILITY") != "absent":
        return None
    start, end = number(event.get("DATE_FROM_TS_UTC")), number(event.get("DATE_TO_TS_UTC"))
    if start is None or end is None or not owner:
        raise UnreadableRow("an absence that does not say whose it is, or when")
    whole_days = yes(event.get("DT_SKIP_TIME"), default=False)
    try:
        begin, finish = _utc(start, whole_days, utc_offset), _utc(end, whole_days, utc_offset)
        finish += timedelta(days=whole_days)
    except (ValueError, OverflowError, OSError):
        raise UnreadableRow("an absence at no moment of any calendar") from None
    return Absence(owner, begin, finish) if begin < finish else None


def _utc(stamp: float, whole_days: bool, utc_offset: int) -> datetime:
    at = datetime.fromtimestamp(stamp, UTC)
    if not whole_days:
        return at
    day = at if at.time() == time() else at + timedelta(seconds=utc_offset)
    midnight = day.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight.replace(tzinfo=timezone(timedelta(seconds=utc_offset))).astimezone(UTC)
