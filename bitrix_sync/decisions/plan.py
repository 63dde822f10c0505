"""What a deal's move becomes: one deal's facts and the rules in, operations with their traces out. Pure.

``decide`` looks at the whole deal each time and says what is not yet said: keys, records and moments that are already
known make it say nothing, so deciding twice is the same as deciding once. Within a deal the order is that of the rules
language: visits by id; in each, what the ended visit's tasks undergo, then new tasks in the file's order; then
following; then advancing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from bitrix_sync.decisions.idle import idle_for, idle_since
from bitrix_sync.decisions.sleeping import asleep
from bitrix_sync.model.actions import (
    Action,
    AddItem,
    AddLine,
    CompleteTask,
    CreateTask,
    DeferTask,
    DeleteTask,
    Ending,
    Kind,
    MoveDeal,
    ResumeTask,
    SendMessage,
    SetDeadline,
    SetPeople,
)
from bitrix_sync.model.facts import (
    DEFERRED,
    DONE,
    IN_PROGRESS,
    WAITING,
    Company,
    Contact,
    Deal,
    DealField,
    PortalTask,
    Visit,
)
from bitrix_sync.model.items import Item
from bitrix_sync.model.keys import Key, Moment, Occurrence, Purpose, purpose_of
from bitrix_sync.model.operations import (
    Check,
    DeadlineChange,
    DealState,
    Decision,
    Operation,
    OwnerForm,
    State,
    TaskRecord,
    Trace,
)
from bitrix_sync.model.presence import Presence
from bitrix_sync.model.worktime import Calendar
from bitrix_sync.rules.conditions import CannotJudge, Facts, Judgement
from bitrix_sync.rules.context import Context, TaskFacts, build_context
from bitrix_sync.rules.deadlines import MINUTES, Computed, DeadlineError, compute, counted
from bitrix_sync.rules.fields import TEXTS, Unfit, fit
from bitrix_sync.rules.filters import TemplateFault
from bitrix_sync.rules.model import (
    Becomes,
    Deadline,
    Done,
    Duration,
    Entered,
    Event,
    Head,
    Idle,
    Person,
    Responsible,
    Rule,
    Rules,
    StagePolicy,
    UserId,
)
from bitrix_sync.rules.persons import (
    Chosen,
    Picks,
    StandIns,
    follow_owner,
    head_over,
    resolve_owner,
    resolve_people,
    resolve_supervisor,
)
from bitrix_sync.rules.plain_keys import PRIORITIES, portal_fields
from bitrix_sync.rules.templates import render
from bitrix_sync.words import texts

TITLE_LIMIT = 250
MOST_DEALS = 100
OLD_NEWS = timedelta(minutes=10)
AUTOMATIC_MOVES = 5
DAY = timedelta(days=1)
ENDABLE = frozenset({WAITING, IN_PROGRESS, DEFERRED})
TAKEN_OVER = "taken over"
"""Basis of a task that belongs to a new visit now: its deadline is counted anew from there."""
ADOPTED = "adopted"
"""Basis of a task of ours that was found in the portal by its mark: what its deadline was counted from, and whom its
owner follows, is found out at the first look, if they are still those that the rule gives; else they stay."""
FORMS: Mapping[type[Person], OwnerForm] = {Responsible: "responsible", Head: "head"}
"""Owners that go along with the deal's responsible."""
UNREAD_RESTS = timedelta(hours=1)
"""When a deal is looked at again of which a rule is off because something that it names could not be read."""
STEPS_REST = timedelta(minutes=1)
"""When a deal is looked at again of which it is not known what is planned with it."""
UNMADE = "unmade"
"""Basis of a task whose deadline was to follow, which the portal refused."""
ACTS = frozenset({Moment.LEFT, Moment.CLOSED})
"""Moments that say what we did; the others say what happened."""
ENDS = (Kind.COMPLETE, Kind.DELETE)
ENDINGS: Mapping[str, type[Ending]] = {"complete": CompleteTask, "defer": DeferTask, "delete": DeleteTask}

LINES_OF_LENDING = {Purpose.LEND: Purpose.LINE_OF_LEND, Purpose.GIVE_BACK: Purpose.LINE_OF_GIVE_BACK}
SWEPT = 60
"""Urgency of what sweeps do."""
URGENT, CREATE, ADVANCE, CHANGE, CHECKLIST, LINE, MESSAGE = 10, 20, 25, 30, 40, 45, 50
"""Urgency of operations: a first task with a near deadline goes before everything else."""
LATER = 60
"""Added for a task of the past, that a person asked for (``backfill``, ``release``): what happens now goes first."""


@dataclass(frozen=True, slots=True)
class Backfill:
    """What a person asks for: the rules act on the deal's present visit although it began before they were loaded.

    ``rules``: these alone, None for all. ``from_now``: deadlines are counted from now. ``again``: what ``remove`` took
    away is made once more."""

    rules: frozenset[str] | None = None
    from_now: bool = False
    again: bool = False

    def covers(self, rule_id: str) -> bool:
        """True for a rule that is asked for."""
        return self.rules is None or rule_id in self.rules


@dataclass(frozen=True, slots=True)
class World:
    """What every deal's decision shares. ``loaded``: when each rule was first loaded (portal's time). ``started``: when
    this process began. ``companies`` and ``contacts`` only when the file uses them."""

    company: Company
    picks: Picks
    loaded: Mapping[str, datetime]
    started: datetime
    companies: Mapping[int, Contact] = field(default_factory=dict)
    contacts: Mapping[int, Contact] = field(default_factory=dict)


def decide(
    state: DealState,
    rules: Rules,
    world: World,
    *,
    now: datetime,
    responsible_before: int | None = None,
    backfill: Backfill | None = None,
) -> Decision:
    """Decide one deal at the portal's time ``now``.

    ``responsible_before`` is the deal's responsible when it was last seen (None: not seen before). ``backfill``: what
    a person asks for beyond what comes by itself.
    """
    if state.deal is None or not state.visits:
        return Decision(state.deal_id)
    return _Deciding(state, state.deal, rules, world, now, backfill).run(responsible_before)


def decide_anew(
    state: DealState,
    rules: Rules,
    world: World,
    *,
    occurrence: str,
    now: datetime,
    refused: bool = False,
    backfill: Backfill | None = None,
) -> Decision | None:
    """Decide a task whose creation is held, or was refused, once more: its owner, deadline and text as they are now.

    The creation and its check list, to be planned in the place of those there were, and the record with its trace. None
    when there is still nobody to own it, or its rule, its visit or its deal is gone. ``refused``: also None when the
    deal has gone on, or the rule would not act on it any more. ``backfill``: which brings it.
    """
    record = state.task(occurrence)
    rule = rules.by_id.get(record.rule_id) if record is not None else None
    if state.deal is None or record is None or rule is None or rule.disabled:
        return None
    deciding = _Deciding(state, state.deal, rules, world, now, backfill)
    visit = deciding.visit_of(record)
    if visit is None or (refused and not deciding.is_wanted(rule, visit)):
        return None
    return deciding.make_anew(rule, visit, record)


