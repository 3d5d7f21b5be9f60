"""For portal code in Python: own writes around a SQLAlchemy session.

    from freshness import own_write

    with own_write(session, loan):                 # registered and committed before the block
        mlm.save(...)                              # the call to MLM
        loan.marital_status = "married"            # the portal's local half
    session.commit()                               # the exit goes with it; the bell rings after it

Every function takes the portal's session and a file: a `Loan` or `Lead` row, or a `FileRef`. An own write registers in
a transaction of its own and exits with the portal's; a write that raised or was rolled back exits badly, in a
transaction of its own, and the file is read again (docs/protocol.md, "An own write").
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import Connection, Engine, event
from sqlalchemy.orm import Session, SessionTransaction, scoped_session

from .bell import Bell, Ring, silent
from .ledger import own_writes
from .ledger.files import FileRef
from .ledger.own_writes import Exited
from .rules import Rules
from .tables.portal import Lead, Loan

File = Loan | Lead | FileRef

#: A session, or the registry of one for each thread.
AnySession = Session | scoped_session[Session]


@dataclass
class Connected:
    """What portal code uses in this process; `connect` sets it. Without a bell, the sweep rings within 2 s."""

    rules: Rules = field(default_factory=Rules)
    bell: Bell = silent


_connected = Connected()


def connect(rules: Rules, bell: Bell = silent) -> None:
    """Say once, at the portal's start, which rules hold and what to ring."""
    _connected.rules, _connected.bell = rules, bell


@contextmanager
def own_write(session: AnySession, file: File, capture: bool = True) -> Iterator[int]:
    """Stand around every portal write to a mirrored column; yields the own write's id.

    `capture=False` for a write with dependents (loan amount), a document upload, a registration: its echo is to be
    read. The exit is the last statement of the session's next commit; a block that raises, and a session or savepoint
    that rolls back or is closed instead, exits badly.

    Raises:
        UnknownFile: there is no such loan or lead.
    """
    session, ref = _own(session), _ref(file)
    engine = _engine(session)
    with engine.begin() as conn:
        own_write_id = own_writes.register(conn, _connected.rules, ref, capture)
    try:
        yield own_write_id
    except BaseException:
        _exit_badly(engine, ref, own_write_id)
        raise
    _with_next_commit(session, engine, ref, own_write_id)


def capture_mark(session: AnySession, file: File, since: dt.datetime | None = None) -> None:
    """The short form, after a write whose local half is part of this session's transaction.

    `since`: when the write began. If a slice landed since, the file is ordered instead of captured.

    Raises:
        UnknownFile: there is no such loan or lead.
    """
    ref = _ref(file)
    _before_next_commit(_own(session), lambda conn: own_writes.capture_mark(conn, _connected.rules, ref, since))


def seed_mark(session: AnySession, file: File, last_modified: str | None = None) -> None:
    """After the portal created the file in MLM: its creation's webhook is not chased. Without a stamp it is read.

    Raises:
        UnreadableStamp: at the commit, if the text names no instant.
    """
    ref = _ref(file)
    _before_next_commit(_own(session), lambda conn: own_writes.seed_mark(conn, _connected.rules, ref, last_modified))


def _own(session: AnySession) -> Session:
    """The session itself: hooks set on a registry would run in every session it ever makes."""
    return session() if isinstance(session, scoped_session) else session


def _ref(file: File) -> FileRef:
    if isinstance(file, FileRef):
        return file
    return FileRef("loan" if isinstance(file, Loan) else "lead", file.mlm_reference_number)


def _engine(session: Session) -> Engine:
    bind = session.get_bind()
    return bind if isinstance(bind, Engine) else bind.engine


@dataclass
class _AtCommit:
    """Work that goes with the session's next commit; what it came to is rung after it."""

    work: Callable[[Connection], Exited]
    on_rollback: Callable[[], None] | None = None
    rings: tuple[Ring, ...] = ()
    #: The transaction or savepoint that it goes with.
    within: SessionTransaction | None = None


def _before_next_commit(session: Session, work: Callable[[Connection], Exited]) -> None:
    _attach(session, _AtCommit(work))


def _with_next_commit(session: Session, engine: Engine, ref: FileRef, own_write_id: int) -> None:
    def leave(conn: Connection) -> Exited:
        return own_writes.exit_own_write(conn, _connected.rules, ref, own_write_id, ok=True)

    _attach(session, _AtCommit(leave, on_rollback=lambda: _exit_badly(engine, ref, own_write_id)))


def _exit_badly(engine: Engine, ref: FileRef, own_write_id: int) -> None:
    with engine.begin() as conn:
        exited = own_writes.exit_own_write(conn, _connected.rules, ref, own_write_id, ok=False)
    _connected.bell(exited.rings)


def _attach(session: Session, item: _AtCommit) -> None:
    """Hand the item to the session's hooks, which are set once a session and forget what is done."""
    session.connection()  # a session that has not begun would commit without its hooks
    if "mlm_at_commit" not in session.info:
        session.info["mlm_at_commit"] = []
        event.listen(session, "before_commit", _before_commit)
        event.listen(session, "after_commit", _after_commit)
        event.listen(session, "after_transaction_end", _after_end)
    item.within = session.get_nested_transaction() or session.get_transaction()
    session.info["mlm_at_commit"].append(item)


def _before_commit(session: Session) -> None:
    if session.in_nested_transaction():
        return
    session.flush()
    for item in session.info["mlm_at_commit"]:
        item.rings = item.work(session.connection()).rings


def _after_commit(session: Session) -> None:
    """A savepoint hands its items up; the transaction itself rings them."""
    savepoint = session.get_nested_transaction()
    for item in _take(session, savepoint or session.get_transaction()):
        if savepoint is None:
            _connected.bell(item.rings)
        else:
            item.within = savepoint.parent
            session.info["mlm_at_commit"].append(item)


def _after_end(session: Session, ended: SessionTransaction) -> None:
    """Whatever has not gone with a commit by now was rolled back, by a rollback or by closing the session."""
    for item in _take(session, ended):
        if item.on_rollback is not None:
            item.on_rollback()


def _take(session: Session, within: SessionTransaction | None) -> list[_AtCommit]:
    items: list[_AtCommit] = session.info["mlm_at_commit"]
    taken = [item for item in items if item.within is within]
    items[:] = [item for item in items if item.within is not within]
    return taken
