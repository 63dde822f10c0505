"""The report on deals without a next step."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from bitrix_sync.decisions.idle import too_long
from bitrix_sync.model.money import worth
from bitrix_sync.report.choice import ALL, Selection
from bitrix_sync.report.context import ReportContext, hours_of, scene
from bitrix_sync.report.declaration import DEAL, FUNNEL, WHO, Column, Form, Line, Report
from bitrix_sync.store import Flags, Store, steps
from bitrix_sync.store.deals import known_deals


def idle(store: Store, *, now: datetime, chosen: Selection = ALL) -> list[Line]:
    """A row for each deal in progress that has no next step for longer than its stage allows, the longest first. Of
    stages of whose deals it is not known yet what is planned there are none."""
    with scene(store, now) as here:
        scope = Flags.steps_scope.read(here.connection)
        wanted = {stage: span for stage, span in here.known.next_steps.items() if stage in scope}
        known = steps.steps(here.connection, stages=wanted) if wanted else {}
        late = too_long(known, wanted, here.known.calendar, here.now)
        found = known_deals(here.connection, late)
        shown = [(since, found[deal]) for since, deal in sorted((at, one) for one, at in late.items())]
        return [
            _line(here, deal, since)
            for since, deal in shown
            if chosen.has(deal.responsible_id) and chosen.has_funnel(deal.funnel_id)
        ]


def _line(here: ReportContext, deal: Any, since: datetime) -> Line:
    return {
        "deal_id": deal.id,
        "deal": deal.title,
        "funnel": here.known.funnel_name(deal.funnel_id),
        "stage": here.known.stage_name(deal.stage_id),
        "responsible_id": deal.responsible_id,
        "responsible": here.name(deal.responsible_id),
        "since": here.local(since),
        "hours": hours_of(here.now - since),
        "amount": here.money(worth(deal.fields, here.known.currencies)),
        "currency": here.known.currency,
    }


REPORTS = (
    Report(
        "idle",
        idle,
        keys=("deal_id", "deal", "funnel", "stage", "responsible_id", "responsible", "since", "hours", "amount",
              "currency"),
        takes=(*WHO, "funnel"),
        columns=(
            DEAL,
            FUNNEL,
            Column("stage"),
            Column("responsible", Form.PERSON),
            Column("since", Form.MOMENT),
            Column("hours", Form.HOURS, "idle_for"),
            Column("amount", Form.MONEY),
        ),
    ),
)  # fmt: skip
