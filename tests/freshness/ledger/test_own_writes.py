"""The portal's own writes: registered, exited, captured or closed; whatever is doubtful orders."""

from __future__ import annotations

import datetime as dt
import threading

import pytest
from databases import WAITS
from simulated import BORROWERS, LOAN_FIELDS, RECENT, Ledger, at, causes, counted, modified

from freshness.errors import UnknownFile, UnknownOwnWrite, UnreadableStamp
from freshness.ledger import batches, captures, own_writes, status, sweeps
from freshness.ledger.captures import Capture
from freshness.ledger.files import FileRef
from freshness.ledger.orders import place
from freshness.ledger.own_writes import Exited
from freshness.ledger.rows import FileRow, file_under_lock

LOAN = FileRef("loan", "R1")


@pytest.fixture
def fresh(ledger: Ledger) -> Ledger:
    """R1 is fresh at 0, and has been for a while."""
    ledger.settled(0)
    ledger.later(600)
    return ledger


def begin(ledger: Ledger, own_write: int) -> Capture:
    with ledger.begin() as conn:
        capture = captures.begin(conn, own_write)
    assert capture is not None
    return capture


def capture(ledger: Ledger, own_write: int, stamp: float | None) -> None:
    begun = begin(ledger, own_write)
    with ledger.begin() as conn:
        captures.finish(conn, ledger.rules, begun, at(stamp).isoformat() if stamp is not None else None)


def capture_mark(ledger: Ledger, since: dt.datetime | None) -> Exited:
    with ledger.begin() as conn:
        return own_writes.capture_mark(conn, ledger.rules, LOAN, since)


def test_a_good_exit_queues_a_capture_which_vouches_for_the_echo(fresh: Ledger) -> None:
    own_write = fresh.register()
    fresh.later(1)
    exited = fresh.leave(own_write)
    assert (exited.outcome, [ring.own_write_id for ring in exited.rings]) == ("capturing", [own_write])
    capture(fresh, own_write, 5)
    assert (fresh.number("mark"), fresh.number("captured")) == (at(5), at(5))
    assert fresh.rows("SELECT mlm_last_modified_at AS m FROM loans") == [{"m": at(5)}]
    assert fresh.webhook(5) == "own_echo"
    assert fresh.state() == "unconfirmed"
    assert fresh.webhook(6) == "dispatched"


def test_a_second_capture_does_nothing(fresh: Ledger) -> None:
    own_write = fresh.register()
    fresh.leave(own_write)
    twice = begin(fresh, own_write)
    with fresh.begin() as conn:
        assert captures.begin(conn, own_write) is None, "it is under way"
    fresh.later(6)
    capture(fresh, own_write, 5)
    before = fresh.file()
    with fresh.begin() as conn:
        assert captures.finish(conn, fresh.rules, twice, at(9).isoformat()) == ()
        assert captures.begin(conn, own_write) is None
    assert fresh.file() == before
    assert fresh.rows("SELECT mlm_last_modified_at AS m FROM loans") == [{"m": at(5)}]


def test_an_own_write_without_capture_has_ended_with_its_good_exit(fresh: Ledger) -> None:
    own_write = fresh.register(capture=False)
    exited = fresh.leave(own_write)
    assert (exited.outcome, exited.rings) == ("nothing", ())
    assert fresh.webhook(5) == "dispatched"


def test_a_bad_exit_closes_and_orders(fresh: Ledger) -> None:
    own_write = fresh.register()
    exited = fresh.leave(own_write, ok=False)
    assert exited.outcome == "ordered"
    assert len(exited.rings) == 1
    row = fresh.own_write(own_write)
    assert (row["exited_well"], row["capture_wanted"], row["closed_at"]) == (False, False, fresh.now)
    assert causes(fresh.orders(), "ended badly") == 1


def test_two_registrations_close_each_other_and_both_order(fresh: Ledger) -> None:
    first = fresh.register()
    second = fresh.register()
    assert fresh.own_write(first)["closed_at"] == fresh.own_write(second)["closed_at"] == fresh.now
    assert [fresh.leave(first).outcome, fresh.leave(second).outcome] == ["ordered", "ordered"]


def test_a_registration_after_an_exit_closes_nobody(fresh: Ledger) -> None:
    first = fresh.register()
    fresh.leave(first)
    second = fresh.register()
    assert fresh.own_write(first)["closed_at"] is fresh.own_write(second)["closed_at"] is None


