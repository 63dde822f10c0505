"""Service methods, open to every caller (api-reference/common/system)."""

from __future__ import annotations

from typing import Any

from bitrix_sandbox.methods.protocol import METHODS, Answer, Caller, Method, method
from bitrix_sandbox.state import values
from bitrix_sandbox.state.portal import PortalState

_EVERY_SCOPE = (
    "calendar",
    "crm",
    "department",
    "disk",
    "humanresources",
    "im",
    "imbot",
    "sonet",
    "task",
    "tasks",
    "timeman",
    "user",
    "user_basic",
    "user_brief",
    "userfieldconfig",
)


@method("scope")
def scope(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """The caller's scopes; with ``full`` all that the portal has."""
    return Answer(list(_EVERY_SCOPE) if values.flag(params.get("full")) else sorted(caller.scopes))


@method("methods")
def methods(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """Names of the methods that the caller may call; with ``full`` of all, with ``scope`` of one scope."""
    wanted = params.get("scope")
    known = [one for name, one in METHODS.items() if not name.startswith("v3:")]
    if wanted is not None:
        known = [one for one in known if (wanted in one.scopes if wanted else not one.scopes)]
    elif not values.flag(params.get("full")):
        known = [one for one in known if _available(one, caller)]
    return Answer([one.name for one in known])


@method("method.get")
def method_get(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """Does a method exist, and may the caller call it?"""
    one = METHODS.get(str(params.get("name") or "").lower())
    return Answer({"isExisting": one is not None, "isAvailable": one is not None and _available(one, caller)})


@method("server.time")
def server_time(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
    """The server's time with its offset."""
    return Answer(state.iso(state.moment()))


def _available(one: Method, caller: Caller) -> bool:
    return not one.scopes or not one.scopes.isdisjoint(caller.scopes)
