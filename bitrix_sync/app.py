"""The wiring: one service over one store and one portal, its doorbell, its turns, and what commands ask of it.

``Service`` is what the doors hold. Its worker is one thread; everything else rings the bell or reads the store. The
only place, with the doors, where the clock is read.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import structlog

from bitrix_sync import __version__
from bitrix_sync.clock import Clock
from bitrix_sync.commands import changes
from bitrix_sync.commands.runs import CommandRuns
from bitrix_sync.decisions import schedule
from bitrix_sync.engine import identity, recheck, retries, rule_alerts
from bitrix_sync.engine.passes import (
    PassReport,
    ServiceContext,
    carry_out,
    first_start,
    put_back,
    run_pass,
    tell_failures,
    tell_strangers,
    writes,
)
from bitrix_sync.engine.rulebook import Rulebook, known_since, language_of, need_bound, read_file
from bitrix_sync.engine.sender import Sender, make_good, next_moment, ready
from bitrix_sync.engine.watchers import Trouble, Watchers
from bitrix_sync.errors import (
    TAKEN_OVER,
    BitrixSyncError,
    ForeignPortal,
    LeaseLost,
    PortalError,
    PortalRefused,
    RulesError,
    StoreError,
    UserError,
)
from bitrix_sync.model import known
from bitrix_sync.model.actions import Kind
from bitrix_sync.model.facts import Directory
from bitrix_sync.model.operations import STUCK, State
from bitrix_sync.model.reading import WHOLE, Reading
from bitrix_sync.portal import reading
from bitrix_sync.portal.batch_size import QUICK
from bitrix_sync.portal.client import Portal
from bitrix_sync.portal.dialect.error_text import need_scopes
from bitrix_sync.portal.dialect.outcomes import NO_ACCESS, NO_SCOPE, WHOLE_PORTAL
from bitrix_sync.portal.dialect.writing import METHODS
from bitrix_sync.portal.paging import PAGE
from bitrix_sync.portal.rate_limiter import Stopped
from bitrix_sync.report import weeks
from bitrix_sync.rules.load import load
from bitrix_sync.rules.model import Rules
from bitrix_sync.settings import Settings
from bitrix_sync.store import Hold, QueueRest, Store
from bitrix_sync.sweeps import idle, run, state

log = structlog.get_logger(__name__)

NO_EVENTS = frozenset({"asked", "lease", "poll", "rules", "slots", "stop"})
"""Reasons that are not events."""
RULES_SECONDS = 5.0
"""How often one looks whether the rules file has changed."""
SLOTS_SECONDS = 20.0
"""How often, while a sweep goes on or operations wait, is looked what of sweeps and of the recheck comes next."""
REST_GAP = timedelta(seconds=5)
"""How often is noted how long what waits will take."""
TROUBLE_PAUSES = (2.0, 5.0, 10.0, 30.0, 60.0)
WAIT_PAUSE = 5.0
"""Seconds between two looks whether the process that works for the portal is gone."""
FRESH = 60.0
RENEW_SECONDS = 5.0
FINAL = WHOLE_PORTAL | {NO_SCOPE, NO_ACCESS, "redirect"}
"""Codes with which a portal refuses us for good: a very first start has nothing to wait for."""
WORKER, LEASE, WEB = "worker", "lease", "web"
"""The threads that all hangs on."""
LAST_WORD = 3.0
"""Seconds for watchers to be told of an end; the whole process has ten."""
FIRST_PATIENCE = 3.0
"""Seconds that the start waits for a portal that gives no answer, before the web side opens and says so."""
FIRST_ANSWER = 5.0
"""Seconds that it waits then for each answer: a portal that hangs must not keep the web side closed."""


def check_file(settings: Settings, *, restart: bool = False) -> None:
    """Refuse a rules file that cannot be right on any portal before anything is made, even the database's file. With
    ``restart`` only if there is no last good one to go on with."""
    _ = settings.webhook_url  # without one it is of no use
    try:
        text, _ = read_file(settings.rules)
        if refusals := load(text, settings.rules.name, directory=None, bindings={}).refusals():
            raise RulesError(refusals)
    except UserError:
        if not (restart and keeps_good_file(settings)):
            raise


def keeps_good_file(settings: Settings) -> bool:
    """Whether the store holds a file that was in force before."""
    try:
        with Store(settings.database_url, create=False, portal=settings.number) as store:
            return store.flags.rules_kept is not None
    except StoreError:
        return False


def utc_now() -> datetime:
    """The machine's clock."""
    return datetime.now(UTC)


