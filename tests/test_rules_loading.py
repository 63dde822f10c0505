"""What loading a rules file promises: every fault at once, with its place and its cure; never a traceback."""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import replace
from datetime import date, time
from difflib import SequenceMatcher
from pathlib import Path
from time import thread_time
from typing import Any, NamedTuple

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import ScalarNode, SequenceNode

from bitrix_sync.model.facts import Directory
from bitrix_sync.rules import model, suggest, validation
from bitrix_sync.rules.load import MOST_SHOWN, Loaded, load
from bitrix_sync.rules.model import Becomes, Deadline, Done, Duration, Head, Nobody, OneOf, OwnerOf, Test, UserId
from bitrix_sync.rules.schema import json_schema
from bitrix_sync.rules.tree import flaws
from bitrix_sync.rules.yaml import Unreadable, read, scalar
from tests.world.company import DIRECTORY, TODAY

ROOT = Path(__file__).parent.parent
HEAD = "version: 1\ntimezone: Europe/Moscow\nfunnels:\n  Продажи:\n    Договор:\n"


class Broken(NamedTuple):
    """A file of the table: what is wrong with it, its text, every line that loading says of it, in both languages."""

    what: str
    text: str
    english: list[str]
    russian: list[str]


def table() -> list[Broken]:
    """The broken files of ``broken_rules/``: ``=== what``, the file, ``----``, what is said in English (less
    ``rules.yaml:``; of a file that is taken all the same its warnings, marked so), ``----``, the same in Russian."""
    found: list[Broken] = []
    for path in sorted((Path(__file__).parent / "broken_rules").glob("*.txt")):
        for part in re.split(r"^=== ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
            what, _, rest = part.partition("\n")
            text, english, russian = rest.rstrip("\n").split("\n----\n")
            found.append(Broken(f"{path.stem}: {what}", text + "\n", english.split("\n"), russian.split("\n")))
    return found


def one_task(*lines: str, deadline: str = "{after: 1 workday}") -> str:
    """A file with one task."""
    keys = ("- id: contract", "  title: Договор", f"  deadline: {deadline}", *(f"  {line}" for line in lines))
    return HEAD + "".join(f"      {key}\n" for key in keys)


def said(text: str, directory: Directory | None = DIRECTORY) -> list[str]:
    """What loading finds wrong, without the file's name."""
    return [str(problem).removeprefix("rules.yaml:") for problem in load(text, directory=directory).errors]


def rule(*lines: str, deadline: str = "{after: 1 workday}") -> model.Rule:
    """The compiled rule of a file with one task."""
    loaded = load(one_task(*lines, deadline=deadline), directory=DIRECTORY)
    assert loaded.rules is not None, loaded.errors
    return loaded.rules.by_id["contract"]


# --- the table -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("broken", table(), ids=lambda broken: broken.what)
def test_a_broken_file_is_refused_with_place_and_cure(broken: Broken) -> None:
    loaded = load(broken.text, directory=DIRECTORY, now=TODAY)
    assert (loaded.rules is None) is bool(loaded.errors)
    assert loaded.bindings == {} or not loaded.errors
    mark, problems = ("", loaded.errors) if loaded.errors else ("warning: ", loaded.warnings)
    for language, lines in (("en", broken.english), ("ru", broken.russian)):
        assert [mark + one.said(language).removeprefix("rules.yaml:") for one in problems] == lines


def test_the_table_is_long_enough() -> None:
    assert len(table()) >= 150


def test_problems_name_the_file_as_it_is_called() -> None:
    assert str(load("", "portal.yaml").errors[0]).startswith("portal.yaml:1:1: The file is empty.")


@pytest.mark.parametrize("text", ["", "\n\n", "# only a remark\n", "\ufeff", "---\n"])
def test_an_empty_file_is_told_how_to_begin(text: str) -> None:
    (line,) = said(text)
    assert "bitrix-sync init" in line or "version: 1" in line


def test_a_character_of_control_is_found() -> None:
    assert said("version: 1\nlanguage: r\x07u\n") == [
        "2:12: A character that no text file may hold stands here (U+0007). Delete it."
    ]


def test_problems_come_in_the_order_of_the_file() -> None:
    for broken in table():
        places = [(problem.line, problem.column) for problem in load(broken.text, directory=DIRECTORY).errors]
        assert places == sorted(places)


def test_faults_do_not_hide_each_other() -> None:
    """A file with the faults of many others reports them all."""
    task = (
        "- {id: one, titel: A, priority: hihg, deadline: {before: 2 wrkdays, field: NOPE}, owner: {department: NOPE}}"
    )
    lines = said(f"{HEAD}      {task}\nlangage: ru\n")
    for word in (
        "titel",
        "hihg",
        "wrkdays",
        "`else` is missing",
        "no field `NOPE`",
        "no department `NOPE`",
        "pick",
        "langage",
    ):
        assert any(word in line for line in lines), word
    assert len(lines) == 8


def test_a_task_that_is_wrong_otherwise_can_still_be_referred_to() -> None:
    tasks = ("{id: one, title: A, deadline: soon}", "{id: two, title: B, start: {done: one}, deadline: {after: 1 day}}")
    assert [line.split(": ")[1] for line in said(HEAD + "".join(f"      - {task}\n" for task in tasks))] == [
        "funnels > Продажи > Договор > one > deadline"
    ]


# --- YAML as people write it -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["crlf", "bom", "both"])
def test_line_ends_and_byte_order_marks_change_nothing(change: str) -> None:
    text = one_task()
    text = text.replace("\n", "\r\n") if change != "bom" else text
    text = "\ufeff" + text if change != "crlf" else text
    assert load(text, directory=DIRECTORY).rules is not None
    assert said(text.replace("Договор:", "Догвор:", 1))[0].startswith("5:5: funnels > Продажи > Догвор:")


def test_a_time_without_quotes_is_no_number_of_base_sixty() -> None:
    assert rule(deadline="{after: 2 workdays, at: 09:00}").deadline == Deadline(Duration(2, "workdays"), at=time(9))


def test_words_of_yaml_1_1_stay_words() -> None:
    condition = rule("if: {TITLE: [on, off, yes, no, y]}").condition
    assert condition == model.AllOf((model.Test("TITLE", "in", ("on", "off", "yes", "no", "y")),))


def test_dates_are_dates() -> None:
    assert rule(deadline="{date: 2026-12-25}").deadline == Deadline(date=date(2026, 12, 25))
    assert rule(deadline='{date: "2026-12-25"}').deadline == Deadline(date=date(2026, 12, 25))


def test_anchors_and_merge_keys_work() -> None:
    text = f"""{HEAD}      - &base {{id: one, title: A, deadline: {{after: 1 day}}, priority: high}}
      - {{<<: *base, id: two}}
"""
    rules = load(text, directory=DIRECTORY).rules
    assert rules is not None
    assert rules.by_id["two"].priority == "high"


def test_lists_without_indentation_work() -> None:
    text = "version: 1\nfunnels:\n  0:\n    NEW:\n    - id: one\n      title: A\n      deadline: {after: 1 day}\n"
    assert load(text, directory=DIRECTORY).errors == []


def test_a_hostile_file_is_refused_before_it_costs_much() -> None:
    assert "nested" in said("a: " + "[" * 100_000)[0]
    assert "nested" in said("a: " + "{b: " * 100_000)[0]
    assert "longer than" in said("# " + "x" * 5_000_000)[0]


# --- forms -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2 workdays", Duration(2, "workdays")),
        ("1 workday", Duration(1, "workdays")),
        ("0 workdays", Duration(0, "workdays")),
        ("0 workday", Duration(0, "workdays")),
        ("30 minutes", Duration(30, "minutes")),
        ("1 minute", Duration(1, "minutes")),
        ("1 hour", Duration(1, "hours")),
        ("90 workminutes", Duration(90, "workminutes")),
        ("1 workhour", Duration(1, "workhours")),
        ("1 day", Duration(1, "days")),
        ("2 weeks", Duration(2, "weeks")),
        ("1 month", Duration(1, "months")),
        ("9999 days", Duration(9999, "days")),
        ("2  workdays", Duration(2, "workdays")),
        ("2workdays", Duration(2, "workdays")),
    ],
)
def test_durations(written: str, meant: Duration) -> None:
    assert rule(deadline=f"{{after: {written}}}").deadline == Deadline(meant)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("{after: 2 workdays, at: '15:00'}", Deadline(Duration(2, "workdays"), at=time(15))),
        ("{after: 1 month, on_day_off: keep}", Deadline(Duration(1, "months"), on_day_off="keep")),
        (
            "{before: 3 workdays, field: UF_CRM_SIGN_DATE, else: {after: 3 workdays}}",
            Deadline(
                Duration(3, "workdays"), -1, field="UF_CRM_SIGN_DATE", otherwise=Deadline(Duration(3, "workdays"))
            ),
        ),
        (
            "{after: 1 day, field: Дата отгрузки, follow: false, else: {date: 2026-12-25}}",
            Deadline(
                Duration(1, "days"),
                field="UF_CRM_SHIP_DATE",
                follow=False,
                otherwise=Deadline(date=date(2026, 12, 25)),
            ),
        ),
        (
            "{field: uf_crm_ship_date, else: {field: UF_CRM_SIGN_DATE, else: {after: 1 week}}}",
            Deadline(
                field="UF_CRM_SHIP_DATE",
                otherwise=Deadline(field="UF_CRM_SIGN_DATE", otherwise=Deadline(Duration(1, "weeks"))),
            ),
        ),
        (
            "{before: 2 hours, field: UF_CRM_SHIP_DATE, else: {after: 2 hours}}",
            Deadline(Duration(2, "hours"), -1, field="UF_CRM_SHIP_DATE", otherwise=Deadline(Duration(2, "hours"))),
        ),
        (
            "{event: {filled: Дата счёта}, after: 5 workdays, else: {after: 10 workdays}}",
            Deadline(
                Duration(5, "workdays"),
                event=Becomes(Test("UF_CRM_INVOICE_DATE", "filled", True)),
                otherwise=Deadline(Duration(10, "workdays")),
            ),
        ),
        (
            "{event: {stage: отгрузка }, else: {after: 1 day}}",
            Deadline(event=model.Entered(frozenset({"FINAL_INVOICE"})), otherwise=Deadline(Duration(1, "days"))),
        ),
        (
            '{event: {stage: "C5:NEW"}, else: {after: 1 day}}',
            Deadline(event=model.Entered(frozenset({"C5:NEW"})), otherwise=Deadline(Duration(1, "days"))),
        ),
    ],
)
def test_deadlines(written: str, meant: Deadline) -> None:
    assert rule(deadline=written).deadline == meant


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("responsible", model.Responsible()),
        ("creator", model.Creator()),
        ("head", Head()),
        ("5", UserId(5)),
        ("USER5@standart.example", UserId(5)),
        ("мария  КУЗНЕЦОВА", UserId(5)),
        ("Кузнецова", UserId(5)),
        ('"\u00a0Кузнецова\u200b М.И."', UserId(5)),
        (unicodedata.normalize("NFD", "Михайлова"), UserId(13)),
        ("{field: Логист, else: head}", model.FromField("UF_CRM_LOGIST", Head())),
        ("{field: ASSIGNED_BY_ID}", model.FromField("ASSIGNED_BY_ID")),
        ("{department: юридический ОТДЕЛ, pick: least_loaded}", model.FromDepartment(5, "least_loaded")),
        ("{department: 5, pick: first, else: 1}", model.FromDepartment(5, "first", UserId(1))),
        (
            "{one_of: [5, head, {field: UF_CRM_LOGIST}], pick: round_robin, else: creator}",
            OneOf((UserId(5), Head(), model.FromField("UF_CRM_LOGIST")), "round_robin", model.Creator()),
        ),
    ],
)
def test_persons(written: str, meant: model.Person) -> None:
    assert rule(f"owner: {written}").owner == meant
    assert rule(f"supervisor: {written}").supervisor == meant
    assert rule(f"observers: [{written}]").observers == (meant,)
    assert rule(f"participants: [{written}]").participants == (meant,)


