"""What of a report is asked for: filters as people write them, and what they mean in this portal.

One mechanism for the command line and the page: ``choose`` makes a ``Selection`` of what was written, rows take it.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import ColumnElement

from bitrix_sync.errors import UserError, WrongFilter
from bitrix_sync.model.facts import Company, Directory
from bitrix_sync.report.context import ReportContext
from bitrix_sync.report.declaration import SINCE, UNTIL, Report
from bitrix_sync.report.snapshot import Snapshot
from bitrix_sync.rules.names import Found, Names
from bitrix_sync.rules.problem import Remarks
from bitrix_sync.rules.suggest import did_you_mean, fold, listed
from bitrix_sync.store import Store, queries
from bitrix_sync.words import texts
from bitrix_sync.words.usage import fault_text

PERIOD = timedelta(days=30)
"""How far back things are counted that happened, unless another period is asked for."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What of a report is asked for. ``people``: ids; None: of everybody. ``since`` and ``until`` are civil days of the
    file's zone, both inclusive. ``by``: what ``done`` counts by."""

    people: frozenset[int] | None = None
    funnel: int | None = None
    rule: str | None = None
    since: date | None = None
    until: date | None = None
    by: str = "person"

    def has(self, user_id: int | None) -> bool:
        """Whether somebody is among the people that are asked for."""
        return self.people is None or user_id in self.people

    def has_funnel(self, funnel_id: int) -> bool:
        """Whether a funnel is asked for."""
        return self.funnel is None or funnel_id == self.funnel

    @property
    def tasks(self) -> ColumnElement[bool]:
        """The tasks of these people, of this funnel and rule, for a query; the period is left out."""
        return queries.chosen_tasks(self.people, self.funnel, self.rule)

    @property
    def dated(self) -> bool:
        """Whether a period is asked for."""
        return self.since is not None or self.until is not None

    def period(self, here: ReportContext, usual: timedelta = PERIOD) -> tuple[datetime, datetime]:
        """From when (inclusive) to when (exclusive); ``usual`` before the end, unless asked otherwise."""
        end = here.midnight((self.until or here.today) + timedelta(days=1))
        last = here.now if self.until is None else end
        return here.midnight(self.since) if self.since else last - usual, end


ALL = Selection()


def choose(store: Store, known: Snapshot, report: Report, asked: Mapping[str, str]) -> Selection:
    """What was written in filters, by their names; "" counts as not written. WrongFilter (exit code 2) for a filter
    that the report does not take and for what is no date; UserError, with the nearest, for what the portal lacks."""
    written = {name: text.strip() for name, text in asked.items() if text and text.strip()}
    for name in written.keys() - set(report.takes):
        raise WrongFilter(f"report {report.name} takes no --{name}{_takes(report)}")
    since, until = (_day(name, written.get(name, "")) for name in (SINCE, UNTIL))
    if since and until and since > until:
        raise WrongFilter(f"--since {since} is after --until {until}")
    if (by := written.get("by", "person")) not in BY:
        raise WrongFilter(f"--by {by} is not known; write one of: {', '.join(BY)}")
    look = _Look(store, known)
    people = [look.people(name, written[name]) for name in ("department", "person") if name in written]
    return Selection(
        people=frozenset.intersection(*people) if people else None,
        funnel=look.funnel(written["funnel"]) if "funnel" in written else None,
        rule=look.rule(written["rule"]) if "rule" in written else None,
        since=since,
        until=until,
        by=by,
    )


BY = ("person", "department", "rule", "funnel")
"""What ``done`` counts by."""


def _takes(report: Report) -> str:
    return f"; it takes {', '.join(f'--{name}' for name in report.takes)}" if report.takes else ""


def _day(name: str, text: str) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise WrongFilter(f"--{name} {texts.shortened(text, 40)} is no date; write it as 2026-03-12") from None


class _Look:
    """Looks up what filters name."""

    def __init__(self, store: Store, known: Snapshot) -> None:
        self.store, self.known, self.remarks = store, known, Remarks()
        self.names = Names(Directory(known.funnels, {}, known.company), {}, self.remarks)

    def people(self, kind: str, text: str) -> frozenset[int]:
        """The people of a department with those below it, or one person."""
        if kind == "person":
            return frozenset({self._sure(self.names.user(_number(text), ())).number})
        found = self._sure(self.names.department(text, ())).number
        return members(self.known.company, within(self.known.company, found))

    def funnel(self, text: str) -> int:
        """The funnel's number."""
        return self._sure(self.names.funnel(text, (), ())).number

    def rule(self, text: str) -> str:
        """The rule's id, by id or title; also of one that the file has no more."""
        titles = {one: fold(self.known.rule_title(one)) for one in self.known.rule_ids}
        if text in titles:
            return text
        if found := [one for one, title in titles.items() if fold(text) in (fold(one), title)]:
            return found[0]
        with self.store.reading() as connection:
            ids = queries.rules_of_tasks(connection)
        if text in ids:
            return text
        self.remarks.fault(
            (),
            f"No rule is called `{texts.shortened(text, 100)}`.",
            did_you_mean(text, (*map(self.known.rule_title, titles), *titles, *ids))
            or listed(titles, "The rules here are"),
        )
        return self._sure(None).id

    def _sure(self, found: Found | None) -> Found:
        if found is not None and not found.gone:
            return found
        faults = [part for one in self.remarks.faults for part in (one.wrong, one.cure)] or [
            found.gone if found else ""
        ]
        raise UserError(" ".join(fault_text(self.known.language, part) for part in faults).strip())


def _number(text: str) -> int | str:
    return int(text) if text.isdecimal() and len(text) < 18 else text


def within(company: Company, department: int) -> frozenset[int]:
    """A department with all below it, however the tree is knotted."""
    found, new = {department}, {department}
    while new:
        new = {one.id for one in company.departments.values() if one.parent_id in new} - found
        found |= new
    return frozenset(found)


def members(company: Company, departments: Set[int]) -> frozenset[int]:
    """Everybody who is, or was, in one of them."""
    return frozenset(user.id for user in company.users.values() if not departments.isdisjoint(user.departments))
