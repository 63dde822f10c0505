"""Names that last for ever: of occurrences, tasks, sweeps, operations, what was told, moments. Pure.

They stand in the store and, as marks, in the portal, so their text never changes. Nobody else writes one or takes one
apart. ``Occurrence`` and ``SlotId`` name things; a ``Key`` says what an operation or a message is for, and of what.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from bitrix_sync.model.items import Item

MARK = "bitrix-sync:"
"""Begins XML_ID of every task that the service makes."""
LINE = "line"
"""First word of the keys of lines in a task's comments."""
FOREIGN = "task:"
"""Begins the ref of a task that no rule made."""
_VISIT = r"((?:[A-Z][A-Z0-9_]*\.)?[0-9]+)"
_OCCURRENCE = re.compile(r"([^:]+):([^:]+)(?::([1-9][0-9]{0,8}))?")
_SLOT = re.compile(r"(\d{4}-\d\d-\d\d)/(\w+)(?:/(\d{1,9}))?")
_NAMED = re.compile(rf"(?:^|:)(?:create|advance|brake|nobody|stuck|idle|twins):{_VISIT}(?::|$)")
"""The visit in a key that names no task of ours, or in what was told."""
_ENTERED = re.compile(rf"^(?:leave|close|resume|line:taken):.+:{_VISIT}$")
"""The visit whose beginning was the reason for a change of a task of another visit."""


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One task of a rule on a visit: ``9031:first-call``, from the second ``again`` on ``9031:first-call:2``; of
    another kind of items ``LEAD.9031:first-call``."""

    visit: int
    rule: str
    number: int = 1

    def __str__(self) -> str:
        visit = Item.of(self.visit)
        return f"{visit}:{self.rule}" if self.number == 1 else f"{visit}:{self.rule}:{self.number}"

    @classmethod
    def parse(cls, text: str) -> Occurrence | None:
        """The occurrence of that name; None for any other text, also for a kind of items that nobody knows."""
        found = _OCCURRENCE.fullmatch(text)
        visit = None if found is None else Item.parse(found[1])
        return None if found is None or visit is None else cls(visit.number, found[2], int(found[3] or 1))


def mark_of(occurrence: str) -> str:
    """XML_ID of the task that is made for the occurrence."""
    return MARK + occurrence


def occurrence_in(mark: str | None) -> str:
    """The name behind the mark; "" for an XML_ID that is none of ours, or is not known."""
    return mark.removeprefix(MARK) if mark and mark.startswith(MARK) else ""


def foreign_ref(portal_id: int | None) -> str:
    """Ref of a task that no rule made."""
    return f"{FOREIGN}{portal_id}"


def foreign_id(ref: str) -> int | None:
    """The portal's id in the ref of a task that no rule made; None for an occurrence."""
    return int(ref.removeprefix(FOREIGN)) if ref.startswith(FOREIGN) else None


@dataclass(frozen=True, slots=True, order=True)
class SlotId:
    """A sweep: ``2026-03-12/evening``; run once more after it was undone, ``2026-03-12/evening/2``."""

    day: date
    name: str
    run: int = 1

    def __str__(self) -> str:
        slot = f"{self.day.isoformat()}/{self.name}"
        return slot if self.run == 1 else f"{slot}/{self.run}"

    @classmethod
    def parse(cls, text: str) -> SlotId:
        """The sweep of that name; ValueError for any other text."""
        found = _SLOT.fullmatch(text)
        if found is None:
            raise ValueError(f"{text}: no name of a sweep")
        return cls(date.fromisoformat(found[1]), found[2], int(found[3] or 1))


