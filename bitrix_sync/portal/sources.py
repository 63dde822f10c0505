"""Which lists the portal is asked for, and how their rows become facts. Every row is checked again in code by whoever
asks: tasks.task.list ignores a filter key it does not know.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, TypeVar

from bitrix_sync.errors import PortalError, PortalRefused
from bitrix_sync.model.facts import Deal, PortalTask, Unread, Visit
from bitrix_sync.model.items import DEAL, ItemKind
from bitrix_sync.portal.client import Portal
from bitrix_sync.portal.dialect import parsing
from bitrix_sync.portal.dialect.names import item_name
from bitrix_sync.portal.dialect.outcomes import NO_SCOPE, WHOLE_PORTAL
from bitrix_sync.portal.dialect.parsing import Row, whole_or
from bitrix_sync.portal.paging import Source
from bitrix_sync.portal.rate_limiter import Stopped
from bitrix_sync.portal.read_hints import NAMELESS, UnreadableRow

DEAL_FIELDS = (
    *("id", "title", "categoryId", "stageId", "stageSemanticId"),
    *("assignedById", "createdBy", "movedBy", "companyId", "contactId", "createdTime", "updatedTime"),
)
"""Fields of items of every kind; a kind's own stand in its descriptor."""
TASK_FIELDS = (
    *("ID", "TITLE", "STATUS", "RESPONSIBLE_ID", "CREATED_BY", "DEADLINE", "XML_ID", "UF_CRM_TASK", "AUDITORS"),
    *("CREATED_DATE", "CHANGED_DATE", "CLOSED_DATE", "CHANGED_BY", "CLOSED_BY", "PRIORITY"),
)

Fact = TypeVar("Fact")
NOTHING_GOES = WHOLE_PORTAL | {NO_SCOPE, "redirect"}
"""Codes of refusals that concern more than what was asked for."""
NO_ANSWER = "no_answer"


def history_params(kind: ItemKind) -> dict[str, Any]:
    """What crm.stagehistory.list is asked for."""
    stage = (f"{kind.stage_key}_SEMANTIC_ID", f"{kind.stage_key}_ID")
    funnel = ("CATEGORY_ID",) if kind.has_funnels else ()
    return {
        "entityTypeId": kind.entity_type,
        "select": ["ID", "TYPE_ID", "OWNER_ID", "CREATED_TIME", *funnel, *stage],
    }


def history_source(filters: Mapping[str, Any], name: str = "", kind: ItemKind = DEAL) -> Source:
    """Entries of items into stages. ``name``: pages needed are remembered under it."""
    params = {**history_params(kind), "filter": dict(filters)}
    return Source("crm.stagehistory.list", params, "items", "ID", "ID", name)


def deals_source(
    portal: Portal,
    filters: Mapping[str, Any],
    fields: Iterable[str],
    name: str = "",
    *,
    most: int = 0,
    kind: ItemKind = DEAL,
) -> Source:
    """Items, with these fields (codes) beside the usual ones. ``most``: so many there can be (0: any number)."""
    asked = [item_name(code, portal.memory.names) for code in sorted(fields)]
    params = {
        "entityTypeId": kind.entity_type,
        "select": list(dict.fromkeys([*DEAL_FIELDS, *kind.fields, *asked])),
        "filter": dict(filters),
    }
    return Source("crm.item.list", params, "items", "id", "id", name, most)


def tasks_source(filters: Mapping[str, Any], name: str = "", *, growing: bool = False) -> Source:
    """Tasks."""
    params = {"select": list(TASK_FIELDS), "filter": dict(filters)}
    return Source("tasks.task.list", params, "tasks", "id", "ID", name, growing=growing)


def deal_parser(portal: Portal, fields: Iterable[str], kind: ItemKind = DEAL) -> Callable[[Row], Deal | None]:
    """What reads a row of ``deals_source``."""
    codes = frozenset(fields)
    hints = portal.memory
    return lenient(
        portal, "deal", lambda row: parsing.deal(row, kind, codes, names=hints.names, semantics=hints.semantics), kind
    )


def visit_parser(portal: Portal, kind: ItemKind = DEAL) -> Callable[[Row], Visit | None]:
    """What reads a row of ``history_source``."""
    return lenient(portal, "visit", lambda row: parsing.visit(row, kind), kind)


def task_parser(portal: Portal) -> Callable[[Row], PortalTask | None]:
    """What reads a row of ``tasks_source``."""
    return lenient(portal, "task", parsing.task)


def lenient(
    portal: Portal, what: str, parse: Callable[[Row], Fact | None], kind: ItemKind = DEAL
) -> Callable[[Row], Fact | None]:
    """The same reader of a row, which leaves a row out that it stumbles over, and notes it. ``kind``: of the items that
    the rows are, or tell of."""
    bad, first = portal.memory.bad, kind.first

    def read(row: Row) -> Fact | None:
        told = whole_or(row.get("id", row.get("ID")))
        number = first + told if told > 0 else NAMELESS
        try:
            fact = parse(row)
        except Exception as fault:
            bad.note(what, number, str(fault) if isinstance(fault, UnreadableRow) else type(fault).__name__)
            return None
        bad.read(what, number)
        return fact

    return read


@contextlib.contextmanager
def tolerance() -> Iterator[list[Unread]]:
    """What a reading raises becomes its end, unless it concerns the whole portal."""
    ends: list[Unread] = []
    try:
        yield ends
    except PortalRefused as fault:
        if fault.code.lower() in NOTHING_GOES:
            raise
        ends.append(Unread(fault.code.lower() or "refused", str(fault)))
    except Stopped:
        raise
    except PortalError as fault:
        ends.append(Unread(NO_ANSWER, str(fault)))


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
