"""Does the condition hold on this deal? Yes, no, or it cannot be told, which is an error and never a silent no. Pure.

Source: the rules language, section Conditions. Where it leaves a choice:

- Every part is judged, so that ``why`` can show every comparison. A part that cannot be judged is an error unless the
  others settle the matter: one that fails settles "all", one that holds settles "any".
- A text equals another exactly, upper and lower case told apart, outer spaces aside; ``contains`` ignores case.
- An empty field equals only an empty value (``null`` or ``""``); ``not`` holds on it. A yes/no field that nobody ever
  ticked says no.
- ``not`` says that the field is none of the values: on a multiple field, that no value of it is.
- A date compared with a date-time field means that whole day in the given zone; a date field is a civil date, whatever
  hour and offset come with it.
- A list value counts by its text in ``min``, ``max`` and ``contains``. The currency of money is not compared.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal
from typing import Any, NamedTuple

from bitrix_sync.errors import UserError
from bitrix_sync.model.facts import DealField
from bitrix_sync.model.operations import Check
from bitrix_sync.model.yes_no import yes_or_no
from bitrix_sync.rules.model import AllOf, Condition, Not, Test
from bitrix_sync.rules.values import (
    DATE_TYPES,
    ID_TYPES,
    LISTS,
    NUMBER_TYPES,
    civil_date,
    empty,
    filled,
    instant,
    number,
)
from bitrix_sync.words.language import DEFAULT
from bitrix_sync.words.texts import day_text, folded, moment_text, number_text, phrase, shortened

SHOWN = 200
"""A value is shown with at most so many characters."""

TESTS_KEPT = 10_000
"""So many tests are kept ready for the next deal."""


class CannotJudge(UserError):
    """A test that cannot be judged. ``field``: the field's title and code; ``value``: what stands there; ``wanted``:
    what the test needs, in words; ``checks``: the comparisons that could be made."""

    def __init__(self, message: str, *, field: str, value: str, wanted: str, checks: tuple[Check, ...] = ()) -> None:
        super().__init__(message)
        self.field = field
        self.value = value
        self.wanted = wanted
        self.checks = checks

    @property
    def said(self) -> dict[str, str]:
        """For a trace."""
        return {"field": self.field, "value": self.value, "wanted": self.wanted}


class Judgement(NamedTuple):
    """``holds``, and each comparison with what was seen and what was wanted, in the file's order."""

    holds: bool
    checks: tuple[Check, ...] = ()


class _Unclear(Exception):
    """This value cannot be compared: ``needed`` is the key of what it should be."""

    def __init__(self, value: Any, needed: str) -> None:
        super().__init__(needed)
        self.value = value
        self.needed = needed


@dataclass(frozen=True, slots=True)
class _Ready:
    """A test with what is the same for every deal: what is looked at and what is wanted, in words, and whether a value
    ``holds``, which raises _Unclear."""

    test: Test
    known: DealField
    zone: tzinfo
    language: str
    what: str
    wanted: str
    holds: Compare


_ready: dict[int, _Ready] = {}


