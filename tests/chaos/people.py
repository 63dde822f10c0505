"""What people do in the portal, by chance and seed; every deed is written down as the harness knows it."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from bitrix_sandbox.http.server import Sandbox
from bitrix_sandbox.state.records import Deal
from bitrix_sandbox.state.task_records import IN_PROGRESS, WAITING
from tests.chaos.office import FINAL_STAGES, HEAD, OPEN_STAGES, SELLERS, SHIP

MARK = "bitrix-sync:"


@dataclass(frozen=True, slots=True)
class Visit:
    """A history row that people made: a deal entered a stage (moments are the portal's; ``real`` is monotonic)."""

    row: int
    deal: int
    stage: str
    entered: datetime
    real: float


@dataclass(frozen=True, slots=True)
class Deed:
    """What a person did to a task: ``done``, ``started``, ``deleted``, or another ``deadline``."""

    at: datetime
    what: str
    deadline: datetime | None = None


@dataclass(slots=True)
class Diary:
    """All that people did. Responsibles and ship dates: every value a deal ever had, the present one last."""

    visits: dict[int, Visit] = field(default_factory=dict)
    deeds: dict[str, list[Deed]] = field(default_factory=dict)
    responsibles: dict[int, list[int]] = field(default_factory=dict)
    ships: dict[int, date | None] = field(default_factory=dict)
    moves: int = 0

    def deals(self) -> list[int]:
        """Deals of which people made history."""
        return sorted(self.responsibles)


class People:
    """Sellers at work."""

    def __init__(self, portal: Sandbox, seed: int) -> None:
        self.portal, self.state = portal, portal.state
        self.random = random.Random(seed)
        self.diary = Diary()
        self.first_row = max(self.state.history)
        """The newest row of the past: what came before the run is none of the service's business."""
        self.seen_marks: set[str | None] = set()
        self.settled = 0
        """Tasks up to this id are known to the service for sure: one that a person deletes before its creation is
        confirmed would be made again, for nothing in the portal tells that it was there."""
        for deal in self.state.deals.values():
            self.diary.responsibles[deal.id] = [deal.responsible_id]

    def act(self, *, gently: bool) -> None:
        """One deed; ``gently``: one that does not touch tasks, nor closes a deal."""
        chance = self.random.random()
        with self.state.lock:
            self.seen_marks.update(task.xml_id for task in list(self.state.tasks.values())[-400:])
            if chance < 0.22:
                self.make_deal()
            elif chance < 0.72 or gently:
                self.move_deal()
            elif chance < 0.77:
                self.close_deal()
            elif chance < 0.82:
                self.fill_ship()
            elif chance < 0.87:
                self.hand_over()
            else:
                self.touch_task()

    # --- deals -----------------------------------------------------------------------------------------------------

    def make_deal(self) -> None:
        """A new deal."""
        user = self.random.choice(SELLERS)
        title = f"Deal {len(self.diary.responsibles)}"
        deal = self.state.add_deal(title, stage=self.random.choice(OPEN_STAGES), responsible=user)
        self.diary.responsibles[deal] = [user]
        self.note_visit(deal)

    def move_deal(self) -> None:
        """A deal goes to another stage."""
        deal = self.some_open_deal()
        stage = self.random.choice([stage for stage in OPEN_STAGES if stage != deal.stage_id])
        self.state.move_deal(deal.id, stage, by=deal.responsible_id)
        self.note_visit(deal.id)

    def close_deal(self) -> None:
        """A deal is won or lost; only one whose tasks have all appeared, so that it is known what must be there."""
        deal = self.some_open_deal()
        sure = {"NEW": "call", "MEETING": "meet", "OFFER": "offer", "CONTRACT": "file"}
        rows = [self.state.history[row] for row in deal.history if row > self.first_row]
        if all(f"{MARK}{row.id}:{sure[row.stage_id]}" in self.seen_marks for row in rows):
            self.state.move_deal(deal.id, self.random.choice(FINAL_STAGES), by=deal.responsible_id)
            self.note_visit(deal.id)

    def fill_ship(self) -> None:
        """Somebody agrees upon another ship date, or none."""
        deal = self.some_open_deal()
        day = self.random.choice([None, *(date(2026, 5, number) for number in range(4, 30))])
        self.state.set_fields(deal.id, {SHIP: day.isoformat() if day else ""}, by=deal.responsible_id)
        self.diary.ships[deal.id] = day

    def hand_over(self) -> None:
        """A deal gets another responsible."""
        deal = self.some_open_deal()
        user = self.random.choice(SELLERS)
        self.state.set_responsible(deal.id, user)
        self.diary.responsibles[deal.id].append(user)

    def some_open_deal(self) -> Deal:
        """Any deal in progress, mostly a younger one."""
        found = [deal for deal in self.state.deals.values() if deal.semantic == "P"]
        return self.random.choice(found[-60:])

    def note_visit(self, deal_id: int) -> None:
        """Write the newest history row of a deal down."""
        row = self.state.history[self.state.deals[deal_id].history[-1]]
        self.diary.visits[row.id] = Visit(row.id, deal_id, row.stage_id, row.created, time.monotonic())
        self.diary.moves += 1

    # --- tasks -----------------------------------------------------------------------------------------------------

    def touch_task(self) -> None:
        """Somebody works on a task, moves its deadline, or deletes it."""
        found = [
            task
            for task in list(self.state.tasks.values())[-200:]
            if (task.xml_id or "").startswith(MARK) and task.status in (WAITING, IN_PROGRESS)
        ]
        if not found:
            return
        offers = [task for task in found if (task.xml_id or "").endswith(":offer")]
        task = self.random.choice(offers if offers and self.random.random() < 0.3 else found)
        now, chance = self.state.moment(), self.random.random()
        if chance < 0.6:
            self.state.complete_task(task.id, by=task.responsible_id)
            deed = Deed(now, "done")
        elif chance < 0.8:
            self.state.start_task(task.id, by=task.responsible_id)
            deed = Deed(now, "started")
        elif chance < 0.95:
            if (task.xml_id or "").endswith((":ship", ":sign")):
                return  # these move by themselves: who was first would be a matter of luck
            deadline = (now + timedelta(days=self.random.randint(0, 4), hours=1)).replace(minute=17, second=0)
            self.state.set_deadline(task.id, deadline, by=HEAD)
            deed = Deed(now, "deadline", deadline)
        elif task.id > self.settled:
            return
        else:
            self.state.delete_task(task.id, by=HEAD)
            deed = Deed(now, "deleted")
        self.diary.deeds.setdefault((task.xml_id or "").removeprefix(MARK), []).append(deed)
