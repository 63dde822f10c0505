"""``crm.stagehistory.list`` of the sandbox (api-reference/crm/crm-stage-history-list.md): the log of stage entries."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from bitrix_sandbox.methods import filters
from bitrix_sandbox.methods.protocol import Answer, Caller, method
from bitrix_sandbox.state import values
from bitrix_sandbox.state.crm_fields import DEAL
from bitrix_sandbox.state.errors import RestError
from bitrix_sandbox.state.portal import PortalState
from bitrix_sandbox.state.records import HistoryRow

_KEYS: dict[str, tuple[str, Callable[[HistoryRow], Any]]] = {
    "ID": ("int", lambda row: row.id),
    "TYPE_ID": ("int", lambda row: row.kind),
    "OWNER_ID": ("int", lambda row: row.deal_id),
    "CREATED_TIME": ("moment", lambda row: row.created),
    "CATEGORY_ID": ("int", lambda row: row.funnel_id),
    "STAGE_SEMANTIC_ID": ("text", lambda row: row.semantic),
    "STAGE_ID": ("text", lambda row: row.stage_id),
}
"""The seven keys of a row for deals: these alone can be selected, filtered and sorted by."""


@method("crm.stagehistory.list", "crm")
def stagehistory_list(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """Entries of deals into stages, of deals that the caller may read. Without ``order``, by id."""
    entity = values.php_int(params.get("entityTypeId"))
    if entity not in (1, 5, 31, DEAL) and entity < 128:
        raise RestError("ENTITY_TYPE_NOT_SUPPORTED", f"Entity type `{entity}` is not supported")
    wanted, order = _array(params, "filter"), _array(params, "order")
    keep = filters.all_of([*_tests(state, wanted), lambda row: state.reads_history(caller.user_id, row)])
    sort = _order(order)
    by_id = not sort or next(iter(order)) == "ID"
    backwards = by_id and bool(sort) and sort[0].descending
    page = filters.page(
        state,
        lambda: _candidates(state, wanted, backwards=backwards) if entity == DEAL else (),
        keep=keep,
        order=() if by_id else sort,
        start=params.get("start"),
        remember=None if state.late_rows else ("history", caller.user_id, json.dumps([wanted, order], default=str)),
    )
    select = {str(name) for name in values.listed(params.get("select"))} - {"*"}
    names = [name for name in _KEYS if not select or name in select or name == "ID"]
    return page.answer({"items": [_row(state, row, names) for row in page.rows]})


def _row(state: PortalState, row: HistoryRow, names: list[str]) -> dict[str, Any]:
    shown = {name: _KEYS[name][1](row) for name in names}
    if "CREATED_TIME" in shown:
        shown["CREATED_TIME"] = state.iso(row.created)
    if state.switches.history_as_strings:
        return {name: str(value) for name, value in shown.items()}
    return shown


def _tests(state: PortalState, wanted: Mapping[str, Any]) -> list[Callable[[HistoryRow], bool]]:
    tests = []
    for key, value in wanted.items():
        one = filters.condition(key, list(value.values()) if isinstance(value, dict) else value)
        if one.name not in _KEYS:
            raise RestError("INVALID_ARG_VALUE", f"Invalid filter: field '{one.name}' is not allowed in filter")
        kind, read = _KEYS[one.name]
        try:
            passes = filters.predicate(one.op, kind, one.value, state.clock.zone)
        except filters.BadValue:
            raise RestError("INVALID_ARG_VALUE", f"Invalid filter: field '{one.name}' has invalid value") from None
        tests.append(_on(read, passes))
    return tests


def _on(read: Callable[[HistoryRow], Any], passes: filters.Test) -> Callable[[HistoryRow], bool]:
    return lambda row: passes(read(row))


def _order(order: Mapping[str, Any]) -> list[filters.SortBy]:
    found = []
    for name, direction in order.items():
        if name not in _KEYS:
            raise RestError("INVALID_ARG_VALUE", f"Invalid order: field '{name}' is not allowed in order")
        found.append(filters.SortBy(_KEYS[name][1], filters.descending(name, direction)))
    return found


def _candidates(state: PortalState, wanted: Mapping[str, Any], *, backwards: bool) -> list[HistoryRow]:
    ids = _narrow(state, wanted)
    return [state.history[number] for number in (reversed(ids) if backwards else ids) if number in state.history]


def _narrow(state: PortalState, wanted: Mapping[str, Any]) -> list[int]:
    def of_deal(item: Any) -> Iterable[int]:
        deal = state.deals.get(values.php_int(item))
        return deal.history if deal else ()

    return filters.candidates(
        wanted,
        state.clock.zone,
        key="ID",
        ids=state.history_ids,
        time="CREATED_TIME",
        times=state.history_created,
        indexes={("=", "OWNER_ID"): of_deal, ("@", "OWNER_ID"): of_deal},
    )


def _array(params: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = values.mapped(params.get(name))
    if found is None:
        raise RestError("INVALID_ARG_VALUE", f"Invalid {name}: array expected")
    return found
