"""The command line as a whole: help, exit codes, JSON; a user's mistake is told in a sentence, never in a traceback."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from bitrix_sync import __version__, cli
from bitrix_sync.cli import app
from bitrix_sync.errors import PortalError, UserError
from bitrix_sync.words.language import FALL_BACK, LANGUAGES, USAGE
from bitrix_sync.words.terminal import Terminal
from tests.world.office import RULES, Office, office
from tests.world.shell import Ran, Shell

COMMANDS = sorted(name for name in typer.main.get_command(cli.app).commands)  # type: ignore[attr-defined]
PROMISED = (
    *("run", "init", "check", "preview", "backfill", "sync", "sweep", "undo", "remove", "pause", "resume", "backup"),
    *("names", "why", "report", "held", "release", "status", "schema"),
)
LISTINGS = (
    *(
        ["sync"],
        ["backfill", "--dry-run"],
        ["undo"],
        ["held"],
        ["release"],
        ["status"],
        ["check"],
        ["check", "--offline"],
        ["names"],
    ),
    *(["remove", "--rule", "first-call", "--since", "2026-03-02", "--dry-run"], ["preview", "--all"], ["why", "1"]),
    *(["report", name] for name in ("load", "overdue", "today", "stages", "moves")),
)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Office]:
    """A portal, its rules, and a store that has been read; nobody runs the service."""
    with office(tmp_path) as found:
        found.run()
        found.service.close()
        yield found


@pytest.fixture
def shell(place: Office) -> Shell:
    return Shell(place.folder, place.environ)


@pytest.fixture
def bare(tmp_path: Path) -> Shell:
    """A shell in an empty folder, without settings."""
    return Shell(tmp_path, {})


def told(ran: Ran, code: int, *words: str) -> None:
    """The command ended with this code, and said these words on stderr, and no traceback."""
    assert ran.code == code, ran
    assert "Traceback" not in ran.out + ran.err
    assert all(word in ran.err for word in words), ran.err


# --- help ------------------------------------------------------------------------------------------------------------


def test_every_promised_command_is_there() -> None:
    assert set(PROMISED) <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_in_a_sentence_what_it_does(command: str, bare: Shell) -> None:
    ran = bare(command, "--help")
    assert ran.code == 0
    sentence = " ".join(ran.out.split())
    assert sentence.startswith(f"Usage: bitrix-sync {command} ")
    help_text = typer.main.get_command(cli.app).commands[command].help  # type: ignore[attr-defined]
    assert help_text
    assert "\n\n" not in help_text.strip(), "one sentence or two"


def test_without_a_command_the_list_of_commands_is_shown(bare: Shell) -> None:
    ran = bare()
    assert ran.code == 2
    assert all(command in ran.out + ran.err for command in PROMISED)


def test_the_version_is_told_at_the_top(bare: Shell) -> None:
    assert bare("--version") == Ran(0, f"{__version__}\n", "") == bare("version")


# --- wrong usage -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["nosuch"],
        ["status", "--nosuch"],
        ["schema", "--portal", "north"],
        ["portal", "nosuch"],
        ["portal", "show"],
        ["why"],
        ["why", "abc"],
        ["why", "0"],
        ["why", "https://portal.example/crm/lead/details/4711/"],
        ["why", f"https://portal.example/crm/deal/details/{2**63}/"],
        ["sweep"],
        ["sweep", "noon"],
        ["preview"],
        ["preview", "--all", "--deal", "7"],
        ["preview", "--all", "--stage", "X"],
        ["preview", "--stage", "X"],
        ["preview", "--deal", "x"],
        ["remove"],
        ["remove", "--rule", "x"],
        ["report"],
        ["report", "weather"],
        ["backup"],
    ],
)
def test_wrong_usage_is_2_and_says_what_is_wrong(words: list[str], bare: Shell) -> None:
    told(bare(*words), 2, "Usage: bitrix-sync", "--help")


def helped() -> list[str]:
    """Every sentence of the help."""
    found = list(cli.every(get_command(app)))
    params = [param for one in found for param in one.params]
    return sorted({text for one in (*found, *params) if (text := (getattr(one, "help", None) or "").strip())})


@pytest.mark.parametrize("language", [one for one in LANGUAGES if one != FALL_BACK])
def test_all_help_is_there_in_every_language(language: str) -> None:
    assert len(helped()) > 40
    assert [text for text in helped() if text not in USAGE[language]] == []
    for sentence, said in USAGE[language].items():
        assert re.findall(r"\{\d\}", sentence) == sorted(re.findall(r"\{\d\}", said)), sentence


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--help"], 0, "Использование: bitrix-sync [КЛЮЧИ] КОМАНДА"),
        (["report", "--help"], 0, "открытые задачи каждого сотрудника"),
        (["nosuch"], 2, "Ошибка: Нет команды 'nosuch'."),
        (["status", "--nosuch"], 2, "Ошибка: Нет ключа --nosuch"),
        (["why"], 2, "Не хватает параметра"),
        (["why", "x"], 2, "не номер сделки и не адрес"),
        (["remove"], 2, "Не хватает ключа '--rule'."),
        (["preview", "--deal"], 2, "Ключу '--deal' нужно значение."),
        (["status", "x"], 2, "Лишнее: x"),
        (["status", "--portal"], 2, "Ключу '--portal' нужно значение."),
        (["portal", "apply", "--help"], 0, "Выключить порталы, которых в папке нет."),
    ],
)
def test_help_and_usage_are_in_the_readers_language(words: list[str], code: int, told: str, bare: Shell) -> None:
    in_locale = bare(*words, LC_ALL="ru_RU.UTF-8")
    (bare.folder / "rules.yaml").write_text("version: 1\nlanguage: ru\n", "utf-8")
    for ran in (in_locale, bare(*words, LC_ALL="C")):
        assert ran.code == code
        assert told in " ".join((ran.out + ran.err).split())
    (bare.folder / "rules.yaml").write_text("version: 1\nlanguage: en\n", "utf-8")
    assert told not in bare(*words, LC_ALL="ru_RU.UTF-8").out


# --- the user's turn -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["init", "check", "sync", "backfill", "release", "run"])
def test_without_a_webhook_the_setting_is_named_with_what_to_write(command: str, bare: Shell) -> None:
    told(bare(command), 1, "BITRIX_WEBHOOK_URL: is not set; write")


@pytest.mark.parametrize("words", [["run"], ["check"], ["--version"]])
def test_on_windows_one_sentence_says_where_it_runs(
    words: list[str], bare: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli.sys, "platform", "win32")
    assert bare(*words) == Ran(1, "", f"{cli.ON_WINDOWS}\n")


@pytest.mark.parametrize("encoding", ["cp1251", "utf-16", "utf-16-le"])
def test_rules_in_another_encoding_are_told_in_their_language(encoding: str, bare: Shell) -> None:
    text = "version: 1\nlanguage: ru\nfunnels: {Продажи: {Договор: []}}\n"
    (bare.folder / "rules.yaml").write_bytes(text.encode(encoding))
    ran = bare("check", "--offline")
    assert ran.code == 1
    assert "это не текст UTF-8; сохраните файл в UTF-8" in ran.out


def test_a_wrong_setting_stops_every_command_with_its_name(bare: Shell) -> None:
    for command in ("status", "check", "held"):
        told(bare(command, BITRIX_POLL_SECONDS="often", BITRIX_WEBHOOK_URL=""), 1, "BITRIX_POLL_SECONDS")


@pytest.mark.parametrize("words", [["sync"], ["preview", "--all"], ["backfill"], ["run"]])
def test_without_rules_init_is_named(words: list[str], shell: Shell) -> None:
    told(shell(*words, BITRIX_RULES="none.yaml", **fresh(words, shell)), 1, "none.yaml", "bitrix-sync init")


@pytest.mark.parametrize("words", [["sync"], ["preview", "--all"], ["run"]])
def test_wrong_rules_are_told_all_at_once_with_their_lines(words: list[str], place: Office, shell: Shell) -> None:
    place.rules.write_text(RULES.replace("workminutes", "fortnights").replace("version: 1", "version: 3"), "utf-8")
    told(shell(*words, **fresh(words, shell)), 1, "rules.yaml:2:", "fortnights")


def fresh(words: list[str], shell: Shell) -> dict[str, str]:
    """A database of its own for those that would go on with the last good file, which the other one keeps."""
    return (
        {"DATABASE_URL": f"sqlite:///{shell.folder / 'fresh.db'}", "BITRIX_LISTEN": "127.0.0.1:0"}
        if {"run", "sync"} & set(words)
        else {}
    )


def test_check_ends_with_1_where_something_is_wrong_and_with_0_for_warnings(place: Office, shell: Shell) -> None:
    ran = shell("check", "--offline")
    assert ran.code == 0
    assert "warning" in ran.out
    place.rules.write_text("version: 1\n", encoding="utf-8")
    ran = shell("check", "--offline")
    assert ran.code == 1
    assert "rules.yaml" in ran.out


def test_a_refused_webhook_is_the_users_turn_and_its_code_is_never_shown(place: Office, shell: Shell) -> None:
    url = place.environ["BITRIX_WEBHOOK_URL"].replace("sandbox0code1234", "wrong0code9999")
    for words in (["sync"], ["preview", "--all"], ["init"]):
        ran = shell(*words, BITRIX_WEBHOOK_URL=url, BITRIX_RULES="new.yaml" if words == ["init"] else str(place.rules))
        told(ran, 1, "webhook")
        assert "wrong0code9999" not in ran.out + ran.err


def test_a_database_that_cannot_be_is_the_users_turn(shell: Shell, place: Office) -> None:
    (place.folder / "text.db").write_text("this is no database, whatever its name may say " * 40, encoding="utf-8")
    for words in (["status"], ["sync"], ["preview", "--all"], ["why", "1"]):
        told(shell(*words, DATABASE_URL=f"sqlite:///{place.folder / 'text.db'}"), 1, "text.db")


@pytest.mark.parametrize("since", ["yesterday", "2026-13-01", ""])
def test_a_moment_that_is_none_is_the_users_turn(since: str, shell: Shell) -> None:
    told(shell("remove", "--rule", "first-call", "--since", since), 1, "write --since 2026-03-12")


def test_a_backup_is_made_once(shell: Shell, place: Office) -> None:
    assert shell("backup", "copy.db").code == 0
    assert (place.folder / "copy.db").stat().st_size > 0
    told(shell("backup", "copy.db"), 1, "copy.db")


# --- the portal's or ours --------------------------------------------------------------------------------------------


def test_a_portal_that_cannot_be_reached_is_3(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bitrix_sync.portal.client.PATIENCE", 0.0)
    monkeypatch.setattr("bitrix_sync.portal.client.Portal.read", _unreachable)
    told(shell("sync", BITRIX_WEBHOOK_URL="http://127.0.0.1:9/rest/1/code12345/"), 3, "cannot be reached")


def _unreachable(*_: object, **__: object) -> None:
    raise PortalError("portal 127.0.0.1: cannot be reached")


def test_a_fault_of_ours_is_3_and_keeps_the_secret(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("http://x/rest/1/sandbox0code1234/")

    monkeypatch.setattr("bitrix_sync.report.status", broken)
    ran = shell("status")
    assert ran.code == 3
    assert "ZeroDivisionError" in ran.err
    assert "sandbox0code1234" not in ran.err


@pytest.mark.parametrize(("fault", "code"), [(KeyboardInterrupt(), 130), (UserError("mind the gap"), 1)])
def test_how_a_command_ends(fault: BaseException, code: int, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def ends(*_: object, **__: object) -> None:
        raise fault

    monkeypatch.setattr("bitrix_sync.report.status", ends)
    told(shell("status"), code)


# --- JSON ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", LISTINGS, ids=" ".join)
def test_every_listing_has_json_and_nothing_else_on_stdout(words: list[str], shell: Shell) -> None:
    ran = shell(*words, "--json")
    assert ran.code == 0, ran.err
    assert isinstance(ran.json, list | dict)
    plain = shell(*words)
    assert plain.code == 0, plain.err
    assert "\x1b[" not in plain.out, "no colours in a pipe"


def test_the_schema_is_json(bare: Shell) -> None:
    assert bare("schema").json["properties"]["funnels"]


def test_names_from_the_portal_are_no_markup(shell: Shell, place: Office) -> None:
    place.add_deal("[bold]Romashka[/bold] [/] :smile: \tx")
    ran = shell("preview", "--all")
    assert ran.code == 0, ran.err
    assert "[bold]Romashka[/bold] [/] :smile: x" in ran.out


def test_on_a_terminal_there_is_a_table_and_names_are_still_no_markup(
    shell: Shell, place: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    deal = place.add_deal("[bold]Romashka[/bold] [/] :smile:")
    monkeypatch.setattr(cli, "out", Terminal(force_terminal=True, width=200))
    for words in (["--deal", str(deal)], ["--all"]):
        ran = shell("preview", *words)
        assert ran.code == 0, ran.err
        assert "│" in ran.out
        assert "[bold]Romashka[/bold] [/] :smile:" in ran.out


# --- the real program ------------------------------------------------------------------------------------------------


def test_as_a_process_of_its_own(tmp_path: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, "-c", "from bitrix_sync.cli import main; main()", *words]
        return subprocess.run(
            program,
            cwd=tmp_path,
            env={"PYTHONPATH": str(Path(cli.__file__).parent.parent)},
            capture_output=True,
            text=True,
        )

    version = run("version")
    assert (version.returncode, version.stderr) == (0, "")
    refused = run("sync")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("BITRIX_WEBHOOK_URL: is not set")
    assert list(tmp_path.iterdir()) == [], "nothing is left behind by a command that could not begin"


# --- what a terminal would obey --------------------------------------------------------------------------------------

OBEYED = "\x1b[2J\x1b]0;owned\x07\x9b31m\x08\r\u202egnp\u2066\u200f\u2028\x85\x7f"
SIGNS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


@pytest.mark.parametrize("terminal", [False, True])
def test_nothing_that_a_terminal_obeys_reaches_it_in_any_command(
    shell: Shell, place: Office, monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    """Titles and people have such names, and so do the portal's errors."""
    if terminal:
        monkeypatch.setattr(cli, "out", Terminal(force_terminal=True, no_color=True, width=200))
        monkeypatch.setattr(cli, "err", Terminal(stderr=True, force_terminal=True, no_color=True, width=200))
    place.start()
    evil = f"R{OBEYED}\nok: all is well"
    place.portal.state.users[5].last_name = evil
    deal = place.add_deal(evil)
    place.portal.faults.next("refuse", "tasks.task.add", times=1, code="ERROR", text=evil)
    for _ in range(2):
        place.run()
    place.add_deal(evil)
    place.run()
    for task in list(place.portal.state.tasks.values()):
        place.portal.state.set_title(task.id, evil, by=5)
    place.run()
    place.service.close()
    for words in (
        ["why", str(deal)], ["why", str(deal), "--json"], ["preview", "--all"], ["preview", "--deal", str(deal)],
        ["preview", "--deal", str(deal), "--json"], ["backfill", "--dry-run"], ["held"], ["status"], ["check"],
        ["names"], ["names", "--json"],
        ["sweep", "morning", "--dry-run"], ["remove", "--rule", "first-call", "--since", "2026-03-01", "--dry-run"],
        *(["report", name, *more] for name in ("load", "overdue", "today", "stages", "moves")
          for more in ([], ["--json"], ["--csv"])),
    ):  # fmt: skip
        ran = shell(*words)
        plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", ran.out + ran.err) if terminal else ran.out + ran.err
        plain = plain.replace("\r\n", "\n").replace("\r", "") if terminal or "--csv" in words else plain
        assert not SIGNS.search(plain), words
        assert not re.search("^ok: all is well", plain, re.MULTILINE), words
        assert "\x1b[2J" not in ran.out + ran.err


@pytest.mark.parametrize("words", [["why"], ["preview", "--deal"], ["report", "stages", "--deal"]])
def test_an_id_that_no_database_can_hold_is_wrong_usage(shell: Shell, words: list[str]) -> None:
    for number in (2**63, 10**30):
        ran = shell(*words, str(number))
        assert ran.code == 2
        assert "Traceback" not in ran.err
