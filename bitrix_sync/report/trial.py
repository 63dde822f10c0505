"""The report on the trial mode: what would have been done, if the rules did not only watch."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from bitrix_sync.model.actions import CreateTask, MoveDeal, SendMessage, SetDeadline, SetPeople
from bitrix_sync.model.keys import Occurrence
from bitrix_sync.model.operations import TaskRecord
from bitrix_sync.report.context import ReportContext, scene
from bitrix_sync.report.declaration import DEADLINE, DEAL, Column, Form, Line, Report
from bitrix_sync.store import Store, queries
from bitrix_sync.store.mapping import action_of
from bitrix_sync.store.tasks import task_records
from bitrix_sync.words.texts import unmarked

UNMADE = TaskRecord("")
"""Of a task that is not there yet nothing is known but what would be made."""


def trial(store: Store, *, now: datetime) -> list[Line]:
    """What would have been done, the newest first. Empty while the service works: what it does is in the portal."""
    with scene(store, now) as here:
        rows = queries.trial_rows(here.connection)
        records = {one.ref: one for one in task_records(here.connection, {row.ref for row in rows if row.ref})}
        return [_line(here, row, records.get(row.ref, UNMADE)) for row in rows]


def _line(here: ReportContext, row: Any, record: TaskRecord) -> Line:
    of = Occurrence.parse(row.ref)
    rule = of.rule if of else record.rule_id
    line = {
        "at": here.local(row.at),
        "kind": row.kind,
        "rule": rule,
        "rule_title": here.known.rule_title(rule) if rule else "",
        "deal_id": row.deal_id or record.deal_id or None,
        "deal": row.deal or "",
        "task_id": record.portal_id,
        "title": record.title,
        "deadline": here.local(record.deadline),
        "owner_id": record.owner_id or None,
        "sweep": row.sweep,
        "text": "",
        **_told(here, row),
    }
    return line | {"owner": here.name(line["owner_id"])}


def _told(here: ReportContext, row: Any) -> Line:
    """What the operation itself tells."""
    match action_of(row):
        case CreateTask() as made:
            return {"title": made.title, "owner_id": made.owner_id, "deadline": here.local(made.deadline)}
        case SetDeadline(deadline=deadline):
            return {"deadline": here.local(deadline)}
        case SetPeople(owner=int() as owner):
            return {"owner_id": owner}
        case SendMessage(user=user, text=text):
            return {"owner_id": user, "text": unmarked(text)}
        case MoveDeal(stage=stage):
            return {"title": here.known.stage_name(stage)}
    return {}


TRIAL = Report(
    "trial",
    trial,
    keys=("at", "kind", "rule", "rule_title", "deal_id", "deal", "task_id", "title", "owner_id", "owner", "deadline",
          "sweep", "text"),
    columns=(
        Column("at", Form.MOMENT, "page.service.when"),
        Column("kind", Form.ACTION, "page.service.what"),
        Column("title", Form.TEXT, "task"),
        Column("owner", Form.PERSON, "whom"),
        DEADLINE,
        DEAL,
        Column("rule_title", word="rule"),
        Column("text", Form.DRAFT, "draft"),
    ),
)  # fmt: skip
REPORTS = (TRIAL,)
