"""Files come, are ordered again, turn from lead to loan, and go."""

from __future__ import annotations

import threading

import pytest
from simulated import ASSETS, BORROWERS, LOAN_FIELDS, Ledger, at, causes, not_found, purge

from freshness.errors import LeaseLost, UnknownFile
from freshness.ledger import captures, events, failures, files, imports, own_writes, status
from freshness.ledger.files import FileRef, Kind, Owner
from freshness.ledger.leases import Lease, NotNow
from freshness.readiness import Wait

LOAN = FileRef("loan", "R1")


@pytest.fixture
def stale(ledger: Ledger) -> Ledger:
    """R1 was fresh at 0 and is ordered at 60."""
    ledger.settled(0)
    ledger.webhook(60)
    return ledger


def test_an_import_makes_the_file_with_an_order_and_the_first_read_says_what_it_is(ledger: Ledger) -> None:
    placed = ledger.import_file()
    assert (placed.number, len(placed.rings)) == (1, 1)
    assert (ledger.number("kind"), ledger.state()) == (None, "stale")
    ledger.receive()
    ledger.webhook(5)
    done = ledger.read(LOAN_FIELDS, 5)
    file = ledger.file()
    assert done.owner == files.Owner("loan", file["loan_id"])
    assert (file["kind"], file["loan_id"] is not None) == ("loan", True)
    assert [r["loan_id"] for r in ledger.receipts()] == [file["loan_id"]]
    ledger.read(BORROWERS, 5)
    ledger.read(ASSETS, 5)
    assert ledger.state() == "fresh"


def test_of_two_that_make_a_file_at_once_both_find_it(ledger: Ledger) -> None:
    found: list[int] = []

    def make() -> None:
        with ledger.begin() as conn:
            found.append(files.ensure(conn, "R1"))

    with ledger.begin() as conn:
        first = files.ensure(conn, "R1")
        second = threading.Thread(target=make)
        second.start()
        second.join(0.3)
        assert second.is_alive()
    second.join()
    assert found == [first]


def test_of_two_that_seed_a_lead_at_once_both_find_it(ledger: Ledger) -> None:
    def seed() -> None:
        with ledger.begin() as conn:
            own_writes.seed_mark(conn, ledger.rules, FileRef("lead", "R1"), at(4).isoformat())

    with ledger.begin() as conn:
        own_writes.seed_mark(conn, ledger.rules, FileRef("lead", "R1"), at(3).isoformat())
        second = threading.Thread(target=seed)
        second.start()
        second.join(0.3)
        assert second.is_alive()
    second.join()
    assert ledger.number("captured") == at(4)


def test_refresh_orders_what_we_have_and_refuses_what_we_have_not(stale: Ledger) -> None:
    with stale.begin() as conn:
        assert files.refresh(conn, stale.rules, LOAN).number == stale.number("ordered") + 1
    for unknown in (FileRef("lead", "R1"), FileRef("loan", "R2")):
        with pytest.raises(UnknownFile), stale.begin() as conn:
            files.refresh(conn, stale.rules, unknown)


def test_a_file_is_gone_when_loan_fields_met_not_found_twice_a_minute_apart(stale: Ledger) -> None:
    epoch = stale.number("epoch")
    assert not_found(stale, stale.lease(LOAN_FIELDS)).outcome == "not_found"
    retry = stale.concern(LOAN_FIELDS)["next_try_at"]
    assert 60 < (retry - stale.now).total_seconds() < 62
    assert stale.take(LOAN_FIELDS) == NotNow(Wait.RETRY, retry)
    own_write = stale.register()
    stale.later(61)
    assert not_found(stale, stale.lease(LOAN_FIELDS)).outcome == "purged"
    file = stale.file()
    assert (file["deleted_at"], file["epoch"], file["mark"], file["wanted"], file["captured"]) == (
        stale.now, epoch + 1, None, None, None,
    )  # fmt: skip
    assert stale.rows("SELECT DISTINCT held, served FROM file_concerns") == [{"held": None, "served": file["ordered"]}]
    assert stale.rows("SELECT deleted_at AS d FROM loans") == [{"d": stale.now}]
    assert stale.state() == "deleted"
    assert stale.receipts()[-1]["served_at"] == stale.now
    assert stale.own_write(own_write)["closed_at"] == stale.now
    assert stale.rows("SELECT kind FROM file_events ORDER BY id DESC LIMIT 1") == [{"kind": events.PURGED}]
    assert stale.number("confirm_at") == stale.number("doubted_until"), "a webhook told of it just before"


