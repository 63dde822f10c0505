"""The page: what it answers, to whom, and that nothing of the portal can act on it."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from jinja2 import nodes
from pydantic import SecretStr

from bitrix_sync.model.actions import Kind, unpack
from bitrix_sync.model.facts import DONE, Company, Deal, Department, Directory, Funnel, Stage, User, Visit
from bitrix_sync.model.operations import DeadlineChange, Decision, Operation, State, Trace
from bitrix_sync.report import REPORTS
from bitrix_sync.report.declaration import Form
from bitrix_sync.store import Store
from bitrix_sync.words.language import MESSAGES
from tests import postgres
from tests.world.blank import blank_store
from tests.world.office import office as office_of
from tests.world.records import (
    ANNA,
    DAY,
    FIRED,
    HOUR,
    IVAN,
    LAWYER,
    NOW,
    PORTAL,
    Door,
    Recorder,
    Standing,
    book,
    bustle,
    furnish,
    settings,
)
from webhooks import page
from webhooks.callers import CLIENTS_OWN, host_of, is_loopback, network_of, plain_address
from webhooks.page_auth import FORM, KNOWN, OF_A_CLIENT, OF_ALL, OF_MANY, SESSION, Attempts, PageAuth, Password
from webhooks.page_charts import Day, Part, bar, column, days, stay, strip
from webhooks.page_show import environment
from webhooks.page_tables import TABLES
from webhooks.server import create_app

PAGES = (
    "/",
    "/load",
    "/late",
    "/today",
    "/stages",
    "/moves",
    "/done",
    "/deals",
    "/week",
    "/service",
    "/rules",
    "/names",
    "/find?q=а",
)
PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store(blank_store(tmp_path_factory.mktemp("page") / "store.db")) as store:
        bustle(store)
        yield store


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store with what the rulebook keeps, and no deal."""
    with Store(blank_store(tmp_path_factory.mktemp("quiet") / "store.db")) as store:
        furnish(store)
        yield store


def web(store: Store, *, gate: PageAuth | None = None, **more: Any) -> tuple[Flask, Door]:
    door = Door(store, **more)
    return create_app(door, blueprints=[page.blueprint(door, gate=gate)]), door


@pytest.fixture
def client(busy: Store) -> FlaskClient:
    return web(busy)[0].test_client()


@pytest.fixture
def guarded(store: Store) -> FlaskClient:
    furnish(store)
    return web(store, settings=settings(BITRIX_PAGE_PASSWORD=PASSWORD))[0].test_client()


