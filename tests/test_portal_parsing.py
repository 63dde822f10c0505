"""Rows as portals have been seen to send them, and as documentation shows them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bitrix_sync.model import items
from bitrix_sync.model.facts import Absence, PortalCalendar, Unread
from bitrix_sync.model.items import ItemKind
from bitrix_sync.portal import reading
from bitrix_sync.portal.client import Portal
from bitrix_sync.portal.dialect import parsing
from bitrix_sync.portal.dialect.names import code_of, item_name, synonyms
from bitrix_sync.portal.dialect.outcomes import read_answer, read_batch
from bitrix_sync.portal.directory import calendar
from bitrix_sync.portal.read_hints import UnreadableRow

SAMPLES = Path(__file__).parent / "samples" / "portal"


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc]


def sample(name: str) -> bytes:
    return (SAMPLES / name).read_bytes()


VISIT = {
    "ID": 35,
    "TYPE_ID": 1,
    "OWNER_ID": 21,
    "CREATED_TIME": "2024-04-25T14:59:11+00:00",
    "CATEGORY_ID": 0,
    "STAGE_SEMANTIC_ID": "P",
    "STAGE_ID": "NEW",
}


def test_history_rows_come_with_ints_or_with_strings() -> None:
    assert parsing.visit(VISIT) == parsing.visit({k: str(v) for k, v in VISIT.items()})
    found = parsing.visit(VISIT)
    assert found is not None
    assert (found.id, found.deal_id, found.kind, found.stage_id, found.entered) == (
        35,
        21,
        1,
        "NEW",
        utc(2024, 4, 25, 14, 59, 11),
    )


def test_a_captured_page_of_history_is_read_whole() -> None:
    outcome, _ = read_answer(200, sample("stage_history_page.json"), method="crm.stagehistory.list", now=0)
    visits = [parsing.visit(row) for row in parsing.rows(outcome.value, "items")]
    assert len(visits) == 3
    assert visits[0] is not None
    assert (visits[0].id, visits[0].stage_id, visits[0].entered) == (7365, "UC_KW9988", utc(2022, 1, 25, 7, 18))


def test_a_captured_batch_with_an_empty_list_is_done() -> None:
    _, envelope = read_answer(200, sample("batch_list_empty.json"), method="batch", now=0)
    (outcome,) = read_batch(envelope, ["crm.status.list"], now=0, keys=["order0000000000"])
    assert (outcome.kind, outcome.value, outcome.operating) == ("done", [], 0)


def test_a_captured_batch_of_two_errors_is_two_refusals() -> None:
    _, envelope = read_answer(200, sample("batch_of_two_errors.json"), method="batch", now=0)
    outcomes = read_batch(envelope, ["crm.item.get"] * 2, now=0)
    assert [(o.kind, o.text) for o in outcomes] == [
        ("refused", "ID is not defined or invalid."),
        ("refused", "Not found"),
    ]


@pytest.mark.parametrize(
    ("stage", "funnel", "full"),
    [("NEW", 0, "NEW"), ("NEW", 5, "C5:NEW"), ("C5:NEW", 5, "C5:NEW"), ("C2:1", 2, "C2:1"), ("", 5, "")],
)
def test_stages_of_numbered_funnels_get_their_prefix(stage: str, funnel: int, full: str) -> None:
    assert items.DEAL.stage(stage, funnel) == full


def test_rows_of_two_kinds_with_one_id_are_not_the_same(lead: ItemKind) -> None:
    of_lead = {"STATUS_ID": "NEW", "STATUS_SEMANTIC_ID": "P"}
    theirs = parsing.visit({key: VISIT[key] for key in ("ID", "OWNER_ID", "TYPE_ID", "CREATED_TIME")} | of_lead, lead)
    ours = parsing.visit({**VISIT, "STAGE_ID": "NEW", "CATEGORY_ID": 0})
    assert (str(theirs.row), str(ours.row)) == (f"LEAD.{ours.id}", str(ours.id))
    assert {theirs.id, theirs.deal_id, theirs.funnel_id}.isdisjoint({ours.id, ours.deal_id, ours.funnel_id})
    assert (theirs.stage_id, ours.stage_id, theirs.entered) == ("LEAD:NEW", "NEW", ours.entered)
    task = parsing.task({**TASK, "ufCrmTask": [f"L_{ours.deal_id}", f"D_{ours.deal_id}", "C_7"]})
    assert task.deal_ids == (theirs.deal_id, ours.deal_id)


@pytest.mark.parametrize(
    "broken", [{"ID": None}, {"ID": 10**12}, {"OWNER_ID": "x"}, *({"CREATED_TIME": said} for said in ("", "soon"))]
)
def test_a_history_row_without_what_makes_it_one_is_not_read(broken: dict[str, Any]) -> None:
    with pytest.raises(UnreadableRow):
        parsing.visit({**VISIT, **broken})


DEAL = {
    "id": 7405,
    "title": "Ship",
    "categoryId": 5,
    "stageId": "C5:NEW",
    "stageSemanticId": "P",
    "closed": "N",
    "isRecurring": "N",
    "assignedById": 7,
    "createdBy": 1,
    "movedBy": 7,
    "companyId": 0,
    "contactId": None,
    "createdTime": "2026-05-14T10:00:00+02:00",
    "updatedTime": "2026-05-14T10:26:32+02:00",
    "opportunity": 999.9,
    "ufCrm_1721": "2026-06-01T03:00:00+03:00",
}


def test_a_deal_is_keyed_by_the_codes_that_were_asked_for() -> None:
    deal = parsing.deal(DEAL, items.DEAL, ["OPPORTUNITY", "UF_CRM_1721", "DATE_CREATE", "NOT_THERE"])
    assert deal is not None
    assert (deal.id, deal.funnel_id, deal.stage_id, deal.semantic, deal.company_id, deal.contact_id) == (
        *(7405, 5, "C5:NEW", "P", 0, 0),
    )
    assert deal.changed == utc(2026, 5, 14, 8, 26, 32)
    assert deal.fields == {
        "OPPORTUNITY": 999.9,
        "UF_CRM_1721": "2026-06-01T03:00:00+03:00",
        "DATE_CREATE": "2026-05-14T10:00:00+02:00",
    }


def test_a_template_of_a_recurring_deal_is_no_deal() -> None:
    assert parsing.deal({**DEAL, "isRecurring": "Y"}, items.DEAL, []) is None


@pytest.mark.parametrize(
    ("stage", "closed", "semantic"), [("C5:WON", "Y", "S"), ("C5:LOSE", "Y", "F"), ("C5:NEW", "N", "P")]
)
def test_a_deal_without_its_semantic_is_told_by_its_flag(stage: str, closed: str, semantic: str) -> None:
    row = {**DEAL, "stageId": stage, "closed": closed, "stageSemanticId": None}
    deal = parsing.deal(row, items.DEAL, [])
    assert deal is not None
    assert deal.semantic == semantic


def test_the_first_of_several_contacts_counts() -> None:
    deal = parsing.deal({**DEAL, "contactId": 0, "contactIds": [84, 85]}, items.DEAL, [])
    assert deal is not None
    assert deal.contact_id == 84


TASK = {
    "id": "8017",
    "title": "Call",
    "deadline": "2025-10-24T19:00:59+02:00",
    "status": "2",
    "responsibleId": "547",
    "createdBy": "1",
    "xmlId": "bitrix-sync:9031:call",
    "ufCrmTask": ["D_7405", "C_7", "T80_3"],
    "auditors": ["13", 14],
    "createdDate": "2025-10-20T10:00:00+02:00",
    "changedDate": "2025-10-21T10:00:00+02:00",
    "closedDate": None,
    "group": [],
    "subStatus": "-1",
}


def test_a_task_as_the_portal_shows_it() -> None:
    task = parsing.task(TASK)
    assert task is not None
    assert (task.id, task.status, task.owner_id, task.mark) == (8017, 2, 547, "bitrix-sync:9031:call")
    assert task.deadline == utc(2025, 10, 24, 17, 0)
    assert (task.deal_ids, task.auditors) == ((7405,), (13, 14))
    assert task.changed == utc(2025, 10, 21, 8)
    assert task.open


@pytest.mark.parametrize("nothing", [None, False, "", [], "null"])
def test_nothing_has_many_shapes(nothing: Any) -> None:
    empty = dict.fromkeys(("ufCrmTask", "auditors", "deadline", "closedDate"), nothing)
    task = parsing.task({**TASK, **empty})
    assert task is not None
    assert (task.deal_ids, task.auditors, task.deadline, task.closed) == ((), (), None, None)


def test_observers_may_come_as_a_map() -> None:
    task = parsing.task({**TASK, "auditors": {"1": "13"}, "ufCrmTask": "D_5", "xmlId": None})
    assert task is not None
    assert (task.auditors, task.deal_ids, task.mark) == ((13,), (5,), "")


def test_tasks_are_found_in_every_shape_of_a_result() -> None:
    portal = Portal("http://127.0.0.1:1/rest/1/code/")

    def ids(value: Any) -> list[int]:
        return [task.id for task in reading.parse_tasks(portal, value, {8017, 8018})]

    assert ids({"tasks": {"8017": TASK}}) == [8017]
    assert ids([]) == ids({"tasks": []}) == ids(None) == []
    assert not portal.memory.bad.ids("task")
    assert ids({"tasks": [TASK, {"title": "no id"}, "junk"]}) == [8017]
    assert 8018 in portal.memory.bad.ids("task"), "one of the rows may be its"
    portal.close()


@pytest.mark.parametrize(
    ("active", "expected"),
    [(True, True), (False, False), ("Y", True), ("N", False), ("1", True), (0, False), (None, True)],
)
def test_a_user_is_active_in_many_words(active: Any, expected: bool) -> None:
    user = parsing.user({"ID": "7", "ACTIVE": active, "NAME": " Anna ", "LAST_NAME": "Berg", "UF_DEPARTMENT": [1, "3"]})
    assert user is not None
    assert (user.id, user.name, user.active, user.departments) == (7, "Anna Berg", expected, (1, 3))


def test_a_user_without_a_name_goes_by_his_address() -> None:
    user = parsing.user({"ID": 7, "EMAIL": "a@b.c", "UF_DEPARTMENT": False})
    assert user is not None
    assert (user.name, user.departments) == ("a@b.c", ())


def test_a_department_may_have_neither_parent_nor_head() -> None:
    root = parsing.department({"ID": "1", "NAME": "Firm", "SORT": 500})
    assert root is not None
    assert (root.parent_id, root.head_id) == (0, 0)
    child = parsing.department({"ID": "15", "NAME": "R&D", "PARENT": "1", "UF_HEAD": "13"})
    assert child is not None
    assert (child.parent_id, child.head_id) == (1, 13)


def event(start: datetime, end: datetime, **more: Any) -> dict[str, Any]:
    stamps = {"DATE_FROM_TS_UTC": str(int(start.timestamp())), "DATE_TO_TS_UTC": int(end.timestamp())}
    return {"ACCESSIBILITY": "absent", "DT_SKIP_TIME": "N", **stamps, **more}


def test_only_absences_are_absences() -> None:
    away = event(utc(2026, 3, 2, 8), utc(2026, 3, 2, 12))
    busy = event(utc(2026, 3, 3, 8), utc(2026, 3, 3, 12), ACCESSIBILITY="busy")
    events = parsing.events({"7": [busy, away], "8": []})
    assert events is not None
    found = [parsing.absence(owner, one, utc_offset=0) for owner, one in events]
    assert found == [None, Absence(7, utc(2026, 3, 2, 8), utc(2026, 3, 2, 12))]
    assert parsing.events([]) == []
    assert parsing.events({"7": {"3": away}}) == [(7, away)]


@pytest.mark.parametrize("value", [None, "", "none", 7, True, [1], {"7": None}, {"7": "busy"}, {"7": 3}])
def test_what_is_no_list_of_events_says_nothing_of_absences(value: Any) -> None:
    assert parsing.events(value) is None


@pytest.mark.parametrize(
    ("owner", "more"),
    [
        (7, {"DATE_FROM_TS_UTC": None}),
        (7, {"DATE_TO_TS_UTC": "soon"}),
        (7, {"DATE_TO_TS_UTC": "9" * 30}),
        (7, {"DATE_TO_TS_UTC": 253402300799, "DT_SKIP_TIME": "Y"}),
        (0, {}),
    ],
)
def test_an_absence_that_makes_no_sense_is_not_passed_over_in_silence(owner: int, more: dict[str, Any]) -> None:
    row = event(utc(2026, 3, 2, 8), utc(2026, 3, 2, 12), **more)
    with pytest.raises(UnreadableRow, match="an absence"):
        parsing.absence(owner, row, utc_offset=0)


@pytest.mark.parametrize(
    ("first", "last"),
    [(utc(2026, 7, 6), utc(2026, 7, 10)), (utc(2026, 7, 5, 21), utc(2026, 7, 9, 21))],
    ids=["midnights of UTC", "midnights of the zone"],
)
def test_a_leave_of_whole_days_lasts_to_the_end_of_its_last_day_in_the_portals_zone(
    first: datetime, last: datetime
) -> None:
    leave = event(first, last, DT_SKIP_TIME="Y")
    found = parsing.absence(7, leave, utc_offset=10800)
    assert found == Absence(7, utc(2026, 7, 5, 21), utc(2026, 7, 10, 21))


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("TITLE", "title"),
        ("ASSIGNED_BY_ID", "assignedById"),
        ("DATE_CREATE", "createdTime"),
        ("DATE_MODIFY", "updatedTime"),
        ("CREATED_BY_ID", "createdBy"),
        ("MOVED_TIME", "movedTime"),
        ("UF_CRM_1747309879", "ufCrm_1747309879"),
        ("UF_CRM_3_1747309727", "ufCrm3_1747309727"),
        ("UF_CRM_3_DIGIT", "ufCrm3Digit"),
        ("UF_CRM_3_DIGIT10", "ufCrm_3_DIGIT10"),
        ("UF_CRM_3_DIGIT_10", "ufCrm_3_DIGIT_10"),
        ("UF_CRM_SHIP_DATE", "ufCrmShipDate"),
        ("UTM_SOURCE", "utmSource"),
        ("PARENT_ID_131", "parentId131"),
    ],
)
def test_codes_lead_to_documented_names(code: str, name: str) -> None:
    assert item_name(code, {}) == name
    assert code_of(name) in (code, *synonyms(code))


def test_what_the_portal_lists_goes_before_what_is_derived() -> None:
    assert item_name("ODD_NAME", {"ODD_NAME": "strangeName"}) == "strangeName"
    assert item_name("DATE_CREATE", {"CREATED_TIME": "made"}) == "made"


def test_a_field_is_known_by_all_its_codes() -> None:
    assert synonyms("CREATED_TIME") == ("DATE_CREATE",)
    assert synonyms("DATE_CREATE") == ("CREATED_TIME",)
    assert synonyms("TITLE") == ()


def test_the_portals_calendar_is_understood() -> None:
    settings = {
        "work_time_start": "9.30",
        "work_time_end": "18",
        "year_holidays": "1.01,2.01,7.01, 23.02",
        "year_workdays": "31.12",
        "week_holidays": ["SA", "SU"],
    }
    assert calendar(settings) == PortalCalendar(
        570, 1080, frozenset({5, 6}), frozenset({(1, 1), (2, 1), (7, 1), (23, 2)}), frozenset({(31, 12)})
    )


WHOLE = {"work_time_start": "9", "work_time_end": "18.00", "year_holidays": "", "week_holidays": ["SA", "SU"]}


@pytest.mark.parametrize(
    "half",
    [
        {"work_time_start": "19"},
        {"work_time_start": "x"},
        {"work_time_end": None},
        *({"week_holidays": one} for one in (None, "", "weekend", ["SA", 7], 67, {"SA": "Y"}, [""])),
        *({"year_holidays": one} for one in (None, [], "soon", "1.01,x", "41.01", 101, {})),
        *({"year_workdays": one} for one in (None, "never", ["31.12"])),
    ],
)
def test_a_calendar_told_by_half_is_not_read(half: dict[str, Any]) -> None:
    assert isinstance(calendar(WHOLE), PortalCalendar)
    assert isinstance(calendar(WHOLE | half), Unread)


@pytest.mark.parametrize(
    "settings", [None, [], {}, "text", 5, *({k: WHOLE[k] for k in WHOLE if k != one} for one in WHOLE)]
)
def test_a_calendar_of_which_a_part_is_missing_is_not_read(settings: Any) -> None:
    assert isinstance(calendar(settings), Unread)


def test_a_company_may_work_every_day() -> None:
    assert calendar(WHOLE | {"week_holidays": []}) == PortalCalendar(540, 1080, frozenset())


def test_samples_are_json() -> None:
    assert all(json.loads(path.read_bytes()) for path in SAMPLES.iterdir())
