"""``POST /webhooks/bitrix24``: the address that the portal's events are sent to. It checks the token and wakes.

It stands before Flask, as WSGI, because the portal sends an event for every single change: routing and request objects
would cost several times what the check does. Its answers, in the order of the checks:

====  =========================================================================================================
404   no application token is set: the address does not exist
405   the method is not POST
413   the body is longer than 64 KiB; no more than that is read
400   the body is no event of a portal
403   the token is none of ours
200   a genuine event, whatever becomes of it: what it says is in the portal's history anyway
====  =========================================================================================================
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog

from webhooks.events import Event, NotAnEvent, genuine, parse

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

ADDRESS = "/webhooks/bitrix24"
MAX_BODY = 64 * 1024
REMEMBERED = 100
"""Deliveries of each kind, accepted and refused, that are kept for diagnosis."""
QUIET_SECONDS = 600.0
"""Between two warnings of a foreign token."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Delivery:
    """What came to the address: when (Unix seconds), what was answered and why, what it said it was. No secrets.

    ``name`` and ``domain`` of a refused one are a stranger's words.
    """

    at: float
    status: int
    reason: str
    name: str
    object_id: int | None
    domain: str


class Deliveries:
    """The recent deliveries and the count of all by answer, in memory: they prove nothing and serve diagnosis."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._accepted: deque[Delivery] = deque(maxlen=REMEMBERED)
        self._refused: deque[Delivery] = deque(maxlen=REMEMBERED)
        self._counts: Counter[int] = Counter()

    def note(self, status: int, reason: str, event: Event | None) -> None:
        """Remember one delivery. A flood of refused ones does not push out the accepted."""
        name, object_id, domain = (event.name, event.object_id, event.domain) if event else ("", None, "")
        delivery = Delivery(time.time(), status, reason, name, object_id, domain)
        with self._lock:
            self._counts[status] += 1
            (self._accepted if status == HTTPStatus.OK else self._refused).append(delivery)

    def recent(self) -> list[Delivery]:
        """The remembered ones, the newest first."""
        with self._lock:
            both = [*self._accepted, *self._refused]
        return sorted(both, key=lambda delivery: delivery.at, reverse=True)

    def counts(self) -> Mapping[int, int]:
        """How many were answered with which status since the start."""
        with self._lock:
            return dict(self._counts)


class EventEndpoint:
    """WSGI: answers the address itself and leaves every other path to the application behind it."""

    def __init__(
        self,
        behind: WSGIApplication,
        *,
        tokens: Sequence[str],
        wake: Callable[[str], None],
        meet: Callable[[str, str], None],
        deliveries: Deliveries,
    ) -> None:
        self._behind = behind
        self._tokens = tuple(token.encode() for token in tokens)
        self._wake = wake
        self._meet = meet
        self._deliveries = deliveries
        self._quiet_until = 0.0

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """The answer to one request."""
        if environ.get("PATH_INFO") not in (ADDRESS, f"{ADDRESS}/"):
            return self._behind(environ, start_response)
        status, reason, event = self._judge(environ)
        if status == HTTPStatus.OK and event is not None:
            try:
                self._meet(event.domain, event.member_id)
                self._wake(event.name)
            except Exception:
                log.exception("an event could not wake the service; the next poll will see what it told of")
        if self._tokens:
            self._deliveries.note(status, reason, event)
        if status == HTTPStatus.FORBIDDEN and time.monotonic() >= self._quiet_until:
            self._quiet_until = time.monotonic() + QUIET_SECONDS
            log.warning(
                "an event came with a foreign token; compare BITRIX_APPLICATION_TOKEN with the portal's webhook"
            )
        return said(status, environ, start_response)

    def _judge(self, environ: WSGIEnvironment) -> tuple[HTTPStatus, str, Event | None]:
        if not self._tokens:
            return HTTPStatus.NOT_FOUND, "no token is set", None
        if environ.get("REQUEST_METHOD") != "POST":
            return HTTPStatus.METHOD_NOT_ALLOWED, "the method is not POST", None
        try:
            body = read_body(environ)
            if body is None:
                return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the body is longer than 64 KiB", None
            event = parse(body, environ.get("CONTENT_TYPE"))
        except NotAnEvent as reason:
            return HTTPStatus.BAD_REQUEST, str(reason), None
        if not genuine(event, self._tokens):
            return HTTPStatus.FORBIDDEN, "the token is none of ours", event
        return HTTPStatus.OK, "", event


def read_body(environ: WSGIEnvironment) -> bytes | None:
    """The body, or None if it is too long; NotAnEvent if its length is nonsense."""
    declared = environ.get("CONTENT_LENGTH") or ""
    if not declared:
        # without a length only a server that ends the stream itself (waitress does, for chunks) may be read from
        body: bytes = environ["wsgi.input"].read(MAX_BODY + 1) if environ.get("wsgi.input_terminated") else b""
        return body if len(body) <= MAX_BODY else None
    if not (declared.isascii() and declared.isdigit()):
        raise NotAnEvent("the content length is no number")
    if len(declared) > len(str(MAX_BODY)) or int(declared) > MAX_BODY:
        return None
    body = environ["wsgi.input"].read(int(declared))
    if len(body) != int(declared):
        raise NotAnEvent("the body is cut off")
    return body


def said(status: HTTPStatus, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """The answer to a delivery."""
    line, headers, body = _ANSWERS[status]
    start_response(line, list(headers))
    return [] if environ.get("REQUEST_METHOD") == "HEAD" else [body]


def _answer(status: HTTPStatus, text: str, *more: tuple[str, str]) -> tuple[str, list[tuple[str, str]], bytes]:
    body = f"{text}\n".encode()
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body))), *more]
    return f"{status.value} {status.phrase}", headers, body


_ANSWERS = {
    HTTPStatus.OK: _answer(HTTPStatus.OK, "ok"),
    HTTPStatus.BAD_REQUEST: _answer(HTTPStatus.BAD_REQUEST, "This is no event of a Bitrix24 portal."),
    HTTPStatus.FORBIDDEN: _answer(HTTPStatus.FORBIDDEN, "The application token is not ours."),
    HTTPStatus.NOT_FOUND: _answer(HTTPStatus.NOT_FOUND, "Not found."),
    HTTPStatus.METHOD_NOT_ALLOWED: _answer(HTTPStatus.METHOD_NOT_ALLOWED, "Events come by POST.", ("Allow", "POST")),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: _answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "More than 64 KiB."),
    HTTPStatus.TOO_MANY_REQUESTS: _answer(HTTPStatus.TOO_MANY_REQUESTS, "Too many events.", ("Retry-After", "1")),
}
