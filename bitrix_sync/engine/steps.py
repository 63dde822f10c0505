"""What is planned with deals beside tasks: read once as it stands, then what changes, and again at sweeps.

Nothing is concluded where a reading failed: a deal of which nobody can say what is planned with it is not idle.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from bitrix_sync.model.facts import Activity, Ahead, Unread
from bitrix_sync.model.operations import Steps
from bitrix_sync.portal import activities
from bitrix_sync.portal.activities import METHOD as METHOD
from bitrix_sync.portal.client import Portal
from bitrix_sync.rules.model import Rules
from bitrix_sync.store import Store

Planned = tuple[tuple[int, ...], datetime | None]
"""The deals and the deadline of a planned activity."""
NOT_PLANNED: Planned = ((), None)
PORTION = 250
"""Deals looked at closer between two readings: some ten requests."""


def scope(rules: Rules) -> frozenset[str]:
    """The stages in which it matters what is planned."""
    return rules.idle_starts.union(rules.next_steps)


def are_known(store: Store, rules: Rules) -> bool:
    """True when all that is planned in these stages has been read."""
    return scope(rules) <= store.flags.steps_scope


def to_look_at(steps: dict[int, Steps]) -> list[int]:
    """The deals that may be idle, of which it matters when the last activity was over."""
    return sorted(deal for deal, one in steps.items() if not one.busy and None not in one.planned)


def beginning(store: Store, portal: Portal) -> Ahead | Unread:
    """All that is planned with deals now."""
    read = activities.planned(portal)
    if isinstance(read, Unread):
        return read
    known = tasks_known(store, read)
    return Ahead(tuple(one for one in read if one.task_id not in known))


def tasks_known(store: Store, read: Iterable[Activity]) -> set[int]:
    """The tasks which activities show that are known as tasks: these are counted once."""
    ids = {one.task_id for one in read} - {0}
    return {record.portal_id or 0 for record in store.task_records(portal_ids=ids)} - {0} if ids else set()


def observed(
    store: Store,
    portal: Portal,
    read: Sequence[Activity],
    *,
    since: datetime,
    tasks: Collection[int] = (),
    again: bool = False,
) -> Ahead | Unread:
    """What activities that were read teach. ``since``: from when on all changes were read; a completed one that was
    made before, and that nobody knows, was over before too. ``tasks``: known beside those of the store. ``again``: what
    known ones are bound to is asked for once more."""
    known = store.planned_activities([one.id for one in read])
    asked = activities.with_deals(portal, [one for one in read if one.id not in known or (again and not one.completed)])
    if isinstance(asked, Unread):
        return asked
    told = {one.id: one for one in asked if not one.owned}
    shown = tasks_known(store, read).union(tasks)
    whole = [_with_all_deals(one, told.get(one.id), known) for one in read if one.task_id not in shown]
    planned = tuple(one for one in whole if not one.completed)
    ended = {one.id for one in read} - {one.id for one in planned}
    ends = _ends((one for one in whole if one.completed), known, since)
    return news(store, Ahead(planned, frozenset(ended & known.keys()), ends))


def _ends(completed: Iterable[Activity], known: Collection[int], since: datetime) -> dict[int, datetime]:
    """When the last of these was over, by deal."""
    ends: dict[int, datetime] = {}
    for one in completed:
        over = one.changed if one.id in known or one.created >= since else one.created
        ends |= {deal: max(over, ends.get(deal, over)) for deal in one.deals}
    return ends


def _with_all_deals(one: Activity, told: Activity | None, known: Mapping[int, Planned]) -> Activity:
    """The activity with the deals that it is bound to: as the portal told them just now, else those known and its
    own."""
    before, _ = known.get(one.id, NOT_PLANNED)
    return told or replace(one, deals=tuple(dict.fromkeys((*one.deals, *before))))


def news(store: Store, read: Ahead) -> Ahead:
    """What of it is not known yet."""
    known = store.planned_activities([one.id for one in read.planned])
    before = store.activity_ends(read.ends)
    return replace(
        read,
        planned=tuple(one for one in read.planned if known.get(one.id) != (tuple(sorted(one.deals)), one.deadline)),
        ends={deal: at for deal, at in read.ends.items() if deal not in before or before[deal] < at},
    )


def seen_again(store: Store, portal: Portal, at: datetime) -> tuple[Ahead, int, int] | Unread:
    """Known planned activities read once more: what has changed, how many are gone, and of how many. What is gone has
    come to its end when that is noticed."""
    known = store.planned_activities()
    read = activities.shown(portal, known.keys())
    if isinstance(read, Unread):
        return read
    found = observed(store, portal, read, since=at, again=True)
    if isinstance(found, Unread):
        return found
    gone = known.keys() - {one.id for one in read} - portal.memory.bad.ids("activity")
    ends = {deal: at for number in gone for deal in known[number][0]}
    return replace(found, ended=found.ended | gone, ends={**found.ends, **ends}), len(gone), len(known)


def looked_at(store: Store, portal: Portal, deal_ids: Sequence[int]) -> Ahead | Unread:
    """What is new of what is planned with these deals, each asked for by itself."""
    found = activities.look(portal, deal_ids)
    if isinstance(found, Unread):
        return found
    known, tasks = store.planned_activities([one.id for one in found.planned]), tasks_known(store, found.planned)
    planned = (
        replace(one, deals=tuple(dict.fromkeys((*one.deals, *known.get(one.id, NOT_PLANNED)[0]))))
        for one in found.planned
        if one.task_id not in tasks
    )
    return news(store, replace(found, planned=tuple(planned)))


def joined(one: Ahead | None, other: Ahead) -> Ahead:
    """What two readings taught, the later one last."""
    if one is None:
        return other
    ends = {deal: max(at, one.ends.get(deal, at)) for deal, at in other.ends.items()}
    later = {activity.id: activity for activity in (*one.planned, *other.planned)}
    return Ahead(tuple(later.values()), one.ended | other.ended, {**one.ends, **ends})
