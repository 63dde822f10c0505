"""Calls of the sandbox's methods without HTTP: what a webhook of one user would be answered."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from bitrix_sandbox.methods import calendar, crm, im, people, system, tasks
from bitrix_sandbox.methods.protocol import METHODS, Answer, Caller
from bitrix_sandbox.state import seed
from bitrix_sandbox.state.clock import Clock
from bitrix_sandbox.state.portal import PortalState
from tests.world.company import MOSCOW

REGISTERED = (calendar, crm, im, people, system, tasks)
NOON = datetime(2026, 3, 11, 12, 0, tzinfo=MOSCOW)
"""A Wednesday."""


def frozen_clock(zone: str = "Europe/Moscow") -> Clock:
    """The portal's clock, standing at NOON."""
    clock = Clock(NOON, zone=zone)
    clock.freeze()
    clock.set(NOON)
    return clock


@dataclass
class Portal:
    """A state, and the calls of user 1's webhook (or another's: ``as_user``)."""

    state: PortalState
    user_id: int = 1
    scopes: frozenset[str] = frozenset(seed.SCOPES)
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state.emit = lambda name, data: self.events.append((name, data))

    def answer(self, name: str, /, **params: Any) -> Answer:
        caller = Caller(self.user_id, self.scopes, self.state.is_admin(self.user_id))
        return METHODS[name.lower()].handler(self.state, caller, params)

    def call(self, name: str, /, **params: Any) -> Any:
        return self.answer(name, **params).result

    def as_user(self, user_id: int, *scopes: str) -> Portal:
        return Portal(self.state, user_id, frozenset(scopes) or self.scopes, self.events)

    def pass_seconds(self, seconds: float) -> None:
        self.state.clock.advance(seconds)

    def heard(self, name: str) -> list[dict[str, Any]]:
        return [data for event, data in self.events if event == name]


def sales_department(zone: str = "Europe/Moscow") -> Portal:
    return Portal(seed.build_department(frozen_clock(zone)))


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def words(text: str) -> list[str]:
    """Names in a row."""
    return text.split()
