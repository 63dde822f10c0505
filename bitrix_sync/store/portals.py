"""The portals of a fleet: the operator's table on PostgreSQL, which portals never see. Every method is one transaction.

Secrets are sealed before they come here. ``version`` grows over all rows with every change that an administrator makes,
so that ``changed_since`` is all that a worker or a door asks for; when a portal is due, and what became of it, are
changed by the work without it. Moments are those of the database's clock. All raise StoreError.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Connection,
    Row,
    case,
    cast,
    delete,
    func,
    insert,
    literal,
    select,
    type_coerce,
    update,
)

from bitrix_sync.errors import StoreError
from bitrix_sync.store import clocks, dialects, lease
from bitrix_sync.store.database import Database, insert_new
from bitrix_sync.store.dialects import BUSY_SECONDS, Sqlite, dialect_of
from bitrix_sync.store.flags import Flags
from bitrix_sync.store.schema import Moment, portals, rules_history
from bitrix_sync.store.schema import portal as leases

KEPT_RULES = 20
"""Versions of a portal's rules that are kept."""
c = portals.c
CLOCK = type_coerce(cast(func.extract("epoch", func.clock_timestamp()) * 1_000_000, BigInteger), Moment)
"""The database's present moment."""
BEGUN = type_coerce(cast(func.extract("epoch", func.now()) * 1_000_000, BigInteger), Moment)
"""When the database began the transaction: the same wherever it stands in that."""
CLAIMED = timedelta(seconds=20)
"""After so long a portal is due again whose turn has said nothing, be it lost or long."""
THE_SERVER = "the server"
"""Whose clock the moments of portals that workers serve are by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortalRow:
    """One portal. ``address``: where it is, without the webhook's code; "" once it is removed. ``webhook``, ``tokens``:
    sealed, empty for none; ``token_marks``: by which a token is known; ``page_password``: as ``scrypt`` keeps it.
    ``rules_version`` is 0 while it has none; ``settings`` overrule the environment's, by their names."""

    number: int = 0
    name: str
    enabled: bool = True
    removed: bool = False
    version: int = 0
    address: str
    webhook_user: int = 0
    webhook: bytes = field(default=b"", repr=False)
    tokens: bytes = field(default=b"", repr=False)
    token_marks: tuple[str, ...] = field(default=(), repr=False)
    page_password: str = field(default="", repr=False)
    rules: str = field(default="", repr=False)
    rules_version: int = 0
    settings: Mapping[str, str] = field(default_factory=dict)
    due: datetime | None = None
    rung: datetime | None = None
    trouble: str = ""
    seen_ok: datetime | None = None


@dataclass(frozen=True, slots=True)
class RulesVersion:
    """Rules that a portal had: since when, and who brought them."""

    version: int
    text: str
    at: datetime
    by: str


@dataclass(frozen=True, slots=True)
class Turn:
    """A worker's turn at a portal: what it must know of the row. ``rung``: the last ring that it knows of. ``at``: when
    it began. ``pace``: what is known of the last holder's pacer."""

    number: int
    name: str
    version: int
    enabled: bool
    rung: datetime | None = None
    epoch: int = 0
    at: datetime | None = None
    pace: lease.Pace | None = None


HEAVY = frozenset({"webhook", "tokens", "rules"})


class NameTaken(StoreError):
    """A portal of that name is there, or was."""

    def __init__(self, name: str) -> None:
        super().__init__(f"portal {name}: there is or was one of that name, and none is given twice; take another")


BY_ADMINISTRATORS = frozenset(
    {"enabled", "address", "webhook_user", "webhook", "tokens", "token_marks", "page_password", "rules", "settings"}
)
"""What ``change`` may change."""


