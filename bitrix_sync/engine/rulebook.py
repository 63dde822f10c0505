"""The rules in force: the file, bound to the portal's names, loaded again when it changes.

A file with errors never replaces a good one that is running; its error is kept for ``status``, the page and the log. A
start is no worse than running on: the last good file is in the store, with what it was bound to.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import structlog

from bitrix_sync.decisions.plan import admins_of
from bitrix_sync.errors import PortalError, PortalRefused, RulesError, UserError
from bitrix_sync.model import known
from bitrix_sync.model.facts import Absence, Absent, Company, Directory, Unread
from bitrix_sync.model.items import Item
from bitrix_sync.model.rules_text import RulesText
from bitrix_sync.portal import reading
from bitrix_sync.portal.client import Portal
from bitrix_sync.portal.dialect.outcomes import NO_ACCESS, NO_METHOD, NO_SCOPE
from bitrix_sync.report import snapshot
from bitrix_sync.rules import words
from bitrix_sync.rules.load import Loaded, load
from bitrix_sync.rules.model import FromDepartment, OneOf, Person, Rules
from bitrix_sync.store import Store
from bitrix_sync.words.language import DEFAULT, Language, named
from bitrix_sync.words.texts import person_text

log = structlog.get_logger(__name__)

COMPANY_KEEPS = timedelta(minutes=1)
"""A pass that judges deals never uses people older than this."""
DIRECTORY_KEEPS = timedelta(hours=1)
NO_STAGE = "no_stage"
"""Code of a deal in a stage that the portal does not name."""
ABSENCES_AHEAD = timedelta(days=90)
Stamp = tuple[int, int, int]


class Rulebook:
    """Holds the bound rules and the directory that they were bound to."""

    def __init__(
        self,
        path: Path | RulesText,
        portal: Portal,
        store: Store,
        *,
        read: tuple[Directory, datetime] | None = None,
        anew: bool = False,
    ) -> None:
        """``read``: the directory, if it was read already, and when; used if that was just now. Else the one in the
        store is, if it is no older than it would be in a service that runs on: then nothing is asked, unless ``anew``
        says so."""
        self.path, self.portal, self.store = path, portal, store
        now = portal.now()
        self.kept = store.flags.known
        self.fruitless = 0
        fresh = read if read is not None and timedelta() <= now - read[1] < COMPANY_KEEPS else None
        known_at = known_since(store, path, now) if fresh is None and not anew else None
        if known_at is not None and self.kept is not None and self.kept.names:
            self.directory: Directory = self.kept
            portal.memory.names.update(self.kept.names)
            portal.memory.semantics.update({stage.id: stage.semantic for stage in self.kept.stages})
            self.read_at = self.company_at = known_at
        else:
            self.directory = self.learn(fresh[0] if fresh else None, self.kept)
            self.read_at = self.company_at = fresh[1] if fresh else portal.now()
        self.absences_read = False
        self.nameless: set[tuple[int, str]] = set()
        """Stages, with their funnels, that the last reading did not name though deals are in them."""
        self.absences_noted: tuple[Absence, ...] | None = None
        self.error = ""
        self.warnings: list[str] = []
        self.stamp: Stamp | None = None
        self.source, self.loaded = "", self.read_at
        self.shown: tuple[Directory, datetime] | None = None
        try:
            self.rules: Rules = self.load_now()
        except (RulesError, UserError, PortalError) as fault:
            self.rules = self.go_on_with_kept(fault)

    @property
    def company(self) -> Company:
        """The people as last read."""
        return self.directory.company

    def person(self, user_id: int) -> str:
        """A person's name; who does not work here any more is marked."""
        return person_text(self.rules.language, self.company, user_id)

    @property
    def admins(self) -> tuple[int, ...]:
        """Who hears of trouble."""
        return admins_of(self.rules, self.company)

    @property
    def picks_by_load(self) -> bool:
        """True when some rule picks the least loaded owner, so that loads must be known."""
        return any(_by_load(rule.owner) for rule in self.rules.by_id.values())

    def unknown_deal(self, deal_id: int, end: Absent | Unread) -> str:
        """What to look at when a deal is not there, or could not be read."""
        if isinstance(end, Unread) and end.code != NO_ACCESS:
            return f"deal {deal_id}: it could not be read ({end.why})"
        who = self.company.name(self.company.self_id)
        return (
            f"deal {deal_id}: the portal does not show it. Is the number right (it is in the deal's address), is the "
            f"deal deleted, and may the webhook's user ({who}) read it? Rights: CRM > Settings > Access permissions"
        )

    def load_now(self) -> Rules:
        """Read and bind the file; RulesError with every problem, UserError when it cannot be read."""
        text, self.stamp = read_file(self.path)
        name, bindings = str(self.path.name), self.store.bindings()
        loaded = load(text, name, directory=self.directory, bindings=bindings, now=self.portal.now())
        rules = need_bound(loaded, self.directory)
        self.accept(loaded)
        if text != self.source:
            self.source, self.loaded = text, self.portal.now()
        self.store.flags.rules_kept = known.KeptRules(text, self.loaded, self.directory)
        self.show()
        return rules

    def go_on_with_kept(self, fault: RulesError | UserError | PortalError) -> Rules:
        """At a start: the file cannot be put in force, or not be compared with the portal now, so the last good one is,
        as if there had been no start. Raises the fault if there is none."""
        kept = self.store.flags.rules_kept
        if kept is None:
            raise fault
        bindings = self.store.bindings()
        for directory in (self.directory, kept.directory):  # as it is, else as it was: something may have vanished
            loaded = load(kept.text, self.path.name, directory=directory, bindings=bindings, now=self.portal.now())
            if loaded.rules is not None:
                self.accept(loaded)
                self.source, self.loaded = kept.text, kept.since
                self.refuse(fault, since=kept.since.isoformat(timespec="seconds"))
                self.show()
                return loaded.rules
        raise fault

    def accept(self, loaded: Loaded) -> None:
        """Put a good file in force: its new bindings are kept, its new rules begin to act from now on."""
        assert loaded.rules is not None
        self.rules = loaded.rules
        self.store.bind(loaded.bindings)
        if self.store.cursor() is not None:  # before the first reading of the portal there is no moment to count from
            self.store.note_rules(list(loaded.rules.by_id), self.portal.now())
        self.store.flags.rules_digest = loaded.rules.digest
        self.store.flags.watch = loaded.rules.safety.watch
        if not loaded.rules.safety.watch:
            self.store.forget_trial()
        self.store.flags.rules_error = ""
        self.store.flags.rules_off = {rule.id: rule.disabled for rule in loaded.rules.by_id.values() if rule.disabled}
        before = set(self.warnings)
        self.error, self.warnings = "", loaded.remarks()
        for warning in self.warnings:
            if warning not in before:
                log.warning("rules", problem=warning)

    def show(self) -> None:
        """Keep the names and the rules where reports find them without asking the portal (see ``snapshot``)."""
        if (self.directory, self.loaded) == self.shown:
            return
        self.store.flags.snapshot = snapshot.pack(
            self.directory,
            self.rules,
            portal=self.portal.address,
            sheets=words.sheets(self.rules, self.directory),
            frame=words.frame(self.rules, self.directory),
            source=self.source,
            warnings=tuple(self.warnings),
            loaded=self.loaded,
        )
        self.shown = (self.directory, self.loaded)

    def is_changed(self) -> bool:
        """Whether the file is another one than that which was read last: one look at its directory."""
        try:
            return file_stamp(self.path) != self.stamp
        except UserError:
            return self.stamp is not None

    def reload_if_changed(self) -> bool:
        """Load the file again if it changed on disk; True if new rules are in force."""
        try:
            if file_stamp(self.path) == self.stamp:
                return False
            _, stamp = read_file(self.path)
        except UserError as fault:
            self.stamp = None
            return self.refuse(fault)
        self.refresh_directory()
        self.stamp = stamp
        return self.bind_anew()

    def bind_anew(self) -> bool:
        """Bind the file as it is to the directory as it is; True if these rules are in force."""
        try:
            self.load_now()
        except (RulesError, UserError) as fault:
            return self.refuse(fault)
        except PortalError as fault:
            log.warning("rules cannot be compared with the portal; those in force go on", problem=str(fault))
            return False
        log.info("rules loaded", rules=len(self.rules.by_id), digest=self.rules.digest)
        return True

    def refuse(self, fault: RulesError | UserError | PortalError, **more: str) -> bool:
        """The file cannot be put in force: the last good one goes on. False."""
        if str(fault) != self.error:
            log.error("rules file refused; the last good one stays in force", problems=str(fault), **more)
            self.error = str(fault)
            self.store.flags.rules_error = self.error
        return False

    def refresh_directory(self) -> None:
        """Read names and people of the portal again."""
        self.directory = self.learn(None, self.directory)
        self.read_at = self.company_at = self.portal.now()
        self.absences_read = False

    def learn(self, read: Directory | None, last: Directory | None) -> Directory:
        """A reading of the portal (``read``: it was made already) with what was known ``last`` in the place of what it
        did not bring; kept for the next start. Raises PortalError when nothing was ever known of the employees or the
        funnels: then every task would go astray."""
        read = self.read_directory(last) if read is None else read
        learnt = known.directory_with(last, read) if last is not None else read
        parts = {part: end.why for part, end in self.unread_parts(learnt).items()}
        self.fruitless = self.fruitless + 1 if parts else 0
        if not learnt.company.users:
            raise refusal(learnt.company.unread["users"])
        end = learnt.unread.get("funnels")
        if not learnt.funnels and end is not None and end.code != known.EMPTY:
            raise refusal(end)
        for part, why in parts.items():
            log.warning("could not be read; what was known last stays", part=part, problem=why)
        if parts != self.store.flags.unread:
            self.store.flags.unread = parts
        if not parts:
            self.store.flags.known_at = self.portal.now()
        self.keep(learnt)
        return learnt

    def read_directory(self, last: Directory | None) -> Directory:
        """Names and people as the portal shows them; those known ``last``, all of it unread, if it does not answer."""
        try:
            read = reading.directory(self.portal, language=language_of(self.path))
            return reading.with_left_out(self.portal, read, last) if last is not None else read
        except PortalRefused:
            raise
        except PortalError as fault:
            if last is None:
                raise
            return known.all_unread(last, Unread("no_answer", str(fault)))

    def keep(self, learnt: Directory) -> None:
        """What is known now is there after a restart too."""
        if learnt != self.kept:
            self.store.flags.known = self.kept = learnt

    def unread_stage(self, funnel_id: int, stage_id: str) -> Unread | None:
        """Why nothing can be said of the deals in a stage: the stages of its funnel could not be read, or do not name
        it, and it was never known."""
        if self.knows_stage(funnel_id, stage_id):
            return None
        shown, funnel = self.directory.unread, Item.of(funnel_id)
        why = f"portal {self.portal.host}: names no stage {stage_id} in a funnel {funnel}; was it deleted?"
        parts = (f"stages:{funnel_id}", "funnels", f"funnels:{funnel.kind.name}")
        return next((shown[part] for part in parts if part in shown), Unread(NO_STAGE, why))

    def knows_stage(self, funnel_id: int, stage_id: str) -> bool:
        """Whether the portal named such a stage when it was read last."""
        return any(
            stage.id == stage_id for one in self.directory.funnels if one.id == funnel_id for stage in one.stages
        )

    def meet_stages(self, met: Iterable[tuple[int, str]]) -> None:
        """A stage that a deal is in and that is newer than what was read: the portal is read anew, once for each."""
        new = {stage for stage in met if not self.knows_stage(*stage)} - self.nameless
        if new:
            self.nameless |= new
            self.read_anew()

    def unread_parts(self, directory: Directory | None = None) -> dict[str, Unread]:
        """What the last reading did not bring, by part."""
        shown = directory or self.directory
        return {**shown.unread, **shown.company.unread}

    def freshen(self, now: datetime) -> bool:
        """Once an hour: bind the same file to the portal as it is now, so that what vanished is noticed; sooner when
        the last reading did not bring everything."""
        again = COMPANY_KEEPS * 2 ** min(self.fruitless, 6) if self.fruitless else DIRECTORY_KEEPS
        if timedelta() <= now - self.read_at < min(again, DIRECTORY_KEEPS):  # less: the clock was put back
            return False
        self.nameless.clear()
        self.read_anew()
        return True

    def read_anew(self) -> None:
        """Bind the same file to the portal as it is now."""
        self.refresh_directory()
        self.bind_anew()

    def freshen_company(self, now: datetime) -> None:
        """Before deals are judged: people (and absences, if the file asks for them) not older than a minute."""
        if not self.company_is_old(now):
            return
        try:
            company = reading.company(self.portal)
            if away := self.away(now):
                ids = [user.id for user in (company.users or self.company.users).values() if user.active]
                company = known.with_absences(company, reading.absences(self.portal, ids, *away))
        except PortalRefused:
            raise
        except PortalError as fault:
            company = known.company_unread(self.company, Unread("no_answer", str(fault)))
        self.take_company(company, now)

    def company_is_old(self, now: datetime) -> bool:
        """True when people must be read before deals are judged."""
        return not timedelta() <= now - self.company_at < COMPANY_KEEPS or (
            self.rules.uses_absences and not self.absences_read
        )

    def away(self, now: datetime) -> tuple[datetime, datetime] | None:
        """Between which moments absences are read; None: the file asks for none."""
        return (now, now + ABSENCES_AHEAD) if self.rules.uses_absences else None

    def take_company(self, company: Company, now: datetime) -> None:
        """People that were read just now, with absences if the file asks for them."""
        self.directory = replace(self.directory, company=known.company_with(self.company, company))
        self.company_at, self.absences_read = now, self.rules.uses_absences
        if self.absences_read and self.company.absences != self.absences_noted:
            self.store.note_absences(self.company.absences, now)
            self.absences_noted = self.company.absences
        if company.unread:
            log.warning("people could not be read; those known last stay", parts=sorted(company.unread))


