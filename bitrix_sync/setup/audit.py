"""``audit``: the portal against the standards, without rules and without a store; nothing is written anywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

from bitrix_sync.decisions import scoring
from bitrix_sync.model.facts import OPEN_STATUSES, Company, Unread
from bitrix_sync.model.items import DEAL
from bitrix_sync.portal import activities, reading
from bitrix_sync.portal.client import Portal
from bitrix_sync.portal.dialect.commands import BATCH_LIMIT, Command
from bitrix_sync.portal.paging import PAGE
from bitrix_sync.rules.hours import portal_calendar
from bitrix_sync.settings import Settings
from bitrix_sync.words.language import Language

DIRECTORY_REQUESTS = 6
"""About so many before anything is counted."""
JUDGED_BY = ("users", "departments")


@dataclass(frozen=True, slots=True)
class Audit:
    """What was found. ``unread``: what could not be read, and why."""

    company: Company
    scores: list[scoring.Score]
    missing: list[scoring.Missing]
    unread: dict[str, str]

    def rows(self) -> list[dict[str, Any]]:
        """The scores for programs."""
        return [
            {"scope": one.scope, "id": one.id, "name": scoring.name_of(self.company, one.scope, one.id)}
            | {key: value for key, value in asdict(one).items() if key not in ("scope", "id")}
            for one in self.scores
        ]

    def details(self) -> list[dict[str, Any]]:
        """What stands behind each missing point, for programs."""
        return [
            {
                "standard": one.standard,
                "deal_id": one.deal_id or None,
                "task_id": one.task_id or None,
                "person_id": one.person_id,
                "why": one.why.value,
            }
            for one in self.missing
        ]


def audit(settings: Settings, language: Language, progress: Callable[[int, int], None]) -> Audit:
    """Read the portal and judge it. ``progress``: requests made, and about how many there will be. Raises PortalError
    and PortalRefused when deals or tasks cannot be read at all."""
    expected = [DIRECTORY_REQUESTS]
    portal = Portal(
        settings.webhook_url.get_secret_value(),
        rate=settings.rate,
        ca_file=settings.ca_file,
        on_answer=lambda: progress(min(portal.stats.requests, expected[0] - 1), expected[0]),
    )
    try:
        directory = reading.directory(portal, language=language)
        expected[0] += _expected(portal)
        deals = reading.open_deals(portal, fields=frozenset())
        tasks, planned = reading.open_tasks(portal), activities.planned(portal)
        company = directory.company
        world = scoring.Audited(
            deals,
            tasks,
            None if isinstance(planned, Unread) else {deal for one in planned for deal in one.deals},
            company,
            portal_calendar(directory),
            portal.now(),
        )
        scores, missing = scoring.audit(world)
        progress(expected[0], expected[0])
        return Audit(company, scores, missing, _unread(company, planned))
    finally:
        portal.close()


def _unread(company: Company, planned: object) -> dict[str, str]:
    """What could not be read, and why."""
    found = {"activities": planned.why} if isinstance(planned, Unread) else {}
    found |= {part: end.why for part, end in company.unread.items() if part in company.missing and part in JUDGED_BY}
    return found | {part: end.why for part, end in company.without.items() if part in JUDGED_BY}


def _expected(portal: Portal) -> int:
    """About how many requests the lists will take, by what the portal counts."""
    commands = (
        Command(
            "crm.item.list", {"entityTypeId": DEAL.entity_type, "select": ["id"], "filter": dict(DEAL.in_progress)}
        ),
        Command("tasks.task.list", {"select": ["ID"], "filter": {"REAL_STATUS": sorted(OPEN_STATUSES)}}),
        Command(activities.METHOD, {"select": ["ID"], "filter": {"BINDINGS": activities.OF_DEALS, "COMPLETED": "N"}}),
    )
    totals = [one.total or 0 for one in portal.read(commands, optional=True)]
    return len(totals) + sum(ceil(total / PAGE / BATCH_LIMIT) for total in totals)
