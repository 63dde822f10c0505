"""A look at a store that leaves no trace: a copy of it in a temporary directory, to read in and to play with."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy.engine import make_url

from bitrix_sync.errors import StoreError
from bitrix_sync.store.store import Store

BUSY_SECONDS = 10


@contextlib.contextmanager
def scratch_copy(url: str) -> Iterator[Store]:
    """A store with all that the one at ``url`` holds now (an empty one if there is none), gone afterwards.

    Neither the original, nor its directory, nor a service that runs on it notices anything. Raises StoreError.
    """
    original = Path(make_url(url).database or "")
    with tempfile.TemporaryDirectory(prefix="bitrix-sync-") as place:
        copy = Path(place) / "store.db"
        if original.is_file() and original.stat().st_size:
            try:
                _copy(original, copy)
            except (OSError, sqlite3.Error) as fault:
                raise StoreError(
                    f"database {original}: cannot be read ({fault}); check the file and its mode"
                ) from None
        try:
            store = Store(f"sqlite:///{copy}")
        except StoreError as fault:
            raise StoreError(str(fault).replace(str(copy), str(original))) from None
        with store:
            yield store


def _copy(original: Path, copy: Path) -> None:
    """Without a -shm nobody has the database open, and its files can be copied as they are; opening it would make one.
    With one, SQLite reads a consistent view beside whoever writes."""
    shared = original.with_name(original.name + "-shm")
    log = original.with_name(original.name + "-wal")
    if not shared.exists():
        shutil.copyfile(original, copy)
        if log.exists():
            shutil.copyfile(log, copy.with_name(copy.name + "-wal"))
        if not shared.exists():
            return
        copy.with_name(copy.name + "-wal").unlink(missing_ok=True)
        copy.unlink()
    address = f"{original.resolve().as_uri()}?mode=ro"
    with (
        contextlib.closing(sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS)) as source,
        contextlib.closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)
