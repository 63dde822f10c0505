"""Next steps: a deal in progress with nothing planned is told once, stands in the report, and may bring a task."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bitrix_sync import report
from bitrix_sync.engine.passes import take_in
from bitrix_sync.explain import preview, why
from bitrix_sync.model.reading import Reading
from bitrix_sync.settings import load_settings
from bitrix_sync.setup.check import examine
from tests.world.sweeps import HEAD, IGOR, MARIA, SWEEPS, Department, department, section

RULES = """
version: 1
language: en
timezone: Europe/Moscow
admins: [1]
calendar: {hours: "09:00-18:00"}
fallback_owner: 1
next_step: 1 workday
funnels:
  Продажи:
    Новая заявка: []
    Презентация: {next_step: 3 workdays, tasks: []}
    Договор: {next_step: none, tasks: []}
    Согласование:
      - id: what-next
        title: "What next: {{ deal.TITLE }}"
        start: {idle: 1 workday}
        deadline: {after: 1 workday}
"""


class Idleness(Department):
    """The department, with words for what is planned."""

    def deal(self, title: str = "Romashka", stage: str = "NEW", responsible: int = MARIA, **more: Any) -> int:
        return self.add_deal(title, stage=stage, responsible=responsible, **more)

    def idle(self) -> list[str]:
        """The report's deals."""
        self.turn()
        return [line["deal"] for line in self.lines()]

    def lines(self) -> list[dict[str, Any]]:
        return report.REPORTS["idle"].rows(self.store, now=self.service.clock())

    def turn_at(self, text: str) -> None:
        self.until(text)
        self.turn()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Department]:
    with department(tmp_path, RULES + SWEEPS, kind=Idleness) as found:
        yield found


def test_a_deal_with_nothing_planned_is_told_once_to_whoever_is_responsible_and_the_head(place: Idleness) -> None:
    place.until("2026-03-02 10:00")
    place.deal("Romashka", fields={"OPPORTUNITY": 1200, "CURRENCY_ID": "RUB"})
    place.sweeps("18:30")
    assert place.idle() == []
    slot = place.sweeps("2026-03-04 09:00")
    said = "Romashka: “Новая заявка”, nothing planned since Mon 2 March, 10:00"
    assert section(place.heard(HEAD, slot), "Without a next step") == [f"{said}, responsible Мария Кузнецова"]
    assert section(place.heard(MARIA, slot), "Your deals") == [f"{said}. Make a task or plan an activity"]
    (line,) = place.lines()
    assert {key: line[key] for key in ("deal", "stage", "responsible_id", "amount", "currency")} == {
        "deal": "Romashka",
        "stage": "Новая заявка",
        "responsible_id": MARIA,
        "amount": 1200.0,
        "currency": "RUB",
    }
    assert place.heard(MARIA, place.sweeps("18:30")) == place.heard(HEAD, place.sweeps("2026-03-05 09:00")) == ""
    assert place.idle() == ["Romashka"]
    assert place.service.numbers()["idle"] == 1


def test_a_deal_that_is_busy_again_and_idle_again_is_told_again(place: Idleness) -> None:
    deal = place.deal()
    place.turn_at("2026-03-02 10:00")
    assert "Romashka" in place.heard(MARIA, place.sweeps("2026-03-04 09:00"))
    task = place.portal.state.add_task("Call", responsible=MARIA, by=MARIA, deals=[deal])
    assert place.idle() == []
    place.turn_at("2026-03-05 11:00")
    place.portal.state.complete_task(task, MARIA)
    assert place.idle() == []
    slot = place.sweeps("2026-03-06 18:30")
    assert section(place.heard(MARIA, slot), "Your deals") == [
        "Romashka: “Новая заявка”, nothing planned since Thu 5 March, 11:00. Make a task or plan an activity"
    ]


def test_who_is_told_nothing_gets_no_message(place: Idleness) -> None:
    place.deal(responsible=IGOR)
    place.turn_at("2026-03-02 10:00")
    assert place.readers(place.sweeps("2026-03-04 09:00")) == [HEAD, IGOR]


