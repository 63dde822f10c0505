"""What was decided once is decided once more: what the portal refused, when its cause may be gone (a new rules file,
``backfill``, ``release``), and what a limit held, when it is let go.

What was refused are tasks and moves of deals that are still in the same stage, and what was to be done with tasks that
are open, as far as the rules want it today; what a sweep or its undoing was to do, as it was decided then. The portal
is looked at before each is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

import structlog

from bitrix_sync.decisions import plan
from bitrix_sync.engine.passes import Gathered, PassReport, ServiceContext, safety_room, sift, within_safety, world_of
from bitrix_sync.model.actions import Kind, SetDeadline
from bitrix_sync.model.facts import Changes
from bitrix_sync.model.operations import Changeset, DealState, Decision, Operation, State
from bitrix_sync.rules.model import Rules

log = structlog.get_logger(__name__)

NEWS = timedelta(days=1)
"""How old a message may be that is sent again."""


def after_new_rules(context: ServiceContext) -> None:
    """Try again once for each rules file that comes into force."""
    digest = context.rulebook.rules.digest
    if context.rulebook.rules.safety.watch or context.store.flags.refused_tried == digest:
        return
    try_again(context, room=safety_room(context, context.portal.now()))
    context.store.flags.refused_tried = digest


def try_again(
    context: ServiceContext,
    *,
    deals: Collection[int] | None = None,
    rules: Collection[str] | None = None,
    room: int | None = None,
    dry: bool = False,
    backfill: plan.Backfill | None = None,
) -> list[Operation]:
    """Plan anew what was refused; returns it, apart from what belongs to a creation or explains a change. ``deals``,
    ``rules``: only of these; ``room``: so many tasks are let through, the others are held (None: all); ``dry``: nothing
    is written; ``backfill``: what a person asked for."""
    refused = chosen(context, deals, rules)
    if not refused or context.rulebook.rules.safety.watch:
        return []
    again = decide_again(context, of_rules(refused), partial(try_one, backfill=backfill))
    decisions, notices = again.decisions, tuple[Operation, ...]()
    if room is not None:
        decisions, notices = within_safety(context, decisions, again.facts.now, PassReport(), room)
    planned = tuple(operation for decision in decisions for operation in decision.operations)
    planned += moves_again(refused, again.facts.now)
    tried = apart_from_parts(planned, {operation.key for operation in refused})
    if planned and not dry:
        record(context, again, planned, notices)
        log.info("what was refused is tried again", operations=len(tried))
    return tried


def send_again(context: ServiceContext) -> list[Operation]:
    """Plan anew the messages of the last day that the portal refused; returns them. Older ones are no news."""
    since = context.sender.clock() - NEWS
    rows = context.store.operations(state=State.FAILED, kind=Kind.MESSAGE)
    planned = [replace(row.operation, state=State.PLANNED) for row in rows if row.sent is not None and row.sent > since]
    if planned and not context.rulebook.rules.safety.watch:
        context.store.record(Changeset(at=context.portal.now(), renewed=tuple(planned)), context.sender.epoch)
        return planned
    return []


def of_rules(refused: Iterable[Operation]) -> list[Operation]:
    """Those that rules decide once more."""
    return [one for one in refused if not one.sweep]


def moves_again(refused: Iterable[Operation], now: datetime) -> tuple[Operation, ...]:
    """Those that a sweep or its undoing decided; the portal is looked at before they are sent."""
    return tuple(replace(one, state=State.PLANNED) for one in refused if one.sweep and not is_late(one, now))


def is_late(move: Operation, now: datetime) -> bool:
    """True for a move of a sweep to what is past by now: the next sweep has another one."""
    action = move.action
    return isinstance(action, SetDeadline) and action.reason == "sweep" and (action.deadline or now) <= now


def apart_from_parts(planned: Sequence[Operation], refused: Collection[str]) -> list[Operation]:
    """Without the check lists and lines that come with something else, for they were not ``refused`` themselves."""
    return [one for one in planned if one.key in refused or one.kind not in (Kind.CHECKLIST, Kind.LINE)]


def renew(context: ServiceContext, held: Sequence[Operation]) -> int:
    """Decide held creations once more, with their deals as they are now; returns how many can be sent."""
    if not held:
        return 0
    again = decide_again(context, held, release_one)
    creations = [decision.operations[0] for decision in again.decisions if decision.operations]
    record(context, again, [replace(one, urgency=one.urgency + plan.LATER) for one in creations])
    return len(creations)


@dataclass(slots=True)
class Again:
    """What comes of operations today, with what it was decided from."""

    facts: Gathered
    world: plan.World
    decisions: list[Decision] = field(default_factory=list)


Judge = Callable[[Operation, DealState, Rules, plan.World, datetime], Decision | None]
"""What comes of one operation today; None: it is not wanted any more, or cannot be had yet."""


def decide_again(context: ServiceContext, operations: Sequence[Operation], judge: Judge) -> Again:
    """Decide operations once more, each knowing of the tasks of those before it."""
    ids = {operation.deal_id for operation in operations}
    facts = sift(context, Changes(), ask=ids)
    again = Again(facts, world_of(context, facts))
    states = context.store.deal_states(ids)
    for operation in operations:
        state = replace(states[operation.deal_id], deal=facts.deals.get(operation.deal_id))
        judged = partial(judge, operation, state, context.rulebook.rules, again.world, facts.now)
        decision = facts.judge(operation.deal_id, judged)
        if decision is not None:
            again.decisions.append(decision)
            known = {record.occurrence: record for record in (*state.tasks, *decision.tasks)}
            states[operation.deal_id] = replace(state, tasks=tuple(known.values()))
    return again


def record(
    context: ServiceContext, again: Again, planned: Sequence[Operation], notices: Sequence[Operation] = ()
) -> None:
    """Plan operations in the place of those there were."""
    recording = Changeset(
        at=again.facts.now,
        decisions=tuple(replace(decision, operations=()) for decision in again.decisions),
        operations=(*planned, *notices),
        renewed=tuple(planned),
        picks=again.world.picks.changes(),
    )
    context.store.record(recording, context.sender.epoch)


def chosen(context: ServiceContext, deals: Collection[int] | None, rules: Collection[str] | None) -> list[Operation]:
    """What was refused, of these deals and these rules (None: all)."""
    refused = [row.operation for row in context.store.refused() if deals is None or row.operation.deal_id in deals]
    if rules is None:
        return refused
    records = {one.ref: one.rule_id for one in context.store.task_records(refs={one.task for one in refused})}
    return [one for one in refused if records.get(one.task) in rules]


def try_one(
    refused: Operation,
    state: DealState,
    rules: Rules,
    world: plan.World,
    now: datetime,
    *,
    backfill: plan.Backfill | None = None,
) -> Decision | None:
    """What was refused, if it is wanted today."""
    if refused.kind is Kind.CREATE:
        return plan.decide_anew(state, rules, world, occurrence=refused.task, now=now, refused=True, backfill=backfill)
    if refused.kind is not Kind.MOVE_DEAL:
        return plan.change_anew(state, rules, world, refused=refused, now=now)
    move = plan.advance_anew(state, rules, world, now=now)
    return Decision(state.deal_id, (move,), wake_at=now) if move is not None else None


def release_one(held: Operation, state: DealState, rules: Rules, world: plan.World, now: datetime) -> Decision | None:
    """A creation that was held, if somebody can own it today."""
    return plan.decide_anew(state, rules, world, occurrence=held.task, now=now)
