"""The demonstration: what it tells, that it touches nothing of the user's, that it lives on with its page."""

from __future__ import annotations

import contextlib
import io
import json
import re
import signal
import sys
import threading
from pathlib import Path

import pytest
import requests

from bitrix_sandbox import Sandbox
from bitrix_sandbox.state.clock import Clock
from bitrix_sync.demo.narrator import Narrator
from bitrix_sync.demo.staff import SimulatedStaff
from bitrix_sync.demo.story import BEGIN
from bitrix_sync.settings import spoken_language
from tests.world.process import Running, until
from tests.world.shell import Ran, Shell

TASKS = {
    "Позвонить клиенту: Линия розлива": ("Мария Кузнецова", "Виктор Орлов", "пн 2 марта, 10:00"),
    "Подготовить и провести презентацию": ("Игорь Попов", "Виктор Орлов", "ср 4 марта, 15:00"),
    "Подготовить и направить договор": ("Дмитрий Новиков", "Елена Михайлова", "сб 7 марта, 16:00"),
    "Проверить поступление предоплаты": ("Игорь Попов", "Виктор Орлов", "сб 14 марта, 16:00"),
    "Контроль срока отгрузки товара": ("Татьяна Волкова", "Сергей Морозов", "пт 6 марта, 12:00"),
    "Подготовить и направить коммерческое предложение": ("Игорь Попов", "Виктор Орлов", "вт 3 марта, 18:00"),
    "Получить ответ по коммерческому предложению": ("Игорь Попов", "Виктор Орлов", "ср 4 марта, 18:00"),
    "Позвонить клиенту: Кофемашины": ("Павел Соколов", "Виктор Орлов", "вт 3 марта, 09:20"),
}
"""What the rules that came with the project make of the story: owner, observer, deadline."""


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """``demo --once`` of a Russian user, whose own settings, rules and database are wrong in every way."""
    folder = tmp_path_factory.mktemp("home")
    for name in (".env", "rules.yaml", "bitrix-sync.db"):
        (folder / name).write_text("BITRIX_WEBHOOK_URL=nonsense\n", encoding="utf-8")
    ran = Shell(folder, {"LANG": "ru_RU.UTF-8", "LC_ALL": "", "BITRIX_RULES": "none", "DATABASE_URL": "none"})(
        "demo", "--once"
    )
    assert {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir()} == dict.fromkeys(
        (".env", "rules.yaml", "bitrix-sync.db"), "BITRIX_WEBHOOK_URL=nonsense\n"
    )
    return ran


def scene(ran: Ran, heading: str) -> str:
    """What stands under a heading, on one line, without frames."""
    text = next(part for part in re.split(r"\n(?=\S.* ─+\n)", ran.out) if heading in part.partition("\n")[0])
    return " ".join(re.sub("[│╭╮╰╯─]", " ", text).split())


def test_the_story_is_plain_text_in_a_pipe_and_ends_well(story: Ran) -> None:
    assert story.code == 0
    assert story.err == ""
    assert "\x1b" not in story.out
    assert not any(line.endswith(" ") for line in story.out.splitlines())


def rows(ran: Ran) -> list[str]:
    """Rows of the tables of tasks, each on one line, column after column."""
    found: list[list[list[str]]] = []
    starts: list[int] = []
    for line in ran.out.splitlines():
        if line.lstrip().startswith("Сделка  "):
            starts = [match.start() for match in re.finditer(r"\S+", line)]
        elif not line.strip() or not starts:
            starts = starts if line.strip() else []
        elif not set(line) <= {" ", "─"}:
            cells = [line[begin:end].strip() for begin, end in zip(starts, [*starts[1:], None], strict=True)]
            if re.match(r"\d+ ", cells[0]):
                found.append([])
            found[-1].append(cells)
    return [" | ".join(" ".join(filter(None, column)) for column in zip(*one, strict=True)) for one in found]


@pytest.mark.parametrize("title", TASKS)
def test_every_task_has_its_owner_its_observer_and_its_deadline(title: str, story: Ran) -> None:
    row = next(row for row in rows(story) if f"| {title}" in row)
    owner, observer, deadline = TASKS[title]
    assert f"| {owner} | {observer} | {deadline}" in row
    assert re.match(r"\d+ \S.* → \S", row), "the deal and its stage"


def test_a_check_list_is_shown(story: Ran) -> None:
    assert "чек-лист: Собрать материалы, Согласовать время, Провести встречу" in " ".join(rows(story))


def test_a_deadline_follows_the_ship_date_and_the_task_says_why(story: Ran) -> None:
    told = scene(story, "Дата отгрузки меняется")
    assert "Срок перенесён с пт 6 марта, 12:00 на ср 11 марта, 12:00: в сделке изменилось поле «Дата отгрузки»" in told


