"""What is known of the portal: plain frozen records that cross every seam.

Built by ``portal/``, kept by ``store/``, read by the pure core. Every moment is an aware UTC datetime; ids are ints as
in the portal, but those of deals, funnels and rows of the history are numbers (``Item.number``), for other kinds of
items have the same ids; a deal's fields are keyed by the portal's upper-case codes (``OPPORTUNITY``, ``UF_CRM_...``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeAlias, TypeVar

from bitrix_sync.model.items import DEAL, KINDS, Item, ItemKind

WAITING, IN_PROGRESS, AWAITING, DONE, DEFERRED = 2, 3, 4, 5, 6
"""Task statuses of the portal (REAL_STATUS)."""
OPEN_STATUSES = frozenset({WAITING, IN_PROGRESS, AWAITING, DEFERRED})
MOVABLE_STATUSES = frozenset({WAITING, IN_PROGRESS})

PEOPLE_SCOPES = frozenset({"user", "user_basic", "user_brief"})
"""Each of these scopes of a webhook reads the employees."""

PROGRESS, WON, LOST = "P", "S", "F"
"""Semantics of a stage; a deal in a stage of S or F is closed."""


@dataclass(frozen=True, slots=True)
class Unread:
    """The third end of a reading: neither read nor surely absent, so nothing may be decided from it and what was known
    last stays. ``code`` is the portal's or ours; ``why`` is for an administrator."""

    code: str
    why: str


@dataclass(frozen=True, slots=True)
class Absent:
    """The second end of a reading: the portal says that there is no such thing. ``why`` is for an administrator."""

    why: str = ""


Fact = TypeVar("Fact")
End: TypeAlias = Fact | Absent | Unread
"""Every reading has one of three ends: the fact, surely absent, not read."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One row of ``crm.stagehistory.list``: a deal entered a stage. ``kind`` is its TYPE_ID (1, 2, 3, 5)."""

    id: int
    deal_id: int
    kind: int
    funnel_id: int
    stage_id: str
    semantic: str
    entered: datetime

    @property
    def final(self) -> bool:
        """True when the stage entered closes the deal."""
        return self.semantic in (WON, LOST)

    @property
    def row(self) -> Item:
        """The row of the portal's, as it is named in keys."""
        return Item.of(self.id)


@dataclass(frozen=True, slots=True)
class Deal:
    """A deal as last read. ``fields`` holds every field that was selected, by upper-case code, values as in
    ``crm.item.list`` with ``useOriginalUfNames=Y`` (ints, numbers, ISO strings, "Y"/"N", lists, None)."""

    id: int
    title: str
    funnel_id: int
    stage_id: str
    semantic: str
    responsible_id: int
    creator_id: int
    company_id: int
    contact_id: int
    created: datetime
    changed: datetime
    moved_by: int = 0
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def item(self) -> Item:
        """The item of the portal's."""
        return Item.of(self.id)

    @property
    def closed(self) -> bool:
        """Won or lost."""
        return self.semantic in (WON, LOST)


@dataclass(frozen=True, slots=True)
class PortalTask:
    """A task as the portal shows it (``tasks.task.list``). ``mark`` is XML_ID ("" when none, None when the portal does
    not say); ``deal_ids`` are the D_ bindings of UF_CRM_TASK; ``deadline`` is cut to the minute, as the portal has it;
    ``changed_by`` and ``closed_by`` are None where the portal does not say. ``priority``: 0 low, 1 normal, 2 high."""

    id: int
    title: str
    status: int
    owner_id: int
    creator_id: int
    deadline: datetime | None
    mark: str | None = ""
    deal_ids: tuple[int, ...] = ()
    auditors: tuple[int, ...] = ()
    created: datetime | None = None
    changed: datetime | None = None
    closed: datetime | None = None
    changed_by: int | None = None
    closed_by: int | None = None
    priority: int = 1

    @property
    def open(self) -> bool:
        """Waiting, in progress, awaiting acceptance or deferred."""
        return self.status in OPEN_STATUSES


