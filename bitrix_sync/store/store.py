"""The store: everything the service must not forget, in one database. Every method is one transaction of its own;
within a ``view`` all that one thread reads between two writes is one.

Safe to use from many threads: readers see the last commit and wait for nobody, writers queue. Methods that take an
``epoch`` write for the holder of the lease and raise LeaseLost for anybody else. All raise StoreError, in one line for
the administrator, when the database is locked, full, damaged or not writable. Moments are aware datetimes; those that
come back are UTC.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial, wraps
from os import PathLike
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection

from bitrix_sync.model.operations import Changeset, OperationResult, State, StoredOperation
from bitrix_sync.store import (
    changes,
    changeset,
    clocks,
    deals,
    escalations,
    lease,
    names,
    operations,
    page_sessions,
    queries,
    requests,
    retention,
    steps,
    sweeps,
    tasks,
    traces,
    trial,
    visits,
)
from bitrix_sync.store.database import Database
from bitrix_sync.store.dialects import BUSY_SECONDS
from bitrix_sync.store.flags import Flags
from bitrix_sync.store.requests import Request
from bitrix_sync.store.rows import delete_rows
from bitrix_sync.store.schema import DEFAULT_PORTAL

P = ParamSpec("P")
T = TypeVar("T")


def _go_on(_name: str) -> None:
    """No crash."""


crash_point: Callable[[str], None] = _go_on
"""Called before and after every commit with its name (``record:before-commit``, ``record:after-commit``, ...): where a
test ends the process."""


def reads(function: Callable[Concatenate[Connection, P], T]) -> Callable[Concatenate[Store, P], T]:
    """The function as a method: a reading transaction of its own."""

    @wraps(function)
    def method(store: Store, /, *args: P.args, **named: P.kwargs) -> T:
        with store.reading() as connection:
            return function(connection, *args, **named)

    return method


def writes(name: str, function: Callable[Concatenate[Connection, P], T]) -> Callable[Concatenate[Store, P], T]:
    """The function as a method of that name: a writing transaction of its own."""

    @wraps(function)
    def method(store: Store, /, *args: P.args, **named: P.kwargs) -> T:
        with store.writing(name) as connection:
            return function(connection, *args, **named)

    return method


class Store:
    """The database at ``url`` (``sqlite:///path``), created or brought to the present version when it is opened."""

    def __init__(
        self,
        url: str,
        *,
        crash_point: Callable[[str], None] | None = None,
        busy_seconds: float = BUSY_SECONDS,
        create: bool = True,
        portal: int = DEFAULT_PORTAL,
    ) -> None:
        """``crash_point``: for this store alone, not the module's. ``create``: make the file if it is missing.
        ``portal``: the number of the one that is served, in a database of many."""
        self._crash_point = crash_point
        self._database = Database(url, busy_seconds=busy_seconds, create=create, portal=portal)
        self.view, self.look_away = self._database.view, self._database.look_away
        """Many readings of one thread as one transaction."""
        self.version = self._database.version
        self._watch = lease.Watch()
        self.flags = Flags(self.reading, partial(self.writing, "set_flag"))

    @property
    def on_network(self) -> str:
        """The kind of network disk on which it lies, as ``nfs4``; "" for none."""
        return self._database.on_network

    @property
    def name(self) -> str:
        """The file, or the server's database."""
        return self._database.name

    @property
    def size(self) -> int:
        """Bytes that the database takes."""
        return self._database.size

    def close(self) -> None:
        """Closes every connection."""
        self._database.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection for queries that see one and the same commit (reports)."""
        with self._database.reading() as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self, name: str, epoch: int | None = None) -> Iterator[Connection]:
        """A writing transaction, named for the tests that end the process in it; ``epoch``: of the holder alone."""
        with self._database.writing() as connection:
            if epoch is not None:
                lease.require(connection, epoch)
            yield connection
            self._pass(f"{name}:before-commit")
        self._pass(f"{name}:after-commit")

    def _pass(self, point: str) -> None:
        (self._crash_point or crash_point)(point)

    # --- the lease ---------------------------------------------------------------------------------------------------

    def take_lease(self, holder: str, pid: int, host: str, now: datetime, *, base: float | None = None) -> int | None:
        """The new epoch, or None while another holder works. A holder of this machine works as long as its process
        lives; one of another machine is succeeded when we have seen no renewal for 30 s. ``now`` is our clock, ``base``
        where it has its origin (``clock.Clock``): what a former holder noted by its own is understood by ours from now
        on."""
        with self.writing("take_lease") as connection:
            epoch = lease.take(connection, holder=holder, pid=pid, host=host, now=now, watch=self._watch)
            if epoch is not None and base is not None:
                clocks.hand_over(connection, base=base, now=now)
            return epoch

    renew_lease = writes("renew_lease", lease.renew)
    drop_lease = writes("drop_lease", lease.drop)
    pace = reads(lease.pace)
    clock_shift = reads(clocks.shift)
    lease = reads(lease.read)

    # --- the page's sessions -----------------------------------------------------------------------------------------

    open_session = writes("open_session", page_sessions.begin)
    has_session = reads(page_sessions.stands)
    end_session = writes("end_session", page_sessions.end)
    end_foreign_sessions = writes("end_foreign_sessions", page_sessions.end_foreign)

    # --- names -------------------------------------------------------------------------------------------------------

    bindings = reads(names.bound)
    bind = writes("bind", names.bind)
    rules_loaded = reads(names.rules_loaded)
    note_rules = writes("note_rules", names.note_rules)
    picks = reads(names.picked)
    told = reads(names.told_of)
    escalations = reads(escalations.known)
    told_between = reads(names.told_between)

    # --- what is known -----------------------------------------------------------------------------------------------

    cursor = reads(changeset.cursor)
    deal_states = reads(deals.deal_states)
    deal_titles = reads(deals.deal_titles)
    due_deals = reads(deals.due_deals)
    unjudged = reads(deals.unjudged_deals)
    deals = reads(deals.known_deals)
    present_visits = reads(visits.present_visits)
    known_visits = reads(visits.known_visits)
    newest_visit = reads(visits.newest_visit)
    anchors = reads(visits.anchors)
    visits_from = reads(visits.visits_from)
    task_records = reads(tasks.task_records)
    open_tasks = reads(tasks.open_tasks)
    tasks_of_rule = reads(tasks.tasks_of_rule)
    tasks_made = reads(tasks.tasks_made)
    open_deadlines = reads(tasks.open_deadlines)
    slips = reads(tasks.deadline_changes)
    activity_ends = reads(steps.activity_ends)
    planned_activities = reads(steps.planned_activities)
    forget_activities = writes("forget_activities", steps.forget)
    steps = reads(steps.steps)
    traces = reads(traces.of_deal)
    note_absences = writes("note_absences", changes.note_absences)
    known_absences = reads(changes.known_absences)
    closings = reads(queries.closings)
    undone_since = reads(queries.undone_since)
    lending_counts = reads(queries.lending_counts)

    def record(self, made: Changeset, epoch: int) -> list[int]:
        """Writes down a pass or sweep, all or nothing; returns the ids of the operations that are new, rising.

        What is known stays as it is: visits, moments (the first wins for ever), operation keys, told keys. Deals and
        tasks are overwritten; a task's portal id once known is kept. A deal's ``wake_at`` is that of its decision.
        Operations on tasks that are gone, or could not be created, are dropped.
        """
        with self.writing("record", epoch) as connection:
            return changeset.write(connection, made)

    # --- operations --------------------------------------------------------------------------------------------------

    def mark_sending(self, ids: Sequence[int], epoch: int, now: datetime) -> list[int]:
        """Commits that these are being sent, before the first byte leaves; returns those that were still planned:
        only these may be sent. A deadline on its way counts as sent by us from here on."""
        with self.writing("mark_sending", epoch) as connection:
            return operations.mark_sending(connection, ids, epoch=epoch, now=now)

    def finish(
        self, outcomes: Sequence[OperationResult], epoch: int, now: datetime, at: datetime | None = None
    ) -> None:
        """What became of operations, with all that follows for their tasks; one that has ended is left alone.

        CREATE done: the task has its portal id; failed or dropped: its status is 0 and operations that wait for it are
        dropped. DEADLINE done: the task's deadline, a DeadlineChange, the counts of moves. PEOPLE, COMPLETE, DEFER,
        DELETE likewise. PLANNED: to be sent again, not before ``not_before``. UNKNOWN: noticed now
        (our clock); whatever ends does so ``at``, the portal's time, by which all that is told later is compared.
        """
        with self.writing("finish", epoch) as connection:
            operations.finish(connection, outcomes, now, at)

    def settle_sending(self, epoch: int, now: datetime) -> int:
        """The same as at a start, for the holder itself after trouble, while it sends nothing."""
        with self.writing("settle_sending", epoch) as connection:
            return operations.settle(connection, now)

    def unknown(self) -> list[StoredOperation]:
        """Operations of which nobody knows whether they arrived; ``sent`` and ``noticed`` say since when."""
        return self.operations(state=State.UNKNOWN)

    def move_counts(self, slot: str) -> dict[State, int]:
        """How many moves of a sweep are in each state."""
        with self.reading() as connection:
            found = queries.moves_of_sweeps(connection, [slot]).get(slot, {})
        return {State(state): count for state, count in found.items()}

    settle_at_start = writes("settle_at_start", operations.settle)
    release = writes("release", operations.release)
    drop_unsent = writes("drop_unsent", operations.drop_unsent)
    ready = reads(operations.ready)
    put_off_until = reads(operations.put_off_until)
    stuck = reads(operations.stuck)
    untold_failures = reads(operations.untold_failures)
    refused = reads(operations.refused)
    counts = reads(operations.counts)
    waiting = reads(operations.waiting)
    unsent = reads(operations.unsent)
    created_since = reads(operations.created_since)
    resent_creates = reads(operations.resent_creates)
    last_writes = reads(operations.last_writes)
    operations = reads(operations.find)

    # --- requests of commands ----------------------------------------------------------------------------------------

    def next_request(self, epoch: int) -> Request | None:
        """The oldest request that nobody works at, taken by the holder; also one that a former holder left behind."""
        with self.reading() as connection:  # asked twice a second, mostly in vain: without the lock of a writer
            lease.require(connection, epoch, hold=False)
            if requests.waiting(connection, epoch) is None:
                return None
        with self.writing("next_request", epoch) as connection:
            return requests.take(connection, epoch)

    ask = writes("ask", requests.ask)
    is_asked = reads(requests.is_asked)
    answer = writes("answer", requests.answer)
    note_request = writes("note_request", requests.note)
    withdraw = writes("withdraw", requests.withdraw)
    request = reads(requests.find)

    # --- sweeps ------------------------------------------------------------------------------------------------------

    claim_sweep = writes("claim_sweep", sweeps.claim)
    close_sweep = writes("close_sweep", sweeps.close)
    slots_since = reads(sweeps.names)
    sweep = reads(sweeps.of_slot)
    sweeps = reads(sweeps.latest)

    # --- upkeep ------------------------------------------------------------------------------------------------------

    prune = writes("prune", retention.prune)
    forget_trial = writes("forget_trial", trial.forget)
    trial_of_sweep = reads(queries.trial_moves)

    def backup(self, target: str | PathLike[str]) -> None:
        """A consistent copy in one file (mode 0600) while the service runs; StoreError if the file is there already."""
        self._database.backup(Path(target))

    def forget(self) -> None:
        """All that is known of the portal is gone."""
        with self.writing("forget") as connection:
            delete_rows(connection)

    def take_over(self, source: Store, epoch: int) -> None:
        """All that another store holds in place of what is here, all or nothing; the lease goes back at its end. The
        epoch never falls: what a former holder still sends is refused."""
        with source.reading() as rows, self.writing("take_over", epoch) as connection:
            self._database.take_over(rows, connection)
            lease.hand_back(connection, epoch)
