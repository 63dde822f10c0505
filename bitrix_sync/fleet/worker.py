"""``bitrix-sync worker``: a process that takes turns at the portals of a fleet, as many of them as there are on as many
machines as one likes. Which portal is next is the queue's business (``fleet.queue``).

A turn takes the portal's lease, lets its service do what is due, for a few seconds at most, and notes when the portal
is due next. It never raises and is never retried: what went wrong is the portal's trouble, and a later turn. What a
worker that was killed or stopped left behind is found by the others within ``BITRIX_LOST_SECONDS``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import structlog
from flask import Flask
from procrastinate import App, JobContext
from procrastinate.exceptions import ConnectorException

from bitrix_sync import __version__
from bitrix_sync.app import Health
from bitrix_sync.engine.watchers import Trouble
from bitrix_sync.errors import LeaseLost, StoreError, UserError
from bitrix_sync.fleet import queue
from bitrix_sync.fleet.beats import REFUSE_AHEAD, Beats, WorkerHold
from bitrix_sync.fleet.portal_settings import portal_settings
from bitrix_sync.fleet.seal import Seals, read_seals
from bitrix_sync.fleet.service import PortalService
from bitrix_sync.fleet.web import opened_portals
from bitrix_sync.settings import Settings
from bitrix_sync.store.portals import PortalRow, Portals, Turn
from bitrix_sync.store.schema import HEAD
from bitrix_sync.store.workers import WorkerRow, Workers
from webhooks import health
from webhooks.server import serve

log = structlog.get_logger(__name__)

TURN_SECONDS = 2.0
"""How long a portal may have a thread while others wait."""
FIRST_SECONDS = 6.0
"""The same when it has to be opened first."""
SLOW_SECONDS = 5.0
"""Portals whose last turn took longer share half of the threads."""
SLOW_AGAIN, FAULT_AGAIN = 1.0, 60.0
"""Seconds after which a portal is due again for which there was no thread, or where nobody knows what happened."""
ORPHANED = 10.0
"""After so long the engine need not think any more that we do what we have done."""
HANGS = 15.0
"""A process whose beat or look into the queue has not come back for so long is ended: it may never come back."""
STOOD_STILL = 4.0
"""Seconds between two looks of the watchdog after which the whole process was stopped meanwhile."""
END_SECONDS = 8.0
"""How long turns may take to end when the worker is to end."""
CLAIM = 2000
"""Portals that one look takes at most."""
CLOSE_AFTER = 5.0
"""A connection to a portal that is wanted only so many seconds later is closed: there are many portals."""
TICK = 0.2
"""Seconds between two turns of a command."""
POLL_SECONDS = 5.0
"""How often the engine looks into the queue though nobody has called."""


@dataclass(slots=True)
class Warm:
    """A portal's service as it was left after its last turn."""

    row: PortalRow
    service: PortalService
    slow: bool = False


