"""Which tasks a sweep lends while their owners are away, and which come back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bitrix_sync.decisions.lending import Passing, passings
from bitrix_sync.model.facts import AWAITING, DEFERRED, Absence, Deal
from bitrix_sync.model.operations import TaskRecord
from bitrix_sync.model.presence import Presence
from bitrix_sync.rules.persons import StandIns
from tests.world.company import at
from tests.world.story import BOSS, COMPANY, HEAD, OTHER, OWNER, book, rule

RULES = book(rule("call", away="substitute"), rule("own", away="keep"))
MOMENT = at("2026-03-03 09:00")
DEAL = Deal(7, "Romashka", 0, "NEW", "P", OWNER, 1, 0, 0, MOMENT, MOMENT)
LEAVE = Absence(OWNER, at("2026-03-03 00:00"), at("2026-03-06 00:00"))


def task(rule_id: str = "call", **more: Any) -> TaskRecord:
    """A task of the owner's, due the day after tomorrow."""
    made = TaskRecord(
        f"9:{rule_id}", 7, rule_id, 9, deadline=at("2026-03-05 12:00"), owner_id=OWNER, owner_sent=OWNER, portal_id=70
    )
    return replace(made, **more)


def passed(*tasks: TaskRecord, absences: tuple[Absence, ...] = (LEAVE,), named: dict[int, int] | None = None,
           deal: Deal = DEAL) -> list[Passing]:  # fmt: skip
    """What the morning's sweep passes on."""
    return passings(
        tasks,
        rules=RULES,
        company=COMPANY,
        deals={7: deal},
        standing=StandIns(Presence(absences, RULES.calendar), named or {}),
        moment=MOMENT,
    )


def test_what_is_due_before_the_absence_ends_is_lent_to_whom_the_file_names_else_to_the_head() -> None:
    assert [(one.to, one.until) for one in passed(task(), named={OWNER: OTHER})] == [(OTHER, LEAVE.end)]
    assert [one.to for one in passed(task())] == [HEAD]
    assert passed(task(deadline=at("2026-03-06 12:00"))) == [], "due when they are back"
    assert [one.to for one in passed(task(deadline=at("2026-03-02 12:00")))] == [HEAD], "overdue"
    assert [one.to for one in passed(task(status=DEFERRED))] == [HEAD]


def test_what_stays() -> None:
    assert passed(task("own")) == [], "its rule keeps it"
    assert passed(task(occurrence="", rule_id="")) == [], "no rule made it"
    assert passed(task(status=AWAITING)) == [], "its owner has done it"
    assert passed(task(owner_id=OTHER)) == [], "a person gave it to somebody"
    assert passed(task(deadline=None)) == []
    assert passed(task(gone=True)) == []
    assert passed(task(), deal=replace(DEAL, stage_id="WON", semantic="S")) == [], "its deal is closed"
    afternoon = Absence(OWNER, at("2026-03-03 14:00"), at("2026-03-06 00:00"))
    assert passed(task(), absences=(afternoon,)) == [], "there for a part of the day"
    nobody = (LEAVE, replace(LEAVE, user_id=HEAD), replace(LEAVE, user_id=BOSS))
    assert passed(task(), absences=nobody) == [], "not further up than the head"


def test_what_was_lent_comes_back_when_its_owner_is_there_and_not_on_the_same_day() -> None:
    lent = task(owner_id=OTHER, owner_sent=OTHER, lent_from=OWNER, lent_at=at("2026-03-02 09:00"))
    assert passed(lent) == [], "still away"
    assert [one.to for one in passed(lent, absences=())] == [None]
    assert passed(replace(lent, lent_at=at("2026-03-03 08:00")), absences=()) == []
    assert passed(replace(lent, owner_id=HEAD), absences=()) == [], "a person gave it to somebody"
    assert passed(replace(lent, owner_id=OWNER), absences=()) == [], "a person gave it back"


def test_a_substitutes_own_is_never_asked() -> None:
    lent = task(owner_id=OTHER, owner_sent=OTHER, lent_from=OWNER, lent_at=at("2026-03-02 09:00"))
    assert passed(lent, absences=(LEAVE, replace(LEAVE, user_id=OTHER)), named={OTHER: HEAD}) == []
