"""``preview``: what the rules would do is what they then do; nothing is written anywhere."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bitrix_sandbox.http.server import Sandbox
from bitrix_sandbox.state.clock import Clock
from bitrix_sandbox.state.seed import build_department
from bitrix_sync import cli
from bitrix_sync.commands import changes
from bitrix_sync.errors import ForeignPortal, RulesError, UserError
from bitrix_sync.explain import preview
from bitrix_sync.explain.preview_lines import Preview, lines_of, of_rules
from bitrix_sync.settings import Settings, load_settings
from bitrix_sync.store import Store
from bitrix_sync.store.schema import metadata
from bitrix_sync.store.scratch_copy import scratch_copy
from bitrix_sync.words.terminal import Terminal
from tests.world.company import MONDAY
from tests.world.company import at as utc
from tests.world.office import Office, office
from tests.world.shell import Shell
from tests.world.story import BOSS, Story, book, rule

RULES = """
version: 1
language: en
timezone: Europe/Moscow
admins: [1]
calendar: {hours: "09:00-18:00"}
fallback_owner: 1
funnels:
  Продажи:
    Новая заявка:
      - id: first-call
        title: "Call: {{ deal.TITLE }}"
        deadline: {after: 30 workminutes}
        on_leave: complete
      - id: big
        title: Look after a large deal
        if: {OPPORTUNITY: {min: 100000}}
        deadline: {after: 1 workday}
      - id: later
        title: Ask again
        start: {done: first-call}
        deadline: {after: 1 workday}
    Презентация:
      - id: present
        title: Present
        owner: {one_of: [5, 7], pick: round_robin}
        deadline: {after: 2 workdays, at: "15:00"}
        checklist: [Materials]
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Office]:
    """A service that has read the portal once and runs."""
    with office(tmp_path, RULES) as found:
        found.run()
        yield found


@pytest.fixture
def settings(place: Office) -> Settings:
    return load_settings(place.environ, None)


@pytest.fixture
def shell(place: Office) -> Shell:
    return Shell(place.folder, place.environ)


def line(found: Preview, rule: str) -> dict[str, Any]:
    (one,) = [one for one in found.lines if one["rule"] == rule]
    return one


def writes(place: Office) -> list[str]:
    reading = (".list", ".get", ".fields", "batch", "profile", "scope", "server.time")
    return [name for name in place.portal.calls if not name.endswith(reading)]


