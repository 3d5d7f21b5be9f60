-- The roles of the database: one for each kind of process, with the least that it needs.
--
--     psql -v ON_ERROR_STOP=1 -f deploy/roles.sql "postgresql://<superuser>@host/database"
--
-- Run it before the first `freshness migrate`, and again after every one, before processes of the new version start: it
-- can be run at any time, takes nothing away that is used, and ends with exactly the grants below. Nobody can sign in as
-- one of these roles until you say how: `\password mlm_worker`, or a line of pg_hba.conf.
--
--     mlm_migrations   owns the tables; `freshness migrate`
--     mlm_receiver     `freshness receiver`, `freshness replay`
--     mlm_worker       `freshness worker`; `freshness rotate-keys`, `prune-webhook-receipts`
--     mlm_scheduler    `freshness scheduler`
--     mlm_console      the web console (CONSOLE_DATABASE_URL) and the commands of engineers: explain, receipts, queues,
--                      refresh, import, new-epoch, doctor
--     mlm_portal       a Python portal that writes and registers its own writes
--     mlm_reader       whoever only reads the copy

DO $$
DECLARE role text;
BEGIN
    FOREACH role IN ARRAY '{mlm_migrations,mlm_receiver,mlm_worker,mlm_scheduler,mlm_console,mlm_portal,mlm_reader}'::text[] LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE', role);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;  -- roles are one for all databases of a server
        END;
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), role);
    END LOOP;
    EXECUTE format('GRANT CREATE ON SCHEMA %I TO mlm_migrations', current_schema());
    EXECUTE format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC', current_schema());  -- as it is by default since PostgreSQL 15
END $$;

CREATE TEMPORARY TABLE wanted (role text, what text, tables text);

-- The receiver takes deliveries and what the portal says of its writes. Of loans and leads it knows which there are; of
-- their people, who an application's mail address belongs to. It writes what other senders sent.
INSERT INTO wanted VALUES
('mlm_receiver', 'SELECT, INSERT, UPDATE',
 'file_freshness file_concerns own_writes mlm_webhook_receipts refused_deliveries sender_subjects'),
('mlm_receiver', 'SELECT, INSERT', 'refresh_orders file_events sender_bodies body_keys'),
('mlm_receiver', 'SELECT, INSERT, DELETE', 'event_tickets'),
('mlm_receiver', 'SELECT, INSERT, UPDATE, DELETE', 'spent_signatures'),
('mlm_receiver', 'SELECT, INSERT, UPDATE', 'tallies'),
('mlm_receiver', 'SELECT, UPDATE', 'event_counter stamp_calibration'),
('mlm_receiver', 'SELECT', 'workers measures slice_runs backstop_runs missed_changes'),
('mlm_receiver', 'INSERT', 'audit_log'),
('mlm_receiver', 'SELECT (id, mlm_reference_number, mlm_loan_number, mlm_last_modified_at, is_hydrated, hydrated_at, deleted_at), '
                 'INSERT (mlm_reference_number), UPDATE (mlm_last_modified_at, is_hydrated, hydrated_at, deleted_at)',
 'loans leads'),
('mlm_receiver', 'SELECT (became_loan_id)', 'leads'),
('mlm_receiver', 'SELECT (id, loan_id, lead_id, email)', 'borrowers'),
('mlm_receiver', 'SELECT, INSERT, UPDATE',
 'mmi_loan_officers mmi_lenders mmi_agents mmi_listing_alerts maxwell_applications appraisal_orders '
 'showmojo_showings showmojo_leads'),
('mlm_receiver', 'SELECT, INSERT, UPDATE, DELETE',
 'appraisal_events appraisal_revisions appraisal_notes appraisal_files appraisal_payouts');

-- A worker reads files from MLM into the portal's tables, and keeps the house: it drops what is old, seals anew.
INSERT INTO wanted VALUES
('mlm_worker', 'SELECT, INSERT, UPDATE, DELETE',
 'loans leads borrowers assets liabilities employments real_properties incomes conditions fees'),
('mlm_worker', 'SELECT, INSERT, UPDATE',
 'file_freshness file_concerns file_events stamp_calibration backstop_turns tallies'),
('mlm_worker', 'SELECT, INSERT, UPDATE, DELETE',
 'refresh_orders own_writes mlm_webhook_receipts slice_runs refused_deliveries backstop_runs workers'),
('mlm_worker', 'SELECT, INSERT', 'missed_changes'),
('mlm_worker', 'SELECT (id, at), DELETE', 'console_actions'),
('mlm_worker', 'SELECT, INSERT, DELETE', 'schedule_claims'),
('mlm_worker', 'SELECT, UPDATE', 'event_counter'),
('mlm_worker', 'SELECT, UPDATE, DELETE', 'body_keys sender_bodies'),
('mlm_worker', 'SELECT (id, ssn_encrypted, ssn_index, sections_encrypted, other_encrypted), UPDATE (ssn_encrypted, ssn_index, sections_encrypted, other_encrypted)',
 'maxwell_applications'),
('mlm_worker', 'SELECT (id, other_encrypted), UPDATE (other_encrypted)',
 'appraisal_orders appraisal_events appraisal_revisions appraisal_notes appraisal_files appraisal_payouts '
 'showmojo_showings showmojo_leads');

