"""Carry operations out: settle what is unknown, look before old creates, read before changes, send, note the outcome.

Each step works on one batch, so whoever runs it can look up between two of them. Nothing is sent that is not committed
as ``sending`` first, nothing is sent twice before it was looked up. Whatever happens between the two commits, even what
ends the thread: what is known of a batch is kept until the database takes it, and the rest of it is unknown at once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog

from bitrix_sync.decisions.guards import NEED_READING, OF_STATUS, Settled, guard, is_of_deal, is_unmarked
from bitrix_sync.errors import BitrixSyncError, LeaseLost, PortalError
from bitrix_sync.model import keys
from bitrix_sync.model.actions import AddItem, AddLine, Kind, MoveDeal, SendMessage, SetDeadline
from bitrix_sync.model.facts import PortalTask, Visit
from bitrix_sync.model.keys import Key, Purpose, foreign_ref
from bitrix_sync.model.operations import OperationResult, State, StoredOperation, TaskRecord
from bitrix_sync.model.reasons import Reason
from bitrix_sync.portal import lookups, reading
from bitrix_sync.portal.batch_size import BatchSize
from bitrix_sync.portal.client import Command, Portal
from bitrix_sync.portal.dialect import parsing, writing
from bitrix_sync.portal.dialect.commands import fits_batch
from bitrix_sync.portal.dialect.outcomes import Outcome
from bitrix_sync.portal.rate_limiter import RESERVE
from bitrix_sync.store import Store

log = structlog.get_logger(__name__)

FULL_BATCH = 50
AT_HAND = 3 * FULL_BATCH
"""So many operations are looked at for one batch: some of them are settled by a look, others are read ahead."""
ALONG = 8
"""Commands of a batch that the reading of what changed takes at the most, if it travels along."""
URGENT = {Kind.CREATE: 10, Kind.DEADLINE: 30, Kind.PEOPLE: 30}
"""When a method's operating time runs short, what is left goes to operations of these urgencies: first tasks with near
deadlines, what follows a deal; not to sweeps."""
LATE_COMMIT = timedelta(seconds=10)
"""An ambiguous write rests at least so long after it was noticed."""
PARTS = frozenset({Kind.CHECKLIST, Kind.LINE})
LOOK_FOR = timedelta(hours=1)
"""So long what the portal shows without sense is asked for, to find there what was sent."""
LOOK_AHEAD = 1000
LOOK_KEEPS = timedelta(minutes=1)
"""How many creations are looked up at once, and how long "not there" is believed before the first send."""
READ_KEEPS = timedelta(seconds=5)
"""What was read ahead is believed so long by a batch that takes the reading of what changed along."""
GIVE_UP_LATER = timedelta(seconds=30)
PUT_OFF = timedelta(minutes=1)
UPDATE = writing.METHODS[Kind.DEADLINE]
"""Note of a creation that was not sent, or not known to have arrived: its task may have all that belongs to it."""
STRANGER_CODE = "stranger"
"""Error code of an operation that ended because its task's number is another task's now."""
READ_FIRST = (NEED_READING - PARTS) | {Kind.MOVE_DEAL}
"""What was in doubt needs no look-up of its own: it is weighed against a reading before every send anyway."""


def _go_on(_name: str) -> None:
    """No crash."""


crash_point: Callable[[str], None] = _go_on
"""Called before and after every send: where a test ends the process."""


@dataclass(slots=True)
class Sender:
    """What applying works with. ``clock`` is our own (aware UTC); ``pace`` remembers how quick the portal's commands
    are; ``read_ahead`` the tasks that were read with the last batch, at ``read_at``."""

    store: Store
    portal: Portal
    epoch: int
    self_id: int
    settle: timedelta
    clock: Callable[[], datetime]
    pace: BatchSize = field(default_factory=BatchSize)
    read_ahead: dict[int, PortalTask | None] = field(default_factory=dict)
    read_at: datetime | None = None
    looked: dict[int, datetime] = field(default_factory=dict)
    """Creations that were looked up and not found, and when."""
    under_way: bool = False
    """Something may be marked as being sent of which the store does not hold yet what became of it."""
    owed: dict[int, OperationResult] = field(default_factory=dict)
    """What is known to have become of operations, and is not noted yet."""


@dataclass(slots=True)
class Applied:
    """What one run did: operations by what became of them."""

    done: list[StoredOperation] = field(default_factory=list)
    failed: list[tuple[StoredOperation, OperationResult]] = field(default_factory=list)
    dropped: list[tuple[StoredOperation, OperationResult]] = field(default_factory=list)
    unknown: int = 0
    again: int = 0

    def add(self, row: StoredOperation, finished: OperationResult) -> None:
        """Note one outcome."""
        match finished.state:
            case State.DONE:
                self.done.append(row)
            case State.FAILED:
                self.failed.append((row, finished))
            case State.DROPPED:
                self.dropped.append((row, finished))
            case State.UNKNOWN:
                self.unknown += 1
            case _:
                self.again += 1


def apply(
    sender: Sender, *, interrupted: Callable[[], bool] = lambda: False, applied: Applied | None = None
) -> Applied:
    """Settle what has rested, and carry out what is ready until nothing is, or until ``interrupted``; at most one batch
    is under way. ``applied``: an account to go on with."""
    if applied is None:
        applied = Applied()
        forget_old(sender)
    settled = settle(sender, applied)  # also where something else is always due: a reading takes writes along, not this
    while not interrupted() and (settled or send(sender, applied)):
        settled = settle(sender, applied)
    return applied


# --- settling --------------------------------------------------------------------------------------------------------


def make_good(sender: Sender) -> None:
    """After trouble, before anything else: note what is known of what was being sent; the rest of it is unknown. Raises
    as the store does, and is then to be called again."""
    if not (sender.under_way or sender.owed):
        return
    note(sender)
    sender.store.settle_sending(sender.epoch, sender.clock())
    sender.under_way = False


def note(sender: Sender) -> None:
    """Note what is owed to the store, all at once; where the store stumbles over one, the others without it: that one
    is unknown, so that it is looked up and tried again."""
    owed = list(sender.owed.values())
    try:
        note_outcomes(sender, owed)
    except LeaseLost:
        sender.owed.clear()  # whoever has it now finds out by himself
        raise
    except (BitrixSyncError, OSError, MemoryError):
        raise
    except Exception:
        log.warning("outcomes cannot be noted together; they are noted one by one", count=len(owed), exc_info=True)
        for one in owed:
            try:
                note_outcomes(sender, [one])
            except (BitrixSyncError, OSError, MemoryError):
                raise
            except Exception as fault:
                log.exception("the outcome of an operation cannot be noted; it is unknown", operation=one.id)
                doubt = OperationResult(one.id, State.UNKNOWN, error_text=Reason.NOT_NOTED.of(type(fault).__name__))
                note_outcomes(sender, [doubt])
            del sender.owed[one.id]
    sender.owed.clear()


def note_outcomes(sender: Sender, outcomes: Sequence[OperationResult]) -> None:
    """Note outcomes as of now, by both clocks."""
    sender.store.finish(outcomes, sender.epoch, sender.clock(), sender.portal.now())


def settle(sender: Sender, applied: Applied) -> bool:
    """Look up every unknown operation whose rest is over; True if there was one."""
    make_good(sender)
    now = sender.clock()
    due = [row for row in sender.store.unknown() if now >= rests_until(row, sender.settle)][:FULL_BATCH]
    if not due:
        return False
    finished: list[OperationResult] = []
    creates: list[StoredOperation] = []
    others: list[StoredOperation] = []
    for row in due:
        if row.operation.kind in READ_FIRST:
            finished.append(OperationResult(row.id, State.PLANNED))
        else:
            (creates if row.operation.kind is Kind.CREATE else others).append(row)
    finished += look_up_creates(sender, creates)
    finished += look_up(sender, others).values()
    close(sender, due, finished, applied)
    return any(one.state is not State.UNKNOWN for one in finished)


def look_up_creates(sender: Sender, rows: Sequence[StoredOperation]) -> list[OperationResult]:
    """Creations are done if their tasks are in the portal; else they may be sent again, if anybody can tell."""
    found = find_created(sender.portal, rows)
    absent = State.UNKNOWN if is_blind(sender) else State.PLANNED
    return [adopt(row, found) or OperationResult(row.id, absent) for row in rows]


def is_blind(sender: Sender) -> bool:
    """True when a row of the last look-up by marks did not say whose it is: what was not found may be there."""
    return bool(sender.portal.memory.bad.ids("mark"))


def rests_until(row: StoredOperation, settle_for: timedelta) -> datetime:
    """When an unknown operation may be looked up: the later of sent + settle and noticed + 10 s. Also what may be sent
    twice without harm: if it came through late, it would undo what was sent after it."""
    sent = row.sent or row.noticed or datetime.min.replace(tzinfo=UTC)
    return max(sent + settle_for, (row.noticed or sent) + min(settle_for, LATE_COMMIT))


def find_created(portal: Portal, rows: Sequence[StoredOperation]) -> dict[str, int]:
    """Mark → lowest task id in the portal, looked up by mark and among the tasks of the deals. A task of another deal
    is not the one: the portal was put back, and the number of the history row is used again."""
    if not rows:
        return {}
    deals = {mark_of(row): row.operation.deal_id for row in rows}
    tasks = reading.tasks_by_mark_or_deal(portal, sorted(deals), sorted(set(deals.values())))
    found: dict[str, int] = {}
    for task in tasks:
        if task.mark in deals and is_of_deal(task, deals[task.mark]):
            found[task.mark] = min(task.id, found.get(task.mark, task.id))
    return found


def mark_of(row: StoredOperation) -> str:
    """XML_ID of the task that a CREATE makes."""
    return keys.mark_of(row.operation.task)


def adopt(row: StoredOperation, found: dict[str, int]) -> OperationResult | None:
    """The create is done if the portal has its mark."""
    task_id = found.get(mark_of(row))
    return None if task_id is None else OperationResult(row.id, State.DONE, result=task_id, error_text=Reason.FOUND)


def look_up(sender: Sender, rows: Sequence[StoredOperation]) -> dict[int, OperationResult]:
    """Look operations up that are neither creates nor read before they are sent, many in one request: by id, DONE if
    they are in the portal, PLANNED if not, UNKNOWN as long as nobody can tell. What cannot be looked up, or for too
    long, is done: it is said at most once rather than twice."""
    asked = {row.id: one for row in rows if (one := question_of(row, sender.self_id)) is not None}
    found = {find: find(sender.portal, [pair for finder, pair in asked.values() if finder is find]) for find in FINDERS}
    finished = {}
    for row in rows:
        late = row.sent is not None and sender.clock() - row.sent > LOOK_FOR
        finder, pair = asked.get(row.id, (None, (0, "")))
        shown = found[finder] if finder is not None else None
        finished[row.id] = looked_up(row, shown, pair, late=late)
    return finished


def looked_up(row: StoredOperation, shown: lookups.Shown | None, pair: lookups.Pair, *, late: bool) -> OperationResult:
    """What a look makes of an operation; ``shown``: None if it cannot be looked up; ``late``: it is for too long."""
    if shown is not None and pair in shown.there:
        return OperationResult(row.id, State.DONE, shown.there[pair])
    if shown is not None and pair not in shown.unsure:
        return OperationResult(row.id, State.PLANNED)
    if shown is not None and not late:
        return OperationResult(row.id, State.UNKNOWN)
    return OperationResult(row.id, State.DONE, error_text=Reason.NOT_CONFIRMED)


Find = Callable[[Portal, Sequence[lookups.Pair]], lookups.Shown]
FINDERS: tuple[Find, ...] = (lookups.find_items, lookups.find_lines, lookups.find_messages)


def question_of(row: StoredOperation, self_id: int) -> tuple[Find, lookups.Pair] | None:
    """How to look an operation up: where it is to be, and its text or its mark. None: it cannot be looked up."""
    match row.operation.action:
        case AddItem(title=title):
            return lookups.find_items, (row.task_id or 0, title)
        case AddLine(text=text):
            return lookups.find_lines, (row.task_id or 0, text)
        case SendMessage(user=user, mark=mark) if user != self_id:
            return lookups.find_messages, (user, mark)
    return None


def moved_on(row: StoredOperation, history: Sequence[Visit]) -> OperationResult | None:
    """A move of a deal is done if history shows its stage after the visit, and pointless if it shows another one, or
    the visit no more. None: the visit is still the deal's latest, so it may be sent."""
    move = row.operation.action
    assert isinstance(move, MoveDeal), "only moves of deals are weighed against history"
    of_deal = {visit.id: visit.stage_id for visit in history if visit.deal_id == row.operation.deal_id}
    later = {stage for number, stage in of_deal.items() if number > move.visit}
    if move.stage in later:
        return OperationResult(row.id, State.DONE)
    if later or move.visit not in of_deal:
        return OperationResult(row.id, State.DROPPED, error_text=Reason.DEAL_ELSEWHERE)
    return None


