"""Users, departments, workgroups (api-reference/user, departments, sonet-group, common/users, chats/departments)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from bitrix_sandbox.methods import filters
from bitrix_sandbox.methods.protocol import Answer, Caller, method
from bitrix_sandbox.state import values
from bitrix_sandbox.state.errors import RestError
from bitrix_sandbox.state.portal import PortalState
from bitrix_sandbox.state.records import Department, User, Workgroup

_BRIEF = frozenset(
    {
        "ID",
        "ACTIVE",
        "NAME",
        "LAST_NAME",
        "SECOND_NAME",
        "IS_ONLINE",
        "TIME_ZONE",
        "TIMESTAMP_X",
        "DATE_REGISTER",
        "LAST_ACTIVITY_DATE",
        "PERSONAL_GENDER",
        "PERSONAL_BIRTHDAY",
        "PERSONAL_CITY",
        "WORK_POSITION",
        "UF_EMPLOYMENT_DATE",
        "UF_DEPARTMENT",
    }
)
_BASIC = _BRIEF | {"EMAIL", "PERSONAL_MOBILE", "WORK_PHONE"}
"""What the narrower scopes show (api-reference/user/user-scope.md)."""
_USER_SCOPES = ("user", "user_basic", "user_brief")

_KEYS: dict[str, tuple[str, Callable[[User], Any]]] = {
    "ID": ("int", lambda user: user.id),
    "NAME": ("text", lambda user: user.name),
    "LAST_NAME": ("text", lambda user: user.last_name),
    "SECOND_NAME": ("text", lambda user: user.second_name),
    "EMAIL": ("text", lambda user: user.email),
    "WORK_POSITION": ("text", lambda user: user.position),
    "PERSONAL_GENDER": ("text", lambda user: user.gender),
    "PERSONAL_MOBILE": ("text", lambda user: user.phone),
    "TIME_ZONE": ("text", lambda user: user.time_zone),
    "UF_DEPARTMENT": ("int", lambda user: user.departments),
    "USER_TYPE": ("text", lambda user: user.kind),
    "DATE_REGISTER": ("moment", lambda user: user.registered),
    "LAST_LOGIN": ("moment", lambda user: user.last_login),
}


@method("user.get", *_USER_SCOPES)
def user_get(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """Users by filter, dismissed ones too; never bots, e-mail and hidden users."""
    wanted = dict(values.mapped(values.pick(params, "FILTER", "filter")) or {})
    wanted |= {key: value for key, value in params.items() if key in _KEYS or key == "ACTIVE"}
    return _users(state, caller, params, wanted, "user.get")


@method("user.search", *_USER_SCOPES)
def user_search(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """A picker: the beginning of names, position, department; FIND searches in all and excludes other keys."""
    wanted = values.mapped(values.pick(params, "FILTER", "filter")) or {}
    find = str(wanted.get("FIND") or "").casefold()
    named = {
        key: str(value).casefold() for key, value in wanted.items() if key in ("NAME", "LAST_NAME", "WORK_POSITION")
    }
    place = str(wanted.get("UF_DEPARTMENT_NAME") or "").casefold()

    def chosen(user: User) -> bool:
        halls = [state.departments[one].name.casefold() for one in user.departments if one in state.departments]
        words = {"NAME": user.name, "LAST_NAME": user.last_name, "WORK_POSITION": user.position}
        if find:
            return any(text.casefold().startswith(find) for text in (*words.values(), *halls))
        if not all(words[key].casefold().startswith(start) for key, start in named.items()):
            return False
        return not place or any(hall.startswith(place) for hall in halls)

    rest = {key: value for key, value in wanted.items() if key in ("USER_TYPE", "ACTIVE") and not find}
    return _users(state, caller, params, rest, "user.search", chosen)


@method("user.current", *_USER_SCOPES)
def user_current(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """The webhook's owner."""
    user = state.users.get(caller.user_id)
    return Answer(_user(state, user, _scope(caller)) if user else [])


