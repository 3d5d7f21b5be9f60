"""Portal tables: loans, leads, their children, the audit log, and what "now" is in SQL."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None
loses = "the copy: loans, leads, borrowers and all that hangs on them, and the portal's audit log"

# A session may set the variable `mlm.now`: a history that is replayed has a clock of its own.
MLM_NOW = """
CREATE FUNCTION mlm_now() RETURNS timestamptz LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
    SELECT coalesce(nullif(current_setting('mlm.now', true), '')::timestamptz, clock_timestamp())
$$
"""

FILE_COLUMNS = """
    id bigint GENERATED ALWAYS AS IDENTITY,
    mlm_reference_number text NOT NULL,
    mlm_loan_number text,
    mlm_last_modified_at timestamptz,
    is_hydrated boolean NOT NULL DEFAULT false,
    hydrated_at timestamptz,
    deleted_at timestamptz,
    status text, status_code smallint, status_date date, purpose text, purpose_code smallint,
    loan_type text, loan_type_code smallint, amortization text, amortization_code smallint,
    rate_lock_status text, rate_lock_status_code smallint, occupancy text, occupancy_code smallint,
    property_type text, property_type_code smallint, gse_property_type text,
    gse_property_type_code smallint, gse_refinance_purpose text, gse_refinance_purpose_code smallint,
    buydown_contributor text, buydown_contributor_code smallint, loan_amount numeric(14,2),
    final_loan_amount numeric(14,2), purchase_price numeric(14,2), appraised_value numeric(14,2),
    equity numeric(14,2), total_monthly_income numeric(14,2), proposed_payment numeric(14,2),
    monthly_payment numeric(14,2), mortgage_insurance_payment numeric(14,2),
    aggregate_escrow_adjustment numeric(14,2), note_rate numeric(12,5), qualifying_rate numeric(12,5),
    down_payment_percent numeric(12,5), discount_points_percent numeric(12,5), ltv numeric(12,5),
    gross_ltv numeric(12,5), gross_cltv numeric(12,5), front_end_dti numeric(12,5),
    back_end_dti numeric(12,5), term_months integer, units integer, property_address text,
    property_city text, property_state text, property_zip text, property_county text, loan_program text,
    mers_min text, lead_source text, loan_officer_email text, processor_email text, investor_id text,
    lead_date date, opened_date date, application_submitted_date date, loan_submitted_date date,
    intent_to_proceed_date date, processing_date date, underwriting_date date,
    condition_review_date date, final_underwriting_date date, approved_date date, suspended_date date,
    on_hold_date date, rejected_date date, canceled_date date, withdrawn_date date, docs_date date,
    scheduled_funding_date date, funded_date date, estimated_closing_date date, first_payment_date date,
    rate_locked_date date, rate_lock_expires_date date, appraisal_ordered_date date,
    appraisal_due_date date, appraisal_received_date date, appraisal_expires_date date,
    asset_documents_expire_date date, income_documents_expire_date date,
    credit_report_expires_date date, custom_status_1_date date, custom_status_1_note text,
    custom_status_2_date date, custom_status_2_note text, custom_status_3_date date,
    custom_status_3_note text, custom_status_4_date date, custom_status_4_note text
"""

BORROWER_COLUMNS = """
    position integer NOT NULL,
    role text NOT NULL CONSTRAINT ck_borrowers_role CHECK (role IN ('borrower', 'co_borrower')),
    first_name text, middle_name text, last_name text, suffix text, ssn_encrypted bytea, ssn_last4 text,
    ssn_index bytea, birth_date_encrypted bytea, birth_date_index bytea,
    marital_status text, marital_status_code smallint, email text,
    home_phone text, cell_phone text, work_phone text, address text, city text, state text, zip text,
    base_monthly_income numeric(14,2), equifax_score integer, experian_score integer,
    transunion_score integer, occupancy text, occupancy_code smallint,
    application_monthly_income numeric(14,2), application_transmittal_income numeric(14,2),
    application_liability_payments numeric(14,2), application_liability_balances numeric(14,2),
    credit_report_id_encrypted bytea, credit_report_id_index bytea, alimony_paid_to text, alimony_payment numeric(14,2),
    job_expense_description text, job_expense_payment numeric(14,2)
"""

#: Children that a borrower owns, each table after the one it refers to.
OWNED = {
    "assets": """
    asset_type text, asset_type_code smallint, company_name text, account_number_encrypted bytea,
    account_number_last4 text, account_number_index bytea, value numeric(14,2), description text
    """,
    "liabilities": """
    debt_type text, debt_type_code smallint, company_name text, account_number_encrypted bytea,
    account_number_last4 text, account_number_index bytea, balance numeric(14,2),
    monthly_payment numeric(14,2), remaining_months integer, will_be_paid_off boolean
    """,
    "employments": """
    employer_name text, job_title text, address text, city text, state text, zip text, phone text,
    start_date date, end_date date, is_self_employed boolean, monthly_income numeric(14,2)
    """,
    "real_properties": """
    address text, city text, state text, zip text, status text, status_code smallint,
    property_type text, property_type_code smallint, market_value numeric(14,2),
    mortgage_balance numeric(14,2), mortgage_payment numeric(14,2), gross_rental_income numeric(14,2),
    liability_lqb_ids text[]
    """,
    "incomes": """
    income_type text, income_type_code smallint, monthly_amount numeric(14,2), employment_lqb_id text,
    employment_id bigint CONSTRAINT fk_incomes_employment_id_employments
        REFERENCES employments (id) ON DELETE SET NULL
    """,
}

UNOWNED = {
    "conditions": """
    category text, description text, status text, due_date date, done_date date, assigned_to text
    """,
    "fees": """
    section text, hud_line text, description text, amount numeric(14,2), paid_to text, paid_by text
    """,
}

AUDIT_LOG = """
CREATE TABLE audit_log (
    id bigint GENERATED ALWAYS AS IDENTITY,
    at timestamptz NOT NULL DEFAULT mlm_now(),
    table_name text NOT NULL,
    row_id bigint NOT NULL,
    operation text NOT NULL,
    changed_columns text[] NOT NULL,
    changed_by text NOT NULL,
    CONSTRAINT pk_audit_log PRIMARY KEY (id)
)
"""

# Names of columns and no values: an audit log must not become a second store of borrowers' data.
AUDIT_FUNCTION = """
CREATE FUNCTION audit_portal_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    how_far text[] := '{id,mlm_last_modified_at,is_hydrated,hydrated_at}';
    old_row jsonb := CASE WHEN TG_OP = 'INSERT' THEN '{}' ELSE to_jsonb(OLD) END;
    new_row jsonb := CASE WHEN TG_OP = 'DELETE' THEN '{}' ELSE to_jsonb(NEW) END;
    changed text[];
