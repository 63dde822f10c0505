"""What the service's operator relies on: signals, a full disk, a locked or missing database, backups, two processes;
and that what was decided waits without harm while the world goes on."""

from __future__ import annotations

import ctypes
import os
import socket
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pytest

from bitrix_sync.model.operations import State
from bitrix_sync.store import Store
from tests.world.company import at as utc
from tests.world.office import Office, office
from tests.world.process import COMMAND, LONGEST, ROOT, full_disk, until
from tests.world.shell import Shell
from tests.world.sweeps import DIRECTOR, HEAD, IGOR, MARIA, OLGA, Department, department
from tests.world.town import Town, portal_on_a_monday

ADVANCING = """
version: 1
language: en
timezone: Europe/Moscow
calendar: {hours: "09:00-18:00"}
fallback_owner: 1
funnels:
  Продажи:
    Новая заявка:
      advance_to: Презентация
      tasks:
        - {id: call, title: Call, deadline: {after: 1 workday}}
    Отгрузка:
      - id: ship
        title: Ship
        deadline: {field: UF_CRM_SHIP_DATE, at: "12:00", else: {after: 10 workdays}}
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Office]:
    with office(tmp_path, ADVANCING) as found:
        yield found


# --- what was decided waits ------------------------------------------------------------------------------------------


def test_a_move_decided_before_a_pause_does_not_pull_the_deal_back(place: Office) -> None:
    deal = place.add_deal()
    place.run()
    place.wait(minutes=5)
    place.portal.state.complete_task(place.tasks(deal)[0].id, by=5)
    place.context.store.flags.paused = True
    place.run()
    place.wait(minutes=5)
    place.move(deal, "UC_OFFER1")
    place.context.store.flags.paused = False
    place.run()
    assert place.portal.state.deals[deal].stage_id == "UC_OFFER1"


def test_a_deadline_in_doubt_rests_so_that_it_cannot_undo_the_next_one(tmp_path: Path) -> None:
    with office(tmp_path, ADVANCING, BITRIX_SETTLE_SECONDS="65", BITRIX_RATE="99/999") as place:
        deal = place.add_deal(stage="FINAL_INVOICE")
        place.run()
        place.wait(minutes=5)
        place.portal.state.set_fields(deal, {"UF_CRM_SHIP_DATE": "2026-03-12T15:00:00+03:00"})
        place.portal.faults.next("late_commit", "tasks.task.update", seconds=30, hold=0.0)
        place.run()
        place.wait(seconds=10)
        place.portal.state.set_fields(deal, {"UF_CRM_SHIP_DATE": "2026-03-13T15:00:00+03:00"})
        place.run()
        assert place.context.store.counts()[State.UNKNOWN] == 1
        place.wait(minutes=1)
        place.portal.settle()
        assert place.tasks(deal)[0].deadline == utc("2026-03-12 12:00"), "the first one came through late"
        place.environ["BITRIX_SETTLE_SECONDS"] = "0"
        place.restart()
        place.run()
        assert place.tasks(deal)[0].deadline == utc("2026-03-13 12:00")


def test_what_was_read_before_an_interruption_is_read_again_after_it(place: Office) -> None:
    deals = [place.add_deal(stage="FINAL_INVOICE") for _ in range(70)]
    place.run()
    place.wait(minutes=5)
    for deal in deals:
        place.portal.state.set_fields(deal, {"UF_CRM_SHIP_DATE": "2026-03-12T15:00:00+03:00"})
    batches = iter([False, True])
    place.run(interrupted=lambda: next(batches))
    late = [task for task in place.tasks() if task.deadline != utc("2026-03-12 12:00")]
    assert 0 < len(late) < len(deals)
    place.portal.state.set_deadline(late[0].id, utc("2026-03-05 11:00"), by=5)
    place.run()
    assert place.portal.state.tasks[late[0].id].deadline == utc("2026-03-05 11:00")
    assert {task.deadline for task in place.tasks() if task.id != late[0].id} == {utc("2026-03-12 12:00")}


# --- a backup is put back --------------------------------------------------------------------------------------------

BUSY = """
version: 1
language: en
timezone: Europe/Moscow
calendar: {hours: {mon-sun: "09:00-18:00"}}
admins: [1]
fallback_owner: 1
funnels:
  Продажи:
    Новая заявка:
      - id: call
        title: Call
        deadline: {after: 1 workday}
        checklist: [First, Second]
    Презентация:
      advance_to: КП отправлено
      tasks:
        - {id: show, title: Show, deadline: {after: 1 workday}}
    Согласование:
      - {id: ask, title: Ask, deadline: {after: 9 workdays}, repeat: if_none_open}
    Отгрузка:
      - id: ship
        title: Ship
        deadline: {field: UF_CRM_SHIP_DATE, at: "12:00", else: {after: 10 workdays}}
