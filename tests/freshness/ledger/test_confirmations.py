"""The confirmation: whatever differs from the stamp that MLM shows is ordered, once the file is quiet."""

from __future__ import annotations

import pytest
from simulated import BORROWERS, LOAN_FIELDS, Ledger, at, causes, confirm, due, own_write_captured_at, text_of

from freshness.bell import Ring, Work
from freshness.ledger import confirmations, own_writes
from freshness.ledger.files import FileRef


@pytest.fixture
def unconfirmed(ledger: Ledger) -> Ledger:
    """R1 was fresh at 0; then an own write was captured at 5."""
    ledger.settled(0)
    ledger.later(3600)
    own_write_captured_at(ledger, 5)
    assert ledger.state() == "unconfirmed"
    return ledger


def test_a_file_is_confirmed_once_it_was_quiet_and_ordered_if_it_differs(unconfirmed: Ledger) -> None:
    unconfirmed.later(29)
    assert due(unconfirmed) == []
    unconfirmed.later(1.1)
    assert due(unconfirmed) == [Ring(Work.CONFIRM, unconfirmed.number("id"))]
    assert len(confirm(unconfirmed, 5)) == 1
    assert unconfirmed.number("wanted") == at(5)
    assert unconfirmed.state() == "stale"
    unconfirmed.read_all(5)
    assert unconfirmed.state() == "fresh"
    unconfirmed.later(3600)
    assert due(unconfirmed) == []


def test_an_outsiders_edit_inside_a_capture_is_found_though_captured_vouches_for_it(unconfirmed: Ledger) -> None:
    assert unconfirmed.webhook(4) == "own_echo"
    confirm(unconfirmed, 5)
    assert causes(unconfirmed.orders(), "confirmation") == 1


@pytest.mark.parametrize("activity", ["receipt", "registration", "exit"])
def test_whatever_happens_to_the_file_puts_its_confirmation_off(unconfirmed: Ledger, activity: str) -> None:
    own_write = unconfirmed.register(capture=False) if activity == "exit" else None
    unconfirmed.later(20)
    if activity == "receipt":
        unconfirmed.webhook(4)
    elif own_write is None:
        unconfirmed.register(capture=False)
    else:
        unconfirmed.leave(own_write)
    unconfirmed.later(15)
    assert due(unconfirmed) == []
    unconfirmed.later(20)
    assert len(due(unconfirmed)) == 1


def test_a_file_that_is_never_quiet_is_confirmed_after_5_minutes_all_the_same(unconfirmed: Ledger) -> None:
    for second in range(20, 301, 20):
        unconfirmed.later(20)
        unconfirmed.webhook(3)
        rings = due(unconfirmed)
        assert len(rings) == (second == 300)


def test_a_file_that_stays_a_candidate_is_confirmed_again_at_growing_distances(unconfirmed: Ledger) -> None:
    unconfirmed.later(31)
    assert len(due(unconfirmed)) == 1
    for pause in (30, 60, 120, 240, 480, 600, 600):
        unconfirmed.later(pause - 1)
        assert due(unconfirmed) == []
        unconfirmed.later(2)
        assert len(due(unconfirmed)) == 1
        unconfirmed.later(-1)


def test_a_fresh_file_is_not_looked_at_again(unconfirmed: Ledger) -> None:
    unconfirmed.later(31)
    due(unconfirmed)
    unconfirmed.do("UPDATE file_concerns SET held = %(v)s", v=at(5))
    unconfirmed.later(31)
    assert due(unconfirmed) == []
    assert unconfirmed.number("confirm_at") is unconfirmed.number("unconfirmed_since") is None


def test_an_order_that_will_bring_the_stamp_is_not_doubled(unconfirmed: Ledger) -> None:
    unconfirmed.webhook(8)
    assert confirm(unconfirmed, 8) == ()
    assert len(confirm(unconfirmed, 9)) == 1
    assert unconfirmed.number("wanted") == at(9)


def test_an_order_that_one_concern_has_served_too_early_is_placed_again(unconfirmed: Ledger) -> None:
    unconfirmed.webhook(8)
    unconfirmed.read(LOAN_FIELDS, 8)
    assert len(confirm(unconfirmed, 9)) == 1


def test_a_given_up_concern_is_ordered_once_for_each_stamp(unconfirmed: Ledger) -> None:
    unconfirmed.webhook(8)
    for concern in unconfirmed.rules.active:
        if concern is not LOAN_FIELDS:
            unconfirmed.read(concern, 8)
    unconfirmed.fail(unconfirmed.lease(LOAN_FIELDS), final=True)
    assert len(confirm(unconfirmed, 8)) == 1
    unconfirmed.read(BORROWERS, 8)
    unconfirmed.fail(unconfirmed.lease(LOAN_FIELDS), final=True)
    assert confirm(unconfirmed, 8) == ()
    assert len(confirm(unconfirmed, 9)) == 1


