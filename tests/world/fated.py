"""The command line with a fate: a machine whose clock is set while it runs, or a thread that dies.

``FATE_CLOCK`` names a file with the seconds by which the machine's clock is wrong, read at every look at the clock.
``FATE_DIES`` is ``place:exception``: who comes to the place for the second time meets it there, at the start for the
first.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

clock, dies = os.environ.pop("FATE_CLOCK", ""), os.environ.pop("FATE_DIES", "")
if clock:
    right = time.time
    time.time = lambda: right() + float(Path(clock).read_text())  # before anything of ours is loaded

import webhooks.server  # noqa: E402
from bitrix_sync import app  # noqa: E402
from bitrix_sync.cli import main  # noqa: E402

PLACES: dict[str, tuple[Any, str]] = {
    "start": (app.Service, "restore_pace"),
    "worker": (app.Service, "turn"),
    "suffer": (app.Service, "suffer"),
    "lease": (app.Service, "renew_lease"),
    "web": (webhooks.server.WebServer, "_turn"),
}
EXCEPTIONS: dict[str, BaseException] = {
    "SystemExit": SystemExit(),
    "CancelledError": asyncio.CancelledError(),
    "MemoryError": MemoryError(),
    "ValueError": ValueError("fate"),
    "KeyError": KeyError("fate"),
}


def dying(work: Callable[..., Any], fault: BaseException, *, times: int = 0) -> Callable[..., Any]:
    """The same work, which meets the exception at its second time. ``times``: how often it was done."""

    @wraps(work)
    def go(*given: Any, **named: Any) -> Any:
        nonlocal times
        times += 1
        if times > 1:
            raise fault
        return work(*given, **named)

    return go


if dies:
    place, _, name = dies.partition(":")
    owner, method = PLACES[place]
    setattr(owner, method, dying(getattr(owner, method), EXCEPTIONS[name], times=int(place == "start")))
    if place == "suffer":  # somebody has to be in trouble first
        app.Service.turn = dying(app.Service.turn, ValueError("trouble"))  # type: ignore[method-assign]
        app.TROUBLE_PAUSES = (0.1,)  # type: ignore[assignment]
    app.RENEW_SECONDS = 0.3

if __name__ == "__main__":
    main()
