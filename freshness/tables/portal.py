"""The tables the portal reads: loans, leads, their children, and the audit log of the portal's own changes.

A hydrate writes them, the portal reads them (the contract, "Tables the portal reads"). Every child belongs to
exactly one loan or lead and is known by MLM's id for it (`lqb_id`). A column is null while MLM shows nothing,
or while what it shows cannot be read as the column's type; the slice's run says which.

SSNs, account numbers, birth dates and credit reports' ids are never plain: `…_encrypted` opens with `FIELD_KEYS`,
`…_index` is a keyed digest for equality, `…_last4`, of numbers, is for people (`freshness.field_keys`). An enum of
MLM's is a pair: `x_code` is MLM's number, `x` its name, null where the number means nothing to us.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    LargeBinary,
    Numeric,
    SmallInteger,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, declared_attr, mapped_column

from .base import Base

RowId = Annotated[int, mapped_column(BigInteger, Identity(always=True), primary_key=True, sort_order=-9)]
Instant = Annotated[datetime | None, mapped_column(DateTime(timezone=True), nullable=True)]
Words = Annotated[str | None, mapped_column(Text, nullable=True)]
Money = Annotated[Decimal | None, mapped_column(Numeric(14, 2), nullable=True)]
Percent = Annotated[Decimal | None, mapped_column(Numeric(12, 5), nullable=True)]
Count = Annotated[int | None, mapped_column(nullable=True)]
Code = Annotated[int | None, mapped_column(SmallInteger, nullable=True)]
Day = Annotated[date | None, mapped_column(nullable=True)]
Flag = Annotated[bool | None, mapped_column(nullable=True)]
Sealed = Annotated[bytes | None, mapped_column(LargeBinary, nullable=True)]
Digest = Annotated[bytes | None, mapped_column(LargeBinary, nullable=True, index=True)]


class _File:
    """What a loan and a lead share: who they are in MLM, how far their copy is, and MLM's scalars."""

    id: Mapped[RowId]
    mlm_reference_number: Mapped[str] = mapped_column(Text, unique=True)
    mlm_loan_number: Mapped[str | None] = mapped_column(Text, index=True)
    mlm_last_modified_at: Mapped[Instant]
    is_hydrated: Mapped[bool] = mapped_column(server_default=text("false"))
    hydrated_at: Mapped[Instant]
    deleted_at: Mapped[Instant]

    status: Mapped[Words]
    status_code: Mapped[Code]
    status_date: Mapped[Day]
    purpose: Mapped[Words]
    purpose_code: Mapped[Code]
    loan_type: Mapped[Words]
    loan_type_code: Mapped[Code]
    amortization: Mapped[Words]
    amortization_code: Mapped[Code]
    rate_lock_status: Mapped[Words]
    rate_lock_status_code: Mapped[Code]
    occupancy: Mapped[Words]
    occupancy_code: Mapped[Code]
    property_type: Mapped[Words]
    property_type_code: Mapped[Code]
    gse_property_type: Mapped[Words]
    gse_property_type_code: Mapped[Code]
    gse_refinance_purpose: Mapped[Words]
    gse_refinance_purpose_code: Mapped[Code]
    buydown_contributor: Mapped[Words]
    buydown_contributor_code: Mapped[Code]

    loan_amount: Mapped[Money]
    final_loan_amount: Mapped[Money]
    purchase_price: Mapped[Money]
    appraised_value: Mapped[Money]
    equity: Mapped[Money]
    total_monthly_income: Mapped[Money]
    proposed_payment: Mapped[Money]
    monthly_payment: Mapped[Money]
    mortgage_insurance_payment: Mapped[Money]
    aggregate_escrow_adjustment: Mapped[Money]

    note_rate: Mapped[Percent]
    qualifying_rate: Mapped[Percent]
    down_payment_percent: Mapped[Percent]
    discount_points_percent: Mapped[Percent]
    ltv: Mapped[Percent]
    gross_ltv: Mapped[Percent]
    gross_cltv: Mapped[Percent]
    front_end_dti: Mapped[Percent]
    back_end_dti: Mapped[Percent]

    term_months: Mapped[Count]
    units: Mapped[Count]

    property_address: Mapped[Words]
    property_city: Mapped[Words]
    property_state: Mapped[Words]
    property_zip: Mapped[Words]
    property_county: Mapped[Words]
    loan_program: Mapped[Words]
    mers_min: Mapped[Words]
    lead_source: Mapped[Words]
    loan_officer_email: Mapped[Words]
    processor_email: Mapped[Words]
    investor_id: Mapped[Words]

    lead_date: Mapped[Day]
    opened_date: Mapped[Day]
    application_submitted_date: Mapped[Day]
    loan_submitted_date: Mapped[Day]
    intent_to_proceed_date: Mapped[Day]
    processing_date: Mapped[Day]
    underwriting_date: Mapped[Day]
    condition_review_date: Mapped[Day]
    final_underwriting_date: Mapped[Day]
    approved_date: Mapped[Day]
    suspended_date: Mapped[Day]
    on_hold_date: Mapped[Day]
    rejected_date: Mapped[Day]
    canceled_date: Mapped[Day]
    withdrawn_date: Mapped[Day]
    docs_date: Mapped[Day]
    scheduled_funding_date: Mapped[Day]
    funded_date: Mapped[Day]
    estimated_closing_date: Mapped[Day]
    first_payment_date: Mapped[Day]
    rate_locked_date: Mapped[Day]
    rate_lock_expires_date: Mapped[Day]
    appraisal_ordered_date: Mapped[Day]
    appraisal_due_date: Mapped[Day]
    appraisal_received_date: Mapped[Day]
    appraisal_expires_date: Mapped[Day]
    asset_documents_expire_date: Mapped[Day]
    income_documents_expire_date: Mapped[Day]
    credit_report_expires_date: Mapped[Day]

    custom_status_1_date: Mapped[Day]
    custom_status_1_note: Mapped[Words]
    custom_status_2_date: Mapped[Day]
    custom_status_2_note: Mapped[Words]
    custom_status_3_date: Mapped[Day]
    custom_status_3_note: Mapped[Words]
    custom_status_4_date: Mapped[Day]
    custom_status_4_note: Mapped[Words]