@dataclass(frozen=True, slots=True)
class Activity:
    """An activity ("дело") as ``crm.activity.list`` shows it. ``deals``: what it is bound to among deals; of one whose
    owner is none, the row does not tell, and they are asked for (``owned`` False). ``deadline`` None: it has none.
    ``task_id``: the task that it shows, or 0."""

    id: int
    completed: bool
    deadline: datetime | None
    changed: datetime
    created: datetime
    deals: tuple[int, ...] = ()
    owned: bool = True
    task_id: int = 0


@dataclass(frozen=True, slots=True)
class Ahead:
    """What is planned with deals besides tasks, as it was read. ``planned``: activities that are not completed, with
    all their deals; ``ended``: those (ids) that are over or gone; ``ends``: by deal, when the last one was over."""

    planned: tuple[Activity, ...] = ()
    ended: frozenset[int] = frozenset()
    ends: Mapping[int, datetime] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class User:
    """An employee. ``departments`` in the portal's order; ``email`` may be "" (scope user_brief)."""

    id: int
    name: str
    active: bool = True
    email: str = ""
    departments: tuple[int, ...] = ()
    time_zone: str = ""


@dataclass(frozen=True, slots=True)
class Department:
    """A node of the company tree. ``parent_id`` and ``head_id`` are 0 when there is none."""

    id: int
    name: str
    parent_id: int = 0
    head_id: int = 0


@dataclass(frozen=True, slots=True)
class Absence:
    """Time that a user is away (calendar.accessibility.get, ACCESSIBILITY=absent); half-open."""

    user_id: int
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Company:
    """Users, departments and absences of the portal at one moment. ``self_id`` is the webhook's own user (who may be
    missing from ``users``: a hidden system user). ``unread``: which of the three could not be read, and why; they are
    then as known last, or empty (``missing``) if nobody ever knew. ``without``: which of them the portal or the webhook
    does not have at all."""

    users: Mapping[int, User] = field(default_factory=dict)
    departments: Mapping[int, Department] = field(default_factory=dict)
    absences: tuple[Absence, ...] = ()
    self_id: int = 0
    unread: Mapping[str, Unread] = field(default_factory=dict)
    missing: frozenset[str] = frozenset()
    without: Mapping[str, Absent] = field(default_factory=dict)

    def active(self, user_id: int) -> bool:
        """True for a known user who is not fired."""
        user = self.users.get(user_id)
        return user is not None and user.active

    def fired(self, user_id: int | None) -> bool:
        """True of somebody who is known and does not work here any more."""
        user = self.users.get(user_id or 0)
        return user is not None and not user.active

    def name(self, user_id: int) -> str:
        """The user's name, or his number when he is unknown."""
        user = self.users.get(user_id)
        return user.name if user and user.name else f"#{user_id}"


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of a funnel. ``id`` is the full STATUS_ID (``NEW``, ``C5:NEW``); semantic P, S or F."""

    id: str
    name: str
    funnel_id: int
    semantic: str = PROGRESS
    sort: int = 0


@dataclass(frozen=True, slots=True)
class Funnel:
    """A deal category with its stages in the portal's order; id 0 is the default funnel."""

    id: int
    name: str
    stages: tuple[Stage, ...] = ()


@dataclass(frozen=True, slots=True)
class DealField:
    """A field of the deal (crm.item.fields) or of tasks (tasks.task.getFields). ``type`` is the portal's (string,
    integer, double, money, date, datetime, boolean, enumeration, crm_status, employee, user, ...); ``options`` maps an
    option id to its text; ``required``: the portal refuses a new task without it."""

    code: str
    title: str
    type: str = "string"
    multiple: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    required: bool = False


@dataclass(frozen=True, slots=True)
class PortalCalendar:
    """calendar.settings.get, parsed. Minutes of the day; weekdays 0 = Monday; (day, month) pairs without a year."""

    start_minute: int
    end_minute: int
    days_off: frozenset[int]
    holidays: frozenset[tuple[int, int]] = frozenset()
    working_days: frozenset[tuple[int, int]] = frozenset()


