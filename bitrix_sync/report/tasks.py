"""Reports on tasks: load, what is overdue, what is due today, how deadlines slip, one person's work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import Row

from bitrix_sync.decisions.overdue import is_overdue, supervisor_of
from bitrix_sync.decisions.placing import UNLEARNED
from bitrix_sync.model.facts import AWAITING
from bitrix_sync.model.operations import TaskRecord
from bitrix_sync.model.presence import Presence
from bitrix_sync.report.choice import ALL, PERIOD, Selection, members, within
from bitrix_sync.report.context import ReportContext, frame, hours_of, scene
from bitrix_sync.report.declaration import (
    DEADLINE,
    DEAL,
    FIRST_DEADLINE,
    OWNER,
    PROMISE,
    STATUS,
    SUPERVISOR,
    TASK,
    TASK_KEYS,
    WHAT,
    WHO,
    Column,
    Form,
    Line,
    Report,
)
from bitrix_sync.rules.model import Room
from bitrix_sync.rules.persons import head_over
from bitrix_sync.store import Flags, Store, changes, queries
from bitrix_sync.store.mapping import from_row

NEXT_DAYS = 7
"""Working days after today that the load is planned for."""
MOVED = Column("moves_at_all", Form.COUNT, "moves")
"""By sweeps and by people."""


# --- load ------------------------------------------------------------------------------------------------------------


def load(store: Store, *, now: datetime, idle: bool = False, chosen: Selection = ALL) -> list[Line]:
    """A row for each owner of open tasks, by department: open, overdue, due today, in the next working days, by day;
    how many tasks a day they can do (``room``), how many more on each working day (``free_by_day``, none on those on
    which they are away), until when they are away now.

    ``by_day`` maps ISO dates to counts: today, the next ``NEXT_DAYS`` working days, and days off between them that
    something is due on. A task that was due earlier today is both overdue and due today. ``idle``: also active
    colleagues, of departments that have open tasks, who have none.
    """
    with scene(store, now) as here:
        days = _days(here)
        counted = queries.open_by_owner(
            here.connection,
            now=here.now,
            midnights=[here.midnight(day) for day in (*days, days[-1] + timedelta(days=1))],
            only=chosen.tasks,
        )
        found: dict[int, dict[int | None, Counted]] = {}
        for row in counted:
            found.setdefault(row.owner_id, {})[row.day] = Counted(row.open, row.late, row.to_do)
        if idle:
            found |= {owner: {} for owner in _idle(here, found) if chosen.has(owner)}
        people = People.read(here)
        lines = [_load_line(here, owner, by_bucket, days, people) for owner, by_bucket in found.items()]
    return sorted(lines, key=lambda one: (one["department"] or "\uffff", -one["open"], one["user"], one["user_id"]))


class Counted(NamedTuple):
    """Open tasks of a person on a day: all, those late, those still to be done."""

    open: int = 0
    late: int = 0
    to_do: int = 0


@dataclass(frozen=True, slots=True)
class People:
    """What is known of people's days: who is away, how many tasks a day they can do, what they closed today."""

    presence: Presence
    room: Room
    learned: Mapping[int, int]
    closed: Mapping[int, int]

    @classmethod
    def read(cls, here: ReportContext) -> People:
        """From the store."""
        known = here.known
        absences = changes.known_absences(here.connection, after=here.midnight(here.today))
        learned = Flags.rooms.read(here.connection)
        closed = queries.closings(here.connection, since=here.midnight(here.today), self_id=known.company.self_id)
        return cls(
            Presence(absences, known.calendar),
            known.room,
            learned.rooms if learned is not None else {},
            Counter(row.owner_id for row in closed),
        )

    def size(self, user: int) -> int | None:
        """How many tasks a day a person can do; None: no bound."""
        size = self.room.of(user)
        return self.learned.get(user, UNLEARNED) if size == "learned" else size


def _idle(here: ReportContext, busy: Collection[int]) -> list[int]:
    """Active colleagues of these, who are not among them."""
    departments = {here.department(owner)[0] for owner in busy} - {0}
    users = here.known.company.users.values()
    return [one.id for one in users if one.active and one.id not in busy and departments & {*one.departments}]


def _days(here: ReportContext) -> list[date]:
    """Today and every day up to the last of the next working days."""
    last = here.known.calendar.nth_working_after(here.today, NEXT_DAYS)
    return [here.today + timedelta(days=ahead) for ahead in range((last - here.today).days + 1)]


