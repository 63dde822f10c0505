"""What is planned with deals: activities, further deals of tasks, since when a task is no step ahead any more."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Additive: a program of 0006 leaves what is new as it is. Since when a task that is put off, or gone, is no step
    ahead is not known of those there are: their last change stands for it."""
    op.create_table(
        "activities",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("deal_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("task_id", sa.BigInteger(), nullable=False),
        sa.Column("deadline", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", "deal_id"),
    )
    op.create_index("activities_deal", "activities", ["deal_id"])
    op.add_column("portal", sa.Column("activities_time", sa.BigInteger()))
    op.add_column("deals", sa.Column("steps_ended", sa.BigInteger()))
    op.add_column("tasks", sa.Column("bound", sa.Text()))
    op.add_column("tasks", sa.Column("ended", sa.BigInteger()))
    op.create_index("tasks_bound", "tasks", ["bound"])
    op.create_index("tasks_steps", "tasks", ["deal_id", "bound", "ended"])
    op.drop_index("tasks_deal", "tasks")
    op.execute("UPDATE tasks SET ended = coalesce(closed, changed) WHERE gone OR status IN (5, 6)")
