"""The parts of a task on a portal: persons, deadlines, conditions and templates of the file with every name resolved.

``Parts`` compiles them one after another and notes what the task at hand needs: the deal's fields, what is gone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, tzinfo
from typing import Any, Literal

from bitrix_sync.model.facts import DealField
from bitrix_sync.model.items import Item
from bitrix_sync.model.yes_no import yes_or_no
from bitrix_sync.rules import forms, model
from bitrix_sync.rules.consistency import FILLED_BY_PORTAL, template_names, warn_of_closedate
from bitrix_sync.rules.deadlines import MINUTES
from bitrix_sync.rules.fields import FILES, Unfit, fit, is_template, not_for_fields
from bitrix_sync.rules.fields import named as _titled
from bitrix_sync.rules.names import Found, Names
from bitrix_sync.rules.plain_keys import PEOPLE, TEMPLATES, PlainKeys, values_of
from bitrix_sync.rules.problem import Path, Remarks, show
from bitrix_sync.rules.scalars import NOBODY, civil_day, comparison, plain_number
from bitrix_sync.rules.suggest import fold, foreign_letter, nearest
from bitrix_sync.rules.values import DATE_TYPES, ID_TYPES, NUMBER_TYPES, PEOPLE_TYPES, civil_date, number

STAGE = "STAGE_ID"
"""The deal's stage. What the portal offers as its values are the default funnel's stages alone."""
WORDS: dict[str, model.Person] = {
    "responsible": model.Responsible(),
    "creator": model.Creator(),
    "head": model.Head(),
    NOBODY: model.Nobody(),
}
Op = Literal["eq", "in", "min", "max", "not", "contains", "filled"]
_BARE_FIELD = re.compile(r"(?<![{%])\{\s*=?(?:Document:|deal\.)?(\w[^{}%#]*?)\s*\}(?!\})")
"""A field's code or title in single braces, as other tools of the portal write it."""
_FILLED = {
    **dict.fromkeys(("", "пусто", "не заполнено", "нет", "empty", "null", "none"), "false"),
    **dict.fromkeys(("заполнено", "не пусто", "есть", "filled", "not empty"), "true"),
}
"""What people write for a field that holds nothing, or something."""
ORDERED = frozenset({"min", "max"})
_WISHES: tuple[tuple[str, Op], ...] = (
    ("min", "min"),
    ("max", "max"),
    ("unequal", "not"),
    ("contains", "contains"),
    ("filled", "filled"),
)
"""The attributes of ``Wishes`` and what they test."""


