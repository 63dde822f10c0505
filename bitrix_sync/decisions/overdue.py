"""What a sweep does with each overdue task, which slot is due, and who hears of it. Pure.

Source: the rules language, section Overdue (the seventh standard: the deadline of an overdue task is moved to another,
real one, every morning and every evening, and the supervisor knows).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Literal

from bitrix_sync.decisions import placing
from bitrix_sync.decisions.escalation import heads, next_step, reader_of
from bitrix_sync.decisions.placing import Place
from bitrix_sync.decisions.sleeping import asleep
from bitrix_sync.model.actions import SetDeadline
from bitrix_sync.model.facts import AWAITING, MOVABLE_STATUSES, Absence, Company, Deal
from bitrix_sync.model.keys import Key, Purpose, SlotId, minute
from bitrix_sync.model.operations import Escalation, Operation, State, TaskRecord
from bitrix_sync.model.presence import Presence
from bitrix_sync.model.worktime import Calendar
from bitrix_sync.rules.model import Head, Nobody, Overdue, OverdueOverride, Rules, Slot
from bitrix_sync.rules.persons import head_over

Fate = Literal["move", "escalate", "stay", "awaiting", "closed_deal", "gone_deal"]
"""``stay``: neither moved nor told now, because that is told once a day, or was told once for ever (``gone_deal``). The
others are told in every message."""

URGENCY = 60
LOOK_BACK_DAYS = 31


# --- slots -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SlotDue:
    """A slot whose time has come: its name in the store, when that was, and whether it runs or is noted as skipped."""

    slot: str
    moment: datetime
    runs: bool


def due_slots(
    overdue: Overdue,
    *,
    calendar: Calendar,
    now: datetime,
    since: Mapping[str, datetime],
    claimed: Collection[str],
) -> list[SlotDue]:
    """Slots whose moment lies between ``since`` (when the file first had a sweep of that name) and ``now`` and that
    nobody has claimed, oldest first. Only the newest of today runs, unless it was claimed; the others are skipped."""
    today = calendar.local(now).date()
    past: list[tuple[datetime, SlotId]] = []
    for slot in overdue.slots:
        began = since[slot.name]
        first = max(calendar.local(began).date(), today - timedelta(days=LOOK_BACK_DAYS))
        for offset in range((today - first).days + 1):
            day = first + timedelta(days=offset)
            moment = moment_of(slot, day, calendar)
            if began < moment <= now and (slot.every_day or calendar.is_working(day)):
                past.append((moment, SlotId(day, slot.name)))
    past.sort()
    newest = past[-1][1] if past and past[-1][1].day == today else None
    return [SlotDue(str(slot), moment, runs=slot == newest) for moment, slot in past if str(slot) not in claimed]


def moment_of(slot: Slot, day: date, calendar: Calendar) -> datetime:
    """When a sweep is due on a day."""
    return calendar.moment(day, slot.at or calendar.start_of(day))


def next_slot(overdue: Overdue, *, calendar: Calendar, now: datetime) -> datetime | None:
    """The next moment after ``now`` at which a sweep is due; None: not within ``LOOK_BACK_DAYS``."""
    today = calendar.local(now).date()
    for offset in range(LOOK_BACK_DAYS):
        day = today + timedelta(days=offset)
        moments = [
            moment_of(slot, day, calendar) for slot in overdue.slots if slot.every_day or calendar.is_working(day)
        ]
        if later := [moment for moment in moments if moment > now]:
            return min(later)
    return None


def due_days(slot: SlotId, calendar: Calendar) -> tuple[date, date]:
    """The days, first and last, of which a sweep's messages say what is due: in the morning its own day, in the evening
    all that follow up to the next working day."""
    if slot.name == "morning":
        return slot.day, slot.day
    return slot.day + timedelta(days=1), calendar.next_working(slot.day, inclusive=False)


# --- people ----------------------------------------------------------------------------------------------------------


def supervisor_of(record: TaskRecord, company: Company, *, rules: Rules | None = None) -> int | None:
    """Who controls the task: the one that it was given; the head over him if he was fired. Of a foreign task, and of
    one that a person has given to somebody else, the head over its owner. Never the owner; None: nobody.

    ``rules`` tell whether nobody is to control it (``supervisor: none``) and whether the supervisor goes with the
    owner; a task whose rule is no longer there is treated by the file's defaults.
    """
    wanted = Head() if rules is None else (rules.by_id.get(record.rule_id) or rules).supervisor
    given = record.supervisor_id if record.rule_id else None
    if record.rule_id and (isinstance(wanted, Nobody) or (given is None and rules is None)):
        return None
    reassigned = record.owner_id != record.owner_sent and isinstance(wanted, Head)
    if given is None or reassigned:
        return _above(company, record.owner_id, record.owner_id)
    return given if company.active(given) else _above(company, given, record.owner_id)


def reader_for(user: int | None, company: Company, *, away: Collection[int] = (), owner: int = 0) -> int | None:
    """Who reads what is meant for ``user``: himself; the head over him while he is away, or if he was fired. Rather
    somebody who is away than nobody; never the ``owner`` of the task in another's place."""
    if user is None or (company.active(user) and user not in away):
        return user
    instead = _above(company, user, owner, away=away)
    if instead is None or instead in away:
        return user if company.active(user) else instead
    return instead


