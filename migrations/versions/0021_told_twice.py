"""What is told twice: signatures that were used, events that prove which they are, transfers each for itself.

A note is one of its order, a transfer one of its payout: the narrower rules go once the wider ones stand. A version
from before that still runs cannot write CollateralXP's notes and payouts without those: it answers 500 to these, and
takes everything else. Each statement can be run again.
"""

from __future__ import annotations

from alembic import op

from migrations.indexes import Index, build, drop

revision = "0021"
down_revision = "0012"
branch_labels = None
depends_on = None
loses = "which signatures were used; of notes and transfers that were one by the narrower rules, all but the first"

UP = (
    """
    CREATE TABLE IF NOT EXISTS spent_signatures (
        digest BYTEA NOT NULL,
        ends_at TIMESTAMPTZ NOT NULL,
        CONSTRAINT pk_spent_signatures PRIMARY KEY (digest)
    )
    """,
    "CREATE INDEX IF NOT EXISTS ix_spent_signatures_ends_at ON spent_signatures (ends_at)",
    "ALTER TABLE appraisal_events ADD COLUMN IF NOT EXISTS same BYTEA",
    "ALTER TABLE appraisal_payouts ADD COLUMN IF NOT EXISTS transfer_key TEXT DEFAULT '' NOT NULL",
    "UPDATE appraisal_payouts SET transfer_key = coalesce(transfer_id, '#0') WHERE transfer_key = ''",
)

INDEXES = (
    Index("ix_appraisal_events_same", "appraisal_events", "(order_id, same) WHERE same IS NOT NULL"),
    Index("ix_appraisal_notes_order_id_note_id", "appraisal_notes", "(order_id, note_id)", unique=True),
    Index("ix_appraisal_payouts_transfer", "appraisal_payouts", "(order_id, payout_id, transfer_key)", unique=True),
)

NARROWER = (
    Index("uq_appraisal_notes_note_id", "appraisal_notes", "(note_id)", unique=True),
    Index("uq_appraisal_payouts_order_id_payout_id", "appraisal_payouts", "(order_id, payout_id)", unique=True),
)

# For the linter: the wider rule takes over; what a version from before does meanwhile is said above.
_NARROWER_GOES = "-- squawk-ignore ban-drop-constraint\n"

FIRST_ALONE = (
    "DELETE FROM appraisal_notes n USING appraisal_notes f WHERE f.note_id = n.note_id AND f.id < n.id",
    """
    DELETE FROM appraisal_payouts p USING appraisal_payouts f
    WHERE f.order_id = p.order_id AND f.payout_id = p.payout_id AND f.id < p.id
    """,
)


def upgrade() -> None:
    for statement in UP:
        op.execute(statement)
    for index in INDEXES:
        build(index)
    for index in NARROWER:
        op.execute(f"{_NARROWER_GOES}ALTER TABLE {index.table} DROP CONSTRAINT IF EXISTS {index.name}")


def downgrade() -> None:
    for statement in FIRST_ALONE:
        op.execute(statement)
    for index in NARROWER:
        op.execute(f"{_NARROWER_GOES}ALTER TABLE {index.table} DROP CONSTRAINT IF EXISTS {index.name}")
        build(index)
        op.execute(f"ALTER TABLE {index.table} ADD CONSTRAINT {index.name} UNIQUE USING INDEX {index.name}")
    for index in INDEXES:
        drop(index)
    op.execute("ALTER TABLE appraisal_payouts DROP COLUMN IF EXISTS transfer_key")
    op.execute("ALTER TABLE appraisal_events DROP COLUMN IF EXISTS same")
    op.execute("DROP TABLE IF EXISTS spent_signatures")
