"""``bitrix-sync web``: the web side of many portals, each below its name; what workers do is not done here.

=========================================  ==========================================================================
``/webhooks/bitrix24/NAME``                events, see ``fleet.door``
``/p/NAME/`` and below                     the portal's page, with its own password, its own ``/p/NAME/metrics``
``/fleet/``                                the operator's page, opened by BITRIX_FLEET_PASSWORD
``/healthz``, ``/readyz``, ``/metrics``    of this process and of all portals together
=========================================  ==========================================================================

A portal's page is the same application that a service of one portal has, made when somebody asks for it.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog
from flask import Flask, Response, request

from bitrix_sync.app import FRESH, Health, utc_now
from bitrix_sync.engine.watchers import Trouble
from bitrix_sync.errors import BitrixSyncError, StoreAway, StoreError
from bitrix_sync.fleet.door import FleetDoor, KnownPortals, Rings
from bitrix_sync.fleet.overview import is_late, limit_of, waits_of, workers_of
from bitrix_sync.fleet.portal_settings import portal_settings
from bitrix_sync.fleet.seal import Seals, password_fits, read_seals
from bitrix_sync.log import redact
from bitrix_sync.model.operations import STUCK, State
from bitrix_sync.report.snapshot import Snapshot
from bitrix_sync.settings import Settings, spoken_language
from bitrix_sync.store import Store
from bitrix_sync.store.portals import PortalRow, Portals
from bitrix_sync.store.schema import OPERATOR
from bitrix_sync.words.language import Language
from webhooks import health, metrics, page
from webhooks.event_endpoint import MAX_BODY, Deliveries
from webhooks.page_auth import PageAuth, Password
from webhooks.page_show import Show

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

log = structlog.get_logger(__name__)

RING_SECONDS, LOOK_SECONDS = 0.2, 2.0
"""How often the table is told of events, and asked for portals that have changed."""
WAIT_SECONDS, AGAIN_SECONDS = 15.0, 1.0
"""How long a start waits for a database that does not answer, and how often it tries."""
MOST_PAGES = 200
"""Pages of portals that stay made."""
FORWARDED = ("Forwarded", "X-Forwarded-For", "Via")


def opened_portals(url: str, *, stopping: threading.Event) -> Portals:
    """The table of portals; its server may take a while to answer. Raises StoreAway when it does not."""
    until = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            return Portals(url)
        except StoreAway:
            if time.monotonic() > until or stopping.wait(AGAIN_SECONDS):
                raise


class KeptPassword(Password):
    """The password of a portal's page, of which only a hash is kept."""

    def __init__(self, kept: str, seals: Seals, number: int) -> None:
        self._kept, self._seals, self._number = kept, seals, number

    def fits(self, given: str) -> bool:
        """Whether that is the password."""
        return password_fits(given, self._kept)

    def key(self, salt: bytes) -> bytes:
        """What sessions are signed with: nothing in the database tells it."""
        return self._seals.page_key(self._number, salt + self._kept.encode())


class PortalElsewhere:
    """A portal for which a worker works somewhere, as its page shows it."""

    def __init__(self, base: Settings, settings: Settings, portals: Portals) -> None:
        self._base, self._portals = base, portals
        self.settings = settings
        self.store = Store(settings.database_url, portal=settings.number)
        self.started = utc_now()
        self.clock = utc_now

    def alive(self) -> Health:
        """This process is."""
        return Health("ok")

    def health(self) -> Health:
        """What its row says of its last passes."""
        try:
            row, now = self._portals.numbered(self.settings.number), self._portals.clock()
        except StoreError as fault:
            return Health(str(fault), Trouble.DATABASE)
        if row is None or not row.enabled:
            return Health("nobody works for this portal: it is disabled", Trouble.STALE)
        if row.trouble:
            return Health(row.trouble, Trouble.PORTAL)
        if not is_late(row, self._base, now):
            return Health("ok")
        if row.seen_ok is None:
            return Health("there was no pass yet", Trouble.STARTING)
        age, limit = (now - row.seen_ok).total_seconds(), limit_of(row, self._base).total_seconds()
        return Health(f"the last pass is {age:.0f} s old, more than {limit:.0f} s", Trouble.STALE)

    def numbers(self) -> Mapping[str, float]:
        """Gauges for /p/NAME/metrics."""
        flags, counts, last = self.store.flags, self.store.counts(), self.store.flags.last_pass
        return {
            "last_pass_age_seconds": (self.clock() - last).total_seconds() if last else -1.0,
            "rules_refused": 1.0 if flags.rules_error else 0.0,
            "ready": 1.0 if self.health().ready else 0.0,
            "paused": 1.0 if flags.paused else 0.0,
            "watch": 1.0 if flags.watch else 0.0,
            "stuck": float(self.store.stuck(self.clock() - STUCK)),
            **{f"operations_{state.value}": float(counts.get(state, 0)) for state in State},
        }


