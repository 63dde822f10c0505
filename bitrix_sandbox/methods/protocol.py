"""The seam inside the sandbox portal: a method gets a call and gives an answer or raises the portal's error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bitrix_sandbox.state.portal import PortalState


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: the webhook's user, its scopes, and whether he is an administrator."""

    user_id: int
    scopes: frozenset[str]
    admin: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """A success: ``result`` as JSON; ``total`` and ``next`` only where the documentation shows them."""

    result: Any
    total: int | None = None
    next: int | None = None


Handler = Callable[[PortalState, Caller, dict[str, Any]], Answer]


@dataclass(frozen=True, slots=True)
class Method:
    """A REST method: its documented name, the scopes of which one is needed (none: any caller), its handler, and what
    one call costs in operating seconds by default."""

    name: str
    handler: Handler
    scopes: frozenset[str] = field(default_factory=frozenset)
    cost: float = 0.05
    writes: bool = False


METHODS: dict[str, Method] = {}
"""By lower-case name."""


def method(name: str, *scopes: str, cost: float = 0.05, writes: bool = False) -> Callable[[Handler], Handler]:
    """Register a handler under its documented name."""

    def register(handler: Handler) -> Handler:
        METHODS[name.lower()] = Method(name, handler, frozenset(scopes), cost, writes)
        return handler

    return register
