"""Which lists the portal is asked for, and how their rows become facts. Every row is checked again in code by whoever
asks: tasks.task.list ignores a filter key it does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, TypeVar

from bitrix_sync.model.facts import Deal, PortalTask, Visit
from bitrix_sync.model.items import DEAL
from bitrix_sync.portal.client import Portal
from bitrix_sync.portal.dialect import parsing
from bitrix_sync.portal.dialect.names import item_name
from bitrix_sync.portal.dialect.parsing import Row, whole_or
from bitrix_sync.portal.paging import Source
from bitrix_sync.portal.read_hints import NAMELESS, UnreadableRow

DEAL_FIELDS = (
    *("id", "title", "categoryId", "stageId", "stageSemanticId", "closed", "isRecurring"),
    *("assignedById", "createdBy", "movedBy", "companyId", "contactId", "createdTime", "updatedTime"),
)
TASK_FIELDS = (
    *("ID", "TITLE", "STATUS", "RESPONSIBLE_ID", "CREATED_BY", "DEADLINE", "XML_ID", "UF_CRM_TASK", "AUDITORS"),
    *("CREATED_DATE", "CHANGED_DATE", "CLOSED_DATE", "CHANGED_BY", "CLOSED_BY"),
)
VISIT_FIELDS = ("ID", "TYPE_ID", "OWNER_ID", "CREATED_TIME", "CATEGORY_ID", "STAGE_SEMANTIC_ID", "STAGE_ID")

Fact = TypeVar("Fact")


def history_source(filters: Mapping[str, Any], name: str = "") -> Source:
    """Entries of deals into stages. ``name``: pages needed are remembered under it."""
    params = {"entityTypeId": DEAL.entity_type, "select": list(VISIT_FIELDS), "filter": dict(filters)}
    return Source("crm.stagehistory.list", params, "items", "ID", "ID", name)


def deals_source(
    portal: Portal, filters: Mapping[str, Any], fields: Iterable[str], name: str = "", *, most: int = 0
) -> Source:
    """Deals, with these fields (codes) beside the usual ones. ``most``: so many there can be (0: any number)."""
    asked = [item_name(code, portal.memory.names) for code in sorted(fields)]
    params = {
        "entityTypeId": DEAL.entity_type,
        "select": list(dict.fromkeys([*DEAL_FIELDS, *asked])),
        "filter": dict(filters),
    }
    return Source("crm.item.list", params, "items", "id", "id", name, most)


def tasks_source(filters: Mapping[str, Any], name: str = "", *, growing: bool = False) -> Source:
    """Tasks."""
    params = {"select": list(TASK_FIELDS), "filter": dict(filters)}
    return Source("tasks.task.list", params, "tasks", "id", "ID", name, growing=growing)


def deal_parser(portal: Portal, fields: Iterable[str]) -> Callable[[Row], Deal | None]:
    """What reads a row of ``deals_source``."""
    codes = frozenset(fields)
    return lenient(portal, "deal", lambda row: parsing.deal(row, fields=codes, names=portal.memory.names))


def visit_parser(portal: Portal) -> Callable[[Row], Visit | None]:
    """What reads a row of ``history_source``."""
    return lenient(portal, "visit", parsing.visit)


def task_parser(portal: Portal) -> Callable[[Row], PortalTask | None]:
    """What reads a row of ``tasks_source``."""
    return lenient(portal, "task", parsing.task)


def lenient(portal: Portal, kind: str, parse: Callable[[Row], Fact | None]) -> Callable[[Row], Fact | None]:
    """The same reader of a row, which leaves a row out that it stumbles over, and notes it."""
    bad = portal.memory.bad

    def read(row: Row) -> Fact | None:
        number = max(whole_or(row.get("id", row.get("ID"))), NAMELESS)
        try:
            fact = parse(row)
        except Exception as fault:
            bad.note(kind, number, str(fault) if isinstance(fault, UnreadableRow) else type(fault).__name__)
            return None
        bad.read(kind, number)
        return fact

    return read


def facts(
    found: Iterable[Row], parse: Callable[[Row], Fact | None], holds: Callable[[Fact], bool] = lambda _: True
) -> list[Fact]:
    """The facts that rows hold, those for which the filter that asked for them holds."""
    return [fact for row in found if (fact := parse(row)) is not None and holds(fact)]


def filter_time(portal: Portal, moment: datetime) -> str:
    """A moment for a filter: whole seconds, in the offset of the portal's server, which is told."""
    zone = timezone(timedelta(seconds=portal.utc_offset)) if portal.utc_offset else UTC
    return second(moment).astimezone(zone).isoformat(timespec="seconds")


def second(moment: datetime) -> datetime:
    """The whole second, which is as far as the portal's filters go."""
    return moment.replace(microsecond=0)
