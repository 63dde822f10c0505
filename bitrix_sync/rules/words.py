"""Rules told in words, as they are in force: by stage, for people who do not read YAML. Pure.

A sheet is what the file says of one stage, JSON-able: ``funnel``, ``stage``, ``stage_id``, ``limit``, ``advance`` and
``tasks``, each with ``id``, ``title``, ``owner``, ``deadline``, ``supervisor``, ``notes`` and ``disabled``. The
``frame`` are sentences about the whole file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from bitrix_sync.model.facts import Directory
from bitrix_sync.rules import model
from bitrix_sync.rules.plain_keys import DEFAULTS
from bitrix_sync.words.texts import counted, day_text, number_text, phrase

Sheet = Mapping[str, Any]

GONE = "—"
"""Stands for a funnel or stage that the portal does not have any more."""
_COLUMNS = frozenset(
    {"id", "stage_ids", "order", "title", "description", "deadline", "owner", "supervisor", "disabled"}
)
_NOTED = {
    one.name: one.default
    for one in sorted(fields(model.Rule), key=lambda one: one.name in DEFAULTS)
    if one.name not in _COLUMNS
}
"""What is told of a rule besides its columns, each with what is usual."""
_AFTER = {"minutes": "in_minutes", "workminutes": "in_workminutes", "weeks": "in_weeks"}
"""Units whose noun is another one after "in" (Russian)."""


def sheets(rules: model.Rules, directory: Directory) -> tuple[Sheet, ...]:
    """A sheet for each stage that the file says something of, in the portal's order; then for those that are gone."""
    words = Words(rules, directory)
    funnels = {funnel.id: funnel.name for funnel in directory.funnels}
    found: list[Sheet] = []
    shown: set[str] = set()
    for stage in directory.stages:
        policy = rules.policies.get(stage.id)
        if policy is not None and policy.says:
            found.append(words.sheet(funnels[stage.funnel_id], stage.name, policy))
            shown |= {rule.id for rule in policy.rules}
    lost = (rule for rule in rules.by_id.values() if rule.id not in shown)
    return (*found, *(words.sheet(GONE, policy.stage_id or GONE, policy) for policy in _gone(lost)))


def _gone(rules: Iterable[model.Rule]) -> list[model.StagePolicy]:
    """The stages in which these rules stand, each place of several as one."""
    found: dict[str, list[model.Rule]] = {}
    for rule in rules:
        found.setdefault(", ".join(sorted(rule.stage_ids)), []).append(rule)
    return [model.StagePolicy(stage_id, 0, tuple(of_stage)) for stage_id, of_stage in found.items()]


def frame(rules: model.Rules, directory: Directory) -> tuple[str, ...]:
    """What the file says of everything: sweeps, the limit of moves, whether anything is written at all."""
    words = Words(rules, directory)
    lines: list[str] = []
    if rules.safety.watch:
        lines.append(words.say("rule.watch"))
    if rules.overdue is None or not rules.overdue.moves:
        lines.append(words.say("rule.no_sweeps"))
    if rules.overdue is not None and not rules.overdue.moves:
        lines.append(words.say("rule.just_telling"))
    if rules.overdue is not None and rules.overdue.moves:
        lines += [
            words.say(f"rule.sweep.{slot.name}", at=f"{slot.at:%H:%M}", to=words.deadline(slot.move_to))
            for slot in rules.overdue.slots
            if slot.at is not None
        ]
        lines.append(words.say(f"rule.scope.{rules.overdue.tasks}"))
        if rules.overdue.limit is not None:
            lines.append(words.say("rule.limit", count=rules.overdue.limit))
    if rules.escalate is not None:
        lines.append(words.say("rule.escalate", span=duration_text(rules.language, rules.escalate, after=True)))
    lines += words.next_steps()
    lines += words.room()
    if rules.away != "keep":
        lines.append(words.say(f"rule.away.{rules.away}"))
    name = directory.company.name
    pairs = [words.say("rule.substitute", name=name(one), other=name(two)) for one, two in rules.substitutes.items()]
    if pairs:
        lines.append(words.say("rule.substitutes", pairs=", ".join(pairs)))
    lines.append(words.say("rule.safety", tasks=rules.safety.max_new_tasks, moves=rules.safety.max_moves))
    return tuple(lines)


def duration_text(language: str, duration: model.Duration, *, after: bool = False) -> str:
    """``2 рабочих дня``; ``after``: as it stands after "in" and "not later than"."""
    noun = _AFTER.get(duration.unit, duration.unit) if after else duration.unit
    return counted(language, duration.amount, noun)


