"""A sales department to try the service on: the real service on the sandbox portal over HTTP, step by step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from textwrap import dedent
from typing import Any

from bitrix_sandbox.http.server import Sandbox
from bitrix_sandbox.state.clock import Clock
from bitrix_sync.app import Service
from bitrix_sync.engine.passes import PassReport, ServiceContext, run_pass
from bitrix_sync.settings import load_settings
from tests.world.blank import blank_store
from tests.world.company import MONDAY

RULES = """
version: 1
language: en
timezone: Europe/Moscow
admins: [1]
calendar: {hours: "09:00-18:00"}
fallback_owner: 1
funnels:
  Продажи:
    Новая заявка:
      - id: first-call
        title: "Call: {{ deal.TITLE }}"
        deadline: {after: 30 workminutes}
    Презентация:
      - id: presentation
        title: Present
        deadline: {after: 2 workdays, at: "15:00"}
        checklist: [Materials, Time]
    КП отправлено:
      - id: ask
        title: Ask
        deadline: {after: 1 workday}
"""


class Office:
    """The portal, the service, and short words for what people do."""

    def __init__(self, portal: Sandbox, folder: Path, rules: str = RULES, **settings: str) -> None:
        self.portal = portal
        self.folder = folder
        self.rules = folder / "rules.yaml"
        self.rules.write_text(dedent(rules), encoding="utf-8")
        self.environ = {
            "BITRIX_WEBHOOK_URL": portal.url,
            "BITRIX_RULES": str(self.rules),
            "DATABASE_URL": blank_store(folder / "store.db"),
            "BITRIX_SETTLE_SECONDS": "0",
            **settings,
        }
        self.service = self.start()

    def start(self) -> Service:
        """A new process, as it were."""
        self.service = Service(load_settings(self.environ, None))
        assert self.service.take_lease()
        self.context: ServiceContext = self.service.open()
        return self.service

    def restart(self) -> None:
        """The service ends and begins again."""
        self.service.close()
        self.start()

    def run(self, **how: Any) -> PassReport:
        """One pass."""
        return run_pass(self.context, **how)

    def close(self) -> None:
        self.service.close()

    # --- people ----------------------------------------------------------------------------------------------------

    def add_deal(self, title: str = "Romashka", *, stage: str = "NEW", funnel: int = 0, **more: Any) -> int:
        """A new deal of responsible 5."""
        values: dict[str, Any] = {"responsible": 5, "by": 5}
        return int(self.portal.state.add_deal(title, funnel=funnel, stage=stage, **(values | more)))

    def move(self, deal_id: int, stage: str, *, by: int = 5) -> None:
        """Somebody moves the deal."""
        self.portal.state.move_deal(deal_id, stage, by=by)

    def wait(self, **span: float) -> None:
        """Time passes in the portal."""
        self.portal.clock.advance(timedelta(**span))

    # --- looking ---------------------------------------------------------------------------------------------------

    def tasks(self, deal_id: int | None = None) -> list[Any]:
        """The portal's tasks that the service made, of one deal or all, by id."""
        found = [task for task in self.portal.state.tasks.values() if (task.xml_id or "").startswith("bitrix-sync:")]
        if deal_id is not None:
            found = [task for task in found if f"D_{deal_id}" in task.crm]
        return sorted(found, key=lambda task: int(task.id))

    def marks(self, deal_id: int | None = None) -> list[str]:
        """Rules of those tasks."""
        return [task.xml_id.split(":")[2] for task in self.tasks(deal_id)]


@contextmanager
def office(folder: Path, rules: str = RULES, *, at: datetime = MONDAY, **settings: str) -> Iterator[Office]:
    """An office on a Monday morning."""
    clock = Clock()
    clock.set(at)
    with Sandbox(clock=clock, rate=None) as portal:
        place = Office(portal, folder, rules, **{"BITRIX_RATE": "100/1000", **settings})
        try:
            yield place
        finally:
            place.close()
