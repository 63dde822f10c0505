"""Funnels, stages, dictionaries (api-reference/crm/universal/category, crm/status, crm/outdated/category-old)."""

from __future__ import annotations

from typing import Any

from bitrix_sandbox.methods.protocol import Answer, Caller, method
from bitrix_sandbox.state import values
from bitrix_sandbox.state.crm_fields import DEAL
from bitrix_sandbox.state.errors import RestError
from bitrix_sandbox.state.portal import PortalState
from bitrix_sandbox.state.records import LOST, PROGRESS, WON, Funnel, Stage


@method("crm.category.list", "crm")
def category_list(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """Funnels that the caller may read, in the portal's order."""
    _only_deals(params)
    funnels = sorted(state.funnels.values(), key=lambda one: (one.sort, one.id))
    rows = [_category(one) for one in funnels if state.reads_funnel(one.id)]
    return Answer({"categories": rows}, total=len(rows))


@method("crm.category.get", "crm")
def category_get(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """One funnel."""
    _only_deals(params)
    if params.get("id") in (None, ""):
        raise RestError("100", "Could not find value for parameter {id}")
    funnel = state.funnels.get(values.php_int(params["id"]))
    if funnel is None:
        raise RestError("NOT_FOUND", "Element not found")
    if not state.reads_funnel(funnel.id):
        raise RestError("ACCESS_DENIED", "Access denied")
    return Answer({"category": _category(funnel)})


@method("crm.status.list", "crm")
def status_list(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """Entries of dictionaries; ``DEAL_STAGE`` for funnel 0, ``DEAL_STAGE_n`` for funnel n. Comes whole."""
    wanted = values.mapped(values.pick(params, "filter", "FILTER"))
    order = values.mapped(values.pick(params, "order", "ORDER"))
    if wanted is None or order is None:
        raise RestError("Invalid parameters.", "Incorrect parameters passed.")
    rows = [_status(state, stage) for stage in state.stages.values()]
    for entity, entries in state.dictionaries.items():
        rows += [_entry(entity, place, code, text) for place, (code, text) in enumerate(entries, 1)]
    for key, value in wanted.items():
        choice = {str(one) for one in values.listed(value)}
        rows = [row for row in rows if str(row.get(key.lstrip("=@"))) in choice]
    for key, direction in reversed((order or {"SORT": "ASC"}).items()):
        rows.sort(key=lambda row: _sortable(row.get(key)), reverse=str(direction).upper() == "DESC")
    return Answer(rows, total=len(rows))


@method("crm.status.entity.items", "crm")
def status_items(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """A dictionary's entries, short; an unknown one is empty."""
    entity = str(values.pick(params, "entityId", "ENTITY_ID") or "")
    if not entity:
        raise RestError("The parameter entityId is not defined or invalid.", "The directory ID is incorrect.")
    entries = state.dictionaries.get(entity)
    if entries is not None:
        return Answer(
            [{"NAME": text, "SORT": 10 * place, "STATUS_ID": code} for place, (code, text) in enumerate(entries, 1)]
        )
    return Answer([_short(stage) for stage in _stages(state, entity)])


@method("crm.dealcategory.stage.list", "crm")
def stage_list(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """The outdated twin of :func:`status_items` for one funnel."""
    return Answer([_short(stage) for stage in state.stages_of(values.php_int(values.pick(params, "id", "ID")))])


def _only_deals(params: dict[str, Any]) -> None:
    if values.php_int(params.get("entityTypeId")) != DEAL:
        raise RestError("NOT_FOUND", "SPA not found")


def _category(funnel: Funnel) -> dict[str, Any]:
    row = {
        "id": funnel.id,
        "name": funnel.name,
        "sort": funnel.sort,
        "entityTypeId": DEAL,
        "isDefault": values.yes_no(funnel.id == 0),
    }
    return row if funnel.id == 0 else row | {"originId": "", "originatorId": ""}


def _stages(state: PortalState, entity: str) -> list[Stage]:
    if entity == "DEAL_STAGE":
        return state.stages_of(0)
    number = entity.removeprefix("DEAL_STAGE_")
    return state.stages_of(int(number)) if number.isdigit() and number != "0" else []


def _short(stage: Stage) -> dict[str, Any]:
    return {"NAME": stage.name, "SORT": stage.sort, "STATUS_ID": stage.id}


def _status(state: PortalState, stage: Stage) -> dict[str, Any]:
    funnel = stage.funnel_id
    meaning = {PROGRESS: "process", WON: "success", LOST: "apology" if stage.apology else "failure"}[stage.semantic]
    return {
        "ID": str(stage.row_id),
        "ENTITY_ID": f"DEAL_STAGE_{funnel}" if funnel else "DEAL_STAGE",
        "STATUS_ID": stage.id.rpartition(":")[2] if state.switches.bare_stage_ids else stage.id,
        "NAME": stage.name,
        "NAME_INIT": stage.name if stage.system else "",
        "SORT": str(stage.sort),
        "SYSTEM": values.yes_no(stage.system),
        "CATEGORY_ID": str(funnel) if funnel else None,
        "COLOR": stage.color,
        "SEMANTICS": None if stage.semantic == PROGRESS else stage.semantic,
        "EXTRA": {"SEMANTICS": meaning, "COLOR": stage.color},
    }


def _entry(entity: str, place: int, code: str, text: str) -> dict[str, Any]:
    return {
        "ID": str(place),
        "ENTITY_ID": entity,
        "STATUS_ID": code,
        "NAME": text,
        "NAME_INIT": "",
        "SORT": str(10 * place),
        "SYSTEM": "N",
        "CATEGORY_ID": None,
        "COLOR": None,
        "SEMANTICS": None,
    }


def _sortable(value: Any) -> tuple[int, str]:
    number = values.integer(value)
    return (number, "") if number is not None else (0, str(value))
