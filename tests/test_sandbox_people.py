"""The sandbox's people, talk, calendar and service methods answer as the documentation shows it."""

from __future__ import annotations

from typing import Any

import pytest

from bitrix_sandbox.methods.protocol import METHODS
from bitrix_sandbox.state import seed
from bitrix_sandbox.state.errors import RestError
from tests.world.calls import Portal, sales_department


@pytest.fixture
def portal() -> Portal:
    return sales_department()


def refusal(portal: Portal, name: str, **params: Any) -> str:
    with pytest.raises(RestError) as caught:
        portal.call(name, **params)
    return caught.value.code


def ids(rows: list[dict[str, Any]]) -> list[int]:
    return [int(row["ID"]) for row in rows]


# users


def test_a_user_has_the_documented_keys_and_types(portal: Portal) -> None:
    full = portal.as_user(1, "user")
    row = full.call("user.get", ID=5)[0]
    assert row == {
        "ID": "5",
        "ACTIVE": True,
        "NAME": "Мария",
        "LAST_NAME": "Кузнецова",
        "SECOND_NAME": "",
        "EMAIL": "user5@standart.example",
        "LAST_LOGIN": "2026-03-11T09:00:00+03:00",
        "DATE_REGISTER": "2025-02-04T12:00:00+03:00",
        "TIME_ZONE": "",
        "IS_ONLINE": "N",
        "TIMESTAMP_X": {},
        "LAST_ACTIVITY_DATE": {},
        "PERSONAL_GENDER": "F",
        "PERSONAL_WWW": "",
        "PERSONAL_BIRTHDAY": "",
        "PERSONAL_MOBILE": "",
        "PERSONAL_CITY": "",
        "WORK_PHONE": "",
        "WORK_POSITION": "Менеджер по продажам",
        "UF_EMPLOYMENT_DATE": "",
        "UF_DEPARTMENT": [3],
        "USER_TYPE": "employee",
    }


def test_narrow_scopes_show_less(portal: Portal) -> None:
    brief = portal.as_user(1, "user_brief").call("user.get", ID=5)[0]
    basic = portal.as_user(1, "user_basic").call("user.get", ID=5)[0]
    assert not {"EMAIL", "USER_TYPE", "LAST_LOGIN"} & set(brief)
    assert set(basic) - set(brief) == {"EMAIL", "PERSONAL_MOBILE", "WORK_PHONE"}
    assert set(portal.call("user.get", ID=5, select=["ID", "UF_*"])[0]) == {"ID", "UF_EMPLOYMENT_DATE", "UF_DEPARTMENT"}


def test_dismissed_users_are_listed_and_filtered_by_whatever_php_takes_for_true(portal: Portal) -> None:
    page = portal.answer("user.get")
    assert (page.total, page.next) == (13, None)
    assert ids(page.result) == sorted(ids(page.result))
    assert seed.FIRED in ids(page.result)
    assert seed.FIRED not in ids(portal.call("user.get", FILTER={"ACTIVE": True}))
    assert seed.FIRED not in ids(portal.call("user.get", filter={"ACTIVE": "false"}))
    assert ids(portal.call("user.get", FILTER={"ACTIVE": "N"})) == [seed.FIRED]


def test_users_are_filtered_by_fields_and_unknown_keys_are_ignored(portal: Portal) -> None:
    assert ids(portal.call("user.get", FILTER={"UF_DEPARTMENT": 7})) == [9, 19, 21, 23]
    assert ids(portal.call("user.get", FILTER={"UF_DEPARTMENT": ["5", "7"]})) == [9, 13, 15, 17, 19, 21, 23]
    assert ids(portal.call("user.get", FILTER={"@ID": [3, 5]}, order="DESC")) == [5, 3]
    assert ids(portal.call("user.get", FILTER={"%LAST_NAME": "ов"}, sort="LAST_NAME"))[0] == 21
    assert len(portal.call("user.get", FILTER={"DEPARTMENT": 7})) == 13
    assert portal.state.ignored_filters == [("user.get", "DEPARTMENT")]


def test_bots_and_hidden_users_are_not_listed(portal: Portal) -> None:
    state = portal.state
    bot = state.hire("Бот", "", [1], kind="bot")
    hidden = state.hire("Система", "", [1], kind="system")
    outside = state.hire("Внешний", "Человек", [])
    assert not {bot, hidden, outside} & set(ids(portal.call("user.get")))
    assert outside in ids(portal.call("user.get", ADMIN_MODE="True"))


