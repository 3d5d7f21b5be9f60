"""The tables of the backstops: whose turn it is, what they did and found, and changes that everything else missed."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import ARRAY, BigInteger, ForeignKey, Identity, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base
from .ledger import INSTANT, NOW

ZERO = text("0")


class BackstopTurn(Base):
    """One row a backstop, put there by the migration: who is at it, and since or until when its budget is spent."""

    __tablename__ = "backstop_turns"

    backstop: Mapped[str] = mapped_column(Text, primary_key=True)
    begun_at: Mapped[dt.datetime] = mapped_column(INSTANT, server_default=NOW)
    #: The worker that is polling; nobody once its beat is too old.
    holder: Mapped[str | None] = mapped_column(Text)


class BackstopRun(Base):
    """What one process's work for one backstop came to in one hour.

    A row for each process: what one that was stopped in mid-transaction has locked keeps no other waiting.
    """

    __tablename__ = "backstop_runs"

    backstop: Mapped[str] = mapped_column(Text, primary_key=True)
    hour: Mapped[dt.datetime] = mapped_column(INSTANT, primary_key=True)
    worker: Mapped[str] = mapped_column(Text, primary_key=True)
    #: Polls of the list; of the other two, files.
    runs: Mapped[int] = mapped_column(server_default=ZERO)
    #: Files, or entries of the list, that were looked at.
    looked: Mapped[int] = mapped_column(server_default=ZERO)
    ordered: Mapped[int] = mapped_column(server_default=ZERO)
    #: Orders of this backstop's that brought rows, where nothing else had asked for them.
    healed: Mapped[int] = mapped_column(server_default=ZERO)
    #: Rows that differed from MLM though their file called itself fresh (`missed_changes` tells which).
    missed: Mapped[int] = mapped_column(server_default=ZERO)
    failed: Mapped[int] = mapped_column(server_default=ZERO)
    last_at: Mapped[dt.datetime] = mapped_column(INSTANT, server_default=NOW)
    last_error: Mapped[str | None] = mapped_column(Text)


class MissedChange(Base):
    """Rows of one concern that differed from MLM at the very stamp they were held at. There should never be one."""

    __tablename__ = "missed_changes"
    __table_args__ = (
        Index("ix_missed_changes_file_id", "file_id"),
        Index("ix_missed_changes_found_at", "found_at"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    found_at: Mapped[dt.datetime] = mapped_column(INSTANT, server_default=NOW)
    file_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("file_freshness.id", ondelete="CASCADE"))
    concern: Mapped[str] = mapped_column(Text)
    stamp: Mapped[dt.datetime] = mapped_column(INSTANT)
    rows: Mapped[int] = mapped_column()
    #: The order that was placed to land them.
    order_number: Mapped[int] = mapped_column(BigInteger)
    #: The file's receipts before it was found, newest first: the trail.
    receipts: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))
