"""What is behind and what was given up: counted by concern, listed with its errors, and given another chance."""

from __future__ import annotations

import pytest
from simulated import ASSETS, BORROWERS, FEES, LOAN_FIELDS, LOT, Ledger

from freshness.concerns import Concern
from freshness.ledger import backlog, failures, given_up
from freshness.ledger.backlog import Backlog, HeldLease
from freshness.ledger.given_up import Filter, GivenUp
from freshness.ledger.orders import Placed


def behind(ledger: Ledger) -> Backlog:
    with ledger.begin() as conn:
        return backlog.backlog(conn, ledger.rules)


def by_concern(ledger: Ledger) -> dict[str, tuple[int, int, int, int]]:
    """stale, at work, failing, given up"""
    return {c.concern: (c.stale, c.at_work, c.failing, c.given_up) for c in behind(ledger).concerns}


def leases(ledger: Ledger) -> list[HeldLease]:
    with ledger.begin() as conn:
        return backlog.leases(conn, ledger.rules)


def listed(ledger: Ledger, **wanted: str) -> list[GivenUp]:
    with ledger.begin() as conn:
        return given_up.listed(conn, ledger.rules, Filter(**wanted))


def redrive(ledger: Ledger, ref: str) -> Placed | None:
    with ledger.begin() as conn:
        return given_up.redrive(conn, ledger.rules, ledger.number("id", ref))


def give_up(ledger: Ledger, ref: str, concern: Concern = LOAN_FIELDS, error: str = "Outage: Load {ref}: away") -> None:
    lease = ledger.lease(concern, ref)
    with ledger.begin() as conn:
        failures.failed(conn, ledger.rules, lease, error.format(ref=repr(ref)), final=True, lot=LOT)


@pytest.fixture
def two(ledger: Ledger) -> Ledger:
    """R1 and R2 were fresh, and MLM has changed them since, R1 a minute before R2."""
    for ref in ("R1", "R2"):
        ledger.settled(0, ref)
    ledger.webhook(5, "R1")
    ledger.later(60)
    ledger.webhook(5, "R2")
    ledger.later(1)
    return ledger


class TestBacklog:
    def test_of_fresh_files_is_nothing(self, ledger: Ledger) -> None:
        ledger.settled(0)
        seen = behind(ledger)
        assert (seen.stale_files, seen.oldest, seen.concerns, seen.given_up) == (0, None, (), 0)

    def test_counts_files_and_their_concerns_since_the_oldest_order(self, two: Ledger) -> None:
        seen = behind(two)
        assert (seen.stale_files, (seen.as_of - seen.oldest).total_seconds()) == (2, 61)
        assert by_concern(two) == dict.fromkeys(two.rules.active, (2, 0, 0, 0))

    def test_counts_what_is_at_work_and_what_waits_for_another_try(self, two: Ledger) -> None:
        two.lease(LOAN_FIELDS, "R1")
        two.fail(two.lease(LOAN_FIELDS, "R2"))
        assert by_concern(two)[LOAN_FIELDS] == (2, 1, 1, 0)

    def test_is_less_by_what_was_read(self, two: Ledger) -> None:
        two.read(LOAN_FIELDS, 5, "R1")
        assert by_concern(two)[LOAN_FIELDS] == (1, 0, 0, 0)
        oldest = next(c.oldest for c in behind(two).concerns if c.concern == LOAN_FIELDS)
        assert (two.now - oldest).total_seconds() == 1

    def test_knows_the_oldest_order_of_each_concern_of_one_file(self, ledger: Ledger) -> None:
        ledger.settled(0)
        ledger.webhook(5)
        first = ledger.now
        ledger.later(60)
        ledger.read(LOAN_FIELDS, 5)
        ledger.webhook(9)
        oldest = {each.concern: each.oldest for each in behind(ledger).concerns}
        assert oldest == dict.fromkeys(ledger.rules.active, first) | {LOAN_FIELDS: ledger.now}

    def test_counts_concerns_that_have_no_row_yet_and_none_that_the_lender_lacks(self, ledger: Ledger) -> None:
        ledger.add_file()
        ledger.webhook(5)
        assert by_concern(ledger) == dict.fromkeys(ledger.rules.active, (1, 0, 0, 0))
        assert FEES not in by_concern(ledger)

    def test_counts_files_that_wait_for_their_confirmation(self, ledger: Ledger) -> None:
        ledger.settled(0, "R1")
        ledger.add_file("R2")
        seen = behind(ledger)
        assert (seen.stale_files, seen.unconfirmed_files) == (0, 1)


