"""The end of a run: what the portal holds and what the store remembers, against what was foretold."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from bitrix_sandbox.http.server import Sandbox
from bitrix_sandbox.state.task_records import DONE, Task
from tests.chaos.expected import Expected, Sweep, predict
from tests.chaos.fates import ENDS, ERRORS
from tests.chaos.office import BOSS, HEAD, SELLERS
from tests.chaos.people import MARK, People, Visit

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
RACE = timedelta(seconds=2)
"""A person may move a deal while our own move is on its way: the portal knows no condition on a change."""

WORDS = {"Full": "the disk is full", "Locked": "another program holds it locked"}
"""How the store itself says these."""


@dataclass(slots=True)
class Verdict:
    """What is wrong, and what there was."""

    faults: list[str] = field(default_factory=list)
    occurrences: int = 0
    moved: int = 0
    messages: int = 0
    advanced: int = 0
    races: int = 0

    def wrong(self, text: str) -> None:
        """Note a fault."""
        self.faults.append(text)

    def same(self, what: str, seen: Any, wanted: Any) -> None:
        """Note a difference."""
        if seen != wanted:
            self.wrong(f"{what}: {seen}, not {wanted}")


SURELY_TOLD = 5
"""So many unreadable rows do not pass unnoticed."""
LEFT_OUT, NO_ROWS = "cannot be read; it is left out", "Some rows of the portal cannot be read"
"""What the log and an administrator are told of them."""


def read(path: Path, query: str) -> list[tuple[Any, ...]]:
    """Rows of the store, read as any program may."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as connection:
        return connection.execute(query).fetchall()


def moment(micros: int | None) -> datetime | None:
    """A moment as the store keeps it."""
    return None if micros is None else EPOCH + timedelta(microseconds=micros)


def judge(portal: Sandbox, store: Path, people: People, slots: list[str], *, bucket: int) -> Verdict:
    """Compare; the service is no longer running."""
    verdict = Verdict()
    visits = _visits(portal, people, verdict)
    _history(store, people, portal, verdict)
    sweeps = _sweeps(store, slots, verdict)
    wanted = predict(visits, people.diary, sweeps)
    verdict.occurrences = sum(one.certain for one in wanted.values())
    _tasks(portal, store, wanted, verdict)
    _advances(portal, people, wanted, verdict)
    _operations(store, {name for name, one in wanted.items() if one.deleted}, verdict)
    _messages(portal, store, verdict)
    _little_things(portal, store, verdict)
    verdict.same("requests refused by the portal's limits", portal.limits.refused(), 0)
    if portal.limits.high_water > bucket:
        verdict.wrong(f"the bucket was fuller than it may be: {portal.limits.high_water}")
    verdict.same("defects of the sandbox", [repr(crash) for crash in portal.journal.crashes], [])
    return verdict


def _visits(portal: Sandbox, people: People, verdict: Verdict) -> list[Visit]:
    """Every row since the beginning; those that people did not make must be the service's own moves."""
    found = []
    for row in portal.state.history.values():
        if row.id <= people.first_row:
            continue
        known = people.diary.visits.get(row.id)
        if known is None and row.stage_id != "CONTRACT":
            verdict.wrong(f"deal {row.deal_id} was moved to {row.stage_id} by nobody")
        found.append(known or Visit(row.id, row.deal_id, row.stage_id, row.created, 0.0))
    return found


def _history(store: Path, people: People, portal: Sandbox, verdict: Verdict) -> None:
    recorded = {
        (row, deal, stage, moment(entered))
        for row, deal, stage, entered in read(store, "select id, deal_id, stage_id, entered from visits")
        if row > people.first_row
    }
    made = {
        (row.id, row.deal_id, row.stage_id, row.created)
        for row in portal.state.history.values()
        if row.id > people.first_row
    }
    for row in made ^ recorded:
        verdict.wrong(f"history row {row} is {'missing from' if row in made else 'invented in'} the store")


def _sweeps(store: Path, slots: list[str], verdict: Verdict) -> list[Sweep]:
    rows = read(store, "select slot, moment, state from sweeps order by moment")
    verdict.same("sweeps that ran", [slot for slot, _, state in rows if state == "done"], slots)
    return [Sweep(slot, moment(at) or EPOCH) for slot, at, state in rows if state != "skipped"]


