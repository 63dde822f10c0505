"""The weeks side by side: promises kept, moves, what stood still at each week's end, and what it was worth."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from bitrix_sync.model.keys import Purpose
from bitrix_sync.model.money import worth
from bitrix_sync.report.choice import ALL, Selection
from bitrix_sync.report.context import ReportContext, scene
from bitrix_sync.report.deals import last_over
from bitrix_sync.report.declaration import WHEN, WHO, Column, Form, Line, Report
from bitrix_sync.report.idle import idle
from bitrix_sync.store import Store, queries

SHOWN = 9
"""Weeks that are shown unless others are asked for: the running one, and those before it."""
WEEK = timedelta(days=7)
NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Weeks:
    """Weeks from Monday to Sunday: their first days, rising, and the moments between which they lie."""

    first: Sequence[date]
    bounds: Sequence[datetime]

    @classmethod
    def of(cls, here: ReportContext, chosen: Selection = ALL) -> Weeks:
        """Those that the period touches; none is after the running one."""
        last = monday(min(chosen.until or here.today, here.today))
        begin = monday(chosen.since) if chosen.since else last - (SHOWN - 1) * WEEK
        first = [begin + number * WEEK for number in range((last - begin).days // 7 + 1)]
        return cls(first, [here.midnight(day) for day in (*first, *([first[-1] + WEEK] if first else []))])


def monday(day: date) -> date:
    """The Monday of its week."""
    return day - timedelta(days=day.weekday())


def week(store: Store, *, now: datetime, chosen: Selection = ALL) -> list[Line]:
    """A row a week, the oldest first: tasks whose promise fell into it, and is past; how many of them were done by it;
    moves; deals of which it was told that they have no next step (of the running week: that have none now); and at its
    end (of the running one: now) deals over their stage's limit, and what those are worth now."""
    with scene(store, now) as here:
        weeks = Weeks.of(here, chosen)
        lines = _lines(here, weeks, chosen) if weeks.first else []
        running = bool(lines) and lines[-1]["from"] == monday(here.today)
    if running:
        people = replace(chosen, since=None, until=None)
        lines[-1]["idle"] = len(idle(store, now=now, chosen=people))
    return lines


def _lines(here: ReportContext, weeks: Weeks, chosen: Selection) -> list[Line]:
    due, kept, moves = ([0] * (len(weeks.first) + 1) for _ in range(3))
    for row in promises(here, weeks, chosen):
        due[row.part] += row.due
        kept[row.part] += row.kept
    for row in queries.moves_by_part(here.connection, weeks.bounds, only=chosen.tasks):
        moves[row.part] += row.moves
    ends = [min(bound, here.now) for bound in weeks.bounds[1:]]
    stuck = over_limit(here, ends, chosen)
    idle_deals: defaultdict[int, set[int]] = defaultdict(set)
    for deal, user, at in queries.told_of_visits(here.connection, Purpose.IDLE, weeks.bounds[0]):
        if chosen.has(user):
            idle_deals[bisect_right(weeks.bounds, at)].add(deal)
    return [
        {
            "from": day,
            "to": day + WEEK - timedelta(days=1),
            "fell_due": due[number],
            "kept": kept[number],
            "kept_share": round(kept[number] / due[number], 4) if due[number] else None,
            "late": due[number] - kept[number],
            "moves": moves[number],
            "idle": len(idle_deals[number]),
            "over_limit": stuck[number - 1].deals,
            "undone": 0,
            "amount_stuck": here.money(stuck[number - 1].amount),
            "currency": here.known.currency,
        }
        for number, day in enumerate(weeks.first, start=1)
    ]


def promises(here: ReportContext, weeks: Weeks, chosen: Selection) -> Sequence[Any]:
    """By owner and week (``part``, from 1): promises that fell due, and those kept."""
    self_id = here.known.company.self_id
    return queries.promises_by_part(here.connection, weeks.bounds, now=here.now, self_id=self_id, only=chosen.tasks)


