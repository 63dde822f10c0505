"""What was done in a period, by person, department, rule or funnel: how much of it by its promise, how fast."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bitrix_sync.report.choice import ALL, Selection
from bitrix_sync.report.context import ReportContext, scene
from bitrix_sync.report.deals import share_of
from bitrix_sync.report.declaration import WHAT, WHEN, WHO, Column, Form, Line, Report
from bitrix_sync.report.tasks import task_line
from bitrix_sync.store import Store, queries


@dataclass(slots=True)
class _Sum:
    """What was counted under one name; ``hours`` from making to closing."""

    done: int = 0
    kept: int = 0
    late: int = 0
    closed_by_service: int = 0
    moves: int = 0
    hours: list[float] = field(default_factory=list)

    def add(self, row: Any) -> None:
        """A task that was closed. What the service closed is no person's work."""
        if row.by_service:
            self.closed_by_service += 1
            return
        self.done += 1
        if row.promise is not None:
            self.kept += row.closed <= row.promise
            self.late += row.closed > row.promise
        if row.created is not None:
            self.hours.append((row.closed - row.created) / queries.HOUR)

    def line(self, by: str, one: Any, name: str) -> Line:
        """The row."""
        due = self.kept + self.late
        return {
            "by": by,
            "id": one,
            "name": name,
            "done": self.done,
            "kept": self.kept,
            "late": self.late,
            "kept_share": round(self.kept / due, 4) if due else None,
            "closed_by_service": self.closed_by_service,
            "moves": self.moves,
            "median_hours": share_of(sorted(self.hours), 0.5),
        }


def done(store: Store, *, now: datetime, chosen: Selection = ALL) -> list[Line]:
    """A row for each person (department, rule, funnel: ``chosen.by``) who closed tasks in the period, or whose
    deadlines were moved in it; the most done first. ``kept`` and ``late`` are those done by, and after, their promise;
    tasks that never had a deadline are neither. Somebody in several departments counts in each. ``id`` is None for
    tasks of nobody, no department, no rule, no deal."""
    with scene(store, now) as here:
        since, until = chosen.period(here)
        sums: dict[Any, _Sum] = {}
        self_id = here.known.company.self_id
        for row in queries.closings_between(here.connection, since, until, self_id=self_id, only=chosen.tasks):
            for one in _under(here, chosen.by, row):
                sums.setdefault(one, _Sum()).add(row)
        for row in queries.slips_between(here.connection, since, until, only=chosen.tasks):
            for one in _under(here, chosen.by, row):
                sums.setdefault(one, _Sum()).moves += row.slips
        lines = [one.line(chosen.by, name, _name(here, chosen.by, name)) for name, one in sums.items()]
    shown = [line for line in lines if line["done"] or line["moves"] or line["closed_by_service"]]
    return sorted(shown, key=lambda line: (-line["done"], -line["moves"], line["name"], str(line["id"])))


def _under(here: ReportContext, by: str, row: Any) -> Iterable[Any]:
    """Under which ids a row counts."""
    match by:
        case "person":
            return (row.owner_id or None,)
        case "rule":
            return (row.rule_id or None,)
        case "funnel":
            return (row.funnel_id,)
        case _:
            return here.departments(row.owner_id) or (None,)


def _name(here: ReportContext, by: str, one: Any) -> str:
    if one is None:
        return ""
    match by:
        case "person":
            return here.name(one)
        case "rule":
            return here.known.rule_title(one)
        case "funnel":
            return here.known.funnel_name(one)
        case _:
            return here.known.company.departments[one].name


def behind(store: Store, what: str, *, now: datetime, chosen: Selection = ALL) -> list[Line]:
    """The tasks behind a number: ``due``, whose promise fell into the period and is past; those of them that were done
    by it (``kept``) and those that were not (``late``); ``done``, closed in the period by people."""
    with scene(store, now) as here:
        since, until = chosen.period(here)
        self_id, only = here.known.company.self_id, chosen.tasks
        if what == "done":
            rows = queries.tasks_closed(here.connection, since, until, self_id=self_id, only=only)
            return [task_line(here, row) for row in rows if not row.by_service]
        end = min(until, here.now)
        rows = queries.tasks_promised(here.connection, since, end, self_id=self_id, only=only)
        lines = [task_line(here, row) for row in rows]
    return lines if what == "due" else [line for line in lines if line["kept"] == (what == "kept")]


BEHIND = ("due", "kept", "late", "done")
"""What ``behind`` can tell."""
DONE = Report(
    "done",
    done,
    keys=("id", "name", "done", "kept", "late", "kept_share", "closed_by_service", "moves", "median_hours"),
    takes=(*WHEN, *WHO, *WHAT, "by"),
    columns=(
        Column("name", Form.COUNTED, "counted"),
        Column("done", Form.NUMBER),
        Column("kept", Form.NUMBER),
        Column("late", Form.NUMBER, "done_late"),
        Column("kept_share", Form.SHARE),
        Column("median_hours", Form.HOURS, "median_to_close"),
        Column("moves", Form.NUMBER),
        Column("closed_by_service", Form.COUNT),
    ),
)
REPORTS = (DONE,)
