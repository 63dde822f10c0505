"""Readings of the portal that return facts: what changed, deals, tasks, history, and what settles a doubt.

Every row is checked again in code against the filter that asked for it: tasks.task.list ignores a filter key it does
not know. An empty list of ids asks nothing. All of them raise PortalError and PortalRefused as ``Portal.read`` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, TypeVar

from bitrix_sync.facts import DEFERRED, OPEN_STATUSES, Changes, Company, Contact, Cursor, Deal, PortalTask, Visit
from bitrix_sync.portal import bulk, parsing
from bitrix_sync.portal.client import Portal
from bitrix_sync.portal.directory import (
    absence_commands,
    absences,
    absences_of,
    company,
    company_commands,
    company_of,
    directory,
)
from bitrix_sync.portal.forms import Command
from bitrix_sync.portal.lookups import checklist, has_line, has_message
from bitrix_sync.portal.names import code_of, item_name
from bitrix_sync.portal.paging import LONG_PATIENCE, Source, read_beside, read_lists
from bitrix_sync.portal.parsing import Row
from bitrix_sync.portal.parsing import tasks as parse_tasks
from bitrix_sync.portal.writing import DEAL

__all__ = [
    "absences",
    "changes",
    "checklist",
    "companies",
    "company",
    "contacts",
    "cursor_now",
    "deal_history",
    "deals",
    "directory",
    "has_line",
    "has_message",
    "history_since",
    "open_deals",
    "open_tasks",
    "overdue_tasks",
    "parse_tasks",
    "tasks",
    "tasks_by_mark",
    "tasks_by_mark_or_deal",
    "tasks_command",
    "tasks_of_deals",
]

OVERLAP = timedelta(minutes=10)
"""Rows become visible out of order: so much is read again."""
HISTORY_RESTS, CHANGE_RESTS = timedelta(minutes=50), timedelta(seconds=10)
"""How far the cursor stays behind the time of a whole reading: rows of the history may become visible so late, and the
overlap; of deals and tasks whose change was missed the overlap, the next change or the night's reading tells."""
NARROW, WIDE = "narrow.", "wide."
"""Begin the names under which is remembered how many pages a reading without and with overlap had."""
CHUNK = 50
"""Ids in one filter: as many rows as a page holds."""
CONTACT, COMPANY = 3, 4
"""entityTypeId of contacts and companies."""
DEAL_FIELDS = (
    *("id", "title", "categoryId", "stageId", "stageSemanticId", "closed", "isRecurring"),
    *("assignedById", "createdBy", "movedBy", "companyId", "contactId", "createdTime", "updatedTime"),
)
TASK_FIELDS = (
    *("ID", "TITLE", "STATUS", "RESPONSIBLE_ID", "CREATED_BY", "DEADLINE", "XML_ID", "UF_CRM_TASK", "AUDITORS"),
    *("CREATED_DATE", "CHANGED_DATE", "CLOSED_DATE"),
)
VISIT_FIELDS = ("ID", "TYPE_ID", "OWNER_ID", "CREATED_TIME", "CATEGORY_ID", "STAGE_SEMANTIC_ID", "STAGE_ID")

Fact = TypeVar("Fact")


# --- what changed ----------------------------------------------------------------------------------------------------


