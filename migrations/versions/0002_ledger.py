"""The ledger: files and their numbers, orders, own writes, receipts by the week, announcements.

Receipts are partitioned by time from the start; a default partition takes what no week was made for, so that a
schedule that stood still never refuses a batch.
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None
loses = "what is held of each file: receipts, orders, own writes, events"

TABLES = (
    """
    CREATE TABLE file_freshness (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        ref TEXT NOT NULL,
        kind TEXT,
        loan_id BIGINT,
        lead_id BIGINT,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT mlm_now() NOT NULL,
        mark TIMESTAMP WITH TIME ZONE,
        mark_seen_at TIMESTAMP WITH TIME ZONE,
        captured TIMESTAMP WITH TIME ZONE,
        wanted TIMESTAMP WITH TIME ZONE,
        wanted_seen_at TIMESTAMP WITH TIME ZONE,
        wanted_exact TIMESTAMP WITH TIME ZONE,
        ordered BIGINT DEFAULT 0 NOT NULL,
        served BIGINT DEFAULT 0 NOT NULL,
        due_at TIMESTAMP WITH TIME ZONE,
        epoch BIGINT DEFAULT 1 NOT NULL,
        unstamped BOOLEAN DEFAULT false NOT NULL,
        deleted_at TIMESTAMP WITH TIME ZONE,
        not_found_at TIMESTAMP WITH TIME ZONE,
        racy_stamp TIMESTAMP WITH TIME ZONE,
        slice_committed_at TIMESTAMP WITH TIME ZONE,
        fetching_order BIGINT DEFAULT 0 NOT NULL,
        unconfirmed_since TIMESTAMP WITH TIME ZONE,
        confirm_at TIMESTAMP WITH TIME ZONE,
        confirmations SMALLINT DEFAULT 0 NOT NULL,
        confirmed_at TIMESTAMP WITH TIME ZONE,
        CONSTRAINT pk_file_freshness PRIMARY KEY (id),
        CONSTRAINT ck_file_freshness_kind CHECK (kind IN ('loan', 'lead')),
        CONSTRAINT uq_file_freshness_ref UNIQUE (ref),
        CONSTRAINT fk_file_freshness_loan_id_loans FOREIGN KEY(loan_id) REFERENCES loans (id) ON DELETE SET NULL,
        CONSTRAINT fk_file_freshness_lead_id_leads FOREIGN KEY(lead_id) REFERENCES leads (id) ON DELETE SET NULL
    )
    """,
    """
    CREATE INDEX ix_file_freshness_confirm_at ON file_freshness (confirm_at) WHERE confirm_at IS NOT NULL
    """,
    """
    CREATE INDEX ix_file_freshness_lead_id ON file_freshness (lead_id) WHERE lead_id IS NOT NULL
    """,
    """
    CREATE INDEX ix_file_freshness_loan_id ON file_freshness (loan_id) WHERE loan_id IS NOT NULL
    """,
    """
    CREATE INDEX ix_file_freshness_stale ON file_freshness (id) WHERE served < ordered
    """,
    """
    CREATE TABLE file_concerns (
        file_id BIGINT NOT NULL,
        concern TEXT NOT NULL,
        held TIMESTAMP WITH TIME ZONE,
        served BIGINT DEFAULT 0 NOT NULL,
        landed BIGINT DEFAULT 0 NOT NULL,
        landed_at TIMESTAMP WITH TIME ZONE,
        attempts SMALLINT DEFAULT 0 NOT NULL,
        fruitless SMALLINT DEFAULT 0 NOT NULL,
        tried_order BIGINT DEFAULT 0 NOT NULL,
        next_try_at TIMESTAMP WITH TIME ZONE,
        first_error_at TIMESTAMP WITH TIME ZONE,
        last_error_at TIMESTAMP WITH TIME ZONE,
        last_error TEXT,
        given_up_stamp TIMESTAMP WITH TIME ZONE,
        lease_token UUID,
        lease_worker TEXT,
        lease_at TIMESTAMP WITH TIME ZONE,
        lease_until TIMESTAMP WITH TIME ZONE,
        CONSTRAINT pk_file_concerns PRIMARY KEY (file_id, concern),
        CONSTRAINT fk_file_concerns_file_id_file_freshness
            FOREIGN KEY (file_id) REFERENCES file_freshness (id) ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE refresh_orders (
        file_id BIGINT NOT NULL,
        number BIGINT NOT NULL,
        placed_at TIMESTAMP WITH TIME ZONE DEFAULT mlm_now() NOT NULL,
        due_at TIMESTAMP WITH TIME ZONE DEFAULT mlm_now() NOT NULL,
        cause TEXT NOT NULL,
        CONSTRAINT pk_refresh_orders PRIMARY KEY (file_id, number),
        CONSTRAINT fk_refresh_orders_file_id_file_freshness
            FOREIGN KEY (file_id) REFERENCES file_freshness (id) ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE own_writes (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        file_id BIGINT NOT NULL,
        capture BOOLEAN NOT NULL,
        registered_at TIMESTAMP WITH TIME ZONE DEFAULT mlm_now() NOT NULL,
        exited_at TIMESTAMP WITH TIME ZONE,
        exited_well BOOLEAN,
        abandoned_at TIMESTAMP WITH TIME ZONE,
        closed_at TIMESTAMP WITH TIME ZONE,
        capture_wanted BOOLEAN DEFAULT false NOT NULL,
        captured_at TIMESTAMP WITH TIME ZONE,
        attempts SMALLINT DEFAULT 0 NOT NULL,
        next_try_at TIMESTAMP WITH TIME ZONE,
        last_error TEXT,
        CONSTRAINT pk_own_writes PRIMARY KEY (id),
        CONSTRAINT fk_own_writes_file_id_file_freshness
            FOREIGN KEY (file_id) REFERENCES file_freshness (id) ON DELETE CASCADE
    )
    """,
    """
    CREATE INDEX ix_own_writes_file_id ON own_writes (file_id, id)
    """,
    """
    CREATE INDEX ix_own_writes_uncaptured ON own_writes (next_try_at) WHERE capture_wanted AND captured_at IS NULL
    """,
    """
    CREATE INDEX ix_own_writes_unexited ON own_writes (registered_at) WHERE exited_at IS NULL
    """,
    """
    CREATE TABLE slice_runs (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        file_id BIGINT NOT NULL,
        concern TEXT NOT NULL,
        order_number BIGINT NOT NULL,
        worker TEXT,
        started_at TIMESTAMP WITH TIME ZONE NOT NULL,
        asked_at TIMESTAMP WITH TIME ZONE,
        finished_at TIMESTAMP WITH TIME ZONE DEFAULT mlm_now() NOT NULL,
        outcome TEXT NOT NULL,
        stamp TIMESTAMP WITH TIME ZONE,
        rows_changed JSONB,
        unread JSONB,
        error TEXT,
        CONSTRAINT pk_slice_runs PRIMARY KEY (id),
        CONSTRAINT fk_slice_runs_file_id_file_freshness
            FOREIGN KEY (file_id) REFERENCES file_freshness (id) ON DELETE CASCADE
    )
    """,
    """
    CREATE INDEX ix_slice_runs_file_id ON slice_runs (file_id, finished_at)
    """,
    """
    CREATE TABLE mlm_webhook_receipts (
        received_at TIMESTAMP WITH TIME ZONE DEFAULT mlm_now() NOT NULL,
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        file_id BIGINT,
        loan_id BIGINT,
        lead_id BIGINT,
        reference_number TEXT,
        loan_number TEXT,
        event_type TEXT,
        last_modified_at TIMESTAMP WITH TIME ZONE,
        last_modified_text TEXT,
        mark_before TIMESTAMP WITH TIME ZONE,
        outcome TEXT NOT NULL,
        reason TEXT NOT NULL,
        order_number BIGINT,
        served_at TIMESTAMP WITH TIME ZONE,
        data_updated_at TIMESTAMP WITH TIME ZONE,
        rows_changed INTEGER DEFAULT 0 NOT NULL,
        CONSTRAINT pk_mlm_webhook_receipts PRIMARY KEY (received_at, id)
    )
     PARTITION BY RANGE (received_at)
    """,
    """
    CREATE INDEX ix_mlm_webhook_receipts_file ON mlm_webhook_receipts (file_id, received_at)
    """,
    """
    CREATE INDEX ix_mlm_webhook_receipts_unserved ON mlm_webhook_receipts (file_id, order_number)
        WHERE served_at IS NULL AND order_number IS NOT NULL
    """,
    """
    CREATE TABLE refused_deliveries (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        at TIMESTAMP WITH TIME ZONE DEFAULT mlm_now() NOT NULL,
        minute TIMESTAMP WITH TIME ZONE NOT NULL,
        path TEXT NOT NULL,
        address TEXT NOT NULL,
        status SMALLINT NOT NULL,
        reason TEXT NOT NULL,
        content_length BIGINT,
        content_type TEXT,
        fault_position TEXT,
        keys JSONB,
        is_rest BOOLEAN DEFAULT false NOT NULL,
        count INTEGER DEFAULT 1 NOT NULL,
        CONSTRAINT pk_refused_deliveries PRIMARY KEY (id)
    )
    """,
    """
    CREATE INDEX ix_refused_deliveries_minute ON refused_deliveries (minute, address, status)
    """,
    """
    CREATE UNIQUE INDEX uq_refused_deliveries_rest ON refused_deliveries (minute, address, status) WHERE is_rest
    """,
    """
    CREATE TABLE file_events (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        number BIGINT,
        kind TEXT NOT NULL,
        ref TEXT NOT NULL,
        at TIMESTAMP WITH TIME ZONE DEFAULT mlm_now() NOT NULL,
        CONSTRAINT pk_file_events PRIMARY KEY (id)
    )
    """,
    """
    CREATE INDEX ix_file_events_at ON file_events (at)
    """,
    """
    CREATE INDEX ix_file_events_unnumbered ON file_events (id) WHERE number IS NULL
    """,
    """
    CREATE UNIQUE INDEX uq_file_events_number ON file_events (number) WHERE number IS NOT NULL
    """,
    """
    CREATE TABLE event_counter (
        id INTEGER NOT NULL,
        last_number BIGINT DEFAULT 0 NOT NULL,
        CONSTRAINT pk_event_counter PRIMARY KEY (id),
        CONSTRAINT ck_event_counter_one_row CHECK (id = 1)
    )
    """,
    """
    CREATE TABLE event_tickets (
        digest BYTEA NOT NULL,
        expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT pk_event_tickets PRIMARY KEY (digest)
    )
    """,
    """
    CREATE TABLE workers (
        id TEXT NOT NULL,
        host TEXT NOT NULL,
        pid INTEGER NOT NULL,
        started_at TIMESTAMP WITH TIME ZONE DEFAULT mlm_now() NOT NULL,
        beat_at TIMESTAMP WITH TIME ZONE DEFAULT mlm_now() NOT NULL,
        CONSTRAINT pk_workers PRIMARY KEY (id)
    )
    """,
    """
    CREATE TABLE schedule_claims (
        job TEXT NOT NULL,
        period TEXT NOT NULL,
        claimed_at TIMESTAMP WITH TIME ZONE DEFAULT mlm_now() NOT NULL,
        CONSTRAINT pk_schedule_claims PRIMARY KEY (job, period)
    )
    """,
    """
    CREATE TABLE stamp_calibration (
        id INTEGER NOT NULL,
        auto_resolution_s DOUBLE PRECISION DEFAULT 1 NOT NULL,
        alike_at TIMESTAMP WITH TIME ZONE,
        CONSTRAINT pk_stamp_calibration PRIMARY KEY (id),
        CONSTRAINT ck_stamp_calibration_one_row CHECK (id = 1)
    )
    """,
    """
    CREATE TABLE import_runs (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        asked TEXT NOT NULL,
        started_at TIMESTAMP WITH TIME ZONE DEFAULT mlm_now() NOT NULL,
        finished_at TIMESTAMP WITH TIME ZONE,
        CONSTRAINT pk_import_runs PRIMARY KEY (id)
    )
    """,
    """
    CREATE TABLE import_files (
        run_id BIGINT NOT NULL,
        ref TEXT NOT NULL,
        file_id BIGINT,
        order_number BIGINT,
        CONSTRAINT pk_import_files PRIMARY KEY (run_id, ref),
        CONSTRAINT fk_import_files_run_id_import_runs FOREIGN KEY(run_id) REFERENCES import_runs (id) ON DELETE CASCADE
    )
    """,
)

# Partitions are named for the Monday they begin with, in UTC. Called by the schedule, weeks ahead.
RECEIPT_WEEKS = """
CREATE FUNCTION mlm_make_receipt_weeks(first date, weeks int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE monday date := date_trunc('week', first)::date; made int := 0; name text;
BEGIN
    FOR i IN 0 .. weeks - 1 LOOP
        name := 'mlm_webhook_receipts_' || to_char(monday + 7 * i, 'YYYYMMDD');
        IF to_regclass(name) IS NULL THEN
            EXECUTE format(
                'CREATE TABLE %I PARTITION OF mlm_webhook_receipts FOR VALUES FROM (%L) TO (%L)',
                name, (monday + 7 * i)::text || ' 00:00:00+00', (monday + 7 * i + 7)::text || ' 00:00:00+00'
            );
            made := made + 1;
        END IF;
    END LOOP;
    RETURN made;
END $$
"""

# A loan or lead that the portal inserts has a file from then on: it holds nothing, and is confirmed once quiet.
# A hydrate ties its file itself, later, in the order of locks.
NEW_FILE = """
CREATE FUNCTION mlm_new_file() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('mlm.hydrating', true) = 'on' THEN RETURN NULL; END IF;
    IF TG_TABLE_NAME = 'loans' THEN
        INSERT INTO file_freshness AS f (ref, kind, loan_id, unconfirmed_since, confirm_at)
        VALUES (NEW.mlm_reference_number, 'loan', NEW.id, mlm_now(), mlm_now())
        ON CONFLICT (ref) DO UPDATE SET loan_id = excluded.loan_id, kind = coalesce(f.kind, 'loan')
        WHERE f.loan_id IS NULL;
    ELSE
        INSERT INTO file_freshness AS f (ref, kind, lead_id, unconfirmed_since, confirm_at)
        VALUES (NEW.mlm_reference_number, 'lead', NEW.id, mlm_now(), mlm_now())
        ON CONFLICT (ref) DO UPDATE SET lead_id = excluded.lead_id, kind = coalesce(f.kind, 'lead')
        WHERE f.lead_id IS NULL;
    END IF;
    RETURN NULL;
END $$
"""


def upgrade() -> None:
    for statement in TABLES:
        op.execute(statement)
    op.execute("INSERT INTO event_counter (id) VALUES (1)")
    op.execute("INSERT INTO stamp_calibration (id) VALUES (1)")
    op.execute("CREATE TABLE mlm_webhook_receipts_default PARTITION OF mlm_webhook_receipts DEFAULT")
    op.execute(RECEIPT_WEEKS)
    op.execute("SELECT mlm_make_receipt_weeks((mlm_now() AT TIME ZONE 'UTC')::date, 5)")
    op.execute(NEW_FILE)
    for table in ("loans", "leads"):
        op.execute(f"CREATE TRIGGER new_file AFTER INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION mlm_new_file()")


def downgrade() -> None:
    for table in ("loans", "leads"):
        op.execute(f"DROP TRIGGER new_file ON {table}")
    op.execute("DROP FUNCTION mlm_new_file()")
    op.execute("DROP FUNCTION mlm_make_receipt_weeks(date, int)")
    for table in (
        "import_files", "import_runs", "stamp_calibration", "schedule_claims", "workers", "event_tickets",
        "event_counter", "file_events", "refused_deliveries", "mlm_webhook_receipts", "slice_runs", "own_writes",
        "refresh_orders", "file_concerns", "file_freshness",
    ):  # fmt: skip
        op.execute(f"DROP TABLE {table}")
