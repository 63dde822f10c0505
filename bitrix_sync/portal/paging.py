"""Lists read whole: by last id, many pages in one request, safe against rows that come and go meanwhile.

The pages of a batch refer to each other (``>ID`` = the last id of the page before, docs: settings/performance/
huge-data.md), so a chain of fifty pages is one request. What follows the first short page is thrown away: its
reference led nowhere. Where a portal does not replace references, page follows page.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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


@dataclass(slots=True)
class _Progress:
    source: Source
    ask: int
    last: int = 0
    pages: int = 0
    done: bool = False
    total: int | None = None
    found: list[Row] = field(default_factory=list)


def read_lists(portal: Portal, sources: Sequence[Source], *, patience: float = PATIENCE) -> list[list[Row]]:
    """All rows of each source, by growing id. Raises PortalError and PortalRefused as ``Portal.read`` does."""
    return Lists(portal, sources).finish(patience=patience)[0]


class Lists:
    """Lists that are being read whole."""

    def __init__(self, portal: Portal, sources: Sequence[Source]) -> None:
        self._portal = portal
        self._states = [_Progress(source, max(1, portal.memory.pages.get(source.name, 1))) for source in sources]
        self._opening: list[Command] = []

    def size(self, most: int) -> int:
        """How many commands the ``opening`` has if there is room for ``most``."""
        return min(most, sum(state.ask + state.source.growing for state in self._states))

    def opening(self, place: int, room: int) -> list[Command]:
        """The first pages of all lists, as many as there were last time or as there is ``room`` for, to be sent as the
        last commands of a batch: the first of them is its command ``k<place>``. None if there is no room for one of
        each list, or if a method may not be called now."""
        states = self._states
        resting = any(self._portal.rate_limiter.resting_until(state.source.method) is not None for state in states)
        if resting or room < len(states):
            return []
        for state in states:
            state.ask = state.ask + state.source.growing if self._portal.memory.references else 1
        while sum(state.ask for state in states) > room:
            max(states, key=lambda state: state.ask).ask -= 1
        for state in states:
            self._opening += _pages(state, place + len(self._opening))
        return self._opening

    def receive(self, outcomes: Sequence[Outcome]) -> None:
        """What became of the ``opening``; unless all is well, everything is read anew."""
        if not all(outcome.done for outcome in outcomes):
            return
        answers = list(zip(self._opening, outcomes, strict=True))
        for state in self._states:
            mine, answers = answers[: state.ask], answers[state.ask :]
            _take(self._portal, state, mine)

    def finish(
        self, besides: Sequence[Command] = (), *, patience: float = PATIENCE
    ) -> tuple[list[list[Row]], list[Outcome]]:
        """All rows of each list; and what becomes of other readings that travel in the first request if there is room
        in it and their methods may be called: their outcomes (``done`` or ``refused`` each for itself), else none."""
        portal, states, chaining = self._portal, self._states, True
        extra = (
            () if any(portal.rate_limiter.resting_until(command.method) is not None for command in besides) else besides
        )
        beside: list[Outcome] = []
        while active := [state for state in states if not state.done]:
            for group in _groups(active, chaining and portal.memory.references):
                commands = [command for start, state in group for command in _pages(state, start)]
                chained = any(command.refers for command in commands)
                going = extra if len(commands) + len(extra) <= BATCH_LIMIT else ()
                wait = CHAIN_PATIENCE if chained else patience
                try:
                    outcomes = portal.read([*commands, *going], optional=True, patience=wait)
                except (PortalRefused, Stopped):
                    raise
                except PortalError:
                    if not chained:
                        raise
                    chaining = False  # it may be the references themselves that the portal stumbles over
                    continue
                if going:
                    beside, extra = outcomes[len(commands) :], ()
                for start, state in group:
                    _take(portal, state, list(zip(commands, outcomes, strict=False))[start : start + state.ask])
        for state in states:
            if state.source.name:
                portal.memory.pages[state.source.name] = state.pages
        return [state.found for state in states], beside


def _groups(active: list[_Progress], references: bool) -> Iterator[list[tuple[int, _Progress]]]:
    """Groups that fit a batch: (place of its first command, state); shrinks what each asks for to its share."""
    share = max(1, BATCH_LIMIT // len(active))
    group: list[tuple[int, _Progress]] = []
    place = 0
    for state in active:
        state.ask = min(max(1, state.ask), share) if references else 1
        if place + state.ask > BATCH_LIMIT:
            yield group
            group, place = [], 0
        group.append((place, state))
        place += state.ask
    yield group


def _pages(state: _Progress, start: int) -> Iterator[Command]:
    """The commands of a source's next pages, the first of which will be ``k<start>``. The very first page is counted by
    the portal, so that the rest can be asked for at once."""
    source = state.source
    for page in range(state.ask):
        filters = dict(source.params.get("filter", {}))
        if page:
            path = "".join(f"[{part}]" for part in (source.key, PAGE - 1, source.row) if part != "")
            filters[f">{source.sort}"] = f"$result[k{start + page - 1}]{path}"
        elif state.last:
            filters[f">{source.sort}"] = state.last
        first = page == 0 and not state.last
        params = {**source.params, "order": {source.sort: "ASC"}, "start": 0 if first else -1}
        if filters:
            params["filter"] = filters
        yield Command(source.method, params, refers=page > 0)


def _take(portal: Portal, state: _Progress, answers: Sequence[tuple[Command, Outcome]]) -> None:
    """Accept pages up to the first short one; a page that does not continue the one before was not chained."""
    source, blind = state.source, False
    for page, (command, outcome) in enumerate(answers):
        if not outcome.done:
            if page == 0:
                raise portal.fault(command.method, outcome)
            portal.memory.references = False
            return
        found = rows(outcome.value, source.key)
        numbers = [number for row in found if (number := whole(row.get(source.row)) or 0) > 0]
        if page and blind:
            state.ask = 1  # its reference led to a row without an id: asked again by the last one that has one
            return
        blind = len(found) == PAGE and not (whole(found[-1].get(source.row)) or 0) > 0
        if not _continues(numbers, state.last) or (len(found) > 1 and not any(found)):
            if page == 0:
                raise PortalError(
                    f"portal {portal.host}: {source.method} answers rows without ids or "
                    "not in the order asked for; none was taken"
                )
            portal.memory.references = False
            return
        state.total = outcome.total if outcome.total else state.total
        if not state.pages and outcome.total and len(found) < min(PAGE, outcome.total):
            raise PortalError(lost_rows(portal, source.method).why)
        if page and not found and state.total is not None and len(state.found) >= state.total:
            state.done = True
            return
        if page and not found:
            state.ask = 1  # either the end or a reference that led nowhere: asked again by the id itself
            return
        state.found.extend(found)
        _bound(portal, source.method, len(state.found))
        state.pages += 1
        if len(found) < PAGE or 0 < source.most <= len(state.found):
            state.done = True
            return
        state.last = numbers[-1]
    state.ask = 2 * state.ask if state.total is None else max(1, -(-(state.total - len(state.found)) // PAGE) + 1)


def _continues(numbers: Sequence[int], last: int) -> bool:
    """Ids, where rows have them, grow strictly from ``last`` on; the order within a short page does not matter."""
    if len(numbers) < PAGE:
        return all(one > last for one in numbers)
    return all(one < other for one, other in zip([last, *numbers], numbers, strict=False))


def read_offsets(portal: Portal, lists: Sequence[tuple[Command, str]], *, name: str = "") -> list[list[Row] | Unread]:
    """All rows of lists that can only be paged by ``start``: small ones, which seldom change; one of which a page is
    refused, makes no sense or is missing is not read at all. Each is a command and the key of its rows. Pages that were
    there last time (under ``name``) are asked for at once."""
    found: list[dict[int, list[Row]]] = [{} for _ in lists]
    totals = [0] * len(lists)
    pages = [portal.memory.pages.get(f"{name}:{index}", 1) if name else 1 for index in range(len(lists))]
    unread: dict[int, Unread] = {}
    while plan := [
        (index, page)
        for index, count in enumerate(pages)
        for page in range(count)
        if page not in found[index] and index not in unread
    ]:
        commands = [from_start(lists[index][0], page * PAGE) for index, page in plan]
        for (index, page), outcome in zip(plan, portal.read(commands, optional=True), strict=True):
            if not outcome.done:
                unread[index] = portal.as_unread(lists[index][0].method, outcome)
                continue
            found[index][page] = rows(outcome.value, lists[index][1])
            totals[index] = outcome.total or 0
            if found[index][page] and found[index][page] != found[index].get(page - 1):
                _bound(portal, lists[index][0].method, page * PAGE)
                pages[index] = max(pages[index], min(_pages_said(outcome, page), page + 1 + BATCH_LIMIT))
    for index, parts in enumerate(found):
        if sum(map(len, parts.values())) < totals[index] and index not in unread:
            unread[index] = lost_rows(portal, lists[index][0].method)
        if name:
            portal.memory.pages[f"{name}:{index}"] = max(1, sum(bool(part) for part in parts.values()))
    return [
        unread.get(index) or [row for page in sorted(parts) for row in parts[page]] for index, parts in enumerate(found)
    ]


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