def changes(
    portal: Portal,
    cursor: Cursor,
    *,
    fields: frozenset[str],
    overlap: timedelta | None = OVERLAP,
    people: Company | None = None,
    away: tuple[datetime, datetime] | None = None,
) -> Changes:
    """Everything recorded after the cursor, and what lies less than ``overlap`` before it (None: nothing) once more.

    ``fields``: codes of the deal's fields to read. One request when little happened. The new cursor holds the newest
    id and times seen, never older ones than before nor one from the future; what was seen whole and is long past moves
    it on too, so that a burst is not read again for ever. ``people``: the company as last read, to be read again in
    the same request, with its absences between the moments of ``away``.
    """
    begun = portal.stats.requests
    back = overlap or timedelta()
    history_from, deals_from, tasks_from = (
        moment - back for moment in (cursor.history_time, cursor.deals_time, cursor.tasks_time)
    )
    name = NARROW if overlap is None else WIDE
    history = {">ID": cursor.history_id} if overlap is None else {">=CREATED_TIME": _said(portal, history_from)}
    staff = [] if people is None else company_commands(people)
    employed = [] if people is None or away is None else [user.id for user in people.users.values() if user.active]
    absent = absence_commands(employed, *away) if away and employed else []
    seen_whole = portal.now() if portal.clock_known else None
    (history_rows, deal_rows, task_rows), beside = read_beside(
        portal,
        [
            _history(history, f"{name}history"),
            _deals(portal, {">=updatedTime": _said(portal, deals_from)}, fields, f"{name}deals"),
            _tasks({">=CHANGED_DATE": _said(portal, tasks_from)}, f"{name}tasks"),
        ],
        [*staff, *absent],
    )
    visits = _facts(
        history_rows,
        parsing.visit,
        lambda visit: visit.id > cursor.history_id if overlap is None else visit.entered >= _second(history_from),
    )
    deals_ = _facts(deal_rows, _deal_parser(portal, fields), lambda deal: deal.changed >= _second(deals_from))
    tasks_ = _facts(task_rows, parsing.task, lambda task: task.changed is None or task.changed >= _second(tasks_from))
    company = company_of(portal, people, beside[: len(staff)]) if people is not None and beside else None
    if company is not None and away is not None:
        company = replace(company, absences=tuple(absences_of(portal, employed, *away, beside[len(staff) :])))
    now = portal.now()

    def newest(before: datetime, seen: Iterable[datetime], rest: timedelta) -> datetime:
        passed = [] if seen_whole is None else [seen_whole - rest]
        return max([before, *passed, *(min(moment, now) for moment in seen)])

    return Changes(
        visits=tuple(visits),
        deals=tuple(deals_),
        tasks=tuple(tasks_),
        cursor=Cursor(
            history_id=max([cursor.history_id, *(visit.id for visit in visits)]),
            history_time=newest(cursor.history_time, (visit.entered for visit in visits), HISTORY_RESTS),
            deals_time=newest(cursor.deals_time, (deal.changed for deal in deals_), CHANGE_RESTS),
            tasks_time=newest(cursor.tasks_time, (task.changed for task in tasks_ if task.changed), CHANGE_RESTS),
        ),
        company=company,
        requests=portal.stats.requests - begun,
    )


def cursor_now(portal: Portal) -> Cursor:
    """The cursor of a first start: the latest history row, and now for what changes."""
    command = Command(
        "crm.stagehistory.list",
        {"entityTypeId": DEAL, "select": list(VISIT_FIELDS), "order": {"ID": "DESC"}, "start": 0},
    )
    found = _facts(parsing.rows(portal.read_one(command).value, "items"), parsing.visit)
    now = portal.now()
    latest = max(found, key=lambda visit: visit.id, default=None)
    return Cursor(latest.id if latest else 0, min(latest.entered, now) if latest else now, now, now)


def history_since(portal: Portal, moment: datetime) -> list[Visit]:
    """All visits entered at or after a moment, by id."""
    (found,) = read_lists(portal, [_history({">=CREATED_TIME": _said(portal, moment)}, "history")])
    return _facts(found, parsing.visit, lambda visit: visit.entered >= _second(moment))


def deal_history(portal: Portal, deal_ids: Sequence[int]) -> list[Visit]:
    """All visits of these deals, by id."""
    sources = [_history({"@OWNER_ID": list(part)}) for part in _chunks(deal_ids)]
    wanted = set(deal_ids)
    lists = read_lists(portal, sources, patience=LONG_PATIENCE) if sources else []
    return sorted(
        _facts(_joined(lists), parsing.visit, lambda visit: visit.deal_id in wanted), key=lambda visit: visit.id
    )


# --- deals -----------------------------------------------------------------------------------------------------------


