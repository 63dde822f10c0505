"""The real ``bitrix-sync run`` as a process of its own: started, asked over HTTP, ended, killed."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import resource
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

from bitrix_sync.cli import main
from bitrix_sync.store import lease

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-c", "from bitrix_sync.cli import main; main()")
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")
LONGEST = 120.0
"""Seconds for anything that is waited for: far more than it takes, so that a slow machine fails nothing."""


def until(holds: Callable[[], Any], *, seconds: float = LONGEST) -> Any:
    """Wait until something holds, and give it."""
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    return found


@cache
def _loaded() -> ForkServerContext:
    """A process in which the program is loaded, and nothing was begun: each process of it is forked from there."""
    context, usual = multiprocessing.get_context("forkserver"), os.environ.get("PYTHONPATH", "")
    ours = ("tests.world.process", "bitrix_sync.app", "scheduler", "webhooks.page")
    context.set_forkserver_preload([*ours, "alembic.command", "fast_bitrix24"])
    os.environ["PYTHONPATH"] = str(ROOT)
    forkserver.ensure_running()
    os.environ["PYTHONPATH"] = usual
    return context


def _live(folder: Path, environ: Mapping[str, str], words: tuple[str, ...], out: Path, err: Path) -> None:
    """What happens in such a process: the command, as ``python -c`` would do it."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    for number, file in ((1, out), (2, err)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_TRUNC), number)
    sys.stdout, sys.stderr = (open(number, "w", encoding="utf-8", buffering=1, closefd=False) for number in (1, 2))  # noqa: SIM115
    sys.argv = ["bitrix-sync", *words]
    lease._THIS_PROCESS = uuid4().hex  # it was made when the program was loaded
    main()


class Begun:
    """A process of the program that is loaded already, asked as a ``Popen`` is."""

    def __init__(self, *given: Any) -> None:
        self.process = ForkServerProcess(target=_live, args=given, daemon=True)
        _loaded()
        self.process.start()
        assert self.process.pid
        self.pid = self.process.pid

    def poll(self) -> int | None:
        """Its exit code, once there is one."""
        return self.process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self, seconds: float) -> int:
        """Its exit code, when it has ended."""
        self.process.join(seconds)
        assert self.process.exitcode is not None, "waited in vain"
        return self.process.exitcode


class Running:
    """A process of the command line, or of another ``script`` of the project. ``environ``: settings; nothing else of
    ours is in its environment."""

    def __init__(self, folder: Path, environ: Mapping[str, str], *words: str, script: str = "") -> None:
        self.folder, self.words, self.environ = folder, words or ("run",), dict(environ)
        self.script = script
        self.out, self.err = folder / f"{self.words[0]}.out", folder / f"{self.words[0]}.err"
        self.process: subprocess.Popen[bytes] | Begun | None = None
        self.start()

    def start(self) -> None:
        """Begin (again); what it said before is forgotten."""
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("BITRIX_", "DATABASE_"))}
        environ = {**plain, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **self.environ}
        with self.out.open("wb") as out, self.err.open("wb") as err:
            if self.script:
                command = [sys.executable, str(ROOT / self.script), *self.words]
                self.process = subprocess.Popen(command, cwd=self.folder, env=environ, stdout=out, stderr=err)
            else:
                self.process = Begun(self.folder, environ, self.words, self.out, self.err)

    @property
    def said(self) -> str:
        """All that it printed, to both sides."""
        return "".join(file.read_text("utf-8", "replace") for file in (self.out, self.err))

    @property
    def url(self) -> str:
        """Its web side, once it is open."""
        return until(lambda: self._alive() and ADDRESS.search(self.out.read_text("utf-8")))[0]

    def _alive(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.said
        return True

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of one of its addresses."""
        return ask(urllib.request.Request(self.url + path))

    def post(self, path: str, body: bytes, **headers: str) -> tuple[int, str]:
        """The same for a POST; a form unless a header says otherwise."""
        given = {"Content-Type": "application/x-www-form-urlencoded"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        return ask(urllib.request.Request(self.url + path, data=body, headers=given))

    @property
    def why_not_ready(self) -> str:
        """What /readyz gives as its reason; "" when it is ready."""
        status, body = self.get("/readyz")
        state = json.loads(body)
        assert (status == 200) == state["ready"]
        return "" if state["ready"] else str(state["reason"])

    def ready(self) -> Running:
        """Wait until it does its work."""
        until(lambda: not self.why_not_ready)
        return self

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send it a signal, and wait for its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Its exit code, when it has ended by itself."""
        assert self.process is not None
        return self.process.wait(LONGEST)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.end(signal.SIGKILL)


def ask(request: urllib.request.Request) -> tuple[int, str]:
    """Status and body, also of a refusal."""
    try:
        with urllib.request.urlopen(request, timeout=LONGEST) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()


def event(token: str, *, name: str = "ONCRMDEALUPDATE", number: int = 1) -> bytes:
    """An event as a portal sends it."""
    fields = {
        "event": name,
        "event_handler_id": "975",
        "data[FIELDS][ID]": number,
        "ts": 1772434800,
        "auth[domain]": "127.0.0.1",
        "auth[member_id]": "d897063e1ce7c5eb9f04b9751eef5915",
        "auth[application_token]": token,
    }
    return urlencode(fields).encode()


@contextmanager
def full_disk(process: int = 0) -> Iterator[None]:
    """No file of a process (0: this one) can grow, as on a disk that is full."""
    usual = resource.prlimit(process, resource.RLIMIT_FSIZE)
    resource.prlimit(process, resource.RLIMIT_FSIZE, (8192, usual[1]))
    try:
        yield
    finally:
        resource.prlimit(process, resource.RLIMIT_FSIZE, usual)
