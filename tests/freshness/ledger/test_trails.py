"""What is kept beside the numbers: events, refusals, receipts and how long, workers, claims."""

from __future__ import annotations

import datetime as dt

import pytest
from simulated import LOAN_FIELDS, Ledger, at

from freshness.bell import Work
from freshness.errors import UnknownFile
from freshness.ledger import claims, deliveries, events, receipts, status, sweeps, workers
from freshness.ledger.deliveries import Refusal
from freshness.ledger.receipts import Filter


def write(ledger: Ledger, *kinds: str, ref: str = "R1") -> None:
    with ledger.begin() as conn:
        events.write(conn, ref, kinds)


def number(ledger: Ledger) -> list[int]:
    with ledger.begin() as conn:
        return [event.id for event in events.number_waiting(conn)]


def test_events_are_numbered_after_their_commit_so_that_a_late_one_is_not_skipped(ledger: Ledger) -> None:
    with ledger.begin() as late:
        events.write(late, "R1", ["hydrated"])
        write(ledger, "fresh")
        assert number(ledger) == [1]
        with ledger.begin() as conn:
            assert [e.kind for e in events.after(conn, 0).events] == ["fresh"]
    assert number(ledger) == [2]
    with ledger.begin() as conn:
        assert [(e.id, e.kind) for e in events.after(conn, 1).events] == [(2, "hydrated")]
        assert events.newest_id(conn) == 2


def test_events_are_read_by_file_and_page_by_page(ledger: Ledger) -> None:
    write(ledger, "fetching", "hydrated", "fresh")
    write(ledger, "fresh", ref="R2")
    number(ledger)
    with ledger.begin() as conn:
        assert [e.id for e in events.after(conn, 0, limit=2).events] == [1, 2]
        assert [e.ref for e in events.after(conn, 0, ref="R2").events] == ["R2"]
        assert events.after(conn, None) == events.Page(())


def test_an_event_id_too_old_or_never_numbered_gets_a_reset(ledger: Ledger) -> None:
    write(ledger, "fetching", "hydrated")
    number(ledger)
    ledger.later(25 * 3600)
    write(ledger, "fresh")
    number(ledger)
    with ledger.begin() as conn:
        assert events.forget_old(conn) == 2
        assert events.after(conn, 1).reset
        assert [e.id for e in events.after(conn, 2).events] == [3]
        assert events.after(conn, 4).reset
        assert not events.after(conn, 3).reset


def test_a_file_announces_hydrated_and_fresh_when_they_are_so(ledger: Ledger) -> None:
    ledger.settled(0)
    assert [e["kind"] for e in ledger.rows("SELECT kind FROM file_events ORDER BY id")] == ["hydrated", "fresh"]


def test_a_ticket_is_good_once_and_for_a_minute(ledger: Ledger) -> None:
    with ledger.begin() as conn:
        good, old = events.issue_ticket(conn), events.issue_ticket(conn)
        assert events.redeem_ticket(conn, good)
        assert not events.redeem_ticket(conn, good)
        assert not events.redeem_ticket(conn, "made up")
    ledger.later(61)
    with ledger.begin() as conn:
        assert not events.redeem_ticket(conn, old)


def test_refusals_are_60_rows_a_minute_for_an_address_and_status_and_the_rest_a_count(ledger: Ledger) -> None:
    refusal = Refusal("/hook", "10.0.0.1", 422, "no known form", 12, "text/json", "0", [{"key": "a", "bytes": 1}])
    with ledger.begin() as conn:
        for _ in range(75):
            deliveries.record_refusal(conn, refusal)
        deliveries.record_refusal(conn, Refusal("/hook", "10.0.0.2", 422, "no known form"))
        deliveries.record_refusal(conn, Refusal("/hook", "10.0.0.1", 400, "not JSON"))
    counts = ledger.rows("SELECT address, status, is_rest, sum(count) AS n, count(*) AS rows "
                         "FROM refused_deliveries GROUP BY 1, 2, 3 ORDER BY 1, 2, 3")  # fmt: skip
    assert [(c["address"], c["status"], c["is_rest"], c["n"], c["rows"]) for c in counts] == [
        ("10.0.0.1", 400, False, 1, 1),
        ("10.0.0.1", 422, False, 60, 60),
        ("10.0.0.1", 422, True, 15, 1),
        ("10.0.0.2", 422, False, 1, 1),
    ]
    ledger.later(60)
    with ledger.begin() as conn:
        deliveries.record_refusal(conn, refusal)
        newest = deliveries.last_refusals(conn, 1)[0]
    assert (newest["count"], newest["keys"]) == (1, [{"key": "a", "bytes": 1}])


