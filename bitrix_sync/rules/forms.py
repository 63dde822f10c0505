"""The mappings that recur in rules.yaml: events, deadlines, persons, conditions.

There are several kinds of each, told apart by their keys; the tag of the kind begins with ``=`` and stands in the place
of pydantic's errors, so that ``validation.py`` can say which keys go together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, PlainValidator, Tag, WithJsonSchema
from pydantic_core import PydanticCustomError

from bitrix_sync.rules.durations import Span, read_duration
from bitrix_sync.rules.problem import show
from bitrix_sync.rules.scalars import (
    EMAIL_SCHEMA,
    NAME_SCHEMA,
    NOBODY,
    PERSON_WORDS,
    USER_ID_SCHEMA,
    Clock,
    Day,
    Flag,
    Name,
    OnDayOff,
    Pick,
    RuleId,
    TestScalar,
    Wish,
    read_person,
    read_supervisor,
    read_user_id,
)
from bitrix_sync.rules.suggest import did_you_mean


class Shape(BaseModel):
    """A mapping of the file: unknown keys are refused, values are taken as they are written."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


MODIFIERS = frozenset({"at", "on_day_off", "follow", "else", "pick"})
"""Keys that go with several kinds."""
Words = tuple[str, str]
"""What is wrong, and what to write instead."""
UNKIND: dict[str, Callable[[Any], Words]] = {}
"""By the type of pydantic's error: what to say of a value that is none of the kinds."""


def kinds(name: str, choose: Callable[[Any], str | None], words: Callable[[Any], Words]) -> Discriminator:
    """Tells the kinds of something apart. ``choose`` gives the kind's tag, None for what is none of them; of that
    ``words`` says why."""
    UNKIND[name] = words
    return Discriminator(choose, custom_error_type=name, custom_error_message=name)


def by_key(table: Mapping[str, str]) -> Callable[[Any], str | None]:
    """Tells mappings apart by the first key of ``table`` that is there."""

    def choose(value: Any) -> str | None:
        return next((tag for key, tag in table.items() if key in value), None) if isinstance(value, dict) else None

    return choose


def _near_key(value: Any, known: Iterable[str]) -> str:
    """``Did you mean `after`?`` for a key that should have told the kind."""
    known = tuple(known)
    keys = [key for key in value if key not in MODIFIERS] if isinstance(value, dict) else []
    return next((hint for key in keys if (hint := did_you_mean(key, known))), "")


# --- events and starts -----------------------------------------------------------------------------------------------


class DoneEvent(Shape):
    """The task of a rule is completed."""

    done: RuleId = Field(description="Id of the rule whose task is completed.")


class StageEvent(Shape):
    """The deal enters a stage after this visit began."""

    stage: Name = Field(description="Name of a stage of the same funnel, or any stage's id.")


class FilledEvent(Shape):
    """A field of the deal is filled."""

    filled: Name = Field(description="Code or exact title of a field of the deal.", examples=["UF_CRM_INVOICE_DATE"])


class BecomesEvent(Shape):
    """The deal fulfils conditions, as `if` has them."""

    becomes: Conditions = Field(
        description="[Conditions](#conditions) on the deal.", examples=[{"UF_CRM_STATE": "Paid"}]
    )


class IdleEvent(Shape):
    """Nothing has been planned with the deal for so long."""

    idle: Span = Field(description="So long without an open task and a planned activity.", examples=["2 workdays"])


_EVENTS = {
    "done": "=event:done",
    "stage": "=event:stage",
    "filled": "=event:filled",
    "becomes": "=event:becomes",
}
_STARTS = {
    "done": "=start:done",
    "filled": "=start:filled",
    "becomes": "=start:becomes",
    "idle": "=start:idle",
}


def _no_event(value: Any) -> Words:
    what = "This mapping" if isinstance(value, dict) else show(value).capitalize()
    cure = (
        _near_key(value, _EVENTS)
        or "Write `{done: rule id}`, `{stage: name}`, `{filled: FIELD}` or `{becomes: conditions}`."
    )
    return f"{what} is no event.", cure


def _no_start(value: Any) -> Words:
    if isinstance(value, dict) and "stage" in value:
        return "A task does not start when a stage is entered.", "Put it under that stage."
    cure = (
        _near_key(value, _STARTS)
        or "Write `{done: rule id}`, `{filled: FIELD}`, `{becomes: conditions}` or `{idle: 2 workdays}`."
    )
    return "This does not say what the task starts with.", cure


