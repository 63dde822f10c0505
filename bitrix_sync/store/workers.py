"""The workers of a fleet: who they are, and when each gave its last beat, by the database's clock. An operator's table
beside that of portals, on PostgreSQL alone. Every method is one transaction; all raise StoreError.

The queue has numbers of its own for them, new ones after each outage; ``name`` is one for as long as the process lives.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, insert, inspect, select, text, update

from bitrix_sync.store.database import Database
from bitrix_sync.store.dialects import BUSY_SECONDS
from bitrix_sync.store.portals import CLOCK, span_of
from bitrix_sync.store.schema import schema_versions, workers

FORGOTTEN = timedelta(hours=1)
"""A worker that gave no beat for so long is not spoken of any more."""
c = workers.c
_UNDER_WAY = text(
    "SELECT worker_id, count(*) AS turns FROM procrastinate_jobs"
    " WHERE status = 'doing' AND task_name = 'tend' AND worker_id IS NOT NULL GROUP BY worker_id"
)
_ENGINE_BEAT = text("UPDATE procrastinate_workers SET last_heartbeat = now() WHERE id = :engine RETURNING id")


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A process that works for portals. ``engine``: its number in the queue. ``threads``: at how many portals it
    works at once, 0 when it is about to end. ``portals``: how many it keeps in memory.
    ``ahead``: seconds that its machine's clock is ahead of the database's."""

    name: str
    engine: int
    host: str
    pid: int
    program: str
    threads: int
    portals: int = 0
    ahead: float = 0.0


@dataclass(frozen=True, slots=True)
class Seen:
    """A worker, when it began, and how many seconds ago it gave its last beat."""

    row: WorkerRow
    began: datetime
    ago: float


@dataclass(frozen=True, slots=True)
class Beat:
    """What the database answered to a beat: its time, whether the queue knows the worker still, and the version of the
    oldest program that may work with the tables."""

    at: datetime
    known: bool
    oldest: str


class Workers:
    """The table of workers in the database at an address."""

    def __init__(self, url: str, *, busy_seconds: float = BUSY_SECONDS) -> None:
        self._database = Database(url, busy_seconds=busy_seconds)

    def close(self) -> None:
        """Closes every connection."""
        self._database.close()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def beat(self, row: WorkerRow) -> Beat:
        """The worker lives."""
        with self._database.unqueued() as connection:
            known = connection.execute(_ENGINE_BEAT, {"engine": row.engine}).first() is not None
            oldest = select(schema_versions.c.oldest).scalar_subquery()
            at, allowed = connection.execute(select(CLOCK, oldest)).one()
            values = {**asdict(row), "seen": at}
            changed = connection.execute(update(workers).where(c.name == row.name).values(values)).rowcount
            if not changed:
                connection.execute(delete(workers).where(c.seen < CLOCK - span_of(FORGOTTEN)))
                connection.execute(insert(workers).values({**values, "began": at}))
        return Beat(at, known, allowed or "")

    def leave(self, name: str) -> None:
        """The worker goes in peace."""
        with self._database.unqueued() as connection:
            connection.execute(delete(workers).where(c.name == name))

    def all(self) -> list[Seen]:
        """Who works, and who did until lately, by host and name."""
        query = select(workers, CLOCK.label("now")).order_by(c.host, c.pid, c.name)
        with self._database.reading() as connection:
            found = connection.execute(query).mappings().all()
        names = WorkerRow.__dataclass_fields__
        return [
            Seen(
                WorkerRow(**{name: one[name] for name in names}),
                one["began"],
                (one["now"] - one["seen"]).total_seconds(),
            )
            for one in found
        ]

    def living(self, lost: float) -> list[str]:
        """The names of those that gave a beat within so many seconds and take turns, sorted."""
        query = select(c.name).where(c.threads > 0, c.seen > CLOCK - span_of(timedelta(seconds=lost))).order_by(c.name)
        with self._database.reading() as connection:
            return list(connection.execute(query).scalars())

    def turns(self) -> dict[int, int]:
        """Turns under way, by the worker's number in the queue; none where there is no queue yet."""
        with self._database.reading() as connection:
            if not inspect(connection).has_table("procrastinate_jobs"):
                return {}
            return {int(one.worker_id): int(one.turns) for one in connection.execute(_UNDER_WAY)}
