"""Doubts: what was announced and is not known any more may not show in MLM's answers yet; so long no copy is fresh."""

from __future__ import annotations

import pytest
from simulated import LOAN_FIELDS, RECENT, Ledger, at, confirm, due, own_write_captured_at, purge, text_of

from freshness.ledger import confirmations, doubts, restores


def begin_anew(ledger: Ledger) -> None:
    with ledger.begin() as conn:
        restores.begin_anew(conn, ledger.rules, ledger.number("id"))


@pytest.fixture
def told(ledger: Ledger) -> Ledger:
    """R1 was fresh at 0, and an hour later told of at 60."""
    ledger.settled(0)
    ledger.later(3600)
    ledger.webhook(60)
    return ledger


@pytest.fixture
def doubted(told: Ledger) -> Ledger:
    """R1 was told of at 60; an operator began it anew, and a read from behind showed 0."""
    told.later(10)
    begin_anew(told)
    told.read_all(0)
    return told


def test_a_file_begun_anew_just_after_a_webhook_is_not_fresh_by_a_read_that_may_be_from_behind(
    doubted: Ledger,
) -> None:
    status = doubted.status()
    assert (status.state, status.served) == ("unconfirmed", status.ordered)
    assert "webhook" in str(status.why)


def test_a_confirmation_from_behind_does_not_end_the_doubt_and_one_after_the_read_lag_finds_the_save(
    doubted: Ledger,
) -> None:
    assert len(confirm(doubted, 0)) == 0
    assert doubted.state() == "unconfirmed"
    doubted.later(doubted.rules.read_lag_s - 10)
    assert len(confirm(doubted, 60)) == 1
    assert doubted.state() == "stale"
    doubted.read_all(60)
    assert doubted.state() == "fresh"


def test_no_confirmation_is_spent_before_it_can_end_the_doubt_and_then_one_makes_the_file_fresh(
    doubted: Ledger,
) -> None:
    assert doubted.number("confirm_at") >= doubted.number("doubted_until")
    for _ in range(9):
        doubted.later(60)
        assert len(due(doubted)) == 0
    doubted.later(60)
    assert len(due(doubted)) == 1
    doubted.do("DELETE FROM file_events")
    assert len(confirm(doubted, 0)) == 0
    assert doubted.state() == "fresh"
    assert [row["kind"] for row in doubted.rows("SELECT kind FROM file_events")] == ["fresh"]
    doubted.later(3600)
    assert len(due(doubted)) == 0


def test_a_stamp_asked_for_before_the_doubt_ends_counts_as_from_behind_however_late_it_comes(doubted: Ledger) -> None:
    with doubted.begin() as conn:
        asking = confirmations.begin(conn, doubted.number("id"))
    doubted.later(3600)
    with doubted.begin() as conn:
        assert asking is not None
        confirmations.finish(conn, doubted.rules, asking, text_of(0))
    assert doubted.state() == "unconfirmed"


def test_a_file_of_which_nothing_was_told_lately_is_fresh_once_it_is_read(ledger: Ledger) -> None:
    ledger.settled(0)
    ledger.later(ledger.rules.read_lag_s)
    begin_anew(ledger)
    ledger.read_all(0)
    assert ledger.state() == "fresh"


def test_what_holds_all_that_was_forgotten_is_not_doubted(doubted: Ledger) -> None:
    begin_anew(doubted)
    doubted.read_all(59)
    assert doubted.state() == "unconfirmed"
    begin_anew(doubted)
    doubted.read_all(60)
    assert doubted.state() == "fresh"


def test_a_second_new_epoch_does_not_end_the_doubt_of_the_first(doubted: Ledger) -> None:
    until = doubted.number("doubted_until")
    doubted.do("DELETE FROM mlm_webhook_receipts")
    doubted.later(300)
    for _ in range(2):
        begin_anew(doubted)
    assert doubted.number("doubted_until") >= until
    doubted.read_all(0)
    assert doubted.state() == "unconfirmed"


