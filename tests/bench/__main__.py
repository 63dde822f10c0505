"""``python -m tests.bench``: the tables on the screen, and all figures in ``build/bench.json``."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bitrix_sync import __version__
from tests.bench import core, door, million
from tests.bench.portal import OWNERS, Department, floor
from tests.bench.process import Contender
from tests.bench.timeline import MONDAY, Timeline

OURS = "bitrix-sync"
CONTENDERS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    OURS: ("tests.bench.service", {}),
    "handler, requests": ("tests.bench.handler", {}),
    "handler, fast-bitrix24": ("tests.bench.fast", {"whole": False}),
    "list, fast-bitrix24": ("tests.bench.fast", {"whole": True}),
}
SCRIPTS = (OURS, "handler, requests", "list, fast-bitrix24")
"""Who can move what is overdue: there it makes no difference how events are handled."""
FAULTS, SEEDS = 0.05, (1, 2, 3)
SETTLED = 120.0
"""Simulated seconds between the start of the service and what is measured."""
HOUR, POLL = 3600.0, 30.0
SLOT = 600.0
"""Simulated seconds from the beginning to the sweep."""


@dataclass(frozen=True, slots=True)
class Row:
    """What a contender needed. ``portal_cpu``: processor seconds of the sandbox itself, meanwhile."""

    contender: str
    count: int
    requests: int
    floor: int
    seconds: float
    refused: int
    lost: int
    doubled: int
    cpu: float
    peak_mb: float
    portal_cpu: float


@dataclass(slots=True)
class Stage:
    """A portal and a contender that is ready to begin."""

    place: Department
    contender: Contender
    timeline: Timeline
    name: str
    count: int
    least: int

    def measured(self, deed: str, judge: Callable[[], tuple[int, int]], **how: Any) -> Row:
        """Have it done, and count what it took."""
        self.place.look()
        begun = time.process_time()
        cost = self.contender.order(deed, **how)
        bill, portal_cpu = self.place.look(), time.process_time() - begun
        lost, doubled = judge()
        return Row(
            self.name,
            self.count,
            bill.requests,
            self.least,
            bill.seconds,
            bill.refused,
            lost,
            doubled,
            cost.cpu,
            cost.peak_mb,
            portal_cpu,
        )


@contextmanager
def stage(name: str, count: int, *, least: int, overdue: int = 0, quick: bool = True, **how: Any) -> Iterator[Stage]:
    """A department with so many deals, and a contender that has started."""
    module, usual = CONTENDERS[name]
    with tempfile.TemporaryDirectory() as folder:
        timeline = Timeline(Path(folder) / "time", MONDAY)
        with (
            Department(timeline, deals=count, overdue=overdue, quick=quick) as place,
            Contender(module, Path(folder), place.sandbox.url, **usual, **how) as contender,
        ):
            if name == OURS:
                contender.order("start")
                contender.order("rest", seconds=SETTLED)
            yield Stage(place, contender, timeline, name, count, least)


def burst(
    name: str, count: int, *, quick: bool = True, faults: float = 0.0, seed: int = 0, profile: str | None = None
) -> Row:
    """So many deals are moved at once."""
    with stage(name, count, least=floor(count), quick=quick) as on:
        on.place.move_all()
        if faults:
            on.place.disturb(faults, seed)
        what: dict[str, Any] = {"done": count, "profile": profile} if name == OURS else {"deals": on.place.deals}
        return on.measured("work", on.place.tasks_of_deals, **what)


def sweep(name: str, count: int) -> Row:
    """So many tasks are overdue, and the hour of the sweep comes."""
    how = {"sweeps": True} if name == OURS else {}
    with stage(name, count, least=floor(count) + floor(OWNERS), overdue=count, **how) as on:
        left = MONDAY.timestamp() + SLOT - on.timeline.now()
        if name == OURS:
            on.contender.order("rest", seconds=left - 5)
            left = 5
        on.timeline.advance(left)
        return on.measured("sweep", on.place.moves_and_messages)


def idle(seconds: float = HOUR, profile: str | None = None) -> Row:
    """A time in which nothing happens."""
    with stage(OURS, 100, least=int(seconds / POLL)) as on:
        return on.measured("rest", lambda: (0, 0), seconds=seconds, profile=profile)


def total(rows: Sequence[Row]) -> Row:
    """Several runs as one."""
    sums = {
        name: sum(getattr(row, name) for row in rows)
        for name in ("count", "requests", "floor", "seconds", "refused", "lost", "doubled", "cpu", "portal_cpu")
    }
    return Row(contender=rows[0].contender, peak_mb=max(row.peak_mb for row in rows), **sums)


def apart(measure: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """Measure in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, *arguments).result()


# --- the tables ------------------------------------------------------------------------------------------------------


