"""Who hears what of a sweep: one message for each person who has something to hear, with sections by role. Pure."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import Any

from bitrix_sync.decisions.escalation import heads, reader_of
from bitrix_sync.decisions.overdue import gone_key, in_scope, is_overdue, reader_for, step_key, supervisor_of
from bitrix_sync.decisions.plan import MESSAGE
from bitrix_sync.model.actions import SendMessage, SetDeadline, SetPeople
from bitrix_sync.model.facts import AWAITING, MOVABLE_STATUSES
from bitrix_sync.model.keys import Key, Purpose
from bitrix_sync.model.operations import Operation, State, StoredOperation, TaskRecord
from bitrix_sync.model.reasons import Reason
from bitrix_sync.rules.persons import head_over
from bitrix_sync.sweeps.notice_text import REASON, Line, Notice, Stay, SweepSummary, Writer
from bitrix_sync.words.texts import Markup, folded, shortened

MUST_BE_HEARD = frozenset({"escalate", "failed", "unsent", "gone_deal", "stuck", "idle", "fired"})
"""Sections whose lines go to the administrators when no supervisor can hear them."""
UNFINISHED = frozenset({State.PLANNED, State.HELD, State.SENDING, State.UNKNOWN})
UNSENT = frozenset({Reason.NEXT_BEGAN, Reason.NOT_RELEASED, Reason.DEADLINE_PASSED})
"""Why a move was dropped, where it was not for what people did."""


def messages(summary: SweepSummary) -> tuple[tuple[str, ...], tuple[Operation, ...]]:
    """Keys of what is told only once and is told now, and a MESSAGE operation for each person with anything to hear.

    An operation's key is the slot and the person: whatever happens, it is sent once."""
    post = _Post(summary)
    post.moves()
    post.passed()
    told = post.stays()
    post.open_tasks()
    told += post.stuck()
    told += post.idle()
    post.load()
    operations = [
        Operation(
            str(Key(Purpose.NOTICE, summary.slot, user)),
            SendMessage(user, post.writer.text(notice), summary.slot),
            urgency=MESSAGE,
            sweep=summary.slot,
        )
        for user, notice in sorted(post.notices.items())
    ]
    return told, tuple(operations)