class Reader(HTMLParser):
    """What is in a page: tags with attributes, text, and whether tags are closed in order."""

    VOID = frozenset({"meta", "link", "input", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += f" {data}"

    def links(self) -> set[str]:
        return {attrs["href"] for tag, attrs in self.tags if tag == "a"}


def read(client: FlaskClient, path: str, status: int = 200) -> Reader:
    answer = client.get(path)
    assert answer.status_code == status, path
    return Reader(answer.text)


def plain(reader: Reader) -> str:
    return " ".join(reader.text.split())


# --- what a manager asks ---------------------------------------------------------------------------------------------


def test_the_overview_answers_the_four_questions(store: Store) -> None:
    furnish(store)
    office = Recorder(store)
    for number in range(7):
        office.task(f"завтра {number}", ANNA, NOW + DAY)
    office.task("одна", IVAN, NOW + DAY)
    office.deal("Станки для Вектора", ("AGREEMENT", NOW - 30 * DAY), by=IVAN)
    slipping = office.task("скользит", IVAN, NOW + DAY)
    for _ in range(4):
        office.slip(slipping, "sweep")
    office.sweep("2026-03-11/evening", NOW - DAY, moved=5)
    told = plain(read(web(store)[0].test_client(), "/"))
    assert "Кто перегружен завтра? пт 13 марта Анна Петрова — 7 задач: со сроком 7, просроченных сейчас 0." in told
    assert "Станки для Вектора ↗ — на стадии «Согласование» уже 30 дн, предел: 5 рабочих дней." in told
    assert "Чьи сроки сдвигаются чаще всего? Иван Сидоров — 9 переносов за 30 дней: обходами 9, людьми 0." in told
    assert "Прошёл ли вечерний обход? Да — ср 11 марта, 18:30: ✓ прошёл Просрочено было 5, перенесено 5." in told


def test_a_missed_sweep_and_a_portal_without_deals_are_told_at_once(store: Store) -> None:
    furnish(store)
    store.flags.sees_no_deals = NOW
    told = plain(read(web(store)[0].test_client(), "/"))
    assert "портал не показал ни одной сделки" in told
    assert "Обход пропущен: Вечерний, ср 11 марта, 18:30." in told
    assert "Прошёл ли вечерний обход? Нет — ср 11 марта, 18:30: ✗ пропущен" in told


def test_on_friday_the_next_working_day_is_not_called_tomorrow(store: Store) -> None:
    furnish(store)
    told = plain(read(web(store, now=NOW + DAY)[0].test_client(), "/"))
    assert "Кто перегружен в следующий рабочий день? пн 16 марта" in told


def test_without_limits_the_longest_stays_are_shown(store: Store) -> None:
    furnish(store, book(limits=False, sweeps=False))
    Recorder(store).deal("Долгая", ("NEW", NOW - 20 * DAY))
    told = plain(read(web(store)[0].test_client(), "/"))
    assert "В правилах нет пределов" in told
    assert "Долгая" in told
    assert "Обходов в правилах нет" in told


def test_an_empty_store_has_pages_too(store: Store) -> None:
    client = web(store, standing=Standing(False, "starting"))[0].test_client()
    for path in PAGES:
        told = plain(read(client, path))
        assert "Служба не работает" in told
        assert "Портал ещё не прочитан" in told


@pytest.mark.parametrize("path", [*PAGES, "/deals/191", f"/people/{IVAN}", "/late?all=1", "/find?q=склад"])
@pytest.mark.parametrize("language", ["ru", "en"])
def test_every_page_is_whole_and_speaks_the_files_language(busy: Store, path: str, language: str) -> None:
    furnish(busy, book(language))
    reader = read(web(busy)[0].test_client(), path)
    assert reader.tags[0][1]["lang"] == language
    heading = {"ru": "Обзор", "en": "Overview"}[language]
    assert heading in reader.text
    furnish(busy)


def test_lists_are_cut_with_a_count_and_a_link_to_the_whole(store: Store) -> None:
    furnish(store)
    office = Recorder(store)
    for number in range(60):
        office.task(f"дело {number}", ANNA, NOW - (number + 1) * HOUR)
    client = web(store)[0].test_client()
    reader = read(client, "/late")
    assert "Показано 50 из 60." in plain(reader)
    assert "/late?all=1" in reader.links()
    assert reader.text.count("дело ") == 50
    whole = read(client, "/late?all=1")
    assert whole.text.count("дело ") == 60
    assert "Показано" not in whole.text


def test_links_open_task_and_deal_in_the_portal(client: FlaskClient) -> None:
    reader = read(client, "/late")
    outside = [attrs for tag, attrs in reader.tags if tag == "a" and attrs["href"].startswith("http")]
    assert any(
        re.fullmatch(rf"{PORTAL}/company/personal/user/\d+/tasks/task/view/\d+/", one["href"]) for one in outside
    )
    assert any(re.fullmatch(rf"{PORTAL}/crm/deal/details/\d+/", one["href"]) for one in outside)
    assert all(one["href"].startswith(f"{PORTAL}/") for one in outside)
    assert all(one["rel"] == "noopener noreferrer" for one in outside)


def test_what_is_late_stays_on_its_list_after_a_sweep_and_is_marked_if_overdue_now(store: Store) -> None:
    furnish(store)
    office = Recorder(store)
    office.task("Перенесённая", ANNA, NOW + DAY, first_deadline=NOW - 3 * DAY, moves_by_us=1)
    office.task("Просроченная", IVAN, NOW - DAY)
    office.task("Впереди", IVAN, NOW + DAY)
    client = web(store)[0].test_client()
    told = plain(read(client, "/late"))
    assert "Перенесённая" in told
    assert "Впереди" not in told
    assert told.count("▲ да") == 1
    assert client.get("/overdue?person=6").headers["Location"] == "/late?person=6&sort=overdue&desc=1"


def titles(client: FlaskClient, path: str) -> list[str]:
    return re.findall(r"дело \w", plain(read(client, path)))


def test_lists_are_filtered_and_sorted_by_the_address(store: Store) -> None:
    furnish(store)
    office = Recorder(store)
    office.task("дело б", ANNA, NOW - 3 * DAY, rule_id="offer")
    office.task("дело а", IVAN, NOW - 2 * DAY)
    office.task("дело в", LAWYER, NOW - DAY)
    client = web(store)[0].test_client()
    assert titles(client, "/late") == ["дело б", "дело а", "дело в"]
    assert titles(client, "/late?sort=task") == ["дело а", "дело б", "дело в"]
    assert titles(client, "/late?sort=task&desc=1") == ["дело в", "дело б", "дело а"]
    assert titles(client, "/late?department=4") == ["дело в"]
    assert titles(client, f"/late?person={ANNA}") == ["дело б"]
    assert titles(client, "/late?rule=offer") == ["дело б"]
    assert titles(client, "/late?department=3&sort=owner&desc=1") == ["дело а", "дело б"]
    assert {"/late?department=3&sort=task", "/csv/late?department=3"} <= read(client, "/late?department=3").links()
    assert "Анна Петрова" not in client.get("/csv/late?department=4").text
    chosen = [
        attrs for tag, attrs in read(client, "/late?department=3").tags if tag == "option" and "selected" in attrs
    ]
    assert [one["value"] for one in chosen] == ["3"]


@pytest.mark.parametrize("wrong", ["department=нет", "person=4711", "funnel=99", "rule=нет"])
def test_a_filter_that_means_nothing_is_told_on_the_page(client: FlaskClient, wrong: str) -> None:
    answer = client.get("/late", query_string=wrong)
    assert 'class="alert bad"' in answer.text
    assert "<tbody>" not in answer.text
    assert client.get("/csv/late", query_string=wrong).status_code == 404


def test_the_weeks_stand_side_by_side_and_their_numbers_lead_to_their_tasks(store: Store) -> None:
    furnish(store)
    office, last = Recorder(store), NOW - 7 * DAY
    office.task("дело а", ANNA, last, status=DONE, closed=last - HOUR)
    office.task("дело б", ANNA, last, status=DONE, closed=last + HOUR)
    office.task("дело в", IVAN, last)
    client = web(store)[0].test_client()
    reader = read(client, "/week")
    assert "Сдержано обещаний" in plain(reader)
    assert "2–8 марта 3 1 2 33" in plain(reader).replace("\u00a0", " ")
    period = "since=2026-03-02&until=2026-03-08"
    assert f"/tasks?what=late&{period}" in reader.links()
    assert titles(client, f"/tasks?what=due&{period}") == ["дело а", "дело б", "дело в"]
    assert titles(client, f"/tasks?what=kept&{period}") == ["дело а"]
    assert titles(client, f"/tasks?what=late&{period}") == ["дело б", "дело в"]
    assert titles(client, f"/tasks?what=done&{period}&person={IVAN}") == []
    people = plain(reader).partition("Кто сдержал обещания прошлой недели")[2]
    assert people.index("Иван Сидоров") < people.index("Анна Петрова"), "whoever kept the least comes first"


def test_a_department_is_told_with_its_people_and_its_weeks(store: Store) -> None:
    furnish(store)
    Recorder(store).task("дело а", LAWYER, NOW - 7 * DAY)
    client = web(store)[0].test_client()
    told = plain(read(client, "/departments/4"))
    assert "Юридический отдел Руководитель: Лариса Котова" in told
    assert "Юрий Белов" in told, "also those who have nothing to do"
    assert {"/departments/1", "/late?department=4", f"/people/{LAWYER}"} <= read(client, "/departments/4").links()
    assert client.get("/departments/44").status_code == 404


def test_the_history_of_a_deadline_has_names_and_reasons(store: Store) -> None:
    furnish(store)
    office = Recorder(store)
    deal = office.deal("Станки", ("PREPARATION", NOW - 5 * DAY))
    task = office.task("Предложение", ANNA, NOW + DAY, rule_id="offer", deal_id=deal, first_deadline=NOW - 2 * DAY)
    slot = "2026-03-11/evening"
    office.slip(task, "sweep", sweep=slot)
    office.record(slips=(DeadlineChange(task.ref, NOW, NOW + DAY, "people", NOW, mover=FIRED),))
    data = {"sweep": slot, "before": "", "after": (NOW + DAY).isoformat(), "fits": False, "refused": []}
    trace = Trace(deal, task.visit_id, "offer", "swept", NOW - DAY, data)
    office.record(decisions=(Decision(deal, traces=(trace,)),))
    told = plain(read(web(store)[0].test_client(), f"/deals/{deal}")).partition("Как менялись сроки")[2]
    assert "Первый срок: вт 10 марта" in told
    assert "обход 2026-03-11/evening" in told
    assert "Фёдор Бывший больше не работает" in told
    assert told.index("обход") < told.index("места") < told.index("Фёдор"), "why the sweep chose that day"


def test_an_open_tab_refreshes_itself_and_says_how_old_it_is(client: FlaskClient) -> None:
    reader = read(client, "/late?department=3")
    assert ("meta", {"http-equiv": "refresh", "content": "300"}) in reader.tags
    assert "Данные на чт 12 марта, 14:00" in plain(reader)


def test_every_link_of_the_page_leads_somewhere(client: FlaskClient) -> None:
    seen, todo = set(), ["/"]
    while todo:
        path = todo.pop().partition("#")[0]
        kind = re.sub(r"[?&]sort=\w+(&desc=1)?", "?sort", re.sub(r"\d+", "n", path))
        if kind in seen or not path.startswith("/"):
            continue
        seen.add(kind)
        answer = client.get(path)
        assert answer.status_code == 200, path
        if answer.mimetype == "text/html":
            todo += Reader(answer.text).links()
    assert {"/load", "/deals/n", "/people/n", "/csv/load", "/rules"} <= seen


def test_anchors_exist(client: FlaskClient) -> None:
    anchors = {link for path in PAGES for link in read(client, path).links() if "#" in link}
    assert anchors
    for link in anchors:
        path, _, name = link.partition("#")
        assert name in {attrs.get("id") for _, attrs in read(client, path).tags}, link


def test_one_deal_is_told_with_path_tasks_and_reasons(busy: Store, client: FlaskClient) -> None:
    told = plain(read(client, "/deals/191"))
    assert "Склад под ключ — Меридиан" in told
    assert "Презентация Продажи вс 8 марта, 14:00 сейчас здесь 4 дн Анна Петрова" in told
    assert "есть открытые задачи" in told


def test_what_is_held_failed_and_done_is_told_with_reasons(client: FlaskClient) -> None:
    told = plain(read(client, "/service"))
    assert "Не заполнено поле «Дата подписания»." in told
    assert "CRM_FIELD_ERROR_REQUIRED" in told
    assert "Поставить задачу : Договор без исполнителя" in told.replace("задачу:", "задачу :")
    assert "запись 4711" in told


def test_a_refused_file_and_the_rules_in_force_are_shown(store: Store) -> None:
    furnish(store, source="version: 1 # <b>целиком</b>")
    store.flags.rules_error = "rules.yaml:14:9: funnels > Продажи: нет такой стадии\nrules.yaml:20:1: ещё одна"
    client = web(store)[0].test_client()
    told = plain(read(client, "/rules"))
    assert "rules.yaml:14:9: funnels > Продажи: нет такой стадии" in told
    assert "отдел «Юридический отдел», наименее загруженный" in told
    assert "version: 1 # <b>целиком</b>" in told
    assert "Ошибок: 2." in plain(read(client, "/"))


def test_a_number_leads_to_its_deal_and_words_to_a_list(client: FlaskClient) -> None:
    answer = client.get("/find?q=%23191")
    assert (answer.status_code, answer.location) == (303, "/deals/191")
    assert client.get("/find?q=https%3A//portal.example/crm/deal/details/191/").location == "/deals/191"
    reader = read(client, "/find?" + urlencode({"q": "петрова"}))
    assert f"/people/{ANNA}" in reader.links()
    assert "Ничего не нашлось" in read(client, "/find?q=99999999999999999999").text


def test_what_can_be_written_in_the_file_is_listed_and_searched(store: Store, client: FlaskClient) -> None:
    assert "/names" in read(client, "/").links()
    told = plain(read(client, "/names"))
    assert "Воронки и стадии" in told
    assert "Что известно о портале" in told
    reader = read(client, "/names?of=people")
    assert "Анна Петрова" in plain(reader)
    found = plain(read(client, "/names?" + urlencode({"q": "Анна Петрова"})))
    assert "Анна Петрова" in found
    assert "Ничего с «zzz» не нашлось" in plain(read(client, "/names?q=zzz"))
    assert "Воронки и стадии" in plain(read(client, "/names?of=nonsense"))
    assert "Портал ещё не прочитан" in plain(read(web(store)[0].test_client(), "/names"))


def test_reports_can_be_downloaded_for_a_spreadsheet(client: FlaskClient) -> None:
    answer = client.get("/csv/stages")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="stages.csv"'
    assert answer.text.startswith("\ufefffunnel_id;funnel;stage_id;stage;")
    assert client.get("/csv/secrets").status_code == 404


@pytest.mark.parametrize(
    "path", ["/nothing", "/deals/4711", "/people/4711", "/csv/x", "/deals/x", "/static/x.css", "/static/../page.py"]
)
def test_what_does_not_exist_is_answered_with_404(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.headers["Content-Security-Policy"] == page.POLICY


ODD = (
    *(str(number) for number in (0, -1, 2**63 - 1, 2**63, 10**30)),
    *(
        "9" * 5000,
        "٣",
        "1e5",
        "0x10",
        "１２",
        "%00",
        "%ff%fe",
        "%ED%A0%80",
        "//[",
        "//[x]:y",
        "[",
        "http://[::1",
        "?#",
        "%0d%0a",
    ),
    *(
        "\u2028",
        "'\"--",
        "a" * 9000,
        "..%2f..%2f",
        "%u0041",
        "+",
        "&",
        "=",
        "null",
        "{{7*7}}",
        "\\\\[",
        "/" * 300,
        "-0",
        "1.0",
    ),
)


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: odd[:12].encode("unicode_escape").decode())
@pytest.mark.parametrize("inside", [False, True], ids=["outside", "inside"])
def test_nothing_odd_in_an_address_a_query_a_form_or_a_cookie_is_an_error(
    quiet: Store, odd: str, inside: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Of every address that there is: a refusal may be the stranger's fault, a 500 would be ours."""
    given = {} if inside else {"BITRIX_PAGE_PASSWORD": PASSWORD}
    app = web(quiet, settings=settings(**given))[0]
    client = app.test_client()
    rules = [rule for rule in app.url_map.iter_rules() if rule.methods]
    assert len(rules) > 15
    names = ("q", "all", "next", "token", "password", "deal_id", "anything")
    for rule in rules:
        path = re.sub(r"<[^>]*>", lambda _: odd, rule.rule)
        query = "&".join(f"{name}={odd}" for name in names)
        for method in sorted((rule.methods or set()) - {"OPTIONS", "HEAD"}):
            for address in (f"{path}?{query}",) if "<" in rule.rule else (f"{path}?{query}", f"{path}{odd}"):
                for cookie in (SESSION, FORM, KNOWN):
                    client.set_cookie(cookie, odd[:2000], path="/")
                form = {"content_type": "application/x-www-form-urlencoded", "data": query} if method == "POST" else {}
                with client.open(address, method=method, **form) as answer:
                    assert answer.status_code < 500, f"{method} {address[:200]}"
    said = [record for record in caplog.records if record.thread == threading.get_ident()]
    assert not said, "no traceback, and no other complaint of ours"


@pytest.mark.parametrize("host", ["[", "]", "[::1", "a b", "a:b:c", "é", "", "localhost:99999", "@", "//[", "x" * 300])
def test_no_name_of_this_machine_is_an_error(guarded: FlaskClient, client: FlaskClient, host: str) -> None:
    for browser in (guarded, client):
        for path in ("/", "/login", "/nothing", "/healthz"):
            assert browser.get(path, headers={"Host": host}).status_code < 500
            assert browser.get(path, headers={"X-Forwarded-For": host, "Cookie": host}).status_code < 500


@pytest.mark.skipif(bool(postgres.server()), reason="of a file")
def test_a_store_that_does_not_answer_is_told(store: Store) -> None:
    furnish(store)
    client = web(store)[0].test_client()
    store.close()
    path = Path(store.name)
    path.unlink()
    for rest in ("-wal", "-shm"):
        path.with_name(path.name + rest).unlink(missing_ok=True)
    path.mkdir()
    answer = client.get("/")
    assert answer.status_code == 503
    assert "База данных не отвечает" in answer.text


def test_a_living_service_shows_its_page_and_asks_the_portal_nothing_for_it(tmp_path: Path) -> None:
    with office_of(tmp_path) as place:
        deal = place.add_deal("Romashka")
        place.service.turn(set(), wide=True)
        requests = place.service.requests
        client = create_app(place.service, blueprints=[page.blueprint(place.service)]).test_client()
        for path in (*PAGES, f"/deals/{deal}", "/people/5"):
            read(client, path)
        told = plain(read(client, f"/deals/{deal}"))
        assert "Call: Romashka" in told
        assert "Task “Call: Romashka”" in told
        assert "The service works" in told
        assert place.service.requests == requests


# --- nothing of the portal can act -----------------------------------------------------------------------------------

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7*7 }}\u202e"


@pytest.fixture
def evil(store: Store) -> FlaskClient:
    """A portal in which everything that people may name is an attack."""
    company = Company({5: User(5, EVIL, departments=(3,))}, {3: Department(3, EVIL, head_id=5)})
    funnels = (Funnel(0, EVIL, (Stage("NEW", EVIL, 0), Stage("AGREEMENT", EVIL, 0))),)
    furnish(store, directory=Directory(funnels, {}, company), source=EVIL)
    office = Recorder(store)
    stage = Visit(1, 7, 1, 0, "AGREEMENT", "P", NOW - 40 * DAY)
    deal = Deal(7, EVIL, 0, "AGREEMENT", "P", 5, 5, 0, 0, NOW, NOW, 5)
    trace = Trace(7, 1, EVIL, "cannot_judge", NOW, {"field": EVIL, "value": EVIL, "wanted": EVIL})
    office.record(visits=(stage,), deals=(deal,), decisions=(Decision(7, traces=(trace,)),))
    task = office.task(EVIL, 5, NOW - DAY, deal_id=7, moves_by_us=1)
    office.task(EVIL, 5, NOW + HOUR, deal_id=7)
    office.slip(task, "sweep")
    failed = Operation("x", unpack(Kind.MOVE_DEAL, {"stage": EVIL, "visit": 1}), 7)
    office.operation(failed, State.FAILED, error_code=EVIL, error_text=EVIL)
    store.flags.rules_error = EVIL
    return web(store, standing=Standing(False, EVIL))[0].test_client()


@pytest.mark.parametrize("path", [*PAGES, "/deals/7", "/people/5", "/find?" + urlencode({"q": EVIL}), "/find?q=script"])
def test_names_from_the_portal_are_text_and_nothing_else(evil: FlaskClient, path: str) -> None:
    answer = evil.get(path)
    assert answer.status_code == 200
    reader = Reader(answer.text)
    assert not {tag for tag, _ in reader.tags} & {"script", "img", "iframe", "object", "style"}
    assert not [name for _, attrs in reader.tags for name in attrs if name.startswith("on") or name == "style"]
    assert "<script>alert(1)" in reader.text
    assert "49" not in reader.text.replace("2049", "")


@pytest.mark.parametrize("path", PAGES)
def test_the_page_needs_no_script_and_no_other_host(client: FlaskClient, path: str) -> None:
    reader = read(client, path)
    assert "script" not in {tag for tag, _ in reader.tags}
    loaded = [attrs.get("src") or attrs["href"] for tag, attrs in reader.tags if tag == "link" or "src" in attrs]
    assert loaded == ["/static/icon.svg", "/static/page.css"]
    assert all(attrs["action"].startswith("/") for tag, attrs in reader.tags if tag == "form")


@pytest.mark.parametrize("path", ["/", "/nothing", "/static/page.css", "/csv/load", "/login"])
def test_every_answer_is_hardened(client: FlaskClient, path: str) -> None:
    with client.get(path) as answer:
        headers = answer.headers
    assert headers["Content-Security-Policy"] == (
        "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    )
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == ("public, max-age=3600" if "static" in path else "no-store")


# --- who may look ----------------------------------------------------------------------------------------------------

REMOTE = {"REMOTE_ADDR": "192.0.2.7"}
NGINX_BY_DEFAULT: dict[str, Any] = {"environ_overrides": {"SERVER_PROTOCOL": "HTTP/1.0"}}


@pytest.mark.parametrize("path", [*PAGES, "/static/page.css", "/csv/load", "/login", "/nothing"])
def test_without_a_password_the_page_answers_to_loopback_only(client: FlaskClient, path: str) -> None:
    answer = client.get(path, environ_overrides=REMOTE)
    assert answer.status_code == 403
    assert "BITRIX_PAGE_PASSWORD" in answer.text
    assert "Петрова" not in answer.text


PROXY_HEADERS = (
    *("X-Forwarded", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Server", "Via"),
    *("X-Forwarded-Prefix", "X-Forwarded-Ssl", "X-Forward-For", "X-Client-IP", "Client-IP", "X-Cluster-Client-IP"),
    *("X-Original-Forwarded-For", "X-Original-Host", "X-Original-URL", "X-Originating-IP", "X-Remote-IP"),
    *("X-Remote-Addr", "X-Scheme", "X-Host", "X-URL-Scheme", "Front-End-Https", "True-Client-IP", "CF-Connecting-IP"),
    *("CF-Ray", "CF-Visitor", "CDN-Loop", "Fastly-Client-IP", "Fastly-FF", "Akamai-Origin-Hop", "X-Azure-ClientIP"),
    *("X-ARR-LOG-ID", "X-Amzn-Trace-Id", "X-Envoy-External-Address", "X-Request-Id", "Fly-Client-IP", "ProxyUser-IP"),
    *(
        "X-Varnish",
        "WL-Proxy-Client-IP",
        "Proxy-Connection",
        "X-Traefik-Anything",
        "Traceparent",
        "X-Invented-Tomorrow",
    ),
)


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "192.0.2.7"},
        {"X-Forwarded-For": "127.0.0.1"},
        {"Forwarded": "for=192.0.2.7"},
        {"X-Real-IP": "127.0.0.1"},
        *({name: "127.0.0.1"} for name in PROXY_HEADERS),
        {"Host": "evil.example"},
        {"Host": "evil.example:8080"},
        {"Host": "localhost.evil.example"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "10.0.0.5"},
    ],
)
def test_a_request_passed_on_or_meant_for_another_name_is_not_local(
    client: FlaskClient, headers: dict[str, str]
) -> None:
    assert client.get("/", headers=headers).status_code == 403


