"""What differs between databases: all that is SQLite's alone is here, PostgreSQL's in ``postgres``. The rest of the
store is plain SQL.

A database is a class with what ``Sqlite`` has, and a line in ``dialect_of``.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, Table, create_engine, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from bitrix_sync.errors import StoreError
from bitrix_sync.store.schema import DEFAULT_PORTAL

if TYPE_CHECKING:
    from bitrix_sync.store.postgres import Postgres

INSERTS: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
EXTRA_KEYS = {"sqlite": [], "postgresql": ["portal"]}
"""What stands before the keys that the tables name."""
_LOG_BYTES = 16 * 1024 * 1024  # what a large pass leaves of the write-ahead log once it is folded in
BUSY_SECONDS = 10
_opened: Counter[Path] = Counter()


def insert(connection: Connection, table: Table) -> Any:
    """An insertion that knows what to do with rows that are there already."""
    return INSERTS[connection.dialect.name](table)


class Sqlite:
    """One file. WAL with ``synchronous=FULL``: what was committed survives a power cut. Writers queue (BEGIN IMMEDIATE,
    ``busy_seconds``); readers see the last commit and wait for nobody."""

    faults = (sqlite3.DatabaseError,)
    """What the driver itself raises."""

    def __init__(self, url: str, *, busy_seconds: float, create: bool, portal: int = DEFAULT_PORTAL) -> None:
        """``create``: make the file if there is none. A file holds one portal, whatever its number."""
        self.path = file_of(url)
        self.name = str(self.path)
        if not (create or self.path.exists()):
            raise StoreError(
                f"database {self.path}: is not there; start `bitrix-sync run` first, or set DATABASE_URL to where the"
                " service runs"
            )
        self._busy_seconds = busy_seconds
        _prepare_files(self.path)
        self._file = self.path.stat()
        self.reader = _engine(self.path, busy_seconds)
        self.writer = self.migrator = self.unqueued = self.reader.execution_options(immediate=True)
        self._look: sqlite3.Connection | None = None
        self._resolved: Path | None = self.path.resolve()
        _opened[self._resolved] += 1

    def close(self) -> None:
        """Closes every connection; the last one folds the write-ahead log into the file."""
        if self._look is not None:
            self._look.close()
            self._look = None
        self.reader.dispose()
        if self._resolved is not None:
            _opened[self._resolved] -= 1
            self._resolved = None

    def require(self) -> None:
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

    def version(self) -> int:
        """Another number than before once anybody has written: so cheap that it may be asked all the time. For one
        thread alone."""
        if self._look is None:
            self._look = sqlite3.connect(self.path, timeout=self._busy_seconds, check_same_thread=False)
        (number,) = self._look.execute("PRAGMA data_version").fetchone()
        return int(number)

    def set_up(self) -> None:
        """What an opened database needs before it is used: its owner alone reads it, and its log is written ahead."""
        for name in ("", "-wal", "-shm"):
            with contextlib.suppress(OSError):  # another user's file: the mode is his
                Path(f"{self.path}{name}").chmod(0o600)
        self._use_wal()

    def writer_of(self, portal: int) -> Engine:
        """A file holds one portal."""
        return self.writer

    def tolerates(self, connection: Connection) -> bool:
        """A file is one program's."""
        return False

    def arrange(self, connection: Connection) -> None:
        """Migrations are written for SQLite."""

    def number_on(self, connection: Connection) -> None:
        """New rows get numbers above those that are there by themselves."""

    @property
    def on_network(self) -> str:
        """The kind of network disk on which the file lies, as ``nfs4``; "" for none."""
        return network_disk(self.path.resolve(), _mounts())

    @property
    def size(self) -> int:
        """Bytes of the file, with what its log beside it holds."""
        files = (self.path, self.path.with_name(f"{self.path.name}-wal"))
        return sum(file.stat().st_size for file in files if file.is_file())

    def backup(self, part: Path) -> None:
        """A consistent copy as a file, while others read and write."""
        with (
            contextlib.closing(sqlite3.connect(self.path, timeout=self._busy_seconds)) as source,
            contextlib.closing(sqlite3.connect(part)) as copy,
        ):
            source.backup(copy)  # one step: one snapshot, whatever is written meanwhile
            copy.execute("PRAGMA journal_mode=DELETE")

    @staticmethod
    def copy(url: str, copy: Path, portal: int = DEFAULT_PORTAL) -> str:
        """All that a database holds now as a file of SQLite, with no trace left beside it; no file if it holds nothing.
        The database's name. Without a -shm nobody has it open, and its files can be copied as they are; opening it
        would make one. With one, SQLite reads a consistent view beside whoever writes. Raises StoreError."""
        original = file_of(url)
        if not original.is_file() or not original.stat().st_size:
            return str(original)
        try:
            if not _copy_files(original, copy):
                address = f"{original.resolve().as_uri()}?mode=ro"
                with (
                    contextlib.closing(sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS)) as source,
                    contextlib.closing(sqlite3.connect(copy)) as target,
                ):
                    source.backup(target)
        except (OSError, sqlite3.Error) as fault:
            raise StoreError(f"database {original}: cannot be read ({fault}); check the file and its mode") from None
        return str(original)

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

    def is_away(self, cause: BaseException | None) -> bool:
        """A file is there, or it is not."""
        return False

    def say(self, cause: BaseException | None) -> str:
        """One line for the administrator about what the database said."""
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
    ("locking protocol", "the disk locks no files, as many network disks; put the database on a disk of this machine"),
    ("disk i/o error", "the disk does not answer as it should (I/O error); check it, and take no network disk"),
)


