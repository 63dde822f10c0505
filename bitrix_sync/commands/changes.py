"""What the commands that change something do: the same steps whether the command itself holds the lease or asks the
running service for it (see ``runs``). Each takes the context and JSON-able arguments and returns a JSON-able account.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bitrix_sync.commands import slots
from bitrix_sync.commands.runs import Account, Steps, Told, Wait, carry
from bitrix_sync.decisions import plan
from bitrix_sync.decisions.guards import is_stranger, touched
from bitrix_sync.engine import recheck, recognition, retries
from bitrix_sync.engine.passes import (
    Gathered,
    PassReport,
    ServiceContext,
    decide,
    look_whose,
    picks_of,
    safety_room,
    set_aside,
    sift,
    take_in,
)
from bitrix_sync.engine.rulebook import Rulebook
from bitrix_sync.engine.sender import note_outcomes
from bitrix_sync.errors import UserError
from bitrix_sync.model.actions import CreateTask, DeleteTask, Kind, title_of
from bitrix_sync.model.facts import Changes, Company, Deal, Unread
from bitrix_sync.model.keys import Key, Occurrence, Purpose
from bitrix_sync.model.operations import (
    Changeset,
    Operation,
    OperationResult,
    State,
    StoredOperation,
    TaskRecord,
)
from bitrix_sync.model.reasons import Reason
from bitrix_sync.portal import reading
from bitrix_sync.portal.dialect.outcomes import GARBAGE
from bitrix_sync.portal.read_hints import NAMELESS
from bitrix_sync.rules.model import Rules
from bitrix_sync.rules.persons import Picks
from bitrix_sync.rules.suggest import cure, fold, listed
from bitrix_sync.store import Store
from bitrix_sync.sweeps import state

CHUNK = 500
"""Deals judged at a time by backfill."""


def perform(context: ServiceContext, kind: str, args: Mapping[str, Any], *, told: Told = lambda _text: None) -> Account:
    """Do one thing by its name, with nothing else to do meanwhile; UserError for a name that is none. ``told`` hears
    how far it is."""
    return carry(context, steps(context, kind, args), told=told)


def steps(context: ServiceContext, kind: str, args: Mapping[str, Any]) -> Steps:
    """The steps of one thing by its name; the first of them raises UserError for a name that is none."""
    verbs: dict[str, Callable[[ServiceContext, Mapping[str, Any]], Steps]] = {
        "sync": sync,
        "backfill": backfill,
        "release": release,
        "remove": remove,
        "sweep": slots.sweep,
        "undo": slots.undo,
    }
    if kind not in verbs:
        raise UserError(f"the running service does not know '{kind}'; restart it with this version")
    if kind in ("release", "remove", "undo"):  # the others read first what is new
        look_whose(context)
    return (yield from verbs[kind](context, args))


def sync(context: ServiceContext, args: Mapping[str, Any]) -> Steps:
    """One pass now: a reading, and the writing of all that waits then."""
    report = take_in(context)
    ids = [row.id for row in context.store.operations(state=State.PLANNED)]
    yield Wait(ids)
    blind = {"sees_no_deals": True} if context.store.flags.sees_no_deals else {}
    return {**account(report), **blind, **outcomes(context, ids)}


def account(report: PassReport) -> Account:
    """A pass in numbers."""
    return {
        "visits": report.visits,
        "deals": report.deals,
        "operations": report.recorded,
        "held": report.held,
        "watched": [describe(operation) for operation in report.watched],
    }


def outcomes(context: ServiceContext, ids: Iterable[int]) -> Account:
    """What became of operations so far, line by line."""
    rows = context.store.operations(ids=list(ids))

    def of(state: State) -> list[StoredOperation]:
        return [row for row in rows if row.state is state]

    return {
        "done": [describe(row.operation) | {"id": row.task_id or row.result} for row in of(State.DONE)],
        "failed": [
            describe(row.operation) | {"code": row.error_code, "error": row.error_text} for row in of(State.FAILED)
        ],
        "dropped": [describe(row.operation) | {"why": row.error_text} for row in of(State.DROPPED)],
        "unknown": len(of(State.UNKNOWN)),
        "waiting": len(of(State.PLANNED)),
    }


def describe(operation: Operation) -> Account:
    """An operation for people and programs."""
    return {
        "kind": operation.kind.value,
        "deal_id": operation.deal_id,
        "task": operation.task,
        "title": title_of(operation.action),
    }


def backfill(context: ServiceContext, args: Mapping[str, Any]) -> Steps:
    """Tasks for deals that already sit in a stage and have none for it, as the portal shows them now, whether or not
    they were ever seen before; ``dry_run`` writes nothing. The safety limit counts all of it together, however long it
    takes, in a dry run too. ``rule``, ``funnel``, ``stage`` and ``deal`` are the choice of them; ``from_now`` and
    ``removed``: see ``plan.Backfill``."""
    context.rulebook.reload_if_changed()
    if context.rulebook.error:
        raise UserError(f"{context.rulebook.error}\nbackfill goes by the file as it is now: correct it first")
    begun, chosen = context.portal.now(), choose(context.rulebook, args)
    ids = standing_in(context, chosen.stages, args.get("deal"))
    nameless = args.get("deal") is None and NAMELESS in context.portal.memory.bad.ids("deal")  # nobody knows how many
    tally = Tally(dry=bool(args.get("dry_run")), recorded=list(args.get("resumed", ())), unread=int(nameless))
    picks: Picks | None = None
    for begin in range(0, len(ids), CHUNK):
        yield Wait(tuple(tally.recorded), rest=0.0, done=begin, of=len(ids))
        facts = as_they_are(context, ids[begin : begin + CHUNK], chosen.stages)
        picks = picks if tally.dry and picks is not None else picks_of(context)
        room = safety_room(context, begun) - tally.unrecorded
        recording, report = decide(context, facts, backfill=chosen.backfill, room=room, picks=picks)
        tally.add(recording, report)
        if not tally.dry:
            tally.recorded += context.store.record(recording, context.sender.epoch)
    room = safety_room(context, begun) - tally.unrecorded
    rules = chosen.backfill.rules
    asked = chosen.backfill
    tried = retries.try_again(context, deals=ids, rules=rules, room=room, dry=tally.dry, backfill=asked)
    tally.add_tried(context.store, tried)
    yield Wait(tally.recorded)
    return {
        "dry_run": tally.dry,
        "deals": len(ids),
        "planned": [planned_line(one, context.rulebook.company) for one in tally.said if one.kind is Kind.CREATE],
        "held": tally.held,
        "unread": tally.unread,
        **outcomes(context, tally.recorded),
    }


@dataclass(slots=True)
class Tally:
    """What a backfill has come to so far. ``recorded``: ids of its operations; ``said``: what it tells of them;
    ``unrecorded``: tasks that a dry run would have made."""

    dry: bool
    recorded: list[int]
    said: list[Operation] = field(default_factory=list)
    held: int = 0
    unread: int = 0
    unrecorded: int = 0

    def add(self, recording: Changeset, report: PassReport) -> None:
        """What was decided of some deals."""
        self.held += report.held
        self.unread += len(recording.unjudged)
        self.said += report.watched
        if self.dry:
            decided = [operation for decision in recording.decisions for operation in decision.operations]
            self.unrecorded += sum(one.kind is Kind.CREATE and one.state is State.PLANNED for one in decided)
            self.said += decided

    def add_tried(self, store: Store, tried: Sequence[Operation]) -> None:
        """What was refused before and is tried again; the end of the count."""
        self.held += sum(operation.state is State.HELD for operation in tried)
        if self.dry:
            self.said += tried
        else:
            self.recorded += [row.id for row in store.operations(keys=[one.key for one in tried])]
            self.said += [row.operation for row in store.operations(ids=self.recorded)]


@dataclass(frozen=True, slots=True)
class Choice:
    """What a backfill is to do, in deals of which stages."""

    stages: frozenset[str]
    backfill: plan.Backfill


def choose(rulebook: Rulebook, args: Mapping[str, Any]) -> Choice:
    """What was asked for in ids: ``rule``, ``funnel`` and ``stage`` are names or ids, "" for all. UserError for a name
    that there is not, and for a rule that stands elsewhere or is off."""
    rules, directory = rulebook.rules, rulebook.directory
    rule_id, funnel, stage = (str(args.get(name) or "") for name in ("rule", "funnel", "stage"))
    backfill = backfill_of(rule_id, args)
    funnels = resolve("funnel", funnel, {str(one.id): one.name for one in directory.funnels})
    stages = {one.id: one.name for found in directory.funnels if str(found.id) in funnels for one in found.stages}
    places = resolve("stage", stage, stages)
    covered = {place for place, policy in rules.policies.items() if any(backfill.covers(r.id) for r in policy.rules)}
    if rule_id:
        require_there(rules, rule_id, covered & places)
    return Choice(frozenset(covered & places), backfill)


def backfill_of(rule_id: str, args: Mapping[str, Any]) -> plan.Backfill:
    """What is asked for of the rule, or of all."""
    rules = frozenset({rule_id}) if rule_id else None
    return plan.Backfill(rules=rules, from_now=bool(args.get("from_now")), again=bool(args.get("removed")))


def require_there(rules: Rules, rule_id: str, stages: Set[str]) -> None:
    """UserError for a rule that is not in the file, is off, or stands in none of the stages that were asked for."""
    rule = rules.by_id.get(rule_id)
    if rule is None:
        raise UserError(f"no rule `{rule_id}`. {cure(rule_id, sorted(rules.by_id), 'The rules are')}".strip())
    if rule.disabled:
        raise UserError(f"the rule `{rule_id}` is switched off: {rule.disabled}")
    if not stages:
        names = sorted({rules.stage_names.get(place, place) for place in rule.stage_ids})
        raise UserError(f"the rule `{rule_id}` does not stand there. {listed(names, 'Its stages are')}")


def resolve(what: str, wanted: str, known: Mapping[str, str]) -> set[str]:
    """The ids of all that bear this id or this name; without one all of them. UserError for none."""
    if not wanted:
        return set(known)
    found = {number for number in known if fold(number) == fold(wanted)}
    found = found or {number for number, name in known.items() if fold(name) == fold(wanted)}
    if not found:
        raise UserError(f"no {what} `{wanted}`. {cure(wanted, dict.fromkeys(known.values()), f'The {what}s are')}")
    return found


def standing_in(context: ServiceContext, stages: Set[str], deal_id: int | None) -> list[int]:
    """The open deals that the portal shows in these stages, and those that cannot be read and may be; or the one, open
    or not. UserError if it is not shown."""
    if deal_id is None:
        found = reading.open_deals(context.portal, fields=frozenset())
        there = {deal.id for deal in found if deal.stage_id in stages}
        return sorted(there | context.portal.memory.bad.ids("deal") - {NAMELESS})
    end = reading.deals(context.portal, [deal_id], fields=frozenset())[deal_id]
    if not isinstance(end, Deal):
        raise UserError(context.rulebook.unknown_deal(deal_id, end))
    return [deal_id] if end.stage_id in stages else []


def as_they_are(context: ServiceContext, ids: Sequence[int], stages: Set[str]) -> Gathered:
    """These deals with their whole history, read now; without those that are not in the stages any more. What could not
    be read of them is judged later."""
    history = reading.deal_history(context.portal, ids)
    facts = sift(context, Changes(visits=tuple(history)), ask=ids)
    deals = {number: facts.deals.get(number) for number in ids}
    facts.deals = {number: deal for number, deal in deals.items() if deal is not None and deal.stage_id in stages}
    facts.visits = [one for one in facts.visits if one.deal_id in facts.deals or one.deal_id in facts.unread]
    set_aside_without_history(context, facts)
    return facts


def set_aside_without_history(context: ServiceContext, facts: Gathered) -> None:
    """Where rows of the history cannot be read, a deal of which none is known has some that are among them."""
    if context.portal.memory.bad.ids("visit"):
        states, entered = context.store.deal_states(list(facts.deals)), {one.deal_id for one in facts.visits}
        why = Unread(GARBAGE, f"portal {context.portal.host}: crm.stagehistory.list has rows that cannot be read")
        set_aside(facts, lambda deal: None if deal.id in entered or states[deal.id].visits else why)


def planned_line(operation: Operation, company: Company) -> Account:
    """A task that backfill makes, or would make."""
    task = operation.action
    assert isinstance(task, CreateTask), "backfill counts creations"
    return describe(operation) | {
        "rule": occurrence.rule if (occurrence := Occurrence.parse(operation.task)) else "",
        "owner_id": task.owner_id,
        "owner": company.name(task.owner_id),
        "deadline": task.deadline.isoformat(),
        "held": operation.state is State.HELD,
    }


def release(context: ServiceContext, args: Mapping[str, Any]) -> Steps:
    """Let go what the safety limits hold back. A task without an owner who works here, or whose deadline has passed
    meanwhile, is decided anew; nobody is found: it stays held. When too much had vanished from the portal to be
    believed, the next look believes it. What the portal refused is tried again, messages of the last day too."""
    now = context.portal.now()
    believed = recheck.believe(context.store)
    drop_ended(context)
    held = context.store.operations(state=State.HELD)
    context.rulebook.freshen_company(now)
    stale = [row.operation for row in held if is_stale(row.operation, context.rulebook.company, now)]
    creations = {row.operation.key for row in held if row.operation.kind is Kind.CREATE}
    others = {row.operation.key for row in held} - creations
    tried = [*retries.try_again(context), *retries.send_again(context)]
    renewed = retries.renew(context, stale)
    usable = creations - {operation.key for operation in stale}
    released = renewed + context.store.release(usable, later=plan.LATER) + context.store.release(others)
    state.let_go(context.store, now)
    again = context.store.operations(keys=[operation.key for operation in tried])
    ids = [*args.get("resumed", ()), *set_free(context, held), *(row.id for row in again)]
    yield Wait(ids)
    yield from slots.after_release(context)
    still_held = len(stale) - renewed
    return {
        "released": released,
        "still_held": still_held,
        "believed": believed,
        "tried_again": len(tried),
        **outcomes(context, ids),
    }


def set_free(context: ServiceContext, held: Iterable[StoredOperation]) -> list[int]:
    """The operations that were held, as far as they are not any more, with those that waited for their tasks."""
    tasks = {row.operation.task for row in held if row.operation.task}
    waiting = [row for row in context.store.operations(state=State.PLANNED) if row.operation.task in tasks]
    return [row.id for row in waiting]


def drop_ended(context: ServiceContext) -> None:
    """A held task that was to be completed or deleted meanwhile, as its deal went on, need not be made at all."""
    ended = {
        row.operation.task
        for kind in (Kind.COMPLETE, Kind.DELETE)
        for row in context.store.operations(state=State.PLANNED, kind=kind)
    }
    late = [row for row in context.store.operations(state=State.HELD, kind=Kind.CREATE) if row.operation.task in ended]
    finished = [OperationResult(row.id, State.DROPPED, error_text=Reason.DEAL_WENT_ON) for row in late]
    note_outcomes(context.sender, finished)


def is_stale(operation: Operation, company: Company, now: datetime) -> bool:
    """True for a creation whose owner or deadline can no longer be used as it is."""
    task = operation.action
    return isinstance(task, CreateTask) and (not company.active(task.owner_id) or task.deadline <= now)


def remove(context: ServiceContext, args: Mapping[str, Any]) -> Steps:
    """Delete the tasks that a wrong rule made since a moment, those that nobody has touched."""
    rule_id, since, dry = str(args["rule"]), moment_of(context, str(args["since"])), bool(args.get("dry_run"))
    made = [one for one in context.store.tasks_of_rule(rule_id, since=since) if one.portal_id and not one.gone]
    known = context.store.rules_loaded()
    if rule_id not in known and not made:
        raise UserError(f"no rule `{rule_id}` was ever loaded. {cure(rule_id, sorted(known), 'The rules are')}".strip())
    doomed, kept = untouched(context, made)
    unsent, ids = 0, list[int](args.get("resumed", ()))
    if not dry:
        unsent = context.store.drop_unsent(rule_id, since=since)
        ids += plan_deletions(context, doomed)
        yield Wait(ids)
    listed = [{"task_id": record.portal_id, "title": record.title, "deal_id": record.deal_id} for record in doomed]
    return {"dry_run": dry, "delete": listed, "kept": kept, "unsent": unsent, **outcomes(context, ids)}


def plan_deletions(context: ServiceContext, doomed: Iterable[TaskRecord]) -> list[int]:
    """Plan to delete these tasks, also where that was refused before; the ids of the operations."""
    operations = tuple(
        Operation(str(Key(Purpose.REMOVE, record.ref)), DeleteTask("remove"), record.deal_id, record.ref)
        for record in doomed
    )
    planned = Changeset(at=context.portal.now(), operations=operations, renewed=operations)
    context.store.record(planned, context.sender.epoch)
    return [row.id for row in context.store.operations(keys=[one.key for one in operations])]


def untouched(context: ServiceContext, made: Sequence[TaskRecord]) -> tuple[list[TaskRecord], list[Account]]:
    """Those of the tasks that are there and that nobody has touched; and the others, with what was done to them."""
    seen = recognition.shown(context.portal, made)
    writes = context.store.last_writes([record.ref for record in made])
    doomed: list[TaskRecord] = []
    kept: list[Account] = []
    for record in made:
        task, last = seen.get(record.portal_id or 0), writes.get(record.ref)
        if task is None or is_stranger(task, record):
            continue
        if why := touched(record, task, written=last):
            kept.append({"task_id": task.id, "title": task.title, "why": why})
        else:
            doomed.append(record)
    return doomed, kept


def moment_of(context: ServiceContext, text: str) -> datetime:
    """``2026-03-12`` or ``2026-03-12T14:00`` as a moment: in the zone of the file unless the text has its own."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise UserError(f"`{text}` is no date and no moment; write --since 2026-03-12 or 2026-03-12T14:00") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=context.rulebook.rules.calendar.zone)