def kept_by_person(store: Store, *, now: datetime, chosen: Selection = ALL) -> list[Line]:
    """A row for each owner of tasks whose promise fell into the last whole week or the four before it: fallen due and
    kept in the last, and in the four before together. Whoever kept the least of the last week comes first."""
    with scene(store, now) as here:
        last = monday(min(chosen.until or here.today, here.today)) - WEEK
        first = [last - number * WEEK for number in range(4, -1, -1)]
        weeks = Weeks(first, [here.midnight(day) for day in (*first, last + WEEK)])
        found: dict[int, Line] = {}
        for row in promises(here, weeks, chosen):
            line = found.setdefault(row.owner_id, dict.fromkeys(("due", "kept", "due_before", "kept_before"), 0))
            before = "" if row.part == len(first) else "_before"
            line[f"due{before}"] += row.due
            line[f"kept{before}"] += row.kept
        lines = [
            {
                "owner_id": owner,
                "owner": here.name(owner),
                **line,
                "late": line["due"] - line["kept"],
                "kept_share": line["kept"] / line["due"] if line["due"] else None,
                "share_before": line["kept_before"] / line["due_before"] if line["due_before"] else None,
                "from": last,
                "to": last + WEEK - timedelta(days=1),
            }
            for owner, line in found.items()
            if line["due"]
        ]
    return sorted(lines, key=lambda line: (line["kept_share"], -line["due"], line["owner"], line["owner_id"]))


def numbers(store: Store, *, now: datetime) -> dict[str, float]:
    """Gauges: open tasks whose promise is past, deals over their stage's limit. ``now``: our clock."""
    with scene(store, now) as here:
        (stuck,) = over_limit(here, [here.now])
        return {
            "late": float(queries.count_broken(here.connection, now=here.now)),
            "over_limit": float(stuck.deals),
        }


# --- what stood still ------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Stuck:
    """Deals over their stage's limit, and what they are worth in the account's currency."""

    deals: int = 0
    amount: Decimal = Decimal(0)


def over_limit(here: ReportContext, moments: Sequence[datetime], chosen: Selection = ALL) -> list[Stuck]:
    """What was over its stage's limit at each of the rising moments, by the limits of today."""
    found = [Stuck() for _ in moments]
    if not here.known.limits:
        return found
    rows = queries.stays_in(here.connection, list(here.known.limits), moments[0])
    entries: defaultdict[str, list[datetime]] = defaultdict(list)
    for row in rows:
        entries[row.stage_id].append(row.entered)
    for one in entries.values():
        one.sort()
    latest = {stage: _latest_over(here, stage, known, moments) for stage, known in entries.items()}
    for row in rows:
        first = bisect_left(latest[row.stage_id], row.entered)
        end = len(moments) if row.left is None else bisect_left(moments, row.left)
        if first < end and chosen.has(row.responsible_id):
            amount = worth(row.fields, here.known.currencies) or Decimal(0)
            for stuck in found[first:end]:
                stuck.deals += 1
                stuck.amount += amount
    return found


def _latest_over(
    here: ReportContext, stage: str, entries: Sequence[datetime], moments: Sequence[datetime]
) -> list[datetime]:
    """At each of the rising moments the latest of the rising entries that is over the limit; rising too."""
    shown = [entries[: bisect_right(entries, moment)] for moment in moments]
    return [last_over(here, stage, known, moment) or NEVER for known, moment in zip(shown, moments, strict=True)]


REPORT = Report(
    "week",
    week,
    keys=("from", "to", "fell_due", "kept", "kept_share", "late", "moves", "idle", "over_limit", "undone",
          "amount_stuck", "currency"),
    takes=(*WHEN, *WHO),
    columns=(
        Column("from", Form.WEEK, "week"),
        Column("fell_due", Form.NUMBER),
        Column("kept", Form.NUMBER),
        Column("kept_share", Form.SHARE),
        Column("late", Form.NUMBER, "not_kept"),
        Column("moves", Form.NUMBER),
        Column("idle", Form.NUMBER),
        Column("over_limit", Form.NUMBER, "over"),
        Column("undone", Form.NUMBER),
        Column("amount_stuck", Form.MONEY),
    ),
)  # fmt: skip
REPORTS = (REPORT,)
