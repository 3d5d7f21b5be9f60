"""The guard decides as its table says, row by row, and folds a batch's entries of one file in their order."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshness.guard import FileNumbers, Outcome, at_most, decide, decide_deleted, force, latest


def t(second: int) -> dt.datetime:
    return dt.datetime(2026, 11, 20, 12, 0, second, tzinfo=dt.UTC)


#: Fresh at 10: everything held, served, and nothing newer known.
FRESH = FileNumbers(
    ordered=3, wanted=t(10), captured=None, least_held=t(10), least_held_served=t(10), all_stale=False, unstamped=False
)
#: Ordered up to 20, and nobody has read yet.
ORDERED = FRESH.after_order(t(20))
STAMPS = st.none() | st.integers(0, 5).map(t)


def test_a_stamp_that_is_missing_orders_and_leaves_wanted() -> None:
    decision = decide(None, FRESH)
    assert (decision.outcome, decision.reason, decision.orders, decision.wanted) == (
        Outcome.DISPATCHED, "unguarded", True, None,
    )  # fmt: skip


def test_any_stamp_of_an_unstamped_file_orders_so_that_no_older_read_serves() -> None:
    decision = decide(t(1), replace(FRESH, unstamped=True))
    assert (decision.reason, decision.orders, decision.wanted) == ("unguarded", True, t(1))


def test_a_stamp_that_is_not_calibrated_orders_and_leaves_wanted() -> None:
    decision = decide(t(20), replace(FRESH, unstamped=True), calibrated=False)
    assert (decision.reason, decision.orders, decision.wanted) == ("unguarded", True, None)


@pytest.mark.parametrize(("second", "outcome"), [(9, Outcome.HELD), (10, Outcome.HELD), (11, Outcome.DISPATCHED)])
def test_what_every_concern_holds_is_held_up_to_the_least_of_them(second: int, outcome: Outcome) -> None:
    assert decide(t(second), FRESH).outcome is outcome


def test_nothing_is_held_while_a_concern_holds_nothing() -> None:
    assert decide(t(1), replace(FRESH, least_held=None, least_held_served=None, wanted=None)).orders


@pytest.mark.parametrize(("second", "outcome"), [(20, Outcome.ALREADY_ORDERED), (21, Outcome.DISPATCHED)])
def test_what_all_concerns_are_to_read_joins_their_order(second: int, outcome: Outcome) -> None:
    decision = decide(t(second), ORDERED)
    assert decision.outcome is outcome
    assert decision.joins_order


@pytest.mark.parametrize(("served", "outcome"), [(15, Outcome.ALREADY_ORDERED), (14, Outcome.DISPATCHED)])
def test_a_concern_that_has_served_must_hold_the_stamp_for_it_to_join(served: int, outcome: Outcome) -> None:
    file = replace(ORDERED, all_stale=False, least_held_served=t(served))
    assert decide(t(15), file).outcome is outcome


def test_a_concern_that_has_served_and_holds_nothing_makes_it_order() -> None:
    assert decide(t(15), replace(ORDERED, all_stale=False, least_held_served=None)).orders


@pytest.mark.parametrize(("second", "outcome"), [(15, Outcome.OWN_ECHO), (16, Outcome.DISPATCHED)])
def test_what_a_capture_vouches_for_is_our_own_echo(second: int, outcome: Outcome) -> None:
    decision = decide(t(second), replace(FRESH, captured=t(15)))
    assert decision.outcome is outcome
    assert decision.joins_order == decision.orders


def test_held_comes_before_already_ordered_and_that_before_own_echo() -> None:
    every = replace(ORDERED, captured=t(20), least_held=t(10))
    assert [decide(t(second), every).outcome for second in (10, 20)] == [Outcome.HELD, Outcome.ALREADY_ORDERED]


def test_a_newer_stamp_orders_and_becomes_what_is_wanted() -> None:
    decision = decide(t(11), FRESH)
    assert (decision.outcome, decision.reason, decision.wanted) == (Outcome.DISPATCHED, "newer", t(11))


def test_a_deleted_event_orders_so_that_no_older_read_serves() -> None:
    decision = decide_deleted(t(20))
    assert (decision.reason, decision.orders, decision.wanted) == ("deleted_event", True, t(20))


def test_a_deleted_event_without_a_stamp_that_can_be_compared_leaves_wanted() -> None:
    assert decide_deleted(None).wanted is None
    assert decide_deleted(t(20), calibrated=False).wanted is None


def test_after_an_order_every_concern_is_stale_and_wanted_never_goes_back() -> None:
    assert ORDERED.ordered == FRESH.ordered + 1
    assert (ORDERED.all_stale, ORDERED.wanted) == (True, t(20))
    assert ORDERED.after_order(t(5)).wanted == t(20)
    assert ORDERED.after_order(None).wanted == t(20)


@given(stamps=st.lists(STAMPS, max_size=8), held=STAMPS, captured=STAMPS)
def test_a_batch_orders_no_stamp_twice_and_leaves_none_behind(
    stamps: list[dt.datetime | None], held: dt.datetime | None, captured: dt.datetime | None
) -> None:
    file = FileNumbers(0, None, captured, held, held, all_stale=False, unstamped=False)
    ordered: list[dt.datetime] = []
    for stamp in stamps:
        decision = decide(stamp, file)
        assert decision.orders or (stamp is not None and at_most(stamp, latest(held, captured, file.wanted)))
        if decision.orders:
            file = file.after_order(decision.wanted)
            ordered += [stamp] if stamp is not None else []
    assert ordered == sorted(set(ordered)), "only ever newer ones"


@pytest.mark.parametrize(
    ("outcome", "counted"),
    [(o, {"dispatched": "dispatched", "malformed": "rejected"}.get(o.value, "skipped")) for o in Outcome],
)
def test_every_outcome_is_counted_as_the_contract_says(outcome: Outcome, counted: str) -> None:
    assert outcome.counted_as == counted


def test_no_bound_is_below_every_stamp() -> None:
    assert not at_most(t(1), None)
    assert at_most(t(1), t(1))
    assert latest(None, t(1), t(2), None) == t(2)
    assert latest(None, None) is None


@pytest.mark.parametrize("second", [9, 10])
def test_by_force_a_skip_becomes_an_order_that_leaves_wanted(second: int) -> None:
    forced = force(decide(t(second), FRESH))
    assert (forced.outcome, forced.reason, forced.orders, forced.wanted) == (Outcome.DISPATCHED, "forced", True, None)


def test_by_force_what_orders_stays_what_it_is() -> None:
    assert force(decide(t(11), FRESH)) == decide(t(11), FRESH)