class TestLeases:
    def test_say_who_holds_what_since_when(self, two: Ledger) -> None:
        since = two.now
        two.lease(BORROWERS, "R2", "w7")
        two.later(3)
        two.beat("w7")
        (lease,) = leases(two)
        assert (lease.ref, lease.concern, lease.worker, lease.since, lease.holds) == (
            "R2",
            BORROWERS,
            "w7",
            since,
            True,
        )

    @pytest.mark.parametrize("dies", [True, False])
    def test_of_a_worker_that_died_or_that_ran_out_hold_no_more(self, two: Ledger, dies: bool) -> None:
        two.lease(BORROWERS, "R2")
        two.later(7 if dies else two.rules.lease_s + 1)
        if not dies:
            two.beat()
        assert [lease.holds for lease in leases(two)] == [False]
        assert by_concern(two)[BORROWERS] == (2, 0, 0, 0)

    def test_are_gone_once_the_slice_has_landed(self, two: Ledger) -> None:
        two.read(LOAN_FIELDS, 5)
        assert leases(two) == []


class TestGivenUp:
    def test_is_counted_and_listed_with_its_error_attempts_and_times(self, two: Ledger) -> None:
        for _ in range(8):
            two.later(300)
            two.fail(two.lease(BORROWERS, "R2"))
        assert by_concern(two)[BORROWERS] == (2, 0, 0, 1)
        assert behind(two).given_up == 1
        (found,) = listed(two)
        assert (found.ref, found.concern, found.attempts, found.last_error) == ("R2", BORROWERS, 8, "McFault: no")
        assert (found.last_error_at - found.first_error_at).total_seconds() == 7 * 300

    @pytest.mark.parametrize(
        ("wanted", "found"),
        [
            ({}, [("R1", LOAN_FIELDS), ("R2", BORROWERS), ("R2", LOAN_FIELDS)]),
            ({"concern": "loan_fields"}, [("R1", LOAN_FIELDS), ("R2", LOAN_FIELDS)]),
            ({"ref": "R2"}, [("R2", BORROWERS), ("R2", LOAN_FIELDS)]),
            ({"error": "rejected"}, [("R2", BORROWERS)]),
            ({"error": "Load '…': away"}, [("R1", LOAN_FIELDS), ("R2", LOAN_FIELDS)]),
            ({"error": "Load 'R1'"}, [("R1", LOAN_FIELDS)]),
            ({"error": "%"}, []),
        ],
    )
    def test_is_filtered(self, two: Ledger, wanted: dict[str, str], found: list[tuple[str, str]]) -> None:
        give_up(two, "R1")
        give_up(two, "R2")
        give_up(two, "R2", BORROWERS, "Rejected: Load {ref}: refused")
        assert [(each.ref, each.concern) for each in listed(two, **wanted)] == found

    def test_for_the_same_reason_is_one_line_whatever_the_file(self, two: Ledger) -> None:
        give_up(two, "R1")
        two.later(10)
        give_up(two, "R2")
        give_up(two, "R2", BORROWERS)
        with two.begin() as conn:
            found = given_up.by_error(conn, two.rules)
        assert [(each.concern, each.error, each.files) for each in found] == [
            (LOAN_FIELDS, "Outage: Load '…': away", 2),
            (BORROWERS, "Outage: Load '…': away", 1),
        ]
        assert [(each.newest - each.oldest).total_seconds() for each in found] == [10, 0]

    def test_is_no_more_once_the_file_is_ordered_again(self, two: Ledger) -> None:
        give_up(two, "R1")
        two.webhook(50, "R1")
        assert listed(two) == []
        assert redrive(two, "R1") is None


class TestRedrive:
    def test_is_an_order_by_which_everything_of_the_file_is_tried_again(self, two: Ledger) -> None:
        two.read(LOAN_FIELDS, 5, "R1")
        give_up(two, "R1", BORROWERS)
        placed = redrive(two, "R1")
        assert placed is not None
        assert two.orders("R1")[placed.number - 1 :] == ["redrive"]
        assert by_concern(two)[BORROWERS] == (2, 0, 0, 0)
        two.read_all(5, "R1")
        assert two.state("R1") == "fresh"

    def test_happens_once(self, two: Ledger) -> None:
        give_up(two, "R1")
        assert redrive(two, "R1")
        assert redrive(two, "R1") is None

    def test_leaves_alone_what_was_not_given_up(self, two: Ledger) -> None:
        two.fail(two.lease(LOAN_FIELDS, "R1"))
        assert redrive(two, "R1") is None
        assert "redrive" not in two.orders("R1")

    def test_of_what_hangs_on_a_concern_begins_with_that(self, two: Ledger) -> None:
        two.read(BORROWERS, 5, "R1")
        give_up(two, "R1", ASSETS)
        redrive(two, "R1")
        assert two.read(BORROWERS, 5, "R1")
        assert two.read(ASSETS, 5, "R1").outcome == "landed"