@dataclass(frozen=True, slots=True)
class Directory:
    """What names in a rules file can mean: funnels, fields, users, departments, workgroups of one portal.

    ``groups`` is None when the webhook may not read workgroups: their ids are then taken on trust. ``calendar`` is None
    and ``time_zone`` "" when they may not be read; ``utc_offset`` (seconds) is always known. ``unread``: parts that
    could not be read (``funnels``, ``stages:5`` of one funnel, ``fields``, ``options:SOURCE`` of fields, ``groups``,
    ``calendar``, ...); they are then as known last, or empty. ``without``: parts that the portal or the webhook does
    not have at all. ``task_fields``: fields of tasks by code. ``group_names``: of workgroups, by id;
    ``closed_groups``: those that take no tasks any more.
    """

    funnels: tuple[Funnel, ...]
    fields: Mapping[str, DealField]
    company: Company
    groups: frozenset[int] | None = None
    calendar: PortalCalendar | None = None
    time_zone: str = ""
    utc_offset: int = 0
    admin: bool = False
    scopes: frozenset[str] = frozenset()
    unread: Mapping[str, Unread] = field(default_factory=dict)
    without: Mapping[str, Absent] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    currencies: Mapping[str, Decimal] = field(default_factory=dict)
    """What one unit of each currency is worth in the account's own."""
    """Name in ``crm.item.*`` of each field, by its code."""
    task_fields: Mapping[str, DealField] = field(default_factory=dict)
    group_names: Mapping[int, str] = field(default_factory=dict)
    closed_groups: frozenset[int] = frozenset()

    @property
    def stages(self) -> Iterator[Stage]:
        """Every stage, in the portal's order."""
        return (stage for funnel in self.funnels for stage in funnel.stages)

    def stage(self, stage_id: str) -> Stage | None:
        """The stage with this full id, or None."""
        return next((stage for stage in self.stages if stage.id == stage_id), None)


@dataclass(frozen=True, slots=True)
class Contact:
    """The deal's company or first contact, as templates see it: fields by upper-case code."""

    id: int
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reached:
    """How far the portal's record of one kind of items has been read: the newest row of its history and CREATED_TIME,
    and the newest change of an item seen, in the portal's time (UTC)."""

    history_id: int
    history_time: datetime
    deals_time: datetime


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far the portal's record has been read: of each kind of items, by its name, and the newest change of a task
    seen, in the portal's time (UTC)."""

    kinds: Mapping[str, Reached]
    tasks_time: datetime
    activities_time: datetime | None = None
    """The newest change of an activity seen; None: they are not read."""

    @property
    def deals(self) -> Reached:
        """That of deals, which are always read."""
        return self.kinds[DEAL.name]

    @property
    def read(self) -> list[ItemKind]:
        """The kinds that are read."""
        return [KINDS[name] for name in self.kinds if name in KINDS]

    def covers(self, visit: Visit) -> bool:
        """True for a row of the history that is no newer than the newest one seen."""
        return visit.id <= self.kinds[visit.row.kind.name].history_id

    def before(self, visits: Iterable[Visit]) -> Cursor:
        """The same, but that none of these rows has been seen yet."""
        kinds = dict(self.kinds)
        for visit in visits:
            name = visit.row.kind.name
            kinds[name] = replace(kinds[name], history_id=min(kinds[name].history_id, visit.id - 1))
        return replace(self, kinds=kinds)


@dataclass(frozen=True, slots=True)
class Changes:
    """One reading of the portal after a cursor (overlap included, so much of it may be known already).
    ``activities`` None: they were not read; ``activities_since``: from when on they were."""

    visits: tuple[Visit, ...] = ()
    deals: tuple[Deal, ...] = ()
    tasks: tuple[PortalTask, ...] = ()
    activities: tuple[Activity, ...] | None = None
    activities_since: datetime | None = None
    cursor: Cursor | None = None
    company: Company | None = None
    """The people, if they were asked for and read whole in the same request."""
    requests: int = 0