class Portals:
    """The table of portals in the database at an address of PostgreSQL, which is brought to the present version."""

    def __init__(self, url: str, *, busy_seconds: float = BUSY_SECONDS) -> None:
        if dialect_of(url) is Sqlite:
            raise StoreError("DATABASE_URL: many portals need PostgreSQL; write postgresql://user:password@host/name")
        self._database = Database(url, busy_seconds=busy_seconds)
        self.name = self._database.name

    def close(self) -> None:
        """Closes every connection."""
        self._database.close()

    def __enter__(self) -> Portals:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- what stands there -------------------------------------------------------------------------------------------

    def rows(self) -> list[PortalRow]:
        """All that were not removed, by name."""
        return self._found(select(portals).where(~c.removed).order_by(c.name))

    def named(self, name: str) -> PortalRow | None:
        """The portal of that name, also a removed one."""
        return next(iter(self._found(select(portals).where(c.name == name))), None)

    def numbered(self, number: int) -> PortalRow | None:
        """The portal of that number, also a removed one."""
        return next(iter(self._found(select(portals).where(c.number == number))), None)

    def overview(self, since: int = 0) -> list[PortalRow]:
        """What changed since that version, removed ones included, without rules and secrets, by name: for whoever looks
        at many often."""
        columns = [one for one in c if one.name not in HEAVY]
        query = select(*columns).where(c.version > since).order_by(c.name)
        with self._database.reading() as connection:
            return [PortalRow(**one._mapping) for one in connection.execute(query)]

    def changed_since(self, version: int) -> list[PortalRow]:
        """Those that an administrator has changed, disabled or removed since that version, in the order of their
        changes."""
        return self._found(select(portals).where(c.version > version).order_by(c.version))

    def history(self, number: int) -> list[RulesVersion]:
        """The rules that the portal has and had, the newest first."""
        kept = rules_history.c
        query = select(kept.version, kept.text, kept.at, kept.by)
        with self._database.reading() as connection:
            found = connection.execute(query.where(kept.portal == number).order_by(kept.version.desc()))
            return [RulesVersion(**one._mapping) for one in found]

    def _found(self, query: Any) -> list[PortalRow]:
        with self._database.reading() as connection:
            return list(map(_row, connection.execute(query)))

    # --- what an administrator changes -------------------------------------------------------------------------------

    def add(self, row: PortalRow, *, by: str) -> PortalRow:
        """A new portal, due at once if it is enabled; StoreError if its name or its address is taken."""
        return self.write([row], {}, by=by)[0]

    def change(self, number: int, *, by: str, **values: Any) -> PortalRow:
        """Other values (``BY_ADMINISTRATORS``) for a portal, which is due at once; other rules are a new version of
        them."""
        return self.write([], {number: values}, by=by)[0]

    def write(
        self, added: Sequence[PortalRow], changed: Mapping[int, Mapping[str, Any]], *, by: str
    ) -> list[PortalRow]:
        """New portals and changes of others, all or nothing; the rows as they stand then, in the same order."""
        with self._database.changing_all() as connection:
            numbers = [_add(connection, row) for row in added]
            for number, values in changed.items():
                _change(connection, number, values)
            numbers += changed
            found = {}
            for row in map(_row, connection.execute(select(portals).where(c.number.in_(numbers)))):
                _keep_rules(connection, row, by)
                found[row.number] = row
        return [found[number] for number in numbers]

    def take_rules(self, number: int, version: int) -> None:
        """Rules that the portal had are in force again; the later ones stay in its history."""
        kept = rules_history.c
        text = select(kept.text).where(kept.portal == number, kept.version == version).scalar_subquery()
        with self._database.changing_all() as connection:
            values = {"rules": text, "rules_version": version, "version": _next(connection), "due": _due(c.enabled)}
            connection.execute(update(portals).where(c.number == number).values(values))

    def remove(self, number: int) -> None:
        """Forget all of a portal but its name. What it has in the store is to be deleted before."""
        gone = PortalRow(name="", address="", enabled=False, removed=True)
        names = {*BY_ADMINISTRATORS, "removed", "rules_version", "due", "rung", "trouble", "seen_ok"}
        with self._database.changing_all() as connection:
            values = {name: getattr(gone, name) for name in names} | {"version": _next(connection)}
            connection.execute(update(portals).where(c.number == number).values(values))
            connection.execute(delete(rules_history).where(rules_history.c.portal == number))

    # --- what the work changes ---------------------------------------------------------------------------------------

    def clock(self) -> datetime:
        """The database's present moment."""
        with self._database.reading() as connection:
            moment: datetime = connection.execute(select(CLOCK)).scalar_one()
        return moment

    def claim_due(self, limit: int) -> list[int]:
        """The numbers of enabled portals that are due, those that wait longest first; each is due again in ``CLAIMED``
        unless a turn says something else by then."""
        waiting = select(c.number).where(c.enabled, c.due <= CLOCK).order_by(c.due, c.number).limit(limit)
        with self._database.unqueued() as connection:
            found = list(connection.execute(waiting.with_for_update(skip_locked=True)).scalars())
            if found:
                connection.execute(update(portals).where(c.number.in_(found)).values(due=CLOCK + span_of(CLAIMED)))
        return found

    def take(self, number: int, worker: str, host: str, pid: int, *, disabled: bool = False) -> Turn:
        """A turn of a portal begins: the worker that may take it, since the queue gave it to no other, holds the
        portal's lease from now on. The epoch stays if that one held it last. ``disabled``: of a portal that no worker
        may take."""
        held = leases.c
        epoch = case((held.holder == worker, held.epoch), else_=held.epoch + 1)
        values = {
            "epoch": epoch,
            "holder": worker,
            "process": worker,
            "place": "",
            "pid": pid,
            "host": host,
            "until": CLOCK + span_of(lease.TERM),
        }
        with self._database.writing_of(number) as connection:
            row = connection.execute(
                select(c.name, c.version, c.enabled, c.removed, c.rung).where(c.number == number)
            ).one()
            if row.enabled is disabled or row.removed:
                return Turn(number, row.name, row.version, enabled=False)
            before = connection.execute(select(held.epoch, held.pacer_level, held.pacer_at, held.until)).first()
            if before is None:
                insert_new(connection, leases, [{"id": 1, "epoch": 0}])
            taken = connection.execute(update(leases).values(values).returning(held.epoch, CLOCK)).one()
            now: datetime = taken[1]
            if before is None or before.epoch != taken.epoch:
                clocks.hand_over(connection, base=0.0, now=now, boot=THE_SERVER)
        pace = None
        if before is not None and before.pacer_level is not None:
            pace = lease.Pace(before.pacer_level, before.pacer_at, final=before.until == before.pacer_at)
        return Turn(
            number, row.name, row.version, enabled=True, rung=row.rung, epoch=int(taken.epoch), at=now, pace=pace
        )

    def end_turn(self, turn: Turn, *, after: float, trouble: str, level: float, passed: datetime | None) -> None:
        """What became of a turn: the portal is due again ``after`` so many seconds, but at once if somebody rang
        meanwhile; ``passed``: when a pass ended well in it. ``level``: of the pacer, for whoever goes on."""
        at = CLOCK + span_of(timedelta(seconds=max(0.0, after)))
        later = case((c.rung.is_not_distinct_from(turn.rung), at), else_=CLOCK)
        held = leases.c
        with self._database.writing_of(turn.number) as connection:
            connection.execute(
                update(portals)
                .where(c.number == turn.number, c.enabled)
                .values(due=later, trouble=trouble, **({"seen_ok": passed} if passed else {}))
            )
            if passed:
                Flags.last_pass.write(connection, passed)
            noted = {"pacer_level": level, "pacer_at": BEGUN, "until": BEGUN}  # the same moment: nothing was sent since
            connection.execute(update(leases).where(held.epoch == turn.epoch).values(noted))

    def ring(self, numbers: Sequence[int]) -> None:
        """Something happened at these portals: they are due now."""
        if numbers:
            with self._database.unqueued() as connection:
                connection.execute(
                    update(portals)
                    .where(c.number.in_(sorted(numbers)), c.enabled)
                    .values(due=func.least(c.due, CLOCK), rung=CLOCK)
                )


