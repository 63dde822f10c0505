"""The working calendar of a file: its own, else the portal's, else Monday to Friday from 9 to 18; and its time zone.

Source: the rules language, section Calendar. Where it leaves a choice: what ``calendar`` does not say of hours is taken
from the portal, too; the portal's yearly holidays count as long as the file says neither hours nor a country.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import time, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from bitrix_sync.model.facts import Directory, PortalCalendar
from bitrix_sync.model.worktime import Calendar, CalendarError, Spans, build_calendar
from bitrix_sync.rules.file import CalendarSection, File
from bitrix_sync.rules.problem import Remarks
from bitrix_sync.rules.scalars import day_range

USUAL: Spans = ((time(9), time(18)),)
WORKDAYS: tuple[int, ...] = (0, 1, 2, 3, 4)


def working_calendar(file: File, directory: Directory, remarks: Remarks) -> Calendar | None:
    """The calendar that the rules count in. None, and a fault, when it cannot be."""
    said = file.calendar or CalendarSection()
    portal = directory.calendar
    yearly = portal if portal is not None and said.hours is None and said.country is None else None
    try:
        return build_calendar(
            zone=_zone(file, directory, remarks),
            week=_week(said, portal, remarks),
            country=said.country,
            days_off=set(said.days_off),
            working_days=set(said.working_days),
            holidays=yearly.holidays if yearly else (),
            extra_working=yearly.working_days if yearly else (),
        )
    except CalendarError as fault:
        if any(one.path[:1] == ("calendar",) for one in remarks.faults):
            return None
        remarks.fault(("calendar",), str(fault), "Check `hours`, `days_off` and `working_days`.", key=True)
        return None


def portal_calendar(directory: Directory) -> Calendar:
    """The portal's own, for whoever has no file."""
    found = working_calendar(
        File.model_construct(version=1, funnels={}, calendar=None, timezone=None), directory, Remarks()
    )
    assert found is not None, "only what a file says can be wrong"
    return found


def _zone(file: File, directory: Directory, remarks: Remarks) -> tzinfo:
    if file.timezone is not None:
        return ZoneInfo(file.timezone)
    if directory.time_zone:
        try:
            return ZoneInfo(directory.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            pass
    offset = timedelta(seconds=directory.utc_offset)
    hours, minutes = divmod(abs(directory.utc_offset) // 60, 60)
    shown = f"UTC{'-' if directory.utc_offset < 0 else '+'}{hours:02d}:{minutes:02d}"
    remarks.warn(
        ("timezone",),
        f"The portal does not tell its time zone; its present offset, {shown}, is used all the year round.",
        "Write the zone at the top of the file, as `timezone: Europe/Moscow`.",
    )
    return timezone(offset)


def _week(said: CalendarSection, portal: PortalCalendar | None, remarks: Remarks) -> Mapping[int, Spans]:
    if isinstance(said.hours, dict):
        return {day: spans for word, spans in said.hours.items() for day in day_range(word)}
    hours, days = USUAL, WORKDAYS
    if portal is not None and not (said.hours and said.workdays):
        hours, own_days = _portal_week(portal, remarks)
        days = WORKDAYS if said.hours else own_days
    return dict.fromkeys(said.workdays or days, said.hours or hours)


def _portal_week(portal: PortalCalendar, remarks: Remarks) -> tuple[Spans, tuple[int, ...]]:
    """The portal's hours and working days; the usual ones, with a warning, when they make no sense."""
    start, end = portal.start_minute, min(portal.end_minute, 24 * 60 - 1)
    days = tuple(day for day in range(7) if day not in portal.days_off)
    if 0 <= start < end and days:
        return ((time(start // 60, start % 60), time(end // 60, end % 60)),), days
    remarks.warn(
        ("calendar",),
        "The working hours in the portal's calendar settings make no sense; Mon-Fri 09:00-18:00 are used.",
        "Correct them there, or write `calendar` here.",
        key=True,
    )
    return USUAL, WORKDAYS
