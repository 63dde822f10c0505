"""The file: how it is made, migrated, refused, copied and restored."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from bitrix_sync.errors import StoreError
from bitrix_sync.model.operations import State
from bitrix_sync.store import Store, database, schema
from bitrix_sync.store.dialects import network_disk
from tests.world.process import full_disk

MIGRATIONS = Path(database.__file__).parent / "migrations"


def scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return ScriptDirectory.from_config(config)


RELEASES = sorted((Path(__file__).parent / "data").glob("release-*.sql"))
VERSIONS = [script.revision for script in scripts().walk_revisions()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def open_store(path: Path, **options: float) -> Store:
    return Store(f"sqlite:///{path}", **options)  # type: ignore[arg-type]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def refusal(path: Path | str) -> str:
    url = path if isinstance(path, str) else f"sqlite:///{path}"
    with pytest.raises(StoreError) as caught:
        Store(url, busy_seconds=0.1)
    message = str(caught.value)
    assert "\n" not in message
    return message


@contextlib.contextmanager
def plain(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path, timeout=0.1, isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


@contextlib.contextmanager
def sqlalchemy(path: Path) -> Iterator[Connection]:
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def contents(connection: sqlite3.Connection) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table."""
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    found = {}
    for table in tables:
        rows = connection.execute(f"SELECT * FROM {table} ORDER BY rowid")
        names = [column[0] for column in rows.description]
        found[table] = [dict(zip(names, row, strict=True)) for row in rows]
    return found


# --- the file --------------------------------------------------------------------------------------------------------


def test_only_the_owner_may_read_the_files(path: Path) -> None:
    before = os.umask(0)
    try:
        with open_store(path) as store:
            store.flags.trouble = "b"
            assert {name.name: mode(name) for name in path.parent.iterdir()} == {
                "store.db": 0o600,
                "store.db-wal": 0o600,
                "store.db-shm": 0o600,
            }
    finally:
        os.umask(before)


def test_a_file_that_others_could_read_is_closed_to_them(path: Path) -> None:
    open_store(path).close()
    path.chmod(0o644)
    open_store(path).close()
    assert mode(path) == 0o600


def test_what_is_committed_survives_a_power_cut(path: Path) -> None:
    with open_store(path) as store, store.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_an_empty_file_becomes_a_database(path: Path) -> None:
    path.touch(0o600)
    with open_store(path) as store:
        assert store.cursor() is None


def test_a_path_may_hold_spaces_and_signs(tmp_path: Path) -> None:
    odd = tmp_path / "мои данные 50%#.db"
    with open_store(odd) as store:
        store.flags.trouble = "b"
    assert odd.exists()


# --- versions --------------------------------------------------------------------------------------------------------


def test_the_code_speaks_the_newest_version() -> None:
    assert scripts().get_heads() == [schema.HEAD]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_database_of_every_version_is_brought_forward(path: Path, version: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with sqlalchemy(path) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, version)
        connection.exec_driver_sql("INSERT INTO settings (name, value) VALUES ('trouble', 'yes')")
    with open_store(path) as store:
        assert store.flags.trouble == "yes"
        assert store.take_lease("a", 1, "b", schema._EPOCH) == 1
    with sqlalchemy(path) as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []


@pytest.mark.parametrize("release", RELEASES, ids=lambda file: file.stem)
def test_a_database_of_every_release_is_brought_forward_with_all_that_was_in_it(path: Path, release: Path) -> None:
    """The files are what ``.dump`` says of a database after two days of work with that release; they never change."""
    with plain(path) as connection:
        connection.executescript(release.read_text("utf-8"))
        before = contents(connection)
    with open_store(path) as store:
        assert len(store.deals()) == len(before["deals"])
        assert len(store.operations()) == len(before["operations"])
        assert len(store.task_records()) == len(before["tasks"])
        assert {sweep.slot for sweep in store.sweeps()} == {row["slot"] for row in before["sweeps"]}
        assert all(store.traces(row["deal_id"]) for row in before["traces"])
        assert store.counts()[State.HELD] == 2
    with plain(path) as connection:
        after = contents(connection)
    for table, rows in before.items():
        if table != "alembic_version":
            assert [{name: row[name] for name in rows[0]} for row in after[table]] == rows, table
    with sqlalchemy(path) as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []


def test_fields_that_a_release_knew_are_remembered_as_first_seen(path: Path) -> None:
    with plain(path) as connection:
        connection.executescript(RELEASES[0].read_text("utf-8"))
    with open_store(path) as store:
        deal = store.deals([1])[1]
        with store.reading() as connection:
            rows = connection.execute(schema.changes.select().where(schema.changes.c.item == 1)).all()
        assert {row.field: row.value for row in rows} == {**deal.fields, "ASSIGNED_BY_ID": deal.responsible_id}
        assert {row.at for row in rows} == {deal.changed}


def test_what_a_release_kept_of_the_webhooks_address_is_taken_out(path: Path) -> None:
    """Version 0.1 kept the portal's words as they came."""
    address = "https://portal.example/rest/1/s3cr3tc0de/tasks.task.add"
    slashes = address.replace("/", "\\/")
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with sqlalchemy(path) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
        operation = {
            "key": "",
            "kind": "task.create",
            "payload": "{}",
            "deal_id": 1,
            "task": "",
            "urgency": 1,
            "attempts": 1,
        }
        operation |= {"look_first": 0, "sweep": "", "state": "failed", "error_code": "ERROR", "created": 0}
        for number, text in enumerate((address, slashes, "no address, a rest of 5/7", "")):
            row = {**operation, "key": str(number), "error_text": text}
            names = ", ".join(row)
            marks = ", ".join("?" * len(row))
            connection.exec_driver_sql(f"INSERT INTO operations ({names}) VALUES ({marks})", tuple(row.values()))
        connection.exec_driver_sql(
            "INSERT INTO traces (deal_id, visit_id, rule_id, verdict, at, data, checks, digest) "
            "VALUES (1, 1, 'r', 'advance_refused', 0, ?, '[]', 'd')",
            (schema.to_json({"code": "E", "text": f'"{address}"', "number": 5}),),
        )
    with open_store(path) as store:
        assert [row.error_text for row in store.operations()] == [
            "https://portal.example/rest/1/***/tasks.task.add",
            "https:\\/\\/portal.example\\/rest\\/1\\/***\\/tasks.task.add",
            "no address, a rest of 5/7",
            "",
        ]
        (trace,) = store.traces(1)
        text = '"https://portal.example/rest/1/***/tasks.task.add"'
        assert trace.data == {"code": "E", "text": text, "number": 5}


@pytest.mark.parametrize("seen", [True, False], ids=["a stay was seen to begin", "none was"])
def test_rules_that_were_said_to_have_been_there_for_ever_get_a_beginning(path: Path, seen: bool) -> None:
    with plain(path) as connection:
        connection.executescript(RELEASES[0].read_text("utf-8"))
        connection.execute("UPDATE rules_seen SET loaded = 946684800000000 WHERE rule_id = 'call'")
        connection.execute("UPDATE visits SET handled = NOT ? OR id < 60", (seen,))
        (later,) = connection.execute("SELECT loaded FROM rules_seen WHERE rule_id <> 'call' LIMIT 1").fetchone()
        wanted = "SELECT min(entered) FROM visits WHERE NOT handled" if seen else "SELECT recorded FROM portal"
        (began,) = connection.execute(wanted).fetchone()
    with open_store(path) as store:
        loaded = {rule: schema.Moment().process_bind_param(at, None) for rule, at in store.rules_loaded().items()}
        assert loaded == {"call": began, "show": later, "ship": later}


def test_of_every_release_there_is_a_database() -> None:
    changes = (Path(__file__).parent.parent / "CHANGELOG.md").read_text("utf-8")
    released = re.findall(r"^## (\d+\.\d+\.\d+)", changes, re.MULTILINE)
    assert sorted(f"release-{version}" for version in released) == [file.stem for file in RELEASES]


