"""What changed in the portal since a cursor: its stage history, deals and tasks, in one request when little did.

The same reading may travel in a batch of writes (``News.opening``, ``News.receive``), so that it costs no request of
its own; ``News.finish`` then reads what is left, or all of it if nothing came.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog

from bitrix_sync.model.facts import Activity, Changes, Company, Cursor, Deal, Reached, Unread, Visit
from bitrix_sync.model.items import Item, ItemKind
from bitrix_sync.model.known import with_absences
from bitrix_sync.model.reading import OVERLAP, WHOLE, Reading
from bitrix_sync.portal import activities
from bitrix_sync.portal.client import Portal
from bitrix_sync.portal.dialect import parsing
from bitrix_sync.portal.dialect.commands import Command
from bitrix_sync.portal.dialect.outcomes import Outcome
from bitrix_sync.portal.dialect.parsing import Row
from bitrix_sync.portal.directory import absence_commands, absences_of, company_commands, company_of
from bitrix_sync.portal.paging import Lists, Source
from bitrix_sync.portal.sources import (
    deal_parser,
    deals_source,
    facts,
    filter_time,
    history_source,
    second,
    task_parser,
    tasks_source,
    visit_parser,
)

log = structlog.get_logger(__name__)

HISTORY_RESTS, CHANGE_RESTS = timedelta(minutes=50), timedelta(seconds=10)
"""How far the cursor stays behind the time of a whole reading: rows of the history may become visible so late, and the
overlap; of deals and tasks whose change was missed the overlap, the next change or the recheck tells."""
AHEAD, BACK = timedelta(minutes=1), timedelta(hours=1)
"""A cursor so far ahead of the portal's time was set by a clock that was wrong: it goes back so much, and the overlap,
before that time, for what was changed meanwhile was not read."""
CROWD = 50
"""More deals or tasks changed in one second are not read again for what else that second may bring, but by the overlap:
moves of deals are in the history, which goes by ids."""
LATE = timedelta(minutes=1)
"""Nearly all rows of the history that become visible late are there by then: so much is read again more often."""
WAITS_FOR_ROW = 24 * 3600.0
"""Seconds for which the time of the cursor waits for a row of the history that cannot be read; the others go on. The
recheck, which reads two days, looks for it once more."""
NARROW, NARROW_LATE, WIDE = "narrow.", "late.", "wide."
"""Begin the names under which is remembered how many pages a reading without, with little and with overlap had."""


@dataclass(frozen=True, slots=True)
class Since:
    """From when on one kind of items is read. ``newest``: the id of the newest row of its history seen."""

    kind: ItemKind
    reached: Reached
    newest: int
    history: datetime
    items: datetime

    @classmethod
    def of(cls, kind: ItemKind, reached: Reached, wanted: Reading) -> Since:
        """By how far it was read, and what is read again."""
        back = wanted.overlap or timedelta()
        history = reached.history_time - back
        if wanted.overlap is None:  # a whole reading has passed since, so a burst before it need not be read again
            history = max(reached.history_time, reached.deals_time) - LATE
        return cls(kind, reached, Item.of(reached.history_id).id, history, reached.deals_time - back)


class ChangeReader:
    """One reading of everything recorded after the cursor, and once more of what is ``wanted`` of the time before it.

    ``fields``: codes of the deal's fields to read. The new cursor holds the newest id and times seen, never older ones
    than before nor one from the future; what was seen whole and is long past moves it on too, so that a burst is not
    read again for ever. The future begins at the earlier of the portal's times before and after the reading: one answer
    with a wrong time moves nothing. ``people``: the company as last read, to be read again in the same request, with
    its absences between the moments of ``away``.
    """

    def __init__(
        self,
        portal: Portal,
        cursor: Cursor,
        *,
        fields: frozenset[str],
        wanted: Reading = WHOLE,
        people: Company | None = None,
        away: tuple[datetime, datetime] | None = None,
    ) -> None:
        self._portal, self._cursor, self._fields = portal, cursor, fields
        self._by_id = wanted.overlap is None and not wanted.late
        self._wide = wanted.overlap is not None
        self._since = [Since.of(kind, cursor.kinds[kind.name], wanted) for kind in cursor.read]
        self._tasks_from = cursor.tasks_time - (wanted.overlap or timedelta())
        self._people, self._away = people, away
        self._employed = [user.id for user in people.users.values() if user.active] if people and away else []
        self._seen_whole = portal.now() if portal.clock_known else None
        self._lists = Lists(portal, self._sources(wanted))
        self._travels, self._brought = 0, list[Outcome]()
        begun = cursor.activities_time
        self._activities_from = None if begun is None else second(begun - (wanted.overlap or timedelta()))

    def _sources(self, wanted: Reading) -> list[Source]:
        name = WIDE if wanted.overlap is not None else NARROW_LATE if wanted.late else NARROW
        portal, found, moment = self._portal, list[Source](), partial(filter_time, self._portal)
        for since in self._since:
            kind = since.kind
            of_kind = kind.apart(".")
            newer = {">ID": since.newest} if self._by_id else {">=CREATED_TIME": moment(since.history)}
            changed = {">=updatedTime": moment(since.items)}
            if kind.has_history:
                found.append(history_source(newer, f"{name}history{of_kind}", kind))
            found.append(deals_source(portal, changed, self._fields, f"{name}deals{of_kind}", kind=kind))
        changed = {">=CHANGED_DATE": moment(self._tasks_from)}
        return [*found, tasks_source(changed, f"{name}tasks", growing=True)]

    def size(self, most: int) -> int:
        """How many commands the ``opening`` has if there is room for ``most``."""
        return min(most, self._lists.size(most) + len(self._ahead()))

    def opening(self, place: int, room: int) -> list[Command]:
        """The first pages, to be sent as the last commands of a batch, the first of them as its command ``k<place>``;
        none if there is no room for them."""
        ahead = [] if self._portal.rate_limiter.resting_until(activities.METHOD) is not None else self._ahead()
        found = self._lists.opening(place, room - len(ahead))
        self._travels = len(ahead) if found else 0
        return [*found, *ahead] if found else []

    def receive(self, outcomes: Sequence[Outcome]) -> None:
        """What became of the ``opening``; called once, or never."""
        through = len(outcomes) - self._travels
        self._lists.receive(outcomes[:through])
        self._brought = list(outcomes[through:])

    def _ahead(self) -> list[Command]:
        """What is asked for of activities, if they are read."""
        return [] if self._activities_from is None else [activities.command(self._bound(), {"ID": "ASC"}, -1)]

    def finish(self) -> Changes:
        """Read what has not been read yet. Raises PortalError and PortalRefused as ``Portal.read`` does."""
        portal, cursor = self._portal, self._cursor
        begun = portal.stats.requests
        staff = [] if self._people is None else company_commands(self._people)
        absent = absence_commands(self._employed, *self._away) if self._away and self._employed else []
        ahead = [] if self._brought else self._ahead()
        (*rows, task_rows), beside = self._lists.finish([*ahead, *staff, *absent])
        planned, beside = self._planned(self._brought or beside[: len(ahead)]), beside[len(ahead) :]
        parsed, lists = portal.clock(), iter(rows)
        visits, deals, kinds = list[Visit](), list[Deal](), dict(cursor.kinds)
        read = [(since, next(lists) if since.kind.has_history else [], next(lists)) for since in self._since]
        of_kinds = [(since, self._visits(since, history), self._deals(since, items)) for since, history, items in read]
        if self._wide:
            portal.memory.bad.forget_unmet("visit", parsed)
        for since, entered, changed in of_kinds:
            visits += entered
            deals += changed
            kinds[since.kind.name] = self._reached(since.reached, entered, changed)
        touched_since = second(self._tasks_from)
        tasks = facts(
            task_rows, task_parser(portal), lambda task: task.changed is None or task.changed >= touched_since
        )
        return Changes(
            visits=tuple(visits),
            deals=tuple(deals),
            tasks=tuple(tasks),
            activities=planned,
            activities_since=self._activities_from,
            cursor=Cursor(
                kinds,
                self._after(cursor.tasks_time, [task.changed for task in tasks if task.changed]),
                self._activities_time(planned),
            ),
            company=self._company(beside[: len(staff)], beside[len(staff) :]),
            requests=portal.stats.requests - begun,
        )

    def _bound(self) -> dict[str, Any]:
        """Which activities have changed."""
        since = filter_time(self._portal, self._activities_from) if self._activities_from else ""
        return {"BINDINGS": activities.OF_DEALS, ">=LAST_UPDATED": since}

    def _planned(self, beside: Sequence[Outcome]) -> tuple[Activity, ...] | None:
        """What has changed of activities; None: that was not read, and will be the next time."""
        if not beside:
            return None
        (outcome,) = beside
        rows = parsing.rows(outcome.value, "") if outcome.done else self._portal.as_unread(activities.METHOD, outcome)
        if not isinstance(rows, Unread):
            rows = activities.rest_of_page(self._portal, self._bound(), rows)
        if isinstance(rows, Unread):
            log.warning("activities could not be read; those known last stay", problem=rows.why)
            return None
        return tuple(one for one in activities.parsed(self._portal, rows))

    def _activities_time(self, read: Sequence[Activity] | None) -> datetime | None:
        before = self._cursor.activities_time
        return before if before is None or read is None else self._after(before, [one.changed for one in read])

    def _visits(self, since: Since, rows: Iterable[Row]) -> list[Visit]:
        entered_since = second(since.history)

        def is_new(visit: Visit) -> bool:
            return visit.id > since.reached.history_id if self._by_id else visit.entered >= entered_since

        return facts(rows, visit_parser(self._portal, since.kind), is_new)

    def _deals(self, since: Since, rows: Iterable[Row]) -> list[Deal]:
        changed_since = second(since.items)
        parse = deal_parser(self._portal, self._fields, since.kind)
        return facts(rows, parse, lambda deal: deal.changed >= changed_since)

    def _reached(self, before: Reached, visits: Sequence[Visit], deals: Sequence[Deal]) -> Reached:
        entered = (visit.entered for visit in visits)
        return Reached(
            history_id=max([before.history_id, *(visit.id for visit in visits)]),
            history_time=before.history_time
            if self._waits()
            else self._newest(before.history_time, entered, HISTORY_RESTS),
            deals_time=self._after(before.deals_time, [deal.changed for deal in deals]),
        )

    def _waits(self) -> bool:
        """True while a row of the history cannot be read: all since then is read again with the overlap, until it
        can be or has been waited for long enough."""
        long_ago = self._portal.clock() - WAITS_FOR_ROW
        return any(since > long_ago for since in self._portal.memory.bad.since("visit"))

    def _newest(self, before: datetime, seen: Iterable[datetime], rest: timedelta) -> datetime:
        now, passed = self._portal.now(), list[datetime]()
        if self._seen_whole is not None:
            now = min(now, self._seen_whole)
            passed.append(now - rest)
        if before > now + AHEAD:
            before = now - BACK - OVERLAP
        return max([before, *passed, *(moment for moment in seen if moment <= now)])

    def _after(self, before: datetime, changed: Sequence[datetime]) -> datetime:
        newest = self._newest(before, changed, CHANGE_RESTS)
        crowded = sum(second(moment) == second(newest) for moment in changed) > CROWD
        return second(newest) + timedelta(seconds=1) if crowded else newest

    def _company(self, staff: Sequence[Outcome], absent: Sequence[Outcome]) -> Company | None:
        if self._people is None or not staff:
            return None
        company = company_of(self._portal, self._people, staff)
        if company is None or self._away is None:
            return company
        return with_absences(company, absences_of(self._portal, self._employed, *self._away, absent))