def _above(company: Company, user: int, owner: int, *, away: Collection[int] = ()) -> int | None:
    """The head over a user, other than the owner of the task; one who is there, if there is one."""

    def able(head: int) -> bool:
        return company.active(head) and head != owner

    return head_over(company, user, able=lambda head: able(head) and head not in away) or head_over(
        company, user, able=able
    )


def away_through(absences: Iterable[Absence], *, moment: datetime, until: datetime) -> dict[int, datetime]:
    """Who is away now and stays away up to ``until``: user → the end of that absence. Somebody who comes back before
    then can read a message in time."""
    found: dict[int, datetime] = {}
    for one in sorted(absences, key=lambda absence: absence.start):
        if one.start <= max(moment, found.get(one.user_id, moment)) < one.end:
            found[one.user_id] = one.end
    return {user: end for user, end in found.items() if end >= until}


# --- tasks -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OverdueTask:
    """A task whose deadline is past, and its fate. ``supervisor``: who controls it (None: nobody); ``escalated_to``
    their own head, or themselves at the top (``at_top``). Of one that is moved its ``place``, and whether it is moved
    because of an absence (``for_absence``): its deadline fell into one, or a day was refused for it."""

    record: TaskRecord
    fate: Fate
    supervisor: int | None
    place: Place | None = None
    for_absence: bool = False
    escalated_to: int | None = None
    at_top: bool = False
    step: int = 1
    """How high it is told; 1 is the first time."""
    spell: str = ""
    before: Escalation | None = None
    """The step that was told before."""

    @property
    def deadline(self) -> datetime | None:
        """Where it is moved to; None: it is not moved."""
        return self.place.deadline if self.place is not None else None


def weigh(
    records: Iterable[TaskRecord],
    *,
    rules: Rules,
    slot: Slot,
    company: Company,
    deals: Mapping[int, Deal],
    moment: datetime,
    days: Days,
    gone: Collection[int] = (),
    told: Collection[str] = (),
    steps: Mapping[str, Escalation] | None = None,
) -> list[OverdueTask]:
    """The fate of each task whose deadline is past at the sweep's ``moment``, ordered by supervisor, owner and task.
    ``records``: all open tasks; ``days``: what is known of their owners' days; ``gone``: deals that are no longer in
    the portal; ``told``: keys of what was told once for ever;
    ``steps``: how high what stays overdue was told last, by the keys of ``step_key``."""
    overdue = rules.overdue
    assert overdue is not None
    records = list(records)
    daily = is_daily(overdue, slot.name)
    late = [
        _of_gone_deal(record, rules, company, told)
        if record.deal_id in gone
        else _fate(record, overdue, rules, company, deals, daily, days, moment, steps or {})
        for record in records
        if record.portal_id is not None and is_late(record, moment) and in_scope(record, overdue, rules)
    ]
    moved = {one.record.ref for one in late if one.fate == "move"}
    places = placing.place(
        (_misplaced(one.record, slot, rules, days.amounts) for one in late if one.fate == "move"),
        moment=moment,
        calendar=rules.calendar,
        presence=days.presence,
        room=days.room,
        taken=taken((one for one in records if one.ref not in moved), days, rules.calendar, moment),
    )
    placed = (_placed(one, places.get(one.record.ref)) for one in late)
    return sorted(placed, key=lambda one: (one.supervisor or 0, one.record.owner_id, one.record.portal_id or 0))