_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "afs", "glusterfs", "fuse.glusterfs"})


def _mounts() -> str:
    with contextlib.suppress(OSError):
        return Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
    return ""


def network_disk(path: Path, mounts: str) -> str:
    """The kind of network disk on which a file lies, as ``nfs4``; "" for a disk of this machine. ``mounts``: as in
    /proc/self/mounts."""
    rows = (line.split(" ") for line in mounts.splitlines())
    found = {Path(row[1]): row[2] for row in rows if len(row) > 2}
    kind = next((found[one] for one in (path, *path.parents) if one in found), "")
    return kind if kind in _NETWORK else ""


@contextlib.contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """A file beside ``target`` to write a database of SQLite into; it becomes ``target`` when it is whole. Mode 0600,
    nothing overwritten. Raises StoreError."""
    if not target.parent.is_dir():
        raise StoreError(f"backup to {target}: the directory {target.parent} does not exist; create it first")
    if target.exists():
        raise StoreError(f"backup to {target}: there is a file already; choose another name or remove it")
    part = target.with_name(target.name + ".part")
    try:
        part.unlink(missing_ok=True)
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        part.chmod(0o600)
        try:
            yield part
        except (sqlite3.OperationalError, DBAPIError) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            if getattr(cause, "sqlite_errorname", "") in _UNWRITABLE:
                raise StoreError(f"backup to {target}: cannot be written; is the disk full?") from error
            raise
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.rename(target)
    except OSError as error:
        raise StoreError(f"backup to {target}: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)


def dialect_of(url: str) -> type[Sqlite] | type[Postgres]:
    """The class of the database at an address; StoreError when there is none, or its driver is not installed."""
    kind = _parsed(url).get_backend_name()
    if kind == "sqlite":
        return Sqlite
    if kind != "postgresql":
        raise StoreError(f"DATABASE_URL: {kind} is not supported; write sqlite:///bitrix-sync.db or postgresql://...")
    try:
        from bitrix_sync.store.postgres import Postgres
    except ImportError:
        raise StoreError(
            "DATABASE_URL names PostgreSQL, whose driver is not installed: pip install 'bitrix-sync[fleet]'"
        ) from None
    return Postgres


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except ArgumentError:
        raise StoreError("DATABASE_URL is no address of a database; write sqlite:///bitrix-sync.db") from None


def announce(connection: Connection) -> None:
    """Tells whoever listens that something is asked of the portal of this transaction, once it is committed."""
    if connection.dialect.name == "postgresql":
        from bitrix_sync.store.postgres import ASKED, PORTAL

        connection.execute(text(f"SELECT pg_notify('{ASKED}', ({PORTAL})::text)"))


def unmade(url: str) -> str:
    """The name of a database that is not there yet; "" for one that is, or that a server has."""
    if dialect_of(url) is not Sqlite:
        return ""
    path = file_of(url)
    return "" if path.exists() else str(path)


def file_of(url: str) -> Path:
    """The file that an address names."""
    parsed = _parsed(url)
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


def _copy_files(original: Path, copy: Path) -> bool:
    """False, and nothing copied, when somebody has the database open or opens it meanwhile."""
    shared, log = (original.with_name(original.name + end) for end in ("-shm", "-wal"))
    copied_log = copy.with_name(copy.name + "-wal")
    if shared.exists():
        return False
    shutil.copyfile(original, copy)
    if log.exists():
        shutil.copyfile(log, copied_log)
    if shared.exists():
        copied_log.unlink(missing_ok=True)
        copy.unlink()
        return False
    return True


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
