"""Who may see the page: the password and its sessions, or, without a password, this machine alone.

Who asks is told by ``callers``. A session is a row of the store; its id travels in a signed cookie, whose key is kept
in the store too and bound to the password. A logout ends the row, a new password all rows.
"""

from __future__ import annotations

import hmac
import math
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import scrypt, sha256

import structlog
from flask import Request, Response
from itsdangerous import BadSignature, TimestampSigner
from pydantic import SecretStr

from bitrix_sync.errors import StoreError
from bitrix_sync.store import Store
from webhooks.callers import Caller, caller, network_of

SESSION, FORM, KNOWN = "bitrix_sync_session", "bitrix_sync_form", "bitrix_sync_known"
SESSION_SECONDS = 12 * 3600
FORM_SECONDS = 3600
KNOWN_SECONDS = 180 * 24 * 3600

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Allowance:
    """So many wrong passwords at once, then one more every so many seconds: slower, never shut."""

    burst: int
    every: float


OF_A_CLIENT, OF_MANY, OF_ALL = Allowance(5, 60.0), Allowance(30, 10.0), Allowance(50, 6.0)
"""A client's own address (or a browser that was logged in before); one behind which many may stand, as a proxy that
does not say for whom; the whole world together."""


class Attempts:
    """Counts wrong passwords by who gave them. ``clock`` in seconds, only ever growing."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._paid_until: dict[str, float] = {}

    def begin(self, *counted: tuple[str, Allowance]) -> float:
        """Note an attempt before its password is looked at, for each of ``counted``: 0, or how many seconds it must
        wait instead."""
        with self._lock:
            now = self._clock()
            self._paid_until = {who: until for who, until in self._paid_until.items() if until > now}
            paid = {who: self._paid_until.get(who, now) for who, _ in counted}
            wait = max(paid[who] - (allowed.burst - 1) * allowed.every - now for who, allowed in counted)
            if wait > 0:
                return wait
            self._paid_until |= {who: paid[who] + allowed.every for who, allowed in counted}
            return 0.0

    def forgive(self, *counted: tuple[str, Allowance]) -> None:
        """The password was right: the attempt does not count."""
        with self._lock:
            for who, allowed in counted:
                self._paid_until[who] = self._paid_until.get(who, 0.0) - allowed.every


class Password:
    """The page's password, as the settings say it."""

    def __init__(self, password: SecretStr) -> None:
        self._password = password.get_secret_value().encode()

    def fits(self, given: str) -> bool:
        """Whether that is the password."""
        return hmac.compare_digest(sha256(given.encode()).digest(), sha256(self._password).digest())

    def key(self, salt: bytes) -> bytes:
        """What sessions are signed with: slow on purpose, for what the store keeps, the salt and what it signed, must
        not help to guess the password."""
        return scrypt(self._password, salt=salt, n=2**14, r=8, p=1, dklen=32)