def _load_line(
    here: ReportContext, owner: int, by_bucket: Mapping[int | None, Counted], days: Sequence[date], people: People
) -> Line:
    """``by_bucket``: 0 before today, 1 today, and so on, after the last day ``len(days) + 1``."""
    counted = {day: by_bucket.get(number, Counted()) for number, day in enumerate(days, start=1)}
    due = {day: one.open for day, one in counted.items()}
    department_id, department = here.department(owner)
    planned = {
        day: count for day, count in due.items() if count or day == here.today or here.known.calendar.is_working(day)
    }
    return {
        "user_id": owner,
        "user": here.name(owner),
        "department_id": department_id,
        "department": department,
        "active": here.known.company.active(owner) or owner not in here.known.company.users,
        "open": sum(one.open for one in by_bucket.values()),
        "overdue": sum(one.late for one in by_bucket.values()),
        "today": due[here.today],
        "next_7_workdays": sum(due.values()) - due[here.today],
        "later": by_bucket.get(len(days) + 1, Counted()).open,
        "no_deadline": by_bucket.get(None, Counted()).open,
        "by_day": {day.isoformat(): count for day, count in planned.items()},
        **_free_places(here, owner, {day: one.to_do for day, one in counted.items()}, people),
    }


def _free_places(here: ReportContext, owner: int, to_do: Mapping[date, int], people: People) -> Line:
    """How many tasks a day a person can do, how many more on each working day, and when they are away."""
    room, working = people.size(owner), [day for day in to_do if here.known.calendar.is_working(day)]
    away = {day: until for day in working if (until := people.presence.away_all_day(owner, day))}
    taken = Counter({here.today: people.closed.get(owner, 0)}) + Counter(to_do)
    free = {day: 0 if day in away else max(room - taken[day], 0) for day in working} if room is not None else {}
    return {
        "room": room,
        "free_by_day": {day.isoformat(): count for day, count in free.items()},
        "away_until": here.local(people.presence.away_at(owner, here.now) or away.get(here.today)),
        "away_days": [day.isoformat() for day in away],
    }


LOAD = Report(
    "load",
    load,
    keys=("user_id", "user", "department_id", "department", "open", "overdue", "today", "next_7_workdays", "later",
          "no_deadline", "by_day", "room", "free_by_day", "away_until"),
    takes=WHO,
    columns=(
        Column("department", empty="report.no_department"),
        Column("user", Form.PERSON, "employee"),
        Column("open", Form.NUMBER),
        Column("overdue", Form.NUMBER),
        Column("today", Form.NUMBER),
        Column("room", Form.ROOM),
        Column("by_day", Form.DAYS, "next"),
    ),
)  # fmt: skip


# --- tasks -----------------------------------------------------------------------------------------------------------


def overdue(store: Store, *, now: datetime, limit: int | None = None, chosen: Selection = ALL) -> list[Line]:
    """Overdue tasks, the oldest deadline first; ``limit`` cuts the list."""
    with scene(store, now) as here:
        rows = queries.late_tasks(here.connection, now=here.now, only=chosen.tasks, limit=limit)
        return [task_line(here, row) for row in rows]


def late(store: Store, *, now: datetime, limit: int | None = None, chosen: Selection = ALL) -> list[Line]:
    """Open tasks whose promise is past, also those whose deadline is ahead again, the oldest promise first."""
    with scene(store, now) as here:
        rows = queries.broken_promises(here.connection, now=here.now, only=chosen.tasks, limit=limit)
        return [task_line(here, row) for row in rows]


def late_ages(store: Store, *, now: datetime, chosen: Selection = ALL) -> list[timedelta]:
    """How long ago the promise of each late task was."""
    with scene(store, now) as here:
        return [here.now - one for one in queries.promises_broken(here.connection, now=here.now, only=chosen.tasks)]


def today(store: Store, *, now: datetime, limit: int | None = None, chosen: Selection = ALL) -> list[Line]:
    """Open tasks that are due today, by deadline, also those whose hour is past."""
    with scene(store, now) as here:
        since, until = here.midnight(here.today), here.midnight(here.today + timedelta(days=1))
        rows = queries.due_tasks(here.connection, since=since, until=until, only=chosen.tasks, limit=limit)
        return [task_line(here, row) for row in rows]


OVERDUE = Report(
    "overdue",
    overdue,
    keys=(*TASK_KEYS, "age_hours"),
    takes=(*WHO, *WHAT),
    columns=(TASK, OWNER, SUPERVISOR, Column("age_hours", Form.LATE, "age"), Column("moves", Form.NUMBER),
             FIRST_DEADLINE, DEAL),
    page=(TASK, Column("age_hours", Form.LATE, "age"), Column("deadline", Form.DEADLINE), MOVED, OWNER, SUPERVISOR),
)  # fmt: skip
LATE = Report(
    "late",
    late,
    keys=(*TASK_KEYS, "promise", "late_hours", "overdue"),
    takes=(*WHO, *WHAT),
    columns=(TASK, OWNER, SUPERVISOR, PROMISE, Column("late_hours", Form.LATE, "late_by"), Column("overdue", Form.MARK,
             "overdue_now"), Column("moves_at_all", Form.COUNT, "moves"), DEADLINE, STATUS, DEAL),
    page=(TASK, Column("late_hours", Form.LATE, "late_by"), PROMISE, Column("overdue", Form.MARK, "overdue_now"),
          Column("deadline", Form.MOMENT), MOVED, OWNER, SUPERVISOR),
)  # fmt: skip
TODAY = Report(
    "today",
    today,
    keys=(*TASK_KEYS, "overdue"),
    takes=(*WHO, *WHAT),
    columns=(DEADLINE, TASK, OWNER, SUPERVISOR, DEAL),
    page=(Column("deadline", Form.DUE), TASK, OWNER, SUPERVISOR, STATUS),
)


