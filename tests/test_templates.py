"""Titles and descriptions: what a template shows, what it refuses, and that nothing hostile hangs it or gets in."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bitrix_sync.model.facts import Company, Contact, Deal, DealField, User
from bitrix_sync.model.worktime import build_calendar
from bitrix_sync.rules.context import Context, TaskFacts, build_context
from bitrix_sync.rules.filters import FILTERS, TemplateFault
from bitrix_sync.rules.model import Rules, StagePolicy
from bitrix_sync.rules.templates import check_template, names_used, render

MOSCOW = ZoneInfo("Europe/Moscow")
NOON = datetime(2026, 3, 12, 12, 0, tzinfo=UTC)
COMPANY = Company(users={5: User(5, "Анна [CEO]"), 6: User(6, "Пётр")}, self_id=1)
OPTIONS = {"45": "Опт [b]", "46": "Розница"}
DEAL_FIELDS = {
    one.code: one
    for one in (
        DealField("OPPORTUNITY", "Сумма", "double"),
        DealField("STAGE_ID", "Стадия", "crm_status", options={"NEW": "Новая"}),
        DealField("COMPANY_ID", "Компания", "crm_company"),
        DealField("COMMENTS", "Комментарий", "text"),
        DealField("UF_DAY", "Дата", "date"),
        DealField("UF_MOMENT", "Встреча", "datetime"),
        DealField("UF_MOMENTS", "Встречи", "datetime", multiple=True),
        DealField("UF_FLAG", "Срочно", "boolean"),
        DealField("UF_KIND", "Вид", "enumeration", options=OPTIONS),
        DealField("UF_KINDS", "Виды", "enumeration", multiple=True, options=OPTIONS),
        DealField("UF_LOGIST", "Логист", "employee"),
        DealField("UF_MONEY", "Аванс", "money"),
        DealField("UF_TEXT", "Текст", "string"),
        DealField("UF_LIST", "Тексты", "string", multiple=True),
        DealField("UF_FILE", "Файл", "file"),
    )
}


def rules(language: str = "ru") -> Rules:
    week = {day: ((time(9), time(18)),) for day in range(5)}
    return Rules(
        "digest",
        language,
        build_calendar(zone=MOSCOW, week=week),
        {"C5:NEW": StagePolicy("C5:NEW", 5)},
        {},
        stage_names={"C5:NEW": "Новая [заявка]", "NEW": "Новая"},
        funnel_names={5: "Продажи"},
        deal_fields=DEAL_FIELDS,
    )


def context(
    title: str = "Ромашка",
    *,
    language: str = "ru",
    supervisor: int | None = 6,
    client: Contact | None = None,
    contact: Contact | None = None,
    **fields: Any,
) -> Context:
    deal = Deal(7, title, 5, "C5:NEW", "P", 5, 6, 0, 3, NOON, NOON, fields=fields)
    return build_context(TaskFacts(deal, rules(language), COMPANY, 5, supervisor, "C5:NEW", NOON, client, contact))


def shown(source: str, **fields: Any) -> str:
    assert check_template(source) == []
    return render(source, context=context(**fields))


# --- what a template shows -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("Позвонить: {{ deal.TITLE }}", "Позвонить: Ромашка"),
        ("{{ deal }} № {{ deal.ID }}", "Ромашка № 7"),
        ("{{ owner }} / {{ owner.name }} / {{ owner.id }}", "Анна ［CEO］ / Анна ［CEO］ / 5"),
        ("{{ supervisor }}{% if supervisor %}!{% endif %}", "Пётр!"),
        ("{{ funnel }} {{ funnel.id }} {{ stage.name }} {{ stage.id }}", "Продажи 5 Новая ［заявка］ C5:NEW"),
        ("до {{ deadline }}", "до 12 марта 2026, 15:00"),
        ("{{ deadline|date('%d.%m %H:%M') }}", "12.03 15:00"),
        ("{{ deadline|date('%a %d %B %y %%') }}", "чт 12 марта 26 %"),
        ("{{ deadline.day }}.{{ deadline.month }}", "12.3"),
        ("{{ deal.OPPORTUNITY }} {{ deal.OPPORTUNITY|number }}", "150000 150\N{NO-BREAK SPACE}000"),
        ("{{ (deal.OPPORTUNITY * 0.2)|round }}", "30000"),
        ("{{ deal.OPPORTUNITY / 4 + 1 - 2 // 1 % 5 }}", "37499"),
        ("{% if deal.OPPORTUNITY > 100000 %}крупная{% else %}обычная{% endif %}", "крупная"),
        ("{{ deal.STAGE_ID }}|{{ deal.COMPANY_ID }}|", "Новая ［заявка］||"),
        ("{{ deal.UF_KIND }}; {{ deal.UF_KINDS }}", "Опт ［b］; Опт ［b］, Розница"),
        ("{{ deal.UF_KINDS|join(' / ') }} {{ deal.UF_KINDS|length }}", "Опт ［b］ / Розница 2"),
        ("{% for one in deal.UF_KINDS %}{{ loop.index }}. {{ one }}{% if not loop.last %}; {% endif %}{% endfor %}",
         "1. Опт ［b］; 2. Розница"),
        ("{{ deal.UF_DAY }} {{ deal.UF_DAY|date }}", "12 марта 2026 12.03.2026"),
        ("{{ deal.UF_MOMENT }}; {{ deal.UF_MOMENTS }}", "12 марта 2026, 15:00; 12 марта 2026, 15:00"),
        ("{{ deal.UF_FLAG }}{% if deal.UF_FLAG %}!{% endif %}", "да!"),
        ("{{ deal.UF_LOGIST }} ({{ deal.UF_LOGIST.id }})", "Пётр (6)"),
        ("{{ deal.ASSIGNED_BY_ID }}", "Анна ［CEO］"),
        ("{{ deal.UF_MONEY }}", "100.50 EUR"),
        ("{{ deal.UF_FILE }}", "акт.pdf"),
        ("{{ deal.DATE_CREATE|date }}", "12.03.2026"),
        ("[b]{{ deal.TITLE }}[/b] [url=https://x.ru]y[/url]", "[b]Ромашка[/b] [url=https://x.ru]y[/url]"),
        ("{{ 'a' ~ deal.ID ~ true ~ none ~ 1.0 }}", "a7да1"),
        ("{% set name = deal.TITLE|upper %}{{ name[:3] }}{{ name[0] }}{{ name[-1] }}", "РОМРА"),
        ("{% with x = 2 %}{{ -x + 5 }}{% endwith %}", "3"),
        ("{{ {'Ромашка': 'наш', 'b': 'c'}[deal.TITLE] }}", "наш"),
        ("{{ 'a' if deal.ID in [7, 8] else 'b' }}{{ 'x' + 'y' }}", "axy"),
        ("{{ deal.ID is odd }} {{ deal.UF_NONE is defined }}", "да нет"),
        ("{{ deal.UF_NONE|default('нет') }} {{ deal.UF_EMPTY|d('пусто') }} {{ 0|d('ноль', true) }}", "нет пусто ноль"),
        ("{{ deal.UF_EMPTY|date }}{{ deal.UF_EMPTY|number }}{{ deal.UF_EMPTY }}|", "|"),
        ("{{ 'иван петрович'|title }} {{ ' а '|trim }} {{ 'А'|lower }} {{ 'аб'|capitalize }}", "Иван Петрович а а Аб"),
        ("{{ 'один два три'|truncate(9) }} {{ 'раз'|truncate(2, true) }} {{ 'а'|truncate(5) }}", "один два… р… а"),
        ("{{ 'а-б'|replace('-', '+') }} {{ '12.5'|float + 1 }} {{ 'x'|int(3) }} {{ '7.9'|int }} {{ -3|abs }}",
         "а+б 13.5 3 7 3"),
        ("{{ [3, 1, 2]|sort|join }} {{ ['b', 'a', 'b']|unique|join }} {{ [1, 2]|reverse|first }} {{ 'ab'|last }}",
         "123 ba 2 b"),
        ("{# слово #}{% raw %}{{ x }}{% endraw %}", "{{ x }}"),
    ],
)  # fmt: skip
def test_what_a_template_shows(source, text):
    fields = {
        "OPPORTUNITY": 150000.0,
        "STAGE_ID": "NEW",
        "COMPANY_ID": 0,
        "UF_KIND": 45,
        "UF_KINDS": ["45", 46, 0],
        "UF_DAY": "2026-03-12T03:00:00+03:00",
        "UF_MOMENT": "2026-03-12T12:00:00+00:00",
        "UF_MOMENTS": ["2026-03-12T12:00:00+00:00"],
        "UF_FLAG": "Y",
        "UF_LOGIST": "6",
        "UF_MONEY": "100.50|EUR",
        "UF_FILE": {"id": 1, "name": "акт.pdf"},
        "UF_EMPTY": None,
    }
    assert shown(source, **fields) == text


def test_company_and_contact_show_themselves_and_are_empty_when_the_deal_has_none():
    client = Contact(1, {"TITLE": "ООО [Рога]", "PHONE": [{"VALUE": "+7 900", "TYPE": "WORK"}, {"VALUE": "+7 901"}]})
    person = Contact(2, {"NAME": "Иван", "LAST_NAME": "Иванов", "POST": None})
    source = "{{ company }}, {{ company.PHONE }}, {{ contact }}, {{ contact.POST }}|"
    with_both = context(client=client, contact=person)
    assert render(source, context=with_both) == "ООО ［Рога］, +7 900, +7 901, Иван Иванов, |"
    assert render(source + "{% if not company %}нет{% endif %}", context=context()) == ", , , |нет"
    with pytest.raises(TemplateFault, match="company has no EMAIL"):
        render("{{ company.EMAIL }}", context=with_both)


def test_without_a_supervisor_its_name_is_empty():
    assert render("{{ supervisor.name }}|{{ supervisor }}|", context=context(supervisor=None)) == "||"


def test_the_language_of_the_file_is_spoken():
    english = context(language="en", UF_FLAG="N")
    assert render("{{ deadline }} {{ deal.UF_FLAG }}", context=english) == "12 March 2026, 15:00 no"


@pytest.mark.parametrize(
    ("fields", "text"),
    [({"UF_X": None}, ""), ({"UF_X": ""}, ""), ({"UF_X": []}, ""), ({"UF_X": False}, ""), ({"UF_LOGIST": 0}, "")],
)
def test_an_empty_field_is_empty(fields, text):
    code = next(iter(fields))
    assert shown(f"{{{{ deal.{code} }}}}", **fields) == text


def test_a_field_that_was_not_read_is_an_error_with_the_nearest_name():
    with pytest.raises(TemplateFault, match=r"deal has no UF_DAYS: did you mean UF_DAY\?"):
        shown("{{ deal.UF_DAYS }}", UF_DAY="2026-03-12")
    with pytest.raises(TemplateFault, match="line 2: deal has no UF_X"):
        shown("a\n{% if deal.UF_X %}b{% endif %}\n")


def test_values_that_do_not_read_as_their_type_stay_text():
    odd = {"UF_DAY": "скоро", "UF_MOMENT": "2026-03-12", "OPPORTUNITY": "много", "UF_KIND": 99, "UF_LOGIST": 99}
    source = " ".join(f"{{{{ deal.{code} }}}}" for code in odd)
    assert shown(source, **odd) == "скоро 2026-03-12 много 99 #99"


# --- titles ----------------------------------------------------------------------------------------------------------


def test_a_title_is_one_line_of_at_most_250_characters():
    title = render("{{ deal.TITLE }}\n {{ deal.TITLE }}", context=context("сло\tво\n" * 200), limit=250)
    assert 248 <= len(title) <= 250
    assert title.endswith("…")
    assert title.startswith("сло во сло во")
    assert render("{{ deal.TITLE }}", context=context("x" * 250), limit=250) == "x" * 250


def test_an_empty_title_is_an_error_and_an_empty_check_list_item_may_be_left_out():
    with pytest.raises(TemplateFault, match="empty"):
        render(" {{ deal.TITLE }} ", context=context(" \n "), limit=250)
    assert render("{% if false %}x{% endif %}", context=context(), limit=250, may_be_empty=True) == ""


def test_a_description_keeps_its_lines_and_loses_the_blanks_around():
    assert render("\n a\n\n{{ deal.TITLE }}\n\n", context=context("b\nc")) == "a\n\nb\nc"


# --- nothing gets in -------------------------------------------------------------------------------------------------


def test_values_of_the_portal_cannot_bring_bb_code():
    evil = "[url=http://evil]жми[/url] &#91;b&#93; >> [USER=1]x[/USER]\r\n>>цитата\x00\u202e"
    text = shown("[b]{{ deal.TITLE }}[/b]", title=evil)
    assert text == "[b]［url=http://evil］жми［/url］ ［b］ » ［USER=1］x［/USER］\n»цитата[/b]"


@pytest.mark.parametrize(
    "title", ["[VIP] Ромашка", "&#91;b&#93; >> «x» [[", "-" * 40, "$result[k0]", "a\u202eb", "［VIP］", "<b>&amp;</b>"]
)
def test_a_title_or_a_field_of_the_task_shows_the_deals_text_as_it_is(title):
    everywhere = context(title, client=Contact(1, {"TITLE": title}), UF_TEXT=title, UF_LIST=[title, title])
    for source in ("{{ deal.TITLE }}", "{{ deal }}", "{{ company }}", "{{ company.TITLE }}", "{{ deal.UF_TEXT }}"):
        assert render(source, context=everywhere, limit=250) == title
        assert render(source, context=everywhere, limit=250, may_be_empty=True) == title
        assert render(source, context=everywhere, markup=False) == title
    assert render("{{ deal.UF_LIST|join(', ') }} {{ owner }}", context=everywhere, limit=250) == (
        f"{title}, {title} Анна [CEO]"
    )


def test_what_cannot_travel_is_in_no_title():
    assert render("{{ deal.TITLE }}", context=context("a\x00b\x1b\x9bc\ud800d\r\ne"), limit=250) == "abcd e"


def test_formatted_comments_become_plain_text():
    comments = "[p]Звонить [b]утром[/b][/p][url=http://x]сайт[/url]<br>[VIP] <b>да</b> [[b]b]"
    assert shown("{{ deal.COMMENTS }}", COMMENTS=comments) == "Звонить утром\nсайт\n［VIP］ да ［b］"


HOSTILE = st.text(st.sampled_from("[]/=b{}%#'\"|~&;91x\n\r\x00>\u202e\ud800"), max_size=80) | st.text(max_size=80)


@settings(max_examples=150, deadline=None)
@given(HOSTILE, HOSTILE, HOSTILE)
def test_whatever_a_deal_is_called_no_code_gets_in_and_no_template_is_run(title, text, other):
    source = "{{ deal.TITLE }}|{{ deal.UF_TEXT|upper }}|{{ deal.UF_LIST|join(', ') }}|{{ deal.COMMENTS|title }}"
    given_context = context(title, UF_TEXT=text, UF_LIST=[other, title], COMMENTS=title)
    result = render(source, context=given_context)
    result.encode()
    assert not set(result) & set("[]\r\x00\u202e")
    assert ">>" not in result
    as_title = render(source, context=given_context, limit=250)
    as_title.encode()
    assert not set(as_title) & set("\r\n\x00")
    assert len(as_title) <= 250


# --- what is wrong with a template -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("{{ deal.TITLE ", "unexpected end of template"),
        ("{% if %}", "Expected an expression"),
        ("{{ dael.TITLE }}", "dael is unknown: did you mean deal?"),
        ("{{ xyzzy }}", "xyzzy is unknown; known are deal, company, contact, owner"),
        ("a\n{{ x1 }}\n{{ x2 }}", "line 2: x1 is unknown"),
        ("{{ owner.email }}", "owner has no email: it has id, name"),
        ("{{ stage['sort'] }}", "stage has no sort: it has id, name"),
        ("{{ deadline.hours }}", "deadline has no hours: it has year, month"),
        ("{{ deal.TITLE.upper() }}", "use a filter"),
        ("{{ range(10) }}", "nothing can be called"),
        ("{{ deal.TITLE|uper }}", "there is no filter uper: did you mean upper?"),
        ("{{ deal.TITLE|center(80) }}", "there is no filter center"),
        ("{{ deal.ID is callable }}", "there is no test callable"),
        ("{{ 2 ** 3 }}", "** is not available"),
        ("{% set deal = 1 %}", "deal is given: choose another name"),
        ("{% for owner in [1] %}{% endfor %}", "owner is given"),
        ("{% macro f() %}{% endmacro %}", "macro is not available"),
        ("{% include 'x' %}", "include is not available"),
        ("{% extends 'x' %}", "extends is not available"),
        ("{% import 'x' as x %}", "import is not available"),
        ("{% block b %}{% endblock %}", "block is not available"),
        ("{% set x %}a{% endset %}", "write {% set name = value %}"),
        ("{% filter upper %}a{% endfilter %}", "put the filter behind the value"),
        ("{% for x in [] recursive %}{% endfor %}", "recursive loops are not available"),
        ("{{ 'a'|join(*['b']) }}", "*args and **kwargs are not available"),
        ("{{ loop.index }}", "loop is unknown"),
        ("{{ " + "1" * 5000 + " }}", "cannot be read"),
        ("x" * 20001, "longer than 20000 characters"),
        ("{{ " + "(" * 3000 + ")" * 3000 + " }}", "too deep"),
        ("{% if 1 %}" * 150 + "{% endif %}" * 150, "too deep"),
        ("{{ 1" + "+1" * 3000 + " }}", "too deep"),
    ],
)
def test_a_wrong_template_is_found_when_the_file_is_loaded(source, problem):
    problems = check_template(source)
    assert any(problem in one for one in problems), problems
    with pytest.raises(TemplateFault):
        render(source, context=context())


def test_all_that_is_wrong_is_told_at_once():
    problems = check_template("{{ dael.ID }}\n{{ owner.mail }} {{ deal.TITLE|uper }}\n{{ f() }}")
    assert len(problems) == 5
    assert {one[:7] for one in problems} == {"line 1:", "line 2:", "line 4:"} or len({*problems}) == 5


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("Позвонить", set()),
        ("{{ deal.TITLE }} {{ deal['UF_X']|upper }}", {"deal.TITLE", "deal.UF_X"}),
        ("{% if company %}{{ contact.PHONE[0] }}{% endif %}", {"company", "contact.PHONE"}),
        ("{% for x in deal.UF_X %}{{ x }}{{ owner.name ~ stage }}{% endfor %}", {"deal.UF_X", "owner.name", "stage"}),
        ("{% set x = deal %}{{ x.UF_Y }}", {"deal"}),
        ("{{ deal.UF_LOGIST.name }} {{ deadline|date }} {{ unknown.x }}", {"deal.UF_LOGIST", "deadline"}),
        ("{{ broken", set()),
    ],
)  # fmt: skip
def test_the_names_that_a_template_uses(source, names):
    assert names_used(source) == names


# --- nothing hangs ---------------------------------------------------------------------------------------------------

BIG = "{% set a = 'xxxxxxxxxx' %}"
BOMBS = [
    "{{ 'a' * 10 ** 9 }}",
    "{{ 'a' * 1000000000 }}",
    "{{ 1000000000 * 'a' }}",
    "{{ [1] * 1000000000 }}",
    "{{ [1] + [2] }}",
    "{{ 999999999999999 * 999999999999999 }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '%1000000000d'|format(1) }}",
    "{{ '{:1000000000}'.format(1) }}",
    "{{ 'a'.ljust(1000000000) }}",
    "{{ 'a'|center(1000000000) }}",
    "{{ 'a'|indent(1000000000) }}",
    "{{ range(100000)|join }}",
    "{{ deadline|date('%1000000000Y') }}",
    "{{ deadline.strftime('%1000000000Y') }}",
    "{{ deal.OPPORTUNITY|round(-1000000000) }}{{ deal.UF_X }}",
    "{{ ('9' * 5)|int }}",
    BIG + "{% set a = a ~ a %}" * 60 + "{{ a }}",
    BIG + "{% set a = a + a %}" * 60 + "{{ a }}",
    BIG + "{% set a = a|replace('x', 'xxxxxxxxxx') %}" * 30 + "{{ a }}",
    BIG + "{% set a = a|join(a) %}" * 30 + "{{ a }}",
    BIG + "{% set a = [a, a]|join %}" * 60 + "{{ a }}",
    "{% set a = [1] %}{% set b = [1] %}" + "{% set a = [a, a] %}{% set b = [b, b] %}" * 60 + "{{ a == b }}",
    "{% set a = (1,) %}" + "{% set a = (a, a) %}" * 60 + "{{ a }}",
    "{% set a = {1: 1} %}" + "{% set a = {1: a, 2: a} %}" * 60 + "{{ a == a }}",
    "{% for a in deal.UF_LIST %}" * 8 + "x" + "{% endfor %}" * 8,
    "{% for a in deal.UF_TEXT %}{% for b in deal.UF_TEXT %}{% if a == b %}{% endif %}{% endfor %}{% endfor %}",
    "{% for a in deal.UF_LIST %}" + "{% if deal.UF_TEXT|upper|lower|title %}{% endif %}" * 100 + "{% endfor %}",
    "{% for a in deal.UF_LIST %}{% set b = deal.UF_TEXT ~ deal.UF_TEXT ~ deal.UF_TEXT %}{% endfor %}" * 20,
    "{% for a in deal.UF_LIST %}" + "{{ '' }}" * 2000 + "{% endfor %}",
    "{% for a in deal.UF_LIST %}" + "{% if 'b' in deal.UF_TEXT %}{% endif %}" * 300 + "{% endfor %}",
    "{% for a in deal.UF_LIST %}" + "{% if deal.UF_TEXT[1:] %}{% endif %}" * 300 + "{% endfor %}",
    "{% for a in deal.UF_LIST %}" + "{% if deal.UF_TEXT is eq deal.UF_LIST %}{% endif %}" * 300 + "{% endfor %}",
    "{% for a in deal.UF_LIST %}" + "{% if a.b %}{% else %}{% endif %}" * 500 + "{% endfor %}",
    "{% for a in deal.UF_LIST %}" + "{% set b = -1 %}" * 1000 + "{% endfor %}",
    "{% set a = deal.UF_NINES ~ deal.UF_NINES ~ deal.UF_NINES %}" + "{{ a|number }}",
    "{{ " + "9" * 4000 + " * 1 }}",
    "{{ ''.__class__.__mro__ }}",
    "{{ deal.__class__ }}",
    "{{ deal.values }}",
    "{{ deal._text }}",
    "{{ owner['__init__'] }}",
    "{{ deadline.tzinfo }}",
    "{{ (deadline - deadline).days }}",
    "{{ loop }}",
    "{% for a in [1] %}{{ loop.__init__ }}{% endfor %}",
    "{% for a in [1] %}{{ loop }}{% endfor %}",
    "{% for a in deal %}{% endfor %}",
    "{{ {}.items }}",
    "{{ self }}",
    "{{ cycler }}{{ namespace }}{{ lipsum }}",
    "{{ 1 / 0 }}",
    "{{ 'a' < 1 }}",
    "{{ deal.TITLE|sort(1, 2, 3) }}",
    "{{ [1, 'a']|sort }}",
    "{{ {[1]: 2} }}",
    "{{ none.x }}",
    "{{ 'abc'[::0] }}",
    "{{ deal[1:2] }}",
]


@pytest.mark.parametrize("source", BOMBS)
def test_a_bomb_is_refused_at_once(source):
    bomb_context = context("Ромашка", UF_TEXT="я" * 10_000, UF_LIST=["x"] * 500, UF_NINES="9" * 10_000, OPPORTUNITY=5)
    with pytest.raises(TemplateFault):
        render(source, context=bomb_context)


SIGNS = ("==", "!=", "<", "<=", ">", ">=", "in", "~", "+")
LONG = [
    *(f"{{{{ deal.UF_TEXT|{name} }}}}" for name in sorted(FILTERS) if not name.startswith(" ")),
    *(f"{{% if deal.UF_TEXT is {name} %}}{{% endif %}}" for name in ("defined", "string", "none", "true", "number")),
    *(f"{{% if deal.UF_TEXT is {name} 'x' %}}{{% endif %}}" for name in ("eq", "ne", "lt", "le", "gt", "ge", "in")),
    *(f"{{% if 'x' is {name} deal.UF_TEXT %}}{{% endif %}}" for name in ("eq", "ne", "lt", "le", "gt", "ge", "in")),
    *(
        f"{{% if deal.UF_TEXT {sign} 'x' %}}{{% endif %}}"
        for sign in ("==", "!=", "<", "<=", ">", ">=", "in", "~", "+")
    ),
    *(
        f"{{% if 'x' {sign} deal.UF_TEXT %}}{{% endif %}}"
        for sign in ("==", "!=", "<", "<=", ">", ">=", "in", "~", "+")
    ),
    *(f"{{% if 'x' {sign} deal.UF_MANY %}}{{% endif %}}" for sign in ("==", "!=", "in", "not in", "~")),
    *(f"{{% if 'x'|{name} %}}{{% endif %}}" for name in ("replace('x', deal.UF_TEXT)", "join(deal.UF_TEXT)")),
    *(f"{{% if deal.UF_TEXT[{cut}] %}}{{% endif %}}" for cut in ("1:", ":-1", "::-1", "::2")),
    "{% if {'x': deal.UF_TEXT} == {'x': 'y'} %}{% endif %}",
    "{% if 1 == 1 == deal.UF_TEXT %}{% endif %}",
    "{% for a in deal.UF_TEXT[:500] if a == 'x' %}{% endfor %}",
    "{{ deal.UF_TEXT }}",
    "{{ deal.UF_MANY }}",
]


@pytest.mark.parametrize("source", LONG)
def test_whatever_looks_at_a_long_text_is_counted_by_its_length(source, monkeypatch):
    """The budget is less than the text is long, so whoever goes on to look at it has not counted it."""
    known = context(UF_TEXT="я" * 10_000, UF_MANY=["я" * 100] * 100)
    assert check_template(source) == []
    monkeypatch.setattr("bitrix_sync.rules.filters.MAX_WORK", 4_000)
    with pytest.raises(TemplateFault, match="makes too much text"):
        render(source, context=known)


EXPRESSIONS = st.recursive(
    st.sampled_from(
        ["deal.TITLE", "deal.UF_LIST", "deal.ID", "owner", "deadline", "'x'", "7", "1.5", "none", "deal.NO"]
    ),
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(["~", "+", "-", "*", "/", "%", "in", "and", "<"]), inner),
        st.builds("({}|{})".format, inner, st.sampled_from(["upper", "join(deal.TITLE)", "replace('x', deal.TITLE)"])),
        st.builds(
            "({}|{})".format, inner, st.sampled_from(["int", "round", "first", "sort", "unique", "number", "date"])
        ),
        st.builds("[{}, {}]".format, inner, inner),
        st.builds("{}[{}]".format, inner, inner),
        st.builds("({} if {} else {})".format, inner, inner, inner),
    ),
    max_leaves=12,
)


STATEMENTS = st.recursive(
    st.one_of(
        EXPRESSIONS.map("{{{{ {} }}}}".format),
        EXPRESSIONS.map("{{% set v = {} %}}".format),
        st.just("text"),
    ),
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=6).map("".join),
        st.builds("{{% if {} %}}{}{{% else %}}{}{{% endif %}}".format, EXPRESSIONS, inner, inner),
        st.builds("{{% for w in {} %}}{}{{% endfor %}}".format, EXPRESSIONS | st.just("deal.UF_LIST"), inner),
        st.builds(lambda times, part: part * times, st.sampled_from([3, 30]), inner),
    ),
    max_leaves=15,
)
MOST_CALLS = 600_000
"""A third of a second. Counted, not measured: calls of Python and of C."""


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(STATEMENTS.filter(lambda source: len(source) <= 20_000))
def test_no_template_costs_more_than_its_budget(source):
    known = context("xx[b]" * 50, UF_LIST=["x" * 100] * 400)
    check_template(source)
    calls = 0

    def count(frame, event, argument):
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        render(source, context=known)
    except TemplateFault:
        pass
    finally:
        sys.setprofile(before)
    assert calls < MOST_CALLS


def test_what_is_only_long_is_cut():
    long = context("я" * 50_000, UF_LIST=["слово " * 50] * 500)
    assert len(render("{{ deal.TITLE }}", context=long)) == 10_000
    text = render("{% for x in deal.UF_LIST %}{{ x }}{{ x }}{{ x }}{% endfor %}", context=long)
    assert len(text) == 60_000
    assert text.endswith("…")


PIECES = [
    *("{{", "}}", "{%", "%}", "{#", "#}", " for a in ", "deal", ".", "TITLE", "UF_LIST", " ~ ", " + ", "*", "**", "("),
    *(
        ")",
        "[",
        "]",
        "{",
        "}",
        "'",
        '"',
        "|",
        "join",
        "replace",
        "('x','yy')",
        " if ",
        " else ",
        "endfor",
        "endif",
        "\n",
    ),
    *(
        " a ",
        "1",
        "999999999",
        ":",
        ",",
        " in ",
        " is ",
        "defined",
        "loop.index",
        "upper",
        "-",
        "set a = ",
        "%",
        " not ",
    ),
]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=25).map("".join) | st.text(max_size=30).map("{{{{{}}}}}".format))
def test_any_template_is_rendered_or_refused(source):
    problems, names = check_template(source), names_used(source)
    assert all(isinstance(one, str) and one for one in problems)
    assert all(re.fullmatch(r"[a-z]+(\..*)?", one, re.DOTALL) for one in names)
    try:
        text = render(source, context=context(UF_LIST=["x", "y"]))
    except TemplateFault as fault:
        text = str(fault)
    else:
        assert problems == []
    assert isinstance(text, str)


@settings(max_examples=300, deadline=None)
@given(EXPRESSIONS)
def test_any_expression_is_worked_out_or_refused(expression):
    source = "{{ " + expression + " }}"
    assert all(" has no " in problem for problem in check_template(source))
    try:
        text = render(source, context=context("xx[b]", UF_LIST=["x", "[i]"]))
    except TemplateFault as fault:
        assert str(fault)  # noqa: PT017 - either outcome is right
    else:
        assert "[" not in text
