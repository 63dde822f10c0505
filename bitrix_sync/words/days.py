"""Why an overdue task goes to the day that it goes to: the days that were refused, in three words or one by one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, tzinfo
from itertools import groupby

from bitrix_sync.model.actions import RefusedDay
from bitrix_sync.model.facts import DealField
from bitrix_sync.model.operations import Trace
from bitrix_sync.words.texts import choice, day_text, phrase
from bitrix_sync.words.texts import explain as texts_explain

WEEK = 7


def in_short(language: str, refused: Sequence[RefusedDay], *, chosen: datetime, moved: datetime) -> str:
    """``до пятницы занято: 8 из 8``; "" where the day is the next one. ``chosen``: the deadline, ``moved``: when the
    sweep was, both local."""
    said = []
    if full := [one for one in refused if one.why == "full"]:
        near = (chosen.date() - moved.date()).days < WEEK
        until = choice(language, "until_weekday", chosen.weekday()) if near else _day(language, chosen)
        said.append(phrase(language, "days.full", until=until, taken=full[-1].taken, room=full[-1].room))
    if away := [one.until for one in refused if one.why == "away" and one.until is not None]:
        said.append(phrase(language, "days.away", until=_day(language, max(away).astimezone(chosen.tzinfo))))
    return "; ".join(said)


def explain(
    language: str, trace: Trace, *, zone: tzinfo, deal_fields: Mapping[str, DealField] | None = None
) -> list[str]:
    """A trace in words, see ``texts.explain``; of a sweep's also the days that were refused."""
    first, *checks = texts_explain(language, trace, zone=zone, deal_fields=deal_fields)
    refused = [RefusedDay.of(day) for day in trace.data.get("refused") or ()]
    if refused:
        first = f"{first}. {phrase(language, 'days.refused', days=one_by_one(language, refused, zone))}"
    return [first, *checks]


def one_by_one(language: str, refused: Iterable[RefusedDay], zone: tzinfo | None = None) -> str:
    """Every day that was refused, and why; neighbours of the same reason as one. ``zone``: None for moments in the zone
    that they carry."""
    parts = []
    for _, days in groupby(refused, key=lambda one: (one.why, one.until, one.taken, one.room)):
        alike = list(days)
        first, last = alike[0], alike[-1]
        span = day_text(language, first.day)
        if last is not first:
            span = phrase(language, "days.span", first=span, last=day_text(language, last.day))
        end = first.until.astimezone(zone) if first.until and zone else first.until
        until = day_text(language, end.date()) if end else ""
        why = phrase(language, f"days.why.{first.why}", until=until, taken=first.taken, room=first.room)
        parts.append(f"{span} — {why}")
    return "; ".join(parts)


def _day(language: str, moment: datetime) -> str:
    return day_text(language, moment.date(), weekday=False)
