"""The story: a week of a sales department, played by turning the portal's clock.

People act in the portal; between their deeds the service takes the turns that it takes by itself when it runs. All that
is shown of tasks and messages is read from the portal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from bitrix_sandbox import Sandbox
from bitrix_sandbox.state.task_records import Task
from bitrix_sync import report
from bitrix_sync.app import Service
from bitrix_sync.commands import changes
from bitrix_sync.demo.narrator import Narrator, Row
from bitrix_sync.engine.passes import ServiceContext
from bitrix_sync.explain.why import story_of
from bitrix_sync.explain.why_lines import lines_of
from bitrix_sync.model.items import DEAL
from bitrix_sync.model.keys import Occurrence, occurrence_in
from bitrix_sync.report.tables import terminal
from bitrix_sync.rules.words import Words
from bitrix_sync.words import texts

MOSCOW = ZoneInfo("Europe/Moscow")
BEGIN = datetime(2026, 3, 2, 9, 30, tzinfo=MOSCOW)
"""A Monday; the one after it is a public holiday."""
HEAD, MARIA, IGOR, OLGA, PAVEL, LOGIST, DIRECTOR = 3, 5, 7, 9, 11, 21, 1
"""People of the sandbox's department."""


class Story:
    """Plays the scenes in their order. ``pause`` is called between them."""

    def __init__(self, portal: Sandbox, service: Service, teller: Narrator, *, pause: Callable[[], object]) -> None:
        self.portal, self.service, self.teller, self.pause = portal, service, teller, pause
        for task in portal.state.tasks.values():
            if not task.finished:
                portal.state.complete_task(task.id, task.responsible_id)
        self.remember_weeks()
        self.shown = set(portal.state.tasks)
        self.deals = {deal.title: deal.id for deal in portal.state.deals.values()}

    def play(self) -> None:
        """The whole week."""
        for scene in (
            self.enter,
            self.ship_date,
            self.done,
            self.advance,
            self.late_request,
            self.evening,
            self.morning,
            self.limit,
            self.why,
            self.backfill,
            self.spread,
            self.load,
        ):
            self.pause()
            scene()

    def remember_weeks(self) -> None:
        """What the sellers closed in the weeks before: two tasks a day each."""
        for day in (at(-week * 7 + weekday, 16) for week in (1, 2) for weekday in range(5)):
            for seller in (MARIA, IGOR, OLGA, PAVEL):
                for _ in range(2):
                    number = self.act("add_task", title="Звонок", responsible=seller, by=seller, at=day)
                    self.act("complete_task", task_id=number, by=seller, at=day)

    # --- Monday ------------------------------------------------------------------------------------------------------

    def enter(self) -> None:
        """Four deals enter stages."""
        sign, ship = BEGIN + timedelta(days=10), BEGIN.replace(hour=10, minute=0) + timedelta(days=4)
        self.scene("enter", BEGIN, "slots")
        self.teller.say(self.word("demo.enter", sign=sign.date(), ship=ship.date()))
        self.deals["Линия розлива"] = self.act("add_deal", title="Линия розлива", responsible=MARIA, by=MARIA)
        self.move("Кондиционеры для офиса", "PREPARATION", IGOR)
        self.fill("Партия мониторов", OLGA, UF_CRM_SIGN_DATE=sign.date().isoformat())
        self.move("Партия мониторов", "EXECUTING", OLGA)
        self.fill("Кассовое оборудование", IGOR, UF_CRM_SHIP_DATE=ship.isoformat(), UF_CRM_LOGIST=LOGIST)
        self.move("Кассовое оборудование", "FINAL_INVOICE", IGOR)
        self.turn()
        self.show_new()
        self.teller.say("")
        self.teller.say(self.word("demo.enter.after", holiday=BEGIN.date() + timedelta(days=7)))

    def ship_date(self) -> None:
        """A field changes, a deadline follows."""
        ship = BEGIN.replace(hour=10, minute=0) + timedelta(days=9)
        self.scene("ship", at(0, 15))
        self.fill("Кассовое оборудование", IGOR, UF_CRM_SHIP_DATE=ship.isoformat())
        task = self.task("shipment")
        before = task.deadline
        self.turn()
        self.teller.say(self.word("demo.ship", ship=ship.date()))
        row = self.row(task)
        was = self.word("demo.was", moment=self.said(before))
        self.teller.tasks([Row(row.deal, row.task, row.owner, row.observer, f"{row.deadline}\n{was}")])
        for line in self.portal.state.messages_of_task(task.id):
            self.teller.message(self.word("demo.ship.line"), line.text)

    def done(self) -> None:
        """A task is done, the next one appears."""
        self.scene("done", at(0, 16))
        self.complete("presentation")
        self.turn()
        deal = self.portal.state.deals[self.deals["Кондиционеры для офиса"]]
        self.teller.say(self.word("demo.done", sum=deal.opportunity, limit=100_000))
        self.show_new()

    def advance(self) -> None:
        """All tasks of the visit are done, the deal moves on by itself."""
        self.scene("advance", at(0, 17))
        self.complete("offer")
        self.turn()
        deal = self.portal.state.deals[self.deals["Кондиционеры для офиса"]]
        self.teller.say(self.word("demo.advance", stage=self.portal.state.stages[deal.stage_id].name))
        self.show_new()

    def late_request(self) -> None:
        """Working minutes end with the day."""
        moment = at(0, 17, 50)
        self.scene("late", moment)
        self.deals["Кофемашины"] = self.act("add_deal", title="Кофемашины", responsible=PAVEL, by=PAVEL)
        self.turn()
        self.teller.say(self.word("demo.late", at=f"{moment:%H:%M}"))
        self.show_new()

    def evening(self) -> None:
        """Overdue tasks move, people are told."""
        self.scene("evening", at(0, 18, 30))
        self.sweep()
        self.teller.say(self.word("demo.evening"))
        self.show_message(HEAD)

    # --- and after ---------------------------------------------------------------------------------------------------

    def morning(self) -> None:
        """What is due today."""
        self.scene("morning", at(1, 9))
        self.sweep()
        self.teller.say(self.word("demo.morning"))
        self.show_message(MARIA)

    def limit(self) -> None:
        """Moved three times, escalated."""
        self.set_clock(at(1, 9, 10))
        self.complete("first-call", deal="Кофемашины")
        self.set_clock(at(1, 17))
        self.complete("offer-answer")
        self.turn()
        for day, hour in ((1, 18), (2, 9), (2, 18), (3, 9), (3, 18)):
            self.set_clock(at(day, hour, 30 if hour == 18 else 0))
            self.sweep()
        self.scene("limit", at(4, 9))
        self.sweep()
        self.teller.say(self.word("demo.limit"))
        self.show_message(DIRECTOR)

    def why(self) -> None:
        """Every decision has its reason."""
        number, rule = self.deals["Кондиционеры для офиса"], "offer"
        self.teller.heading(self.word("demo.why.title", number=number, rule=rule))
        self.teller.lines(list(lines_of(story_of(self.service.store, number, rule=rule))))

    def backfill(self) -> None:
        """Tasks for the deals that were in their stages before."""
        self.scene("backfill", at(4, 9, 30))
        made = changes.perform(self.context, "backfill", {})
        self.teller.say(self.word("demo.backfill", count=len(made["planned"])))

    def spread(self) -> None:
        """Much is overdue at once, and somebody is on leave."""
        leave = at(8, 0), at(11, 0)
        self.act("add_absence", user_id=OLGA, start=leave[0], end=leave[1])
        self.scene("spread", at(8, 9))
        self.sweep()
        owner = self.portal.state.users[OLGA].full_name
        self.teller.say(self.word("demo.spread", owner=owner, until=leave[1].date()))
        self.show_message(HEAD)

    def load(self) -> None:
        """Who has how much to do."""
        self.teller.heading(self.word("demo.load.title"))
        store = self.service.store
        load = report.REPORTS["load"]
        _, heads, rows = terminal(load, load.rows(store, now=self.service.clock()), report.frame(store))
        self.teller.table(heads, rows)

    # --- what people do ----------------------------------------------------------------------------------------------

    def act(self, verb: str, **given: Any) -> Any:
        """A person does something in the portal."""
        with self.portal.state.lock:
            return getattr(self.portal.state, verb)(**given)

    def move(self, deal: str, stage: str, by: int) -> None:
        """Drag a deal to a stage."""
        self.act("move_deal", deal_id=self.deals[deal], stage_id=stage, by=by)

    def fill(self, deal: str, by: int, **fields: Any) -> None:
        """Fill fields of a deal."""
        self.act("set_fields", deal_id=self.deals[deal], fields=fields, by=by)

    def complete(self, rule: str, *, deal: str = "") -> None:
        """The owner of a rule's newest task completes it."""
        task = self.task(rule, deal=deal)
        self.act("complete_task", task_id=task.id, by=task.responsible_id)

    # --- time and the service ----------------------------------------------------------------------------------------

    def scene(self, name: str, moment: datetime, *reasons: str) -> None:
        """A scene begins at a moment."""
        self.set_clock(moment, *reasons)
        self.portal.clock.set(moment)  # the turn took its time; what people do happens at the moment that is told
        when = texts.moment_text(self.teller.language, moment)
        self.teller.heading(f"{when}. {self.word(f'demo.{name}.title')}")

    def set_clock(self, moment: datetime, *reasons: str) -> None:
        """The portal's time; the service follows it from its next request on."""
        self.portal.clock.set(moment)
        self.turn(*reasons)

    def turn(self, *reasons: str) -> None:
        """What the service does when its bell rings, and once more for what follows from that."""
        for _ in range(2):
            self.service.turn({"poll", *reasons}, True)

    def sweep(self) -> None:
        """The slot that is due, and its messages."""
        self.turn("slots")

    # --- looking -----------------------------------------------------------------------------------------------------

    @property
    def context(self) -> ServiceContext:
        """The service's desk, after its first turn."""
        assert self.service.context is not None
        return self.service.context

    def word(self, key: str, **values: Any) -> str:
        """A message of the catalogue."""
        return self.teller.word(key, **values)

    def said(self, moment: datetime | None) -> str:
        """A deadline in words, on the clocks of the rules file."""
        assert moment is not None, "the rules give every task a deadline"
        return texts.moment_text(self.teller.language, self.context.rulebook.rules.calendar.local(moment))

    def task(self, rule: str, *, deal: str = "") -> Task:
        """The newest task of a rule in the portal (of a deal)."""
        binding = DEAL.binding(self.deals[deal]) if deal else ""
        ours = (task for task in self.portal.state.tasks.values() if rule_of(task) == rule)
        return max((task for task in ours if not binding or binding in task.crm), key=lambda task: task.id)

    def show_new(self) -> None:
        """The tasks that were not shown yet."""
        new = [task for number, task in self.portal.state.tasks.items() if number not in self.shown]
        self.shown |= {task.id for task in new}
        self.teller.tasks([self.row(task) for task in sorted(new, key=visit_of)])

    def row(self, task: Task) -> Row:
        """A task in words: what the portal shows of it, and how its rule says the deadline."""
        state = self.portal.state
        deal = state.deals[int(DEAL.bound(task.crm[0]))]
        items = [item.title for item in (task.checklist or {}).values() if item.parent_id]
        return Row(
            f"{deal.id} {deal.title}\n→ {state.stages[deal.stage_id].name}",
            "\n".join([task.title, *([self.word("demo.checklist", items=", ".join(items))] if items else [])]),
            state.users[task.responsible_id].full_name,
            "\n".join(state.users[user].full_name for user in task.auditors),
            f"{self.said(task.deadline)}\n{self.deadline_rule(task, deal.id)}",
        )

    def deadline_rule(self, task: Task, deal_id: int) -> str:
        """How the rules say the deadline of a task: the branch that was taken."""
        book, rule_id = self.context.rulebook, rule_of(task)
        deadline = book.rules.by_id[rule_id].deadline
        made = [trace for trace in self.service.store.traces(deal_id, rule_id) if trace.verdict == "made"]
        if made[-1].data["branch"] == "else" and deadline.otherwise is not None:
            deadline = deadline.otherwise
        return Words(book.rules, book.directory).deadline(replace(deadline, otherwise=None))

    def show_message(self, user: int) -> None:
        """The newest message to a person, as he reads it."""
        state = self.portal.state
        received: Sequence[Any] = [*state.messages_to(user), *state.notices_of(user)]
        self.teller.message(self.word("demo.to", name=state.users[user].full_name), received[-1].text)


def at(days: int, hour: int, minute: int = 0) -> datetime:
    """So many days after the Monday, at a time."""
    return datetime.combine(BEGIN.date() + timedelta(days=days), time(hour, minute), MOSCOW)


def visit_of(task: Task) -> int:
    """The stay in a stage that a task was made for."""
    occurrence = Occurrence.parse(occurrence_in(task.xml_id or ""))
    return occurrence.visit if occurrence is not None else 0


def rule_of(task: Task) -> str:
    """The rule that a task was made by, "" for one of people."""
    occurrence = Occurrence.parse(occurrence_in(task.xml_id or ""))
    return occurrence.rule if occurrence is not None else ""
