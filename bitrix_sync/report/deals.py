"""Reports on deals: how long they stay in each stage, which are over the limit, every movement of one of them."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any

from bitrix_sync.facts import PROGRESS, WON, Stage
from bitrix_sync.report.scene import Line, Scene, hours_of, scene
from bitrix_sync.report.tasks import task_line
from bitrix_sync.rules.deadlines import counted
from bitrix_sync.rules.model import Deadline
from bitrix_sync.snapshot import SETTING, unpack
from bitrix_sync.store import Store, queries
from bitrix_sync.store.rows import to_trace

HOUR = timedelta(hours=1)
HISTORY = timedelta(days=180)
"""Stays that began earlier, and have ended, no longer say how long a stage takes today."""


def stages(store: Store, *, now: datetime) -> list[Line]:
    """A row for each stage of each funnel, in the portal's order: deals now, median and 90th percentile of hours (by
    the clock) that deals stay, how many are over the limit.

    Counted are stays of the last ``HISTORY`` that have ended and those that go on, as long as they have lasted. Final
    stages have no time: a closed deal stays for ever.
    """
    with scene(store, now) as here:
        rows = queries.deals_now(here.connection)
        lasted: dict[str, list[float]] = {}
        for row in queries.stays_since(here.connection, here.now - HISTORY):
            lasted.setdefault(row.stage_id, []).append(row.hours)
        closed = {row.stage_id: row.deals for row in queries.closed_by_stage(here.connection)}
    last_over = _last_over(here, rows)
    deals: Counter[str] = Counter()
    over: Counter[str] = Counter()
    for row in rows:
        deals[row.stage_id] += 1
        if row.entered is not None:
            lasted.setdefault(row.stage_id, []).append((here.now - row.entered) / HOUR)
            over[row.stage_id] += row.stage_id in last_over and row.entered <= last_over[row.stage_id]
    stages_known = [stage for funnel in here.known.funnels for stage in funnel.stages]
    vanished = {row.stage_id: Stage(row.stage_id, row.stage_id, row.funnel_id) for row in rows}
    for stage in stages_known:
        vanished.pop(stage.id, None)
    lines: list[Line] = []
    for stage in (*stages_known, *vanished.values()):
        going = stage.semantic == PROGRESS
        hours = sorted(lasted.get(stage.id, ())) if going else []
        limit = here.known.limits.get(stage.id)
        lines.append(
            {
                "funnel_id": stage.funnel_id,
                "funnel": here.known.funnel_name(stage.funnel_id),
                "stage_id": stage.id,
                "stage": stage.name,
                "semantic": stage.semantic,
                "deals": deals[stage.id] if going else closed.get(stage.id, 0),
                "median_hours": _share(hours, 0.5),
                "p90_hours": _share(hours, 0.9),
                "over_limit": over[stage.id],
                "limit": [limit.amount, limit.unit] if limit else None,
                "stays": len(hours),
            }
        )
    return lines


def _share(hours: Sequence[float], share: float) -> float | None:
    """The value below which that share of the rising ``hours`` lies, between neighbours in proportion."""
    if not hours:
        return None
    place = share * (len(hours) - 1)
    below = int(place)
    above = min(below + 1, len(hours) - 1)
    return round(hours[below] + (hours[above] - hours[below]) * (place - below), 2)


def deals_in_stages(store: Store, *, now: datetime) -> list[Line]:
    """Every deal in progress and how long it has been in its stage: those over the stage's limit first, by how long
    they are over it, then the longest stays."""
    with scene(store, now) as here:
        rows = queries.deals_now(here.connection)
    last_over = _last_over(here, rows)
    lines = [_deal_line(here, row, last_over) for row in rows]
    return sorted(lines, key=lambda one: (not one["over"], -(one["over_hours"] or one["hours"] or 0.0), one["deal_id"]))


def _deal_line(here: Scene, row: Any, last_over: Mapping[str, datetime]) -> Line:
    over = row.entered is not None and row.stage_id in last_over and row.entered <= last_over[row.stage_id]
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


def _last_over(here: Scene, rows: Sequence[Any]) -> dict[str, datetime]:
    """By stage with a limit, the latest entry that is over it: whoever entered earlier is over it too."""
    entries: dict[str, list[datetime]] = {}
    for row in rows:
        if row.entered is not None and row.stage_id in here.known.limits:
            entries.setdefault(row.stage_id, []).append(row.entered)
    found: dict[str, datetime] = {}
    for stage_id, moments in entries.items():
        moments.sort()
        within = bisect_left(moments, True, key=partial(_within, here, stage_id))
        if within:
            found[stage_id] = moments[within - 1]
    return found


def _within(here: Scene, stage_id: str, entered: datetime) -> bool:
    return here.now <= counted(Deadline(offset=here.known.limits[stage_id]), entered, here.known.calendar)


# --- one deal --------------------------------------------------------------------------------------------------------


def deal_path(store: Store, deal_id: int, *, now: datetime) -> Line | None:
    """One deal: what it is, its ``path`` (every movement, oldest first), its ``tasks``, and ``traces`` of what rules
    decided about it, oldest first. None for a deal that was never seen."""
    with scene(store, now) as here:
        deal = queries.deal(here.connection, deal_id)
        visits = queries.visits_of_deal(here.connection, deal_id)
        if deal is None and not visits:
            return None
        by_service = queries.moves_by_service(here.connection, deal_id)
        path: list[Line] = []
        for before, visit, after in _between(visits):
            ended = after.entered if after is not None else (here.now if visit.semantic == PROGRESS else None)
            path.append(
                {
                    "visit_id": visit.id,
                    "funnel_id": visit.funnel_id,
                    "funnel": here.known.funnel_name(visit.funnel_id),
                    "stage_id": visit.stage_id,
                    "stage": here.known.stage_name(visit.stage_id),
                    "semantic": visit.semantic,
                    "entered": here.local(visit.entered),
                    "left": here.local(after.entered) if after is not None else None,
                    "hours": hours_of(ended - visit.entered) if ended else None,
                    "over_limit": _over(here, visit, ended),
                    "moved_by": visit.moved_by,
                    "moved_by_name": here.name(visit.moved_by),
                    "by_service": before is not None and before.id in by_service,
                }
            )
        tasks = [task_line(here, row) for row in queries.tasks_of_deal(here.connection, deal_id)]
        traces = [to_trace(row) for row in queries.traces_of_deal(here.connection, deal_id)]
    return {
        "deal_id": deal_id,
        "title": deal.title if deal is not None else f"#{deal_id}",
        "gone": deal is None or deal.gone,
        "closed": deal is not None and deal.semantic != PROGRESS,
        "won": deal is not None and deal.semantic == WON,
        "funnel": here.known.funnel_name(deal.funnel_id) if deal is not None else "",
        "stage": here.known.stage_name(deal.stage_id) if deal is not None else "",
        "owner_id": deal.responsible_id if deal is not None else None,
        "owner": here.name(deal.responsible_id) if deal is not None else "",
        "path": path,
        "tasks": tasks,
        "traces": traces,
    }


def _between(visits: Sequence[Any]) -> list[tuple[Any, Any, Any]]:
    """Each visit with those before and after it."""
    return [(before, visit, after) for (before, visit), (_, after) in pairwise(pairwise((None, *visits, None)))]


def _over(here: Scene, visit: Any, ended: datetime | None) -> bool:
    limit = here.known.limits.get(visit.stage_id)
    if limit is None or ended is None:
        return False
    return bool(ended > counted(Deadline(offset=limit), visit.entered, here.known.calendar))


# --- finding ---------------------------------------------------------------------------------------------------------


def search(store: Store, words: str, *, limit: int) -> dict[str, list[Line]]:
    """``people`` by a part of their name, ``deals`` in progress by a part of their title, without regard to case."""
    wanted = words.strip().casefold()
    with store.reading() as connection:
        known = unpack(queries.setting(connection, SETTING))
        titles = queries.deal_titles(connection) if wanted else ()
    people = [user for user in known.company.users.values() if wanted and wanted in user.name.casefold()]
    return {
        "people": [
            {"user_id": user.id, "user": user.name, "active": user.active}
            for user in sorted(people, key=lambda user: (not user.active, user.name))[:limit]
        ],
        "deals": [{"deal_id": row.id, "title": row.title} for row in titles if wanted in row.title.casefold()][:limit],
    }
