"""``python -m tests.quarter``: the table of a quarter, ``room: none`` beside ``room: learned``; do the dates hold?"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

from bitrix_sync import log
from tests.quarter.ledger import Count
from tests.quarter.world import HEAVY, ROOMS, Outcome, Plan, run

ROWS: Mapping[str, Callable[[Count], str]] = {
    "swept dates kept": lambda one: f"{one.share_kept:.1%}",
    "moves a late task": lambda one: f"{one.moves_each:.2f}",
    "moves because of an absence": lambda one: f"{one.for_absence:,}",
    "dates inside an absence": lambda one: f"{one.into_absence:,}",
    "days over room, another of ten free": lambda one: f"{one.over_room:,}",
    "escalations because of absence": lambda one: f"{one.escalated_for_absence:,}",
    "escalated tasks": lambda one: f"{one.escalated:,}",
    "late tasks": lambda one: f"{one.late:,}",
    "kept promises": lambda one: f"{one.kept_promises / max(1, one.tasks):.1%}",
    "tasks": lambda one: f"{one.tasks:,}",
}
LEAST_KEPT, MOST_MOVES = 0.9, 1.3


def main() -> int:
    """0: with learned room the dates hold; 1: they do not."""
    options = arguments()
    plan = Plan(options.weeks, options.owners, newer_first=options.newer_first)
    print(f"seed {options.seed}: {plan.weeks} weeks, {plan.owners} owners, two sweeps a working day", flush=True)
    began = time.monotonic()
    quiet = partial(log.configure, level=logging.ERROR)
    with ProcessPoolExecutor(len(ROOMS), mp_context=get_context("spawn"), initializer=quiet) as pool:
        played = dict(zip(ROOMS, pool.map(partial(run, options.seed, plan), ROOMS), strict=True))
    table(played)
    print(f"{time.monotonic() - began:.0f} s, {sum(one.requests for one in played.values()):,} requests")
    faults = verdict(played["learned"])
    print("\n".join(f"WRONG: {fault}" for fault in faults) or "the dates hold")
    return 1 if faults else 0


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.quarter", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="another quarter (default: %(default)s)")
    parser.add_argument("--weeks", type=int, default=13, help="how many weeks (default: %(default)s)")
    parser.add_argument("--owners", type=int, default=40, help="how many owners (default: %(default)s)")
    parser.add_argument("--newer-first", action="store_true", help="of what is due on a day people do the newer first")
    return parser.parse_args()


def table(played: Mapping[str, Outcome]) -> None:
    """As it stands in README."""
    light = f"load below {HEAVY:.0%}"
    names = [*(f"`room: {room}`" for room in played), *(f"`room: {room}`, {light}" for room in played)]
    counts = [*(one.all for one in played.values()), *(one.lighter for one in played.values())]
    print(f"\n| | {' | '.join(names)} |\n|---|{'--:|' * len(names)}")
    for name, told in ROWS.items():
        print(f"| {name} | {' | '.join(told(count) for count in counts)} |")
    print()


def verdict(one: Outcome) -> list[str]:
    """What does not hold of a run with learned room."""
    wrong = {
        f"fewer than {LEAST_KEPT:.0%} of swept dates were kept": one.lighter.share_kept < LEAST_KEPT,
        f"more than {MOST_MOVES} moves a late task": one.lighter.moves_each > MOST_MOVES,
        "dates inside an absence": one.all.into_absence > 0,
        "days over room though another was free": one.all.over_room > 0,
        "escalations because of absence": one.all.escalated_for_absence > 0,
    }
    return [name for name, is_so in wrong.items() if is_so]


if __name__ == "__main__":
    sys.exit(main())
