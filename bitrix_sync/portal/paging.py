"""Lists read whole: by last id, many pages in one request, safe against rows that come and go meanwhile.

The pages of a batch refer to each other (``>ID`` = the last id of the page before, docs: settings/performance/
huge-data.md), so a chain of fifty pages is one request. What follows the first short page is thrown away: its
reference led nowhere. Where a portal does not replace references, page follows page.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise
from typing import Any

from bitrix_sync.errors import PortalError, PortalRefused
from bitrix_sync.model.facts import Unread
from bitrix_sync.portal.client import PATIENCE, Portal
from bitrix_sync.portal.dialect.commands import BATCH_LIMIT, Command
from bitrix_sync.portal.dialect.outcomes import GARBAGE, Outcome, whole
from bitrix_sync.portal.dialect.parsing import Row, rows
from bitrix_sync.portal.rate_limiter import Stopped

PAGE = 50
CAPITAL_START = frozenset({"department.get"})
"""Methods whose page begins at ``START`` (docs: departments/department-get.md), though portals know ``start`` too."""
MOST_ROWS = 2_000_000
"""A list with more rows has no end that could be waited for."""
CHAIN_PATIENCE = 5.0
"""A chain that fails so long is read page by page."""
LONG_PATIENCE = 900.0
"""A bulk reading outlasts the longest rest of a method."""


@dataclass(frozen=True, slots=True)
class Source:
    """A list to be read by id. ``params`` without order and start; ``key``: where the rows stand in the result;
    ``row``: the id's key in a row, ``sort``: in filter and order. ``name``: pages needed are remembered under it.
    ``most``: rows that there can be, where the filter names ids (0: any number). ``growing``: while writes go on it
    has one page more than last time."""

    method: str
    params: Mapping[str, Any]
    key: str
    row: str
    sort: str
    name: str = ""
    most: int = 0
    growing: bool = False


class _Page:
    """One page of a list as answered; ``ids`` of those of its rows that have one."""

    def __init__(self, outcome: Outcome, source: Source) -> None:
        self.rows = rows(outcome.value, source.key)
        ids = [whole(row.get(source.row)) or 0 for row in self.rows]
        self.ids = [number for number in ids if number > 0]
        self.full = len(ids) == PAGE
        self.leads_on = not self.full or ids[-1] > 0
        """False: its last row has no id that a next page could refer to."""
        self.total = outcome.total or None

    def continues(self, last: int) -> bool:
        """Ids, where rows have them, grow strictly from ``last`` on; the order within a short page does not matter."""
        if (self.full and not self.ids) or (len(self.rows) > 1 and not any(self.rows)):
            return False
        if len(self.ids) < PAGE:
            return all(one > last for one in self.ids)
        return all(one < other for one, other in pairwise([last, *self.ids]))


@dataclass(slots=True)
class _ListById:
    """A list that is being read by id; ``ask``: pages to ask for next."""

    portal: Portal
    source: Source
    ask: int
    last: int = 0
    pages: int = 0
    done: bool = False
    total: int | None = None
    found: list[Row] = field(default_factory=list)

    def next_pages(self, start: int) -> Iterator[Command]:
        """The commands of the next pages, the first of which will be ``k<start>``. The very first page is counted by
        the portal, so that the rest can be asked for at once."""
        source = self.source
        for page in range(self.ask):
            filters = dict(source.params.get("filter", {}))
            if page:
                path = "".join(f"[{part}]" for part in (source.key, PAGE - 1, source.row) if part != "")
                filters[f">{source.sort}"] = f"$result[k{start + page - 1}]{path}"
            elif self.last:
                filters[f">{source.sort}"] = self.last
            first = page == 0 and not self.last
            params = {**source.params, "order": {source.sort: "ASC"}, "start": 0 if first else -1}
            if filters:
                params["filter"] = filters
            yield Command(source.method, params, refers=page > 0)

    def take(self, answers: Iterable[tuple[Command, Outcome]]) -> None:
        """Accept pages up to the first short one; a page that does not continue the one before was not chained."""
        for command, outcome in answers:
            try:
                page = self._checked(outcome)
            except PortalError:
                if not command.refers:
                    raise
                self.portal.memory.references = False
                return
            self.total = page.total or self.total
            if command.refers and not page.rows:
                # either the end or a reference that led nowhere, which is asked again by the id itself
                self.done, self.ask = self.total is not None and len(self.found) >= self.total, 1
                return
            self._accept(page)
            if self.done or not page.leads_on:
                self.ask = 1
                return
        self.ask = self._expected()

    def _expected(self) -> int:
        """Pages that are left and one more, for rows may come meanwhile; uncounted, twice as many each time."""
        return 2 * self.ask if self.total is None else max(0, -(-(self.total - len(self.found)) // PAGE)) + 1

    def _checked(self, outcome: Outcome) -> _Page:
        """The next page; PortalError for what cannot be it."""
        if not outcome.done:
            raise self.portal.fault(self.source.method, outcome)
        page = _Page(outcome, self.source)
        if not page.continues(self.last):
            raise PortalError(
                f"portal {self.portal.host}: {self.source.method} answers rows without ids or "
                "not in the order asked for; none was taken"
            )
        if not self.pages and page.total and len(page.rows) < min(PAGE, page.total):
            raise PortalError(lost_rows(self.portal, self.source.method).why)
        return page

    def _accept(self, page: _Page) -> None:
        self.found.extend(page.rows)
        _bound(self.portal, self.source.method, len(self.found))
        self.pages += 1
        self.done = not page.full or 0 < self.source.most <= len(self.found)
        self.last = page.ids[-1] if page.ids else self.last


def read_lists(portal: Portal, sources: Sequence[Source], *, patience: float = PATIENCE) -> list[list[Row]]:
    """All rows of each source, by growing id. Raises PortalError and PortalRefused as ``Portal.read`` does."""
    return Lists(portal, sources).finish(patience=patience)[0]


class Lists:
    """Lists that are being read whole."""

    def __init__(self, portal: Portal, sources: Sequence[Source]) -> None:
        self._portal = portal
        self._lists = [_ListById(portal, source, portal.memory.pages.get(source.name, 1)) for source in sources]
        self._opening: list[Command] = []
        self._chaining = True
        self._besides: Sequence[Command] = ()
        self._beside: list[Outcome] = []

    def size(self, most: int) -> int:
        """How many commands the ``opening`` has if there is room for ``most``."""
        return min(most, sum(one.ask + one.source.growing for one in self._lists))

    def opening(self, place: int, room: int) -> list[Command]:
        """The first pages of all lists, as many as there were last time or as there is ``room`` for, to be sent as the
        last commands of a batch: the first of them is its command ``k<place>``. None if there is no room for one of
        each list, or if a method may not be called now."""
        if self._resting(one.source.method for one in self._lists) or room < len(self._lists):
            return []
        for one in self._lists:
            one.ask = one.ask + one.source.growing if self._portal.memory.references else 1
        while sum(one.ask for one in self._lists) > room:
            max(self._lists, key=lambda one: one.ask).ask -= 1
        for one in self._lists:
            self._opening += one.next_pages(place + len(self._opening))
        return self._opening

    def receive(self, outcomes: Sequence[Outcome]) -> None:
        """What became of the ``opening``; unless all is well, everything is read anew."""
        if all(outcome.done for outcome in outcomes):
            answers = zip(self._opening, outcomes, strict=True)
            for one in self._lists:
                one.take(list(islice(answers, one.ask)))

    def finish(
        self, besides: Sequence[Command] = (), *, patience: float = PATIENCE
    ) -> tuple[list[list[Row]], list[Outcome]]:
        """All rows of each list; and what becomes of other readings that travel in the first request if there is room
        in it and their methods may be called: their outcomes (``done`` or ``refused`` each for itself), else none."""
        self._besides = () if self._resting(command.method for command in besides) else besides
        while groups := self._groups():
            for group in groups:
                self._request(group, patience)
        for one in self._lists:
            if one.source.name:
                self._portal.memory.pages[one.source.name] = one.pages
        return [one.found for one in self._lists], self._beside

    def _request(self, group: list[_ListById], patience: float) -> None:
        """One request for the next pages of a group, and for what travels beside them."""
        commands: list[Command] = []
        for one in group:
            commands += one.next_pages(len(commands))
        chained = any(command.refers for command in commands)
        besides = self._besides if len(commands) + len(self._besides) <= BATCH_LIMIT else ()
        wait = CHAIN_PATIENCE if chained else patience
        try:
            outcomes = self._portal.read([*commands, *besides], optional=True, patience=wait)
        except (PortalRefused, Stopped):
            raise
        except PortalError:
            if not chained:
                raise
            self._chaining = False  # it may be the references themselves that the portal stumbles over
            return
        if besides:
            self._beside, self._besides = outcomes[len(commands) :], ()
        answers = zip(commands, outcomes, strict=False)
        for one in group:
            one.take(list(islice(answers, one.ask)))

    def _resting(self, methods: Iterable[str]) -> bool:
        return any(self._portal.rate_limiter.resting_until(method) is not None for method in methods)

    def _groups(self) -> list[list[_ListById]]:
        """What is not read whole, in groups whose pages fit a batch; shrinks what each asks for to its share."""
        active = [one for one in self._lists if not one.done]
        share = BATCH_LIMIT // max(1, len(active))
        groups: list[list[_ListById]] = []
        room = 0
        for one in active:
            one.ask = max(1, min(one.ask, share)) if self._chaining and self._portal.memory.references else 1
            if one.ask > room:
                groups.append([])
                room = BATCH_LIMIT
            groups[-1].append(one)
            room -= one.ask
        return groups


class _ListByStart:
    """A list that is being read by ``start``. ``name``: the number of its pages is remembered under it, unless ""."""

    def __init__(self, portal: Portal, command: Command, key: str, name: str) -> None:
        self._portal, self._command, self._key, self._name = portal, command, key, name
        self._count = portal.memory.pages.get(name, 1)
        self._total = 0
        self._pages: dict[int, list[Row]] = {}
        self._unread: Unread | None = None

    def missing(self) -> list[tuple[int, Command]]:
        """Pages to ask for, as far as is known that they are there."""
        if self._unread:
            return []
        pages = (page for page in range(self._count) if page not in self._pages)
        return [(page, from_start(self._command, page * PAGE)) for page in pages]

    def take(self, page: int, outcome: Outcome) -> None:
        """The answer to one page; one that repeats the page before tells nothing of further ones, and a first one of
        more rows than a page has is all there is: some methods know no pages."""
        if not outcome.done:
            self._unread = self._portal.as_unread(self._command.method, outcome)
            return
        found = self._pages[page] = rows(outcome.value, self._key)
        self._total = outcome.total or 0
        if len(self._pages.get(0, ())) > PAGE:
            self._count, self._pages = 1, {0: self._pages[0]}
        elif found and found != self._pages.get(page - 1):
            _bound(self._portal, self._command.method, page * PAGE)
            self._count = max(self._count, min(_pages_said(outcome, page), page + 1 + BATCH_LIMIT))

    def end(self) -> list[Row] | Unread:
        """All its rows, or why they were not read."""
        if self._name:
            self._portal.memory.pages[self._name] = max(1, sum(map(bool, self._pages.values())))
        # a row that stands on two pages, as the list grew or is one page for ever, is one
        found = list({repr(row): row for page in sorted(self._pages) for row in self._pages[page]}.values())
        if self._unread is None and len(found) < self._total:
            return lost_rows(self._portal, self._command.method)
        return self._unread or found


def read_offsets(portal: Portal, lists: Sequence[tuple[Command, str]], *, name: str = "") -> list[list[Row] | Unread]:
    """All rows of lists that can only be paged by ``start``: small ones, which seldom change; one of which a page is
    refused, makes no sense or is missing is not read at all. Each is a command and the key of its rows. Pages that were
    there last time (under ``name``) are asked for at once."""
    reading = [
        _ListByStart(portal, command, key, name and f"{name}:{index}") for index, (command, key) in enumerate(lists)
    ]
    while plan := [(one, page, command) for one in reading for page, command in one.missing()]:
        outcomes = portal.read([command for _, _, command in plan], optional=True)
        for (one, page, _), outcome in zip(plan, outcomes, strict=True):
            one.take(page, outcome)
    return [one.end() for one in reading]


def _bound(portal: Portal, method: str, count: int) -> None:
    if count > MOST_ROWS:
        raise PortalError(f"portal {portal.host}: {method} does not end: more than {MOST_ROWS} rows; none was taken")


def lost_rows(portal: Portal, method: str) -> Unread:
    """The end of a reading of a list that has fewer rows than the portal counts."""
    return Unread(GARBAGE, f"portal {portal.host}: {method} shows fewer rows than it counts")


def _pages_said(outcome: Outcome, page: int) -> int:
    """How many pages there are, as far as the answer to one of them tells."""
    if outcome.total:
        return -(-outcome.total // PAGE)
    return page + 2 if outcome.next else page + 1


def from_start(command: Command, start: int) -> Command:
    """The command for a page of a list that can only be paged by ``start``, which some methods name in capitals."""
    if not start:
        return command
    names = ("start", "START") if command.method in CAPITAL_START else ("start",)
    return Command(command.method, {**command.params, **dict.fromkeys(names, start)})
