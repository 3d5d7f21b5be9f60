"""Doubts: a file whose new epoch forgot stamps that a replica of MLM's may not have yet is not fresh before a while."""

from __future__ import annotations

from alembic import op

from migrations.indexes import Index, build, drop

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None
loses = "which files are doubted after a new epoch: they call themselves fresh as soon as they are read"

DOUBTED = Index("ix_file_freshness_doubted", "file_freshness", "(doubted_until) WHERE doubted_until IS NOT NULL")


def upgrade() -> None:
    for column in ("doubted_until", "doubted_below"):
        op.execute(f"ALTER TABLE file_freshness ADD COLUMN IF NOT EXISTS {column} TIMESTAMPTZ")
    build(DOUBTED)


def downgrade() -> None:
    drop(DOUBTED)
    for column in ("doubted_below", "doubted_until"):
        op.execute(f"ALTER TABLE file_freshness DROP COLUMN IF EXISTS {column}")
