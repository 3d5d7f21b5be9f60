"""What the backstops' work is counted as: a heal is rows that nothing else had asked for."""

from __future__ import annotations

import pytest
from simulated import BORROWERS, LOAN_FIELDS, Ledger

from freshness.ledger import backstops, confirmations
from freshness.ledger.backstops import Backstop
from freshness.ledger.orders import place


@pytest.fixture
def fresh(ledger: Ledger) -> Ledger:
    ledger.settled(0)
    ledger.later(60)
    return ledger


def order(ledger: Ledger, backstop: Backstop) -> None:
    with ledger.begin() as conn:
        place(conn, ledger.number("id"), "here", backstop=backstop)


def healed(ledger: Ledger) -> dict[str, int]:
    with ledger.begin() as conn:
        return {each.backstop: each.healed for each in backstops.report(conn) if each.healed}


def test_an_order_heals_once_whatever_number_of_slices_bring_rows(fresh: Ledger) -> None:
    order(fresh, Backstop.ROUNDS)
    assert fresh.read(LOAN_FIELDS, 30, rows=1).healed == "rounds"
    assert fresh.read(BORROWERS, 30, rows=2).healed == "rounds"
    assert healed(fresh) == {"rounds": 1}
    assert fresh.rows("SELECT healed_rows FROM refresh_orders ORDER BY number DESC LIMIT 1") == [{"healed_rows": 3}]


def test_an_order_that_brings_nothing_has_healed_nothing(fresh: Ledger) -> None:
    order(fresh, Backstop.AUDIT)
    assert fresh.read(LOAN_FIELDS, 0).healed is None
    assert healed(fresh) == {}


def test_what_a_webhook_had_asked_for_first_is_no_heal(fresh: Ledger) -> None:
    fresh.webhook(30)
    order(fresh, Backstop.POLL)
    assert fresh.read(LOAN_FIELDS, 30, rows=1).healed is None
    assert healed(fresh) == {}


def test_what_a_webhook_asked_for_only_later_is_one(fresh: Ledger) -> None:
    order(fresh, Backstop.POLL)
    fresh.webhook(30)
    assert fresh.read(LOAN_FIELDS, 30, rows=1).healed == "poll"


def test_a_backstop_orders_once_where_a_stamp_cannot_be_read_any_more(fresh: Ledger) -> None:
    def finish(backstop: Backstop | None) -> int:
        with fresh.begin() as conn:
            asking = confirmations.begin(conn, fresh.number("id"))
            assert asking is not None
            return len(confirmations.finish(conn, fresh.rules, asking, "yesterday", backstop))

    assert finish(None) == 0
    assert finish(Backstop.ROUNDS) == 1
    assert finish(Backstop.ROUNDS) == 0, "it is ordered already"
    fresh.read_all("yesterday")
    assert fresh.state() == "unstamped"
    assert finish(Backstop.ROUNDS) == 0, "it is known to have none"


def test_counts_are_kept_by_hour_and_summed(fresh: Ledger) -> None:
    for worker in ("w1", "w2", "w1"):
        with fresh.begin() as conn:
            backstops.count(conn, Backstop.POLL, worker, runs=1, looked=2, failed=1, error=f"{worker}: no")
        fresh.later(3600)
    with fresh.begin() as conn:
        poll = backstops.report(conn)[0]
        lately = backstops.report(conn, since=fresh.now)[0]
    assert (poll.runs, poll.looked, poll.failed, poll.last_error) == (3, 6, 3, "w1: no")
    assert lately == backstops.Report("poll")
