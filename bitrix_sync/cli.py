"""The command line: each verb reads the settings, calls one plain function of a service, and prints its account.

Exit codes: 0 done; 1 the user's turn; 2 wrong usage; 3 the portal or we failed; 130 interrupted. A verb that changes
something hands its work to the running service if there is one, else takes the lease and does it itself.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import pwd
import re
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from datetime import date, datetime
from functools import partial
from io import StringIO, TextIOWrapper
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, NoReturn

import typer
from rich.table import Table
from rich.text import Text
from typer.core import TyperCommand
from typer.exceptions import TyperException
from typer.main import get_command

from bitrix_sync import __version__
from bitrix_sync.errors import BitrixSyncError, UserError
from bitrix_sync.model.items import Item
from bitrix_sync.model.rules_text import RulesText
from bitrix_sync.settings import Settings, load_settings
from bitrix_sync.words import texts
from bitrix_sync.words.language import Language, named
from bitrix_sync.words.terminal import Terminal, cell, json_text
from bitrix_sync.words.texts import reason_text, visible
from bitrix_sync.words.usage import usage_text

ANSWER_POLL = 0.2
"""Seconds between two looks for the running service's answer."""
BEGIN_WITHIN = 45.0
"""Seconds that the running service has to begin a request before the command gives up on it."""

END_WITHIN = 4.0
"""Seconds that the worker has to end when the service stops; what is in flight then is looked up at the next start."""

LEFT_ALONE = 35.0
"""So long a command waits for a sign of a service on another machine that holds the database."""
ON_WINDOWS = "bitrix-sync runs on Linux and macOS; on Windows install it in WSL, which `wsl --install` sets up"
LAST_ID = 2**63 - 1
"""The largest number that the database can hold."""

