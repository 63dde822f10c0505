"""The database itself: opening, migrating, transactions, errors, backup. All that is SQLite's alone is in this module.

WAL with ``synchronous=FULL``: what was committed survives a power cut. Writers queue (BEGIN IMMEDIATE, 10 s); readers
see the last commit and wait for nobody.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, IntegrityError

from bitrix_sync.errors import StoreError
from bitrix_sync.store.schema import HEAD

BUSY_SECONDS = 10
_LOG_BYTES = 16 * 1024 * 1024  # what a large pass leaves of the write-ahead log once it is folded in
_opened: Counter[Path] = Counter()
_MIGRATIONS = Path(__file__).parent / "migrations"


class Database:
    """An opened database of the present version."""

    def __init__(self, url: str, *, busy_seconds: float = BUSY_SECONDS, create: bool = True) -> None:
        """``create``: make the file if there is none."""
        self.path = _path(url)
        if not (create or self.path.exists()):
            raise StoreError(
                f"database {self.path}: is not there; start `bitrix-sync run` first, or set DATABASE_URL to where the"
                " service runs"
            )
        self._busy_seconds = busy_seconds
        self._turn = threading.Lock()
        _prepare_files(self.path)
        self._file = self.path.stat()
        self._engine = _engine(self.path, busy_seconds)
        self._writer = self._engine.execution_options(immediate=True)
        self._resolved: Path | None = self.path.resolve()
        _opened[self._resolved] += 1
        try:
            with self.errors():
                self._open()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Closes every connection; the last one folds the write-ahead log into the file."""
        self._engine.dispose()
        if self._resolved is not None:
            _opened[self._resolved] -= 1
            self._resolved = None

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """A consistent view of the last commit."""
        self._require_file()
        with self.errors(), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """The one writing transaction; committed at the end, rolled back by any exception. Threads of this process wait
        for their turn as long as it takes, other processes ``BUSY_SECONDS``."""
        with self._turn:
            self._require_file()
            with self.errors(), self._writer.connect() as connection, connection.begin():
                yield connection

    def _require_file(self) -> None:
        """What is written to a file that was removed is seen by nobody, and gone with the process."""
        try:
            there = os.path.samestat(self.path.stat(), self._file)
        except FileNotFoundError:
            there = False
        except OSError:
            return  # the database will say it
        if not there:
            raise StoreError(
                f"database {self.path}: the file was removed or replaced while it was in use; stop the service, put the"
                " file or a backup in its place and start again"
            )

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Turns what the database says into one line for the administrator."""
        try:
            yield
        except IntegrityError:
            raise
        except DatabaseError as error:
            raise StoreError(self._say(error.orig)) from error
        except sqlite3.DatabaseError as error:
            raise StoreError(self._say(error)) from error

    def backup(self, target: Path) -> None:
        """A consistent copy in one file, mode 0600, while others read and write. Never overwrites."""
        if not target.parent.is_dir():
            raise StoreError(f"backup to {target}: the directory {target.parent} does not exist; create it first")
        if target.exists():
            raise StoreError(f"backup to {target}: there is a file already; choose another name or remove it")
        self._require_file()
        part = target.with_name(target.name + ".part")
        try:
            with self.errors():
                part.unlink(missing_ok=True)
                os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
                part.chmod(0o600)
                with (
                    contextlib.closing(sqlite3.connect(self.path, timeout=self._busy_seconds)) as source,
                    contextlib.closing(sqlite3.connect(part)) as copy,
                ):
                    try:
                        source.backup(copy)  # one step: one snapshot, whatever is written meanwhile
                        copy.execute("PRAGMA journal_mode=DELETE")
                    except sqlite3.OperationalError as error:
                        if error.sqlite_errorname in _UNWRITABLE:
                            raise StoreError(f"backup to {target}: cannot be written; is the disk full?") from error
                        raise
                with part.open("rb") as written:
                    os.fsync(written.fileno())
                part.rename(target)
        except OSError as error:
            raise StoreError(f"backup to {target}: {error.strerror or error}") from error
        finally:
            part.unlink(missing_ok=True)

    def _open(self) -> None:
        for name in ("", "-wal", "-shm"):
            with contextlib.suppress(OSError):  # another user's file: the mode is his
                Path(f"{self.path}{name}").chmod(0o600)
        with self.reading() as connection:
            version = _version(connection, self.path)
        self._use_wal()
        if version != HEAD:
            with self.writing() as connection:
                if _version(connection, self.path) != HEAD:  # another process may have been quicker
                    _migrate(connection)

    def _use_wal(self) -> None:
        """The switch needs the file for itself and does not wait by itself when two processes switch at once."""
        until = time.monotonic() + self._busy_seconds
        while True:
            try:
                with contextlib.closing(sqlite3.connect(self.path, timeout=self._busy_seconds)) as plain:
                    plain.execute("PRAGMA journal_mode=WAL").fetchone()
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > until:
                    raise
                time.sleep(0.05)
            else:
                return

    def _say(self, cause: BaseException | None) -> str:
        low = "disk is full" if getattr(cause, "sqlite_errorname", "") == _NO_ROOM else str(cause).lower()
        for word, sentence in _SENTENCES:
            if word in low:
                return f"database {self.path}: {sentence}"
        return f"database {self.path}: {cause}"


_NO_ROOM = "SQLITE_IOERR_SHMSIZE"
"""What a full disk is called when not even the index of the write-ahead log can be made."""
_UNWRITABLE = {"SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_FSYNC", "SQLITE_IOERR_TRUNCATE"}
_SENTENCES = (
    ("locked", "another program holds it locked (an open sqlite shell?); close that and try again"),
    ("disk is full", "the disk is full; free some space and start again, nothing that was recorded is lost"),
    ("readonly", "the file or its directory is not writable for this user; change the owner or the mode"),
    ("unable to open", "cannot be opened; check that the file and its directory are writable for this user"),
    ("not a database", "this file is no database; point DATABASE_URL elsewhere or put a backup in its place"),
    ("malformed", "the file is damaged; put a backup in its place and start again"),
    ("disk i/o error", "the disk does not answer as it should (I/O error); check it before anything else"),
)


def insert_new(
    connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]], *, returning: bool = False
) -> list[int]:
    """Inserts the rows that break no unique key and leaves out the others; with ``returning`` the new ids, rising."""
    if not rows:
        return []
    statement = _insert(connection, table).on_conflict_do_nothing()
    if not returning:
        connection.execute(statement, rows)
        return []
    return sorted(connection.execute(statement.returning(table.c.id), rows).scalars())


def upsert(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Inserts the rows, or overwrites, by primary key, the columns that they name."""
    if not rows:
        return
    statement = _insert(connection, table)
    keys = [column.name for column in table.primary_key]
    new = {name: statement.excluded[name] for name in rows[0] if name not in keys}
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=new), rows)


