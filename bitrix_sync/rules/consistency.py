"""What a file says, against itself: everything that can be wrong and needs no portal to be seen.

References between tasks, keys that contradict each other, templates, the calendar. What lacks a thing of the portal is
found in ``bind.py``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from bitrix_sync.rules import forms
from bitrix_sync.rules.deadlines import MINUTES
from bitrix_sync.rules.fields import not_for_fields
from bitrix_sync.rules.file import (
    CalendarSection,
    File,
    OverdueSection,
    Placed,
    TaskEntry,
    TaskOverdue,
    stages,
    templates,
)
from bitrix_sync.rules.plain_keys import PEOPLE
from bitrix_sync.rules.problem import Path, Remarks, show
from bitrix_sync.rules.scalars import EVERY, NOBODY, civil_day
from bitrix_sync.rules.suggest import cure, fold
from bitrix_sync.rules.templates import MAX_SOURCE, check_template, names_used
from bitrix_sync.rules.validation import STAND_IN

MAX_CODE = 100_000
"""Characters in the braces of a file's templates, what stands there twice counted once."""
FILLED_BY_PORTAL = "CLOSEDATE"

_BEGINS, _ENDED = re.compile(r"\{[{%#]"), re.compile(r"[}%#]\}")
_ENDS = {"{{": "}}", "{%": "%}", "{#": "#}"}


def judge(file: File, data: Mapping[str, Any], remarks: Remarks, *, offline: bool) -> None:
    """Say what is wrong with a file by itself. ``data``: the plain file, in which parts of a faulty shape are still.
    ``offline``: no portal will tell which names are one stage, so circles are sought among the names."""
    known = _written_ids(data)
    for path, rule in _tasks_named(("supervisor",), file.supervisor):
        _refer(path, rule, "", known, remarks)
    _judge_names(file, remarks)
    seen: dict[str, str] = {}
    for placed in stages(file):
        _judge_stage(placed, remarks)
        for path, task in _tasks(placed):
            _judge_id(task.id, (*path, "id"), placed, seen, remarks)
            _judge_task(task, path, placed, file, known, remarks)
    _judge_starts(file, remarks)
    if offline:
        _judge_circles(file, remarks)
    if file.calendar is not None:
        _judge_calendar(file.calendar, remarks)
    if file.overdue is not None:
        _judge_overdue(file.overdue, remarks)
    if file.escalate is not None and not _has_limit(file):
        remarks.warn(
            ("escalate",),
            "No `limit` stands in the file: nothing ever goes higher.",
            "Write one under `overdue`, or in a stage.",
            key=True,
        )


def _tasks(placed: Placed) -> Iterator[tuple[Path, TaskEntry]]:
    """The tasks of a stage that were written, each with its path."""
    for index, task in enumerate(placed.stage.tasks):
        if not task.id.startswith(STAND_IN):
            yield (*placed.tasks_path, index), task


def _judge_id(rule: str, path: Path, placed: Placed, seen: dict[str, str], remarks: Remarks) -> None:
    """No id twice; ``seen``: where those before stand."""
    key = rule.casefold()
    if key in seen:
        remarks.fault(path, f"Two tasks have the id `{rule}`: {seen[key]} has it too.", "Give one of them another.")
    seen.setdefault(key, " > ".join((placed.funnel, placed.name)))


def _judge_starts(file: File, remarks: Remarks) -> None:
    """No tasks that wait for each other's end in a circle."""
    starts = {
        task.id: (task.start.done, (*path, "start"))
        for placed in stages(file)
        for path, task in _tasks(placed)
        if isinstance(task.start, forms.DoneEvent)
    }
    for circle in cycles({rule: after for rule, (after, _) in starts.items() if after != rule}):
        remarks.fault(
            starts[circle[0]][1],
            f"None of these tasks would ever appear, each waits for another: {' → '.join((*circle, circle[0]))}.",
            "Let one of them start on entry.",
        )


