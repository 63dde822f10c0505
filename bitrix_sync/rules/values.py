"""Values of the deal's fields, read as what their field says they are: dates, moments, numbers, filled or not.

Values come as in ``crm.item.list`` (ints, floats, ISO strings, "Y"/"N", "100|EUR", lists, None) or as written in a
rules file (dates, numbers). Each reader raises ``ValueError``, with the value, for what it cannot read; the caller
names the field.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from bitrix_sync.model.facts import DealField
from bitrix_sync.model.yes_no import yes_or_no

ID_TYPES = frozenset(
    {
        "crm",
        "crm_company",
        "crm_contact",
        "crm_deal",
        "crm_lead",
        "crm_quote",
        "employee",
        "enumeration",
        "file",
        "iblock_element",
        "iblock_section",
        "user",
    }
)
"""Types whose value is the id of something: 0 names nothing, the field is empty."""
LISTS, NUMBERS = (list, tuple), (int, float)
NUMBER_TYPES = frozenset({"integer", "double", "money"})
DATE_TYPES = frozenset({"date", "datetime"})
PEOPLE_TYPES = frozenset({"employee", "user"})

_ISO = re.compile(r"(\d{4}-\d\d-\d\d)(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
LONGEST_NUMBER = 100
"""Characters of a number; what is longer counts nothing that a deal has, and takes the square of its length to read."""
_MONEY = re.compile(r"([^|]*)\|[A-Za-z]{0,3}")


def civil_date(value: object) -> date:
    """The date as written, whatever hour and offset come with it (``"2026-03-12T02:00:00+02:00"`` is 12 March).

    Raises ValueError for anything that does not begin with an ISO date, an empty value included.
    """
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    found = _ISO.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"{value!r} is not a date")
    try:
        return date.fromisoformat(found[1])
    except ValueError:
        raise ValueError(f"{value!r} is not a date") from None


def instant(value: object) -> datetime | None:
    """The moment of a date-time value, in UTC; None when it is empty.

    Raises ValueError for a value without an offset (a bare date too) and for what is no date-time.
    """
    if empty(value):
        return None
    moment = value
    if isinstance(value, str) and _ISO.fullmatch(value.strip()):
        try:
            moment = datetime.fromisoformat(value.strip())
        except ValueError:
            moment = None
    if not isinstance(moment, datetime):
        raise ValueError(f"{value!r} is not a date with a time")
    if moment.tzinfo is None:
        raise ValueError(f"{value!r} is a time without an offset from UTC")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{value!r} is not a date with a time") from None


def number(value: object) -> Decimal:
    """The exact number: of an int, a float as it is printed, a numeric text, or a sum of money (``"100.5|EUR"``).

    Raises ValueError for anything else; ``True`` and "Y" are no numbers.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    if isinstance(value, float) or (isinstance(value, str) and len(value) <= LONGEST_NUMBER):
        return _number_kept(value)
    return _number(value)


def _number(value: object) -> Decimal:
    text = str(value).strip() if isinstance(value, float | Decimal | str) else ""
    money = _MONEY.fullmatch(text)
    if money is not None:
        text = money[1].strip()
    if len(text) > LONGEST_NUMBER or not _NUMBER.fullmatch(text):
        raise ValueError(f"{value!r} is not a number")
    return Decimal(text)


_number_kept = lru_cache(maxsize=4096)(_number)
"""The same numbers come again and again: in the rules always, in a deal once for each rule."""


def empty(value: object) -> bool:
    """True for None, "" (blanks too), False and a list of nothing else; what the portal sends for "no value"."""
    if isinstance(value, NUMBERS):
        return value is False
    if isinstance(value, str):
        return not value.strip()
    if isinstance(value, LISTS):
        return all(empty(one) for one in value)
    return value is None or value == {}


def filled(value: Any, field: DealField | None) -> bool:
    """True when the field holds something. The type decides what nothing is:

    - a number is filled even when it is 0, a sum of money even when it is ``"0|EUR"`` (``"|EUR"`` is none);
    - an id (employee, user, binding, list value, file) of 0 or "0" names nothing;
    - a yes/no field is filled when it says yes: a box that nobody ticked says nothing.
    """
    if isinstance(value, LISTS):
        return any(filled(one, field) for one in value)
    if empty(value):
        return False
    kind = field.type if field is not None else ""
    if kind in ID_TYPES:
        return str(value).strip() != "0"
    if kind == "boolean":
        return yes_or_no(value) is True
    if kind == "money":
        return not str(value).strip().startswith("|")
    return True
