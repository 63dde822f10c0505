"""The task's own user fields: what a rule fills, what the portal demands, from the file to the portal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bitrix_sandbox.state.errors import RestError
from bitrix_sync.commands import changes
from bitrix_sync.explain.preview import of_deal
from bitrix_sync.model.facts import DealField
from bitrix_sync.portal.dialect.outcomes import Outcome
from bitrix_sync.portal.directory import _task_fields
from bitrix_sync.rules.fields import Unfit, fit, unfilled
from bitrix_sync.rules.load import Loaded, load
from bitrix_sync.settings import load_settings
from bitrix_sync.setup.check import examine
from tests.world.calls import Portal, sales_department
from tests.world.company import DIRECTORY, MOSCOW
from tests.world.office import Office, office

# --- values ----------------------------------------------------------------------------------------------------------


def fitted(kind: str, value: Any, **more: Any) -> Any:
    return fit(value, DealField("UF_X", "X", kind, **more), zone=MOSCOW, company=DIRECTORY.company)


@pytest.mark.parametrize(
    ("kind", "value", "sent"),
    [
        ("string", " so ", "so"),
        ("string", 5, "5"),
        ("string", True, "true"),
        ("url", "https://a.example", "https://a.example"),
        ("integer", "1 500", 1500),
        ("integer", 7, 7),
        ("double", "2,5", 2.5),
        ("double", "1500.50", 1500.5),
        ("money", "100|RUB", "100|RUB"),
        ("boolean", True, 1),
        ("boolean", "Нет", 0),
        ("date", "2026-12-25", "2026-12-25"),
        ("date", "2026-12-25T10:00:00+03:00", "2026-12-25"),
        ("date", "5.12.2026", "2026-12-05"),
        ("datetime", "2026-12-25T15:00", "2026-12-25T15:00:00+03:00"),
        ("datetime", "25.12.2026 15:00", "2026-12-25T15:00:00+03:00"),
        ("employee", 5, 5),
        ("employee", "user5@standart.example", 5),
        ("user", "Мария Кузнецова", 5),
        ("something_new", "x", "x"),
    ],
)
def test_a_value_is_sent_as_its_field_takes_it(kind: str, value: Any, sent: Any) -> None:
    assert fitted(kind, value) == sent


@pytest.mark.parametrize(("value", "sent"), [("монтаж", 21), ("21", 21), (21, 21), ("［VIP］", 24)])
def test_a_value_of_a_list_is_found_by_name_or_id(value: Any, sent: int) -> None:
    assert fitted("enumeration", value, options={"21": "Монтаж", "22": "Сервис", "24": "[VIP]"}) == sent


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *(("integer", wrong) for wrong in ("x", "1.5", True, "")),
        *(("double", wrong) for wrong in ("x", "1,2,3", "nan", False)),
        *(("boolean", wrong) for wrong in ("maybe", 2)),
        *(("date", wrong) for wrong in ("tomorrow", "31.02.2026", 5)),
        *(("datetime", wrong) for wrong in ("15:00", "2026-13-01T10:00")),
        *(("employee", wrong) for wrong in (999, "nobody@standart.example", "Юлия")),
    ],
)
def test_what_a_field_does_not_take_is_refused_with_a_cure(kind: str, value: Any) -> None:
    with pytest.raises(Unfit) as refused:
        fitted(kind, value)
    assert "(UF_X)" in str(refused.value)
    assert refused.value.cure


# --- what the portal demands -----------------------------------------------------------------------------------------

FILE = """
version: 1
timezone: Europe/Moscow
funnels:
  Продажи:
    Договор:
      - {{id: one, title: One, deadline: {{after: 1 workday}}, fields: {{{fields}}}}}
      - {{id: two, title: Two, deadline: {{after: 1 workday}}}}
