"""What the commands that change something do: the same function whether the command itself holds the lease or asks the
running service for it. Each takes the desk and JSON-able arguments and returns a JSON-able account.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import structlog

from bitrix_sync import audit, plan, sweep_commands, sweep_state
from bitrix_sync.apply import Applied
from bitrix_sync.errors import BitrixSyncError, UserError
from bitrix_sync.facts import Changes, Company
from bitrix_sync.guards import touched
from bitrix_sync.operations import Decision, Finished, Kind, Operation, Recording, State, TaskRecord
from bitrix_sync.portal import reading
from bitrix_sync.portal.pacer import Stopped
from bitrix_sync.store import LeaseLost
from bitrix_sync.sync import Desk, PassReport, carry_out, decide, run_pass, sift, world_of

log = structlog.get_logger(__name__)

CHUNK = 500
"""Deals judged at a time by backfill."""
WENT_ON = "the deal went on before it was released"
Account = dict[str, Any]


def answer_requests(desk: Desk, interrupted: Callable[[], bool]) -> None:
    """Do what commands asked the running service for, one after another."""
    while not interrupted():
        request = desk.store.next_request(desk.hands.epoch)
        if request is None:
            return
        try:
            result = perform(desk, request.kind, request.args)
            desk.store.answer(request.id, ok=True, result=result)
        except (LeaseLost, Stopped):
            raise
        except BitrixSyncError as fault:
            desk.store.answer(request.id, ok=False, result={"error": str(fault), "exit": fault.exit_code})
        except Exception as fault:
            log.exception("a command could not be carried out", command=request.kind)
            text = f"unexpected error ({type(fault).__name__}); the log of the service says where"
            desk.store.answer(request.id, ok=False, result={"error": text, "exit": 3})


def perform(desk: Desk, kind: str, args: Mapping[str, Any]) -> Account:
    """Do one thing by its name; UserError for a name that is none."""
    verbs: dict[str, Callable[[Desk, Mapping[str, Any]], Account]] = {
        "sync": sync,
        "backfill": backfill,
        "release": release,
        "remove": remove,
        "sweep": sweep_commands.sweep,
        "undo": sweep_commands.undo,
    }
    if kind not in verbs:
        raise UserError(f"the running service does not know '{kind}'; restart it with this version")
    return verbs[kind](desk, args)


def sync(desk: Desk, args: Mapping[str, Any]) -> Account:
    """One pass now."""
    report = run_pass(desk)
    return {**account(report), **applied_account(report.applied)}


def account(report: PassReport) -> Account:
    """A pass in numbers."""
    return {
        "visits": report.visits,
        "deals": report.deals,
        "operations": report.recorded,
        "held": report.held,
        "watched": [described(operation) for operation in report.watched],
    }


def applied_account(applied: Applied) -> Account:
    """What was carried out, line by line."""
    return {
        "done": [described(row.operation) | {"id": row.task_id or row.result} for row in applied.done],
        "failed": [
            described(row.operation) | {"code": end.error_code, "error": end.error_text} for row, end in applied.failed
        ],
        "dropped": [described(row.operation) | {"why": end.error_text} for row, end in applied.dropped],
        "unknown": applied.unknown,
        "waiting": applied.again,
    }


def described(operation: Operation) -> Account:
    """An operation for people and programs."""
    title = operation.payload.get("fields", {}).get("TITLE", "") if operation.kind is Kind.CREATE else ""
    return {"kind": operation.kind.value, "deal_id": operation.deal_id, "task": operation.task, "title": title}


def backfill(desk: Desk, args: Mapping[str, Any]) -> Account:
    """Tasks for deals that already sit in a stage and have none for it; ``dry_run`` writes nothing."""
    dry = bool(args.get("dry_run"))
    ids = sorted(desk.store.deals(open_only=True))
    planned: list[Account] = []
    held = 0
    for begin in range(0, len(ids), CHUNK):
        facts = sift(desk, Changes(), ask=ids[begin : begin + CHUNK])
        recording, report = decide(desk, facts, backfill=True)
        held += report.held
        operations = [*report.watched, *(one for decision in recording.decisions for one in decision.operations)]
        planned += [
            described(operation)
            | {
                "owner_id": operation.payload["fields"]["RESPONSIBLE_ID"],
                "owner": desk.rulebook.company.name(operation.payload["fields"]["RESPONSIBLE_ID"]),
                "deadline": operation.payload["fields"]["DEADLINE"],
            }
            for operation in operations
            if operation.kind is Kind.CREATE
        ]
        if not dry:
            desk.store.record(recording, desk.hands.epoch)
    applied = Applied() if dry else carry_out(desk)
    return {"dry_run": dry, "deals": len(ids), "planned": planned, "held": held, **applied_account(applied)}


def release(desk: Desk, args: Mapping[str, Any]) -> Account:
    """Let go what the safety limits hold back. A task without an owner who works here, or whose deadline has passed
    meanwhile, is decided anew; nobody is found: it stays held. When too much had vanished from the portal to be
    believed, the next look believes it."""
    now = desk.portal.now()
    believed = audit.believe(desk.store)
    drop_ended(desk)
    held = desk.store.operations(state=State.HELD)
    desk.rulebook.freshen_company(now)
    stale = [row.operation for row in held if is_stale(row.operation, desk.rulebook.company, now)]
    keys = {row.operation.key for row in held} - {operation.key for operation in stale}
    renewed = renew(desk, stale)
    released = desk.store.release(now, keys) + renewed
    sweep_state.let_go(desk.store, now)
    applied = carry_out(desk)
    sweep_commands.after_release(desk)
    still_held = len(stale) - renewed
    return {"released": released, "still_held": still_held, "believed": believed, **applied_account(applied)}


def drop_ended(desk: Desk) -> None:
    """A held task that was to be completed or deleted meanwhile, as its deal went on, need not be made at all."""
    ended = {
        row.operation.task
        for kind in (Kind.COMPLETE, Kind.DELETE)
        for row in desk.store.operations(state=State.PLANNED, kind=kind)
    }
    late = [row for row in desk.store.operations(state=State.HELD, kind=Kind.CREATE) if row.operation.task in ended]
    finished = [Finished(row.id, State.DROPPED, error_text=WENT_ON) for row in late]
    desk.store.finish(finished, desk.hands.epoch, desk.hands.clock())


def is_stale(operation: Operation, company: Company, now: datetime) -> bool:
    """True for a creation whose owner or deadline can no longer be used as it is."""
    if operation.kind is not Kind.CREATE:
        return False
    fields = operation.payload["fields"]
    return not company.active(fields["RESPONSIBLE_ID"]) or datetime.fromisoformat(fields["DEADLINE"]) <= now


def renew(desk: Desk, held: Sequence[Operation]) -> int:
    """Decide held creations anew, with the deals as they are now; returns how many can be sent."""
    if not held:
        return 0
    facts = sift(desk, Changes(), ask={operation.deal_id for operation in held})
    world = world_of(desk, facts)
    states = desk.store.deal_states({operation.deal_id for operation in held})
    creations: list[Operation] = []
    decisions: list[Decision] = []
    for operation in held:
        state = replace(states[operation.deal_id], deal=facts.deals.get(operation.deal_id))
        anew = plan.decide_anew(state, desk.rulebook.rules, world, occurrence=operation.task, now=facts.now)
        if anew is None:
            continue
        creation, decision = anew
        creations.append(creation)
        decisions.append(decision)
        known = {record.occurrence: record for record in (*state.tasks, *decision.tasks)}
        states[operation.deal_id] = replace(state, tasks=tuple(known.values()))
    recording = Recording(
        at=facts.now, decisions=tuple(decisions), renewed=tuple(creations), picks=world.picks.changes()
    )
    desk.store.record(recording, desk.hands.epoch)
    return len(creations)


def remove(desk: Desk, args: Mapping[str, Any]) -> Account:
    """Delete the tasks that a wrong rule made since a moment, those that nobody has touched."""
    rule_id, since, dry = str(args["rule"]), moment_of(desk, str(args["since"])), bool(args.get("dry_run"))
    made = [
        record
        for record in desk.store.tasks_of_rule(rule_id, since=since)
        if record.portal_id is not None and not record.gone
    ]
    seen = {
        task.id: task for task in reading.tasks(desk.portal, [record.portal_id for record in made if record.portal_id])
    }
    written = desk.store.last_writes([record.ref for record in made])
    doomed: list[TaskRecord] = []
    kept: list[Account] = []
    for record in made:
        task = seen.get(record.portal_id or 0)
        if task is None:
            continue
        last = written.get(record.ref)
        why = touched(record, task, written=last + desk.portal.offset if last else None)
        if why:
            kept.append({"task_id": task.id, "title": task.title, "why": why})
        else:
            doomed.append(record)
    unsent = desk.store.drop_unsent(rule_id, since=since) if not dry else 0
    if not dry:
        operations = tuple(
            Operation(f"remove:{record.ref}", Kind.DELETE, {"reason": "remove"}, record.deal_id, record.ref)
            for record in doomed
        )
        desk.store.record(Recording(at=desk.portal.now(), operations=operations), desk.hands.epoch)
    applied = Applied() if dry else carry_out(desk)
    listed = [{"task_id": record.portal_id, "title": record.title, "deal_id": record.deal_id} for record in doomed]
    return {"dry_run": dry, "delete": listed, "kept": kept, "unsent": unsent, **applied_account(applied)}


def moment_of(desk: Desk, text: str) -> datetime:
    """``2026-03-12`` or ``2026-03-12T14:00`` as a moment: in the zone of the file unless the text has its own."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise UserError(f"`{text}` is no date and no moment; write --since 2026-03-12 or 2026-03-12T14:00") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=desk.rulebook.rules.calendar.zone)
