"""Indexes that keep a portal of 100,000 tasks quick: ids in order, and ids by a time that changes."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from datetime import datetime


class SortedIds:
    """Ids in ascending order."""

    def __init__(self) -> None:
        self._ids: list[int] = []

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[int]:
        return iter(self._ids)

    def add(self, number: int) -> None:
        """Put an id in; cheap for the largest so far."""
        insort(self._ids, number)

    def drop(self, number: int) -> None:
        """Take an id out, if it is there."""
        at = bisect_left(self._ids, number)
        if at < len(self._ids) and self._ids[at] == number:
            del self._ids[at]

    def after(self, number: int) -> list[int]:
        """Every id above ``number``, ascending."""
        return self._ids[bisect_right(self._ids, number) :]

    def all(self) -> list[int]:
        """Every id, ascending."""
        return list(self._ids)


class TimeIndex:
    """Ids by a moment that may change."""

    def __init__(self) -> None:
        self._order: list[tuple[datetime, int]] = []
        self._at: dict[int, datetime] = {}

    def put(self, number: int, at: datetime) -> None:
        """Note that ``number`` is at ``at`` now."""
        if self._at.get(number) != at:
            self.drop(number)
            self._at[number] = at
            insort(self._order, (at, number))

    def drop(self, number: int) -> None:
        """Forget ``number``."""
        at = self._at.pop(number, None)
        if at is not None:
            del self._order[bisect_left(self._order, (at, number))]

    def since(self, at: datetime) -> list[int]:
        """Ids at ``at`` or later, ascending by id."""
        return sorted(number for _, number in self._order[bisect_left(self._order, (at, 0)) :])