def test_a_supervisor_may_be_nobody() -> None:
    assert rule("supervisor: none").supervisor == Nobody()


def test_the_files_supervisor_is_every_tasks_unless_it_says_otherwise() -> None:
    rules = load(
        f"supervisor: 3\n{one_task()}      - {{id: own, title: A, supervisor: head, deadline: {{after: 1 day}}}}\n",
        directory=DIRECTORY,
    ).rules
    assert rules is not None
    assert rules.by_id["contract"].supervisor == UserId(3)
    assert rules.by_id["own"].supervisor == Head()


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (
            "{OPPORTUNITY: {min: 100000, max: 2000000.5}}",
            [("OPPORTUNITY", "min", 100000), ("OPPORTUNITY", "max", 2000000.5)],
        ),
        ("{сумма: 5}", [("OPPORTUNITY", "eq", 5)]),
        ("{Важность: Ключевой клиент}", [("UF_CRM_PRIORITY", "eq", "1")]),
        ("{UF_CRM_PRIORITY: [1, обычный клиент]}", [("UF_CRM_PRIORITY", "in", ("1", "3"))]),
        ("{SOURCE_ID: {not: [Сайт, CALL]}}", [("SOURCE_ID", "not", ("WEB", "CALL"))]),
        ("{TITLE: {contains: срочно}}", [("TITLE", "contains", "срочно")]),
        ("{UF_CRM_SHIP_DATE: {filled: false}}", [("UF_CRM_SHIP_DATE", "filled", False)]),
        ("{UF_CRM_SHIP_DATE: {min: 2026-04-01}}", [("UF_CRM_SHIP_DATE", "min", "2026-04-01")]),
        ("{UF_CRM_DELIVERY: true}", [("UF_CRM_DELIVERY", "eq", True)]),
        ("{ASSIGNED_BY_ID: [5, user3@standart.example]}", [("ASSIGNED_BY_ID", "in", (5, 3))]),
        ("{CATEGORY_ID: Сервис}", [("CATEGORY_ID", "eq", 5)]),
        ("{STAGE_ID: [Отгрузка, C5:NEW]}", [("STAGE_ID", "in", ("FINAL_INVOICE", "C5:NEW"))]),
        ("{Дата создания: {min: 2026-01-01}}", [("CREATED_TIME", "min", "2026-01-01")]),
        ("{DATE_CREATE: {min: 2026-01-01}}", [("DATE_CREATE", "min", "2026-01-01")]),
    ],
)
def test_tests_of_conditions(written: str, meant: list[tuple[str, str, Any]]) -> None:
    condition = rule(f"if: {written}").condition
    assert isinstance(condition, model.AllOf)
    tests = [one for one in condition.parts if isinstance(one, model.Test)]
    assert [(test.field, test.op, test.value) for test in tests] == meant


