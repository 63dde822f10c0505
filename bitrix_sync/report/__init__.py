"""What a manager sees: reports over the store, for the command line and the page.

Every function reads the store alone, in one transaction, and gives plain rows: dicts with stable keys (those of
``report --json``), moments as aware datetimes on the clocks of the file's zone. ``now`` is our own clock; the portal's
is what counts, and the store knows how far it is ahead.

Source: standards 4 to 6 (who owns a task, by when, who controls it, how it was done).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from bitrix_sync.errors import UserError
from bitrix_sync.report.context import Line, frame
from bitrix_sync.report.deals import Present, deal_path, deals_in_stages, search, stages, stages_and_deals
from bitrix_sync.report.tasks import (
    employee,
    load,
    moves,
    overdue,
    overdue_ages,
    slips_by_person,
    slips_by_rule,
    today,
)
from bitrix_sync.report.work import held_back, last_sweeps, operations, standing, state_of_things, sweeps
from bitrix_sync.store import Store

REPORTS: Mapping[str, Callable[..., list[Line]]] = {
    "load": load,
    "overdue": overdue,
    "today": today,
    "stages": stages,
    "moves": moves,
}
"""By the names of ``report``."""


def parts(
    store: Store, name: str, *, now: datetime, deal: int | None = None, whole: bool = False
) -> list[tuple[str, list[Line]]]:
    """What ``report NAME`` prints: the kind of table (see ``tables``) and its rows, the report itself first. ``deal``:
    the path of that deal instead; UserError if it was never seen. ``whole``: with what belongs beside it."""
    if deal is not None:
        found = deal_path(store, deal, now=now)
        if found is None:
            raise UserError(f"deal {deal} was never seen; give the number that the portal shows in its address")
        return [("path", found["path"])]
    found_parts = [(name, REPORTS[name](store, now=now))]
    if whole and name == "moves":
        found_parts += [("by_person", slips_by_person(store, now=now)), ("by_rule", slips_by_rule(store, now=now))]
    return found_parts


__all__ = [
    "REPORTS",
    "Present",
    "deal_path",
    "deals_in_stages",
    "employee",
    "frame",
    "held_back",
    "last_sweeps",
    "load",
    "moves",
    "operations",
    "overdue",
    "overdue_ages",
    "parts",
    "search",
    "slips_by_person",
    "slips_by_rule",
    "stages",
    "stages_and_deals",
    "standing",
    "state_of_things",
    "sweeps",
    "today",
]
