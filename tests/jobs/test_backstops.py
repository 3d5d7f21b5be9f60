"""Backstops: what no webhook told us of is found, healed and counted, whatever was lost on the way."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from databases import FIELD_KEYS, database, emptied_redis
from in_process import APP_CODE, InProcess
from sqlalchemy.exc import ProgrammingError
from whole_house import until

from freshness.ledger import backstops, calibration, own_writes, restores
from freshness.ledger.backstops import Backstop
from freshness.ledger.files import FileRef
from jobs.rounds import EVERY_S
from jobs.worker import WorkerProcess
from mlm_client.sandbox import editing
from mlm_client.sandbox.server import SandboxServer

ROOT = Path(__file__).parents[2]
ONE, TWO, THREE = "R000001", "R000002", "R000003"
SEED = 7


@pytest.fixture(scope="module")
def _mlm() -> Iterator[SandboxServer]:
    with SandboxServer(files=4, seed=SEED) as server:
        yield server


@pytest.fixture(scope="module")
def _imported(_admin: psycopg.Connection, _mlm: SandboxServer) -> Iterator[tuple[str, dt.datetime]]:
    """The name of a database with two files, to be copied for each test, and when they were imported into it."""
    with database(_admin, "imported") as url:
        environment = {"DATABASE_URL": url, "REDIS_URL": emptied_redis(), "FIELD_KEYS": FIELD_KEYS}
        house = InProcess(environment, _mlm)
        house.import_(ONE, TWO)
        house.close()
        yield sa.make_url(url).database or "", house.now()


@pytest.fixture
def database_url(_admin: psycopg.Connection, _imported: tuple[str, dt.datetime]) -> Iterator[str]:
    """A database of this test's own, with the two files that were imported."""
    with database(_admin, "of_two_files", template=_imported[0]) as url:
        yield url


@pytest.fixture
def mlm(_mlm: SandboxServer) -> Iterator[SandboxServer]:
    """The MLM that they were imported from: its files, knobs, chance and list as they were then."""
    backup = _mlm.store.back_up()
    _mlm.maker.random.seed(SEED)
    _mlm.dials.random.seed(SEED)
    yield _mlm
    _mlm.dials.reset()
    _mlm.store.roll_back(backup)
    for ref in _mlm.store.refs():
        _mlm.service.modified.clear(APP_CODE, _mlm.store.newest(ref).content.number)
    _mlm.calls.clear()


@pytest.fixture
def here(environment: dict[str, str], mlm: SandboxServer, _imported: tuple[str, dt.datetime]) -> Iterator[InProcess]:
    """A house whose two files are fresh, and have been for an hour and more."""
    here = InProcess(environment, mlm)
    here.go_to(_imported[1] + dt.timedelta(seconds=4000))
    yield here
    here.close()


