"""Readings and writes of the real client against the sandbox portal, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bitrix_sandbox.http.server import Sandbox
from bitrix_sandbox.state.clock import Clock
from bitrix_sandbox.state.seed import SCOPES, build_big
from bitrix_sync.errors import PortalError, PortalRefused
from bitrix_sync.model.actions import Kind, unpack
from bitrix_sync.model.facts import Absent, Changes, Contact, Cursor, Deal, Reached, Unread, Visit
from bitrix_sync.model.items import DEAL
from bitrix_sync.model.operations import Operation
from bitrix_sync.model.reading import Reading
from bitrix_sync.portal import lookups, reading
from bitrix_sync.portal.client import Command, Portal
from bitrix_sync.portal.dialect import writing

FIELDS = frozenset({"OPPORTUNITY", "UF_CRM_SHIP_DATE", "UF_CRM_CATEGORY", "DATE_CREATE", "SOURCE_ID"})
MARK = "bitrix-sync:9031:call"


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox(rate=None) as box:
        yield box


@pytest.fixture
def portal(box: Sandbox) -> Iterator[Portal]:
    """A client whose pauses take no time."""
    skipped: list[float] = []
    portal = Portal(
        box.url, rate=(1000.0, 10_000), clock=lambda: now().timestamp() + sum(skipped), sleep=skipped.append
    )
    yield portal
    portal.close()


def now() -> datetime:
    return datetime.now(UTC)


def begun(portal: Portal) -> Cursor:
    return read(portal, reading.cursor_now(portal)).cursor  # type: ignore[return-value]


def reached(at: datetime) -> Cursor:
    return Cursor({DEAL.name: Reached(10**6, at, at)}, at)


def read(portal: Portal, cursor: Cursor | None, **more: Any) -> Changes:
    assert cursor is not None
    return reading.ChangeReader(portal, cursor, fields=FIELDS, **more).finish()


# --- the directory ---------------------------------------------------------------------------------------------------


def test_a_portal_of_many_funnels_tells_each_once(box: Sandbox, portal: Portal) -> None:
    before = {funnel.id for funnel in reading.directory(portal).funnels}
    more = range(100, 220)
    for number in more:
        box.state.add_funnel(f"Funnel {number}", funnel_id=number)
        box.state.add_stage("NEW", "New", funnel=number)
    for _ in range(2):
        found = reading.directory(portal)
        assert sorted(funnel.id for funnel in found.funnels) == sorted({*before, *more})
        assert [len(funnel.stages) for funnel in found.funnels if funnel.id in more] == [1] * len(more)
        assert not found.unread


# --- what changed ----------------------------------------------------------------------------------------------------


def test_a_quiet_portal_costs_one_request(box: Sandbox, portal: Portal) -> None:
    cursor = begun(portal)
    for _ in range(3):
        before = portal.stats.requests
        changes = read(portal, cursor)
        assert (changes.requests, portal.stats.requests) == (1, before + 1)
        cursor = changes.cursor or cursor


def test_what_happens_is_in_the_next_reading(box: Sandbox, portal: Portal) -> None:
    cursor = begun(portal)
    deal = box.state.add_deal("Ship", responsible=5, fields={"OPPORTUNITY": 700, "UF_CRM_CATEGORY": [5, 7]})
    box.state.move_deal(deal, "C5:UC_REPAIR", by=7)
    due = now() + timedelta(hours=3)
    task = box.state.add_task("Call", responsible=5, deals=[deal], deadline=due, auditors=[9], xml_id=MARK)
    changes = read(portal, cursor)
    assert [(v.kind, v.stage_id, v.semantic) for v in changes.visits if v.deal_id == deal] == [
        (1, "NEW", "P"),
        (5, "C5:UC_REPAIR", "P"),
    ]
    (found,) = (one for one in changes.deals if one.id == deal)
    assert (found.title, found.funnel_id, found.stage_id, found.responsible_id) == ("Ship", 5, "C5:UC_REPAIR", 5)
    assert (found.fields["OPPORTUNITY"], found.fields["UF_CRM_CATEGORY"]) == (700, [5, 7])
    assert found.fields.keys() == FIELDS
    (seen,) = (one for one in changes.tasks if one.id == task)
    assert (seen.mark, seen.deal_ids, seen.auditors, seen.owner_id) == (MARK, (deal,), (9,), 5)
    assert seen.deadline == due.replace(second=0, microsecond=0)
    assert changes.cursor is not None
    assert changes.cursor.deals.history_id == max(visit.id for visit in changes.visits)
    assert changes.requests == 1


def test_numbers_may_come_as_strings(box: Sandbox, portal: Portal) -> None:
    cursor = begun(portal)
    box.state.add_deal("Ship", responsible=5)
    as_ints = read(portal, cursor).visits
    box.state.switches.history_as_strings = True
    assert read(portal, cursor).visits == as_ints


def test_a_row_that_becomes_visible_late_is_found_by_the_overlap(box: Sandbox, portal: Portal) -> None:
    cursor = begun(portal)
    late = box.state.add_deal("Late", responsible=5, late=30)
    box.state.add_deal("Quick", responsible=5)
    first = read(portal, cursor)
    assert late not in {visit.deal_id for visit in first.visits}
    box.clock.advance(40)
    box.state.add_deal("Later", responsible=5)
    wide = read(portal, first.cursor)
    assert late in {visit.deal_id for visit in wide.visits}


@pytest.mark.parametrize(("late", "found"), [(False, False), (True, True)])
def test_between_wide_readings_the_last_minute_shows_rows_that_are_a_little_late(
    box: Sandbox, portal: Portal, late: bool, found: bool
) -> None:
    cursor = begun(portal)
    deal = box.state.add_deal("Late", responsible=5, late=30)
    box.state.add_deal("Quick", responsible=5)
    cursor = read(portal, cursor).cursor or cursor
    box.clock.advance(40)
    box.state.add_deal("Later", responsible=5)
    news = reading.ChangeReader(portal, cursor, fields=frozenset(), wanted=Reading(None, late=late)).finish()
    assert (deal in {visit.deal_id for visit in news.visits}) is found


def test_a_burst_is_not_read_again_at_every_poll(box: Sandbox, portal: Portal) -> None:
    cursor = begun(portal)
    for number in range(120):
        box.state.add_deal(f"Deal {number}", responsible=5)
    cursor = read(portal, cursor).cursor or cursor
    for minutes in (2, 2, 2):
        box.clock.advance(60 * minutes)
        news = reading.ChangeReader(portal, cursor, fields=frozenset(), wanted=Reading(None, late=True)).finish()
        assert news.cursor is not None
        cursor = news.cursor
    assert news.visits == ()


def test_deals_changed_in_one_second_are_read_once_and_then_by_the_overlap_alone(box: Sandbox, portal: Portal) -> None:
    cursor = begun(portal)
    box.clock.freeze()
    deals = [box.state.add_deal(f"Deal {number}", responsible=5) for number in range(120)]
    first = read(portal, cursor, wanted=Reading(None))
    assert {deal.id for deal in first.deals} >= set(deals)
    box.state.set_fields(deals[7], {"TITLE": "Changed in the same second"})
    box.clock.advance(5)
    moved = box.state.add_deal("Moved", responsible=5)
    second = read(portal, first.cursor or cursor, wanted=Reading(None))
    assert [deal.id for deal in second.deals] == [moved]
    wide = read(portal, second.cursor or cursor)
    assert "Changed in the same second" in {deal.title for deal in wide.deals}


def test_a_burst_is_read_whole_and_the_next_time_in_one_request(box: Sandbox, portal: Portal) -> None:
    cursor = begun(portal)
    made = {box.state.add_deal(f"Deal {number}", responsible=5) for number in range(180)}
    first = read(portal, cursor)
    assert {deal.id for deal in first.deals} >= made
    assert {visit.deal_id for visit in first.visits} >= made
    again = read(portal, first.cursor)
    assert {visit.deal_id for visit in again.visits} >= made
    assert again.requests == 1


def test_the_cursor_never_goes_back_nor_into_the_future(box: Sandbox, portal: Portal) -> None:
    far = reached(now() + timedelta(seconds=20))
    assert read(portal, far).cursor == far
    box.state.add_deal("From tomorrow", responsible=5, at=now() + timedelta(days=1))
    cursor = read(portal, begun(portal)).cursor
    assert cursor is not None
    assert cursor.deals.history_time <= portal.now() + timedelta(minutes=1), "not tomorrow"


def test_one_answer_with_a_time_far_ahead_loses_no_edit(box: Sandbox, portal: Portal) -> None:
    cursor = begun(portal)
    for ahead in (0, 55, 0, 55):  # whichever reading has it
        box.clock.advance(timedelta(minutes=ahead))
        cursor = read(portal, cursor, wanted=Reading(None)).cursor or cursor
        box.clock.advance(timedelta(minutes=-ahead))
        edited = box.state.add_deal(f"After an answer {ahead} minutes ahead", responsible=5)
        seen = read(portal, cursor, wanted=Reading(None))
        assert edited in {deal.id for deal in seen.deals}
        cursor = seen.cursor or cursor


def test_a_cursor_from_a_clock_that_was_ahead_comes_back_and_finds_what_was_edited_meanwhile(
    box: Sandbox, portal: Portal
) -> None:
    edited = box.state.add_deal("While the cursor was ahead", responsible=5)
    ahead = reached(now() + timedelta(minutes=55))
    first = read(portal, ahead, wanted=Reading(None))
    assert edited not in {deal.id for deal in first.deals}
    assert first.cursor is not None
    assert edited in {deal.id for deal in read(portal, first.cursor, wanted=Reading(None)).deals}


def test_the_portals_own_clock_is_used(portal: Portal, box: Sandbox) -> None:
    box.clock.advance(timedelta(hours=5))
    portal.call(Command("server.time"))
    assert portal.offset.total_seconds() == pytest.approx(5 * 3600, abs=2)
    cursor = begun(portal)
    deal = box.state.add_deal("Then", responsible=5)
    assert deal in {visit.deal_id for visit in read(portal, cursor).visits}


def test_a_deal_of_a_newer_portal_that_loses_system_fields_is_read(box: Sandbox, portal: Portal) -> None:
    box.state.switches.original_names_bug = True
    reading.directory(portal)
    assert len(reading.open_deals(portal, fields=FIELDS)) == 14


# --- by id -----------------------------------------------------------------------------------------------------------


def test_missing_ones_are_absent_and_hidden_ones_unread(box: Sandbox, portal: Portal) -> None:
    hidden, deleted, *shown = numbers = list(box.state.deals)
    box.state.switches.hidden_deals = {hidden}
    box.state.delete_deal(deleted)
    ends = reading.deals(portal, [*numbers, 10**6], fields=frozenset())
    assert [number for number, end in ends.items() if isinstance(end, Deal)] == shown
    assert [number for number, end in ends.items() if isinstance(end, Unread)] == [hidden]
    assert [number for number, end in ends.items() if isinstance(end, Absent)] == [deleted, 10**6]
    tasks = list(box.state.tasks)
    box.state.switches.hidden_tasks = {tasks[0]}
    assert [task.id for task in reading.tasks(portal, [*tasks, 10**6])] == tasks[1:]


def test_nothing_asked_nothing_sent(portal: Portal) -> None:
    assert reading.deals(portal, [], fields=FIELDS) == {}
    assert reading.tasks(portal, []) == reading.tasks_by_mark(portal, []) == reading.tasks_of_deals(portal, []) == []
    assert reading.deal_history(portal, []) == []
    assert reading.companies(portal, []) == reading.contacts(portal, []) == {}
    assert reading.tasks_by_mark(portal, [""]) == []
    assert portal.stats.requests == 0


def test_tasks_are_found_by_mark_the_lowest_id_first(box: Sandbox, portal: Portal) -> None:
    first = box.state.add_task("Call", responsible=5, xml_id=MARK)
    box.state.add_task("Else", responsible=5, xml_id=MARK + ":2")
    twin = box.state.add_task("Call", responsible=5, xml_id=MARK)
    assert [task.id for task in reading.tasks_by_mark(portal, [MARK, "bitrix-sync:1:none"])] == [first, twin]


def test_tasks_are_found_by_their_deals(box: Sandbox, portal: Portal) -> None:
    one, other = list(box.state.deals)[:2]
    task = box.state.add_task("Call", responsible=5, deals=[one])
    found = reading.tasks_of_deals(portal, [one])
    assert task in {seen.id for seen in found}
    assert all(one in seen.deal_ids for seen in found)
    assert task not in {seen.id for seen in reading.tasks_of_deals(portal, [other])}


def test_a_mark_is_also_looked_for_among_the_tasks_of_the_deal(box: Sandbox, portal: Portal) -> None:
    deal = next(iter(box.state.deals))
    task = box.state.add_task("Call", responsible=5, deals=[deal], xml_id=MARK)
    assert [seen.id for seen in reading.tasks_by_mark_or_deal(portal, [MARK], [deal])] == [task]
    assert reading.tasks_by_mark_or_deal(portal, ["bitrix-sync:1:none"], [deal]) == []


def test_history_is_read_by_deals_and_by_time(box: Sandbox, portal: Portal) -> None:
    deal = next(iter(box.state.deals))
    by_deal = reading.deal_history(portal, [deal])
    assert [visit.id for visit in by_deal] == box.state.deals[deal].history
    since = reading.history_since(portal, now() - timedelta(days=3))
    assert since
    assert all(isinstance(visit, Visit) and visit.entered >= now() - timedelta(days=3, seconds=5) for visit in since)


def test_a_portal_of_any_size_is_read_whole() -> None:
    state = build_big(Clock(), deals=700, owners=120, departments=60, open_tasks=420, overdue_tasks=60, closed_tasks=30)
    with Sandbox(state, rate=None) as box:
        portal = Portal(box.url, rate=(1000.0, 10_000))
        deals = reading.open_deals(portal, fields=FIELDS)
        assert {deal.id for deal in deals} == set(state.deals)
        assert len(reading.open_tasks(portal)) == 480
        assert len(reading.overdue_tasks(portal, portal.now())) == 60
        before = portal.stats.requests
        history = reading.deal_history(portal, [deal.id for deal in deals])
        assert len(history) == len(state.history)
        assert reading.deals(portal, [deal.id for deal in deals], fields=FIELDS) == {deal.id: deal for deal in deals}
        assert len(reading.tasks(portal, list(state.tasks))) == 510
        assert portal.stats.requests - before < 12
        company = reading.company(portal)
        assert (len(company.users), len(company.departments)) == (121, 61)
        before = portal.stats.requests
        assert reading.company(portal) == company == reading.directory(portal).company
        assert portal.stats.requests - before < 12
        portal.close()


def test_overdue_are_open_and_past_their_deadline(box: Sandbox, portal: Portal) -> None:
    past, future = now() - timedelta(hours=1), now() + timedelta(hours=1)
    late = box.state.add_task("Late", responsible=5, deadline=past)
    box.state.add_task("Early", responsible=5, deadline=future)
    box.state.add_task("Never", responsible=5)
    deferred = box.state.add_task("Deferred", responsible=5, deadline=past)
    box.state.defer_task(deferred, 5)
    done = box.state.add_task("Done", responsible=5, deadline=past)
    box.state.complete_task(done, 1)
    known = {task.id for task in reading.overdue_tasks(portal, portal.now())} & {late, deferred, done}
    assert known == {late}


def test_clients_come_with_all_their_fields(box: Sandbox, portal: Portal) -> None:
    company = box.state.add_company("Firm", phones=["+7999", "+7888"])
    contact = box.state.add_contact("Ivan", "Petrov", company=company, emails=["i@p.example"])
    ends = reading.companies(portal, [company]), reading.contacts(portal, [contact])
    firm, person = ends[0][company], ends[1][contact]
    assert isinstance(firm, Contact)
    assert isinstance(person, Contact)
    assert (firm.id, firm.fields["TITLE"], firm.fields["PHONE"]) == (company, "Firm", "+7999")
    assert (person.fields["NAME"], person.fields["EMAIL"]) == ("Ivan", "i@p.example")


# --- the directory ---------------------------------------------------------------------------------------------------


def test_the_directory_knows_what_names_can_mean(portal: Portal) -> None:
    directory = reading.directory(portal)
    assert [(funnel.id, funnel.name) for funnel in directory.funnels] == [(0, "Продажи"), (5, "Сервис")]
    assert [stage.id for stage in directory.funnels[1].stages][:2] == ["C5:NEW", "C5:PREPARATION"]
    assert {stage.semantic for stage in directory.funnels[0].stages} == {"P", "S", "F"}
    assert directory.fields["UF_CRM_PRIORITY"].options == {"1": "Ключевой клиент", "3": "Обычный клиент"}
    assert directory.fields["UF_CRM_CATEGORY"].multiple
    assert directory.fields["UF_CRM_SHIP_DATE"].type == "datetime"
    assert directory.fields["SOURCE_ID"].options["CALL"] == "Звонок"
    assert directory.fields["DATE_CREATE"].type == directory.fields["CREATED_TIME"].type == "datetime"
    assert directory.company.users[25].active is False
    assert directory.company.departments[3].head_id == 3
    assert (directory.company.self_id, directory.admin, directory.utc_offset) == (1, True, 10800)
    assert (directory.time_zone, directory.groups) == ("Europe/Moscow", frozenset({1}))
    assert directory.scopes == frozenset(SCOPES)
    assert directory.calendar is not None
    assert (directory.calendar.start_minute, directory.calendar.days_off) == (540, frozenset({5, 6}))


def test_stages_without_prefix_get_it(box: Sandbox, portal: Portal) -> None:
    box.state.switches.bare_stage_ids = True
    assert reading.directory(portal).stage("C5:UC_REPAIR") is not None


def test_what_a_missing_scope_hides_is_empty(box: Sandbox, portal: Portal) -> None:
    key = next(iter(box.state.webhooks))
    box.state.set_scopes(*key, ["crm", "task"])
    directory = reading.directory(portal)
    assert directory.funnels
    assert (directory.calendar, directory.groups, directory.time_zone) == (None, None, "")
    assert (dict(directory.company.users), dict(directory.company.departments)) == ({}, {})
    assert directory.scopes == {"crm", "task"}
    assert isinstance(reading.absences(portal, [5], now(), now() + timedelta(days=9)), Absent)
    assert "'user_basic'" in directory.company.unread["users"].why
    assert {"calendar", "groups"} <= directory.without.keys()


def test_without_deals_there_is_nothing_to_do(box: Sandbox, portal: Portal) -> None:
    key = next(iter(box.state.webhooks))
    box.state.set_scopes(*key, ["task"])
    with pytest.raises(PortalRefused, match="lacks the scope 'crm'"):
        reading.directory(portal)


def test_absences_are_found(box: Sandbox, portal: Portal) -> None:
    portal.call(Command("server.time"))
    (away,) = reading.absences(portal, [5, 19], portal.now(), portal.now() + timedelta(days=3))
    assert away.user_id == 19
    assert away.start < portal.now() < away.end


def test_the_zone_of_an_owner_elsewhere_is_not_taken_for_the_portals(box: Sandbox, portal: Portal) -> None:
    box.state.set_time_zone(1, "Asia/Vladivostok")
    directory = reading.directory(portal)
    assert (directory.time_zone, directory.utc_offset) == ("", 10800)
    due = now().replace(second=0, microsecond=0) + timedelta(hours=3)
    task = box.state.add_task("Call", responsible=5, deadline=due)
    assert reading.tasks(portal, [task])[0].deadline == due


# --- writing and settling --------------------------------------------------------------------------------------------


def carry_out(
    portal: Portal, kind: Kind, payload: dict[str, Any], *, deal: int = 0, task: int | None = None
) -> int | None:
    seen = reading.tasks(portal, [task])[0] if task else None
    operation = Operation("k", unpack(kind, payload), deal_id=deal, task="9031:call")
    outcome = portal.call(writing.command(operation, task_id=task, seen=seen, self_id=portal.self_id))
    assert outcome.done, outcome
    return writing.created_id(kind, outcome)


def test_every_kind_of_operation_does_what_it_says(box: Sandbox, portal: Portal) -> None:
    deal = box.state.add_deal("Ship", responsible=5)
    due = (now() + timedelta(days=1)).replace(microsecond=0).isoformat()
    fields = {"TITLE": "Call", "RESPONSIBLE_ID": 5, "DEADLINE": due, "AUDITORS": [9, 11], "ALLOW_CHANGE_DEADLINE": "N"}
    number = carry_out(portal, Kind.CREATE, {"fields": fields}, deal=deal)
    assert number is not None

    def task() -> Any:
        return reading.tasks(portal, [number])[0]

    assert (task().mark, task().deal_ids, task().auditors) == (MARK, (deal,), (9, 11))
    later = "2031-05-06T07:08:00+03:00"
    carry_out(portal, Kind.DEADLINE, {"deadline": later}, task=number)
    assert task().deadline == datetime(2031, 5, 6, 4, 8, tzinfo=UTC)
    carry_out(portal, Kind.PEOPLE, {"owner": 7, "supervisor": 3, "drop": [9]}, task=number)
    assert (task().owner_id, set(task().auditors)) == (7, {11, 3})
    carry_out(portal, Kind.PEOPLE, {"owner": 7, "supervisor": None, "drop": [11, 3]}, task=number)
    assert task().auditors == ()
    assert carry_out(portal, Kind.CHECKLIST, {"title": "Ask $result[x]", "index": 0}, task=number)
    assert set(lookups.find_items(portal, [(number, "Ask $result[x]"), (number, "Ask")]).there) == {
        (number, "Ask $result[x]")
    }
    carry_out(portal, Kind.DEFER, {"reason": "left"}, task=number)
    assert task().status == 6
    carry_out(portal, Kind.COMPLETE, {"reason": "left"}, task=number)
    assert task().status == 5
    carry_out(portal, Kind.DELETE, {"reason": "twin"}, task=number)
    assert reading.tasks(portal, [number]) == []
    carry_out(portal, Kind.MOVE_DEAL, {"stage": "PREPARATION", "visit": 1}, deal=deal)
    assert reading.deal_history(portal, [deal])[-1].stage_id == "PREPARATION"


@pytest.mark.parametrize("new_card", [True, False])
def test_a_line_is_found_again_in_comments_or_chat(box: Sandbox, portal: Portal, new_card: bool) -> None:
    box.state.switches.new_task_card = new_card
    number = box.state.add_task("Call", responsible=5, by=1)
    text = "Deadline moved:\nthe ship date is «12 March» & later <soon>"
    assert not lookups.find_lines(portal, [(number, text)]).there
    assert carry_out(portal, Kind.LINE, {"text": text}, task=number)
    asked = [(number, text), (number, "Deadline moved")]
    assert set(lookups.find_lines(portal, asked).there) == {(number, text)}


def test_a_chat_that_cannot_be_read_counts_as_said(box: Sandbox, portal: Portal) -> None:
    number = box.state.add_task("Call", responsible=5, by=5)
    box.state.switches.task_chat_members_only = True
    assert lookups.find_lines(portal, [(number, "anything")]).there
    key = next(iter(box.state.webhooks))
    box.state.set_scopes(*key, ["crm", "task"])
    assert lookups.find_messages(portal, [(5, "mark")]).there


@pytest.mark.parametrize("last", ["№ 2026-03-12/evening", "2026-03-12/evening", "Sweep: evening (2026-03-12/evening)"])
def test_a_message_is_found_by_its_mark(box: Sandbox, portal: Portal, last: str) -> None:
    mark = "2026-03-12/evening"
    assert not lookups.find_messages(portal, [(5, mark)]).there
    payload = {"user": 5, "text": f"Moved: 3\n\n{last}", "mark": "2026-03-12/evening"}
    assert carry_out(portal, Kind.MESSAGE, payload)
    assert set(lookups.find_messages(portal, [(5, mark), (5, mark[:-3]), (7, mark)]).there) == {(5, mark)}


@pytest.mark.parametrize("fault", ["garbage", "cut_before", "garbled", "refuse"])
@pytest.mark.parametrize(
    ("find", "text", "methods"),
    [
        (lookups.find_items, "Ask", ["task.checklistitem.getlist"]),
        (lookups.find_lines, "Moved", ["task.commentitem.getlist", "im.dialog.messages.get"]),
        (lookups.find_lines, "Moved", ["tasks.task.get"]),
        (lookups.find_messages, "mark", ["im.dialog.messages.get"]),
    ],
)
def test_what_cannot_be_looked_up_is_never_taken_for_not_there(
    box: Sandbox, portal: Portal, find: Any, text: str, methods: list[str], fault: str
) -> None:
    """A refusal for good counts as there; what makes no sense says nothing."""
    task = box.state.add_task("Call", responsible=5, by=1)
    other = box.state.add_task("Other", responsible=5, by=1)
    for number in (task, other):
        carry_out(portal, Kind.CHECKLIST, {"title": "Else", "index": 0}, task=number)
        carry_out(portal, Kind.LINE, {"text": "Else"}, task=number)
    carry_out(portal, Kind.MESSAGE, {"user": 5, "text": "Else else", "mark": "else"})
    pair = (5 if find is lookups.find_messages else task, text)
    assert not (sure := find(portal, [pair])).there
    assert not sure.unsure
    for method in methods:
        box.faults.next(
            fault, method, times=None, **({"row": "*"} if method == "tasks.task.get" and fault == "garbled" else {})
        )
    try:
        found = find(portal, [pair])
    except PortalError:
        return  # nothing at all was answered: whoever asks finds out later
    assert pair in found.there or pair in found.unsure


def test_the_webhooks_own_user_gets_a_notice(box: Sandbox, portal: Portal) -> None:
    assert carry_out(portal, Kind.MESSAGE, {"user": 1, "text": "Hello", "mark": "held:1"})
    assert len(box.state.notices_of(1)) == 1


@pytest.mark.parametrize("fault", ["cut_after", "page_502", "half_answer", "broken_json", "empty_result", "internal"])
def test_a_create_that_is_in_doubt_is_found_by_its_mark(box: Sandbox, portal: Portal, fault: str) -> None:
    effect = {"effect": True} if fault in ("page_502", "internal") else {}
    box.faults.next(fault, "tasks.task.add", **effect)
    operation = Operation(
        "k", unpack(Kind.CREATE, {"fields": {"TITLE": "Call", "RESPONSIBLE_ID": 5}}), task="9031:call"
    )
    assert portal.call(writing.command(operation)).kind == "unknown"
    assert len(reading.tasks_by_mark(portal, [MARK])) == 1


@pytest.mark.parametrize("fault", ["too_many", "operation_limit", "token_expired"])
def test_a_create_that_was_refused_before_it_ran_is_not_there(box: Sandbox, portal: Portal, fault: str) -> None:
    box.faults.next(fault, "tasks.task.add")
    operation = Operation(
        "k", unpack(Kind.CREATE, {"fields": {"TITLE": "Call", "RESPONSIBLE_ID": 5}}), task="9031:call"
    )
    assert portal.call(writing.command(operation)).kind == "again"
    box.faults.clear()
    assert reading.tasks_by_mark(portal, [MARK]) == []


def test_half_a_batch_is_known_by_looking(box: Sandbox, portal: Portal) -> None:
    box.faults.next("batch_cut", "batch", after=2)
    operations = [
        Operation("k", unpack(Kind.CREATE, {"fields": {"TITLE": "Call", "RESPONSIBLE_ID": 5}}), task=f"9031:call:{n}")
        for n in range(4)
    ]
    outcomes = portal.batch([writing.command(one) for one in operations])
    assert {outcome.kind for outcome in outcomes} == {"unknown"}
    assert len(reading.tasks_by_mark(portal, [f"{MARK}:{n}" for n in range(4)])) == 2


def test_readings_survive_a_portal_that_stumbles(box: Sandbox) -> None:
    skipped: list[float] = []
    portal = Portal(
        box.url, rate=(1000.0, 10_000), clock=lambda: now().timestamp() + sum(skipped), sleep=skipped.append
    )
    cursor = begun(portal)
    deal = box.state.add_deal("Ship", responsible=5)
    chances = {"cut_before": 0.05, "page_502": 0.05, "broken_json": 0.05, "too_many": 0.05, "internal": 0.05}
    box.faults.at_random(chances, "batch", seed=7)
    for _ in range(10):
        assert deal in {visit.deal_id for visit in read(portal, cursor).visits}
    assert len(reading.open_tasks(portal)) == 5
    assert portal.stats.trouble > 0
    portal.close()


def test_a_reading_of_a_dead_portal_gives_up(box: Sandbox) -> None:
    skipped: list[float] = []
    portal = Portal(box.url, clock=lambda: now().timestamp() + sum(skipped), sleep=skipped.append)
    box.faults.next("page_504", times=None)
    with pytest.raises(PortalError, match="HTTP 504"):
        reading.tasks(portal, [1])
    portal.close()


def test_a_renamed_portal_is_followed(box: Sandbox, portal: Portal) -> None:
    box.rename(f"localhost:{box.port}")
    assert reading.tasks(portal, list(box.state.tasks))
    assert portal.address == f"http://localhost:{box.port}"


def test_the_bucket_never_overflows() -> None:
    with Sandbox(rate=(20, 30)) as box:
        portal = Portal(box.url, rate=(20.0, 30))
        for _ in range(45):
            portal.call(Command("server.time"))
        assert box.limits.refusals == []
        assert box.limits.high_water <= 30
        portal.close()
