"""Calibration: no webhook's stamp silences anything before one has equalled a read's, nor after a hundred had not."""

from __future__ import annotations

import pytest
from simulated import ASSETS, BORROWERS, LOAN_FIELDS, Ledger, modified
from sqlalchemy import Engine

from freshness.ledger import calibration
from freshness.ledger.calibration import Calibration
from freshness.rules import Rules

HOURS_8 = 8 * 3600.0


@pytest.fixture
def new(ledger: Ledger) -> Ledger:
    """R1 is fresh at 0, and nothing is known of MLM's stamps."""
    ledger.settled(0)
    ledger.do("UPDATE stamp_calibration SET alike_at = NULL")
    ledger.later(60)
    return ledger


def known(ledger: Ledger) -> Calibration:
    with ledger.begin() as conn:
        return calibration.calibration_of(conn)


def test_until_then_every_entry_orders_and_leaves_wanted(new: Ledger) -> None:
    new.receive(modified("R1", 0), modified("R1", -HOURS_8), modified("R1", HOURS_8), modified("R1", HOURS_8))
    assert {receipt["reason"] for receipt in new.receipts()} == {"unguarded"}
    assert (new.number("wanted"), new.number("ordered")) == (None, 5)
    new.read_all(5)
    assert new.state() == "fresh"


def test_a_deleted_event_and_a_malformed_entry_stay_what_they_are(new: Ledger) -> None:
    new.webhook(5, event="Deleted")
    new.webhook(5, event="Locked")
    assert [(r["outcome"], r["reason"][:13]) for r in new.receipts()] == [
        ("dispatched", "deleted_event"),
        ("unsupported_event", "an event of t"),
    ]


def test_loan_fields_that_show_a_webhooks_stamp_calibrate(new: Ledger) -> None:
    new.webhook(5)
    new.read(BORROWERS, 5)
    assert not known(new).holds, "one slice of a file's speaks for all"
    new.read(LOAN_FIELDS, 5)
    assert known(new).alike_at == new.now
    new.read(ASSETS, 5)
    assert new.webhook(5) == "held"


def test_a_webhook_that_was_read_half_an_hour_later_shows_nothing(new: Ledger) -> None:
    """Eight hours ahead, and something is saved every eight hours: only a read soon after cannot meet that."""
    new.webhook(5)
    new.later(calibration.SOON_S + 1)
    new.read(LOAN_FIELDS, 5)
    assert (known(new).holds, known(new).unlike) == (False, 0)


def test_equal_means_within_the_resolution(engine: Engine) -> None:
    coarse = Ledger(engine, Rules(resolution_s=1.0, active=(LOAN_FIELDS,)))
    coarse.settled(0)
    coarse.do("UPDATE stamp_calibration SET alike_at = NULL")
    coarse.webhook(5.2)
    coarse.read(LOAN_FIELDS, 5.7)
    assert (known(coarse).holds, known(coarse).resolution_s) == (True, 1.0)


def test_a_hundred_orders_in_a_row_without_an_equal_clear_it(ledger: Ledger) -> None:
    ledger.settled(0)
    for number in range(1, 100):
        ledger.webhook(number)
        ledger.read(LOAN_FIELDS, number + 0.5)
    assert (known(ledger).holds, known(ledger).unlike) == (True, 99)
    ledger.webhook(100)
    ledger.read(LOAN_FIELDS, 100)
    assert (known(ledger).holds, known(ledger).unlike) == (True, 0)
    for number in range(101, 201):
        ledger.webhook(number)
        ledger.read(LOAN_FIELDS, number + 0.5)
    assert (known(ledger).holds, known(ledger).unlike, known(ledger).cleared_at) == (False, 100, ledger.now)


def test_an_order_counts_once_however_often_it_is_read(ledger: Ledger) -> None:
    ledger.settled(0)
    ledger.webhook(9)
    for stamp in (5, 6):
        ledger.read(LOAN_FIELDS, stamp)
        ledger.later(31)
    assert known(ledger).unlike == 0, "from behind: it has not served"
    ledger.read(LOAN_FIELDS, 9.5)
    assert known(ledger).unlike == 1


def test_webhooks_that_are_skipped_while_the_stamp_moves_count(ledger: Ledger) -> None:
    """Eight hours behind, they look held; what orders then is a confirmation."""
    ledger.settled(0)
    ledger.later(60)
    assert ledger.webhook(60 - HOURS_8) == "held"
    ledger.do("UPDATE file_freshness SET ordered = ordered + 1")
    ledger.do("INSERT INTO refresh_orders (file_id, number, cause) SELECT id, ordered, 'here' FROM file_freshness")
    ledger.read(LOAN_FIELDS, 60)
    assert known(ledger).unlike == 1


def test_a_duplicate_that_is_skipped_is_no_sign(ledger: Ledger) -> None:
    ledger.settled(0)
    ledger.webhook(60)
    ledger.read_all(60)
    assert ledger.webhook(60) == "held"
    ledger.later(40_000)
    ledger.webhook(90)
    ledger.read(LOAN_FIELDS, 90)
    assert known(ledger).unlike == 0


def test_who_counts_waits_for_nobody(ledger: Ledger) -> None:
    """The row is one for all processes, and it is counted under a file's lock."""
    ledger.settled(0)
    with ledger.begin() as other:
        other.exec_driver_sql("SELECT FROM stamp_calibration FOR UPDATE")
        ledger.webhook(5)
        ledger.read(LOAN_FIELDS, 5.5)
    assert ledger.concern(LOAN_FIELDS)["held"] is not None
    assert known(ledger).unlike == 0