# --- sending ---------------------------------------------------------------------------------------------------------


def send(sender: Sender, applied: Applied, news: reading.ChangeReader | None = None) -> bool:
    """Send one batch of what is ready, with the reading for the next one; True if there was anything to do. ``news``
    travels along if there is room."""
    make_good(sender)
    if news:
        forget_old(sender)
    rows = ready(sender, AT_HAND)
    if not rows:
        sender.read_ahead.clear()
        return False
    going, following = one_batch(sender, rows, room=news.size(ALONG) if news else 0)
    rows, settled = weigh(sender, going)
    commands, senseless = commands_of(sender, rows)
    settled += senseless
    close(sender, going, [finished for _, finished in settled], applied)
    rows = travelling([row for row in rows if row.id in commands], commands)
    if rows:
        mark_and_send(sender, rows, commands, task_ids(following)[:FULL_BATCH], news, applied)
    return bool(rows or settled)


def mark_and_send(
    sender: Sender,
    rows: Sequence[StoredOperation],
    commands: Mapping[int, Command],
    next_ids: Sequence[int],
    news: reading.ChangeReader | None,
    applied: Applied,
) -> None:
    """Note that the rows are being sent, then send them; whatever comes between, they are in doubt from then on."""
    sender.store.look_away()
    sender.portal.rate_limiter.await_slot()
    try:
        sender.under_way = True
        marked = set(sender.store.mark_sending([row.id for row in rows], sender.epoch, sender.clock()))
        rows = [row for row in rows if row.id in marked]
        send_marked(sender, rows, commands, next_ids, news, applied)
    except BaseException:
        with contextlib.suppress(Exception):  # what cannot be noted now is noted before anything else is done
            make_good(sender)
        raise


