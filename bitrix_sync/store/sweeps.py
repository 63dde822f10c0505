"""Sweeps by slot: each happens once. In the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, update

from bitrix_sync.store.database import insert_new
from bitrix_sync.store.mapping import from_row
from bitrix_sync.store.schema import sweeps

CLAIMED = "claimed"


@dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep by slot, ``2026-03-12/evening``. ``moment`` is what it counts from; ``state`` "claimed" until closed."""

    slot: str
    moment: datetime
    state: str
    summary: Mapping[str, Any] = field(default_factory=dict)


def claim(
    connection: Connection,
    slot: str,
    moment: datetime,
    *,
    state: str = CLAIMED,
    summary: Mapping[str, Any] | None = None,
) -> bool:
    """True once for each slot, with the moment it counts from; False for everybody after. ``state``: of a slot that is
    not to run."""
    if connection.execute(select(sweeps.c.slot).where(sweeps.c.slot == slot)).first() is not None:
        return False
    insert_new(connection, sweeps, [{"slot": slot, "moment": moment, "state": state, "summary": dict(summary or {})}])
    return True


def names(connection: Connection, since: str) -> set[str]:
    """Names of the slots that were claimed since then (``2026-03-12``): they begin with their day, so they stand in
    its order."""
    return set(connection.execute(select(sweeps.c.slot).where(sweeps.c.slot >= since)).scalars())


def close(connection: Connection, slot: str, state: str, summary: Mapping[str, Any]) -> None:
    """What became of the sweep; KeyError for a slot that nobody claimed."""
    changed = update(sweeps).where(sweeps.c.slot == slot).values(state=state, summary=dict(summary))
    if connection.execute(changed).rowcount != 1:
        raise KeyError(slot)


def of_slot(connection: Connection, slot: str) -> Sweep | None:
    """The sweep of a slot."""
    row = connection.execute(select(sweeps).where(sweeps.c.slot == slot)).first()
    return None if row is None else from_row(Sweep, row)


def latest(connection: Connection, limit: int | None = None) -> list[Sweep]:
    """Sweeps, newest first."""
    query = select(sweeps).order_by(sweeps.c.moment.desc(), sweeps.c.slot.desc()).limit(limit)
    return [from_row(Sweep, row) for row in connection.execute(query)]
