"""What ``init`` suggests for a stage, told from its name: one task with its deadline. Pure data.

A suggestion is a beginning to be corrected, so it is cautious: a plain text, a deadline in working time, no field of
the deal but its title. Ids are ASCII whatever the portal's alphabet is.

Source: standard 4 (every stage a task, every task a real deadline).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from bitrix_sync.model.facts import PROGRESS, Funnel
from bitrix_sync.words.language import DEFAULT, FALL_BACK, LANGUAGES, LETTERS, SUGGESTIONS, Language, speaker

ID_LENGTH = 40


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One task: ``id`` is a basis that is made unique in the file, ``title`` a template, ``deadline`` as it is written
    in YAML."""

    id: str
    title: str
    deadline: str
    checklist: tuple[str, ...] = ()


_DAY, _TWO_DAYS, _THREE_DAYS = "{after: 1 workday}", "{after: 2 workdays}", "{after: 3 workdays}"

_DEADLINES = {
    "answer": _TWO_DAYS,
    "wrap-up": _TWO_DAYS,
    "prepayment": _THREE_DAYS,
    "payment": _THREE_DAYS,
    "offer": '{after: 1 workday, at: "15:00"}',
    "documents": _TWO_DAYS,
    "keep-in-touch": _THREE_DAYS,
    "contract": _THREE_DAYS,
    "meeting": '{after: 2 workdays, at: "15:00"}',
    "needs": _DAY,
    "shipment": _THREE_DAYS,
    "progress": _THREE_DAYS,
    "diagnosis": _DAY,
    "request": "{after: 4 workhours}",
    "call-again": _DAY,
    "first-call": "{after: 30 workminutes}",
}
"""Tried in this order. Languages have the words of stages that a suggestion is for, its title and its check list."""
_OTHERWISE = ""
"""For a stage whose name tells nothing: the id comes from the name itself."""

_WORDS_OF_YAML = frozenset({"true", "false", "yes", "no", "on", "off", "y", "n", "null"})
"""What an id must not be, for it would be read as something else."""

_LATIN = str.maketrans(
    {
        **dict(zip("абвгдезийклмнопрстуфыэ", "abvgdeziyklmnoprstufye", strict=True)),
        **{"ё": "e", "ж": "zh", "х": "kh", "ц": "ts", "ч": "ch", "ш": "sh", "щ": "shch", "ъ": "", "ь": ""},
        **{"ю": "yu", "я": "ya", "і": "i", "ї": "yi", "є": "ye", "ґ": "g", "ў": "u"},
    }
)


_UNLIKE = re.compile(
    r"тендер|аукцион|госзакуп|закупк|конкурс|\bторг|найм|подбор|кандидат|ваканс|собеседован|претензи|\bсуд"
    r"|tender|auction|procurement|bidding|hiring|recruit|candidate|vacanc|interview|lawsuit|claim"
)
"""Words of stages and funnels where the steps of a sale would mislead: they get the neutral task."""


def suggest(stage_name: str, language: Language, funnel_name: str = "") -> Suggestion:
    """The task for a stage of this name; the words of every language are tried, the text is in ``language``."""
    unlike = _UNLIKE.search(f"{stage_name} {funnel_name}".casefold())
    for tongue in () if unlike else sorted(LANGUAGES, key=lambda one: one != language):
        for id_, deadline in _DEADLINES.items():
            pattern = SUGGESTIONS.get(tongue, {}).get(id_)
            if pattern and re.search(pattern[0], stage_name.casefold()):
                return _suggestion(id_, deadline, language)
    return replace(_suggestion(_OTHERWISE, _TWO_DAYS, language), id=_own_id(stage_name))


def _own_id(stage_name: str) -> str:
    """The id of a stage whose name tells nothing."""
    own = slug(stage_name) or "step"
    return f"stage-{own}" if own in _WORDS_OF_YAML or not own[0].isalpha() else own


def _suggestion(id_: str, deadline: str, language: Language) -> Suggestion:
    _, title, *checklist = SUGGESTIONS[speaker(language, SUGGESTIONS, id_)][id_]
    return Suggestion(id_, title, deadline, tuple(checklist))


def slug(name: str) -> str:
    """``Новая заявка`` → ``novaya-zayavka``: lower-case ASCII with hyphens, "" when nothing of the name is left."""
    latin = unicodedata.normalize("NFKD", name.casefold().translate(_LATIN).replace("й", "y"))
    words = re.findall(r"[a-z0-9]+", "".join(one for one in latin.lower() if not unicodedata.combining(one)))
    return "-".join(words)[:ID_LENGTH].strip("-")


def unique(basis: str, beginning: str, taken: Collection[str]) -> str:
    """An id that is not taken: the basis, with the funnel's ``beginning`` before it, else with a number behind it."""
    longer = f"{beginning}-{basis}"[: ID_LENGTH + 10].strip("-") if beginning else basis
    for one in (basis, longer):
        if one not in taken:
            return one
    number = 2
    while f"{longer}-{number}" in taken:
        number += 1
    return f"{longer}-{number}"


def language_of(funnels: Iterable[Funnel]) -> Language:
    """The language of a portal, told by the letters that its stages in progress are named with."""
    names = "".join(stage.name for funnel in funnels for stage in funnel.stages if stage.semantic == PROGRESS)
    letters = sum(one.isalpha() for one in names)
    for language, own in LETTERS.items():
        if letters and len(re.findall(f"[{own}]", names)) * 2 >= letters:
            return language
    return FALL_BACK if letters else DEFAULT
