"""The checks of ``make fleet``. Each is a function of a ``Stage``, on which it notes figures and faults."""

from __future__ import annotations

import os
import random
import signal
import statistics
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from datetime import datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.engine import make_url

from bitrix_sandbox import Sandbox
from bitrix_sandbox.state.clock import Clock
from bitrix_sync.fleet.portal_settings import sealed_tokens
from bitrix_sync.store import Store
from tests import postgres
from tests.chaos.office import CODE, RULES, build
from tests.fleet.fleet import SEALS, Fleet, Member
from tests.world.process import Running, event, until

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Stage:
    """What a check plays on, and what it found. ``full``: as long as the paper wants."""

    def __init__(self, folder: Path, url: str, programs: Path, home: str, *, full: bool) -> None:
        self.folder, self.url, self.programs, self.home, self.full = folder, url, programs, home, full
        self.figures: list[str] = []
        self.faults: list[str] = []
        self._open = ExitStack()
        self.random = random.Random(1)

    def fleet(self, count: int, **settings: str) -> Fleet:
        """So many portals, each a sandbox of its own."""
        made = Fleet(self.folder, self.url, **{"BITRIX_SETTLE_SECONDS": "3", **settings})
        self._open.callback(made.close)
        for number in range(count):
            self.member(made, f"portal-{number:02}")
        return made

    def member(
        self, fleet: Fleet, name: str, *, at: datetime | None = None, rules: str = RULES, **given: Any
    ) -> Member:
        """One more portal."""
        portal = self._open.enter_context(Sandbox(build(Clock(at)), **{"limits_clock": time.time, **given}))
        return fleet.add(name, portal, rules=rules)

    def say(self, text: str) -> None:
        """A figure."""
        self.figures.append(text)

    def wrong(self, text: str) -> None:
        """A fault."""
        self.faults.append(text)

    def must(self, what: str, seen: Any, wanted: Any) -> None:
        """A fault if these are not the same."""
        if seen != wanted:
            self.wrong(f"{what}: {str(seen)[:300]}, not {wanted}")

    def at_most(self, what: str, seen: float, most: float) -> None:
        """A figure that is bounded."""
        self.say(f"{what} {seen:.1f}")
        if seen > most:
            self.wrong(f"{what}: {seen:.2f}, more than {most}")

    def nothing_lost(self, fleet: Fleet, *, seconds: float = 90.0) -> None:
        """Every deal's tasks come, none twice, nobody is refused, and nobody who was succeeded has sent after it."""
        members = fleet.members.values()
        with suppress(AssertionError):
            until(lambda: not any(one.lost for one in members), seconds=seconds)
        time.sleep(2.0)
        self.must("lost", {one.name: sorted(one.lost)[:3] for one in members if one.lost}, {})
        self.must("doubled", {one.name: sorted(one.doubled)[:3] for one in members if one.doubled}, {})
        for one in members:
            self.must(f"refused by the limits of {one.name}", one.portal.limits.refused(), 0)
            if one.portal.limits.high_water > 50:
                self.wrong(f"{one.name}: the bucket had {one.portal.limits.high_water}")
            with Store(self.url, portal=one.number) as store:
                sent = epochs_of(store)
            self.must(f"epochs of {one.name} rise", sent, sorted(sent))

    def close(self) -> None:
        """Ends all."""
        self._open.close()


def started(stage: Stage, fleet: Fleet, workers: int, **settings: str) -> list[Running]:
    """So many workers, once every portal has had a pass."""
    made = [fleet.worker(**settings) for _ in range(workers)]
    until(fleet.served, seconds=120)
    return made


# --- the checks ------------------------------------------------------------------------------------------------------


