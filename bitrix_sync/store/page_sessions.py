"""Sessions of the page, by their digests. Inside the caller's transaction."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, delete, insert, select

from bitrix_sync.store.schema import page_sessions


def begin(connection: Connection, digest: str, *, now: datetime, over: datetime, seal: str) -> None:
    """Keeps a session of the page by its digest; those begun before ``over`` go. ``seal`` is the password's."""
    connection.execute(delete(page_sessions).where(page_sessions.c.began < over))
    connection.execute(insert(page_sessions).values(digest=digest, seal=seal, began=now))


def stands(connection: Connection, digest: str) -> bool:
    """True for one that was opened and not ended."""
    known = select(page_sessions.c.digest).where(page_sessions.c.digest == digest)
    return connection.execute(known).first() is not None


def end(connection: Connection, digest: str) -> None:
    """The page's visitor has logged out."""
    connection.execute(delete(page_sessions).where(page_sessions.c.digest == digest))


def end_foreign(connection: Connection, *, seal: str) -> None:
    """Ends what was opened with another password."""
    connection.execute(delete(page_sessions).where(page_sessions.c.seal != seal))
