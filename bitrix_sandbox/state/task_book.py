"""Tasks of the sandbox portal: what is kept of them, how a change is recorded, and what people do with them.

Every change moves CHANGED_DATE, leaves a row in the task's history and raises ONTASKADD, ONTASKUPDATE or ONTASKDELETE
with the payload of api-reference/tasks/events-tasks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from bitrix_sandbox.state import values
from bitrix_sandbox.state.errors import RestError
from bitrix_sandbox.state.indexes import SortedIds, TimeIndex
from bitrix_sandbox.state.records import UserField
from bitrix_sandbox.state.talk_book import TalkBook
from bitrix_sandbox.state.task_records import (
    AWAITING,
    DEFERRED,
    DONE,
    IN_PROGRESS,
    RESULT_REQUIRED,
    WAITING,
    Change,
    ChecklistItem,
    Result,
    Task,
)

When = datetime | str | None

_LOGGED = {
    "title": "TITLE",
    "description": "DESCRIPTION",
    "status": "STATUS",
    "priority": "PRIORITY",
    "mark": "MARK",
    "parent_id": "PARENT_ID",
    "group_id": "GROUP_ID",
    "stage_id": "STAGE_ID",
    "creator_id": "CREATED_BY",
    "responsible_id": "RESPONSIBLE_ID",
    "accomplices": "ACCOMPLICES",
    "auditors": "AUDITORS",
    "deadline": "DEADLINE",
    "start_plan": "START_DATE_PLAN",
    "end_plan": "END_DATE_PLAN",
    "time_estimate": "TIME_ESTIMATE",
    "tags": "TAGS",
    "depends_on": "DEPENDS_ON",
    "add_in_report": "ADD_IN_REPORT",
    "control": "TASK_CONTROL",
    "allow_time": "ALLOW_TIME_TRACKING",
    "allow_deadline": "ALLOW_CHANGE_DEADLINE",
}


class TaskBook(TalkBook):
    """Tasks. Public verbs are what people do (rights are not asked); ids that are not there are KeyError."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.tasks: dict[int, Task] = {}
        self.task_fields: dict[str, UserField] = {}
        self.task_ids = SortedIds()
        self.tasks_changed = TimeIndex()
        self.tasks_by_mark: defaultdict[str, set[int]] = defaultdict(set)
        self.tasks_by_binding: defaultdict[str, set[int]] = defaultdict(set)
        self.start_numbers("task change", 16000)
        self.start_numbers("checklist", 400)

    # The road of every change

    def keep_task(self, title: str, *, by: int, responsible: int, at: When = None, **given: Any) -> Task:
        """Make a task from attributes of :class:`Task`; ``creator_id`` is ``by`` unless given."""
        moment = self.moment(at)
        chat = self.number("chat", 2)
        task = Task(
            id=self.number("task", 2),
            title=title,
            creator_id=given.pop("creator_id", by),
            responsible_id=responsible,
            created=moment,
            changed=moment,
            changed_by=by,
            activity=moment,
            chat_id=chat,
            status_changed=moment,
            **given,
        )
        task.deadline = self.cut(task.deadline)
        self.tasks[task.id] = task
        self.task_ids.add(task.id)
        self.tasks_changed.put(task.id, moment)
        self.task_chats[chat] = task.id
        self._bind(task)
        self._log(task, "NEW", None, None, by, moment)
        self.touch()
        self.emit("ONTASKADD", _told("undefined", {"ID": task.id}, ("N", "undefined")))
        return task

    def change_task(self, task: Task, by: int, *, at: When = None, **given: Any) -> bool:
        """Set attributes that differ, with history, times and event; True if any did."""
        if "deadline" in given:
            given["deadline"] = self.cut(given["deadline"])
        different = {name: value for name, value in given.items() if getattr(task, name) != value}
        if not different:
            return False
        moment = self.moment(at)
        self._unbind(task)
        for name, value in different.items():
            if name in _LOGGED:
                self._log(task, _LOGGED[name], getattr(task, name), value, by, moment)
            setattr(task, name, value)
        task.deadline_moves += "deadline" in different
        if "status" in different:
            self._note_status(task, by, moment)
        self._bind(task)
        task.changed, task.changed_by, task.activity = moment, by, moment
        self.tasks_changed.put(task.id, moment)
        self.touch()
        self.emit("ONTASKUPDATE", _told({"ID": task.id}, {"ID": task.id}, ("undefined", "undefined")))
        return True

    def drop_task(self, task: Task) -> None:
        """Take a task away."""
        del self.tasks[task.id]
        self.task_ids.drop(task.id)
        self.tasks_changed.drop(task.id)
        self._unbind(task)
        self.touch()
        self.emit("ONTASKDELETE", _told({"ID": task.id}, "undefined", ("undefined", "N")))

    def cut(self, deadline: datetime | None) -> datetime | None:
        """A deadline as v2 stores it: without its seconds."""
        return deadline.replace(second=0) if deadline and self.switches.deadline_seconds_cut else deadline

    def _note_status(self, task: Task, by: int, moment: datetime) -> None:
        task.status_changed, task.status_changed_by = moment, by
        if task.status == IN_PROGRESS and task.date_start is None:
            task.date_start = moment
        task.closed, task.closed_by = (moment, by) if task.status in (DONE, AWAITING) else (None, 0)
        if task.status == DONE:
            for result in task.results or ():
                result.open = False

    def _log(self, task: Task, field: str, before: Any, after: Any, by: int, at: datetime) -> None:
        task.log.append(Change(self.number("task change", 2), at, field, before, after, by))

    def _bind(self, task: Task) -> None:
        if task.xml_id:
            self.tasks_by_mark[task.xml_id].add(task.id)
        for binding in task.crm:
            self.tasks_by_binding[binding].add(task.id)

    def _unbind(self, task: Task) -> None:
        if task.xml_id:
            self.tasks_by_mark[task.xml_id].discard(task.id)
        for binding in task.crm:
            self.tasks_by_binding[binding].discard(task.id)

    # User fields of tasks

    def add_task_field(
        self,
        code: str,
        title: str,
        kind: str,
        *,
        multiple: bool = False,
        mandatory: bool = False,
        options: Mapping[Any, str] | Iterable[str] = (),
    ) -> str:
        """A new user field of tasks. ``options`` are texts (ids are given) or texts by id."""
        self.task_fields[code] = UserField(
            self.number("field", 2), code, title, kind, multiple, mandatory, self.choices(options)
        )
        self.touch()
        return code

    def demand_task_field(self, code: str, *, mandatory: bool = True) -> None:
        """Make a user field obligatory for every new task, or not any more."""
        self.task_fields[code].mandatory = mandatory
        self.touch()

    def delete_task_field(self, code: str) -> None:
        """Take a user field away; no method shows its values any more."""
        del self.task_fields[code]
        self.touch()

    # What people do

    def add_task(
        self,
        title: str,
        *,
        responsible: int,
        by: int = 1,
        deadline: When = None,
        deals: Iterable[int] = (),
        auditors: Iterable[int] = (),
        result_required: bool = False,
        at: When = None,
        **more: Any,
    ) -> int:
        """A person makes a task, bound to ``deals``; gives its id. ``more``: other attributes of :class:`Task`."""
        if result_required:
            more["params"] = frozenset({RESULT_REQUIRED})
        task = self.keep_task(
            title,
            by=by,
            responsible=responsible,
            at=at,
            deadline=self.moment(deadline) if deadline else None,
            crm=tuple(f"D_{deal}" for deal in deals),
            auditors=tuple(auditors),
            **more,
        )
        return task.id

    def start_task(self, task_id: int, by: int) -> None:
        """A person begins to work on a task."""
        self.change_task(self.tasks[task_id], by, status=IN_PROGRESS)

    def complete_task(self, task_id: int, by: int, *, result: str | None = None, at: When = None) -> None:
        """A person completes a task; with TASK_CONTROL, when he is not its creator, it waits for acceptance.

        :raises RestError: a result is required and there is none.
        """
        task = self.tasks[task_id]
        if result is not None:
            self.add_result(task_id, result, by)
        if RESULT_REQUIRED in task.params and not task.has_open_result():
            raise RestError("0", "The task cannot be completed: a result is required")
        self.change_task(task, by, at=at, status=AWAITING if task.control and by != task.creator_id else DONE)

    def approve_task(self, task_id: int, by: int) -> None:
        """The creator accepts the result."""
        self.change_task(self.tasks[task_id], by, status=DONE)

    def disapprove_task(self, task_id: int, by: int) -> None:
        """The creator sends a task back."""
        self.change_task(self.tasks[task_id], by, status=WAITING)

    def reopen_task(self, task_id: int, by: int) -> None:
        """A person renews a task."""
        task = self.tasks[task_id]
        if self.change_task(task, by, status=WAITING):
            self._log(task, "RENEW", None, None, by, task.changed)

    def defer_task(self, task_id: int, by: int) -> None:
        """A person puts a task off."""
        self.change_task(self.tasks[task_id], by, status=DEFERRED)

    def set_deadline(self, task_id: int, deadline: When, by: int, *, at: When = None) -> None:
        """A person moves a deadline; None clears it."""
        moment = self.moment(deadline) if deadline else None
        self.change_task(self.tasks[task_id], by, at=at, deadline=moment)

    def set_owner(self, task_id: int, user_id: int, by: int) -> None:
        """A person gives a task to somebody else."""
        self.change_task(self.tasks[task_id], by, responsible_id=user_id)

    def set_title(self, task_id: int, title: str, by: int) -> None:
        """A person renames a task."""
        self.change_task(self.tasks[task_id], by, title=title)

    def delete_task(self, task_id: int, by: int = 0) -> None:
        """A person deletes a task."""
        self.drop_task(self.tasks[task_id])

    def comment_task(self, task_id: int, text: str, by: int) -> int:
        """A line in the task's chat (or, with the old card, its forum); gives its id."""
        task = self.tasks[task_id]
        number = self.say(task.chat_id, by, text)
        task.activity = self.moment()
        self._log(task, "COMMENT", None, number, by, task.activity)
        return number

    def add_result(self, task_id: int, text: str, by: int) -> Result:
        """A result of a task."""
        task = self.tasks[task_id]
        result = Result(self.number("result", 2), text, by, self.moment())
        task.results = [*(task.results or ()), result]
        self.touch()
        return result

    def add_checklist_item(
        self, task_id: int, title: str, by: int, *, parent_id: int = 0, **more: Any
    ) -> ChecklistItem:
        """An item of a task's checklist; ``parent_id`` 0 begins a checklist."""
        task = self.tasks[task_id]
        item = ChecklistItem(self.number("checklist", 2), title, by, parent_id, **more)
        task.checklist = {**(task.checklist or {}), item.id: item}
        task.activity = self.moment()
        self._log(task, "CHECKLIST_ITEM_CREATE", "", title, by, task.activity)
        self.touch()
        return item

    def drop_checklist_item(self, task_id: int, item_id: int, by: int) -> None:
        """Take an item away, and what hangs on it."""
        task = self.tasks[task_id]
        items = dict(task.checklist or {})
        gone = items.pop(item_id)
        self._log(task, "CHECKLIST_ITEM_REMOVE", gone.title, "", by, self.moment())
        task.checklist = {key: one for key, one in items.items() if one.parent_id != item_id}
        self.touch()

    def overdue(self, task: Task) -> bool:
        """The portal's own idea of overdue: past its deadline and neither completed nor awaiting acceptance."""
        return task.deadline is not None and task.deadline < self.moment() and task.status not in (AWAITING, DONE)

    def logged_value(self, value: Any) -> Any:
        """A history value as ``tasks.task.history.list`` gives it: strings, dates by the switch."""
        if isinstance(value, datetime):
            unix = self.switches.task_history_dates == "unix"
            return str(int(value.timestamp())) if unix else values.iso(value, self.clock.zone)
        if isinstance(value, bool):
            return values.yes_no(value)
        if isinstance(value, tuple):
            return ",".join(str(item) for item in value)
        return None if value is None else str(value)


def _told(before: Any, after: Any, reach: tuple[str, str]) -> dict[str, Any]:
    return {
        "FIELDS_BEFORE": before,
        "FIELDS_AFTER": after,
        "IS_ACCESSIBLE_BEFORE": reach[0],
        "IS_ACCESSIBLE_AFTER": reach[1],
    }
