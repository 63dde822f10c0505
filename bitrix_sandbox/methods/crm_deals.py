"""``crm.deal.*`` of the sandbox (flat, upper-case, strings; deprecated) and what hangs on deals."""

from __future__ import annotations

from typing import Any

from bitrix_sandbox.methods.crm_select import select_records
from bitrix_sandbox.methods.protocol import Answer, Caller, method
from bitrix_sandbox.state import values
from bitrix_sandbox.state.crm_fields import DEAL, DEAL_FIELDS, Field, field_of
from bitrix_sandbox.state.crm_values import shown_flat
from bitrix_sandbox.state.errors import RestError
from bitrix_sandbox.state.portal import PortalState
from bitrix_sandbox.state.records import Deal

_READ_ONLY = frozenset(field.old for field in DEAL_FIELDS if field.read_only and field.old)


@method("crm.deal.get", "crm")
def deal_get(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """One deal, flat (api-reference/crm/deals/crm-deal-get.md)."""
    return Answer(_rows(state, [_deal(state, caller, params)], [])[0])


@method("crm.deal.list", "crm", cost=0.1)
def deal_list(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """Deals by filter; masks ``*`` and ``UF_*``; unknown filter keys are ignored."""
    page = select_records(
        state,
        caller,
        DEAL,
        {code: field for code, field in _fields(state).items() if code != "CONTACT_IDS"},
        wanted=array(params, "filter"),
        order=array(params, "order"),
        start=params.get("start"),
        unknown=lambda key: state.ignore_filter("crm.deal.list", key),
    )
    select = [str(name) for name in values.listed(values.pick(params, "select", "SELECT"))]
    return page.answer(_rows(state, page.rows, select))


@method("crm.deal.fields", "crm")
def deal_fields(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """The fields of deals."""
    return Answer({code: described(field, upper=False) for code, field in _fields(state).items()})


@method("crm.deal.add", "crm", cost=0.6, writes=True)
def deal_add(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """A new deal; its id. A stage of another funnel gives way to the funnel's first one."""
    given = _given(params)
    funnel = values.php_int(given.get("CATEGORY_ID"))
    stage = state.stages.get(str(given.get("STAGE_ID") or ""))
    deal_id = state.add_deal(
        str(given.get("TITLE") or ""),
        funnel=funnel if funnel in state.funnels else 0,
        stage=stage.id if stage and stage.funnel_id == funnel else None,
        responsible=values.php_int(given.get("ASSIGNED_BY_ID")) or caller.user_id,
        by=caller.user_id,
        fields=given,
    )
    return Answer(deal_id)


@method("crm.deal.update", "crm", cost=0.6, writes=True)
def deal_update(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """Change a deal: ``true``. The funnel is immutable here; it is saved and told even when nothing differs."""
    deal = _deal(state, caller, params)
    given = _given(params)
    fields = _fields(state)
    stage = state.stages.get(str(given.get("STAGE_ID") or ""))
    if stage is not None and stage.funnel_id != deal.funnel_id:
        stage = None
    asked = sorted(state.required.get(stage.id, ())) if stage and stage.id != deal.stage_id else []
    empty = [code for code in asked if not (given[code] if code in given else fields[code].read(deal))]
    if empty:
        raise RestError("", "<br>".join(f'Field "{fields[code].title}" is required' for code in empty))
    state.save_deal(deal, by=caller.user_id, fields=given, stage=stage, always=True)
    return Answer(True)


@method("crm.deal.delete", "crm", cost=0.3, writes=True)
def deal_delete(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """Delete a deal: ``true``."""
    state.delete_deal(_deal(state, caller, params).id)
    return Answer(True)


@method("crm.deal.contact.items.get", "crm")
def deal_contacts(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """The deal's contacts, the primary one first."""
    number = values.php_int(values.pick(params, "id", "ID"))
    if number < 1:
        raise RestError("", "The parameter ownerEntityID is invalid or not defined.")
    deal = state.deals.get(number)
    if deal is None:
        raise RestError("", "Not found.")
    if not state.reads_deal(caller.user_id, deal):
        raise RestError("ACCESS_DENIED", "Access denied!")
    return Answer(
        [
            {"CONTACT_ID": contact, "SORT": 100 * place, "ROLE_ID": 0, "IS_PRIMARY": values.yes_no(place == 1)}
            for place, contact in enumerate(deal.contact_ids, 1)
        ]
    )


@method("crm.timeline.comment.add", "crm", cost=0.15, writes=True)
def timeline_comment(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """A line in the timeline; only the lower-case key ``fields`` is read (crm 23.100.0 and later)."""
    sent = values.mapped(params.get("fields"))
    if not sent or not sent.get("ENTITY_ID") or not sent.get("ENTITY_TYPE"):
        raise RestError("100", "Could not find value for parameter {fields}")
    if not str(sent.get("COMMENT") or "").strip():
        raise RestError("INVALID_ARG_VALUE", "Empty comment")
    number = values.php_int(sent["ENTITY_ID"])
    kind = str(sent["ENTITY_TYPE"]).lower()
    deal = state.deals.get(number) if kind == "deal" else None
    client = {"company": state.companies, "contact": state.contacts}.get(kind, {}).get(number)
    if deal is None and client is None:
        raise RestError("OWNER_NOT_FOUND", "Owner of the item not found")
    if deal is not None:
        if not state.reads_deal(caller.user_id, deal):
            raise RestError("ACCESS_DENIED", "Access denied")
        state.deal_comments.append((number, caller.user_id, str(sent["COMMENT"])))
    return Answer(state.number("timeline", 2))


def described(field: Field, *, upper: bool) -> dict[str, Any]:
    """A field's description: ``crm_rest_field_description`` (api-reference/crm/data-types.md).

    ``upper``: as ``crm.item.fields`` gives it, with ``upperName`` and a user field's label as ``title``.
    """
    old = {"boolean": "char", "text": "string"}
    text: dict[str, Any] = {
        "type": field.type if upper or field.user else old.get(field.type, field.type),
        "isRequired": bool(field.user and field.user.mandatory),
        "isReadOnly": field.read_only,
        "isImmutable": not upper and field.attr == "funnel_id",
        "isMultiple": field.multiple,
        "isDynamic": field.user is not None,
    }
    if field.dictionary:
        text["statusType"] = field.dictionary
    if field.user is None:
        text["title"] = field.title
    else:
        if field.user.options:
            text["items"] = [{"ID": str(number), "VALUE": value} for number, value in field.user.options.items()]
        text["title"] = field.title if upper else field.user.code
        text |= dict.fromkeys(("listLabel", "formLabel", "filterLabel"), field.title)
        text["settings"] = field.user.settings or []
    return text | ({"upperName": field.upper} if upper else {})


def array(params: dict[str, Any], name: str) -> dict[str, Any]:
    """An array parameter of the old methods, in either case.

    :raises RestError: a scalar was sent.
    """
    found = values.mapped(values.pick(params, name, name.upper()))
    if found is None:
        raise RestError("", f"Parameter '{name}' must be array.")
    return found


def _fields(state: PortalState) -> dict[str, Field]:
    fields = {field.old: field for field in DEAL_FIELDS if field.old}
    return fields | {code: field_of(user, original=True) for code, user in state.deal_fields.items()}


def _rows(state: PortalState, deals: list[Deal], select: list[str]) -> list[dict[str, Any]]:
    fields = _fields(state)
    masks = {
        "*": [code for code in fields if not code.startswith("UF_")],
        "UF_*": [code for code in fields if code.startswith("UF_")],
    }
    asked = ["ID", *select] if select else ["*", "UF_*"]
    codes = dict.fromkeys(code for name in asked for code in masks.get(name, [name]))
    chosen = [(code, fields[code]) for code in codes if code in fields and code != "CONTACT_IDS"]
    zone, switches = state.clock.zone, state.switches
    return [{code: shown_flat(field, field.read(deal), zone, switches) for code, field in chosen} for deal in deals]


def _deal(state: PortalState, caller: Caller, params: dict[str, Any]) -> Deal:
    number = values.integer(values.pick(params, "id", "ID"))
    if not number or number < 1:
        raise RestError("", "ID is not defined or invalid.")
    deal = state.deals.get(number)
    if deal is None:
        raise RestError("", "Not found")
    if not state.reads_deal(caller.user_id, deal):
        raise RestError("", "Access denied")
    return deal


def _given(params: dict[str, Any]) -> dict[str, Any]:
    sent = values.pick(params, "fields", "FIELDS")
    given = values.mapped(sent)
    if given is None or sent is None:
        raise RestError("", "Parameter 'fields' must be array.")
    return {code: value for code, value in given.items() if code not in _READ_ONLY}
