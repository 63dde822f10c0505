"""Deals without a next step: since when, and which of them for too long. Pure.

A deal has a next step while a task of it is to be done (one that is put off is none), or an activity is planned with
it that has no deadline, or one that is ahead or past by no more than the file's ``next_step``. Without one it is idle:
since its entry, the end of its last task or activity, or the moment since which its last activity counts no more.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime

from bitrix_sync.model.keys import Key, Purpose, minute
from bitrix_sync.model.operations import Steps
from bitrix_sync.model.worktime import Calendar
from bitrix_sync.rules.deadlines import counted
from bitrix_sync.rules.model import Deadline, Duration


def idle_since(steps: Steps, patience: Duration, calendar: Calendar) -> datetime | None:
    """Since when the deal has no next step, or will have none if nothing else is planned with it; None: that it has one
    does not end by itself. ``patience``: how long past its deadline an activity counts."""
    if steps.busy or None in steps.planned:
        return None
    counted_until = [idle_for(due, patience, calendar) for due in steps.planned if due is not None]
    return max([steps.visit.entered, *counted_until, *([steps.ended] if steps.ended else [])])


def idle_for(since: datetime, span: Duration, calendar: Calendar) -> datetime:
    """When so long has passed since a moment, counted like a deadline after it."""
    return counted(Deadline(offset=span), since, calendar)


def too_long(
    steps: Mapping[int, Steps], next_steps: Mapping[str, Duration], calendar: Calendar, now: datetime
) -> dict[int, datetime]:
    """The deals that are idle for longer than their stage allows, each since when. ``next_steps`` by stage."""
    found: dict[Duration, list[tuple[datetime, int]]] = defaultdict(list)
    for deal, one in steps.items():
        patience = next_steps.get(one.visit.stage_id)
        if patience is None or one.busy or any(due is None or due >= now for due in one.planned):
            continue
        since = idle_since(one, patience, calendar)
        if since is not None and since < now:
            found[patience].append((since, deal))
    late: dict[int, datetime] = {}
    for patience, waiting in found.items():
        waiting.sort()  # who is idle since earlier, is idle for longer: few moments need be counted
        within = bisect_left(waiting, True, key=lambda one: now <= idle_for(one[0], patience, calendar))
        late |= {deal: since for since, deal in waiting[:within]}
    return late


def idle_key(steps: Steps, since: datetime) -> str:
    """Says that people were told of this spell."""
    return str(Key(Purpose.IDLE, steps.visit.row, minute(since)))