overdue:
  evening: {at: "18:30", move_to: {after: 1 workday}}
"""


def everything(place: Department) -> dict[str, list[Any]]:
    """All that people can see of what the service did; what the webhook's own user was told cannot be looked up."""
    state = place.portal.state
    return {
        "tasks": [(task.xml_id, task.deadline, task.responsible_id, task.status) for task in place.tasks()],
        "items": [sorted(item.title for item in (task.checklist or {}).values()) for task in place.tasks()],
        "lines": [[line.text for line in state.messages_of_task(task.id)] for task in place.tasks()],
        "stages": [(deal.id, deal.stage_id) for deal in state.deals.values()],
        "told": [(note.chat_id, note.text) for note in state.messages.values() if note.author_id == DIRECTOR],
    }


def test_a_backup_put_back_on_a_portal_that_went_on_doubles_nothing_and_loses_nothing(tmp_path: Path) -> None:
    with department(tmp_path, BUSY) as place:
        ships, shows = ([place.add_deal(stage=stage) for _ in range(4)] for stage in ("FINAL_INVOICE", "PREPARATION"))
        asked = place.add_deal(stage="PREPAYMENT_INVOICE")
        place.add_deal()
        place.turn()
        place.until("2026-03-03 18:05")
        place.turn()
        place.store.backup(tmp_path / "backup.db")

        place.portal.state.set_fields(ships[0], {"UF_CRM_SHIP_DATE": "2026-03-12T15:00:00+03:00"})
        place.portal.state.set_responsible(ships[1], OLGA)
        for stage in ("EXECUTING", "PREPAYMENT_INVOICE"):
            place.move(asked, stage)
        place.add_deal()
        place.portal.state.complete_task(place.tasks(shows[0])[0].id, by=MARIA)
        place.turn()
        slot = place.sweeps("18:31")
        assert place.heard(HEAD, slot)
        place.until("19:05")
        place.turn()
        before = everything(place)
        place.service.close()

        place.add_deal()
        (tmp_path / "backup.db").replace(tmp_path / "store.db")
        place.start()
        for _ in range(4):
            place.turn()
            place.wait(minutes=1)
        assert place.store.sweep(slot), "it was due while nobody worked, as far as the backup knows"
        after = everything(place)
        for name, seen in before.items():
            assert seen, name
            assert after[name][: len(seen)] == seen, name
        assert after["told"] == before["told"]
        (new,) = after["tasks"][len(before["tasks"]) :]
        assert new[0].endswith(":call"), "the deal that came while nobody worked"
        place.portal.state.set_responsible(ships[1], IGOR)
        place.turn()
        assert place.tasks(ships[1])[0].responsible_id == IGOR, (
            "the owner we had set is not taken for a person's choice"
        )


# --- as a process ----------------------------------------------------------------------------------------------------


def test_a_full_disk_is_told_in_a_line_and_survived(tmp_path: Path) -> None:
    with portal_on_a_monday() as portal:
        town = Town(tmp_path, portal)
        service = town.run(BITRIX_POLL_SECONDS="0.2").ready()
        assert service.process is not None
        with full_disk(service.process.pid):
            deals = [town.add_deal(f"Deal {number}") for number in range(5)]
            until(lambda: "database bitrix-sync.db: the disk" in service.why_not_ready)
        until(lambda: all(town.rules_of(deal) for deal in deals))
        service.ready()
        assert [town.rules_of(deal) for deal in deals] == [["first-call"]] * 5
        assert service.end() == 0
        assert service.said.count("cannot work") == 1
        assert "Traceback" not in service.said


