"""The web console: sessions, attempts to sign in, who did what; and the indexes that its pages look things up by.

On the receipts, the receiver pays for every index at every entry. So there is one more, which takes in no entry of a
file that we have: what no file leads to, by loan number. Everything else is found by the file, by time, by reference
where there is no file, or among the outcomes that are rare.
On files and concerns they take in what is deleted, unstamped or failed eight times: nothing in ordinary days. None
stands on a column that an ordinary order, lease or commit changes, so none makes those dearer.

Building them reads each week of receipts once and keeps entries of that week waiting meanwhile, some seconds for
10 million.
"""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

UP = (
    """
    CREATE TABLE console_sessions (
        digest BYTEA NOT NULL,
        name TEXT NOT NULL,
        proof BYTEA NOT NULL,
        began_at TIMESTAMP WITH TIME ZONE DEFAULT mlm_now() NOT NULL,
        expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT pk_console_sessions PRIMARY KEY (digest)
    )
    """,
    "CREATE INDEX ix_console_sessions_expires_at ON console_sessions (expires_at)",
    """
    CREATE TABLE console_attempts (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        at TIMESTAMP WITH TIME ZONE DEFAULT mlm_now() NOT NULL,
        address TEXT NOT NULL,
        name_digest BYTEA NOT NULL,
        CONSTRAINT pk_console_attempts PRIMARY KEY (id)
    )
    """,
    "CREATE INDEX ix_console_attempts_at ON console_attempts (at)",
    """
    CREATE TABLE console_actions (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        at TIMESTAMP WITH TIME ZONE DEFAULT mlm_now() NOT NULL,
        who TEXT NOT NULL,
        what TEXT NOT NULL,
        on_what TEXT,
        wanted INTEGER NOT NULL,
        reached INTEGER NOT NULL,
        result TEXT,
        moved_at TIMESTAMP WITH TIME ZONE DEFAULT mlm_now() NOT NULL,
        CONSTRAINT pk_console_actions PRIMARY KEY (id)
    )
    """,
    "CREATE INDEX ix_console_actions_who ON console_actions (who, id)",
    """
    CREATE INDEX ix_mlm_webhook_receipts_stray_number ON mlm_webhook_receipts (loan_number, received_at)
        WHERE file_id IS NULL
    """,
    "CREATE INDEX ix_file_concerns_given_up ON file_concerns (file_id, concern) WHERE attempts >= 8",
    "CREATE INDEX ix_file_freshness_deleted ON file_freshness (id) WHERE deleted_at IS NOT NULL",
    "CREATE INDEX ix_file_freshness_unstamped ON file_freshness (id) WHERE unstamped",
)

DOWN = (
    "DROP INDEX ix_file_freshness_unstamped",
    "DROP INDEX ix_file_freshness_deleted",
    "DROP INDEX ix_file_concerns_given_up",
    "DROP INDEX ix_mlm_webhook_receipts_stray_number",
    "DROP TABLE console_actions",
    "DROP TABLE console_attempts",
    "DROP TABLE console_sessions",
)


def upgrade() -> None:
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWN:
        op.execute(statement)
