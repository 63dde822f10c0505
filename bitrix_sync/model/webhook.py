"""The address of an incoming webhook: what a good one is, and how it is shown."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

_QUOTES = frozenset("\"'`«»“”„‘’<>")
_HOST = re.compile(r"\w(?:[\w.-]*\w)?\.?")
_PATH = re.compile(r"(?P<folder>(?:/(?!rest/|\.)[\w.~-]+)*)/rest/(?P<user>[1-9][0-9]{0,17})/(?P<code>[A-Za-z0-9_-]+)/?")


class WebhookUrl:
    """The address of an incoming webhook, ``https://portal/rest/1/code/``. It is a password.

    Only ``get_secret_value()`` shows it; ``str``, ``repr``, formatting and the settings' own text show ``***``.
    ``host``: the portal's name, with its port if one is given; ``folder``: where the portal lies below it, as
    ``/portal``, mostly ""; ``user_id``: the webhook's own user.
    """

    __slots__ = ("_code", "folder", "host", "loopback", "scheme", "user_id")

    def __init__(self, text: str) -> None:
        """Parse ``text``; raises ValueError that says what is wrong and never repeats the address."""
        parts, host = _split(text.strip())
        loopback = is_loopback(parts.hostname or "")
        if parts.scheme == "http" and not loopback:
            raise ValueError("is plain http, which would show the code to the network")
        path = _PATH.fullmatch(parts.path)
        if path is None or parts.query or parts.fragment:
            raise ValueError("is not the address of an incoming webhook, or has something after the code")
        self.scheme, self.host, self.loopback = parts.scheme, host, loopback
        self.folder, self.user_id, self._code = path["folder"], int(path["user"]), path["code"]

    @property
    def root(self) -> str:
        """Where people open the portal, ``https://portal``."""
        return f"{self.scheme}://{self.host}{self.folder}"

    @property
    def code(self) -> str:
        """The secret part, for the redactor of the logs."""
        return self._code

    def get_secret_value(self) -> str:
        """The whole address with its code and a slash at its end: for the client that calls the portal, nobody else."""
        return f"{self.scheme}://{self.host}{self._path}"

    def moved(self, location: str, method: str) -> WebhookUrl | None:
        """The new address of a renamed portal, to which a call of ``method`` was redirected: the same path on another
        host, as safe as the old one (docs: change-domen.md). None when the redirect is something else."""
        try:
            parts = urlsplit(location)
            found = WebhookUrl(f"{parts.scheme}://{parts.netloc}{self._path}")
        except ValueError:
            return None
        same = parts.path in (self._path + method, f"{self._path}{method}.json")
        less_safe = found.scheme == "http" and self.scheme == "https"
        return None if less_safe or not same or found.host == self.host else found

    @property
    def _path(self) -> str:
        return f"{self.folder}/rest/{self.user_id}/{self._code}/"

    def __str__(self) -> str:
        return f"{self.root}/rest/{self.user_id}/***/"

    def __repr__(self) -> str:
        return f"WebhookUrl('{self}')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WebhookUrl) and self.get_secret_value() == other.get_secret_value()

    def __hash__(self) -> int:
        return hash(self.get_secret_value())


def _split(text: str) -> tuple[SplitResult, str]:
    """An address in its parts, and its host; raises ValueError unless it is one of http or https."""
    if text[:1] in _QUOTES or text[-1:] in _QUOTES:
        raise ValueError("has quotes around it: take them off")
    try:
        parts = urlsplit(text)
        host = _host(parts)
    except ValueError:
        raise ValueError("is no address") from None
    if parts.scheme not in ("https", "http") or not host:
        raise ValueError("is no https address")
    return parts, host


def _host(parts: SplitResult) -> str:
    """The name of a host and its port; "" where none is named, or a user too. Raises ValueError for what is neither."""
    name, port = parts.hostname or "", parts.port
    if "@" in parts.netloc or port == 0:
        return ""
    if ":" in name:
        name = f"[{ipaddress.ip_address(name)}]"
    elif not _HOST.fullmatch(name):
        return ""
    return name if port is None else f"{name}:{port}"


def is_loopback(name: str) -> bool:
    """Whether a host's name means this machine."""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"
