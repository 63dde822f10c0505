"""How far a portal keeps the standards 4 to 7, as it is: a share for each, and what stands behind every missing point.
Pure.

4: every deal in progress has a next step. 5: every open task of these deals has an owner and a deadline. 6: every owner
has a head, every task somebody else who sees it. 7: nothing stays overdue. A deal counts for its responsible, a task
for its owner; both once for a department whose direct member that is.

Source: standards 4 to 7; the audit of the interface.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from fractions import Fraction

from bitrix_sync.model.facts import Company, Deal, PortalTask
from bitrix_sync.model.worktime import Calendar
from bitrix_sync.rules.persons import head_over


class Lack(StrEnum):
    """Why a point is missing: the value is what programs read."""

    NO_NEXT_STEP = "no open task and no planned activity"
    NO_DEADLINE = "no deadline"
    OWNER_FIRED = "the owner does not work here any more"
    NO_HEAD = "no active head over the owner"
    NOBODY_WATCHES = "nobody else who works here sees the task"
    OVERDUE = "overdue by more than a working day"


@dataclass(frozen=True, slots=True)
class Missing:
    """What a point is missing for. ``person_id``: whose it is."""

    standard: int
    why: Lack
    person_id: int
    deal_id: int = 0
    task_id: int = 0


@dataclass(frozen=True, slots=True)
class Score:
    """How far the standards are kept, in percent with one decimal; None where there is nothing to judge by. ``scope``:
    ``all``, ``department`` or ``person``, with its id."""

    scope: str
    id: int
    s4: float | None
    s5: float | None
    s6: float | None
    s7: float | None
    score: float | None
    deals: int
    tasks: int


@dataclass(frozen=True, slots=True)
class Audited:
    """What is judged. ``deals`` in progress; open ``tasks``; ``planned``: deals with a planned activity, None if they
    could not be read."""

    deals: Sequence[Deal]
    tasks: Sequence[PortalTask]
    planned: Collection[int] | None
    company: Company
    calendar: Calendar
    now: datetime


@dataclass(slots=True)
class Share:
    """So many of so many."""

    good: int = 0
    of: int = 0

    def count(self, holds: bool) -> None:
        """One more."""
        self.good += holds
        self.of += 1

    @property
    def value(self) -> Fraction | None:
        """None where there is nothing."""
        return Fraction(self.good, self.of) if self.of else None


@dataclass(frozen=True, slots=True)
class Judged:
    """A deal, a task or a person as a standard sees it: whose it is, and what it lacks."""

    part: str
    person_id: int
    lack: Missing | None


KINDS = ("all", "department", "person")
ALL = ("all", 0)
PARTS: Mapping[str, tuple[str, ...]] = {"s4": ("deal",), "s5": ("task",), "s6": ("head", "seen"), "s7": ("due",)}
"""What each standard is the mean of."""
STANDARD_OF = {part: int(standard[1]) for standard, parts in PARTS.items() for part in parts}


@dataclass(slots=True)
class Counts:
    """What counts for one scope."""

    shares: dict[str, Share] = field(default_factory=lambda: {part: Share() for part in STANDARD_OF})
    deals: int = 0
    tasks: int = 0

    def score(self, scope: str, number: int) -> Score:
        """Its shares, and their mean."""
        values = [_mean([self.shares[part].value for part in parts]) for parts in PARTS.values()]
        percents = dict(zip(PARTS, map(_percent, values), strict=True))
        return Score(scope, number, **percents, score=_percent(_mean(values)), deals=self.deals, tasks=self.tasks)


def audit(portal: Audited) -> tuple[list[Score], list[Missing]]:
    """The scores of the whole, of each department and each person who has a deal or a task, by name; and the rows
    behind."""
    tasks = _bound(portal)
    judged = list(_judged(portal, tasks))
    scopes: dict[tuple[str, int], Counts] = {ALL: Counts()}
    for person in sorted({deal.responsible_id for deal in portal.deals} | {task.owner_id for task in tasks}):
        for scope in _scopes(portal.company, person):
            scopes.setdefault(scope, Counts())
    for one in judged:
        for scope in _scopes(portal.company, one.person_id):
            scopes[scope].shares[one.part].count(one.lack is None)
    for deal in portal.deals:
        for scope in _scopes(portal.company, deal.responsible_id):
            scopes[scope].deals += 1
    for task in tasks:
        for scope in _scopes(portal.company, task.owner_id):
            scopes[scope].tasks += 1
    order = sorted(scopes, key=lambda scope: (KINDS.index(scope[0]), name_of(portal.company, *scope), scope[1]))
    return [scopes[scope].score(*scope) for scope in order], [one.lack for one in judged if one.lack is not None]


def name_of(company: Company, kind: str, number: int) -> str:
    """What a scope is called; "" for the whole."""
    match kind:
        case "department":
            return company.departments[number].name
        case "person":
            return company.name(number)
        case _:
            return ""


def _scopes(company: Company, person: int) -> Iterator[tuple[str, int]]:
    """Where a person's things count: in the whole, in each department whose direct member that is, for themselves."""
    yield ALL
    user = company.users.get(person)
    for department in dict.fromkeys(user.departments if user else ()):
        if department in company.departments:
            yield "department", department
    yield "person", person