def cycles(edges: Mapping[str, str]) -> list[list[str]]:
    """The circles of a graph in which each node points to one other, each once, beginning with its first node."""
    found: list[list[str]] = []
    done: set[str] = set()
    for start in edges:
        way: dict[str, None] = {}
        node: str | None = start
        while node is not None and node in edges and node not in done and node not in way:
            way[node] = None
            node = edges[node]
        if node is not None and node in way:
            met = list(way)
            found.append(met[met.index(node) :])
        done |= way.keys()
    return found


# --- names -----------------------------------------------------------------------------------------------------------


def _written_ids(data: Mapping[str, Any]) -> Collection[str]:
    """Every id that stands in the file, each once, even that of a task which is wrong otherwise."""
    found: dict[str, None] = {}
    for funnel in _values(data.get("funnels")):
        for stage in _values(funnel):
            for task in _values(stage.get("tasks") if isinstance(stage, dict) else stage):
                if isinstance(task, dict) and isinstance(task.get("id"), str | int):
                    found[str(task["id"])] = None
    return found.keys()


def _values(holder: Any) -> Iterable[Any]:
    """What a mapping or list holds; nothing, where neither stands."""
    return holder.values() if isinstance(holder, dict) else holder if isinstance(holder, list) else ()


def _judge_names(file: File, remarks: Remarks) -> None:
    """No funnel and no stage of a funnel twice under one name."""
    _judge_keys(("funnels",), file.funnels, remarks)
    for funnel, named in file.funnels.items():
        _judge_keys(("funnels", funnel), named, remarks)


def _judge_keys(path: Path, keys: Mapping[str, Any], remarks: Remarks) -> None:
    first: dict[str, str] = {}
    for key in keys:
        if fold(key) in first:
            remarks.fault((*path, key), f"`{first[fold(key)]}` and `{key}` are one name.", "Join the two.", key=True)
        first.setdefault(fold(key), key)


def _judge_stage(placed: Placed, remarks: Remarks) -> None:
    target = placed.stage.advance_to
    if target is None:
        return
    if fold(target) == fold(placed.name):
        remarks.fault((*placed.path, "advance_to"), "The stage would advance to itself.", "Name another stage.")
    elif target == EVERY:
        remarks.fault((*placed.path, "advance_to"), "`*` is no stage to advance to.", "Name one stage.")


def _judge_circles(file: File, remarks: Remarks) -> None:
    advancing: dict[str, dict[str, Placed]] = {}
    for placed in stages(file):
        if placed.stage.advance_to:
            advancing.setdefault(placed.funnel, {})[fold(placed.name)] = placed
    for targets in advancing.values():
        edges = {name: fold(placed.stage.advance_to or "") for name, placed in targets.items()}
        for circle in cycles({name: target for name, target in edges.items() if name != target}):
            named = [targets[name].name for name in (*circle, circle[0])]
            warn_of_circle((*targets[circle[0]].path, "advance_to"), named, remarks)


def warn_of_circle(path: Path, stages: Iterable[str], remarks: Remarks) -> None:
    """Stages that advance to each other, from the first to the first again."""
    remarks.warn(
        path, f"Deals would go round in a circle: {' → '.join(stages)}.", "Let one of these stages not advance."
    )


def _refer(path: Path, rule: str, own: str, known: Collection[str], remarks: Remarks) -> None:
    """A reference to another task."""
    if rule == own:
        remarks.fault(path, f"The task `{rule}` refers to itself.", "Name another task's id.")
    elif rule not in known:
        remarks.fault(path, f"No task has the id `{rule}`.", cure(rule, known, "The ids are"))


# --- tasks -----------------------------------------------------------------------------------------------------------


