"""A file against its shape: every fault in an administrator's words, and what of the file can be read in spite of them.

pydantic finds all faults of shape at once. So that the rest of the file is judged in the same run, faulty parts are
then left out or, where a part is indispensable, replaced by a stand-in, until what remains has the right shape.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from bitrix_sync.rules import forms
from bitrix_sync.rules.file import SHAPES, File, StageMapping, TaskEntry, keys_of
from bitrix_sync.rules.plain_keys import PEOPLE
from bitrix_sync.rules.problem import REFUSAL, Fault, Path, capitalized, show
from bitrix_sync.rules.punctuation import CURLY_QUOTES, NO_DASH, curly, glued
from bitrix_sync.rules.scalars import comparison
from bitrix_sync.rules.suggest import cure, hidden, nearest
from bitrix_sync.rules.tree import Node, Repeated, flaws, walk

ROUNDS = 30
"""So often a part is left out before the rest of the file is given up."""
STAND_IN = "stand-in-"
"""Beginning of the ids that replace faulty ones."""

_STAND_INS: dict[str, Callable[[int], Any]] = {
    "id": lambda number: f"{STAND_IN}{number}",
    "title": lambda number: STAND_IN,
    "deadline": lambda number: {"after": "1 workday"},
    "else": lambda number: {"after": "1 workday"},
    "move_to": lambda number: {"after": "0 workdays"},
    "pick": lambda number: "first",
    "version": lambda number: 1,
}
_MISSING = {
    "id": "Write one that stays when the title changes: `id: first-call`.",
    "title": "Write what is to be done: `title: Позвонить клиенту`.",
    "deadline": "There is no task without one: `deadline: {after: 1 workday}`.",
    "else": "Write when it is due while the field is empty or the event has not happened: `else: {after: 3 workdays}`.",
    "pick": "Write how one of them is chosen: `pick: round_robin`, `least_loaded` or `first`.",
    "at": 'Write the time of day: `at: "09:00"`.',
    "move_to": "Write where overdue deadlines are moved: `move_to: {after: 0 workdays}`.",
    "version": "Begin the file with `version: 1`.",
    "funnels": "Write a funnel, its stages and their tasks; `bitrix-sync init` writes the portal's own.",
    "after": "Write how long after: `after: 1 workday`.",
}
_STAND_IN_ITEMS = {
    "one_of": "responsible",
    **dict.fromkeys(PEOPLE, "responsible"),
    "checklist": STAND_IN,
    "tags": STAND_IN,
    "any": {},
}
_KEYS = {key for model in SHAPES.values() for key in keys_of(model)} | set(keys_of(File))
_CODE = re.compile(r"=?(?:Document:|deal\.)?([A-Z][A-Z0-9_]+)")
_OF_TASKS = frozenset(keys_of(TaskEntry)) - {"tasks", "limit", "advance_to"}
_TOO_DEEP = "A stage stands here within another one.", "Indent it as the other stages of the funnel."
_KINDS: Mapping[type[BaseModel], str] = {
    forms.AfterEntry: "after",
    forms.ByEvent: "event",
    forms.ByField: "field",
    forms.OnDate: "date",
}
"""The kinds of deadlines, each with its key."""
_KIND_KEYS = frozenset({"after", "before", "field", "date", "event"})
Error = Mapping[str, Any]
"""One error of pydantic: loc, type, ctx, input, msg."""


@dataclass(frozen=True, slots=True)
class Shaped:
    """The file as far as it has the right shape (None: not at all), and the faults of its shape."""

    file: File | None
    faults: list[Fault]


def check(root: Node) -> Shaped:
    """Judge the shape of a file."""
    if not isinstance(root.data, dict):
        return Shaped(None, [Fault((), f"The file holds {show(root.data)}.", "It must begin with `version: 1`.")])
    faults, nothing = _flaws(root)
    try:
        file = File.model_validate(root.data)
        if not nothing:
            return Shaped(file, faults)
        errors: list[Error] = []
    except ValidationError as refusal:
        errors = _errors(refusal)
    faults += _without_nothing(_faults(errors, root.data), nothing)
    return Shaped(_remains(root.data, errors, [fault.path for fault in nothing]), faults)


def _without_nothing(faults: list[Fault], nothing: list[Fault]) -> list[Fault]:
    """The faults, and those that nothing stands somewhere, each place once: a key that holds its value goes first."""
    meant = {part for fault in nothing if _glued_key(fault.path) for part in (fault.path, fault.path[:-1])}
    found = [fault for fault in faults if fault.path not in meant]
    worded = {fault.path for fault in found}
    return found + [fault for fault in nothing if fault.path not in worded]


def _flaws(root: Node) -> tuple[list[Fault], list[Fault]]:
    """What stands twice, and where nothing stands."""
    faults: list[Fault] = []
    nothing: list[Fault] = []
    for path, twice in flaws(root):
        if twice is None:
            words = _glued_key(path) or ("Nothing stands here.", "Write a value, or leave the key out.")
            nothing.append(Fault(path, *words))
        elif not _of_second_task(twice, path, root):
            faults.append(_repeated((*path, twice.key), twice))
    return faults, nothing


def _errors(refusal: ValidationError) -> list[Error]:
    return list(refusal.errors(include_url=False))


def _glued_key(path: Path) -> forms.Words | None:
    """What to say of a key that holds its value too; names of funnels and stages may hold colons and any spaces."""
    if not path or (path[:1] == ("funnels",) and len(path) <= 3):
        return None
    key = str(path[-1])
    meant = comparison(key)
    if meant is not None and meant[0]:
        cure = f"Write `{meant[0]}: {meant[1]}`: `min` and `max` are met by the value itself too."
        return f"{capitalized(key)} is no condition.", cure
    in_text = {"title", "description", "checklist"} & {str(part) for part in path[-3:-1]}
    return glued(key) or _without_colon(key) or (_code_alone(key) if in_text else None)


def _code_alone(key: str) -> forms.Words | None:
    """A field of the deal in single braces, which make a mapping of the whole text."""
    found = _CODE.fullmatch(key)
    return (f"`{{{key}}}` is no text.", f'Write `"{{{{ deal.{found[1]} }}}}"`, in quotes.') if found else None


_SECOND_TASK = "If a new task begins here, begin the line with a dash: `- id: ...`; else leave one of them out."


def _of_second_task(twice: Repeated, path: Path, root: Node) -> bool:
    """Whether the key stands twice because the dash of a second task is missing, which is told at its ``id``."""
    return any(one.key == "id" and one.line < twice.line for one in walk(root, path).repeated)


def _repeated(path: Path, twice: Repeated) -> Fault:
    return Fault(
        path,
        f"`{show_key(twice.key)}` stands here twice, first in line {twice.first_line}.",
        _SECOND_TASK if twice.key == "id" else "Join the two, or rename one.",
        at=(twice.line, twice.column),
    )


# --- words -----------------------------------------------------------------------------------------------------------


def _faults(errors: list[Error], data: Any) -> list[Fault]:
    faults: list[Fault] = []
    missing: list[tuple[Path, str]] = []
    mistyped: set[tuple[Path, str]] = set()
    dashless: dict[Path, Path] = {}
    for error in errors:
        path = _path(error["loc"], data)
        if error["type"] == "missing":
            missing.append((path, str(error["loc"][-1])))
        elif error["type"] == "extra_forbidden":
            model = _model(error["loc"])
            if model is StageMapping and path[-1] in _OF_TASKS:
                dashless.setdefault(path[:-1], path)
                continue
            faults.append(Fault(path, *_extra_key(str(path[-1]), error["input"], model), key=True))
            mistyped |= {(path[:-1], meant) for meant in nearest(str(path[-1]), keys_of(model))}
        else:
            faults.append(Fault(path, *_words(error), key=error["loc"][-1:] == ("[key]",)))
    faults += [Fault(path, *NO_DASH, key=True) for path in dashless.values()]
    faults += [
        Fault(path, f"The key `{key}` is missing.", _MISSING.get(key, f"Write `{key}: ...`."))
        for path, key in missing
        if (path, key) not in mistyped
    ]
    return faults


def _words(error: Error) -> forms.Words:
    """What is wrong, and what to write instead."""
    kind, value, limits = error["type"], error["input"], error.get("ctx") or {}
    if curly(value):
        return CURLY_QUOTES
    if kind == REFUSAL:
        return limits["wrong"], hidden(value) or limits["cure"]
    if value is None:
        return "Nothing stands here.", "Write a value, or leave the key out."
    if kind in forms.UNKIND:
        return forms.UNKIND[kind](value)
    for beginning, words in _WORDS.items():
        if kind.startswith(beginning):
            return words(value, limits)
    if kind == "too_short":
        return "This is empty.", _MISSING.get(str(error["loc"][-1]), "Write what belongs here.")
    return f"{capitalized(value)} does not fit here: {error['msg']}.", "See the rules language for what does."


def _no_literal(value: Any, limits: Mapping[str, Any]) -> forms.Words:
    known = re.findall(r"'([^']*)'", limits["expected"])
    return f"{capitalized(value)} is not known here.", cure(str(value), known, "Write one of")


def _no_flag(value: Any, limits: Mapping[str, Any]) -> forms.Words:
    meant = _FLAGS.get(str(value).lower(), "true or false")
    return f"{capitalized(value)} is neither true nor false.", f"Write {meant}, without quotes."


def _no_list(value: Any, limits: Mapping[str, Any]) -> forms.Words:
    wrong = f"A list must stand here, not {show(value)}."
    if not isinstance(value, str | int) or str(value)[:1] in _DASHES:
        return wrong, "Begin each of its items with a dash and a space."
    items = str(value).replace(";", ",")
    if " " not in items:
        return wrong, f"Write `[{items}]`."
    return wrong, f"Write `[{items}]`, or begin each item on a line of its own with a dash and a space."


def _no_mapping(value: Any, limits: Mapping[str, Any]) -> forms.Words:
    if isinstance(value, str) and (words := glued(value)) is not None:
        return words
    if isinstance(value, list) and any(isinstance(one, dict) and "id" in one for one in value):
        return "A funnel takes stages, not a list.", "Write the funnel, and its stages below it, indented."
    meant = comparison(value)
    if meant is not None and meant[0]:
        cure = f"Write `{{{meant[0]}: {meant[1]}}}`: `min` and `max` are met by the value itself too."
        return f"{capitalized(value)} is no condition.", cure
    return f"A mapping must stand here, not {show(value)}.", "Write `key: value` on lines of their own, indented."


_DASHES = "-\u2010\u2011\u2012\u2013\u2014\u2015\u2212•·*"
_FLAGS = {
    **dict.fromkeys(("yes", "on", "1", "y", "да", "true"), "true"),
    **dict.fromkeys(("no", "off", "0", "n", "нет", "false"), "false"),
}
_WORDS: Mapping[str, Callable[[Any, Mapping[str, Any]], forms.Words]] = {
    "literal_error": _no_literal,
    "bool": _no_flag,
    "int": lambda value, _: (f"{capitalized(value)} is no whole number.", "Write one, without quotes."),
    "greater_than_equal": lambda value, to: (f"{capitalized(value)} is too small.", f"Write {to['ge']} or more."),
    "less_than_equal": lambda value, to: (f"{capitalized(value)} is too large.", f"Write {to['le']} or less."),
    "list_type": _no_list,
    "tuple_type": _no_list,
    "dict_type": _no_mapping,
    "model_type": _no_mapping,
    "model_attributes_type": _no_mapping,
}
"""By the beginning of the type of pydantic's error: what is wrong, and the cure."""


