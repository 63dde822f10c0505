"""The overview: what a manager asks first, answered from the reports. Each answer is a dict for its card."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any

from bitrix_sync.model.facts import LOST, PROGRESS, WON
from bitrix_sync.model.keys import SlotId
from bitrix_sync.report import Present
from bitrix_sync.rules.deadlines import counted
from bitrix_sync.rules.model import Deadline, Duration
from bitrix_sync.words import texts
from webhooks.page_charts import Day, Part, bar, column, days, stay, strip
from webhooks.page_show import Show

Answer = dict[str, Any]

ROWS = 6
"""Lines of a card."""
OVERLOAD_FROM, OVERLOAD_SHARE = 5, 1.5
"""Overloaded on a day: so many tasks at least, and so many times the average of those who have any."""


def next_day(show: Show) -> date:
    """The working day after today."""
    return show.known.calendar.next_working(show.now.date(), inclusive=False)


def overloaded(lines: list[dict[str, Any]], day: date) -> tuple[set[int], float]:
    """Who is overloaded on the day, and the average. What is overdue now must be done that day too. Who has a room is
    overloaded beyond it; only of the others the average tells."""
    loads = {line["user_id"]: burden(line, day) for line in lines}
    busy = [load for load in loads.values() if load]
    average = sum(busy) / len(busy) if busy else 0.0
    rooms = {line["user_id"]: line["room"] for line in lines}
    beyond = {user for user, load in loads.items() if rooms[user] is not None and load > rooms[user]}
    usual = max(OVERLOAD_FROM, OVERLOAD_SHARE * average)
    return beyond | {user for user, load in loads.items() if rooms[user] is None and load >= usual}, average


def burden(line: dict[str, Any], day: date) -> int:
    """Tasks due on the day and those overdue now."""
    return int(line["by_day"].get(day.isoformat(), 0)) + int(line["overdue"])


def tomorrow(show: Show, lines: list[dict[str, Any]]) -> Answer:
    """Who is overloaded on the next working day."""
    day = next_day(show)
    marked, average = overloaded(lines, day)
    busiest = sorted((line for line in lines if burden(line, day)), key=lambda line: -burden(line, day))[:ROWS]
    most = burden(busiest[0], day) if busiest else 0
    return {
        "day": day,
        "is_tomorrow": day == show.now.date() + timedelta(days=1),
        "average": round(average, 1),
        "anybody": bool(marked),
        "rows": [
            {
                "user_id": line["user_id"],
                "user": line["user"],
                "total": burden(line, day),
                "due": line["by_day"].get(day.isoformat(), 0),
                "late": line["overdue"],
                "overloaded": line["user_id"] in marked,
                "bar": load_bar(show, line, day, most),
            }
            for line in busiest
        ],
    }


def load_bar(show: Show, line: dict[str, Any], day: date, most: int) -> Any:
    """A bar of what is due on the day and what is overdue now."""
    due, late = line["by_day"].get(day.isoformat(), 0), line["overdue"]
    due_label = f"{show.t('page.home.due_that_day')}: {due}"
    late_label = f"{show.t('page.home.late_now')}: {late}"
    parts = (Part(due, "fill", due_label), Part(late, "late", late_label))
    return bar(parts, of=most, label=f"{due_label}, {late_label}")


def stuck(show: Show, deals: Present) -> Answer:
    """Deals over their stage's limit; without limits in the rules, those that have stayed longest."""
    shown = [deal for deal in deals.lines if deal["over"] or not deals.over]
    limits = show.known.limits
    return {
        "limits": bool(limits),
        "over": deals.over,
        "rows": [
            {**deal, "limit": [limits[deal["stage_id"]].amount, limits[deal["stage_id"]].unit]}
            if deal["over"]
            else deal | {"limit": None}
            for deal in shown[:ROWS]
        ],
    }


def slips(show: Show, people: list[dict[str, Any]]) -> Answer:
    """Whose deadlines slipped most."""
    moved = [line for line in people if line["total"]][:ROWS]
    most = moved[0]["total"] if moved else 0
    return {"rows": [line | {"bar": slip_bar(show, line, most)} for line in moved]}


def slip_bar(show: Show, line: dict[str, Any], most: int) -> Any:
    """A bar of moves by sweeps and by people."""
    us = f"{show.t('page.moves.by_us')}: {line['by_us']}"
    people = f"{show.t('page.moves.by_people')}: {line['by_people']}"
    return bar(
        (Part(line["by_us"], "fill", us), Part(line["by_people"], "people", people)), of=most, label=f"{us}, {people}"
    )