class Worker:
    """A worker on the portals in the table at ``base.database_url``. ``seals`` opens their secrets."""

    def __init__(self, base: Settings, seals: Seals) -> None:
        self.base, self._seals = base, seals
        self.threads = base.worker_threads
        self.lost = base.lost_seconds
        self.name = uuid4().hex[:12]
        self.host, self.pid = socket.gethostname(), os.getpid()
        self.stopping = threading.Event()
        self.failed = ""
        """Why the process must end though nobody asked for it."""
        self.portals = Portals(base.database_url)
        self.table = Workers(base.database_url)
        row = WorkerRow(self.name, 0, self.host, self.pid, __version__, self.threads)
        self.beats = Beats(self.table, row, lost=self.lost, unknown=self._is_forgotten)
        self.clock = self.beats.clock()
        self._warm: OrderedDict[int, Warm] = OrderedDict()
        self._at_work: dict[int, int] = {}
        """Turns under way: number of the job → of the portal."""
        self._orphans: dict[int, float] = {}
        self._slow = threading.BoundedSemaphore(max(1, self.threads // 2))
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._engine: asyncio.Task[None] | None = None
        self._fetching_since: float | None = None
        self._away = ""
        self._awoke = time.monotonic()
        """When the whole process went on after it had been stopped."""

    # --- turns -------------------------------------------------------------------------------------------------------

    def tend(self, number: int) -> None:
        """A turn at a portal. Never raises, whatever happens."""
        try:
            self._tend(number)
        except (StoreError, LeaseLost) as fault:  # the portal is due again by itself
            log.warning("a turn was broken off", portal=number, problem=str(fault))
        except Exception:
            log.exception("a turn was broken off", portal=number)

    def _tend(self, number: int) -> None:
        generation = self.beats.generation
        self.beats.require(generation)
        turn = self.portals.take(number, self.name, self.host, self.pid)
        if not turn.enabled:
            self._forget(number)
            return
        try:
            warm = self._warmed(turn)
        except UserError as fault:
            self.portals.end_turn(turn, after=FAULT_AGAIN, trouble=str(fault), level=0.0, passed=None)
            return
        slow = warm.slow
        if slow and not self._slow.acquire(blocking=False):
            level, trouble = warm.service.portal.rate_limiter.level, warm.service.trouble
            self.portals.end_turn(turn, after=SLOW_AGAIN, trouble=trouble, level=level, passed=None)
            return
        try:
            self._serve(turn, warm, WorkerHold(turn.epoch, self.beats, generation))
        finally:
            if slow:
                self._slow.release()

    def _serve(self, turn: Turn, warm: Warm, hold: WorkerHold) -> None:
        service, began, before = warm.service, time.monotonic(), warm.service.last_pass
        first, after, trouble = False, FAULT_AGAIN, "unexpected error; the log of the worker says where"
        try:
            service.enter(turn, hold)
            first = service.context is None
            after = 0.0 if self.stopping.is_set() else service.take_turns(FIRST_SECONDS if first else TURN_SECONDS)
            trouble = service.trouble
        finally:
            warm.slow = time.monotonic() - began > SLOW_SECONDS and not (first and service.context)
            if after > CLOSE_AFTER:
                service.portal.close()
            self.portals.end_turn(
                turn,
                after=0.0 if self.stopping.is_set() else after,
                trouble=trouble,
                level=service.portal.rate_limiter.level,
                passed=service.last_pass if service.last_pass != before else None,
            )

    def _warmed(self, turn: Turn) -> Warm:
        """The portal's service, as its row is now. UserError when its secrets cannot be opened."""
        with self._lock:
            warm = self._warm.get(turn.number)
            if warm is not None:
                self._warm.move_to_end(turn.number)
        if warm is not None and warm.row.version == turn.version:
            return warm
        row = self.portals.numbered(turn.number)
        assert row is not None, "names stay"
        settings = portal_settings(self.base, row, self._seals)
        if warm is not None and _same_but_rules(warm.row, row):
            if warm.row.rules_version != row.rules_version:
                warm.service.change_rules(row.rules, row.rules_version)
            warm.row = row
            return warm
        self._forget(turn.number)
        return self._keep(Warm(row, PortalService(settings, self.clock)))

    def _keep(self, warm: Warm) -> Warm:
        """Keep a portal in memory; what was used longest ago makes room for it."""
        with self._lock:
            self._warm[warm.row.number] = warm
            busy = {warm.row.number, *self._at_work.values()}
            resting = [number for number in self._warm if number not in busy]
            spare = [self._warm.pop(one) for one in resting[: max(0, len(self._warm) - self.base.worker_portals)]]
            self.beats.portals = len(self._warm)
        for one in spare:
            one.service.leave()
        return warm

    def _forget(self, number: int) -> None:
        with self._lock:
            warm = self._warm.pop(number, None)
            self.beats.portals = len(self._warm)
        if warm is not None:
            warm.service.leave()

    # --- the engine --------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Until SIGTERM or Ctrl-C; the exit code."""
        log.info("started", version=__version__, worker=self.name, database=self.portals.name)
        with self._beating() as done:
            threading.Thread(target=self._watch, args=(done,), name="watchdog", daemon=True).start()
            asyncio.run(self._work())
        log.info("ended", reason=self.failed or "asked for")
        return 3 if self.failed else 0

    def serve_alone(self, number: int, enough: Callable[[], bool]) -> None:
        """Without the engine, turns at one portal until that is so, or another worker has one."""
        with self._beating(), queue.alone(self.base.database_url, number, self.beats.register) as ours:
            while ours and not (enough() or self.stopping.is_set()):
                self.tend(number)
                self.stopping.wait(TICK)

    @contextlib.contextmanager
    def _beating(self) -> Iterator[threading.Event]:
        """Give beats meanwhile, and close all at the end, of which the event tells."""
        done = threading.Event()
        threading.Thread(target=self._mind, args=(self.beats.go_on, done), name="beats", daemon=True).start()
        try:
            yield done
        finally:
            done.set()
            self.beats.wake()
            self._close()

    def stop(self) -> None:
        """Begin no new turn; those under way end, or leave what is in flight as unknown."""
        self.stopping.set()
        self.beats.leave()
        with self._lock:
            services = [warm.service for warm in self._warm.values()]
        for service in services:
            service.stop()
        self._enter_anew()

    def fail(self, reason: str) -> None:
        """End though nobody asked for it."""
        log.critical("stopping", problem=reason)
        self.failed = self.failed or reason
        self.stop()

    async def _work(self) -> None:
        loop = self._loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(self.threads + 6, thread_name_prefix="turn"))
        loop.set_exception_handler(_told_briefly)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        app = queue.engine(self.base.database_url, self.beats.register, self._fetching)
        jobs = queue.Queue(app)

        @app.task(name=queue.TEND, queue=queue.ANYBODYS, pass_context=True)
        def tend(context: JobContext, portal: int) -> None:
            job = context.job.id or 0
            self._at_work[job] = portal
            try:
                self.tend(portal)
            finally:
                del self._at_work[job]

        @app.periodic(cron=queue.EVERY_SECOND)
        @app.task(name=queue.LOOK, queue=queue.ANYBODYS, lock=queue.LOOK, queueing_lock=queue.LOOK)
        async def look(timestamp: int) -> None:
            try:
                await self._look(jobs)
            except (StoreError, ConnectorException) as fault:
                log.warning("no look at what is due", problem=str(fault))

        while not self.stopping.is_set():
            try:
                async with app.open_async():
                    while not self.stopping.is_set():
                        await self._take_part(app, jobs)
            except Exception as fault:
                cause = str(fault.__cause__ or fault).strip()
                if cause != self._away:
                    expected = isinstance(fault, ConnectorException | StoreError | OSError)
                    log.error("the queue cannot be reached", problem=cause, exc_info=None if expected else fault)
                self._away = cause
            await asyncio.sleep(0 if self.stopping.is_set() else 1.0)

    def _options(self) -> dict[str, Any]:
        return {
            "queues": [queue.ANYBODYS, queue.queue_of(self.name)],
            "name": self.name,
            "concurrency": self.threads + 1,  # and the look
            "fetch_job_polling_interval": POLL_SECONDS,
            "abort_job_polling_interval": 3600.0,
            "shutdown_graceful_timeout": END_SECONDS,
            "delete_jobs": "always",
            "install_signal_handlers": False,
            "update_heartbeat_interval": 86400.0,  # our own beats are told of, the engine's would not be
            "stalled_worker_timeout": 60 * self.lost,
        }

    async def _take_part(self, app: App, jobs: queue.Queue) -> None:
        """Let the engine work until it stops: because the queue has forgotten its number, or it met a fault, or all is
        to end."""
        if self.stopping.is_set():
            return
        self._engine = asyncio.create_task(app.run_worker_async(**self._options()))
        rescue = asyncio.create_task(self._rescue(jobs))
        try:
            await asyncio.wait([self._engine])
        finally:
            engine, self._engine = self._engine, None
            rescue.cancel()
            await asyncio.wait([rescue])
        if not engine.cancelled():
            engine.result()  # raises

    def _is_forgotten(self) -> None:
        """The queue does not know the engine's number any more; so it is, too, when all is to end."""
        if not self.stopping.is_set():
            self._enter_anew()

    def _enter_anew(self) -> None:
        """The engine ends what it does, and takes a new number."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(lambda: self._engine is not None and self._engine.cancel())

    async def _look(self, jobs: queue.Queue) -> None:
        """What is due goes to whoever is to have it."""
        due = await asyncio.to_thread(self.portals.claim_due, CLAIM)
        living = await asyncio.to_thread(self.table.living, self.lost)
        await jobs.put(due, living)
        await jobs.share(living)

    async def _rescue(self, jobs: queue.Queue) -> None:
        """Again and again: end what lost workers had begun, and what the engine forgot to end; its portals are due."""
        while True:
            await asyncio.sleep(self.lost / 3)
            try:
                left = [job for job in await jobs.lost(self.lost) if await jobs.end(job)]
                left += [job for job in await self._orphaned(jobs) if await jobs.end(job)]
                found = [number for job in left if (number := queue.portal_of(job)) is not None]
                if found:
                    log.warning("taken over", portals=sorted(found)[:20], count=len(found))
                    await asyncio.to_thread(self.portals.ring, found)
                self._away = ""
            except (StoreError, ConnectorException) as fault:
                log.debug("no rescue", problem=str(fault))

    async def _orphaned(self, jobs: queue.Queue) -> list[Any]:
        """Jobs of ours that the engine could not end when they had ended."""
        if self.beats.engine is None:
            return []
        now = time.monotonic()
        idle = {job.id or 0: job for job in await jobs.doing(self.beats.engine)}
        idle = {
            number: job for number, job in idle.items() if number not in self._at_work and job.task_name == queue.TEND
        }
        self._orphans = {number: self._orphans.get(number, now) for number in idle}
        return [job for number, job in idle.items() if now - self._orphans[number] > ORPHANED]

    def _fetching(self, begun: bool) -> None:
        self._fetching_since = time.monotonic() if begun else None

    # --- health ------------------------------------------------------------------------------------------------------

    def alive(self) -> Health:
        """Whether beats and looks come back."""
        if self.failed:
            return Health(self.failed, Trouble.ENDED)
        hangs = self._hangs()
        return Health(hangs, Trouble.THREAD) if hangs else Health("ok")

    def health(self) -> Health:
        """Ready while it takes turns."""
        if not (state := self.alive()).ready:
            return state
        if self.beats.away:
            return Health(self.beats.away, Trouble.DATABASE)
        try:
            self.beats.require(self.beats.generation)
        except LeaseLost:
            return Health("no beat has reached the database yet", Trouble.STARTING)
        return Health("ok")

    def _hangs(self) -> str:
        now, since = time.monotonic(), self._fetching_since
        beat = now - max(self.beats.sign, self._awoke)
        if beat > HANGS:
            return f"a beat has not come back for {beat:.0f} s"
        if since is not None and (look := now - max(since, self._awoke)) > HANGS:
            return f"a look into the queue has not come back for {look:.0f} s"
        return ""

    def _watch(self, done: threading.Event) -> None:
        """Ends the process when it hangs, or may not work any more. One that was stopped as a whole does not hang."""
        looked = time.monotonic()
        while not done.wait(1.0):
            before, looked = looked, time.monotonic()
            if looked - before > STOOD_STILL:
                self._awoke = looked
            if hangs := self._hangs():
                log.critical("stopping", problem=hangs)
                os._exit(3)
            if self.stopping.is_set():
                continue
            if abs(self.beats.ahead) > REFUSE_AHEAD:
                self.fail(clock_fault(self.beats.ahead))
            elif self.beats.oldest > HEAD:
                self.fail(f"the database's tables are of a newer bitrix-sync; this is {__version__}: install that one")

    def _mind(self, work: Callable[[threading.Event], object], done: threading.Event) -> None:
        try:
            work(done)
        except BaseException as fault:
            log.critical("stopping", exc_info=True)
            self.fail(f"the thread of the beats has ended ({type(fault).__name__}); the log says where")

    def _close(self) -> None:
        with contextlib.suppress(StoreError):
            self.table.leave(self.name)
        for number in list(self._warm):
            self._forget(number)
        self.table.close()
        self.portals.close()


def clock_fault(ahead: float) -> str:
    """Why a machine may not work."""
    side = "ahead of" if ahead > 0 else "behind"
    return f"this machine's clock is {abs(ahead):.0f} s {side} the database's; set it (NTP), and start again"


def _same_but_rules(one: PortalRow, other: PortalRow) -> bool:
    return (one.webhook, one.tokens, one.settings) == (other.webhook, other.tokens, other.settings)


def _told_briefly(_loop: asyncio.AbstractEventLoop, said: dict[str, Any]) -> None:
    """What the engine could not write down is found by the rescue."""
    log.warning("the engine met a fault", problem=str(said.get("exception") or said.get("message")))


def start(base: Settings) -> int:
    """A worker, from its settings to its end; the exit code. Raises UserError and StoreError before it has begun."""
    seals = read_seals(base.secret_key_file)
    opened_portals(base.database_url, stopping=threading.Event()).close()
    queue.set_up(base.database_url)
    logging.getLogger("procrastinate").setLevel(logging.CRITICAL)
    worker = Worker(base, seals)
    if "listen" not in base.model_fields_set:
        return worker.run()
    web = Flask("worker", static_folder=None)
    web.register_blueprint(health.blueprint(worker))
    server = threading.Thread(
        target=serve,
        args=(web, base.listen, worker.stopping),
        kwargs={"announce": lambda _url: None},
        name="web",
        daemon=True,
    )
    server.start()
    return worker.run()
