"""Who closed a task and who moved a deadline is kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Of what was before it, who did it stays unknown."""
    op.add_column("tasks", sa.Column("closed_by", sa.BigInteger()))
    op.add_column("slips", sa.Column("mover", sa.BigInteger()))
