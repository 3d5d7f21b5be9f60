"""A receipt's entry decided once more: by the numbers of now, as a receipt of its own."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from simulated import Ledger, modified

from freshness.bell import Work
from freshness.ledger import receipts, replays
from freshness.ledger.batches import Entry
from freshness.ledger.receipts import Filter
from freshness.ledger.replays import Replayed

EVERY = Filter(limit=None)


def chosen(ledger: Ledger, wanted: Filter = EVERY) -> list[dict[str, Any]]:
    with ledger.begin() as conn:
        return replays.chosen(conn, wanted)


def replay(ledger: Ledger, *, force: bool = False, wanted: Filter = EVERY) -> list[Replayed]:
    """Replay the receipts that pass the filter."""
    found = chosen(ledger, wanted)
    with ledger.begin() as conn:
        done, _ = replays.replay(conn, ledger.rules, found, force=force)
    return done


def decisions(ledger: Ledger, ref: str = "R1") -> list[tuple[str, str, int | None]]:
    return [(receipt["outcome"], receipt["reason"], receipt["order_number"]) for receipt in ledger.receipts(ref)]


def test_an_entry_that_met_an_unknown_file_orders_it_once_it_is_there(ledger: Ledger) -> None:
    ledger.webhook(5)
    ledger.add_file()
    ledger.later(60)
    (done,) = replay(ledger)
    old, new = ledger.receipts()
    assert (done.outcome_before, done.outcome, done.reason) == ("unknown_file", "dispatched", "newer")
    assert (done.replay_of, done.id) == (old["id"], new["id"])
    same = ("reference_number", "loan_number", "event_type", "last_modified_text", "last_modified_at")
    assert [new[name] for name in same] == [old[name] for name in same]
    assert (new["replay_of"], new["order_number"]) == (old["id"], 1)
    assert (new["received_at"] - old["received_at"]).total_seconds() == 60
    assert ledger.orders() == [f"replay of receipt {old['id']}, newer"]


def test_what_a_replay_ordered_is_rung_for_and_served_like_any_order(ledger: Ledger) -> None:
    ledger.webhook(5)
    file_id = ledger.add_file()
    with ledger.begin() as conn:
        _, rings = replays.replay(conn, ledger.rules, receipts.listed(conn, EVERY))
    assert [(ring.work, ring.file_id) for ring in rings] == [(Work.HYDRATE_FILE, file_id)]
    ledger.later(1)
    ledger.read_all(5)
    assert ledger.receipts()[-1]["served_at"] is not None


def test_an_entry_whose_change_is_here_is_held(ledger: Ledger) -> None:
    ledger.settled(0)
    ledger.webhook(5)
    ledger.later(1)
    ledger.read_all(5)
    (done,) = replay(ledger)
    assert (done.outcome_before, done.outcome) == ("dispatched", "held")
    assert ledger.state() == "fresh"


@pytest.mark.parametrize("stamp", [0, -5])
def test_by_force_what_the_guard_would_skip_is_ordered_and_wanted_stays(ledger: Ledger, stamp: float) -> None:
    ledger.settled(0)
    ledger.webhook(stamp)
    wanted = ledger.number("wanted")
    (done,) = replay(ledger, force=True)
    assert (done.outcome_before, done.outcome, done.reason) == ("held", "dispatched", "forced")
    assert ledger.number("wanted") == wanted
    assert ledger.state() == "stale"
    ledger.read_all(0)
    assert ledger.state() == "fresh"


def test_by_force_the_guards_own_reason_stays_where_it_orders(ledger: Ledger) -> None:
    ledger.webhook(5)
    ledger.later(ledger.rules.read_lag_s)
    ledger.settled(0)
    (done,) = replay(ledger, force=True)
    assert (done.outcome, done.reason) == ("dispatched", "newer")


@pytest.mark.parametrize("event", ["Modified", "Archived"])
def test_by_force_no_file_is_made_up_and_no_event(ledger: Ledger, event: str) -> None:
    ledger.webhook(5, event=event)
    outcome = ledger.receipts()[0]["outcome"]
    (done,) = replay(ledger, force=True)
    assert (done.outcome_before, done.outcome, done.order_number) == (outcome, outcome, None)


def test_a_deletion_orders_again(ledger: Ledger) -> None:
    ledger.webhook(5, event="Deleted")
    ledger.later(ledger.rules.read_lag_s)
    ledger.settled(0)
    (done,) = replay(ledger)
    assert (done.outcome, done.reason) == ("dispatched", "deleted_event")


def test_many_are_decided_in_the_order_in_which_they_came(ledger: Ledger) -> None:
    for stamp in (5, 7, 6):
        ledger.webhook(stamp)
        ledger.later(1)
    ledger.add_file()
    assert [done.outcome for done in replay(ledger)] == ["dispatched", "dispatched", "already_ordered"]
    assert [order for *_, order in decisions(ledger)] == [None, None, None, 1, 2, 2]


def test_of_those_that_pass_a_filter_replays_are_left_out(ledger: Ledger) -> None:
    ledger.webhook(5)
    replay(ledger)
    ledger.later(60)
    assert [done.outcome_before for done in replay(ledger)] == ["unknown_file"]
    assert len(ledger.receipts()) == 3
    assert chosen(ledger, Filter(since=ledger.now - dt.timedelta(seconds=30), limit=None)) == []


def test_a_replay_can_be_replayed_by_its_id(ledger: Ledger) -> None:
    ledger.webhook(5)
    (first,) = replay(ledger)
    with ledger.begin() as conn:
        (done,), _ = replays.replay(conn, ledger.rules, receipts.by_id(conn, [first.id]))
    assert done.replay_of == first.id


def test_a_malformed_entry_was_not_kept(ledger: Ledger) -> None:
    ledger.receive(Entry(None, None, None, None, fault="no reference"), modified("R1", 5))
    assert [replays.can_be_replayed(receipt) for receipt in chosen(ledger)] == [False, True]


def test_replays_say_nothing_of_whether_stamps_are_alike(ledger: Ledger) -> None:
    """What they replay has said it, in its time."""
    ledger.settled(0)
    ledger.webhook(5)
    ledger.later(1)
    ledger.read_all(5)
    before = ledger.rows("SELECT * FROM stamp_calibration")
    ledger.later(2 * 86_400)
    replay(ledger, force=True)
    ledger.read_all(9)
    assert ledger.rows("SELECT * FROM stamp_calibration") == before