def test_searching_is_by_beginnings(portal: Portal) -> None:
    assert ids(portal.call("user.search", FILTER={"FIND": "юрид"})) == [13, 15, 17]
    assert ids(portal.call("user.search", FILTER={"NAME": "Ал", "WORK_POSITION": "Лог"})) == [23]


def test_the_webhooks_owner(portal: Portal) -> None:
    assert portal.call("user.current")["ID"] == "1"
    assert portal.call("profile") == {
        "ID": "1",
        "ADMIN": True,
        "NAME": "Анна",
        "LAST_NAME": "Смирнова",
        "PERSONAL_GENDER": "F",
        "TIME_ZONE": "",
    }
    assert portal.call("user.admin") is True
    assert portal.as_user(5).call("user.admin") is False
    portal.state.set_admin(1, False)
    assert portal.call("profile")["ADMIN"] is False


def test_pages_of_users(portal: Portal) -> None:
    for place in range(60):
        portal.state.hire(f"Новый {place}", "Сотрудник", [3])
    first, second = portal.answer("user.get"), portal.answer("user.get", start=50)
    assert (len(first.result), first.total, first.next) == (50, 73, 50)
    assert (len(second.result), second.next) == (23, None)
    last = ids(first.result)[-1]
    rest = portal.answer("user.get", FILTER={">ID": last}, sort="ID", order="ASC", start=-1)
    assert (ids(rest.result), rest.total, rest.next) == (ids(second.result), 0, None)


# departments and groups


def test_departments_leave_out_what_they_do_not_have(portal: Portal) -> None:
    portal.state.set_head(7, 0)
    page = portal.answer("department.get")
    assert page.total == 4
    assert page.result == [
        {"ID": "1", "NAME": "ООО «Стандарт»", "SORT": 500, "UF_HEAD": "1"},
        {"ID": "3", "NAME": "Отдел продаж", "SORT": 500, "PARENT": "1", "UF_HEAD": "3"},
        {"ID": "5", "NAME": "Юридический отдел", "SORT": 500, "PARENT": "1", "UF_HEAD": "13"},
        {"ID": "7", "NAME": "Отдел логистики", "SORT": 500, "PARENT": "1"},
    ]


def test_departments_are_filtered_by_upper_case_and_ordered_by_lower_case(portal: Portal) -> None:
    assert [row["ID"] for row in portal.call("department.get", PARENT="1", sort="NAME", order="DESC")] == [
        "5",
        "3",
        "7",
    ]
    assert [row["ID"] for row in portal.call("department.get", NAME="Отдел продаж")] == ["3"]
    assert [row["ID"] for row in portal.call("department.get", ID=["3", "5"])] == ["3", "5"]
    assert [row["ID"] for row in portal.call("department.get", UF_HEAD=13)] == ["5"]


def test_heads_of_departments_with_their_absence(portal: Portal) -> None:
    assert portal.call("im.department.managers.get", ID=[3, 5, 99]) == {"3": [3], "5": [13]}
    assert portal.call("im.department.managers.get", ID="[99]") == []
    head = portal.call("im.department.managers.get", ID=[7], USER_DATA="Y")["7"][0]
    assert (head["id"], head["absent"], head["active"]) == (seed.AWAY, "2026-03-22T00:00:00+03:00", True)
    assert head["departments"] == [7]
    assert portal.call("im.department.managers.get", ID=[3], USER_DATA="Y")["3"][0]["absent"] is False
    assert refusal(portal, "im.department.managers.get") == "ID_EMPTY"


def test_workgroups(portal: Portal) -> None:
    page = portal.answer("sonet_group.get", FILTER={"NAME": "Запуск нового склада"})
    assert (page.total, page.result[0]["ID"], page.result[0]["NUMBER_OF_MEMBERS"]) == (1, "1", "4")
    assert page.result[0]["PROJECT"] == "Y"
    hidden = portal.state.add_workgroup("Тайный", owner=3, visible=False)
    assert hidden not in ids(portal.as_user(15).call("sonet_group.get"))
    assert hidden in ids(portal.call("sonet_group.get", IS_ADMIN="Y", ORDER={"ID": "DESC"}))


# talk


