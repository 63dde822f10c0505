"""Deals that are put aside until a date: nothing is asked of them meanwhile. Pure."""

from __future__ import annotations

from datetime import datetime

from bitrix_sync.model.facts import Deal
from bitrix_sync.rules.model import Rules


def asleep(deal: Deal, rules: Rules, now: datetime) -> bool:
    """True while the deal is put aside. No file can say so yet: nobody is."""
    return False