def _bound(portal: Audited) -> list[PortalTask]:
    """Open tasks of deals in progress, each once."""
    known = {deal.id for deal in portal.deals}
    found = {task.id: task for task in portal.tasks if task.open and not known.isdisjoint(task.deal_ids)}
    return [found[number] for number in sorted(found)]


def _judged(portal: Audited, tasks: Sequence[PortalTask]) -> Iterator[Judged]:
    company = portal.company
    known = {deal.id for deal in portal.deals}
    if portal.planned is not None:
        going_on = {number for task in tasks for number in task.deal_ids} | set(portal.planned)
        for deal in sorted(portal.deals, key=lambda deal: deal.id):
            lacks = [] if deal.id in going_on else [Lack.NO_NEXT_STEP]
            yield _one("deal", deal.responsible_id, lacks, deal.id)
    people_known = not {"users", "departments"} & (company.missing | company.without.keys())
    for task in tasks:
        parts = _of_task(portal, task, people_known=people_known)
        deal_id = min(known.intersection(task.deal_ids))
        yield from (_one(part, task.owner_id, lacks, deal_id, task.id) for part, lacks in parts)
    if people_known:
        for person in sorted({task.owner_id for task in tasks} - {_head_of_all(company)}):
            yield _one("head", person, [] if head_over(company, person) is not None else [Lack.NO_HEAD])


def _of_task(portal: Audited, task: PortalTask, *, people_known: bool) -> Iterator[tuple[str, list[Lack]]]:
    """What the standards ask of a task, and what it lacks."""
    company = portal.company
    if people_known:
        lacks = {Lack.NO_DEADLINE: task.deadline is None, Lack.OWNER_FIRED: not company.active(task.owner_id)}
        yield "task", [lack for lack, lacking in lacks.items() if lacking]
        seen = any(map(company.active, {*task.auditors, task.creator_id} - {task.owner_id}))
        yield "seen", [] if seen else [Lack.NOBODY_WATCHES]
    if task.deadline is not None:
        late = portal.now > worked_on(task.deadline, portal.calendar)
        yield "due", [Lack.OVERDUE] if late else []


def _one(part: str, person: int, lacks: Sequence[Lack], deal: int = 0, task: int = 0) -> Judged:
    lack = Missing(STANDARD_OF[part], lacks[0], person, deal, task) if lacks else None
    return Judged(part, person, lack)


def _head_of_all(company: Company) -> int:
    """Who heads the department that is below no other; nobody is over him."""
    roots = [one for one in company.departments.values() if one.parent_id not in company.departments]
    return min(roots, key=lambda one: one.id).head_id if roots else 0


def worked_on(deadline: datetime, calendar: Calendar) -> datetime:
    """A working day after a deadline: the same time of the next working day."""
    local = calendar.local(deadline)
    return calendar.due(calendar.nth_working_after(local.date(), 1), local.time())


def _mean(values: Sequence[Fraction | None]) -> Fraction | None:
    known = [value for value in values if value is not None]
    return sum(known, Fraction()) / len(known) if known else None


def _percent(value: Fraction | None) -> float | None:
    """In percent, one decimal, halves up."""
    return None if value is None else int(value * 1000 + Fraction(1, 2)) / 10
