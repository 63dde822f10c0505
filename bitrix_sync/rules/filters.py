"""The filters of templates, and the budget that every rendering keeps to. Pure.

Everything that makes text or goes through it is counted before it is done, every round of a loop by the weight of its
body: bounded in size and time without a clock. The filters bear the names of Jinja's where they do the same; ``date``
and ``number`` are our own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from functools import wraps
from math import isfinite
from typing import Any

from jinja2 import Undefined, pass_context
from jinja2.runtime import Context as JinjaContext

from bitrix_sync.errors import UserError
from bitrix_sync.rules.context import Record
from bitrix_sync.rules.values import civil_date, number
from bitrix_sync.words.texts import date_text, day_text, moment_text, number_text, phrase

MAX_WORK = 1_000_000
"""Characters handled in one rendering, intermediate ones included."""
STEP = 40
"""What one act costs besides the text that it handles."""
PART = 4
"""What one round of a loop costs for each part of its body."""
MAX_ROUNDS = 1_000
"""Rounds of all loops of one rendering together."""
MAX_NUMBER = 10**15
RUN = " run"
"""Where a rendering keeps its budget: no template can spell this name."""


class TemplateFault(UserError):
    """A template that cannot be rendered: the message says what is wrong and what to write instead."""


@dataclass(slots=True)
class Run:
    """One rendering under way: what it has used up, and the language of its words; "" writes for
    machines: ISO dates, true and false, ids of people."""

    language: str
    work: int = 0
    rounds: int = 0

    def charge(self, size: int) -> None:
        """Count text about to be made or gone through; a little for the step itself."""
        self.work += size + STEP
        if self.work > MAX_WORK:
            raise TemplateFault("the template makes too much text: make it simpler")

    def go_through(self, length: int, weight: int) -> None:
        """Count the rounds of a loop about to begin, whose body has so many parts."""
        self.charge(length * weight * PART)
        self.rounds += length
        if self.rounds > MAX_ROUNDS:
            raise TemplateFault(f"the loops of the template go beyond {MAX_ROUNDS} rounds: make it simpler")

    def text(self, value: Any) -> str:
        """The value as a person reads it, or a machine."""
        if not self.language:
            match value:
                case bool():
                    return str(value).lower()
                case date():
                    return value.isoformat()
                case Record() if value.values and "id" in value.values:
                    return str(value.values["id"])
        return self._for_people(value)

    def _for_people(self, value: Any) -> str:
        match value:
            case str() | None:
                return value or ""
            case bool():
                return phrase(self.language, "seen.choice", value=value)
            case float() if value.is_integer():
                return str(int(value))
            case int() | float() | Undefined():
                return str(value)
            case datetime():
                return moment_text(self.language, value, weekday=False, year=True)
            case date():
                return day_text(self.language, value, weekday=False, year=True)
            case list() | tuple():
                return ", ".join(map(self.text, value))
            case Record():
                return value.shown
        raise TemplateFault(f"a {type(value).__name__} cannot be written into a text")


def run_of(context: JinjaContext) -> Run:
    """The rendering that this context of Jinja's belongs to."""
    run = context.parent.get(RUN)
    if not isinstance(run, Run):
        raise TypeError("a template is rendered by render() only")
    return run


@pass_context
def written(context: JinjaContext, value: Any) -> str:
    """What ``{{ value }}`` puts into the text."""
    run = run_of(context)
    text = run.text(value)
    run.charge(len(text))
    return text


Filter = Callable[..., Any]
FILTERS: dict[str, Filter] = {}


def _filter(*names: str) -> Callable[[Filter], Filter]:
    """Make a function of (run, value, ...) a filter under these names; what goes in and comes out is counted."""

    def register(function: Filter) -> Filter:
        @pass_context
        @wraps(function)
        def counted(context: JinjaContext, value: Any, *args: Any, **kwargs: Any) -> Any:
            run = run_of(context)
            if isinstance(value, Undefined) and function is not _default:
                str(value)
            run.charge(sum(_size(one) for one in (value, *args, *kwargs.values())))
            result = function(run, value, *args, **kwargs)
            run.charge(_size(result))
            return result

        FILTERS.update(dict.fromkeys(names, counted))
        return function

    return register


def weighed_test(test: Any) -> Any:
    """A test of Jinja's that counts what it looks at."""

    @pass_context
    @wraps(test)
    def counted(context: JinjaContext, *args: Any) -> Any:
        run_of(context).charge(sum(map(_size, args)))
        return test(*args)

    return counted


