"""The shape of rules.yaml: what may stand where, as pydantic models; their JSON Schema is what editors check.

Only shapes are judged here, each by itself: keys, kinds of values, which keys go together. What needs the rest of the
file is in ``consistency.py``, what needs the portal in ``bind.py``. Input is plain data as ``yaml.py`` gives it;
durations, times and dates come out parsed.

Source: the rules language.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    Discriminator,
    Field,
    PlainValidator,
    Strict,
    Tag,
    WithJsonSchema,
)

from bitrix_sync.rules import forms
from bitrix_sync.rules.durations import SPAN_PATTERN, Duration, Span, read_duration
from bitrix_sync.rules.plain_keys import DEFAULTS, TEMPLATES, Away, Ending, PlainKeys
from bitrix_sync.rules.problem import Path, refusal, show
from bitrix_sync.rules.scalars import (
    Clock,
    Country,
    Day,
    DayKey,
    Filling,
    Flag,
    Name,
    RuleId,
    Spans,
    Text,
    User,
    UserKey,
    WeekDays,
    Zone,
    check_week,
)
from bitrix_sync.words.language import DEFAULT, Language

# --- tasks and stages ------------------------------------------------------------------------------------------------


def _check_stage_key(value: Any) -> str:
    if not str(value).strip():
        raise refusal("The name is empty.", 'Write it as the portal shows it, or its id, or "*".')
    return str(value)


StageKey = Annotated[str, PlainValidator(_check_stage_key), WithJsonSchema({"type": "string", "pattern": r"\S"})]


class TaskOverdue(forms.Shape):
    """What overdue tasks of this rule undergo, instead of what the file says."""

    limit: Annotated[int, Strict(), Field(ge=0, le=1000)] | None = Field(default=None, description="So many moves.")
    move_to: forms.MoveTo | None = Field(default=None, description="Where a sweep moves the deadline.")


def _overdue_kind(value: Any) -> str | None:
    return "=overdue:own" if isinstance(value, dict) else "=overdue:never" if value == "never" else None


def _no_overdue(value: Any) -> forms.Words:
    return (
        f"{show(value).capitalize()} is not known here.",
        "Write `never`, or `{limit: 3, move_to: {after: 1 workday}}`.",
    )


class TaskEntry(forms.Shape, PlainKeys):
    """A rule: one task that the stage asks for."""

    id: RuleId = Field(description="letters, digits, `-`, `_`; once in the file")
    title: Text = Field(
        description="a [text](#texts); 1 to 250 characters, a longer one is cut with an ellipsis",
        examples=["Позвонить: {{ deal.TITLE }}"],
    )
    condition: forms.Conditions | None = Field(
        default=None, alias="if", description="[conditions](#conditions) on the deal; default: always"
    )
    start: forms.Start | None = Field(
        default=None, description="an event: the task appears then, not on entry; default: on entry"
    )
    owner: forms.Person = Field(default="responsible", description="who does it: a [person](#persons)")
    deadline: forms.Deadline = Field(description="by when, see [Deadlines](#deadlines)")
    supervisor: forms.Supervisor | None = Field(
        default=None,
        description="who controls it: a [person](#persons), `head` or `none`; default: the file's `supervisor`",
    )
    checklist: tuple[Text, ...] = Field(default=(), description="list of [texts](#texts)")
    fields: dict[StageKey, Filling] = Field(
        default={},
        description="the task's own [user fields](#fields-user-fields-of-the-task) by code",
        examples=[{"UF_OBJECT": "{{ deal.UF_CRM_ADDRESS }}", "UF_HOURS": 4}],
    )
    on_close: Ending | None = Field(
        default=None,
        description="what its open task undergoes when the deal is won or lost; default: the file's `on_close`",
    )
    away: Away | None = Field(
        default=None,
        description="`substitute` or `keep`, see [Away](#away-and-substitutes); default: the file's `away`",
    )
    overdue: (
        Annotated[
            Annotated[Literal["never"], Tag("=overdue:never")] | Annotated[TaskOverdue, Tag("=overdue:own")],
            forms.kinds("no_overdue", _overdue_kind, _no_overdue),
        ]
        | None
    ) = Field(default=None, description="`never`, or own `limit` and `move_to`; default: the file's")


def _read_next_step(value: Any) -> Duration | Literal["none"]:
    return "none" if value == "none" else read_duration(value)


NextStep = Annotated[
    Duration | Literal["none"],
    PlainValidator(_read_next_step),
    WithJsonSchema({"anyOf": [{"const": "none"}, {"type": "string", "pattern": SPAN_PATTERN}]}),
]
"""How long a deal may stand without a next step."""


def _read_escalate(value: Any) -> Duration | None:
    if value == "none":
        return None
    found = read_duration(value)
    if found.unit not in ("days", "workdays", "weeks") or not found.amount:
        raise refusal(
            f"{show(value).capitalize()} is no time between two steps.",
            "Write days, workdays or weeks, from 1 on, as `2 workdays`, or `none`.",
        )
    return found


class StageMapping(forms.Shape):
    """A stage with more than tasks."""

    tasks: list[TaskEntry] = Field(default=[], description="The tasks that the stage asks for.")
    next_step: NextStep | None = Field(
        default=None, description="The same as the file's, for this stage; `none`: it asks for no next step."
    )
    limit: Span | None = Field(default=None, description="Longer than that in the stage: the supervisor hears of it.")
    advance_to: Name | None = Field(
        default=None, description="All tasks of the visit done: the deal moves to this stage."
    )


def _stage_kind(value: Any) -> str | None:
    return "=stage:tasks" if isinstance(value, list) else "=stage:mapping" if isinstance(value, dict) else None


def _no_stage(value: Any) -> forms.Words:
    if value is None:
        return "The stage has nothing.", "Write its tasks as a list, `[]` if it needs none, or delete the line."
    return f"A stage takes a list of tasks, not {show(value)}.", "Write `- id: ...` on the next line, indented."


Stage = Annotated[
    Annotated[list[TaskEntry], Tag("=stage:tasks")] | Annotated[StageMapping, Tag("=stage:mapping")],
    forms.kinds("no_stage", _stage_kind, _no_stage),
]


# --- the rest of the file --------------------------------------------------------------------------------------------


def _hours_kind(value: Any) -> str:
    return "=hours:week" if isinstance(value, dict) else "=hours:spans"


class CalendarSection(forms.Shape):
    """Working time. Without it the portal's own settings are used."""

    hours: (
        Annotated[
            Annotated[Spans, Tag("=hours:spans")]
            | Annotated[
                dict[DayKey, Spans],
                Field(min_length=1),
                AfterValidator(check_week),
                Tag("=hours:week"),
            ],
            Discriminator(_hours_kind),
        ]
        | None
    ) = Field(
        default=None,
        description=(
            "working hours: one span or a list of spans for all working days (Monday to Friday), or a mapping of "
            "days to spans. In a mapping the days named are the working days; default: the portal's own"
        ),
        examples=["09:00-18:00", {"mon-fri": "09:00-18:00", "sat": ["10:00-13:00", "14:00-16:00"]}],
    )
    workdays: WeekDays | None = Field(
        default=None,
        description="the working days, when `hours` is no mapping: `mon-fri`, or a list; default: the portal's own",
    )
    country: Country | None = Field(
        default=None, description="public holidays and moved working days of that country: `RU`, `KZ`, `DE`"
    )
    days_off: list[Day] = Field(default=[], description="more days off")
    working_days: list[Day] = Field(
        default=[],
        description="more working days; a day that usually is off has the hours of the first working day of the week",
    )


