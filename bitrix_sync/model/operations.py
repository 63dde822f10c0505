"""The words of the ledger: what was decided, what is sent, what became of it. Pure data.

Whatever changes the portal is an ``Operation`` with a unique key that says what it is for. A task of ours is a
``TaskRecord`` named by its occurrence; the portal's task carries the same as its mark. Names are written in ``keys``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Literal

from bitrix_sync.model.actions import Action, Kind
from bitrix_sync.model.facts import DEFERRED, DONE, OPEN_STATUSES, WAITING, Ahead, Cursor, Deal, Unread, Visit
from bitrix_sync.model.keys import foreign_ref

OwnerForm = Literal["responsible", "head", "other"]
"""Whether a task follows the deal's responsible: it does for the first two."""


STUCK = timedelta(minutes=5)
"""What is being sent for so long has met trouble that nobody foresaw: no request takes so long."""


class State(StrEnum):
    """Life of an operation. planned → sending → done | failed | unknown; unknown is looked up, then done or planned."""

    PLANNED = "planned"
    HELD = "held"  # by a safety limit, or an owner who cannot be found; ``release`` plans it
    WATCHED = "watched"  # decided under ``watch: true``: reported, never sent
    SENDING = "sending"
    UNKNOWN = "unknown"
    DONE = "done"
    FAILED = "failed"
    DROPPED = "dropped"  # became pointless before it was sent; ``error`` says why


@dataclass(frozen=True, slots=True)
class Operation:
    """A change of the portal, recorded before it is carried out.

    ``key`` is unique for ever. ``task`` is the occurrence (ours) or ``task:<portal id>`` (foreign) it acts on, "" for
    none; its portal id is found when it is sent. ``urgency``: lower goes first. ``look_first``: decided from old news,
    so the portal is searched for the mark before the first send.
    """

    key: str
    action: Action
    deal_id: int = 0
    task: str = ""
    urgency: int = 50
    look_first: bool = False
    not_before: datetime | None = None
    sweep: str = ""
    state: State = State.PLANNED

    @property
    def kind(self) -> Kind:
        """What it does in the portal."""
        return self.action.kind

    @property
    def forgotten(self) -> bool:
        """True of one that ended so long ago that the store has emptied it."""
        return self.action == type(self.action)()


