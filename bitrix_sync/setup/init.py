"""The first rules.yaml: the portal's own funnels, stages, calendar and people, one suggested task a stage, and comments
that teach the language while they are read.

``compose`` makes the text from a directory, ``start`` reads the portal and writes the file beside its schema; a file
that is there already is never touched, but for the example that came with the project, which makes room. What is
written has been loaded against the same portal first.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, date, time
from functools import partial
from pathlib import Path
from typing import Any

from bitrix_sync.errors import BitrixSyncError, PortalError, UserError
from bitrix_sync.model import known
from bitrix_sync.model.facts import PROGRESS, Directory, Funnel, PortalCalendar, Stage, User
from bitrix_sync.model.worktime import Calendar, build_calendar
from bitrix_sync.portal import reading
from bitrix_sync.portal.client import Portal
from bitrix_sync.rules.load import load
from bitrix_sync.rules.names import NameIndex
from bitrix_sync.rules.scalars import DAYS
from bitrix_sync.rules.schema import json_schema
from bitrix_sync.rules.spelling import comment_safe, key_of, quoted
from bitrix_sync.settings import Settings
from bitrix_sync.setup.suggestions import Suggestion, language_of, slug, suggest, unique
from bitrix_sync.words.language import FALL_BACK, FIRST_RULES, Language
from bitrix_sync.words.texts import phrase

DOTENV = Path(".env")
NEXT = {"check": "check", "preview": "preview --all", "run": "run", "backfill": "backfill"}
"""What follows ``init``: the names of the sentences and the commands."""
NEXT_IN_FLEET = {"apply": "portal apply ."}
SCHEMA = "rules.schema.json"
COUNTRIES = {"BY": ("Europe/Minsk",), "KZ": ("Asia/Almaty", "Asia/Qyzylorda", "Asia/Aqtobe")}
RUSSIAN_ZONES = frozenset(
    f"Europe/{city}"
    for city in ("Kaliningrad", "Moscow", "Kirov", "Volgograd", "Astrakhan", "Saratov", "Ulyanovsk", "Samara")
) | frozenset(
    f"Asia/{city}"
    for city in (
        *("Yekaterinburg", "Omsk", "Novosibirsk", "Barnaul", "Tomsk", "Novokuznetsk", "Krasnoyarsk", "Irkutsk"),
        *("Chita", "Yakutsk", "Khandyga", "Vladivostok", "Ust-Nera", "Magadan", "Sakhalin", "Srednekolymsk"),
        *("Kamchatka", "Anadyr"),
    )
)
"""Where a zone tells the country, whose public holidays and moved working days are then taken."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A file that is not written yet. ``fill_in``: what only an administrator can say, one sentence each."""

    text: str
    language: Language
    funnels: int
    stages: int
    fill_in: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Started:
    """What ``init`` wrote. ``warnings`` are those of loading it; ``example``: where the example was put that was there
    before, None if none was; ``then``: what comes next."""

    rules: Path
    schema: Path
    draft: Draft
    warnings: tuple[str, ...]
    example: Path | None = None
    then: Mapping[str, str] = field(default_factory=lambda: NEXT)

    def account(self) -> list[str]:
        """What was done and what is left to do, line by line."""
        draft, tell = self.draft, partial(phrase, self.draft.language)
        return [
            tell("init.written", rules=self.rules, schema=self.schema, stages=draft.stages, funnels=draft.funnels),
            *([tell("init.aside", example=self.example)] if self.example else []),
            "",
            tell("init.fill_in"),
            *(f"  - {line}" for line in draft.fill_in),
            *(f"  - {line}" for line in self.warnings),
            "",
            tell("init.then"),
            *(f"  {f'bitrix-sync {words}':<28}{tell(f'init.then.{name}')}" for name, words in self.then.items()),
        ]

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "rules": str(self.rules),
            "schema": str(self.schema),
            "language": self.draft.language,
            "funnels": self.draft.funnels,
            "stages": self.draft.stages,
            "fill_in": list(self.draft.fill_in),
            "warnings": list(self.warnings),
            "example": str(self.example) if self.example else None,
        }