def chaos(stage: Stage) -> None:
    """Kills and pauses while people move deals."""
    seconds, portals = (180.0, 50) if stage.full else (75.0, 25)
    fleet = stage.fleet(portals, BITRIX_POLL_SECONDS="5")
    workers = started(stage, fleet, 3)
    members = list(fleet.members.values())
    end, moves, kills, pauses = time.monotonic() + seconds, 0, 0, 0
    next_fate = time.monotonic() + 4
    frozen: list[tuple[float, Running]] = []
    while time.monotonic() < end:
        member = stage.random.choice(members)
        if not (
            member.deals and stage.random.random() < 0.6 and member.move(stage.random.choice(sorted(member.deals)))
        ):
            member.add_deal()
        moves += 1
        fleet.ring(member)
        for at, one in list(frozen):
            if time.monotonic() > at:
                os.kill(pid(one), signal.SIGCONT)
                frozen.remove((at, one))
        if time.monotonic() > next_fate:
            next_fate = time.monotonic() + stage.random.uniform(6, 10)
            awake = [one for one in workers if one not in [held for _, held in frozen]]
            victim = stage.random.choice(awake)
            if stage.random.random() < 0.6:
                victim.kill()
                victim.start()
                kills += 1
            elif len(awake) > 1:
                os.kill(pid(victim), signal.SIGSTOP)
                frozen.append((time.monotonic() + stage.random.uniform(7, 20), victim))
                pauses += 1
        time.sleep(0.12)
    for _, one in frozen:
        os.kill(pid(one), signal.SIGCONT)
    stage.nothing_lost(fleet)
    tasks = sum(one.marks().total() for one in members)
    stage.say(f"{portals} portals, {moves} moves, {tasks} tasks, {kills} kills, {pauses} pauses: none lost or doubled")


def fence(stage: Stage) -> None:
    """A worker that stands still between the commit and the send of a write; and the same without the fence."""
    for play in ("", "unfenced "):
        folder = stage.folder / (play.strip() or "fenced")
        folder.mkdir()
        fleet = Fleet(folder, stage.url, BITRIX_SETTLE_SECONDS="3")
        member = stage.member(fleet, f"held-{play.strip() or 'fenced'}")
        flag = fleet.folder / "flag"
        held = fleet.worker(f"{play}hold={flag}")
        until(fleet.served, seconds=60)
        flag.touch()
        deal = member.add_deal()
        fleet.ring(member)
        until(flag.with_suffix(".held").exists, seconds=60)
        os.kill(pid(held), signal.SIGSTOP)
        flag.unlink()
        other = fleet.worker()
        until(lambda one=member: not one.lost, seconds=90)
        os.kill(pid(held), signal.SIGCONT)
        time.sleep(6.0)
        copies = len(member.doubled)
        if play:
            stage.say(f"without the fence {copies} tasks twice")
            if not copies:
                stage.wrong("without the fence nothing was doubled: this check could not fail")
        else:
            stage.must("doubled under the fence", copies, 0)
            stage.say("stopped before the send: one task each")
        stage.must("tasks", len(member.wanted()), 2)
        assert deal
        for one in (held, other):
            one.kill()
        fleet.close()


def resume(stage: Stage) -> None:
    """The owner of a portal is killed, paused, asked to end; how long until a deal's tasks are there."""
    fleet = stage.fleet(6, BITRIX_POLL_SECONDS="30")
    started(stage, fleet, 3)
    times: dict[str, list[float]] = {"kill": [], "pause": [], "end": []}
    for turn in range(4 if stage.full else 2):
        for fate in times:
            member = list(fleet.members.values())[turn]
            owner = fleet.owner(member)
            began = time.monotonic()
            match fate:
                case "kill":
                    owner.kill()
                case "pause":
                    os.kill(pid(owner), signal.SIGSTOP)
                case "end":
                    os.kill(pid(owner), signal.SIGTERM)
            member.add_deal()
            fleet.ring(member)
            until(lambda one=member: not one.lost, seconds=60)
            times[fate].append(time.monotonic() - began)
            if fate == "pause":
                os.kill(pid(owner), signal.SIGCONT)
            else:
                ended = owner.wait()
                stage.must(f"exit code after {fate}", ended in (0, -signal.SIGKILL), True)
                owner.start()
            until(lambda: len(living(fleet)) == 3, seconds=60)
            time.sleep(1.0)
    stage.nothing_lost(fleet)
    for fate, most in (("kill", 10.0), ("pause", 10.0), ("end", 3.0)):
        stage.at_most(f"after {fate} s, worst", max(times[fate]), most)


