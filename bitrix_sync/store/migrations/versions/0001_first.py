"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

NUMBERED = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """An empty file becomes a database."""
    op.create_table(
        "bindings",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("bound", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "deals",
        sa.Column("id", NUMBERED, autoincrement=False, nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("funnel_id", sa.BigInteger(), nullable=False),
        sa.Column("stage_id", sa.Text(), nullable=False),
        sa.Column("semantic", sa.Text(), nullable=False),
        sa.Column("responsible_id", sa.BigInteger(), nullable=False),
        sa.Column("creator_id", sa.BigInteger(), nullable=False),
        sa.Column("company_id", sa.BigInteger(), nullable=False),
        sa.Column("contact_id", sa.BigInteger(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.Column("moved_by", sa.BigInteger(), nullable=False),
        sa.Column("fields", sa.Text(), nullable=False),
        sa.Column("wake_at", sa.BigInteger()),
        sa.Column("gone", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("deals_stage", "deals", ["semantic", "funnel_id", "stage_id"])
    op.create_index("deals_wake", "deals", ["wake_at"])
    op.create_table(
        "moments",
        sa.Column("visit_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("deal_id", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("visit_id", "name"),
    )
    op.create_index("moments_deal", "moments", ["deal_id"])
    op.create_table(
        "picks",
        sa.Column("pool", sa.Text(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("pool", "user_id"),
    )
    op.create_table(
        "portal",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("history_id", sa.BigInteger()),
        sa.Column("history_time", sa.BigInteger()),
        sa.Column("deals_time", sa.BigInteger()),
        sa.Column("tasks_time", sa.BigInteger()),
        sa.Column("recorded", sa.BigInteger()),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("holder", sa.Text()),
        sa.Column("process", sa.Text()),
        sa.Column("place", sa.Text()),
        sa.Column("pid", sa.BigInteger()),
        sa.Column("host", sa.Text()),
        sa.Column("until", sa.BigInteger()),
        sa.Column("pacer_level", sa.Float()),
        sa.Column("pacer_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "requests",
        sa.Column("id", NUMBERED, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("args", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger()),
        sa.Column("result", sa.Text()),
        sa.Column("asked", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("requests_state", "requests", ["state", "id"])
    op.create_table(
        "rules_seen",
        sa.Column("rule_id", sa.Text(), nullable=False),
        sa.Column("loaded", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("rule_id"),
    )
    op.create_table(
        "settings",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "sweeps",
        sa.Column("slot", sa.Text(), nullable=False),
        sa.Column("moment", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("slot"),
    )
    op.create_table(
        "tasks",
        sa.Column("id", NUMBERED, nullable=False),
        sa.Column("occurrence", sa.Text()),
        sa.Column("portal_id", sa.BigInteger()),
        sa.Column("deal_id", sa.BigInteger(), nullable=False),
        sa.Column("rule_id", sa.Text(), nullable=False),
        sa.Column("visit_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("deadline", sa.BigInteger()),
        sa.Column("owner_id", sa.BigInteger(), nullable=False),
        sa.Column("supervisor_id", sa.BigInteger()),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("gone", sa.Boolean(), nullable=False),
        sa.Column("owner_form", sa.Text(), nullable=False),
        sa.Column("owner_sent", sa.BigInteger(), nullable=False),
        sa.Column("creator_id", sa.BigInteger(), nullable=False),
        sa.Column("auditors", sa.Text(), nullable=False),
        sa.Column("first_deadline", sa.BigInteger()),
        sa.Column("basis", sa.Text(), nullable=False),
        sa.Column("sent", sa.Text(), nullable=False),
        sa.Column("follow_off", sa.Boolean(), nullable=False),
        sa.Column("moves", sa.Integer(), nullable=False),
        sa.Column("moves_by_us", sa.Integer(), nullable=False),
        sa.Column("moves_by_people", sa.Integer(), nullable=False),
        sa.Column("started", sa.BigInteger()),
        sa.Column("created", sa.BigInteger()),
        sa.Column("changed", sa.BigInteger()),
        sa.Column("closed", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("occurrence"),
        sa.UniqueConstraint("portal_id"),
    )
    op.create_index("tasks_deadline", "tasks", ["gone", "status", "deadline"])
    op.create_index("tasks_deal", "tasks", ["deal_id"])
    op.create_index("tasks_owner", "tasks", ["gone", "status", "owner_id", "deadline"])
    op.create_index("tasks_rule", "tasks", ["rule_id", "created"])
    op.create_table(
        "told",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_table(
        "traces",
        sa.Column("id", NUMBERED, nullable=False),
        sa.Column("deal_id", sa.BigInteger(), nullable=False),
        sa.Column("visit_id", sa.BigInteger(), nullable=False),
        sa.Column("rule_id", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("checks", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("traces_at", "traces", ["at"])
    op.create_index("traces_rule", "traces", ["deal_id", "visit_id", "rule_id", "id"])
    op.create_table(
        "visits",
        sa.Column("id", NUMBERED, autoincrement=False, nullable=False),
        sa.Column("deal_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Integer(), nullable=False),
        sa.Column("funnel_id", sa.BigInteger(), nullable=False),
        sa.Column("stage_id", sa.Text(), nullable=False),
        sa.Column("semantic", sa.Text(), nullable=False),
        sa.Column("entered", sa.BigInteger(), nullable=False),
        sa.Column("handled", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("visits_deal", "visits", ["deal_id"])
    op.create_table(
        "operations",
        sa.Column("id", NUMBERED, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("deal_id", sa.BigInteger(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("task_row", sa.BigInteger()),
        sa.Column("urgency", sa.Integer(), nullable=False),
        sa.Column("look_first", sa.Boolean(), nullable=False),
        sa.Column("not_before", sa.BigInteger()),
        sa.Column("sweep", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.BigInteger()),
        sa.Column("result", sa.BigInteger()),
        sa.Column("error_code", sa.Text(), nullable=False),
        sa.Column("error_text", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("sent", sa.BigInteger()),
        sa.Column("noticed", sa.BigInteger()),
        sa.Column("ended", sa.BigInteger()),
        sa.ForeignKeyConstraint(["task_row"], ["tasks.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("key"),
    )
    op.create_index("operations_created", "operations", ["kind", "created"])
    op.create_index("operations_deal", "operations", ["deal_id", "kind"])
    op.create_index("operations_queue", "operations", ["state", "urgency", "id"])
    op.create_index("operations_resent", "operations", ["kind", "attempts"])
    op.create_index("operations_sweep", "operations", ["sweep"])
    op.create_index("operations_task", "operations", ["task_row", "id"])
    op.create_table(
        "slips",
        sa.Column("id", NUMBERED, nullable=False),
        sa.Column("task_row", sa.BigInteger(), nullable=False),
        sa.Column("before", sa.BigInteger()),
        sa.Column("after", sa.BigInteger()),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("sweep", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["task_row"], ["tasks.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("slips_sweep", "slips", ["sweep"])
    op.create_index("slips_task", "slips", ["task_row"])
    op.execute("INSERT INTO portal (id, epoch) VALUES (1, 0)")
