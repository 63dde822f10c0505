"""A command that changes something at a portal of a fleet: put to the workers, or carried out here when there is none.

The request stands in the portal's store and the portal is rung; whoever has the next turn answers it. Where no worker
lives, this process has that turn itself, under beats of its own, so that a worker that is started meanwhile waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from bitrix_sync.commands import runs
from bitrix_sync.errors import UserError
from bitrix_sync.fleet.queue import set_up
from bitrix_sync.fleet.seal import read_seals
from bitrix_sync.fleet.worker import Worker
from bitrix_sync.settings import Settings
from bitrix_sync.store import Request, Store
from bitrix_sync.store.portals import Portals
from bitrix_sync.store.workers import Workers

LOOK_SECONDS = 0.25
"""How often is looked whether there is an answer."""
BEGIN_WITHIN = 60.0
"""Seconds after which workers that live but do not begin are no help."""


def ask(base: Settings, portal: Settings, kind: str, args: Mapping[str, Any], told: Callable[[str], None]) -> Request:
    """The request once it is answered. ``base``: the environment's settings, ``portal``: those of the portal. ``told``
    hears how far it is. UserError for a portal that is disabled, or that workers leave alone."""
    began = time.monotonic()
    with (
        Portals(base.database_url) as portals,
        Workers(base.database_url) as workers,
        Store(base.database_url, portal=portal.number) as store,
    ):
        row = portals.numbered(portal.number)
        if row is None or not row.enabled:
            raise UserError(f"portal {portal.name}: is disabled; first `bitrix-sync portal enable {portal.name}`")
        number = store.ask(kind, args, now=portals.clock())
        portals.ring([portal.number])
        while (request := _request(store, number)).ok is None:
            told(runs.progress(store, request))
            if not workers.living(base.lost_seconds):
                set_up(base.database_url)
                worker = Worker(base, read_seals(base.secret_key_file))
                worker.serve_alone(portal.number, lambda: _request(store, number).ok is not None)
            elif time.monotonic() - began > BEGIN_WITHIN and store.withdraw(number):
                raise UserError("the workers do not answer; look at `bitrix-sync fleet`, start them anew if need be")
            time.sleep(LOOK_SECONDS)
        return request


def _request(store: Store, number: int) -> Request:
    request = store.request(number)
    assert request is not None, "requests stay"
    return request
