"""What a sweep does with each overdue task, and which slot is due. Pure.

Source: the rules language, section Overdue (the seventh standard: the deadline of an overdue task is moved to another,
real one, every morning and every evening, and the supervisor knows).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

from bitrix_sync.facts import AWAITING, MOVABLE_STATUSES, Company, Deal
from bitrix_sync.operations import Kind, Operation, State, TaskRecord
from bitrix_sync.rules.deadlines import counted
from bitrix_sync.rules.model import Overdue, Rules, Slot
from bitrix_sync.rules.persons import head_over

Fate = Literal["move", "escalate", "stay", "awaiting", "closed_deal"]
"""``stay``: at its limit, but this is not the morning. The other words are the sections of a message."""

URGENCY = 60
LOOK_BACK_DAYS = 31


@dataclass(frozen=True, slots=True)
class SlotDue:
    """A slot whose time has come: its name in the store and whether it runs or is noted as skipped."""

    slot: str
    rule: Slot
    runs: bool


@dataclass(frozen=True, slots=True)
class Late:
    """An overdue task and its fate. ``supervisor``: who hears of it (None: nobody controls it); ``escalated_to`` his
    own head, or himself at the top (``at_top``)."""

    record: TaskRecord
    fate: Fate
    supervisor: int | None
    deadline: datetime | None = None
    escalated_to: int | None = None
    at_top: bool = False


def slot_name(day: date, name: str) -> str:
    """``2026-03-12/evening``."""
    return f"{day.isoformat()}/{name}"


def due_slots(
    overdue: Overdue, *, rules: Rules, now: datetime, since: datetime, claimed: Collection[str]
) -> list[SlotDue]:
    """Slots between ``since`` (when sweeps were first configured) and ``now`` that nobody claimed, oldest first. Only
    the newest of today runs, and only if no later one of today was claimed; the others are skipped."""
    calendar = rules.calendar
    today = calendar.local(now).date()
    first = max(calendar.local(since).date(), today - timedelta(days=LOOK_BACK_DAYS))
    missed: list[tuple[datetime, date, Slot]] = []
    newest_today = None
    for offset in range((today - first).days + 1):
        day = first + timedelta(days=offset)
        for slot in overdue.slots:
            moment = calendar.moment(day, slot.at)
            if since < moment <= now and (slot.every_day or calendar.is_working(day)):
                missed.append((moment, day, slot))
    missed.sort(key=lambda found: found[0])
    if missed and missed[-1][1] == today:
        newest_today = slot_name(today, missed[-1][2].name)
    return [
        SlotDue(name, slot, runs=name == newest_today)
        for _, day, slot in missed
        if (name := slot_name(day, slot.name)) not in claimed
    ]


def weigh(
    records: Iterable[TaskRecord],
    *,
    rules: Rules,
    slot: Slot,
    company: Company,
    deals: Mapping[int, Deal],
    moment: datetime,
) -> list[Late]:
    """The fate of each task that is overdue at the sweep's ``moment``, ordered by supervisor, then owner, then task."""
    overdue = rules.overdue
    assert overdue is not None
    late = [
        _fate(record, overdue, rules, slot, company, deals, moment)
        for record in records
        if record.portal_id is not None and is_overdue(record, moment) and in_scope(record, overdue, rules)
    ]
    return sorted(late, key=lambda one: (one.supervisor or 0, one.record.owner_id, one.record.portal_id or 0))


def is_overdue(record: TaskRecord, moment: datetime) -> bool:
    """Open with its deadline past; deferred tasks are not overdue."""
    return (
        not record.gone
        and record.status in (*MOVABLE_STATUSES, AWAITING)
        and record.deadline is not None
        and record.deadline < moment
    )


def in_scope(record: TaskRecord, overdue: Overdue, rules: Rules) -> bool:
    """``tasks: rules | deals | all``, and a rule's own ``never``."""
    rule = rules.by_id.get(record.rule_id)
    if rule is not None and rule.overdue is not None and rule.overdue.never:
        return False
    match overdue.tasks:
        case "rules":
            return bool(record.rule_id)
        case "deals":
            return bool(record.deal_id)
        case _:
            return True


def _fate(
    record: TaskRecord,
    overdue: Overdue,
    rules: Rules,
    slot: Slot,
    company: Company,
    deals: Mapping[int, Deal],
    moment: datetime,
) -> Late:
    supervisor = supervisor_of(record, company)
    if record.status == AWAITING:
        return Late(record, "awaiting", supervisor)
    deal = deals.get(record.deal_id)
    if deal is not None and deal.closed:
        return Late(record, "closed_deal" if slot.name == "morning" else "stay", supervisor)
    rule = rules.by_id.get(record.rule_id)
    override = rule.overdue if rule is not None else None
    limit = override.limit if override and override.limit is not None else overdue.limit
    if limit is not None and record.moves >= limit:
        if slot.name != "morning":
            return Late(record, "stay", supervisor)
        above = head_over(company, supervisor) if supervisor else None
        return Late(record, "escalate", supervisor, escalated_to=above or supervisor, at_top=above is None)
    move_to = override.move_to if override and override.move_to is not None else slot.move_to
    return Late(record, "move", supervisor, deadline=counted(move_to, moment, rules.calendar))


def supervisor_of(record: TaskRecord, company: Company) -> int | None:
    """Who controls the task: the one it was given, the head over him if he was fired; of a foreign task, and of one
    whose owner a person has changed, the head over its owner."""
    given = record.supervisor_id if record.rule_id else None
    if record.rule_id and given is None:
        return None
    if given is None or record.owner_id != record.owner_sent:
        return head_over(company, record.owner_id)
    return given if company.active(given) else head_over(company, given)


def operations(late: Iterable[Late], *, rules: Rules, slot: str, held: bool) -> tuple[Operation, ...]:
    """The moves of a sweep as operations, in the order given; ``held`` when there are more than the safety limit."""
    moves: list[Operation] = []
    for one in late:
        if one.fate != "move" or one.deadline is None or one.deadline == one.record.deadline:
            continue
        before = one.record.deadline
        moves.append(
            Operation(
                f"sweep:{slot}:{one.record.ref}",
                Kind.DEADLINE,
                {
                    "deadline": rules.calendar.local(one.deadline).isoformat(timespec="seconds"),
                    "reason": "sweep",
                    "seen": before.isoformat() if before else None,
                    "supervisor": one.supervisor,
                    "owner": one.record.owner_id,
                    "move": one.record.moves + 1,
                },
                one.record.deal_id,
                one.record.ref,
                urgency=URGENCY,
                sweep=slot,
                state=State.HELD if held else State.PLANNED,
            )
        )
    return tuple(moves)
