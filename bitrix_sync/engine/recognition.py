"""What is known is told from what only has its number: rows of the history by deal, time and stage, tasks by mark.

The portal counts its ids again when it is made anew or put back from its backup. Nothing is ever recognised by its id
alone; and a mark of ours that the store does not know belongs to it all the same, if its visit and its deal agree.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from bitrix_sync.decisions import plan
from bitrix_sync.decisions.guards import is_stranger, is_unmarked
from bitrix_sync.model.actions import Kind, SetPeople
from bitrix_sync.model.facts import PortalTask, Visit
from bitrix_sync.model.items import ItemKind
from bitrix_sync.model.keys import Key, Occurrence, Purpose, occurrence_in
from bitrix_sync.model.operations import DeadlineChange, State, TaskRecord
from bitrix_sync.portal import reading
from bitrix_sync.portal.client import Portal
from bitrix_sync.store import Store

OUT_OF_TURN = timedelta(hours=1)
"""Ids of history rows rise with their time, some minutes aside: a lower id that came so much later is of another
count."""


@dataclass(slots=True)
class Rows:
    """History rows of one reading. ``new``: not known yet. ``against``: new ones that no portal can have beside those
    known: an id used again, or one that comes long after higher ones."""

    new: list[Visit] = field(default_factory=list)
    against: list[Visit] = field(default_factory=list)


def same(one: Visit, other: Visit) -> bool:
    """True for one and the same entry of a deal into a stage."""
    return (one.id, *_entry(one)) == (other.id, *_entry(other))


def _entry(visit: Visit) -> tuple[int, datetime, str]:
    return visit.deal_id, visit.entered.replace(microsecond=0), visit.stage_id


def rows(store: Store, read: Sequence[Visit]) -> Rows:
    """Which rows are new. One that repeats a known visit of its deal (same time, stage and type) under a new id, while
    the old id is no longer there, is that visit: the deal was restored."""
    known = store.known_visits([visit.id for visit in read])
    unknown = [visit for visit in read if visit.id not in known or not same(visit, known[visit.id])]
    if not unknown:
        return Rows()
    restored = _no_more_there(store, unknown, {visit.id for visit in read})
    new = [visit for visit in unknown if (*_entry(visit), visit.kind) not in restored]
    return Rows(new, against(store, new, known))


def _no_more_there(store: Store, unknown: Iterable[Visit], there: Collection[int]) -> set[tuple[object, ...]]:
    """The known entries of these visits' deals whose ids are not there."""
    states = store.deal_states(sorted({visit.deal_id for visit in unknown}))
    return {
        (*_entry(visit), visit.kind) for state in states.values() for visit in state.visits if visit.id not in there
    }


def against(store: Store, new: Iterable[Visit], known: Mapping[int, Visit]) -> list[Visit]:
    """Those of the new rows that cannot stand beside what is known."""
    found = []
    for kind, rows in of_kinds(new).items():
        newest = store.newest_visit(kind)
        found += [
            visit
            for visit in rows
            if newest is not None
            if visit.id in known or (visit.id < newest.id and visit.entered - newest.entered > OUT_OF_TURN)
        ]
    return found


def of_kinds(visits: Iterable[Visit]) -> dict[ItemKind, list[Visit]]:
    """The visits of each kind of items: only among them numbers rise with time."""
    found: dict[ItemKind, list[Visit]] = {}
    for visit in visits:
        found.setdefault(visit.row.kind, []).append(visit)
    return found


def lost_visits(store: Store, contradicted: Sequence[Visit], true: Iterable[Visit]) -> list[Visit]:
    """The visits remembered that a portal has no more which shows these rows instead, and still has those that are
    ``true``. Its ids went back to a number: what came later went too, unless some of that is there."""
    known = store.known_visits([visit.id for visit in contradicted])
    lost = [known[one.id] for one in contradicted if one.id in known and not same(one, known[one.id])]
    there = of_kinds(true)
    for kind, rows in of_kinds(contradicted).items():
        first = min(visit.id for visit in rows)
        if not any(visit.id >= first for visit in there.get(kind, ())):
            lost += store.visits_from(first, before=max(visit.entered for visit in rows))
    return list(dict.fromkeys(lost))