def test_an_open_database_of_this_version_is_not_migrated_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_store(path).close()
    monkeypatch.delattr(command, "upgrade")
    open_store(path).close()


def test_a_database_of_a_newer_version_is_refused(path: Path) -> None:
    open_store(path).close()
    with plain(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    assert "made by a newer bitrix-sync (schema 9999" in refusal(path)


def test_every_table_can_be_said_in_postgresql() -> None:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    for table in schema.metadata.sorted_tables:
        assert "CREATE TABLE" in str(CreateTable(table).compile(dialect=dialect))
        for index in table.indexes:
            assert "INDEX" in str(CreateIndex(index).compile(dialect=dialect))


# --- refusals --------------------------------------------------------------------------------------------------------


def test_a_file_that_is_no_database_is_left_alone(path: Path) -> None:
    path.write_text("version: 1\nlanguage: ru\n" * 100)
    assert "is no database; point DATABASE_URL elsewhere" in refusal(path)
    assert path.read_text().startswith("version: 1")


def test_the_database_of_another_program_is_left_alone(path: Path) -> None:
    with plain(path) as connection:
        connection.execute("CREATE TABLE places (id INTEGER)")
    before = path.read_bytes()
    assert "belongs to another program" in refusal(path)
    assert path.read_bytes() == before


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    assert f"there is no directory {tmp_path / 'no'}; create it" in refusal(tmp_path / "no" / "store.db")


def test_a_directory_is_no_database(tmp_path: Path) -> None:
    assert "is a directory; DATABASE_URL must name a file" in refusal(tmp_path)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_database_without_a_file_is_refused(url: str) -> None:
    assert refusal(url) == "DATABASE_URL names no file; write sqlite:///bitrix-sync.db"


def test_another_kind_of_database_is_refused_without_its_password() -> None:
    message = refusal("mysql://me:secret@host/db")
    assert message == "DATABASE_URL: mysql is not supported; write sqlite:///bitrix-sync.db or postgresql://..."
    assert "write sqlite:///bitrix-sync.db" in refusal("store.db secret")


def test_a_locked_database_says_so_and_works_again_afterwards(path: Path) -> None:
    with open_store(path, busy_seconds=0.1) as store:
        with plain(path) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match="another program holds it locked"):
                store.flags.trouble = "b"
            assert store.flags.trouble == ""  # readers do not wait
        store.flags.trouble = "b"
        assert store.flags.trouble == "b"


def test_a_disk_without_any_room_is_called_full_also_at_the_opening(path: Path) -> None:
    with open_store(path) as store:
        store.flags.trouble = "yes"
    with full_disk():
        assert "the disk is full; free some space" in refusal(path)
    with open_store(path) as store:
        assert store.flags.trouble == "yes"


def test_a_full_disk_loses_nothing_that_was_recorded(path: Path) -> None:
    with open_store(path) as store:
        store.flags.trouble = "yes"
        with store.reading() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
            connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        with pytest.raises(StoreError, match="the disk is full; free some space"):
            store.flags.rules_error = "x" * 100_000
        assert store.flags.trouble == "yes"
        assert store.flags.rules_error == ""


def test_a_file_that_is_taken_away_while_in_use_is_neither_written_nor_made_anew(path: Path, tmp_path: Path) -> None:
    """Else all would be written where nobody sees it, and a second service would begin with an empty one."""
    aside, copy = tmp_path / "aside.db", tmp_path / "copy.db"
    deeds: list[Callable[[Store], object]] = [
        lambda store: store.bind({"kept": "no"}),
        lambda store: store.flags.trouble,
        lambda store: store.backup(tmp_path / "another.db"),
    ]
    with open_store(path) as store:
        store.flags.trouble = "yes"
        store.backup(copy)
        path.rename(aside)
        for deed in deeds:
            with pytest.raises(StoreError, match="removed or replaced while it was in use; stop the service, put"):
                deed(store)
        assert not path.exists()
        copy.rename(path)
        for deed in deeds:
            with pytest.raises(StoreError, match="removed or replaced while it was in use"):
                deed(store)
        assert not (tmp_path / "another.db").exists()
        aside.rename(path)
        assert store.flags.trouble == "yes"
        store.flags.trouble = "still"
    with open_store(path) as store:
        assert store.flags.trouble == "still"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_file_that_may_not_be_written_says_so(path: Path) -> None:
    open_store(path).close()
    path.chmod(0o400)
    path.parent.chmod(0o500)
    try:
        assert "writable" in refusal(path)
    finally:
        path.parent.chmod(0o700)


