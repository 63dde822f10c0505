"""A restart is no worse than running on: broken files, vanished names, a portal that answers nonsense or refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bitrix_sandbox.state.seed import CODE, SCOPES
from bitrix_sync import app
from bitrix_sync.app import Service, check_file
from bitrix_sync.errors import PortalRefused, UserError
from bitrix_sync.settings import load_settings
from bitrix_sync.setup.check import examine
from tests.world.office import RULES, Office, office
from tests.world.process import Running, until
from tests.world.town import Town, portal_on_a_monday

BROKEN: dict[str, bytes | None] = {
    "no YAML": b"version: 1\n  funnels: [",
    "empty": b"",
    "not UTF-8": "language: ru # ру".encode("cp1251"),
    "gone": None,
    "half of it": RULES.encode()[: len(RULES) // 2] + b"\n   x:",
    "an unknown key": RULES.replace("title: Present", "name: Present").encode(),
    "an unknown unit": RULES.replace("workminutes", "fortnights").encode(),
    "a stage that the portal never had": RULES.replace("Презентация:", "Презентации:").encode(),
}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Office]:
    with office(tmp_path) as found:
        yield found


def spoil(path: Path, content: bytes | None) -> None:
    """The file is as it should not be."""
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)


def start_anew(place: Office) -> None:
    """As ``run`` does it: the file by itself, the portal, then the worker's first turn."""
    place.service.close()
    settings = load_settings(place.environ, None)
    check_file(settings, restart=True)
    service = place.service = Service(settings)
    service.prove()
    assert service.take_lease()
    place.context = service.open()


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_a_start_with_a_broken_file_goes_on_with_the_last_good_one_and_says_so(
    place: Office, content: bytes | None
) -> None:
    before, loaded = place.context.rulebook.rules.digest, place.context.rulebook.loaded
    spoil(place.rules, content)
    start_anew(place)
    book, store = place.context.rulebook, place.service.store
    assert book.rules.digest == before
    assert book.loaded == loaded
    assert book.error
    assert store.flags.rules_error == book.error
    deal = place.add_deal()
    place.run()
    assert place.marks(deal) == ["first-call"]
    told = [row.operation.key for row in store.operations() if row.operation.key.startswith("tell:admin:rules-refused")]
    assert len(told) == 1
    lines = [line for line in examine(place.service.settings, offline=False) if line.about == "rules"]
    assert lines[0].level == "error"
    assert any("last good file" in line.text for line in lines)
    start_anew(place)  # and again: the kept file is not lost by having been used
    assert place.context.rulebook.rules.digest == before
    place.rules.write_text(RULES.replace("Call:", "Ring:"), encoding="utf-8")
    assert place.context.rulebook.reload_if_changed()
    assert not book.store.flags.rules_error


def test_without_a_last_good_file_a_broken_one_is_refused(place: Office) -> None:
    place.service.store.flags.rules_kept = None
    spoil(place.rules, BROKEN["an unknown key"])
    with pytest.raises(UserError):
        start_anew(place)
    assert place.service.store is not None


def test_a_start_whose_file_cannot_be_compared_goes_on_with_the_last_good_one(tmp_path: Path) -> None:
    """The new file names a department, and the portal has never told any."""
    named = RULES.replace('title: "Call', 'owner: {department: Отдел продаж, pick: first}\n        title: "Call')
    with portal_on_a_monday() as portal:
        portal.faults.next("refuse", "department.get", times=None)
        place = Office(portal, tmp_path, RULES, BITRIX_RATE="100/1000")
        before = place.context.rulebook.rules.digest
        place.rules.write_text(named, encoding="utf-8")
        start_anew(place)
        book = place.context.rulebook
        assert (book.rules.digest, book.error) == (before, place.service.store.flags.rules_error)
        assert "department.get" in book.error
        portal.faults.clear()
        book.read_anew()
        assert (book.rules.digest != before, book.error) == (True, "")
        place.close()


VANISHED: dict[str, Callable[[Any], object]] = {
    "a stage": lambda state: state.delete_stage("PREPARATION"),
    "all stages of the file": lambda state: [
        state.delete_stage(stage) for stage in ("NEW", "PREPARATION", "UC_OFFER1")
    ],
    "the funnel's name": lambda state: state.rename_funnel(0, "Другая"),
    "a stage's name": lambda state: state.rename_stage("PREPARATION", "Другая"),
    "two stages of one name": lambda state: (
        state.rename_stage("PREPARATION", "Одна"),
        state.rename_stage("UC_OFFER1", "Одна"),
    ),
}