def show(console: Console, title: str, rows: Sequence[Row]) -> None:
    """One table of contenders."""
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("")
    for name in (
        *("requests", "floor", "seconds there", "refused", "lost", "doubled", "CPU s", "peak MB", "sandbox CPU s"),
    ):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            row.contender,
            f"{row.requests:,}",
            f"{row.floor:,}",
            f"{row.seconds:,.0f}",
            f"{row.refused:,}",
            f"{row.lost:,}",
            f"{row.doubled:,}",
            f"{row.cpu:.1f}",
            f"{row.peak_mb:.0f}",
            f"{row.portal_cpu:.1f}",
        )
    console.print(table)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--brief", action="store_true", help="no run of ten thousand, no million: two minutes")
    parser.add_argument("--profile", choices=["idle", "burst"], help="instead, write the profile of that to build/")
    parser.add_argument("--json", type=Path, default=Path("build/bench.json"), help="default: %(default)s")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    options.json.parent.mkdir(parents=True, exist_ok=True)
    console = Console(width=130)
    if options.profile:
        file = options.json.parent / f"{options.profile}.prof"
        row = (
            idle(profile=str(file.absolute()))
            if options.profile == "idle"
            else burst(OURS, 10_000, profile=str(file.absolute()))
        )
        console.print(f"{file}: {row.cpu:.1f} s of processor time, {row.requests} requests")
        return
    begun = time.monotonic()
    counts = (1_000,) if options.brief else (1_000, 10_000)
    machine = {
        "cores": os.cpu_count(),
        "cpu": cpu_name(),
        "memory_gb": memory_gb(),
        "python": platform.python_version(),
    }
    found: dict[str, Any] = {
        "version": __version__,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine,
        "tables": {},
    }
    console.print(
        f"bitrix-sync {__version__}, {found['date']}: {machine['cores']} cores ({machine['cpu']}), "
        f"{machine['memory_gb']} GB, Python {machine['python']}"
    )

    def tell(key: str, title: str, rows: Sequence[Row]) -> None:
        found["tables"][key] = [asdict(row) for row in rows]
        show(console, title, rows)

    for count in counts:
        tell(f"burst_{count}", f"{count:,} deals moved at once", [burst(name, count) for name in CONTENDERS])
    tell(
        "burst_slow",
        "1,000 deals moved at once, on a portal whose commands take their usual time (a new task 0.35 s)",
        [burst(name, 1_000, quick=False) for name in CONTENDERS],
    )
    tell(
        "burst_faults",
        f"{len(SEEDS)} x 1,000 deals moved at once; {FAULTS:.0%} of the requests go wrong, half of them after they ran",
        [total([burst(name, 1_000, faults=FAULTS, seed=seed) for seed in SEEDS]) for name in CONTENDERS],
    )
    for count in counts[-1:]:
        tell(
            f"sweep_{count}",
            f"{count:,} overdue tasks of 200 owners moved and told",
            [sweep(n, count) for n in SCRIPTS],
        )
    tell("idle", "An hour in which nothing happens (floor: one request a poll)", [idle()])
    found["events"] = apart(door.measure, 2_000 if options.brief else 10_000)
    found["core"] = {
        "loading": apart(core.measure_loading, 1_000),
        "deciding": apart(core.measure_deciding, *((10_000, 200) if options.brief else (100_000, 200))),
        "quiet": apart(million.measure, 10_000 if options.brief else 1_000_000),
    }
    tell_rest(console, found)
    options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    console.print(f"{time.monotonic() - begun:.0f} s; all figures are in {options.json}")


def tell_rest(console: Console, found: Mapping[str, Any]) -> None:
    """What is no contest."""
    events, parts = found["events"], found["core"]
    loading, deciding, quiet = parts["loading"], parts["deciding"], parts["quiet"]
    console.print(
        f"Event address, {events['events']:,} events: {events['per_second']:,.0f} a second, {events['ratio']:.2f} of "
        f"the same server's answering a constant ({events['constant_per_second']:,.0f}); at half that load 50 % within "
        f"{events['p50_ms']:.1f} ms, 99 % within {events['p99_ms']:.1f} ms; {events['requests']} requests to the "
        f"portal meanwhile ({events['seconds']:.0f} s)"
    )
    console.print(
        f"Rules: a file of {loading['rules']:,} is loaded in {loading['cpu']:.2f} s. Decisions: {deciding['visits']:,} "
        f"visits x {deciding['rules']} rules in {deciding['cpu']:.1f} s ({deciding['operations']:,} operations), "
        f"{deciding['kb_a_visit']:.1f} KB a visit"
    )
    console.print(
        f"A store of {quiet['tasks']:,} tasks ({quiet['file_mb']:.0f} MB): an idle pass takes {quiet['pass_ms']:.1f} "
        f"ms of processor time, a turn with nothing due {quiet['turn_ms']:.2f} ms"
    )


def cpu_name() -> str:
    """What the machine calls its processor."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        return next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "unknown")


def memory_gb() -> int:
    """All of the machine's memory."""
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)


if __name__ == "__main__":
    main()
