"""What other senders sent: subjects, bodies, and the rows they became.

    sender_subjects     one row a subject: the key and content applied last, and how many entries spoke of it
    sender_bodies       every body that was taken, sealed; the receipts say which entry of which body they are of
    body_keys           what each week's bodies are sealed with
    spent_signatures    signatures that were used, until they end
    mmi_…               loan officers, lenders, agents, listing alerts
    maxwell_…           applications
    appraisal_…         CollateralXP's orders, what happened to them, notes, files, revisions, payouts
    showmojo_…          showings and leads

A row of the portal's is known by its sender's own id. What its sender says beyond the columns stands in `other`,
sealed where a consumer may stand behind it (`other_encrypted`); what a column cannot hold (a word for a number) stands
there too, and the column is null.
"""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Numeric,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, UUID
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base
from .ledger import INSTANT, NOW
from .portal import Borrower, Count, Day, Flag, Instant, Money, RowId, Sealed, Words

ZERO = text("0")

Index("ix_borrowers_email", func.lower(Borrower.email))


class SenderSubject(Base):
    """One subject of one sender. Locked before anything of it is decided, several in the order of their names."""

    __tablename__ = "sender_subjects"
    __table_args__ = (UniqueConstraint("sender", "kind", "subject"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    sender: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(Text)
    #: Of the entry applied last: its order key, and the keyed digest of what it said (`freshness.sending.content_of`).
    order_key: Mapped[str | None] = mapped_column(Text)
    content: Mapped[bytes | None] = mapped_column(LargeBinary)
    begun: Mapped[bool] = mapped_column(server_default=text("false"))
    #: Entries that wait for its beginning, and all that ever spoke of it: its receipts are numbered 1 to `entries`.
    waiting: Mapped[int] = mapped_column(Integer, server_default=ZERO)
    entries: Mapped[int] = mapped_column(BigInteger, server_default=ZERO)
    first_at: Mapped[dt.datetime] = mapped_column(INSTANT, server_default=NOW)


class SenderBody(Base):
    """One body as it came, sealed with the key of `key_week`. Dropped with the receipts of its age."""

    __tablename__ = "sender_bodies"
    __table_args__ = (Index("ix_sender_bodies_received_at", "received_at"),)

    id: Mapped[uuid.UUID] = mapped_column(UUID(as_uuid=True), primary_key=True)
    sender: Mapped[str] = mapped_column(Text)
    received_at: Mapped[dt.datetime] = mapped_column(INSTANT)
    body_encrypted: Mapped[bytes] = mapped_column(LargeBinary)
    #: The Monday of `BodyKey`; None: it was sealed with `FIELD_KEYS` themselves, before there were keys of weeks.
    key_week: Mapped[dt.date | None]


class BodyKey(Base):
    """The key of the bodies that were written in the week from this Monday (UTC) on, sealed with `FIELD_KEYS`."""

    __tablename__ = "body_keys"

    week: Mapped[dt.date] = mapped_column(primary_key=True)
    key_encrypted: Mapped[bytes] = mapped_column(LargeBinary)


class SpentSignature(Base):
    """A signature that proved a delivery, kept until it has ended by itself: it proves no other one."""

    __tablename__ = "spent_signatures"

    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    ends_at: Mapped[dt.datetime] = mapped_column(INSTANT, index=True)


class _Said:
    """What every row of a sender's has: its id, when it was last changed, what else was said."""

    id: Mapped[RowId]
    updated_at: Mapped[dt.datetime] = mapped_column(INSTANT, server_default=NOW, sort_order=900)


class _Open(_Said):
    other: Mapped[dict[str, Any] | None] = mapped_column(JSONB, sort_order=901)


class _Closed(_Said):
    other_encrypted: Mapped[Sealed] = mapped_column(sort_order=901)


class _Bound(_Closed):
    """Tied to a loan or a lead of ours, where one was found."""

    loan_id: Mapped[int | None] = mapped_column(ForeignKey("loans.id", ondelete="SET NULL"), index=True, sort_order=-2)
    lead_id: Mapped[int | None] = mapped_column(ForeignKey("leads.id", ondelete="SET NULL"), index=True, sort_order=-1)


class MmiLoanOfficer(_Open, Base):
    """A loan officer as MMI knows them."""

    __tablename__ = "mmi_loan_officers"

    nmls: Mapped[str] = mapped_column(Text, unique=True)
    said_at: Mapped[Instant]
    mmi_user: Mapped[Words]
    first_name: Mapped[Words]
    last_name: Mapped[Words]
    company: Mapped[Words]
    opportunity: Mapped[Words]
    email: Mapped[Words]
    personal_email: Mapped[Words]
    phone: Mapped[Words]
    branch_address: Mapped[Words]
    branch_city: Mapped[Words]
    branch_zip: Mapped[Words]
    state: Mapped[Words]
    ytd_volume: Mapped[Money]
    ytd_transactions: Mapped[Count]
    rolling_volume: Mapped[Money]
    rolling_transactions: Mapped[Count]
    fast_facts_url: Mapped[Words]
    google_url: Mapped[Words]
    linkedin_url: Mapped[Words]


class MmiLender(_Open, Base):
    """A lender, with its volumes of the last fourteen months."""

    __tablename__ = "mmi_lenders"

    nmls: Mapped[str] = mapped_column(Text, unique=True)
    said_at: Mapped[Instant]
    mmi_user: Mapped[Words]
    name: Mapped[Words]
    address: Mapped[Words]
    purchase_volume: Mapped[Money]
    refinance_volume: Mapped[Money]
    new_construction_volume: Mapped[Money]
    construction_loan_volume: Mapped[Money]
    conventional_volume: Mapped[Money]
    va_volume: Mapped[Money]
    usda_volume: Mapped[Money]
    nonqm_volume: Mapped[Money]
    fast_facts_url: Mapped[Words]


class MmiAgent(_Open, Base):
    """A real estate agent."""

    __tablename__ = "mmi_agents"

    agent_id: Mapped[str] = mapped_column(Text, unique=True)
    said_at: Mapped[Instant]
    mmi_user: Mapped[Words]
    first_name: Mapped[Words]
    last_name: Mapped[Words]
    company: Mapped[Words]
    opportunity: Mapped[Words]
    email: Mapped[Words]
    phone: Mapped[Words]
    branch_address: Mapped[Words]
    branch_city: Mapped[Words]
    state: Mapped[Words]
    active_listings: Mapped[Count]
    active_volume: Mapped[Money]
    rolling_buyside_volume: Mapped[Money]
    rolling_buyside_transactions: Mapped[Count]
    rolling_listside_volume: Mapped[Money]
    rolling_listside_transactions: Mapped[Count]
    ytd_buyside_volume: Mapped[Money]
    ytd_buyside_transactions: Mapped[Count]
    ytd_listside_volume: Mapped[Money]
    ytd_listside_transactions: Mapped[Count]
    fast_facts_url: Mapped[Words]
    linkedin_url: Mapped[Words]


class MmiListingAlert(_Open, Base):
    """A listing of an agent that a loan officer tracks (`nmls`, empty where none is named)."""

    __tablename__ = "mmi_listing_alerts"
    __table_args__ = (UniqueConstraint("listing_id", "nmls"),)

    listing_id: Mapped[str] = mapped_column(Text)
    nmls: Mapped[str] = mapped_column(Text, server_default=text("''"))
    mmi_user: Mapped[Words]
    status: Mapped[Words]
    address: Mapped[Words]
    city: Mapped[Words]
    state: Mapped[Words]
    zip: Mapped[Words]
    list_date: Mapped[Day]
    sold_date: Mapped[Day]
    list_price: Mapped[Money]
    close_price: Mapped[Money]
    photo_url: Mapped[Words]
    tracked_agent_name: Mapped[Words]
    tracked_agent_office: Mapped[Words]
    listing_agent_name: Mapped[Words]
    listing_agent_office: Mapped[Words]
    listing_agent_email: Mapped[Words]
    listing_agent_phone: Mapped[Words]
    listing_agent_url: Mapped[Words]
    sold_agent_name: Mapped[Words]
    sold_agent_office: Mapped[Words]
    sold_agent_email: Mapped[Words]
    sold_agent_phone: Mapped[Words]
    buyer_agent_url: Mapped[Words]


class MaxwellApplication(_Bound, Base):
    """An application in Maxwell's point of sale. `sections_encrypted`: the application as it was sent, sealed."""

    __tablename__ = "maxwell_applications"
    __table_args__ = (Index("ix_maxwell_applications_email", func.lower(text("email"))),)

    loan_file_id: Mapped[str] = mapped_column(Text, unique=True)
    loan_number: Mapped[Words]
    email: Mapped[Words]
    first_name: Mapped[Words]
    last_name: Mapped[Words]
    phone: Mapped[Words]
    mailing_street: Mapped[Words]
    mailing_unit: Mapped[Words]
    mailing_city: Mapped[Words]
    mailing_state: Mapped[Words]
    mailing_zip: Mapped[Words]
    property_street: Mapped[Words]
    property_unit: Mapped[Words]
    property_city: Mapped[Words]
    property_state: Mapped[Words]
    property_zip: Mapped[Words]
    purpose: Mapped[Words]
    loan_amount: Mapped[Money]
    purchase_price: Mapped[Money]
    created_at: Mapped[Instant]
    submitted_at: Mapped[Instant]
    milestone: Mapped[Words]
    milestone_at: Mapped[Instant]
    ssn_encrypted: Mapped[Sealed]
    ssn_last4: Mapped[Words]
    ssn_index: Mapped[bytes | None] = mapped_column(LargeBinary, index=True)
    sections_encrypted: Mapped[Sealed]


class AppraisalOrder(_Bound, Base):
    """An order of CollateralXP's. `status` never goes back but by an event that takes it back; `said_by` says at which
    point of the order each column was set, so that what comes late fills and does not overwrite."""

    __tablename__ = "appraisal_orders"

    order_id: Mapped[str] = mapped_column(Text, unique=True)
    status: Mapped[Words]
    #: Where the order stands: a round, and a place within it; the newest own time of an event of that place.
    status_key: Mapped[Words]
    status_at: Mapped[Instant]
    is_held: Mapped[bool] = mapped_column(server_default=text("false"))
    hold_reason: Mapped[Words]
    holds: Mapped[int] = mapped_column(server_default=ZERO)
    loan_number: Mapped[Words] = mapped_column(index=True)
    file_number: Mapped[Words]
    fha_case_number: Mapped[Words]
    loan_type: Mapped[Words]
    payment_method: Mapped[Words]
    order_created_at: Mapped[Instant]
    client_id: Mapped[Words]
    lender_id: Mapped[Words]
    company_id: Mapped[Words]
    lender_name: Mapped[Words]
    company_name: Mapped[Words]
    vendor_id: Mapped[Words]
    vendor_name: Mapped[Words]
    vendor_email: Mapped[Words]
    vendor_phone: Mapped[Words]
    vendor_license_number: Mapped[Words]
    vendor_license_type: Mapped[Words]
    vendor_license_state: Mapped[Words]
    vendor_license_expires_at: Mapped[Instant]
    borrower_name: Mapped[Words]
    borrower_email: Mapped[Words]
    borrower_phone: Mapped[Words]
    contact_name: Mapped[Words]
    contact_email: Mapped[Words]
    contact_phone: Mapped[Words]
    address: Mapped[Words]
    street: Mapped[Words]
    unit: Mapped[Words]
    city: Mapped[Words]
    state: Mapped[Words]
    zip: Mapped[Words]
    county: Mapped[Words]
    latitude: Mapped[Any] = mapped_column(Numeric(10, 7), nullable=True)
    longitude: Mapped[Any] = mapped_column(Numeric(10, 7), nullable=True)
    products: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    product_ids: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    due_at: Mapped[Instant]
    vendor_due_at: Mapped[Instant]
    paying_fee: Mapped[Money]
    payouting_fee: Mapped[Money]
    auto_reject_hours: Mapped[Count]
    assignment_conditions: Mapped[Words]
    assignment_accepted_at: Mapped[Instant]
    inspection_scheduled_at: Mapped[Instant]
    inspection_completed_at: Mapped[Instant]
    appraised_value: Mapped[Money]
    appraisal_effective_date: Mapped[Day]
    completed_date: Mapped[Day]
    submission_id: Mapped[Words]
    freddie_mac_score: Mapped[Any] = mapped_column(Numeric(6, 2), nullable=True)
    fannie_mae_score: Mapped[Any] = mapped_column(Numeric(6, 2), nullable=True)
    cancel_type: Mapped[Words]
    cancel_reason: Mapped[Words]
    trip_fee: Mapped[Money]
    said_by: Mapped[dict[str, str]] = mapped_column(JSONB, server_default=text("'{}'"))


class _OfOrder(_Closed):
    """Something of an order; `order_id` is CollateralXP's, null where an event named none."""

    order_id: Mapped[Words] = mapped_column(index=True)


class AppraisalEvent(_OfOrder, Base):
    """An event of an order, in the order of arrival. `effect`: `moved`, `noted`, `older` or `impossible`; the last two
    have not moved the order. `same`: a keyed digest of what one said that proves which it is, so that it is known when
    it comes again. `other_encrypted` is all that it said."""

    __tablename__ = "appraisal_events"
    __table_args__ = (Index("ix_appraisal_events_same", "order_id", "same", postgresql_where=text("same IS NOT NULL")),)

    event: Mapped[str] = mapped_column(Text)
    own_at: Mapped[Instant]
    received_at: Mapped[dt.datetime] = mapped_column(INSTANT)
    effect: Mapped[str] = mapped_column(Text)
    status_after: Mapped[Words]
    reason: Mapped[Words]
    same: Mapped[bytes | None] = mapped_column(LargeBinary)


class AppraisalRevision(_OfOrder, Base):
    """A revision that was asked for: by the client, by quality assurance, or by the client to the lender's staff."""

    __tablename__ = "appraisal_revisions"

    asked_by: Mapped[str] = mapped_column(Text)
    user_id: Mapped[Words]
    content: Mapped[Words]
    received_at: Mapped[dt.datetime] = mapped_column(INSTANT)


class AppraisalNote(_OfOrder, Base):
    """A note of an order. `source`: who made it: a person, the order's life, or an integration. `note_id`: its id; of
    two orders that have a note of one id, the later one's has ` of ` and the order's id behind it."""

    __tablename__ = "appraisal_notes"

    note_id: Mapped[str] = mapped_column(Text, unique=True)
    source: Mapped[str] = mapped_column(Text)
    note_type: Mapped[Words]
    subject: Mapped[Words]
    content: Mapped[Words]
    plain_text: Mapped[Words]
    author_name: Mapped[Words]
    author_role: Mapped[Words]
    author_email: Mapped[Words]
    status_slug: Mapped[Words]
    important: Mapped[Flag]
    from_workflow: Mapped[Flag]
    note_added_at: Mapped[Instant]


class AppraisalFile(_OfOrder, Base):
    """A file of an order, or of one of its notes. `file_key`: its id and its name."""

    __tablename__ = "appraisal_files"
    __table_args__ = (UniqueConstraint("order_id", "file_key"),)

    file_key: Mapped[str] = mapped_column(Text)
    file_id: Mapped[Words]
    file_type: Mapped[Words]
    product_id: Mapped[Words]
    note_id: Mapped[Words]
    filename: Mapped[Words]
    content_type: Mapped[Words]
    byte_size: Mapped[int | None] = mapped_column(BigInteger)
    checksum: Mapped[Words]
    link: Mapped[Words]


class AppraisalPayout(_OfOrder, Base):
    """One transfer of a payout. `payout_id`: the payout's id; where it has several transfers of one order, with a blank
    and the transfer's id, or its place (`#0`), behind it. `amount` is dollars, `amount_said` as CollateralXP wrote."""

    __tablename__ = "appraisal_payouts"
    __table_args__ = (UniqueConstraint("order_id", "payout_id"),)

    payout_id: Mapped[str] = mapped_column(Text)
    transfer_id: Mapped[Words]
    vendor_id: Mapped[Words]
    amount: Mapped[Money]
    amount_said: Mapped[Words]
    payout_amount: Mapped[Money]
    check_number: Mapped[Words]
    completed_at: Mapped[Instant]
    status: Mapped[Words]
    error: Mapped[Words]
    scheduled_at: Mapped[Instant]
    fulfilled_at: Mapped[Instant]
    cancelled_at: Mapped[Instant]
    cancel_reason: Mapped[Words]


class _Prospect(_Closed):
    """What an event of ShowMojo's says last of a showing or a lead."""

    event_id: Mapped[Words]
    action: Mapped[Words]
    actor: Mapped[Words]
    event_at: Mapped[Instant]
    team_member_name: Mapped[Words]
    team_member_uid: Mapped[Words]
    name: Mapped[Words]
    email: Mapped[Words]
    phone: Mapped[Words]
    notes: Mapped[Words]
    listing_uid: Mapped[Words]
    listing_full_address: Mapped[Words]


class ShowmojoShowing(_Prospect, Base):
    """A showing. `lead_key` is the lead's, where one is known by the same contact."""

    __tablename__ = "showmojo_showings"

    uid: Mapped[str] = mapped_column(Text, unique=True)
    lead_key: Mapped[Words] = mapped_column(index=True)
    created_at: Mapped[Instant]
    showtime: Mapped[Instant]
    time_zone: Mapped[Words]
    time_zone_said: Mapped[Words]
    utc_offset: Mapped[Count]
    is_self_show: Mapped[Flag]
    confirmed_at: Mapped[Instant]
    canceled_at: Mapped[Instant]
    self_show_code_distributed_at: Mapped[Instant]


class ShowmojoLead(_Prospect, Base):
    """A lead without a showing, known by a keyed digest of its e-mail address, else of its phone, else of its name."""

    __tablename__ = "showmojo_leads"

    lead_key: Mapped[str] = mapped_column(Text, unique=True)
    created_at: Mapped[Instant]
