"""What the store promises, on a real file."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bitrix_sync.errors import LeaseLost
from bitrix_sync.model.actions import CreateTask, Kind, unpack
from bitrix_sync.model.facts import Absence, Cursor, Deal, Reached, Visit
from bitrix_sync.model.items import DEAL, Item, ItemKind
from bitrix_sync.model.keys import Occurrence
from bitrix_sync.model.operations import (
    Changeset,
    Check,
    DeadlineChange,
    Decision,
    Operation,
    OperationResult,
    State,
    StoredOperation,
    TaskRecord,
    Trace,
)
from bitrix_sync.store import QueueRest, Store, SweepRest, lease, schema
from tests.world.blank import blank_store

NOW = datetime(2026, 3, 10, 9, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
STRANGER = 2**22 + 1  # above every process number of Linux


def make_visit(number: int, deal: int, **changes: Any) -> Visit:
    return replace(Visit(number, deal, 2, 0, "NEW", "P", NOW), **changes)


def make_deal(number: int, **changes: Any) -> Deal:
    deal = Deal(number, f"Сделка {number}", 0, "NEW", "P", 7, 1, 0, 0, NOW - DAY, NOW, 7, {"OPPORTUNITY": 1000})
    return replace(deal, **changes)


def make_task(visit: int, deal: int, rule: str = "call", **changes: Any) -> TaskRecord:
    deadline = NOW + DAY
    record = TaskRecord(
        str(Occurrence(visit, rule)),
        deal_id=deal,
        rule_id=rule,
        visit_id=visit,
        deadline=deadline,
        owner_id=7,
        title="Позвонить",
        owner_form="responsible",
        owner_sent=7,
        first_deadline=deadline,
        sent=(deadline,),
        created=NOW,
    )
    return replace(record, **changes)


def make_create(record: TaskRecord, **changes: Any) -> Operation:
    fields = {"TITLE": record.title, "RESPONSIBLE_ID": record.owner_id}
    return replace(
        Operation(record.ref, unpack(Kind.CREATE, {"fields": fields}), deal_id=record.deal_id, task=record.ref),
        **changes,
    )


def act(key: str, kind: Kind, task: str = "", payload: dict[str, Any] | None = None, **changes: Any) -> Operation:
    return replace(Operation(key, unpack(kind, payload or {}), task=task), **changes)


def decided(deal: int, **parts: Any) -> Changeset:
    return Changeset(at=NOW, deals=(make_deal(deal),), decisions=(Decision(deal, **parts),))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(blank_store(tmp_path / "store.db")) as opened:
        yield opened


@pytest.fixture
def epoch(store: Store) -> int:
    taken = store.take_lease("worker", os.getpid(), "here", NOW)
    assert taken is not None
    return taken


def plan_task(store: Store, epoch: int, record: TaskRecord, *more: Operation) -> list[int]:
    return store.record(decided(record.deal_id, tasks=(record,), operations=(make_create(record), *more)), epoch)


def send(store: Store, epoch: int, number: int, state: State = State.DONE, **outcome: Any) -> None:
    assert store.mark_sending([number], epoch, NOW) == [number]
    store.finish([OperationResult(number, state, **outcome)], epoch, NOW)


def make_in_portal(store: Store, epoch: int, record: TaskRecord, portal_id: int, *more: Operation) -> list[int]:
    ids = plan_task(store, epoch, record, *more)
    send(store, epoch, ids[0], result=portal_id)
    return ids[1:]


def the_task(store: Store, ref: str) -> TaskRecord:
    [record] = store.task_records(refs=[ref])
    return record


def ready_keys(store: Store, now: datetime = NOW, limit: int = 100, **options: Any) -> list[str]:
    return [row.operation.key for row in store.ready(now, limit, **options)]


def the_operation(store: Store, key: str) -> StoredOperation:
    [row] = store.operations(keys=[key])
    return row


# --- the lease -------------------------------------------------------------------------------------------------------


def test_only_one_holder_at_a_time(store: Store) -> None:
    first = store.take_lease("a", os.getpid(), "here", NOW)
    assert first is not None
    assert store.take_lease("b", os.getpid(), "here", NOW + 29 * timedelta(seconds=1)) is None
    held = store.lease()
    assert held is not None
    assert (held.epoch, held.holder, held.pid, held.host) == (first, "a", os.getpid(), "here")
    assert held.until == NOW + timedelta(seconds=30)


@pytest.mark.parametrize("ahead", [-60 * MINUTE, timedelta(), 60 * MINUTE])
def test_a_silent_holder_elsewhere_is_succeeded_after_thirty_seconds_in_which_we_saw_no_renewal(
    store: Store, ahead: timedelta
) -> None:
    """Whatever its clock says, and however far ours is from it."""
    ours = NOW + ahead
    first = store.take_lease("a", 4711, "elsewhere", NOW)
    assert first is not None
    for second in (0, 20, 29):
        assert store.take_lease("b", os.getpid(), "here", ours + timedelta(seconds=second)) is None
    assert store.renew_lease(first, NOW + timedelta(seconds=29))
    for second in (31, 60):
        assert store.take_lease("b", os.getpid(), "here", ours + timedelta(seconds=second)) is None
    second_epoch = store.take_lease("b", os.getpid(), "here", ours + timedelta(seconds=61))
    assert second_epoch is not None
    assert second_epoch > first


def test_a_holder_of_this_machine_holds_while_its_process_lives_whatever_clocks_say(store: Store) -> None:
    with subprocess.Popen(["sleep", "60"]) as holder:
        assert store.take_lease("a", holder.pid, "here", NOW) is not None
        for away in (-60 * MINUTE, MINUTE, 60 * MINUTE, 365 * 24 * 60 * MINUTE):
            assert store.take_lease("b", os.getpid(), "here", NOW + away) is None
        holder.kill()
        os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)  # ended, and not buried
        assert store.take_lease("b", os.getpid(), "here", NOW) is not None


def test_a_process_that_got_the_number_of_a_holder_that_is_gone_does_not_hold(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with subprocess.Popen(["sleep", "60"]) as other, monkeypatch.context() as patch:
        patch.setattr(lease, "_begun", lambda pid: "12345")
        assert store.take_lease("a", other.pid, "here", NOW) is not None
        assert store.take_lease("b", os.getpid(), "here", NOW) is None
        patch.undo()
        assert store.take_lease("b", os.getpid(), "here", NOW) is not None
        other.kill()


@pytest.mark.parametrize("boot", ["", "boot"])
def test_where_the_system_does_not_say_when_a_process_began_a_holder_is_known_by_its_renewals(
    store: Store, monkeypatch: pytest.MonkeyPatch, boot: str
) -> None:
    """No /proc, or one that hides what is others': the number of who was killed may be anybody's, for good."""
    monkeypatch.setattr(lease, "_begun", lambda pid: "")
    monkeypatch.setattr(lease, "_THIS_PLACE", boot)
    with subprocess.Popen(["sleep", "60"]) as other:
        epoch = store.take_lease("a", other.pid, "here", NOW)
        assert epoch is not None
        monkeypatch.setattr(lease, "_THIS_PROCESS", "the next process")
        for second in range(0, 120, 20):
            assert store.take_lease("b", os.getpid(), "here", NOW + timedelta(seconds=second)) is None
            assert store.renew_lease(epoch, NOW + timedelta(seconds=second))
        assert store.take_lease("b", os.getpid(), "here", NOW + 2 * MINUTE) is None
        assert store.take_lease("b", os.getpid(), "here", NOW + 3 * MINUTE) is not None
        other.kill()


def test_a_holder_whose_process_is_gone_from_this_host_is_succeeded_at_once(store: Store) -> None:
    assert store.take_lease("a", STRANGER, "here", NOW) is not None
    assert store.take_lease("b", os.getpid(), "elsewhere", NOW) is None
    assert store.take_lease("b", os.getpid(), "here", NOW) is not None


def test_a_process_number_proves_nothing_outside_its_container(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert store.take_lease("a", STRANGER, "here", NOW) is not None
    monkeypatch.setattr(lease, "_THIS_PLACE", "another container of this machine")
    assert store.take_lease("b", STRANGER, "here", NOW) is None
    assert store.take_lease("b", STRANGER, "here", NOW + MINUTE) is not None  # no renewal seen for a minute


def test_a_process_number_given_anew_is_not_its_former_bearer(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert store.take_lease("a", os.getpid(), "here", NOW) is not None
    monkeypatch.setattr(lease, "_THIS_PROCESS", "the next process")
    assert store.take_lease("b", os.getpid(), "here", NOW) is not None


def test_the_same_holder_may_take_it_anew_with_a_new_epoch(store: Store, epoch: int) -> None:
    assert store.take_lease("worker", os.getpid(), "here", NOW) == epoch + 1


def test_a_dropped_lease_is_free_and_its_epoch_void(store: Store, epoch: int) -> None:
    store.drop_lease(epoch)
    assert store.lease() is None
    with pytest.raises(LeaseLost):
        store.record(Changeset(at=NOW), epoch)
    assert store.take_lease("other", os.getpid(), "here", NOW) == epoch + 1


def test_a_former_holder_can_write_nothing(store: Store, epoch: int) -> None:
    [number] = plan_task(store, epoch, make_task(1, 10))
    later = NOW + MINUTE
    store.drop_lease(epoch)
    newer = store.take_lease("other", os.getpid(), "here", later)
    assert newer is not None
    assert store.renew_lease(epoch, later) is False
    writes: list[Callable[[], object]] = [
        lambda: store.record(decided(11), epoch),
        lambda: store.mark_sending([number], epoch, later),
        lambda: store.finish([OperationResult(number, State.DONE, result=5)], epoch, later),
        lambda: store.next_request(epoch),
    ]
    for write in writes:
        with pytest.raises(LeaseLost):
            write()
    store.drop_lease(epoch)
    held = store.lease()
    assert held is not None
    assert held.epoch == newer
    assert 11 not in store.deals()
    assert the_operation(store, "1:call").state is State.PLANNED


def test_the_pacer_level_is_kept_with_the_renewal(store: Store, epoch: int) -> None:
    assert store.pace() is None
    store.renew_lease(epoch, NOW, 12.5)
    store.renew_lease(epoch, NOW + MINUTE)
    assert store.pace() == lease.Pace(12.5, NOW)
    store.drop_lease(epoch)
    assert store.pace() == lease.Pace(12.5, NOW)


def test_who_goes_in_peace_leaves_the_true_level(store: Store, epoch: int) -> None:
    store.drop_lease(epoch, 7.5, NOW)
    assert store.pace() == lease.Pace(7.5, NOW, final=True)
    store.take_lease("worker", os.getpid(), "here", NOW)
    assert store.pace() == lease.Pace(7.5, NOW)


# --- moments of an earlier process -----------------------------------------------------------------------------------


def handed_over(store: Store, epoch: int, base: float | None, moment: datetime) -> dict[str, StoredOperation]:
    """A process whose clock has its origin at 1000.0 leaves work behind and ends; the next begins at ``moment``."""
    store.drop_lease(epoch)
    epoch = store.take_lease("worker", os.getpid(), "here", NOW, base=1000.0) or 0
    numbers = [plan_task(store, epoch, make_task(number, 10 + number))[0] for number in (1, 2, 3)]
    store.renew_lease(epoch, NOW, 12.5)
    store.mark_sending(numbers[:2], epoch, NOW)
    store.finish(
        [
            OperationResult(numbers[1], State.UNKNOWN),
            OperationResult(numbers[2], State.PLANNED, not_before=NOW + 5 * MINUTE),
        ],
        epoch,
        NOW,
    )
    store.drop_lease(epoch)
    assert store.take_lease("worker", os.getpid(), "here", moment, base=base) is not None
    store.settle_at_start(moment)
    return {row.operation.task: row for row in store.operations()}


SECOND = timedelta(seconds=1)


@pytest.mark.parametrize("jump", [-55 * MINUTE, timedelta(), 55 * MINUTE])
def test_moments_of_an_earlier_process_are_moved_as_the_clock_was_set(
    store: Store, epoch: int, jump: timedelta
) -> None:
    """Ten seconds lie between the two processes, whatever the machine's clock says of it."""
    moment = NOW + jump + 10 * SECOND
    rows = handed_over(store, epoch, 1000.0 + jump.total_seconds(), moment)
    assert [rows[name].sent for name in ("1:call", "2:call")] == [NOW + jump] * 2
    assert rows["2:call"].noticed == NOW + jump
    assert rows["3:call"].operation.not_before == NOW + jump + 5 * MINUTE
    assert store.pace() == lease.Pace(12.5, NOW + jump)


