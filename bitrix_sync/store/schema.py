"""The tables. Moments are UTC microseconds since 1970 in 64-bit integers; lists and mappings are JSON text.
Columns called ``deal_id`` and ``visit_id``, the ids of ``deals`` and ``visits``, and ``funnel_id`` hold numbers
(``model.items.Item.number``), so that no two kinds of items meet in one; a deal's number is its id.

``HEAD`` is the version of the schema that this code speaks: a change here needs a migration and a new ``HEAD``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import astuple
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from bitrix_sync.model.operations import Check

HEAD = "0008"
DEFAULT_PORTAL = 1
"""The portal of a service that serves one: its settings are the environment's."""
OLDEST_HEAD = "0005"
"""That of the oldest program that may work beside this one with tables of ``HEAD`` on PostgreSQL."""
Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows by itself only in an INTEGER key

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def _storable(text: str) -> str:
    """Half of a surrogate pair cannot be stored as UTF-8, nor NUL everywhere; one odd title must not stop a pass."""
    whole = text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
    return whole.replace("\0", "?")


def _plain(value: Any) -> Any:
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Check):
        return astuple(value)
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, Set):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} cannot be stored as JSON")


def _moment(kept: str) -> datetime:
    return datetime.fromisoformat(kept).astimezone(UTC)


def _check(kept: list[Any]) -> Check:
    return Check(*kept)


def to_json(value: Any, *, sort: bool = False) -> str:
    """Compact JSON; dates become ISO text, sets sorted lists. ``sort`` orders keys, for comparing."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_plain, sort_keys=sort)
    return _storable(text)


class Moment(TypeDecorator[datetime]):
    """An aware datetime, stored as integer microseconds UTC; a naive one is refused."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """To the database."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a moment without a time zone: {value.isoformat()}")
        return (value - _EPOCH) // _MICROSECOND

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """From the database: aware, UTC."""
        return None if value is None else _EPOCH + timedelta(microseconds=value)


