"""Keys of a task that need no other key to be read: plain values, lists of persons, templates.

Such a key stands here and nowhere else: how it is read, what it means (the schema and ``docs/*/rules.md`` are made of
that), what of the portal's task it sets. Persons are resolved and templates are checked by their kind. What people read
of it is ``rule.note.<key>`` of the catalogue.

Source: the rules language, section A task; the portal's documentation of tasks.task.add.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_type_hints

from pydantic import Field

from bitrix_sync.rules.durations import Span
from bitrix_sync.rules.forms import Person
from bitrix_sync.rules.scalars import Flag, Text, Workgroup

Ending = Literal["keep", "complete", "defer", "delete"]
Away = Literal["keep", "substitute"]
PRIORITIES = ("low", "normal", "high")


class Content(Enum):
    """What a value that is not the same in the file and in force is."""

    PEOPLE = "people"
    TEMPLATE = "template"


if TYPE_CHECKING:
    People = tuple[Any, ...]
    Template = str
    Group = int
else:
    People = Annotated[tuple[Person, ...], Content.PEOPLE]
    Template = Annotated[Text, Content.TEMPLATE]
    Group = Workgroup

RESULT_REQUIRED: list[dict[str, Any]] = [{"VALUE": "Y", "CODE": 3}]


def _yes(value: bool) -> str | None:
    return "Y" if value else None


def _itself(value: Any) -> Any:
    return value


def _list(values: tuple[Any, ...]) -> list[Any] | None:
    return list(values) or None


def _result(value: bool) -> list[dict[str, Any]] | None:
    return RESULT_REQUIRED if value else None


@dataclass(frozen=True, slots=True)
class PortalField:
    """The field of tasks.task.add that a key sets. ``value``: what is sent for the key's; of None the field is left
    out."""

    name: str
    value: Callable[[Any], Any] = _yes


@dataclass(frozen=True, kw_only=True)
class PlainKeys:
    """The file's ``TaskEntry`` and the compiled ``Rule`` both are one of these; persons are those of each."""

    description: Annotated[Template, Field(description="a [text](#texts), BB code")] = ""
    observers: Annotated[People, Field(description="list of [persons](#persons)")] = ()
    participants: Annotated[
        People, Field(description="list of [persons](#persons)"), PortalField("ACCOMPLICES", _list)
    ] = ()

    again: Annotated[
        Span | None, Field(description="a duration: done and still in the stage, the next one", examples=["5 workdays"])
    ] = None
    repeat: Annotated[
        Literal["each_visit", "if_none_open", "once"],
        Field(
            description="`each_visit`; `if_none_open`: an open one of an earlier visit is taken over; `once` for ever"
        ),
    ] = "each_visit"
    on_leave: Annotated[
        Ending,
        Field(description="`keep`, `complete`, `defer`, `delete`: what its open task undergoes when the deal leaves"),
    ] = "keep"
    supervisor_observes: Annotated[
        Flag, Field(description="`false`: reads the notices, but is no observer of the task", examples=[False])
    ] = True
    priority: Annotated[
        Literal["low", "normal", "high"],
        Field(description="`low`, `normal`, `high`"),
        PortalField("PRIORITY", PRIORITIES.index),
    ] = "normal"
    project: Annotated[
        Group | None,
        Field(description="a workgroup, by name or id", examples=["Склад", 12]),
        PortalField("GROUP_ID", _itself),
    ] = None
    tags: Annotated[
        tuple[Text, ...],
        Field(description="list of texts", examples=[["contract"]]),
        PortalField("TAGS", _list),
    ] = ()
    control: Annotated[
        Flag, Field(description="`true`: the supervisor accepts the result"), PortalField("TASK_CONTROL")
    ] = False
    result_required: Annotated[
        Flag,
        Field(description="`true`: cannot be closed without a result"),
        PortalField("SE_PARAMETER", _result),
    ] = False


DEFAULTS: Mapping[str, Any] = {key.name: key.default for key in fields(PlainKeys)}
"""Every plain key with its value where a task does not have it."""
_PARTS = {name: get_args(hint) for name, hint in get_type_hints(PlainKeys, include_extras=True).items()}
PEOPLE = tuple(name for name, parts in _PARTS.items() if Content.PEOPLE in parts)
TEMPLATES = tuple(name for name, parts in _PARTS.items() if Content.TEMPLATE in parts)
_PORTAL_FIELDS: Mapping[str, PortalField] = {
    name: part for name, parts in _PARTS.items() for part in parts if isinstance(part, PortalField)
}
KEYS_OF_FIELDS: Mapping[str, str] = {sent.name: name for name, sent in _PORTAL_FIELDS.items()}
"""The portal's fields that plain keys set, each with its key."""


def values_of(task: PlainKeys) -> dict[str, Any]:
    """The plain keys of a task."""
    return {name: getattr(task, name) for name in DEFAULTS}


def portal_fields(task: PlainKeys, people: Callable[[tuple[Any, ...]], tuple[Any, ...]] = tuple) -> dict[str, Any]:
    """The fields of tasks.task.add that the plain keys set; what is empty is left out. ``people``: persons as users."""
    found: dict[str, Any] = {}
    for name, sent in _PORTAL_FIELDS.items():
        value = getattr(task, name)
        said = sent.value(people(value) if name in PEOPLE else value)
        if said is not None:
            found[sent.name] = said
    return found
