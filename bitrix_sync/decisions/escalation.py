"""Who hears of what stays undone, and when it goes one head higher. Pure.

The first step is told at once. While it stays so, each time ``escalate`` has passed since the last step it goes one
head higher, on the morning of that day; at the top it is told once a week. Without ``escalate`` the first step is all.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from bitrix_sync.model.facts import Company
from bitrix_sync.model.operations import Escalation
from bitrix_sync.model.worktime import Calendar
from bitrix_sync.rules.deadlines import counted
from bitrix_sync.rules.model import Deadline, Duration
from bitrix_sync.rules.persons import head_over

AT_THE_TOP = Duration(1, "weeks")


def next_step(
    known: Escalation | None, spell: str, *, top: int, every: Duration | None, calendar: Calendar, moment: datetime
) -> int | None:
    """The step that a morning at the ``moment`` is to tell, from 1 to ``top``; None: nothing. ``known``: what was told
    last, of which another ``spell`` is over."""
    if known is None or known.spell not in (spell, None):
        return 1
    if every is None:
        return None
    span = AT_THE_TOP if known.step >= top else every
    due = counted(Deadline(offset=span), known.at, calendar)
    reached = calendar.local(moment).date() >= calendar.local(due).date()
    return min(known.step + 1, top) if reached else None


def heads(company: Company, user: int | None, *, apart: int = 0) -> list[int]:
    """The heads over a person, the nearest first; without the one who is ``apart``."""
    found: list[int] = []
    over = user
    while over is not None:
        seen = {apart, user, *found}
        over = head_over(company, over, able=lambda head, seen=seen: company.active(head) and head not in seen)  # type: ignore[misc]
        if over is not None:
            found.append(over)
    return found


def reader_of(step: int, readers: Sequence[int]) -> int | None:
    """Who hears of a step; None: nobody can, so the administrators do."""
    return readers[min(step, len(readers)) - 1] if readers and step else None
