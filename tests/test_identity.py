"""The store knows its portal, and recognises nothing by a number alone: other portals, portals put back, lost data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bitrix_sandbox.http.server import Sandbox
from bitrix_sandbox.state.clock import Clock
from bitrix_sandbox.state.portal import PortalState
from bitrix_sandbox.state.seed import build_department
from bitrix_sync.commands import changes
from bitrix_sync.engine import identity, recognition
from bitrix_sync.engine.passes import carry_out, take_in
from bitrix_sync.errors import ForeignPortal
from bitrix_sync.model.actions import Kind, unpack
from bitrix_sync.model.operations import Changeset, Operation, State
from bitrix_sync.model.reading import Reading
from bitrix_sync.settings import load_settings
from bitrix_sync.setup.check import examine
from bitrix_sync.store import Store
from tests.world.company import MONDAY
from tests.world.office import Office, office
from tests.world.process import Running, event, until
from tests.world.shell import Shell

RULES = """
version: 1
language: en
timezone: Europe/Moscow
admins: [1]
calendar: {hours: "09:00-18:00"}
fallback_owner: 1
funnels:
  Продажи:
    Новая заявка:
      - {id: first-call, title: "Call: {{ deal.TITLE }}", deadline: {after: 30 workminutes}, on_leave: complete}
    Презентация:
      - {id: presentation, title: Present, deadline: {after: 2 workdays}, checklist: [Materials, Time]}
overdue:
  evening: {at: "18:30", move_to: {after: 1 workday}}
