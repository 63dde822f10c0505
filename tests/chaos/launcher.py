"""``bitrix-sync run`` again and again, with a shorter patience, each life with its fates at named points.

The program is loaded once; each line of standard input begins a life in a process of its own (forked before anything is
opened or started) and names its fates: ``record:before-commit*3=KILL`` is killed when it passes that point for the
third time, any other word of FATES is raised there (``=SystemExit`` loses the thread that passes); an empty line lives
until somebody ends it. Whatever strikes is written into the file ``fates`` first. Answers are lines too: the life's
process number, then its exit code. The machine's clock is wrong by what the file of ``FATE_CLOCK`` says. The pauses
that suit a portal in daily use are shortened, so that many lives fit into a minute; nothing else differs from the
command.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.world.fated import PLACES  # first: it sets the machine's clock before anything of ours is loaded

import bitrix_sync.engine.sender  # isort: skip
import bitrix_sync.store.lease
import bitrix_sync.store.store
from bitrix_sync import app
from bitrix_sync.cli import main
from bitrix_sync.decisions import schedule
from bitrix_sync.engine import recheck
from bitrix_sync.portal import client, rate_limiter
from bitrix_sync.portal.dialect import outcomes
from tests.chaos.fates import FATES

LAZY = (
    *("alembic.command", "fast_bitrix24.user_request"),
    *("bitrix_sync.report.names", "bitrix_sync.rules.spelling", "webhooks.page"),
)
"""What the program loads when it needs it: once, so that no life has to."""
passed: Counter[str] = Counter()


def meet(fates: str) -> None:
    """Let the fates strike where they are to."""
    waiting = dict(fate.split("=") for fate in fates.split())

    def pass_by(point: str) -> None:
        passed[point] += 1
        if fate := waiting.pop(f"{point}*{passed[point]}", ""):
            with Path("fates").open("a", encoding="utf-8") as struck:
                struck.write(f"{point} {fate}\n")
            if fate == "KILL":
                os.kill(os.getpid(), signal.SIGKILL)
            raise FATES[fate]()

    bitrix_sync.store.store.crash_point = bitrix_sync.engine.sender.crash_point = pass_by
    for name, (owner, method) in PLACES.items():
        setattr(owner, method, passing(name, getattr(owner, method), pass_by))


def passing(name: str, work: Callable[..., Any], pass_by: Callable[[str], None]) -> Callable[..., Any]:
    """The same work, which passes a point of that name first."""

    @wraps(work)
    def go(*given: Any, **named: Any) -> Any:
        pass_by(name)
        return work(*given, **named)

    return go


def hurry() -> None:
    """Shorter pauses."""
    app.SLOTS_SECONDS, app.RENEW_SECONDS, app.WAIT_PAUSE = 0.3, 0.5, 0.2
    bitrix_sync.store.lease.TERM = timedelta(seconds=6)
    schedule.EVENT_GAP, schedule.BUSY_GAP, schedule.WIDE_GAP, schedule.TICK = 0.2, 0.5, 2.0, 0.2
    app.TROUBLE_PAUSES = (0.2, 0.5, 1.0)  # type: ignore[assignment]
    recheck.TWIN_REST = timedelta(seconds=1)
    client.FIRST_DELAY, client.LONGEST_DELAY, client.NO_CONNECTION_PAUSE = 0.1, 1.0, 0.2
    outcomes.EXPIRED_PAUSE = 0.5
    rate_limiter.FIRST_PAUSE, rate_limiter.LONGEST_PAUSE = 0.2, 1.0


def live(fates: str) -> None:
    """One life; never comes back."""
    bitrix_sync.store.lease._THIS_PROCESS = uuid4().hex
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    meet(fates)
    sys.argv = ["bitrix-sync", "run"]
    main()


def serve() -> None:
    """Begin lives as told until nobody tells any more."""
    while fates := sys.stdin.readline():
        pid = os.fork()
        if pid == 0:
            live(fates.strip())
        _say(pid)
        _say(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    for module in LAZY:
        import_module(module)
    hurry()
    serve()