app = typer.Typer(
    name="bitrix-sync",
    help="Keeps the standards of a sales department in its Bitrix24 portal: every stage a task, every task an owner, "
    "a supervisor and a real deadline.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
_READER: ContextVar[Language | None] = ContextVar("reader", default=None)
_PORTAL: ContextVar[str | None] = ContextVar("portal", default=None)
OF_NO_PORTAL = frozenset({"demo", "fleet", "migrate", "portal", "run", "sandbox", "schema", "version", "web", "worker"})
"""Commands that are not of one portal of a fleet."""
out, err = Terminal(), Terminal(stderr=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON with stable keys.")]
Excel = Annotated[
    bool, typer.Option("--excel", help="With --csv: as a spreadsheet in Russian opens it (BOM, `;`, `0,5`).")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done and write nothing.")]


def main() -> NoReturn:
    """Run a verb; every expected error ends in one clear message and its exit code, any other in 3."""
    code = 0
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # names of the portal are not lost on a terminal without their letters
            stream.reconfigure(errors="replace")
    try:
        language = find_reader()
        _READER.set(language)
        code = run_verb(language)
    except SystemExit as done:
        code = done.code if isinstance(done.code, int) else 0 if done.code is None else 1
    except KeyboardInterrupt:
        code = 130
    except BitrixSyncError as fault:
        from bitrix_sync.log import redact

        for line in said(redact(str(fault))).split("\n"):
            err.print(line, style="red" if err.is_terminal else "")
        code = fault.exit_code
    except BaseException:
        from bitrix_sync.log import configure

        if sys.excepthook is sys.__excepthook__:  # before the settings were read: a traceback is redacted all the same
            configure()
        sys.excepthook(*sys.exc_info())
        code = 3
    sys.exit(code)


def show_version(asked: bool) -> None:
    """Print the version and end, if asked."""
    if asked:
        out.print(__version__)
        raise typer.Exit


@app.callback()
def top(
    context: typer.Context,
    portal: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="The portal that is meant, where there are many; before or after the command."
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=show_version)
    ] = False,
) -> None:
    """What stands before a command."""
    if portal is not None and context.invoked_subcommand in OF_NO_PORTAL:
        raise typer.BadParameter(f"--portal does not go with {context.invoked_subcommand}")
    _PORTAL.set(portal)


def portal_first(words: list[str]) -> list[str]:
    """The words of a command line with ``--portal NAME`` before the command, wherever it stood."""
    for at, word in enumerate(words):
        if word == "--":
            break
        if word == "--portal" or word.startswith("--portal="):
            end = at + 1 + (word == "--portal")
            return [*words[at:end], *words[:at], *words[end:]] if end <= len(words) else [word]  # that says what lacks
    return words


def every(command: Any) -> Iterator[Any]:
    """A command with all below it."""
    yield command
    for below in getattr(command, "commands", {}).values():
        yield from every(below)


def run_verb(language: str) -> int:
    """Run what the words of the process ask for, with help and usage in the reader's language; its exit code."""
    if sys.platform == "win32":
        raise UserError(ON_WINDOWS)
    command: Any = get_command(app)
    for one in every(command):
        one.help = usage_text(language, one.help)
        for param in one.params:
            param.help = usage_text(language, getattr(param, "help", None) or "")
        one.context_class = _speaking(one.context_class, language)
    try:
        code = command.main(portal_first(sys.argv[1:]), prog_name="bitrix-sync", standalone_mode=False)
    except TyperException as fault:
        said = StringIO()
        fault.show(said)  # type: ignore[attr-defined]
        sys.stderr.write("".join(usage_text(language, line) for line in said.getvalue().splitlines(keepends=True)))
        return 2
    return code if isinstance(code, int) else 0


def _speaking(context: Any, language: str) -> Any:
    """A context class whose help speaks that language."""

    class Formatter(context.formatter_class):  # type: ignore[misc]
        def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
            words = re.split(r" (?=COMMAND)", args, maxsplit=1) if "COMMAND" in args else args.split(" ")
            said = " ".join(usage_text(language, word) for word in words)
            super().write_usage(prog, said, usage_text(language, prefix or "Usage: "))

        def write_heading(self, heading: str) -> None:
            super().write_heading(usage_text(language, heading))

        def write_dl(self, rows: Any, *more: Any, **named: Any) -> None:
            said = [(usage_text(language, name), usage_text(language, text)) for name, text in rows]
            super().write_dl(said, *more, **named)

    return type("Context", (context,), {"formatter_class": Formatter})


# --- what verbs share ------------------------------------------------------------------------------------------------


def settings(*, need_portal: bool = True, quiet: bool = False) -> Settings:
    """The settings of the portal that is meant, with the logs configured; ``quiet``: warnings are left to what the
    command prints."""
    import logging

    from bitrix_sync.log import configure

    name = _PORTAL.get()
    loaded = load_settings(need_portal=need_portal and name is None)
    name = name or loaded.wanted_portal
    if name is not None or (loaded.portal is None and loaded.on_server):
        from bitrix_sync.fleet.choose import chosen

        loaded = chosen(loaded, name, secrets=need_portal)
        if isinstance(loaded.rules, RulesText) and loaded.rules.version:
            _READER.set(named(loaded.rules.text))
    if need_portal:
        _ = loaded.webhook_url  # raises
    configure(loaded.log, loaded.secrets(), level=logging.ERROR if quiet else logging.WARNING)
    return loaded


def perform(kind: str, args: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Have something done: by the running service, or here when there is none."""
    from bitrix_sync.app import Service, check_file
    from bitrix_sync.commands import changes

    loaded = settings(quiet=True)
    check_file(loaded, restart=kind != "backfill")
    if loaded.is_of_fleet:
        from bitrix_sync.fleet.ask import ask as ask_workers

        with progress() as told:
            return answer_of(ask_workers(load_settings(need_portal=False), loaded, kind, args or {}, told))
    service = Service(loaded)
    try:
        with progress() as told:
            if not service.take_lease():
                service.identify_address()
                return ask(service, kind, args or {}, told)
            with service.keeping_lease():
                return changes.perform(service.open(), kind, args or {}, told=told)
    finally:
        service.close()


def ask(service: Any, kind: str, args: Mapping[str, Any], told: Callable[[str], None]) -> dict[str, Any]:
    """Put a request to the process that holds the lease and wait for its answer, as long as it works at it. If it ends
    meanwhile, what it left of the request is done here."""
    from bitrix_sync.commands import changes, runs

    number = service.store.ask(kind, args, now=service.clock())
    began = time.monotonic()
    while True:
        request = service.store.request(number)
        if request.ok is not None:
            break
        told(runs.progress(service.store, request))
        if service.take_lease():
            with service.keeping_lease():
                runs.finish(service.open(), number, changes.steps, told=told)
            continue
        late = time.monotonic() - began > BEGIN_WITHIN
        if late and service.store.withdraw(number):
            raise UserError("the running service does not answer; look at `bitrix-sync status`, restart it if need be")
        time.sleep(ANSWER_POLL)
    return answer_of(request)


def answer_of(request: Any) -> dict[str, Any]:
    """What a command is answered; what it was refused for is raised."""
    if request.ok:
        return dict(request.result)
    refused = UserError(request.result["error"])
    refused.exit_code = request.result["exit"]
    raise refused


@contextlib.contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Says on a terminal how far a long job is, and takes it away at its end; quiet in a pipe."""
    if not err.is_terminal:
        yield lambda _text: None
        return
    with err.status("") as line:
        yield lambda text: line.update(visible(said(text)))


def show(value: Any) -> None:
    """JSON for programs."""
    sys.stdout.write(json_text(value, default=_said) + "\n")


def _said(value: Any) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)


def table(title: str, columns: list[str], rows: list[list[Any]]) -> None:
    """A table for people; nothing but its title when it is empty. In a pipe a line for each row, cells between tabs."""
    if not rows:
        out.print(f"{title}: -")
        return
    if not out.is_terminal:
        out.print(title)
        for line in [columns, *rows]:
            print(*(" ".join(cell(value).split()) for value in line), sep="\t")  # noqa: T201
        return
    grid = Table(title=Text(cell(title)), title_justify="left", header_style="bold")
    for column in columns:
        grid.add_column(Text(cell(column)), overflow="fold")
    for row in rows:
        grid.add_row(*(Text(cell(value)) for value in row))
    out.print(grid)


def reader() -> Language:
    """The language of who reads; found once for each verb."""
    return _READER.get() or find_reader()


def find_reader() -> Language:
    """The same, looked up: the rules file's if there is one, else the terminal's."""
    from bitrix_sync.settings import spoken_language

    try:
        rules = load_settings(need_portal=False).rules_path
        return named(rules.read_bytes().replace(b"\0", b"").decode("utf-8-sig", "replace"))
    except (BitrixSyncError, OSError):
        return spoken_language()


def said(reason: str) -> str:
    """A reason of ours in the reader's language; what the portal said as it is."""
    return reason_text(reader(), reason)


ACCOUNT = (
    *("released", "tried_again", "overdue", "moves", "moved", "to_put_back", "put_back"),
    *("failed", "dropped", "held", "still_held", "unread", "unknown", "waiting"),
    *("remaining", "unsent", "left_alone", "messages"),
)
"""Counts of an account that people are told, unless they are zero."""
FLAGS = ("dry_run", "watch", "sees_no_deals", "rights_lost", "believed")
"""What else an account says, if it is so."""


def tell(key: str, **values: Any) -> str:
    """A sentence of the catalogue in the reader's language."""
    return texts.phrase(reader(), key, **values)


def columns(*names: str) -> list[str]:
    """The heads of columns in the reader's language."""
    return [tell(f"column.{name}") if name else "" for name in names]


def show_account(result: Mapping[str, Any], *, as_json: bool, then: str = "") -> None:
    """What was carried out, in lines; ``then`` says what is next."""
    if as_json:
        show(result)
        return
    lists = {name: result[name] for name in ("done", "failed", "dropped") if isinstance(result.get(name), list)}
    for name, lines in lists.items():
        for line in lines:
            out.print(account_line(name, line))
    told = sentences(result, lists)
    out.print(". ".join(told))
    if then and not result.get("dry_run") and told != [tell("account.nothing")]:
        out.print(then)
    if result.get("failed"):
        raise typer.Exit(3)


def sentences(result: Mapping[str, Any], lists: Mapping[str, list[Any]]) -> list[str]:
    """What an account comes to; of a dry run, that nothing was written."""
    counts = {**result, **{name: len(lines) for name, lines in lists.items()}}
    if result.get("dry_run"):
        counts["to_put_back"] = counts.pop("put_back", 0)
    told = [
        tell(f"account.{key}", count=counts[key]) for key in ACCOUNT if type(counts.get(key)) is int and counts[key]
    ]
    flags = [tell(f"account.{key}") for key in FLAGS if result.get(key) is True]
    return [*flags, *achievement(lists.get("done", [])), *told] or [tell("account.nothing")]


def achievement(done: Iterable[Mapping[str, Any]]) -> list[str]:
    """The tasks that were made, and how much else was done."""
    kinds: dict[str, list[Any]] = {}
    for line in done:
        kinds.setdefault(line["kind"], []).append(line["deal_id"])
    made = kinds.pop("task.create", [])
    return [
        *([tell("account.made", count=len(made), deals=len(set(made)))] if made else []),
        *(tell(f"account.did.{kind}", count=len(deals)) for kind, deals in kinds.items()),
    ]


def account_line(name: str, line: Mapping[str, Any]) -> str:
    """One operation and what became of it."""
    deal = tell("account.deal", deal=Item.of(line["deal_id"])) if line["deal_id"] else ""
    words = [tell(f"account.line.{name}"), tell(f"page.kind.{line['kind']}"), deal, line.get("title", "")]
    return "  ".join(word for word in [*words, said(line.get("error") or line.get("why") or "")] if word)


# --- the service -----------------------------------------------------------------------------------------------------


@app.command()
def run(
    same_portal: Annotated[
        bool,
        typer.Option(
            "--same-portal",
            help="Once, after a refusal: it is the portal that the database was made on, though its address or its "
            "history says otherwise. A portal that is another one needs a DATABASE_URL of its own.",
        ),
    ] = False,
) -> None:
    """The service: web side, passes, sweeps; one process until SIGTERM or Ctrl-C."""
    import threading

    import scheduler
    from bitrix_sync.app import WEB, Service, check_file
    from bitrix_sync.log import configure
    from bitrix_sync.settings import writes_to_journal
    from webhooks import page
    from webhooks.server import create_app, serve

    loaded = load_settings()
    configure(loaded.log, loaded.secrets(), journal=writes_to_journal())
    check_file(loaded, restart=True)
    service = Service(loaded, same_portal=same_portal)
    worker = threading.Thread(target=scheduler.run, args=(service,), name="worker", daemon=True)
    try:
        service.prove()
        serve(
            create_app(service, blueprints=[page.blueprint(service)]),
            loaded.listen,
            service.stopping,
            announce=lambda url: begin(url, worker.start),
        )
    except (KeyboardInterrupt, BitrixSyncError):
        raise
    except BaseException as fault:
        service.fail(f"the thread '{WEB}' has ended ({type(fault).__name__}); the log says where")
    finally:
        service.stop()
        if worker.is_alive():
            worker.join(END_WITHIN)
    if service.failed:
        raise typer.Exit(3)


def begin(url: str, start: Callable[[], None]) -> None:
    """The address is open: say it, and begin to work."""
    out.print(f"bitrix-sync {__version__}: {url}")
    start()


# --- begin, look, ask why --------------------------------------------------------------------------------------------


@app.command()
def init(as_json: Json = False) -> None:
    """Write a rules.yaml with the portal's own funnels and stages, one suggested task each; say what to fill in."""
    from bitrix_sync.settings import spoken_language
    from bitrix_sync.setup.init import DOTENV, start, write_settings

    known = settings(need_portal=False)
    if known.portal is None and not known.is_of_fleet and not DOTENV.exists():
        raise UserError(write_settings(spoken_language()))
    started = start(settings())
    if as_json:
        show(started.as_dict())
        return
    for line in started.account():
        out.print(line)


@app.command("names")
def show_names(
    listing: Annotated[
        str,
        typer.Argument(
            help="One listing; without it all of them.",
            metavar="funnels|fields|people|departments|workgroups",
            show_default=False,
        ),
    ] = "",
    text: Annotated[
        list[str] | None, typer.Argument(help="Only rows with these words in any column.", metavar="TEXT")
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="As the store knows them; do not ask the portal.")] = False,
    fired: Annotated[bool, typer.Option("--fired", help="People who do not work here any more, too.")] = False,
    as_json: Json = False,
) -> None:
    """What can be written in the file: names, codes, ids, values of lists, e-mails."""
    from bitrix_sync.report import names
    from bitrix_sync.setup.names import known_names

    kinds, wanted = names.asked_for([listing, *(text or [])])
    chosen, language = settings(need_portal=False, quiet=True), reader()
    with progress() as told:
        told(texts.phrase(language, "names.reading"))
        known = known_names(chosen, language, offline=offline)
    found = {kind: names.look(kind, known.directory, language, wanted, fired=fired) for kind in kinds}
    source = {"source": "portal" if known.asked else "store", "portal": known.host, "at": known.at, "why": known.why}
    if as_json:
        show(source | names.as_dict(found, known.directory))
        return
    for kind, lines in found.items():
        if lines or not wanted:
            table(*names.table_of(kind, lines, language))
    for line in names.remarks(language, found, known.directory, text=wanted, **source):
        err.print(line)


