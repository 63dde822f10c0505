"""Deals without a next step: who of them is told of in a sweep, once for each time that they are so."""

from __future__ import annotations

from datetime import datetime

import structlog

from bitrix_sync.decisions.idle import idle_key, too_long
from bitrix_sync.decisions.sleeping import asleep
from bitrix_sync.engine import steps
from bitrix_sync.engine.passes import ServiceContext
from bitrix_sync.model.facts import Absent, Deal, Unread
from bitrix_sync.model.operations import Changeset
from bitrix_sync.portal import reading
from bitrix_sync.rules.model import Rules
from bitrix_sync.store import Store

log = structlog.get_logger(__name__)

Idle = dict[str, tuple[Deal, datetime]]
"""By the key of what is told of it, a deal and since when it is idle."""


def idle_deals(store: Store, rules: Rules, now: datetime) -> Idle:
    """The deals that are idle for longer than their stage allows; none while it is not known what is planned."""
    if not rules.next_steps or not steps.are_known(store, rules):
        return {}
    known = store.steps(stages=rules.next_steps)
    late = too_long(known, rules.next_steps, rules.calendar, now)
    deals = store.deals(late)
    return {
        idle_key(known[deal], since): (deals[deal], since)
        for deal, since in late.items()
        if deal in deals and not asleep(deals[deal], rules, now)
    }


def untold(store: Store, rules: Rules, now: datetime) -> Idle:
    """Those of whom nobody has heard yet."""
    return _not_told(store, idle_deals(store, rules, now))


def _not_told(store: Store, found: Idle) -> Idle:
    told = store.told(found)
    return {key: one for key, one in found.items() if key not in told}


def _ids(found: Idle) -> list[int]:
    return sorted(deal.id for deal, _ in found.values())


def made_sure(context: ServiceContext, moment: datetime) -> tuple[str, ...]:
    """The keys of those to be told of, after the portal was asked once more what they are and what is planned with
    each; none if it could not be. A deal that is gone leaves no other trace."""
    store, rules, portal = context.store, context.rulebook.rules, context.portal
    late = idle_deals(store, rules, moment)
    if not late:
        return ()
    new = _ids(_not_told(store, late))
    ends, seen = reading.deals(portal, _ids(late), fields=rules.fields), steps.looked_at(store, portal, new)
    if isinstance(seen, Unread):
        log.warning("idle deals could not be looked at once more; nobody is told of them", problem=seen.why)
        return ()
    gone = tuple(deal for deal, end in ends.items() if isinstance(end, Absent))
    store.record(Changeset(at=portal.now(), gone_deals=gone, ahead=seen), context.sender.epoch)
    unread = {deal for deal, end in ends.items() if isinstance(end, Unread)}
    closed = {deal.id for deal in reading.found_deals(ends) if deal.closed}
    return tuple(
        key
        for key, (deal, _) in untold(store, rules, moment).items()
        if deal.id in new and deal.id not in unread | closed
    )