"""


def loaded(fields: str = "", **demanded: DealField) -> Loaded:
    directory = replace(DIRECTORY, task_fields={**DIRECTORY.task_fields, **demanded})
    found = load(FILE.format(fields=fields), directory=directory)
    assert found.errors == []
    return found


@pytest.mark.parametrize(
    ("field", "fields", "rules", "cure"),
    [
        (DealField("UF_OBJECT", "Объект", required=True), "", "rules one, two", "fields: {UF_OBJECT: ...}"),
        (DealField("UF_OBJECT", "Объект", required=True), "uf_object: x", "rule two", "fields: {UF_OBJECT: ...}"),
        (
            DealField("UF_KIND", "Вид", "enumeration", options={"1": "А", "2": "Б"}, required=True),
            "",
            "rules one, two",
            "fields: {UF_KIND: А}",
        ),
        (DealField("DESCRIPTION", "Описание", required=True), "", "rules one, two", "Give them `description`"),
        (DealField("GROUP_ID", "Проект", "integer", required=True), "", "rules one, two", "Give them `project`"),
        (DealField("UF_PHOTO", "Фото", "file", required=True), "", "rules one, two", "optional in the portal"),
        (DealField("FLOW_ID", "Поток", "integer", required=True), "", "rules one, two", "optional in the portal"),
    ],
)
def test_what_the_portal_demands_and_rules_lack_is_named_with_its_cure(
    field: DealField, fields: str, rules: str, cure: str
) -> None:
    warnings = [problem for problem in loaded(fields, **{field.code: field}).warnings if problem.grave]
    (problem,) = warnings
    assert f"({field.code}) is required by the portal" in problem.wrong
    assert problem.wrong.endswith(f"{rules}.")
    assert cure in problem.cure


def test_what_every_task_has_is_not_asked_for() -> None:
    demanded = {code: DealField(code, code, required=True) for code in ("TITLE", "CREATED_BY", "XML_ID", "UF_CRM_TASK")}
    found = loaded("", **demanded)
    assert found.rules is not None
    assert unfilled(found.rules.by_id, {**DIRECTORY.task_fields, **demanded}) == []


def test_where_the_fields_of_tasks_cannot_be_read_they_are_taken_on_trust() -> None:
    found = load(FILE.format(fields="uf_auto_7: 5"), directory=replace(DIRECTORY, task_fields={}))
    assert found.errors == []
    assert found.rules is not None
    assert found.rules.by_id["one"].fields == (("UF_AUTO_7", ("5",)),)


def test_a_field_that_is_gone_switches_its_rule_off_and_no_other() -> None:
    first = loaded("UF_OBJECT: x")
    fields = {code: field for code, field in DIRECTORY.task_fields.items() if code != "UF_OBJECT"}
    found = load(
        FILE.format(fields="UF_OBJECT: x"),
        directory=replace(DIRECTORY, task_fields=fields),
        bindings=first.bindings,
    )
    assert found.rules is not None
    assert {rule.id: bool(rule.disabled) for rule in found.rules.by_id.values()} == {"one": True, "two": False}


# --- on the portal ---------------------------------------------------------------------------------------------------

RULES = """
version: 1
language: {language}
timezone: Europe/Moscow
admins: [1]
calendar: {{hours: "09:00-18:00"}}
fallback_owner: 1
funnels:
  Продажи:
    Новая заявка:
      - id: visit
        title: Visit
        deadline: {{after: 1 workday}}
        fields:
          UF_OBJECT: "{{{{ deal.TITLE }}}}, {{{{ deal.UF_CRM_SHIP_DATE }}}}"
          UF_HOURS: "{{{{ deal.OPPORTUNITY }}}}"
          UF_DAY: "{{{{ deal.UF_CRM_SHIP_DATE }}}}"
          UF_DUE: "{{{{ deadline }}}}"
          UF_KIND: сервис
          UF_URGENT: true
          UF_ENGINEER: "{{{{ owner }}}}"
          UF_HELPERS: [3, "{{{{ supervisor.id }}}}"]
          UF_NOTE: "{{{{ deal.UF_CRM_ADDRESS }}}}"
