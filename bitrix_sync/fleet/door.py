"""``POST /webhooks/bitrix24/NAME``: the events of many portals. The path names the portal, the token proves it.

All that is asked is in memory, so that it answers while the database is away: names and marks of tokens, taken anew
when a portal changes. Whom an event concerns is collected, and told to the table in one statement now and then. The
bare address stays: there the token alone says whose event it is.

Beside the answers of ``webhooks.event_endpoint``: 404 for a name that nobody has, and 429 for what is too much for one
portal; of both the body is not read.
"""

from __future__ import annotations

import hmac
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog

from bitrix_sync.fleet.seal import Seals
from bitrix_sync.store.portals import PortalRow, Portals
from webhooks.event_endpoint import ADDRESS, QUIET_SECONDS, Deliveries, read_body, said
from webhooks.events import Event, NotAnEvent, parse

log = structlog.get_logger(__name__)

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

AT_ONCE, A_SECOND = 500.0, 50.0
"""Events of one portal that are looked at: at once, and how many more each second."""
NOBODY = 0
"""Number under which events of the bare address are counted before it is known whose they are."""


class KnownPortals:
    """The portals by name and by the marks of their tokens, as of the newest change that was seen. Any thread may look
    while one takes what is new."""

    def __init__(self) -> None:
        self.version = 0
        self.names: dict[str, PortalRow] = {}
        self.marks: dict[str, list[PortalRow]] = {}

    def take(self, changed: Iterable[PortalRow]) -> None:
        """Portals that were changed or removed."""
        names, version = dict(self.names), self.version
        for row in changed:
            version = max(version, row.version)
            names.pop(row.name, None)
            if not row.removed:
                names[row.name] = row
        marks: dict[str, list[PortalRow]] = {}
        for row in names.values():
            for mark in row.token_marks:
                marks.setdefault(mark, []).append(row)
        self.names, self.marks, self.version = names, marks, version


class Rings:
    """Portals at which something happened, until the table knows."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rung: set[int] = set()

    def ring(self, number: int) -> None:
        """An event of that portal came."""
        with self._lock:
            self._rung.add(number)

    def tell(self, portals: Portals) -> None:
        """All of them in one statement; if the table cannot be told now, they stay for the next time."""
        with self._lock:
            rung, self._rung = self._rung, set()
        try:
            portals.ring(sorted(rung))
        except BaseException:
            with self._lock:
                self._rung |= rung
            raise


class Allowances:
    """How many events of each portal may be looked at: a flood of one must not keep those of the others. ``clock`` in
    seconds, only ever growing."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._left: dict[int, tuple[float, float]] = {}

    def take(self, number: int) -> bool:
        """One of the portal's; False when it has none left."""
        with self._lock:
            now = self._clock()
            left, at = self._left.get(number, (AT_ONCE, now))
            left = min(AT_ONCE, left + (now - at) * A_SECOND)
            self._left[number] = (left - 1 if left >= 1 else left, now)
            return left >= 1


class FleetDoor:
    """WSGI for the addresses of events. ``deliveries`` counts all of them, ``of`` has those of one portal."""

    def __init__(self, known: KnownPortals, seals: Seals, rings: Rings, allowances: Allowances | None = None) -> None:
        self._known, self._seals, self._rings = known, seals, rings
        self._allowances = allowances or Allowances()
        self.deliveries = Deliveries()
        self._own: dict[int, Deliveries] = {}
        self._quiet_until = 0.0

    def of(self, number: int) -> Deliveries:
        """What came for a portal."""
        return self._own.setdefault(number, Deliveries())

    @staticmethod
    def answers(path: str) -> bool:
        """Whether that is one of its addresses."""
        return path == ADDRESS or path.startswith(f"{ADDRESS}/")

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """The answer to one delivery."""
        name = environ["PATH_INFO"][len(ADDRESS) :].strip("/")
        status, reason, event, rows = self._judge(name, environ)
        self.deliveries.note(status, reason, event)
        if status == HTTPStatus.FORBIDDEN and time.monotonic() >= self._quiet_until:
            self._quiet_until = time.monotonic() + QUIET_SECONDS
            log.warning("an event came with a foreign token; compare it with the portal's webhook", portal=name)
        for row in rows:
            self.of(row.number).note(status, reason, event)
            if status == HTTPStatus.OK and row.enabled:
                self._rings.ring(row.number)
        return said(status, environ, start_response)

    def _judge(self, name: str, environ: WSGIEnvironment) -> tuple[HTTPStatus, str, Event | None, Sequence[PortalRow]]:
        """The answer, its reason, what came, and the portals that it concerns."""
        named = self._known.names.get(name)
        rows = [named] if named is not None and named.token_marks else []
        if not rows and (name or not self._known.marks):
            return HTTPStatus.NOT_FOUND, "no such portal takes events", None, []
        if environ.get("REQUEST_METHOD") != "POST":
            return HTTPStatus.METHOD_NOT_ALLOWED, "the method is not POST", None, rows
        if not self._allowances.take(rows[0].number if rows else NOBODY):
            return HTTPStatus.TOO_MANY_REQUESTS, "too many events", None, rows
        try:
            body = read_body(environ)
            if body is None:
                return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the body is longer than 64 KiB", None, rows
            event = parse(body, environ.get("CONTENT_TYPE"))
        except NotAnEvent as reason:
            return HTTPStatus.BAD_REQUEST, str(reason), None, rows
        if owners := self._owners(event.token, named):
            return HTTPStatus.OK, "", event, owners
        return HTTPStatus.FORBIDDEN, "the token is none of ours", event, rows

    def _owners(self, token: str, named: PortalRow | None) -> list[PortalRow]:
        """Whose token that is: the named portal's, or, where none is named, anybody's."""
        marks = self._seals.marks(token)
        rows = [named] if named is not None else [row for mark in marks for row in self._known.marks.get(mark, ())]
        return [row for row in rows if _has(row, marks)]


def _has(row: PortalRow, marks: Iterable[str]) -> bool:
    """Whether one of the marks is the portal's; takes as long whether it is or not."""
    found = False
    for own in row.token_marks:
        for mark in marks:
            found |= hmac.compare_digest(own, mark)
    return found
