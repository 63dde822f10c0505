"""A sales department whose sweeps are tried: the real service on the sandbox portal, both on a clock that stands still
and goes on only when somebody waits for it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from textwrap import dedent
from typing import Any, TypeVar

from bitrix_sandbox.http.server import Sandbox
from bitrix_sandbox.state import seed
from bitrix_sandbox.state.clock import Clock
from bitrix_sync.app import Service
from bitrix_sync.engine.passes import carry_out
from bitrix_sync.settings import load_settings
from bitrix_sync.store import Store
from bitrix_sync.sweeps import run
from tests import postgres
from tests.world.blank import blank_store
from tests.world.company import MOSCOW
from tests.world.office import Office

DIRECTOR, HEAD, MARIA, IGOR, OLGA, PAVEL = 1, 3, 5, 7, 9, 11
LAWYER_HEAD, LAWYER, LOGIST_HEAD, LOGIST, FIRED = 13, 15, 19, 21, 25
"""The people of the sandbox's department. The head of logistics is away, and the webhook is the director's."""

MONDAY = datetime(2026, 3, 2, 8, 0, tzinfo=MOSCOW)
MORNING, EVENING = "09:00", "18:30"

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
        deadline: {after: 2 workhours}
"""
SWEEPS = """
overdue:
  tasks: deals
  morning: {at: "09:00", move_to: {after: 0 workdays}}
  evening: {at: "18:30", move_to: {after: 1 workday}}
  limit: 3
"""


class Department(Office):
    """The office, with words for sweeps. ``rate`` and ``clock`` of the service are the portal's own."""

    def begin(self) -> Service:
        """A new process that has done nothing yet, after a minute."""
        clock = self.portal.clock
        self.rest(60)
        service = Service(load_settings(self.environ, None), clock=lambda: clock.now().astimezone(UTC), sleep=self.rest)
        self.service = service
        return service

    def start(self) -> Service:
        service = self.begin()
        assert service.take_lease()
        self.context = service.open()
        return service

    def rest(self, seconds: float) -> None:
        """Somebody waits: so time goes on."""
        self.portal.clock.advance(max(seconds, 0.001))

    def die(self) -> None:
        """The process ends without a word; another takes over at once, as it would from one that is gone."""
        self.store.drop_lease(self.context.sender.epoch)
        self.service.hold = None
        self.service.close()

    @property
    def store(self) -> Any:
        return self.service.store

    # --- time ------------------------------------------------------------------------------------------------------

    def at(self, text: str) -> datetime:
        """``2026-03-02 10:00`` or, of the day that it is, ``10:00``."""
        day = self.portal.clock.now().astimezone(MOSCOW).date().isoformat()
        return datetime.fromisoformat(text if "-" in text else f"{day} {text}").replace(tzinfo=MOSCOW)

    def until(self, text: str) -> None:
        """It becomes that time."""
        self.portal.clock.set(self.at(text))

    def turn(self) -> None:
        """One turn of the worker, in which every tick has rung."""
        self.service.turn({"slots", "poll"}, wide=False)

    def sweeps(self, text: str) -> str:
        """It becomes that time, the sweep that is due runs to its end; its slot."""
        self.until(text)
        for _ in range(3):
            self.turn()
        return str(self.store.sweeps(limit=1)[0].slot)

    # --- people ----------------------------------------------------------------------------------------------------

    def task(self, title: str, owner: int, due: str, **more: Any) -> int:
        """Somebody makes a task, bound to a deal of his."""
        values: dict[str, Any] = {"by": HEAD}
        if "deals" not in more and "deal" not in more:
            values["deals"] = [self.add_deal(title, stage="EXECUTING", responsible=owner)]
        if "deal" in more:
            values["deals"] = [more.pop("deal")]
        return int(self.portal.state.add_task(title, responsible=owner, deadline=self.at(due), **(values | more)))

    # --- looking ---------------------------------------------------------------------------------------------------

    def due(self, task_id: int) -> str:
        """A task's deadline in the portal, ``2026-03-02 18:00`` in Moscow."""
        deadline = self.portal.state.tasks[task_id].deadline
        return f"{deadline.astimezone(MOSCOW):%Y-%m-%d %H:%M}" if deadline else ""

    def record(self, task_id: int) -> Any:
        """What the service remembers of a task."""
        (found,) = self.store.task_records(portal_ids=[task_id])
        return found

    def mail(self, user: int, slot: str = "") -> list[str]:
        """What a person was told (of a slot), as it reads on a screen: the chat's messages and, of the webhook's own
        user, the notices."""
        state = self.portal.state
        texts = [one.text for one in state.messages_to(user)] + [one.text for one in state.notices_of(user)]
        return [plain(text) for text in texts if slot in text]

    def heard(self, user: int, slot: str) -> str:
        """The one message of a slot to a person; "" for none."""
        found = self.mail(user, slot)
        assert len(found) <= 1, f"{user} was told twice of {slot}"
        return found[0] if found else ""

    def readers(self, slot: str) -> list[int]:
        """Everybody who has a message of the slot."""
        return [user for user in sorted(self.portal.state.users) if self.heard(user, slot)]