def test_an_answer_in_between_begins_the_count_anew(stale: Ledger) -> None:
    not_found(stale, stale.lease(LOAN_FIELDS))
    stale.later(61)
    stale.read(LOAN_FIELDS, 59)
    stale.later(61)
    assert not_found(stale, stale.lease(LOAN_FIELDS)).outcome == "not_found"


def test_an_order_within_the_minute_is_read_but_purges_nothing(stale: Ledger) -> None:
    not_found(stale, stale.lease(LOAN_FIELDS))
    stale.later(30)
    stale.webhook(70)
    assert not_found(stale, stale.lease(LOAN_FIELDS)).outcome == "not_found"
    stale.later(31)
    assert not_found(stale, stale.lease(LOAN_FIELDS)).outcome == "purged"


def test_other_slices_that_meet_not_found_wait_for_loan_fields_and_order_it_once(stale: Ledger) -> None:
    stale.read(LOAN_FIELDS, 60)
    assert not_found(stale, stale.lease(BORROWERS)).outcome == "not_found"
    stale.later(40)
    assert not_found(stale, stale.lease(BORROWERS)).outcome == "not_found"
    assert causes(stale.orders(), "met a file that MLM does not have") == 1
    assert stale.concern(BORROWERS)["attempts"] == 0
    assert isinstance(stale.take(LOAN_FIELDS), Lease)


def test_slices_at_work_lose_to_a_purge(stale: Ledger) -> None:
    not_found(stale, stale.lease(LOAN_FIELDS))
    beside = stale.lease(BORROWERS)
    stale.later(61)
    assert not_found(stale, stale.lease(LOAN_FIELDS)).outcome == "purged"
    with pytest.raises(LeaseLost):
        stale.commit(beside, 60)


def test_a_purge_whose_lease_is_lost_is_rolled_back(stale: Ledger) -> None:
    not_found(stale, stale.lease(LOAN_FIELDS))
    stale.later(61)
    lease = stale.lease(LOAN_FIELDS)
    stale.later(7)
    stale.lease(LOAN_FIELDS, worker="w2")
    with pytest.raises(LeaseLost), stale.begin() as conn:
        failures.gone(conn, stale.rules, lease)


def test_a_webhook_that_came_while_mlm_was_asked_is_not_swallowed_by_the_purge(stale: Ledger) -> None:
    not_found(stale, stale.lease(LOAN_FIELDS))
    stale.later(61)
    lease = stale.lease(LOAN_FIELDS)
    stale.webhook(130)
    assert not_found(stale, lease).outcome == "purged"
    assert stale.receipts()[-1]["served_at"] is None
    stale.read_all(130)
    assert stale.state() == "fresh"
    assert stale.receipts()[-1]["served_at"] == stale.now


def test_a_purged_file_comes_back_if_mlm_has_it(stale: Ledger) -> None:
    purge(stale)
    assert stale.webhook(200) == "dispatched"
    assert stale.state() == "deleted"
    assert stale.take(BORROWERS) == NotNow(Wait.LOAN_FIELDS)
    stale.read_all(200)
    assert stale.state() == "fresh"
    assert stale.rows("SELECT deleted_at AS d, mlm_last_modified_at AS m FROM loans") == [{"d": None, "m": at(200)}]


def test_a_file_that_was_never_there_is_deleted_too(ledger: Ledger) -> None:
    ledger.import_file()
    purge(ledger)
    assert ledger.state() == "deleted"


@pytest.fixture
def lead(ledger: Ledger) -> Ledger:
    """R1 is a lead, fresh at 0 and ordered at 60."""
    ledger.settled(0, kind="lead")
    ledger.webhook(60)
    return ledger


