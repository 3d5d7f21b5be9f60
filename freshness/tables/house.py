"""The tables the house runs on: announcements, workers, the schedule's claims, calibration, imports."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, Integer, LargeBinary, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base
from .ledger import INSTANT, NOW


class FileEvent(Base):
    """One announcement, written with what causes it and numbered after that commit, so that readers in order of
    number never miss one that committed late. Kept for 24 hours."""

    __tablename__ = "file_events"
    __table_args__ = (
        Index("uq_file_events_number", "number", unique=True, postgresql_where=text("number IS NOT NULL")),
        Index("ix_file_events_unnumbered", "id", postgresql_where=text("number IS NULL")),
        Index("ix_file_events_at", "at"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    number: Mapped[int | None] = mapped_column(BigInteger)
    kind: Mapped[str] = mapped_column(Text)
    ref: Mapped[str] = mapped_column(Text)
    at: Mapped[dt.datetime] = mapped_column(INSTANT, server_default=NOW)


class EventCounter(Base):
    """The one row that holds the number of the newest event; locked while events are numbered."""

    __tablename__ = "event_counter"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    last_number: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))


class EventTicket(Base):
    """A ticket for one event stream: 60 seconds, once. Only its SHA-256 is kept."""

    __tablename__ = "event_tickets"

    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    expires_at: Mapped[dt.datetime] = mapped_column(INSTANT)


class Worker(Base):
    """A living process: a worker, which may hold leases, or a scheduler. A worker's leases are void when its beat is
    older than 6 seconds."""

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    host: Mapped[str] = mapped_column(Text)
    pid: Mapped[int] = mapped_column(Integer)
    process: Mapped[str] = mapped_column(Text, server_default=text("'worker'"))
    started_at: Mapped[dt.datetime] = mapped_column(INSTANT, server_default=NOW)
    beat_at: Mapped[dt.datetime] = mapped_column(INSTANT, server_default=NOW)


class ScheduleClaim(Base):
    """Who runs a job in a period is whoever inserts this row: two schedulers do no harm."""

    __tablename__ = "schedule_claims"

    job: Mapped[str] = mapped_column(Text, primary_key=True)
    period: Mapped[str] = mapped_column(Text, primary_key=True)
    claimed_at: Mapped[dt.datetime] = mapped_column(INSTANT, server_default=NOW)


class StampCalibration(Base):
    """The one row that all processes share about MLM's stamps."""

    __tablename__ = "stamp_calibration"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    #: Seconds: 1 until a stamp with a fraction was seen in webhook and read alike, then 0.004 for good.
    auto_resolution_s: Mapped[float] = mapped_column(server_default=text("1"))
    #: Since when a webhook's stamp has been known to equal a read's; None: it is not, and every entry orders.
    alike_at: Mapped[dt.datetime | None] = mapped_column(INSTANT)
    #: Orders in a row that have shown no such equal, and when a hundred of them took `alike_at` away last.
    unlike: Mapped[int] = mapped_column(server_default=text("0"))
    cleared_at: Mapped[dt.datetime | None] = mapped_column(INSTANT)


class ImportRun(Base):
    """One `freshness import`: which files it asked for, so that a broken-off one resumes."""

    __tablename__ = "import_runs"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    #: What was asked for, so that the same command finds its own unfinished run.
    asked: Mapped[str] = mapped_column(Text)
    started_at: Mapped[dt.datetime] = mapped_column(INSTANT, server_default=NOW)
    finished_at: Mapped[dt.datetime | None] = mapped_column(INSTANT)


class ImportFile(Base):
    """One file of an import and the order that was placed for it (None: not yet)."""

    __tablename__ = "import_files"

    run_id: Mapped[int] = mapped_column(ForeignKey("import_runs.id", ondelete="CASCADE"), primary_key=True)
    ref: Mapped[str] = mapped_column(Text, primary_key=True)
    file_id: Mapped[int | None] = mapped_column(BigInteger)
    order_number: Mapped[int | None] = mapped_column(BigInteger)
