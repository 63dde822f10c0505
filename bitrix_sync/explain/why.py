"""Why: everything that was decided about one deal, from what the store remembers; the portal is not asked.

``story`` is the JSON-able account: each stay of the deal in a stage, in it each rule with its decisions (the values
seen and wanted, also where it did nothing), its tasks with every change of their deadline, and what became of each
operation. ``why_lines`` puts it into lines. Sentences are in the language of the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy.engine import make_url

from bitrix_sync.decisions.plan import taken_away
from bitrix_sync.errors import UserError
from bitrix_sync.log import redact
from bitrix_sync.model.actions import Action, AddItem, MoveDeal, SendMessage, SetDeadline
from bitrix_sync.model.facts import Visit
from bitrix_sync.model.keys import Occurrence
from bitrix_sync.model.operations import DeadlineChange, DealState, State, StoredOperation, TaskRecord, Trace
from bitrix_sync.report import snapshot
from bitrix_sync.report.snapshot import Snapshot
from bitrix_sync.rules.suggest import did_you_mean, listed
from bitrix_sync.settings import Settings
from bitrix_sync.store import Store, queries
from bitrix_sync.words import texts

Account = dict[str, Any]
ADVANCE = "advance_to"
"""The rule id under which automatic moves of the deal are traced."""


def story(settings: Settings, deal_id: int, *, rule: str = "") -> Account:
    """The account of a deal, or of one rule on it. UserError when nothing is remembered of the deal, or no such rule
    was ever known."""
    path = Path(make_url(settings.database_url).database or "")
    if not path.exists():
        raise UserError(
            f"database {path}: is not there, so nothing has been decided yet. Start `bitrix-sync run`, or set "
            "DATABASE_URL to where the service runs; `bitrix-sync preview` asks the portal instead"
        )
    with Store(settings.database_url) as store:
        return story_of(store, deal_id, rule=rule)


def story_of(store: Store, deal_id: int, *, rule: str = "") -> Account:
    """The same from an open store."""
    state = store.deal_states([deal_id])[deal_id]
    traces = store.traces(deal_id, rule or None)
    if not state.visits and not traces and state.deal is None:
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
        self.language, self.calendar = self.known.language, self.known.calendar
        self.loaded = store.rules_loaded()
        self.operations = store.operations(deal_id=state.deal_id)
        self.slips: dict[str, list[DeadlineChange]] = {}
        for slip in store.slips([record.ref for record in state.tasks]):
            self.slips.setdefault(slip.ref, []).append(slip)
        with store.reading() as connection:
            self.row = queries.deal(connection, state.deal_id)
        self.sheets = {str(sheet["stage_id"]): sheet for sheet in self.known.sheets}
        self.in_file = {str(task["id"]): sheet for sheet in self.known.sheets for task in sheet["tasks"]}
        self.titles = {str(task["id"]): str(task["title"]) for sheet in self.known.sheets for task in sheet["tasks"]}
        self.told: set[int] = set()

    def account(self) -> Account:
        known, row = self.known, self.row
        ids = {*self.in_file, *self.loaded, *(trace.rule_id for trace in self.traces)}
        ids |= {record.rule_id for record in self.state.tasks}
        if self.rule and self.rule not in ids:
            cure = did_you_mean(self.rule, ids - {ADVANCE}) or listed(sorted(ids - {ADVANCE}), "The rules are")
            raise UserError(f"no rule `{self.rule}` was ever loaded. {cure}".strip())
        visits = [self.visit(visit, after) for visit, after in _with_next(self.state.visits)]
        return {
            "deal_id": self.state.deal_id,
            "rule": self.rule,
            "deal": row.title if row is not None else "",
            "gone": self.state.deal is None,
            "language": self.language,
            "funnel": known.funnel_name(row.funnel_id) if row is not None else "",
            "stage": known.stage_name(row.stage_id) if row is not None else "",
            "responsible_id": row.responsible_id if row is not None else None,
            "responsible": known.company.name(row.responsible_id) if row is not None else "",
            "visits": [one for one in visits if one["rules"] or not self.rule],
            "no_occasion": self.no_occasion({rule["rule"] for visit in visits for rule in visit["rules"]}),
            "operations": [] if self.rule else [self.operation(one) for one in self.operations if self.first(one)],
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
        sheet = self.sheets.get(visit.stage_id)
        ids = [str(task["id"]) for task in sheet["tasks"]] if sheet else []
        ids += [trace.rule_id for trace in self.traces if trace.visit_id == visit.id]
        ids += [record.rule_id for record in self.state.tasks if record.visit_id == visit.id]
        ids += [ADVANCE for one in self.operations if _moves(one, visit)]
        return [one for one in dict.fromkeys(ids) if self.rule in ("", one)]

    def of_rule(self, visit: Visit, rule: str, *, present: bool) -> Account:
        decisions = [trace for trace in self.traces if (trace.visit_id, trace.rule_id) == (visit.id, rule)]
        records = [one for one in self.state.tasks if (one.visit_id, one.rule_id) == (visit.id, rule)]
        names = {record.occurrence for record in records}
        operations = [
            one
            for one in self.operations
            if one.operation.task in names
            or ((of := Occurrence.parse(one.operation.task)) is not None and (of.visit, of.rule) == (visit.id, rule))
            or (rule == ADVANCE and _moves(one, visit))
        ]
        return {
            "rule": rule,
            "title": self.titles.get(rule, ""),
            "decisions": [self.decision(trace) for trace in decisions],
            "note": "" if decisions else self.without_reason(visit, rule, bool(records)),
            "cure": self.cure(visit, rule, decisions, records) if present else "",
            "tasks": [self.task(record) for record in records],
            "operations": [self.operation(one) for one in operations if self.first(one)],
        }

    def without_reason(self, visit: Visit, rule: str, has_task: bool) -> str:
        """Why there is no decision of this rule on this visit."""
        if has_task:
            return self.say("story.no_reason")
        if self.is_past(visit, rule):
            return self.say("why.history" if visit.id in self.state.handled else "why.before_rules")
        return self.say("story.not_judged" if rule in self.in_file else "story.removed")

    def cure(self, visit: Visit, rule: str, decisions: Sequence[Trace], records: Sequence[TaskRecord]) -> str:
        """The command that makes the task which the rule did not make on the deal's present visit; "" if none does."""
        sheet, deal = self.sheets.get(visit.stage_id), self.state.deal
        in_force = sheet is not None and any(task["id"] == rule for task in sheet["tasks"])
        if not in_force or deal is None or (deal.closed and not visit.final):
            return ""
        command = f"bitrix-sync backfill --deal {deal.id} --rule {rule}"
        if records:
            last = max(records, key=lambda record: record.number)
            unmade = self.state.unmade.get(last.occurrence)
            if unmade is State.HELD:
                command = "bitrix-sync release"
            elif taken_away(self.state, last):
                command += " --again"
            elif unmade is not State.FAILED:
                return ""
        elif decisions:
            if decisions[-1].verdict not in ("before_rules", "history"):
                return ""
        elif not self.is_past(visit, rule):
            return ""
        return self.say("story.backfill", command=command)

    def is_past(self, visit: Visit, rule: str) -> bool:
        """True when the visit began before the rule did."""
        loaded = self.loaded.get(rule)
        return visit.id in self.state.handled or (loaded is not None and visit.entered < loaded.replace(microsecond=0))

    def decision(self, trace: Trace) -> Account:
        words = texts.explain(self.language, trace, zone=self.calendar.zone, deal_fields=self.known.fields)
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
            "owner": self.known.company.name(record.owner_id) if record.owner_id else "",
            "deadline": self.local(record.deadline),
            "first_deadline": self.local(record.first_deadline),
            "slips": [
                {
                    "at": self.local(slip.at),
                    "before": self.local(slip.before),
                    "after": self.local(slip.after),
                    "by": slip.by,
                    "sweep": slip.sweep,
                }
                for slip in self.slips.get(record.ref, ())
            ],
        }

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
                return self.known.company.name(user)
            case MoveDeal(stage=stage):
                return self.known.stage_name(stage)
            case SetDeadline(deadline=datetime() as deadline):
                return texts.moment_text(self.language, self.calendar.local(deadline), year=True)
            case AddItem(title=title):
                return title
            case _:
                return ""

    def first(self, one: StoredOperation) -> bool:
        """True once for each operation: what stands with its rule is not listed again."""
        new = one.id not in self.told
        self.told.add(one.id)
        return new

    # --- rules without an occasion -----------------------------------------------------------------------------------

    def no_occasion(self, judged: Set[str]) -> list[Account]:
        """Rules of the file that have nothing to do with any visit, a sentence for each. Without ``rule`` only those of
        the deal's own funnel."""
        stages = {stage.id: stage for funnel in self.known.funnels for stage in funnel.stages}
        found: list[Account] = []
        for stage_id, sheet in self.sheets.items():
            stage = stages.get(stage_id)
            own = self.row is None or stage is None or stage.funnel_id == self.row.funnel_id
            place = {"stage": str(sheet["stage"]), "funnel": str(sheet["funnel"])}
            text = self.say("story.never_there", **place)
            found += [
                {"rule": str(task["id"]), "stage_id": stage_id, **place, "text": text}
                for task in sheet["tasks"]
                if str(task["id"]) not in judged and (own if not self.rule else self.rule == str(task["id"]))
            ]
        if self.rule and self.rule not in judged and not found:
            text = self.say("story.removed" if self.known.known else "story.never_judged")
            found.append({"rule": self.rule, "stage_id": "", "stage": "", "funnel": "", "text": text})
        return found

    # --- words -------------------------------------------------------------------------------------------------------

    def say(self, key: str, **values: Any) -> str:
        return texts.phrase(self.language, key, **values)

    def local(self, moment: datetime | None) -> datetime | None:
        return None if moment is None else self.calendar.local(moment)


def _moves(one: StoredOperation, visit: Visit) -> bool:
    action = one.operation.action
    return isinstance(action, MoveDeal) and action.visit == visit.id


def _with_next(visits: Iterable[Visit]) -> list[tuple[Visit, Visit | None]]:
    ordered = sorted(visits, key=lambda visit: visit.id)
    return list(zip(ordered, [*ordered[1:], None], strict=True))
