"""Fields of deals, contacts and companies: their names in both families of methods, their types, where they are kept.

Names and types are those of api-reference/crm/universal/object-fields.md, crm-item-fields.md and crm-deal-fields.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from bitrix_sandbox.state.records import UserField

DEAL, CONTACT, COMPANY = 2, 3, 4
"""entityTypeId."""

_KINDS = {
    "integer": "int",
    "user": "int",
    "employee": "int",
    "enumeration": "int",
    "crm_company": "int",
    "crm_contact": "int",
    "crm_lead": "int",
    "crm_quote": "int",
    "crm_category": "int",
    "double": "float",
    "datetime": "moment",
    "date": "date",
    "boolean": "flag",
}


@dataclass(frozen=True, slots=True)
class Field:
    """A field. ``name`` is its camelCase name in ``crm.item.*``, ``upper`` its ``upperName`` there, ``old`` its name in
    ``crm.deal.*`` (None: not there). ``attr`` is the record's attribute; None: a disabled field, always null."""

    name: str
    upper: str
    old: str | None
    type: str
    title: str
    attr: str | None
    read_only: bool = False
    multiple: bool = False
    dictionary: str | None = None
    user: UserField | None = None

    @property
    def kind(self) -> str:
        """How its values compare in a filter (see :func:`filters.convert`)."""
        if self.user and self.user.type == "boolean":
            return "bit"
        return _KINDS.get(self.type, "text")

    def read(self, record: Any) -> Any:
        """The stored value."""
        if self.user is not None:
            return record.extra.get(self.user.code)
        return getattr(record, self.attr) if self.attr else None