def test_conditions_nest() -> None:
    test = model.Test("TITLE", "eq", "A")
    assert rule("if: {any: [{TITLE: A}, {not: {TITLE: A}}]}").condition == model.AllOf(
        (model.AnyOf((model.AllOf((test,)), model.AllOf((model.Not(model.AllOf((test,))),)))),)
    )


def test_a_task_with_everything() -> None:
    made = rule(
        "description: '[b]{{ company.TITLE }}[/b]'",
        "supervisor_observes: false",
        "away: substitute",
        "checklist: ['{{ deal.TITLE }}', Отправить]",
        "priority: high",
        "project: 4",
        "tags: [договор]",
        "result_required: true",
        "again: 5 workdays",
        "repeat: if_none_open",
        "on_leave: defer",
        "on_close: delete",
        "overdue: {limit: 1, move_to: {after: 2 workdays, at: '10:00'}}",
    )
    assert (made.supervisor_observes, made.away, made.priority, made.project) == (False, "substitute", "high", 4)
    assert (made.tags, made.result_required, made.again) == (("договор",), True, Duration(5, "workdays"))
    assert (made.repeat, made.on_leave, made.on_close) == ("if_none_open", "defer", "delete")
    assert made.overdue == model.OverdueOverride(limit=1, move_to=Deadline(Duration(2, "workdays"), at=time(10)))
    assert rule("overdue: never").overdue == model.OverdueOverride(never=True)
    assert made.checklist == ("{{ deal.TITLE }}", "Отправить")