def test_a_message_is_read_back_from_the_personal_dialog(portal: Portal) -> None:
    first = portal.call("im.message.add", DIALOG_ID="5", MESSAGE="Раз")
    second = portal.call("im.message.add", DIALOG_ID=5, MESSAGE="Два")
    portal.state.write_to(1, "Хорошо", by=5)
    page = portal.call("im.dialog.messages.get", DIALOG_ID="5")
    assert [one["text"] for one in page["messages"]] == ["Хорошо", "Два", "Раз"]
    assert page["messages"][-1] == {
        "id": first,
        "chat_id": page["chat_id"],
        "author_id": 1,
        "date": "2026-03-11T12:00:00+03:00",
        "text": "Раз",
        "unread": False,
        "uuid": page["messages"][-1]["uuid"],
        "replaces": [],
        "params": [],
        "disappearing_date": None,
    }
    assert [user["id"] for user in page["users"]] == [5, 1]
    assert page["files"] == []
    older = portal.call("im.dialog.messages.get", DIALOG_ID="5", LAST_ID=second)["messages"]
    assert [one["id"] for one in older] == [first]
    newer = portal.call("im.dialog.messages.get", DIALOG_ID="5", FIRST_ID=str(first), LIMIT=1)["messages"]
    assert [one["id"] for one in newer] == [second]
    assert [one.text for one in portal.state.messages_to(5)] == ["Раз", "Два"]
    assert portal.as_user(5).call("im.dialog.messages.get", DIALOG_ID="1")["chat_id"] == page["chat_id"]


def test_a_dialog_that_nobody_began_is_empty(portal: Portal) -> None:
    page = portal.call("im.dialog.messages.get", DIALOG_ID="7")
    assert (page["messages"], page["users"], page["files"]) == ([], [], [])


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"DIALOG_ID": "5"}, "MESSAGE_EMPTY"),
        ({"MESSAGE": "x"}, "USER_ID_EMPTY"),
        ({"DIALOG_ID": "999", "MESSAGE": "x"}, "USER_NOT_FOUND"),
        ({"DIALOG_ID": "chat999999", "MESSAGE": "x"}, "CHAT_ID"),
    ],
)
def test_messages_that_cannot_be(portal: Portal, params: dict[str, Any], code: str) -> None:
    assert refusal(portal, "im.message.add", **params) == code


def test_dialogs_that_cannot_be_read(portal: Portal) -> None:
    assert refusal(portal, "im.dialog.messages.get") == "DIALOG_ID_EMPTY"
    assert refusal(portal, "im.dialog.messages.get", DIALOG_ID="5", LAST_ID="x") == "LAST_ID_STRING"
    chat = portal.state.tasks[1].chat_id
    assert portal.call("im.dialog.messages.get", DIALOG_ID=f"chat{chat}")["messages"] == []
    assert refusal(portal.as_user(15), "im.dialog.messages.get", DIALOG_ID=f"chat{chat}") == "ACCESS_ERROR"
    portal.state.switches.task_chat_members_only = True
    assert refusal(portal, "im.dialog.messages.get", DIALOG_ID=f"chat{chat}") == "ACCESS_ERROR"


def test_too_long_a_message_is_cut(portal: Portal) -> None:
    portal.call("im.message.add", DIALOG_ID="5", MESSAGE="я" * 20_001)
    assert portal.state.messages_to(5)[0].text == "я" * 20_000 + " (...)"


def test_notices_personal_and_of_the_system(portal: Portal) -> None:
    assert isinstance(portal.call("im.notify.personal.add", USER_ID=5, MESSAGE=" Раз ", TAG="a"), int)
    portal.call("im.notify.system.add", USER_ID="5", MESSAGE="Два", TAG="a")
    portal.call("im.notify", USER_ID=5, MESSAGE="Три", TYPE="SYSTEM")
    notices = portal.state.notices_of(5)
    assert [(one.text, one.author_id, one.kind) for one in notices] == [
        ("Раз", 1, "personal"),
        ("Два", 0, "system"),
        ("Три", 0, "system"),
    ]
    portal.state.switches.notice_tags = True
    portal.call("im.notify.system.add", USER_ID=5, MESSAGE="Вместо", TAG="a")
    assert [one.text for one in portal.state.notices_of(5)] == ["Три", "Вместо"]
    portal.state.switches.notices_fail = True
    assert portal.call("im.notify.system.add", USER_ID=5, MESSAGE="x") is False
    assert refusal(portal, "im.notify.system.add", MESSAGE="x") == "USER_ID_EMPTY"
    assert refusal(portal, "im.notify.personal.add", USER_ID=5, MESSAGE=" ") == "MESSAGE_EMPTY"


# calendar


def test_the_work_calendar(portal: Portal) -> None:
    settings = portal.call("calendar.settings.get")
    assert (settings["work_time_start"], settings["work_time_end"]) == ("9", "18")
    assert settings["week_holidays"] == ["SA", "SU"]
    assert "23.02" in settings["year_holidays"].split(",")
    portal.state.set_calendar({"work_time_start": "9.30", "year_holidays": ""})
    assert portal.call("calendar.settings.get")["work_time_start"] == "9.30"


