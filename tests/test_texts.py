"""What people read: both languages say the same, Russian counts properly, nothing from the portal turns to code."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from string import Formatter
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitrix_sync.model.facts import DealField
from bitrix_sync.model.operations import Check, Trace
from bitrix_sync.model.reasons import Reason
from bitrix_sync.words.language import CHOICES, LANGUAGES, MESSAGES, NOUNS, plural
from bitrix_sync.words.texts import (
    VERDICTS,
    Markup,
    counted,
    day_text,
    deadline_followed,
    explain,
    folded,
    harmless,
    moment_text,
    number_text,
    phrase,
    reason_text,
    say,
    shortened,
)

ROOT = Path(__file__).parent.parent
MOSCOW = ZoneInfo("Europe/Moscow")
NOON = datetime(2026, 3, 12, 12, 0, tzinfo=UTC)


def placeholders(message: str) -> set[tuple[str, str]]:
    return {(name, how or "") for _, name, how, _ in Formatter().parse(message) if name is not None}


def test_both_languages_of_the_product_have_every_word():
    for table in (MESSAGES, NOUNS, CHOICES):
        assert table["ru"].keys() == table["en"].keys()


def test_every_message_is_said_somewhere():
    """By its key, or by a beginning of it that a name is put behind."""
    files = [*ROOT.glob("bitrix_sync/**/*.py"), *ROOT.glob("webhooks/**/*.py"), *ROOT.glob("webhooks/templates/*.html")]
    code = "".join(file.read_text(encoding="utf-8") for file in files if file.stem not in LANGUAGES)
    said = set(re.findall(r"""["']([a-z][\w.]*)(?=["'{])""", code))
    begun = tuple(word for word in said if "." in word and not word[-1].isalnum())
    assert [key for key in MESSAGES["en"] if key not in said and not key.startswith(begun)] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_a_language_says_has_the_same_placeholders_in_english(language):
    assert MESSAGES[language].keys() <= MESSAGES["en"].keys()
    for key, text in MESSAGES[language].items():
        assert (key, placeholders(text)) == (key, placeholders(MESSAGES["en"][key]))
    assert NOUNS.get(language, {}).keys() <= NOUNS["en"].keys()
    for name, values in CHOICES.get(language, {}).items():
        assert (name, values.keys()) == (name, CHOICES["en"][name].keys())


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_placeholder_is_shown_in_a_way_that_exists(language):
    known = {"", "moment", "day", "number", "path", "fault", *NOUNS["en"], *CHOICES["en"]}
    assert {how for text in MESSAGES[language].values() for _, how in placeholders(text)} <= known
    wanted = 1 + max(plural(language, count) for count in range(200))
    assert {len(forms) for forms in NOUNS.get(language, {}).values()} <= {wanted}


def test_every_verdict_has_a_sentence_that_needs_only_its_data():
    sentences = {key.removeprefix("why.") for key in MESSAGES["ru"] if key.startswith("why.")}
    assert sentences == VERDICTS.keys() | {"check"}
    for verdict, keys in VERDICTS.items():
        assert {name for name, _ in placeholders(MESSAGES["ru"][f"why.{verdict}"])} == set(keys)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_reason_has_words_in_every_language(language):
    assert CHOICES[language]["reason"].keys() == {*Reason, "*"}
    for reason in Reason:
        assert ("{}" in CHOICES[language]["reason"][reason]) == ("{}" in reason)
        assert reason_text(language, reason.of("x")) == CHOICES[language]["reason"][reason].replace("{}", "x")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("so already", "Так уже было."),
        ("removed with rule first-call", "Убрано вместе с задачами правила first-call."),
        ("sent once; the portal did not confirm it", "Отправлено один раз, портал не подтвердил."),
        (
            "The stage `A; B` is gone from every funnel",
            "стадии «A; B» нет ни в одной воронке",
        ),
        (
            "The user 5 is gone from the portal; The field `X` (UF_X) is gone from the portal",
            "на портале больше нет сотрудника 5; на портале больше нет поля `X` (UF_X)",
        ),
        ("Доступ запрещён; обратитесь к администратору", "Доступ запрещён; обратитесь к администратору"),
        ("", ""),
    ],
)
def test_a_reason_that_was_stored_is_read_in_russian_and_the_portals_words_stay(text, shown):
    assert reason_text("ru", text) == shown


