"""The web side: the address of the events, health, metrics, the page. It asks a service and decides nothing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from bitrix_sync.settings import Settings


class WebHealth(Protocol):
    """Whether the service does its work, and if not, why: a text for an administrator, without secrets."""

    @property
    def ready(self) -> bool: ...  # noqa: D102
    @property
    def reason(self) -> str: ...  # noqa: D102


class WebService(Protocol):
    """What the web side needs of the service behind it."""

    settings: Settings
    started: datetime
    """When the process began, aware."""

    def wake(self, reason: str) -> None:
        """Read the portal now, because of ``reason`` (an event's name). Returns at once."""

    def meet(self, domain: str, member: str) -> None:
        """A genuine event names the portal that it comes from. Returns at once."""

    def alive(self) -> WebHealth:
        """Ready while every thread lives and the schedule ticks."""

    def health(self) -> WebHealth:
        """Ready when the database answers, rules are loaded and the last pass is fresh."""

    def numbers(self) -> Mapping[str, float]:
        """Figures for /metrics by name; a name that ends in ``_total`` only ever grows."""