class TestRounds:
    def test_a_webhook_that_never_comes_is_healed_within_one_period_and_counted(self, here: InProcess) -> None:
        here.edit(ONE, "fees")
        here.lose()
        here.rounds()
        here.settle()
        assert here.differences(ONE) == []
        assert here.state(ONE) == "fresh"
        report = here.report(Backstop.ROUNDS)
        assert (report.looked, report.ordered, report.healed, report.failed) == (2, 1, 1, 0)

    def test_a_file_that_equals_is_read_no_more_than_its_stamp(self, here: InProcess, mlm: SandboxServer) -> None:
        mlm.calls.clear()
        assert len(here.rounds()) == 2
        assert here.rounds() == []
        assert mlm.calls.counters()["by_operation"] == {"LoadByRefNumber": 2}
        assert here.report(Backstop.ROUNDS).ordered == 0
        here.later(3700)
        assert len(here.rounds()) == 2

    def test_a_change_that_its_webhook_brought_is_nobody_elses_to_heal(self, here: InProcess) -> None:
        here.edit(ONE)
        here.deliver()
        here.rounds()
        here.settle()
        assert here.report(Backstop.ROUNDS).healed == 0

    def test_a_file_that_came_back_to_mlm_without_a_word_comes_back_here(
        self, here: InProcess, mlm: SandboxServer
    ) -> None:
        mlm.store.delete(ONE)
        here.deliver()
        here.settle()
        assert here.state(ONE) == "deleted"
        mlm.store.restore(ONE)
        here.lose()
        here.later(4000)
        here.rounds()
        here.settle()
        assert (here.state(ONE), here.differences(ONE)) == ("fresh", [])

    def test_a_file_that_mlm_deleted_without_a_word_is_purged(self, here: InProcess, mlm: SandboxServer) -> None:
        mlm.store.delete(ONE)
        here.lose()
        here.rounds()
        here.settle()
        assert (here.state(ONE), here.differences(ONE)) == ("deleted", [])
        assert here.report(Backstop.ROUNDS).healed == 1

    def test_a_deleted_file_is_confirmed_too_and_stays_so(self, here: InProcess, mlm: SandboxServer) -> None:
        mlm.store.delete(ONE)
        here.deliver()
        here.settle()
        ordered = here.orders(ONE)
        here.later(4000)
        assert len(here.rounds()) == 2
        here.settle()
        assert here.orders(ONE) == ordered

    def test_they_keep_to_their_share_of_the_rate(self, environment: dict[str, str], mlm: SandboxServer) -> None:
        here = InProcess(environment, mlm, MLM_RATE="20", MLM_CONFIRM_SHARE="0.05")
        for number in range(40):
            here.rows("INSERT INTO file_freshness (ref) VALUES (%(ref)s)", ref=f"X{number}")
        here.later(4000)
        share = here.house.shares[Backstop.ROUNDS]
        chosen = []
        for _ in range(31):
            with here.house.engine.begin() as conn:
                chosen += backstops.next_files(
                    conn, Backstop.ROUNDS, calls_a_second=share.calls_a_second, every_s=share.every_s
                )
            here.later(1)
        assert 38 <= len(chosen) <= 41, "10 s were saved, and 30 have passed, at one call a second"
        assert len(set(chosen)) == len(chosen)
        here.close()

    def test_a_share_too_small_for_one_call_in_ten_seconds_still_gets_its_calls(self, here: InProcess) -> None:
        chosen = []
        for _ in range(11):
            with here.house.engine.begin() as conn:
                chosen += backstops.next_files(conn, Backstop.ROUNDS, calls_a_second=0.01, every_s=60)
            here.later(20)
        assert 2 <= len(chosen) <= 3

    def test_of_two_schedulers_one_chooses(self, here: InProcess) -> None:
        engine = here.house.engine

        def choose(conn: Any) -> list[int]:
            return backstops.next_files(conn, Backstop.ROUNDS, calls_a_second=100, every_s=60)

        with engine.begin() as first, engine.begin() as second:
            assert (len(choose(first)), choose(second)) == (2, [])

    def test_a_file_is_looked_at_again_within_its_period_whenever_the_schedule_ticks(self, here: InProcess) -> None:
        here.rounds()
        period_s = here.house.shares[Backstop.ROUNDS].every_s
        here.later(period_s - EVERY_S - 1)
        assert here.rounds() == []
        here.later(2)
        assert len(here.rounds()) == 2, "the next tick would come too late"

    def test_while_mlm_is_away_no_turn_is_lost(self, here: InProcess, mlm: SandboxServer) -> None:
        here.edit(ONE)
        here.lose()
        mlm.dials.patch(fault_next=9, fault_forms=("html503",))
        assert len(here.rounds()) == 2
        mlm.dials.patch(fault_next=0)
        here.redis.delete("mlm:circuit", "mlm:circuit:failed")
        here.later(61)
        here.rounds()
        here.settle()
        assert here.differences(ONE) == []

    def test_a_file_that_mlm_refuses_us_keeps_nobody_else_waiting(self, here: InProcess, mlm: SandboxServer) -> None:
        here.edit(TWO)
        here.lose()
        mlm.dials.patch(fault_next=1, fault_forms=("result_error",), fault_text="Access denied.")
        here.rounds()
        here.settle()
        report = here.report(Backstop.ROUNDS)
        assert (report.looked, report.failed) == (1, 1)
        assert report.last_error is not None
        assert report.last_error.startswith("AccessDenied")

    def test_the_schedules_ticks_reach_a_worker(self, here: InProcess) -> None:
        """Over real queues and threads: one file by the rounds, one by the list, and both by the audit."""
        here.edit(ONE, "fees")
        here.lose()
        here.house.declare()
        worker = WorkerProcess(here.house.broker, on_tick=here.house.beat)
        worker.start()
        try:
            ticks = here.house.ticks()
            for name in ("rounds", "poll", "audit"):
                ticks[name].call()
            until(lambda: all(here.report(each).looked for each in Backstop), "each backstop has looked")
            until(lambda: not here.differences(ONE), "what no webhook told of is here")
        finally:
            worker.end(10)

    def test_switched_off_they_are_no_tick(self, environment: dict[str, str], mlm: SandboxServer) -> None:
        off = {"MLM_CONFIRM_SHARE": "0", "MLM_AUDIT_SHARE": "0", "MLM_POLL_EVERY": "0"}
        some, none = InProcess(environment, mlm), InProcess(environment, mlm, **off)
        assert {"rounds", "audit", "poll"} <= some.house.ticks().keys()
        assert not {"rounds", "audit", "poll"} & none.house.ticks().keys()
        some.close()
        none.close()


