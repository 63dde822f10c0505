"""Outgoing webhooks: subscriptions, and a queue that tells each subscriber once what happened.

Docs: api-reference/events/index.md, local-integrations/local-webhooks.md. A delivery is never repeated; an outgoing
webhook cannot get ONCRMDEALMOVETOCATEGORY; what the events of application are for (``event.bind`` and its kin) is
refused to webhooks.
"""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus, urlsplit

from bitrix_sandbox.http.wire import php_text
from bitrix_sandbox.methods.protocol import Answer, Caller, method
from bitrix_sandbox.state.clock import Agenda, Clock
from bitrix_sandbox.state.errors import RestError
from bitrix_sandbox.state.portal import PortalState

ONLINE = (
    "ONCRMDEALADD",
    "ONCRMDEALUPDATE",
    "ONCRMDEALDELETE",
    "ONTASKADD",
    "ONTASKUPDATE",
    "ONTASKDELETE",
    "ONTASKCOMMENTADD",
)
"""Events that the portal's form for an outgoing webhook offers, as far as the sandbox raises them."""
OF_ACTIVITIES = ("ONCRMACTIVITYADD", "ONCRMACTIVITYUPDATE", "ONCRMACTIVITYDELETE")
"""Offered too; they come for every task of a deal besides, so a subscription names them itself."""
MEMBER_ID = "d897063e1ce7c5eb9f04b9751eef5915"
SERVER = "https://oauth.bitrix.info/rest/"
LONGEST_INTERVAL = 30.0
"""Real seconds between two calls of handlers that are slow."""
KEPT = 10_000
"""Deliveries kept on record."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """An outgoing webhook: one handler, one token, several events."""

    id: int
    url: str
    token: str
    events: frozenset[str]


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of one delivery: event, its form-encoded body, HTTP status of the handler (0: no answer, or
    ``dropped`` on purpose)."""

    event: str
    body: str
    status: int
    dropped: bool = False


@dataclass(slots=True)
class Weather:
    """What goes wrong on the way of events; may be changed while the portal runs. Probabilities of a delivery, seconds
    of the portal's clock.

    ``drop``: never sent. ``duplicate``: sent twice. ``delay``: sent so much later, between two bounds. ``reorder``:
    sent ``reorder_seconds`` later, so that others overtake it. ``own_writes``: what REST calls change is told too.
    ``timeout``: real seconds that a handler has. ``slow_after``: one that takes longer is called less and less often.
    """

    drop: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    reorder_seconds: float = 1.0
    delay: tuple[float, float] = (0.0, 0.0)
    own_writes: bool = True
    timeout: float = 5.0
    slow_after: float = 1.0

    def turn(self, changes: Mapping[str, Any]) -> None:
        """Set several by name. Raises KeyError for a name that is not there."""
        for name, value in changes.items():
            if name not in self.__slots__:
                raise KeyError(name)
            setattr(self, name, tuple(value) if name == "delay" else value)