"""


@pytest.fixture(params=["ru", "en"])
def place(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Office]:
    """An office whose portal has fields of every type; the file is bound to them."""
    with office(tmp_path) as found:
        state = found.portal.state
        for code, kind in (
            *(("UF_OBJECT", "string"), ("UF_NOTE", "string"), ("UF_HOURS", "double"), ("UF_DAY", "date")),
            *(("UF_DUE", "datetime"), ("UF_URGENT", "boolean"), ("UF_ENGINEER", "employee")),
        ):
            state.add_task_field(code, code.title(), kind)
        state.add_task_field("UF_HELPERS", "Helpers", "employee", multiple=True)
        state.add_task_field("UF_KIND", "Kind", "enumeration", options={21: "Монтаж", 22: "Сервис"}, mandatory=True)
        found.rules.write_text(RULES.format(language=request.param), encoding="utf-8")
        found.context.rulebook.refresh_directory()
        assert found.context.rulebook.bind_anew(), found.context.rulebook.error
        yield found


def test_fields_are_rendered_at_creation_typed_as_the_portal_wants_them(place: Office) -> None:
    deal = place.add_deal("[VIP] Romashka", fields={"OPPORTUNITY": 1500.5, "UF_CRM_SHIP_DATE": "2026-03-20"})
    place.run()
    (task,) = place.tasks(deal)
    shown = dict(task.extra)
    assert "[VIP] Romashka, 20" in shown.pop("UF_OBJECT"), "no BB code is read there"
    assert shown.pop("UF_DUE").startswith("2026-03-03T18:00")
    assert shown == {
        "UF_HOURS": 1500.5,
        "UF_DAY": "2026-03-20",
        "UF_KIND": 22,
        "UF_URGENT": 1,
        "UF_ENGINEER": 5,
        "UF_HELPERS": (3, 3),
    }, "what renders to nothing is left out"


def test_preview_shows_the_fields_and_why_tells_them(place: Office) -> None:
    deal = place.add_deal("Romashka")
    line = of_deal(load_settings(place.environ, None), deal).lines[0]
    assert line["fields"]["UF_KIND"] == 22
    place.run()
    (trace,) = place.context.store.traces(deal)
    assert trace.data["fields"]["UF_KIND"] == "Сервис"


def test_a_value_that_does_not_fit_fails_the_rule_on_that_deal_and_makes_nothing(place: Office) -> None:
    text = place.rules.read_text(encoding="utf-8").replace("{{ deal.OPPORTUNITY }}", "{{ deal.TITLE }}")
    place.rules.write_text(text, encoding="utf-8")
    assert place.context.rulebook.reload_if_changed()
    deal = place.add_deal("Romashka")
    place.run()
    assert place.tasks(deal) == []
    (trace,) = place.context.store.traces(deal)
    assert trace.verdict == "template_error"
    assert "fields > UF_HOURS" in trace.data["message"]
    assert place.context.store.task_records() == [] or all(
        one.rule_id != "visit" for one in place.context.store.task_records()
    )


def errors_of_check(place: Office) -> list[str]:
    """What ``check`` finds wrong."""
    return [str(line) for line in examine(load_settings(place.environ, None), offline=False) if line.level == "error"]


def test_a_field_that_becomes_required_is_named_by_check_told_and_cured_by_a_new_file(tmp_path: Path) -> None:
    with office(tmp_path) as place:
        state = place.portal.state
        state.add_task_field("UF_OBJECT", "Объект", "string", mandatory=True)
        lines = [
            str(line) for line in examine(load_settings(place.environ, None), offline=False) if line.level == "error"
        ]
        (line,) = lines
        assert "UF_OBJECT" in line
        assert "first-call, presentation, ask" in line
        deal = place.add_deal()
        place.run()
        place.run()
        assert place.tasks(deal) == []
        (text,) = [one.text for one in state.notices_of(1)]
        assert 'Field "Объект" is required' in text
        rules = place.rules.read_text(encoding="utf-8")
        for rule in ("first-call", "presentation", "ask"):
            rules = rules.replace(
                f"- id: {rule}\n", f"- id: {rule}\n        fields: {{UF_OBJECT: '{{{{ deal.TITLE }}}}'}}\n"
            )
        place.rules.write_text(rules, encoding="utf-8")
        place.service.turn({"rules"}, wide=False)
        place.service.turn({"poll"}, wide=False)
        assert [task.extra for task in place.tasks(deal)] == [{"UF_OBJECT": "Romashka"}]
        assert errors_of_check(place) == []


def test_what_is_no_longer_required_is_made_by_release(tmp_path: Path) -> None:
    with office(tmp_path) as place:
        state = place.portal.state
        state.add_task_field("UF_OBJECT", "Объект", "string", mandatory=True)
        deal = place.add_deal()
        place.run()
        state.demand_task_field("UF_OBJECT", mandatory=False)
        assert changes.perform(place.context, "release", {})["tried_again"] == 1
        assert place.marks(deal) == ["first-call"]


# --- the sandbox -----------------------------------------------------------------------------------------------------


@pytest.fixture
def portal() -> Portal:
    return sales_department()


def test_a_required_user_field_of_tasks_is_demanded_of_every_new_task(portal: Portal) -> None:
    number = portal.call(
        "task.item.userfield.add",
        PARAMS={"USER_TYPE_ID": "string", "FIELD_NAME": "OBJECT", "EDIT_FORM_LABEL": "Object", "MANDATORY": "Y"},
    )
    assert portal.call("tasks.task.getFields")["fields"]["UF_OBJECT"] == {
        "title": "Object",
        "type": "string",
        "required": True,
    }
    with pytest.raises(RestError) as refused:
        portal.call("tasks.task.add", fields={"TITLE": "T", "RESPONSIBLE_ID": 5})
    assert refused.value.code == "ERROR_CORE"
    assert 'Field "Object" is required' in refused.value.description
    made = portal.call("tasks.task.add", fields={"TITLE": "T", "RESPONSIBLE_ID": 5, "UF_OBJECT": "Shop"})["task"]
    assert "ufObject" not in made, "user fields come when they are asked for"
    assert portal.call("tasks.task.get", taskId=made["id"], select=["UF_*"])["task"]["ufObject"] == "Shop"
    portal.call("tasks.task.update", taskId=made["id"], fields={"TITLE": "U"})
    with pytest.raises(RestError):
        portal.call("tasks.task.update", taskId=made["id"], fields={"UF_OBJECT": ""})
    assert portal.call("task.item.userfield.update", ID=number, DATA={"MANDATORY": "N"})
    portal.call("tasks.task.add", fields={"TITLE": "T", "RESPONSIBLE_ID": 5})


def test_user_fields_of_tasks_are_listed_with_their_values_and_taken_away(portal: Portal) -> None:
    portal.state.add_task_field("UF_KIND", "Kind", "enumeration", options=["One", "Two"])
    (row,) = portal.call("task.item.userfield.getlist", ORDER={"ID": "ASC"}, FILTER={"USER_TYPE_ID": "enumeration"})
    assert [item["VALUE"] for item in row["LIST"]] == ["One", "Two"]
    assert portal.call("task.item.userfield.get", ID=row["ID"]) == row
    assert {one["ID"] for one in portal.call("task.item.userfield.gettypes")} >= {"string", "enumeration"}
    assert portal.call("task.item.userfield.getfields")["MANDATORY"]["type"] == "char"
    with pytest.raises(RestError):
        portal.as_user(5).call("task.item.userfield.delete", ID=row["ID"])
    assert portal.call("task.item.userfield.delete", ID=row["ID"])
    assert "UF_KIND" not in portal.call("tasks.task.getFields")["fields"]


@pytest.mark.parametrize(
    ("kind", "value"), [("double", "x"), ("date", "x"), ("datetime", "x"), ("enumeration", 99), ("employee", 999)]
)
def test_a_value_of_another_type_is_refused(portal: Portal, kind: str, value: Any) -> None:
    portal.state.add_task_field("UF_X", "X", kind, options={1: "One"} if kind == "enumeration" else {})
    with pytest.raises(RestError):
        portal.call("tasks.task.add", fields={"TITLE": "T", "RESPONSIBLE_ID": 5, "UF_X": value})


@pytest.mark.parametrize(("language", "title"), [("en", "Object"), ("ru", "Объект"), ("de", "Object")])
def test_a_label_in_several_languages_is_read_in_the_files(language: str, title: str) -> None:
    label = {"en": "Object", "ru": "Объект", "kz": ""}
    listed = Outcome("done", [{"FIELD_NAME": "UF_OBJECT", "EDIT_FORM_LABEL": label}])
    found = _task_fields(Outcome("done", {"fields": {"UF_OBJECT": {"title": "UF_OBJECT"}}}), listed, language)
    assert found["UF_OBJECT"].title == title
