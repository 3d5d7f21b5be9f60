"""Shared reads in the ledger: what one taker takes along, and what it leaves to another of the same moment."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest
from simulated import ASSETS, BORROWERS, FEES, FEW, LOAN_FIELDS, Ledger
from sqlalchemy import Connection

from freshness.concerns import Concern
from freshness.ledger import leases
from freshness.ledger.leases import Lease, NotNow

WITH_FEES = (*FEW, FEES)


@pytest.fixture
def stale(ledger: Ledger) -> Ledger:
    """R1 was fresh at 0 and has a webhook of 60; what may be read of it is read in one call."""
    ledger.rules = replace(ledger.rules, active=WITH_FEES)
    ledger.settled(0)
    ledger.rules = replace(ledger.rules, shared_reads=True)
    ledger.later(3600)
    ledger.webhook(60)
    ledger.later(10)
    ledger.beat()
    return ledger


def take(conn: Connection, ledger: Ledger, concern: Concern) -> list[Lease] | NotNow:
    file_id = conn.exec_driver_sql("SELECT id FROM file_freshness").scalar_one()
    return leases.take(conn, ledger.rules, file_id, concern, "w1", uuid.uuid4())


def concerns_of(taken: list[Lease] | NotNow) -> list[Concern]:
    assert isinstance(taken, list)
    return [lease.concern for lease in taken]


def test_whoever_takes_one_takes_all_that_is_stale_for_the_order_of_what_it_hangs_on(stale: Ledger) -> None:
    taken = stale.take_all(LOAN_FIELDS)
    assert concerns_of(taken) == list(WITH_FEES)
    assert isinstance(taken, list)
    assert {lease.terms.order for lease in taken} == {stale.number("ordered")}
    assert len({lease.token for lease in taken}) == 1
    for lease in taken:
        assert stale.commit(lease, 60).outcome == "landed"
    assert stale.state() == "fresh"


def test_of_two_at_the_same_moment_neither_waits_and_each_slice_is_taken_once(stale: Ledger) -> None:
    with stale.begin() as one, stale.begin() as two:
        first = concerns_of(take(one, stale, FEES))
        second = take(two, stale, BORROWERS)
    assert first == list(WITH_FEES)
    assert isinstance(second, NotNow)


def test_what_another_takes_is_left_to_it_with_what_hangs_on_it(stale: Ledger) -> None:
    with stale.begin() as one, stale.begin() as two:
        one.exec_driver_sql("SELECT FROM file_concerns WHERE concern = 'borrowers' FOR UPDATE")
        assert concerns_of(take(two, stale, LOAN_FIELDS)) == [LOAN_FIELDS, FEES]
    assert stale.concern(ASSETS)["lease_token"] is None


def test_slices_that_read_apart_are_not_in_each_others_way(stale: Ledger) -> None:
    stale.do("UPDATE file_concerns SET alone_order = 99")
    with stale.begin() as one, stale.begin() as two:
        assert concerns_of(take(one, stale, LOAN_FIELDS)) == [LOAN_FIELDS]
        assert concerns_of(take(two, stale, FEES)) == [FEES]


def test_what_was_parted_is_read_apart_for_the_orders_that_stood_and_together_for_a_newer(stale: Ledger) -> None:
    taken = stale.take_all(LOAN_FIELDS)
    assert isinstance(taken, list)
    with stale.begin() as conn:
        leases.part(conn, taken[0])
    assert stale.concern(FEES)["attempts"] == 0
    assert concerns_of(stale.take_all(FEES)) == [FEES]
    stale.webhook(70)
    assert concerns_of(stale.take_all(LOAN_FIELDS)) == [LOAN_FIELDS, BORROWERS, ASSETS]


def test_one_that_has_failed_is_tried_again_by_itself(stale: Ledger) -> None:
    taken = stale.take_all(LOAN_FIELDS)
    assert isinstance(taken, list)
    for lease in taken:
        if lease.concern is LOAN_FIELDS:
            stale.fail(lease)
        else:
            stale.commit(lease, 60)
    stale.later(60)
    assert concerns_of(stale.take_all(LOAN_FIELDS)) == [LOAN_FIELDS]