def is_daily(overdue: Overdue, name: str) -> bool:
    """Whether a sweep tells what is told once a day: the morning's, without any the evening's."""
    return name == "morning" or all(one.name != "morning" for one in overdue.slots)


@dataclass(frozen=True, slots=True)
class Days:
    """What a sweep knows of people's days. ``room``: tasks a day by owner, None for no bound; ``closed``: how many of
    everybody's tasks were closed on the sweep's day; ``amounts`` of deals in the account's currency; ``undone``: tasks
    (refs) whose move was taken back lately, and when."""

    presence: Presence
    absences: tuple[Absence, ...] = ()
    room: Mapping[int, int | None] = field(default_factory=dict)
    closed: Mapping[int, int] = field(default_factory=dict)
    amounts: Mapping[int, Decimal] = field(default_factory=dict)
    undone: Mapping[str, datetime] = field(default_factory=dict)


def taken(records: Iterable[TaskRecord], days: Days, calendar: Calendar, moment: datetime) -> dict[int, Counter[date]]:
    """By owner and civil day how many places are taken: by what is to be done that day, and on the day of the
    ``moment`` by what was done."""
    today = calendar.local(moment).date()
    found: dict[int, Counter[date]] = defaultdict(Counter)
    for owner, count in days.closed.items():
        found[owner][today] += count
    for record in records:
        if record.deadline is not None and not record.gone and record.status in MOVABLE_STATUSES:
            found[record.owner_id][calendar.local(record.deadline).date()] += 1
    return found


def _misplaced(record: TaskRecord, slot: Slot, rules: Rules, amounts: Mapping[int, Decimal]) -> placing.Misplaced:
    own = own_overdue(record, rules)
    return placing.Misplaced(
        record.ref,
        record.owner_id,
        record.portal_id or 0,
        slot.move_to if own is None or own.move_to is None else own.move_to,
        priority=record.priority,
        amount=amounts.get(record.deal_id),
        promise=record.promised,
    )


def _placed(one: OverdueTask, place: Place | None) -> OverdueTask:
    if place is None:
        return one
    return replace(one, place=place, for_absence=one.for_absence or place.for_absence)


def is_late(record: TaskRecord, moment: datetime) -> bool:
    """True for a task of which a sweep says or does something."""
    return is_overdue(record, moment) or waits_late(record, moment)


def is_overdue(record: TaskRecord, moment: datetime) -> bool:
    """Waiting or in progress with its deadline past: neither deferred, nor done and awaiting acceptance."""
    return record.status in MOVABLE_STATUSES and _is_past(record, moment)


def waits_late(record: TaskRecord, moment: datetime) -> bool:
    """Awaiting acceptance with its deadline past: not overdue, but its supervisor hears that it waits."""
    return record.status == AWAITING and _is_past(record, moment)


def _is_past(record: TaskRecord, moment: datetime) -> bool:
    return not record.gone and record.deadline is not None and record.deadline < moment


def in_scope(record: TaskRecord, overdue: Overdue, rules: Rules) -> bool:
    """``tasks: rules | deals | all``, and a rule's own ``never``."""
    own = own_overdue(record, rules)
    if own is not None and own.never:
        return False
    match overdue.tasks:
        case "rules":
            return bool(record.rule_id)
        case "deals":
            return bool(record.deal_id)
        case _:
            return True


def own_overdue(record: TaskRecord, rules: Rules) -> OverdueOverride | None:
    """What the task's own rule says of its being overdue."""
    rule = rules.by_id.get(record.rule_id)
    return rule.overdue if rule is not None else None


def gone_key(ref: str) -> str:
    """Says that somebody heard of a task whose deal is gone."""
    return str(Key(Purpose.GONE_DEAL, ref))


def _of_gone_deal(record: TaskRecord, rules: Rules, company: Company, told: Collection[str]) -> OverdueTask:
    """No sweep moves it on for ever: what becomes of it is for people to say."""
    supervisor = supervisor_of(record, company, rules=rules)
    return OverdueTask(record, "stay" if gone_key(record.ref) in told else "gone_deal", supervisor)


