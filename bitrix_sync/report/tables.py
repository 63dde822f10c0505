"""Reports as tables: CSV with the keys of ``--json`` as heading, JSON rows, and columns in words for a terminal."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from bitrix_sync.report.declaration import Column, Form, Line, Report
from bitrix_sync.report.snapshot import Snapshot
from bitrix_sync.rules.model import Duration
from bitrix_sync.rules.words import duration_text
from bitrix_sync.words import texts

_PARTS = ";,|\"'"
_BLANK = rf"[\s{_PARTS}\u200b-\u200f\u2060\ufeff]"
_FORMULA = re.compile(rf"(?:^|(?<!{_BLANK})(?={_BLANK})){_BLANK}*+(?=[-=+@－＝＋＠﹣﹦﹢﹫−])")
"""Where a spreadsheet could see a cell begin with a formula: at the start, and after whatever parts cells in a file
that is opened with another separator than it was written with (one of ``_PARTS``). Some take full-width signs for the
plain ones."""


def json_rows(report: Report, lines: Sequence[Line]) -> list[Line]:
    """The rows for programs: stable keys, moments in ISO with offset, a limit as the file writes it."""
    return [{key: _plain(key, line[key]) for key in report.keys} for line in lines]


@dataclass(frozen=True, slots=True)
class CsvForm:
    """How a spreadsheet expects its text: what stands between cells, and before a fraction; whether a byte order mark
    begins it."""

    separator: str = ","
    fraction: str = "."
    mark: bool = False


PLAIN, EXCEL = CsvForm(), CsvForm(";", ",", mark=True)
"""For programs, and for a spreadsheet in Russian."""


def csv_text(report: Report, lines: Sequence[Line], form: CsvForm = PLAIN) -> str:
    """The same for a spreadsheet; ``by_day`` also as a column for each day. Text that a spreadsheet would take for a
    formula begins with an apostrophe."""
    rows = json_rows(report, lines)
    days = sorted({day for row in rows for day in row.get("by_day", ())})
    by_day = [{**row, **{day: row.get("by_day", {}).get(day, 0) for day in days}} for row in rows]
    return csv_of([*report.keys, *days], by_day, form)


def csv_of(keys: Sequence[str], rows: Sequence[Line], form: CsvForm = PLAIN) -> str:
    """Rows as they are, below their keys."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=form.separator, lineterminator="\r\n")
    writer.writerow(keys)
    writer.writerows([_cell(row[key], form) for key in keys] for row in rows)
    return ("\ufeff" if form.mark else "") + text.getvalue()


def _plain(key: str, value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, date):
        return value.isoformat()
    return " ".join(map(str, value)) if key == "limit" and value else value


def _cell(value: Any, form: CsvForm) -> Any:
    if isinstance(value, float):
        return str(value).replace(".", form.fraction)
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    return safe_cell(value) if isinstance(value, str) else "" if value is None else value


def safe_cell(text: str) -> str:
    """A text that is no formula, whichever of the usual separators the file is opened with: one line, and an apostrophe
    before every sign that could begin a formula."""
    return _FORMULA.sub(_spoilt, texts.UNSEEN.sub("", texts.folded(text)))


def _spoilt(blank: re.Match[str]) -> str:
    """What stands before such a sign, with the apostrophe where a cell could begin."""
    begins = not blank.start() or any(sign in blank[0] for sign in _PARTS)
    return f"{blank[0]}'" if begins else blank[0]


# --- for people ------------------------------------------------------------------------------------------------------


def terminal(report: Report, lines: Sequence[Line], known: Snapshot) -> tuple[str, list[str], list[list[str]]]:
    """Title, headings and cells of a report in the file's language, for a terminal."""
    language = known.language
    heads = [texts.phrase(language, column.heading) for column in report.columns]
    cells = [[_text(known, column, line) for column in report.columns] for line in lines if report.shows(line)]
    return texts.phrase(language, f"report.title.{report.name}"), heads, cells


def _text(known: Snapshot, column: Column, line: Line) -> str:
    """A cell as text."""
    shown = FORMS.get(column.form, _value)(known, line, column.key)
    return shown or (texts.phrase(known.language, column.empty) if column.empty else "")


def _value(known: Snapshot, line: Line, key: str) -> str:
    return "" if line[key] is None else str(line[key])


def _moment(known: Snapshot, line: Line, key: str) -> str:
    return "" if line[key] is None else texts.moment_text(known.language, line[key], year=True)


def _days(known: Snapshot, line: Line, key: str) -> str:
    """The days ahead that something is due on, and those on which the person is away: ``пт 13: 3, пн 16: нет``."""
    away = texts.phrase(known.language, "report.away")
    counts = {day: str(count) for day, count in sorted(line[key].items())[1:] if count}
    counts |= {day: f"{counts[day]}, {away}" if day in counts else away for day in line["away_days"]}
    shown = [(date.fromisoformat(day), count) for day, count in sorted(counts.items())]
    return ", ".join(f"{texts.date_text(known.language, day, 'EEE d')}: {count}" for day, count in shown)