@pytest.mark.parametrize("jump", [-55 * MINUTE, timedelta(), 55 * MINUTE])
def test_after_a_new_boot_what_may_have_been_sent_rests_from_now_and_nothing_longer_than_it_may(
    store: Store, epoch: int, jump: timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = NOW + jump + 10 * SECOND
    boots = iter(["before", "after"])
    monkeypatch.setattr(lease, "THIS_BOOT", "before")
    take = store.take_lease

    def taken(*given: Any, **named: Any) -> int | None:
        monkeypatch.setattr(lease, "THIS_BOOT", next(boots))
        return take(*given, **named)

    monkeypatch.setattr(store, "take_lease", taken)
    rows = handed_over(store, epoch, 1000.0, moment)
    assert [rows[name].sent for name in ("1:call", "2:call")] == [moment] * 2
    assert rows["2:call"].noticed == moment
    put_off = rows["3:call"].operation.not_before
    assert put_off is not None
    assert put_off - moment <= 11 * MINUTE
    assert store.pace() == lease.Pace(12.5, moment)


# --- small things ----------------------------------------------------------------------------------------------------


def test_a_flag_is_what_it_was_set_to_and_its_default_before(store: Store) -> None:
    flags = store.flags
    assert (flags.paused, flags.last_pass, flags.rules_off, flags.known) == (False, None, {}, None)
    flags.paused, flags.last_pass, flags.rechecked = True, NOW, NOW.date()
    flags.rules_off, flags.clock_offset = {"call": "нет стадии"}, -60.0
    flags.rest, flags.sweep_rest = QueueRest(3, None), SweepRest("2026-03-10/evening", 2, NOW)
    assert (flags.paused, flags.last_pass, flags.rechecked) == (True, NOW, NOW.date())
    assert (flags.rules_off, flags.clock_offset) == ({"call": "нет стадии"}, -60.0)
    assert (flags.rest, flags.sweep_rest) == (QueueRest(3, None), SweepRest("2026-03-10/evening", 2, NOW))
    flags.paused, flags.last_pass = False, None
    assert (flags.paused, flags.last_pass) == (False, None)


def test_a_flag_in_a_form_that_nobody_reads_any_more_was_never_set(store: Store) -> None:
    store.flags.snapshot = "{"
    with store.writing("test") as connection:
        connection.execute(schema.settings.update().values(name="rules_kept"))
    assert store.flags.rules_kept is None


def test_names_are_bound_and_bound_anew(store: Store) -> None:
    store.bind({"funnel:Продажи": "0", "stage:0:Новая": "NEW"})
    store.bind({"stage:0:Новая": "C1:NEW"})
    store.bind({})
    assert store.bindings() == {"funnel:Продажи": "0", "stage:0:Новая": "C1:NEW"}


def test_a_rule_keeps_the_time_of_its_first_loading(store: Store) -> None:
    store.note_rules(["a", "b"], NOW)
    store.note_rules(["b", "c"], NOW + DAY)
    store.note_rules([], NOW + DAY)
    assert store.rules_loaded() == {"a": NOW, "b": NOW, "c": NOW + DAY}


def test_the_cursor_is_written_with_the_recording_and_left_alone_without(store: Store, epoch: int) -> None:
    assert store.cursor() is None
    cursor = Cursor({DEAL.name: Reached(9031, NOW, NOW + MINUTE)}, NOW - MINUTE)
    store.record(Changeset(at=NOW, cursor=cursor), epoch)
    store.record(Changeset(at=NOW + DAY), epoch)
    assert store.cursor() == cursor


def test_items_of_two_kinds_with_one_id_are_two(store: Store, epoch: int, lead: ItemKind) -> None:
    kinds, items, rows = (DEAL, lead), [], []
    cursor = Cursor({kind.name: Reached(Item(kind, 9031).number, NOW, NOW) for kind in kinds}, NOW)
    for kind in kinds:
        item, row = Item(kind, 7).number, Item(kind, 9031).number
        items, rows = [*items, item], [*rows, row]
        task, visit = make_task(row, item), make_visit(row, item, stage_id=kind.stage("NEW", 0))
        create = Operation(f"create:{task.ref}", CreateTask({"TITLE": kind.name}), item, task.ref)
        decision = Decision(item, (create,), (task,), moments={(row, "seen"): NOW})
        deal = make_deal(item, title=kind.name)
        store.record(Changeset(NOW, cursor, (visit,), deals=(deal,), decisions=(decision,)), epoch)
    assert store.cursor() == cursor
    before = store.deal_states(items)
    assert [one.deal.title for one in before.values() if one.deal] == ["DEAL", "LEAD"]
    assert [one.tasks[0].occurrence for one in before.values()] == ["9031:call", "LEAD.9031:call"]
    assert [[visit.stage_id for visit in one.visits] for one in before.values()] == [["NEW"], ["LEAD:NEW"]]
    assert [one.id for kind in kinds if (one := store.newest_visit(kind))] == rows
    store.record(Changeset(NOW, retired=before[items[1]].visits), epoch)
    after = store.deal_states(items)
    assert (after[items[0]], after[items[1]].visits) == (before[items[0]], ())


def test_moments_come_back_exactly_in_utc_whatever_zone_they_were_given_in(store: Store, epoch: int) -> None:
    moscow = timezone(timedelta(hours=3))
    at = datetime(2026, 3, 10, 12, 0, 0, 123457, tzinfo=moscow)
    store.record(
        Changeset(at=NOW, cursor=Cursor({DEAL.name: Reached(1, at, at)}, datetime(1969, 12, 31, tzinfo=UTC))), epoch
    )
    cursor = store.cursor()
    assert cursor is not None
    assert cursor.deals.history_time == at
    assert cursor.deals.history_time.utcoffset() == timedelta(0)
    assert cursor.tasks_time == datetime(1969, 12, 31, tzinfo=UTC)


def test_a_moment_without_a_zone_is_refused(store: Store, epoch: int) -> None:
    with pytest.raises(Exception, match="without a time zone"):
        store.record(Changeset(at=NOW.replace(tzinfo=None)), epoch)


def test_picks_stand_in_the_order_in_which_they_were_made(store: Store, epoch: int) -> None:
    store.record(Changeset(at=NOW, picks=(("legal", 1), ("legal", 2), ("sales", 1))), epoch)
    store.record(Changeset(at=NOW, picks=(("legal", 1),)), epoch)
    places = store.picks()
    assert sorted(places, key=lambda pick: places[pick]) == [("legal", 2), ("sales", 1), ("legal", 1)]


def test_what_was_told_is_known(store: Store, epoch: int) -> None:
    store.record(Changeset(at=NOW, told=("stuck:1", "stuck:2")), epoch)
    store.record(Changeset(at=NOW, told=("stuck:2", "stuck:3")), epoch)
    assert store.told(["stuck:1", "stuck:3", "stuck:4"]) == {"stuck:1", "stuck:3"}
    assert store.told([]) == set()


# --- what is known ---------------------------------------------------------------------------------------------------


def test_everything_known_of_a_deal_comes_back_as_it_was_recorded(store: Store, epoch: int) -> None:
    deal = make_deal(10, fields={"UF_CRM_X": ["a", None, 1.5], "TITLE": "«Ёж» & 'Co' 😀"})
    first, second = make_visit(1, 10), make_visit(2, 10, stage_id="C1:WON", semantic="S")
    record = make_task(
        2,
        10,
        portal_id=501,
        status=3,
        supervisor_id=9,
        auditors=(9, 8),
        basis="field:UF=2026-03-12",
        sent=(NOW, NOW + DAY),
        follow_off=True,
        moves=1,
        moves_by_us=2,
        moves_by_people=3,
        started=NOW,
        changed=NOW,
        closed=NOW,
        creator_id=4,
    )
    store.record(Changeset(at=NOW, visits=(first,), history=True), epoch)
    store.record(
        Changeset(
            at=NOW,
            visits=(first, second),
            deals=(deal,),
            tasks=(TaskRecord("", deal_id=10, portal_id=77),),
            decisions=(
                Decision(
                    10,
                    operations=(act("10:x", Kind.MESSAGE, deal_id=10), act("free", Kind.MESSAGE)),
                    tasks=(record,),
                    moments={(2, "done:offer"): NOW},
                ),
            ),
        ),
        epoch,
    )
    state = store.deal_states([10])[10]
    assert state.deal == deal
    assert state.visits == (first, second)
    assert state.handled == {1}
    assert state.tasks == (record,)
    assert state.moments == {(2, "done:offer"): NOW}
    assert state.keys == {"10:x"}
    assert store.known_visits([1, 2, 3]) == {1: first, 2: second}
    assert store.deals([10, 11]) == {10: deal}


def test_a_deal_never_heard_of_has_an_empty_state(store: Store) -> None:
    state = store.deal_states([404])[404]
    assert (state.deal, state.visits, state.tasks, state.keys) == (None, (), (), frozenset())


def test_a_deal_that_is_gone_has_no_facts_until_it_is_seen_again(store: Store, epoch: int) -> None:
    store.record(replace(decided(10, wake_at=NOW), visits=(make_visit(1, 10),)), epoch)
    store.record(Changeset(at=NOW, gone_deals=(10, 11)), epoch)
    assert store.deal_states([10])[10].deal is None
    assert store.deal_states([10])[10].visits == (make_visit(1, 10),)
    assert store.deals() == {}
    assert store.due_deals(NOW + DAY) == []
    store.record(Changeset(at=NOW, deals=(make_deal(10),)), epoch)
    assert store.deal_states([10])[10].deal == make_deal(10)


def test_open_deals_are_those_neither_won_nor_lost(store: Store, epoch: int) -> None:
    store.record(Changeset(at=NOW, deals=(make_deal(1), make_deal(2, semantic="S"), make_deal(3, semantic="F"))), epoch)
    assert set(store.deals()) == {1, 2, 3}
    assert set(store.deals(open_only=True)) == {1}
    assert set(store.deals([2, 3], open_only=True)) == set()


def test_a_deal_wakes_when_its_decision_said_and_only_a_decision_changes_that(store: Store, epoch: int) -> None:
    store.record(decided(10, wake_at=NOW + DAY), epoch)
    store.record(Changeset(at=NOW, deals=(make_deal(10, title="renamed"),)), epoch)
    assert store.due_deals(NOW) == []
    assert store.due_deals(NOW + DAY) == [10]
    store.record(decided(10), epoch)
    assert store.due_deals(NOW + DAY) == []


def test_what_has_happened_stays_happened(store: Store, epoch: int) -> None:
    store.record(decided(10, moments={(1, "filled:UF_X"): NOW}), epoch)
    store.record(decided(10, moments={(1, "filled:UF_X"): NOW + DAY, (1, "done:a"): NOW}), epoch)
    assert store.deal_states([10])[10].moments == {(1, "filled:UF_X"): NOW, (1, "done:a"): NOW}


def test_automatic_moves_of_the_last_day_are_told_without_failed_ones(store: Store, epoch: int) -> None:
    keys = ("old", "new", "failed", "dropped")
    for key, hours in zip(keys, (25, 2, 1, 0), strict=True):
        operation = act(key, Kind.MOVE_DEAL, deal_id=10)
        store.record(Changeset(at=NOW - timedelta(hours=hours), operations=(operation,)), epoch)
    ids = {row.operation.key: row.id for row in store.operations()}
    store.finish(
        [OperationResult(ids["failed"], State.FAILED), OperationResult(ids["dropped"], State.DROPPED)], epoch, NOW
    )
    assert store.deal_states([10])[10].moved == (NOW - timedelta(hours=2),)
    assert len(store.deal_states([10], now=NOW - timedelta(hours=2))[10].moved) == 2


def test_a_trace_is_kept_only_when_it_says_something_new(store: Store, epoch: int) -> None:
    checks = (Check("OPPORTUNITY", "5", "min 10", False),)
    trace = Trace(10, 1, "call", "condition_false", NOW, {"b": 1, "a": [1, 2]}, checks)
    again = replace(trace, at=NOW + DAY, data={"a": [1, 2], "b": 1})
    other = replace(trace, rule_id="offer")
    store.record(decided(10, traces=(trace, other)), epoch)
    store.record(decided(10, traces=(again,)), epoch)
    assert store.traces(10) == [trace, other]
    made, back = replace(trace, verdict="made", at=NOW + DAY), replace(trace, at=NOW + 2 * DAY)
    store.record(decided(10, traces=(made, back, back)), epoch)
    assert store.traces(10, "call") == [trace, made, back]


def test_a_trace_may_hold_dates_and_sums(store: Store, epoch: int) -> None:
    data = {"at": NOW, "day": NOW.date(), "sum": Decimal("1.50"), "users": {3, 1}}
    store.record(decided(10, traces=(Trace(10, 1, "call", "made", NOW, data),)), epoch)
    [trace] = store.traces(10)
    assert trace.data == {"at": NOW.isoformat(), "day": "2026-03-10", "sum": "1.50", "users": [1, 3]}


# --- tasks -----------------------------------------------------------------------------------------------------------


def test_a_task_is_one_row_under_both_its_names(store: Store, epoch: int) -> None:
    record = make_task(1, 10, portal_id=501)
    store.record(Changeset(at=NOW, tasks=(record,)), epoch)
    assert store.task_records(refs=["1:call", "task:501"], portal_ids=[501]) == [record]
    assert store.task_records(refs=["2:call"]) == []
    assert store.task_records(refs=[], portal_ids=[]) == []
    assert store.task_records() == [record]


def test_a_foreign_task_found_to_be_ours_becomes_the_same_row(store: Store, epoch: int) -> None:
    foreign = TaskRecord("", deal_id=10, portal_id=501, owner_id=3)
    store.record(
        Changeset(at=NOW, tasks=(foreign,), slips=(DeadlineChange("task:501", None, NOW, "people", NOW),)), epoch
    )
    ours = make_task(1, 10, portal_id=501)
    store.record(Changeset(at=NOW, tasks=(ours,)), epoch)
    assert store.task_records() == [ours]
    assert [slip.ref for slip in store.slips()] == ["1:call"]


def test_a_foreign_row_met_before_our_own_was_settled_is_merged_into_it(store: Store, epoch: int) -> None:
    line = act("line", Kind.LINE, "task:501", {"text": "x"})
    plan_task(store, epoch, make_task(1, 10))
    store.record(Changeset(at=NOW, tasks=(TaskRecord("", portal_id=501, owner_id=3),), operations=(line,)), epoch)
    ours = make_task(1, 10, portal_id=501)
    store.record(Changeset(at=NOW, tasks=(ours,)), epoch)
    assert store.task_records() == [ours]
    assert the_operation(store, "line").task_id == 501
    assert ready_keys(store) == ["1:call"]  # the same task: the line waits


def test_a_foreign_row_is_merged_when_the_creation_is_settled(store: Store, epoch: int) -> None:
    [number] = plan_task(store, epoch, make_task(1, 10))
    seen = TaskRecord("", portal_id=501, owner_id=3, status=3, title="seen", deadline=NOW, moves=1, moves_by_us=1)
    store.record(
        Changeset(at=NOW, tasks=(seen,), slips=(DeadlineChange("task:501", None, NOW, "sweep", NOW, "s"),)), epoch
    )
    send(store, epoch, number, result=501)
    [record] = store.task_records()
    assert (record.occurrence, record.portal_id, record.status, record.owner_id) == ("1:call", 501, 3, 3)
    assert (record.deadline, record.moves, record.moves_by_us, record.rule_id) == (NOW, 1, 1, "call")
    assert record.first_deadline == NOW + DAY
    assert [slip.ref for slip in store.slips(["1:call"])] == ["1:call"]


def test_a_reading_without_the_mark_renews_only_what_the_portal_shows(store: Store, epoch: int) -> None:
    ours = make_task(1, 10, portal_id=501, basis="entry")
    store.record(Changeset(at=NOW, tasks=(ours,)), epoch)
    store.record(Changeset(at=NOW, tasks=(TaskRecord("", portal_id=501, status=5, closed=NOW, owner_id=4),)), epoch)
    [record] = store.task_records()
    assert (record.status, record.closed, record.owner_id) == (5, NOW, 4)
    assert (record.occurrence, record.basis, record.rule_id, record.owner_sent) == ("1:call", "entry", "call", 7)


def test_one_recording_may_name_a_task_twice(store: Store, epoch: int) -> None:
    ours = make_task(1, 10, portal_id=501)
    foreign = TaskRecord("", portal_id=501, owner_id=99)
    newer = replace(ours, status=3)
    store.record(replace(decided(10, tasks=(newer,)), tasks=(foreign, ours)), epoch)
    assert store.task_records() == [newer]


def test_a_portal_id_once_known_is_never_forgotten(store: Store, epoch: int) -> None:
    make_in_portal(store, epoch, make_task(1, 10), 501)
    store.record(Changeset(at=NOW, tasks=(make_task(1, 10, title="as decided before"),)), epoch)
    assert the_task(store, "1:call").portal_id == 501
    assert the_task(store, "1:call").title == "as decided before"


def test_two_occurrences_cannot_share_a_portal_task(store: Store, epoch: int) -> None:
    store.record(Changeset(at=NOW, tasks=(make_task(1, 10, portal_id=501),)), epoch)
    store.record(Changeset(at=NOW, tasks=(make_task(2, 10, portal_id=501),)), epoch)
    assert [(one.ref, one.portal_id) for one in store.task_records()] == [("1:call", 501), ("2:call", None)]


def test_an_operation_on_a_task_never_heard_of_gives_it_a_row(store: Store, epoch: int) -> None:
    lines = (act("a", Kind.LINE, "task:501", deal_id=10), act("b", Kind.LINE, "9:call:2", deal_id=11))
    store.record(Changeset(at=NOW, operations=lines), epoch)
    assert ready_keys(store) == ["a"]
    [foreign, ours] = store.task_records()
    assert (foreign.ref, foreign.deal_id) == ("task:501", 10)
    assert (ours.visit_id, ours.rule_id, ours.number, ours.deal_id) == (9, "call", 2, 11)


def test_open_tasks_are_ours_and_foreign_ones_that_are_neither_done_nor_gone(store: Store, epoch: int) -> None:
    open_ones = [make_task(1, 10), TaskRecord("", portal_id=2, owner_id=3, status=6, deadline=NOW, ended=NOW)]
    others = [
        make_task(3, 10, status=5, portal_id=3),
        make_task(4, 10, gone=True, portal_id=4),
        make_task(5, 10, status=0),
    ]
    store.record(Changeset(at=NOW, tasks=(*open_ones, *others)), epoch)
    assert store.open_tasks() == open_ones
    assert store.open_deadlines() == {7: [NOW + DAY], 3: [NOW]}


def test_tasks_of_a_rule_since_a_moment(store: Store, epoch: int) -> None:
    old, new = make_task(1, 10, created=NOW - DAY), make_task(2, 10)
    store.record(Changeset(at=NOW, tasks=(old, new, make_task(2, 10, "offer"))), epoch)
    assert store.tasks_of_rule("call", since=NOW) == [new]


def test_text_that_cannot_be_utf_8_stops_nothing(store: Store, epoch: int) -> None:
    record = make_task(1, 10, title="broken \ud83d emoji")
    store.record(
        Changeset(at=NOW, deals=(make_deal(10, title="\ud83d", fields={"X": "\ud83d"}),), tasks=(record,)), epoch
    )
    assert the_task(store, "1:call").title == "broken ? emoji"


def test_text_that_not_every_database_takes_is_stored_without_what_it_does_not(store: Store, epoch: int) -> None:
    record = make_task(1, 10, title="half\0way")
    store.record(Changeset(at=NOW, deals=(make_deal(10, fields={"X": "a\0b"}),), tasks=(record,)), epoch)
    assert the_task(store, "1:call").title == "half?way"
    assert store.deals([10])[10].fields == {"X": "a\0b"}


# --- recording operations --------------------------------------------------------------------------------------------


def test_deciding_twice_records_once(store: Store, epoch: int) -> None:
    record = make_task(1, 10)
    ids = plan_task(store, epoch, record, act("1:call:check", Kind.CHECKLIST, record.ref))
    assert len(ids) == 2
    assert ids == sorted(ids)
    third = act("new", Kind.LINE, record.ref)
    assert len(plan_task(store, epoch, record, act("1:call:check", Kind.LINE, record.ref), third, third)) == 1
    assert the_operation(store, "1:call:check").operation.kind is Kind.CHECKLIST


def test_an_operation_comes_back_whole(store: Store, epoch: int) -> None:
    operation = Operation(
        "k",
        unpack(Kind.DEADLINE, {"deadline": "2026-03-12T18:00:00+03:00", "seen": None, "reason": "sweep"}),
        deal_id=10,
        task="1:call",
        urgency=3,
        look_first=True,
        not_before=NOW,
        sweep="2026-03-12/evening",
        state=State.HELD,
    )
    store.record(Changeset(at=NOW, tasks=(make_task(1, 10, portal_id=5),), operations=(operation,)), epoch)
    [row] = store.operations(state=State.HELD, sweep="2026-03-12/evening", kind=Kind.DEADLINE, deal_id=10)
    assert row.operation == operation
    assert (row.state, row.attempts, row.task_id, row.created, row.sent) == (State.HELD, 0, 5, NOW, None)
    assert store.operations(state=[State.PLANNED, State.DONE]) == []
    assert store.operations(sweep="other") == []
    assert store.counts() == {State.HELD: 1}


def test_a_failed_recording_leaves_nothing(store: Store, epoch: int) -> None:
    bad = act("bad", Kind.LINE, "", {"text": object()})
    with pytest.raises(Exception, match="cannot be stored as JSON"):
        store.record(decided(10, tasks=(make_task(1, 10),), operations=(bad,)), epoch)
    assert store.deals() == {}
    assert store.task_records() == []
    assert store.operations() == []


def test_only_creations_that_were_let_through_count_against_the_limit(store: Store, epoch: int) -> None:
    for number, state in enumerate((State.PLANNED, State.HELD, State.WATCHED), start=1):
        record = make_task(number, 10)
        store.record(decided(10, tasks=(record,), operations=(make_create(record, state=state),)), epoch)
    store.record(Changeset(at=NOW, operations=(act("m", Kind.MESSAGE),)), epoch)
    assert store.created_since(NOW) == 1
    assert store.created_since(NOW + MINUTE) == 0
    assert store.release() == 1
    assert store.created_since(NOW) == 2


def test_release_plans_what_is_held_to_be_looked_up_first(store: Store, epoch: int) -> None:
    records = [make_task(number, 10) for number in (1, 2, 3)]
    creates = tuple(make_create(record, state=State.HELD) for record in records)
    store.record(decided(10, tasks=tuple(records), operations=creates), epoch)
    assert store.release(keys=["1:call"]) == 1
    [row] = store.ready(NOW, 10)
    assert (row.operation.key, row.operation.look_first) == ("1:call", True)
    assert store.release() == 2
    assert store.release() == 0


def test_what_is_held_and_nothing_else_can_be_planned_with_another_payload(store: Store, epoch: int) -> None:
    records = [make_task(number, 10) for number in (1, 2)]
    creates = (make_create(records[0], state=State.HELD), make_create(records[1]))
    store.record(decided(10, tasks=tuple(records), operations=creates), epoch)
    anew = tuple(replace(one, action=CreateTask({"RESPONSIBLE_ID": 77}), state=State.PLANNED) for one in creates)
    store.record(Changeset(at=NOW, renewed=anew), epoch)
    first, second = (the_operation(store, f"{number}:call") for number in (1, 2))
    assert (first.state, first.operation.action.fields["RESPONSIBLE_ID"]) == (State.PLANNED, 77)
    assert (first.operation.look_first, second.operation.look_first) == (True, False)
    assert second.operation.action.fields["RESPONSIBLE_ID"] == records[1].owner_id


# --- what may be sent ------------------------------------------------------------------------------------------------


def test_the_most_urgent_goes_first_then_the_oldest(store: Store, epoch: int) -> None:
    operations = [act(key, Kind.MESSAGE, urgency=urgency) for key, urgency in (("a", 50), ("b", 10), ("c", 50))]
    store.record(Changeset(at=NOW, operations=tuple(operations)), epoch)
    assert ready_keys(store) == ["b", "a", "c"]
    assert ready_keys(store, limit=1) == ["b"]
    assert ready_keys(store, exclude_kinds=[Kind.MESSAGE]) == []


def test_nothing_is_ready_before_its_time(store: Store, epoch: int) -> None:
    store.record(Changeset(at=NOW, operations=(act("a", Kind.MESSAGE, not_before=NOW + MINUTE),)), epoch)
    assert ready_keys(store) == []
    assert ready_keys(store, NOW + MINUTE) == ["a"]


def test_what_acts_on_a_task_waits_until_the_portal_has_it(store: Store, epoch: int) -> None:
    record = make_task(1, 10)
    check = act("check", Kind.CHECKLIST, record.ref, {"title": "a", "index": 0}, urgency=0)
    [create, _] = plan_task(store, epoch, record, check)
    assert ready_keys(store) == ["1:call"]
    store.mark_sending([create], epoch, NOW)
    assert ready_keys(store) == []
    store.finish([OperationResult(create, State.UNKNOWN)], epoch, NOW)
    assert ready_keys(store) == []
    store.finish([OperationResult(create, State.DONE, result=501)], epoch, NOW)
    [row] = store.ready(NOW, 10)
    assert (row.operation.key, row.task_id) == ("check", 501)


@pytest.mark.parametrize("state", [State.PLANNED, State.HELD, State.SENDING, State.UNKNOWN])
def test_nothing_overtakes_an_earlier_operation_on_the_same_task(store: Store, epoch: int, state: State) -> None:
    record = make_task(1, 10, portal_id=501)
    first = act("first", Kind.LINE, record.ref, state=State.HELD if state is State.HELD else State.PLANNED)
    later = act("later", Kind.COMPLETE, "task:501", urgency=0)
    [number, _] = store.record(Changeset(at=NOW, tasks=(record,), operations=(first, later)), epoch)
    if state in (State.SENDING, State.UNKNOWN):
        store.mark_sending([number], epoch, NOW)
    if state is State.UNKNOWN:
        store.finish([OperationResult(number, State.UNKNOWN)], epoch, NOW)
    assert "later" not in ready_keys(store)
    store.finish([OperationResult(number, State.DONE)], epoch, NOW)
    assert ready_keys(store) == ["later"]


def test_a_deal_waits_for_its_earlier_move(store: Store, epoch: int) -> None:
    record = make_task(1, 10)
    operations = (
        act("move", Kind.MOVE_DEAL, deal_id=10, urgency=90),
        act("again", Kind.MOVE_DEAL, deal_id=10, urgency=1),
        make_create(record),
        act("elsewhere", Kind.MOVE_DEAL, deal_id=11),
        act("message", Kind.MESSAGE),
    )
    [move, *_] = store.record(decided(10, tasks=(record,), operations=operations), epoch)
    assert ready_keys(store) == ["elsewhere", "message", "move"]
    send(store, epoch, move, State.FAILED)
    assert ready_keys(store) == ["again", "elsewhere", "message"]


def test_watched_operations_are_never_ready_and_hold_nothing_up(store: Store, epoch: int) -> None:
    record = make_task(1, 10, portal_id=5)
    operations = (act("w", Kind.LINE, record.ref, state=State.WATCHED), act("p", Kind.LINE, record.ref))
    store.record(Changeset(at=NOW, tasks=(record,), operations=operations), epoch)
    assert ready_keys(store) == ["p"]


# --- sending and what becomes of it ----------------------------------------------------------------------------------


def test_sending_is_committed_with_its_time_and_counted(store: Store, epoch: int) -> None:
    [number] = plan_task(store, epoch, make_task(1, 10))
    assert store.mark_sending([number, 999], epoch, NOW) == [number]
    assert store.mark_sending([number], epoch, NOW) == []
    row = the_operation(store, "1:call")
    assert (row.state, row.sent, row.attempts) == (State.SENDING, NOW, 1)


def test_what_was_on_its_way_when_the_process_ended_is_unknown(store: Store, epoch: int) -> None:
    [number] = plan_task(store, epoch, make_task(1, 10))
    store.mark_sending([number], epoch, NOW)
    assert store.unknown() == []
    assert store.settle_at_start(NOW + MINUTE) == 1
    [row] = store.unknown()
    assert (row.id, row.sent, row.noticed) == (number, NOW, NOW + MINUTE)
    assert store.settle_at_start(NOW + MINUTE) == 0


def test_a_refused_send_is_planned_again_for_its_time(store: Store, epoch: int) -> None:
    [number] = plan_task(store, epoch, make_task(1, 10))
    later = NOW + MINUTE
    send(store, epoch, number, State.PLANNED, not_before=later, error_code="QUERY_LIMIT_EXCEEDED")
    assert ready_keys(store) == []
    [row] = store.ready(later, 10)
    assert (row.attempts, row.error_code) == (1, "QUERY_LIMIT_EXCEEDED")
    store.mark_sending([number], epoch, later)
    assert the_operation(store, "1:call").attempts == 2


def test_an_end_is_an_end(store: Store, epoch: int) -> None:
    [line] = make_in_portal(store, epoch, make_task(1, 10), 501, act("l", Kind.LINE, "1:call"))
    send(store, epoch, line, State.FAILED, error_code="ACCESS_DENIED", error_text="no")
    store.finish([OperationResult(line, State.DONE, result=1), OperationResult(999, State.DONE)], epoch, NOW)
    row = the_operation(store, "l")
    assert (row.state, row.error_code, row.error_text, row.result) == (State.FAILED, "ACCESS_DENIED", "no", None)


@pytest.mark.parametrize("end", [State.FAILED, State.DROPPED])
def test_what_waits_for_a_task_that_will_never_be_is_dropped(store: Store, epoch: int, end: State) -> None:
    record = make_task(1, 10)
    waiting = (act("c", Kind.CHECKLIST, record.ref), act("h", Kind.LINE, record.ref, state=State.HELD))
    [create, *_] = plan_task(store, epoch, record, *waiting)
    send(store, epoch, create, end, error_text="nobody may")
    assert the_task(store, "1:call").status == 0
    assert store.open_tasks() == []
    for key in ("c", "h"):
        row = the_operation(store, key)
        assert (row.state, row.error_text) == (State.DROPPED, "the task was not created")
    store.record(Changeset(at=NOW, operations=(act("late", Kind.LINE, record.ref),)), epoch)
    assert the_operation(store, "late").state is State.DROPPED


def test_what_waits_for_a_task_that_is_gone_is_dropped(store: Store, epoch: int) -> None:
    first, second = make_task(1, 10), make_task(2, 10)
    delete, _ = make_in_portal(
        store, epoch, first, 501, act("d", Kind.DELETE, first.ref), act("l", Kind.LINE, first.ref)
    )
    make_in_portal(store, epoch, second, 502, act("m", Kind.LINE, second.ref))
    send(store, epoch, delete)
    assert the_task(store, "1:call").gone
    assert the_operation(store, "l").error_text == "the task is gone"
    store.record(Changeset(at=NOW, tasks=(replace(second, portal_id=502, gone=True),)), epoch)
    assert the_operation(store, "m").state is State.DROPPED


def test_a_task_that_the_portal_has_is_not_marked_as_failed(store: Store, epoch: int) -> None:
    [create] = plan_task(store, epoch, make_task(1, 10))
    store.record(Changeset(at=NOW, tasks=(make_task(1, 10, portal_id=501),)), epoch)
    send(store, epoch, create, State.FAILED)
    assert the_task(store, "1:call").status == 2


def test_a_moved_deadline_is_known_with_its_slip_and_counts(store: Store, epoch: int) -> None:
    new = NOW + 2 * DAY
    payload = {"deadline": new.isoformat(), "reason": "sweep", "seen": (NOW + DAY).isoformat()}
    slot = "2026-03-10/evening"
    [move] = make_in_portal(
        store, epoch, make_task(1, 10), 501, act("mv", Kind.DEADLINE, "1:call", payload, sweep=slot)
    )
    send(store, epoch, move)
    store.finish([OperationResult(move, State.DONE)], epoch, NOW)
    record = the_task(store, "1:call")
    assert (record.deadline, record.first_deadline) == (new, NOW + DAY)
    assert (record.moves, record.moves_by_us, record.sent) == (1, 1, (NOW + DAY, new))
    assert store.slips(sweep=slot) == [DeadlineChange("1:call", NOW + DAY, new, "sweep", NOW, slot)]

    back = {"deadline": (NOW + DAY).isoformat(), "reason": "undo", "seen": new.isoformat()}
    for key in ("un", "do"):  # the second one cannot bring the counts below zero
        [undo] = store.record(Changeset(at=NOW, operations=(act(key, Kind.DEADLINE, "1:call", back),)), epoch)
        send(store, epoch, undo)
        record = the_task(store, "1:call")
        assert (record.deadline, record.moves, record.moves_by_us) == (NOW + DAY, 0, 0)
    follow = {"deadline": new.isoformat(), "reason": "follow", "seen": (NOW + DAY).isoformat()}
    [followed] = store.record(Changeset(at=NOW, operations=(act("fo", Kind.DEADLINE, "1:call", follow),)), epoch)
    send(store, epoch, followed)
    assert the_task(store, "1:call").moves == 0
    assert [(slip.by, slip.before) for slip in store.slips(["1:call"])][-1] == ("follow", NOW + DAY)


def test_a_deadline_on_its_way_is_ours_when_the_portal_shows_it(store: Store, epoch: int) -> None:
    new = NOW + 2 * DAY + timedelta(seconds=30)
    payload = {"deadline": new.isoformat(), "reason": "sweep", "seen": None}
    [move] = make_in_portal(store, epoch, make_task(1, 10), 501, act("mv", Kind.DEADLINE, "1:call", payload))
    assert the_task(store, "1:call").sent == (NOW + DAY,)
    store.mark_sending([move], epoch, NOW)
    store.settle_at_start(NOW)
    assert the_task(store, "1:call").sent == (NOW + DAY, NOW + 2 * DAY)
    assert the_task(store, "1:call").deadline == NOW + DAY


def test_people_are_what_was_sent(store: Store, epoch: int) -> None:
    record = make_task(1, 10, supervisor_id=9, auditors=(9, 8))
    change = act("p", Kind.PEOPLE, record.ref, {"owner": 21, "supervisor": 22, "drop": [9]})
    alone = act("q", Kind.PEOPLE, record.ref, {"owner": None, "supervisor": None, "drop": [22]})
    first, second = make_in_portal(store, epoch, record, 501, change, alone)
    send(store, epoch, first)
    record = the_task(store, "1:call")
    assert (record.owner_id, record.owner_sent, record.supervisor_id, record.auditors) == (21, 21, 22, (8, 22))
    send(store, epoch, second)
    record = the_task(store, "1:call")
    assert (record.owner_id, record.supervisor_id, record.auditors) == (21, None, (8,))


@pytest.mark.parametrize(("kind", "status"), [(Kind.COMPLETE, 5), (Kind.DEFER, 6), (Kind.RESUME, 2)])
def test_a_task_ends_as_it_was_told(store: Store, epoch: int, kind: Kind, status: int) -> None:
    [number] = make_in_portal(store, epoch, make_task(1, 10), 501, act("e", kind, "1:call", {"reason": "leave"}))
    send(store, epoch, number)
    record = the_task(store, "1:call")
    assert record.status == status
    assert record.closed == (NOW if kind is Kind.COMPLETE else None)


def test_a_creation_that_is_done_must_have_an_id(store: Store, epoch: int) -> None:
    [number] = plan_task(store, epoch, make_task(1, 10))
    with pytest.raises(ValueError, match="the id of its task"):
        send(store, epoch, number)
    assert the_operation(store, "1:call").state is State.SENDING


def test_creations_sent_again_after_doubt_are_found(store: Store, epoch: int) -> None:
    doubtful, refused = plan_task(store, epoch, make_task(1, 10)) + plan_task(store, epoch, make_task(2, 11))
    send(store, epoch, doubtful, State.UNKNOWN)
    send(store, epoch, refused, State.PLANNED)
    store.finish([OperationResult(doubtful, State.PLANNED)], epoch, NOW)
    send(store, epoch, doubtful, result=501)
    send(store, epoch, refused, result=502)
    assert [row.id for row in store.resent_creates(NOW)] == [doubtful]
    assert store.resent_creates(NOW - MINUTE) == []


def test_what_a_rule_has_not_sent_yet_can_be_dropped(store: Store, epoch: int) -> None:
    record = make_task(1, 10)
    plan_task(store, epoch, record, act("c", Kind.CHECKLIST, record.ref))
    make_in_portal(store, epoch, make_task(2, 10), 502)
    plan_task(store, epoch, make_task(3, 10, "offer"))
    assert store.drop_unsent("call", since=NOW + MINUTE) == 0
    assert store.drop_unsent("call", since=NOW) == 1
    assert {row.operation.key for row in store.operations(state=State.DROPPED)} == {"1:call", "c"}
    assert ready_keys(store) == ["3:offer"]


# --- sweeps and requests ---------------------------------------------------------------------------------------------


def test_a_slot_is_claimed_once(store: Store) -> None:
    slot = "2026-03-10/evening"
    assert store.sweep(slot) is None
    assert store.claim_sweep(slot, NOW)
    assert not store.claim_sweep(slot, NOW + MINUTE)
    claimed = store.sweep(slot)
    assert claimed is not None
    assert (claimed.moment, claimed.state, claimed.summary) == (NOW, "claimed", {})
    assert store.claim_sweep("2026-03-11/morning", NOW + DAY)
    store.close_sweep(slot, "done", {"moved": 3})
    closed = store.sweep(slot)
    assert closed is not None
    assert (closed.state, closed.summary) == ("done", {"moved": 3})
    assert [sweep.slot for sweep in store.sweeps()] == ["2026-03-11/morning", slot]
    assert [sweep.slot for sweep in store.sweeps(limit=1)] == ["2026-03-11/morning"]
    with pytest.raises(KeyError):
        store.close_sweep("2026-03-12/morning", "done", {})


def test_a_request_is_asked_taken_and_answered(store: Store, epoch: int) -> None:
    assert store.next_request(epoch) is None
    first = store.ask("release", {}, now=NOW)
    second = store.ask("undo", {"slot": "2026-03-10/evening"}, now=NOW)
    taken = store.next_request(epoch)
    assert taken is not None
    assert (taken.id, taken.kind, taken.ok, taken.asked) == (first, "release", None, NOW)
    store.answer(first, ok=True, result={"released": 3})
    answered = store.request(first)
    assert answered is not None
    assert (answered.ok, answered.result) == (True, {"released": 3})
    assert store.withdraw(first) is False
    assert store.withdraw(second) is True
    assert store.next_request(epoch) is None
    assert store.request(404) is None


def test_a_request_that_a_former_holder_left_behind_is_taken_again(store: Store, epoch: int) -> None:
    number = store.ask("sync", {}, now=NOW)
    assert store.next_request(epoch) is not None
    assert store.next_request(epoch) is None
    newer = store.take_lease("worker", os.getpid(), "here", NOW)
    assert newer is not None
    again = store.next_request(newer)
    assert again is not None
    assert again.id == number
    store.answer(number, ok=False, result={"error": "no"})
    answered = store.request(number)
    assert answered is not None
    assert answered.ok is False


# --- upkeep ----------------------------------------------------------------------------------------------------------


def test_pruning_forgets_explanations_but_nothing_that_keeps_work_from_being_repeated(store: Store, epoch: int) -> None:
    old = NOW - DAY
    trace = Trace(10, 1, "call", "waiting_start", old)
    later = replace(trace, verdict="made")
    visit, record = make_visit(1, 10), make_task(1, 10)
    moments = {(1, "x"): old}
    first = decided(10, tasks=(record,), operations=(make_create(record),), traces=(trace, later), moments=moments)
    store.record(replace(first, visits=(visit,)), epoch)
    store.record(decided(11, traces=(replace(trace, deal_id=11),)), epoch)
    unsent = act("open", Kind.MESSAGE, "", {"text": "a"})
    store.record(Changeset(at=NOW, deals=(make_deal(11, semantic="S"),), operations=(unsent,)), epoch)
    [create] = [row.id for row in store.operations(kind=Kind.CREATE)]
    store.mark_sending([create], epoch, old)
    store.finish([OperationResult(create, State.DONE, result=501)], epoch, old)
    store.ask("sync", {}, now=old)

    assert store.prune(old, past_before=old) == 0
    assert store.prune(NOW, past_before=NOW) == 4
    assert store.traces(10) == [later]
    assert store.traces(11) == []
    assert the_operation(store, "1:call").operation.forgotten
    assert not the_operation(store, "open").operation.forgotten
    state = store.deal_states([10])[10]
    assert state.keys == {"1:call"}
    assert state.visits == (visit,)
    assert state.moments == moments
    assert plan_task(store, epoch, record) == []
    assert store.prune(NOW, past_before=NOW) == 0


# --- what held -------------------------------------------------------------------------------------------------------


def held(store: Store) -> list[tuple[int, str, Any, datetime]]:
    with store.reading() as connection:
        rows = connection.execute(schema.changes.select().order_by(schema.changes.c.id)).all()
    assert {row.kind for row in rows} <= {"DEAL"}
    return [(row.item, row.field, row.value, row.at) for row in rows]


def see(store: Store, epoch: int, at: datetime, fields: dict[str, Any], **changes: Any) -> None:
    store.record(Changeset(at=at, deals=(make_deal(10, changed=at, fields=fields, **changes),)), epoch)


def test_a_field_is_remembered_when_it_is_first_seen_and_whenever_it_changes(store: Store, epoch: int) -> None:
    see(store, epoch, NOW, {"OPPORTUNITY": 1000, "UF_SHIP": None})
    see(store, epoch, NOW + MINUTE, {"OPPORTUNITY": 1000, "UF_SHIP": None})
    assert held(store) == [
        (10, "OPPORTUNITY", 1000, NOW),
        (10, "UF_SHIP", None, NOW),
        (10, "ASSIGNED_BY_ID", 7, NOW),
    ]
    see(store, epoch, NOW + DAY, {"OPPORTUNITY": 1000, "UF_SHIP": "2026-03-12", "UF_NEW": ["1"]}, responsible_id=8)
    assert held(store)[3:] == [
        (10, "UF_SHIP", "2026-03-12", NOW + DAY),
        (10, "UF_NEW", ["1"], NOW + DAY),
        (10, "ASSIGNED_BY_ID", 8, NOW + DAY),
    ]


def test_what_a_recording_that_fails_saw_is_not_remembered(store: Store, epoch: int) -> None:
    with pytest.raises(KeyError):
        store.record(Changeset(at=NOW, deals=(make_deal(10),), sweep=("2026-03-10/noon", "done", {})), epoch)
    assert held(store) == []


def test_of_a_deal_in_progress_what_held_at_the_horizon_stays(store: Store, epoch: int) -> None:
    for day, amount in enumerate((1, 2, 3)):
        see(store, epoch, NOW + day * DAY, {"OPPORTUNITY": amount})
    store.prune(NOW - DAY, past_before=NOW + 1.5 * DAY)
    amounts = [value for _, field, value, _ in held(store) if field == "OPPORTUNITY"]
    assert amounts == [2, 3]
    see(store, epoch, NOW + 2 * DAY, {"OPPORTUNITY": 3}, semantic="S")
    store.prune(NOW - DAY, past_before=NOW + 1.5 * DAY)
    assert [value for _, field, value, _ in held(store)] == [3]


def test_absences_are_remembered_with_when_they_came_to_be_known_and_ceased(store: Store) -> None:
    ill, leave = Absence(7, NOW, NOW + DAY), Absence(8, NOW + 5 * DAY, NOW + 9 * DAY)
    store.note_absences([ill, leave], NOW)
    store.note_absences([ill, leave], NOW + MINUTE)
    longer = replace(leave, end=NOW + 12 * DAY)
    store.note_absences([longer], NOW + 2 * DAY)

    def known() -> list[tuple[Absence, datetime, datetime | None]]:
        with store.reading() as connection:
            rows = connection.execute(schema.absences.select().order_by("user_id", "end")).all()
        return [(Absence(row.user_id, row.begin, row.end), row.known, row.dropped) for row in rows]

    later = NOW + 2 * DAY
    assert known() == [(ill, NOW, None), (leave, NOW, later), (longer, later, None)], "one that is over was not dropped"
    store.prune(NOW - DAY, past_before=NOW + 3 * DAY)
    assert known() == [(longer, later, None)]