def one_batch(
    sender: Sender, rows: Sequence[StoredOperation], *, room: int
) -> tuple[list[StoredOperation], list[StoredOperation]]:
    """What of the rows goes in one batch at the portal's present pace, with ``room`` for what travels along; and those
    that come after it."""
    with_reading = any(row.operation.kind in NEED_READING for row in rows)
    methods = [writing.METHODS[row.operation.kind] for row in rows]
    going = set(sender.pace.batch(methods, sender.portal.rate_limiter, most=FULL_BATCH - with_reading - room))
    here = [row for place, row in enumerate(rows) if place in going]
    return here, [row for place, row in enumerate(rows) if place not in going]


def commands_of(
    sender: Sender, rows: Sequence[StoredOperation]
) -> tuple[dict[int, Command], list[tuple[StoredOperation, OperationResult]]]:
    """The commands that carry the rows out, by id; and those of which no command can be made."""
    commands: dict[int, Command] = {}

    def make_command(row: StoredOperation) -> None:
        commands[row.id] = command_of(sender, row)

    return commands, [(row, one) for row in rows if (one := of_sense(sender, row, make_command)) is not None]


def send_marked(
    sender: Sender,
    rows: Sequence[StoredOperation],
    commands: Mapping[int, Command],
    next_ids: Sequence[int],
    news: reading.ChangeReader | None,
    applied: Applied,
) -> None:
    """Send what is marked as being sent, with the reading of the tasks ``next_ids`` and that of the ``news``, and note
    what became of it."""
    if len(rows) <= 1:
        next_ids, news = (), None
    ahead = [reading.tasks_command(next_ids)] if next_ids else []
    place = len(rows) + len(ahead)
    opening = news.opening(place, min(ALONG, FULL_BATCH - place)) if news else []
    crash_point("send:before")
    outcomes = sender.portal.batch([*(commands[row.id] for row in rows), *ahead, *opening])
    crash_point("send:after")
    now = sender.clock()
    finished = [judge_safely(row, outcome, now) for row, outcome in zip(rows, outcomes, strict=False)]
    refused = refused_ends(rows, finished)
    sender.owed |= {one.id: one for one in finished if one.id not in refused}
    finished = look_again(sender, refused, finished)
    close(sender, rows, finished, applied)
    sender.under_way = len(finished) < len(rows)
    sender.pace.learn([commands[row.id].method for row in rows], outcomes[: len(rows)], sender.portal.last_seconds)
    sender.read_ahead = read_tasks(sender.portal, next_ids, outcomes[len(rows)]) if ahead else {}
    sender.read_at = sender.clock()
    if news and opening:
        news.receive(outcomes[place:])