def _insert(connection: Connection, table: Table) -> Any:
    return (sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert)(table)


def _path(url: str) -> Path:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise StoreError("DATABASE_URL is no address of a database; write sqlite:///bitrix-sync.db") from None
    if parsed.get_backend_name() != "sqlite":
        kind = parsed.get_backend_name()
        raise StoreError(f"DATABASE_URL: {kind} is not supported yet; write sqlite:///bitrix-sync.db")
    if not parsed.database or parsed.database == ":memory:" or parsed.database.startswith("file:"):
        raise StoreError("DATABASE_URL names no file; write sqlite:///bitrix-sync.db")
    return Path(parsed.database)


def _prepare_files(path: Path) -> None:
    """An empty file with the right mode before anything is in it (SQLite gives -wal and -shm the mode of the file);
    a restored backup is freed from what its predecessor left."""
    try:
        if path.is_dir():
            raise StoreError(f"database {path}: is a directory; DATABASE_URL must name a file")
        if not path.parent.is_dir():
            raise StoreError(f"database {path}: there is no directory {path.parent}; create it or change DATABASE_URL")
        with _alone_in(path.parent):
            if path.exists():
                _drop_foreign_log(path)
            else:
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except PermissionError as error:
        raise StoreError(
            f"database {path}: cannot be opened; check that the file and its directory are writable for this user"
        ) from error
    except OSError as error:
        raise StoreError(f"database {path}: cannot be opened: {error.strerror or error}") from error


@contextlib.contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """Two processes must not prepare one database at once, where the file system can see to that."""
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):
            handle = os.open(directory, os.O_RDONLY)
            held.callback(os.close, handle)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _drop_foreign_log(path: Path) -> None:
    """A database that was killed leaves its -wal; SQLite would write that into a backup put in its place.

    Told by the header: a backup is never in WAL mode, and a database of ours is before it has a -wal.
    """
    log = path.with_name(path.name + "-wal")
    if not log.exists() or _opened[path.resolve()]:  # reading a file that is open here would undo our locks on it
        return
    with path.open("rb") as file:
        header = file.read(20)
    if header[:16] == b"SQLite format 3\0" and header[18:20] == b"\x01\x01":
        log.unlink()
        path.with_name(path.name + "-shm").unlink(missing_ok=True)


def _engine(path: Path, busy_seconds: float) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        connect_args={"timeout": busy_seconds, "check_same_thread": False},
        hide_parameters=True,  # they are what the customers wrote
        pool_size=5,
        max_overflow=20,
    )

    @event.listens_for(engine, "connect")
    def _set_up(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver must not begin transactions by itself
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute(f"PRAGMA journal_size_limit={_LOG_BYTES}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        immediate = connection.get_execution_options().get("immediate", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


def _version(connection: Connection, path: Path) -> str | None:
    """The version of the schema; None for an empty file."""
    tables = set(connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'table'")).scalars())
    if not tables:
        return None
    if not {"alembic_version", "portal", "operations"} <= tables:
        raise StoreError(f"database {path}: belongs to another program; point DATABASE_URL elsewhere")
    version = str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one())
    if version > HEAD:
        raise StoreError(
            f"database {path}: made by a newer bitrix-sync (schema {version}, this program knows {HEAD});"
            " install that version or put back the backup made before the update"
        )
    return version


def _migrate(connection: Connection) -> None:
    from alembic import command  # slow to import, and hardly ever needed
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
