"""Small things that the service remembers of itself, each with its type and what it is before it was ever set.

``store.flags.paused`` reads one in a transaction of its own, ``store.flags.paused = True`` writes it;
``Flags.paused.read(connection)`` reads it inside the caller's. This is the one place that knows them by name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Generic, TypeVar, overload

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection, delete, select

from bitrix_sync.model.facts import Directory
from bitrix_sync.model.known import KeptRules
from bitrix_sync.store.database import upsert
from bitrix_sync.store.schema import settings

T = TypeVar("T")
Transaction = Callable[[], AbstractContextManager[Connection]]


@dataclass(frozen=True, slots=True)
class QueueRest:
    """So many operations wait, until then at the portal's present pace (None: nobody can say)."""

    operations: int
    until: datetime | None


@dataclass(frozen=True, slots=True)
class SweepRest:
    """So many moves of a sweep (its slot) are on their way, until then."""

    sweep: str
    remaining: int
    until: datetime


@dataclass(frozen=True, slots=True)
class LookedAt:
    """Deals in these stages are looked at by their numbers, up to this one so far."""

    stages: frozenset[str]
    last: int = 0


@dataclass(frozen=True, slots=True)
class LearnedRooms:
    """How many tasks a day people can do, as counted on that day."""

    day: date
    rooms: Mapping[int, int]


class Flag(Generic[T]):
    """One of them: ``kind`` is its type without None; ``row`` its name in the table, if another than here.

    Text, numbers and moments stand there as they are, all else as JSON. What another version has written in a form
    that nobody reads any more counts as never set.
    """

    def __init__(self, kind: Any, default: T, *, row: str = "") -> None:
        self._default, self._row = default, row
        self._plain = kind in (bool, float, str, date, datetime)
        self._adapter: TypeAdapter[T] = TypeAdapter(kind)

    def __set_name__(self, owner: type[Flags], name: str) -> None:
        self._row = self._row or name

    @overload
    def __get__(self, flags: None, owner: type[Flags]) -> Flag[T]: ...
    @overload
    def __get__(self, flags: Flags, owner: type[Flags]) -> T: ...
    def __get__(self, flags: Flags | None, owner: type[Flags]) -> T | Flag[T]:
        if flags is None:
            return self
        with flags.reading() as connection:
            return self.read(connection)

    def __set__(self, flags: Flags, value: T) -> None:
        with flags.writing() as connection:
            self.write(connection, value)

    def read(self, connection: Connection) -> T:
        """Its value inside the caller's transaction."""
        kept = connection.execute(select(settings.c.value).where(settings.c.name == self._row)).scalar()
        if not kept:
            return self._default
        try:
            return self._adapter.validate_python(kept) if self._plain else self._adapter.validate_json(kept)
        except ValidationError:
            return self._default

    def write(self, connection: Connection, value: T) -> None:
        """Keeps a value inside the caller's transaction; the default is not kept."""
        if value == self._default:
            connection.execute(delete(settings).where(settings.c.name == self._row))
            return
        said = self._adapter.dump_python(value, mode="json")
        text = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)
        upsert(connection, settings, [{"name": self._row, "value": text}])


class Flags:
    """All of them."""

    paused = Flag[bool](bool, default=False)
    paused_since = Flag[datetime | None](datetime, default=None)
    """When the pause began (our clock); None while there is none, or one that 0.1 began."""
    watch = Flag[bool](bool, default=False)
    """Whether the rules in force say ``watch: true``."""
    trouble = Flag[str](str, default="")
    """What is in the way of the running service."""
    last_pass = Flag[datetime | None](datetime, default=None)
    """When the last pass ended (our clock)."""
    rechecked = Flag[date | None](date, default=None, row="audited")
    """The day of the last recheck; 0.1 gave the row its name."""
    last_backup = Flag[datetime | None](datetime, default=None)
    """When a copy of the store was last made (our clock)."""
    rest = Flag[QueueRest | None](QueueRest, default=None)
    sweep_rest = Flag[SweepRest | None](SweepRest, default=None)
    sweeps_since = Flag[Mapping[str, datetime]](dict[str, datetime], default={})
    """When the file first had each of its sweeps."""
    closed_since = Flag[datetime | None](datetime, default=None)
    """Since when closed tasks are known (the portal's time); None: they were never read."""
    rooms = Flag[LearnedRooms | None](LearnedRooms, default=None)
    """What was learned last of how many tasks people do a day."""
    steps_scope = Flag[frozenset[str]](frozenset[str], default=frozenset())
    """Stages of whose deals all that is planned is known."""
    steps_looked = Flag[LookedAt | None](LookedAt, default=None)
    """How far their deals have been looked at, while that goes on."""
    let_go = Flag[datetime | None](datetime, default=None)
    """When a pause or a hold ended."""

    rules_digest = Flag[str | None](str, default=None)
    """Of the rules in force."""
    rules_error = Flag[str](str, default="")
    """Why the file as it is was refused; a problem a line."""
    rules_off = Flag[Mapping[str, str]](dict[str, str], default={})
    """Rules that cannot act, and why."""
    rules_kept = Flag[KeptRules | None](KeptRules, default=None)
    """The last good file."""
    rules_off_told = Flag[Mapping[str, str]](dict[str, str], default={})
    rules_refused_told = Flag[str](str, default="")
    refused_tried = Flag[str | None](str, default=None)
    """Digest of the rules with which refusals were tried last."""

    known = Flag[Directory | None](Directory, default=None)
    """The portal as known last, which stands in for what a reading does not bring."""
    known_at = Flag[datetime | None](datetime, default=None)
    """When all of it was read last (the portal's time)."""
    snapshot = Flag[str](str, default="", row="directory")
    """What reports know of the portal and the rules, packed by them."""
    unread = Flag[Mapping[str, str]](dict[str, str], default={})
    """Parts of the portal that the last reading did not bring, and why."""
    bad_rows = Flag[Mapping[str, int]](dict[str, int], default={})
    """Rows of the portal that cannot be read, counted by cause."""
    vanished = Flag[datetime | None](datetime, default=None)
    """When so much had vanished at once that nobody believed it."""
    vanished_believed = Flag[datetime | None](datetime, default=None)
    """The same, once an administrator has said that people deleted it."""
    sees_no_deals = Flag[datetime | None](datetime, default=None)
    """When a first start saw no deal at all; None since some were seen."""
    clock_offset = Flag[float](float, default=0.0)
    """Seconds by which the portal's clock is ahead of ours."""
    portal_host = Flag[str | None](str, default=None)
    """Whose portal the store's is."""
    identified = Flag[datetime | None](datetime, default=None)
    """When a worker of many portals last asked whether it is that one still."""
    portal_member = Flag[str | None](str, default=None)
    """The member id of that portal, which its events tell."""
    portal_member_heard = Flag[str | None](str, default=None)
    """Another member id that an event told last."""

    clock_origin = Flag[str](str, default="")
    """The boot of the machine and the origin of the last holder's clock in epoch seconds."""
    page_secret = Flag[str | None](str, default=None)
    """Salt of the page's keys."""

    def __init__(self, reading: Transaction, writing: Transaction) -> None:
        """How a transaction of the store begins."""
        self.reading, self.writing = reading, writing
