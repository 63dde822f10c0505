"""Rows of the portal's lists as facts. Pure.

Numbers come as ints or as strings; nothing as null, ``""``, ``"0"``, ``false`` or an absent key; an empty map as
``[]``. All are taken. A row without what makes it one (its id, its time) is None, and the reading leaves it out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, time, timedelta, timezone
from typing import Any

from bitrix_sync.facts import LOST, PROGRESS, WON, Absence, Deal, Department, PortalTask, User, Visit
from bitrix_sync.portal.answers import number, rows_of, whole
from bitrix_sync.portal.names import values

Row = Mapping[str, Any]


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
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)


def minute(value: Any) -> datetime | None:
    """A deadline: a moment cut to the minute, as the portal stores it."""
    found = moment(value)
    return None if found is None else found.replace(second=0, microsecond=0)


def stage(stage_id: Any, funnel_id: int) -> str:
    """The full id of a stage; some answers leave the funnel's prefix out."""
    text = str(stage_id or "")
    return f"C{funnel_id}:{text}" if text and funnel_id > 0 and ":" not in text else text


def ids(value: Any) -> tuple[int, ...]:
    """A list of ids in any of the portal's shapes."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if not isinstance(value, list | tuple):
        value = [value]
    return tuple(found for one in value if (found := whole(one)) and found > 0)


def yes(value: Any, default: bool = True) -> bool:
    """A flag: true, 1, "1", "Y", "true"; absent or null means ``default``."""
    if value is None:
        return default
    return str(value).strip().lower() in ("true", "1", "y", "yes")


def visit(row: Row) -> Visit | None:
    """A row of crm.stagehistory.list."""
    number_, deal, entered = whole(row.get("ID")), whole(row.get("OWNER_ID")), moment(row.get("CREATED_TIME"))
    if not number_ or not deal or entered is None:
        return None
    funnel = whole_or(row.get("CATEGORY_ID"))
    semantic = str(row.get("STAGE_SEMANTIC_ID") or PROGRESS)
    return Visit(
        id=number_,
        deal_id=deal,
        kind=whole_or(row.get("TYPE_ID")),
        funnel_id=funnel,
        stage_id=stage(row.get("STAGE_ID"), funnel),
        semantic=semantic,
        entered=entered,
    )


def deal(row: Row, *, fields: Iterable[str], names: Mapping[str, str]) -> Deal | None:
    """A row of crm.item.list for deals; None also for the template of a recurring deal, which is no deal."""
    number_ = whole(row.get("id"))
    if not number_ or yes(row.get("isRecurring"), default=False):
        return None
    funnel = whole_or(row.get("categoryId"))
    stage_id = stage(row.get("stageId"), funnel)
    created = moment(row.get("createdTime"))
    changed = moment(row.get("updatedTime")) or created
    if created is None or changed is None:
        return None
    return Deal(
        id=number_,
        title=str(row.get("title") or ""),
        funnel_id=funnel,
        stage_id=stage_id,
        semantic=str(row.get("stageSemanticId") or _semantic(row, stage_id)),
        responsible_id=whole_or(row.get("assignedById")),
        creator_id=whole_or(row.get("createdBy")),
        company_id=whole_or(row.get("companyId")),
        contact_id=whole_or(row.get("contactId")) or next(iter(ids(row.get("contactIds"))), 0),
        created=created,
        changed=changed,
        moved_by=whole_or(row.get("movedBy")),
        fields=values(row, fields, names),
    )


def _semantic(row: Row, stage_id: str) -> str:
    if not yes(row.get("closed"), default=False):
        return PROGRESS
    return WON if stage_id.rpartition(":")[2] == "WON" else LOST


def task(row: Row) -> PortalTask | None:
    """A row of tasks.task.list."""
    number_ = whole(row.get("id"))
    if not number_:
        return None
    return PortalTask(
        id=number_,
        title=str(row.get("title") or ""),
        status=whole_or(row.get("status")),
        owner_id=whole_or(row.get("responsibleId")),
        creator_id=whole_or(row.get("createdBy")),
        deadline=minute(row.get("deadline")),
        mark=str(row.get("xmlId") or ""),
        deal_ids=_deals(row.get("ufCrmTask")),
        auditors=ids(row.get("auditors")),
        created=moment(row.get("createdDate")),
        changed=moment(row.get("changedDate")),
        closed=moment(row.get("closedDate")),
    )


def _deals(bindings: Any) -> tuple[int, ...]:
    """Deals among UF_CRM_TASK: ``["D_10", "C_7"]``; ``false`` or ``""`` when there are none."""
    if isinstance(bindings, str):
        bindings = [bindings]
    if isinstance(bindings, Mapping):
        bindings = list(bindings.values())
    texts = [one for one in bindings if isinstance(one, str)] if isinstance(bindings, list) else []
    return tuple(found for text in texts if text.startswith("D_") and (found := whole(text[2:])))


def tasks(value: Any) -> list[PortalTask]:
    """The tasks of a result of tasks.task.list."""
    return [found for row in rows(value, "tasks") if (found := task(row)) is not None]


def user(row: Row) -> User | None:
    """A row of user.get."""
    number_ = whole(row.get("ID"))
    if not number_:
        return None
    email = str(row.get("EMAIL") or "")
    name = " ".join(str(row.get(key) or "").strip() for key in ("NAME", "LAST_NAME")).strip()
    return User(
        id=number_,
        name=name or email,
        active=yes(row.get("ACTIVE")),
        email=email,
        departments=ids(row.get("UF_DEPARTMENT")),
        time_zone=str(row.get("TIME_ZONE") or ""),
    )


def department(row: Row) -> Department | None:
    """A row of department.get; PARENT and UF_HEAD are absent where there is none."""
    number_ = whole(row.get("ID"))
    if not number_:
        return None
    return Department(
        id=number_,
        name=str(row.get("NAME") or ""),
        parent_id=whole_or(row.get("PARENT")),
        head_id=whole_or(row.get("UF_HEAD")),
    )


def absences(value: Any, *, utc_offset: int) -> list[Absence]:
    """Absences among the events of calendar.accessibility.get (``{"7": [...]}``).

    Whole days, the last one included, come as midnights of UTC or of the portal's zone: they are days of the portal,
    ``utc_offset`` seconds east of UTC."""
    if not isinstance(value, Mapping):
        return []
    found = []
    for user_id, events in value.items():
        for event in rows(events, ""):
            start, end = number(event.get("DATE_FROM_TS_UTC")), number(event.get("DATE_TO_TS_UTC"))
            if event.get("ACCESSIBILITY") != "absent" or start is None or end is None:
                continue
            whole_days = yes(event.get("DT_SKIP_TIME"), default=False)
            begin, finish = _utc(start, whole_days, utc_offset), _utc(end, whole_days, utc_offset)
            if whole_days:
                finish += timedelta(days=1)
            if begin < finish:
                found.append(Absence(whole_or(user_id), begin, finish))
    return sorted(found, key=lambda one: (one.user_id, one.start))


def _utc(stamp: float, whole_days: bool, utc_offset: int) -> datetime:
    at = datetime.fromtimestamp(stamp, UTC)
    if not whole_days:
        return at
    day = at if at.time() == time() else at + timedelta(seconds=utc_offset)
    midnight = day.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight.replace(tzinfo=timezone(timedelta(seconds=utc_offset))).astimezone(UTC)
