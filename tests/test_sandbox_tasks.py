"""The sandbox's tasks answer as the documentation shows it (api-reference/tasks)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from bitrix_sandbox.state.errors import RestError
from tests.world.calls import NOON, Portal, instant, sales_department, words

DUE = "2026-03-12T18:00:00+03:00"


@pytest.fixture
def portal() -> Portal:
    return sales_department()


def add(portal: Portal, **fields: Any) -> dict[str, Any]:
    sent = {"TITLE": "Позвонить", "RESPONSIBLE_ID": 5, **fields}
    task: dict[str, Any] = portal.call("tasks.task.add", fields=sent)["task"]
    return task


def refusal(portal: Portal, name: str, **params: Any) -> tuple[str, str]:
    with pytest.raises(RestError) as caught:
        portal.call(name, **params)
    return caught.value.code, caught.value.description


def ids(portal: Portal, wanted: dict[str, Any], **more: Any) -> list[int]:
    found = portal.call("tasks.task.list", filter=wanted, select=["ID"], **more)["tasks"]
    return [int(task["id"]) for task in found]


# adding


def test_a_new_task_has_the_documented_keys_and_types(portal: Portal) -> None:
    task = add(portal)
    documented = words(
        "id parentId title description mark priority multitask notViewed replicate stageId createdBy createdDate "
        "responsibleId changedBy changedDate statusChangedBy closedBy closedDate activityDate dateStart deadline "
        "startDatePlan endDatePlan guid xmlId commentsCount serviceCommentsCount allowChangeDeadline "
        "allowTimeTracking taskControl addInReport forkedByTemplateId timeEstimate timeSpentInLogs matchWorkTime "
        "forumTopicId forumId siteId subordinate exchangeModified exchangeId outlookVersion viewedDate sorting "
        "durationFact isMuted isPinned isPinnedInGroup flowId descriptionInBbcode status statusChangedDate "
        "durationPlan durationType favorite groupId auditors accomplices checklist group creator responsible "
        "accomplicesData auditorsData newCommentsCount action checkListTree checkListCanAdd"
    )
    assert set(documented) <= set(task)
    assert set(task) - set(documented) == {"sprintId", "backlogId", "chatId"}
    assert (task["status"], task["priority"], task["groupId"], task["taskControl"]) == ("2", "1", "0", "N")
    assert (task["createdBy"], task["responsibleId"]) == ("1", "5")
    assert task["createdDate"] == "2026-03-11T12:00:00+03:00"
    assert [task[name] for name in ("parentId", "deadline", "xmlId", "mark", "closedBy", "closedDate")] == [None] * 6
    assert [task[name] for name in ("auditors", "auditorsData", "group", "checklist")] == [[], [], [], []]
    assert task["creator"] == {
        "id": "1",
        "name": "Анна Смирнова",
        "link": "/company/personal/user/1/",
        "icon": "/bitrix/images/tasks/default_avatar.png",
        "workPosition": "Генеральный директор",
    }
    assert (task["newCommentsCount"], isinstance(task["chatId"], int), task["checkListCanAdd"]) == (0, True, True)
    assert task["action"] == {
        "accept": False,
        "decline": False,
        "complete": True,
        "approve": False,
        "disapprove": False,
        "start": True,
        "pause": False,
        "delegate": True,
        "remove": True,
        "edit": True,
        "defer": True,
        "renew": False,
        "create": True,
        "changeDeadline": True,
        "checklistAddItems": True,
        "addFavorite": True,
        "deleteFavorite": False,
        "rate": True,
        "take": False,
        "edit.originator": False,
        "checklist.reorder": True,
        "elapsedtime.add": True,
        "dayplan.timer.toggle": False,
        "edit.plan": True,
        "checklist.add": True,
        "favorite.add": True,
        "favorite.delete": False,
    }
    number = int(task["id"])
    assert portal.events == [
        (
            "ONTASKADD",
            {
                "FIELDS_BEFORE": "undefined",
                "FIELDS_AFTER": {"ID": number},
                "IS_ACCESSIBLE_BEFORE": "N",
                "IS_ACCESSIBLE_AFTER": "undefined",
            },
        )
    ]


def test_everything_that_was_sent_is_kept(portal: Portal) -> None:
    task = add(
        portal,
        DESCRIPTION="[B]Важно[/B]",
        DEADLINE=DUE,
        AUDITORS=[3, "7", 3],
        ACCOMPLICES=["9"],
        TAGS=["звонок"],
        UF_CRM_TASK=["D_1", "C_1"],
        PRIORITY="2",
        XML_ID="bitrix-sync:101:call",
        TASK_CONTROL="Y",
        SE_PARAMETER=[{"VALUE": "Y", "CODE": 3}],
    )
    assert (task["deadline"], task["xmlId"], task["priority"]) == (DUE, "bitrix-sync:101:call", "2")
    assert (task["auditors"], set(task["auditorsData"]), task["accomplices"]) == (["3", "7"], {"3", "7"}, ["9"])
    shown = portal.call("tasks.task.get", taskId=task["id"], select=["UF_CRM_TASK", "TAGS"])["task"]
    assert (shown["ufCrmTask"], shown["ufTaskWebdavFiles"], shown["ufMailMessage"]) == (["D_1", "C_1"], False, None)
    assert [tag["title"] for tag in shown["tags"].values()] == ["звонок"]
    assert portal.state.tasks[int(task["id"])].params == {3}


def test_a_form_says_the_same_as_json(portal: Portal) -> None:
    fields = {
        "AUDITORS": {"0": "3", "1": "7"},
        "UF_CRM_TASK": {"0": "D_1"},
        "SE_PARAMETER": {"0": {"VALUE": "Y", "CODE": "3"}},
    }
    task = portal.state.tasks[int(add(portal, RESPONSIBLE_ID="5", **fields)["id"])]
    assert (task.responsible_id, task.auditors, task.crm, task.params) == (5, (3, 7), ("D_1",), {3})
    assert portal.state.tasks[int(add(portal, AUDITORS="")["id"])].auditors == ()


@pytest.mark.parametrize(
    ("fields", "code", "text"),
    [
        (None, "100", "Could not find value for parameter {fields}"),
        ({}, "100", "Could not find value for parameter {fields}"),
        ({"RESPONSIBLE_ID": 5}, "ERROR_CORE", "Task title is not specified<br>"),
        ({"TITLE": "x"}, "ERROR_CORE", "Responsible person not specified<br>"),
        (
            {"TITLE": "x", "RESPONSIBLE_ID": 999},
            "ERROR_CORE",
            'User specified in the "Responsible" field not found<br>',
        ),
        ({"TITLE": "x", "RESPONSIBLE_ID": 5, "STATUS": 9}, "ERROR_CORE", "Incorrect status<br>"),
        (
            {"TITLE": "x", "RESPONSIBLE_ID": 5, "PARENT_ID": 9999},
            "ERROR_CORE",
            'Task specified in the "Parent Task" field not found<br>',
        ),
        (
            {
                "TITLE": "x",
                "RESPONSIBLE_ID": 5,
                "START_DATE_PLAN": "2026-03-13T10:00:00+03:00",
                "END_DATE_PLAN": "2026-03-12T10:00:00+03:00",
            },
            "ERROR_CORE",
            "The end date in scheduling is earlier than the start date<br>",
        ),
    ],
)
def test_a_task_that_cannot_be(portal: Portal, fields: Any, code: str, text: str) -> None:
    assert refusal(portal, "tasks.task.add", fields=fields) == (code, text)
    assert portal.events == []


def test_a_dismissed_user_is_given_a_task_without_a_word(portal: Portal) -> None:
    assert add(portal, RESPONSIBLE_ID=25)["responsibleId"] == "25"


def test_who_is_no_administrator_creates_for_others_only_what_he_does_himself(portal: Portal) -> None:
    plain = portal.as_user(5)
    assert refusal(plain, "tasks.task.add", fields={"TITLE": "x", "RESPONSIBLE_ID": 7, "CREATED_BY": 3})[0] == "0"
    assert add(plain, CREATED_BY=3)["createdBy"] == "3"
    portal.state.switches.assign_to_anyone = False
    assert refusal(plain, "tasks.task.add", fields={"TITLE": "x", "RESPONSIBLE_ID": 7})[0] == "0"
    assert add(portal.as_user(3), RESPONSIBLE_ID=7)["responsibleId"] == "7"


def test_a_project_that_is_closed_or_unknown_takes_no_task(portal: Portal) -> None:
    assert add(portal, GROUP_ID=1)["group"]["name"] == "Запуск нового склада"
    portal.state.close_workgroup(1)
    assert refusal(portal, "tasks.task.add", fields={"TITLE": "x", "RESPONSIBLE_ID": 5, "GROUP_ID": 1})[0] == "0"


# deadlines and zones


def test_a_deadline_loses_its_seconds(portal: Portal) -> None:
    assert add(portal, DEADLINE="2026-03-12T23:59:59+03:00")["deadline"] == "2026-03-12T23:59:00+03:00"
    portal.state.switches.deadline_seconds_cut = False
    assert add(portal, DEADLINE="2026-03-12T23:59:59+03:00")["deadline"] == "2026-03-12T23:59:59+03:00"


def test_a_deadline_without_an_offset_is_of_the_servers_zone(portal: Portal) -> None:
    portal.state.set_time_zone(1, "Asia/Vladivostok")
    assert instant(add(portal, DEADLINE="2026-03-12T18:00:00")["deadline"]) == instant(DUE)


def test_times_are_shown_in_the_zone_of_the_webhooks_owner(portal: Portal) -> None:
    portal.state.set_time_zone(1, "Asia/Vladivostok")
    assert add(portal, DEADLINE=DUE)["deadline"] == "2026-03-13T01:00:00+10:00"
    portal.state.switches.owner_time_zone = False
    assert add(portal, DEADLINE=DUE)["deadline"] == DUE


def test_the_offset_of_now_may_be_put_on_every_time(portal: Portal) -> None:
    portal.state.set_time_zone(1, "Europe/Berlin")
    portal.state.switches.offset_of_now = True
    summer = "2026-07-01T18:00:00+02:00"
    assert add(portal, DEADLINE=summer)["deadline"] == "2026-07-01T18:00:00+01:00"


def test_an_empty_text_clears_a_deadline_and_null_says_nothing(portal: Portal) -> None:
    number = add(portal, DEADLINE=DUE)["id"]
    portal.call("tasks.task.update", taskId=number, fields={"DEADLINE": None, "TITLE": "Иначе"})
    assert portal.call("tasks.task.get", taskId=number)["task"]["deadline"] == DUE
    assert portal.call("tasks.task.update", taskId=number, fields={"DEADLINE": ""})["task"]["deadline"] is None


# reading


def test_what_is_not_there_or_not_ours_is_an_empty_array(portal: Portal) -> None:
    number = add(portal)["id"]
    assert portal.call("tasks.task.get", taskId=9999) == []
    assert portal.as_user(15).call("tasks.task.get", taskId=number) == []
    assert portal.as_user(5).call("tasks.task.get", taskId=number)["task"]["id"] == number
    assert portal.as_user(3).call("tasks.task.get", taskId=number)["task"]["id"] == number
    portal.state.hide_task(int(number))
    assert portal.call("tasks.task.get", taskId=number) == []


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"taskId": "abc"}, ("0", "wrong task id")),
        ({}, ("100", "CTaskItem All parameters in the constructor must have real class type")),
        (
            {"taskId": 1, "select": "ID"},
            ("100", "Invalid value {} to match with parameter {select}. Should be value of type array."),
        ),
    ],
)
def test_wrong_parameters_of_get(portal: Portal, params: dict[str, Any], error: tuple[str, str]) -> None:
    assert refusal(portal, "tasks.task.get", **params) == error


def test_a_selected_task_brings_favourite_group_and_action_along(portal: Portal) -> None:
    task = portal.call("tasks.task.get", taskId=add(portal)["id"], select=["CHAT_ID"])["task"]
    assert set(task) == {"id", "chatId", "favorite", "group", "action"}


def test_the_answer_of_a_write_is_empty_when_the_caller_cannot_read_the_task(portal: Portal) -> None:
    portal.state.switches.read_back_empty = True
    fields = {"TITLE": "x", "RESPONSIBLE_ID": 5, "XML_ID": "made"}
    assert portal.call("tasks.task.add", fields=fields) == []
    assert len(ids(portal, {"XML_ID": "made"})) == 1


def test_access_is_told_per_user(portal: Portal) -> None:
    number = add(portal)["id"]
    allowed = portal.call("tasks.task.getaccess", taskId=number, users=[1, 5, 15, 999])["allowedActions"]
    assert allowed["1"]["EDIT"]
    assert (allowed["5"]["COMPLETE"], allowed["5"]["EDIT"], allowed["5"]["CHANGE_DEADLINE"]) == (True, False, False)
    assert not any(allowed["999"].values())
    assert portal.as_user(15).call("tasks.task.getaccess", taskId=number) == {"allowedActions": []}


# the list


def test_a_row_of_the_list_is_as_captured(portal: Portal) -> None:
    number = add(portal, DEADLINE="2026-03-11T11:00:00+03:00")["id"]
    rows = portal.call("tasks.task.list", filter={"ID": number}, select=["ID", "STATUS"])["tasks"]
    assert rows == [{"id": number, "status": "2", "group": [], "subStatus": "-1"}]


def test_the_mark_finds_its_task_exactly(portal: Portal) -> None:
    first, second = int(add(portal, XML_ID="a:1")["id"]), int(add(portal, XML_ID="a:11")["id"])
    assert ids(portal, {"XML_ID": "a:1"}) == [first] == ids(portal, {"=XML_ID": "a:1"})
    assert ids(portal, {"XML_ID": ["a:1", "a:11", "nobody"]}, order={"ID": "asc"}) == [first, second]
    assert ids(portal, {"XML_ID": "nobody"}) == []
    others = set(ids(portal, {"!XML_ID": "a:1"}))
    assert second in others
    assert len(others) == len(portal.state.tasks) - 1
    assert ids(portal, {"@XML_ID": ["a:1"]}) != [first], "values under @ are cast to numbers"


def test_an_unknown_key_and_an_empty_value_filter_nothing(portal: Portal) -> None:
    everything = len(portal.state.tasks)
    assert portal.answer("tasks.task.list", filter={"XMLID": "a:1"}).total == everything
    assert portal.answer("tasks.task.list", filter={"XML_ID": "", "RESPONSIBLE_ID": []}).total == everything
    assert portal.state.ignored_filters == [("tasks.task.list", "XMLID")]
    portal.state.switches.strict_filters = True
    assert refusal(portal, "tasks.task.list", filter={"XMLID": "a:1"})[0] == "SANDBOX_UNKNOWN_FILTER"


def test_tasks_of_a_deal_are_found_by_binding(portal: Portal) -> None:
    mine = int(add(portal, UF_CRM_TASK=["D_29", "C_1"])["id"])
    other = int(add(portal, UF_CRM_TASK=["D_31"])["id"])
    assert ids(portal, {"UF_CRM_TASK": "D_29"}) == [mine]
    assert ids(portal, {"UF_CRM_TASK": {"0": "D_29", "1": "D_31"}}, order={"ID": "asc"}) == [mine, other]
    portal.call("tasks.task.update", taskId=mine, fields={"UF_CRM_TASK": ["D_31"]})
    assert ids(portal, {"UF_CRM_TASK": "D_29"}) == []


def test_overdue_as_a_meta_of_the_status_counts_deferred_tasks_too(portal: Portal) -> None:
    past = "2026-03-11T11:00:00+03:00"
    waiting, deferred, done, soon = (
        int(add(portal, DEADLINE=due, STATUS=status)["id"])
        for due, status in ((past, 2), (past, 6), (past, 5), ("2026-03-11T20:00:00+03:00", 2))
    )
    made = {">=ID": waiting}
    assert ids(portal, {**made, "STATUS": -1}, order={"ID": "asc"}) == [waiting, deferred]
    assert ids(portal, {**made, "STATUS": "-3"}) == [soon]
    sweep = {**made, "<DEADLINE": NOON.isoformat(), "!DEADLINE": "", "REAL_STATUS": [2, 3]}
    assert ids(portal, sweep) == [waiting]
    assert ids(portal, {**made, "!REAL_STATUS": [4, 5]}, order={"ID": "asc"}) == [waiting, deferred, soon]
    assert done in ids(portal, {**made, "REAL_STATUS": "5"})


def test_without_a_deadline_is_an_empty_text(portal: Portal) -> None:
    bare, dated = int(add(portal)["id"]), int(add(portal, DEADLINE=DUE)["id"])
    assert ids(portal, {">=ID": bare, "DEADLINE": ""}) == [bare]
    assert ids(portal, {">=ID": bare, "!DEADLINE": ""}) == [dated]


def test_a_title_is_searched_by_part_and_found_exactly_with_a_prefix(portal: Portal) -> None:
    number = int(add(portal, TITLE="Проверить оплату счёта")["id"])
    assert ids(portal, {"TITLE": "ОПЛАТУ"}) == [number]
    assert ids(portal, {"TITLE": "Проверить%счёта"}) == [number]
    assert ids(portal, {"=TITLE": "оплату"}) == []
    assert ids(portal, {"=TITLE": "Проверить оплату счёта"}) == [number]


def test_tags_in_an_array_are_all_meant(portal: Portal) -> None:
    both = int(add(portal, TAGS=["а", "б"])["id"])
    one = int(add(portal, TAGS=["а"])["id"])
    assert ids(portal, {"TAG": "а"}) == [one, both]
    assert ids(portal, {"TAG": ["а", "б"]}) == [both]


def test_groups_of_conditions(portal: Portal) -> None:
    one, two = int(add(portal, RESPONSIBLE_ID=7)["id"]), int(add(portal, PRIORITY=2)["id"])
    wanted = {
        ">=ID": one,
        "::SUBFILTER-1": {"::LOGIC": "OR", "::SUBFILTER-1": {"RESPONSIBLE_ID": 7}, "::SUBFILTER-2": {"PRIORITY": 2}},
    }
    add(portal)
    assert ids(portal, wanted) == [two, one]


def test_pages_and_order(portal: Portal) -> None:
    made = [int(add(portal, TITLE=f"Дело {place:03}")["id"]) for place in range(110)]
    wanted = {">=ID": made[0]}
    page = portal.answer("tasks.task.list", filter=wanted, start="50")
    assert (len(page.result["tasks"]), page.total, page.next) == (50, 110, 100)
    assert ids(portal, wanted, order={"ID": "asc"}, start=100) == made[100:]
    assert ids(portal, wanted)[0] == made[-1]
    assert ids(portal, wanted, order={"title": "ASC"})[:2] == made[:2]
    assert refusal(portal, "tasks.task.list", order={"XML_ID": "asc"}) == ("0", "Invalid sorting key")


def test_reading_by_id_is_safe_while_the_set_shrinks(portal: Portal) -> None:
    past = "2026-03-10T18:00:00+03:00"
    made = [int(add(portal, DEADLINE=past)["id"]) for _ in range(120)]
    seen: list[int] = []
    last = made[0] - 1
    while True:
        wanted = {">ID": last, "<DEADLINE": NOON.isoformat(), "REAL_STATUS": [2, 3]}
        page = portal.answer("tasks.task.list", filter=wanted, order={"ID": "asc"}, select=["ID"], start=-1)
        assert (page.total, page.next) == (0, None)
        found = [int(task["id"]) for task in page.result["tasks"]]
        for number in found:
            portal.call("tasks.task.update", taskId=number, fields={"DEADLINE": DUE})
        seen += found
        if len(found) < 50:
            break
        last = found[-1]
    assert seen == made


def test_changed_tasks_are_found_by_time(portal: Portal) -> None:
    number = int(add(portal)["id"])
    portal.pass_seconds(60)
    since = (NOON + timedelta(seconds=30)).isoformat()
    assert ids(portal, {">=CHANGED_DATE": since}) == []
    portal.state.complete_task(number, 5)
    assert ids(portal, {">=CHANGED_DATE": since}) == [number]


def test_who_sees_which_tasks(portal: Portal) -> None:
    portal.state.add_task("Договор", responsible=15, by=13)
    everything = set(ids(portal, {}))
    assert set(ids(portal.as_user(13), {})) == {max(everything)}
    assert set(ids(portal.as_user(17), {})) == set()
    assert set(ids(portal.as_user(3), {})) == everything - {max(everything)}


# changing


def test_dates_alone_need_the_milder_right(portal: Portal) -> None:
    number = add(portal, ALLOW_CHANGE_DEADLINE="Y")["id"]
    plain = portal.as_user(5)
    assert plain.call("tasks.task.update", taskId=number, fields={"DEADLINE": DUE})["task"]["deadline"] == DUE
    fields = {"DEADLINE": "2026-03-13T18:00:00+03:00", "TAGS": ["x"]}
    forbidden = ("0", "Action on the task is not allowed")
    assert refusal(plain, "tasks.task.update", taskId=number, fields=fields) == forbidden
    closed = add(portal)["id"]
    assert refusal(plain, "tasks.task.update", taskId=closed, fields={"DEADLINE": DUE}) == forbidden
    assert refusal(plain, "tasks.task.update", taskId=9999, fields={"DEADLINE": DUE}) == forbidden


def test_a_frozen_deadline_is_moved_by_nobody(portal: Portal) -> None:
    number = int(add(portal, DEADLINE=DUE)["id"])
    portal.state.freeze_deadline(number)
    assert refusal(portal, "tasks.task.update", taskId=number, fields={"DEADLINE": ""})[0] == "0"
    assert not portal.call("tasks.task.get", taskId=number)["task"]["action"]["changeDeadline"]
    portal.state.free_deadline(number)
    assert portal.call("tasks.task.update", taskId=number, fields={"DEADLINE": ""})["task"]["deadline"] is None


def test_the_creator_edits_his_task_while_it_is_open(portal: Portal) -> None:
    number = int(add(portal.as_user(7), RESPONSIBLE_ID=5)["id"])
    portal.as_user(7).call("tasks.task.update", taskId=number, fields={"TITLE": "Иначе"})
    portal.state.complete_task(number, 5)
    assert refusal(portal.as_user(7), "tasks.task.update", taskId=number, fields={"TITLE": "Снова"})[0] == "0"
    assert portal.as_user(3).call("tasks.task.update", taskId=number, fields={"TITLE": "Снова"})


def test_lists_replace_what_was_there(portal: Portal) -> None:
    number = add(portal, AUDITORS=[3, 7])["id"]
    task = portal.call("tasks.task.update", taskId=number, fields={"AUDITORS": [9]})["task"]
    assert task["auditors"] == ["9"]


def test_an_update_tells_and_one_that_changes_nothing_does_not(portal: Portal) -> None:
    number = int(add(portal, DEADLINE=DUE)["id"])
    portal.events.clear()
    portal.call("tasks.task.update", taskId=number, fields={"DEADLINE": DUE})
    assert portal.events == []
    portal.call("tasks.task.update", taskId=number, fields={"DEADLINE": "2026-03-13T18:00:00+03:00"})
    assert portal.events == [
        (
            "ONTASKUPDATE",
            {
                "FIELDS_BEFORE": {"ID": number},
                "FIELDS_AFTER": {"ID": number},
                "IS_ACCESSIBLE_BEFORE": "undefined",
                "IS_ACCESSIBLE_AFTER": "undefined",
            },
        )
    ]


def test_deleting(portal: Portal) -> None:
    number = int(add(portal, XML_ID="gone", UF_CRM_TASK=["D_1"])["id"])
    assert refusal(portal.as_user(5), "tasks.task.delete", taskId=number)[0] == "1048582"
    assert portal.call("tasks.task.delete", taskId=number) == {"task": True}
    assert refusal(portal, "tasks.task.delete", taskId=number) == ("1048582", "No access to delete the task")
    assert ids(portal, {"XML_ID": "gone"}) == []
    assert portal.heard("ONTASKDELETE") == [
        {
            "FIELDS_BEFORE": {"ID": number},
            "FIELDS_AFTER": "undefined",
            "IS_ACCESSIBLE_BEFORE": "undefined",
            "IS_ACCESSIBLE_AFTER": "N",
        }
    ]


# statuses


def test_a_task_goes_its_way(portal: Portal) -> None:
    number = add(portal)["id"]

    def turn(verb: str) -> dict[str, Any]:
        portal.pass_seconds(60)
        task: dict[str, Any] = portal.call(f"tasks.task.{verb}", taskId=number)["task"]
        return task

    started = turn("start")
    assert (started["status"], started["dateStart"]) == ("3", "2026-03-11T12:01:00+03:00")
    assert refusal(portal, "tasks.task.defer", taskId=number) == ("1048582", "Action on the task is not allowed")
    assert turn("pause")["status"] == "2"
    assert turn("defer")["status"] == "6"
    assert turn("renew")["status"] == "2"
    done = turn("complete")
    assert (done["status"], done["closedBy"], done["closedDate"]) == ("5", "1", "2026-03-11T12:05:00+03:00")
    assert refusal(portal, "tasks.task.complete", taskId=number) == ("0", "Action on the task is not allowed")
    renewed = turn("renew")
    assert (renewed["status"], renewed["closedBy"], renewed["closedDate"]) == ("2", "0", None)


@pytest.mark.parametrize(
    ("verb", "code"),
    [
        ("complete", "0"),
        ("start", "0"),
        ("pause", "1048582"),
        ("defer", "1048582"),
        ("renew", "1048582"),
        ("approve", "1048582"),
        ("disapprove", "1048582"),
    ],
)
def test_a_stranger_turns_nothing(portal: Portal, verb: str, code: str) -> None:
    number = add(portal)["id"]
    assert refusal(portal.as_user(15), f"tasks.task.{verb}", taskId=number)[0] == code
    assert refusal(portal, f"tasks.task.{verb}", taskId=9999)[0] == code
    assert refusal(portal, f"tasks.task.{verb}")[0] == "100"


def test_a_controlled_task_waits_for_its_creator(portal: Portal) -> None:
    number = add(portal, CREATED_BY=3, TASK_CONTROL="Y")["id"]
    assert portal.call("tasks.task.complete", taskId=number)["task"]["status"] == "4"
    assert refusal(portal.as_user(5), "tasks.task.approve", taskId=number)[0] == "1048582"
    assert portal.as_user(3).call("tasks.task.disapprove", taskId=number)["task"]["status"] == "2"
    assert portal.as_user(5).call("tasks.task.complete", taskId=number)["task"]["status"] == "4"
    assert portal.as_user(3).call("tasks.task.approve", taskId=number)["task"]["status"] == "5"


def test_a_required_result_keeps_the_task_open(portal: Portal) -> None:
    number = add(portal, SE_PARAMETER=[{"VALUE": "Y", "CODE": 3}])["id"]
    assert refusal(portal, "tasks.task.complete", taskId=number)[0] == "0"
    portal.call("v3:tasks.task.result.add", fields={"taskId": int(number), "text": "Договор отправлен"})
    assert portal.call("tasks.task.complete", taskId=number)["task"]["status"] == "5"
    row = portal.call("tasks.task.result.list", taskId=number)[0]
    assert (row["text"], row["commentId"], row["status"]) == ("Договор отправлен", 0, 1)
    portal.call("tasks.task.renew", taskId=number)
    with pytest.raises(RestError):
        portal.state.complete_task(int(number), 5)
    portal.state.complete_task(int(number), 5, result="Ещё раз")
    portal.call("tasks.task.renew", taskId=number)
    portal.state.switches.result_spares_creator = True
    assert portal.call("tasks.task.complete", taskId=number)["task"]["status"] == "5"


def test_who_delegates_goes_on_watching(portal: Portal) -> None:
    number = add(portal)["id"]
    task = portal.as_user(5).call("tasks.task.delegate", taskId=number, userId="7")["task"]
    assert (task["responsibleId"], task["auditors"], task["status"]) == ("7", ["5"], "2")
    assert refusal(portal, "tasks.task.delegate", taskId=number)[0] == "100"


def test_history_tells_who_moved_the_deadline(portal: Portal) -> None:
    number = int(add(portal, DEADLINE=DUE)["id"])
    portal.pass_seconds(60)
    portal.state.set_deadline(number, "2026-03-13T18:00:00+03:00", 5)
    rows = portal.call("tasks.task.history.list", taskId=number, filter={"FIELD": "DEADLINE"})["list"]
    assert rows == [
        {
            "id": rows[0]["id"],
            "createdDate": "2026-03-11T12:01:00+03:00",
            "field": "DEADLINE",
            "value": {"from": "1773327600", "to": "1773414000"},
            "user": {
                "id": 5,
                "name": "Мария",
                "lastName": "Кузнецова",
                "secondName": "",
                "login": "user5@standart.example",
            },
        }
    ]
    portal.state.switches.task_history_dates = "iso"
    every = portal.call("tasks.task.history.list", taskId=number, order={"createdDate": "asc"})["list"]
    assert [row["field"] for row in every] == ["NEW", "DEADLINE"]
    assert every[1]["value"]["from"] == DUE
    assert portal.call("tasks.task.history.list", taskId=9999) == {"list": []}
    assert refusal(portal.as_user(15), "tasks.task.history.list", taskId=number) == ("0", "Access denied.")


def test_fields_of_tasks_are_described(portal: Portal) -> None:
    fields = portal.call("tasks.task.getFields")["fields"]
    assert fields["TITLE"] == {"title": "Title", "type": "string", "required": True}
    assert fields["STATUS"]["values"]["4"] == "Awaiting Review"


# what hangs on a task


def test_a_checklist_is_made_of_a_root_and_items(portal: Portal) -> None:
    number = int(add(portal)["id"])
    root = portal.call("task.checklistitem.add", TASKID=number, FIELDS={"TITLE": "Подготовка", "PARENT_ID": 0})
    for title in ("Собрать материалы", "Согласовать время"):
        portal.call("task.checklistitem.add", TASKID=str(number), FIELDS={"TITLE": title, "PARENT_ID": str(root)})
    rows = portal.call("task.checklistitem.getlist", TASKID=number, ORDER={"ID": "asc"})
    assert rows[0] == {
        "ID": str(root),
        "TASK_ID": str(number),
        "PARENT_ID": 0,
        "CREATED_BY": "1",
        "TITLE": "Подготовка",
        "SORT_INDEX": "0",
        "IS_COMPLETE": "N",
        "IS_IMPORTANT": "N",
        "TOGGLED_BY": None,
        "TOGGLED_DATE": "",
        "MEMBERS": [],
        "ATTACHMENTS": [],
    }
    assert [(row["TITLE"], row["PARENT_ID"], row["SORT_INDEX"]) for row in rows[1:]] == [
        ("Собрать материалы", str(root), "0"),
        ("Согласовать время", str(root), "1"),
    ]
    task = portal.call("tasks.task.get", taskId=number)["task"]
    assert set(task["checklist"]) == {row["ID"] for row in rows}
    assert [node["fields"]["title"] for node in task["checkListTree"]["descendants"][0]["descendants"]] == [
        "Собрать материалы",
        "Согласовать время",
    ]
    assert portal.call("task.checklistitem.delete", TASKID=number, ITEMID=rows[1]["ID"]) is True
    assert len(portal.call("task.checklistitem.getlist", TASKID=number)) == 2


def test_an_item_without_a_parent_joins_the_first_checklist(portal: Portal) -> None:
    number = int(add(portal)["id"])
    one, two = (portal.call("task.checklistitem.add", TASKID=number, FIELDS={"TITLE": str(step)}) for step in (1, 2))
    rows = portal.call("task.checklistitem.getlist", TASKID=number, ORDER={"ID": "asc"})
    assert [row["TITLE"] for row in rows] == ["BX_CHECKLIST_1", "1", "2"]
    assert {rows[1]["PARENT_ID"], rows[2]["PARENT_ID"]} == {rows[0]["ID"]}
    assert (rows[1]["ID"], rows[2]["ID"]) == (str(one), str(two))


@pytest.mark.parametrize(
    ("params", "number"),
    [
        ({"FIELDS": {"TITLE": "x"}}, "256"),
        ({"TASKID": "x", "FIELDS": {"TITLE": "x"}}, "256"),
        ({"TASKID": 1}, "256"),
        ({"TASKID": 1, "FIELDS": {"IS_COMPLETE": "Y"}}, "8"),
        ({"TASKID": 9999, "FIELDS": {"TITLE": "x"}}, "8"),
    ],
)
def test_checklist_errors_carry_their_number(portal: Portal, params: dict[str, Any], number: str) -> None:
    code, text = refusal(portal, "task.checklistitem.add", **params)
    assert code == "ERROR_CORE"
    assert text.startswith(f"TASKS_ERROR_EXCEPTION_#{number};")


def test_a_comment_lands_in_the_tasks_chat(portal: Portal) -> None:
    task = add(portal)
    number = portal.call("task.commentitem.add", TASKID=task["id"], FIELDS={"POST_MESSAGE": "Срок перенесён"})
    assert portal.call("task.commentitem.getlist", TASKID=task["id"]) == []
    page = portal.call("im.dialog.messages.get", DIALOG_ID=f"chat{task['chatId']}")
    assert [(one["id"], one["author_id"], one["text"]) for one in page["messages"]] == [(number, 1, "Срок перенесён")]
    portal.call("v3:tasks.task.chat.message.send", fields={"taskId": int(task["id"]), "text": "Ещё строка"})
    assert [one.text for one in portal.state.messages_of_task(int(task["id"]))] == ["Срок перенесён", "Ещё строка"]
    assert refusal(portal, "task.commentitem.add", TASKID=task["id"], FIELDS={})[0] == "ERROR_CORE"


def test_in_the_old_card_comments_are_listed(portal: Portal) -> None:
    portal.state.switches.new_task_card = False
    task = add(portal)
    assert task["chatId"] is None
    for text in ("раз", "два"):
        portal.call("task.commentitem.add", TASKID=task["id"], FIELDS={"POST_MESSAGE": text})
    rows = portal.call("task.commentitem.getlist", TASKID=task["id"])
    assert [row["POST_MESSAGE"] for row in rows] == ["два", "раз"]
    assert (rows[0]["AUTHOR_ID"], rows[0]["POST_DATE"]) == ("1", "2026-03-11T12:00:00+03:00")


# REST 3.0


def test_the_new_version_is_typed(portal: Portal) -> None:
    fields = {
        "title": "Позвонить",
        "creatorId": 1,
        "responsibleId": 5,
        "deadline": "2026-03-12T18:00:59+03:00",
        "xmlId": "v3",
        "crmItemIds": ["D_1"],
        "requireResult": True,
    }
    item = portal.call("v3:tasks.task.add", fields=fields)["item"]
    assert (item["status"], item["priority"], item["mark"]) == ("pending", "average", "none")
    assert (item["deadline"], item["crmItemIds"], item["requireResult"]) == (fields["deadline"], ["D_1"], True)
    assert item["rights"]["deadline"] is True
    shown = portal.call("v3:tasks.task.get", id=item["id"], select=["title", "responsible.email", "chat.id"])["item"]
    assert shown == {
        "id": item["id"],
        "title": "Позвонить",
        "responsible": {"email": "user5@standart.example"},
        "chat": {"id": item["chatId"]},
    }


@pytest.mark.parametrize(
    ("name", "params", "code"),
    [
        ("add", {}, "VALIDATION_REQUESTVALIDATIONEXCEPTION"),
        ("add", {"fields": {"title": "x", "creatorId": 1}}, "VALIDATION_REQUESTVALIDATIONEXCEPTION"),
        (
            "add",
            {"fields": {"title": "x", "creatorId": 1, "responsibleId": "5"}},
            "VALIDATION_REQUESTVALIDATIONEXCEPTION",
        ),
        (
            "add",
            {"fields": {"title": "x", "creatorId": 1, "responsibleId": 5, "deadline": "2026-03-12"}},
            "VALIDATION_REQUESTVALIDATIONEXCEPTION",
        ),
        ("get", {"id": 9999}, "ENTITYNOTFOUNDEXCEPTION"),
        ("get", {"id": "1"}, "VALIDATION_REQUESTVALIDATIONEXCEPTION"),
        ("get", {"id": 1, "select": ["responsible.stageId"]}, "UNKNOWNDTOPROPERTYEXCEPTION"),
        ("chat.message.send", {"fields": {"taskId": 1}}, "VALIDATION_DTOVALIDATIONEXCEPTION"),
        ("chat.message.send", {"fields": {"taskId": 9999, "text": "x"}}, "ACCESSDENIEDEXCEPTION"),
    ],
)
def test_errors_of_the_new_version(portal: Portal, name: str, params: dict[str, Any], code: str) -> None:
    with pytest.raises(RestError) as caught:
        portal.call(f"v3:tasks.task.{name}", **params)
    assert caught.value.code == f"BITRIX_REST_V3_EXCEPTION_{code}"
    assert caught.value.status == (403 if code.startswith("ACCESS") else 400)


# size


def test_of_ten_thousand_tasks_each_is_found_by_its_mark(portal: Portal) -> None:
    fields = {"TITLE": "Дело", "RESPONSIBLE_ID": 5, "DEADLINE": DUE, "UF_CRM_TASK": ["D_1"]}
    for place in range(10_000):
        portal.call("tasks.task.add", fields={**fields, "XML_ID": f"bitrix-sync:{place}:call"})
    for place in range(0, 10_000, 10):
        assert len(ids(portal, {"XML_ID": f"bitrix-sync:{place}:call"})) == 1
    assert portal.answer("tasks.task.list", filter={"UF_CRM_TASK": "D_1"}, start=9950).next == 10_000
