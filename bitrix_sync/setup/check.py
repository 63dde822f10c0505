"""``check``: is everything in place? One line each, with the cure; warnings alone are no reason to stop.

Looks at the settings' file, the rules, the database, the webhook with its scopes and rights, clocks, and events.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any, Literal

from bitrix_sync.engine import identity
from bitrix_sync.engine.rulebook import language_of, read_file
from bitrix_sync.errors import BitrixSyncError, StoreError, UserError
from bitrix_sync.model import known
from bitrix_sync.model.facts import PEOPLE_SCOPES, Directory, Unread
from bitrix_sync.model.worktime import moved_days_known_until
from bitrix_sync.portal import activities, reading
from bitrix_sync.portal.client import Portal
from bitrix_sync.rules.load import load
from bitrix_sync.rules.model import Rules
from bitrix_sync.settings import Settings
from bitrix_sync.store import Store
from bitrix_sync.words.texts import phrase, reason_text

AUTUMN = 10
"""The month from which on next year's calendar is worth a word."""
CLOCK_WARNING = 30.0
"""Seconds between the portal's clock and ours that are worth a word."""
NEEDED = {
    "crm": "deals, stages and their history cannot be read",
    "task": "tasks cannot be made",
    "department": "heads cannot be found",
    "im": "nobody can be told anything",
}


PAUSED = "paused: nothing is written to the portal until `bitrix-sync resume`"
WATCHED = "trial mode (watch: true): nothing is written to the portal"


@dataclass(frozen=True, slots=True)
class Line:
    """One thing looked at: ok, warning or error, what it is about, and what to do."""

    level: Literal["ok", "warning", "error"]
    about: str
    text: str
    part: str = ""
    """Of the portal, which the text is about."""

    def said(self, language: str) -> str:
        """The line for people."""
        level, about, longest = (phrase(language, f"check.{word}") for word in (self.level, self.about, "warning"))
        text = reason_text(language, self.text)
        if self.part:
            text = phrase(language, "status.unread", part=self.part, why=self.text)
        return f"{level:<{len(longest) + 1}}{about}: {text}"

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)


def examine(settings: Settings, *, offline: bool, now: datetime | None = None) -> list[Line]:
    """Every line, now; nothing is written anywhere but the database's own file when it does not exist yet."""
    lines = [Line("ok", "settings", f"portal {settings.portal or '(not set)'}, rules {settings.rules}")]
    lines += database(settings)
    directory: Directory | None = None
    if not offline:
        secret = settings.webhook_url.get_secret_value()
        with closing(Portal(secret, rate=settings.rate, ca_file=settings.ca_file)) as portal:
            found, directory = webhook(settings, portal)
            lines += found
            lines += the_stores_portal(settings, portal) if directory is not None else []
    if directory is not None and known.nowhere(directory):  # told above
        directory = None
    found, rules = rules_file(settings, directory, offline=offline, now=now)
    lines += [*found, *(planned(settings) if rules is not None and rules.asks_for_steps else ())]
    lines += events(settings)
    return lines


def database(settings: Settings) -> list[Line]:
    """Can the store be opened and written, and is anything written to the portal at all?"""
    try:
        with Store(settings.database_url, portal=settings.number) as store:
            began = "has been read before" if store.cursor() else "the first start will read the portal"
            modes = {PAUSED: store.flags.paused, WATCHED: store.flags.watch}
            lines = [Line("ok", "database", f"{store.name}, {began}"), *on_network(store.on_network)]
            return [*lines, *(Line("warning", "mode", text) for text, so in modes.items() if so)]
    except StoreError as fault:
        return [Line("error", "database", str(fault))]


def on_network(kind: str) -> list[Line]:
    """Does the database lie where SQLite can lose data?"""
    text = f"lies on a network disk ({kind}), where SQLite can lose data; put it on a disk of this machine"
    return [Line("warning", "database", f"{text}, or use PostgreSQL")] if kind else []


