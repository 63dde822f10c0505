"""Whatever happens to a decision on its way, the portal ends as if nothing had: decisions lost before they were
recorded, operations recorded and not yet carried out, answers that never came, readings late, grouped, out of order.

Two offices serve the same deal. The calm one records each reading and carries everything out at once; the shaken one
reads at the same moments and crashes wherever it can. Everything is pure: portal, ledger and crash are a page of code.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, ClassVar

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, run_state_machine_as_test
from hypothesis.stateful import rule as step

from bitrix_sync.decisions import overdue, plan
from bitrix_sync.decisions.guards import NEED_READING, guard
from bitrix_sync.model.actions import Kind, pack
from bitrix_sync.model.facts import DEFERRED, DONE, IN_PROGRESS, OPEN_STATUSES, WAITING, Deal, PortalTask, Visit
from bitrix_sync.model.keys import MARK, SlotId
from bitrix_sync.model.operations import DealState, Decision, Operation, State, TaskRecord
from bitrix_sync.model.presence import Presence
from bitrix_sync.rules.model import Becomes, Deadline, Done, Duration, Entered, Head, Overdue, Rules, Slot, Test, UserId
from bitrix_sync.rules.persons import Picks
from tests.world.company import MOSCOW, after, at
from tests.world.story import COMPANY, LAWYER, OTHER, OWNER, book, rule

DEAL = 7
CHANGES = (Kind.DEADLINE, Kind.PEOPLE, Kind.COMPLETE, Kind.DELETE)
ENDINGS = (Kind.COMPLETE, Kind.DELETE, Kind.DEFER, Kind.RESUME)
HAPPENED = {"entered", "worked at", "completed", "edited", "moved by a sweep", "crashed at work", "crashed in a sweep"}
LOADED = at("2026-01-01 00:00")
MONDAY = at("2026-03-02 10:00")
MORNING = Slot("morning", at("2026-03-02 09:00").astimezone(MOSCOW).time(), after(0))
EVENING = Slot("evening", at("2026-03-02 18:30").astimezone(MOSCOW).time(), after(1))
SHIP = Deadline(field="UF_CRM_SHIP", otherwise=after(10))
OFFERED = Deadline(event=Entered(frozenset({"OFFER"})), offset=Duration(2, "days"), otherwise=after(20))
SHOWN = Deadline(event=Done("show", same_stage=False), offset=Duration(3, "workdays"), otherwise=after(15))
PAID = Deadline(
    event=Becomes(Test("UF_CRM_INVOICE", "filled", True)), offset=Duration(5, "workdays"), otherwise=after(12)
)

EVERYTHING = book(
    rule("call", deadline=after(1), checklist=("one", "two")),
    rule("ship", deadline=SHIP),
    rule("touch", again=Duration(1, "workdays"), deadline=after(2)),
    rule("show", "MEETING", owner=UserId(LAWYER), deadline=after(2)),
    rule("offer", "MEETING", start=Done("show", same_stage=True), deadline=after(3)),
    rule("paid", "MEETING", deadline=PAID, owner=Head(), on_leave="complete"),
    rule("once", "MEETING", repeat="once", deadline=OFFERED),
    rule("sign", "OFFER", deadline=SHOWN, on_leave="delete"),
    rule("keep", "OFFER", repeat="if_none_open", deadline=after(4), on_leave="defer", on_close="defer"),
    overdue=Overdue(slots=(MORNING, EVENING), limit=2),
)
CALM = book(
    rule("call", deadline=after(1), checklist=("one", "two")),
    rule("ship", deadline=SHIP),
    rule("show", "MEETING", owner=UserId(LAWYER), deadline=after(2)),
    rule("await", "MEETING", deadline=OFFERED),
    rule("sign", "OFFER", owner=Head(), deadline=after(4, "days")),
)
"""Rules for which it does not matter when a reading comes, only what it says."""


@dataclass
class Queued:
    """An operation in the ledger."""

    operation: Operation
    number: int
    state: State = State.PLANNED


@dataclass
class Reading:
    """What one reading showed, and what was decided from it: lost unless it is recorded."""

    visits: list[Visit]
    deal: Deal
    observed: dict[str, TaskRecord]
    decision: Decision


@dataclass
class Office:
    """One deal in a portal, and a service with its memory of it."""

    rules: Rules
    deal: Deal
    visits: list[Visit] = field(default_factory=list)
    tasks: dict[int, PortalTask] = field(default_factory=dict)
    items: list[tuple[int, str]] = field(default_factory=list)
    newest: int = 100
    """The id of the newest task: no id comes twice, also not that of a task that was deleted."""
    memory: DealState = field(default_factory=lambda: DealState(DEAL, None))
    ledger: dict[str, Queued] = field(default_factory=dict)

    # --- the portal and its people -----------------------------------------------------------------------------------

    def task(self, name: str) -> PortalTask | None:
        """The newest task of a rule, as the portal shows it."""
        found = [task for task in self.tasks.values() if rule_of(task) == name]
        return max(found, key=lambda task: task.id, default=None)

    def changes(self, name: str, **values: Any) -> None:
        """A person changes the newest task of a rule."""
        task = self.task(name)
        assert task is not None
        self.tasks[task.id] = replace(task, **values)

    def perform(self, operation: Operation, task_id: int | None, now: datetime) -> int | None:
        """The portal carries out a command; the id of what it made. No rule here keeps a day off, so none is set."""
        payload = pack(operation.action)
        for set_to in (payload.get("deadline"), payload.get("fields", {}).get("DEADLINE")):
            assert set_to is None or self.rules.calendar.is_working(datetime.fromisoformat(set_to).date()), set_to
        if operation.kind is Kind.CREATE:
            fields = payload["fields"]
            number = self.newest = self.newest + 2
            self.tasks[number] = PortalTask(
                id=number,
                title=fields["TITLE"],
                status=WAITING,
                owner_id=fields["RESPONSIBLE_ID"],
                creator_id=1,
                deadline=moment(fields["DEADLINE"]),
                mark=MARK + operation.task,
                deal_ids=(DEAL,),
                auditors=tuple(fields.get("AUDITORS", ())),
                created=now,
                changed=now,
            )
            return number
        assert task_id is not None
        task = self.tasks.get(task_id)
        match operation.kind:
            case Kind.CHECKLIST:
                self.items.append((task_id, payload["title"]))
            case Kind.DEADLINE if task:
                self.tasks[task_id] = replace(task, deadline=moment(payload["deadline"]))
            case Kind.PEOPLE if task:
                gone = payload["drop"]
                kept = [user for user in task.auditors if user not in gone]
                more = [payload["supervisor"]] if payload["supervisor"] and payload["supervisor"] not in kept else []
                self.tasks[task_id] = replace(task, owner_id=payload["owner"], auditors=(*kept, *more))
            case Kind.COMPLETE if task:
                self.tasks[task_id] = replace(task, status=DONE, closed=now)
            case Kind.DEFER if task:
                self.tasks[task_id] = replace(task, status=DEFERRED)
            case Kind.RESUME if task:
                self.tasks[task_id] = replace(task, status=WAITING)
            case Kind.DELETE:
                self.tasks.pop(task_id, None)
        return None

    # --- the service -------------------------------------------------------------------------------------------------

    def read(self, now: datetime, order: Random, visible: Iterable[Visit] | None = None) -> Reading:
        """Read the portal, in any order, and decide; nothing is remembered yet."""
        known = {visit.id for visit in self.memory.visits}
        new = [visit for visit in (self.visits if visible is None else visible) if visit.id not in known]
        shown = list(self.tasks.values())
        order.shuffle(new)
        order.shuffle(shown)
        by_id = {record.portal_id: record for record in self.memory.tasks}
        observed = {}
        for task in shown:
            if record := by_id.get(task.id):
                observed[record.occurrence] = plan.observe(record, task, at=now)[0]
        state = replace(
            self.memory,
            deal=self.deal,
            visits=(*self.memory.visits, *new),
            tasks=tuple(observed.get(record.occurrence, record) for record in self.memory.tasks),
            underway=self.underway(),
        )
        world = plan.World(COMPANY, Picks(), dict.fromkeys(self.rules.by_id, LOADED), started=LOADED)
        before = self.memory.deal.responsible_id if self.memory.deal else None
        decision = plan.decide(state, self.rules, world, now=now, responsible_before=before)
        return Reading(new, self.deal, observed, decision)

    def underway(self) -> dict[tuple[str, Kind], tuple[Mapping[str, Any], ...]]:
        """Changes of deadlines and people, and endings, that have no end yet, as the store tells of them."""
        found: dict[tuple[str, Kind], tuple[Mapping[str, Any], ...]] = {}
        for one in self.ledger.values():
            name = (one.operation.task, one.operation.kind)
            if one.operation.kind in CHANGES and one.state in (State.PLANNED, State.UNKNOWN):
                found[name] = (*found.get(name, ()), one.operation.action)
        return found

    def record(self, reading: Reading) -> None:
        """Commit a reading: what is known already stays as it is."""
        known = {visit.id for visit in self.memory.visits}
        visits = [visit for visit in reading.visits if visit.id not in known]
        self.memory = replace(
            self.memory,
            deal=reading.deal,
            visits=(*self.memory.visits, *visits),
            moments={**reading.decision.moments, **self.memory.moments},
        )
        self.remember([*reading.observed.values(), *reading.decision.tasks])
        self.plan(reading.decision.operations)

    def remember(self, records: Iterable[TaskRecord]) -> None:
        """Whole records by occurrence; a portal id once known is kept."""
        by_name = {record.occurrence: record for record in self.memory.tasks}
        for record in records:
            held = by_name.get(record.occurrence)
            by_name[record.occurrence] = replace(record, portal_id=record.portal_id or (held and held.portal_id))
        self.memory = replace(self.memory, tasks=tuple(by_name.values()))

    def plan(self, operations: Iterable[Operation]) -> None:
        """New operations by key; what is said of a task that is gone is dropped."""
        for operation in operations:
            if operation.key not in self.ledger:
                queued = self.ledger[operation.key] = Queued(operation, len(self.ledger))
                if self.known(operation.task).gone and operation.kind is not Kind.CREATE:
                    queued.state = State.DROPPED
        self.memory = replace(self.memory, keys=frozenset(self.ledger))

    def known(self, occurrence: str) -> TaskRecord:
        """What is remembered of a task."""
        return next(record for record in self.memory.tasks if record.occurrence == occurrence)

    def sweep(self, slot: Slot, moment: datetime) -> tuple[Operation, ...]:
        """Read what is open again, and decide the moves of a slot."""
        shown = self.tasks
        records = []
        for record in self.memory.tasks:
            if record.portal_id is None or not record.open:
                continue
            seen = shown.get(record.portal_id)
            records.append(plan.observe(record, seen, at=moment)[0] if seen else replace(record, gone=True))
        self.remember(records)
        late = overdue.weigh(
            [record for record in self.memory.tasks if record.open],
            rules=self.rules,
            slot=slot,
            company=COMPANY,
            days=overdue.Days(Presence((), self.rules.calendar)),
            deals={DEAL: self.deal},
            moment=moment,
        )
        name = str(SlotId(moment.astimezone(MOSCOW).date(), slot.name))
        return overdue.operations(late, rules=self.rules, slot=name)

    def ready(self) -> Queued | None:
        """The next operation that may be sent: never before an earlier one on its task."""
        waiting = sorted(
            (one for one in self.ledger.values() if one.state is State.PLANNED),
            key=lambda one: (one.operation.urgency, one.number),
        )
        unfinished = [one for one in self.ledger.values() if one.state in (State.PLANNED, State.UNKNOWN)]
        for one in waiting:
            operation = one.operation
            if operation.kind is not Kind.CREATE and self.known(operation.task).portal_id is None:
                continue
            if not any(o.number < one.number and o.operation.task == operation.task for o in unfinished):
                return one
        return None

    def work(self, now: datetime, mishap: str = "") -> bool:
        """Carry out one operation. ``mishap``: the process ends "before" the command arrives, or "after" it was
        carried out and before that is noted: then its end is unknown, and it is looked up."""
        queued = self.ready()
        if queued is None:
            return False
        operation, record = queued.operation, self.known(queued.operation.task)
        if operation.kind is Kind.LINE:
            queued.state = State.DONE
            return True
        if operation.kind in NEED_READING:
            verdict = guard(operation, self.tasks.get(record.portal_id or 0), record, now=now)
            if verdict is not None:
                self.finish(queued, verdict.state, None, now)
                return True
        if operation.kind is Kind.DEADLINE:
            self.note_sent(record, operation)
        if mishap == "before":
            queued.state = State.UNKNOWN
            return True
        result = self.perform(operation, record.portal_id, now)
        if mishap == "after":
            queued.state = State.UNKNOWN
            return True
        self.finish(queued, State.DONE, result, now)
        return True

    def settle(self, now: datetime) -> None:
        """Look up what is unknown: it arrived, or it is planned again."""
        for queued in self.ledger.values():
            if queued.state is not State.UNKNOWN:
                continue
            operation = queued.operation
            queued.state = State.PLANNED
            if operation.kind is Kind.CREATE:
                found = [task.id for task in self.tasks.values() if task.mark == MARK + operation.task]
                if found:
                    self.finish(queued, State.DONE, min(found), now)
            elif (self.known(operation.task).portal_id, getattr(operation.action, "title", "")) in self.items:
                queued.state = State.DONE

    def drain(self, now: datetime) -> None:
        """Carry out everything."""
        self.settle(now)
        while self.work(now):
            pass

    def note_sent(self, record: TaskRecord, operation: Operation) -> None:
        """A deadline on its way is ours from here on."""
        sent = moment(pack(operation.action)["deadline"])
        self.remember([replace(record, sent=(*record.sent, sent))])

    def finish(self, queued: Queued, state: State, result: int | None, now: datetime) -> None:
        """What an end means for the task, as the ledger has it."""
        queued.state = state
        operation, record = queued.operation, self.known(queued.operation.task)
        if state is not State.DONE:
            return
        payload = pack(operation.action)
        match operation.kind:
            case Kind.CREATE:
                record = replace(record, portal_id=result)
            case Kind.DEADLINE:
                swept = payload["reason"] == "sweep"
                record = replace(
                    record,
                    deadline=moment(payload["deadline"]),
                    moves=record.moves + swept,
                    moves_by_us=record.moves_by_us + swept,
                )
            case Kind.PEOPLE:
                record = replace(record, owner_id=payload["owner"], owner_sent=payload["owner"])
            case Kind.COMPLETE:
                record = replace(record, status=DONE, closed=now)
            case Kind.DEFER:
                record = replace(record, status=DEFERRED)
            case Kind.RESUME if record.status == DEFERRED:
                record = replace(record, status=WAITING)
            case Kind.DELETE:
                record = replace(record, gone=True)
                for one in self.ledger.values():
                    if one.operation.task == record.occurrence and one.state is State.PLANNED:
                        one.state = State.DROPPED
        self.remember([record])

    # --- looking -----------------------------------------------------------------------------------------------------

    def outcome(self) -> dict[str, Any]:
        """What people see: every task by its mark, and what is counted about it."""
        assert len({task.mark for task in self.tasks.values()}) == len(self.tasks), "two tasks with one mark"
        counted = {
            MARK + r.occurrence: (
                r.moves,
                r.moves_by_us,
                r.moves_by_people > 0,
                r.follow_off,
                r.first_deadline,
                r.visit_id,
            )
            for r in self.memory.tasks
        }
        tasks = {task.mark: (task.owner_id, task.auditors, task.deadline, task.status) for task in self.tasks.values()}
        items = sorted((self.tasks[number].mark, title) for number, title in self.items if number in self.tasks)
        return {"tasks": tasks, "counted": counted, "items": items}


def rule_of(task: PortalTask) -> str:
    """The rule that a task was made by."""
    return task.mark.removeprefix(MARK).split(":")[1]


def moment(text: str) -> datetime:
    """A moment as the portal keeps it: to the minute."""
    return datetime.fromisoformat(text).astimezone(UTC).replace(second=0, microsecond=0)


def new_deal() -> Deal:
    """A deal as it is before its first stage."""
    empty = {"TITLE": "Romashka", "OPPORTUNITY": 1000, "UF_CRM_SHIP": None, "UF_CRM_INVOICE": None}
    return Deal(DEAL, "Romashka", 0, "NEW", "P", OWNER, OTHER, 0, 0, MONDAY, MONDAY, fields=empty)


STAGES = ("NEW", "MEETING", "OFFER")
RULES = tuple(EVERYTHING.by_id)
MISHAPS = st.lists(st.sampled_from(["", "before", "after"]), max_size=6)


class Shaken(RuleBasedStateMachine):
    """People work on a deal; both offices read it at the same moments, the shaken one crashes in between."""

    met: ClassVar[Counter[str]] = Counter()
    """What happened in all runs."""

    def __init__(self) -> None:
        super().__init__()
        self.now = MONDAY
        self.calm, self.shaken = Office(EVERYTHING, new_deal()), Office(EVERYTHING, new_deal())
        self.offices = (self.calm, self.shaken)
        self.swept: set[str] = set()
        self.enters("NEW")

    # --- people --------------------------------------------------------------------------------------------------

    @step(stage=st.sampled_from((*STAGES, "WON")))
    def enters(self, stage: str) -> None:
        if self.calm.visits and (stage == self.calm.deal.stage_id or self.calm.deal.closed):
            return
        semantic = "S" if stage == "WON" else "P"
        self.now += timedelta(minutes=7)
        for office in self.offices:
            visit = Visit(10 * (len(office.visits) + 1), DEAL, 2, 0, stage, semantic, self.now)
            office.visits.append(visit)
            office.deal = replace(office.deal, stage_id=stage, semantic=semantic, changed=self.now)

    @step(field=st.sampled_from(["UF_CRM_SHIP", "UF_CRM_INVOICE"]), day=st.sampled_from([None, 12, 20, 25]))
    def fills(self, field: str, day: int | None) -> None:
        self.now += timedelta(minutes=3)
        for office in self.offices:
            value = f"2026-06-{day}" if day else None
            office.deal = replace(office.deal, fields={**office.deal.fields, field: value}, changed=self.now)

    @step(user=st.sampled_from([OWNER, OTHER]))
    def gives_the_deal_to(self, user: int) -> None:
        self.now += timedelta(minutes=1)
        for office in self.offices:
            office.deal = replace(office.deal, responsible_id=user, changed=self.now)

    @step(one=st.integers(0, 5), status=st.sampled_from([DONE, IN_PROGRESS, DEFERRED]))
    def works_at(self, one: int, status: int) -> None:
        for name in self.chosen(one):
            self.now += timedelta(minutes=2)
            for office in self.offices:
                office.changes(name, status=status, closed=self.now if status == DONE else None, changed=self.now)
            self.met["completed" if status == DONE else "worked at"] += 1

    @step(one=st.integers(0, 5), days=st.integers(1, 3))
    def sets_another_deadline(self, one: int, days: int) -> None:
        for name in self.chosen(one):
            deadline = (self.now + timedelta(days=days)).replace(minute=11, second=0)
            for office in self.offices:
                office.changes(name, deadline=deadline, changed=self.now)
            self.met["edited"] += 1

    def chosen(self, one: int) -> list[str]:
        """A rule whose newest task people can touch; none if there is no such task."""
        names = [name for name in RULES if self.same(name) and not self.ending(name)]
        return names[one % len(names) :][:1] if names else []

    def ending(self, name: str) -> bool:
        """The shaken office is about to put the task aside, take it up again or end it: what people do to it before
        that and what they do after it ends differently, in an office that never crashes too. Or it does not know yet
        whether it has made the task: of what people do to that meanwhile the overlap tells, which is not here.
        """
        task = self.shaken.task(name)
        return any(
            task is not None
            and MARK + one.operation.task == task.mark
            and one.operation.kind in {*ENDINGS, Kind.CREATE}
            and one.state in (State.PLANNED, State.UNKNOWN)
            for one in self.shaken.ledger.values()
        )

    def same(self, name: str) -> bool:
        """People can touch a task that is open and looks the same in both worlds."""
        calm, shaken = (office.task(name) for office in self.offices)
        if calm is None or shaken is None or calm.status not in OPEN_STATUSES:
            return False
        return replace(calm, id=0, created=None, changed=None) == replace(shaken, id=0, created=None, changed=None)

    @step(hours=st.integers(1, 30))
    def time_passes(self, hours: int) -> None:
        self.reads(0, 0, twice=False)
        self.now += timedelta(hours=hours)

    # --- the service ---------------------------------------------------------------------------------------------

    @step(lost=st.integers(0, 2), order=st.integers(0, 9), twice=st.booleans())
    def reads(self, lost: int, order: int, twice: bool) -> None:
        for attempt in range(lost):
            self.shaken.read(self.now - timedelta(seconds=lost - attempt), Random(order + attempt))
        reading = self.shaken.read(self.now, Random(order))
        self.shaken.record(reading)
        if twice:
            self.shaken.record(reading)
            self.shaken.record(self.shaken.read(self.now, Random(order + 1)))
        self.calm.record(self.calm.read(self.now, Random(0)))
        self.calm.drain(self.now)

    @step(mishaps=MISHAPS)
    def works(self, mishaps: list[str]) -> None:
        self.shaken.settle(self.now)
        for mishap in mishaps:
            self.works_once(mishap, "crashed at work")

    def works_once(self, mishap: str, when: str) -> None:
        if self.shaken.work(self.now, mishap) and mishap:
            self.met[when] += 1

    @step(days=st.integers(0, 3), slot=st.sampled_from([MORNING, EVENING]), lost=st.integers(0, 2), mishaps=MISHAPS)
    def sweeps(self, days: int, slot: Slot, lost: int, mishaps: list[str]) -> None:
        """A sweep over what is there in both worlds; killed half-way, it goes on with the moment it was claimed for."""
        self.catches_up()
        local = self.now.astimezone(MOSCOW) + timedelta(days=days)
        at_slot = local.replace(hour=slot.at.hour, minute=slot.at.minute, second=0)
        self.now = max(self.now, at_slot.astimezone(UTC))
        name = str(SlotId(self.now.astimezone(MOSCOW).date(), slot.name))
        if name in self.swept or not EVERYTHING.calendar.is_working(self.now.astimezone(MOSCOW).date()):
            return
        self.swept.add(name)
        self.calm.plan(self.calm.sweep(slot, self.now))
        self.calm.drain(self.now)
        for _ in range(lost):
            self.shaken.sweep(slot, self.now)
        self.shaken.plan(self.shaken.sweep(slot, self.now))
        for mishap in mishaps:
            self.works_once(mishap, "crashed in a sweep")
        self.shaken.settle(self.now)
        self.shaken.plan(self.shaken.sweep(slot, self.now))
        self.shaken.drain(self.now)

    def catches_up(self) -> None:
        self.reads(0, 0, twice=False)
        self.shaken.drain(self.now)
        for office in self.offices:
            office.record(office.read(self.now, Random(0)))
            office.drain(self.now)

    @invariant()
    def one_task_for_an_occurrence(self) -> None:
        marks = [task.mark for task in self.shaken.tasks.values()]
        assert len(marks) == len(set(marks))

    def teardown(self) -> None:
        self.catches_up()
        self.catches_up()
        assert self.shaken.outcome() == self.calm.outcome()
        self.met["entered"] += len(self.shaken.visits) - 1
        self.met["moved by a sweep"] += sum(record.moves_by_us for record in self.shaken.memory.tasks)


def test_crashes_and_delays_leave_no_trace() -> None:
    Shaken.met.clear()
    run_state_machine_as_test(Shaken, settings=settings(max_examples=200, stateful_step_count=25))  # type: ignore[no-untyped-call]
    assert set(Shaken.met) == HAPPENED, "no run had one of these: then the agreement of the two says little"


HAPPENINGS = st.lists(
    st.one_of(
        st.tuples(st.just("stage"), st.sampled_from((*STAGES, "OFFER"))),
        st.tuples(st.just("ship"), st.sampled_from(["2026-06-12", "2026-06-20", None])),
    ),
    min_size=1,
    max_size=9,
)


@given(HAPPENINGS, st.data())
@settings(max_examples=120)
def test_how_readings_are_grouped_and_ordered_does_not_matter(happenings: list[tuple[str, Any]], data: Any) -> None:
    """One office reads after each happening, the other now and then; some rows become visible late."""
    one, other = Office(CALM, new_deal()), Office(CALM, new_deal())
    late: set[int] = set()
    for minute, (what, value) in enumerate([("stage", "NEW"), *happenings]):
        now = MONDAY + timedelta(minutes=minute)
        for office in (one, other):
            if what == "ship":
                office.deal = replace(office.deal, fields={**office.deal.fields, "UF_CRM_SHIP": value}, changed=now)
            elif minute == 0 or value != office.deal.stage_id:
                visit = Visit(10 * (len(office.visits) + 1), DEAL, 2, 0, value, "P", now)
                office.visits.append(visit)
                office.deal = replace(office.deal, stage_id=value, changed=now)
        one.record(one.read(now, Random(0)))
        one.drain(now)
        if data.draw(st.booleans(), label="the other reads"):
            late = data.draw(st.sets(st.sampled_from([visit.id for visit in other.visits])), label="not visible yet")
            visible = [visit for visit in other.visits if visit.id not in late]
            other.record(other.read(now, Random(data.draw(st.integers(0, 9))), visible))
            if data.draw(st.booleans(), label="and works"):
                other.drain(now)
    end = MONDAY + timedelta(hours=1)
    for office in (one, other):
        office.record(office.read(end, Random(1)))
        office.drain(end)
    assert other.outcome()["tasks"] == one.outcome()["tasks"]
    assert other.outcome()["items"] == one.outcome()["items"]
