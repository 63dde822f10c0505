"""A store on PostgreSQL: many portals in one database, of which a connection sees one.

Every table has a column ``portal`` that no statement of the store names: the server fills it and lets only its rows be
seen (row level security), by the setting ``bitrix_sync.portal`` of the transaction. Without the setting no row is seen
and none can be written. Statements, migrations and Python's tables are those of SQLite; ``arrange`` adds the column.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import (
    Connection,
    Engine,
    column,
    create_engine,
    event,
    func,
    inspect,
    select,
    text,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, DisconnectionError

from bitrix_sync.errors import StoreError
from bitrix_sync.store.rows import write_file
from bitrix_sync.store.schema import DEFAULT_PORTAL, HEAD, OLDEST_HEAD, metadata, operators, schema_versions

OLDEST = 130000
ASKED = "bitrix_sync_asked"
"""The channel on which a command tells for which portal it asks."""
PORTAL = "nullif(current_setting('bitrix_sync.portal', true), '')::bigint"
_LOCKS = 0x62697472
"""First half of the numbers by which our writers queue; the second is the portal, or 0 for all of them."""
_EVERY = 0
_IDLE = "set_config('idle_in_transaction_session_timeout', '4s', true)"
"""A writer that was stopped in the middle of a transaction must not keep the others waiting for ever."""
_READS = "SELECT set_config('bitrix_sync.portal', %(portal)s, true)"
_WRITES = f"{_READS}, {_IDLE}, pg_advisory_xact_lock({_LOCKS}, %(queue)s)"
"""Begin a transaction."""
_PLAIN = {"alembic_version", *operators.tables}
"""Tables that belong to no portal."""
_QUEUE = "procrastinate_"
"""How the names of the queue's own tables begin."""


