"""One pass: gather what the portal recorded, decide, record, apply. The whole service is this function, repeated."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

import structlog

from bitrix_sync.decisions import failures, plan
from bitrix_sync.decisions.guards import is_stranger
from bitrix_sync.decisions.idle import idle_for, idle_since
from bitrix_sync.engine import identity, recognition, steps
from bitrix_sync.engine.rulebook import NO_STAGE, Rulebook
from bitrix_sync.engine.sender import STRANGER_CODE, Applied, Sender, apply, send
from bitrix_sync.errors import PortalError
from bitrix_sync.model.actions import Kind, MoveDeal, SendMessage, title_of
from bitrix_sync.model.facts import Absent, Ahead, Changes, Contact, Cursor, Deal, End, PortalTask, Unread, Visit
from bitrix_sync.model.items import KINDS, Item, ItemKind
from bitrix_sync.model.keys import Key, Purpose, Refusal, foreign_ref, hour, minute, occurrence_in, told_mark
from bitrix_sync.model.operations import (
    Changeset,
    DeadlineChange,
    Decision,
    Operation,
    State,
    Steps,
    StoredOperation,
    TaskRecord,
)
from bitrix_sync.model.reading import OVERLAP, WHOLE, Reading
from bitrix_sync.portal import reading
from bitrix_sync.portal.client import Portal
from bitrix_sync.portal.dialect.writing import METHODS
from bitrix_sync.rules.model import Idle, Rules
from bitrix_sync.rules.persons import NotRead, Picks, head_over
from bitrix_sync.store import LookedAt, Store
from bitrix_sync.words import texts

log = structlog.get_logger(__name__)

SAFETY_WINDOW = timedelta(minutes=10)
SHOWN = 10
"""Tasks named in one message."""
MARKS = {"first": Purpose.MARKS_FIRST, "start": Purpose.MARKS_START, "running": Purpose.MARKS_RUNNING}
"""When tasks of ours were met that the database does not know → what is told of it."""
FEW = 20
"""More tasks that vanish at once are no deletions by people, unless they are few among all."""
STEPS_AGAIN = timedelta(minutes=10)
"""When it is asked for again what is planned with deals, where that could not be read."""
JUDGE_AGAIN = timedelta(minutes=10)
"""When a deal is looked at again that could not be judged for a reason that nobody expected."""


@dataclass(slots=True)
class ServiceContext:
    """What a pass works with. ``started`` is when this process began (portal's time). ``catching_up``: until its first
    pass is recorded, what it decides may have been said by a process of which the store knows nothing."""

    store: Store
    portal: Portal
    rulebook: Rulebook
    sender: Sender
    started: datetime
    catching_up: bool = True
    over: dict[int, datetime] = field(default_factory=dict)
    """Activities that were read as completed, by their last change: they are read again for what may come late."""
    steps_refused: datetime | None = None
    """When it could not be read what is planned."""


@dataclass(slots=True)
class Gathered:
    """Facts of one pass. ``deals`` are the deals to be judged, read just now; None: gone. ``unread``: deals that were
    to be judged, of which something needed could not be read."""

    now: datetime
    changes: Changes
    visits: list[Visit] = field(default_factory=list)
    deals: dict[int, Deal | None] = field(default_factory=dict)
    unread: dict[int, Unread] = field(default_factory=dict)
    tasks: dict[str, TaskRecord] = field(default_factory=dict)
    slips: list[DeadlineChange] = field(default_factory=list)
    touched: set[int] = field(default_factory=set)
    """Deals of rules' tasks of which something is new that a decision may look at."""
    seen: recognition.Observed = field(default_factory=recognition.Observed)
    companies: dict[int, Contact] = field(default_factory=dict)
    contacts: dict[int, Contact] = field(default_factory=dict)
    ahead: Ahead | None = None
    """What was read of activities; None: nothing."""
    steps: dict[int, Steps] = field(default_factory=dict)
    """What is planned with deals to be judged of which that matters, and is known for sure."""
    look_again: dict[int, datetime] = field(default_factory=dict)
    """When others of these are to be judged again."""

    @property
    def stepped(self) -> set[int]:
        """Deals of which something planned is new, or over, that the store does not know yet."""
        of_tasks = {deal for record in self.tasks.values() for deal in record.deals}
        of_ahead = {deal for one in self.ahead.planned for deal in one.deals} if self.ahead else set()
        return of_tasks | of_ahead | (self.ahead.ends.keys() if self.ahead else set())

    @property
    def released(self) -> tuple[str, ...]:
        """Tasks whose numbers are other tasks' now."""
        return tuple(record.ref for record in self.seen.strangers)

    @property
    def present(self) -> list[Deal]:
        """The deals to be judged that are there."""
        return [deal for deal in self.deals.values() if deal is not None]

    def take(self, deal_id: int, end: End[Deal]) -> None:
        """A deal that is to be judged, as its reading ended."""
        match end:
            case Deal():
                self.deals[deal_id] = end
            case Unread():
                self.unread[deal_id] = end
            case Absent():
                self.deals[deal_id] = None

    def judge(self, deal_id: int, decide: Callable[[], Decision | None]) -> Decision | None:
        """One deal's decision; a fault in it stops no other, and has the deal looked at again. None: there is nothing
        to decide, or something that is needed could not be read."""
        try:
            return decide()
        except NotRead as fault:
            self.unread[deal_id] = fault.end
            self.deals.pop(deal_id, None)
            return None
        except Exception:
            log.exception("deal cannot be judged; the others go on", deal=deal_id)
            return Decision(deal_id, wake_at=self.now + JUDGE_AGAIN)

    def changeset(
        self,
        decisions: Sequence[Decision] = (),
        *,
        operations: tuple[Operation, ...] = (),
        picks: tuple[tuple[str, int], ...] = (),
    ) -> Changeset:
        """All that is to be remembered of them, with what was decided."""
        decided = {record.ref for decision in decisions for record in decision.tasks}
        return Changeset(
            at=self.now,
            cursor=self.changes.cursor,
            visits=tuple(self.visits),
            deals=tuple(self.present),
            gone_deals=tuple(deal_id for deal_id, deal in self.deals.items() if deal is None),
            tasks=tuple(record for ref, record in self.tasks.items() if ref not in decided),
            slips=tuple(self.slips),
            decisions=tuple(decisions),
            operations=operations,
            unjudged=self.unread,
            picks=picks,
            released=self.released,
            doubted=tuple(self.seen.doubted),
            ahead=self.ahead,
        )


@dataclass(slots=True)
class PassReport:
    """What a pass found and did, for the log and the command line."""

    visits: int = 0
    deals: int = 0
    tasks: int = 0
    recorded: int = 0
    held: int = 0
    watched: list[Operation] = field(default_factory=list)
    applied: Applied = field(default_factory=Applied)


def run_pass(
    context: ServiceContext,
    wanted: Reading = WHOLE,
    *,
    interrupted: Callable[[], bool] = lambda: False,
) -> PassReport:
    """One pass. ``interrupted`` is asked between batches."""
    applied = Applied() if wanted.along else None
    report = take_in(context, wanted, applied=applied)
    report.applied = carry_out(context, interrupted=interrupted, applied=applied)
    return report


def take_in(context: ServiceContext, wanted: Reading = WHOLE, *, applied: Applied | None = None) -> PassReport:
    """The first three steps of a pass; what they plan is carried out by whoever comes next. ``applied``: see
    ``gather``."""
    facts = gather(context, wanted, applied=applied)
    recording, report = decide(context, facts)
    if context.catching_up:
        recording = in_doubt(recording)
    context.store.record(recording, context.sender.epoch)
    context.catching_up = False
    return report


def in_doubt(recording: Changeset) -> Changeset:
    """The same, with every line and message to be looked up before it is sent: the store may be a backup put back."""
    return replace(
        recording,
        operations=look_first(recording.operations),
        decisions=tuple(replace(one, operations=look_first(one.operations)) for one in recording.decisions),
    )


def look_first(operations: Iterable[Operation]) -> tuple[Operation, ...]:
    """Lines and messages among the operations are looked up before they are sent."""
    said = (Kind.LINE, Kind.MESSAGE)
    return tuple(replace(one, look_first=True) if one.kind in said else one for one in operations)


def carry_out(
    context: ServiceContext, *, interrupted: Callable[[], bool] = lambda: False, applied: Applied | None = None
) -> Applied:
    """Apply what is ready, unless paused or only watching; what the portal refused is told to whom it concerns.
    ``applied``: an account to go on with."""
    if not writes(context):
        return Applied()
    applied = apply(context.sender, interrupted=interrupted, applied=applied)
    if applied.failed:
        tell_failures(context)
    if any(finished.stranger for _, finished in applied.dropped):
        tell_strangers(context)
    return applied


def writes(context: ServiceContext) -> bool:
    """False while paused or only watching."""
    return not (context.store.flags.paused or context.rulebook.rules.safety.watch)


# --- gather ----------------------------------------------------------------------------------------------------------


def gather(context: ServiceContext, wanted: Reading, *, applied: Applied | None = None) -> Gathered:
    """Read the portal after the cursor and find out which deals must be judged. ``applied``: the reading travels with
    the next operations that are written, and these are noted there."""
    cursor = context.store.cursor()
    if cursor is None:
        raise PortalError("the portal has not been read for the first time yet; start `bitrix-sync run` or `sync`")
    if new := context.rulebook.rules.kinds - cursor.kinds.keys():
        cursor = take_up(context, cursor, [KINDS[name] for name in sorted(new)])
    cursor = keep_steps(context, cursor)
    book, now = context.rulebook, context.portal.now()
    news = reading.ChangeReader(
        context.portal,
        cursor,
        fields=book.rules.fields,
        wanted=wanted,
        people=book.company if wanted.people and book.company_is_old(now) else None,
        away=book.away(now),
    )
    if applied is not None and writes(context):
        send(context.sender, applied, news)
    else:
        context.sender.read_ahead.clear()  # this reading is newer
    changes = news.finish()
    if changes.company is not None:
        book.take_company(changes.company, now)
    return sift(context, changes, ask=context.store.unjudged() if context.catching_up else ())


def sift(context: ServiceContext, changes: Changes, *, ask: Iterable[int] = ()) -> Gathered:
    """Tell what is new in a reading, and read what must be judged but was not in it."""
    store, portal = context.store, context.portal
    found = recognition.rows(store, changes.visits)
    if found.against and (lost := put_back(context, identity.look(store, portal), changes.visits)):
        found, cursor = recognition.rows(store, changes.visits), store.cursor()
        changes = replace(changes, cursor=cursor if changes.cursor else None)
        ask = {*ask, *(visit.deal_id for visit in lost)}
    facts = Gathered(portal.now(), changes, visits=found.new)
    observe_tasks(context, facts)
    observe_activities(context, facts)
    doubt_open_tasks(context, facts)
    gather_deals(context, facts, {*ask, *ended_steps(context, facts.tasks.values(), facts.ahead)})
    gather_clients(portal, context.rulebook.rules, facts)
    context.rulebook.meet_stages((deal.funnel_id, deal.stage_id) for deal in facts.present)
    set_aside(facts, lambda deal: context.rulebook.unread_stage(deal.funnel_id, deal.stage_id))
    gather_steps(context, facts)
    if facts.deals:
        context.rulebook.freshen_company(facts.now)
    return facts


def gather_deals(context: ServiceContext, facts: Gathered, ask: Iterable[int]) -> None:
    """The deals to be judged: those that have changed, have a new visit or news of a task, are due or asked for. What
    of them was not in the reading is read."""
    read = {deal.id: deal for deal in facts.changes.deals}
    stored = context.store.deals(read)
    changed = {deal_id for deal_id, deal in read.items() if has_changed(stored.get(deal_id), deal)}
    arrived = {visit.deal_id for visit in facts.visits}
    judged = sorted(changed | arrived | facts.touched | {*ask, *context.store.due_deals(facts.now)})
    others = [deal_id for deal_id in judged if deal_id not in read]
    ends = read | reading.deals(context.portal, others, fields=context.rulebook.rules.fields)
    for deal_id in judged:
        facts.take(deal_id, ends[deal_id])


def set_aside(facts: Gathered, lack: Callable[[Deal], Unread | None]) -> None:
    """Deals of which something that is needed could not be read are judged later."""
    for deal in facts.present:
        if end := lack(deal):
            facts.unread[deal.id] = end
            del facts.deals[deal.id]


def has_changed(before: Deal | None, deal: Deal) -> bool:
    """Whether a deal is another than when it was last read. A field that the file did not use then says nothing: an
    edit of the file is no change of the deal."""
    if before is None:
        return True
    return deal != replace(before, fields={code: before.fields.get(code, now) for code, now in deal.fields.items()})


def observe_tasks(context: ServiceContext, facts: Gathered) -> None:
    """What the tasks read teach about those remembered, and which of them are ours though nobody remembers them."""
    seen = recognition.observe(context.store, facts.changes.tasks, at=facts.now)
    facts.tasks |= seen.tasks
    facts.slips += seen.slips
    facts.touched |= seen.touched
    facts.seen = seen
    if seen.met:
        adopt(context, facts)


def adopt(context: ServiceContext, facts: Gathered) -> None:
    """Tasks with a mark of ours that the store does not know become its tasks, if visit and deal agree: an older
    database was put back, or another service works on this portal. One that a rule makes now is looked up instead."""
    visits = {visit.id: visit for visit in facts.changes.visits}
    named = {record.visit_id for task in facts.seen.met if (record := recognition.by_mark(task, at=facts.now))}
    visits |= context.store.known_visits(named - visits.keys())
    visits |= {visit.id: visit for visit in reading.visits(context.portal, sorted(named - visits.keys()))}
    known = {record.ref for record in context.store.task_records(refs=[occurrence_in(m.mark) for m in facts.seen.met])}
    for record in recognition.adopt(facts.seen.met, visits, at=facts.now, apart=known):
        facts.tasks.pop(foreign_ref(record.portal_id), None)
        facts.tasks[record.ref] = record
        facts.touched.add(record.deal_id)


def observe_activities(context: ServiceContext, facts: Gathered) -> None:
    """What the activities read teach. If that cannot be said, they are read once more."""
    changes = facts.changes
    if changes.activities is None or changes.activities_since is None:
        return
    known = [task.id for task in changes.tasks]
    read = [one for one in changes.activities if context.over.get(one.id) != one.changed]
    found = steps.observed(context.store, context.portal, read, since=changes.activities_since, tasks=known)
    if isinstance(found, Unread):
        log.warning("what activities are bound to could not be read", problem=found.why)
        facts.changes = without_activities(changes, context.store.cursor())
        return
    facts.ahead = found
    horizon = facts.now - 2 * OVERLAP
    context.over = {number: at for number, at in context.over.items() if at > horizon}
    context.over |= {one.id: one.changed for one in changes.activities if one.completed}


def without_activities(changes: Changes, before: Cursor | None) -> Changes:
    """The same as if activities had not been read; ``before``: how far they had been."""
    if changes.cursor is None or before is None:
        return replace(changes, activities=None)
    cursor = replace(changes.cursor, activities_time=before.activities_time)
    return replace(changes, cursor=cursor, activities=None)


def ended_steps(context: ServiceContext, tasks: Iterable[TaskRecord], ahead: Ahead | None) -> set[int]:
    """Deals with which a task or an activity is over, where a rule waits for them to be idle."""
    stages = context.rulebook.rules.idle_starts
    if not stages:
        return set()
    over = {deal for record in tasks if not record.ahead for deal in record.deals}
    over |= ahead.ends.keys() if ahead else set()
    return {deal.id for deal in context.store.deals(over).values() if deal.stage_id in stages}


def gather_steps(context: ServiceContext, facts: Gathered) -> None:
    """What is planned with the deals to be judged of which a rule waits until they are idle. Of those for which it is
    time the portal is asked once more. What this reading changed is judged when it is recorded, so at the next one."""
    store, rules, now = context.store, context.rulebook.rules, facts.now
    waiting = [deal.id for deal in facts.present if deal.stage_id in rules.idle_starts]
    if not waiting:
        return
    if facts.changes.activities is None or not steps.are_known(store, rules):
        rest = plan.STEPS_REST if steps.are_known(store, rules) else STEPS_AGAIN
        facts.look_again = dict.fromkeys(waiting, now + rest)
        return
    known, changed = store.steps(ids=waiting), facts.stepped
    make_sure_of_idle(
        context, facts, [deal for deal in known if deal not in changed and is_idle(rules, known[deal], now)]
    )
    arrived = {visit.deal_id for visit in facts.visits}
    facts.look_again |= dict.fromkeys((facts.stepped | arrived).intersection(waiting), now)
    facts.steps = {deal: one for deal, one in known.items() if deal not in facts.look_again}


def make_sure_of_idle(context: ServiceContext, facts: Gathered, late: Sequence[int]) -> None:
    """Ask the portal what is planned with deals for which it is time."""
    seen = steps.looked_at(context.store, context.portal, late) if late else Ahead()
    if isinstance(seen, Unread):
        facts.look_again = dict.fromkeys(late, facts.now + STEPS_AGAIN)
    else:
        facts.ahead = steps.joined(facts.ahead, seen)


def is_idle(rules: Rules, known: Steps, now: datetime) -> bool:
    """True when a rule of the deal's stage has waited until it is idle, and it is."""
    stage, calendar = known.visit.stage_id, rules.calendar
    policy = rules.policies.get(stage)
    spans = [rule.start.span for rule in (policy.rules if policy else ()) if isinstance(rule.start, Idle)]
    since = [idle_since(known, rules.next_steps.get(stage, span), calendar) for span in spans]
    return any(at and idle_for(at, span, calendar) <= now for at, span in zip(since, spans, strict=True))


def doubt_open_tasks(context: ServiceContext, facts: Gathered) -> None:
    """No list shows that a task was deleted. Those believed open that decide now whether a deal moves on, or whether a
    new visit takes one over, are looked for; too many missing are left to the recheck: rights may be lost."""
    doubted = doubtful_tasks(context, facts)
    seen = recognition.shown(context.portal, doubted)
    missing = [one for one in doubted if (task := seen.get(one.portal_id or 0)) is not None and is_stranger(task, one)]
    missing += recognition.not_shown(context.portal, doubted, seen)
    if len(missing) <= FEW:
        facts.tasks |= {record.ref: replace(record, gone=True) for record in missing}


def doubtful_tasks(context: ServiceContext, facts: Gathered) -> list[TaskRecord]:
    """Tasks believed open on which it depends what comes next, and which were not in the reading."""
    rules = context.rulebook.rules
    advancing = facts.touched if rules.moves_deals else set()
    taking_over = rules.taking_over
    arriving = {visit.deal_id for visit in facts.visits} if taking_over else set()
    return [
        record
        for state in context.store.deal_states(sorted(advancing | arriving)).values()
        for record in state.tasks
        if record.workable and record.ref not in facts.tasks
        if record.deal_id in advancing or record.rule_id in taking_over
    ]


def observe_seen(context: ServiceContext, seen: Sequence[PortalTask]) -> None:
    """Remember what a reading of tasks outside a pass taught (a sweep's)."""
    facts = Gathered(context.portal.now(), Changes(tasks=tuple(seen)))
    observe_tasks(context, facts)
    context.store.record(facts.changeset(operations=notices_of_tasks(context, facts)), context.sender.epoch)


def gather_clients(portal: Portal, rules: Rules, facts: Gathered) -> None:
    """Companies and contacts of the deals to be judged, only if the file uses them."""
    judged = facts.present
    companies: dict[int, End[Contact]] = {}
    contacts: dict[int, End[Contact]] = {}
    if rules.uses_company:
        companies = reading.companies(portal, sorted({deal.company_id for deal in judged} - {0}))
    if rules.uses_contact:
        contacts = reading.contacts(portal, sorted({deal.contact_id for deal in judged} - {0}))

    def lack(deal: Deal) -> Unread | None:
        ends = (companies.get(deal.company_id), contacts.get(deal.contact_id))
        return next((end for end in ends if isinstance(end, Unread)), None)

    set_aside(facts, lack)
    facts.companies, facts.contacts = found_clients(companies), found_clients(contacts)


def found_clients(ends: Mapping[int, End[Contact]]) -> dict[int, Contact]:
    """Those that were read."""
    return {number: end for number, end in ends.items() if isinstance(end, Contact)}


# --- decide ----------------------------------------------------------------------------------------------------------


def decide(
    context: ServiceContext,
    facts: Gathered,
    *,
    backfill: plan.Backfill | None = None,
    room: int | None = None,
    picks: Picks | None = None,
) -> tuple[Changeset, PassReport]:
    """Judge each deal; a fault in one stops no other. ``room``: so many new tasks the safety limit lets through;
    ``picks``: what owners have to do; None: as the store says."""
    watch, decisions = context.rulebook.rules.safety.watch, list[Decision]()
    if facts.deals:
        world = world_of(context, facts, picks)
        decisions, picks = judge_deals(context, facts, world, backfill), world.picks
        room = safety_room(context, facts.now) if room is None else room
    report = PassReport(len(facts.visits), len(facts.deals), len(facts.tasks))
    if watch:
        decisions = [watch_only(decision, report) for decision in decisions]
    decisions = [look_up_met(decision, facts) for decision in decisions]
    failed = rules_that_failed(context, decisions, facts.deals, facts.now)
    decisions, notices = within_safety(context, decisions, facts.now, report, room or 0)
    report.recorded = sum(len(decision.operations) for decision in decisions)
    if not watch:
        notices += (*failed, *notices_of_tasks(context, facts), *tell_unjudged(context, facts))
    recording = facts.changeset(decisions, operations=notices, picks=picks.changes() if picks else ())
    return replace(recording, trial=tuple(report.watched)), report


def judge_deals(
    context: ServiceContext, facts: Gathered, world: plan.World, backfill: plan.Backfill | None
) -> list[Decision]:
    """The decision of each deal, from what is remembered of it and what was read now."""
    visits: dict[int, list[Visit]] = {}
    for visit in facts.visits:
        visits.setdefault(visit.deal_id, []).append(visit)
    states = context.store.deal_states(list(facts.deals))
    decisions = []
    for deal_id, deal in list(facts.deals.items()):
        remembered = states[deal_id]
        decide_it = partial(
            plan.decide,
            replace(
                remembered,
                deal=deal,
                visits=(*remembered.visits, *visits.get(deal_id, ())),
                tasks=tuple(facts.tasks.get(record.ref, record) for record in remembered.tasks),
                steps=facts.steps.get(deal_id),
                look_again=facts.look_again.get(deal_id),
            ),
            context.rulebook.rules,
            world,
            now=facts.now,
            responsible_before=remembered.deal.responsible_id if remembered.deal else None,
            backfill=backfill,
        )
        if (decision := facts.judge(deal_id, decide_it)) is not None:
            decisions.append(decision)
    return decisions


def look_up_met(decision: Decision, facts: Gathered) -> Decision:
    """The same; creations of tasks that were seen in the portal just now are looked up before they are sent."""
    met = {occurrence_in(task.mark) for task in facts.seen.met}
    if met.isdisjoint(one.task for one in decision.operations):
        return decision
    operations = (
        replace(one, look_first=True) if one.kind is Kind.CREATE and one.task in met else one
        for one in decision.operations
    )
    return replace(decision, operations=tuple(operations))


def tell_unjudged(context: ServiceContext, facts: Gathered) -> tuple[Operation, ...]:
    """What could not be read of deals that were to be judged: in the log, and to the admins once a day for a cause.
    A stage that the portal does not name may be gone for good: that is said once of each deal."""
    by_cause: dict[str, list[int]] = {}
    before = context.store.unjudged() if facts.unread else {}
    for deal_id, end in facts.unread.items():
        if end.code != NO_STAGE or deal_id not in before or before[deal_id][1].code != NO_STAGE:
            by_cause.setdefault(end.code, []).append(deal_id)
    told: tuple[Operation, ...] = ()
    for code, deals in by_cause.items():
        why = facts.unread[deals[0]].why
        log.warning("deals cannot be judged yet: something could not be read", deals=deals[:FEW], problem=why)
        day = context.rulebook.rules.calendar.local(facts.now).date()
        text = texts.say(
            context.rulebook.rules.language, "admin.unjudged", count=len(deals), deal=Item.of(deals[0]), why=why
        )
        told += tell_admins(context.rulebook, Key(Purpose.UNJUDGED, code, day), text)
    return told


def world_of(context: ServiceContext, facts: Gathered, picks: Picks | None = None) -> plan.World:
    """What the decisions of one pass share."""
    return plan.World(
        company=context.rulebook.company,
        picks=picks_of(context) if picks is None else picks,
        loaded=context.store.rules_loaded(),
        started=context.started,
        companies=facts.companies,
        contacts=facts.contacts,
    )


def picks_of(context: ServiceContext) -> Picks:
    """What owners have to do, as the store says."""
    return Picks(context.store.open_deadlines() if context.rulebook.picks_by_load else {}, context.store.picks())


def rules_that_failed(
    context: ServiceContext, decisions: Sequence[Decision], deals: Mapping[int, Deal | None], now: datetime
) -> tuple[Operation, ...]:
    """A rule that failed on a deal is told in the log, and to the admins once a day for each rule."""
    rules, told = context.rulebook.rules, dict[str, Operation]()
    for decision in decisions:
        for trace in decision.traces:
            if trace.verdict not in texts.FAULTS:
                continue
            fault = texts.explain(rules.language, trace, zone=rules.calendar.zone, deal_fields=rules.deal_fields)[0]
            log.error("rule failed on a deal", rule=trace.rule_id, deal=trace.deal_id, problem=fault)
            deal = deals.get(trace.deal_id)
            text = texts.say(
                rules.language,
                "admin.rule_failed",
                title=rules.title_of(trace.rule_id),
                rule=trace.rule_id,
                deal=deal.title if deal else f"#{Item.of(trace.deal_id)}",
                message=fault,
            )
            key = Key(Purpose.RULE_FAILED, trace.rule_id, rules.calendar.local(now).date())
            told |= {one.key: one for one in tell_admins(context.rulebook, key, text) if one.key not in told}
    return tuple(told.values())


def watch_only(decision: Decision, report: PassReport) -> Decision:
    """``watch: true``: what was decided is reported and traced, nothing is planned and no task is remembered; what has
    happened is, and that a visit was seen: one that is over by the time of writing makes nothing."""
    report.watched.extend(decision.operations)
    for operation in decision.operations:
        log.info("watch: would write", kind=operation.kind.value, deal=operation.deal_id, task=operation.task)
    traces = tuple(replace(trace, data={**trace.data, "watch": True}) for trace in decision.traces)
    facts = {named: at for named, at in decision.moments.items() if named[1] not in plan.ACTS}
    return Decision(decision.deal_id, traces=traces, moments=facts, wake_at=decision.wake_at)


def safety_room(context: ServiceContext, now: datetime) -> int:
    """How many new tasks ``max_new_tasks`` lets through, after those of the ten minutes before ``now``."""
    return context.rulebook.rules.safety.max_new_tasks - context.store.created_since(now - SAFETY_WINDOW)


def within_safety(
    context: ServiceContext, decisions: list[Decision], now: datetime, report: PassReport, allowed: int
) -> tuple[list[Decision], tuple[Operation, ...]]:
    """``max_new_tasks``: what goes beyond it in any ten minutes is held, and the admins hear of it."""
    limit = context.rulebook.rules.safety.max_new_tasks
    checked: list[Decision] = []
    for decision in decisions:
        creates = sum(op.kind is Kind.CREATE for op in decision.operations)
        if creates and creates > allowed:
            operations = tuple(
                replace(op, state=State.HELD) if op.kind is Kind.CREATE else op for op in decision.operations
            )
            decision = replace(decision, operations=operations)
            report.held += creates
        else:
            allowed -= creates
        checked.append(decision)
    if not report.held:
        return checked, ()
    text = texts.say(context.rulebook.rules.language, "admin.held", count=report.held, limit=limit)
    return checked, tell_admins(context.rulebook, Key(Purpose.HELD, hour(now)), text)


def tell(language: str, users: Sequence[int], about: Key | Refusal, text: str) -> tuple[Operation, ...]:
    """A message to each of the users; its key says what it is about, so it is said once."""
    return tuple(
        Operation(
            str(Key(Purpose.TELL, about, user)),
            SendMessage(user, texts.signed(language, text, mark), mark),
            urgency=plan.MESSAGE,
        )
        for user in users
        for mark in (told_mark(about, user),)
    )


def tell_admins(rulebook: Rulebook, about: Key, text: str) -> tuple[Operation, ...]:
    """A message to every administrator of the file."""
    return tell(rulebook.rules.language, rulebook.admins, Key(Purpose.ADMIN, about), text)


def notices_of_tasks(context: ServiceContext, facts: Gathered) -> tuple[Operation, ...]:
    """What the admins hear of tasks that are not those remembered, and of tasks of ours that nobody remembers."""
    told = tuple(one for record in facts.seen.strangers for one in of_stranger(context, record))
    if not facts.seen.met:
        return told
    if context.store.cursor() is None:
        return (*told, *of_marks(context, "first", facts.seen.met))
    began = context.started.replace(microsecond=0)
    older = [task for task in facts.seen.met if task.created is None or task.created < began]
    newer = [task for task in facts.seen.met if task not in older]
    return (*told, *of_marks(context, "start", older), *of_marks(context, "running", newer))


def of_marks(context: ServiceContext, when: str, met: Sequence[PortalTask]) -> tuple[Operation, ...]:
    """Tasks with our mark that the database does not know: at its "first" start, made before this "start" or while we
    are "running". Told once a day."""
    if not met:
        return ()
    shown = ", ".join([*(str(task.id) for task in met[:SHOWN]), *(["…"] if len(met) > SHOWN else [])])
    log.warning("tasks of ours that the database does not know", when=when, count=len(met), tasks=shown)
    text = texts.say(context.rulebook.rules.language, f"admin.marks_{when}", count=len(met), tasks=shown)
    day = context.rulebook.rules.calendar.local(context.portal.now()).date()
    return tell_admins(context.rulebook, Key(MARKS[when], day), text)


def of_stranger(context: ServiceContext, record: TaskRecord) -> tuple[Operation, ...]:
    """A task that we knew is gone, for another one has its number. Of tasks that no rule made nobody need hear."""
    if not record.rule_id:
        return ()
    log.error("another task has the number of one that we knew", was=record.ref)
    text = texts.say(context.rulebook.rules.language, "admin.stranger", title=record.title)
    return tell_admins(context.rulebook, Key(Purpose.STRANGER, record.ref), text)


def tell_strangers(context: ServiceContext) -> None:
    """The admins hear, once for each task, that operations ended because another task has its number."""
    ended = context.store.operations(state=State.DROPPED, error_code=STRANGER_CODE)
    records = {record.ref: record for record in context.store.task_records(refs=[row.operation.task for row in ended])}
    told = [one for record in records.values() if record.gone for one in of_stranger(context, record)]
    if told:
        context.store.record(Changeset(at=context.portal.now(), operations=tuple(told)), context.sender.epoch)


def put_back(
    context: ServiceContext, standing: identity.Standing, read: Sequence[Visit] = (), *, sure: bool = False
) -> Sequence[Visit]:
    """The portal counts ids of its history anew: it was put back from its backup, or it is another one (ForeignPortal,
    unless an administrator is ``sure``). What it has no more is forgotten, a task so that it is made again; the admins
    hear of it, and open tasks are read again. ``read``: rows of the reading that showed it. Returns the visits
    forgotten."""
    if not sure:
        identity.require(standing)
    store, cursor = context.store, context.store.cursor()
    found = recognition.rows(store, read)
    known = store.known_visits([visit.id for visit in read])
    true = [visit for visit in read if visit.id in known and recognition.same(visit, known[visit.id])]
    lost = recognition.lost_visits(store, [*standing.contradicted, *found.against], [*standing.true, *true])
    if not lost or cursor is None:
        return ()
    first = min(visit.id for visit in lost)
    unmade = recognition.lost_tasks(store, context.portal, lost, [*standing.true, *true])
    text = texts.say(context.rulebook.rules.language, "admin.put_back", count=len(lost))
    key = Key(Purpose.PUT_BACK, minute(context.portal.now()))
    store.record(
        Changeset(
            at=context.portal.now(),
            cursor=cursor.before(lost),
            retired=tuple(lost),
            unmade=tuple(record.ref for record in unmade),
            decisions=tuple(Decision(one, wake_at=context.portal.now()) for one in {one.deal_id for one in unmade}),
            operations=tell_admins(context.rulebook, key, text),
        ),
        context.sender.epoch,
    )
    log.error("the portal was put back from its backup", forgotten=len(lost), first=first, tasks=len(unmade))
    observe_seen(context, reading.open_tasks(context.portal))
    return lost


def look_whose(context: ServiceContext) -> None:
    """Before much is done at once: is it still the store's portal? Raises ForeignPortal; what one that was put back has
    no more is forgotten."""
    standing = identity.look(context.store, context.portal)
    identity.require(standing)
    if standing.contradicted:
        put_back(context, standing)


def tell_failures(context: ServiceContext) -> None:
    """What the portal refused: a deal's move to the supervisor, everything else to the admins, once per cause and hour.
    A message that did not reach an admin stays in the log and in ``status``, for there is nobody else to tell."""
    rows = context.store.untold_failures()
    if not rows:
        return
    now = context.portal.now()
    heard = context.store.told_between(Purpose.REFUSED.beginning, now - failures.QUIET, now)
    found = failures_of(context, rows)
    news = {replace(cause, at=now): alike for cause, alike in failures.gather(found, heard).items()}
    told = [one for one in found if one.reader is None]
    notices: list[Operation] = []
    for cause, alike in news.items():
        readers = (alike[0].reader,) if alike[0].reader else context.rulebook.admins
        language = context.rulebook.rules.language
        notices += tell(language, readers, cause, failures.said(language, alike))
        told += alike
    if told:
        keys = (*map(str, news), *(failed_key(one.row) for one in told))
        context.store.record(Changeset(at=now, operations=tuple(notices), told=keys), context.sender.epoch)


def failures_of(context: ServiceContext, rows: Sequence[StoredOperation]) -> list[failures.Failure]:
    """Refused operations with the names that their messages need, and who hears of each."""
    records = {record.ref: record for record in context.store.task_records(refs={row.operation.task for row in rows})}
    of_deal = {row.id: row.operation.deal_id or record_deal(records.get(row.operation.task)) for row in rows}
    deals, titles = context.store.deals(of_deal.values()), context.store.deal_titles(of_deal.values())
    found = []
    for row in rows:
        record, deal_id, action = records.get(row.operation.task), of_deal[row.id], row.operation.action
        stage = action.stage if isinstance(action, MoveDeal) else ""
        found.append(
            failures.Failure(
                row,
                METHODS[row.operation.kind],
                reader_of_refusal(context, row.operation, deals.get(deal_id)),
                task=record.title if record else title_of(action),
                deal=titles.get(deal_id, f"#{Item.of(deal_id)}" if deal_id else ""),
                stage=context.rulebook.rules.stage_names.get(stage, stage),
                user=context.rulebook.company.name(action.user) if isinstance(action, SendMessage) else "",
            )
        )
    return found


def reader_of_refusal(context: ServiceContext, refused: Operation, deal: Deal | None) -> int | None:
    """Who hears of it, see ``failures.Failure``: of a deal's move the head over its responsible."""
    if refused.kind is Kind.MOVE_DEAL and deal is not None:
        return head_over(context.rulebook.company, deal.responsible_id) or 0
    is_to_admin = isinstance(refused.action, SendMessage) and refused.action.user in context.rulebook.admins
    return None if is_to_admin else 0


def record_deal(record: TaskRecord | None) -> int:
    """The deal of a task; 0 for one without."""
    return record.deal_id if record else 0


def failed_key(row: StoredOperation) -> str:
    """Says that a refusal was told."""
    return str(Key(Purpose.FAILED, row.operation.key))


# --- first start -----------------------------------------------------------------------------------------------------


def past_of(context: ServiceContext, kinds: Collection[ItemKind]) -> Changes:
    """The open items of these kinds with their history, and all history up to the cursor that lies so far back as rows
    can become visible late."""
    portal = context.portal
    cursor = reading.cursor_now(portal, kinds)
    deals = reading.open_deals(portal, fields=context.rulebook.rules.fields, kinds=kinds)
    read = reading.deal_history(portal, [deal.id for deal in deals])
    for kind in kinds:
        read += reading.history_since(portal, cursor.kinds[kind.name].history_time - OVERLAP, kind)
    visits = {visit.id: visit for visit in read if cursor.covers(visit)}
    return Changes(visits=tuple(visits.values()), deals=tuple(deals), cursor=cursor)


def take_up(context: ServiceContext, cursor: Cursor, kinds: Collection[ItemKind]) -> Cursor:
    """Begin to read items of kinds of which the file did not speak before: what is there are facts of the past, but for
    stays that began since its rules were loaded, which are read again as news."""
    at, past = context.portal.now(), past_of(context, kinds)
    since = max(context.store.rules_loaded().values(), default=at).replace(microsecond=0)
    news = [visit for visit in past.visits if visit.entered >= since]
    reached = past.cursor.before(news).kinds if past.cursor else {}
    begun = replace(cursor, kinds={**cursor.kinds, **reached})
    before = tuple(visit for visit in past.visits if visit.entered < since)
    context.store.record(
        Changeset(at=at, cursor=begun, visits=before, history=True, deals=past.deals), context.sender.epoch
    )
    log.info("kinds of items are read from now on", kinds=[kind.name for kind in kinds], items=len(past.deals))
    return begun


def keep_steps(context: ServiceContext, cursor: Cursor) -> Cursor:
    """Begin to read what is planned with deals when the file asks for it, of more deals when it does so for more
    stages, and end it when it does no more. Which activities were over before is asked deal by deal, some at a time."""
    store, rules, now = context.store, context.rulebook.rules, context.portal.now()
    wanted, known = steps.scope(rules), store.flags.steps_scope
    refused = context.steps_refused
    if wanted <= known and (wanted or cursor.activities_time is None):
        return cursor
    if refused is not None and timedelta() <= now - refused < STEPS_AGAIN:
        return cursor
    if not wanted:
        return change_steps(context, replace(cursor, activities_time=None), None)
    if cursor.activities_time is None:
        begun = steps.beginning(store, context.portal)
        if isinstance(begun, Unread):
            return refuse_steps(context, begun, cursor)
        store.forget_activities()
        cursor = change_steps(context, replace(cursor, activities_time=now), begun)
    return look_at_past(context, cursor, wanted)


def look_at_past(context: ServiceContext, cursor: Cursor, wanted: frozenset[str]) -> Cursor:
    """Read of some deals in stages that are new in the file when the last task and activity were over."""
    store, looked = context.store, context.store.flags.steps_looked
    looked = looked if looked is not None and looked.stages == wanted else LookedAt(wanted)
    new = store.steps(stages=wanted - store.flags.steps_scope)
    left = [deal for deal in steps.to_look_at(new) if deal > looked.last]
    portion = left[: steps.PORTION]
    seen = steps.looked_at(store, context.portal, portion)
    if isinstance(seen, Unread):
        return refuse_steps(context, seen, cursor)
    observe_seen(context, reading.tasks_of_deals(context.portal, portion))
    store.record(Changeset(at=context.portal.now(), ahead=seen), context.sender.epoch)
    through = portion == left
    store.flags.steps_looked = None if through else replace(looked, last=portion[-1])
    if through:
        store.flags.steps_scope = wanted
        log.info("what is planned with deals is known", stages=len(wanted))
    return cursor


def change_steps(context: ServiceContext, cursor: Cursor, begun: Ahead | None) -> Cursor:
    """Activities are read from another moment on, or no more: nothing is known of them for sure until all was seen."""
    context.store.flags.steps_scope, context.store.flags.steps_looked = frozenset(), None
    context.store.record(Changeset(at=context.portal.now(), cursor=cursor, ahead=begun), context.sender.epoch)
    return cursor


def refuse_steps(context: ServiceContext, end: Unread, cursor: Cursor) -> Cursor:
    """What is planned could not be read: nobody is idle until it can be, and the admins hear of it once a day."""
    now, rules = context.portal.now(), context.rulebook.rules
    context.steps_refused = now
    text = texts.say(rules.language, "admin.steps_unread", why=end.why)
    key = Key(Purpose.UNREAD, rules.calendar.local(now).date(), steps.METHOD)
    notices = () if rules.safety.watch else tell_admins(context.rulebook, key, text)
    context.store.record(Changeset(at=now, operations=notices), context.sender.epoch)
    log.warning("what is planned with deals could not be read; no deal is idle until it is", problem=end.why)
    return cursor


def first_start(context: ServiceContext) -> None:
    """Read open deals with their history and open tasks as facts, and decide nothing from them.

    The cursor begins at the portal's latest history row. The rules begin at this moment of the portal's time, whatever
    was there to be read: a stay that began before it never makes them act, with whatever number and whenever its row
    becomes visible. History knows whole seconds; within the second itself the numbers tell: what the history shows now
    is past, what has a higher number is new. A portal that shows no deal at all is told of (``alarms``)."""
    portal, rules = context.portal, context.rulebook.rules
    begun = portal.now()
    past = past_of(context, [KINDS[name] for name in sorted(rules.kinds)])
    facts = Gathered(begun, replace(past, tasks=tuple(reading.open_tasks(portal))))
    observe_tasks(context, facts)
    context.store.note_rules(list(rules.by_id), begun, anew=True)  # a first start that ended half-way began nothing
    context.store.flags.sees_no_deals = None if past.deals else begun
    context.store.record(
        Changeset(
            at=begun,
            cursor=past.cursor,
            visits=past.visits,
            history=True,
            deals=past.deals,
            tasks=tuple(facts.tasks.values()),
            decisions=tuple(Decision(deal_id, wake_at=begun) for deal_id in sorted(facts.touched)),
            operations=notices_of_tasks(context, facts),
        ),
        context.sender.epoch,
    )
    log.info("first start", deals=len(past.deals), visits=len(past.visits), tasks=len(facts.tasks))
    if not past.deals:
        log.error(
            "the portal shows no deal in progress; may the webhook's user read deals? (CRM > Settings > Access "
            "permissions)",
            user=context.rulebook.company.name(context.rulebook.company.self_id),
        )