def test_a_given_up_concern_makes_the_file_a_candidate(unconfirmed: Ledger) -> None:
    unconfirmed.webhook(8)
    for concern in unconfirmed.rules.active:
        if concern is not LOAN_FIELDS:
            unconfirmed.read(concern, 8)
    unconfirmed.fail(unconfirmed.lease(LOAN_FIELDS), final=True)
    unconfirmed.later(400)
    assert len(due(unconfirmed)) == 1


def test_what_equals_every_held_but_lies_below_the_mark_for_long_is_a_new_epoch(unconfirmed: Ledger) -> None:
    assert confirm(unconfirmed, 0) == ()
    epoch = unconfirmed.number("epoch")
    unconfirmed.later(unconfirmed.rules.read_lag_s + 1)
    own_write = unconfirmed.register()
    assert len(confirm(unconfirmed, 0)) == 1
    file = unconfirmed.file()
    assert (file["epoch"], file["mark"], file["captured"], file["wanted"]) == (epoch + 1, at(0), at(0), at(0))
    assert unconfirmed.own_write(own_write)["closed_at"] == unconfirmed.now
    assert unconfirmed.rows("SELECT mlm_last_modified_at AS m FROM loans") == [{"m": at(0)}]
    unconfirmed.leave(own_write)
    unconfirmed.read_all(0)
    assert unconfirmed.state() == "fresh"


def test_a_confirmation_begun_in_another_epoch_is_thrown_away(unconfirmed: Ledger) -> None:
    with unconfirmed.begin() as conn:
        asking = confirmations.begin(conn, unconfirmed.number("id"))
    assert asking is not None
    unconfirmed.do("UPDATE file_freshness SET epoch = epoch + 1")
    with unconfirmed.begin() as conn:
        assert confirmations.finish(conn, unconfirmed.rules, asking, text_of(9)) == ()
    assert unconfirmed.number("mark") == at(5)


def test_no_stamp_orders_nothing(unconfirmed: Ledger) -> None:
    assert confirm(unconfirmed, None) == ()
    assert confirm(unconfirmed, "yesterday") == ()


def test_rows_that_came_without_a_stamp_are_read_again_once_mlm_shows_one_though_it_is_what_is_held(
    unconfirmed: Ledger,
) -> None:
    confirm(unconfirmed, 5)
    unconfirmed.read_all(5)
    unconfirmed.webhook("no stamp")
    unconfirmed.read_all(None)
    assert len(confirm(unconfirmed, 5)) == 1, "MLM was restored, say, to what we had before"
    assert confirm(unconfirmed, 5) == (), "it is ordered already"
    unconfirmed.read_all(5)
    assert unconfirmed.state() == "fresh"


def test_an_unstamped_file_is_left_to_the_rounds(unconfirmed: Ledger) -> None:
    unconfirmed.webhook("no stamp")
    unconfirmed.read_all(None)
    assert unconfirmed.webhook(9) == "dispatched"
    unconfirmed.read_all(None)
    unconfirmed.later(3600)
    assert due(unconfirmed) == []


def test_a_webhook_that_never_came_is_healed(unconfirmed: Ledger) -> None:
    confirm(unconfirmed, 12)
    assert (unconfirmed.number("mark"), unconfirmed.number("wanted")) == (at(12), at(12))
    unconfirmed.read_all(12)
    assert unconfirmed.state() == "fresh"


def test_not_found_orders_unless_it_is_ordered_already(unconfirmed: Ledger) -> None:
    with unconfirmed.begin() as conn:
        asking = confirmations.begin(conn, unconfirmed.number("id"))
        assert asking is not None
        assert len(confirmations.not_found(conn, unconfirmed.rules, asking)) == 1
        assert confirmations.not_found(conn, unconfirmed.rules, asking) == ()


def test_a_seeded_file_is_read_once_it_is_quiet_and_not_before(ledger: Ledger) -> None:
    with ledger.begin() as conn:
        own_writes.seed_mark(conn, ledger.rules, FileRef("loan", "R1"), text_of(0))
    ledger.later(2)
    assert due(ledger) == []
    ledger.later(29)
    assert len(due(ledger)) == 1
    confirm(ledger, 0)
    ledger.read_all(0)
    assert ledger.state() == "fresh"


def test_a_loan_that_the_portal_inserts_is_confirmed(ledger: Ledger) -> None:
    ledger.add_file()
    ledger.later(31)
    assert len(due(ledger)) == 1
    assert len(confirm(ledger, 3)) == 1
