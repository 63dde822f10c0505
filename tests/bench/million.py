"""A pass over a quiet portal with a large store behind it: a million tasks of years gone by. In simulated time."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import structlog

from bitrix_sync.model.reading import Reading
from bitrix_sync.store import Store
from tests.bench.portal import Department
from tests.bench.service import Run
from tests.bench.timeline import MONDAY, Timeline

FIRST = 1_000_000
"""Ids from here on are those of the past."""
VISITS = 4
"""Of a deal, each with a task."""
OPEN_EVERY = 20
PASSES = 20
DEALS = "id,title,funnel_id,stage_id,semantic,responsible_id,creator_id,company_id,contact_id,created,changed,fields"
TASKS = (
    "occurrence,portal_id,deal_id,rule_id,visit_id,number,deadline,owner_id,title,status,owner_form,owner_sent,"
    "creator_id,auditors,first_deadline,basis,sent,started,created,changed,closed"
)
OPERATIONS = "key,kind,payload,deal_id,task,task_row,urgency,state,attempts,error_code,error_text,created,sent,ended"


def measure(tasks: int) -> dict[str, Any]:
    """Processor milliseconds of an idle pass, and of a turn in which nothing is due, the medians; size of the file."""
    said = structlog.get_config()
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())  # what the service says is no figure
    try:
        return measured(tasks)
    finally:
        structlog.configure(**said)


def measured(tasks: int) -> dict[str, Any]:
    """The same, whatever is logged."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        timeline = Timeline(folder / "time", MONDAY)
        with Department(timeline, deals=50) as place:
            run = Run(folder, place.sandbox.url)
            run.start()
            run.rest(seconds=100)
            fill(run.service.store, tasks)
            run.rest(seconds=100)
            service, context = run.service, run.service.context
            assert context is not None
            service.stopping.clear()
            passes, turns = [], []
            for _ in range(PASSES):
                timeline.advance(30)
                passes.append(spent(lambda: service.read(context, Reading(None, late=True, people=False))))
                turns.append(spent(lambda: service.turn(set(), False)))
            service.close()
        size = (folder / "store.db").stat().st_size
    return {"tasks": tasks, "pass_ms": median(passes), "turn_ms": median(turns), "file_mb": size / 2**20}


def spent(deed: Any) -> float:
    """Processor milliseconds of this thread; the portal's threads are its own."""
    begun = time.thread_time()
    deed()
    return 1000 * (time.thread_time() - begun)


def fill(store: Store, tasks: int) -> None:
    """Deals of years gone by with their visits, tasks and the operations that made them; one task in twenty is open."""
    base = int(datetime(2025, 1, 1, tzinfo=UTC).timestamp() * 1e6)
    with store.writing("fill") as connection:
        raw: Any = connection.connection.driver_connection

        def put(table: str, columns: str, rows: Iterator[tuple[Any, ...]]) -> None:
            names = columns.split(",")
            raw.executemany(f"insert into {table} ({columns}) values ({','.join('?' * len(names))})", rows)

        put(
            "deals",
            DEALS + ",moved_by,gone",
            (
                (FIRST + n, f"Deal {n}", 0, "NEW", "P", 5, 1, 0, 0, base, base, "{}", 1, 0)
                for n in range(tasks // VISITS)
            ),
        )
        put(
            "visits",
            "id,deal_id,kind,funnel_id,stage_id,semantic,entered,handled,moved_by",
            ((FIRST + n, FIRST + n // VISITS, 1, 0, "NEW", "P", base, 0, 1) for n in range(tasks)),
        )
        put(
            "tasks", TASKS + ",gone,follow_off,moves,moves_by_us,moves_by_people", (task(n, base) for n in range(tasks))
        )
        raw.execute(
            f"insert into operations ({OPERATIONS},look_first,sweep,result) "
            "select 'create:'||occurrence,'task.create','{}',deal_id,occurrence,id,20,'done',1,'','',?,?,?,0,'',"
            "portal_id from tasks where visit_id >= ?",
            (base, base, base, FIRST),
        )


def task(number: int, base: int) -> tuple[Any, ...]:
    """A row of ``TASKS``; moments are microseconds."""
    visit, is_open = FIRST + number, number % OPEN_EVERY == 0
    made = (f"{visit}:bench", 10 * FIRST + number, FIRST + number // VISITS, "bench", visit, 1, base, 5 + number % 200)
    said = ("Task", 2 if is_open else 5, "responsible", 5, 1, "[]", base, "entry", "[]", base, base, base)
    return (*made, *said, None if is_open else base, 0, 0, 0, 0, 0)