@dataclass(frozen=True, slots=True)
class StoredOperation:
    """An operation as the store holds it. Moments are of our own clock except ``created`` (the portal's)."""

    id: int
    operation: Operation
    state: State
    attempts: int = 0
    task_id: int | None = None
    """The portal's id of the task it acts on, when known."""
    result: int | None = None
    """The id that the portal gave (task, checklist item, message)."""
    error_code: str = ""
    error_text: str = ""
    created: datetime | None = None
    sent: datetime | None = None
    noticed: datetime | None = None


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """What is remembered of a task: of a rule, from its decision on; of others (``occurrence`` ""), once seen.

    ``portal_id`` is None until the portal has it. ``status`` is the portal's (0: its creation failed). ``owner_sent``,
    ``supervisor_id`` and ``sent`` (every deadline ever sent, cut to minutes) are what we last said, so that a person's
    change is told from ours. ``basis`` names what the deadline was counted from; it is computed anew only when that
    changes. ``moves`` are moves by sweeps that count towards the limit: a person's move starts them anew."""

    occurrence: str
    deal_id: int = 0
    rule_id: str = ""
    visit_id: int = 0
    number: int = 1
    deadline: datetime | None = None
    owner_id: int = 0
    supervisor_id: int | None = None
    title: str = ""
    portal_id: int | None = None
    status: int = WAITING
    gone: bool = False
    owner_form: OwnerForm = "other"
    owner_sent: int = 0
    creator_id: int = 0
    auditors: tuple[int, ...] = ()
    first_deadline: datetime | None = None
    basis: str = ""
    sent: tuple[datetime, ...] = ()
    follow_off: bool = False
    moves: int = 0
    moves_by_us: int = 0
    moves_by_people: int = 0
    started: datetime | None = None
    """The moment its deadline is counted from (entry, start, again)."""
    created: datetime | None = None
    changed: datetime | None = None
    closed: datetime | None = None
    closed_by: int | None = None
    """Who closed it, as the portal says; None: not known."""
    promise: datetime | None = None
    """The deadline as its rule last gave it, but for what followed a promise that was past; None: the first one."""
    priority: int = 1
    """As the portal has it: 0 low, 1 normal, 2 high."""
    moves_for_absence: int = 0
    """Moves by sweeps that were made because of an absence; they do not count towards the limit."""
    lent_from: int | None = None
    """Whose it is while a substitute has it."""
    lent_at: datetime | None = None
    """When it was last lent or given back (the portal's time)."""
    bound: tuple[int, ...] | None = None
    """The deals that it is bound to, where that is not ``deal_id`` alone."""
    ended: datetime | None = None
    """Since when it is no step ahead of its deals any more: done, put off, or noticed to be gone."""

    @property
    def ref(self) -> str:
        """Its name in operations: the occurrence, or ``task:<portal id>`` for a foreign task."""
        return self.occurrence or foreign_ref(self.portal_id)

    @property
    def promised(self) -> datetime | None:
        """By when it was to be done; None: it never had a deadline."""
        return self.promise or self.first_deadline

    @property
    def lent(self) -> bool:
        """True while it is with a substitute, and no person has given it to somebody else since."""
        return self.lent_from is not None and self.owner_id == self.owner_sent

    @property
    def open(self) -> bool:
        """Not gone and in an open status (one that is still on its way to the portal is open)."""
        return not self.gone and self.status in OPEN_STATUSES

    @property
    def deals(self) -> tuple[int, ...]:
        """The deals that it is bound to."""
        return ((self.deal_id,) if self.deal_id else ()) if self.bound is None else self.bound

    @property
    def ahead(self) -> bool:
        """True of a step that is still to be done: open and not put off."""
        return self.open and self.status != DEFERRED

    def noticed(self, at: datetime) -> TaskRecord:
        """The same, with its end, if it has come to one that was not noticed before ``at``."""
        if self.ahead or self.status == 0:
            return self if self.ended is None else replace(self, ended=None)
        if self.done_at is not None:
            return replace(self, ended=self.done_at)
        put_off = self.changed if self.status == DEFERRED and not self.gone else None
        return replace(self, ended=self.ended or put_off or at)

    @property
    def done_at(self) -> datetime | None:
        """When it was completed; None while it was not, or is gone."""
        return self.closed if self.status == DONE and not self.gone else None

    @property
    def workable(self) -> bool:
        """Open, and in the portal already."""
        return self.open and self.portal_id is not None


