"""What befalls a service that goes on living: a clock that is set, answers with an odd time, rows that make no sense, a
process that stands still for longer than its lease.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.chaos.world import World

HOUR = 3600.0
JUMPS = (-3 * HOUR, -55 * 60.0, -120.0, 120.0, 55 * 60.0, 3 * HOUR, 0.0, 0.0)
ODD_TIMES: tuple[dict[str, Any], ...] = (
    *({"value": value} for value in ("noon", [], -1, 1e300, 0)),
    *({"seconds": seconds} for seconds in (-HOUR, HOUR, -3 * 24 * HOUR, 3 * 24 * HOUR)),
)
ROWS = {
    "tasks.task.list": ("id", "deadline", "status", "responsibleId", "changedDate"),
    "crm.item.list": ("id", "stageId", "createdTime", "updatedTime"),
    "crm.stagehistory.list": ("ID", "OWNER_ID", "CREATED_TIME", "STAGE_ID"),
}
NONSENSE: tuple[Any, ...] = ("0001-01-01T00:00:00+03:00", [[1]], {"x": {"y": 1}}, True)
"""What no field of these may be."""
LEASE, SHORT = 7.0, 1.0
"""Seconds that a process stands still; a run's lease has six."""


def set_clock(world: World) -> None:
    """The machine's clock is wrong by something else, or right again."""
    turn_clock(world, world.random.choice(JUMPS))


def turn_clock(world: World, seconds: float) -> None:
    """The machine's clock is wrong by so much from now on."""
    fresh = world.wrong.with_suffix(".new")
    fresh.write_text(str(seconds), encoding="utf-8")
    fresh.replace(world.wrong)  # never half written


def tell_odd_time(world: World) -> None:
    """The next answer tells another time than it is; the one after it the right one."""
    world.portal.faults.next("odd_time", **world.random.choice(ODD_TIMES))


def garble(world: World) -> None:
    """In the next readings of one kind, the kinds in turn, a row or every row makes no sense."""
    method = list(ROWS)[world.outcome.injected["rows"] % len(ROWS)]
    world.portal.faults.next(
        "garbled",
        method,
        times=6,
        row=world.random.choice([None, "*"]),
        field=world.random.choice(ROWS[method]),
        value=world.random.choice(NONSENSE),
    )


def suspend(world: World) -> None:
    """The process stands still, the first time for longer than its lease."""
    if world.lives.pid:
        world.lives.suspend(SHORT if world.outcome.injected["still"] else LEASE)


def compete(world: World) -> None:
    """A second process begins on the same store, or is killed."""
    if world.rival.pid:
        world.rival.kill()
    else:
        world.rival.begin()


TROUBLES = {"clock": set_clock, "time": tell_odd_time, "rows": garble, "still": suspend, "rival": compete}
CHAPTER = ("clock",) * 3 + ("time",) * 3 + ("rows",) * 4 + ("still",) + ("rival",) * 2
"""Those of one chapter, in any order."""
