"""``GET /`` and below: the reports for people who would rather look. Server-rendered, without a script.

Everything shown is read from the store; no request goes to the portal. Values of the portal are escaped by the
templates. Who may look is decided by ``page_login``; what is shown by ``page_home`` and the templates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import structlog
from flask import Blueprint, Response, current_app, redirect, request, url_for
from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.wrappers import Response as AnyResponse

from bitrix_sync import report
from bitrix_sync.app import utc_now
from bitrix_sync.errors import StoreError, UserError
from bitrix_sync.log import redact
from bitrix_sync.model.items import whereabouts
from bitrix_sync.model.operations import State
from bitrix_sync.report import names
from bitrix_sync.report.snapshot import Snapshot
from bitrix_sync.report.tables import CsvForm, csv_text
from bitrix_sync.store import Store
from bitrix_sync.words.days import explain
from bitrix_sync.words.texts import list_separator
from bitrix_sync.words.usage import trouble_text
from webhooks import page_charts, page_home
from webhooks.page_auth import PageAuth, Password
from webhooks.page_charts import Part
from webhooks.page_filters import Query
from webhooks.page_show import Show, environment
from webhooks.page_tables import TABLES
from webhooks.work_seen import WorkSeen

log = structlog.get_logger(__name__)

SHOWN, SHOWN_ALL = 50, 5000
"""Rows of a list at first, and when the whole of it is asked for; a CSV has no limit."""
AGES = (1, 3, 7, 14, 28)
"""Days that part the ages of overdue tasks."""
ID = "int(max=999999999999999999)"
"""An id in an address: what is longer than the database can hold is none."""
OPEN_TO_ALL = {"page.static", "page.login", "page.log_in"}

POLICY = "; ".join(
    (
        "default-src 'none'",
        "style-src 'self'",
        "img-src 'self' data:",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def blueprint(service: WorkSeen, *, gate: PageAuth | None = None) -> Blueprint:
    """The page of ``service``; ``gate`` decides who may see it (by default by the settings' password)."""
    settings = service.settings
    door = gate or PageAuth(
        Password(settings.page_password) if settings.page_password else None,
        service.store,
        proxy=settings.trusted_proxy,
        public=bool(settings.application_tokens),
    )
    views = Views(service.store, door, service)
    page = behind_login(views)
    for path, view in (
        ("/", views.home),
        ("/service", views.service_page),
        ("/rules", views.rules),
        ("/names", views.names),
        (f"/deals/<{ID}:deal_id>", views.deal),
        (f"/people/<{ID}:user_id>", views.person),
        (f"/departments/<{ID}:department_id>", views.department),
        ("/tasks", views.tasks),
        ("/find", views.find),
        ("/csv/<name>", views.csv),
    ):
        page.add_url_rule(path, view_func=view, methods=["GET"])
    for name in report.REPORTS:
        page.add_url_rule(f"/{name}", name, views.of_report(name), methods=["GET"])
    return page


def behind_login(views: Frame) -> Blueprint:
    """Pages that nobody sees but those whom the gate of ``views`` lets in, with the login itself; they are to be
    added."""
    page, door = Blueprint("page", "webhooks", static_folder="static", static_url_path="/static"), views.gate

    @page.before_request
    def guard() -> AnyResponse | None:
        if not door.has_password and not door.local(request):
            return views.render("closed.html", status=403, text=views.show().t(views.closed))
        if request.endpoint in OPEN_TO_ALL or door.admits(request):
            return None
        here = request.full_path.rstrip("?") if request.method in ("GET", "HEAD") else "/"
        return redirect(url_for("page.login", next=here if here != "/" else None), 303)

    @page.after_request
    def harden(response: Response) -> Response:
        response.headers.update(HEADERS)
        static = request.endpoint == "page.static" and response.status_code < 400
        response.headers["Cache-Control"] = "public, max-age=3600" if static else "no-store"
        return response

    @page.errorhandler(StoreError)
    def no_store(fault: StoreError) -> AnyResponse:
        return views.failed("page.store_trouble", views.show().reason(redact(str(fault))), 503)

    @page.errorhandler(HTTPException)
    def refused(fault: HTTPException) -> AnyResponse:
        return views.failed("page.not_found", views.show().t("page.not_found.text"), fault.code or 500)

    page.add_url_rule("/login", view_func=views.login, methods=["GET"])
    page.add_url_rule("/<path:rest>", view_func=views.nothing, methods=["GET"])
    page.add_url_rule("/login", endpoint="log_in", view_func=views.log_in, methods=["POST"])
    page.add_url_rule("/logout", view_func=views.logout, methods=["POST"])
    return page


@dataclass(frozen=True, slots=True)
class Asked:
    """What of a report the address asks for; ``problem``: what is wrong with that, in words, or ""."""

    name: str
    takes: tuple[str, ...]
    choice: report.Selection
    problem: str = ""

    @property
    def asked(self) -> dict[str, report.Selection]:
        """As the rows of the report take it."""
        return {"chosen": self.choice} if self.takes else {}


class Frame:
    """What is around every page, and the login. ``closed`` is what is said to whom it is not open, ``opened_by`` names
    the setting that its password is in."""

    closed, opened_by = "page.closed.text", "BITRIX_PAGE_PASSWORD"

    def __init__(self, store: Store, gate: PageAuth) -> None:
        self.store, self.gate = store, gate

    @property
    def now(self) -> datetime:
        """The machine's clock."""
        return utc_now()

    def show(self) -> Show:
        """Words and forms; of a store that does not answer, the usual ones."""
        try:
            known = report.frame(self.store)
        except StoreError:
            known = Snapshot()
        return Show(known, known.calendar.local(self.now))

    def render(self, template: str, *, status: int = 200, show: Show | None = None, **values: Any) -> Response:
        """A whole page. Strangers get nothing but the frame."""
        show = show or self.show()
        logged_in = self.logged_in()
        text = environment.get_template(template).render(
            s=show,
            t=show.t,
            here=request.path,
            q=Query.of(request.args, request.script_root + request.path),
            root=request.script_root,
            logged_in=logged_in,
            logout_token=self.gate.logout_token(request) if logged_in else "",
            **values,
        )
        return Response(text, status=status, mimetype="text/html")

    def logged_in(self) -> bool:
        """True for somebody who may log out; a store that does not answer knows of nobody."""
        try:
            return self.gate.has_password and self.gate.admits(request)
        except StoreError:
            return False

    def failed(self, title: str, text: str, status: int) -> Response:
        """A page that says why there is none."""
        return self.render("failed.html", status=status, title_key=title, text=text)

    def nothing(self, rest: str) -> Response:
        """Every address that does not exist."""
        raise NotFound

    # --- login -------------------------------------------------------------------------------------------------------

    def login(self) -> AnyResponse:
        """The form."""
        if self.gate.admits(request):
            return redirect(request.script_root + _local_path(request.args.get("next", "")), 303)
        return self._form("", 200)

    def log_in(self) -> AnyResponse:
        """A password was given."""
        if not self.gate.has_password:
            raise NotFound
        if not self.gate.login_token_fits(request, request.form.get("token", "")):
            return self._form(self.show().t("page.login.stale"), 400)
        right, wait = self.gate.try_password(request, request.form.get("password", ""))
        if wait:
            response = self._form(self.show().t("page.login.wait", seconds=int(wait)), 429)
            response.headers["Retry-After"] = str(int(wait))
            return response
        if not right:
            log.warning("a wrong password was given for the page", peer=self.gate.caller(request).address)
            return self._form(self.show().t("page.login.wrong"), 403)
        wanted = request.script_root + _local_path(request.form.get("next", ""))
        answer = Response(status=303, headers={"Location": wanted})
        self.gate.open_session(request, answer)
        return answer

    def logout(self) -> AnyResponse:
        """The session ends."""
        if not self.gate.logout_token_fits(request, request.form.get("token", "")):
            return self.failed("page.logout", self.show().t("page.login.stale"), 400)
        answer = Response(status=303, headers={"Location": url_for("page.login")})
        self.gate.end_session(request, answer)
        return answer

    def _form(self, problem: str, status: int) -> Response:
        answer = Response(status=status)
        token = self.gate.login_token(request, answer)
        wanted = _local_path(request.values.get("next", ""))
        answer.set_data(
            self.render("login.html", token=token, problem=problem, next=wanted, setting=self.opened_by).get_data()
        )
        answer.mimetype = "text/html"
        return answer


class Views(Frame):
    """One function for each address of a portal's page."""

    def __init__(self, store: Store, gate: PageAuth, service: WorkSeen) -> None:
        super().__init__(store, gate)
        self.service = service
        if service.settings.is_of_fleet:
            self.closed = "fleet.closed"

    @property
    def now(self) -> datetime:
        """The clock of the work."""
        return self.service.clock()

    def page(self, template: str, **values: Any) -> Response:
        """A page for those who were let in: with the state of the service and what is wrong."""
        show, standing = self.show(), report.standing(self.store, now=self.now)
        health = self.service.health()
        last = report.last_sweeps(self.store, now=self.now)
        return self.render(
            template,
            show=show,
            standing=standing,
            ready=health.ready,
            reason=redact(health.reason),
            sweeps=last,
            missed=[line for line in last if line["verdict"] == "missed"],
            **values,
        )

    @property
    def limit(self) -> int:
        """How many rows of a list are asked for."""
        return SHOWN_ALL if request.args.get("all") else SHOWN

    def home(self) -> Response:
        """What a manager asks first."""
        show = self.show()
        lines = report.load(self.store, now=self.now)
        deals = report.deals_in_stages(self.store, now=self.now, limit=page_home.ROWS)
        return self.page(
            "home.html",
            open_tasks=sum(line["open"] for line in lines),
            late=len(report.late_ages(self.store, now=self.now)),
            overdue=sum(line["overdue"] for line in lines),
            due_today=sum(line["today"] for line in lines),
            deals=deals.deals,
            tomorrow=page_home.tomorrow(show, lines),
            stuck=page_home.stuck(show, deals),
            kept=report.kept_by_person(self.store, now=self.now)[: page_home.ROWS],
            idle=report.REPORTS["idle"].rows(self.store, now=self.now) if show.known.next_steps else None,
            slips=page_home.slips(show, report.slips_by_person(self.store, now=self.now)),
            answers=page_home.sweeps(report.last_sweeps(self.store, now=self.now)),
            work=report.operations(self.store, now=self.now, limit=page_home.ROWS),
        )

    def of_report(self, name: str) -> Callable[[], AnyResponse]:
        """The view of a report: its own, or its table."""
        own: dict[str, Callable[[], AnyResponse]] = {
            "load": self.load,
            "late": self.late,
            "overdue": self.overdue,
            "today": partial(self.table, "today", "today.html"),
            "stages": self.stages,
            "moves": self.moves,
            "week": self.week,
        }
        return own.get(name, partial(self.table, name))

    @property
    def query(self) -> Query:
        """What the address asks for."""
        return Query.of(request.args)

    def chosen(self, name: str, *, without: str = "") -> Asked:
        """What of a report the address asks for. A filter that is wrong chooses nothing, and is told."""
        found, query = report.REPORTS[name], self.query
        found = replace(found, takes=tuple(one for one in found.takes if one != without))
        try:
            choice = report.choose(self.store, report.frame(self.store), found, query.filters(found.takes))
        except UserError as fault:
            told = trouble_text(self.show().language, str(fault))
            return Asked(name, found.takes, report.Selection(people=frozenset()), told)
        return Asked(name, found.takes, choice)

    def table(self, name: str, template: str = "report.html", **values: Any) -> Response:
        """A report as its table."""
        found, chosen = report.REPORTS[name], self.chosen(name)
        lines = [line for line in found.rows(self.store, now=self.now, **chosen.asked) if found.shows(line)]
        lines = self.query.in_order(lines, found.on_page)
        return self.page(template, name=name, chosen=chosen, count=len(lines), lines=lines[: self.limit], **values)

    def load(self) -> Response:
        """Load as bars by day and person."""
        chosen = self.chosen("load")
        lines = report.load(self.store, now=self.now, idle=True, chosen=chosen.choice)
        return self.page("load.html", chosen=chosen, table=page_home.load_table(self.show(), lines))

    def overdue(self) -> AnyResponse:
        """What is overdue is among what is late, and marked there."""
        return redirect(self.query.url(url_for("page.late"), sort="overdue", desc="1"), 303)

    def late(self) -> Response:
        """What is late, by age."""
        chosen = self.chosen("late")
        ages = report.late_ages(self.store, now=self.now, chosen=chosen.choice)
        counts = [0] * (len(AGES) + 1)
        for age in ages:
            counts[sum(age >= timedelta(days=days) for days in AGES)] += 1
        show, most = self.show(), max(counts)
        bars = [
            {
                "label": show.t(f"page.age.{number}"),
                "count": count,
                "bar": page_charts.bar((Part(count, f"late age{number}"),), of=most, label=str(count)),
            }
            for number, count in enumerate(counts)
        ]
        cut = None if self.query.get("sort") else self.limit
        lines = report.late(self.store, now=self.now, limit=cut, chosen=chosen.choice)
        lines = self.query.in_order(lines, report.REPORTS["late"].on_page)[: self.limit]
        return self.page("late.html", name="late", chosen=chosen, ages=bars, count=len(ages), lines=lines)

    def stages(self) -> Response:
        """Funnels with time in stage, and the deals over the limit."""
        show, chosen = self.show(), self.chosen("stages")
        lines, deals = report.stages_and_deals(self.store, now=self.now, limit=self.limit, chosen=chosen.choice)
        funnels: dict[int, list[dict[str, Any]]] = {}
        for line in lines:
            funnels.setdefault(line["funnel_id"], []).append(line)
        return self.page(
            "stages.html",
            chosen=chosen,
            funnels=[page_home.funnel_table(show, own) for own in funnels.values()],
            over=[deal for deal in deals.lines if deal["over"]],
            count=deals.over,
            longest=deals.lines[: page_home.ROWS],
        )

    def moves(self) -> Response:
        """Whose deadlines slip, of which rules, and which open tasks were moved."""
        show, chosen = self.show(), self.chosen("moves")
        people, rules = (
            page_home.slip_table(show, found(self.store, now=self.now, chosen=chosen.choice))
            for found in (report.slips_by_person, report.slips_by_rule)
        )
        return self.table("moves", "moves.html", people=people, rules=rules)

    def week(self) -> Response:
        """The weeks side by side, and who kept the promises of the last one."""
        show, chosen = self.show(), self.chosen("week")
        lines = report.week(self.store, now=self.now, chosen=chosen.choice)
        return self.page(
            "week.html",
            name="week",
            chosen=chosen,
            lines=lines[::-1],
            charts=page_home.week_charts(show, lines),
            people=report.kept_by_person(self.store, now=self.now, chosen=chosen.choice),
        )

    def tasks(self) -> Response:
        """The tasks behind a number: what fell due, was kept, was not, was done in a period."""
        what = self.query.get("what")
        if what not in report.BEHIND:
            raise NotFound
        chosen = self.chosen("done", without="by")
        lines = report.behind(self.store, what, now=self.now, chosen=chosen.choice)
        lines = self.query.in_order(lines, TABLES["tasks"])
        return self.page("tasks.html", what=what, chosen=chosen, count=len(lines), lines=lines[: self.limit])

    def department(self, department_id: int) -> Response:
        """One department: its people, and its weeks."""
        found = report.department(self.store, department_id, now=self.now)
        if found is None:
            raise NotFound
        show = self.show()
        weeks = report.week(self.store, now=self.now, chosen=found["selection"])
        kept = {line["owner_id"]: line for line in report.kept_by_person(self.store, now=self.now)}
        people = [line | page_home.kept_of(kept.get(line["user_id"])) for line in found["people"]]
        return self.page(
            "department.html",
            department=found,
            people=people,
            charts=page_home.week_charts(show, weeks),
            week=weeks[-2],
        )

    def deal(self, deal_id: int) -> Response:
        """One deal's path."""
        deal = report.deal_path(self.store, deal_id, now=self.now)
        if deal is None:
            raise NotFound
        show = self.show()
        zone, fields = show.known.calendar.zone, show.known.fields
        why = [
            {
                "at": trace.at,
                "rule": trace.rule_id,
                "lines": explain(show.language, trace, zone=zone, deal_fields=fields),
            }
            for trace in reversed(deal["traces"])
        ]
        return self.page(
            "deal.html",
            deal=deal,
            strip=page_home.path_strip(show, deal["path"]),
            histories=[task for task in deal["tasks"] if task["history"]],
            told=lambda trace: explain(show.language, trace, zone=zone, deal_fields=fields)[0],
            why=why[: self.limit],
            count=len(why),
        )

    def person(self, user_id: int) -> Response:
        """One employee's tasks."""
        person = report.employee(self.store, user_id, now=self.now)
        if person is None:
            raise NotFound
        show = self.show()
        chart = page_home.day_chart(show, person["load"])
        weeks = report.week(self.store, now=self.now, chosen=report.Selection(people=frozenset({user_id})))
        charts = page_home.week_charts(show, weeks)
        return self.page("person.html", person=person, chart=chart, charts=charts, limit=self.limit)

    def service_page(self) -> Response:
        """What the service did last, what it holds, what failed and why."""
        deliveries = current_app.extensions["deliveries"]
        recent, counts = deliveries.recent(), deliveries.counts()
        states = {name: [State(name)] for name in ("held", "failed", "unknown")}
        return self.page(
            "service.html",
            started=self.service.started,
            figures=self.service.numbers(),
            events_on=bool(self.service.settings.application_tokens),
            taken=counts.get(200, 0),
            refused=sum(count for status, count in counts.items() if status != 200),
            last_event=self.now - datetime.fromtimestamp(recent[0].at, UTC) if recent else None,
            history=page_home.sweep_rows(self.show(), report.sweeps(self.store, limit=20)),
            recent=report.operations(self.store, now=self.now, limit=self.limit),
            lists={name: report.operations(self.store, now=self.now, states=own) for name, own in states.items()},
        )

    def rules(self) -> Response:
        """The rules in force, and the errors of a file that was refused."""
        return self.page("rules.html")

    def names(self) -> Response:
        """What can be written in the rules file: one listing, or what of all of them holds the words."""
        show, words = self.show(), request.args.get("q", "").strip()[:100]
        directory, at = self.store.flags.known, self.store.flags.known_at
        found = {kind: names.look(kind, directory, show.language, words) for kind in names.NAMES} if directory else {}
        kind = request.args.get("of", "")
        kind = kind if kind in found else next(iter(found), "")
        return self.page(
            "names.html",
            words=words,
            kind=kind,
            found=found,
            shown={one: lines for one, lines in found.items() if (lines if words else one == kind)},
            limit=self.limit,
            source=list(
                names.source_of(show.language, source="store", portal=show.host, at=at, zone=show.known.calendar.zone)
            ),
        )

    def find(self) -> AnyResponse:
        """A deal by its number or title, an employee by name; a number, or a deal's address, goes straight to it."""
        words = request.args.get("q", "").strip()[:300]
        place = whereabouts(words)
        deal_id = place.number if place and place.number < 10**18 else 0
        if deal_id and report.deal_path(self.store, deal_id, now=self.now) is not None:
            return redirect(url_for("page.deal", deal_id=deal_id), 303)
        found = report.search(self.store, words, limit=SHOWN)
        return self.page("find.html", words=words, found=found)

    def csv(self, name: str) -> Response:
        """A report for a spreadsheet: with the byte order mark and the separator that it expects."""
        if name not in report.REPORTS:
            raise NotFound
        found, chosen = report.REPORTS[name], self.chosen(name)
        if chosen.problem:
            raise NotFound
        separator = list_separator(self.show().language)
        form = CsvForm(separator, "," if separator == ";" else ".", mark=True)
        text = csv_text(found, found.rows(self.store, now=self.now, **chosen.asked), form)
        response = Response(text, mimetype="text/csv")
        response.headers["Content-Disposition"] = f'attachment; filename="{name}.csv"'
        return response


def _local_path(wanted: str) -> str:
    """A path of this page, for going back to after the login, without the folder below which the page lies; anything
    else is the overview."""
    strange = not wanted.startswith("/") or wanted[1:2] in ("/", "\\") or any(ord(sign) < 32 for sign in wanted)
    return "/" if strange else wanted
