"""The settings of a portal of a fleet: those of the environment, overruled by its row in the table of portals."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

from bitrix_sync.engine.identity import plain_host
from bitrix_sync.errors import UserError
from bitrix_sync.fleet.seal import Seals
from bitrix_sync.model.rules_text import RulesText
from bitrix_sync.model.webhook import WebhookUrl
from bitrix_sync.settings import Settings, settings_of
from bitrix_sync.store.portals import PortalRow


def portal_settings(base: Settings, row: PortalRow, seals: Seals | None) -> Settings:
    """What a service of that portal is made from, its number, name and rules included. UserError when its secrets
    cannot be opened; without ``seals`` it has none. The page's password is not among them: nobody knows it."""
    rules = RulesText(f"{row.name}/rules.yaml", row.rules, row.rules_version)
    if seals is None:
        return base.of_portal(row.number, row.name, settings_of(row.settings), rules)
    webhook = seals.open(row.webhook, f"portal {row.name}: its webhook")
    if not webhook:
        raise UserError(f"portal {row.name}: has no webhook; give it one by `bitrix-sync portal apply`")
    given = {**row.settings, "BITRIX_WEBHOOK_URL": webhook, "BITRIX_APPLICATION_TOKEN": ",".join(tokens_of(row, seals))}
    return base.of_portal(row.number, row.name, settings_of(given), rules)


def tokens_of(row: PortalRow, seals: Seals) -> list[str]:
    """The tokens of a portal's events."""
    kept = seals.open(row.tokens, f"portal {row.name}: its tokens")
    return list(json.loads(kept)) if kept else []


def sealed_tokens(tokens: list[str], seals: Seals) -> bytes:
    """The same as they are kept."""
    return seals.seal(json.dumps(tokens)) if tokens else b""


def sealed_anew(row: PortalRow, seals: Seals) -> dict[str, Any]:
    """A portal's secrets sealed with the first key. UserError when none opens them."""
    webhook, tokens = seals.open(row.webhook, f"portal {row.name}: its webhook"), tokens_of(row, seals)
    marks = tuple(map(seals.mark, tokens))
    return {"webhook": seals.seal(webhook), "tokens": sealed_tokens(tokens, seals), "token_marks": marks}


def address_of(webhook: WebhookUrl) -> str:
    """Where a portal is, in its one spelling: scheme, host, port, path."""
    plain = plain_host(webhook.host)
    port = urlsplit(f"//{webhook.host}").port
    usual = {"https": 443, "http": 80}[webhook.scheme]
    odd = f":{port}" if port in (80, 443) and port != usual else ""
    return f"{webhook.scheme}://{plain}{odd}{webhook.folder}"
