"""Readiness: the first reason why a slice may not start now, or none."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from freshness.readiness import GIVE_UP_AFTER, SliceState, Wait, why_not

NOW = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
READY = SliceState(
    is_loan_fields=False, order=5, served=4, ordered=5, undue_until=None, attempts=0, next_try_at=None, leased=False,
    file_is_there=True, hangs_on=None,
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
