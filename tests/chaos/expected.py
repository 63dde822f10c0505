"""What must come of what people did: predicted from their diary alone, by rules of its own, simpler than the service's.

In the run's calendar every day is a working day from 9 to 18, so a deadline is a date and an hour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from tests.chaos.office import FINAL_STAGES, HEAD, SELLERS
from tests.chaos.people import Deed, Diary, Visit
from tests.world.company import MOSCOW

EVENING_OF_WORK = time(18)
DEADLINES: dict[str, tuple[int, time]] = {
    "call": (1, EVENING_OF_WORK),
    "note": (3, time(12)),
    "meet": (1, time(15)),
    "offer": (2, EVENING_OF_WORK),
    "sign": (40, EVENING_OF_WORK),
    "file": (50, EVENING_OF_WORK),
    "thank": (30, EVENING_OF_WORK),
    "ship": (60, EVENING_OF_WORK),
}
"""Days after the entry, and the hour."""
TASKS = {
    "NEW": ("call", "note"),
    "MEETING": ("meet", "ship"),
    "OFFER": ("offer",),
    "CONTRACT": ("sign", "file"),
    "WON": ("thank",),
    "LOSE": (),
}
LIMITS = {"note": 1, "file": 0}
LIMIT = 3


@dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep that ran: its slot, and the moment that it counted from."""

    slot: str
    moment: datetime

    @property
    def target(self) -> datetime:
        """Where it moves what is overdue."""
        day = self.moment.astimezone(MOSCOW).date()
        return at(day + timedelta(days=self.slot.endswith("evening")), EVENING_OF_WORK)


@dataclass(frozen=True, slots=True)
class Expected:
    """One occurrence. ``certain``: there must be a task (else there may be one). ``deadline`` None: not foretold."""

    occurrence: str
    deal: int
    rule: str
    certain: bool
    deleted: bool
    done: bool
    owners: frozenset[int]
    supervisor: int | None
    deadline: datetime | None
    moves: int | None


def at(day: date, hour: time) -> datetime:
    """An hour of a day in Moscow."""
    return datetime.combine(day, hour, MOSCOW)


def predict(visits: Sequence[Visit], diary: Diary, sweeps: Sequence[Sweep]) -> dict[str, Expected]:
    """Every occurrence by its name. ``visits``: all rows, also those that the service's own moves made."""
    last = {visit.deal: visit for visit in sorted(visits, key=lambda visit: visit.row)}
    return {
        f"{visit.row}:{rule}": _one(f"{visit.row}:{rule}", rule, visit, last[visit.deal], diary, sweeps)
        for visit in visits
        for rule in TASKS[visit.stage]
    }


def _one(name: str, rule: str, visit: Visit, last: Visit, diary: Diary, sweeps: Sequence[Sweep]) -> Expected:
    deeds = diary.deeds.get(name, [])
    ended = any(deed.what == "done" for deed in deeds)
    left = rule == "sign" and last is not visit
    deal_open = last.stage not in FINAL_STAGES
    if not deal_open:  # the tasks of a closed deal are moved no more
        sweeps = [sweep for sweep in sweeps if sweep.moment < last.entered]
    if rule in ("note", "file", "thank"):
        owners = frozenset({"note": SELLERS, "file": (6,), "thank": (HEAD,)}[rule])
    else:
        had = diary.responsibles[visit.deal]
        owners = frozenset(had[-1:] if deal_open and not ended and not left else had)
    deadline, moves = _deadline(rule, visit, diary, deeds, sweeps)
    foretold = rule != "ship" or (deal_open and not ended)
    return Expected(
        name,
        visit.deal,
        rule,
        certain=not left,
        deleted=any(deed.what == "deleted" for deed in deeds),
        done=ended or left,
        owners=owners,
        supervisor={"file": None, "thank": 1}.get(rule, HEAD),
        deadline=deadline if foretold else None,
        moves=moves if foretold else None,
    )


def _deadline(
    rule: str, visit: Visit, diary: Diary, deeds: Sequence[Deed], sweeps: Sequence[Sweep]
) -> tuple[datetime, int]:
    """The deadline at the end and the moves by sweeps, told event by event."""
    days, hour = DEADLINES[rule]
    deadline = at(visit.entered.astimezone(MOSCOW).date() + timedelta(days=days), hour)
    if rule == "ship" and (day := diary.ships.get(visit.deal)):
        deadline = at(day, time(12))
    moves = counted = 0
    ended = False
    events: list[tuple[datetime, int, Deed | Sweep]] = [
        *((deed.at, 0, deed) for deed in deeds),
        *((sweep.moment, 1, sweep) for sweep in sweeps),
    ]
    for moment, _, event in sorted(events, key=lambda one: one[:2]):
        if isinstance(event, Deed):
            ended = ended or event.what in ("done", "deleted")
            if event.deadline is not None:
                deadline, counted = event.deadline, 0
        elif not ended and deadline < moment and counted < LIMITS.get(rule, LIMIT):
            deadline, moves, counted = event.target, moves + 1, counted + 1
    return deadline, moves
