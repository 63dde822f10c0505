"""The page's sessions are rows, so that a logout ends them here and not in one browser alone; texts of the portal that
were kept as they came lose what is secret in them; what was entered before the first start never acts, also where that
start saw nothing of the portal's history; what was refused before is no news; deals of which
something could not be read are judged later. What held is remembered: values of fields that rules use, and absences."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

from bitrix_sync.log import redact, redact_all
from bitrix_sync.store.schema import to_json

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

KEPT_TEXTS = (("operations", "error_text"), ("operations", "error_code"), ("requests", "result"), ("traces", "data"))
"""Table and column of every text, or JSON, that may repeat what the portal said."""


def upgrade() -> None:
    """Of the texts only those are read that may hold a webhook's address or name a token. Rules that were said to have
    been there for ever, as the first start had found an empty history, began with the first stay that was seen to
    begin, or, if none was, with the latest recording. Refusals of every kind are told from now on; of those of former
    times only the log knew."""
    op.create_table(
        "page_sessions",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("seal", sa.Text(), nullable=False),
        sa.Column("began", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest"),
    )
    op.create_table(
        "unjudged",
        sa.Column("deal_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, autoincrement=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("again", sa.BigInteger(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("deal_id"),
    )
    op.create_index("unjudged_again", "unjudged", ["again"])
    _remember()
    for table, text in KEPT_TEXTS:
        _redact(sa.table(table, sa.column("id"), sa.column(text, sa.Text())), text)
    op.execute(
        "UPDATE rules_seen SET loaded = (SELECT coalesce((SELECT min(entered) FROM visits WHERE NOT handled), recorded,"
        " rules_seen.loaded) FROM portal) WHERE loaded <= 946684800000000"  # 1 January 2000
    )
    op.execute(
        "INSERT INTO told (key, at) SELECT 'failed:' || key, coalesce(ended, created) FROM operations"
        " WHERE state = 'failed' AND 'failed:' || key NOT IN (SELECT key FROM told)"
    )


def _remember() -> None:
    """Every deal's fields are first seen as they are known now."""
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    changes = op.create_table(
        "changes",
        sa.Column("id", number, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("item", sa.BigInteger(), nullable=False),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("value", sa.Text()),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "absences",
        sa.Column("id", number, nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("begin", sa.BigInteger(), nullable=False),
        sa.Column("end", sa.BigInteger(), nullable=False),
        sa.Column("known", sa.BigInteger(), nullable=False),
        sa.Column("dropped", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id"),
    )
    deals = sa.table("deals", *(sa.column(name) for name in ("id", "fields", "responsible_id", "changed")))
    for deal in op.get_bind().execute(sa.select(deals)).all():
        values = {**json.loads(deal.fields), "ASSIGNED_BY_ID": deal.responsible_id}
        rows = [
            {
                "kind": "DEAL",
                "item": deal.id,
                "field": field,
                "value": None if value is None else to_json(value),
                "at": deal.changed,
            }
            for field, value in values.items()
        ]
        op.bulk_insert(changes, rows)
    op.create_index("changes_item", "changes", ["kind", "item", "field", "id"])
    op.create_index("changes_at", "changes", ["at"])
    op.create_index("absences_end", "absences", ["end"])


def _redact(table: sa.TableClause, text: str) -> None:
    column, connection = table.c[text], op.get_bind()
    suspect = sa.or_(*(column.ilike(f"%{part}%") for part in ("rest_", "rest%2f", "token", "auth", "secret")))
    for row in connection.execute(sa.select(table.c.id, column).where(suspect)).all():
        kept = row[1]
        clean = to_json(redact_all(json.loads(kept))) if text in ("result", "data") else redact(kept)
        if clean != kept:
            connection.execute(sa.update(table).where(table.c.id == row.id).values({text: clean}))
