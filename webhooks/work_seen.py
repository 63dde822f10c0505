"""What the web side asks of the work for a portal: the service of this process, or one elsewhere, seen in its
store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Protocol

from bitrix_sync.app import Health
from bitrix_sync.settings import Settings
from bitrix_sync.store import Store


class HealthSeen(Protocol):
    """A process, as whoever looks after it sees it."""

    def alive(self) -> Health:
        """Whether the process can do its work at all."""

    def health(self) -> Health:
        """Whether the work is done."""


class WorkSeen(HealthSeen, Protocol):
    """A portal's settings and store, since when somebody works or looks, and how that goes."""

    @property
    def settings(self) -> Settings:
        """Those it is served with."""

    @property
    def store(self) -> Store:
        """What is known of it."""

    @property
    def started(self) -> datetime:
        """Since when."""

    @property
    def clock(self) -> Callable[[], datetime]:
        """The present moment."""

    def numbers(self) -> Mapping[str, float]:
        """Figures for /metrics."""
