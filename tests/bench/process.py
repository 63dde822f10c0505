"""A contender in a process of its own, so that its processor time and its memory are its own: it is told by lines of
JSON on standard input what to do, and answers in the same way."""

from __future__ import annotations

import cProfile
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Cost:
    """What an order took: processor seconds, and the peak of memory so far in MB."""

    cpu: float
    peak_mb: float


def serve(contender: Any) -> None:
    """Do what the lines say, with a profile written if the order names a file for it."""
    for line in sys.stdin:
        order = json.loads(line)
        deed, file = getattr(contender, order.pop("do")), order.pop("profile", None)
        begun = time.process_time()
        if file:
            profile = cProfile.Profile()
            profile.runcall(deed, **order)
            profile.dump_stats(file)
        else:
            deed(**order)
        sys.stdout.write(json.dumps({"cpu": time.process_time() - begun, "peak_mb": peak_mb()}) + "\n")
        sys.stdout.flush()


def peak_mb() -> float:
    """The most memory that this program had so far; getrusage would count what it was forked from."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


class Contender:
    """The other end: starts ``python -m module folder url how``."""

    def __init__(self, module: str, folder: Path, url: str, **how: Any) -> None:
        self._log = (folder / "contender.log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, str(folder), url, json.dumps(how)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def __enter__(self) -> Contender:
        return self

    def __exit__(self, *_: object) -> None:
        with self._process as process:
            assert process.stdin is not None
            process.stdin.close()
        self._log.close()

    def order(self, deed: str, **how: Any) -> Cost:
        """Have something done; lines that are no answer are the contender's log."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps({"do": deed, **how}) + "\n")
        process.stdin.flush()
        for line in process.stdout:
            if line.startswith('{"cpu"'):
                return Cost(**json.loads(line))
            self._log.write(line.encode())
        raise RuntimeError(f"{process.args} ended while it should {deed}; see {self._log.name}")
