"""The service lives long: a busy day leaves its memory as it was and costs no more rows than things happened, a quiet
poll is one request, and what only explains the past is forgotten after 180 days.

``LONG_RUN=1`` lives the day at full pace, which takes minutes; ``python -m tests.long_day`` prints its figures.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from statistics import median

from sqlalchemy import func, select

from bitrix_sync.engine.recheck import KEEP, PAST
from bitrix_sync.store.schema import metadata, operations
from tests.long_day import HOURS, RULES, SELLERS, count_rows, day, live
from tests.world.sweeps import Department, department

POLL, DEEDS = (30, 120) if os.environ.get("LONG_RUN") else (600, 12)
MOST_BLOCKS = 3000
"""Of half a million that Python holds, half of it for what is made once; some things kept of each deal or operation, or
of each poll, would be more."""

GROWING = {"visits", "deals", "moments", "tasks", "slips", "operations", "sweeps", "told", "escalations"}
"""Of these a row is kept for ever for each thing that happened in the portal, so that nothing is done twice."""
FORGOTTEN = {"traces": KEEP, "requests": KEEP, "changes": PAST, "absences": PAST}
"""These are forgotten when they are so old."""
STEADY = {
    *("portal", "cursors", "settings", "bindings", "rules_seen", "picks", "unjudged", "page_sessions", "trial"),
    "activities",
}
"""These are as large as the rules file, the company, what is planned now and what cannot be read now are."""


def grown(after: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    """Tables with more (or fewer) rows than before, and how many."""
    return {name: after[name] - before[name] for name in after if after[name] != before[name]}


def test_of_every_table_it_is_known_how_it_grows() -> None:
    assert set(metadata.tables) == GROWING | FORGOTTEN.keys() | STEADY


def test_a_busy_day_leaves_memory_as_it_was_and_a_quiet_poll_is_one_request(tmp_path: Path) -> None:
    with day(tmp_path, poll=POLL) as place:
        start = place.mark()
        live(place, hours=HOURS / 2, poll=POLL, deeds=DEEDS)
        noon = place.mark()
        live(place, hours=HOURS / 2, poll=POLL, deeds=DEEDS)
        end = place.mark()
        assert end.tasks > noon.tasks > start.tasks
        assert end.blocks - noon.blocks < MOST_BLOCKS, "memory grows with what happened"
        assert end.rss < noon.rss * 1.05

        first, second = grown(noon.rows, start.rows), grown(end.rows, noon.rows)
        assert not {name for name in STEADY if name in second}
        assert first["sweeps"] == second["sweeps"] == 1
        moves = end.visits - noon.visits
        assert sum(second.values()) < 12 * moves, "rows of all tables for each move of a deal"
        assert end.file < 1024 * sum(end.rows.values())

        place.turn()
        before = place.mark()
        costs = live(place, hours=1, poll=POLL // 5, deeds=0)
        assert median(costs) == 1
        assert sum(cost > 1 for cost in costs) <= 1, (
            "once an hour the portal's funnels, fields and people are read again"
        )
        assert sum(costs) <= len(costs) + 7
        assert grown(place.mark().rows, before.rows) == {}, "where nothing happens nothing is written down"
        assert place.portal.limits.refused() == 0


# --- what is forgotten -----------------------------------------------------------------------------------------------


def kept(place: Department) -> dict[str, int]:
    """Rows by table, and how many operations still have what they carried."""
    with place.store.reading() as connection:
        loaded = select(func.count()).where(operations.c.payload != {})
        return {**count_rows(connection), "payloads": int(connection.execute(loaded).scalar_one())}


def test_after_180_days_what_only_explains_is_forgotten_and_the_rest_stays(tmp_path: Path) -> None:
    """A year and a half; twenty days pass at a step, and in each come deals that are won in the next one."""
    with department(
        tmp_path, RULES.replace("pick: least_loaded}", "pick: least_loaded}\n        away: substitute")
    ) as place:
        state, seen, step = place.portal.state, [], timedelta(days=20)
        old = [place.add_deal(f"Slow {number}", responsible=5) for number in range(3)]
        deals: list[int] = []
        for _ in range(27):
            today = place.portal.clock.now()
            state.add_absence(SELLERS[0], today + timedelta(days=1), today + timedelta(days=2))
            place.turn()
            for deal in deals:
                place.move(deal, "WON")
            deals = [place.add_deal(responsible=SELLERS[number]) for number in range(3)]
            place.store.ask("sync", {}, now=place.service.clock())
            place.turn()
            morning = (place.portal.clock.now() + step).replace(hour=3, minute=30)
            state.clock.set(morning)
            place.turn()
            seen.append(kept(place))
        half, end = KEEP // step + 2, len(seen) - 1
        for name, horizon in (FORGOTTEN | {"payloads": KEEP}).items():
            full = horizon // step + 2
            assert 0 < seen[end][name] <= seen[full][name] + 10, name
            assert seen[full // 2][name] < seen[full][name], name
        for name in ("visits", "tasks", "operations", "deals"):
            assert seen[end][name] > 1.5 * seen[half][name], name
        assert all(place.store.traces(deal) for deal in old), "a deal in progress can always be explained"
        assert [len(place.tasks(deal)) for deal in old] == [1, 1, 1]


def test_the_documentation_states_what_is_forgotten_and_when() -> None:
    docs = Path(__file__).parent.parent / "docs"
    assert f"older than {KEEP.days} days" in (docs / "en" / "operation.md").read_text("utf-8")
    assert f"старше {KEEP.days} дней" in (docs / "ru" / "operation.md").read_text("utf-8")
