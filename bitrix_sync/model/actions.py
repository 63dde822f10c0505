"""What operations do in the portal, a class a kind, and their form in the store. Pure.

The store keeps an action as JSON and empties it when nothing will ask for it any more; what it lacks is then the
class's own. Every moment is aware.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import date, datetime
from enum import StrEnum
from typing import Any, ClassVar, Literal, TypeAlias


class Kind(StrEnum):
    """What an operation does in the portal."""

    CREATE = "task.create"
    DEADLINE = "task.deadline"
    PEOPLE = "task.people"  # owner and observers
    COMPLETE = "task.complete"
    DEFER = "task.defer"
    RESUME = "task.resume"
    DELETE = "task.delete"
    CHECKLIST = "task.checklist"
    LINE = "task.line"  # a line in the task's comments
    MOVE_DEAL = "deal.move"
    MESSAGE = "message"


MovedBy = Literal["follow", "sweep", "undo", ""]
"""Why a deadline is moved."""


@dataclass(frozen=True, slots=True)
class CreateTask:
    """``fields`` of tasks.task.add (upper case, without UF_CRM_TASK and XML_ID, which follow from key and deal)."""

    kind: ClassVar[Kind] = Kind.CREATE
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Title of the task."""
        return str(self.fields.get("TITLE", ""))

    @property
    def owner_id(self) -> int:
        """Who is to do it."""
        return int(self.fields["RESPONSIBLE_ID"])

    @property
    def deadline(self) -> datetime:
        """Until when."""
        return datetime.fromisoformat(self.fields["DEADLINE"])


@dataclass(frozen=True, slots=True)
class RefusedDay:
    """A day that a task was not put on. ``until``: of the absence; ``taken`` and ``room``: of a day that was full."""

    day: date
    why: Literal["day_off", "away", "full"]
    until: datetime | None = None
    taken: int = 0
    room: int = 0

    @property
    def packed(self) -> tuple[Any, ...]:
        """For an operation."""
        until = self.until.isoformat() if self.until else None
        return self.day.isoformat(), self.why, until, self.taken, self.room

    @classmethod
    def of(cls, packed: Sequence[Any]) -> RefusedDay:
        """As an operation has it."""
        day, why, until, taken, room = packed
        return cls(date.fromisoformat(day), why, datetime.fromisoformat(until) if until else None, taken, room)


@dataclass(frozen=True, slots=True)
class SetDeadline:
    """``seen``: the deadline that the decision was based on. Of a sweep's: who controlled and owned the task then,
    which ``move`` this is, whether it is made because of an absence (``away``), the days that were ``refused``
    (``RefusedDay.packed``), and whether the one chosen has room (``fits``)."""

    kind: ClassVar[Kind] = Kind.DEADLINE
    deadline: datetime | None = None
    reason: MovedBy = ""
    seen: datetime | None = None
    supervisor: int | None = None
    owner: int = 0
    move: int = 0
    away: bool = False
    refused: tuple[tuple[Any, ...], ...] = ()
    fits: bool = True

    @property
    def refused_days(self) -> tuple[RefusedDay, ...]:
        """The days that were passed over, in their order."""
        return tuple(map(RefusedDay.of, self.refused))


@dataclass(frozen=True, slots=True)
class SetPeople:
    """``supervisor`` to add, ``drop`` former ones to remove, ``creator``: who accepts the result from now on. ``seen``:
    the owner that the decision was based on. ``lending``: the task is lent to a substitute, or comes back; ``absent``:
    whose it is, ``until`` when they are away."""

    kind: ClassVar[Kind] = Kind.PEOPLE
    owner: int | None = None
    seen: int | None = None
    supervisor: int | None = None
    drop: tuple[int, ...] = ()
    creator: int | None = None
    lending: Literal["", "lend", "back"] = ""
    absent: int | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class CompleteTask:
    """Ends a task as done; ``reason`` is a word for the store."""

    kind: ClassVar[Kind] = Kind.COMPLETE
    reason: str = ""


@dataclass(frozen=True, slots=True)
class DeferTask:
    """Puts a task off."""

    kind: ClassVar[Kind] = Kind.DEFER
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ResumeTask:
    """Takes up what was put off."""

    kind: ClassVar[Kind] = Kind.RESUME
    reason: str = ""


@dataclass(frozen=True, slots=True)
class DeleteTask:
    """``mark``: the one that the task must have, "" for any."""

    kind: ClassVar[Kind] = Kind.DELETE
    reason: str = ""
    mark: str = ""


@dataclass(frozen=True, slots=True)
class AddItem:
    """A check list, or an item of one: ``under`` is then the key of the operation that makes the check list."""

    kind: ClassVar[Kind] = Kind.CHECKLIST
    title: str = ""
    index: int = 0
    under: str | None = None


@dataclass(frozen=True, slots=True)
class AddLine:
    """A line in the task's comments."""

    kind: ClassVar[Kind] = Kind.LINE
    text: str = ""


@dataclass(frozen=True, slots=True)
class MoveDeal:
    """``visit``: the one that must still be the deal's latest."""

    kind: ClassVar[Kind] = Kind.MOVE_DEAL
    stage: str = ""
    visit: int = 0


@dataclass(frozen=True, slots=True)
class SendMessage:
    """A message to a person; by its ``mark`` it is found again."""

    kind: ClassVar[Kind] = Kind.MESSAGE
    user: int = 0
    text: str = ""
    mark: str = ""


Ending: TypeAlias = CompleteTask | DeferTask | DeleteTask
Action: TypeAlias = (
    CreateTask | SetDeadline | SetPeople | Ending | ResumeTask | AddItem | AddLine | MoveDeal | SendMessage
)
CLASSES: Mapping[Kind, type[Action]] = {
    one.kind: one
    for one in (
        *(CreateTask, SetDeadline, SetPeople, CompleteTask, DeferTask, ResumeTask, DeleteTask),
        *(AddItem, AddLine, MoveDeal, SendMessage),
    )
}
_NAMES = {kind: tuple(one.name for one in fields(made)) for kind, made in CLASSES.items()}


def pack(action: Action) -> dict[str, Any]:
    """An action for the store."""
    return {name: _packed(getattr(action, name)) for name in _NAMES[action.kind]}


def unpack(kind: Kind, stored: Mapping[str, Any]) -> Action:
    """An action as the store has it, also of version 0.1."""
    return CLASSES[kind](**{name: _unpacked(name, stored[name]) for name in _NAMES[kind] if name in stored})


def title_of(action: Action) -> str:
    """Title of the task that is made; "" for another action."""
    return action.title if isinstance(action, CreateTask) else ""


def _packed(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return [*map(_packed, value)] if isinstance(value, tuple) else dict(value) if isinstance(value, Mapping) else value


def _unpacked(name: str, value: Any) -> Any:
    if name in ("deadline", "seen", "until") and isinstance(value, str):
        return datetime.fromisoformat(value)
    return tuple(_unpacked("", one) for one in value) if isinstance(value, list) else value