def _judge_task(
    task: TaskEntry, path: Path, placed: Placed, file: File, known: Collection[str], remarks: Remarks
) -> None:
    for below, source in templates(task):
        for problem in template_problems(source):
            end = "" if problem.endswith(("?", ".")) else "."
            remarks.fault((*path, *below), f"The template is wrong: {problem}{end}")
    _judge_keys((*path, "fields"), task.fields, remarks)
    for code in task.fields:
        if (reason := not_for_fields(code)) is not None:
            remarks.fault((*path, "fields", code), *reason, key=True)
    if isinstance(task.start, forms.DoneEvent):
        _refer((*path, "start", "done"), task.start.done, task.id, known, remarks)
    for below, rule in _persons_tasks(task):
        _refer((*path, *below), rule, task.id, known, remarks)
    for below, deadline in deadlines(("deadline",), task.deadline):
        _judge_deadline(deadline, (*path, *below), task, placed, known, remarks)
    if task.condition is not None:
        _judge_conditions(task.condition, (*path, "if"), remarks)
    if isinstance(task.start, forms.BecomesEvent):
        _judge_event(task.start, (*path, "start"), remarks)
    _judge_endings(task, path, file, remarks)
    _judge_control(task, path, file, remarks)
    _judge_repeats(task, path, remarks)


def _judge_repeats(task: TaskEntry, path: Path, remarks: Remarks) -> None:
    """What moves an overdue deadline, what makes the next task."""
    if isinstance(task.overdue, TaskOverdue) and task.overdue.move_to is not None:
        _judge_time(task.overdue.move_to, (*path, "overdue", "move_to"), remarks)
    if task.again is not None and isinstance(task.start, forms.IdleEvent):
        remarks.fault(
            (*path, "again"),
            "`again` does not go with `start: {idle: ...}`, which makes the next task by itself.",
            "Leave one of them out.",
            key=True,
        )
    if task.again is not None and task.repeat == "once":
        remarks.warn(
            (*path, "again"), "`again` makes no next task where `repeat: once` allows one for ever.", "Leave one out."
        )


def _judge_endings(task: TaskEntry, path: Path, file: File, remarks: Remarks) -> None:
    """The portal refuses to complete a task without its result, and parks one whose result must be accepted."""
    demand = "result_required" if task.result_required else "control"
    if task.result_required or task.control:
        if task.on_leave == "complete":
            _cannot_complete("on_leave", demand, (*path, "on_leave"), "", remarks)
        if task.on_close == "complete":
            _cannot_complete("on_close", demand, (*path, "on_close"), "", remarks)
        elif task.on_close is None and file.on_close == "complete":
            _cannot_complete("on_close", demand, (*path, demand), ", and the file says `on_close: complete`", remarks)


def _judge_control(task: TaskEntry, path: Path, file: File, remarks: Remarks) -> None:
    if task.control and (task.supervisor or file.supervisor) == NOBODY:
        remarks.fault(
            (*path, "control"), "`control` needs a supervisor, and there is none.", "Name a `supervisor` for the task."
        )


def _cannot_complete(key: str, demand: str, path: Path, whose: str, remarks: Remarks) -> None:
    where = " in the task" if key == "on_close" else ""
    remarks.fault(
        path,
        f"A task with `{demand}: true` cannot be completed by itself{whose}.",
        f"Write `{key}: keep`, `defer` or `delete`{where}, or leave `{demand}` out.",
    )


def _judge_deadline(
    deadline: forms.Timed, path: Path, task: TaskEntry, placed: Placed, known: Collection[str], remarks: Remarks
) -> None:
    if isinstance(deadline, forms.Counted):
        _judge_time(deadline, path, remarks)
    if isinstance(deadline, forms.ByField):
        if deadline.before is not None and deadline.after is not None:
            remarks.fault(
                (*path, "before"), "`before` and `after` do not go together.", "Leave one of them out.", key=True
            )
        if fold(deadline.field) == fold(FILLED_BY_PORTAL):
            warn_of_closedate((*path, "field"), remarks)
    if isinstance(deadline, forms.ByEvent):
        if isinstance(deadline.event, forms.DoneEvent):
            _refer((*path, "event", "done"), deadline.event.done, task.id, known, remarks)
        elif isinstance(deadline.event, forms.BecomesEvent):
            _judge_event(deadline.event, (*path, "event"), remarks)
        elif isinstance(deadline.event, forms.StageEvent) and fold(deadline.event.stage) == fold(placed.name):
            remarks.fault(
                (*path, "event", "stage"), "The deal is in this very stage already.", "Name another stage to wait for."
            )


