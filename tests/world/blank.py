"""A store as a first start makes it. Its tables are made once, for they are the same each time; others are copies."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from bitrix_sync.store import Store
from tests import postgres


def blank_store(file: Path) -> str:
    """The address of an empty store in the file, or on the server of this run; one that is there stays as it is."""
    if postgres.server():
        return postgres.database_at(file)
    if not file.exists():
        file.write_bytes(_blank())
    return f"sqlite:///{file}"


@cache
def _blank() -> bytes:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "store.db"
        Store(f"sqlite:///{file}").close()
        return file.read_bytes()