def test_http_1_0_closes_the_page_without_a_password(client: FlaskClient) -> None:
    """nginx asks so unless it is told otherwise, with the Host of this machine and without a header of its own."""
    assert client.get("/", **NGINX_BY_DEFAULT).status_code == 403


BROWSER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Safari/537.36"


@pytest.mark.parametrize("connection", [None, "", "close"])
def test_a_browser_that_does_not_keep_its_connection_was_passed_on(client: FlaskClient, connection: str | None) -> None:
    """nginx since 1.29.7 asks by HTTP/1.1, with the Host of this machine, and says nothing of the connection."""
    headers = {"User-Agent": BROWSER} | ({} if connection is None else {"Connection": connection})
    assert client.get("/", headers=headers).status_code == 403
    assert client.get("/", headers={"User-Agent": BROWSER, "Connection": "keep-alive"}).status_code == 200


@pytest.mark.parametrize("asked", ["http://evil.example/", "http://127.0.0.1:8080/", "*", ""])
def test_who_asks_by_a_whole_address_asks_a_proxy(client: FlaskClient, asked: str) -> None:
    assert client.get("/", environ_overrides={"REQUEST_URI": asked}).status_code == 403


def test_what_a_client_sends_by_itself_is_no_sign_of_a_proxy(client: FlaskClient) -> None:
    own = dict.fromkeys(CLIENTS_OWN - {"host", "content-length", "transfer-encoding", "cookie"}, "x")
    assert client.get("/", headers={**own, "Sec-Fetch-Mode": "navigate", "Sec-CH-UA": "x"}).status_code == 200


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Real-IP", "Forwarded", "Client-IP", "True-Client-IP"])
def test_no_header_makes_a_stranger_local(client: FlaskClient, header: str) -> None:
    assert client.get("/", headers={header: "127.0.0.1"}, environ_overrides=REMOTE).status_code == 403


