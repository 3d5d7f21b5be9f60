"""Other senders than MLM: their subjects, bodies and rows; their receipts stand beside MLM's.

Everything here is added beside what was there, so that a version from before works on the same database.
"""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0006"
branch_labels = None
depends_on = None

UP = (
    """
    CREATE TABLE sender_subjects (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        sender TEXT NOT NULL,
        kind TEXT NOT NULL,
        subject TEXT NOT NULL,
        order_key TEXT,
        content BYTEA,
        begun BOOLEAN DEFAULT false NOT NULL,
        waiting INTEGER DEFAULT 0 NOT NULL,
        entries BIGINT DEFAULT 0 NOT NULL,
        first_at TIMESTAMP WITH TIME ZONE DEFAULT mlm_now() NOT NULL,
        CONSTRAINT pk_sender_subjects PRIMARY KEY (id),
        CONSTRAINT uq_sender_subjects_sender_kind_subject UNIQUE (sender, kind, subject)
    )
    """,
    """
    CREATE TABLE sender_bodies (
        id UUID NOT NULL,
        sender TEXT NOT NULL,
        received_at TIMESTAMP WITH TIME ZONE NOT NULL,
        body_encrypted BYTEA NOT NULL,
        CONSTRAINT pk_sender_bodies PRIMARY KEY (id)
    )
    """,
    "CREATE INDEX ix_sender_bodies_received_at ON sender_bodies (received_at)",
    """
    CREATE TABLE mmi_loan_officers (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        nmls TEXT NOT NULL,
        said_at TIMESTAMP WITH TIME ZONE,
        mmi_user TEXT,
        first_name TEXT,
        last_name TEXT,
        company TEXT,
        opportunity TEXT,
        email TEXT,
        personal_email TEXT,
        phone TEXT,
        branch_address TEXT,
        branch_city TEXT,
        branch_zip TEXT,
        state TEXT,
        ytd_volume NUMERIC(14, 2),
        ytd_transactions INTEGER,
        rolling_volume NUMERIC(14, 2),
        rolling_transactions INTEGER,
        fast_facts_url TEXT,
        google_url TEXT,
        linkedin_url TEXT,
        updated_at TIMESTAMP WITH TIME ZONE DEFAULT mlm_now() NOT NULL,
        other JSONB,
        CONSTRAINT pk_mmi_loan_officers PRIMARY KEY (id),
        CONSTRAINT uq_mmi_loan_officers_nmls UNIQUE (nmls)
    )
    """,
    """
    CREATE TABLE mmi_lenders (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        nmls TEXT NOT NULL,
        said_at TIMESTAMP WITH TIME ZONE,
        mmi_user TEXT,
        name TEXT,
        address TEXT,
        purchase_volume NUMERIC(14, 2),
        refinance_volume NUMERIC(14, 2),
        new_construction_volume NUMERIC(14, 2),
        construction_loan_volume NUMERIC(14, 2),
        conventional_volume NUMERIC(14, 2),
        va_volume NUMERIC(14, 2),
        usda_volume NUMERIC(14, 2),
        nonqm_volume NUMERIC(14, 2),
        fast_facts_url TEXT,
        updated_at TIMESTAMP WITH TIME ZONE DEFAULT mlm_now() NOT NULL,
        other JSONB,
        CONSTRAINT pk_mmi_lenders PRIMARY KEY (id),
        CONSTRAINT uq_mmi_lenders_nmls UNIQUE (nmls)
    )
    """,
    """
    CREATE TABLE mmi_agents (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        agent_id TEXT NOT NULL,
        said_at TIMESTAMP WITH TIME ZONE,
        mmi_user TEXT,
        first_name TEXT,
        last_name TEXT,
        company TEXT,
        opportunity TEXT,
        email TEXT,
        phone TEXT,
        branch_address TEXT,
        branch_city TEXT,
        state TEXT,
        active_listings INTEGER,
        active_volume NUMERIC(14, 2),
        rolling_buyside_volume NUMERIC(14, 2),
        rolling_buyside_transactions INTEGER,
        rolling_listside_volume NUMERIC(14, 2),
        rolling_listside_transactions INTEGER,
        ytd_buyside_volume NUMERIC(14, 2),
        ytd_buyside_transactions INTEGER,
        ytd_listside_volume NUMERIC(14, 2),
        ytd_listside_transactions INTEGER,
        fast_facts_url TEXT,
        linkedin_url TEXT,
        updated_at TIMESTAMP WITH TIME ZONE DEFAULT mlm_now() NOT NULL,
        other JSONB,
        CONSTRAINT pk_mmi_agents PRIMARY KEY (id),
        CONSTRAINT uq_mmi_agents_agent_id UNIQUE (agent_id)
    )
    """,
    """
    CREATE TABLE mmi_listing_alerts (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        listing_id TEXT NOT NULL,
        nmls TEXT DEFAULT '' NOT NULL,
        mmi_user TEXT,
        status TEXT,
        address TEXT,
        city TEXT,
        state TEXT,
        zip TEXT,
        list_date DATE,
        sold_date DATE,
        list_price NUMERIC(14, 2),
        close_price NUMERIC(14, 2),
        photo_url TEXT,
        tracked_agent_name TEXT,
        tracked_agent_office TEXT,
        listing_agent_name TEXT,
        listing_agent_office TEXT,
        listing_agent_email TEXT,
        listing_agent_phone TEXT,
        listing_agent_url TEXT,
        sold_agent_name TEXT,
        sold_agent_office TEXT,
        sold_agent_email TEXT,
        sold_agent_phone TEXT,
        buyer_agent_url TEXT,
        updated_at TIMESTAMP WITH TIME ZONE DEFAULT mlm_now() NOT NULL,
        other JSONB,
        CONSTRAINT pk_mmi_listing_alerts PRIMARY KEY (id),
        CONSTRAINT uq_mmi_listing_alerts_listing_id_nmls UNIQUE (listing_id, nmls)
    )
    """,
    """
    CREATE TABLE maxwell_applications (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        loan_id BIGINT,
        lead_id BIGINT,
        loan_file_id TEXT NOT NULL,
        loan_number TEXT,
        email TEXT,
        first_name TEXT,
        last_name TEXT,
        phone TEXT,
        mailing_street TEXT,
        mailing_unit TEXT,
        mailing_city TEXT,
        mailing_state TEXT,
        mailing_zip TEXT,
        property_street TEXT,
        property_unit TEXT,
        property_city TEXT,
        property_state TEXT,
        property_zip TEXT,
        purpose TEXT,
        loan_amount NUMERIC(14, 2),
        purchase_price NUMERIC(14, 2),
        created_at TIMESTAMP WITH TIME ZONE,
        submitted_at TIMESTAMP WITH TIME ZONE,
        milestone TEXT,
        milestone_at TIMESTAMP WITH TIME ZONE,
        ssn_encrypted BYTEA,
        ssn_last4 TEXT,
        ssn_index BYTEA,
        sections_encrypted BYTEA,
        updated_at TIMESTAMP WITH TIME ZONE DEFAULT mlm_now() NOT NULL,
        other_encrypted BYTEA,
        CONSTRAINT pk_maxwell_applications PRIMARY KEY (id),
        CONSTRAINT fk_maxwell_applications_loan_id_loans FOREIGN KEY(loan_id) REFERENCES loans (id) ON DELETE SET NULL,
        CONSTRAINT fk_maxwell_applications_lead_id_leads FOREIGN KEY(lead_id) REFERENCES leads (id) ON DELETE SET NULL,
        CONSTRAINT uq_maxwell_applications_loan_file_id UNIQUE (loan_file_id)
    )
    """,
    "CREATE INDEX ix_maxwell_applications_email ON maxwell_applications (lower(email))",
    "CREATE INDEX ix_maxwell_applications_lead_id ON maxwell_applications (lead_id)",
    "CREATE INDEX ix_maxwell_applications_loan_id ON maxwell_applications (loan_id)",
    "CREATE INDEX ix_maxwell_applications_ssn_index ON maxwell_applications (ssn_index)",
    """
    CREATE TABLE appraisal_orders (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        loan_id BIGINT,
        lead_id BIGINT,
        order_id TEXT NOT NULL,
        status TEXT,
        status_key TEXT,
        status_at TIMESTAMP WITH TIME ZONE,
        is_held BOOLEAN DEFAULT false NOT NULL,
        hold_reason TEXT,
        holds INTEGER DEFAULT 0 NOT NULL,
        loan_number TEXT,
        file_number TEXT,
        fha_case_number TEXT,
        loan_type TEXT,
        payment_method TEXT,
        order_created_at TIMESTAMP WITH TIME ZONE,
        client_id TEXT,
        lender_id TEXT,
        company_id TEXT,
        lender_name TEXT,
        company_name TEXT,
        vendor_id TEXT,
        vendor_name TEXT,
        vendor_email TEXT,
        vendor_phone TEXT,
        vendor_license_number TEXT,
        vendor_license_type TEXT,
        vendor_license_state TEXT,
        vendor_license_expires_at TIMESTAMP WITH TIME ZONE,
        borrower_name TEXT,
        borrower_email TEXT,
        borrower_phone TEXT,
        contact_name TEXT,
        contact_email TEXT,
        contact_phone TEXT,
        address TEXT,
        street TEXT,
        unit TEXT,
        city TEXT,
        state TEXT,
        zip TEXT,
        county TEXT,
        latitude NUMERIC(10, 7),
        longitude NUMERIC(10, 7),
        products TEXT[],
        product_ids TEXT[],
        due_at TIMESTAMP WITH TIME ZONE,
        vendor_due_at TIMESTAMP WITH TIME ZONE,
        paying_fee NUMERIC(14, 2),
        payouting_fee NUMERIC(14, 2),
        auto_reject_hours INTEGER,
        assignment_conditions TEXT,
        assignment_accepted_at TIMESTAMP WITH TIME ZONE,
        inspection_scheduled_at TIMESTAMP WITH TIME ZONE,
        inspection_completed_at TIMESTAMP WITH TIME ZONE,
        appraised_value NUMERIC(14, 2),
        appraisal_effective_date DATE,
        completed_date DATE,
        submission_id TEXT,
        freddie_mac_score NUMERIC(6, 2),
        fannie_mae_score NUMERIC(6, 2),
        cancel_type TEXT,
        cancel_reason TEXT,
        trip_fee NUMERIC(14, 2),
        said_by JSONB DEFAULT '{}' NOT NULL,
        updated_at TIMESTAMP WITH TIME ZONE DEFAULT mlm_now() NOT NULL,
        other_encrypted BYTEA,
        CONSTRAINT pk_appraisal_orders PRIMARY KEY (id),
        CONSTRAINT fk_appraisal_orders_loan_id_loans FOREIGN KEY(loan_id) REFERENCES loans (id) ON DELETE SET NULL,
        CONSTRAINT fk_appraisal_orders_lead_id_leads FOREIGN KEY(lead_id) REFERENCES leads (id) ON DELETE SET NULL,
        CONSTRAINT uq_appraisal_orders_order_id UNIQUE (order_id)
    )
    """,
    "CREATE INDEX ix_appraisal_orders_lead_id ON appraisal_orders (lead_id)",
    "CREATE INDEX ix_appraisal_orders_loan_id ON appraisal_orders (loan_id)",
    "CREATE INDEX ix_appraisal_orders_loan_number ON appraisal_orders (loan_number)",
    """
    CREATE TABLE appraisal_events (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        event TEXT NOT NULL,
        own_at TIMESTAMP WITH TIME ZONE,
        received_at TIMESTAMP WITH TIME ZONE NOT NULL,
        effect TEXT NOT NULL,
        status_after TEXT,
        reason TEXT,
        order_id TEXT,
        updated_at TIMESTAMP WITH TIME ZONE DEFAULT mlm_now() NOT NULL,
        other_encrypted BYTEA,
        CONSTRAINT pk_appraisal_events PRIMARY KEY (id)
    )
    """,
    "CREATE INDEX ix_appraisal_events_order_id ON appraisal_events (order_id)",
    """
    CREATE TABLE appraisal_revisions (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        asked_by TEXT NOT NULL,
        user_id TEXT,
        content TEXT,
        received_at TIMESTAMP WITH TIME ZONE NOT NULL,
        order_id TEXT,
        updated_at TIMESTAMP WITH TIME ZONE DEFAULT mlm_now() NOT NULL,
        other_encrypted BYTEA,
        CONSTRAINT pk_appraisal_revisions PRIMARY KEY (id)
    )
    """,
    "CREATE INDEX ix_appraisal_revisions_order_id ON appraisal_revisions (order_id)",
    """
    CREATE TABLE appraisal_notes (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        note_id TEXT NOT NULL,
        source TEXT NOT NULL,
        note_type TEXT,
        subject TEXT,
        content TEXT,
        plain_text TEXT,
        author_name TEXT,
        author_role TEXT,
        author_email TEXT,
        status_slug TEXT,
        important BOOLEAN,
        from_workflow BOOLEAN,
        note_added_at TIMESTAMP WITH TIME ZONE,
        order_id TEXT,
        updated_at TIMESTAMP WITH TIME ZONE DEFAULT mlm_now() NOT NULL,
        other_encrypted BYTEA,
        CONSTRAINT pk_appraisal_notes PRIMARY KEY (id),
        CONSTRAINT uq_appraisal_notes_note_id UNIQUE (note_id)
    )
    """,
    "CREATE INDEX ix_appraisal_notes_order_id ON appraisal_notes (order_id)",
    """
    CREATE TABLE appraisal_files (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        file_key TEXT NOT NULL,
        file_id TEXT,
        file_type TEXT,
        product_id TEXT,
        note_id TEXT,
        filename TEXT,
        content_type TEXT,
        byte_size BIGINT,
        checksum TEXT,
        link TEXT,
        order_id TEXT,
        updated_at TIMESTAMP WITH TIME ZONE DEFAULT mlm_now() NOT NULL,
        other_encrypted BYTEA,
        CONSTRAINT pk_appraisal_files PRIMARY KEY (id),
        CONSTRAINT uq_appraisal_files_order_id_file_key UNIQUE (order_id, file_key)
    )
    """,
    "CREATE INDEX ix_appraisal_files_order_id ON appraisal_files (order_id)",
    """
    CREATE TABLE appraisal_payouts (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        payout_id TEXT NOT NULL,
        transfer_id TEXT,
        vendor_id TEXT,
        amount NUMERIC(14, 2),
        amount_said TEXT,
        payout_amount NUMERIC(14, 2),
        check_number TEXT,
        completed_at TIMESTAMP WITH TIME ZONE,
        status TEXT,
        error TEXT,
        scheduled_at TIMESTAMP WITH TIME ZONE,
        fulfilled_at TIMESTAMP WITH TIME ZONE,
        cancelled_at TIMESTAMP WITH TIME ZONE,
        cancel_reason TEXT,
        order_id TEXT,
        updated_at TIMESTAMP WITH TIME ZONE DEFAULT mlm_now() NOT NULL,
        other_encrypted BYTEA,
        CONSTRAINT pk_appraisal_payouts PRIMARY KEY (id),
        CONSTRAINT uq_appraisal_payouts_order_id_payout_id UNIQUE (order_id, payout_id)
    )
    """,
    "CREATE INDEX ix_appraisal_payouts_order_id ON appraisal_payouts (order_id)",
    """
    CREATE TABLE showmojo_showings (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        uid TEXT NOT NULL,
        lead_key TEXT,
        created_at TIMESTAMP WITH TIME ZONE,
        showtime TIMESTAMP WITH TIME ZONE,
        time_zone TEXT,
        time_zone_said TEXT,
        utc_offset INTEGER,
        is_self_show BOOLEAN,
        confirmed_at TIMESTAMP WITH TIME ZONE,
        canceled_at TIMESTAMP WITH TIME ZONE,
        self_show_code_distributed_at TIMESTAMP WITH TIME ZONE,
        event_id TEXT,
        action TEXT,
        actor TEXT,
        event_at TIMESTAMP WITH TIME ZONE,
        team_member_name TEXT,
        team_member_uid TEXT,
        name TEXT,
        email TEXT,
        phone TEXT,
        notes TEXT,
        listing_uid TEXT,
        listing_full_address TEXT,
        updated_at TIMESTAMP WITH TIME ZONE DEFAULT mlm_now() NOT NULL,
        other_encrypted BYTEA,
        CONSTRAINT pk_showmojo_showings PRIMARY KEY (id),
        CONSTRAINT uq_showmojo_showings_uid UNIQUE (uid)
    )
    """,
    "CREATE INDEX ix_showmojo_showings_lead_key ON showmojo_showings (lead_key)",
    """
    CREATE TABLE showmojo_leads (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        lead_key TEXT NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE,
        event_id TEXT,
        action TEXT,
        actor TEXT,
        event_at TIMESTAMP WITH TIME ZONE,
        team_member_name TEXT,
        team_member_uid TEXT,
        name TEXT,
        email TEXT,
        phone TEXT,
        notes TEXT,
        listing_uid TEXT,
        listing_full_address TEXT,
        updated_at TIMESTAMP WITH TIME ZONE DEFAULT mlm_now() NOT NULL,
        other_encrypted BYTEA,
        CONSTRAINT pk_showmojo_leads PRIMARY KEY (id),
        CONSTRAINT uq_showmojo_leads_lead_key UNIQUE (lead_key)
    )
    """,
    "CREATE INDEX ix_borrowers_email ON borrowers (lower(email))",
    """
    ALTER TABLE mlm_webhook_receipts ADD COLUMN sender TEXT DEFAULT 'mlm' NOT NULL, ADD COLUMN subject TEXT,
        ADD COLUMN subject_id BIGINT, ADD COLUMN subject_number BIGINT, ADD COLUMN body_id UUID,
        ADD COLUMN body_place INTEGER
    """,
    """
    CREATE INDEX ix_mlm_webhook_receipts_subject ON mlm_webhook_receipts (subject_id, subject_number)
        WHERE subject_id IS NOT NULL
    """,
)

DOWN = (
    "DROP INDEX ix_mlm_webhook_receipts_subject",
    """
    ALTER TABLE mlm_webhook_receipts DROP COLUMN body_place, DROP COLUMN body_id, DROP COLUMN subject_number,
        DROP COLUMN subject_id, DROP COLUMN subject, DROP COLUMN sender
    """,
    "DROP INDEX ix_borrowers_email",
    "DROP TABLE showmojo_leads",
    "DROP TABLE showmojo_showings",
    "DROP TABLE appraisal_payouts",
    "DROP TABLE appraisal_files",
    "DROP TABLE appraisal_notes",
    "DROP TABLE appraisal_revisions",
    "DROP TABLE appraisal_events",
    "DROP TABLE appraisal_orders",
    "DROP TABLE maxwell_applications",
    "DROP TABLE mmi_listing_alerts",
    "DROP TABLE mmi_agents",
    "DROP TABLE mmi_lenders",
    "DROP TABLE mmi_loan_officers",
    "DROP TABLE sender_bodies",
    "DROP TABLE sender_subjects",
)


def upgrade() -> None:
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWN:
        op.execute(statement)