# --- a database that cannot be used ----------------------------------------------------------------------------------

COMMANDS = (["run"], ["status"], ["why", "1"], ["backup", "copy.db"])


def newer(file: Path) -> None:
    """As a later version leaves it."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")


def foreign(file: Path) -> None:
    """As another program leaves its own."""
    file.unlink()
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE places (id INTEGER)")


def damaged(file: Path) -> None:
    """Everything but its beginning is noise."""
    noise = Random(1).randbytes(file.stat().st_size)
    file.write_bytes(file.read_bytes()[:8192] + noise[8192:])


def cut(file: Path) -> None:
    """As a copy that was broken off."""
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def words(file: Path) -> None:
    """Somebody named the rules."""
    file.write_text("version: 1\nlanguage: ru\n" * 100, encoding="utf-8")


def directory(file: Path) -> None:
    """Somebody made a directory of its name."""
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (newer, "made by a newer bitrix-sync (schema 9999"),
        (foreign, "belongs to another program"),
        (damaged, "the file is damaged; put a backup in its place"),
        (cut, "the file is damaged; put a backup in its place"),
        (words, "this file is no database"),
        (directory, "is a directory"),
    ],
)
def test_a_database_that_cannot_be_used_is_told_in_a_line_and_left_as_it_is(
    spoil: Callable[[Path], None], said: str, place: Office
) -> None:
    place.service.close()
    file = place.folder / "store.db"
    spoil(file)
    before = file.read_bytes() if file.is_file() else None
    shell = Shell(place.folder, place.environ)
    for command in COMMANDS:
        ran = shell(*command)
        assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1), command
        assert said in ran.err
        assert str(file) in ran.err
        assert (file.read_bytes() if file.is_file() else None) == before
        assert not (place.folder / "copy.db").exists()


def test_a_database_that_is_not_there_is_not_copied(place: Office) -> None:
    """Else a nightly backup in the wrong directory would succeed for ever."""
    shell = Shell(place.folder, {**place.environ, "DATABASE_URL": f"sqlite:///{place.folder / 'elsewhere.db'}"})
    for command in (["backup", "copy.db"], ["why", "1"]):
        ran = shell(*command)
        assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1), command
        assert "elsewhere.db: is not there" in ran.err
    assert not (place.folder / "elsewhere.db").exists()
    assert not (place.folder / "copy.db").exists()


def test_a_backup_is_restored_while_no_service_works(place: Office, tmp_path: Path) -> None:
    shell = Shell(place.folder, place.environ)
    place.service.store.flags.paused = True
    assert shell("backup", "copy.db").code == 0
    place.service.close()
    with Store(place.environ["DATABASE_URL"]) as store:
        epoch = store.take_lease("another", os.getppid(), socket.gethostname(), utc("2026-03-02 09:00"))
        assert epoch is not None
        refused = shell("restore", "copy.db")
        store.drop_lease(epoch)
        store.flags.paused = False
    assert (refused.code, refused.out) == (1, "")
    assert "a service works with this database" in refused.err
    (place.folder / "empty.db").touch()
    for wrong in ("nowhere.db", "empty.db", "rules.yaml"):
        ran = shell("restore", wrong)
        assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1), wrong
        assert wrong in ran.err
    ran = shell("restore", "copy.db")
    assert (ran.code, ran.err) == (0, "")
    with Store(place.environ["DATABASE_URL"]) as store:
        assert store.flags.paused
        assert store.lease() is None


def not_almighty() -> None:
    """From here on file modes count for this process, whoever it is (root included)."""
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP; without the right to it, it is not needed


@pytest.mark.parametrize("there", [True, False])
def test_where_nothing_may_be_written_a_line_says_so(there: bool, place: Office) -> None:
    place.service.close()
    file = place.folder / "store.db"
    if there:
        file.chmod(0o400)
    else:
        file.unlink()
    before = file.read_bytes() if there else None
    place.folder.chmod(0o500)
    environ = {**os.environ, **place.environ, "PYTHONPATH": str(ROOT)}
    try:
        begun = [
            subprocess.Popen(
                [*COMMAND, *command],
                cwd=place.folder,
                env=environ,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                preexec_fn=not_almighty,
            )
            for command in (COMMANDS if there else COMMANDS[:2])
        ]
        for one in begun:
            out, err = one.communicate(timeout=LONGEST)
            assert (one.returncode, out, err.count("\n")) == (1, "", 1), err
            assert f"database {file}: " in err
            assert "writable for this user" in err
    finally:
        place.folder.chmod(0o700)
    assert (file.read_bytes() if there else None) == before


def test_a_database_that_is_taken_away_stops_all_work_until_it_is_back(tmp_path: Path) -> None:
    """Work that is noted in a file that nobody sees would be forgotten with the process."""
    with portal_on_a_monday() as portal:
        town = Town(tmp_path, portal, BITRIX_POLL_SECONDS="0.2")
        service = town.run().ready()
        deal = town.add_deal()
        until(town.has(deal, "first-call"))
        files = [*tmp_path.glob("bitrix-sync.db*")]
        (tmp_path / "aside").mkdir()
        for file in files:
            file.rename(tmp_path / "aside" / file.name)
        late = town.add_deal()
        until(lambda: "the file was removed or replaced while it was in use" in service.why_not_ready)
        until(lambda: "cannot work" in service.said)
        assert town.rules_of(late) == []
        assert service.end() == 0
        assert not [*tmp_path.glob("bitrix-sync.db*")]
        assert service.said.count("cannot work") == 1
        assert "Traceback" not in service.said
        for file in files:
            (tmp_path / "aside" / file.name).rename(file)
        service.start()
        until(town.has(late, "first-call"))
        assert town.rules_of(deal) == ["first-call"]
        assert service.end() == 0


def test_a_locked_database_is_waited_for_and_can_be_read_and_copied_meanwhile(tmp_path: Path) -> None:
    with portal_on_a_monday() as portal:
        town = Town(tmp_path, portal, BITRIX_POLL_SECONDS="0.2")
        service = town.run().ready()
        deal = town.add_deal()
        until(town.has(deal, "first-call"))
        with closing(sqlite3.connect(tmp_path / "bitrix-sync.db", isolation_level=None)) as other:
            until(lambda: begin(other))
            shell = Shell(tmp_path, town.environ)
            for command in (["status"], ["why", str(deal)], ["backup", "copy.db"]):
                ran = shell(*command)
                assert (ran.code, ran.err) == (0, "")
            late = town.add_deal()
            until(lambda: "another program holds it locked" in service.why_not_ready)
            assert town.rules_of(late) == []
        until(town.has(late, "first-call"))
        service.ready()
        assert service.end() == 0
        assert service.said.count("cannot work") == 1
        assert "Traceback" not in service.said


def begin(connection: sqlite3.Connection) -> bool:
    """Take the database for writing, as a shell that somebody left open."""
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        return False
    return True


# --- what is in doubt ------------------------------------------------------------------------------------------------


def test_a_lease_that_cannot_be_noted_now_is_noted_later(place: Office) -> None:
    lease = place.service.store.lease()
    with full_disk():
        place.service.renew_lease()
    assert place.service.store.lease() == lease
    place.service.renew_lease()
    later = place.service.store.lease()
    assert lease is not None
    assert later is not None
    assert later.until > lease.until


def test_what_is_in_flight_at_the_end_is_in_doubt_and_made_once(tmp_path: Path) -> None:
    """The portal carries the creation out when nobody waits for the answer any more."""
    with portal_on_a_monday() as portal:
        town = Town(tmp_path, portal, BITRIX_POLL_SECONDS="0.2")
        service = town.run().ready()
        portal.faults.next("late_commit", "tasks.task.add", hold=60, seconds=30)
        deal = town.add_deal()
        until(lambda: portal.faults.struck)
        assert service.end() == 0
        assert town.rules_of(deal) == []
        portal.clock.advance(31)
        assert portal.settle()
        service.start()
        other = town.add_deal()
        until(lambda: town.rules_of(other))
        service.ready()
        assert town.rules_of(deal) == ["first-call"]
        assert service.end() == 0
        assert "Traceback" not in service.said