def crowd(stage: Stage) -> None:
    """A thousand portals at one sandbox without limits."""
    count, watched = (1000, 90.0) if stage.full else (300, 60.0)
    fleet = stage.fleet(0, BITRIX_POLL_SECONDS="30")
    state = build(Clock())
    portal = stage._open.enter_context(Sandbox(state, host="0.0.0.0", rate=None, operating_limit=None))
    names = [(f"p{number:04}", f"http://127.{1 + number // 250}.0.{1 + number % 250}") for number in range(count)]
    began = time.monotonic()
    for name, host in names:
        fleet.add(name, portal, webhook=f"{host}:{portal.port}/rest/1/{CODE}/")
    workers = started_all(fleet, 3)
    until(fleet.served, seconds=240)
    stage.at_most("first start s", time.monotonic() - began, 150.0 * count / 1000 + 30)
    time.sleep(5.0)
    requests, cpu, at = sum(portal.journal.requests.values()), sum(map(cpu_of, workers)), time.monotonic()
    passes = passes_of(fleet)
    time.sleep(watched)
    span = time.monotonic() - at
    made = passes_of(fleet) - passes
    asked = sum(portal.journal.requests.values()) - requests
    used = sum(map(cpu_of, workers)) - cpu
    wanted = count * span / 30
    stage.say(f"{count} portals, {made} polls in {span:.0f} s ({made / wanted:.2f} of those due)")
    if made < 0.95 * wanted:
        stage.wrong(f"{made} polls, {wanted:.0f} were due")
    stage.at_most("requests a poll", asked / max(made, 1), 1.05)
    stage.at_most("ms of a worker's processor a pass", 1000 * used / max(made, 1), 20.0)
    kept = [one["portals"] for one in living(fleet)]
    stage.say(f"portals by worker {kept}")
    if max(kept) > 2 * min(kept):
        stage.wrong(f"the workers are not even: {kept}")


def idle(stage: Stage) -> None:
    """What quiet portals cost the database."""
    fleet = stage.fleet(0, BITRIX_POLL_SECONDS="5")
    started_all(fleet, 2)
    time.sleep(3.0)
    alone = transactions_in(stage, 10.0) / 10.0
    for number in range(10):
        stage.member(fleet, f"quiet-{number}")
    until(fleet.served, seconds=120)
    time.sleep(10.0)
    passes, span = passes_of(fleet), 20.0
    all_of = transactions_in(stage, span)
    made = passes_of(fleet) - passes
    with postgres.connect(database(stage)) as connection:
        jobs = connection.execute("SELECT count(*) FROM procrastinate_jobs").fetchone()[0]
        defers = connection.execute("SELECT count(*) FROM procrastinate_periodic_defers").fetchone()[0]
        events = connection.execute("SELECT count(*) FROM procrastinate_events").fetchone()[0]
    stage.say(f"two workers alone {alone:.0f} transactions a second; {made} passes in {span:.0f} s")
    stage.at_most("transactions a pass", (all_of - alone * span) / max(made, 1), 14.0)
    stage.must("the queue stays small", (jobs < 30, defers < 30, events < 100), (True, True, True))


def outage(stage: Stage) -> None:
    """The database is started anew without warning, and is away for fifteen seconds, under load."""
    fleet = stage.fleet(10, BITRIX_POLL_SECONDS="5")
    started(stage, fleet, 2)
    members = list(fleet.members.values())
    opened = sum(said(fleet).count("first start") for _ in range(1))
    for away in (0.0, 15.0):
        load = threading.Event()
        thread = threading.Thread(target=busy, args=(stage, members, load), daemon=True)
        thread.start()
        time.sleep(3.0)
        stop_server(stage)
        time.sleep(away)
        start_server(stage)
        back = time.monotonic()
        load.set()
        thread.join()
        last = members[0].add_deal()
        until(lambda: rung(fleet, members[0]), seconds=20)
        until(lambda: not members[0].lost, seconds=60)
        stage.at_most(f"back after {away:.0f} s away, s", time.monotonic() - back, 5.0 + 3.0)
        assert last
    stage.nothing_lost(fleet)
    stage.must("first starts", said(fleet).count("first start"), opened)


def fairness(stage: Stage) -> None:
    """One portal with very much to do, and many small ones."""
    small, deals = (49, 10_000) if stage.full else (15, 2_000)
    fleet = stage.fleet(small, BITRIX_POLL_SECONDS="5", BITRIX_RATE="50/1000")
    big = stage.member(fleet, "big", rate=None, operating_limit=None)
    with big.portal.state.lock:
        for number in range(deals):
            big.portal.state.add_deal(f"Old {number}", stage="NEW", responsible=5)
    started(stage, fleet, 2)
    done = threading.Thread(target=fleet.command, args=("backfill", "--portal", "big"), daemon=True)
    done.start()
    until(lambda: big.marks().total() > 20, seconds=120)
    times = []
    members = [one for one in fleet.members.values() if one is not big]
    for member in members:
        began = time.monotonic()
        member.add_deal()
        fleet.ring(member)
        until(lambda one=member: not one.lost, seconds=60)
        times.append(time.monotonic() - began)
    times.sort()
    stage.say(f"beside {big.marks().total()} of {2 * deals} tasks")
    stage.at_most("event to task of the small ones s, p50", statistics.median(times), 3.0)
    stage.at_most("p95", times[int(len(times) * 0.95)], 3.0 if stage.full else 4.0)