@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "127.0.0.1:8080", "[::1]:8080", "127.0.0.5"])
def test_this_machine_by_any_of_its_names_is_let_in(client: FlaskClient, host: str) -> None:
    assert client.get("/", headers={"Host": host}).status_code == 200
    six = client.get("/", headers={"Host": host}, environ_overrides={"REMOTE_ADDR": "::1"})
    assert six.status_code == 200


def log_in(client: FlaskClient, password: str = PASSWORD, **more: Any) -> Any:
    form = Reader(client.get("/login", **more).text)
    token = next(attrs["value"] for tag, attrs in form.tags if tag == "input" and attrs["name"] == "token")
    return client.post("/login", data={"token": token, "password": password, "next": "/load"}, **more)


def test_with_a_password_everybody_logs_in_also_this_machine(guarded: FlaskClient) -> None:
    for path in PAGES:
        answer = guarded.get(path)
        assert answer.status_code == 303
        assert answer.location.startswith("/login")
    assert guarded.get("/csv/load").status_code == 303
    with guarded.get("/static/page.css") as sheet:
        assert sheet.status_code == 200
    answer = log_in(guarded)
    assert (answer.status_code, answer.location) == (303, "/load")
    assert read(guarded, "/")
    assert guarded.get("/login").location == "/"