def write_settings(language: Language, path: Path = DOTENV) -> str:
    """The file of settings for a folder that has none, for nobody else to read; what was done and what is to do."""
    ours = Path(__file__).with_name("env")
    own, fallen_back = ours / f"{language}.env", ours / f"{FALL_BACK}.env"
    text = (own if own.exists() else fallen_back).read_text(encoding="utf-8")
    try:
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as fault:
        raise UserError(
            f"{path}: cannot be written ({fault.strerror}); run `bitrix-sync init` in a folder of yours"
        ) from None
    return phrase(language, "init.settings", path=path.resolve())


def start(settings: Settings) -> Started:
    """Read the portal, compose the file, prove it, write it. UserError when the file is there, or cannot be written;
    BitrixSyncError when what was composed does not load (a mistake of ours)."""
    path = settings.rules_path
    refuse_existing(path)
    if settings.is_of_fleet:
        path.parent.mkdir(exist_ok=True)
    secret = settings.webhook_url.get_secret_value()
    with closing(Portal(secret, rate=settings.rate, ca_file=settings.ca_file)) as portal:
        directory = reading.directory(portal)
        refuse_half(directory)
        draft = compose(directory, host=portal.host, today=portal.now().date())
    loaded = load(draft.text, path.name, directory=directory)
    if loaded.errors:
        problems = "\n".join(loaded.refusals())
        raise BitrixSyncError(
            f"the suggested {path.name} would not be right, nothing was written; please report this:\n{problems}"
        )
    schema = path.with_name(SCHEMA)
    aside = put_aside(path) if is_example(path) else None
    write(path, draft.text)
    replace_schema(schema, loaded.language)
    unread = {**directory.unread, **directory.company.unread}
    warnings = (
        *(phrase(draft.language, "init.unread", part=part, why=end.why) for part, end in unread.items()),
        *loaded.remarks(),
    )
    return Started(path, schema, draft, warnings, aside, NEXT_IN_FLEET if settings.is_of_fleet else NEXT)


def refuse_half(directory: Directory) -> None:
    """PortalError when what the file is made of could not be read: half a file would be taken for the whole one."""
    if parts := {part: end for part, end in known.nowhere(directory).items() if end.code != known.EMPTY}:
        problems = "\n".join(dict.fromkeys(f"  {end.why}" for end in parts.values()))
        raise PortalError(f"no file was written, for the portal could not be read whole; try again:\n{problems}")


def example() -> str:
    """The rules that came with the project: what ``rules.yaml`` is until ``init`` has made others."""
    return Path(__file__).parent.with_name("rules").joinpath("example.yaml").read_text(encoding="utf-8")


def is_example(path: Path) -> bool:
    """True for the example that came with the project, if nobody has touched it."""
    try:
        return not path.is_symlink() and path.read_text(encoding="utf-8") == example()
    except (OSError, UnicodeDecodeError):
        return False


def put_aside(path: Path) -> Path:
    """The example makes room; where it is now. One that was put there before is the same, or somebody's work."""
    aside = path.with_name(f"{path.stem}.example{path.suffix}")
    try:
        if aside.exists():
            path.unlink()
        else:
            path.rename(aside)
    except OSError as fault:
        raise UserError(f"{path}: cannot be renamed to {aside.name} ({fault.strerror}); move it away") from None
    return aside


def refuse_existing(path: Path) -> None:
    """UserError when something is there: a file of rules is somebody's work."""
    if (path.exists() or path.is_symlink()) and not is_example(path):
        raise UserError(
            f"{path} is there already and stays as it is. Edit it and run `bitrix-sync check`; or, to begin anew, move "
            "it away, or name another file: BITRIX_RULES=new.yaml bitrix-sync init"
        )


def write(path: Path, text: str) -> None:
    """A new file; never over an old one."""
    try:
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError:
        refuse_existing(path)
    except OSError as fault:
        raise UserError(
            f"{path}: cannot be written ({fault.strerror}); create its directory, or change BITRIX_RULES"
        ) from None


def replace_schema(path: Path, language: str) -> None:
    """The schema for editors, in the file's language: made by the program, so an older one is replaced."""
    text = json.dumps(json_schema(language), ensure_ascii=False, indent=2) + "\n"
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as fault:
        raise UserError(
            f"{path}: cannot be written ({fault.strerror}); rules are written, make it by `bitrix-sync schema`"
        ) from None


# --- the text --------------------------------------------------------------------------------------------------------


