"""The store: everything the service must not forget, in one database. Every method is one transaction of its own.

Safe to use from many threads: readers see the last commit and wait for nobody, writers queue. Methods that take an
``epoch`` write for the holder of the lease and raise LeaseLost for anybody else. All raise StoreError, in one line for
the administrator, when the database is locked, full, damaged or not writable. Moments are aware datetimes; those that
come back are UTC.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from bitrix_sync.model.actions import Kind
from bitrix_sync.model.facts import Absence, Cursor, Deal, Unread, Visit
from bitrix_sync.model.operations import (
    Changeset,
    DeadlineChange,
    DealState,
    OperationResult,
    State,
    StoredOperation,
    TaskRecord,
    Trace,
)
from bitrix_sync.store import changes, clocks, lease, ledger, queries, recall, recording, retention, slots
from bitrix_sync.store.database import BUSY_SECONDS, Database, insert_new, upsert
from bitrix_sync.store.flags import Flags
from bitrix_sync.store.lease import Lease
from bitrix_sync.store.rows import chunks, to_cursor
from bitrix_sync.store.schema import bindings, page_sessions, picks, portal, rules_seen, told
from bitrix_sync.store.slots import Request, Sweep


def _go_on(_name: str) -> None:
    """No crash."""


crash_point: Callable[[str], None] = _go_on
"""Called before and after every commit with its name (``record:before-commit``, ``record:after-commit``, ...): where a
test ends the process."""


class Store:
    """The database at ``url`` (``sqlite:///path``), created or brought to the present version when it is opened."""

    def __init__(
        self,
        url: str,
        *,
        crash_point: Callable[[str], None] | None = None,
        busy_seconds: float = BUSY_SECONDS,
        create: bool = True,
    ) -> None:
        """``crash_point``: for this store alone, not the module's. ``create``: make the file if it is missing."""
        self._crash_point = crash_point
        self._database = Database(url, busy_seconds=busy_seconds, create=create)
        self._watch = lease.Watch()
        self.flags = Flags(self.reading, partial(self._writing, "set_flag"))

    @property
    def path(self) -> Path:
        """The file."""
        return self._database.path

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
    def _writing(self, name: str, epoch: int | None = None) -> Iterator[Connection]:
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
        with self._writing("take_lease") as connection:
            epoch = lease.take(connection, holder=holder, pid=pid, host=host, now=now, watch=self._watch)
            if epoch is not None and base is not None:
                clocks.hand_over(connection, base=base, now=now)
            return epoch

    def renew_lease(self, epoch: int, now: datetime, level: float | None = None) -> bool:
        """Another 30 s; ``level`` is the pacer's, kept for a successor. False: another holder has taken over."""
        with self._writing("renew_lease") as connection:
            return lease.renew(connection, epoch=epoch, now=now, level=level)

    def drop_lease(self, epoch: int) -> None:
        """The holder goes in peace: the next one need not wait."""
        with self._writing("drop_lease") as connection:
            lease.drop(connection, epoch)

    def lease(self) -> Lease | None:
        """Who holds the lease (or held it last, and did not drop it)."""
        with self.reading() as connection:
            return lease.read(connection)

    def rate_limiter(self) -> tuple[float, datetime] | None:
        """The pacer's level at the last renewal that told it, and when that was (the holder's clock)."""
        with self.reading() as connection:
            row = connection.execute(select(portal.c.pacer_level, portal.c.pacer_at)).one()
        return None if row.pacer_level is None else (row.pacer_level, row.pacer_at)

    def clock_shift(self, base: float) -> timedelta | None:
        """What to add to a moment that the last holder noted by its clock, to have it by the clock with this ``base``;
        None: nobody can tell."""
        with self.reading() as connection:
            return clocks.shift(connection, base)

    # --- small things ------------------------------------------------------------------------------------------------

    def cursor(self) -> Cursor | None:
        """How far the portal has been read; None before the first start."""
        with self.reading() as connection:
            return to_cursor(connection.execute(select(portal)).one())

    # --- the page's sessions -----------------------------------------------------------------------------------------

    def open_session(self, digest: str, *, now: datetime, over: datetime, seal: str) -> None:
        """Keeps a session of the page by its digest; those begun before ``over`` go. ``seal`` is the password's."""
        with self._writing("open_session") as connection:
            connection.execute(delete(page_sessions).where(page_sessions.c.began < over))
            connection.execute(insert(page_sessions).values(digest=digest, seal=seal, began=now))

    def has_session(self, digest: str) -> bool:
        """True for one that was opened and not ended."""
        with self.reading() as connection:
            known = select(page_sessions.c.digest).where(page_sessions.c.digest == digest)
            return connection.execute(known).first() is not None

    def end_session(self, digest: str) -> None:
        """The page's visitor has logged out."""
        with self._writing("end_session") as connection:
            connection.execute(delete(page_sessions).where(page_sessions.c.digest == digest))

    def end_foreign_sessions(self, *, seal: str) -> None:
        """Ends what was opened with another password."""
        with self._writing("end_foreign_sessions") as connection:
            connection.execute(delete(page_sessions).where(page_sessions.c.seal != seal))

    # --- names -------------------------------------------------------------------------------------------------------

    def bindings(self) -> dict[str, str]:
        """Names of the rules file that were resolved once, and to what."""
        with self.reading() as connection:
            return {row.name: row.bound for row in connection.execute(select(bindings))}

    def bind(self, names: Mapping[str, str]) -> None:
        """Keeps what names resolve to; a name bound before is bound anew."""
        with self._writing("bind") as connection:
            upsert(connection, bindings, [{"name": name, "bound": bound} for name, bound in names.items()])

    def rules_loaded(self) -> dict[str, datetime]:
        """When each rule was loaded for the first time."""
        with self.reading() as connection:
            return {row.rule_id: row.loaded for row in connection.execute(select(rules_seen))}

    def note_rules(self, ids: Iterable[str], at: datetime) -> None:
        """Rules that are loaded now; those noted before keep their first time."""
        with self._writing("note_rules") as connection:
            insert_new(connection, rules_seen, [{"rule_id": rule, "loaded": at} for rule in ids])

    # --- what is known -----------------------------------------------------------------------------------------------

    def deal_states(self, ids: Iterable[int], *, now: datetime | None = None) -> dict[int, DealState]:
        """All that is known of each deal asked for; ``deal`` is None for one that is gone or was never seen. ``moved``
        holds the automatic moves of the 24 hours before ``now`` (the portal's; None: before the last recording)."""
        with self.reading() as connection:
            return recall.deal_states(connection, ids, now=now)

    def deals(self, ids: Iterable[int] | None = None, *, open_only: bool = False) -> dict[int, Deal]:
        """Deals by id as last read, without those that are gone; None: all. ``open_only``: neither won nor lost."""
        with self.reading() as connection:
            return recall.known_deals(connection, None if ids is None else list(ids), open_only=open_only)

    def deal_titles(self, ids: Iterable[int]) -> dict[int, str]:
        """The titles of deals, gone ones too, by id."""
        with self.reading() as connection:
            return recall.deal_titles(connection, ids)

    def present_visits(self, stages: Iterable[str]) -> dict[int, Visit]:
        """The visit in which each deal that stands in one of these stages is now, by deal."""
        with self.reading() as connection:
            return recall.present_visits(connection, stages)

    def due_deals(self, now: datetime) -> list[int]:
        """Deals whose ``wake_at`` has come, and those of which something that could not be read is to be asked for."""
        with self.reading() as connection:
            return recall.due_deals(connection, now)

    def unjudged(self) -> dict[int, tuple[datetime, Unread]]:
        """Deals that wait to be judged, for something needed could not be read: since when, and what."""
        with self.reading() as connection:
            return recall.unjudged_deals(connection)

    def known_visits(self, ids: Iterable[int]) -> dict[int, Visit]:
        """Those of the ids that are recorded, with what they were: the id alone is no identity."""
        with self.reading() as connection:
            return recall.known_visits(connection, ids)

    def newest_visit(self) -> Visit | None:
        """The visit with the highest id."""
        with self.reading() as connection:
            return recall.newest_visit(connection)

    def anchors(self, *, newest: int, older: int) -> list[Visit]:
        """By which a portal is known: so many of the newest visits, and others spread over all before them, by id."""
        with self.reading() as connection:
            return recall.anchors(connection, newest, older)

    def visits_from(self, first: int, *, before: datetime) -> list[Visit]:
        """Visits with this id or a higher one that were entered before a moment, by id."""
        with self.reading() as connection:
            return recall.visits_from(connection, first, before)

    def task_records(
        self, refs: Collection[str] | None = None, portal_ids: Collection[int] | None = None
    ) -> list[TaskRecord]:
        """Tasks by ref, by portal id, or both; neither: all."""
        with self.reading() as connection:
            return recall.task_records(connection, refs=refs, portal_ids=portal_ids)

    def open_tasks(self) -> list[TaskRecord]:
        """Every open task, ours and foreign, also those still on their way to the portal (``portal_id`` None)."""
        with self.reading() as connection:
            return recall.open_tasks(connection)

    def tasks_of_rule(self, rule_id: str, *, since: datetime) -> list[TaskRecord]:
        """Tasks of a rule made since then (the portal's time), also those still on their way."""
        with self.reading() as connection:
            return recall.tasks_of_rule(connection, rule_id, since=since)

    def open_deadlines(self) -> dict[int, list[datetime]]:
        """The deadlines of open tasks by owner, rising."""
        with self.reading() as connection:
            return recall.open_deadlines(connection)

    def picks(self) -> dict[tuple[str, int], int]:
        """The place of each (pool, user id) in the order of picking: the greater, the later it was picked last."""
        with self.reading() as connection:
            return {(row.pool, row.user_id): row.place for row in connection.execute(select(picks))}

    def slips(self, refs: Collection[str] | None = None, *, sweep: str | None = None) -> list[DeadlineChange]:
        """Changes of deadlines, oldest first: of these tasks, of this sweep, or all."""
        with self.reading() as connection:
            return recall.all_slips(connection, refs=refs, sweep=sweep)

    def traces(self, deal_id: int, rule_id: str | None = None) -> list[Trace]:
        """Why rules did, or did not do, something on the deal; oldest first."""
        with self.reading() as connection:
            return recall.traces_of(connection, deal_id, rule_id=rule_id)

    def told(self, keys: Iterable[str]) -> set[str]:
        """Those of the keys that were told already."""
        with self.reading() as connection:
            return {
                key
                for part in chunks(list(keys))
                for key in connection.execute(select(told.c.key).where(told.c.key.in_(part))).scalars()
            }

    def told_between(self, prefix: str, begin: datetime, end: datetime) -> set[str]:
        """Keys of that beginning that were told after ``begin`` and up to ``end``."""
        with self.reading() as connection:
            said = select(told.c.key).where(told.c.key.startswith(prefix, autoescape=True))
            return set(connection.execute(said.where(told.c.at > begin, told.c.at <= end)).scalars())

    def record(self, recorded: Changeset, epoch: int) -> list[int]:
        """Writes down a pass or sweep, all or nothing; returns the ids of the operations that are new, rising.

        What is known stays as it is: visits, moments (the first wins for ever), operation keys, told keys. Deals and
        tasks are overwritten; a task's portal id once known is kept. A deal's ``wake_at`` is that of its decision.
        Operations on tasks that are gone, or could not be created, are dropped.
        """
        with self._writing("record", epoch) as connection:
            return recording.write(connection, recorded)

    def note_absences(self, told: Collection[Absence], now: datetime) -> None:
        """Remembers the absences that the portal tells, with since when they are known."""
        with self._writing("note_absences") as connection:
            changes.note_absences(connection, told, now)

    # --- operations --------------------------------------------------------------------------------------------------

    def ready(
        self, now: datetime, limit: int, exclude_kinds: Collection[Kind] = (), scarce: Mapping[Kind, int] | None = None
    ) -> list[StoredOperation]:
        """What may be sent now (our clock), by urgency, then age. Never two on one task (items of one check list aside,
        once that is there), never one that would overtake an earlier unfinished one on its task or an earlier
        unfinished move of its deal. ``scarce``: of these kinds only what is of that urgency or a lower number."""
        with self.reading() as connection:
            return ledger.ready(connection, now=now, limit=limit, exclude_kinds=exclude_kinds, scarce=scarce or {})

    def mark_sending(self, ids: Sequence[int], epoch: int, now: datetime) -> list[int]:
        """Commits that these are being sent, before the first byte leaves; returns those that were still planned:
        only these may be sent. A deadline on its way counts as sent by us from here on."""
        with self._writing("mark_sending", epoch) as connection:
            return ledger.mark_sending(connection, ids, epoch=epoch, now=now)

    def finish(self, outcomes: Sequence[OperationResult], epoch: int, now: datetime) -> None:
        """What became of operations, with all that follows for their tasks; one that has ended is left alone.

        CREATE done: the task has its portal id; failed or dropped: its status is 0 and operations that wait for it are
        dropped. DEADLINE done: the task's deadline, a Slip, the counts of moves. PEOPLE, COMPLETE, DEFER, DELETE
        likewise. PLANNED: to be sent again, not before ``not_before``. UNKNOWN: noticed now.
        """
        with self._writing("finish", epoch) as connection:
            ledger.finish(connection, outcomes, now)

    def settle_at_start(self, now: datetime) -> int:
        """Every operation that was being sent is unknown now; returns how many. For a new holder of the lease."""
        with self._writing("settle_at_start") as connection:
            return ledger.settle(connection, now)

    def settle_sending(self, epoch: int, now: datetime) -> int:
        """The same for the holder itself after trouble, while it sends nothing."""
        with self._writing("settle_sending", epoch) as connection:
            return ledger.settle(connection, now)

    def stuck(self, before: datetime) -> int:
        """How many operations are being sent since before that moment (our clock), longer than a request takes."""
        with self.reading() as connection:
            return ledger.stuck(connection, before)

    def unknown(self) -> list[StoredOperation]:
        """Operations of which nobody knows whether they arrived; ``sent`` and ``noticed`` say since when."""
        return self.operations(state=State.UNKNOWN)

    def operations(
        self,
        *,
        state: State | Collection[State] | None = None,
        sweep: str | None = None,
        keys: Collection[str] | None = None,
        ids: Collection[int] | None = None,
        deal_id: int | None = None,
        kind: Kind | None = None,
        error_code: str | None = None,
        limit: int | None = None,
    ) -> list[StoredOperation]:
        """Operations that fit every condition given (of ``keys`` and ``ids`` one), by id."""
        with self.reading() as connection:
            return ledger.find(
                connection,
                state=state,
                sweep=sweep,
                keys=keys,
                ids=ids,
                deal_id=deal_id,
                kind=kind,
                error_code=error_code,
                limit=limit,
            )

    def untold_failures(self) -> list[StoredOperation]:
        """What the portal refused and nobody was told of yet, by id."""
        with self.reading() as connection:
            return ledger.untold_failures(connection)

    def refused(self) -> list[StoredOperation]:
        """Creations and moves that the portal refused, of the visits in which their deals still are, by id."""
        with self.reading() as connection:
            return ledger.refused(connection)

    def counts(self) -> dict[State, int]:
        """How many operations are in each state; states without any are missing."""
        with self.reading() as connection:
            return ledger.counts(connection)

    def waiting(self) -> dict[Kind, int]:
        """How many operations of each kind have no end yet, those held back aside."""
        with self.reading() as connection:
            return ledger.waiting(connection)

    def unsent(self, ids: Sequence[int]) -> int:
        """How many of these operations are still to be sent, or being sent."""
        with self.reading() as connection:
            return queries.unsent(connection, ids)

    def created_since(self, moment: datetime) -> int:
        """Tasks decided since then (the portal's time) and let through: not held, watched or dropped."""
        with self.reading() as connection:
            return ledger.created_since(connection, moment)

    def resent_creates(self, before: datetime) -> list[StoredOperation]:
        """Ended creations that were unknown once and sent again, the last time before that moment (our clock): the
        portal may hold two tasks with their mark."""
        with self.reading() as connection:
            return ledger.resent_creates(connection, before)

    def last_writes(self, refs: Collection[str]) -> dict[str, datetime]:
        """When we last wrote to each of these tasks of ours (our clock)."""
        with self.reading() as connection:
            return ledger.last_writes(connection, refs)

    def drop_unsent(self, rule_id: str, *, since: datetime) -> int:
        """Drops the creations of a rule decided since then (the portal's time) that were never sent; how many."""
        with self._writing("drop_unsent") as connection:
            return ledger.drop_unsent(connection, rule_id, since)

    def release(self, now: datetime, keys: Collection[str] | None = None, *, later: int = 0) -> int:
        """Plans what is held, all or these keys, to be looked up before it is sent; returns how many. ``later``: they
        are so much less urgent from now on."""
        with self._writing("release") as connection:
            return ledger.release(connection, keys, later)

    # --- requests of commands ----------------------------------------------------------------------------------------

    def ask(self, kind: str, args: Mapping[str, Any], *, now: datetime) -> int:
        """Asks the running service for something; returns the request's id. ``now`` is our clock."""
        with self._writing("ask") as connection:
            return slots.ask(connection, kind, args, now)

    def next_request(self, epoch: int) -> Request | None:
        """The oldest request that nobody works at, taken by the holder; also one that a former holder left behind."""
        with self.reading() as connection:  # asked twice a second, mostly in vain: without the lock of a writer
            lease.require(connection, epoch)
            if slots.waiting(connection, epoch) is None:
                return None
        with self._writing("next_request", epoch) as connection:
            return slots.take(connection, epoch)

    def is_asked(self) -> bool:
        """True while a request waits that nobody works at."""
        with self.reading() as connection:
            return slots.is_asked(connection)

    def answer(self, number: int, ok: bool, result: Any = None) -> None:
        """The outcome of a request, JSON-able, for the command that waits."""
        with self._writing("answer") as connection:
            slots.answer(connection, number, ok=ok, result=result)

    def note_request(self, number: int, result: Any) -> None:
        """How far a request is, JSON-able, for the command that waits."""
        with self._writing("note_request") as connection:
            slots.note(connection, number, result)

    def withdraw(self, number: int) -> bool:
        """Takes back a request that nobody has begun; False: too late."""
        with self._writing("withdraw") as connection:
            return slots.withdraw(connection, number)

    def request(self, number: int) -> Request | None:
        """A request as it stands."""
        with self.reading() as connection:
            return slots.read_request(connection, number)

    # --- sweeps ------------------------------------------------------------------------------------------------------

    def claim_sweep(
        self, slot: str, moment: datetime, *, state: str = slots.CLAIMED, summary: Mapping[str, Any] | None = None
    ) -> bool:
        """True once for each slot, with the moment it counts from; False for everybody after. ``state``: of a slot that
        is not to run."""
        with self._writing("claim_sweep") as connection:
            return slots.claim(connection, slot, moment, state=state, summary=summary or {})

    def slots_since(self, since: str) -> set[str]:
        """Names of the slots that were claimed since then (``2026-03-12``)."""
        with self.reading() as connection:
            return slots.names(connection, since)

    def move_counts(self, slot: str) -> dict[State, int]:
        """How many moves of a sweep are in each state."""
        with self.reading() as connection:
            found = queries.moves_of_sweeps(connection, [slot]).get(slot, {})
        return {State(state): count for state, count in found.items()}

    def sweep(self, slot: str) -> Sweep | None:
        """The sweep of a slot."""
        with self.reading() as connection:
            return next(iter(slots.read_sweeps(connection, slot, None)), None)

    def sweeps(self, limit: int | None = None) -> list[Sweep]:
        """Sweeps, newest first."""
        with self.reading() as connection:
            return slots.read_sweeps(connection, None, limit)

    def close_sweep(self, slot: str, state: str, summary: Mapping[str, Any]) -> None:
        """What became of a claimed sweep; KeyError if nobody claimed it."""
        with self._writing("close_sweep") as connection:
            slots.close(connection, slot, state, summary)

    # --- upkeep ------------------------------------------------------------------------------------------------------

    def prune(self, before: datetime, *, past_before: datetime) -> int:
        """Forgets what only explains and is older than ``before``, and what held before ``past_before`` (see
        ``retention``); returns how many rows."""
        with self._writing("prune") as connection:
            return retention.prune(connection, before, past_before=past_before)

    def backup(self, target: str | PathLike[str]) -> None:
        """A consistent copy in one file (mode 0600) while the service runs; StoreError if the file is there already."""
        self._database.backup(Path(target))
