"""Deals won and lost, how long that took, and what is open: by funnel and responsible."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TypeAlias

from bitrix_sync.model.facts import WON
from bitrix_sync.model.money import worth
from bitrix_sync.report.choice import ALL, Selection
from bitrix_sync.report.context import ReportContext, scene
from bitrix_sync.report.deals import share_of
from bitrix_sync.report.declaration import FUNNEL, WHEN, WHO, Column, Form, Line, Report
from bitrix_sync.store import Store, queries

DAY = timedelta(days=1)
NORM = timedelta(days=365)
"""How far back deals were won that say how long one takes."""


@dataclass(slots=True)
class _Portfolio:
    """Deals of a funnel and a responsible; ``days`` from making to winning."""

    won: int = 0
    lost: int = 0
    open: int = 0
    over_norm: int = 0
    amount: Decimal = Decimal(0)
    days: list[float] = field(default_factory=list)


Sums: TypeAlias = defaultdict[tuple[int, int], _Portfolio]
"""By funnel and responsible."""


def deals(store: Store, *, now: datetime, chosen: Selection = ALL) -> list[Line]:
    """A row for each funnel and responsible: deals won and lost in the period, within how many days half and nine
    tenths of those won were, open deals now, how many of them are older than half of what the funnel won in the last
    ``NORM`` took, and what the open ones are worth in the account's ``currency`` (None while that is not known)."""
    with scene(store, now) as here:
        sums: Sums = defaultdict(_Portfolio)
        usual = _count_closed(here, sums, *chosen.period(here))
        _count_open(here, sums, usual)
        order = {funnel.id: place for place, funnel in enumerate(here.known.funnels)}
        lines = [
            _line(here, funnel, user, one)
            for (funnel, user), one in sums.items()
            if chosen.has_funnel(funnel) and chosen.has(user)
        ]
    return sorted(lines, key=lambda line: (_place(order, line), -line["open"], -line["won"], line["responsible"]))


def _count_closed(here: ReportContext, sums: Sums, since: datetime, until: datetime) -> Mapping[int, float | None]:
    """Counts what was won and lost in the period; within how many days each funnel won half of its deals."""
    norms: defaultdict[int, list[float]] = defaultdict(list)
    for row in queries.deals_closed(here.connection, min(since, here.now - NORM)):
        won, days = row.semantic == WON, (row.closed - row.created) / DAY
        if won and row.closed >= here.now - NORM:
            norms[row.funnel_id].append(days)
        if since <= row.closed < until:
            one = sums[row.funnel_id, row.responsible_id]
            one.won += won
            one.lost += not won
            one.days += [days] if won else []
    return {funnel: share_of(sorted(days), 0.5) for funnel, days in norms.items()}


def _count_open(here: ReportContext, sums: Sums, usual: Mapping[int, float | None]) -> None:
    """Counts open deals, and those older than what is usual in their funnel."""
    for row in queries.deals_open(here.connection):
        one, norm = sums[row.funnel_id, row.responsible_id], usual.get(row.funnel_id)
        one.open += 1
        one.over_norm += norm is not None and (here.now - row.created) / DAY > norm
        one.amount += worth(row.fields, here.known.currencies) or 0


def _place(order: Mapping[int, int], line: Line) -> tuple[int, int]:
    return order.get(line["funnel_id"], len(order)), line["funnel_id"]


def _line(here: ReportContext, funnel: int, user: int, one: _Portfolio) -> Line:
    days = sorted(one.days)
    return {
        "funnel_id": funnel,
        "funnel": here.known.funnel_name(funnel),
        "responsible_id": user,
        "responsible": here.name(user),
        "won": one.won,
        "lost": one.lost,
        "median_days": share_of(days, 0.5),
        "p90_days": share_of(days, 0.9),
        "open": one.open,
        "over_norm": one.over_norm,
        "amount_open": here.money(one.amount),
        "currency": here.known.currency,
    }


DEALS = Report(
    "deals",
    deals,
    keys=("funnel_id", "funnel", "responsible_id", "responsible", "won", "lost", "median_days", "p90_days", "open",
          "over_norm", "amount_open", "currency"),
    takes=(*WHEN, *WHO, "funnel"),
    columns=(
        FUNNEL,
        Column("responsible", Form.PERSON),
        Column("won", Form.NUMBER),
        Column("lost", Form.NUMBER),
        Column("median_days", Form.LENGTH),
        Column("p90_days", Form.LENGTH),
        Column("open", Form.NUMBER, "open_deals"),
        Column("over_norm", Form.NUMBER),
        Column("amount_open", Form.MONEY),
    ),
)  # fmt: skip
REPORTS = (DEALS,)
