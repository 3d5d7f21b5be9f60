"""Backstops: whose turn it is, what they found, which files they look at next; and when stamps were seen unlike.

Everything here is added beside what was there, so that a version from before works on the same database.
"""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None
loses = "what the poll, the rounds and the audit have found, and whose turn it is"

UP = (
    """
    CREATE TABLE backstop_turns (
        backstop TEXT NOT NULL,
        begun_at TIMESTAMP WITH TIME ZONE DEFAULT mlm_now() NOT NULL,
        holder TEXT,
        CONSTRAINT pk_backstop_turns PRIMARY KEY (backstop)
    )
    """,
    "INSERT INTO backstop_turns (backstop, begun_at) VALUES ('poll', '-infinity')",
    "INSERT INTO backstop_turns (backstop) VALUES ('rounds'), ('audit')",
    """
    CREATE TABLE backstop_runs (
        backstop TEXT NOT NULL,
        hour TIMESTAMP WITH TIME ZONE NOT NULL,
        worker TEXT NOT NULL,
        runs INTEGER DEFAULT 0 NOT NULL,
        looked INTEGER DEFAULT 0 NOT NULL,
        ordered INTEGER DEFAULT 0 NOT NULL,
        healed INTEGER DEFAULT 0 NOT NULL,
        missed INTEGER DEFAULT 0 NOT NULL,
        failed INTEGER DEFAULT 0 NOT NULL,
        last_at TIMESTAMP WITH TIME ZONE DEFAULT mlm_now() NOT NULL,
        last_error TEXT,
        CONSTRAINT pk_backstop_runs PRIMARY KEY (backstop, hour, worker)
    )
    """,
    """
    CREATE TABLE missed_changes (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        found_at TIMESTAMP WITH TIME ZONE DEFAULT mlm_now() NOT NULL,
        file_id BIGINT NOT NULL,
        concern TEXT NOT NULL,
        stamp TIMESTAMP WITH TIME ZONE NOT NULL,
        rows INTEGER NOT NULL,
        order_number BIGINT NOT NULL,
        receipts BIGINT[] NOT NULL,
        CONSTRAINT pk_missed_changes PRIMARY KEY (id),
        CONSTRAINT fk_missed_changes_file_id_file_freshness
            FOREIGN KEY (file_id) REFERENCES file_freshness (id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX ix_missed_changes_file_id ON missed_changes (file_id)",
    "CREATE INDEX ix_missed_changes_found_at ON missed_changes (found_at)",
    "ALTER TABLE refresh_orders ADD COLUMN backstop TEXT, ADD COLUMN healed_rows INTEGER DEFAULT 0 NOT NULL",
    # now() is the same for all rows, so that the table is not rewritten; mlm_now() is what holds from then on.
    """
    ALTER TABLE file_freshness ADD COLUMN round_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        ADD COLUMN audited_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL
    """,
    """
    ALTER TABLE file_freshness ALTER COLUMN round_at SET DEFAULT mlm_now(),
        ALTER COLUMN audited_at SET DEFAULT mlm_now()
    """,
    """
    ALTER TABLE stamp_calibration ADD COLUMN unlike INTEGER DEFAULT 0 NOT NULL,
        ADD COLUMN cleared_at TIMESTAMP WITH TIME ZONE
    """,
)

DOWN = (
    "ALTER TABLE stamp_calibration DROP COLUMN cleared_at, DROP COLUMN unlike",
    "ALTER TABLE file_freshness DROP COLUMN audited_at, DROP COLUMN round_at",
    "ALTER TABLE refresh_orders DROP COLUMN healed_rows, DROP COLUMN backstop",
    "DROP TABLE missed_changes",
    "DROP TABLE backstop_runs",
    "DROP TABLE backstop_turns",
)


def upgrade() -> None:
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWN:
        op.execute(statement)
