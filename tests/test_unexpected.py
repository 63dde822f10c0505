"""Whatever is raised between the commit and the outcome, in the process that goes on: nothing stays half-way, what is
known is kept, nothing is made twice.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
import urllib3.exceptions
from sqlalchemy import update

from bitrix_sync.app import clock_shift
from bitrix_sync.clock import Clock
from bitrix_sync.engine import passes, sender
from bitrix_sync.engine.passes import take_in
from bitrix_sync.errors import PortalError, StoreError
from bitrix_sync.model.operations import STUCK, State
from bitrix_sync.model.webhook import WebhookUrl
from bitrix_sync.portal import client, http, paging
from bitrix_sync.portal.dialect import outcomes
from bitrix_sync.report import state_of_things
from bitrix_sync.store import Store, lease, operations, schema
from bitrix_sync.store import store as store_module
from tests.world.office import Office, office

FAULTS: tuple[Callable[[], BaseException], ...] = (
    lambda: AttributeError("'str' object has no attribute '__cause__'"),
    lambda: KeyError("TITLE"),
    lambda: RecursionError("maximum recursion depth exceeded"),
    lambda: MemoryError(),
    lambda: OSError(28, "No space left on device"),
    lambda: ssl.SSLError(1, "[SSL] record layer failure"),
    lambda: UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
    lambda: StoreError("database store.db: another program holds it locked"),
    lambda: PortalError("portal example: nobody knows"),
    lambda: asyncio.CancelledError(),
    lambda: SystemExit(1),
    lambda: KeyboardInterrupt(),
)
HARD = ("send", "mark_sending", "finish")
PLACES: tuple[tuple[Any, str], ...] = (
    (http.HttpConnection, "_exchange"),
    (http, "_failure"),
    (client.Portal, "_judge"),
    (client.Portal, "account"),
    (client.Portal, "count"),
    (client, "read_batch"),
    (outcomes, "read_result"),
    (client, "read_answer"),
    (paging._ListById, "take"),
    (sender, "judge"),
    (sender, "guard"),
    (sender, "command_of"),
    (sender, "read_tasks"),
    (sender, "look_again"),
    (sender, "find_created"),
    (sender, "close"),
    (Store, "mark_sending"),
    (Store, "finish"),
    (Store, "ready"),
    (Store, "record"),
    (Store, "settle_sending"),
    (operations, "_note_states"),
    (operations, "_adopt_all"),
    (passes, "sift"),
)


@contextmanager
def raised(where: Any, name: str, fault: BaseException, *, after: bool, times: int = 1) -> Iterator[list[str]]:
    """The next calls of a function raise, before it does anything or when it has done all."""
    real, static = where.__dict__[name], isinstance(where.__dict__[name], staticmethod)
    called = getattr(where, name)
    struck: list[str] = []

    def strike(*args: Any, **named: Any) -> Any:
        if len(struck) < times and not after:
            struck.append(name)
            raise fault
        result = called(*args, **named)
        if len(struck) < times:
            struck.append(name)
            raise fault
        return result

    setattr(where, name, staticmethod(strike) if static else strike)
    try:
        yield struck
    finally:
        setattr(where, name, real)


@contextmanager
def raised_at(points: Callable[[str], None]) -> Iterator[None]:
    """What happens at the named points of the store and of the sender."""
    before = store_module.crash_point, sender.crash_point
    store_module.crash_point = sender.crash_point = points
    try:
        yield
    finally:
        store_module.crash_point, sender.crash_point = before


def events(place: Office) -> list[int]:
    """Work of every kind: two new deals, one that moves, a task whose deadline nobody keeps."""
    first, second = place.add_deal(), place.add_deal()
    moved = place.add_deal(stage="PREPARATION")
    return [first, second, moved]


def turns(place: Office) -> None:
    """The service goes on as its worker would: whatever a turn raises, the next one comes."""
    for _ in range(5):
        with suppress(BaseException):
            place.service.turn({"poll"}, wide=True)
            if not place.service.store.waiting():
                return
        place.wait(seconds=61)


def exactly_once(place: Office, deals: list[int]) -> None:
    """Every deal has the task of its stage once, with all that belongs to it, and nothing is on its way."""
    wanted = [["first-call"], ["first-call"], ["presentation"]]
    assert [place.marks(deal) for deal in deals] == wanted
    for deal in deals[2:]:
        titles = sorted(item.title for item in (place.tasks(deal)[0].checklist or {}).values())
        assert titles.count("Materials") == titles.count("Time") == 1
    counts = place.service.store.counts()
    assert not counts.keys() & {State.SENDING, State.UNKNOWN, State.PLANNED, State.FAILED}
    known = {record.portal_id for record in place.service.store.task_records() if record.rule_id}
    assert {task.id for deal in deals for task in place.tasks(deal)} <= known


def test_whatever_is_raised_at_a_named_point_leaves_everything_made_once(tmp_path: Path) -> None:
    with office(tmp_path) as place:
        names: list[str] = []
        with raised_at(names.append):
            deals = events(place)
            turns(place)
        exactly_once(place, deals)
        points = sorted(set(names))
        assert {"send:before", "send:after", "mark_sending:after-commit", "finish:before-commit"} <= set(points)
        for point in points:
            for make in FAULTS if point.startswith(HARD) else FAULTS[::3]:
                left = [make()]

                def strike(name: str, point: str = point, left: list[BaseException] = left) -> None:
                    if name == point and left:
                        raise left.pop()

                deals = events(place)
                with raised_at(strike):
                    turns(place)
                assert not left, point
                exactly_once(place, deals)


@pytest.mark.parametrize(("where", "name"), PLACES, ids=[name for _, name in PLACES])
def test_whatever_is_raised_by_a_part_leaves_everything_made_once(
    tmp_path: Path, where: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "PUT_OFF", timedelta())
    with office(tmp_path) as place:
        for number, make in enumerate(FAULTS):
            deals = events(place)
            with raised(where, name, make(), after=bool(number % 2)):
                turns(place)
            turns(place)
            exactly_once(place, deals)


def retried(reason: Any) -> urllib3.exceptions.MaxRetryError:
    """What urllib3 says when it gives up."""
    return urllib3.exceptions.MaxRetryError(None, "/rest/1/secret/x", reason)  # type: ignore[arg-type]


RECORD_LAYER = ssl.SSLError(1, "[SSL: DECRYPTION_FAILED_OR_BAD_RECORD_MAC] record layer failure")
CERTIFICATE = ssl.SSLCertVerificationError(1, "certificate verify failed")


@pytest.mark.parametrize(
    ("fault", "left"),
    [
        (requests.exceptions.SSLError(RECORD_LAYER), True),
        (requests.exceptions.SSLError(retried(urllib3.exceptions.SSLError(RECORD_LAYER))), True),
        (requests.exceptions.SSLError(retried(urllib3.exceptions.SSLError(CERTIFICATE))), False),
        (requests.exceptions.SSLError(), True),
        (requests.exceptions.ConnectionError("text"), True),
        (requests.exceptions.ConnectionError(retried("a text")), True),
        (
            requests.exceptions.ConnectionError(retried(urllib3.exceptions.NewConnectionError(None, "refused"))),  # type: ignore[arg-type]
            False,
        ),
        (requests.exceptions.ChunkedEncodingError(None), True),
        (requests.exceptions.ConnectTimeout(), False),
        (requests.exceptions.ReadTimeout(), True),
        (urllib3.exceptions.DecodeError(), True),
        (ConnectionResetError(104, "reset"), True),
        (AttributeError("no attribute"), True),
        (KeyError(1), True),
        (MemoryError(), True),
        (RecursionError(), True),
        (UnicodeError(), True),
        (ExceptionGroup("many", [ValueError(1)]), True),
    ],
    ids=range(18),
)
def test_the_wire_raises_nothing_and_says_left_of_what_it_does_not_know(
    fault: Exception, left: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise fault

    monkeypatch.setattr(requests.Session, "post", broken)
    line = http.HttpConnection("test")
    reply = line.post(WebhookUrl("https://portal.example/rest/1/secret/"), "tasks.task.add", {})
    line.close()
    assert isinstance(reply, http.NoReply)
    assert reply.left is left
    assert "secret" not in reply.text


@pytest.mark.parametrize("value", [{1}, b"x", object(), float("nan"), {"a": {(1, 2): 3}}], ids=range(5))
def test_what_cannot_be_written_as_json_never_leaves(value: Any) -> None:
    line = http.HttpConnection("test")
    reply = line.post(WebhookUrl("https://portal.example/rest/1/secret/"), "profile", {"x": value})
    line.close()
    assert isinstance(reply, http.NoReply)
    assert not reply.left


def test_a_batch_that_cannot_be_noted_is_noted_when_the_database_lets_us_again(tmp_path: Path) -> None:
    with office(tmp_path) as place:
        deals = events(place)
        locked = StoreError("database store.db: another program holds it locked")
        with (
            raised(Store, "finish", locked, after=False, times=3),
            raised(Store, "settle_sending", locked, after=False, times=2),
            suppress(StoreError),
        ):
            place.run()
        store = place.service.store
        assert store.counts()[State.SENDING] > 0, "nothing could be written"
        turns(place)
        exactly_once(place, deals)
        assert {row.attempts for row in store.operations(state=State.DONE)} <= {0, 1}, "known outcomes were kept"
        assert not [row for row in store.operations() if row.noticed]


def test_a_refused_command_beside_a_refused_reading_leaves_no_operation_half_way(tmp_path: Path) -> None:
    from tests.test_road import ENDINGS

    with office(tmp_path, ENDINGS) as place:
        deal = place.add_deal()
        place.run()
        place.wait(minutes=5)
        place.move(deal, "PREPARATION")

        def refuse(name: str) -> None:
            if name == "send:before" and not place.portal.faults.counts():
                place.portal.faults.next("refuse", "tasks.task.complete")
                place.portal.faults.next("refuse", "tasks.task.list")

        with raised_at(refuse), suppress(PortalError):
            place.run()
        assert State.SENDING not in place.service.store.counts()
        place.portal.faults.clear()
        turns(place)
        statuses = {task.xml_id.split(":")[2]: task.status for task in place.tasks(deal)}
        assert statuses == {"finish": 5, "rest": 6, "keep": 2}
        assert not place.service.store.operations(state=State.FAILED)


def test_one_outcome_that_the_store_cannot_note_keeps_no_other_from_being_noted(tmp_path: Path) -> None:
    with office(tmp_path) as place:
        deals = [place.add_deal(f"Deal {number}") for number in range(3)]
        finish = operations.finish

        def stumble(connection: Any, outcomes: Any, *moments: Any) -> None:
            outcomes = list(outcomes)
            named = {row.id: row.operation.deal_id for row in place.service.store.operations()}
            if any(named[one.id] == deals[1] and one.state is State.DONE for one in outcomes):
                raise ValueError("task 1 belongs to another one already")
            finish(connection, outcomes, *moments)

        operations.finish = stumble
        try:
            take_in(place.context)
            sender.send(place.context.sender, sender.Applied())
        finally:
            operations.finish = finish
        states = {row.operation.deal_id: row.state for row in place.service.store.operations()}
        assert [states[deal] for deal in deals] == [State.DONE, State.UNKNOWN, State.DONE]
        turns(place)
        assert [place.marks(deal) for deal in deals] == [["first-call"]] * 3
        assert place.service.store.counts().keys() == {State.DONE}


def test_what_stays_half_way_is_said_everywhere_and_looked_up(tmp_path: Path) -> None:
    with office(tmp_path) as place:
        deal = place.add_deal()
        place.service.turn({"poll"}, wide=True)
        service, store = place.service, place.service.store
        assert service.health().ready
        with store._database.writing() as connection:
            sent = service.clock() - STUCK - timedelta(seconds=1)
            connection.execute(update(schema.operations).values(state=State.SENDING.value, sent=sent, ended=None))
        assert "5 minutes: 1" in service.health().reason
        assert service.numbers()["stuck"] == 1
        assert state_of_things(store, service.settings, now=service.clock())["stuck"] == 1
        service.turn({"poll"}, wide=True)
        assert service.health().ready
        assert place.marks(deal) == ["first-call"]
        assert [notice for notice in place.portal.state.notices_of(1) if "five minutes" in notice.text]


@pytest.mark.parametrize("ahead", [-3300.0, 0.0, 3300.0])
def test_a_clock_that_was_set_makes_nothing_half_way_and_hides_nothing_that_is(tmp_path: Path, ahead: float) -> None:
    """``status`` is another process: it knows when something was sent by the clock of who sent it."""
    with office(tmp_path) as place:
        place.add_deal()
        place.run()
        service, store = place.service, place.service.store
        store.flags.last_pass = datetime.now(UTC)
        store.flags.clock_origin = f"{lease.THIS_BOOT} {Clock().base - ahead!r}"
        for age, stuck in ((timedelta(seconds=1), 0), (STUCK + timedelta(seconds=1), 1)):
            with store.writing("test") as connection:
                sent = datetime.now(UTC) - timedelta(seconds=ahead) - age
                connection.execute(update(schema.operations).values(state=State.SENDING.value, sent=sent, ended=None))
            store.renew_lease(place.context.sender.epoch, sent)
            things = state_of_things(store, service.settings, now=datetime.now(UTC), moved=clock_shift(store))
            assert things["stuck"] == stuck
            assert (things["verdict"] == "stopped") == bool(stuck), "what was not renewed for so long is not there"