def deals(portal: Portal, deal_ids: Sequence[int], *, fields: frozenset[str]) -> list[Deal]:
    """These deals, by id; one that is gone, hidden by rights or a template is absent."""
    wanted = set(deal_ids)
    sources = [_deals(portal, {"@id": list(part)}, fields, most=len(part)) for part in _chunks(deal_ids)]
    lists = read_lists(portal, sources, patience=LONG_PATIENCE) if sources else []
    return sorted(
        _facts(_joined(lists), _deal_parser(portal, fields), lambda deal: deal.id in wanted), key=lambda deal: deal.id
    )


def open_deals(portal: Portal, *, fields: frozenset[str]) -> list[Deal]:
    """Every open deal that the webhook may read."""
    found = bulk.read_all(portal, _deals(portal, {"closed": "N"}, fields))
    return _facts(found, _deal_parser(portal, fields), lambda deal: not deal.closed)


def companies(portal: Portal, company_ids: Sequence[int]) -> list[Contact]:
    """Companies with all their fields, for templates."""
    return _clients(portal, COMPANY, company_ids)


def contacts(portal: Portal, contact_ids: Sequence[int]) -> list[Contact]:
    """Contacts with all their fields, for templates."""
    return _clients(portal, CONTACT, contact_ids)


def _clients(portal: Portal, entity: int, client_ids: Sequence[int]) -> list[Contact]:
    wanted = set(client_ids)
    sources = [
        Source(
            "crm.item.list",
            {"entityTypeId": entity, "select": ["*"], "filter": {"@id": list(part)}},
            *("items", "id", "id"),
            most=len(part),
        )
        for part in _chunks(client_ids)
    ]
    lists = read_lists(portal, sources) if sources else []
    return _facts(_joined(lists), _client, lambda client: client.id in wanted)


def _client(row: Row) -> Contact | None:
    number = parsing.whole_or(row.get("id"))
    fields = {code_of(name): value for name, value in row.items() if name != "fm"}
    for entry in reversed(parsing.rows(row.get("fm"), "")):
        if kind := str(entry.get("typeId") or ""):
            fields[kind] = entry.get("value")
    return Contact(number, fields) if number else None


# --- tasks -----------------------------------------------------------------------------------------------------------


def tasks(portal: Portal, task_ids: Sequence[int]) -> list[PortalTask]:
    """These tasks, by id; one that is gone or hidden by rights is absent."""
    wanted = set(task_ids)
    commands = [tasks_command(part) for part in _chunks(task_ids)]
    outcomes = portal.read(commands, patience=LONG_PATIENCE) if commands else []
    found = [task for outcome in outcomes for task in parse_tasks(outcome.value) if task.id in wanted]
    return sorted({task.id: task for task in found}.values(), key=lambda task: task.id)


def tasks_command(task_ids: Sequence[int]) -> Command:
    """The reading of up to fifty tasks as a command that may travel with writes; ``parse_tasks`` reads its value."""
    if not 0 < len(task_ids) <= CHUNK:
        raise ValueError(f"one to {CHUNK} tasks a command")
    params = {
        "filter": {"ID": list(task_ids)},
        "select": list(TASK_FIELDS),
        "order": {"ID": "asc"},
        "start": -1,
    }
    return Command("tasks.task.list", params)


def tasks_by_mark(portal: Portal, marks: Sequence[str]) -> list[PortalTask]:
    """Tasks with one of these marks (XML_ID), the lowest id first; a mark may have several."""
    wanted = {mark for mark in marks if mark}
    return _tasks_where(
        portal, [{"XML_ID": list(part)} for part in _chunks(sorted(wanted))], lambda t: t.mark in wanted
    )


def tasks_of_deals(portal: Portal, deal_ids: Sequence[int]) -> list[PortalTask]:
    """Tasks bound to one of these deals."""
    wanted = set(deal_ids)
    filters = [{"UF_CRM_TASK": [f"D_{number}" for number in part]} for part in _chunks(deal_ids)]
    return _tasks_where(portal, filters, lambda task: not wanted.isdisjoint(task.deal_ids))


