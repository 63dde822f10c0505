"""After a run: the portal is put back from its backup and gives its ids again, or another one stands at its address."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tests.chaos.office import SELLERS, build
from tests.chaos.people import MARK
from tests.chaos.verdict import EPOCH

if TYPE_CHECKING:
    from tests.chaos.world import World

DEALS = 6
WANTED = {"NEW": ["call", "note"], "MEETING": ["meet", "ship"]}
"""Rules of the stages in which the new deals begin."""
LONGEST = 40.0


def play(world: World) -> None:
    """The one or the other, by the seed; the service is not running before nor after."""
    (another if world.seed % 2 else put_back)(world)


def put_back(world: World) -> None:
    """Deals and tasks that never were; then others under their ids, and the service killed on its way to them."""
    state, verdict = world.portal.state, world.outcome.verdict
    state.back_up()
    _deals(world, "Lost", ("NEW", "MEETING"))
    _live(world, lambda: world.ready() and _is_read(world))
    state.put_back()
    world.portal.clock.advance(timedelta(minutes=5))
    own = _own_tasks(world)
    deals = _deals(world, "New", ("MEETING", "NEW"))
    world.lives.begin("")
    time.sleep(world.random.random() * 2)
    world.lives.kill()
    _live(world, lambda: world.ready() and _is_read(world))
    verdict.same("people's own tasks, put back", _shown(world, own), own)
    for deal in deals:
        row = state.history[state.deals[deal].history[0]]
        marks = sorted(task.xml_id or "" for task in state.tasks.values() if f"D_{deal}" in task.crm)
        verdict.same(f"deal {deal}, id used again", marks, [f"{MARK}{row.id}:{rule}" for rule in WANTED[row.stage_id]])


def another(world: World) -> None:
    """Another portal at the same address, with people's own tasks under the numbers of ours: nobody touches them."""
    state, verdict = world.portal.state, world.outcome.verdict
    state.become(build(world.portal.clock))
    world.portal.clock.advance(timedelta(minutes=5))
    _deals(world, "Other", ("NEW", "MEETING"))
    own = _own_tasks(world)
    world.lives.begin("")
    verdict.same("the end on another portal", world.lives.ended(LONGEST), 1)
    verdict.same("people's own tasks, on another portal", _shown(world, own), own)
    verdict.same("tasks on another portal", sorted(state.tasks), sorted(own))


def _deals(world: World, title: str, stages: tuple[str, ...]) -> list[int]:
    return [
        world.portal.state.add_deal(
            f"{title} {number}", stage=stages[number % len(stages)], responsible=SELLERS[0], by=SELLERS[0]
        )
        for number in range(DEALS)
    ]


def _own_tasks(world: World) -> dict[int, Any]:
    """Tasks that people make for themselves."""
    state = world.portal.state
    made = [state.add_task(f"Own {number}", responsible=SELLERS[1], by=SELLERS[1]) for number in range(DEALS)]
    return _shown(world, made)


def _shown(world: World, numbers: Any) -> dict[int, Any]:
    tasks = {number: world.portal.state.tasks.get(number) for number in numbers}
    return {
        number: task and (task.title, task.status, task.deadline, task.responsible_id, task.xml_id)
        for number, task in tasks.items()
    }


def _is_read(world: World) -> bool:
    """Every row of the history is remembered as it is, and all that was decided has an end."""
    recorded = {
        (row, deal, stage, EPOCH + timedelta(microseconds=int(str(entered))))
        for row, deal, stage, entered in world.rows("select id, deal_id, stage_id, entered from visits")
    }
    there = {
        (row.id, row.deal_id, row.stage_id, _second(row.created))
        for row in world.portal.state.history.values()
        if row.id > world.people.first_row
    }
    ends = "('done', 'dropped', 'failed')"
    return there <= recorded and not world.rows(f"select 1 from operations where state not in {ends} limit 1")


def _second(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(microsecond=0)


def _live(world: World, done: Callable[[], bool]) -> None:
    """A life in peace until something is so."""
    world.lives.begin("")
    until = time.monotonic() + LONGEST
    while not done():
        if time.monotonic() > until:
            world.outcome.verdict.wrong("what a portal put back holds was not read and carried out")
            break
        time.sleep(0.05)
    world.lives.ask_to_end()
    world.outcome.verdict.same("the end after SIGTERM", world.lives.ended(10.0), 0)