def _room(known: Snapshot, line: Line, key: str) -> str:
    """How many tasks a day: ``8``; of whoever is away now until when."""
    size = "—" if line[key] is None else str(line[key])
    until = line["away_until"]
    return size if until is None else texts.phrase(known.language, "report.room_away", room=size, until=until)


def _person(known: Snapshot, line: Line, key: str) -> str:
    """A name; who does not work here any more is marked."""
    fired = line[key] and known.company.fired(line[f"{key}_id"])
    return texts.phrase(known.language, "person.fired", name=line[key]) if fired else line[key]


FORMS: Mapping[str, Callable[[Snapshot, Line, str], str]] = {
    Form.TASK: lambda known, line, key: f"{line['task_id']} {line['title']}",
    Form.PERSON: _person,
    Form.RULE: lambda known, line, key: known.rule_title(line[key]) if line[key] else "",
    Form.ACTION: lambda known, line, key: texts.phrase(known.language, f"page.kind.{line[key]}"),
    Form.STATUS: lambda known, line, key: texts.phrase(known.language, f"page.status.{line[key]}"),
    Form.MOMENT: _moment,
    Form.DEADLINE: _moment,
    Form.DUE: _moment,
    Form.HOURS: lambda known, line, key: span_text(known.language, line[key]),
    Form.LATE: lambda known, line, key: span_text(known.language, line[key]),
    Form.LIMIT: lambda known, line, key: duration_text(known.language, Duration(*line[key])) if line[key] else "",
    Form.OVER: lambda known, line, key: str(line[key]) if line["limit"] else "—",
    Form.DAYS: _days,
    Form.ROOM: _room,
    Form.SEMANTIC: lambda known, line, key: texts.phrase(known.language, "names.ends", how=line[key]),
    Form.FIELD_OF: lambda known, line, key: texts.phrase(known.language, "names.whose", item=line[key]),
    Form.FIELD_TYPE: lambda known, line, key: texts.phrase(
        known.language, "names.kind", type=line[key], many=line["multiple"]
    ),
    Form.SHARE: lambda known, line, key: share_text(known.language, line[key]),
    Form.MONEY: lambda known, line, key: money_text(known.language, line[key], line["currency"]),
    Form.MARK: lambda known, line, key: texts.phrase(known.language, "report.yes") if line[key] else "",
    Form.WEEK: lambda known, line, key: week_text(known.language, line["from"], line["to"]),
    Form.LENGTH: lambda known, line, key: "—" if line[key] is None else span_text(known.language, line[key] * 24),
    Form.COUNTED: lambda known, line, key: counted_text(known, line),
    Form.CLOSED: lambda known, line, key: "" if line[key] else texts.phrase(known.language, "names.closed"),
    Form.ACTIVE: lambda known, line, key: "" if line[key] else texts.phrase(known.language, "page.load.fired"),
    Form.MOVER: lambda known, line, key: "" if line["by_service"] else line[key],
}
"""How a cell is written; the other forms show the value as it is."""


def share_text(language: str, share: float | None) -> str:
    """``83 %``; a dash for a share of nothing."""
    return "—" if share is None else f"{texts.number_text(language, round(share * 100))}\u00a0%"


def money_text(language: str, amount: float | int | None, currency: str) -> str:
    """``1 200 000 RUB``, to the unit; a dash where it is not known."""
    return "—" if amount is None else f"{texts.number_text(language, round(amount))}\u00a0{currency}"


def week_text(language: str, first: date, last: date) -> str:
    """``2–8 марта``, ``23 февраля – 1 марта``."""
    end = texts.day_text(language, last, weekday=False)
    if first.month == last.month:
        return f"{first.day}–{end}"
    return f"{texts.day_text(language, first, weekday=False)} – {end}"


def counted_text(known: Snapshot, line: Mapping[str, Any]) -> str:
    """Whose row of ``done`` it is: a fired person is marked; of nobody, no department, no rule, no deal."""
    if line["id"] is None:
        return texts.phrase(known.language, f"report.none.{line['by']}")
    if line["by"] == "person":
        return texts.person_text(known.language, known.company, line["id"])
    return str(line["name"])


def age_text(language: str, span: timedelta | None) -> str:
    """A span in two units at most; seconds below two minutes."""
    if span is None:
        return "—"
    seconds = abs(span.total_seconds())
    if seconds < 120:
        return texts.phrase(language, "page.span.seconds", seconds=int(seconds))
    return span_text(language, seconds / 3600)


def span_text(language: str, hours: float | None) -> str:
    """A span of hours in two units at most: ``3 дн 4 ч``, ``5 ч 20 мин``, ``12 мин``."""
    if hours is None:
        return "—"
    minutes = round(abs(hours) * 60)
    days, hour, minute = minutes // 1440, minutes // 60 % 24, minutes % 60
    if days >= 10 or (days and not hour):
        return texts.phrase(language, "page.span.only_days", days=texts.number_text(language, days + (hour >= 12)))
    if days:
        return texts.phrase(language, "page.span.days", days=days, hours=hour)
    if hour and minute:
        return texts.phrase(language, "page.span.hours", hours=hour, minutes=minute)
    if hour:
        return texts.phrase(language, "page.span.only_hours", hours=hour)
    return texts.phrase(language, "page.span.minutes", minutes=minute)
