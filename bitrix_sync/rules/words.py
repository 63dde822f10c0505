"""Rules told in words, as they are in force: by stage, for people who do not read YAML. Pure.

A sheet is what the file says of one stage, JSON-able: ``funnel``, ``stage``, ``stage_id``, ``limit``, ``advance`` and
``tasks``, each with ``id``, ``title``, ``owner``, ``deadline``, ``supervisor``, ``notes`` and ``disabled``. The
``frame`` are sentences about the whole file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bitrix_sync.model.facts import Directory
from bitrix_sync.rules.model import (
    AllOf,
    AnyOf,
    Condition,
    Creator,
    Deadline,
    Done,
    Duration,
    Entered,
    Event,
    Filled,
    FromDepartment,
    FromField,
    Head,
    Nobody,
    Not,
    OneOf,
    OwnerOf,
    Person,
    Responsible,
    Rule,
    Rules,
    Test,
    UserId,
)
from bitrix_sync.rules.plain_keys import DEFAULTS
from bitrix_sync.words.texts import counted, day_text, number_text, phrase

Sheet = Mapping[str, Any]

GONE = "—"
"""Stands for a funnel or stage that the portal does not have any more."""
_AFTER = {"minutes": "in_minutes", "workminutes": "in_workminutes", "weeks": "in_weeks"}
"""Units whose noun is another one after "in" (Russian)."""


def sheets(rules: Rules, directory: Directory) -> tuple[Sheet, ...]:
    """A sheet for each stage that the file says something of, in the portal's order; then for those that are gone."""
    words = Words(rules, directory)
    found: list[Sheet] = []
    for funnel in directory.funnels:
        for stage in funnel.stages:
            policy = rules.policies.get(stage.id)
            if policy is None or not (policy.rules or policy.limit or policy.advance_to):
                continue
            found.append(
                {
                    "funnel": funnel.name,
                    "stage": stage.name,
                    "stage_id": stage.id,
                    "limit": duration_text(rules.language, policy.limit) if policy.limit else "",
                    "advance": words.stage(policy.advance_to) if policy.advance_to else "",
                    "tasks": [words.task(rule) for rule in policy.rules],
                }
            )
    shown = {task["id"] for sheet in found for task in sheet["tasks"]}
    lost: dict[str, list[Rule]] = {}
    for rule in rules.by_id.values():
        if rule.id not in shown:
            lost.setdefault(", ".join(sorted(rule.stage_ids)), []).append(rule)
    for stage_id, of_stage in lost.items():
        tasks = [words.task(rule) for rule in of_stage]
        where = {"funnel": GONE, "stage": stage_id or GONE, "stage_id": stage_id, "limit": "", "advance": ""}
        found.append({**where, "tasks": tasks})
    return tuple(found)


def frame(rules: Rules, directory: Directory) -> tuple[str, ...]:
    """What the file says of everything: sweeps, the limit of moves, whether anything is written at all."""
    words = Words(rules, directory)
    lines: list[str] = []
    if rules.safety.watch:
        lines.append(words.say("rule.watch"))
    if rules.overdue is None:
        lines.append(words.say("rule.no_sweeps"))
    if rules.overdue:
        lines += [
            words.say(f"rule.sweep.{slot.name}", at=f"{slot.at:%H:%M}", to=words.deadline(slot.move_to))
            for slot in rules.overdue.slots
        ]
        lines.append(words.say(f"rule.scope.{rules.overdue.tasks}"))
        if rules.overdue.limit is not None:
            lines.append(words.say("rule.limit", count=rules.overdue.limit))
    lines.append(words.say("rule.safety", tasks=rules.safety.max_new_tasks, moves=rules.safety.max_moves))
    return tuple(lines)


def duration_text(language: str, duration: Duration, *, after: bool = False) -> str:
    """``2 рабочих дня``; ``after``: as it stands after "in" and "not later than"."""
    noun = _AFTER.get(duration.unit, duration.unit) if after else duration.unit
    return counted(language, duration.amount, noun)


