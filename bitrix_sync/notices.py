"""The messages of a sweep: one for each person who has something to hear, with sections by role.

Read on a phone, in the portal's chat: short lines, people first, long lists cut with a count. The slot's mark goes
with the message, so that one whose sending is in doubt can be found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from bitrix_sync.facts import Deal
from bitrix_sync.operations import Kind, Operation, Recorded, State, TaskRecord
from bitrix_sync.overdue import is_overdue, supervisor_of
from bitrix_sync.plan import MESSAGE, passed_limit
from bitrix_sync.rules.persons import head_over
from bitrix_sync.store import Sweep
from bitrix_sync.sync import Desk
from bitrix_sync.texts import Markup, folded, harmless, say, shortened

LINES = 12
"""Lines of one section; the rest is a count."""
TITLE = 80


@dataclass(slots=True)
class Message:
    """What one person hears: lines by section, in the order in which they are shown."""

    sections: dict[str, list[str]] = field(default_factory=dict)

    def add(self, section: str, line: str) -> None:
        """One more line."""
        self.sections.setdefault(section, []).append(line)


SUPERVISOR_SECTIONS = ("moved", "failed", "remaining", "escalate", "awaiting", "closed_deal", "stuck", "fired", "due")
OWNER_SECTIONS = ("own_moved", "own_due")
ORDER = (*SUPERVISOR_SECTIONS, *OWNER_SECTIONS, "load")


def messages(desk: Desk, sweep: Sweep, rows: list[Recorded]) -> tuple[tuple[str, ...], tuple[Operation, ...]]:
    """Keys of what is told once (stuck visits), and a MESSAGE operation for each person with anything to hear."""
    post = _Post(desk, sweep)
    post.moves(rows)
    post.stays()
    post.open_tasks()
    told = post.stuck()
    operations = tuple(
        Operation(
            f"notice:{sweep.slot}:{user}",
            Kind.MESSAGE,
            {"user": user, "text": post.text(user, message), "mark": sweep.slot},
            urgency=MESSAGE,
            sweep=sweep.slot,
        )
        for user, message in sorted(post.messages.items())
    )
    return told, operations


class _Post:
    """Sorts what a sweep found to those who must hear it. Lives for one call of ``messages``."""

    def __init__(self, desk: Desk, sweep: Sweep) -> None:
        self.desk, self.sweep = desk, sweep
        self.rules, self.company = desk.rulebook.rules, desk.rulebook.company
        assert self.rules.overdue is not None
        self.notify = self.rules.overdue.notify
        self.language, self.zone = self.rules.language, self.rules.calendar.zone
        self.morning = sweep.slot.endswith("/morning")
        self.open = desk.store.open_tasks()
        self.records = {record.ref: record for record in self.open}
        self.messages: dict[int, Message] = {}
        self.loads: dict[int, set[int]] = {}

    # --- who hears what ----------------------------------------------------------------------------------------------

    def moves(self, rows: list[Recorded]) -> None:
        """What was moved, could not be moved, or is still being moved."""
        missing = [row.operation.task for row in rows if row.operation.task not in self.records]
        known = self.records | {r.ref: r for r in self.desk.store.task_records(refs=missing)}
        remaining: Counter[int] = Counter()
        for row in rows:
            payload, record = row.operation.payload, known.get(row.operation.task)
            if record is None:
                continue
            supervisor, owner = payload.get("supervisor"), payload["owner"]
            before, after = (datetime.fromisoformat(payload[name]) for name in ("seen", "deadline"))
            if row.state is State.DONE:
                line = self.line("moved", record, owner=owner, before=before, after=after, count=payload["move"])
                self.tell_supervisor(supervisor, "moved", line)
                own = self.line("own_moved", record, before=before, after=after, count=payload["move"])
                self.tell_owner(owner, "own_moved", own)
            elif row.state is State.FAILED:
                why = folded(row.error_text) or row.error_code
                self.tell_supervisor(supervisor, "failed", self.line("failed", record, owner=owner, why=why))
            elif row.state is State.DROPPED and row.error_text == "the next sweep began":
                why = say(self.language, "sweep.not_in_time")
                self.tell_supervisor(supervisor, "failed", self.line("failed", record, owner=owner, why=why))
            elif row.state in (State.PLANNED, State.SENDING, State.UNKNOWN) and supervisor:
                remaining[supervisor] += 1
        for user, count in remaining.items():
            self.tell_supervisor(user, "remaining", say(self.language, "sweep.line.remaining", count=count))

    def stays(self) -> None:
        """Escalated tasks, those that wait for acceptance, those of closed deals."""
        stays: Iterable[Mapping[str, Any]] = self.sweep.summary.get("stays", ())
        for one in stays:
            record = self.records.get(one["ref"])
            if record is None:
                continue
            fate = one["fate"]
            key = "escalate_top" if fate == "escalate" and one["at_top"] else fate
            line = self.line(key, record, owner=one["owner"], since=record.deadline, count=one["moves"])
            reader = one["to"] if fate == "escalate" else one["supervisor"]
            self.tell_supervisor(reader, fate, line)

    def open_tasks(self) -> None:
        """What is due today (in the evening: on the next working day), the load, tasks of fired employees."""
        due_day = self.due_day()
        calendar = self.rules.calendar
        for record in self.open:
            user = self.company.users.get(record.owner_id)
            if user is not None and not user.active:
                reader = head_over(self.company, record.owner_id) or self.desk.rulebook.admins[0]
                self.tell_supervisor(reader, "fired", self.line("fired", record, owner=record.owner_id))
            supervisor = supervisor_of(record, self.company)
            if supervisor and supervisor != record.owner_id:
                self.loads.setdefault(supervisor, set()).add(record.owner_id)
            if record.deadline is not None and calendar.local(record.deadline).date() == due_day:
                line = self.line("due", record, owner=record.owner_id, at=f"{calendar.local(record.deadline):%H:%M}")
                self.tell_supervisor(supervisor, "due", line)
                own = self.line("own_due", record, at=f"{calendar.local(record.deadline):%H:%M}")
                self.tell_owner(record.owner_id, "own_due", own)

    def stuck(self) -> tuple[str, ...]:
        """Deals that stay in a stage longer than its limit: told once for each visit; returns the keys."""
        limits = {stage: policy.limit for stage, policy in self.rules.policies.items() if policy.limit}
        deals = {i: deal for i, deal in self.desk.store.deals(open_only=True).items() if deal.stage_id in limits}
        states = self.desk.store.deal_states(list(deals))
        keys = {f"stuck:{state.visits[-1].id}": state for state in states.values() if state.visits}
        told = self.desk.store.told(keys)
        new: list[str] = []
        for key, state in keys.items():
            deal, visit = deals[state.deal_id], state.visits[-1]
            limit = limits.get(visit.stage_id)
            if key in told or limit is None or not passed_limit(limit, visit, self.rules.calendar, self.sweep.moment):
                continue
            new.append(key)
            supervisor = head_over(self.company, deal.responsible_id) or self.desk.rulebook.admins[0]
            self.tell_supervisor(supervisor, "stuck", self.stuck_line(deal, visit.entered))
        return tuple(new)

    def tell_supervisor(self, user: int | None, section: str, line: str) -> None:
        """A line for a supervisor, if the file wants supervisors told."""
        if user and "supervisor" in self.notify and self.company.active(user):
            self.messages.setdefault(user, Message()).add(section, line)

    def tell_owner(self, user: int | None, section: str, line: str) -> None:
        """A line for an owner, if the file wants owners told."""
        if user and "owner" in self.notify and self.company.active(user):
            self.messages.setdefault(user, Message()).add(section, line)

    # --- how it reads ------------------------------------------------------------------------------------------------

    def text(self, user: int, message: Message) -> str:
        """The whole message: its name and day, the sections, the load of the reader's people, the mark."""
        for line in self.load_lines(user):
            message.add("load", line)
        day = self.rules.calendar.local(self.sweep.moment).date()
        head = say(self.language, "sweep.morning" if self.morning else "sweep.evening", day=day)
        parts = [f"[b]{head}[/b]"]
        for section in ORDER:
            lines = message.sections.get(section)
            if lines:
                title = say(self.language, self.title_key(section), count=len(lines), day=self.due_day())
                parts += ["", f"[b]{title}[/b]", *lines[:LINES]]
                if len(lines) > LINES:
                    parts.append(say(self.language, "sweep.more", count=len(lines) - LINES))
        return "\n".join(parts)

    def title_key(self, section: str) -> str:
        return (
            f"sweep.title.{section}"
            if self.morning or section not in ("due", "own_due")
            else f"sweep.title.{section}_next"
        )

    def due_day(self) -> date:
        """Today in the morning; in the evening the next working day."""
        calendar = self.rules.calendar
        today = calendar.local(self.sweep.moment).date()
        return today if self.morning else calendar.next_working(today, inclusive=False)

    def load_lines(self, supervisor: int) -> list[str]:
        """Each employee with open tasks, the most loaded first."""
        lines: list[tuple[int, str]] = []
        due_day, calendar = self.due_day(), self.rules.calendar
        for owner in self.loads.get(supervisor, ()):
            own = [record for record in self.open if record.owner_id == owner]
            late = sum(is_overdue(record, self.sweep.moment) for record in own)
            due = sum(r.deadline is not None and calendar.local(r.deadline).date() == due_day for r in own)
            text = say(
                self.language, "sweep.line.load", name=self.company.name(owner), open=len(own), late=late, due=due
            )
            lines.append((-len(own), text))
        return [text for _, text in sorted(lines)]

    def line(self, key: str, record: TaskRecord, *, owner: int | None = None, **values: Any) -> str:
        """One task: a link with its title, and what there is to say."""
        name = self.company.name(owner) if owner else ""
        return say(
            self.language, f"sweep.line.{key}", zone=self.zone, task=self.task_link(record), owner=name, **values
        )

    def task_link(self, record: TaskRecord) -> Markup:
        address = (
            f"{self.desk.portal.address}/company/personal/user/{record.owner_id}/tasks/task/view/{record.portal_id}/"
        )
        return _link(address, record.title)

    def stuck_line(self, deal: Deal, entered: datetime) -> str:
        link = _link(f"{self.desk.portal.address}/crm/deal/details/{deal.id}/", deal.title)
        return say(
            self.language,
            "sweep.line.stuck",
            zone=self.zone,
            deal=link,
            stage=self.rules.stage_names.get(deal.stage_id, deal.stage_id),
            since=entered,
            owner=self.company.name(deal.responsible_id),
        )


def _link(address: str, title: str) -> Markup:
    return Markup(f"[url={address}]{shortened(folded(harmless(title)), TITLE) or '…'}[/url]")
