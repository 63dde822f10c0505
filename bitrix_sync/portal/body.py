"""The body of an answer as it comes, bounded: so many bytes, packed or not, and so many values. Pure.

Whoever answers may be mistaken or hostile: a body without end, one of kilobytes that unpacks to gigabytes, one that is
small as a text and huge as data. Both roads to the portal read by this one.
"""

from __future__ import annotations

import zlib

LIMIT = 32 * 1024 * 1024
"""Bytes of a body, unpacked: ten times the largest batch of lists that a sales department gives."""
VALUES = 2_000_000
"""Values of a body, as its brackets and commas tell: each takes up to a hundred bytes of memory once it is read."""
PACKED = "gzip"
"""How a body may be packed: a request's ``Accept-Encoding``."""
GZIP = 31
"""What zlib calls it."""


class UnfitBody(ValueError):
    """A body beyond its bounds, or one that cannot be unpacked. The text says which."""


class Body:
    """A body in the making. ``coding``: the answer's ``Content-Encoding``."""

    def __init__(self, coding: str = "") -> None:
        coding = coding.strip().lower()
        if coding not in ("", "identity", PACKED):
            raise UnfitBody("the answer is packed in a way that nobody asked for")
        self._unpack = zlib.decompressobj(GZIP) if coding == PACKED else None
        self._parts: list[bytes] = []
        self._size = self._values = 0

    def take(self, part: bytes) -> None:
        """Add what has come. Raises Unfit before more than the bounds is held in memory."""
        if self._unpack is not None:
            try:
                part = self._unpack.decompress(part, LIMIT + 1 - self._size)
            except zlib.error:
                raise UnfitBody("the answer cannot be unpacked") from None
        self._size += len(part)
        self._values += part.count(b",") + part.count(b"[") + part.count(b"{")
        if self._size > LIMIT:
            raise UnfitBody(f"the answer is larger than {LIMIT >> 20} MB")
        if self._values > VALUES:
            raise UnfitBody(f"the answer holds more than {VALUES} values")
        self._parts.append(part)

    def whole(self) -> bytes:
        """All that came. Raises Unfit when the end of what was packed is missing."""
        if self._unpack is not None and self._parts and not self._unpack.eof:
            raise UnfitBody("the answer cannot be unpacked")
        return b"".join(self._parts)
