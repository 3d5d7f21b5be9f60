"""Up to which order a concern is read by itself, after a read together with others has failed.

Added beside what was there: a version from before reads every concern by itself.
"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None
loses = "which slices are read by themselves after an error: they are read together with others once more"


def upgrade() -> None:
    op.execute("ALTER TABLE file_concerns ADD COLUMN alone_order BIGINT DEFAULT 0 NOT NULL")


def downgrade() -> None:
    op.execute("ALTER TABLE file_concerns DROP COLUMN alone_order")
