"""Readings of the portal that return facts: what changed, deals, tasks, history, and what settles a doubt.

Every row is checked again in code against the filter that asked for it: tasks.task.list ignores a filter key it does
not know. An empty list of ids asks nothing. All of them raise PortalError and PortalRefused as ``Portal.read`` does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from bitrix_sync.errors import PortalError
from bitrix_sync.model.facts import (
    DEFERRED,
    DONE,
    OPEN_STATUSES,
    Absent,
    Contact,
    Cursor,
    Deal,
    End,
    PortalTask,
    Reached,
    Unread,
    Visit,
)
from bitrix_sync.model.items import DEAL, Item, ItemKind, by_kind
from bitrix_sync.portal import bulk
from bitrix_sync.portal.change_reader import WIDE as WIDE
from bitrix_sync.portal.change_reader import ChangeReader as ChangeReader
from bitrix_sync.portal.client import PATIENCE, Portal
from bitrix_sync.portal.dialect import parsing
from bitrix_sync.portal.dialect.commands import Command
from bitrix_sync.portal.dialect.names import code_of
from bitrix_sync.portal.dialect.outcomes import GARBAGE, Outcome
from bitrix_sync.portal.dialect.parsing import Row
from bitrix_sync.portal.directory import absences as absences
from bitrix_sync.portal.directory import company as company
from bitrix_sync.portal.directory import directory as directory
from bitrix_sync.portal.directory import with_left_out as with_left_out
from bitrix_sync.portal.paging import LONG_PATIENCE, Source, read_lists
from bitrix_sync.portal.read_hints import NAMELESS
from bitrix_sync.portal.sources import (
    NO_ANSWER,
    TASK_FIELDS,
    deal_parser,
    deals_source,
    facts,
    filter_time,
    history_params,
    history_source,
    lenient,
    second,
    task_parser,
    tasks_source,
    tolerance,
    visit_parser,
)

CHUNK = 50
"""Ids in one filter: as many rows as a page holds."""
CONTACT, COMPANY = 3, 4
"""entityTypeId of contacts and companies."""

# --- what changed ----------------------------------------------------------------------------------------------------


def cursor_now(portal: Portal, kinds: Iterable[ItemKind] = (DEAL,)) -> Cursor:
    """The cursor of a first start: of each kind the latest history row, and now for what changes."""
    reached = {kind.name: _reached_now(portal, kind) for kind in kinds}
    return Cursor(reached, portal.now())


def _reached_now(portal: Portal, kind: ItemKind) -> Reached:
    command = Command("crm.stagehistory.list", {**history_params(kind), "order": {"ID": "DESC"}, "start": 0})
    rows = parsing.rows(portal.read_one(command).value, "items") if kind.has_history else []
    latest = max(facts(rows, visit_parser(portal, kind)), key=lambda visit: visit.id, default=None)
    now = portal.now()
    return Reached(latest.id if latest else kind.first, min(latest.entered, now) if latest else now, now)


def visits(portal: Portal, visit_ids: Sequence[int]) -> list[Visit]:
    """These rows of the history, by id; one that is gone or hidden by rights is absent."""
    wanted = set(visit_ids)

    def parser(kind: ItemKind) -> Callable[[Row], Visit | None]:
        return lenient(portal, "history", partial(parsing.visit, kind=kind))

    return _history(portal, "@ID", _parts(visit_ids), parser, lambda visit: visit.id in wanted)


def anchors(portal: Portal, visit_ids: Sequence[int], *, patience: float) -> tuple[list[Visit], list[Visit]]:
    """Up to fifty rows of the history of deals by id, and the latest ones, in one request; what cannot be read says
    nothing. PortalError when none can."""
    if len(visit_ids) > CHUNK:
        raise ValueError(f"{CHUNK} visits at the most")
    params = {**history_params(DEAL), "start": 0}
    commands = [Command("crm.stagehistory.list", {**params, "order": {"ID": "DESC"}})]
    if visit_ids:
        by_id = {"order": {"ID": "ASC"}, "filter": {"@ID": list(visit_ids)}}
        commands.append(Command("crm.stagehistory.list", {**params, **by_id}))
    listed = [parsing.rows(outcome.value, "items") for outcome in portal.read(commands, patience=patience)]
    portal.memory.bad.forget_unmet("history", math.inf)
    latest, *named = (facts(rows, lenient(portal, "history", parsing.visit)) for rows in listed)
    if any(listed) and not any((latest, *named)):
        raise PortalError(f"portal {portal.host}: crm.stagehistory.list has no row that can be read")
    wanted = set(visit_ids)
    return [visit for found in named for visit in found if visit.id in wanted], latest


def history_since(portal: Portal, moment: datetime, kind: ItemKind = DEAL) -> list[Visit]:
    """All visits of a kind of items entered at or after a moment, by id."""
    if not kind.has_history:
        return []
    source = history_source({">=CREATED_TIME": filter_time(portal, moment)}, f"history{kind.apart('.')}", kind)
    (found,) = read_lists(portal, [source])
    return facts(found, visit_parser(portal, kind), lambda visit: visit.entered >= second(moment))


def deal_history(portal: Portal, deal_ids: Sequence[int]) -> list[Visit]:
    """All visits of these deals, by id."""
    wanted, parts = set(deal_ids), [(kind, part) for kind, part in _parts(deal_ids) if kind.has_history]
    parser = partial(visit_parser, portal)
    return _history(portal, "@OWNER_ID", parts, parser, lambda visit: visit.deal_id in wanted, patience=LONG_PATIENCE)


def _history(
    portal: Portal,
    column: str,
    parts: Sequence[tuple[ItemKind, list[int]]],
    parser: Callable[[ItemKind], Callable[[Row], Visit | None]],
    holds: Callable[[Visit], bool],
    *,
    patience: float = PATIENCE,
) -> list[Visit]:
    """Rows of the history with these ids in a column, each kind by a reader of its own, by id."""
    sources = [history_source({column: part}, kind=kind) for kind, part in parts]
    lists = read_lists(portal, sources, patience=patience) if sources else []
    read = (facts(rows, parser(kind), holds) for (kind, _), rows in zip(parts, lists, strict=True))
    return sorted((visit for found in read for visit in found), key=lambda visit: visit.id)


# --- deals -----------------------------------------------------------------------------------------------------------


def deals(portal: Portal, deal_ids: Sequence[int], *, fields: frozenset[str]) -> dict[int, End[Deal]]:
    """The end of the reading of each of these deals, by id. A template is surely no deal; a list that leaves a deal out
    does not say whether it is gone or hidden by rights: it is asked for by itself. Raises only what concerns the whole
    portal."""
    wanted, parts = list(dict.fromkeys(deal_ids)), _parts(deal_ids)
    sources = [deals_source(portal, {"@id": part}, fields, most=len(part), kind=kind) for kind, part in parts]
    found: dict[int, End[Deal]] = {}
    with tolerance() as failed:
        lists = read_lists(portal, sources) if sources else []
        for (kind, _), rows in zip(parts, lists, strict=True):
            found |= {one.id: one for one in facts(rows, deal_parser(portal, fields, kind))}
    left = [number for number in wanted if number not in found]
    if failed and failed[0].code == NO_ANSWER:
        found |= dict.fromkeys(left, failed[0])
    else:
        for kind, part in _parts(left):
            found |= _each(portal, kind, part, fields)
    return {number: found[number] for number in sorted(wanted)}


def _each(portal: Portal, kind: ItemKind, ids: Sequence[int], fields: frozenset[str]) -> dict[int, End[Deal]]:
    """Up to fifty items of a kind, each asked for by itself."""
    commands = [Command("crm.item.get", {"entityTypeId": kind.entity_type, "id": one}) for one in ids]
    numbers = [Item(kind, one).number for one in ids]
    outcomes: list[Outcome] = []
    with tolerance() as failed:
        outcomes = portal.read(commands, optional=True)
    if failed:
        return dict.fromkeys(numbers, failed[0])
    parse = deal_parser(portal, fields, kind)
    return {number: _end_of(portal, number, one, parse) for number, one in zip(numbers, outcomes, strict=True)}


def _end_of(portal: Portal, number: int, outcome: Outcome, parse: Callable[[Row], Deal | None]) -> End[Deal]:
    if not outcome.done:
        end = portal.as_unread("crm.item.get", outcome)
        return Absent(end.why) if end.code == "not_found" else end
    row = outcome.value["item"]
    found = parse(row)
    if found is not None and found.id == number:
        return found
    if parsing.yes(row.get("isRecurring"), default=False):
        return Absent("the template of a recurring deal")
    return Unread(GARBAGE, f"portal {portal.host}: crm.item.get answers without what makes a deal")


def found_deals(ends: Mapping[int, End[Deal]]) -> list[Deal]:
    """The deals that were read."""
    return [end for end in ends.values() if isinstance(end, Deal)]


def open_deals(portal: Portal, *, fields: frozenset[str], kinds: Iterable[ItemKind] = (DEAL,)) -> list[Deal]:
    """Every open item of these kinds that the webhook may read; one whose row in the list makes no sense is asked for
    by itself."""
    read: dict[int, Deal] = {}
    for kind in kinds:
        found = bulk.read_all(portal, deals_source(portal, kind.in_progress, fields, kind=kind))
        read |= {deal.id: deal for deal in facts(found, deal_parser(portal, fields, kind))}
        bad = sorted(filter(kind.holds, portal.memory.bad.ids("deal") - {NAMELESS}))
        read |= {deal.id: deal for deal in found_deals(deals(portal, bad, fields=fields))} if bad else {}
    return [deal for deal in read.values() if not deal.closed]


def lacking(portal: Portal) -> list[Unread]:
    """The lists without which nothing goes, and that this portal or this webhook does not have."""
    commands = (
        Command("crm.stagehistory.list", {**history_params(DEAL), "filter": {"ID": 1}}),
        Command("tasks.task.list", {"select": ["ID"], "filter": {"ID": 1}}),
    )
    outcomes = portal.read(commands, optional=True)
    pairs = zip(commands, outcomes, strict=True)
    return [portal.as_unread(command.method, outcome) for command, outcome in pairs if not outcome.done]


def shows_deals(portal: Portal) -> bool:
    """False when the webhook may read no open deal, or there is none."""
    command = Command(
        "crm.item.list",
        {"entityTypeId": DEAL.entity_type, "select": ["id"], "filter": dict(DEAL.in_progress), "start": 0},
    )
    return bool(parsing.rows(portal.read_one(command).value, "items"))


def companies(portal: Portal, company_ids: Sequence[int]) -> dict[int, End[Contact]]:
    """Companies with all their fields, for templates. One that the portal does not show is absent."""
    return _clients(portal, COMPANY, company_ids)


def contacts(portal: Portal, contact_ids: Sequence[int]) -> dict[int, End[Contact]]:
    """Contacts, the same."""
    return _clients(portal, CONTACT, contact_ids)


def _clients(portal: Portal, entity: int, client_ids: Sequence[int]) -> dict[int, End[Contact]]:
    found: dict[int, End[Contact]] = dict.fromkeys(client_ids, Absent())
    sources = [
        Source(
            "crm.item.list",
            {"entityTypeId": entity, "select": ["*"], "filter": {"@id": list(part)}},
            *("items", "id", "id"),
            most=len(part),
        )
        for part in _chunks(client_ids)
    ]
    with tolerance() as failed:
        rows = _joined(read_lists(portal, sources)) if sources else []
        parse = lenient(portal, "client", _client)
        found |= {one.id: one for one in facts(rows, parse, lambda client: client.id in found)}
        bad = portal.memory.bad.ids("client") & found.keys()
        found |= dict.fromkeys(bad, Unread(GARBAGE, f"portal {portal.host}: crm.item.list tells a row by half"))
    return dict.fromkeys(client_ids, failed[0]) if failed else found


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
    found = [task for outcome in outcomes for task in parse_tasks(portal, outcome.value, wanted)]
    return sorted({task.id: task for task in found}.values(), key=lambda task: task.id)


def parse_tasks(portal: Portal, value: Any, wanted: Collection[int]) -> list[PortalTask]:
    """The tasks of a result of ``tasks_command``. Where a row does not say whose it is, it may be that of any which is
    missing: none of these is absent."""
    rows = parsing.rows(value, "tasks")
    found = facts(rows, task_parser(portal), lambda task: task.id in wanted)
    if any(parsing.whole_or(row.get("id")) <= 0 for row in rows):
        for number in set(wanted) - {task.id for task in found}:
            portal.memory.bad.note("task", number, "a row without an id")
    return found


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
    return tasks_by_mark_or_deal(portal, marks, ())


def tasks_of_deals(portal: Portal, deal_ids: Sequence[int]) -> list[PortalTask]:
    """Tasks bound to one of these deals."""
    wanted = set(deal_ids)
    filters = [{"UF_CRM_TASK": [Item.of(number).binding for number in part]} for part in _chunks(deal_ids)]
    return _tasks_where(portal, filters, lambda task: not wanted.isdisjoint(task.deal_ids))


def tasks_by_mark_or_deal(portal: Portal, marks: Sequence[str], deal_ids: Sequence[int]) -> list[PortalTask]:
    """Tasks with one of these marks, looked for by mark and among the tasks of the deals, in as few requests."""
    wanted = {mark for mark in marks if mark}
    filters: list[dict[str, Any]] = [{"XML_ID": list(part)} for part in _chunks(sorted(wanted))]
    filters += [{"UF_CRM_TASK": [Item.of(number).binding for number in part]} for part in _chunks(deal_ids)]
    return _tasks_where(portal, filters, lambda task: task.mark in wanted)


def open_tasks(portal: Portal) -> list[PortalTask]:
    """Every open task that the webhook may read."""
    found = bulk.read_all(portal, tasks_source({"REAL_STATUS": sorted(OPEN_STATUSES)}))
    return facts(found, task_parser(portal), lambda task: task.open)


def closed_tasks(portal: Portal, since: datetime) -> list[PortalTask]:
    """Every task that the webhook may read and that was closed at or after a moment."""
    filters = {"REAL_STATUS": DONE, ">=CLOSED_DATE": filter_time(portal, since)}
    return facts(
        bulk.read_all(portal, tasks_source(filters)),
        task_parser(portal),
        lambda task: task.status == DONE and task.closed is not None and task.closed >= second(since),
    )


def overdue_tasks(portal: Portal, moment: datetime) -> list[PortalTask]:
    """Open tasks, deferred ones aside, whose deadline lies before a moment."""
    statuses = sorted(OPEN_STATUSES - {DEFERRED})
    source = tasks_source({"<DEADLINE": filter_time(portal, moment), "REAL_STATUS": statuses}, "overdue")
    (found,) = read_lists(portal, [source], patience=LONG_PATIENCE)
    return facts(
        found,
        task_parser(portal),
        lambda task: task.deadline is not None and task.deadline < moment and task.status in statuses,
    )


def _tasks_where(
    portal: Portal, filters: Sequence[Mapping[str, Any]], holds: Callable[[PortalTask], bool]
) -> list[PortalTask]:
    lists = read_lists(portal, [tasks_source(one) for one in filters], patience=LONG_PATIENCE) if filters else []
    portal.memory.bad.forget_unmet("mark", math.inf)
    found: dict[int, PortalTask] = {}
    for one, rows in reversed(list(zip(filters, lists, strict=True))):  # those asked for by mark have the last word
        parse = partial(parsing.task_or_mark, marked="XML_ID" in one)
        found |= {task.id: task for task in facts(rows, lenient(portal, "mark", parse), holds)}
    return [found[number] for number in sorted(found)]


def _parts(numbers: Iterable[int]) -> list[tuple[ItemKind, list[int]]]:
    """The ids behind the numbers of items, or of rows of their history, for one filter each."""
    return [(kind, list(part)) for kind, ids in by_kind(numbers).items() for part in _chunks(ids)]


def _chunks(values: Sequence[Any]) -> list[Sequence[Any]]:
    distinct = list(dict.fromkeys(values))
    return [distinct[begin : begin + CHUNK] for begin in range(0, len(distinct), CHUNK)]


def _joined(lists: Iterable[Iterable[Row]]) -> list[Row]:
    return [row for part in lists for row in part]
