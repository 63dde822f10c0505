"""One run: a portal with its people and faults, and one service after another that is killed.

The people work in chapters; between two of them the portal's clock is turned to the next sweep. A service that lives is
doomed: to a named point of the program, or to a moment. After the last death one may live until all is done.
"""

from __future__ import annotations

import random
import shutil
import signal
import socket
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from bitrix_sandbox.http.server import Sandbox
from bitrix_sandbox.state.clock import Clock
from tests.chaos import portals, troubles
from tests.chaos.fates import ENDS, ERRORS
from tests.chaos.lives import Lives
from tests.chaos.office import BOSS, CODE, RULES, TOKEN, build
from tests.chaos.people import People
from tests.chaos.verdict import Verdict, judge, read, told
from tests.world.company import MONDAY, MOSCOW
from tests.world.process import ask

WIDE_RATE, TIGHT_RATE = (60, 200), (12, 30)
"""Requests a second and bucket: far from what the service needs, and less than it would like."""
SETTLE = 1.0
LATE_ROW, LATE_RUN = 2.0, 0.6
"""Seconds after which a history row shows, and a command that nobody waits for any more is run (below SETTLE)."""
CHANCES = {
    "too_many": 0.006,
    "page_500": 0.004,
    "page_502": 0.006,
    "page_502+": 0.01,
    "page_504+": 0.01,
    "cut_before": 0.01,
    "cut_after": 0.012,
    "half_answer": 0.01,
    "broken_json": 0.01,
    "batch_cut": 0.012,
    "late_commit": 0.01,
    "late_run": 0.006,
    "hang": 0.006,
    "token_expired": 0.003,
}
INSIDE = {"empty_result": 0.01, "internal+": 0.005, "internal": 0.005}
"""Faults of single commands inside a batch."""
ADDS = ("tasks.task.add", "task.checklistitem.add", "task.commentitem.add", "im.message.add")
STORE_POINTS = (
    *("take_lease", "settle_at_start", "set_flag", "note_rules", "bind", "record", "mark_sending", "finish"),
    *("renew_lease", "claim_sweep"),
)
POINTS = (
    "send:before",
    "send:after",
    *(f"{name}:{when}-commit" for name in STORE_POINTS for when in ("before", "after")),
)
"""Where a service may be doomed to end."""
THREADS = ("start", "worker", "lease", "web")
"""Points that the first thread passes at the start, and each at its turns."""
ROAD = (
    "send:before",
    "send:after",
    *(
        f"{name}:{when}-commit"
        for name in ("record", "mark_sending", "finish", "set_flag", "renew_lease")
        for when in ("before", "after")
    ),
    "worker",
    "lease",
)
"""Those that a life comes by often: where it meets errors."""
ENDED, INTERRUPTED = 3, 130
"""Exit codes of a process that lost a thread, and of one whose first thread met Ctrl-C while it started."""
END = 60.0
"""Seconds within which such a process has to end, and one that is asked to: far more than it takes."""
FIRST_POINTS = tuple(point for point in POINTS if point.startswith(("bind:", "note_rules:")))
SWEEP_POINTS = tuple(point for point in POINTS if point.startswith("claim_sweep:"))
"""Those that are passed at the first start and in a sweep alone."""
FREQUENT = {"send:before": 3, "send:after": 3, "record": 4, "mark_sending": 3, "finish": 3, "set_flag": 4}
PATIENCE, TURNS, HOPELESS = 60.0, 300, 600.0
"""What is waited for takes no longer than so many seconds, nor on a busy machine than so many requests; whatever the
machine does, no longer than so many seconds."""
LIFE, LONG_LIFE = 20, 30.0
"""A life has to meet its fate within so many requests, or so many seconds."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of everything: deeds of people, kills, and chapters, each with a sweep at its end."""

    deeds: int
    kills: int
    chapters: int


@dataclass(slots=True)
class Outcome:
    """What a run was."""

    seed: int
    seconds: float = 0.0
    kills: int = 0
    ends: int = 0
    """How often the process ended by itself because a thread did."""
    injected: Counter[str] = field(default_factory=Counter)
    """By kind, what it met."""
    moves: int = 0
    requests: int = 0
    struck: int = 0
    sweeps: int = 0
    points: set[str] = field(default_factory=set)
    verdict: Verdict = field(default_factory=Verdict)


class Stalled(Exception):
    """Nothing moves any more; the text says what was waited for."""


