"""Switches of the sandbox portal: shapes and rights that differ between real portals."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(slots=True)
class Switches:
    """Each may be turned while the portal runs. Defaults are what the documentation shows."""

    history_as_strings: bool = False
    """Numbers in ``crm.stagehistory.list`` come as strings, as in captures of 2022-23."""
    history_late_every: int = 0
    """Every n-th history row becomes visible ``history_late_seconds`` after later ones (0: never)."""
    history_late_chance: float = 0.0
    """Each history row becomes visible so late with this probability; which rows do, follows from the seed."""
    history_late_seed: int = 0
    history_late_seconds: float = 5.0
    deadline_seconds_cut: bool = True
    """v2 stores a deadline without its seconds."""
    owner_time_zone: bool = True
    """Tasks show times in the webhook owner's zone; False: in the server's."""
    offset_of_now: bool = False
    """Tasks show every time with the zone's offset of this moment, so that a date beyond a change of clocks is an hour
    off (seen in the product's source)."""
    read_back_empty: bool = False
    """``tasks.task.add`` and its kin answer ``result: []`` though they did the work, whoever calls."""
    php_arrays: bool = True
    """Empty maps are ``[]`` (auditorsData, group, tags, checklist); False: ``{}``."""
    empty_multiple_false: bool = False
    """An empty multiple user field is ``false`` in ``crm.item.*`` too; False: ``[]``."""
    date_utc_midnight: bool = True
    """A date field is midnight of UTC shown in the server's zone (``T03:00:00+03:00``); False: the zone's midnight."""
    bare_stage_ids: bool = False
    """``crm.status.list`` gives stages of other funnels without their ``Cn:`` prefix, as one tutorial shows."""
    original_names_bug: bool = False
    """``crm.item.list`` with a ``select`` gives only user fields under ``useOriginalUfNames=Y`` (bug on record)."""
    uncounted_total: int | None = 0
    """``total`` of a list call with ``start=-1``: 0 as documented, None for no such key."""
    strict_filters: bool = False
    """An unknown filter key of ``tasks.task.list``, ``user.get`` and the like is an error instead of being ignored."""
    plain_user_deals: str = "all"
    """What a user who is no administrator may read of deals: ``all`` or ``own``."""
    tasks_as_activities: str = "new"
    """A new task of a deal is an activity too: ``new`` (of CRM_TASKS_TASK), ``old`` (of TASKS, type 3) or ``none``."""
    no_deadline_null: bool = False
    """An activity without a deadline tells null; False: the year 9999, as documented."""
    result_spares_creator: bool = False
    """A required result is not asked of administrators and of the task's creator (seen in the product's source)."""
    assign_to_anyone: bool = True
    """A user who is no administrator may give tasks to people who are not his subordinates."""
    hidden_deals: set[int] = field(default_factory=set)
    """Deals that no webhook may read: rights were taken away."""
    hidden_funnels: set[int] = field(default_factory=set)
    hidden_tasks: set[int] = field(default_factory=set)
    frozen_deadlines: set[int] = field(default_factory=set)
    """Tasks whose deadline the portal forbids to move (limit of deadline changes), whoever asks."""
    kept_deadlines: set[int] = field(default_factory=set)
    """Tasks whose deadline stays as it is though the portal answers that all is well."""
    locked_stages: set[str] = field(default_factory=set)
    """Stages that a webhook may not move a deal to (error ``-``)."""
    task_history_dates: str = "unix"
    """Dates in ``tasks.task.history.list`` values: ``unix`` seconds as a string, or ``iso``."""
    new_task_card: bool = True
    """Comments are messages of the task's chat (tasks 25.700.0 and later); False: the old forum."""
    task_chat_members_only: bool = False
    """A task's chat may be read by the task's members only; False: by whoever may read the task."""
    notices_fail: bool = False
    """``im.notify*`` answers ``false`` and creates nothing."""
    notice_tags: bool = False
    """TAG of a notice removes the older one under a webhook too (the documentation says so, the product did not)."""

    def turn(self, changes: dict[str, Any]) -> None:
        """Set several switches by name; lists become sets where a set is kept.

        :raises KeyError: there is no such switch.
        """
        known = {one.name for one in fields(self)}
        for name, value in changes.items():
            if name not in known:
                raise KeyError(name)
            setattr(self, name, set(value) if isinstance(getattr(self, name), set) else value)