def _extra_key(key: str, value: Any, model: type[BaseModel]) -> forms.Words:
    """What to say of a key that does not belong here, which may be a stage's name."""
    deep = model is StageMapping and isinstance(value, list | dict) and not nearest(key, keys_of(model))
    return _TOO_DEEP if deep else _unknown_key(key, model)


def _unknown_key(key: str, model: type[BaseModel]) -> forms.Words:
    keys = keys_of(model)
    if (words := glued(key) or _without_colon(key)) is not None:
        return words
    special = _foreign_key(key, model)
    if special is not None:
        return special
    return f"There is no key `{show_key(key)}` here.", cure(key, keys, "The keys here are")


def _without_colon(key: str) -> forms.Words | None:
    """A key and its value with no colon between them."""
    word, _, value = key.strip().partition(" ")
    if word not in _KEYS or not value.strip():
        return None
    return f"After `{word}` the colon is missing.", f"Write `{word}: {value.strip()}`."


def _foreign_key(key: str, model: type[BaseModel]) -> forms.Words | None:
    """A key of another kind of deadline or person."""
    mine = next((kind for kind in forms.PERSON_KINDS if SHAPES[f"=person:{kind}"] is model), "")
    if mine and key in forms.PERSON_KINDS:
        return f"`{mine}` and `{key}` do not go together.", "Leave one of them out, or put it under `else`."
    sign = comparison(f"{key} 0") if model is forms.Wishes else None
    if sign is not None and not sign[0]:
        return f"There is no key `{show_key(key)}` here.", f"Write `{sign[1].strip('{}').partition(':')[0]}`."
    if model is forms.MoveTo:
        return _foreign_to_move_to(key)
    return _foreign_to_deadline(key, model) if model in _KINDS else None


