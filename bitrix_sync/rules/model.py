"""Rules as decisions see them: compiled, every name resolved to an id. Built by ``bind.py``; pure data.

The words are those of the rules language: a rule is one task entry; a policy is what the file says of one stage.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, time
from hashlib import blake2b
from typing import Any, Literal

from bitrix_sync.model.items import DEAL, Item
from bitrix_sync.model.reasons import Reason
from bitrix_sync.model.worktime import Calendar
from bitrix_sync.rules.durations import Duration as Duration
from bitrix_sync.rules.plain_keys import Away, Ending, PlainKeys
from bitrix_sync.rules.scalars import OnDayOff as OnDayOff
from bitrix_sync.rules.scalars import Pick as Pick
from bitrix_sync.words.language import Language

# --- deadlines -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Done:
    """The event "that rule's task is completed". ``same_stage``: of this visit; else its newest task on the deal."""

    rule: str
    same_stage: bool


@dataclass(frozen=True, slots=True)
class Entered:
    """The event "the deal first enters one of these stages after this visit began"."""

    stages: frozenset[str]


@dataclass(frozen=True, slots=True)
class Becomes:
    """The event "the deal fulfils these conditions"."""

    condition: Condition

    @property
    def field(self) -> str:
        """The field that is to be filled, if nothing else is asked; "" for other conditions."""
        match self.condition:
            case Test(field=code, op="filled", value=True) | AllOf(parts=(Test(field=code, op="filled", value=True),)):
                return code
        return ""

    @property
    def name(self) -> str:
        """By which it is remembered that it has happened: other conditions are another event."""
        if self.field:
            return f"filled:{self.field}"
        return f"became:{blake2b(repr(self.condition).encode(), digest_size=8).hexdigest()}"


Event = Done | Entered | Becomes


@dataclass(frozen=True, slots=True)
class Idle:
    """What a task may start with: nothing has been planned with the deal for so long."""

    span: Duration


@dataclass(frozen=True, slots=True)
class Deadline:
    """One deadline entry. What it counts from: ``field`` (a field's date), ``date``, ``event``, or, when all three are
    None, the moment the task is due to appear (entry, start, again). ``offset`` with ``direction`` +1 (after) or -1
    (before); offset None means the moment itself. ``otherwise`` is the ``else`` branch, always counted from entry."""

    offset: Duration | None = None
    direction: int = 1
    field: str | None = None
    date: date | None = None
    event: Event | None = None
    at: time | None = None
    on_day_off: OnDayOff | None = None
    otherwise: Deadline | None = None
    follow: bool = True


# --- persons ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Responsible:
    """The deal's responsible."""


@dataclass(frozen=True, slots=True)
class Creator:
    """The deal's creator."""


@dataclass(frozen=True, slots=True)
class Head:
    """The head over the deal's responsible (owner) or over the task's owner (supervisor)."""


@dataclass(frozen=True, slots=True)
class Nobody:
    """``none``: only for a supervisor."""


@dataclass(frozen=True, slots=True)
class UserId:
    """A certain user (an id, or an e-mail or a name resolved to one)."""

    id: int


@dataclass(frozen=True, slots=True)
class FromField:
    """An employee field of the deal; of a multiple one the first who can be taken."""

    field: str
    otherwise: Person | None = None


@dataclass(frozen=True, slots=True)
class OwnerOf:
    """Whoever owns that rule's newest task on this deal."""

    rule: str
    otherwise: Person | None = None


@dataclass(frozen=True, slots=True)
class FromDepartment:
    """An active direct member of a department, the head only if alone."""

    department_id: int
    pick: Pick
    otherwise: Person | None = None


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of several persons."""

    persons: tuple[Person, ...]
    pick: Pick
    otherwise: Person | None = None


Person = Responsible | Creator | Head | Nobody | UserId | FromField | OwnerOf | FromDepartment | OneOf


# --- conditions ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Test:
    """One field against one wish. ``op``: eq, in, min, max, not, contains, filled. ``value`` as written in the file,
    option texts already turned into option ids (str) where the field is a list or status."""

    field: str
    op: Literal["eq", "in", "min", "max", "not", "contains", "filled"]
    value: Any
    __test__ = False  # pytest: not a test class


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every part holds (an empty one holds)."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one part holds."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not hold."""

    part: Condition


Condition = Test | AllOf | AnyOf | Not


# --- tasks, stages, the file -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OverdueOverride:
    """A task's own ``overdue``: ``never``, or its own limit and/or move_to."""

    never: bool = False
    limit: int | None = None
    move_to: Deadline | None = None


@dataclass(frozen=True)
class Rule(PlainKeys):
    """One task entry. ``stage_ids`` say where it stands; templates are source text."""

    id: str
    stage_ids: frozenset[str]
    order: int
    title: str
    deadline: Deadline
    condition: Condition = AllOf(())
    start: Done | Becomes | Idle | None = None
    owner: Person = Responsible()
    supervisor: Person = Head()
    on_close: Ending = "keep"
    away: Away = "keep"
    checklist: tuple[str, ...] = ()
    fields: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    """Code and values of each user field of the task that it fills; texts are templates, the others ready."""
    overdue: OverdueOverride | None = None
    disabled: str = ""
    """Why the rule is switched off (what it needs disappeared from the portal); "" when it works."""

    @property
    def unread(self) -> bool:
        """True while it is off because a name that it needs could not be read."""
        return any(map(Reason.NAME_UNREAD.is_in, self.disabled.split("; ")))


@dataclass(frozen=True, slots=True)
class StagePolicy:
    """What the file says of one stage: its rules in the file's order (with those of ``"*"``)."""

    stage_id: str
    funnel_id: int
    rules: tuple[Rule, ...] = ()
    limit: Duration | None = None
    advance_to: str | None = None

    @property
    def says(self) -> bool:
        """False for a stage of which the file says nothing."""
        return bool(self.rules or self.limit or self.advance_to)


@dataclass(frozen=True, slots=True)
class Slot:
    """A daily sweep: ``morning`` or ``evening``. ``at`` None: when the day's hours begin."""

    name: Literal["morning", "evening"]
    at: time | None
    move_to: Deadline
    every_day: bool = False


@dataclass(frozen=True, slots=True)
class Overdue:
    """The file's ``overdue`` section."""

    tasks: Literal["rules", "deals", "all"] = "rules"
    slots: tuple[Slot, ...] = ()
    limit: int | None = None
    notify: frozenset[Literal["supervisor", "owner"]] = frozenset({"supervisor", "owner"})
    moves: bool = True
    """False: the file has no such section, and the morning's message alone goes."""


JUST_TELLING = Overdue(slots=(Slot("morning", None, Deadline(offset=Duration(0, "workdays"))),), moves=False)
"""The sweeps of a file that has none, and something to be told of in the morning."""


Size = int | Literal["learned"] | None
"""Tasks a day, or that they are learned; None: no bound."""


@dataclass(frozen=True, slots=True)
class Room:
    """The file's ``room``: how many tasks a day people can do."""

    default: Size = None
    people: Mapping[int, Size] = field(default_factory=dict)

    def of(self, user: int) -> Size:
        """What the file says of a person."""
        return self.people.get(user, self.default)

    @property
    def learns(self) -> bool:
        """True when anybody's is learned."""
        return "learned" in (self.default, *self.people.values())


@dataclass(frozen=True, slots=True)
class Safety:
    """The file's ``safety`` section."""

    max_new_tasks: int = 1000
    max_moves: int = 1000
    watch: bool = False


def plain_title(template: str, rule_id: str) -> str:
    """A title for people who read no templates: what is filled in is left out; the id, if nothing else is there."""
    title = re.sub(r"\{\{.*?\}\}|\{%.*?%\}", "…", template, flags=re.DOTALL)
    return title if re.search(r"\w", title) else rule_id


@dataclass(frozen=True, slots=True)
class Rules:
    """A whole file, bound to a portal. ``policies`` by full stage id; ``fields`` are the deal's fields that the file
    uses (codes), to be read with every deal; ``digest`` changes when the text does."""

    digest: str
    language: Language
    calendar: Calendar
    policies: Mapping[str, StagePolicy]
    by_id: Mapping[str, Rule]
    admins: tuple[int, ...] = ()
    fallback_owner: int | None = None
    supervisor: Person = Head()
    on_close: Ending = "keep"
    overdue: Overdue | None = None
    room: Room = Room()
    away: Away = "keep"
    substitutes: Mapping[int, int] = field(default_factory=dict)
    escalate: Duration | None = None
    """After so long what stays undone goes one head higher; None: the first step is the last."""
    next_steps: Mapping[str, Duration] = field(default_factory=dict)
    """How long a deal may stand without a next step, by stage; other stages ask for none."""
    safety: Safety = Safety()
    fields: frozenset[str] = frozenset()
    uses_company: bool = False
    uses_contact: bool = False
    uses_absences: bool = False
    stage_names: Mapping[str, str] = field(default_factory=dict)
    funnel_names: Mapping[int, str] = field(default_factory=dict)
    deal_fields: Mapping[str, Any] = field(default_factory=dict)
    """DealField by code, for rendering list values as their text and for comparing by type."""
    task_fields: Mapping[str, Any] = field(default_factory=dict)
    """The same of tasks."""

    def title_of(self, rule_id: str) -> str:
        """The title of a rule's task, or its id when the file has it no more."""
        rule = self.by_id.get(rule_id)
        return plain_title(rule.title, rule_id) if rule else rule_id

    @property
    def kinds(self) -> frozenset[str]:
        """Names of the kinds of items that the file speaks of; deals are always read."""
        funnels = {policy.funnel_id for policy in self.policies.values() if policy.says}
        return frozenset({DEAL.name, *(Item.of(funnel).kind.name for funnel in funnels)})

    @property
    def idle_starts(self) -> frozenset[str]:
        """The stages with a task that starts when a deal is idle."""
        return frozenset(
            stage
            for stage, policy in self.policies.items()
            if any(isinstance(rule.start, Idle) and not rule.disabled for rule in policy.rules)
        )

    @property
    def asks_for_steps(self) -> bool:
        """True when it matters what is planned with deals besides tasks."""
        return bool(self.next_steps or self.idle_starts)

    @property
    def lends(self) -> bool:
        """True when tasks of whoever is away go to substitutes."""
        return any(rule.away == "substitute" for rule in self.by_id.values())

    @property
    def moves_deals(self) -> bool:
        """True when a stage moves its deals on by itself."""
        return any(policy.advance_to for policy in self.policies.values())

    @property
    def taking_over(self) -> frozenset[str]:
        """Ids of the rules whose open task may belong to a new visit."""
        return frozenset(rule.id for rule in self.by_id.values() if rule.repeat == "if_none_open")
