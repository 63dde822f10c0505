"""How the portal reads a request and writes an answer: PHP's forms, its arrays, its JSON.

Docs: settings/how-to-call-rest-api/general-principles.md, data-encoding.md; error-codes.md; api-reference/rest-v3.md.
"""

from __future__ import annotations

import email
import email.policy
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Any
from urllib.parse import unquote_plus

from bitrix_sandbox.state.errors import V3_PREFIX, RestError, V3Error

V3_CODES = {
    "ACCESS_DENIED": "ACCESSDENIEDEXCEPTION",
    "INSUFFICIENT_SCOPE": "INSUFFICIENTSCOPEEXCEPTION",
    "NO_AUTH_FOUND": "ACCESSDENIEDEXCEPTION",
    "INVALID_CREDENTIALS": "ACCESSDENIEDEXCEPTION",
    "AUTHORIZATION_ERROR": "ACCESSDENIEDEXCEPTION",
    "ERROR_METHOD_NOT_FOUND": "METHODNOTFOUNDEXCEPTION",
    "OPERATION_TIME_LIMIT": "RATELIMITEXCEPTION",
}
"""What the names of v2 are called in REST 3.0."""
PAGES = {500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Time-out"}


@dataclass(slots=True)
class Shapes:
    """What differs between portals in how they answer; each may be turned while the portal runs."""

    auth_code: str = "NO_AUTH_FOUND"
    """Error of a webhook that is not there: as documented; ``INVALID_CREDENTIALS``: as the product says."""
    auth_status: int | None = None
    """HTTP status of errors of authorisation and scope: None as documented for each, or 401 or 403 for all."""
    operating: bool = True
    """``time`` has ``operating`` and ``operating_reset_at``; False: as captured from older portals."""
    time: bool = True
    """Answers have a ``time`` block at all."""
    whole_seconds: bool = False
    """``time.start`` and ``finish`` are whole numbers, as newer kernels write them."""

    def turn(self, changes: Mapping[str, Any]) -> None:
        """Set several by name. Raises KeyError for a name that is not there."""
        for name, value in changes.items():
            if name not in self.__slots__:
                raise KeyError(name)
            setattr(self, name, value)


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request. Header names are lower-case."""

    verb: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    client: str = "127.0.0.1"

    @property
    def media_type(self) -> str:
        """Content-Type without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def host(self) -> str:
        """The name under which we were called."""
        return self.headers.get("host", "")


@dataclass(frozen=True, slots=True)
class Response:
    """One HTTP answer."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    media_type: str = "application/json; charset=utf-8"
    code: str = ""
    """The portal's error code, for the log."""


# --- reading -----------------------------------------------------------------------------------------------------


def read_parameters(request: Request) -> dict[str, Any]:
    """A v2 request's parameters: the query's, overridden by the body's.

    The body is JSON only if its type is exactly ``application/json``; a body that is no JSON has no parameters.
    """
    parameters = as_map(parse_form(request.query))
    if request.verb != "POST":
        return parameters
    if request.media_type == "application/json":
        body: Any = read_json(request.body)
    elif request.media_type == "multipart/form-data":
        body = _parse_multipart(request)
    elif request.media_type == "application/x-www-form-urlencoded":
        body = parse_form(request.body.decode("utf-8", "replace"))
    else:
        body = {}
    return {**parameters, **as_map(body)}


def read_json(body: bytes) -> Any:
    """Decoded JSON, or None for what is none."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def as_map(value: Any) -> dict[str, Any]:
    """A PHP array as a map; anything else is an empty one."""
    if isinstance(value, list):
        return {str(index): one for index, one in enumerate(value)}
    return value if isinstance(value, dict) else {}


def parse_form(text: str) -> dict[str, Any] | list[Any]:
    """PHP's ``parse_str``: brackets nest, ``a[]`` appends, later values win, every value is a string.

    An array whose keys are exactly 0..n-1 becomes a list.
    """
    parts = (piece.partition("=") for piece in text.split("&") if piece)
    return _nested((unquote_plus(name), unquote_plus(value)) for name, _, value in parts)


def _nested(pairs: Iterable[tuple[str, str]]) -> dict[str, Any] | list[Any]:
    root: dict[str, Any] = {}
    for name, value in pairs:
        if path := _path(name):
            _put(root, path, value)
    return php_list({key: listed(one) for key, one in root.items()})


def _path(name: str) -> list[str]:
    """``a[b][]`` as ``["a", "b", ""]``; [] for a name that PHP drops."""
    name = name.lstrip(" ").partition("\0")[0]
    base, bracket, rest = name.partition("[")
    if not base:
        return []
    if bracket and "]" not in rest:  # unclosed: PHP puts an underscore in its place and goes on
        return [_plain(base) + "_" + rest]
    path = [_plain(base)]
    while bracket:
        key, closed, rest = rest.partition("]")
        if not closed:
            break
        path.append(key)
        bracket, rest = (rest[:1], rest[1:]) if rest.startswith("[") else ("", "")
    return path


def _plain(base: str) -> str:
    return base.replace(".", "_").replace(" ", "_")


def _put(root: dict[str, Any], path: list[str], value: str) -> None:
    place = root
    for depth, key in enumerate(path):
        if key == "" and depth:
            key = str(max((int(one) for one in place if one.isascii() and one.isdigit()), default=-1) + 1)
        if depth == len(path) - 1:
            place[key] = value
        else:
            inner = place.get(key)
            if not isinstance(inner, dict):
                inner = place[key] = {}
            place = inner


def listed(value: Any) -> Any:
    """PHP's rule when it writes an array as JSON: a list if and only if its keys are exactly 0..n-1 in order."""
    if not isinstance(value, dict):
        return value
    return php_list({key: listed(one) for key, one in value.items()})


def php_list(value: dict[str, Any]) -> dict[str, Any] | list[Any]:
    """The same for one level; an empty array is ``[]``."""
    if all(key == str(index) for index, key in enumerate(value)):
        return list(value.values())
    return value


def _parse_multipart(request: Request) -> dict[str, Any]:
    head = f"Content-Type: {request.headers.get('content-type', '')}\r\n\r\n".encode("latin-1")
    message = email.message_from_bytes(head + request.body, policy=email.policy.HTTP)
    pairs = []
    for part in message.iter_parts() if message.is_multipart() else ():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(content, bytes):
            pairs.append((name, content.decode("utf-8", "replace")))
    return as_map(_nested(pairs))


# --- writing -----------------------------------------------------------------------------------------------------


def php_json(value: Any) -> bytes:
    """JSON as PHP writes it: ASCII with ``\\uXXXX``, slashes escaped."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False).replace("/", "\\/").encode()


def php_text(value: Any) -> str:
    """A scalar as PHP makes text of it."""
    if isinstance(value, bool):
        return "1" if value else ""
    return "" if value is None else str(value)


@dataclass(slots=True)
class Timing:
    """When a call began and ended, epoch seconds of the portal, and what it costs its method so far."""

    start: float
    finish: float
    processing: float
    operating: tuple[float, int] | None = None

    def block(self, zone: tzinfo, shapes: Shapes, *, whole_start: bool = False) -> dict[str, Any]:
        """The ``time`` block; ``whole_start`` as REST 3.0 shows it."""
        duration = max(0.0, self.finish - self.start)
        block: dict[str, Any] = {
            "start": int(self.start) if shapes.whole_seconds or whole_start else self.start,
            "finish": int(self.finish) if shapes.whole_seconds else self.finish,
            "duration": duration,
            "processing": self.processing,
            "date_start": _second(self.start, zone),
            "date_finish": _second(self.finish, zone),
        }
        if shapes.operating and self.operating is not None:
            block["operating_reset_at"] = self.operating[1]
            block["operating"] = self.operating[0] or 0
        return block


def _second(moment: float, zone: tzinfo) -> str:
    return datetime.fromtimestamp(int(moment), UTC).astimezone(zone).isoformat()


def error_response(error: RestError, shapes: Shapes, *, v3: bool = False) -> Response:
    """An error as the called version of REST writes it. The overload of the frontend is written as v2 in both."""
    status = error.status
    if shapes.auth_status is not None and error.code.upper() in _AUTHORISATION:
        status = shapes.auth_status
    if not v3 or status == 503:
        body: dict[str, Any] = {"error": error.code, "error_description": error.description}
        return Response(status, php_json(body), code=error.code)
    code = error.code
    if not code.startswith(V3_PREFIX):
        code = V3_PREFIX + V3_CODES.get(code.upper(), code.upper())
    inner: dict[str, Any] = {"code": code, "message": error.description}
    if isinstance(error, V3Error) and error.validation:
        inner["validation"] = error.validation
    return Response(status, php_json({"error": inner}), code=code)


_AUTHORISATION = frozenset({"NO_AUTH_FOUND", "INVALID_CREDENTIALS", "AUTHORIZATION_ERROR", "INSUFFICIENT_SCOPE"})


def page(status: int) -> Response:
    """A page of the portal's frontend, no JSON."""
    title = f"{status} {PAGES.get(status, 'Error')}"
    html = f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n"
    html += "<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    return Response(status, html.encode(), media_type="text/html", code=f"page {status}")


def redirect(location: str) -> Response:
    """The answer of a renamed portal (docs: settings/how-to-call-rest-api/change-domen.md)."""
    return Response(302, b"", {"Location": location}, media_type="text/html", code="redirect")