def test_a_file_begun_anew_twice_before_it_was_read_is_not_doubted_for_that(ledger: Ledger) -> None:
    ledger.settled(0)
    ledger.later(3600)
    for _ in range(2):
        begin_anew(ledger)
    ledger.read_all(0)
    assert ledger.state() == "fresh"


def test_no_stamp_ends_a_doubt_that_began_with_a_webhook_without_one(ledger: Ledger) -> None:
    assert ledger.webhook(None, ref="R1") == "unknown_file"
    ledger.import_file()
    ledger.read_all(0)
    ledger.do("DELETE FROM mlm_webhook_receipts")
    begin_anew(ledger)
    ledger.read_all(0)
    assert ledger.state() == "unconfirmed"


def test_a_webhook_that_the_guard_skipped_is_doubted_too_where_mlm_has_gone_back_meanwhile(ledger: Ledger) -> None:
    ledger.settled(100)
    ledger.later(3600)
    confirm(ledger, 50)
    ledger.later(ledger.rules.read_lag_s - 20)
    assert ledger.webhook(56) == "held"
    ledger.later(21)
    assert ledger.read(LOAN_FIELDS, 55).outcome == "landed, new epoch"
    ledger.read_all(55)
    assert ledger.state() == "unconfirmed"
    ledger.later(ledger.rules.read_lag_s)
    assert len(confirm(ledger, 56)) == 1


def test_before_stamps_are_calibrated_none_ends_the_doubt_of_a_new_epoch(ledger: Ledger) -> None:
    ledger.settled(0)
    ledger.do("UPDATE stamp_calibration SET alike_at = NULL")
    ledger.later(3600)
    ledger.webhook(60)
    begin_anew(ledger)
    ledger.read_all(0)
    assert ledger.state() == "unconfirmed"


def test_a_webhook_counts_by_when_the_first_read_was_asked_for_not_by_when_it_landed(ledger: Ledger) -> None:
    assert ledger.webhook(60, ref="R1") == "unknown_file"
    ledger.import_file()
    ledger.later(ledger.rules.read_lag_s - 10)
    lease, asked = ledger.lease(LOAN_FIELDS), ledger.now
    ledger.later(15)
    ledger.commit(lease, 0, asked=asked)
    assert ledger.number("doubted_until") is not None


def test_the_first_read_leaves_the_doubt_of_a_new_epoch_before_it_as_it_is(ledger: Ledger) -> None:
    assert ledger.webhook(50, ref="R1") == "unknown_file"
    ledger.import_file()
    ledger.later(200)
    ledger.webhook(60)
    begin_anew(ledger)
    ledger.read_all(0)
    ledger.later(401)
    assert (len(confirm(ledger, 0)), ledger.state()) == (0, "unconfirmed")


def test_a_second_new_epoch_leaves_no_candidate_waiting_for_the_end_of_the_first_ones_doubt(doubted: Ledger) -> None:
    doubted.later(60)
    doubted.webhook(70)
    begin_anew(doubted)
    doubted.read_all(0)
    assert doubted.number("confirm_at") == doubted.number("doubted_until")


def test_a_file_that_was_told_of_before_it_was_ours_is_doubted_though_it_was_purged_first(ledger: Ledger) -> None:
    assert ledger.webhook(60, ref="R1") == "unknown_file"
    ledger.import_file()
    purge(ledger)
    ledger.import_file()
    ledger.read_all(0)
    assert ledger.state() == "unconfirmed"


def test_a_doubt_that_meets_no_stamp_in_the_end_is_an_order(doubted: Ledger) -> None:
    doubted.later(doubted.rules.read_lag_s)
    assert len(confirm(doubted, None)) == 1
    doubted.read_all(5)
    assert (len(confirm(doubted, None)), doubted.state()) == (0, "fresh")


def test_a_doubted_file_that_an_older_version_has_closed_is_found_again(doubted: Ledger) -> None:
    doubted.do("UPDATE file_freshness SET confirm_at = NULL, unconfirmed_since = NULL, confirmations = 0")
    with doubted.begin() as conn:
        assert (doubts.find_again(conn), doubts.find_again(conn)) == (1, 0)
    doubted.later(doubted.rules.read_lag_s)
    assert len(due(doubted)) == 1


