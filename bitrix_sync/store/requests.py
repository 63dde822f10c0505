"""What commands ask of the running service. In the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, or_, select, update

from bitrix_sync.store.dialects import announce
from bitrix_sync.store.schema import requests

ASKED, TAKEN, ANSWERED, REFUSED, WITHDRAWN = "asked", "taken", "answered", "refused", "withdrawn"


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


def ask(connection: Connection, kind: str, args: Mapping[str, Any], *, now: datetime) -> int:
    """Asks the running service for something; returns the request's id. ``now`` is our clock."""
    values = {"kind": kind, "args": dict(args), "state": ASKED, "asked": now}
    announce(connection)
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
    return find(connection, number)


def is_asked(connection: Connection) -> bool:
    """True while a request waits that nobody works at."""
    return connection.execute(select(requests.c.id).where(requests.c.state == ASKED).limit(1)).first() is not None


def answer(connection: Connection, number: int, ok: bool, result: Any = None) -> None:
    """The outcome of a request, JSON-able, for the command that waits."""
    values = {"state": ANSWERED if ok else REFUSED, "result": result}
    connection.execute(update(requests).where(requests.c.id == number).values(values))


def note(connection: Connection, number: int, result: Any) -> None:
    """How far a request is that somebody works at, JSON-able, for the command that waits."""
    begun = (requests.c.id == number) & (requests.c.state == TAKEN)
    connection.execute(update(requests).where(begun).values(result=result))


def withdraw(connection: Connection, number: int) -> bool:
    """Takes back a request that nobody has begun; False: too late."""
    mine = (requests.c.id == number) & (requests.c.state == ASKED)
    return connection.execute(update(requests).where(mine).values(state=WITHDRAWN)).rowcount == 1


def find(connection: Connection, number: int) -> Request | None:
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
