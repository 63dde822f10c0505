"""``why``: what was decided about a deal and what came of it, told from the store; the portal is not asked."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bitrix_sync.errors import UserError
from bitrix_sync.explain.why import story_of
from bitrix_sync.explain.why_lines import lines_of
from bitrix_sync.model.actions import Kind, unpack
from bitrix_sync.model.operations import Changeset, Operation, OperationResult, State
from bitrix_sync.sweeps import run
from tests.world.company import MOSCOW
from tests.world.office import Office, office
from tests.world.shell import Shell

RULES = """
version: 1
language: ru
timezone: Europe/Moscow
admins: [1]
calendar: {hours: "09:00-18:00"}
fallback_owner: 1
funnels:
  Продажи:
    Новая заявка:
      - id: first-call
        title: "Позвонить: {{ deal.TITLE }}"
        deadline: {after: 30 workminutes}
        on_leave: complete
      - id: big
        title: Крупная сделка
        if: {OPPORTUNITY: {min: 100000}}
        deadline: {after: 1 workday}
    Презентация:
      advance_to: КП отправлено
      tasks:
        - id: present
          title: Презентация
          deadline: {after: 2 workdays, at: "15:00"}
    Договор:
      - id: contract
        title: Договор
        deadline: {after: 1 workday}
overdue:
  evening: {at: "18:30", move_to: {after: 1 workday}}
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Office]:
    with office(tmp_path, RULES) as found:
        found.run()
        yield found


@pytest.fixture
def shell(place: Office) -> Shell:
    return Shell(place.folder, {**place.environ, "BITRIX_WEBHOOK_URL": ""})


def account(place: Office, deal: int, rule: str = "") -> dict[str, Any]:
    return story_of(place.service.store, deal, rule=rule)


def of_rule(place: Office, deal: int, rule: str) -> dict[str, Any]:
    """The rule on the latest visit that knows it."""
    found = [one for visit in account(place, deal)["visits"] for one in visit["rules"] if one["rule"] == rule]
    return found[-1]


def text(place: Office, deal: int, rule: str = "") -> str:
    return "\n".join(lines_of(account(place, deal, rule)))


def test_a_task_that_was_made_tells_owner_deadline_and_what_became_of_its_creation(place: Office) -> None:
    deal = place.add_deal("Ромашка")
    place.run()
    one = of_rule(place, deal, "first-call")
    (decision,), (task,), (operation,) = one["decisions"], one["tasks"], one["operations"]
    assert decision["verdict"] == "made"
    assert "Исполнитель: Мария Кузнецова (ответственный за сделку: Мария Кузнецова)" in decision["text"]
    assert task["task_id"] == place.tasks(deal)[0].id
    assert task["deadline"] == datetime(2026, 3, 2, 10, 30, tzinfo=MOSCOW)
    assert (operation["kind"], operation["state"], operation["result"]) == ("task.create", "done", task["task_id"])


def test_a_rule_that_did_nothing_tells_the_value_seen_and_the_value_wanted(place: Office) -> None:
    deal = place.add_deal("Ромашка", fields={"OPPORTUNITY": 500})
    place.run()
    (check,) = of_rule(place, deal, "big")["decisions"][0]["checks"]
    assert (check["seen"], check["ok"]) == ("500", False)
    assert " ".join(check["wanted"].split()) == "не меньше 100 000"
    assert "✗ Сумма (OPPORTUNITY): 500; нужно: не меньше" in text(place, deal)


def test_every_change_of_mind_stays_to_be_read(place: Office) -> None:
    deal = place.add_deal("Ромашка", fields={"OPPORTUNITY": 500})
    place.run()
    place.wait(hours=1)
    place.portal.state.set_fields(deal, {"OPPORTUNITY": 200000}, by=5)
    place.run()
    decisions = of_rule(place, deal, "big")["decisions"]
    assert [(one["verdict"], f"{one['at']:%H:%M}") for one in decisions] == [
        ("condition_false", "10:00"),
        ("made", "11:00"),
    ]


def test_visits_stand_in_their_order_with_their_times(place: Office) -> None:
    deal = place.add_deal("Ромашка")
    place.run()
    place.wait(hours=2)
    place.move(deal, "PREPARATION")
    place.run()
    first, second = account(place, deal)["visits"]
    assert (first["stage"], f"{first['left']:%H:%M}") == ("Новая заявка", "12:00")
    assert (second["stage"], second["left"]) == ("Презентация", None)
    lines = text(place, deal)
    assert "Продажи / Новая заявка: с пн 2 марта 2026, 10:00 по пн 2 марта 2026, 12:00" in lines
    assert "Продажи / Презентация: с пн 2 марта 2026, 12:00, сделка сейчас здесь" in lines
    assert "Завершить задачу: сделано" in lines
    assert "Задача завершена: сделка ушла со стадии." in lines


