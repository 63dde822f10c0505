"""What PostgreSQL alone has: portals that do not see each other, refusals of a server, rows moved to a file and back.
The suites of the store run on it too: ``make test-postgres``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import inspect, text
from sqlalchemy.exc import DBAPIError

from bitrix_sync.errors import StoreError
from bitrix_sync.store import Store
from bitrix_sync.store.schema import metadata, operators
from bitrix_sync.store.scratch_copy import restore, scratch_copy
from tests import postgres
from tests.world.blank import blank_store
from tests.world.records import Recorder

pytestmark = pytest.mark.skipif(not postgres.server(), reason="needs a PostgreSQL server: make test-postgres")
NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


@pytest.fixture
def address(tmp_path: Path) -> str:
    return blank_store(tmp_path / "store.db")


@pytest.fixture
def second(address: str) -> Iterator[object]:
    """Portal 2 of the same database."""
    from bitrix_sync.store.postgres import Postgres

    database = Postgres(address, busy_seconds=1, portal=2)
    yield database
    database.close()


def refusal(address: str) -> str:
    with pytest.raises(StoreError) as caught:
        Store(address, busy_seconds=1)
    return str(caught.value)


def test_no_portal_sees_or_changes_rows_of_another(address: str, second: object) -> None:
    with Store(address) as first:
        first.flags.paused = True
        with second.writer.connect() as other, other.begin():  # type: ignore[attr-defined]
            for table in metadata.sorted_tables:
                assert other.execute(table.select()).all() == [], table.name
                other.execute(table.delete())
            other.execute(text("INSERT INTO portal (id, epoch) VALUES (1, 7)"))
        assert first.flags.paused
        assert first.take_lease("us", 1, "here", NOW) == 1
        with pytest.raises(DBAPIError, match="row-level security"), second.writer.begin() as other:  # type: ignore[attr-defined]
            other.execute(text("INSERT INTO told (portal, key, at) VALUES (1, 'x', 0)"))


def test_a_store_is_of_the_portal_with_its_number(address: str, tmp_path: Path) -> None:
    with Store(address, portal=7) as seventh, Store(address, portal=8) as eighth:
        seventh.flags.trouble = "the seventh's"
        assert eighth.flags.trouble == ""
        assert seventh.take_lease("us", 1, "here", NOW) == eighth.take_lease("they", 1, "here", NOW) == 1
    with scratch_copy(address, 7) as copy:
        assert copy.flags.trouble == "the seventh's"


def test_portals_of_one_process_share_its_connections(address: str) -> None:
    stores = [Store(address, portal=number) for number in range(20, 60)]
    for store in stores:
        assert store.flags.trouble == ""
    count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name <> ''"
    with stores[0].reading() as connection:
        assert connection.execute(text(count)).scalar_one() <= 2
    for store in stores[:-1]:
        store.close()
        store.close()  # twice is once
    assert stores[-1].flags.trouble == ""
    stores[-1].close()


def test_without_a_portal_nothing_is_seen_or_written(address: str) -> None:
    Store(address).close()
    with postgres.connect(address.partition("@/")[2].partition("?")[0], postgres.ROLE) as plain:
        assert plain.execute("SELECT count(*) FROM portal").fetchone() == (0,)
        with pytest.raises(Exception, match="row-level security"):
            plain.execute("INSERT INTO told (key, at) VALUES ('x', 0)")


def test_every_table_key_and_index_begins_with_the_portal(address: str) -> None:
    """Also those that a later migration adds: without it a look at one portal would go through all."""
    with Store(address) as store, store.reading() as connection:
        seen = inspect(connection)
        for name in set(seen.get_table_names()) - {"alembic_version", *operators.tables}:
            keys = [seen.get_pk_constraint(name)["constrained_columns"]]
            keys += [index["column_names"] for index in seen.get_indexes(name)]
            assert all(key[0] == "portal" for key in keys), name
            assert connection.execute(
                text("SELECT relrowsecurity AND relforcerowsecurity FROM pg_class WHERE oid = cast(:name AS regclass)"),
                {"name": name},
            ).scalar_one(), name
            kinds = {column["name"]: column["type"] for column in seen.get_columns(name)}
            assert all(getattr(kind, "collation", "C") == "C" for kind in kinds.values()), name
            assert "INTEGER" not in map(str, kinds.values()), name


def test_a_russian_collation_changes_no_order() -> None:
    with postgres.connect() as server:
        server.execute("DROP DATABASE IF EXISTS icu WITH (FORCE)")
    address = postgres.new_database(
        "icu", "LOCALE_PROVIDER icu ICU_LOCALE 'ru-RU' LOCALE 'C' ENCODING 'UTF8' TEMPLATE template0"
    )
    with Store(address) as store:
        with store.writing("keys") as connection:
            connection.execute(text("INSERT INTO told (key, at) VALUES ('1_x', 0), ('1:nego', 0), ('Б', 0), ('а', 0)"))
        with store.reading() as connection:
            keys = connection.execute(text("SELECT key FROM told ORDER BY key")).scalars().all()
    assert keys == sorted(keys)


def test_what_a_server_refuses_is_one_line_with_the_cure(address: str, tmp_path: Path) -> None:
    name = address.partition("@/")[2].partition("?")[0]
    assert "no such database or role" in refusal(address.replace(name, "nowhere"))
    assert "no such database or role" in refusal(address.replace(f"{postgres.ROLE}@", "nobody:hunter2@"))
    assert "is not bound by row level security" in refusal(address.replace(f"{postgres.ROLE}@", "postgres@"))
    assert "does not answer" in (unreached := refusal(f"postgresql://me:hunter2@127.0.0.1:9/{name}"))
    assert "hunter2" not in unreached
    with postgres.connect() as server:
        server.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    assert "synchronous_commit is off" in refusal(address)
    with postgres.connect() as server:
        server.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
        server.execute(f"ALTER DATABASE latin OWNER TO {postgres.ROLE}")
    try:
        assert "is not in UTF-8" in refusal(address.replace(name, "latin"))
    finally:
        with postgres.connect() as server:
            server.execute("DROP DATABASE latin WITH (FORCE)")


def test_a_writer_that_stands_still_does_not_keep_another_portal(address: str, second: object) -> None:
    with Store(address, busy_seconds=0.2) as first, first.writing("held"):
        with second.writer.connect() as other, other.begin():  # type: ignore[attr-defined]
            other.execute(text("INSERT INTO told (key, at) VALUES ('x', 0)"))
        with Store(address, busy_seconds=0.2) as same, pytest.raises(StoreError, match="holds it locked"):
            same.flags.paused = True


def test_a_backup_goes_to_a_file_and_back(address: str, tmp_path: Path) -> None:
    """With the numbers of its rows; new rows get others, and an epoch once given is not given again."""
    file = f"sqlite:///{tmp_path / 'copy.db'}"
    with Store(address) as store:
        number = store.ask("sync", {"имя": "Сделка"}, now=NOW)
        store.backup(tmp_path / "copy.db")
        store.ask("sync", {}, now=NOW)
        epoch = store.take_lease("us", 1, "here", NOW)
        assert epoch is not None
        restore(store, tmp_path / "copy.db", epoch)
        assert store.lease() is None
        assert store.ask("sync", {}, now=NOW) > number
        known = store.request(number)
        assert known is not None
        assert known.args == {"имя": "Сделка"}
        assert store.take_lease("us", 1, "here", NOW) == epoch + 1
    with Store(file) as moved:
        again = moved.take_lease("us", 1, "here", NOW)
        assert again is not None
        restore(moved, tmp_path / "copy.db", again)
        assert moved.request(number) == known


def test_a_backup_is_a_database_of_sqlite(address: str, tmp_path: Path) -> None:
    with Store(address) as store:
        store.flags.paused = True
        epoch = store.take_lease("us", 1, "here", NOW)
        store.backup(tmp_path / "copy.db")
        with pytest.raises(StoreError, match="there is a file already"):
            store.backup(tmp_path / "copy.db")
    with Store(f"sqlite:///{tmp_path / 'copy.db'}") as copy:
        assert copy.flags.paused
        lease = copy.lease()
        assert lease is not None
        assert lease.epoch == epoch


def wait_for_another(store: Store, version: int) -> int:
    """The server tells when it comes to it."""
    until = time.monotonic() + 10
    while (seen := store.version()) == version:
        assert time.monotonic() < until, "nothing was heard"
        time.sleep(0.001)
    return seen


def test_a_command_is_heard_without_a_look_at_the_store(address: str, tmp_path: Path) -> None:
    """And when the connection that listened is lost, everybody looks for himself until there is another."""
    name = address.partition("@/")[2].partition("?")[0]
    with Store(address, portal=3) as asked, Store(address, portal=4) as other:
        asked.version(), other.version()
        before = asked.version(), other.version()
        assert (asked.version(), other.version()) == before
        asked.flags.trouble = "no command"
        assert asked.version() == before[0]
        asked.ask("sync", {}, now=NOW)
        wait_for_another(asked, before[0])
        assert other.version() == before[1]
        with postgres.connect() as server:
            server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        lost = wait_for_another(other, before[1])
        assert len({lost, other.version(), other.version()}) == 3
        with suppress(StoreError):  # a connection used just now is not asked first whether it still stands
            other.is_asked()
        assert other.is_asked() is False


# --- two portals side by side ----------------------------------------------------------------------------------------

SLOTS = ("2026-03-02/morning", "2026-03-02/evening")
DEEDS = {
    "pause": lambda store, number: setattr(store.flags, "paused", bool(number % 2)),
    "trouble": lambda store, number: setattr(store.flags, "trouble", f"trouble {number}"),
    "bind": lambda store, number: store.bind({f"name {number}": f"C{number}"}),
    "claim": lambda store, number: store.claim_sweep(SLOTS[number % 2], NOW),
    "deal": lambda store, number: Recorder(store).deal(f"Deal {number}", ("NEW", NOW)),
    "told": lambda store, number: Recorder(store).record(told=(f"key {number}",)),
    "ask": lambda store, number: store.ask("sync", {"number": number}, now=NOW),
    "forget": lambda store, number: number == 4 and store.forget(),
}
"""What may be done to a store."""


def held(store: Store) -> list[object]:
    """All that it knows, but for numbers that rows were given."""
    with store.reading() as connection:
        return [
            (table.name, sorted(repr({name: value for name, value in row._mapping.items() if name not in NUMBERS})))
            for table in metadata.sorted_tables
            for row in connection.execute(table.select())
        ]


NUMBERS = frozenset({"id", "task_row", "process", "place", "epoch", "recorded"})


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.sampled_from([1, 2]), st.sampled_from(sorted(DEEDS)), st.integers(0, 5)), max_size=14))
def test_two_portals_side_by_side_are_each_as_if_alone(deeds: list[tuple[int, str, int]]) -> None:
    together = postgres.new_database(f"side_{uuid4().hex[:12]}")
    with TemporaryDirectory() as folder, ExitStack() as opened:
        pairs = {
            number: (
                opened.enter_context(Store(together, portal=number)),
                opened.enter_context(Store(f"sqlite:///{folder}/{number}.db")),
            )
            for number in (1, 2)
        }
        for number, name, value in deeds:
            for store in pairs[number]:
                DEEDS[name](store, value)
        for one, alone in pairs.values():
            assert sorted(map(str, held(one))) == sorted(map(str, held(alone)))
