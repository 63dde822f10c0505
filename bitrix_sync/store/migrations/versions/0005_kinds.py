"""Kinds of CRM items other than deals are read too, each from a place of its own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Ids of deals and of their visits stay as they are: they are their numbers (``model.items``)."""
    op.create_table(
        "cursors",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("history_id", sa.BigInteger(), nullable=False),
        sa.Column("history_time", sa.BigInteger(), nullable=False),
        sa.Column("deals_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("kind"),
    )