def _fate(
    record: TaskRecord,
    overdue: Overdue,
    rules: Rules,
    company: Company,
    deals: Mapping[int, Deal],
    daily: bool,
    days: Days,
    moment: datetime,
    steps: Mapping[str, Escalation],
) -> OverdueTask:
    """``daily``: this sweep tells what is told once a day. What fell due while its owner was away is nobody's fault."""
    supervisor = supervisor_of(record, company, rules=rules)
    if record.status == AWAITING:
        return OverdueTask(record, "awaiting", supervisor)
    deal = deals.get(record.deal_id)
    if deal is not None and deal.closed:
        return OverdueTask(record, "closed_deal" if daily else "stay", supervisor)
    if not overdue.moves:
        return OverdueTask(record, "stay", supervisor)
    own = own_overdue(record, rules)
    limit = overdue.limit if own is None or own.limit is None else own.limit
    if record.ref in days.undone and moment < rests_until(days.undone[record.ref], overdue, rules.calendar):
        return OverdueTask(record, "stay", supervisor)
    missed = fell_due_away(record, days.presence)
    if limit is not None and record.moves >= limit and not missed:
        if not daily or (deal is not None and asleep(deal, rules, moment)):
            return OverdueTask(record, "stay", supervisor)
        return _escalated(record, supervisor, rules, company, moment, steps.get(step_key(record.ref)))
    return OverdueTask(record, "move", supervisor, for_absence=missed)


def step_key(ref: str) -> str:
    """Says how high a task that stays overdue was told last."""
    return str(Key(Purpose.STEP, ref))


def _escalated(
    record: TaskRecord,
    supervisor: int | None,
    rules: Rules,
    company: Company,
    moment: datetime,
    before: Escalation | None,
) -> OverdueTask:
    """Who hears of it this morning, if anybody does. Another deadline and another owner begin the steps anew; a
    substitute does not."""
    owner = record.owner_id if record.lent_from is None else record.lent_from
    spell = f"{owner}@{minute(record.deadline)}" if record.deadline else str(owner)
    above = heads(company, supervisor, apart=record.owner_id)
    step = next_step(
        before, spell, top=max(len(above), 1), every=rules.escalate, calendar=rules.calendar, moment=moment
    )
    if step is None:
        return OverdueTask(record, "stay", supervisor)
    return OverdueTask(
        record,
        "escalate",
        supervisor,
        escalated_to=reader_of(step, above) or supervisor,
        at_top=not above,
        step=step,
        spell=spell,
        before=before if step > 1 or (before is not None and before.spell == spell) else None,
    )


def rests_until(undone: datetime, overdue: Overdue, calendar: Calendar) -> datetime:
    """The evening of the working day after a move was taken back: until then it is not repeated."""
    day = calendar.next_working(calendar.local(undone).date(), inclusive=False)
    evening = next((slot.at for slot in overdue.slots if slot.name == "evening"), None)
    return calendar.moment(day, evening or calendar.end_of(day))


def fell_due_away(record: TaskRecord, presence: Presence) -> bool:
    """True when its deadline lay in an absence of whoever had it: its owner, or whom a substitute stands in for."""
    owners = (record.owner_id, *([record.lent_from] if record.lent_from is not None else []))
    deadline = record.deadline
    return deadline is not None and any(presence.away_on(owner, deadline) is not None for owner in owners)


def operations(late: Iterable[OverdueTask], *, rules: Rules, slot: str, beside: int = 0) -> tuple[Operation, ...]:
    """The moves of a sweep as operations, in the order given; held when there are, with as many tasks as are passed on
    ``beside`` them, more than the safety limit."""
    moves = [one for one in late if one.fate == "move" and one.deadline is not None]
    held = len(moves) + beside > rules.safety.max_moves
    return tuple(
        Operation(
            str(Key(Purpose.SWEEP, slot, one.record.ref)),
            SetDeadline(
                rules.calendar.local(one.deadline).replace(microsecond=0),
                "sweep",
                one.record.deadline,
                supervisor=one.supervisor,
                owner=one.record.owner_id,
                move=one.record.moves + (not one.for_absence),
                away=one.for_absence,
                refused=tuple(day.packed for day in one.place.refused) if one.place else (),
                fits=one.place.fits if one.place else True,
            ),
            one.record.deal_id,
            one.record.ref,
            urgency=URGENCY,
            sweep=slot,
            state=State.HELD if held else State.PLANNED,
        )
        for one in moves
        if one.deadline is not None
    )