def snake(camel: str) -> str:
    """``assignedById`` → ``ASSIGNED_BY_ID``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", camel).upper()


def camel(upper: str) -> str:
    """``RESPONSIBLE_ID`` → ``responsibleId``."""
    head, *tail = upper.lower().split("_")
    return head + "".join(part.capitalize() for part in tail)


def user_field_name(code: str) -> str:
    """The camelCase name of a user field (api-reference/crm/universal/index.md, "Field Naming Conventions").

    Only letters, or only digits, after the object's number are converted; a mixed name keeps all but its prefix.
    """
    rest = code.removeprefix("UF_CRM_")
    numbered = re.match(r"(\d+)_(.+)\Z", rest)
    number, tail = numbered.groups() if numbered else ("", rest)
    if number and tail.isdigit():
        return f"ufCrm{number}_{tail}"
    if re.fullmatch(r"[A-Z_]+", tail):
        return f"ufCrm{number}" + "".join(part.capitalize() for part in tail.lower().split("_"))
    return f"ufCrm_{rest}"


def field_of(user: UserField, *, original: bool) -> Field:
    """A user field as a field of ``crm.item.*``, under its original or its camelCase name."""
    name = user.code if original else user_field_name(user.code)
    return Field(name, user.code, user.code, user.type, user.title, None, multiple=user.multiple, user=user)


def _field(
    name: str,
    kind: str,
    title: str,
    attr: str | None = None,
    *,
    old: str | None = "",
    ro: bool = False,
    multiple: bool = False,
    dictionary: str | None = None,
) -> Field:
    upper = snake(name)
    return Field(name, upper, upper if old == "" else old, kind, title, attr, ro, multiple, dictionary)


def _disabled(*names: str) -> Iterable[Field]:
    return (_field(name, "string", name, old=None, ro=True) for name in names)


_UTM = tuple(
    _field(f"utm{part}", "string", f"UTM {part}", f"utm_{part.lower()}")
    for part in ("Source", "Medium", "Campaign", "Content", "Term")
)

DEAL_FIELDS: tuple[Field, ...] = (
    _field("id", "integer", "ID", "id", ro=True),
    _field("title", "string", "Название", "title"),
    _field("typeId", "crm_status", "Тип", "type_id", dictionary="DEAL_TYPE"),
    _field("categoryId", "crm_category", "Воронка", "funnel_id"),
    _field("stageId", "crm_status", "Стадия сделки", "stage_id", dictionary="DEAL_STAGE"),
    _field("stageSemanticId", "string", "Группа стадии", "semantic", ro=True),
    _field("isNew", "boolean", "Новая сделка", "is_new", ro=True),
    _field("isRecurring", "boolean", "Регулярная сделка", "recurring"),
    _field("isReturnCustomer", "boolean", "Повторная сделка", "returning"),
    _field("isRepeatedApproach", "boolean", "Повторное обращение", "repeated"),
    _field("probability", "integer", "Вероятность", "probability"),
    _field("currencyId", "crm_currency", "Валюта", "currency"),
    _field("opportunity", "double", "Сумма", "opportunity"),
    _field("isManualOpportunity", "boolean", "Сумма введена вручную", "manual_opportunity"),
    _field("taxValue", "double", "Ставка налога", "tax"),
    _field("companyId", "crm_company", "Компания", "company_id"),
    _field("contactId", "crm_contact", "Контакт", "contact_id"),
    _field("contactIds", "crm_contact", "Контакты", "contact_ids", multiple=True),
    _field("quoteId", "crm_quote", "Предложение", ro=True),
    _field("leadId", "crm_lead", "Лид", ro=True),
    _field("begindate", "date", "Дата начала", "begin"),
    _field("closedate", "date", "Дата завершения", "close"),
    _field("opened", "boolean", "Доступна для всех", "opened"),
    _field("closed", "boolean", "Закрыта", "closed", ro=True),
    _field("comments", "text", "Комментарий", "comments"),
    _field("assignedById", "user", "Ответственный", "responsible_id"),
    _field("createdBy", "user", "Кем создана", "creator_id", old="CREATED_BY_ID", ro=True),
    _field("updatedBy", "user", "Кем изменена", "modifier_id", old="MODIFY_BY_ID", ro=True),
    _field("movedBy", "user", "Кем перемещена", "mover_id", old="MOVED_BY_ID", ro=True),
    _field("createdTime", "datetime", "Дата создания", "created", old="DATE_CREATE", ro=True),
    _field("updatedTime", "datetime", "Дата изменения", "updated", old="DATE_MODIFY", ro=True),
    _field("movedTime", "datetime", "Дата смены стадии", "moved", ro=True),
    _field("sourceId", "crm_status", "Источник", "source_id", dictionary="SOURCE"),
    _field("sourceDescription", "text", "Дополнительно об источнике", "source_description"),
    _field("additionalInfo", "string", "Дополнительная информация", "additional_info"),
    _field("locationId", "location", "Местоположение"),
    _field("originatorId", "string", "Внешний источник", "originator"),
    _field("originId", "string", "Идентификатор во внешнем источнике", "origin"),
    *_UTM,
    _field("lastActivityTime", "datetime", "Последняя активность", "updated", ro=True),
    _field("lastActivityBy", "user", "Автор последней активности", "modifier_id", ro=True),
    _field("observers", "user", "Наблюдатели", "observers", old=None, multiple=True),
    _field("webformId", "integer", "Создано CRM-формой", old=None),
    *_disabled(
        "dateCreateShort",
        "dateModifyShort",
        "productId",
        "begindateShort",
        "closedateShort",
        "eventDate",
        "eventDateShort",
        "eventId",
        "eventDescription",
        "searchContent",
        "orderStage",
        "isWork",
        "isWon",
        "isLose",
        "receivedAmount",
        "lostAmount",
        "hasProducts",
    ),
)

_CLIENT_TAIL: tuple[Field, ...] = (
    _field("comments", "text", "Комментарий", "comments"),
    _field("assignedById", "user", "Ответственный", "responsible_id"),
    _field("createdBy", "user", "Кем создан", "creator_id", old="CREATED_BY_ID", ro=True),
    _field("updatedBy", "user", "Кем изменен", "creator_id", old="MODIFY_BY_ID", ro=True),
    _field("createdTime", "datetime", "Дата создания", "created", old="DATE_CREATE", ro=True),
    _field("updatedTime", "datetime", "Дата изменения", "updated", old="DATE_MODIFY", ro=True),
    _field("opened", "boolean", "Доступен для всех", "opened"),
    _field("hasPhone", "boolean", "Задан телефон", "has_phone", ro=True),
    _field("hasEmail", "boolean", "Задан e-mail", "has_email", ro=True),
    _field("hasImol", "boolean", "Задана открытая линия", "has_imol", ro=True),
    _field("originatorId", "string", "Внешний источник"),
    _field("originId", "string", "Идентификатор во внешнем источнике"),
    _field("originVersion", "string", "Версия оригинала"),
    _field("leadId", "crm_lead", "Лид"),
    _field("lastActivityTime", "datetime", "Последняя активность", "updated", ro=True),
    _field("lastActivityBy", "user", "Автор последней активности", "creator_id", ro=True),
)

CONTACT_FIELDS: tuple[Field, ...] = (
    _field("id", "integer", "ID", "id", ro=True),
    _field("name", "string", "Имя", "name"),
    _field("lastName", "string", "Фамилия", "last_name"),
    _field("secondName", "string", "Отчество", "second_name"),
    _field("honorific", "crm_status", "Обращение", dictionary="HONORIFIC"),
    _field("photo", "file", "Фото"),
    _field("post", "string", "Должность", "post"),
    _field("birthdate", "date", "Дата рождения"),
    _field("typeId", "crm_status", "Тип контакта", "type_id", dictionary="CONTACT_TYPE"),
    _field("sourceId", "crm_status", "Источник", "source_id", dictionary="SOURCE"),
    _field("sourceDescription", "text", "Дополнительно об источнике"),
    _field("companyId", "crm_company", "Компания", "company_id"),
    _field("companyIds", "crm_company", "Компании", "company_ids", old=None, multiple=True),
    _field("export", "boolean", "Участвует в экспорте", "opened"),
    *_CLIENT_TAIL,
)

COMPANY_FIELDS: tuple[Field, ...] = (
    _field("id", "integer", "ID", "id", ro=True),
    _field("title", "string", "Название компании", "title"),
    _field("typeId", "crm_status", "Тип компании", "type_id", old="COMPANY_TYPE", dictionary="COMPANY_TYPE"),
    _field("logo", "file", "Логотип"),
    _field("industry", "crm_status", "Сфера деятельности", "industry", dictionary="INDUSTRY"),
    _field("employees", "crm_status", "Кол-во сотрудников", dictionary="EMPLOYEES"),
    _field("revenue", "double", "Годовой оборот", "revenue"),
    _field("currencyId", "crm_currency", "Валюта", "currency"),
    _field("bankingDetails", "string", "Банковские реквизиты"),
    _field("isMyCompany", "boolean", "Моя компания", "is_my_company"),
    *_CLIENT_TAIL,
)

SYSTEM_FIELDS: dict[int, tuple[Field, ...]] = {DEAL: DEAL_FIELDS, CONTACT: CONTACT_FIELDS, COMPANY: COMPANY_FIELDS}
DEAL_BY_CODE: dict[str, Field] = {field.old or field.upper: field for field in DEAL_FIELDS}
"""Deal fields by upper-case code: the one of ``crm.deal.*`` where there is one."""