# --- backups ---------------------------------------------------------------------------------------------------------


def test_a_backup_is_one_file_that_opens_as_it_was(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "copies" / "monday.db"
    target.parent.mkdir()
    with open_store(path) as store:
        store.flags.trouble = "before"
        store.backup(target)
        store.flags.trouble = "after"
    assert mode(target) == 0o600
    assert [name.name for name in target.parent.iterdir()] == ["monday.db"]
    with open_store(target) as copy:
        assert copy.flags.trouble == "before"


def test_a_backup_never_overwrites(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy.db"
    target.write_text("precious")
    with open_store(path) as store:
        with pytest.raises(StoreError, match="there is a file already"):
            store.backup(target)
        with pytest.raises(StoreError, match="does not exist; create it first"):
            store.backup(tmp_path / "no" / "copy.db")
    assert target.read_text() == "precious"


def test_a_backup_for_which_there_is_no_room_leaves_nothing_and_names_its_place(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "copies" / "copy.db"
    target.parent.mkdir()
    with open_store(path) as store:
        with full_disk(), pytest.raises(StoreError, match=f"backup to {target}: cannot be written; is the disk full"):
            store.backup(target)
        assert list(target.parent.iterdir()) == []
        store.backup(target)
    assert target.exists()


def test_where_no_file_may_be_made_there_is_a_refusal_instead(path: Path) -> None:
    with pytest.raises(
        StoreError, match=r"store\.db: is not there; start `bitrix-sync run` first, or set DATABASE_URL"
    ):
        Store(f"sqlite:///{path}", create=False)
    assert not path.exists()
    open_store(path).close()
    Store(f"sqlite:///{path}", create=False).close()


def test_a_backup_in_the_place_of_a_killed_database_is_free_of_what_that_left(path: Path, tmp_path: Path) -> None:
    backup, killed = tmp_path / "backup.db", tmp_path / "killed"
    with open_store(path) as store:
        store.flags.trouble = "before"
        store.backup(backup)
        for number in range(50):
            store.bind({f"a{number}": "after"})
        store.flags.trouble = "after"
        killed.mkdir()
        for name in path.parent.glob("store.db*"):
            shutil.copy(name, killed)  # as a kill leaves them
    with open_store(killed / "store.db") as store:
        assert store.flags.trouble == "after"  # a killed database comes back whole
        for name in path.parent.glob("killed/store.db*"):
            shutil.copy(name, tmp_path / name.name.replace("store", "restored"))
    shutil.copy(backup, tmp_path / "restored.db")
    assert (tmp_path / "restored.db-wal").stat().st_size > 0
    with open_store(tmp_path / "restored.db") as store:
        assert store.flags.trouble == "before"
        assert store.bindings() == {}
        with store.reading() as connection:
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"


def test_a_network_disk_is_known_by_its_mount() -> None:
    rows = ("/dev/sda1 / ext4 rw", "srv:/home /home nfs4 rw", "/dev/sdb /home/local xfs rw", "//nas/x /mnt/x cifs rw")
    mounts = "".join(f"{row} 0 0\n" for row in rows)
    paths = ("/home/anna/bitrix-sync.db", "/mnt/x/a.db", "/home/local/a.db", "/home", "/var/lib/a.db", "/homes/a.db")
    assert [network_disk(Path(one), mounts) for one in paths] == ["nfs4", "cifs", "", "nfs4", "", ""]
    assert network_disk(Path("/a"), "") == ""
