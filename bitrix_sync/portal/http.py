"""One HTTP exchange with the portal: bytes out, bytes in, and whether anything left at all.

The webhook's address is a password. The exceptions of requests contain it, so none of them gets out of this module.

A time-out of requests is that of one byte, and an answer that trickles never meets it. So an exchange has an end of its
own, from its first byte to its last: then its connection is cut, wherever it stands.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3.exceptions
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection

from bitrix_sync.errors import LeaseLost
from bitrix_sync.model.webhook import WebhookUrl, is_loopback
from bitrix_sync.portal.body import PACKED, Body, UnfitBody

CONNECT_SECONDS, READ_SECONDS = 5.0, 70.0
"""The portal cuts a request at 60 s; we wait a little longer, to hear it. Both together are what a whole exchange may
take."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole HTTP answer; ``location`` is that of a redirect."""

    status: int
    body: bytes
    location: str = ""


@dataclass(frozen=True, slots=True)
class NoReply:
    """No whole answer. ``left``: the request may have reached the portal. ``text`` says what happened, without URL."""

    text: str
    left: bool


def _may_leave() -> None:
    """No fence."""


class HttpConnection:
    """A kept-alive connection; one request at a time. Never follows a redirect, never repeats a request. Whatever goes
    wrong is a NoReply, and only what surely came before the first byte has not ``left``. ``fence`` is asked when the
    connection stands, just before that byte; only its LeaseLost is raised, and then nothing has left."""

    def __init__(
        self,
        user_agent: str,
        *,
        connect: float = CONNECT_SECONDS,
        read: float = READ_SECONDS,
        trust: ssl.SSLContext | None = None,
        fence: Callable[[], None] = _may_leave,
    ) -> None:
        self._fence = fence
        self._timeout, self._whole = (connect, read), connect + read
        self._lock = threading.Lock()
        self._session = requests.Session()
        self._session.headers.update(
            {
                "User-Agent": user_agent,
                "Accept": "application/json",
                "Accept-Encoding": PACKED,
                "Content-Type": "application/json",
            }
        )
        # a webhook needs none, and whoever answers could give us a new one each time
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, _Adapter(trust or trusted()))

    def post(self, address: WebhookUrl, method: str, params: Mapping[str, Any]) -> Reply | NoReply:
        """POST a method's parameters as JSON."""
        try:
            # half a surrogate is no text in UTF-8, and the portal would read a body that is none as an empty one
            body = json.dumps(params, ensure_ascii=False, allow_nan=False).encode(errors="replace")
        except Exception as fault:
            return NoReply(f"its parameters cannot be written as JSON ({type(fault).__name__})", left=False)
        with self._lock:
            self._session.trust_env = not address.loopback
            try:
                with _Exchange(self._whole, self._fence) as exchange:
                    try:
                        reply = self._exchange(address.get_secret_value() + method, body)
                    except LeaseLost:
                        raise
                    except Exception as fault:
                        reply = _failure(fault)
            except LeaseLost:
                raise
            except Exception as fault:
                return _failure(fault)
            return NoReply("the answer does not end", left=exchange.sent) if exchange.over else reply

    @contextlib.contextmanager
    def in_haste(self, seconds: float) -> Iterator[None]:
        """Meanwhile no answer is waited for longer than that."""
        usual, whole = self._timeout, self._whole
        self._timeout = (min(usual[0], seconds), min(usual[1], seconds))
        self._whole = min(whole, sum(self._timeout))
        try:
            yield
        finally:
            self._timeout, self._whole = usual, whole

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _exchange(self, url: str, data: bytes) -> Reply | NoReply:
        with self._session.post(url, data=data, timeout=self._timeout, allow_redirects=False, stream=True) as response:
            try:
                body = Body(response.headers.get("Content-Encoding", ""))
                for part in response.raw.stream(65536, decode_content=False):
                    body.take(part)
                return Reply(response.status_code, body.whole(), response.headers.get("Location", ""))
            except UnfitBody as fault:
                return NoReply(str(fault), left=True)


@functools.cache
def trusted(ca_file: Path | None = None) -> ssl.SSLContext:
    """Whose certificates are believed: the usual authorities' and those in ``ca_file`` (PEM). One for the process."""
    context = ssl.create_default_context(cafile=DEFAULT_CA_BUNDLE_PATH)
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context


def send(url: str, data: bytes | None, *, seconds: float, trust: ssl.SSLContext) -> str:
    """GET an address, or POST it JSON; empty if it answered with success within ``seconds``, else what went wrong,
    without the address. No redirect is followed, and no answer is read."""
    with requests.Session() as session:
        for scheme in ("http://", "https://"):
            session.mount(scheme, _Adapter(trust))
        session.trust_env = not is_loopback(urlsplit(url).hostname or "")
        try:
            with (
                _Exchange(seconds) as exchange,
                session.request(
                    "GET" if data is None else "POST",
                    url,
                    data=data,
                    headers={} if data is None else {"Content-Type": "application/json"},
                    timeout=seconds,
                    allow_redirects=False,
                    stream=True,
                ) as response,
            ):
                status = response.status_code
        except Exception as fault:
            return "no answer within the time allowed" if exchange.over else _failure(fault).text
    return "" if 200 <= status < 300 else f"it answered HTTP {status}"


