"""``names``: where they come from. The portal as it is now, with what it does not tell as known last; the store's
knowledge where it cannot be asked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from bitrix_sync.engine.identity import plain_host
from bitrix_sync.errors import PortalError, UserError
from bitrix_sync.model.facts import Directory
from bitrix_sync.model.known import directory_with
from bitrix_sync.portal import reading
from bitrix_sync.portal.client import Portal
from bitrix_sync.settings import Settings
from bitrix_sync.store import Store
from bitrix_sync.store.dialects import unmade
from bitrix_sync.words.language import Language
from bitrix_sync.words.texts import phrase


@dataclass(frozen=True, slots=True)
class Known:
    """A portal's names. ``at``: when the store learnt them (None: nobody noted it), or when the portal told them now
    (``asked``), on the portal's clocks. ``why``: why the portal did not tell them though it was asked."""

    directory: Directory
    host: str
    at: datetime | None
    asked: bool = False
    why: str = ""


def known_names(settings: Settings, language: Language, *, offline: bool) -> Known:
    """As the portal shows them, or as the store knows them where it does not answer or is not to be asked. UserError,
    or PortalError, when nobody knows any."""
    last = of_store(settings)
    if offline or (settings.portal is None and last is not None):
        if last is None:
            raise UserError(phrase(language, "names.unknown"))
        return last
    portal = Portal(settings.webhook_url.get_secret_value(), rate=settings.rate, ca_file=settings.ca_file)
    try:
        read = reading.directory(portal, language=language)
        if last is not None and last.host == plain_host(portal.host):
            read = directory_with(last.directory, read)
        return Known(read, portal.host, _there(portal.now(), read), asked=True)
    except PortalError as fault:
        if last is None:
            raise
        return Known(last.directory, last.host, last.at, why=str(fault))
    finally:
        portal.close()


def of_store(settings: Settings) -> Known | None:
    """What the store knows; None if it knows nothing, or is not there."""
    if unmade(settings.database_url):
        return None
    with Store(settings.database_url, portal=settings.number) as store:
        directory, host, at = store.flags.known, store.flags.portal_host or "", store.flags.known_at
    return None if directory is None else Known(directory, plain_host(host), at and _there(at, directory))


def _there(moment: datetime, directory: Directory) -> datetime:
    return moment.astimezone(timezone(timedelta(seconds=directory.utc_offset)))
