"""The service as it is run: a process of its own, the sandbox portal over HTTP, its web side, signals, kills."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from bitrix_sandbox.http.server import Sandbox
from bitrix_sandbox.state.seed import CODE, SCOPES
from tests import postgres
from tests.world.company import MONDAY
from tests.world.office import RULES
from tests.world.process import Running, event, until
from tests.world.shell import Ran, Shell
from tests.world.town import Town, portal_on_a_monday, same_store

TOKEN = "token0of0outgoing0webhook"
NEVER = "3600"


def figures(service: Running) -> dict[str, float]:
    """What /metrics tells, by name with its labels."""
    status, text = service.get("/metrics")
    assert status == 200
    lines = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in lines}


# --- by events alone -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Town, Running]]:
    """A service that never polls: whatever it notices, an event told it."""
    with portal_on_a_monday() as portal:
        town = Town(tmp_path_factory.mktemp("told"), portal)
        service = town.run(BITRIX_POLL_SECONDS=NEVER, BITRIX_APPLICATION_TOKEN=f"another,{TOKEN}")
        portal.events.subscribe(f"{service.url}/webhooks/bitrix24", TOKEN)
        service.ready()
        yield town, service
        service.kill()


def test_an_event_brings_a_new_deal_its_task(told: tuple[Town, Running]) -> None:
    town, _ = told
    deal = town.add_deal()
    until(town.has(deal, "first-call"))


def test_an_event_brings_a_moved_deal_the_next_stages_task_with_its_check_list(told: tuple[Town, Running]) -> None:
    town, _ = told
    deal = town.add_deal()
    until(town.has(deal, "first-call"))
    town.move(deal, "PREPARATION")
    until(town.has(deal, "first-call", "presentation"))
    task = max(town.portal.state.tasks.values(), key=lambda task: task.id)
    until(lambda: len(task.checklist or {}) == 3)


def test_a_burst_of_events_makes_each_task_once(told: tuple[Town, Running]) -> None:
    town, _ = told
    town.portal.events.weather.duplicate = 0.5
    deals = [town.add_deal(f"Deal {number}") for number in range(40)]
    until(lambda: all(town.rules_of(deal) for deal in deals))
    town.portal.events.settle()
    town.portal.events.weather.duplicate = 0.0
    assert [town.rules_of(deal) for deal in deals] == [["first-call"]] * 40


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (event("wrong-token"), 403),
        (event(""), 403),
        (b"", 400),
        (b"event=ONCRMDEALADD", 400),
        (b"\x00\xff\xfe%%%=&&&", 400),
        (b"x" * 70_000, 413),
    ],
)
def test_what_is_no_genuine_event_is_refused_and_wakes_nobody(
    told: tuple[Town, Running], body: bytes, status: int
) -> None:
    town, service = told
    until(lambda: town.portal.events.settle() and not town.portal.events.waiting())
    until(lambda: figures(service)["bitrix_sync_last_pass_age_seconds"] > 1.5)  # what those events woke has been read
    before = town.portal.journal.requests.total()
    assert service.post("/webhooks/bitrix24", body)[0] == status
    assert town.portal.journal.requests.total() == before
    assert "Traceback" not in service.said


def test_a_genuine_event_is_taken_at_once(told: tuple[Town, Running]) -> None:
    assert told[1].post("/webhooks/bitrix24", event(TOKEN))[0] == 200


def test_the_web_side_says_that_all_is_well_and_keeps_the_page_to_whoever_has_a_password(
    told: tuple[Town, Running],
) -> None:
    _, service = told
    assert service.get("/healthz") == (200, "ok\n")
    assert service.why_not_ready == ""
    status, page = service.get("/")
    assert status == 403, "events come in from outside, so may anybody"
    assert "BITRIX_PAGE_PASSWORD" in page


def test_the_metrics_count_what_was_done(told: tuple[Town, Running]) -> None:
    town, service = told
    until(town.has(town.add_deal(), "first-call"))
    until(lambda: figures(service)['bitrix_sync_operations{state="done"}'] >= 1)
    assert figures(service)["bitrix_sync_requests_total"] >= 1
    assert figures(service)["bitrix_sync_ready"] == 1


def test_a_changed_rules_file_is_taken_up(told: tuple[Town, Running]) -> None:
    town, service = told
    file = town.folder / "rules.yaml"
    file.write_text(RULES.replace("Call:", "Ring:") + "\n", encoding="utf-8")
    until(lambda: "rules loaded" in service.said)
    deal = town.add_deal("Lotos")
    until(town.has(deal, "first-call"))
    assert any(task.title == "Ring: Lotos" for task in town.portal.state.tasks.values())


def test_nothing_that_the_service_says_holds_a_secret(told: tuple[Town, Running]) -> None:
    _, service = told
    service.ready()
    spoken = service.said + "".join(service.get(path)[1] for path in ("/readyz", "/metrics", "/"))
    assert CODE not in spoken
    assert TOKEN not in spoken


# --- by polling alone ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def polling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Town, Running]]:
    """A service that no event reaches."""
    with portal_on_a_monday() as portal:
        town = Town(tmp_path_factory.mktemp("polling"), portal)
        service = town.run(BITRIX_POLL_SECONDS="0.5").ready()
        yield town, service
        service.kill()


def test_without_a_password_the_page_is_shown_on_the_machine_itself(polling: tuple[Town, Running]) -> None:
    _, service = polling
    status, page = service.get("/")
    assert status == 200
    assert "<html" in page
    assert service.get("/nosuch")[0] == 404


def test_without_any_event_a_new_deal_gets_its_task(polling: tuple[Town, Running]) -> None:
    town, service = polling
    until(town.has(town.add_deal(), "first-call"))
    assert service.post("/webhooks/bitrix24", event(TOKEN))[0] == 404, "there is no unguarded door"


def test_a_change_of_funnel_is_seen(polling: tuple[Town, Running]) -> None:
    town, _ = polling
    deal = town.add_deal("From the service funnel", "C5:NEW", funnel=5)
    town.move(deal, "NEW")
    until(town.has(deal, "first-call"))


def test_what_happened_while_it_was_down_is_made_up_for(polling: tuple[Town, Running]) -> None:
    town, service = polling
    assert service.end() == 0
    assert "Traceback" not in service.said
    deal = town.add_deal()
    for stage in ("PREPARATION", "UC_OFFER1"):
        town.portal.clock.advance(timedelta(minutes=20))
        town.move(deal, stage)
    service.start()
    until(town.has(deal, "first-call", "presentation", "ask"))


def test_a_killed_service_neither_loses_nor_doubles_a_task(polling: tuple[Town, Running]) -> None:
    town, service = polling
    service.ready()
    deals = [town.add_deal(f"Deal {number}") for number in range(60)]
    for made in (1, 20):
        until(lambda made=made: sum(bool(town.rules_of(deal)) for deal in deals) >= made)
        service.kill()
        service.start()
    until(lambda: all(town.rules_of(deal) for deal in deals))
    service.ready()
    assert [town.rules_of(deal) for deal in deals] == [["first-call"]] * 60


@pytest.mark.skipif(bool(postgres.server()), reason="of a file")
def test_a_second_service_on_the_same_database_waits(polling: tuple[Town, Running], tmp_path: Path) -> None:
    town, service = polling
    service.ready()
    second = Running(tmp_path, {**town.environ, **same_store(town), "BITRIX_POLL_SECONDS": "0.5"})
    until(lambda: "another process" in second.why_not_ready)
    assert service.end() == 0
    second.ready()
    until(town.has(town.add_deal(), "first-call"))
    assert second.end() == 0
    service.start()


def test_scheduler_alone_is_the_service_without_its_web_side(tmp_path: Path) -> None:
    """``python scheduler.py`` makes tasks, sweeps, and ends with SIGTERM; it opens no address."""
    with portal_on_a_monday() as portal:
        sweeps = 'overdue: {tasks: deals, evening: {at: "12:00", move_to: {after: 1 workday}}}\n'
        town = Town(tmp_path, portal, RULES + sweeps)
        late = portal.state.add_task("Offer", responsible=5, deadline=MONDAY, by=5, deals=[town.add_deal("Vector")])
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = taken.getsockname()
        environ = {**town.environ, "BITRIX_POLL_SECONDS": "0.5", "BITRIX_LISTEN": f"127.0.0.1:{address[1]}"}
        service = Running(tmp_path, environ, script="scheduler.py")
        until(lambda: "working" in service.said)
        deal = town.add_deal()
        until(town.has(deal, "first-call"))
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, timeout=1)
        assert service.end() == 0
        portal.clock.set(MONDAY.replace(hour=12))
        service.start()  # what is due is seen at once then, else within twenty seconds
        until(lambda: portal.state.tasks[late].deadline == MONDAY.replace(day=3, hour=18))
        assert service.end() == 0
    assert "Traceback" not in service.said


def test_a_portal_that_goes_away_is_told_by_readyz_and_waited_for(tmp_path: Path) -> None:
    with portal_on_a_monday() as portal:
        town, port = Town(tmp_path, portal), portal.port
    service = town.run(BITRIX_POLL_SECONDS="0.5")
    assert service.get("/healthz")[0] == 200
    assert "cannot be reached" in service.why_not_ready
    assert "127.0.0.1" in service.why_not_ready
    with portal_on_a_monday(port=port) as town.portal:
        service.ready()
        town.portal.state.set_scopes(1, CODE, set(SCOPES) - {"task"})
        until(lambda: "'task'" in service.why_not_ready)
        town.portal.state.set_scopes(1, CODE, SCOPES)
        until(town.has(town.add_deal(), "first-call"))
        assert service.end(signal.SIGINT) == 130
    assert "Traceback" not in service.said
    assert CODE not in service.said


def test_what_the_portal_refuses_is_told_once_and_made_when_a_new_file_removes_the_cause(tmp_path: Path) -> None:
    """The portal demands a field of tasks that the rules do not fill; then they do, while the service runs."""
    with portal_on_a_monday() as portal:
        portal.state.add_task_field("UF_OBJECT", "Object", "string", mandatory=True)
        town = Town(tmp_path, portal)
        service = town.run(BITRIX_POLL_SECONDS="0.5").ready()
        deals = [town.add_deal(f"Deal {number}") for number in range(30)]
        until(lambda: portal.state.notices_of(1))
        until(lambda: service.said.count("the portal refused") == len(deals))
        rules = tmp_path / "rules.yaml"
        filled = RULES.replace("- id: first-call\n", "- id: first-call\n        fields: {UF_OBJECT: x}\n")
        rules.write_text(filled, encoding="utf-8")
        until(lambda: all(town.rules_of(deal) == ["first-call"] for deal in deals))
        (notice,) = portal.state.notices_of(1)
        assert 'Field "Object" is required' in notice.text
        assert service.end() == 0
    assert "Traceback" not in service.said


def test_sigterm_ends_it_though_the_portal_hangs(tmp_path: Path) -> None:
    with portal_on_a_monday() as portal:
        town = Town(tmp_path, portal)
        service = town.run(BITRIX_POLL_SECONDS="0.5").ready()
        portal.faults.next("hang", hold=60, times=5)
        town.add_deal()
        until(lambda: portal.faults.struck)
        assert service.end() == 0
    assert "Traceback" not in service.said


# --- what ends it before it has begun --------------------------------------------------------------------------------


@pytest.fixture
def start(sandbox: Sandbox, tmp_path: Path) -> Callable[..., Ran]:
    """``bitrix-sync run`` with settings that are not right; it must end by itself."""
    town = Town(tmp_path, sandbox)
    return lambda **settings: Shell(tmp_path, town.environ)("run", **settings)


def refused(ran: Ran, *words: str, lines: int = 1) -> None:
    """It ended with 1 and said this, in so many lines, on stderr alone."""
    assert ran.code == 1, ran
    assert ran.out == ""
    assert all(word in ran.err for word in words), ran.err
    assert len(ran.err.splitlines()) == lines, ran.err
    assert CODE not in ran.err


def test_wrong_settings_are_told_each_in_a_line_with_what_to_write(start: Callable[..., Ran]) -> None:
    ran = start(BITRIX_POLL_SECONDS="soon", BITRIX_RATE="fast")
    refused(ran, "BITRIX_POLL_SECONDS: ", "BITRIX_RATE: ", "; write ", lines=2)


def test_a_refused_webhook_is_told_with_what_to_do(start: Callable[..., Ran], sandbox: Sandbox) -> None:
    ran = start(BITRIX_WEBHOOK_URL=sandbox.url_of(1, "wrong0code9999"))
    refused(ran, "the portal does not know this webhook", "make a new incoming webhook")
    assert "wrong0code9999" not in ran.err


@pytest.mark.parametrize("scope", ["crm", "task", "user_basic"])
def test_a_scope_without_which_nothing_goes_is_named(scope: str, tmp_path: Path) -> None:
    with portal_on_a_monday() as portal:
        portal.state.set_scopes(1, CODE, set(SCOPES) - {scope})
        refused(Shell(tmp_path, Town(tmp_path, portal).environ)("run"), f"lacks the scope '{scope}'", "tick it")


def test_every_error_of_a_rules_file_is_told_with_line_and_column(start: Callable[..., Ran], tmp_path: Path) -> None:
    wrong = RULES.replace("workminutes", "fortnights").replace("title: Present", "name: Present")
    (tmp_path / "rules.yaml").write_text(wrong, encoding="utf-8")
    ran = start()
    assert ran.code == 1
    places = [line.split(":")[:3] for line in ran.err.splitlines()]
    assert {file for file, _, _ in places} == {"rules.yaml"}
    assert len({line for _, line, _ in places}) >= 2
    assert all(column.isdigit() for _, _, column in places)
    assert not list(tmp_path.glob("*.db")), "nothing was started"


def test_a_name_that_the_portal_lacks_is_told_with_those_it_has(start: Callable[..., Ran], tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(RULES.replace("Презентация:", "Презентации:"), encoding="utf-8")
    refused(start(), "rules.yaml:", "Презентации", "Презентация")


def test_an_address_that_is_taken_is_told(start: Callable[..., Ran], sandbox: Sandbox) -> None:
    refused(start(BITRIX_LISTEN=sandbox.host), "BITRIX_LISTEN", "already in use", "a free port")


def test_a_database_without_its_directory_is_told(start: Callable[..., Ran]) -> None:
    refused(start(DATABASE_URL="sqlite:////no/such/place/x.db"), "/no/such/place", "DATABASE_URL")
