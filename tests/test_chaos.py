"""A short run of the chaos harness (`make chaos` is longer): the real service is killed while people work."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitrix_sync.store import store
from tests.chaos.world import STORE_POINTS, Plan, run


@pytest.mark.parametrize("seed", [1])
def test_killed_again_and_again_it_loses_and_doubles_nothing(seed: int, tmp_path: Path) -> None:
    outcome = run(seed, Plan(deeds=60, kills=4, chapters=1), tmp_path)
    log = tmp_path / str(seed) / "service.log"
    assert outcome.verdict.faults == [], log.read_text(encoding="utf-8")
    assert outcome.kills >= 4
    assert outcome.verdict.occurrences > 60


def test_the_points_of_the_store_have_the_names_that_it_passes() -> None:
    source = Path(store.__file__).read_text(encoding="utf-8")
    assert [name for name in STORE_POINTS if f'"{name}"' not in source] == []


def test_ids_given_again_by_a_portal_that_was_put_back_mean_nothing(tmp_path: Path) -> None:
    outcome = run(10, Plan(deeds=4, kills=0, chapters=1), tmp_path)
    log = tmp_path / "10" / "service.log"
    assert outcome.verdict.faults == [], log.read_text(encoding="utf-8")
