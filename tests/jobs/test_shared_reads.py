"""Shared reads: one call to MLM brings all that is stale of a file, and what fails to land of it fails alone."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
import sqlalchemy as sa
from databases import FIELD_KEYS, database, emptied_redis
from in_process import InProcess

from freshness.concerns import ALL
from mlm_client.sandbox.server import SandboxServer

REF = "R000001"


@pytest.fixture(scope="module")
def _mlm() -> Iterator[SandboxServer]:
    with SandboxServer(files=1, seed=7) as server:
        yield server


@pytest.fixture(scope="module")
def _imported(_admin: psycopg.Connection, _mlm: SandboxServer) -> Iterator[tuple[str, float]]:
    """The name of a database with one file, to be copied for each test, and by how much its clock is ahead."""
    with database(_admin, "imported_together") as url:
        environment = {"DATABASE_URL": url, "REDIS_URL": emptied_redis(), "FIELD_KEYS": FIELD_KEYS}
        here = InProcess(environment, _mlm)
        here.import_(REF)
        here.close()
        yield sa.make_url(url).database or "", here.offset_s


@pytest.fixture
def database_url(_admin: psycopg.Connection, _imported: tuple[str, float]) -> Iterator[str]:
    """A database of this test's own, with the file that was imported."""
    with database(_admin, "of_one_file", template=_imported[0]) as url:
        yield url


@pytest.fixture
def here(environment: dict[str, str], _mlm: SandboxServer, _imported: tuple[str, float]) -> Iterator[InProcess]:
    """A house whose file is fresh, and whose stamps are known to be MLM's."""
    here = InProcess(environment, _mlm)
    here.offset_s = _imported[1]
    here.later(3600)
    here.rows("UPDATE stamp_calibration SET alike_at = mlm_now(), auto_resolution_s = 0.004")
    _mlm.calls.clear()
    yield here
    here.close()
    _mlm.dials.patch(fault_next=0, fault_forms=("html503",))


def calls(here: InProcess) -> int:
    return here.mlm.calls.by_operation["LoadByRefNumber"]


def change(here: InProcess, concern: str = "loan_fields") -> None:
    """An outsider edits, and what comes of it comes to rest."""
    here.edit(REF, concern)
    here.later(60)
    here.deliver()
    here.settle()


def test_a_change_costs_one_call_and_every_concern_stems_from_one_version(here: InProcess) -> None:
    change(here, "fees")
    assert calls(here) == 1
    assert here.differences(REF) == []
    assert len(here.rows("SELECT DISTINCT held FROM file_concerns")) == 1


def test_each_concern_has_a_run_of_its_own(here: InProcess) -> None:
    change(here)
    (newest,) = here.rows("SELECT ordered FROM file_freshness")
    runs = here.rows(
        "SELECT concern, outcome FROM slice_runs WHERE order_number = %(number)s ORDER BY id", number=newest.ordered
    )
    assert [(row.concern, row.outcome) for row in runs] == [(concern.value, "landed") for concern in ALL]


def test_switched_off_each_concern_costs_a_call(environment: dict[str, str], here: InProcess) -> None:
    apart = InProcess(environment, here.mlm, MLM_SHARED_READS="0")
    apart.offset_s = here.offset_s
    change(apart)
    assert calls(apart) == len(ALL)
    assert apart.differences(REF) == []
    apart.close()


def test_what_fails_to_land_fails_alone_and_is_tried_again_alone(here: InProcess) -> None:
    here.rows("ALTER TABLE fees ADD CONSTRAINT refused CHECK (false) NOT VALID")
    here.edit(REF, "fees")
    here.later(60)
    here.deliver()
    here.work()
    assert calls(here) == 1
    stale = here.rows("SELECT concern, attempts, last_error FROM file_concerns WHERE served < 3 AND attempts > 0")
    assert [tuple(row) for row in stale] == [
        ("fees", 1, "RefusedRows: fees: the tables do not take the rows (PostgreSQL 23514)")
    ]
    here.rows("ALTER TABLE fees DROP CONSTRAINT refused")
    here.settle()
    assert calls(here) == 2
    assert here.differences(REF) == []


def test_what_hangs_on_a_concern_that_fails_to_land_waits_and_the_others_land(here: InProcess) -> None:
    here.rows("ALTER TABLE borrowers ADD CONSTRAINT refused CHECK (false) NOT VALID")
    here.edit(REF, "borrowers")
    here.later(60)
    here.deliver()
    here.work()
    landed = here.rows(
        "SELECT concern FROM file_concerns c JOIN file_freshness f ON f.id = file_id WHERE c.served = ordered"
    )
    assert {row.concern for row in landed} == {"loan_fields", "conditions", "fees"}
    assert here.rows("SELECT FROM file_concerns WHERE lease_token IS NOT NULL") == []
    here.rows("ALTER TABLE borrowers DROP CONSTRAINT refused")
    here.settle()
    assert here.differences(REF) == []


def test_a_call_for_all_that_fails_is_followed_by_one_for_each_and_nothing_counts_against_any(here: InProcess) -> None:
    here.mlm.dials.patch(fault_next=1, fault_forms=("fault",))
    change(here, "conditions")
    assert calls(here) == 1 + len(ALL)
    assert here.rows("SELECT FROM file_concerns WHERE attempts > 0 OR last_error IS NOT NULL") == []
    told = here.rows("SELECT outcome FROM slice_runs WHERE error IS NOT NULL")
    assert [row.outcome for row in told] == ["failed with others, to be read by itself"]
    assert here.differences(REF) == []
    change(here, "conditions")
    assert calls(here) == 2 + len(ALL), "the next change is read in one call again"


def test_after_a_worker_died_amid_a_read_each_of_its_slices_is_read_by_itself(here: InProcess) -> None:
    here.edit(REF)
    here.later(60)
    here.deliver()
    here.rows(
        "UPDATE file_concerns SET lease_token = gen_random_uuid(), lease_worker = 'gone', lease_at = mlm_now(), "
        "lease_until = mlm_now() + interval '1 hour'"
    )
    here.settle()
    assert calls(here) == len(ALL)
    assert here.differences(REF) == []
