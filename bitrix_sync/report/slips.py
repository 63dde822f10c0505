"""Reports on how deadlines slip: which open tasks were moved, by whom, whose deadlines slip most."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from bitrix_sync.report.choice import ALL, Selection
from bitrix_sync.report.context import ReportContext, scene
from bitrix_sync.report.declaration import (
    DEADLINE,
    FIRST_DEADLINE,
    OWNER,
    TASK,
    WHAT,
    WHEN,
    WHO,
    Column,
    Form,
    Line,
    Report,
)
from bitrix_sync.report.tasks import task_line
from bitrix_sync.store import Store, queries


def moves(store: Store, *, now: datetime, limit: int | None = None, chosen: Selection = ALL) -> list[Line]:
    """Open tasks whose deadline was moved by sweeps or people, those moved most first: first deadline against last.
    With a period: those that were moved in it, with all their moves."""
    with scene(store, now) as here:
        movers: dict[int, list[int]] = {}
        for row in queries.movers(here.connection, self_id=here.known.company.self_id):
            movers.setdefault(row.task_id, []).append(row.mover)
        period = chosen.period(here) if chosen.dated else None
        rows = queries.slipped_tasks(here.connection, only=chosen.tasks, period=period, limit=limit)
        lines = [task_line(here, row) for row in rows]
        for line in lines:
            line["mover_ids"] = list(dict.fromkeys(movers.get(line["task_id"], ())))
            line["movers"] = ", ".join(here.marked_name(user) for user in line["mover_ids"])
    return lines


def slips_by_person(store: Store, *, now: datetime, chosen: Selection = ALL) -> list[Line]:
    """Whose deadlines slip most in the period, by default the last ``PERIOD``: moves by sweeps and by people, and of
    the tasks done, how many by their first and by their last deadline. Those with most moves first."""
    with scene(store, now) as here:
        lines = _slips(here, "owner_id", chosen)
        for line in lines:
            line["owner"] = here.name(line["owner_id"])
            line["department"] = here.department(line["owner_id"])[1]
    return lines


def slips_by_rule(store: Store, *, now: datetime, chosen: Selection = ALL) -> list[Line]:
    """The same by rule; "" are tasks that no rule made."""
    with scene(store, now) as here:
        return _slips(here, "rule_id", chosen)


def _slips(here: ReportContext, key: str, chosen: Selection) -> list[Line]:
    since, until = chosen.period(here)
    found: dict[Any, Line] = {}

    def line(row: Row[Any]) -> Line:
        name = getattr(row, key)
        fresh = {key: name, "by_us": 0, "by_people": 0, "total": 0, "done": 0, "by_service": 0}
        fresh |= dict.fromkeys(KEPT, 0)
        return found.setdefault(name, fresh)

    for row in queries.slips_between(here.connection, since, until, only=chosen.tasks):
        line(row)["by_people" if row.by == "people" else "by_us"] += row.slips
    self_id = here.known.company.self_id
    for row in queries.kept_between(here.connection, since, until, self_id=self_id, only=chosen.tasks):
        one = line(row)
        one["done"] += row.done
        one["by_service"] += row.by_service
        one["kept_first"] += row.first
        one["kept_last"] += row.last
    for one in found.values():
        one["by_us"] = max(one["by_us"], 0)
        one["total"] = one["by_us"] + one["by_people"]
    return sorted(found.values(), key=lambda one: (-one["total"], -one["done"], one[key]))


BY_US, BY_PEOPLE = Column("by_us", Form.NUMBER), Column("by_people", Form.NUMBER)
KEPT = ("kept_first", "kept_last")
CLOSED = Column("by_service", Form.COUNT, "closed_by_service")
"""What the service itself closed: beside what people did, never among it."""


TAKES = (*WHEN, *WHO, *WHAT)


def _counted(name: str, rows: Callable[..., list[Line]], who: Column) -> Report:
    return Report(
        name,
        rows,
        keys=(),
        takes=TAKES,
        columns=(
            who,
            BY_US,
            BY_PEOPLE,
            Column("done", Form.NUMBER),
            *(Column(key, Form.NUMBER) for key in KEPT),
            CLOSED,
        ),
        page=(
            who,
            Column("bar", Form.BAR, "moves"),
            BY_US,
            BY_PEOPLE,
            *(Column(key, Form.OF_DONE) for key in KEPT),
            CLOSED,
        ),
    )


BY_PERSON = _counted("by_person", slips_by_person, OWNER)
BY_RULE = _counted("by_rule", slips_by_rule, Column("rule_id", Form.RULE, "rule", empty="report.no_rule"))
_MOVED = (
    Column("moves_by_us", Form.COUNT, "by_us"),
    Column("moves_for_absence", Form.COUNT, "for_absence"),
    Column("moves_by_people", Form.COUNT, "by_people"),
)
MOVES = Report(
    "moves",
    moves,
    keys=("task_id", "title", "rule", "owner_id", "owner", "deal_id", "deal", "moves_by_us", "moves_by_people",
          "moves_for_absence", "first_deadline", "deadline", "slip_hours", "mover_ids", "movers"),
    takes=TAKES,
    columns=(TASK, OWNER, *_MOVED, Column("movers"), FIRST_DEADLINE, DEADLINE),
    page=(Column("rule", Form.TASK_OF_RULE, "task"), OWNER, *_MOVED, Column("movers"),
          FIRST_DEADLINE, DEADLINE, Column("slip_hours", Form.SLIP, "slip")),
    beside=(BY_PERSON, BY_RULE),
)  # fmt: skip
REPORTS = (MOVES,)