def become_loan(ledger: Ledger, lease: Lease) -> Owner:
    ledger.do("INSERT INTO loans (mlm_reference_number) VALUES ('R1') ON CONFLICT DO NOTHING")
    (row,) = ledger.rows("SELECT id FROM loans")
    owner = Owner("loan", row["id"])
    assert ledger.commit(lease, 60, owner=owner).outcome == "landed, became a loan"
    return owner


def test_a_lead_becomes_a_loan_with_its_receipts_and_one_order(lead: Ledger) -> None:
    own_write = lead.own_write(_register_lead(lead))
    beside = lead.lease(BORROWERS)
    ordered = lead.number("ordered")
    owner = become_loan(lead, lead.lease(LOAN_FIELDS))
    file = lead.file()
    assert (file["kind"], file["loan_id"], file["ordered"]) == ("loan", owner.id, ordered + 1)
    assert {(r["loan_id"], r["lead_id"]) for r in lead.receipts()} == {(owner.id, None)}
    with pytest.raises(LeaseLost):
        lead.commit(beside, 60, owner=owner)
    lead.read_all(60)
    assert lead.own_write(own_write["id"])["file_id"] == file["id"]
    for ref in (FileRef("loan", "R1"), FileRef("lead", "R1")):
        with lead.begin() as conn:
            assert files.find(conn, ref).id == file["id"]


def test_a_loan_that_the_portal_made_of_a_lead_is_written_to_and_ordered_before_its_fields_are_read(
    lead: Ledger,
) -> None:
    lead.read_all(60)
    with pytest.raises(UnknownFile):
        lead.register()
    lead.add_file("R1")
    captured, under_way = lead.register(), lead.register(capture=False)
    assert lead.leave(captured).outcome == "ordered"  # closed by the other
    with lead.begin() as conn:
        assert files.refresh(conn, lead.rules, LOAN).number == lead.number("ordered") + 1
    owner = become_loan(lead, lead.lease(LOAN_FIELDS))
    assert lead.leave(under_way).outcome == "ordered"
    lead.read_all(60)
    assert (lead.state(), lead.number("loan_id")) == ("fresh", owner.id)


def test_what_a_portal_wrote_through_such_a_loan_is_captured(lead: Ledger) -> None:
    lead.read_all(60)
    lead.add_file("R1")
    own_write = lead.register()
    assert lead.leave(own_write).outcome == "capturing"
    with lead.begin() as conn:
        capture = captures.begin(conn, own_write)
        assert capture is not None
        captures.finish(conn, lead.rules, capture, at(70).isoformat())
    assert (lead.number("captured"), lead.state()) == (at(70), "unconfirmed")


def test_such_a_loan_is_not_fresh_however_fresh_the_lead_is(lead: Ledger) -> None:
    lead.read_all(60)
    lead.add_file("R1")

    def state(kind: Kind) -> str:
        with lead.begin() as conn:
            return status.freshness_of(conn, lead.rules, FileRef(kind, "R1")).state

    assert (state("lead"), state("loan")) == ("fresh", "unconfirmed")
    lead.webhook(70)
    assert state("loan") == "stale"
    become_loan(lead, lead.lease(LOAN_FIELDS))
    lead.read_all(70)
    assert (state("lead"), state("loan")) == ("fresh", "fresh")


def test_a_loan_is_never_called_a_lead(ledger: Ledger) -> None:
    ledger.settled(0)
    with pytest.raises(UnknownFile), ledger.begin() as conn:
        files.find(conn, FileRef("lead", "R1"))


def test_an_import_resumes_where_it_was_broken_off(ledger: Ledger) -> None:
    for ref in ("R3", "R1", "R2"):
        ledger.add_file(ref)
    with ledger.begin() as conn:
        run, resumed = imports.start_or_resume(conn, ["R1", "R2", "R3", "R4"])
        assert not resumed
    with ledger.begin() as conn:
        assert len(imports.order_next(conn, run, limit=2)) == 2
    with ledger.begin() as conn:
        assert imports.start_or_resume(conn, ["R4", "R3", "R2", "R1"]) == (run, True)
        assert len(imports.order_next(conn, run)) == 2
        assert imports.order_next(conn, run) == []
        progress = imports.progress(conn, run)
    assert (progress.total, progress.ordered, progress.served) == (4, 4, 0)
    assert ledger.rows("SELECT DISTINCT ordered FROM file_freshness") == [{"ordered": 1}]
    ledger.read_all(0, ref="R1")
    not_found(ledger, ledger.lease(LOAN_FIELDS, ref="R2"))
    ledger.later(61)
    not_found(ledger, ledger.lease(LOAN_FIELDS, ref="R2"))
    ledger.fail(ledger.lease(LOAN_FIELDS, ref="R3"), final=True)
    with ledger.begin() as conn:
        progress = imports.progress(conn, run)
        assert (progress.served, progress.missing, progress.given_up) == (2, 1, 1)
        imports.finish(conn, run)
        assert imports.start_or_resume(conn, ["R1", "R2", "R3", "R4"]) == (run + 1, False)


