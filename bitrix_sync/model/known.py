"""What was known last: it stands in for what a reading of the portal did not bring, also after a restart. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from bitrix_sync.model.facts import Absence, Absent, Company, DealField, Directory, End, Funnel, Unread

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
    plain = {"fields": "fields", "groups": "groups", "calendar": "calendar", "time_zone": "time_zone"}
    plain |= {"profile": "admin", "scopes": "scopes", "funnels": "funnels", "task_fields": "task_fields"}
    kept |= {name: getattr(known, name) for part, name in plain.items() if part in lacking}
    if "fields" not in lacking and any(part == "user_fields" or part.startswith("options:") for part in lacking):
        kept["fields"] = {code: _with_options(known.fields, field) for code, field in read.fields.items()}
    if "funnels" not in lacking:
        kept["funnels"] = _funnels_with(known.funnels, read.funnels, lacking)
    return replace(read, **kept)


def _with_options(known: Mapping[str, DealField], read: DealField) -> DealField:
    """The field, or the same as known last if it has no options now."""
    return read if read.options else known.get(read.code, read)


def _funnels_with(known: Sequence[Funnel], read: Sequence[Funnel], lacking: Collection[str]) -> tuple[Funnel, ...]:
    """The funnels, those that could not be asked about too, with stages as known last where they are lacking."""
    named = {funnel.id for funnel in read}
    left_out = [one for one in known if one.id not in named and f"stages:{one.id}" in lacking]
    stages = {funnel.id: funnel.stages for funnel in known}
    return tuple(
        replace(funnel, stages=stages.get(funnel.id, ())) if f"stages:{funnel.id}" in lacking else funnel
        for funnel in (*read, *left_out)
    )


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
