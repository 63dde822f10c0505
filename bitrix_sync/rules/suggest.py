"""The nearest known word: for whoever mistyped a key, a unit, a name.

A comfort, so it is cheap: a word is compared in full only with the few known ones that have most letters in common with
it, and who asks for many words in one go (a file with thousands of faults) has one budget for all of them.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from difflib import SequenceMatcher
from functools import lru_cache
from heapq import nlargest

NEAR = 0.6
"""How much alike two words must be, from 0 to 1."""
RIVALS = 0.08
"""A word that is less alike than the nearest by more than that is not worth naming."""
COMPARED = 20
"""So many words are compared in full."""
LONGEST = 60
"""Characters of a word that are looked at."""
BUDGET = 2_000_000
"""What the suggestions of one go may cost, counted in letters compared."""
LISTED = 12
"""More names than that are not listed in a message."""


_UNSEEN = re.compile("[\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufe0f\ufeff]")
"""Characters that no eye sees: soft hyphens, joiners, marks of direction."""
_HIDDEN = re.compile(
    f"{_UNSEEN.pattern}|^[\u00a0\u2000-\u200a\u202f\u205f\u3000]|[\u00a0\u2000-\u200a\u202f\u205f\u3000]$"
)
"""The same, and odd spaces at the ends of a word."""
_LIKE_LATIN = str.maketrans("АВСЕНІЈКМОРЅТХУасеіјкорѕху", "ABCEHIJKMOPSTXYaceijkopsxy")
_SCRIPTS = {"LATIN": "Latin", "CYRILLIC": "Cyrillic"}


@lru_cache(maxsize=4096)
def fold(name: str) -> str:
    """A name as names are compared: composed, without what no eye sees, without outer and double spaces, without
    regard to case."""
    if name.isascii():
        return " ".join(name.split()).lower()
    return " ".join(unicodedata.normalize("NFC", _UNSEEN.sub("", name).casefold()).split())


def looks(name: str) -> str:
    """A name as the eye sees it: Cyrillic letters that look like Latin ones are these."""
    return fold(unicodedata.normalize("NFC", name).translate(_LIKE_LATIN))


def foreign_letter(word: str, meant: str) -> str:
    """Which letter of a word is of another script than in the one that looks the same, and at which place; "" when
    none is."""
    foreign = _differing(word, meant) if looks(word) == looks(meant) else []
    if not foreign:
        return ""
    places, letters = ", ".join(str(at) for at, _, _ in foreign), ", ".join(f"`{letter}`" for _, letter, _ in foreign)
    which = f"Letters {places} of it, {letters}, are" if len(foreign) > 1 else f"Letter {places} of it, {letters}, is"
    return f"{which} {_script(foreign[0][1])}: write `{meant}` in {_script(foreign[0][2])} letters."


def hidden(word: object) -> str:
    """Which character of a word no eye sees or takes for no space, and at which place; "" for none."""
    found = _HIDDEN.search(word) if isinstance(word, str) else None
    if found is None:
        return ""
    return f"Character {found.start() + 1} of it is not seen (U+{ord(found[0]):04X}): delete it."


def _differing(word: str, meant: str) -> list[tuple[int, str, str]]:
    """The letters that two words of one length have not in common, by their place from 1."""
    one, other = (unicodedata.normalize("NFC", _UNSEEN.sub("", text)).strip() for text in (word, meant))
    pairs = enumerate(zip(one, other, strict=False), 1)
    return [(at, a, b) for at, (a, b) in pairs if a.casefold() != b.casefold()] if len(one) == len(other) else []


def _script(letter: str) -> str:
    return _SCRIPTS.get(unicodedata.name(letter, "").partition(" ")[0], "foreign")


def nearest(word: str, known: Iterable[str]) -> list[str]:
    """Up to three of the ``known`` words that ``word`` may have been meant to be, the nearest first; the one alone that
    looks the same."""
    known = tuple(known)
    if twin := _by_looks(known).get(looks(word[:LONGEST])):
        return [twin]
    purse = _PURSE.get() or _Purse(BUDGET)
    return _nearest(word, known, purse) if purse.left else []


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``Did you mean `after`?``, or "" when nothing is near; of a word that looks like a known one which letter is of
    another script."""
    near = nearest(word, known)
    if near and (letter := foreign_letter(word, near[0]) or hidden(word)):
        return letter
    found = [f"`{one}`" for one in near]
    return f"Did you mean {' or '.join(found)}?" if found else ""


def cure(word: str, known: Iterable[str], what: str) -> str:
    """What to write instead of an unknown word: the nearest ones, else the list. ``what`` begins the list ("The keys
    here are")."""
    known = tuple(known)
    return did_you_mean(word, known) or listed(known, what)


def listed(known: Iterable[str], what: str) -> str:
    """``The keys here are `after`, `at`.``; cut when it is long, "" when there is nothing to list."""
    words = tuple(known)
    if not words:
        return ""
    more = f" and {len(words) - LISTED} more" if len(words) > LISTED else ""
    return f"{what} {', '.join(f'`{one}`' for one in words[:LISTED])}{more}."


class _Purse:
    """What is left of a budget."""

    def __init__(self, left: int) -> None:
        self.left = left

    def pay(self, cost: int) -> bool:
        """False, for good, when there is not enough left."""
        self.left = self.left - cost if self.left >= cost else 0
        return self.left > 0


_PURSE: ContextVar[_Purse | None] = ContextVar("purse", default=None)


@contextmanager
def sparing() -> Iterator[None]:
    """Meanwhile all suggestions together cost no more than the budget; without it each one has a budget of its own."""
    before = _PURSE.set(_Purse(BUDGET))
    try:
        yield
    finally:
        _PURSE.reset(before)


def _nearest(word: str, known: tuple[str, ...], purse: _Purse) -> list[str]:
    wanted = fold(word)[:LONGEST]
    letters = Counter(wanted)
    if not wanted or not purse.pay(len(known) * (4 + len(letters))):
        return []
    common = (
        (_share(len(wanted), letters, len(name), bag), name, one) for name, (one, bag) in _prepared(known).items()
    )
    found = []
    for share, name, one in nlargest(COMPARED, common, key=lambda row: row[:2]):
        if share < NEAR or not purse.pay(len(name) * len(wanted)):
            break
        like = SequenceMatcher(None, name, wanted).ratio()
        if like >= NEAR:
            found.append((like, name, one))
    found.sort(reverse=True)
    return [one for like, _, one in found[:3] if like >= found[0][0] - RIVALS]


def _share(length: int, letters: Counter[str], other: int, bag: Counter[str]) -> float:
    """How much alike two words can be at most: by their lengths, then by the letters that they have in common."""
    most = 2.0 * min(length, other) / (length + other)
    if most < NEAR:
        return most
    return 2.0 * sum(min(count, bag[letter]) for letter, count in letters.items()) / (length + other)


@lru_cache(maxsize=16)
def _prepared(known: tuple[str, ...]) -> dict[str, tuple[str, Counter[str]]]:
    """Folded words, each with the first known one that is folded so, and its letters."""
    words: dict[str, tuple[str, Counter[str]]] = {}
    for one in known:
        name = fold(one)[:LONGEST]
        if name and name not in words:
            words[name] = one, Counter(name)
    return words


@lru_cache(maxsize=16)
def _by_looks(known: tuple[str, ...]) -> dict[str, str]:
    """The first of the words that looks so, by its looks."""
    return {looks(one[:LONGEST]): one for one in reversed(known)}
