"""How high what stays undone was told last, and when."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Additive: a program of 0007 leaves what is new as it is."""
    op.create_table(
        "escalations",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("spell", sa.Text(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