def test_another_reason_to_be_confirmed_does_not_wait_for_the_doubt(doubted: Ledger) -> None:
    own_write_captured_at(doubted, 5)
    doubted.later(31)
    assert len(due(doubted)) == 1


def test_a_late_read_that_finds_mlm_gone_back_doubts_what_was_told_a_moment_ago(told: Ledger) -> None:
    told.later(told.rules.read_lag_s + 1)
    told.webhook(70)
    assert told.read(LOAN_FIELDS, -9).outcome == "landed, new epoch"
    told.read_all(-9)
    assert told.state() == "unconfirmed"


def test_a_file_that_was_told_of_before_it_was_ours_is_doubted_after_its_first_read(ledger: Ledger) -> None:
    assert ledger.webhook(RECENT, ref="R1") == "unknown_file"
    ledger.later(60)
    ledger.import_file()
    ledger.read_all(0)
    assert ledger.state() == "unconfirmed"
    assert ledger.number("doubted_until") == at(RECENT + ledger.rules.read_lag_s)


@pytest.mark.parametrize(
    ("read", "calibrated", "state"),
    [
        (60, False, "fresh"),
        (61, False, "unconfirmed"),
        (60, True, "fresh"),
        (61, True, "fresh"),
        (59, True, "unconfirmed"),
    ],
)
def test_a_first_read_that_shows_what_was_told_is_not_doubted_nor_a_newer_one_if_the_stamps_are_calibrated(
    ledger: Ledger, read: float, calibrated: bool, state: str
) -> None:
    if not calibrated:
        ledger.do("UPDATE stamp_calibration SET alike_at = NULL")
    for told in (50, 60.001):
        assert ledger.webhook(told, ref="R1") == "unknown_file"
    ledger.import_file()
    ledger.read_all(read)
    assert ledger.state() == state


def test_a_webhook_without_a_stamp_tells_of_more_than_any_first_read_shows(ledger: Ledger) -> None:
    for told in (None, 50):
        assert ledger.webhook(told, ref="R1") == "unknown_file"
    ledger.import_file()
    ledger.read_all(60)
    assert ledger.state() == "unconfirmed"


@pytest.fixture
def gone(told: Ledger) -> Ledger:
    """R1 was told of at 60, and MLM did not have it, twice: purged."""
    purge(told)
    return told


def test_a_file_that_was_told_of_and_not_found_is_asked_for_once_more_when_no_replica_can_be_behind(
    gone: Ledger,
) -> None:
    gone.later(400)
    assert len(due(gone)) == 0
    gone.later(200)
    assert len(due(gone)) == 1
    with gone.begin() as conn:
        asking = confirmations.begin(conn, gone.number("id"))
        assert asking is not None
        assert confirmations.not_found(conn, gone.rules, asking) == ()
    gone.later(3600)
    assert len(due(gone)) == 0
    assert gone.state() == "deleted"


def test_a_file_that_is_there_when_it_is_asked_for_once_more_comes_back(gone: Ledger) -> None:
    gone.later(600)
    assert len(confirm(gone, 60)) == 1
    gone.read_all(60)
    assert gone.state() == "fresh"


def test_a_file_that_nobody_told_of_lately_is_not_asked_for_again_once_it_was_not_found(ledger: Ledger) -> None:
    ledger.settled(0)
    ledger.later(3600)
    ledger.import_file()
    purge(ledger)
    ledger.later(3600)
    assert (ledger.state(), len(due(ledger))) == ("deleted", 0)


@pytest.mark.parametrize("told_of", ["R2", None])
def test_a_file_that_nobody_told_of_lately_is_fresh_once_it_is_imported(ledger: Ledger, told_of: str | None) -> None:
    if told_of is None:
        assert ledger.webhook(RECENT, ref="R1") == "unknown_file"
        ledger.later(ledger.rules.read_lag_s)
    else:
        assert ledger.webhook(RECENT, ref=told_of) == "unknown_file"
    ledger.import_file()
    ledger.read_all(0)
    assert ledger.state() == "fresh"
