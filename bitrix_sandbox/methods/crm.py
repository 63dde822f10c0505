"""``crm.item.*`` of the sandbox: deals in full, companies and contacts for reading (api-reference/crm/universal).

Importing this module registers every CRM method.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bitrix_sandbox.methods import (
    crm_activities,
    crm_clients,
    crm_currency,
    crm_deals,
    crm_directory,
    crm_history,
    crm_userfields,
)
from bitrix_sandbox.methods.crm_select import records_of, select_records
from bitrix_sandbox.methods.protocol import Answer, Caller, method
from bitrix_sandbox.state import values
from bitrix_sandbox.state.crm_fields import DEAL, DEAL_BY_CODE, SYSTEM_FIELDS, Field, field_of
from bitrix_sandbox.state.crm_values import shown
from bitrix_sandbox.state.errors import RestError
from bitrix_sandbox.state.portal import PortalState
from bitrix_sandbox.state.records import Deal, Stage

__all__ = [
    "crm_activities",
    "crm_clients",
    "crm_currency",
    "crm_deals",
    "crm_directory",
    "crm_history",
    "crm_userfields",
]


@method("crm.item.get", "crm")
def item_get(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """One item, all its fields."""
    entity, original = _entity(params), _original(params)
    record = _readable(state, caller, entity, params)
    return Answer({"item": _item(state, entity, record, _fields(state, entity, original=original))})


@method("crm.item.list", "crm", cost=0.1)
def item_list(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """Items by filter; an unknown key of filter or order is an error."""
    entity, original = _entity(params), _original(params)
    fields = _fields(state, entity, original=original)
    page = select_records(
        state,
        caller,
        entity,
        fields,
        wanted=_array(params, "filter"),
        order=_array(params, "order"),
        start=params.get("start"),
        unknown=_refuse,
    )
    select = [str(name) for name in values.listed(params.get("select"))]
    chosen = None if not select or "*" in select else _chosen(state, select, original=original)
    items = [_item(state, entity, record, fields, chosen) for record in page.rows]
    return page.answer({"items": items})


@method("crm.item.fields", "crm")
def item_fields(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """The fields of an entity type."""
    entity = _entity(params)
    fields = _fields(state, entity, original=_original(params))
    return Answer({"fields": {name: crm_deals.described(field, upper=True) for name, field in fields.items()}})


@method("crm.item.add", "crm", cost=0.8, writes=True)
def item_add(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """A new deal."""
    _only_deals(params)
    given = _given(state, params)
    stage = _stage_of(state, given, state.stages_of(values.php_int(given.get("CATEGORY_ID")))[:1])
    deal_id = state.add_deal(
        str(given.get("TITLE") or ""),
        stage=stage.id,
        responsible=values.php_int(given.get("ASSIGNED_BY_ID")) or caller.user_id,
        by=caller.user_id,
        fields=given,
    )
    return Answer({"item": _item(state, DEAL, state.deals[deal_id], _fields(state, DEAL, original=_original(params)))})


@method("crm.item.update", "crm", cost=0.8, writes=True)
def item_update(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """Change the fields given, also the stage and the funnel; nothing differs: nothing is saved."""
    _only_deals(params)
    deal = _readable(state, caller, DEAL, params)
    given = _given(state, params)
    _save(state, caller, deal, given)
    return Answer({"item": _item(state, DEAL, deal, _fields(state, DEAL, original=_original(params)))})


@method("crm.item.delete", "crm", cost=0.3, writes=True)
def item_delete(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """Delete a deal: ``[]``."""
    _only_deals(params)
    state.delete_deal(_readable(state, caller, DEAL, params).id)
    return Answer([])


def _save(state: PortalState, caller: Caller, deal: Deal, given: Mapping[str, Any]) -> None:
    """Save fields by upper-case code, with the checks of a move to a stage.

    :raises RestError: an unknown stage, a stage that is locked, a required field that would stay empty.
    """
    funnel = deal.funnel_id
    if given.get("CATEGORY_ID") not in (None, ""):
        funnel = values.php_int(given["CATEGORY_ID"])
    stage: Stage | None = None
    if given.get("STAGE_ID") or funnel != deal.funnel_id:
        stage = _stage_of(state, given, state.stages_of(funnel)[:1])
        if stage.funnel_id != funnel:
            raise RestError("CRM_FIELD_ERROR_VALUE_NOT_VALID", 'Invalid value for field "Стадия сделки"')
    if stage is not None and stage.id != deal.stage_id:
        if stage.id in state.switches.locked_stages:
            raise RestError("-", "Insufficient permissions to change the stage")
        if stage.funnel_id == deal.funnel_id:
            _check_required(state, deal, stage, given)
    state.save_deal(deal, by=caller.user_id, fields=given, stage=stage)


def _check_required(state: PortalState, deal: Deal, stage: Stage, given: Mapping[str, Any]) -> None:
    missing = []
    for code in sorted(state.required.get(stage.id, ())):
        known = state.deal_fields.get(code)
        field = field_of(known, original=True) if known else DEAL_BY_CODE[code]
        value = given[code] if code in given else field.read(deal)
        if value in (None, "", 0, False) or value == []:
            missing.append(f'Field "{field.title}" is required')
    if missing:
        raise RestError("CRM_FIELD_ERROR_REQUIRED", "<br>".join(missing))


def _stage_of(state: PortalState, given: Mapping[str, Any], default: list[Stage]) -> Stage:
    wanted = given.get("STAGE_ID")
    stage = state.stages.get(str(wanted)) if wanted else values.first(default)
    if stage is None:
        raise RestError("CRM_FIELD_ERROR_VALUE_NOT_VALID", 'Invalid value for field "Стадия сделки"')
    return stage


def _given(state: PortalState, params: dict[str, Any]) -> dict[str, Any]:
    """The sent fields by upper-case code; unknown and read-only ones are left out, as the portal does."""
    sent = values.mapped(params.get("fields"))
    if not sent:
        raise RestError("100", "Could not find value for parameter {fields}")
    known = _fields(state, DEAL, original=_original(params))
    found = ((known[name], value) for name, value in sent.items() if name in known)
    return {_code(field): value for field, value in found if not field.read_only}


def _code(field: Field) -> str:
    return field.user.code if field.user else field.old or field.upper


def _fields(state: PortalState, entity: int, *, original: bool) -> dict[str, Field]:
    fields = {field.name: field for field in SYSTEM_FIELDS[entity]}
    if entity == DEAL:
        for user in state.deal_fields.values():
            field = field_of(user, original=original)
            fields[field.name if field.name not in fields else user.code] = field
    return fields


def _chosen(state: PortalState, select: list[str], *, original: bool) -> list[str]:
    if original and state.switches.original_names_bug:
        return [name for name in select if name.startswith("UF_")]
    return select


def _item(
    state: PortalState, entity: int, record: Any, fields: dict[str, Field], select: list[str] | None = None
) -> dict[str, Any]:
    zone, switches = state.clock.zone, state.switches
    known = ((name, fields[name]) for name in (fields if select is None else select) if name in fields)
    item = {name: shown(field, field.read(record), zone, switches) for name, field in known}
    if select is None or "entityTypeId" in select:
        item["entityTypeId"] = entity
    if entity != DEAL and select is None:
        item["fm"] = crm_clients.multifields(record)
    return item


def _readable(state: PortalState, caller: Caller, entity: int, params: dict[str, Any]) -> Any:
    if params.get("id") in (None, ""):
        raise RestError("100", "Could not find value for parameter {id}")
    record = records_of(state, entity).get(values.php_int(params["id"]))
    if record is None:
        raise RestError("NOT_FOUND", "Item not found")
    if entity == DEAL and not state.reads_deal(caller.user_id, record):
        raise RestError("ACCESS_DENIED", "You do not have permission to view this item")
    return record


def _entity(params: dict[str, Any]) -> int:
    if params.get("entityTypeId") in (None, ""):
        raise RestError("100", "Could not find value for parameter {entityTypeId}")
    entity = values.php_int(params["entityTypeId"])
    if entity not in SYSTEM_FIELDS:
        raise RestError("NOT_FOUND", "SPA not found")
    return entity


def _only_deals(params: dict[str, Any]) -> None:
    if _entity(params) != DEAL:
        raise RestError("ACCESS_DENIED", "Access denied")


def _original(params: dict[str, Any]) -> bool:
    return values.flag(params.get("useOriginalUfNames"))


def _array(params: dict[str, Any], name: str) -> dict[str, Any]:
    found = values.mapped(params.get(name))
    if found is None:
        raise RestError(
            "100",
            f"Invalid value {{{params[name]}}} to match with parameter {{{name}}}. Should be value of type array.",
        )
    return found


def _refuse(name: str) -> None:
    """A filter or order key that ``crm.item.list`` does not know."""
    where, _, field = name.rpartition(":")
    part = where or "filter"
    raise RestError("INVALID_ARG_VALUE", f"Invalid {part}: field '{field}' is not allowed in {part}")
