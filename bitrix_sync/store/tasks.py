"""Tasks and the changes of their deadlines. One row for one task, whatever name it was met under.

A task of ours is known by its occurrence, a foreign one by its portal id. A foreign one may turn out to be ours (its
mark was read, or its creation is settled later than the task was seen): then its row is taken over.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Row, bindparam, delete, func, insert, select, update

from bitrix_sync.model.facts import OPEN_STATUSES
from bitrix_sync.model.keys import Occurrence, foreign_id, foreign_ref
from bitrix_sync.model.operations import DeadlineChange, TaskRecord
from bitrix_sync.store.mapping import change_with, from_row, rows_with, to_row
from bitrix_sync.store.schema import operations, slips, tasks

SEEN = ("title", "status", "gone", "owner_id", "creator_id", "auditors", "deadline", "created", "changed", "closed",
        "closed_by", "priority", "bound", "ended")  # fmt: skip
"""What the portal shows of a task; the rest is what we know of it."""


def task_records(
    connection: Connection, refs: Collection[str] | None = None, portal_ids: Collection[int] | None = None
) -> list[TaskRecord]:
    """Tasks by ref, by portal id, or both, in order of making; neither: all."""
    if refs is None and portal_ids is None:
        return [from_row(TaskRecord, row) for row in connection.execute(select(tasks).order_by(tasks.c.id))]
    found = {
        row.id: from_row(TaskRecord, row)
        for column, names in [*_named(refs or ()), (tasks.c.portal_id, list(portal_ids or ()))]
        for row in rows_with(connection, select(tasks), column, names)
    }
    return [found[row] for row in sorted(found)]


def open_tasks(connection: Connection) -> list[TaskRecord]:
    """Every task, ours or foreign, that is neither done nor gone, also those still on their way to the portal
    (``portal_id`` None)."""
    query = select(tasks).where(tasks.c.gone.is_(False), tasks.c.status.in_(OPEN_STATUSES)).order_by(tasks.c.id)
    return [from_row(TaskRecord, row) for row in connection.execute(query)]


def tasks_of_rule(connection: Connection, rule_id: str, *, since: datetime) -> list[TaskRecord]:
    """Tasks of a rule made since then (the portal's time), also those still on their way, in order of making."""
    query = select(tasks).where(tasks.c.rule_id == rule_id, tasks.c.created >= since).order_by(tasks.c.id)
    return [from_row(TaskRecord, row) for row in connection.execute(query)]


def tasks_made(connection: Connection, *, since: datetime) -> list[TaskRecord]:
    """Tasks of any rule made since then (the portal's time), in order of making."""
    query = select(tasks).where(tasks.c.rule_id != "", tasks.c.created >= since).order_by(tasks.c.id)
    return [from_row(TaskRecord, row) for row in connection.execute(query)]


def open_deadlines(connection: Connection) -> dict[int, list[datetime]]:
    """The deadlines of open tasks by owner, rising."""
    found: dict[int, list[datetime]] = defaultdict(list)
    query = (
        select(tasks.c.owner_id, tasks.c.deadline)
        .where(tasks.c.gone.is_(False), tasks.c.status.in_(OPEN_STATUSES), tasks.c.deadline.is_not(None))
        .order_by(tasks.c.deadline)
    )
    for owner, deadline in connection.execute(query):
        found[owner].append(deadline)
    return dict(found)


def deadline_changes(
    connection: Connection, refs: Collection[str] | None = None, *, sweep: str | None = None
) -> list[DeadlineChange]:
    """Changes of deadlines, oldest first: of these tasks, of this sweep, or all."""
    query = select(slips, tasks.c.occurrence, tasks.c.portal_id).join(tasks, tasks.c.id == slips.c.task_row)
    if sweep is not None:
        query = query.where(slips.c.sweep == sweep)
    if refs is None:
        return [_deadline_change(row) for row in connection.execute(query.order_by(slips.c.id))]
    found = {
        row.id: _deadline_change(row)
        for column, names in _named(refs)
        for row in rows_with(connection, query, column, names)
    }
    return [found[row] for row in sorted(found)]


def _named(refs: Collection[str]) -> list[tuple[Column[Any], list[Any]]]:
    """Names of tasks by the column in which they stand."""
    numbers = [number for ref in refs if (number := foreign_id(ref)) is not None]
    occurrences = [ref for ref in refs if foreign_id(ref) is None]
    return [(tasks.c.occurrence, occurrences), (tasks.c.portal_id, numbers)]


def _deadline_change(row: Row[Any]) -> DeadlineChange:
    ref = row.occurrence or foreign_ref(row.portal_id)
    return DeadlineChange(
        ref=ref, before=row.before, after=row.after, by=row.by, at=row.at, sweep=row.sweep, mover=row.mover
    )


class _Known:
    """The rows that bear one of these names: by occurrence, by portal id."""

    def __init__(self, connection: Connection, refs: Collection[str]) -> None:
        self.by_occurrence: dict[str, int] = {}
        self.by_portal: dict[int, tuple[int, str]] = {}
        query = select(tasks.c.id, tasks.c.occurrence, tasks.c.portal_id)
        for column, names in _named(refs):
            for row in rows_with(connection, query, column, names):
                if row.occurrence:
                    self.by_occurrence[row.occurrence] = row.id
                if row.portal_id is not None:
                    self.by_portal[row.portal_id] = (row.id, row.occurrence)

    def row(self, ref: str) -> int | None:
        """The row of a task by ref; None: never heard of."""
        number = foreign_id(ref)
        return self.by_occurrence.get(ref) if number is None else self.by_portal.get(number, (None, ""))[0]

    def owner_of(self, portal_id: int | None) -> str:
        """The occurrence of ours that has this number, "" if none has."""
        return self.by_portal.get(portal_id or 0, (0, ""))[1]


def write(connection: Connection, records: Iterable[TaskRecord]) -> set[int]:
    """Writes whole records by ref (the last one of a ref wins) and returns the rows of those that are gone or failed.

    A portal id once known is never forgotten (but by ``lose_numbers``). A record without an occurrence, of a task
    that is ours, renews only what the portal shows; one of ours with the number of another one of ours goes without it.
    Raises ValueError for a record with neither name.
    """
    wanted = _latest(records)
    if not wanted:
        return set()
    known = _Known(connection, _names(wanted))
    new, whole, seen = [], [], []
    for one in wanted:
        number = _row_number(connection, known, one)
        if number is None:
            new.append(_row(known, one))
        elif one.occurrence or not known.owner_of(one.portal_id):
            whole.append(_row(known, one) | {"row": number})
        else:
            seen.append({name: getattr(one, name) for name in SEEN} | {"row": number})
    if new:
        connection.execute(insert(tasks), new)
    kept = func.coalesce(bindparam("portal_id", type_=tasks.c.portal_id.type), tasks.c.portal_id)
    _overwrite(connection, whole, portal_id=kept)
    _overwrite(connection, seen)
    return set(resolve(connection, {one.ref: 0 for one in wanted if _ended(one)}).values())


def _names(records: Sequence[TaskRecord]) -> list[str]:
    """All refs under which tasks may be known."""
    names = [one.occurrence for one in records if one.occurrence]
    return names + [foreign_ref(one.portal_id) for one in records if one.portal_id is not None]


def _row(known: _Known, one: TaskRecord) -> dict[str, Any]:
    taken = one.occurrence and known.owner_of(one.portal_id) not in ("", one.occurrence)
    return to_row(one) | ({"portal_id": None} if taken else {})


def _ended(one: TaskRecord) -> bool:
    return one.gone or (one.status == 0 and one.portal_id is None)


def _latest(records: Iterable[TaskRecord]) -> list[TaskRecord]:
    """The last record of each ref; what was seen of a task of ours gives way to what we know of it."""
    latest = {one.ref: one for one in records}
    ours = {one.portal_id for one in latest.values() if one.occurrence}
    return [one for one in latest.values() if one.occurrence or one.portal_id not in ours]


def _overwrite(connection: Connection, rows: Sequence[Mapping[str, Any]], **special: ColumnElement[Any]) -> None:
    """Columns of known rows, by ``row``."""
    if rows:
        columns: dict[str, ColumnElement[Any]] = {name: bindparam(name) for name in rows[0] if name != "row"}
        connection.execute(update(tasks).where(tasks.c.id == bindparam("row")).values(columns | special), rows)


def _row_number(connection: Connection, known: _Known, one: TaskRecord) -> int | None:
    """The record's row, or None for a new one; merges two rows that turn out to be one task."""
    shown = known.by_portal.get(one.portal_id) if one.portal_id is not None else None
    if not one.occurrence:
        if one.portal_id is None:
            raise ValueError("a task record needs an occurrence or a portal id")
        return shown[0] if shown else None
    own = known.by_occurrence.get(one.occurrence)
    if shown is None or shown[0] == own or shown[1]:
        return own
    if own is not None:
        absorb(connection, shown[0], own)
        return own
    return shown[0]


def find(connection: Connection, refs: Collection[str]) -> set[int]:
    """The rows of tasks by ref; one never heard of has none."""
    known = _Known(connection, refs)
    return {row for ref in refs if (row := known.row(ref)) is not None}


def lose_numbers(connection: Connection, rows: Collection[int]) -> None:
    """These tasks are gone, and their numbers belong to other tasks now."""
    change_with(connection, update(tasks).values(gone=True, portal_id=None), tasks.c.id, rows)


def absorb(connection: Connection, foreign: int, own: int) -> Mapping[str, Any]:
    """The row of a foreign task goes, its slips and operations pass to the row of ours; returns what it held."""
    held = connection.execute(select(tasks).where(tasks.c.id == foreign)).mappings().one()
    for table in (slips, operations):
        connection.execute(update(table).where(table.c.task_row == foreign).values(task_row=own))
    connection.execute(delete(tasks).where(tasks.c.id == foreign))
    return dict(held)


def resolve(connection: Connection, refs: Mapping[str, int]) -> dict[str, int]:
    """Ref → row, for refs with the deal each belongs to; a task never heard of gets a row of its own."""
    known = _Known(connection, refs.keys())
    found = {ref: row for ref in refs if (row := known.row(ref)) is not None}
    missing = [_unheard(ref, deal) for ref, deal in refs.items() if ref not in found]
    if missing:
        connection.execute(insert(tasks), [to_row(one) for one in missing])
        found |= resolve(connection, {one.ref: 0 for one in missing})
    return found


def _unheard(ref: str, deal_id: int) -> TaskRecord:
    """A record of a task of which nothing but its name is known."""
    if (number := foreign_id(ref)) is not None:
        return TaskRecord("", deal_id, portal_id=number)
    of = Occurrence.parse(ref) or Occurrence(0, "")
    return TaskRecord(ref, deal_id, rule_id=of.rule, visit_id=of.visit, number=of.number)


def write_deadline_changes(connection: Connection, made: Sequence[DeadlineChange]) -> None:
    """Each with the row of its task."""
    rows = resolve(connection, {change.ref: 0 for change in made})
    values = [to_row(one, task_row=rows[one.ref]) for one in made]
    if values:
        connection.execute(insert(slips), [{n: v for n, v in row.items() if n != "ref"} for row in values])
