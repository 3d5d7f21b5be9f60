"""A batch: every entry decided and written down, in few statements, and no batch in another's way."""

from __future__ import annotations

import threading

import pytest
from databases import WAITS
from simulated import BORROWERS, LOAN_FIELDS, Ledger, at, counted, modified
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from freshness.ledger import batches, files, orders
from freshness.ledger.batches import Entry, counts
from freshness.rules import Rules


@pytest.mark.parametrize("known", [400, 200])
def test_500_entries_over_400_files_are_one_transaction_of_at_most_8_statements(engine: Engine, known: int) -> None:
    ledger = Ledger(engine, Rules(import_unknown=known < 400))
    ledger.do(f"INSERT INTO loans (mlm_reference_number) SELECT 'R' || i FROM generate_series(1, {known}) i")
    entries = [modified(f"R{i % 400 + 1}", i) for i in range(500)]
    with counted(engine) as statements, engine.begin() as conn:
        decided = batches.receive(conn, ledger.rules, entries)
    assert len(statements) <= 8, statements
    assert list(counts(decided.outcomes).values()) == [500, 500, 0, 0]
    assert len(ledger.rows("SELECT 1 FROM mlm_webhook_receipts")) == 500
    assert len(ledger.rows("SELECT 1 FROM refresh_orders")) == 500
    assert len({ring.file_id for ring in decided.rings}) == len(decided.rings) == 400


def test_a_receipt_says_what_came_what_was_decided_and_against_what(ledger: Ledger) -> None:
    ledger.settled(0)
    ledger.receive(Entry("R1", "2026110096", "Modified", at(5.1234567).isoformat()))
    (receipt,) = ledger.receipts()
    loan = ledger.number("loan_id")
    expected = {
        "received_at": ledger.now,
        "file_id": ledger.number("id"),
        "loan_id": loan,
        "lead_id": None,
        "reference_number": "R1",
        "loan_number": "2026110096",
        "event_type": "Modified",
        "last_modified_at": at(5.123457),
        "last_modified_text": at(5.1234567).isoformat(),
        "mark_before": at(0),
        "outcome": "dispatched",
        "reason": "newer",
        "order_number": ledger.number("ordered"),
        "served_at": None,
        "data_updated_at": None,
        "rows_changed": 0,
    }
    assert {name: receipt[name] for name in expected} == expected


def test_entries_of_one_file_are_decided_one_after_the_other(ledger: Ledger) -> None:
    ledger.settled(0)
    ordered = ledger.number("ordered")
    decided = ledger.receive(modified("R1", 5), modified("R1", 5), modified("R1", 3), modified("R1", 9))
    outcomes = [(receipt["outcome"], receipt["order_number"]) for receipt in ledger.receipts()]
    assert outcomes == [
        ("dispatched", ordered + 1),
        ("already_ordered", ordered + 1),
        ("already_ordered", ordered + 1),
        ("dispatched", ordered + 2),
    ]
    assert ledger.number("wanted") == at(9)
    assert len(decided.rings) == 1


def test_a_stamp_that_every_concern_holds_is_held(ledger: Ledger) -> None:
    ledger.settled(5)
    assert [ledger.webhook(5), ledger.webhook(4)] == ["held", "held"]
    assert ledger.state() == "fresh"


def test_a_stamp_that_only_some_hold_is_ordered(ledger: Ledger) -> None:
    ledger.settled(0)
    ledger.webhook(5)
    ledger.read(LOAN_FIELDS, 7)
    assert ledger.webhook(6) == "dispatched"


def test_a_stamp_that_the_one_concern_below_it_will_read_joins_its_order(ledger: Ledger) -> None:
    ledger.settled(0)
    ledger.webhook(5)
    ledger.read(LOAN_FIELDS, 5)
    ledger.read(BORROWERS, 5)
    assert ledger.webhook(5) == "already_ordered"


def test_a_bad_entry_is_a_receipt_of_its_own_and_fails_nobody_else(ledger: Ledger) -> None:
    ledger.settled(0)
    decided = ledger.receive(
        Entry(None, None, None, None, fault="not an object"),
        modified("R1", 5),
        modified("R404", 5),
        Entry("R1", None, "Locked", None),
        Entry("R1", None, None, None),
    )
    assert counts(decided.outcomes) == {"received": 5, "dispatched": 1, "skipped": 3, "rejected": 1}
    assert [(r["outcome"], r["reason"]) for r in ledger.receipts(None)] == [("malformed", "not an object")]
    assert [r["outcome"] for r in ledger.receipts("R404")] == ["unknown_file"]
    assert [r["outcome"] for r in ledger.receipts()] == ["dispatched", "unsupported_event", "unsupported_event"]


