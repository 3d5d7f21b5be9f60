"""Receipts by the ton: weeks made without a lock on all receipts, and indexes for what is looked up in ten million.

A partition made in place (`CREATE TABLE … PARTITION OF`) locks the whole table; one that is made by itself and then
attached does not. Of receipts for files that we do not have, the reference is indexed; of outcomes, those that are
few; the id by the range of pages, which costs next to nothing to keep.
"""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

FUNCTION = """
CREATE OR REPLACE FUNCTION mlm_make_receipt_weeks(first date, weeks int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE monday date := date_trunc('week', first)::date; made int := 0; name text;
BEGIN
    FOR i IN 0 .. weeks - 1 LOOP
        name := 'mlm_webhook_receipts_' || to_char(monday + 7 * i, 'YYYYMMDD');
        IF to_regclass(name) IS NULL THEN
            {make}
            made := made + 1;
        END IF;
    END LOOP;
    RETURN made;
END $$
"""

ATTACHED = """
            EXECUTE format(
                'CREATE TABLE %I (LIKE mlm_webhook_receipts INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', name
            );
            EXECUTE format(
                'ALTER TABLE mlm_webhook_receipts ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                name, (monday + 7 * i)::text || ' 00:00:00+00', (monday + 7 * i + 7)::text || ' 00:00:00+00'
            );
"""

IN_PLACE = """
            EXECUTE format(
                'CREATE TABLE %I PARTITION OF mlm_webhook_receipts FOR VALUES FROM (%L) TO (%L)',
                name, (monday + 7 * i)::text || ' 00:00:00+00', (monday + 7 * i + 7)::text || ' 00:00:00+00'
            );
"""

INDEXES = {
    "ix_mlm_webhook_receipts_unknown": """
        (reference_number, received_at) WHERE file_id IS NULL AND reference_number IS NOT NULL
    """,
    "ix_mlm_webhook_receipts_outcome": """
        (outcome, received_at) WHERE outcome NOT IN ('dispatched', 'held')
    """,
    "ix_mlm_webhook_receipts_id": "USING brin (id) WITH (pages_per_range = 32)",
}


def upgrade() -> None:
    op.execute(FUNCTION.format(make=ATTACHED))
    for name, of in INDEXES.items():
        op.execute(f"CREATE INDEX {name} ON mlm_webhook_receipts {of}")


def downgrade() -> None:
    for name in INDEXES:
        op.execute(f"DROP INDEX {name}")
    op.execute(FUNCTION.format(make=IN_PLACE))