class PageAuth:
    """Lets in or keeps out. ``password`` None: only this machine is let in, and nobody when the service is ``public``,
    for what makes it public (a web server, a tunnel) can make anybody look like this machine. ``proxy`` is the address
    of the trusted one."""

    def __init__(
        self,
        password: Password | None,
        store: Store,
        *,
        proxy: str | None = None,
        public: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._password = password
        self._store = store
        self._proxy = proxy
        self._public = public
        self._attempts = Attempts(clock)
        self._lock = threading.Lock()
        self._secret: bytes | None = None
        try:
            self._key("seal")  # sessions of a former password end now, also if nobody looks before it comes back
        except StoreError:
            log.warning("the page's sessions could not be looked at; they will be at the first request")

    @property
    def has_password(self) -> bool:
        """True if people log in."""
        return self._password is not None

    def caller(self, request: Request) -> Caller:
        """Who sent the request."""
        return caller(request, self._proxy)

    # --- this machine ------------------------------------------------------------------------------------------------

    def local(self, request: Request) -> bool:
        """True for a request that comes from this machine itself and was meant for it, where that can be told."""
        return not self._public and self.caller(request).here

    # --- sessions ----------------------------------------------------------------------------------------------------

    def admits(self, request: Request) -> bool:
        """True for a session that is ours, fresh and not ended; without a password for this machine."""
        if not self.has_password:
            return self.local(request)
        session = self._signed(request.cookies.get(SESSION, ""), "session", SESSION_SECONDS)
        return session is not None and self._store.has_session(_digest(session))

    def try_password(self, request: Request, given: str) -> tuple[bool, float]:
        """Whether the password is right, and how many seconds to wait when it may not be tried now."""
        counted = self._counted(request)
        wait = self._attempts.begin(*counted)
        if wait > 0:
            return False, math.ceil(wait)
        right = self._password is not None and self._password.fits(given)
        if right:
            self._attempts.forgive(*counted)
        return right, 0.0

    def _counted(self, request: Request) -> tuple[tuple[str, Allowance], ...]:
        """A browser that was let in before counts by itself: what strangers try cannot keep it out."""
        known = self._signed(request.cookies.get(KNOWN, ""), "known", KNOWN_SECONDS)
        if known is not None:
            return ((f"known {known}", OF_A_CLIENT),)
        who = self.caller(request)
        return (network_of(who.address), OF_A_CLIENT if who.own else OF_MANY), ("all", OF_ALL)

    def open_session(self, request: Request, response: Response) -> None:
        """Give the browser a new session, and what it is known by from then on."""
        session, now = secrets.token_urlsafe(18), datetime.fromtimestamp(time.time(), UTC)
        self._store.open_session(
            _digest(session), now=now, over=now - timedelta(seconds=SESSION_SECONDS), seal=self._key("seal").hex()
        )
        self._set(request, response, SESSION, self._sign(session, "session"), SESSION_SECONDS)
        known = self._sign(secrets.token_urlsafe(18), "known")
        self._set(request, response, KNOWN, known, KNOWN_SECONDS, below="/login")
        response.delete_cookie(FORM, path=f"{request.script_root}/login")

    def end_session(self, request: Request, response: Response) -> None:
        """End the session here, whoever else may have its cookie, and take it from the browser."""
        session = self._signed(request.cookies.get(SESSION, ""), "session", SESSION_SECONDS)
        if session is not None:
            self._store.end_session(_digest(session))
        response.delete_cookie(SESSION, path=request.script_root or "/")

    # --- forms -------------------------------------------------------------------------------------------------------

    def login_token(self, request: Request, response: Response) -> str:
        """A token for the login form, bound to a cookie that another site can neither read nor set."""
        nonce = self._sign(secrets.token_urlsafe(18), "form")
        self._set(request, response, FORM, nonce, FORM_SECONDS, below="/login")
        return self._mac("login", nonce)

    def login_token_fits(self, request: Request, token: str) -> bool:
        """True if the login form is one that this browser was given."""
        nonce = request.cookies.get(FORM, "")
        return self._signed(nonce, "form", FORM_SECONDS) is not None and hmac.compare_digest(
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
        self, request: Request, response: Response, name: str, value: str, seconds: int, *, below: str = ""
    ) -> None:
        secure, path = self.caller(request).secure, f"{request.script_root}{below}" or "/"
        response.set_cookie(name, value, max_age=seconds, path=path, secure=secure, httponly=True, samesite="Strict")

    def _key(self, purpose: str) -> bytes:
        with self._lock:
            if self._secret is None:
                kept = self._store.flags.page_secret
                if kept is None:
                    self._store.flags.page_secret = kept = secrets.token_hex(32)
                secret = bytes.fromhex(kept)
                if self._password is not None:
                    secret = self._password.key(secret)
                self._store.end_foreign_sessions(seal=_derived(secret, "seal").hex())
                self._secret = secret
        return _derived(self._secret, purpose)

    def _sign(self, value: str, purpose: str) -> str:
        return TimestampSigner(self._key(purpose), digest_method=sha256).sign(value).decode()

    def _signed(self, value: str, purpose: str, seconds: int) -> str | None:
        """What was signed so, if that is not older than ``seconds``."""
        try:
            return TimestampSigner(self._key(purpose), digest_method=sha256).unsign(value, max_age=seconds).decode()
        except BadSignature:
            return None

    def _mac(self, purpose: str, value: str) -> str:
        return hmac.new(self._key(purpose), value.encode(), "sha256").hexdigest()


def _digest(session: str) -> str:
    """What the store knows of a session: whoever reads the database, or a backup, cannot use it."""
    return sha256(session.encode()).hexdigest()


def _derived(secret: bytes, purpose: str) -> bytes:
    return hmac.digest(secret, purpose.encode(), "sha256")
