"""The command line as a person uses it, in this process: words in, exit code and what was printed out."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from bitrix_sync import log
from bitrix_sync.cli import main


@dataclass(frozen=True)
class Ran:
    """What became of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, read as JSON."""
        return json.loads(self.out)


class Shell:
    """A shell in a folder, with settings in its environment."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self.folder, self.environ = folder, dict(environ)

    def __call__(self, *words: str, **more: str) -> Ran:
        """Run ``bitrix-sync words``; ``more`` settings are for this run alone."""
        out, err = io.StringIO(), io.StringIO()
        with _as_it_was(), contextlib.chdir(self.folder):
            os.environ.update({**self.environ, **more})
            sys.argv = ["bitrix-sync", *words]
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                try:
                    main()
                except SystemExit as done:
                    code = done.code
        assert isinstance(code, int)
        return Ran(code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def _as_it_was() -> Iterator[None]:
    """A command ends with its process; here what it set for the process is put back."""
    environ, argv, hooks = dict(os.environ), sys.argv, (sys.excepthook, threading.excepthook)
    root = logging.getLogger()
    level = root.level
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(environ)
        sys.argv = argv
        for handler in [one for one in root.handlers if type(one).__module__ == log.__name__]:
            root.removeHandler(handler)
        root.setLevel(level)
        sys.excepthook, threading.excepthook = hooks
        logging.captureWarnings(False)
        structlog.reset_defaults()
