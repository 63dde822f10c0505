"""What ``--help`` and wrong usage say, in the reader's language; the command line's library speaks English alone."""

from __future__ import annotations

import re
from functools import lru_cache

from bitrix_sync.words.language import USAGE


def usage_text(language: str, text: str) -> str:
    """A sentence of the command line's, as it stands in ``USAGE``, or filled as one that varies; else as it is. The
    white space around it stays."""
    sentence = text.strip()
    if not sentence:
        return text
    before, _, after = text.partition(sentence)
    return f"{before}{_said(language, sentence)}{after}"


def _said(language: str, sentence: str) -> str:
    if found := USAGE.get(language, {}).get(sentence):
        return found
    for pattern, said in _patterns(language):
        if match := pattern.fullmatch(sentence):
            return said.format(*(usage_text(language, part) for part in match.groups()))
    return sentence


@lru_cache
def _patterns(language: str) -> list[tuple[re.Pattern[str], str]]:
    return [
        (re.compile(re.sub(r"\\\{\d\\\}", "(.*)", re.escape(sentence)), re.DOTALL), said)
        for sentence, said in USAGE.get(language, {}).items()
        if "{0}" in sentence
    ]
