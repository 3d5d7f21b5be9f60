"""What senders sent: one receipt an entry, and one row a refused delivery.

Both hold an allow-list of columns; no body, no value of a borrower, ever.
"""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

from sqlalchemy import BigInteger, Identity, Index, Integer, SmallInteger, Text, text
from sqlalchemy.dialects.postgresql import JSONB, UUID
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base
from .ledger import INSTANT, NOW


class WebhookReceipt(Base):
    """One webhook entry: what was decided, why, and when our data changed. Partitioned by the week of `received_at`."""

    __tablename__ = "mlm_webhook_receipts"
    __table_args__ = (
        Index("ix_mlm_webhook_receipts_file", "file_id", "received_at"),
        Index(
            "ix_mlm_webhook_receipts_unserved",
            "file_id",
            "order_number",
            postgresql_where=text("served_at IS NULL AND order_number IS NOT NULL"),
        ),
        Index(
            "ix_mlm_webhook_receipts_unknown",
            "reference_number",
            "received_at",
            postgresql_where=text("file_id IS NULL AND reference_number IS NOT NULL"),
        ),
        Index(
            "ix_mlm_webhook_receipts_outcome",
            "outcome",
            "received_at",
            postgresql_where=text("outcome NOT IN ('dispatched', 'held')"),
        ),
        Index("ix_mlm_webhook_receipts_id", "id", postgresql_using="brin", postgresql_with={"pages_per_range": 32}),
        Index(
            "ix_mlm_webhook_receipts_subject",
            "subject_id",
            "subject_number",
            postgresql_where=text("subject_id IS NOT NULL"),
        ),
        {"postgresql_partition_by": "RANGE (received_at)"},
    )

    received_at: Mapped[dt.datetime] = mapped_column(INSTANT, primary_key=True, server_default=NOW)
    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    file_id: Mapped[int | None] = mapped_column(BigInteger)
    loan_id: Mapped[int | None] = mapped_column(BigInteger)
    lead_id: Mapped[int | None] = mapped_column(BigInteger)
    reference_number: Mapped[str | None] = mapped_column(Text)
    loan_number: Mapped[str | None] = mapped_column(Text)
    event_type: Mapped[str | None] = mapped_column(Text)
    #: The stamp seen: as the instant compared, and as its text.
    last_modified_at: Mapped[dt.datetime | None] = mapped_column(INSTANT)
    last_modified_text: Mapped[str | None] = mapped_column(Text)
    mark_before: Mapped[dt.datetime | None] = mapped_column(INSTANT)
    outcome: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)
    order_number: Mapped[int | None] = mapped_column(BigInteger)
    served_at: Mapped[dt.datetime | None] = mapped_column(INSTANT)
    data_updated_at: Mapped[dt.datetime | None] = mapped_column(INSTANT)
    rows_changed: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    #: The receipt whose entry was decided once more by this one.
    replay_of: Mapped[int | None] = mapped_column(BigInteger)
    #: Who sent it; of other senders than MLM: its subject, its number there, the body it stood in and its place.
    sender: Mapped[str] = mapped_column(Text, server_default=text("'mlm'"))
    subject: Mapped[str | None] = mapped_column(Text)
    subject_id: Mapped[int | None] = mapped_column(BigInteger)
    subject_number: Mapped[int | None] = mapped_column(BigInteger)
    body_id: Mapped[uuid.UUID | None] = mapped_column(UUID(as_uuid=True))
    body_place: Mapped[int | None] = mapped_column(Integer)


class RefusedDelivery(Base):
    """One delivery that was refused, or the count of those beyond 60 a minute from one address with one status."""

    __tablename__ = "refused_deliveries"
    __table_args__ = (
        Index("ix_refused_deliveries_minute", "minute", "address", "status"),
        Index(
            "uq_refused_deliveries_rest",
            "minute",
            "address",
            "status",
            unique=True,
            postgresql_where=text("is_rest"),
        ),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    at: Mapped[dt.datetime] = mapped_column(INSTANT, server_default=NOW)
    minute: Mapped[dt.datetime] = mapped_column(INSTANT)
    path: Mapped[str] = mapped_column(Text)
    address: Mapped[str] = mapped_column(Text)
    status: Mapped[int] = mapped_column(SmallInteger)
    reason: Mapped[str] = mapped_column(Text)
    content_length: Mapped[int | None] = mapped_column(BigInteger)
    content_type: Mapped[str | None] = mapped_column(Text)
    fault_position: Mapped[str | None] = mapped_column(Text)
    #: The body's key names and the sizes of what they held; no values.
    keys: Mapped[list[dict[str, Any]] | None] = mapped_column(JSONB)
    is_rest: Mapped[bool] = mapped_column(server_default=text("false"))
    count: Mapped[int] = mapped_column(Integer, server_default=text("1"))
