"""``portal apply`` and ``portal add``: portals as folders and secrets say they shall be, made true in the table.

Everything is judged before anything is stored: settings, secrets, rules bound to the portal itself, whether an address
that has changed is still the same portal. One error, and nothing is applied.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from difflib import unified_diff
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from bitrix_sync.engine import identity
from bitrix_sync.engine.rulebook import need_bound, read_file
from bitrix_sync.errors import BitrixSyncError, UserError
from bitrix_sync.fleet.portal_settings import address_of, sealed_tokens, tokens_of
from bitrix_sync.fleet.seal import Seals, password_fits, password_kept
from bitrix_sync.model.webhook import WebhookUrl
from bitrix_sync.portal import reading
from bitrix_sync.portal.client import Portal
from bitrix_sync.rules.load import load
from bitrix_sync.settings import (
    DEFAULT_NAME,
    SECRET_OF_A_PORTAL,
    Settings,
    is_portal_name,
    read_portal_file,
    settings_of,
)
from bitrix_sync.store import Store
from bitrix_sync.store.portals import NameTaken, PortalRow, Portals
from bitrix_sync.words.language import named

RULES, SECRETS = "rules.yaml", ".env"
AT_ONCE = 8
"""Portals that are asked at the same time."""
WEBHOOK, TOKENS, PASSWORD = SECRET_OF_A_PORTAL


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a portal shall be. ``rules``: None leaves those it has. ``given``: settings by their names; what is not
    named stays, an empty one is taken away."""

    name: str
    rules: str | None = None
    given: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of a portal. ``values``: for its row, ``what`` of it is new, in words; ``settings``: as it will work
    with them; ``row``: as it was, None for a new one."""

    name: str
    row: PortalRow | None
    values: Mapping[str, Any] = field(repr=False)
    what: tuple[str, ...]
    settings: Settings = field(repr=False)

    @property
    def text(self) -> str:
        """The rules that it will have."""
        return str(self.values.get("rules", self.row.rules if self.row else ""))

    @property
    def diff(self) -> list[str]:
        """How the rules change, line by line; nothing for the first ones."""
        if self.row is None or not self.row.rules_version:
            return []
        lines = unified_diff(self.row.rules.splitlines(), self.text.splitlines(), lineterm="", n=1)
        return [line for line in lines if not line.startswith(("---", "+++"))]


@dataclass(frozen=True, slots=True)
class WhatBecame:
    """What came of it: names of portals by what became of them. ``missing``: the folder lacks them; ``pruned``: those
    of them that were disabled for it; ``off``: disabled ones that the folder has, which stay so."""

    added: tuple[Change, ...]
    changed: tuple[Change, ...]
    unchanged: tuple[str, ...]
    missing: tuple[str, ...]
    pruned: tuple[str, ...]
    off: tuple[str, ...]
    dry_run: bool

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        shown = [{"name": one.name, "what": list(one.what), "rules": one.diff} for one in self.changed]
        lists = {name: list(getattr(self, name)) for name in ("unchanged", "missing", "pruned", "off")}
        return {"added": [one.name for one in self.added], "changed": shown, **lists, "dry_run": self.dry_run}


# --- what is wanted --------------------------------------------------------------------------------------------------


def read_folders(place: Path, secrets: Path | None) -> list[Wanted]:
    """The portals of a directory: each folder with rules is one. Its secrets are in ``secrets/NAME.env``, else in its
    own ``.env``. UserError with a line for everything that is wrong."""
    for one in filter(None, (place, secrets)):
        if not one.is_dir():
            raise UserError(f"{one}: is no directory; name the one with a folder for each portal")
    found, wrong = [], []
    for folder in sorted(one for one in place.iterdir() if one.is_dir() and (one / RULES).exists()):
        try:
            found.append(_read_folder(folder, secrets))
        except UserError as fault:
            wrong.append(str(fault))
    if wrong:
        raise UserError("\n".join(wrong))
    if not found:
        raise UserError(
            f"{place}: there is no folder with rules.yaml in it; make one for each portal, as {place}/north"
        )
    return found


def _read_folder(folder: Path, secrets: Path | None) -> Wanted:
    need_name(folder.name)
    places = [secrets / f"{folder.name}.env"] if secrets is not None else []
    files = [file for file in (*places, folder / SECRETS) if file.exists()]
    if tracked := next(filter(_is_tracked, files), None):
        raise UserError(
            f"{tracked}: git keeps it, with the secrets in it; take it out (git rm --cached), give the portal new"
            " secrets, for these are known, and name it in .gitignore"
        )
    text, _ = read_file(folder / RULES)
    return Wanted(folder.name, text, read_portal_file(files[0]) if files else {})


def need_name(name: str) -> None:
    """Raise UserError unless a portal of the fleet may be called so."""
    if not is_portal_name(name):
        raise UserError(
            f"portal {name}: this is no name for a portal; take small Latin letters, digits and hyphens, at most 40"
        )
    if name == DEFAULT_NAME:
        raise UserError(f"portal {name}: this is the portal of BITRIX_WEBHOOK_URL; take another name")


def _is_tracked(file: Path) -> bool:
    """Whether git keeps the file; where there is a repository, but no git that says so, it is taken to."""
    if not any((parent / ".git").exists() for parent in file.resolve().parents):
        return False
    if (git := shutil.which("git")) is None:
        return True
    asked = [git, "-C", str(file.parent), "ls-files", "--error-unmatch", "--", file.name]
    return subprocess.run(asked, capture_output=True, check=False).returncode != 1  # noqa: S603


# --- the difference --------------------------------------------------------------------------------------------------


def difference(wanted: Wanted, row: PortalRow | None, base: Settings, seals: Seals) -> Change:
    """What a portal lacks of what is wanted. SettingError for settings that are none."""
    given = {name: text.strip() for name, text in wanted.given.items()}
    kept = {} if row is None else row.settings
    plain = {**kept, **{name: text for name, text in given.items() if name not in SECRET_OF_A_PORTAL}}
    plain = {name: text for name, text in plain.items() if text}
    webhook = given.get(WEBHOOK) or _opened(row, seals)
    if not webhook:
        raise UserError(f"portal {wanted.name}: has no webhook; write BITRIX_WEBHOOK_URL into {wanted.name}.env")
    try:
        whole = settings_of({**plain, WEBHOOK: webhook, TOKENS: given.get(TOKENS, "")})
    except UserError as fault:
        lines = str(fault).splitlines()
        raise UserError("\n".join(f"portal {wanted.name}: {line}" for line in lines)) from None
    values = {
        **({} if row is not None and plain == kept else {"settings": plain}),
        **_new_webhook(whole.webhook_url, row, seals),
        **(_new_tokens(whole.application_tokens, row, seals) if TOKENS in given else {}),
        **(_new_password(given[PASSWORD], row) if PASSWORD in given else {}),
        **({} if wanted.rules is None else _new_rules(wanted.rules, row)),
    }
    what = tuple(word for name, word in _WORDS.items() if name in values)
    settings = base.model_copy(update={name: getattr(whole, name) for name in whole.model_fields_set})
    return Change(wanted.name, row, values, what, settings)


_WORDS = {
    "address": "address",
    "webhook": "webhook",
    "tokens": "tokens",
    "page_password": "password",
    "settings": "settings",
    "rules": "rules",
}
"""What a column is called."""


def _opened(row: PortalRow | None, seals: Seals) -> str:
    return "" if row is None else seals.open(row.webhook, f"portal {row.name}: its webhook")


def _new_webhook(url: WebhookUrl, row: PortalRow | None, seals: Seals) -> dict[str, Any]:
    """One that nobody can open any more is another one, too."""
    with suppress(UserError):
        if row is not None and WebhookUrl(_opened(row, seals)) == url:
            return {}
    values = {"webhook": seals.seal(url.get_secret_value()), "webhook_user": url.user_id}
    return values if row is not None and row.address == address_of(url) else values | {"address": address_of(url)}


def _new_tokens(given: Iterable[SecretStr], row: PortalRow | None, seals: Seals) -> dict[str, Any]:
    tokens = [token.get_secret_value() for token in given]
    with suppress(UserError):
        if tokens == ([] if row is None else tokens_of(row, seals)):
            return {}
    return {"tokens": sealed_tokens(tokens, seals), "token_marks": tuple(map(seals.mark, tokens))}


def _new_password(given: str, row: PortalRow | None) -> dict[str, Any]:
    kept = row.page_password if row is not None else ""
    same = password_fits(given, kept) if given and kept else given == kept
    return {} if same else {"page_password": password_kept(given)}


def _new_rules(text: str, row: PortalRow | None) -> dict[str, Any]:
    """A portal that had none is served from now on."""
    if row is not None and row.rules == text:
        return {}
    return {"rules": text, "enabled": True} if row is not None and not row.rules_version else {"rules": text}


# --- judging ---------------------------------------------------------------------------------------------------------


def judge(change: Change) -> list[str]:
    """What speaks against a change, a line for each; asks the portal. Nothing for one that asks it nothing new."""
    if not change.values.keys() & {"rules", "webhook", "address"}:
        return []
    name, settings = change.name, change.settings
    try:
        with closing(
            Portal(settings.webhook_url.get_secret_value(), rate=settings.rate, ca_file=settings.ca_file)
        ) as portal:
            bindings: dict[str, str] = {}
            if change.row is not None:
                with Store(settings.database_url, portal=change.row.number) as store:
                    bindings = store.bindings()
                    if "address" in change.values and store.cursor() is not None:
                        standing = identity.look(store, portal)
                        if standing.foreign:
                            return [_foreign(name, standing)]
            directory = reading.directory(portal, language=named(change.text))
            if change.text:
                need_bound(load(change.text, f"{name}/{RULES}", directory=directory, bindings=bindings), directory)
    except BitrixSyncError as fault:
        lines = str(fault).splitlines()
        return [
            line if line.startswith((f"{name}/", f"portal {name}:")) else f"portal {name}: {line}" for line in lines
        ]
    return []


def _foreign(name: str, standing: identity.Standing) -> str:
    return (
        f"portal {name}: {standing.host} is another portal than {standing.before}, on which its data was made; give it"
        " a name of its own"
    )


# --- carrying out ----------------------------------------------------------------------------------------------------


def apply(
    wanted: Sequence[Wanted],
    portals: Portals,
    base: Settings,
    seals: Seals,
    *,
    by: str,
    dry_run: bool = False,
    prune: bool = False,
    whole: bool = True,
) -> WhatBecame:
    """Make the table what is wanted, all or nothing. ``whole``: there shall be no others; ``prune`` disables them.
    UserError with a line for everything that is wrong."""
    ever = {row.name: row for row in portals.changed_since(0)}
    rows = {name: row for name, row in ever.items() if not row.removed}
    changes = _proved(wanted, ever, rows, base, seals)
    became = _sorted(wanted, changes, rows, dry_run=dry_run, prune=prune, whole=whole)
    if not dry_run:
        _write(became, rows, portals, by=by)
    return became


def _proved(
    wanted: Sequence[Wanted],
    ever: Mapping[str, PortalRow],
    rows: Mapping[str, PortalRow],
    base: Settings,
    seals: Seals,
) -> list[Change]:
    """What is to be changed, each portal judged. ``ever``: rows of portals that there are or were; ``rows``: of those
    there are. UserError with a line for everything that is wrong."""
    changes, wrong = _differences(wanted, rows, base, seals)
    wrong += [str(NameTaken(one.name)) for one in wanted if one.name in ever.keys() - rows.keys()]
    wrong += _twice(changes, rows.values())
    if not wrong:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            wrong = [line for lines in pool.map(judge, changes) for line in lines]
    if wrong:
        raise UserError("\n".join(wrong))
    return changes


def _sorted(
    wanted: Sequence[Wanted],
    changes: Sequence[Change],
    rows: Mapping[str, PortalRow],
    *,
    dry_run: bool,
    prune: bool,
    whole: bool,
) -> WhatBecame:
    """Changes by what they are, and the portals of which nothing was said."""
    names = {one.name for one in wanted}
    known = [change for change in changes if change.row is not None]
    missing = sorted(name for name in rows if name not in names) if whole else []
    off = sorted(name for name in names & rows.keys() if not rows[name].enabled and rows[name].rules_version)
    return WhatBecame(
        tuple(change for change in changes if change.row is None),
        tuple(change for change in known if change.values),
        tuple(change.name for change in known if not change.values),
        tuple(missing),
        tuple(name for name in missing if prune and rows[name].enabled),
        tuple(off),
        dry_run,
    )


def _write(became: WhatBecame, rows: Mapping[str, PortalRow], portals: Portals, *, by: str) -> None:
    """All of it in one transaction."""
    new = [PortalRow(name=one.name, enabled=bool(one.text), **one.values) for one in became.added]
    other: dict[int, Mapping[str, Any]] = {one.row.number: one.values for one in became.changed if one.row is not None}
    other |= {rows[name].number: {"enabled": False} for name in became.pruned}
    portals.write(new, other, by=by)


def _differences(
    wanted: Iterable[Wanted], rows: Mapping[str, PortalRow], base: Settings, seals: Seals
) -> tuple[list[Change], list[str]]:
    def found(one: Wanted) -> Change | list[str]:
        try:
            return difference(one, rows.get(one.name), base, seals)
        except UserError as fault:
            return str(fault).splitlines()

    with ThreadPoolExecutor(AT_ONCE) as pool:  # passwords take their time
        results = list(pool.map(found, wanted))
    changes = [one for one in results if isinstance(one, Change)]
    return changes, [line for one in results if isinstance(one, list) for line in one]


def _twice(changes: Iterable[Change], rows: Iterable[PortalRow]) -> list[str]:
    """What says that two portals would have one address."""
    owners = {row.address: row.name for row in rows}
    new = {change.name: change.values["address"] for change in changes if "address" in change.values}
    owners = {address: name for address, name in owners.items() if name not in new}
    wrong = []
    for name, address in new.items():
        if (other := owners.setdefault(address, name)) != name:
            wrong.append(f"portal {name}: {address} is the address of portal {other} already; a portal is served once")
    return wrong


def take_back(row: PortalRow, portals: Portals, base: Settings, seals: Seals) -> tuple[int, int]:
    """The rules before the present ones, judged anew, in force again; the versions before and now. UserError if there
    are none, or the portal as it is now refuses them."""
    earlier = [one for one in portals.history(row.number) if one.version < row.rules_version]
    if not earlier:
        raise UserError(f"portal {row.name}: there are no rules before version {row.rules_version}")
    change = difference(Wanted(row.name, earlier[0].text), row, base, seals)
    if wrong := judge(replace(change, values={**change.values, "rules": earlier[0].text})):
        raise UserError("\n".join(wrong))
    portals.take_rules(row.number, earlier[0].version)
    return row.rules_version, earlier[0].version
