"""A fleet at a glance: who works, how many portals are served and how well, what is in the way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from bitrix_sync.app import FRESH
from bitrix_sync.log import redact
from bitrix_sync.settings import Settings
from bitrix_sync.store.portals import PortalRow, Portals
from bitrix_sync.store.workers import Seen, Workers

SHOWN_TROUBLES = 20


def limit_of(row: PortalRow, base: Settings) -> timedelta:
    """How old the last pass of a portal may be."""
    return timedelta(seconds=3 * float(row.settings.get("BITRIX_POLL_SECONDS", base.poll_seconds)) + FRESH)


def is_late(row: PortalRow, base: Settings, now: datetime) -> bool:
    """Whether a portal that is served had no pass in its time."""
    return row.enabled and (row.seen_ok is None or now - row.seen_ok > limit_of(row, base))


def overview(portals: Portals, base: Settings) -> dict[str, Any]:
    """What ``fleet --json`` says."""
    rows, now = [row for row in portals.overview() if not row.removed], portals.clock()
    served = [row for row in rows if row.enabled]
    troubled = [row for row in served if row.trouble]
    waits = waits_of(served, now)
    return {
        "workers": workers_of(base),
        "portals": {
            "served": len(served),
            "disabled": len(rows) - len(served),
            "troubled": len(troubled),
            "late": sum(is_late(row, base, now) for row in served),
            "due": len(waits),
        },
        "oldest_due_seconds": round(max(waits, default=0.0), 3),
        "troubles": [{"portal": row.name, "trouble": redact(row.trouble)} for row in troubled[:SHOWN_TROUBLES]],
    }


def waits_of(served: Iterable[PortalRow], now: datetime) -> list[float]:
    """For how many seconds each portal that is due has been."""
    return [(now - row.due).total_seconds() for row in served if row.due is not None and row.due < now]


def workers_of(base: Settings) -> list[dict[str, Any]]:
    """The workers, with those that were lost lately."""
    with Workers(base.database_url) as workers:
        seen, turns = workers.all(), workers.turns()
    return [_worker(one, turns, base.lost_seconds) for one in seen]


def _worker(one: Seen, turns: Mapping[int, int], lost: float) -> dict[str, Any]:
    row = one.row
    return {
        "name": row.name,
        "host": row.host,
        "pid": row.pid,
        "version": row.program,
        "threads": row.threads,
        "portals": row.portals,
        "turns": turns.get(row.engine, 0),
        "began": one.began,
        "seen_seconds": round(one.ago, 1),
        "clock_ahead_seconds": round(row.ahead, 1),
        "lost": one.ago > lost,
    }
