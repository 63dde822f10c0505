"""A fleet for tests: portals of the sandbox, rows in the table, workers as processes."""

from __future__ import annotations

import base64
import itertools
import os
import signal
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from bitrix_sandbox import Sandbox
from bitrix_sandbox.state.clock import Clock
from bitrix_sync.fleet.portal_settings import address_of, sealed_tokens
from bitrix_sync.fleet.queue import set_up
from bitrix_sync.fleet.seal import Seals
from bitrix_sync.model.webhook import WebhookUrl
from bitrix_sync.store import Store
from bitrix_sync.store.portals import PortalRow, Portals
from tests.chaos.office import RULES, SELLERS, build
from tests.world.process import Running, until

KEY = base64.urlsafe_b64encode(b"k" * 32).decode()
SEALS = Seals([KEY])


RULES_OF = {"NEW": ("call", "note"), "MEETING": ("meet", "ship"), "OFFER": ("offer",), "CONTRACT": ("sign", "file")}
"""Rules of the stages."""
STAGES = tuple(RULES_OF)


@dataclass(eq=False)
class Member:
    """A portal of the fleet, and the deals that people moved in it."""

    name: str
    portal: Sandbox
    number: int = 0
    deals: set[int] = field(default_factory=set)

    def add_deal(self) -> int:
        """A new deal in the first stage."""
        state = self.portal.state
        with state.lock:
            deal = int(state.add_deal(f"Deal of {self.name}", stage=STAGES[0], responsible=SELLERS[0]))
        self.deals.add(deal)
        return deal

    def move(self, deal: int) -> bool:
        """A person moves a deal one stage on; False at the end."""
        state = self.portal.state
        with state.lock:
            place = STAGES.index(state.deals[deal].stage_id)
            if place + 1 == len(STAGES):
                return False
            state.move_deal(deal, STAGES[place + 1], by=SELLERS[0])
        return True

    def play(self, chance: Random) -> None:
        """People do something: a deal moves on, or a new one comes."""
        if not (self.deals and chance.random() < 0.6 and self.move(chance.choice(sorted(self.deals)))):
            self.add_deal()

    def wanted(self) -> set[str]:
        """The marks that tasks of the moved deals must have."""
        with self.portal.state.lock:
            rows = [row for row in self.portal.state.history.values() if row.deal_id in self.deals]
        return {f"bitrix-sync:{row.id}:{rule}" for row in rows for rule in RULES_OF[row.stage_id]}

    def marks(self) -> Counter[str]:
        """The marks of all tasks of ours, and how many tasks have each."""
        with self.portal.state.lock:
            return Counter(str(task.xml_id) for task in self.portal.state.tasks.values() if task.xml_id)

    @property
    def lost(self) -> set[str]:
        """Marks that no task has."""
        return self.wanted() - self.marks().keys()

    @property
    def doubled(self) -> set[str]:
        """Marks that two tasks have."""
        return {mark for mark, count in self.marks().items() if count > 1}


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

    def worker(self, play: str = "", **settings: str) -> Running:
        """One more worker, as a process in a folder of its own; ``play``: see ``player``."""
        folder = self.folder / f"worker{next(self._count)}"
        folder.mkdir()
        environ = {**self.environ, **settings, "FLEET_PLAY": play}
        script = "tests/fleet/player.py" if play else ""
        made = Running(folder, environ, "worker", script=script)
        self.workers.append(made)
        return made

    def command(self, *words: str) -> tuple[int, str]:
        """A command of the program in the operator's environment: its exit code, and all that it said."""
        folder = self.folder / f"command{next(self._count)}"
        folder.mkdir()
        made = Running(folder, self.environ, *words)
        return made.wait(), made.said

    def ring(self, *members: Member) -> None:
        """What the web side does when events of these portals come."""
        self.portals.ring([one.number for one in members or self.members.values()])

    def owner(self, member: Member) -> Running:
        """The worker that has the portal's lease now."""
        alive = {one.process.pid: one for one in self.workers if one.process is not None and one.process.poll() is None}
        self.ring(member)

        def owner() -> Running | None:
            with Store(self.url, portal=member.number) as store:
                lease = store.lease()
            return alive.get(lease.pid) if lease is not None else None

        found: Running = until(owner, seconds=30)
        return found

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


__all__ = ["Fleet", "Member", "fleet", "until"]
