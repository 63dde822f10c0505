"""What was known last: it stands in for what a reading of the portal did not bring, also after a restart. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from bitrix_sync.model.facts import Absence, Absent, Company, DealField, Directory, End, Funnel, Stage, Unread
from bitrix_sync.model.items import Item

EMPTY = "empty"
"""Code of a list that cannot be empty, and was: employees, funnels."""


@dataclass(frozen=True, slots=True)
class KeptRules:
    """The last good file: its text, since when it is in force (the portal's time), and what it was bound to."""

    text: str
    since: datetime
    directory: Directory


def company_with(known: Company, read: Company) -> Company:
    """People that were read just now; what could not be read is as known last."""
    last = {name: getattr(known, name) for name in (*read.missing, *read.without) if name not in known.missing}
    for name in {"users", "departments"} & (read.unread.keys() - read.missing):
        last[name] = {**getattr(known, name), **getattr(read, name)}
    return replace(read, missing=read.missing & known.missing, **{name: one for name, one in last.items() if one})


def with_absences(company: Company, absences: End[tuple[Absence, ...]]) -> Company:
    """The company with its absences as they were read, or not."""
    if isinstance(absences, Unread):
        return replace(company, unread={**company.unread, "absences": absences}, missing=company.missing | {"absences"})
    told = replace(company, missing=company.missing - {"absences"})
    if isinstance(absences, Absent):
        return replace(told, without={**told.without, "absences": absences})
    return replace(told, absences=absences)


def directory_with(known: Directory, read: Directory) -> Directory:
    """A directory that was read just now; what could not be read is as known last."""
    lacking = {*read.unread, *read.without}
    kept: dict[str, Any] = {"company": company_with(known.company, read.company)}
    plain = {"groups": "groups", "calendar": "calendar", "time_zone": "time_zone"}
    plain |= {"profile": "admin", "scopes": "scopes", "task_fields": "task_fields", "currencies": "currencies"}
    kept |= {name: getattr(known, name) for part, name in plain.items() if part in lacking}
    kept["fields"] = fields_with(known, read, lacking)
    kept["names"] = {**known.names, **read.names}
    kept["funnels"] = funnels_with(known, read, lacking)
    if "groups" in lacking:
        kept |= {"group_names": known.group_names, "closed_groups": known.closed_groups}
    return replace(read, **kept)


def fields_with(known: Directory, read: Directory, lacking: set[str]) -> Mapping[str, DealField]:
    """The fields that were read, and those known last of which something could not be read."""
    names = {part.partition(":")[0] for part in lacking}
    told = {**known.fields, **read.fields} if "fields" in names else read.fields
    if names.isdisjoint(("fields", "user_fields", "options")):
        return told
    return {code: field if field.options else known.fields.get(code, field) for code, field in told.items()}


def funnels_with(known: Directory, read: Directory, lacking: set[str]) -> tuple[Funnel, ...]:
    """The funnels that were read, and those known last if not all were read or something of their stages was not."""
    named = {funnel.id for funnel in read.funnels}
    left_out = [
        one
        for one in known.funnels
        if one.id not in named
        if {f"stages:{one.id}", "funnels", f"funnels:{Item.of(one.id).kind.name}"} & lacking
    ]
    stages = {funnel.id: funnel.stages for funnel in known.funnels}
    return tuple(
        with_stages(funnel, stages.get(funnel.id, ())) if f"stages:{funnel.id}" in lacking else funnel
        for funnel in (*read.funnels, *left_out)
    )


def with_stages(funnel: Funnel, known: tuple[Stage, ...]) -> Funnel:
    """A funnel of whose stages not all were read: those known last stay in their places."""
    read = {stage.id: stage for stage in funnel.stages}
    kept = tuple(stage for stage in known if stage.id not in read)
    return replace(funnel, stages=tuple(sorted((*read.values(), *kept), key=lambda stage: stage.sort)))


def company_unread(known: Company, why: Unread) -> Company:
    """The company as known last, of which nothing could be read now."""
    return replace(known, unread=dict.fromkeys(("users", "departments"), why))


def all_unread(known: Directory, why: Unread) -> Directory:
    """The directory as known last, of which nothing could be read now."""
    parts = ("funnels", "fields", "groups", "calendar", "profile", "scopes", "time_zone", "task_fields")
    company = company_unread(known.company, why)
    return replace(known, unread=dict.fromkeys(parts, why), company=company)


def nowhere(directory: Directory) -> dict[str, Unread]:
    """Parts that rules are bound to, and that could neither be read now nor were ever known."""
    bare = {"funnels": not directory.funnels, "fields": not directory.fields}
    bare |= {f"stages:{funnel.id}": not funnel.stages for funnel in directory.funnels}
    found = {part: end for part, end in directory.unread.items() if bare.get(part, part.startswith("options:"))}
    return found | {part: end for part, end in directory.company.unread.items() if part in directory.company.missing}
