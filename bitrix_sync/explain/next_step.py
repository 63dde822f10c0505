"""What is said of a deal's next step: whether it has one, since when not, and when people hear of that. Pure, but for
what the portal is asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from bitrix_sync.decisions.idle import idle_for, idle_since
from bitrix_sync.model.facts import DEFERRED, DONE, Ahead, PortalTask, Unread
from bitrix_sync.model.operations import DealState, Steps
from bitrix_sync.model.worktime import Calendar
from bitrix_sync.portal import activities
from bitrix_sync.portal.client import Portal
from bitrix_sync.rules.model import Duration
from bitrix_sync.words import texts


def said_of(language: str, steps: Steps, patience: Duration, calendar: Calendar) -> str:
    """The sentence; ``patience``: how long the deal may stand without a next step."""
    since = idle_since(steps, patience, calendar)
    if since is None:
        return texts.phrase(language, "next_step.ahead")
    at = idle_for(since, patience, calendar)
    return texts.phrase(language, "next_step.none", since=calendar.local(since), at=calendar.local(at))


def looked_at(portal: Portal, deal_ids: Sequence[int]) -> Ahead | None:
    """What is planned with these deals now; None: that cannot be read."""
    found = activities.look(portal, deal_ids)
    return None if isinstance(found, Unread) else found


def with_steps(state: DealState, tasks: Iterable[PortalTask], ahead: Ahead | None) -> DealState:
    """The same, with what is planned with the deal as the portal shows it; nothing where that could not be read."""
    if ahead is None or not state.visits:
        return state
    tasks = list(tasks)
    shown = {task.id for task in tasks}
    ends = [task.closed for task in tasks if task.status == DONE and task.closed]
    ends += [task.changed for task in tasks if task.status == DEFERRED and task.changed]
    ends += [at for deal, at in ahead.ends.items() if deal == state.deal_id]
    mine = [one for one in ahead.planned if state.deal_id in one.deals and one.task_id not in shown]
    steps = Steps(
        max(state.visits, key=lambda visit: visit.id),
        any(task.open and task.status != DEFERRED for task in tasks),
        max(ends, default=None),
        tuple(one.deadline for one in mine),
    )
    return replace(state, steps=steps)
