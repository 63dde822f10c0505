"""Commands and the form in which they travel inside a batch.

A batch carries each command as ``method?query``, the query form-encoded as PHP reads it (docs:
settings/how-to-call-rest-api/batch.md). There every value is a string, and the portal replaces ``$result[...]`` and its
kin in any value: what cannot be said so goes alone, as JSON.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

BATCH_LIMIT = 50
"""Commands in a batch (docs: batch.md)."""
REFERENCES = ("$result[", "$next[", "$total[", "$error[", "$time[")


@dataclass(frozen=True, slots=True)
class Command:
    """A call of one REST method. ``params`` are JSON-able; flags are the portal's own (``Y``/``N``, 0/1), never bool.
    ``refers``: its values refer on purpose to results of earlier commands of the same batch."""

    method: str
    params: Mapping[str, Any] = field(default_factory=dict)
    refers: bool = False


def fits_batch(command: Command) -> bool:
    """True when the command says the same inside a batch as alone: no null, no empty list or map, no bool, and no text
    that the portal would replace."""
    return not command.params or _sayable(command.params, command.refers)


def batch_line(command: Command) -> str:
    """The command as an entry of ``cmd``; ValueError for one that does not fit."""
    pairs = []
    for path, value in _leaves(command.params, ""):
        if not _expressible(value, command.refers):
            raise ValueError(f"{command.method}: {path} cannot travel in a batch")
        bare = "[]$" if command.refers and str(value).startswith(REFERENCES) else ""  # a reference stands unencoded
        said = quote(str(value), safe=bare, errors="replace")  # half a surrogate is no text in UTF-8
        pairs.append(f"{quote(path, safe='[]$', errors='replace')}={said}")
    return f"{command.method}?{'&'.join(pairs)}" if pairs else command.method


def _expressible(value: Any, refers: bool) -> bool:
    if isinstance(value, str):
        return refers or "$" not in value or not any(mark in value.lower() for mark in REFERENCES)
    return isinstance(value, int | float) and not isinstance(value, bool)


def _sayable(value: Any, refers: bool) -> bool:
    """True when every leaf is expressible; asked for each command, so without its path."""
    if isinstance(value, str | int | float):
        return _expressible(value, refers)
    if isinstance(value, Mapping):
        return bool(value) and all(_sayable(part, refers) for part in value.values())
    return isinstance(value, Sequence) and bool(value) and all(_sayable(part, refers) for part in value)


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every scalar with its bracketed path; an empty list or map is a leaf, for it cannot be expressed."""
    if isinstance(value, Mapping) and (value or not path):
        for key, part in value.items():
            yield from _leaves(part, f"{path}[{key}]" if path else str(key))
    elif isinstance(value, Sequence) and not isinstance(value, str) and value:
        for index, part in enumerate(value):
            yield from _leaves(part, f"{path}[{index}]")
    else:
        yield path, value
