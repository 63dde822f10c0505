"""Filters, order and pages of list methods: prefixes before a field's name, pages of 50, ``start=-1``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from itertools import islice
from typing import Any, TypeVar

from bitrix_sandbox.methods.protocol import Answer
from bitrix_sandbox.state import values
from bitrix_sandbox.state.core import Core
from bitrix_sandbox.state.errors import RestError
from bitrix_sandbox.state.indexes import SortedIds, TimeIndex

PAGE = 50
Row = TypeVar("Row")
Keep = Callable[[Row], bool]
Test = Callable[[Any], bool]

_PREFIXES = ("!=%", "!%=", "!@", "!%", "!=", ">=", "<=", "=%", "%=", "!", "=", "@", "%", ">", "<")
_SAME = {"": "=", "!": "!=", "%=": "=%", "!%=": "!=%"}
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    ">": lambda have, want: bool(have > want),
    ">=": lambda have, want: bool(have >= want),
    "<": lambda have, want: bool(have < want),
    "<=": lambda have, want: bool(have <= want),
}


class BadValue(ValueError):
    """A filter value that its field cannot be compared with."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One key of a filter: operator (``= != > >= < <= @ !@ % !% =% !=%``), field name, value as sent."""

    op: str
    name: str
    value: Any


def condition(key: str, value: Any) -> Condition:
    """Split a filter key such as ``>=updatedTime`` into operator and field."""
    prefix = next((one for one in _PREFIXES if key.startswith(one)), "")
    return Condition(_SAME.get(prefix, prefix), key[len(prefix) :], value)


def empty(value: Any) -> bool:
    """True for a value that says "nothing": null, an empty text, an empty array."""
    return value is None or value == "" or value == [] or value == {} or value is False


def convert(kind: str, value: Any, zone: tzinfo) -> Any:
    """A filter value as the stored kind: ``int float text moment date flag bit``.

    :raises BadValue: a date that is none, an array where one value is needed.
    """
    if isinstance(value, dict | list):
        raise BadValue(value)
    if kind in ("int", "bit"):
        return values.php_int(value)
    if kind == "float":
        return values.php_float(value)
    if kind == "moment":
        at = values.moment(value, zone)
        if at is None:
            raise BadValue(value)
        return at
    if kind == "date":
        day = values.civil_date(value, zone)
        if day is None:
            raise BadValue(value)
        return day
    if kind == "flag":
        return values.yes_no(value) if isinstance(value, bool) else str(value)
    return str(value).casefold()


def _stored(kind: str, value: Any) -> Any:
    if value is None:
        return None
    if kind == "flag":
        return values.yes_no(bool(value))
    if kind == "bit":
        return int(bool(value))
    if kind == "text":
        return str(value).casefold()
    if kind == "float":
        return float(value)
    if kind == "moment" and not isinstance(value, datetime):
        return None
    return value


def _like(pattern: str) -> re.Pattern[str]:
    parts = (".*" if sign == "%" else "." if sign == "_" else re.escape(sign) for sign in pattern.casefold())
    return re.compile("".join(parts) + r"\Z", re.DOTALL)


def predicate(op: str, kind: str, wanted: Any, zone: tzinfo) -> Test:
    """A predicate on a stored value (a list passes if any of its items does; for a negation, if none does).

    An array under ``=`` means "one of". Nothing under ``=`` means "is empty". Like the portal's SQL, a comparison with
    an empty field fails and "not equal" passes.

    :raises BadValue: see :func:`convert`.
    """
    negated = op.startswith("!")
    positive = _positive(op.removeprefix("!"), kind, wanted, zone)

    def judge(have: Any) -> bool:
        items = have if isinstance(have, list | tuple) else (have,)
        found = any(positive(_stored(kind, item)) for item in items) if items else positive(None)
        return found is not negated

    return judge


def _positive(op: str, kind: str, wanted: Any, zone: tzinfo) -> Test:
    if op in ("=", "@"):
        if empty(wanted) and wanted is not False:
            return lambda have: have is None or have == "" or (kind in ("int", "float") and have == 0)
        choice = frozenset(convert(kind, item, zone) for item in values.listed(wanted))
        return lambda have: have in choice
    if op == "%":
        part = str(wanted).casefold()
        return lambda have: have is not None and part in str(have).casefold()
    if op == "=%":
        pattern = _like(str(wanted))
        return lambda have: have is not None and pattern.match(str(have).casefold()) is not None
    limit = convert(kind, wanted, zone)
    compare = _COMPARE[op]
    return lambda have: have is not None and compare(have, limit)


