"""English sentences in the reader's language: of ``--help`` and wrong usage, and of what is wrong.

A table holds them as they stand, with ``{0}``, ``{1}`` for what varies; what stands there is said by the same table.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from bitrix_sync.words.language import FAULTS, TROUBLES, USAGE

DEPTH = 4
"""So deep sentences within sentences are said; what is deeper stays as it is."""
_VARIES = re.compile(r"\{(\d)\}")


def usage_text(language: str, text: str) -> str:
    """A sentence of the command line's, as it stands in ``USAGE``, or filled as one that varies; else as it is. The
    white space around it stays."""
    return _text("usage", language, text, DEPTH)


def fault_text(language: str, text: str) -> str:
    """The same of ``FAULTS``: a sentence on a rules file."""
    return _text("faults", language, text, DEPTH)


def trouble_text(language: str, text: str) -> str:
    """The same of ``TROUBLES``, line by line: what is wrong with settings, portal, database or a request."""
    return "\n".join(_text("troubles", language, line, DEPTH) for line in text.split("\n"))


_TABLES: Mapping[str, Mapping[str, Mapping[str, str]]] = {"usage": USAGE, "faults": FAULTS, "troubles": TROUBLES}


def _text(table: str, language: str, text: str, depth: int) -> str:
    sentence = text.strip()
    if not sentence or depth == 0:
        return text
    before, _, after = text.partition(sentence)
    return f"{before}{_said(table, language, sentence, depth)}{after}"


def _said(table: str, language: str, sentence: str, depth: int) -> str:
    if found := _TABLES[table].get(language, {}).get(sentence):
        return found
    for literals, said in _varying(table, language):
        if (parts := _parts(literals, sentence)) is not None:
            words = [_text(table, language, part, depth - 1) for part in parts]
            return _filled(said, words)
    return sentence


def _filled(said: str, words: Sequence[str]) -> str:
    return _VARIES.sub(lambda sign: words[int(sign[1])], said)


def _parts(literals: Sequence[str], sentence: str) -> list[str] | None:
    """What stands between the literals of a sentence, each found at its first place; None when it is another one."""
    first, *between, last = literals
    if not (sentence.startswith(first) and sentence.endswith(last) and len(sentence) >= len(first) + len(last)):
        return None
    parts, rest = [], sentence[len(first) : len(sentence) - len(last)]
    for literal in between:
        part, found, rest = rest.partition(literal)
        if not found:
            return None
        parts.append(part)
    return [*parts, rest]


@lru_cache
def _varying(table: str, language: str) -> list[tuple[list[str], str]]:
    """Sentences that vary, as what stands around that; those that say most themselves come first."""
    found = [
        (_VARIES.split(sentence)[::2], said)
        for sentence, said in _TABLES[table].get(language, {}).items()
        if "{0}" in sentence
    ]
    return sorted(found, key=lambda one: -sum(map(len, one[0])))