def files(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


# --- the same as reality ---------------------------------------------------------------------------------------------


def test_preview_of_an_old_deal_is_what_backfill_then_does(place: Office, settings: Settings) -> None:
    found = preview.of_all(settings)
    shown = {
        (one["deal_id"], one["rule"], one["title"], one["owner_id"], one["deadline"].isoformat())
        for one in found.lines
        if one["result"] == "new"
    }
    assert len(shown) > 3
    assert {one["by"] for one in found.lines if one["result"] == "new"} == {"backfill"}
    place.service.store.flags.paused = True
    done = changes.perform(place.context, "backfill", {})
    made = {
        (one["deal_id"], one["task"].split(":")[1], one["title"], one["owner_id"], one["deadline"])
        for one in done["planned"]
    }
    assert made == shown


def test_preview_of_an_entry_is_what_the_entry_then_does(place: Office, settings: Settings) -> None:
    deal = place.add_deal("Romashka")
    place.run()
    shown = line(preview.of_deal(settings, deal, stage="презентация "), "present")
    place.move(deal, "PREPARATION")
    place.run()
    (task,) = [task for task in place.tasks(deal) if task.xml_id.endswith(":present")]
    assert (shown["title"], shown["owner_id"], shown["deadline"]) == (task.title, task.responsible_id, task.deadline)
    assert shown["by"] == "entry"


def test_what_an_entry_does_to_the_tasks_of_the_stage_that_is_left_is_shown(place: Office, settings: Settings) -> None:
    deal = place.add_deal("Romashka")
    place.run()
    (change,) = preview.of_deal(settings, deal, stage="PREPARATION").changes
    assert (change["rule"], change["verdict"]) == ("first-call", "ended")
    assert [task.status for task in place.tasks(deal)] == [2]


def test_a_task_that_is_there_is_named_and_not_made_again(place: Office, settings: Settings) -> None:
    deal = place.add_deal("Romashka")
    place.run()
    one = line(preview.of_deal(settings, deal), "first-call")
    (task,) = place.tasks(deal)
    assert (one["result"], one["task_id"], one["status"]) == ("there", task.id, 2)
    assert one["deadline"] == utc("2026-03-02 10:30")


def test_where_nothing_comes_the_line_says_why(place: Office, settings: Settings) -> None:
    found = preview.of_deal(settings, place.add_deal("Small", fields={"OPPORTUNITY": 500}))
    big, later = line(found, "big"), line(found, "later")
    assert (big["result"], big["verdict"]) == ("none", "condition_false")
    assert [(check["seen"], check["wanted"], check["ok"]) for check in big["checks"]] == [
        ("500", "at least 100,000", False)
    ]
    assert (later["verdict"], later["why"]) == (
        "waiting_start",
        ["The task will appear later. Waiting until the task “first-call” is done."],
    )


def test_a_change_that_the_service_has_not_read_yet_counts(place: Office, settings: Settings) -> None:
    deal = place.add_deal("Small", fields={"OPPORTUNITY": 500})
    place.run()
    place.portal.state.set_fields(deal, {"OPPORTUNITY": 200000}, by=5)
    assert line(preview.of_deal(settings, deal), "big")["result"] == "new"


def test_owners_are_shared_out_over_the_whole_preview(place: Office, settings: Settings) -> None:
    for number in range(4):
        place.add_deal(f"Deal {number}", stage="PREPARATION")
    found = preview.of_all(settings)
    owners = [one["owner_id"] for one in found.lines if one["rule"] == "present" and one["result"] == "new"]
    assert len(owners) >= 4
    assert abs(owners.count(5) - owners.count(7)) <= 1
    assert sum(one["new"] for one in found.load) == found.counts["new"]
    assert all(one["total"] == one["open"] + one["new"] for one in found.load)


def test_the_least_loaded_is_picked_with_the_tasks_decided_before(place: Office, settings: Settings) -> None:
    place.rules.write_text(RULES.replace("round_robin", "least_loaded"), encoding="utf-8")
    for number in range(6):
        place.add_deal(f"Deal {number}", stage="PREPARATION", responsible=9)
    other = load_settings({**place.environ, "DATABASE_URL": f"sqlite:///{place.folder / 'none.db'}"}, None)
    for found in (preview.of_all(settings), preview.of_all(other)):
        owners = [one["owner_id"] for one in found.lines if one["rule"] == "present"]
        assert set(owners) == {5, 7}
        totals = {one["user_id"]: one["total"] for one in found.load if one["user_id"] in (5, 7)}
        assert len(totals) == 2


def test_a_file_without_tasks_yet_shows_every_stage_as_bare(place: Office, settings: Settings) -> None:
    head = RULES.partition("funnels:")[0]
    place.rules.write_text(f"{head}funnels: {{Продажи: {{Новая заявка: []}}}}\n", encoding="utf-8")
    found = preview.of_all(
        load_settings({**place.environ, "DATABASE_URL": f"sqlite:///{place.folder / 'no.db'}"}, None)
    )
    assert found.lines == []
    assert sum(one["deals"] for one in found.uncovered) == found.deals


def test_stages_without_rules_are_counted(settings: Settings) -> None:
    found = preview.of_all(settings)
    bare = {one["stage"]: one["deals"] for one in found.uncovered}
    assert "Договор" in bare
    assert sum(bare.values()) + len({one["deal_id"] for one in found.lines}) == found.deals


# --- nothing is written ----------------------------------------------------------------------------------------------


def kept(place: Office) -> dict[str, list[object]]:
    """All rows of the store."""
    with place.service.store.reading() as connection:
        return {one.name: [tuple(row) for row in connection.execute(one.select())] for one in metadata.sorted_tables}


def test_nothing_is_written_to_the_portal_or_the_store_beside_a_running_service(
    place: Office, settings: Settings
) -> None:
    deal = place.add_deal("Romashka")
    before, held, requests = files(place.folder), kept(place), place.portal.calls.copy()
    lease = place.service.store.lease()
    preview.of_deal(settings, deal, stage="Презентация")
    preview.of_all(settings)
    assert kept(place) == held
    assert files(place.folder)["rules.yaml"] == before["rules.yaml"]
    assert files(place.folder).keys() == before.keys()
    assert not [name for name in writes(place) if name not in requests]
    assert place.service.store.lease() == lease
    place.run()
    assert place.marks(deal) == ["first-call"]


def test_without_a_store_it_works_and_makes_none(place: Office) -> None:
    folder = place.folder / "empty"
    folder.mkdir()
    settings = load_settings({**place.environ, "DATABASE_URL": f"sqlite:///{folder / 'new.db'}"}, None)
    assert preview.of_all(settings).counts["new"] > 3
    assert list(folder.iterdir()) == []


def test_without_a_store_tasks_of_ours_are_known_by_their_marks(place: Office, tmp_path: Path) -> None:
    deal = place.add_deal("Romashka")
    place.run()
    settings = load_settings({**place.environ, "DATABASE_URL": f"sqlite:///{tmp_path / 'other.db'}"}, None)
    found = preview.of_deal(settings, deal)
    assert line(found, "first-call")["result"] == "there"
    assert found.changes == []


def test_a_store_that_nobody_has_open_is_left_as_it_is(place: Office, settings: Settings) -> None:
    deal = place.add_deal("Romashka")
    place.run()
    place.service.close()
    before = files(place.folder)
    assert line(preview.of_deal(settings, deal), "first-call")["result"] == "there"
    assert files(place.folder) == before
    place.start()


def test_a_store_that_a_crash_left_is_read_with_its_log_and_left_as_it_is(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'a.db'}")
    store.flags.paused = True
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for name in ("a.db", "a.db-wal"):
        (crashed / name).write_bytes((tmp_path / name).read_bytes())
    store.close()
    before = files(crashed)
    with scratch_copy(f"sqlite:///{crashed / 'a.db'}") as copy:
        assert copy.flags.paused
        copy.flags.paused = False
    assert files(crashed) == before


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_text("not a database at all, but long enough to look like one" * 20, encoding="utf-8")
    with pytest.raises(UserError, match="no database"), scratch_copy(f"sqlite:///{tmp_path / 'a.db'}"):
        pass


# --- mistakes of the user --------------------------------------------------------------------------------------------


def test_an_unknown_deal_is_told_with_what_to_look_at(settings: Settings) -> None:
    with pytest.raises(UserError, match=r"deal 9999: .* may the webhook's user \(Анна Смирнова\) read it"):
        preview.of_deal(settings, 9999)


def test_an_unknown_stage_is_told_with_the_nearest(place: Office, settings: Settings) -> None:
    deal = place.add_deal("Romashka")
    with pytest.raises(UserError, match="Did you mean `Презентация`"):
        preview.of_deal(settings, deal, stage="Презентасия")
    with pytest.raises(UserError, match=r"Its stages are Новая заявка, .*Договор"):
        preview.of_deal(settings, deal, stage="zzz")


def test_a_stage_of_another_funnel_goes_by_its_id(place: Office, settings: Settings) -> None:
    deal = place.add_deal("Romashka")
    with pytest.raises(UserError, match="by its id: C5:UC_REPAIR"):
        preview.of_deal(settings, deal, stage="Ремонт")
    (bare,) = preview.of_deal(settings, deal, stage="c5:uc_repair").uncovered
    assert bare["stage"] == "Ремонт"


def test_a_stage_name_that_stands_twice_is_asked_for_by_id(place: Office, settings: Settings) -> None:
    place.portal.state.add_stage("UC_TWIN", "Презентация")
    with pytest.raises(UserError, match="PREPARATION, UC_TWIN"):
        preview.of_deal(settings, place.add_deal("Romashka"), stage="Презентация")


def test_a_wrong_file_is_told_before_the_portal_is_asked(place: Office, settings: Settings) -> None:
    place.rules.write_text("version: 2\n", encoding="utf-8")
    before = len(place.portal.log)
    with pytest.raises(RulesError):
        preview.of_all(settings)
    assert len(place.portal.log) == before


def test_a_file_that_is_wrong_on_this_portal_is_told_though_the_last_good_one_is_kept(
    place: Office, settings: Settings
) -> None:
    text = place.rules.read_text(encoding="utf-8")
    place.rules.write_text(text.replace("Презентация:", "Презентации:"), encoding="utf-8")
    with pytest.raises(RulesError, match="Презентации"):
        preview.of_all(settings)


def test_the_store_of_another_portal_says_nothing(place: Office) -> None:
    with Sandbox(build_department(Clock(MONDAY), work=False), rate=None) as other:
        foreign = load_settings({**place.environ, "BITRIX_WEBHOOK_URL": other.url}, None)
        with pytest.raises(ForeignPortal, match="DATABASE_URL"):
            preview.of_all(foreign)


def test_a_file_that_is_not_in_force_yet_is_what_is_previewed(place: Office, settings: Settings) -> None:
    deal = place.add_deal("Romashka")
    place.run()
    place.wait(hours=1)
    place.rules.write_text(RULES.replace("id: big", "id: huge").replace("100000", "1"), encoding="utf-8")
    place.portal.state.set_fields(deal, {"OPPORTUNITY": 5}, by=5)
    one = line(preview.of_deal(settings, deal), "huge")
    assert (one["result"], one["by"]) == ("new", "backfill")


# --- for people and programs -----------------------------------------------------------------------------------------


def test_the_table_has_what_a_boss_asks_for_and_ends_with_the_load(shell: Shell, place: Office) -> None:
    place.add_deal("Romashka [b]x[/b]", fields={"OPPORTUNITY": 5})
    ran = shell("preview", "--all")
    assert ran.code == 0, ran.err
    assert "Funnel\tStage\tDeal\tTask\tOwner\tSupervisor\tDeadline\tNote" in ran.out
    (call,) = [row.split("\t") for row in ran.out.splitlines() if "Call: Romashka" in row]
    assert call[0:2] == ["Продажи", "Новая заявка"]
    assert call[4:7] == ["Мария Кузнецова", "Виктор Орлов", "Mon 2 March, 10:30"]
    assert "✗ Сумма (OPPORTUNITY): 5; wanted: at least 100,000" in ran.out
    assert "the rules have no task for it" in ran.out
    assert "Employee\tOpen now\tNew\tThen" in ran.out
    assert "nothing was written" in ran.out.splitlines()[-1]
    assert ran.err == f"{place.rules}: 2 warnings, listed by `bitrix-sync check`\n"


def test_on_a_terminal_the_deals_stand_by_stage_within_its_width(
    shell: Shell, place: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = place.add_deal("Romashka " * 20, fields={"OPPORTUNITY": 5})
    deal = place.add_deal("Lily\nof the valley")
    for width in (100, 60):
        monkeypatch.setattr(cli, "out", Terminal(force_terminal=True, no_color=True, width=width))
        ran = shell("preview", "--all")
        lines = re.sub(r"\x1b\[[0-9;]*m", "", ran.out).splitlines()
        assert max(map(len, lines)) <= width
        assert lines[0].startswith("What the rules would do: ")
        assert lines.count("Продажи: Новая заявка") == 1
        assert sum(line.startswith(f"  {long} Romashka") for line in lines) > 1
    at = lines.index(f"  {deal} Lily of the valley — Call: Lily of the valley")
    assert " ".join(line.strip() for line in lines[at + 1 : at + 3]) == (
        "Owner: Мария Кузнецова; Supervisor: Виктор Орлов; Deadline: Mon 2 March, 10:30"
    )


def test_one_deal_is_explained(shell: Shell, place: Office) -> None:
    deal = place.add_deal("Romashka")
    ran = shell("preview", "--deal", str(deal), "--stage", "Презентация")
    assert f"If the deal {deal} “Romashka” entered the stage “Презентация” now (Продажи)" in ran.out
    assert "Owner: from the list: Мария Кузнецова → in turn. Deadline by the rule." in ran.out


def test_json_has_stable_keys(shell: Shell, place: Office) -> None:
    found = shell("preview", "--deal", str(place.add_deal("Romashka")), "--json").json
    assert found["counts"] == {"new": 1, "held": 0, "there": 0, "none": 2}
    assert set(found) >= {"lines", "changes", "uncovered", "load", "counts", "warnings", "watch", "deals"}
    assert set(found["lines"][0]) >= {
        *("deal_id", "deal", "funnel_id", "funnel", "stage_id", "stage", "entered", "rule", "result", "by", "task_id"),
        *(
            "status",
            "title",
            "owner_id",
            "owner",
            "supervisor_id",
            "supervisor",
            "deadline",
            "verdict",
            "why",
            "checks",
        ),
    }
    assert found["lines"][0]["deadline"] == "2026-03-02T10:30:00+03:00"


def test_limits_and_watching_are_said(place: Office) -> None:
    place.rules.write_text(RULES + "safety: {max_new_tasks: 1, watch: true}\n", encoding="utf-8")
    text = "\n".join(part.title for part in lines_of(preview.of_all(load_settings(place.environ, None))))
    assert "max_new_tasks (1 within ten minutes)" in text
    assert "watch: true" in text


def test_a_task_that_nobody_can_take_is_held() -> None:
    story = Story(book(rule("call"), admins=(BOSS,)), responsible_id=0)
    story.company = replace(story.company, users={BOSS: story.company.users[BOSS]}, self_id=77)
    story.enters("NEW")
    (one,) = of_rules(story.rules, story.company, story.state, story.last)
    found = Preview("en", lines=[one], deal=7)
    assert (one["result"], one["owner_id"], found.counts["held"]) == ("held", None, 1)
    assert next(lines_of(found)).rows == [["Do call", "", "", "Tue 3 March, 18:00", "nobody can take it, will be held"]]


def test_progress_ends_where_it_began(settings: Settings) -> None:
    seen: list[tuple[int, int]] = []
    preview.of_all(settings, progress=lambda done, total: seen.append((done, total)))
    assert seen[0][0] == 0
    assert seen[-1][0] == seen[-1][1] > 0
