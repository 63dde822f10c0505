"""``crm.company.*`` and ``crm.contact.*`` of the sandbox, for reading (api-reference/crm/companies, contacts)."""

from __future__ import annotations

from typing import Any

from bitrix_sandbox.methods.crm_select import records_of, select_records
from bitrix_sandbox.methods.protocol import Answer, Caller, method
from bitrix_sandbox.state import values
from bitrix_sandbox.state.crm_fields import COMPANY, COMPANY_FIELDS, CONTACT, CONTACT_FIELDS, Field
from bitrix_sandbox.state.crm_values import shown_flat
from bitrix_sandbox.state.errors import RestError
from bitrix_sandbox.state.portal import PortalState
from bitrix_sandbox.state.records import Client

_OLD: dict[int, dict[str, Field]] = {
    CONTACT: {field.old: field for field in CONTACT_FIELDS if field.old},
    COMPANY: {field.old: field for field in COMPANY_FIELDS if field.old},
}


@method("crm.company.get", "crm")
def company_get(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """One company."""
    return _get(state, COMPANY, params)


@method("crm.contact.get", "crm")
def contact_get(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """One contact."""
    return _get(state, CONTACT, params)


@method("crm.company.list", "crm")
def company_list(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """Companies by filter."""
    return _list(state, caller, COMPANY, "crm.company.list", params)


@method("crm.contact.list", "crm")
def contact_list(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """Contacts by filter."""
    return _list(state, caller, CONTACT, "crm.contact.list", params)


def multifields(client: Client) -> list[dict[str, Any]]:
    """``fm`` of ``crm.item.get``: telephones and e-mail addresses."""
    return [
        {"id": 10 * client.id + place, "valueType": "WORK", "value": value, "typeId": kind}
        for place, (kind, value) in enumerate(_contacts(client))
    ]


def _contacts(client: Client) -> list[tuple[str, str]]:
    return [("PHONE", one) for one in client.phones] + [("EMAIL", one) for one in client.emails]


def _get(state: PortalState, entity: int, params: dict[str, Any]) -> Answer:
    number = values.integer(values.pick(params, "id", "ID"))
    if not number or number < 1:
        raise RestError("", "ID is not defined or invalid.")
    client = records_of(state, entity).get(number)
    if client is None:
        raise RestError("", "Not found")
    return Answer(_row(state, entity, client, None))


def _list(state: PortalState, caller: Caller, entity: int, name: str, params: dict[str, Any]) -> Answer:
    wanted = values.mapped(values.pick(params, "filter", "FILTER"))
    order = values.mapped(values.pick(params, "order", "ORDER"))
    if wanted is None or order is None:
        raise RestError("", f"Parameter '{'filter' if wanted is None else 'order'}' must be array.")
    page = select_records(
        state,
        caller,
        entity,
        _OLD[entity],
        wanted=wanted,
        order=order,
        start=params.get("start"),
        unknown=lambda key: state.ignore_filter(name, key),
    )
    select = [str(one) for one in values.listed(values.pick(params, "select", "SELECT"))]
    return page.answer([_row(state, entity, client, select) for client in page.rows])


def _row(state: PortalState, entity: int, client: Client, select: list[str] | None) -> dict[str, Any]:
    fields = _OLD[entity]
    every = select is None or not select or "*" in select
    names = list(fields) if every else ["ID", *(one for one in select or () if one in fields and one != "ID")]
    row = {
        code: shown_flat(fields[code], fields[code].read(client), state.clock.zone, state.switches) for code in names
    }
    for kind in ("PHONE", "EMAIL"):
        found = [
            {"ID": str(one["id"]), "VALUE_TYPE": one["valueType"], "VALUE": one["value"], "TYPE_ID": kind}
            for one in multifields(client)
            if one["typeId"] == kind
        ]
        if found and (select is None or kind in select):
            row[kind] = found
    return row