class SweepEntry(forms.Shape):
    """A daily look at what is overdue."""

    at: Clock = Field(description='Time of day, in quotes: "09:00".')
    move_to: forms.MoveTo = Field(description="Where overdue deadlines are moved, counted from the sweep's moment.")
    days: Literal["workdays", "every_day"] = Field(default="workdays", description="On which days it runs.")


class OverdueSection(forms.Shape):
    """What happens to what is overdue. Without it: no sweeps."""

    tasks: Literal["rules", "deals", "all"] = Field(
        default="rules",
        description="`rules`: those made by this file; `deals`: any task bound to a deal; `all`: every task",
    )
    morning: SweepEntry | None = Field(
        default=None,
        description=(
            "the morning sweep: `at` what time, `move_to` where overdue deadlines go, counted from the sweep's "
            "moment, `days: every_day` for days off too; default: no such sweep"
        ),
    )
    evening: SweepEntry | None = Field(default=None, description="the evening sweep, likewise; default: no such sweep")
    limit: Annotated[int, Strict(), Field(ge=0, le=1000)] | None = Field(
        default=None,
        description=(
            "so many moves, then the task stays where it is and is escalated; `0`: never moved, escalated at once; "
            "default: no limit"
        ),
    )
    notify: list[Literal["supervisor", "owner"]] = Field(
        default=["supervisor", "owner"], description="who is told: `supervisor`, `owner`, or both; default: both"
    )

    def sweeps(self) -> Iterator[tuple[Literal["morning", "evening"], SweepEntry]]:
        """The sweeps that the file has."""
        if self.morning is not None:
            yield "morning", self.morning
        if self.evening is not None:
            yield "evening", self.evening