def test_a_stranger_from_afar_may_log_in_whatever_name_he_uses(guarded: FlaskClient) -> None:
    far: dict[str, Any] = {"environ_overrides": REMOTE, "base_url": "http://page.example"}
    assert log_in(guarded, **far).status_code == 303
    assert guarded.get("/", **far).status_code == 200


def test_the_session_cookie_is_strict_and_never_seen_by_scripts(guarded: FlaskClient) -> None:
    cookies = log_in(guarded).headers.getlist("Set-Cookie")
    session = next(cookie for cookie in cookies if cookie.startswith(SESSION))
    assert "HttpOnly" in session
    assert "SameSite=Strict" in session
    assert "Secure" not in session
    guarded.delete_cookie(SESSION)
    over_https = log_in(guarded, base_url="https://localhost").headers.getlist("Set-Cookie")
    assert all("Secure" in cookie for cookie in over_https if cookie.startswith(SESSION))


def test_a_wrong_password_is_refused(guarded: FlaskClient) -> None:
    answer = log_in(guarded, "wrong")
    assert answer.status_code == 403
    assert "Пароль не подошёл" in answer.text
    assert guarded.get("/").status_code == 303


@pytest.mark.parametrize("forged", ["", "x", "x.y.z", "a.b.c" * 100, "é"])
def test_a_forged_session_is_none(guarded: FlaskClient, forged: str) -> None:
    guarded.set_cookie(SESSION, forged)
    assert guarded.get("/").status_code == 303


