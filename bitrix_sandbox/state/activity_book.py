"""Activities of the sandbox portal (the "дела" of deals), and what people do with them.

A task bound to a deal shows as an activity of the deal too (api-reference/crm/timeline/activities): completed as soon
as it awaits acceptance, gone when the task is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from bitrix_sandbox.state.indexes import SortedIds, TimeIndex
from bitrix_sandbox.state.records import Activity
from bitrix_sandbox.state.task_book import TaskBook
from bitrix_sandbox.state.task_records import AWAITING, DONE, Task

When = datetime | str | None
DEAL, CONTACT = 2, 3
PROVIDER = 6
OF_TASKS = {"new": (PROVIDER, "CRM_TASKS_TASK"), "old": (3, "TASKS")}


class ActivityBook(TaskBook):
    """Activities. Public verbs are what people do; ids that are not there are KeyError."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.activities: dict[int, Activity] = {}
        self.activity_ids = SortedIds()
        self.activities_updated = TimeIndex()
        self.activities_by_binding: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
        self._of_task: dict[int, int] = {}

    def add_activity(
        self,
        subject: str,
        *,
        deal: int = 0,
        contact: int = 0,
        deadline: When = None,
        responsible: int = 1,
        kind: int = PROVIDER,
        provider: str = "CRM_TODO",
        also: Iterable[int] = (),
        completed: bool = False,
        at: When = None,
    ) -> int:
        """A person plans something with a deal, or with a contact; gives its id. ``also``: deals that it is bound to
        beside its owner; ``completed``: it is done already, as a call that is noted."""
        owner = (DEAL, deal) if deal else (CONTACT, contact)
        moment = self.moment(at)
        due = self.moment(deadline) if deadline else None
        bindings = [owner, *((DEAL, one) for one in also)]
        return self._keep(
            Activity(
                id=self.number("activity", 2),
                owner_type=owner[0],
                owner_id=owner[1],
                kind=kind,
                provider=provider,
                subject=subject,
                responsible_id=responsible,
                created=moment,
                updated=moment,
                deadline=due,
                completed=completed,
                bindings=dict.fromkeys(bindings),
            )
        )

    def complete_activity(self, activity_id: int, *, at: When = None) -> None:
        """A person completes an activity."""
        self._change(self.activities[activity_id], at, completed=True)

    def reopen_activity(self, activity_id: int, *, at: When = None) -> None:
        """A person takes it up again."""
        self._change(self.activities[activity_id], at, completed=False)

    def set_activity_deadline(self, activity_id: int, deadline: When, *, at: When = None) -> None:
        """A person moves an activity; None: it has no deadline."""
        self._change(self.activities[activity_id], at, deadline=self.moment(deadline) if deadline else None)

    def bind_activity(self, activity_id: int, deal: int) -> None:
        """A person binds an activity to a deal more. Whether LAST_UPDATED moves is not documented: it stays."""
        self.activities[activity_id].bindings[(DEAL, deal)] = None
        self.activities_by_binding[(DEAL, deal)].add(activity_id)
        self.touch()

    def unbind_activity(self, activity_id: int, deal: int) -> None:
        """A person takes a deal away from an activity; the same."""
        del self.activities[activity_id].bindings[(DEAL, deal)]
        self.activities_by_binding[(DEAL, deal)].discard(activity_id)
        self.touch()

    def delete_activity(self, activity_id: int) -> None:
        """A person deletes an activity."""
        self._drop(activity_id)

    # tasks of deals

    def keep_task(self, title: str, *, by: int, responsible: int, at: When = None, **given: Any) -> Task:
        """See :meth:`TaskBook.keep_task`; its deal has an activity more."""
        task = super().keep_task(title, by=by, responsible=responsible, at=at, **given)
        self._show(task)
        return task

    def change_task(self, task: Task, by: int, *, at: When = None, **given: Any) -> bool:
        """See :meth:`TaskBook.change_task`; its activity changes with it."""
        changed = super().change_task(task, by, at=at, **given)
        if changed:
            self._show(task)
        return changed

    def drop_task(self, task: Task) -> None:
        """See :meth:`TaskBook.drop_task`; its activity goes with it."""
        super().drop_task(task)
        if (number := self._of_task.pop(task.id, None)) is not None:
            self._drop(number)

    def _show(self, task: Task) -> None:
        deals = [(DEAL, int(one[2:])) for one in task.crm if one.startswith("D_")]
        number = self._of_task.get(task.id)
        if number is not None and not deals:
            self._drop(self._of_task.pop(task.id))
        if not deals or self.switches.tasks_as_activities == "none":
            return
        completed = task.status in (AWAITING, DONE)
        if number is None:
            kind, provider = OF_TASKS[self.switches.tasks_as_activities]
            number = self._of_task[task.id] = self._keep(
                Activity(
                    id=self.number("activity", 2),
                    owner_type=DEAL,
                    owner_id=deals[0][1],
                    kind=kind,
                    provider=provider,
                    subject=task.title,
                    responsible_id=task.responsible_id,
                    created=task.changed,
                    updated=task.changed,
                    deadline=task.deadline,
                    completed=completed,
                    associated=task.id,
                )
            )
        shown = self.activities[number]
        for binding in shown.bindings:
            self.activities_by_binding[binding].discard(number)
        shown.bindings = dict.fromkeys(deals)
        shown.owner_type, shown.owner_id = deals[0]
        for binding in deals:
            self.activities_by_binding[binding].add(number)
        self._change(shown, task.changed, completed=completed, deadline=task.deadline, subject=task.title)

    # the road of every change

    def _keep(self, activity: Activity) -> int:
        self.activities[activity.id] = activity
        self.activity_ids.add(activity.id)
        self.activities_updated.put(activity.id, activity.updated)
        for binding in activity.bindings:
            self.activities_by_binding[binding].add(activity.id)
        self.touch()
        self.emit("ONCRMACTIVITYADD", {"FIELDS": {"ID": activity.id}})
        return activity.id

    def _change(self, activity: Activity, at: When, **given: Any) -> None:
        different = {name: value for name, value in given.items() if getattr(activity, name) != value}
        for name, value in different.items():
            setattr(activity, name, value)
        if different:
            activity.updated = self.moment(at)
            self.activities_updated.put(activity.id, activity.updated)
            self.touch()
            self.emit("ONCRMACTIVITYUPDATE", {"FIELDS": {"ID": activity.id}})

    def _drop(self, activity_id: int) -> None:
        activity = self.activities.pop(activity_id)
        self.activity_ids.drop(activity_id)
        self.activities_updated.drop(activity_id)
        for binding in activity.bindings:
            self.activities_by_binding[binding].discard(activity_id)
        self.touch()
        self.emit("ONCRMACTIVITYDELETE", {"FIELDS": {"ID": activity_id}})