def lost_tasks(store: Store, portal: Portal, lost: Sequence[Visit], true: Sequence[Visit]) -> list[TaskRecord]:
    """The tasks of visits that a portal still has, which were made after what it was put back to and are there no
    more: nobody deleted them."""
    since = max((visit.entered for visit in true), default=min(visit.entered for visit in lost))
    gone = {visit.id for visit in lost}
    made = {
        record.portal_id: record
        for record in store.tasks_made(since=since)
        if record.portal_id is not None and not record.gone and record.visit_id not in gone
    }
    there = {task.id for task in reading.tasks(portal, list(made)) if not is_stranger(task, made[task.id])}
    there |= portal.memory.bad.ids("task")
    unmade = [record for number, record in made.items() if number not in there]
    # a row that could not be read, or has vanished, contradicts nothing and proves nothing: its task is not made again
    known = store.known_visits({record.visit_id for record in unmade})
    shown = reading.visits(portal, sorted(known)) if known else []
    kept = {visit.id for visit in shown if same(visit, known[visit.id])}
    return [record for record in unmade if record.visit_id in kept]


@dataclass(slots=True)
class Observed:
    """What reading tasks taught. ``tasks``: records by ref that differ from those remembered. ``touched``: deals of
    rules' tasks of which something is new that a decision may look at. ``strangers``: those remembered whose
    number is another task's now. ``met``: tasks with a mark of ours that this store has not sent. ``doubted``: keys
    of creations on their way whose task is there already."""

    tasks: dict[str, TaskRecord] = field(default_factory=dict)
    slips: list[DeadlineChange] = field(default_factory=list)
    touched: set[int] = field(default_factory=set)
    strangers: list[TaskRecord] = field(default_factory=list)
    met: list[PortalTask] = field(default_factory=list)
    doubted: list[str] = field(default_factory=list)


def shown(portal: Portal, records: Iterable[TaskRecord]) -> dict[int, PortalTask]:
    """The tasks of these records as the portal shows them now, by its ids."""
    ids = [record.portal_id for record in records if record.portal_id is not None]
    return {task.id: task for task in reading.tasks(portal, ids)}


def not_shown(portal: Portal, records: Iterable[TaskRecord], seen: Collection[int]) -> list[TaskRecord]:
    """Those of the records whose tasks were not seen when they were asked for. What could not be read is there."""
    there = {*seen, *portal.memory.bad.ids("task")}
    return [record for record in records if record.portal_id not in there]


def observe(store: Store, read: Iterable[PortalTask], *, at: datetime) -> Observed:
    """Compare the tasks read with those remembered; a task of ours on its way is left to its operation."""
    seen, observed = {task.id: task for task in read}, Observed()
    known = _known(store, seen, observed)
    named = {task.id: name for task in seen.values() if task.id not in known and (name := occurrence_in(task.mark))}
    marked = {one.occurrence: one for one in store.task_records(refs=list(named.values()))} if named else {}
    unsent = unsent_creations(store, marked)
    owners = owners_to_be(store, [one for one in known.values() if one.owner_id != seen[one.portal_id or 0].owner_id])
    for task in seen.values():
        if task.id in named:
            _take_marked(store, observed, marked.get(named[task.id]), task, at, unsent)
        else:
            before = known.get(task.id)
            _take(observed, before, task, at, owners.get(before.ref, ()) if before is not None else ())
    return observed


def owners_to_be(store: Store, handed: Sequence[TaskRecord]) -> dict[str, list[int]]:
    """Whom these tasks go to by changes of ours that have no end yet, by ref."""
    found: dict[str, list[int]] = {one.ref: [] for one in handed}
    for row in store.operations(state=(State.SENDING, State.UNKNOWN), kind=Kind.PEOPLE) if handed else ():
        change = row.operation.action
        if isinstance(change, SetPeople) and change.owner and row.operation.task in found:
            found[row.operation.task].append(change.owner)
    return found


