"""The sandbox's activities answer as the documentation shows it (api-reference/crm/timeline/activities)."""

from __future__ import annotations

from typing import Any

import pytest

from bitrix_sandbox.state.errors import RestError
from tests.world.calls import NOON, Portal, sales_department


@pytest.fixture
def portal() -> Portal:
    portal = sales_department()
    for task in list(portal.state.tasks):
        portal.state.delete_task(task)
    return portal


def listed(portal: Portal, **params: Any) -> list[int]:
    return [int(row["ID"]) for row in portal.call("crm.activity.list", **{"order": {"ID": "ASC"}, **params})]


def test_a_row_has_the_documented_keys_and_texts(portal: Portal) -> None:
    deal = portal.state.add_deal("Romashka", responsible=5)
    meet = portal.state.add_activity("Meet", deal=deal, deadline="2026-03-12T10:00:00+03:00", responsible=5, kind=1)
    some_day = portal.state.add_activity("Some day", deal=deal)
    row, open_ended = portal.call("crm.activity.list", order={"ID": "ASC"})
    assert row == {
        "ID": str(meet),
        "OWNER_ID": str(deal),
        "OWNER_TYPE_ID": "2",
        "TYPE_ID": "1",
        "PROVIDER_ID": "CRM_TODO",
        "ASSOCIATED_ENTITY_ID": "0",
        "SUBJECT": "Meet",
        "RESPONSIBLE_ID": "5",
        "CREATED": "2026-03-11T12:00:00+03:00",
        "LAST_UPDATED": "2026-03-11T12:00:00+03:00",
        "DEADLINE": "2026-03-12T10:00:00+03:00",
        "COMPLETED": "N",
    }
    assert open_ended["DEADLINE"] == "9999-12-31T00:00:00+03:00"
    portal.state.switches.no_deadline_null = True
    assert portal.call("crm.activity.list", filter={"ID": some_day}, select=["DEADLINE"]) == [{"DEADLINE": None}]


def test_lists_are_filtered_by_what_is_planned_changed_and_bound(portal: Portal) -> None:
    state = portal.state
    one, other = state.add_deal("One"), state.add_deal("Other")
    mine = state.add_activity("Mine", deal=one, deadline="2026-03-12T10:00:00+03:00")
    both = state.add_activity("Both", deal=other, also=[one])
    call = state.add_activity("Call", contact=7, kind=2, also=[other])
    state.add_activity("Of nobody's deal", contact=7)
    portal.pass_seconds(60)
    state.complete_activity(call)
    of_one = [{"OWNER_TYPE_ID": 2, "OWNER_ID": one}]
    assert listed(portal, filter={"BINDINGS": of_one}) == [mine, both]
    assert listed(portal, filter={"BINDINGS": [{"OWNER_TYPE_ID": 2}]}) == [mine, both, call]
    assert listed(portal, filter={"BINDINGS": [{"OWNER_TYPE_ID": 2}], "COMPLETED": "N"}) == [mine, both]
    assert listed(portal, filter={">LAST_UPDATED": NOON.isoformat()}) == [call]
    assert listed(portal, filter={"@ID": [mine, call]}, start=-1) == [mine, call]
    assert listed(portal, filter={"COMPLETED": "Y"}, order={"LAST_UPDATED": "DESC"}) == [call]


def test_what_an_activity_is_bound_to_is_asked_for_by_itself(portal: Portal) -> None:
    deal = portal.state.add_deal("Romashka")
    call = portal.state.add_activity("Call", contact=7)
    portal.state.bind_activity(call, deal)
    assert "BINDINGS" not in portal.call("crm.activity.list")[0]
    bound = [{"entityTypeId": 3, "entityId": 7}, {"entityTypeId": 2, "entityId": deal}]
    assert portal.call("crm.activity.binding.list", activityId=call) == bound
    with pytest.raises(RestError) as refused:
        portal.call("crm.activity.binding.list", activityId=call + 2)
    assert refused.value.code == "NOT_FOUND"


@pytest.mark.parametrize(("how", "kind", "provider"), [("new", "6", "CRM_TASKS_TASK"), ("old", "3", "TASKS")])
def test_a_task_of_a_deal_is_an_activity_too(portal: Portal, how: str, kind: str, provider: str) -> None:
    state = portal.state
    state.switches.tasks_as_activities = how
    deal = state.add_deal("Romashka", responsible=5)
    task = state.add_task("Call", responsible=5, by=3, deals=[deal], control=True)
    (row,) = portal.call("crm.activity.list")
    assert (row["TYPE_ID"], row["PROVIDER_ID"], row["ASSOCIATED_ENTITY_ID"]) == (kind, provider, str(task))
    assert row["COMPLETED"] == "N"
    state.complete_task(task, 5)
    assert portal.call("crm.activity.list")[0]["COMPLETED"] == "Y", "it awaits acceptance"
    state.delete_task(task)
    assert portal.call("crm.activity.list") == []


def test_a_deletion_leaves_no_trace(portal: Portal) -> None:
    deal = portal.state.add_deal("Romashka")
    gone = portal.state.add_activity("Call", deal=deal)
    portal.pass_seconds(60)
    portal.state.delete_activity(gone)
    assert listed(portal, filter={">=LAST_UPDATED": NOON.isoformat()}) == []


def test_who_may_not_read_a_deal_reads_none_of_its_activities(portal: Portal) -> None:
    deal = portal.state.add_deal("Romashka", responsible=5)
    portal.state.add_activity("Call", deal=deal)
    portal.state.hide_deal(deal)
    assert listed(portal) == []