def compose(directory: Directory, *, host: str, today: date) -> Draft:
    """The file for a portal. ``today``: the year in which the calendar's days are written out, and the one after."""
    funnels = [(funnel, open_stages(funnel)) for funnel in directory.funnels]
    funnels = [(funnel, stages) for funnel, stages in funnels if stages]
    if not funnels:
        raise UserError(
            "the webhook's user sees no funnel with a stage in progress: give the user a CRM role that reads deals "
            "(CRM > Settings > Access permissions), then run `bitrix-sync init` again"
        )
    language = language_of(directory.funnels)
    words = _words(language)
    fill_in: list[str] = []
    lines = [
        f"# yaml-language-server: $schema=./{SCHEMA}",
        *_comment(words["head"].format(host=host)),
        "version: 1",
        f"language: {language}",
        *_zone(directory, language, fill_in),
        "",
        *_people(directory, language, fill_in),
        "",
        *_calendar(directory, language, today, fill_in),
        "",
        *_comment(words["funnels"]),
        "funnels:",
        *_funnels(funnels, directory.funnels, language),
        "",
        *_comment(words["overdue"], raw=True),
        "",
        *_comment(words["safety"]),
        "safety:",
        "  max_new_tasks: 1000",
        "  max_moves: 1000",
        f"  watch: false{words['watch']}",
    ]
    fill_in += [phrase(language, "init.fill.tasks"), phrase(language, "init.fill.overdue")]
    stages = sum(len(found) for _, found in funnels)
    return Draft("\n".join(lines) + "\n", language, len(funnels), stages, tuple(fill_in))


def open_stages(funnel: Funnel) -> list[Stage]:
    """The stages in progress, in the portal's order."""
    return [stage for stage in funnel.stages if stage.semantic == PROGRESS]


def _words(language: str) -> Mapping[str, str]:
    """Comments in this language."""
    return {**FIRST_RULES[FALL_BACK], **FIRST_RULES.get(language, {})}


def _zone(directory: Directory, language: Language, fill_in: list[str]) -> Iterator[str]:
    words = _words(language)
    if directory.time_zone:
        yield f"timezone: {directory.time_zone}{words['zone']}"
        return
    offset = f"{'-' if directory.utc_offset < 0 else '+'}{abs(directory.utc_offset) // 3600:02d}:" + (
        f"{abs(directory.utc_offset) // 60 % 60:02d}"
    )
    fill_in.append(phrase(language, "init.fill.zone", offset=offset))
    yield f"#timezone: Europe/Moscow{words['no_zone'].format(offset=offset)}"


def _people(directory: Directory, language: Language, fill_in: list[str]) -> Iterator[str]:
    words, person = _words(language), responsible_for_all(directory)
    if person is None:
        fill_in.append(phrase(language, "init.fill.nobody"))
        yield from _comment(words["admins"])
        yield "#admins: [1]"
        yield from _comment(words["fallback"])
        yield "#fallback_owner: 1"
    else:
        name = _named(person)
        fill_in.append(phrase(language, "init.fill.people", person=f"{name} ({person.id})"))
        yield from _comment(words["admins"])
        yield f"admins: [{person.id}]  # {name}"
        yield from _comment(words["fallback"])
        yield f"fallback_owner: {person.id}  # {name}"
    yield from _comment(words["supervisor"])
    yield "supervisor: head"
    yield from _comment(words["on_close"])
    yield "on_close: keep"
    yield ""
    yield from _comment(words["room"])
    yield "room: learned"
    yield from _comment(words["away"])
    yield "away: substitute"
    yield from _comment(words["next_step"])
    yield "next_step: 1 workday"


def responsible_for_all(directory: Directory) -> User | None:
    """Who hears of trouble at first: the webhook's own user, else the head of the company, else the first employee."""
    company = directory.company
    tops = [one.head_id for one in company.departments.values() if one.parent_id not in company.departments]
    candidates = [company.self_id, *tops, *sorted(company.users)]
    return next((company.users[one] for one in candidates if company.active(one)), None)


# --- the calendar ----------------------------------------------------------------------------------------------------


