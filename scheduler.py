"""The schedule, and nothing else: when the service polls, looks at its rules file, its slots and its lease.

``python scheduler.py`` is the service without its web side. APScheduler only ticks: what a tick means, and that a slot
is run once, is decided by the service from the store.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading

from apscheduler.schedulers.background import BackgroundScheduler

from bitrix_sync.app import Service, check_file
from bitrix_sync.errors import BitrixSyncError

RULES_SECONDS = 5
LEASE_SECONDS = 5
SLOTS_SECONDS = 20


def schedule(service: Service) -> BackgroundScheduler:
    """The ticks of one service, not yet started."""
    ticks = BackgroundScheduler(job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None})
    ticks.add_job(service.poll, "interval", seconds=service.settings.poll_seconds)
    ticks.add_job(service.bell.ring, "interval", ["rules"], seconds=RULES_SECONDS)
    ticks.add_job(service.bell.ring, "interval", ["slots"], seconds=SLOTS_SECONDS)
    ticks.add_job(service.renew_lease, "interval", seconds=LEASE_SECONDS)
    return ticks


def run(service: Service) -> None:
    """Tick and work until the service is stopped (SIGTERM, Ctrl-C)."""
    logging.getLogger("apscheduler").setLevel(logging.WARNING)
    ticks = schedule(service)
    ticks.start()
    try:
        service.work()
    finally:
        ticks.shutdown(wait=False)
        service.close()


def main() -> int:
    """The service without its web side; exit codes as the command line's."""
    from bitrix_sync.log import configure
    from bitrix_sync.settings import load_settings

    try:
        settings = load_settings()
        configure(settings.log, settings.secrets())
        check_file(settings)
        service = Service(settings)
        service.prove()
    except BitrixSyncError as fault:
        sys.stderr.write(f"{fault}\n")
        return fault.exit_code
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: service.stop())
        signal.signal(signal.SIGINT, lambda *_: service.stop())
    run(service)
    return 0


if __name__ == "__main__":
    sys.exit(main())
