"""The pure core: rules loaded from a large file, a hundred thousand visits decided. No portal, no store.

Each measurement runs in a process of its own, so that its peak of memory is its own.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from bitrix_sync.decisions import plan
from bitrix_sync.model.facts import Company, Deal, DealField, Department, Directory, Funnel, Stage, User, Visit
from bitrix_sync.model.operations import DealState
from bitrix_sync.rules.load import load
from bitrix_sync.rules.model import Rules
from bitrix_sync.rules.persons import Picks
from tests.bench.process import peak_mb

MONDAY = datetime(2026, 3, 2, 7, tzinfo=UTC)
FUNNELS, STAGES = 4, 10


def company(people: int = 200, departments: int = 20) -> Company:
    """People in departments, each with a head, under one director."""
    tree = {1: Department(1, "Company", 0, 1)}
    for number in range(2, departments + 2):
        tree[number] = Department(number, f"Department {number}", 1, number)
    users = {1: User(1, "Director", departments=(1,))}
    for number in range(2, people + 2):
        users[number] = User(number, f"Employee {number}", departments=(2 + number % departments,))
    return Company(users=users, departments=tree, self_id=1)


def directory() -> Directory:
    """Funnels with as many stages each."""
    return Directory(
        funnels=tuple(
            Funnel(
                funnel,
                f"Funnel {funnel}",
                tuple(Stage(stage_id(funnel, place), f"Stage {place}", funnel, "P", place) for place in range(STAGES)),
            )
            for funnel in range(FUNNELS)
        ),
        fields={
            "TITLE": DealField("TITLE", "Title"),
            "OPPORTUNITY": DealField("OPPORTUNITY", "Amount", "double"),
        },
        company=company(),
        time_zone="Europe/Moscow",
    )


def stage_id(funnel: int, place: int) -> str:
    """Full id of a stage."""
    return f"C{funnel}:S{place}" if funnel else f"S{place}"


def rules_text(count: int) -> str:
    """A file of so many rules, in all stages alike: half of them have a condition, which holds for few deals."""
    lines = ["version: 1", "language: en", "timezone: Europe/Moscow", 'calendar: {hours: "09:00-18:00"}']
    lines += ["fallback_owner: 1", "safety: {max_new_tasks: 1000000}", "funnels:"]
    number = 0
    for funnel in range(FUNNELS):
        lines.append(f"  Funnel {funnel}:")
        for stage in range(STAGES):
            lines.append(f"    Stage {stage}:")
            for _ in range(count // FUNNELS // STAGES):
                number += 1
                lines.append(f"      - id: rule-{number}")
                lines.append(f'        title: "{number}: {{{{ deal.TITLE }}}} for {{{{ owner }}}}"')
                lines.append('        deadline: {after: 2 workdays, at: "15:00"}')
                lines.append("        if: {OPPORTUNITY: {min: 99000}}" if number % 5 else "        priority: high")
    return "\n".join(lines) + "\n"


def loaded(count: int) -> Rules:
    """The same as rules in force."""
    found = load(rules_text(count), "rules.yaml", directory=directory(), bindings={})
    assert found.rules is not None, [str(problem) for problem in found.errors]
    return found.rules


def visits(count: int) -> list[DealState]:
    """Deals that have just entered a stage, spread over all stages."""
    states = []
    for number in range(1, count + 1):
        funnel, place = number % FUNNELS, number // FUNNELS % STAGES
        visit = Visit(number, number, 1, funnel, stage_id(funnel, place), "P", MONDAY)
        deal = Deal(
            id=number,
            title=f"Deal {number}",
            funnel_id=funnel,
            stage_id=visit.stage_id,
            semantic="P",
            responsible_id=2 + number % 200,
            creator_id=1,
            company_id=0,
            contact_id=0,
            created=MONDAY,
            changed=MONDAY,
            moved_by=1,
            fields={"OPPORTUNITY": float(number % 100_000)},
        )
        states.append(DealState(number, deal, visits=(visit,)))
    return states


def measure_loading(count: int) -> dict[str, Any]:
    """Read, check and bind a file of so many rules, the second time (imports and caches aside)."""
    loaded(40)
    text, known = rules_text(count), directory()
    begun = time.process_time()
    found = load(text, "rules.yaml", directory=known, bindings={})
    spent = time.process_time() - begun
    assert found.rules is not None
    return {"rules": len(found.rules.by_id), "cpu": spent}


def measure_deciding(count: int, rules_count: int) -> dict[str, Any]:
    """Decide so many visits; memory is what the process grew by, for a visit."""
    rules, known = loaded(rules_count), company()
    states = visits(count)
    now = MONDAY + timedelta(seconds=20)
    picks = Picks({}, {})
    world = plan.World(company=known, picks=picks, loaded=dict.fromkeys(rules.by_id, MONDAY), started=MONDAY)
    before = peak_mb()
    begun = time.process_time()
    decisions = [plan.decide(state, rules, world, now=now) for state in states]
    spent = time.process_time() - begun
    return {
        "visits": count,
        "rules": len(rules.by_id),
        "operations": sum(len(decision.operations) for decision in decisions),
        "cpu": spent,
        "kb_a_visit": 1024 * (peak_mb() - before) / count,
    }
