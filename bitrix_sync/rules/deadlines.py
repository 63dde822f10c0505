"""When a task is due: a deadline of the rules, the moments it may count from, a calendar in; one moment out. Pure.

Source: the rules language, section Deadlines. Where it leaves a choice:

- Results are whole minutes, as the portal keeps them: seconds are cut, as the portal would.
- A field's own moment, which lifting does not pass, is the date-time as it stands; of a date, the end of that day's
  working hours, or ``at`` when that is later: ``at`` belongs to the deadline, the date to the deal. On a day off it is
  moved as a result would be; where its time of day is gone by but that day's hours last, their end takes its place.
- ``workminutes`` and ``workhours`` end inside working hours, so what replaces their result is moved back off a day off.
- ``before 0 workdays`` mirrors ``after``: that day if it works and its time is not beyond the moment, else the working
  day before.
- A multiple field counts by its earliest value.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable, Mapping
from datetime import MAXYEAR, MINYEAR, UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple

from bitrix_sync.errors import UserError
from bitrix_sync.model.facts import DealField
from bitrix_sync.model.worktime import Calendar, CalendarError
from bitrix_sync.rules.model import Deadline, Done, Duration, Entered, Event, OnDayOff
from bitrix_sync.rules.values import civil_date, filled, instant

MINUTES = {"minutes": 1, "hours": 60, "workminutes": 1, "workhours": 60}
"""The units that pass from a moment; the others count days."""
AT_ONCE = Duration(0, "workdays")
MINUTE = timedelta(minutes=1)


class DeadlineError(UserError):
    """A deadline that cannot be computed: ``field`` (the deal's, or "deadline") holds a ``value`` that will not do."""

    def __init__(self, field: str, value: object, reason: str = "is not a date") -> None:
        super().__init__(f"{field}: {value!r} {reason}")
        self.field = field
        self.value = value


class _Origin(NamedTuple):
    """What a branch counts from. ``moment`` is None for a civil date. ``field``: the deal's field it comes from, "" for
    none; ``dated``: a field's or a certain date, which may stand for itself."""

    basis: str
    day: date
    moment: datetime | None
    field: str = ""
    value: Any = None
    dated: bool = False


class Computed(NamedTuple):
    """A computed deadline.

    ``at``: UTC, whole minutes. ``basis``: what it was counted from, and nothing of the rule's numbers ("entry",
    "field:UF_CRM_X=2026-03-12", "event:done:offer@2026-03-12T09:00:00Z", "else:entry"): while it stays the same there
    is nothing to compute anew. ``branch``: "main", "else", "else:else" ... ``lifted``: it was ``due`` in the past, and
    was counted from now instead. ``day_off``: the day it was moved off; ``capped``: held back by the field's own
    moment."""

    at: datetime
    basis: str
    branch: str
    lifted: bool
    origin: _Origin
    deadline: Deadline
    due: datetime
    day_off: date | None = None
    capped: bool = False

    @property
    def data(self) -> Mapping[str, Any]:
        """How it was counted, JSON-able: ``from``, ``counted_from``, ``count``, ``computed`` (before lifting), and
        where it applies ``day_off`` and ``capped``."""
        origin = self.origin
        return {
            "from": origin.basis,
            "counted_from": _stamp(origin.moment) if origin.moment else origin.day.isoformat(),
            "count": _wording(self.deadline),
            "computed": _stamp(self.due),
            **({"day_off": self.day_off.isoformat()} if self.day_off else {}),
            **({"capped": True} if self.capped else {}),
        }


def compute(
    deadline: Deadline,
    *,
    entry: datetime,
    start: datetime,
    now: datetime,
    calendar: Calendar,
    fields: Mapping[str, Any],
    deal_fields: Mapping[str, DealField],
    happened: Callable[[Event], datetime | None],
) -> Computed:
    """The deadline as seen at ``now``. ``start``: what the first branch counts from (entry, or what started the task);
    ``entry``: what ``else`` counts from. ``fields``: the deal's values by code; ``deal_fields``: their types.
    ``happened``: when an event of this visit came to pass, None while it has not. Moments are aware.

    DeadlineError when a field's value is no date (for minutes and hours: no date with a time), or the result lies where
    the calendar does not reach.
    """
    branch = ""
    origin = _origin(deadline, start, calendar, fields, deal_fields, happened)
    while origin is None:
        if deadline.otherwise is None:
            raise DeadlineError(deadline.field or "deadline", None, "has come to nothing and has no else")
        deadline, branch = deadline.otherwise, branch + "else:"
        origin = _origin(deadline, entry, calendar, fields, deal_fields, happened)
    try:
        due, day_off = _count(deadline, origin, calendar)
        at, capped = _lift(deadline, origin, now, calendar) if due < now else (due, False)
    except (CalendarError, OverflowError) as fault:
        value = origin.value if origin.field else _wording(deadline)
        raise DeadlineError(origin.field or "deadline", value, f"leads beyond the calendar ({fault})") from fault
    return Computed(
        at=at,
        basis=branch + origin.basis,
        branch=branch.removesuffix(":") or "main",
        lifted=due < now,
        origin=origin,
        deadline=deadline,
        due=due,
        day_off=day_off,
        capped=capped,
    )


# --- what it counts from ---------------------------------------------------------------------------------------------


def counted(deadline: Deadline, moment: datetime, calendar: Calendar) -> datetime:
    """The deadline counted from a moment alone: a pause (``again``), a stage's ``limit``, a sweep's ``move_to``."""
    return compute(
        deadline,
        entry=moment,
        start=moment,
        now=moment,
        calendar=calendar,
        fields={},
        deal_fields={},
        happened=lambda event: None,
    ).at


def _origin(
    deadline: Deadline,
    since: datetime,
    calendar: Calendar,
    fields: Mapping[str, Any],
    deal_fields: Mapping[str, DealField],
    happened: Callable[[Event], datetime | None],
) -> _Origin | None:
    """What this branch counts from; None while its field is empty or its event has not happened."""
    if deadline.field is not None:
        return _of_field(deadline.field, fields.get(deadline.field), deal_fields.get(deadline.field), calendar)
    if deadline.date is not None:
        return _Origin("date", deadline.date, None, field="date", value=deadline.date.isoformat(), dated=True)
    basis, moment = "entry", since
    if deadline.event is not None:
        came = happened(deadline.event)
        if came is None:
            return None
        basis, moment = f"event:{_event(deadline.event)}@{_stamp(came)}", came
    return _Origin(basis, calendar.local(moment).date(), moment.astimezone(UTC))


def _of_field(code: str, value: Any, field: DealField | None, calendar: Calendar) -> _Origin | None:
    """A date-time field is a moment; any other holds civil dates as written, whatever hour and offset they carry."""
    if not filled(value, field):
        return None
    values = [one for one in value if filled(one, field)] if isinstance(value, list | tuple) else [value]
    try:
        if field is not None and field.type == "datetime":
            moment = min(found for found in map(instant, values) if found)
            day = calendar.local(moment).date()
            return _Origin(f"field:{code}={_stamp(moment)}", day, moment, code, value, dated=True)
        day = min(map(civil_date, values))
    except (ValueError, OverflowError) as fault:
        raise DeadlineError(code, value, f"is not a date ({fault})") from fault
    return _Origin(f"field:{code}={day.isoformat()}", day, None, code, value, dated=True)


def _event(event: Event) -> str:
    if isinstance(event, Done):
        return f"done:{event.rule}"
    if isinstance(event, Entered):
        return f"stage:{','.join(sorted(event.stages))}"
    return event.name


# --- counting --------------------------------------------------------------------------------------------------------


def _count(deadline: Deadline, origin: _Origin, calendar: Calendar) -> tuple[datetime, date | None]:
    """When it is due, past or not, and the day off that it was moved off, if it was."""
    direction, at = deadline.direction, deadline.at
    if deadline.offset is None and origin.dated:
        return _own_moment(deadline, origin, calendar)
    offset = deadline.offset or AT_ONCE
    if offset.unit in MINUTES:
        if origin.moment is None:
            raise DeadlineError(origin.field, origin.value, f"has no time of day to count {offset.unit} from")
        passed = _whole(_pass(offset, direction, origin.moment, calendar))
        return _keep_time(passed, deadline.on_day_off or "keep", calendar)
    if offset == AT_ONCE:
        return _at_once(origin.day, origin.moment, direction, at, calendar), None
    if offset.unit == "workdays":
        count = calendar.nth_working_after if direction > 0 else calendar.nth_working_before
        return _place(count(origin.day, offset.amount), at, "keep", calendar)
    return _place(_civil(origin.day, offset, direction), at, _policy(deadline), calendar)


def _own_moment(deadline: Deadline, origin: _Origin, calendar: Calendar) -> tuple[datetime, date | None]:
    """The moment or the day itself."""
    if origin.moment is not None and deadline.at is None:
        return _keep_time(_whole(origin.moment), _policy(deadline), calendar)
    return _place(origin.day, deadline.at, _policy(deadline), calendar)


def _lift(deadline: Deadline, origin: _Origin, now: datetime, calendar: Calendar) -> tuple[datetime, bool]:
    """The deadline of what is past already: ``after 0 workdays`` from now, not beyond the field's own moment if that is
    still ahead; and whether the field held it back. A field's moment on a day off holds back as ``on_day_off`` says."""
    lifted = _at_once(calendar.local(now).date(), now, 1, deadline.at, calendar)
    if deadline.field is None:
        return lifted, False
    policy = _policy(deadline)
    if origin.moment is not None:
        own = _whole(origin.moment)
        moved, day_off = _keep_time(own, policy, calendar)
    else:
        own, placed = _day_end(origin.day, deadline.at, calendar), _working(origin.day, policy, calendar)
        moved, day_off = _day_end(placed, deadline.at, calendar), origin.day if placed != origin.day else None
    if not now < own < lifted:
        return lifted, False
    if moved <= now and day_off is not None:
        moved = _day_end(calendar.local(moved).date(), None, calendar)
    return (moved, True) if now < moved < lifted else (lifted, False)


def _day_end(day: date, at: time | None, calendar: Calendar) -> datetime:
    """The end of that day's hours, or ``at`` when that is later."""
    return calendar.due(day, max(calendar.end_of(day), at or time.min))


def _at_once(day: date, moment: datetime | None, direction: int, at: time | None, calendar: Calendar) -> datetime:
    """``0 workdays``: today if it works and its time is still ahead, else the next working day (before: the last)."""
    if calendar.is_working(day):
        due = calendar.due(day, at or calendar.end_of(day))
        if moment is None or (due > moment if direction > 0 else due <= moment):
            return due
    seek = calendar.next_working if direction > 0 else calendar.previous_working
    day = seek(day, inclusive=False)
    return calendar.due(day, at or calendar.end_of(day))


def _pass(offset: Duration, direction: int, since: datetime, calendar: Calendar) -> datetime:
    """``since`` plus or minus minutes or hours, by the clock or in working hours."""
    minutes = direction * offset.amount * MINUTES[offset.unit]
    return calendar.add_work(since, minutes) if offset.unit.startswith("work") else since + minutes * MINUTE


def _civil(day: date, offset: Duration, direction: int) -> date:
    """The day plus or minus days, weeks or months; a month's end is clamped. OverflowError at the ends of time."""
    amount = direction * offset.amount
    if offset.unit != "months":
        return day + timedelta(days=amount * (7 if offset.unit == "weeks" else 1))
    year, month = divmod(day.year * 12 + day.month - 1 + amount, 12)
    if not MINYEAR <= year <= MAXYEAR:
        raise OverflowError("date value out of range")
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def _place(day: date, at: time | None, policy: OnDayOff, calendar: Calendar) -> tuple[datetime, date | None]:
    """The day, or the working day next to it, at ``at`` or at the end of its hours; and the day off that was left."""
    placed = _working(day, policy, calendar)
    return calendar.due(placed, at or calendar.end_of(placed)), day if placed != day else None


def _keep_time(moment: datetime, policy: OnDayOff, calendar: Calendar) -> tuple[datetime, date | None]:
    """The moment, or the same time of day on the working day next to it; and the day off that was left."""
    wall = calendar.local(moment)
    day = wall.date()
    placed = _working(day, policy, calendar)
    return (moment, None) if placed == day else (calendar.due(placed, wall.time()), day)


def _working(day: date, policy: OnDayOff, calendar: Calendar) -> date:
    if policy == "keep":
        return day
    seek = calendar.next_working if policy == "next" else calendar.previous_working
    return seek(day, inclusive=True)


def _policy(deadline: Deadline) -> OnDayOff:
    """What happens on a day off: as the file says, else as the kind of deadline has it."""
    if deadline.on_day_off is not None:
        return deadline.on_day_off
    if deadline.offset is not None and deadline.offset.unit in ("minutes", "hours"):
        return "keep"
    return "next" if deadline.offset is not None and deadline.direction > 0 else "previous"


def _whole(moment: datetime) -> datetime:
    """The moment without seconds."""
    return moment.replace(second=0, microsecond=0)


# --- wording ---------------------------------------------------------------------------------------------------------


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def _wording(deadline: Deadline) -> str:
    """What is counted, as the file says it: "after 2 workdays"; "" for the moment itself."""
    if deadline.offset is None:
        return ""
    return f"{'after' if deadline.direction > 0 else 'before'} {deadline.offset.amount} {deadline.offset.unit}"
