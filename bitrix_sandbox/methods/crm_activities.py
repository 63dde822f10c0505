"""``crm.activity.list`` and ``crm.activity.binding.list`` of the sandbox (api-reference/crm/timeline/activities).

Rows never hold what else an activity is bound to; the filter key BINDINGS, a list of owners, finds by it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from bitrix_sandbox.methods import filters
from bitrix_sandbox.methods.protocol import Answer, Caller, method
from bitrix_sandbox.state import values
from bitrix_sandbox.state.activity_book import DEAL
from bitrix_sandbox.state.errors import RestError
from bitrix_sandbox.state.portal import PortalState
from bitrix_sandbox.state.records import Activity

Keep = Callable[[Activity], bool]
NEVER = datetime(9999, 12, 31, tzinfo=UTC)
"""What is kept for no deadline."""
_KEYS: dict[str, tuple[str, Callable[[Activity], Any]]] = {
    "ID": ("int", lambda row: row.id),
    "OWNER_ID": ("int", lambda row: row.owner_id),
    "OWNER_TYPE_ID": ("int", lambda row: row.owner_type),
    "TYPE_ID": ("int", lambda row: row.kind),
    "PROVIDER_ID": ("text", lambda row: row.provider),
    "ASSOCIATED_ENTITY_ID": ("int", lambda row: row.associated),
    "SUBJECT": ("text", lambda row: row.subject),
    "RESPONSIBLE_ID": ("int", lambda row: row.responsible_id),
    "CREATED": ("moment", lambda row: row.created),
    "LAST_UPDATED": ("moment", lambda row: row.updated),
    "DEADLINE": ("moment", lambda row: row.deadline or NEVER),
    "COMPLETED": ("flag", lambda row: row.completed),
}


@method("crm.activity.list", "crm", cost=0.1)
def activity_list(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """Activities that the caller may read: those of a deal, with it."""
    wanted = values.mapped(params.get("filter")) or {}
    order = {str(key).upper(): value for key, value in (values.mapped(params.get("order")) or {}).items()}
    sorts = [
        filters.SortBy(_KEYS[name][1], str(direction).upper() == "DESC")
        for name, direction in order.items()
        if name in _KEYS
    ]
    by_id = list(order) == ["ID"] and not sorts[0].descending
    page = filters.page(
        state,
        lambda: [state.activities[number] for number in _narrow(state, wanted) if number in state.activities],
        keep=filters.all_of([*_tests(state, wanted), lambda row: _readable(state, caller, row)]),
        order=() if by_id else sorts,
        start=params.get("start"),
        remember=("activities", caller.user_id, json.dumps([wanted, order], default=str)),
    )
    select = {str(name) for name in values.listed(params.get("select"))} - {"*"}
    return page.answer([_row(state, row, select) for row in page.rows])


@method("crm.activity.binding.list", "crm")
def binding_list(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """Whatever an activity is bound to."""
    activity = state.activities.get(values.php_int(params.get("activityId")))
    if activity is None or not _readable(state, caller, activity):
        raise RestError("NOT_FOUND", "Element not found")
    return Answer([{"entityTypeId": kind, "entityId": number} for kind, number in activity.bindings])


def _readable(state: PortalState, caller: Caller, row: Activity) -> bool:
    """With its owner, if that is a deal; what belongs to clients is read by everybody."""
    deal = state.deals.get(row.owner_id) if row.owner_type == DEAL else None
    return row.owner_type != DEAL or (deal is not None and state.reads_deal(caller.user_id, deal))


def _row(state: PortalState, row: Activity, select: set[str]) -> dict[str, Any]:
    shown = {}
    for name, (kind, read) in _KEYS.items():
        if select and name not in select:
            continue
        value = read(row)
        if name == "DEADLINE" and row.deadline is None:
            shown[name] = None if state.switches.no_deadline_null else "9999-12-31T00:00:00+03:00"
        elif kind == "moment":
            shown[name] = state.iso(value)
        else:
            shown[name] = values.yes_no(value) if kind == "flag" else str(value)
    return shown


def _tests(state: PortalState, wanted: Mapping[str, Any]) -> list[Keep]:
    tests: list[Keep] = []
    for key, value in wanted.items():
        one = filters.condition(key, list(value.values()) if isinstance(value, dict) else value)
        if one.name == "BINDINGS":
            owners = list(_owners(one.value))
            tests.append(lambda row, owners=owners: any(_is_bound(row, owner) for owner in owners))  # type: ignore[misc]
        elif one.name not in _KEYS:
            state.ignore_filter("crm.activity.list", key)
        elif not filters.empty(one.value):
            kind, read = _KEYS[one.name]
            # PHP casts a filled array to 1: a reference of a batch may lead to one
            value = 1 if isinstance(one.value, list) and one.op in (">", ">=", "<", "<=") else one.value
            passes = filters.predicate(one.op, kind, value, state.clock.zone)
            tests.append(lambda row, read=read, passes=passes: passes(read(row)))  # type: ignore[misc]
    return tests


def _owners(value: Any) -> Iterable[tuple[int, int]]:
    """The owners of a filter BINDINGS; 0 for any of a kind."""
    for one in values.listed(value):
        owner = values.mapped(one) or {}
        yield values.php_int(owner.get("OWNER_TYPE_ID")), values.php_int(owner.get("OWNER_ID"))


def _is_bound(row: Activity, owner: tuple[int, int]) -> bool:
    kind, number = owner
    return any(kind in (0, has) and number in (0, own) for has, own in row.bindings)


def _narrow(state: PortalState, wanted: Mapping[str, Any]) -> list[int]:
    """Ids, ascending, among which every match is."""
    owners = list(_owners(wanted["BINDINGS"])) if "BINDINGS" in wanted else []
    if owners and all(kind and number for kind, number in owners):
        return sorted({number for owner in owners for number in state.activities_by_binding.get(owner, ())})
    return filters.candidates(
        wanted,
        state.clock.zone,
        key="ID",
        ids=state.activity_ids,
        time="LAST_UPDATED",
        times=state.activities_updated,
    )
