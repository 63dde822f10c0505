"""The web application, and the server that carries it in this process: waitress, with an orderly end."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Flask
from waitress import create_server, wasyncore
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.task import ErrorTask

from bitrix_sync.app import Service
from bitrix_sync.errors import SettingError
from bitrix_sync.settings import Listen
from webhooks import health, metrics
from webhooks.callers import network_of
from webhooks.event_endpoint import MAX_BODY, Deliveries, EventEndpoint

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

THREADS = 4
BACKLOG = 2048
"""Connections that may wait in the system's queue: a burst of events comes on many at once."""
CONNECTIONS, SHARE = 512, 128
"""Open ones in all, well below the usual limit of 1,024 files a process, and of one address. The next one after them
is taken all the same: that which has kept us waiting longest makes room for it."""
REQUEST_SECONDS, IDLE_SECONDS, ANSWER_SECONDS = 20.0, 30.0, 120.0
"""For a whole request with its body, from its first byte; for the first byte; for taking the answer."""
TEND_SECONDS = 1.0
"""Between two looks for connections whose time is over."""
LOOK_SECONDS, QUIET_SECONDS = 0.5, 2.0
"""How long the loop waits, with and without a connection, before it looks whether it is to end."""
NEVER = 10**9
GRACE_SECONDS = 4.0
"""For what is in flight when the end is asked for; the whole process has ten."""
LINGER_SECONDS = 5.0