def known_since(store: Store, path: Path | RulesText, now: datetime) -> datetime | None:
    """When the directory in the store was read (the portal's time), if it will do for a start: all of it, within the
    hour, for the file as it is. None: the portal is to be read."""
    kept, known_at = store.flags.rules_kept, store.flags.known_at
    if kept is None or known_at is None or store.flags.unread or not timedelta() <= now - known_at < DIRECTORY_KEEPS:
        return None
    try:
        return known_at if read_file(path)[0] == kept.text else None
    except UserError:
        return None


def _by_load(person: Person) -> bool:
    match person:
        case FromDepartment(pick=pick, otherwise=other):
            return pick == "least_loaded" or (other is not None and _by_load(other))
        case OneOf(persons=persons, pick=pick, otherwise=other):
            parts = (*persons, *((other,) if other else ()))
            return pick == "least_loaded" or any(_by_load(part) for part in parts)
        case _:
            other = getattr(person, "otherwise", None)
            return other is not None and _by_load(other)


def refusal(end: Unread) -> PortalError:
    """Why there can be no work at all. What an administrator must put right is a refusal."""
    return PortalRefused(end.code, end.why) if end.code in (known.EMPTY, NO_SCOPE, NO_METHOD) else PortalError(end.why)


def need_bound(loaded: Loaded, directory: Directory) -> Rules:
    """The rules. Raises RulesError for a file with errors; PortalError for one that could only not be compared with the
    portal, or of which rules would be off for that reason alone."""
    off = loaded.rules is not None and any(rule.disabled for rule in loaded.rules.by_id.values())
    if (loaded.rules is None or off) and (parts := known.nowhere(directory)):
        raise PortalError("; ".join(dict.fromkeys(end.why for end in parts.values())))
    if loaded.rules is None:
        raise RulesError(loaded.refusals())
    return loaded.rules


