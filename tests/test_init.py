"""The first rules.yaml: it fits the portal whatever its names are, loads without an error, and overwrites nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from bitrix_sandbox import Sandbox
from bitrix_sandbox.state.clock import Clock
from bitrix_sync.errors import UserError
from bitrix_sync.model.facts import Company, DealField, Department, Directory, Funnel, PortalCalendar, Stage, User
from bitrix_sync.rules.load import Loaded, load
from bitrix_sync.rules.model import Rules
from bitrix_sync.rules.spelling import quoted
from bitrix_sync.setup.init import compose, example, write_settings
from bitrix_sync.setup.suggestions import _DEADLINES, _OTHERWISE, language_of, slug, suggest, unique
from bitrix_sync.words.language import FIRST_RULES, SUGGESTIONS
from tests.world.process import ROOT
from tests.world.shell import Shell

TODAY = date(2026, 3, 2)
STAFF = Company(
    users={1: User(1, "Boss", departments=(1,)), 4: User(4, "Head", departments=(3,)), 5: User(5, "Ivan")},
    departments={1: Department(1, "All", head_id=1), 3: Department(3, "Sales", parent_id=1, head_id=4)},
    self_id=4,
)


def portal(*funnels: Funnel, **more: object) -> Directory:
    values: dict[str, object] = {
        "fields": {"TITLE": DealField("TITLE", "Title")},
        "company": STAFF,
        "time_zone": "Europe/Moscow",
        "utc_offset": 10800,
        "calendar": PortalCalendar(9 * 60, 19 * 60, frozenset({5, 6})),
        "admin": True,
        "scopes": frozenset({"crm", "task", "user", "department", "im", "calendar"}),
    }
    return Directory(funnels=funnels, **(values | more))  # type: ignore[arg-type]


def funnel(*names: str, number: int = 0, name: str = "Продажи") -> Funnel:
    prefix = f"C{number}:" if number else ""
    stages = [Stage(f"{prefix}S{place}", one, number) for place, one in enumerate(names)]
    return Funnel(number, name, (*stages, Stage(f"{prefix}WON", "Сделка успешна", number, "S")))


def written(directory: Directory) -> tuple[str, Loaded]:
    draft = compose(directory, host="example.bitrix24.ru", today=TODAY)
    return draft.text, load(draft.text, directory=directory)


def rules_of(directory: Directory) -> Rules:
    _, loaded = written(directory)
    assert loaded.errors == []
    assert loaded.rules is not None
    return loaded.rules


# --- funnels and stages ----------------------------------------------------------------------------------------------


def test_every_stage_in_progress_gets_one_task_and_final_stages_none() -> None:
    rules = rules_of(portal(funnel("Новая", "В работе"), funnel("Новая", number=5, name="Сервис")))
    assert {stage: len(policy.rules) for stage, policy in rules.policies.items()} == {"S0": 1, "S1": 1, "C5:S0": 1}
    assert list(rules.by_id) == ["first-call", "progress", "servis-first-call"]


NASTY = (
    *(
        "yes",
        "null",
        "~",
        "123",
        "1e5",
        "-",
        "*",
        "# решётка",
        "всё: так",
        'в "кавычках"',
        "it's",
        "{{ deal.X }}",
        "{%",
    ),
    *(
        "🔥 Жара 👨‍👩‍👧",
        " с краю ",
        "S0",
        "a\nb",
        "",
        "  ",
        "&якорь",
        "!тег",
        "%проц",
        "@",
        "`",
        "[a, b]",
        "a\\b",
        "\u2028",
    ),
    *("true", "No", "0x1F", "1_000", "2026-01-01", "=", "<<", "Ёлка", "\ud83d", "\x7f", "ОЧЕНЬ ДЛИННОЕ " * 20),
)


def test_names_that_yaml_would_take_for_something_else_are_quoted_or_become_ids() -> None:
    directory = portal(funnel(*NASTY), funnel("Новая", number=7, name="0"), funnel("Новая", number=9, name="а: б #"))
    rules = rules_of(directory)
    assert len(rules.policies) == len(NASTY) + 2
    assert all(len(policy.rules) == 1 for policy in rules.policies.values())


def test_a_name_that_stands_twice_is_written_as_its_id_with_the_name_behind() -> None:
    text, loaded = written(portal(funnel("Встреча", "встреча "), funnel("Новая", number=5)))
    assert loaded.errors == []
    assert "    S0:  # Встреча\n" in text
    assert '  "0":  # Продажи\n' in text
    assert '  "5":  # Продажи\n' in text


@settings(max_examples=40)
@given(
    st.lists(st.text(st.characters(exclude_categories=[]), max_size=12), min_size=1, max_size=6),
    st.text(st.sampled_from("abЯ :#-{}[]\"'\\\n0*&!?|>%@`~ 🔥"), max_size=8),
)
def test_whatever_a_portal_calls_its_stages_the_file_loads_and_its_ids_are_ascii(names: list[str], name: str) -> None:
    rules = rules_of(portal(funnel(*names, name=name), funnel("x", number=3, name=name)))
    assert len(rules.policies) == len(names) + 1
    assert all(re.fullmatch(r"[a-z][a-z0-9-]*", rule_id) for rule_id in rules.by_id)


@settings(max_examples=60)
@given(st.text(max_size=20))
def test_a_quoted_text_reads_as_itself(text: str) -> None:
    assert YAML(typ="safe", pure=True).load(f"a: {quoted(text)}  # behind") == {"a": text}
    assert YAML(typ="safe", pure=True).load(f"a: [{quoted(text)}]") == {"a": [text]}


# --- suggestions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stage", "rule_id"),
    [
        ("Новая заявка", "first-call"),
        ("Подготовка документов", "documents"),
        ("Cчет на предоплату", "prepayment"),
        ("В работе", "progress"),
        ("Финальный счет", "payment"),
        ("КП отправлено", "answer"),
        ("Коммерческое предложение", "offer"),
        ("Согласование", "keep-in-touch"),
        ("Договор", "contract"),
        ("Отгрузка", "shipment"),
        ("Щербинка, ёлка", "shcherbinka-elka"),
        ("Prepare documents", "documents"),
        ("Négociations", "negociations"),
        ("No", "stage-no"),
        ("2024", "stage-2024"),
        ("🔥", "step"),
    ],
)
def test_the_suggestion_comes_from_the_stages_name(stage: str, rule_id: str) -> None:
    assert suggest(stage, "ru").id == rule_id


def test_both_languages_know_the_same_suggestions() -> None:
    assert SUGGESTIONS["ru"].keys() == SUGGESTIONS["en"].keys() == {*_DEADLINES, _OTHERWISE}


def test_an_id_that_is_taken_gets_the_funnel_before_it_or_a_number_behind_it() -> None:
    assert unique("call", "servis", ()) == "call"
    assert unique("call", "servis", {"call"}) == "servis-call"
    assert unique("call", "", {"call"}) == "call-2"
    assert unique("call", "s", {"call", "s-call", "s-call-2"}) == "s-call-3"


def test_an_english_portal_gets_an_english_file() -> None:
    text, loaded = written(portal(funnel("New", "Proposal", "Launch", name="Sales"), time_zone="Europe/London"))
    assert loaded.errors == []
    assert "language: en" in text
    assert "Prepare and send the offer: {{ deal.TITLE }}" in text
    assert not re.search("[а-яё]", text, re.IGNORECASE)
    assert "country" not in text


def test_the_language_is_told_by_the_stages_in_progress() -> None:
    assert language_of([funnel("Новая", "CRM")]) == "ru"
    assert language_of([funnel("New")]) == "en"
    assert language_of([funnel("123")]) == "ru"


def test_words_of_both_languages_stand_for_the_same_places() -> None:
    assert FIRST_RULES["ru"].keys() == FIRST_RULES["en"].keys()


def test_commented_examples_are_right_when_they_are_uncommented() -> None:
    """What the comments teach is loaded, too."""
    directory = portal(funnel("Новая"), fields={"UF_CRM_DATE": DealField("UF_CRM_DATE", "Date", "date")})
    for language in ("ru", "en"):
        overdue = FIRST_RULES[language]["overdue"].strip().split("\n")[2:]
        text = "\n".join(["version: 1", "timezone: Europe/Moscow", *overdue, "funnels: {Продажи: {Новая: []}}"])
        assert load(text, directory=directory).errors == []
        lines = FIRST_RULES[language]["task"].strip().split("\n")[1:]
        task = ["version: 1", "funnels:", "  Продажи:", "    Новая:", "      - id: a", "        title: A"]
        task += [f"        {line}" for line in lines if "OPPORTUNITY" not in line and "result_required" not in line]
        assert [str(one) for one in load("\n".join(task), directory=directory).errors] == []


@pytest.mark.parametrize("stage", ["Новая", "New request"])
def test_deleting_signs_of_comment_alone_makes_the_section_a_right_one(stage: str) -> None:
    directory = portal(funnel(stage))
    text = compose(directory, host="x", today=TODAY).text
    begin = text.index("\n#overdue:") + 1
    section, _, rest = text[begin:].partition("\n\n")
    loaded = load(
        text[:begin] + "\n".join(line.removeprefix("#") for line in section.split("\n")) + "\n\n" + rest,
        directory=directory,
    )
    assert loaded.errors == []
    assert loaded.rules is not None
    assert loaded.rules.overdue is not None
    assert loaded.rules.overdue.limit == 3


def test_stages_of_other_trades_get_the_neutral_task() -> None:
    for stage, of_funnel in (
        ("Подача заявки на тендер", ""),
        ("Заявка", "Тендеры"),
        ("Договор", "Закупки"),
        ("Interview", ""),
    ):
        assert "{{ stage.name }}" in suggest(stage, "ru", of_funnel).title, stage
    assert suggest("Заявка", "ru", "Продажи").id == "first-call"


# --- people and calendar ---------------------------------------------------------------------------------------------


def test_the_webhooks_own_user_hears_of_trouble_at_first() -> None:
    rules = rules_of(portal(funnel("Новая")))
    assert (rules.admins, rules.fallback_owner) == ((4,), 4)


def test_without_employees_admins_are_left_to_be_filled_in() -> None:
    draft = compose(portal(funnel("Новая"), company=Company(self_id=9)), host="x", today=TODAY)
    assert "#admins: [1]" in draft.text
    assert any("`admins`" in line for line in draft.fill_in)
    hidden = portal(funnel("Новая"), company=replace(STAFF, self_id=9))
    assert rules_of(hidden).admins == (1,)


def test_the_portals_calendar_is_written_out() -> None:
    calendar = PortalCalendar(
        9 * 60 + 30, 18 * 60, frozenset({0, 6}), frozenset({(1, 1), (5, 5), (29, 2)}), frozenset({(31, 12), (7, 3)})
    )
    text, loaded = written(portal(funnel("Новая"), calendar=calendar, time_zone="Europe/Berlin"))
    assert loaded.rules is not None
    found = loaded.rules.calendar
    assert 'hours: "09:30-18:00"' in text
    assert "workdays: tue-sat" in text
    assert not found.is_working(date(2026, 5, 5))
    assert found.is_working(date(2026, 3, 7))
    assert not found.is_working(date(2026, 3, 2)), "a Monday"


def test_in_a_russian_zone_the_countrys_holidays_count() -> None:
    rules = rules_of(
        portal(funnel("Новая"), calendar=PortalCalendar(540, 1080, frozenset({5, 6}), frozenset({(8, 3)})))
    )
    assert not rules.calendar.is_working(date(2026, 1, 6))
    assert not rules.calendar.is_working(date(2027, 3, 8))


@pytest.mark.parametrize("calendar", [None, PortalCalendar(540, 1440, frozenset(range(7)))])
def test_without_a_sensible_calendar_usual_hours_are_written_and_said_to_be_filled_in(
    calendar: PortalCalendar | None,
) -> None:
    draft = compose(portal(funnel("Новая"), calendar=calendar), host="x", today=TODAY)
    assert 'hours: "09:00-18:00"' in draft.text
    assert any("`calendar`" in line for line in draft.fill_in)
    assert load(draft.text, directory=portal(funnel("Новая"), calendar=calendar)).errors == []


def test_round_the_clock_ends_at_the_last_minute() -> None:
    directory = portal(funnel("Новая"), calendar=PortalCalendar(0, 1440, frozenset()))
    text, loaded = written(directory)
    assert loaded.errors == []
    assert 'hours: "00:00-23:59"' in text
    assert "workdays: mon-sun" in text


def test_a_zone_that_the_portal_does_not_tell_is_asked_for() -> None:
    draft = compose(portal(funnel("Новая"), time_zone="", utc_offset=-12600), host="x", today=TODAY)
    assert "#timezone: Europe/Moscow" in draft.text
    assert any("UTC-03:30" in line for line in draft.fill_in)


def test_no_funnel_to_be_seen_is_a_matter_of_rights() -> None:
    with pytest.raises(UserError, match="CRM role"):
        compose(portal(Funnel(0, "X", (Stage("WON", "Won", 0, "S"),))), host="x", today=TODAY)


def test_a_slug_is_ascii() -> None:
    assert slug("Новая заявка №1 (срочно!)") == "novaya-zayavka-no1-srochno"
    assert slug("🔥") == ""


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def place() -> Iterator[Sandbox]:
    clock = Clock()
    clock.set(datetime(2026, 3, 2, 10, tzinfo=ZoneInfo("Europe/Moscow")))
    with Sandbox(clock=clock, rate=None) as found:
        yield found


@pytest.fixture
def shell(place: Sandbox, tmp_path: Path) -> Shell:
    return Shell(tmp_path, {"BITRIX_WEBHOOK_URL": place.url})


def test_init_writes_the_file_and_its_schema_and_check_is_content(shell: Shell) -> None:
    ran = shell("init")
    assert ran.code == 0, ran.err
    assert "впишите:" in ran.out
    assert "Анна Смирнова" in ran.out
    text = (shell.folder / "rules.yaml").read_text(encoding="utf-8")
    assert text.startswith("# yaml-language-server: $schema=./rules.schema.json\n")
    assert json.loads((shell.folder / "rules.schema.json").read_text(encoding="utf-8"))["title"]
    checked = shell("check", "--json")
    assert checked.code == 0
    assert not [line for line in checked.json if line["level"] == "error"]


@pytest.mark.parametrize(
    ("said", "language", "told"), [("ru_RU.UTF-8", "ru", "записан"), ("C", "en", "is not set; write")]
)
def test_init_begins_an_empty_folder_with_the_settings(tmp_path: Path, said: str, language: str, told: str) -> None:
    folder = tmp_path / "standards"
    folder.mkdir()
    shell = Shell(folder, {"LC_ALL": said})
    ran = shell("init")
    settings = folder / ".env"
    assert (ran.code, ran.out) == (1, "")
    assert told in ran.err
    assert settings.read_text("utf-8") == (ROOT / f"bitrix_sync/setup/env/{language}.env").read_text("utf-8")
    assert settings.stat().st_mode & 0o777 == 0o600
    assert list(folder.iterdir()) == [settings]
    again = shell("init")
    assert (again.code, again.err.startswith("BITRIX_WEBHOOK_URL: ")) == (1, True)


def test_init_never_overwrites_and_asks_the_portal_nothing_then(shell: Shell, place: Sandbox) -> None:
    (shell.folder / "rules.yaml").write_text("mine", encoding="utf-8")
    ran = shell("init")
    assert ran.code == 1
    assert "остаётся как есть" in ran.err
    assert "BITRIX_RULES" in ran.err
    assert (shell.folder / "rules.yaml").read_text(encoding="utf-8") == "mine"
    assert not place.log


def test_the_example_that_came_with_the_project_makes_room(shell: Shell) -> None:
    aside = shell.folder / "rules.example.yaml"
    (shell.folder / "rules.yaml").write_text(example(), encoding="utf-8")
    ran = shell("init")
    assert (ran.code, "rules.example.yaml" in ran.out) == (0, True), ran
    assert aside.read_text(encoding="utf-8") == example()
    assert not [line for line in shell("check", "--json").json if line["level"] == "error"]
    (shell.folder / "rules.yaml").write_text(example(), encoding="utf-8")
    aside.write_text("mine", encoding="utf-8")
    assert shell("init", "--json").json["example"] == "rules.example.yaml"
    assert aside.read_text(encoding="utf-8") == "mine"
    (shell.folder / "rules.yaml").write_text(f"{example()}# mine", encoding="utf-8")
    assert shell("init").code == 1


def test_the_rules_at_the_top_are_the_example_until_init_makes_others() -> None:
    if (ROOT / "rules.example.yaml").exists():
        pytest.skip("init has made others")
    assert (ROOT / "rules.yaml").read_text(encoding="utf-8") == example(), (
        "an example that was changed: cp rules.yaml bitrix_sync/rules/example.yaml"
    )


def test_init_writes_where_the_setting_says(shell: Shell) -> None:
    assert shell("init", "--json", BITRIX_RULES="own.yaml").json["rules"] == "own.yaml"
    assert (shell.folder / "own.yaml").exists()
    ran = shell("init", BITRIX_RULES="no/such/place/rules.yaml")
    assert ran.code == 1
    assert "create its directory" in ran.err


def test_a_webhook_without_calendar_gets_a_file_too(shell: Shell, place: Sandbox) -> None:
    place.state.set_scopes(*next(iter(place.state.webhooks)), {"crm", "task", "user_basic", "department", "im"})
    ran = shell("init")
    assert ran.code == 0, ran.err
    assert "`calendar`" in ran.out


def test_a_language_without_settings_of_its_own_begins_with_the_english_ones(tmp_path: Path) -> None:
    write_settings("de", tmp_path / ".env")
    write_settings("en", tmp_path / "en.env")
    assert (tmp_path / ".env").read_bytes() == (tmp_path / "en.env").read_bytes()
