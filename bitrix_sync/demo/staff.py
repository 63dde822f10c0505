"""The sandbox portal after the story: people go on, one deed at a time, and the service, woken by events, follows."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

from bitrix_sandbox import Sandbox
from bitrix_sandbox.state.seed import SALES
from bitrix_sandbox.state.task_records import Task
from bitrix_sync.app import Service
from bitrix_sync.demo.narrator import Narrator
from bitrix_sync.demo.story import IGOR, MARIA, MOSCOW, OLGA, PAVEL, rule_of
from bitrix_sync.model.items import DEAL
from bitrix_sync.words import texts

BETWEEN = 12.0
"""Seconds between two deeds."""
WATCH = 4.0
"""Seconds for which the tasks that follow a deed are waited for."""
LOOK = 0.05
WARES = ("Паллетные весы", "Упаковочная линия", "Торговые витрины", "Тележки", "Рабочая одежда", "Сканеры")


class SimulatedStaff:
    """What people do from now on, and what comes of it."""

    def __init__(self, portal: Sandbox, service: Service, teller: Narrator) -> None:
        self.portal, self.service, self.teller = portal, service, teller
        self.chance = random.Random(7)

    def go_on(self) -> None:
        """One deed after another until the service stops."""
        deeds = self.deeds()
        while not self.service.stopping.wait(BETWEEN):
            known, begun = set(self.portal.state.tasks), time.monotonic()
            self.watch(next(deeds), known, begun)

    def deeds(self) -> Iterator[int | None]:
        """For ever: something is done, to this deal (None: to a task)."""
        number = 0
        while True:
            yield self.move()
            self.complete()
            yield None
            yield self.add(WARES[number % len(WARES)])
            yield self.move()
            number += 1

    def move(self) -> int | None:
        """A deal goes on to its next stage."""
        state = self.portal.state
        with state.lock:
            going = [deal for deal in state.deals.values() if not deal.closed and deal.funnel_id == SALES]
            if not going:
                return None
            deal = self.chance.choice(going)
            stages = [stage.id for stage in state.stages_of(SALES)]
            state.move_deal(deal.id, stages[stages.index(deal.stage_id) + 1], by=deal.responsible_id)
            return deal.id

    def add(self, title: str) -> int:
        """A new deal."""
        seller = self.chance.choice((MARIA, IGOR, OLGA, PAVEL))
        with self.portal.state.lock:
            return self.portal.state.add_deal(title, responsible=seller, by=seller)

    def complete(self) -> None:
        """Somebody does a task."""
        state = self.portal.state
        with state.lock:
            waiting = [task for task in state.tasks.values() if rule_of(task) and not task.finished]
            if not waiting:
                return
            task = self.chance.choice(waiting)
            state.complete_task(task.id, task.responsible_id, result="Готово")
        self.tell("done", task=task.title, owner=state.users[task.responsible_id].full_name)

    def watch(self, number: int | None, known: set[int], begun: float) -> None:
        """Say where a deal went, and which tasks it has within moments."""
        made: list[Task] = []
        while not made and time.monotonic() - begun < WATCH and not self.service.stopping.wait(LOOK):
            with self.portal.state.lock:
                made = [task for key, task in self.portal.state.tasks.items() if key not in known]
        seconds = texts.number_text(self.teller.language, round(time.monotonic() - begun, 1))
        for task in made:
            self.tell(
                "made",
                **self.place_of(int(DEAL.bound(task.crm[0]))),
                task=task.title,
                owner=self.portal.state.users[task.responsible_id].full_name,
                deadline=task.deadline and task.deadline.astimezone(MOSCOW),
                seconds=seconds,
            )
        if number is not None and not made:
            self.tell("moved", **self.place_of(number))

    def place_of(self, number: int) -> dict[str, str]:
        """A deal and its stage, in words."""
        deal = self.portal.state.deals[number]
        return {"deal": f"{number} {deal.title}", "stage": self.portal.state.stages[deal.stage_id].name}

    def tell(self, what: str, **values: object) -> None:
        """One line, with the portal's time."""
        self.teller.verbatim(self.teller.word(f"demo.live.{what}", at=f"{self.portal.clock.now():%H:%M}", **values))
