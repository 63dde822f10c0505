"""The sandbox portal on a real socket: a Bitrix24 of one's own, whose faults come on order."""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
from collections import Counter, deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from bitrix_sandbox.http.control import PREFIX, Control
from bitrix_sandbox.http.faults import GIVES_UP, Broken
from bitrix_sandbox.http.journal import Entry
from bitrix_sandbox.http.portal import SandboxPortal
from bitrix_sandbox.http.wire import PAGES, Request, Response, page
from bitrix_sandbox.state import seed
from bitrix_sandbox.state.clock import Clock
from bitrix_sandbox.state.portal import PortalState

LOOPBACK = "127.0.0.1"
REASONS = {
    200: "OK",
    302: "Found",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    **PAGES,
}


class Sandbox(SandboxPortal):
    """A portal that listens on loopback until it is closed.

    ``state`` is what the portal knows (default: the sales department of ``seed``); ``clock`` its clock, where no state
    is given. ``rate`` and ``operating_limit``: see Limits; None for none. ``limits_clock`` gives epoch seconds to the
    limits, if they shall not follow the portal's clock. ``latency``: real seconds before each request is served.

    Leaving the ``with`` block raises the first defect of the sandbox itself, if one was met (``journal.crashes``).
    """

    def __init__(
        self,
        state: PortalState | None = None,
        *,
        clock: Clock | None = None,
        host: str = LOOPBACK,
        port: int = 0,
        rate: tuple[float, int] | None = (2, 50),
        operating_limit: float | None = 480,
        limits_clock: Callable[[], float] | None = None,
        latency: float = 0.0,
        event_seed: int = 0,
    ) -> None:
        if state is None:
            state = seed.build_department(clock or Clock())
        if not isinstance(state.clock, Clock):
            raise TypeError("the sandbox turns its clock: give the state a sandbox.clock.Clock")
        self._server = _Server(self, host, port)
        self.port: int = self._server.server_address[1]
        super().__init__(
            state,
            f"{host}:{self.port}",
            rate=rate,
            operating_limit=operating_limit,
            limits_clock=limits_clock,
            latency=latency,
            event_seed=event_seed,
        )
        self._control = Control(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="sandbox", daemon=True)
        self._thread.start()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if error is None and self.journal.crashes:
            raise self.journal.crashes[0]

    @property
    def url(self) -> str:
        """The address of the portal's first incoming webhook."""
        return self.url_of(*next(iter(self.state.webhooks)))

    def url_of(self, user_id: int, code: str) -> str:
        """The address of an incoming webhook."""
        return f"http://{self.host}/rest/{user_id}/{code}/"

    @property
    def log(self) -> deque[Entry]:
        """Requests in the order in which they ended."""
        return self.journal.entries

    @property
    def calls(self) -> Counter[str]:
        """How often each method ran, inside batches too, by lower-case name."""
        return self.journal.calls

    def answer(self, request: Request) -> Response:
        """Answer one HTTP request. Raises Broken when the connection shall not end in an answer at once."""
        try:
            if request.path.startswith(PREFIX):
                return self._control.answer(request)
            return self.rest.answer(request)
        except Broken:
            raise
        except Exception as defect:
            self.journal.crashes.append(defect)
            return page(500)

    def close(self) -> None:
        """Cut all connections and stop."""
        self._server.shutdown()
        self._thread.join()
        self._server.cut_all()
        self._server.server_close()
        self.agenda.close()
        self.events.close()


class _Server(ThreadingHTTPServer):
    """One thread a connection; knows its connections, so that it can cut them."""

    daemon_threads = False
    block_on_close = True
    request_queue_size = 128

    def __init__(self, sandbox: Sandbox, host: str, port: int) -> None:
        self.sandbox = sandbox
        self.stopping = threading.Event()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """Bind without asking the DNS for our name; also to the port that a sandbox had a moment ago."""
        if os.name == "posix":
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def opened(self, connection: socket.socket) -> None:
        """A connection begins."""
        with self._lock:
            self._open.add(connection)

    def closed(self, connection: socket.socket) -> None:
        """A connection has ended."""
        with self._lock:
            self._open.discard(connection)

    def cut_all(self) -> None:
        """End every connection, also one that waits."""
        self.stopping.set()
        with self._lock:
            for connection in self._open:
                _shut(connection)


class _Handler(BaseHTTPRequestHandler):
    """Bytes of one connection, kept alive over many requests."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server
    connection: socket.socket

    def setup(self) -> None:
        super().setup()
        self.server.opened(self.connection)

    def finish(self) -> None:
        self.server.closed(self.connection)
        super().finish()

    def handle(self) -> None:
        try:
            super().handle()
        except (OSError, ValueError):  # the client went away, or we cut it
            self.close_connection = True

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: Any) -> None:
        """The journal keeps the requests."""

    def _answer(self) -> None:
        length = self.headers.get("Content-Length", "0")
        body = self.rfile.read(int(length)) if length.isdigit() else b""
        path, _, query = self.path.partition("?")
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, path, query, headers, body, self.client_address[0])
        sandbox = self.server.sandbox
        if sandbox.latency and not path.startswith(PREFIX):
            self.server.stopping.wait(sandbox.latency)
        try:
            self._send(sandbox.answer(request))
        except Broken as broken:
            self._break(broken)

    def _send(self, response: Response) -> None:
        self.wfile.write(self._head(response) + response.body)

    def _head(self, response: Response) -> bytes:
        lines = [
            f"HTTP/1.1 {response.status} {REASONS.get(response.status, 'Error')}",
            "Server: nginx",
            f"Content-Type: {response.media_type}",
            f"Content-Length: {len(response.body)}",
            *(f"{name}: {value}" for name, value in response.headers.items()),
        ]
        return "\r\n".join([*lines, "\r\n"]).encode("latin-1")

    def _break(self, broken: Broken) -> None:
        if broken.hold is None:
            select.select([self.connection], [], [], GIVES_UP)
        elif broken.hold > 0:
            self.server.stopping.wait(broken.hold)
        if broken.then is None:
            self._cut()
            return
        try:
            response = broken.then()
        except Broken as once_more:
            self._break(once_more)
            return
        if not broken.half:
            self._send(response)
            return
        self.wfile.write(self._head(response) + response.body[: len(response.body) // 2])
        self.close_connection = True

    def _cut(self) -> None:
        """Reset the connection, so that the client sees it break."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.server.closed(self.connection)
        self.connection.close()


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:  # it has ended by itself
        return


def serve(
    *,
    announce: Callable[[str], object],
    stop: threading.Event | None = None,
    **settings: Any,
) -> None:
    """Run a sandbox in the foreground until ``stop`` is set or Ctrl-C. ``announce`` is told the webhook's address;
    ``settings`` are those of :class:`Sandbox`. Raises OSError when the port is taken."""
    with Sandbox(**settings) as sandbox:
        announce(sandbox.url)
        try:
            (stop or threading.Event()).wait()
        except KeyboardInterrupt:
            return
