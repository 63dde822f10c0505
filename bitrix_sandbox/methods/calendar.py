"""The work calendar, and where people are (api-reference/calendar)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from bitrix_sandbox.methods.protocol import Answer, Caller, method
from bitrix_sandbox.state import values
from bitrix_sandbox.state.errors import RestError
from bitrix_sandbox.state.portal import PortalState
from bitrix_sandbox.state.records import Absence


@method("calendar.settings.get", "calendar")
def settings_get(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """The portal's working hours and holidays, as an administrator set them."""
    usual = {
        "work_time_start": "9",
        "work_time_end": "18",
        "year_holidays": "1.01,2.01,3.01,4.01,5.01,6.01,7.01,8.01,23.02,8.03,1.05,9.05,12.06,4.11",
        "year_workdays": "",
        "week_holidays": ["SA", "SU"],
        "week_start": "MO",
        "user_name_template": "#NAME# #LAST_NAME#",
        "sync_by_push": False,
        "user_show_login": True,
        "path_to_user": "/company/personal/user/#user_id#/",
        "path_to_user_calendar": "/company/personal/user/#user_id#/calendar/",
        "path_to_group": "/workgroups/group/#group_id#/",
        "path_to_group_calendar": "/workgroups/group/#group_id#/calendar/",
        "path_to_vr": "",
        "path_to_rm": "",
        "rm_iblock_type": "",
        "rm_iblock_id": "",
        "dep_manager_sub": True,
        "denied_superpose_types": [],
        "pathes_for_sites": "",
        "forum_id": "8",
        "rm_for_sites": True,
        "path_to_type_company_calendar": "",
        "path_to_type_location": "",
        "path_to_type_open_event": "",
    }
    return Answer(usual | state.calendar)


@method("calendar.user.settings.get", "calendar")
def user_settings_get(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """The caller's own settings: his zone above all."""
    user = state.users.get(caller.user_id)
    zone = ZoneInfo(user.time_zone) if user and user.time_zone else state.clock.zone
    offset = state.moment().astimezone(zone).utcoffset() or timedelta()
    return Answer(
        {
            "view": "month",
            "meetSection": "4",
            "crmSection": "4",
            "showDeclined": True,
            "denyBusyInvitation": False,
            "collapseOffHours": "N",
            "showWeekNumbers": "N",
            "showTasks": "Y",
            "syncTasks": "N",
            "showCompletedTasks": "N",
            "lastUsedSection": "false",
            "sendFromEmail": "",
            "defaultSections": {f"user{caller.user_id}": "4"},
            "syncPeriodPast": "3",
            "syncPeriodFuture": "12",
            "defaultReminders": {
                "fullDay": [{"type": "min", "count": 15}],
                "withTime": [{"type": "min", "count": 15}],
            },
            "timezoneName": str(zone),
            "timezoneOffsetUTC": int(offset.total_seconds()),
            "timezoneDefaultName": "",
            "work_time_start": "9.00",
            "work_time_end": "18.00",
        }
    )


@method("calendar.accessibility.get", "calendar", cost=0.1)
def accessibility_get(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """Entries of users that touch the days ``from`` to ``to``, by user id. Vacations are ``absent``."""
    for name in ("from", "to", "users"):
        if params.get(name) in (None, "", []):
            text = f'The required parameter "{name}" for the method "calendar.accessibility.get" is not set.'
            raise RestError("", text)
    zone = state.clock.zone
    begin, end = values.civil_date(params["from"], zone), values.civil_date(params["to"], zone)
    found: dict[str, Any] = {}
    for user in values.whole_numbers(params["users"]):
        found[str(user)] = [
            _entry(state, one)
            for one in state.absences
            if one.user_id == user
            and begin is not None
            and end is not None
            and one.start.astimezone(zone).date() <= end
            and one.end.astimezone(zone).date() >= begin
        ]
    return Answer(values.php_map(found, empty_as_list=state.switches.php_arrays))


def _entry(state: PortalState, one: Absence) -> dict[str, Any]:
    zone = state.zone_of(one.user_id)
    offset = one.start.astimezone(zone).utcoffset() or timedelta()
    last = one.end - timedelta(days=1) if one.whole_days else one.end

    def site(at: datetime) -> str:
        return at.astimezone(zone).strftime("%d.%m.%Y %H:%M:%S")

    return {
        "ID": str(one.id),
        "NAME": one.name,
        "DATE_FROM": site(one.start),
        "DATE_TO": site(last),
        "DATE_FROM_TS_UTC": str(int(one.start.timestamp())),
        "DATE_TO_TS_UTC": str(int(last.timestamp())),
        "~USER_OFFSET_FROM": int(-offset.total_seconds()),
        "~USER_OFFSET_TO": int(-offset.total_seconds()),
        "DT_SKIP_TIME": values.yes_no(one.whole_days),
        "TZ_FROM": str(zone),
        "TZ_TO": str(zone),
        "ACCESSIBILITY": one.kind,
        "IMPORTANCE": "normal",
        "EVENT_TYPE": "",
    }
