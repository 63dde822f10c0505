"""``python -m tests.long_day``: 24 hours of a busy portal in some minutes, and a table of what they cost.

The service is a process of its own, so that its memory is nobody else's; it and the sandbox portal live by one clock,
which goes on only when somebody waits. Work goes on around the clock, so that one half of the day is like the other.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from sqlalchemy import Connection, func, select

from bitrix_sandbox.http.server import Sandbox
from bitrix_sandbox.state.clock import Clock
from bitrix_sync.app import Service
from bitrix_sync.log import configure
from bitrix_sync.settings import load_settings
from bitrix_sync.store import Store
from bitrix_sync.store.schema import metadata
from tests.world.company import MOSCOW

START = datetime(2026, 3, 2, 6, 0, tzinfo=MOSCOW)
HOURS = 24
SELLERS = (5, 7, 9, 11)
STAGES = ("NEW", "PREPARATION", "UC_OFFER1", "PREPAYMENT_INVOICE", "EXECUTING", "FINAL_INVOICE")
SHIP = "UF_CRM_SHIP_DATE"
RULES = """
version: 1
language: en
timezone: Europe/Moscow
admins: [1]
calendar: {hours: {mon-sun: "00:00-23:59"}}
fallback_owner: 1
supervisor: 3
funnels:
  Продажи:
    Новая заявка:
      - id: call
        title: "Call: {{ deal.TITLE }}"
        owner: {one_of: [5, 7, 9, 11], pick: least_loaded}
        deadline: {after: 1 workhour}
        checklist: [First, Second]
    Презентация:
      advance_to: КП отправлено
      tasks:
        - {id: show, title: Show, deadline: {after: 2 workhours}, on_leave: complete}
    КП отправлено:
      - id: ask
        title: Ask
        if: {OPPORTUNITY: {min: 100}}
        deadline: {after: 4 workhours}
        on_leave: complete
    Согласование:
      - {id: agree, title: Agree, deadline: {after: 1 workday}, repeat: if_none_open, on_leave: complete}
    Отгрузка:
      - id: ship
        title: Ship
        deadline: {field: UF_CRM_SHIP_DATE, at: "12:00", else: {after: 10 days}}
        on_close: complete
overdue:
  tasks: rules
  morning: {at: "09:00", move_to: {after: 0 workdays}}
  evening: {at: "18:30", move_to: {after: 1 workday}}
  limit: 3
safety: {max_new_tasks: 100000, max_moves: 100000}
"""


# --- the service's process -------------------------------------------------------------------------------------------


def serve() -> None:
    """The service: for each line of standard input (a moment) one turn of its worker, then what it holds."""
    control = os.environ.pop("PORTAL_CLOCK")
    now = [0.0]

    def rest(seconds: float) -> None:
        body = json.dumps({"advance": max(seconds, 0.001)}).encode()
        with urllib.request.urlopen(urllib.request.Request(control, data=body)) as answer:
            now[0] = datetime.fromisoformat(json.load(answer)["result"]["now"]).timestamp()

    rest(0)
    settings = load_settings(dict(os.environ), None)
    configure(settings.log, settings.secrets())
    service = Service(settings, clock=lambda: datetime.fromtimestamp(now[0], UTC), sleep=rest)
    assert service.take_lease()
    service.open()
    for line in sys.stdin:
        command, moment = line.split()
        now[0] = float(moment)
        if command == "turn":
            service.renew_lease()
            service.turn({"rules", "slots", "poll"}, wide=False)
            sys.stdout.write("{}\n")
        else:
            sys.stdout.write(json.dumps(held()) + "\n")
        sys.stdout.flush()
    service.close()


def held() -> dict[str, int]:
    """This process's memory: resident KiB, and blocks that Python holds."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return {"rss": pages * os.sysconf("SC_PAGE_SIZE") // 1024, "blocks": sys.getallocatedblocks()}


# --- the day ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mark:
    """How things stand at one moment: memory (KiB, blocks), rows by table, bytes of the database, rows of the portal's
    stage history and its tasks, requests so far."""

    rss: int
    blocks: int
    rows: dict[str, int]
    file: int
    visits: int
    tasks: int
    requests: int


def count_rows(connection: Connection) -> dict[str, int]:
    """How many rows each table has."""
    return {
        table.name: int(connection.execute(select(func.count()).select_from(table)).scalar_one())
        for table in metadata.sorted_tables
    }


