"""What the readings of one portal have learnt and use again; lost with the process, and no harm done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

KEEPS = 26 * 3600.0
"""Seconds for which a row counts as not read after it was last met: the recheck meets it again."""
NAMELESS = 0
"""Stands for the id of rows that have none."""


class UnreadableRow(ValueError):
    """A row without what makes it one; says which value is missing or makes no sense."""


@dataclass(slots=True)
class BadRows:
    """Rows of the portal's that could not be read: they are left out, and are not absent for that. ``met``: kind of row
    and id → when it was met first and last (our clock, epoch seconds) and what is wrong with it."""

    clock: Callable[[], float]
    met: dict[tuple[str, int], tuple[float, float, str]] = field(default_factory=dict)

    def note(self, kind: str, number: int, cause: str) -> None:
        """One that cannot be read."""
        now = self.clock()
        first = self.met.get((kind, number), (now, now, cause))[0]
        self.met[kind, number] = (first, now, cause)

    def read(self, kind: str, number: int) -> None:
        """This one can be read (again)."""
        self.met.pop((kind, number), None)

    def forget_unmet(self, kind: str, since: float) -> None:
        """All of a kind were read again since that moment: those that were not met again are no longer there."""
        for key in [key for key, (_, last, _) in self.met.items() if key[0] == kind and last < since]:
            del self.met[key]

    def ids(self, kind: str) -> set[int]:
        """Ids of the rows of a kind that were there and could not be read: nothing may be concluded from their lack."""
        self._forget()
        return {number for found, number in self.met if found == kind}

    def since(self, kind: str) -> list[float]:
        """When each row of a kind was met first that still cannot be read."""
        self._forget()
        return [first for (found, _), (first, _, _) in self.met.items() if found == kind]

    def examples(self, kind: str, cause: str, most: int = 5) -> list[int]:
        """Ids of some rows of a kind that cannot be read for this cause; 0 for those without one."""
        return [number for (found, number), (_, _, why) in self.met.items() if (found, why) == (kind, cause)][:most]

    def causes(self) -> Counter[tuple[str, str]]:
        """How many rows cannot be read, by kind and cause."""
        self._forget()
        return Counter((kind, cause) for (kind, _), (_, _, cause) in self.met.items())

    def _forget(self) -> None:
        old = self.clock() - KEEPS
        for key in [key for key, (_, last, _) in self.met.items() if last < old]:
            del self.met[key]


@dataclass(slots=True)
class ReadHints:
    """``pages``: name of a reading → pages it had last time. ``references``: a batch replaces ``$result[...]`` as
    documented. ``names``: deal field's upper-case code → its name in ``crm.item.*``, as the portal lists them.
    ``semantics``: stage's full id → P, S or F. ``bad``: rows that could not be read."""

    bad: BadRows

    pages: dict[str, int] = field(default_factory=dict)
    references: bool = True
    names: dict[str, str] = field(default_factory=dict)
    semantics: dict[str, str] = field(default_factory=dict)

    def pages_of(self, prefix: str) -> int:
        """Pages that the readings whose names begin so had last time, all together."""
        return sum(pages for name, pages in self.pages.items() if name.startswith(prefix))