def _size(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return _size([*value, *value.values()])
    return sum(_size(one) + 1 for one in value) if isinstance(value, list | tuple) else 1


def _default(run: Run, value: Any, instead: Any = "", falsy: bool = False) -> Any:
    """``instead`` for what is not there or is empty; with ``falsy`` also for 0 and no."""
    if isinstance(value, Undefined) or value is None or value in ("", []) or (falsy and not value):
        return instead
    return instead if isinstance(value, Record) and not value else value


_filter("default", "d")(_default)


def _changed(change: Callable[[str], str]) -> Filter:
    return lambda run, value: change(run.text(value))


_filter("upper")(_changed(str.upper))
_filter("lower")(_changed(str.lower))
_filter("capitalize")(_changed(str.capitalize))
_filter("title")(_changed(str.title))
_filter("trim")(_changed(str.strip))


@_filter("replace")
def _replace(run: Run, value: Any, old: Any, new: Any) -> str:
    text, old, new = run.text(value), run.text(old), run.text(new)
    times = text.count(old)
    run.charge(len(text) + times * max(0, len(new) - len(old)))
    return text.replace(old, new)


@_filter("truncate")
def _truncate(run: Run, value: Any, length: int = 255, killwords: bool = False) -> str:
    text = run.text(value)
    if len(text) <= length:
        return text
    if length < 1:
        return ""
    head = text[: length - 1]
    if not killwords and not text[length - 1].isspace():
        head = head.rsplit(None, 1)[0] if len(head.split()) > 1 else head
    return head.rstrip() + "…"


@_filter("join")
def _join(run: Run, value: Any, separator: Any = "") -> str:
    texts, between = [run.text(one) for one in _many(value)], run.text(separator)
    run.charge(sum(map(len, texts)) + len(between) * len(texts))
    return between.join(texts)


@_filter("first")
def _first(run: Run, value: Any) -> Any:
    return next(iter(_many(value)), "")


@_filter("last")
def _last(run: Run, value: Any) -> Any:
    return next(reversed(_many(value)), "")


@_filter("length", "count")
def _length(run: Run, value: Any) -> int:
    return len(_many(value))


@_filter("reverse")
def _reverse(run: Run, value: Any) -> Any:
    return value[::-1] if isinstance(value, str) else list(reversed(_many(value)))


@_filter("sort")
def _sort(run: Run, value: Any, reverse: bool = False) -> list[Any]:
    many = _many(value)
    run.charge(_size(many) * len(many).bit_length())
    return sorted(many, reverse=bool(reverse))


@_filter("unique")
def _unique(run: Run, value: Any) -> list[Any]:
    found: dict[str, Any] = {}
    for one in _many(value):
        found.setdefault(run.text(one), one)
    return list(found.values())


@_filter("round")
def _round(run: Run, value: Any, precision: int = 0) -> int | float:
    return bounded(round(_numeric(value), max(0, min(int(precision), 10))))


@_filter("int")
def _int(run: Run, value: Any, default: int = 0) -> int:
    try:
        return int(_numeric(value))
    except (ValueError, OverflowError):
        return int(default)


@_filter("float")
def _float(run: Run, value: Any, default: float = 0.0) -> float:
    try:
        return float(_numeric(value))
    except (ValueError, OverflowError):
        return float(default)


@_filter("abs")
def _abs(run: Run, value: Any) -> int | float:
    return abs(_numeric(value))


@_filter("number")
def _number(run: Run, value: Any) -> str:
    """``150 000``: grouped by thousands; an empty value stays empty."""
    return "" if value in ("", None) else number_text(run.language, _numeric(value))


@_filter("date")
def _date(run: Run, value: Any, form: str = "%d.%m.%Y") -> str:
    """The date in a form of ``%d %m %Y %y %H %M %B %a`` (month and weekday in words); an empty value stays empty."""
    if value in ("", None):
        return ""
    day: date = value if isinstance(value, date) else civil_date(value)
    clock = day if isinstance(day, datetime) else datetime(day.year, day.month, day.day)  # noqa: DTZ001 - a civil day
    parts = {
        "d": f"{day.day:02}",
        "m": f"{day.month:02}",
        "Y": f"{day.year:04}",
        "y": f"{day.year % 100:02}",
        "H": f"{clock.hour:02}",
        "M": f"{clock.minute:02}",
        "B": date_text(run.language, day, "MMMM"),
        "a": date_text(run.language, day, "EEE"),
        "%": "%",
    }

    def part(found: re.Match[str]) -> str:
        if found[1] not in parts:
            raise TemplateFault(f"date knows no %{found[1]}: write one of %{', %'.join(parts)}")
        return parts[found[1]]

    return re.sub(r"%(.?)", part, form, flags=re.DOTALL)


@_filter(" rounds")
def _rounds(run: Run, value: Any, weight: int) -> Any:
    """What a ``for`` goes through, its body having so many parts."""
    run.go_through(len(_many(value)), weight)
    return value


@_filter(" weighed")
def _weighed(run: Run, value: Any) -> Any:
    """What is about to be compared, searched or cut: it has been counted on the way here."""
    return value


@_filter(" concat")
def _concat(run: Run, value: list[Any]) -> str:
    """``a ~ b``."""
    return "".join([run.text(one) for one in value])


@_filter(" flat")
def _flat(run: Run, value: Any) -> Any:
    """A list that a template writes: only of single values, or comparing two of them could take for ever."""
    parts = [*value, *value.values()] if isinstance(value, dict) else value
    if any(isinstance(one, list | tuple | dict) for one in parts):
        raise TemplateFault("a list within a list is not available here")
    return value


def _many(value: Any) -> Any:
    if not isinstance(value, str | list | tuple):
        raise TemplateFault(f"a {kind_of(value)} is no list")
    return value


def kind_of(value: Any) -> str:
    """The value's name for messages."""
    return value.kind if isinstance(value, Record) else type(value).__name__


def _numeric(value: Any) -> int | float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return bounded(value)
    exact = number(value)
    if abs(exact) > MAX_NUMBER:
        raise OverflowError("the number is too big")
    return bounded(int(exact) if exact == exact.to_integral_value() else float(exact))


def bounded(value: int | float) -> int | float:
    """The number, if it is one that a task may need. Raises OverflowError."""
    if not isfinite(value) or abs(value) > MAX_NUMBER:
        raise OverflowError("the number is too big")
    return value