def advance_anew(state: DealState, rules: Rules, world: World, *, now: datetime) -> Operation | None:
    """The automatic move of a deal that was refused in its present visit; None when it is not wanted any more."""
    deal = state.deal
    if deal is None or deal.closed or not state.visits:
        return None
    refused = str(Key(Purpose.ADVANCE, Item.of(max(visit.id for visit in state.visits))))
    state = replace(state, keys=state.keys - {refused})
    deciding = _Deciding(state, deal, rules, world, now)
    deciding.advance()
    return next((one for one in deciding.operations if one.key == refused), None)


def change_anew(state: DealState, rules: Rules, world: World, *, refused: Operation, now: datetime) -> Decision | None:
    """What comes today of a change of an open task that was refused; None: it is not wanted any more."""
    record = next((one for one in state.tasks if one.occurrence == refused.task), None)
    rule = rules.by_id.get(record.rule_id) if record is not None else None
    if state.deal is None or not state.visits or record is None or rule is None or rule.disabled:
        return None
    return _Deciding(state, state.deal, rules, world, now).change_anew(rule, record, refused)


def lend(
    state: DealState,
    rules: Rules,
    world: World,
    *,
    occurrence: str,
    to: int,
    until: datetime,
    slot: str,
    now: datetime,
) -> Decision | None:
    """A sweep gives an open task to ``to``, who stands in for its owner until that moment; None: its rule or deal is
    gone."""
    record, rule = state.task(occurrence), None
    if record is not None:
        rule = rules.by_id.get(record.rule_id)
    if state.deal is None or not state.visits or record is None or rule is None:
        return None
    deciding = _Deciding(state, state.deal, rules, world, now)
    deciding.lend(record, rule, to, until, slot)
    return deciding.of_sweep(slot)


def give_back(
    state: DealState, rules: Rules, world: World, *, occurrence: str, slot: str, now: datetime
) -> Decision | None:
    """A sweep gives a task that was lent to whom its rule would name now; None: its deal is gone."""
    record = state.task(occurrence)
    if state.deal is None or not state.visits or record is None or record.lent_from is None:
        return None
    deciding = _Deciding(state, state.deal, rules, world, now)
    deciding.give_back(record, rules.by_id.get(record.rule_id), record.lent_from, slot)
    return deciding.of_sweep(slot)


def observe(
    record: TaskRecord | None, seen: PortalTask, *, at: datetime, owners: Collection[int] = ()
) -> tuple[TaskRecord, DeadlineChange | None]:
    """What reading a task again teaches: its status and people, and whether a person moved its deadline.

    A deadline that we never sent was set by a person: following ends for ever, the count of moves starts anew. So it
    does when a person hands the task over; ``owners``: whom changes of ours that are on their way hand it to.
    """
    if record is None:
        return meet(seen), None
    known = replace(
        record,
        deal_id=record.deal_id or deal_of(seen),
        title=seen.title,
        status=seen.status,
        moves=record.moves if seen.owner_id in (record.owner_id, *owners) or not record.owner_id else 0,
        gone=False,
        owner_id=seen.owner_id,
        creator_id=seen.creator_id,
        auditors=seen.auditors,
        created=record.created or seen.created,
        changed=seen.changed,
        closed=seen.closed if seen.status == DONE else None,
        closed_by=seen.closed_by if seen.status == DONE else None,
        first_deadline=record.first_deadline or seen.deadline,
        deadline=seen.deadline,
        priority=seen.priority,
        bound=bound_elsewhere(seen, record.deal_id or deal_of(seen)),
    ).noticed(at)
    if seen.deadline == record.deadline or seen.deadline in record.sent:
        return known, None
    moved = replace(known, follow_off=True, moves=0, moves_by_people=record.moves_by_people + 1)
    return moved, DeadlineChange(
        record.ref, record.deadline, seen.deadline, "people", seen.changed or at, mover=seen.changed_by
    )


def meet(seen: PortalTask) -> TaskRecord:
    """The record of a task that is read for the first time."""
    return TaskRecord(
        occurrence="",
        deal_id=deal_of(seen),
        deadline=seen.deadline,
        owner_id=seen.owner_id,
        owner_sent=seen.owner_id,
        title=seen.title,
        portal_id=seen.id,
        status=seen.status,
        creator_id=seen.creator_id,
        auditors=seen.auditors,
        first_deadline=seen.deadline,
        created=seen.created,
        changed=seen.changed,
        closed=seen.closed,
        closed_by=seen.closed_by,
        priority=seen.priority,
        bound=bound_elsewhere(seen, deal_of(seen)),
    )


def bound_elsewhere(seen: PortalTask, deal_id: int) -> tuple[int, ...] | None:
    """The deals that a task is bound to, not more than anybody binds by hand; None: to this one alone, or to none where
    it is nobody's."""
    return None if seen.deal_ids == ((deal_id,) if deal_id else ()) else seen.deal_ids[:MOST_DEALS]


def deal_of(seen: PortalTask) -> int:
    """The first deal that a task is bound to; 0 for none."""
    return seen.deal_ids[0] if seen.deal_ids else 0


def admins_of(rules: Rules, company: Company) -> tuple[int, ...]:
    """Who hears of trouble: the file's admins, else its fallback owner, else the webhook's own user."""
    return rules.admins or ((rules.fallback_owner or company.self_id),)


def taken_away(state: DealState, record: TaskRecord) -> bool:
    """True when ``remove`` deleted the task, or dropped it before it was sent."""
    unsent = state.unmade.get(record.occurrence) is State.DROPPED
    return unsent or (record.gone and str(Key(Purpose.REMOVE, record.ref)) in state.keys)


def next_start(pause: Duration, done: datetime, calendar: Calendar) -> datetime:
    """When ``again`` makes the next task: so much later, counted in days at that day's start of hours."""
    later = counted(Deadline(offset=pause), done, calendar)
    if pause.unit in MINUTES:
        return later
    day = calendar.local(later).date()
    return max(done, calendar.moment(day, calendar.start_of(day)))


def passed_limit(limit: Duration, visit: Visit, calendar: Calendar, now: datetime) -> bool:
    """True when the deal has been in the stage longer than its ``limit``, counted like a deadline from entry."""
    return now > counted(Deadline(offset=limit), visit.entered, calendar)