def test_defaults_are_those_of_the_language() -> None:
    loaded = load(one_task(), directory=DIRECTORY)
    assert loaded.rules is not None
    made, rules = loaded.rules.by_id["contract"], loaded.rules
    assert made == model.Rule("contract", frozenset({"EXECUTING"}), 0, "Договор", Deadline(Duration(1, "workdays")))
    assert (rules.language, rules.overdue, rules.safety, rules.on_close) == ("ru", None, model.Safety(), "keep")
    assert (rules.admins, rules.fallback_owner, rules.supervisor) == ((), None, Head())
    assert (rules.uses_company, rules.uses_contact, rules.uses_absences) == (False, False, False)


def test_references_to_a_rule_of_the_same_stage_mean_the_same_visit() -> None:
    text = f"""{HEAD}      - {{id: one, title: A, deadline: {{after: 1 day}}}}
      - {{id: two, title: B, start: {{done: one}}, owner: {{task: one}}, deadline: {{after: 1 day}}}}
    Отгрузка:
      - {{id: three, title: C, deadline: {{event: {{done: one}}, else: {{after: 1 day}}}}}}
"""
    rules = load(text, directory=DIRECTORY).rules
    assert rules is not None
    assert rules.by_id["two"].start == Done("one", same_stage=True)
    assert rules.by_id["two"].owner == OwnerOf("one")
    assert rules.by_id["three"].deadline.event == Done("one", same_stage=False)


