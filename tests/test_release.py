"""A database that version 0.1 left in the middle of its work: the next start goes on, and nothing is done twice."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from bitrix_sync.model.operations import State
from tests.world.sweeps import HEAD, LAWYER, LAWYER_HEAD, MARIA, RULES, department

RELEASE = Path(__file__).parent / "data" / "release-0.1.0.sql"
EVENING = 'overdue: {tasks: deals, evening: {at: "18:30", move_to: {after: 1 workday}}}\n'


class Killed(BaseException):
    """The process ends here."""


def as_0_1_left_it(path: Path) -> None:
    """The same rows in the tables of 0.1, whose schema is that of its dump; without what it did not know yet."""
    kept = path.with_suffix(".kept")
    path.rename(kept)
    with closing(sqlite3.connect(path)) as database:
        database.executescript(RELEASE.read_text("utf-8"))
        known = {name for (name,) in database.execute("SELECT name FROM settings")}
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        database.execute("ATTACH ? AS kept", (str(kept),))
        for table in tables:
            if table not in ("alembic_version", "sqlite_sequence"):
                columns = ", ".join(f'"{row[1]}"' for row in database.execute(f"PRAGMA table_info({table})"))
                database.execute(f"DELETE FROM {table}")
                database.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM kept.{table}")
        for name in [name for (name,) in database.execute("SELECT name FROM settings") if name not in known]:
            database.execute("DELETE FROM settings WHERE name = ?", (name,))
        cut = "UPDATE operations SET state = 'unknown', noticed = sent WHERE state = 'sending' AND id % 2"
        assert database.execute(cut).rowcount > 0, "of these it had noticed that no answer came"
        database.execute("DELETE FROM told WHERE key LIKE 'failed:%'")
        assert database.execute("SELECT version_num FROM alembic_version").fetchone() == ("0002",)
        database.commit()
    kept.unlink()


def test_what_0_1_left_planned_sent_and_in_doubt_is_finished_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sends = {"left": -1}

    def count_down(name: str) -> None:
        """From the moment at which it is killed on, a process writes nothing more."""
        if name == "send:after" and sends["left"] > 0:
            sends["left"] -= 1
        if sends["left"] == 0:
            raise Killed(name)

    monkeypatch.setattr("bitrix_sync.engine.sender.crash_point", count_down)
    monkeypatch.setattr("bitrix_sync.store.store.crash_point", count_down)
    with department(tmp_path, RULES + EVENING) as place:
        late = [place.task(f"Offer {n}", (MARIA, LAWYER)[n % 2], "2026-03-02 12:00") for n in range(110)]
        done = place.add_deal("Done")
        place.turn()
        place.until("18:30:05")
        planned = [place.add_deal("Planned"), place.add_deal("Planned too")]
        sends["left"] = 2
        with pytest.raises(Killed):
            place.turn()
        sends["left"] = -1
        states = set(place.store.counts())
        assert {State.PLANNED, State.SENDING, State.DONE} <= states
        (sweep,) = place.store.sweeps()
        assert sweep.state in ("claimed", "moving")
        path = Path(place.store.name)
        place.die()
        as_0_1_left_it(path)
        place.wait(seconds=300)
        place.start()
        for _ in range(6):
            place.turn()
            place.wait(seconds=60)
        for deal in (done, *planned):
            assert place.marks(deal) == ["first-call"]
        for task in late:
            moves = [change for change in place.portal.state.tasks[task].log if change.field == "DEADLINE"]
            assert (len(moves), place.record(task).moves) == (1, 1)
        (sweep,) = place.store.sweeps()
        assert sweep.state == "done"
        assert place.readers(sweep.slot) == [HEAD, MARIA, LAWYER_HEAD, LAWYER]
        assert not {State.PLANNED, State.SENDING, State.UNKNOWN, State.FAILED} & set(place.store.counts())
