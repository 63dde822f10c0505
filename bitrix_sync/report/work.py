"""Reports on the service itself: how things stand, the sweeps, what it did last, what is held, what failed and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from bitrix_sync.log import redact
from bitrix_sync.model.actions import MoveDeal, SendMessage, title_of
from bitrix_sync.model.keys import SlotId
from bitrix_sync.model.operations import STUCK, State, StoredOperation
from bitrix_sync.report.context import ReportContext, hours_of, iso, scene
from bitrix_sync.report.declaration import Line
from bitrix_sync.report.snapshot import Slot, unpack
from bitrix_sync.report.status import lines, verdict
from bitrix_sync.settings import Settings
from bitrix_sync.store import Flags, Store, SweepRest, queries
from bitrix_sync.store.mapping import action_of
from bitrix_sync.words import texts
from bitrix_sync.words.texts import folded, shortened

UNFINISHED = (State.PLANNED.value, State.SENDING.value, State.UNKNOWN.value)
LOOK_BACK_DAYS = 31
SHOWN_SWEEPS = 6
SHOWN_CAUSES = 10
SHOWN_TEXT = 200
DAY = timedelta(hours=24)


def state_of_things(
    store: Store, settings: Settings, *, now: datetime | None = None, moved: timedelta = timedelta()
) -> Line:
    """For ``status``, JSON-able: cursor, queue by state, how long the rest of it will take, unknown operations, what
    stays half-way (``now``: our clock, without which nobody can tell), last pass, last sweeps, the portal's budget, who
    works, what is in the way. ``moved``: how far the machine's clock was set since who works began."""
    cursor, lease = store.cursor(), store.lease()
    flags, rest = store.flags, store.flags.rest
    refused, unheard = _refused(store)
    things: Line = {
        "portal": flags.portal_host,
        "cursor": None
        if cursor is None
        else {
            "history_id": cursor.deals.history_id,
            "history_time": cursor.deals.history_time.isoformat(),
            "deals_time": cursor.deals.deals_time.isoformat(),
            "tasks_time": cursor.tasks_time.isoformat(),
        },
        "queue": {state.value: count for state, count in sorted(store.counts().items())},
        "rest": {"operations": rest.operations, "until": iso(rest.until)} if rest else None,
        "unknown": [_in_doubt(one, moved) for one in store.unknown()],
        "refused": refused,
        "unheard": unheard,
        "tried_by_release": len(store.refused()),
        "bad_rows": flags.bad_rows,
        "stuck": store.stuck(now - moved - STUCK) if now else None,
        "last_pass": iso(flags.last_pass),
        "last_sweeps": [_in_short(one, flags.sweep_rest) for one in sweeps(store, limit=SHOWN_SWEEPS)],
        "budget": _budget(store, settings, moved),
        "holder": None if lease is None else {"name": lease.holder, "until": (lease.until + moved).isoformat()},
        "paused": flags.paused,
        "paused_since": iso(flags.paused_since),
        "watch": flags.watch,
        "trouble": redact(flags.trouble),
        "sees_no_deals_since": iso(flags.sees_no_deals),
        "rules": flags.rules_digest,
        "rules_error": flags.rules_error,
        "rules_off": flags.rules_off,
        "rules_failing": _failing(store),
        "unread": {part: redact(why) for part, why in flags.unread.items()},
        "unjudged": [
            {"deal_id": deal, "since": since.isoformat(), "why": redact(end.why)}
            for deal, (since, end) in store.unjudged().items()
        ],
        "last_backup": iso(flags.last_backup),
    }
    return {
        "verdict": verdict(things, now=now, poll_seconds=settings.poll_seconds, by_turns=settings.is_of_fleet),
        **things,
    }


def status(store: Store, settings: Settings, *, now: datetime, moved: timedelta = timedelta()) -> list[str]:
    """The same in lines for people. ``now``: our clock."""
    things = state_of_things(store, settings, now=now, moved=moved)
    with scene(store, now) as here:
        return list(lines(here, things, now=now))


def _in_doubt(one: StoredOperation, moved: timedelta) -> Line:
    """An operation of which nobody knows whether it arrived."""
    sent = None if one.sent is None else iso(one.sent + moved)
    its = one.operation
    return {"id": one.id, "kind": its.kind.value, "deal_id": its.deal_id, "task": its.task, "sent": sent}


