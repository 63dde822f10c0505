"""Values of CRM fields: from a parameter to what is kept, and on to what each family of methods shows."""

from __future__ import annotations

from datetime import tzinfo
from typing import Any

from bitrix_sandbox.state import values
from bitrix_sandbox.state.crm_fields import Field
from bitrix_sandbox.state.errors import RestError
from bitrix_sandbox.state.switches import Switches

SKIP: Any = object()
"""Returned by :func:`stored` for a value that the portal silently leaves out."""

_WHOLE = frozenset(
    {"integer", "user", "employee", "crm_company", "crm_contact", "crm_lead", "crm_quote", "crm_category"}
)
_NEVER_NULL: dict[str, Any] = {"title": "", "opportunity": 0.0, "taxValue": 0.0}


def stored(field: Field, value: Any, zone: tzinfo) -> Any:
    """What the portal keeps when ``value`` is sent for ``field``; SKIP for a date that cannot be read.

    :raises RestError: ``100`` a scalar for a multiple field; ``CRM_FIELD_ERROR_VALUE_NOT_VALID`` an unknown option
        (api-reference/crm/universal/crm-item-update.md).
    """
    if not field.multiple:
        return _one(field, value, zone)
    if not isinstance(value, list | tuple | dict | set) and value not in (None, "", False):
        shape = "string" if isinstance(value, str) else type(value).__name__
        raise RestError("100", f"Expected iterable value for multiple field, but got `{shape}` instead")
    found = [_one(field, item, zone) for item in values.listed(value or None)]
    return [item for item in found if item is not None and item is not SKIP]


def _one(field: Field, value: Any, zone: tzinfo) -> Any:
    kind = field.type
    if kind == "boolean":
        return values.flag(value)
    if value is None or value == "" or value is False:
        return _NEVER_NULL.get(field.name, _nothing(field))
    if kind in ("date", "datetime"):
        at = values.civil_date(value, zone) if kind == "date" else values.moment(value, zone)
        return SKIP if at is None else at
    if kind in _WHOLE:
        return values.php_int(value)
    if kind == "double":
        return values.php_float(value)
    if kind == "enumeration":
        option = values.php_int(value)
        if field.user and option not in field.user.options:
            raise RestError("CRM_FIELD_ERROR_VALUE_NOT_VALID", f'Invalid value for field "{field.title}"')
        return option
    return str(value)


def _nothing(field: Field) -> Any:
    return 0 if field.type in _WHOLE and not field.user and field.name != "probability" else None


def shown(field: Field, value: Any, zone: tzinfo, switches: Switches) -> Any:
    """A value in ``crm.item.*``: typed (api-reference/crm/universal/crm-item-get.md)."""
    if field.multiple:
        items = [_shown_one(field, item, zone, switches) for item in value or ()]
        return items if items or not field.user or not switches.empty_multiple_false else False
    if field.type == "boolean":
        return values.yes_no(bool(value)) if field.attr or field.user else None
    return _shown_one(field, value, zone, switches)


def _shown_one(field: Field, value: Any, zone: tzinfo, switches: Switches) -> Any:
    if value is None:
        return 0 if field.name == "webformId" else None
    if field.type == "datetime":
        return values.iso(value, zone)
    if field.type == "date":
        return values.iso_day(value, zone, utc_midnight=switches.date_utc_midnight)
    if field.type == "double":
        return values.shown_number(value)
    return value


def shown_flat(field: Field, value: Any, zone: tzinfo, switches: Switches) -> Any:
    """A value in ``crm.deal.*`` and its kin: a string or null (api-reference/crm/deals/crm-deal-get.md)."""
    if field.multiple:
        return [_flat_one(field, item, zone, switches) for item in value or ()] or False
    if field.type == "boolean" and field.user:
        return "" if value is None else str(int(value))
    if value is None or (value == 0 and field.type in ("crm_contact", "crm_lead", "crm_quote")):
        return "" if field.user or field.type == "date" else None
    return _flat_one(field, value, zone, switches)


def _flat_one(field: Field, value: Any, zone: tzinfo, switches: Switches) -> str | None:
    if field.type == "boolean":
        return values.yes_no(bool(value))
    if field.type in ("datetime", "date"):
        text = _shown_one(field, value, zone, switches)
        return text if isinstance(text, str) else None
    if field.type == "double":
        return str(values.shown_number(value)) if field.user else f"{value:.2f}"
    return str(value)
