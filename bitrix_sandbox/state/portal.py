"""The sandbox portal's state: everything it knows, and who may see what.

The verbs of its parts (``add_deal``, ``move_deal``, ``complete_task``, ``fire`` ...) are what people do in the portal;
tests, the demo and the control address call them. Moments may be given as datetimes or ISO texts, so that every verb
can be called with JSON. Method handlers live in ``crm.py``, ``tasks.py``, ``people.py``, ``im.py``, ``calendar.py`` and
``system.py``; the server calls them with ``lock`` held.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from bitrix_sandbox.state.activity_book import ActivityBook
from bitrix_sandbox.state.clock import Clock
from bitrix_sandbox.state.deal_book import DealBook
from bitrix_sandbox.state.records import Deal, HistoryRow, Webhook
from bitrix_sandbox.state.staff_book import StaffBook
from bitrix_sandbox.state.switches import Switches
from bitrix_sandbox.state.task_records import Task

__all__ = ["PortalState", "Switches", "Webhook"]

OF_THE_MACHINE = frozenset({"backup", "clock", "emit", "ignored_filters", "lock", "revision", "selections", "switches"})
"""What a backup of the portal does not hold."""


class PortalState(DealBook, ActivityBook, StaffBook):
    """One portal. ``emit(event, data)`` is called for every documented event; a server sets it."""

    def __init__(self, clock: Clock, *, switches: Switches | None = None) -> None:
        super().__init__(clock, switches=switches or Switches())
        self.backup: dict[str, Any] | None = None

    # Backups

    def back_up(self) -> None:
        """The provider keeps a copy of all that the portal knows, in place of the one before."""
        known = {name: value for name, value in vars(self).items() if name not in OF_THE_MACHINE}
        self.backup = deepcopy(known)

    def put_back(self) -> None:
        """The portal is put back from its copy: what came later never was, and its ids are given again."""
        if self.backup is None:
            raise ValueError("there is no backup")
        vars(self).update(deepcopy(self.backup))
        self.touch()

    def become(self, other: PortalState) -> None:
        """The portal is made anew: it knows what the other one knows, and nothing else."""
        known = {name: value for name, value in vars(other).items() if name not in OF_THE_MACHINE}
        vars(self).update(deepcopy(known))
        self.touch()

    # What a webhook may read

    def reads_funnel(self, funnel_id: int) -> bool:
        """False for a funnel hidden by rights."""
        return funnel_id not in self.switches.hidden_funnels

    def reads_deal(self, user_id: int, deal: Deal) -> bool:
        """Rights to read a deal: its funnel, the deal, and for a plain user the role's reach."""
        if deal.id in self.switches.hidden_deals or not self.reads_funnel(deal.funnel_id):
            return False
        return self.switches.plain_user_deals == "all" or self.is_admin(user_id) or deal.responsible_id == user_id

    def reads_history(self, user_id: int, row: HistoryRow) -> bool:
        """A history row is read with its deal, once its transaction is through."""
        deal = self.deals.get(row.deal_id)
        return deal is not None and self.reads_deal(user_id, deal) and self.visible_history(row)

    def reads_task(self, user_id: int, task: Task) -> bool:
        """Administrators read all tasks, others those of theirs and of their subordinates."""
        if task.id in self.switches.hidden_tasks:
            return False
        if self.is_admin(user_id):
            return True
        members = task.members()
        group = self.workgroups.get(task.group_id)
        return (
            user_id in members
            or not members.isdisjoint(self.subordinates(user_id))
            or (group is not None and user_id in group.members)
        )

    # Rights taken away and given back

    def hide_deal(self, deal_id: int) -> None:
        """No webhook reads this deal any more."""
        self.switches.hidden_deals.add(deal_id)
        self.touch()

    def show_deal(self, deal_id: int) -> None:
        """Take :meth:`hide_deal` back."""
        self.switches.hidden_deals.discard(deal_id)
        self.touch()

    def hide_funnel(self, funnel_id: int) -> None:
        """No webhook reads this funnel, its deals and their history any more."""
        self.switches.hidden_funnels.add(funnel_id)
        self.touch()

    def show_funnel(self, funnel_id: int) -> None:
        """Take :meth:`hide_funnel` back."""
        self.switches.hidden_funnels.discard(funnel_id)
        self.touch()

    def hide_task(self, task_id: int) -> None:
        """No webhook reads this task any more."""
        self.switches.hidden_tasks.add(task_id)
        self.touch()

    def show_task(self, task_id: int) -> None:
        """Take :meth:`hide_task` back."""
        self.switches.hidden_tasks.discard(task_id)
        self.touch()

    def freeze_deadline(self, task_id: int) -> None:
        """The portal forbids to move this task's deadline."""
        self.switches.frozen_deadlines.add(task_id)

    def free_deadline(self, task_id: int) -> None:
        """Take :meth:`freeze_deadline` back."""
        self.switches.frozen_deadlines.discard(task_id)