@app.command()
def audit(
    details: Annotated[bool, typer.Option("--details", help="What stands behind each missing point.")] = False,
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, headed by the keys of --json.")] = False,
    excel: Excel = False,
) -> None:
    """The portal against the standards 4 to 7, as it is: by department and person; reads only, needs no rules."""
    from bitrix_sync.report.tables import EXCEL, PLAIN, csv_of
    from bitrix_sync.setup.audit import audit as judge

    if as_json and as_csv:
        raise typer.BadParameter("choose --json or --csv")
    if excel and not as_csv:
        raise typer.BadParameter("--excel goes with --csv")
    language = reader()
    found = judge(settings(quiet=True), language, advance)
    rows = found.details() if details else found.rows()
    if as_json:
        show(rows)
    elif as_csv:
        keys = ("standard", "deal_id", "task_id", "person_id", "why") if details else AUDIT_KEYS
        sys.stdout.write(csv_of(keys, rows, EXCEL if excel else PLAIN))
    else:
        show_audit(found, details=details)
    for part, why in found.unread.items():
        err.print(tell("audit.unread", part=tell(f"audit.part.{part}"), why=why))


AUDIT_KEYS = ("scope", "id", "name", "s4", "s5", "s6", "s7", "score", "deals", "tasks")


def show_audit(found: Any, *, details: bool) -> None:
    """The scores in tables, the whole first; what each standard asks for; with ``details`` what lacks."""
    language, company = reader(), found.company

    def percent(value: float | None) -> str:
        return "—" if value is None else texts.number_text(language, value)

    scopes = {"all": "audit.all", "department": "audit.departments", "person": "audit.people"}
    for scope, title in scopes.items():
        rows = [one for one in found.rows() if one["scope"] == scope]
        cells = [
            [
                texts.person_text(language, company, one["id"])
                if scope == "person"
                else one["name"] or tell("audit.whole"),
                *(percent(one[key]) for key in ("s4", "s5", "s6", "s7", "score")),
                one["deals"],
                one["tasks"],
            ]
            for one in rows
        ]
        if cells:
            heads = columns("whose", "s4", "s5", "s6", "s7", "score", "deals", "open tasks")
            table(tell(title), heads, cells)
    out.print(tell("audit.legend"))
    if details:
        cells = [
            [
                one["standard"],
                one["deal_id"] or "",
                one["task_id"] or "",
                texts.person_text(language, company, one["person_id"]),
                tell(f"audit.why.{why.name.lower()}"),
            ]
            for one, why in zip(found.details(), (row.why for row in found.missing), strict=True)
        ]
        table(tell("audit.details"), columns("standard", "deal", "task", "whose", "why"), cells)
    elif found.missing:
        out.print(tell("audit.more", count=len(found.missing)))