def test_a_stage_has_its_own_time_or_asks_for_no_step(place: Idleness) -> None:
    place.deal("Slow", "PREPARATION")
    place.deal("None", "EXECUTING")
    place.deal("Quick", "FINAL_INVOICE")
    place.deal("Elsewhere", "C1:NEW") if "C1:NEW" in place.portal.state.stages else None
    place.turn_at("2026-03-04 09:00")
    assert place.idle() == ["Quick"]
    place.turn_at("2026-03-06 18:30")
    assert sorted(place.idle()) == ["Quick", "Slow"]


@pytest.mark.parametrize(
    ("deadline", "until"),
    [
        ("2026-03-10T15:00:00+03:00", "2026-03-12 18:00"),  # counts until the end of the 11th, then one day more
        ("2026-03-03T12:00:00+03:00", "2026-03-05 18:00"),
        (None, "2026-04-01 12:00"),
    ],
)
def test_a_planned_activity_is_a_step_until_it_is_past_for_too_long(
    place: Idleness, deadline: str | None, until: str
) -> None:
    deal = place.deal()
    place.turn_at("2026-03-02 10:00")
    place.portal.state.add_activity("Meet", deal=deal, deadline=deadline)
    place.turn_at(until)
    assert place.idle() == []
    place.rest(3600)
    assert place.idle() == (["Romashka"] if deadline else [])


def test_a_deal_is_idle_since_its_last_activity_was_completed(place: Idleness) -> None:
    deal = place.deal()
    meet = place.portal.state.add_activity("Meet", deal=deal, deadline="2026-03-09T12:00:00+03:00")
    place.turn_at("2026-03-04 10:00")
    place.portal.state.complete_activity(meet)
    place.turn_at("2026-03-05 19:00")
    (line,) = place.lines()
    assert line["since"] == place.at("2026-03-04 10:00")


def test_an_activity_that_was_noted_when_it_was_over_ends_what_was_before(place: Idleness) -> None:
    deal = place.deal()
    place.turn_at("2026-03-04 10:00")
    assert place.idle() == ["Romashka"]
    place.portal.state.add_activity("They called", deal=deal, completed=True)
    assert place.idle() == []


def test_a_deletion_is_noticed_at_the_next_sweep(place: Idleness) -> None:
    deal = place.deal()
    place.until("2026-03-02 10:00")
    meet = place.portal.state.add_activity("Meet", deal=deal)
    place.turn_at("2026-03-04 10:00")
    place.portal.state.delete_activity(meet)
    place.turn()
    place.sweeps("18:30")
    place.turn_at("2026-03-05 19:00")
    (line,) = place.lines()
    assert line["since"].replace(microsecond=0) == place.at("2026-03-04 18:30")


def test_an_activity_of_a_contact_counts_for_the_deal_that_it_is_bound_to(place: Idleness) -> None:
    deal = place.deal()
    place.turn_at("2026-03-02 10:00")
    call = place.portal.state.add_activity("Call", contact=7, also=[deal])
    place.turn_at("2026-03-04 10:00")
    assert place.idle() == []
    place.portal.state.complete_activity(call)
    place.turn_at("2026-03-06 10:00")
    assert place.lines()[0]["since"] == place.at("2026-03-04 10:00")


def test_a_call_that_was_bound_to_another_deal_is_noticed_at_the_next_sweep(place: Idleness) -> None:
    one, other = place.deal("One"), place.deal("Other")
    place.turn_at("2026-03-02 10:00")
    state = place.portal.state
    call = state.add_activity("Call", contact=7, also=[one])
    place.turn()
    state.bind_activity(call, other)
    state.unbind_activity(call, one)
    place.sweeps("18:30")
    place.turn_at("2026-03-04 10:00")
    assert place.idle() == ["One"]


def test_before_people_are_told_the_portal_is_asked_what_else_is_bound_to_the_deal(place: Idleness) -> None:
    one, other = place.deal("One"), place.deal("Other")
    place.turn_at("2026-03-02 10:00")
    meet = place.portal.state.add_activity("Meet both", deal=one)
    place.turn()
    place.portal.state.bind_activity(meet, other)  # which no reading of changes shows
    assert "Other" not in place.heard(MARIA, place.sweeps("2026-03-04 09:00"))
    assert place.idle() == []


@pytest.mark.parametrize("how", ["new", "old", "none"])
def test_a_task_that_shows_among_the_activities_is_counted_once(place: Idleness, how: str) -> None:
    state = place.portal.state
    state.switches.tasks_as_activities = how
    deal = place.deal()
    task = state.add_task("Call", responsible=MARIA, by=MARIA, deals=[deal])
    place.turn_at("2026-03-04 10:00")
    assert place.idle() == []
    state.defer_task(task, MARIA)  # as an activity it is still planned
    place.turn()
    place.turn_at("2026-03-05 19:00")
    (line,) = place.lines()
    assert line["since"] == place.at("2026-03-04 10:00")


