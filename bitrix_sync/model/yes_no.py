"""What counts as yes, and what as no."""

from __future__ import annotations

YES = frozenset({"y", "1", "true", "yes", "да"})
NO = frozenset({"n", "0", "false", "no", "нет"})


def yes_or_no(value: object) -> bool | None:
    """What a value says, as the portal or a person writes it: true, 1, "1", "Y", "да"; None for one that says neither,
    as nothing does."""
    word = str(value).strip().casefold()
    return True if word in YES else False if word in NO else None