def the_stores_portal(settings: Settings, portal: Portal) -> list[Line]:
    """Is the portal the one that the database was made on?"""
    try:
        with Store(settings.database_url, portal=settings.number) as store:
            standing = identity.look(store, portal)
    except StoreError:
        return []  # said above
    except BitrixSyncError as fault:
        return [Line("warning", "portal", f"not compared with the database: {fault}")]
    if standing.foreign:
        return [Line("error", "portal", standing.refusal())]
    if standing.put_back:
        text = f"was put back from a backup: {len(standing.contradicted)} rows of its history are not those known"
        return [Line("warning", "portal", f"{text}; the next start goes on from what it holds now")]
    if standing.moved:
        return [Line("ok", "portal", f"is the database's under a new address, {standing.before} before")]
    known = f"{len(standing.true)} known rows of its history are there" if standing.begun else "is not known yet"
    return [Line("ok", "portal", f"{standing.host}, {known}")]


def webhook(settings: Settings, portal: Portal) -> tuple[list[Line], Directory | None]:
    """Does the webhook answer, as whom, with which scopes and rights, and at what time?"""
    try:
        directory = reading.directory(portal, language=language_of(settings.rules))
        deals = not directory.funnels or reading.shows_deals(portal)
        lacking = reading.lacking(portal)
    except BitrixSyncError as fault:
        return [Line("error", "webhook", str(fault))], None
    name = directory.company.name(directory.company.self_id)
    lines = [
        Line("ok", "webhook", f"works for {name} (user {directory.company.self_id})"),
        *scopes(directory.scopes),
        rights(directory),
        *readings(directory),
        *(Line("error", "readings", end.why) for end in lacking),
        *([] if deals else [Line("warning", "rights", no_deals(name))]),
        clocks(portal.offset.total_seconds()),
    ]
    return lines, directory


def scopes(granted: Collection[str]) -> list[Line]:
    """May the webhook do what the service needs?"""
    if not granted:
        return [Line("warning", "scopes", "the portal does not tell them; what is missing will be refused")]
    missing = [f"{scope} ({why})" for scope, why in NEEDED.items() if scope not in granted]
    if PEOPLE_SCOPES.isdisjoint(granted):
        missing.append("user_basic (people cannot be read)")
    lines = [Line("ok", "scopes", ", ".join(sorted(granted)))]
    if missing:
        lines = [Line("error", "scopes", f"missing: {'; '.join(missing)}. Tick them in the webhook's form")]
    if "calendar" not in granted:
        lines.append(Line("warning", "scopes", "no calendar: absences and the portal's working hours cannot be read"))
    return lines


def rights(directory: Directory) -> Line:
    """Whose deals and tasks does it see?"""
    if directory.admin:
        return Line("ok", "rights", "administrator")
    return Line(
        "warning",
        "rights",
        "not an administrator: foreign tasks cannot be moved, `control` cannot work; "
        "deals that this user may not read are not seen",
    )


def readings(directory: Directory) -> list[Line]:
    """What could not be read, and what the portal does not have; a scope that is missing is told by itself."""
    unread = {**directory.unread, **directory.company.unread}
    lacking = {**directory.without, **directory.company.without}
    return [
        *(Line("error", "readings", end.why, part) for part, end in unread.items()),
        *(
            Line("warning", "readings", end.why, part)
            for part, end in lacking.items()
            if "lacks the scope" not in end.why
        ),
    ]


def clocks(drift: float) -> Line:
    """Does the portal's clock go as ours?"""
    if abs(drift) <= CLOCK_WARNING:
        return Line("ok", "clocks", f"{drift:+.1f} s apart")
    return Line(
        "warning",
        "clocks",
        f"the portal's clock is {drift:+.0f} s from ours; the portal's time is used. Set this machine's clock (NTP)",
    )


