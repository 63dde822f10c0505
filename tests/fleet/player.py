"""``bitrix-sync worker`` with something in it that is not as it should be: see ``FLEET_PLAY``.

``hold=FILE`` waits just before the first write leaves, as long as the file is there, as a stopped process would;
``unfenced`` does not look at its beats; ``newer`` knows a later version of the tables.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path


def main() -> None:
    """The command, played with."""
    play = dict(word.partition("=")[::2] for word in os.environ.get("FLEET_PLAY", "").split())
    if "unfenced" in play:
        from bitrix_sync.fleet.beats import Beats

        Beats.require = lambda _beats, _generation: None  # type: ignore[method-assign]
    if file := play.get("hold"):
        _hold(Path(file))
    if "newer" in play:
        from bitrix_sync.store import schema

        schema.HEAD = "9999"
    from bitrix_sync.cli import main as command

    sys.argv = ["bitrix-sync", "worker"]
    command()


def _hold(file: Path) -> None:
    from bitrix_sync.engine import sender

    def stop(point: str) -> None:
        if point == "send:before" and file.exists():
            file.with_suffix(".held").touch()
            while file.exists():
                time.sleep(0.05)

    sender.crash_point = stop


if __name__ == "__main__":
    main()