# --- an end for every exchange ---------------------------------------------------------------------------------------


class _Exchange:
    """One request under way, which ends in time: ``over`` once its time was up and its connection was cut. ``sent``:
    some of it may have left."""

    def __init__(self, seconds: float, fence: Callable[[], None] = _may_leave) -> None:
        self.over = self.sent = False
        self._fence = fence
        self._line: socket.socket | None = None
        self._lock = threading.Lock()
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True

    def __enter__(self) -> _Exchange:
        self._before = _UNDERWAY.set(self)
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        _UNDERWAY.reset(self._before)
        with self._lock:
            self._let_go()

    def goes_by(self, line: socket.socket) -> None:
        """The connection that the request takes. A second handle of it is kept: TLS takes the first one away."""
        with self._lock:
            self._let_go()
            self._line = socket.fromfd(line.fileno(), line.family, line.type)
            if self.over:
                self._shut()

    def leaves(self) -> None:
        """Its first byte is next, unless the fence keeps it."""
        self._fence()
        self.sent = True

    def _cut(self) -> None:
        with self._lock:
            self.over = True
            self._shut()

    def _shut(self) -> None:
        if self._line is not None:
            with contextlib.suppress(OSError):
                self._line.shutdown(socket.SHUT_RDWR)

    def _let_go(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None


_UNDERWAY: ContextVar[_Exchange | None] = ContextVar("exchange", default=None)


class _Line(HTTPConnection):
    """A connection that tells the exchange under way which one it is."""

    def _new_conn(self) -> socket.socket:
        line = super()._new_conn()
        if (exchange := _UNDERWAY.get()) is not None:
            exchange.goes_by(line)
        return line

    def request(self, *args: Any, **kwargs: Any) -> None:
        if (exchange := _UNDERWAY.get()) is not None:
            if self.sock is None:
                self.connect()
            else:
                exchange.goes_by(self.sock)
            exchange.leaves()
        super().request(*args, **kwargs)


class _SafeLine(_Line, HTTPSConnection):
    """The same with TLS."""


class _Lines(HTTPConnectionPool):
    ConnectionCls = _Line


class _SafeLines(HTTPSConnectionPool):
    ConnectionCls = _SafeLine


class _Adapter(HTTPAdapter):
    """Makes these connections, by a proxy too, which trust whom ``trust`` trusts."""

    def __init__(self, trust: ssl.SSLContext) -> None:
        self._trust = trust
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._trust, **kwargs)
        _use_lines(self.poolmanager)

    def cert_verify(self, conn: Any, url: str, verify: Any, _cert: Any) -> None:
        """The usual certificates are in ``trust`` already: to load them anew takes 16 ms for each connection. What
        REQUESTS_CA_BUNDLE names comes on top."""
        if url.lower().startswith("https:"):
            conn.cert_reqs = "CERT_REQUIRED"
            if isinstance(verify, str):
                conn.ca_certs, conn.ca_cert_dir = (None, verify) if os.path.isdir(verify) else (verify, None)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, ssl_context=self._trust, **kwargs)
        if not proxy.lower().startswith("socks"):
            _use_lines(manager)
        return manager


def _use_lines(manager: PoolManager) -> None:
    manager.pool_classes_by_scheme = {"http": _Lines, "https": _SafeLines}


_UNTRUSTED = "its certificate is not valid; if a company's proxy signs it, name its authority's file in BITRIX_CA_FILE"


def _failure(fault: Exception) -> NoReply:
    """Did anything leave? Only what failed while connecting surely did not; of anything unheard of nobody knows."""
    cause = fault.args[0] if fault.args else None
    reason = getattr(cause, "reason", cause)
    if isinstance(fault, requests.ConnectTimeout):
        return NoReply("no connection within the time allowed", left=False)
    if isinstance(reason, urllib3.exceptions.NameResolutionError):
        return NoReply("its name is not known to the DNS", left=False)
    if isinstance(reason, urllib3.exceptions.NewConnectionError):
        return NoReply("no connection (refused or unreachable)", left=False)
    if isinstance(fault, requests.exceptions.ProxyError):
        return NoReply("the proxy gives no connection", left=False)
    if isinstance(fault, requests.exceptions.SSLError):
        wrong = _caused_by(fault, ssl.SSLCertVerificationError)
        return NoReply(_UNTRUSTED if wrong else "the encryption failed", left=not wrong)
    if isinstance(fault, requests.exceptions.InvalidURL | requests.exceptions.InvalidSchema):
        return NoReply("its address is not valid", left=False)
    if isinstance(fault, requests.ReadTimeout):
        return NoReply("no answer within the time allowed", left=True)
    return NoReply(f"the connection broke ({type(fault).__name__})", left=True)


def _caused_by(fault: BaseException, kind: type[BaseException]) -> bool:
    """Look through causes, contexts and reasons: that of urllib3 is an exception, that of ssl a text."""
    seen: set[int] = set()
    waiting: list[object] = [fault]
    while waiting:
        one = waiting.pop()
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, kind):
            return True
        waiting += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
    return False
