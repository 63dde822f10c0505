"""A sales department to look at: people, two funnels, rules with limits, and a month of work, all recorded in a store.

``furnish`` keeps the names as the rulebook does; ``Recorder`` records facts one by one for tests that count them;
``bustle`` fills the store with a busy month for pages that are looked at.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

from bitrix_sync.model.actions import Kind, SendMessage, unpack
from bitrix_sync.model.facts import (
    DONE,
    WAITING,
    Company,
    Cursor,
    Deal,
    DealField,
    Department,
    Directory,
    Funnel,
    Reached,
    Stage,
    User,
    Visit,
)
from bitrix_sync.model.items import DEAL
from bitrix_sync.model.keys import Occurrence
from bitrix_sync.model.operations import (
    Changeset,
    DeadlineChange,
    Decision,
    Operation,
    OperationResult,
    State,
    TaskRecord,
    Trace,
)
from bitrix_sync.report import snapshot
from bitrix_sync.rules import words
from bitrix_sync.rules.model import (
    Deadline,
    Duration,
    FromDepartment,
    Overdue,
    Rule,
    Rules,
    Slot,
    StagePolicy,
    Test,
)
from bitrix_sync.settings import Settings, load_settings
from bitrix_sync.store import Store
from tests.world.company import MOSCOW, WEEK, after

NOW = datetime(2026, 3, 12, 14, 0, tzinfo=MOSCOW)
"""A Thursday; the next working day is Friday the 13th."""
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
PORTAL = "https://example.bitrix24.ru"

BOSS, HEAD, ANNA, IVAN, OLGA, LAWYER, LOGIST, FIRED = 2, 4, 5, 6, 7, 9, 11, 13
COMPANY = Company(
    users={
        1: User(1, "Администратор", departments=(1,)),
        BOSS: User(BOSS, "Сергей Громов", departments=(1,)),
        HEAD: User(HEAD, "Марина Лебедева", departments=(3,)),
        ANNA: User(ANNA, "Анна Петрова", departments=(3,)),
        IVAN: User(IVAN, "Иван Сидоров", departments=(3,)),
        OLGA: User(OLGA, "Ольга Никитина", departments=(3,)),
        8: User(8, "Павел Орлов", departments=(3,)),
        LAWYER: User(LAWYER, "Лариса Котова", departments=(4,)),
        10: User(10, "Юрий Белов", departments=(4,)),
        LOGIST: User(LOGIST, "Денис Зайцев", departments=(5,)),
        FIRED: User(FIRED, "Фёдор Бывший", active=False, departments=(3,)),
    },
    departments={
        1: Department(1, "Компания", head_id=BOSS),
        3: Department(3, "Отдел продаж", parent_id=1, head_id=HEAD),
        4: Department(4, "Юридический отдел", parent_id=1, head_id=LAWYER),
        5: Department(5, "Логистика", parent_id=1),
    },
    self_id=1,
)
SALES = (
    ("NEW", "Новая заявка", "P"),
    ("PREPARATION", "Презентация", "P"),
    ("OFFER", "КП отправлено", "P"),
    ("AGREEMENT", "Согласование", "P"),
    ("CONTRACT", "Договор", "P"),
    ("SHIPMENT", "Отгрузка", "P"),
    ("WON", "Сделка успешна", "S"),
    ("LOSE", "Сделка провалена", "F"),
)
SERVICE = (("C5:NEW", "Обращение", "P"), ("C5:WORK", "В работе", "P"), ("C5:WON", "Решено", "S"))
FUNNELS = tuple(
    Funnel(number, name, tuple(Stage(row[0], row[1], number, row[2]) for row in stages))
    for number, name, stages in ((0, "Продажи", SALES), (5, "Сервис", SERVICE))
)
FIELDS = {
    "TITLE": DealField("TITLE", "Название"),
    "OPPORTUNITY": DealField("OPPORTUNITY", "Сумма", type="double"),
    "UF_CRM_SIGN": DealField("UF_CRM_SIGN", "Дата подписания", type="date"),
}
DIRECTORY = Directory(FUNNELS, FIELDS, COMPANY)


def book(language: str = "ru", *, limits: bool = True, sweeps: bool = True) -> Rules:
    """The rules in force: three tasks, limits on three stages, both sweeps."""
    call = Rule("first-call", frozenset({"NEW"}), 1, "Позвонить клиенту: {{ deal.TITLE }}", after(30, "workminutes"))
    offer = Rule(
        "offer",
        frozenset({"PREPARATION"}),
        2,
        "Подготовить коммерческое предложение",
        after(2, at=time(15)),
        condition=Test("OPPORTUNITY", "min", 100000),
        checklist=("Собрать материалы", "Согласовать цену"),
    )
    contract = Rule(
        "contract",
        frozenset({"CONTRACT"}),
        3,
        "Подготовить и направить договор",
        Deadline(offset=Duration(3, "workdays"), direction=-1, field="UF_CRM_SIGN", otherwise=after(3)),
        owner=FromDepartment(4, "least_loaded"),
        result_required=True,
        on_leave="defer",
    )
    rules = {rule.id: rule for rule in (call, offer, contract)}
    limit = {
        "PREPARATION": Duration(5, "workdays"),
        "AGREEMENT": Duration(5, "workdays"),
        "CONTRACT": Duration(1, "weeks"),
    }
    policies = {
        stage.id: StagePolicy(
            stage.id,
            funnel.id,
            tuple(rule for rule in rules.values() if stage.id in rule.stage_ids),
            limit=limit.get(stage.id) if limits else None,
            advance_to="OFFER" if stage.id == "PREPARATION" else None,
        )
        for funnel in FUNNELS
        for stage in funnel.stages
    }
    slots = (Slot("morning", time(9), after(0)), Slot("evening", time(18, 30), after(1)))
    return Rules(
        "digest",
        language,  # type: ignore[arg-type]
        WEEK,
        policies,
        rules,
        overdue=Overdue(slots=slots, limit=3) if sweeps else None,
        next_steps={"NEW": Duration(1, "workdays"), "AGREEMENT": Duration(1, "workdays")},
        fields=frozenset(FIELDS),
        stage_names={stage.id: stage.name for funnel in FUNNELS for stage in funnel.stages},
        funnel_names={funnel.id: funnel.name for funnel in FUNNELS},
        deal_fields=FIELDS,
    )


def furnish(store: Store, rules: Rules | None = None, *, directory: Directory = DIRECTORY, source: str = "") -> None:
    """What the rulebook keeps for reports."""
    rules = rules or book()
    packed = snapshot.pack(
        directory,
        rules,
        portal=PORTAL,
        sheets=words.sheets(rules, directory),
        frame=words.frame(rules, directory),
        source=source or "version: 1\nlanguage: ru\n",
        loaded=NOW - 2 * HOUR,
    )
    store.flags.snapshot = packed
    store.flags.known, store.flags.known_at = directory, NOW - 2 * HOUR
    began = NOW - 60 * DAY
    store.flags.sweeps_since = {"morning": began, "evening": began}
    store.flags.last_pass = NOW - timedelta(seconds=12)


@dataclass
class Recorder:
    """Records facts in a store, one at a time."""

    store: Store
    epoch: int = 0
    numbers: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.epoch = self.store.take_lease("test", 1, "host", NOW) or 0

    def next(self, name: str) -> int:
        self.numbers[name] = self.numbers.get(name, 100) + 1
        return self.numbers[name]

    def record(self, **parts: Any) -> list[int]:
        return self.store.record(Changeset(at=parts.pop("at", NOW), **parts), self.epoch)

    def deal(self, title: str, *moves: tuple[str, datetime], by: int = ANNA, moved_by: int = 0) -> int:
        """A deal with its movements, (stage, when), each seen in time."""
        number = self.next("deal")
        for stage_id, entered in moves:
            stage = DIRECTORY.stage(stage_id)
            assert stage is not None
            deal = Deal(
                number, title, stage.funnel_id, stage_id, stage.semantic, by, by, 0, 0, entered, entered, moved_by or by
            )
            visit = Visit(self.next("visit"), number, 2, stage.funnel_id, stage_id, stage.semantic, entered)
            self.record(at=entered, visits=(visit,), deals=(deal,))
        return number

    def task(self, title: str, owner: int, deadline: datetime | None, **more: Any) -> TaskRecord:
        """A task that the portal has; with ``rule_id`` one of ours."""
        number = self.next("task")
        rule_id = more.get("rule_id", "")
        record = TaskRecord(
            str(Occurrence(number, rule_id)) if rule_id else "",
            deadline=deadline,
            first_deadline=deadline,
            owner_id=owner,
            owner_sent=owner,
            title=title,
            portal_id=number,
            visit_id=number if rule_id else 0,
            created=(deadline or NOW) - 2 * DAY,
        )
        record = replace(record, **more)
        self.record(tasks=(record,))
        return record

    def slip(self, record: TaskRecord, by: str, *, at: datetime = NOW - DAY, days: int = 1, sweep: str = "") -> None:
        """Its deadline was changed."""
        before = record.first_deadline or NOW
        self.record(slips=(DeadlineChange(record.ref, before, before + days * DAY, by, at, sweep),))

    def operation(self, operation: Operation, state: State = State.DONE, **end: Any) -> int:
        """One that has come to its end (or is held)."""
        if state in (State.HELD, State.PLANNED, State.WATCHED):
            return self.record(operations=(replace(operation, state=state),))[0]
        number = self.record(operations=(operation,))[0]
        self.store.mark_sending([number], self.epoch, NOW)
        self.store.finish([OperationResult(number, state, **end)], self.epoch, end.pop("now", NOW - HOUR))
        return number

    def sweep(self, slot: str, moment: datetime, *, moved: int = 0, failed: int = 0, state: str = "done") -> None:
        """A sweep with its moves."""
        self.store.claim_sweep(slot, moment)
        for number in range(moved + failed):
            record = self.task(f"Перенесённая {number + 1}", IVAN, moment - HOUR, status=DONE, closed=moment)
            payload = {"deadline": (moment + DAY).isoformat(), "reason": "sweep", "seen": (moment - HOUR).isoformat()}
            operation = Operation(
                f"sweep:{slot}:{record.ref}", unpack(Kind.DEADLINE, payload), task=record.ref, sweep=slot
            )
            self.operation(operation, State.DONE if number < moved else State.FAILED)
        summary = {"overdue": moved + failed, "messages": 3}
        self.store.close_sweep(slot, state, summary if state != "skipped" else {"reason": "missed"})


@dataclass(frozen=True)
class Standing:
    """What /readyz would say."""

    ready: bool = True
    reason: str = "ok"


@dataclass
class Door:
    """The service as the page sees it: a store, settings, a clock that stands still."""

    store: Store
    settings: Settings = field(default_factory=lambda: settings())
    now: datetime = NOW
    standing: Standing = Standing()
    started: datetime = NOW - 5 * DAY
    figures: Mapping[str, float] = field(default_factory=lambda: {"bucket_free": 48.0})
    heard: list[str] = field(default_factory=list)
    met: list[tuple[str, str]] = field(default_factory=list)

    @property
    def clock(self) -> Callable[[], datetime]:
        return lambda: self.now

    def wake(self, reason: str) -> None:
        self.heard.append(reason)

    def meet(self, domain: str, member: str) -> None:
        self.met.append((domain, member))

    def alive(self) -> Standing:
        return Standing()

    def health(self) -> Standing:
        return self.standing

    def numbers(self) -> Mapping[str, float]:
        return self.figures


def settings(**environ: str) -> Settings:
    """Settings of a service without a portal."""
    return load_settings(environ, None, need_portal=False)


def bustle(store: Store, *, seed: int = 7) -> Recorder:
    """A busy month: sixty deals on their way, a hundred open tasks, slips, sweeps, a refusal, something held."""
    office, chance = Recorder(store), random.Random(seed)
    furnish(store)
    store.flags.steps_scope = frozenset({"NEW", "AGREEMENT"})
    office.record(trial=(Operation("notice:trial", SendMessage(ANNA, "[b]Утро[/b]\nСрок сегодня: 1 задача")),))
    sellers = [ANNA, IVAN, OLGA, 8]
    buyers = ("Вектор", "Северсталь-Сервис", "Ромашка", "Альфа-Трейд", "Тёплый дом", "ГорСтрой", "Меридиан", "Лотос")
    wares = ("Поставка станков", "Обучение персонала", "Монтаж линии", "Запчасти", "Аудит склада", "Годовой контракт")
    for _ in range(90):
        seller = chance.choices(sellers, weights=[4, 5, 3, 2])[0]
        title = f"{chance.choice(wares)} — {chance.choice(buyers)}"
        entered = NOW - timedelta(days=chance.uniform(1, 60))
        moves: list[tuple[str, datetime]] = []
        for stage_id, _name, semantic in SALES[: chance.randint(1, 8)]:
            if semantic == "F" and moves and moves[-1][0] == "WON":
                break
            moves.append((stage_id, entered))
            entered += timedelta(hours=chance.expovariate(1 / 70) + 2)
            if entered > NOW:
                break
        deal = office.deal(title, *moves, by=seller, moved_by=chance.choice([seller, HEAD]))
        stage_id, since = moves[-1]
        if stage_id in ("WON", "LOSE"):
            continue
        for rule_id, task in (
            ("first-call", "Позвонить клиенту"),
            ("offer", "Подготовить предложение"),
            ("contract", "Договор"),
        ):
            if chance.random() < 0.45:
                owner = chance.choice([LAWYER, 10]) if rule_id == "contract" else seller
                first = min(since + timedelta(days=chance.choice([1, 2, 3])), NOW + 5 * DAY)
                us, people = chance.choice([0, 0, 1, 2, 3]), chance.choice([0, 0, 0, 1])
                ahead = chance.choices([-9, -3, -1, 0, 1, 2, 4, 6, 11], weights=[1, 1, 2, 3, 5, 4, 3, 2, 2])[0]
                at = NOW.replace(hour=chance.choice([11, 12, 15, 17, 18]), minute=0)
                record = office.task(
                    f"{task}: {title}",
                    owner,
                    at + timedelta(days=ahead),
                    rule_id=rule_id,
                    deal_id=deal,
                    supervisor_id=HEAD,
                    first_deadline=min(first, at + timedelta(days=ahead)),
                    moves=us,
                    moves_by_us=us,
                    moves_by_people=people,
                    status=chance.choice([2, 2, 3, 4]),
                )
                for turn in range(us):
                    office.slip(record, "sweep", at=NOW - (turn + 1) * DAY, sweep="2026-03-11/evening")
                for turn in range(people):
                    office.slip(record, "people", at=NOW - (turn + 3) * DAY)
    for number in range(60):
        owner = chance.choice(sellers)
        closed = NOW - timedelta(days=chance.uniform(0.2, 25))
        first = closed + timedelta(hours=chance.choice([-30, -4, 5, 20]))
        office.task(
            f"Сделанное дело {number}", owner, first + 6 * HOUR, first_deadline=first, status=DONE, closed=closed
        )
    for number in range(6):
        office.task(f"Чужая задача {number}", LOGIST, NOW + timedelta(days=number - 1), status=WAITING)
    office.task("Разобрать архив", FIRED, NOW - 20 * DAY)
    office.sweep("2026-03-11/morning", NOW.replace(day=11, hour=9), moved=4)
    office.sweep("2026-03-11/evening", NOW.replace(day=11, hour=18, minute=30), moved=11, failed=1)
    office.sweep("2026-03-12/morning", NOW.replace(hour=9), moved=6)
    deal = office.deal("Склад под ключ — Меридиан", ("NEW", NOW - 5 * DAY), ("PREPARATION", NOW - 4 * DAY), by=ANNA)
    made = office.task(
        "Подготовить предложение: Склад под ключ", ANNA, NOW + DAY, rule_id="offer", deal_id=deal, portal_id=None
    )
    create = {"fields": {"TITLE": made.title, "RESPONSIBLE_ID": ANNA}}
    office.operation(Operation(made.ref, unpack(Kind.CREATE, create), deal, made.ref), State.DONE, result=9001)
    office.operation(
        Operation("move:1", unpack(Kind.MOVE_DEAL, {"stage": "OFFER", "visit": 1}), deal),
        State.FAILED,
        error_code="CRM_FIELD_ERROR_REQUIRED",
        error_text="Не заполнено поле «Дата подписания».",
    )
    office.operation(
        Operation("m1", unpack(Kind.MESSAGE, {"user": HEAD, "text": "…", "mark": "m"})), State.DONE, result=1
    )
    held = office.task("Договор без исполнителя", 0, NOW + 2 * DAY, rule_id="contract", deal_id=deal, portal_id=None)
    office.operation(
        Operation(held.ref, unpack(Kind.CREATE, {"fields": {"TITLE": held.title}}), deal, held.ref), State.HELD
    )
    office.record(
        decisions=(
            Decision(
                deal,
                traces=(
                    Trace(deal, 1, "first-call", "deal_closed", NOW - 3 * DAY),
                    Trace(deal, 1, "offer", "advance_waits", NOW - HOUR, {"why": "open"}),
                ),
            ),
        ),
        cursor=Cursor({DEAL.name: Reached(4711, *[NOW.astimezone(UTC)] * 2)}, NOW.astimezone(UTC)),
    )
    return office
