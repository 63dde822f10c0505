"""Speaking to people in their language: the messages of ``language``, numbers with nouns, dates, harmless text.

A message is named by a key, ``say(language, key, **values)`` fills it in. A placeholder may say how its value is shown:
``{count:tasks}`` a number with its noun, ``{deadline:moment}`` "чт 12 марта, 15:00", ``{day:day}`` "чт 12 марта",
``{sum:number}`` "150 000", ``{owner_path:path}`` a list joined by arrows, ``{ending:ending}`` a word of a table.

What comes from the portal (titles, names, values) cannot bring BB code along: ``say`` makes it harmless. Own code, such
as a link, is passed as ``Markup``. Where the portal reads no code, text stays as it is: see ``sendable``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, tzinfo
from decimal import Decimal
from functools import lru_cache, partial
from string import Formatter
from types import MappingProxyType
from typing import Any

from babel.dates import format_date

from bitrix_sync.model.facts import Company, DealField
from bitrix_sync.model.operations import Check, Trace
from bitrix_sync.model.reasons import Reason
from bitrix_sync.words.language import CHOICES, DATE, FALL_BACK, MESSAGES, NOUNS, locale, number_signs, plural, speaker
from bitrix_sync.words.usage import fault_text, trouble_text

VERDICTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "made": ("title", "owner", "owner_path", "supervisor", "deadline", "branch", "lifted"),
        "condition_false": (),
        "cannot_judge": ("field", "value", "wanted"),
        "waiting_start": ("event",),
        "waiting_idle": ("since", "at"),
        "exists": ("repeat",),
        "visit_over": ("on_leave",),
        "deal_closed": (),
        "before_rules": (),
        "disabled": ("reason",),
        "held_nobody": (),
        "template_error": ("message",),
        "deadline_error": ("field", "value"),
        "followed": ("before", "after", "why"),
        "not_followed_person": ("owner",),
        "ended": ("ending", "why"),
        "again": ("number", "at"),
        "people_followed": ("owner",),
        "supervisor_followed": ("supervisor",),
        "advanced": ("stage",),
        "advance_waits": ("why",),
        "advance_brake": ("stage",),
        "advance_refused": ("code", "text"),
        "history": (),
        "swept": ("before", "after", "sweep", "fits"),
        "lent": ("owner", "absent", "until"),
        "given_back": ("owner",),
    }
)
"""Words of ``Trace.verdict`` and the keys of ``Trace.data`` that their sentences need; more may be there, and what is
missing is shown as a dash. All JSON-able: people and stages by name; moments ISO with offset; ``task`` and ``other``
occurrences; ``owner_path`` a list of texts; ``branch`` as in ``Computed`` ("main", "else"); ``repeat``, ``ending`` and
``on_leave`` as in the file; ``event`` "done: <rule>", "filled: <field>" or "stage: <stage>"; ``why`` of ended "leave" |
"close", of followed a text of ``cause`` or the new basis, of advance_waits "open" | "not_done" | "no_tasks" or a
text; ``owner`` of not_followed_person only if it was the owner that a person changed."""

FAULTS = frozenset({"cannot_judge", "template_error", "deadline_error"})
"""Verdicts of a rule that failed on a deal."""

_OPENING = re.compile(r"&(?:amp;)*(?:#0*91(?!\d)|#x0*5b(?![\da-f])|(?:lbrack|lsqb)(?=;));?", re.IGNORECASE)
_CLOSING = re.compile(r"&(?:amp;)*(?:#0*93(?!\d)|#x0*5d(?![\da-f])|(?:rbrack|rsqb)(?=;));?", re.IGNORECASE)
_UNPRINTABLE = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_UNSENDABLE = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff]")
_QUOTES = re.compile(r">{2,}")
_MARKUP = re.compile(r"\[/?(?:b|i|u|s|url|user)(?:=[^\]]*)?\]", re.IGNORECASE)
_SUSPECT = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\\[\\]&>]|-{20}")
"""Whatever any of the others could change; most texts have none of it."""
_QUOTE_START = re.compile(r"^([ \t]*)>", re.MULTILINE)
_QUOTE_FRAME = re.compile(r"-{20,}")
_TRANSLATED = str.maketrans({"[": "［", "]": "］", "\u2028": "\n", "\u2029": "\n", "\r": "\n"})


class Markup(str):
    """Text of our own, BB code and line breaks included: ``say`` puts it in as it is."""

    __slots__ = ()


def harmless(text: str) -> str:
    """The text with nothing left in it that the portal would act on: it reads the same and stays text.

    Square brackets (also as HTML entities) become full-width ones, so that no BB code survives; ``>>`` and frames of
    dashes no longer open a quote; control characters, marks that turn the direction of writing and halves of characters
    go. Line breaks and tabs stay. Harmless text stays as it is when it is made harmless again.
    """
    if _SUSPECT.search(text) is None:
        return text
    text = _UNPRINTABLE.sub("", text.replace("\r\n", "\n")).translate(_TRANSLATED)
    text = _CLOSING.sub("］", _OPENING.sub("［", text))
    return _QUOTE_FRAME.sub("—", _QUOTE_START.sub(r"\1›", _QUOTES.sub("»", text)))


def sendable(text: str) -> str:
    """The text as it is, for places where markup is not read (titles, check lists, fields): only what cannot travel
    goes, control characters but line breaks and tabs, and halves of characters."""
    return text if text.isprintable() else _UNSENDABLE.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


UNSEEN = re.compile("[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a terminal obeys instead of showing it: controls, line ends, marks of direction; and halves of characters."""


