"""Between the records of the core and the rows of the tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import Row

from bitrix_sync.model.actions import Action, Kind, pack, unpack
from bitrix_sync.model.facts import Cursor, Deal, Visit
from bitrix_sync.model.keys import foreign_ref
from bitrix_sync.model.operations import (
    Check,
    DeadlineChange,
    Operation,
    State,
    StoredOperation,
    TaskRecord,
    Trace,
)

T = TypeVar("T")
CHUNK = 500


def chunks(items: Sequence[T], size: int = CHUNK) -> Iterator[Sequence[T]]:
    """The items in portions that fit into one ``IN``."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def visit_row(visit: Visit, *, handled: bool) -> dict[str, Any]:
    """For ``visits``."""
    return {
        "id": visit.id,
        "deal_id": visit.deal_id,
        "kind": visit.kind,
        "funnel_id": visit.funnel_id,
        "stage_id": visit.stage_id,
        "semantic": visit.semantic,
        "entered": visit.entered,
        "handled": handled,
    }


def to_visit(row: Row[Any]) -> Visit:
    """From ``visits``."""
    return Visit(
        id=row.id,
        deal_id=row.deal_id,
        kind=row.kind,
        funnel_id=row.funnel_id,
        stage_id=row.stage_id,
        semantic=row.semantic,
        entered=row.entered,
    )


def deal_row(deal: Deal) -> dict[str, Any]:
    """For ``deals``, without ``wake_at``."""
    return {
        "id": deal.id,
        "title": deal.title,
        "funnel_id": deal.funnel_id,
        "stage_id": deal.stage_id,
        "semantic": deal.semantic,
        "responsible_id": deal.responsible_id,
        "creator_id": deal.creator_id,
        "company_id": deal.company_id,
        "contact_id": deal.contact_id,
        "created": deal.created,
        "changed": deal.changed,
        "moved_by": deal.moved_by,
        "fields": dict(deal.fields),
        "gone": False,
    }


def to_deal(row: Row[Any]) -> Deal:
    """From ``deals``."""
    return Deal(
        id=row.id,
        title=row.title,
        funnel_id=row.funnel_id,
        stage_id=row.stage_id,
        semantic=row.semantic,
        responsible_id=row.responsible_id,
        creator_id=row.creator_id,
        company_id=row.company_id,
        contact_id=row.contact_id,
        created=row.created,
        changed=row.changed,
        moved_by=row.moved_by,
        fields=row.fields,
    )


def task_row(task: TaskRecord) -> dict[str, Any]:
    """For ``tasks``."""
    return {
        "occurrence": task.occurrence or None,
        "portal_id": task.portal_id,
        "deal_id": task.deal_id,
        "rule_id": task.rule_id,
        "visit_id": task.visit_id,
        "number": task.number,
        "deadline": task.deadline,
        "owner_id": task.owner_id,
        "supervisor_id": task.supervisor_id,
        "title": task.title,
        "status": task.status,
        "gone": task.gone,
        "owner_form": task.owner_form,
        "owner_sent": task.owner_sent,
        "creator_id": task.creator_id,
        "auditors": list(task.auditors),
        "first_deadline": task.first_deadline,
        "basis": task.basis,
        "sent": [moment.astimezone(UTC).isoformat() for moment in task.sent],
        "follow_off": task.follow_off,
        "moves": task.moves,
        "moves_by_us": task.moves_by_us,
        "moves_by_people": task.moves_by_people,
        "started": task.started,
        "created": task.created,
        "changed": task.changed,
        "closed": task.closed,
    }


def to_task(row: Row[Any]) -> TaskRecord:
    """From ``tasks``."""
    return TaskRecord(
        occurrence=row.occurrence or "",
        deal_id=row.deal_id,
        rule_id=row.rule_id,
        visit_id=row.visit_id,
        number=row.number,
        deadline=row.deadline,
        owner_id=row.owner_id,
        supervisor_id=row.supervisor_id,
        title=row.title,
        portal_id=row.portal_id,
        status=row.status,
        gone=row.gone,
        owner_form=row.owner_form,
        owner_sent=row.owner_sent,
        creator_id=row.creator_id,
        auditors=tuple(row.auditors),
        first_deadline=row.first_deadline,
        basis=row.basis,
        sent=tuple(datetime.fromisoformat(moment) for moment in row.sent),
        follow_off=row.follow_off,
        moves=row.moves,
        moves_by_us=row.moves_by_us,
        moves_by_people=row.moves_by_people,
        started=row.started,
        created=row.created,
        changed=row.changed,
        closed=row.closed,
    )


def ref_of(row: Row[Any]) -> str:
    """The name of a row of ``tasks`` in operations."""
    return row.occurrence or foreign_ref(row.portal_id)


def operation_row(operation: Operation, *, created: datetime, task: int | None) -> dict[str, Any]:
    """For ``operations``; ``task`` is the row of the task it acts on."""
    return {
        "key": operation.key,
        "kind": operation.kind.value,
        "payload": pack(operation.action),
        "deal_id": operation.deal_id,
        "task": operation.task,
        "task_row": task,
        "urgency": operation.urgency,
        "look_first": operation.look_first,
        "not_before": operation.not_before,
        "sweep": operation.sweep,
        "state": operation.state.value,
        "attempts": 0,
        "error_code": "",
        "error_text": "",
        "created": created,
    }


def action_of(row: Any) -> Action:
    """From a row of ``operations`` (``kind`` and ``payload``)."""
    return unpack(Kind(row.kind), row.payload)


def to_recorded(row: Row[Any]) -> StoredOperation:
    """From ``operations`` joined with ``tasks`` (``portal_id``)."""
    state = State(row.state)
    return StoredOperation(
        id=row.id,
        operation=Operation(
            key=row.key,
            action=action_of(row),
            deal_id=row.deal_id,
            task=row.task,
            urgency=row.urgency,
            look_first=row.look_first,
            not_before=row.not_before,
            sweep=row.sweep,
            state=state,
        ),
        state=state,
        attempts=row.attempts,
        task_id=row.portal_id,
        result=row.result,
        error_code=row.error_code,
        error_text=row.error_text,
        created=row.created,
        sent=row.sent,
        noticed=row.noticed,
    )


def to_slip(row: Row[Any]) -> DeadlineChange:
    """From ``slips`` joined with ``tasks``."""
    return DeadlineChange(ref=ref_of(row), before=row.before, after=row.after, by=row.by, at=row.at, sweep=row.sweep)


def to_trace(row: Row[Any]) -> Trace:
    """From ``traces``."""
    return Trace(
        deal_id=row.deal_id,
        visit_id=row.visit_id,
        rule_id=row.rule_id,
        verdict=row.verdict,
        at=row.at,
        data=row.data,
        checks=tuple(Check(what=what, seen=seen, wanted=wanted, ok=ok) for what, seen, wanted, ok in row.checks),
    )


def to_cursor(row: Row[Any]) -> Cursor | None:
    """From ``portal``; None before the first start."""
    if row.history_id is None:
        return None
    return Cursor(
        history_id=row.history_id,
        history_time=row.history_time,
        deals_time=row.deals_time,
        tasks_time=row.tasks_time,
    )