def test_a_slices_commit_closes_an_open_own_write_which_then_orders(fresh: Ledger) -> None:
    fresh.webhook(4)
    own_write = fresh.register()
    fresh.read(LOAN_FIELDS, 4)
    assert fresh.own_write(own_write)["closed_at"] == fresh.now
    assert fresh.leave(own_write).outcome == "ordered"
    assert fresh.own_write(own_write)["capture_wanted"] is False


def test_a_file_is_unconfirmed_while_a_closed_own_write_has_not_exited(fresh: Ledger) -> None:
    fresh.webhook(4)
    own_write = fresh.register()
    fresh.read_all(4)
    assert fresh.state() == "unconfirmed"
    assert "own write" in (fresh.status().why or "")
    fresh.leave(own_write)
    assert fresh.state() == "stale"


def test_a_list_of_files_says_of_each_what_it_says_alone_in_as_many_statements_as_of_one(fresh: Ledger) -> None:
    ids = [fresh.number("id"), fresh.settled(0, "R2"), fresh.settled(0, "R3")]
    fresh.webhook(4)
    fresh.register()
    fresh.read_all(4)
    with fresh.begin() as conn:
        with counted(fresh.engine) as of_one:
            status.freshness_of_each(conn, fresh.rules, ids[1:2])
        with counted(fresh.engine) as of_all:
            found = status.freshness_of_each(conn, fresh.rules, ids)
    assert [file.state for file in found] == ["unconfirmed", "fresh", "fresh"]
    assert len(of_all) == len(of_one)


def test_an_own_write_that_exited_while_a_slice_was_at_work_is_an_order(fresh: Ledger) -> None:
    fresh.webhook(4)
    lease = fresh.lease(LOAN_FIELDS)
    own_write = fresh.register(capture=False)
    fresh.leave(own_write)
    fresh.commit(lease, 5)
    assert causes(fresh.orders(), "own write ended while the slice was at work") == 1
    fresh.read(LOAN_FIELDS, 5)
    fresh.read(BORROWERS, 5)
    assert causes(fresh.orders(), "own write ended while the slice was at work") == 1


def test_the_capture_of_an_own_write_closed_since_raises_the_mark_alone(fresh: Ledger) -> None:
    fresh.webhook(4)
    own_write = fresh.register()
    fresh.leave(own_write)
    fresh.read(LOAN_FIELDS, 4)
    capture(fresh, own_write, 5)
    assert (fresh.number("mark"), fresh.number("captured")) == (at(5), None)


def test_a_capture_that_meets_a_new_epoch_orders_and_moves_no_mark(fresh: Ledger) -> None:
    own_write = fresh.register()
    fresh.leave(own_write)
    begun = begin(fresh, own_write)
    fresh.do("UPDATE file_freshness SET epoch = epoch + 1")
    with fresh.begin() as conn:
        assert len(captures.finish(conn, fresh.rules, begun, at(9).isoformat())) == 1
    assert (fresh.number("mark"), fresh.number("captured")) == (at(0), None)
    assert fresh.rows("SELECT mlm_last_modified_at AS m FROM loans") == [{"m": at(0)}]
    assert fresh.own_write(own_write)["captured_at"] == fresh.now


def test_a_capture_without_a_stamp_orders(fresh: Ledger) -> None:
    own_write = fresh.register()
    fresh.leave(own_write)
    capture(fresh, own_write, None)
    assert causes(fresh.orders(), "met no stamp") == 1


def test_a_capture_that_fails_is_rung_again_and_given_up_with_an_order(fresh: Ledger) -> None:
    own_write = fresh.register()
    fresh.leave(own_write)
    for attempt in range(8):
        with fresh.begin() as conn:
            assert [ring.own_write_id for ring in sweeps.uncaptured(conn, 10)] == [own_write]
        begun = begin(fresh, own_write)
        assert begun.attempts == attempt
        with fresh.begin() as conn:
            rings = captures.failed(conn, begun, "Timeout")
        assert len(rings) == (attempt == 7)
        with fresh.begin() as conn:
            assert sweeps.uncaptured(conn, 10) == []
        fresh.later(60)
    with fresh.begin() as conn:
        assert sweeps.uncaptured(conn, 10) == []
    assert causes(fresh.orders(), "given up") == 1


