"""The portal of a chaos run: a small department, one funnel, and rules whose outcome is easy to predict."""

from __future__ import annotations

from bitrix_sandbox.state.clock import Clock
from bitrix_sandbox.state.portal import PortalState
from bitrix_sandbox.state.seed import SCOPES

CODE = "chaos0code1234"
TOKEN = "chaostoken"
BOSS, HEAD = 1, 4
SELLERS = (5, 6, 7, 8)
OPEN_STAGES = ("NEW", "MEETING", "OFFER", "CONTRACT")
FINAL_STAGES = ("WON", "LOSE")
SHIP = "UF_CRM_SHIP"

RULES = """
version: 1
language: en
timezone: Europe/Moscow
admins: [1, 4]
fallback_owner: 1
calendar: {hours: {mon-sun: "09:00-18:00"}}
funnels:
  Sales:
    New:
      - id: call
        title: "Call {{ deal.TITLE }}"
        deadline: {after: 1 workday}
      - id: note
        title: Note
        owner: {one_of: [5, 6, 7, 8], pick: round_robin}
        deadline: {after: 3 days, at: "12:00"}
        checklist: [First, Second]
        overdue: {limit: 1}
    Meeting:
      - id: meet
        title: Meet
        deadline: {after: 1 workday, at: "15:00"}
      - id: ship
        title: Ship
        deadline: {field: UF_CRM_SHIP, at: "12:00", else: {after: 60 days}}
    Offer:
      advance_to: Contract
      tasks:
        - id: offer
          title: Offer
          deadline: {after: 2 workdays}
    Contract:
      - id: sign
        title: Sign
        deadline: {after: 40 days}
        on_leave: complete
      - id: file
        title: File
        owner: 6
        supervisor: none
        deadline: {after: 50 days}
        overdue: never
    Won:
      - id: thank
        title: Thank
        owner: head
        deadline: {after: 30 days}
overdue:
  tasks: rules
  morning: {at: "09:00", move_to: {after: 0 workdays}}
  evening: {at: "18:30", move_to: {after: 1 workday}}
  limit: 3
  notify: [supervisor, owner]
safety: {max_new_tasks: 100000, max_moves: 100000}
"""


def build(clock: Clock) -> PortalState:
    """The department on a Monday morning, with a few deals whose past is none of our business."""
    state = PortalState(clock)
    state.add_department("Company", parent=0, head=BOSS, department_id=1)
    state.add_department("Sales", parent=1, head=HEAD, department_id=3)
    for number in (BOSS, HEAD, *SELLERS):
        state.hire("User", f"Number{number}", [1 if number == BOSS else 3], id=number, admin=number == BOSS)
    state.add_funnel("Sales", funnel_id=0, sort=100)
    for stage in OPEN_STAGES:
        state.add_stage(stage, stage.title())
    state.add_stage("WON", "Won", semantic="S")
    state.add_stage("LOSE", "Lost", semantic="F")
    state.add_field(SHIP, "Ship date", "date")
    state.add_webhook(BOSS, CODE, SCOPES)
    for number in range(8):
        state.add_deal(f"Old {number}", stage=OPEN_STAGES[number % 4], responsible=SELLERS[number % 4])
    return state
