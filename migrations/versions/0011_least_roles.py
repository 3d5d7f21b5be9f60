"""Weeks of receipts are made, detached and dropped by functions that run as their owner.

So a scheduler and a worker need not own the receipts: they may call these, and nothing else of the kind
(deploy/roles.sql). A week that is made gets the grants of the whole. A version from before, which runs as the owner,
still does it all by itself.
"""

from __future__ import annotations

import importlib

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

before = importlib.import_module("migrations.versions.0006_receipt_weeks")

MAKE = """
CREATE OR REPLACE FUNCTION mlm_make_receipt_weeks(first date, weeks int) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE monday date := date_trunc('week', first)::date; made int := 0; name text; granted record;
BEGIN
    FOR i IN 0 .. weeks - 1 LOOP
        name := 'mlm_webhook_receipts_' || to_char(monday + 7 * i, 'YYYYMMDD');
        IF to_regclass(name) IS NULL THEN
            EXECUTE format(
                'CREATE TABLE %I (LIKE mlm_webhook_receipts INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', name
            );
            FOR granted IN
                SELECT a.privilege_type AS what, quote_ident(r.rolname) AS whom
                FROM pg_class c CROSS JOIN aclexplode(c.relacl) a JOIN pg_roles r ON r.oid = a.grantee
                WHERE c.oid = 'mlm_webhook_receipts'::regclass AND a.grantee <> c.relowner
            LOOP
                EXECUTE format('GRANT %s ON %I TO %s', granted.what, name, granted.whom);
            END LOOP;
            EXECUTE format(
                'ALTER TABLE mlm_webhook_receipts ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                name, (monday + 7 * i)::text || ' 00:00:00+00', (monday + 7 * i + 7)::text || ' 00:00:00+00'
            );
            made := made + 1;
        END IF;
    END LOOP;
    RETURN made;
END $$
"""

DETACH = """
CREATE FUNCTION mlm_detach_receipt_week(monday date) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE day text := to_char(monday, 'YYYYMMDD');
BEGIN
    IF monday + 7 > (mlm_now() AT TIME ZONE 'UTC')::date THEN
        RAISE EXCEPTION 'the week of % has not ended', monday;
    END IF;
    EXECUTE format('ALTER TABLE mlm_webhook_receipts DETACH PARTITION %I', 'mlm_webhook_receipts_' || day);
    EXECUTE format('ALTER TABLE %I RENAME TO %I', 'mlm_webhook_receipts_' || day, 'mlm_webhook_receipts_gone_' || day);
END $$
"""

DROP = """
CREATE FUNCTION mlm_drop_detached_receipt_weeks() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE name text;
BEGIN
    FOR name IN
        SELECT relname FROM pg_class
        WHERE relname ~ '^mlm_webhook_receipts_gone_[0-9]{8}$' AND relkind = 'r' AND pg_table_is_visible(oid)
    LOOP
        EXECUTE format('DROP TABLE %I', name);
    END LOOP;
END $$
"""

# Who calls a function that runs as its owner must not choose whose tables it means, nor may just anybody call it.
CLOSED = """
DO $$ BEGIN
    EXECUTE format('ALTER FUNCTION {function} SET search_path = %I, pg_temp', current_schema());
    REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC;
END $$
"""

FUNCTIONS = (
    "mlm_make_receipt_weeks(date, int)",
    "mlm_detach_receipt_week(date)",
    "mlm_drop_detached_receipt_weeks()",
)


def upgrade() -> None:
    for statement in (MAKE, DETACH, DROP):
        op.execute(statement)
    for function in FUNCTIONS:
        op.execute(CLOSED.format(function=function))


def downgrade() -> None:
    op.execute("DROP FUNCTION mlm_drop_detached_receipt_weeks()")
    op.execute("DROP FUNCTION mlm_detach_receipt_week(date)")
    op.execute(before.FUNCTION.format(make=before.ATTACHED))
    op.execute("GRANT EXECUTE ON FUNCTION mlm_make_receipt_weeks(date, int) TO PUBLIC")