Event = Annotated[
    Annotated[DoneEvent, Tag("=event:done")]
    | Annotated[StageEvent, Tag("=event:stage")]
    | Annotated[FilledEvent, Tag("=event:filled")]
    | Annotated[BecomesEvent, Tag("=event:becomes")],
    kinds("no_event", by_key(_EVENTS), _no_event),
]
Start = Annotated[
    Annotated[DoneEvent, Tag("=start:done")]
    | Annotated[FilledEvent, Tag("=start:filled")]
    | Annotated[BecomesEvent, Tag("=start:becomes")]
    | Annotated[IdleEvent, Tag("=start:idle")],
    kinds("no_start", by_key(_STARTS), _no_start),
]


# --- deadlines -------------------------------------------------------------------------------------------------------

_AFTER = "so much later: than the entry, than the field's date, than the event; default: with `event` `0 workdays`"
_AT = Field(default=None, description='the time of day, `"15:00"`; default: the end of that day\'s working hours')
_ON_DAY_OFF = Field(
    default=None,
    description="what happens on a day off: `next`, `previous`, `keep`; default: see [below](#days-off)",
)
_FOLLOW = Field(default=True, description="`false`: the deadline does not follow later changes of the deal")
_ELSE = Field(
    alias="else", description="another deadline, always counted from entry; required with `field` and `event`"
)


_NO_TIME_OF_DAY: dict[str, Any] = {
    "allOf": [
        {"not": {"required": ["at", key], "properties": {key: {"type": "string", "pattern": "minute|hour"}}}}
        for key in ("after", "before")
    ]
}
"""For editors: minutes and hours take no time of day."""


class Timed(Shape):
    """What every deadline may say."""

    model_config = ConfigDict(json_schema_extra=_NO_TIME_OF_DAY)

    at: Clock | None = _AT
    on_day_off: OnDayOff | None = _ON_DAY_OFF
    follow: Flag = _FOLLOW


class AfterEntry(Timed):
    """So long after the deal entered the stage (with `start` and `again`: after what started the task)."""

    after: Span = Field(description=_AFTER)


class OnDate(Timed):
    """A certain day."""

    date: Day = Field(description="a date, the same for every deal")


class ByField(Timed):
    """The date of a field of the deal, or so long before or after it."""

    model_config = ConfigDict(json_schema_extra={**_NO_TIME_OF_DAY, "not": {"required": ["before", "after"]}})

    before: Span | None = Field(default=None, description="so much earlier than the field's date")
    field: Name = Field(
        description="a date or date-time field of the deal, by its code or its exact title",
        examples=["UF_CRM_SHIP_DATE"],
    )
    after: Span | None = Field(default=None, description=_AFTER)
    otherwise: Deadline = _ELSE


class ByEvent(Timed):
    """So long after an event."""

    event: Event = Field(
        description="one of `{done: rule}`, `{stage: name}`, `{filled: FIELD}`, `{becomes: conditions}`"
    )
    after: Span | None = Field(default=None, description=_AFTER)
    otherwise: Deadline = _ELSE


class MoveTo(Shape):
    """Where an overdue deadline is moved, counted from the sweep's moment."""

    model_config = ConfigDict(json_schema_extra=_NO_TIME_OF_DAY)

    after: Span = Field(description="How long after the sweep's moment.")
    at: Clock | None = _AT
    on_day_off: OnDayOff | None = _ON_DAY_OFF


Counted = AfterEntry | ByField | ByEvent
"""The deadlines that may be so long before or after something."""
_DEADLINES = {
    "event": "=deadline:event",
    "field": "=deadline:field",
    "date": "=deadline:date",
    "after": "=deadline:after",
}


def _no_deadline(value: Any) -> Words:
    if not isinstance(value, dict):
        try:
            read_duration(value)
        except PydanticCustomError:
            return f"{show(value).capitalize()} is no deadline.", "Write a mapping, as `{after: 2 workdays}`."
        return f"{show(value)} alone is no deadline.", f"Write `{{after: {value}}}`."
    if "before" in value:
        return (
            "`before` needs a moment with a date to count back from.",
            "Add the field: `{before: 3 workdays, field: UF_CRM_X, else: {after: 5 workdays}}`.",
        )
    forms = "`{after: 2 workdays}`, `{date: 2026-12-25}`, `{field: UF_CRM_X, else: ...}` or `{event: ..., else: ...}`"
    return "This does not say when the task is due.", _near_key(value, (*_DEADLINES, "before")) or f"Write {forms}."


Deadline = Annotated[
    Annotated[ByEvent, Tag("=deadline:event")]
    | Annotated[ByField, Tag("=deadline:field")]
    | Annotated[OnDate, Tag("=deadline:date")]
    | Annotated[AfterEntry, Tag("=deadline:after")],
    kinds("no_deadline", by_key(_DEADLINES), _no_deadline),
]


# --- persons ---------------------------------------------------------------------------------------------------------

