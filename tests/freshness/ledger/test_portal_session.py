"""What portal code in Python calls: own writes that go with a real SQLAlchemy session, whatever becomes of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence

import pytest
from simulated import Ledger
from sqlalchemy import Engine, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, scoped_session, sessionmaker

import freshness
from freshness import FileRef, capture_mark, own_write, seed_mark
from freshness.bell import Ring, Work, silent
from freshness.errors import UnknownFile, UnreadableStamp
from freshness.rules import Rules
from freshness.tables.portal import Lead, Loan


@pytest.fixture
def rung() -> Iterator[list[Ring]]:
    """What the portal's process has rung so far."""
    rings: list[Ring] = []

    def ring(more: Sequence[Ring]) -> None:
        rings.extend(more)

    freshness.connect(Rules(), ring)
    yield rings
    freshness.connect(Rules(), silent)


@pytest.fixture
def session(engine: Engine, ledger: Ledger, rung: list[Ring]) -> Iterator[Session]:
    """The portal's session; loan R1 is known."""
    ledger.add_file("R1")
    with Session(engine) as session:
        yield session


def loan_of(session: Session) -> Loan:
    return session.scalars(select(Loan)).one()


def the_write(ledger: Ledger) -> dict[str, object]:
    (row,) = ledger.rows("SELECT * FROM own_writes")
    return row


def test_an_own_write_is_registered_before_the_block_and_exits_with_the_commit(
    session: Session, ledger: Ledger, rung: list[Ring]
) -> None:
    loan = loan_of(session)
    with own_write(session, loan) as own_write_id:
        assert (the_write(ledger)["id"], the_write(ledger)["exited_at"]) == (own_write_id, None)
        loan.loan_program = "Fixed 30"
    assert the_write(ledger)["exited_at"] is None
    assert rung == []
    session.commit()
    assert (the_write(ledger)["exited_well"], the_write(ledger)["capture_wanted"]) == (True, True)
    assert [(ring.work, ring.own_write_id) for ring in rung] == [(Work.CAPTURE, own_write_id)]
    assert ledger.rows("SELECT loan_program AS p FROM loans") == [{"p": "Fixed 30"}]


def test_an_own_write_without_capture_rings_nobody(session: Session, ledger: Ledger, rung: list[Ring]) -> None:
    with own_write(session, loan_of(session), capture=False):
        pass
    session.commit()
    assert (the_write(ledger)["exited_well"], the_write(ledger)["capture_wanted"], rung) == (True, False, [])


def test_a_block_that_raises_exits_badly_at_once_and_the_error_goes_on(
    session: Session, ledger: Ledger, rung: list[Ring]
) -> None:
    with pytest.raises(TimeoutError), own_write(session, loan_of(session)):
        raise TimeoutError
    assert the_write(ledger)["exited_well"] is False
    assert ledger.orders() == ["an own write ended badly"]
    assert [ring.work for ring in rung] == [Work.HYDRATE_FILE]
    session.commit()
    assert ledger.orders() == ["an own write ended badly"]


def test_a_rollback_exits_badly_once(session: Session, ledger: Ledger) -> None:
    with own_write(session, loan_of(session)):
        pass
    session.rollback()
    assert the_write(ledger)["exited_well"] is False
    session.commit()
    assert ledger.orders() == ["an own write ended badly"]


def test_a_session_closed_without_a_commit_exits_badly_and_its_next_commit_vouches_for_nothing(
    session: Session, ledger: Ledger
) -> None:
    with own_write(session, loan_of(session)):
        pass
    session.close()
    assert the_write(ledger)["exited_well"] is False
    loan_of(session).loan_program = "Fixed 15"
    session.commit()
    assert ledger.orders() == ["an own write ended badly"]


def test_a_commit_that_fails_exits_badly(session: Session, ledger: Ledger) -> None:
    loan = loan_of(session)
    with own_write(session, loan):
        loan.note_rate = 10**20  # type: ignore[assignment]
    with pytest.raises(DBAPIError):
        session.commit()
    session.rollback()
    assert the_write(ledger)["exited_well"] is False
    assert ledger.orders() == ["an own write ended badly"]


def test_a_savepoint_that_commits_is_no_exit(session: Session, ledger: Ledger) -> None:
    loan = loan_of(session)
    with own_write(session, loan):
        pass
    with session.begin_nested():
        loan.loan_program = "Fixed 30"
    assert the_write(ledger)["exited_at"] is None
    session.commit()
    assert the_write(ledger)["exited_well"] is True


