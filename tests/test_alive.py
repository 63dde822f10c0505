"""A process never only looks alive: threads that die or give no sign, clocks that are set, a lease that is lost."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bitrix_sync import app
from bitrix_sync.app import Service
from bitrix_sync.clock import Clock
from bitrix_sync.settings import load_settings
from tests.world.office import Office, office
from tests.world.process import Running, until
from tests.world.town import Town, portal_on_a_monday, same_store

FATED = "tests/world/fated.py"
EXCEPTIONS: tuple[BaseException, ...] = (SystemExit(), SystemExit(0), asyncio.CancelledError(), GeneratorExit())


# --- threads ---------------------------------------------------------------------------------------------------------


FATES = (
    "worker:SystemExit",
    "worker:CancelledError",
    "suffer:KeyError",
    "suffer:MemoryError",
    "lease:CancelledError",
    "web:ValueError",
    "web:SystemExit",
)


def test_a_process_that_loses_a_thread_ends_with_3(tmp_path: Path) -> None:
    with portal_on_a_monday() as portal:
        town = Town(tmp_path, portal, BITRIX_POLL_SECONDS="0.5")
        for fate in FATES:
            service = Running(tmp_path, {**town.environ, "FATE_DIES": fate}, script=FATED)
            assert service.wait() == 3, (fate, service.said)
            assert "stopping" in service.said, fate
        later = town.run().ready()
        until(town.has(town.add_deal(), "first-call"))
        assert later.end() == 0


@pytest.mark.parametrize("fate", ["start:SystemExit", "start:CancelledError"])
def test_a_start_that_nobody_ends_has_exit_code_3(tmp_path: Path, fate: str) -> None:
    with portal_on_a_monday() as portal:
        town = Town(tmp_path, portal)
        assert Running(tmp_path, {**town.environ, "FATE_DIES": fate}, script=FATED).wait() == 3


@pytest.mark.parametrize("fate", ["lease:SystemExit", "start:SystemExit"])
def test_the_service_without_its_web_side_ends_with_3_too(tmp_path: Path, fate: str) -> None:
    with portal_on_a_monday() as portal:
        town = Town(tmp_path, portal)
        script = tmp_path / "run.py"
        script.write_text("import tests.world.fated, scheduler, sys\nsys.exit(scheduler.main())\n", encoding="utf-8")
        environ = {**town.environ, "BITRIX_POLL_SECONDS": "0.5", "FATE_DIES": fate}
        assert Running(tmp_path, environ, script=str(script)).wait() == 3


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Office]:
    with office(tmp_path) as found:
        yield found


@pytest.mark.parametrize("fault", [*EXCEPTIONS, ValueError("x"), None], ids=repr)
def test_whatever_ends_a_tended_thread_is_told_and_ends_the_service(place: Office, fault: BaseException | None) -> None:
    def work() -> None:
        if fault is not None:
            raise fault

    place.service.begin(app.WORKER, work).join()
    assert place.service.stopping.is_set()
    assert app.WORKER in place.service.failed
    assert not place.service.alive().ready
    assert place.service.health().reason == place.service.failed


def test_a_service_that_cannot_even_say_why_it_ends_ends_all_the_same(
    place: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(app, "log", type("Log", (), {"critical": no_memory}))
    monkeypatch.setattr(threading, "excepthook", lambda _args: None)
    place.service.begin(app.WORKER, no_memory).join()
    assert place.service.stopping.is_set()
    assert app.WORKER in place.service.failed


def test_a_thread_that_ends_because_we_stop_or_its_work_is_over_is_no_failure(place: Office) -> None:
    over = threading.Event()
    over.set()
    place.service.begin(app.LEASE, lambda: None, over).join()
    assert place.service.failed == ""
    place.service.stop()
    place.service.begin(app.LEASE, lambda: None).join()
    assert place.service.failed == ""


def test_a_thread_that_is_about_to_begin_is_not_taken_for_one_that_has_ended(
    place: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, seen = threading.Thread.start, []

    def start(thread: threading.Thread) -> None:
        seen.append(place.service.alive().reason)
        begin(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    place.service.begin(app.LEASE, place.service.stopping.wait)
    assert seen == ["ok"]


def test_a_thread_that_gives_no_sign_is_told(place: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    thread = place.service.begin(app.LEASE, over.wait)
    monkeypatch.setattr(app, "FRESH", 0.0)
    assert place.service.alive().ready, "nothing has been promised yet"
    place.service.give_sign(app.LEASE)
    until(lambda: not place.service.alive().ready)
    assert app.LEASE in place.service.health().reason
    place.service.stop()
    over.set()
    thread.join()


# --- the machine's clock ---------------------------------------------------------------------------------------------

HOUR = 3600.0


@pytest.mark.parametrize("jump", [-55 * 60, 55 * 60, 400 * 24 * HOUR])
def test_our_time_goes_on_when_the_machines_clock_is_set(jump: float) -> None:
    wall, steady = [1_766_000_000.0], [5000.0]
    clock = Clock(lambda: wall[0], lambda: steady[0])
    begun = clock()
    assert begun == datetime.fromtimestamp(wall[0], UTC)
    wall[0] += jump
    steady[0] += 10.0
    assert clock() - begun == timedelta(seconds=10)
    assert clock.wall() - begun == timedelta(seconds=jump)


def test_a_driven_clock_is_what_drives_it() -> None:
    now = [datetime(2026, 3, 2, tzinfo=UTC)]
    clock = Clock.driven(lambda: now[0])
    now[0] += timedelta(days=3)
    assert clock() == clock.wall() == now[0]


class Machine:
    """A machine whose clock is set at will, with the service on it."""

    def __init__(self, town: Town) -> None:
        self.town, self.file = town, town.folder / "clock"
        self.set(0.0)
        environ = {**town.environ, "BITRIX_POLL_SECONDS": "0.5", "FATE_CLOCK": str(self.file)}
        self.service = Running(town.folder, environ, script=FATED).ready()

    def set(self, wrong: float) -> None:
        """The clock is wrong by so many seconds from now on."""
        part = self.file.with_suffix(".part")
        part.write_text(str(wrong))
        part.replace(self.file)

    def command(self, folder: Path, *words: str) -> int:
        """The exit code of a command that is given now, on the same machine."""
        folder.mkdir()
        environ = {**self.town.environ, **same_store(self.town), "FATE_CLOCK": str(self.file)}
        return Running(folder, environ, *words, script=FATED).wait()


def test_a_clock_that_is_set_stops_nothing_and_lets_no_command_take_the_lease(tmp_path: Path) -> None:
    with portal_on_a_monday() as portal:
        town = Town(tmp_path, portal)
        machine = Machine(town)
        for number, wrong in enumerate((-55 * 60.0, 55 * 60.0, 3 * 24 * HOUR, -3 * 24 * HOUR, 0.0)):
            machine.set(wrong)
            assert machine.command(tmp_path / f"command{number}", "sync") == 0
            deal = town.add_deal()
            until(town.has(deal, "first-call"))
            town.move(deal, "PREPARATION")
            until(town.has(deal, "first-call", "presentation"))
            assert machine.service.get("/healthz")[0] == 200
            machine.service.ready()
        assert "taken over" not in machine.service.said
        assert machine.service.end() == 0


def test_people_and_names_are_read_anew_though_the_portals_clock_was_put_back(place: Office) -> None:
    book, portal = place.context.rulebook, place.context.portal
    assert not book.company_is_old(portal.now())
    assert not book.freshen(portal.now())
    back = portal.now() - timedelta(hours=3)
    assert book.company_is_old(back)
    assert book.freshen(back)


# --- the lease -------------------------------------------------------------------------------------------------------


def test_who_loses_the_lease_waits_and_goes_on_when_it_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "WAIT_PAUSE", 0.1)
    with office(tmp_path) as place:
        service, store = place.service, place.service.store
        store.drop_lease(place.context.sender.epoch)
        other = store.take_lease("elsewhere:1", 1, "elsewhere", service.time())
        assert other is not None
        worker = service.begin(app.WORKER, service.work)
        service.renew_lease()
        until(lambda: service.trouble.startswith("waiting"))
        deal = place.add_deal()
        assert not service.health().ready
        store.drop_lease(other)
        until(lambda: place.marks(deal) == ["first-call"])
        until(lambda: service.health().ready)
        assert service.hold is not None
        assert service.hold.epoch > other
        service.stop()
        worker.join()
        assert service.failed == ""


def test_a_waiting_service_leaves_the_others_trouble_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "WAIT_PAUSE", 0.1)
    with office(tmp_path) as place:
        second = Service(load_settings(place.environ, None))
        monkeypatch.setattr(second, "take_lease", lambda: False)  # one process cannot wait for itself
        worker = second.begin(app.WORKER, second.work)
        until(lambda: second.trouble.startswith("waiting"))
        second.stop()
        worker.join()
        assert not place.service.store.flags.trouble
        second.close()
