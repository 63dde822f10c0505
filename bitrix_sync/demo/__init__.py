"""The demonstration: the product on a sandbox portal of its own, told as the story of a week, with the page beside it.

Everything lies in a temporary directory; the settings of the user, his database and his portal are not touched. The
rules are those that came with the project.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import scheduler
from bitrix_sandbox import Sandbox, serve
from bitrix_sandbox.state.clock import Clock
from bitrix_sandbox.state.portal import PortalState
from bitrix_sandbox.state.seed import build_department
from bitrix_sync import log
from bitrix_sync.app import Service
from bitrix_sync.demo.narrator import Narrator
from bitrix_sync.demo.staff import SimulatedStaff
from bitrix_sync.demo.story import BEGIN, Story
from bitrix_sync.errors import BitrixSyncError, SettingError
from bitrix_sync.portal.rate_limiter import Stopped
from bitrix_sync.settings import Listen, load_settings
from bitrix_sync.setup.init import example
from bitrix_sync.words.language import DEFAULT, Language
from webhooks import page
from webhooks.page_auth import PageAuth
from webhooks.server import create_app
from webhooks.server import serve as serve_web

WEB = (Listen("127.0.0.1", 8080), Listen("127.0.0.1", 0))
"""Where the page is: the usual address, or any that is free."""
SANDBOX_PORT = 8090
TOKEN = "sandbox"  # noqa: S105  no secret: it is printed
PAUSE = 1.0
"""Seconds between two scenes on a terminal."""


def once(language: Language) -> None:
    """Play the story and end."""
    teller = Narrator(language)
    with company(language) as (portal, service):
        introduce(teller, portal)
        Story(portal, service, teller, pause=lambda: None).play()
    teller.say("")
    teller.say(teller.word("demo.end"))


def live(language: Language) -> None:
    """Play the story with the page beside it, then let the portal live on until Ctrl-C or SIGTERM."""
    with company(language) as (portal, service):
        demo = _Live(portal, service, Narrator(language))
        for listen in WEB:
            try:
                serve_web(
                    create_app(service, blueprints=[page.blueprint(service, gate=PageAuth(None, service.store))]),
                    listen,
                    service.stopping,
                    announce=demo.begin,
                )
                break
            except SettingError:
                if listen is WEB[-1]:
                    raise
            except KeyboardInterrupt:
                break
        demo.end()


class _Live:
    """The story and what follows it, in a thread beside the web server."""

    def __init__(self, portal: Sandbox, service: Service, teller: Narrator) -> None:
        self.portal, self.service, self.teller = portal, service, teller
        self.url = ""
        self.fault: Exception | None = None
        self.thread = threading.Thread(target=self.work, name="worker", daemon=True)

    def begin(self, url: str) -> None:
        """The page is open at ``url``."""
        self.url = url
        self.thread.start()

    def work(self) -> None:
        """Play, then work as the service does, while people go on acting."""
        try:
            introduce(self.teller, self.portal, page=self.url)
            Story(self.portal, self.service, self.teller, pause=self.pause).play()
            self.portal.events.subscribe(f"{self.url}/webhooks/bitrix24", TOKEN)
            self.teller.say("")
            self.teller.say(self.teller.word("demo.live"))
            self.teller.say(self.teller.word("demo.page", url=self.url), style="bold")
            life = SimulatedStaff(self.portal, self.service, self.teller)
            threading.Thread(target=life.go_on, name="people", daemon=True).start()
            scheduler.run(self.service)
            if self.service.failed:
                raise BitrixSyncError(self.service.failed)
        except Stopped:
            return
        except Exception as fault:
            self.fault = fault
        finally:
            self.service.stop()

    def pause(self) -> None:
        """Between two scenes; raises Stopped when the end is asked for."""
        if self.service.stopping.wait(PAUSE if self.teller.console.is_terminal else 0):
            raise Stopped("stopping")

    def end(self) -> None:
        """Wait for the thread, and tell what ended it."""
        self.service.stop()
        if self.thread.ident is not None:
            self.thread.join()
        if self.fault is not None:
            raise self.fault


@contextmanager
def company(language: Language) -> Iterator[tuple[Sandbox, Service]]:
    """The sandbox portal on the Monday of the story, and a service for it that has done nothing yet."""
    log.configure("text", level=logging.ERROR)
    with TemporaryDirectory(prefix="bitrix-sync-demo-") as name, Sandbox(clock=Clock(BEGIN)) as portal:
        folder = Path(name)
        rules = folder / "rules.yaml"
        rules.write_text(example().replace(f"language: {DEFAULT}", f"language: {language}", 1), encoding="utf-8")
        environ = {
            "BITRIX_WEBHOOK_URL": portal.url,
            "BITRIX_APPLICATION_TOKEN": TOKEN,
            "BITRIX_RULES": str(rules),
            "DATABASE_URL": f"sqlite:///{folder / 'demo.db'}",
        }
        service = Service(load_settings(environ, None), clock=portal.clock.now)
        try:
            yield portal, service
        finally:
            service.close()


def introduce(teller: Narrator, portal: Sandbox, *, page: str = "") -> None:
    """What this is, and what it is not."""
    teller.heading(teller.word("demo.title"))
    teller.say(teller.word("demo.intro", count=open_deals(portal.state), rules="rules.yaml"))
    if names := teller.word("demo.names"):
        teller.say(names)
    if page:
        teller.say(teller.word("demo.page", url=page), style="bold")


def open_deals(state: PortalState) -> int:
    """Deals that are neither won nor lost."""
    return sum(not deal.closed for deal in state.deals.values())


def sandbox(language: Language) -> None:
    """The sandbox portal alone, until Ctrl-C or SIGTERM."""
    teller, stop, state = Narrator(language), threading.Event(), build_department(Clock())
    before = signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        for port in (SANDBOX_PORT, 0):
            try:
                serve(announce=lambda url: tell_sandbox(teller, url, state), stop=stop, state=state, port=port)
                break
            except OSError:
                if not port:
                    raise
    finally:
        signal.signal(signal.SIGTERM, before)


def tell_sandbox(teller: Narrator, url: str, state: PortalState) -> None:
    """How to work with a sandbox whose webhook is ``url``."""
    root = url.partition("/rest/")[0]
    act = '{"do": "move_deal", "with": {"deal_id": 29, "stage_id": "PREPARATION", "by": 7}}'
    fault = '{"kind": "cut_after", "method": "tasks.task.add", "times": 3}'
    events = f'{{"url": "http://127.0.0.1:8080/webhooks/bitrix24", "token": "{TOKEN}"}}'
    teller.say(teller.word("sandbox.title", count=open_deals(state)), style="bold")
    for key, line in (
        ("webhook", f"BITRIX_WEBHOOK_URL={url}"),
        ("look", f"curl {root}/sandbox/tasks"),
        ("act", f"curl -d '{act}' {root}/sandbox/act"),
        ("fault", f"curl -d '{fault}' {root}/sandbox/faults"),
        ("events", f"curl -d '{events}' {root}/sandbox/events"),
    ):
        teller.say(teller.word(f"sandbox.{key}"))
        teller.verbatim(f"  {line}")
