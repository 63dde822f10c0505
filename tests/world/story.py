"""Words for telling a decision as a story: one sales department, one deal, what happens to it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from bitrix_sync.decisions import plan
from bitrix_sync.model.actions import Kind
from bitrix_sync.model.facts import DONE, Company, Deal, DealField, Department, PortalTask, User, Visit
from bitrix_sync.model.operations import DealState, Decision, Operation, TaskRecord
from bitrix_sync.rules.model import Duration, Rule, Rules, StagePolicy
from bitrix_sync.rules.persons import Picks
from tests.world.company import MOSCOW, WEEK, after, at

OWNER, HEAD, OTHER, BOSS, LAWYER, FIRED = 5, 4, 6, 2, 9, 13

COMPANY = Company(
    users={
        1: User(1, "Admin Adminov", departments=(1,)),
        BOSS: User(BOSS, "Boss Bossov", departments=(1,)),
        HEAD: User(HEAD, "Head Headov", departments=(3,)),
        OWNER: User(OWNER, "Ivan Ivanov", departments=(3,)),
        OTHER: User(OTHER, "Petr Petrov", departments=(3,)),
        LAWYER: User(LAWYER, "Lara Lawyer", departments=(4,)),
        FIRED: User(FIRED, "Fedor Fired", active=False, departments=(3,)),
    },
    departments={
        1: Department(1, "Company", head_id=BOSS),
        3: Department(3, "Sales", parent_id=1, head_id=HEAD),
        4: Department(4, "Legal", parent_id=1),
    },
    self_id=1,
)
FIELDS = {
    "TITLE": DealField("TITLE", "Title"),
    "OPPORTUNITY": DealField("OPPORTUNITY", "Sum", type="double"),
    "UF_CRM_SHIP": DealField("UF_CRM_SHIP", "Ship date", type="date"),
    "UF_CRM_INVOICE": DealField("UF_CRM_INVOICE", "Invoice date", type="date"),
}
STAGES = {"NEW": "New", "MEETING": "Meeting", "OFFER": "Offer", "WON": "Won", "LOSE": "Lost"}


def rule(rule_id: str, stage: str = "NEW", **more: Any) -> Rule:
    """A task entry of a stage."""
    values: dict[str, Any] = {"title": f"Do {rule_id}", "deadline": after(1)}
    return Rule(id=rule_id, stage_ids=frozenset({stage}), order=0, **(values | more))


def book(*rules: Rule, advance: dict[str, str] | None = None, limit: Duration | None = None, **more: Any) -> Rules:
    """A rules file, bound."""
    policies = {
        stage: StagePolicy(
            stage,
            0,
            rules=tuple(one for one in rules if stage in one.stage_ids),
            advance_to=(advance or {}).get(stage),
            limit=limit,
        )
        for stage in STAGES
    }
    values: dict[str, Any] = {
        "digest": "d",
        "language": "en",
        "calendar": WEEK,
        "policies": policies,
        "by_id": {one.id: one for one in rules},
        "stage_names": STAGES,
        "funnel_names": {0: "Sales"},
        "deal_fields": FIELDS,
    }
    return Rules(**(values | more))


class Story:
    """One deal and what the service remembers of it. Every step decides, then everything planned comes true."""

    def __init__(self, rules: Rules, *, now: str = "2026-03-02 10:00", **deal: Any) -> None:
        self.rules = rules
        self.now = at(now)
        self.company = COMPANY
        self.loaded = at("2026-01-01 00:00")
        self.loaded_later: dict[str, datetime] = {}
        self.responsible_before: int | None = None
        values: dict[str, Any] = {
            "id": 7,
            "title": "Romashka",
            "funnel_id": 0,
            "stage_id": "NEW",
            "semantic": "P",
            "responsible_id": OWNER,
            "creator_id": OTHER,
            "company_id": 0,
            "contact_id": 0,
            "created": self.now,
            "changed": self.now,
            "fields": {"TITLE": "Romashka", "OPPORTUNITY": 1000, "UF_CRM_SHIP": None, "UF_CRM_INVOICE": None},
        }
        self.state = DealState(7, Deal(**(values | deal)))
        self.portal_ids = 100
        self.last = Decision(7)

    @property
    def deal(self) -> Deal:
        assert self.state.deal is not None
        return self.state.deal

    def wait(self, **span: float) -> Story:
        """Time passes."""
        self.now += timedelta(**span)
        return self

    def enters(self, stage: str, *, visit: int | None = None, decide: bool = True) -> Story:
        """The deal enters a stage now."""
        semantic = {"WON": "S", "LOSE": "F"}.get(stage, "P")
        number = visit or 10 * (len(self.state.visits) + 1)
        kind = 1 if not self.state.visits else 3 if semantic != "P" else 2
        row = Visit(number, 7, kind, 0, stage, semantic, self.now)
        deal = replace(self.deal, stage_id=stage, semantic=semantic, changed=self.now)
        self.state = replace(self.state, deal=deal, visits=(*self.state.visits, row))
        return self.decide() if decide else self

    def sets(self, *, responsible: int | None = None, **fields: Any) -> Story:
        """Fields of the deal change."""
        self.responsible_before = self.deal.responsible_id
        changed = replace(self.deal, fields={**self.deal.fields, **fields}, changed=self.now)
        if responsible is not None:
            changed = replace(changed, responsible_id=responsible)
        self.state = replace(self.state, deal=changed)
        return self.decide()

    def completes(self, rule_id: str) -> Story:
        """Somebody completes the rule's newest task."""
        return self.sees(rule_id, status=DONE, closed=self.now)

    def sees(self, rule_id: str, **changes: Any) -> Story:
        """The portal shows the rule's newest task with these changes."""
        record = self.task(rule_id)
        shown = PortalTask(
            id=record.portal_id or 0,
            title=record.title,
            status=record.status,
            owner_id=record.owner_id,
            creator_id=1,
            deadline=record.deadline,
            deal_ids=(7,),
            changed=self.now,
        )
        observed, _ = plan.observe(record, replace(shown, **changes), at=self.now)
        self.put([observed])
        return self.decide()

    def deletes(self, rule_id: str) -> Story:
        """Somebody deletes the rule's newest task."""
        self.put([replace(self.task(rule_id), gone=True)])
        return self.decide()

    def world(self) -> plan.World:
        """What decisions share."""
        loaded = dict.fromkeys(self.rules.by_id, self.loaded) | self.loaded_later
        return plan.World(self.company, Picks(), loaded, started=at("2026-01-01 00:00"))

    def decide(self, **how: Any) -> Story:
        """One decision; then what was planned has happened in the portal."""
        self.last = plan.decide(
            self.state, self.rules, self.world(), now=self.now, responsible_before=self.responsible_before, **how
        )
        self.responsible_before = None
        self.state = replace(
            self.state,
            moments={**self.last.moments, **self.state.moments, **self.last.asked},
            keys=self.state.keys | {op.key for op in self.last.operations},
            moved=(*self.state.moved, *(self.now for op in self.last.operations if op.kind is Kind.MOVE_DEAL)),
        )
        self.put(self.last.tasks)
        for operation in self.last.operations:
            self.carry_out(operation)
        return self

    def anew(self, rule_id: str) -> Decision | None:
        """The rule's newest task, decided once more."""
        name = self.task(rule_id).occurrence
        return plan.decide_anew(self.state, self.rules, self.world(), occurrence=name, now=self.now)

    def put(self, records: Iterable[TaskRecord]) -> None:
        by_name = {record.occurrence: record for record in (*self.state.tasks, *records)}
        self.state = replace(self.state, tasks=tuple(by_name.values()))

    def carry_out(self, operation: Operation) -> None:
        record = next((r for r in self.state.tasks if r.occurrence == operation.task), None)
        if record is None:
            return
        match operation.kind:
            case Kind.CREATE:
                self.portal_ids += 1
                self.put([replace(record, portal_id=self.portal_ids)])
            case Kind.DEADLINE:
                moment = operation.action.deadline.astimezone(UTC)
                self.put([replace(record, deadline=moment)])
            case Kind.PEOPLE:
                owner = operation.action.owner
                self.put([replace(record, owner_id=owner, owner_sent=owner)])
            case Kind.COMPLETE:
                self.put([replace(record, status=DONE, closed=self.now)])
            case Kind.DELETE:
                self.put([replace(record, gone=True)])
            case Kind.DEFER:
                self.put([replace(record, status=6)])
            case Kind.RESUME:
                self.put([replace(record, status=2)])

    # --- looking ---------------------------------------------------------------------------------------------------

    def made(self) -> list[str]:
        """Rules whose tasks the last decision made."""
        return [op.task.split(":")[1] for op in self.last.operations if op.kind is Kind.CREATE]

    def did(self, kind: Kind) -> list[str]:
        """Occurrences that the last decision did this to."""
        return [op.task for op in self.last.operations if op.kind is kind]

    def task(self, rule_id: str) -> TaskRecord:
        """The rule's newest task."""
        return [record for record in self.state.tasks if record.rule_id == rule_id][-1]

    def due(self, rule_id: str) -> str:
        """Its deadline in Moscow, ``2026-03-02 18:00``."""
        deadline = self.task(rule_id).deadline
        assert deadline is not None
        return f"{deadline.astimezone(MOSCOW):%Y-%m-%d %H:%M}"

    def verdict(self, rule_id: str) -> str:
        """What the last decision says of the rule."""
        return [trace.verdict for trace in self.last.traces if trace.rule_id == rule_id][-1]

    def operation(self, kind: Kind) -> Operation:
        """The one operation of this kind in the last decision."""
        (found,) = [op for op in self.last.operations if op.kind is kind]
        return found
