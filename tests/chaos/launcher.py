"""``bitrix-sync run`` again and again, with a shorter patience, each life with an end at a named point.

The program is loaded once; each line of standard input begins a life in a process of its own (forked before anything is
opened or started), told where it is to end: ``record:before-commit*3`` is killed when it passes that point for the
third time, an empty line lives until somebody ends it. Answers are lines too: the life's process number, then its exit
code. The pauses that suit a portal in daily use are shortened, so that many lives fit into a minute; nothing else
differs from the command.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from datetime import timedelta
from uuid import uuid4

import bitrix_sync.engine.sender
import bitrix_sync.store.lease
import bitrix_sync.store.store
import scheduler
import webhooks.server  # noqa: F401  loaded here, once for all lives
from bitrix_sync import app
from bitrix_sync.cli import main
from bitrix_sync.decisions import schedule
from bitrix_sync.engine import recheck
from bitrix_sync.portal import client, rate_limiter
from bitrix_sync.portal.dialect import outcomes

passed: Counter[str] = Counter()


def die_at(name: str, times: int) -> None:
    """Let the process end when it passes the point for the ``times``-th time."""

    def pass_by(point: str) -> None:
        passed[point] += 1
        if point == name and passed[point] >= times:
            os.kill(os.getpid(), signal.SIGKILL)

    bitrix_sync.store.store.crash_point = pass_by
    bitrix_sync.engine.sender.crash_point = pass_by


def hurry() -> None:
    """Shorter pauses."""
    scheduler.SLOTS_SECONDS = 0.3  # type: ignore[assignment]
    app.RENEW_SECONDS, app.WAIT_PAUSE = 1.0, 0.2
    schedule.EVENT_GAP, schedule.BUSY_GAP, schedule.WIDE_GAP, schedule.TICK = 0.2, 0.5, 2.0, 0.2
    app.TROUBLE_PAUSES = (0.2, 0.5, 1.0)  # type: ignore[assignment]
    recheck.TWIN_REST = timedelta(seconds=1)
    client.FIRST_DELAY, client.LONGEST_DELAY, client.NO_CONNECTION_PAUSE = 0.1, 1.0, 0.2
    outcomes.EXPIRED_PAUSE = 0.5
    rate_limiter.FIRST_PAUSE, rate_limiter.LONGEST_PAUSE = 0.2, 1.0


def live(doom: str) -> None:
    """One life; never comes back."""
    bitrix_sync.store.lease._THIS_PROCESS = uuid4().hex
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    point, _, times = doom.partition("*")
    if point:
        die_at(point, int(times or 1))
    sys.argv = ["bitrix-sync", "run"]
    main()


def serve() -> None:
    """Begin lives as told until nobody tells any more."""
    while doom := sys.stdin.readline():
        pid = os.fork()
        if pid == 0:
            live(doom.strip())
        _say(pid)
        _say(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    hurry()
    serve()
