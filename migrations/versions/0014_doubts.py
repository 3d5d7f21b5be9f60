"""Doubts: a file whose new epoch forgot stamps that a replica of MLM's may not have yet is not fresh before a while."""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None
loses = "which files are doubted after a new epoch: they call themselves fresh as soon as they are read"


def upgrade() -> None:
    for column in ("doubted_until", "doubted_below"):
        op.execute(f"ALTER TABLE file_freshness ADD COLUMN IF NOT EXISTS {column} TIMESTAMPTZ")


def downgrade() -> None:
    for column in ("doubted_below", "doubted_until"):
        op.execute(f"ALTER TABLE file_freshness DROP COLUMN IF EXISTS {column}")