def test_unreadable_stamps_order_and_leave_wanted_and_the_next_good_webhook_works(ledger: Ledger) -> None:
    ledger.settled(0)
    for text in ("yesterday", "2099-01-01T00:00:00Z", None):
        assert ledger.webhook(text) == "dispatched"
    assert {r["reason"] for r in ledger.receipts()} == {"unguarded"}
    assert ledger.number("wanted") is None
    assert ledger.webhook(5) == "dispatched"
    assert ledger.number("wanted") == at(5)


def test_deleted_orders_and_a_read_from_behind_does_not_serve_it(ledger: Ledger) -> None:
    ledger.settled(0)
    assert ledger.webhook(99, event="Deleted") == "dispatched"
    assert ledger.receipts()[-1]["reason"] == "deleted_event"
    assert ledger.read(LOAN_FIELDS, 0).outcome == "landed, served nothing"
    assert ledger.state() == "stale"


def test_names_of_events_are_read_in_any_letter_case(ledger: Ledger) -> None:
    ledger.settled(0)
    assert [ledger.webhook(5, event="MODIFIED"), ledger.webhook(6, event=" created ")] == ["dispatched", "dispatched"]


def test_an_empty_batch_is_nothing(ledger: Ledger) -> None:
    assert ledger.receive().outcomes == ()


def test_unknown_files_are_imported_only_by_setting_and_never_by_a_deleted_event(engine: Engine) -> None:
    ledger = Ledger(engine, Rules(resolution_s=0.004, import_unknown=True))
    assert ledger.webhook(5, ref="R9") == "dispatched"
    assert (ledger.number("ordered", "R9"), ledger.number("loan_id", "R9")) == (1, None)
    assert ledger.webhook(5, ref="R8", event="Deleted") == "unknown_file"
    assert ledger.rows("SELECT ref FROM file_freshness") == [{"ref": "R9"}]


def test_wanted_is_not_read_before_another_save_can_no_longer_share_its_stamp(engine: Engine) -> None:
    ledger = Ledger(engine, Rules(resolution_s=1, active=(LOAN_FIELDS,)))
    ledger.settled(0)
    (ring,) = ledger.receive(modified("R1", 60)).rings
    assert ring.delay_s == 1
    assert ledger.lease(LOAN_FIELDS).read_not_before == ledger.now.replace(microsecond=0) + (at(1) - at(0))


def test_batches_with_the_same_files_in_opposite_order_do_not_deadlock(engine: Engine) -> None:
    ledger = Ledger(engine, Rules(resolution_s=0.004))
    ledger.do("INSERT INTO loans (mlm_reference_number) SELECT 'R' || i FROM generate_series(0, 59) i")
    refs = [f"R{i}" for i in range(60)]
    faults: list[Exception] = []
    start = threading.Barrier(4)

    def send(order: list[str], seed: int) -> None:
        start.wait()
        try:
            for turn in range(10):
                with engine.begin() as conn:
                    batches.receive(conn, ledger.rules, [modified(ref, turn * 4 + seed) for ref in order])
        except DBAPIError as fault:
            faults.append(fault)

    orders = [refs, refs[::-1], refs[30:] + refs[:30], refs[::-1]]
    threads = [threading.Thread(target=send, args=(order, seed)) for seed, order in enumerate(orders)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert ledger.rows("SELECT count(*) AS n FROM mlm_webhook_receipts") == [{"n": 2400}]


def test_a_batch_and_an_import_that_both_make_a_file_and_order_another_do_not_deadlock(engine: Engine) -> None:
    """The import has made R9 and goes on to order R1 when the batch, which has both, meets R9."""
    ledger = Ledger(engine, Rules(import_unknown=True))
    known = ledger.add_file("R1")
    faults: list[Exception] = []

    def send() -> None:
        try:
            ledger.receive(modified("R9", 5), modified("R1", 5))
        except DBAPIError as fault:
            faults.append(fault)

    with ledger.begin() as importing:
        files.ensure(importing, "R9")
        sending = threading.Thread(target=send)
        sending.start()
        while not ledger.rows(WAITS):
            assert sending.is_alive()
        orders.place(importing, known, "import")
    sending.join()
    assert faults == []
    assert (ledger.orders("R1"), ledger.orders("R9")) == (["import", "webhook, newer"], ["webhook, newer"])


def test_a_file_that_was_imported_while_a_batch_waited_for_another_is_known_to_it(ledger: Ledger) -> None:
    known = ledger.add_file("R1")
    sending = threading.Thread(target=lambda: ledger.receive(modified("R1", 5), modified("R9", 5)))
    with ledger.begin() as busy:
        orders.place(busy, known, "refresh")
        sending.start()
        while not ledger.rows(WAITS):
            assert sending.is_alive()
        ledger.import_file("R9")
    sending.join()
    assert [each["outcome"] for each in ledger.receipts("R9")] == ["dispatched"]
