"""The portal's refusals in an administrator's words: what is wrong, and what to do about it."""

from __future__ import annotations

from collections.abc import Set
from datetime import UTC, datetime

from bitrix_sync.errors import PortalRefused
from bitrix_sync.model.facts import PEOPLE_SCOPES
from bitrix_sync.portal.dialect.outcomes import NO_ACCESS, NO_METHOD, NO_SCOPE, OPERATION_LIMIT, QUERY_LIMIT, Outcome

NEW_WEBHOOK = "make a new incoming webhook in the portal (Developer resources) and set its address"
WHOLE = {
    "no_auth_found": f"the portal does not know this webhook (wrong code or user, deleted or expired); {NEW_WEBHOOK}",
    "invalid_credentials": f"the portal does not accept this webhook (wrong code, deleted, expired); {NEW_WEBHOOK}",
    "authorization_error": f"the webhook's owner cannot be authorised (dismissed?) or it has expired; {NEW_WEBHOOK}",
    "user_access_error": "the webhook's owner may not use REST; make the webhook as an administrator",
    "allowed_only_intranet_user": "the webhook's owner is no employee; make the webhook as an administrator",
    "expired_token": f"the webhook's authorisation has expired; {NEW_WEBHOOK}",
    "payment_required": "the portal's subscription has ended; renew it, then the service goes on by itself",
    "portal_deleted": "the portal was deleted or is closed; check that it opens in a browser",
    "overload_limit": "REST of this portal was blocked by Bitrix24 because of overload; write to its support",
    "invalid_request": "the portal wants https; set the webhook's address with https://",
    "redirect": "the portal redirects elsewhere (renamed?); copy the webhook's address from the portal again",
}
SCOPES = (
    ("crm.", "crm"),
    ("tasks.", "task"),
    ("task.", "task"),
    ("user.", "user_basic"),
    ("department.", "department"),
    ("im.", "im"),
    ("calendar.", "calendar"),
    ("sonet", "sonet"),
)


def need_scopes(scopes: Set[str], *, host: str) -> None:
    """PortalRefused when the webhook lacks what nothing can be done without: deals, tasks, employees. No scopes at all:
    the portal does not tell them, and whatever is missing will be refused when it is asked for."""
    if not scopes:
        return
    there = {"crm": "crm" in scopes, "task": "task" in scopes, "user_basic": bool(scopes & PEOPLE_SCOPES)}
    missing = ", ".join(f"'{scope}'" for scope, found in there.items() if not found)
    if missing:
        raise PortalRefused(
            NO_SCOPE, f"portal {host}: the webhook lacks the scope {missing}; tick it in the webhook's form"
        )


def scope_of(method: str) -> str:
    """The scope that a method of ours needs, as the webhook's form names it; "" when it needs none."""
    name = method.lower()
    return next((scope for prefix, scope in SCOPES if name.startswith(prefix)), "")


def explain(host: str, method: str, outcome: Outcome) -> str:
    """One line about an outcome that is not ``done``: where, what, what to do. Holds no secret."""
    return f"portal {host}: {_reason(method, outcome)}"


def _reason(method: str, outcome: Outcome) -> str:
    code = outcome.code.lower()
    text = outcome.text or code
    known = {
        NO_SCOPE: f"the webhook lacks the scope '{scope_of(method) or method}'; tick it in the webhook's form",
        NO_METHOD: f"it has no method {method}: its version is too old, or the module is not installed or is "
        "switched off; update or switch it on in the portal",
        OPERATION_LIMIT: f"{method} has used up its operating time{_until(outcome)}; the service goes on after that",
        QUERY_LIMIT: "too many requests, also of other programs behind the same address; lower BITRIX_RATE",
        **WHOLE,
    }
    if code == NO_ACCESS and outcome.fatal:
        return f"REST is refused ({text}); the plan or its REST subscription has probably ended"
    if code in known:
        return known[code]
    if outcome.kind == "refused":
        return f"{method} refused: {outcome.code or 'no code'} {outcome.text}".rstrip()
    if code == "no_connection":
        return (
            f"cannot be reached: {outcome.text}; compare BITRIX_WEBHOOK_URL with the portal's address, "
            "and see whether this machine reaches it (network, DNS, proxy)"
        )
    return f"{method}: {outcome.text or outcome.code}; tried for a while, will be tried again"


def _until(outcome: Outcome) -> str:
    if outcome.retry_at is None:
        return ""
    return f" until {datetime.fromtimestamp(outcome.retry_at, UTC):%H:%M:%S} UTC"
