"""Why rules did, or did not do, something on a visit. Inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Collection
from hashlib import blake2b

from sqlalchemy import Connection, func, insert, select

from bitrix_sync.model.operations import Trace
from bitrix_sync.store.mapping import chunks, from_row, to_row
from bitrix_sync.store.schema import to_json, traces


def of_deal(connection: Connection, deal_id: int, rule_id: str | None = None) -> list[Trace]:
    """Why rules did, or did not do, something on the deal; oldest first."""
    query = select(traces).where(traces.c.deal_id == deal_id).order_by(traces.c.id)
    if rule_id is not None:
        query = query.where(traces.c.rule_id == rule_id)
    return [from_row(Trace, row) for row in connection.execute(query)]


def write(connection: Connection, judged: Collection[Trace]) -> None:
    """Only what differs from the last trace of the same visit and rule."""
    last: dict[tuple[int, int, str], str] = {}
    for part in chunks(sorted({trace.deal_id for trace in judged})):
        newest = (
            select(func.max(traces.c.id))
            .where(traces.c.deal_id.in_(part))
            .group_by(traces.c.deal_id, traces.c.visit_id, traces.c.rule_id)
        )
        query = select(traces.c.deal_id, traces.c.visit_id, traces.c.rule_id, traces.c.digest)
        for deal, visit, rule, digest in connection.execute(query.where(traces.c.id.in_(newest))):
            last[deal, visit, rule] = digest
    rows = []
    for trace in judged:
        said = to_json([trace.verdict, trace.data, trace.checks], sort=True)
        digest = blake2b(said.encode(), digest_size=12).hexdigest()
        name = (trace.deal_id, trace.visit_id, trace.rule_id)
        if last.get(name) != digest:
            last[name] = digest
            rows.append(to_row(trace, digest=digest))
    if rows:
        connection.execute(insert(traces), rows)