def calls(name: str) -> list[tuple[str, ast.Call]]:
    """Every call of a function or method of this name in the product, with its place."""
    files = [*ROOT.glob("bitrix_sync/**/*.py"), *ROOT.glob("webhooks/**/*.py"), *ROOT.glob("*.py")]
    found = []
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and name in (getattr(node.func, "attr", ""), getattr(node.func, "id", "")):
                found.append((f"{file.relative_to(ROOT)}:{node.lineno}", node))
    return found


def constant(node: ast.Call, place: int) -> object:
    argument = node.args[place] if len(node.args) > place else None
    return argument.value if isinstance(argument, ast.Constant) else None


def test_whatever_the_product_says_is_in_the_catalogue_and_gets_the_values_it_needs():
    wrong = []
    for where, node in [*calls("say"), *calls("phrase")]:
        key = constant(node, 1)
        if not isinstance(key, str):
            continue
        given = {keyword.arg for keyword in node.keywords}
        needed = {name for name, _ in placeholders(MESSAGES["ru"].get(key, ""))}
        if key not in MESSAGES["ru"] or (None not in given and not needed <= given):
            wrong.append(f"{where}: {key} needs {sorted(needed)}, is given {sorted(map(str, given))}")
    assert wrong == []


def test_every_verdict_that_is_recorded_has_its_sentence():
    verdicts = {(where, constant(node, 2)) for where, node in calls("trace") if isinstance(constant(node, 2), str)}
    assert {(where, verdict) for where, verdict in verdicts if verdict not in VERDICTS} == set()
    assert len(verdicts) > 5


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 задач"),
        (1, "1 задача"),
        (2, "2 задачи"),
        (4, "4 задачи"),
        (5, "5 задач"),
        (11, "11 задач"),
        (12, "12 задач"),
        (14, "14 задач"),
        (21, "21 задача"),
        (22, "22 задачи"),
        (111, "111 задач"),
        (1001, "1\N{NO-BREAK SPACE}001 задача"),
    ],
)
def test_russian_counts_properly(count, text):
    assert counted("ru", count, "tasks") == text


def test_english_counts_properly():
    assert [counted("en", count, "tasks") for count in (0, 1, 2, 21)] == ["0 tasks", "1 task", "2 tasks", "21 tasks"]


@pytest.mark.parametrize(
    ("number", "russian", "english"),
    [
        (0, "0", "0"),
        (150000, "150 000", "150,000"),
        (150000.0, "150 000", "150,000"),
        (999.9, "999,9", "999.9"),
        (-1234.5, "-1 234,5", "-1,234.5"),
        (1e20, "100 000 000 000 000 000 000", "100,000,000,000,000,000,000"),
        (Decimal("100.50"), "100,5", "100.5"),
        (Decimal("1E+3"), "1 000", "1,000"),
        (float("inf"), "Infinity", "Infinity"),
    ],
)
def test_numbers_read_as_people_write_them(number, russian, english):
    assert number_text("ru", number).replace("\N{NO-BREAK SPACE}", " ") == russian
    assert number_text("en", number) == english


def test_dates_read_as_people_write_them():
    moment = NOON.astimezone(MOSCOW)
    assert moment_text("ru", moment) == "чт 12 марта, 15:00"
    assert moment_text("en", moment) == "Thu 12 March, 15:00"
    assert moment_text("ru", moment, weekday=False, year=True) == "12 марта 2026, 15:00"
    assert day_text("ru", date(2026, 5, 31)) == "вс 31 мая"