def next_moment(sender: Sender, kinds: Iterable[Kind]) -> datetime | None:
    """When something of these kinds that waits may be looked up or sent, if not now (our clock)."""
    now, limiter = sender.clock(), sender.portal.rate_limiter
    ends = [rests_until(row, sender.settle) for row in sender.store.unknown()]
    for method in {writing.METHODS[kind] for kind in kinds}:
        resting = (limiter.resting_until(method), limiter.resting_until(method, reserve=RESERVE))
        ends += [datetime.fromtimestamp(until, UTC) for until in resting if until is not None]
    return min([*ends, *filter(None, [sender.store.put_off_until(now)])], default=None)


def forget_old(sender: Sender) -> None:
    """Drop what was read ahead if too much time has passed since, for other work came between."""
    if sender.read_at is None or sender.clock() - sender.read_at > READ_KEEPS:
        sender.read_ahead.clear()


def ready(sender: Sender, limit: int) -> list[StoredOperation]:
    """What may be sent now, without what has to wait for its method's operating time."""
    rate_limiter = sender.portal.rate_limiter
    scarce = {
        kind: urgency
        for kind, urgency in URGENT.items()
        if rate_limiter.resting_until(writing.METHODS[kind], reserve=RESERVE) is not None
    }
    return sender.store.ready(sender.clock(), limit, sender.portal.blocked_kinds(), scarce)