def create_app(service: Service, *, blueprints: Iterable[Blueprint] = ()) -> Flask:
    """The web side of ``service``: the event address, health, metrics, and what else is given (the page).

    ``app.extensions["deliveries"]`` are the recent deliveries of events (``Deliveries``).
    """
    app = Flask("webhooks", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    deliveries = Deliveries()
    app.extensions["deliveries"] = deliveries
    for blueprint in (health.blueprint(service), metrics.blueprint(service, deliveries), *blueprints):
        app.register_blueprint(blueprint)
    tokens = [token.get_secret_value() for token in service.settings.application_tokens]
    door = EventEndpoint(app.wsgi_app, tokens=tokens, wake=service.wake, meet=service.meet, deliveries=deliveries)
    app.wsgi_app = door  # type: ignore[method-assign]
    return app


def serve(
    app: WSGIApplication,
    listen: Listen,
    stop: threading.Event,
    *,
    announce: Callable[[str], None] = lambda url: None,
) -> None:
    """Answer requests until ``stop`` is set, then end in order. ``announce`` is told the address once it is open.

    In the main thread SIGTERM and Ctrl-C set ``stop``; after Ctrl-C KeyboardInterrupt is raised when all is through.
    SettingError if the address cannot be had.
    """
    server = WebServer(app, listen)
    with _signals(stop, server):
        announce(server.url)
        server.run(stop)


class WebServer:
    """A listening server; it owns its address from its making on (SettingError if that cannot be had)."""

    def __init__(self, app: WSGIApplication, listen: Listen) -> None:
        self._channels: dict[int, Any] = {}
        self._server = create_server(
            app,
            map=self._channels,
            sockets=[_bound(listen)],
            threads=THREADS,
            backlog=BACKLOG,
            # whose turn it is to go is decided here (``_admit``, ``_turn``), by a clock that does not jump
            connection_limit=2 * CONNECTIONS,
            channel_timeout=NEVER,
            # beyond this waitress refuses by itself while it reads; chunks need room for their framing
            max_request_body_size=4 * MAX_BODY,
            max_request_header_size=16 * 1024,
            # forwarding headers stay: that there are any tells that a request is not from this machine
            clear_untrusted_proxy_headers=False,
            ident="",
        )
        self._server.channel_class = self._admit
        self._tended = time.monotonic()
        self.url = f"http://{Listen(listen.host, int(self._server.effective_port))}"

    def wake(self) -> None:
        """Let the loop look up from waiting; safe in a signal handler."""
        self._server.pull_trigger()

    def run(self, stop: threading.Event) -> None:
        """Answer until ``stop`` is set; then accept nothing new, and answer what has come for ``GRACE_SECONDS``."""
        try:
            while not stop.is_set():
                self._turn(LOOK_SECONDS if self._open() else QUIET_SECONDS)
            wasyncore.dispatcher.close(self._server)
            deadline = time.monotonic() + GRACE_SECONDS
            while self._busy() and time.monotonic() < deadline:
                self._turn(0.05)
        finally:
            self._server.task_dispatcher.shutdown(timeout=0.5)
            wasyncore.close_all(self._channels)

    def _turn(self, timeout: float) -> None:
        wasyncore.loop(timeout=timeout, use_poll=True, map=self._channels, count=1)
        now = time.monotonic()
        if now - self._tended >= TEND_SECONDS:
            self._tended = now
            for channel in self._open():
                if channel.overdue(now):
                    channel.handle_close()

    def _open(self) -> list[_Channel]:
        return [channel for channel in self._channels.values() if isinstance(channel, _Channel)]

    def _busy(self) -> bool:
        return any(channel.requests or channel.request or channel.total_outbufs_len for channel in self._open())

    def _admit(self, server: Any, connection: socket.socket, address: Any, *rest: Any, **more: Any) -> None:
        """Take a new connection. Where its address, or the server, has as many as it may, another one goes: of the
        address, or of the address that has most, that which has kept us waiting longest. Who is being answered stays:
        if there are none but those, the new one goes."""
        owner, channels = network_of(address[0]), self._open()
        shares = Counter(channel.owner for channel in channels)
        crowd = owner if shares[owner] >= SHARE else max(shares, key=lambda who: shares[who], default=owner)
        if shares[owner] >= SHARE or len(channels) >= CONNECTIONS:
            waiting = [channel for channel in channels if channel.owner == crowd and not channel.requests]
            if not waiting:
                connection.close()
                return
            min(waiting, key=lambda channel: channel.since).handle_close()
        _Channel(server, connection, address, *rest, **more).owner = owner


def _bound(listen: Listen) -> socket.socket:
    try:
        found = socket.getaddrinfo(listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        reason = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        raise SettingError(
            f"BITRIX_LISTEN: {listen} cannot be listened on ({reason}); "
            "write an address of this machine and a free port, as 127.0.0.1:8080"
        ) from None


@contextmanager
def _signals(stop: threading.Event, server: WebServer) -> Iterator[None]:
    """SIGTERM and SIGINT set ``stop`` while inside: an exception from the handler would tear what is half done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    interrupted = False

    def end(number: int, _frame: object) -> None:
        nonlocal interrupted
        interrupted = interrupted or number == signal.SIGINT
        stop.set()
        server.wake()
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a second Ctrl-C does not wait

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if interrupted:
        raise KeyboardInterrupt


class _Refusal(ErrorTask):  # type: ignore[misc]
    def execute(self) -> None:
        self.channel.refused = True
        super().execute()


class _Parser(HTTPRequestParser):  # type: ignore[misc]
    path = ""  # its author asks for it also where none could be read

    def parse_header(self, header_plus: bytes) -> None:
        """The same; what its author did not foresee (a length of thousands of digits) is a bad request too."""
        try:
            super().parse_header(header_plus)
        except ValueError as fault:
            raise ParsingError("Start line or header is invalid") from fault


class _Channel(HTTPChannel):  # type: ignore[misc]
    """A connection that knows since when it keeps us waiting: for a request, or until its answer is taken.

    After a body was refused half-way it reads on for a while, and forgets: a connection that is closed on unread bytes
    is reset, and its client sees a broken pipe in place of the 413.
    """

    error_task_class = _Refusal
    parser_class = _Parser
    refused = False
    lingers_until = 0.0
    owner = ""

    def __init__(self, *args: Any, **more: Any) -> None:
        self.since = time.monotonic()
        self._begun = False
        super().__init__(*args, **more)

    def overdue(self, now: float) -> bool:
        """True when its time is over. While its request is being answered it has all the time it takes us, unless the
        client does not take the answer."""
        if self.lingers_until:
            return now > self.lingers_until
        if self.total_outbufs_len:
            return now - self.since > ANSWER_SECONDS
        if self.requests:
            return False
        return now - self.since > (IDLE_SECONDS if self.request is None else REQUEST_SECONDS)

    def received(self, data: bytes) -> bool:
        taken = bool(super().received(data))
        if self.request is not None and not self._begun:  # empty lines are not the end of one
            self._begun, self.since = True, time.monotonic()
        return taken

    def service(self) -> None:
        self._begun = False
        super().service()

    def write_soon(self, data: Any) -> int:
        if not self.total_outbufs_len:
            self.since = time.monotonic()
        return int(super().write_soon(data))

    def _flush_some(self, do_close: bool = True) -> bool:
        flushed = bool(super()._flush_some(do_close=do_close))
        if flushed and not self.total_outbufs_len:
            self.since = time.monotonic()
        return flushed

    def handle_close(self) -> None:
        if self.refused and not self.lingers_until:
            self.lingers_until = time.monotonic() + LINGER_SECONDS
            self.will_close = False
            try:
                self.socket.shutdown(socket.SHUT_WR)
            except OSError:
                super().handle_close()
        else:
            super().handle_close()

    def readable(self) -> bool:
        return bool(self.lingers_until) or bool(super().readable())

    def handle_read(self) -> None:
        if not self.lingers_until:
            super().handle_read()
            return
        try:
            self.recv(64 * 1024)
        except OSError:
            self.handle_close()
