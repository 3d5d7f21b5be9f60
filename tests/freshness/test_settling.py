"""Settling one read: what lands, what serves, what is thrown away, and what must be read again."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshness.settling import Read, Settlement, Standing, Terms, settle

NOON = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)


def t(seconds: float) -> dt.datetime:
    return NOON + dt.timedelta(seconds=seconds)


#: The clock stands two days after the stamps: nothing is racy.
LATER = 172_800.0
TERMS = Terms(order=4, need=t(10), behind_since=t(LATER))
STANDING = Standing(
    held=t(5), captured=None, mark=t(10), mark_seen_at=t(10), wanted=t(10), wanted_seen_at=t(10), racy_stamp=None
)


def settled(
    v: float | None, terms: Terms = TERMS, now: Standing = STANDING, asked: float = LATER, resolution_s: float = 1
) -> Settlement:
    read = Read(t(v) if v is not None else None, t(asked), t(asked + 0.1))
    return settle(terms, read, now, resolution_s=resolution_s, read_lag_s=600)


def test_a_read_that_shows_what_was_asked_for_serves() -> None:
    assert settled(10) == settled(11) == Settlement(serves=True)


def test_a_read_below_what_was_asked_for_lands_and_serves_nothing() -> None:
    assert settled(9) == Settlement(serves=False)


def test_what_nobody_asked_a_stamp_for_is_served_by_any_read() -> None:
    assert settled(5, replace(TERMS, need=None)).serves


def test_a_read_below_what_a_capture_vouches_for_by_now_serves_nothing() -> None:
    now = replace(STANDING, captured=t(20))
    assert not settled(19, now=now).serves
    assert settled(20, now=now).serves


def test_a_read_older_than_what_is_held_is_thrown_away_and_an_equal_one_is_not() -> None:
    assert settled(4) == Settlement(throw_away=True)
    assert not settled(5).throw_away


def test_a_concern_that_holds_nothing_throws_nothing_away() -> None:
    assert not settled(-100, now=replace(STANDING, held=None)).throw_away


@pytest.mark.parametrize(("asked", "late"), [(LATER + 600, False), (LATER + 600.000001, True)])
def test_a_read_begun_later_than_the_read_lag_serves_whatever_it_shows(asked: float, late: bool) -> None:
    assert settled(9, asked=asked).serves is late


def test_a_late_read_below_what_is_held_begins_an_epoch() -> None:
    assert settled(4, asked=LATER + 601) == Settlement(serves=True, new_epoch=True)
    assert not settled(5, asked=LATER + 601).new_epoch


def test_a_concern_that_is_not_behind_is_never_late() -> None:
    assert settled(4, replace(TERMS, behind_since=None), asked=LATER * 9).throw_away


def test_a_read_without_a_stamp_serves_and_is_unstamped() -> None:
    assert settled(None) == Settlement(serves=True, unstamped=True)


# The racy rule; here the clock stands where the stamps do.

UNSEEN = Standing(None, None, None, None, None, None, None)
EASY = Terms(order=1, need=None, behind_since=t(0))


def racy(v: float, asked: float, now: Standing = UNSEEN, resolution_s: float = 1) -> dt.datetime | None:
    return settled(v, EASY, now, asked, resolution_s).racy_due_at


def test_a_stamp_first_seen_by_this_very_read_is_racy_until_the_resolution_has_passed() -> None:
    assert racy(10, asked=10.5) == t(11.6)


def test_a_stamp_seen_a_resolution_before_the_request_is_not_racy() -> None:
    for seen in ({"mark": t(10), "mark_seen_at": t(10.5)}, {"wanted": t(10), "wanted_seen_at": t(10.5)}):
        now = replace(UNSEEN, **seen)
        assert racy(10, asked=11.5, now=now) is None
        assert racy(10, asked=11.4999, now=now) == t(11.5)


def test_when_another_stamp_was_seen_says_nothing_of_this_one() -> None:
    assert racy(11, asked=20, now=replace(UNSEEN, mark=t(10), mark_seen_at=t(10))) == t(21.1)


def test_the_racy_order_of_a_stamp_is_placed_once() -> None:
    assert racy(10, asked=10.5, now=replace(UNSEEN, racy_stamp=t(10))) is None
    assert racy(11, asked=11.5, now=replace(UNSEEN, racy_stamp=t(10))) is not None


def test_a_stamp_below_the_mark_will_not_be_given_again() -> None:
    assert racy(10, asked=10.5, now=replace(UNSEEN, mark=t(11), mark_seen_at=t(10.4))) is None


def test_a_stamp_a_day_old_will_not_be_given_again() -> None:
    assert racy(0, asked=86_399.9) is None
    assert racy(0, asked=86_399.8) is not None


def test_a_finer_resolution_waits_less() -> None:
    assert racy(10, asked=10.5, resolution_s=0.004) == t(10.604)


SECONDS = st.none() | st.integers(0, 4).map(t)


@given(
    v=st.integers(0, 4).map(t), need=SECONDS, held=SECONDS, captured=SECONDS, mark=SECONDS, late=st.booleans(),
)  # fmt: skip
def test_what_is_served_on_time_shows_everything_and_nothing_older_ever_lands(
    v: dt.datetime,
    need: dt.datetime | None,
    held: dt.datetime | None,
    captured: dt.datetime | None,
    mark: dt.datetime | None,
    late: bool,
) -> None:
    now = Standing(held, captured, mark, mark, None, None, None)
    asked = t(LATER + (601 if late else 0))
    found = settle(Terms(1, need, t(LATER)), Read(v, asked, asked), now, resolution_s=1, read_lag_s=600)
    below = any(bound is not None and v < bound for bound in (need, captured))
    older = held is not None and v < held
    assert found.throw_away == (older and not late)
    assert found.new_epoch == (older and late)
    assert found.serves == (not found.throw_away and (late or not below))
