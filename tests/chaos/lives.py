"""The service as a process, one life after another."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Lives:
    """Starts and ends processes of the service; one lives at a time. ``environ``: its settings. ``log``: where they
    write. What it returns as exit code is negative for a signal."""

    def __init__(self, environ: Mapping[str, str], folder: Path, log: Path) -> None:
        self._environ, self._folder, self._log = environ, folder, log
        self.pid = 0

    @cached_property
    def _launcher(self) -> subprocess.Popen[bytes]:
        """From whose process all lives are forked; none before the first."""
        others = {name: value for name, value in os.environ.items() if not name.startswith("BITRIX_")}
        with self._log.open("ab") as written:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.launcher"],
                cwd=self._folder,
                env={**others, "PYTHONPATH": str(ROOT), **self._environ},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=written,
            )

    def begin(self, fates: str = "") -> None:
        """A new life; ``fates`` is what it meets where (``send:after*2=KILL``), "" for nothing."""
        assert self._launcher.stdin is not None
        assert not self.pid
        self._launcher.stdin.write(f"{fates}\n".encode())
        self._launcher.stdin.flush()
        self.pid = self._read()

    def ended(self, timeout: float = 0.0) -> int | None:
        """The exit code, once there is one."""
        if not select.select([self._launcher.stdout], [], [], timeout)[0]:
            return None
        self.pid = 0
        return self._read()

    def kill(self) -> int:
        """kill -9."""
        os.kill(self.pid, signal.SIGKILL)
        code = self.ended(60.0)
        assert code is not None
        return code

    def suspend(self, seconds: float) -> None:
        """Let it stand still for a while."""
        os.kill(self.pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(self.pid, signal.SIGCONT)

    def ask_to_end(self) -> None:
        """SIGTERM."""
        os.kill(self.pid, signal.SIGTERM)

    def close(self) -> None:
        """End everything."""
        if self.pid and self.ended() is None:
            self.kill()
        if "_launcher" in vars(self):
            self._launcher.communicate()

    def _read(self) -> int:
        assert self._launcher.stdout is not None
        line = self._launcher.stdout.readline()
        if not line:
            raise RuntimeError("the launcher has ended; see the log")
        return int(line)