def warn_of_past(file: File, now: datetime | None, remarks: Remarks) -> None:
    """Certain days of rules that are past; ``now`` None: nobody knows."""
    today = now.astimezone(ZoneInfo(file.timezone) if file.timezone else UTC).date() if now is not None else date.min
    for placed in stages(file):
        for path, task in _tasks(placed):
            for below, day in _certain_days(task):
                if day < today:
                    remarks.warn((*path, *below), f"The day `{day}` is past.", "Write a day to come.")


def _certain_days(task: TaskEntry) -> Iterator[tuple[Path, date]]:
    """The days that a task names: as its deadline, or for its fields."""
    for path, deadline in deadlines(("deadline",), task.deadline):
        if isinstance(deadline, forms.OnDate):
            yield (*path, "date"), deadline.date
    for code, value in task.fields.items():
        if (day := civil_day(value)) is not None:
            yield ("fields", code), day


def warn_of_closedate(path: Path, remarks: Remarks) -> None:
    """The trap among the portal's own fields."""
    remarks.warn(
        path,
        "The portal fills CLOSEDATE itself, a week after a deal's creation.",
        "If nobody corrects it there, use a date field of your own.",
    )


def _judge_time(timed: forms.Counted | forms.MoveTo, path: Path, remarks: Remarks) -> None:
    """Minutes and hours lead to a time of day of their own."""
    spans = (timed.after, timed.before) if isinstance(timed, forms.ByField) else (timed.after,)
    unit = next((span.unit for span in spans if span is not None and span.unit in MINUTES), None)
    if unit and timed.at is not None:
        remarks.fault(
            (*path, "at"),
            f"`at` does not go with {unit}, which lead to a time of day themselves.",
            "Leave `at` out, or count in days or workdays.",
            key=True,
        )


def _judge_event(event: forms.BecomesEvent, path: Path, remarks: Remarks) -> None:
    """Conditions that something waits for."""
    said = event.becomes
    if not (said.model_extra or said.any_of or said.no):
        wrong = "No condition stands here, so it holds from the beginning."
        remarks.fault((*path, "becomes"), wrong, "Write one, as `{UF_CRM_STATE: Paid}`.", key=True)
    _judge_conditions(said, (*path, "becomes"), remarks)


def _judge_conditions(conditions: forms.Conditions, path: Path, remarks: Remarks) -> None:
    for name, test in (conditions.model_extra or {}).items():
        if isinstance(test, forms.Wishes) and _is_number(test.min) and _is_number(test.max) and test.min > test.max:
            wrong = f"Nothing is at least {test.min} and at most {test.max}."
            remarks.fault((*path, name), wrong, "Swap the two.")
    for index, part in enumerate(conditions.any_of or ()):
        _judge_conditions(part, (*path, "any", index), remarks)
    if conditions.no is not None:
        _judge_conditions(conditions.no, (*path, "not"), remarks)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def deadlines(path: Path, deadline: forms.Timed) -> Iterator[tuple[Path, forms.Timed]]:
    """A deadline and those after its ``else``, each with its path."""
    yield path, deadline
    if isinstance(deadline, forms.ByField | forms.ByEvent):
        yield from deadlines((*path, "else"), deadline.otherwise)


def _persons_tasks(task: TaskEntry) -> Iterator[tuple[Path, str]]:
    """Every ``{task: id}`` among the persons of a task."""
    yield from _tasks_named(("owner",), task.owner)
    yield from _tasks_named(("supervisor",), task.supervisor)
    for key in PEOPLE:
        for index, person in enumerate(getattr(task, key)):
            yield from _tasks_named((key, index), person)