class Fleet:
    """All portals together, as the operator sees them."""

    def __init__(self, base: Settings, portals: Portals, store: Store) -> None:
        self.settings, self.portals, self.store = base, portals, store
        self.started = utc_now()
        self.clock = utc_now
        self.failed = self.away = ""
        """Why this process must end, and what keeps it from the database, as far as is known."""
        self.sign = time.monotonic()

    def alive(self) -> Health:
        """Whether the thread gives its signs that tells the table of events."""
        if self.failed:
            return Health(self.failed, Trouble.ENDED)
        silent = time.monotonic() - self.sign
        return Health("ok") if silent < FRESH else Health(f"no sign for {silent:.0f} s", Trouble.THREAD)

    def health(self) -> Health:
        """Ready when every portal that is served had a pass in its time."""
        if not (state := self.alive()).ready:
            return state
        if self.away:
            return Health(self.away, Trouble.DATABASE)
        try:
            rows, now = self.rows(), self.portals.clock()
        except StoreError as fault:
            return Health(str(fault), Trouble.DATABASE)
        late = [row.name for row in rows if is_late(row, self.settings, now)]
        if not late:
            return Health("ok")
        more = f" and {len(late) - 5} more" if len(late) > 5 else ""
        return Health(f"no pass in its time: {', '.join(late[:5])}{more}", Trouble.STALE)

    def rows(self) -> list[PortalRow]:
        """The portals, by name."""
        return [row for row in self.portals.overview() if not row.removed]

    def numbers(self) -> Mapping[str, float]:
        """Sums and percentiles."""
        rows, now = self.rows(), self.portals.clock()
        served = [row for row in rows if row.enabled]
        ages = sorted((now - row.seen_ok).total_seconds() for row in served if row.seen_ok is not None)
        return {
            "ready": 1.0 if self.health().ready else 0.0,
            "portals_served": float(len(served)),
            "portals_disabled": float(len(rows) - len(served)),
            "portals_troubled": float(sum(bool(row.trouble) for row in served)),
            "portals_late": float(sum(is_late(row, self.settings, now) for row in served)),
            "oldest_due_seconds": max(waits_of(served, now), default=0.0),
            **{f"pass_age_p{part}_seconds": ages[len(ages) * part // 100] if ages else -1.0 for part in (50, 95)},
        }


class FleetViews(page.Frame):
    """The operator's page."""

    opened_by = "BITRIX_FLEET_PASSWORD"

    def __init__(self, fleet: Fleet, gate: PageAuth, language: Language) -> None:
        super().__init__(fleet.store, gate)
        self._fleet, self._language = fleet, language

    def show(self) -> Show:
        """The operator's language; the machine's clock."""
        known = Snapshot(language=self._language)
        return Show(known, known.calendar.local(self.now))

    def home(self) -> Response:
        """Every portal, those with trouble first."""
        fleet, now = self._fleet, self._fleet.portals.clock()
        rows = [(row, is_late(row, fleet.settings, now)) for row in fleet.rows()]
        rows.sort(key=lambda one: (not (one[0].enabled and one[0].trouble), not one[1], one[0].name))
        served = [row for row, _ in rows if row.enabled]
        lines = [
            {
                "name": row.name,
                "address": row.address,
                "enabled": row.enabled,
                "late": late,
                "age": None if row.seen_ok is None else now - row.seen_ok,
                "trouble": redact(row.trouble),
            }
            for row, late in rows
        ]
        waits = waits_of(served, now)
        return self.render(
            "fleet.html",
            lines=lines[: page.SHOWN_ALL if request.args.get("all") else page.SHOWN],
            count=len(lines),
            served=len(served),
            late=sum(late for _, late in rows),
            troubled=sum(bool(row.trouble) for row in served),
            oldest=timedelta(seconds=max(waits)) if waits else None,
            workers=[one | {"age": timedelta(seconds=one["seen_seconds"])} for one in workers_of(fleet.settings)],
        )


class FleetWeb:
    """WSGI: what the first part of an address names."""

    def __init__(self, base: Settings, portals: Portals, seals: Seals, *, store: Store, language: Language) -> None:
        """``store``: the operator's own, for his sessions."""
        self._base, self._portals, self._seals = base, portals, seals
        self._known, self.rings = KnownPortals(), Rings()
        self.door = FleetDoor(self._known, seals, self.rings)
        self.fleet = Fleet(base, portals, store)
        self._lock = threading.Lock()
        self._pages: OrderedDict[str, tuple[int, Flask, PortalElsewhere]] = OrderedDict()
        self._root = _flask(self.door.deliveries)
        self._root.register_blueprint(health.blueprint(self.fleet))
        self._root.register_blueprint(metrics.blueprint(self.fleet, self.door.deliveries))
        self._operator: Flask | None = None
        if base.fleet_password is not None:
            gate = PageAuth(Password(base.fleet_password), store, proxy=base.trusted_proxy, public=True)
            views = FleetViews(self.fleet, gate, language)
            pages = page.behind_login(views)
            pages.add_url_rule("/", view_func=views.home, methods=["GET"])
            self._operator = _flask(self.door.deliveries)
            self._operator.register_blueprint(pages)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """The answer to one request."""
        path = environ.get("PATH_INFO", "")
        if self.door.answers(path):
            return self.door(environ, start_response)
        if self.fleet.away and path not in ("/healthz", "/readyz"):  # who waits for it would keep events out
            return _plain("503 Service Unavailable", redact(self.fleet.away), start_response)
        _, first, *rest = path.split("/", 2) if path.startswith("/") else ("", "", "")
        if first == "fleet" and self._operator is not None:
            return self._operator(_below(environ, "/fleet"), start_response)
        if first == "p":
            name = rest[0].partition("/")[0] if rest else ""
            try:
                app = self._page(name)
            except BitrixSyncError as fault:
                return _plain("503 Service Unavailable", redact(str(fault)), start_response)
            if app is not None:
                return app(_below(environ, f"/p/{name}"), start_response)
        return self._root(environ, start_response)

    def _page(self, name: str) -> Flask | None:
        """The application of a portal's page, made anew when the portal has changed; None for a name nobody has."""
        seen = self._known.names.get(name)
        if seen is None:
            return None
        with self._lock:
            kept = self._pages.get(name)
            if kept is None or kept[0] < seen.version:
                self._pages[name] = self._made(name)
                if kept is not None:
                    kept[2].store.close()
            self._pages.move_to_end(name)
            if len(self._pages) > MOST_PAGES:
                self._pages.popitem(last=False)[1][2].store.close()
            return self._pages[name][1]

    def _made(self, name: str) -> tuple[int, Flask, PortalElsewhere]:
        row = self._portals.named(name)
        assert row is not None, "names stay"
        view = PortalElsewhere(self._base, portal_settings(self._base, row, self._seals), self._portals)
        password = KeptPassword(row.page_password, self._seals, row.number) if row.page_password else None
        gate = PageAuth(password, view.store, proxy=self._base.trusted_proxy, public=True)
        deliveries = self.door.of(row.number)
        app = _flask(deliveries)
        app.register_blueprint(metrics.blueprint(view, deliveries))
        app.register_blueprint(page.blueprint(view, gate=gate))
        app.before_request(_keep_figures_inside)
        return row.version, app, view

    def look(self) -> None:
        """Take what has changed in the table."""
        self._known.take(self._portals.overview(self._known.version))

    def tend(self, stopping: threading.Event) -> None:
        """Until the end: tell the table of events, and look for portals that have changed. A database that is away is
        told of once."""
        looked, fleet = time.monotonic(), self.fleet
        while not stopping.wait(RING_SECONDS):
            fleet.sign = time.monotonic()
            try:
                self.rings.tell(self._portals)
                if time.monotonic() - looked >= LOOK_SECONDS:
                    looked = time.monotonic()
                    self.look()
                    if fleet.away:
                        log.info("working")
                    fleet.away = ""
            except StoreError as fault:
                if str(fault) != fleet.away:
                    log.error("the table of portals cannot be reached; events are kept", problem=str(fault))
                fleet.away = str(fault)

    def close(self) -> None:
        """Closes what is open."""
        for _, _, view in self._pages.values():
            view.store.close()


def serve_fleet(base: Settings, stopping: threading.Event, serve: Callable[[FleetWeb], object]) -> str:
    """The web side of a fleet, with the thread that tells the table of events, until the end; why it had to end, ""
    when somebody asked for it."""
    seals = read_seals(base.secret_key_file)
    with (
        opened_portals(base.database_url, stopping=stopping) as portals,
        Store(base.database_url, portal=OPERATOR) as store,
    ):
        web = FleetWeb(base, portals, seals, store=store, language=spoken_language())
        web.look()
        thread = threading.Thread(target=_mind, args=(web, stopping), name="rings", daemon=True)
        thread.start()
        try:
            serve(web)
        finally:
            stopping.set()
            thread.join(WAIT_SECONDS)
            web.close()
    return web.fleet.failed


def _mind(web: FleetWeb, stopping: threading.Event) -> None:
    try:
        web.tend(stopping)
    except BaseException as fault:
        log.critical("stopping", exc_info=True)
        web.fleet.failed = f"the thread that tells of events has ended ({type(fault).__name__}); the log says where"
        stopping.set()


def _flask(deliveries: Deliveries) -> Flask:
    app = Flask("webhooks", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.extensions["deliveries"] = deliveries
    return app


def _below(environ: WSGIEnvironment, folder: str) -> WSGIEnvironment:
    """The request as an application below that folder sees it."""
    rest = environ["PATH_INFO"][len(folder) :]
    return {**environ, "SCRIPT_NAME": environ.get("SCRIPT_NAME", "") + folder, "PATH_INFO": rest or "/"}


def _keep_figures_inside() -> Response | None:
    """A portal's figures are for whoever asks this process directly, not for those whom a web server passes on."""
    if request.path == "/metrics" and any(name in request.headers for name in FORWARDED):
        return Response("Not found.\n", 404, mimetype="text/plain")
    return None


def _plain(status: str, text: str, start_response: StartResponse) -> Iterable[bytes]:
    body = f"{text}\n".encode()
    start_response(status, [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))])
    return [body]
