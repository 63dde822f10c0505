"""Rows moved whole from one database to another, of whatever kind each is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Boolean, Connection, Table, column, create_engine, select, table, text
from sqlalchemy.engine import URL
from sqlalchemy.types import NullType

from bitrix_sync.store.schema import HEAD, metadata

PORTION = 1000


def copy_rows(source: Connection, target: Connection) -> None:
    """Everything that one connection sees in place of everything that the other does. Both are of the present
    version."""
    delete_rows(target)
    for one in metadata.sorted_tables:
        rows = _as_stored(one)
        for part in source.execute(select(rows)).partitions(PORTION):
            target.execute(rows.insert(), [row._asdict() for row in part])


def delete_rows(connection: Connection) -> None:
    """Everything that the connection sees, away."""
    for one in reversed(metadata.sorted_tables):
        connection.execute(one.delete())


def write_file(source: Connection, path: Path) -> None:
    """Everything that the connection sees, as a new database of SQLite."""
    engine = create_engine(URL.create("sqlite", database=str(path)))
    try:
        with engine.begin() as target:
            metadata.create_all(target)
            target.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
            target.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})
            copy_rows(source, target)
    finally:
        engine.dispose()


def _as_stored(one: Table) -> Any:
    """The table with its values as they are kept; what is true or false is no number everywhere."""
    return table(
        one.name, *(column(c.name, Boolean() if isinstance(c.type, Boolean) else NullType()) for c in one.columns)
    )
