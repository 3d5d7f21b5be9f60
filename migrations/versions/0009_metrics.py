"""What processes have counted for `/metrics`, and what the schedule measured last.

Added beside what was there: a version from before neither writes nor reads them. Rows of counts are updated in place
often, and only in columns without an index, so pages leave room for that.
"""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None
loses = "what was counted and measured for /metrics: counters begin at 0"

UP = (
    """
    CREATE TABLE tallies (
        name TEXT NOT NULL,
        labels TEXT[] NOT NULL,
        process TEXT NOT NULL,
        value DOUBLE PRECISION DEFAULT 0 NOT NULL,
        written_at TIMESTAMP WITH TIME ZONE DEFAULT mlm_now() NOT NULL,
        CONSTRAINT pk_tallies PRIMARY KEY (name, labels, process)
    ) WITH (fillfactor = 50)
    """,
    """
    CREATE TABLE measures (
        id INTEGER NOT NULL,
        measured_at TIMESTAMP WITH TIME ZONE NOT NULL,
        took_s DOUBLE PRECISION DEFAULT 0 NOT NULL,
        told JSONB DEFAULT '{}' NOT NULL,
        CONSTRAINT pk_measures PRIMARY KEY (id),
        CONSTRAINT ck_measures_one_row CHECK (id = 1)
    )
    """,
)


def upgrade() -> None:
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE measures")
    op.execute("DROP TABLE tallies")
