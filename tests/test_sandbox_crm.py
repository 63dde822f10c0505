"""The sandbox's CRM answers as the documentation shows it (api-reference/crm)."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from bitrix_sandbox.state import seed
from bitrix_sandbox.state.crm_fields import user_field_name
from bitrix_sandbox.state.errors import RestError
from tests.world.calls import NOON, Portal, frozen_clock, instant, sales_department

DEAL = {"entityTypeId": 2}


@pytest.fixture
def portal() -> Portal:
    return sales_department()


def refusal(portal: Portal, name: str, **params: Any) -> tuple[str, str]:
    with pytest.raises(RestError) as caught:
        portal.call(name, **params)
    return caught.value.code, caught.value.description


# crm.item.*


def test_an_item_has_the_documented_keys_and_types(portal: Portal) -> None:
    deal = portal.state.add_deal("Проба", stage="PREPARATION", responsible=5, fields={"OPPORTUNITY": 999.99})
    item = portal.call("crm.item.get", **DEAL, id=deal)["item"]
    documented = [
        "id",
        "createdTime",
        "dateCreateShort",
        "updatedTime",
        "dateModifyShort",
        "createdBy",
        "updatedBy",
        "assignedById",
        "opened",
        "leadId",
        "companyId",
        "contactId",
        "quoteId",
        "title",
        "productId",
        "categoryId",
        "stageId",
        "stageSemanticId",
        "isNew",
        "isRecurring",
        "isReturnCustomer",
        "isRepeatedApproach",
        "closed",
        "typeId",
        "opportunity",
        "isManualOpportunity",
        "taxValue",
        "currencyId",
        "probability",
        "comments",
        "begindate",
        "begindateShort",
        "closedate",
        "closedateShort",
        "eventDate",
        "eventDateShort",
        "eventId",
        "eventDescription",
        "locationId",
        "webformId",
        "sourceId",
        "sourceDescription",
        "originatorId",
        "originId",
        "additionalInfo",
        "searchContent",
        "orderStage",
        "movedBy",
        "movedTime",
        "lastActivityBy",
        "lastActivityTime",
        "isWork",
        "isWon",
        "isLose",
        "receivedAmount",
        "lostAmount",
        "hasProducts",
        "utmSource",
        "utmMedium",
        "utmCampaign",
        "utmContent",
        "utmTerm",
        "observers",
        "contactIds",
        "entityTypeId",
    ]
    assert set(documented) <= set(item)
    assert {key for key in item if not key.startswith("ufCrm")} == set(documented)
    assert (item["id"], item["assignedById"], item["categoryId"], item["companyId"]) == (deal, 5, 0, 0)
    assert (item["stageId"], item["stageSemanticId"], item["closed"], item["opened"]) == ("PREPARATION", "P", "N", "Y")
    assert item["opportunity"] == 999.99
    assert item["createdTime"] == "2026-03-11T12:00:00+03:00"
    assert item["begindate"] == "2026-03-11T03:00:00+03:00"
    assert item["closedate"] == "2026-03-18T03:00:00+03:00"
    assert (item["contactIds"], item["observers"], item["probability"]) == ([], [], None)


def test_whole_amounts_are_whole_in_json(portal: Portal) -> None:
    deal = portal.state.add_deal("Проба", fields={"OPPORTUNITY": "10000.00"})
    item = portal.call("crm.item.get", **DEAL, id=str(deal))["item"]
    assert repr(item["opportunity"]) == "10000"


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("UF_CRM_3_DIGIT", "ufCrm3Digit"),
        ("UF_CRM_3_1747309727", "ufCrm3_1747309727"),
        ("UF_CRM_3_DIGIT10", "ufCrm_3_DIGIT10"),
        ("UF_CRM_3_DIGIT_10", "ufCrm_3_DIGIT_10"),
        ("UF_CRM_1747309879", "ufCrm_1747309879"),
        ("UF_CRM_SIGN_DATE", "ufCrmSignDate"),
    ],
)
def test_user_fields_are_named_as_the_documentation_tells(code: str, name: str) -> None:
    assert user_field_name(code) == name


def test_user_fields_come_under_either_name_with_typed_values(portal: Portal) -> None:
    deal = portal.state.add_deal(
        "Проба",
        fields={
            "UF_CRM_SIGN_DATE": "2026-03-20",
            "UF_CRM_SHIP_DATE": "2026-03-25T10:00:00+05:00",
            "UF_CRM_LOGIST": "21",
            "UF_CRM_PRIORITY": 3,
            "UF_CRM_PREPAYMENT": "300|RUB",
            "UF_CRM_TAGS": ["срочно", "склад"],
            "UF_CRM_DELIVERY": "Y",
            "UF_CRM_WEIGHT": "200.05",
        },
    )
    item = portal.call("crm.item.get", **DEAL, id=deal, useOriginalUfNames="Y")["item"]
    assert item["UF_CRM_SIGN_DATE"] == "2026-03-20T03:00:00+03:00"
    assert item["UF_CRM_SHIP_DATE"] == "2026-03-25T08:00:00+03:00"
    assert (item["UF_CRM_LOGIST"], item["UF_CRM_PRIORITY"], item["UF_CRM_WEIGHT"]) == (21, 3, 200.05)
    assert (item["UF_CRM_PREPAYMENT"], item["UF_CRM_DELIVERY"]) == ("300|RUB", "Y")
    assert item["UF_CRM_TAGS"] == ["срочно", "склад"]
    assert (item["UF_CRM_INVOICE_DATE"], item["UF_CRM_CATEGORY"]) == (None, [])
    camel = portal.call("crm.item.get", **DEAL, id=deal)["item"]
    assert camel["ufCrmSignDate"] == item["UF_CRM_SIGN_DATE"]
    assert "ufCrm_1747309727" in camel


def test_west_of_greenwich_a_date_keeps_its_day() -> None:
    portal = sales_department("America/New_York")
    deal = portal.state.add_deal("Проба", fields={"UF_CRM_SIGN_DATE": "2026-03-20"})
    item = portal.call("crm.item.get", **DEAL, id=deal, useOriginalUfNames="Y")["item"]
    assert item["UF_CRM_SIGN_DATE"] == "2026-03-20T00:00:00-04:00"


def test_a_list_shows_only_what_was_selected(portal: Portal) -> None:
    items = portal.call("crm.item.list", **DEAL, select=["id", "title", "UF_CRM_LOGIST"], useOriginalUfNames="Y")[
        "items"
    ]
    assert all(set(item) == {"id", "title", "UF_CRM_LOGIST"} for item in items)


def test_a_list_filters_by_prefixes_and_groups(portal: Portal) -> None:
    state = portal.state
    deals = [
        state.add_deal(f"Партия {place}", responsible=5, fields={"OPPORTUNITY": 100 * place}) for place in range(4)
    ]

    def ids(**wanted: Any) -> list[int]:
        chosen = {">id": deals[0] - 1, **wanted}
        return [
            item["id"] for item in portal.call("crm.item.list", **DEAL, filter=chosen, order={"id": "ASC"})["items"]
        ]

    assert ids(**{">=opportunity": 200}) == deals[2:]
    assert ids(**{"<opportunity": "100"}) == deals[:1]
    assert ids(**{"@opportunity": [100, "300"]}) == [deals[1], deals[3]]
    assert ids(**{"opportunity": [100, 300]}) == [deals[1], deals[3]]
    assert ids(**{"!@opportunity": [0, 300]}) == deals[1:3]
    assert ids(**{"%title": "ПАРТИЯ 2"}) == [deals[2]]
    assert ids(**{"=%title": "Партия _"}) == deals
    assert ids(**{"=%title": "Партия"}) == []
    assert ids(**{"!title": "Партия 0"}) == deals[1:]
    either = {"0": {"logic": "OR", "0": {"opportunity": 0}, "1": {">opportunity": 250}}}
    assert ids(**either) == [deals[0], deals[3]]


def test_empty_fields_fail_comparisons_and_pass_not_equal(portal: Portal) -> None:
    state = portal.state
    bare, dated = (
        state.add_deal("Без даты"),
        state.add_deal("С датой", fields={"UF_CRM_SIGN_DATE": "2026-03-20"}),
    )

    def ids(**wanted: Any) -> list[int]:
        chosen = {">=id": bare, **wanted}
        return [
            item["id"] for item in portal.call("crm.item.list", **DEAL, filter=chosen, useOriginalUfNames="Y")["items"]
        ]

    assert ids(**{">UF_CRM_SIGN_DATE": "2026-03-19"}) == [dated]
    assert ids(**{"UF_CRM_SIGN_DATE": ""}) == [bare]
    assert ids(**{"!UF_CRM_SIGN_DATE": ""}) == [dated]
    assert ids(**{"!=UF_CRM_SIGN_DATE": "2026-03-20"}) == [bare]


def test_a_yes_no_user_field_is_filtered_by_one_and_zero_not_by_letters(portal: Portal) -> None:
    deal = portal.state.add_deal("С доставкой", fields={"UF_CRM_DELIVERY": True})

    def ids(value: Any) -> list[int]:
        wanted = {"id": deal, "UF_CRM_DELIVERY": value}
        return [
            item["id"] for item in portal.call("crm.item.list", **DEAL, filter=wanted, useOriginalUfNames="Y")["items"]
        ]

    assert ids(1) == [deal] == ids("1")
    assert ids("Y") == []


def test_deals_changed_since_are_found(portal: Portal) -> None:
    state = portal.state
    portal.pass_seconds(60)
    since = state.iso(state.moment())
    portal.pass_seconds(5)
    state.move_deal(29, "PREPARATION", 5)
    items = portal.call("crm.item.list", **DEAL, filter={">=updatedTime": since, "closed": "N"})["items"]
    assert [item["id"] for item in items] == [29]
    assert items[0]["movedTime"] == items[0]["updatedTime"] == state.iso(state.moment())


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"filter": {"stage": "NEW"}}, "Invalid filter: field 'stage' is not allowed in filter"),
        ({"filter": {">STAGE_ID": "NEW"}}, "Invalid filter: field 'STAGE_ID' is not allowed in filter"),
        ({"filter": {"UF_CRM_LOGIST": 1}}, "Invalid filter: field 'UF_CRM_LOGIST' is not allowed in filter"),
        ({"filter": {">=updatedTime": "вчера"}}, "Invalid filter: field 'updatedTime' has invalid value"),
        ({"order": {"stage": "ASC"}}, "Invalid order: field 'stage' is not allowed in order"),
        (
            {"order": {"id": "UP"}},
            "Invalid order: allowed sort directions are `ASC, DESC`. But got 'UP' for field 'id'",
        ),
    ],
)
def test_a_misspelt_key_is_an_error(portal: Portal, params: dict[str, Any], text: str) -> None:
    assert refusal(portal, "crm.item.list", **DEAL, **params) == ("INVALID_ARG_VALUE", text)


def test_pages_are_fifty_long_and_say_what_follows(portal: Portal) -> None:
    state = portal.state
    first = min([state.add_deal(f"Сделка {place}") for place in range(120)])
    wanted = {">=id": first}
    pages = [portal.answer("crm.item.list", **DEAL, filter=wanted, start=start) for start in (0, "50", 100)]
    assert [(len(page.result["items"]), page.total, page.next) for page in pages] == [
        (50, 120, 50),
        (50, 120, 100),
        (20, 120, None),
    ]


def test_without_counting_there_is_no_next_and_a_total_of_zero(portal: Portal) -> None:
    state = portal.state
    last = min([state.add_deal(f"Сделка {place}") for place in range(60)]) - 1
    found: list[int] = []
    while True:
        page = portal.answer("crm.item.list", **DEAL, filter={">id": last}, order={"id": "ASC"}, start=-1)
        assert (page.total, page.next) == (0, None)
        found += [item["id"] for item in page.result["items"]]
        if len(page.result["items"]) < 50:
            break
        last = found[-1]
    assert len(found) == len(set(found)) == 60
    state.switches.uncounted_total = None
    assert portal.answer("crm.item.list", **DEAL, start="-1").total is None


def test_order_works_both_ways(portal: Portal) -> None:
    amounts = [
        item["opportunity"] for item in portal.call("crm.item.list", **DEAL, order={"opportunity": "DESC"})["items"]
    ]
    assert amounts == sorted(amounts, reverse=True)
    ids = [item["id"] for item in portal.call("crm.item.list", **DEAL, order={"id": "desc"})["items"]]
    assert ids == sorted(ids, reverse=True)


def test_what_is_not_there_and_what_is_not_ours(portal: Portal) -> None:
    assert refusal(portal, "crm.item.get", **DEAL, id=9999) == ("NOT_FOUND", "Item not found")
    assert refusal(portal, "crm.item.get", entityTypeId=1268, id=1) == ("NOT_FOUND", "SPA not found")
    assert refusal(portal, "crm.item.get", **DEAL)[0] == "100"
    portal.state.hide_deal(1)
    assert refusal(portal, "crm.item.get", **DEAL, id=1)[0] == "ACCESS_DENIED"
    assert 1 not in [item["id"] for item in portal.call("crm.item.list", **DEAL)["items"]]
    assert refusal(portal, "crm.deal.get", id=1) == ("", "Access denied")


def test_a_deal_is_moved_and_changed_in_one_update(portal: Portal) -> None:
    portal.pass_seconds(60)
    item = portal.call("crm.item.update", **DEAL, id="29", fields={"stageId": "PREPARATION", "opportunity": "5"})[
        "item"
    ]
    assert (item["stageId"], item["opportunity"], item["movedBy"], item["updatedBy"]) == ("PREPARATION", 5, 1, 1)
    assert portal.heard("ONCRMDEALUPDATE") == [{"FIELDS": {"ID": 29}}]
    rows = portal.call("crm.stagehistory.list", **DEAL, filter={"OWNER_ID": 29}, order={"ID": "ASC"})["items"]
    assert [(row["TYPE_ID"], row["STAGE_ID"]) for row in rows] == [(1, "NEW"), (2, "PREPARATION")]


def test_nothing_changed_is_nothing_saved_and_nothing_told(portal: Portal) -> None:
    before = portal.call("crm.item.get", **DEAL, id=29)["item"]
    portal.pass_seconds(60)
    fields = {"stageId": "NEW", "title": before["title"], "nonsense": 1, "id": 5, "createdBy": 9}
    assert portal.call("crm.item.update", **DEAL, id=29, fields=fields)["item"] == before
    assert portal.events == []


def test_another_funnel_is_told_to_nobody(portal: Portal) -> None:
    item = portal.call("crm.item.update", **DEAL, id=29, fields={"categoryId": 5})["item"]
    assert (item["categoryId"], item["stageId"]) == (5, "C5:NEW")
    assert portal.events == []
    row = portal.call("crm.stagehistory.list", **DEAL, order={"ID": "DESC"})["items"][0]
    assert {**row, "ID": 0} == {
        "ID": 0,
        "TYPE_ID": 5,
        "OWNER_ID": 29,
        "CREATED_TIME": "2026-03-11T12:00:00+03:00",
        "CATEGORY_ID": 5,
        "STAGE_SEMANTIC_ID": "P",
        "STAGE_ID": "C5:NEW",
    }


def test_a_final_stage_closes_the_deal(portal: Portal) -> None:
    portal.state.move_deal(29, "APOLOGY", 5)
    item = portal.call("crm.item.get", **DEAL, id=29)["item"]
    assert (item["closed"], item["stageSemanticId"]) == ("Y", "F")
    assert portal.call("crm.stagehistory.list", **DEAL, filter={"OWNER_ID": [29], "TYPE_ID": 3})["items"]


def test_a_required_field_holds_the_deal_back(portal: Portal) -> None:
    portal.state.require_field("EXECUTING", "UF_CRM_SIGN_DATE")
    code, text = refusal(portal, "crm.item.update", **DEAL, id=29, fields={"stageId": "EXECUTING"})
    assert (code, text) == ("CRM_FIELD_ERROR_REQUIRED", 'Field "Дата подписания договора" is required')
    assert refusal(portal, "crm.deal.update", id=29, fields={"STAGE_ID": "EXECUTING"})[0] == ""
    assert portal.state.deals[29].stage_id == "NEW"
    fields = {"stageId": "EXECUTING", "ufCrmSignDate": "2026-04-01"}
    assert portal.call("crm.item.update", **DEAL, id=29, fields=fields)["item"]["stageId"] == "EXECUTING"


def test_values_that_cannot_be_are_refused_and_unreadable_dates_left_out(portal: Portal) -> None:
    def update(**fields: Any) -> tuple[str, str]:
        return refusal(portal, "crm.item.update", **DEAL, id=29, fields=fields, useOriginalUfNames="Y")

    assert update(UF_CRM_PRIORITY=99)[0] == "CRM_FIELD_ERROR_VALUE_NOT_VALID"
    assert update(UF_CRM_TAGS="одна") == ("100", "Expected iterable value for multiple field, but got `string` instead")
    assert update(stageId="C5:NEW")[0] == "CRM_FIELD_ERROR_VALUE_NOT_VALID"
    portal.state.switches.locked_stages.add("WON")
    assert update(stageId="WON")[0] == "-"
    fields = {"UF_CRM_SIGN_DATE": "когда-нибудь", "title": "Новое имя"}
    item = portal.call("crm.item.update", **DEAL, id=29, fields=fields, useOriginalUfNames="Y")["item"]
    assert (item["UF_CRM_SIGN_DATE"], item["title"]) == (None, "Новое имя")


def test_a_deal_made_in_a_later_stage_has_one_row_of_type_one(portal: Portal) -> None:
    fields = {"title": "Импорт", "stageId": "EXECUTING", "assignedById": 7}
    item = portal.call("crm.item.add", **DEAL, fields=fields)["item"]
    rows = portal.call("crm.stagehistory.list", **DEAL, filter={"OWNER_ID": item["id"]})["items"]
    assert [(row["TYPE_ID"], row["STAGE_ID"]) for row in rows] == [(1, "EXECUTING")]
    assert (item["assignedById"], item["createdBy"]) == (7, 1)
    assert portal.heard("ONCRMDEALADD") == [{"FIELDS": {"ID": item["id"]}}]


def test_a_deleted_deal_takes_its_history_along_and_may_come_back(portal: Portal) -> None:
    def rows(deal: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = portal.call("crm.stagehistory.list", **DEAL, filter={"OWNER_ID": deal})["items"]
        return found

    before = rows(1)
    assert portal.call("crm.item.delete", **DEAL, id=1) == []
    assert rows(1) == []
    assert refusal(portal, "crm.deal.get", id=1) == ("", "Not found")
    assert portal.heard("ONCRMDEALDELETE") == [{"FIELDS": {"ID": 1}}]
    assert portal.state.restore_deal(1) == 1
    assert rows(1) == before
    portal.state.delete_deal(1)
    assert portal.state.restore_deal(1, new_history=True) == 1
    after = rows(1)
    assert [{**row, "ID": 0} for row in after] == [{**row, "ID": 0} for row in before]
    assert min(row["ID"] for row in after) > max(row["ID"] for row in before)


def test_fields_are_described_as_documented(portal: Portal) -> None:
    fields = portal.call("crm.item.fields", **DEAL, useOriginalUfNames="Y")["fields"]
    assert fields["stageId"] == {
        "type": "crm_status",
        "isRequired": False,
        "isReadOnly": False,
        "isImmutable": False,
        "isMultiple": False,
        "isDynamic": False,
        "statusType": "DEAL_STAGE",
        "title": "Стадия сделки",
        "upperName": "STAGE_ID",
    }
    assert (fields["updatedTime"]["type"], fields["updatedTime"]["upperName"]) == ("datetime", "UPDATED_TIME")
    assert fields["UF_CRM_PRIORITY"]["items"] == [
        {"ID": "1", "VALUE": "Ключевой клиент"},
        {"ID": "3", "VALUE": "Обычный клиент"},
    ]
    assert fields["UF_CRM_TAGS"]["isMultiple"]
    assert fields["UF_CRM_LOGIST"]["isDynamic"]
    old = portal.call("crm.deal.fields")
    assert old["CATEGORY_ID"]["isImmutable"]
    assert old["OPENED"]["type"] == "char"
    assert (old["UF_CRM_LOGIST"]["title"], old["UF_CRM_LOGIST"]["formLabel"]) == ("UF_CRM_LOGIST", "Логист")


# crm.deal.*


def test_the_old_twin_speaks_in_strings(portal: Portal) -> None:
    deal = portal.state.add_deal(
        "Проба", fields={"OPPORTUNITY": 1000000, "UF_CRM_DELIVERY": True, "UF_CRM_TAGS": [], "UF_CRM_LOGIST": 21}
    )
    row = portal.call("crm.deal.get", id=str(deal))
    shown = {"ID": str(deal), "CATEGORY_ID": "0", "STAGE_ID": "NEW", "OPPORTUNITY": "1000000.00", "CLOSED": "N"}
    assert shown.items() <= row.items()
    assert row["DATE_CREATE"] == "2026-03-11T12:00:00+03:00"
    assert (row["LEAD_ID"], row["CONTACT_ID"], row["COMPANY_ID"]) == (None, None, "0")
    assert (row["UF_CRM_DELIVERY"], row["UF_CRM_TAGS"], row["UF_CRM_LOGIST"]) == ("1", False, "21")
    assert row["UF_CRM_SIGN_DATE"] == ""
    assert not {"CONTACT_IDS", "OBSERVERS"} & set(row)
    assert all(value is None or value is False or isinstance(value, str) for value in row.values())


def test_the_old_list_takes_masks_and_ignores_what_it_does_not_know(portal: Portal) -> None:
    page = portal.answer("crm.deal.list", filter={"STAGE_ID": "NEW", "STAGE": "WON"}, select=["TITLE", "UF_*"])
    assert page.total == 3
    assert set(page.result[0]) == {"ID", "TITLE", *portal.state.deal_fields}
    assert portal.state.ignored_filters == [("crm.deal.list", "STAGE")]
    portal.state.switches.strict_filters = True
    assert refusal(portal, "crm.deal.list", filter={"STAGE": "WON"})[0] == "SANDBOX_UNKNOWN_FILTER"


def test_the_old_update_keeps_the_funnel_and_always_tells(portal: Portal) -> None:
    assert portal.call("crm.deal.update", id=29, fields={"CATEGORY_ID": 5, "TITLE": "Иное"}) is True
    assert portal.state.deals[29].funnel_id == 0
    assert portal.call("crm.deal.update", id=29, fields={"TITLE": "Иное"}) is True
    assert len(portal.heard("ONCRMDEALUPDATE")) == 2


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({}, "ID is not defined or invalid."),
        ({"id": "x"}, "ID is not defined or invalid."),
        ({"id": -1}, "ID is not defined or invalid."),
        ({"id": 999}, "Not found"),
    ],
)
def test_old_errors_have_no_code(portal: Portal, params: dict[str, Any], text: str) -> None:
    assert refusal(portal, "crm.deal.get", **params) == ("", text)


def test_contacts_of_a_deal(portal: Portal) -> None:
    assert portal.call("crm.deal.contact.items.get", id=1) == [
        {"CONTACT_ID": portal.state.deals[1].contact_id, "SORT": 100, "ROLE_ID": 0, "IS_PRIMARY": "Y"}
    ]
    assert refusal(portal, "crm.deal.contact.items.get", id=0)[0] == ""


def test_clients_are_read_both_ways(portal: Portal) -> None:
    company = portal.call("crm.company.get", id=1)
    assert (company["ID"], company["TITLE"]) == ("1", "ООО «Ромашка»")
    assert company["PHONE"] == [{"ID": "10", "VALUE_TYPE": "WORK", "VALUE": "+74950000001", "TYPE_ID": "PHONE"}]
    item = portal.call("crm.item.get", entityTypeId=4, id=1)["item"]
    assert (item["title"], item["fm"][0]["value"]) == ("ООО «Ромашка»", "+74950000001")
    contacts = portal.call("crm.item.list", entityTypeId=3, select=["id", "lastName"], filter={"@id": [1, 3]})["items"]
    assert contacts == [{"id": 1, "lastName": "Гаврилов"}, {"id": 3, "lastName": "Белова"}]
    rows = portal.call("crm.contact.list", select=["NAME"], filter={"LAST_NAME": "Белова"})
    assert rows == [{"ID": "3", "NAME": "Светлана"}]


# funnels, stages, user fields


def test_funnels_come_in_their_order_and_the_default_one_is_shorter(portal: Portal) -> None:
    page = portal.answer("crm.category.list", **DEAL)
    assert page.total == 2
    assert page.result["categories"] == [
        {"id": 0, "name": "Продажи", "sort": 100, "entityTypeId": 2, "isDefault": "Y"},
        {
            "id": 5,
            "name": "Сервис",
            "sort": 200,
            "entityTypeId": 2,
            "isDefault": "N",
            "originId": "",
            "originatorId": "",
        },
    ]


def test_a_hidden_funnel_is_gone_with_its_deals_and_history(portal: Portal) -> None:
    portal.state.hide_funnel(5)
    assert [row["id"] for row in portal.call("crm.category.list", **DEAL)["categories"]] == [0]
    assert refusal(portal, "crm.category.get", **DEAL, id=5)[0] == "ACCESS_DENIED"
    assert portal.call("crm.item.list", **DEAL, filter={"categoryId": 5})["items"] == []
    assert portal.call("crm.stagehistory.list", **DEAL, filter={"CATEGORY_ID": 5})["items"] == []
    portal.state.show_funnel(5)
    assert len(portal.call("crm.item.list", **DEAL, filter={"categoryId": 5})["items"]) == 2


def test_stages_of_the_default_funnel_have_no_number(portal: Portal) -> None:
    page = portal.answer("crm.status.list", filter={"ENTITY_ID": "DEAL_STAGE"}, order={"SORT": "ASC"})
    assert page.total == 9
    assert [row["NAME"] for row in page.result][:6] == [
        "Новая заявка",
        "Презентация",
        "КП отправлено",
        "Согласование",
        "Договор",
        "Отгрузка",
    ]
    first, lost = page.result[0], page.result[-1]
    assert (first["STATUS_ID"], first["SORT"], first["SEMANTICS"], first["CATEGORY_ID"]) == ("NEW", "10", None, None)
    assert (lost["STATUS_ID"], lost["SEMANTICS"], lost["EXTRA"]["SEMANTICS"]) == ("APOLOGY", "F", "apology")
    assert portal.call("crm.status.list", filter={"ENTITY_ID": "DEAL_STAGE_0"}) == []


def test_stages_of_another_funnel_have_its_prefix(portal: Portal) -> None:
    rows = portal.call("crm.status.list", filter={"ENTITY_ID": "DEAL_STAGE_5"})
    assert [row["STATUS_ID"] for row in rows][:2] == ["C5:NEW", "C5:PREPARATION"]
    assert {row["CATEGORY_ID"] for row in rows} == {"5"}
    short = portal.call("crm.status.entity.items", entityId="DEAL_STAGE_5")
    assert short[0] == {"NAME": "Обращение", "SORT": 10, "STATUS_ID": "C5:NEW"}
    assert portal.call("crm.dealcategory.stage.list", id=5) == short
    portal.state.switches.bare_stage_ids = True
    assert portal.call("crm.status.list", filter={"ENTITY_ID": "DEAL_STAGE_5"})[0]["STATUS_ID"] == "NEW"


def test_a_stage_is_renamed_and_another_deleted(portal: Portal) -> None:
    portal.state.rename_stage("PREPARATION", "Показ")
    portal.state.delete_stage("UC_OFFER1")
    names = {row["STATUS_ID"]: row["NAME"] for row in portal.call("crm.status.entity.items", entityId="DEAL_STAGE")}
    assert names["PREPARATION"] == "Показ"
    assert "UC_OFFER1" not in names
    assert portal.call("crm.item.list", **DEAL, filter={"stageId": "UC_OFFER1"})["items"]


def test_user_fields_are_listed_for_administrators(portal: Portal) -> None:
    rows = portal.call("crm.deal.userfield.list", filter={"FIELD_NAME": "UF_CRM_PRIORITY"})
    assert (rows[0]["USER_TYPE_ID"], rows[0]["MULTIPLE"]) == ("enumeration", "N")
    assert [option["VALUE"] for option in rows[0]["LIST"]] == ["Ключевой клиент", "Обычный клиент"]
    assert "EDIT_FORM_LABEL" not in rows[0]
    labelled = portal.call("crm.deal.userfield.list", filter={"LANG": "ru", "FIELD_NAME": "UF_CRM_LOGIST"})
    assert labelled[0]["EDIT_FORM_LABEL"] == "Логист"
    fields = portal.call("userfieldconfig.list", moduleId="crm", filter={"entityId": "CRM_DEAL"})["fields"]
    assert {"fieldName": "UF_CRM_LOGIST", "userTypeId": "employee"}.items() <= fields[3].items()
    assert refusal(portal.as_user(5), "crm.deal.userfield.list")[0] == ""
    portal.state.delete_field("UF_CRM_LOGIST")
    assert portal.call("crm.deal.userfield.list", filter={"FIELD_NAME": "UF_CRM_LOGIST"}) == []
    assert "UF_CRM_LOGIST" not in portal.call("crm.item.fields", **DEAL, useOriginalUfNames="Y")["fields"]


# stage history


def test_a_history_row_has_seven_keys_of_the_documented_types(portal: Portal) -> None:
    page = portal.answer("crm.stagehistory.list", **DEAL, order={"ID": "ASC"})
    row = page.result["items"][0]
    assert list(row) == [
        "ID",
        "TYPE_ID",
        "OWNER_ID",
        "CREATED_TIME",
        "CATEGORY_ID",
        "STAGE_SEMANTIC_ID",
        "STAGE_ID",
    ]
    assert all(isinstance(row[key], int) for key in ("ID", "TYPE_ID", "OWNER_ID", "CATEGORY_ID"))
    assert page.total == len(page.result["items"]) == len(portal.state.history)
    portal.state.switches.history_as_strings = True
    assert set(map(type, portal.call("crm.stagehistory.list", **DEAL)["items"][0].values())) == {str}


def test_history_ids_grow_with_time_and_leave_gaps(portal: Portal) -> None:
    rows = portal.call("crm.stagehistory.list", **DEAL, order={"ID": "ASC"})["items"]
    times = [instant(row["CREATED_TIME"]) for row in rows]
    assert times == sorted(times)
    assert all(later["ID"] - row["ID"] == 2 for row, later in pairwise(rows))
    assert times[-1] < NOON


def test_the_cursor_reads_on_by_id_and_by_time(portal: Portal) -> None:
    state = portal.state
    newest = max(state.history)
    portal.pass_seconds(30)
    state.move_deal(29, "PREPARATION", 5)
    state.move_deal(29, "UC_OFFER1", 5)
    rows = portal.call("crm.stagehistory.list", **DEAL, filter={">ID": newest}, order={"ID": "ASC"}, start=-1)["items"]
    assert [row["STAGE_ID"] for row in rows] == ["PREPARATION", "UC_OFFER1"]
    since = (NOON + timedelta(seconds=20)).isoformat()
    wanted = {">=CREATED_TIME": since, "@TYPE_ID": [2, 3, 5]}
    assert portal.call("crm.stagehistory.list", **DEAL, filter=wanted)["items"] == rows
    assert set(portal.call("crm.stagehistory.list", **DEAL, select=["STAGE_ID"])["items"][0]) == {"ID", "STAGE_ID"}


def test_a_late_row_appears_below_newer_ones(portal: Portal) -> None:
    state = portal.state
    newest = max(state.history)
    state.move_deal(29, "PREPARATION", 5, late=20)
    state.move_deal(31, "PREPARATION", 7)

    def owners() -> list[int]:
        rows = portal.call("crm.stagehistory.list", **DEAL, filter={">ID": newest}, order={"ID": "ASC"})["items"]
        return [row["OWNER_ID"] for row in rows]

    assert owners() == [31]
    portal.pass_seconds(21)
    assert owners() == [29, 31]


def test_every_third_row_may_be_late_by_switch(portal: Portal) -> None:
    state = portal.state
    state.switches.turn({"history_late_every": 3, "history_late_seconds": 10})
    newest = max(state.history)
    made = [state.add_deal(f"Сделка {place}") for place in range(6)]

    def seen() -> list[int]:
        rows = portal.call("crm.stagehistory.list", **DEAL, filter={">ID": newest}, order={"ID": "ASC"})["items"]
        return [row["OWNER_ID"] for row in rows]

    assert len(seen()) == 4
    portal.pass_seconds(10)
    assert seen() == made


def test_rows_may_be_late_by_chance_and_seed(portal: Portal) -> None:
    def late(seed: int) -> list[int]:
        state = sales_department().state
        state.switches.turn({"history_late_chance": 0.4, "history_late_seed": seed})
        made = [state.history[state.deals[state.add_deal("x")].history[0]] for _ in range(40)]
        return [place for place, row in enumerate(made) if not state.visible_history(row)]

    assert late(1) == late(1) != late(2)
    assert 5 < len(late(1)) < 30


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"entityTypeId": 3}, "ENTITY_TYPE_NOT_SUPPORTED"),
        ({"entityTypeId": 2, "filter": {"DEAL_ID": 1}}, "INVALID_ARG_VALUE"),
        ({"entityTypeId": 2, "order": {"STAGE": "ASC"}}, "INVALID_ARG_VALUE"),
        ({"entityTypeId": 2, "filter": {">=CREATED_TIME": "завтра"}}, "INVALID_ARG_VALUE"),
    ],
)
def test_history_refuses_what_it_does_not_know(portal: Portal, params: dict[str, Any], code: str) -> None:
    assert refusal(portal, "crm.stagehistory.list", **params)[0] == code


# timeline, rights


def test_a_line_in_the_timeline(portal: Portal) -> None:
    fields = {"ENTITY_ID": "1", "ENTITY_TYPE": "deal", "COMMENT": "Срок перенесён"}
    assert isinstance(portal.call("crm.timeline.comment.add", fields=fields), int)
    assert portal.state.deal_comments == [(1, 1, "Срок перенесён")]
    assert refusal(portal, "crm.timeline.comment.add", FIELDS=fields)[0] == "100"
    assert refusal(portal, "crm.timeline.comment.add", fields=fields | {"COMMENT": " "})[0] == "INVALID_ARG_VALUE"
    assert refusal(portal, "crm.timeline.comment.add", fields=fields | {"ENTITY_ID": 999})[0] == "OWNER_NOT_FOUND"


def test_a_plain_user_may_be_limited_to_his_deals(portal: Portal) -> None:
    portal.state.switches.plain_user_deals = "own"
    mine = portal.as_user(5).call("crm.item.list", **DEAL)["items"]
    assert {item["assignedById"] for item in mine} == {5}
    assert portal.answer("crm.item.list", **DEAL).total == 16


# the seed


def test_the_department_is_as_the_rules_language_names_it(portal: Portal) -> None:
    state = portal.state
    assert {one.name for one in state.departments.values()} >= {"Отдел продаж", "Юридический отдел"}
    assert not state.users[seed.FIRED].active
    assert state.away_until(seed.AWAY) is not None
    assert len(state.deals) == 16
    assert {deal.stage_id for deal in state.deals.values()} >= {"NEW", "EXECUTING", "FINAL_INVOICE", "WON", "APOLOGY"}
    assert (1, seed.CODE) in state.webhooks
    assert all(row.created < state.moment() for row in state.history.values())


def test_a_big_portal_is_as_large_as_asked() -> None:
    state = seed.build_big(frozen_clock(), deals=300, owners=30, departments=5, overdue_tasks=70, open_tasks=20)
    assert (len(state.deals), len(state.tasks), len(state.departments)) == (300, 90, 6)
    assert sum(1 for task in state.tasks.values() if state.overdue(task)) == 70
    created = [state.history[number].created for number in state.history_ids]
    assert created == sorted(created)