def clock_shift(store: Store) -> timedelta:
    """How far the machine's clock was set since who works for the portal, or did last, began: to be added to what was
    noted by that one's time."""
    return store.clock_shift(Clock().base) or timedelta()


class HeldElsewhere(PortalError):
    """Another process works for this portal; there is nothing to do but wait until it is gone."""


TROUBLES: Mapping[type[BaseException], Trouble] = {
    HeldElsewhere: Trouble.ELSEWHERE,
    ForeignPortal: Trouble.FOREIGN,
    PortalRefused: Trouble.REFUSED,
    PortalError: Trouble.PORTAL,
    StoreError: Trouble.DATABASE,
    UserError: Trouble.RULES,
    BaseException: Trouble.UNEXPECTED,
}
"""What an exception means to watchers: the first of its kinds."""


@dataclass(slots=True)
class Tended:
    """A thread that all hangs on, and when it last gave a sign, by the monotonic clock; None: it gives none."""

    thread: threading.Thread
    sign: float | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the service does its work, and if not, why."""

    reason: str
    trouble: Trouble | None = None

    @property
    def ready(self) -> bool:
        """Nothing is in the way."""
        return self.trouble is None


class WakeSignal:
    """A doorbell: any thread rings with a reason, the worker takes all reasons at once."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._reasons: set[str] = set()

    def ring(self, reason: str) -> None:
        """Note a reason and wake the worker; a reason that waits already costs nothing."""
        with self._condition:
            self._reasons.add(reason)
            self._condition.notify_all()

    def has_reason(self, apart: frozenset[str] = frozenset()) -> bool:
        """True if a reason waits, one of ``apart`` aside."""
        with self._condition:
            return not self._reasons <= apart

    def take(self, timeout: float) -> set[str]:
        """All reasons, waiting up to ``timeout`` seconds for the first."""
        with self._condition:
            if not self._reasons and timeout > 0:
                self._condition.wait(timeout)
            reasons, self._reasons = self._reasons, set()
            return reasons