class Postgres:
    """Portal ``portal`` of the database at an address. Writers of one portal queue, those of another do not wait for
    them; readers see the last commit and wait for nobody."""

    faults = (psycopg.Error,)

    def __init__(self, url: str, *, busy_seconds: float, create: bool = True, portal: int = DEFAULT_PORTAL) -> None:
        """``create`` makes no difference: the database is made by its administrator, tables are added to it."""
        parsed = make_url(url).set(drivername="postgresql+psycopg")
        self.name = _name(parsed)
        self._pool = _take_pool(parsed, busy_seconds)
        options = partial(self._pool.engine.execution_options, portal=portal)
        self.reader = options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        self.migrator = options(isolation_level="READ COMMITTED", queue=_EVERY)
        self.unqueued = options(isolation_level="READ COMMITTED")
        self._options = options
        self.writer = self.writer_of(portal)
        self._open = True
        self._portal = str(portal)

    def close(self) -> None:
        """Gives the connections back; the last portal of an address closes them."""
        if self._open:
            self._open = False
            _leave_pool(self._pool)

    def writer_of(self, portal: int) -> Engine:
        """The writer of another portal."""
        return self._options(isolation_level="READ COMMITTED", portal=portal, queue=portal)

    def tolerates(self, connection: Connection) -> bool:
        """Whether this program may work with tables that a newer one has made, as that one said."""
        if not inspect(connection).has_table(schema_versions.name):
            return False
        oldest = connection.execute(select(schema_versions.c.oldest)).scalar()
        return oldest is not None and str(oldest) <= HEAD

    def require(self) -> None:
        """The server itself says when it is gone."""

    def version(self) -> int:
        """Another number than before once a command has asked, as far as the server could tell; no look at it."""
        return self._pool.ear.heard(self._portal)

    def set_up(self) -> None:
        """Nothing is kept where what was committed may be lost, or where portals would see each other."""
        with self.reader.connect() as connection, connection.begin():
            server = connection.execute(text(_SERVER)).one()
        for fault, sentence in (
            (server.version < OLDEST, f"PostgreSQL {server.version // 10000} is too old; 13 or newer is needed"),
            (server.encoding != "UTF8", "is not in UTF-8; create it with ENCODING 'UTF8' TEMPLATE template0"),
            (server.fsync == "off", "fsync is off: a power cut would lose what was sent; switch it on"),
            (
                server.commits == "off",
                "synchronous_commit is off: a crash would lose what was sent; switch it on for this role",
            ),
            (
                server.bypasses,
                f"role {server.role} is not bound by row level security (superuser or BYPASSRLS): portals would see"
                " each other; use a role of its own: CREATE ROLE bitrix_sync LOGIN PASSWORD '...'",
            ),
        ):
            if fault:
                raise StoreError(f"database {self.name}: {sentence}")

    def arrange(self, connection: Connection) -> None:
        """Gives tables, keys and indexes that a migration made what they need to hold many portals. What has it is left
        alone, and adds the operator's own tables. Runs in the migration's transaction."""
        seen = inspect(connection)
        names = sorted(name for name in set(seen.get_table_names()) - _PLAIN if not name.startswith(_QUEUE))
        foreign = {name: seen.get_foreign_keys(name) for name in names}
        plain = [
            (name, key) for name, keys in foreign.items() for key in keys if "portal" not in key["constrained_columns"]
        ]
        dropped = (f"ALTER TABLE {name} DROP CONSTRAINT {key['name']}" for name, key in plain)
        shared = (statement for name in names for statement in _shared(seen, name))
        for statement in (*dropped, *shared, *(_foreign_key(name, key) for name, key in plain)):
            connection.execute(text(statement))
        operators.create_all(connection)
        connection.execute(schema_versions.delete())
        connection.execute(schema_versions.insert().values(head=HEAD, oldest=OLDEST_HEAD))

    def number_on(self, connection: Connection) -> None:
        """New rows get numbers above those that came with theirs."""
        for one in metadata.sorted_tables:
            sequence = connection.execute(_SEQUENCE, {"name": one.name}).scalar() if "id" in one.columns else None
            if sequence:
                last = select(column("last_value")).select_from(text(sequence)).scalar_subquery()
                newest = select(func.max(one.c.id)).scalar_subquery()
                connection.execute(select(func.setval(sequence, func.greatest(newest, last))))

    @property
    def on_network(self) -> str:
        """The server sees to its disks."""
        return ""

    @property
    def size(self) -> int:
        """Bytes of the whole database, whoever's rows they hold."""
        with self.reader.connect() as connection, connection.begin():
            return int(connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one())

    def backup(self, part: Path) -> None:
        """The portal's rows as a database of SQLite: a service can be started on that file."""
        with self.reader.connect() as connection, connection.begin():
            write_file(connection, part)

    @classmethod
    def copy(cls, url: str, copy: Path, portal: int = DEFAULT_PORTAL) -> str:
        """All that the portal's store holds now as a file of SQLite; no file if it holds nothing. The database's
        name."""
        database = cls(url, busy_seconds=_SECONDS, portal=portal)
        try:
            with database.reader.connect() as connection, connection.begin():
                if inspect(connection).has_table("portal"):
                    write_file(connection, copy)
        except DBAPIError as fault:
            raise StoreError(database.say(fault.orig)) from None
        finally:
            database.close()
        return database.name

    def is_away(self, cause: BaseException | None) -> bool:
        """Whether nobody answers, or only that it is too early or too late."""
        state = _state(cause)
        return state.startswith(("08", "57P")) and not any(said in str(cause) for said in _UNREACHED)

    def say(self, cause: BaseException | None) -> str:
        """One line for the administrator about what the server said."""
        state = _state(cause)
        words = " ".join(str(cause).split())
        for beginning, sentence in _SENTENCES.items():
            if state.startswith(beginning):
                return f"database {self.name}: {sentence}"
        if state in ("", "08000"):
            for said, sentence in _UNREACHED.items():
                if said in words:
                    return f"database {self.name}: {sentence}"
            return f"database {self.name}: does not answer ({words}); is the server running, is the address right?"
        return f"database {self.name}: {words}"


