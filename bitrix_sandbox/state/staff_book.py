"""People of the sandbox portal: users, departments, absences, workgroups, webhooks, the work calendar."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from bitrix_sandbox.state.core import Core
from bitrix_sandbox.state.records import Absence, Department, User, Webhook, Workgroup

When = datetime | str | None


class StaffBook(Core):
    """Users and their tree. Public verbs are what people do in the portal; ids that are not there are KeyError."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.webhooks: dict[tuple[int, str], Webhook] = {}
        self.users: dict[int, User] = {}
        self.departments: dict[int, Department] = {}
        self.absences: list[Absence] = []
        self.workgroups: dict[int, Workgroup] = {}
        self.calendar: dict[str, Any] = {}
        self._subordinates: dict[int, frozenset[int]] = {}

    def add_webhook(self, user_id: int, code: str, scopes: Iterable[str]) -> Webhook:
        """An incoming webhook of a user."""
        webhook = Webhook(user_id, code, set(scopes))
        self.webhooks[user_id, code] = webhook
        return webhook

    def set_scopes(self, user_id: int, code: str, scopes: Iterable[str]) -> None:
        """Tick other scopes in a webhook's form."""
        self.webhooks[user_id, code].scopes = set(scopes)

    def revoke_webhook(self, user_id: int, code: str) -> None:
        """Delete a webhook, or edit it, which gives it another address (:meth:`add_webhook`): the old one is dead."""
        self.webhooks[user_id, code].alive = False

    def restore_webhook(self, user_id: int, code: str) -> None:
        """Take :meth:`revoke_webhook` back."""
        self.webhooks[user_id, code].alive = True

    def is_admin(self, user_id: int) -> bool:
        """An active administrator."""
        user = self.users.get(user_id)
        return user is not None and user.admin and user.active

    def zone_of(self, user_id: int) -> tzinfo:
        """The zone in which tasks show times to this user: his own, else the server's."""
        user = self.users.get(user_id)
        own = user.time_zone if user and self.switches.owner_time_zone else ""
        return ZoneInfo(own) if own else self.clock.zone

    def hire(self, name: str, last_name: str, departments: Iterable[int] = (), **more: Any) -> int:
        """A new employee; gives his id. ``more``: other attributes of :class:`User`."""
        user_id = more.pop("id", None) or self.number("user", 2)
        self.start_numbers("user", user_id)
        more.setdefault("registered", self.moment())
        self.users[user_id] = User(user_id, name, last_name, departments=list(departments), **more)
        self._changed()
        return user_id

    def fire(self, user_id: int) -> None:
        """Dismiss a user: he stays in the lists, not active; his webhooks can no longer be authorised."""
        self.users[user_id].active = False
        self._changed()

    def rehire(self, user_id: int) -> None:
        """Take :meth:`fire` back."""
        self.users[user_id].active = True
        self._changed()

    def delete_user(self, user_id: int) -> None:
        """A user who is in no list any more (moved to a hidden system user, erased)."""
        del self.users[user_id]
        self._changed()

    def set_admin(self, user_id: int, admin: bool) -> None:
        """Make a user an administrator, or a plain user."""
        self.users[user_id].admin = admin
        self._changed()

    def set_time_zone(self, user_id: int, zone: str) -> None:
        """A user's own time zone; ``""``: the server's."""
        self.users[user_id].time_zone = zone
        self.touch()

    def add_department(self, name: str, *, parent: int = 0, head: int = 0, department_id: int | None = None) -> int:
        """A department under ``parent``; gives its id."""
        number = department_id or self.number("department", 2)
        self.start_numbers("department", number)
        self.departments[number] = Department(number, name, parent, head)
        self._changed()
        return number

    def set_head(self, department_id: int, user_id: int) -> None:
        """Another head of a department; 0: none."""
        self.departments[department_id].head_id = user_id
        self._changed()

    def set_departments(self, user_id: int, departments: Iterable[int]) -> None:
        """Move a user to other departments."""
        self.users[user_id].departments = list(departments)
        self._changed()

    def add_absence(
        self,
        user_id: int,
        start: When,
        end: When,
        *,
        name: str = "Отпуск",
        whole_days: bool = True,
        kind: str = "absent",
    ) -> int:
        """A user is away from ``start`` to ``end`` (half-open)."""
        number = self.number("absence")
        self.absences.append(Absence(number, user_id, self.moment(start), self.moment(end), name, whole_days, kind))
        return number

    def away_until(self, user_id: int) -> datetime | None:
        """The end of the absence that covers this moment, or None."""
        now = self.moment()
        ends = [
            one.end
            for one in self.absences
            if one.user_id == user_id and one.kind == "absent" and one.start <= now < one.end
        ]
        return max(ends, default=None)

    def add_workgroup(self, name: str, *, owner: int = 1, members: Iterable[int] = (), **more: Any) -> int:
        """A workgroup; gives its id."""
        number = self.number("workgroup", 2)
        self.workgroups[number] = Workgroup(
            number, name, owner, self.moment().astimezone(UTC), {owner, *members}, **more
        )
        self._changed()
        return number

    def set_calendar(self, settings: Mapping[str, Any]) -> None:
        """Other settings of the work calendar, by the portal's names (``work_time_start``, ``year_holidays`` ...)."""
        self.calendar.update(settings)
        self.touch()

    def close_workgroup(self, group_id: int) -> None:
        """A project is over: it takes no more tasks."""
        self.workgroups[group_id].closed = True
        self.touch()

    def subordinates(self, user_id: int) -> frozenset[int]:
        """Everyone in the departments that a user heads and below them, himself left out."""
        known = self._subordinates.get(user_id)
        if known is None:
            reach = {one.id for one in self.departments.values() if one.head_id == user_id}
            grown = True
            while grown:
                below = {one.id for one in self.departments.values() if one.parent_id in reach} - reach
                reach |= below
                grown = bool(below)
            known = frozenset(
                user.id for user in self.users.values() if user.id != user_id and reach.intersection(user.departments)
            )
            self._subordinates[user_id] = known
        return known

    def _changed(self) -> None:
        self._subordinates.clear()
        self.touch()