def sweeps(lines: list[dict[str, Any]]) -> Answer:
    """Whether the last evening's (and morning's) sweep ran; the evening comes first."""
    return {"rows": sorted(lines, key=lambda line: line["name"] != "evening")}


def sweep_rows(show: Show, lines: list[dict[str, Any]]) -> list[Answer]:
    """Past sweeps, named by their day."""
    rows: list[Answer] = []
    for line in lines:
        slot = SlotId.parse(line["slot"])
        title = f"{show.day(slot.day)}, {show.t(f'page.sweep.{slot.name}').lower()}"
        rows.append(line | {"title": title if slot.run == 1 else f"{title} ({slot.run})"})
    return rows


def load_table(show: Show, lines: list[dict[str, Any]]) -> Answer:
    """The load by department and person, a cell for each day."""
    dates = sorted({date.fromisoformat(day) for line in lines for day in line["by_day"]})
    day = next_day(show)
    marked, average = overloaded(lines, day)
    most = max((count for line in lines for count in (*line["by_day"].values(), line["overdue"])), default=0)
    columns: list[Answer] = [
        {
            "day": one,
            "label": show.weekday(one),
            "kind": "today" if one == show.now.date() else "next" if one == day else "",
            "off": not show.known.calendar.is_working(one),
        }
        for one in dates
    ]
    departments: dict[str, list[Answer]] = {}
    for line in lines:
        late = f"{show.t('page.home.late_now')}: {line['overdue']}"
        departments.setdefault(line["department"], []).append(
            line
            | {
                "cells": [one | _cell(show, line, one["day"], most) for one in columns],
                "overloaded": line["user_id"] in marked,
                "late_chart": _column(line["overdue"], most, "late", late),
            }
        )
    return {
        "columns": columns,
        "departments": departments,
        "day": day,
        "average": round(average, 1),
        "rooms": any(line["room"] is not None for line in lines),
    }


def _cell(show: Show, line: dict[str, Any], day: date, most: int) -> Answer:
    name = day.isoformat()
    count, free, away = line["by_day"].get(name, 0), line["free_by_day"].get(name), name in line["away_days"]
    note = show.t("page.load.away") if away else "" if free is None else show.t("page.load.free", free=free)
    label = f"{show.day(day)}: {count}{', ' if note else ''}{note}"
    return {
        "count": count,
        "chart": _column(count, most, "fill", label),
        "free": free,
        "away": away,
        "note": note,
        "full": free == 0 and not away,
    }


def _column(count: int, most: int, kind: str, label: str) -> Any:
    return column(count, of=most, kind=kind, label=label) if count else ""


def day_chart(show: Show, line: dict[str, Any]) -> Any:
    """One person's deadlines by day: what is overdue first."""
    shown = [(date.fromisoformat(day), count) for day, count in sorted(line["by_day"].items())]
    columns = [Day(show.t("page.load.late"), line["overdue"], "late", show.t("page.home.late_now"))]
    columns += [
        Day(
            show.t("report.today") if day == show.now.date() else show.weekday(day),
            count,
            "today" if day == show.now.date() else "",
            f"{show.day(day)}: {show.count(count, 'tasks')}",
        )
        for day, count in shown
    ]
    columns.append(Day(show.t("page.load.later"), line["later"], "later", show.t("page.load.later")))
    said = ", ".join(f"{one.label}: {one.value}" for one in columns)
    return days(columns, label=said)


def week_charts(show: Show, lines: list[dict[str, Any]]) -> list[Answer]:
    """A small chart for each figure of the weeks; of what nobody knows there is none."""
    found: list[Answer] = []
    for key, kind in (("kept_share", ""), ("late", "late"), ("moves", ""), ("idle", "later"), ("over_limit", "late"),
                      ("undone", "late"), ("amount_stuck", "later")):  # fmt: skip
        columns = [
            Day(
                texts.date_text(show.language, line["from"], "dd.MM"),
                _week_value(key, line[key]),
                kind,
                f"{show.week(line)}: {_week_words(show, key, line)}",
                _week_short(show, key, line[key]),
            )
            for line in lines
        ]
        if any(line[key] for line in lines) or key in ("kept_share", "late", "moves"):
            said = f"{show.t(f'page.week.{key}')}: " + ", ".join(f"{one.label} {one.text}" for one in columns)
            found.append({"key": key, "chart": days(columns, label=said)})
    return found


