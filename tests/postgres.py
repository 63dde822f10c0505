"""A PostgreSQL server for the time of a test run: ``python -m tests.postgres`` runs the suites of the store on it.

The server lives in memory where that can be had, listens on a socket file alone, and is gone with its files at the end.
Without the programs of a server (Debian: ``postgresql``) it says so in one line and ends with exit code 0, for then
there is nothing that could be tested.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ADDRESS = "TEST_POSTGRES"
"""Names the socket's directory of the server that the tests use; not set: SQLite."""
ROLE = "bitrix_sync"
SUITES = (
    "tests/test_postgres.py",
    "tests/test_portals.py",
    "tests/test_fleet_web.py",
    "tests/test_workers.py",
    "tests/test_store_contract.py",
    "tests/test_store_together.py",
    "tests/test_slots.py",
    "tests/test_days.py",
    "tests/test_why.py",
    "tests/test_promises.py",
    "tests/test_report.py",
    "tests/test_preview.py",
    "tests/test_sweep.py",
    "tests/test_recheck.py",
    "tests/test_notices.py",
    "tests/test_life.py",
    "tests/test_life_rules.py",
    "tests/test_road.py",
    "tests/test_page.py",
    "tests/test_identity.py",
    "tests/test_failures.py",
    "tests/test_lies.py",
    "tests/test_status.py",
    "tests/test_backfill.py",
    "tests/test_idle.py",
)
LENIENT = ("-W", "ignore::pytest.PytestUnraisableExceptionWarning")
"""A test that is over may leave its store open: this driver complains of that, the one of SQLite does not."""
_PROGRAMS = ("initdb", "postgres", "pg_ctl")
_made: dict[str, Path] = {}
TEMPLATE = "template_store"
"""A store of the present version, copied for each test."""


def server() -> str:
    """Where the server of this run listens; "" when the tests run on SQLite."""
    return os.environ.get(ADDRESS, "")


def connect(database: str = "postgres", role: str = "postgres") -> Any:
    """A connection of the server's administrator, without transactions."""
    import psycopg

    return psycopg.connect(host=server(), dbname=database, user=role, autocommit=True)


def new_database(name: str, options: str = "") -> str:
    """The address of a new empty database; ``options`` of CREATE DATABASE."""
    with connect() as connection:
        connection.execute(f"CREATE DATABASE {name} OWNER {ROLE} {options}")
    return _address(name)


def _address(name: str) -> str:
    return f"postgresql://{ROLE}@/{name}?host={server()}"


def database_at(path: Path) -> str:
    """The address of a store for a test that would keep it in that file: the same for the same path."""
    name = f"t_{hashlib.sha1(str(path).encode()).hexdigest()[:16]}"
    if name not in _made:
        with connect() as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone() is None:
                connection.execute(f"CREATE DATABASE {name} OWNER {ROLE} TEMPLATE {TEMPLATE}")
        _made[name] = path
    return _address(name)


def drop_below(folder: Path) -> None:
    """Throws away the databases that a test made for files in its folder, whoever still looks at them."""
    with connect() as connection:
        for name in [name for name, path in _made.items() if path.is_relative_to(folder)]:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            del _made[name]


def programs() -> Path | None:
    """The directory of the server's programs, newest version first; None where there are none."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda place: float(place.parent.name), reverse=True)
    on_path = shutil.which("initdb")
    for place in [*places, *([Path(on_path).resolve().parent] if on_path else [])]:
        if all((place / name).exists() for name in _PROGRAMS):
            return place
    return None


def options(home: str) -> str:
    """Of a server whose files are there."""
    return f"-c listen_addresses='' -c unix_socket_directories='{home}' -c max_connections=300"


@contextlib.contextmanager
def running(place: Path) -> Iterator[str]:
    """A server of its own; the directory of its socket. PostgreSQL refuses to be run by root."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    user = {"user": "postgres", "group": "postgres"} if os.getuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix="bitrix-sync-pg-", dir=memory) as home:
        if user:
            shutil.chown(home, "postgres", "postgres")
        run: Any = lambda *words: subprocess.run(words, check=True, cwd=home, stdout=subprocess.DEVNULL, **user)  # noqa: E731
        run(str(place / "initdb"), "-D", f"{home}/data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C")
        run(str(place / "pg_ctl"), "-D", f"{home}/data", "-w", "-l", f"{home}/log", "-o", options(home), "start")
        try:
            os.environ[ADDRESS] = home
            with connect() as connection:
                connection.execute(f"CREATE ROLE {ROLE} LOGIN CREATEDB")
            yield home
        finally:
            del os.environ[ADDRESS]
            run(str(place / "pg_ctl"), "-D", f"{home}/data", "-m", "immediate", "-w", "stop")


def main(words: list[str]) -> int:
    """Runs pytest on the server; ``words``: for pytest, in place of the suites."""
    place = programs()
    if place is None:
        print("PostgreSQL: no server is installed here (Debian: apt-get install postgresql); nothing was tested on it")
        return 0
    from bitrix_sync.store import Store

    with running(place):
        Store(new_database(TEMPLATE)).close()
        words = words or ["-n", "4", "--dist", "worksteal", *SUITES]
        return subprocess.run([sys.executable, "-m", "pytest", *LENIENT, *words], check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