BEGIN
    IF TG_OP <> 'DELETE' THEN
        SELECT array_agg(key ORDER BY key) INTO changed
          FROM jsonb_each(new_row)
         WHERE coalesce(old_row -> key, 'null') <> value AND key <> ALL (how_far);
    END IF;
    IF TG_OP = 'UPDATE' AND changed IS NULL THEN
        RETURN NULL;
    END IF;
    INSERT INTO audit_log (table_name, row_id, operation, changed_columns, changed_by)
    VALUES (TG_TABLE_NAME, coalesce(new_row ->> 'id', old_row ->> 'id')::bigint, lower(TG_OP),
            coalesce(changed, '{}'), coalesce(nullif(current_setting('mlm.changed_by', true), ''), current_user));
    RETURN NULL;
END
$$
"""

# The condition stands on the trigger, so that a hydrate pays no call per row.
AUDIT_TRIGGER = """
CREATE TRIGGER audit_portal_change AFTER INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW
WHEN (current_setting('mlm.hydrating', true) IS DISTINCT FROM 'on')
EXECUTE FUNCTION audit_portal_change()
"""

OWNER_COLUMNS = """
    borrower_id bigint CONSTRAINT fk_{table}_borrower_id_borrowers
        REFERENCES borrowers (id) ON DELETE SET NULL,
    owner text CONSTRAINT ck_{table}_owner CHECK (owner IN ('borrower', 'co_borrower', 'both')),
"""

CHILD = """
CREATE TABLE {table} (
    id bigint GENERATED ALWAYS AS IDENTITY,
    loan_id bigint CONSTRAINT fk_{table}_loan_id_loans REFERENCES loans (id) ON DELETE CASCADE,
    lead_id bigint CONSTRAINT fk_{table}_lead_id_leads REFERENCES leads (id) ON DELETE CASCADE,
    lqb_id text NOT NULL,
    {columns},
    CONSTRAINT pk_{table} PRIMARY KEY (id),
    CONSTRAINT ck_{table}_one_parent CHECK (num_nonnulls(loan_id, lead_id) = 1),
    CONSTRAINT uq_{table}_loan_id_lqb_id UNIQUE (loan_id, lqb_id),
    CONSTRAINT uq_{table}_lead_id_lqb_id UNIQUE (lead_id, lqb_id)
)
"""

FILE = """
CREATE TABLE {table} ({columns},
    CONSTRAINT pk_{table} PRIMARY KEY (id),
    CONSTRAINT uq_{table}_mlm_reference_number UNIQUE (mlm_reference_number)
)
"""

BECAME_LOAN_ID = """,
    became_loan_id bigint CONSTRAINT fk_leads_became_loan_id_loans REFERENCES loans (id) ON DELETE SET NULL
"""

# One for every foreign key that no unique key begins with, and for the digests that a lookup compares.
INDEXES = (
    ("leads", "became_loan_id"),
    *((table, "borrower_id") for table in OWNED),
    ("incomes", "employment_id"),
    ("borrowers", "ssn_index"),
    ("assets", "account_number_index"),
    ("liabilities", "account_number_index"),
)

TABLES = ("loans", "leads", "borrowers", *OWNED, *UNOWNED)


def upgrade() -> None:
    op.execute(MLM_NOW)
    op.execute(FILE.format(table="loans", columns=FILE_COLUMNS))
    op.execute(FILE.format(table="leads", columns=FILE_COLUMNS + BECAME_LOAN_ID))
    op.execute(CHILD.format(table="borrowers", columns=BORROWER_COLUMNS))
    for table, columns in OWNED.items():
        op.execute(CHILD.format(table=table, columns=OWNER_COLUMNS.format(table=table) + columns))
    for table, columns in UNOWNED.items():
        op.execute(CHILD.format(table=table, columns=columns))
    for table, column in INDEXES:
        op.execute(f"CREATE INDEX ix_{table}_{column} ON {table} ({column})")
    op.execute(AUDIT_LOG)
    op.execute(AUDIT_FUNCTION)
    for table in TABLES:
        op.execute(AUDIT_TRIGGER.format(table=table))


def downgrade() -> None:
    for table in (*reversed(TABLES), "audit_log"):
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP FUNCTION audit_portal_change()")
    op.execute("DROP FUNCTION mlm_now()")
