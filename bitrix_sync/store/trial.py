"""What would have been done while rules only watch (``safety: {watch: true}``). Inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, delete, func, insert, select

from bitrix_sync.model.actions import Kind, pack
from bitrix_sync.model.operations import Operation
from bitrix_sync.store.mapping import change_with
from bitrix_sync.store.schema import trial

KEPT = 5_000
"""What is decided again is kept as it was decided last, and no more than so many."""
DETAILS = frozenset({Kind.CHECKLIST, Kind.LINE})
"""They come with something else."""


def write(connection: Connection, decided: Sequence[Operation], at: datetime) -> None:
    """Each once, by its key."""
    rows = {
        one.key: {
            "key": one.key,
            "kind": one.kind.value,
            "payload": pack(one.action),
            "deal_id": one.deal_id,
            "task": one.task,
            "sweep": one.sweep,
            "at": at,
        }
        for one in decided
        if one.kind not in DETAILS
    }
    if rows:
        change_with(connection, delete(trial), trial.c.key, rows)
        connection.execute(insert(trial), list(rows.values()))
        newest = connection.execute(select(func.max(trial.c.id))).scalar_one()
        connection.execute(delete(trial).where(trial.c.id <= newest - KEPT))


def forget(connection: Connection) -> None:
    """Work begins: what would have been done is of no use any more."""
    connection.execute(delete(trial))
