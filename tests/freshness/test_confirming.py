"""Confirming: whatever differs from the stamp MLM shows is ordered, unless an order in hand will bring it."""

from __future__ import annotations

import datetime as dt

import pytest

from freshness.confirming import Confirmation, HeldBy, confirm


def t(second: int) -> dt.datetime:
    return dt.datetime(2026, 11, 20, 12, 0, second, tzinfo=dt.UTC)


NOW = t(59)
LONG_AGO = NOW - dt.timedelta(seconds=601)
ORDERS, NOTHING = Confirmation(orders=True), Confirmation()


def confirmed(
    v: int,
    *concerns: HeldBy,
    mark: int | None = None,
    wanted: int | None = None,
    unstamped: bool = False,
    raised_at: dt.datetime | None = LONG_AGO,
) -> Confirmation:
    return confirm(
        t(v),
        concerns,
        mark=t(mark) if mark is not None else None,
        wanted=t(wanted) if wanted is not None else None,
        unstamped=unstamped,
        raised_at=raised_at,
        now=NOW,
        read_lag_s=600,
    )


def served(held: int | None) -> HeldBy:
    return HeldBy(t(held) if held is not None else None, stale=False, given_up=False)


def stale(held: int | None) -> HeldBy:
    return HeldBy(t(held) if held is not None else None, stale=True, given_up=False)


def given_up(held: int | None, at: int | None = None) -> HeldBy:
    return HeldBy(t(held) if held is not None else None, True, True, t(at) if at is not None else None)


def test_a_file_that_holds_what_mlm_shows_is_confirmed() -> None:
    assert confirmed(5, served(5), served(5), mark=5, wanted=5) == NOTHING


def test_a_file_whose_rows_came_without_a_stamp_orders_whatever_it_holds_but_once() -> None:
    assert confirmed(5, served(5), served(5), mark=5, wanted=5, unstamped=True) == ORDERS
    assert confirmed(5, stale(5), stale(5), mark=5, wanted=5, unstamped=True) == NOTHING


@pytest.mark.parametrize("held", [4, 6, None])
def test_a_concern_that_holds_another_stamp_or_nothing_orders(held: int | None) -> None:
    assert confirmed(5, served(5), served(held), mark=5, wanted=5) == ORDERS


def test_an_order_in_hand_that_reaches_the_stamp_is_enough() -> None:
    assert confirmed(5, served(5), stale(4), wanted=5) == NOTHING
    assert confirmed(5, served(5), stale(4), wanted=4) == ORDERS
    assert confirmed(5, served(5), stale(4), wanted=None) == ORDERS


def test_one_that_has_served_orders_though_another_is_in_hand() -> None:
    assert confirmed(5, served(4), stale(4), wanted=5) == ORDERS


def test_a_given_up_concern_is_ordered_once_for_each_stamp() -> None:
    assert confirmed(5, given_up(4), wanted=5) == ORDERS
    assert confirmed(5, given_up(4, at=5), wanted=5) == NOTHING
    assert confirmed(6, given_up(4, at=5), wanted=6) == ORDERS


@pytest.mark.parametrize("newest", [{"mark": 6}, {"wanted": 6}, {"mark": 4, "wanted": 6}])
def test_what_everything_holds_but_lies_below_mark_or_wanted_is_a_new_epoch_after_the_read_lag(
    newest: dict[str, int],
) -> None:
    assert confirmed(5, served(5), **newest) == Confirmation(orders=True, new_epoch=True)  # type: ignore[arg-type]
    assert confirmed(5, served(5), **newest, raised_at=NOW - dt.timedelta(seconds=600)) == NOTHING  # type: ignore[arg-type]


def test_what_was_never_raised_is_settled() -> None:
    assert confirmed(5, served(5), mark=6, raised_at=None).new_epoch


def test_an_epoch_is_never_begun_while_a_concern_differs() -> None:
    assert not confirmed(5, served(5), served(6), mark=6).new_epoch
