"""Keys of other senders' bodies, one a week. Bodies from before stay sealed as they are, and so does what a version
from before writes.
"""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None
loses = "the keys of other senders' bodies: those taken since open no more, and cannot be replayed"


def upgrade() -> None:
    op.execute("""
        CREATE TABLE body_keys (
            week DATE NOT NULL,
            key_encrypted BYTEA NOT NULL,
            CONSTRAINT pk_body_keys PRIMARY KEY (week)
        )
    """)
    op.execute("ALTER TABLE sender_bodies ADD COLUMN key_week DATE")


def downgrade() -> None:
    op.execute("ALTER TABLE sender_bodies DROP COLUMN key_week")
    op.execute("DROP TABLE body_keys")
