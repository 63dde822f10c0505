"""Reports on deals: how long they stay in each stage, which are over the limit, every movement of one of them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import nsmallest
from typing import Any

from bitrix_sync.errors import UserError
from bitrix_sync.model.facts import PROGRESS, WON, Stage
from bitrix_sync.model.items import Item
from bitrix_sync.model.operations import Trace
from bitrix_sync.report.choice import ALL, Selection
from bitrix_sync.report.context import ReportContext, hours_of, scene
from bitrix_sync.report.declaration import FUNNEL, Column, Form, Line, Report
from bitrix_sync.report.snapshot import unpack
from bitrix_sync.report.tasks import task_line
from bitrix_sync.rules.deadlines import counted
from bitrix_sync.rules.model import Deadline
from bitrix_sync.store import Flags, Store, queries
from bitrix_sync.store.mapping import from_row

HOUR = timedelta(hours=1)
HISTORY = timedelta(days=180)
"""Stays that began earlier, and have ended, no longer say how long a stage takes today."""


@dataclass(frozen=True, slots=True)
class Present:
    """Deals in progress: how many there are, how many are over their stage's limit, and lines of them."""

    deals: int
    over: int
    lines: list[Line]


def stages(store: Store, *, now: datetime, chosen: Selection = ALL) -> list[Line]:
    """A row for each stage of each funnel, in the portal's order: deals now, median and 90th percentile of hours (by
    the clock) that deals stay, how many are over the limit.

    Counted are stays of the last ``HISTORY`` that have ended and those that go on, as long as they have lasted. Final
    stages have no time: a closed deal stays for ever.
    """
    with scene(store, now) as here:
        return [line for line in _stages(here, _Now(here)) if chosen.has_funnel(line["funnel_id"])]


def deals_in_stages(store: Store, *, now: datetime, limit: int | None = None) -> Present:
    """Deals in progress and how long each has been in its stage: those over the stage's limit first, by how long they
    are over it, then the longest stays; ``limit`` cuts the lines."""
    with scene(store, now) as here:
        return _present(here, _Now(here), limit)


def stages_and_deals(
    store: Store, *, now: datetime, limit: int | None, chosen: Selection = ALL
) -> tuple[list[Line], Present]:
    """Both, in one look."""
    with scene(store, now) as here:
        seen = _Now(here, chosen)
        lines = [line for line in _stages(here, seen) if chosen.has_funnel(line["funnel_id"])]
        return lines, _present(here, seen, limit)


class _Now:
    """Deals in progress by stage, with their present visits; parted into those over the stage's limit, and the rest."""

    def __init__(self, here: ReportContext, chosen: Selection = ALL) -> None:
        rows = queries.deals_now(here.connection)
        self.rows = [row for row in rows if chosen.has_funnel(row.funnel_id) and chosen.has(row.responsible_id)]
        self.over: dict[str, list[Any]] = {}
        self.within: dict[str, list[Any]] = {}
        last_over = _last_over(here, self.rows)
        for row in self.rows:
            last = last_over.get(row.stage_id)
            late = last is not None and row.entered is not None and row.entered <= last
            (self.over if late else self.within).setdefault(row.stage_id, []).append(row)

    def of(self, stage_id: str) -> list[Any]:
        """All of a stage."""
        return [*self.over.get(stage_id, ()), *self.within.get(stage_id, ())]


def _stages(here: ReportContext, seen: _Now) -> list[Line]:
    lasted: dict[str, list[float]] = {}
    for stage_id, hours in queries.stays_since(here.connection, here.now - HISTORY):
        lasted.setdefault(stage_id, []).append(hours)
    closed = {row.stage_id: row.deals for row in queries.closed_by_stage(here.connection)}
    known = list(here.known.stages)
    names = {stage.id for stage in known}
    vanished = {
        stage_id: Stage(stage_id, stage_id, rows[0].funnel_id)
        for stage_id, rows in (seen.over | seen.within).items()
        if stage_id not in names
    }
    return [
        _stage_line(here, stage, seen, lasted.get(stage.id, []), closed.get(stage.id, 0))
        for stage in (*known, *vanished.values())
    ]


def _stage_line(here: ReportContext, stage: Stage, seen: _Now, lasted: list[float], closed: int) -> Line:
    """``lasted``: hours of the stays that have ended; ``closed``: deals that ended there."""
    going, rows, limit = stage.semantic == PROGRESS, seen.of(stage.id), here.known.limits.get(stage.id)
    present = [(here.now - row.entered) / HOUR for row in rows if row.entered is not None]
    hours = sorted([*lasted, *present]) if going else []
    return {
        "funnel_id": stage.funnel_id,
        "funnel": here.known.funnel_name(stage.funnel_id),
        "stage_id": stage.id,
        "stage": stage.name,
        "semantic": stage.semantic,
        "deals": len(rows) if going else closed,
        "median_hours": share_of(hours, 0.5),
        "p90_hours": share_of(hours, 0.9),
        "over_limit": len(seen.over.get(stage.id, ())),
        "limit": [limit.amount, limit.unit] if limit else None,
        "stays": len(hours),
    }


