"""``status``: the verdict first, in words and in the file's zone; then only what there is to know or to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bitrix_sync import report
from bitrix_sync.report.status import verdict
from bitrix_sync.store import QueueRest
from bitrix_sync.sweeps import state
from tests.world.office import RULES, Office, office
from tests.world.shell import Shell

NOW = datetime(2026, 3, 12, 12, 0, tzinfo=UTC)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Office]:
    with office(tmp_path) as found:
        found.run()
        yield found


THINGS = {
    "last_pass": NOW.isoformat(),
    "cursor": {},
    "holder": {"name": "server:1", "until": (NOW + timedelta(seconds=30)).isoformat()},
    "trouble": "",
    "paused": False,
    "watch": False,
}


@pytest.mark.parametrize(
    ("things", "seconds", "said"),
    [
        ({}, 0, "works"),
        ({"watch": True}, 0, "watch"),
        ({"watch": True, "paused": True}, 0, "paused"),
        ({"paused": True, "trouble": "no"}, 0, "trouble"),
        ({"holder": {"name": "server:1", "until": (NOW + timedelta(hours=1)).isoformat()}}, 160, "stale"),
        ({"holder": {"name": "server:1", "until": (NOW + timedelta(hours=1)).isoformat()}}, 140, "works"),
        ({"trouble": "no"}, 31, "stopped"),
        ({"holder": None, "paused": True}, 0, "stopped"),
        ({"holder": None, "last_pass": None, "cursor": None}, 0, "new"),
    ],
)
def test_the_verdict_is_what_is_to_be_known_first(things: dict[str, object], seconds: int, said: str) -> None:
    assert verdict({**THINGS, **things}, now=NOW + timedelta(seconds=seconds), poll_seconds=30) == said


def said(place: Office, **later: float) -> list[str]:
    """What ``status`` says that much after the portal was last read."""
    service = place.service
    read = service.store.flags.last_pass
    assert read is not None
    return report.status(service.store, service.settings, now=read + timedelta(**later))


def test_a_service_that_works_says_so_first_and_nothing_that_is_no_news(place: Office) -> None:
    place.service.read(place.context)
    first, *rest = said(place, seconds=12)
    assert first == "works: the portal was last read 12 s ago"
    assert [line.split("  ")[0] for line in rest] == ["Portal", "Rules", "Pace", "Process"]
    assert said(place, seconds=60)[0].startswith("is not running; the portal was last read 60 s ago")


def test_a_pause_is_told_with_its_beginning_in_the_files_zone_and_goes_on_as_it_began(place: Office) -> None:
    place.service.read(place.context)
    for hour in (7, 9):
        state.pause(place.service.store, datetime(2026, 3, 12, hour, 5, tzinfo=UTC))
    assert said(place)[0].startswith("paused since Thu 12 March, 10:05: nothing is written")
    state.resume_at(place.service.store, NOW)
    assert said(place)[0].startswith("works")
    assert place.service.store.flags.paused_since is None


def test_all_that_there_is_to_say_is_said_in_russian(tmp_path: Path) -> None:
    with office(tmp_path, RULES.replace("language: en", "language: ru")) as place:
        place.run()
        place.portal.faults.next("refuse", "tasks.task.add", times=1, code="ERROR", text="нельзя")
        place.add_deal()
        for _ in range(2):
            place.run()
        flags = place.service.store.flags
        flags.rules_error, flags.unread, flags.bad_rows = "rules.yaml:2: нет", {"calendar": "нет"}, {"задача": 3}
        flags.rules_off, flags.sees_no_deals, flags.last_backup = {"ask": "нет"}, NOW, NOW
        flags.rest = QueueRest(5, NOW)
        state.pause(place.service.store, NOW)
        place.service.read(place.context)
        lines = said(place, seconds=10)
        assert lines[0].startswith("пауза с чт 12 марта, 15:00")
        shown = re.sub(r"`[^`]*`|rules\.yaml\S*|Ask|calendar|ERROR|127\.0\.0\.1\S*", "", "\n".join(lines[:-1]))
        assert re.findall("[A-Za-z]+", shown) == []
        assert len(lines) > 10


def test_the_command_prints_it(place: Office) -> None:
    place.service.read(place.context)
    ran = Shell(place.folder, place.environ)("status")
    assert (ran.code, ran.out.count("Portal")) == (0, 1)
