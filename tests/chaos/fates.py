"""What a life of the service may meet at a named point, by its word: an error, or the end of the thread."""

from __future__ import annotations

import sqlite3
import ssl
from collections.abc import Callable

ERRORS: dict[str, Callable[[], BaseException]] = {
    "OSError": lambda: OSError(28, "No space left on device"),
    "SSLError": lambda: ssl.SSLError(1, "[SSL] record layer failure"),
    "Locked": lambda: sqlite3.OperationalError("database is locked"),
    "Full": lambda: sqlite3.OperationalError("database or disk is full"),
    "MemoryError": MemoryError,
    "AttributeError": lambda: AttributeError("'str' object has no attribute '__cause__'"),
    "UnicodeDecodeError": lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    "RecursionError": lambda: RecursionError("maximum recursion depth exceeded"),
}
ENDS: dict[str, Callable[[], BaseException]] = {
    "SystemExit": SystemExit,
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
}
"""What no thread outlives."""
FATES = {**ERRORS, **ENDS}