def _tasks(portal: Sandbox, store: Path, wanted: dict[str, Expected], verdict: Verdict) -> None:
    ours: dict[str, list[Task]] = {}
    for task in portal.state.tasks.values():
        ours.setdefault((task.xml_id or "").removeprefix(MARK), []).append(task)
    remembered = {
        name: (number, moves)
        for name, number, moves in read(store, "select occurrence, portal_id, moves_by_us from tasks")
        if name is not None
    }
    for name in ours.keys() - wanted.keys():
        verdict.wrong(f"task {[task.id for task in ours[name]]} with mark '{name}' that nothing asked for")
    for name, one in wanted.items():
        tasks = ours.get(name, [])
        if one.deleted:
            verdict.same(f"{name}: tasks after a person deleted it", len(tasks), 0)
        elif len(tasks) > 1:
            verdict.wrong(f"{name}: doubled, tasks {[task.id for task in tasks]}")
        elif not tasks and (one.certain or name in remembered):
            verdict.wrong(f"{name} (deal {one.deal}): lost" + (", though decided" if name in remembered else ""))
        elif tasks:
            _task(name, tasks[0], one, verdict)
            number, moves = remembered.get(name, (None, None))
            verdict.same(f"{name}: its number in the store", number, tasks[0].id)
            if one.moves is not None:
                verdict.same(f"{name}: moves counted", moves, one.moves)
            verdict.moved += moves or 0


def _task(name: str, task: Task, one: Expected, verdict: Verdict) -> None:
    verdict.same(f"{name}: bound to", task.crm, (f"D_{one.deal}",))
    if task.responsible_id not in one.owners:
        verdict.wrong(f"{name}: owner {task.responsible_id}, not {sorted(one.owners)}")
    verdict.same(f"{name}: observers", task.auditors, () if one.supervisor is None else (one.supervisor,))
    verdict.same(f"{name}: done", task.status == DONE, one.done)
    if one.deadline is not None:
        verdict.same(f"{name}: deadline", task.deadline, one.deadline.astimezone(UTC))
    items = sorted(item.title for item in (task.checklist or {}).values())
    texts = [title for title in items if title in ("First", "Second")]
    verdict.same(f"{name}: check-list", texts, ["First", "Second"] if one.rule == "note" else [])
    verdict.same(f"{name}: headings", len(items) - len(texts), 1 if one.rule == "note" else 0)


def _advances(portal: Sandbox, people: People, wanted: dict[str, Expected], verdict: Verdict) -> None:
    """The service moves a deal from Offer to Contract when its task is done: once, and only from there."""

    def finished(row: int) -> bool:
        one = wanted[f"{row}:offer"]
        return bool(one.done and not one.deleted)

    for deal in portal.state.deals.values():
        rows = [portal.state.history[row] for row in deal.history]
        ours = [row for row in rows if row.id > people.first_row and row.id not in people.diary.visits]
        verdict.advanced += len(ours)
        for before, row in pairwise(rows):
            if row not in ours or (before.stage_id == "OFFER" and finished(before.id)):
                continue
            if row.created - before.created <= RACE:
                verdict.races += 1
            else:
                verdict.wrong(f"deal {deal.id} was moved on from {before.stage_id} (row {before.id}), to row {row.id}")
        last = rows[-1]
        if last.stage_id == "OFFER" and last.id > people.first_row and finished(last.id) and len(ours) < 5:
            verdict.wrong(f"deal {deal.id} was not moved on from row {last.id}")


def _operations(store: Path, deleted: set[str], verdict: Verdict) -> None:
    """Everything has an end; only what was still to be said in a task that a person has deleted may have failed."""
    query = "select key, task, state, error_code, error_text from operations where state not in ('done', 'dropped')"
    for key, task, state, code, text in read(store, query):
        if state != "failed" or task not in deleted:
            verdict.wrong(f"operation {key} ended as {state} {code} {text}")
    turns = Counter(dict.fromkeys(SELLERS, 0))
    for (payload,) in read(store, "select payload from operations where kind = 'task.create' and key like '%:note'"):
        turns[json.loads(payload)["fields"]["RESPONSIBLE_ID"]] += 1
    if max(turns.values()) - min(turns.values()) > 1:
        verdict.wrong(f"turns were not fair: {dict(turns)}")


