"""The tables behind `/metrics`: what processes have counted, and what the schedule measured last."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import ARRAY, CheckConstraint, Integer, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base
from .ledger import INSTANT, NOW


class Tallied(Base):
    """One number of one metric, as one process has counted it.

    A row for each process: what one that was stopped in mid-transaction has locked keeps no other waiting. Rows that
    were not written to for a while are added up in one of nobody's (`process` is empty), so no sum ever goes down.
    """

    __tablename__ = "tallies"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    labels: Mapped[list[str]] = mapped_column(ARRAY(Text), primary_key=True)
    process: Mapped[str] = mapped_column(Text, primary_key=True)
    value: Mapped[float] = mapped_column(server_default=text("0"))
    written_at: Mapped[dt.datetime] = mapped_column(INSTANT, server_default=NOW)


class Measured(Base):
    """The one row that says how the house stood when a scheduler counted last, and how long the counting took."""

    __tablename__ = "measures"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    measured_at: Mapped[dt.datetime] = mapped_column(INSTANT)
    took_s: Mapped[float] = mapped_column(server_default=text("0"))
    told: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))