def test_a_session_ends_after_twelve_hours_and_with_the_password(store: Store) -> None:
    furnish(store)
    client = web(store, settings=settings(BITRIX_PAGE_PASSWORD=PASSWORD))[0].test_client()
    with time_machine.travel(NOW, tick=False) as clock:
        log_in(client)
        cookie = client.get_cookie(SESSION)
        assert cookie is not None
        assert client.get("/").status_code == 200
        again = web(store, settings=settings(BITRIX_PAGE_PASSWORD=PASSWORD))[0].test_client()
        again.set_cookie(SESSION, cookie.value)
        assert again.get("/").status_code == 200, "a restart of the service ends no session"
        clock.shift(11 * HOUR)
        assert again.get("/").status_code == 200
        clock.shift(2 * HOUR)
        again.set_cookie(SESSION, cookie.value)
        assert again.get("/").status_code == 303
        log_in(again)
        cookie = again.get_cookie(SESSION)
        assert cookie is not None
        other = web(store, settings=settings(BITRIX_PAGE_PASSWORD="another"))[0].test_client()
        other.set_cookie(SESSION, cookie.value)
        assert other.get("/").status_code == 303


def test_the_form_of_another_site_cannot_log_in_or_out(guarded: FlaskClient) -> None:
    assert guarded.post("/login", data={"password": PASSWORD}).status_code == 400
    stolen = Reader(guarded.get("/login").text)
    token = next(attrs["value"] for tag, attrs in stolen.tags if tag == "input" and attrs["name"] == "token")
    guarded.delete_cookie(FORM, path="/login")
    assert guarded.post("/login", data={"password": PASSWORD, "token": token}).status_code == 400
    log_in(guarded)
    assert guarded.post("/logout").status_code == 400
    assert guarded.get("/").status_code == 200


def test_logging_out_takes_the_session_away(guarded: FlaskClient) -> None:
    log_in(guarded)
    home = read(guarded, "/")
    token = next(attrs["value"] for tag, attrs in home.tags if tag == "input" and attrs.get("name") == "token")
    copied = guarded.get_cookie(SESSION)
    assert copied is not None
    assert guarded.post("/logout", data={"token": token}).location == "/login"
    assert guarded.get("/").status_code == 303
    guarded.set_cookie(SESSION, copied.value)
    assert guarded.get("/").status_code == 303, "the session is over also where its cookie was kept"


def test_a_logout_ends_one_session_and_a_new_password_all_of_them_for_good(store: Store) -> None:
    furnish(store)

    def browser(password: str | None) -> FlaskClient:
        given = {} if password is None else {"BITRIX_PAGE_PASSWORD": password}
        return web(store, settings=settings(**given))[0].test_client()

    first, second = browser(PASSWORD), browser(PASSWORD)
    for one in (first, second):
        log_in(one)
    form = read(first, "/")
    token = next(attrs["value"] for tag, attrs in form.tags if tag == "input" and attrs.get("name") == "token")
    first.post("/logout", data={"token": token})
    assert second.get("/").status_code == 200
    cookie = second.get_cookie(SESSION)
    assert cookie is not None
    for between in ("another", None):
        log_in(again := browser(PASSWORD))
        kept = again.get_cookie(SESSION)
        assert kept is not None
        browser(between)
        back = browser(PASSWORD)
        for value in (cookie.value, kept.value):
            back.set_cookie(SESSION, value)
            assert back.get("/").status_code == 303


