"""What deals are worth. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any


def worth(fields: Mapping[str, Any], currencies: Mapping[str, Decimal]) -> Decimal | None:
    """The amount of a deal, by its fields, in the account's currency; None if that cannot be said. ``currencies``: what
    one unit of each is worth in the account's own."""
    rate = currencies.get(str(fields.get("CURRENCY_ID") or ""))
    try:
        amount = Decimal(str(fields.get("OPPORTUNITY")))
    except InvalidOperation:
        return None
    return amount * rate if rate is not None and amount.is_finite() else None
