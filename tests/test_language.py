"""The rules language, sentence by sentence: what proves each one.

``SECTIONS`` follows the page of the language (version 1), section by section; a long sentence is shortened or divided.
A proof is a test, ``module::name`` of ``tests/test_module.py``, or a case of the table of broken files,
``broken_rules/file: case``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

from bitrix_sync.rules.load import load
from tests.world.company import DIRECTORY

TESTS = Path(__file__).parent
Proofs = Mapping[str, str | tuple[str, ...]]
"""Sentence, and what proves it."""

EXAMPLE = """\
version: 1
language: ru                       # notices and pages: ru (default) or en
timezone: Europe/Moscow
admins: [1]                        # who hears of trouble; default: fallback_owner

calendar:                          # without it: the portal's own; without that: Mon-Fri 09:00-18:00
  hours: {mon-fri: "09:00-18:00", sat: ["10:00-13:00", "14:00-16:00"]}
  country: RU                       # public holidays and moved working days of that country
  days_off: [2026-12-31]
  working_days: [2027-02-20]

supervisor: head                   # who controls every task, unless the task says otherwise
on_close: keep                     # what the still open tasks of a won or lost deal undergo
fallback_owner: 1                  # who gets a task that nobody else can take

funnels:
  Продажи:                         # a funnel's name, or its id (0 is the default funnel)
    Новая заявка:                  # a stage's name, or its id (PREPARATION, C5:NEW)
      - id: first-call
        title: "Позвонить клиенту: {{ deal.TITLE }}"
        deadline: {after: 30 workminutes}
    Презентация:
      limit: 5 workdays            # longer than that in the stage: the supervisor hears of it
      advance_to: КП отправлено    # all tasks of the visit done: the deal moves on
      tasks:
        - id: presentation
          title: Подготовить и провести презентацию
          deadline: {after: 2 workdays, at: "15:00"}
          checklist: [Собрать материалы, Согласовать время, Провести встречу]
        - id: offer
          title: Подготовить и направить коммерческое предложение
          if: {OPPORTUNITY: {min: 100000}}
          start: {done: presentation}          # appears when that one is done
          deadline: {after: 1 workday}
    Согласование:
      - id: keep-in-touch
        title: Узнать решение клиента
        deadline: {after: 3 workdays}
        again: 5 workdays                      # done and still in the stage: the next one
    Договор:
      - id: contract
        title: Подготовить и направить договор
        owner: {department: Юридический отдел, pick: least_loaded}
        deadline: {before: 3 workdays, field: UF_CRM_SIGN_DATE, else: {after: 3 workdays}}
        result_required: true
    Отгрузка:
      - id: prepayment
        title: Проверить поступление предоплаты
        deadline: {event: {filled: UF_CRM_INVOICE_DATE}, after: 5 workdays, else: {after: 10 workdays}}
      - id: shipment
        title: Контроль срока отгрузки товара
        owner: {field: UF_CRM_LOGIST, else: head}
        deadline: {field: UF_CRM_SHIP_DATE, at: "12:00", else: {after: 10 workdays}}
        on_leave: complete

overdue:
  tasks: rules                     # rules: made by this file; deals: any task bound to a deal; all
  morning: {at: "09:00", move_to: {after: 0 workdays}}
  evening: {at: "18:30", move_to: {after: 1 workday}}
  limit: 3                         # so many moves, then the task stays and is escalated
  notify: [supervisor, owner]

safety:
  max_new_tasks: 1000              # more in any ten minutes: held until an administrator releases them
  max_moves: 1000                  # the same for one sweep
  watch: false                     # true: decide and report everything, write nothing to the portal
