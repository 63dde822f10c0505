"""Forgetting visits of a history that the portal has no more: it was put back from its backup and counts ids anew.

What bears the number of such a visit in its name gives the name up, for the next visit with that number will need it:
occurrences and so marks, keys of operations, what was told. Rows stay where they prove something: tasks with what was
sent to them, operations with their outcome. Inside the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import Connection, delete, func, select, update

from bitrix_sync.model.facts import Visit
from bitrix_sync.model.keys import Key, Moment, Purpose, names_visit
from bitrix_sync.model.operations import State
from bitrix_sync.model.reasons import Reason
from bitrix_sync.store import ledger, taskrows
from bitrix_sync.store.rows import chunks
from bitrix_sync.store.schema import moments, operations, tasks, told, traces, visits


def retire(connection: Connection, gone: Sequence[Visit], now: datetime) -> None:
    """Forget visits that the portal's history no longer has, so that their ids may be other visits': their moments and
    traces go, their tasks are gone, what was to be done for them is dropped. The visit that is the latest of its deal
    then has not ended."""
    ids, deals = {visit.id for visit in gone}, {visit.deal_id for visit in gone}
    rows = {
        row
        for part in chunks(sorted(ids))
        for row in connection.execute(select(tasks.c.id).where(tasks.c.visit_id.in_(part))).scalars()
    }
    _rename_operations(connection, ids, deals, rows, now)
    taskrows.release(connection, rows)
    ledger.drop_orphans(connection, rows, now)
    for part in chunks(sorted(rows)):
        nameless = {"occurrence": None, "rule_id": "", "visit_id": 0}
        connection.execute(update(tasks).where(tasks.c.id.in_(part)).values(nameless))
    for part in chunks(sorted(ids)):
        connection.execute(delete(visits).where(visits.c.id.in_(part)))
        for table in (moments, traces):
            connection.execute(delete(table).where(table.c.visit_id.in_(part)))
    keys = [key for key in connection.execute(select(told.c.key)).scalars() if names_visit(key, ids, entered=False)]
    for named in chunks(keys):
        connection.execute(delete(told).where(told.c.key.in_(named)))
    _go_on(connection, deals)


def _rename_operations(
    connection: Connection, ids: Collection[int], deals: Collection[int], rows: Collection[int], now: datetime
) -> None:
    """Their keys, and those of messages about them, which belong to no deal."""
    found: dict[int, tuple[str, str]] = {}
    query = select(operations.c.id, operations.c.key, operations.c.state, operations.c.task_row)
    of_rows = [query.where(operations.c.task_row.in_(part)) for part in chunks(sorted(rows))]
    of_deals = [query.where(operations.c.deal_id.in_(part)) for part in chunks(sorted({*deals, 0}))]
    for one in (*of_rows, *of_deals):
        for row in connection.execute(one):
            if row.task_row in rows or names_visit(row.key, ids):
                found[row.id] = (row.key, row.state)
    for number, (key, state) in found.items():
        if key.startswith(Purpose.FORMER.beginning):
            continue
        values: dict[str, object] = {"key": str(Key(Purpose.FORMER, number, key)), "task": ""}
        if state in (*ledger.UNFINISHED, State.FAILED.value):  # nobody need hear of its refusal any more
            values |= {"state": State.DROPPED.value, "error_text": Reason.PUT_BACK, "ended": now}
        connection.execute(update(operations).where(operations.c.id == number).values(values))


def _go_on(connection: Connection, deals: Collection[int]) -> None:
    """The visit that is the latest of its deal again has not been left, and did not close the deal's tasks by what came
    after it."""
    for part in chunks(sorted(deals)):
        latest = select(func.max(visits.c.id)).where(visits.c.deal_id.in_(part)).group_by(visits.c.deal_id)
        connection.execute(delete(moments).where(moments.c.visit_id.in_(latest), moments.c.name == Moment.LEFT))
