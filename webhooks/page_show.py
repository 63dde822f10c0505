"""How the page shows things: words in the file's language, moments, spans of time, addresses of tasks and deals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined

from bitrix_sync.model.items import Item
from bitrix_sync.report import REPORTS
from bitrix_sync.report.snapshot import Snapshot
from bitrix_sync.report.tables import age_text, counted_text, money_text, share_text, span_text, week_text
from bitrix_sync.rules.model import Duration
from bitrix_sync.rules.words import duration_text
from bitrix_sync.words import texts
from bitrix_sync.words.language import Language
from webhooks.page_filters import MOST_PEOPLE, day_of
from webhooks.page_tables import TABLES

DASH = "—"

environment = Environment(
    loader=PackageLoader("webhooks"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
"""Every value that a template shows is escaped; a name that is missing is a mistake of ours and fails loudly."""
_SECTIONS = ("home", *(name for name in REPORTS if name != "overdue"), "service", "rules", "names")
environment.globals |= {"tables": TABLES, "sections": _SECTIONS, "day_of": day_of, "most_people": MOST_PEOPLE}


@dataclass(frozen=True, slots=True)
class Show:
    """Words and forms of one portal at one moment. ``now`` is aware, on the clocks of the file's zone."""

    known: Snapshot
    now: datetime

    @property
    def language(self) -> Language:
        """The file's."""
        return self.known.language

    # --- words -------------------------------------------------------------------------------------------------------

    def t(self, key: str, **values: Any) -> str:
        """A message of the catalogue; moments in the file's zone. What comes out is escaped by the template."""
        return texts.phrase(self.language, key, zone=self.known.calendar.zone, **values)

    def count(self, number: int, noun: str) -> str:
        """``5 задач``."""
        return texts.counted(self.language, number, noun)

    def reason(self, text: str) -> str:
        """A reason of ours in words; what the portal said as it is."""
        return texts.reason_text(self.language, text)

    def number(self, number: float | int | None) -> str:
        """``1 000``."""
        return DASH if number is None else texts.number_text(self.language, number)

    # --- time --------------------------------------------------------------------------------------------------------

    def moment(self, moment: datetime | None) -> str:
        """``чт 12 марта, 15:00``; the year only if it is another one."""
        if moment is None:
            return DASH
        local = self.known.calendar.local(moment)
        return texts.moment_text(self.language, local, year=local.year != self.now.year)

    def short(self, moment: datetime | None) -> str:
        """``12.03 15:00``, for narrow columns; the year only if it is another one."""
        if moment is None:
            return DASH
        local = self.known.calendar.local(moment)
        return f"{local:%d.%m.%y %H:%M}" if local.year != self.now.year else f"{local:%d.%m %H:%M}"

    def day(self, day: date) -> str:
        """``чт 12 марта``."""
        return texts.day_text(self.language, day, year=day.year != self.now.year)

    def weekday(self, day: date | str) -> str:
        """``чт 12``; a day may be an ISO date."""
        day = date.fromisoformat(day) if isinstance(day, str) else day
        return texts.date_text(self.language, day, "EEE d")

    def hours(self, hours: float | None) -> str:
        """A span of hours in two units at most: ``3 дн 4 ч``, ``5 ч 20 мин``, ``12 мин``."""
        return span_text(self.language, hours)

    def span(self, span: timedelta | None) -> str:
        """The same for a span; seconds below two minutes."""
        return age_text(self.language, span)

    def limit(self, limit: list[Any] | None) -> str:
        """A stage's limit as the file has it: ``5 рабочих дней``."""
        return duration_text(self.language, Duration(*limit)) if limit else self.t("page.stages.no_limit")

    def share(self, share: float | None) -> str:
        """``83 %``."""
        return share_text(self.language, share)

    def money(self, amount: float | int | None, currency: str) -> str:
        """``1 200 000 RUB``."""
        return money_text(self.language, amount, currency)

    def week(self, line: Mapping[str, Any]) -> str:
        """``2 марта – 8 марта``."""
        return week_text(self.language, line["from"], line["to"])

    def counted(self, line: Mapping[str, Any]) -> str:
        """Whose row of ``done`` it is."""
        return counted_text(self.known, line)

    # --- addresses ---------------------------------------------------------------------------------------------------

    @property
    def host(self) -> str:
        """The portal's name, for people."""
        return urlsplit(self.known.portal).hostname or ""

    def task_url(self, line: Mapping[str, Any]) -> str:
        """A task in the portal; "" when that has none or is not known."""
        if not self.known.portal or not line["task_id"]:
            return ""
        return f"{self.known.portal}/company/personal/user/{line['owner_id'] or 0}/tasks/task/view/{line['task_id']}/"

    @property
    def people(self) -> list[tuple[int, str]]:
        """Everybody, those who work here first, by name; the others are marked."""
        users = sorted(self.known.company.users.values(), key=lambda user: (not user.active, user.name.casefold()))
        return [(user.id, texts.person_text(self.language, self.known.company, user.id)) for user in users]

    @property
    def departments(self) -> list[tuple[int, str]]:
        """The company tree, each department below the one that it belongs to, set in by its depth."""
        known, found = self.known.company.departments, list[tuple[int, str]]()
        below: dict[int, list[int]] = {}
        for one in sorted(known.values(), key=lambda one: one.name.casefold()):
            below.setdefault(one.parent_id if one.parent_id in known else 0, []).append(one.id)

        def walk(parent: int, depth: int) -> None:
            for one in below.pop(parent, ()):
                found.append((one, "\u2003" * depth + known[one].name))
                walk(one, depth + 1)

        walk(0, 0)
        return found

    def deal_name(self, deal_id: int) -> str:
        """A deal as people name it."""
        return str(Item.of(deal_id))

    def deal_url(self, deal_id: int | None) -> str:
        """A deal in the portal."""
        return f"{self.known.portal}{Item.of(deal_id).page}" if self.known.portal and deal_id else ""