def _read_size(value: Any) -> int | str:
    if value in ("none", "learned"):
        return str(value)
    if type(value) is int and 1 <= value <= MOST_ROOM:
        return value
    raise refusal(
        f"{show(value).capitalize()} is no room.",
        f"Write how many tasks a day a person can do, from 1 to {MOST_ROOM}, or `learned`, or `none`.",
    )


MOST_ROOM = 1000
RoomSize = Annotated[
    int | str,
    PlainValidator(_read_size),
    WithJsonSchema({"anyOf": [{"enum": ["none", "learned"]}, {"type": "integer", "minimum": 1, "maximum": MOST_ROOM}]}),
]


class RoomSection(forms.Shape):
    """How many tasks a day people can do, by person."""

    default: RoomSize = Field(default="none", description="whoever is not named below")
    people: dict[UserKey, RoomSize] = Field(
        default={}, description="by id, e-mail or name of an employee", examples=[{5: 4, "anna@example.com": 6}]
    )


def _room_kind(value: Any) -> str | None:
    if isinstance(value, dict):
        return "=room:people"
    return None if isinstance(value, list) else "=room:size"


def _no_room(value: Any) -> forms.Words:
    return f"{show(value).capitalize()} is no room.", "Write a number, `learned`, or `{default: 8, people: {5: 4}}`."


Room = Annotated[
    Annotated[RoomSize, Tag("=room:size")] | Annotated[RoomSection, Tag("=room:people")],
    forms.kinds("no_room", _room_kind, _no_room),
]


class SafetySection(forms.Shape):
    """Limits that hold back what looks like a mistake."""

    max_new_tasks: Annotated[int, Strict(), Field(ge=1)] = Field(
        default=1000, description="More new tasks in any ten minutes are held until an administrator releases them."
    )
    max_moves: Annotated[int, Strict(), Field(ge=1)] = Field(
        default=1000, description="The same for one sweep's moves."
    )
    watch: Flag = Field(default=False, description="true: decide and report everything, write nothing to the portal.")


def _read_version(value: Any) -> int:
    if value == 1 and type(value) is int:
        return 1
    raise refusal(f"{show(value).capitalize()} is no version that this program knows.", "Write `version: 1`.")


class File(forms.Shape):
    """rules.yaml of bitrix-sync: for every stage of every funnel, which task, whose, by when."""

    version: Annotated[int, PlainValidator(_read_version), WithJsonSchema({"const": 1})] = Field(
        description="`1`, the version of this language"
    )
    language: Language = Field(
        default=DEFAULT, description="`ru` or `en`: the language of notices, of lines in tasks and of the page"
    )
    timezone: Zone | None = Field(
        default=None,
        description=(
            "the zone of all times in the file, such as `Europe/Moscow`; default: the portal's own, see "
            "[below](#calendar-and-time-zone)"
        ),
    )
    admins: list[User] | None = Field(
        default=None,
        description=(
            "who hears of trouble: ids, e-mails or names of employees; default: `fallback_owner`, else the webhook's "
            "own user"
        ),
    )
    calendar: CalendarSection | None = Field(
        default=None,
        description="working days and hours; default: the portal's own, else Monday to Friday, 09:00 to 18:00",
    )
    supervisor: forms.Supervisor = Field(
        default="head", description="who controls every task that does not say otherwise"
    )
    on_close: Ending = Field(default="keep", description="what the open tasks of a won or lost deal undergo")
    fallback_owner: User | None = Field(
        default=None, description="who gets a task that nobody else can take: an id, e-mail or name; default: nobody"
    )
    room: Room = Field(
        default="none",
        description=(
            "how many tasks a day a person can do, so that a sweep finds a day for each: a number, `learned`, `none`, "
            "or `{default: learned, people: {5: 4}}`, see [Room](#room)"
        ),
    )
    away: Away = Field(
        default="keep",
        description=(
            "`substitute`: tasks of an employee who is away go to a substitute and come back, see "
            "[Away](#away-and-substitutes)"
        ),
    )
    substitutes: dict[UserKey, User] = Field(
        default={},
        description="who stands in for whom, both by id, e-mail or name; default: the head",
        examples=[{5: 7}],
    )
    next_step: NextStep = Field(
        default="none",
        description=(
            "`1 workday`: a deal in progress that has had no open task and no planned activity for longer than that is "
            "told to its responsible and their head, see [Next step](#next-step); default: `none`"
        ),
        examples=["1 workday"],
    )
    escalate: Annotated[
        Duration | None,
        PlainValidator(_read_escalate),
        WithJsonSchema(
            {
                "anyOf": [
                    {"const": "none"},
                    {"type": "string", "pattern": r"^\s*0*[1-9][0-9]{0,3}\s*(day|workday|week)s?\s*$"},
                ]
            }
        ),
    ] = Field(
        default=None,
        description=(
            "`2 workdays`: what stays undone beyond a `limit` goes one head higher each time so much has passed, see "
            "[Step by step](#step-by-step); default: it is told once"
        ),
        examples=["2 workdays"],
    )
    funnels: dict[StageKey, dict[StageKey, Stage]] = Field(
        min_length=1,
        description="the rules themselves",
    )
    overdue: OverdueSection | None = Field(default=None, description="the sweeps; default: no sweeps")
    safety: SafetySection = Field(
        default=SafetySection(), description="limits, and the trial mode; default: limits of 1000, no trial mode"
    )