"""
TOKEN = "abcdefghijklmnop"


def empty(clock: Clock) -> PortalState:
    """A portal whose people have not begun to work."""
    return build_department(clock, work=False)


@contextmanager
def two_portals(folder: Path) -> Iterator[tuple[Office, Sandbox]]:
    """A service at work on one portal, and another portal beside it."""
    clock = Clock()
    clock.set(MONDAY + timedelta(days=30))
    with office(folder, RULES) as place, Sandbox(empty(clock), rate=None) as other:
        yield place, other


def people_at_work(portal: Sandbox, deals: int) -> dict[int, Any]:
    """Deals and tasks of people on a portal where the service never was; the tasks by id, as they are now."""
    for number in range(deals):
        deal = portal.state.add_deal(f"Other {number}", stage="NEW", responsible=7, by=7)
        portal.state.move_deal(deal, "PREPARATION", by=7)
        portal.state.add_task(f"Own {number}", responsible=7, by=7, deadline=portal.clock.now() - timedelta(hours=2))
    return {number: snapshot(task) for number, task in portal.state.tasks.items()}


def snapshot(task: Any) -> tuple[Any, ...]:
    return task.title, task.status, task.deadline, task.responsible_id, len(task.checklist or {}), task.xml_id


def said(portal: Sandbox) -> str:
    """All that people were told."""
    return "\n".join(one.text for one in (*portal.state.messages.values(), *portal.state.notices))


def read(office: Office) -> None:
    """A pass with all its overlap, as at a start."""
    office.run(wanted=Reading(timedelta(hours=1)))


# --- portals ---------------------------------------------------------------------------------------------------------


def test_a_portal_is_known_by_its_history(tmp_path: Path) -> None:
    with office(tmp_path, RULES) as place:
        for _ in range(3):
            place.add_deal()
        read(place)
        standing = identity.look(place.service.store, place.service.portal)
        assert not standing.foreign
        assert (len(standing.true) > 3, standing.contradicted, standing.vanished) == (True, [], 0)


def test_another_portal_is_refused_and_nothing_is_written_to_it(tmp_path: Path) -> None:
    with two_portals(tmp_path) as (place, other):
        for _ in range(5):
            place.add_deal()
        read(place)
        before = people_at_work(other, 5)
        place.service.close()
        place.environ["BITRIX_WEBHOOK_URL"] = other.url
        with pytest.raises(ForeignPortal, match=r"DATABASE_URL.*--same-portal"):
            place.start()
        assert {number: snapshot(task) for number, task in other.state.tasks.items()} == before
        assert said(other) == ""


def test_a_portal_at_another_address_whose_history_is_the_same_goes_on(tmp_path: Path) -> None:
    with ExitStack() as stack:
        place = stack.enter_context(office(tmp_path, RULES))
        place.add_deal()
        read(place)
        moved = stack.enter_context(Sandbox(place.portal.state, rate=None))
        place.environ["BITRIX_WEBHOOK_URL"] = moved.url
        place.restart()
        assert place.service.store.flags.portal_host == moved.host


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("portal.bitrix24.ru", "Portal.Bitrix24.RU", True),
        ("portal.bitrix24.ru", "portal.bitrix24.ru:443", True),
        ("portal.bitrix24.ru", "portal.bitrix24.ru.", True),
        ("портал.рф", "xn--80awhdgm.xn--p1ai", True),
        ("127.0.0.1:8080", "127.0.0.1:8081", False),
        ("portal.bitrix24.ru", "portal.bitrix24.by", False),
        ("portal.bitrix24.ru", "//[", False),
    ],
)
def test_a_host_is_one_however_it_is_spelled(one: str, other: str, alike: bool) -> None:
    assert (identity.plain_host(one) == identity.plain_host(other)) is alike
    standing = identity.Standing(identity.plain_host(other), before=one)
    assert standing.foreign is not alike, "nothing else speaks for it or against it"


def test_rows_that_vanished_prove_nothing(tmp_path: Path) -> None:
    with office(tmp_path, RULES) as place:
        deal = place.add_deal()
        read(place)
        place.portal.state.delete_deal(deal)
        place.restart()
        standing = identity.look(place.service.store, place.service.portal)
        assert (standing.foreign, standing.vanished) == (False, 1)


def test_a_portal_made_anew_at_the_same_address_is_refused_once_its_history_shows_it(tmp_path: Path) -> None:
    with office(tmp_path, RULES) as place:
        for _ in range(5):
            place.add_deal()
        read(place)
        place.wait(days=3)
        place.portal.make_anew()
        place.restart()  # an empty portal proves nothing
        read(place)
        before = people_at_work(place.portal, 1)
        with pytest.raises(ForeignPortal):
            read(place)
        with pytest.raises(ForeignPortal):
            place.restart()
        assert {number: snapshot(task) for number, task in place.portal.state.tasks.items()} == before


@pytest.mark.parametrize("command", ["sweep", "release", "remove", "backfill"])
def test_much_is_done_at_once_on_no_portal_that_was_made_anew_while_the_service_runs(
    tmp_path: Path, command: str
) -> None:
    rules = RULES.replace("overdue:\n", "overdue:\n  tasks: all\n")
    with office(tmp_path, rules) as place:
        for _ in range(5):
            place.add_deal()
        read(place)
        place.wait(days=3)
        place.portal.make_anew()
        before = people_at_work(place.portal, 5)
        args = {"name": "evening", "rule": "first-call", "since": "2026-03-01"}
        with pytest.raises(ForeignPortal):
            changes.perform(place.context, command, args if command != "backfill" else {})
        assert {number: snapshot(task) for number, task in place.portal.state.tasks.items()} == before


def test_an_administrator_may_say_that_it_is_the_same_portal(tmp_path: Path) -> None:
    with two_portals(tmp_path) as (place, other):
        place.add_deal()
        read(place)
        deal = other.state.add_deal("Other", stage="NEW", responsible=7, by=7)
        place.service.close()
        settings = load_settings({**place.environ, "BITRIX_WEBHOOK_URL": other.url}, None)
        place.service = type(place.service)(settings, same_portal=True)
        assert place.service.take_lease()
        place.context = place.service.open()
        other.state.move_deal(deal, "PREPARATION", by=7)
        read(place)
        assert [task.xml_id for task in other.state.tasks.values() if f"D_{deal}" in task.crm][-1:] == [
            f"bitrix-sync:{other.state.deals[deal].history[-1]}:presentation"
        ]
        place.environ["BITRIX_WEBHOOK_URL"] = other.url
        place.restart()  # said once, for good


# --- a portal put back ---------------------------------------------------------------------------------------------


def test_rows_whose_ids_are_used_again_are_other_visits(tmp_path: Path) -> None:
    with office(tmp_path, RULES) as place:
        kept = place.add_deal("Kept")
        read(place)
        place.portal.state.back_up()
        place.wait(minutes=5)
        place.move(kept, "PREPARATION")
        lost = [place.add_deal(f"Lost {number}") for number in range(4)]
        read(place)
        assert [task.status for task in place.tasks(kept)] == [5, 2]
        place.wait(hours=2)
        place.portal.state.put_back()
        new = [place.add_deal(f"New {number}") for number in range(4)]
        assert new == lost, "the ids of deals, and of their rows, are used again"
        read(place)
        assert [place.marks(deal) for deal in new] == [["first-call"]] * 4
        assert [task.title for deal in new for task in place.tasks(deal)] == [f"Call: New {n}" for n in range(4)]
        for deal in new:
            (task,) = place.tasks(deal)
            assert task.xml_id == f"bitrix-sync:{place.portal.state.deals[deal].history[0]}:first-call"
        assert said(place.portal).count("put back from a backup") == 1
        place.move(kept, "PREPARATION")
        read(place)
        assert place.marks(kept) == ["first-call", "presentation"], "its visit has not ended twice, nor not at all"
        assert [task.status for task in place.tasks(kept)] == [5, 2]


def test_a_task_that_the_portal_lost_when_it_was_put_back_is_made_again(tmp_path: Path) -> None:
    with office(tmp_path, RULES) as place:
        deals = [place.add_deal(f"Kept {number}") for number in range(3)]
        place.run()
        place.wait(minutes=30)
        deal, deleted = place.add_deal("Between"), place.add_deal("Deleted")
        place.portal.state.back_up()
        place.run()
        assert place.marks(deal) == place.marks(deleted) == ["first-call"]
        place.portal.state.delete_task(place.tasks(deals[0])[0].id)
        place.wait(minutes=5)
        place.add_deal("Lost")
        read(place)
        place.wait(hours=2)
        place.portal.state.put_back()
        place.portal.state.add_task("Own", responsible=7, by=7)
        place.portal.state.delete_task(place.tasks(deals[0])[0].id)
        place.add_deal("New")
        read(place)
        place.wait(minutes=1)
        place.run()
        assert place.marks(deal) == place.marks(deleted) == ["first-call"]
        assert place.marks(deals[0]) == [], "that one a person deleted"
        assert len(place.tasks()) == 5
        read(place)
        assert len(place.tasks()) == 5


@pytest.mark.parametrize("now", ["the stay", "another stay", "nothing"])
def test_a_task_is_made_again_only_for_a_stay_that_the_portal_shows(tmp_path: Path, now: str) -> None:
    with office(tmp_path, RULES) as place:
        before = place.add_deal("Before")
        place.run()
        place.wait(minutes=30)
        deal = place.add_deal("Between")
        place.run()
        store, history, deals = place.context.store, place.portal.state.history, place.portal.state.deals
        visits = store.known_visits(history)
        (task,) = place.tasks(deal)
        place.portal.state.delete_task(task.id)
        row = history[deals[deal].history[-1]]
        if now == "another stay":
            history[row.id] = replace(row, deal_id=row.deal_id + 1)
        elif now == "nothing":
            del history[row.id]
        true = [visits[deals[before].history[-1]]]
        unmade = recognition.lost_tasks(store, place.context.portal, true, true)
        assert [record.portal_id for record in unmade] == [task.id] * (now == "the stay")


def test_the_service_comes_back_to_a_portal_that_was_put_back_meanwhile(tmp_path: Path) -> None:
    with office(tmp_path, RULES) as place:
        place.add_deal("Kept")
        read(place)
        place.portal.state.back_up()
        place.wait(minutes=5)
        place.add_deal("Lost")
        read(place)
        place.wait(hours=2)
        place.service.close()
        place.portal.state.put_back()
        new = place.add_deal("New")
        place.start()
        read(place)
        assert place.marks(new) == ["first-call"]
        assert "put back from a backup" in said(place.portal)
        place.restart()
        read(place)
        assert len(place.tasks(new)) == 1
        assert said(place.portal).count("put back from a backup") == 1


def test_a_persons_task_with_the_number_of_one_of_ours_is_left_alone(tmp_path: Path) -> None:
    with office(tmp_path, RULES) as place:
        deal = place.add_deal()
        place.portal.state.back_up()
        place.wait(minutes=5)
        read(place)
        (ours,) = place.tasks(deal)
        place.portal.state.put_back()
        place.wait(minutes=20)
        number = place.portal.state.add_task("Own", responsible=7, by=7)
        assert number == ours.id
        before = snapshot(place.portal.state.tasks[number])
        place.move(deal, "PREPARATION")
        read(place)
        assert snapshot(place.portal.state.tasks[number]) == before
        assert place.marks(deal) == ["presentation"]
        assert said(place.portal).count("belongs to another task") == 1


@pytest.mark.parametrize("kind", [Kind.DEADLINE, Kind.PEOPLE, Kind.COMPLETE, Kind.DEFER, Kind.RESUME, Kind.DELETE])
@pytest.mark.parametrize("part", [None, Kind.CHECKLIST, Kind.LINE])
def test_every_change_of_a_task_is_kept_from_one_with_another_mark(tmp_path: Path, kind: Kind, part: Kind) -> None:
    kind = part or kind
    with office(tmp_path, RULES) as place:
        deal = place.add_deal()
        read(place)
        (task,) = place.tasks(deal)
        ref = task.xml_id.removeprefix("bitrix-sync:")
        payloads: dict[Kind, dict[str, Any]] = {
            Kind.DEADLINE: {"deadline": "2026-03-09T10:00:00+03:00", "reason": "follow", "seen": None},
            Kind.PEOPLE: {"owner": 9, "seen": task.responsible_id},
            Kind.CHECKLIST: {"title": "Item", "index": 0},
            Kind.LINE: {"text": "Line"},
        }
        place.portal.state.change_task(task, 7, xml_id="persons-own", status=6 if kind is Kind.RESUME else 2)
        before, lines = snapshot(task), len(place.portal.state.messages)
        operations = tuple(
            Operation(f"x{turn}", unpack(kind, payloads.get(kind, {"reason": "leave"})), deal, ref) for turn in range(2)
        )
        place.context.store.record(
            Changeset(at=place.context.portal.now(), operations=operations), place.context.sender.epoch
        )
        carry_out(place.context)
        ended = place.context.store.operations(keys=["x0", "x1"])
        assert {row.state for row in ended} == {State.DROPPED}
        carry_out(place.context)
        assert snapshot(task) == before
        assert said(place.portal).count("belongs to another task") == 1
        assert len(place.portal.state.messages) + len(place.portal.state.notices) <= lines + 1
        (record,) = place.context.store.task_records(refs=[ref])
        assert (record.gone, record.portal_id) == (True, None)


def test_a_creation_whose_number_is_another_tasks_fails_and_is_found_by_its_mark(tmp_path: Path) -> None:
    with office(tmp_path, RULES) as place:
        first = place.add_deal()
        read(place)
        (ours,) = place.tasks(first)
        number = ours.id
        place.portal.state.drop_task(ours)
        place.portal.state._numbers["task"] = number - 2
        second = place.add_deal()
        read(place)
        (made,) = place.tasks(second)
        assert made.id == number
        read(place)
        records = {one.portal_id: one.deal_id for one in place.context.store.task_records() if one.rule_id}
        assert records == {None: first, number: second}


@pytest.mark.parametrize("own", [True, False])
def test_a_task_that_a_person_bound_to_another_deal_goes_with_that_one(tmp_path: Path, own: bool) -> None:
    with office(tmp_path, RULES) as place:
        deal, other = place.add_deal(), place.add_deal()
        read(place)
        (task,) = place.tasks(deal)
        bindings = (f"D_{other}", f"D_{deal}") if own else (f"D_{other}", "C_7")
        place.portal.state.change_task(task, 7, crm=bindings)
        place.wait(minutes=5)
        place.move(deal, "PREPARATION")
        place.portal.state.set_responsible(deal, 9, by=3)
        read(place)
        assert task.status == (5 if own else 2), "of another deal it is not completed"
        assert "presentation" in place.marks(deal)


# --- marks that nobody knows -----------------------------------------------------------------------------------------


def test_a_lost_database_takes_its_tasks_back_and_says_so(tmp_path: Path) -> None:
    with office(tmp_path, RULES) as place:
        deals = [place.add_deal() for _ in range(3)]
        read(place)
        place.service.close()
        place.environ["DATABASE_URL"] = f"sqlite:///{tmp_path / 'new.db'}"
        place.start()
        place.run()
        assert said(place.portal).count("database is new") == 1
        for deal in deals:
            place.move(deal, "PREPARATION")
        read(place)
        assert [place.marks(deal) for deal in deals] == [["first-call", "presentation"]] * 3
        assert {place.tasks(deal)[0].status for deal in deals} == {5}, "what it took back it also ends"


def test_a_task_taken_back_follows_the_responsible_unless_a_person_gave_it_to_another(tmp_path: Path) -> None:
    with office(tmp_path, RULES) as place:
        kept, given = place.add_deal(), place.add_deal()
        read(place)
        place.portal.state.set_owner(place.tasks(given)[0].id, 9, by=3)
        place.service.close()
        place.environ["DATABASE_URL"] = f"sqlite:///{tmp_path / 'new.db'}"
        place.start()
        read(place)
        place.wait(minutes=5)
        for deal in (kept, given):
            place.portal.state.set_responsible(deal, 21, by=3)
        read(place)
        assert (place.tasks(kept)[0].responsible_id, place.tasks(kept)[0].auditors) == (21, (19,))
        assert place.tasks(given)[0].responsible_id == 9


def test_a_task_taken_back_after_its_deadline_follows_the_field_that_it_was_counted_from(tmp_path: Path) -> None:
    due = '{before: 1 workday, field: UF_CRM_SHIP_DATE, at: "12:00", else: {after: 9 workdays}}'
    with office(tmp_path, RULES.replace("{after: 30 workminutes}", due)) as place:
        deal = place.add_deal(fields={"UF_CRM_SHIP_DATE": "2026-03-06"})
        read(place)
        place.portal.clock.set(MONDAY + timedelta(days=10))
        place.service.close()
        place.environ["DATABASE_URL"] = f"sqlite:///{tmp_path / 'new.db'}"
        place.start()
        read(place)
        place.wait(minutes=5)
        place.portal.state.set_fields(deal, {"UF_CRM_SHIP_DATE": "2026-03-20"}, by=5)
        read(place)
        (task,) = place.tasks(deal)
        assert f"{task.deadline:%Y-%m-%d}" == "2026-03-19"


def test_an_older_database_put_back_takes_the_later_tasks_back(tmp_path: Path) -> None:
    with office(tmp_path, RULES) as place:
        place.add_deal()
        read(place)
        place.service.store.backup(tmp_path / "old.db")
        later = [place.add_deal() for _ in range(3)]
        read(place)
        place.wait(minutes=20)
        place.service.close()
        place.environ["DATABASE_URL"] = f"sqlite:///{tmp_path / 'old.db'}"
        place.start()
        read(place)
        assert [len(place.tasks(deal)) for deal in later] == [1, 1, 1]
        assert said(place.portal).count("older backup of the database") == 1
        read(place)
        records = {one.deal_id: one for one in place.context.store.task_records() if one.rule_id}
        assert {deal: records[deal].portal_id for deal in later} == {d: place.tasks(d)[0].id for d in later}


def test_two_services_with_two_databases_are_told(tmp_path: Path) -> None:
    with office(tmp_path, RULES) as place:
        place.add_deal()
        read(place)
        (tmp_path / "second").mkdir()
        second = Office(place.portal, tmp_path / "second", RULES, BITRIX_RATE="100/1000")
        try:
            deals = [place.add_deal() for _ in range(3)]
            for one in (place, second, place, second):
                read(one)
        finally:
            second.close()
        assert [len(place.tasks(deal)) for deal in deals] == [1, 1, 1]
        assert said(place.portal).count("Another bitrix-sync") >= 1


def test_two_services_that_make_a_task_at_the_same_moment_are_told(tmp_path: Path) -> None:
    with office(tmp_path, RULES) as place:
        place.add_deal()
        read(place)
        (tmp_path / "second").mkdir()
        second = Office(place.portal, tmp_path / "second", RULES, BITRIX_RATE="100/1000")
        try:
            read(second)
            deal = place.add_deal()
            for one in (place, second):
                take_in(one.context)
            for one in (place, second):
                carry_out(one.context)
            assert len(place.tasks(deal)) == 2
            for one in (place, second):
                read(one)
                read(one)
        finally:
            second.close()
        assert len(place.tasks(deal)) == 2, "each would delete the other's"
        assert said(place.portal).count("Another bitrix-sync") >= 1


def test_a_mark_whose_deal_is_another_is_no_task_of_ours(tmp_path: Path) -> None:
    with office(tmp_path, RULES) as place:
        deal, other = place.add_deal(), place.add_deal()
        row = place.portal.state.deals[deal].history[0]
        place.portal.state.add_task("Own", responsible=7, by=7, xml_id=f"bitrix-sync:{row}:gone-rule", deals=[other])
        read(place)
        assert not place.context.store.task_records(refs=[f"{row}:gone-rule"])


# --- as people meet it -----------------------------------------------------------------------------------------------


def environ(portal: Sandbox, folder: Path, **more: str) -> dict[str, str]:
    (folder / "rules.yaml").write_text(RULES, encoding="utf-8")
    return {
        "BITRIX_WEBHOOK_URL": portal.url,
        "BITRIX_RULES": str(folder / "rules.yaml"),
        "DATABASE_URL": f"sqlite:///{folder / 'store.db'}",
        "BITRIX_LISTEN": "127.0.0.1:0",
        "BITRIX_POLL_SECONDS": "0.3",
        "BITRIX_SETTLE_SECONDS": "0",
        "BITRIX_RATE": "100/1000",
        "BITRIX_APPLICATION_TOKEN": TOKEN,
        **more,
    }


def test_run_and_every_command_that_writes_refuse_another_portal(tmp_path: Path) -> None:
    with ExitStack() as stack:
        one, other = (stack.enter_context(Sandbox(empty(Clock()), rate=None)) for _ in range(2))
        running = Running(tmp_path, environ(one, tmp_path)).ready()
        for _ in range(4):
            one.state.add_deal("A", stage="NEW", responsible=5, by=5)
        until(lambda: len([task for task in one.state.tasks.values() if task.xml_id]) == 4)
        shell = Shell(tmp_path, environ(other, tmp_path))
        assert shell("sync").code == 1, "not even left to the service that runs"
        assert running.end() == 0
        before = people_at_work(other, 4)
        words = (
            *(("run",), ("sync",), ("backfill",), ("release",), ("sweep", "evening"), ("undo", "2026-03-02/evening")),
            ("remove", "--rule", "first-call", "--since", "2020-01-01"),
        )
        for command in words:
            refused = shell(*command)
            assert refused.code == 1, refused
            assert "another portal" in refused.err
            assert "--same-portal" in refused.err
        assert {number: snapshot(task) for number, task in other.state.tasks.items()} == before
        checked = shell("check", "--json")
        assert checked.code == 1
        (line,) = [one for one in checked.json if one["about"] == "portal"]
        assert (line["level"], "--same-portal" in line["text"]) == ("error", True)
        status = shell("status", "--json")
        assert status.code == 0
        stands = status.json
        assert stands["portal"] == one.host
        assert "another portal" in stands["trouble"]
        assert shell("sync", DATABASE_URL=f"sqlite:///{tmp_path / 'own.db'}").code == 0
        again = Running(tmp_path, environ(one, tmp_path)).ready()
        assert again.end() == 0
        said_so = Running(tmp_path, environ(other, tmp_path), "run", "--same-portal").ready()
        assert said_so.end() == 0
        assert Running(tmp_path, environ(other, tmp_path)).ready().end() == 0


def test_a_portal_made_anew_under_a_running_service_is_no_longer_worked_for(tmp_path: Path) -> None:
    with Sandbox(rate=None) as portal:
        running = Running(tmp_path, environ(portal, tmp_path)).ready()
        portal.state.add_deal("A", stage="NEW", responsible=5, by=5)
        until(lambda: [task for task in portal.state.tasks.values() if task.xml_id])
        assert running.post("/webhooks/bitrix24", told(portal))[0] == 200
        with Store(f"sqlite:///{tmp_path / 'store.db'}") as store:
            until(lambda: store.flags.portal_member == portal.events.member_id)
        portal.make_anew()
        before = {number: snapshot(task) for number, task in portal.state.tasks.items()}
        assert running.post("/webhooks/bitrix24", told(portal))[0] == 200
        until(lambda: "another portal" in running.why_not_ready)
        portal.state.add_deal("B", stage="PREPARATION", responsible=5, by=5)
        until(lambda: portal.calls["crm.stagehistory.list"] > 10)
        assert {number: snapshot(task) for number, task in portal.state.tasks.items()} == before
        assert running.end() == 0
        assert Running(tmp_path, environ(portal, tmp_path)).wait() == 1


def told(portal: Sandbox) -> bytes:
    """An event of the portal, with its member id."""
    body = event(TOKEN).decode()
    return body.replace("d897063e1ce7c5eb9f04b9751eef5915", portal.events.member_id).encode()


def test_an_event_of_another_portal_says_nothing_of_ours(tmp_path: Path) -> None:
    with office(tmp_path, RULES) as place:
        place.service.meet("other.bitrix24.ru", "0" * 32)
        assert place.service.heard == ""
        place.service.meet(place.portal.host, "1" * 32)
        assert place.service.heard == "1" * 32


def test_check_says_that_the_portal_is_the_stores(tmp_path: Path) -> None:
    with office(tmp_path, RULES) as place:
        place.add_deal()
        read(place)
        (line,) = [one for one in examine(load_settings(place.environ, None), offline=False) if one.about == "portal"]
        assert line.level == "ok"