def candidates(
    conditions: Mapping[str, Any],
    zone: tzinfo,
    *,
    key: str,
    ids: SortedIds,
    time: str,
    times: TimeIndex,
    indexes: Mapping[tuple[str, str], Callable[[Any], Iterable[int]]] | None = None,
) -> list[int]:
    """Ids, ascending, among which every match of all conditions is: by id (its field is ``key``), by an index (under
    operator and field: the ids of one value), by a time since when (its field is ``time``), by ids beyond, or all."""

    def itself(item: Any) -> Iterable[int]:
        return (values.php_int(item),)

    known = {("=", key): itself, ("@", key): itself, **(indexes or {})}
    above, since = None, None
    for one in (condition(name, value) for name, value in conditions.items() if not empty(value)):
        if index := known.get((one.op, one.name)):
            return sorted({number for item in values.listed(one.value) for number in index(item)})
        if one.op in (">", ">=") and one.name == key:
            above = values.php_int(one.value) - (one.op == ">=")
        if one.op in (">", ">=") and one.name == time:
            since = values.moment(one.value, zone)
    if since is not None:
        return times.since(since)
    return ids.all() if above is None else ids.after(above)


def descending(name: str, direction: Any) -> bool:
    """The direction of an order key of ``crm.item.list`` and ``crm.stagehistory.list``.

    :raises RestError: ``INVALID_ARG_VALUE`` anything but ASC and DESC.
    """
    if str(direction).upper() not in ("ASC", "DESC"):
        text = f"Invalid order: allowed sort directions are `ASC, DESC`. But got '{direction}' for field '{name}'"
        raise RestError("INVALID_ARG_VALUE", text)
    return str(direction).upper() == "DESC"


def all_of(tests: Sequence[Keep[Row]]) -> Keep[Row]:
    """One predicate from several; none of them passes everything."""
    if not tests:
        return lambda row: True
    if len(tests) == 1:
        return tests[0]
    return lambda row: all(one(row) for one in tests)


def any_of(tests: Sequence[Keep[Row]]) -> Keep[Row]:
    """One predicate that holds if any does."""
    return lambda row: any(one(row) for one in tests)


@dataclass(frozen=True, slots=True)
class SortBy:
    """One key of an order: how to read the value, and the direction. Empty values come first ascending (SQL), or
    last both ways."""

    read: Callable[[Any], Any]
    descending: bool = False
    nulls_last: bool = False

    def sort(self, rows: list[Any]) -> list[Any]:
        """``rows`` in this order; equal ones keep theirs."""
        keyed = [(_sortable(self.read(row)), row) for row in rows]
        known = [pair for pair in keyed if pair[0] is not None]
        known.sort(key=lambda pair: pair[0], reverse=self.descending)
        bare = [row for key, row in keyed if key is None]
        last = self.nulls_last or self.descending
        ordered = [row for _, row in known]
        return ordered + bare if last else bare + ordered


def _sortable(value: Any) -> Any:
    if isinstance(value, str):
        return value.casefold()
    if isinstance(value, list | tuple):
        return None if not value else str(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.toordinal()
    return value


def sorted_by(rows: list[Row], order: Sequence[SortBy]) -> list[Row]:
    """``rows`` sorted by several keys, the first one leading."""
    for key in reversed(order):
        rows = key.sort(rows)
    return rows


@dataclass(frozen=True, slots=True)
class Page:
    """What one list call gives: its rows, and the counts that go beside ``result``."""

    rows: list[Any]
    total: int | None
    next: int | None

    def answer(self, result: Any) -> Answer:
        """The answer with these counts."""
        return Answer(result, total=self.total, next=self.next)


def page(
    core: Core,
    rows: Callable[[], Iterable[Row]],
    *,
    keep: Keep[Row],
    order: Sequence[SortBy] = (),
    start: Any = None,
    remember: Any = None,
) -> Page:
    """Filter, sort, count and cut to 50.

    ``rows`` gives candidates already in the wanted order when ``order`` is empty. ``start=-1`` counts nothing and stops
    at the fiftieth match. ``remember``: a hashable key under which the whole selection is kept until something changes,
    so that page 400 of a large portal does not filter everything again.
    """
    offset = values.php_int(start) if start not in (None, "") else 0
    if offset < 0:
        return Page(_first(rows(), keep, order), core.switches.uncounted_total, None)
    key = None if remember is None else (remember, repr(core.switches))
    selected = _recall(core, key)
    if selected is None:
        selected = sorted_by([row for row in rows() if keep(row)], order)
        if key is not None:
            if len(core.selections) >= 32:
                core.selections.clear()
            core.selections[key] = (core.revision, selected)
    following = offset + PAGE
    return Page(selected[offset:following], len(selected), following if following < len(selected) else None)


def _first(rows: Iterable[Row], keep: Keep[Row], order: Sequence[SortBy]) -> list[Row]:
    """The first page; candidates that are in order already are not looked at beyond it."""
    found = (row for row in rows if keep(row))
    return sorted_by(list(found), order)[:PAGE] if order else list(islice(found, PAGE))


def _recall(core: Core, key: Any) -> list[Any] | None:
    if key is None or key not in core.selections:
        return None
    revision, selected = core.selections[key]
    return selected if revision == core.revision else None