def test_ids_may_be_numbers_and_cyrillic() -> None:
    tasks = ("{id: 12, title: A, deadline: {after: 1 day}}", "{id: звонок_2, title: B, deadline: {after: 1 day}}")
    rules = load(HEAD + "".join(f"      - {task}\n" for task in tasks), directory=DIRECTORY).rules
    assert rules is not None
    assert set(rules.by_id) == {"12", "звонок_2"}


def test_the_digest_changes_with_the_text() -> None:
    first, second = (load(one_task(*lines), directory=DIRECTORY).rules for lines in ((), ("# another",)))
    again = load(one_task(), directory=DIRECTORY).rules
    assert len({one.digest for one in (first, second, again) if one is not None}) == 2


# --- without a portal ------------------------------------------------------------------------------------------------


def test_offline_the_file_is_judged_by_itself() -> None:
    text = one_task("owner: {department: Юристы, pick: first}", "start: {done: nothing}")
    loaded = load(text)
    assert loaded.rules is None
    assert [problem.path for problem in loaded.errors] == ["funnels > Продажи > Договор > contract > start > done"]


def test_offline_a_good_file_has_no_errors_and_no_rules() -> None:
    loaded = load((ROOT / "bitrix_sync/rules/example.yaml").read_text(encoding="utf-8"))
    assert loaded == Loaded(None, [], [], {})


def test_offline_circles_of_stages_are_warned_of() -> None:
    text = "version: 1\nfunnels:\n  A:\n    One: {advance_to: two}\n    Two: {advance_to: One}\n"
    assert [str(one) for one in load(text).warnings] == [
        "rules.yaml:4:23: funnels > A > One > advance_to: Deals would go round in a circle: One → Two → One. "
        "Let one of these stages not advance."
    ]


# --- warnings of sense -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (one_task(deadline="{field: CLOSEDATE, else: {after: 1 day}}"), "The portal fills CLOSEDATE itself"),
        (one_task(deadline="{field: Дата завершения, else: {after: 1 day}}"), "The portal fills CLOSEDATE itself"),
        (one_task().replace("title: Договор", "title: Договор #1"), "What follows ` #` is a comment."),
        (one_task("again: 1 day", "repeat: once"), "`again` makes no next task"),
        (one_task() + "overdue: {limit: 3}\n", "There is no sweep"),
        (one_task(deadline="{field: UF_CRM_ADDRESS, else: {after: 1 day}}"), "is a text"),
    ],
)
def test_what_is_allowed_but_hardly_meant_is_a_warning(text: str, warning: str) -> None:
    loaded = load(text, directory=DIRECTORY)
    assert loaded.rules is not None
    assert [str(one) for one in loaded.warnings if warning in str(one)], loaded.warnings


@pytest.mark.parametrize("name", ["Мария Кузнецова", "кузнецова\u00a0 мария", "Мария\u200b Кузнецова"])
def test_an_employee_can_be_named(name: str) -> None:
    assert rule(f'owner: "{name}"').owner == UserId(5)
    loaded = load(one_task() + f'admins: ["{name}"]\n', directory=DIRECTORY)
    assert loaded.rules is not None
    assert loaded.rules.admins == (5,)