D = TypeVar("D", bound=Department)


def forget(place: Department) -> None:
    """The service ends, and its database is lost."""
    place.die()
    if postgres.server():
        with Store(blank_store(place.folder / "store.db")) as store:
            store.forget()
    for file in place.folder.glob("store.db*"):
        file.unlink()


def plain(text: str) -> str:
    """A message as it reads: links are their titles, nothing else is marked up."""
    text = re.sub(r"\[url=[^\]]*\](.*?)\[/url\]", r"\1", text)
    return re.sub(r"\[/?b\]", "", text)


def section(text: str, title: str) -> list[str]:
    """The lines below a title that begins so."""
    found: list[str] = []
    inside = False
    for line in text.splitlines():
        if inside and not line:
            break
        if inside:
            found.append(line.removeprefix("• "))
        inside = inside or line.startswith(title)
    return found


@contextmanager
def department(
    folder: Path,
    rules: str = RULES + SWEEPS,
    *,
    at: datetime = MONDAY,
    quick: bool = True,
    kind: type[D] = Department,  # type: ignore[assignment]
    **settings: str,
) -> Iterator[D]:
    """A department on a Monday morning, without any task. ``quick``: the portal's commands take no time to speak of;
    ``kind``: one with other words, in a portal without any deal."""
    clock = Clock()
    clock.set(at)
    clock.freeze()
    with Sandbox(clock=clock) as portal:
        for task_id in list(portal.state.tasks):
            portal.state.delete_task(task_id)
        if quick:
            portal.limits.cost_factor = 0.01
        for deal_id in list(portal.state.deals) if kind is not Department else ():
            portal.state.delete_deal(deal_id)
        place = kind(portal, folder, dedent(rules), **settings)
        try:
            place.turn()
            yield place
            assert portal.limits.refused() == 0, "the portal never had to refuse"
        finally:
            place.close()


BIG = """
version: 1
language: ru
timezone: Europe/Moscow
admins: [1]
calendar: {hours: "09:00-18:00"}
fallback_owner: 1
supervisor: head
funnels:
  Продажи:
    Новая заявка:
      - id: first-call
        title: Позвонить клиенту
        deadline: {after: 2 workhours}
overdue:
  tasks: deals
  morning: {at: "09:00", move_to: {after: 0 workdays}}
  evening: {at: "18:30", move_to: {after: 1 workday}}
  limit: 3
safety: {max_moves: 20000}
"""


@contextmanager
def big_department(folder: Path, *, tasks: int) -> Iterator[Department]:
    """A portal with so many overdue tasks of 200 owners in 30 departments, at six on a Tuesday; the service has read
    it for the first time."""
    clock = Clock()
    clock.set(datetime(2026, 3, 3, 18, 0, tzinfo=MOSCOW))
    clock.freeze()
    state = seed.build_big(clock, overdue_tasks=tasks, deals=tasks, owners=200, departments=30)
    with Sandbox(state) as portal:
        portal.limits.cost_factor = 0.01
        place = Department(portal, folder, BIG)
        try:
            place.turn()
            yield place
        finally:
            place.close()


def measure_big_sweep(folder: Path, *, tasks: int = 10_000) -> Mapping[str, Any]:
    """The evening sweep over so many overdue tasks: requests, moves, messages, refusals of the portal, and the seconds
    that it takes in the portal's time at two requests a second."""
    with big_department(folder, tasks=tasks) as place:
        portal = place.portal
        place.until("18:30")
        requests, began = place.service.portal.stats.requests, portal.clock.now()
        run.run_due(place.context)
        carry_out(place.context)
        run.run_due(place.context)
        carry_out(place.context)
        (row,) = place.store.sweeps(limit=1)
        return {
            "requests": place.service.portal.stats.requests - requests,
            "moved": sum(bool(task.deadline and task.deadline > began) for task in portal.state.tasks.values()),
            "messages": len(place.readers(row.slot)),
            "refused": portal.limits.refused(),
            "fullest": portal.limits.high_water,
            "seconds": (portal.clock.now() - began) / timedelta(seconds=1),
            "state": row.state,
            "summary": json.loads(json.dumps(row.summary)),
        }