def visible(text: str, *, keep: str = "") -> str:
    """The text as a terminal may be given it: ``\\x1b`` for an escape, ``\\u202e`` for a mark; ``keep`` stays."""
    return UNSEEN.sub(lambda sign: sign[0] if sign[0] in keep else repr(sign[0])[1:-1], text)


def folded(text: str) -> str:
    """The text on one line: every run of blanks and line breaks becomes one space."""
    return " ".join(text.split())


def shortened(text: str, limit: int) -> str:
    """At most ``limit`` characters; a longer text ends with an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def signed(language: str, text: str, mark: str) -> str:
    """The message with the mark by which it is found again, in a sentence."""
    return f"{text}\n\n{say(language, 'message.mark', mark=mark)}"


def person_text(language: str, company: Company, user_id: int) -> str:
    """A person's name; who does not work here any more is marked."""
    name = company.name(user_id)
    return phrase(language, "person.fired", name=name) if company.fired(user_id) else name


def counted(language: str, count: int, noun: str) -> str:
    """``5 задач``, ``1 task``: the number with its noun in the right form; ``noun`` is a key of NOUNS."""
    speaks = speaker(language, NOUNS, noun)
    forms = NOUNS[speaks][noun]
    return f"{number_text(language, count)} {forms[min(plural(speaks, count), len(forms) - 1)]}"


def number_text(language: str, number: int | float | Decimal) -> str:
    """``150 000,5`` or ``150,000.5``: grouped by thousands, without an empty fraction, never in powers of ten."""
    if isinstance(number, float):
        number = Decimal(repr(number))
    if isinstance(number, Decimal):
        if not number.is_finite():
            return str(number)
        number = int(number) if number == number.to_integral_value() else number.normalize()
    return (f"{number:,}" if isinstance(number, int) else f"{number:,f}").translate(number_signs(language))


def list_separator(language: str) -> str:
    """What stands between the cells of a spreadsheet's text: never the sign before a fraction."""
    return ";" if number_text(language, 0.5)[1] == "," else ","


def day_text(language: str, day: date, *, weekday: bool = True, year: bool = False) -> str:
    """``чт 12 марта``, ``Thu 12 March 2026``."""
    pattern = DATE.get(language, DATE[FALL_BACK])
    return date_text(language, day, f"{'EEE ' * weekday}{pattern}{' y' * year}")


def date_text(language: str, day: date, pattern: str) -> str:
    """A day in a pattern of CLDR: ``EEE`` is a weekday, ``MMMM`` a month as it stands in a date."""
    return _dated(language, date(day.year, day.month, day.day), pattern)


@lru_cache(maxsize=1024)
def _dated(language: str, day: date, pattern: str) -> str:
    return str(format_date(day, pattern, locale(language)))


def moment_text(language: str, moment: datetime, *, weekday: bool = True, year: bool = False) -> str:
    """``чт 12 марта, 15:00``: in the zone that the moment carries."""
    return f"{day_text(language, moment, weekday=weekday, year=year)}, {moment:%H:%M}"


def say(language: str, key: str, /, *, zone: tzinfo | None = None, **values: Any) -> str:
    """The message ``key`` for the portal, with its values made harmless and folded to one line (Markup is left alone).

    Moments are aware datetimes (or their ISO texts) and are shown in ``zone``, without one in the zone that they carry.
    Raises KeyError for an unknown key or a missing value: a mistake of ours.
    """
    return _fill(language, key, values, zone=zone, clean=_clean)


