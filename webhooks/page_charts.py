"""Charts as SVG: drawn on the server, no script, colours by class from the style sheet, every value also as text.

Widths are shares of what room there is, so that a chart fits a phone and a screen alike. No ``style`` attributes: the
page's Content-Security-Policy forbids them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of a bar: how much, its class in the style sheet, and what it says when pointed at."""

    value: float
    kind: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Day:
    """One column of a chart of days, or weeks; ``text`` is what stands over it, if not the value."""

    label: str
    value: int
    kind: str = ""
    note: str = ""
    text: str = ""


def bar(parts: Sequence[Part], *, of: float, label: str) -> Markup:
    """A horizontal bar of parts, ``of`` being its full width."""
    pieces, x = Markup(), 0.0
    for part in parts:
        width = _share(part.value, of)
        if width:
            pieces += _rect(x, width, "0", "100%", part.kind, part.label)
            x += width
    return Markup('<svg class="bar" width="100%" height="10" role="img" aria-label="{}">{}</svg>').format(label, pieces)


def column(value: float, *, of: float, kind: str, label: str) -> Markup:
    """A vertical bar for a cell of a table: what is above it in the cell is empty."""
    height = _share(value, of)
    rect = _rect(0, 100, f"{_number(100 - height)}%", f"{_number(height)}%", kind) if height else Markup()
    return Markup('<svg class="col" width="100%" height="28" role="img" aria-label="{}">{}</svg>').format(label, rect)


def stay(median: float | None, p90: float | None, limit: float | None, *, of: float, label: str) -> Markup:
    """Time in a stage: up to the median dark, up to the 90th percentile light, a line at the limit."""
    pieces = Markup()
    if p90:
        pieces += _rect(0, _share(p90, of), "2", "10", "p90")
    if median:
        pieces += _rect(0, _share(median, of), "2", "10", "median")
    if limit is not None and limit <= of:
        at = _number(min(_share(limit, of), 99.6))
        pieces += Markup('<rect class="limit" x="{}%" y="0" width="2" height="14"/>').format(at)
    return Markup('<svg class="stay" width="100%" height="14" role="img" aria-label="{}">{}</svg>').format(
        label, pieces
    )


def strip(parts: Sequence[Part], *, label: str) -> Markup:
    """A whole made of parts side by side; the thinnest can still be seen."""
    whole = sum(part.value for part in parts) or 1.0
    least = 0.8
    widths = [max(part.value / whole * 100, least) for part in parts]
    scale = 100 / sum(widths) if widths else 1.0
    pieces, x = Markup(), 0.0
    for part, width in zip(parts, widths, strict=True):
        pieces += _rect(x, width * scale, "0", "100%", part.kind, part.label)
        x += width * scale
    return Markup('<svg class="strip" width="100%" height="26" role="img" aria-label="{}">{}</svg>').format(
        label, pieces
    )


def days(columns: Sequence[Day], *, label: str) -> Markup:
    """Columns with their values above and their days below."""
    wide, high, top, foot = 56, 96, 16, 18
    most = max([one.value for one in columns], default=0) or 1
    pieces = Markup()
    for number, one in enumerate(columns):
        middle = number * wide + wide / 2
        height = one.value / most * high
        kind = f"fill {one.kind}".strip()
        pieces += Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>').format(
            kind, _number(number * wide + 8), _number(top + high - height), wide - 16, _number(height), one.note
        )
        pieces += Markup('<text class="value" x="{}" y="{}">{}</text>').format(
            _number(middle), _number(top + high - height - 4), one.text or one.value
        )
        pieces += Markup('<text class="day {}" x="{}" y="{}">{}</text>').format(
            one.kind, _number(middle), top + high + foot - 3, one.label
        )
    whole = wide * max(len(columns), 1)
    return Markup('<svg class="days" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        whole, top + high + foot, label, pieces
    )


def _rect(x: float, width: float, y: str, height: str, kind: str, label: str = "") -> Markup:
    title = Markup("<title>{}</title>").format(label) if label else ""
    return Markup('<rect class="{}" x="{}%" y="{}" width="{}%" height="{}">{}</rect>').format(
        kind, _number(x), y, _number(width), height, title
    )


def _share(value: float, of: float) -> float:
    """Percent of the whole; never outside 0 to 100."""
    return max(0.0, min(100.0, value / of * 100)) if of > 0 else 0.0


def _number(value: float) -> str:
    return str(escape(f"{value:.2f}".rstrip("0").rstrip(".")))
