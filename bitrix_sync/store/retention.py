"""What need not be kept for ever. Inside the caller's transaction.

Kept for ever: visits, moments, tasks, slips, sweeps, what was told, and the key and end of every operation; for by
these nothing is ever done twice. Forgotten, when older than the horizon: what ended operations carried (``payload``
becomes empty); traces, except the latest of each visit and rule of a deal in progress; requests of commands.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, and_, delete, func, select, update

from bitrix_sync.model.facts import PROGRESS
from bitrix_sync.store.schema import deals, operations, requests, traces


def prune(connection: Connection, before: datetime) -> int:
    """Forgets what is older than ``before``; returns how many rows went or were emptied."""
    newest = select(func.max(traces.c.id)).group_by(traces.c.deal_id, traces.c.visit_id, traces.c.rule_id)
    alive = select(deals.c.id).where(deals.c.gone.is_(False), deals.c.semantic == PROGRESS)
    kept = and_(traces.c.deal_id.in_(alive), traces.c.id.in_(newest))
    old_traces = delete(traces).where(traces.c.at < before, ~kept)
    old_requests = delete(requests).where(requests.c.asked < before)
    emptied = update(operations).where(operations.c.ended < before, operations.c.payload != {}).values(payload={})
    return sum(connection.execute(statement).rowcount for statement in (old_traces, old_requests, emptied))