@dataclass(frozen=True, slots=True)
class Words:
    """Names of one portal and the language of one file."""

    rules: model.Rules
    directory: Directory

    def say(self, key: str, **values: Any) -> str:
        """A message of the catalogue."""
        return phrase(self.rules.language, key, **values)

    def sheet(self, funnel: str, stage: str, policy: model.StagePolicy) -> Sheet:
        """One stage."""
        return {
            "funnel": funnel,
            "stage": stage,
            "stage_id": policy.stage_id,
            "limit": duration_text(self.rules.language, policy.limit) if policy.limit else "",
            "advance": self.stage(policy.advance_to) if policy.advance_to else "",
            "tasks": [self.task(rule) for rule in policy.rules],
        }

    def task(self, rule: model.Rule) -> dict[str, Any]:
        """One rule."""
        return {
            "id": rule.id,
            "title": rule.title,
            "owner": self.person(rule.owner),
            "deadline": self.deadline(rule.deadline),
            "supervisor": self.person(rule.supervisor),
            "notes": list(self.notes(rule)),
            "disabled": rule.disabled,
        }

    def notes(self, rule: model.Rule) -> tuple[str, ...]:
        """What is not as usual in a rule."""
        said = {name: getattr(rule, name) for name, usual in _NOTED.items() if getattr(rule, name) != usual}
        if "fields" in said:
            said["fields"] = tuple(map(self.task_field, dict(rule.fields)))
        if rule.project is not None:
            said["project"] = (self.group(rule.project),)
        notes: list[str] = []
        for key, value in said.items():
            if isinstance(value, model.OverdueOverride):
                parts = {"never": value.never or None, "limit": value.limit, "move": value.move_to}
                notes += [self._note(f"{key}_{part}", own) for part, own in parts.items() if own is not None]
            else:
                notes.append(self._note(key, value))
        return tuple(notes)

    def _note(self, key: str, value: Any) -> str:
        if isinstance(value, str):
            return self.say(f"rule.note.{key}.{value}")
        return self.say(f"rule.note.{key}", value=self._told(value))

    def _told(self, value: Any) -> Any:
        """A value of a rule, whatever it is."""
        match value:
            case model.Duration():
                return self._span(value)
            case model.Deadline():
                return self.deadline(value)
            case model.Done() | model.Becomes() | model.Idle():
                return self.event(value)
            case model.Test() | model.AllOf() | model.AnyOf() | model.Not():
                return self.condition(value)
            case tuple():
                return ", ".join(str(self._told(one)) for one in value)
            case int() | str():
                return value
        return self.person(value)

    def group(self, number: int) -> str:
        """A workgroup by its name, or its number."""
        return self.directory.group_names.get(number) or str(number)

    def next_steps(self) -> list[str]:
        """How long deals may stand without a next step, and where, if not everywhere alike."""
        stages: dict[model.Duration, list[str]] = {}
        for stage, span in self.rules.next_steps.items():
            stages.setdefault(span, []).append(self.stage(stage))
        texts = {span: duration_text(self.rules.language, span) for span in stages}
        if len(stages) == 1:
            return [self.say("rule.next_step", span=text) for text in texts.values()]
        return [
            self.say("rule.next_step_in", span=texts[span], stages=", ".join(names)) for span, names in stages.items()
        ]

    def room(self) -> list[str]:
        """How many tasks a day people can do."""
        room, lines = self.rules.room, list[str]()
        if room.default is not None:
            kind = "learned" if room.default == "learned" else "number"
            lines.append(self.say(f"rule.room.{kind}", count=room.default))
        if room.people:
            name = self.directory.company.name
            people = ", ".join(f"{name(user)}: {self._size(size)}" for user, size in room.people.items())
            lines.append(self.say("rule.room.people", people=people))
        return lines

    def _size(self, size: model.Size) -> str:
        return str(size) if isinstance(size, int) else self.say(f"rule.room.{size or 'none'}_one")

    def task_field(self, code: str) -> str:
        """A user field of tasks by its title."""
        field = self.rules.task_fields.get(code)
        return field.title if field else code

    # --- deadlines ---------------------------------------------------------------------------------------------------

    def deadline(self, deadline: model.Deadline) -> str:
        """By when, with the other branch."""
        text = self._moment(deadline)
        if deadline.at is not None:
            text = self.say("rule.at", moment=text, at=f"{deadline.at:%H:%M}")
        if deadline.on_day_off is not None:
            text += self.say(f"rule.day_off.{deadline.on_day_off}")
        if deadline.otherwise is not None:
            text = self.say("rule.else", this=text, other=self.deadline(deadline.otherwise))
        return text

    def _moment(self, deadline: model.Deadline) -> str:
        kind, name = self._origin(deadline)
        span = deadline.offset
        side = "" if span is None or span.amount == 0 else "_after" if deadline.direction > 0 else "_before"
        return self.say(f"rule.{kind}{side}", name=name, span=self._span(span))

    def _origin(self, deadline: model.Deadline) -> tuple[str, str]:
        """What kind of thing it counts from, and which."""
        if deadline.event is not None:
            return "event", self.event(deadline.event)
        if deadline.field is not None:
            return "field", self.field(deadline.field)
        if deadline.date is not None:
            return "date", day_text(self.rules.language, deadline.date, weekday=False, year=True)
        return "entry", ""

    def _span(self, duration: model.Duration | None) -> str:
        return duration_text(self.rules.language, duration, after=True) if duration else ""

    def event(self, event: model.Event | model.Idle) -> str:
        """What is waited for."""
        match event:
            case model.Done(rule=name):
                return self.say("event.done", name=name)
            case model.Becomes(condition=condition):
                if event.field:
                    return self.say("event.filled", name=self.field(event.field))
                return self.say("event.becomes", name=self.condition(condition))
            case model.Idle(span=span):
                return self.say("event.idle", name=duration_text(self.rules.language, span))
            case model.Entered(stages=stages):
                names = dict.fromkeys(self.stage(one) for one in sorted(stages))
                return self.say("event.stage", name=" / ".join(names))

    # --- names -------------------------------------------------------------------------------------------------------

    def field(self, code: str) -> str:
        """A field's title, or its code."""
        found = self.rules.deal_fields.get(code)
        return str(found.title) if found is not None and found.title else code

    def stage(self, stage_id: str) -> str:
        """A stage's name, or its id."""
        return self.rules.stage_names.get(stage_id, stage_id)

    def person(self, person: model.Person) -> str:
        """Who, with the other one."""
        otherwise = getattr(person, "otherwise", None)
        text = self._who(person)
        return self.say("rule.else", this=text, other=self.person(otherwise)) if otherwise else text

    def _who(self, person: model.Person) -> str:
        match person:
            case model.Responsible() | model.Creator() | model.Head() | model.Nobody():
                return self.say(f"rule.who.{type(person).__name__.lower()}")
            case model.UserId(id=number):
                return self.directory.company.name(number)
            case model.FromField(field=code):
                return self.say("rule.who.field", name=self.field(code))
            case model.OwnerOf(rule=name):
                return self.say("rule.who.task", name=name)
            case model.FromDepartment(department_id=number, pick=pick):
                department = self.directory.company.departments.get(number)
                name = department.name if department else f"#{number}"
                return self.say("rule.who.department", name=name, pick=self.say(f"rule.pick.{pick}"))
            case model.OneOf(persons=persons, pick=pick):
                names = ", ".join(map(self.person, persons))
                return self.say("rule.who.one_of", names=names, pick=self.say(f"rule.pick.{pick}"))

    # --- conditions --------------------------------------------------------------------------------------------------

    def condition(self, condition: model.Condition) -> str:
        """What must hold."""
        match condition:
            case model.Test(field=code, op=op, value=value):
                return f"{self.field(code)}: {self._wish(code, op, value)}"
            case model.AllOf(parts=parts):
                return self.say("rule.and").join(self.condition(part) for part in parts)
            case model.AnyOf(parts=parts):
                return "(" + self.say("rule.or").join(self.condition(part) for part in parts) + ")"
            case model.Not(part=part):
                return self.say("rule.not", what=self.condition(part))

    def _wish(self, code: str, op: str, value: Any) -> str:
        if op == "filled":
            return self.say("want.filled" if value else "want.empty")
        key = "want.not_in" if op == "not" and isinstance(value, list | tuple | frozenset) else f"want.{op}"
        return self.say(key, value=self._value(code, value))

    def _value(self, code: str, value: Any) -> str:
        if isinstance(value, list | tuple | frozenset | set):
            return ", ".join(self._value(code, one) for one in value)
        found = self.rules.deal_fields.get(code)
        if found is not None and str(value) in found.options:
            return str(found.options[str(value)])
        if isinstance(value, bool):
            return self.say("seen.choice", value=value)
        return number_text(self.rules.language, value) if isinstance(value, int | float) else str(value)
