"""Whose portal is this? The store belongs to one, and what it says of another would do harm to people's work there.

A portal is known by its history: the newest rows remembered, and some older ones, are read again by id, in one request
with its latest rows. A row that is still what it was speaks for it; another row under that id, or one that no portal
can have beside those remembered, speaks against it; one that has vanished says nothing, for portals wipe rows. Its host
and its member id (which events tell) are kept too, and decide where the history says nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

import structlog

from bitrix_sync.engine.recognition import rows, same
from bitrix_sync.errors import ForeignPortal
from bitrix_sync.model.facts import Visit
from bitrix_sync.portal import reading
from bitrix_sync.portal.client import Portal
from bitrix_sync.store import Store

log = structlog.get_logger(__name__)

NEWEST, OLDER = 30, 20
"""Anchors: as many rows as one page holds."""
PATIENCE = 30.0
"""Seconds for the one request."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What the portal's history says of it, row by row. ``before``: the host that the store knows ("" for none);
    ``doubted``: an event told another member id. ``begun``: the store has read a portal at all."""

    host: str
    before: str = ""
    begun: bool = True
    doubted: bool = False
    true: list[Visit] = field(default_factory=list)
    contradicted: list[Visit] = field(default_factory=list)
    """The rows that the portal has instead, and those that cannot stand beside what is known."""
    vanished: int = 0

    @property
    def moved(self) -> bool:
        """True at another host than before."""
        return bool(self.before) and plain_host(self.before) != self.host

    @property
    def foreign(self) -> bool:
        """True when nothing speaks for the portal and something against it."""
        return self.begun and not self.true and (bool(self.contradicted) or self.moved or self.doubted)

    @property
    def put_back(self) -> bool:
        """True when the portal is ours, but counts some ids anew: it was put back from its backup."""
        return bool(self.true) and bool(self.contradicted)

    def refusal(self) -> str:
        """Why nothing is done, and the two ways out."""
        was = f" (it belongs to {self.before})" if self.moved else ""
        rows = f"{len(self.contradicted)} known rows of its history are others there" if self.contradicted else ""
        why = rows or "none of the known rows of its history are there"
        return (
            f"the database was made on another portal than {self.host}{was}: {why}. Nothing is read into it, nothing "
            "is written. Give this portal a database of its own (DATABASE_URL), or, if it is the same portal, say so "
            "once: bitrix-sync run --same-portal"
        )


def look(store: Store, portal: Portal, *, patience: float = PATIENCE) -> Standing:
    """Ask the portal, in one request. Raises PortalError and PortalRefused as every reading does."""
    known = {visit.id: visit for visit in store.anchors(newest=NEWEST, older=OLDER)}
    named, latest = reading.anchors(portal, list(known), patience=patience)
    shown = {visit.id: visit for visit in named}
    others = [visit for visit in named if not same(visit, known[visit.id])]
    strange = [visit for visit in rows(store, latest).against if visit.id not in shown]
    heard = store.flags.portal_member_heard
    return Standing(
        host_of(portal),
        before=store.flags.portal_host or "",
        begun=store.cursor() is not None,
        doubted=heard is not None and heard != store.flags.portal_member,
        true=[visit for visit in named if same(visit, known[visit.id])],
        contradicted=[*others, *strange],
        vanished=len(known) - len(shown),
    )


def require(standing: Standing) -> None:
    """Raise ForeignPortal for a portal that is not the store's."""
    if standing.foreign:
        raise ForeignPortal(standing.refusal())


def note(store: Store, standing: Standing) -> None:
    """Keep whose portal the store's is, once it is known to be that."""
    if standing.moved:
        log.warning("the portal has a new address", before=standing.before, now=standing.host)
    if standing.before != standing.host:
        store.flags.portal_host = standing.host
    if (heard := store.flags.portal_member_heard) is not None:
        store.flags.portal_member, store.flags.portal_member_heard = heard, None


def hear(store: Store, member: str) -> bool:
    """Keep the member id that an event of this portal told. True: it is another one than before, so look again."""
    known = store.flags.portal_member
    if member == known:
        return False
    if known is None:
        store.flags.portal_member = member
    else:
        store.flags.portal_member_heard = member
    return known is not None


def is_of(portal: Portal, domain: str) -> bool:
    """True when an event's ``domain`` is the portal's; it may lack the port."""
    host = plain_host(portal.host)
    return plain_host(domain) in (host, host.partition(":")[0])


def host_of(portal: Portal) -> str:
    """The portal's name, as it is compared, with the folder below which it lies."""
    return plain_host(portal.host) + portal.webhook.folder


def plain_host(text: str) -> str:
    """A host's name in its one spelling, with its port if it is no usual one; "" for what is none."""
    try:
        parts = urlsplit(f"//{text.strip()}")
        name, port = (parts.hostname or "").rstrip("."), parts.port
        name = name.encode("idna").decode()
    except ValueError:
        return ""
    return name if port in (None, 80, 443) else f"{name}:{port}"