def no_deals(name: str) -> str:
    """What it means that the portal shows no deal in progress to this user."""
    return (
        f"the portal shows no deal in progress; if there are any, let {name} read deals "
        "(CRM > Settings > Access permissions)"
    )


def rules_file(
    settings: Settings, directory: Directory | None, *, offline: bool, now: datetime | None
) -> tuple[list[Line], Rules | None]:
    """Is the file right, by itself and on this portal? And the rules, if it is."""
    try:
        text, _ = read_file(settings.rules)
    except UserError as fault:
        return [Line("error", "rules", str(fault)), *kept_rules(settings)], None
    loaded = load(text, settings.rules.name, directory=directory, bindings=bindings(settings), now=now)
    lines = [Line("error", "rules", refusal) for refusal in loaded.refusals()]
    lines += [
        Line("error" if problem.grave else "warning", "rules", problem.said(loaded.language))
        for problem in loaded.warnings
    ]
    if loaded.errors:
        return [*lines, *kept_rules(settings)], None
    if loaded.rules is not None:
        days = loaded.rules.calendar
        lines.append(Line("ok", "rules", f"{len(loaded.rules.by_id)} rules for {len(loaded.rules.policies)} stages"))
        lines += calendar(days.country, days.local(now).date()) if now is not None else []
        return lines, loaded.rules
    what = "the file is right by itself" if offline else "not compared with the portal"
    return [
        *lines,
        Line("ok" if offline else "warning", "rules", f"{what}; names of the portal were not looked up"),
    ], None


def planned(settings: Settings) -> list[Line]:
    """Can it be read what is planned with deals? Where it cannot, the file's rules for that rest."""
    with closing(
        Portal(settings.webhook_url.get_secret_value(), rate=settings.rate, ca_file=settings.ca_file)
    ) as portal:
        try:
            end = activities.unreadable(portal)
        except BitrixSyncError as fault:
            end = Unread("", str(fault))
    if end is None:
        return []
    return [Line("warning", "readings", f"no deal is told to have no next step, no task starts with one: {end.why}")]


def calendar(country: str | None, today: date) -> list[Line]:
    """How long the government's moved days are known: told from October on, and whenever they are not."""
    known = moved_days_known_until(country) if country else None
    wanted = today.year + (today.month >= AUTUMN)
    if known is None or (known >= wanted and today.month < AUTUMN):
        return []
    if known >= wanted:
        return [
            Line(
                "ok", "calendar", f"public holidays and moved working days of {country} are known to the end of {known}"
            )
        ]
    return [
        Line(
            "warning",
            "calendar",
            f"the moved working days of {country} are known to the end of {known} only, later years are counted "
            "without them; install a newer version once they are published, or write `days_off` and `working_days`",
        )
    ]


def kept_rules(settings: Settings) -> list[Line]:
    """Of a file that cannot be put in force: what is in force instead."""
    try:
        with Store(settings.database_url, portal=settings.number) as store:
            kept = store.flags.rules_kept
    except StoreError:
        return []
    since = f"{kept.since:%Y-%m-%d %H:%M} UTC" if kept else ""
    return [Line("warning", "rules", f"the last good file, in force since {since}, goes on until then")] if kept else []


def bindings(settings: Settings) -> dict[str, str]:
    """What the file's names have meant so far: after a rename the service goes on with a warning; so does check."""
    try:
        with Store(settings.database_url, portal=settings.number) as store:
            return store.bindings()
    except StoreError:
        return {}


def events(settings: Settings) -> list[Line]:
    """Will events wake us?"""
    if settings.application_tokens:
        below = f"/{settings.name}" if settings.is_of_fleet else ""
        where = f"http://{settings.listen}/webhooks/bitrix24{below}"
        return [Line("ok", "events", f"taken at {where}; the portal must reach it by its public address")]
    return [
        Line(
            "warning",
            "events",
            f"no BITRIX_APPLICATION_TOKEN: the portal is read every {settings.poll_seconds:g} s. "
            "That is enough; events only make it quicker",
        )
    ]