def test_an_import_of_all_names_every_loan_and_lead_once(ledger: Ledger) -> None:
    ledger.add_file("R1")
    ledger.add_file("R2", "lead")
    with ledger.begin() as conn:
        run, _ = imports.start_or_resume(conn, None)
        assert imports.progress(conn, run).total == 2


def test_a_file_that_mlm_had_deleted_before_is_no_failure_of_an_import_of_all(stale: Ledger) -> None:
    purge(stale)
    gone_since = stale.now
    stale.add_file("R2")
    stale.later(60)
    with stale.begin() as conn:
        run, _ = imports.start_or_resume(conn, None)
        named, _ = imports.start_or_resume(conn, ["R1"])
        imports.order_next(conn, named)
        imports.order_next(conn, run)
    for ref in ("R1", "R2"):
        not_found(stale, stale.lease(LOAN_FIELDS, ref))
    stale.later(61)
    for ref in ("R1", "R2"):
        not_found(stale, stale.lease(LOAN_FIELDS, ref))
    with stale.begin() as conn:
        progress = imports.progress(conn, run)
        assert (progress.served, progress.missing, progress.deleted, progress.done) == (2, 1, 1, True)
        assert [each.ref for each in imports.shortfalls(conn, run)] == ["R2"]
        assert (imports.progress(conn, named).missing, imports.progress(conn, named).deleted) == (1, 0)
        assert [each.ref for each in imports.shortfalls(conn, named)] == ["R1"]
    assert stale.number("deleted_at") == stale.status().since == gone_since
    assert stale.rows("SELECT deleted_at AS d FROM loans WHERE mlm_reference_number = 'R1'") == [{"d": gone_since}]


def test_a_file_that_came_back_and_went_during_an_import_of_all_is_missing(stale: Ledger) -> None:
    purge(stale)
    stale.later(60)
    with stale.begin() as conn:
        run, _ = imports.start_or_resume(conn, None)
        imports.order_next(conn, run)
    stale.read(LOAN_FIELDS, 120)
    stale.webhook(121)
    purge(stale)
    with stale.begin() as conn:
        assert (imports.progress(conn, run).missing, imports.progress(conn, run).deleted) == (1, 0)


def test_an_import_locks_its_files_in_ascending_id_so_that_no_batch_meets_it_crosswise(ledger: Ledger) -> None:
    for ref in ("R2", "R1"):
        ledger.add_file(ref)
    faults: list[BaseException] = []

    def order() -> None:
        with ledger.begin() as conn:
            run, _ = imports.start_or_resume(conn, ["R1", "R2"])
            imports.order_next(conn, run)

    lock = "SELECT 1 FROM file_freshness WHERE ref = %(ref)s FOR NO KEY UPDATE"
    threading.excepthook = lambda args: faults.append(args.exc_value)  # type: ignore[arg-type,assignment]
    with ledger.begin() as batch:
        batch.exec_driver_sql(lock, {"ref": "R2"})
        importing = threading.Thread(target=order)
        importing.start()
        importing.join(0.3)
        batch.exec_driver_sql("SET LOCAL lock_timeout = '500ms'")
        batch.exec_driver_sql(lock, {"ref": "R1"})
    importing.join()
    threading.excepthook = threading.__excepthook__
    assert faults == []


def _register_lead(ledger: Ledger) -> int:
    with ledger.begin() as conn:
        return own_writes.register(conn, ledger.rules, FileRef("lead", "R1"), capture=True)