def phrase(language: str, key: str, /, *, zone: tzinfo | None = None, **values: Any) -> str:
    """The same as ``say`` for traces and the terminal, where BB code means nothing: values are left as they are."""
    return _fill(language, key, values, zone=zone, clean=str)


def explain(
    language: str, trace: Trace, *, zone: tzinfo, deal_fields: Mapping[str, DealField] | None = None
) -> list[str]:
    """The trace in words: its sentence, then a line for each comparison. Moments are shown in ``zone``, with the year;
    fields by their titles where ``deal_fields`` has them.

    Values that an older trace lacks are shown as a dash, so that what was recorded once can always be read.
    """
    keys = VERDICTS.get(trace.verdict)
    if keys is None:
        return [trace.verdict]
    values: dict[str, Any] = dict.fromkeys(keys) | dict(trace.data)
    titles = {code: field.title for code, field in (deal_fields or {}).items()}
    if trace.verdict == "waiting_start":
        values["event"] = _event_text(language, str(values["event"]), titles)
    elif trace.verdict == "followed" and _BASIS.match(str(values["why"])):
        values["why"] = _cause(language, "", str(values["why"]), titles, {}, zone)
    sentence = _fill(language, f"why.{trace.verdict}", values, zone=zone, clean=str, year=True)
    return [sentence, *_filled(language, trace), *(check_text(language, check) for check in trace.checks)]


def _event_text(language: str, event: str, titles: Mapping[str, str]) -> str:
    """``done: call`` in words; as it stands if it is none that we know."""
    kind, _, name = event.partition(": ")
    known = f"event.{kind}" in MESSAGES[FALL_BACK]
    if kind == "idle":
        amount, _, unit = name.partition(" ")
        return phrase(language, "event.idle", name=counted(language, int(amount), unit))
    if kind == "becomes":
        return phrase(language, "event.becomes_so")
    return phrase(language, f"event.{kind}", name=titles.get(name) or name) if known else event


def _filled(language: str, trace: Trace) -> list[str]:
    """The user fields of a task that was made."""
    fields = (trace.data.get("fields") or {}) if trace.verdict == "made" else {}
    return [phrase(language, "made.field", name=name, value=value) for name, value in fields.items()]


def reason_text(language: str, text: str) -> str:
    """A stored text in words if it is a reason of ours, or several parted by semicolons, or one of
    ``TROUBLES``; else as it stands."""
    words = CHOICES[speaker(language, CHOICES, "reason")]["reason"]
    for parts in (text.split("; "), [text]):
        reasons = [found for part in parts if (found := Reason.read(part))]
        if len(reasons) == len(parts):
            return "; ".join(words[reason].replace("{}", detail) for reason, detail in reasons)
    return trouble_text(language, text)


def deadline_followed(
    language: str,
    *,
    before: datetime | None,
    after: datetime,
    old_basis: str,
    new_basis: str,
    deal_fields: Mapping[str, DealField],
    stage_names: Mapping[str, str] | None = None,
) -> str:
    """The line in a task whose deadline followed the deal: from when to when, and what changed.

    ``before`` and ``after`` are local (aware); the bases are those of ``Computed``.
    """
    why = cause(
        language,
        old_basis=old_basis,
        new_basis=new_basis,
        deal_fields=deal_fields,
        stage_names=stage_names,
        zone=after.tzinfo,
    )
    return say(language, "line.deadline_followed", before=before, after=after, why=Markup(harmless(why)))


def cause(
    language: str,
    *,
    old_basis: str,
    new_basis: str,
    deal_fields: Mapping[str, DealField],
    stage_names: Mapping[str, str] | None = None,
    zone: tzinfo | None = None,
) -> str:
    """What made a deadline follow, told from what it was and is counted from (``Computed.basis``): the field that was
    changed, filled or emptied, the event that happened."""
    titles = {code: field.title for code, field in deal_fields.items()}
    return folded(_cause(language, old_basis, new_basis, titles, stage_names or {}, zone))


_BASIS = re.compile(
    r"(?:else:)*(?:(?:entry|date)$|field:(?P<field>[^=]+)=(?P<value>.*)|"
    r"event:(?P<event>done|stage|filled|became):(?P<of>.*)@[^@]*$)",
    re.DOTALL,
)
"""The forms of ``Computed.basis``."""


def _cause(
    language: str,
    old: str,
    new: str,
    titles: Mapping[str, str],
    stages: Mapping[str, str],
    zone: tzinfo | None,
) -> str:
    before, now = _basis(old).get("field"), _basis(new)
    if code := now.get("field"):
        key, value = "cause.field" if before == code or not old else "cause.filled", now["value"]
        shown = _time_text(language, value.replace("Z", "+00:00"), _how(value), zone=zone, clean=str, year=True)
        return phrase(language, key, name=titles.get(code) or code, value=shown)
    if event := now.get("event"):
        return _happened(language, event, now["of"], {"stage": stages, "filled": titles}.get(event, {}))
    return phrase(language, "cause.emptied" if before else "cause.changed", name=titles.get(before or "") or before)