def test_a_savepoint_rolled_back_after_the_block_is_no_exit(session: Session, ledger: Ledger) -> None:
    loan = loan_of(session)
    with own_write(session, loan):
        loan.loan_program = "Fixed 30"
        session.flush()
    inner = session.begin_nested()
    loan.loan_program = "Fixed 15"
    inner.rollback()
    assert the_write(ledger)["exited_at"] is None
    session.commit()
    assert the_write(ledger)["exited_well"] is True
    assert ledger.rows("SELECT loan_program AS p FROM loans") == [{"p": "Fixed 30"}]


def test_a_savepoint_that_took_the_local_half_back_exits_badly(session: Session, ledger: Ledger) -> None:
    loan = loan_of(session)
    inner = session.begin_nested()
    with own_write(session, loan):
        loan.loan_program = "Fixed 30"
    inner.rollback()
    session.commit()
    assert the_write(ledger)["exited_well"] is False
    assert ledger.orders() == ["an own write ended badly"]


def test_a_commit_with_a_savepoint_still_open_is_an_exit(session: Session, ledger: Ledger) -> None:
    with own_write(session, loan_of(session)):
        pass
    session.begin_nested()
    session.commit()
    session.commit()
    assert the_write(ledger)["exited_well"] is True


def test_two_own_writes_one_after_the_other_go_with_one_commit(session: Session, ledger: Ledger) -> None:
    loan = loan_of(session)
    with own_write(session, loan):
        pass
    with own_write(session, loan):
        pass
    session.commit()
    rows = ledger.rows("SELECT exited_well, closed_at IS NOT NULL AS closed FROM own_writes")
    assert rows == [{"exited_well": True, "closed": True}] * 2
    assert ledger.orders() == ["an own write was closed meanwhile"] * 2


def test_a_later_transaction_of_the_session_knows_nothing_of_an_earlier_one(session: Session, ledger: Ledger) -> None:
    with own_write(session, loan_of(session)):
        pass
    session.commit()
    before = the_write(ledger)
    session.commit()
    session.rollback()
    assert the_write(ledger) == before
    assert ledger.orders() == []


def test_a_scoped_session_is_as_good_as_its_session_and_disturbs_no_other(engine: Engine, ledger: Ledger) -> None:
    ledger.add_file("R1")
    factory = sessionmaker(engine)
    scoped = scoped_session(factory)
    loan = scoped.scalars(select(Loan)).one()
    with own_write(scoped, loan):
        pass
    with factory() as other:
        other.scalars(select(Loan)).one().loan_program = "Fixed 15"
        other.commit()
    assert the_write(ledger)["exited_at"] is None
    scoped.commit()
    assert the_write(ledger)["exited_well"] is True
    scoped.remove()


def test_an_unknown_file_is_refused_before_the_block(session: Session) -> None:
    with pytest.raises(UnknownFile), own_write(session, FileRef("loan", "R404")):
        pytest.fail("the block must not run")


def test_capture_mark_goes_with_the_commit_and_not_with_a_rollback(
    session: Session, ledger: Ledger, rung: list[Ring]
) -> None:
    capture_mark(session, loan_of(session))
    assert ledger.rows("SELECT 1 FROM own_writes") == []
    session.rollback()
    session.commit()
    assert ledger.rows("SELECT 1 FROM own_writes") == []
    capture_mark(session, loan_of(session), since=dt.datetime.now(dt.UTC))
    session.commit()
    assert the_write(ledger)["capture_wanted"] is True
    assert [ring.work for ring in rung] == [Work.CAPTURE]


def test_seed_mark_takes_a_lead_that_the_session_has_just_made(session: Session, ledger: Ledger) -> None:
    lead = Lead(mlm_reference_number="R7")
    session.add(lead)
    seed_mark(session, lead, "2026-11-20T13:04:05Z")
    session.commit()
    assert ledger.number("captured", "R7") == dt.datetime(2026, 11, 20, 13, 4, 5, tzinfo=dt.UTC)
    assert ledger.number("lead_id", "R7") == lead.id


def test_seed_mark_refuses_a_stamp_that_names_no_instant_and_the_commit_with_it(
    session: Session, ledger: Ledger
) -> None:
    seed_mark(session, FileRef("lead", "R7"), "yesterday")
    with pytest.raises(UnreadableStamp):
        session.commit()
    session.rollback()
    assert ledger.rows("SELECT 1 FROM leads") == []
