"""A slice from its lease to its commit: one at a time, nothing older over anything newer, every number kept."""

from __future__ import annotations

import threading
import uuid
from contextlib import suppress

import pytest
from simulated import ASSETS, BORROWERS, LOAN_FIELDS, RECENT, Ledger, at, causes
from sqlalchemy import Engine

from freshness.concerns import Concern
from freshness.errors import LeaseLost
from freshness.ledger import commits, failures, files, leases, sweeps, workers
from freshness.ledger.commits import Landed
from freshness.ledger.files import Owner
from freshness.ledger.leases import Lease, NotNow
from freshness.readiness import Wait
from freshness.rules import Rules


@pytest.fixture
def stale(ledger: Ledger) -> Ledger:
    """R1 is fresh at 0, then a webhook of stamp 60 orders it."""
    ledger.settled(0)
    ledger.later(60)
    assert ledger.webhook(60) == "dispatched"
    ledger.later(5)
    return ledger


def test_a_slice_that_is_taken_is_not_to_be_had_twice(stale: Ledger) -> None:
    stale.lease(LOAN_FIELDS)
    assert stale.take(LOAN_FIELDS, worker="w2") == NotNow(Wait.LEASED)


def test_of_many_threads_exactly_one_gets_a_slice(engine: Engine) -> None:
    ledger = Ledger(engine)
    file_id = ledger.settled(0)
    ledger.webhook(60)
    ledger.beat()
    taken: list[list[Lease] | NotNow] = []
    start = threading.Barrier(5)

    def take() -> None:
        start.wait()
        with ledger.begin() as conn:
            taken.append(leases.take(conn, ledger.rules, file_id, LOAN_FIELDS, "w1", uuid.uuid4()))

    threads = [threading.Thread(target=take) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(isinstance(one, list) for one in taken) == 1
    assert [one for one in taken if isinstance(one, NotNow)] == [NotNow(Wait.LEASED)] * 4


LOCKED = {
    "at work on it": "UPDATE file_concerns SET attempts = attempts WHERE concern = 'loan_fields'",
    "taking it for the first time": (
        "INSERT INTO file_concerns (file_id, concern) SELECT id, 'loan_fields' FROM file_freshness"
    ),
    "committing": "SELECT FROM file_freshness f JOIN file_concerns c ON c.file_id = f.id FOR NO KEY UPDATE",
}


@pytest.mark.parametrize("frozen", LOCKED)
def test_a_slice_whose_rows_a_frozen_process_has_locked_is_not_to_be_had_now_and_rung_for_again(
    ledger: Ledger, frozen: str
) -> None:
    file_id = ledger.add_file()
    ledger.webhook(60)
    if frozen != "taking it for the first time":
        ledger.do("INSERT INTO file_concerns (file_id, concern) VALUES (%(id)s, 'loan_fields')", id=file_id)
    with ledger.begin() as process:
        process.exec_driver_sql(LOCKED[frozen])
        assert ledger.take(LOAN_FIELDS) == NotNow(Wait.LEASED)
        with ledger.begin() as conn:
            assert LOAN_FIELDS in {ring.concern for ring in sweeps.stale_and_due(conn, ledger.rules, 10)}
    assert isinstance(ledger.take(LOAN_FIELDS), Lease)


def test_a_file_that_a_frozen_process_has_locked_is_sent_on_its_way_without_an_announcement(stale: Ledger) -> None:
    file_id = stale.number("id")
    with stale.begin() as process:
        process.exec_driver_sql("SELECT FROM file_freshness FOR NO KEY UPDATE")
        with stale.begin() as conn:
            assert not files.note_fetching(conn, file_id)
    with stale.begin() as conn:
        assert files.note_fetching(conn, file_id)


def test_a_lease_is_void_once_its_workers_beat_is_old_and_its_late_commit_changes_nothing(stale: Ledger) -> None:
    paused = stale.lease(LOAN_FIELDS)
    stale.later(5)
    assert stale.take(LOAN_FIELDS, worker="w2") == NotNow(Wait.LEASED)
    stale.later(2)
    stale.commit(stale.lease(LOAN_FIELDS, worker="w2"), 62)
    before = stale.file(), stale.concern(LOAN_FIELDS), stale.rows("SELECT * FROM loans")
    with pytest.raises(LeaseLost):
        stale.commit(paused, 63)
    assert (stale.file(), stale.concern(LOAN_FIELDS), stale.rows("SELECT * FROM loans")) == before


def test_a_worker_that_was_only_paused_and_lost_nothing_may_commit(stale: Ledger) -> None:
    paused = stale.lease(LOAN_FIELDS)
    stale.later(20)
    assert stale.commit(paused, 60).outcome == "landed"


def test_a_lease_runs_out_even_if_its_worker_lives(stale: Ledger) -> None:
    stale.lease(LOAN_FIELDS)
    stale.later(stale.rules.lease_s + 1)
    assert isinstance(stale.take(LOAN_FIELDS), Lease)


def test_a_slice_that_ends_every_worker_is_taken_up_at_once_then_after_pauses_and_given_up_after_eight(
    stale: Ledger,
) -> None:
    stale.lease(LOAN_FIELDS)
    stale.later(7)
    assert stale.lease(LOAN_FIELDS, worker="of 1").attempts == 1
    for ended in range(2, 8):
        stale.later(7)
        told = stale.take(LOAN_FIELDS, worker="next")
        assert isinstance(told, NotNow)
        assert told.why is Wait.RETRY
        assert told.retry_at is not None
        pause_s, doubled_s = (told.retry_at - stale.now).total_seconds(), 2.0 * 2 ** (ended - 2)
        assert doubled_s / 2 <= pause_s <= doubled_s * 2.5
        stale.later(pause_s)
        assert stale.lease(LOAN_FIELDS, worker=f"of {ended}").attempts == ended
    stale.later(7)
    assert stale.take(LOAN_FIELDS, worker="next") == NotNow(Wait.GIVEN_UP)
    assert stale.concern(LOAN_FIELDS)["last_error"] == leases.ENDED
    assert stale.state() == "stale"


def test_slices_that_ended_two_workers_together_come_back_at_different_moments(stale: Ledger) -> None:
    """Only one of them ends workers: with it each time, the other would be given up too."""
    for worker in ("of both", "of both again"):
        for concern in (LOAN_FIELDS, BORROWERS):
            stale.lease(concern, worker=worker)
        stale.later(7)
    back = [stale.take(concern, worker="next") for concern in (LOAN_FIELDS, BORROWERS)]
    assert all(isinstance(each, NotNow) for each in back)
    assert back[0] != back[1]


def test_a_slice_that_lands_after_it_ended_a_worker_counts_from_nothing_again(stale: Ledger) -> None:
    stale.lease(LOAN_FIELDS)
    stale.later(7)
    stale.commit(stale.lease(LOAN_FIELDS, worker="w2"), 60)
    assert stale.concern(LOAN_FIELDS)["attempts"] == 0


def test_a_worker_that_leaves_gives_its_leases_up(stale: Ledger) -> None:
    stale.lease(LOAN_FIELDS)
    with stale.begin() as conn:
        workers.leave(conn, "w1")
    assert isinstance(stale.take(LOAN_FIELDS, worker="w2"), Lease)


def test_a_lease_given_back_may_be_taken_again_and_counts_as_no_attempt(stale: Ledger) -> None:
    lease = stale.lease(LOAN_FIELDS)
    with stale.begin() as conn:
        leases.release(conn, lease)
    assert stale.lease(LOAN_FIELDS).attempts == 0


def test_a_concern_waits_for_the_one_it_hangs_on_and_begins_when_that_has_landed(stale: Ledger) -> None:
    assert stale.take(ASSETS) == NotNow(Wait.UPSTREAM)
    done = stale.read(BORROWERS, 60)
    assert ASSETS in {ring.concern for ring in done.rings}
    assert isinstance(stale.take(ASSETS), Lease)


def test_other_concerns_wait_until_loan_fields_have_made_the_file(ledger: Ledger) -> None:
    ledger.do("INSERT INTO file_freshness (ref) VALUES ('R1')")
    ledger.webhook(5)
    assert ledger.take(BORROWERS) == NotNow(Wait.LOAN_FIELDS)
    ledger.read(LOAN_FIELDS, 5)
    assert isinstance(ledger.take(BORROWERS), Lease)


def test_a_concern_that_the_lender_lacks_is_never_taken_and_counts_nowhere(stale: Ledger) -> None:
    assert stale.take(Concern.FEES) == NotNow(Wait.SERVED)
    stale.read_all(60)
    assert stale.state() == "fresh"


def test_a_read_that_shows_all_that_was_asked_for_serves_and_moves_every_number(stale: Ledger) -> None:
    assert stale.read(LOAN_FIELDS, 61).outcome == "landed"
    file, concern = stale.file(), stale.concern(LOAN_FIELDS)
    assert (file["mark"], concern["held"], concern["served"], concern["landed"]) == (
        at(61),
        at(61),
        file["ordered"],
        file["ordered"],
    )
    assert stale.rows("SELECT mlm_last_modified_at, is_hydrated, hydrated_at FROM loans") == [
        {"mlm_last_modified_at": at(61), "is_hydrated": True, "hydrated_at": stale.now}
    ]
    assert file["served"] < file["ordered"]


def test_a_read_behind_what_was_asked_for_lands_and_serves_nothing_and_runs_again_with_pauses(stale: Ledger) -> None:
    ordered = stale.number("ordered")
    assert stale.read(LOAN_FIELDS, 59).outcome == "landed, served nothing"
    concern = stale.concern(LOAN_FIELDS)
    assert (concern["held"], concern["landed"]) == (at(59), ordered)
    assert concern["served"] < ordered
    pauses = []
    for _ in range(9):
        retry_at = stale.concern(LOAN_FIELDS)["next_try_at"]
        assert stale.take(LOAN_FIELDS) == NotNow(Wait.RETRY, retry_at)
        pauses.append((retry_at - stale.now).total_seconds())
        stale.later(pauses[-1])
        stale.read(LOAN_FIELDS, 59)
    assert pauses == [0.25, 0.5, 1, 2, 4, 8, 16, 30, 30]
    assert stale.concern(LOAN_FIELDS)["attempts"] == 0


def test_a_read_below_what_a_capture_vouches_for_meanwhile_serves_nothing(stale: Ledger) -> None:
    lease = stale.lease(LOAN_FIELDS)
    stale.do("UPDATE file_freshness SET captured = %(v)s", v=at(64))
    assert stale.commit(lease, 62).outcome == "landed, served nothing"


def test_a_read_older_than_what_is_held_is_thrown_away_and_read_again_soon(stale: Ledger) -> None:
    stale.read(LOAN_FIELDS, 59)
    stale.later(1)
    before = stale.rows("SELECT mark, served, epoch FROM file_freshness")
    assert stale.read(LOAN_FIELDS, 58).outcome == "thrown_away"
    assert stale.concern(LOAN_FIELDS)["held"] == at(59)
    assert stale.rows("SELECT mark, served, epoch FROM file_freshness") == before
    assert stale.take(LOAN_FIELDS) == NotNow(Wait.RETRY, stale.concern(LOAN_FIELDS)["next_try_at"])


def test_an_order_placed_during_the_call_leaves_the_slice_stale(stale: Ledger) -> None:
    lease = stale.lease(LOAN_FIELDS)
    stale.webhook(64)
    done = stale.commit(lease, 64)
    assert done.outcome == "landed"
    assert done.again_s == 0.0
    assert stale.concern(LOAN_FIELDS)["served"] == stale.number("ordered") - 1


def test_served_at_is_set_when_the_last_concern_has_served_and_no_sooner(stale: Ledger) -> None:
    for concern in (LOAN_FIELDS, BORROWERS):
        stale.read(concern, 60)
        assert stale.receipts()[-1]["served_at"] is None
    stale.later(1)
    stale.read(ASSETS, 60)
    assert stale.receipts()[-1]["served_at"] == stale.now


def test_every_commits_rows_count_on_the_receipts_it_serves_the_last_ones_too(stale: Ledger) -> None:
    stale.webhook(61)
    first, second = stale.receipts()[-2:]
    assert first["order_number"] + 1 == second["order_number"]
    stale.read(LOAN_FIELDS, 62, rows=0)
    assert [r["data_updated_at"] for r in stale.receipts()[-2:]] == [None, None]
    stale.read(BORROWERS, 62, rows=2)
    since = stale.now
    stale.later(1)
    stale.read(ASSETS, 62, rows=3)
    assert [(r["rows_changed"], r["data_updated_at"]) for r in stale.receipts()[-2:]] == [(5, since)] * 2
    stale.later(1)
    stale.webhook(70)
    stale.read(LOAN_FIELDS, 70, rows=1)
    assert [r["rows_changed"] for r in stale.receipts()[-3:]] == [5, 5, 1]


def test_a_late_read_serves_whatever_it_shows_and_the_file_is_unconfirmed(stale: Ledger) -> None:
    stale.later(stale.rules.read_lag_s)
    stale.read_all(59)
    assert stale.state() == "unconfirmed"
    assert stale.receipts()[-1]["served_at"] is not None


def test_a_late_read_below_what_is_held_begins_an_epoch(stale: Ledger) -> None:
    epoch, own_write = stale.number("epoch"), stale.register()
    beside = stale.lease(BORROWERS)
    stale.later(stale.rules.read_lag_s)
    assert stale.read(LOAN_FIELDS, -9).outcome == "landed, new epoch"
    file = stale.file()
    assert (file["epoch"], file["mark"], file["captured"], file["wanted"]) == (epoch + 1, at(-9), at(-9), at(-9))
    assert stale.concern(LOAN_FIELDS)["held"] == at(-9)
    assert stale.concern(BORROWERS)["held"] is None
    assert stale.rows("SELECT mlm_last_modified_at AS m FROM loans") == [{"m": at(-9)}]
    assert stale.own_write(own_write)["closed_at"] == stale.now
    assert causes(stale.orders(), "gone back") == 1
    with pytest.raises(LeaseLost):
        stale.commit(beside, 60)
    stale.leave(own_write)
    stale.read_all(-9)
    assert stale.state() == "fresh"


def test_a_racy_stamp_orders_again_once_and_only_when_another_save_could_bear_it_no_more(engine: Engine) -> None:
    ledger = Ledger(engine, Rules(resolution_s=1, active=(LOAN_FIELDS, Concern.FEES)))
    ledger.settled(0)
    ledger.later(30)
    ledger.webhook(RECENT + 30)
    ledger.later(1)
    ledger.read(LOAN_FIELDS, RECENT + 31)
    seen = ledger.now
    ledger.later(0.2)
    ledger.read(Concern.FEES, RECENT + 31)
    assert causes(ledger.orders(), "share the stamp") == 1
    (order,) = ledger.rows("SELECT due_at FROM refresh_orders ORDER BY number DESC LIMIT 1")
    assert (order["due_at"] - seen).total_seconds() == 1
    assert ledger.state() == "stale"
    assert ledger.take(LOAN_FIELDS) == NotNow(Wait.NOT_DUE, order["due_at"])
    with ledger.begin() as conn:
        assert sweeps.stale_and_due(conn, ledger.rules, 10) == []
    ledger.later(0.8)
    ledger.read_all(RECENT + 31)
    assert causes(ledger.orders(), "share the stamp") == 1
    assert ledger.state() == "fresh"


def test_a_stamp_that_was_seen_a_resolution_before_the_call_is_not_racy(engine: Engine) -> None:
    ledger = Ledger(engine, Rules(resolution_s=1, active=(LOAN_FIELDS,)))
    ledger.settled(0)
    ledger.webhook(RECENT)
    ledger.later(1)
    ledger.read(LOAN_FIELDS, RECENT)
    assert ledger.state() == "fresh"


def test_a_stamp_a_day_old_is_not_racy(ledger: Ledger) -> None:
    ledger.settled(-86_400)
    assert causes(ledger.orders(), "share the stamp") == 0


def test_a_read_without_a_stamp_serves_and_the_file_is_unstamped_until_one_has_a_stamp(stale: Ledger) -> None:
    stale.read_all(None)
    assert stale.state() == "unstamped"
    assert stale.concern(LOAN_FIELDS)["held"] == at(0)
    assert stale.webhook(0) == "dispatched"
    assert stale.receipts()[-1]["reason"] == "unguarded"
    stale.read_all(61)
    assert stale.state() == "fresh"


def test_an_older_read_does_not_serve_what_a_webhook_said_of_an_unstamped_file(stale: Ledger) -> None:
    stale.read_all(None)
    assert stale.webhook(61) == "dispatched"
    assert stale.read(LOAN_FIELDS, 60).outcome == "landed, served nothing"
    assert stale.state() == "stale"


def test_errors_back_off_with_jitter_and_are_given_up_after_eight(stale: Ledger) -> None:
    for attempt in range(8):
        done = stale.fail(stale.lease(LOAN_FIELDS))
        assert done.outcome == ("given up" if attempt == 7 else "failed")
        longest = min(2.0 * 2**attempt, 300)
        pause = (stale.concern(LOAN_FIELDS)["next_try_at"] - stale.now).total_seconds()
        assert longest / 2 <= pause <= longest
        stale.later(pause)
    stale.later(3600)
    assert stale.take(LOAN_FIELDS) == NotNow(Wait.GIVEN_UP)
    with stale.begin() as conn:
        assert {ring.concern for ring in sweeps.stale_and_due(conn, stale.rules, 10)} == {BORROWERS}
    assert stale.state() == "stale"
    assert [c.state for c in stale.status().concerns if c.concern == "loan_fields"] == ["given up"]


def test_a_given_up_concern_rests_until_an_order_and_then_begins_anew(stale: Ledger) -> None:
    stale.fail(stale.lease(LOAN_FIELDS), final=True)
    assert stale.take(LOAN_FIELDS) == NotNow(Wait.GIVEN_UP)
    stale.webhook(70)
    assert stale.lease(LOAN_FIELDS).attempts == 0


@pytest.mark.parametrize("final", [True, False])
def test_the_last_error_gives_nothing_up_if_an_order_came_during_the_call(stale: Ledger, final: bool) -> None:
    if not final:
        for _ in range(7):
            stale.fail(stale.lease(LOAN_FIELDS))
            stale.later(300)
    lease = stale.lease(LOAN_FIELDS)
    assert stale.webhook(70) == "dispatched"
    done = stale.fail(lease, final=final)
    assert (done.outcome, [ring.concern for ring in done.rings]) == ("failed", [LOAN_FIELDS])
    stale.later(2)
    assert stale.lease(LOAN_FIELDS).attempts == 1


def test_an_error_is_final_though_an_order_stands_that_the_concern_it_hangs_on_has_not_landed(stale: Ledger) -> None:
    stale.read(BORROWERS, 60)
    stale.webhook(70)
    assert stale.fail(stale.lease(ASSETS), final=True).outcome == "given up"
    assert stale.take(ASSETS) == NotNow(Wait.GIVEN_UP)


def test_a_commit_forgets_errors(stale: Ledger) -> None:
    stale.fail(stale.lease(LOAN_FIELDS))
    stale.later(9)
    stale.read(LOAN_FIELDS, 59)
    concern = stale.concern(LOAN_FIELDS)
    assert (concern["attempts"], concern["last_error"], concern["first_error_at"]) == (0, None, None)


def test_an_error_of_a_slice_that_lost_its_lease_is_not_written_down(stale: Ledger) -> None:
    lost = stale.lease(LOAN_FIELDS)
    stale.later(7)
    stale.lease(LOAN_FIELDS, worker="w2")
    before = stale.concern(LOAN_FIELDS)
    assert stale.fail(lost).outcome == "lease lost"
    assert stale.concern(LOAN_FIELDS) == before


def test_a_slice_that_waits_for_borrowers_orders_them_once_for_each_stamp(stale: Ledger) -> None:
    stale.read(BORROWERS, 60)
    for _ in range(2):
        lease = stale.lease(ASSETS)
        with stale.begin() as conn:
            done = failures.waits_for_borrowers(conn, stale.rules, lease, stale.reading(64), "MissingBorrower: 1")
        assert done.outcome == "waits for borrowers"
        stale.later(30)
        stale.read(BORROWERS, 63) if stale.take(BORROWERS) == NotNow(Wait.SERVED) else None
    assert causes(stale.orders(), "whom the borrowers do not hold") == 1
    assert stale.number("wanted") == at(64)


def test_an_own_write_whose_exit_commits_after_the_lease_is_an_order(stale: Ledger) -> None:
    own_write = stale.register(capture=False)
    stale.later(1)
    with stale.engine.connect() as portal:
        portal.exec_driver_sql("SELECT set_config('mlm.now', %(now)s, true)", {"now": stale.now.isoformat()})
        portal.exec_driver_sql("UPDATE loans SET note_rate = 4")
        portal.exec_driver_sql(
            "UPDATE own_writes SET exited_at = mlm_now(), exited_well = true WHERE id = %(id)s", {"id": own_write}
        )
        stale.later(1)
        lease = stale.lease(BORROWERS)
        portal.commit()
    stale.later(1)
    stale.commit(lease, 66)
    assert causes(stale.orders(), "own write ended while the slice was at work") == 1


def test_a_run_leaves_a_row_that_tells_how_it_went(stale: Ledger) -> None:
    stale.read(LOAN_FIELDS, 61, rows=1)
    stale.fail(stale.lease(BORROWERS))
    runs = stale.rows("SELECT concern, outcome, stamp, rows_changed, error FROM slice_runs ORDER BY id DESC LIMIT 2")
    assert runs == [
        {"concern": "borrowers", "outcome": "failed", "stamp": None, "rows_changed": None, "error": "McFault: no"},
        {"concern": "loan_fields", "outcome": "landed", "stamp": at(61), "rows_changed": {"loans": 1}, "error": None},
    ]


def test_auto_becomes_fine_for_good_once_webhook_and_read_showed_the_same_fraction(engine: Engine) -> None:
    ledger = Ledger(engine, Rules(active=(LOAN_FIELDS,)))
    ledger.settled(0)
    resolution = "SELECT auto_resolution_s AS s FROM stamp_calibration"
    ledger.webhook(40)
    ledger.later(20)
    ledger.read(LOAN_FIELDS, 40)
    assert ledger.rows(resolution) == [{"s": 1}]
    ledger.later(20)
    ledger.webhook(60.123)
    assert ledger.number("wanted") == at(60)
    ledger.later(20)
    ledger.read(LOAN_FIELDS, 60.123)
    assert ledger.rows(resolution) == [{"s": 0.004}]


def test_a_commit_under_a_token_that_is_not_ours_lands_nothing(stale: Ledger) -> None:
    lease = stale.lease(LOAN_FIELDS)
    stale.do("UPDATE file_concerns SET lease_token = NULL")
    owner = Owner("loan", stale.number("loan_id"))
    with suppress(LeaseLost), stale.begin() as conn:
        conn.exec_driver_sql("UPDATE loans SET note_rate = 4")
        commits.commit_read(conn, stale.rules, lease, stale.reading(60), Landed(owner, {"loans": 1}))
    assert stale.rows("SELECT note_rate FROM loans") == [{"note_rate": None}]