@dataclass(frozen=True, slots=True)
class DeadlineChange:
    """One change of a deadline. ``by``: "people", "follow", "sweep" or "undo"; ``sweep`` "2026-03-12/evening" or "";
    ``mover``: the person, if the portal told."""

    ref: str
    before: datetime | None
    after: datetime | None
    by: str
    at: datetime
    sweep: str = ""
    mover: int | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison: what was seen and what was wanted."""

    what: str
    seen: str
    wanted: str
    ok: bool


@dataclass(frozen=True, slots=True)
class Steps:
    """What was, and is, planned with a deal. ``visit``: its present one; ``busy``: a task of it is to be done;
    ``ended``: when the last task or activity was over; ``planned``: the deadlines of its planned activities."""

    visit: Visit
    busy: bool = False
    ended: datetime | None = None
    planned: tuple[datetime | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Trace:
    """Why a rule did, or did not do, something on a visit. ``verdict`` is a word of ``texts.VERDICTS``; ``data`` are
    the values its sentence needs. Kept only when it differs from the last one of the same (visit, rule)."""

    deal_id: int
    visit_id: int
    rule_id: str
    verdict: str
    at: datetime
    data: Mapping[str, Any] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True, slots=True)
class DealState:
    """All that is remembered of one deal. ``deal`` None: gone. ``visits`` by id, ``tasks`` ours in order of making.
    ``moments``: (visit id, name) → when it happened, for ever, or when a person asked for it last.
    ``keys``: keys of operations already recorded for it. ``moved``: automatic moves (done or planned), for the
    brake."""

    deal_id: int
    deal: Deal | None
    visits: tuple[Visit, ...] = ()
    tasks: tuple[TaskRecord, ...] = ()
    moments: Mapping[tuple[int, str], datetime] = field(default_factory=dict)
    keys: frozenset[str] = frozenset()
    moved: tuple[datetime, ...] = ()
    handled: frozenset[int] = frozenset()
    """Visits that were read as history (first start): facts, not reasons to act."""
    unmade: Mapping[str, State] = field(default_factory=dict)
    """Occurrences whose creation is held, has failed or was dropped."""
    underway: Mapping[tuple[str, Kind], tuple[Action, ...]] = field(default_factory=dict)
    """(occurrence, DEADLINE, PEOPLE, COMPLETE or DELETE) → such changes that have no end yet, the newest last."""
    steps: Steps | None = None
    """What is planned with it; None: not known now, to be asked at ``look_again``."""
    look_again: datetime | None = None

    def task(self, occurrence: str) -> TaskRecord | None:
        """The record of an occurrence."""
        return next((one for one in self.tasks if one.occurrence == occurrence), None)


@dataclass(frozen=True, slots=True)
class Decision:
    """What ``plan.decide`` makes of one deal: to be recorded in one transaction, then applied."""

    deal_id: int
    operations: tuple[Operation, ...] = ()
    tasks: tuple[TaskRecord, ...] = ()
    """New and changed records, whole."""
    traces: tuple[Trace, ...] = ()
    moments: Mapping[tuple[int, str], datetime] = field(default_factory=dict)
    asked: Mapping[tuple[int, str], datetime] = field(default_factory=dict)
    """Moments of which the latest counts: what a person asked for."""
    wake_at: datetime | None = None
    """When the deal must be looked at again though nothing changes (``again``)."""


@dataclass(frozen=True, slots=True)
class Escalation:
    """The last step at which something undone was told: ``key`` says of what, ``step`` how high, ``at`` when.
    ``spell`` names what must not change for the steps to go on; None: whatever it is now, "" after they ended."""

    key: str
    spell: str | None
    step: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Changeset:
    """What one pass or sweep writes, in one transaction. ``at`` is the portal's time. ``cursor`` None: unchanged.

    ``history``: visits that are facts of the past (first start), not reasons to act. ``tasks`` are whole records,
    written by ``ref``. ``picks``: (pool, user id) in the order in which round robin took them. ``sweep``: a claimed
    slot, the state that it is in from now on, and its summary."""

    at: datetime
    cursor: Cursor | None = None
    visits: tuple[Visit, ...] = ()
    history: bool = False
    deals: tuple[Deal, ...] = ()
    gone_deals: tuple[int, ...] = ()
    tasks: tuple[TaskRecord, ...] = ()
    slips: tuple[DeadlineChange, ...] = ()
    decisions: tuple[Decision, ...] = ()
    operations: tuple[Operation, ...] = ()
    picks: tuple[tuple[str, int], ...] = ()
    told: tuple[str, ...] = ()
    escalated: tuple[Escalation, ...] = ()
    retired: tuple[Visit, ...] = ()
    """Visits that the portal's history has no more, forgotten before all else: their ids may be other visits' now."""
    unmade: tuple[str, ...] = ()
    """Tasks (refs) that the portal lost when it was put back, forgotten likewise: they are made again."""
    released: tuple[str, ...] = ()
    """Tasks (refs) whose numbers are other tasks' now: they are gone."""
    doubted: tuple[str, ...] = ()
    """Creations (keys) whose tasks were seen in the portal before they were sent: they are looked up first."""
    renewed: tuple[Operation, ...] = ()
    """What was held or refused and is decided anew: planned (or held) as it is here."""
    unjudged: Mapping[int, Unread] = field(default_factory=dict)
    """Deals that were to be judged, of which something needed could not be read: they are judged later."""
    traces: tuple[Trace, ...] = ()
    """Why something was done or not, beside those of the decisions."""
    sweep: tuple[str, str, Mapping[str, Any]] | None = None
    ahead: Ahead | None = None
    """What was read of activities; None: nothing."""
    trial: tuple[Operation, ...] = ()
    """What would be done, if rules did not only watch: kept for reports alone."""


@dataclass(frozen=True, slots=True)
class OperationResult:
    """What became of a sent (or looked up) operation. ``state`` DONE, FAILED, UNKNOWN, DROPPED, or PLANNED to send it
    again not before ``not_before`` (our clock). ``stranger``: its task's number is another task's now, so that the one
    that we knew is gone."""

    id: int
    state: State
    result: int | None = None
    error_code: str = ""
    error_text: str = ""
    not_before: datetime | None = None
    stranger: bool = False
