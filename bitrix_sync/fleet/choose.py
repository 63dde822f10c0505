"""Which portal of a fleet a command means."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from bitrix_sync.errors import UserError, WrongPortal
from bitrix_sync.fleet.portal_settings import portal_settings
from bitrix_sync.fleet.seal import read_seals
from bitrix_sync.settings import DEFAULT_NAME, Settings
from bitrix_sync.store.portals import PortalRow, Portals

SHOWN = 5
"""Names that are told when none fits."""


def chosen(base: Settings, name: str | None, *, secrets: bool) -> Settings:
    """The settings of the portal that is meant: the one named, else the environment's own, else the only one there is.
    ``secrets``: with its webhook and tokens. WrongPortal where that cannot be told."""
    if name == DEFAULT_NAME or (name is None and base.portal is not None):
        return base
    if not base.on_server:
        if name is None:
            return base
        raise WrongPortal(
            f"portal {name}: DATABASE_URL names a file, which holds one portal; leave out --portal, BITRIX_PORTAL"
        )
    with Portals(base.database_url) as portals:
        row = need_portal(portals, name) if name is not None else _only(portals.rows())
    return base if row is None else portal_settings(base, row, read_seals(base.secret_key_file) if secrets else None)


def _only(rows: Sequence[PortalRow]) -> PortalRow | None:
    """The one there is; None where there are none."""
    if len(rows) > 1:
        raise WrongPortal(
            f"say which portal: --portal NAME, or BITRIX_PORTAL; there are {_listed([one.name for one in rows])}"
        )
    return rows[0] if rows else None


def need_portal(portals: Portals, name: str) -> PortalRow:
    """The portal of that name. WrongPortal, with the nearest names, if there is none."""
    row = portals.named(name)
    if row is None or row.removed:
        names = [one.name for one in portals.rows()]
        near = get_close_matches(name, names, n=SHOWN, cutoff=0.4) or names
        said = f"there are {_listed(near)}" if near else "there are none yet: `bitrix-sync portal add NAME`"
        raise WrongPortal(f"no portal is called {name}; {said}")
    return row


def _listed(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f", {more} more" if more > 0 else "")


def need_disabled(row: PortalRow) -> None:
    """Raise UserError while a portal is enabled: what is to be done with it needs it to stand still."""
    if row.enabled:
        raise UserError(f"portal {row.name}: is enabled; first `bitrix-sync portal disable {row.name}`")