class Words(TypeDecorator[str]):
    """Text that people write, in whatever state it arrives."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """To the database."""
        return None if value is None else _storable(value)


class Json(TypeDecorator[Any]):
    """Lists and mappings as JSON text; None stays NULL."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """To the database."""
        return None if value is None else to_json(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """From the database."""
        return None if value is None else json.loads(value)


class Nameless(TypeDecorator[str]):
    """A name that many rows lack, so that it can be unique: "" is NULL."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """To the database."""
        return value or None

    def process_result_value(self, value: str | None, dialect: Dialect) -> str:
        """From the database."""
        return value or ""


class Listed(TypeDecorator[tuple[Any, ...]]):
    """A tuple as JSON text, each of its things from what ``of`` makes of it."""

    impl = Text
    cache_ok = True

    def __init__(self, of: Callable[[Any], Any]) -> None:
        super().__init__()
        self.of = of

    def process_bind_param(self, value: Iterable[Any] | None, dialect: Dialect) -> str | None:
        """To the database."""
        return None if value is None else to_json(list(value))

    def process_result_value(self, value: str | None, dialect: Dialect) -> tuple[Any, ...] | None:
        """From the database."""
        return None if value is None else tuple(map(self.of, json.loads(value)))


metadata = MetaData()

portal = Table(
    "portal",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("history_id", BigInteger),  # how far deals have been read; other kinds: cursors
    Column("history_time", Moment),
    Column("deals_time", Moment),
    Column("tasks_time", Moment),
    Column("activities_time", Moment),  # NULL: activities are not read
    Column("recorded", Moment),  # `at` of the latest recording, the portal's time
    Column("epoch", BigInteger, nullable=False),
    Column("holder", Text),
    Column("process", Text),
    Column("place", Text),
    Column("pid", BigInteger),
    Column("host", Text),
    Column("until", Moment),
    Column("pacer_level", Float),
    Column("pacer_at", Moment),
)

cursors = Table(
    "cursors",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("history_id", BigInteger, nullable=False),
    Column("history_time", Moment, nullable=False),
    Column("deals_time", Moment, nullable=False),
)
"""How far each kind of items has been read that is not deals."""

settings = Table("settings", metadata, Column("name", Text, primary_key=True), Column("value", Words, nullable=False))

bindings = Table("bindings", metadata, Column("name", Words, primary_key=True), Column("bound", Words, nullable=False))

rules_seen = Table(
    "rules_seen", metadata, Column("rule_id", Text, primary_key=True), Column("loaded", Moment, nullable=False)
)

visits = Table(
    "visits",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("deal_id", BigInteger, nullable=False),
    Column("kind", Id, nullable=False),
    Column("funnel_id", BigInteger, nullable=False),
    Column("stage_id", Text, nullable=False),
    Column("semantic", Text, nullable=False),
    Column("entered", Moment, nullable=False),
    Column("handled", Boolean, nullable=False),
    Column("moved_by", BigInteger),  # NULL: not seen in time
    Index("visits_deal", "deal_id"),
)

deals = Table(
    "deals",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("title", Words, nullable=False),
    Column("funnel_id", BigInteger, nullable=False),
    Column("stage_id", Text, nullable=False),
    Column("semantic", Text, nullable=False),
    Column("responsible_id", BigInteger, nullable=False),
    Column("creator_id", BigInteger, nullable=False),
    Column("company_id", BigInteger, nullable=False),
    Column("contact_id", BigInteger, nullable=False),
    Column("created", Moment, nullable=False),
    Column("changed", Moment, nullable=False),
    Column("moved_by", BigInteger, nullable=False),
    Column("fields", Json, nullable=False),
    Column("wake_at", Moment),
    Column("gone", Boolean, nullable=False),
    Column("steps_ended", Moment),  # when its last activity was over
    Index("deals_wake", "wake_at"),
    Index("deals_stage", "semantic", "funnel_id", "stage_id"),
)

moments = Table(
    "moments",
    metadata,
    Column("visit_id", BigInteger, primary_key=True, autoincrement=False),
    Column("name", Text, primary_key=True),
    Column("deal_id", BigInteger, nullable=False),
    Column("at", Moment, nullable=False),
    Index("moments_deal", "deal_id"),
)

tasks = Table(
    "tasks",
    metadata,
    Column("id", Id, primary_key=True),
    Column("occurrence", Nameless, unique=True),  # NULL: a foreign task
    Column("portal_id", BigInteger, unique=True),  # NULL: not in the portal yet
    Column("deal_id", BigInteger, nullable=False),
    Column("rule_id", Text, nullable=False),
    Column("visit_id", BigInteger, nullable=False),
    Column("number", Id, nullable=False),
    Column("deadline", Moment),
    Column("owner_id", BigInteger, nullable=False),
    Column("supervisor_id", BigInteger),
    Column("title", Words, nullable=False),
    Column("status", Id, nullable=False),
    Column("gone", Boolean, nullable=False),
    Column("owner_form", Text, nullable=False),
    Column("owner_sent", BigInteger, nullable=False),
    Column("creator_id", BigInteger, nullable=False),
    Column("auditors", Listed(int), nullable=False),
    Column("first_deadline", Moment),
    Column("basis", Words, nullable=False),
    Column("sent", Listed(_moment), nullable=False),
    Column("follow_off", Boolean, nullable=False),
    Column("moves", Integer, nullable=False),
    Column("moves_by_us", Integer, nullable=False),
    Column("moves_by_people", Integer, nullable=False),
    Column("started", Moment),
    Column("created", Moment),
    Column("changed", Moment),
    Column("closed", Moment),
    Column("closed_by", BigInteger),  # NULL: not told
    Column("promise", Moment),  # NULL: the first deadline
    Column("priority", Integer, nullable=False, server_default="1"),
    Column("moves_for_absence", Integer, nullable=False, server_default="0"),
    Column("lent_from", BigInteger),
    Column("lent_at", Moment),
    Column("bound", Listed(int)),  # NULL: to deal_id alone
    Column("ended", Moment),
    Index("tasks_bound", "bound"),
    Index("tasks_owner", "gone", "status", "owner_id", "deadline"),
    Index("tasks_deadline", "gone", "status", "deadline"),
    Index("tasks_steps", "deal_id", "bound", "ended"),
    Index("tasks_rule", "rule_id", "created"),
    Index("tasks_closed", "gone", "status", "closed"),
)

activities = Table(
    "activities",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("deal_id", BigInteger, primary_key=True, autoincrement=False),
    Column("task_id", BigInteger, nullable=False),
    Column("deadline", Moment),
    Index("activities_deal", "deal_id"),
)
"""Planned activities, once for each deal that they are bound to."""

slips = Table(
    "slips",
    metadata,
    Column("id", Id, primary_key=True),
    Column("task_row", BigInteger, ForeignKey("tasks.id"), nullable=False),
    Column("before", Moment),
    Column("after", Moment),
    Column("by", Text, nullable=False),
    Column("at", Moment, nullable=False),
    Column("sweep", Text, nullable=False),
    Column("mover", BigInteger),  # NULL: not told, or no person
    Index("slips_task", "task_row"),
    Index("slips_sweep", "sweep"),
)

operations = Table(
    "operations",
    metadata,
    Column("id", Id, primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("payload", Json, nullable=False),
    Column("deal_id", BigInteger, nullable=False),
    Column("task", Text, nullable=False),
    Column("task_row", BigInteger, ForeignKey("tasks.id")),
    Column("urgency", Integer, nullable=False),
    Column("look_first", Boolean, nullable=False),
    Column("not_before", Moment),
    Column("sweep", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("epoch", BigInteger),
    Column("result", BigInteger),
    Column("error_code", Words, nullable=False),
    Column("error_text", Words, nullable=False),
    Column("created", Moment, nullable=False),
    Column("sent", Moment),
    Column("noticed", Moment),
    Column("ended", Moment),
    Index("operations_queue", "state", "urgency", "id"),
    Index("operations_task", "task_row", "id"),
    Index("operations_deal", "deal_id", "kind"),
    Index("operations_created", "kind", "created"),
    Index("operations_resent", "kind", "attempts"),
    Index("operations_sweep", "sweep"),
)

traces = Table(
    "traces",
    metadata,
    Column("id", Id, primary_key=True),
    Column("deal_id", BigInteger, nullable=False),
    Column("visit_id", BigInteger, nullable=False),
    Column("rule_id", Text, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("at", Moment, nullable=False),
    Column("data", Json, nullable=False),
    Column("checks", Listed(_check), nullable=False),
    Column("digest", Text, nullable=False),
    Index("traces_rule", "deal_id", "visit_id", "rule_id", "id"),
    Index("traces_at", "at"),
)

sweeps = Table(
    "sweeps",
    metadata,
    Column("slot", Text, primary_key=True),
    Column("moment", Moment, nullable=False),
    Column("state", Text, nullable=False),
    Column("summary", Json, nullable=False),
)

escalations = Table(
    "escalations",
    metadata,
    Column("key", Text, primary_key=True),
    Column("spell", Text, nullable=False),
    Column("step", BigInteger, nullable=False),
    Column("at", Moment, nullable=False),
)
"""How high what stays undone was told last. ``spell``: while what it names is so, the steps go on."""

told = Table("told", metadata, Column("key", Text, primary_key=True), Column("at", Moment, nullable=False))

picks = Table(
    "picks",
    metadata,
    Column("pool", Words, primary_key=True),
    Column("user_id", BigInteger, primary_key=True, autoincrement=False),
    Column("place", BigInteger, nullable=False),
)

requests = Table(
    "requests",
    metadata,
    Column("id", Id, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("args", Json, nullable=False),
    Column("state", Text, nullable=False),
    Column("epoch", BigInteger),
    Column("result", Json),
    Column("asked", Moment, nullable=False),
    Index("requests_state", "state", "id"),
)

unjudged = Table(
    "unjudged",
    metadata,
    Column("deal_id", Id, primary_key=True, autoincrement=False),
    Column("since", Moment, nullable=False),
    Column("again", Moment, nullable=False),
    Column("code", Text, nullable=False),
    Column("why", Words, nullable=False),
    Index("unjudged_again", "again"),
)
"""Deals that were to be judged, of which something needed could not be read."""

changes = Table(
    "changes",
    metadata,
    Column("id", Id, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("item", BigInteger, nullable=False),
    Column("field", Text, nullable=False),
    Column("value", Json),
    Column("at", Moment, nullable=False),
    Index("changes_item", "kind", "item", "field", "id"),
    Index("changes_at", "at"),
)
"""Values of fields that rules use, each since when it holds."""

absences = Table(
    "absences",
    metadata,
    Column("id", Id, primary_key=True),
    Column("user_id", BigInteger, nullable=False),
    Column("begin", Moment, nullable=False),
    Column("end", Moment, nullable=False),
    Column("known", Moment, nullable=False),
    Column("dropped", Moment),  # NULL: the portal told it to the last
    Index("absences_end", "end"),
)
"""Absences of people, each with from when until when it was known."""

trial = Table(
    "trial",
    metadata,
    Column("id", Id, primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("payload", Json, nullable=False),
    Column("deal_id", BigInteger, nullable=False),
    Column("task", Text, nullable=False),
    Column("sweep", Text, nullable=False),
    Column("at", Moment, nullable=False),
)
"""What would have been done while rules only watch."""

page_sessions = Table(
    "page_sessions",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("seal", Text, nullable=False),
    Column("began", Moment, nullable=False),
)

# --- the operator's, on PostgreSQL alone: what is told of portals, not by them ----------------------------------------

operators = MetaData()
OPERATOR, FIRST_NUMBER = 0, DEFAULT_PORTAL + 1
"""Whose sessions of his own page are kept as if of a portal; the first portal of a fleet."""

portals = Table(
    "portals",
    operators,
    Column("number", BigInteger, Identity(start=FIRST_NUMBER), primary_key=True),
    Column("name", Text(collation="C"), nullable=False, unique=True),
    Column("enabled", Boolean, nullable=False),
    Column("removed", Boolean, nullable=False),  # the row stays, so that no name is given twice
    Column("version", BigInteger, nullable=False),
    Column("address", Nameless),  # NULL: removed
    Column("webhook_user", BigInteger, nullable=False),
    Column("webhook", LargeBinary, nullable=False),
    Column("tokens", LargeBinary, nullable=False),
    Column("token_marks", Listed(str), nullable=False),
    Column("page_password", Text, nullable=False),
    Column("rules", Text, nullable=False),
    Column("rules_version", BigInteger, nullable=False),
    Column("settings", Json, nullable=False),
    Column("due", Moment),
    Column("rung", Moment),
    Column("trouble", Words, nullable=False),
    Column("seen_ok", Moment),
    Index("portals_version", "version"),
    Index("portals_due", "due"),
    Index("portals_address", "address", unique=True),
)
"""One row for each portal of a fleet. ``version`` grows over all rows with every change of what stands above ``due``;
what begins with ``due`` is the work's own. Secrets are sealed before they come here."""

rules_history = Table(
    "rules_history",
    operators,
    Column("portal", BigInteger, primary_key=True, autoincrement=False),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("text", Text, nullable=False),
    Column("at", Moment, nullable=False),
    Column("by", Words, nullable=False),
)
"""The rules that a portal had, the present ones included."""

workers = Table(
    "workers",
    operators,
    Column("name", Text(collation="C"), primary_key=True),
    Column("engine", BigInteger, nullable=False),  # its number in the queue, another one after each outage
    Column("host", Text, nullable=False),
    Column("pid", BigInteger, nullable=False),
    Column("program", Text, nullable=False),
    Column("threads", BigInteger, nullable=False),
    Column("portals", BigInteger, nullable=False),
    Column("ahead", Float, nullable=False),  # seconds that its machine's clock is ahead of the server's
    Column("began", Moment, nullable=False),
    Column("seen", Moment, nullable=False),
)
"""Who works for the portals, and when each gave its last beat; those that went in peace are not there."""

schema_versions = Table(
    "schema",
    operators,
    Column("head", Text, primary_key=True),
    Column("oldest", Text, nullable=False),
)
"""One row: the version of the tables, and of the oldest program's tables that may work with them."""
