"""One look at the store: its rows, the names that belong to them, the portal's time in the file's zone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal

from sqlalchemy import Connection

from bitrix_sync.report.snapshot import Snapshot, unpack
from bitrix_sync.store import Flags, Store
from bitrix_sync.words import texts


@dataclass(frozen=True, slots=True)
class ReportContext:
    """One look at the store. ``now`` is the portal's time, aware, in the file's zone."""

    connection: Connection
    known: Snapshot
    now: datetime

    @property
    def today(self) -> date:
        """The civil day of the file's zone."""
        return self.now.date()

    def local(self, moment: datetime | None) -> datetime | None:
        """On the clocks of the file's zone."""
        return None if moment is None else self.known.calendar.local(moment)

    def midnight(self, day: date) -> datetime:
        """When the day begins."""
        return self.known.calendar.moment(day, time(0))

    def name(self, user_id: int | None) -> str:
        """A person's name, "" for nobody."""
        return self.known.company.name(user_id) if user_id else ""

    def marked_name(self, user_id: int | None) -> str:
        """A person's name for people: who does not work here any more is marked."""
        return texts.person_text(self.known.language, self.known.company, user_id) if user_id else ""

    def departments(self, user_id: int) -> list[int]:
        """All departments of the person that are known."""
        user = self.known.company.users.get(user_id)
        return [one for one in dict.fromkeys(user.departments if user else ()) if one in self.known.company.departments]

    def money(self, amount: Decimal | None) -> float | int | None:
        """An amount in the account's currency, for programs; None while that is not known."""
        if amount is None or not self.known.currency:
            return None
        rounded = round(amount, 2)
        return int(rounded) if rounded == int(rounded) else float(rounded)

    def department(self, user_id: int) -> tuple[int, str]:
        """The first department of the person that is known: its id (0: none) and name."""
        user, departments = self.known.company.users.get(user_id), self.known.company.departments
        found = next((one for one in (user.departments if user else ()) if one in departments), 0)
        return found, departments[found].name if found else ""


@contextmanager
def scene(store: Store, now: datetime) -> Iterator[ReportContext]:
    """A consistent look at the store."""
    with store.reading() as connection:
        known = unpack(Flags.snapshot.read(connection))
        ahead = timedelta(seconds=Flags.clock_offset.read(connection))
        yield ReportContext(connection, known, known.calendar.local(now + ahead))


def frame(store: Store) -> Snapshot:
    """The names and the frame that reports stand in: language, portal, funnels, the rules in words."""
    return unpack(store.flags.snapshot)


def iso(moment: datetime | None) -> str | None:
    """A moment as text, for programs."""
    return None if moment is None else moment.isoformat()


def hours_of(span: timedelta | None) -> float | None:
    """A span as hours by the clock, for programs."""
    return None if span is None else round(span.total_seconds() / 3600, 2)
