"""How the message of a sweep reads: its lines, its sections, its length. Pure.

Read on a phone, in the portal's chat: short lines, what matters first, long lists cut with a count, never longer than
``LONGEST``. A line is written when it is shown: of ten thousand most are only counted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from bitrix_sync.decisions.overdue import Fate, due_days
from bitrix_sync.model.actions import SetDeadline
from bitrix_sync.model.facts import Company, Deal
from bitrix_sync.model.items import Item
from bitrix_sync.model.keys import SlotId
from bitrix_sync.model.operations import Escalation, StoredOperation, TaskRecord
from bitrix_sync.rules.model import Rules
from bitrix_sync.words.days import in_short
from bitrix_sync.words.texts import Markup, folded, harmless, moment_text, say, shortened

LONGEST = 12_000
"""Characters of a message; the portal cuts a chat message at 20,000."""
LINES = (12, 8, 5, 3, 1)
"""Lines of one section; the rest is a count. Fewer where the whole would be too long."""
TITLE, NAME, REASON = 80, 60, 200
"""Characters of a title, a name, a reason."""
BULLET = "• "

SECTIONS = (
    *("escalate", "escalated", "failed", "unsent", "unfit", "moved", "moved_late", "remaining", "lent", "back"),
    *("awaiting", "closed_deal", "gone_deal", "stuck", "idle", "fired", "due", "load"),
    *("own_lent", "own_back", "own_moved", "own_idle", "own_due"),
)
"""In the order in which they are shown: the supervisor's, then the owner's."""
DUE = frozenset({"due", "own_due"})

Line = Callable[[], str]


@dataclass(slots=True)
class Notice:
    """What one person hears: by section the lines, each with its place in the order, and how many more there are that
    another section shows. ``stands_in``: whose message he reads besides his own."""

    sections: dict[str, list[tuple[Any, Line]]] = field(default_factory=lambda: defaultdict(list))
    elsewhere: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    stands_in: set[int] = field(default_factory=set)

    def put(self, section: str, place: Any, line: Line | None) -> None:
        """One more; without a line it is only counted, for it is shown in another section."""
        if line is None:
            self.elsewhere[section] += 1
        else:
            self.sections[section].append((place, line))


@dataclass(frozen=True, slots=True)
class Stay:
    """An overdue task that stays as it is, and what was found of it: see ``overdue.OverdueTask``."""

    ref: str
    fate: Fate
    supervisor: int | None
    owner: int
    since: datetime
    moves: int = 0
    to: int | None = None
    at_top: bool = False
    step: int = 1
    spell: str = ""
    last: datetime | None = None
    """When it was told last, of which ``known`` was the step; None: never."""
    known: int = 0


@dataclass(frozen=True, slots=True)
class SweepSummary:
    """All that the messages of one sweep are made of, as it stands when they are written.

    ``open_tasks``: every open task that is known; ``records``: those that moves and stays speak of, by ref. ``rows``:
    the sweep's moves; ``left``: those of the sweep before that had no end when its messages were written. ``stuck``:
    deals of which nobody heard yet, with their entry, by the key that is noted then. ``deals``: titles of deals.
    ``away``: who is away and until when. ``until``: when what remains will be through, if that can be said."""

    slot: str
    moment: datetime
    rules: Rules
    company: Company
    address: str
    admins: Sequence[int]
    open_tasks: Sequence[TaskRecord]
    records: Mapping[str, TaskRecord]
    rows: Sequence[StoredOperation] = ()
    left: Sequence[StoredOperation] = ()
    passed: Sequence[StoredOperation] = ()
    stays: Sequence[Stay] = ()
    stuck: Mapping[str, tuple[Deal, datetime]] = field(default_factory=dict)
    steps: Mapping[str, tuple[int, Escalation | None]] = field(default_factory=dict)
    """Of stuck deals that were told of, by the same key: the step that is told now, and the one before."""
    idle: Mapping[str, tuple[Deal, datetime]] = field(default_factory=dict)
    """Deals without a next step, each since when, likewise."""
    deals: Mapping[int, str] = field(default_factory=dict)
    away: Mapping[int, datetime] = field(default_factory=dict)
    until: datetime | None = None


class Writer:
    """Writes the notices of one sweep."""

    def __init__(self, summary: SweepSummary) -> None:
        self.slot, self.rules, self.company = SlotId.parse(summary.slot), summary.rules, summary.company
        self.address, self.deals = summary.address, summary.deals
        self.away, self.until = summary.away, summary.until
        self.language, self.zone = self.rules.language, self.rules.calendar.zone
        self.morning = self.slot.name == "morning"
        self.first_day, self.last_day = due_days(self.slot, self.rules.calendar)

    def text(self, notice: Notice) -> str:
        """The whole message, with as many lines as there is room for."""
        for lines in notice.sections.values():
            lines.sort(key=lambda found: found[0])
        text = ""
        for limit in LINES:
            text = self.compose(notice, limit)
            if len(text) <= LONGEST:
                break
        return text

    def compose(self, notice: Notice, limit: int) -> str:
        """The message with at most so many lines a section."""
        head = say(self.language, "sweep.morning" if self.morning else "sweep.evening", day=self.slot.day)
        parts = [f"[b]{head}[/b]"]
        if notice.stands_in:
            names = ", ".join(sorted(self.name(user) for user in notice.stands_in))
            parts.append(say(self.language, "sweep.stands_in", names=shortened(names, REASON)))
        for section in SECTIONS:
            lines, elsewhere = notice.sections.get(section, []), notice.elsewhere.get(section, 0)
            if not lines and not elsewhere:
                continue
            title = say(self.language, self.title_key(section), count=len(lines) + elsewhere, day=self.last_day)
            parts += ["", f"[b]{title}[/b]", *(BULLET + line() for _, line in lines[:limit])]
            if len(lines) > limit:
                parts.append(say(self.language, "sweep.more", count=len(lines) - limit))
            if elsewhere:
                parts.append(BULLET + self.count_line(section, elsewhere, alone=not lines))
        key = "sweep.mark.morning" if self.morning else "sweep.mark.evening"
        parts += ["", say(self.language, key, day=self.slot.day, mark=str(self.slot))]
        return "\n".join(parts)

    def count_line(self, section: str, count: int, *, alone: bool) -> str:
        """What there is to say of those that are only counted: they were moved, or are still being moved."""
        if section != "remaining":
            return self.line("all_moved")() if alone else self.line("of_moved", count=count)()
        return self.line("remaining")() if self.until is None else self.line("remaining_until", until=self.until)()

    def title_key(self, section: str) -> str:
        """In the evening what is due is due on another day, or up to one. The load counts every task: where the other
        sections speak of fewer, its title says so."""
        key = f"sweep.title.{section}"
        if section == "load" and self.rules.overdue is not None and self.rules.overdue.tasks != "all":
            return f"{key}_of_{self.rules.overdue.tasks}"
        if section not in DUE or self.morning:
            return key
        return f"{key}_next" if self.first_day == self.last_day else f"{key}_until"

    def due_at(self, due: datetime) -> str:
        """The hour when something is due, with its day where there are several. ``due`` is local."""
        return f"{due:%H:%M}" if self.first_day == self.last_day else moment_text(self.language, due)

    def is_due(self, day: date) -> bool:
        """True for the days of which these messages say what is due."""
        return self.first_day <= day <= self.last_day

    def line(self, key: str, **values: Any) -> Line:
        """A line of the catalogue."""
        return lambda: say(self.language, f"sweep.line.{key}", zone=self.zone, **values)

    def task(self, key: str, record: TaskRecord, owner: int | None = None, **values: Any) -> Line:
        """A line about a task: a link with its title, its deal if the title does not name it, what there is to say."""

        def write() -> str:
            task = self.link(
                f"/company/personal/user/{record.owner_id}/tasks/task/view/{record.portal_id}/", record.title
            )
            deal = self.deals.get(record.deal_id, "")
            if folded(deal).casefold() not in folded(record.title).casefold():
                task = Markup(f"{task} ({self.deal_link(record.deal_id, deal)})")
            return self.line(key, task=task, owner=self.name(owner, marked=key != "fired") if owner else "", **values)()

        return write

    def reason(self, move: SetDeadline, moment: datetime) -> str:
        """Why a deadline goes to a day that is not the next one, in three words; "" if it is the next one."""
        if move.deadline is None:
            return ""
        chosen, moved = (one.astimezone(self.zone) for one in (move.deadline, moment))
        why = in_short(self.language, move.refused_days, chosen=chosen, moved=moved)
        return self.line("moved_why", why=why)() if why else ""

    def deal(self, key: str, deal: Deal, **values: Any) -> Line:
        """A line about a deal, its stage and its responsible."""

        def write() -> str:
            link = self.deal_link(deal.id, deal.title)
            stage = shortened(self.rules.stage_names.get(deal.stage_id, deal.stage_id), NAME)
            return self.line(key, deal=link, stage=stage, owner=self.name(deal.responsible_id), **values)()

        return write

    def load(self, user: int, *, open_: int, late: int, due: int) -> Line:
        """A line about an employee's load, and how long he is away."""
        name, until = self.name(user), self.away.get(user)
        if until is not None:
            name = say(self.language, "sweep.away", zone=self.zone, name=name, until=until)
        key = "load" if self.first_day == self.last_day else "load_until"
        return self.line(key, name=name, open=open_, late=late, due=due)

    def name(self, user: int, *, marked: bool = True) -> str:
        """A person's name; ``marked`` if he does not work here any more, for where no heading says it."""
        name = shortened(self.company.name(user), NAME)
        return say(self.language, "person.fired", name=name) if marked and self.company.fired(user) else name

    def deal_link(self, deal_id: int, title: str) -> Markup:
        """A link to a deal."""
        return self.link(Item.of(deal_id).page, title)

    def link(self, path: str, title: str) -> Markup:
        """A link into the portal."""
        return Markup(f"[url={self.address}{path}]{shortened(folded(harmless(title)), TITLE) or '…'}[/url]")
