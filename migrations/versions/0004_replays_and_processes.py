"""Which receipt a receipt replays, and what kind of process beats: a scheduler shows that it lives, as workers do.

Everything here is added beside what was there, so that a version from before works on the same database: who beats
without saying what it is, is a worker.
"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None
loses = "which receipts are replays of which"


def upgrade() -> None:
    op.execute("ALTER TABLE mlm_webhook_receipts ADD COLUMN replay_of BIGINT")
    op.execute("ALTER TABLE workers ADD COLUMN process TEXT DEFAULT 'worker' NOT NULL")


def downgrade() -> None:
    op.execute("ALTER TABLE workers DROP COLUMN process")
    op.execute("ALTER TABLE mlm_webhook_receipts DROP COLUMN replay_of")