def slots(stage: Stage) -> None:
    """A sweep in three zones, with workers killed around it."""
    fleet = stage.fleet(0, BITRIX_POLL_SECONDS="5")
    zones = ("Europe/Moscow", "Asia/Yekaterinburg", "Europe/Kaliningrad") * 2
    members = []
    for number, zone in enumerate(zones):
        rules = RULES.replace("Europe/Moscow", zone)
        members.append(stage.member(fleet, f"slot-{number}", at=before_nine(zone, 2, -3600), rules=rules))
    workers = started(stage, fleet, 2)
    for member in members:
        for _ in range(3):
            member.add_deal()
    fleet.ring()
    until(lambda: not any(one.lost for one in members), seconds=60)
    for member, zone in zip(members, zones, strict=True):
        member.portal.clock.set(before_nine(zone, 4, 5))
    end, kills = time.monotonic() + 180, 0
    while time.monotonic() < end and not all(swept(stage, one) for one in members):
        time.sleep(6.0)
        victim = stage.random.choice(workers)
        victim.kill()
        victim.start()
        kills += 1
    until(lambda: all(told(one) for one in members), seconds=90)
    time.sleep(5.0)
    stage.must(
        "each sweep once", {one.name: len(swept(stage, one)) for one in members}, {one.name: 1 for one in members}
    )
    stage.must("tasks moved once", {one.name: moved(one) for one in members}, {one.name: [1, 1, 1] for one in members})
    for member in members:
        stage.must(f"messages of {member.name} that came twice", [m for m, n in told(member).items() if n > 1], [])
    stage.say(f"{len(members)} portals in 3 zones, {kills} kills: one sweep each, each task moved once, each told once")


def secrets(stage: Stage) -> None:
    """Nothing secret is in a dump, a log, what the commands say."""
    fleet = stage.fleet(2, BITRIX_POLL_SECONDS="5")
    started(stage, fleet, 1)
    broken = fleet.add("broken", fleet.members["portal-00"].portal, webhook="http://127.9.9.9:1/rest/1/secretcode77/")
    until(lambda: fleet.rows()["broken"].trouble, seconds=60)
    assert broken.number
    dump = subprocess.run(
        [stage.programs / "pg_dump", "-h", stage.home, "-U", "postgres", database(stage)],
        capture_output=True,
        check=True,
    ).stdout.decode()
    _, overview = fleet.command("fleet", "--json")
    _, listed = fleet.command("portal", "list", "--json")
    _, shown = fleet.command("status", "--portal", "broken", "--json")
    key = (fleet.folder / "key").read_text().strip()
    for what, heard in {
        "a dump": dump,
        "the log": said(fleet),
        "fleet": overview,
        "list": listed,
        "status": shown,
    }.items():
        for secret in (CODE, "secretcode77", key):
            stage.must(f"secrets in {what}", secret in heard, False)
    stage.say(f"{len(dump) // 1024} KB of dump, logs and four commands: none")
    stage.must("the overview knows the trouble", "broken" in overview, True)


def backup(stage: Stage) -> None:
    """From the fleet to a service of one portal and back again."""
    fleet = stage.fleet(1, BITRIX_POLL_SECONDS="2")
    started(stage, fleet, 1)
    (member,) = fleet.members.values()
    member.add_deal()
    fleet.ring(member)
    until(lambda: not member.lost, seconds=60)
    file = fleet.folder / "backup.db"
    stage.must("backup", fleet.command("backup", str(file), "--portal", member.name)[0], 0)
    stage.must("disable", fleet.command("portal", "disable", member.name)[0], 0)
    deal = member.add_deal()
    home = fleet.folder / "embedded"
    home.mkdir()
    (home / "rules.yaml").write_text(RULES)
    environ = {
        "BITRIX_WEBHOOK_URL": member.portal.url,
        "DATABASE_URL": f"sqlite:///{file}",
        "BITRIX_LISTEN": "127.0.0.1:0",
        "BITRIX_POLL_SECONDS": "2",
        "BITRIX_SETTLE_SECONDS": "3",
    }
    alone = Running(home, environ)
    until(lambda: not member.lost, seconds=60)
    stage.must("embedded", alone.end(), 0)
    back = Running(home, {**environ, "DATABASE_URL": f"sqlite:///{file}"}, "backup", str(fleet.folder / "back.db"))
    stage.must("backup of the embedded one", back.wait(), 0)
    code, heard = fleet.command("restore", str(fleet.folder / "back.db"), "--portal", member.name)
    stage.must(f"restore ({heard[-200:]})", code, 0)
    stage.must("enable", fleet.command("portal", "enable", member.name)[0], 0)
    member.move(deal)
    fleet.ring(member)
    stage.nothing_lost(fleet)
    stage.say("fleet, embedded, fleet: nothing twice")


