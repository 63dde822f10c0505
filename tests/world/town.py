"""A portal and a service as a process of its own beside it: events, signals, kills."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bitrix_sandbox import Sandbox
from bitrix_sandbox.state.clock import Clock
from tests.world.blank import blank_store
from tests.world.company import MONDAY
from tests.world.office import RULES
from tests.world.process import Running


class Town:
    """A portal and what a service beside it needs."""

    def __init__(self, folder: Path, portal: Sandbox, rules: str = RULES, **settings: str) -> None:
        self.folder, self.portal = folder, portal
        (folder / "rules.yaml").write_text(rules, encoding="utf-8")
        self.environ = {
            "BITRIX_WEBHOOK_URL": portal.url,
            "BITRIX_LISTEN": "127.0.0.1:0",
            "BITRIX_SETTLE_SECONDS": "0",
            "BITRIX_RATE": "100/1000",
            **settings,
        }

    def run(self, **settings: str) -> Running:
        """The service, at work."""
        return Running(self.folder, {**self.environ, **settings})

    def add_deal(self, title: str = "Romashka", stage: str = "NEW", *, funnel: int = 0) -> int:
        """A person makes a deal."""
        return self.portal.state.add_deal(title, funnel=funnel, stage=stage, responsible=5, by=5)

    def move(self, deal: int, stage: str) -> None:
        """A person moves it."""
        self.portal.state.move_deal(deal, stage, by=5)

    def rules_of(self, deal: int) -> list[str]:
        """Rules whose tasks the portal has for a deal, in the order of their making; twice if there are two."""
        with self.portal.state.lock:
            tasks = [task for task in self.portal.state.tasks.values() if f"D_{deal}" in task.crm and task.xml_id]
        return [str(task.xml_id).split(":")[2] for task in tasks]

    def has(self, deal: int, *rules: str) -> Callable[[], bool]:
        """Whether a deal has exactly the tasks of these rules."""
        return lambda: sorted(self.rules_of(deal)) == sorted(rules)


@contextmanager
def portal_on_a_monday(**given: Any) -> Iterator[Sandbox]:
    """A sandbox that lets a service go as fast as it can."""
    with Sandbox(clock=Clock(MONDAY), rate=None, **given) as portal:
        yield portal


def same_store(town: Town) -> dict[str, str]:
    """Settings that name the files of a town from elsewhere."""
    return {
        "DATABASE_URL": blank_store(town.folder / "bitrix-sync.db"),
        "BITRIX_RULES": str(town.folder / "rules.yaml"),
    }