def said(portal: Sandbox) -> Counter[tuple[int, str]]:
    """What each person was told, and how often."""
    found: Counter[tuple[int, str]] = Counter()
    for pair, chat in portal.state.dialogs.items():
        for number in portal.state.chats.get(chat, ()):
            found[max(pair), portal.state.messages[number].text] += 1
    for notice in portal.state.notices:
        found[notice.user_id, notice.text] += 1
    return found


def _messages(portal: Sandbox, store: Path, verdict: Verdict) -> None:
    """Each person one message of a sweep; the webhook's own user, who gets a notice, at most one."""
    heard = said(portal)
    verdict.messages = sum(heard.values())
    for (user, text), count in heard.items():
        if count > 1:
            verdict.wrong(f"user {user} was told {count} times: {text[:60]!r}")
    planned = [
        (json.loads(payload), state)
        for payload, state in read(store, "select payload, state from operations where kind = 'message'")
    ]
    for payload, state in planned:
        hits = sum(
            count for (user, text), count in heard.items() if user == payload["user"] and payload["mark"] in text
        )
        if state == "done" and hits != 1 and payload["user"] != BOSS:
            verdict.wrong(f"user {payload['user']} has {hits} messages with the mark {payload['mark']}")
    query = "select sweep, payload from operations where kind = 'task.deadline' and sweep != '' and state = 'done'"
    moved = {(slot, json.loads(payload)["supervisor"]) for slot, payload in read(store, query)}
    for slot, user in sorted((slot, user) for slot, user in moved if user not in (None, BOSS)):
        if not any(user == reader and slot in text for reader, text in heard):
            verdict.wrong(f"user {user} has not heard of the sweep {slot}, which moved tasks that they control")


def _little_things(portal: Sandbox, store: Path, verdict: Verdict) -> None:
    """Lines in tasks: none twice that was said once; slips: each move by a sweep in the record."""
    planned: Counter[tuple[int, str]] = Counter()
    query = "select portal_id, payload from operations o join tasks t on t.id = o.task_row where o.kind = 'task.line'"
    for number, payload in read(store, query):
        planned[number, json.loads(payload)["text"]] += 1
    said: Counter[tuple[int, str]] = Counter()
    for chat, task in portal.state.task_chats.items():
        for text in _lines(portal, chat):
            said[task, text] += 1
    for (task_id, text), count in said.items():
        if count > planned[task_id, text]:
            verdict.wrong(f"task {task_id} was told {count} times: {text!r}")
    slips = Counter(
        name
        for (name,) in read(
            store, "select t.portal_id from slips s join tasks t on t.id = s.task_row where s.by = 'sweep'"
        )
    )
    for task in portal.state.tasks.values():
        moved = sum(change.field == "DEADLINE" and change.user_id == BOSS for change in task.log)
        if (task.xml_id or "").endswith(":ship"):
            continue
        verdict.same(f"task {task.id}: moves on record", slips[task.id], moved)


def told(logs: Sequence[Path], fates: Sequence[Sequence[str]], portal: Sandbox, verdict: Verdict) -> None:
    """What the service met stands in its log, or a rival's: rows that it left out, threads that it lost, errors by kind
    or text. Of the rows an administrator has heard too."""
    text = "".join(log.read_text(encoding="utf-8", errors="replace") for log in logs if log.exists())
    faults = portal.faults.counts()
    met = sorted({what for _, what in fates if what in ERRORS})
    wanted = [(type(ERRORS[what]()).__name__, str(ERRORS[what]()) or what, WORDS.get(what, what)) for what in met]
    wanted += [("stopping",)] * any(what in ENDS for _, what in fates)
    # one that is read rightly before its turn is over is no news
    wanted += [(LEFT_OUT, "UnreadableRow")] * (faults["garbled"] >= SURELY_TOLD)
    for words in wanted:
        if not any(word in text for word in words):
            verdict.wrong(f"the log does not tell of it: {words}")
    if text.count(LEFT_OUT) >= SURELY_TOLD and not any(
        user == HEAD and NO_ROWS in words for user, words in said(portal)
    ):
        verdict.wrong(f"{text.count(LEFT_OUT)} times rows were left out, and no administrator was told")


def _lines(portal: Sandbox, chat: int) -> Iterator[str]:
    for number in portal.state.chats.get(chat, ()):
        message = portal.state.messages[number]
        if message.author_id == BOSS and not message.system:
            yield message.text