class World:
    """A run under way."""

    def __init__(self, seed: int, folder: Path, plan: Plan) -> None:
        self.seed, self.folder, self.plan = seed, folder, plan
        self.random = random.Random(seed)
        clock = Clock()
        clock.set(MONDAY)
        self.rate = TIGHT_RATE if seed % 4 == 3 else WIDE_RATE
        self.portal = Sandbox(build(clock), rate=self.rate, limits_clock=time.time, latency=0.003, event_seed=seed)
        self.portal.state.switches.history_late_every = 7
        self.portal.state.switches.history_late_seconds = LATE_ROW
        self.portal.faults.at_random(CHANCES, seed=seed, hold=0.3, seconds=LATE_RUN)
        self.portal.faults.at_random(INSIDE, ADDS, seed=seed + 1)
        self.people = People(self.portal, seed)
        self.store = folder / "store.db"
        self.rules = folder / "rules.yaml"
        self.rules.write_text(RULES, encoding="utf-8")
        self.port, self.rival_port = free_port(), free_port()
        if seed % 2:
            self.portal.events.subscribe(f"http://127.0.0.1:{self.port}/webhooks/bitrix24", TOKEN)
            self.portal.events.weather.turn({"drop": 0.1, "duplicate": 0.1, "reorder": 0.1})
        self.wrong = folder / "wrong"
        """By how many seconds the machine's clock is wrong."""
        troubles.turn_clock(self, 0.0)
        self.doom, self.span = float("inf"), 0
        """From when on this life is over, and after how many requests to the portal from its first ones on."""
        self.quota = self.met = 0
        """Kills until the end of this chapter; fates that had struck when this life began."""
        self.outcome = Outcome(seed)
        self.peaceful = False
        self.slots: list[str] = []
        self.sweeping = False
        self.lives = Lives(self.settings(), folder, folder / "service.log")
        self.rival = Lives(self.settings(self.rival_port), folder, folder / "rival.log")
        """Another process on the store, in no sweep and with no fate: it waits, or works while the first waits."""

    def settings(self, port: int = 0) -> dict[str, str]:
        """The service's environment; ``port``: of its web side, if not the usual one."""
        return {
            "BITRIX_WEBHOOK_URL": self.portal.url_of(BOSS, CODE),
            "BITRIX_APPLICATION_TOKEN": TOKEN,
            "BITRIX_RULES": str(self.rules),
            "DATABASE_URL": f"sqlite:///{self.store}",
            "BITRIX_LISTEN": f"127.0.0.1:{port or self.port}",
            "BITRIX_POLL_SECONDS": "0.3",
            "BITRIX_SETTLE_SECONDS": str(SETTLE),
            "BITRIX_RATE": f"{self.rate[0]}/{self.rate[1]}",
            "FATE_CLOCK": str(self.wrong),
        }

    def close(self) -> None:
        """End everything."""
        self.lives.close()
        self.rival.close()
        self.portal.close()

    # --- lives and deaths ----------------------------------------------------------------------------------------

    def begin_life(self) -> None:
        """Start the service; until peace comes it meets errors, and may lose a thread; as long as deaths are due it is
        killed."""
        self.doom, self.span, self.met, fates = float("inf"), 0, len(self.struck()), []
        if not self.peaceful:
            fates += [self.fate(point, self.random.choice(list(ERRORS)), 6) for point in self.random.sample(ROAD, 2)]
        if self.outcome.kills and not (self.peaceful or self.sweeping) and self.random.random() < 0.4:
            point = self.random.choice((*THREADS, *THREADS, *ROAD))
            fates.append(self.fate(point, self.random.choice(list(ENDS)) if point in ROAD else "SystemExit", 3))
        if self.outcome.kills < self.quota:
            fates.append(self.end_of_life())
        self.lives.begin(" ".join(fates))

    def end_of_life(self) -> str:
        """Where the life that begins is killed, if not at a moment."""
        self.doom, self.span = time.monotonic(), self.requests() + LIFE
        if self.sweeping or not self.outcome.kills or self.random.random() < 0.8:
            return self.fate(self.next_point(), "KILL")
        self.doom_soon()
        return ""

    def fate(self, point: str, what: str, often: int = 0) -> str:
        """What happens at a point, one of the first times that it is passed."""
        often = often or FREQUENT.get(point, FREQUENT.get(point.partition(":")[0], 1))
        return f"{point}*{self.random.randint(1, often)}={what}"

    def struck(self) -> list[list[str]]:
        """Each fate that has struck: point and word."""
        path = self.folder / "fates"
        return [line.split() for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []

    def next_point(self) -> str:
        """Where this life is to end: one of those that it can come to now alone, else the next in turn."""
        if self.sweeping or not self.outcome.kills:
            return self.random.choice(SWEEP_POINTS if self.sweeping else FIRST_POINTS)
        return POINTS[(5 * self.outcome.seed + 7 * self.outcome.kills) % len(POINTS)]

    def doom_soon(self) -> None:
        """Let the life end at some moment: while it starts, or when it is at work."""
        self.doom = time.monotonic() + self.random.choice([0.1, 0.4, 0.8, 1.2, 2.0]) * (0.5 + self.random.random())
        self.span = 0

    def mind(self) -> None:
        """Let fate take its course: kill whom it is time to kill, bury, begin anew."""
        if not self.lives.pid:
            self.begin_life()
            return
        ended = self.lives.ended()
        if ended is None and self.is_over():
            ended = self.due_end()
        if ended is None:
            return
        met = self.struck()[self.met :]
        if met and (ended == ENDED or (ended == INTERRUPTED and met[-1][1] == "KeyboardInterrupt")):
            self.outcome.ends += 1
            self.outcome.injected["threads"] += any(what in ENDS for _, what in met)
        elif ended == -signal.SIGKILL:
            self.outcome.kills += 1
        else:
            raise Stalled(f"the service ended by itself with {ended}; it had met {met}")
        self.begin_life()

    def is_over(self) -> bool:
        """Whether the life has lasted as long as it is to."""
        past = time.monotonic() - self.doom
        return past >= LONG_LIFE or (past >= 0 and self.requests() >= self.span)

    def requests(self) -> int:
        """How many the portal has answered: what the service has done, however little the machine lets it do."""
        return sum(self.portal.journal.requests.values())

    def due_end(self) -> int:
        """The exit code of a life whose time is over: killed, unless it lost a thread and has to end by itself."""
        if not any(what in ENDS for _, what in self.struck()[self.met :]):
            return self.lives.kill()
        ended = self.lives.ended(END)
        if ended is None:
            raise Stalled(f"the process lives on {END:.0f} s after a thread was ended")
        return ended

    def until(self, what: str, done: Callable[[], bool], meanwhile: Callable[[], object] = lambda: None) -> None:
        """Let time pass, and services die, until it is done."""
        began, turn = time.monotonic(), self.requests()
        while not done():
            self.mind()
            passed, turns = time.monotonic() - began, self.requests() - turn
            if passed > HOPELESS or (passed > PATIENCE and turns > TURNS):
                raise Stalled(f"after {passed:.0f} s and {turns} requests still not so: {what}")
            time.sleep(0.05)
            meanwhile()

    # --- the story -----------------------------------------------------------------------------------------------

    def play(self) -> Outcome:
        """The whole run."""
        began = time.monotonic()
        try:
            self.story()
        except Stalled as stalled:
            self.outcome.verdict.wrong(str(stalled))
        else:
            self.outcome.verdict = judge(self.portal, self.store, self.people, self.slots, bucket=self.rate[1])
            logs = [self.folder / name for name in ("service.log", "rival.log")]
            told(logs, self.struck(), self.portal, self.outcome.verdict)
            self.outcome.injected[portals.play(self)] += 1
        self.count()
        self.outcome.seconds = time.monotonic() - began
        self.outcome.moves = self.people.diary.moves
        self.outcome.requests = sum(self.portal.journal.requests.values())
        self.outcome.struck = len(self.portal.faults.struck)
        self.outcome.sweeps = len(self.slots)
        return self.outcome

    def count(self) -> None:
        """What was met, by kind."""
        injected, counts = self.outcome.injected, self.portal.faults.counts()
        for point, what in self.struck():
            injected["errors"] += what in ERRORS
            self.outcome.points.add(point)
        injected["kills"] = self.outcome.kills
        injected["rows"], injected["time"] = counts["garbled"], counts["odd_time"]

    def story(self) -> None:
        """Chapters of work, each ended by a sweep; then the kills that are still due, then peace."""
        chapters = self.plan.chapters
        self.quota = self.plan.kills // (chapters + 1)
        self.until("the first start", self.started)
        for chapter in range(chapters):
            self.quota = self.plan.kills * (chapter + 1) // chapters - 1
            if self.lives.pid and self.doom == float("inf"):
                self.doom_soon()
            self.work(self.plan.deeds // chapters, gently=False)
            self.until("odd rows and times", self.met_oddities, self.potter)
            self.portal.faults.clear("garbled", "odd_time")
            self.until("everything read and carried out", self.quiet)
            self.sweep("evening" if chapter % 2 == 0 else "morning")
            self.until("the kills of this chapter", lambda: self.outcome.kills >= self.quota, self.potter)
        self.peaceful = True
        self.until("peace", self.at_peace)
        self.until("/readyz says ready", self.ready)
        self.end()

    def work(self, deeds: int, *, gently: bool) -> None:
        """People at work, in bursts and pauses; in the first part of a chapter troubles befall the service."""
        due = [] if gently or not self.plan.kills else self.random.sample(troubles.CHAPTER, len(troubles.CHAPTER))
        places = {int((number + 1) * deeds / (len(due) + 1)): kind for number, kind in enumerate(due)}
        for number in range(deeds):
            if kind := places.get(number):
                troubles.TROUBLES[kind](self)
                self.outcome.injected[kind] += 1
            self.people.act(gently=gently)
            self.mind()
            if self.random.random() < 0.3:
                time.sleep(self.random.random() * 0.12)
        if self.rival.pid:
            self.rival.kill()

    def met_oddities(self) -> bool:
        """The service has met what makes no sense, or nothing is to befall it."""
        counts = self.portal.faults.counts()
        return not self.plan.kills or (counts["garbled"] > 0 and counts["odd_time"] > 0)

    def potter(self) -> None:
        """Something happens now and then."""
        if self.random.random() < 0.3:
            self.people.act(gently=True)

    def sweep(self, name: str) -> None:
        """Turn the clock to a sweep; deals go on moving while it runs."""
        now = self.portal.clock.now().astimezone(MOSCOW)
        hour, minute = (9, 1) if name == "morning" else (18, 31)
        moment = now.replace(hour=hour, minute=minute, second=0)
        if moment <= now:
            moment += timedelta(days=1)
        self.slots.append(f"{moment:%Y-%m-%d}/{name}")
        self.portal.clock.set(moment)
        self.quota = max(self.quota, self.outcome.kills) + 2
        self.sweeping, self.doom = True, time.monotonic()
        self.mind()
        self.sweeping = False
        self.work(self.plan.deeds // (4 * self.plan.chapters), gently=True)
        self.until(f"the sweep {self.slots[-1]}", self.swept)
        self.until("everything read and carried out", self.quiet)

    def end(self) -> None:
        """SIGTERM, and a good end."""
        self.lives.ask_to_end()
        code = self.lives.ended(END)
        if code is None:
            raise Stalled(f"the service did not end within {END:.0f} s of SIGTERM")
        if code != 0:
            raise Stalled(f"the service ended with {code} after SIGTERM")

    # --- what is waited for --------------------------------------------------------------------------------------

    def started(self) -> bool:
        """The first start is through and the rules are in force."""
        return self.store.exists() and bool(self.rows("select 1 from portal where history_id is not null"))

    def quiet(self) -> bool:
        """All that people did was read, and all that was decided is carried out."""
        rows = {row for (row,) in self.rows("select id from visits")}
        if any(row not in rows for row in self.portal.state.history if row > self.people.first_row):
            return False
        if self.rows("select 1 from operations where state not in ('done', 'dropped', 'failed') limit 1"):
            return False
        self.people.settled = max(self.portal.state.tasks, default=0)
        return True

    def swept(self) -> bool:
        """The newest slot is through."""
        return bool(self.rows(f"select 1 from sweeps where slot = '{self.slots[-1]}' and state = 'done'"))

    def at_peace(self) -> bool:
        """Quiet, and nothing can come any more: no late row, no late commit, no twin unseen."""
        if not self.quiet() or self.portal.agenda.waiting() or self.portal.state.late_rows:
            return False
        before = self.portal.clock.now()
        self.portal.faults.clear()
        rested = time.monotonic() + SETTLE + 1.5
        while time.monotonic() < rested:
            self.mind()
            time.sleep(0.05)
        return self.quiet() and self.unchanged(before)

    def ready(self, port: int = 0) -> bool:
        """What the service says of itself, or the one at another ``port``."""
        return self.state(port)[0] == 200

    def state(self, port: int = 0) -> tuple[int, str]:
        """Status and body of its ``/readyz``; 0 while nobody answers."""
        try:
            return ask(urllib.request.Request(f"http://127.0.0.1:{port or self.port}/readyz"))
        except OSError:
            return 0, ""

    def unchanged(self, since: datetime) -> bool:
        """Nothing in the portal changed since a moment."""
        return all(task.changed <= since for task in self.portal.state.tasks.values())

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """Ask the store; nothing while it is being made."""
        try:
            return read(self.store, query)
        except Exception:
            return []


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def run(seed: int, plan: Plan, keep: Path | None = None) -> Outcome:
    """One seed, in a directory of its own; kept under ``keep`` when something was wrong."""
    with tempfile.TemporaryDirectory(prefix=f"chaos-{seed}-") as name:
        world = World(seed, Path(name), plan)
        try:
            outcome = world.play()
        finally:
            world.close()
        if outcome.verdict.faults and keep is not None:
            shutil.copytree(name, keep / str(seed), dirs_exist_ok=True)
        return outcome