@method("profile")
def profile(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """The webhook's owner, short, whatever the scopes."""
    user = state.users.get(caller.user_id)
    if user is None or not user.active:
        return Answer([])
    return Answer(
        {
            "ID": str(user.id),
            "ADMIN": caller.admin,
            "NAME": user.name,
            "LAST_NAME": user.last_name,
            "PERSONAL_GENDER": user.gender,
            "TIME_ZONE": user.time_zone,
        }
    )


@method("user.admin")
def user_admin(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """Is the caller an administrator?"""
    return Answer(caller.admin)


@method("department.get", "department")
def department_get(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """Departments; filters are upper-case top-level parameters, ``sort`` and ``order`` the order."""
    readers: dict[str, Callable[[Department], Any]] = {
        "ID": lambda one: one.id,
        "NAME": lambda one: one.name,
        "SORT": lambda one: one.sort,
        "PARENT": lambda one: one.parent_id,
        "UF_HEAD": lambda one: one.head_id,
    }
    tests = []
    for name, read in readers.items():
        if not filters.empty(params.get(name)):
            passes = filters.predicate("=", "text" if name == "NAME" else "int", params[name], state.clock.zone)
            tests.append(_on(read, passes))
    sort = str(params.get("sort") or "").upper()
    down = str(params.get("order") or "").upper() == "DESC"
    page = filters.page(
        state,
        lambda: state.departments.values(),
        keep=filters.all_of(tests),
        order=[filters.SortBy(readers[sort], down)] if sort in readers else (),
        start=values.pick(params, "start", "START"),
    )
    return page.answer([_department(one) for one in page.rows])


@method("im.department.managers.get", "im")
def department_managers(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """Direct heads of departments: ids, or user objects with ``USER_DATA=Y``."""
    sent = params.get("ID")
    if isinstance(sent, str) and sent.strip().startswith("["):
        sent = json.loads(sent)
    numbers = values.whole_numbers(sent)
    if not numbers:
        raise RestError("ID_EMPTY", "Department ID can't be empty")
    detailed = values.flag(params.get("USER_DATA"))
    found: dict[str, Any] = {}
    for number in numbers:
        head = state.departments[number].head_id if number in state.departments else 0
        if head:
            found[str(number)] = [card(state, head)] if detailed else [head]
    return Answer(values.php_map(found, empty_as_list=state.switches.php_arrays))


@method("sonet_group.get", "sonet")
def group_get(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """Workgroups that the caller may see, the newest first."""
    wanted = dict(values.mapped(values.pick(params, "FILTER", "filter")) or {})
    if params.get("GROUP_ID"):
        wanted["ID"] = params["GROUP_ID"]
    every = values.flag(params.get("IS_ADMIN")) and caller.admin
    keys: dict[str, tuple[str, Callable[[Workgroup], Any]]] = {
        "ID": ("int", lambda one: one.id),
        "NAME": ("text", lambda one: one.name),
        "OWNER_ID": ("int", lambda one: one.owner_id),
        "ACTIVE": ("flag", lambda one: True),
        "VISIBLE": ("flag", lambda one: one.visible),
        "OPENED": ("flag", lambda one: one.opened),
        "CLOSED": ("flag", lambda one: one.closed),
    }
    tests: list[Callable[[Workgroup], bool]] = [
        lambda one: every or one.visible or caller.user_id in one.members or caller.admin
    ]
    for key, value in wanted.items():
        one = filters.condition(key, value)
        if one.name not in keys:
            state.ignore_filter("sonet_group.get", key)
            continue
        kind, read = keys[one.name]
        tests.append(_on(read, filters.predicate(one.op, kind, value, state.clock.zone)))
    order = values.mapped(values.pick(params, "ORDER", "order")) or {}
    up = str(order.get("ID", "DESC")).upper() == "ASC"
    groups = list(state.workgroups.values())
    page = filters.page(
        state, lambda: groups if up else reversed(groups), keep=filters.all_of(tests), start=params.get("start")
    )
    return page.answer([_workgroup(state, one) for one in page.rows])


def card(state: PortalState, user_id: int) -> dict[str, Any]:
    """A user as chat methods show him."""
    user = state.users.get(user_id) or User(user_id, "", "", active=False)
    away = state.away_until(user_id)
    return {
        "id": user.id,
        "active": user.active,
        "name": user.full_name,
        "first_name": user.name,
        "last_name": user.last_name,
        "work_position": user.position,
        "color": "#4ba984",
        "avatar": "",
        "avatar_hr": "",
        "gender": user.gender or "M",
        "birthday": "",
        "extranet": user.kind == "extranet",
        "network": False,
        "bot": user.kind == "bot",
        "connector": False,
        "external_auth_id": "default",
        "status": "online",
        "idle": False,
        "last_activity_date": state.iso(user.last_login),
        "mobile_last_date": False,
        "desktop_last_date": False,
        "absent": state.iso(away) or False,
        "departments": list(user.departments),
        "phones": {"personal_mobile": user.phone} if user.phone else False,
        "bot_data": None,
        "type": "user",
        "website": "",
        "email": user.email,
    }


def _users(
    state: PortalState,
    caller: Caller,
    params: dict[str, Any],
    wanted: dict[str, Any],
    name: str,
    chosen: Callable[[User], bool] = lambda user: True,
) -> Answer:
    tests: list[Callable[[User], bool]] = [_listed, chosen]
    if not values.flag(params.get("ADMIN_MODE")):
        tests.append(lambda user: bool(user.departments))
    tests += [test for key, value in wanted.items() for test in _user_test(state, name, key, value)]
    sort = str(params.get("sort") or "").upper()
    down = str(params.get("order") or "").upper() == "DESC"
    users = sorted(state.users.values(), key=lambda user: user.id)
    by_id = sort not in _KEYS or sort == "ID"
    page = filters.page(
        state,
        lambda: reversed(users) if by_id and down else users,
        keep=filters.all_of(tests),
        order=() if by_id else [filters.SortBy(_KEYS[sort][1], down)],
        start=params.get("start"),
    )
    scope = _scope(caller)
    select = {str(one) for one in values.listed(params.get("select"))}
    return page.answer([_user(state, user, scope, select) for user in page.rows])


def _listed(user: User) -> bool:
    return user.kind in ("employee", "extranet")


def _user_test(state: PortalState, name: str, key: str, value: Any) -> Iterable[Callable[[User], bool]]:
    one = filters.condition(key, list(value.values()) if isinstance(value, dict) else value)
    if one.name == "ACTIVE":
        active = bool(value) and value != "N" and value != "0"
        return [lambda user: user.active is (active if one.op != "!=" else not active)]
    if one.name == "NAME_SEARCH":
        part = str(value).casefold()
        return [lambda user: part in f"{user.full_name} {user.email}".casefold()]
    if one.name not in _KEYS:
        state.ignore_filter(name, key)
        return []
    kind, read = _KEYS[one.name]
    return [_on(read, filters.predicate(one.op, kind, one.value, state.clock.zone))]


def _on(read: Callable[[Any], Any], passes: filters.Test) -> Callable[[Any], bool]:
    return lambda record: passes(read(record))


def _scope(caller: Caller) -> frozenset[str] | None:
    """The fields that the widest of the caller's user scopes shows; None: all."""
    if "user" in caller.scopes:
        return None
    return _BASIC if "user_basic" in caller.scopes else _BRIEF


def _user(
    state: PortalState, user: User, scope: frozenset[str] | None, select: set[str] | frozenset[str] = frozenset()
) -> dict[str, Any]:
    row = {
        "ID": str(user.id),
        "ACTIVE": user.active,
        "NAME": user.name,
        "LAST_NAME": user.last_name,
        "SECOND_NAME": user.second_name,
        "EMAIL": user.email,
        "LAST_LOGIN": state.iso(user.last_login) or "",
        "DATE_REGISTER": state.iso(user.registered) or "",
        "TIME_ZONE": user.time_zone,
        "IS_ONLINE": "N",
        "TIMESTAMP_X": {},
        "LAST_ACTIVITY_DATE": {},
        "PERSONAL_GENDER": user.gender,
        "PERSONAL_WWW": "",
        "PERSONAL_BIRTHDAY": "",
        "PERSONAL_MOBILE": user.phone,
        "PERSONAL_CITY": "",
        "WORK_PHONE": "",
        "WORK_POSITION": user.position,
        "UF_EMPLOYMENT_DATE": "",
        "UF_DEPARTMENT": list(user.departments),
        "USER_TYPE": user.kind,
    }
    every = not select or "*" in select
    return {
        key: value
        for key, value in row.items()
        if (scope is None or key in scope) and (every or key in select or (key.startswith("UF_") and "UF_*" in select))
    }


def _department(one: Department) -> dict[str, Any]:
    row: dict[str, Any] = {"ID": str(one.id), "NAME": one.name, "SORT": one.sort}
    if one.parent_id:
        row["PARENT"] = str(one.parent_id)
    if one.head_id:
        row["UF_HEAD"] = str(one.head_id)
    return row


def _workgroup(state: PortalState, one: Workgroup) -> dict[str, Any]:
    created = state.iso(one.created)
    return {
        "ID": str(one.id),
        "SITE_ID": "s1",
        "NAME": one.name,
        "DESCRIPTION": None,
        "DATE_CREATE": created,
        "DATE_UPDATE": created,
        "ACTIVE": "Y",
        "VISIBLE": values.yes_no(one.visible),
        "OPENED": values.yes_no(one.opened),
        "CLOSED": values.yes_no(one.closed),
        "SUBJECT_ID": "1",
        "OWNER_ID": str(one.owner_id),
        "KEYWORDS": None,
        "NUMBER_OF_MEMBERS": str(len(one.members)),
        "DATE_ACTIVITY": created,
        "SUBJECT_NAME": "Рабочие группы",
        "PROJECT": values.yes_no(one.project),
        "IS_EXTRANET": "N",
    }
