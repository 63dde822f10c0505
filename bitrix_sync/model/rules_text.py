"""Rules that stand in no file of this machine. Pure."""

from __future__ import annotations


class RulesText:
    """The rules of a portal as its row in the table of portals has them; whoever reads them again finds what was
    ``put`` there last. ``version`` is 0 while there are none; ``name`` is what errors call them by."""

    __slots__ = ("name", "text", "version")

    def __init__(self, name: str, text: str, version: int) -> None:
        self.name, self.text, self.version = name, text, version

    def put(self, text: str, version: int) -> None:
        """Other rules."""
        self.text, self.version = text, version

    def __str__(self) -> str:
        return f"{self.name} (version {self.version})"