def test_a_name_of_several_employees_tells_their_ids() -> None:
    users = {**DIRECTORY.company.users, 99: replace(DIRECTORY.company.users[5], id=99)}
    twins = replace(DIRECTORY, company=replace(DIRECTORY.company, users=users))
    for name in ("Мария Кузнецова", "Кузнецова"):
        (line,) = said(one_task(f"owner: {name}"), twins)
        shown = "5 Мария Кузнецова, 99 Мария Кузнецова"
        assert line.endswith(f"Several users have the name `{name}`: {shown}. Write the id of one.")


@pytest.mark.parametrize(
    ("written", "meant"), [("4", 4), ('"4"', 4), ("отгрузки", 4), ("Тендеры", 6), ('"Тендеры 2024"', 8)]
)
def test_workgroups(written: str, meant: int) -> None:
    assert rule(f"project: {written}").project == meant


def test_of_workgroups_of_one_name_the_open_one_is_meant() -> None:
    names = {**DIRECTORY.group_names, 8: "Отгрузки"}
    loaded = load(one_task("project: Отгрузки"), directory=replace(DIRECTORY, group_names=names))
    assert loaded.rules is not None
    assert loaded.rules.by_id["contract"].project == 4
    twins = replace(DIRECTORY, group_names=names, closed_groups=frozenset[int]())
    assert "several workgroups of the name `Отгрузки`: 4, 8" in said(one_task("project: Отгрузки"), twins)[0]


@pytest.mark.parametrize("name", ["Договор\u200b", "дОГОВОР ", "\u00a0Договор"])
def test_what_no_eye_sees_makes_no_other_name(name: str) -> None:
    assert load(one_task().replace("    Договор:", f'    "{name}":'), directory=DIRECTORY).rules is not None


# --- the schema ------------------------------------------------------------------------------------------------------

UNSAID = (
    "calendar: hours that end first",
    "calendar: hours that overlap",
    "calendar: a day twice",
    "file: no such zone",
    "file: an offset for a zone",
    "yaml: a key twice",
    "yaml: a stage twice",
    "slips: no dash before the second task",
    "zones: ",
)
"""Faults of shape that a JSON Schema has no words for."""
SAID_ONLY_THERE = {"deadlines: before and after", "deadlines: hours at a time"}
"""Faults of sense that a JSON Schema can tell as well."""


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())


def test_the_shipped_schema_is_that_of_the_models() -> None:
    shipped = (ROOT / "bitrix_sync/rules/rules.schema.json").read_text(encoding="utf-8")
    assert shipped == json.dumps(json_schema(), ensure_ascii=False, indent=2) + "\n", (
        "write it anew: bitrix-sync schema > bitrix_sync/rules/rules.schema.json"
    )


def test_the_schema_refuses_what_loading_refuses_and_nothing_else() -> None:
    validator = jsonschema.Draft202012Validator(json_schema())
    for broken in table():
        try:
            root = read(broken.text)
        except Unreadable:
            continue
        refused = bool(validation.check(root).faults) and not broken.what.startswith(UNSAID)
        refused = refused or broken.what in SAID_ONLY_THERE
        assert validator.is_valid(root.data) is not refused, broken.what


def test_editors_are_content_with_the_shipped_example() -> None:
    validator = jsonschema.Draft202012Validator(json_schema())
    validator.validate(read((ROOT / "bitrix_sync/rules/example.yaml").read_text(encoding="utf-8")).data)


def test_editors_are_told_what_every_key_means() -> None:
    schema = json_schema()
    for name, shape_of in {"the file": schema, **schema["$defs"]}.items():
        for key, said_of in shape_of.get("properties", {}).items():
            assert said_of.get("description"), f"{name}: {key}"


# --- anything at all -------------------------------------------------------------------------------------------------

KEYS = [
    *("version", "language", "timezone", "admins", "calendar", "supervisor", "on_close", "fallback_owner", "funnels"),
    *("overdue", "safety", "hours", "country", "days_off", "id", "title", "if", "start", "owner", "deadline", "after"),
    *("before", "field", "date", "event", "done", "stage", "filled", "at", "else", "any", "not", "min", "max", "tasks"),
    *("limit", "advance_to", "Продажи", "Договор", "*", "OPPORTUNITY", "department", "pick", "one_of", "task", "again"),
    *("morning", "evening", "move_to", "checklist", "<<", "", " ", "=deadline:after", "[key]"),
]
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 10**20),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        [
            *KEYS,
            "1 workday",
            "2 hours",
            "head",
            "{{ deal.TITLE }}",
            "{{ x",
            "12:00",
            "2026-12-25",
            "a@b.example",
            "first",
        ]
    ),
)
TREES = st.recursive(
    VALUES,
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.sampled_from(KEYS), part, max_size=5),
    max_leaves=25,
)