def test_a_message_shows_a_moment_in_the_zone_asked_for():
    said = say("ru", "why.again", zone=MOSCOW, number=2, at=NOON)
    assert said == "Задача выполнена, а сделка всё ещё на стадии: следующая, № 2, появится чт 12 марта, 15:00."
    assert "Thu 12 March, 12:00" in say("en", "why.again", number=2, at=NOON.isoformat())


FIELDS = {"UF_CRM_SHIP": DealField("UF_CRM_SHIP", "Дата отгрузки", "date"), "UF_CRM_AT": DealField("UF_CRM_AT", "", "")}


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("field:UF_CRM_SHIP=2026-03-01", "field:UF_CRM_SHIP=2026-03-12", "«Дата отгрузки», теперь чт 12 марта 2026"),
        ("else:entry", "field:UF_CRM_SHIP=2026-03-12", "заполнено поле «Дата отгрузки»: чт 12 марта 2026"),
        ("entry", "field:UF_CRM_AT=2026-03-12T12:00:00Z", "заполнено поле «UF_CRM_AT»: чт 12 марта 2026, 15:00"),
        ("field:UF_CRM_SHIP=2026-03-01", "else:entry", "очищено поле «Дата отгрузки»"),
        ("else:entry", "event:done:offer@2026-03-12T12:00:00Z", "выполнена задача «offer»"),
        ("else:entry", "event:filled:UF_CRM_SHIP@2026-03-12T12:00:00Z", "заполнено поле «Дата отгрузки»"),
        ("else:entry", "event:stage:C5:NEW,C5:WON@2026-03-12T12:00:00Z", "вошла в стадию «Новая / C5:WON»"),
        ("taken over", "entry", "изменилось то, от чего он считается"),
    ],
)  # fmt: skip
def test_a_task_whose_deadline_followed_says_why(old, new, why):
    line = deadline_followed(
        "ru",
        before=NOON.astimezone(MOSCOW),
        after=(NOON + timedelta(days=1)).astimezone(MOSCOW),
        old_basis=old,
        new_basis=new,
        deal_fields=FIELDS,
        stage_names={"C5:NEW": "Новая"},
    )
    assert line.startswith("Срок перенесён с чт 12 марта, 15:00 на пт 13 марта, 15:00: ")
    assert line.endswith(f"{why}.")


def test_a_field_title_brings_no_code_into_a_line():
    fields = {"UF_X": DealField("UF_X", "[url=x]Дата[/url]\n", "date")}
    line = deadline_followed(
        "en", before=None, after=NOON, old_basis="", new_basis="field:UF_X=2026-03-12", deal_fields=fields
    )
    assert line == (
        "The deadline was moved from — to Thu 12 March, 12:00: the deal's field “［url=x］Дата［/url］ ” changed, "
        "it is now Thu 12 March 2026."
    )


def test_traces_of_waiting_and_following_are_put_into_words():
    def told(verdict, **data):
        trace = Trace(deal_id=1, visit_id=2, rule_id="r", verdict=verdict, at=NOON, data=data)
        return explain("ru", trace, zone=MOSCOW, deal_fields=FIELDS)[0]

    assert told("waiting_start", event="done: offer") == (
        "Задача появится позже. Ждём: будет выполнена задача «offer»."
    )
    assert "будет заполнено поле «Дата отгрузки»" in told("waiting_start", event="filled: UF_CRM_SHIP")
    assert told("waiting_start", event="погоды у моря").endswith("Ждём: погоды у моря.")
    assert told("followed", before="2026-03-12T12:00:00+00:00", after="", why="field:UF_CRM_SHIP=2026-03-12") == (
        "Срок перенесён с чт 12 марта 2026, 15:00 на —: в сделке изменилось поле «Дата отгрузки», теперь "
        "чт 12 марта 2026."
    )
    assert told("followed", why="так надо").endswith("на —: так надо.")
    assert told("not_followed_person", owner="Анна").startswith("Исполнителя сменил человек (Анна)")
    assert told("not_followed_person").startswith("Срок изменил человек")
    assert told("exists", other="9031:offer", repeat="once") == (
        "Новой задачи нет: для этой сделки она уже ставилась (repeat: once)."
    )


