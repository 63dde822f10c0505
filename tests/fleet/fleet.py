"""A fleet for tests: portals of the sandbox, rows in the table, workers as processes."""

from __future__ import annotations

import base64
import itertools
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bitrix_sandbox import Sandbox
from bitrix_sandbox.state.clock import Clock
from bitrix_sync.fleet.portal_settings import address_of, sealed_tokens
from bitrix_sync.fleet.queue import set_up
from bitrix_sync.fleet.seal import Seals
from bitrix_sync.model.webhook import WebhookUrl
from bitrix_sync.store.portals import PortalRow, Portals
from tests.chaos.office import CODE, RULES, SELLERS, build
from tests.world.process import Running, until

KEY = base64.urlsafe_b64encode(b"k" * 32).decode()
SEALS = Seals([KEY])


@dataclass(eq=False)
class Member:
    """A portal of the fleet, and the deals that were moved in it."""

    name: str
    portal: Sandbox
    number: int = 0
    deals: dict[int, list[str]] = field(default_factory=dict)
    """A deal → the marks of tasks that it must have."""

    def add_deal(self, stage: str = "NEW") -> int:
        """A new deal, whose tasks are wanted."""
        state = self.portal.state
        with state.lock:
            deal = int(state.add_deal(f"Deal of {self.name}", stage=stage, responsible=SELLERS[0]))
        self.deals[deal] = []
        return deal

    def tasks_of(self, deal: int) -> list[Any]:
        """The tasks of a deal that are there."""
        with self.portal.state.lock:
            return [task for task in self.portal.state.tasks.values() if f"D_{deal}" in task.crm]


class Fleet:
    """A database, portals, workers."""

    def __init__(self, folder: Path, url: str, **settings: str) -> None:
        self.folder, self.url = folder, url
        key = folder / "key"
        key.write_text(KEY)
        key.chmod(0o600)
        self.environ = {"DATABASE_URL": url, "BITRIX_SECRET_KEY_FILE": str(key), **settings}
        self.portals = Portals(url)
        set_up(url)
        self.members: dict[str, Member] = {}
        self.workers: list[Running] = []
        self._count = itertools.count(1)
        self._open = ExitStack()

    def add(self, name: str, portal: Sandbox, *, rules: str = RULES, webhook: str = "", **settings: str) -> Member:
        """A portal's row; ``webhook``: another address of it."""
        address = WebhookUrl(webhook or portal.url)
        row = PortalRow(
            name=name,
            address=address_of(address),
            webhook_user=address.user_id,
            webhook=SEALS.seal(webhook or portal.url),
            tokens=sealed_tokens([], SEALS),
            rules=rules,
            settings=settings,
        )
        member = self.members[name] = Member(name, portal, self.portals.add(row, by="a test").number)
        return member

    def worker(self) -> Running:
        """One more worker, as a process in a folder of its own."""
        folder = self.folder / f"worker{next(self._count)}"
        folder.mkdir()
        made = Running(folder, self.environ, "worker")
        self.workers.append(made)
        return made

    def command(self, *words: str) -> Running:
        """A command of the program, in the operator's environment."""
        folder = self.folder / f"command{next(self._count)}"
        folder.mkdir()
        return Running(folder, self.environ, *words)

    def rows(self) -> Mapping[str, PortalRow]:
        """What stands in the table."""
        return {row.name: row for row in self.portals.rows()}

    def served(self) -> bool:
        """Whether every portal has had a pass."""
        return all(row.seen_ok is not None for row in self.portals.overview())

    def close(self) -> None:
        """All processes end, however they are."""
        for worker in self.workers:
            if worker.process is not None and worker.process.poll() is None:
                os.kill(worker.process.pid, signal.SIGCONT)
                worker.kill()
        self.portals.close()
        self._open.close()


@contextmanager
def fleet(folder: Path, url: str, names: list[str], **settings: str) -> Iterator[Fleet]:
    """A fleet of these portals, each a sandbox of its own in a small department."""
    made = Fleet(folder, url, **settings)
    try:
        with ExitStack() as portals:
            for name in names:
                clock = Clock()
                made.add(name, portals.enter_context(Sandbox(build(clock))))
            yield made
    finally:
        made.close()


__all__ = ["CODE", "Fleet", "Member", "fleet", "until"]
