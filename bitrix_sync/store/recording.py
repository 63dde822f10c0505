"""Writing down one pass or sweep: what was read and what was decided, in the caller's one transaction."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from hashlib import blake2b
from itertools import chain

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from bitrix_sync.model.facts import Deal
from bitrix_sync.model.operations import Changeset, DeadlineChange, Operation, Trace
from bitrix_sync.store import changes, ledger, retiring, slots, taskrows
from bitrix_sync.store.database import insert_new, upsert
from bitrix_sync.store.rows import chunks, deal_row, operation_row, visit_row
from bitrix_sync.store.schema import (
    deals,
    moments,
    operations,
    picks,
    portal,
    slips,
    to_json,
    told,
    traces,
    unjudged,
    visits,
)

SOON, SELDOM = timedelta(seconds=30), timedelta(hours=1)
"""When a deal is asked for again of which something could not be read, at first and at the latest."""


def write(connection: Connection, recording: Changeset) -> list[int]:
    """Everything in the recording; what is known already (visits, moments, keys, told) is left as it is, but for
    moments of which the latest counts.

    Returns the ids of the operations that are new, rising: those of the decisions in their order, then the others.
    """
    made = recording.decisions
    if recording.retired:
        retiring.retire(connection, recording.retired, recording.at)
    released = taskrows.find(connection, recording.released)
    taskrows.release(connection, released)
    insert_new(connection, visits, [visit_row(visit, handled=recording.history) for visit in recording.visits])
    changes.note_fields(connection, recording.deals)
    upsert(connection, deals, [deal_row(deal) for deal in recording.deals])
    _note_movers(connection, recording.deals)
    for part in chunks(recording.gone_deals):
        connection.execute(update(deals).where(deals.c.id.in_(part)).values(gone=True, wake_at=None))
    _note_unjudged(connection, recording)
    _wake(connection, [(decision.deal_id, decision.wake_at) for decision in made])
    ended = released | taskrows.write(connection, chain(recording.tasks, *(decision.tasks for decision in made)))
    _write_slips(connection, recording.slips)
    insert_new(
        connection,
        moments,
        [
            {"visit_id": visit, "name": name, "deal_id": decision.deal_id, "at": at}
            for decision in made
            for (visit, name), at in decision.moments.items()
        ],
    )
    upsert(
        connection,
        moments,
        [
            {"visit_id": visit, "name": name, "deal_id": decision.deal_id, "at": at}
            for decision in made
            for (visit, name), at in decision.asked.items()
        ],
    )
    planned = [*chain.from_iterable(decision.operations for decision in made), *recording.operations]
    ids, acted_on = _write_operations(connection, planned, recording.at)
    ledger.renew(connection, recording.renewed, recording.at)
    ledger.doubt(connection, recording.doubted)
    ledger.drop_orphans(connection, ended | acted_on, recording.at)
    _write_traces(connection, [trace for decision in made for trace in decision.traces])
    insert_new(connection, told, [{"key": key, "at": recording.at} for key in recording.told])
    _write_picks(connection, recording.picks)
    if recording.sweep is not None:
        slots.close(connection, *recording.sweep)
    values: dict[str, object] = {"recorded": recording.at}
    if recording.cursor is not None:
        values |= {
            "history_id": recording.cursor.history_id,
            "history_time": recording.cursor.history_time,
            "deals_time": recording.cursor.deals_time,
            "tasks_time": recording.cursor.tasks_time,
        }
    connection.execute(update(portal).where(portal.c.id == 1).values(values))
    return ids


def _note_unjudged(connection: Connection, recording: Changeset) -> None:
    """What waits longer is asked for more seldom."""
    judged = {decision.deal_id for decision in recording.decisions} - recording.unjudged.keys()
    since: dict[int, datetime] = {}
    for part in chunks(sorted(judged)):
        connection.execute(delete(unjudged).where(unjudged.c.deal_id.in_(part)))
    for part in chunks(sorted(recording.unjudged)):
        waiting = connection.execute(select(unjudged.c.deal_id, unjudged.c.since).where(unjudged.c.deal_id.in_(part)))
        since |= {row.deal_id: row.since for row in waiting}
    rows = []
    for deal, end in recording.unjudged.items():
        begun = since.get(deal, recording.at)
        rest = min(max((recording.at - begun) / 2, SOON), SELDOM)
        values = {"deal_id": deal, "since": begun, "again": recording.at + rest, "code": end.code, "why": end.why}
        rows.append(values)
    upsert(connection, unjudged, rows)


def _wake(connection: Connection, wakes: list[tuple[int, datetime | None]]) -> None:
    if wakes:
        connection.execute(
            update(deals)
            .where(deals.c.id == bindparam("deal"), deals.c.gone.is_(False))
            .values(wake_at=bindparam("wake")),
            [{"deal": deal, "wake": wake} for deal, wake in wakes],
        )


def _note_movers(connection: Connection, read: Iterable[Deal]) -> None:
    """The portal tells only who made a deal's last movement: kept with that visit before the next one comes."""
    movers = [{"deal": deal.id, "stage": deal.stage_id, "user": deal.moved_by} for deal in read if deal.moved_by]
    if not movers:
        return
    latest = select(func.max(visits.c.id)).where(visits.c.deal_id == bindparam("deal")).scalar_subquery()
    connection.execute(
        update(visits)
        .where(visits.c.id == latest, visits.c.stage_id == bindparam("stage"), visits.c.moved_by.is_(None))
        .values(moved_by=bindparam("user")),
        movers,
    )


