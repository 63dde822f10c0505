"""The schedule, and nothing else: when the service polls, looks at its rules file and at its slots.

``python scheduler.py`` is the service without its web side. A tick only rings: what it means, and that a slot is run
once, is decided by the service from the store. Ticks go by the monotonic clock, so no clock that is set stops them.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from asyncio import CancelledError
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from bitrix_sync.app import TICKS, WORKER, Service, check_file
from bitrix_sync.errors import BitrixSyncError

log = structlog.get_logger(__name__)

RULES_SECONDS = 5
SLOTS_SECONDS = 20
LONGEST_REST = 5.0
"""Seconds after which the schedule gives a sign of life, though nothing is due."""


@dataclass(slots=True)
class Tick:
    """What is called every so many seconds; ``due`` by the clock of the schedule."""

    call: Callable[[], object]
    every: float
    due: float


def schedule(service: Service, *, now: float) -> list[Tick]:
    """The ticks of one service, from ``now`` on."""
    ticks = (
        (service.poll, float(service.settings.poll_seconds)),
        (lambda: service.wake_signal.ring("rules"), float(RULES_SECONDS)),
        (lambda: service.wake_signal.ring("slots"), float(SLOTS_SECONDS)),
    )
    return [Tick(call, every, now + every) for call, every in ticks]


def tick(ticks: Sequence[Tick], *, now: float) -> float:
    """Call what is due, each once however late it is; seconds until the next is. What fails is tried at its next."""
    for one in ticks:
        if one.due <= now:
            one.due = now + one.every
            try:
                one.call()
            except Exception:
                log.exception("a tick failed; the others go on")
    return max(0.0, min(LONGEST_REST, *(one.due - now for one in ticks)))


def go_on(service: Service) -> None:
    """Tick until the service stops."""
    ticks, rest = schedule(service, now=time.monotonic()), 0.0
    while not service.stopping.wait(rest):
        rest = tick(ticks, now=time.monotonic())
        service.give_sign(TICKS)


def run(service: Service) -> None:
    """Tick and work until the service is stopped (SIGTERM, Ctrl-C), or has to end by itself: ``service.failed``."""
    with service.telling_watchers():
        service.tend(WORKER, lambda: work(service))


def work(service: Service) -> None:
    """The worker, with the threads that it needs beside it."""
    try:
        service.begin(TICKS, lambda: go_on(service))
        with service.keeping_lease():
            service.work()
    finally:
        service.close()


def main() -> int:
    """The service without its web side; exit codes as the command line's."""
    from bitrix_sync.log import configure
    from bitrix_sync.settings import load_settings, writes_to_journal

    try:
        settings = load_settings()
        configure(settings.log, settings.secrets(), journal=writes_to_journal())
        check_file(settings, restart=True)
        service = Service(settings)
        service.prove()
    except BitrixSyncError as fault:
        sys.stderr.write(f"{fault}\n")
        return fault.exit_code
    except (SystemExit, GeneratorExit, CancelledError):  # nobody asked for it
        return 3
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: service.stop())
        signal.signal(signal.SIGINT, lambda *_: service.stop())
    run(service)
    return 3 if service.failed else 0


if __name__ == "__main__":
    sys.exit(main())