def never_a_traceback(text: str) -> None:
    """Loading says something, or has rules."""
    for directory in (None, DIRECTORY):
        loaded = load(text, directory=directory)
        assert all(str(problem).startswith("rules.yaml:") for problem in (*loaded.errors, *loaded.warnings))
        assert loaded.errors or loaded.rules or directory is None


@given(st.text() | st.text(alphabet="ab: -[]{}#&*!|>'\"%@`?,\n\t\\<~0", max_size=60))
@settings(max_examples=200)
def test_any_text_is_answered(text: str) -> None:
    never_a_traceback(text)


def plainly(node: Any) -> Any:
    """A node of ruamel.yaml as plain data, scalars read as ours are."""
    if isinstance(node, ScalarNode):
        return scalar(node.value) if node.style is None else node.value
    if isinstance(node, SequenceNode):
        return [plainly(one) for one in node.value]
    return {key.value: plainly(value) for key, value in node.value}


LINES = st.lists(
    st.builds(
        "{}{}{}".format,
        st.sampled_from(["", "  ", "    ", "- ", "  - ", "  - - "]),
        st.sampled_from(["a: ", "b c: ", "'d': ", "", "? ", "e:"]),
        st.sampled_from(
            ["", "x", "x y", "1", "'q, r'", '"s: t"', "{f: [g, h i], j: }", "[k, {l: m}]", "u: v", "|", "w # z"]
        ),
    ),
    max_size=6,
)


@given(LINES)
@settings(max_examples=300)
def test_reading_fast_is_reading_the_same(lines: list[str]) -> None:
    text = "\n".join(lines)
    expected: Any = Unreadable
    try:
        node = YAML(typ="safe", pure=True).compose(text)
        expected = plainly(node) if node is not None else Unreadable
    except (YAMLError, TypeError):
        pass
    try:
        found = read(text)
    except Unreadable:
        # an empty block before a key that is less deep: ruamel reads it, libyaml refuses it
        assert expected is Unreadable or "|\n" in text
        return
    if all(twice is None for _, twice in flaws(found)):
        assert found.data == expected


@given(TREES)
@settings(max_examples=60)
def test_any_tree_is_answered(tree: Any) -> None:
    never_a_traceback(json.dumps(tree, ensure_ascii=False))


@given(tree=st.fixed_dictionaries({"version": st.just(1)}, optional=dict.fromkeys(KEYS[1:11], TREES)), task=TREES)
@settings(max_examples=60)
def test_any_file_with_the_right_beginning_is_answered(tree: dict[str, Any], task: Any) -> None:
    tree = {**tree, "funnels": {"Продажи": {"Договор": [task], "*": tree.get("funnels")}}}
    never_a_traceback(json.dumps(tree, ensure_ascii=False))


@given(
    st.dictionaries(st.sampled_from(["if", "start", "owner", "deadline", "overdue", "supervisor", "observers"]), TREES)
)
@settings(max_examples=60)
def test_any_task_is_answered(extra: dict[str, Any]) -> None:
    task = {"id": "one", "title": "A", "deadline": {"after": "1 day"}, **extra}
    never_a_traceback(json.dumps({"version": 1, "funnels": {"Продажи": {"Договор": [task]}}}, ensure_ascii=False))


START = """version: 1
timezone: Europe/Moscow
calendar: {hours: "09:00-18:00"}
fallback_owner: 1
funnels:
  Продажи:
"""
ROW = "      - {{id: rule-{0}, title: {1}, deadline: {{after: 1 {2}}}, start: {{done: {3}}}}}\n"
MISTYPED = {
    "ids": START + "    Договор:\n" + "".join(ROW.format(n, "x", "workday", f"rule-x{n}") for n in range(2000)),
    "names": START + "    Договор:\n" + "".join(ROW.format(n, f"'{{{{ own{n} }}}}'", "day", "r") for n in range(2000)),
    "stages": START + "".join(f"    Договр {n}: []\n" for n in range(5000)),
}


