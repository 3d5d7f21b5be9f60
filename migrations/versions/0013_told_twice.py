"""What is told twice: signatures that were used, and events that prove which they are."""

from __future__ import annotations

from alembic import op

from migrations.indexes import Index, build, drop

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None
loses = "which signatures were used, and which of CollateralXP's events would be known again"

SPENT = """
CREATE TABLE IF NOT EXISTS spent_signatures (
    digest BYTEA NOT NULL,
    ends_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT pk_spent_signatures PRIMARY KEY (digest)
)
"""

SAME = Index("ix_appraisal_events_same", "appraisal_events", "(order_id, same) WHERE same IS NOT NULL")


def upgrade() -> None:
    op.execute(SPENT)
    op.execute("CREATE INDEX IF NOT EXISTS ix_spent_signatures_ends_at ON spent_signatures (ends_at)")
    op.execute("ALTER TABLE appraisal_events ADD COLUMN IF NOT EXISTS same BYTEA")
    build(SAME)


def downgrade() -> None:
    drop(SAME)
    op.execute("ALTER TABLE appraisal_events DROP COLUMN IF EXISTS same")
    op.execute("DROP TABLE IF EXISTS spent_signatures")