@pytest.mark.parametrize("vanish", VANISHED.values(), ids=VANISHED)
def test_what_vanished_from_the_portal_is_met_at_a_start_as_it_is_while_running(
    place: Office, vanish: Callable[[Any], object]
) -> None:
    vanish(place.portal.state)
    place.context.rulebook.refresh_directory()
    place.context.rulebook.bind_anew()
    running = standing(place)
    start_anew(place)
    assert standing(place) == running


def test_a_file_that_can_no_longer_be_bound_stays_as_it_was_bound(place: Office) -> None:
    """The same file, on a portal that has none of its names and a store that forgot what they meant."""
    place.service.store.bind(dict.fromkeys(place.service.store.bindings(), ""))
    for stage in ("PREPARATION", "UC_OFFER1"):
        place.portal.state.rename_stage(stage, f"Another {stage}")
    rules = set(place.context.rulebook.rules.by_id)
    place.context.rulebook.refresh_directory()  # a start goes by what the store knows of the portal
    start_anew(place)
    assert set(place.context.rulebook.rules.by_id) == rules
    assert place.context.rulebook.error
    deal = place.add_deal(stage="PREPARATION")
    place.run()
    assert "presentation" in place.marks(deal)


def standing(place: Office) -> tuple[Any, ...]:
    """What is in force, what is off, and what is refused."""
    book = place.context.rulebook
    rules = {rule.id: (rule.disabled, sorted(rule.stage_ids)) for rule in book.rules.by_id.values()}
    return rules, book.error, book.rules.digest, place.service.store.flags.rules_off


def test_a_process_with_a_broken_file_works_and_is_ready(tmp_path: Path) -> None:
    with portal_on_a_monday() as portal:
        town = Town(tmp_path, portal)
        quick = {**town.environ, "BITRIX_POLL_SECONDS": "0.5"}
        assert Running(tmp_path, quick).ready().end() == 0
        (tmp_path / "rules.yaml").write_text("version: 1\n  funnels: [", encoding="utf-8")
        service = Running(tmp_path, quick).ready()
        until(town.has(town.add_deal(), "first-call"))
        assert "the last good one stays in force" in service.said
        assert "bitrix_sync_rules_refused 1.0" in service.get("/metrics")[1]
        assert service.end() == 0


# --- the portal ------------------------------------------------------------------------------------------------------

REFUSED: dict[str, Callable[[Any], object]] = {
    "the webhook was revoked": lambda portal: portal.faults.next("auth_lost", times=3),
    "the plan has ended": lambda portal: portal.faults.next("no_rest", times=3),
    "blocked for a while": lambda portal: portal.faults.next("overload", times=3),
    "a scope was taken": lambda portal: portal.state.set_scopes(1, CODE, set(SCOPES) - {"task"}),
}


@pytest.mark.parametrize("refuse", REFUSED.values(), ids=REFUSED)
def test_only_a_very_first_start_ends_when_the_portal_refuses(
    place: Office, tmp_path: Path, refuse: Callable[[Any], object]
) -> None:
    settings = load_settings({**place.environ, "DATABASE_URL": f"sqlite:///{tmp_path / 'first.db'}"}, None)
    refuse(place.portal)
    first = Service(settings)
    with pytest.raises(PortalRefused):
        first.prove()
    first.close()
    refuse(place.portal)
    place.service.close()
    later = place.service = Service(load_settings(place.environ, None))
    later.prove()
    assert later.trouble
    assert not later.health().ready


NONSENSE = ("empty_result", "broken_json", "half_answer", "page_500", "internal", "refuse", "cut_after")


@pytest.mark.parametrize("kind", NONSENSE)
@pytest.mark.parametrize("first", [True, False], ids=["at the first start", "later"])
def test_nonsense_at_a_start_ends_nothing(
    place: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, *, first: bool
) -> None:
    place.service.close()
    database = tmp_path / ("first.db" if first else "store.db")
    settings = load_settings({**place.environ, "DATABASE_URL": f"sqlite:///{database}"}, None)
    place.portal.faults.next(kind, times=30)
    monkeypatch.setattr(app, "TROUBLE_PAUSES", (0.1,))
    monkeypatch.setattr(app, "FIRST_PATIENCE", 0.1)
    service = place.service = Service(settings)
    service.prove()
    place.portal.faults.clear()
    over = service.begin("worker", service.work)
    until(lambda: service.health().ready)
    deal = place.add_deal()
    service.wake("ONCRMDEALADD")
    until(lambda: place.marks(deal) == ["first-call"])
    service.stop()
    over.join()
    assert service.failed == ""
