"""Readings of activities: what is planned with deals beside tasks (docs: api-reference/crm/timeline/activities).

Rows do not tell what an activity is bound to beside its owner; where that is no deal it is asked for by itself. All of
these end with the facts or Unread, and raise only what concerns the whole portal.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from bitrix_sync.model.facts import Activity, Ahead, Unread
from bitrix_sync.model.items import DEAL, Item
from bitrix_sync.portal import bulk
from bitrix_sync.portal.client import Portal
from bitrix_sync.portal.dialect import parsing
from bitrix_sync.portal.dialect.commands import Command
from bitrix_sync.portal.dialect.outcomes import GARBAGE, Outcome
from bitrix_sync.portal.dialect.parsing import Row
from bitrix_sync.portal.paging import LONG_PATIENCE, PAGE, Source, read_lists
from bitrix_sync.portal.sources import facts, lenient, tolerance

METHOD = "crm.activity.list"
FIELDS = (
    *("ID", "OWNER_ID", "OWNER_TYPE_ID", "TYPE_ID", "PROVIDER_ID", "ASSOCIATED_ENTITY_ID"),
    *("CREATED", "LAST_UPDATED", "DEADLINE", "COMPLETED"),
)
OF_DEALS = [{"OWNER_TYPE_ID": DEAL.entity_type}]
"""Those that are bound to a deal."""
BINDINGS = "crm.activity.binding.list"


def command(filters: Mapping[str, Any], order: Mapping[str, str], start: int) -> Command:
    """A page of activities."""
    return Command(METHOD, {"select": list(FIELDS), "filter": dict(filters), "order": dict(order), "start": start})


def parsed(portal: Portal, rows: Iterable[Row]) -> list[Activity]:
    """The activities that rows hold."""
    return facts(rows, lenient(portal, "activity", parsing.activity))


def planned(portal: Portal) -> list[Activity] | Unread:
    """Every activity that is planned with a deal, with its deals."""
    params = {"select": list(FIELDS), "filter": {"BINDINGS": OF_DEALS, "COMPLETED": "N"}}
    found: list[Activity] = []
    with tolerance() as failed:
        rows = bulk.read_all(portal, Source(METHOD, params, "", "ID", "ID"))
        found = [one for one in parsed(portal, rows) if not one.completed]
    return failed[0] if failed else with_deals(portal, found)


def unreadable(portal: Portal) -> Unread | None:
    """Why activities cannot be read; None: they can."""
    outcome = portal.read_one(command({"BINDINGS": OF_DEALS, "ID": 1}, {"ID": "ASC"}, -1), optional=True)
    return None if outcome.done else portal.as_unread(METHOD, outcome)


def with_deals(portal: Portal, read: Sequence[Activity]) -> list[Activity] | Unread:
    """The same, those whose owner is no deal with the deals that they are bound to."""
    strangers = [one.id for one in read if not one.owned]
    if not strangers:
        return list(read)
    bound: dict[int, tuple[int, ...]] = {}
    with tolerance() as failed:
        commands = [Command(BINDINGS, {"activityId": number}) for number in strangers]
        for number, outcome in zip(
            strangers, portal.read(commands, optional=True, patience=LONG_PATIENCE), strict=True
        ):
            end = _deals(portal, outcome)
            if isinstance(end, Unread):
                return end
            bound[number] = end
    return failed[0] if failed else [one if one.owned else replace(one, deals=bound[one.id]) for one in read]


def _deals(portal: Portal, outcome: Outcome) -> tuple[int, ...] | Unread:
    """The deals among what an activity is bound to; one that is gone is bound to none."""
    if not outcome.done:
        end = portal.as_unread(BINDINGS, outcome)
        return () if end.code == "not_found" else end
    return parsing.bound_deals(outcome.value)


def shown(portal: Portal, ids: Collection[int]) -> list[Activity] | Unread:
    """These activities; one that is gone, or hidden by rights, is absent, and so is one whose row makes no sense (it is
    noted among the bad ones)."""
    wanted, found = sorted(ids), list[Activity]()
    with tolerance() as failed:
        parts = [wanted[begin : begin + PAGE] for begin in range(0, len(wanted), PAGE)]
        commands = [command({"@ID": part}, {"ID": "ASC"}, -1) for part in parts]
        for outcome in portal.read(commands, optional=True, patience=LONG_PATIENCE) if commands else ():
            if not outcome.done:
                return portal.as_unread(METHOD, outcome)
            found += [one for one in parsed(portal, parsing.rows(outcome.value, "")) if one.id in ids]
    return failed[0] if failed else found


def rest_of_page(portal: Portal, filters: Mapping[str, Any], page: Sequence[Row]) -> list[Row] | Unread:
    """A page of a list by id, and what follows it, if it is full."""
    if len(page) < PAGE:
        return list(page)
    last = parsing.whole_or(page[-1].get("ID"))
    if not last:
        return Unread(GARBAGE, f"portal {portal.host}: {METHOD} answers a row without an id")
    params, found = {"select": list(FIELDS), "filter": {**filters, ">ID": last}}, list(page)
    with tolerance() as failed:
        found += read_lists(portal, [Source(METHOD, params, "", "ID", "ID", "activities")])[0]
    return failed[0] if failed else found


def look(portal: Portal, deal_ids: Sequence[int]) -> Ahead | Unread:
    """What is planned with each of these deals, whoever its owner is, and when its last activity was over: two commands
    a deal. More planned ones than a page holds are as good as a page of them."""
    commands, ahead, ends = list[Command](), dict[int, Activity](), dict[int, datetime]()
    for number in deal_ids:
        of_deal = {"BINDINGS": [{**OF_DEALS[0], "OWNER_ID": Item.of(number).id}]}
        commands.append(command({**of_deal, "COMPLETED": "N"}, {"ID": "ASC"}, -1))
        commands.append(command({**of_deal, "COMPLETED": "Y"}, {"LAST_UPDATED": "DESC"}, 0))
    with tolerance() as failed:
        outcomes = portal.read(commands, optional=True, patience=LONG_PATIENCE) if commands else []
        for place, outcome in enumerate(outcomes):
            if not outcome.done:
                return portal.as_unread(METHOD, outcome)
            deal = deal_ids[place // 2]
            for one in parsed(portal, parsing.rows(outcome.value, "")):
                if not one.completed:
                    known = ahead.get(one.id, replace(one, deals=()))
                    ahead[one.id] = replace(known, deals=tuple(dict.fromkeys((*known.deals, deal))))
                elif not one.task_id:
                    ends[deal] = max(one.changed, ends.get(deal, one.changed))
    return failed[0] if failed else Ahead(tuple(ahead.values()), ends=ends)
