"""What names of the rules file mean, since when its rules are known, who was picked last, what was told once. Inside
the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from sqlalchemy import Connection, func, select

from bitrix_sync.store.database import insert_new, upsert
from bitrix_sync.store.mapping import rows_with
from bitrix_sync.store.schema import bindings, picks, rules_seen, told


def bound(connection: Connection) -> dict[str, str]:
    """Names of the rules file that were resolved once, and to what."""
    return {row.name: row.bound for row in connection.execute(select(bindings))}


def bind(connection: Connection, names: Mapping[str, str]) -> None:
    """Keeps what names resolve to; a name bound before is bound anew."""
    upsert(connection, bindings, [{"name": name, "bound": bound} for name, bound in names.items()])


def rules_loaded(connection: Connection) -> dict[str, datetime]:
    """When each rule was loaded for the first time."""
    return {row.rule_id: row.loaded for row in connection.execute(select(rules_seen))}


def note_rules(connection: Connection, ids: Iterable[str], at: datetime, *, anew: bool = False) -> None:
    """Rules that are loaded now; those noted before keep their first time, unless all begin ``anew``."""
    note = upsert if anew else insert_new
    note(connection, rules_seen, [{"rule_id": rule, "loaded": at} for rule in ids])


def picked(connection: Connection) -> dict[tuple[str, int], int]:
    """The place of each (pool, user id) in the order of picking: the greater, the later it was picked last."""
    return {(row.pool, row.user_id): row.place for row in connection.execute(select(picks))}


def note_picks(connection: Connection, chosen: tuple[tuple[str, int], ...]) -> None:
    """Each pick stands behind all earlier ones."""
    if not chosen:
        return
    last = connection.execute(select(func.max(picks.c.place))).scalar() or 0
    places = {pick: last + number for number, pick in enumerate(chosen, start=1)}
    upsert(
        connection,
        picks,
        [{"pool": pool, "user_id": user, "place": place} for (pool, user), place in places.items()],
    )


def told_of(connection: Connection, keys: Iterable[str]) -> set[str]:
    """Those of the keys that were told already."""
    return {row.key for row in rows_with(connection, select(told.c.key), told.c.key, keys)}


def told_between(connection: Connection, prefix: str, begin: datetime, end: datetime) -> set[str]:
    """Keys of that beginning that were told after ``begin`` and up to ``end``."""
    said = select(told.c.key).where(told.c.key.startswith(prefix, autoescape=True))
    return set(connection.execute(said.where(told.c.at > begin, told.c.at <= end)).scalars())


def note_told(connection: Connection, keys: Iterable[str], at: datetime) -> None:
    """What is told from now on; keys that were told before keep their first time."""
    insert_new(connection, told, [{"key": key, "at": at} for key in keys])
