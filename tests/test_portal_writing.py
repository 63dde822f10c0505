"""Operations in the portal's words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from bitrix_sync.model.actions import Kind, unpack
from bitrix_sync.model.facts import PortalTask
from bitrix_sync.model.operations import Operation
from bitrix_sync.portal.dialect.commands import fits_batch
from bitrix_sync.portal.dialect.outcomes import Outcome
from bitrix_sync.portal.dialect.writing import command, created_id, moment_text

AT = "2026-03-12T18:00:00+03:00"
SEEN = PortalTask(80, "Call", 2, owner_id=5, creator_id=1, deadline=None, auditors=(7, 8))


def made(kind: Kind, payload: dict[str, Any], **more: Any) -> tuple[str, dict[str, Any]]:
    options = {"task_id": 80, "seen": SEEN, "self_id": 1, **more}
    built = command(Operation("key", unpack(kind, payload), deal_id=10, task="9031:first-call"), **options)
    assert fits_batch(built) or [] in built.params["fields"].values()
    return built.method, dict(built.params)


def test_a_new_task_carries_its_mark_and_its_deal() -> None:
    fields = {
        "TITLE": "Call",
        "RESPONSIBLE_ID": 5,
        "DEADLINE": AT,
        "AUDITORS": (7,),
        "ACCOMPLICES": [],
        "GROUP_ID": None,
        "ALLOW_CHANGE_DEADLINE": True,
        "TASK_CONTROL": False,
    }
    assert made(Kind.CREATE, {"fields": fields}, task_id=None) == (
        "tasks.task.add",
        {
            "fields": {
                "TITLE": "Call",
                "RESPONSIBLE_ID": 5,
                "DEADLINE": AT,
                "AUDITORS": [7],
                "ALLOW_CHANGE_DEADLINE": "Y",
                "TASK_CONTROL": "N",
                "XML_ID": "bitrix-sync:9031:first-call",
                "UF_CRM_TASK": ["D_10"],
            }
        },
    )


@pytest.mark.parametrize(
    ("kind", "payload", "method", "params"),
    [
        # a deadline goes alone: any other field would ask for the right to edit the whole task
        (
            Kind.DEADLINE,
            {"deadline": AT, "reason": "sweep"},
            "tasks.task.update",
            {"taskId": 80, "fields": {"DEADLINE": AT}},
        ),
        (Kind.DEADLINE, {"deadline": None}, "tasks.task.update", {"taskId": 80, "fields": {"DEADLINE": ""}}),
        (Kind.COMPLETE, {"reason": "left"}, "tasks.task.complete", {"taskId": 80}),
        (Kind.DEFER, {"reason": "left"}, "tasks.task.defer", {"taskId": 80}),
        (Kind.RESUME, {"reason": "taken over"}, "tasks.task.renew", {"taskId": 80}),
        (Kind.DELETE, {"reason": "twin"}, "tasks.task.delete", {"taskId": 80}),
        (
            Kind.CHECKLIST,
            {"title": "Ask for the budget", "index": 2},
            "task.checklistitem.add",
            {"TASKID": 80, "FIELDS": {"TITLE": "Ask for the budget", "SORT_INDEX": 30}},
        ),
        (Kind.LINE, {"text": "Moved."}, "task.commentitem.add", {"TASKID": 80, "FIELDS": {"POST_MESSAGE": "Moved."}}),
        (
            Kind.MOVE_DEAL,
            {"stage": "C5:WON", "visit": 9031},
            "crm.item.update",
            {"entityTypeId": 2, "id": 10, "fields": {"stageId": "C5:WON"}},
        ),
        (
            Kind.MESSAGE,
            {"user": 9, "text": "Hello\n2026-03-12/evening", "mark": "2026-03-12/evening"},
            "im.message.add",
            {"DIALOG_ID": "9", "MESSAGE": "Hello\n2026-03-12/evening", "URL_PREVIEW": "N"},
        ),
        (
            Kind.MESSAGE,
            {"user": 1, "text": "Hello", "mark": "held:1"},
            "im.notify.system.add",
            {"USER_ID": 1, "MESSAGE": "Hello\n\nheld:1"},
        ),
    ],
)
def test_each_kind_has_its_method(kind: Kind, payload: dict[str, Any], method: str, params: dict[str, Any]) -> None:
    assert made(kind, payload) == (method, params)


@pytest.mark.parametrize(
    ("payload", "fields"),
    [
        ({"owner": 6, "supervisor": 9, "drop": [7]}, {"RESPONSIBLE_ID": 6, "AUDITORS": [8, 9]}),
        ({"owner": 6, "supervisor": None, "drop": []}, {"RESPONSIBLE_ID": 6}),
        ({"owner": None, "supervisor": 9, "drop": []}, {"AUDITORS": [7, 8, 9]}),
        ({"owner": 6, "supervisor": 8, "drop": [8]}, {"RESPONSIBLE_ID": 6}),
        ({"owner": 5, "supervisor": None, "drop": [7, 8]}, {"AUDITORS": []}),
        ({"owner": 5, "supervisor": 7, "drop": []}, {"RESPONSIBLE_ID": 5}),
    ],
)
def test_other_observers_stay_when_people_change(payload: dict[str, Any], fields: dict[str, Any]) -> None:
    assert made(Kind.PEOPLE, payload) == ("tasks.task.update", {"taskId": 80, "fields": fields})


def test_what_cannot_be_said_safely_is_not_said() -> None:
    with pytest.raises(ValueError, match="unread"):
        made(Kind.PEOPLE, {"owner": 6}, seen=None)
    with pytest.raises(ValueError, match="needs the portal's id"):
        made(Kind.COMPLETE, {"reason": "left"}, task_id=None)
    with pytest.raises(ValueError, match="needs an offset"):
        made(Kind.DEADLINE, {"deadline": "2026-03-12T18:00:00"})


def test_moments_are_sent_with_their_offset() -> None:
    at = datetime(2026, 3, 12, 18, 0, 30, 5, tzinfo=timezone(timedelta(hours=5)))
    assert moment_text(at) == "2026-03-12T18:00:30+05:00"
    assert moment_text(at.astimezone(UTC)) == "2026-03-12T13:00:30+00:00"
    assert moment_text(None) == ""


@pytest.mark.parametrize(
    ("kind", "value", "number"),
    [
        (Kind.CREATE, {"task": {"id": "8017"}}, 8017),
        (Kind.CREATE, [], None),
        (Kind.CHECKLIST, 475, 475),
        (Kind.LINE, "3141", 3141),
        (Kind.MESSAGE, 15, 15),
        (Kind.MESSAGE, True, None),
        (Kind.DEADLINE, {"task": {"id": "8017"}}, None),
        (Kind.COMPLETE, True, None),
    ],
)
def test_the_id_of_what_was_made(kind: Kind, value: Any, number: int | None) -> None:
    assert created_id(kind, Outcome("done", value)) == number
    assert created_id(kind, Outcome("unknown", value)) is None
