"""The state of a file, in one word; a copy that may differ is never called fresh."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshness.state import Holding, State, needs_confirmation, state_of


def t(second: int) -> dt.datetime:
    return dt.datetime(2026, 11, 20, 12, 0, second, tzinfo=dt.UTC)


def state(
    *holdings: Holding,
    newest: int | None = 5,
    deleted: bool = False,
    unstamped: bool = False,
    doubted: bool = False,
    write_under_way: bool = False,
) -> State:
    return state_of(
        holdings,
        ordered=3,
        newest=t(newest) if newest is not None else None,
        deleted=deleted,
        unstamped=unstamped,
        doubted=doubted,
        write_under_way=write_under_way,
    )


GOOD, OLD, NONE, STALE = Holding(t(5), 3), Holding(t(4), 3), Holding(None, 3), Holding(t(5), 2)


def test_what_has_served_and_holds_the_newest_is_fresh() -> None:
    assert state(GOOD, GOOD) is State.FRESH
    assert state(GOOD, newest=None) is State.FRESH


@pytest.mark.parametrize("other", [OLD, NONE])
def test_what_holds_less_or_nothing_is_unconfirmed(other: Holding) -> None:
    assert state(GOOD, other) is State.UNCONFIRMED
    assert state(other, newest=None) is (State.UNCONFIRMED if other is NONE else State.FRESH)


def test_a_closed_own_write_that_has_not_exited_leaves_the_file_unconfirmed() -> None:
    assert state(GOOD, write_under_way=True) is State.UNCONFIRMED


def test_a_file_that_is_doubted_after_a_new_epoch_is_not_fresh_whatever_it_holds() -> None:
    assert state(GOOD, doubted=True) is State.UNCONFIRMED
    assert state(STALE, doubted=True) is State.STALE


def test_deleted_comes_before_unstamped_before_stale_before_unconfirmed() -> None:
    assert state(STALE, NONE, deleted=True, unstamped=True) is State.DELETED
    assert state(STALE, NONE, unstamped=True) is State.UNSTAMPED
    assert state(STALE, NONE, write_under_way=True) is State.STALE


@pytest.mark.parametrize(
    ("holding", "candidate"),
    [
        (GOOD, False), (OLD, True), (NONE, True), (STALE, False),
        (Holding(t(4), 2), False), (Holding(t(4), 2, given_up=True), True), (Holding(t(5), 2, given_up=True), False),
    ],
)  # fmt: skip
def test_a_concern_that_is_not_due_to_run_and_is_behind_asks_for_a_confirmation(
    holding: Holding, candidate: bool
) -> None:
    assert needs_confirmation([GOOD, holding], ordered=3, newest=t(5)) is candidate


HOLDINGS = st.lists(st.builds(Holding, st.none() | st.integers(0, 6).map(t), st.integers(2, 3)), min_size=1)


@given(holdings=HOLDINGS, write_under_way=st.booleans())
def test_fresh_is_only_what_holds_and_has_served_all(holdings: list[Holding], write_under_way: bool) -> None:
    if state(*holdings, write_under_way=write_under_way) is State.FRESH:
        assert not write_under_way
        assert all(h.served == 3 and h.held is not None and h.held >= t(5) for h in holdings)
        assert not needs_confirmation(holdings, ordered=3, newest=t(5))
