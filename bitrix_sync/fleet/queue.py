"""The queue of a fleet, kept by procrastinate in the database of the portals: which worker has a turn at which one.

There are two tasks. ``tend`` is a turn at a portal; its lock sees to it that there is one at a time, its queueing lock
that one waits at most. ``look`` finds every second, in one of the workers, which portals are due, and puts a turn of
each into the queue of the worker that is to have it. Nothing is scheduled ahead, and nothing is ever retried: trouble
is a later ``due``; a job is deleted when it ends.

Each worker has a queue of its own, and all of them serve one that is everybody's: a portal mostly comes back to the
worker that knows it, and to any other when that one is gone or busy.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import blake2b

from procrastinate import App, PsycopgConnector
from procrastinate.connector import BaseConnector
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException
from procrastinate.jobs import Job, Status
from procrastinate.manager import JobManager
from procrastinate.schema import SchemaManager
from sqlalchemy import inspect, text
from sqlalchemy.engine import make_url

from bitrix_sync.errors import StoreError, UserError
from bitrix_sync.store.database import Database

ANYBODYS = "portals"
"""The queue that every worker serves."""
TEND, LOOK = "tend", "look"
EVERY_SECOND = "* * * * * *"
PATIENCE = 5.0
"""Seconds that a turn waits for its own worker; after that anybody takes it."""
_STATEMENT = 8000
"""Milliseconds after which a statement of the queue is given up."""


def queue_of(worker: str) -> str:
    """The queue of a worker's own."""
    return f"worker:{worker}"


def preferred(portal: int, workers: Sequence[str]) -> str | None:
    """The worker that a portal comes to as long as it lives: all of them say the same, they have about as many each,
    and when one comes or goes no others change hands. None where there is none. Source: rendezvous hashing."""
    return max(workers, key=lambda name: blake2b(f"{portal} {name}".encode(), digest_size=8).digest(), default=None)


def lock_of(portal: int) -> str:
    """What only one turn at a portal has."""
    return f"portal:{portal}"


class Jobs(JobManager):
    """The engine's own, with an ear for its numbers and its signs of life."""

    def __init__(
        self, connector: BaseConnector, registered: Callable[[int], object], fetching: Callable[[bool], object]
    ) -> None:
        super().__init__(connector)
        self._registered, self._fetching = registered, fetching

    async def register_worker(self) -> int:
        """The number under which the engine knows this worker from now on."""
        number = await super().register_worker()
        await asyncio.to_thread(self._registered, number)
        return number

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> Job | None:
        """The next job, if there is one."""
        self._fetching(True)
        try:
            return await super().fetch_job(queues, worker_id)
        finally:
            self._fetching(False)


class Queue:
    """The queue as a worker uses it. Everything is asynchronous; ConnectorException when the database is away."""

    def __init__(self, app: App) -> None:
        self._app = app

    @property
    def _jobs(self) -> JobManager:
        return self._app.job_manager

    async def put(self, portals: Iterable[int], workers: Sequence[str]) -> None:
        """A turn for each of these portals, for the worker that is to have it; one that waits already is enough."""
        jobs = [turn_of(portal, preferred(portal, workers)) for portal in portals]
        if not jobs:
            return
        try:
            await self._jobs.batch_defer_jobs_async(jobs)
        except AlreadyEnqueued:
            for job in jobs:
                try:
                    await self._jobs.batch_defer_jobs_async([job])
                except AlreadyEnqueued:
                    continue

    async def share(self, workers: Sequence[str]) -> None:
        """Turns that wait for a worker that is gone are anybody's; also for one that has been busy for long while
        another has nothing to do: a portal that changes hands costs an opening."""
        queues = [ANYBODYS, *map(queue_of, workers)]
        await self._jobs.connector.execute_query_async(
            _SHARE, task=TEND, common=ANYBODYS, queues=queues, patience=PATIENCE
        )

    async def lost(self, seconds: float) -> list[Job]:
        """What workers do that gave no beat for so long."""
        return list(await self._jobs.get_stalled_jobs(seconds_since_heartbeat=seconds))

    async def doing(self, worker: int) -> list[Job]:
        """What the engine thinks that a worker does."""
        return list(await self._jobs.list_jobs_async(status=Status.DOING.value, worker_id=worker))

    async def end(self, job: Job) -> bool:
        """A job that nobody works at any more has failed, and is gone; False: somebody else has said so."""
        try:
            await self._jobs.finish_job(job, Status.FAILED, delete_job=True)
        except ConnectorException as fault:
            if "not found" in str(fault.__cause__):
                return False
            raise
        return True