def share_of(hours: Sequence[float], share: float) -> float | None:
    """The value below which that share of the rising ``hours`` lies, between neighbours in proportion."""
    if not hours:
        return None
    place = share * (len(hours) - 1)
    below = int(place)
    above = min(below + 1, len(hours) - 1)
    return round(hours[below] + (hours[above] - hours[below]) * (place - below), 2)


def _present(here: ReportContext, seen: _Now, limit: int | None) -> Present:
    latest = [_deal_line(here, row, over=True) for late in seen.over.values() for row in _longest(late, limit)]
    lines = sorted(latest, key=lambda one: (-one["over_hours"], one["deal_id"]))[:limit]
    within = [row for rows in seen.within.values() for row in rows]
    rest = None if limit is None else limit - len(lines)
    lines += [_deal_line(here, row, over=False) for row in _longest(within, rest)]
    return Present(len(seen.rows), len(seen.rows) - len(within), lines)


def _longest(rows: Sequence[Any], limit: int | None) -> list[Any]:
    """Those that came first, ``limit`` of them."""

    def place(row: Any) -> tuple[bool, Any, int]:
        return row.entered is None, row.entered, row.id

    return sorted(rows, key=place) if limit is None else nsmallest(limit, rows, key=place)


def _deal_line(here: ReportContext, row: Any, *, over: bool) -> Line:
    ended = (
        counted(Deadline(offset=here.known.limits[row.stage_id]), row.entered, here.known.calendar) if over else None
    )
    return {
        "deal_id": row.id,
        "title": row.title,
        "funnel_id": row.funnel_id,
        "funnel": here.known.funnel_name(row.funnel_id),
        "stage_id": row.stage_id,
        "stage": here.known.stage_name(row.stage_id),
        "owner_id": row.responsible_id,
        "owner": here.name(row.responsible_id),
        "entered": here.local(row.entered),
        "hours": hours_of(here.now - row.entered) if row.entered else None,
        "over": over,
        "over_since": here.local(ended),
        "over_hours": hours_of(here.now - ended) if ended else None,
    }


def _last_over(here: ReportContext, rows: Sequence[Any]) -> dict[str, datetime]:
    """By stage with a limit, the latest entry that is over it: whoever entered earlier is over it too."""
    entries: dict[str, list[datetime]] = {}
    for row in rows:
        if row.entered is not None and row.stage_id in here.known.limits:
            entries.setdefault(row.stage_id, []).append(row.entered)
    found: dict[str, datetime] = {}
    for stage_id, moments in entries.items():
        moments.sort()
        if latest := last_over(here, stage_id, moments, here.now):
            found[stage_id] = latest
    return found


def last_over(here: ReportContext, stage_id: str, moments: Sequence[datetime], at: datetime) -> datetime | None:
    """Of the rising moments of entering a stage with a limit the last that is over it at a moment."""
    limit = Deadline(offset=here.known.limits[stage_id])
    within = bisect_left(moments, True, key=lambda entered: at <= counted(limit, entered, here.known.calendar))
    return moments[within - 1] if within else None


# --- one deal --------------------------------------------------------------------------------------------------------


def deal_path(store: Store, deal_id: int, *, now: datetime) -> Line | None:
    """One deal: what it is, its ``path`` (every movement, oldest first), its ``tasks``, and ``traces`` of what rules
    decided about it, oldest first. None for a deal that was never seen."""
    with scene(store, now) as here:
        deal = queries.deal(here.connection, deal_id)
        visits = queries.visits_of_deal(here.connection, deal_id)
        if deal is None and not visits:
            return None
        return {
            "deal_id": deal_id,
            **(_GONE_DEAL | {"title": f"#{Item.of(deal_id)}"} if deal is None else _deal(here, deal)),
            "path": _path(here, deal_id, visits),
            **_tasks(here, deal_id),
        }


def _tasks(here: ReportContext, deal_id: int) -> Line:
    """Its ``tasks``, each with the ``history`` of its deadline, and the ``traces`` of what was decided about it."""
    rows = queries.tasks_of_deal(here.connection, deal_id, self_id=here.known.company.self_id)
    traces = [from_row(Trace, row) for row in queries.traces_of_deal(here.connection, deal_id)]
    slips: dict[int, list[Any]] = {}
    for slip in queries.slips_of_deal(here.connection, deal_id):
        slips.setdefault(slip.task_row, []).append(slip)
    tasks = [task_line(here, row) | {"history": _history(here, row, slips.get(row.id, ()), traces)} for row in rows]
    return {"tasks": tasks, "traces": traces}


def _history(here: ReportContext, task: Any, slips: Sequence[Any], traces: Sequence[Trace]) -> list[Line]:
    """Every change of a task's deadline, oldest first: when, from when to when, ``by`` whom or what, and of a sweep the
    ``trace`` of why it chose that day."""
    own = [one for one in traces if (one.rule_id, one.visit_id, one.verdict) == (task.rule_id, task.visit_id, "swept")]
    by_sweep = {one.data.get("sweep"): one for one in own}
    return [
        {
            "at": here.local(slip.at),
            "before": here.local(slip.before),
            "after": here.local(slip.after),
            "by": slip.by,
            "sweep": slip.sweep,
            "mover_id": slip.mover if slip.mover != here.known.company.self_id else None,
            "mover": here.name(slip.mover) if slip.mover != here.known.company.self_id else "",
            "trace": by_sweep.get(slip.sweep) if slip.by == "sweep" else None,
        }
        for slip in slips
    ]


