"""The task's own user fields: which of them a rule fills, and the values that the portal takes for each type. Pure.

Source: the rules language, key ``fields``; the portal's documentation of tasks.task.add (UF_*), tasks.task.getFields.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime, time, tzinfo
from decimal import Decimal
from typing import Any

from bitrix_sync.model.facts import Company, DealField
from bitrix_sync.model.yes_no import yes_or_no
from bitrix_sync.rules.model import Rule
from bitrix_sync.rules.people import candidates, meant, namesake
from bitrix_sync.rules.plain_keys import KEYS_OF_FIELDS, portal_fields
from bitrix_sync.rules.suggest import did_you_mean, fold, listed
from bitrix_sync.rules.values import number
from bitrix_sync.words.texts import harmless

OWN = "UF_"
"""Beginning of the codes of user fields."""
_KEYS = {
    "TITLE": "title",
    "DESCRIPTION": "description",
    "RESPONSIBLE_ID": "owner",
    "DEADLINE": "deadline",
    "AUDITORS": "observers",
    "CHECKLIST": "checklist",
    "CREATED_BY": "control",
    **KEYS_OF_FIELDS,
}
"""Fields of tasks that a key of the task stands for."""
_SERVICE = {
    "UF_CRM_TASK": "it binds the task to its deal",
    "XML_ID": "the service knows its tasks again by it",
    "MATCH_WORK_TIME": "the deadline is counted by the rules, not by the portal",
    "STATUS": "a new task waits to be begun",
}
"""Fields that the service sets, and why."""
FILES = frozenset({"file", "disk_file", "mail_message", "UF_TASK_WEBDAV_FILES", "UF_MAIL_MESSAGE"})
"""Types and codes of fields whose values are files and letters."""
_ALWAYS = frozenset({*_SERVICE, "TITLE", "RESPONSIBLE_ID", "DEADLINE", "CREATED_BY", "PRIORITY", "ID"})
"""Fields that every task of ours has."""
_DAY = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})(?:[ ,T]+(\d{1,2}):(\d{2}))?")
TEXTS = frozenset({"string", "url", "address"})
"""Types whose values are words for people; dates and numbers in them are written as people read them."""


class Unfit(ValueError):
    """A value that a field does not take. ``cure``: what to write instead."""

    def __init__(self, wrong: str, cure: str) -> None:
        super().__init__(wrong)
        self.cure = cure


def not_for_fields(code: str) -> tuple[str, str] | None:
    """Why a field cannot stand under ``fields`` whatever the portal says, and the cure; None: it can."""
    name = code.strip().upper()
    if name in _KEYS:
        return f"`{name}` is no user field: the key `{_KEYS[name]}` of the task sets it.", f"Write `{_KEYS[name]}`."
    if name in _SERVICE:
        return f"The service sets `{name}` itself: {_SERVICE[name]}.", "Leave it out."
    if name in FILES:
        return f"`{name}` holds files, which a rule cannot attach.", "Leave it out."
    return None


def is_template(text: str) -> bool:
    """True for a text with something in it that is worked out for each deal."""
    return "{{" in text or "{%" in text


def fit(value: Any, field: DealField, *, zone: tzinfo, company: Company) -> Any:
    """The value as the portal takes it for the field: numbers, ISO dates and moments, 1 and 0 for yes and no, ids of
    list values and employees, text.

    Raises Unfit.
    """
    text = str(value).strip()
    match field.type:
        case "integer" | "double" | "money":
            return _number(value, field)
        case "boolean":
            if (said := yes_or_no(text)) is None:
                raise Unfit(f"{named(field)} says yes or no, never `{text}`.", "Write true or false.")
            return int(said)
        case "date":
            return _moment(text, field, zone).date().isoformat()
        case "datetime":
            return _moment(text, field, zone).isoformat(timespec="seconds")
        case "enumeration" if field.options:
            return _option(text, field)
        case "employee" | "user":
            return _person(text, field, company)
    return text if not isinstance(value, bool) else text.lower()


def named(field: DealField) -> str:
    """The field at the beginning of a sentence."""
    titled = field.title and field.title != field.code
    return f"The field {field.title} ({field.code})" if titled else f"The field {field.code}"


def _number(value: Any, field: DealField) -> int | float | str:
    text = re.sub(r"[\s\u00a0\u202f]", "", str(value))
    amount, bar, currency = text.partition("|")
    try:
        exact = number(amount.replace(",", ".") if amount.count(",") == 1 and "." not in amount else amount)
    except ValueError:
        exact = Decimal("NaN")
    if isinstance(value, bool) or not exact.is_finite():
        raise Unfit(f"{named(field)} holds numbers, and `{str(value).strip()}` is none.", "Write a number.")
    if field.type == "money":
        return f"{amount}{bar}{currency}"
    whole = exact == exact.to_integral_value()
    if field.type == "integer" and not whole:
        raise Unfit(f"{named(field)} holds whole numbers, and `{text}` is none.", "Write one.")
    return int(exact) if whole else float(exact)


def _moment(text: str, field: DealField, zone: tzinfo) -> datetime:
    found = _DAY.fullmatch(text)
    try:
        if found is not None:
            day, month, year, hour, minute = (int(part or 0) for part in found.groups())
            moment = datetime.combine(date(year, month, day), time(hour, minute))
        else:
            moment = datetime.fromisoformat(text)
    except ValueError:
        cure = "Write it as `2026-12-31`." if field.type == "date" else "Write it as `2026-12-31T15:00`."
        raise Unfit(f"{named(field)} holds dates, and `{text}` is none.", cure) from None
    if field.type == "date":
        return moment
    return moment.replace(tzinfo=zone) if moment.tzinfo is None else moment


def _option(text: str, field: DealField) -> int | str:
    found = [key for key, name in field.options.items() if fold(text) in (fold(name), fold(harmless(name)))]
    if text in field.options:
        found = [text]
    if len(found) != 1:
        names = list(dict.fromkeys(field.options.values()))
        several = f"{named(field)} has the value `{text}` several times: {', '.join(found)}."
        if found:
            raise Unfit(several, "Write the id of the one you mean.")
        cure = did_you_mean(text, names) or listed(names, "Its values are")
        raise Unfit(f"{named(field)} has no value `{text}`.", cure)
    return int(found[0]) if found[0].isdecimal() else found[0]


def _person(text: str, field: DealField, company: Company) -> int:
    if text.isdecimal() and (int(text) in company.users or not company.users):
        return int(text)
    found = meant(text, [user for user in company.users.values() if user.active or "@" in text])
    if len(found) == 1:
        return found[0].id
    if found:
        raise Unfit(f"Several users have the name `{text}`: {candidates(found)}.", "Write the id of one.")
    raise Unfit(
        f"{named(field)} holds employees, and `{text}` is none.",
        namesake(text, company.users.values()) or "Write a user's id, e-mail or name, or `{{ owner.id }}`.",
    )


# --- what the portal demands -----------------------------------------------------------------------------------------


def unfilled(rules: Mapping[str, Rule], fields: Mapping[str, DealField]) -> list[tuple[DealField, list[str], str]]:
    """Fields that the portal demands of every task, with the rules whose tasks lack them and the cure."""
    found: list[tuple[DealField, list[str], str]] = []
    for field in fields.values():
        if not field.required or field.code in _ALWAYS:
            continue
        lacking = [rule.id for rule in rules.values() if not rule.disabled and not _fills(rule, field.code)]
        if lacking:
            found.append((field, lacking, _cure(field)))
    return found


def _fills(rule: Rule, code: str) -> bool:
    match code:
        case "DESCRIPTION":
            return bool(rule.description)
        case "AUDITORS":
            return bool(rule.observers) or rule.supervisor_observes
        case "CHECKLIST":
            return bool(rule.checklist)
    return code in portal_fields(rule) or any(code == filled for filled, _ in rule.fields)


def _cure(field: DealField) -> str:
    if field.code in _KEYS:
        return f"Give them `{_KEYS[field.code]}`, or let the field be optional in the portal."
    if not field.code.startswith(OWN) or not_for_fields(field.code) or field.type in FILES:
        return "A rule cannot fill it: let it be optional in the portal."
    example = next(iter(field.options.values()), "...")
    also = f" ({listed(list(field.options.values()), 'its values are').rstrip('.')})" if field.options else ""
    return f"Write `fields: {{{field.code}: {example}}}`{also}, or let the field be optional in the portal."
