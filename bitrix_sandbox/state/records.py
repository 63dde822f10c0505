"""What the sandbox portal keeps: plain mutable records. Every moment is aware UTC; 0 stands for "nobody" or "none"."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

PROGRESS, WON, LOST = "P", "S", "F"
CREATED, MOVED, CLOSED, FUNNEL_CHANGED = 1, 2, 3, 5
"""TYPE_ID of a stage history row (api-reference/crm/crm-stage-history-list.md)."""


@dataclass(slots=True)
class Webhook:
    """An incoming webhook: it acts as ``user_id`` within ``scopes``."""

    user_id: int
    code: str
    scopes: set[str]
    alive: bool = True


@dataclass(slots=True)
class User:
    """A user. ``kind`` is ``employee``, ``extranet``, ``email``, ``bot`` or ``system`` (hidden)."""

    id: int
    name: str
    last_name: str
    email: str = ""
    second_name: str = ""
    position: str = ""
    departments: list[int] = field(default_factory=list)
    active: bool = True
    admin: bool = False
    time_zone: str = ""
    gender: str = ""
    phone: str = ""
    kind: str = "employee"
    registered: datetime | None = None
    last_login: datetime | None = None

    @property
    def full_name(self) -> str:
        """Name and last name."""
        return f"{self.name} {self.last_name}".strip()


@dataclass(slots=True)
class Department:
    """A node of the company tree."""

    id: int
    name: str
    parent_id: int = 0
    head_id: int = 0
    sort: int = 500


@dataclass(slots=True)
class Absence:
    """A calendar entry of a user; half-open. ``kind`` is ``absent``, ``busy``, ``quest`` or ``free``."""

    id: int
    user_id: int
    start: datetime
    end: datetime
    name: str = "Отпуск"
    whole_days: bool = True
    kind: str = "absent"


@dataclass(slots=True)
class Workgroup:
    """A workgroup or project."""

    id: int
    name: str
    owner_id: int
    created: datetime
    members: set[int] = field(default_factory=set)
    project: bool = False
    visible: bool = True
    opened: bool = False
    closed: bool = False


@dataclass(slots=True)
class Stage:
    """A stage. ``id`` is the full STATUS_ID (``NEW``, ``C5:NEW``)."""

    id: str
    row_id: int
    name: str
    funnel_id: int
    sort: int
    semantic: str = PROGRESS
    color: str = "#39A8EF"
    system: bool = False
    apology: bool = False


@dataclass(slots=True)
class Funnel:
    """A deal category; id 0 is the default one."""

    id: int
    name: str
    sort: int


@dataclass(slots=True)
class UserField:
    """A user field of deals or of tasks. ``options`` maps an option's id to its text."""

    id: int
    code: str
    title: str
    type: str
    multiple: bool = False
    mandatory: bool = False
    options: dict[int, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Deal:
    """A deal. ``extra`` holds user fields by code, in their stored kinds; ``semantic`` is the stage's at entry."""

    id: int
    title: str
    funnel_id: int
    stage_id: str
    semantic: str
    responsible_id: int
    creator_id: int
    created: datetime
    updated: datetime
    moved: datetime
    modifier_id: int = 0
    mover_id: int = 0
    company_id: int = 0
    contact_ids: list[int] = field(default_factory=list)
    observers: list[int] = field(default_factory=list)
    opportunity: float = 0.0
    manual_opportunity: bool = False
    tax: float = 0.0
    currency: str = "RUB"
    probability: int | None = None
    type_id: str = "SALE"
    source_id: str | None = None
    source_description: str | None = None
    additional_info: str | None = None
    comments: str | None = None
    begin: date | None = None
    close: date | None = None
    opened: bool = True
    recurring: bool = False
    returning: bool = False
    repeated: bool = False
    originator: str | None = None
    origin: str | None = None
    utm_source: str | None = None
    utm_medium: str | None = None
    utm_campaign: str | None = None
    utm_content: str | None = None
    utm_term: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    history: list[int] = field(default_factory=list)

    @property
    def closed(self) -> bool:
        """Won or lost."""
        return self.semantic != PROGRESS

    @property
    def is_new(self) -> bool:
        """In the first stage of its funnel."""
        return self.stage_id.rpartition(":")[2] == "NEW"

    @property
    def contact_id(self) -> int:
        """The primary contact, or 0."""
        return self.contact_ids[0] if self.contact_ids else 0


@dataclass(slots=True)
class HistoryRow:
    """A deal entered a stage. ``visible_from``: not in lists before that moment (a transaction still open)."""

    id: int
    kind: int
    deal_id: int
    created: datetime
    funnel_id: int
    semantic: str
    stage_id: str
    visible_from: datetime | None = None


@dataclass(slots=True)
class Activity:
    """A planned or completed activity (call, meeting, to-do, a task of a deal). ``owner_type``: 2 deal, 3 contact;
    ``kind``: 1 meeting, 2 call, 3 task, 4 mail, 6 by its provider; ``bindings``: its owner, and what else it belongs
    to; ``associated``: the task that it shows."""

    id: int
    owner_type: int
    owner_id: int
    kind: int
    provider: str
    subject: str
    responsible_id: int
    created: datetime
    updated: datetime
    deadline: datetime | None = None
    completed: bool = False
    associated: int = 0
    bindings: dict[tuple[int, int], None] = field(default_factory=dict)


@dataclass(slots=True)
class Client:
    """A company or a contact."""

    id: int
    responsible_id: int
    created: datetime
    updated: datetime
    creator_id: int = 1
    title: str = ""
    name: str = ""
    last_name: str = ""
    second_name: str = ""
    post: str = ""
    type_id: str = "CUSTOMER"
    source_id: str | None = None
    industry: str | None = None
    company_ids: list[int] = field(default_factory=list)
    phones: list[str] = field(default_factory=list)
    emails: list[str] = field(default_factory=list)
    comments: str | None = None
    revenue: float = 0.0
    currency: str = "RUB"
    opened: bool = True
    is_my_company: bool = False
    has_imol: bool = False
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def company_id(self) -> int:
        """A contact's main company, or 0."""
        return self.company_ids[0] if self.company_ids else 0

    @property
    def has_phone(self) -> bool:
        """A telephone is known."""
        return bool(self.phones)

    @property
    def has_email(self) -> bool:
        """An e-mail address is known."""
        return bool(self.emails)


@dataclass(slots=True)
class Message:
    """A chat message; ``author_id`` 0 is the system."""

    id: int
    chat_id: int
    author_id: int
    at: datetime
    text: str
    system: bool = False


@dataclass(slots=True)
class Notice:
    """A notice in a user's bell. ``kind`` is ``personal`` or ``system``."""

    id: int
    user_id: int
    author_id: int
    at: datetime
    text: str
    kind: str
    tag: str = ""
