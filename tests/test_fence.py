"""The fence: just before bytes leave, whoever may have lost the lease sends nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bitrix_sync.app import Service
from bitrix_sync.clock import Clock
from bitrix_sync.engine import sender
from bitrix_sync.errors import LeaseLost
from bitrix_sync.settings import load_settings
from bitrix_sync.store import Hold
from tests.world.office import Office, office


@dataclass
class Pause:
    """A clock whose process is stopped for a while: time passes for everybody, and it knows nothing of it."""

    away: float = 0.0
    clock: Clock = field(init=False)

    def __post_init__(self) -> None:
        self.clock = Clock(lambda: time.time() + self.away, lambda: time.monotonic() + self.away)


def stopped_before_it_sends(place: Office, monkeypatch: pytest.MonkeyPatch, *, seconds: float) -> int:
    """Tasks in the portal for one deal, when a process stops for so long between its commit and its send, and another
    one, of another machine, takes over meanwhile."""
    pause = Pause()
    service = place.service = Service(load_settings(place.environ, None), clock=pause.clock)
    assert service.take_lease()
    service.keeping = True  # by hand: no thread beats while the process stands still
    context = place.context = service.open()
    deal = place.add_deal()

    def stop(point: str) -> None:
        if point != "send:before":
            return
        monkeypatch.setattr(sender, "crash_point", lambda _point: None)
        pause.away += seconds
        service.store.drop_lease(context.sender.epoch)  # what its silence amounts to, seen from another machine
        other = Service(load_settings(place.environ, None), clock=pause.clock)
        assert other.take_lease()
        other.turn({"poll"}, wide=True)
        other.turn(set(), wide=False)
        other.close()

    monkeypatch.setattr(sender, "crash_point", stop)
    with pytest.raises(LeaseLost):
        service.turn({"poll"}, wide=True)
    return len(place.tasks(deal))


def test_a_process_that_stood_still_before_it_sent_sends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with office(tmp_path) as place:
        place.service.close()
        assert stopped_before_it_sends(place, monkeypatch, seconds=40.0) == 1


def test_without_the_fence_there_would_be_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with office(tmp_path) as place:
        place.service.close()
        monkeypatch.setattr(Hold, "look", lambda _hold, _now: None)
        assert stopped_before_it_sends(place, monkeypatch, seconds=40.0) == 2


def test_a_late_beat_ends_a_hold_for_good() -> None:
    hold = Hold(7, beaten=100.0)
    hold.look(128.9)
    hold.require()
    hold.look(129.0)
    hold.beaten = 129.0
    hold.look(129.1)
    with pytest.raises(LeaseLost, match="stand still"):
        hold.require()


def test_a_hold_that_was_taken_long_ago_is_kept_from_then_on(tmp_path: Path) -> None:
    """Nobody beat between the two, as in a demonstration or a command that thought for a while."""
    pause = Pause()
    with office(tmp_path) as place:
        place.service.close()
        service = place.service = Service(load_settings(place.environ, None), clock=pause.clock)
        assert service.take_lease()
        pause.away += 60.0
        with service.keeping_lease():
            service.require_lease()
