"""``make fleet``: what must hold when many portals are served by several workers, checked on a PostgreSQL server of its
own, with real processes, kills and pauses. Prints a table; bounded to ten minutes."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests import postgres
from tests.fleet import checks


def main() -> int:
    """0: all held; 1: something did not."""
    parser = argparse.ArgumentParser(prog="python -m tests.fleet", description=__doc__)
    parser.add_argument(
        "--only", nargs="*", default=list(checks.ALL), choices=list(checks.ALL), help="these checks alone"
    )
    parser.add_argument(
        "--full", action="store_true", help="as long as the paper wants: a thousand portals, three minutes"
    )
    options = parser.parse_args()
    place = postgres.programs()
    if place is None:
        print("no PostgreSQL server is installed here (Debian: apt-get install postgresql); nothing is checked")
        return 0
    failed = 0
    began = time.monotonic()
    with postgres.running(place) as home:
        for name in options.only:
            at = time.monotonic()
            with tempfile.TemporaryDirectory(prefix="bitrix-sync-fleet-") as folder:
                stage = checks.Stage(
                    Path(folder), postgres.new_database(f"fleet_{name}"), place, home, full=options.full
                )
                try:
                    checks.ALL[name](stage)
                except Exception:
                    stage.wrong(traceback.format_exc(limit=4))
                finally:
                    stage.close()
            verdict = "ok" if not stage.faults else "WRONG"
            print(f"{name:<10} {verdict:<6} {time.monotonic() - at:5.0f} s  {', '.join(stage.figures)}", flush=True)
            for fault in stage.faults:
                print(f"    {fault}")
            failed += bool(stage.faults)
    print(f"{len(options.only) - failed} of {len(options.only)} hold, {time.monotonic() - began:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
