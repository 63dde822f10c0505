"""Writing ``tasks``: one row for one task, whatever name it was met under.

A task of ours is known by its occurrence, a foreign one by its portal id. A foreign one may turn out to be ours (its
mark was read, or its creation is settled later than the task was seen): then its row is taken over.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from bitrix_sync.model.keys import Occurrence, foreign_id
from bitrix_sync.model.operations import TaskRecord
from bitrix_sync.store.rows import chunks, task_row
from bitrix_sync.store.schema import operations, slips, tasks

SEEN = ("title", "status", "gone", "owner_id", "creator_id", "auditors", "deadline", "created", "changed", "closed")
"""What the portal shows of a task; the rest is what we know of it."""


class _Known:
    """The rows that bear one of these names: by occurrence, by portal id."""

    def __init__(self, connection: Connection, occurrences: Collection[str], portal_ids: Collection[int]) -> None:
        self.by_occurrence: dict[str, int] = {}
        self.by_portal: dict[int, tuple[int, str | None]] = {}
        for column, values in ((tasks.c.occurrence, list(occurrences)), (tasks.c.portal_id, list(portal_ids))):
            for part in chunks(values):
                query = select(tasks.c.id, tasks.c.occurrence, tasks.c.portal_id).where(column.in_(part))
                for row in connection.execute(query):
                    if row.occurrence is not None:
                        self.by_occurrence[row.occurrence] = row.id
                    if row.portal_id is not None:
                        self.by_portal[row.portal_id] = (row.id, row.occurrence)

    def owner_of(self, portal_id: int | None) -> str | None:
        """The occurrence of ours that has this number."""
        return None if portal_id is None else self.by_portal.get(portal_id, (0, None))[1]


def write(connection: Connection, records: Iterable[TaskRecord]) -> set[int]:
    """Writes whole records by ref (the last one of a ref wins) and returns the rows of those that are gone or failed.

    A portal id once known is never forgotten (but by ``release``). A record without an occurrence, of a task that is
    ours, renews only what the portal shows; one of ours with the number of another one of ours goes without it. Raises
    ValueError for a record with neither name.
    """
    latest = {record.ref: record for record in records}
    if not latest:
        return set()
    ours = {record.portal_id for record in latest.values() if record.occurrence}
    wanted = [r for r in latest.values() if r.occurrence or r.portal_id not in ours]
    known = _Known(
        connection,
        [record.occurrence for record in wanted if record.occurrence],
        [record.portal_id for record in wanted if record.portal_id is not None],
    )
    new, whole, seen = [], [], []
    for record in wanted:
        row, number = task_row(record), _row_of(connection, known, record)
        if record.occurrence and known.owner_of(record.portal_id) not in (None, record.occurrence):
            row["portal_id"] = None
        if number is None:
            new.append(row)
        elif record.occurrence or known.by_portal[record.portal_id or 0][1] is None:
            whole.append({**row, "row": number})
        else:
            seen.append({**{name: row[name] for name in SEEN}, "row": number})
    if new:
        connection.execute(insert(tasks), new)
    if whole:
        columns: dict[str, Any] = {name: bindparam(name) for name in whole[0] if name not in ("row", "portal_id")}
        kept = func.coalesce(bindparam("portal_id", type_=tasks.c.portal_id.type), tasks.c.portal_id)
        connection.execute(update(tasks).where(tasks.c.id == bindparam("row")).values(**columns, portal_id=kept), whole)
    if seen:
        columns = {name: bindparam(name) for name in SEEN}
        connection.execute(update(tasks).where(tasks.c.id == bindparam("row")).values(columns), seen)
    ended = [record.ref for record in wanted if record.gone or (record.status == 0 and record.portal_id is None)]
    return set(resolve(connection, dict.fromkeys(ended, 0)).values())


def _row_of(connection: Connection, known: _Known, record: TaskRecord) -> int | None:
    """The record's row, or None for a new one; merges two rows that turn out to be one task."""
    shown = known.by_portal.get(record.portal_id) if record.portal_id is not None else None
    if not record.occurrence:
        if record.portal_id is None:
            raise ValueError("a task record needs an occurrence or a portal id")
        return shown[0] if shown else None
    own = known.by_occurrence.get(record.occurrence)
    if shown is None or shown[0] == own or shown[1] is not None:
        return own
    if own is not None:
        absorb(connection, shown[0], own)
        return own
    return shown[0]


def find(connection: Connection, refs: Collection[str]) -> set[int]:
    """The rows of tasks by ref; one never heard of has none."""
    portal_ids = {ref: number for ref in refs if (number := foreign_id(ref)) is not None}
    known = _Known(connection, [ref for ref in refs if ref not in portal_ids], portal_ids.values())
    return {*known.by_occurrence.values(), *(row for row, _ in known.by_portal.values())}


def release(connection: Connection, rows: Collection[int]) -> None:
    """These tasks are gone, and their numbers belong to other tasks now."""
    for part in chunks(sorted(rows)):
        named = tasks.c.id.in_(part)
        connection.execute(update(tasks).where(named).values(gone=True, portal_id=None))


def absorb(connection: Connection, foreign: int, own: int) -> Mapping[str, Any]:
    """The row of a foreign task goes, its slips and operations pass to the row of ours; returns what it held."""
    held = connection.execute(select(tasks).where(tasks.c.id == foreign)).mappings().one()
    for table in (slips, operations):
        connection.execute(update(table).where(table.c.task_row == foreign).values(task_row=own))
    connection.execute(delete(tasks).where(tasks.c.id == foreign))
    return dict(held)


def resolve(connection: Connection, refs: Mapping[str, int]) -> dict[str, int]:
    """Ref → row, for refs with the deal each belongs to; a task never heard of gets a row of its own."""
    portal_ids = {ref: number for ref in refs if (number := foreign_id(ref)) is not None}
    occurrences = [ref for ref in refs if ref not in portal_ids]
    known = _Known(connection, occurrences, portal_ids.values())
    found = {ref: known.by_occurrence[ref] for ref in occurrences if ref in known.by_occurrence}
    found |= {ref: known.by_portal[number][0] for ref, number in portal_ids.items() if number in known.by_portal}
    missing = [
        TaskRecord(occurrence="", portal_id=portal_ids[ref], deal_id=deal) if ref in portal_ids else _unheard(ref, deal)
        for ref, deal in refs.items()
        if ref not in found
    ]
    if missing:
        connection.execute(insert(tasks), [task_row(record) for record in missing])
        found |= resolve(connection, {record.ref: 0 for record in missing})
    return found


def _unheard(occurrence: str, deal_id: int) -> TaskRecord:
    """A record of an occurrence of which nothing but its name is known."""
    of = Occurrence.parse(occurrence) or Occurrence(0, "")
    return TaskRecord(occurrence, deal_id, rule_id=of.rule, visit_id=of.visit, number=of.number)
