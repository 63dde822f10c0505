"""After a run, one of four: the portal is put back from its backup and gives its ids again; another one stands at its
address; a second process is started on the store, or on a store of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tests.chaos.lives import Lives
from tests.chaos.office import HEAD, SELLERS, build
from tests.chaos.people import MARK
from tests.chaos.troubles import LEASE
from tests.chaos.verdict import EPOCH, said

if TYPE_CHECKING:
    from tests.chaos.world import World

DEALS = 6
WANTED = {"NEW": ["call", "note"], "MEETING": ["meet", "ship"]}
"""Rules of the stages in which the new deals begin."""
LONGEST = 180.0
"""Seconds for anything that is waited for: far more than it takes on a busy machine."""


def play(world: World) -> str:
    """One of them, by the seed; the service is not running before nor after. Returns which."""
    name, act = ACTS[(world.seed + world.seed // len(ACTS)) % len(ACTS)]
    act(world)
    return name


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
    world.lives.begin()
    time.sleep(world.random.random() * 2)
    world.lives.kill()
    _live(world, lambda: world.ready() and _is_read(world))
    verdict.same("people's own tasks, put back", _shown(world, own), own)
    _have_tasks(world, deals, "id used again")
    if not _told(world, "was put back from a backup"):
        verdict.wrong("no administrator was told that the portal was put back")


def another(world: World) -> None:
    """Another portal at the same address, with people's own tasks under the numbers of ours: nobody touches them."""
    state, verdict = world.portal.state, world.outcome.verdict
    state.become(build(world.portal.clock))
    world.portal.clock.advance(timedelta(minutes=5))
    _deals(world, "Other", ("NEW", "MEETING"))
    own = _own_tasks(world)
    world.lives.begin()
    verdict.same("the end on another portal", world.lives.ended(LONGEST), 1)
    verdict.same("people's own tasks, on another portal", _shown(world, own), own)
    verdict.same("tasks on another portal", sorted(state.tasks), sorted(own))
    trouble = str(world.rows("select value from settings where name = 'trouble'"))
    if "made on another portal" not in trouble:
        verdict.wrong(f"status does not tell of another portal: {trouble}")


def rival(world: World) -> None:
    """A second process on the store waits while the first lives, even if that stands still, and succeeds it then."""
    verdict = world.outcome.verdict
    world.lives.begin()
    _until(world, world.ready, "ready again")
    world.rival.begin()
    _until(world, lambda: "another process" in world.state(world.rival_port)[1], "the second process waits")
    first = _deals(world, "First", ("NEW", "MEETING"))
    _until(world, lambda: _is_read(world), "the first process works beside the second")
    world.lives.suspend(LEASE)
    _until(world, world.ready, "the first process goes on")
    verdict.same("the second process is ready beside the first", world.ready(world.rival_port), False)
    second = _deals(world, "Second", ("NEW", "MEETING"))
    world.lives.kill()
    _until(world, lambda: world.ready(world.rival_port) and _is_read(world), "the second process succeeds the first")
    _have_tasks(world, [*first, *second], "two processes")
    world.rival.ask_to_end()
    verdict.same("the end of the second process", world.rival.ended(LONGEST), 0)


def two_stores(world: World) -> None:
    """A service with a store of its own on the same portal: tasks may be made twice, but never without a word."""
    folder = world.folder / "second"
    folder.mkdir()
    settings = {**world.settings(world.rival_port), "DATABASE_URL": f"sqlite:///{folder / 'store.db'}"}
    second = Lives(settings, folder, folder / "service.log")
    try:
        world.lives.begin()
        _until(world, world.ready, "ready again")
        second.begin()
        _until(world, lambda: world.ready(world.rival_port), "the second service is ready")
        _until(world, lambda: _told(world, "already has tasks with its mark"), "a new store is told")
        deals = _deals(world, "Both", ("NEW", "MEETING"))
        _until(world, lambda: _told(world, "Another bitrix-sync with a database of its own"), "two services are told")
        _until(world, lambda: _is_read(world), "the first service works beside the second")
        for deal in deals:
            row, marks = _marks(world, deal)
            world.outcome.verdict.same(f"deal {deal}, two services: rules", sorted(set(marks)), WANTED[row.stage_id])
        world.lives.ask_to_end()
        world.outcome.verdict.same("the end after SIGTERM", world.lives.ended(LONGEST), 0)
    finally:
        second.close()


ACTS: tuple[tuple[str, Callable[[World], None]], ...] = (
    ("ids again", put_back),
    ("another portal", another),
    ("rival at the end", rival),
    ("two stores", two_stores),
)


def _deals(world: World, title: str, stages: tuple[str, ...]) -> list[int]:
    return [
        world.portal.state.add_deal(
            f"{title} {number}", stage=stages[number % len(stages)], responsible=SELLERS[0], by=SELLERS[0]
        )
        for number in range(DEALS)
    ]


def _marks(world: World, deal: int) -> tuple[Any, list[str]]:
    """The row of a deal's only stay, and the rules of the tasks that were made for it."""
    state = world.portal.state
    row = state.history[state.deals[deal].history[0]]
    marks = [task.xml_id or "" for task in state.tasks.values() if f"D_{deal}" in task.crm]
    return row, sorted(mark.removeprefix(f"{MARK}{row.id}:") for mark in marks)


def _have_tasks(world: World, deals: Iterable[int], what: str) -> None:
    """Each deal has the tasks of its stage, once."""
    for deal in deals:
        row, rules = _marks(world, deal)
        world.outcome.verdict.same(f"deal {deal}, {what}", rules, WANTED[row.stage_id])


def _told(world: World, words: str) -> bool:
    """Whether the head, an administrator, was told so."""
    with world.portal.state.lock:
        return any(user == HEAD and words in text for user, text in said(world.portal))


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


def _until(world: World, done: Callable[[], bool], what: str) -> None:
    """Wait until something is so; whatever else is to be seen, this is wrong if it never is."""
    until = time.monotonic() + LONGEST
    while not done():
        if time.monotonic() > until:
            world.outcome.verdict.wrong(f"after {LONGEST:.0f} s still not so: {what}")
            return
        time.sleep(0.05)


def _live(world: World, done: Callable[[], bool]) -> None:
    """A life in peace until something is so."""
    world.lives.begin()
    _until(world, done, "what a portal put back holds is read and carried out")
    world.lives.ask_to_end()
    world.outcome.verdict.same("the end after SIGTERM", world.lives.ended(LONGEST), 0)
