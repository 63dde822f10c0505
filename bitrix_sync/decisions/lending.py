"""Which tasks a sweep lends to substitutes while their owners are away, and which come back. Pure.

Source: the rules language, section Away. Where it leaves a choice: only what is still to be done is lent (what awaits
acceptance waits for its supervisor), and only what its rule's own owner has: a task that a person gave to somebody is
that one's, away or not. A task of a closed deal is left where it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime

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
    today, presence = rules.calendar.local(moment).date(), standing.presence

    def passing(record: TaskRecord) -> Passing | None:
        if record.lent:
            back = presence.away_all_day(record.lent_from or 0, today) is None
            return Passing(record) if back else None
        until = presence.away_all_day(record.owner_id, today)
        if until is None or not is_lendable(record, until, rules, company, deals.get(record.deal_id)):
            return None
        to = standing.instead_of(record.owner_id, company, moment)
        return None if to is None else Passing(record, to, until)

    found = [passing(record) for record in records if may_change_hands(record, today, rules)]
    return sorted((one for one in found if one is not None), key=lambda one: one.record.portal_id or 0)


def may_change_hands(record: TaskRecord, today: date, rules: Rules) -> bool:
    """True for a rule's task that is still to be done, and that nobody has passed on today."""
    if not (record.workable and record.rule_id and record.status in LENT_STATUSES):
        return False
    return record.lent_at is None or rules.calendar.local(record.lent_at).date() != today


def is_lendable(record: TaskRecord, until: datetime, rules: Rules, company: Company, deal: Deal | None) -> bool:
    """True for a task that its rule has a substitute do while its own owner is away: due before they are back, of a
    deal that goes on."""
    rule = rules.by_id.get(record.rule_id)
    if rule is None or rule.away != "substitute" or deal is None or deal.closed:
        return False
    due = record.deadline is not None and record.deadline < until
    return due and record.owner_id == record.owner_sent and company.active(record.owner_id)
