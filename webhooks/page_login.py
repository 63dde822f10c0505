"""Who may see the page: the password and its session, or, without a password, this machine alone.

Nothing here believes a header that a stranger can write: an address is the peer's, and a header is only ever a reason
to refuse. A session is a signed cookie; its key is kept in the store and bound to the password, so that a new password
ends every session.
"""

from __future__ import annotations

import hmac
import ipaddress
import math
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from hashlib import sha256

from flask import Request, Response
from itsdangerous import BadSignature, TimestampSigner
from pydantic import SecretStr

from bitrix_sync.store import Store

SESSION, FORM = "bitrix_sync_session", "bitrix_sync_form"
SESSION_SECONDS = 12 * 3600
FORM_SECONDS = 3600
SECRET_SETTING = "page_secret"  # noqa: S105  the name it has in the store

WINDOW_SECONDS = 300.0
TRIES_PER_ADDRESS, TRIES_IN_ALL = 5, 50
"""Wrong passwords within the window before the next one has to wait."""

_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "Via")


class Attempts:
    """Counts wrong passwords by address and in all. ``clock`` in seconds, only ever growing."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._tries: deque[tuple[float, str]] = deque()

    def begin(self, address: str) -> float:
        """Note an attempt before its password is looked at: 0, or how many seconds it must wait instead."""
        with self._lock:
            now = self._clock()
            while self._tries and self._tries[0][0] <= now - WINDOW_SECONDS:
                self._tries.popleft()
            mine = [at for at, who in self._tries if who == address]
            full = [
                own[-limit]
                for own, limit in ((mine, TRIES_PER_ADDRESS), (self._all(), TRIES_IN_ALL))
                if len(own) >= limit
            ]
            if full:
                return max(full) + WINDOW_SECONDS - now
            self._tries.append((now, address))
            return 0.0

    def forgive(self, address: str) -> None:
        """The password was right: what came from this address before counts no more."""
        with self._lock:
            self._tries = deque(one for one in self._tries if one[1] != address)

    def _all(self) -> list[float]:
        return [at for at, _ in self._tries]


class Gate:
    """Lets in or keeps out. ``password`` None: only this machine is let in."""

    def __init__(
        self, password: SecretStr | None, store: Store, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._password = password.get_secret_value().encode() if password else None
        self._store = store
        self._attempts = Attempts(clock)
        self._lock = threading.Lock()
        self._secret: bytes | None = None

    @property
    def has_password(self) -> bool:
        """True if people log in."""
        return self._password is not None

    # --- this machine ------------------------------------------------------------------------------------------------

    def local(self, request: Request) -> bool:
        """True for a request that comes from this machine itself and was meant for it: the peer is loopback, nobody
        has passed it on, and its Host is a name of loopback (a foreign name that resolves here is DNS rebinding)."""
        return (
            is_loopback(request.remote_addr or "")
            and not any(name in request.headers for name in _FORWARDED)
            and is_loopback(host_of(request.host))
        )

    # --- sessions ----------------------------------------------------------------------------------------------------

    def admits(self, request: Request) -> bool:
        """True for a session that is ours and fresh; without a password for this machine."""
        if not self.has_password:
            return self.local(request)
        return self._valid(request.cookies.get(SESSION, ""), "session", SESSION_SECONDS)

    def try_password(self, request: Request, given: str) -> tuple[bool, float]:
        """Whether the password is right, and how many seconds to wait when it may not be tried now."""
        address = network_of(request.remote_addr or "")
        wait = self._attempts.begin(address)
        if wait > 0:
            return False, math.ceil(wait)
        right = self._password is not None and hmac.compare_digest(
            sha256(given.encode()).digest(), sha256(self._password).digest()
        )
        if right:
            self._attempts.forgive(address)
        return right, 0.0

    def open_session(self, request: Request, response: Response) -> None:
        """Give the browser a new session."""
        self._set(request, response, SESSION, self._sign(secrets.token_urlsafe(18), "session"), SESSION_SECONDS)
        response.delete_cookie(FORM, path="/login")

    def end_session(self, response: Response) -> None:
        """Take the session from the browser."""
        response.delete_cookie(SESSION, path="/")

    # --- forms -------------------------------------------------------------------------------------------------------

    def login_token(self, request: Request, response: Response) -> str:
        """A token for the login form, bound to a cookie that another site can neither read nor set."""
        nonce = self._sign(secrets.token_urlsafe(18), "form")
        self._set(request, response, FORM, nonce, FORM_SECONDS, path="/login")
        return self._mac("login", nonce)

    def login_token_fits(self, request: Request, token: str) -> bool:
        """True if the login form is one that this browser was given."""
        nonce = request.cookies.get(FORM, "")
        return self._valid(nonce, "form", FORM_SECONDS) and hmac.compare_digest(
            self._mac("login", nonce).encode(), token.encode()
        )

    def logout_token(self, request: Request) -> str:
        """A token for the logout form, bound to the session."""
        return self._mac("logout", request.cookies.get(SESSION, ""))

    def logout_token_fits(self, request: Request, token: str) -> bool:
        """True if the logout form belongs to the session."""
        return hmac.compare_digest(self.logout_token(request).encode(), token.encode())

    # --- inside ------------------------------------------------------------------------------------------------------

    def _set(
        self, request: Request, response: Response, name: str, value: str, seconds: int, *, path: str = "/"
    ) -> None:
        # a stranger who claims https only makes his own cookie stricter, so here a header may be believed
        secure = request.is_secure or request.headers.get("X-Forwarded-Proto", "").strip().lower() == "https"
        response.set_cookie(name, value, max_age=seconds, path=path, secure=secure, httponly=True, samesite="Strict")

    def _key(self, purpose: str) -> bytes:
        with self._lock:
            if self._secret is None:
                kept = self._store.setting(SECRET_SETTING)
                if kept is None:
                    kept = secrets.token_hex(32)
                    self._store.set_setting(SECRET_SETTING, kept)
                self._secret = hmac.digest(bytes.fromhex(kept), self._password or b"", "sha256")
        return hmac.digest(self._secret, purpose.encode(), "sha256")

    def _sign(self, value: str, purpose: str) -> str:
        return TimestampSigner(self._key(purpose), digest_method=sha256).sign(value).decode()

    def _valid(self, value: str, purpose: str, seconds: int) -> bool:
        try:
            TimestampSigner(self._key(purpose), digest_method=sha256).unsign(value, max_age=seconds)
        except BadSignature:
            return False
        return True

    def _mac(self, purpose: str, value: str) -> str:
        return hmac.new(self._key(purpose), value.encode(), "sha256").hexdigest()


def is_loopback(address: str) -> bool:
    """True for an address (or the name) of this machine itself."""
    if address == "localhost":
        return True
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_loopback


def host_of(host: str) -> str:
    """The name in a Host header, without port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def network_of(address: str) -> str:
    """Whom attempts are counted for: an IPv4 address, or the /64 that one customer has of IPv6."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