class Parts:
    """Compiles parts of tasks. ``fields``: codes of the deal's fields that the file uses; ``gone``: what the task at
    hand needs and the portal has no more (``begin`` empties it); ``records``: other records that templates read."""

    def __init__(self, names: Names, remarks: Remarks, placed: Mapping[str, frozenset[str]]) -> None:
        self.names, self.remarks, self.placed = names, remarks, placed
        self.fields: set[str] = set()
        self.records: set[str] = set()
        self.gone: list[str] = []
        self.conditions: dict[tuple[Any, ...], model.Condition] = {}
        self.funnels: frozenset[int] = frozenset()
        self.stages: frozenset[str] = frozenset()

    def begin(self, funnels: Iterable[int], stages: frozenset[str]) -> None:
        """A task begins that stands in these funnels and stages."""
        self.gone = []
        self.funnels, self.stages = frozenset(funnels), stages

    def need(self, found: Found | None, path: Path, *, key: bool = False) -> str:
        """The id of what was found; "" when nothing was. What is gone is noted and warned of."""
        if found is None:
            return ""
        if found.gone:
            self.gone.append(found.gone)
            self.names.warn_once(
                path,
                f"{found.gone}.",
                "The rules that need it are off until it is back or another is named here.",
                key=key,
            )
        return found.id

    def field(self, name: str, path: Path, *, key: bool = False) -> tuple[str, DealField | None]:
        """A field of the deal: its code, and what is known of it."""
        code = self.need(self.names.field(name, path, key=key), path, key=key)
        if code:
            self.fields.add(code)
        return code, self.names.deal_field(code)

    def plain(self, task: PlainKeys, path: Path) -> dict[str, Any]:
        """The plain keys of a task, its persons and its workgroup resolved."""
        values = values_of(task)
        if task.project is not None:
            where = (*path, "project")
            values["project"] = int(self.need(self.names.group(task.project, where), where) or 0)
        values |= {key: self.persons(values[key], (*path, key)) for key in PEOPLE}
        return values | {key: self.template(values[key], (*path, key)) for key in TEMPLATES}

    # --- persons -----------------------------------------------------------------------------------------------------

    def person(self, said: Any, path: Path) -> model.Person:
        """A person; the deal's responsible in the place of one that cannot be resolved (a fault is remarked then)."""
        match said:
            case int() | str():
                return WORDS.get(str(said)) or self.user(said, path)
            case forms.PersonFromField():
                return model.FromField(self._people_field(said.field, (*path, "field")), self._otherwise(said, path))
            case forms.PersonOfTask():
                return model.OwnerOf(said.task, self._otherwise(said, path))
            case forms.PersonFromDepartment():
                where = (*path, "department")
                found = self.need(self.names.department(said.department, where), where)
                return model.FromDepartment(int(found or 0), said.pick, self._otherwise(said, path))
            case forms.PersonOutOf():
                return model.OneOf(self.persons(said.one_of, (*path, "one_of")), said.pick, self._otherwise(said, path))
        raise AssertionError(f"no person: {said!r}")

    def _people_field(self, name: str, path: Path) -> str:
        code, field = self.field(name, path)
        if field is not None and field.type not in PEOPLE_TYPES:
            self.remarks.fault(path, f"{_titled(field)} holds no employees.", "Name a field of the type employee.")
        return code

    def persons(self, said: Iterable[Any], path: Path) -> tuple[model.Person, ...]:
        """Persons of a list."""
        return tuple(self.person(one, (*path, index)) for index, one in enumerate(said))

    def user(self, said: int | str, path: Path) -> model.Person:
        """A certain user."""
        found = self.need(self.names.user(said, path), path)
        return model.UserId(int(found)) if found.isdecimal() else model.Responsible()

    def _otherwise(self, said: Any, path: Path) -> model.Person | None:
        return None if said.otherwise is None else self.person(said.otherwise, (*path, "else"))

    # --- deadlines ---------------------------------------------------------------------------------------------------

    def deadline(self, said: forms.Timed, path: Path) -> model.Deadline:
        """A deadline with its ``else``."""
        common: dict[str, Any] = {"at": said.at, "on_day_off": said.on_day_off, "follow": said.follow}
        match said:
            case forms.AfterEntry():
                return model.Deadline(said.after, **common)
            case forms.OnDate():
                return model.Deadline(date=said.date, **common)
            case forms.ByField():
                code = self._date_field(said, path)
                otherwise = self.deadline(said.otherwise, (*path, "else"))
                offset, direction = (said.before, -1) if said.before is not None else (said.after, 1)
                return model.Deadline(offset, direction, field=code, otherwise=otherwise, **common)
            case forms.ByEvent():
                event = self.event(said.event, (*path, "event"))
                otherwise = self.deadline(said.otherwise, (*path, "else"))
                return model.Deadline(said.after, event=event, otherwise=otherwise, **common)
        raise AssertionError(f"no deadline: {said!r}")

    def move_to(self, said: forms.MoveTo) -> model.Deadline:
        """Where a sweep moves a deadline."""
        return model.Deadline(said.after, at=said.at, on_day_off=said.on_day_off)

    def _date_field(self, said: forms.ByField, path: Path) -> str:
        where = (*path, "field")
        code, field = self.field(said.field, where)
        if code == FILLED_BY_PORTAL and fold(said.field) != fold(FILLED_BY_PORTAL):
            warn_of_closedate(where, self.remarks)
        if field is not None:
            self._hold_dates(field, where)
            side, span = ("after", said.after) if said.before is None else ("before", said.before)
            if field.type != "datetime" and span is not None and span.unit in MINUTES:
                self.remarks.fault(
                    (*path, side),
                    f"{_titled(field)} holds dates without a time of day to count {span.unit} from.",
                    "Count in days or workdays, with `at` for the time of day.",
                )
        return code

    def _hold_dates(self, field: DealField, path: Path) -> None:
        """Say so if a field holds no dates, or perhaps none."""
        if field.type == "string":
            self.remarks.warn(
                path,
                f"{_titled(field)} is a text; a deadline comes of it only while it holds a date as 2026-12-31.",
                "Better make it a field of the type date.",
            )
        elif field.type not in DATE_TYPES:
            self.remarks.fault(
                path, f"{_titled(field)} holds no dates.", "Name a field of the type date or date and time."
            )

    def event(
        self, said: forms.DoneEvent | forms.StageEvent | forms.FilledEvent | forms.BecomesEvent, path: Path
    ) -> model.Event:
        """An event. A rule that stands wherever this one stands is meant as of the same visit."""
        match said:
            case forms.DoneEvent():
                return self.done(said)
            case forms.FilledEvent() | forms.BecomesEvent():
                return self.becomes(said, path)
            case forms.StageEvent():
                return model.Entered(self._entered(said.stage, (*path, "stage")))

    def becomes(self, said: forms.FilledEvent | forms.BecomesEvent, path: Path) -> model.Becomes:
        """That the deal fulfils conditions; ``filled`` is their short form."""
        if isinstance(said, forms.FilledEvent):
            return model.Becomes(model.Test(self.field(said.filled, (*path, "filled"))[0], "filled", True))
        return model.Becomes(self.condition(said.becomes, (*path, "becomes")))

    def done(self, said: forms.DoneEvent) -> model.Done:
        """That another rule's task is completed."""
        return model.Done(said.done, bool(self.stages) and self.stages <= self.placed.get(said.done, frozenset()))

    def _entered(self, name: str, path: Path) -> frozenset[str]:
        """The stages of that name in the funnels of this task, or the one of that id anywhere."""
        found = list(self._stages(name, path))
        if not found:
            self._no_stage(name, path)
        alive = [one for one in found if not one.gone]
        for one in found if not alive else ():
            self.need(one, path)
        ids = frozenset(one.id for one in alive or found)
        if self.stages and self.stages <= ids:
            self.remarks.fault(path, "The deal is in this very stage already.", "Name another stage to wait for.")
        return ids

    def _stages(self, name: str, path: Path) -> Iterator[Found]:
        """What a stage's name means: in each of the task's funnels, or else as an id of any."""
        anywhere = True
        for funnel in sorted(self.funnels):
            if (found := self.names.stage_if_any(funnel, name, path)) is not None:
                anywhere = False
                yield found
        if anywhere and (found := self.names.stage_anywhere(name, path)) is not None:
            yield found

    def _no_stage(self, name: str, path: Path) -> None:
        """None of the task's funnels has this stage; perhaps another one has."""
        others = [one for funnel in self.names.directory.funnels for one in self.names.stages(funnel.id).by_name(name)]
        if others:
            wrong = f"The stage `{name}` is of another funnel."
            self.remarks.fault(path, wrong, f"Name one of the same funnel, or write the id: {' or '.join(others)}.")
        else:
            for funnel in sorted(self.funnels)[:1]:
                self.names.stage(funnel, name, path)

    # --- conditions --------------------------------------------------------------------------------------------------

    def condition(self, said: forms.Conditions, path: Path) -> model.Condition:
        """Conditions, those on fields first."""
        parts: list[model.Condition] = []
        for name, test in (said.model_extra or {}).items():
            parts += self._tests(name, test, (*path, name))
        if said.any_of is not None:
            parts.append(
                model.AnyOf(tuple(self.condition(one, (*path, "any", i)) for i, one in enumerate(said.any_of)))
            )
        if said.no is not None:
            parts.append(model.Not(self.condition(said.no, (*path, "not"))))
        return self._once(("all", *map(id, parts)), model.AllOf(tuple(parts)))

    def _once(self, key: tuple[Any, ...], condition: model.Condition) -> model.Condition:
        """A condition that is written several times is the same, so that a deal is judged by it once."""
        return self.conditions.setdefault(key, condition)

    def _tests(self, name: str, said: Any, path: Path) -> Iterator[model.Condition]:
        code, field = self.field(name, path, key=True)
        wishes: dict[Op, tuple[Any, Path]] = {"in" if isinstance(said, list) else "eq": (said, path)}
        if isinstance(said, forms.Wishes):
            asked = ((key, op) for key, op in _WISHES if key in said.model_fields_set)
            wishes = {op: (getattr(said, key), (*path, op)) for key, op in asked}
        for op, (wish, where) in wishes.items():
            value = self._wishes(wish, op, field, where)
            yield self._once((code, op, repr(value)), model.Test(code, op, value))

    def _wishes(self, wish: Any, op: Op, field: DealField | None, path: Path) -> Any:
        if field is None or op == "filled":
            return wish
        if isinstance(wish, list):
            return tuple(self._wish(one, op, field, (*path, index)) for index, one in enumerate(wish))
        return self._wish(wish, op, field, path)

    def _wish(self, wish: Any, op: Op, field: DealField, path: Path) -> Any:
        """The value that a field is compared with, checked against the field's type; texts of lists and statuses,
        people and funnels as ids."""
        if field.type == "boolean":
            return self._choice(wish, op, field, path)
        if op == "contains":
            return wish
        if field.type in NUMBER_TYPES:
            return self._number(wish, field, path)
        if field.type in DATE_TYPES:
            return self._date(wish, field, path)
        return self._bound(wish, field, path) if op in ORDERED else self._named(wish, field, path)

    def _named(self, wish: Any, field: DealField, path: Path) -> Any:
        """The id of what the field names: a stage, an option, an employee, a funnel; else the value itself."""
        if field.code == STAGE:
            return self._stage(str(wish), path)
        if field.options:
            return self.need(self.names.option(field, str(wish), path), path) or str(wish)
        if field.type in PEOPLE_TYPES:
            user: int | str = int(wish) if str(wish).isdecimal() else str(wish)
            return int(self.need(self.names.user(user, path), path) or 0)
        if field.type == "crm_category":
            return Item.of(int(self.need(self.names.funnel(str(wish), path, frozenset()), path) or 0)).id
        return wish

    def _choice(self, wish: Any, op: Op, field: DealField, path: Path) -> Any:
        if op in ORDERED or op == "contains":
            self.remarks.fault(path, f"{_titled(field)} says yes or no only.", "Compare it with true or false.")
        elif yes_or_no(wish) is None:
            self.remarks.fault(path, f"{_titled(field)} says yes or no, never {show(wish)}.", "Write true or false.")
        return wish

    def _stage(self, name: str, path: Path) -> str:
        """A stage to compare with: of the task's funnels, or by its id of any."""
        found = next(self._stages(name, path), None)
        if found is None:
            self._no_stage(name, path)
        return self.need(found, path)

    def _number(self, wish: Any, field: DealField, path: Path) -> Any:
        try:
            number(wish)
        except ValueError:
            wrong = f"{_titled(field)} holds numbers, and {show(wish)} is none."
            plain = plain_number(wish)
            cure = _in_our_words(wish, path) or (f"Write `{plain}`." if plain else "Write a number.")
            self.remarks.fault(path, wrong, cure)
        return wish

    def _date(self, wish: Any, field: DealField, path: Path) -> Any:
        try:
            text = str(wish).strip()
            if len(text) > len("2026-12-31"):
                datetime.fromisoformat(text)
            else:
                civil_date(text)
        except ValueError:
            day = civil_day(wish)
            cure = _in_our_words(wish, path) or (f"Write `{day}`." if day else "Write it as `2026-12-31`.")
            self.remarks.fault(path, f"{_titled(field)} holds dates, and {show(wish)} is none.", cure)
        return wish

    def _bound(self, wish: Any, field: DealField, path: Path) -> Any:
        """``min`` and ``max`` of a text or a list value, which may read as a number or a date."""
        if field.type in ID_TYPES - {"enumeration"}:
            self.remarks.fault(path, f"{_titled(field)} cannot be more or less than something.", "Compare it by value.")
            return wish
        for reads in (number, civil_date):
            try:
                reads(wish)
            except ValueError:
                continue
            return wish
        self.remarks.fault(
            path, f"{show(wish)} is neither a number nor a date.", "Write one, as `100000` or `2026-12-31`."
        )
        return wish

    # --- fields of the task ------------------------------------------------------------------------------------------

    def fillings(self, said: Mapping[str, Any], path: Path, zone: tzinfo) -> tuple[tuple[str, tuple[Any, ...]], ...]:
        """The user fields that a task fills: templates as they are, other values as the portal takes them."""
        found: list[tuple[str, tuple[Any, ...]]] = []
        for name, value in said.items():
            where = (*path, name)
            code = "" if not_for_fields(name) else self.need(self.names.task_field(name, where), where, key=True)
            if not code:
                continue
            field = self.names.directory.task_fields.get(code, DealField(code, code))
            if field.type in FILES:
                self.remarks.fault(where, f"{_titled(field)} holds files, which a rule cannot attach.", "Leave it out.")
            if isinstance(value, list) and not field.multiple and field.code in self.names.directory.task_fields:
                self.remarks.fault(where, f"{_titled(field)} holds one value, not a list.", "Write one value.")
            values = value if isinstance(value, list) else [value]
            found.append((code, tuple(self._filling(one, field, where, zone) for one in values)))
        return tuple(found)

    def _filling(self, value: Any, field: DealField, path: Path, zone: tzinfo) -> Any:
        if isinstance(value, str) and is_template(value):
            return self.template(value, path)
        try:
            return fit(value, field, zone=zone, company=self.names.directory.company)
        except Unfit as fault:
            self.remarks.fault(path, str(fault), fault.cure)
            return value

    # --- templates ---------------------------------------------------------------------------------------------------

    def template(self, source: str, path: Path) -> str:
        """A template; the fields that it reads are noted."""
        for said in dict.fromkeys(found[1] for found in _BARE_FIELD.finditer(source)):
            code = self.names.fields.by_id(said) or next(iter(self.names.fields.by_name(said)), "")
            if not code:
                continue
            wrong = f"`{said}` in single braces is put into the text as it stands."
            self.remarks.fault(path, wrong, f"Write `{{{{ deal.{code} }}}}`.")
        for name in sorted(template_names(source)):
            record, _, code = name.partition(".")
            if record in ("company", "contact"):
                self.records.add(record)
            if record == "deal" and code:
                self._template_field(code, path)
        return source

    def _template_field(self, code: str, path: Path) -> None:
        names = self.names
        if code in names.fields.names or names.fields.key(code) in names.bindings:
            self.field(code, path)
            return
        near = names.fields.by_id(code) or next(iter(names.fields.by_name(code)), "")
        meant = [near] if near else nearest(code, names.fields.names)
        cure = f"Did you mean `deal.{meant[0]}`?" if meant else "Write the code of a field of the deal."
        cure = (foreign_letter(code, meant[0]) if meant else "") or cure
        self.remarks.fault(path, f"Deals have no field `{show(code).strip('`')}`.", cure)


def _in_our_words(wish: Any, path: Path) -> str:
    """The test that a value with a sign of comparison was meant to be."""
    if (said := _FILLED.get(str(wish).strip().lower())) is not None:
        return f"Write `{{filled: {said}}}`."
    meant = comparison(wish)
    if meant and path[-1] in ORDERED:
        return "Write it without the sign."
    return f"Write `{meant[1]}`: `min` and `max` are met by the value itself too." if meant and not meant[0] else ""