def command_of(sender: Sender, row: StoredOperation) -> Command:
    """The command that carries an operation out."""
    seen = sender.read_ahead.get(row.task_id or 0)
    heading = heading_of(sender.store, row) if row.operation.kind is Kind.CHECKLIST else None
    return writing.command(row.operation, task_id=row.task_id, seen=seen, self_id=sender.self_id, heading=heading)


def heading_of(store: Store, row: StoredOperation) -> int | None:
    """What a check-list item hangs on: 0 for the check list itself, else that one's id, once the portal has it."""
    under = row.operation.action.under if isinstance(row.operation.action, AddItem) else None
    if under is None:
        return 0
    return next((found.result for found in store.operations(keys=[under])), None)


def travelling(rows: list[StoredOperation], commands: Mapping[int, Command]) -> list[StoredOperation]:
    """Those of the rows that go in one request: all that fit a batch, or the first alone when that does not fit."""
    if rows and not fits_batch(commands[rows[0].id]):
        return rows[:1]
    return [row for row in rows if fits_batch(commands[row.id])]


def weigh(
    sender: Sender, rows: list[StoredOperation]
) -> tuple[list[StoredOperation], list[tuple[StoredOperation, OperationResult]]]:
    """Split what is ready into what is to be sent and what is settled by a look: old creates that are there already,
    changes of tasks that people have closed, moved or deleted meanwhile, moves of deals that people have moved, and
    what was said already by a process of which this store knows nothing (a backup was put back)."""
    look = look_before(sender, rows)
    settled = [
        (row, one) for row in rows if (one := of_sense(sender, row, partial(settled_by, sender, look))) is not None
    ]
    known = {row.id for row, _ in settled}
    return [row for row in rows if row.id not in known], settled


