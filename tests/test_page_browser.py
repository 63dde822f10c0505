"""The page in a real browser: it renders, its links work, nothing complains, nothing goes to another host.

Needs Debian's chromium; without it these tests are skipped. Set BROWSER_SHOTS to a directory to keep screenshots.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bitrix_sync.settings import Listen
from bitrix_sync.store import Store
from tests.world.records import ANNA, IVAN, Door, bustle, settings
from webhooks import page
from webhooks.server import WebServer, create_app

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PAGES = (
    "/",
    "/load",
    "/late",
    "/done",
    "/week",
    "/deals",
    "/departments/3",
    "/today",
    "/stages",
    "/moves",
    "/service",
    "/rules",
    "/names",
    "/names?of=fields",
    "/deals/191",
    f"/people/{IVAN}",
)
PASSWORD = "correct horse battery"
SCREENS: dict[str, Any] = {
    "desk": {"viewport": {"width": 1280, "height": 800}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 800}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 360, "height": 740}, "color_scheme": "light", "is_mobile": True},
}

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="no chromium on this machine"),
    # the browser's driver is a process that python speaks to over pipes, in an event loop of its own
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store(f"sqlite:///{tmp_path_factory.mktemp('browser') / 'store.db'}") as store:
        bustle(store)
        yield store


def served(store: Store, **environ: str) -> Iterator[str]:
    """The page on a free port of this machine, over real HTTP."""
    door = Door(store, settings=settings(**environ))
    server = WebServer(create_app(door, blueprints=[page.blueprint(door)]), Listen("127.0.0.1", 0))
    stop = threading.Event()
    thread = threading.Thread(target=server.run, args=(stop,))
    thread.start()
    yield server.url
    stop.set()
    server.wake()
    thread.join()


@pytest.fixture(scope="module")
def url(store: Store) -> Iterator[str]:
    yield from served(store)


@pytest.fixture(scope="module")
def guarded(store: Store) -> Iterator[str]:
    yield from served(store, BITRIX_PAGE_PASSWORD=PASSWORD)


@dataclass
class Watch:
    """All that a page complains of or asks for."""

    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def note_failure(self, request: Any) -> None:
        """A request that failed; not one that the browser itself gave up, as the next page was opened."""
        if request.failure != "net::ERR_ABORTED":
            self.complaints.append(f"failed: {request.url}")

    def over(self, page: Page) -> None:
        page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("requestfailed", self.note_failure)
        page.on("response", lambda answer: self.complaints.append(answer.url) if answer.status >= 400 else None)
        page.on("request", lambda request: self.asked.append(request.url))


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def opened(browser: Browser, watch: Watch, url: str) -> Iterator[Page]:
    context = browser.new_context(base_url=url, **SCREENS["desk"])
    page = context.new_page()
    watch.over(page)
    yield page
    context.close()
    assert watch.complaints == []
    assert {address.split("/")[2] for address in watch.asked} == {url.removeprefix("http://")}


def shoot(page: Page, name: str) -> None:
    if shots := os.environ.get("BROWSER_SHOTS"):
        page.screenshot(path=str(Path(shots) / f"{name}.png"), full_page=True)


@pytest.mark.parametrize("screen", SCREENS)
def test_every_page_renders_without_complaint_and_fits(browser: Browser, watch: Watch, url: str, screen: str) -> None:
    context: BrowserContext = browser.new_context(base_url=url, **SCREENS[screen])
    tab = context.new_page()
    watch.over(tab)
    for path in PAGES:
        tab.goto(path)
        assert tab.locator("h1").count() == 1
        too_wide = tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert too_wide <= 0, f"{path} is wider than the {screen}"
        shoot(tab, f"{screen}{path.replace('/', '_')}")
    context.close()
    assert watch.complaints == []
    assert {address.split("/")[2] for address in watch.asked} == {url.removeprefix("http://")}


def test_the_style_sheet_is_in_force_and_dark_is_dark(browser: Browser, url: str) -> None:
    seen = {}
    for screen in ("desk", "dark"):
        context = browser.new_context(base_url=url, **SCREENS[screen])
        tab = context.new_page()
        tab.goto("/")
        seen[screen] = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        bar = tab.evaluate("getComputedStyle(document.querySelector('.bar .fill')).fill")
        assert bar != "rgb(0, 0, 0)"
        context.close()
    assert seen["desk"] != seen["dark"]


def test_somebody_new_finds_the_four_answers_on_the_first_page(opened: Page) -> None:
    opened.goto("/")
    for card, answer in (
        ("#tomorrow", "Ольга Никитина — 10 задач"),
        ("#stuck", "на стадии «Презентация» уже 59 дн"),
        ("#slips", "Иван Сидоров — 50 переносов за 30 дней"),
        ("#sweep", "Да — ср 11 марта, 18:30: ✓ прошёл"),
    ):
        told = " ".join(opened.locator(card).inner_text().split())
        assert answer in told.replace("\N{NO-BREAK SPACE}", " ").replace(" ↗", "")


def test_from_the_overview_to_a_deal_and_a_person(opened: Page) -> None:
    opened.goto("/")
    opened.locator("#stuck tbody a").first.click()
    opened.wait_for_url("**/deals/*")
    assert opened.locator("svg.strip rect").count() >= 1
    opened.get_by_role("link", name="Загрузка").click()
    opened.get_by_role("link", name="Анна Петрова").click()
    opened.wait_for_url(f"**/people/{ANNA}")
    assert opened.locator("svg.days text.value").count() >= 8


def test_every_section_can_be_reached_by_the_keyboard_and_the_search(opened: Page) -> None:
    opened.goto("/")
    for _ in range(20):
        opened.keyboard.press("Tab")
        if opened.evaluate("document.activeElement.name") == "q":
            break
    opened.keyboard.type("191")
    opened.keyboard.press("Enter")
    opened.wait_for_url("**/deals/191")
    assert "Склад под ключ" in opened.locator("h1").inner_text()


def test_a_link_to_the_portal_opens_there_and_tells_it_nothing(opened: Page) -> None:
    opened.goto("/late")
    link = opened.locator("td.main a").first
    assert (link.get_attribute("href") or "").startswith("https://example.bitrix24.ru/company/personal/user/")
    assert link.get_attribute("target") == "_blank"
    assert "noreferrer" in (link.get_attribute("rel") or "")


def test_logging_in_and_out_in_a_browser(browser: Browser, guarded: str) -> None:
    context = browser.new_context(base_url=guarded, **SCREENS["phone"])
    tab = context.new_page()
    tab.goto("/stages")
    assert "/login" in tab.url
    shoot(tab, "phone_login")
    tab.fill("#password", "wrong")
    tab.click("form.login button")
    assert "Пароль не подошёл" in tab.locator("[role=alert]").inner_text()
    tab.fill("#password", PASSWORD)
    tab.click("form.login button")
    tab.wait_for_url("**/stages")
    (cookie,) = [one for one in context.cookies() if one["name"] == "bitrix_sync_session"]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    tab.click("form.logout button")
    tab.wait_for_url("**/login")
    tab.goto("/")
    assert "/login" in tab.url
    context.close()


def test_a_csv_is_downloaded(browser: Browser, url: str) -> None:
    context = browser.new_context(base_url=url, **SCREENS["desk"])
    tab = context.new_page()
    tab.goto("/load")
    with tab.expect_download() as download:
        tab.get_by_text("Скачать CSV").click()
    assert download.value.suggested_filename == "load.csv"
    context.close()
