"""The ledger's tables: what each file holds, what was ordered of it, and what became of it.

    file_freshness      one row a file: mark, captured, wanted, ordered, epoch (the protocol, "The numbers")
    file_concerns       one row a (file, concern): held, served, landed, attempts, lease; a missing row holds nothing
    refresh_orders      one row an order, numbered within its file
    own_writes          the portal's own writes: registered, exited, captured or closed; never deleted by the protocol
    slice_runs          one row a run of a slice: when, what stamp, rows changed by table, error
    mlm_webhook_receipts, refused_deliveries   (receipts.py)
    file_events, event_tickets, workers, schedule_claims, stamp_calibration, import_runs, import_files   (house.py)
    backstop_turns, backstop_runs, missed_changes   (backstops.py)

Portal transactions hold locks on `loans` and `leads`; the guard must not wait for them, which is why the numbers
stand in tables of their own. Instants are timestamptz; stamps are truncated to the resolution in force.
"""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, SmallInteger, Text, text
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP, UUID
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base

INSTANT = TIMESTAMP(timezone=True)
NOW = text("mlm_now()")


class FileFreshness(Base):
    """The numbers of one file. Locked last, several in ascending id; within an epoch none of its stamps goes back."""

    __tablename__ = "file_freshness"
    __table_args__ = (
        CheckConstraint("kind IN ('loan', 'lead')", name="kind"),
        Index("ix_file_freshness_stale", "id", postgresql_where=text("served < ordered")),
        Index("ix_file_freshness_confirm_at", "confirm_at", postgresql_where=text("confirm_at IS NOT NULL")),
        Index("ix_file_freshness_loan_id", "loan_id", postgresql_where=text("loan_id IS NOT NULL")),
        Index("ix_file_freshness_lead_id", "lead_id", postgresql_where=text("lead_id IS NOT NULL")),
        Index("ix_file_freshness_round_at", "round_at"),
        Index(
            "ix_file_freshness_audited_at",
            "audited_at",
            postgresql_where=text("deleted_at IS NULL AND (loan_id IS NOT NULL OR lead_id IS NOT NULL)"),
        ),
        Index("ix_file_freshness_deleted", "id", postgresql_where=text("deleted_at IS NOT NULL")),
        Index("ix_file_freshness_unstamped", "id", postgresql_where=text("unstamped")),
        Index("ix_file_freshness_doubted", "doubted_until", postgresql_where=text("doubted_until IS NOT NULL")),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    ref: Mapped[str] = mapped_column(Text, unique=True)
    #: None until the first loan-fields read has said what the file is.
    kind: Mapped[str | None] = mapped_column(Text)
    loan_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("loans.id", ondelete="SET NULL"))
    lead_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("leads.id", ondelete="SET NULL"))
    created_at: Mapped[dt.datetime] = mapped_column(INSTANT, server_default=NOW)

    mark: Mapped[dt.datetime | None] = mapped_column(INSTANT)
    mark_seen_at: Mapped[dt.datetime | None] = mapped_column(INSTANT)
    captured: Mapped[dt.datetime | None] = mapped_column(INSTANT)
    wanted: Mapped[dt.datetime | None] = mapped_column(INSTANT)
    wanted_seen_at: Mapped[dt.datetime | None] = mapped_column(INSTANT)
    #: Not used since migration 0003; it stays for a version from before that runs beside.
    wanted_exact: Mapped[dt.datetime | None] = mapped_column(INSTANT)
    ordered: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    #: Least order that every active concern has served; served < ordered is what the sweep looks for.
    served: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    #: Latest due time of an order that is not due at once.
    due_at: Mapped[dt.datetime | None] = mapped_column(INSTANT)
    epoch: Mapped[int] = mapped_column(BigInteger, server_default=text("1"))
    #: Until then a read may show less than was announced and is not known any more, a confirmation after it ends the
    #: doubt; and the stamp from which on what is held was not doubted: None if no stamp tells.
    doubted_until: Mapped[dt.datetime | None] = mapped_column(INSTANT)
    doubted_below: Mapped[dt.datetime | None] = mapped_column(INSTANT)

    unstamped: Mapped[bool] = mapped_column(server_default=text("false"))
    deleted_at: Mapped[dt.datetime | None] = mapped_column(INSTANT)
    #: When loan fields met "not found" first, no other answer since.
    not_found_at: Mapped[dt.datetime | None] = mapped_column(INSTANT)
    #: Newest stamp that a racy order was placed for.
    racy_stamp: Mapped[dt.datetime | None] = mapped_column(INSTANT)
    slice_committed_at: Mapped[dt.datetime | None] = mapped_column(INSTANT)
    #: Newest order that a deep fetch was announced for.
    fetching_order: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))

    #: Since when the file may need a confirmation, when to look at it next, and how often it was confirmed so far.
    unconfirmed_since: Mapped[dt.datetime | None] = mapped_column(INSTANT)
    confirm_at: Mapped[dt.datetime | None] = mapped_column(INSTANT)
    confirmations: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    confirmed_at: Mapped[dt.datetime | None] = mapped_column(INSTANT)
    #: When the rounds looked at it last, or a confirmation did; and the audit. The oldest come next.
    round_at: Mapped[dt.datetime] = mapped_column(INSTANT, server_default=NOW)
    audited_at: Mapped[dt.datetime] = mapped_column(INSTANT, server_default=NOW)


