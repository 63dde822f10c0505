"""What a report is: its name, its rows, the keys for programs, the columns for people.

The command line, JSON, CSV, the page and the tables of the documentation are made from this. Its words stand in the
catalogue: ``report.title.NAME``, ``report.about.NAME`` (one sentence), ``page.nav.NAME``, and ``report.WORD`` over each
column.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum, auto
from typing import Any

Line = dict[str, Any]


WHO, WHAT = ("department", "person"), ("funnel", "rule")
SINCE, UNTIL = "since", "until"
WHEN = (SINCE, UNTIL)
FILTERS = (*WHO, *WHAT, *WHEN)
"""The names of filters: options of the command line, parts of the page's addresses."""


class Form(StrEnum):
    """How a cell is shown: as text by the function of this name in ``report.tables``, on the page by the macro of this
    name in ``webhooks/templates/cells.html``."""

    TEXT = auto()
    NUMBER = auto()
    COUNT = auto()
    TASK = auto()
    TASK_OF_RULE = auto()
    PERSON = auto()
    RULE = auto()
    ACTION = auto()
    DRAFT = auto()
    DEAL = auto()
    STATUS = auto()
    MOMENT = auto()
    HOURS = auto()
    LATE = auto()
    SLIP = auto()
    DEADLINE = auto()
    DUE = auto()
    LIMIT = auto()
    OVER = auto()
    DAYS = auto()
    ROOM = auto()
    MOVER = auto()
    BAR = auto()
    OF_DONE = auto()
    SEMANTIC = auto()
    FIELD_OF = auto()
    FIELD_TYPE = auto()
    ACTIVE = auto()
    CLOSED = auto()
    SHARE = auto()
    MONEY = auto()
    MARK = auto()
    WEEK = auto()
    COUNTED = auto()
    LENGTH = auto()


@dataclass(frozen=True, slots=True)
class Column:
    """A column that people see: the key of its value, the form of its cells, the word over it (the key, if none is
    given), and the word for no value."""

    key: str
    form: str = Form.TEXT
    word: str = ""
    empty: str = ""

    @property
    def heading(self) -> str:
        """The catalogue's key of the word over it."""
        word = self.word or self.key
        return word if "." in word else f"report.{word}"


@dataclass(frozen=True, slots=True)
class Report:
    """A report. ``rows`` reads them from the store: it takes ``now``, and ``chosen`` if the report ``takes`` filters;
    ``keys`` are those of ``--json`` and ``--csv``, in order; ``columns`` those of the terminal, and of the page unless
    it has its own."""

    name: str
    rows: Callable[..., list[Line]]
    keys: tuple[str, ...]
    columns: tuple[Column, ...]
    page: tuple[Column, ...] = ()
    shows: Callable[[Line], bool] = lambda line: True
    """Whether people see the row; programs see all."""
    takes: tuple[str, ...] = ()
    """The names of the filters that it takes (see ``report.choice``)."""
    instead: Mapping[str, Report] = field(default_factory=dict)
    """Options of the command line with which another report answers."""
    beside: tuple[Report, ...] = ()
    """Tables that people see below it."""

    @property
    def on_page(self) -> tuple[Column, ...]:
        """The columns of its table on the page."""
        return self.page or self.columns


TASK = Column("task", Form.TASK)
DEAL = Column("deal", Form.DEAL)
OWNER = Column("owner", Form.PERSON)
SUPERVISOR = Column("supervisor", Form.PERSON)
DEADLINE = Column("deadline", Form.MOMENT)
PROMISE = Column("promise", Form.MOMENT)
FIRST_DEADLINE = Column("first_deadline", Form.MOMENT)
FUNNEL = Column("funnel")
STATUS = Column("status", Form.STATUS)
TASK_KEYS = ("task_id", "title", "deal_id", "deal", "owner_id", "owner", "supervisor_id", "supervisor", "deadline",
             "first_deadline", "moves", "moves_by_us", "moves_by_people", "rule", "status")  # fmt: skip
"""Of a row that is a task (``report.tasks.task_line``)."""