def test_ones_own_zone(portal: Portal) -> None:
    own = portal.call("calendar.user.settings.get")
    assert (own["timezoneName"], own["timezoneOffsetUTC"]) == ("Europe/Moscow", 10800)
    portal.state.set_time_zone(1, "Asia/Vladivostok")
    assert portal.call("calendar.user.settings.get")["timezoneOffsetUTC"] == 36000


def test_who_is_away(portal: Portal) -> None:
    found = portal.call(
        "calendar.accessibility.get", users=[seed.AWAY, 5], **{"from": "2026-03-01", "to": "2026-03-31"}
    )
    assert found["5"] == []
    entry = found[str(seed.AWAY)][0]
    assert (entry["ACCESSIBILITY"], entry["DT_SKIP_TIME"]) == ("absent", "Y")
    assert (entry["DATE_FROM"], entry["DATE_TO"]) == ("08.03.2026 00:00:00", "21.03.2026 00:00:00")
    assert (entry["DATE_FROM_TS_UTC"], entry["TZ_FROM"]) == ("1772917200", "Europe/Moscow")
    outside = portal.call("calendar.accessibility.get", users=[seed.AWAY], **{"from": "2026-04-01", "to": "2026-04-30"})
    assert outside == {str(seed.AWAY): []}
    with pytest.raises(RestError, match='The required parameter "to" for the method'):
        portal.call("calendar.accessibility.get", users=[1], **{"from": "2026-03-01"})


# people's doings


def test_people_come_go_and_change_places(portal: Portal) -> None:
    state = portal.state
    number = state.hire("Пётр", "Новичков", [3], email="petr@standart.example")
    state.set_departments(number, [5])
    assert state.subordinates(13) == {15, 17, number}
    state.set_head(5, number)
    assert state.subordinates(13) == frozenset()
    state.fire(number)
    assert portal.call("user.get", ID=number)[0]["ACTIVE"] is False
    state.rehire(number)
    state.add_absence(number, "2026-03-11T00:00:00+03:00", "2026-03-12T00:00:00+03:00")
    assert state.iso(state.away_until(number)) == "2026-03-12T00:00:00+03:00"
    state.delete_user(number)
    assert portal.call("user.get", ID=number) == []


def test_a_superior_reaches_down_the_whole_tree(portal: Portal) -> None:
    assert portal.state.subordinates(1) == set(portal.state.users) - {1}
    assert portal.state.subordinates(3) == {5, 7, 9, 11, 25}


# service


def test_scopes_and_methods(portal: Portal) -> None:
    narrow = portal.as_user(1, "crm", "task")
    assert narrow.call("scope") == ["crm", "task"]
    assert "im" in narrow.call("scope", full=True)
    known = narrow.call("methods")
    assert "crm.item.get" in known
    assert "user.get" not in known
    assert not [name for name in known if name.startswith("v3:")]
    assert narrow.call("methods", scope="im") == narrow.as_user(1, "im").call("methods", scope="im")
    assert narrow.call("method.get", name="user.get") == {"isExisting": True, "isAvailable": False}
    assert narrow.call("method.get", name="crm.item.get") == {"isExisting": True, "isAvailable": True}
    assert narrow.call("method.get") == {"isExisting": False, "isAvailable": False}
    assert narrow.call("server.time") == "2026-03-11T12:00:00+03:00"


@pytest.mark.parametrize(
    ("name", "scopes"),
    [
        ("user.get", {"user", "user_basic", "user_brief"}),
        ("tasks.task.add", {"task"}),
        ("v3:tasks.task.add", {"tasks"}),
        ("crm.stagehistory.list", {"crm"}),
        ("profile", set()),
    ],
)
def test_each_method_has_its_scope(name: str, scopes: set[str]) -> None:
    assert METHODS[name].scopes == scopes


def test_what_writes_is_marked_as_writing() -> None:
    verbs = ("add", "update", "delete", "complete", "start", "pause", "defer", "renew", "approve", "delegate", "send")
    ours = {
        name: one.writes
        for name, one in METHODS.items()
        if one.handler.__module__.startswith("bitrix_sandbox.") and name != "batch"
    }
    writing = {name for name, writes in ours.items() if writes}
    assert {name for name in ours if name.rpartition(".")[2] in verbs} <= writing
    assert not {name for name in writing if name.rpartition(".")[2] in ("get", "list", "fields")}
