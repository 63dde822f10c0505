"""What every test stands on: an environment without our settings, a calm clock for hypothesis, a store, a portal."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import Connection, Engine, event

from tests import postgres

if TYPE_CHECKING:
    from bitrix_sync.model.items import ItemKind
    from bitrix_sync.store import Store

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # what the tests start is compiled once, not at each start

# the same examples at each run, so that a change is what makes a test fail; --hypothesis-profile=search tries others
settings.register_profile("search", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", settings.get_profile("search"), derandomize=True)
settings.load_profile("same")


def _forget_settings() -> None:
    for name in [name for name in os.environ if name.startswith("BITRIX_") or name == "DATABASE_URL"]:
        del os.environ[name]


_forget_settings()


@pytest.fixture(autouse=True)
def _no_settings_from_outside() -> Iterator[None]:
    """A developer's own portal is never touched, nor does one test's setting reach the next."""
    yield
    _forget_settings()


_statements: dict[str, tuple[Any, Any]] = {}


@event.listens_for(Engine, "engine_connect")
def _compile_each_statement_once(connection: Connection) -> None:
    """The many stores of many tests compile their SQL once, not once each."""
    engine: Any = connection.engine
    if engine.dialect.name != "sqlite":
        return
    engine.dialect, engine._compiled_cache = _statements.setdefault(
        engine.dialect.name, (engine.dialect, engine._compiled_cache)
    )
    connection.dialect = engine.dialect


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory: no ``.env``, no ``rules.yaml``, no database."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """The real store, new."""
    from bitrix_sync.store import Store
    from tests.world.blank import blank_store

    store = Store(blank_store(tmp_path / "store.db"))
    yield store
    store.close()


@pytest.fixture(autouse=postgres.server() != "")
def _no_databases_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """A server keeps what a test's folder would have kept."""
    folder = request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else None
    yield
    if folder is not None:
        postgres.drop_below(folder)


@pytest.fixture
def lead(monkeypatch: pytest.MonkeyPatch) -> ItemKind:
    """A second kind of items."""
    from bitrix_sync.model.items import KINDS
    from tests.world.kinds import LEAD

    monkeypatch.setitem(KINDS, LEAD.name, LEAD)  # type: ignore[arg-type]
    return LEAD


@pytest.fixture
def sandbox() -> Iterator[Any]:
    """A sandbox portal that answers over HTTP on this machine, the same one at every run."""
    import bitrix_sandbox

    with bitrix_sandbox.Sandbox(event_seed=1) as portal:
        yield portal
