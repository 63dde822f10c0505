"""What a manager sees: reports over the store, for the command line and the page.

Every function reads the store alone, in one transaction, and gives plain rows: dicts with stable keys (those of
``report --json``), moments as aware datetimes on the clocks of the file's zone. ``now`` is our own clock; the portal's
is what counts, and the store knows how far it is ahead.

Source: standards 4 to 6 (who owns a task, by when, who controls it, how it was done).
"""

from bitrix_sync.report.deals import deal_path, deals_in_stages, search, stages
from bitrix_sync.report.scene import frame
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

__all__ = [
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
    "search",
    "slips_by_person",
    "slips_by_rule",
    "stages",
    "standing",
    "state_of_things",
    "sweeps",
    "today",
]