-- The schedule rings, measures and tidies. It sees no row of the portal's but who a file belongs to.
INSERT INTO wanted VALUES
('mlm_scheduler', 'SELECT, INSERT, UPDATE', 'file_freshness file_concerns measures'),
('mlm_scheduler', 'SELECT, INSERT, UPDATE, DELETE', 'file_events workers tallies'),
('mlm_scheduler', 'SELECT, INSERT, DELETE', 'schedule_claims'),
('mlm_scheduler', 'SELECT, INSERT', 'refresh_orders'),
('mlm_scheduler', 'SELECT, UPDATE', 'event_counter own_writes mlm_webhook_receipts backstop_turns'),
('mlm_scheduler', 'SELECT, DELETE', 'event_tickets'),
('mlm_scheduler', 'SELECT', 'stamp_calibration backstop_runs missed_changes slice_runs refused_deliveries');

-- The console shows what became of files and deliveries, orders anew, and keeps its own book. It reads no borrower.
INSERT INTO wanted VALUES
('mlm_console', 'SELECT, INSERT, DELETE', 'console_sessions console_attempts'),
('mlm_console', 'SELECT, INSERT, UPDATE',
 'console_actions file_freshness file_concerns mlm_webhook_receipts import_runs import_files'),
('mlm_console', 'SELECT, INSERT', 'refresh_orders file_events'),
('mlm_console', 'SELECT, UPDATE', 'own_writes stamp_calibration'),
('mlm_console', 'SELECT',
 'slice_runs refused_deliveries workers tallies measures backstop_turns backstop_runs missed_changes event_counter '
 'schedule_claims sender_subjects alembic_version'),
('mlm_console', 'SELECT (id, mlm_reference_number, mlm_loan_number, mlm_last_modified_at, is_hydrated, hydrated_at, deleted_at), '
                'UPDATE (mlm_last_modified_at)',
 'loans leads'),
('mlm_console', 'SELECT (became_loan_id)', 'leads');

-- A portal reads the copy, writes its own half of it, and says what it wrote to MLM.
INSERT INTO wanted VALUES
('mlm_portal', 'SELECT, INSERT, UPDATE, DELETE',
 'loans leads borrowers assets liabilities employments real_properties incomes conditions fees'),
('mlm_portal', 'SELECT, INSERT', 'audit_log refresh_orders file_events'),
('mlm_portal', 'SELECT, INSERT, UPDATE', 'file_freshness file_concerns own_writes'),
('mlm_portal', 'SELECT, UPDATE', 'mlm_webhook_receipts stamp_calibration'),
('mlm_portal', 'SELECT', 'workers');

INSERT INTO wanted
SELECT role, 'SELECT', tables FROM unnest('{mlm_portal,mlm_reader}'::text[]) role, (VALUES
    ('loans leads borrowers assets liabilities employments real_properties incomes conditions fees'),
    ('mlm_webhook_receipts audit_log'),
    ('mmi_loan_officers mmi_lenders mmi_agents mmi_listing_alerts maxwell_applications appraisal_orders'),
    ('appraisal_events appraisal_revisions appraisal_notes appraisal_files appraisal_payouts'),
    ('showmojo_showings showmojo_leads')
) t (tables);

-- What is there gets its owner and exactly these grants, in one transaction; what is to come, when this is run again.
DO $$
DECLARE
    others text := 'mlm_receiver, mlm_worker, mlm_scheduler, mlm_console, mlm_portal, mlm_reader';
    receipts oid := to_regclass('mlm_webhook_receipts');
    each record;
    given record;
BEGIN
    FOR each IN
        SELECT c.oid::regclass AS name, c.relname, p.inhparent = receipts AS is_week, c.relowner <> o.oid AS is_anothers
        FROM pg_class c LEFT JOIN pg_inherits p ON p.inhrelid = c.oid, pg_roles o
        WHERE o.rolname = 'mlm_migrations' AND c.relkind IN ('r', 'p')
          AND c.relnamespace = current_schema()::regnamespace
          AND (p.inhparent = receipts OR c.relname = 'alembic_version'
               OR c.relname IN (SELECT unnest(string_to_array(tables, ' ')) FROM wanted))
    LOOP
        IF each.is_anothers THEN
            EXECUTE format('ALTER TABLE %s OWNER TO mlm_migrations', each.name);
        END IF;
        EXECUTE format('REVOKE ALL ON %s FROM %s', each.name, others);
        FOR given IN
            SELECT role, what FROM wanted
            WHERE CASE WHEN each.is_week THEN 'mlm_webhook_receipts' ELSE each.relname END
                  = ANY (string_to_array(tables, ' '))
        LOOP
            EXECUTE format('GRANT %s ON %s TO %I', given.what, each.name, given.role);
        END LOOP;
    END LOOP;
    IF receipts IS NULL THEN
        RETURN;
    END IF;
    FOR each IN
        SELECT p.oid::regprocedure AS name FROM pg_proc p
        WHERE p.pronamespace = current_schema()::regnamespace
          AND (p.proname LIKE 'mlm\_%' OR p.proname = 'audit_portal_change')
    LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO mlm_migrations', each.name);
    END LOOP;
    GRANT EXECUTE ON FUNCTION mlm_make_receipt_weeks(date, int) TO mlm_scheduler, mlm_worker;
    GRANT EXECUTE ON FUNCTION mlm_detach_receipt_week(date), mlm_drop_detached_receipt_weeks() TO mlm_worker;
END $$;

DROP TABLE wanted;