@pytest.mark.parametrize(
    "wanted",
    ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "evil", "/a\r\nb", ""],
)
def test_the_way_back_after_login_stays_on_the_page(guarded: FlaskClient, wanted: str) -> None:
    form = Reader(guarded.get("/login?" + urlencode({"next": wanted})).text)
    token = next(attrs["value"] for tag, attrs in form.tags if tag == "input" and attrs["name"] == "token")
    answer = guarded.post("/login", data={"token": token, "password": PASSWORD, "next": wanted})
    assert (answer.status_code, answer.location) == (303, "/")


def test_a_page_below_a_folder_stays_in_it(store: Store) -> None:
    """Links, forms, redirects and cookies, so that many portals' pages can stand side by side on one host."""
    furnish(store)
    client = web(store, gate=PageAuth(Password(SecretStr(PASSWORD)), store))[0].test_client()
    below = {"base_url": "http://localhost/p/north/"}
    first = client.get("/overdue", **below)
    assert first.headers["Location"] == "/p/north/login?next=/overdue"
    form = client.get("/login?next=/overdue", **below)
    token = re.search(r'name="token" value="([^"]+)"', form.text)
    assert token
    done = client.post("/login", data={"token": token[1], "password": PASSWORD, "next": "/overdue"}, **below)
    assert done.headers["Location"] == "/p/north/overdue"
    cookies = [*form.headers.getlist("Set-Cookie"), *done.headers.getlist("Set-Cookie")]
    assert {re.search("Path=([^;]+)", one)[1] for one in cookies} == {"/p/north", "/p/north/login"}  # type: ignore[index]
    shown = client.get("/", **below).text
    inside = re.findall(r'(?:href|action)="(/[^"]*)"', form.text + shown)
    assert len(inside) > 20
    assert [link for link in inside if not link.startswith("/p/north/")] == []


def test_guessing_is_slowed_down_by_address(store: Store) -> None:
    furnish(store)
    now = [0.0]
    gate = PageAuth(Password(SecretStr(PASSWORD)), store, clock=lambda: now[0])
    client = web(store, gate=gate)[0].test_client()
    for _ in range(OF_A_CLIENT.burst):
        assert log_in(client, "guess").status_code == 403
    slowed = log_in(client)
    assert (slowed.status_code, slowed.headers["Retry-After"]) == (429, str(int(OF_A_CLIENT.every)))
    elsewhere = log_in(client, environ_overrides=REMOTE)
    assert elsewhere.status_code == 303
    now[0] = OF_A_CLIENT.every
    client.delete_cookie(SESSION)
    client.delete_cookie(KNOWN, path="/login")
    assert log_in(client).status_code == 303


def test_guessing_from_many_addresses_is_slowed_down_in_all() -> None:
    now = [0.0]
    attempts = Attempts(lambda: now[0])

    def begin(address: str) -> float:
        return attempts.begin((address, OF_A_CLIENT), ("all", OF_ALL))

    for number in range(OF_ALL.burst):
        assert begin(f"192.0.2.{number}") == 0
    assert begin("198.51.100.1") == pytest.approx(OF_ALL.every)
    now[0] = OF_ALL.every
    assert begin("198.51.100.1") == 0
    assert begin("198.51.100.2") > 0


def test_the_right_password_is_not_counted() -> None:
    attempts = Attempts(lambda: 0.0)
    for _ in range(3 * OF_A_CLIENT.burst):
        assert attempts.begin(("a", OF_A_CLIENT)) == 0
        attempts.forgive(("a", OF_A_CLIENT))


def test_wrong_passwords_through_a_proxy_that_nobody_named_lock_nobody_out(store: Store) -> None:
    """Behind one address everybody may stand: it is slowed down later, and less, than a client of its own is."""
    furnish(store)
    now = [0.0]
    gate = PageAuth(Password(SecretStr(PASSWORD)), store, clock=lambda: now[0])
    strangers, managers = (web(store, gate=gate)[0].test_client() for _ in range(2))
    for _ in range(OF_A_CLIENT.burst + 1):
        assert log_in(strangers, "guess", **NGINX_BY_DEFAULT).status_code == 403
    assert log_in(managers, **NGINX_BY_DEFAULT).status_code == 303
    while log_in(strangers, "guess", **NGINX_BY_DEFAULT).status_code == 403:
        pass
    managers.delete_cookie(SESSION)
    assert log_in(managers, **NGINX_BY_DEFAULT).status_code == 303, "a browser that was let in before counts by itself"
    new = web(store, gate=gate)[0].test_client()
    answer = log_in(new, **NGINX_BY_DEFAULT)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, str(int(OF_MANY.every)))
    now[0] = OF_MANY.every
    assert log_in(new, **NGINX_BY_DEFAULT).status_code == 303


@pytest.mark.parametrize("proxy", ["127.0.0.1", "::ffff:127.0.0.1"])
def test_through_the_trusted_proxy_a_client_counts_by_its_own_address(store: Store, proxy: str) -> None:
    furnish(store)
    client = web(store, settings=settings(BITRIX_PAGE_PASSWORD=PASSWORD, BITRIX_TRUSTED_PROXY=proxy))[0].test_client()

    def tried(password: str, forwarded: str, **more: Any) -> int:
        client.delete_cookie(SESSION)
        client.delete_cookie(KNOWN, path="/login")
        return int(log_in(client, password, headers={"X-Forwarded-For": forwarded}, **more).status_code)

    for number in range(OF_A_CLIENT.burst):
        assert tried("guess", f"10.0.0.{number}, 192.0.2.7") == 403, "only the last hop is the proxy's word"
    assert tried(PASSWORD, "192.0.2.7") == 429
    assert tried(PASSWORD, "192.0.2.7:51234") == 429
    assert tried(PASSWORD, "192.0.2.8") == 303
    assert tried(PASSWORD, "192.0.2.7", environ_overrides={"REMOTE_ADDR": "203.0.113.9"}) == 303, "not the proxy's word"