def test_a_task_that_awaits_acceptance_is_a_step(place: Idleness) -> None:
    state = place.portal.state
    deal = place.deal()
    task = state.add_task("Call", responsible=MARIA, by=HEAD, deals=[deal], control=True)
    place.turn_at("2026-03-03 10:00")
    state.complete_task(task, MARIA)  # as an activity it is completed
    place.turn_at("2026-03-06 10:00")
    assert place.idle() == []


def test_a_task_of_several_deals_is_a_step_of_each(place: Idleness) -> None:
    deals = [place.deal("One"), place.deal("Other")]
    task = place.portal.state.add_task("Call", responsible=MARIA, by=MARIA, deals=deals)
    place.turn_at("2026-03-04 10:00")
    assert place.idle() == []
    place.portal.state.complete_task(task, MARIA)
    place.turn_at("2026-03-05 19:00")
    assert sorted(place.idle()) == ["One", "Other"]


def test_what_was_done_before_the_first_start_counts(tmp_path: Path) -> None:
    with department(tmp_path, RULES.replace("next_step: 1 workday", "") + SWEEPS, kind=Idleness) as place:
        state = place.portal.state
        by_task, by_activity, never = place.deal("Task"), place.deal("Activity"), place.deal("Never")
        planned = place.deal("Planned")
        place.turn_at("2026-03-06 10:00")
        state.complete_task(state.add_task("Call", responsible=MARIA, by=MARIA, deals=[by_task]), MARIA)
        state.complete_activity(state.add_activity("Call", contact=7, also=[by_activity]))
        state.add_activity("Call", contact=7, also=[planned])
        place.until("2026-03-06 11:00")
        place.rules.write_text(RULES + SWEEPS)
        place.die()
        place.start()
        place.turn()
        assert place.idle() == ["Never"]
        place.turn_at("2026-03-10 10:00")
        since = {line["deal_id"]: line["since"] for line in place.lines()}
        assert since.keys() == {by_task, by_activity, never}
        assert since[by_task] == since[by_activity] == place.at("2026-03-06 10:00")


def test_what_was_done_before_is_asked_some_deals_at_a_time_also_by_the_next_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bitrix_sync.engine.steps.PORTION", 2)
    with department(tmp_path, RULES.replace("next_step: 1 workday", "") + SWEEPS, kind=Idleness) as place:
        for number in range(5):
            place.deal(f"Deal {number}")
        place.turn_at("2026-03-06 10:00")
        place.rules.write_text(RULES + SWEEPS)
        for _ in range(2):
            place.die()
            place.start()
            assert place.idle() == []
        place.rest(60)
        assert len(place.idle()) == 5


def test_activities_travel_with_what_is_written_too(place: Idleness) -> None:
    place.turn_at("2026-03-02 10:00")
    waiting = place.deal(stage="PREPAYMENT_INVOICE")
    place.turn()
    place.until("2026-03-03 18:01")
    take_in(place.context)
    place.portal.state.add_activity("Meet", deal=waiting)
    place.run(wanted=Reading(along=True))
    assert place.marks(waiting) == ["what-next"]
    assert len(place.store.planned_activities()) == 1


def test_a_deal_that_was_deleted_is_not_told_of(place: Idleness) -> None:
    deal = place.deal()
    place.turn_at("2026-03-02 10:00")
    place.portal.state.delete_deal(deal)
    assert place.readers(place.sweeps("2026-03-04 09:00")) == []
    assert place.idle() == []


def test_where_activities_cannot_be_read_no_deal_is_idle(tmp_path: Path) -> None:
    with department(tmp_path, RULES.replace("next_step: 1 workday", "") + SWEEPS, kind=Idleness) as place:
        place.deal()
        place.turn_at("2026-03-02 10:00")
        place.portal.faults.next("refuse", method="crm.activity.list", times=1000, code="ACCESS_DENIED")
        place.rules.write_text(RULES + SWEEPS)
        place.die()
        place.start()
        place.turn()
        assert place.context.steps_refused
        assert "nobody is told of deals without a next step" in place.mail(1)[-1]
        assert place.readers(place.sweeps("2026-03-04 09:00")) == []
        assert place.idle() == []
        place.portal.faults.clear()
        place.rest(700)
        place.turn()
        assert place.idle() == ["Romashka"]