def test_a_message_counts_in_the_right_case():
    assert "не показывать" not in say("ru", "admin.rights_lost_tasks", missing=25, known=21)
    assert "25 из 21 задачи." in say("ru", "admin.rights_lost_tasks", missing=25, known=21)
    assert "Придержано: 3 задачи." in say("ru", "admin.held", count=3, limit=1000)


def test_a_name_from_the_portal_brings_no_code_into_a_message_and_our_own_code_stays():
    said = say(
        "ru",
        "admin.rule_failed",
        title="Звонок",
        rule="call",
        deal="[b]Ива\nнов[/b]",
        message=Markup("[URL=x]y[/URL]\nz"),
    )
    assert said == "Правило «Звонок» (call) не сработало на сделке «［b］Ива нов［/b］». [URL=x]y[/URL]\nz"


def test_braces_in_a_value_are_only_text():
    assert say("en", "why.disabled", reason="{rule} {0.__class__}") == "The rule is switched off: {rule} {0.__class__}"


def test_a_missing_value_is_our_mistake_and_is_not_hidden():
    with pytest.raises(KeyError):
        say("en", "why.disabled")
    with pytest.raises(KeyError):
        say("en", "why.no_such_message")


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("[VIP] Ромашка", "［VIP］ Ромашка"),
        ("&#91;b&#93;", "［b］"),
        ("&amp;amp;#91;url&#x05D;", "［url］"),
        ("&lbrack;b&rsqb;", "［b］"),
        ("&\x00#91;b", "［b"),
        ("Ρ = &#910;", "Ρ = &#910;"),
        ("AT&amp;T", "AT&amp;T"),
        (">>quote", "»quote"),
        ("  > quote", "  › quote"),
        ("a > b", "a > b"),
        ("a\r\nb\u2028c\rd", "a\nb\nc\nd"),
        ("a\u202eb\u2066c\x07d\ud800e", "abcde"),
        ("-" * 54, "—"),
    ],
)
def test_what_the_portal_would_act_on_becomes_text(raw, shown):
    assert harmless(raw) == shown


HOSTILE = st.text(st.sampled_from("[]/=b u&#x0;5bDd91amp\x00\r\n>-\u202e\ud800"), max_size=60) | st.text(max_size=60)


@settings(max_examples=300)
@given(HOSTILE)
def test_harmless_text_is_harmless_can_be_sent_and_stays_as_it_is(text):
    result = harmless(text)
    assert not set(result) & set("[]\r\x00\u202e")
    assert ">>" not in result
    assert harmless(result) == result
    result.encode()


@given(st.text(max_size=40), st.integers(1, 20))
def test_a_shortened_text_keeps_to_the_limit(text, limit):
    result = shortened(text, limit)
    assert len(result) <= limit
    assert result == text or result.endswith("…")


def test_folding_leaves_one_line():
    assert folded(" a\n\tb \u00a0 c ") == "a b c"


def test_a_task_that_was_made_is_explained_with_owner_path_and_checks():
    trace = Trace(
        deal_id=1,
        visit_id=2,
        rule_id="first-call",
        verdict="made",
        at=NOON,
        data={
            "task": "9031:first-call",
            "title": "Позвонить [Иванову]",
            "owner": "Анна",
            "owner_path": ["ответственный за сделку: Пётр", "Пётр больше не работает", "его руководитель: Анна"],
            "supervisor": "Олег",
            "deadline": "2026-03-12T12:00:00+00:00",
            "branch": "main",
            "lifted": True,
        },
        checks=(Check("Сумма", "150 000", "не меньше 100 000", True), Check("Город", "пусто", "Москва", False)),
    )
    assert explain("ru", trace, zone=MOSCOW) == [
        "Поставлена задача «Позвонить [Иванову]». Исполнитель: Анна (ответственный за сделку: Пётр → "
        "Пётр больше не работает → его руководитель: Анна). Контролирует: Олег. Срок: чт 12 марта 2026, 15:00. "
        "По правилу срок уже прошёл, поэтому взят ближайший возможный.",
        "✓ Сумма: 150 000; нужно: не меньше 100 000",
        "✗ Город: пусто; нужно: Москва",
    ]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("verdict", [*VERDICTS, "a_word_of_a_later_version"])
