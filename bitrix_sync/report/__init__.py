"""What a manager sees: reports over the store, for the command line and the page.

Every function reads the store alone, in one transaction, and gives plain rows: dicts with stable keys (those of
``report --json``), moments as aware datetimes on the clocks of the file's zone. ``now`` is our own clock; the portal's
is what counts, and the store knows how far it is ahead.

Source: standards 4 to 6 (who owns a task, by when, who controls it, how it was done).
"""

from __future__ import annotations

from collections.abc import Mapping

from bitrix_sync.report import deals, done, idle, outcomes, slips, tasks, trial, weeks
from bitrix_sync.report.choice import ALL, Selection, choose
from bitrix_sync.report.context import frame
from bitrix_sync.report.deals import Present, deal_path, deals_in_stages, search, stages, stages_and_deals
from bitrix_sync.report.declaration import Report
from bitrix_sync.report.done import BEHIND, behind
from bitrix_sync.report.slips import moves, slips_by_person, slips_by_rule
from bitrix_sync.report.tasks import department, employee, late, late_ages, load, overdue, today
from bitrix_sync.report.weeks import kept_by_person, week
from bitrix_sync.report.work import held_back, last_sweeps, operations, standing, state_of_things, status, sweeps

_DECLARED = (
    *weeks.REPORTS,
    *tasks.REPORTS,
    *deals.REPORTS,
    *idle.REPORTS,
    *done.REPORTS,
    *outcomes.REPORTS,
    *slips.REPORTS,
)
REPORTS: Mapping[str, Report] = {one.name: one for one in (*_DECLARED, *trial.REPORTS)}
"""By the names of ``report``, in the order of the page."""

__all__ = [
    "ALL",
    "BEHIND",
    "REPORTS",
    "Present",
    "Report",
    "Selection",
    "behind",
    "choose",
    "deal_path",
    "deals_in_stages",
    "department",
    "employee",
    "frame",
    "held_back",
    "kept_by_person",
    "last_sweeps",
    "late",
    "late_ages",
    "load",
    "moves",
    "operations",
    "overdue",
    "search",
    "slips_by_person",
    "slips_by_rule",
    "stages",
    "stages_and_deals",
    "standing",
    "state_of_things",
    "status",
    "sweeps",
    "today",
    "week",
]