SHAPES: dict[str, type[BaseModel]] = {
    "=event:done": forms.DoneEvent,
    "=event:stage": forms.StageEvent,
    "=event:filled": forms.FilledEvent,
    "=event:becomes": forms.BecomesEvent,
    "=start:done": forms.DoneEvent,
    "=start:filled": forms.FilledEvent,
    "=start:becomes": forms.BecomesEvent,
    "=start:idle": forms.IdleEvent,
    "=deadline:event": forms.ByEvent,
    "=deadline:field": forms.ByField,
    "=deadline:date": forms.OnDate,
    "=deadline:after": forms.AfterEntry,
    "=person:field": forms.PersonFromField,
    "=person:task": forms.PersonOfTask,
    "=person:department": forms.PersonFromDepartment,
    "=person:one_of": forms.PersonOutOf,
    "=test:wishes": forms.Wishes,
    "=overdue:own": TaskOverdue,
    "=room:people": RoomSection,
    "=stage:tasks": TaskEntry,
    "=stage:mapping": StageMapping,
    "tasks": TaskEntry,
    "calendar": CalendarSection,
    "morning": SweepEntry,
    "evening": SweepEntry,
    "move_to": forms.MoveTo,
    "overdue": OverdueSection,
    "safety": SafetySection,
}
"""The model at a tag or key of an error's place: who knows which keys could have been meant."""


SECTIONS: dict[str, tuple[type[BaseModel], ...]] = {
    "file": (File,),
    "task": (TaskEntry,),
    "deadline": (forms.AfterEntry, forms.ByField, forms.OnDate, forms.ByEvent),
    "calendar": (CalendarSection,),
    "overdue": (OverdueSection,),
}
"""The mappings whose keys ``docs/*/rules.md`` has a table of; those of several kinds with all of them."""


def keys_of(model: type[BaseModel]) -> list[str]:
    """The keys that a mapping of this shape takes, as they are written; its own go before the plain ones."""
    fields = sorted(model.model_fields.items(), key=lambda one: one[0] in DEFAULTS)
    return [field.alias or name for name, field in fields]


class Placed(NamedTuple):
    """A stage of the file and where it stands: ``path`` is the stage's, ``tasks_path`` that of its list of tasks."""

    funnel: str
    name: str
    path: Path
    tasks_path: Path
    stage: StageMapping


def stages(file: File) -> Iterator[Placed]:
    """Every stage of the file, in its order; one that is a list of tasks as if it were a mapping with them."""
    for funnel, named in file.funnels.items():
        for name, stage in named.items():
            path: Path = ("funnels", funnel, name)
            if isinstance(stage, StageMapping):
                yield Placed(funnel, name, path, (*path, "tasks"), stage)
            else:
                yield Placed(funnel, name, path, path, StageMapping.model_construct(tasks=stage))


def templates(task: TaskEntry) -> Iterator[tuple[Path, str]]:
    """The task's templates, each with its path below the task."""
    yield ("title",), task.title
    yield from (((key,), getattr(task, key)) for key in TEMPLATES if getattr(task, key))
    for index, item in enumerate(task.checklist):
        yield ("checklist", index), item
    for code, value in task.fields.items():
        if isinstance(value, str):
            yield ("fields", code), value
        elif isinstance(value, list):
            yield from ((("fields", code, index), one) for index, one in enumerate(value) if isinstance(one, str))