def test_a_deal_moves_on_when_its_tasks_are_done(story: Ran) -> None:
    assert "Служба перевела сделку на стадию «КП отправлено»" in scene(story, "сделка идёт дальше сама")


def test_the_evening_is_told_as_the_supervisor_reads_it(story: Ran) -> None:
    told = scene(story, "Вечерний обход")
    assert "кому: Виктор Орлов" in told
    assert "Линия розлива" in told
    assert "вт 3 марта, 18:00" in told
    assert "[" not in story.out, "no BB code is left"


def test_the_morning_and_the_end_of_moving_are_told(story: Ran) -> None:
    assert "кому: Мария Кузнецова" in scene(story, "Утренний обход")
    assert "кому: Анна Смирнова" in scene(story, "Переносить без конца нельзя")


def test_a_reason_and_the_load_are_shown(story: Ran) -> None:
    assert "✓ Сумма (OPPORTUNITY): 125 000; нужно: не меньше 100 000" in scene(story, "Почему так вышло?")
    assert re.search(r"Отдел продаж +Мария Кузнецова +\d", story.out)


@pytest.mark.parametrize(
    ("environ", "language"),
    [
        ({"LANG": "ru_RU.UTF-8"}, "ru"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({}, "en"),
        ({"LANG": "ru_RU.UTF-8", "LC_ALL": "en_US.UTF-8"}, "en"),
        ({"LC_MESSAGES": "ru_RU", "LANG": "de_DE"}, "ru"),
    ],
)
def test_it_speaks_the_terminals_language(environ: dict[str, str], language: str) -> None:
    assert spoken_language(environ) == language


def test_the_demo_lives_on_with_its_page_and_leaves_nothing_behind(tmp_path: Path) -> None:
    live = Running(tmp_path, {"LANG": "C.UTF-8", "LC_ALL": "", "TMPDIR": str(tmp_path)}, "demo")
    until(lambda: "The portal lives on" in live.said)
    assert live.why_not_ready == ""
    assert live.get("/healthz")[0] == 200
    status, page = live.get("/load")
    assert (status, "Мария Кузнецова" in page) == (200, True)
    assert live.end(signal.SIGINT) == 0
    assert live.err.read_text("utf-8") == ""
    assert {file.name for file in tmp_path.iterdir()} == {"demo.out", "demo.err"}


def test_people_go_on_for_as_long_as_one_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    said = io.StringIO()
    with Sandbox(clock=Clock(BEGIN)) as portal, contextlib.redirect_stdout(said):
        life = SimulatedStaff(portal, _Nobody(), Narrator("en"))  # type: ignore[arg-type]
        deeds = life.deeds()
        for _ in range(120):
            if (number := next(deeds)) is not None:
                portal.state.add_task("Call", responsible=5, deals=[number], xml_id=f"bitrix-sync:{number}:first-call")
    assert any(deal.stage_id == "WON" for deal in portal.state.deals.values())
    assert "done “Call”" in said.getvalue()


class _Nobody:
    """A service that does nothing."""

    stopping = threading.Event()


@pytest.mark.parametrize("word", ["demo", "sandbox"])
def test_where_the_portal_is_not_installed_a_sentence_says_how_to_get_it(
    word: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in [name for name in sys.modules if name.startswith(("bitrix_sync.demo", "bitrix_sandbox"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("bitrix_sync.demo")
    monkeypatch.setitem(sys.modules, "bitrix_sandbox", None)
    told = Shell(tmp_path, {})(word)
    assert told.code == 1
    assert "the sandbox portal is not installed here" in told.err
    assert "pip install ./bitrix_sandbox" in told.err


def test_the_sandbox_alone_says_how_to_work_with_it(tmp_path: Path) -> None:
    alone = Running(tmp_path, {"LANG": "C.UTF-8", "LC_ALL": ""}, "sandbox")
    text = until(lambda: (said := alone.out.read_text("utf-8")).count("\n") >= 11 and said)
    webhook = re.search(r"BITRIX_WEBHOOK_URL=(\S+)", text)
    assert webhook
    assert webhook[1].startswith(alone.url)
    status, answer = alone.get(f"{webhook[1].removeprefix(alone.url)}profile")
    assert (status, json.loads(answer)["result"]["ADMIN"]) == (200, True)
    order = re.search(r"curl -d '(.+)' (\S+/faults)", text)
    assert order
    assert requests.post(order[2], order[1], timeout=60).json() == {"result": None}
    with pytest.raises(requests.ConnectionError):
        requests.post(f"{webhook[1]}tasks.task.add", {"fields[TITLE]": "x", "fields[RESPONSIBLE_ID]": 7}, timeout=60)
    assert alone.end() == 0
    assert alone.err.read_text("utf-8") == ""