class _Deciding:
    """One deal's decision in the making. Lives for one call of ``decide``."""

    def __init__(
        self,
        state: DealState,
        deal: Deal,
        rules: Rules,
        world: World,
        now: datetime,
        backfill: Backfill | None = None,
    ) -> None:
        self.state, self.deal, self.rules, self.world, self.now = state, deal, rules, world, now
        self.visits = sorted(state.visits, key=lambda visit: visit.id)
        self.latest = self.visits[-1]
        self.backfill = backfill
        self.records = {record.occurrence: record for record in state.tasks}
        self.changed: dict[str, TaskRecord] = {}
        self.operations: list[Operation] = []
        self.traces: list[Trace] = []
        self.moments: dict[tuple[int, str], datetime] = {}
        self.asked: dict[tuple[int, str], datetime] = {}
        self.wake_at: datetime | None = None
        self.facts = Facts(deal.fields, rules.deal_fields, rules.calendar.zone, rules.language)

    def run(self, responsible_before: int | None) -> Decision:
        if self.backfill is not None:
            self.take_in(self.latest, self.backfill)
        for before, visit in zip([None, *self.visits[:-1]], self.visits, strict=True):
            self.end_tasks(before, visit)
            self.make_tasks(visit)
        if not self.deal.closed:
            self.know_adopted(responsible_before)
            self.follow_deadlines()
            if responsible_before is not None and responsible_before != self.deal.responsible_id:
                self.follow_responsible()
            self.advance()
        return Decision(
            self.deal.id,
            operations=tuple(op for op in self.operations if op.key not in self.state.keys),
            tasks=tuple(self.changed.values()),
            traces=tuple(self.traces),
            moments=self.moments,
            asked=self.asked,
            wake_at=self.wake_at,
        )

    # --- what is remembered ------------------------------------------------------------------------------------------

    def moment(self, visit: Visit, name: str) -> datetime | None:
        key = (visit.id, name)
        return self.asked.get(key) or self.state.moments.get(key) or self.moments.get(key)

    def remember(self, visit: Visit, name: str, at: datetime) -> datetime:
        known = self.moment(visit, name)
        if known is None:
            self.moments[(visit.id, name)] = known = at
        return known

    def take_in(self, visit: Visit, backfill: Backfill) -> None:
        """Note for each rule of the stage that is asked for that it acts on the visit from now on."""
        policy = self.rules.policies.get(visit.stage_id)
        for rule in policy.rules if policy is not None else ():
            if backfill.covers(rule.id):
                names = (Moment.BACKFILL, Moment.FROM_NOW) if backfill.from_now else (Moment.BACKFILL,)
                self.asked |= {(visit.id, name.of(rule.id)): self.now for name in names}

    def keep(self, record: TaskRecord) -> TaskRecord:
        self.records[record.occurrence] = self.changed[record.occurrence] = record
        return record

    def trace(self, visit: Visit, rule_id: str, verdict: str, checks: tuple[Check, ...] = (), **data: Any) -> None:
        self.traces.append(Trace(self.deal.id, visit.id, rule_id, verdict, self.now, data, checks))

    def of_rule(self, rule_id: str, visit: Visit | None = None) -> list[TaskRecord]:
        """The rule's records on this deal, or of one visit, oldest first."""
        if not self.records:
            return []
        found = [
            record
            for record in self.records.values()
            if record.rule_id == rule_id and (visit is None or record.visit_id == visit.id)
        ]
        return sorted(found, key=lambda record: (record.visit_id, record.number))

    def visit_of(self, record: TaskRecord) -> Visit | None:
        return next((visit for visit in self.visits if visit.id == record.visit_id), None)

    # --- events ------------------------------------------------------------------------------------------------------

    def happened(self, visit: Visit) -> Callable[[Event], datetime | None]:
        """When an event happened, as seen from a visit; what has happened stays happened."""

        def find(event: Event) -> datetime | None:
            match event:
                case Done(rule=rule_id, same_stage=same_stage):
                    name = Moment.DONE.of(rule_id)
                    if known := self.moment(visit, name):
                        return known
                    made = self.of_rule(rule_id, visit if same_stage else None)
                    done_at = made[-1].done_at if made else None
                    return self.remember(visit, name, max(done_at, visit.entered)) if done_at else None
                case Entered(stages=stages):
                    later = (v for v in self.visits if v.id > visit.id and v.stage_id in stages)
                    return next((v.entered for v in later), None)
                case Becomes(condition=condition, name=name):
                    if known := self.moment(visit, name):
                        return known
                    if not self.facts.judge(condition).holds:
                        return None
                    first_look = self.moment(visit, Moment.SEEN) is None
                    return self.remember(visit, name, visit.entered if first_look else self.deal.changed)

        return find

    # --- endings -----------------------------------------------------------------------------------------------------

    def end_tasks(self, left: Visit | None, entered: Visit) -> None:
        """What tasks undergo when ``left`` ended with the entry of ``entered``; once, at the first look."""
        if left is not None:
            self.end_each(left, Moment.LEFT, entered, Purpose.LEAVE, lambda record: record.visit_id == left.id)
        if entered.final:
            self.end_each(entered, Moment.CLOSED, entered, Purpose.CLOSE, lambda record: record.visit_id < entered.id)

    def end_each(
        self, visit: Visit, moment: Moment, entered: Visit, why: Purpose, concerns: Callable[[TaskRecord], bool]
    ) -> None:
        if self.moment(visit, moment) is None:
            for record in filter(concerns, list(self.records.values())):
                self.remember(visit, moment, self.now)
                self.end_task(record, entered, why)

    def end_task(self, record: TaskRecord, entered: Visit, why: Purpose) -> None:
        rule = self.rules.by_id.get(record.rule_id)
        if rule is None or rule.disabled or record.gone or record.status not in ENDABLE:
            return
        ending = rule.on_leave if why is Purpose.LEAVE else rule.on_close
        if ending == "keep" or (why is Purpose.CLOSE and self.was_left(record, entered)):
            return
        self.add(Key(why, record.occurrence, entered.row), ENDINGS[ending](why.value), record, urgency=CREATE)
        self.trace(self.visit_of(record) or entered, rule.id, "ended", ending=ending, why=why.value)

    def was_left(self, record: TaskRecord, entered: Visit) -> bool:
        """True when its visit has ended just now, and the task with it."""
        left = str(Key(Purpose.LEAVE, record.occurrence, entered.row))
        return any(op.key == left and op.kind in ENDS for op in self.operations)

    def ending(self, record: TaskRecord) -> bool:
        """True when it is decided that the task be completed or deleted, though the portal does not show it yet."""
        if any(self.state.underway.get((record.occurrence, kind)) for kind in ENDS):
            return True
        return any(op.task == record.occurrence and op.kind in ENDS for op in self.operations)

    # --- new tasks ---------------------------------------------------------------------------------------------------

    def make_tasks(self, visit: Visit) -> None:
        """Each visit is seen, whether or not the file says something of its stage today: one that was over before a
        rule came to its stage is no reason for a task."""
        policy = self.rules.policies.get(visit.stage_id)
        over = visit is not self.latest
        if over and (self.moment(visit, Moment.SEEN) is not None or visit.id in self.state.handled):
            return
        if policy is not None:
            self.note_events(policy, visit)
            self.look_at(policy, visit, over)
        self.remember(visit, Moment.SEEN, self.now)

    def note_events(self, policy: StagePolicy, visit: Visit) -> None:
        """An event happens when it happens, though the rule that counts from it has no task yet."""
        happened = self.happened(visit)
        for rule in policy.rules:
            for event in _events_of(rule):
                with contextlib.suppress(CannotJudge):  # told when the rule needs it
                    happened(event)

    def look_at(self, policy: StagePolicy, visit: Visit, over: bool) -> None:
        """Each rule of the stage in the file's order; a fault of one stops neither the others nor other deals."""
        for rule in policy.rules:
            if reason := self.out_of_reach(rule, visit, over):
                self.trace(visit, rule.id, *reason[:1], **reason[1])
                if rule.unread:
                    self.look_at_deal(self.now + UNREAD_RESTS)
            else:
                self.attempt(rule, visit, self.make_or_repeat)

    def attempt(self, rule: Rule, visit: Visit, act: Callable[[Rule, Visit], None]) -> None:
        """Act for a rule; a fault of it on this deal is traced with what it stumbled over."""
        try:
            act(rule, visit)
        except CannotJudge as fault:
            self.trace(visit, rule.id, "cannot_judge", fault.checks, **fault.said)
        except TemplateFault as fault:
            self.trace(visit, rule.id, "template_error", message=str(fault))
        except DeadlineError as fault:
            self.trace(visit, rule.id, "deadline_error", field=fault.field, value=str(fault.value))

    def make_anew(self, rule: Rule, visit: Visit, held: TaskRecord) -> Decision | None:
        """See ``decide_anew``. The deal is looked at again soon after."""
        if self.backfill is not None:
            self.take_in(visit, self.backfill)
        started = self.counted_from(rule, visit)
        if held.started is not None and (held.number > 1 or rule.start is not None):
            started = max(started, held.started)
        make = partial(self.make, number=held.number, started=started, checks=(), name=held.occurrence)
        self.attempt(rule, visit, make)
        operations = tuple(one for one in self.operations if one.kind in (Kind.CREATE, Kind.CHECKLIST))
        if not operations or operations[0].state is not State.PLANNED:
            return None
        return Decision(self.deal.id, operations, tuple(self.changed.values()), tuple(self.traces), wake_at=self.now)

    def is_wanted(self, rule: Rule, visit: Visit) -> bool:
        """True when the rule would act on the visit today: deal and rule are still there, its condition holds."""
        policy = self.rules.policies.get(visit.stage_id)
        if visit is not self.latest or visit.stage_id != self.deal.stage_id or policy is None:
            return False
        if rule not in policy.rules or self.out_of_reach(rule, visit, over=False):
            return False
        try:
            return self.facts.judge(rule.condition).holds
        except CannotJudge:
            return False

    def out_of_reach(self, rule: Rule, visit: Visit, over: bool) -> tuple[str, dict[str, Any]] | None:
        """Why the rule cannot act on the visit whatever the deal says: a verdict and its values; None: it can."""
        if rule.disabled:
            return "disabled", {"reason": rule.disabled}
        if not self.acts_on(rule, visit):
            return ("history" if visit.id in self.state.handled else "before_rules"), {}
        if self.deal.closed and (over or not visit.final):
            return "deal_closed", {}
        if over and rule.on_leave != "keep":
            return "visit_over", {"on_leave": rule.on_leave}
        return None

    def acts_on(self, rule: Rule, visit: Visit) -> bool:
        """A rule acts on visits that began after it was first loaded; backfill takes in the visit that lasts."""
        loaded = self.world.loaded.get(rule.id)
        if loaded is None:
            return False
        return self.acts_by_itself(rule, visit, loaded) or (visit.id, Moment.BACKFILL.of(rule.id)) in self.asked

    def acts_by_itself(self, rule: Rule, visit: Visit, loaded: datetime) -> bool:
        """Also when an earlier backfill took the visit in, for this rule or, in version 0.1, for all there were."""
        after = visit.entered >= loaded or visit.entered >= loaded.replace(microsecond=0)
        if after and visit.id not in self.state.handled:
            return True
        taken_in = (self.state.moments.get((visit.id, name)) for name in (Moment.BACKFILL.of(rule.id), Moment.BACKFILL))
        return any(moment is not None and moment >= loaded for moment in taken_in)

    def counted_from(self, rule: Rule, visit: Visit) -> datetime:
        """What a new deadline is counted from, unless the rule waits for something: the entry, or a later moment from
        which on the latest backfill has it counted."""
        from_now = self.moment(visit, Moment.FROM_NOW.of(rule.id))
        latest = from_now and self.moment(visit, Moment.BACKFILL.of(rule.id))
        return max(visit.entered, from_now) if from_now and latest and from_now >= latest else visit.entered

    def comes_anew(self, rule: Rule, record: TaskRecord) -> bool:
        """True when backfill makes another task in the place of this one, which was taken away."""
        asked = self.backfill is not None and self.backfill.again and self.backfill.covers(rule.id)
        return asked and taken_away(self.state, record)

    def brought_by(self, rule: Rule, visit: Visit, before: TaskRecord | None) -> str:
        """What brings the rule's task: the entry, so that it comes by itself, or a command."""
        if before is not None and self.comes_anew(rule, before):
            return "again"
        if before is not None and self.state.unmade.get(before.occurrence) is State.FAILED:
            return "backfill"
        loaded = self.world.loaded.get(rule.id)
        return "entry" if loaded is not None and self.acts_by_itself(rule, visit, loaded) else "backfill"

    def make_or_repeat(self, rule: Rule, visit: Visit) -> None:
        made = self.of_rule(rule.id, visit)
        last = made[-1] if made else None
        if isinstance(rule.start, Idle):
            self.when_idle(rule, rule.start, visit, last)
            return
        if last is not None and not self.comes_anew(rule, last):
            self.repeat(rule, visit, last)
            return
        judged = self.facts.judge(rule.condition)
        if not judged.holds:
            self.trace(visit, rule.id, "condition_false", judged.checks)
            return
        started = self.start(rule, visit, last, judged)
        if started is not None and not self.stands_already(rule, visit, started, judged):
            self.make(rule, visit, number=last.number + 1 if last else 1, started=started, checks=judged.checks)

    def start(self, rule: Rule, visit: Visit, last: TaskRecord | None, judged: Judgement) -> datetime | None:
        """What the deadline of a new task is counted from; None while what the rule waits for has not happened."""
        started = self.counted_from(rule, visit)
        if last is not None and last.started is not None:
            started = max(started, last.started)
        if rule.start is None or isinstance(rule.start, Idle):
            return started
        begun = self.happened(visit)(rule.start)
        if begun is None:
            by, checks = self.brought_by(rule, visit, last), judged.checks
            if isinstance(rule.start, Becomes) and not rule.start.field:
                checks += self.facts.judge(rule.start.condition).checks
            self.trace(visit, rule.id, "waiting_start", checks, event=_event_words(rule.start), by=by)
            return None
        return max(begun, started)

    def when_idle(self, rule: Rule, start: Idle, visit: Visit, last: TaskRecord | None) -> None:
        """``start: {idle}``: a task for each time that the deal has had no next step for so long."""
        judged = self.facts.judge(rule.condition)
        if not judged.holds:
            self.trace(visit, rule.id, "condition_false", judged.checks)
            return
        at, by = self.idle_at(rule, start, visit), self.brought_by(rule, visit, last)
        if at is None:
            self.trace(visit, rule.id, "waiting_start", judged.checks, event=_idle_words(start), by=by)
            return
        started = self.counted_from(rule, visit)
        if last is not None and last.started is not None and not self.comes_anew(rule, last):
            if at <= last.started:
                return  # this spell has had its task
            started = max(started, last.started)
        if at > self.now:
            self.look_at_deal(at)
        elif not self.stands_already(rule, visit, max(at, started), judged):
            number = last.number + 1 if last else 1
            self.make(rule, visit, number=number, started=max(at, started), checks=judged.checks)

    def idle_at(self, rule: Rule, start: Idle, visit: Visit) -> datetime | None:
        """When the deal has had, or will have had, no next step for so long; None: nobody can say."""
        steps = self.state.steps
        if visit is not self.latest or self.deal.closed or asleep(self.deal, self.rules, self.now):
            return None
        if steps is None or any(map(self.is_coming, self.records.values())):
            self.look_at_deal(self.state.look_again or self.now + STEPS_REST)
            return None
        since = idle_since(steps, self.rules.next_steps.get(visit.stage_id, start.span), self.rules.calendar)
        at = None if since is None else idle_for(since, start.span, self.rules.calendar)
        if since is not None and at is not None and at > self.now:
            self.trace(visit, rule.id, "waiting_idle", since=since.isoformat(), at=at.isoformat())
        return at

    def is_coming(self, record: TaskRecord) -> bool:
        """True of a task that is on its way to the portal."""
        return record.open and record.portal_id is None and record.occurrence not in self.state.unmade

    def look_at_deal(self, at: datetime) -> None:
        """The deal is looked at again then, if not before."""
        self.wake_at = min(self.wake_at or at, at)

    def stands_already(self, rule: Rule, visit: Visit, started: datetime, judged: Judgement) -> bool:
        """True when a task of an earlier visit stands for the new one, as ``repeat`` says."""
        earlier = [record for record in self.of_rule(rule.id) if not self.comes_anew(rule, record)]
        if rule.repeat == "once" and earlier:
            self.trace(visit, rule.id, "exists", judged.checks, other=earlier[-1].occurrence, repeat="once")
            return True
        if rule.repeat != "if_none_open":
            return False
        still_open = [record for record in earlier if record.open and not self.ending(record)]
        if still_open:
            self.take_over(rule, visit, still_open[-1], started)
        return bool(still_open)

    def take_over(self, rule: Rule, visit: Visit, record: TaskRecord, started: datetime) -> None:
        """``repeat: if_none_open``: the open task belongs to the new visit; its deadline is counted from there. If
        we put it off when the deal went away, it is taken up again."""
        self.trace(visit, rule.id, "exists", other=record.occurrence, repeat="if_none_open")
        stage = self.rules.stage_names.get(visit.stage_id, visit.stage_id)
        text = texts.say(self.rules.language, "line.taken_over", stage=stage)
        self.add(Key(Purpose.LINE_OF_TAKEN, record.occurrence, visit.row), AddLine(text), record, urgency=LINE)
        known = self.state.keys | {operation.key for operation in self.operations}
        put_off = {Purpose.LEAVE: rule.on_leave == "defer", Purpose.CLOSE: rule.on_close == "defer"}
        if any(put_off[why] and Key(why, record.occurrence).among(known) for why in put_off):
            self.add(Key(Purpose.RESUME, record.occurrence, visit.row), ResumeTask("taken over"), record)
        self.keep(replace(record, visit_id=visit.id, number=1, started=started, basis=TAKEN_OVER))

    def repeat(self, rule: Rule, visit: Visit, last: TaskRecord) -> None:
        """``again``: done while the visit lasts, the next task comes that much later."""
        if rule.again is None or visit is not self.latest or (self.deal.closed and not visit.final):
            return
        if last.done_at is None:
            return
        next_at = next_start(rule.again, max(last.done_at, visit.entered), self.rules.calendar)
        if next_at > self.now:
            self.look_at_deal(next_at)
            self.trace(visit, rule.id, "again", number=last.number + 1, at=next_at.isoformat())
            return
        judged = self.facts.judge(rule.condition)
        if judged.holds:
            self.make(rule, visit, number=last.number + 1, started=next_at, checks=judged.checks)
        else:
            self.trace(visit, rule.id, "condition_false", judged.checks)

    def make(
        self,
        rule: Rule,
        visit: Visit,
        *,
        number: int,
        started: datetime,
        checks: tuple[Check, ...],
        name: str = "",
    ) -> None:
        """Decide the task itself: deadline, people, text; its creation, then its check-list. ``name``: its occurrence,
        if it has one already."""
        computed = self.deadline(rule.deadline, visit, started)
        chosen = self.choose_owner(rule, computed.at)
        owner = chosen.user_id or 0
        supervisor = self.supervisor(rule, owner)
        context = self.context(visit, computed, owner, supervisor)
        title = render(rule.title, context=context, limit=TITLE_LIMIT)
        description = self.description(rule, context, chosen)
        own = self.own_fields(rule, context)
        before = self.of_rule(rule.id, visit)
        by = self.brought_by(rule, visit, before[-1] if before else None)
        record = self.keep(
            TaskRecord(
                occurrence=name or str(Occurrence(visit.id, rule.id, number)),
                deal_id=self.deal.id,
                rule_id=rule.id,
                visit_id=visit.id,
                number=number,
                deadline=computed.at,
                owner_id=owner,
                supervisor_id=supervisor,
                title=title,
                owner_form=chosen.form,
                owner_sent=owner,
                first_deadline=computed.at,
                basis=computed.basis,
                sent=(computed.at,),
                started=started,
                created=self.now,
                promise=computed.at,
                priority=PRIORITIES.index(rule.priority),
            )
        )
        if owner:
            self.world.picks.add(owner, computed.at)
        else:
            self.tell_of_nobody(record.occurrence, title)
        fields = self.task_fields(rule, title, description, owner, supervisor, computed.at) | own
        self.add(
            Key(Purpose.CREATE, record.occurrence),
            CreateTask(fields),
            record,
            urgency=(URGENT if computed.at - self.now < DAY else CREATE) + LATER * bool(self.backfill),
            look_first=self.backfill is not None or self.is_old_news(visit),
            state=State.PLANNED if owner else State.HELD,
        )
        if rule.checklist:
            items = (render(one, context=context, limit=TITLE_LIMIT, may_be_empty=True) for one in rule.checklist)
            self.add_checklist(record, list(items))
        self.trace_made(rule, visit, record, checks, computed, chosen, own, by)

    def context(self, visit: Visit, computed: Computed, owner: int, supervisor: int | None) -> Context:
        """What the templates of a task see."""
        return build_context(
            TaskFacts(
                deal=self.deal,
                rules=self.rules,
                company=self.world.company,
                owner_id=owner,
                supervisor_id=supervisor,
                stage_id=visit.stage_id,
                deadline=computed.at,
                client=self.world.companies.get(self.deal.company_id),
                contact=self.world.contacts.get(self.deal.contact_id),
            )
        )

    def description(self, rule: Rule, context: Context, chosen: Chosen) -> str:
        """The task's text; it says so when the task came to its owner because there was nobody else."""
        description = render(rule.description, context=context) if rule.description else ""
        if not chosen.marked:
            return description
        name = self.world.company.name(chosen.user_id or 0)
        note = texts.say(self.rules.language, "line.last_resort", owner=name)
        return f"{description}\n\n{note}".strip()

    def trace_made(
        self,
        rule: Rule,
        visit: Visit,
        record: TaskRecord,
        checks: tuple[Check, ...],
        computed: Computed,
        chosen: Chosen,
        own: Mapping[str, Any],
        by: str,
    ) -> None:
        """Why there is the task, and why it is as it is; ``by``: see ``brought_by``."""
        name = self.world.company.name
        self.trace(
            visit,
            rule.id,
            "made" if record.owner_id else "held_nobody",
            checks,
            task=record.occurrence,
            title=record.title,
            owner=name(record.owner_id) if record.owner_id else "",
            owner_path=list(chosen.path),
            supervisor=name(record.supervisor_id) if record.supervisor_id else "",
            deadline=computed.at.isoformat(),
            branch=computed.branch,
            lifted=computed.lifted,
            by=by,
            **({"fields": {code: self.shown_field(code, value) for code, value in own.items()}} if own else {}),
        )

    def own_fields(self, rule: Rule, context: Context) -> dict[str, Any]:
        """The user fields of the task; one whose templates render to nothing is left out. TemplateFault for a value
        that the field does not take."""
        found: dict[str, Any] = {}
        for code, values in rule.fields:
            field = self.rules.task_fields.get(code) or DealField(code, code)
            plain = context if field.type in TEXTS else replace(context, language="")
            try:
                ready = [one for value in values if (one := self.fit(value, field, plain)) is not None]
            except Unfit as fault:
                raise TemplateFault(f"fields > {code}: {fault}") from None
            if ready:
                found[code] = ready if field.multiple or len(values) > 1 else ready[0]
        return found

    def fit(self, value: Any, field: DealField, context: Context) -> Any:
        """A value as the field takes it; None for a template that renders to nothing. Raises Unfit."""
        if not isinstance(value, str):
            return value
        text = render(value, context=context, markup=False)
        return fit(text, field, zone=self.rules.calendar.zone, company=self.world.company) if text else None

    def shown_field(self, code: str, value: Any) -> str:
        """The value of a user field for people."""
        field = self.rules.task_fields.get(code)
        values = value if isinstance(value, list) else [value]
        options = field.options if field else {}
        return ", ".join(options.get(str(one), str(one)) for one in values)

    def is_old_news(self, visit: Visit) -> bool:
        """Older than this process or than ten minutes: a downtime, a restored backup. History knows seconds."""
        return visit.entered < self.world.started.replace(microsecond=0) or self.now - visit.entered > OLD_NEWS

    def add_checklist(self, record: TaskRecord, items: list[str]) -> None:
        """The check list, then what hangs on it; an item that renders to nothing is left out."""
        if not any(items):
            return
        heading = Key(Purpose.CHECKLIST, record.occurrence)
        title = texts.say(self.rules.language, "task.checklist")
        self.add(heading, AddItem(title), record, urgency=CHECKLIST)
        for index, text in enumerate(items):
            if text:
                key = Key(Purpose.ITEM, record.occurrence, index)
                self.add(key, AddItem(text, index, str(heading)), record, urgency=CHECKLIST)

    def choose_owner(self, rule: Rule, deadline: datetime) -> Chosen:
        return resolve_owner(
            rule,
            deal=self.deal,
            company=self.world.company,
            tasks=self.in_order(),
            fallback=self.rules.fallback_owner,
            picks=self.world.picks,
            deadline=deadline,
            standing=self.standing(rule),
            language=self.rules.language,
        )

    def standing(self, rule: Rule) -> StandIns | None:
        """Who stands in for the absent, if the rule has anybody do so."""
        if rule.away != "substitute":
            return None
        return StandIns(Presence(self.world.company.absences, self.rules.calendar), self.rules.substitutes)

    def in_order(self) -> tuple[TaskRecord, ...]:
        """The deal's tasks in the order of making."""
        return tuple(self.records.values())

    def tell_of_nobody(self, key: str, title: str) -> None:
        """Nobody can own the task: it is held, and the admins know."""
        text = texts.say(self.rules.language, "admin.owner_not_found", title=title, deal=self.deal.title)
        self.tell(Purpose.NOBODY, key, admins_of(self.rules, self.world.company), text)

    def task_fields(
        self, rule: Rule, title: str, description: str, owner: int, supervisor: int | None, deadline: datetime
    ) -> dict[str, Any]:
        """The fields of tasks.task.add; what is empty or the portal's own default is left out."""
        auditors = self.people(rule.observers, owner)
        if supervisor and rule.supervisor_observes and supervisor != owner:
            auditors = (supervisor, *auditors)
        fields: dict[str, Any] = {
            "TITLE": title,
            "RESPONSIBLE_ID": owner,
            "DEADLINE": self.rules.calendar.local(deadline).isoformat(timespec="seconds"),
            "MATCH_WORK_TIME": "N",
            **portal_fields(rule, lambda persons: self.people(persons, owner)),
        }
        if description:
            fields["DESCRIPTION"] = description
        if auditors:
            fields["AUDITORS"] = list(dict.fromkeys(auditors))
        if rule.control and supervisor:
            fields["CREATED_BY"] = supervisor
        return fields

    def people(self, persons: tuple[Person, ...], owner_id: int) -> tuple[int, ...]:
        if not persons:
            return ()
        return resolve_people(
            persons,
            owner_id=owner_id,
            deal=self.deal,
            company=self.world.company,
            tasks=self.in_order(),
            picks=self.world.picks,
        )

    def supervisor(self, rule: Rule, owner_id: int) -> int | None:
        return resolve_supervisor(
            rule.supervisor,
            owner_id=owner_id,
            deal=self.deal,
            company=self.world.company,
            tasks=self.in_order(),
            picks=self.world.picks,
        )

    def deadline(self, deadline: Deadline, visit: Visit, started: datetime) -> Computed:
        return compute(
            deadline,
            entry=started,
            start=started,
            now=self.now,
            calendar=self.rules.calendar,
            fields=self.deal.fields,
            deal_fields=self.rules.deal_fields,
            happened=self.happened(visit),
        )

    # --- following ---------------------------------------------------------------------------------------------------

    def followers(self) -> list[tuple[TaskRecord, Rule, Visit]]:
        """Open tasks of working rules, with the visit they belong to; of those decided in this very call there is
        nothing to follow yet."""
        if not self.state.tasks:
            return []
        fresh = {op.task for op in self.operations if op.kind is Kind.CREATE}
        found = []
        for record in [one for name, one in self.records.items() if one.open and name not in fresh]:
            rule, visit = self.rules.by_id.get(record.rule_id), self.visit_of(record)
            if rule is not None and visit is not None and self.goes_on(record, rule):
                found.append((record, rule, visit))
        return found

    def goes_on(self, record: TaskRecord, rule: Rule) -> bool:
        """True when the rule is at work and has not ended the task."""
        return not rule.disabled and not self.ending(record)

    def know_adopted(self, responsible_before: int | None) -> None:
        """The first look at a task that was found by its mark: what is as its rule gives it follows, what is not was
        changed by a person, and stays."""
        for record, rule, visit in self.followers():
            if record.basis != ADOPTED:
                continue
            was = replace(self.deal, responsible_id=responsible_before or self.deal.responsible_id)
            found = replace(record, supervisor_id=self.watching(record, rule))
            form = FORMS.get(type(rule.owner))
            if form is not None and self.goes_to(record, rule, form, was).user_id == record.owner_id:
                found = replace(found, owner_form=form)
            with contextlib.suppress(DeadlineError):  # told when it is to follow
                computed = self.deadline(rule.deadline, visit, record.started or visit.entered)
                found = replace(
                    found, basis=computed.basis, follow_off=record.deadline not in (computed.at, computed.due)
                )
            self.keep(found)

    def watching(self, record: TaskRecord, rule: Rule) -> int | None:
        """The supervisor whom the rule names for the task's owner, if the task has them."""
        if not isinstance(rule.supervisor, Head | Responsible | UserId):
            return None
        named = self.supervisor(rule, record.owner_id)
        return named if named in (*record.auditors, record.creator_id) else None

    def follow_deadlines(self) -> None:
        """A deadline is computed anew when what it was counted from changed: the field, the event, the visit."""
        for record, rule, visit in self.followers():
            if record.follow_off or not rule.deadline.follow:
                continue
            try:
                computed = self.deadline(rule.deadline, visit, record.started or visit.entered)
            except DeadlineError as fault:
                self.trace(visit, rule.id, "deadline_error", field=fault.field, value=str(fault.value))
                continue
            except CannotJudge as fault:
                self.trace(visit, rule.id, "cannot_judge", fault.checks, **fault.said)
                continue
            if computed.basis == record.basis:
                continue
            if computed.at == self.deadline_to_be(record):
                self.keep(replace(record, basis=computed.basis))
                continue
            self.move_deadline(record, rule, visit, computed)

    def deadline_to_be(self, record: TaskRecord) -> datetime | None:
        """The task's deadline once what is decided has reached the portal."""
        underway = self.state.underway.get((record.occurrence, Kind.DEADLINE), ())
        return ([record.deadline] + [one.deadline for one in underway if isinstance(one, SetDeadline)])[-1]

    def move_deadline(self, record: TaskRecord, rule: Rule, visit: Visit, computed: Computed) -> None:
        count = 1 + Key(Purpose.FOLLOW, record.occurrence).among(self.state.keys)
        seen = self.deadline_to_be(record)
        local = self.rules.calendar.local
        self.add(
            Key(Purpose.FOLLOW, record.occurrence, count),
            SetDeadline(local(computed.at).replace(microsecond=0), "follow", seen),
            record,
        )
        text = texts.deadline_followed(
            self.rules.language,
            before=local(seen) if seen else None,
            after=local(computed.at),
            old_basis=record.basis,
            new_basis=computed.basis,
            deal_fields=self.rules.deal_fields,
            stage_names=self.rules.stage_names,
        )
        self.add(Key(Purpose.LINE_OF_FOLLOW, record.occurrence, count), AddLine(text), record, urgency=LINE)
        promised = record.promised
        promise = computed.at if promised is None or promised > self.now else promised
        self.keep(replace(record, basis=computed.basis, sent=(*record.sent, computed.at), promise=promise))
        self.trace(
            visit,
            rule.id,
            "followed",
            before=seen.isoformat() if seen else "",
            after=computed.at.isoformat(),
            why=computed.basis,
        )

    def follow_responsible(self) -> None:
        """The deal's responsible changed: tasks whose owner is he (or the head over him) go along, with their
        supervisors, unless a person has changed the owner by hand; where he is the supervisor, he is so now."""
        for record, rule, visit in self.followers():
            if record.owner_form != "other":
                self.follow_owner(record, rule, visit)
            elif rule.supervisor == Responsible():
                owner = [record.owner_id, *self.owners_to_be(record)][-1]
                self.hand_over(record, rule, visit, before=owner, owner=owner)

    def owners_to_be(self, record: TaskRecord) -> list[int]:
        """Who is to own the task by what is decided and has not reached the portal yet."""
        changes = self.state.underway.get((record.occurrence, Kind.PEOPLE), ())
        return [one.owner for one in changes if isinstance(one, SetPeople) and one.owner]

    def follow_owner(self, record: TaskRecord, rule: Rule, visit: Visit) -> None:
        """Whoever is responsible now gets the task, or the head over them, unless a person gave it to somebody."""
        chosen = self.goes_to(record, rule, record.owner_form, self.deal)
        underway = self.owners_to_be(record)
        if record.owner_id not in (record.owner_sent, chosen.user_id, *underway):
            self.trace(visit, rule.id, "not_followed_person", owner=self.world.company.name(record.owner_id))
            return
        if record.owner_sent != record.owner_id == chosen.user_id:
            record = self.keep(replace(record, owner_sent=record.owner_id))
        owner = [record.owner_id, *underway][-1]
        self.hand_over(record, rule, visit, before=owner, owner=chosen.user_id or owner)

    def goes_to(self, record: TaskRecord, rule: Rule, form: OwnerForm, deal: Deal) -> Chosen:
        """Who owns an open task of this form with the deal's responsible as given."""
        return follow_owner(
            form,
            deal=deal,
            company=self.world.company,
            fallback=self.rules.fallback_owner,
            deadline=record.deadline or self.now,
            standing=self.standing(rule),
            language=self.rules.language,
        )

    def hand_over(self, record: TaskRecord, rule: Rule, visit: Visit, *, before: int, owner: int) -> None:
        """The task goes to ``owner``, who may have it already, and to the supervisor whom the rule names for him."""
        supervisor = self.supervisor(rule, owner)
        if owner == before and (supervisor == record.supervisor_id or rule.supervisor != Responsible()):
            return
        change = people_of(rule, record, before=before, owner=owner, supervisor=supervisor)
        count = 1 + Key(Purpose.PEOPLE, record.occurrence).among(self.state.keys)
        self.add(Key(Purpose.PEOPLE, record.occurrence, count), change, record)
        text = self.trace_handed_over(rule, visit, owner if owner != before else None, supervisor)
        self.add(Key(Purpose.LINE_OF_PEOPLE, record.occurrence, count), AddLine(text), record, urgency=LINE)
        self.keep(replace(record, supervisor_id=supervisor))

    def trace_handed_over(self, rule: Rule, visit: Visit, owner: int | None, supervisor: int | None) -> str:
        """Trace who has the task, or who controls it if ``owner`` is None, from now on; the same as a line."""
        name = self.world.company.name
        if owner is not None:
            self.trace(visit, rule.id, "people_followed", owner=name(owner))
            return texts.say(self.rules.language, "line.owner_followed", owner=name(owner))
        said = name(supervisor) if supervisor else "—"
        self.trace(visit, rule.id, "supervisor_followed", supervisor=said)
        return texts.say(self.rules.language, "line.supervisor_followed", supervisor=said)

    # --- lending -----------------------------------------------------------------------------------------------------

    def lend(self, record: TaskRecord, rule: Rule, to: int, until: datetime, slot: str) -> None:
        """The task goes to a substitute, until its owner is back."""
        name = self.world.company.name
        change = replace(self.owned_by(rule, record, to), lending="lend", absent=record.owner_id, until=until)
        said = {"owner": name(to), "absent": name(record.owner_id), "until": self.rules.calendar.local(until)}
        self.pass_on(record, change, Purpose.LEND, slot, "lent", said)

    def give_back(self, record: TaskRecord, rule: Rule | None, absent: int, slot: str) -> None:
        """The task goes to whom its rule names now; who has gone with the file, or cannot be named, is whose it was."""
        company = self.world.company
        named = self.choose_owner(rule, self.now).user_id if rule and not rule.disabled else None
        owner = named or (absent if company.active(absent) else record.owner_id)
        if owner == record.owner_id:
            self.keep(replace(record, lent_from=None))
            return
        change = self.owned_by(rule, record, owner) if rule else SetPeople(owner, record.owner_id)
        change = replace(change, lending="back", absent=absent)
        self.pass_on(record, change, Purpose.GIVE_BACK, slot, "given_back", {"owner": company.name(owner)})

    def owned_by(self, rule: Rule, record: TaskRecord, owner: int) -> SetPeople:
        """The task with another owner, and the supervisor whom the rule names for that one."""
        supervisor = self.supervisor(rule, owner)
        return people_of(rule, record, before=record.owner_id, owner=owner, supervisor=supervisor)

    def pass_on(
        self, record: TaskRecord, change: SetPeople, why: Purpose, slot: str, word: str, said: Mapping[str, Any]
    ) -> None:
        """A change of people that a sweep makes, with its line and its trace."""
        self.add(Key(why, slot, record.ref), change, record, urgency=SWEPT)
        line = Key(LINES_OF_LENDING[why], slot, record.ref)
        self.add(line, AddLine(texts.say(self.rules.language, f"line.{word}", **said)), record, urgency=SWEPT)
        if (visit := self.visit_of(record)) is not None:
            told = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in said.items()}
            self.traces.append(Trace(self.deal.id, visit.id, record.rule_id, word, self.now, told))

    def of_sweep(self, slot: str) -> Decision:
        """What was decided, as a sweep's."""
        operations = tuple(replace(one, sweep=slot) for one in self.operations)
        return Decision(self.deal.id, operations, tuple(self.changed.values()), tuple(self.traces), wake_at=self.now)

    # --- what was refused --------------------------------------------------------------------------------------------

    def change_anew(self, rule: Rule, record: TaskRecord, refused: Operation) -> Decision | None:
        """See ``change_anew`` above. Following is decided once more; an ending, as the rule has it today."""
        match purpose_of(refused.key):
            case (Purpose.LEAVE | Purpose.CLOSE) as why:
                return self.end_anew(rule, record, why, refused)
            case _ if self.deal.closed:
                return None
            case Purpose.FOLLOW:
                self.records[record.occurrence] = replace(record, basis=UNMADE)
                self.follow_deadlines()
            case Purpose.PEOPLE:
                drop = refused.action.drop if isinstance(refused.action, SetPeople) else ()
                self.records[record.occurrence] = replace(record, supervisor_id=next(iter(drop), record.supervisor_id))
                self.follow_responsible()
            case _:
                self.operations.append(replace(refused, state=State.PLANNED))
        return self.of_task(record.occurrence)

    def end_anew(self, rule: Rule, record: TaskRecord, why: Purpose, refused: Operation) -> Decision | None:
        """The ending of a task that was refused, if its reason still holds."""
        left = why is Purpose.LEAVE
        ending, holds = (
            (rule.on_leave, record.visit_id != self.latest.id) if left else (rule.on_close, self.deal.closed)
        )
        if ending == "keep" or not holds:
            return None
        return Decision(
            self.deal.id, (replace(refused, action=ENDINGS[ending](why.value), state=State.PLANNED),), wake_at=self.now
        )

    def of_task(self, occurrence: str) -> Decision:
        """What was decided of one task alone."""
        operations = tuple(one for one in self.operations if one.task == occurrence)
        changed = tuple(one for one in self.changed.values() if one.occurrence == occurrence)
        return Decision(self.deal.id, operations, changed, tuple(self.traces), wake_at=self.now)

    # --- advancing ---------------------------------------------------------------------------------------------------

    def advance(self) -> None:
        """``advance_to``: every task of the latest visit is done, so the deal moves on, at most five times a day."""
        visit = self.latest
        policy = self.rules.policies.get(visit.stage_id)
        if policy is None or policy.advance_to is None or not self.is_through(visit):
            return
        if Key(Purpose.BRAKE, visit.row).among(self.state.keys):
            return  # people were told to move it themselves
        recent = [moved for moved in self.state.moved if self.now - moved < DAY]
        if len(recent) >= AUTOMATIC_MOVES:
            self.brake(visit, policy)
            return
        key = str(Key(Purpose.ADVANCE, visit.row))
        if key not in self.state.keys:
            move = MoveDeal(policy.advance_to, visit.id)
            self.operations.append(Operation(key, move, self.deal.id, urgency=ADVANCE))
            self.trace(visit, "advance_to", "advanced", stage=self.rules.stage_names.get(policy.advance_to, ""))

    def is_through(self, visit: Visit) -> bool:
        """True when the visit lasts, and all of its tasks, of which there are some, are done."""
        if visit.final or self.deal.stage_id != visit.stage_id:
            return False
        tasks = [record for record in self.records.values() if record.visit_id == visit.id and not record.gone]
        return bool(tasks) and all(record.status == DONE for record in tasks)

    def brake(self, visit: Visit, policy: StagePolicy) -> None:
        self.trace(visit, "advance_to", "advance_brake", stage=self.rules.stage_names.get(policy.advance_to or "", ""))
        text = texts.say(
            self.rules.language,
            "notice.brake",
            deal=self.deal.title,
            deal_id=self.deal.item,
            count=AUTOMATIC_MOVES,
            stage=self.rules.stage_names.get(visit.stage_id, visit.stage_id),
        )
        self.tell(Purpose.BRAKE, visit.row, self.deal_supervisors(), text)

    def deal_supervisors(self) -> tuple[int, ...]:
        """Who hears of the deal: the head over its responsible, else the admins."""
        head = head_over(self.world.company, self.deal.responsible_id)
        return (head,) if head else admins_of(self.rules, self.world.company)

    def tell(self, purpose: Purpose, of: object, users: tuple[int, ...], text: str) -> None:
        for user in users:
            key = str(Key(purpose, of, user))
            signed = texts.signed(self.rules.language, text, key)
            self.operations.append(Operation(key, SendMessage(user, signed, key), self.deal.id, urgency=MESSAGE))

    def add(
        self,
        key: Key,
        action: Action,
        record: TaskRecord,
        *,
        urgency: int = CHANGE,
        look_first: bool = False,
        state: State = State.PLANNED,
    ) -> None:
        self.operations.append(
            Operation(str(key), action, self.deal.id, record.ref, urgency=urgency, look_first=look_first, state=state)
        )


def people_of(rule: Rule, record: TaskRecord, *, before: int, owner: int, supervisor: int | None) -> SetPeople:
    """What is to be written for a task to have this owner and supervisor from now on."""
    changed = record.supervisor_id != supervisor
    return SetPeople(
        owner,
        before,
        supervisor=supervisor if rule.supervisor_observes and supervisor != owner else None,
        drop=(record.supervisor_id,) if record.supervisor_id and changed else (),
        creator=supervisor if rule.control and changed else None,
    )


def _events_of(rule: Rule) -> Iterator[Event]:
    """What a rule waits for or counts from."""
    if rule.start is not None and not isinstance(rule.start, Idle):
        yield rule.start
    deadline: Deadline | None = rule.deadline
    while deadline is not None:
        if deadline.event is not None:
            yield deadline.event
        deadline = deadline.otherwise


def _idle_words(start: Idle) -> str:
    return f"idle: {start.span.amount} {start.span.unit}"


def _event_words(event: Event) -> str:
    match event:
        case Done(rule=rule):
            return f"done: {rule}"
        case Becomes():
            return f"filled: {event.field}" if event.field else "becomes"
        case Entered(stages=stages):
            return f"stage: {', '.join(sorted(stages))}"