def _foreign_to_move_to(key: str) -> forms.Words | None:
    if key in ("field", "event", "date", "before", "else"):
        return (
            f"`{key}` does not go into `move_to`, which is counted from the sweep's moment.",
            "Use `after` and `at`.",
        )
    if key == "follow":
        return "`follow` does not go into `move_to`: nothing is followed there.", "Leave it out."
    return None


def _foreign_to_deadline(key: str, model: type[BaseModel]) -> forms.Words | None:
    if key == "else" and model in (forms.AfterEntry, forms.OnDate):
        return "`else` would never come to stand: this deadline is sure.", "Leave it out."
    if key not in _KIND_KEYS:
        return None
    if model is forms.ByEvent and key == "before":
        return "`before` needs a moment with a date; of an event nobody knows it beforehand.", "Use `after`."
    own = _KINDS[model]
    if own == "after":
        return f"`{key}` needs a moment with a date; `after` alone counts from entry.", "Add `field`, or leave one out."
    return f"`{own}` and `{key}` do not go together: a deadline is of one kind.", "Leave one of them out."


def show_key(key: str) -> str:
    """A key in a message, shortened."""
    return show(key).strip("`")


def _model(loc: tuple[str | int, ...]) -> type[BaseModel]:
    """The shape that refused a key: the last in the error's place that is known to be one."""
    return next((SHAPES[part] for part in reversed(loc[:-1]) if isinstance(part, str) and part in SHAPES), File)