class FileConcern(Base):
    """What one concern of a file holds and has served, and who is at work on it."""

    __tablename__ = "file_concerns"
    __table_args__ = (Index("ix_file_concerns_given_up", "file_id", "concern", postgresql_where=text("attempts >= 8")),)

    file_id: Mapped[int] = mapped_column(ForeignKey("file_freshness.id", ondelete="CASCADE"), primary_key=True)
    concern: Mapped[str] = mapped_column(Text, primary_key=True)
    held: Mapped[dt.datetime | None] = mapped_column(INSTANT)
    served: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    landed: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    landed_at: Mapped[dt.datetime | None] = mapped_column(INSTANT)

    #: Errors in a row and fruitless reads in a row, counted for `tried_order`; an order sets both to 0.
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    fruitless: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    tried_order: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    next_try_at: Mapped[dt.datetime | None] = mapped_column(INSTANT)
    first_error_at: Mapped[dt.datetime | None] = mapped_column(INSTANT)
    last_error_at: Mapped[dt.datetime | None] = mapped_column(INSTANT)
    last_error: Mapped[str | None] = mapped_column(Text)
    #: The stamp at which a confirmation has ordered this given-up concern again: once for each.
    given_up_stamp: Mapped[dt.datetime | None] = mapped_column(INSTANT)

    #: Newest order for which it is not read together with others any more: such a read has failed.
    alone_order: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))

    lease_token: Mapped[uuid.UUID | None] = mapped_column(UUID(as_uuid=True))
    lease_worker: Mapped[str | None] = mapped_column(Text)
    lease_at: Mapped[dt.datetime | None] = mapped_column(INSTANT)
    lease_until: Mapped[dt.datetime | None] = mapped_column(INSTANT)


class RefreshOrder(Base):
    """One order to refresh a file. No slice starts for it before it is due."""

    __tablename__ = "refresh_orders"

    file_id: Mapped[int] = mapped_column(ForeignKey("file_freshness.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    placed_at: Mapped[dt.datetime] = mapped_column(INSTANT, server_default=NOW)
    due_at: Mapped[dt.datetime] = mapped_column(INSTANT, server_default=NOW)
    cause: Mapped[str] = mapped_column(Text)
    #: Which backstop placed it, and rows that it brought where nothing else had asked for them.
    backstop: Mapped[str | None] = mapped_column(Text)
    healed_rows: Mapped[int] = mapped_column(server_default=text("0"))


class OwnWrite(Base):
    """One write of the portal to MLM: open from registration until it is captured or closed."""

    __tablename__ = "own_writes"
    __table_args__ = (
        Index("ix_own_writes_file_id", "file_id", "id"),
        Index("ix_own_writes_unexited", "registered_at", postgresql_where=text("exited_at IS NULL")),
        Index(
            "ix_own_writes_uncaptured",
            "next_try_at",
            postgresql_where=text("capture_wanted AND captured_at IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    file_id: Mapped[int] = mapped_column(ForeignKey("file_freshness.id", ondelete="CASCADE"))
    capture: Mapped[bool] = mapped_column()
    registered_at: Mapped[dt.datetime] = mapped_column(INSTANT, server_default=NOW)
    exited_at: Mapped[dt.datetime | None] = mapped_column(INSTANT)
    exited_well: Mapped[bool | None] = mapped_column()
    #: Ended by the sweep: it never exited, and counts nowhere any more.
    abandoned_at: Mapped[dt.datetime | None] = mapped_column(INSTANT)
    closed_at: Mapped[dt.datetime | None] = mapped_column(INSTANT)
    #: A capture is queued for it (it exited well, and was open then).
    capture_wanted: Mapped[bool] = mapped_column(server_default=text("false"))
    captured_at: Mapped[dt.datetime | None] = mapped_column(INSTANT)
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    next_try_at: Mapped[dt.datetime | None] = mapped_column(INSTANT)
    last_error: Mapped[str | None] = mapped_column(Text)


class SliceRun(Base):
    """One run of a slice, written when it ended."""

    __tablename__ = "slice_runs"
    __table_args__ = (Index("ix_slice_runs_file_id", "file_id", "finished_at"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    file_id: Mapped[int] = mapped_column(ForeignKey("file_freshness.id", ondelete="CASCADE"))
    concern: Mapped[str] = mapped_column(Text)
    order_number: Mapped[int] = mapped_column(BigInteger)
    worker: Mapped[str | None] = mapped_column(Text)
    started_at: Mapped[dt.datetime] = mapped_column(INSTANT)
    asked_at: Mapped[dt.datetime | None] = mapped_column(INSTANT)
    finished_at: Mapped[dt.datetime] = mapped_column(INSTANT, server_default=NOW)
    outcome: Mapped[str] = mapped_column(Text)
    stamp: Mapped[dt.datetime | None] = mapped_column(INSTANT)
    rows_changed: Mapped[dict[str, int] | None] = mapped_column(JSONB)
    #: Fields that could not be read and why; never their values.
    unread: Mapped[list[dict[str, Any]] | None] = mapped_column(JSONB)
    error: Mapped[str | None] = mapped_column(Text)