REPORTS = (LOAD, LATE, OVERDUE, TODAY)


def task_line(here: ReportContext, row: Row[Any]) -> Line:
    """A task as every list of tasks shows it. ``moves`` count towards the limit: a person's move starts them anew;
    ``age_hours`` since the deadline, negative while it is ahead."""
    record = from_row(TaskRecord, row)
    supervisor = supervisor_of(record, here.known.company)
    late = here.now - record.deadline if record.deadline else None
    promise = record.promised
    slipped = record.deadline - record.first_deadline if record.deadline and record.first_deadline else None
    return {
        "task_id": record.portal_id,
        "title": record.title,
        "deal_id": record.deal_id or None,
        "deal": row.deal or "",
        "rule": record.rule_id,
        "owner_id": record.owner_id,
        "owner": here.name(record.owner_id),
        "supervisor_id": supervisor,
        "supervisor": here.name(supervisor),
        "deadline": here.local(record.deadline),
        "first_deadline": here.local(record.first_deadline),
        "promise": here.local(promise),
        "late_hours": hours_of(here.now - promise) if promise else None,
        "moves": record.moves,
        "moves_by_us": record.moves_by_us,
        "moves_by_people": record.moves_by_people,
        "moves_for_absence": record.moves_for_absence,
        "lent_from": here.name(record.lent_from) if record.lent else "",
        "moves_at_all": record.moves_by_us + record.moves_by_people,
        "age_hours": hours_of(late),
        "slip_hours": hours_of(slipped),
        "status": record.status,
        "overdue": is_overdue(record, here.now),
        "awaiting": record.status == AWAITING,
        "open": record.open,
        "closed": here.local(record.closed),
        "kept": bool(record.done_at and promise and record.done_at <= promise),
        "by_service": bool(row.by_service),
        "closed_by_id": record.closed_by,
        "closed_by": here.name(record.closed_by),
    }


# --- one department, one person --------------------------------------------------------------------------------------


def department(store: Store, department_id: int, *, now: datetime) -> Line | None:
    """One department: its head, the departments right below it, and the load of its people, also of those who have
    nothing to do, with those of the departments below. None for one that is not known."""
    people = members(frame(store).company, within(frame(store).company, department_id))
    lines = load(store, now=now, idle=True, chosen=Selection(people=people))
    with scene(store, now) as here:
        known = here.known.company.departments
        own = known.get(department_id)
        if own is None:
            return None
        return {
            "department_id": own.id,
            "department": own.name,
            "parent_id": own.parent_id if own.parent_id in known else 0,
            "parent": known[own.parent_id].name if own.parent_id in known else "",
            "head_id": own.head_id,
            "head": here.name(own.head_id),
            "below": sorted((one.name, one.id) for one in known.values() if one.parent_id == own.id),
            "people": lines,
            "selection": Selection(people=people),
        }


def employee(store: Store, user_id: int, *, now: datetime) -> Line | None:
    """One person: who, under whom, the load, the open tasks by deadline, and those done in the last ``PERIOD``. None
    for somebody who is not known and owns nothing."""
    mine = [line for line in load(store, now=now) if line["user_id"] == user_id]
    with scene(store, now) as here:
        company = here.known.company
        open_ = [task_line(here, row) for row in queries.tasks_of_owner(here.connection, user_id)]
        done = _done(here, user_id)
        known = user_id in company.users
        if not known and not open_ and not done:
            return None
        head = head_over(company, user_id)
        return {
            "user_id": user_id,
            "user": here.name(user_id),
            "active": company.active(user_id) or not known,
            "department_id": here.department(user_id)[0],
            "department": here.department(user_id)[1],
            "head_id": head,
            "head": here.name(head),
            "load": next(iter(mine), None) or _load_line(here, user_id, {}, _days(here), People.read(here)),
            "tasks": open_,
            "done": done,
            "by_service": sum(map(itemgetter("by_service"), done)),
            "kept_first": sum(map(itemgetter("kept_first"), done)),
            "kept_last": sum(map(itemgetter("kept_last"), done)),
        }


def _done(here: ReportContext, user_id: int) -> list[Line]:
    since = here.now - PERIOD
    self_id = here.known.company.self_id
    found = queries.done_of_owner(here.connection, user_id, since=since, self_id=self_id)
    return [_done_line(here, row) for row in found]


def _done_line(here: ReportContext, row: Row[Any]) -> Line:
    """What the service closed is no person's work and keeps no deadline."""
    line = task_line(here, row)
    closed = None if line["by_service"] else line["closed"]
    kept = {
        key: bool(closed and line[key] and closed <= line[key]) for key in ("first_deadline", "deadline", "promise")
    }
    return line | {"kept": kept["promise"], "kept_first": kept["first_deadline"], "kept_last": kept["deadline"]}
