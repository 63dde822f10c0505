"""What is printed for people and programs: one place through which every word of the portal reaches a terminal.

A name or an error's text may hold what a terminal obeys (escape sequences, marks that turn the direction of writing,
line ends that begin a line of their own); ``texts.visible`` shows it instead.
"""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console

from bitrix_sync.words.texts import UNSEEN, visible


class Terminal(Console):
    """A console whose texts are single lines of plain text, shown as they are."""

    def __init__(self, **how: Any) -> None:
        super().__init__(highlight=False, soft_wrap=True, emoji=False, markup=False, **how)

    def print(self, *objects: Any, **how: Any) -> None:
        """Print texts in one line each; what is no text is laid out of ``cell``s."""
        super().print(*(visible(one) if isinstance(one, str) else one for one in objects), **how)


def cell(value: Any) -> str:
    """A cell of a table: one line, of a list a line for each part."""
    if isinstance(value, list):
        return "\n".join(map(cell, value))
    return "" if value is None else visible(" ".join(str(value).split()))


def json_text(value: Any, *, default: Any = None) -> str:
    """JSON with the very same values, in which nothing stands as it is that a terminal obeys."""
    text = json.dumps(value, ensure_ascii=False, indent=2, default=default)
    return UNSEEN.sub(lambda sign: sign[0] if sign[0] == "\n" else json.dumps(sign[0])[1:-1], text)