class _Post:
    """Sorts the news to those who must hear them. Lives for one call of ``messages``."""

    def __init__(self, summary: SweepSummary) -> None:
        self.summary, self.rules, self.company = summary, summary.rules, summary.company
        overdue = summary.rules.overdue
        assert overdue is not None, "messages are for a file that has sweeps"
        self.overdue = overdue
        self.writer = Writer(summary)
        self.notices: dict[int, Notice] = {}
        self.people: dict[int, set[int]] = defaultdict(set)
        """Whose tasks the reader controls."""
        self.moved: set[str] = set()

    # --- moves -------------------------------------------------------------------------------------------------------

    def moves(self) -> None:
        """What was moved, could not be moved, or is still being moved; also what was left of the sweep before."""
        for row in self.summary.rows:
            self.tell_move(row, "moved")
        for row in self.summary.left:
            self.tell_move(row, "moved_late")
        self.moved = {row.operation.task for row in self.summary.rows if row.state is State.DONE}

    def tell_move(self, row: StoredOperation, section: str) -> None:
        """One move, in that section if it was done."""
        move, record, write = row.operation.action, self.summary.records.get(row.operation.task), self.writer.task
        if record is None or not isinstance(move, SetDeadline) or move.seen is None:
            return
        supervisor, owner, count = move.supervisor, move.owner, move.move
        before, after = move.seen, move.deadline
        if row.state is State.DONE:
            why = self.writer.reason(move, self.summary.moment)
            said: dict[str, Any] = {"before": before, "after": after, "count": count, "why": Markup(why)}
            place = (-count, self.writer.name(owner), before)
            key = "moved_away" if move.away else "moved"
            line = write(key, record, owner, **said)
            if not move.fits:
                self.tell_supervisor(supervisor, owner, "unfit", place, line)
                self.tell_both(None, owner, "moved", place, None, write(f"own_{key}", record, **said))
            elif section == "moved":
                self.tell_both(supervisor, owner, section, place, line, write(f"own_{key}", record, **said))
            else:
                self.tell_supervisor(supervisor, owner, section, place, line)
        elif row.state is State.FAILED:
            why = shortened(folded(row.error_text) or row.error_code, REASON)
            self.tell_supervisor(supervisor, owner, "failed", before, write("failed", record, owner, why=why))
        elif row.state is State.DROPPED and row.error_text in UNSENT:
            why = row.error_text
            self.tell_supervisor(supervisor, owner, "unsent", before, write("unsent", record, owner, why=why))
        elif row.state in UNFINISHED:
            self.tell_supervisor(supervisor, owner, "remaining", before, None)

    def passed(self) -> None:
        """What was lent to substitutes, and what came back: to whoever controls it, and to whom it goes."""
        for row in self.summary.passed:
            change, record = row.operation.action, self.summary.records.get(row.operation.task)
            if row.state is not State.DONE or record is None or not isinstance(change, SetPeople) or not change.owner:
                continue
            section = "lent" if change.lending == "lend" else "back"
            absent = self.writer.name((change.absent if section == "lent" else change.seen) or 0)
            place = (self.writer.name(change.owner), record.portal_id)
            line, own = (
                self.writer.task(key, record, change.owner, absent=absent, until=change.until)
                for key in (section, f"own_{section}")
            )
            supervisor = supervisor_of(record, self.company, rules=self.rules)
            self.tell_both(supervisor, change.owner, section, place, line, own)

    # --- what stays --------------------------------------------------------------------------------------------------

    def stays(self) -> tuple[str, ...]:
        """Escalated tasks, those that wait for acceptance, those of closed deals and of such as are gone; the keys of
        what is told only once and somebody hears."""
        told: list[str] = []
        for one in self.summary.stays:
            record = self.summary.records.get(one.ref)
            if record is None or not record.open or (one.fate == "awaiting" and record.status != AWAITING):
                continue
            if one.fate == "escalate":
                if self.escalate(one, record):
                    told.append(step_key(one.ref))
                continue
            line = self.writer.task(one.fate, record, one.owner, since=one.since)
            heard = self.tell_supervisor(one.supervisor, one.owner, one.fate, one.since, line)
            if one.fate == "gone_deal" and heard:
                told.append(gone_key(one.ref))
        return tuple(told)

    def escalate(self, one: Stay, record: TaskRecord) -> bool:
        """To the supervisor's own head, and the supervisor hears of it; later to the heads above; what nobody controls,
        to administrators. False: nobody hears it."""
        said: dict[str, Any] = {"since": one.since, "count": one.moves}
        write = self.writer.task
        if one.at_top:
            line = write("escalate_top" if one.supervisor else "escalate_alone", record, one.owner, **said)
            return self.tell_supervisor(one.supervisor, one.owner, "escalate", one.since, line)
        name = self.writer.name(one.supervisor or 0)
        if one.last is not None:
            former = reader_of(one.known, heads(self.company, one.supervisor, apart=one.owner))
            key, said["last"] = ("escalate_again" if former == one.to else "escalate_higher"), one.last
            line = write(key, record, one.owner, **said, supervisor=name, reader=self.writer.name(former or 0))
            return self.tell_supervisor(one.to, one.owner, "escalate", one.since, line)
        line = write("escalate", record, one.owner, **said, supervisor=name)
        heard = self.tell_supervisor(one.to, one.owner, "escalate", one.since, line)
        above = self.reader(one.to, one.owner)
        if above is not None and above != self.reader(one.supervisor, one.owner):
            line = write("escalated", record, one.owner, **said, reader=self.writer.name(above))
            self.tell_supervisor(one.supervisor, one.owner, "escalated", one.since, line)
        return heard

    # --- what is open ------------------------------------------------------------------------------------------------

    def open_tasks(self) -> None:
        """What is due on the days that the sweep looks at, tasks of fired employees, and who controls whose."""
        calendar = self.rules.calendar
        for record in self.summary.open_tasks:
            if record.portal_id is None or not in_scope(record, self.overdue, self.rules):
                continue
            owner = record.owner_id
            supervisor = supervisor_of(record, self.company, rules=self.rules)
            if supervisor and supervisor != owner and (reader := self.reader(supervisor, owner)):
                self.people[reader].add(owner)
            self.tell_fired(record)
            if record.deadline is None or record.status not in MOVABLE_STATUSES:
                continue
            due = calendar.local(record.deadline)
            if self.writer.is_due(due.date()) and not is_overdue(record, self.summary.moment):
                self.tell_due(record, supervisor, due)

    def tell_fired(self, record: TaskRecord) -> None:
        """A task of somebody who does not work here any more."""
        user = self.company.users.get(record.owner_id)
        if user is not None and not user.active:
            place = (self.writer.name(user.id), record.portal_id)
            line = self.writer.task("fired", record, user.id)
            self.tell_supervisor(head_over(self.company, user.id), user.id, "fired", place, line)

    def tell_due(self, record: TaskRecord, supervisor: int | None, due: datetime) -> None:
        """A task that is due; one that this sweep moved there is shown as moved already and only counted here."""
        at, owner = self.writer.due_at(due), record.owner_id
        moved = record.ref in self.moved
        self.tell_both(
            supervisor,
            owner,
            "due",
            (due, self.writer.name(owner), record.portal_id),
            None if moved else self.writer.task("due", record, owner, at=at),
            None if moved else self.writer.task("own_due", record, at=at),
        )

    def stuck(self) -> tuple[str, ...]:
        """Deals that stay in a stage longer than its limit, to the head over the responsible, later to those
        above; the keys of those that somebody hears of."""
        told: list[str] = []
        for key, (deal, entered) in self.summary.stuck.items():
            above = heads(self.company, deal.responsible_id)
            step, before = self.summary.steps.get(key, (1, None))
            reader, former = reader_of(step, above), reader_of(before.step, above) if before is not None else None
            line = self.writer.deal("stuck", deal, since=entered)
            if before is not None and former is not None:
                form = "stuck_again" if former == reader else "stuck_higher"
                line = self.writer.deal(form, deal, since=entered, last=before.at, reader=self.writer.name(former))
            if self.tell_supervisor(reader, deal.responsible_id, "stuck", entered, line):
                told.append(key)
        return tuple(told)

    def idle(self) -> tuple[str, ...]:
        """Deals without a next step, to whoever is responsible and the head over them; the keys of those that somebody
        hears of."""
        told: list[str] = []
        for key, (deal, since) in self.summary.idle.items():
            head = head_over(self.company, deal.responsible_id)
            line, own = (self.writer.deal(name, deal, since=since) for name in ("idle", "own_idle"))
            if self.tell_both(head, deal.responsible_id, "idle", since, line, own):
                told.append(key)
        return tuple(told)

    def load(self) -> None:
        """The load of his people, to each supervisor who hears anything at all: open, overdue and due tasks, counted as
        ``report load`` does, whatever the sweep's scope is; the most loaded first."""
        counts: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0])
        for record in self.summary.open_tasks:
            count = counts[record.owner_id]
            count[0] += 1
            if record.deadline is not None:
                count[1] += is_overdue(record, self.summary.moment)
                count[2] += self.writer.is_due(self.rules.calendar.local(record.deadline).date())
        for reader, notice in self.notices.items():
            for owner in self.people.get(reader, ()) if "supervisor" in self.overdue.notify else ():
                open_, late, due = counts[owner]
                line = self.writer.load(owner, open_=open_, late=late, due=due)
                notice.put("load", (-open_, self.writer.name(owner)), line)

    # --- who ---------------------------------------------------------------------------------------------------------

    def reader(self, user: int | None, owner: int) -> int | None:
        """Who reads what is meant for a supervisor."""
        return reader_for(user, self.company, away=self.summary.away, owner=owner)

    def tell_both(
        self, supervisor: int | None, owner: int, section: str, place: Any, line: Line | None, own: Line | None
    ) -> bool:
        """The same to supervisor and owner, each in his section; to one who is both, once. False: nobody hears it."""
        heard = supervisor != owner and self.tell_supervisor(supervisor, owner, section, place, line)
        if "owner" in self.overdue.notify and self.company.active(owner):
            self.notice(owner).put(f"own_{section}", place, own)
            return True
        return heard or (supervisor == owner and self.tell_supervisor(supervisor, owner, section, place, line))

    def tell_supervisor(self, user: int | None, owner: int, section: str, place: Any, line: Line | None) -> bool:
        """A line for a supervisor, if the file wants supervisors told; what must be heard goes to the administrators
        else. False: nobody hears it."""
        reader = self.reader(user, owner) if "supervisor" in self.overdue.notify else None
        readers = [reader] if reader else self.summary.admins if section in MUST_BE_HEARD else ()
        heard = False
        for one in readers:
            if self.company.active(one):
                heard = True
                notice = self.notice(one)
                notice.put(section, place, line)
                if user is not None and user != one and user in self.summary.away:
                    notice.stands_in.add(user)
        return heard

    def notice(self, user: int) -> Notice:
        """What a person hears; begun if there is nothing yet."""
        return self.notices.setdefault(user, Notice())