def _state(cause: BaseException | None) -> str:
    """The server's code; refusals while connecting have none."""
    return getattr(cause, "sqlstate", None) or ("08000" if isinstance(cause, psycopg.OperationalError) else "")


_SECONDS = 10.0
_RESTED = 2.0
"""Seconds after which a connection is asked whether its server is still there, before it is used again."""
_SERVER = """
SELECT current_setting('server_version_num')::int AS version, current_setting('fsync') AS fsync,
       current_setting('synchronous_commit') AS commits, current_setting('server_encoding') AS encoding,
       current_user AS role, coalesce(bool_or(rolsuper OR rolbypassrls), true) AS bypasses
FROM pg_roles WHERE rolname = current_user
"""
_SEQUENCE = text("SELECT pg_get_serial_sequence(:name, 'id')")
_SENTENCES = {
    "28": "the server does not let this role in; check name and password in DATABASE_URL",
    "3D": "there is no database of that name; create it: CREATE DATABASE name OWNER bitrix_sync ENCODING 'UTF8'",
    "42501": "this role may not do that; make it the owner of the database's tables",
    "53100": "the server's disk is full; free some space, nothing that was recorded is lost",
    "53": "the server has no more connections or memory to give; raise max_connections or close others",
    "55P03": "another process holds it locked for too long; is a migration or a long query running?",
    "57P": "the server is shutting down or starting; the service goes on as soon as it answers",
    "25006": "the server is read-only (a standby?); point DATABASE_URL at the primary",
}
"""What to do, by the beginning of the server's code."""
_UNREACHED = {
    "password authentication failed": _SENTENCES["28"],
    "no password supplied": _SENTENCES["28"],
    "does not exist": "the server knows no such database or role; check DATABASE_URL, or create them",
    "no pg_hba.conf entry": "the server's pg_hba.conf lets nobody in from this machine with that role; add a line",
    "too many connections": _SENTENCES["53"],
}
"""Refusals while connecting come without a code."""


def _name(url: URL) -> str:
    """The database, without who and with what password."""
    host = url.host or url.query.get("host") or "local"
    return f"{url.database or url.username} on {host}"


class _Ear:
    """Hears, on a connection of its own, which portals commands ask something of. Whenever it may have missed one,
    everybody looks for himself: so it is until it listens, and after its connection was lost."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._turn = threading.Lock()
        self._connection: Any = None
        self._tried = -_SECONDS
        self._missed = 0
        self._said: Counter[str] = Counter()

    def heard(self, portal: str) -> int:
        """Another number once somebody may have asked something of the portal."""
        with self._turn:
            try:
                self._listen()
            except (psycopg.Error, DBAPIError):
                self.close()
                self._missed += 1
            return self._said[portal] + self._missed

    def close(self) -> None:
        """Listens no more."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error):
                connection.close()

    def _listen(self) -> None:
        if self._connection is None:
            self._missed += 1
            if time.monotonic() - self._tried < _SECONDS / 2:
                return
            self._tried = time.monotonic()
            pooled = self._engine.raw_connection()
            self._connection = pooled.driver_connection
            pooled.detach()
            self._connection.rollback()
            self._connection.autocommit = True
            self._connection.execute(f"LISTEN {ASKED}")
        for note in self._connection.notifies(timeout=0):
            match note:
                case psycopg.Notify(payload=portal):
                    self._said[portal] += 1


@dataclass(slots=True)
class _Pool:
    """The connections of this process to an address, and how many portals use them."""

    key: tuple[URL, float]
    engine: Engine
    ear: _Ear
    users: int = 0


_pools: dict[tuple[URL, float], _Pool] = {}
_pooling = threading.Lock()


def _take_pool(url: URL, busy_seconds: float) -> _Pool:
    key = (url, busy_seconds)
    with _pooling:
        pool = _pools.get(key)
        if pool is None:
            engine = _engine(url, busy_seconds)
            pool = _pools[key] = _Pool(key, engine, _Ear(engine))
        pool.users += 1
        return pool