@dataclass(frozen=True, slots=True)
class Look:
    """What was read before operations are sent. ``old``: creations decided from old news; ``found``: tasks of theirs by
    mark; ``records``: what is remembered of the tasks that are changed; ``history``: of the deals that are moved;
    ``bad``: tasks that cannot be read; ``said``: what became of what may have been said already."""

    at: datetime
    old: frozenset[int]
    found: dict[str, int]
    records: Mapping[str, TaskRecord]
    history: Sequence[Visit]
    bad: Set[int]
    said: Mapping[int, OperationResult]


def look_before(sender: Sender, rows: Sequence[StoredOperation]) -> Look:
    """Read what the operations depend on; their tasks are read ahead."""
    old, found = look_up_old(sender, rows)
    unread = [task_id for task_id in task_ids(rows) if task_id not in sender.read_ahead]
    if unread:
        seen = {task.id: task for task in reading.tasks(sender.portal, unread)}
        sender.read_ahead |= {task_id: seen.get(task_id) for task_id in unread}
    movers = [row.operation.deal_id for row in rows if row.operation.kind is Kind.MOVE_DEAL]
    history = reading.deal_history(sender.portal, movers)
    now, bad = sender.portal.now(), sender.portal.memory.bad.ids("task")
    doubtful = said_before(sender, rows) | written_before(sender, rows)
    said = look_up(sender, [row for row in rows if row.id in doubtful])
    return Look(now, old, found, records_of(sender.store, rows), history, bad, said)


def records_of(store: Store, rows: Iterable[StoredOperation]) -> dict[str, TaskRecord]:
    """What is remembered of the tasks that are changed, by both of their names."""
    remembered = store.task_records(refs=[row.operation.task for row in rows if needs_reading(row)])
    known = {record.ref: record for record in remembered}
    return known | {foreign_ref(record.portal_id): record for record in remembered}  # met before known to be ours


def settled_by(sender: Sender, look: Look, row: StoredOperation) -> OperationResult | None:
    """What a look settled of an operation; None: it is to be sent."""
    if row.id in look.old:
        return adopt(row, look.found) or (put_off(sender, row) if is_blind(sender) else None)
    if row.operation.kind is Kind.MOVE_DEAL:
        return moved_on(row, look.history)
    if needs_reading(row) and (found := task_settled_by(sender, look, row)):
        return found
    said = look.said.get(row.id)
    if said is None or said.state is State.PLANNED:
        return None
    return put_off(sender, row) if said.state is State.UNKNOWN else said


def task_settled_by(sender: Sender, look: Look, row: StoredOperation) -> OperationResult | None:
    """What the reading of its task settled of an operation; None: nothing."""
    seen, record = sender.read_ahead.get(row.task_id or 0), look.records.get(row.operation.task)
    if row.task_id in look.bad or (seen is not None and is_unmarked(seen, record, row.operation.task)):
        return put_off(sender, row)
    verdict = guard(row.operation, seen, record, now=look.at)
    return verdict_on(row, verdict) if verdict else None


def put_off(sender: Sender, row: StoredOperation) -> OperationResult:
    """What it depends on cannot be read now."""
    return OperationResult(row.id, State.PLANNED, not_before=sender.clock() + PUT_OFF, error_text=Reason.UNREADABLE)


def of_sense(
    sender: Sender, row: StoredOperation, judged: Callable[[StoredOperation], OperationResult | None]
) -> OperationResult | None:
    """What is ``judged`` of an operation; one of which we can make no sense is put off, and the others go on."""
    try:
        return judged(row)
    except (BitrixSyncError, OSError, MemoryError):
        raise
    except Exception as fault:
        log.exception("an operation is put off, for it makes no sense; the others go on", operation=row.operation.key)
        text = Reason.NO_SENSE.of(type(fault).__name__)
        return OperationResult(row.id, State.PLANNED, not_before=sender.clock() + PUT_OFF, error_text=text)


def verdict_on(row: StoredOperation, verdict: Settled) -> OperationResult:
    """What a look at its task makes of an operation."""
    code = STRANGER_CODE if verdict.stranger else ""
    return OperationResult(row.id, verdict.state, error_code=code, error_text=verdict.reason, stranger=verdict.stranger)