_GONE_DEAL: Line = {
    "gone": True,
    "closed": False,
    "won": False,
    "funnel": "",
    "stage": "",
    "owner_id": None,
    "owner": "",
}


def _deal(here: ReportContext, deal: Any) -> Line:
    return {
        "title": deal.title,
        "gone": deal.gone,
        "closed": deal.semantic != PROGRESS,
        "won": deal.semantic == WON,
        "funnel": here.known.funnel_name(deal.funnel_id),
        "stage": here.known.stage_name(deal.stage_id),
        "owner_id": deal.responsible_id,
        "owner": here.name(deal.responsible_id),
    }


def _path(here: ReportContext, deal_id: int, visits: Sequence[Any]) -> list[Line]:
    """Each visit, and whether the service moved the deal there from the one before."""
    by_service = queries.moves_by_service(here.connection, deal_id)
    before = [None, *(visit.id for visit in visits)]
    after = [*(visit.entered for visit in visits[1:]), None]
    return [
        {"number": number, **_movement(here, visit, left), "by_service": before[number] in by_service}
        for number, (visit, left) in enumerate(zip(visits, after, strict=True))
    ]


def _movement(here: ReportContext, visit: Any, left: datetime | None) -> Line:
    """A visit; ``left``: when the next one began."""
    ended = here.now if left is None and visit.semantic == PROGRESS else left
    return {
        "visit_id": visit.id,
        "funnel_id": visit.funnel_id,
        "funnel": here.known.funnel_name(visit.funnel_id),
        "stage_id": visit.stage_id,
        "stage": here.known.stage_name(visit.stage_id),
        "semantic": visit.semantic,
        "entered": here.local(visit.entered),
        "left": here.local(left),
        "hours": hours_of(ended - visit.entered) if ended else None,
        "over_limit": _over(here, visit, ended),
        "moved_by": visit.moved_by,
        "moved_by_name": here.name(visit.moved_by),
    }


def _over(here: ReportContext, visit: Any, ended: datetime | None) -> bool:
    limit = here.known.limits.get(visit.stage_id)
    if limit is None or ended is None:
        return False
    return bool(ended > counted(Deadline(offset=limit), visit.entered, here.known.calendar))


def path(store: Store, *, now: datetime, deal: int) -> list[Line]:
    """Every movement of one deal, oldest first. UserError if it was never seen."""
    found = deal_path(store, deal, now=now)
    if found is None:
        raise UserError(f"deal {deal} was never seen; give the number that the portal shows in its address")
    return list(found["path"])


PATH = Report(
    "path",
    path,
    keys=("visit_id", "funnel_id", "funnel", "stage_id", "stage", "semantic", "entered", "left", "hours", "over_limit",
          "moved_by", "moved_by_name", "by_service"),
    columns=(
        FUNNEL,
        Column("stage"),
        Column("entered", Form.MOMENT),
        Column("left", Form.MOMENT),
        Column("hours", Form.HOURS, "lasted"),
        Column("moved_by_name", Form.MOVER, "moved_by"),
    ),
)  # fmt: skip
STAGES = Report(
    "stages",
    stages,
    keys=("funnel_id", "funnel", "stage_id", "stage", "semantic", "deals", "median_hours", "p90_hours", "over_limit",
          "limit", "stays"),
    columns=(
        FUNNEL,
        Column("stage"),
        Column("deals", Form.NUMBER),
        Column("median_hours", Form.HOURS, "median"),
        Column("p90_hours", Form.HOURS, "p90"),
        Column("limit", Form.LIMIT),
        Column("over_limit", Form.OVER, "over"),
    ),
    shows=lambda line: line["semantic"] == PROGRESS,
    takes=("funnel",),
    instead={"deal": PATH},
)  # fmt: skip


REPORTS = (STAGES,)


# --- finding ---------------------------------------------------------------------------------------------------------


def search(store: Store, words: str, *, limit: int) -> dict[str, list[Line]]:
    """``people`` by a part of their name, ``deals`` in progress by a part of their title, without regard to case."""
    wanted = words.strip().casefold()
    with store.reading() as connection:
        known = unpack(Flags.snapshot.read(connection))
        titles = queries.deal_titles(connection) if wanted else ()
    people = [user for user in known.company.users.values() if wanted and wanted in user.name.casefold()]
    return {
        "people": [
            {"user_id": user.id, "user": user.name, "active": user.active}
            for user in sorted(people, key=lambda user: (not user.active, user.name))[:limit]
        ],
        "deals": [{"deal_id": row.id, "title": row.title} for row in titles if wanted in row.title.casefold()][:limit],
    }