def _leave_pool(pool: _Pool) -> None:
    with _pooling:
        pool.users -= 1
        if not pool.users:
            del _pools[pool.key]
            pool.ear.close()
            pool.engine.dispose()


def _engine(url: URL, busy_seconds: float) -> Engine:
    options = f"{url.query.get('options', '')} -c lock_timeout={int(busy_seconds * 1000)}".strip()
    engine = create_engine(
        url,
        connect_args={
            "connect_timeout": max(2, int(busy_seconds)),
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 20000,
            "application_name": "bitrix-sync",
            "options": options,
        },
        hide_parameters=True,  # they are what the customers wrote
        pool_size=20,  # as many as a worker's threads use; opened when they are needed
        max_overflow=80,
        pool_use_lifo=True,  # the connection that was used last knows the statements best
    )

    @event.listens_for(engine, "checkin")
    def _rest(_connection: Any, record: Any) -> None:
        record.info["rests_since"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def _ask(connection: Any, record: Any, _proxy: Any) -> None:
        if time.monotonic() - record.info.get("rests_since", time.monotonic()) > _RESTED:
            try:  # a server that was started anew meanwhile is no fault
                engine.dialect.do_ping(connection)
            except psycopg.Error:
                raise DisconnectionError from None

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        said = {"portal": str(options["portal"]), "queue": options.get("queue")}
        connection.exec_driver_sql(_READS if said["queue"] is None else _WRITES, said)

    return engine


def _shared(seen: Any, name: str) -> Iterator[str]:
    """What makes a table one of many portals."""
    columns = seen.get_columns(name)
    if not any(one["name"] == "portal" for one in columns):
        yield f"ALTER TABLE {name} ADD COLUMN portal bigint NOT NULL DEFAULT {PORTAL}"
        yield f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY"
        yield f"ALTER TABLE {name} FORCE ROW LEVEL SECURITY"
        yield f"CREATE POLICY portal ON {name} USING (portal = {PORTAL}) WITH CHECK (portal = {PORTAL})"
    for one in columns:
        kind = str(one["type"])
        if kind == "TEXT":  # keys are compared as text: by bytes, as in SQLite
            yield f'ALTER TABLE {name} ALTER COLUMN "{one["name"]}" TYPE text COLLATE "C"'
        elif kind == "INTEGER":  # numbers of the portal have no bound
            yield f'ALTER TABLE {name} ALTER COLUMN "{one["name"]}" TYPE bigint'
    key = seen.get_pk_constraint(name)
    keys = [("PRIMARY KEY", key["name"], key["constrained_columns"])]
    keys += [("UNIQUE", one["name"], one["column_names"]) for one in seen.get_unique_constraints(name)]
    for kind, called, of in keys:
        if of and "portal" not in of:
            yield f"ALTER TABLE {name} DROP CONSTRAINT {called}"
            yield f"ALTER TABLE {name} ADD CONSTRAINT {called} {kind} (portal, {_listed(of)})"
    for one in seen.get_indexes(name):
        if "duplicates_constraint" not in one and "portal" not in one["column_names"]:
            unique = "UNIQUE " if one["unique"] else ""
            yield f"DROP INDEX {one['name']}"
            yield f"CREATE {unique}INDEX {one['name']} ON {name} (portal, {_listed(one['column_names'])})"


def _foreign_key(name: str, key: Mapping[str, Any]) -> str:
    """The same key, within one portal."""
    ours, theirs = _listed(key["constrained_columns"]), _listed(key["referred_columns"])
    return (
        f"ALTER TABLE {name} ADD CONSTRAINT {key['name']} FOREIGN KEY (portal, {ours})"
        f" REFERENCES {key['referred_table']} (portal, {theirs})"
    )


def _listed(columns: Iterable[str]) -> str:
    return ", ".join(f'"{one}"' for one in columns)
