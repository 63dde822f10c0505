"""Currencies and their rates (api-reference/crm/currency)."""

from __future__ import annotations

from typing import Any

from bitrix_sandbox.methods.protocol import Answer, Caller, method
from bitrix_sandbox.state.portal import PortalState


@method("crm.currency.list", "crm")
def currency_list(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """Every currency, with what so many of it (``AMOUNT_CNT``) are worth in the account's own. Comes whole."""
    rows = [
        {
            "CURRENCY": code,
            "AMOUNT_CNT": str(count),
            "AMOUNT": f"{worth:.4f}",
            "SORT": str(100 * place),
            "BASE": "Y" if place == 1 else "N",
            "FULL_NAME": code,
            "LID": "ru",
            "FORMAT_STRING": "#",
            "DEC_POINT": ".",
            "THOUSANDS_SEP": " ",
            "DECIMALS": "2",
            "DATE_UPDATE": "2024-01-01T00:00:00+03:00",
        }
        for place, (code, (worth, count)) in enumerate(state.currencies.items(), 1)
    ]
    return Answer(rows, total=len(rows))


@method("crm.currency.base.get", "crm")
def currency_base_get(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """The account's own currency."""
    return Answer(next(iter(state.currencies)))
