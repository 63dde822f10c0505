"""What PHP makes of a parameter: a call may come as typed JSON or as a form in which everything is a string.

Every reader here takes both. Moments are kept as aware UTC datetimes in whole seconds, as the portal stores them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, tzinfo
from typing import Any

_LEADING_INT = re.compile(r"\s*([+-]?\d+)")
_LEADING_NUMBER = re.compile(r"\s*([+-]?\d+(?:\.\d+)?)")
_WHOLE = re.compile(r"\s*[+-]?\d+\s*\Z")
_SITE_DATE = re.compile(r"(\d{2})\.(\d{2})\.(\d{4})(?:[ T](\d{2}):(\d{2})(?::(\d{2}))?)?\Z")
_TRUE = frozenset({"y", "1", "true", "yes", "on"})


def pick(params: Mapping[str, Any], *names: str) -> Any:
    """The first of the parameters ``names`` that was given (not None), else None."""
    for name in names:
        if params.get(name) is not None:
            return params[name]
    return None


def integer(value: Any) -> int | None:
    """A whole number given as a number or as its text; None for anything else."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    if isinstance(value, str) and _WHOLE.match(value):
        return int(value)
    return None


def php_int(value: Any) -> int:
    """``(int)$value``: leading digits of a text, 0 for what has none."""
    if isinstance(value, bool | int | float):
        return int(value)
    found = _LEADING_INT.match(value) if isinstance(value, str) else None
    return int(found.group(1)) if found else 0


def php_float(value: Any) -> float:
    """``(float)$value``: the leading number of a text, 0.0 for what has none."""
    if isinstance(value, bool | int | float):
        return float(value)
    found = _LEADING_NUMBER.match(value) if isinstance(value, str) else None
    return float(found.group(1)) if found else 0.0


def flag(value: Any) -> bool:
    """``Y``, ``1``, ``true`` and their typed twins are true, everything else is false."""
    return value.strip().casefold() in _TRUE if isinstance(value, str) else bool(value)


def yes_no(value: bool) -> str:
    """``Y`` or ``N``."""
    return "Y" if value else "N"


def listed(value: Any) -> list[Any]:
    """The values of an array however it was sent: a list, a map with numeric keys (form), one scalar, nothing."""
    if value is None or value == "":
        return []
    if isinstance(value, Mapping):
        return list(value.values())
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)
    return [value]


def whole_numbers(value: Any) -> list[int]:
    """The positive ids in an array, each once, in their order."""
    return list(dict.fromkeys(number for item in listed(value) if (number := php_int(item)) > 0))


def mapped(value: Any) -> dict[str, Any] | None:
    """A PHP array as a map: an object as it is, a list by its indexes, nothing as empty; None for a scalar."""
    if value is None or value == "":
        return {}
    if isinstance(value, Mapping):
        return {str(key): item for key, item in value.items()}
    if isinstance(value, list | tuple):
        return {str(index): item for index, item in enumerate(value)}
    return None


def php_map(value: dict[str, Any], *, empty_as_list: bool = True) -> dict[str, Any] | list[Any]:
    """A map as PHP encodes it: an empty one is ``[]``."""
    return value if value or not empty_as_list else []


def moment(value: Any, zone: tzinfo) -> datetime | None:
    """``strtotime``: an ISO or site-format text, with its offset or else in ``zone``; a number is Unix time.

    Gives an aware UTC datetime in whole seconds, or None for what is no date.
    """
    if isinstance(value, datetime):
        found = value
    elif isinstance(value, date):
        found = datetime.combine(value, time())
    elif isinstance(value, int | float) and not isinstance(value, bool):
        found = datetime.fromtimestamp(value, UTC)
    elif isinstance(value, str) and value.strip():
        parsed = _parse(value.strip())
        if parsed is None:
            return None
        found = parsed
    else:
        return None
    aware = found if found.tzinfo else found.replace(tzinfo=zone)
    return aware.astimezone(UTC).replace(microsecond=0)


def _parse(text: str) -> datetime | None:
    site = _SITE_DATE.match(text)
    try:
        if site:
            day, month, year, hour, minute, second = (int(part or 0) for part in site.groups())
            return datetime(year, month, day, hour, minute, second)  # noqa: DTZ001 - the caller gives it its zone
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def civil_date(value: Any, zone: tzinfo) -> date | None:
    """The day of a date value: as written when it has no time, else the day it is in ``zone``."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if isinstance(value, str) and len(value.strip()) == 10:
        parsed = _parse(value.strip())
        return parsed.date() if parsed else None
    at = moment(value, zone)
    return at.astimezone(zone).date() if at else None


def iso(at: datetime | None, zone: tzinfo) -> str | None:
    """A moment as the portal prints it in ``zone``: ``2026-05-14T10:26:32+03:00``; None stays None."""
    return at.astimezone(zone).isoformat(timespec="seconds") if at else None


def iso_day(day: date | None, zone: tzinfo, *, utc_midnight: bool) -> str | None:
    """A civil date as the portal prints it: with an hour that means nothing.

    ``utc_midnight``: midnight of UTC shown in ``zone`` (``2024-04-19T03:00:00+03:00`` in Moscow, as real portals give
    it); else midnight of ``zone``. West of UTC the former would show another day, so it is midnight there too.
    """
    if day is None:
        return None
    local = datetime.combine(day, time(), zone)
    offset = local.utcoffset()
    if utc_midnight and offset and offset.total_seconds() > 0:
        local = datetime.combine(day, time(), UTC).astimezone(zone)
    return local.isoformat(timespec="seconds")


def shown_number(value: float) -> int | float:
    """A number as PHP's JSON shows it: without a fraction when it has none."""
    return int(value) if float(value).is_integer() else value


def first(values: Iterable[Any], default: Any = None) -> Any:
    """The first of ``values``, or ``default``."""
    return next(iter(values), default)
