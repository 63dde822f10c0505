"""What a template sees of a deal and its task: plain, read-only values that read well and can do no harm. Pure.

Source: the rules language, section Templates. Fields stand under their codes; a field that was not read is an error,
an empty one is "". Options of lists and statuses are their texts, employees are records with ``id`` and ``name``, dates
and moments are dates and moments (of the file's zone), numbers are numbers, yes/no fields are true or false. Texts stay
as the portal has them (``texts.sendable``), only COMMENTS loses its formatting; where the portal reads markup they are
made harmless first (``Context.harmless``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from bitrix_sync.model.facts import Company, Contact, Deal, DealField
from bitrix_sync.model.items import Item
from bitrix_sync.model.yes_no import yes_or_no
from bitrix_sync.rules.model import Rules
from bitrix_sync.rules.values import PEOPLE_TYPES, civil_date, filled, instant, number
from bitrix_sync.words.texts import harmless, sendable, shortened

MAX_VALUE = 10_000
"""Characters of one value; a longer one ends with an ellipsis."""
MAX_VALUES = 500
"""Values of one multiple field."""

_FORMATTING = re.compile(
    r"\[/?(?:b|i|u|s|p|url|img|list|\*|quote|code|color|size|font|user|left|center|right|justify|table|tr|td|th|br)"
    r"(?:=[^\[\]]*)?\]|<[^<>]{1,300}>",
    re.IGNORECASE,
)
_LINE_END = re.compile(r"\[br\]|<br[^<>]{0,20}>|</p>|\[/p\]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Record:
    """Something with named values: the deal, a person, a stage. ``kind`` is its name in the template, ``shown`` what it
    reads as when it is written itself. ``values`` None: there is none; every value is "" and it counts as false."""

    kind: str
    values: Mapping[str, Any] | None
    shown: str = ""

    def __bool__(self) -> bool:
        return self.values is not None


class Lazy(Mapping[str, Any]):
    """Values by name, each made when it is first asked for, from what they are all ``about``."""

    def __init__(self, makers: Mapping[str, Callable[..., Any]], *about: Any) -> None:
        self._makers, self._about = makers, about
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = self._makers[name](*self._about)
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        return name in self._makers

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


@dataclass(frozen=True, slots=True)
class Context:
    """The names of a template with their values, and the language in which values are put into words."""

    values: Mapping[str, Any]
    language: str

    def harmless(self) -> Context:
        """The same for a text in which the portal reads BB code: no value brings any along."""
        return Context(Lazy({name: partial(self._harmless, name) for name in self.values}), self.language)

    def _harmless(self, name: str) -> Any:
        return _harmless(self.values[name])


def _harmless(value: Any) -> Any:
    if isinstance(value, str):
        return harmless(value).strip()
    if isinstance(value, Record):
        values = value.values
        return Record(
            value.kind,
            None if values is None else {name: _harmless(one) for name, one in values.items()},
            harmless(value.shown).strip(),
        )
    return [_harmless(one) for one in value] if isinstance(value, list) else value


class TaskFacts(NamedTuple):
    """What the templates of one task are about. ``company`` are the employees; ``client`` and ``contact`` the deal's
    company and first contact, None when it has none (or the file does not use them); ``stage_id`` the visit's stage;
    ``deadline`` aware."""

    deal: Deal
    rules: Rules
    company: Company
    owner_id: int | None
    supervisor_id: int | None
    stage_id: str
    deadline: datetime
    client: Contact | None = None
    contact: Contact | None = None


def build_context(task: TaskFacts) -> Context:
    """The context of one task."""
    return Context(Lazy(_OF_TASK, task), task.rules.language)


def _deal(of: TaskFacts) -> Record:
    fields = {code: partial(_field, code) for code in of.deal.fields}
    values = Lazy({**_OF_DEAL, **fields, "STAGE_ID": _present_stage}, of)
    return Record("deal", values, values["TITLE"])


def _present_stage(of: TaskFacts) -> str:
    return _text(of.rules.stage_names.get(of.deal.stage_id, of.deal.stage_id))


def _funnel(of: TaskFacts) -> Record:
    policy = of.rules.policies.get(of.stage_id)
    number = policy.funnel_id if policy is not None else of.deal.funnel_id
    return _named("funnel", number, of.rules.funnel_names.get(number, f"#{number}"))


_OF_TASK: Mapping[str, Callable[[TaskFacts], Any]] = {
    "deal": _deal,
    "company": lambda of: _client("company", of.client, ("TITLE",)),
    "contact": lambda of: _client("contact", of.contact, ("NAME", "LAST_NAME")),
    "owner": lambda of: _person("owner", of.owner_id, of.company),
    "supervisor": lambda of: _person("supervisor", of.supervisor_id, of.company),
    "funnel": _funnel,
    "stage": lambda of: _named("stage", of.stage_id, of.rules.stage_names.get(of.stage_id, of.stage_id)),
    "deadline": lambda of: of.rules.calendar.local(of.deadline),
}
_OF_DEAL: Mapping[str, Callable[[TaskFacts], Any]] = {
    "ID": lambda of: of.deal.item.id,
    "TITLE": lambda of: _text(of.deal.title),
    "CATEGORY_ID": lambda of: Item.of(of.deal.funnel_id).id,
    "ASSIGNED_BY_ID": lambda of: _person("ASSIGNED_BY_ID", of.deal.responsible_id, of.company),
    "CREATED_BY_ID": lambda of: _person("CREATED_BY_ID", of.deal.creator_id, of.company),
    "COMPANY_ID": lambda of: of.deal.company_id or "",
    "CONTACT_ID": lambda of: of.deal.contact_id or "",
    "DATE_CREATE": lambda of: of.rules.calendar.local(of.deal.created),
    "DATE_MODIFY": lambda of: of.rules.calendar.local(of.deal.changed),
}
"""What a deal has besides its fields."""


def _field(code: str, of: TaskFacts) -> Any:
    local = of.rules.calendar.local
    read = _value(of.deal.fields[code], of.rules.deal_fields.get(code) or DealField(code, code, ""), of.company)
    if isinstance(read, list):
        return [local(one) if isinstance(one, datetime) else one for one in read]
    return local(read) if isinstance(read, datetime) else read


def _client(kind: str, client: Contact | None, names: tuple[str, ...]) -> Record:
    if client is None:
        return Record(kind, None)
    values: dict[str, Any] = {"ID": client.id}
    values |= {code: _value(value, DealField(code, code, ""), None) for code, value in client.fields.items()}
    return Record(kind, values, " ".join(str(values[name]) for name in names if values.get(name)))


def _person(kind: str, user_id: int | None, company: Company) -> Record:
    return _named(kind, user_id, company.name(user_id)) if user_id else Record(kind, None)


def _named(kind: str, key: int | str, name: str) -> Record:
    name = _text(name)
    return Record(kind, {"id": key, "name": name}, name)


def _value(value: Any, field: DealField, company: Company | None) -> Any:
    if isinstance(value, list | tuple):
        return [_scalar(one, field, company) for one in value[:MAX_VALUES] if filled(one, field)]
    return _scalar(value, field, company)


def _scalar(value: Any, field: DealField, company: Company | None) -> Any:
    """One value as its field's type says; what does not read as that type stays text."""
    text = str(value).strip()
    if field.type == "boolean":
        return yes_or_no(value) is True
    if field.type in PEOPLE_TYPES and company is not None:
        return _person(field.code, int(text) if text.isascii() and text.isdigit() else None, company)
    if not filled(value, field):
        return ""
    if isinstance(value, dict):
        return _text(next(filter(None, map(value.get, ("VALUE", "name", "url"))), ""))
    if text in field.options:
        return _text(field.options[text])
    try:
        return _typed(value, field)
    except (ValueError, OverflowError):
        return _text(value)


def _typed(value: Any, field: DealField) -> Any:
    if isinstance(value, bool | int):
        return value
    if field.type == "date":
        return civil_date(value)
    if field.type == "datetime":
        return instant(value)
    if isinstance(value, float) or (field.type in ("double", "integer") and "|" not in str(value)):
        exact = number(value)
        return int(exact) if exact == exact.to_integral_value() else float(exact)
    if field.type == "money":
        amount, _, currency = str(value).partition("|")
        return _text(f"{amount} {currency}".strip())
    return _text(_plain(value) if field.code == "COMMENTS" else value)


def _plain(value: Any) -> str:
    """A formatted text without its formatting: BB code of the portal's editor, HTML of its older one."""
    return _FORMATTING.sub("", _LINE_END.sub("\n", str(value)[: 4 * MAX_VALUE]))


def _text(value: Any) -> str:
    return sendable(shortened(str(value), MAX_VALUE)).strip()