class Purpose(StrEnum):
    """What an operation, or something told, is for: the first word of its key. In brackets what follows it."""

    # operations of rules
    CREATE = "create"  # occurrence
    CHECKLIST = "checklist"  # occurrence
    ITEM = "item"  # occurrence, place
    FOLLOW = "follow"  # occurrence, count
    PEOPLE = "people"  # occurrence, count
    LINE_OF_FOLLOW = "line:follow"  # the same
    LINE_OF_PEOPLE = "line:people"  # the same
    LINE_OF_TAKEN = "line:taken"  # occurrence, visit entered
    LEAVE = "leave"  # occurrence, visit entered
    CLOSE = "close"  # occurrence, visit entered
    RESUME = "resume"  # occurrence, visit entered
    ADVANCE = "advance"  # visit
    # operations of sweeps, commands and the nightly check
    SWEEP = "sweep"  # slot, ref
    LEND = "lend"  # slot, ref
    GIVE_BACK = "give-back"  # slot, ref
    LINE_OF_LEND = "line:lend"  # the same
    LINE_OF_GIVE_BACK = "line:give-back"  # the same
    UNDO = "undo"  # key
    REMOVE = "remove"  # ref
    TWIN = "twin"  # portal's id of a task
    # messages
    NOTICE = "notice"  # slot, user
    BRAKE = "brake"  # visit, user
    NOBODY = "nobody"  # occurrence, user
    TELL = "tell"  # key of what is told, user
    ADMIN = "admin"  # key of what is told
    # what is told
    BAD_ROWS = "bad-rows"  # day, digest
    DEALS_SEEN = "deals-seen"  # moment
    IDLE = "idle"  # visit, minute
    HELD = "held"  # hour
    MARKS_FIRST = "marks-first"  # day
    MARKS_START = "marks-start"  # day
    MARKS_RUNNING = "marks-running"  # day
    NO_DEALS = "no-deals"  # moment
    PUT_BACK = "put-back"  # minute
    REFUSED = "refused"  # see Refusal
    RIGHTS = "rights"  # day
    RULE_FAILED = "rule-failed"  # rule, day
    RULES_OFF = "rules-off"  # minute, digest
    RULES_REFUSED = "rules-refused"  # minute, digest
    STRANGER = "stranger"  # ref
    STEP = "step"  # ref
    STUCK = "stuck"  # hour; visit
    SWEEP_HELD = "sweep-held"  # slot
    UNJUDGED = "unjudged"  # code, day
    UNREAD = "unread"  # day, digest
    # what was told once for ever, or done once
    FAILED = "failed"  # key
    GONE_DEAL = "gone-deal"  # ref
    TWINS = "twins"  # occurrence
    FORMER = "former"  # number, key

    @property
    def beginning(self) -> str:
        """What all its keys begin with."""
        return f"{self}:"


_PURPOSES = {one.value: one for one in Purpose}


@dataclass(frozen=True, slots=True)
class Key:
    """What an operation or a message is for, the thing it is about, and what tells it from others of that thing."""

    purpose: Purpose
    of: object
    last: object = ""

    def __str__(self) -> str:
        return f"{self.purpose}:{self.of}:{self.last}" if self.last != "" else f"{self.purpose}:{self.of}"

    def among(self, keys: Iterable[str]) -> int:
        """How many of the keys are for this and of this, whatever tells them apart."""
        beginning = f"{self.purpose}:{self.of}:"
        return sum(key.startswith(beginning) for key in keys)


def purpose_of(key: str) -> Purpose | None:
    """What an operation is for, by its key; None for a key that is none."""
    first, second = (*key.split(":"), "")[:2]
    word = f"{first}:{second}" if first == LINE else first
    return _PURPOSES.get(word)


def line_about(change: str) -> str:
    """Key of the line that explains a change, by the change's own."""
    return f"{LINE}:{change}"


def ground_of(line: str) -> str:
    """Key of the change that a line explains; no key at all of a line that explains none."""
    return line.removeprefix(f"{LINE}:")


def names_visit(key: str, ids: Iterable[int], *, entered: bool = True) -> bool:
    """True for a key that bears the number of one of these visits; ``entered``: also as the one that was entered."""
    named = (_NAMED.search(key), _ENTERED.search(key) if entered else None)
    visits = (Item.parse(found[1]) for found in named if found is not None)
    return any(visit is not None and visit.number in ids for visit in visits)


def visit_in(key: str) -> int:
    """The number of the visit that a key bears; 0 for none."""
    found = _NAMED.search(key)
    visit = Item.parse(found[1]) if found else None
    return visit.number if visit else 0


def told_mark(about: Key | Refusal, user: int) -> str:
    """Mark of the message to a user about something that is told: by it the message is found in the portal."""
    return f"{about}:{user}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A cause of refusals that was told: its family, its name within it, and when."""

    family: str
    cause: str
    at: datetime | None = None

    def __str__(self) -> str:
        name = f"{Purpose.REFUSED}:{self.family}.{self.cause}"
        return name if self.at is None else f"{name}@{self.at.isoformat()}"

    @classmethod
    def parse(cls, text: str) -> Refusal:
        """What a key of that purpose names, without the moment."""
        family, _, cause = text.removeprefix(Purpose.REFUSED.beginning).partition("@")[0].partition(".")
        return cls(family, cause)


def hour(moment: datetime) -> str:
    """The hour in which something was told, for what is told once an hour."""
    return f"{moment:%Y-%m-%dT%H}"


def minute(moment: datetime) -> str:
    """The minute in which something was told."""
    return f"{moment:%Y-%m-%dT%H:%M}"


class Moment(StrEnum):
    """What is remembered to have happened in a visit, once for ever or when it was asked for last."""

    SEEN = "seen"
    LEFT = "left"
    CLOSED = "closed"
    DONE = "done"
    FILLED = "filled"
    BACKFILL = "backfill"  # a person had the rule take the visit in; version 0.1 kept it for all rules at once
    FROM_NOW = "from now"  # a person had the rule's deadlines counted from then on

    def of(self, name: str) -> str:
        """Name of the moment that is a rule's or a field's."""
        return f"{self}:{name}"
