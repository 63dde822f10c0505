"""What a deal's move becomes: the section "A task" of the rules language, told as short stories."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bitrix_sync.decisions import plan
from bitrix_sync.model.actions import Kind, MoveDeal, pack
from bitrix_sync.model.facts import AWAITING, DONE, IN_PROGRESS
from bitrix_sync.model.operations import State
from bitrix_sync.rules.model import (
    AllOf,
    Becomes,
    Creator,
    Deadline,
    Done,
    Duration,
    Entered,
    Head,
    Nobody,
    Not,
    OwnerOf,
    Responsible,
    Test,
    UserId,
)
from tests.world.company import after, at
from tests.world.story import BOSS, COMPANY, FIRED, HEAD, LAWYER, OTHER, OWNER, Story, book, rule

INVOICED, SHIPPED = (Becomes(Test(field, "filled", True)) for field in ("UF_CRM_INVOICE", "UF_CRM_SHIP"))


def test_a_deal_enters_a_stage_and_its_task_appears() -> None:
    story = Story(book(rule("call", title="Call {{ deal.TITLE }}"))).enters("NEW")
    fields = story.operation(Kind.CREATE).action.fields
    assert story.made() == ["call"]
    assert fields["TITLE"] == "Call Romashka"
    assert fields["RESPONSIBLE_ID"] == OWNER
    assert fields["AUDITORS"] == [HEAD]
    assert fields["DEADLINE"] == "2026-03-03T18:00:00+03:00"
    assert story.operation(Kind.CREATE).task == "10:call"


def test_deciding_twice_says_nothing_new() -> None:
    story = Story(book(rule("call", checklist=("a", "b")))).enters("NEW")
    assert len(story.last.operations) == 4
    assert story.decide().last.operations == ()


def test_tasks_come_in_the_order_of_the_file() -> None:
    story = Story(book(rule("b"), rule("a"), rule("c"))).enters("NEW")
    assert story.made() == ["b", "a", "c"]


def test_in_a_visit_come_endings_then_new_tasks_then_following_then_advancing() -> None:
    rules = book(
        rule("goes", on_leave="delete"),
        rule("ship", deadline=SHIP),
        rule("show", "MEETING"),
        rule("offer", "MEETING", start=Done("show", same_stage=True), repeat="once"),
        advance={"MEETING": "OFFER"},
    )
    story = Story(rules).enters("NEW").wait(hours=1).enters("MEETING", decide=False).sets(UF_CRM_SHIP="2026-03-12")
    kinds = [op.kind for op in story.last.operations if op.kind is not Kind.LINE]
    assert kinds == [Kind.DELETE, Kind.CREATE, Kind.DEADLINE]
    story.completes("show").enters("NEW").enters("MEETING").wait(hours=1)
    story.put([replace(story.task("show"), status=DONE, closed=story.now)])
    kinds = [op.kind for op in story.sets(UF_CRM_SHIP="2026-03-13").last.operations if op.kind is not Kind.LINE]
    assert kinds == [Kind.DEADLINE, Kind.DEADLINE, Kind.MOVE_DEAL], "of both visits' tasks, then the deal moves on"


def test_a_deal_that_passed_three_stages_meanwhile_gets_the_tasks_of_all_three() -> None:
    rules = book(rule("call"), rule("meet", "MEETING"), rule("offer", "OFFER"))
    story = Story(rules).enters("NEW", decide=False).wait(minutes=1).enters("MEETING", decide=False)
    story.wait(minutes=1).enters("OFFER")
    assert story.made() == ["call", "meet", "offer"]


def test_a_visit_that_is_over_when_read_makes_only_tasks_that_are_kept_on_leaving() -> None:
    rules = book(rule("call", on_leave="complete"), rule("note"), rule("meet", "MEETING"))
    story = Story(rules).enters("NEW", decide=False).enters("MEETING")
    assert story.made() == ["note", "meet"]
    assert story.verdict("call") == "visit_over"


def test_a_closed_deal_gets_no_task_unless_the_visit_is_to_that_final_stage() -> None:
    rules = book(rule("call"), rule("thank", "WON"))
    story = Story(rules).enters("NEW", decide=False).enters("WON")
    assert story.made() == ["thank"]
    assert story.verdict("call") == "deal_closed"


def test_entering_a_stage_again_is_a_new_visit_with_a_new_task() -> None:
    story = Story(book(rule("call"))).enters("NEW").enters("MEETING").enters("NEW")
    assert story.made() == ["call"]
    assert [record.occurrence for record in story.state.tasks] == ["10:call", "30:call"]


def test_once_means_once_for_the_deal_ever() -> None:
    story = Story(book(rule("call", repeat="once"))).enters("NEW").deletes("call").enters("MEETING").enters("NEW")
    assert story.made() == []
    assert story.verdict("call") == "exists"


def test_if_none_open_takes_the_open_task_over_and_counts_its_deadline_from_the_new_visit() -> None:
    story = Story(book(rule("call", repeat="if_none_open"))).enters("NEW").wait(days=1).enters("MEETING")
    story.wait(days=1).enters("NEW")
    assert story.made() == []
    assert story.task("call").visit_id == 30
    assert story.due("call") == "2026-03-05 18:00"
    assert story.completes("call").enters("MEETING").enters("NEW").made() == ["call"]


def test_a_task_that_was_put_off_when_the_deal_went_away_is_taken_up_when_it_is_back() -> None:
    call = rule("call", repeat="if_none_open", on_leave="defer")
    story = Story(book(call)).enters("NEW").wait(days=1).enters("MEETING")
    assert story.task("call").status == 6
    story.wait(days=1).enters("NEW")
    assert story.did(Kind.RESUME) == ["10:call"]
    assert (story.task("call").status, story.due("call")) == (2, "2026-03-05 18:00")
    assert story.enters("MEETING").did(Kind.DEFER) == ["10:call"], "and put off again"
    by_hand = Story(book(rule("call", repeat="if_none_open"))).enters("NEW").sees("call", status=6)
    assert by_hand.enters("MEETING").enters("NEW").did(Kind.RESUME) == [], "a person put it off"


@pytest.mark.parametrize(
    ("ending", "kind"), [("complete", Kind.COMPLETE), ("defer", Kind.DEFER), ("delete", Kind.DELETE)]
)
def test_on_leave_ends_what_is_still_open(ending: str, kind: Kind) -> None:
    story = Story(book(rule("call", on_leave=ending))).enters("NEW").enters("MEETING")
    assert story.did(kind) == ["10:call"]
    assert story.decide().last.operations == ()


def test_on_leave_leaves_done_and_awaiting_tasks_alone() -> None:
    rules = book(rule("done", on_leave="delete"), rule("waits", on_leave="delete"))
    story = Story(rules).enters("NEW").completes("done").sees("waits", status=AWAITING).enters("MEETING")
    assert story.did(Kind.DELETE) == []


def test_on_close_ends_open_tasks_of_every_visit_of_the_deal() -> None:
    rules = book(rule("call", on_close="complete"), rule("meet", "MEETING"))
    story = Story(rules).enters("NEW").enters("MEETING").enters("LOSE")
    assert story.did(Kind.COMPLETE) == ["10:call"]


def test_an_edited_on_leave_moves_nothing_for_a_stage_that_was_left_before() -> None:
    story = Story(book(rule("call"))).enters("NEW").enters("MEETING")
    story.rules = book(rule("call", on_leave="delete"))
    assert story.decide().last.operations == ()


# --- if and start ----------------------------------------------------------------------------------------------------

BIG = AllOf((Test("OPPORTUNITY", "min", 100_000),))


def test_if_is_judged_again_on_every_change_while_the_visit_lasts() -> None:
    story = Story(book(rule("offer", condition=BIG))).enters("NEW")
    assert story.verdict("offer") == "condition_false"
    assert story.sets(OPPORTUNITY=150_000).made() == ["offer"]
    assert story.sets(OPPORTUNITY=1).last.operations == ()


def test_if_is_not_judged_for_a_stage_that_was_left() -> None:
    story = Story(book(rule("offer", condition=BIG))).enters("NEW").enters("MEETING")
    assert story.sets(OPPORTUNITY=150_000).made() == []


def test_a_rule_that_cannot_be_judged_fails_alone_and_says_why() -> None:
    story = Story(book(rule("offer", condition=BIG), rule("call")), fields={"OPPORTUNITY": "a lot"}).enters("NEW")
    assert story.made() == ["call"]
    assert story.verdict("offer") == "cannot_judge"


def test_start_done_makes_the_task_when_that_one_is_done() -> None:
    rules = book(rule("show"), rule("offer", start=Done("show", same_stage=True)))
    story = Story(rules).enters("NEW")
    assert story.made() == ["show"]
    assert story.verdict("offer") == "waiting_start"
    story.wait(days=2).completes("show")
    assert story.made() == ["offer"]
    assert story.due("offer") == "2026-03-05 18:00"


def test_start_filled_makes_the_task_when_the_field_is_filled() -> None:
    story = Story(book(rule("ship", start=SHIPPED))).enters("NEW")
    assert story.wait(days=1).sets(UF_CRM_SHIP="2026-03-20").made() == ["ship"]
    assert story.due("ship") == "2026-03-04 18:00"


def test_a_broken_template_fails_only_its_rule() -> None:
    story = Story(book(rule("bad", title="{{ deal.NOPE }}"), rule("call"))).enters("NEW")
    assert story.made() == ["call"]
    assert story.verdict("bad") == "template_error"


# --- again -----------------------------------------------------------------------------------------------------------


def test_again_makes_the_next_task_that_much_later_at_that_days_start_of_hours() -> None:
    story = Story(book(rule("touch", again=Duration(5, "workdays"), deadline=after(3, "workhours")))).enters("NEW")
    story.wait(hours=5).completes("touch")
    assert story.made() == []
    assert story.last.wake_at == at("2026-03-09 09:00")
    story.now = at("2026-03-09 09:00")
    assert story.decide().made() == ["touch"]
    assert story.task("touch").occurrence == "10:touch:2"
    assert story.due("touch") == "2026-03-09 12:00"


def test_again_ends_with_the_visit() -> None:
    story = Story(book(rule("touch", again=Duration(1, "workdays")))).enters("NEW").completes("touch").enters("MEETING")
    assert story.wait(days=10).decide().made() == []


def test_a_deleted_task_is_neither_made_anew_nor_followed_by_another() -> None:
    story = Story(book(rule("touch", again=Duration(1, "workdays")))).enters("NEW").deletes("touch")
    assert story.wait(days=10).decide().made() == []


# --- people ----------------------------------------------------------------------------------------------------------


def test_supervisor_none_means_no_observer() -> None:
    story = Story(book(rule("call", supervisor=Nobody()))).enters("NEW")
    assert "AUDITORS" not in story.operation(Kind.CREATE).action.fields


def test_a_supervisor_may_be_told_without_observing() -> None:
    story = Story(book(rule("call", supervisor_observes=False))).enters("NEW")
    assert "AUDITORS" not in story.operation(Kind.CREATE).action.fields
    assert story.task("call").supervisor_id == HEAD


def test_owner_of_another_rule() -> None:
    rules = book(rule("law", owner=UserId(LAWYER)), rule("sign", owner=OwnerOf("law")))
    story = Story(rules).enters("NEW")
    assert story.task("sign").owner_id == LAWYER


def test_a_fired_owner_is_replaced_by_the_head_over_him() -> None:
    story = Story(book(rule("call", owner=UserId(FIRED)))).enters("NEW")
    assert story.task("call").owner_id == HEAD


def test_nobody_at_all_is_held_and_the_admins_are_told() -> None:
    story = Story(book(rule("call"), admins=(BOSS,)), responsible_id=0)
    story.company = replace(story.company, users={BOSS: story.company.users[BOSS]}, self_id=77)
    story.enters("NEW")
    assert story.operation(Kind.CREATE).state is State.HELD
    assert story.operation(Kind.MESSAGE).action.user == BOSS


def test_a_task_that_was_held_is_decided_anew_with_owner_deadline_and_text() -> None:
    call = rule("call", title="Call for {{ owner.name }}", deadline=after(1), checklist=("one",))
    story = Story(book(call, admins=(BOSS,)), responsible_id=0)
    story.company = replace(story.company, users={BOSS: story.company.users[BOSS]}, self_id=77)
    story.enters("NEW").wait(days=7)
    assert story.anew("call") is None
    story.company = replace(COMPANY, self_id=77)
    assert story.anew("call") is None, "the deal still has no responsible"
    story.rules = replace(story.rules, fallback_owner=OTHER)
    decision = story.anew("call")
    creation = decision.operations[0] if decision else None
    assert creation is not None
    assert decision is not None
    fields = creation.action.fields
    assert (fields["RESPONSIBLE_ID"], fields["TITLE"]) == (OTHER, "Call for Petr Petrov")
    assert fields["DEADLINE"] == "2026-03-09T18:00:00+03:00", "what was past is lifted"
    (record,) = decision.tasks
    assert (record.occurrence, record.owner_sent, record.supervisor_id) == ("10:call", OTHER, HEAD)
    assert decision.traces[-1].verdict == "made"
    story.rules = replace(story.rules, by_id={})
    assert story.anew("call") is None, "its rule is gone"


def test_open_tasks_follow_the_deals_responsible() -> None:
    story = Story(book(rule("call"), rule("law", owner=UserId(LAWYER)))).enters("NEW").sets(responsible=OTHER)
    payload = pack(story.operation(Kind.PEOPLE).action)
    assert story.did(Kind.PEOPLE) == ["10:call"]
    assert payload["owner"] == OTHER


def test_an_owner_that_a_person_changed_does_not_follow() -> None:
    story = Story(book(rule("call"))).enters("NEW").sees("call", owner_id=LAWYER).sets(responsible=OTHER)
    assert story.did(Kind.PEOPLE) == []
    assert story.verdict("call") == "not_followed_person"


def test_tasks_whose_owner_is_the_head_follow_too() -> None:
    story = Story(book(rule("check", owner=Head()))).enters("NEW")
    assert story.task("check").owner_id == HEAD
    assert story.sets(responsible=HEAD).task("check").owner_id == BOSS


def test_the_supervisor_goes_along_with_the_owner() -> None:
    story = Story(book(rule("call"))).enters("NEW").sets(responsible=HEAD)
    payload = pack(story.operation(Kind.PEOPLE).action)
    assert (payload["owner"], payload["supervisor"], payload["drop"]) == (HEAD, BOSS, [HEAD])
    assert story.task("call").supervisor_id == BOSS


def test_where_the_responsible_controls_the_new_one_does_though_the_owner_stays() -> None:
    law = rule("law", owner=UserId(LAWYER), supervisor=Responsible())
    story = Story(book(law, rule("other", owner=UserId(LAWYER)))).enters("NEW").sets(responsible=OTHER)
    payload = pack(story.operation(Kind.PEOPLE).action)
    assert story.did(Kind.PEOPLE) == ["10:law"]
    assert (payload["owner"], payload["supervisor"], payload["drop"]) == (LAWYER, OTHER, [OWNER])
    assert story.verdict("law") == "supervisor_followed"
    assert "Petr Petrov" in story.operation(Kind.LINE).action.text


def test_whoever_controls_now_is_the_creator_of_a_task_with_control() -> None:
    story = Story(book(rule("call", control=True))).enters("NEW").sets(responsible=HEAD)
    assert story.operation(Kind.PEOPLE).action.creator == BOSS


def test_control_makes_the_supervisor_the_creator() -> None:
    fields = Story(book(rule("call", control=True))).enters("NEW").operation(Kind.CREATE).action.fields
    assert (fields["TASK_CONTROL"], fields["CREATED_BY"]) == ("Y", HEAD)


def test_every_key_of_a_task_reaches_the_portal() -> None:
    full = rule(
        "full",
        description="[b]Text[/b]",
        priority="high",
        project=3,
        tags=("a", "b"),
        result_required=True,
        observers=(Creator(),),
        participants=(UserId(LAWYER),),
        checklist=("one", "two {{ deal.TITLE }}"),
    )
    story = Story(book(full)).enters("NEW")
    fields = story.operation(Kind.CREATE).action.fields
    assert fields["PRIORITY"] == 2
    assert fields["GROUP_ID"] == 3
    assert fields["TAGS"] == ["a", "b"]
    assert fields["AUDITORS"] == [HEAD, OTHER]
    assert fields["ACCOMPLICES"] == [LAWYER]
    assert fields["SE_PARAMETER"] == [{"VALUE": "Y", "CODE": 3}]
    assert fields["DESCRIPTION"] == "[b]Text[/b]"
    items = [op.action.title for op in story.last.operations if op.kind is Kind.CHECKLIST]
    assert items == ["Checklist", "one", "two Romashka"]


def test_a_long_title_is_cut_with_an_ellipsis() -> None:
    story = Story(book(rule("call", title="x" * 300))).enters("NEW")
    title = story.operation(Kind.CREATE).action.fields["TITLE"]
    assert len(title) == 250
    assert title.endswith("…")


# --- following -------------------------------------------------------------------------------------------------------

SHIP = Deadline(field="UF_CRM_SHIP", otherwise=after(10))


def test_task_follows_the_ship_date_while_it_is_open() -> None:
    story = Story(book(rule("ship", deadline=SHIP))).enters("NEW")
    assert story.due("ship") == "2026-03-16 18:00"
    story.wait(hours=1).sets(UF_CRM_SHIP="2026-03-12")
    assert story.due("ship") == "2026-03-12 18:00"
    assert "Ship date" in story.operation(Kind.LINE).action.text
    story.sets(UF_CRM_SHIP=None)
    assert story.due("ship") == "2026-03-16 18:00"
    story.sets(UF_CRM_SHIP="2026-03-12")
    assert story.due("ship") == "2026-03-12 18:00"
    story.completes("ship").sets(UF_CRM_SHIP="2026-03-25")
    assert story.did(Kind.DEADLINE) == []


def test_a_persons_deadline_is_respected_for_ever() -> None:
    story = Story(book(rule("ship", deadline=SHIP))).enters("NEW").sees("ship", deadline=at("2026-03-20 12:00"))
    assert story.sets(UF_CRM_SHIP="2026-03-12").did(Kind.DEADLINE) == []
    assert story.task("ship").moves_by_people == 1


def test_a_deadline_that_we_sent_is_no_persons_even_when_seen_late() -> None:
    story = Story(book(rule("ship", deadline=SHIP))).enters("NEW").sets(UF_CRM_SHIP="2026-03-12")
    story.sees("ship", deadline=at("2026-03-16 18:00"))
    assert not story.task("ship").follow_off


def test_follow_false_turns_following_off() -> None:
    story = Story(book(rule("ship", deadline=replace(SHIP, follow=False)))).enters("NEW")
    assert story.sets(UF_CRM_SHIP="2026-03-12").did(Kind.DEADLINE) == []


def test_following_stops_when_the_deal_is_closed() -> None:
    story = Story(book(rule("ship", deadline=SHIP))).enters("NEW").enters("WON")
    assert story.sets(UF_CRM_SHIP="2026-03-12").did(Kind.DEADLINE) == []


def test_an_edited_rule_moves_no_deadline_by_itself() -> None:
    story = Story(book(rule("call", deadline=after(2)))).enters("NEW")
    story.rules = book(rule("call", deadline=after(9)))
    assert story.decide().did(Kind.DEADLINE) == []


def test_deadline_of_an_event_follows_when_it_happens_and_what_has_happened_stays() -> None:
    paid = Deadline(event=INVOICED, offset=Duration(5, "workdays"), otherwise=after(10))
    story = Story(book(rule("pay", deadline=paid))).enters("NEW")
    assert story.due("pay") == "2026-03-16 18:00"
    story.wait(days=1).sets(UF_CRM_INVOICE="2026-03-01")
    assert story.due("pay") == "2026-03-10 18:00"
    story.wait(days=1).sets(UF_CRM_INVOICE=None)
    assert story.due("pay") == "2026-03-10 18:00"


def test_an_event_already_filled_at_entry_counts_from_entry() -> None:
    paid = Deadline(event=INVOICED, offset=Duration(5, "workdays"), otherwise=after(10))
    story = Story(book(rule("pay", deadline=paid)), fields={"UF_CRM_INVOICE": "2026-02-01"}).enters("NEW")
    assert story.due("pay") == "2026-03-09 18:00"


def test_event_stage_is_the_first_entry_after_the_visit_began() -> None:
    offered = Deadline(event=Entered(frozenset({"OFFER"})), offset=Duration(1, "workdays"), otherwise=after(10))
    story = Story(book(rule("call", deadline=offered))).enters("NEW").wait(days=2).enters("OFFER")
    assert story.due("call") == "2026-03-05 18:00"


def test_event_done_of_another_stage_is_its_newest_task_on_the_deal() -> None:
    done = Deadline(event=Done("call", same_stage=False), offset=Duration(1, "workdays"), otherwise=after(10))
    story = Story(book(rule("call"), rule("meet", "MEETING", deadline=done))).enters("NEW").enters("MEETING")
    story.wait(days=1).completes("call")
    assert story.due("meet") == "2026-03-04 18:00"


# --- advancing -------------------------------------------------------------------------------------------------------


def test_the_deal_moves_on_when_every_task_of_the_visit_is_done() -> None:
    story = Story(book(rule("a"), rule("b"), advance={"NEW": "MEETING"})).enters("NEW").completes("a")
    assert story.did(Kind.MOVE_DEAL) == []
    story.completes("b")
    assert story.operation(Kind.MOVE_DEAL).action == MoveDeal("MEETING", 10)
    assert story.decide().did(Kind.MOVE_DEAL) == []


def test_a_deleted_task_does_not_block_the_move_but_alone_it_does_not_cause_it() -> None:
    story = Story(book(rule("a"), rule("b"), advance={"NEW": "MEETING"})).enters("NEW").deletes("a")
    assert story.completes("b").operation(Kind.MOVE_DEAL)
    alone = Story(book(rule("a"), advance={"NEW": "MEETING"})).enters("NEW").deletes("a")
    assert alone.decide().did(Kind.MOVE_DEAL) == []


def test_a_task_that_starts_when_the_other_is_done_holds_the_deal() -> None:
    rules = book(rule("a"), rule("b", start=Done("a", same_stage=True)), advance={"NEW": "MEETING"})
    story = Story(rules).enters("NEW").completes("a")
    assert story.made() == ["b"]
    assert story.did(Kind.MOVE_DEAL) == []


def test_at_most_five_automatic_moves_a_day_then_the_supervisor_is_told() -> None:
    rules = book(rule("a"), rule("b", "MEETING"), advance={"NEW": "MEETING", "MEETING": "NEW"})
    story = Story(rules).enters("NEW")
    for turn in range(5):
        story.completes("ab"[turn % 2])
        assert story.operation(Kind.MOVE_DEAL)
        story.wait(minutes=1).enters("MEETING" if turn % 2 == 0 else "NEW")
    story.completes("b")
    assert story.did(Kind.MOVE_DEAL) == []
    assert story.operation(Kind.MESSAGE).action.user == HEAD


# --- what is old -----------------------------------------------------------------------------------------------------


def test_a_rule_acts_on_visits_that_began_after_it_was_first_loaded() -> None:
    story = Story(book(rule("call")))
    story.loaded = at("2026-03-02 12:00")
    assert story.enters("NEW").made() == []
    assert story.verdict("call") == "before_rules"
    assert story.wait(hours=3).decide(backfill=plan.Backfill()).made() == ["call"]
    assert story.decide().last.operations == ()


def test_what_was_read_at_the_first_start_is_history() -> None:
    story = Story(book(rule("call")))
    story.state = replace(story.state, handled=frozenset({10}))
    assert story.enters("NEW").verdict("call") == "history"


def test_old_news_is_looked_up_before_it_is_sent() -> None:
    story = Story(book(rule("call"))).enters("NEW", decide=False).wait(hours=1).decide()
    assert story.operation(Kind.CREATE).look_first
    assert not Story(book(rule("call"))).enters("NEW").operation(Kind.CREATE).look_first


def test_a_disabled_rule_does_nothing_and_says_why() -> None:
    story = Story(book(rule("call", disabled="the field UF_X is gone"), rule("meet"))).enters("NEW")
    assert story.made() == ["meet"]
    assert story.verdict("call") == "disabled"


def test_a_task_in_progress_counts_as_open() -> None:
    story = Story(book(rule("a"), advance={"NEW": "MEETING"})).enters("NEW").sees("a", status=IN_PROGRESS)
    assert story.did(Kind.MOVE_DEAL) == []
    assert story.sees("a", status=DONE, closed=story.now).operation(Kind.MOVE_DEAL)


# --- what is easily overlooked ---------------------------------------------------------------------------------------


def test_a_field_that_was_filled_on_entry_counts_from_entry_though_the_condition_holds_only_later() -> None:
    paid = Deadline(event=INVOICED, offset=Duration(5, "workdays"), otherwise=after(10))
    filled = {"OPPORTUNITY": 1, "UF_CRM_INVOICE": "2026-02-01"}
    story = Story(book(rule("pay", deadline=paid, condition=BIG)), fields=filled).enters("NEW")
    assert story.wait(days=2).sets(OPPORTUNITY=150_000).made() == ["pay"]
    assert story.due("pay") == "2026-03-09 18:00"


def test_a_task_that_was_done_and_opened_again_stays_done_for_those_who_wait_for_it() -> None:
    rules = book(rule("show"), rule("offer", start=Done("show", same_stage=True), condition=BIG))
    story = Story(rules).enters("NEW").wait(days=1).completes("show").wait(hours=1).sees("show", status=IN_PROGRESS)
    assert story.wait(days=1).sets(OPPORTUNITY=150_000).made() == ["offer"]
    assert story.due("offer") == "2026-03-04 18:00"


def test_a_rule_that_comes_to_a_stage_makes_nothing_for_deals_that_had_left_it() -> None:
    before, now = book(rule("call", "OFFER")), book(rule("call", "NEW"))
    story = Story(replace(before, policies={"OFFER": before.policies["OFFER"]})).enters("NEW").enters("MEETING")
    story.rules = now
    assert story.wait(days=1).sets(OPPORTUNITY=5).made() == []


def test_again_goes_on_in_a_final_stage() -> None:
    story = Story(book(rule("ask", "WON", again=Duration(3, "months")))).enters("WON").completes("ask")
    assert story.last.wake_at == at("2026-06-02 09:00")
    story.now = at("2026-06-02 09:00")
    assert story.decide().made() == ["ask"]


def test_a_deal_that_went_on_from_one_final_stage_to_another_gets_only_the_tasks_of_the_last() -> None:
    rules = book(rule("thank", "WON"), rule("why", "LOSE"))
    story = Story(rules).enters("NEW").enters("WON", decide=False).enters("LOSE")
    assert story.made() == ["why"]


def test_a_task_put_off_on_leaving_is_still_ended_on_closing() -> None:
    story = Story(book(rule("call", on_leave="defer", on_close="delete"))).enters("NEW").enters("WON")
    assert story.did(Kind.DEFER) == ["10:call"]
    assert story.did(Kind.DELETE) == ["10:call"]
    story = Story(book(rule("call", on_leave="complete", on_close="delete"))).enters("NEW").enters("WON")
    assert story.did(Kind.COMPLETE) == ["10:call"]
    assert story.did(Kind.DELETE) == []


def test_a_deal_that_was_stopped_by_the_brake_waits_for_people() -> None:
    rules = book(rule("a"), rule("b", "MEETING"), advance={"NEW": "MEETING", "MEETING": "NEW"})
    story = Story(rules).enters("NEW")
    for turn in range(5):
        story.completes("ab"[turn % 2]).wait(minutes=1).enters("MEETING" if turn % 2 == 0 else "NEW")
    story.completes("b")
    assert story.last.traces[-1].data["stage"] == "New"
    assert story.wait(days=2).sets(OPPORTUNITY=5).last.operations == ()


# --- combinations ----------------------------------------------------------------------------------------------------


def test_a_visit_that_is_not_the_latest_moves_no_deal() -> None:
    story = Story(book(rule("a"), advance={"NEW": "OFFER"})).enters("NEW").enters("MEETING")
    assert story.completes("a").did(Kind.MOVE_DEAL) == []


def test_an_event_that_had_happened_before_the_entry_counts_from_entry() -> None:
    done = Deadline(event=Done("call", same_stage=False), offset=Duration(1, "workdays"), otherwise=after(10))
    story = Story(book(rule("call"), rule("meet", "MEETING", deadline=done))).enters("NEW").completes("call")
    story.wait(days=2).enters("MEETING")
    assert story.due("meet") == "2026-03-05 18:00"


def test_a_task_taken_over_repeats_in_its_new_visit() -> None:
    touch = rule("touch", repeat="if_none_open", again=Duration(1, "days"))
    story = Story(book(touch)).enters("NEW").wait(days=1).enters("MEETING").wait(days=1).enters("NEW")
    assert story.made() == []
    story.wait(hours=1).completes("touch")
    story.now = at("2026-03-05 09:00")
    assert story.decide().made() == ["touch"]
    assert story.task("touch").occurrence == "30:touch:2"
    assert story.wait(days=9).enters("MEETING").enters("NEW").made() == [], "number 2 is still open"


def test_a_task_is_taken_over_when_its_start_comes_in_the_new_visit() -> None:
    rules = book(rule("show"), rule("offer", start=Done("show", same_stage=True), repeat="if_none_open"))
    story = Story(rules).enters("NEW").completes("show").wait(days=1).enters("MEETING").wait(days=1).enters("NEW")
    assert story.made() == ["show"]
    assert story.task("offer").visit_id == 10
    story.wait(hours=2).completes("show")
    assert story.made() == []
    assert (story.task("offer").visit_id, story.due("offer")) == (30, "2026-03-05 18:00")


def test_again_after_a_start_counts_from_the_closing_of_the_last() -> None:
    touch = rule(
        "touch",
        start=SHIPPED,
        again=Duration(2, "days"),
        deadline=after(1, "hours"),
    )
    story = Story(book(touch)).enters("NEW").wait(hours=1).sets(UF_CRM_SHIP="2026-03-20")
    assert story.due("touch") == "2026-03-02 12:00"
    story.wait(days=1).completes("touch")
    story.now = at("2026-03-05 09:00")
    assert story.decide().made() == ["touch"]
    assert story.due("touch") == "2026-03-05 10:00"


def test_again_asks_the_condition_anew() -> None:
    story = Story(book(rule("touch", again=Duration(1, "days"), condition=BIG)), fields={"OPPORTUNITY": 200_000})
    story.enters("NEW").completes("touch").sets(OPPORTUNITY=1)
    story.now = at("2026-03-04 09:00")
    assert story.decide().made() == []
    assert story.wait(hours=1).sets(OPPORTUNITY=300_000).made() == ["touch"]
    assert story.due("touch") == "2026-03-04 18:00", "counted from when it was to come, the 3rd"


@pytest.mark.parametrize("ending", ["complete", "delete"])
def test_a_task_that_is_being_ended_is_not_taken_over_nor_changed(ending: str) -> None:
    everywhere = rule("next", repeat="if_none_open", on_leave=ending, deadline=SHIP)
    everywhere = replace(everywhere, stage_ids=frozenset({"NEW", "MEETING"}))
    story = Story(book(everywhere, advance={"MEETING": "OFFER"})).enters("NEW").wait(hours=1)
    story.enters("MEETING", decide=False).sets(UF_CRM_SHIP="2026-03-20")
    assert story.made() == ["next"], "its own, for the other is over"
    assert story.did(Kind.DEADLINE) == story.did(Kind.LINE) == story.did(Kind.MOVE_DEAL) == []


def test_an_ending_on_its_way_counts() -> None:
    story = Story(book(rule("next", repeat="if_none_open", on_leave="complete"))).enters("NEW")
    before = story.task("next")
    story.enters("MEETING").put([before])
    underway = {("10:next", Kind.COMPLETE): ({"reason": "leave"},)}
    story.state = replace(story.state, underway=underway)
    assert story.enters("NEW").made() == ["next"]


def test_once_does_not_come_back_though_the_first_is_done() -> None:
    story = Story(book(rule("call", repeat="once"))).enters("NEW").completes("call").enters("MEETING").enters("NEW")
    assert story.made() == []


def test_moves_by_sweeps_do_not_stop_following() -> None:
    story = Story(book(rule("ship", deadline=SHIP))).enters("NEW")
    swept = at("2026-03-17 18:00")
    story.put([replace(story.task("ship"), deadline=swept, sent=(*story.task("ship").sent, swept), moves=1)])
    assert story.sees("ship", deadline=swept).did(Kind.DEADLINE) == []
    assert story.sets(UF_CRM_SHIP="2026-03-20").due("ship") == "2026-03-20 18:00"


# --- becomes ---------------------------------------------------------------------------------------------------------

BECAME_PAID = AllOf((Test("UF_CRM_STATE", "eq", "paid"), Not(Test("UF_CRM_INVOICE", "filled", False))))


def test_a_task_starts_when_the_deal_comes_to_fulfil_conditions() -> None:
    story = Story(book(rule("ship", start=Becomes(BECAME_PAID), deadline=after(1, "days")))).enters("NEW")
    assert list(story.state.tasks) == []
    assert story.verdict("ship") == "waiting_start"
    story.sets(UF_CRM_STATE="paid")
    assert list(story.state.tasks) == []
    story.wait(days=1).sets(UF_CRM_INVOICE="2026-03-03")
    assert [task.rule_id for task in story.state.tasks] == ["ship"]
    assert story.task("ship").started == story.deal.changed


def test_conditions_that_held_at_the_entry_count_from_it() -> None:
    story = Story(book(rule("ship", start=Becomes(BECAME_PAID), deadline=after(1, "days"))))
    story.sets(UF_CRM_STATE="paid", UF_CRM_INVOICE="2026-03-03").enters("NEW")
    assert story.task("ship").started == story.state.visits[-1].entered


def test_what_became_so_stays_so() -> None:
    wait = Deadline(event=Becomes(BECAME_PAID), offset=Duration(2, "days"), otherwise=after(30, "days"))
    story = Story(book(rule("ship", deadline=wait))).enters("NEW")
    later = story.due("ship")
    story.wait(days=1).sets(UF_CRM_STATE="paid", UF_CRM_INVOICE="2026-03-03")
    due = story.due("ship")
    assert due < later
    story.wait(days=1).sets(UF_CRM_STATE="", UF_CRM_INVOICE=None)
    assert story.due("ship") == due


def test_other_conditions_are_another_event_and_filled_is_the_short_form() -> None:
    one, other = Becomes(BECAME_PAID), Becomes(Not(BECAME_PAID))
    assert one.name != other.name
    assert one.name == Becomes(AllOf(BECAME_PAID.parts)).name
    short = Test("UF_CRM_INVOICE", "filled", True)
    assert Becomes(short).name == Becomes(AllOf((short,))).name == "filled:UF_CRM_INVOICE"


def test_a_test_that_cannot_be_judged_is_an_error_of_that_rule_alone() -> None:
    amount = Test("OPPORTUNITY", "min", 5)
    rules = book(rule("ship", start=Becomes(amount)), rule("call"))
    story = Story(rules)
    story.sets(OPPORTUNITY="many").enters("NEW")
    assert [task.rule_id for task in story.state.tasks] == ["call"]
    assert story.verdict("ship") == "cannot_judge"
