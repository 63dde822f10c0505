"""Slips of the pen that YAML stumbles over, often lines later: found where they began. Pure.

A quote that is never closed, a space or a dash that is missing, quotes and spaces of a word processor, a comment that
was meant to be text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

ODD = "\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
"""Spaces that are none for YAML, for a class of a regular expression."""
UNSEEN = "\u00ad\u180e\u200b-\u200f\u2060-\u2064\ufeff"
"""Characters that no eye sees, likewise."""
CURLY = "“”„‟«»‘’‚"
LOOKED_AT = 4
"""So many lines, up from the one that YAML stumbles over, are looked at."""

_OPENS = re.compile(r"""(?:^\s*|[:\-?]\s+|[\[{,]\s*)(["'])""")
_CLOSES = {'"': re.compile(r'(?:[^"\\]|\\.)*"', re.DOTALL), "'": re.compile(r"(?:[^']|'')*'")}
_AFTER_A_QUOTE = re.compile(r"[ \t]*(?:$|[,\]}:]|\s#)", re.MULTILINE)
_BLOCK = re.compile(r"[:\-]\s+[|>][-+0-9]*\s*(?:#.*)?$")

_GLUED = re.compile(r"(\s*(?:- +)*)([^\s:#'\"{\[]+):([^ \t]|$)")
_GLUED_DASH = re.compile(r"\s*(?:- +)*(-)[^\W\d]")
_ODD_SPACE = re.compile(f"^[ \t]*(?:- *)*([{ODD}])|^[ \t]*(?:- +)*[^\\s:]+:[ \t]*([{ODD}])|[{{,]\\s*\\w+:([{ODD}])")
_UNSEEN_AT = re.compile(f"^[ \t]*(?:- *)*([{UNSEEN}])|[:,{{\\[]\\s*([{UNSEEN}])")
_AFTER_ALL = re.compile(f"[\\]}}\"'][ \t]*([{ODD}{UNSEEN}])[{ODD}{UNSEEN}\\s]*$")
_OTHER_DASH = re.compile(r"^\s*([\u2010-\u2015\u2212•·])\s")
_CURLY_QUOTE = re.compile(f"(?:^[ \t]*|[:\\-]\\s+|[\\[{{,]\\s*)([{CURLY}])")
_CUT = re.compile(r"\s(#)\S")

ODD_SPACE = "A no-break space stands here, which is no space for YAML.", "Replace it by an ordinary one."
UNSEEN_SIGN = "A character that no eye sees stands here.", "Delete it: write the line anew from here on."
OTHER_DASH = "This dash is none for YAML.", "Begin each item of a list with a hyphen and a space: `- `."
CURLY_QUOTES = "Typographic quotes stand here, which are part of the text.", 'Write straight ones: `"…"`.'
NO_DASH = "The dash before this is missing.", "Begin each item of a list with a dash and a space."
COMMENT = "What follows ` #` is a comment.", "Put the text in quotes."


class Slip(NamedTuple):
    """Something slipped: line and column from 1, what is wrong and what to write instead."""

    line: int
    column: int
    wrong: str
    cure: str


def slip(text: str, line: int) -> Slip | None:
    """What may have made YAML stumble over this line; None: nothing that is known."""
    lines = text.split("\n")[:line]
    found = _open_quote(text, line)
    if found is not None:
        return found
    for number in range(len(lines), max(0, len(lines) - LOOKED_AT), -1):
        for look in _LOOKS:
            if (one := look(lines[number - 1])) is not None:
                column, words = one
                return Slip(number, column, *words)
    return None


def glued(text: str) -> tuple[str, str] | None:
    """A key and its value written without a space between: what is wrong, and the cure."""
    if re.search(f"[{ODD}]", text):
        return ODD_SPACE
    if re.search(f"[{UNSEEN}]", text):
        return UNSEEN_SIGN
    found = _GLUED.match(text)
    if found is None or not found[3] or text[found.end(2) + 1 :].startswith("//"):
        return None
    return _no_space(found[2], text[found.end(2) + 1 :])


def curly(text: object) -> bool:
    """Whether a text begins with a typographic quote."""
    return isinstance(text, str) and text[:1] in CURLY and text != ""


def in_curly(text: str) -> bool:
    """Whether a whole text stands in typographic quotes, or in one of them and a straight one."""
    inner = text.strip()
    return (
        len(inner) > 2
        and {inner[0], inner[-1]} <= {*CURLY, '"'}
        and not {*CURLY} & {*inner[1:-1]}
        and inner[0] != inner[-1]
    )


def _no_space(key: str, value: str) -> tuple[str, str]:
    shown = value if len(value) <= 40 else f"{value[:39]}…"
    return f"After `{key}:` a space is missing.", f"Write `{key}: {shown}`."


# --- a quote that is never closed ------------------------------------------------------------------------------------


def _open_quote(text: str, line: int) -> Slip | None:
    """A quote that opens before or in this line and is not closed as it must be."""
    starts = [0, *(found.end() for found in re.finditer("\n", text))]
    for number, column, quote in _quotes(text.split("\n")):
        if number >= line:
            return None
        closed = _CLOSES[quote].match(text, starts[number] + column + 1)
        if closed is None or ("\n" in closed[0] and not _AFTER_A_QUOTE.match(text, closed.end())):
            return Slip(number + 1, column + 1, "A quote is not closed.", "Write the closing quote.")
    return None


def _quotes(lines: list[str]) -> Iterator[tuple[int, int, str]]:
    """Every place where a text in quotes begins: line and column from 0, and the quote."""
    inside = -1
    for number, line in enumerate(lines):
        indent = len(line) - len(line.lstrip(" "))
        if inside >= 0 and (not line.strip() or indent > inside):
            continue
        inside = indent if _BLOCK.search(line) else -1
        at = 0
        while not line.lstrip().startswith("#") and (found := _OPENS.search(line, at)) is not None:
            yield number, found.start(1), found[1]
            closed = _CLOSES[found[1]].match(line, found.end())
            if closed is None:
                break
            at = closed.end()


# --- within one line -------------------------------------------------------------------------------------------------

Look = Callable[[str], tuple[int, tuple[str, str]] | None]


def _by(pattern: re.Pattern[str], words: tuple[str, str]) -> Look:
    def look(line: str) -> tuple[int, tuple[str, str]] | None:
        found = pattern.search(line)
        return (found.start(found.lastindex or 0) + 1, words) if found else None

    return look


def _without_space(line: str) -> tuple[int, tuple[str, str]] | None:
    """A key whose colon has no space behind it."""
    found = _GLUED.match(line)
    value = line[found.end(2) + 1 :] if found else ""
    if found is None or not value.strip() or value.startswith("//") or re.match(r"[^\"'{\[]*:(?:[ \t]|$)", value):
        return None
    return found.start(2) + 1, _no_space(found[2], value)


_LOOKS: tuple[Look, ...] = (
    _by(_ODD_SPACE, ODD_SPACE),
    _by(_UNSEEN_AT, UNSEEN_SIGN),
    _by(_AFTER_ALL, ODD_SPACE),
    _by(_OTHER_DASH, OTHER_DASH),
    _by(_GLUED_DASH, ("After the dash a space is missing.", "Write `- id: ...`.")),
    _without_space,
    _by(_CURLY_QUOTE, CURLY_QUOTES),
    _by(_CUT, COMMENT),
)
