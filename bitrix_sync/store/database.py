"""The database itself: opening, migrating, transactions, errors. What differs between databases is in ``dialects``."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, inspect, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from bitrix_sync.errors import StoreAway, StoreError
from bitrix_sync.store.dialects import BUSY_SECONDS, EXTRA_KEYS, dialect_of, insert, whole_file
from bitrix_sync.store.rows import copy_rows
from bitrix_sync.store.schema import DEFAULT_PORTAL, HEAD, portal

_MIGRATIONS = Path(__file__).parent / "migrations"


class _View(threading.local):
    """What a thread sees of the database while it looks at one and the same commit."""

    open = False
    connection: Connection | None = None


class Database:
    """An opened database of the present version."""

    def __init__(
        self, url: str, *, busy_seconds: float = BUSY_SECONDS, create: bool = True, portal: int = DEFAULT_PORTAL
    ) -> None:
        """``create``: make the database if there is none. ``portal``: whose rows are seen where there are many."""
        self._turn = threading.Lock()
        self._view = _View()
        self._dialect = dialect_of(url)(url, busy_seconds=busy_seconds, create=create, portal=portal)
        self.name = self._dialect.name
        try:
            with self.errors():
                self._open()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Closes every connection."""
        self._dialect.close()

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """A consistent view of the last commit; within a ``view`` of that which it shows."""
        self._dialect.require()
        with self.errors():
            if not self._view.open:
                with self._dialect.reader.connect() as connection, connection.begin():
                    yield connection
                return
            if self._view.connection is None:
                self._view.connection = self._dialect.reader.connect()
                self._view.connection.begin()
            try:
                yield self._view.connection
            except BaseException:
                self.look_away()
                raise

    @contextlib.contextmanager
    def view(self) -> Iterator[None]:
        """Meanwhile what this thread reads is one transaction, up to its next write or until it looks away."""
        self._view.open = True
        try:
            yield
        finally:
            self._view.open = False
            self.look_away()

    def look_away(self) -> None:
        """This thread sees the last commit again when it reads next: call it before anything that takes long."""
        connection, self._view.connection = self._view.connection, None
        if connection is not None:
            with contextlib.suppress(DBAPIError, *self._dialect.faults), connection:
                connection.commit()  # to roll it back would have the driver of PostgreSQL forget what it has prepared

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """The one writing transaction; committed at the end, rolled back by any exception. Threads of this process wait
        for their turn as long as it takes, other processes ``BUSY_SECONDS``."""
        self.look_away()
        with self._turn:
            self._dialect.require()
            with self.errors(), self._dialect.writer.connect() as connection, connection.begin():
                yield connection

    @contextlib.contextmanager
    def writing_of(self, portal: int) -> Iterator[Connection]:
        """A writing transaction of a portal, for whoever has no store of it open."""
        with self.errors(), self._dialect.writer_of(portal).connect() as connection, connection.begin():
            yield connection

    @contextlib.contextmanager
    def unqueued(self) -> Iterator[Connection]:
        """A writing transaction that waits for no writer, in rows that are no portal's."""
        with self.errors(), self._dialect.unqueued.connect() as connection, connection.begin():
            yield connection

    @contextlib.contextmanager
    def changing_all(self) -> Iterator[Connection]:
        """The same, one after the other, and none while tables are changed."""
        with self.errors(), self._dialect.migrator.connect() as connection, connection.begin():
            yield connection

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Turns what the database says into one line for the administrator."""
        try:
            yield
        except IntegrityError:
            raise
        except DBAPIError as error:
            raise self._fault(error.orig) from error
        except self._dialect.faults as error:
            raise self._fault(error) from error

    def _fault(self, cause: BaseException | None) -> StoreError:
        return (StoreAway if self._dialect.is_away(cause) else StoreError)(self._dialect.say(cause))

    def version(self) -> int:
        """Another number than before once a command may have asked something."""
        self._dialect.require()
        with self.errors():
            return self._dialect.version()

    def backup(self, target: Path) -> None:
        """A consistent copy in one file, mode 0600, while others read and write. Never overwrites."""
        self._dialect.require()
        with self.errors(), whole_file(target) as part:
            self._dialect.backup(part)

    def take_over(self, source: Connection, connection: Connection) -> None:
        """Rows of another database in place of those here, in a writing transaction of this one."""
        copy_rows(source, connection)
        self._dialect.number_on(connection)

    @property
    def on_network(self) -> str:
        """The kind of network disk on which it lies, as ``nfs4``; "" for none."""
        return self._dialect.on_network

    @property
    def size(self) -> int:
        """Bytes that the database takes."""
        with self.errors():
            return self._dialect.size

    def _open(self) -> None:
        with self.reading() as connection:
            version = self._version(connection)
        self._dialect.set_up()
        if version is None or version < HEAD:
            with self._dialect.migrator.connect() as connection, connection.begin():
                if (self._version(connection) or "") < HEAD:  # another process may have been quicker
                    _migrate(connection)
                    self._dialect.arrange(connection)
        with self.reading() as connection:
            known = connection.execute(select(portal.c.id)).first()
        if known is None:  # one of many portals, met for the first time
            with self.writing() as connection:
                insert_new(connection, portal, [{"id": 1, "epoch": 0}])

    def _version(self, connection: Connection) -> str | None:
        """The version of the schema; None where there are no tables yet."""
        tables = set(inspect(connection).get_table_names())
        if not tables:
            return None
        if not {"alembic_version", "portal", "operations"} <= tables:
            raise StoreError(f"database {self.name}: belongs to another program; point DATABASE_URL elsewhere")
        version = str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one())
        if version > HEAD and not self._dialect.tolerates(connection):
            raise StoreError(
                f"database {self.name}: made by a newer bitrix-sync (schema {version}, this program knows {HEAD});"
                " install that version or put back the backup made before the update"
            )
        return version


def insert_new(
    connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]], *, returning: bool = False
) -> list[int]:
    """Inserts the rows that break no unique key and leaves out the others; with ``returning`` the new ids, rising."""
    if not rows:
        return []
    statement = insert(connection, table).on_conflict_do_nothing()
    if not returning:
        connection.execute(statement, rows)
        return []
    return sorted(connection.execute(statement.returning(table.c.id), rows).scalars())


def upsert(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Inserts the rows, or overwrites, by primary key, the columns that they name."""
    if not rows:
        return
    statement = insert(connection, table)
    keys = [column.name for column in table.primary_key]
    new = {name: statement.excluded[name] for name in rows[0] if name not in keys}
    whole = [*EXTRA_KEYS[connection.dialect.name], *keys]
    connection.execute(statement.on_conflict_do_update(index_elements=whole, set_=new), rows)


def _migrate(connection: Connection) -> None:
    from alembic import command  # slow to import, and hardly ever needed
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
