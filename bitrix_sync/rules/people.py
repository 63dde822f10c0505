"""Who of a company is meant by an e-mail or a name. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from bitrix_sync.model.facts import User
from bitrix_sync.rules.suggest import LISTED, fold, foreign_letter, nearest

_INITIALS = re.compile(r"[^\W\d_]\.(?:[^\W\d_]\.)*")


def bearers(name: str, users: Iterable[User]) -> list[User]:
    """Who bears all words of a name, in whatever order, one of them alone too, an initial perhaps; of those who work
    here, if any does."""
    written = fold(name).replace(",", " ").split()
    initials = [word for word in written if _INITIALS.fullmatch(word)]
    words = set(written) - set(initials)
    found = [user for user in users if _bears(set(fold(user.name).split()), words, initials)]
    return [user for user in found if user.active] or found


def _bears(own: set[str], words: set[str], initials: list[str]) -> bool:
    """Whether a person's own words are these; of initials the first one counts."""
    if not words or not words <= own:
        return False
    return not initials or any(one.startswith(initials[0][0]) for one in own - words)


def meant(text: str, users: Iterable[User]) -> list[User]:
    """Who has an e-mail, or bears a name; of those who work here, if any does."""
    if "@" not in text:
        return bearers(text, users)
    found = [user for user in users if user.email and fold(user.email) == fold(text)]
    return [user for user in found if user.active] or found


def candidates(users: Iterable[User]) -> str:
    """People to choose from, each with the id: ``5 Мария Кузнецова, 9 Олег Кузнецов``."""
    known = list(users)
    shown = [f"{user.id} {user.name or user.email}".strip() for user in known[:LISTED]]
    return ", ".join([*shown, *(["…"] if len(known) > LISTED else [])])


def namesake(name: str, users: Iterable[User]) -> str:
    """Whom a mistyped name, or a part of one, may have meant: ``Did you mean ...?``, or ""."""
    active = [user.name for user in users if user.active and user.name]
    whole = {word: one for one in active for word in one.split()} | {one: one for one in active}
    near = nearest(name, whole)
    if not near:
        return ""
    found = dict.fromkeys(f"`{whole[one]}`" for one in near)
    return foreign_letter(name, near[0]) or f"Did you mean {' or '.join(found)}?"
