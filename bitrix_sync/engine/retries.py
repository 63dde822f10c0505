"""What the portal refused is tried again when its cause may be gone: a new rules file, ``backfill``, ``release``.

Tasks and moves of deals that are still in the same stage, as far as the rules want them today. Each is decided anew and
looked up in the portal before it is sent.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

import structlog

from bitrix_sync.decisions import plan
from bitrix_sync.engine.passes import PassReport, ServiceContext, safety_room, sift, within_safety, world_of
from bitrix_sync.model.actions import Kind
from bitrix_sync.model.facts import Changes
from bitrix_sync.model.operations import Changeset, DealState, Decision, Operation
from bitrix_sync.rules.model import Rules

log = structlog.get_logger(__name__)


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
) -> list[Operation]:
    """Plan refused creations and moves anew; returns those that were. ``deals``, ``rules``: only of these; ``room``: so
    many tasks are let through, the others are held (None: all); ``dry``: nothing is written."""
    rows = [row for row in context.store.refused() if deals is None or row.operation.deal_id in deals]
    if rules is not None:
        records = {
            one.ref: one.rule_id for one in context.store.task_records(refs={row.operation.task for row in rows})
        }
        rows = [row for row in rows if records.get(row.operation.task) in rules]
    if not rows or context.rulebook.rules.safety.watch:
        return []
    facts = sift(context, Changes(), ask={row.operation.deal_id for row in rows})
    world, book = world_of(context, facts), context.rulebook.rules
    states = context.store.deal_states({row.operation.deal_id for row in rows})
    decisions: list[Decision] = []
    for row in rows:
        deal_id = row.operation.deal_id
        state = replace(states[deal_id], deal=facts.deals.get(deal_id))
        try:
            decision = decide_again(row.operation, state, book, world, now=facts.now)
        except Exception:
            log.exception("deal cannot be judged; the others go on", deal=deal_id)
            continue
        if decision is None:
            continue
        decisions.append(decision)
        known = {record.occurrence: record for record in (*state.tasks, *decision.tasks)}
        states[deal_id] = replace(state, tasks=tuple(known.values()))
    notices: tuple[Operation, ...] = ()
    if room is not None:
        decisions, notices = within_safety(context, decisions, facts.now, PassReport(), room)
    planned = tuple(operation for decision in decisions for operation in decision.operations)
    tried = [operation for operation in planned if operation.kind is not Kind.CHECKLIST]
    if not dry and planned:
        recording = Changeset(
            at=facts.now,
            decisions=tuple(replace(decision, operations=()) for decision in decisions),
            operations=(*planned, *notices),
            renewed=planned,
            picks=world.picks.changes(),
        )
        context.store.record(recording, context.sender.epoch)
        log.info("what was refused is tried again", operations=len(tried))
    return tried


def decide_again(
    refused: Operation, state: DealState, rules: Rules, world: plan.World, *, now: datetime
) -> Decision | None:
    """What comes of one refused operation today; None: it is not wanted any more."""
    if refused.kind is Kind.CREATE:
        return plan.decide_anew(state, rules, world, occurrence=refused.task, now=now, refused=True)
    move = plan.advance_anew(state, rules, world, now=now)
    return Decision(state.deal_id, (move,), wake_at=now) if move is not None else None