@dataclass(slots=True)
class Facts:
    """A deal as conditions see it: its values by code, as in ``crm.item.list``; ``deal_fields``: their types and
    options; ``zone``: the file's, in which a moment falls on a day; ``language``: of the words in the checks. ``seen``:
    what of it was put into words so far; ``made`` and ``judged``: comparisons and conditions, which rules of a stage
    may have in common; ``checks`` and ``faults``: the comparisons of the condition under way."""

    fields: Mapping[str, Any]
    deal_fields: Mapping[str, DealField]
    zone: tzinfo
    language: str = DEFAULT
    seen: dict[str, str] = field(default_factory=dict)
    made: dict[int, Check] = field(default_factory=dict)
    judged: dict[int, Judgement] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)
    faults: list[CannotJudge] = field(default_factory=list)

    def judge(self, condition: Condition) -> Judgement:
        """Whether it holds on the deal. Raises CannotJudge, with the first test that could not be judged."""
        if (judged := self.judged.get(id(condition))) is not None:
            return judged
        self.checks, self.faults = [], []
        holds = self.weigh(condition)
        checks = tuple(self.checks)
        if holds is None:
            fault = self.faults[0]
            fault.checks = checks
            raise fault
        judged = self.judged[id(condition)] = Judgement(holds, checks)
        return judged

    def weigh(self, condition: Condition) -> bool | None:
        """True, False, or None when it cannot be told."""
        if isinstance(condition, Test):
            return self.test(condition)
        if isinstance(condition, Not):
            return _not(self.weigh(condition.part))
        results = [self.weigh(part) for part in condition.parts]
        return _all(results) if isinstance(condition, AllOf) else _not(_all([_not(one) for one in results]))

    def test(self, test: Test) -> bool | None:
        """One comparison."""
        if (made := self.made.get(id(test))) is not None:
            self.checks.append(made)
            return made.ok
        ready = self.ready(test)
        if test.field not in self.fields:
            self.fault(ready, phrase(self.language, "seen.unread"), ready.wanted)
            return None
        value = self.fields[test.field]
        try:
            holds = ready.holds(value)
        except _Unclear as unclear:
            needed = phrase(self.language, unclear.needed, value=ready.wanted)
            self.fault(ready, self.text(unclear.value, ready.known), needed)
            return None
        seen = self.seen.get(test.field)
        if seen is None:
            seen = self.seen[test.field] = self.text(value, ready.known)
        check = self.made[id(test)] = Check(ready.what, seen, ready.wanted, holds)
        self.checks.append(check)
        return holds

    def fault(self, ready: _Ready, value: str, wanted: str) -> None:
        """A comparison that cannot be made."""
        message = phrase(self.language, "why.cannot_judge", field=ready.what, value=value, wanted=wanted)
        self.faults.append(CannotJudge(message, field=ready.what, value=value, wanted=wanted))

    def ready(self, test: Test) -> _Ready:
        """The test, made ready the first time that a deal meets it."""
        known = self.deal_fields.get(test.field) or DealField(test.field, "")
        kept = _ready.get(id(test))
        if (
            kept is None
            or kept.test is not test
            or kept.known is not known
            or kept.zone != self.zone
            or kept.language != self.language
        ):
            if len(_ready) >= TESTS_KEPT:
                _ready.clear()
            what = f"{known.title} ({test.field})" if known.title and known.title != test.field else test.field
            wanted, holds = self.wanted_text(test, known), _comparison(test, known, self.zone)
            kept = _ready[id(test)] = _Ready(test, known, self.zone, self.language, what, wanted, holds)
        return kept

    def wanted_text(self, test: Test, known: DealField) -> str:
        """What is wanted of the field, in words."""
        if test.op == "filled":
            return phrase(self.language, "want.filled" if test.value else "want.empty")
        key = f"want.{test.op}"
        if isinstance(test.value, list | tuple):
            key = {"want.not": "want.not_in", "want.eq": "want.in"}.get(key, key)
        return phrase(self.language, key, value=self.text(test.value, known))

    def text(self, value: Any, known: DealField) -> str:
        """The value as a person reads it: option texts, numbers and dates in the language, yes and no."""
        if isinstance(value, list | tuple):
            texts = [self.text(one, known) for one in value if not empty(one)]
            return shortened(", ".join(texts), SHOWN) if texts else phrase(self.language, "seen.empty")
        if (isinstance(value, bool) or known.type == "boolean") and (flag := _flag_or_none(value)) is not None:
            return phrase(self.language, "seen.choice", value=flag)
        if empty(value):
            return phrase(self.language, "seen.empty")
        return shortened(folded(self.scalar_text(value, known)), SHOWN)

    def scalar_text(self, value: Any, known: DealField) -> str:
        """One value that is not empty."""
        if known.options and (option := known.options.get(_id(value))) is not None:
            return option
        try:
            if known.type in DATE_TYPES or isinstance(value, date):
                return self.time_text(value, known)
            if known.type in NUMBER_TYPES or isinstance(value, int | float):
                currency = str(value).partition("|")[2] if isinstance(value, str) else ""
                return f"{number_text(self.language, number(value))} {currency}".strip()
        except (ValueError, OverflowError):
            return str(value)
        return str(value)

    def time_text(self, value: Any, known: DealField) -> str:
        """A day or a moment. Raises ValueError, OverflowError."""
        moment = _moment(value, known if known.type == "date" else None, self.zone)
        if isinstance(moment, datetime):
            return moment_text(self.language, moment.astimezone(self.zone), weekday=False, year=True)
        return day_text(self.language, moment, weekday=False, year=True)


