"""``python -m tests.chaos``: runs of many seeds, bounded in time, and a table of what they met."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path

from tests.chaos.world import POINTS, Outcome, Plan, run

KINDS = ("kills", "threads", "errors", "clock", "time", "still", "rows", "rival")
"""What every seed has to meet."""

HEAD = (
    f"{'seed':>6} {'time':>6} {'kills':>5} {'moves':>6} {'tasks':>6} {'swept':>6} {'sweeps':>6} {'told':>5} "
    f"{'requests':>8} {'faults':>6}  verdict"
)


def main() -> int:
    """0: everything was right; 1: something was lost, doubled or refused."""
    options = arguments()
    seeds = [options.seed] if options.seed is not None else range(options.first, options.first + options.seeds)
    plan = Plan(options.deeds, options.kills, options.chapters)
    print(f"seeds {seeds[0]} to {seeds[-1]}: {plan.deeds} deeds and {plan.kills} kills each")
    print(HEAD, flush=True)
    began = time.monotonic()
    outcomes = []
    for outcome in runs(list(seeds), plan, options):
        outcomes.append(outcome)
        report(outcome)
    return summary(outcomes, len(seeds), time.monotonic() - began)


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="one seed alone: a failing one again")
    parser.add_argument("--seeds", type=int, default=20, help="how many seeds (default: %(default)s)")
    parser.add_argument("--first", type=int, default=int(time.time()) % 100_000 * 100, help="the first seed")
    parser.add_argument("--deeds", type=int, default=500, help="what people do in a run (default: %(default)s)")
    parser.add_argument("--kills", type=int, default=20, help="kills in a run (default: %(default)s)")
    parser.add_argument("--chapters", type=int, default=4, help="sweeps in a run (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=900, help="begin no run ending later (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=4, help="runs at once (default: %(default)s)")
    parser.add_argument("--keep", type=Path, help="where to keep store and log of runs that fail")
    return parser.parse_args()


def runs(seeds: list[int], plan: Plan, options: argparse.Namespace) -> Iterator[Outcome]:
    """The outcomes, as they come; no run begins that would not end in time."""
    end = time.monotonic() + options.seconds
    longest = 0.0
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        going: set[Future[Outcome]] = set()
        waiting = list(reversed(seeds))
        while going or waiting:
            while waiting and len(going) < options.jobs and time.monotonic() + 1.2 * longest < end:
                going.add(pool.submit(run, waiting.pop(), plan, options.keep))
            if not going:
                return
            done, going = wait(going, return_when=FIRST_COMPLETED)
            for future in done:
                outcome = future.result()
                longest = max(longest, outcome.seconds)
                yield outcome


def report(outcome: Outcome) -> None:
    """One line; what was wrong below it."""
    verdict = outcome.verdict
    for kind in KINDS:
        if not outcome.injected[kind]:
            verdict.wrong(f"it met none of: {kind}")
    word = "ok" if not verdict.faults else f"{len(verdict.faults)} WRONG"
    print(
        f"{outcome.seed:>6} {outcome.seconds:>5.0f}s {outcome.kills:>5} {outcome.moves:>6} {verdict.occurrences:>6} "
        f"{verdict.moved:>6} {outcome.sweeps:>6} {verdict.messages:>5} {outcome.requests:>8} {outcome.struck:>6}  "
        f"{word}",
        flush=True,
    )
    print(f"       met: {_counts(outcome.injected)}")
    for fault in verdict.faults[:20]:
        print(f"       {fault}")
    if verdict.faults:
        print(f"       again: python -m tests.chaos --seed {outcome.seed}", flush=True)


def _counts(injected: Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(injected.items()))


def summary(outcomes: list[Outcome], seeds: int, seconds: float) -> int:
    """All runs together."""
    wrong = [outcome.seed for outcome in outcomes if outcome.verdict.faults]
    points = {point for outcome in outcomes for point in outcome.points}
    print(
        f"\n{len(outcomes)} of {seeds} seeds in {seconds:.0f} s: {sum(o.kills for o in outcomes)} kills "
        f"({len(points)} of {len(POINTS)} named points), {sum(o.moves for o in outcomes)} moves of deals, "
        f"{sum(o.verdict.occurrences for o in outcomes)} tasks, {sum(o.verdict.moved for o in outcomes)} moved by "
        f"{sum(o.sweeps for o in outcomes)} sweeps, {sum(o.struck for o in outcomes)} faults on the way"
    )
    print(f"met: {_counts(sum((outcome.injected for outcome in outcomes), Counter()))}")
    if missed := [point for point in POINTS if point not in points]:
        print(f"ended at none of: {', '.join(missed)}")
    if not wrong and len(outcomes) == seeds:
        print("nothing lost, nothing doubled, nothing refused")
    elif not wrong:
        print("what ran was right; time was up before all seeds had run")
    else:
        print(f"WRONG: seeds {', '.join(map(str, wrong))}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