def test_a_second_exit_changes_nothing_but_a_bad_one_still_orders(fresh: Ledger) -> None:
    own_write = fresh.register()
    fresh.leave(own_write)
    assert fresh.leave(own_write).outcome == "nothing"
    assert fresh.leave(own_write, ok=False).outcome == "ordered"
    assert fresh.own_write(own_write)["exited_well"] is True


def test_an_exit_of_somebody_elses_own_write_is_refused(fresh: Ledger) -> None:
    fresh.add_file("R2")
    own_write = fresh.register()
    with pytest.raises(UnknownOwnWrite):
        fresh.leave(own_write, ref="R2")
    with pytest.raises(UnknownFile):
        fresh.leave(own_write, ref="R3")
    assert fresh.own_write(own_write)["exited_at"] is None


def test_a_registration_is_ended_by_the_sweep_after_5_minutes_and_counts_nowhere_then(fresh: Ledger) -> None:
    own_write = fresh.register()
    fresh.later(299)
    with fresh.begin() as conn:
        assert own_writes.end_abandoned(conn) == []
    fresh.later(2)
    with fresh.begin() as conn:
        assert own_writes.end_abandoned(conn) == [fresh.number("id")]
        assert own_writes.end_abandoned(conn) == []
    row = fresh.own_write(own_write)
    assert (row["abandoned_at"], row["closed_at"], row["exited_at"]) == (fresh.now, fresh.now, None)
    assert causes(fresh.orders(), "never exited") == 1
    fresh.read_all(5)
    assert fresh.state() == "fresh"
    other = fresh.register()
    assert fresh.own_write(other)["closed_at"] is None
    assert fresh.leave(own_write).outcome == "ordered"
    assert fresh.own_write(own_write)["capture_wanted"] is False


def test_an_abandoned_own_write_does_not_make_every_later_commit_order(fresh: Ledger) -> None:
    fresh.register()
    fresh.later(301)
    with fresh.begin() as conn:
        own_writes.end_abandoned(conn)
    second = fresh.register(capture=False)
    fresh.leave(second)
    fresh.read_all(5)
    assert causes(fresh.orders(), "at work") == 0


@pytest.mark.parametrize("own_writes_open", [True, False])
def test_who_closes_and_locks_waits_for_others_and_sees_what_they_have_committed(
    fresh: Ledger, own_writes_open: bool
) -> None:
    """An order is being placed, and an exit: the file's row is read as both have left it, and no own write is open."""
    file_id, before = fresh.number("id"), fresh.number("ordered")
    leaving = [fresh.register(), fresh.register(capture=False)] if own_writes_open else []
    seen: list[FileRow | None] = []

    def close_and_lock() -> None:
        with fresh.begin() as conn:
            seen.append(own_writes.close_open_and_lock(conn, file_id))

    with fresh.begin() as conn:
        place(conn, file_id, "refresh")
        for each in leaving[:1]:
            own_writes.exit_own_write(conn, fresh.rules, LOAN, each, True)
        locking = threading.Thread(target=close_and_lock)
        locking.start()
        while not fresh.rows(WAITS):
            assert locking.is_alive()
    locking.join()
    (row,) = seen
    assert row is not None
    assert row.ordered == fresh.number("ordered") > before
    assert all(fresh.own_write(each)["closed_at"] is not None for each in leaving)


def test_a_registration_does_not_wait_for_the_files_row_which_somebody_may_hold_for_long(fresh: Ledger) -> None:
    file_id = fresh.number("id")
    for hold in (
        lambda conn: file_under_lock(conn, file_id),
        lambda conn: batches.receive(conn, fresh.rules, [modified("R1", 3)]),
        lambda conn: place(conn, file_id, "refresh"),
    ):
        with fresh.begin() as busy:
            hold(busy)
            with fresh.begin() as conn:
                conn.exec_driver_sql("SET LOCAL lock_timeout = '2s'")
                own_writes.register(conn, fresh.rules, LOAN, capture=True)


def test_the_short_form_captures_if_no_slice_landed_beside_the_write(fresh: Ledger) -> None:
    exited = capture_mark(fresh, fresh.now - dt.timedelta(seconds=5))
    assert exited.outcome == "capturing"
    assert exited.own_write_id is not None
    capture(fresh, exited.own_write_id, 5)
    assert fresh.webhook(5) == "own_echo"