def _all(results: list[bool | None]) -> bool | None:
    """Whether all hold: one that fails settles it, whatever cannot be told."""
    return False if False in results else None if None in results else True


def _not(result: bool | None) -> bool | None:
    return None if result is None else not result


Compare = Callable[[Any], bool]
"""Whether a value is as it is wanted; raises _Unclear for one that cannot be compared."""


def _comparison(test: Test, known: DealField, zone: tzinfo) -> Compare:
    """The test as a function of the field's value."""
    if test.op == "filled":
        wanted = bool(test.value)
        return lambda value: filled(value, known) is wanted
    wishes = _several(test.value)
    if known.type == "boolean" or any(isinstance(wish, bool) for wish in wishes):
        return lambda value: _holds_choice(test, _several(value), wishes)
    if test.op in ("eq", "in", "not"):
        equal = [_equal(wish, known, zone) for wish in wishes if not empty(wish)]
        return lambda value: _is_one_of(_present(value, known), equal, len(wishes)) is (test.op != "not")
    make = {"contains": _contains, "min": _reaches, "max": _stays_below}[test.op]
    tests = [make(wish, known, zone) for wish in wishes]
    return lambda value: _any(tests, _present(value, known))


def _contains(wish: Any, known: DealField, zone: tzinfo) -> Compare:
    part = _comparable(wish)
    return lambda one: part in _comparable(_written(one, known))


def _reaches(wish: Any, known: DealField, zone: tzinfo) -> Compare:
    order = _order(wish, known, zone)
    return lambda one: order(one) >= 0


def _stays_below(wish: Any, known: DealField, zone: tzinfo) -> Compare:
    order = _order(wish, known, zone)
    return lambda one: order(one) <= 0


def _present(value: Any, known: DealField) -> list[Any]:
    """The values that hold something."""
    if isinstance(value, LISTS):
        return [one for one in value if filled(one, known)]
    return [value] if filled(value, known) else []


def _is_one_of(seen: list[Any], equal: list[Compare], wishes: int) -> bool:
    """Whether a value equals a wish; an empty field equals an empty one, of which there are more ``wishes`` then."""
    return _any(equal, seen) or (not seen and len(equal) < wishes)


