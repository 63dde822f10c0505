"""How a text is written in the file, so that it reads as this very text."""

from __future__ import annotations

import json
import re

from bitrix_sync.rules.names import NameIndex
from bitrix_sync.rules.scalars import EVERY
from bitrix_sync.words.texts import folded, shortened

LONGEST_COMMENT = 80
_PLAIN = re.compile(r"[^\W\d_](?:[\w ()«»/+.-]*[\w)»])?")
_WORDS_OF_YAML = frozenset({"true", "false", "yes", "no", "on", "off", "y", "n", "null", "none"})
_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")


def key_of(own_id: str, things: NameIndex) -> tuple[str, str]:
    """How a thing of the portal is written, and the comment behind it: its name, or its id (with the name in the
    comment) when the name is missing, not unique, or could be taken for something else."""
    name = things.names[own_id].strip()
    plain = name and name != EVERY and not re.search(r"[\x00-\x1f]", name) and not _ESCAPED.search(name)
    if plain and len(things.by_name(name)) == 1 and things.by_id(name) is None:
        return quoted(name), ""
    return quoted(own_id), f"  # {comment_safe(name)}" if name else ""


def quoted(text: str) -> str:
    """The text as a YAML scalar that reads as this very text, in quotes unless it is surely harmless without."""
    if _PLAIN.fullmatch(text) and text.casefold() not in _WORDS_OF_YAML:
        return text
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text, ensure_ascii=False))


def comment_safe(name: str) -> str:
    """A name as it may stand in a comment: one line, not too long."""
    return shortened(folded("".join(one if one.isprintable() else " " for one in name)), LONGEST_COMMENT)