def read_file(path: Path | RulesText) -> tuple[str, Stamp]:
    """The file's text and its stamp; UserError when it is not there or not text."""
    try:
        stamp = file_stamp(path)
        text = _bytes_of(path).decode("utf-8-sig")
        if "\0" not in text:  # as UTF-16 has them
            return text, stamp
    except UnicodeDecodeError:
        pass
    except OSError as fault:
        raise _unread(path, fault) from None
    raise UserError(f"{path}: not UTF-8 text; save the file in UTF-8 (in Notepad: Save as, Encoding)")


def language_of(path: Path | RulesText) -> Language:
    """The language that the file names, even one that cannot be loaded."""
    try:
        return named(_bytes_of(path).replace(b"\0", b"").decode("utf-8-sig", "replace"))
    except OSError:
        return DEFAULT


def file_stamp(path: Path | RulesText) -> Stamp:
    """What changes when the file does: time of change, size, and its number on the disk, if another took its place."""
    if isinstance(path, RulesText):
        if not path.version:
            raise UserError(f"{path.name}: the portal has no rules; give it some by `bitrix-sync portal apply`")
        return path.version, len(path.text), 0
    try:
        stat = path.stat()
    except OSError as fault:
        raise _unread(path, fault) from None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _bytes_of(path: Path | RulesText) -> bytes:
    return path.text.encode() if isinstance(path, RulesText) else path.read_bytes()


def _unread(path: Path | RulesText, fault: OSError) -> UserError:
    return UserError(f"{path}: cannot be read ({fault.strerror}); run `bitrix-sync init` to make one")