def written_before(sender: Sender, rows: Sequence[StoredOperation]) -> set[int]:
    """Check-list items and lines that may be in the portal though the store does not know it (a restored backup): what
    they belong to was found there and not made. They are looked up before the first send."""
    grounds = {row.id: ground_of(row) for row in rows if row.operation.kind in PARTS and not row.attempts}
    known = {found.operation.key: found for found in sender.store.operations(keys=list(grounds.values()))}
    return {
        row_id
        for row_id, key in grounds.items()
        if (ground := known.get(key)) is not None and ground.state is State.DONE and not ground.attempts
    }


def ground_of(row: StoredOperation) -> str:
    """Key of the operation that a check-list item or a line belongs to."""
    if row.operation.kind is Kind.CHECKLIST:
        return str(Key(Purpose.CREATE, row.operation.task))
    return keys.ground_of(row.operation.key)


def look_up_old(sender: Sender, rows: Sequence[StoredOperation]) -> tuple[frozenset[int], dict[str, int]]:
    """Which of the rows are creations decided from old news and looked up just now, and what was found of them. After a
    downtime there are many: those that come next are looked up in the same request."""
    now = sender.clock()
    mine = old_news(rows)
    sender.looked = {row_id: at for row_id, at in sender.looked.items() if now - at < LOOK_KEEPS}
    if mine.keys() <= sender.looked.keys():
        return frozenset(), {}
    old = (mine | old_news(ready(sender, LOOK_AHEAD))).values()
    found = find_created(sender.portal, list(old))
    if not is_blind(sender):
        sender.looked |= {row.id: now for row in old if mark_of(row) not in found}
    return frozenset(mine), found


def said_before(sender: Sender, rows: Sequence[StoredOperation]) -> set[int]:
    """Ids of what may be in the portal although it was never sent: lines and messages decided from old news, and check
    lists of tasks that were not made but found. What the webhook's own user was told cannot be looked up."""
    unsent = [row for row in rows if not row.attempts]
    items = {str(Key(Purpose.CREATE, row.operation.task)) for row in unsent if row.operation.kind is Kind.CHECKLIST}
    creates = sender.store.operations(keys=items) if items else ()
    found = {row.operation.task for row in creates if row.error_text == Reason.FOUND}

    def is_doubtful(row: StoredOperation) -> bool:
        if row.operation.kind is Kind.CHECKLIST:
            return row.operation.task in found
        return row.operation.look_first and (row.operation.kind is Kind.LINE or is_to_others(row, sender.self_id))

    return {row.id for row in unsent if is_doubtful(row)}


def is_to_others(row: StoredOperation, self_id: int) -> bool:
    """True for a message to a person other than the webhook's own user."""
    return isinstance(row.operation.action, SendMessage) and row.operation.action.user != self_id


def old_news(rows: Iterable[StoredOperation]) -> dict[int, StoredOperation]:
    """The creations among them that are looked up before their first send, by id."""
    creates = [row for row in rows if row.operation.kind is Kind.CREATE]
    return {row.id: row for row in creates if row.operation.look_first and not row.attempts}


def needs_reading(row: StoredOperation) -> bool:
    """True when the operation's task is read before it is sent."""
    return row.operation.kind in NEED_READING and row.task_id is not None


def task_ids(rows: Sequence[StoredOperation]) -> list[int]:
    """The portal's ids of the tasks to read before these are sent."""
    return list(dict.fromkeys(row.task_id for row in rows if needs_reading(row) and row.task_id))


def read_tasks(portal: Portal, wanted: Sequence[int], outcome: Outcome) -> dict[int, PortalTask | None]:
    """The reading that travelled with a batch; nothing when it failed (it is then read again)."""
    if outcome.kind != "done":
        return {}
    seen = {task.id: task for task in reading.parse_tasks(portal, outcome.value, wanted)}
    return {task_id: seen.get(task_id) for task_id in wanted}