def _write_slips(connection: Connection, changes: Iterable[DeadlineChange]) -> None:
    changes = list(changes)
    if not changes:
        return
    rows = taskrows.resolve(connection, {slip.ref: 0 for slip in changes})
    connection.execute(
        insert(slips),
        [
            {
                "task_row": rows[slip.ref],
                "before": slip.before,
                "after": slip.after,
                "by": slip.by,
                "at": slip.at,
                "sweep": slip.sweep,
            }
            for slip in changes
        ],
    )


def _write_operations(connection: Connection, planned: list[Operation], at: datetime) -> tuple[list[int], set[int]]:
    """The ids of the new ones, and the rows of all tasks that they act on."""
    known: set[str] = set()
    for part in chunks([operation.key for operation in planned]):
        known.update(connection.execute(select(operations.c.key).where(operations.c.key.in_(part))).scalars())
    new = [operation for operation in planned if operation.key not in known]
    rows = taskrows.resolve(connection, {operation.task: operation.deal_id for operation in new if operation.task})
    values = [operation_row(operation, created=at, task=rows.get(operation.task)) for operation in new]
    return insert_new(connection, operations, values, returning=True), set(rows.values())


def _write_traces(connection: Connection, judged: list[Trace]) -> None:
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
        checks = [[check.what, check.seen, check.wanted, check.ok] for check in trace.checks]
        said = to_json([trace.verdict, trace.data, checks], sort=True)
        digest = blake2b(said.encode(), digest_size=12).hexdigest()
        name = (trace.deal_id, trace.visit_id, trace.rule_id)
        if last.get(name) == digest:
            continue
        last[name] = digest
        rows.append(
            {
                "deal_id": trace.deal_id,
                "visit_id": trace.visit_id,
                "rule_id": trace.rule_id,
                "verdict": trace.verdict,
                "at": trace.at,
                "data": dict(trace.data),
                "checks": checks,
                "digest": digest,
            }
        )
    if rows:
        connection.execute(insert(traces), rows)


def _write_picks(connection: Connection, chosen: tuple[tuple[str, int], ...]) -> None:
    """Each pick stands behind all earlier ones."""
    if not chosen:
        return
    last = connection.execute(select(func.max(picks.c.place))).scalar() or 0
    places = {pick: last + number for number, pick in enumerate(chosen, start=1)}
    upsert(
        connection,
        picks,
        [{"pool": pool, "user_id": user, "place": place} for (pool, user), place in places.items()],
    )
