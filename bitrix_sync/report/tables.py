"""Reports as tables: CSV with the keys of ``--json`` as heading, JSON rows, and columns in words for a terminal."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from bitrix_sync.report.context import Line
from bitrix_sync.report.snapshot import Snapshot
from bitrix_sync.rules.model import Duration
from bitrix_sync.rules.words import duration_text
from bitrix_sync.words import texts

_TASK = ("task_id", "title", "deal_id", "deal", "owner_id", "owner", "supervisor_id", "supervisor", "deadline",
         "first_deadline", "moves", "moves_by_us", "moves_by_people", "rule", "status")  # fmt: skip
KEYS: Mapping[str, tuple[str, ...]] = {
    "load": ("user_id", "user", "department_id", "department", "open", "overdue", "today", "next_7_workdays", "later",
             "no_deadline", "by_day"),
    "overdue": (*_TASK, "age_hours"),
    "today": (*_TASK, "overdue"),
    "stages": ("funnel_id", "funnel", "stage_id", "stage", "semantic", "deals", "median_hours", "p90_hours",
               "over_limit", "limit", "stays"),
    "moves": ("task_id", "title", "rule", "owner_id", "owner", "deal_id", "deal", "moves_by_us", "moves_by_people",
              "first_deadline", "deadline", "slip_hours"),
    "path": ("visit_id", "funnel_id", "funnel", "stage_id", "stage", "semantic", "entered", "left", "hours",
             "over_limit", "moved_by", "moved_by_name", "by_service"),
}  # fmt: skip
"""What a row of each report shows, in this order. ``path`` is one deal's, of ``report stages --deal``."""

_FORMULA = re.compile("((?:^|[;,|\"'])[\\s;,|\"'\u200b-\u200f\u2060\ufeff]*)(?=[-=+@－＝＋＠﹣﹦﹢﹫−])")
"""Where a spreadsheet could see a cell begin with a formula: at the start, and after whatever parts cells in a file
that is opened with another separator than it was written with. Some take full-width signs for the plain ones."""


def json_rows(name: str, lines: Sequence[Line]) -> list[Line]:
    """The rows for programs: stable keys, moments in ISO with offset, a limit as the file writes it."""
    return [{key: _plain(key, line[key]) for key in KEYS[name]} for line in lines]


def csv_text(name: str, lines: Sequence[Line], *, separator: str = ",") -> str:
    """The same for a spreadsheet; ``by_day`` also as a column for each day. Text that a spreadsheet would take for a
    formula begins with an apostrophe."""
    rows = json_rows(name, lines)
    days = sorted({day for row in rows for day in row.get("by_day", ())})
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator="\r\n")
    writer.writerow([*KEYS[name], *days])
    for row in rows:
        by_day = row.get("by_day", {})
        writer.writerow([*map(_cell, row.values()), *(by_day.get(day, 0) for day in days)])
    return text.getvalue()


def _plain(key: str, value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    return " ".join(map(str, value)) if key == "limit" and value else value


def _cell(value: Any) -> Any:
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    return safe_cell(value) if isinstance(value, str) else "" if value is None else value


def safe_cell(text: str) -> str:
    """A text that is no formula, whichever of the usual separators the file is opened with: one line, and an apostrophe
    before every sign that could begin a formula."""
    return _FORMULA.sub(r"\1'", texts.UNSEEN.sub("", texts.folded(text)))


# --- for people ------------------------------------------------------------------------------------------------------


def terminal(name: str, lines: Sequence[Line], known: Snapshot) -> tuple[str, list[str], list[list[str]]]:
    """Title, headings and cells of a report in the file's language, for a terminal. ``name`` is one of ``KEYS`` or
    ``by_person``, ``by_rule``."""
    words = _Words(known)
    columns = words.columns()[name]
    shown = [line for line in lines if name != "stages" or line["semantic"] == "P"]
    heads = [words.say(f"report.{heading}") for heading, _ in columns]
    return words.say(f"report.title.{name}"), heads, [[cell(line) for _, cell in columns] for line in shown]


class _Words:
    """How cells are worded. ``known`` has the language and the zone."""

    def __init__(self, known: Snapshot) -> None:
        self.known = known

    def say(self, key: str, **values: Any) -> str:
        return texts.phrase(self.known.language, key, **values)

    def columns(self) -> Mapping[str, Sequence[tuple[str, Callable[[Line], str]]]]:
        """Heading and cell of every column of every report."""
        deadline = ("deadline", self.moment("deadline"))
        first = ("first_deadline", self.moment("first_deadline"))
        task, owner, deal = ("task", self.task), ("owner", self.text("owner")), ("deal", self.text("deal"))
        moved = (("by_us", self.text("by_us")), ("by_people", self.text("by_people")), ("done", self.text("done")))
        kept = (("kept_first", self.text("kept_first")), ("kept_last", self.text("kept_last")))
        return {
            "load": (
                ("department", lambda line: line["department"] or self.say("report.no_department")),
                ("employee", self.text("user")),
                ("open", self.text("open")),
                ("overdue", self.text("overdue")),
                ("today", self.text("today")),
                ("next", self.planned),
            ),
            "overdue": (
                task,
                owner,
                ("supervisor", self.text("supervisor")),
                ("age", self.hours("age_hours")),
                ("moves", self.text("moves")),
                first,
                deal,
            ),
            "today": (deadline, task, owner, ("supervisor", self.text("supervisor")), deal),
            "stages": (
                ("funnel", self.text("funnel")),
                ("stage", self.text("stage")),
                ("deals", self.text("deals")),
                ("median", self.hours("median_hours")),
                ("p90", self.hours("p90_hours")),
                ("limit", self.limit),
                ("over", lambda line: str(line["over_limit"]) if line["limit"] else "—"),
            ),
            "path": (
                ("funnel", self.text("funnel")),
                ("stage", self.text("stage")),
                ("entered", self.moment("entered")),
                ("left", self.moment("left")),
                ("lasted", self.hours("hours")),
                (
                    "moved_by",
                    lambda line: self.say("report.by_service") if line["by_service"] else line["moved_by_name"],
                ),
            ),
            "moves": (
                task,
                owner,
                ("by_us", self.text("moves_by_us")),
                ("by_people", self.text("moves_by_people")),
                first,
                deadline,
            ),
            "by_person": (owner, *moved, *kept),
            "by_rule": (("rule", lambda line: line["rule_id"] or self.say("report.no_rule")), *moved, *kept),
        }

    def text(self, key: str) -> Callable[[Line], str]:
        return lambda line: "" if line[key] is None else str(line[key])

    def task(self, line: Line) -> str:
        return f"{line['task_id']} {line['title']}"

    def planned(self, line: Line) -> str:
        """The days ahead that something is due on: ``пт 13: 3, пн 16: 1``."""
        ahead = sorted(line["by_day"].items())[1:]
        days = [(date.fromisoformat(day), count) for day, count in ahead if count]
        return ", ".join(f"{texts.date_text(self.known.language, day, 'EEE d')}: {count}" for day, count in days)

    def limit(self, line: Line) -> str:
        return duration_text(self.known.language, Duration(*line["limit"])) if line["limit"] else ""

    def moment(self, key: str) -> Callable[[Line], str]:
        def cell(line: Line) -> str:
            return "" if line[key] is None else f"{line[key]:%Y-%m-%d %H:%M}"

        return cell

    def hours(self, key: str) -> Callable[[Line], str]:
        return lambda line: span_text(self.known.language, line[key])


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