@pytest.mark.parametrize("before", [30, 64])
def test_the_short_form_orders_if_a_slice_landed_since_less_a_minute(fresh: Ledger, before: int) -> None:
    fresh.webhook(4)
    fresh.read_all(4)
    fresh.later(before)
    assert capture_mark(fresh, fresh.now - dt.timedelta(seconds=5)).outcome == "ordered"


def test_the_short_form_counts_an_unsaid_since_and_one_ahead_from_a_timeout_ago(fresh: Ledger) -> None:
    fresh.webhook(4)
    fresh.read_all(4)
    fresh.later(100)
    assert capture_mark(fresh, fresh.now - dt.timedelta(seconds=5)).outcome == "capturing"
    assert capture_mark(fresh, None).outcome == "ordered"
    assert capture_mark(fresh, fresh.now + dt.timedelta(seconds=5)).outcome == "ordered"
    fresh.later(21)
    assert capture_mark(fresh, None).outcome == "capturing"


def test_the_short_form_orders_while_a_slice_is_at_work_or_another_write_under_way(fresh: Ledger) -> None:
    fresh.webhook(4)
    lease = fresh.lease(LOAN_FIELDS)
    assert capture_mark(fresh, fresh.now).outcome == "ordered"
    fresh.commit(lease, 4)
    fresh.later(900)
    fresh.read_all(5)
    fresh.later(900)
    other = fresh.register()
    assert capture_mark(fresh, fresh.now).outcome == "ordered"
    assert fresh.own_write(other)["closed_at"] == fresh.now


def test_a_slice_begun_before_the_short_form_has_committed_orders_again(fresh: Ledger) -> None:
    fresh.webhook(4)
    fresh.later(600)
    with fresh.begin() as portal:
        own_writes.capture_mark(portal, fresh.rules, LOAN, fresh.now)
        fresh.later(1)
        lease = fresh.lease(LOAN_FIELDS)
    fresh.commit(lease, 6)
    assert causes(fresh.orders(), "own write ended while the slice was at work") == 1


def test_seed_mark_makes_lead_and_file_and_vouches_for_the_creations_stamp(ledger: Ledger) -> None:
    with ledger.begin() as conn:
        assert own_writes.seed_mark(conn, ledger.rules, FileRef("lead", "R7"), at(3).isoformat()).outcome == "nothing"
    file = ledger.file("R7")
    assert (file["kind"], file["mark"], file["captured"], file["wanted"], file["ordered"]) == (
        "lead", at(3), at(3), None, 0,
    )  # fmt: skip
    assert ledger.rows("SELECT id, mlm_last_modified_at AS m FROM leads") == [{"id": file["lead_id"], "m": at(3)}]
    assert ledger.webhook(3, ref="R7", event="Created") == "own_echo"
    assert ledger.state("R7") == "unconfirmed"
    assert ledger.webhook(4, ref="R7") == "dispatched"


def test_seed_mark_without_a_stamp_reads_it(ledger: Ledger) -> None:
    with ledger.begin() as conn:
        exited = own_writes.seed_mark(conn, ledger.rules, FileRef("loan", "R7"), None)
    assert exited.outcome == "capturing"
    assert exited.own_write_id is not None
    capture(ledger, exited.own_write_id, RECENT)
    assert ledger.number("captured", "R7") == at(RECENT)


def test_seed_mark_refuses_a_stamp_that_names_no_instant_and_makes_nothing(ledger: Ledger) -> None:
    with pytest.raises(UnreadableStamp), ledger.begin() as conn:
        own_writes.seed_mark(conn, ledger.rules, FileRef("lead", "R7"), "yesterday")
    assert ledger.rows("SELECT 1 FROM leads") == ledger.rows("SELECT 1 FROM file_freshness") == []


def test_seed_mark_never_takes_a_number_back(fresh: Ledger) -> None:
    with fresh.begin() as conn:
        own_writes.seed_mark(conn, fresh.rules, LOAN, at(-50).isoformat())
    assert (fresh.number("mark"), fresh.number("captured")) == (at(0), at(-50))
    assert fresh.rows("SELECT mlm_last_modified_at AS m FROM loans") == [{"m": at(0)}]
