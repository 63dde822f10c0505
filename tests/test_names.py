"""``names``: what can be written in the file, from the portal or from what the store knows of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bitrix_sync.model.facts import DealField, Department, Funnel, Stage, User
from bitrix_sync.portal.directory import directory
from bitrix_sync.report import names
from bitrix_sync.rules.load import load
from tests.world.company import DIRECTORY
from tests.world.office import Office, office
from tests.world.shell import Shell

ODD = ("Договор: подписан", "Да", "да", "Новая #1", "*", "on", "С «кавычками», и запятой", "\u202eслева", "", "7", "9")
TWICE = replace(
    DIRECTORY,
    funnels=(*DIRECTORY.funnels, Funnel(9, "7", tuple(Stage(f"C9:{n}", name, 9) for n, name in enumerate(ODD)))),
)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Office]:
    with office(tmp_path) as found:
        found.run()
        yield found


@pytest.fixture
def shell(place: Office) -> Shell:
    return Shell(place.folder, place.environ)


def shown(name: str, text: str = "", **how: Any) -> list[dict[str, Any]]:
    return names.look(name, DIRECTORY, "ru", text, **how)


# --- what is listed --------------------------------------------------------------------------------------------------


def test_each_name_is_written_so_that_the_file_means_that_very_thing() -> None:
    for line in names.look("funnels", TWICE, "ru"):
        stage = "      - {id: it, title: It, deadline: {after: 1 workday}}\n"
        file = 'version: 1\nadmins: [1]\nfallback_owner: 1\ncalendar: {hours: "09:00-18:00"}\nfunnels:\n'
        text = f"{file}  {line['funnel_in_file']}:\n    {line['stage_in_file']}:\n{stage}"
        loaded = load(text, "rules.yaml", directory=TWICE)
        assert loaded.rules is not None, (line, loaded.errors)
        assert set(loaded.rules.policies) == {line["stage_id"]}


def test_a_field_stands_once_with_its_values_and_their_ids() -> None:
    kind = next(line for line in shown("fields") if line["code"] == "UF_KIND")
    assert (kind["of"], kind["title"], kind["type"], kind["multiple"]) == ("task", "Вид работ", "enumeration", False)
    assert kind["values"][0] == {"id": "21", "name": "Монтаж", "in_file": "Монтаж"}
    assert kind["values_in_file"] == 'Монтаж (21), "22" (Сервис), "23" (сервис)'
    codes = [line["code"] for line in shown("fields")]
    assert len(codes) == len(set(codes))
    assert "RESPONSIBLE_ID" not in codes
    older = replace(
        DIRECTORY, fields={"UPDATED_BY": DealField("UPDATED_BY", "Кем"), "MODIFY_BY_ID": DealField("X", "Кем")}
    )
    assert [line["code"] for line in names.look("fields", older, "ru") if line["of"] == "deal"] == ["UPDATED_BY"]


def test_people_who_left_are_shown_when_asked_for_and_marked() -> None:
    assert "Юлия Козлова" not in {line["name"] for line in shown("people")}
    assert shown("people", fired=True)[-1]["name"] == "Юлия Козлова"
    (found,) = shown("people", "козлова")
    assert (found["active"], found["departments"], found["email"]) == (False, "Отдел продаж", "user25@standart.example")


def test_departments_are_shown_with_what_they_belong_to_and_their_head() -> None:
    twins = replace(
        DIRECTORY.company, departments={**DIRECTORY.company.departments, 9: Department(9, "отдел ПРОДАЖ", 99, 0)}
    )
    found = {line["id"]: line for line in names.look("departments", replace(DIRECTORY, company=twins), "ru")}
    assert (found[5]["in_file"], found[5]["parent"], found[5]["head"]) == (
        "Юридический отдел",
        "ООО «Стандарт»",
        "Елена Михайлова",
    )
    assert (found[3]["cell"], found[9]["parent"], found[9]["head"]) == ('"3"  # Отдел продаж', "", "")


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("ЮРИДИЧЕСКИЙ", [15, 13]),
        ("отдел Юридический  новиков", [15]),
        ("user13@", [13]),
        ("13", [13]),
        ("нет такого", []),
        ("новиков отдел логистики", []),
    ],
)
def test_every_word_is_looked_for_in_every_column(text: str, ids: list[int]) -> None:
    assert [line["id"] for line in shown("people", text)] == ids


def test_yo_and_composition_make_no_difference() -> None:
    people = {1: User(1, "Пётр Королёв"), 2: User(2, "Андреи\u0306 Попов")}
    directory = replace(DIRECTORY, company=replace(DIRECTORY.company, users=people))
    assert [line["id"] for line in names.look("people", directory, "ru", "петр королев")] == [1]
    assert [line["id"] for line in names.look("people", directory, "ru", "Андрей")] == [2]


# --- where they come from --------------------------------------------------------------------------------------------


def test_the_portal_is_asked_and_its_workgroups_have_names(shell: Shell, place: Office) -> None:
    place.portal.state.funnels[0].name = "Продажи: новые"
    ran = shell("names", "funnels", "заявка")
    assert ran.out.splitlines()[1:] == [
        "Funnel\tFunnel id\tStage\tStage id\tEnds",
        '"Продажи: новые"\t0\tНовая заявка\tNEW\t',
    ]
    assert "shows it now" in ran.err
    found = shell("names", "workgroups", "--json").json
    assert (found["source"], found["unread"]) == ("portal", {"workgroups": {}})
    (group,) = place.portal.state.workgroups.values()
    assert found["workgroups"] == [{"id": group.id, "name": group.name, "in_file": group.name, "active": True}]
    place.portal.state.close_workgroup(group.id)
    assert shell("names", "workgroups", "--json").json["workgroups"] == []
    assert shell("names", "workgroups", group.name).out.splitlines()[-1].endswith("closed")


def test_what_the_store_knows_is_told_with_its_age_where_the_portal_is_not_asked(
    shell: Shell, place: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(directory.__kwdefaults__, "patience", 0.1)
    place.portal.state.funnels[0].name = "Another"
    for ran in (
        shell("names", "funnels", "--offline"),
        shell("names", "funnels", BITRIX_WEBHOOK_URL=""),
        shell("names", "funnels", BITRIX_WEBHOOK_URL="http://127.0.0.1:9/rest/1/code/"),
    ):
        assert ran.code == 0, ran.err
        assert "Продажи\t0\tНовая заявка\tNEW" in ran.out
        assert "since Mon 2 March, 10:00" in ran.err
    assert "The portal was not read: " in ran.err


def test_where_nobody_knows_any_name_the_cure_is_told(shell: Shell, tmp_path: Path) -> None:
    nowhere = {"DATABASE_URL": f"sqlite:///{tmp_path / 'no.db'}"}
    ran = shell("names", "--offline", **nowhere)
    assert (ran.code, ran.out) == (1, "")
    assert "bitrix-sync run" in ran.err
    assert "BITRIX_WEBHOOK_URL" in shell("names", BITRIX_WEBHOOK_URL="", **nowhere).err
    assert shell("names", "people", "мария", **nowhere).out.splitlines()[1:] == [
        "Id\tEmployee\tE-mail\tDepartment\tNote",
        "5\tМария Кузнецова\tuser5@standart.example\tОтдел продаж\t",
    ]
    assert not (tmp_path / "no.db").exists()


@pytest.mark.parametrize(("written", "meant"), [("peopel", "people"), ("Department", "departments")])
def test_a_listing_that_is_mistyped_is_named(written: str, meant: str, shell: Shell) -> None:
    assert f"`bitrix-sync names {meant}`" in shell("names", written, "nobody", "--offline").err


def test_json_has_stable_keys_also_where_nothing_is_found(shell: Shell) -> None:
    found = shell("names", "zzz", "--json").json
    assert set(found) == {"source", "portal", "at", "why", "unread", *names.NAMES}
    assert all(found[name] == [] for name in names.NAMES)
    whole = shell("names", "--json").json
    assert {name: tuple(whole[name][0]) for name in names.NAMES} == {
        name: found.keys for name, found in names.NAMES.items()
    }


def test_what_cannot_be_read_is_told(shell: Shell, place: Office) -> None:
    for webhook in place.portal.state.webhooks.values():
        webhook.scopes.discard("sonet_group")
        webhook.scopes.discard("sonet")
    ran = shell("names", "workgroups")
    assert ran.code == 0
    assert "groups" in ran.err
    assert "groups" in shell("names", "workgroups", "--json").json["unread"]["workgroups"]