class Loan(_File, Base):
    """A loan of MLM's. A purged one keeps its row (`deleted_at`) and loses its children."""

    __tablename__ = "loans"


class Lead(_File, Base):
    """A lead of MLM's. One that became a loan keeps its row and says which."""

    __tablename__ = "leads"

    became_loan_id: Mapped[int | None] = mapped_column(
        ForeignKey("loans.id", ondelete="SET NULL"), index=True, sort_order=1
    )


class _Child:
    """What belongs to exactly one loan or lead, known there by MLM's id."""

    id: Mapped[RowId]
    loan_id: Mapped[int | None] = mapped_column(ForeignKey("loans.id", ondelete="CASCADE"), sort_order=-8)
    lead_id: Mapped[int | None] = mapped_column(ForeignKey("leads.id", ondelete="CASCADE"), sort_order=-7)
    lqb_id: Mapped[str] = mapped_column(Text, sort_order=-6)

    @declared_attr.directive
    @classmethod
    def __table_args__(cls) -> tuple[CheckConstraint | UniqueConstraint, ...]:
        return (
            CheckConstraint("num_nonnulls(loan_id, lead_id) = 1", name="one_parent"),
            UniqueConstraint("loan_id", "lqb_id"),
            UniqueConstraint("lead_id", "lqb_id"),
        )


class _Owned(_Child):
    """A child that a borrower owns. Of what both own, `borrower_id` is the borrower's and `owner` says both."""

    borrower_id: Mapped[int | None] = mapped_column(
        ForeignKey("borrowers.id", ondelete="SET NULL"), index=True, sort_order=-5
    )
    owner: Mapped[str | None] = mapped_column(Text, sort_order=-4)

    @declared_attr.directive
    @classmethod
    def __table_args__(cls) -> tuple[CheckConstraint | UniqueConstraint, ...]:
        known = CheckConstraint("owner IN ('borrower', 'co_borrower', 'both')", name="owner")
        return (*super().__table_args__, known)


class Borrower(_Child, Base):
    """A person of an application: `position` is the application's place in the file (0 first), `role` the seat in it.

    `lqb_id` is MLM's consumer id. What MLM keeps once an application (occupancy, totals, alimony, credit report)
    stands on the row of each of its people.
    """

    __tablename__ = "borrowers"

    position: Mapped[int]
    role: Mapped[str] = mapped_column(Text, CheckConstraint("role IN ('borrower', 'co_borrower')", name="role"))
    first_name: Mapped[Words]
    middle_name: Mapped[Words]
    last_name: Mapped[Words]
    suffix: Mapped[Words]
    ssn_encrypted: Mapped[Sealed]
    ssn_last4: Mapped[Words]
    ssn_index: Mapped[Digest]
    birth_date_encrypted: Mapped[Sealed]
    birth_date_index: Mapped[Sealed]
    marital_status: Mapped[Words]
    marital_status_code: Mapped[Code]
    email: Mapped[Words]
    home_phone: Mapped[Words]
    cell_phone: Mapped[Words]
    work_phone: Mapped[Words]
    address: Mapped[Words]
    city: Mapped[Words]
    state: Mapped[Words]
    zip: Mapped[Words]
    base_monthly_income: Mapped[Money]
    equifax_score: Mapped[Count]
    experian_score: Mapped[Count]
    transunion_score: Mapped[Count]
    occupancy: Mapped[Words]
    occupancy_code: Mapped[Code]
    application_monthly_income: Mapped[Money]
    application_transmittal_income: Mapped[Money]
    application_liability_payments: Mapped[Money]
    application_liability_balances: Mapped[Money]
    credit_report_id_encrypted: Mapped[Sealed]
    credit_report_id_index: Mapped[Sealed]
    alimony_paid_to: Mapped[Words]
    alimony_payment: Mapped[Money]
    job_expense_description: Mapped[Words]
    job_expense_payment: Mapped[Money]