def _budget(store: Store, settings: Settings, moved: timedelta) -> Line | None:
    """How many requests the portal would take at once."""
    if (noted := store.pace()) is None:
        return None
    return {
        "free": max(int(settings.rate.bucket - noted.level), 0),
        "of": settings.rate.bucket,
        "at": (noted.at + moved).isoformat(),
    }


def _refused(store: Store) -> tuple[list[Line], list[Line]]:
    """What the portal refused in the ``DAY`` before the last pass: counted by kind and words, the most frequent first;
    and the messages among it, by reader, for of those nobody may have heard."""
    with store.reading() as connection:
        last = Flags.last_pass.read(connection)
        rows = queries.failures_since(connection, last - DAY if last else None)
    counted = Counter((row.kind, row.error_code, row.error_text) for row in rows)
    refused = [
        {"kind": kind, "count": count, "code": code, "text": redact(folded(text))}
        for (kind, code, text), count in counted.most_common(SHOWN_CAUSES)
    ]
    unheard = [
        {
            "user": action.user,
            "text": shortened(folded(action.text), SHOWN_TEXT),
            "error": redact(folded(f"{row.error_text} ({row.error_code})")),
            "at": row.ended.isoformat(),
        }
        for row in rows
        if isinstance(action := action_of(row), SendMessage)
    ]
    return refused, unheard[-SHOWN_CAUSES:]


def _failing(store: Store) -> dict[str, int]:
    """Rules in force that failed on deals in progress, and on how many of them."""
    with store.reading() as connection:
        sheets = unpack(Flags.snapshot.read(connection)).sheets
        failing = queries.failing_rules(connection, texts.FAULTS)
    in_force = {task["id"] for sheet in sheets for task in sheet["tasks"]}
    return {rule: number for rule, number in failing.items() if rule in in_force}


def _in_short(sweep: Line, rest: SweepRest | None) -> Line:
    """A sweep for ``status``; of one that is on its way, how much remains and until when that will take."""
    line = {name: sweep[name] for name in ("slot", "state", "moved")}
    if not sweep["remaining"]:
        return line
    return line | {
        "remaining": sweep["remaining"],
        "until": iso(rest.until) if rest and rest.sweep == sweep["slot"] else None,
    }


def held_back(store: Store) -> list[Line]:
    """What ``release`` lets go: what the safety limits hold back, tasks that nobody can be found for (``held``); then
    what the portal refused and may be tried again (``failed``; ``why`` is its answer). Oldest first."""
    held = [*store.operations(state=State.HELD), *store.refused()]
    titles = {one.ref: one.title for one in store.task_records(refs={one.operation.task for one in held})}
    return [
        {
            "id": one.id,
            "kind": one.operation.kind.value,
            "deal_id": one.operation.deal_id,
            "task": one.operation.task,
            "title": title_of(one.operation.action) or titles.get(one.operation.task) or one.operation.task,
            "sweep": one.operation.sweep,
            "since": iso(one.created),
            "state": one.state.value,
            "why": redact(folded(one.error_text)) or one.error_code,
        }
        for one in held
    ]


def standing(store: Store, *, now: datetime) -> Line:
    """How the service stands, for the page: ``counts`` by state, what failed in the last ``DAY``, when the last pass
    ended (None: never), how far the history is read, the problems that are in the way and those of a refused file."""
    flags, cursor = store.flags, store.cursor()
    last = flags.last_pass
    with scene(store, now) as here:
        failed = queries.failed_since(here.connection, here.now - DAY)
        ended = here.local(last) if last else None
        return {
            "counts": {state.value: 0 for state in State} | queries.count_states(here.connection),
            "failed_today": failed,
            "last_pass": ended,
            "last_pass_age": (now - ended) if ended else None,
            "history_id": cursor.deals.history_id if cursor else None,
            "history_time": here.local(cursor.deals.history_time) if cursor else None,
            "paused": flags.paused,
            "paused_since": here.local(flags.paused_since),
            "watch": flags.watch,
            "sees_no_deals_since": here.local(flags.sees_no_deals),
            "trouble": redact(flags.trouble),
            "rules_errors": [redact(line) for line in flags.rules_error.splitlines() if line.strip()],
        }


# --- sweeps ----------------------------------------------------------------------------------------------------------