@dataclass(frozen=True, slots=True)
class Words:
    """Names of one portal and the language of one file."""

    rules: Rules
    directory: Directory

    def say(self, key: str, **values: Any) -> str:
        """A message of the catalogue."""
        return phrase(self.rules.language, key, **values)

    def task(self, rule: Rule) -> dict[str, Any]:
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

    def notes(self, rule: Rule) -> tuple[str, ...]:
        """What is not as usual in a rule."""
        override = rule.overdue
        notes: tuple[tuple[Any, str, Callable[[], Mapping[str, Any]]], ...] = (
            (rule.condition != AllOf(()), "if", lambda: {"what": self.condition(rule.condition)}),
            (rule.start, "start", lambda: {"event": self.event(rule.start) if rule.start else ""}),
            (rule.on_close != "keep", f"on_close.{rule.on_close}", dict),
            (rule.checklist, "checklist", lambda: {"items": ", ".join(rule.checklist)}),
            (
                rule.fields,
                "fields",
                lambda: {"codes": ", ".join(map(self.task_field, (code for code, _ in rule.fields)))},
            ),
            (rule.observers, "observers", lambda: {"who": ", ".join(map(self.person, rule.observers))}),
            (rule.participants, "participants", lambda: {"who": ", ".join(map(self.person, rule.participants))}),
            (override and override.never, "overdue_never", dict),
            (
                override and override.limit is not None,
                "overdue_limit",
                lambda: {"count": override.limit if override else 0},
            ),
            (
                override and override.move_to,
                "overdue_move",
                lambda: {"to": self.deadline(override.move_to) if override and override.move_to else ""},
            ),
        )
        told = [self.say(f"rule.note.{key}", **values()) for holds, key, values in notes if holds]
        plain = [self._plain(key, getattr(rule, key)) for key, usual in DEFAULTS.items() if getattr(rule, key) != usual]
        return (*told, *plain)

    def _plain(self, key: str, value: Any) -> str:
        """A plain key that is not as usual."""
        match value:
            case str():
                return self.say(f"rule.note.{key}.{value}")
            case Duration():
                value = self._span(value)
            case tuple():
                value = ", ".join(map(str, value))
        return self.say(f"rule.note.{key}", value=value)

    def task_field(self, code: str) -> str:
        """A user field of tasks by its title."""
        field = self.rules.task_fields.get(code)
        return field.title if field else code

    # --- deadlines ---------------------------------------------------------------------------------------------------

    def deadline(self, deadline: Deadline) -> str:
        """By when, with the other branch."""
        text = self._moment(deadline)
        if deadline.at is not None:
            text = self.say("rule.at", moment=text, at=f"{deadline.at:%H:%M}")
        if deadline.on_day_off is not None:
            text += self.say(f"rule.day_off.{deadline.on_day_off}")
        if deadline.otherwise is not None:
            text = self.say("rule.else", this=text, other=self.deadline(deadline.otherwise))
        return text

    def _moment(self, deadline: Deadline) -> str:
        offset = deadline.offset
        span = self._span(offset)
        none = offset is None or offset.amount == 0
        side = "after" if deadline.direction > 0 else "before"
        if deadline.event is not None:
            event = self.event(deadline.event)
            return self.say("rule.on_event", event=event) if none else self.say("rule.event", event=event, span=span)
        if deadline.field is not None or deadline.date is not None:
            name = self.field(deadline.field) if deadline.field is not None else self._date(deadline)
            kind = "field" if deadline.field is not None else "date"
            return self.say(f"rule.{kind}" if none else f"rule.{kind}_{side}", name=name, span=span)
        return self.say("rule.same_day") if none else self.say("rule.after", span=span)

    def _date(self, deadline: Deadline) -> str:
        return day_text(self.rules.language, deadline.date, weekday=False, year=True) if deadline.date else ""

    def _span(self, duration: Duration | None) -> str:
        return duration_text(self.rules.language, duration, after=True) if duration else ""

    def event(self, event: Event) -> str:
        """What is waited for."""
        match event:
            case Done(rule=name):
                return self.say("event.done", name=name)
            case Filled(field=code):
                return self.say("event.filled", name=self.field(code))
            case Entered(stages=stages):
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

    def person(self, person: Person) -> str:
        """Who."""
        match person:
            case Responsible():
                return self.say("rule.who.responsible")
            case Creator():
                return self.say("rule.who.creator")
            case Head():
                return self.say("rule.who.head")
            case Nobody():
                return self.say("rule.who.none")
            case UserId(id=number):
                return self.directory.company.name(number)
            case FromField(field=code):
                text = self.say("rule.who.field", name=self.field(code))
            case OwnerOf(rule=name):
                text = self.say("rule.who.task", name=name)
            case FromDepartment(department_id=number, pick=pick):
                department = self.directory.company.departments.get(number)
                name = department.name if department else f"#{number}"
                text = self.say("rule.who.department", name=name, pick=self.say(f"rule.pick.{pick}"))
            case OneOf(persons=persons, pick=pick):
                names = ", ".join(self.person(one) for one in persons)
                text = self.say("rule.who.one_of", names=names, pick=self.say(f"rule.pick.{pick}"))
        return self.say("rule.else", this=text, other=self.person(person.otherwise)) if person.otherwise else text

    # --- conditions --------------------------------------------------------------------------------------------------

    def condition(self, condition: Condition) -> str:
        """What must hold."""
        match condition:
            case Test(field=code, op=op, value=value):
                return f"{self.field(code)}: {self._wish(code, op, value)}"
            case AllOf(parts=parts):
                return self.say("rule.and").join(self.condition(part) for part in parts)
            case AnyOf(parts=parts):
                return "(" + self.say("rule.or").join(self.condition(part) for part in parts) + ")"
            case Not(part=part):
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