def judge(row: StoredOperation, outcome: Outcome, now: datetime) -> OperationResult:
    """What an answer makes of an operation."""
    kind = row.operation.kind
    match outcome.kind:
        case "done":
            made = writing.created_id(kind, outcome)
            if kind is Kind.CREATE and made is None:
                return OperationResult(row.id, State.UNKNOWN, error_text=Reason.NO_ID)
            if kind is Kind.DEADLINE and kept_old(row, outcome):
                return OperationResult(row.id, State.FAILED, error_text=Reason.DEADLINE_KEPT)
            return OperationResult(row.id, State.DONE, result=made)
        case "again":
            return OperationResult(
                row.id, State.PLANNED, not_before=retry_moment(outcome, now), error_code=outcome.code
            )
        case "refused" if outcome.fatal:
            return OperationResult(
                row.id, State.PLANNED, not_before=now + GIVE_UP_LATER, error_code=outcome.code, error_text=outcome.text
            )
        case "refused":
            return OperationResult(row.id, State.FAILED, error_code=outcome.code, error_text=outcome.text)
        case _:
            return OperationResult(row.id, State.UNKNOWN, error_code=outcome.code, error_text=outcome.text)


def judge_safely(row: StoredOperation, outcome: Outcome, now: datetime) -> OperationResult:
    """The same; an answer that cannot be judged leaves its own operation in doubt and no other."""
    try:
        return judge(row, outcome, now)
    except Exception as fault:
        log.exception("an answer of the portal cannot be judged", operation=row.operation.key)
        return OperationResult(row.id, State.UNKNOWN, error_text=Reason.NOT_JUDGED.of(type(fault).__name__))


def refused_ends(rows: Sequence[StoredOperation], finished: Sequence[OperationResult]) -> dict[int, StoredOperation]:
    """Which of the operations that end a task were refused, by id."""
    ends = {row.id: row for row in rows if row.operation.kind in OF_STATUS and needs_reading(row)}
    return {one.id: ends[one.id] for one in finished if one.state is State.FAILED and one.id in ends}


def look_again(
    sender: Sender, refused: Mapping[int, StoredOperation], finished: Sequence[OperationResult]
) -> list[OperationResult]:
    """The portal refuses to end a task that has ended: when somebody was quicker by a moment, nothing has failed. As
    long as the tasks cannot be read it is unknown."""
    if not refused:
        return list(finished)
    try:
        seen = {task.id: task for task in reading.tasks(sender.portal, task_ids(list(refused.values())))}
    except PortalError as fault:
        return [
            OperationResult(one.id, State.UNKNOWN, error_text=str(fault)) if one.id in refused else one
            for one in finished
        ]
    now, bad = sender.portal.now(), sender.portal.memory.bad.ids("task")
    settled = {
        row.id: guard(row.operation, seen.get(row.task_id or 0), None, now=now)
        for row in refused.values()
        if row.task_id not in bad
    }
    return [verdict_on(refused[one.id], verdict) if (verdict := settled.get(one.id)) else one for one in finished]


def kept_old(row: StoredOperation, outcome: Outcome) -> bool:
    """True when the portal agreed to a new deadline and shows the old one: its own limits on changes of deadlines, or a
    task whose dates are those of its subtasks."""
    before = row.operation.action.seen if isinstance(row.operation.action, SetDeadline) else None
    told = outcome.value.get("task") if isinstance(outcome.value, Mapping) else None
    shown = parsing.minute(told.get("deadline")) if isinstance(told, Mapping) else None
    return before is not None and shown == before


def retry_moment(outcome: Outcome, now: datetime) -> datetime | None:
    """When to send again what was refused before it ran; None: as soon as the pacer allows."""
    if outcome.retry_at is None:
        return None
    return max(now, datetime.fromtimestamp(outcome.retry_at, tz=now.tzinfo))


def close(
    sender: Sender, rows: Sequence[StoredOperation], finished: Sequence[OperationResult], applied: Applied
) -> None:
    """Note what became of operations, in the store and in the account of this run."""
    if not finished:
        return
    sender.owed |= {one.id: one for one in finished}
    note(sender)
    by_id = {row.id: row for row in rows}
    for one in finished:
        if one.state is State.FAILED:
            key, said = by_id[one.id].operation.key, {"code": one.error_code, "text": one.error_text}
            log.error("the portal refused", operation=key, **said)
        applied.add(by_id[one.id], one)
