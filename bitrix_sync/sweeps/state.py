"""How a sweep stands: its states, its moves and what became of them, what remains and how long that takes.

A sweep is ``claimed``, then ``moving`` or ``held``, then ``done`` when its messages are written (moves may still be on
their way); ``skipped`` if its time was missed, ``undone`` if it was taken back.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime

from bitrix_sync.engine.passes import ServiceContext
from bitrix_sync.engine.sender import UPDATE
from bitrix_sync.model.actions import Kind, SetDeadline
from bitrix_sync.model.keys import Purpose, SlotId, purpose_of
from bitrix_sync.model.operations import State, StoredOperation
from bitrix_sync.rules.model import Rules, Slot
from bitrix_sync.store import Store, Sweep, SweepRest
from bitrix_sync.sweeps.notices import UNFINISHED

CLAIMED, MOVING, HELD, DONE, SKIPPED, UNDONE = "claimed", "moving", "held", "done", "skipped", "undone"
WAITING = (State.PLANNED, State.HELD)
"""Moves that were not sent yet."""
RECENT = 8
"""Sweeps that are looked through for one that goes on."""


def slot_rule(rules: Rules, slot: str) -> Slot | None:
    """The slot's entry of the file; None if it has none (any more)."""
    name = SlotId.parse(slot).name
    return next((one for one in (rules.overdue.slots if rules.overdue else ()) if one.name == name), None)


def last_run(store: Store, slot: str) -> Sweep | None:
    """The latest run of a slot; of a run that is named by its number, that one. None also for no name of a sweep."""
    try:
        wanted = SlotId.parse(slot)
    except ValueError:
        return None
    if wanted.run > 1:
        return store.sweep(slot)
    runs = {found.run: one for one in store.sweeps() if replace(found := SlotId.parse(one.slot), run=1) == wanted}
    return runs[max(runs)] if runs else None


def is_move(row: StoredOperation) -> bool:
    """True for what a sweep decided: neither undone nor following."""
    return row.operation.key.startswith(Purpose.SWEEP.beginning)


def moves_of(store: Store, slot: str) -> list[StoredOperation]:
    """The moves of a sweep, in the order of deciding."""
    return [row for row in store.operations(sweep=slot, kind=Kind.DEADLINE) if is_move(row)]


def lendings_of(store: Store, slot: str) -> list[StoredOperation]:
    """What a sweep lent to substitutes and gave back, in the order of deciding."""
    rows = store.operations(sweep=slot, kind=Kind.PEOPLE)
    return [row for row in rows if purpose_of(row.operation.key) in (Purpose.LEND, Purpose.GIVE_BACK)]


def deadline_of(row: StoredOperation) -> datetime | None:
    """Where a move goes."""
    return row.operation.action.deadline if isinstance(row.operation.action, SetDeadline) else None


def count_states(rows: Collection[StoredOperation]) -> dict[str, int]:
    """Moves by what became of them."""
    return {
        "moved": sum(row.state is State.DONE for row in rows),
        "refused": sum(row.state is State.FAILED for row in rows),
        "dropped": sum(row.state is State.DROPPED for row in rows),
        "remaining": sum(row.state in UNFINISHED for row in rows),
    }


def unfinished(counts: Mapping[State, int]) -> int:
    """How many moves have no end yet."""
    return sum(count for state, count in counts.items() if state in UNFINISHED)


def rest_of(context: ServiceContext, count: int) -> datetime | None:
    """When so many moves will be through at the portal's present pace; None: there are none, or nobody can say yet."""
    span = context.sender.pace.takes({UPDATE: count}, context.portal.rate_limiter) if count else None
    return context.portal.now() + span if span is not None else None


def note_rest(context: ServiceContext) -> None:
    """What of the last sweep is still on its way, and until when, for ``status`` and the page."""
    last = next((one for one in context.store.sweeps(limit=RECENT) if one.state in (MOVING, HELD, DONE)), None)
    count = unfinished(context.store.move_counts(last.slot)) if last is not None else 0
    until = rest_of(context, count)
    rest = SweepRest(last.slot, count, until) if last and until else None
    if rest != context.store.flags.sweep_rest:
        context.store.flags.sweep_rest = rest


def let_go(store: Store, now: datetime) -> None:
    """A pause or a hold has ended: the time until messages are written begins anew."""
    store.flags.let_go = now


def pause(store: Store, now: datetime) -> None:
    """Nothing is written to the portal until the pause ends; one that is there already goes on as it began."""
    if not store.flags.paused:
        store.flags.paused_since = now
        store.flags.paused = True


def resume_at(store: Store, now: datetime) -> None:
    """The end of a pause."""
    let_go(store, now)
    store.flags.paused, store.flags.paused_since = False, None


def numbers(store: Store, now: datetime) -> dict[str, float]:
    """Gauges: how long ago (by the portal's ``now``) the last sweep that ran was begun, and how many of the last thirty
    were skipped."""
    recent = store.sweeps(limit=30)
    ran = [one for one in recent if one.state != SKIPPED]
    return {
        "last_sweep_age_seconds": (now - ran[0].moment).total_seconds() if ran else -1.0,
        "sweeps_missed": float(sum(one.state == SKIPPED for one in recent)),
        "sweep_unfit": float(ran[0].summary.get("unfit", 0)) if ran else 0.0,
        **{name: float(count) for name, count in store.lending_counts().items()},
    }
