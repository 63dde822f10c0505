"""What happens once: sweeps by slot, and what commands ask of the running service. In the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, or_, select, update

from bitrix_sync.store.database import insert_new
from bitrix_sync.store.schema import requests, sweeps

CLAIMED = "claimed"
ASKED, TAKEN, ANSWERED, REFUSED, WITHDRAWN = "asked", "taken", "answered", "refused", "withdrawn"


@dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep by slot, ``2026-03-12/evening``. ``moment`` is what it counts from; ``state`` "claimed" until closed."""

    slot: str
    moment: datetime
    state: str
    summary: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Request:
    """What a command asks of the process that holds the lease. ``ok`` is None until it is answered; ``result`` is how
    far it is until then."""

    id: int
    kind: str
    args: Mapping[str, Any]
    state: str
    ok: bool | None = None
    result: Any = None
    asked: datetime | None = None


def claim(connection: Connection, slot: str, moment: datetime, *, state: str, summary: Mapping[str, Any]) -> bool:
    """True for the one who got the slot."""
    if connection.execute(select(sweeps.c.slot).where(sweeps.c.slot == slot)).first() is not None:
        return False
    insert_new(connection, sweeps, [{"slot": slot, "moment": moment, "state": state, "summary": dict(summary)}])
    return True


def names(connection: Connection, since: str) -> set[str]:
    """Slots that were claimed, from that name on: they begin with their day, so they stand in its order."""
    return set(connection.execute(select(sweeps.c.slot).where(sweeps.c.slot >= since)).scalars())


def close(connection: Connection, slot: str, state: str, summary: Mapping[str, Any]) -> None:
    """What became of the sweep; KeyError for a slot that nobody claimed."""
    changed = update(sweeps).where(sweeps.c.slot == slot).values(state=state, summary=dict(summary))
    if connection.execute(changed).rowcount != 1:
        raise KeyError(slot)


def read_sweeps(connection: Connection, slot: str | None, limit: int | None) -> list[Sweep]:
    """Newest first; one slot, or all."""
    query = select(sweeps).order_by(sweeps.c.moment.desc(), sweeps.c.slot.desc()).limit(limit)
    if slot is not None:
        query = query.where(sweeps.c.slot == slot)
    return [
        Sweep(slot=row.slot, moment=row.moment, state=row.state, summary=row.summary)
        for row in connection.execute(query)
    ]


def ask(connection: Connection, kind: str, args: Mapping[str, Any], asked: datetime) -> int:
    """Puts a request into the queue."""
    values = {"kind": kind, "args": dict(args), "state": ASKED, "asked": asked}
    return int(connection.execute(insert(requests).values(values).returning(requests.c.id)).scalar_one())


def waiting(connection: Connection, epoch: int) -> int | None:
    """Id of the oldest request that nobody works at; one whose former holder went before it answered counts as such."""
    nobodys = or_(requests.c.state == ASKED, (requests.c.state == TAKEN) & (requests.c.epoch != epoch))
    return connection.execute(select(requests.c.id).where(nobodys).order_by(requests.c.id).limit(1)).scalar()


def take(connection: Connection, epoch: int) -> Request | None:
    """The oldest request that nobody works at, for this holder."""
    number = waiting(connection, epoch)
    if number is None:
        return None
    connection.execute(update(requests).where(requests.c.id == number).values(state=TAKEN, epoch=epoch))
    return read_request(connection, number)


def is_asked(connection: Connection) -> bool:
    """True while a request waits that nobody works at."""
    return connection.execute(select(requests.c.id).where(requests.c.state == ASKED).limit(1)).first() is not None


def answer(connection: Connection, number: int, *, ok: bool, result: Any) -> None:
    """The outcome, for the command that waits."""
    values = {"state": ANSWERED if ok else REFUSED, "result": result}
    connection.execute(update(requests).where(requests.c.id == number).values(values))


def note(connection: Connection, number: int, result: Any) -> None:
    """How far a request is that somebody works at."""
    begun = (requests.c.id == number) & (requests.c.state == TAKEN)
    connection.execute(update(requests).where(begun).values(result=result))


def withdraw(connection: Connection, number: int) -> bool:
    """Takes back a request that nobody has begun; False: too late."""
    mine = (requests.c.id == number) & (requests.c.state == ASKED)
    return connection.execute(update(requests).where(mine).values(state=WITHDRAWN)).rowcount == 1


def read_request(connection: Connection, number: int) -> Request | None:
    """A request as it stands."""
    row = connection.execute(select(requests).where(requests.c.id == number)).first()
    if row is None:
        return None
    return Request(
        id=row.id,
        kind=row.kind,
        args=row.args,
        state=row.state,
        ok={ANSWERED: True, REFUSED: False}.get(row.state),
        result=row.result,
        asked=row.asked,
    )
