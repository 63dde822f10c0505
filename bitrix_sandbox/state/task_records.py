"""What the sandbox portal keeps of a task. Every moment is aware UTC; 0 stands for "nobody" or "none"."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

WAITING, IN_PROGRESS, AWAITING, DONE, DEFERRED = 2, 3, 4, 5, 6
RESULT_REQUIRED = 3
"""SE_PARAMETER code: the task cannot be completed without a result."""


@dataclass(slots=True)
class ChecklistItem:
    """An item of a task's checklist; ``parent_id`` 0 is a checklist itself."""

    id: int
    title: str
    creator_id: int
    parent_id: int = 0
    sort: int = 0
    complete: bool = False
    important: bool = False
    toggled_by: int = 0
    toggled: datetime | None = None
    members: dict[int, str] = field(default_factory=dict)


@dataclass(slots=True)
class Result:
    """A result of a task; ``open`` until the task is completed."""

    id: int
    text: str
    author_id: int
    created: datetime
    open: bool = True


@dataclass(slots=True)
class Change:
    """A row of a task's history."""

    id: int
    at: datetime
    field: str
    before: Any
    after: Any
    user_id: int


@dataclass(slots=True)
class Task:
    """A task. ``crm`` holds bindings (``D_10``); ``params`` the SE_PARAMETER codes that are on."""

    id: int
    title: str
    creator_id: int
    responsible_id: int
    created: datetime
    changed: datetime
    changed_by: int
    activity: datetime
    chat_id: int
    description: str = ""
    status: int = WAITING
    status_changed: datetime | None = None
    status_changed_by: int = 0
    deadline: datetime | None = None
    xml_id: str | None = None
    priority: int = 1
    group_id: int = 0
    parent_id: int = 0
    stage_id: int = 0
    auditors: tuple[int, ...] = ()
    accomplices: tuple[int, ...] = ()
    tags: tuple[str, ...] = ()
    crm: tuple[str, ...] = ()
    depends_on: tuple[int, ...] = ()
    params: frozenset[int] = frozenset()
    control: bool = False
    allow_deadline: bool = False
    allow_time: bool = False
    match_work: bool = False
    add_in_report: bool = False
    time_estimate: int = 0
    mark: str | None = None
    start_plan: datetime | None = None
    end_plan: datetime | None = None
    date_start: datetime | None = None
    closed: datetime | None = None
    closed_by: int = 0
    deadline_moves: int = 0
    checklist: dict[int, ChecklistItem] | None = None
    results: list[Result] | None = None
    log: list[Change] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)
    """User fields by code."""

    @property
    def finished(self) -> bool:
        """Completed."""
        return self.status == DONE

    def members(self) -> set[int]:
        """Creator, responsible, participants, observers."""
        return {self.creator_id, self.responsible_id, *self.accomplices, *self.auditors}

    def has_open_result(self) -> bool:
        """True when a result was added since the task was last completed."""
        return any(result.open for result in self.results or ())