_ELSE_PERSON = Field(default=None, alias="else", description="Who, if that gives nobody.")
_PICK = Field(
    description="round_robin: in turn; least_loaded: who has the fewest open tasks due by then; first: first active."
)


class PersonFromField(Shape):
    """An employee field of the deal."""

    field: Name = Field(description="Code or exact title of an employee field of the deal.", examples=["UF_CRM_LOGIST"])
    otherwise: Person | None = _ELSE_PERSON


class PersonOfTask(Shape):
    """Whoever owns the newest task of another rule on this deal."""

    task: RuleId = Field(description="Id of the other rule.")
    otherwise: Person | None = _ELSE_PERSON


class PersonFromDepartment(Shape):
    """An active direct member of a department; the head only if alone."""

    department: Name = Field(description="Name or id of the department.", examples=["Юридический отдел"])
    pick: Pick = _PICK
    otherwise: Person | None = _ELSE_PERSON


class PersonOutOf(Shape):
    """One of several persons."""

    one_of: list[Person] = Field(min_length=1, description="The persons to choose from.")
    pick: Pick = _PICK
    otherwise: Person | None = _ELSE_PERSON


PERSON_KINDS = {
    "field": "=person:field",
    "task": "=person:task",
    "department": "=person:department",
    "one_of": "=person:one_of",
}


def _no_person(value: Any) -> Words:
    if isinstance(value, dict):
        cure = _near_key(value, PERSON_KINDS) or "It takes one of `field`, `task`, `department`, `one_of`."
        return "This mapping does not say who.", cure
    if isinstance(value, list):
        return "One person must stand here, not a list.", "For a choice write `{one_of: [...], pick: round_robin}`."
    return f"A person must stand here, not {show(value)}.", "Write responsible, head, a user's id, e-mail or name."


def _person_kind(value: Any) -> str | None:
    if isinstance(value, str):
        return "=person:word"
    if isinstance(value, int) and not isinstance(value, bool):
        return "=person:id"
    return by_key(PERSON_KINDS)(value)


def _word_schema(words: tuple[str, ...]) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [{"enum": list(words), "title": "Who"}, EMAIL_SCHEMA, NAME_SCHEMA]})


_UserId = Annotated[int, PlainValidator(read_user_id), WithJsonSchema(USER_ID_SCHEMA)]
_PersonWord = Annotated[str, PlainValidator(read_person), _word_schema(PERSON_WORDS)]
_SupervisorWord = Annotated[str, PlainValidator(read_supervisor), _word_schema((*PERSON_WORDS, NOBODY))]

_Others = (
    Annotated[_UserId, Tag("=person:id")]
    | Annotated[PersonFromField, Tag("=person:field")]
    | Annotated[PersonOfTask, Tag("=person:task")]
    | Annotated[PersonFromDepartment, Tag("=person:department")]
    | Annotated[PersonOutOf, Tag("=person:one_of")]
)
_WHO = kinds("no_person", _person_kind, _no_person)
Person = Annotated[Annotated[_PersonWord, Tag("=person:word")] | _Others, _WHO]
Supervisor = Annotated[Annotated[_SupervisorWord, Tag("=person:word")] | _Others, _WHO]


# --- conditions ------------------------------------------------------------------------------------------------------


class Wishes(Shape):
    """Tests of one field; all must hold."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    min: TestScalar = Field(default=None, description="At least this (number, money, date).")
    max: TestScalar = Field(default=None, description="At most this (number, money, date).")
    unequal: Wish = Field(default=None, alias="not", description="Not this, or none of these.")
    contains: TestScalar = Field(default=None, description="A part of the text, without regard to case.")
    filled: Flag | None = Field(default=None, description="true: holds something; false: is empty.")


def _test_kind(value: Any) -> str | None:
    if isinstance(value, dict):
        return "=test:wishes" if value else None
    return "=test:value"


def _no_test(value: Any) -> Words:
    return "The test says nothing.", "Write a value, a list of values, or `min`, `max`, `not`, `contains`, `filled`."


FieldTest = Annotated[
    Annotated[Wish, Tag("=test:value")] | Annotated[Wishes, Tag("=test:wishes")],
    kinds("no_test", _test_kind, _no_test),
]


class Conditions(BaseModel):
    """Conditions on the deal: fields (by code or exact title) to tests, `any` and `not` for nesting; all must hold."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, FieldTest]

    any_of: list[Conditions] | None = Field(default=None, alias="any", min_length=1, description="One of these holds.")
    no: Conditions | None = Field(default=None, alias="not", description="This does not hold.")


for _model in (
    BecomesEvent,
    ByField,
    ByEvent,
    PersonFromField,
    PersonOfTask,
    PersonFromDepartment,
    PersonOutOf,
    Conditions,
):
    _model.model_rebuild()
