"""``check`` says of the rules what the running service makes of them."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

from bitrix_sync.model.worktime import moved_days_known_until
from bitrix_sync.settings import load_settings
from bitrix_sync.setup.check import Line, calendar, examine
from tests.world.office import RULES, Office, office


def rules_lines(place: Office) -> list[Line]:
    lines = examine(load_settings(place.environ, None), offline=False)
    return [line for line in lines if line.about == "rules" and "has no task" not in line.text]


def test_a_renamed_stage_is_a_warning_once_the_service_has_known_it(tmp_path: Path) -> None:
    with office(tmp_path) as place:
        place.portal.state.rename_stage("NEW", "Lead")
        found = [line for line in rules_lines(place) if "Lead" in line.text]
        assert [line.level for line in found] == ["warning"]
        assert "Новая заявка" in found[0].text


def test_a_vanished_stage_is_a_warning_that_names_it(tmp_path: Path) -> None:
    with office(tmp_path) as place:
        place.portal.state.delete_stage("UC_OFFER1")
        levels = {line.level for line in rules_lines(place) if "КП отправлено" in line.text}
        assert levels == {"warning"}


def test_a_name_that_was_never_known_is_an_error(tmp_path: Path) -> None:
    with office(tmp_path) as place:
        place.rules.write_text(place.rules.read_text(encoding="utf-8").replace("Презентация", "Презентацыя"))
        assert [line.level for line in rules_lines(place) if "Презентацыя" in line.text] == ["error"]


def test_a_pause_and_the_trial_mode_are_told(tmp_path: Path) -> None:
    with office(tmp_path) as place:
        for paused, watch in ((False, False), (True, False), (True, True)):
            place.service.store.flags.paused, place.service.store.flags.watch = paused, watch
            lines = examine(load_settings(place.environ, None), offline=True)
            told = [line.text.partition(":")[0] for line in lines if line.about == "mode"]
            assert told == ["paused"] * paused + ["trial mode (watch"] * watch


def test_an_older_portal_is_told_by_the_methods_that_it_lacks(tmp_path: Path) -> None:
    methods = ("crm.stagehistory.list", "tasks.task.list", "tasks.task.getFields")
    with office(tmp_path) as place:
        for method in methods:
            place.portal.faults.next("refuse", method, times=None, code="ERROR_METHOD_NOT_FOUND", status=404)
        settings = load_settings({**place.environ, "DATABASE_URL": f"sqlite:///{tmp_path}/new.db"}, None)
        lines = examine(settings, offline=False)
    told = {method: next(line.level for line in lines if f"no method {method}" in line.text) for method in methods}
    assert told == dict(zip(methods, ("error", "error", "warning"), strict=True))


def test_next_years_calendar_is_told_in_autumn() -> None:
    known = moved_days_known_until("RU")
    assert known is not None
    told = [
        [line.level for line in calendar(country, date(year, month, 1))]
        for country, year, month in (
            *(("RU", known - 1, 9), ("RU", known - 1, 10), ("RU", known, 9), ("RU", known, 10), ("RU", known + 1, 1)),
            *(("DE", known, 10), (None, known, 10)),
        )
    ]
    assert told == [[], ["ok"], [], ["warning"], ["warning"], [], []]


def test_every_line_is_in_russian_for_who_reads_russian(tmp_path: Path) -> None:
    with office(tmp_path, RULES.replace("language: en", "language: ru")) as place:
        lines = [line.said("ru") for line in examine(load_settings(place.environ, None), offline=False)]
        settings = load_settings({**place.environ, "BITRIX_APPLICATION_TOKEN": "token"}, None)
        lines += [line.said("ru") for line in examine(settings, offline=True)]
    lines += [line.said("ru") for month in (1, 10) for line in calendar("RU", date(2026, month, 1))]
    lines += [line.said("ru") for line in calendar("RU", date(2999, 10, 1))]
    told = re.sub(r"`[^`]*`|\S*[/.:_]\S*|[A-Z]{2,}|funnels", "", "\n".join(lines))
    scopes = "calendar crm department im sonet task tasks user_basic userfieldconfig"
    assert set(re.findall("[A-Za-z]{2,}", told)) - set(scopes.replace("_", " ").split()) == set()