def _week_value(key: str, value: Any) -> int:
    return round((value or 0) * 100) if key == "kept_share" else round(value or 0)


def _week_short(show: Show, key: str, value: Any) -> str:
    """What stands over a column."""
    if value is None:
        return "–"
    if key == "kept_share":
        return f"{round(value * 100)}%"
    return compact(show, value) if key == "amount_stuck" else str(value)


def compact(show: Show, amount: float) -> str:
    """An amount in four signs or so: ``1,2M``, ``340k``."""
    if amount >= 1_000_000:
        return show.t("page.week.millions", number=round(amount / 1_000_000, 1))
    return show.t("page.week.thousands", number=round(amount / 1000)) if amount >= 1000 else str(round(amount))


def _week_words(show: Show, key: str, line: dict[str, Any]) -> str:
    if key == "kept_share":
        return f"{show.share(line[key])} ({line['kept']}/{line['fell_due']})"
    return show.money(line[key], line["currency"]) if key == "amount_stuck" else str(line[key])


def kept_of(line: dict[str, Any] | None) -> Answer:
    """What somebody kept of last week's promises, for a table of people."""
    if line is None:
        return {"due": 0, "kept": 0, "late": 0, "kept_share": None, "share_before": None}
    return {key: line[key] for key in ("due", "kept", "late", "kept_share", "share_before")}


def slip_table(show: Show, lines: list[dict[str, Any]]) -> list[Answer]:
    """Slips of people or rules with their bars; those of nobody are left out."""
    most = max((line["total"] for line in lines), default=0)
    return [line | {"bar": slip_bar(show, line, most)} for line in lines if line["total"] or line["done"]]


def funnel_table(show: Show, lines: list[dict[str, Any]]) -> Answer:
    """One funnel: its stages in progress with bars of deals and of time, and how many deals were closed."""
    here = [line for line in lines if line["semantic"] == PROGRESS]
    limits = {line["stage_id"]: _limit_hours(show, line["limit"]) for line in here}
    scale = _longest([line["p90_hours"] or 0.0 for line in here], limits.values())
    most = max((line["deals"] for line in here), default=0)
    return {
        "name": lines[0]["funnel"],
        "won": _deals(lines, WON),
        "lost": _deals(lines, LOST),
        "stages": [line | _stage_bars(show, line, most, limits[line["stage_id"]], scale) for line in here],
    }


def _longest(stays: list[float], limits: Iterable[float | None]) -> float:
    """The hours at which bars end; a limit far beyond all stays does not count."""
    longest = max(stays, default=0.0)
    return max([longest, *(limit for limit in limits if limit and limit < 2 * longest)])


def _deals(lines: list[dict[str, Any]], semantic: str) -> int:
    return sum(line["deals"] for line in lines if line["semantic"] == semantic)


def _stage_bars(show: Show, line: dict[str, Any], most: int, limit: float | None, scale: float) -> Answer:
    median, slow = line["median_hours"], line["p90_hours"]
    label = f"{show.t('report.median')}: {show.hours(median)}, {show.t('report.p90')}: {show.hours(slow)}"
    return {
        "deals_bar": bar((Part(line["deals"], "fill"),), of=most, label=show.count(line["deals"], "deals")),
        "time": stay(median, slow, limit, of=scale, label=label),
    }


def _limit_hours(show: Show, limit: list[Any] | None) -> float | None:
    """About how long a limit is by the clock: counted from the start of today's hours."""
    if not limit:
        return None
    calendar = show.known.calendar
    day = calendar.next_working(show.now.date(), inclusive=True)
    begin = calendar.moment(day, calendar.start_of(day))
    return (counted(Deadline(offset=Duration(*limit)), begin, calendar) - begin).total_seconds() / 3600


def path_strip(show: Show, path: list[dict[str, Any]]) -> Any:
    """A deal's stays side by side."""
    parts = [
        Part(
            step["hours"],
            f"step{number % 6}" + (" over" if step["over_limit"] else ""),
            f"{step['stage']}: {show.hours(step['hours'])}",
        )
        for number, step in enumerate(path)
        if step["hours"] is not None
    ]
    return strip(parts, label=", ".join(part.label for part in parts)) if parts else ""
