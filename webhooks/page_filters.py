"""What of a list the address asks for: filters, order, length. Plain links and a form; the address keeps the choice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from urllib.parse import urlencode

from bitrix_sync.report.declaration import FILTERS, Column, Form

LONGEST = 200
"""Characters of a part of an address that are read."""
NO_ORDER = frozenset({Form.DAYS, Form.BAR, Form.DRAFT, Form.OF_DONE, Form.ROOM})
"""Forms of cells that nobody can sort by."""
TASKS = frozenset({Form.TASK, Form.TASK_OF_RULE, "task_alone"})
"""Forms that show the task's title, whatever their key is."""
MOST_PEOPLE = 300
"""So many employees are offered in a list; of more a name is to be typed."""


@dataclass(frozen=True, slots=True)
class Query:
    """The parts of an address that choose, sort and cut a list; ``path`` is what stands before them."""

    parts: Mapping[str, str]
    path: str = ""

    @classmethod
    def of(cls, args: Mapping[str, str], path: str = "") -> Query:
        """Those of a request."""
        known = (*FILTERS, "by", "what", "sort", "desc", "all")
        return cls({name: args[name][:LONGEST] for name in known if args.get(name)}, path)

    def get(self, name: str) -> str:
        """A part, "" if it is missing."""
        return self.parts.get(name, "")

    def filters(self, takes: Iterable[str]) -> dict[str, str]:
        """The parts that choose, of those that a report takes."""
        return {name: self.parts[name] for name in takes if name in self.parts}

    def url(self, path: str = "", **changed: Any) -> str:
        """The address with other parts: ``None`` takes one away."""
        parts = {**self.parts, **changed}
        kept = {name: str(value) for name, value in parts.items() if value not in (None, "")}
        return f"{path or self.path}?{urlencode(kept)}" if kept else path or self.path

    def only(self, path: str, **parts: Any) -> str:
        """An address below the page with the filters of this one and these parts."""
        kept = {name: text for name, text in self.parts.items() if name in FILTERS}
        return Query(kept, path).url(**parts)

    @property
    def cleared(self) -> str:
        """The address without filters."""
        return Query({name: self.parts[name] for name in ("what",) if name in self.parts}, self.path).url()

    # --- order -------------------------------------------------------------------------------------------------------

    def sorts(self, column: Column) -> bool:
        """Whether a list can be sorted by the column."""
        return column.form not in NO_ORDER

    def sorted_by(self, column: Column) -> str:
        """``ascending``, ``descending`` or "" for the order of the list as it is."""
        if self.get("sort") != column.key:
            return ""
        return "descending" if self.get("desc") else "ascending"

    def order(self, column: Column) -> str:
        """The address of the list sorted by the column; sorted already, the other way round."""
        desc = "1" if self.sorted_by(column) == "ascending" else None
        return self.url(sort=column.key, desc=desc, all=None)

    def in_order(self, lines: Sequence[dict[str, Any]], columns: Sequence[Column]) -> list[dict[str, Any]]:
        """The rows as the address sorts them; rows without a value last."""
        column = next((one for one in columns if one.key == self.get("sort") and self.sorts(one)), None)
        if column is None:
            return list(lines)
        key = "title" if column.form in TASKS else column.key
        filled = [line for line in lines if line.get(key) not in (None, "")]
        empty = [line for line in lines if line.get(key) in (None, "")]
        return [*sorted(filled, key=lambda line: _value(line[key]), reverse=bool(self.get("desc"))), *empty]


def _value(value: Any) -> Any:
    return value.casefold() if isinstance(value, str) else value


def day_of(text: str) -> str:
    """The day in a part of an address, for a form; "" for none."""
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        return ""
