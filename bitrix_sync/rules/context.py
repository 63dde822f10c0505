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
from typing import Any

from bitrix_sync.model.facts import Company, Contact, Deal, DealField
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
    """Values by name, each made when it is first asked for."""

    def __init__(self, makers: Mapping[str, Callable[[], Any]]) -> None:
        self._makers = makers
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = self._makers[name]()
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


def build_context(
    *,
    deal: Deal,
    rules: Rules,
    company: Company,
    owner_id: int | None,
    supervisor_id: int | None,
    stage_id: str,
    deadline: datetime,
    client: Contact | None = None,
    contact: Contact | None = None,
) -> Context:
    """The context of one task. ``company`` are the employees; ``client`` and ``contact`` the deal's company and first
    contact, None when it has none (or the file does not use them); ``stage_id`` the visit's stage; ``deadline`` aware.
    """
    policy = rules.policies.get(stage_id)
    funnel_id = policy.funnel_id if policy is not None else deal.funnel_id
    values: dict[str, Callable[[], Any]] = {
        "deal": lambda: _deal(deal, rules, company),
        "company": lambda: _client("company", client, ("TITLE",)),
        "contact": lambda: _client("contact", contact, ("NAME", "LAST_NAME")),
        "owner": lambda: _person("owner", owner_id, company),
        "supervisor": lambda: _person("supervisor", supervisor_id, company),
        "funnel": lambda: _named("funnel", funnel_id, rules.funnel_names.get(funnel_id, f"#{funnel_id}")),
        "stage": lambda: _named("stage", stage_id, rules.stage_names.get(stage_id, stage_id)),
        "deadline": lambda: rules.calendar.local(deadline),
    }
    return Context(Lazy(values), rules.language)


def _deal(deal: Deal, rules: Rules, company: Company) -> Record:
    local = rules.calendar.local
    title = _text(deal.title)
    values: dict[str, Callable[[], Any]] = {
        "ID": lambda: deal.id,
        "TITLE": lambda: title,
        "CATEGORY_ID": lambda: deal.funnel_id,
        "ASSIGNED_BY_ID": lambda: _person("ASSIGNED_BY_ID", deal.responsible_id, company),
        "CREATED_BY_ID": lambda: _person("CREATED_BY_ID", deal.creator_id, company),
        "COMPANY_ID": lambda: deal.company_id or "",
        "CONTACT_ID": lambda: deal.contact_id or "",
        "DATE_CREATE": lambda: local(deal.created),
        "DATE_MODIFY": lambda: local(deal.changed),
        **{code: partial(_field, deal, code, rules, company) for code in deal.fields},
        "STAGE_ID": lambda: _text(rules.stage_names.get(deal.stage_id, deal.stage_id)),
    }
    return Record("deal", Lazy(values), title)


def _field(deal: Deal, code: str, rules: Rules, company: Company) -> Any:
    local = rules.calendar.local
    read = _value(deal.fields[code], rules.deal_fields.get(code) or DealField(code, code, ""), company)
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