@pytest.mark.parametrize("kind", MISTYPED)
def test_thousands_of_faults_cost_one_budget_of_suggestions_and_the_first_are_shown(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted, not measured: letters of the pairs of words that are compared in full."""
    compared: list[int] = []

    class Counting(SequenceMatcher[str]):
        def __init__(self, junk: None, a: str, b: str) -> None:
            super().__init__(junk, a, b)
            compared.append(len(a) * len(b))

    monkeypatch.setattr("bitrix_sync.rules.suggest.SequenceMatcher", Counting)
    found = load(MISTYPED[kind], directory=DIRECTORY)
    assert 0 < sum(compared) <= suggest.BUDGET
    assert len(found.errors) == MOST_SHOWN + 1
    assert "more like these" in found.errors[-1].wrong
    assert "Did you mean" in str(found.errors[0]) or "did you mean" in str(found.errors[0])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x: " + "[" * 5000, "1:1003: More than 40 levels"),
        ("a: &босс 1", "1:4: `&босс` is no name"),
        ("a: *босс", "1:4: `*босс` is no name"),
        ("a: b\n" * 20_000 + "c: 'd", "20001:4: A quote is not closed"),
        ("a: b\x07", "1:5: A character that no text file may hold stands here (U+0007)"),
    ],
)
def test_a_text_that_the_quick_reader_refuses_is_told_with_its_place(text: str, says: str) -> None:
    assert said(text, None)[0].startswith(says)


ENDLESS = {
    "aliases": (
        "a: &a0 [x]\n" + "".join(f"b{n}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]\n" for n in range(40)),
        "values below",
    ),
    "merges": (
        "a: &a0 {x: 1}\n" + "".join(f"b{n}: &a{n + 1} {{<<: [*a{n}, *a{n}, *a{n}]}}\n" for n in range(200)),
        "values below",
    ),
    "itself": ("a: &a [*a]\n", "inside of what it repeats"),
    "brackets": ("a: " + "[" * 200_000, "levels are nested"),
    "braces": ("a: " + "{a: " * 100_000, "levels are nested"),
    "dashes": ("- " * 100_000, "levels are nested"),
    "long": (START + "x" * 30_000_000, "longer than"),
    "blank": (" " * 30_000_000, "longer than"),
    "dots of an e-mail": ("admins: ['a@" + "." * 900_000 + "@']\n", ""),
    "parts of an e-mail": ("admins: ['a@" + "a." * 400_000 + "@']\n", ""),
    "documents": ("---\na: 1\n" * 50_000, "A second document"),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_a_file_that_has_no_end_is_refused_at_once(kind: str) -> None:
    text, says = ENDLESS[kind]
    begun = thread_time()
    assert says in said(text, None)[0]
    assert thread_time() - begun < 5.0


def test_templates_of_more_code_than_a_file_may_have_are_refused_unread() -> None:
    code = "".join(ROW.format(n, f"'{{{{ deal.UF_CRM_{'X' * 20}_{n} }}}}'", "day", "r") for n in range(3000))
    found = said(START + "    Договор:\n" + code, None)
    assert found[0].startswith("5:1: funnels: The templates of the file hold more than")


def test_a_long_word_is_no_dearer_than_a_short_one() -> None:
    assert suggest.nearest("x" * 1_000_000, ["x" * 999_999, "y"]) == ["x" * 999_999]


def test_a_thousand_rules_are_loaded() -> None:
    task = """      - id: task-{number}
        title: "Позвонить клиенту {number}: {{{{ deal.TITLE }}}}"
        if: {{OPPORTUNITY: {{min: {number}}}}}
        owner: {{field: UF_CRM_LOGIST, else: head}}
        deadline: {{before: 3 workdays, field: UF_CRM_SIGN_DATE, else: {{after: 3 workdays}}}}
"""
    rules = load(HEAD + "".join(task.format(number=n) for n in range(1000)), directory=DIRECTORY).rules
    assert rules is not None
    assert len(rules.by_id) == 1000
    assert [one.order for one in rules.policies["EXECUTING"].rules] == list(range(1000))
