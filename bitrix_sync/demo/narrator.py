"""How the demonstration looks in a terminal, and in a pipe: plain text, the same words."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from bitrix_sync.words import texts

WIDTH = 116
"""Columns in a pipe, and at most on a terminal."""
_LINK = re.compile(r"\[url=[^\]]*\](.*?)\[/url\]", re.IGNORECASE)
_BOLD = re.compile(r"\[b\](.*?)\[/b\]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Row:
    """A task as it stands in the portal; each a text, perhaps of several lines."""

    deal: str
    task: str
    owner: str
    observer: str
    deadline: str


class Narrator:
    """Says what happens, in the words of the catalogue, on stdout."""

    def __init__(self, language: str) -> None:
        self.language = language
        self.console = Console(highlight=False)
        self.console.width = min(self.console.width, WIDTH) if self.console.is_terminal else WIDTH

    def word(self, key: str, **values: Any) -> str:
        """A message of the catalogue."""
        return texts.phrase(self.language, key, **values)

    def heading(self, text: str) -> None:
        """A scene begins."""
        self.put(Padding(Rule(Text(text, style="bold"), align="left", style="dim"), (1, 0, 0, 0)))

    def say(self, text: str, *, style: str = "") -> None:
        """A paragraph."""
        self.put(Text(text, style=style))

    def verbatim(self, line: str) -> None:
        """A line to be copied: never broken."""
        self.console.print(line, markup=False, soft_wrap=True)

    def tasks(self, rows: Sequence[Row]) -> None:
        """Tasks as a table."""
        columns = ("deal", "task", "owner", "observer", "deadline")
        self.table([self.word(f"demo.column.{name}") for name in columns], [_cells(row) for row in rows])

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table."""
        grid = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)
        for head in heads:
            grid.add_column(head, overflow="fold")
        for row in rows:
            grid.add_row(*(Text(cell) for cell in row))
        self.put(Padding(grid, (1, 0, 0, 1)))

    def message(self, title: str, text: str) -> None:
        """A message of the portal's chat as its reader sees it: links by their titles, bold where there is any."""
        shown = Text("\n").join(_read(line) for line in text.splitlines())
        frame = Panel(shown, title=title, title_align="left", border_style="dim", padding=(0, 1), expand=False)
        self.put(Padding(frame, (0, 0, 0, 1)))

    def lines(self, lines: Sequence[str]) -> None:
        """Lines as they are, set in; what is too long goes on under its beginning."""
        for line in lines:
            self.put(Padding(Text(line.lstrip()), (0, 0, 0, 1 + len(line) - len(line.lstrip()))))

    def put(self, what: RenderableType) -> None:
        """Show it; in a pipe without the blanks that fill lines up."""
        if self.console.is_terminal:
            self.console.print(what)
            return
        with self.console.capture() as shown:
            self.console.print(what)
        lines = [line.rstrip() for line in shown.get().splitlines()]
        sys.stdout.write("\n".join([*lines, ""]))
        sys.stdout.flush()


def _cells(row: Row) -> tuple[str, ...]:
    return row.deal, row.task, row.owner, row.observer, row.deadline


def _read(line: str) -> Text:
    """BB code as people see it."""
    line = _LINK.sub(r"\1", line)
    shown = Text()
    for place, part in enumerate(_BOLD.split(line)):
        shown.append(part, style="bold" if place % 2 else "")
    return shown
