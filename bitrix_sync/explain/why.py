"""Why: everything that was decided about one deal, from what the store remembers; the portal is not asked.

``story`` is the JSON-able account: each stay of the deal in a stage, in it each rule with its decisions (the values
seen and wanted, also where it did nothing), its tasks with every change of their deadline, and what became of each
operation. ``why_lines`` puts it into lines. Sentences are in the language of the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import asdict
from datetime import datetime
from typing import Any

from bitrix_sync.decisions.plan import taken_away
from bitrix_sync.engine.identity import plain_host
from bitrix_sync.errors import UserError
from bitrix_sync.explain.next_step import said_of
from bitrix_sync.log import redact
from bitrix_sync.model.actions import Action, AddItem, Kind, MoveDeal, SendMessage, SetDeadline
from bitrix_sync.model.facts import Visit
from bitrix_sync.model.keys import Occurrence
from bitrix_sync.model.operations import DeadlineChange, DealState, State, StoredOperation, TaskRecord, Trace
from bitrix_sync.report import snapshot
from bitrix_sync.report.snapshot import Snapshot
from bitrix_sync.rules.suggest import did_you_mean, listed
from bitrix_sync.settings import Settings
from bitrix_sync.store import Store, queries
from bitrix_sync.store.dialects import unmade
from bitrix_sync.words import texts
from bitrix_sync.words.days import explain

Account = dict[str, Any]
ADVANCE = "advance_to"
"""The rule id under which automatic moves of the deal are traced."""


def story(settings: Settings, deal_id: int, *, host: str = "", rule: str = "") -> Account:
    """The account of a deal, or of one rule on it. UserError when nothing is remembered of the deal, no such rule was
    ever known, or ``host``, where the deal's address leads, is not the portal's."""
    if place := unmade(settings.database_url):
        raise UserError(
            f"database {place}: is not there, so nothing has been decided yet. Start `bitrix-sync run`, or set "
            "DATABASE_URL to where the service runs; `bitrix-sync preview` asks the portal instead"
        )
    with Store(settings.database_url, portal=settings.number) as store:
        refuse_another_portal(store, settings, host)
        return story_of(store, deal_id, rule=rule)


def refuse_another_portal(store: Store, settings: Settings, host: str) -> None:
    """UserError for an address of a portal that is neither the store's nor the settings'; "" is none."""
    known = snapshot.unpack(store.flags.snapshot)
    said = (settings.portal.host if settings.portal else "", store.flags.portal_host or "")
    ours = [plain_host(one) for one in said if one]
    if host and ours and plain_host(host) not in ours:
        raise UserError(texts.phrase(known.language, "story.another_portal", host=host, ours=ours[0]))


def story_of(store: Store, deal_id: int, *, rule: str = "") -> Account:
    """The same from an open store."""
    state = store.deal_states([deal_id])[deal_id]
    traces = store.traces(deal_id, rule or None)
    if not state.visits and not traces and state.deal is None and deal_id not in store.unjudged():
        raise UserError(
            f"deal {deal_id}: the service has never seen it. Is the number right, and may the webhook's user read it? "
            f"`bitrix-sync preview --deal {deal_id}` asks the portal"
        )
    return _Telling(store, state, traces, rule).account()


class _Telling:
    """One deal's account in the making. Lives for one call of ``story_of``."""

    def __init__(self, store: Store, state: DealState, traces: Sequence[Trace], rule: str) -> None:
        self.known: Snapshot = snapshot.unpack(store.flags.snapshot)
        self.state, self.traces, self.rule = state, traces, rule
        self.left: tuple[Trace | TaskRecord, ...] = (*traces, *state.tasks)
        self.language, self.calendar = self.known.language, self.known.calendar
        self.loaded = store.rules_loaded()
        self.operations = store.operations(deal_id=state.deal_id)
        self.slips: dict[str, list[DeadlineChange]] = {}
        for slip in store.slips([record.ref for record in state.tasks]):
            self.slips.setdefault(slip.ref, []).append(slip)
        self.unjudged = store.unjudged().get(state.deal_id)
        known, patience = store.steps(ids=[state.deal_id]).get(state.deal_id), None
        if known is not None and known.visit.stage_id in store.flags.steps_scope:
            patience = self.known.next_steps.get(known.visit.stage_id)
        self.next_step = said_of(self.language, known, patience, self.calendar) if known and patience else ""
        """Whether something is planned with the deal; "" where nobody asks for that, or it is not known."""
        with store.reading() as connection:
            self.row = queries.deal(connection, state.deal_id)
        self.sheets = {str(sheet["stage_id"]): sheet for sheet in self.known.sheets}
        ids = [str(task["id"]) for sheet in self.known.sheets for task in sheet["tasks"]]
        self.titles = {rule: self.known.rule_title(rule) for rule in ids}
        self.told: set[int] = set()
        paused, watch = store.flags.paused, store.flags.watch
        since = self.local(store.flags.paused_since)
        self.modes = [
            *([self.say("page.alert.paused", since=since)] if paused else []),
            *([self.say("page.alert.watch")] if watch else []),
        ]
        """A pause, and the trial mode."""

    def account(self) -> Account:
        self.refuse_unknown_rule()
        visits = [self.visit(visit, after) for visit, after in _with_next(self.state.visits)]
        return {
            "deal_id": self.state.deal_id,
            "rule": self.rule,
            "gone": self.state.deal is None and not self.unjudged,
            "unjudged": self.say("preview.unread", why=redact(self.unjudged[1].why)) if self.unjudged else "",
            "language": self.language,
            "modes": self.modes,
            "next_step": self.next_step,
            **self.deal(),
            "visits": [one for one in visits if one["rules"] or not self.rule],
            "no_occasion": self.no_occasion({rule["rule"] for visit in visits for rule in visit["rules"]}),
            "operations": [] if self.rule else self.untold(self.operations),
        }

    def refuse_unknown_rule(self) -> None:
        """UserError for a rule that nobody ever heard of."""
        ids = {*self.titles, *self.loaded, *(one.rule_id for one in self.left)}
        if self.rule and self.rule not in ids:
            cure = did_you_mean(self.rule, ids - {ADVANCE}) or listed(sorted(ids - {ADVANCE}), "The rules are")
            raise UserError(f"no rule `{self.rule}` was ever loaded. {cure}".strip())

    def deal(self) -> Account:
        """Where the deal is and whose."""
        known, row = self.known, self.row
        if row is None:
            return {"deal": "", "funnel": "", "stage": "", "responsible_id": None, "responsible": ""}
        return {
            "deal": row.title,
            "funnel": known.funnel_name(row.funnel_id),
            "stage": known.stage_name(row.stage_id),
            "responsible_id": row.responsible_id,
            "responsible": texts.person_text(known.language, known.company, row.responsible_id),
        }

    # --- a stay in a stage -------------------------------------------------------------------------------------------

    def visit(self, visit: Visit, after: Visit | None) -> Account:
        rules = [self.of_rule(visit, rule, present=after is None) for rule in self.rules_of(visit)]
        note = "" if rules or self.rule else self.say("story.no_rules")
        return {
            "visit_id": visit.id,
            "funnel": self.known.funnel_name(visit.funnel_id),
            "stage_id": visit.stage_id,
            "stage": self.known.stage_name(visit.stage_id),
            "entered": self.local(visit.entered),
            "left": self.local(after.entered) if after else None,
            "note": note,
            "rules": rules,
        }

    def rules_of(self, visit: Visit) -> list[str]:
        """The rules of the stage as the file stands, then those that left traces or tasks on the visit."""
        left = [one.rule_id for one in self.left if one.visit_id == visit.id]
        advanced = [ADVANCE for one in self.operations if _moves(one, visit)]
        ids = dict.fromkeys([*self.tasks_in_file(visit.stage_id), *left, *advanced])
        return [one for one in ids if self.rule in ("", one)]

    def tasks_in_file(self, stage_id: str) -> list[str]:
        """The ids of the stage's rules as the file stands."""
        sheet = self.sheets.get(stage_id)
        return [str(task["id"]) for task in sheet["tasks"]] if sheet else []

    def of_rule(self, visit: Visit, rule: str, *, present: bool) -> Account:
        own = [one for one in self.left if (one.visit_id, one.rule_id) == (visit.id, rule)]
        decisions = [one for one in own if isinstance(one, Trace)]
        records = [one for one in own if isinstance(one, TaskRecord)]
        operations = [one for one in self.operations if _serves(one, visit, rule, records)]
        return {
            "rule": rule,
            "title": self.titles.get(rule, ""),
            "decisions": list(map(self.decision, decisions)),
            "note": self.note(visit, rule, decisions, records),
            "cure": self.cure(visit, rule, decisions, records) if present else "",
            "tasks": list(map(self.task, records)),
            "operations": self.untold(operations),
        }

    def note(self, visit: Visit, rule: str, decisions: Sequence[Trace], records: Sequence[TaskRecord]) -> str:
        """Why there is no decision of this rule on this visit; "" if there is one."""
        if decisions:
            return ""
        if records:
            return self.say("story.no_reason")
        if self.is_past(visit, rule):
            return self.say("why.history" if visit.id in self.state.handled else "why.before_rules")
        return self.say("story.not_judged" if rule in self.titles else "story.removed")

    def cure(self, visit: Visit, rule: str, decisions: Sequence[Trace], records: Sequence[TaskRecord]) -> str:
        """The command that makes the task which the rule did not make on the deal's present visit; "" if none does."""
        deal = self.state.deal
        if rule not in self.tasks_in_file(visit.stage_id) or deal is None or (deal.closed and not visit.final):
            return ""
        command = f"bitrix-sync backfill --deal {deal.id} --rule {rule}"
        if records:
            command = self.cure_of_task(max(records, key=lambda record: record.number), command)
        elif not (decisions[-1].verdict in ("before_rules", "history") if decisions else self.is_past(visit, rule)):
            return ""
        return command and self.say("story.backfill", command=command)

    def cure_of_task(self, last: TaskRecord, backfill: str) -> str:
        """The command that makes a task which was decided and is not there; "" if none does, or none need."""
        unmade = self.state.unmade.get(last.occurrence)
        if unmade is State.HELD:
            return "bitrix-sync release"
        if taken_away(self.state, last):
            return f"{backfill} --again"
        return backfill if unmade is State.FAILED else ""

    def is_past(self, visit: Visit, rule: str) -> bool:
        """True when the visit began before the rule did."""
        loaded = self.loaded.get(rule)
        return visit.id in self.state.handled or (loaded is not None and visit.entered < loaded.replace(microsecond=0))

    def decision(self, trace: Trace) -> Account:
        words = explain(self.language, trace, zone=self.calendar.zone, deal_fields=self.known.fields)
        return {
            "at": self.local(trace.at),
            "verdict": trace.verdict,
            "text": words[0],
            "watch": bool(trace.data.get("watch")),
            "checks": [asdict(check) for check in trace.checks],
        }

    def task(self, record: TaskRecord) -> Account:
        return {
            "task_id": record.portal_id,
            "occurrence": record.occurrence,
            "title": record.title,
            "status": "gone" if record.gone else record.status,
            "owner_id": record.owner_id or None,
            "owner": self.person(record.owner_id),
            "deadline": self.local(record.deadline),
            "first_deadline": self.local(record.first_deadline),
            "closed": self.local(record.closed),
            "closed_by_id": record.closed_by,
            "closed_by": self.person(record.closed_by),
            "closed_by_service": self.closed_by_service(record),
            "slips": [
                {
                    "at": self.local(slip.at),
                    "before": self.local(slip.before),
                    "after": self.local(slip.after),
                    "by": slip.by,
                    "sweep": slip.sweep,
                    "mover_id": self.told_mover(slip),
                    "mover": self.person(self.told_mover(slip)),
                }
                for slip in self.slips.get(record.ref, ())
            ],
        }

    def closed_by_service(self, record: TaskRecord) -> bool:
        """True of a task that the service completed, and nobody after it."""
        ours = record.done_at is not None and record.closed_by in (None, self.known.company.self_id)
        return ours and any(
            (one.operation.kind, one.operation.task, one.state) == (Kind.COMPLETE, record.occurrence, State.DONE)
            for one in self.operations
            if one.sent is not None
        )

    def told_mover(self, slip: DeadlineChange) -> int | None:
        """Who moved it; None where the name may only be that of the webhook through which we wrote."""
        return None if slip.mover == self.known.company.self_id else slip.mover

    def person(self, user_id: int | None) -> str:
        """A name; who does not work here any more is marked."""
        return texts.person_text(self.language, self.known.company, user_id) if user_id else ""

    def operation(self, one: StoredOperation) -> Account:
        operation = one.operation
        return {
            "id": one.id,
            "key": operation.key,
            "kind": operation.kind.value,
            "state": one.state.value,
            "at": self.local(one.sent or one.created),
            "attempts": one.attempts,
            "about": self.about(operation.action),
            "result": one.result,
            "error_code": one.error_code,
            "error": redact(one.error_text),
        }

    def about(self, action: Action) -> str:
        """What tells this operation from others of its kind."""
        match action:
            case SendMessage(user=user) if user:
                return self.person(user)
            case MoveDeal(stage=stage):
                return self.known.stage_name(stage)
            case SetDeadline(deadline=datetime() as deadline):
                return texts.moment_text(self.language, self.calendar.local(deadline), year=True)
            case AddItem(title=title):
                return title
            case _:
                return ""

    def untold(self, operations: Iterable[StoredOperation]) -> list[Account]:
        """Those that were not told yet: what stands with its rule is not listed again."""
        new = [one for one in operations if one.id not in self.told]
        self.told |= {one.id for one in new}
        return [self.operation(one) for one in new]

    # --- rules without an occasion -----------------------------------------------------------------------------------

    def no_occasion(self, judged: Set[str]) -> list[Account]:
        """Rules of the file that have nothing to do with any visit, a sentence for each. Without ``rule`` only those of
        the deal's own funnel."""
        found: list[Account] = []
        for stage_id, sheet in self.sheets.items():
            ids = self.tasks_in_file(stage_id) if self.rule or self.in_own_funnel(stage_id) else []
            place = {"stage": str(sheet["stage"]), "funnel": str(sheet["funnel"])}
            text = self.say("story.never_there", **place)
            found += [
                {"rule": rule, "title": self.titles[rule], "stage_id": stage_id, **place, "text": text}
                for rule in ids
                if rule not in judged and self.rule in ("", rule)
            ]
        return found if self.rule in ("", *judged) or found else [self.without_stage()]

    def without_stage(self) -> Account:
        """The rule that is asked for and stands nowhere in the file."""
        text = self.say("story.removed" if self.known.known else "story.never_judged")
        return {"rule": self.rule, "title": "", "stage_id": "", "stage": "", "funnel": "", "text": text}

    def in_own_funnel(self, stage_id: str) -> bool:
        """False for a stage that surely is of another funnel than the deal."""
        stage = self.known.stage(stage_id)
        return self.row is None or stage is None or stage.funnel_id == self.row.funnel_id

    # --- words -------------------------------------------------------------------------------------------------------

    def say(self, key: str, **values: Any) -> str:
        return texts.phrase(self.language, key, **values)

    def local(self, moment: datetime | None) -> datetime | None:
        return None if moment is None else self.calendar.local(moment)


def _moves(one: StoredOperation, visit: Visit) -> bool:
    action = one.operation.action
    return isinstance(action, MoveDeal) and action.visit == visit.id


def _serves(one: StoredOperation, visit: Visit, rule: str, records: Sequence[TaskRecord]) -> bool:
    """Whether the operation was decided by the rule on the visit, or is one of its tasks'."""
    if one.operation.task in {record.occurrence for record in records} or (rule == ADVANCE and _moves(one, visit)):
        return True
    of = Occurrence.parse(one.operation.task)
    return of is not None and (of.visit, of.rule) == (visit.id, rule)


def _with_next(visits: Iterable[Visit]) -> list[tuple[Visit, Visit | None]]:
    ordered = sorted(visits, key=lambda visit: visit.id)
    return list(zip(ordered, [*ordered[1:], None], strict=True))
