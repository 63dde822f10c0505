"""``python scheduler.py`` is the service without its web side: the worker, and the thread that keeps its lease.

Nothing ticks: each turn of the worker says when it wants the next one (``bitrix_sync.app``).
"""

from __future__ import annotations

import signal
import sys
import threading
from asyncio import CancelledError

from bitrix_sync.app import WORKER, Service, check_file
from bitrix_sync.errors import BitrixSyncError


def run(service: Service) -> None:
    """Work until the service is stopped (SIGTERM, Ctrl-C), or has to end by itself: ``service.failed``."""
    with service.telling_watchers():
        service.mind(WORKER, lambda: work(service))


def work(service: Service) -> None:
    """The worker, with the thread that keeps its lease."""
    try:
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
