"""Concerns switched off and on: a file waits for none that counts nowhere, and for each that counts again."""

from __future__ import annotations

from dataclasses import replace

import pytest
from simulated import ASSETS, BORROWERS, LOAN_FIELDS, Ledger

from freshness.ledger import backlog, events, sweeps, switches
from freshness.ledger.switches import CAUSE

WITHOUT_ASSETS = (LOAN_FIELDS, BORROWERS)


def switch(ledger: Ledger, *, assets: bool) -> None:
    """The processes start again with other names."""
    ledger.rules = replace(ledger.rules, active=(*WITHOUT_ASSETS, ASSETS) if assets else WITHOUT_ASSETS)


def look(ledger: Ledger) -> None:
    for follow in (switches.follow_off, switches.follow_on):
        with ledger.begin() as conn:
            follow(conn, ledger.rules)


@pytest.fixture
def behind(ledger: Ledger) -> Ledger:
    """R1 was ordered by two webhooks and read for both, but for its assets, which were given up."""
    ledger.settled(0)
    ledger.webhook(60)
    for concern in WITHOUT_ASSETS:
        ledger.read(concern, 60)
    ledger.fail(ledger.lease(ASSETS), final=True)
    ledger.later(60)
    return ledger


def test_a_file_that_waited_for_a_concern_that_is_switched_off_is_served_and_its_receipts_with_it(
    behind: Ledger,
) -> None:
    switch(behind, assets=False)
    look(behind)
    assert behind.number("served") == behind.number("ordered") == behind.status().served
    assert behind.state() == "fresh"
    assert behind.receipts()[-1]["served_at"] == behind.now
    with behind.begin() as conn:
        seen = backlog.backlog(conn, behind.rules)
        assert (seen.stale_files, seen.oldest, seen.given_up) == (0, None, 0)
    assert behind.rows("SELECT kind, at FROM file_events ORDER BY id DESC LIMIT 1") == [
        {"kind": events.FRESH, "at": behind.now}
    ]


def test_a_file_that_waits_for_another_too_is_served_as_far_as_that_one_is(behind: Ledger) -> None:
    behind.webhook(70)
    behind.read(LOAN_FIELDS, 70)
    switch(behind, assets=False)
    look(behind)
    assert [receipt["served_at"] for receipt in behind.receipts()] == [behind.now, None]
    assert behind.state() == "stale"
    behind.read(BORROWERS, 70)
    assert behind.state() == "fresh"
    assert behind.receipts()[-1]["served_at"] is not None


def test_a_lease_of_a_concern_that_is_switched_off_is_not_shown(behind: Ledger) -> None:
    behind.webhook(70)
    behind.read(BORROWERS, 70)
    behind.lease(ASSETS)
    switch(behind, assets=False)
    with behind.begin() as conn:
        assert backlog.leases(conn, behind.rules) == []


def test_a_concern_that_is_switched_on_is_read_for_every_file_once(behind: Ledger) -> None:
    switch(behind, assets=False)
    look(behind)
    behind.webhook(70)
    for concern in WITHOUT_ASSETS:
        behind.read(concern, 70)
    switch(behind, assets=True)
    look(behind)
    look(behind)
    assert behind.orders().count(CAUSE) == 1
    with behind.begin() as conn:
        assert {ring.concern for ring in sweeps.stale_and_due(conn, behind.rules, 10)} >= {LOAN_FIELDS, ASSETS}
    behind.read_all(70)
    look(behind)
    assert (behind.state(), behind.orders().count(CAUSE)) == ("fresh", 1)


def test_nothing_is_done_about_files_of_which_nothing_was_switched(behind: Ledger) -> None:
    behind.settled(0, "R2")
    behind.add_file("R3")
    before = behind.rows("SELECT * FROM file_freshness ORDER BY id"), behind.receipts()
    look(behind)
    assert (behind.rows("SELECT * FROM file_freshness ORDER BY id"), behind.receipts()) == before