def rolling(stage: Stage) -> None:
    """Two versions side by side, then only the newer may work."""
    fleet = stage.fleet(6, BITRIX_POLL_SECONDS="3")
    (old,) = started(stage, fleet, 1)
    with postgres.connect(database(stage)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.execute("UPDATE schema SET head = '9999'")
        connection.execute("ALTER TABLE tasks ADD COLUMN of_tomorrow text")
    new = fleet.worker("newer")
    until(lambda: len(living(fleet)) == 2, seconds=60)
    members, load = list(fleet.members.values()), threading.Event()
    thread = threading.Thread(target=busy, args=(stage, members, load, fleet), daemon=True)
    thread.start()
    time.sleep(60.0 if stage.full else 15.0)
    load.set()
    thread.join()
    stage.nothing_lost(fleet)
    again = fleet.worker()
    until(lambda: len(living(fleet)) == 3, seconds=60)
    with postgres.connect(database(stage)) as connection:
        connection.execute("UPDATE schema SET oldest = '9999'")
    stage.must("the older ones end", [old.wait(), again.wait()], [3, 3])
    late = fleet.worker()
    stage.must("an older one does not start", late.wait(), 1)
    member = members[0]
    member.add_deal()
    fleet.ring(member)
    until(lambda: not member.lost, seconds=60)
    stage.must("the newer one works", pid(new) > 0, True)
    stage.say("both served; the older one laid its work down when it was told to")


def door(stage: Stage) -> None:
    """Events of fifty portals at once, with their own tokens and others', also while the database is away."""
    fleet = stage.fleet(50)
    tokens = {name: f"token-of-{name}" for name in fleet.members}
    for name, member in fleet.members.items():
        marks = {"tokens": sealed_tokens([tokens[name]], SEALS), "token_marks": (SEALS.mark(tokens[name]),)}
        fleet.portals.change(member.number, by="a test", **marks)
    folder = fleet.folder / "web"
    folder.mkdir()
    web = Running(folder, {**fleet.environ, "BITRIX_LISTEN": "127.0.0.1:0"}, "web")
    names = sorted(tokens)
    port = int(web.url.rpartition(":")[2])
    until(lambda: send(port, names[0], tokens[names[0]], 1) == Counter({200: 1}), seconds=30)
    count, began = (20_000 if stage.full else 5_000) // len(names), time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        sent = list(pool.map(lambda name: send(port, name, tokens[name], count), names))
    span = time.monotonic() - began
    stage.must("answers", sum(sent, Counter()), Counter({200: count * len(names)}))
    stage.say(f"{count * len(names)} events in {span:.1f} s")
    stage.must("another's token", send(port, names[0], tokens[names[1]], 1), Counter({403: 1}))
    stage.must("an unknown name", send(port, "nowhere", tokens[names[0]], 1), Counter({404: 1}))
    stop_server(stage)
    away = send(port, names[0], tokens[names[0]], 200)
    start_server(stage)
    stage.must("while the database is away", away, Counter({200: 200}))
    until(lambda: fleet.rows()[names[0]].rung is not None, seconds=30)
    stage.must("the end", web.end(), 0)


# --- what they are made of -------------------------------------------------------------------------------------------


def pid(one: Running) -> int:
    """A worker's process."""
    assert one.process is not None
    return int(one.process.pid)


def started_all(fleet: Fleet, count: int) -> list[Running]:
    """So many workers, once they live."""
    made = [fleet.worker() for _ in range(count)]
    until(lambda: len(living(fleet)) == count, seconds=60)
    return made


def living(fleet: Fleet) -> list[Mapping[str, Any]]:
    """The workers that give beats."""
    from bitrix_sync.fleet.overview import workers_of
    from bitrix_sync.settings import Settings

    return [one for one in workers_of(Settings(DATABASE_URL=fleet.url)) if not one["lost"]]


def database(stage: Stage) -> str:
    """The database's name."""
    return str(make_url(stage.url).database)


def transactions_in(stage: Stage, seconds: float) -> int:
    """How many the database ends in so long, whoever's they are."""

    def ended() -> int:
        time.sleep(1.2)  # the server counts them now and then
        with postgres.connect() as connection:
            query = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = %s"
            return int(connection.execute(query, (database(stage),)).fetchone()[0])

    before = ended()
    time.sleep(seconds - 1.2)
    return ended() - before


def passes_of(fleet: Fleet) -> int:
    """Readings of the history at all portals so far: each pass has one."""
    portals = {id(one.portal): one.portal for one in fleet.members.values()}
    return sum(one.calls["crm.stagehistory.list"] for one in portals.values())


def cpu_of(worker: Running) -> float:
    """Seconds of processor that a process has used."""
    fields = Path(f"/proc/{pid(worker)}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def busy(stage: Stage, members: Sequence[Member], end: threading.Event, fleet: Fleet | None = None) -> None:
    """People move deals."""
    while not end.wait(0.15):
        member = stage.random.choice(members)
        if not (
            member.deals and stage.random.random() < 0.5 and member.move(stage.random.choice(sorted(member.deals)))
        ):
            member.add_deal()
        if fleet is not None:
            fleet.ring(member)


def said(fleet: Fleet) -> str:
    """All that the workers said."""
    return "".join(one.said for one in fleet.workers)


def rung(fleet: Fleet, member: Member) -> bool:
    """Whether a ring could be told."""
    from bitrix_sync.errors import StoreError

    try:
        fleet.ring(member)
    except StoreError:
        return False
    return True


def send(port: int, name: str, token: str, count: int) -> Counter[int]:
    """So many events of a portal over one connection; the answers."""
    body, found = event(token), Counter[int]()
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    for _ in range(count):
        connection.request("POST", f"/webhooks/bitrix24/{name}", body, FORM)
        with connection.getresponse() as answer:
            answer.read()
            found[answer.status] += 1
    connection.close()
    return found


def stop_server(stage: Stage) -> None:
    """At once, as a crash does."""
    _server(stage, "stop", "-m", "immediate")


def start_server(stage: Stage) -> None:
    """Again, with the options that it had."""
    _server(stage, "start", "-l", f"{stage.home}/log")


def _server(stage: Stage, *words: str) -> None:
    user = {"user": "postgres", "group": "postgres"} if os.getuid() == 0 else {}
    more = ["-o", postgres.options(stage.home)] if words[0] == "start" else []
    command = [str(stage.programs / "pg_ctl"), "-D", f"{stage.home}/data", "-w", *words, *more]
    run: Any = subprocess.run
    run(command, check=True, cwd=stage.home, stdout=subprocess.DEVNULL, **user)


def before_nine(zone: str, day: int, seconds: float) -> datetime:
    """So many seconds before the sweep of a morning in March."""
    return datetime(2026, 3, day, 9, tzinfo=ZoneInfo(zone)) - timedelta(seconds=seconds)


def epochs_of(store: Store) -> list[int]:
    """Under which epochs operations were sent, in the order of their sending."""
    with store.reading() as connection:
        found = connection.execute(text("SELECT epoch FROM operations WHERE sent IS NOT NULL ORDER BY sent, epoch"))
        return [int(epoch) for epoch in found.scalars() if epoch is not None]


MORNING = "2026-03-04/morning"


def swept(stage: Stage, member: Member) -> list[str]:
    """The sweeps of that morning that are through."""
    with Store(stage.url, portal=member.number) as store:
        return [one.slot for one in store.sweeps() if one.state == "done" and one.slot == MORNING]


def moved(member: Member) -> list[int]:
    """How often the deadline of each overdue task was changed."""
    with member.portal.state.lock:
        tasks = [task for task in member.portal.state.tasks.values() if str(task.xml_id).endswith(":call")]
        return [task.deadline_moves for task in tasks]


def told(member: Member) -> Counter[tuple[int, str]]:
    """What people were told in chats of a sweep, and how often."""
    with member.portal.state.lock:
        return Counter(
            (one.chat_id, one.text) for one in member.portal.state.messages.values() if "Deadline moved" in one.text
        )


ALL: Mapping[str, Callable[[Stage], None]] = {
    "chaos": chaos,
    "fence": fence,
    "resume": resume,
    "crowd": crowd,
    "idle": idle,
    "outage": outage,
    "fairness": fairness,
    "slots": slots,
    "secrets": secrets,
    "backup": backup,
    "rolling": rolling,
    "door": door,
}