def turn_of(portal: int, worker: str | None) -> Job:
    """A turn at a portal, for that worker or for anybody."""
    return Job(
        queue=ANYBODYS if worker is None else queue_of(worker),
        lock=lock_of(portal),
        queueing_lock=lock_of(portal),
        task_name=TEND,
        task_kwargs={"portal": portal},
    )


def portal_of(job: Job) -> int | None:
    """The portal of a turn; None for another task."""
    return int(str(job.task_kwargs["portal"])) if job.task_name == TEND else None


def engine(url: str, registered: Callable[[int], object], fetching: Callable[[bool], object]) -> App:
    """The engine on the database at an address."""
    connector = PsycopgConnector(
        conninfo=make_url(url).set(drivername="postgresql").render_as_string(hide_password=False),
        min_size=1,
        max_size=4,
        timeout=5.0,
        kwargs={
            "connect_timeout": 5,
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": 10000,
            "application_name": "bitrix-sync worker",
            "options": f"-c statement_timeout={_STATEMENT} -c lock_timeout={_STATEMENT}",
        },
    )
    app = App(connector=connector)
    app.job_manager = Jobs(connector, registered, fetching)
    return app


@contextlib.contextmanager
def alone(url: str, portal: int, register: Callable[[int], object]) -> Iterator[bool]:
    """A turn at a portal without the engine: whether it is ours. Meanwhile nobody else has one, as long as the beats
    of the number that ``register`` takes go on."""
    with contextlib.closing(Database(url)) as database:
        with database.unqueued() as connection:
            number = int(connection.execute(text("SELECT procrastinate_register_worker_v1()")).scalar_one())
        said = {"queue": ANYBODYS, "task": TEND, "lock": lock_of(portal), "portal": portal, "worker": number}
        try:
            register(number)
            with database.unqueued() as connection:
                job = connection.execute(_ALONE, said).scalar()
            yield job is not None
        finally:
            with contextlib.suppress(StoreError), database.unqueued() as connection:
                connection.execute(text("DELETE FROM procrastinate_jobs WHERE worker_id = :worker"), said)
                connection.execute(text("SELECT procrastinate_unregister_worker_v1(:worker)"), said)


def set_up(url: str) -> None:
    """Makes the queue's tables if they are not there. Raises StoreError."""
    with contextlib.closing(Database(url)) as database, database.changing_all() as connection:
        if not inspect(connection).has_table("procrastinate_jobs"):
            driver = connection.connection.driver_connection
            assert driver is not None
            driver.execute(SchemaManager.get_schema())
        elif not connection.execute(text("SELECT to_regproc('procrastinate_fetch_job_v2') IS NOT NULL")).scalar():
            raise UserError(
                f"database {database.name}: its queue is of another version; stop all workers, drop the queue's"
                " tables, functions and types, then `bitrix-sync migrate` makes them anew"
            )


_ALONE = text("""
INSERT INTO procrastinate_jobs (queue_name, task_name, lock, args, status, worker_id)
VALUES (:queue, :task, :lock, jsonb_build_object('portal', CAST(:portal AS bigint)), 'doing', :worker)
ON CONFLICT DO NOTHING RETURNING id
""")
_SHARE = """
WITH shared AS (
  UPDATE procrastinate_jobs AS waiting SET queue_name = %(common)s
  WHERE waiting.status = 'todo' AND waiting.task_name = %(task)s AND waiting.queue_name <> %(common)s
    AND NOT EXISTS (SELECT FROM procrastinate_jobs AS other WHERE other.lock = waiting.lock AND other.status = 'doing')
    AND (waiting.queue_name <> ALL (%(queues)s::varchar[]) OR (
      EXISTS (SELECT FROM procrastinate_events AS put WHERE put.job_id = waiting.id AND put.type = 'deferred'
        AND put.at < now() - make_interval(secs => %(patience)s))
      AND EXISTS (SELECT FROM unnest(%(queues)s::varchar[]) AS idle WHERE idle <> %(common)s AND NOT EXISTS (
        SELECT FROM procrastinate_jobs AS its WHERE its.status = 'todo' AND its.queue_name = idle))))
  RETURNING id
)
SELECT pg_notify('procrastinate_queue_v1#' || %(common)s, json_build_object('type', 'job_inserted', 'job_id', id)::text)
FROM shared LIMIT 1
"""