@dataclass
class Day:
    """The portal, the service beside it, and what people do."""

    portal: Sandbox
    process: subprocess.Popen[str]
    store: Store
    dice: random.Random = field(default_factory=lambda: random.Random(7))
    going: list[int] = field(default_factory=list)

    def turn(self) -> int:
        """One turn of the service; the requests that it cost."""
        before = self.requests
        self.say("turn")
        return self.requests - before

    @property
    def requests(self) -> int:
        return self.portal.journal.requests.total()

    def say(self, command: str) -> dict[str, int]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{command} {self.portal.clock.timestamp()}\n")
        self.process.stdin.flush()
        answer: dict[str, int] = json.loads(self.process.stdout.readline() or "null")
        assert answer is not None, Path(self.store.name).with_name("service.err").read_text("utf-8")
        return answer

    def mark(self) -> Mark:
        """How things stand."""
        memory = self.say("held")
        with self.store.reading() as connection:
            rows = count_rows(connection)
        state = self.portal.state
        return Mark(
            **memory,
            rows=rows,
            file=Path(self.store.name).stat().st_size,
            visits=len(state.history),
            tasks=len(state.tasks),
            requests=self.requests,
        )

    def work(self, deeds: int) -> None:
        """So many things that people do."""
        for _ in range(deeds):
            what = self.dice.random()
            if what < 0.25 or not self.going:
                self.begin()
            elif what < 0.6:
                self.go_on(self.dice.choice(self.going))
            else:
                self.do(self.dice.choice(self.going), what)

    def begin(self) -> None:
        """A deal comes in."""
        seller = self.dice.choice(SELLERS)
        amount = {"OPPORTUNITY": self.dice.choice([50, 5000])}
        name = f"Deal {len(self.portal.state.deals)}"
        self.going.append(self.portal.state.add_deal(name, responsible=seller, by=seller, fields=amount))

    def go_on(self, deal_id: int) -> None:
        """A deal moves to the next stage, and out of the last one."""
        deal = self.portal.state.deals[deal_id]
        place = STAGES.index(deal.stage_id) + 1
        if place < len(STAGES):
            self.portal.state.move_deal(deal_id, STAGES[place], by=deal.responsible_id)
            return
        self.going.remove(deal_id)
        self.portal.state.move_deal(deal_id, self.dice.choice(["WON", "LOSE"]), by=deal.responsible_id)

    def do(self, deal_id: int, what: float) -> None:
        """Somebody works on a deal's tasks, or changes the deal."""
        state = self.portal.state
        deal = state.deals[deal_id]
        mine = [task for task in state.tasks.values() if f"D_{deal_id}" in task.crm and task.status != 5]
        if mine and what < 0.85:
            state.complete_task(mine[0].id, by=mine[0].responsible_id)
        elif mine and what < 0.9:
            state.set_deadline(mine[0].id, state.moment() + timedelta(hours=5), by=deal.responsible_id)
        elif what < 0.95:
            day = (state.moment() + timedelta(days=self.dice.randrange(2, 30))).isoformat(timespec="seconds")
            state.set_fields(deal_id, {SHIP: day}, by=deal.responsible_id)
        else:
            state.set_responsible(deal_id, self.dice.choice(SELLERS), by=3)


@contextmanager
def day(folder: Path, *, poll: int) -> Iterator[Day]:
    """A busy portal at six in the morning, and a service that has read it for the first time."""
    clock = Clock()
    clock.set(START)
    clock.freeze()
    (folder / "rules.yaml").write_text(RULES, encoding="utf-8")
    with Sandbox(clock=clock) as portal:
        portal.limits.cost_factor = 0.01
        environ = {
            **{name: text for name, text in os.environ.items() if not name.startswith(("BITRIX_", "DATABASE_"))},
            "PYTHONPATH": str(Path(__file__).parent.parent),
            "PORTAL_CLOCK": f"http://{portal.host}/sandbox/clock",
            "BITRIX_WEBHOOK_URL": portal.url,
            "BITRIX_RULES": str(folder / "rules.yaml"),
            "DATABASE_URL": f"sqlite:///{folder / 'store.db'}",
            "BITRIX_POLL_SECONDS": str(poll),
        }
        with (
            Store(environ["DATABASE_URL"]) as store,
            (folder / "service.err").open("wb") as told,
            subprocess.Popen(
                [sys.executable, "-c", "from tests.long_day import serve; serve()"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=told,
                cwd=folder,
                env=environ,
                text=True,
            ) as process,
        ):
            try:
                found = Day(portal, process, store)
                found.turn()
                yield found
                assert process.stdin is not None
                process.stdin.close()
                assert process.wait(30) == 0
            finally:
                process.kill()


def live(found: Day, *, hours: float, poll: int, deeds: float) -> list[int]:
    """So many hours with ``deeds`` things done in each; the requests of each poll."""
    costs = []
    owed = 0.0
    for _ in range(int(hours * 3600 / poll)):
        owed += deeds * poll / 3600
        found.work(int(owed))
        owed -= int(owed)
        found.portal.clock.advance(poll)
        costs.append(found.turn())
    return costs


def main() -> int:
    """A day, and what it cost."""
    parser = argparse.ArgumentParser(prog="python -m tests.long_day", description=__doc__)
    parser.add_argument("--poll", type=int, default=30, help="seconds between two readings (default: %(default)s)")
    parser.add_argument("--deeds", type=int, default=120, help="what people do in an hour (default: %(default)s)")
    parser.add_argument("--hours", type=int, default=HOURS, help="how long it lives (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, day(Path(folder), poll=options.poll) as found:
        began, polls = time.monotonic(), 0
        print("hour  rss KiB  blocks      file   rows  polls requests  moves tasks")
        for hour in range(0, options.hours + 1, 4):
            one = found.mark()
            print(
                f"{hour:>4} {one.rss:>8} {one.blocks:>7} {one.file:>9} {sum(one.rows.values()):>6} {polls:>6} "
                f"{one.requests:>8} {one.visits:>6} {one.tasks}",
                flush=True,
            )
            if hour < options.hours:
                polls += len(live(found, hours=4, poll=options.poll, deeds=options.deeds))
        quiet = live(found, hours=1, poll=options.poll, deeds=0)
        print(f"a quiet hour: {median(quiet):g} request a poll, {sum(quiet) - len(quiet)} more in all")
        print("rows:", ", ".join(f"{name} {count}" for name, count in found.mark().rows.items()))
        print(f"{time.monotonic() - began:.0f} s; the portal had to refuse {found.portal.limits.refused()} requests")
    return 0


if __name__ == "__main__":
    sys.exit(main())
