"""Weeks of receipts made without a lock on all receipts.

A partition made in place (`CREATE TABLE … PARTITION OF`) locks the whole table; one that is made by itself and then
attached does not.
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


def upgrade() -> None:
    op.execute(FUNCTION.format(make=ATTACHED))


def downgrade() -> None:
    op.execute(FUNCTION.format(make=IN_PLACE))