class Service:
    """One portal's service. ``clock``: its time, or what that is driven by; ``sleep`` waits for it (seconds).
    ``same_portal``: an administrator says that the portal is the one that the store was made on, though nothing shows
    it. ``patience``: seconds that no reading tries for longer."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Callable[[], datetime] | None = None,
        sleep: Callable[[float], object] | None = None,
        same_portal: bool = False,
        patience: float = float("inf"),
    ) -> None:
        self.settings = settings
        self.same_portal = same_portal
        self.time = clock if isinstance(clock, Clock) else Clock() if clock is None else Clock.driven(clock)
        """Our own time, by which all that rests is measured: nothing that sets a clock moves it."""
        self.clock = self.time.wall
        """The machine's clock, by which people and other processes are told."""
        self.stopping = threading.Event()
        self.failed = ""
        """Why the process must end though nobody asked for it."""
        self.tended: dict[str, Tended] = {}
        self.wake_signal = WakeSignal()
        self.store = Store(settings.database_url, portal=settings.number)
        self.portal = Portal(
            settings.webhook_url.get_secret_value(),
            rate=settings.rate,
            ca_file=settings.ca_file,
            clock=self.time.seconds,
            patience=patience,
            sleep=sleep,
            stop=self.stopping,
            on_request=self.store.look_away,
            on_answer=self.count_answer,
            fence=self.require_lease,
        )
        self.started = self.time()
        self.hold: Hold | None = None
        """The lease, if it is ours."""
        self.keeping = False
        """The lease is renewed in the background; else nobody can say that it was not renewed in time."""
        self.context: ServiceContext | None = None
        self.command_runs = CommandRuns(changes.steps)
        self.trouble, self.trouble_kind = "starting", Trouble.STARTING
        self.troubles = 0
        self.last_pass: datetime | None = None
        self.last = schedule.LastReadings(float(settings.poll_seconds))
        self.put_off: frozenset[str] = frozenset()
        """Events that wait while operations are being written."""
        self.wide = True
        """Nobody knows what was missed: the next reading takes in all."""
        self.wish = schedule.Wish()
        """When the next turn is wanted."""
        self.turn_until = float("inf")
        """When others have a turn: then writing goes on in the next one."""
        self.slot_delay = timedelta()
        """How much later than their moments sweeps begin."""
        self.look: tuple[datetime, datetime] | None = None
        """Between these moments of the portal's time nothing of sweeps and of the recheck is due."""
        self.rules_met: tuple[Rules, str] | None = None
        """The rules in force that were told of, and what was wrong with the file."""
        self.file_seen, self.store_seen = schedule.NEVER, 0
        """When the rules file was looked at, and what the store was when it was looked at for requests."""
        self.requests = 0
        self.proven: tuple[Directory, datetime] | None = None
        self.standing: identity.Standing | None = None
        self.member, self.heard = "", ""
        """Member id that the portal's events tell, and one that was told since and is not looked at yet."""
        self.pace_noted: datetime | None = None
        self.rest_noted: datetime | None = None
        self.clock_shown: float | None = None

    # --- doors ---------------------------------------------------------------------------------------------------

    def wake(self, reason: str) -> None:
        """An event came: read now instead of at the next poll."""
        if reason not in schedule.QUIET:
            self.wake_signal.ring(reason)

    def meet(self, domain: str, member: str) -> None:
        """A genuine event says which portal it comes from. One of another portal, whose token is known too, says
        nothing of ours."""
        if member and member != self.member and identity.is_of(self.portal, domain):
            self.heard = member

    def alive(self) -> Health:
        """Whether every thread lives and gives its signs: what a process cannot put right without a new start."""
        if self.failed:
            return Health(self.failed, Trouble.ENDED)
        for name, tended in list(self.tended.items()):
            if not tended.thread.is_alive():
                return Health(f"the thread '{name}' has ended", Trouble.THREAD)
            silent = 0.0 if tended.sign is None else time.monotonic() - tended.sign
            if silent > FRESH:
                return Health(f"the thread '{name}' has given no sign for {silent:.0f} s", Trouble.THREAD)
        return Health("ok")

    def health(self) -> Health:
        """Ready when every thread lives, the database answers, rules are loaded, nothing is in the way and the last
        pass is fresh."""
        if not (state := self.alive()).ready:
            return state
        if self.trouble:
            return Health(self.trouble, self.trouble_kind)
        try:
            self.store.cursor()
            stuck = self.store.stuck(self.time() - STUCK)
        except StoreError as fault:
            return Health(str(fault), Trouble.DATABASE)
        if stuck:
            return Health(f"being sent for more than {STUCK.seconds // 60} minutes: {stuck}", Trouble.STUCK)
        limit = 3 * self.settings.poll_seconds + FRESH
        age = (self.time() - self.last_pass).total_seconds() if self.last_pass else float("inf")
        if age > limit:
            return Health(f"the last pass is {age:.0f} s old, more than {limit:.0f} s", Trouble.STALE)
        return Health("ok")

    def numbers(self) -> Mapping[str, float]:
        """Gauges for /metrics."""
        now = self.time()
        counts = self.store.counts()
        budget = self.portal.rate_limiter.budget()
        rules = self.context.rulebook.rules if self.context else None
        return {
            "last_pass_age_seconds": (now - self.last_pass).total_seconds() if self.last_pass else -1.0,
            "requests_total": float(self.requests),
            "bucket_free": float(budget.free),
            "rules_refused": 1.0 if self.context and self.context.rulebook.error else 0.0,
            "ready": 1.0 if self.health().ready else 0.0,
            "paused": 1.0 if self.store.flags.paused else 0.0,
            "watch": 1.0 if self.context and self.context.rulebook.rules.safety.watch else 0.0,
            "database_bytes": float(self.store.size),
            "last_backup": backup.timestamp() if (backup := self.store.flags.last_backup) else 0.0,
            "stuck": float(self.store.stuck(now - STUCK)),
            "bad_rows": float(self.portal.memory.bad.causes().total()),
            **{f"operations_{state.value}": float(counts.get(state, 0)) for state in State},
            **state.numbers(self.store, self.portal.now()),
            **weeks.numbers(self.store, now=now),
            "idle": float(len(idle.idle_deals(self.store, rules, self.portal.now()))) if rules else 0.0,
        }

    def count_answer(self) -> None:
        """One more request went to the portal."""
        self.requests += 1

    # --- start and end -------------------------------------------------------------------------------------------

    def prove(self) -> None:
        """Before the service starts for the first time: a refused webhook, one that lacks a scope which nothing goes
        without, or a file that is wrong on this portal, ends it at once; a portal that is not the store's does at any
        start. One that cannot be reached, or answers what makes no sense, is tried again; so is all else at a later
        start, as while it runs."""
        self.restore_pace()
        try:
            with self.portal.in_haste(FIRST_ANSWER):
                directory = None
                if self.store.cursor() is not None:
                    self.identify(patience=FIRST_PATIENCE)  # its answer tells the portal's time, too
                if known_since(self.store, self.settings.rules, self.portal.now()) is None:
                    language = language_of(self.settings.rules)
                    directory = reading.directory(self.portal, language=language, patience=FIRST_PATIENCE)
                    need_scopes(directory.scopes, host=self.portal.host)
                self.identify(patience=FIRST_PATIENCE)
            if directory is not None:
                self.proven = directory, self.portal.now()
                self.prove_file(directory)
        except PortalRefused as refused:
            if self.store.cursor() is None and refused.code.lower() in FINAL:
                raise
            self.note_trouble(refused)
        except ForeignPortal as fault:
            self.keep_trouble(str(fault))
            raise
        except UserError:
            raise
        except Exception as fault:
            self.note_trouble(fault)

    def prove_file(self, directory: Directory) -> None:
        """Raises UserError for a file that is wrong on this portal, unless the last good one can go on."""
        if last := self.store.flags.known:
            directory = known.directory_with(last, directory)
        try:
            text, _ = read_file(self.settings.rules)
            loaded = load(text, self.settings.rules.name, directory=directory, bindings=self.store.bindings())
            need_bound(loaded, directory)
        except UserError:
            if self.store.flags.rules_kept is None:
                raise

    def identify(self, *, patience: float = identity.PATIENCE) -> identity.Standing:
        """Whether the portal is the one that the store was made on, asked once for each opening; ForeignPortal if it is
        another one."""
        if self.standing is None:
            self.standing = identity.look(self.store, self.portal, patience=patience)
        if not self.same_portal:
            identity.require(self.standing)
        return self.standing

    def identify_address(self) -> None:
        """For a command that leaves its work to the running service: this must work for the same portal."""
        known = self.store.flags.portal_host
        if known is not None and identity.plain_host(known) != identity.host_of(self.portal):
            self.identify()

    def restore_pace(self) -> None:
        """Take what an earlier process may have in the portal's bucket for sent, before anything more is."""
        if (kept := self.store.pace()) and kept.at != self.pace_noted:
            self.pace_noted = kept.at
            shift = self.store.clock_shift(self.time.base)
            idle = timedelta() if shift is None else self.time() - (kept.at + shift)
            self.portal.rate_limiter.restore(kept.level, idle.total_seconds(), final=kept.final)

    def take_lease(self) -> bool:
        """Become the one writer of this portal; False while another process is."""
        self.restore_pace()
        now = self.time()
        epoch = self.store.take_lease(holder_name(), os.getpid(), socket.gethostname(), now, base=self.time.base)
        self.hold = None if epoch is None else Hold(epoch, now.timestamp())
        self.renew_lease()  # the level is noted before the first request: who is killed soon leaves no older one
        return self.hold is not None

    def renew_lease(self) -> None:
        """Keep the lease, and with it the pacer's level for whoever comes after a crash."""
        hold, now = self.hold, self.time()
        if hold is None:
            return
        try:
            held = self.store.renew_lease(hold.epoch, now, self.portal.rate_limiter.level)
        except StoreError:
            return  # the worker meets the same trouble and tells of it; the next tick tries again
        self.pace_noted = now
        if self.keeping:
            hold.look(now.timestamp())
        hold.beaten = now.timestamp()
        if not held:
            hold.lost = TAKEN_OVER
        if hold.lost:
            self.wake_signal.ring("lease")

    def require_lease(self) -> None:
        """Raises LeaseLost when another process may work for the portal: asked before each request leaves."""
        if self.hold is not None:
            if self.keeping:
                self.hold.look(self.time.seconds())
            self.hold.require()

    def lose_lease(self, lost: LeaseLost) -> None:
        """Another process works for the portal, or may: what was under way is its business. It must be gone first."""
        log.error("waiting", problem=str(lost))
        self.hold = self.context = self.standing = None
        self.command_runs = CommandRuns(changes.steps)
        self.rest(schedule.TICK)
        self.trouble, self.trouble_kind = str(lost), Trouble.ELSEWHERE

    @contextlib.contextmanager
    def keeping_lease(self) -> Iterator[None]:
        """Renew the lease in the background, in a thread of its own: every other time while no request goes out."""
        done = threading.Event()

        def renew() -> None:
            seen, skips = -1, False
            while not done.wait(RENEW_SECONDS):
                skips = not skips and self.requests == seen
                if not skips:
                    seen = self.requests
                    self.renew_lease()
                self.give_sign(LEASE)

        self.renew_lease()  # a hold that was taken long ago begins with a beat of its own
        keeper = self.begin(LEASE, renew, done)
        self.keeping = True
        try:
            yield
        finally:
            self.keeping = False
            done.set()
            keeper.join()

    def open(self) -> ServiceContext:
        """Bind the rules, settle what an earlier process left, read the portal for the first time if need be."""
        assert self.hold is not None, "the lease comes first"
        self.store.settle_at_start(self.time())
        standing = self.identify()
        proven, self.proven = self.proven, None  # read anew if it cannot be used
        rulebook = Rulebook(self.settings.rules, self.portal, self.store, read=proven)
        sender = Sender(
            self.store,
            self.portal,
            self.hold.epoch,
            self_id=rulebook.company.self_id,
            settle=timedelta(seconds=self.settings.settle_seconds),
            clock=self.time,
        )
        context = ServiceContext(self.store, self.portal, rulebook, sender, started=self.portal.now())
        if self.store.cursor() is None:
            first_start(context)
        elif standing.contradicted:
            put_back(context, standing, sure=self.same_portal)
        identity.note(self.store, standing)
        self.standing, self.same_portal = None, False
        tell_failures(context)
        tell_strangers(context)
        rule_alerts.tell_of_rules(context)
        rule_alerts.tell_of_unread(context)
        rule_alerts.tell_of_deals(context)
        self.show_clock()
        self.context = context
        return context

    @contextlib.contextmanager
    def telling_watchers(self) -> Iterator[None]:
        """Tell those outside whom the settings name, in a thread of its own; the work does not hang on it."""
        heartbeat, alert = self.settings.heartbeat_url, self.settings.alert_url
        if heartbeat is None and alert is None:
            yield
            return
        watchers = Watchers(
            lambda: self.health().trouble,
            self.time.seconds,
            self.clock,
            heartbeat=None if heartbeat is None else heartbeat.get_secret_value(),
            alert=None if alert is None else alert.get_secret_value(),
            ca_file=self.settings.ca_file,
        )
        thread = threading.Thread(target=watchers.go_on, args=(self.stopping,), name="watchers", daemon=True)
        thread.start()
        try:
            yield
        finally:
            if self.stopping.is_set():
                thread.join(LAST_WORD)

    def stop(self) -> None:
        """Begin no new work; what is in flight ends or is left as unknown."""
        self.stopping.set()
        self.wake_signal.ring("stop")

    def fail(self, reason: str) -> None:
        """End the process though nobody asked for it, with exit code 3: whoever looks after it starts it anew."""
        try:
            log.critical("stopping", problem=reason, exc_info=sys.exc_info()[0] is not None)
        finally:  # where there is no memory left to say so, too
            self.failed = self.failed or reason
            self.stop()

    def mind(self, name: str, work: Callable[[], object], over: threading.Event | None = None) -> None:
        """Do what all hangs on, in the present thread, until we stop or it is ``over``. If it ends before that, however
        it does, the process ends: it must not look alive."""
        self.tended[name] = Tended(threading.current_thread())
        try:
            work()
        except BaseException as fault:
            self.fail(f"the thread '{name}' has ended ({type(fault).__name__}); the log says where")
        if not (self.stopping.is_set() or (over is not None and over.is_set())):
            self.fail(f"the thread '{name}' has ended")

    def begin(self, name: str, work: Callable[[], object], over: threading.Event | None = None) -> threading.Thread:
        """The same in a thread of its own."""
        thread = threading.Thread(target=self.mind, args=(name, work, over), name=name, daemon=True)
        thread.start()  # it is tended as soon as it runs: one not yet alive must not count as one that has ended
        return thread

    def give_sign(self, name: str) -> None:
        """A thread that turns in circles has come round."""
        if name in self.tended:
            self.tended[name].sign = time.monotonic()

    def close(self) -> None:
        """Give the lease back and close what is open."""
        if self.hold is not None:
            with contextlib.suppress(StoreError):  # whoever comes next finds that this process is gone
                self.store.drop_lease(self.hold.epoch, self.portal.rate_limiter.level, self.time())
            self.hold = None
        self.portal.close()
        self.store.close()

    # --- the worker ----------------------------------------------------------------------------------------------

    def work(self) -> None:
        """Take turns, each when it is wanted, until stopped."""
        log.info("started", version=__version__, portal=self.portal.host, database=self.store.name)
        with contextlib.suppress(Stopped):
            while not self.stopping.is_set():
                self.tend()
        log.info("ended", reason=self.failed or "asked for")

    def take_turns(self, seconds: float) -> float:
        """For whoever drives the service from outside, instead of ``work``: the turns that are wanted now, for so many
        seconds; after how many the next one is wanted."""
        self.turn_until = self.portal.clock() + seconds
        with contextlib.suppress(Stopped):
            while not self.stopping.is_set():
                left = self.until_turn()
                if left > schedule.TICK or self.portal.clock() + left >= self.turn_until:
                    break
                self.portal.rate_limiter.rest(left)
                self.tend()
        return self.until_turn()

    def until_turn(self) -> float:
        """Seconds until a turn is wanted."""
        at = schedule.NEVER if self.wake_signal.has_reason() else self.wish.at
        return max(0.0, max(at, self.wish.rest) - self.portal.clock())

    def tend(self) -> None:
        """Wait until a turn is wanted, and take it. Trouble with the portal is told once, and tried again with growing
        pauses."""
        try:
            reasons = self.await_turn()
            if not self.stopping.is_set():
                self.turn(reasons, self.wide)
                self.wide = False
        except LeaseLost as lost:
            self.lose_lease(lost)
        except Stopped:
            raise
        except Exception as fault:
            if isinstance(fault, ForeignPortal):
                self.context = self.standing = None  # nothing is done until the portal is looked at again
            self.suffer(fault)

    def await_turn(self) -> set[str]:
        """Why the next turn is wanted: somebody rang, a command asks, the rules file has changed; nothing when its time
        has come. Raises Stopped."""
        self.portal.rate_limiter.rest(self.wish.rest - self.portal.clock())
        while True:
            left = self.wish.at - self.portal.clock()
            reasons = self.wake_signal.take(max(0.0, min(left, schedule.TICK)))
            if reasons or left <= 0.0:
                return reasons
            if self.is_asked():
                return {"asked"}
            if self.is_file_changed():
                return {"rules"}

    def is_asked(self) -> bool:
        """Whether a command asks; the store is read only if anybody has written since the last look."""
        before, self.store_seen = self.store_seen, self.store.version()
        return before != self.store_seen and self.store.is_asked()

    def is_file_changed(self) -> bool:
        """Whether the rules file is another one, looked at every few seconds."""
        now = self.portal.clock()
        if self.context is None or now - self.file_seen < RULES_SECONDS:
            return False
        self.file_seen = now
        return self.context.rulebook.is_changed()

    def open_if_free(self) -> None:
        """Open as the one writer; HeldElsewhere while another process is."""
        if self.hold is None and not self.take_lease():
            holder = self.store.lease()
            raise HeldElsewhere(f"waiting: another process ({holder.holder if holder else '?'}) works for this portal")
        self.open()

    def look_at_member(self) -> None:
        """An event told another member id: is it still the portal that the store was made on?"""
        if not self.heard:
            return
        self.member, self.heard = self.heard, ""
        if identity.hear(self.store, self.member):
            standing = identity.look(self.store, self.portal)
            identity.require(standing)
            identity.note(self.store, standing)

    def turn(self, reasons: set[str], wide: bool) -> None:
        """What is due now, with as few transactions as may be: between two writes or requests all that is read of the
        store is one and the same commit."""
        with self.store.view():
            self.do_what_is_due(reasons, wide)

    def do_what_is_due(self, reasons: set[str], wide: bool) -> None:
        """A lease, the rules file, what commands ask, sweeps, a reading, or writing alone."""
        self.require_lease()
        if self.context is None:
            self.open_if_free()
            wide, self.look, self.rules_met = True, None, None
        context = self.context
        assert context is not None
        self.look_at_member()
        make_good(context.sender)
        rule_alerts.tell_of_stuck(context)
        if "rules" in reasons:
            context.rulebook.reload_if_changed()
        rules, new = (context.rulebook.rules, context.rulebook.error), self.are_rules_new(context)
        if new:
            rule_alerts.tell_of_rules(context)
        asked = self.command_runs.take(context, stopping=self.stopping.is_set)
        self.look_at_slots(context, anew=new or asked or "slots" in reasons)
        self.read_or_write(context, reasons, wide=wide)
        if wide or new:
            retries.after_new_rules(context)
        self.rules_met = rules
        self.command_runs.go_on(context)
        rule_alerts.tell_of_bad_rows(context)
        waiting = self.store.waiting()
        if waiting or self.command_runs.underway:
            self.look_soon()
        self.note_rest(context, waiting)
        self.end_trouble()
        self.wish = self.next_turn(context, waiting)

    def are_rules_new(self, context: ServiceContext) -> bool:
        """Whether other rules came into force, or the file was refused anew, since the last turn."""
        met, book = self.rules_met, context.rulebook
        return met is None or met[0] is not book.rules or met[1] != book.error

    def look_at_slots(self, context: ServiceContext, *, anew: bool) -> None:
        """Sweeps, the recheck and what was refused, if something of them is due by the portal's time, or ``anew``."""
        now = self.portal.now()
        if not anew and self.look is not None and self.look[0] <= now < self.look[1]:
            return
        run.run_due(context)
        recheck.run_due(context)
        tell_failures(context)
        self.look = now, min(filter(None, [recheck.next_run(context), run.next_slot(context)])) + self.slot_delay
        if run.goes_on(context) or recheck.resent_unlooked(context, self.time()):
            self.look_soon()

    def look_soon(self) -> None:
        """Things go on that a look at the slots may have to do with."""
        if self.look is not None:
            since, until = self.look
            self.look = since, min(until, self.portal.now() + timedelta(seconds=SLOTS_SECONDS))

    def next_turn(self, context: ServiceContext, waiting: Mapping[Kind, int]) -> schedule.Wish:
        """When there will be something to do, if nobody rings: a reading or a write, a slot, a step of a command."""
        now, writing = self.portal.clock(), bool(waiting) and writes(context)
        things = self.waiting(frozenset(), writes=writing)
        soon = now + schedule.TICK
        wanted = schedule.due(now, self.last, things)
        if wanted is not None and not wanted.rest:
            return schedule.Wish(now)
        if self.command_runs.underway or things.writable or self.are_rules_new(context):
            return schedule.Wish(soon)
        if wanted is not None and wanted.rest:
            return schedule.Wish(now + wanted.rest, now + wanted.rest)
        moments = [self.last.at + self.last.poll]
        if self.look is not None:
            moments.append(now + (self.look[1] - self.portal.now()).total_seconds())
        if writing and (moment := next_moment(context.sender, waiting)):
            moments.append(max(soon, moment.timestamp()))
        return schedule.Wish(min(moments))

    def note_rest(self, context: ServiceContext, waiting: Mapping[Kind, int]) -> None:
        """For ``status``: how much waits, and until when it will take at the portal's present pace."""
        now, rest = self.time(), None
        if waiting and self.rest_noted is not None and now - self.rest_noted < REST_GAP:
            return
        self.rest_noted = now
        if waiting:
            calls: Counter[str] = Counter()
            for kind, count in waiting.items():
                calls[METHODS[kind]] += count
            span = context.sender.pace.takes(calls, self.portal.rate_limiter)
            until = self.portal.now() + span if span is not None and writes(context) else None
            rest = QueueRest(sum(waiting.values()), until)
        if rest != self.store.flags.rest:
            self.store.flags.rest = rest

    def waiting(self, reasons: Set[str], *, wide: bool = False, writes: bool = True) -> schedule.Waiting:
        """What there is to be read for, and to be written, if anything (``writes``)."""
        operations = writes and bool(self.store.ready(self.time(), 1))
        writable = operations and self.context is not None and bool(ready(self.context.sender, 1))
        return schedule.Waiting(
            events=frozenset(reasons - NO_EVENTS) | self.put_off,
            polled="poll" in reasons,
            wide=wide,
            operations=operations,
            writable=writable,
            batch=self.batch_seconds(),
        )

    def batch_seconds(self) -> float:
        """How long the next batch of writes will be under way."""
        return min(QUICK, 2 * self.portal.last_seconds + schedule.TICK)

    def read_or_write(self, context: ServiceContext, reasons: Set[str], *, wide: bool) -> None:
        """The reading that is due, if there is one; else what is ready is written. A flood of events costs a reading
        now and then: until the next may be made, writing goes on, and they are put off."""
        waiting = self.waiting(reasons, wide=wide)
        wanted = schedule.due(self.portal.clock(), self.last, waiting)
        if wanted is None or wanted.rest is not None:
            carry_out(context, interrupted=self.must_pause)
        if wanted is not None and wanted.rest is not None:
            wanted = schedule.due(self.portal.clock(), self.last, self.waiting(reasons, wide=wide)) or wanted
        if wanted is None or wanted.rest:
            self.put_off = waiting.events
        else:
            self.read(context, wanted)

    def read(self, context: ServiceContext, wanted: Reading = WHOLE) -> PassReport:
        """One pass, and its account."""
        self.last, self.put_off = replace(self.last, at=self.portal.clock()), frozenset()
        if context.rulebook.freshen(self.portal.now()):
            rule_alerts.tell_of_unread(context)
        report = run_pass(context, wanted, interrupted=self.must_pause)
        self.last = self.last.after(
            wanted,
            pages=(report.visits + report.deals + report.tasks) / PAGE,
            wide_pages=self.portal.memory.pages_of(reading.WIDE),
            fruitful=bool(report.recorded or report.visits),
        )
        if rule_alerts.tell_of_deals(context):
            recheck.meet_deals(context)
        context.rulebook.show()
        self.last_pass = self.time()
        self.note_pass()
        self.show_clock()
        if report.recorded or report.visits:
            log.info(
                "pass",
                visits=report.visits,
                deals=report.deals,
                operations=report.recorded,
                held=report.held,
                done=len(report.applied.done),
                failed=len(report.applied.failed),
            )
        return report

    def note_pass(self) -> None:
        """For other processes: when the last pass ended."""
        self.store.flags.last_pass = self.clock()

    def must_pause(self) -> bool:
        """Asked between two batches: is something else due?"""
        events = self.wake_signal.has_reason(schedule.ECHOES)
        read = schedule.interrupts(self.portal.clock(), self.last, events=events, batch=self.batch_seconds())
        over = self.portal.clock() >= self.turn_until
        return self.stopping.is_set() or read or over or self.store.is_asked()

    def show_clock(self) -> None:
        """For reports, which ask no portal: how far its clock is ahead of the machine's, in whole minutes."""
        ahead = 60.0 * round((self.portal.now() - self.clock()).total_seconds() / 60)
        if ahead != self.clock_shown:
            self.store.flags.clock_offset = self.clock_shown = ahead

    def suffer(self, fault: Exception) -> None:
        """Note trouble, tell it once, and let it rest. What nobody expected is told with its trace, and does not end
        us."""
        self.note_trouble(fault)
        self.command_runs.give_up(self.store, self.trouble)
        pauses = (WAIT_PAUSE,) if isinstance(fault, HeldElsewhere) else TROUBLE_PAUSES
        pause = pauses[min(self.troubles, len(pauses) - 1)]
        self.troubles += 1
        self.rest(pause)

    def rest(self, seconds: float) -> None:
        """No turn before so much time has passed; the next one takes in all."""
        until = self.portal.clock() + seconds
        self.wide, self.wish = True, schedule.Wish(until, until)

    def note_trouble(self, fault: Exception) -> None:
        """Keep in mind what is in the way, and tell it if it is new."""
        expected = isinstance(fault, BitrixSyncError | OSError)
        text = str(fault) if expected else f"unexpected error ({type(fault).__name__}); the log says where"
        if text != self.trouble:
            told = None if expected else fault
            log.error("cannot work", problem=text, refused=isinstance(fault, PortalRefused), exc_info=told)
            self.trouble_kind = next(trouble for kind, trouble in TROUBLES.items() if isinstance(fault, kind))
            self.trouble = text  # first, for to keep it may take long where the database is the trouble
            if not isinstance(fault, HeldElsewhere):  # then the store's trouble is the other's
                self.keep_trouble(text)

    def end_trouble(self) -> None:
        """All is well (again)."""
        if self.trouble:
            log.info("working")
            self.keep_trouble("")
        self.trouble, self.troubles = "", 0

    def keep_trouble(self, text: str) -> None:
        """For ``status`` in another process; the trouble may be the database itself."""
        with contextlib.suppress(StoreError):
            self.store.flags.trouble = text


def holder_name() -> str:
    """This process, for people who ask who holds the lease."""
    return f"{socket.gethostname()}:{os.getpid()}"
