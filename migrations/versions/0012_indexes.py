"""Indexes on tables that may be large by the time that they come: built while everybody goes on.

Of receipts for files that we do not have, the reference and the loan number are indexed; of outcomes, those that are
few; the id by the range of pages, which costs next to nothing to keep; of other senders' entries the subject. On the
receipts, the receiver pays for every index at every entry: none of these takes in an ordinary entry of MLM's of a file
that we have, but the last but one.
On files and concerns they take in what is deleted, unstamped or failed eight times: nothing in ordinary days. Files are
also found by whose round or audit is due, loans and leads by number, as the poll list speaks of them, borrowers by mail
address, as other senders do.
"""

from __future__ import annotations

from migrations.indexes import Index, build, drop

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

RECEIPTS = "mlm_webhook_receipts"

INDEXES = (
    Index("ix_file_freshness_round_at", "file_freshness", "(round_at)"),
    Index(
        "ix_file_freshness_audited_at",
        "file_freshness",
        "(audited_at) WHERE deleted_at IS NULL AND (loan_id IS NOT NULL OR lead_id IS NOT NULL)",
    ),
    Index("ix_file_freshness_deleted", "file_freshness", "(id) WHERE deleted_at IS NOT NULL"),
    Index("ix_file_freshness_unstamped", "file_freshness", "(id) WHERE unstamped"),
    Index("ix_file_concerns_given_up", "file_concerns", "(file_id, concern) WHERE attempts >= 8"),
    Index("ix_loans_mlm_loan_number", "loans", "(mlm_loan_number)"),
    Index("ix_leads_mlm_loan_number", "leads", "(mlm_loan_number)"),
    Index("ix_borrowers_email", "borrowers", "(lower(email))"),
    Index(
        "ix_mlm_webhook_receipts_unknown",
        RECEIPTS,
        "(reference_number, received_at) WHERE file_id IS NULL AND reference_number IS NOT NULL",
        partitioned=True,
    ),
    Index(
        "ix_mlm_webhook_receipts_stray_number",
        RECEIPTS,
        "(loan_number, received_at) WHERE file_id IS NULL",
        partitioned=True,
    ),
    Index(
        "ix_mlm_webhook_receipts_outcome",
        RECEIPTS,
        "(outcome, received_at) WHERE outcome NOT IN ('dispatched', 'held')",
        partitioned=True,
    ),
    Index(
        "ix_mlm_webhook_receipts_subject",
        RECEIPTS,
        "(subject_id, subject_number) WHERE subject_id IS NOT NULL",
        partitioned=True,
    ),
    Index("ix_mlm_webhook_receipts_id", RECEIPTS, "USING brin (id) WITH (pages_per_range = 32)", partitioned=True),
)


def upgrade() -> None:
    for index in INDEXES:
        build(index)


def downgrade() -> None:
    for index in reversed(INDEXES):
        drop(index)