def test_a_failed_creation_tells_the_portals_own_words(place: Office) -> None:
    deal = place.add_deal("Ромашка")
    place.service.store.flags.paused = True
    place.run()
    (row,) = place.service.store.operations(deal_id=deal, kind=Kind.CREATE)
    end = OperationResult(row.id, State.FAILED, error_code="ERROR_CORE", error_text="Нет прав /rest/1/secretcode/")
    place.service.store.finish([end], place.context.sender.epoch, place.service.clock())
    (operation,) = of_rule(place, deal, "first-call")["operations"]
    assert (operation["state"], operation["error_code"]) == ("failed", "ERROR_CORE")
    assert "secretcode" not in operation["error"]
    assert "Поставить задачу: отказ. Нет прав /rest/1/***/ (ERROR_CORE)" in text(place, deal)


def test_what_waits_is_held_or_was_dropped_is_told_with_its_reason(place: Office) -> None:
    deal = place.add_deal("Ромашка")
    place.run()
    store, epoch = place.service.store, place.context.sender.epoch
    ref = f"{account(place, deal)['visits'][0]['visit_id']}:first-call"
    deadline = {"deadline": "2026-03-05T18:00:00+03:00", "reason": "follow", "seen": None}
    operations = (
        Operation("follow:x:1", unpack(Kind.DEADLINE, deadline), deal, ref),
        Operation("follow:x:2", unpack(Kind.DEADLINE, deadline), deal, ref, state=State.HELD),
    )
    first, _ = store.record(Changeset(at=place.context.portal.now(), operations=operations), epoch)
    dropped = OperationResult(first, State.DROPPED, error_text="a person has set another deadline")
    store.finish([dropped], epoch, place.service.clock())
    lines = text(place, deal)
    assert "Перенести срок (чт 5 марта 2026, 18:00): отпала. Человек поставил другой срок." in lines
    assert "Перенести срок (чт 5 марта 2026, 18:00): придержана" in lines


def test_slips_of_a_deadline_are_listed_with_who_and_when(place: Office) -> None:
    deal = place.add_deal("Ромашка")
    place.run()
    run.run_due(place.context)
    place.portal.clock.set(datetime(2026, 3, 2, 18, 31, tzinfo=MOSCOW))
    place.run()
    run.run_due(place.context)
    place.run()
    (task,) = place.tasks(deal)
    place.portal.state.change_task(task, 5, deadline=task.deadline + timedelta(days=3))
    place.run()
    slips = of_rule(place, deal, "first-call")["tasks"][0]["slips"]
    assert [(slip["by"], slip["sweep"]) for slip in slips] == [("sweep", "2026-03-02/evening"), ("people", "")]
    assert "Срок: пн 2 марта 2026, 10:30 → вт 3 марта 2026, 18:00, перенёс обход 2026-03-02/evening" in text(
        place, deal
    )
    assert slips[1]["mover_id"] == 5
    assert "изменение: Мария Кузнецова" in text(place, deal)


def test_an_automatic_move_is_told_where_it_began(place: Office) -> None:
    deal = place.add_deal("Ромашка", stage="PREPARATION")
    place.run()
    place.portal.state.complete_task(place.tasks(deal)[0].id, by=5)
    place.wait(minutes=5)
    place.run()
    place.run()
    one = of_rule(place, deal, "advance_to")
    assert one["decisions"][0]["verdict"] == "advanced"
    assert [(op["kind"], op["state"], op["about"]) for op in one["operations"]] == [
        ("deal.move", "done", "КП отправлено")
    ]


def test_a_deal_that_was_there_before_the_service_says_that_backfill_is_for_it(place: Office) -> None:
    old = next(deal.id for deal in place.portal.state.deals.values() if deal.stage_id == "NEW")
    lines = text(place, old)
    assert "К первому запуску сделка уже была на этой стадии" in lines
    assert f"bitrix-sync backfill --deal {old} --rule first-call" in lines
    place.move(old, "UC_OFFER1")
    place.run()
    assert "backfill" not in text(place, old), "it does not reach a stage that was left"


def test_a_stage_without_rules_says_so(place: Office) -> None:
    deal = place.add_deal("Ромашка", stage="UC_OFFER1")
    place.run()
    assert "Правил для этой стадии в файле нет." in text(place, deal)


def test_rules_of_stages_where_the_deal_has_not_been_get_a_sentence(place: Office) -> None:
    deal = place.add_deal("Ромашка")
    place.run()
    assert "Стадия «Договор» (Продажи): сделка на ней не была. Правила: «Договор» (contract)" in text(place, deal)
    (one,) = account(place, deal, "contract")["no_occasion"]
    assert one["text"] == "Правило стоит на стадии «Договор» (Продажи), а сделка на ней не была."
    assert one["text"] in text(place, deal, "contract")