@app.command()
def preview(
    deal: Annotated[int | None, typer.Option(help="One deal, by its number.", min=1, max=LAST_ID, metavar="ID")] = None,
    stage: Annotated[str, typer.Option(help="As if it entered this stage now (name or id).", metavar="NAME")] = "",
    every: Annotated[bool, typer.Option("--all", help="Every open deal, where it stands.")] = False,
    as_json: Json = False,
) -> None:
    """What the rules would do, with owners and deadlines; writes nothing anywhere."""
    from bitrix_sync.explain import preview_lines
    from bitrix_sync.explain.preview import of_all, of_deal

    if (deal is None) != every:
        raise typer.BadParameter("say of what: --deal ID, or --all")
    if stage and deal is None:
        raise typer.BadParameter("--stage goes with --deal ID")
    chosen = settings(quiet=True)
    found = of_all(chosen, progress=advance) if deal is None else of_deal(chosen, deal, stage=stage)
    if as_json:
        show(found.as_dict())
        return
    if found.warnings:
        count = len(found.warnings)
        err.print(texts.phrase(found.language, "preview.warnings", file=chosen.rules, count=count))
    show_parts(preview_lines.lines_of(found, width=out.width if out.is_terminal else None))


def show_parts(parts: Iterable[Any]) -> None:
    """Lines of text, headings among them, and tables."""
    for part in parts:
        if part.columns:
            table(part.title, list(part.columns), list(part.rows))
        else:
            out.print(part.title, style="bold" if part.heading else "")


def advance(done: int, total: int) -> None:
    """How far a long job is, on a terminal; the line is taken away at its end."""
    if err.is_terminal:
        err.print(f"{done}/{total}" if done < total else " " * 20, end="\r")


@app.command()
def why(
    deal: Annotated[str, typer.Argument(help="The deal's number, or its address in the portal.", metavar="DEAL")],
    rule: Annotated[str, typer.Option(help="Only this rule.", metavar="ID")] = "",
    as_json: Json = False,
) -> None:
    """Every decision about the deal and its reason, also why a rule did nothing; the portal is not asked."""
    from bitrix_sync.explain.why import story
    from bitrix_sync.explain.why_lines import lines_of
    from bitrix_sync.model.items import whereabouts

    place = whereabouts(deal)
    if place is None or not 0 < place.number <= LAST_ID:
        raise typer.BadParameter(f"'{deal[:200]}' is neither a deal's number nor the address of a deal's page")
    found = story(settings(need_portal=False, quiet=True), place.number, host=place.host, rule=rule)
    if as_json:
        show(found)
        return
    for line in lines_of(found):
        out.print(line, style="bold" if line and not line.startswith(" ") and out.is_terminal else "")


# --- the service at work ---------------------------------------------------------------------------------------------


@app.command()
def sync(as_json: Json = False) -> None:
    """One pass now; prints what it did."""
    show_account(perform("sync"), as_json=as_json)


