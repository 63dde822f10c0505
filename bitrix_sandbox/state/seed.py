"""Ready portals: a small Russian sales department to look at and test on, and portals as large as one wants."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from typing import Any

from bitrix_sandbox.state.clock import Clock
from bitrix_sandbox.state.portal import PortalState
from bitrix_sandbox.state.records import LOST, PROGRESS, WON
from bitrix_sandbox.state.switches import Switches
from bitrix_sandbox.state.task_records import DONE, IN_PROGRESS, WAITING

CODE = "sandbox0code1234"
"""The code of the webhook of user 1, an administrator."""
SCOPES = ("calendar", "crm", "department", "im", "sonet", "task", "tasks", "user_basic", "userfieldconfig")
SALES, SERVICE = 0, 5
"""Funnels."""

_SALES_STAGES = (
    ("NEW", "Новая заявка", PROGRESS, "#39A8EF"),
    ("PREPARATION", "Презентация", PROGRESS, "#2FC6F6"),
    ("UC_OFFER1", "КП отправлено", PROGRESS, "#55D0E0"),
    ("PREPAYMENT_INVOICE", "Согласование", PROGRESS, "#47E4C2"),
    ("EXECUTING", "Договор", PROGRESS, "#FFA900"),
    ("FINAL_INVOICE", "Отгрузка", PROGRESS, "#FF5752"),
    ("WON", "Сделка успешна", WON, "#7BD500"),
    ("LOSE", "Сделка провалена", LOST, "#FF5752"),
    ("APOLOGY", "Анализ причины провала", LOST, "#FF5752"),
)
_SERVICE_STAGES = (
    ("NEW", "Обращение", PROGRESS, "#39A8EF"),
    ("PREPARATION", "Диагностика", PROGRESS, "#2FC6F6"),
    ("UC_REPAIR", "Ремонт", PROGRESS, "#FFA900"),
    ("WON", "Выполнено", WON, "#7BD500"),
    ("LOSE", "Отказ клиента", LOST, "#FF5752"),
)
_USERS = (
    # id, name, last name, position, departments, gender
    (1, "Анна", "Смирнова", "Генеральный директор", [1], "F"),
    (3, "Виктор", "Орлов", "Коммерческий директор", [3], "M"),
    (5, "Мария", "Кузнецова", "Менеджер по продажам", [3], "F"),
    (7, "Игорь", "Попов", "Менеджер по продажам", [3], "M"),
    (9, "Ольга", "Васильева", "Старший менеджер", [3, 7], "F"),
    (11, "Павел", "Соколов", "Менеджер по продажам", [3], "M"),
    (13, "Елена", "Михайлова", "Начальник юридического отдела", [5], "F"),
    (15, "Дмитрий", "Новиков", "Юрист", [5], "M"),
    (17, "Наталья", "Фёдорова", "Юрист", [5], "F"),
    (19, "Сергей", "Морозов", "Начальник отдела логистики", [7], "M"),
    (21, "Татьяна", "Волкова", "Логист", [7], "F"),
    (23, "Алексей", "Лебедев", "Логист", [7], "M"),
    (25, "Юлия", "Козлова", "Менеджер по продажам", [3], "F"),
)
FIRED, AWAY = 25, 19
"""A dismissed manager; a head who is on holiday."""
_COMPANIES = ("ООО «Ромашка»", "АО «Северсталь-Сервис»", "ООО «Технопарк»", "ИП Гаврилов", "ООО «Уют»", "ПАО «Вектор»")
_CONTACTS = (
    ("Иван", "Гаврилов"),
    ("Светлана", "Белова"),
    ("Артём", "Зайцев"),
    ("Людмила", "Павлова"),
    ("Роман", "Гусев"),
    ("Кирилл", "Титов"),
)

Step = tuple[float, str | None]
"""Working of a deal: so many days ago it entered this stage (None: the first)."""
_DEALS: tuple[tuple[str, int, int, float, tuple[Step, ...], dict[str, Any]], ...] = (
    # title, responsible, funnel, amount, steps, fields
    ("Поставка стеллажей", 5, SALES, 480000, ((0.1, None),), {}),
    ("Кондиционеры для офиса", 7, SALES, 125000, ((0.3, None),), {}),
    ("Мебель для переговорной", 11, SALES, 96000, ((1.5, None),), {}),
    ("Складская техника", 5, SALES, 2350000, ((6, None), (4, "PREPARATION")), {"UF_CRM_PRIORITY": 1}),
    ("Видеонаблюдение", 9, SALES, 310000, ((9, None), (3, "PREPARATION")), {}),
    ("Освещение цеха", 7, SALES, 720000, ((12, None), (8, "PREPARATION"), (5, "UC_OFFER1")), {}),
    ("Серверное оборудование", 11, SALES, 1890000, ((15, None), (11, "PREPARATION"), (2, "UC_OFFER1")), {}),
    (
        "Партия мониторов",
        9,
        SALES,
        540000,
        ((20, None), (16, "PREPARATION"), (12, "UC_OFFER1"), (6, "PREPAYMENT_INVOICE")),
        {},
    ),
    (
        "Офисная бумага, год",
        5,
        SALES,
        86000,
        ((25, None), (24, "PREPAYMENT_INVOICE")),
        {"UF_CRM_DELIVERY": True},
    ),
    (
        "Кассовое оборудование",
        7,
        SALES,
        415000,
        ((18, None), (14, "PREPARATION"), (9, "PREPAYMENT_INVOICE"), (2, "EXECUTING")),
        {"UF_CRM_SIGN_DATE": 6},
    ),
    (
        "Тепловые завесы",
        25,
        SALES,
        268000,
        ((30, None), (22, "PREPARATION"), (10, "EXECUTING")),
        {},
    ),
    (
        "Холодильные витрины",
        9,
        SALES,
        1240000,
        ((40, None), (33, "PREPARATION"), (20, "EXECUTING"), (3, "FINAL_INVOICE")),
        {"UF_CRM_INVOICE_DATE": -2, "UF_CRM_SHIP_DATE": 7, "UF_CRM_LOGIST": 21},
    ),
    ("Принтеры", 11, SALES, 150000, ((35, None), (28, "PREPARATION"), (21, "WON")), {}),
    ("Промышленный пылесос", 5, SALES, 99000, ((28, None), (19, "APOLOGY")), {}),
    ("Ремонт погрузчика", 21, SERVICE, 45000, ((4, None), (2, "C5:PREPARATION")), {}),
    ("Замена компрессора", 23, SERVICE, 78000, ((8, None), (6, "C5:PREPARATION"), (1, "C5:UC_REPAIR")), {}),
)


def build_department(clock: Clock, switches: Switches | None = None, *, work: bool = True) -> PortalState:
    """A sales department of a dozen people: two funnels, sixteen deals with their history, a few tasks.

    Everything lies in the days before the clock's present. The webhook is user 1 with :data:`CODE`. No event is raised.
    ``work=False``: no deal and no task yet.
    """
    state = PortalState(clock, switches=switches)
    _add_company(state)
    _add_funnels(state)
    _add_fields(state)
    _add_clients(state)
    if work:
        _play(state, _history_of(state))
    return state


def _add_company(state: PortalState) -> None:
    for number, name, parent, head in (
        (1, "ООО «Стандарт»", 0, 1),
        (3, "Отдел продаж", 1, 3),
        (5, "Юридический отдел", 1, 13),
        (7, "Отдел логистики", 1, 19),
    ):
        state.add_department(name, parent=parent, head=head, department_id=number)
    hired = state.moment() - timedelta(days=400)
    for number, name, last_name, position, departments, gender in _USERS:
        state.hire(
            name,
            last_name,
            departments,
            id=number,
            position=position,
            gender=gender,
            email=f"user{number}@standart.example",
            admin=number == 1,
            registered=hired,
            last_login=state.moment() - timedelta(hours=3),
        )
    state.fire(FIRED)
    today = _today(state)
    state.add_absence(AWAY, _at(state, today - timedelta(days=3)), _at(state, today + timedelta(days=11)))
    state.add_workgroup("Запуск нового склада", owner=3, members=[5, 19, 21], project=True)
    state.add_webhook(1, CODE, SCOPES)


def _add_funnels(state: PortalState) -> None:
    state.add_funnel("Продажи", funnel_id=SALES, sort=100)
    state.add_funnel("Сервис", funnel_id=SERVICE, sort=200)
    for funnel, stages in ((SALES, _SALES_STAGES), (SERVICE, _SERVICE_STAGES)):
        for stage_id, name, semantic, color in stages:
            state.add_stage(stage_id, name, funnel=funnel, semantic=semantic, color=color)
    state.dictionaries = {
        "SOURCE": [("CALL", "Звонок"), ("WEB", "Сайт"), ("RECOMMENDATION", "По рекомендации")],
        "DEAL_TYPE": [("SALE", "Продажа"), ("SERVICE", "Сервисное обслуживание")],
    }


def _add_fields(state: PortalState) -> None:
    state.add_field("UF_CRM_SIGN_DATE", "Дата подписания договора", "date")
    state.add_field("UF_CRM_INVOICE_DATE", "Дата счёта", "date")
    state.add_field("UF_CRM_SHIP_DATE", "Дата отгрузки", "datetime")
    state.add_field("UF_CRM_LOGIST", "Логист", "employee")
    state.add_field("UF_CRM_PRIORITY", "Важность", "enumeration", options={1: "Ключевой клиент", 3: "Обычный клиент"})
    state.add_field(
        "UF_CRM_CATEGORY", "Категории товара", "enumeration", multiple=True, options={5: "Техника", 7: "Мебель"}
    )
    state.add_field("UF_CRM_PREPAYMENT", "Предоплата", "money")
    state.add_field("UF_CRM_TAGS", "Пометки", "string", multiple=True)
    state.add_field(
        "UF_CRM_DELIVERY", "Нужна доставка", "boolean", settings={"DEFAULT_VALUE": 0, "DISPLAY": "CHECKBOX"}
    )
    state.add_field("UF_CRM_WEIGHT", "Вес, кг", "double")
    state.add_field("UF_CRM_PLACES", "Число мест", "integer")
    state.add_field("UF_CRM_ADDRESS", "Адрес доставки", "string")
    state.add_field("UF_CRM_SITE", "Сайт клиента", "url")
    state.add_field("UF_CRM_1747309727", "Код в учётной системе", "string")
    state.add_field("UF_CRM_RELATED", "Связанный контакт", "crm", settings={"CONTACT": "Y"})


def _add_clients(state: PortalState) -> None:
    for place, (title, (name, last_name)) in enumerate(zip(_COMPANIES, _CONTACTS, strict=True), 1):
        company = state.add_company(title, responsible=3, phones=[f"+7495000000{place}"])
        state.add_contact(
            name, last_name, company=company, post="Директор", emails=[f"client{place}@example.org"], responsible=5
        )


Deed = tuple[datetime, Callable[[], None]]


def _history_of(state: PortalState) -> list[Deed]:
    """What happened, deal by deal; ids are given when it is played, so that they grow with time."""
    clients = list(zip(state.companies, state.contacts, strict=True))
    deeds: list[Deed] = []
    for place, (title, responsible, funnel, amount, steps, fields) in enumerate(_DEALS):
        company, contact = clients[place % len(clients)]
        life = _Life(state, title, responsible, funnel)
        born = _ago(state, steps[0][0], place)
        filled = {
            "OPPORTUNITY": amount,
            "COMPANY_ID": company,
            "CONTACT_IDS": [contact],
            "SOURCE_ID": ("CALL", "WEB", "RECOMMENDATION")[place % 3],
        } | _dated(state, fields)
        deeds.append((born, life.birth(born, filled)))
        for days, stage in steps[1:]:
            at = _ago(state, days, place)
            deeds.append((at, life.move(at, str(stage))))
        if len(steps) > 1:
            at = born + timedelta(hours=2)
            deeds.append((at, life.task(at, "Позвонить клиенту", born + timedelta(hours=5), done=len(steps) > 2)))
    return deeds


class _Life:
    """A deal that is yet to be made: its deeds find it once it is there."""

    def __init__(self, state: PortalState, title: str, responsible: int, funnel: int) -> None:
        self.state, self.title, self.responsible, self.funnel = state, title, responsible, funnel
        self.deal_id = 0

    def birth(self, at: datetime, fields: dict[str, Any]) -> Callable[[], None]:
        """It is made."""

        def happen() -> None:
            self.deal_id = self.state.add_deal(
                self.title, funnel=self.funnel, responsible=self.responsible, fields=fields, at=at
            )

        return happen

    def move(self, at: datetime, stage: str) -> Callable[[], None]:
        """It goes on to a stage."""
        return lambda: self.state.move_deal(self.deal_id, stage, self.responsible, at=at)

    def task(self, at: datetime, title: str, deadline: datetime, *, done: bool) -> Callable[[], None]:
        """A person makes a task for it, and perhaps does it."""

        def happen() -> None:
            number = self.state.add_task(
                f"{title}: {self.title}",
                responsible=self.responsible,
                by=3,
                deadline=deadline,
                deals=[self.deal_id],
                at=at,
            )
            if done:
                self.state.complete_task(number, self.responsible, at=deadline)

        return happen


def _play(state: PortalState, deeds: list[Deed]) -> None:
    for _, happen in sorted(deeds, key=lambda deed: deed[0]):
        happen()


def _dated(state: PortalState, fields: dict[str, Any]) -> dict[str, Any]:
    """Days from today become dates of the fields that hold dates."""
    today = _today(state)
    shown = dict(fields)
    for code in ("UF_CRM_SIGN_DATE", "UF_CRM_INVOICE_DATE"):
        if code in shown:
            shown[code] = (today + timedelta(days=shown[code])).isoformat()
    if "UF_CRM_SHIP_DATE" in shown:
        shown["UF_CRM_SHIP_DATE"] = _at(state, today + timedelta(days=shown["UF_CRM_SHIP_DATE"]), time(10)).isoformat()
    return shown


def _ago(state: PortalState, days: float, place: int) -> datetime:
    """So many days ago, in the working hours; less than a day: counted from now."""
    if days < 1:
        return state.moment() - timedelta(days=days)
    minutes = 37 * place % 420
    return state.moment(_at(state, _today(state) - timedelta(days=int(days)), time(10)) + timedelta(minutes=minutes))


def _today(state: PortalState) -> date:
    return state.moment().astimezone(state.clock.zone).date()


def _at(state: PortalState, day: date, at: time = time()) -> datetime:
    return datetime.combine(day, at, state.clock.zone)


def build_big(
    clock: Clock,
    *,
    deals: int = 20_000,
    owners: int = 500,
    departments: int = 40,
    overdue_tasks: int = 0,
    open_tasks: int = 0,
    closed_tasks: int = 0,
    moves: int = 4,
    switches: Switches | None = None,
) -> PortalState:
    """A portal of any size with the funnels and fields of :func:`build_department`; the same for the same arguments.

    ``owners`` people in ``departments`` departments share the deals; every deal has up to ``moves`` history rows; tasks
    are bound to deals in turn. Overdue ones were due over the last ten days.
    """
    state = PortalState(clock, switches=switches)
    now = state.moment()
    state.add_department("ООО «Стандарт»", head=1, department_id=1)
    state.hire("Анна", "Смирнова", [1], id=1, admin=True, email="user1@standart.example")
    halls = [state.add_department(f"Отдел {number}", parent=1) for number in range(1, departments + 1)]
    people = [
        state.hire(f"Сотрудник {place}", f"№{place}", [halls[place % len(halls)]], email=f"s{place}@standart.example")
        for place in range(1, owners + 1)
    ]
    for place, hall in enumerate(halls):
        state.set_head(hall, people[(place - 1) % len(people)])
    _add_funnels(state)
    _add_fields(state)
    state.add_webhook(1, CODE, SCOPES)
    numbers = _fill(state, people, deals, moves)
    plan = ((overdue_tasks, WAITING, -1), (open_tasks, IN_PROGRESS, 1), (closed_tasks, DONE, -1))
    for count, status, sign in plan:
        for place in range(count):
            due = now + sign * timedelta(minutes=1 + place % 14_400)
            state.add_task(
                f"Задача {place}",
                responsible=people[place % len(people)],
                deadline=due,
                deals=[numbers[place % len(numbers)]] if numbers else (),
                at=now - timedelta(days=20, seconds=-place % 86_400),
                status=status,
                closed=due if status == DONE else None,
            )
    return state


def _fill(state: PortalState, people: list[int], deals: int, moves: int) -> list[int]:
    """Deals born over twenty days, a stage a day, in the order of time; gives their ids."""
    stages = [stage[0] for stage in _SALES_STAGES[:6]]
    start = state.moment() - timedelta(days=30)
    steps = [
        (start + timedelta(days=20 * place / deals + step), place, step)
        for place in range(deals)
        for step in range(min(1 + place % moves, len(stages)))
    ]
    numbers: dict[int, int] = {}
    for at, place, step in sorted(steps):
        owner = people[place % len(people)]
        if step:
            state.move_deal(numbers[place], stages[step], owner, at=at)
        else:
            amount = {"OPPORTUNITY": 1000 * place}
            numbers[place] = state.add_deal(f"Сделка {place}", responsible=owner, at=at, fields=amount)
    return list(numbers.values())