def test_whatever_was_recorded_can_be_read(language, verdict):
    trace = Trace(deal_id=1, visit_id=2, rule_id="r", verdict=verdict, at=NOON)
    assert explain(language, trace, zone=MOSCOW)[0]


def test_values_of_a_table_are_put_into_words_and_unknown_ones_stand_for_themselves():
    assert phrase("ru", "why.ended", ending="defer", why="close") == "Задача отложена: сделка закрыта."
    assert phrase("en", "why.advance_waits", why="a person is looking") == (
        "The deal stays in the stage for now: a person is looking."
    )
    assert "Срок перенесён с — на" in phrase("ru", "why.followed", before=None, after=NOON, why="event")


TOY = """
MESSAGES = {"why.history": "Tak bylo.", "why.again": "Znowu {number}: {at:moment}.", "admin.held": "Wstrzymane: "
"{count:tasks}."}
NOUNS = {"tasks": ("zadanie", "zadania", "zadań")}
SUGGESTIONS = {"first-call": (r"nowe", "Zadzwoń: {{ deal.TITLE }}")}
"""

TRY_IT = """
import sys
from datetime import UTC, datetime

import bitrix_sync.words

bitrix_sync.words.__path__.append(sys.argv[1])

from bitrix_sync.rules.file import File
from bitrix_sync.settings import spoken_language
from bitrix_sync.setup.suggestions import suggest
from bitrix_sync.words import texts
from bitrix_sync.words.language import LANGUAGES, MESSAGES

assert LANGUAGES[0] == "ru" and {"en", "pl"} < set(LANGUAGES), LANGUAGES
for key in MESSAGES["en"]:
    values = {name: 0 for _, name, how in texts._parsed(MESSAGES["en"][key]) if name}
    assert texts.say("pl", key, **values) == texts.say("pl" if key in MESSAGES["pl"] else "en", key, **values)
assert texts.say("pl", "why.history") == "Tak bylo."
assert texts.say("pl", "why.again", number=2, at=datetime(2026, 3, 12, 12, tzinfo=UTC)) \\
    == "Znowu 2: czw. 12 marca, 12:00."
assert [texts.counted("pl", count, "tasks") for count in (1, 3, 5)] == ["1 zadanie", "3 zadania", "5 zadań"]
assert texts.counted("pl", 5, "deals") == "5 deals"
assert texts.say("pl", "admin.held", count=22, limit=9) == "Wstrzymane: 22 zadania."
assert texts.list_separator("pl") == ";"
assert File.model_validate({"version": 1, "language": "pl", "funnels": {"A": {"B": []}}}).language == "pl"
assert spoken_language({"LANG": "pl_PL.UTF-8"}) == "pl"
assert suggest("Nowe zgłoszenie", "en").title == "Call the client: {{ deal.TITLE }}"
assert suggest("Новая заявка", "pl").title == "Zadzwoń: {{ deal.TITLE }}"
assert suggest("Оплата", "pl").title == "Check that the payment has come: {{ deal.TITLE }}"
"""


def test_a_third_language_is_one_file_and_what_it_lacks_is_said_in_english(tmp_path):
    (tmp_path / "pl.py").write_text(TOY, encoding="utf-8")
    ran = subprocess.run([sys.executable, "-c", TRY_IT, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
