"""User fields of deals: ``crm.deal.userfield.list`` and its camelCase twin ``userfieldconfig.list``."""

from __future__ import annotations

from typing import Any

from bitrix_sandbox.methods.crm_deals import array
from bitrix_sandbox.methods.filters import PAGE
from bitrix_sandbox.methods.protocol import Answer, Caller, method
from bitrix_sandbox.state import values
from bitrix_sandbox.state.crm_fields import camel
from bitrix_sandbox.state.errors import RestError
from bitrix_sandbox.state.portal import PortalState
from bitrix_sandbox.state.records import UserField

_LABELS = ("EDIT_FORM_LABEL", "LIST_COLUMN_LABEL", "LIST_FILTER_LABEL")


@method("crm.deal.userfield.list", "crm")
def userfield_list(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """User fields of deals, for administrators; labels only with ``filter[LANG]``."""
    if not caller.admin:
        raise RestError("", "Access denied.")
    wanted = array(params, "filter")
    labels = bool(wanted.pop("LANG", None))
    rows = [_userfield(field, labels=labels) for field in state.deal_fields.values()]
    for key, value in wanted.items():
        choice = {str(item) for item in values.listed(value)}
        rows = [row for row in rows if str(row.get(key.lstrip("=@"))) in choice]
    return Answer(rows, total=len(rows))


@method("userfieldconfig.list", "userfieldconfig")
def userfieldconfig_list(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """The same for ``moduleId`` crm (api-reference/crm/universal/userfieldconfig); needs the scope of crm too."""
    if params.get("moduleId") != "crm" or "crm" not in caller.scopes:
        raise RestError("", "The current method required more scopes. (crm)")
    if not caller.admin:
        raise RestError("", "You do not have permission to view user field settings")
    wanted = array(params, "filter")
    fields = state.deal_fields.values() if wanted.get("entityId", "CRM_DEAL") == "CRM_DEAL" else ()
    rows = [
        {camel(key): value for key, value in _userfield(field, labels=False).items() if key != "LIST"}
        for field in fields
        if wanted.get("fieldName", field.code) == field.code
    ]
    start = max(0, values.php_int(params.get("start")))
    following = start + PAGE if start + PAGE < len(rows) else None
    return Answer({"fields": rows[start : start + PAGE]}, total=len(rows), next=following)


def _userfield(field: UserField, *, labels: bool) -> dict[str, Any]:
    row: dict[str, Any] = {
        "ID": str(field.id),
        "ENTITY_ID": "CRM_DEAL",
        "FIELD_NAME": field.code,
        "USER_TYPE_ID": field.type,
        "XML_ID": None,
        "SORT": "100",
        "MULTIPLE": values.yes_no(field.multiple),
        "MANDATORY": values.yes_no(field.mandatory),
        "SHOW_FILTER": "E",
        "SHOW_IN_LIST": "Y",
        "EDIT_IN_LIST": "Y",
        "IS_SEARCHABLE": "N",
        "SETTINGS": field.settings or [],
    }
    if labels:
        row |= dict.fromkeys(_LABELS, field.title) | {"ERROR_MESSAGE": None, "HELP_MESSAGE": None}
    if field.options:
        row["LIST"] = [
            {"ID": str(number), "SORT": str(10 * place), "VALUE": text, "DEF": "N", "XML_ID": f"{number:032x}"}
            for place, (number, text) in enumerate(field.options.items(), 1)
        ]
    return row
