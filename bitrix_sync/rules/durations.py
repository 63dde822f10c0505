"""A duration of the rules language, ``2 workdays``: its units, how it is read, what editors are told of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal, get_args

from pydantic import PlainValidator, WithJsonSchema

from bitrix_sync.rules.problem import capitalized, refusal, show
from bitrix_sync.rules.suggest import cure

Unit = Literal["minutes", "hours", "workminutes", "workhours", "days", "workdays", "weeks", "months"]
UNITS: tuple[Unit, ...] = get_args(Unit)
DIGITS = {"minutes": 6, "hours": 5, "workminutes": 6, "workhours": 5, "days": 4, "workdays": 4, "weeks": 3, "months": 3}
"""How long the number of a duration may be: some ten years and more, and never beyond the end of calendars."""
_DURATION = re.compile(r"\s*([-+]?[0-9]+(?:[.,][0-9]+)?)\s*([^\W\d_]*)\s*")


@dataclass(frozen=True, slots=True)
class Duration:
    """``2 workdays``: a whole number of units."""

    amount: int
    unit: Unit


@lru_cache(maxsize=1024)
def _duration(text: str) -> Duration:
    found = _DURATION.fullmatch(text)
    if (meant := _in_other_words(text)) is not None:
        raise refusal(f"There is no unit {show(meant[0])}.", f"Did you mean `{meant[1]}`?")
    if found is None:
        raise refusal(f"{show(text)} is no duration.", "Write a whole number and a unit, as `2 workdays`.")
    amount, unit = found[1], _unit(text, found[1], found[2])
    if not amount.isdigit():
        raise refusal(
            f"{show(text)} is no whole number of {unit}.",
            "Write one, from 1 on; for fractions take a smaller unit, for earlier `before`.",
        )
    count = int(amount) if len(amount) <= 12 else 10**12
    if count == 0 and unit != "workdays":
        raise refusal(
            f"{show(text)} is no time at all.", "0 goes only with workdays: `0 workdays` is today or the next."
        )
    if len(str(count)) > DIGITS[unit]:
        raise refusal(f"{show(text)} is longer than any deal.", f"Up to {'9' * DIGITS[unit]} {unit} can be written.")
    return Duration(count, unit)


_SPOKEN = re.compile(
    r"\s*(?:(?:через|на|в течение|in|for)\s+)?([0-9]+)\s*(?P<unit>(?P<work>раб[а-я.]*\s*|(?:working|work|business)\s+)?"
    r"(?:(?P<minutes>мин[а-я.]*|m|min)|(?P<hours>ч[а-я.]*|h|hours?)|(?P<days>(?:дн|ден|сут)[а-я.]*|д\.?|d|days?)"
    r"|(?P<weeks>нед[а-я.]*|w)|(?P<months>мес[а-я.]*)|(?P<workdays>р\.?[\s/]?д\.?|bd)))\s*",
    re.IGNORECASE,
)
"""A duration in Russian, or abbreviated: ``2 рабочих дня``, ``2d``."""


def _in_other_words(text: str) -> tuple[str, str] | None:
    """The unit of a duration in other words than ours, and the duration in ours; None if it is none, or one of ours."""
    found = _SPOKEN.fullmatch(text)
    if found is None or _known(text):
        return None
    unit = next(unit for unit in ("minutes", "hours", "days", "weeks", "months", "workdays") if found[unit])
    if found["work"] and unit in ("minutes", "hours", "days"):
        unit = f"work{unit}"
    amount = int(found[1][:12])
    return found["unit"].strip(), f"{amount} {unit.removesuffix('s') if amount == 1 else unit}"


def _known(text: str) -> bool:
    """Whether the unit is one of ours, as it must be written."""
    found = _DURATION.fullmatch(text)
    return found is not None and any(found[2] in (unit, unit.removesuffix("s")) for unit in UNITS)


def _unit(text: str, amount: str, word: str) -> Unit:
    """The unit that is written, in the plural or the singular."""
    if not word:
        raise refusal(f"{show(text)} has no unit.", f"Write which, as `{amount} workdays`.")
    unit = next((unit for unit in UNITS if word in (unit, unit.removesuffix("s"))), None)
    if unit is None:
        raise refusal(f"There is no unit `{word}`.", cure(word, UNITS, "Units are"))
    return unit


def read_duration(value: Any) -> Duration:
    """``2 workdays``."""
    if isinstance(value, str):
        return _duration(value)
    if isinstance(value, int) and not isinstance(value, bool):
        raise refusal(f"{show(value)} has no unit.", f"Write which, as `{value} workdays`.")
    raise refusal(f"{capitalized(value)} is no duration.", "Write a whole number and a unit, as `2 workdays`.")


def _units_pattern() -> str:
    long = "|".join(f"0*[1-9][0-9]{{0,{DIGITS[unit] - 1}}}\\s*{unit[:-1]}s?" for unit in UNITS)
    return f"^\\s*(0+\\s*workdays?|{long})\\s*$"


SPAN_PATTERN = _units_pattern()
Span = Annotated[
    Duration,
    PlainValidator(read_duration),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": SPAN_PATTERN,
            "description": f"A whole number and a unit: {', '.join(UNITS)}; 0 only with workdays.",
            "examples": ["2 workdays", "30 workminutes", "1 week"],
        }
    ),
]