def test_where_they_cannot_be_read_once_nobody_is_told_until_they_can(place: Idleness) -> None:
    place.deal()
    place.turn_at("2026-03-02 10:00")
    place.until("2026-03-04 09:00")
    place.portal.faults.next("refuse", method="crm.activity.list", times=1000, code="ACCESS_DENIED")
    assert place.readers(place.sweeps("09:00")) == []
    place.portal.faults.clear()
    assert place.readers(place.sweeps("18:30")) == [HEAD, MARIA]


def test_a_poll_brings_what_is_planned_in_its_one_request(place: Idleness) -> None:
    deal = place.deal()
    place.turn_at("2026-03-02 10:00")
    place.rest(60)
    place.turn()
    place.portal.state.add_activity("Meet", deal=deal)
    place.rest(60)
    before = place.service.portal.stats.requests
    place.turn()
    assert place.service.portal.stats.requests - before == 1
    assert place.store.planned_activities()


def test_a_burst_of_activities_is_read_whole(place: Idleness) -> None:
    deal = place.deal()
    place.turn_at("2026-03-02 10:00")
    for _ in range(170):
        place.portal.state.add_activity("Meet", deal=deal)
    place.turn()
    assert len(place.store.planned_activities()) == 170


def test_a_call_that_was_noted_is_asked_for_once_what_it_is_bound_to(place: Idleness) -> None:
    deal = place.deal()
    place.turn_at("2026-03-02 10:00")
    place.portal.state.add_activity("They called", contact=7, also=[deal], completed=True)
    for _ in range(4):
        place.rest(40)
        place.turn()
    assert place.portal.calls["crm.activity.binding.list"] == 1


# --- start: {idle} ---------------------------------------------------------------------------------------------------


def test_a_task_comes_when_the_deal_has_been_idle_for_so_long_and_again_the_next_time(place: Idleness) -> None:
    state = place.portal.state
    deal = place.deal(stage="PREPAYMENT_INVOICE")
    place.turn_at("2026-03-02 10:00")
    place.turn_at("2026-03-03 17:59")
    assert place.marks(deal) == []
    place.turn_at("2026-03-03 18:01")
    (first,) = place.tasks(deal)
    assert place.due(first.id) == "2026-03-04 18:00"
    place.turn_at("2026-03-05 10:00")
    state.complete_task(first.id, MARIA)
    place.turn()
    place.turn()
    place.turn_at("2026-03-06 18:01")
    one, two = place.tasks(deal)
    assert two.xml_id == f"{one.xml_id}:2"
    place.turn_at("2026-03-11 18:01")
    assert len(place.tasks(deal)) == 2


def test_no_task_comes_where_something_is_planned_though_nobody_saw_it(place: Idleness) -> None:
    deal, other = place.deal(stage="PREPAYMENT_INVOICE"), place.deal(stage="EXECUTING")
    place.turn_at("2026-03-02 10:00")
    meet = place.portal.state.add_activity("Meet", deal=other, deadline="2026-03-05T12:00:00+03:00")
    place.turn()
    place.portal.state.bind_activity(meet, deal)
    place.turn_at("2026-03-04 10:00")
    assert place.marks(deal) == []
    place.turn_at("2026-03-09 18:01")
    place.turn()
    assert place.marks(deal) == ["what-next"]


def test_a_foreign_task_puts_it_off(place: Idleness) -> None:
    deal = place.deal(stage="PREPAYMENT_INVOICE")
    place.turn_at("2026-03-02 10:00")
    task = place.portal.state.add_task("Call", responsible=MARIA, by=MARIA, deals=[deal])
    place.turn_at("2026-03-05 10:00")
    assert place.marks(deal) == []
    place.portal.state.complete_task(task, MARIA)
    place.turn()
    place.turn()
    place.turn_at("2026-03-06 17:59")
    assert place.marks(deal) == []
    place.turn_at("2026-03-06 18:01")
    assert place.marks(deal) == ["what-next"]


# --- kills -----------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """The process ends here."""


