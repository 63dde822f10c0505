"""The tables of the page by their names: those of the reports as they are declared, and those that the page alone has.

The macro ``rows`` of ``templates/table.html`` draws them; a form is the macro of this name in ``templates/cells.html``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bitrix_sync.report import REPORTS
from bitrix_sync.report.declaration import DEAL, OWNER, STATUS, SUPERVISOR, TASK, Column, Form
from bitrix_sync.report.names import NAMES
from bitrix_sync.report.tasks import MOVED

DEADLINE = Column("deadline", Form.DEADLINE)
_WHEN, _WHAT = Column("at", "short", "page.service.when"), Column("kind", "doing", "page.service.what")
_STAY = (
    Column("title", Form.DEAL, "deal"),
    Column("stage", "stage_of_funnel"),
    Column("owner", Form.PERSON, "responsible"),
    Column("entered", Form.MOMENT),
    Column("hours", Form.HOURS, "page.stages.in_stage"),
)

TABLES: Mapping[str, tuple[Column, ...]] = {
    **{one.name: one.on_page for report in REPORTS.values() for one in (report, *report.beside)},
    **{f"names_{one.name}": one.on_page for one in NAMES.values()},
    "done": tuple(replace(one, form="done_count") if one.key == "done" else one for one in REPORTS["done"].on_page),
    "tasks": (
        TASK,
        Column("promise", Form.MOMENT),
        Column("status", "end_status"),
        Column("kept", "promise_kept", "kept_share"),
        MOVED,
        OWNER,
    ),
    "kept_by_person": (
        OWNER,
        Column("due", "due_count", "fell_due"),
        Column("kept", "kept_count"),
        Column("late", "late_count", "not_kept"),
        Column("kept_share", Form.SHARE),
        Column("share_before", Form.SHARE),
    ),
    "tasks_of_person": (Column("deadline", "late_deadline"), TASK, MOVED, SUPERVISOR, STATUS),
    "done_of_person": (Column("closed", "closed"), TASK, DEADLINE, Column("kept", "kept", "status")),
    "tasks_of_deal": (
        Column("task", "task_alone"),
        OWNER,
        Column("deadline", "late_deadline"),
        MOVED,
        Column("status", "end_status"),
    ),
    "path": (
        Column("stage", "step"),
        Column("entered", Form.MOMENT),
        Column("left", "left"),
        Column("hours", "lasted", "lasted"),
        Column("moved_by_name", Form.MOVER, "moved_by"),
    ),
    "stays": _STAY,
    "over": (*_STAY, Column("over_hours", "over_by", "page.stages.over_by")),
    "stuck": (*_STAY[:3], Column("hours", "stay", "page.stages.in_stage")),
    "work": (_WHEN, _WHAT, DEAL, Column("state", "outcome", "status")),
    "troubles": (_WHEN, _WHAT, DEAL, Column("error", "trouble", "page.service.why")),
    "sweeps": (
        Column("title", "sweep", "page.sweep.which"),
        Column("state", "sweep_state", "page.sweep.result"),
        *(Column(key, Form.NUMBER, f"page.sweep.{word}") for key, word in (("overdue", "found"), ("moved", "moved"))),
        Column("failed", "failures", "page.sweep.failed"),
        Column("messages", Form.NUMBER, "page.sweep.messages"),
    ),
}