@pytest.mark.parametrize("forwarded", [{}, {"X-Forwarded-For": "127.0.0.1"}, {"X-Forwarded-For": "::1"}])
def test_what_comes_through_the_trusted_proxy_is_never_local(busy: Store, forwarded: dict[str, str]) -> None:
    client = web(busy, settings=settings(BITRIX_TRUSTED_PROXY="127.0.0.1"))[0].test_client()
    assert client.get("/", headers=forwarded).status_code == 403


def test_with_a_public_address_there_is_no_page_without_a_password(store: Store) -> None:
    furnish(store)
    client = web(store, settings=settings(BITRIX_APPLICATION_TOKEN="a-token-of-the-portal"))[0].test_client()
    answer = client.get("/")
    assert answer.status_code == 403
    assert "BITRIX_APPLICATION_TOKEN" in answer.text
    with_one = settings(BITRIX_APPLICATION_TOKEN="a-token-of-the-portal", BITRIX_PAGE_PASSWORD=PASSWORD)
    assert log_in(web(store, settings=with_one)[0].test_client()).status_code == 303


@pytest.mark.parametrize(
    ("host", "name"),
    [("localhost", "localhost"), ("h:8080", "h"), ("[::1]:80", "::1"), ("[::1]", "::1"), ("::1", "::1"), ("", "")],
)
def test_the_name_in_a_host_header(host: str, name: str) -> None:
    assert host_of(host) == name


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:10.0.0.1", False),
        ("10.0.0.1", False),
        ("", False),
        ("x", False),
    ],
)
def test_loopback(address: str, local: bool) -> None:
    assert is_loopback(address) is local


@pytest.mark.parametrize(
    ("said", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        (" 192.0.2.7:4711 ", "192.0.2.7"),
        ('"[2001:DB8::1]:4711"', "2001:db8::1"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("unknown", None),
        ("_hidden", None),
        ("", None),
        ("192.0.2.7.evil.example", None),
    ],
)
def test_an_address_as_proxies_write_it(said: str, address: str | None) -> None:
    assert plain_address(said) == address


def test_ipv6_is_counted_by_customer() -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff")
    assert network_of("2001:db8::1") != network_of("2001:db8:0:1::1")
    assert network_of("192.0.2.1") != network_of("192.0.2.2")


def test_the_password_is_in_no_page_and_no_log(guarded: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    answer = log_in(guarded, "nearly-right-password")
    assert "nearly-right-password" not in answer.text + caplog.text
    assert PASSWORD not in answer.text + caplog.text


# --- charts and words ------------------------------------------------------------------------------------------------


def test_a_bar_is_as_wide_as_its_parts() -> None:
    svg = bar((Part(1, "fill", "a<b"), Part(2, "late")), of=4, label='"x"')
    assert '<rect class="fill" x="0%" y="0" width="25%" height="100%"><title>a&lt;b</title></rect>' in svg
    assert '<rect class="late" x="25%" y="0" width="50%" height="100%">' in svg
    assert 'aria-label="&#34;x&#34;"' in svg


@pytest.mark.parametrize(
    "svg",
    [
        bar((Part(5, "fill"),), of=0, label=""),
        bar((Part(9, "fill"),), of=3, label=""),
        column(3, of=2, kind="fill", label=""),
        stay(10, 40, 80, of=50, label=""),
        stay(None, None, None, of=0, label=""),
        strip([Part(0, "a"), Part(0, "b")], label=""),
        strip([Part(1, "a")] * 400, label=""),
        strip([], label=""),
        days([], label=""),
        days([Day("пн", 0), Day("вт", 7, "late", "x")], label=""),
    ],
)
def test_charts_never_leave_their_frame(svg: str) -> None:
    for name in ("x", "width"):
        assert all(0 <= float(value) <= 100 for value in re.findall(rf'{name}="([-\d.]+)%"', svg))
    assert "nan" not in svg
    assert "inf" not in svg


def test_templates_say_nothing_that_is_not_in_the_catalogue() -> None:
    said, literal = set(), set()
    for name in environment.list_templates():
        source = environment.loader.get_source(environment, name)[0]  # type: ignore[union-attr]
        for call in environment.parse(source).find_all(nodes.Call):
            if isinstance(call.node, nodes.Name) and call.node.name == "t" and isinstance(call.args[0], nodes.Const):
                said.add(call.args[0].value)
        without_tags = re.sub(r"\{[{%#].*?[#%}]\}|<[^>]*>", " ", source, flags=re.DOTALL)
        literal |= set(re.findall(r"[A-Za-zА-Яа-яё]{3,}", without_tags))
    assert said - set(MESSAGES["ru"]) == set()
    assert literal <= {"bitrix", "sync", "nbsp", "doctype", "html"}


def test_every_kind_and_state_of_operation_has_its_word() -> None:
    keys = set(MESSAGES["ru"])
    assert {f"page.kind.{kind.value}" for kind in Kind} <= keys
    assert {f"page.op.{state.value}" for state in State} <= keys


def test_every_column_of_every_table_has_its_word_and_a_macro_for_its_cells() -> None:
    cells = set(re.findall(r"macro (\w+)\(line", environment.loader.get_source(environment, "cells.html")[0]))  # type: ignore[union-attr]
    columns = [column for columns in TABLES.values() for column in columns]
    assert {column.form for column in columns} - cells == set()
    assert set(Form) - cells == set()
    assert {column.heading for column in columns} - set(MESSAGES["ru"]) == set()


def test_every_report_has_its_place_on_the_page_and_its_words(client: FlaskClient) -> None:
    for name in REPORTS:
        if name not in ("trial", "overdue"):  # the one while it lasts; what is overdue is marked among what is late
            assert f"/{name}" in read(client, "/").links()
        assert {f"report.title.{name}", f"report.about.{name}"} <= set(MESSAGES["ru"])
