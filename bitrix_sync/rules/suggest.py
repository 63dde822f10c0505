"""The nearest known word: for whoever mistyped a key, a unit, a name."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches
from functools import lru_cache

RIVALS = 0.08
"""A word that is less alike than the nearest by more than that is not worth naming."""
LISTED = 12
"""More names than that are not listed in a message."""


def fold(name: str) -> str:
    """A name as names are compared: without outer spaces, without regard to case."""
    return name.strip().casefold()


def nearest(word: str, known: Iterable[str]) -> list[str]:
    """Up to three of the ``known`` words that ``word`` may have been meant to be, the nearest first."""
    return list(_nearest(word, tuple(known)))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``Did you mean `after`?``, or "" when nothing is near."""
    found = [f"`{one}`" for one in nearest(word, known)]
    return f"Did you mean {' or '.join(found)}?" if found else ""


def cure(word: str, known: Iterable[str], what: str) -> str:
    """What to write instead of an unknown word: the nearest ones, else the list. ``what`` begins the list ("The keys
    here are")."""
    known = tuple(known)
    return did_you_mean(word, known) or listed(known, what)


def listed(known: Iterable[str], what: str) -> str:
    """``The keys here are `after`, `at`.``; cut when it is long, "" when there is nothing to list."""
    words = [f"`{one}`" for one in known]
    if not words:
        return ""
    more = f" and {len(words) - LISTED} more" if len(words) > LISTED else ""
    return f"{what} {', '.join(words[:LISTED])}{more}."


@lru_cache(maxsize=512)
def _nearest(word: str, known: tuple[str, ...]) -> tuple[str, ...]:
    by_fold: dict[str, str] = {}
    for one in known:
        by_fold.setdefault(fold(one), one)
    wanted = fold(word)[:100]
    found = get_close_matches(wanted, by_fold, n=3, cutoff=0.6)
    likeness = [SequenceMatcher(None, one, wanted).ratio() for one in found]
    return tuple(by_fold[one] for one, like in zip(found, likeness, strict=True) if like >= likeness[0] - RIVALS)
