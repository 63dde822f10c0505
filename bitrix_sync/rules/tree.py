"""A file as plain data that remembers where everything stands. Made by ``yaml.py``. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from bitrix_sync.rules.problem import Path, clipped


class Repeated(NamedTuple):
    """A key that a mapping has twice."""

    key: str
    line: int
    column: int
    first_line: int


class Node:
    """A value of the file. ``data`` is the value as plain Python (None, bool, int, float, str, list, dict with text
    keys). ``kids`` are the nodes below it (dict or list), ``keys`` the places of a mapping's keys, ``repeated`` those
    that stand there twice. ``weight``: how many values it holds; ``flawed``: somewhere below nothing stands, or a key
    twice. ``cut``: a comment that may have been meant to be text follows."""

    __slots__ = ("column", "cut", "data", "flawed", "keys", "kids", "line", "repeated", "weight")

    def __init__(self, data: Any, line: int, column: int) -> None:
        self.data = data
        self.line, self.column = line, column
        self.kids: dict[str, Node] | list[Node] | None = None
        self.keys: dict[str, tuple[int, int]] = {}
        self.repeated: list[Repeated] = []
        self.weight = 1
        self.cut = False
        self.flawed = data is None

    def kid(self, part: str | int) -> Node | None:
        """The node under this key or index."""
        if isinstance(self.kids, dict):
            return self.kids.get(str(part))
        if isinstance(self.kids, list) and isinstance(part, int) and 0 <= part < len(self.kids):
            return self.kids[part]
        return None


def walk(root: Node, path: Path) -> Node:
    """The node at the path, or the deepest that there is on the way to it."""
    node = root
    for part in path:
        below = node.kid(part)
        if below is None:
            break
        node = below
    return node


def place(root: Node, path: Path, *, key: bool = False) -> tuple[int, int]:
    """Line and column of the value at the path (``key``, or when nothing stands there: of its key)."""
    if path and (key or walk(root, path).data is None):
        holder = walk(root, path[:-1])
        if str(path[-1]) in holder.keys:
            return holder.keys[str(path[-1])]
    node = walk(root, path)
    return node.line, node.column


def crumbs(root: Node, path: Path) -> str:
    """``funnels > Продажи > Договор > contract > deadline``: the path as a person reads it."""
    words: list[str] = []
    node: Node | None = root
    for part in path:
        node = node.kid(part) if node is not None else None
        if isinstance(part, int):
            name = node.data.get("id") if node is not None and isinstance(node.data, dict) else None
            words.append(str(name) if isinstance(name, str | int) else str(part + 1))
        elif not (part == "tasks" and words and words[0] == "funnels"):
            words.append(clipped(part))
    return " > ".join(words)


def flaws(root: Node) -> Iterator[tuple[Path, Repeated | None]]:
    """Every key that stands twice in its mapping, with the mapping's path, and (None) every place where nothing is."""
    pending: list[tuple[Path, Node]] = [((), root)] if root.flawed else []
    while pending:
        path, node = pending.pop()
        if node.data is None:
            yield path, None
        for one in node.repeated:
            yield path, one
        kids: Iterable[tuple[str | int, Node]] = ()
        if node.kids is not None:
            kids = node.kids.items() if isinstance(node.kids, dict) else enumerate(node.kids)
        pending += [((*path, part), kid) for part, kid in kids if kid.flawed]
