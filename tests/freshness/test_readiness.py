"""Readiness: the first reason why a slice may not start now, or none."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest

from freshness.concerns import ALL, Concern, upstream_of
from freshness.readiness import GIVE_UP_AFTER, SliceState, Wait, taken_along, to_ring_for, why_not

LOAN_FIELDS, BORROWERS, CONDITIONS, FEES = Concern.LOAN_FIELDS, Concern.BORROWERS, Concern.CONDITIONS, Concern.FEES

NOW = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
READY = SliceState(
    is_loan_fields=False, order=5, served=4, ordered=5, undue_until=None, attempts=0, next_try_at=None, leased=False,
    file_is_there=True, hangs_on=None, alone=False,
)  # fmt: skip


def test_a_stale_slice_that_nothing_holds_back_may_start() -> None:
    assert why_not(READY, NOW) is None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"served": 5}, Wait.SERVED),
        ({"attempts": GIVE_UP_AFTER}, Wait.GIVEN_UP),
        ({"leased": True}, Wait.LEASED),
        ({"file_is_there": False}, Wait.LOAN_FIELDS),
        ({"order": 4}, Wait.NOT_DUE),
        ({"order": 4, "hangs_on": "borrowers"}, Wait.UPSTREAM),
        ({"next_try_at": NOW + dt.timedelta(microseconds=1)}, Wait.RETRY),
    ],
)
def test_each_reason_holds_it_back(changes: dict[str, object], why: Wait) -> None:
    assert why_not(replace(READY, **changes), NOW) is why  # type: ignore[arg-type]


def test_loan_fields_may_start_before_there_is_a_loan() -> None:
    assert why_not(replace(READY, is_loan_fields=True, file_is_there=False), NOW) is None


def test_the_next_try_is_due_at_its_very_time_and_one_error_less_than_eight_is_not_given_up() -> None:
    assert why_not(replace(READY, next_try_at=NOW, attempts=GIVE_UP_AFTER - 1), NOW) is None


def test_what_has_served_is_not_given_up_whatever_it_went_through() -> None:
    assert not replace(READY, served=5, attempts=99).given_up


STALE = {
    concern: replace(READY, is_loan_fields=concern is LOAN_FIELDS, hangs_on=upstream_of(concern)) for concern in ALL
}
AWAITING = STALE | {c: replace(state, order=state.served) for c, state in STALE.items() if state.hangs_on}


def test_a_read_takes_along_all_that_is_stale_upstream_first_and_what_hangs_on_it_for_the_same_order() -> None:
    assert taken_along(AWAITING, LOAN_FIELDS, NOW) == dict.fromkeys(ALL, 5)


@pytest.mark.parametrize(
    "held_back",
    [{"served": 5}, {"attempts": 8}, {"leased": True}, {"next_try_at": NOW + dt.timedelta(seconds=1)}, {"alone": True}],
)
def test_what_may_not_start_or_is_to_be_read_by_itself_is_not_taken_along(held_back: dict[str, Any]) -> None:
    orders = taken_along(AWAITING | {FEES: replace(AWAITING[FEES], **held_back)}, LOAN_FIELDS, NOW)
    assert set(orders) == set(ALL) - {FEES}


def test_what_hangs_on_something_that_another_reads_waits_for_that() -> None:
    free = {concern: state for concern, state in AWAITING.items() if concern is not BORROWERS}
    assert set(taken_along(free, LOAN_FIELDS, NOW)) == {LOAN_FIELDS, CONDITIONS, FEES}


def test_a_slice_that_is_to_be_read_by_itself_takes_nothing_along() -> None:
    assert taken_along(AWAITING | {FEES: replace(AWAITING[FEES], alone=True)}, FEES, NOW) == {FEES: 5}


def test_a_file_that_is_not_there_yet_is_read_whole_if_its_loan_fields_are() -> None:
    unborn = {concern: replace(state, file_is_there=False) for concern, state in AWAITING.items()}
    assert set(taken_along(unborn, LOAN_FIELDS, NOW)) == set(ALL)


def test_one_ring_is_enough_for_what_is_read_together_and_each_other_slice_has_its_own() -> None:
    states = AWAITING | {FEES: replace(AWAITING[FEES], alone=True)}
    assert to_ring_for(states, NOW, shared_reads=True) == [LOAN_FIELDS, FEES]
    assert to_ring_for(states, NOW, shared_reads=False) == [LOAN_FIELDS, BORROWERS, CONDITIONS, FEES]
