"""What reports must know besides the store's rows: names, the company tree, stages, limits, calendar, language. Pure.

Packed into one flag of the store whenever the directory is read or rules are put in force, so that reports and the
page ask the portal nothing, and a command beside the running service sees the same names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from bitrix_sync.model.facts import Company, DealField, Department, Directory, Funnel, Stage, User
from bitrix_sync.model.worktime import Calendar, build_calendar
from bitrix_sync.rules.model import Duration, Rules
from bitrix_sync.words.language import DEFAULT, Language

FORM = 1
"""Grows when an older snapshot can no longer be read; it is then taken as missing."""

USUAL = build_calendar(zone=UTC, week={day: [(time(9), time(18))] for day in range(5)})


@dataclass(frozen=True, slots=True)
class Slot:
    """A daily sweep of the file: ``morning`` or ``evening``."""

    name: str
    at: time
    every_day: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The portal's names and the rules' frame at one moment. The default: nothing has been read yet.

    ``portal`` is its address without a path, "" if unknown. ``limits`` by full stage id. ``sheets`` are the rules in
    words by stage (see ``rules.words``), ``source`` the file's text.
    """

    portal: str = ""
    company: Company = field(default_factory=Company)
    funnels: tuple[Funnel, ...] = ()
    fields: Mapping[str, DealField] = field(default_factory=dict)
    language: Language = DEFAULT
    calendar: Calendar = USUAL
    limits: Mapping[str, Duration] = field(default_factory=dict)
    slots: tuple[Slot, ...] = ()
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

    def rule_title(self, rule_id: str) -> str:
        """The title of a rule's task as the file has it, or its id when the file has it no more."""
        tasks = (task for sheet in self.sheets for task in sheet["tasks"])
        return next((str(task["title"]) for task in tasks if task["id"] == rule_id), rule_id)

    def stage_name(self, stage_id: str) -> str:
        """Its name, or its id when it is gone."""
        stage = self.stage(stage_id)
        return stage.name if stage else stage_id

    def funnel_name(self, funnel_id: int) -> str:
        """Its name, or its number when it is gone."""
        return next((funnel.name for funnel in self.funnels if funnel.id == funnel_id), f"#{funnel_id}")


def pack(
    directory: Directory,
    rules: Rules,
    *,
    portal: str,
    sheets: tuple[Mapping[str, Any], ...] = (),
    frame: tuple[str, ...] = (),
    source: str = "",
    warnings: tuple[str, ...] = (),
    loaded: datetime | None = None,
) -> str:
    """The snapshot as text for the store. The webhook's code is not in it: ``portal`` is an address without a path."""
    return json.dumps(
        {
            "form": FORM,
            "portal": portal,
            **_pack_company(directory.company),
            "funnels": [
                [funnel.id, funnel.name, [[stage.id, stage.name, stage.semantic] for stage in funnel.stages]]
                for funnel in directory.funnels
            ],
            "fields": {code: one.title for code, one in rules.deal_fields.items() if code in rules.fields},
            "language": rules.language,
            "calendar": _pack_calendar(rules.calendar),
            "limits": {
                stage: [policy.limit.amount, policy.limit.unit]
                for stage, policy in rules.policies.items()
                if policy.limit is not None
            },
            "slots": [
                [slot.name, slot.at.isoformat(), slot.every_day]
                for slot in (rules.overdue.slots if rules.overdue else ())
            ],
            "rules": len(rules.by_id),
            "sheets": list(sheets),
            "frame": list(frame),
            "source": source,
            "warnings": list(warnings),
            "loaded": loaded.isoformat() if loaded else None,
        },
        ensure_ascii=False,
        separators=(",", ":"),
    )


@lru_cache(maxsize=2)
def unpack(text: str) -> Snapshot:
    """The snapshot that the text holds; the default one for none and for what another version has written."""
    kept: dict[str, Any] = json.loads(text) if text else {}
    if kept.get("form") != FORM:
        return Snapshot()
    return Snapshot(
        portal=kept["portal"],
        company=_unpack_company(kept),
        funnels=tuple(
            Funnel(number, name, tuple(Stage(row[0], row[1], number, row[2]) for row in stages))
            for number, name, stages in kept["funnels"]
        ),
        fields={code: DealField(code, title) for code, title in kept["fields"].items()},
        language=kept["language"],
        calendar=_unpack_calendar(kept["calendar"]),
        limits={stage: Duration(amount, unit) for stage, (amount, unit) in kept["limits"].items()},
        slots=tuple(Slot(name, time.fromisoformat(at), every) for name, at, every in kept["slots"]),
        rules=kept["rules"],
        sheets=tuple(kept["sheets"]),
        frame=tuple(kept["frame"]),
        source=kept["source"],
        warnings=tuple(kept["warnings"]),
        loaded=datetime.fromisoformat(kept["loaded"]) if kept["loaded"] else None,
    )


def _pack_company(company: Company) -> dict[str, Any]:
    return {
        "users": [[user.id, user.name, user.active, list(user.departments)] for user in company.users.values()],
        "departments": [[one.id, one.name, one.parent_id, one.head_id] for one in company.departments.values()],
        "self": company.self_id,
    }


def _unpack_company(kept: Mapping[str, Any]) -> Company:
    return Company(
        users={row[0]: User(row[0], row[1], active=row[2], departments=tuple(row[3])) for row in kept["users"]},
        departments={row[0]: Department(*row) for row in kept["departments"]},
        self_id=kept["self"],
    )


def _pack_calendar(calendar: Calendar) -> dict[str, Any]:
    return {
        "zone": _pack_zone(calendar.zone),
        "week": [[[start.isoformat(), end.isoformat()] for start, end in spans] for spans in calendar.week],
        "country": calendar.country,
        "days_off": sorted(day.isoformat() for day in calendar.days_off),
        "working_days": sorted(day.isoformat() for day in calendar.working_days),
        "holidays": sorted(calendar.holidays),
        "extra_working": sorted(calendar.extra_working),
    }


def _unpack_calendar(kept: Mapping[str, Any]) -> Calendar:
    return build_calendar(
        zone=_unpack_zone(kept["zone"]),
        week={
            day: [(time.fromisoformat(start), time.fromisoformat(end)) for start, end in spans]
            for day, spans in enumerate(kept["week"])
        },
        country=kept["country"],
        days_off={date.fromisoformat(day) for day in kept["days_off"]},
        working_days={date.fromisoformat(day) for day in kept["working_days"]},
        holidays={(day, month) for day, month in kept["holidays"]},
        extra_working={(day, month) for day, month in kept["extra_working"]},
    )


def _pack_zone(zone: tzinfo) -> str | float:
    """A zone's name, or a fixed offset in seconds."""
    offset = zone.utcoffset(None) or timedelta()
    return zone.key if isinstance(zone, ZoneInfo) and zone.key else offset.total_seconds()


def _unpack_zone(kept: str | float) -> tzinfo:
    return ZoneInfo(kept) if isinstance(kept, str) else timezone(timedelta(seconds=kept))
