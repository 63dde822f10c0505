"""One writer per portal: the lease row. Every function runs inside the caller's transaction.

The epoch grows with every holder and never falls; a write that carries a former epoch is refused.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from uuid import uuid4

from sqlalchemy import Connection, select, update

from bitrix_sync.errors import BitrixSyncError
from bitrix_sync.store.schema import portal

TERM = timedelta(seconds=30)
"""How long a holder that cannot be asked is waited for after its last renewal."""

_THIS_PROCESS = uuid4().hex


def _place() -> str:
    """Where process numbers mean the same: this boot of the machine and this namespace (a container has its own)."""
    with contextlib.suppress(OSError):
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {Path('/proc/self/ns/pid').readlink()}"
    return ""


_THIS_PLACE = _place()


class LeaseLost(BitrixSyncError):
    """Another process works for this portal now; whatever this one still wanted to write is void."""

    def __init__(self) -> None:
        super().__init__("another bitrix-sync process has taken over this database; this one must stop writing")


@dataclass(frozen=True, slots=True)
class Lease:
    """Who works for the portal. ``until`` is the last renewal (our clock) and ``TERM``."""

    epoch: int
    holder: str
    pid: int
    host: str
    until: datetime


def take(connection: Connection, *, holder: str, pid: int, host: str, now: datetime) -> int | None:
    """The new epoch, or None while another holder lives (or may live)."""
    row = connection.execute(select(portal).where(portal.c.id == 1).with_for_update()).one()
    if row.holder is not None:
        same_place = row.host == host and row.place == _THIS_PLACE
        same_process = same_place and row.pid == pid and row.process == _THIS_PROCESS
        myself = same_process and row.holder == holder
        # our number on a row that this process did not write: its writer is gone, the number was given anew
        dead = same_place and not same_process and (row.pid == pid or _gone(row.pid))
        # a renewal far in the future was made by a clock that has been put back since
        stale = abs(now - (row.until - TERM)) >= TERM
        if not (myself or dead or stale):
            return None
    epoch = int(row.epoch) + 1
    connection.execute(
        update(portal)
        .where(portal.c.id == 1)
        .values(
            epoch=epoch, holder=holder, process=_THIS_PROCESS, place=_THIS_PLACE, pid=pid, host=host, until=now + TERM
        )
    )
    return epoch


def renew(connection: Connection, *, epoch: int, now: datetime, level: float | None) -> bool:
    """Another ``TERM`` for the holder, the pacer's level noted with it; False: another one has taken over."""
    values: dict[str, object] = {"until": now + TERM}
    if level is not None:
        values |= {"pacer_level": level, "pacer_at": now}
    held = (portal.c.id == 1) & (portal.c.epoch == epoch) & portal.c.holder.is_not(None)
    return connection.execute(update(portal).where(held).values(values)).rowcount == 1


def require(connection: Connection, epoch: int) -> None:
    """Raises LeaseLost unless ``epoch`` is that of the present holder; holds the row until the commit."""
    row = connection.execute(select(portal.c.epoch, portal.c.holder).where(portal.c.id == 1).with_for_update()).one()
    if row.epoch != epoch or row.holder is None:
        raise LeaseLost


def drop(connection: Connection, epoch: int) -> None:
    """The holder goes; nothing happens if it is another one by now."""
    connection.execute(
        update(portal)
        .where(portal.c.id == 1, portal.c.epoch == epoch)
        .values(holder=None, process=None, place=None, pid=None, host=None, until=None)
    )


def read(connection: Connection) -> Lease | None:
    """The present holder, or the last one that never said goodbye; None: nobody."""
    row = connection.execute(select(portal).where(portal.c.id == 1)).one()
    if row.holder is None:
        return None
    return Lease(epoch=row.epoch, holder=row.holder, pid=row.pid, host=row.host, until=row.until)


def _gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