def _path(loc: tuple[str | int, ...], data: Any) -> Path:
    """The place of an error as a path of the file: without the tags of kinds, without a key that is missing."""
    path: list[str | int] = []
    for part in loc:
        below = _below(data, part)
        if below is not _GONE:
            path.append(part)
            data = below
    return tuple(path)


# --- what remains ----------------------------------------------------------------------------------------------------


def _remains(data: Any, errors: list[Error], empty: list[Path]) -> File | None:
    """The file without its faulty parts; None when too little remains."""
    data = _copy(data)
    number = 0
    places = [(path, "") for path in empty] + _places(errors, data)
    for _ in range(ROUNDS):
        for path, missing in places:
            number += 1
            _leave_out(data, path, missing, number)
        try:
            return File.model_validate(data)
        except ValidationError as refusal:
            places = _places(_errors(refusal), data)
    return None


def _places(errors: list[Error], data: Any) -> list[tuple[Path, str]]:
    """Where something is faulty, and which key is missing there ("": the value itself is faulty)."""
    return [
        (_path(error["loc"], data), str(error["loc"][-1]) if error["type"] == "missing" else "") for error in errors
    ]


def _leave_out(data: Any, path: Path, missing: str, number: int) -> None:
    """Take a part out, or put a stand-in in its place; nothing if it is gone already."""
    holder: Any = None
    here = data
    for part in path:
        holder = here
        here = _below(here, part)
        if here is _GONE:
            return
    if missing in _STAND_INS and isinstance(here, dict):
        here[missing] = _STAND_INS[missing](number)
    elif isinstance(holder, list):
        item = _stand_in_item(path, number)
        if item is not None and here != item:
            holder[int(path[-1])] = item
        else:
            _leave_out(data, path[:-1], "", number)
    elif path:
        _leave_out_key(holder, str(path[-1]), number, top=len(path) == 1)


def _leave_out_key(holder: dict[str, Any], key: str, number: int, *, top: bool) -> None:
    if key in _STAND_INS and not top:
        holder[key] = _STAND_INS[key](number)
    else:
        del holder[key]


def _stand_in_item(path: Path, number: int) -> Any:
    """What can stand in the place of an item of a list; None: nothing, the list itself has to go."""
    if len(path) < 2:
        return None
    if path[-2] in _STAND_IN_ITEMS:
        return _STAND_IN_ITEMS[str(path[-2])]
    return {key: _STAND_INS[key](number) for key in ("id", "title", "deadline")} if path[0] == "funnels" else None


def _copy(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _copy(value) for key, value in data.items()}
    return [_copy(value) for value in data] if isinstance(data, list) else data


_GONE = object()


def _below(holder: Any, part: str | int) -> Any:
    if isinstance(holder, dict):
        return holder.get(part, _GONE)
    if isinstance(holder, list) and isinstance(part, int) and part < len(holder):
        return holder[part]
    return _GONE
