"""One writer per portal: the lease row. Every function runs inside the caller's transaction.

The epoch grows with every holder and never falls; a write that carries a former epoch is refused.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Row, case, select, update

from bitrix_sync.errors import NOT_RENEWED, LeaseLost
from bitrix_sync.store.schema import portal

TERM = timedelta(seconds=30)
"""How long a holder that cannot be asked may go without a renewal."""
MARGIN = timedelta(seconds=1)
"""A holder stops sending so long before anybody may succeed it."""

_THIS_PROCESS = uuid4().hex
_NOBODYS: dict[str, object] = dict.fromkeys(("holder", "process", "place", "pid", "host", "until"))
"""What stands in the row of a portal for which nobody works."""
ENDED = "ended"


def _boot() -> str:
    """This boot of the machine; "" where the system does not tell."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def _place() -> str:
    """Where process numbers mean the same: this boot of the machine and this namespace (a container has its own)."""
    with contextlib.suppress(OSError):
        return f"{_boot()} {Path('/proc/self/ns/pid').readlink()}"
    return ""


THIS_BOOT = _boot()
_THIS_PLACE = _place()


@dataclass(slots=True)
class Watch:
    """What one who waits has seen of the holder's row: that it stood so since a moment of his own clock. By that alone
    a holder on another machine is judged, for two machines' clocks cannot be compared."""

    epoch: int = 0
    until: datetime | None = None
    since: datetime | None = None

    def stands_still(self, epoch: int, until: datetime, now: datetime) -> bool:
        """True when the row has not changed for ``TERM``."""
        if self.since is None or (self.epoch, self.until) != (epoch, until):
            self.epoch, self.until, self.since = epoch, until, now
        return now - self.since >= TERM


@dataclass(slots=True)
class Hold:
    """That this process holds the lease, as far as it can know without asking: by the beats of its own steady clock
    (seconds). A beat that comes too late ends it for good, for another may have held it meanwhile: what was begun under
    it never sends again."""

    epoch: int
    beaten: float
    """When the last renewal that succeeded was begun."""
    lost: str = ""
    """Why it has ended."""

    def look(self, now: float) -> None:
        """End it if a beat should have come by now; asked before a beat is noted, too."""
        if now - self.beaten >= (TERM - MARGIN).total_seconds():
            self.lost = self.lost or NOT_RENEWED

    def require(self) -> None:
        """Raises LeaseLost once it has ended."""
        if self.lost:
            raise LeaseLost(self.lost)


@dataclass(frozen=True, slots=True)
class Lease:
    """Who works for the portal. ``until`` is the last renewal (the holder's clock) and ``TERM``."""

    epoch: int
    holder: str
    pid: int
    host: str
    until: datetime


def take(connection: Connection, *, holder: str, pid: int, host: str, now: datetime, watch: Watch) -> int | None:
    """The new epoch, or None while another holder works (or may work). ``watch`` keeps what was seen of it. A holder of
    this machine is asked: while its process lives it holds, whatever clocks say; who cannot be, by renewals."""
    row = connection.execute(select(portal).where(portal.c.id == 1).with_for_update()).one()
    process = f"{_THIS_PROCESS} {_begun(pid)}"
    myself = row.pid == pid and row.process == process and row.holder == holder
    if row.holder is not None and not myself:
        works = _works(row, process, pid=pid, host=host)
        if works or (works is None and not watch.stands_still(row.epoch, row.until, now)):
            return None
    epoch = int(row.epoch) + 1
    connection.execute(
        update(portal)
        .where(portal.c.id == 1)
        .values(epoch=epoch, holder=holder, process=process, place=_THIS_PLACE, pid=pid, host=host, until=now + TERM)
    )
    return epoch


def renew(connection: Connection, epoch: int, now: datetime, level: float | None = None) -> bool:
    """Another ``TERM`` for the holder; ``level`` is the pacer's, kept for a successor. False: another one has taken
    over."""
    values: dict[str, object] = {"until": now + TERM}
    if level is not None:
        values |= {"pacer_level": level, "pacer_at": now}
    held = (portal.c.id == 1) & (portal.c.epoch == epoch) & portal.c.holder.is_not(None)
    return connection.execute(update(portal).where(held).values(values)).rowcount == 1


def require(connection: Connection, epoch: int, *, hold: bool = True) -> None:
    """Raises LeaseLost unless ``epoch`` is that of the present holder; holds the row until the commit, if it is to."""
    asked = select(portal.c.epoch, portal.c.holder).where(portal.c.id == 1)
    row = connection.execute(asked.with_for_update() if hold else asked).one()
    if row.epoch != epoch or row.holder is None:
        raise LeaseLost


def drop(connection: Connection, epoch: int, level: float | None = None, now: datetime | None = None) -> None:
    """The holder goes in peace, so that the next one need not wait; nothing happens if it is another one by now.
    ``level``: of its pacer, which sends nothing more."""
    noted = {"pacer_level": level, "pacer_at": now, "until": now} if level is not None else {}
    held = (portal.c.id == 1) & (portal.c.epoch == epoch)
    connection.execute(update(portal).where(held).values(_NOBODYS | noted))


def hand_back(connection: Connection, epoch: int) -> None:
    """The row that came with a backup is nobody's, and no former holder's epoch is above it."""
    later = case((portal.c.epoch > epoch, portal.c.epoch), else_=epoch)
    connection.execute(update(portal).where(portal.c.id == 1).values(_NOBODYS | {"epoch": later}))


def read(connection: Connection) -> Lease | None:
    """The present holder, or the last one that never said goodbye; None: nobody."""
    row = connection.execute(select(portal).where(portal.c.id == 1)).one()
    if row.holder is None:
        return None
    return Lease(epoch=row.epoch, holder=row.holder, pid=row.pid, host=row.host, until=row.until)


@dataclass(frozen=True, slots=True)
class Pace:
    """The pacer's level as it was noted last, and when that was (the holder's clock). ``final``: nothing was sent after
    it, for its holder went in peace."""

    level: float
    at: datetime
    final: bool = False


def pace(connection: Connection) -> Pace | None:
    """What is known of the last holder's pacer."""
    row = connection.execute(select(portal)).one()
    if row.pacer_level is None:
        return None
    return Pace(row.pacer_level, row.pacer_at, final=row.holder is None and row.until == row.pacer_at)


def _works(row: Row[Any], process: str, *, pid: int, host: str) -> bool | None:
    """Whether the holder's process is there; None where that cannot be told from here."""
    if row.host != host or row.place != _THIS_PLACE:
        return None
    if row.process == process:
        return True
    # our number on a row that this process did not write: its writer is gone, the number was given anew
    return row.pid != pid and _lives(row.pid, row.process)


def _lives(pid: int, process: str) -> bool | None:
    """Whether the process of that number is still the one that wrote ``process``: numbers are given anew. None where
    the system does not tell when it began."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    wrote, now = process.partition(" ")[2], _begun(pid)
    if now == ENDED:
        return False
    return wrote == now if wrote and now else None


def _begun(pid: int) -> str:
    """When a process began, in the kernel's ticks since the boot; ``ENDED`` for one that only waits to be buried, ""
    where the system does not tell."""
    with contextlib.suppress(OSError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return ENDED if fields[0] in "ZX" else fields[19]
    return ""