def _tasks_named(path: Path, person: Any) -> Iterator[tuple[Path, str]]:
    if isinstance(person, forms.PersonOfTask):
        yield (*path, "task"), person.task
    if isinstance(person, forms.PersonOutOf):
        for index, one in enumerate(person.one_of):
            yield from _tasks_named((*path, "one_of", index), one)
    otherwise = getattr(person, "otherwise", None)
    if otherwise is not None:
        yield from _tasks_named((*path, "else"), otherwise)


# --- templates -------------------------------------------------------------------------------------------------------


def too_much_code(file: File) -> bool:
    """True when reading the file's templates would take long."""
    sources = (source for placed in stages(file) for task in placed.stage.tasks for _, source in templates(task))
    return sum(map(len, {one for source in sources if (one := _marked(source))})) > MAX_CODE


def template_problems(source: str) -> list[str]:
    """What is wrong with a template. Only what stands in braces is looked at, and the same but once: most titles of a
    large file differ in their plain words alone."""
    marked = _marked(source)
    if marked == "" or (marked is not None and not _problems(marked)):
        return []
    return check_template(source)


def template_names(source: str) -> frozenset[str]:
    """What a template reads: ``deal.TITLE``, ``company``."""
    marked = _marked(source)
    return frozenset() if marked == "" else _names(source if marked is None else marked)


@lru_cache(maxsize=8192)
def _marked(source: str) -> str | None:
    """What stands in braces, "" when nothing does; None when that cannot be told without reading the whole."""
    if len(source) > MAX_SOURCE:
        return None
    found: list[str] = []
    rest = ""
    at = 0
    while (begins := _BEGINS.search(source, at)) is not None:
        ends = source.find(_ENDS[begins[0]], begins.end())
        if ends < 0:
            return None
        found.append(source[begins.start() : ends + 2])
        rest += source[at : begins.start()]
        at = ends + 2
    return None if _ENDED.search(rest + source[at:]) else "".join(found)


@lru_cache(maxsize=2048)
def _problems(marked: str) -> tuple[str, ...]:
    return tuple(check_template(marked))


@lru_cache(maxsize=2048)
def _names(marked: str) -> frozenset[str]:
    return frozenset(names_used(marked))


# --- calendar and sweeps ---------------------------------------------------------------------------------------------


def _judge_calendar(calendar: CalendarSection, remarks: Remarks) -> None:
    if isinstance(calendar.hours, dict) and calendar.workdays is not None:
        remarks.fault(
            ("calendar", "workdays"),
            "`hours` says already which days are working days.",
            "Leave `workdays` out.",
            key=True,
        )
    off = frozenset(calendar.days_off)
    for index, day in enumerate(calendar.working_days):
        if day in off:
            remarks.fault(
                ("calendar", "working_days", index), f"{show(day)} is in `days_off` too.", "Leave it in one of the two."
            )


def _has_limit(file: File) -> bool:
    limits = [file.overdue is not None and file.overdue.limit is not None]
    for placed in stages(file):
        limits.append(placed.stage.limit is not None)
        limits += [
            isinstance(task.overdue, TaskOverdue) and task.overdue.limit is not None for task in placed.stage.tasks
        ]
    return any(limits)


def _judge_overdue(overdue: OverdueSection, remarks: Remarks) -> None:
    for name, sweep in overdue.sweeps():
        _judge_time(sweep.move_to, ("overdue", name, "move_to"), remarks)
    if overdue.morning is None and overdue.evening is None:
        remarks.warn(
            ("overdue",), "There is no sweep: nothing overdue is ever moved.", "Add `morning` or `evening`.", key=True
        )
    if overdue.morning and overdue.evening and overdue.morning.at >= overdue.evening.at:
        remarks.warn(("overdue", "morning", "at"), "The morning begins after the evening.", "Check the two times.")
