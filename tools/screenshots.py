"""Screenshots for the README, taken from the demo, so that they show what the program shows.

``python tools/screenshots.py`` starts the demo, gives it time for its story, writes ``docs/screenshots/*.png`` and ends
the demo. ``--url http://127.0.0.1:8080`` takes them from a page that runs already. Needs chromium.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.request import urlopen

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "docs" / "screenshots"
START_SECONDS = 60.0
ADDRESS = re.compile(r"http://(?:127\.0\.0\.1|localhost|\[::1\]):\d+")

DESK: dict[str, Any] = {"viewport": {"width": 1200, "height": 860}, "color_scheme": "light"}
DARK: dict[str, Any] = {**DESK, "color_scheme": "dark"}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "color_scheme": "light", "device_scale_factor": 2}
SHOTS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("overview", "/", DESK),
    ("load", "/load", DESK),
    ("dark", "/", DARK),
    ("phone", "/", PHONE),
)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def main() -> None:
    """Take them all."""
    options = argparse.ArgumentParser(description="Take the README's screenshots from the demo.")
    options.add_argument("--url", help="a page that runs already; without it the demo is started")
    options.add_argument("--wait", type=float, default=45, help="seconds for the demo to tell its story")
    options.add_argument("--to", type=Path, default=TARGET, help="where the pictures go")
    chosen = options.parse_args()
    chosen.to.mkdir(parents=True, exist_ok=True)
    if chosen.url:
        take(chosen.url, chosen.to)
        return
    with demo(chosen.wait) as url:
        take(url, chosen.to)


@contextmanager
def demo(wait: float) -> Iterator[str]:
    """The address of the demo's page, ``wait`` seconds after the service behind it was ready."""
    command = [sys.executable, "-c", "from bitrix_sync.cli import main; main()", "demo"]
    with tempfile.TemporaryFile("w+") as told:
        process = subprocess.Popen(command, cwd=ROOT, stdout=told, stderr=subprocess.STDOUT)  # noqa: S603
        try:
            until = time.monotonic() + START_SECONDS
            while not (address := ready(told)):
                if process.poll() is not None or time.monotonic() > until:
                    told.seek(0)
                    raise SystemExit(f"the demo shows no page:\n{told.read()[-2000:]}")
                time.sleep(0.5)
            time.sleep(wait)
            yield address
        finally:
            process.terminate()
            process.wait(15)


def ready(told: IO[str]) -> str:
    """The address among those printed so far behind which a service is ready; "" if there is none yet."""
    told.seek(0)
    for address in dict.fromkeys(ADDRESS.findall(told.read())):
        with contextlib.suppress(OSError), urlopen(f"{address}/readyz", timeout=5) as answer:  # noqa: S310  loopback
            if answer.status == 200:
                return str(address)
    return ""


def take(url: str, target: Path) -> None:
    """Every picture of the page at ``url``, the upper part of it as a visitor sees it first."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or "/usr/bin/chromium"
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=list(FLAGS))
        for name, path, screen in SHOTS:
            context = browser.new_context(base_url=url, **screen)
            page = context.new_page()
            answer = page.goto(path)
            if answer is None or answer.status != 200:
                raise SystemExit(f"{url}{path} answered {answer.status if answer else 'nothing'}")
            page.screenshot(path=str(target / f"{name}.png"))
            context.close()
        browser.close()


if __name__ == "__main__":
    main()
