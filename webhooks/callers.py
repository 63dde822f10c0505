"""Who asks: a client's address as far as it is known, and whether anybody stands between it and us.

Nothing here believes a header that a stranger can write. An address is the peer's, or what the one trusted proxy
(``BITRIX_TRUSTED_PROXY``) says of its peer; every other header is only ever a reason to refuse.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from flask import Request

CLIENTS_OWN = frozenset(
    {
        *("accept", "accept-charset", "accept-encoding", "accept-language", "authorization", "cache-control"),
        *("connection", "content-length", "content-type", "cookie", "date", "device-memory", "dnt", "downlink"),
        *("ect", "expect", "from", "host", "http2-settings", "if-match", "if-modified-since", "if-none-match"),
        *("if-range", "if-unmodified-since", "keep-alive", "origin", "pragma", "priority", "purpose", "range"),
        *("referer", "rtt", "save-data", "te", "trailer", "transfer-encoding", "upgrade"),
        *("upgrade-insecure-requests", "user-agent", "viewport-width", "width", "x-requested-with"),
    }
)
"""What browsers and command-line clients send by themselves, beside ``Sec-…``. Proxies give themselves away by a
hundred headers of their own and invent more, so whatever is not here was put in by somebody between."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request. ``own``: ``address`` is surely the client's, not that of something many clients stand behind.
    ``here``: the client is this machine itself. ``secure``: somebody says that the browser came by https; a stranger
    who claims so only makes his own cookie stricter."""

    address: str
    own: bool
    here: bool
    secure: bool


def caller(request: Request, trusted: str | None = None) -> Caller:
    """Who sent ``request``; ``trusted`` is the address of the one proxy whose ``X-Forwarded-For`` counts, by its last
    hop: those before it are what that hop claims."""
    peer = plain_address(request.remote_addr or "") or ""
    secure = request.is_secure or "https" in _forwarded(request, "Proto")
    if trusted and peer == plain_address(trusted):
        client = plain_address(_forwarded(request, "For")[-1])
        return Caller(client or peer, own=client is not None, here=False, secure=secure)
    own = not _passed_on(request) and (not is_loopback(peer) or is_loopback(host_of(request.host)))
    return Caller(peer, own=own, here=own and is_loopback(peer), secure=secure)


def _forwarded(request: Request, name: str) -> list[str]:
    """What the hops on the way say, the last one last."""
    said = ",".join(request.headers.getlist(f"X-Forwarded-{name}")).lower()
    return [one.strip() for one in said.split(",")]


def _passed_on(request: Request) -> bool:
    """True when the request does not look as a client sends it: HTTP/1.0, as nginx asked by default until 1.29, a whole
    address in place of a path, a browser that does not keep its connection (all do; nginx drops the word since), or
    foreign headers. A foreign name in Host is no such sign from afar; from this machine it is one, or DNS rebinding."""
    asked, given = request.environ, request.headers
    if asked.get("SERVER_PROTOCOL") != "HTTP/1.1" or not asked.get("REQUEST_URI", "/").startswith("/"):
        return True
    if "mozilla/" in given.get("User-Agent", "").lower() and "keep-alive" not in given.get("Connection", "").lower():
        return True
    names = {name.lower() for name, _ in request.headers}
    return any(name not in CLIENTS_OWN and not name.startswith("sec-") for name in names)


def plain_address(text: str) -> str | None:
    """An IP address as everybody writes it, without port, brackets, quotes; None if it is none."""
    text = text.strip().strip('"')
    try:
        parsed = ipaddress.ip_address(host_of(text))
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)


def is_loopback(address: str) -> bool:
    """True for an address (or the name) of this machine itself."""
    return address == "localhost" or ((plain := plain_address(address)) is not None and _parsed(plain).is_loopback)


def host_of(host: str) -> str:
    """The name in a Host header, without port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def network_of(address: str) -> str:
    """Whom attempts and connections are counted for: an IPv4 address, or the /64 that one customer has of IPv6."""
    plain = plain_address(address)
    if plain is None:
        return address
    parsed = _parsed(plain)
    return str(ipaddress.ip_network((parsed.packed, 64), strict=False)) if parsed.version == 6 else plain


def _parsed(plain: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(plain)