class Events:
    """The event queue of one portal. ``put`` is what the state emits to; deliveries leave in a thread of their own.

    Events that one hit (a request) raises twice alike are sent once; outside a hit each is sent by itself.
    """

    def __init__(self, clock: Clock, host: str, *, seed: int = 0) -> None:
        self.weather = Weather()
        self.sent: deque[Delivery] = deque(maxlen=KEPT)
        self.subscriptions: dict[int, Subscription] = {}
        self._clock, self._host = clock, host
        self.member_id = MEMBER_ID
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._number = 973
        self._hit = threading.local()
        self.interval = 0.0
        """Real seconds between two deliveries; grows while handlers are slow."""
        self._closed = threading.Event()
        self._agenda = Agenda(clock, "sandbox events")

    def seed(self, seed: int) -> None:
        """Begin the chances anew."""
        self._random.seed(seed)

    def subscribe(self, url: str, token: str, events: Iterable[str] = ONLINE) -> Subscription:
        """Make an outgoing webhook. Raises ValueError for an event that it cannot get."""
        names = frozenset(name.upper() for name in events)
        if unknown := names - {*ONLINE, *OF_ACTIVITIES}:
            raise ValueError(f"an outgoing webhook cannot get {', '.join(sorted(unknown))}")
        if urlsplit(url).scheme != "http":
            raise ValueError("the sandbox calls handlers by http only")
        with self._lock:
            self._number += 2
            made = Subscription(self._number, url, token, names)
            self.subscriptions[made.id] = made
        return made

    def unsubscribe(self, number: int | None = None) -> None:
        """Delete an outgoing webhook, or all."""
        with self._lock:
            if number is None:
                self.subscriptions.clear()
            else:
                del self.subscriptions[number]

    def put(self, event: str, data: dict[str, Any]) -> None:
        """Something happened."""
        waiting: list[tuple[str, dict[str, Any]]] | None = getattr(self._hit, "waiting", None)
        if waiting is None:
            self._enqueue(event, data)
        elif self.weather.own_writes and (event, data) not in waiting:
            waiting.append((event, data))

    @contextmanager
    def hit(self) -> Iterator[None]:
        """One request: what it raises leaves when it is over."""
        self._hit.waiting = []
        try:
            yield
        finally:
            waiting, self._hit.waiting = self._hit.waiting, None
            for event, data in waiting:
                self._enqueue(event, data)

    def settle(self, timeout: float = 60.0) -> bool:
        """Wait until all that is due was sent; False if that took longer than ``timeout`` real seconds."""
        return self._agenda.settle(timeout)

    def waiting(self) -> int:
        """Deliveries that have not left, delayed ones too."""
        return self._agenda.waiting()

    def close(self) -> None:
        """Send nothing more."""
        self._closed.set()
        self._agenda.close()

    def _enqueue(self, event: str, data: dict[str, Any]) -> None:
        with self._lock:
            targets = [one for one in self.subscriptions.values() if event in one.events]
            for target in targets:
                body = self._body(target, event, data)
                if self._random.random() < self.weather.drop:
                    self.sent.append(Delivery(event, body, 0, dropped=True))
                    continue
                for _ in range(2 if self._random.random() < self.weather.duplicate else 1):
                    late = self._random.uniform(*self.weather.delay)
                    if self._random.random() < self.weather.reorder:
                        late += self.weather.reorder_seconds
                    self._agenda.add(lambda to=target, body=body: self._send(to, event, body), after=late)  # type: ignore[misc]

    def _body(self, target: Subscription, event: str, data: dict[str, Any]) -> str:
        pairs = [
            ("event", event),
            ("event_handler_id", str(target.id)),
            *_flat("data", data),
            ("ts", str(int(self._clock.timestamp()))),
            ("auth[domain]", self._host),
            ("auth[client_endpoint]", f"http://{self._host}/rest/"),
            ("auth[server_endpoint]", SERVER),
            ("auth[member_id]", self.member_id),
            ("auth[application_token]", target.token),
        ]
        return "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in pairs)

    def _send(self, target: Subscription, event: str, body: str) -> None:
        if self.interval and self._closed.wait(self.interval):
            return
        begun = time.monotonic()
        status = _post(target.url, body, self.weather.timeout)
        self.sent.append(Delivery(event, body, status))
        slow = self.weather.slow_after
        if time.monotonic() - begun > slow:
            self.interval = min(LONGEST_INTERVAL, max(slow / 2, 2 * self.interval))
        else:
            self.interval = self.interval / 2 if self.interval > slow / 2 else 0.0


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from _flat(f"{name}[{key}]", one)
    else:
        yield name, php_text(value)


def _post(url: str, body: str, timeout: float) -> int:
    """Status of the handler's answer, 0 for none."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=timeout)
    try:
        path = parts.path or "/"
        connection.request(
            "POST",
            f"{path}?{parts.query}" if parts.query else path,
            body.encode(),
            {"Content-Type": "application/x-www-form-urlencoded", "User-Agent": "Bitrix24 Webhook Engine"},
        )
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


APP_ONLY = (
    "event.bind",
    "event.get",
    "event.unbind",
    "event.test",
    "event.offline.get",
    "event.offline.list",
    "event.offline.clear",
    "event.offline.error",
)


def _app_only(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    raise RestError("WRONG_AUTH_TYPE", "Current authorization type is denied for this method", 403)


for _name in APP_ONLY:
    method(_name)(_app_only)