"""

BROKEN = "rules_loading::test_a_broken_file_is_refused_with_place_and_cure"
DEFAULTS = "rules_loading::test_defaults_are_those_of_the_language"

FILE: Proofs = {
    "Names below are fixed": "rules_loading::test_the_shipped_schema_is_that_of_the_models",
    "Where this page is silent, do what an administrator would expect, and document it": (
        "docs::test_every_key_and_every_word_of_the_language_has_an_example"
    ),
    "The file of the page": "language::test_the_file_of_the_page_loads",
    "# yaml-language-server: $schema": (
        "rules_loading::test_editors_are_content_with_the_shipped_example",
        "init::test_init_writes_the_file_and_its_schema_and_check_is_content",
    ),
    "version: 1": "broken_rules/file: another version",
    "language: notices and pages in ru (default) or en": (
        "life_rules::test_the_language_of_notices_is_russian_unless_the_file_says_otherwise",
        "page::test_every_page_is_whole_and_speaks_the_files_language",
        "broken_rules/file: another language",
    ),
    "admins: who hears of trouble": (
        "road::test_more_than_the_safety_limit_is_held_until_it_is_released",
        "life::test_nobody_at_all_is_held_and_told_and_released_once_somebody_can_be_found",
    ),
    "admins, default: fallback_owner": (
        "rules_binding::test_admins_are_the_fallback_owner_unless_the_file_says_otherwise"
    ),
    "calendar, without it: the portal's own": "rules_binding::test_without_a_calendar_the_portals_own_counts",
    "calendar, without that: Mon-Fri 09:00-18:00": (
        "rules_binding::test_without_the_portals_calendar_monday_to_friday_from_nine_to_six"
    ),
    "supervisor: who controls every task, unless the task says otherwise": (
        "rules_loading::test_the_files_supervisor_is_every_tasks_unless_it_says_otherwise"
    ),
    "on_close: what the still open tasks of a won or lost deal undergo": (
        "life::test_what_tasks_undergo_when_the_deal_is_won"
    ),
    "fallback_owner: who gets a task that nobody else can take": (
        "persons::test_without_a_head_the_fallback_owner_takes_it"
    ),
    "max_new_tasks: more in any ten minutes are held until an administrator releases them": (
        "road::test_more_than_the_safety_limit_is_held_until_it_is_released",
        "life::test_what_the_limit_held_too_long_is_released_with_a_deadline_ahead",
        "life::test_what_is_released_after_the_deal_went_on_is_what_would_still_be_there",
        "store_contract::test_only_creations_that_were_let_through_count_against_the_limit",
    ),
    "max_moves: the same for one sweep": (
        "sweep::test_a_sweep_above_the_safety_limit_is_held_as_a_whole_and_the_admins_are_told",
        "sweep::test_release_lets_a_held_sweep_go_and_its_messages_follow",
    ),
    "watch: true: decide and report everything, write nothing to the portal": (
        "road::test_a_watching_service_says_what_it_would_do_and_writes_nothing",
        "sweep::test_under_watch_nothing_is_written_and_the_slot_is_used_up",
        "why::test_watching_is_said_with_every_decision",
        "life_rules::test_after_watching_each_deals_present_stage_is_judged_anew_and_no_stage_that_was_left",
    ),
}

WORDS: Proofs = {
    "visit: one stay of a deal in a stage, one row of the portal's stage history": (
        "plan::test_entering_a_stage_again_is_a_new_visit_with_a_new_task",
        "life::test_a_deal_that_went_away_and_came_back_has_a_second_task",
    ),
    "rule: one task entry; its id is unique in the file": "broken_rules/tasks: two tasks with one id",
    "rule: its id stays when the title changes": ("life_rules::test_a_new_id_is_a_new_rule_and_a_new_title_is_not"),
    "occurrence: (rule, visit), with again also its number: never more than one task for it, whatever happens": (
        "plan::test_deciding_twice_says_nothing_new",
        "road::test_a_second_pass_makes_nothing_twice",
        "road::test_an_end_between_send_and_note_makes_no_second_task",
        "decision_machine::test_crashes_and_delays_leave_no_trace",
        "service::test_a_killed_service_neither_loses_nor_doubles_a_task",
        "life::test_a_deal_restored_under_new_history_ids_gets_nothing_twice",
    ),
    "owner: the person who does the task, RESPONSIBLE_ID": ("plan::test_a_deal_enters_a_stage_and_its_task_appears"),
    "supervisor: an observer of the task, and the reader of the notices": (
        "road::test_a_deal_enters_a_stage_and_its_task_is_in_the_portal",
        "sweep::test_what_is_overdue_in_the_evening_is_due_on_the_next_working_day_and_people_know",
    ),
    "move: one change of an overdue deadline by a sweep": (
        "report::test_moves_lists_open_tasks_whose_deadline_was_moved"
    ),
    "open task: waiting, in progress, awaiting acceptance or deferred": (
        "report::test_deferred_and_awaiting_tasks_are_open_but_never_overdue",
        "plan::test_a_task_in_progress_counts_as_open",
    ),
    "a deleted one is gone: neither open nor done": (
        "life::test_a_deleted_task_is_gone_and_holds_nothing_up",
        "plan::test_a_deleted_task_is_neither_made_anew_nor_followed_by_another",
    ),
}

STAGES: Proofs = {
    "funnels maps a funnel (name or id) to its stages, a stage (name or id) to a list of tasks": (
        "life::test_funnels_and_stages_may_be_named_by_id_or_meant_all",
        "broken_rules/stages: a stage of nothing",
    ),
    "or to a mapping with tasks, limit, advance_to": "broken_rules/stages: keys of a stage",
    "limit: a duration, counted like a deadline after entry": (
        "sweep::test_a_deal_that_is_stuck_in_a_stage_is_told_once_for_its_visit",
        "report::test_the_limit_found_by_search_is_the_limit_of_each_deal",
    ),
    '"*" as a stage: every stage in progress of that funnel, in addition to what a named stage says': (
        "rules_binding::test_a_star_means_every_stage_in_progress_besides_what_a_named_stage_says",
        "life::test_funnels_and_stages_may_be_named_by_id_or_meant_all",
    ),
    '"*" as a funnel: every funnel (a stage name under it must exist in at least one)': (
        "rules_binding::test_the_funnel_star_means_every_funnel_that_has_such_a_stage",
        "broken_rules/stages: a stage that no funnel has",
    ),
    "Names are compared without regard to case and outer spaces": (
        "rules_binding::test_names_are_compared_without_regard_to_case_and_outer_spaces"
    ),
    "A name that the portal does not have is an error with the nearest names": (
        "broken_rules/stages: an unknown funnel",
        "broken_rules/stages: an unknown stage",
    ),
    "and one that it has twice is an error that lists the ids": (
        "rules_binding::test_a_name_that_the_portal_has_twice_is_an_error_that_lists_the_ids"
    ),
    "A name that was once resolved stays bound to its id": (
        "rules_binding::test_a_bound_name_stays_bound_though_another_stage_takes_it",
        "rules_binding::test_funnels_fields_options_and_departments_stay_bound_too",
    ),
    "after a rename in the portal the rule goes on, with a warning": (
        "life_rules::test_after_a_rename_in_the_portal_the_rule_goes_on_with_a_warning",
        "check::test_a_renamed_stage_is_a_warning_once_the_service_has_known_it",
    ),
    "What disappears from the portal later (stage, field, user, workgroup) disables the rules that need it, loudly, "
    "and no others": (
        "rules_binding::test_what_disappears_disables_the_rules_that_need_it_and_no_others",
        "life_rules::test_what_vanishes_disables_the_rules_that_need_it_loudly_and_no_others",
        "life_rules::test_what_is_back_works_again",
    ),
    "advance_to acts when the visit has at least one task": (
        "plan::test_a_deleted_task_does_not_block_the_move_but_alone_it_does_not_cause_it"
    ),
    "none is open, every one that is not gone is done": (
        "plan::test_the_deal_moves_on_when_every_task_of_the_visit_is_done",
        "road::test_a_deal_advances_when_its_tasks_are_done",
    ),
    "and the visit is still the deal's latest": "plan::test_a_visit_that_is_not_the_latest_moves_no_deal",
    "At most 5 automatic moves of one deal in 24 hours, then its supervisor is told instead": (
        "plan::test_at_most_five_automatic_moves_a_day_then_the_supervisor_is_told",
        "plan::test_a_deal_that_was_stopped_by_the_brake_waits_for_people",
        "life::test_after_five_automatic_moves_in_a_day_the_supervisor_is_told_instead",
    ),
    "A cycle in the file is a warning": "rules_binding::test_stages_that_advance_in_a_circle_are_warned_of",
    "A move that the portal refuses (required fields) is told to the supervisor once per visit": (
        "life::test_a_move_that_the_portal_refuses_is_told_to_the_supervisor_once"
    ),
}

TASK: Proofs = {
    "id: letters, digits, -, _; required": (
        "broken_rules/tasks: ids that are none",
        "rules_loading::test_ids_may_be_numbers_and_cyrillic",
    ),
    "title: template, 1 to 250 characters when rendered (longer is cut with an ellipsis)": (
        "life::test_a_title_that_is_too_long_is_cut_with_an_ellipsis",
        "templates::test_an_empty_title_is_an_error_and_an_empty_check_list_item_may_be_left_out",
    ),
    "description: template, BB code": "plan::test_every_key_of_a_task_reaches_the_portal",
    "if: conditions on the deal; default always": (
        "plan::test_if_is_judged_again_on_every_change_while_the_visit_lasts",
        DEFAULTS,
    ),
    "start: {done: rule id} or {filled: FIELD}: the task is made then, not on entry": (
        "life::test_start_counts_from_what_started_it_never_from_our_hearing_of_it",
        "plan::test_start_done_makes_the_task_when_that_one_is_done",
        "plan::test_start_filled_makes_the_task_when_the_field_is_filled",
        "broken_rules/start: starting with a stage",
    ),
    "owner: default responsible": DEFAULTS,
    "deadline: required: no task without one": "broken_rules/tasks: no deadline",
    "supervisor: a person, head or none; default the file's": (
        "rules_loading::test_a_supervisor_may_be_nobody",
        "rules_loading::test_the_files_supervisor_is_every_tasks_unless_it_says_otherwise",
        "plan::test_supervisor_none_means_no_observer",
    ),
    "supervisor_observes: false: not an observer, only a reader of notices": (
        "plan::test_a_supervisor_may_be_told_without_observing",
        "life::test_observers_participants_project_and_tags_reach_the_portal",
    ),
    "away: substitute: an owner whose absence covers the deadline is replaced; keep": (
        "life::test_an_owner_whose_absence_covers_the_deadline_is_replaced_if_the_task_says_so"
    ),
    "observers, participants: list of persons": "life::test_observers_participants_project_and_tags_reach_the_portal",
    "checklist: list of templates": "road::test_a_moved_deal_gets_the_new_stages_task_with_its_check_list",
    "priority: low, normal, high": "life::test_observers_participants_project_and_tags_reach_the_portal",
    "project: id of a workgroup": (
        "life::test_observers_participants_project_and_tags_reach_the_portal",
        "broken_rules/tasks: a project by name",
    ),
    "tags: list": "life::test_observers_participants_project_and_tags_reach_the_portal",
    "fields: the task's own user fields by code (UF_...): a template, a number, a date, a list; default none": (
        "task_fields::test_fields_are_rendered_at_creation_typed_as_the_portal_wants_them",
        "task_fields::test_a_value_is_sent_as_its_field_takes_it",
        "broken_rules/fields: codes that tasks do not have",
        "broken_rules/fields: fields that a key or the service sets",
    ),
    "fields: check names those that the portal demands": (
        "task_fields::test_a_field_that_becomes_required_is_named_by_check_told_and_cured_by_a_new_file",
        "task_fields::test_what_the_portal_demands_and_rules_lack_is_named_with_its_cure",
    ),
    "control: true: the supervisor is the task's creator and accepts the result": (
        "life::test_control_lets_the_supervisor_accept_and_a_required_result_keeps_the_task_open",
        "life::test_whoever_controls_the_task_of_a_new_responsible_accepts_its_result",
    ),
    "control needs an administrator's webhook": (
        "rules_binding::test_what_needs_an_administrator_is_a_warning_without_one"
    ),
    "result_required: true: cannot be closed without a result": (
        "life::test_control_lets_the_supervisor_accept_and_a_required_result_keeps_the_task_open"
    ),
    "again: when done while the visit lasts, the next task is made that much later (counted in days: at that day's "
    "start of hours), its deadline counted from then": (
        "plan::test_again_makes_the_next_task_that_much_later_at_that_days_start_of_hours",
        "plan::test_again_ends_with_the_visit",
        "plan::test_again_goes_on_in_a_final_stage",
        "plan::test_again_after_a_start_counts_from_the_closing_of_the_last",
        "plan::test_again_asks_the_condition_anew",
        "life::test_a_task_is_bound_to_its_deal_and_carries_its_mark_and_the_next_one_its_number",
    ),
    "repeat: each_visit": "plan::test_entering_a_stage_again_is_a_new_visit_with_a_new_task",
    "repeat: if_none_open: while an earlier task of this rule on this deal is open, that one is taken over by the new "
    "visit": (
        "plan::test_if_none_open_takes_the_open_task_over_and_counts_its_deadline_from_the_new_visit",
        "plan::test_a_task_taken_over_repeats_in_its_new_visit",
        "plan::test_a_task_is_taken_over_when_its_start_comes_in_the_new_visit",
        "life::test_a_task_put_off_on_leaving_is_taken_up_when_the_deal_is_back",
    ),
    "repeat: once: once for the deal, ever": (
        "plan::test_once_means_once_for_the_deal_ever",
        "plan::test_once_does_not_come_back_though_the_first_is_done",
    ),
    "on_leave: for its task that is still waiting, in progress or deferred when the deal leaves the stage: keep, "
    "complete, defer, delete": (
        "road::test_what_tasks_undergo_when_the_deal_leaves_the_stage",
        "life::test_a_deferred_task_is_ended_when_the_deal_leaves",
        "plan::test_on_leave_leaves_done_and_awaiting_tasks_alone",
    ),
    "on_close: the same when the deal is won or lost; default the file's on_close, else keep": (
        "life::test_what_tasks_undergo_when_the_deal_is_won",
        "plan::test_on_close_ends_open_tasks_of_every_visit_of_the_deal",
        "plan::test_a_task_put_off_on_leaving_is_still_ended_on_closing",
        DEFAULTS,
    ),
    "overdue: never, or a mapping that overrides limit and move_to; default the file's": (
        "overdue::test_never_means_never",
        "overdue::test_a_rules_own_limit_and_move_to_override_the_files",
    ),
    "control or result_required together with complete is an error": (
        "broken_rules/tasks: complete with control",
        "broken_rules/tasks: complete with a result",
        "broken_rules/tasks: complete for the file",
    ),
    "Every task is bound to its deal (UF_CRM_TASK) and carries XML_ID = bitrix-sync:<history row id>:<rule id> (:<n> "
    "from the second again on)": (
        "life::test_a_task_is_bound_to_its_deal_and_carries_its_mark_and_the_next_one_its_number"
    ),
    "if is judged on entry and again on every change of the deal while the visit lasts; a task that was made stays": (
        "life::test_if_is_judged_on_each_change_with_the_values_of_that_time",
        "plan::test_if_is_not_judged_for_a_stage_that_was_left",
    ),
    "Values are those at the time of judging": "life::test_if_is_judged_on_each_change_with_the_values_of_that_time",
    "A visit that is already over when it is read makes only tasks whose on_leave is keep": (
        "plan::test_a_visit_that_is_over_when_read_makes_only_tasks_that_are_kept_on_leaving",
        "plan::test_a_rule_that_comes_to_a_stage_makes_nothing_for_deals_that_had_left_it",
        "life_rules::test_a_rule_moved_to_another_stage_makes_nothing_for_those_who_had_left_it",
    ),
    "a deal already closed makes none, unless the visit is to that final stage itself": (
        "plan::test_a_closed_deal_gets_no_task_unless_the_visit_is_to_that_final_stage",
        "plan::test_a_deal_that_went_on_from_one_final_stage_to_another_gets_only_the_tasks_of_the_last",
    ),
    "Within a deal the order is: visits by id": (
        "plan::test_a_deal_that_passed_three_stages_meanwhile_gets_the_tasks_of_all_three"
    ),
    "in each: what the ended visit's tasks undergo, new tasks in the file's order, following, advancing": (
        "plan::test_in_a_visit_come_endings_then_new_tasks_then_following_then_advancing",
        "plan::test_tasks_come_in_the_order_of_the_file",
    ),
    "A rule acts on visits that began after it was first loaded": (
        "life_rules::test_a_rule_added_later_acts_on_visits_that_begin_after_it",
        "plan::test_a_rule_acts_on_visits_that_began_after_it_was_first_loaded",
    ),
    "backfill is for the rest": (
        "road::test_the_first_start_decides_nothing_about_the_past_and_backfill_is_for_it",
        "commands::test_backfill_makes_what_its_dry_run_said_and_nothing_twice",
    ),
    "Open tasks obey the current text of their rule from the next reason to look at them on": (
        "life_rules::test_the_edit_itself_moves_nothing_and_the_present_text_is_obeyed_from_the_next_reason_on"
    ),
    "the edit itself moves nothing": (
        "life_rules::test_the_edit_itself_moves_nothing_and_the_present_text_is_obeyed_from_the_next_reason_on",
        "life_rules::test_other_numbers_of_a_deadline_concern_new_tasks_only",
        "plan::test_an_edited_rule_moves_no_deadline_by_itself",
        "plan::test_an_edited_on_leave_moves_nothing_for_a_stage_that_was_left_before",
    ),
    "A removed rule's tasks are left to people": (
        "life_rules::test_a_rule_that_was_removed_leaves_its_tasks_to_people"
    ),
    "sweeps treat them by the file's defaults": (
        "life_rules::test_sweeps_treat_the_tasks_of_a_removed_rule_by_the_files_defaults",
        "overdue::test_a_removed_rules_task_is_treated_by_the_files_defaults",
    ),
    "A new id is a new rule": "life_rules::test_a_new_id_is_a_new_rule_and_a_new_title_is_not",
}

CALENDAR: Proofs = {
    "hours: one span or a list of spans for every working day (workdays, default Monday to Friday)": (
        "rules_binding::test_the_files_calendar"
    ),
    "or a mapping of days (mon, mon-fri) to spans, which then are the working days": (
        "rules_binding::test_the_files_calendar",
        "worktime::test_the_days_with_hours_are_the_working_days",
        "broken_rules/calendar: hours and workdays",
    ),
    "country takes public holidays and moved working days from that country's calendar": (
        "worktime::test_country_takes_public_holidays_and_days_off_that_were_moved",
        "worktime::test_country_takes_moved_working_days",
    ),
    "days_off and working_days overrule it": "worktime::test_days_off_and_working_days_overrule_the_country",
    "a working day out of turn has the first working day's hours": (
        "worktime::test_a_working_day_out_of_turn_has_the_first_working_days_hours"
    ),
    "Without calendar the portal's own settings are used; init writes them out": (
        "rules_binding::test_without_a_calendar_the_portals_own_counts",
        "init::test_the_portals_calendar_is_written_out",
    ),
    "Without timezone: the portal's, if the webhook may read it, else its fixed offset with a warning": (
        "rules_binding::test_the_zone_is_the_files_then_the_portals_then_its_offset_with_a_warning"
    ),
    "init writes the time zone out": "init::test_a_zone_that_the_portal_does_not_tell_is_asked_for",
}

PERSONS: Proofs = {
    "responsible, creator, head, an integer, an e-mail, {field}, {task}, {department, pick}, {one_of, pick}": (
        "life::test_every_form_of_a_person_finds_its_employee",
        "persons::test_every_form_of_a_person",
    ),
    "{field: ...}: an employee field of the deal": (
        "life::test_every_form_of_a_person_finds_its_employee",
        "broken_rules/persons: a field without employees",
    ),
    "{task: rule id}: whoever owns that rule's newest task on this deal": (
        "life::test_the_task_of_a_rule_is_its_newest_on_this_deal"
    ),
    "{department}: active direct members, the head only if alone": (
        "persons::test_the_head_of_a_department_works_only_if_alone"
    ),
    "round_robin: fair over restarts": (
        "life::test_round_robin_is_fair_over_restarts",
        "persons::test_round_robin_is_fair_over_restarts",
    ),
    "least_loaded: fewest open tasks due up to the new deadline": (
        "persons::test_least_loaded_counts_what_is_due_up_to_the_new_deadline"
    ),
    "counting those decided in the same pass; ties: whoever waited longest": (
        "life::test_least_loaded_counts_the_tasks_decided_in_the_same_pass",
        "persons::test_least_loaded_counts_those_decided_in_the_same_pass_and_ties_go_to_who_waited_longest",
    ),
    "first: the first who is active": "persons::test_one_of_takes_each_candidate_once_and_passes_over_the_fired",
    "Each mapping takes else: person": "life::test_every_form_of_a_person_finds_its_employee",
    "head as owner is the head over the deal's responsible": "life::test_every_form_of_a_person_finds_its_employee",
    "head as supervisor is the head over the task's owner": (
        "persons::test_the_supervisor_is_the_head_over_the_owner_or_whoever_is_named"
    ),
    "The head over a person: the head of the first of the person's departments that has an active one other than the "
    "person; if none, the parent department's, and so on up": (
        "persons::test_the_head_over_a_person_is_the_nearest_active_one",
        "persons::test_departments_in_a_circle_or_missing_end_the_climb",
    ),
    "A fired (inactive) user is never given a task: the head over him instead, then fallback_owner": (
        "persons::test_a_fired_employee_is_never_given_a_task",
        "persons::test_without_a_head_the_fallback_owner_takes_it",
    ),
    "away: substitute in a task does the same for a user whose absence covers the deadline": (
        "persons::test_an_absent_owner_is_replaced_only_if_the_rule_says_so_and_the_absence_covers_the_deadline",
        "life::test_an_owner_whose_absence_covers_the_deadline_is_replaced_if_the_task_says_so",
    ),
    "Nobody at all: the task goes to the webhook's own user if that is an active employee, marked in its description": (
        "life::test_whoever_nobody_can_be_found_for_goes_to_the_webhooks_own_user_marked"
    ),
    "otherwise it is held and the admins are told": (
        "life::test_nobody_at_all_is_held_and_told_and_released_once_somebody_can_be_found",
        "plan::test_a_task_that_was_held_is_decided_anew_with_owner_deadline_and_text",
    ),
    "When the deal's responsible changes, open tasks whose owner is responsible or head follow, unless a person has "
    "changed the owner by hand": (
        "life::test_open_tasks_follow_unless_a_person_has_changed_the_owner",
        "guards::test_an_owner_that_a_person_set_meanwhile_stays",
    ),
    "their supervisors too": (
        "life::test_open_tasks_follow_unless_a_person_has_changed_the_owner",
        "plan::test_the_supervisor_goes_along_with_the_owner",
        "plan::test_where_the_responsible_controls_the_new_one_does_though_the_owner_stays",
    ),
}

DEADLINES: Proofs = {
    "days after entering the stage: {after: 2 workdays}": (
        "deadlines::test_after_n_workdays_the_nth_working_day_strictly_after_the_day_of_the_moment"
    ),
    "days before (or after) a date": "deadlines::test_days_before_or_after_a_date",
    "a certain date": "deadlines::test_field_and_date_are_that_day_at_at_else_end_of_hours",
    "a certain event (after optional: 0 workdays)": (
        "deadlines::test_a_certain_event_counts_from_its_moment",
        "deadlines::test_after_is_optional_with_an_event_0_workdays",
    ),
    'at: "HH:MM" sets the time of day': (
        "deadlines::test_workdays_take_their_time_of_day_from_at_or_from_the_end_of_that_days_hours",
        "broken_rules/deadlines: no time of day",
    ),
    "on_day_off: next | previous | keep says what happens on a day off": (
        "deadlines::test_default_on_day_off_next_after_previous_before_and_previous_for_a_bare_field_or_date"
    ),
    "else is another deadline, always counted from entry": "deadlines::test_else_is_always_counted_from_entry",
    "and required with field and event": "broken_rules/deadlines: no else",
    "it stands for as long as the field is empty or the event has not happened": (
        "deadlines::test_else_stands_for_as_long_as_the_field_is_empty",
        "plan::test_deadline_of_an_event_follows_when_it_happens_and_what_has_happened_stays",
    ),
    "nested ones end in a sure kind": (
        "deadlines::test_nested_else_ends_in_a_sure_kind",
        "broken_rules/deadlines: no else at last",
    ),
    "Entry is the time of the stage history record (for start and again: of what started it), never of our hearing of "
    "it": (
        "life::test_deadlines_count_from_the_entry_that_the_portal_recorded",
        "life::test_start_counts_from_what_started_it_never_from_our_hearing_of_it",
    ),
    "done: that rule's task of this visit, or if the rule belongs to another stage its newest task on this deal, is "
    "completed by whomever": (
        "plan::test_event_done_of_another_stage_is_its_newest_task_on_the_deal",
        "rules_loading::test_references_to_a_rule_of_the_same_stage_mean_the_same_visit",
        "life::test_start_counts_from_what_started_it_never_from_our_hearing_of_it",
    ),
    "the moment is the later of its closing and the entry": (
        "plan::test_an_event_that_had_happened_before_the_entry_counts_from_entry"
    ),
    "stage: the first entry after this visit began": (
        "plan::test_event_stage_is_the_first_entry_after_the_visit_began"
    ),
    "(same funnel unless an id is given)": (
        "rules_binding::test_an_event_of_a_stage_means_the_same_funnel_unless_an_id_is_given"
    ),
    "filled: entry if it was already filled then, else the time of the deal's change": (
        "plan::test_an_event_already_filled_at_entry_counts_from_entry",
        "plan::test_a_field_that_was_filled_on_entry_counts_from_entry_though_the_condition_holds_only_later",
        "life::test_start_counts_from_what_started_it_never_from_our_hearing_of_it",
    ),
    "What has happened stays happened": (
        "plan::test_deadline_of_an_event_follows_when_it_happens_and_what_has_happened_stays",
        "plan::test_a_task_that_was_done_and_opened_again_stays_done_for_those_who_wait_for_it",
        "store_contract::test_what_has_happened_stays_happened",
    ),
    "Exactly: all in the file's time zone and calendar": (
        "deadlines_reference::test_every_day_of_a_year_and_every_kind_agree_with_the_reference"
    ),
    "Units, the singular too; whole numbers; 0 only with workdays": (
        "rules_loading::test_durations",
        "broken_rules/deadlines: no whole number",
        "broken_rules/deadlines: no time at all",
    ),
    "minutes, hours: by the clock, also at night; on_day_off default keep": (
        "deadlines::test_minutes_and_hours_by_the_clock_also_at_night_and_kept_on_a_day_off"
    ),
    "workminutes, workhours: inside working hours only": (
        "deadlines::test_workminutes_workhours_inside_working_hours_only"
    ),
    "They need a moment with a time (entry, event, a date-time field)": (
        "deadlines::test_minutes_and_hours_need_a_moment_with_a_time",
        "broken_rules/deadlines: hours from a date",
    ),
    "at is refused": "broken_rules/deadlines: hours at a time",
    "days, weeks, months: that many later or earlier by the calendar; time of day is at, else the end of that day's "
    "working hours": "deadlines::test_days_weeks_months_that_many_later_by_the_calendar",
    "a month's end is clamped": (
        "deadlines::test_a_months_end_is_clamped",
        "deadlines::test_a_months_end_is_clamped_before_a_date_too",
    ),
    "after N workdays, N > 0: the Nth working day strictly after the day of the moment": (
        "deadlines::test_after_n_workdays_the_nth_working_day_strictly_after_the_day_of_the_moment"
    ),
    "before N workdays: the Nth strictly before": "deadlines::test_before_n_workdays_the_nth_strictly_before",
    "0 workdays: today if today is a working day and its at (or end of hours) is still ahead, else the next working "
    "day": (
        "deadlines::test_0_workdays_today_if_it_works_and_its_at_or_end_of_hours_is_still_ahead_else_the_next_working_day"
    ),
    "field, date: that day at at, else end of hours": (
        "deadlines::test_field_and_date_are_that_day_at_at_else_end_of_hours"
    ),
    "a date-time field keeps its own time unless at is given": (
        "deadlines::test_a_date_time_field_keeps_its_own_time_unless_at_is_given"
    ),
    "A date field is a civil date as written, whatever its offset": (
        "deadlines::test_a_date_field_is_a_civil_date_as_written_whatever_its_offset"
    ),
    "Default on_day_off for days, weeks, months: next after, previous before; for a bare field or date: previous": (
        "deadlines::test_default_on_day_off_next_after_previous_before_and_previous_for_a_bare_field_or_date"
    ),
    "The moved result keeps its at; end of hours is the new day's": (
        "deadlines::test_the_moved_result_keeps_its_at_and_end_of_hours_is_the_new_days"
    ),
    "A day off that is kept, and has no at: the end of a usual working day": (
        "deadlines::test_a_day_off_that_is_kept_and_has_no_at_the_end_of_a_usual_working_day"
    ),
    "workhours that end exactly with a span stay there": (
        "deadlines::test_workhours_that_end_exactly_with_a_span_stay_there"
    ),
    "minutes, hours moved off a day off keep their time of day": (
        "deadlines::test_minutes_hours_moved_off_a_day_off_keep_their_time_of_day"
    ),
    "In the past when computed: {after: 0 workdays} from now, with the deadline's own at if it has one": (
        "deadlines::test_in_the_past_when_computed_after_0_workdays_from_now_with_its_own_at"
    ),
    "but for every kind with field not beyond the field's own moment if that is still ahead": (
        "deadlines::test_for_every_kind_with_field_not_beyond_the_fields_own_moment_if_that_is_still_ahead"
    ),
    "a replaced deadline obeys on_day_off like any other, and if the day so found is past, the next working day": (
        "deadlines::test_a_replaced_deadline_obeys_on_day_off_like_any_other_and_if_the_day_is_past_the_next_working_day"
    ),
    "the trace says so": "deadlines::test_the_trace_says_that_it_was_lifted_and_held_back",
    "A change of clocks moves nothing: days are civil days": (
        "deadlines::test_a_change_of_clocks_moves_nothing_days_are_civil_days"
    ),
    "a time of day that does not exist becomes the next one that does, a doubled one its first": (
        "deadlines::test_a_time_of_day_that_does_not_exist_becomes_the_next_one_that_does_a_doubled_one_its_first"
    ),
    "While the task is open and the deal too, its deadline follows: when the field changes or is emptied, or the event "
    "happens, it is computed anew and moved, and a line in the task says why": (
        "road::test_a_deadline_follows_its_field_and_the_task_says_why",
        "plan::test_task_follows_the_ship_date_while_it_is_open",
        "plan::test_following_stops_when_the_deal_is_closed",
        "texts::test_a_task_whose_deadline_followed_says_why",
    ),
    "(follow: false in the deadline turns that off)": "plan::test_follow_false_turns_following_off",
    "A value that we never sent (compared by minute) was set by a person": (
        "plan::test_a_deadline_that_we_sent_is_no_persons_even_when_seen_late",
        "store_contract::test_a_deadline_on_its_way_is_ours_when_the_portal_shows_it",
        "sweep::test_a_person_who_sets_the_same_minute_moved_nothing",
    ),
    "from then on following leaves that task's deadline alone for ever": (
        "plan::test_a_persons_deadline_is_respected_for_ever",
        "road::test_a_deadline_follows_its_field_and_the_task_says_why",
    ),
    "and the count of moves starts anew": (
        "sweep::test_a_person_who_moved_a_deadline_starts_the_count_anew_and_is_counted_apart"
    ),
    "sweeps still move it": (
        "life::test_neither_a_sweep_nor_its_undoing_stops_following_and_sweeps_move_what_a_person_set"
    ),
    "Moves by sweeps and by undo do not stop following": (
        "life::test_neither_a_sweep_nor_its_undoing_stops_following_and_sweeps_move_what_a_person_set",
        "life::test_undo_does_not_stop_following",
        "plan::test_moves_by_sweeps_do_not_stop_following",
    ),
}

CONDITIONS: Proofs = {
    "if maps fields of the deal to tests; all must hold": (
        "conditions::test_all_any_and_not_know_yes_no_and_cannot_tell"
    ),
    "A test is a value (equal), a list (one of), or a mapping of min, max, not, contains, filled": (
        "conditions::test_one_test_on_one_field",
        "rules_loading::test_tests_of_conditions",
        "conditions::test_a_filled_field_is_filled",
    ),
    "any: [conditions, ...] and not: conditions nest": (
        "rules_loading::test_conditions_nest",
        "conditions::test_all_any_and_not_know_yes_no_and_cannot_tell",
    ),
    "A field is named by its code or by its exact title in the portal": (
        "life::test_if_is_judged_on_each_change_with_the_values_of_that_time",
        "life::test_every_form_of_a_person_finds_its_employee",
    ),
    "list values and statuses by id or by their exact text": (
        "life::test_if_is_judged_on_each_change_with_the_values_of_that_time",
        "rules_loading::test_tests_of_conditions",
        "broken_rules/conditions: a value that the list has not",
    ),
    "a multiple field passes if any of its values does": "conditions::test_one_test_on_one_field",
    "Money and numbers compare as numbers, dates as dates": (
        "conditions::test_one_test_on_one_field",
        "conditions::test_min_and_max_agree_with_arithmetic",
    ),
    "An empty field fails min, max and contains quietly": (
        "conditions::test_an_empty_field_fails_quietly_and_equals_only_nothing"
    ),
    "a test that cannot be judged is an error of that rule on that deal, naming field and value: never silently "
    "false": (
        "conditions::test_what_cannot_be_judged_is_an_error_that_names_field_and_value",
        "plan::test_a_rule_that_cannot_be_judged_fails_alone_and_says_why",
        "life::test_a_rule_that_fails_on_a_deal_fails_there_and_loudly_and_stops_no_other",
    ),
}

TEMPLATES: Proofs = {
    "Jinja2, sandboxed": (
        "templates::test_a_bomb_is_refused_at_once",
        "templates::test_any_expression_is_worked_out_or_refused",
        "broken_rules/templates: a call in a template",
    ),
    "undefined names are errors at load time where they can be, else the rule's error": (
        "templates::test_a_wrong_template_is_found_when_the_file_is_loaded",
        "broken_rules/templates: a template of unknown names",
        "plan::test_a_broken_template_fails_only_its_rule",
    ),
    "deal: fields by code, list values as their text": "templates::test_what_a_template_shows",
    "company, contact (the deal's first; fetched only if the file uses them)": (
        "life::test_company_and_contact_are_fetched_only_if_the_file_uses_them",
        "templates::test_company_and_contact_show_themselves_and_are_empty_when_the_deal_has_none",
    ),
    "owner, supervisor (id, name), funnel, stage, deadline": (
        "templates::test_what_a_template_shows",
        "templates::test_without_a_supervisor_its_name_is_empty",
    ),
    "Values from the portal cannot inject BB code": (
        "life::test_text_of_the_portal_brings_no_code_into_a_task",
        "templates::test_values_of_the_portal_cannot_bring_bb_code",
        "texts::test_a_name_from_the_portal_brings_no_code_into_a_message_and_our_own_code_stays",
    ),
}

OVERDUE: Proofs = {
    "No overdue key: no sweeps": "sweep::test_without_the_section_what_is_unsent_is_dropped",
    "A task is overdue if it is waiting or in progress and its deadline is past, by the portal's clock": (
        "overdue::test_what_is_overdue",
        "report::test_the_portals_clock_decides_not_ours",
        "sweep::test_deferred_tasks_stay_and_those_awaiting_acceptance_are_told",
    ),
    "A task awaiting acceptance is not moved but told to the supervisor": (
        "sweep::test_deferred_tasks_stay_and_those_awaiting_acceptance_are_told"
    ),
    "tasks: rules, deals or all": ("sweep::test_scope", "overdue::test_scope"),
    "A sweep runs at at on working days": "overdue::test_a_slot_runs_once_at_its_time_on_a_working_day",
    "(days: every_day for all)": "overdue::test_days_off_have_no_sweep_unless_every_day",
    "once for its name and date, also after a restart or a downtime": (
        "sweep::test_a_slot_runs_once_also_after_a_restart",
        "overdue::test_a_change_of_clocks_neither_loses_nor_doubles_a_slot",
    ),
    "Of slots that were missed only the newest of today runs; the others are noted as skipped": (
        "overdue::test_of_missed_slots_only_the_newest_of_today_runs",
        "overdue::test_a_later_slot_of_today_that_is_done_leaves_the_earlier_one_skipped",
    ),
    "Its moment is stored when it is claimed and used to the end": (
        "store_contract::test_a_slot_is_claimed_once",
        "sweep::test_killed_at_any_moment_and_started_again_it_ends_in_the_same_state",
    ),
    "What is still unsent when the next slot begins is dropped, and listed": (
        "sweep::test_what_is_unsent_when_the_next_slot_begins_is_dropped_listed_and_decided_anew",
        "sweep::test_what_was_held_and_never_released_is_listed_when_the_next_slot_begins",
    ),
    "move_to is a deadline counted from the sweep's moment": (
        "overdue::test_an_overdue_task_is_moved_to_a_real_deadline_counted_from_the_sweep",
        "sweep::test_in_the_morning_it_is_due_today",
        "broken_rules/overdue: a sweep that counts from a field",
    ),
    "After limit moves a task's deadline stays and it is escalated to its supervisor's own head, in the morning": (
        "sweep::test_after_the_limit_it_is_escalated_to_the_supervisors_own_head_once",
        "overdue::test_after_the_limit_it_stays_and_is_escalated_in_the_morning_to_the_supervisors_own_head",
    ),
    "(at the top: to the supervisor, marked)": (
        "sweep::test_at_the_top_it_is_escalated_to_the_supervisor_himself_marked"
    ),
    "A task of a closed deal is not moved; the supervisor is told in the morning that it is open": (
        "sweep::test_a_task_of_a_closed_deal_is_not_moved_and_told_in_the_morning"
    ),
    "What the portal forbids to move is listed with the reason": (
        "sweep::test_what_the_portal_forbids_to_move_is_listed_with_its_reason"
    ),
    "The first deadline is kept for ever": "report::test_the_first_deadline_kept_is_held_against_the_last",
    "moves by sweeps and by people are counted apart; each has its reason": (
        "sweep::test_a_person_who_moved_a_deadline_starts_the_count_anew_and_is_counted_apart",
        "why::test_slips_of_a_deadline_are_listed_with_who_and_when",
    ),
    "One message per person and sweep, with sections by role": (
        "sweep::test_what_is_overdue_in_the_evening_is_due_on_the_next_working_day_and_people_know"
    ),
    "moved (from, to, for the how manieth time), escalated, due today (evening: the next working day)": (
        "sweep::test_what_is_overdue_in_the_evening_is_due_on_the_next_working_day_and_people_know",
        "sweep::test_in_the_morning_it_is_due_today",
    ),
    "load by employee": "sweep::test_the_load_says_who_is_away",
    "stuck in a stage beyond limit (told once per visit)": (
        "sweep::test_a_deal_that_is_stuck_in_a_stage_is_told_once_for_its_visit"
    ),
    "open tasks of fired employees": "sweep::test_open_tasks_of_fired_employees_are_told_to_the_head_over_them",
    "notify: supervisor, owner": "sweep::test_notify_says_who_is_told",
    "Nobody gets an empty one": "sweep::test_nothing_to_say_no_message",
    "Sent when the moves are through, or after 20 minutes, saying what remains": (
        "sweep::test_after_twenty_minutes_people_are_told_what_remains_and_the_next_message_tells_of_it"
    ),
    "A foreign task's supervisor is the head over its owner": (
        "overdue::test_a_foreign_tasks_supervisor_is_the_head_over_its_owner"
    ),
    "A whole sweep can be undone: where the deadline is still what the sweep set": (
        "sweep::test_undo_moves_back_what_nobody_has_touched_since_and_counts_go_back"
    ),
    "Counts go back too": "sweep::test_undo_moves_back_what_nobody_has_touched_since_and_counts_go_back",
}

ERRORS: Proofs = {
    "Everything wrong with a file is reported at once, with line, column, path, what is wrong and what to write": (
        BROKEN,
        "broken_rules/together: everything at once",
        "rules_loading::test_faults_do_not_hide_each_other",
    ),
    "with a suggestion where a word is near a known one": "broken_rules/tasks: a mistyped key",
    "names that the portal lacks are reported in the same run, as far as the file can be read": (
        "broken_rules/together: everything at once"
    ),
    "Duplicate keys": ("broken_rules/yaml: a key twice", "broken_rules/yaml: a stage twice"),
    "unknown keys": "broken_rules/file: unknown keys",
    "two tasks with one id": "broken_rules/tasks: two tasks with one id",
    "an advance_to that names nothing or itself": (
        "broken_rules/stages: advancing to nothing",
        "broken_rules/stages: advancing to itself",
    ),
    "a start that names nothing or itself": (
        "broken_rules/start: starting with nothing",
        "broken_rules/start: starting with itself",
    ),
    "an event that names nothing or itself": (
        "broken_rules/deadlines: an event that is none",
        "broken_rules/deadlines: an event of itself",
    ),
    "a {task:} that names nothing or itself": (
        "broken_rules/persons: the owner of nothing",
        "broken_rules/persons: the owner of itself",
    ),
    "A file with errors never replaces a good one that is running": (
        "life_rules::test_a_bad_file_never_replaces_a_good_one_and_the_admins_hear_of_it_once",
        "road::test_rules_are_loaded_again_and_a_bad_file_never_replaces_a_good_one",
    ),
    "The rules file is loaded again within ten seconds of its change": (
        "turns::test_what_others_write_is_noticed_by_a_look",
        "life_rules::test_fields_that_an_edited_file_uses_are_read_for_deals_judged_later",
        "life_rules::test_a_file_changed_while_the_portal_is_away_is_taken_up_when_it_is_back",
        "service::test_a_changed_rules_file_is_taken_up",
    ),
    "Warning: a stage in progress of a listed funnel with no task": (
        "rules_binding::test_a_stage_in_progress_of_a_listed_funnel_without_a_task_is_a_warning"
    ),
    "Warning: an employee who can be an owner and has no supervisor": (
        "rules_binding::test_an_owner_without_a_supervisor_is_a_warning"
    ),
    "Warning: field: CLOSEDATE": "rules_loading::test_what_is_allowed_but_hardly_meant_is_a_warning",
    "Warning: what the webhook's rights or scopes do not cover": (
        "rules_binding::test_what_needs_an_administrator_is_a_warning_without_one",
        "rules_binding::test_what_the_scopes_do_not_cover_is_a_warning",
    ),
}

NEXT_STEP: Proofs = {
    "next_step: a duration; a stage may have its own, or none": (
        "idle::test_a_stage_has_its_own_time_or_asks_for_no_step",
        "broken_rules/start: next steps that are none",
    ),
    "a deal in progress is idle while it has no open task other than a deferred one bound to it": (
        "idle_reckoned::test_a_deal_is_idle_since_the_latest_of_what_was_there",
        "idle::test_a_task_of_several_deals_is_a_step_of_each",
        "idle::test_a_task_that_awaits_acceptance_is_a_step",
    ),
    "no planned activity that has no DEADLINE or one that is ahead or past by no more than next_step": (
        "idle::test_a_planned_activity_is_a_step_until_it_is_past_for_too_long"
    ),
    "the deal's own or bound to it, not completed": (
        "idle::test_an_activity_of_a_contact_counts_for_the_deal_that_it_is_bound_to",
        "idle::test_before_people_are_told_the_portal_is_asked_what_else_is_bound_to_the_deal",
    ),
    "tasks that show among the activities are counted once": (
        "idle::test_a_task_that_shows_among_the_activities_is_counted_once"
    ),
    "since the latest of its entry, its last task's and last activity's end, and the activity that counts no more": (
        "idle_reckoned::test_a_deal_is_idle_since_the_latest_of_what_was_there",
        "idle::test_a_deal_is_idle_since_its_last_activity_was_completed",
        "idle_reckoned::test_two_weeks_of_work_are_told_as_they_were_each_spell_once",
    ),
    "a deferral counts as an end; also before our first start": (
        "idle::test_what_was_done_before_the_first_start_counts",
        "idle::test_a_task_that_shows_among_the_activities_is_counted_once",
    ),
    "a deletion ends it when noticed; known planned activities are read again at sweeps": (
        "idle::test_a_deletion_is_noticed_at_the_next_sweep"
    ),
    "its responsible and their head are told in the next sweep's message, once per idle spell": (
        "idle::test_a_deal_with_nothing_planned_is_told_once_to_whoever_is_responsible_and_the_head",
        "idle::test_a_deal_that_is_busy_again_and_idle_again_is_told_again",
        "idle_reckoned::test_in_a_year_each_spell_is_told_once",
        "idle::test_killed_at_any_moment_each_spell_is_told_once_and_has_its_one_task",
    ),
    "it stands in report idle and on the page until that ends": (
        "idle_reckoned::test_the_report_is_that_of_the_reckoning",
        "idle_reckoned::test_two_weeks_of_work_are_told_as_they_were_each_spell_once",
    ),
    "start: {idle: 2 workdays} makes the task when the deal has been idle so long, once per spell, n as with again": (
        "idle::test_a_task_comes_when_the_deal_has_been_idle_for_so_long_and_again_the_next_time",
        "idle::test_no_task_comes_where_something_is_planned_though_nobody_saw_it",
        "idle::test_a_foreign_task_puts_it_off",
    ),
    "which does not go together with it": "broken_rules/start: idle with again",
    "a reading that failed is not an absence": (
        "idle::test_where_activities_cannot_be_read_no_deal_is_idle",
        "idle::test_where_they_cannot_be_read_once_nobody_is_told_until_they_can",
        "idle::test_check_says_that_activities_cannot_be_read",
    ),
}

SECTIONS: Mapping[str, Proofs] = {
    "the file": FILE,
    "Words": WORDS,
    "Funnels and stages": STAGES,
    "A task": TASK,
    "Calendar": CALENDAR,
    "Persons": PERSONS,
    "Deadlines": DEADLINES,
    "Conditions": CONDITIONS,
    "Templates": TEMPLATES,
    "Overdue": OVERDUE,
    "What must not fall through: next_step": NEXT_STEP,
    "Errors": ERRORS,
}


@cache
def proofs_of(place: str) -> frozenset[str]:
    """What a module of tests, or a table of broken files, proves."""
    if place.startswith("broken_rules/"):
        text = (TESTS / f"{place}.txt").read_text(encoding="utf-8")
        return frozenset(re.findall(r"^=== (.+)$", text, re.MULTILINE))
    tree = ast.parse((TESTS / f"test_{place}.py").read_text(encoding="utf-8"))
    return frozenset(
        node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    )


@pytest.mark.parametrize("section", SECTIONS)
def test_every_sentence_has_a_test(section: str) -> None:
    lacking = []
    for sentence, proofs in SECTIONS[section].items():
        for proof in (proofs,) if isinstance(proofs, str) else proofs:
            place, name = proof.split(": " if proof.startswith("broken_rules/") else "::")
            if name not in proofs_of(place):
                lacking.append(f"{sentence}: there is no {proof}")
    assert lacking == []


def test_the_file_of_the_page_loads() -> None:
    loaded = load(EXAMPLE, directory=DIRECTORY)
    assert loaded.errors == []
    assert loaded.rules is not None
    assert len(loaded.rules.by_id) == 7