def tasks_by_mark_or_deal(portal: Portal, marks: Sequence[str], deal_ids: Sequence[int]) -> list[PortalTask]:
    """Tasks with one of these marks, looked for by mark and among the tasks of the deals, in as few requests."""
    wanted = {mark for mark in marks if mark}
    filters: list[dict[str, Any]] = [{"XML_ID": list(part)} for part in _chunks(sorted(wanted))]
    filters += [{"UF_CRM_TASK": [f"D_{number}" for number in part]} for part in _chunks(deal_ids)]
    return _tasks_where(portal, filters, lambda task: task.mark in wanted)


def open_tasks(portal: Portal) -> list[PortalTask]:
    """Every open task that the webhook may read."""
    found = bulk.read_all(portal, _tasks({"REAL_STATUS": sorted(OPEN_STATUSES)}))
    return _facts(found, parsing.task, lambda task: task.open)


def overdue_tasks(portal: Portal, moment: datetime) -> list[PortalTask]:
    """Open tasks, deferred ones aside, whose deadline lies before a moment."""
    statuses = sorted(OPEN_STATUSES - {DEFERRED})
    source = _tasks({"<DEADLINE": _said(portal, moment), "REAL_STATUS": statuses}, "overdue")
    (found,) = read_lists(portal, [source], patience=LONG_PATIENCE)
    return _facts(
        found,
        parsing.task,
        lambda task: task.deadline is not None and task.deadline < moment and task.status in statuses,
    )


def _tasks_where(
    portal: Portal, filters: Sequence[Mapping[str, Any]], holds: Callable[[PortalTask], bool]
) -> list[PortalTask]:
    lists = read_lists(portal, [_tasks(one) for one in filters], patience=LONG_PATIENCE) if filters else []
    found = {task.id: task for task in _facts(_joined(lists), parsing.task, holds)}
    return [found[number] for number in sorted(found)]


# --- sources ---------------------------------------------------------------------------------------------------------


def _history(filters: Mapping[str, Any], name: str = "") -> Source:
    params = {"entityTypeId": DEAL, "select": list(VISIT_FIELDS), "filter": dict(filters)}
    return Source("crm.stagehistory.list", params, "items", "ID", "ID", name)


def _deals(
    portal: Portal, filters: Mapping[str, Any], fields: Iterable[str], name: str = "", *, most: int = 0
) -> Source:
    asked = [item_name(code, portal.memory.names) for code in sorted(fields)]
    params = {
        "entityTypeId": DEAL,
        "select": list(dict.fromkeys([*DEAL_FIELDS, *asked])),
        "filter": dict(filters),
    }
    return Source("crm.item.list", params, "items", "id", "id", name, most)


def _tasks(filters: Mapping[str, Any], name: str = "") -> Source:
    return Source("tasks.task.list", {"select": list(TASK_FIELDS), "filter": dict(filters)}, "tasks", "id", "ID", name)


def _deal_parser(portal: Portal, fields: Iterable[str]) -> Callable[[Row], Deal | None]:
    codes = frozenset(fields)
    return lambda row: parsing.deal(row, fields=codes, names=portal.memory.names)


def _facts(
    found: Iterable[Row], parse: Callable[[Row], Fact | None], holds: Callable[[Fact], bool] = lambda _: True
) -> list[Fact]:
    return [fact for row in found if (fact := parse(row)) is not None and holds(fact)]


def _chunks(values: Sequence[Any]) -> list[Sequence[Any]]:
    distinct = list(dict.fromkeys(values))
    return [distinct[begin : begin + CHUNK] for begin in range(0, len(distinct), CHUNK)]


def _joined(lists: Iterable[Iterable[Row]]) -> list[Row]:
    return [row for part in lists for row in part]


def _said(portal: Portal, moment: datetime) -> str:
    """A moment for a filter: whole seconds, in the offset of the portal's server, which is told."""
    zone = timezone(timedelta(seconds=portal.utc_offset)) if portal.utc_offset else UTC
    return _second(moment).astimezone(zone).isoformat(timespec="seconds")


def _second(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)
