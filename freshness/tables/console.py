"""The tables of the web console: who is signed in, who tried to, and who did what."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import BigInteger, Identity, Index, Integer, LargeBinary, Text
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base
from .ledger import INSTANT, NOW


class ConsoleSession(Base):
    """One sign-in. Of the cookie's token only the SHA-256 is kept, and a proof that ties it to the password's hash:
    who reads this table can sign in as nobody, and a changed password ends every session."""

    __tablename__ = "console_sessions"
    __table_args__ = (Index("ix_console_sessions_expires_at", "expires_at"),)

    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    proof: Mapped[bytes] = mapped_column(LargeBinary)
    began_at: Mapped[dt.datetime] = mapped_column(INSTANT, server_default=NOW)
    expires_at: Mapped[dt.datetime] = mapped_column(INSTANT)


class ConsoleAttempt(Base):
    """One attempt to sign in that did not succeed, or is being looked at. Counted for ten minutes, then dropped."""

    __tablename__ = "console_attempts"
    __table_args__ = (Index("ix_console_attempts_at", "at"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    at: Mapped[dt.datetime] = mapped_column(INSTANT, server_default=NOW)
    address: Mapped[str] = mapped_column(Text)
    #: SHA-256 of the name given: people type passwords into that field.
    name_digest: Mapped[bytes] = mapped_column(LargeBinary)


class ConsoleAction(Base):
    """One thing somebody did on the console: who, when, what, on which, to how many."""

    __tablename__ = "console_actions"
    __table_args__ = (Index("ix_console_actions_who", "who", "id"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    at: Mapped[dt.datetime] = mapped_column(INSTANT, server_default=NOW)
    who: Mapped[str] = mapped_column(Text)
    #: refresh, replay, replay of many, redrive, export, sign in, sign out
    what: Mapped[str] = mapped_column(Text)
    on_what: Mapped[str | None] = mapped_column(Text)
    #: How many files or receipts it was meant for, and how many of them it has reached.
    wanted: Mapped[int] = mapped_column(Integer)
    reached: Mapped[int] = mapped_column(Integer)
    #: What came of it, in words; None while it is under way.
    result: Mapped[str | None] = mapped_column(Text)
    #: When it reached one last, or ended: a redrive that stands still was broken off.
    moved_at: Mapped[dt.datetime] = mapped_column(INSTANT, server_default=NOW)
