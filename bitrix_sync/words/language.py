"""The languages of the service: each is one file of this folder, named by its code of two letters and found by it.

Tables of such a file, each of which may lack what is said as in ``FALL_BACK`` then:

- ``USAGE``: what ``--help`` and wrong usage say, by the English sentence as the command line has it;
- ``FAULTS``: likewise what is wrong with a rules file, what to write instead, and the hints of its schema;
- ``TROUBLES``: what is wrong with settings, portal, database or a request, likewise;
- ``MESSAGES``: sentences by key; ``texts`` tells how a placeholder shows its value.
- ``NOUNS``: nouns that are counted, a form for each plural category that the language has in CLDR, in CLDR's order.
- ``CHOICES``: words that depend on a value, by its text ("true" and "false" for yes and no, "" for None); "*" is for
  any other, with the value in its braces.
- ``FIRST_RULES``: comments of the first rules.yaml. Those behind a value begin with two blanks and the sign.
- ``SUGGESTIONS``: for what ``setup.suggestions`` suggests, how stages are called (a pattern), title and check list.
- ``KEYS``: what the keys of rules.yaml mean, for ``docs/*/rules.md`` (see ``tools/docs.py``) and the hints of editors.
- ``DATE``: day and month as they stand in a date, in CLDR's letters.
- ``LETTERS``: a range of letters that only this language's portals have, if there is one.

Months, weekdays, plural categories and numbers are CLDR's. A new language is a new file, and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, Literal

from babel import Locale

from bitrix_sync import words

DEFAULT = "ru"
"""The language of a rules file that names none."""
FALL_BACK = "en"
"""The language that has every word."""

_CODES = sorted(
    (one.name for one in iter_modules(words.__path__) if len(one.name) == 2), key=lambda one: one != DEFAULT
)
_FILES = {code: import_module(f"{words.__name__}.{code}") for code in _CODES}

LANGUAGES = tuple(_FILES)

if TYPE_CHECKING:
    Language = str
else:
    Language = Literal[LANGUAGES]


def _each(name: str) -> dict[str, Any]:
    """What each file holds under this name."""
    return {code: getattr(file, name) for code, file in _FILES.items() if hasattr(file, name)}


MESSAGES: Mapping[str, Mapping[str, str]] = _each("MESSAGES")
NOUNS: Mapping[str, Mapping[str, tuple[str, ...]]] = _each("NOUNS")
CHOICES: Mapping[str, Mapping[str, Mapping[str, str]]] = _each("CHOICES")
FIRST_RULES: Mapping[str, Mapping[str, str]] = _each("FIRST_RULES")
SUGGESTIONS: Mapping[str, Mapping[str, tuple[str, ...]]] = _each("SUGGESTIONS")
KEYS: Mapping[str, Mapping[str, str]] = _each("KEYS")
DATE: Mapping[str, str] = _each("DATE")
USAGE: Mapping[str, Mapping[str, str]] = _each("USAGE")
FAULTS: Mapping[str, Mapping[str, str]] = _each("FAULTS")
TROUBLES: Mapping[str, Mapping[str, str]] = _each("TROUBLES")
LETTERS: Mapping[str, str] = _each("LETTERS")

_CATEGORIES = ("zero", "one", "two", "few", "many", "other")


def named(text: str) -> Language:
    """The language that a rules file names, even one that cannot be read."""
    found = re.search(r"^language:[ \t]*['\"]?(\w+)", text, re.MULTILINE)
    return found[1] if found and found[1] in LANGUAGES else DEFAULT


def speaker(language: str, table: Mapping[str, Mapping[str, Any]], key: str) -> str:
    """The language that says this: the one asked for, or the one that has every word."""
    return language if key in table.get(language, ()) else FALL_BACK


@lru_cache
def locale(language: str) -> Locale:
    """What CLDR knows of a language."""
    return Locale.parse(language if language in _FILES else FALL_BACK)


@lru_cache
def number_signs(language: str) -> Mapping[int, str]:
    """What stands between thousands and before a fraction, for a number as Python writes it."""
    signs = locale(language).number_symbols["latn"]
    return {ord(","): signs["group"], ord("."): signs["decimal"]}


def plural(language: str, count: int) -> int:
    """Which of the forms of a noun stands with this number."""
    rule = locale(language).plural_form
    return [one for one in _CATEGORIES if one in rule.tags or one == "other"].index(rule(count))
