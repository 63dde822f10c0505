"""The portals of a fleet: the operator's table on PostgreSQL, and the commands that fill it."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bitrix_sandbox import Sandbox
from bitrix_sandbox.state.clock import Clock
from bitrix_sync.app import Service
from bitrix_sync.errors import StoreError, UserError
from bitrix_sync.fleet.apply import Wanted, difference, read_folders
from bitrix_sync.fleet.seal import Seals, password_fits
from bitrix_sync.model.rules_text import RulesText
from bitrix_sync.settings import Settings
from bitrix_sync.store import Store
from bitrix_sync.store.portals import KEPT_RULES, PortalRow, Portals
from tests import postgres
from tests.world.blank import blank_store
from tests.world.company import MONDAY
from tests.world.office import RULES, office
from tests.world.shell import Shell

on_server = pytest.mark.skipif(not postgres.server(), reason="needs a PostgreSQL server: make test-postgres")


@pytest.fixture
def address(tmp_path: Path) -> str:
    return blank_store(tmp_path / "store.db")


@pytest.fixture
def portals(address: str) -> Iterator[Portals]:
    with Portals(address) as found:
        yield found


def north(**values: object) -> PortalRow:
    given = {"name": "north", "address": "https://north.bitrix24.ru", "rules": "version: 1\n", **values}
    return PortalRow(**given)  # type: ignore[arg-type]


def south(**values: object) -> PortalRow:
    return north(**{"name": "south", "address": "https://south.bitrix24.ru", **values})


def rest(portals: Portals, number: int, *, after: float = 3600.0, trouble: str = "", level: float = 0.0) -> None:
    """A worker has a turn at a portal, after which that is due so many seconds later."""
    turn = portals.take(number, "w", "here", 1)
    portals.end_turn(turn, after=after, trouble=trouble, level=level, passed=None if trouble else portals.clock())


def test_a_file_of_sqlite_holds_no_portals(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="many portals need PostgreSQL"):
        Portals(f"sqlite:///{tmp_path / 'store.db'}")


@on_server
class TestPortals:
    def test_a_portal_is_found_by_its_name_and_number(self, portals: Portals) -> None:
        row = portals.add(north(webhook=b"sealed", token_marks=("a1",), settings={"BITRIX_RATE": "5/250"}), by="anna")
        portals.add(south(), by="anna")
        assert (row.name, row.version, row.rules_version, row.enabled) == ("north", 1, 1, True)
        assert portals.named("north") == portals.numbered(row.number) == row
        assert [one.name for one in portals.rows()] == ["north", "south"]
        assert portals.named("east") is None
        assert "sealed" not in repr(row)

    def test_the_first_number_is_left_to_a_service_that_serves_one_portal(self, portals: Portals) -> None:
        assert portals.add(north(), by="anna").number == 2

    def test_what_an_administrator_changes_is_seen_by_the_version(self, portals: Portals) -> None:
        one, two = portals.write([north(), south()], {}, by="anna")
        assert portals.changed_since(0) == [one, two]
        changed = portals.change(one.number, by="anna", enabled=False)
        assert portals.changed_since(two.version) == [changed]
        assert changed.due is None
        assert portals.changed_since(changed.version) == []

    def test_what_the_work_notes_is_no_change(self, portals: Portals) -> None:
        row = portals.add(north(), by="anna")
        rest(portals, row.number, trouble="the portal does not answer")
        portals.ring([row.number])
        assert portals.changed_since(row.version) == []
        assert portals.named("north").trouble == "the portal does not answer"  # type: ignore[union-attr]

    def test_one_address_or_name_is_not_taken_twice_and_nothing_is_half_done(self, portals: Portals) -> None:
        portals.add(north(), by="anna")
        with pytest.raises(StoreError, match="is the address of portal north already"):
            portals.write([south(), north(name="east")], {}, by="anna")
        assert [one.name for one in portals.rows()] == ["north"]
        with pytest.raises(StoreError, match="none is given twice"):
            portals.add(south(name="north"), by="anna")
        two = portals.add(south(), by="anna")
        with pytest.raises(StoreError, match="is the address of portal north already"):
            portals.change(two.number, by="anna", address="https://north.bitrix24.ru")

    def test_a_removed_portal_leaves_its_name_alone(self, portals: Portals) -> None:
        row = portals.add(north(webhook=b"sealed"), by="anna")
        portals.remove(row.number)
        assert portals.rows() == []
        gone = portals.changed_since(row.version)[0]
        assert (gone.name, gone.removed, gone.webhook, gone.rules, gone.address) == ("north", True, b"", "", "")
        assert portals.history(row.number) == []
        with pytest.raises(StoreError, match="none is given twice"):
            portals.add(north(), by="anna")
        portals.add(north(name="north-2"), by="anna")  # its address is free

    def test_who_waits_longest_is_due_first_and_is_claimed_once(self, portals: Portals) -> None:
        one, two = portals.write([north(), south()], {}, by="anna")
        assert portals.claim_due(10) == [one.number, two.number]
        assert portals.claim_due(10) == []
        rest(portals, two.number, after=0.0)
        rest(portals, one.number, after=0.0)
        assert portals.claim_due(1) == [two.number]
        portals.change(one.number, by="anna", enabled=False)
        assert portals.claim_due(10) == []

    def test_a_ring_makes_due_at_once_and_is_not_lost_in_a_turn(self, portals: Portals) -> None:
        one, two = portals.write([north(), south()], {}, by="anna")
        for row in (one, two):
            rest(portals, row.number)
        portals.ring([one.number])
        assert portals.claim_due(10) == [one.number]
        turn = portals.take(one.number, "w", "here", 1)
        portals.ring([one.number])  # while its turn goes on
        portals.end_turn(turn, after=3600.0, trouble="", level=0.0, passed=portals.clock())
        assert portals.claim_due(10) == [one.number]
        rest(portals, one.number)
        assert portals.claim_due(10) == []

    def test_the_epoch_grows_with_every_other_worker(self, portals: Portals) -> None:
        row = portals.add(north(), by="anna")
        epochs = [portals.take(row.number, worker, "here", 1).epoch for worker in ("a", "a", "b", "a")]
        assert epochs == [1, 1, 2, 3]

    def test_the_level_of_the_pacer_is_final_only_when_the_turn_had_an_end(self, portals: Portals) -> None:
        number = portals.add(north(), by="anna").number
        assert portals.take(number, "a", "here", 1).pace is None
        rest(portals, number, level=7.0)
        ended = portals.take(number, "b", "here", 1).pace
        assert ended is not None
        assert (ended.level, ended.final) == (7.0, True)
        killed = portals.take(number, "c", "here", 1).pace
        assert killed is not None
        assert not killed.final

    def test_a_worker_that_was_succeeded_notes_no_level(self, portals: Portals) -> None:
        number = portals.add(north(), by="anna").number
        former = portals.take(number, "a", "here", 1)
        portals.take(number, "b", "here", 1)
        portals.end_turn(former, after=0.0, trouble="", level=3.0, passed=None)
        assert portals.take(number, "c", "here", 1).pace is None

    def test_a_disabled_portal_has_no_turn(self, portals: Portals) -> None:
        row = portals.add(north(enabled=False), by="anna")
        assert not portals.take(row.number, "a", "here", 1).enabled

    def test_rules_keep_their_last_versions_and_go_back(self, portals: Portals) -> None:
        number = portals.add(north(rules="1"), by="anna").number
        for text in ("2", "2", "3"):
            portals.change(number, by="boris", rules=text)
        assert [(one.version, one.text, one.by) for one in portals.history(number)] == [
            (3, "3", "boris"),
            (2, "2", "boris"),
            (1, "1", "anna"),
        ]
        before = portals.numbered(number)
        portals.take_rules(number, 2)
        back = portals.numbered(number)
        assert before
        assert back
        assert (back.rules, back.rules_version) == ("2", 2)
        assert back.version > before.version
        assert portals.change(number, by="anna", rules="4").rules_version == 4
        for text in range(5, 40):
            portals.change(number, by="anna", rules=str(text))
        assert [one.version for one in portals.history(number)] == list(range(39, 39 - KEPT_RULES, -1))


# --- folders and the difference, without a server --------------------------------------------------------------------

KEY = base64.urlsafe_b64encode(b"k" * 32).decode()
SEALS = Seals([KEY])
URL = "https://north.bitrix24.ru/rest/7/hunter2secret/"
OTHER = "https://north.bitrix24.ru/rest/7/another2secret/"


def folder(place: Path, name: str, rules: str = "version: 1\n", env: str | None = None) -> Path:
    made = place / name
    made.mkdir(parents=True, exist_ok=True)
    (made / "rules.yaml").write_text(rules, encoding="utf-8")
    if env is not None:
        (made / ".env").write_text(env, encoding="utf-8")
    return made


def stored(**given: str) -> PortalRow:
    """A row as a first apply makes it."""
    made = difference(Wanted("north", "version: 1\n", {"BITRIX_WEBHOOK_URL": URL, **given}), None, Settings(), SEALS)
    return PortalRow(name="north", number=2, version=1, rules_version=1, **made.values)


def what(row: PortalRow, rules: str = "version: 1\n", **given: str) -> tuple[str, ...]:
    return difference(Wanted("north", rules, given), row, Settings(), SEALS).what


def test_each_folder_with_rules_is_a_portal_with_its_secrets(tmp_path: Path) -> None:
    folder(tmp_path / "portals", "north", env=f"BITRIX_WEBHOOK_URL={URL}\nPATH=/bin\n")
    folder(tmp_path / "portals", "south", env="BITRIX_RATE=1/10\n")
    (tmp_path / "portals" / "docs").mkdir()
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "south.env").write_text("BITRIX_RATE=5/250\n")
    assert read_folders(tmp_path / "portals", secrets) == [
        Wanted("north", "version: 1\n", {"BITRIX_WEBHOOK_URL": URL}),
        Wanted("south", "version: 1\n", {"BITRIX_RATE": "5/250"}),
    ]
    assert (secrets / "south.env").stat().st_mode & 0o077 == 0


def test_secrets_that_git_keeps_are_refused(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        subprocess.run(["git", "-C", tmp_path, *words], check=True, capture_output=True)

    folder(tmp_path, "north", env=f"BITRIX_WEBHOOK_URL={URL}\n")
    git("init")
    assert len(read_folders(tmp_path, None)) == 1
    git("add", "--force", "north/.env")
    with pytest.raises(UserError, match=r"north/\.env: git keeps it, with the secrets in it") as caught:
        read_folders(tmp_path, None)
    assert "hunter2" not in str(caught.value)
    git("rm", "--cached", "--quiet", "north/.env")
    assert len(read_folders(tmp_path, None)) == 1
    (tmp_path / "north.env").write_text(f"BITRIX_WEBHOOK_URL={URL}\n")
    git("add", "north.env")
    with pytest.raises(UserError, match=r"north\.env: git keeps it"):
        read_folders(tmp_path, tmp_path)


def test_everything_that_is_wrong_with_folders_is_told_at_once(tmp_path: Path) -> None:
    folder(tmp_path, "North")
    folder(tmp_path, "default")
    folder(tmp_path, "south", env="BITRIX_RATES=1\n")
    with pytest.raises(UserError) as caught:
        read_folders(tmp_path, None)
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == [
        "portal North",
        "portal default",
        str(tmp_path / "south/.env"),
    ]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="there is no folder with rules"):
        read_folders(tmp_path / "empty", None)
    with pytest.raises(UserError, match="is no directory"):
        read_folders(tmp_path / "nowhere", None)


def test_what_is_as_it_shall_be_is_left_alone() -> None:
    given = {"BITRIX_APPLICATION_TOKEN": "t1,t2", "BITRIX_PAGE_PASSWORD": "long one", "BITRIX_RATE": "5/250"}
    row = stored(**given)
    assert what(row, BITRIX_WEBHOOK_URL=URL, **given) == ()
    assert what(row) == ()
    assert (row.address, row.webhook_user, len(row.token_marks)) == ("https://north.bitrix24.ru", 7, 2)
    assert password_fits("long one", row.page_password)


def test_only_what_is_another_is_changed() -> None:
    row = stored(BITRIX_APPLICATION_TOKEN="t1", BITRIX_PAGE_PASSWORD="long one", BITRIX_RATE="5/250")
    assert what(row, "version: 2\n") == ("rules",)
    assert what(row, BITRIX_WEBHOOK_URL=OTHER) == ("webhook",)
    assert what(row, BITRIX_WEBHOOK_URL=OTHER.replace("north", "new")) == ("address", "webhook")
    assert what(row, BITRIX_APPLICATION_TOKEN="t1,t2") == ("tokens",)
    assert what(row, BITRIX_PAGE_PASSWORD="another one") == ("password",)
    assert what(row, BITRIX_POLL_SECONDS="60") == ("settings",)


def test_an_empty_value_takes_away_and_what_is_not_named_stays() -> None:
    row = stored(BITRIX_APPLICATION_TOKEN="t1", BITRIX_PAGE_PASSWORD="long one", BITRIX_RATE="5/250")
    empty = {"BITRIX_APPLICATION_TOKEN": "", "BITRIX_PAGE_PASSWORD": "", "BITRIX_RATE": ""}
    made = difference(Wanted("north", None, empty), row, Settings(), SEALS)
    values = {key: value for key, value in made.values.items() if key != "rules"}
    assert values == {"settings": {}, "tokens": b"", "token_marks": (), "page_password": ""}


def test_a_lost_key_is_healed_by_the_secrets_themselves() -> None:
    row, new = stored(), Seals([base64.urlsafe_b64encode(b"n" * 32).decode()])
    with pytest.raises(UserError, match="portal north: its webhook: sealed with a key"):
        difference(Wanted("north", None, {}), row, Settings(), new)
    made = difference(Wanted("north", None, {"BITRIX_WEBHOOK_URL": URL}), row, Settings(), new)
    assert made.what == ("webhook",)


def test_a_portal_without_a_webhook_or_with_wrong_settings_is_told_by_its_name() -> None:
    for given, said in (
        ({}, "portal north: has no webhook; write BITRIX_WEBHOOK_URL into north.env"),
        ({"BITRIX_WEBHOOK_URL": URL, "BITRIX_RATE": "x"}, "portal north: BITRIX_RATE: 'x' is no pace"),
        ({"BITRIX_WEBHOOK_URL": URL, "DATABASE_URL": "sqlite:///x"}, "portal north: DATABASE_URL: cannot be set"),
    ):
        with pytest.raises(UserError, match=f"^{said}"):
            difference(Wanted("north", None, given), None, Settings(), SEALS)


def test_a_service_takes_other_rules_as_soon_as_its_row_has_them(tmp_path: Path) -> None:
    with office(tmp_path) as place:
        rules = RulesText("north/rules.yaml", RULES, 1)
        place.service.close()
        given = Settings(BITRIX_WEBHOOK_URL=place.portal.url)
        place.service = Service(place.service.settings.of_portal(2, "north", given, rules))
        assert place.service.take_lease()
        book = place.service.open().rulebook
        assert not book.is_changed()
        rules.put(RULES.replace("first-call", "call"), 2)
        assert book.is_changed()
        assert book.reload_if_changed()
        assert "call" in book.rules.by_id
        rules.put("version: 1\nfunnels: {Nowhere: {}}\n", 3)
        assert not book.reload_if_changed()
        assert book.error.startswith("north/rules.yaml:2:")
        assert "call" in book.rules.by_id, "the last good ones go on"


def test_a_service_of_one_portal_has_nothing_of_this(tmp_path: Path) -> None:
    seen = (
        "import atexit, sys; from bitrix_sync.cli import main; import bitrix_sync.app, webhooks.page, scheduler;"
        "atexit.register(lambda: print([one for one in sys.modules"
        " if one.startswith(('bitrix_sync.fleet', 'psycopg', 'cryptography', 'procrastinate'))]));"
        "sys.argv = ['bitrix-sync', 'status', '--json']; main()"
    )
    address = {"BITRIX_WEBHOOK_URL": URL, "DATABASE_URL": f"sqlite:///{tmp_path / 'store.db'}"}
    ran = subprocess.run(
        [sys.executable, "-c", seen], env={**os.environ, **address}, cwd=tmp_path, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == "[]"


# --- the commands ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sandboxes() -> Iterator[tuple[Sandbox, Sandbox]]:
    with Sandbox(rate=None) as one, Sandbox(rate=None) as two:
        yield one, two


@pytest.fixture
def shell(tmp_path: Path, address: str) -> Shell:
    (tmp_path / "keys").write_text(KEY)
    return Shell(tmp_path, {"DATABASE_URL": address, "BITRIX_SECRET_KEY_FILE": str(tmp_path / "keys")})


@pytest.fixture
def two(shell: Shell, sandboxes: tuple[Sandbox, Sandbox]) -> Shell:
    """Two portals, north and south, in folders and in the table."""
    for name, portal in zip(("north", "south"), sandboxes, strict=True):
        folder(shell.folder / "portals", name, RULES, f"BITRIX_WEBHOOK_URL={portal.url}\nBITRIX_RATE=100/1000\n")
    assert shell("portal", "apply", "portals").code == 0
    return shell


@on_server
class TestCommands:
    def test_apply_says_the_difference_and_the_second_time_there_is_none(self, two: Shell) -> None:
        assert [
            (row["name"], row["enabled"], row["rules_version"]) for row in two("portal", "list", "--json").json
        ] == [
            ("north", True, 1),
            ("south", True, 1),
        ]
        assert two("portal", "apply", "portals").out.startswith("nothing to change")
        folder(two.folder / "portals", "north", RULES.replace("first-call", "call"))
        dry = two("portal", "apply", "portals", "--dry-run")
        assert "north: rules\n" in dry.out
        assert "-      - id: first-call" in dry.out
        assert "+      - id: call" in dry.out
        done = two("portal", "apply", "portals", "--json").json
        assert ([one["name"] for one in done["changed"]], done["unchanged"]) == (["north"], ["south"])
        assert two("portal", "apply", "portals").out.startswith("nothing to change")

    def test_one_error_and_nothing_is_applied(self, two: Shell) -> None:
        folder(two.folder / "portals", "north", RULES.replace("first-call", "call"))
        folder(two.folder / "portals", "south", RULES.replace("Презентация", "Нет такой"))
        folder(two.folder / "portals", "east", RULES, "BITRIX_WEBHOOK_URL=http://127.0.0.1:9/rest/1/hunter2/\n")
        ran = two("portal", "apply", "portals")
        assert ran.code == 1
        assert "south/rules.yaml:14" in ran.err
        assert "portal east: " in ran.err
        assert "hunter2" not in ran.err
        assert [row["rules_version"] for row in two("portal", "list", "--json").json] == [1, 1]

    def test_one_address_twice_is_refused(self, two: Shell, sandboxes: tuple[Sandbox, Sandbox]) -> None:
        folder(two.folder / "portals", "east", RULES, f"BITRIX_WEBHOOK_URL={sandboxes[0].url}\n")
        ran = two("portal", "apply", "portals")
        assert (ran.code, ran.out) == (1, "")
        assert "is the address of portal north already; a portal is served once" in ran.err

    def test_what_the_folder_lacks_is_disabled_only_when_asked(self, two: Shell) -> None:
        (two.folder / "portals/south/rules.yaml").unlink()
        assert "south: not in the folder; stays" in two("portal", "apply", "portals").out
        assert two("portal", "apply", "portals", "--prune", "--dry-run").code == 0
        assert [row["enabled"] for row in two("portal", "list", "--json").json] == [True, True]
        assert "south: not in the folder; disabled" in two("portal", "apply", "portals", "--prune").out
        assert [row["enabled"] for row in two("portal", "list", "--json").json] == [True, False]

    def test_another_portal_under_a_new_address_is_refused(self, two: Shell) -> None:
        two("sync", "--portal", "north")
        clock = Clock()
        clock.set(MONDAY)
        with Sandbox(clock=clock, rate=None) as other:
            (two.folder / "portals/north/.env").write_text(f"BITRIX_WEBHOOK_URL={other.url}\n")
            ran = two("portal", "apply", "portals")
        assert (ran.code, ran.out) == (1, "")
        assert "is another portal than 127.0.0.1" in ran.err
        assert two("sync", "--portal", "north").code == 0

    def test_rules_go_back_a_version(self, two: Shell) -> None:
        assert two("portal", "rules", "north", "--back").code == 1
        folder(two.folder / "portals", "north", RULES.replace("first-call", "call"))
        two("portal", "apply", "portals")
        assert [line["in_force"] for line in two("portal", "rules", "north", "--json").json] == [True, False]
        assert two("portal", "rules", "north", "--back").out == "north: rules of version 1 in force, in place of 2\n"
        assert two("portal", "rules", "north", "--text").out == RULES
        assert two("--portal", "north", "check", "--offline").code == 0

    def test_a_portal_is_added_without_rules_and_gets_them(
        self, shell: Shell, sandboxes: tuple[Sandbox, Sandbox]
    ) -> None:
        (shell.folder / "env").write_text(f"BITRIX_WEBHOOK_URL={sandboxes[0].url}\n")
        assert "disabled until it has rules" in shell("portal", "add", "north", "--secrets", "env").out
        assert shell("portal", "enable", "north").code == 1
        assert shell("portal", "add", "north", "--secrets", "env").code == 1
        assert shell("init", "--portal", "north").code == 0
        assert (shell.folder / "north/rules.yaml").exists()
        assert shell("portal", "apply", ".").code == 0
        assert shell("portal", "list", "--json").json[0]["enabled"]

    def test_a_removed_portal_is_gone_with_its_data_and_its_name(self, two: Shell, address: str) -> None:
        assert two("portal", "remove", "north").code == 1
        assert two("pause", "--portal", "north").code == 0
        two("portal", "disable", "north")
        assert two("portal", "remove", "north").code == 0
        assert two("portal", "show", "north").code == 2
        with Store(address, portal=2) as store:
            assert not store.flags.paused
        assert "none is given twice" in two("portal", "apply", "portals", "--dry-run").err

    def test_keys_are_changed_without_a_pause(self, two: Shell) -> None:
        new = base64.urlsafe_b64encode(b"n" * 32).decode()
        (two.folder / "keys").write_text(f"{new}\n{KEY}\n")
        assert "sealed with the first key: 2" in two("portal", "rekey").out
        (two.folder / "keys").write_text(new)
        assert two("check", "--portal", "north").code == 0
        (two.folder / "keys").write_text(KEY)
        ran = two("check", "--portal", "north")
        assert (ran.code, ran.err.count("\n")) == (1, 1)
        assert "portal north: its webhook: sealed with a key that" in ran.err

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["status"], "say which portal: --portal NAME, or BITRIX_PORTAL; there are north, south"),
            (["sync"], "say which portal: --portal NAME"),
            (["status", "--portal", "nort"], "no portal is called nort; there are north"),
            (["--portal", "zzz", "status"], "no portal is called zzz; there are north, south"),
            (["portal", "show", "sout"], "no portal is called sout; there are south"),
        ],
    )
    def test_a_portal_that_is_not_clear_is_wrong_usage(self, two: Shell, words: list[str], said: str) -> None:
        ran = two(*words)
        assert ran.code == 2
        assert said in ran.err
        assert ran.err.count("\n") == 1

    def test_a_command_is_of_its_portal_wherever_the_option_stands(self, two: Shell) -> None:
        assert two("pause", "--portal", "north").code == 0
        assert two("--portal=north", "status", "--json").json["paused"]
        assert not two("status", "--json", BITRIX_PORTAL="south").json["paused"]
        assert two("sync", "--portal", "south").code == 0
        assert two("status", "--json", BITRIX_PORTAL="south").json["cursor"]
        assert not two("status", "--portal", "north", "--json").json["cursor"]

    def test_a_backup_goes_into_a_file_of_one_portal_and_back(self, two: Shell, address: str) -> None:
        two("sync", "--portal", "north")
        ran = two("backup", "--portal", "north", "north.db")
        assert "webhook, tokens and page password are not in it" in ran.out
        alone = Shell(two.folder, {"DATABASE_URL": f"sqlite:///{two.folder / 'north.db'}", "BITRIX_WEBHOOK_URL": URL})
        assert alone("status", "--json").json["cursor"]
        refused = two("restore", "--portal", "south", "north.db")
        assert (refused.code, refused.err) == (
            1,
            "portal south: is enabled; first `bitrix-sync portal disable south`\n",
        )
        two("portal", "disable", "south")
        assert two("restore", "--portal", "south", "north.db").code == 0
        assert two("status", "--portal", "south", "--json").json["cursor"]


@on_server
def test_a_dump_a_log_and_what_is_printed_tell_no_secret(
    shell: Shell, address: str, sandboxes: tuple[Sandbox, Sandbox]
) -> None:
    """Webhook, token, password and key are nowhere but in the files of the administrator."""
    token, password, portal = "tokensecret42", "passwordsecret42", sandboxes[0]
    code = portal.url.split("/")[-2]
    secret_file = (
        f"BITRIX_WEBHOOK_URL={portal.url}\nBITRIX_APPLICATION_TOKEN={token}\nBITRIX_PAGE_PASSWORD={password}\n"
    )
    folder(shell.folder, "north", RULES, secret_file)
    said = [
        shell("portal", "apply", "."),
        shell("portal", "list", "--json"),
        shell("portal", "show", "north", "--json"),
        shell("check", "--portal", "north", BITRIX_LOG="json"),
        shell("sync", "--portal", "north"),
        shell("status", "--portal", "north", "--json"),
        shell("backup", "--portal", "north", "north.db"),
    ]
    assert [ran.code for ran in said] == [0] * len(said)
    said.append(shell("portal", "apply", ".", BITRIX_SECRET_KEY_FILE="nowhere"))
    folder(shell.folder, "north", RULES, secret_file.replace("/rest/", "/nowhere/"))
    said.append(shell("portal", "apply", "."))
    (shell.folder / "keys").write_text(base64.urlsafe_b64encode(b"n" * 32).decode())
    said.append(shell("sync", "--portal", "north"))
    assert [ran.code for ran in said[-3:]] == [1] * 3
    place = postgres.programs()
    assert place is not None
    name = address.partition("@/")[2].partition("?")[0]
    dumped = subprocess.run(
        [place / "pg_dump", "-h", postgres.server(), "-U", "postgres", name], check=True, capture_output=True
    )
    everywhere = b"".join([dumped.stdout, (shell.folder / "north.db").read_bytes(), repr(said).encode()])
    assert b"127.0.0.1" in everywhere
    assert [one for one in (code, token, password, KEY) if one.encode() in everywhere] == []


def test_a_file_holds_one_portal(tmp_path: Path) -> None:
    shell = Shell(tmp_path, {"DATABASE_URL": f"sqlite:///{tmp_path / 'store.db'}"})
    for words, code, said in (
        (["status", "--portal", "north"], 2, "DATABASE_URL names a file, which holds one portal"),
        (["portal", "list"], 1, "many portals need PostgreSQL"),
        (["run", "--portal", "north"], 2, "--portal does not go with run"),
    ):
        ran = shell(*words)
        assert ran.code == code
        assert said in ran.err
