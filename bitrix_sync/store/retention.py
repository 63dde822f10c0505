"""What need not be kept for ever. Inside the caller's transaction.

Kept for ever: visits, moments, tasks, slips, sweeps, what was told, and the key and end of every operation; for by
these nothing is ever done twice. Forgotten, when older than the horizon: what ended operations carried (``payload``
becomes empty); traces, except the latest of each visit and rule of a deal in progress; requests of commands. What held
is kept longer, for its own horizon, and of a deal in progress every value that may hold still or held at the horizon.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, and_, delete, func, or_, select, update

from bitrix_sync.model.facts import PROGRESS
from bitrix_sync.model.items import KINDS
from bitrix_sync.store.schema import absences, changes, deals, operations, requests, traces, trial


def prune(connection: Connection, before: datetime, *, past_before: datetime) -> int:
    """Forgets what only explains and is older than ``before``, and what held before ``past_before``; returns how many
    rows went or were emptied."""
    newest = select(func.max(traces.c.id)).group_by(traces.c.deal_id, traces.c.visit_id, traces.c.rule_id)
    alive = select(deals.c.id).where(deals.c.gone.is_(False), deals.c.semantic == PROGRESS)
    kept = and_(traces.c.deal_id.in_(alive), traces.c.id.in_(newest))
    old_traces = delete(traces).where(traces.c.at < before, ~kept)
    old_requests = delete(requests).where(requests.c.asked < before)
    emptied = update(operations).where(operations.c.ended < before, operations.c.payload != {}).values(payload={})
    last = select(func.max(changes.c.id)).where(changes.c.at < past_before)
    last = last.group_by(changes.c.kind, changes.c.item, changes.c.field)
    of_alive = (and_(changes.c.kind == one.name, (changes.c.item + one.first).in_(alive)) for one in KINDS.values())
    held = and_(or_(*of_alive), changes.c.id.in_(last))
    old_changes = delete(changes).where(changes.c.at < past_before, ~held)
    old_absences = delete(absences).where(or_(absences.c.end < past_before, absences.c.dropped < past_before))
    old_trial = delete(trial).where(trial.c.at < past_before)
    forgotten = (old_trial, old_traces, old_requests, emptied, old_changes, old_absences)
    return sum(connection.execute(statement).rowcount for statement in forgotten)