def test_a_rule_added_later_says_that_it_came_after_the_deal(place: Office) -> None:
    deal = place.add_deal("Ромашка")
    place.run()
    place.wait(hours=1)
    new = RULES.replace("      - id: big", "      - {id: fresh, title: F, deadline: {after: 1 day}}\n      - id: big")
    place.rules.write_text(new, encoding="utf-8")
    assert place.context.rulebook.reload_if_changed()
    one = of_rule(place, deal, "fresh")
    assert one["decisions"] == []
    assert "раньше, чем правило было загружено" in one["note"]


def test_a_rule_that_was_removed_is_still_told(place: Office) -> None:
    deal = place.add_deal("Ромашка")
    place.run()
    place.rules.write_text(RULES.replace("first-call", "other-call"), encoding="utf-8")
    assert place.context.rulebook.reload_if_changed()
    assert of_rule(place, deal, "first-call")["decisions"][0]["verdict"] == "made"


def test_watching_is_said_with_every_decision(tmp_path: Path) -> None:
    with office(tmp_path, RULES + "safety: {watch: true}\n") as place:
        place.run()
        deal = place.add_deal("Ромашка")
        place.run()
        assert "только наблюдение (watch): в портал не писалось" in text(place, deal)
        assert place.tasks(deal) == []


def test_a_pause_is_told_before_all_decisions(place: Office) -> None:
    deal = place.add_deal("Ромашка")
    place.run()
    assert "Пауза" not in text(place, deal)
    place.service.store.flags.paused = True
    assert text(place, deal).splitlines()[1].startswith("  Пауза с ")


def test_pruned_reasons_are_told_as_such(place: Office) -> None:
    deal = place.add_deal("Ромашка")
    place.run()
    with place.service.store.writing("test") as connection:
        connection.exec_driver_sql("DELETE FROM traces")
    assert "Причина уже не хранится" in of_rule(place, deal, "first-call")["note"]


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_command_asks_no_portal_and_needs_no_webhook(shell: Shell, place: Office) -> None:
    deal = place.add_deal("Ромашка")
    place.run()
    requests = len(place.portal.log)
    ran = shell("why", str(deal))
    assert ran.code == 0, ran.err
    assert ran.out.startswith(
        f"Сделка {deal} «Ромашка»: Продажи, стадия «Новая заявка»; ответственный: Мария Кузнецова"
    )
    assert len(place.portal.log) == requests


def test_json_has_stable_keys(shell: Shell, place: Office) -> None:
    deal = place.add_deal("Ромашка")
    place.run()
    found = shell("why", str(deal), "--rule", "first-call", "--json").json
    assert set(found) >= {"deal_id", "deal", "gone", "funnel", "stage", "visits", "no_occasion", "operations"}
    (visit,) = found["visits"]
    assert set(visit) >= {"visit_id", "funnel", "stage_id", "stage", "entered", "left", "note", "rules"}
    (one,) = visit["rules"]
    assert set(one) == {"rule", "title", "decisions", "note", "cure", "tasks", "operations"}
    assert set(one["decisions"][0]) == {"at", "verdict", "text", "watch", "checks"}
    assert datetime.fromisoformat(one["decisions"][0]["at"]).astimezone(MOSCOW).hour == 10


def test_an_unknown_deal_and_an_unknown_rule_are_told_with_the_cure(shell: Shell, place: Office) -> None:
    ran = shell("why", "99999")
    assert ran.code == 1
    assert "preview --deal 99999" in ran.err
    deal = place.add_deal("Ромашка")
    place.run()
    ran = shell("why", str(deal), "--rule", "first-cal")
    assert ran.code == 1
    assert "Может быть, `first-call`?" in ran.err


def test_a_deal_is_told_by_its_address_in_the_portal(shell: Shell, place: Office) -> None:
    deal = place.add_deal("Ромашка")
    place.run()
    page = f"crm/deal/details/{deal}/?IFRAME=Y"
    assert shell("why", f"{place.portal.url.partition('rest/')[0]}{page}").out == shell("why", str(deal)).out
    ran = shell("why", f"https://other.bitrix24.ru/{page}")
    assert (ran.code, ran.out) == (1, "")
    assert "other.bitrix24.ru — другой портал: эта служба работает с 127.0.0.1" in ran.err


def test_without_a_store_nothing_is_made_and_the_cure_is_told(shell: Shell, tmp_path: Path) -> None:
    ran = shell("why", "1", DATABASE_URL=f"sqlite:///{tmp_path / 'no.db'}")
    assert ran.code == 1
    assert "bitrix-sync run" in ran.err
    assert not (tmp_path / "no.db").exists()


def test_a_deal_that_is_gone_is_told_as_gone(place: Office) -> None:
    deal = place.add_deal("Ромашка")
    place.run()
    place.service.store.record(Changeset(at=place.context.portal.now(), gone_deals=(deal,)), place.context.sender.epoch)
    assert text(place, deal).startswith(f"Сделка {deal}: портал её больше не показывает")


def test_a_deal_that_never_was_is_the_users_turn(place: Office) -> None:
    with pytest.raises(UserError):
        account(place, 777777)