def test_killed_at_any_moment_each_spell_is_told_once_and_has_its_one_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every evening the process is killed some steps later, until it is through before that."""
    step = {"left": 0}

    def count_down(name: str) -> None:
        step["left"] -= 1
        if step["left"] == 0:
            raise Killed(name)

    monkeypatch.setattr("bitrix_sync.store.store.crash_point", count_down)
    monkeypatch.setattr("bitrix_sync.engine.sender.crash_point", count_down)
    with department(tmp_path, RULES + SWEEPS, kind=Idleness) as place:
        killed, steps, day = list[str](), 1, place.at("2026-03-02 10:00")
        while len(killed) == steps // 3:
            told, tasked = place.deal(f"Told {steps}"), place.deal(f"Tasked {steps}", "PREPAYMENT_INVOICE")
            place.portal.clock.set(day)
            place.turn()
            evening = (day + timedelta(days=3 if day.weekday() == 4 else 1)).replace(hour=18, minute=30)
            place.portal.clock.set(evening)
            step["left"] = steps
            try:
                for _ in range(3):
                    place.turn()
            except Killed as death:
                killed.append(str(death))
                place.die()
                place.start()
            step["left"] = 0
            for _ in range(3):
                place.turn()
            slot = f"{evening:%Y-%m-%d}/evening"
            for reader in (HEAD, MARIA):
                assert place.heard(reader, slot).count(f"Told {steps}") == 1, killed
            assert place.marks(tasked) == ["what-next"], killed
            place.portal.state.move_deal(told, "LOSE")
            place.portal.state.move_deal(tasked, "LOSE")
            steps, day = steps + 3, evening.replace(hour=19, minute=0)
        assert len(set(killed)) > 5


# --- what is said of it ----------------------------------------------------------------------------------------------


def test_preview_and_why_say_whether_the_deal_has_a_next_step(place: Idleness) -> None:
    deal = place.deal()
    place.turn_at("2026-03-02 10:00")
    none = (
        "Without a next step from Mon 2 March, 08:01 on, unless something is planned; after Tue 3 March, 18:00 its "
        "responsible and their head hear of it."
    )
    seen = load_settings(place.environ, None)
    assert preview.of_deal(seen, deal).next_step == none
    assert why.story_of(place.store, deal)["next_step"] == none
    place.portal.state.add_activity("Meet", contact=7, also=[deal])
    assert preview.of_deal(seen, deal).next_step == "The deal has a next step."
    place.turn()
    assert why.story_of(place.store, deal)["next_step"] == "The deal has a next step."


def test_preview_and_why_say_when_a_task_comes_of_it(place: Idleness) -> None:
    deal = place.deal(stage="PREPAYMENT_INVOICE")
    place.turn_at("2026-03-02 10:00")
    waits = (
        "The deal has had no next step since Mon 2 March 2026, 08:01. If nothing is planned, the task appears on "
        "Tue 3 March 2026, 18:00."
    )
    seen = load_settings(place.environ, None)
    assert preview.of_deal(seen, deal).lines[0]["why"] == [waits]
    place.rest(60)
    place.turn()
    (rule,) = why.story_of(place.store, deal)["visits"][0]["rules"]
    assert rule["decisions"][-1]["text"] == waits
    place.portal.state.add_activity("Meet", deal=deal)
    assert preview.of_deal(seen, deal).lines[0]["why"] == [
        "The task will appear later. Waiting until the deal has had no next step for 1 working day."
    ]


def test_check_says_that_activities_cannot_be_read(place: Idleness) -> None:
    seen = load_settings(place.environ, None)
    assert not [line for line in examine(seen, offline=False) if "no deal is told" in line.text]
    place.portal.faults.next("refuse", method="crm.activity.list", times=1, code="ACCESS_DENIED")
    (said,) = [line for line in examine(seen, offline=False) if "no deal is told" in line.text]
    assert said.level == "warning"


def test_without_sweeps_it_is_told_in_the_morning_all_the_same(tmp_path: Path) -> None:
    with department(tmp_path, RULES, kind=Idleness) as place:
        place.turn_at("2026-03-02 10:00")
        place.deal(fields={"OPPORTUNITY": 1200})
        place.turn()
        assert place.readers(place.sweeps("2026-03-04 09:00")) == [HEAD, MARIA]
        assert place.idle() == ["Romashka"]
        assert place.readers(place.sweeps("2026-03-05 09:00")) == []
