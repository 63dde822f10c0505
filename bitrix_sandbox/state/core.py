"""What every part of the sandbox's state shares: its clock, its lock, its counters, its events."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from bitrix_sandbox.state import values
from bitrix_sandbox.state.clock import Clock
from bitrix_sandbox.state.errors import RestError
from bitrix_sandbox.state.switches import Switches

Emit = Callable[[str, dict[str, Any]], None]


def _silence(event: str, data: dict[str, Any]) -> None:
    """The event handler until a server sets its own."""


class Core:
    """The shared ground of the state's parts. Every method is called with ``lock`` held by the server."""

    def __init__(self, clock: Clock, *, switches: Switches) -> None:
        self.clock = clock
        self.switches = switches
        self.lock = threading.RLock()
        self.emit: Emit = _silence
        self.revision = 0
        self.selections: dict[Any, tuple[int, list[Any]]] = {}
        self.ignored_filters: list[tuple[str, str]] = []
        self._numbers: Counter[str] = Counter()

    def moment(self, at: datetime | str | None = None) -> datetime:
        """``at`` (ISO text or datetime) or now: aware UTC, whole seconds.

        :raises ValueError: ``at`` is no date.
        """
        found = values.moment(self.clock.now() if at is None else at, self.clock.zone)
        if found is None:
            raise ValueError(f"no moment: {at!r}")
        return found

    def touch(self) -> None:
        """Note that something changed: remembered list selections are void."""
        self.revision += 1

    def number(self, what: str, step: int = 1) -> int:
        """The next id of a kind; ``step`` 2 leaves the gaps that cloud portals have."""
        self._numbers[what] += step if self._numbers[what] else 1
        return self._numbers[what]

    def start_numbers(self, what: str, after: int) -> None:
        """Let the ids of a kind begin above ``after``."""
        self._numbers[what] = max(self._numbers[what], after)

    def choices(self, options: Mapping[Any, str] | Iterable[str]) -> dict[int, str]:
        """The options of a user field by id, which they have or are given."""
        if isinstance(options, Mapping):
            return {int(number): text for number, text in options.items()}
        return {self.number("option", 2): text for text in options}

    def iso(self, at: datetime | None) -> str | None:
        """A moment in the server's zone."""
        return values.iso(at, self.clock.zone)

    def ignore_filter(self, method: str, key: str) -> None:
        """A list method met a filter key that it does not know. The real portal says nothing and filters nothing.

        :raises RestError: with the switch ``strict_filters``, so that a test sees the typing error.
        """
        self.ignored_filters.append((method, key))
        if self.switches.strict_filters:
            raise RestError("SANDBOX_UNKNOWN_FILTER", f"{method}: the portal would silently ignore the filter '{key}'")
