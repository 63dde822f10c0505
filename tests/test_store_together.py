"""Many at once, killed at any point, and in great numbers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import dedent

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitrix_sync.model.actions import Kind, unpack
from bitrix_sync.model.operations import Changeset, Decision, Operation, OperationResult, State
from bitrix_sync.store import Store, operations
from bitrix_sync.store import store as store_module
from tests import postgres
from tests.test_store_contract import NOW, act, make_create, make_deal, make_task, make_visit
from tests.world.blank import blank_store
from tests.world.process import until

ROOT = Path(__file__).parents[1]
UNFINISHED = {State.PLANNED, State.HELD, State.SENDING, State.UNKNOWN}


@pytest.fixture
def url(tmp_path: Path) -> str:
    return blank_store(tmp_path / "store.db")


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with Store(url) as opened:
        yield opened


def take(store: Store) -> int:
    epoch = store.take_lease("worker", os.getpid(), "here", NOW)
    assert epoch is not None
    return epoch


def start(program: str, *arguments: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", dedent(program), *arguments]
    return subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_two_processes_that_open_and_take_at_once_get_one_lease(url: str) -> None:
    program = """
        import os, sys
        from datetime import UTC, datetime
        from bitrix_sync.store import Store
        with Store(sys.argv[1]) as store:
            now = datetime(2026, 3, 10, tzinfo=UTC)
            print(store.take_lease(str(os.getpid()), os.getpid(), "here", now), flush=True)
            sys.stdin.read()
        """
    both = [start(program, url) for _ in range(2)]
    answers = []
    for process in both:
        assert process.stdout is not None
        answers.append(process.stdout.readline().strip())
    for process in both:
        process.communicate("")
    assert sorted(answers) == ["1", "None"]


@pytest.mark.parametrize(
    ("point", "recorded", "state"),
    [
        ("record:before-commit", False, None),
        ("record:after-commit", True, State.PLANNED),
        ("mark_sending:before-commit", True, State.PLANNED),
        ("mark_sending:after-commit", True, State.SENDING),
        ("finish:before-commit", True, State.SENDING),
        ("finish:after-commit", True, State.DONE),
    ],
)
def test_a_kill_leaves_each_step_done_or_not_done(url: str, point: str, recorded: bool, state: State | None) -> None:
    program = """
        import os, sys
        from bitrix_sync.store import store as module
        from tests.test_store_contract import NOW, State, Store, make_task, plan_task, send
        store = Store(sys.argv[1])
        epoch = store.take_lease("worker", os.getpid(), "here", NOW)
        module.crash_point = lambda name: os._exit(9) if name == sys.argv[2] else None
        [number] = plan_task(store, epoch, make_task(1, 10))
        send(store, epoch, number, result=501)
        """
    process = start(program, url, point)
    process.communicate()
    assert process.returncode == 9
    with Store(url) as store:
        assert (10 in store.deals()) is recorded
        assert [row.state for row in store.operations()] == ([state] if state else [])
        epoch = take(store)  # its process is gone: no need to wait
        assert epoch == 2
        assert store.settle_at_start(NOW) == (1 if state is State.SENDING else 0)
        assert [task.portal_id for task in store.task_records()] == ([501 if state is State.DONE else None] * recorded)


def test_crash_points_have_names_before_and_after_each_commit(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    passed: list[str] = []
    monkeypatch.setattr(store_module, "crash_point", passed.append)
    with Store(url) as store:
        store.flags.trouble = "b"
        store.claim_sweep("2026-03-10/evening", NOW)
    assert passed == [f"{name}:{when}-commit" for name in ("set_flag", "claim_sweep") for when in ("before", "after")]
    own: list[str] = []
    with Store(url, crash_point=own.append) as store:
        store.flags.trouble = "c"
    assert own == ["set_flag:before-commit", "set_flag:after-commit"]
    assert len(passed) == 4


def test_readers_see_whole_passes_while_the_worker_writes(store: Store) -> None:
    epoch = take(store)
    stop = threading.Event()
    seen: list[tuple[int, int]] = []
    broken: list[BaseException] = []

    def read() -> None:
        try:
            while not stop.is_set():
                states = store.deal_states(range(1, 41))
                for state in states.values():
                    seen.append((len(state.tasks), len(state.keys)))
                store.ready(NOW, 10)
                store.counts()
        except BaseException as error:
            broken.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for deal in range(1, 41):
        records = tuple(make_task(deal, deal, rule) for rule in ("a", "b", "c"))
        decision = Decision(deal, operations=tuple(make_create(record) for record in records), tasks=records)
        store.record(Changeset(at=NOW, deals=(make_deal(deal),), decisions=(decision,)), epoch)
    stop.set()
    for reader in readers:
        reader.join()
    assert broken == []
    assert set(seen) <= {(0, 0), (3, 3)}


def test_writers_in_many_threads_queue(store: Store) -> None:
    winners: list[str] = []

    def write(number: int) -> None:
        for slot in range(10):
            if store.claim_sweep(f"2026-03-{slot:02}/evening", NOW):
                winners.append(f"{slot}")
            store.bind({f"{number}": f"{slot}"})

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(winners) == [str(slot) for slot in range(10)]
    assert store.bindings() == dict.fromkeys("0123", "9")


def test_a_backup_is_consistent_while_the_worker_writes(store: Store, tmp_path: Path) -> None:
    epoch = take(store)
    enough = threading.Event()

    def write() -> None:
        deal = 0
        while not enough.is_set():
            deal += 1
            record = make_task(deal, deal)
            decision = Decision(deal, operations=(make_create(record),), tasks=(record,))
            store.record(Changeset(at=NOW, deals=(make_deal(deal),), decisions=(decision,)), epoch)

    writer = threading.Thread(target=write)
    writer.start()
    seen = [0]
    try:
        for number in range(3):
            until(lambda: len(store.deals()) > seen[-1])
            store.backup(tmp_path / f"copy{number}.db")
            with Store(f"sqlite:///{tmp_path / f'copy{number}.db'}") as copy:
                seen.append(len(copy.deals()))
                assert seen[-1] == len(copy.operations()) == len(copy.task_records())
                with copy.reading() as connection:
                    assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
    finally:
        enough.set()
        writer.join()
    assert 0 < seen[1] < seen[2] < seen[3] <= len(store.deals())


def test_a_great_pass_is_recorded_and_found_in_portions(store: Store) -> None:
    epoch, count = take(store), 1200
    records = [make_task(number, number) for number in range(1, count + 1)]
    recording = Changeset(
        at=NOW,
        visits=tuple(make_visit(record.visit_id, record.deal_id) for record in records),
        deals=tuple(make_deal(record.deal_id) for record in records),
        decisions=tuple(
            Decision(
                record.deal_id,
                operations=(
                    make_create(record),
                    act(f"{record.ref}:c", Kind.CHECKLIST, record.ref, deal_id=record.deal_id),
                ),
                tasks=(record,),
            )
            for record in records
        ),
    )
    ids = store.record(recording, epoch)
    assert len(ids) == len(set(ids)) == 2 * count
    assert [row.operation.key for row in store.operations()][:4] == ["1:call", "1:call:c", "2:call", "2:call:c"]
    assert store.record(recording, epoch) == []
    states = store.deal_states(range(1, count + 1))
    assert all(state.tasks and len(state.keys) == 2 and state.visits for state in states.values())
    assert len(store.known_visits(range(1, 2 * count))) == count
    assert len(store.task_records(refs=[record.ref for record in records])) == count
    assert store.created_since(NOW) == count


@pytest.mark.skipif(postgres.server() != "", reason="asks SQLite how it reads")
def test_the_queue_is_read_by_its_indices(store: Store) -> None:
    epoch = take(store)
    records = [make_task(number, number) for number in range(1, 301)]
    planned = [op for r in records for op in (act(f"l{r.ref}", Kind.LINE, r.ref), make_create(r))]
    store.record(Changeset(at=NOW, tasks=tuple(records), operations=tuple(planned)), epoch)
    plans: list[str] = []
    with store.reading() as connection:
        connection.connection.driver_connection.set_trace_callback(plans.append)  # type: ignore[union-attr]
        operations.ready(connection, NOW, 50)
        connection.connection.driver_connection.set_trace_callback(None)  # type: ignore[union-attr]
        selects = [text for text in plans if text.startswith("SELECT")]
        steps = [row[3] for select in selects for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {select}")]
    assert len(selects) == 2
    assert not [step for step in steps if step.startswith("SCAN") or "TEMP B-TREE" in step]


# --- any order of events ---------------------------------------------------------------------------------------------

OUTCOMES = (State.DONE, State.DONE, State.DONE, State.FAILED, State.UNKNOWN, State.PLANNED, State.DROPPED)
KINDS = (Kind.LINE, Kind.CHECKLIST, Kind.DEADLINE, Kind.PEOPLE, Kind.COMPLETE, Kind.DELETE, Kind.MOVE_DEAL)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "empty.db"
    Store(f"sqlite:///{path}").close()
    return path


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_whatever_happens_nothing_overtakes_and_every_queue_ends(empty: Path, data: st.DataObject) -> None:
    with TemporaryDirectory() as directory:
        path = shutil.copy(empty, Path(directory) / "store.db")
        with Store(f"sqlite:///{path}") as store:
            live_through_anything(store, data)


def live_through_anything(store: Store, data: st.DataObject) -> None:
    epoch, deal = take(store), 10
    records = [make_task(number, deal) for number in range(data.draw(st.integers(1, 3)))]
    operations: list[Operation] = [make_create(record) for record in records]
    for number, kind in enumerate(data.draw(st.lists(st.sampled_from(KINDS), max_size=8))):
        ref = "" if kind is Kind.MOVE_DEAL else data.draw(st.sampled_from(records)).ref
        payload = {"deadline": NOW.isoformat(), "reason": "sweep"} if kind is Kind.DEADLINE else {}
        urgency = data.draw(st.integers(0, 9))
        operations.append(Operation(f"more:{number}", unpack(kind, payload), deal, ref, urgency=urgency))
    recording = Changeset(at=NOW, deals=(make_deal(deal),), tasks=tuple(records), operations=tuple(operations))
    store.record(recording, epoch)
    sent: list[int] = []
    for turn in range(200):
        batch = store.ready(NOW, 5)
        unknown = store.unknown()
        if not batch and not unknown:
            break
        before = {row.id: row for row in store.operations(deal_id=deal)}
        for row in batch:
            assert row.operation.kind is Kind.CREATE or not row.operation.task or row.task_id is not None
            for other in before.values():
                if other.id < row.id and other.state in UNFINISHED:
                    assert not row.operation.task or other.operation.task != row.operation.task
                    assert other.operation.kind is not Kind.MOVE_DEAL
        ids = store.mark_sending([row.id for row in batch], epoch, NOW)
        assert ids == sorted(row.id for row in batch)
        sent += ids
        if data.draw(st.booleans()) and turn < 20:
            store.settle_at_start(NOW)  # as after a kill
            unknown, batch = store.unknown(), []
        ends = OUTCOMES if turn < 20 else (State.DONE,)
        finished = [OperationResult(row.id, data.draw(st.sampled_from(ends))) for row in [*batch, *unknown]]
        store.finish([replace(one, result=10**6 + one.id) for one in finished], epoch, NOW)
    rows = store.operations(deal_id=deal)
    assert len(rows) == len(operations)
    assert not [row for row in rows if row.state in UNFINISHED]
    for row in rows:
        assert row.attempts == sent.count(row.id)
        if row.state is State.DROPPED and not row.attempts:
            assert row.error_text in ("the task is gone", "the task was not created")
    for record in store.task_records(refs=[record.ref for record in records]):
        [create] = [row for row in rows if row.operation.key == record.ref]
        assert (record.portal_id is not None) == (create.state is State.DONE)
        moved = [row for row in rows if row.operation.task == record.ref and row.operation.kind is Kind.DEADLINE]
        assert record.moves == sum(row.state is State.DONE for row in moved) == len(store.slips([record.ref]))