def _known(store: Store, seen: dict[int, PortalTask], observed: Observed) -> dict[int, TaskRecord]:
    """The records that bear the numbers of these tasks, and are theirs; the others are noted as strangers. Tasks of
    which nobody can say whose they are leave ``seen``."""
    known = {}
    for record in store.task_records(portal_ids=list(seen)):
        number = record.portal_id or 0
        if is_unmarked(seen[number], record):
            del seen[number]
            continue
        if not is_stranger(seen[number], record):
            known[number] = record
            continue
        observed.strangers.append(record)
        if record.occurrence:
            observed.tasks[record.ref] = replace(record, gone=True, portal_id=None)
            observed.touched |= {record.deal_id} - {0}
    return known


def _take_marked(
    store: Store,
    observed: Observed,
    ours: TaskRecord | None,
    task: PortalTask,
    at: datetime,
    unsent: Mapping[str, str],
) -> None:
    """A task with a mark of ours under a number that we do not know; ``ours``: the record of that mark, if any."""
    if ours is None or (ours.portal_id is not None and is_others(store, ours, task)):
        observed.met.append(task)
        _take(observed, None, task, at)
    elif ours.portal_id is not None:  # a twin
        _take(observed, None, task, at)
    elif ours.status == 0 or ours.gone:  # it is there though its creation failed, or is so again
        _take(observed, replace(ours, portal_id=task.id), task, at)
    elif ours.ref in unsent:
        observed.met.append(task)
        observed.doubted.append(unsent[ours.ref])


def _take(
    observed: Observed, before: TaskRecord | None, task: PortalTask, at: datetime, owners: Collection[int] = ()
) -> None:
    after, slip = plan.observe(before, task, at=at, owners=owners)
    if after != before:
        observed.tasks[after.ref] = after
        if after.rule_id and after.deal_id and matters(before, after):
            observed.touched.add(after.deal_id)
    if slip is not None:
        observed.slips.append(slip)


def matters(before: TaskRecord | None, after: TaskRecord) -> bool:
    """False when only that is new of a task which no decision looks at, as after our own creation of it."""
    if before is None:
        return True
    shown = {name: getattr(before, name) for name in ("title", "creator_id", "auditors", "created", "changed")}
    return replace(after, **shown) != before


def unsent_creations(store: Store, marked: Mapping[str, TaskRecord]) -> dict[str, str]:
    """Of these occurrences, those whose creation this store never sent, with its key."""
    keys = {str(Key(Purpose.CREATE, ref)): ref for ref, record in marked.items() if record.portal_id is None}
    rows = store.operations(keys=list(keys)) if keys else []
    return {keys[row.operation.key]: row.operation.key for row in rows if not row.attempts}


def is_others(store: Store, record: TaskRecord, task: PortalTask) -> bool:
    """True when a second task with the mark of one that we know was made by somebody else in our way: we sent ours
    once, so it is no twin of our own making; and a copy that a person makes has another creator."""
    sent = [row.attempts for row in store.operations(keys=[str(Key(Purpose.CREATE, record.occurrence))])]
    return record.creator_id in (0, task.creator_id) and sent == [1]


def by_mark(task: PortalTask, *, at: datetime) -> TaskRecord | None:
    """A task of ours that is not remembered, known by its mark; None for a foreign one. What was said to it is not
    known, so its deadline is the promise."""
    occurrence = Occurrence.parse(occurrence_in(task.mark))
    if occurrence is None:
        return None
    return replace(
        plan.meet(task),
        occurrence=occurrence_in(task.mark),
        visit_id=occurrence.visit,
        rule_id=occurrence.rule,
        number=occurrence.number,
        basis=plan.ADOPTED,
        sent=(task.deadline,) if task.deadline else (),
    )


def adopt(
    met: Iterable[PortalTask], visits: Mapping[int, Visit], *, at: datetime, apart: Collection[str] = ()
) -> list[TaskRecord]:
    """The records of those met whose visit and deal agree. ``apart``: occurrences that are remembered."""
    found: dict[str, TaskRecord] = {}
    for task in sorted(met, key=lambda task: -task.id):
        record = by_mark(task, at=at)
        visit = visits.get(record.visit_id) if record is not None else None
        if record is None or visit is None or visit.deal_id not in task.deal_ids or record.ref in apart:
            continue
        found[record.ref] = replace(record, deal_id=visit.deal_id, started=visit.entered)
    return list(found.values())