class TestPoll:
    def test_a_listed_change_is_ordered_cleared_and_read(self, here: InProcess) -> None:
        here.poll()
        here.edit(ONE, "assets")
        here.edit(TWO)
        here.lose()
        assert len(here.listed()) == 2
        here.later(61)
        here.poll()
        assert here.listed() == []
        here.settle()
        assert (here.differences(ONE), here.differences(TWO)) == ([], [])
        report = here.report(Backstop.POLL)
        assert (report.runs, report.looked, report.ordered, report.healed) == (2, 2, 2, 2)

    def test_what_a_webhook_has_brought_already_is_not_counted_as_healed(self, here: InProcess) -> None:
        here.edit(ONE)
        here.deliver()
        here.settle()
        here.poll()
        here.settle()
        assert (here.report(Backstop.POLL).ordered, here.report(Backstop.POLL).healed) == (1, 0)

    def test_a_crash_between_the_order_and_the_clearing_loses_nothing(self, here: InProcess) -> None:
        here.edit(ONE)
        here.lose()
        kill_a_worker_before_it_clears(here)
        assert here.orders(ONE)[-1] == "the poll list names it"
        assert len(here.listed()) == 1
        here.settle()
        assert here.differences(ONE) == []
        here.later(61)
        here.poll()
        assert here.listed() == [], "another worker takes it up: the first is dead"
        here.settle()
        assert here.state(ONE) == "fresh"

    def test_a_clearing_whose_answer_is_lost_is_made_again(self, here: InProcess, mlm: SandboxServer) -> None:
        here.edit(ONE)
        here.lose()
        mlm.dials.patch(fault_next=1, fault_operation="ClearModifiedLoanByNameByAppCode", fault_forms=("html502",))
        here.poll()
        assert len(here.listed()) == 1
        assert here.report(Backstop.POLL).failed == 1
        here.later(61)
        here.poll()
        here.settle()
        assert (here.listed(), here.differences(ONE)) == ([], [])

    def test_a_change_between_a_read_and_the_clearing_is_read_again(self, here: InProcess) -> None:
        """Clearing is by name and not by version: what came in between is on no list any more, and no webhook tells."""
        here.edit(ONE)
        here.lose()
        before = here.poller.mlm.clear_modified

        def read_then_edit_then_clear(name: str, app_code: str) -> None:
            here.settle()
            here.edit(ONE, "conditions")
            here.lose()
            before(name, app_code)

        here.poller.mlm.clear_modified = read_then_edit_then_clear  # type: ignore[method-assign]
        here.poll()
        here.settle()
        assert "read before the poll list was cleared" in here.orders(ONE)
        assert (here.listed(), here.differences(ONE)) == ([], [])

    def test_a_renumbered_file_is_known_by_its_old_number(self, here: InProcess, mlm: SandboxServer) -> None:
        editing.renumber(mlm.store, mlm.maker, ONE, "2030990001")
        here.lose()
        here.poll()
        here.settle()
        assert (here.listed(), here.differences(ONE)) == ([], [])

    def test_a_file_renumbered_twice_is_known_by_its_reference(self, here: InProcess, mlm: SandboxServer) -> None:
        for number in ("2030990001", "2030990002"):
            editing.renumber(mlm.store, mlm.maker, ONE, number)
        here.lose()
        here.poll()
        here.settle()
        assert (here.listed(), here.differences(ONE)) == ([], [])

    def test_two_files_that_swap_numbers_are_both_read(self, here: InProcess, mlm: SandboxServer) -> None:
        one, two = (mlm.store.newest(ref).content.number for ref in (ONE, TWO))
        for ref, number in ((ONE, "2030990009"), (TWO, one), (ONE, two)):
            editing.renumber(mlm.store, mlm.maker, ref, number)
        here.lose()
        here.poll()
        here.settle()
        assert (here.listed(), here.differences(ONE), here.differences(TWO)) == ([], [], [])

    def test_a_deleted_file_is_ordered_and_its_loan_fields_decide(self, here: InProcess, mlm: SandboxServer) -> None:
        mlm.store.delete(ONE)
        here.lose()
        here.poll()
        assert here.orders(ONE)[-1] == "the poll list says that it was deleted"
        assert here.state(ONE) == "stale", "nobody's word purges it"
        here.settle()
        assert (here.state(ONE), here.listed()) == ("deleted", [])

    def test_one_that_was_renumbered_first_is_known_by_its_old_number(
        self, here: InProcess, mlm: SandboxServer
    ) -> None:
        """MLM cannot be asked for its reference any more."""
        editing.renumber(mlm.store, mlm.maker, ONE, "2030990001")
        mlm.store.delete(ONE)
        here.lose()
        here.poll()
        here.settle()
        assert (here.state(ONE), here.listed()) == ("deleted", [])

    def test_a_file_that_we_do_not_have_is_cleared_and_left(self, here: InProcess) -> None:
        here.edit(THREE)
        here.poll()
        assert here.listed() == []
        assert here.rows("SELECT FROM file_freshness WHERE ref = %(ref)s", ref=THREE) == []

    def test_a_file_that_we_do_not_have_is_imported_where_that_is_wanted(
        self, environment: dict[str, str], mlm: SandboxServer
    ) -> None:
        here = InProcess(environment, mlm, MLM_IMPORT_UNKNOWN="1")
        here.edit(THREE)
        here.lose()
        here.poll()
        here.settle()
        assert (here.listed(), here.state(THREE), here.differences(THREE)) == ([], "fresh", [])
        here.close()

    def test_one_polls_at_a_time_and_not_sooner_than_it_is_due(self, here: InProcess) -> None:
        def take(worker: str) -> bool:
            with here.house.engine.begin() as conn:
                return backstops.take_poll(conn, worker, 60)

        here.house.beat()
        assert take(here.house.worker_id)
        here.later(3)
        here.house.beat()
        assert not take("another"), "not due"
        here.later(100)
        here.house.beat()
        assert not take("another"), "the first is still at it, and lives"
        with here.house.engine.begin() as conn:
            assert backstops.poll_is_due(conn, 60), "whoever is asked finds out"
        here.later(7)
        assert take("another"), "the first is dead"

    def test_a_poll_whose_end_could_not_be_written_down_is_not_the_last(self, here: InProcess) -> None:
        with here.house.engine.begin() as conn:
            conn.exec_driver_sql("ALTER TABLE backstop_runs RENAME TO gone")
        with pytest.raises(ProgrammingError):
            here.poll()
        with here.house.engine.begin() as conn:
            conn.exec_driver_sql("ALTER TABLE gone RENAME TO backstop_runs")
        here.edit(ONE)
        here.lose()
        here.later(61)
        here.poll()
        here.settle()
        assert here.differences(ONE) == []

    def test_mlm_away_ends_the_poll_and_leaves_the_list(self, here: InProcess, mlm: SandboxServer) -> None:
        here.edit(ONE)
        here.lose()
        mlm.dials.patch(fault_next=1, fault_forms=("html503",))
        here.poll()
        assert here.report(Backstop.POLL).failed == 1
        here.later(61)
        here.poll()
        here.settle()
        assert here.differences(ONE) == []

    def test_names_nobody_in_what_it_writes_down(
        self, here: InProcess, mlm: SandboxServer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        here.edit(ONE)
        here.poll()
        person = mlm.store.newest(ONE).content.applicants[0].fields
        told = "".join(capsys.readouterr()) + repr(here.rows("SELECT * FROM backstop_runs"))
        assert person["aBLastNm"] not in told
        assert person["aBSsn"] not in told


class TestAudit:
    def test_a_copy_that_equals_is_verified_in_one_call(self, here: InProcess, mlm: SandboxServer) -> None:
        mlm.calls.clear()
        assert len(here.audit()) == 2
        assert mlm.calls.counters()["by_operation"] == {"LoadByRefNumber": 2}
        assert here.audit() == []
        report = here.report(Backstop.AUDIT)
        assert (report.looked, report.missed, report.ordered) == (2, 0, 0)
        assert here.rows("SELECT FROM missed_changes") == []

    def test_rows_that_differ_at_the_very_stamp_are_missed_changes_counted_before_they_land(
        self, here: InProcess, capsys: pytest.CaptureFixture[str]
    ) -> None:
        here.edit(ONE)
        here.deliver()
        here.settle()
        drift(here, "UPDATE loans SET note_rate = note_rate + 1 WHERE mlm_reference_number = 'R000001'")
        drift(here, "DELETE FROM fees WHERE loan_id = (SELECT id FROM loans WHERE mlm_reference_number = 'R000001')")
        assert here.state(ONE) == "fresh", "nothing tells"
        before = here.differences(ONE)
        fees = len({each.mlm_id for each in before if each.table == "fees"})
        capsys.readouterr()
        here.audit()
        with here.house.engine.begin() as conn:
            missed = backstops.last_missed(conn)
        assert {each.concern: each.rows for each in missed} == {"loan_fields": 1, "fees": fees}
        assert {each.ref for each in missed} == {ONE}
        (receipt,) = here.rows("SELECT id FROM mlm_webhook_receipts")
        assert [list(each.receipts) for each in missed] == [[receipt.id]] * 2
        told = [line for line in "".join(capsys.readouterr()).splitlines() if "audit.missed_changes" in line]
        assert len(told) == 1
        assert "error" in told[0]
        assert here.report(Backstop.AUDIT).missed == 1 + fees
        here.settle()
        assert (here.differences(ONE), here.state(ONE)) == ([], "fresh")
        assert here.report(Backstop.AUDIT).healed == 1

    def test_lands_nothing_itself(self, here: InProcess) -> None:
        drift(here, "UPDATE loans SET note_rate = note_rate + 1 WHERE mlm_reference_number = 'R000001'")
        before = here.rows("SELECT xmin::text, note_rate FROM loans ORDER BY id")
        here.chooser.choose(here.house.shares[Backstop.AUDIT])
        for ring in list(here.queue):
            here.auditor.audit(ring.file_id)
        assert here.rows("SELECT xmin::text, note_rate FROM loans ORDER BY id") == before
        assert here.rows("SELECT concern, rows FROM missed_changes") == [("loan_fields", 1)]
        assert here.state(ONE) == "stale"

    def test_a_newer_stamp_is_an_ordinary_change(self, here: InProcess) -> None:
        here.edit(ONE)
        here.lose()
        here.audit()
        here.settle()
        report = here.report(Backstop.AUDIT)
        assert (report.missed, report.ordered, report.healed) == (0, 1, 1)
        assert here.differences(ONE) == []

    def test_a_portal_in_the_middle_of_its_own_write_is_no_missed_change(self, here: InProcess) -> None:
        with here.house.engine.begin() as conn:
            own_write = own_writes.register(conn, here.house.rules, FileRef("loan", ONE), True)
        drift(here, "UPDATE loans SET property_address = 'ours' WHERE mlm_reference_number = 'R000001'")
        here.audit()
        assert here.rows("SELECT FROM missed_changes") == []
        with here.house.engine.begin() as conn:
            own_writes.exit_own_write(conn, here.house.rules, FileRef("loan", ONE), own_write, False)

    def test_a_write_that_ended_while_mlm_was_asked_is_no_missed_change(self, here: InProcess) -> None:
        """The short form is registered only after the local half: the audit's second look at the stamp tells."""
        before = here.auditor.looker.mlm.load_by_ref

        def read_then_write(ref: str, question: Any) -> Any:
            answer = before(ref, question)
            if ref == ONE and len(question.to_xml()) > 300:
                here.edit(ONE)
                drift(here, "UPDATE loans SET property_address = 'ours' WHERE mlm_reference_number = 'R000001'")
            return answer

        here.auditor.looker.mlm.load_by_ref = read_then_write  # type: ignore[method-assign]
        here.audit()
        assert here.rows("SELECT FROM missed_changes") == []
        assert "a confirmation found another stamp" in here.orders(ONE)

    def test_rows_sealed_under_an_older_field_key_are_none(self, here: InProcess, environment: dict[str, str]) -> None:
        newer = "YW5vdGhlciBrZXkgZm9yIHRlc3RzIG9ubHksIDMyISE="
        there = InProcess(environment, here.mlm, FIELD_KEYS=f"{newer},{environment['FIELD_KEYS']}")
        there.offset_s = here.offset_s
        assert len(there.audit()) == 2
        assert there.rows("SELECT FROM missed_changes") == []
        assert there.orders(ONE) == here.orders(ONE)
        there.close()

    def test_an_answer_that_cannot_be_read_is_counted_and_changes_nothing(
        self, here: InProcess, mlm: SandboxServer
    ) -> None:
        mlm.dials.patch(omit_ids=("sCondDataSet",), omit_share=1.0)
        here.audit()
        report = here.report(Backstop.AUDIT)
        assert (report.failed, report.looked, report.missed) == (2, 0, 0)

    def test_longest_not_audited_come_first_and_deleted_or_stale_ones_not(self, here: InProcess) -> None:
        here.rows("UPDATE file_freshness SET audited_at = audited_at - interval '1 day' WHERE ref = %(ref)s", ref=TWO)
        with here.house.engine.begin() as conn:
            (first,) = backstops.next_files(conn, Backstop.AUDIT, calls_a_second=0.1, every_s=60)
        assert here.rows("SELECT ref FROM file_freshness WHERE id = %(id)s", id=first) == [(TWO,)]
        here.rows("UPDATE file_freshness SET ordered = ordered + 1 WHERE ref = %(ref)s", ref=ONE)
        here.later(4000)
        with here.house.engine.begin() as conn:
            assert backstops.next_files(conn, Backstop.AUDIT, calls_a_second=10, every_s=60) == [first]


class TestAutumnHour:
    """Between one and two on the first Sunday of November a stamp without zone names no instant."""

    @pytest.fixture
    def autumn(self, here: InProcess, mlm: SandboxServer) -> InProcess:
        mlm.dials.patch(stamp_zone_shown=False)
        here.go_to(autumn_hour(here.now()))
        return here

    def test_a_webhook_orders_and_the_change_lands(self, autumn: InProcess) -> None:
        autumn.edit(ONE)
        autumn.deliver()
        autumn.settle()
        assert autumn.outcomes(ONE)[-1] == "unguarded"
        assert (autumn.state(ONE), autumn.differences(ONE)) == ("unstamped", [])
        autumn.later(7200)
        autumn.edit(ONE, "fees")
        autumn.deliver()
        autumn.settle()
        assert (autumn.state(ONE), autumn.differences(ONE)) == ("fresh", [])

    def test_a_webhook_that_never_comes_is_healed_by_the_rounds(self, autumn: InProcess) -> None:
        autumn.edit(ONE)
        autumn.lose()
        autumn.rounds()
        autumn.settle()
        assert (autumn.state(ONE), autumn.differences(ONE)) == ("unstamped", [])

    def test_a_second_one_is_healed_by_the_audit_which_compares_rows(self, autumn: InProcess) -> None:
        autumn.edit(ONE)
        autumn.deliver()
        autumn.settle()
        autumn.edit(ONE, "fees")
        autumn.lose()
        autumn.rounds()
        autumn.settle()
        assert autumn.differences(ONE)
        autumn.audit()
        autumn.settle()
        assert autumn.differences(ONE) == []
        assert autumn.rows("SELECT FROM missed_changes") == []


class TestRestoredFromABackup:
    @pytest.fixture
    def restored(self, here: InProcess, mlm: SandboxServer) -> InProcess:
        """MLM was backed up; then both files were edited, and read; then the backup was brought back."""
        backup = mlm.store.back_up()
        for ref in (ONE, TWO):
            here.edit(ref, "conditions")
        here.deliver()
        here.settle()
        here.later(4000)
        assert set(mlm.store.roll_back(backup)) == {ONE, TWO}
        assert here.differences(ONE)
        return here

    def test_a_confirmation_finds_it_and_the_late_read_begins_a_new_epoch(self, restored: InProcess) -> None:
        restored.rounds()
        assert restored.state(ONE) == "stale"
        restored.settle(900)
        for ref in (ONE, TWO):
            assert (restored.state(ref), restored.differences(ref)) == ("fresh", [])
        assert [row.epoch for row in restored.rows("SELECT epoch FROM file_freshness")] == [2, 2]

    def test_a_webhook_of_an_edit_after_it_heals_too(self, restored: InProcess, mlm: SandboxServer) -> None:
        mlm.dials.patch(clock_offset_s=mlm.dials.now.clock_offset_s - 9000)
        restored.edit(ONE)
        restored.deliver()
        restored.settle()
        assert restored.outcomes(ONE)[-1] == "held", "its stamp lies below what we hold"
        restored.rounds()
        restored.settle(900)
        assert (restored.state(ONE), restored.differences(ONE)) == ("fresh", [])

    def test_an_operators_word_heals_it_at_once(self, restored: InProcess) -> None:
        with restored.house.engine.begin() as conn:
            ids = restores.file_ids(conn, 0)
        for file_id in ids:
            with restored.house.engine.begin() as conn:
                restores.begin_anew(conn, restored.house.rules, file_id)
        restored.settle(60)
        for ref in (ONE, TWO):
            assert (restored.state(ref), restored.differences(ref)) == ("fresh", [])
        marks = restored.rows("SELECT l.mlm_last_modified_at = f.mark AS same FROM loans l "
                              "JOIN file_freshness f ON f.loan_id = l.id")  # fmt: skip
        assert [row.same for row in marks] == [True, True]

    def test_a_slice_and_an_own_write_under_way_count_no_more(self, restored: InProcess) -> None:
        with restored.house.engine.begin() as conn:
            own_write = own_writes.register(conn, restored.house.rules, FileRef("loan", ONE), True)
        (file,) = restored.rows("SELECT id FROM file_freshness WHERE ref = %(ref)s", ref=ONE)
        before = restored.clerk.slices.mlm.load_by_ref
        began: list[str] = []

        def restored_meanwhile(ref: str, question: Any) -> Any:
            answer = before(ref, question)
            if not began:
                began.append(ref)
                with restored.house.engine.begin() as conn:
                    restores.begin_anew(conn, restored.house.rules, file.id)
            return answer

        restored.order(ONE)
        restored.clerk.slices.mlm.load_by_ref = restored_meanwhile  # type: ignore[method-assign]
        restored.settle(60)
        assert restored.rows("SELECT closed_at IS NOT NULL AS closed FROM own_writes WHERE id = %(id)s", id=own_write)[
            0
        ].closed
        assert restored.differences(ONE) == []


class TestCalibration:
    """Webhooks and reads whose stamps are hours apart, as when one of them names no zone and is in another."""

    @pytest.fixture
    def fresh_install(self, here: InProcess) -> InProcess:
        """Nothing is known of the two clocks."""
        here.rows("UPDATE stamp_calibration SET alike_at = NULL")
        return here

    @pytest.mark.parametrize("shift_h", [-8, 8])
    def test_hours_apart_either_way_lose_nothing(
        self, fresh_install: InProcess, mlm: SandboxServer, shift_h: int
    ) -> None:
        here = fresh_install
        mlm.dials.patch(webhook_shift_s=shift_h * 3600.0)
        for concern in ("loan_fields", "fees", "assets", "borrowers"):
            here.edit(ONE, concern)
            here.deliver()
            here.settle(30)
            assert here.differences(ONE) == []
            assert here.state(ONE) == "fresh"
            here.later(97)
        assert here.outcomes(ONE) == ["unguarded"] * 4
        assert not calibration_of(here).holds

    def test_the_first_webhook_whose_stamp_a_read_shows_calibrates(self, fresh_install: InProcess) -> None:
        here = fresh_install
        here.edit(ONE)
        here.deliver()
        assert here.outcomes(ONE) == ["unguarded"]
        here.settle()
        assert calibration_of(here).holds
        here.edit(ONE)
        here.deliver()
        here.settle()
        assert here.outcomes(ONE) == ["unguarded", "newer"]

    def test_a_read_on_its_own_shows_nothing(self, fresh_install: InProcess) -> None:
        fresh_install.edit(ONE)
        fresh_install.lose()
        fresh_install.rounds()
        fresh_install.settle()
        found = calibration_of(fresh_install)
        assert (found.holds, found.unlike) == (False, 0)

    @pytest.mark.parametrize("shift_h", [-8, 8])
    def test_a_clock_that_goes_astray_later_is_noticed_after_a_hundred_orders(
        self, here: InProcess, mlm: SandboxServer, shift_h: int
    ) -> None:
        """The rounds, or late reads, bring the changes until then; and each of their orders shows no equal."""
        here.edit(ONE)
        here.deliver()
        here.settle()
        mlm.dials.patch(webhook_shift_s=shift_h * 3600.0)
        here.rows("UPDATE stamp_calibration SET unlike = 98")
        for _ in range(2):
            assert calibration_of(here).holds
            here.edit(ONE)
            here.deliver()
            here.later(4000)
            here.rounds()
            here.settle(900)
            assert here.differences(ONE) == []
        found = calibration_of(here)
        assert (found.holds, found.unlike >= 100) == (False, True)
        assert found.cleared_at is not None
        here.edit(ONE)
        here.deliver()
        here.settle(900)
        assert (here.outcomes(ONE)[-1], here.differences(ONE)) == ("unguarded", [])

    def test_an_equal_starts_the_count_anew(self, here: InProcess) -> None:
        here.rows("UPDATE stamp_calibration SET unlike = 99")
        here.edit(ONE)
        here.deliver()
        here.settle()
        assert (calibration_of(here).holds, calibration_of(here).unlike) == (True, 0)

    def test_stamps_of_whole_seconds_in_webhooks_are_equal_within_the_resolution(
        self, fresh_install: InProcess, mlm: SandboxServer
    ) -> None:
        mlm.dials.patch(webhook_stamp_form="epoch_s")
        fresh_install.edit(ONE)
        fresh_install.deliver()
        fresh_install.settle()
        found = calibration_of(fresh_install)
        assert (found.holds, found.resolution_s) == (True, 1.0)


def calibration_of(here: InProcess) -> calibration.Calibration:
    with here.house.engine.begin() as conn:
        return calibration.calibration_of(conn)


def kill_a_worker_before_it_clears(here: InProcess) -> None:
    """Another worker polls, commits its first order, and is gone."""
    argv = [sys.executable, str(Path(__file__).with_name("poll_child.py")), str(here.offset_s)]
    done = subprocess.run(argv, env=os.environ | here.environment, cwd=ROOT, timeout=60)
    assert done.returncode == 9


def drift(here: InProcess, statement: str) -> None:
    """Rows change by nobody the ledger knows of."""
    assert here.rows(f"{statement} RETURNING 1")


def autumn_hour(after: dt.datetime) -> dt.datetime:
    """Half past one in Los Angeles, daylight time, on the next first Sunday of November: that half hour comes twice."""
    for year in (after.year, after.year + 1):
        first = dt.datetime(year, 11, 1, 8, 30, tzinfo=dt.UTC)
        sunday = first + dt.timedelta(days=(6 - first.weekday()) % 7)
        if sunday > after:
            return sunday
    raise AssertionError
