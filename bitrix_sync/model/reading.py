"""One reading of what changed in the portal: how far back it goes, and what travels with it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

OVERLAP = timedelta(minutes=10)
"""Rows become visible out of order: so much is read again."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Span that is read once more before the cursor, for what became visible late (``overlap``; None: nothing), and the
    company of the reading.

    ``late``: without overlap the last minute of the history at least. ``people``: deals will have to be judged, so
    people travel in the same request. ``along``: operations are being written, and the reading travels with the next of
    them. ``rest``: seconds to wait for it while what is ready is written; None: it is made at once."""

    overlap: timedelta | None = OVERLAP
    late: bool = False
    people: bool = True
    along: bool = False
    rest: float | None = None


WHOLE = Reading()
"""A reading with all that may be missing."""