def _several(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _any(tests: list[Compare], seen: Iterable[Any]) -> bool:
    """True if any value passes any of the tests; a pair that cannot be judged matters only if none does."""
    unclear: _Unclear | None = None
    for one in seen:
        for test in tests:
            try:
                if test(one):
                    return True
            except _Unclear as fault:
                unclear = unclear or fault
    if unclear is not None:
        raise unclear
    return False


def _holds_choice(test: Test, seen: list[Any], wishes: list[Any]) -> bool:
    if test.op not in ("eq", "in", "not"):
        raise _Unclear(seen, "want.number" if test.op in ("min", "max") else "want.text")
    flags = {_flag(one) for one in seen or [None]}
    same = not flags.isdisjoint(_flag(wish) for wish in wishes)
    return not same if test.op == "not" else same


def _flag(value: Any) -> bool:
    flag = _flag_or_none(value)
    if flag is None:
        raise _Unclear(value, "want.choice")
    return flag


def _flag_or_none(value: Any) -> bool | None:
    return False if empty(value) else yes_or_no(value)


def _equal(wish: Any, known: DealField, zone: tzinfo) -> Compare:
    """Whether a value equals the wish."""
    if known.type in NUMBER_TYPES or known.type in DATE_TYPES or isinstance(wish, date):
        order = _order(wish, known, zone)
        return lambda one: order(one) == 0
    return lambda one: _same(one, wish, known)


def _same(one: Any, wish: Any, known: DealField) -> bool:
    if isinstance(one, dict):
        raise _Unclear(one, "want.text")
    if _is_id(known):
        return _id(one) == _id(wish) or _plain(known.options.get(_id(one), one)) == _plain(wish)
    if isinstance(wish, int | float):
        try:
            return number(one) == number(wish)
        except ValueError:
            return False
    return _plain(one) == _plain(wish)


def _order(wish: Any, known: DealField, zone: tzinfo) -> Callable[[Any], int]:
    """-1, 0, 1: a value is before (less than), equal to, after (more than) the wish; dates as dates, else numbers."""
    if known.type in DATE_TYPES or (not isinstance(wish, int | float) and _is_date(wish)):
        return lambda one: _order_of_dates(one, wish, known, zone)
    bound = _number_or_none(wish)

    def compare(one: Any) -> int:
        left = _number(_written(one, known))
        right = _number(wish) if bound is None else bound
        return (left > right) - (left < right)

    return compare


def _order_of_dates(one: Any, wish: Any, known: DealField, zone: tzinfo) -> int:
    try:
        right = _moment(wish, None, zone)
    except (ValueError, OverflowError):
        raise _Unclear(one, "want.date") from None
    try:
        left = _moment(one, known, zone)
    except (ValueError, OverflowError):
        raise _Unclear(one, "want.date") from None
    if not (isinstance(left, datetime) and isinstance(right, datetime)):
        left, right = _day(left, zone), _day(right, zone)
    return (left > right) - (left < right)


def _moment(value: Any, known: DealField | None, zone: tzinfo) -> date | datetime:
    """A moment for a date-time field, and for a wish (``known`` None) with a time of day, which is of ``zone`` unless
    it names an offset; else a civil date. Raises ValueError, OverflowError."""
    if known is not None:
        return (instant(value) if known.type == "datetime" else None) or civil_date(value)
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=zone)).astimezone(UTC)
    if isinstance(value, str) and len(value.strip()) > len("2026-03-12"):
        return _moment(datetime.fromisoformat(value.strip()), None, zone)
    return civil_date(value)


def _day(moment: date | datetime, zone: tzinfo) -> date:
    return moment.astimezone(zone).date() if isinstance(moment, datetime) else moment


def _is_date(wish: Any) -> bool:
    try:
        civil_date(wish)
    except ValueError:
        return False
    return True


def _number(value: Any) -> Decimal:
    try:
        return number(value)
    except ValueError:
        raise _Unclear(value, "want.number") from None


def _number_or_none(value: Any) -> Decimal | None:
    try:
        return number(value)
    except ValueError:
        return None


def _is_id(known: DealField) -> bool:
    return known.type in ID_TYPES or known.type.startswith("crm") or bool(known.options)


def _id(value: Any) -> str:
    """An id as text: 5, 5.0 and " 5 " are one."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def _written(value: Any, known: DealField) -> Any:
    """A list value as its text; anything else as it is. Raises _Unclear for what has no text (a file)."""
    if isinstance(value, dict):
        raise _Unclear(value, "want.text")
    return known.options.get(_id(value), value) if known.options else value


def _plain(value: Any) -> str:
    return unicodedata.normalize("NFC", str(value)).strip()


def _comparable(value: Any) -> str:
    return _plain(value).casefold()