def _basis(text: str) -> Mapping[str, str]:
    """What a basis names."""
    found = _BASIS.match(text)
    return found.groupdict() if found else {}


def _happened(language: str, event: str, of: str, names: Mapping[str, str]) -> str:
    """The event in words; ``of``: the ids of stages, a field's code, a rule."""
    ids = of.split(",") if event == "stage" else [of]
    return phrase(
        language, f"cause.event.{event}", name=" / ".join(dict.fromkeys(names.get(one) or one for one in ids))
    )


def _how(value: str) -> str:
    return "moment" if "T" in value else "day"


def check_text(language: str, check: Check) -> str:
    """``✓ Сумма: 150 000; нужно: не меньше 100 000``."""
    return phrase(language, "why.check", ok=check.ok, what=check.what, seen=check.seen, wanted=check.wanted)


def unmarked(text: str) -> str:
    """A message as it reads: links are their titles, nothing else is marked up."""
    return _MARKUP.sub("", text)


def _clean(value: Any) -> str:
    return str(value) if isinstance(value, Markup) else folded(harmless(str(value)))


def _fill(
    language: str,
    key: str,
    values: Mapping[str, Any],
    *,
    zone: tzinfo | None,
    clean: Callable[[Any], str],
    year: bool = False,
) -> str:
    language = speaker(language, MESSAGES, key)
    parts: list[str] = []
    for literal, name, how in _parsed(MESSAGES[language][key]):
        parts.append(literal)
        if name is not None:
            parts.append(_shown(language, values[name], how or "", zone=zone, clean=clean, year=year))
    return "".join(parts)


@lru_cache(maxsize=1024)
def _parsed(message: str) -> tuple[tuple[str, str | None, str | None], ...]:
    """A message of ours as pieces: text, and the name and form of the value behind it."""
    return tuple((literal, name, how) for literal, name, how, _ in Formatter().parse(message))


def _shown(language: str, value: Any, how: str, *, zone: tzinfo | None, clean: Callable[[Any], str], year: bool) -> str:
    if value is None or (value == "" and how in ("moment", "day", "path")):
        value, how = ("—", "") if how not in CHOICES[FALL_BACK] else ("", how)
    if how in ("moment", "day"):
        return _time_text(language, value, how, zone=zone, clean=clean, year=year)
    if how in NOUNS[FALL_BACK]:
        return counted(language, value, how)
    return _FORMS.get(how, partial(_chosen, how))(language, value, clean)


def _path(language: str, value: Any, clean: Callable[[Any], str]) -> str:
    return " → ".join(map(clean, value if isinstance(value, list | tuple) else [value]))


def choice(language: str, table: str, value: Any) -> str:
    """The word of a table of ``CHOICES`` that stands for the value."""
    return _chosen(table, language, value, str)


def _chosen(how: str, language: str, value: Any, clean: Callable[[Any], str]) -> str:
    """The word of a table that stands for the value, which may have a detail behind a colon."""
    words = CHOICES[speaker(language, CHOICES, how)][how]
    word = str(value).lower() if isinstance(value, bool) else str(value)
    kind, _, detail = word.partition(":")
    if word in words or (detail and kind in words):
        return words[word if word in words else kind].replace("{}", clean(detail))
    return words.get("*", "").replace("{}", clean(value))


_FORMS: Mapping[str, Callable[[str, Any, Callable[[Any], str]], str]] = {
    "": lambda language, value, clean: clean(value),
    "number": lambda language, value, clean: number_text(language, value),
    "path": _path,
    "reason": lambda language, value, clean: clean(reason_text(language, str(value))),
    "fault": lambda language, value, clean: clean(fault_text(language, str(value))),
}
"""How a placeholder shows its value, by the word behind its name; any other names a table of words."""


def _time_text(
    language: str, value: Any, how: str, *, zone: tzinfo | None, clean: Callable[[Any], str], year: bool
) -> str:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return clean(value)
    if not isinstance(value, date):
        return clean(value)
    if isinstance(value, datetime) and zone is not None and value.tzinfo is not None:
        value = value.astimezone(zone)
    if how == "moment" and isinstance(value, datetime):
        return moment_text(language, value, year=year)
    return day_text(language, value, year=year)