def test_receipts_are_listed_by_each_filter(ledger: Ledger) -> None:
    ledger.settled(0)
    ledger.webhook(0)
    ledger.webhook(60)
    ledger.webhook(1, ref="R2")
    ledger.add_file("R2")

    def outcomes(wanted: Filter) -> list[str]:
        with ledger.begin() as conn:
            return [row["outcome"] for row in receipts.listed(conn, wanted)]

    assert outcomes(Filter()) == ["unknown_file", "dispatched", "held"]
    assert outcomes(Filter(reference="R1")) == ["dispatched", "held"]
    assert outcomes(Filter(reference="R2")) == ["unknown_file"]
    assert outcomes(Filter(reference="R1", outcome="held")) == ["held"]
    assert outcomes(Filter(unserved=True)) == ["dispatched"]
    assert outcomes(Filter(outcome="held")) == ["held"]
    assert outcomes(Filter(event="MODIFIED", limit=1)) == ["unknown_file"]
    assert outcomes(Filter(since=ledger.now + dt.timedelta(seconds=1))) == []
    assert outcomes(Filter(until=ledger.now)) == []
    assert outcomes(Filter(number="no such")) == []


def test_a_period_of_the_schedule_is_claimed_by_one(ledger: Ledger) -> None:
    with ledger.begin() as conn:
        assert [claims.claim(conn, "prune", "2026-W47") for _ in range(2)] == [True, False]
        assert claims.claim(conn, "prune", "2026-W48")
        claims.give_back(conn, "prune", "2026-W47")
        assert [claims.claim(conn, "prune", week) for week in ("2026-W47", "2026-W48")] == [True, False]


def test_workers_that_died_are_forgotten_after_an_hour(ledger: Ledger) -> None:
    ledger.beat("w1")
    ledger.later(1800)
    ledger.beat("w2")
    ledger.later(1801)
    with ledger.begin() as conn:
        assert workers.forget_dead(conn) == 1
    assert ledger.rows("SELECT id FROM workers") == [{"id": "w2"}]


def test_a_scheduler_shows_that_it_lives_and_counts_as_no_worker(ledger: Ledger) -> None:
    ledger.beat("w1")
    with ledger.begin() as conn:
        workers.beat(conn, "s1", "here", 2, workers.SCHEDULER)
        assert workers.living(conn) == 1
    ledger.later(7)
    with ledger.begin() as conn:
        workers.beat(conn, "s1", "here", 2, workers.SCHEDULER)
        assert [(each.id, each.process, each.lives) for each in workers.heard_of(conn)] == [
            ("s1", "scheduler", True),
            ("w1", "worker", False),
        ]
        assert workers.living(conn) == 0


def test_the_sweep_rings_for_each_slice_that_may_start_and_no_other(ledger: Ledger) -> None:
    ledger.settled(0, "R1")
    ledger.settled(0, "R2")
    ledger.webhook(60, "R2")
    with ledger.begin() as conn:
        rings = sweeps.stale_and_due(conn, ledger.rules, 10)
    assert {(ring.work, ring.file_id, ring.concern) for ring in rings} == {
        (Work.HYDRATE_CONCERN, ledger.number("id", "R2"), concern) for concern in ("loan_fields", "borrowers")
    }
    with ledger.begin() as conn:
        assert len(sweeps.stale_and_due(conn, ledger.rules, 1)) == 1


def test_the_status_says_what_each_concern_waits_for(ledger: Ledger) -> None:
    ledger.settled(0)
    ledger.later(60)
    since = ledger.now
    ledger.webhook(60)
    ledger.lease(LOAN_FIELDS)
    ledger.later(1)
    found = ledger.status()
    assert (found.state, found.since, found.mark, found.wanted) == ("stale", since, at(0), at(60))
    assert {c.concern: c.why for c in found.concerns} == {
        "loan_fields": "at work",
        "borrowers": "waits for a worker",
        "assets": "waits for borrowers",
    }


def test_a_status_of_what_we_do_not_have_is_refused_and_a_story_is_told_newest_first(ledger: Ledger) -> None:
    with pytest.raises(UnknownFile), ledger.begin() as conn:
        status.freshness_of(conn, ledger.rules, "R1")
    ledger.settled(0)
    ledger.webhook(60)
    own_write = ledger.register()
    with ledger.begin() as conn:
        story = status.story_of(conn, "R1")
    assert [order["cause"] for order in story["orders"]] == ["webhook, newer", "refresh"]
    assert [run["outcome"] for run in story["runs"]] == ["landed"] * 3
    assert [receipt["outcome"] for receipt in story["receipts"]] == ["dispatched"]
    assert [write["id"] for write in story["own_writes"]] == [own_write]
