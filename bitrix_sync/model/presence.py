"""Who is there on a day: absences against working hours. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date, datetime

from bitrix_sync.model.facts import Absence
from bitrix_sync.model.worktime import Calendar


class Presence:
    """What is known of people's absences. ``calendar``: whose working hours are meant."""

    def __init__(self, absences: Iterable[Absence], calendar: Calendar) -> None:
        self._calendar = calendar
        found: dict[int, list[Absence]] = defaultdict(list)
        for one in sorted(absences, key=lambda absence: absence.start):
            found[one.user_id].append(one)
        self._absences: Mapping[int, list[Absence]] = found

    def away_at(self, user: int, moment: datetime) -> datetime | None:
        """The end of the absence that holds a moment, with those that follow it without a gap; None: they are there."""
        end = None
        for one in self._absences.get(user, ()):
            if one.start <= (end or moment) and (end or moment) < one.end:
                end = one.end
        return end

    def away_all_day(self, user: int, day: date) -> datetime | None:
        """The end of the absence in which all of that day's working hours lie; None: they are there for a part of
        them, or it is a day off."""
        end = None
        for opens, closes in self._calendar.spans(day) if user in self._absences else ():
            until = self.away_at(user, self._calendar.moment(day, opens))
            if until is None or until < self._calendar.moment(day, closes):
                return None
            end = until
        return end

    def away_on(self, user: int, moment: datetime) -> datetime | None:
        """The end of the absence that holds a deadline, or all working hours of its day; None: they are there."""
        if user not in self._absences:
            return None
        return self.away_at(user, moment) or self.away_all_day(user, self._calendar.local(moment).date())
