"""What the readings of one portal have learnt and use again; lost with the process, and no harm done."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Memory:
    """``pages``: name of a reading → pages it had last time. ``references``: a batch replaces ``$result[...]`` as
    documented. ``names``: deal field's upper-case code → its name in ``crm.item.*``, as the portal lists them."""

    pages: dict[str, int] = field(default_factory=dict)
    references: bool = True
    names: dict[str, str] = field(default_factory=dict)

    def pages_of(self, prefix: str) -> int:
        """Pages that the readings whose names begin so had last time, all together."""
        return sum(pages for name, pages in self.pages.items() if name.startswith(prefix))
