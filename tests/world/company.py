"""The company: a sales department in Moscow, its week, and the names that rules files in tests may use.

People, stages and fields are much as in the sandbox's department."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from bitrix_sync.model.facts import LOST, PROGRESS, WON, Company, DealField, Department, Directory, Funnel, Stage, User
from bitrix_sync.model.worktime import build_calendar
from bitrix_sync.rules.model import Deadline, Duration

MOSCOW = ZoneInfo("Europe/Moscow")
TODAY = datetime(2026, 12, 1, 12, 0, tzinfo=MOSCOW)
"""When rules files of tests are looked at."""
MONDAY = datetime(2026, 3, 2, 10, 0, tzinfo=MOSCOW)
NINE_TO_SIX = [(time(9), time(18))]
WEEK = build_calendar(zone=MOSCOW, week=dict.fromkeys(range(5), NINE_TO_SIX))


def at(text: str) -> datetime:
    """``2026-03-02 10:00`` in Moscow, as UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=MOSCOW).astimezone(UTC)


def after(amount: int, unit: str = "workdays", **more: Any) -> Deadline:
    """``{after: N unit}``."""
    return Deadline(offset=Duration(amount, unit), **more)  # type: ignore[arg-type]


SALES_STAGES = {
    "NEW": "Новая заявка",
    "PREPARATION": "Презентация",
    "UC_OFFER1": "КП отправлено",
    "PREPAYMENT_INVOICE": "Согласование",
    "EXECUTING": "Договор",
    "FINAL_INVOICE": "Отгрузка",
    "WON": "Сделка успешна",
    "LOSE": "Сделка провалена",
}
SERVICE_STAGES = {"C5:NEW": "Обращение", "C5:PREPARATION": "Диагностика", "C5:WON": "Выполнено", "C5:LOSE": "Отказ"}
FIELDS = (
    DealField("TITLE", "Название"),
    DealField("OPPORTUNITY", "Сумма", "money"),
    DealField("CLOSEDATE", "Дата завершения", "date"),
    DealField("CATEGORY_ID", "Воронка", "crm_category"),
    DealField("STAGE_ID", "Стадия сделки", "crm_status", options=SALES_STAGES),
    DealField("ASSIGNED_BY_ID", "Ответственный", "user"),
    DealField("CREATED_TIME", "Дата создания", "datetime"),
    DealField("DATE_CREATE", "Дата создания", "datetime"),
    DealField("COMPANY_ID", "Компания", "crm_company"),
    DealField("SOURCE_ID", "Источник", "crm_status", options={"CALL": "Звонок", "WEB": "Сайт"}),
    DealField("UF_CRM_SIGN_DATE", "Дата подписания договора", "date"),
    DealField("UF_CRM_INVOICE_DATE", "Дата счёта", "date"),
    DealField("UF_CRM_SHIP_DATE", "Дата отгрузки", "datetime"),
    DealField("UF_CRM_LOGIST", "Логист", "employee"),
    DealField("UF_CRM_PRIORITY", "Важность", "enumeration", options={"1": "Ключевой клиент", "3": "Обычный клиент"}),
    DealField("UF_CRM_DELIVERY", "Нужна доставка", "boolean"),
    DealField("UF_CRM_PLACES", "Число мест", "integer"),
    DealField("UF_CRM_ADDRESS", "Адрес", "string"),
    DealField("UF_CRM_ADDRESS2", "адрес ", "string"),
)
TASK_FIELDS = (
    DealField("TITLE", "Название", required=True),
    DealField("RESPONSIBLE_ID", "Исполнитель", "integer", required=True),
    DealField("UF_CRM_TASK", "Элементы CRM", "crm"),
    DealField("UF_OBJECT", "Объект", "string"),
    DealField("UF_HOURS", "Трудоёмкость", "double"),
    DealField("UF_PLACES", "Число мест", "integer"),
    DealField("UF_VISIT_DATE", "Дата выезда", "date"),
    DealField("UF_VISIT_AT", "Время выезда", "datetime"),
    DealField("UF_KIND", "Вид работ", "enumeration", options={"21": "Монтаж", "22": "Сервис", "23": "сервис"}),
    DealField("UF_URGENT", "Срочно", "boolean"),
    DealField("UF_ENGINEER", "Инженер", "employee"),
    DealField("UF_HELPERS", "Помощники", "employee", multiple=True),
    DealField("UF_PHOTO", "Фото", "file"),
)
USERS = (
    User(1, "Анна Смирнова", email="user1@standart.example", departments=(1,)),
    User(3, "Виктор Орлов", email="user3@standart.example", departments=(3,)),
    User(5, "Мария Кузнецова", email="user5@standart.example", departments=(3,)),
    User(13, "Елена Михайлова", email="user13@standart.example", departments=(5,)),
    User(15, "Дмитрий Новиков", email="user15@standart.example", departments=(5,)),
    User(21, "Татьяна Волкова", email="twins@standart.example", departments=(7,)),
    User(23, "Алексей Лебедев", email="twins@standart.example", departments=(7,)),
    User(25, "Юлия Козлова", active=False, email="user25@standart.example", departments=(3,)),
)
DEPARTMENTS = (
    Department(1, "ООО «Стандарт»", 0, 1),
    Department(3, "Отдел продаж", 1, 3),
    Department(5, "Юридический отдел", 1, 13),
    Department(7, "Отдел логистики", 1, 21),
)
SCOPES = frozenset({"calendar", "crm", "department", "im", "task", "user_basic"})


def stages(funnel: int, names: dict[str, str]) -> tuple[Stage, ...]:
    """Stages in their order; what ends in WON or LOSE closes a deal."""
    semantics = {"WON": WON, "LOSE": LOST}
    return tuple(
        Stage(key, name, funnel, semantics.get(key.split(":")[-1], PROGRESS), 10 * at)
        for at, (key, name) in enumerate(names.items())
    )


DIRECTORY = Directory(
    funnels=(Funnel(0, "Продажи", stages(0, SALES_STAGES)), Funnel(5, "Сервис", stages(5, SERVICE_STAGES))),
    fields={field.code: field for field in FIELDS},
    company=Company(
        users={user.id: user for user in USERS}, departments={one.id: one for one in DEPARTMENTS}, self_id=1
    ),
    groups=frozenset({4, 6, 8}),
    group_names={4: "Отгрузки", 6: "Тендеры", 8: "Тендеры 2024"},
    closed_groups=frozenset({8}),
    time_zone="Europe/Moscow",
    utc_offset=3 * 3600,
    admin=True,
    scopes=SCOPES,
    task_fields={field.code: field for field in TASK_FIELDS},
)


def with_stages(directory: Directory, funnel: int, names: dict[str, str]) -> Directory:
    """The directory with other stages in a funnel."""
    others = tuple(replace(one, stages=stages(funnel, names)) if one.id == funnel else one for one in directory.funnels)
    return replace(directory, funnels=others)


def without_field(directory: Directory, code: str) -> Directory:
    """The directory after a field of the deal was deleted."""
    return replace(directory, fields={one: field for one, field in directory.fields.items() if one != code})


def with_field(directory: Directory, code: str, **changes: Any) -> Directory:
    """The directory after a field of the deal was changed."""
    return replace(directory, fields={**directory.fields, code: replace(directory.fields[code], **changes)})