@app.command()
def backfill(
    rule: Annotated[str, typer.Option(help="Only tasks of this rule.", metavar="ID")] = "",
    funnel: Annotated[str, typer.Option(help="Only deals of this funnel (name or id).", metavar="NAME")] = "",
    stage: Annotated[str, typer.Option(help="Only deals in stages of this name, or id.", metavar="NAME")] = "",
    deal: Annotated[
        int | None, typer.Option(help="Only this deal, by its number.", min=1, max=LAST_ID, metavar="ID")
    ] = None,
    from_now: Annotated[bool, typer.Option("--from-now", help="Count deadlines from now, not from the entry.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Also make what `remove` took away.")] = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Tasks for deals that already sit in a stage and have none for it."""
    args = {"rule": rule, "funnel": funnel, "stage": stage, "deal": deal, "from_now": from_now, "removed": again}
    result = perform("backfill", {**args, "dry_run": dry_run})
    if not as_json:
        rows = [
            [
                str(Item.of(one["deal_id"])),
                one["title"],
                one["owner"],
                _minute(one["deadline"]),
                tell("column.held") if one["held"] else "",
            ]
            for one in result["planned"]
        ]
        table(tell("column.tasks"), columns("deal", "task", "owner", "deadline", ""), rows)
    show_account(result, as_json=as_json)


@app.command()
def sweep(
    name: Annotated[str, typer.Argument(help="morning or evening", metavar="morning|evening")],
    again: Annotated[bool, typer.Option("--again", help="Run it once more, if it was undone.")] = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Today's sweep now, though its hour has not come; its slot counts as done; exit 1 if it was done."""
    if name not in ("morning", "evening"):
        raise typer.BadParameter(f"no sweep is called '{name}'; write morning or evening")
    result = perform("sweep", {"name": name, "rerun": again, "dry_run": dry_run})
    if not as_json:
        keys = ("task_id", "title", "owner", "supervisor")
        tasks = result["tasks"]
        rows = [
            [*(one[key] for key in keys), *_span(one), said(one["why"]) or _refused(one["refused"])] for one in tasks
        ]
        heads = columns("task", "title", "owner", "supervisor", "from", "to", "why not")
        table(tell("column.overdue"), heads, rows)
        show_days(result)
        if result.get("held"):
            out.print(tell("command.sweep_held"))
        if until := result.get("until"):
            out.print(tell("command.sweep_rest", until=_minute(until)))
    show_account(result, as_json=as_json)


def show_days(result: Mapping[str, Any]) -> None:
    """Of a sweep that is only tried: what is handed over, the load of days before and after, the messages."""
    if not result.get("dry_run"):
        return
    if result["handed_over"]:
        rows = [
            [one["task_id"], one["title"], one["from"], one["to"], _minute(one["until"])]
            for one in result["handed_over"]
        ]
        table(tell("column.handed_over"), columns("task", "title", "from", "to", "until"), rows)
    days = sorted({day for one in result["load"] for day in (*one["before"], *one["after"])})
    if days:
        rows = [
            [
                one["user"],
                one["room"] or "—",
                *(_change(one["before"].get(day, 0), one["after"].get(day, 0)) for day in days),
            ]
            for one in result["load"]
        ]
        heads = [texts.day_text(reader(), date.fromisoformat(day)) for day in days]
        table(tell("column.load"), [*columns("owner", "room"), *heads], rows)
    for one in result["drafts"]:
        out.print(Text(cell(tell("command.draft", user=one["user"]))))
        out.print(Text("\n".join(cell(line) for line in texts.unmarked(one["text"]).splitlines())))


def _refused(days: Iterable[Mapping[str, Any]]) -> str:
    """The days on which a task was not put, and why."""
    from bitrix_sync.model.actions import RefusedDay
    from bitrix_sync.words.days import one_by_one

    read = [RefusedDay.of([one[name] for name in ("day", "why", "until", "taken", "room")]) for one in days]
    return one_by_one(reader(), read)


def _change(before: int, after: int) -> str:
    return str(after) if before == after else f"{before} → {after}"


def _span(line: Mapping[str, Any]) -> list[str]:
    return [_minute(line["from"]), _minute(line["to"])]


def _minute(moment: str | None) -> str:
    """A moment in the reader's form, on the clocks of the zone that it carries."""
    return "" if moment is None else texts.moment_text(reader(), datetime.fromisoformat(moment), year=True)


@app.command()
def undo(
    slot: Annotated[str | None, typer.Argument(help="2026-03-12/evening; without it, sweeps are listed")] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Put the deadlines of a sweep back where they are still what it set; without argument, list sweeps."""
    if slot is None:
        from bitrix_sync.report import sweeps

        rows = with_store(sweeps)
        if as_json:
            show(rows)
        else:
            state = partial(texts.choice, reader(), "sweep_state")
            cells = [[r["slot"], state(r["state"]), r["moved"], r["put_back"], said(r["reason"])] for r in rows]
            table(tell("column.sweeps"), columns("sweep", "state", "moved", "put back", ""), cells)
        return
    result = perform("undo", {"slot": slot, "dry_run": dry_run})
    if dry_run and not as_json:
        rows = [[*(one[key] for key in ("task_id", "title")), *_span(one), said(one["why"])] for one in result["tasks"]]
        table(tell("column.deadlines"), columns("task", "title", "from", "to", "why not"), rows)
    show_account(result, as_json=as_json, then=tell("account.next.undo"))


@app.command()
def remove(
    rule: Annotated[str, typer.Option(help="The id of the rule.")],
    since: Annotated[str, typer.Option(help="A date or a moment: 2026-03-12 or 2026-03-12T14:00.")],
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Delete the tasks that a wrong rule made, those that nobody has touched."""
    result = perform("remove", {"rule": rule, "since": since, "dry_run": dry_run})
    if not as_json:
        rows = [[tell("column.delete"), line["task_id"], line["title"], ""] for line in result["delete"]]
        rows += [[tell("column.keep"), line["task_id"], line["title"], said(line["why"])] for line in result["kept"]]
        table(tell("column.tasks"), columns("", "task", "title", "changed"), rows)
    show_account(result, as_json=as_json, then=tell("account.next.remove", rule=rule))


@app.command()
def pause() -> None:
    """Nothing is written to the portal until `resume`; reading goes on."""
    from bitrix_sync.app import utc_now
    from bitrix_sync.sweeps import state

    with_store(lambda store: state.pause(store, utc_now()))
    out.print(tell("command.paused"))


@app.command()
def resume() -> None:
    """Write to the portal again."""
    from bitrix_sync.app import utc_now
    from bitrix_sync.sweeps.state import resume_at

    with_store(lambda store: resume_at(store, utc_now()))
    out.print(tell("command.resumed"))


@app.command()
def held(as_json: Json = False) -> None:
    """What the safety limits hold back, and what the portal refused and release would try again."""
    from bitrix_sync.report import frame, held_back

    rows, known = with_store(lambda store: (held_back(store), frame(store)))
    if as_json:
        show(rows)
    else:
        local = [known.calendar.local(datetime.fromisoformat(row["since"])).isoformat() for row in rows]
        table(
            tell("column.held"),
            columns("kind", "deal", "task", "since", "why"),
            [
                [
                    tell(f"page.kind.{row['kind']}"),
                    Item.of(row["deal_id"] or 0),
                    row["title"],
                    _minute(since),
                    said(row["why"]),
                ]
                for row, since in zip(rows, local, strict=True)
            ],
        )


@app.command()
def release(as_json: Json = False) -> None:
    """Let go what the safety limits hold back; try again what the portal refused."""
    show_account(perform("release"), as_json=as_json)


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where the copy is written; must not exist.")],
) -> None:
    """A consistent copy of the store while the service runs; `restore` puts it back."""
    from bitrix_sync.app import utc_now

    def copy(store: Any) -> None:
        store.backup(file)
        with contextlib.suppress(UserError):  # the copy is there, also where the store itself takes nothing now
            store.flags.last_backup = utc_now()

    with_store(copy, create=False)
    out.print(tell("command.written", file=file))
    if settings(need_portal=False).is_of_fleet:
        out.print(tell("command.no_secrets"))


@app.command()
def restore(file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that `backup` wrote.")]) -> None:
    """Put a backup into the store in place of what it holds; the service must stand still meanwhile."""
    from bitrix_sync.app import holder_name, utc_now
    from bitrix_sync.store.scratch_copy import restore as take_back

    def put_back(store: Any) -> None:
        here = socket.gethostname()
        until = time.monotonic() + LEFT_ALONE
        while (epoch := store.take_lease(holder_name(), os.getpid(), here, utc_now())) is None:
            held = store.lease()
            if time.monotonic() > until or (held is not None and held.host == here):
                raise UserError("a service works with this database; stop it, restore, start it again")
            time.sleep(1)
        try:
            take_back(store, file, epoch)
        finally:
            store.drop_lease(epoch)

    chosen = settings(need_portal=False)
    if chosen.is_of_fleet:
        restore_portal(chosen, file)
        out.print(tell("command.restored_portal", file=file, name=chosen.name))
    else:
        with_store(put_back)
        out.print(tell("command.restored", file=file))


def restore_portal(chosen: Settings, file: Path) -> None:
    """The same for a portal of a fleet, which must be disabled: then no worker has a turn at it any more."""
    from bitrix_sync.app import holder_name
    from bitrix_sync.fleet.choose import need_disabled, need_portal
    from bitrix_sync.store.scratch_copy import restore as take_back

    with fleet() as (portals, _):
        need_disabled(need_portal(portals, chosen.name))
        turn = portals.take(chosen.number, holder_name(), socket.gethostname(), os.getpid(), disabled=True)

    def put_back(store: Any) -> None:
        try:
            take_back(store, file, turn.epoch)
            store.flags.identified = None  # whose portal it is has to be asked anew
        finally:
            store.drop_lease(turn.epoch)

    with_store(put_back)


@app.command()
def status(as_json: Json = False) -> None:
    """Whether it works, what is in the way, what waits, the last sweeps; all figures with --json."""
    from bitrix_sync import report
    from bitrix_sync.app import clock_shift, utc_now

    loaded, now = settings(), utc_now()
    if as_json:
        show(with_store(lambda store: report.state_of_things(store, loaded, now=now, moved=clock_shift(store))))
    else:
        for line in with_store(lambda store: report.status(store, loaded, now=now, moved=clock_shift(store))):
            out.print(Text(cell(line)))


class ReportCommand(TyperCommand):
    """``report``, whose help names every report."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """The names, each with what it shows."""
        from bitrix_sync.report import REPORTS

        language = reader()
        with formatter.section("Reports"):
            formatter.write_dl([(name, texts.phrase(language, f"report.about.{name}")) for name in REPORTS])


@app.command(cls=ReportCommand)
def report(
    name: Annotated[str, typer.Argument(help="Which; they are listed below.", metavar="NAME")],
    deal: Annotated[
        int | None, typer.Option(help="With stages: every movement of one deal.", min=1, max=LAST_ID, metavar="ID")
    ] = None,
    department: Annotated[
        str | None, typer.Option(help="Only of this department and those below it (name or id).", metavar="NAME")
    ] = None,
    person: Annotated[str | None, typer.Option(help="Only of this employee (name or id).", metavar="NAME")] = None,
    funnel: Annotated[str | None, typer.Option(help="Only of this funnel (name or id).", metavar="NAME")] = None,
    rule: Annotated[str | None, typer.Option(help="Only of this rule (id or title).", metavar="ID")] = None,
    since: Annotated[str | None, typer.Option(help="From this day on: 2026-03-01.", metavar="DATE")] = None,
    until: Annotated[str | None, typer.Option(help="Up to this day, inclusive: 2026-03-31.", metavar="DATE")] = None,
    by: Annotated[
        str | None,
        typer.Option(help="With done: what a row is counted for.", metavar="person|department|rule|funnel"),
    ] = None,
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, headed by the keys of --json.")] = False,
    excel: Excel = False,
) -> None:
    """A table made from what the store knows; the reports are listed below."""
    from bitrix_sync import report as reports
    from bitrix_sync.app import utc_now
    from bitrix_sync.report import tables

    chosen = chosen_report(name, {"deal": deal} if deal is not None else {})
    if as_json and as_csv:
        raise typer.BadParameter("choose --json or --csv")
    if excel and not as_csv:
        raise typer.BadParameter("--excel goes with --csv")
    shown = (chosen,) if as_json or as_csv else (chosen, *chosen.beside)
    written = {"department": department, "person": person, "funnel": funnel, "rule": rule, "since": since}
    written |= {"until": until, "by": by}
    asked = {filter_name: text for filter_name, text in written.items() if text is not None}

    def read(store: Any) -> tuple[list[Any], Any]:
        known, now = reports.frame(store), utc_now()
        choice = reports.choose(store, known, chosen, asked)
        more = {"chosen": choice} if chosen.takes else {"deal": deal} if deal is not None else {}
        return [one.rows(store, now=now, **more) for one in shown], known

    found, known = with_store(read)
    if as_json:
        show(tables.json_rows(chosen, found[0]))
    elif as_csv:
        form = tables.EXCEL if excel else tables.PLAIN
        sys.stdout.buffer.write(tables.csv_text(chosen, found[0], form).encode())
    else:
        for one, lines in zip(shown, found, strict=True):
            table(*tables.terminal(one, lines, known))


def chosen_report(name: str, filters: Iterable[str]) -> Any:
    """The report of that name with these filters; BadParameter if there is none."""
    from bitrix_sync.report import REPORTS

    if name not in REPORTS:
        raise typer.BadParameter(f"no report is called '{name}'; write one of: {', '.join(REPORTS)}")
    chosen = REPORTS[name]
    for option in filters:
        if option not in chosen.instead:
            takers = ", ".join(one.name for one in REPORTS.values() if option in one.instead)
            raise typer.BadParameter(f"--{option} goes with {takers}")
        chosen = chosen.instead[option]
    return chosen


def with_store(use: Callable[[Any], Any], *, create: bool = True) -> Any:
    """Open the store, use it, close it. ``create``: make an empty one if there is none."""
    from bitrix_sync.store import Store

    loaded = settings(need_portal=False)
    store = Store(loaded.database_url, create=create, portal=loaded.number)
    try:
        return use(store)
    finally:
        store.close()


@app.command()
def schema() -> None:
    """The JSON Schema of rules.yaml, for editors."""
    from bitrix_sync.rules.schema import json_schema

    show(json_schema(reader()))


@app.command()
def check(
    offline: Annotated[bool, typer.Option(help="Settings, file and database only; the portal is not asked.")] = False,
    as_json: Json = False,
) -> None:
    """Settings, rules, database, the webhook's scopes and rights, clocks, events; one line each with the fix."""
    from bitrix_sync.app import utc_now
    from bitrix_sync.setup.check import examine

    lines = examine(settings(need_portal=not offline, quiet=True), offline=offline, now=utc_now())
    if as_json:
        show([line.as_dict() for line in lines])
    else:
        language = reader()
        for line in lines:
            out.print(line.said(language))
    if any(line.level == "error" for line in lines):
        raise typer.Exit(1)


@app.command()
def sandbox() -> None:
    """The sandbox portal alone."""
    from bitrix_sync.settings import spoken_language

    demonstration().sandbox(spoken_language())


@app.command("demo")
def show_demo(
    once: Annotated[bool, typer.Option("--once", help="Play the story without a page and exit.")] = False,
) -> None:
    """The product on the sandbox portal: see `make demo`; `--once` plays the story without a page and exits."""
    from bitrix_sync.settings import spoken_language

    demo = demonstration()
    play = demo.once if once else demo.live
    play(spoken_language())


def demonstration() -> ModuleType:
    """The demo with its sandbox portal, which is a package of its own: a server does not carry it."""
    try:
        from bitrix_sync import demo
    except ModuleNotFoundError as missing:
        if missing.name != "bitrix_sandbox":
            raise
        raise UserError(
            "the sandbox portal is not installed here; where the source is, `make demo` installs and shows it, "
            "and `pip install ./bitrix_sandbox` installs it alone"
        ) from None
    return demo


@app.command()
def version() -> None:
    """The program's version."""
    out.print(__version__)


@app.command()
def web() -> None:
    """Many portals: their events, their pages, the operator's page; one process until SIGTERM or Ctrl-C."""
    import threading

    from bitrix_sync.fleet.web import serve_fleet
    from bitrix_sync.log import configure
    from bitrix_sync.settings import writes_to_journal
    from webhooks.server import serve

    loaded, stopping = load_settings(need_portal=False), threading.Event()
    configure(loaded.log, loaded.secrets(), journal=writes_to_journal())
    failed = serve_fleet(
        loaded, stopping, lambda app: serve(app, loaded.listen, stopping, announce=lambda url: begin(url, lambda: None))
    )
    if failed:
        raise typer.Exit(3)


@app.command()
def worker() -> None:
    """Many portals: takes turns at them, on as many machines as there are workers, until SIGTERM or Ctrl-C."""
    from bitrix_sync.fleet.seal import need_queue
    from bitrix_sync.log import configure
    from bitrix_sync.settings import writes_to_journal

    loaded = load_settings(need_portal=False)
    configure(loaded.log, loaded.secrets(), journal=writes_to_journal())
    need_queue()
    from bitrix_sync.fleet.worker import start

    if code := start(loaded):
        raise typer.Exit(code)


@app.command()
def migrate() -> None:
    """Brings the database's tables, those of many portals and of their queue included, to this program's version."""
    from bitrix_sync.fleet.seal import need_queue
    from bitrix_sync.store.schema import HEAD

    loaded = fleet_settings()
    with fleet():
        need_queue()
        from bitrix_sync.fleet.queue import set_up

        set_up(loaded.database_url)
    out.print(tell("fleet.migrated", version=HEAD))


@app.command("fleet")
def show_fleet(as_json: Json = False) -> None:
    """Many portals: the workers, how many portals are served, which wait longest, what is in the way."""
    from bitrix_sync.fleet.overview import overview

    with fleet() as (portals, loaded):
        found = overview(portals, loaded)
    if as_json:
        show(found)
        return
    keys = ("name", "host", "pid", "version", "portals", "turns", "seen_seconds")
    cells = [[*(one[key] for key in keys), tell("fleet.lost") if one["lost"] else ""] for one in found["workers"]]
    table(tell("fleet.workers"), columns("worker", "host", "pid", "version", "portals", "turns", "beat_age", ""), cells)
    if not found["workers"]:
        out.print(tell("fleet.no_workers"))
    counts = found["portals"]
    for key in ("served", "disabled", "troubled", "late"):
        out.print(f"{tell(f'fleet.{key}')}: {counts[key]}")
    out.print(f"{tell('fleet.oldest')}: {found['oldest_due_seconds']:.0f} s")
    troubles = [[one["portal"], said(one["trouble"])] for one in found["troubles"]]
    if troubles:
        table(tell("fleet.troubled"), columns("portal", "trouble"), troubles)


# --- many portals ----------------------------------------------------------------------------------------------------

portal_app = typer.Typer(
    name="portal",
    help="The portals of a fleet, kept in one PostgreSQL: see `portal COMMAND --help`.",
    no_args_is_help=True,
)
app.add_typer(portal_app)
Name = Annotated[str, typer.Argument(metavar="NAME", help="The portal's name.")]


@contextlib.contextmanager
def fleet() -> Iterator[tuple[Any, Settings]]:
    """The table of portals, and the settings of the environment."""
    from bitrix_sync.store.portals import Portals

    with contextlib.ExitStack() as opened:
        loaded = fleet_settings()
        yield opened.enter_context(Portals(loaded.database_url)), loaded


def fleet_settings() -> Settings:
    """The environment's settings, with the logs configured."""
    import logging

    from bitrix_sync.log import configure

    loaded = load_settings(need_portal=False)
    configure(loaded.log, loaded.secrets(), level=logging.ERROR)
    return loaded


def here() -> str:
    """Who changes something, for the history."""
    return f"{pwd.getpwuid(os.getuid()).pw_name}@{socket.gethostname()}"


@portal_app.command("add")
def portal_add(
    name: Name,
    rules: Annotated[Path | None, typer.Option(metavar="FILE", help="The rules; they can follow by `apply`.")] = None,
    secrets: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A file like .env with the webhook; without it the webhook is asked for."),
    ] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """A new portal; its webhook is asked for, or comes from a file, and its rules are proved on it."""
    from bitrix_sync.engine.rulebook import read_file
    from bitrix_sync.fleet.apply import Wanted, need_name
    from bitrix_sync.settings import read_portal_file

    need_name(name)
    text = read_file(rules)[0] if rules is not None else ""
    given = read_portal_file(secrets) if secrets is not None else {"BITRIX_WEBHOOK_URL": ask_webhook()}
    with fleet() as (portals, _):
        if any(row.name == name for row in portals.rows()):
            raise UserError(f"portal {name}: is there already; change it by `bitrix-sync portal apply`")
    carry_out([Wanted(name, text, given)], dry_run=dry_run, prune=False, whole=False, as_json=as_json)


def ask_webhook() -> str:
    """The address that is typed, unseen, or stands on stdin."""
    if sys.stdin.isatty():
        return getpass.getpass(tell("portal.webhook"), sys.stderr)
    return sys.stdin.readline()


@portal_app.command("apply")
def portal_apply(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder for each portal, NAME/rules.yaml.")],
    secrets: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where NAME.env are; else NAME/.env, if git does not keep it.")
    ] = None,
    prune: Annotated[bool, typer.Option("--prune", help="Disable the portals that DIR lacks.")] = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Make the portals what their folders say; all is proved on the portals first, and one error keeps all as it is."""
    from bitrix_sync.fleet.apply import read_folders

    wanted = read_folders(folder, secrets)
    carry_out(wanted, dry_run=dry_run, prune=prune, whole=True, as_json=as_json)


def carry_out(wanted: Any, *, dry_run: bool, prune: bool, whole: bool, as_json: bool) -> None:
    """Make portals what is wanted, and say what became of them."""
    from bitrix_sync.fleet.apply import apply
    from bitrix_sync.fleet.seal import read_seals

    with fleet() as (portals, loaded):
        seals = read_seals(loaded.secret_key_file)
        done = apply(wanted, portals, loaded, seals, by=here(), dry_run=dry_run, prune=prune, whole=whole)
    if as_json:
        show(done.as_dict())
        return
    if dry_run:
        out.print(tell("account.dry_run"))
    for change in done.added:
        out.print(tell("portal.added" if change.text else "portal.added_bare", name=change.name))
    for change in done.changed:
        what = ", ".join(tell(f"portal.what.{one}") for one in change.what)
        out.print(tell("portal.changed", name=change.name, what=what))
        for line in change.diff if "rules" in change.what else ():
            out.print(f"  {line}")
    for name in done.missing:
        out.print(tell("portal.pruned" if name in done.pruned else "portal.missing", name=name))
    for name in done.off:
        out.print(tell("portal.off", name=name))
    if not (done.added or done.changed or done.pruned):
        out.print(tell("portal.unchanged", count=len(done.unchanged)))


@portal_app.command("list")
def portal_list(as_json: Json = False) -> None:
    """All portals: where they are, whether they are served, what is in the way."""
    with fleet() as (portals, _):
        rows = portals.rows()
    if as_json:
        show([shown_portal(row) for row in rows])
        return
    cells = [
        [
            *(row.name, row.address, for_people(row.enabled), row.rules_version or ""),
            *(for_people(row.seen_ok), said(row.trouble)),
        ]
        for row in rows
    ]
    table(tell("portal.all"), columns("portal", "address", "enabled", "rules", "read", "trouble"), cells)


def for_people(value: Any) -> str:
    """A value of a portal's, in the reader's words and on this machine's clock."""
    match value:
        case bool():
            return texts.choice(reader(), "yes", value)
        case datetime():
            return texts.moment_text(reader(), value.astimezone(), year=True)
        case Mapping():
            return " ".join(f"{name}={text}" for name, text in value.items())
        case _:
            return "" if value is None else str(value)


def shown_portal(row: Any) -> dict[str, Any]:
    """A portal as everybody may see it: nothing of its secrets but whether there are any."""
    keys = ("name", "address", "enabled", "rules_version", "settings", "due", "seen_ok", "trouble")
    more = {
        "webhook": f"{row.address}/rest/{row.webhook_user}/***/",
        "events": bool(row.token_marks),
        "page_password": bool(row.page_password),
    }
    return {key: getattr(row, key) for key in keys} | more


@portal_app.command("show")
def portal_show(name: Name, as_json: Json = False) -> None:
    """One portal: its address, settings, rules, what is in the way; of its secrets only whether there are any."""
    from bitrix_sync.fleet.choose import need_portal

    with fleet() as (portals, _):
        row = shown_portal(need_portal(portals, name))
    if as_json:
        show(row)
        return
    for key, value in row.items():
        out.print(f"{tell(f'column.{key}')}: {said(for_people(value)) or '-'}")


@portal_app.command("enable")
def portal_enable(name: Name) -> None:
    """Serve a portal again."""
    switch(name, enabled=True)


@portal_app.command("disable")
def portal_disable(name: Name) -> None:
    """Serve a portal no more; what is known of it stays."""
    switch(name, enabled=False)


def switch(name: str, *, enabled: bool) -> None:
    """Whether a portal is served."""
    from bitrix_sync.fleet.choose import need_portal

    with fleet() as (portals, _):
        row = need_portal(portals, name)
        if enabled and not row.rules_version:
            raise UserError(f"portal {name}: has no rules yet; give it some by `bitrix-sync portal apply`")
        portals.change(row.number, by=here(), enabled=enabled)
    out.print(tell("portal.enabled" if enabled else "portal.disabled", name=name))


@portal_app.command("remove")
def portal_remove(name: Name) -> None:
    """Forget a disabled portal with its data; its name is never used again."""
    from bitrix_sync.fleet.choose import need_disabled, need_portal
    from bitrix_sync.store import Store

    with fleet() as (portals, loaded):
        row = need_portal(portals, name)
        need_disabled(row)
        with Store(loaded.database_url, portal=row.number) as store:
            store.forget()
        portals.remove(row.number)
    out.print(tell("portal.removed", name=name))


@portal_app.command("rules")
def portal_rules(
    name: Name,
    back: Annotated[bool, typer.Option("--back", help="Put the version before the present one in force.")] = False,
    text: Annotated[bool, typer.Option("--text", help="Print the rules in force.")] = False,
    as_json: Json = False,
) -> None:
    """The last twenty versions of a portal's rules: when they came, and from whom."""
    from bitrix_sync.fleet.apply import take_back
    from bitrix_sync.fleet.choose import need_portal
    from bitrix_sync.fleet.seal import read_seals

    with fleet() as (portals, loaded):
        row = need_portal(portals, name)
        if back:
            before, now = take_back(row, portals, loaded, read_seals(loaded.secret_key_file))
            out.print(tell("portal.back", name=name, before=before, now=now))
            return
        kept = portals.history(row.number)
    if text:
        sys.stdout.write(row.rules)
    elif as_json:
        show(
            [
                {"version": one.version, "at": one.at, "by": one.by, "in_force": one.version == row.rules_version}
                for one in kept
            ]
        )
    else:
        cells = [
            [
                one.version,
                for_people(one.at),
                one.by,
                tell("portal.in_force") if one.version == row.rules_version else "",
            ]
            for one in kept
        ]
        table(tell("portal.rules", name=name), columns("version", "since", "by", ""), cells)


@portal_app.command("rekey")
def portal_rekey() -> None:
    """Seal all secrets with the first key of the file; the others can be taken out of it then."""
    from bitrix_sync.fleet.portal_settings import sealed_anew
    from bitrix_sync.fleet.seal import read_seals

    with fleet() as (portals, loaded):
        seals = read_seals(loaded.secret_key_file)
        rows = portals.rows()
        portals.write([], {row.number: sealed_anew(row, seals) for row in rows}, by=here())
    out.print(tell("portal.rekeyed", count=len(rows)))
