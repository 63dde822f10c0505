"""The event address under load, in real time: the service as a process, beside the same server that answers a constant.

Both are asked in turns by the same client over the same number of connections.
"""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from bitrix_sandbox.http.server import Sandbox
from bitrix_sandbox.state.clock import Clock
from bitrix_sync.settings import Listen
from tests.bench.service import RULES
from tests.bench.timeline import MONDAY
from tests.world.process import ROOT, Running, event
from webhooks.server import WebServer

TOKEN = "0123456789abcdef0123456789abcdef"
CONNECTIONS = 16
ROUNDS = 5
HALF_SECONDS = 5.0


def measure(events: int, half_seconds: float = HALF_SECONDS) -> dict[str, Any]:
    """Events a second (medians of rounds), their ratio, the delay of answers at half that load, and what the burst led
    to: requests to the portal and passes."""
    with tempfile.TemporaryDirectory() as name, a_service(Path(name)) as (service, portal), a_constant() as constant:
        body = event(TOKEN)
        addresses = {"service": f"{service.url}/webhooks/bitrix24", "constant": constant}
        speeds: dict[str, list[float]] = {"service": [], "constant": []}
        for url in addresses.values():
            asyncio.run(pour(url, body, 500))
        readings = len(portal.log)
        begun = time.monotonic()
        for _ in range(ROUNDS):
            for kind, url in addresses.items():
                speeds[kind].append(asyncio.run(pour(url, body, events // ROUNDS)))
        seconds = time.monotonic() - begun
        readings = len(portal.log) - readings
        speed = {kind: median(found) for kind, found in speeds.items()}
        delays = sorted(asyncio.run(drip(addresses["service"], body, speed["service"] / 2, half_seconds)))
        asked = service.get("/readyz")[0]
    return {
        "events": events,
        "per_second": speed["service"],
        "constant_per_second": speed["constant"],
        "ratio": median(own / other for own, other in zip(speeds["service"], speeds["constant"], strict=True)),
        "p50_ms": 1000 * delays[len(delays) // 2],
        "p99_ms": 1000 * delays[int(len(delays) * 0.99)],
        "requests": readings,
        "seconds": seconds,
        "ready": asked == 200,
    }


@contextmanager
def a_service(folder: Path) -> Iterator[tuple[Running, Sandbox]]:
    """The service on a portal in which nothing happens."""
    (folder / "rules.yaml").write_text(RULES, encoding="utf-8")
    with Sandbox(clock=Clock(MONDAY)) as portal:
        environ = {
            "BITRIX_WEBHOOK_URL": portal.url,
            "BITRIX_APPLICATION_TOKEN": TOKEN,
            "BITRIX_LISTEN": "127.0.0.1:0",
            "BITRIX_RULES": str(folder / "rules.yaml"),
            "DATABASE_URL": f"sqlite:///{folder / 'store.db'}",
        }
        service = Running(folder, environ)
        try:
            yield service.ready(), portal
        finally:
            service.end()


@contextmanager
def a_constant() -> Iterator[str]:
    """The same server with an application that reads the body and says two bytes."""
    command = [sys.executable, "-m", "tests.bench.door"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def constant(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    """WSGI: nothing but an answer."""
    environ["wsgi.input"].read()
    start("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]


# --- the client ------------------------------------------------------------------------------------------------------


class Connection(asyncio.Protocol):
    """Keeps one request under way, and says when it is answered."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.answered: asyncio.Future[None] | None = None
        self.received = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, end, body = self.received.partition(b"\r\n\r\n")
        if not end:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        if len(body) < length:
            return
        assert head.startswith(b"HTTP/1.1 200"), head
        self.received = body[length:]
        if self.answered and not self.answered.done():
            self.answered.set_result(None)

    async def ask(self, request: bytes) -> None:
        """Send a request, and wait for its answer."""
        self.answered = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        await self.answered


async def opened(url: str, body: bytes) -> tuple[list[Connection], bytes]:
    """Connections, and the bytes of a request."""
    host, _, rest = url.removeprefix("http://").partition("/")
    name, _, port = host.partition(":")
    head = f"POST /{rest} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    loop = asyncio.get_running_loop()
    made = [await loop.create_connection(Connection, name, int(port)) for _ in range(CONNECTIONS)]
    return [protocol for _, protocol in made], request


async def pour(url: str, body: bytes, count: int) -> float:
    """As fast as it goes; answers a second."""
    connections, request = await opened(url, body)
    left = count

    async def go_on(connection: Connection) -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await connection.ask(request)

    begun = time.perf_counter()
    await asyncio.gather(*(go_on(connection) for connection in connections))
    seconds = time.perf_counter() - begun
    for connection in connections:
        connection.transport.close()
    return count / seconds


async def drip(url: str, body: bytes, speed: float, seconds: float) -> list[float]:
    """So many a second, each at its moment whatever became of the others; seconds from that moment to the answer."""
    connections, request = await opened(url, body)
    delays: list[float] = []
    begun = time.perf_counter() + 0.1
    moments = iter([begun + number / speed for number in range(int(speed * seconds))])

    async def go_on(connection: Connection) -> None:
        for moment in moments:
            await asyncio.sleep(max(0.0, moment - time.perf_counter()))
            await connection.ask(request)
            delays.append(time.perf_counter() - moment)

    await asyncio.gather(*(go_on(connection) for connection in connections))
    for connection in connections:
        connection.transport.close()
    return delays


if __name__ == "__main__":
    logging.getLogger("waitress").setLevel(logging.ERROR)  # as the service has it
    server = WebServer(constant, Listen("127.0.0.1", 0))
    sys.stdout.write(server.url + "/webhooks/bitrix24\n")
    sys.stdout.flush()
    server.run(threading.Event())