def span_of(span: timedelta) -> Any:
    """To be added to a moment of the database."""
    return literal(span // timedelta(microseconds=1), BigInteger)


def _row(found: Row[Any]) -> PortalRow:
    return PortalRow(**found._mapping)


def _next(connection: Connection) -> int:
    return int(connection.execute(select(func.coalesce(func.max(c.version), 0) + 1)).scalar_one())


def _due(enabled: Any) -> Any:
    return case((enabled, CLOCK), else_=None)


def _add(connection: Connection, row: PortalRow) -> int:
    if connection.execute(select(c.number).where(c.name == row.name)).first():
        raise NameTaken(row.name)
    _need_address(connection, row.address, 0)
    values = {one.name: getattr(row, one.name) for one in fields(PortalRow) if one.name != "number"}
    values |= {"version": _next(connection), "rules_version": int(bool(row.rules))}
    made = insert(portals).values(values | {"due": CLOCK if row.enabled else None}).returning(c.number)
    return int(connection.execute(made).scalar_one())


def _change(connection: Connection, number: int, values: Mapping[str, Any]) -> None:
    assert values.keys() <= BY_ADMINISTRATORS, values.keys()
    new = {**values, "version": _next(connection), "due": _due(values.get("enabled", c.enabled))}
    if "address" in values:
        _need_address(connection, values["address"], number)
    if "rules" in values:
        kept = rules_history.c
        newest = select(func.coalesce(func.max(kept.version), 0)).where(kept.portal == number).scalar_subquery()
        new["rules_version"] = case((c.rules == values["rules"], c.rules_version), else_=newest + 1)
    connection.execute(update(portals).where(c.number == number).values(new))


def _need_address(connection: Connection, address: str, number: int) -> None:
    other = connection.execute(select(c.name).where(c.address == address, c.number != number)).scalar()
    if other is not None:
        raise StoreError(f"{address} is the address of portal {other} already; a portal is served once")


def _keep_rules(connection: Connection, row: PortalRow, by: str) -> None:
    """The portal's rules in its history, if they are new; the oldest go."""
    if not row.rules_version:
        return
    kept = rules_history.c
    values = {"portal": row.number, "version": row.rules_version, "text": row.rules, "at": CLOCK, "by": by}
    connection.execute(dialects.insert(connection, rules_history).values(values).on_conflict_do_nothing())
    newest = select(kept.version).where(kept.portal == row.number).order_by(kept.version.desc()).limit(KEPT_RULES)
    past = kept.version.not_in(newest.scalar_subquery()) & (kept.version != row.rules_version)
    connection.execute(delete(rules_history).where(kept.portal == row.number, past))
