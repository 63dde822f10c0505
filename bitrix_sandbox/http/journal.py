"""What was asked of the sandbox portal: every request in order, and counters."""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import dataclass

KEPT = 100_000
"""Requests kept; older ones remain in the counters only."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One request: epoch seconds of the portal, method, webhook's user, commands of a batch, HTTP status (0: the
    connection was cut), error code if any, fault that struck the request if any."""

    at: float
    method: str
    user_id: int
    commands: int
    status: int
    code: str = ""
    fault: str = ""


class Journal:
    """Requests and calls. ``calls`` counts what handlers ran, commands inside batches too, by lower-case method;
    ``requests`` counts HTTP requests by method. Thread-safe."""

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque(maxlen=KEPT)
        self.calls: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        self.crashes: list[Exception] = []
        """What handlers raised that is no error of the portal: defects of the sandbox."""
        self._lock = threading.Lock()

    def note(self, entry: Entry) -> None:
        """A request was answered, or its connection cut."""
        with self._lock:
            self.entries.append(entry)
            self.requests[entry.method] += 1

    def ran(self, method: str) -> None:
        """A handler is run."""
        with self._lock:
            self.calls[method] += 1
