"""What reports must know besides the store's rows: names, the company tree, stages, limits, calendar, language. Pure.

Packed into one flag of the store whenever the directory is read or rules are put in force, so that reports and the
page ask the portal nothing, and a command beside the running service sees the same names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time
from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from bitrix_sync.model.facts import Company, DealField, Directory, Funnel, Stage
from bitrix_sync.model.worktime import Calendar, build_calendar
from bitrix_sync.rules.model import Duration, Room, Rules, plain_title
from bitrix_sync.words.language import DEFAULT, Language

USUAL = build_calendar(zone=UTC, week={day: [(time(9), time(18))] for day in range(5)})


@dataclass(frozen=True, slots=True)
class Slot:
    """A daily sweep of the file: ``morning`` or ``evening``. ``at`` None: when the day's hours begin."""

    name: str
    at: time | None
    every_day: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The portal's names and the rules' frame at one moment. The default: nothing has been read yet.

    ``portal`` is its address without a path, "" if unknown. ``limits`` by full stage id. ``sheets`` are the rules in
    words by stage (see ``rules.words``), ``source`` the file's text. ``form`` grows when an older snapshot can no
    longer be read; it is then taken as missing.
    """

    form: Literal[2] = 2
    portal: str = ""
    company: Company = field(default_factory=Company)
    funnels: tuple[Funnel, ...] = ()
    fields: Mapping[str, DealField] = field(default_factory=dict)
    language: Language = DEFAULT
    calendar: Calendar = USUAL
    limits: Mapping[str, Duration] = field(default_factory=dict)
    next_steps: Mapping[str, Duration] = field(default_factory=dict)
    """How long deals may stand without a next step, by full stage id."""
    currencies: Mapping[str, Decimal] = field(default_factory=dict)
    """What one unit of each is worth in the account's own."""
    slots: tuple[Slot, ...] = ()
    room: Room = field(default_factory=Room)
    rules: int = 0
    sheets: tuple[Mapping[str, Any], ...] = ()
    frame: tuple[str, ...] = ()
    source: str = ""
    warnings: tuple[str, ...] = ()
    loaded: datetime | None = None

    @property
    def known(self) -> bool:
        """False before the first reading of the portal."""
        return bool(self.portal)

    @property
    def stages(self) -> Iterator[Stage]:
        """Every stage, in the portal's order."""
        return (stage for funnel in self.funnels for stage in funnel.stages)

    def stage(self, stage_id: str) -> Stage | None:
        """The stage with this full id, or None for one that is gone."""
        return next((stage for stage in self.stages if stage.id == stage_id), None)

    @property
    def currency(self) -> str:
        """The account's own currency; "" if it is not known."""
        return next((code for code, worth in self.currencies.items() if worth == 1), "")

    @property
    def rule_ids(self) -> list[str]:
        """The ids of all rules of the file, in its order."""
        return list(dict.fromkeys(str(task["id"]) for sheet in self.sheets for task in sheet["tasks"]))

    def rule_title(self, rule_id: str) -> str:
        """The title of a rule's task, or its id when the file has it no more."""
        tasks = (task for sheet in self.sheets for task in sheet["tasks"])
        return next((plain_title(str(task["title"]), rule_id) for task in tasks if task["id"] == rule_id), rule_id)

    def stage_name(self, stage_id: str) -> str:
        """Its name, or its id when it is gone."""
        stage = self.stage(stage_id)
        return stage.name if stage else stage_id

    def funnel_name(self, funnel_id: int) -> str:
        """Its name, or its number when it is gone."""
        return next((funnel.name for funnel in self.funnels if funnel.id == funnel_id), f"#{funnel_id}")


_KEPT = TypeAdapter(Snapshot)


def pack(directory: Directory, rules: Rules, *, portal: str, **more: Any) -> str:
    """The snapshot as text for the store. The webhook's code is not in it: ``portal`` is an address without a path;
    ``more``: sheets, frame, source, warnings, loaded."""
    company, slots = directory.company, rules.overdue.slots if rules.overdue else ()
    snapshot = Snapshot(
        portal=portal,
        company=Company(company.users, company.departments, self_id=company.self_id),
        funnels=directory.funnels,
        fields={code: DealField(code, one.title) for code, one in rules.deal_fields.items() if code in rules.fields},
        language=rules.language,
        calendar=replace(rules.calendar),  # without the years that it has reckoned
        limits={stage: policy.limit for stage, policy in rules.policies.items() if policy.limit is not None},
        next_steps=rules.next_steps,
        room=rules.room,
        slots=tuple(Slot(slot.name, slot.at, slot.every_day) for slot in slots),
        rules=len(rules.by_id),
        currencies=directory.currencies,
        **more,
    )
    return _KEPT.dump_json(snapshot).decode()


@lru_cache(maxsize=2)
def unpack(text: str) -> Snapshot:
    """The snapshot that the text holds; the default one for none and for what another version has written."""
    try:
        return _KEPT.validate_json(text) if text else Snapshot()
    except ValidationError:
        return Snapshot()
