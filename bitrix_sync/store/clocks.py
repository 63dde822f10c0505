"""Moments that an earlier process noted by its own clock, understood by ours. Inside the caller's transaction.

Each holder of the lease notes where its clock has its origin. Of the same boot the difference of two origins is how far
the machine's clock was set between two processes, and moments are moved by it. Otherwise nobody knows how much time has
passed: then what may have been sent rests its whole rest from now on, and nothing waits longer than anything may.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, select, update

from bitrix_sync.model.operations import State
from bitrix_sync.store import lease
from bitrix_sync.store.flags import Flags
from bitrix_sync.store.schema import operations, portal

SAME = 1.0
"""Seconds by which two readings of one clock may differ."""
LONGEST_WAIT = timedelta(minutes=11)
"""Nothing is put off for longer than a window of the portal's operating time."""
IN_DOUBT = (State.SENDING.value, State.UNKNOWN.value)


def shift(connection: Connection, base: float, boot: str = "") -> timedelta | None:
    """What to add to the last holder's moments; None: it lived in another boot, or did not say. ``boot``: another than
    ours."""
    known, _, origin = Flags.clock_origin.read(connection).rpartition(" ")
    if not known or known != (boot or lease.THIS_BOOT):
        return None
    moved = base - float(origin)
    return timedelta(seconds=moved) if abs(moved) > SAME else timedelta()


def hand_over(connection: Connection, *, base: float, now: datetime, boot: str = "") -> None:
    """From now on moments of unfinished work are those of the clock with this ``base``, which reads ``now``: that of
    this boot, or another one."""
    moved = shift(connection, base, boot)
    if moved != timedelta():
        _move(connection, moved, now)
    Flags.clock_origin.write(connection, f"{boot or lease.THIS_BOOT} {base!r}")


def _move(connection: Connection, moved: timedelta | None, now: datetime) -> None:
    c = operations.c
    unfinished = c.state.in_([State.PLANNED.value, *IN_DOUBT])
    sent = (c.state.in_(IN_DOUBT) & c.sent.is_not(None)) | (c.sent > now)
    for row in connection.execute(
        select(c.id, c.state, c.sent, c.noticed, c.not_before).where(unfinished | sent)
    ).all():
        doubted = row.state in IN_DOUBT
        values = {
            "sent": _heard(row.sent, moved, now, doubted=doubted),
            "noticed": _heard(row.noticed, moved, now, doubted=doubted),
            "not_before": _put_off(row.not_before, moved, now),
        }
        connection.execute(update(operations).where(c.id == row.id).values(values))
    noted = connection.execute(select(portal.c.pacer_at)).scalar()
    connection.execute(update(portal).values(pacer_at=_heard(noted, moved, now, doubted=True)))


def _heard(moment: datetime | None, moved: timedelta | None, now: datetime, *, doubted: bool) -> datetime | None:
    """Something past: never in the future; when nobody knows how long ago it was, and that matters, just now."""
    if moment is None:
        return None
    if moved is None:
        return now if doubted else min(moment, now)
    return min(moment + moved, now)


def _put_off(moment: datetime | None, moved: timedelta | None, now: datetime) -> datetime | None:
    """Something to come: never further away than anything is put off."""
    return None if moment is None else min(moment + (moved or timedelta()), now + LONGEST_WAIT)
