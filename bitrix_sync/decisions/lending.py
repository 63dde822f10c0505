"""Which tasks a sweep lends to substitutes while their owners are away, and which come back. Pure.

Source: the rules language, section Away. Where it leaves a choice: only what is still to be done is lent (what awaits
acceptance waits for its supervisor), and only what its rule's own owner has: a task that a person gave to somebody is
that one's, away or not. A task of a closed deal is left where it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from bitrix_sync.model.facts import DEFERRED, MOVABLE_STATUSES, Company, Deal
from bitrix_sync.model.operations import TaskRecord
from bitrix_sync.rules.model import Rules
from bitrix_sync.rules.persons import StandIns

LENT_STATUSES = MOVABLE_STATUSES | {DEFERRED}


@dataclass(frozen=True, slots=True)
class Passing:
    """A task that goes ``to`` a substitute ``until`` its owner is back; both None: it comes back."""

    record: TaskRecord
    to: int | None = None
    until: datetime | None = None


def passings(
    records: Iterable[TaskRecord],
    *,
    rules: Rules,
    company: Company,
    deals: Mapping[int, Deal],
    standing: StandIns,
    moment: datetime,
) -> list[Passing]:
    """What a sweep at that moment lends and gives back, by task. Nothing goes to and fro within one day."""
    today = rules.calendar.local(moment).date()
    presence, found = standing.presence, list[Passing]()
    for record in records:
        if not record.workable or record.status not in LENT_STATUSES or not record.rule_id:
            continue
        if record.lent_at is not None and rules.calendar.local(record.lent_at).date() == today:
            continue
        if record.lent:
            if presence.away_all_day(record.lent_from or 0, today) is None:
                found.append(Passing(record))
            continue
        rule = rules.by_id.get(record.rule_id)
        until = presence.away_all_day(record.owner_id, today)
        deal = deals.get(record.deal_id)
        if rule is None or rule.away != "substitute" or until is None or deal is None or deal.closed:
            continue
        due = record.deadline is not None and record.deadline < until
        if not due or record.owner_id != record.owner_sent or not company.active(record.owner_id):
            continue
        to = standing.instead_of(record.owner_id, company, moment)
        if to is not None:
            found.append(Passing(record, to, until))
    return sorted(found, key=lambda one: one.record.portal_id or 0)
