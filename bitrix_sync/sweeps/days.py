"""What a sweep knows of people's days: who is away, how many tasks a day they can do, what they closed, what their
deals are worth."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import structlog

from bitrix_sync.decisions import placing
from bitrix_sync.decisions.overdue import Days, OverdueTask, taken
from bitrix_sync.engine.passes import Gathered, ServiceContext, notices_of_tasks, observe_tasks
from bitrix_sync.engine.rulebook import ABSENCES_AHEAD
from bitrix_sync.errors import PortalError, PortalRefused
from bitrix_sync.model.facts import Absence, Absent, Changes, Company, Deal
from bitrix_sync.model.money import worth
from bitrix_sync.model.operations import Changeset, TaskRecord
from bitrix_sync.model.presence import Presence
from bitrix_sync.portal import reading
from bitrix_sync.rules.model import Rules
from bitrix_sync.store import LearnedRooms, Store

log = structlog.get_logger(__name__)

LOOK_BACK = timedelta(days=31)
"""How far back absences are read: what fell due in one is not held against its owner."""


def days_of(context: ServiceContext, deals: Mapping[int, Deal], moment: datetime, *, again: bool = False) -> Days:
    """What is known at the sweep's moment. ``again``: it is run once more, so what was taken back is moved again."""
    rules, book = context.rulebook.rules, context.rulebook
    known = absences(context, moment)
    presence = Presence(known, rules.calendar)
    return Days(
        presence,
        known,
        room=rooms(context.store, rules, book.company, presence, moment),
        closed=closed_today(context.store, rules, book.company, moment),
        amounts=amounts(deals.values(), book.directory.currencies),
        undone={} if again else context.store.undone_since(moment - LOOK_BACK),
    )


# --- absences --------------------------------------------------------------------------------------------------------


def absences(context: ServiceContext, moment: datetime) -> tuple[Absence, ...]:
    """Absences of all employees around a moment, read now; those known last where they cannot be read; none where the
    portal or the webhook has none."""
    ids = sorted(user.id for user in context.rulebook.company.users.values() if user.active)
    try:
        read = reading.absences(context.portal, ids, moment - LOOK_BACK, moment + ABSENCES_AHEAD)
    except PortalRefused:
        raise
    except PortalError as fault:
        log.warning("absences could not be read; those known last stay", problem=str(fault))
        return context.store.known_absences(after=moment - LOOK_BACK)
    if isinstance(read, Absent):
        return ()
    if not isinstance(read, tuple):
        log.warning("absences could not be read; those known last stay", problem=read.why)
        return context.store.known_absences(after=moment - LOOK_BACK)
    now = context.portal.now()
    context.store.note_absences([one for one in read if one.end > now], now)
    return read


# --- room ------------------------------------------------------------------------------------------------------------


def rooms(store: Store, rules: Rules, company: Company, presence: Presence, moment: datetime) -> dict[int, int | None]:
    """How many tasks a day everybody can do; what is learned is counted once a day."""
    learned = learned_rooms(store, rules, company, presence, moment) if rules.room.learns else {}
    found: dict[int, int | None] = {}
    for user in company.users:
        size = rules.room.of(user)
        found[user] = learned.get(user, placing.UNLEARNED) if size == "learned" else size
    return found


def learned_rooms(
    store: Store, rules: Rules, company: Company, presence: Presence, moment: datetime
) -> Mapping[int, int]:
    """What was learned today; counted now if it was not yet."""
    today = rules.calendar.local(moment).date()
    kept = store.flags.rooms
    if kept is not None and kept.day == today:
        return kept.rooms
    counted = placing.learned(
        closed_by_day(store, rules, company, today - placing.LEARNED_WITHIN),
        departments={user.id: user.departments[0] for user in company.users.values() if user.departments},
        presence=presence,
        calendar=rules.calendar,
        today=today,
    )
    store.flags.rooms = LearnedRooms(today, counted)
    return counted


def closed_by_day(store: Store, rules: Rules, company: Company, since: date) -> dict[int, Counter[date]]:
    """How many of everybody's tasks people closed on each civil day."""
    found: dict[int, Counter[date]] = defaultdict(Counter)
    begin = rules.calendar.moment(since, time(0))
    for owner, closed in store.closings(since=begin, self_id=company.self_id):
        found[owner][rules.calendar.local(closed).date()] += 1
    return found


def closed_today(store: Store, rules: Rules, company: Company, moment: datetime) -> dict[int, int]:
    """How many of everybody's tasks people closed on the day of a moment."""
    today = rules.calendar.local(moment).date()
    return {owner: days[today] for owner, days in closed_by_day(store, rules, company, today).items() if days[today]}


def read_past(context: ServiceContext) -> None:
    """Once, if room is to be learned: the tasks that were closed in the time from which it is. From then on every pass
    brings those that are closed."""
    if not context.rulebook.rules.room.learns or context.store.flags.closed_since is not None:
        return
    now = context.portal.now()
    since = now - placing.LEARNED_WITHIN
    facts = Gathered(now, Changes(tasks=tuple(reading.closed_tasks(context.portal, since))))
    observe_tasks(context, facts)
    recording = Changeset(
        at=now,
        tasks=tuple(facts.tasks.values()),
        slips=tuple(facts.slips),
        operations=notices_of_tasks(context, facts),
    )
    context.store.record(recording, context.sender.epoch)
    context.store.flags.closed_since, context.store.flags.rooms = since.astimezone(UTC), None
    log.info("closed tasks read", tasks=len(facts.tasks), since=since.isoformat())


# --- the load of days ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Load:
    """How many tasks of a person are due on each day before a sweep and after it."""

    before: Mapping[date, int]
    after: Mapping[date, int]


def loads(
    tasks: Iterable[TaskRecord], late: Iterable[OverdueTask], days: Days, rules: Rules, moment: datetime
) -> dict[int, Load]:
    """The load of everybody whose tasks a sweep moves, from its own day on."""
    today, tasks = rules.calendar.local(moment).date(), list(tasks)
    places = {one.record.ref: one.place.deadline for one in late if one.place is not None}
    owners = {one.record.owner_id for one in late if one.place is not None}
    before = taken(tasks, days, rules.calendar, moment)
    moved = (replace(one, deadline=places.get(one.ref, one.deadline)) for one in tasks)
    then = taken(moved, days, rules.calendar, moment)

    def ahead(counts: Mapping[date, int]) -> dict[date, int]:
        return {day: count for day, count in sorted(counts.items()) if day >= today}

    return {owner: Load(ahead(before[owner]), ahead(then[owner])) for owner in sorted(owners)}


# --- money -----------------------------------------------------------------------------------------------------------


def amounts(deals: Iterable[Deal], currencies: Mapping[str, Decimal]) -> dict[int, Decimal]:
    """What deals are worth in the account's currency, of those of which that can be said."""
    return {deal.id: amount for deal in deals if (amount := worth(deal.fields, currencies)) is not None}
