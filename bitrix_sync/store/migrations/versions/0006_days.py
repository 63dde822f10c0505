"""Sweeps choose days: what was promised, how urgent a task is, what was moved for an absence, who lent it to whom."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Additive: a program of 0005 leaves the new columns as they are. What was promised is not known of the tasks there
    are; their first deadline stands for it."""
    op.add_column("tasks", sa.Column("promise", sa.BigInteger()))
    op.add_column("tasks", sa.Column("priority", sa.Integer(), nullable=False, server_default="1"))
    op.add_column("tasks", sa.Column("moves_for_absence", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("tasks", sa.Column("lent_from", sa.BigInteger()))
    op.add_column("tasks", sa.Column("lent_at", sa.BigInteger()))