class Asset(_Owned, Base):
    """An account, a gift, a thing of value."""

    __tablename__ = "assets"

    asset_type: Mapped[Words]
    asset_type_code: Mapped[Code]
    company_name: Mapped[Words]
    account_number_encrypted: Mapped[Sealed]
    account_number_last4: Mapped[Words]
    account_number_index: Mapped[Digest]
    value: Mapped[Money]
    description: Mapped[Words]


class Liability(_Owned, Base):
    """A debt."""

    __tablename__ = "liabilities"

    debt_type: Mapped[Words]
    debt_type_code: Mapped[Code]
    company_name: Mapped[Words]
    account_number_encrypted: Mapped[Sealed]
    account_number_last4: Mapped[Words]
    account_number_index: Mapped[Digest]
    balance: Mapped[Money]
    monthly_payment: Mapped[Money]
    remaining_months: Mapped[Count]
    will_be_paid_off: Mapped[Flag]


class Employment(_Owned, Base):
    """A job, held or past."""

    __tablename__ = "employments"

    employer_name: Mapped[Words]
    job_title: Mapped[Words]
    address: Mapped[Words]
    city: Mapped[Words]
    state: Mapped[Words]
    zip: Mapped[Words]
    phone: Mapped[Words]
    start_date: Mapped[Day]
    end_date: Mapped[Day]
    is_self_employed: Mapped[Flag]
    monthly_income: Mapped[Money]


class RealProperty(_Owned, Base):
    """Real estate owned; `liability_lqb_ids` are MLM's ids of the liabilities secured by it."""

    __tablename__ = "real_properties"

    address: Mapped[Words]
    city: Mapped[Words]
    state: Mapped[Words]
    zip: Mapped[Words]
    status: Mapped[Words]
    status_code: Mapped[Code]
    property_type: Mapped[Words]
    property_type_code: Mapped[Code]
    market_value: Mapped[Money]
    mortgage_balance: Mapped[Money]
    mortgage_payment: Mapped[Money]
    gross_rental_income: Mapped[Money]
    liability_lqb_ids: Mapped[list[str] | None] = mapped_column(ARRAY(Text))


class Income(_Owned, Base):
    """A source of income. `employment_lqb_id` is the job MLM names; `employment_id` is its row, if we hold it."""

    __tablename__ = "incomes"

    income_type: Mapped[Words]
    income_type_code: Mapped[Code]
    monthly_amount: Mapped[Money]
    employment_lqb_id: Mapped[Words]
    employment_id: Mapped[int | None] = mapped_column(ForeignKey("employments.id", ondelete="SET NULL"), index=True)


class Condition(_Child, Base):
    """Something the underwriter asks for."""

    __tablename__ = "conditions"

    category: Mapped[Words]
    description: Mapped[Words]
    status: Mapped[Words]
    due_date: Mapped[Day]
    done_date: Mapped[Day]
    assigned_to: Mapped[Words]


class Fee(_Child, Base):
    """A closing cost."""

    __tablename__ = "fees"

    section: Mapped[Words]
    hud_line: Mapped[Words]
    description: Mapped[Words]
    amount: Mapped[Money]
    paid_to: Mapped[Words]
    paid_by: Mapped[Words]


class AuditEntry(Base):
    """A change that the portal itself made to one of the tables above, written by a trigger.

    Holds names of columns and no values: an audit log must not become a second store of borrowers' data. Silent
    in a hydrate's transaction (`SET LOCAL mlm.hydrating = 'on'`), and on an update that changes nothing or only
    how far the copy is (`mlm_last_modified_at`, `is_hydrated`, `hydrated_at`). `changed_by` is the session variable
    `mlm.changed_by` if the portal sets it, else the database user.
    """

    __tablename__ = "audit_log"

    id: Mapped[RowId]
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=text("mlm_now()"))
    table_name: Mapped[str] = mapped_column(Text)
    row_id: Mapped[int] = mapped_column(BigInteger)
    operation: Mapped[str] = mapped_column(Text)
    changed_columns: Mapped[list[str]] = mapped_column(ARRAY(Text))
    changed_by: Mapped[str] = mapped_column(Text)
