"""What people hear of operations that the portal refused: one message per cause and hour, with a count and an example.

A cause is the method, the error's code and the error's text without what belongs to one task or deal alone. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2b

from bitrix_sync.model.actions import Kind
from bitrix_sync.model.keys import Refusal
from bitrix_sync.model.operations import StoredOperation
from bitrix_sync.words import texts

QUIET = timedelta(hours=1)
"""Time for which a cause that was told is not told again; what comes meanwhile is counted in the next message."""
MANY = 5
"""Causes of one method and code that are told apart in an hour; any more are told as one."""
LISTED = 10
"""Deals named in one message."""
LONGEST = 500
_TAG = re.compile(r"<[^<>]{0,40}>")
_NUMBER = re.compile(r"(?<!\w)\d+(?!\w)")


@dataclass(frozen=True, slots=True)
class Failure:
    """A refused operation and what its message names. ``reader``: the supervisor who hears of it; 0: the
    administrators; None: nobody can be told. ``task``, ``deal``, ``stage``, ``user``: names, "" where there is none."""

    row: StoredOperation
    method: str
    reader: int | None
    task: str = ""
    deal: str = ""
    stage: str = ""
    user: str = ""

    @property
    def text(self) -> str:
        """The portal's words on one line."""
        return texts.shortened(texts.folded(_TAG.sub(" ", self.row.error_text)), LONGEST)

    @property
    def family(self) -> str:
        """Name of all causes of its reader, method and code."""
        return _name(str(self.reader), self.method, self.row.error_code)

    @property
    def cause(self) -> str:
        """Name of its cause within the family: numbers and names of its own are no part of it."""
        text = self.text
        for own in sorted({self.task, self.deal, self.user} - {""}, key=len, reverse=True):
            text = text.replace(texts.folded(own), "…")
        return _name(_NUMBER.sub("#", text).casefold(), self.stage)


def _name(*parts: str) -> str:
    return blake2b("\0".join(parts).encode(), digest_size=8).hexdigest()


def gather(failures: Iterable[Failure], told: Collection[str]) -> dict[Refusal, list[Failure]]:
    """Failures to be told now by the cause that is noted for each message; ``told``: keys of those of the last hour.
    Left out is what nobody can be told of."""
    heard: dict[str, set[str]] = {}
    for key in told:
        before = Refusal.parse(key)
        heard.setdefault(before.family, set()).add(before.cause)
    now: dict[Refusal, list[Failure]] = {}
    begun: dict[str, set[str]] = {}
    for failure in (one for one in failures if one.reader is not None):
        family, cause = failure.family, failure.cause
        known, new = heard.get(family, set()), begun.setdefault(family, set())
        if cause not in known | new and len(known | new) >= MANY:
            cause = "rest"
        if cause not in known:
            new.add(cause)
            now.setdefault(Refusal(family, cause), []).append(failure)
    return now


def said(language: str, alike: Sequence[Failure]) -> str:
    """The message about failures of one cause."""
    first = alike[0]
    code = first.row.error_code if first.row.error_code not in ("", "0") else ""
    if first.reader:
        deals = list(dict.fromkeys(one.deal for one in alike))
        shown = ", ".join(texts.say(language, "refused.deal", deal=deal) for deal in deals[:LISTED])
        return texts.say(
            language,
            "notice.move_refused" if len(deals) == 1 else "notice.moves_refused",
            deal=first.deal,
            deals=texts.Markup(shown + (", …" if len(deals) > LISTED else "")),
            count=len(deals),
            stage=first.stage,
            text=texts.reason_text(language, first.text) or code,
        )
    kind = first.row.operation.kind
    return texts.say(
        language,
        "admin.refused",
        count=len(alike),
        kind=kind.value,
        example=texts.Markup(_example(language, first, kind)),
        text=texts.reason_text(language, first.text) or "—",
        code=code,
        cure=kind.value,
    )


def _example(language: str, failure: Failure, kind: Kind) -> str:
    if kind is Kind.MESSAGE:
        return texts.say(language, "refused.message", user=failure.user)
    if kind is Kind.MOVE_DEAL:
        return texts.say(language, "refused.move", deal=failure.deal, stage=failure.stage)
    return texts.say(language, "refused.task", title=failure.task, deal=failure.deal)