def _calendar(directory: Directory, language: Language, today: date, fill_in: list[str]) -> Iterator[str]:
    words, portal = _words(language), directory.calendar
    if portal is None or len(portal.days_off) >= 7 or portal.start_minute >= portal.end_minute:
        fill_in.append(phrase(language, "init.fill.calendar"))
        portal = PortalCalendar(540, 1080, frozenset({5, 6}))
        yield from _comment(words["no_calendar"])
    else:
        yield from _comment(words["calendar"])
    yield "calendar:"
    yield f'  hours: "{_clock(portal.start_minute)}-{_clock(min(portal.end_minute, 24 * 60 - 1))}"'
    weekdays = [day for day in range(7) if day not in portal.days_off]
    yield f"  workdays: {_weekdays(weekdays)}"
    country = country_of(directory.time_zone)
    if country:
        yield f"  country: {country}{words['country']}"
    week = {day: [(time(9), time(18))] for day in weekdays}
    usual = build_calendar(zone=UTC, week=week, country=country or None)
    yield from _exceptions(portal, usual, language, today.year, moved_days_known=bool(country))


def _exceptions(
    portal: PortalCalendar, usual: Calendar, language: Language, year: int, *, moved_days_known: bool
) -> Iterator[str]:
    """The portal's days off and working days, this year's and the next one's, that are not as usual anyway. Working
    days that a country denies are left out: the portal's days have no year, the country knows those it moved."""
    years = (year, year + 1)
    working = [day for day in _days(portal.working_days, years) if not usual.is_working(day)]
    off = [day for day in _days(portal.holidays, years) if usual.is_working(day) and day not in working]
    for key, days in (("days_off", off), ("working_days", [] if moved_days_known else working)):
        if days:
            listed = ", ".join(day.isoformat() for day in days)
            yield f"  {key}: [{listed}]{_words(language)[key].format(years=f'{years[0]}-{years[1]}')}"
        else:
            yield f"  #{key}: [{year}-12-31]"


def country_of(zone: str) -> str:
    """The country whose holidays a company in this zone keeps, "" where the zone does not tell."""
    if zone in RUSSIAN_ZONES:
        return "RU"
    return next((country for country, zones in COUNTRIES.items() if zone in zones), "")


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"


def _weekdays(days: Sequence[int]) -> str:
    if len(days) > 1 and list(days) == list(range(days[0], days[-1] + 1)):
        return f"{DAYS[days[0]]}-{DAYS[days[-1]]}"
    return f"[{', '.join(DAYS[day] for day in days)}]"


def _days(pairs: Collection[tuple[int, int]], years: Iterable[int]) -> list[date]:
    found = []
    for year in years:
        for day, month in pairs:
            try:
                found.append(date(year, month, day))
            except ValueError:  # 29 February
                continue
    return sorted(found)


# --- funnels ---------------------------------------------------------------------------------------------------------


def _funnels(
    chosen: Sequence[tuple[Funnel, Sequence[Stage]]], every: Sequence[Funnel], language: Language
) -> Iterator[str]:
    taken: set[str] = set()
    names = NameIndex("funnel", "", {str(funnel.id): funnel.name for funnel in every})
    for place, (funnel, stages) in enumerate(chosen):
        key, note = key_of(str(funnel.id), names)
        yield f"  {key}:{note}"
        stage_names = NameIndex("stage", "", {stage.id: stage.name for stage in funnel.stages})
        for stage in stages:
            key, note = key_of(stage.id, stage_names)
            found = suggest(stage.name, language, funnel.name)
            rule_id = unique(found.id, (slug(funnel.name) or f"funnel-{funnel.id}") if place else "", taken)
            first = not taken
            taken.add(rule_id)
            yield f"    {key}:{note}"
            yield from _task(rule_id, found, language, taught=first)


def _task(rule_id: str, found: Suggestion, language: Language, *, taught: bool) -> Iterator[str]:
    words = _words(language)
    yield f"      - id: {rule_id}{words['id'] if taught else ''}"
    yield f"        title: {quoted(found.title)}{words['title'] if taught else ''}"
    yield f"        deadline: {found.deadline}{words['deadline'] if taught else ''}"
    if found.checklist:
        yield f"        checklist: [{', '.join(quoted(one) for one in found.checklist)}]"
    if taught:
        yield from (f"        {line}".rstrip() for line in _comment(words["task"], raw=True))


_YAML_LINE = re.compile(r" *(?:[a-z_]+:(?: |$)|# )")


def _comment(text: str, *, raw: bool = False) -> list[str]:
    """Lines behind a sign of comment; ``raw``: YAML among them stands right behind it, right if it goes."""
    lines = text.strip("\n").split("\n")
    return [f"#{line}" if raw and _YAML_LINE.match(line) else f"# {line}".rstrip() for line in lines]


def _named(user: User) -> str:
    return comment_safe(user.name or user.email or f"#{user.id}")
