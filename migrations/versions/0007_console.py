"""The web console: sessions, attempts to sign in, who did what."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None
loses = "who is signed in to the console, and the book of what people did there"

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
)

DOWN = (
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