def sweeps(store: Store, *, limit: int | None = None) -> list[Line]:
    """Sweeps, the newest first: what was found, what became of its moves, how many were told."""
    found = store.sweeps(limit)
    with store.reading() as connection:
        counted = queries.moves_of_sweeps(connection, [one.slot for one in found])
    return [_sweep_line(one.slot, one.moment, one.state, one.summary, counted.get(one.slot, {})) for one in found]


def _sweep_line(slot: str, moment: datetime | None, state: str, summary: Any, counted: dict[str, int]) -> Line:
    return {
        "slot": slot,
        "state": state,
        "moment": iso(moment),
        "overdue": summary.get("overdue", 0),
        "moved": counted.get(State.DONE.value, 0),
        "failed": counted.get(State.FAILED.value, 0),
        "dropped": counted.get(State.DROPPED.value, 0),
        "held": counted.get(State.HELD.value, 0),
        "remaining": sum(counted.get(state, 0) for state in UNFINISHED),
        "messages": summary.get("messages", 0),
        "put_back": summary.get("put_back", 0),
        "rights_lost": bool(summary.get("rights_lost")),
        "reason": summary.get("reason", ""),
    }


def last_sweeps(store: Store, *, now: datetime) -> list[Line]:
    """For each sweep of the file, its newest slot that should have run, newest first: the line of ``sweeps`` with
    ``name``, ``due`` (when it should have run) and ``verdict``: done, running, held, undone, missed (the slot was
    skipped or its time is long past), waiting (its time has just come) or none (it was not configured yet)."""
    rows: dict[str, Line] = {}
    for one in sweeps(store, limit=3 * LOOK_BACK_DAYS):
        rows.setdefault(str(replace(SlotId.parse(one["slot"]), run=1)), one)  # of a slot that ran again the latest run
    since = store.flags.sweeps_since
    with scene(store, now) as here:
        lines = [_last_slot(here, slot, rows, since.get(slot.name)) for slot in here.known.slots]
    return sorted(lines, key=lambda one: one["due"] or here.now - timedelta(days=LOOK_BACK_DAYS), reverse=True)


PATIENCE = timedelta(minutes=10)
"""A slot that nobody has claimed so long after its time is missed."""
_VERDICTS = {"claimed": "running", "moving": "running", "held": "held", "done": "done", "undone": "undone"}


def _last_slot(here: ReportContext, slot: Slot, rows: dict[str, Line], since: datetime | None) -> Line:
    """``since``: when the file first had this sweep."""
    calendar = here.known.calendar
    for back in range(LOOK_BACK_DAYS):
        day = here.today - timedelta(days=back)
        name = str(SlotId(day, slot.name))
        due = calendar.moment(day, slot.at or calendar.start_of(day))
        if name in rows:
            verdict = _VERDICTS.get(rows[name]["state"], "missed")
            return {**rows[name], "name": slot.name, "due": here.local(due), "verdict": verdict}
        if due <= here.now and (slot.every_day or calendar.is_working(day)):
            if since is None or due <= since:
                break
            verdict = "missed" if here.now - due > PATIENCE else "waiting"
            line = _sweep_line(name, None, verdict, {}, {})
            return {**line, "name": slot.name, "due": here.local(due), "verdict": verdict}
    return {**_sweep_line("", None, "none", {}, {}), "name": slot.name, "due": None, "verdict": "none"}


# --- operations ------------------------------------------------------------------------------------------------------


def operations(store: Store, *, now: datetime, states: Collection[State] | None = None, limit: int = 50) -> list[Line]:
    """What the service did, does or could not do, the newest first; texts of errors are without secrets."""
    with scene(store, now) as here:
        return [
            {
                "id": row.id,
                "kind": row.kind,
                "state": row.state,
                "deal_id": row.deal_id or None,
                "deal": row.deal or "",
                "task_id": row.portal_id,
                "title": row.title or title_of(action),
                "owner_id": row.owner_id,
                "user": here.name(action.user) if isinstance(action, SendMessage) else "",
                "stage": here.known.stage_name(action.stage) if isinstance(action, MoveDeal) else "",
                "at": here.local(row.ended or row.sent or row.created),
                "waited_hours": hours_of(here.now - row.created),
                "attempts": row.attempts,
                "error_code": row.error_code,
                "error": redact(row.error_text),
            }
            for row in queries.recent_operations(here.connection, states=states, limit=limit)
            for action in (action_of(row),)
        ]
