"""What waits while MLM is away: slices, captures and confirmations lose nothing by it, and go on by themselves.

The ledger, the jobs and the sandbox are real; what is rung is worked off by the test, so that it sees each step.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

import psycopg
import pytest
import redis
import sqlalchemy as sa
from databases import FIELD_KEYS, database, emptied_redis
from hands import PATIENCE_S
from simulation.answering import answer
from structlog.testing import capture_logs

from freshness.bell import Ring, Work
from freshness.concerns import Concern
from freshness.ledger import own_writes
from freshness.ledger.files import FileRef, import_file
from freshness.ledger.status import freshness_of
from freshness.settings import load
from jobs import pacing
from jobs.circuit import OPEN_KEY, circuit_state
from jobs.handlers import Clerk
from jobs.house import House
from jobs.sweeping import Sweep
from mlm_client.sandbox.server import SandboxServer

REFS = [f"R{number:06d}" for number in range(1, 5)]


class Worker:
    """One process of the product, its queue a list: `sweep` rings, `work` does what was rung for."""

    def __init__(self, environment: dict[str, str], mlm: SandboxServer) -> None:
        where = {
            "MLM_LOAN_SERVICE_URL": mlm.loan_service_url,
            "MLM_TOKEN_URL": mlm.token_url,
            "MLM_CLIENT_ID": mlm.client_id,
            "MLM_CLIENT_SECRET": mlm.client_secret,
            "MLM_STAMP_RESOLUTION": "0.004",
            "MLM_RATE": "1000",
        }
        self.house = House(load(environment | where), "tests")
        self.redis: redis.Redis = self.house.redis
        self.queue: deque[Ring] = deque()
        parts = (self.house.engine, self.house.rules)
        self.clerk = Clerk(
            *parts, self.house.slices, self.house.mlm(prompt=True), self._ring, lambda: None, self.house.pacer.is_away
        )
        self.sweeper = Sweep(*parts, self.redis, self._ring, lambda: None, 1000, Random(1))

    def sweep(self) -> list[Ring]:
        """One tick of the sweep: what it rings for."""
        self.queue.clear()
        self.sweeper.ring_what_is_due()
        return list(self.queue)

    def work(self) -> None:
        """Do what was rung for, and what that rings for, until the queue is empty."""
        self.house.beat()
        while self.queue:
            answer(self.queue.popleft(), self.clerk)

    def order(self, *refs: str) -> None:
        for ref in refs:
            with self.house.engine.begin() as conn:
                import_file(conn, ref)

    def rests(self) -> None:
        """Sweep and work, as the product does, until every file is fresh."""
        ends = time.monotonic() + PATIENCE_S
        while self.rows("SELECT FROM file_freshness WHERE served < ordered"):
            assert time.monotonic() < ends, "it never came to rest"
            self.sweep()
            self.work()
        with self.house.engine.begin() as conn:
            assert {freshness_of(conn, self.house.rules, ref).state for ref in REFS} == {"fresh"}

    def rows(self, query: str, **parameters: Any) -> Sequence[sa.Row[Any]]:
        with self.house.engine.begin() as conn:
            return conn.exec_driver_sql(query, parameters).all()

    def circuit(self) -> str:
        return circuit_state(self.redis).state

    def window_over(self) -> None:
        """Let the time pass until the next probe may leave."""
        assert self.redis.hset(OPEN_KEY, "probe_at", 1) == 0

    def _ring(self, rings: Sequence[Ring]) -> None:
        self.queue.extend(ring for ring in rings if not ring.delay_s)


@pytest.fixture(scope="module")
def _mlm() -> Iterator[SandboxServer]:
    with SandboxServer(files=len(REFS)) as server:
        yield server


@pytest.fixture(scope="module")
def _imported(_admin: psycopg.Connection, _mlm: SandboxServer) -> Iterator[str]:
    """The name of a database whose files are fresh, to be copied for each test."""
    with database(_admin, "fresh_files") as url:
        environment = {"DATABASE_URL": url, "REDIS_URL": emptied_redis(), "FIELD_KEYS": FIELD_KEYS}
        worker = Worker(environment, _mlm)
        worker.order(*REFS)
        worker.rests()
        worker.house.engine.dispose()
        yield sa.make_url(url).database or ""


@pytest.fixture
def database_url(_admin: psycopg.Connection, _imported: str) -> Iterator[str]:
    """A database of this test's own, with the files that were imported."""
    with database(_admin, "of_fresh_files", template=_imported) as url:
        yield url


@pytest.fixture
def mlm(_mlm: SandboxServer) -> Iterator[SandboxServer]:
    """The MLM that they were imported from; no test here edits in it."""
    yield _mlm
    _mlm.dials.reset()


@pytest.fixture(params=["0", "1"], ids=["each by itself", "read together"])
def worker(
    request: pytest.FixtureRequest, environment: dict[str, str], mlm: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Worker]:
    """A worker that has signed in, and whose files are fresh. It asks Redis each time, so that nobody need wait."""
    monkeypatch.setattr(pacing, "REMEMBERED_S", 0.0)
    worker = Worker(environment | {"MLM_SHARED_READS": request.param}, mlm)
    worker.house.slices.mlm.list_modified("any")
    mlm.calls.clear()
    yield worker
    worker.house.engine.dispose()


ATTEMPTS = "SELECT file_id, concern, attempts FROM file_concerns WHERE attempts > 0 ORDER BY 1, 2"
RUNS = "SELECT count(*) AS n FROM slice_runs"


def _called(mlm: SandboxServer, times: int) -> None:
    """MLM was called so often. A caller knows of a broken connection before MLM has written the call down."""
    assert mlm.calls.wait_for(times, PATIENCE_S)
    assert mlm.calls.total == times


@pytest.mark.parametrize("outage", ["html502", "html503", "reset", "429"])
def test_slices_wait_without_an_attempt_and_go_on_by_themselves(
    worker: Worker, mlm: SandboxServer, outage: str
) -> None:
    worker.order(*REFS)
    runs = worker.rows(RUNS)[0].n
    mlm.dials.patch(outage=outage)
    assert len(worker.sweep()) >= len(REFS)
    worker.work()

    together = worker.house.rules.shared_reads
    # Two files' slices that may start, and the first of a third; or four files, and the first slice of the first.
    opened_by = 1 if outage == "429" else 4 + 1 if together else 4 + 4 + 1
    assert worker.circuit() == "open"
    _called(mlm, opened_by)
    failed = worker.rows(ATTEMPTS)
    assert [row.attempts for row in failed] == ([] if together else [1] * (opened_by - 1))
    assert worker.rows(RUNS)[0].n == runs + opened_by - 1
    assert worker.rows("SELECT FROM file_concerns WHERE lease_token IS NOT NULL") == []

    for window in range(12):
        worker.window_over()
        worker.sweep()
        worker.work()
        _called(mlm, opened_by + window + 1)
    assert worker.rows(ATTEMPTS) == failed
    assert worker.rows(RUNS)[0].n == runs + opened_by - 1

    mlm.dials.patch(outage="")
    worker.window_over()
    worker.rests()
    assert worker.circuit() == "closed"


def test_the_sweep_holds_back_while_it_is_open_and_then_rings_for_one_call(worker: Worker, mlm: SandboxServer) -> None:
    worker.order(*REFS)
    mlm.dials.patch(outage="html503")
    everything = worker.sweep()
    worker.work()
    assert worker.sweep() == []
    probes = set()
    for _ in range(20):
        worker.window_over()
        (probe,) = worker.sweep()
        probes.add(probe)
    assert len(probes) > 1
    assert {probe.file_id for probe in probes} <= {ring.file_id for ring in everything}


def test_a_worker_that_knows_of_it_leaves_ledger_and_redis_alone(worker: Worker) -> None:
    """Its engine, its slices and its client are none: whatever it touched would raise."""
    nothing: Any = None
    clerk = Clerk(nothing, nothing, nothing, nothing, nothing, nothing, is_away=lambda: True)
    clerk.hydrate_concern(1, Concern.FEES)
    clerk.capture(1, 1)
    clerk.confirm(1)


def test_a_capture_waits_without_an_attempt(worker: Worker, mlm: SandboxServer) -> None:
    worker.order(*REFS)
    mlm.dials.patch(outage="html503")
    worker.sweep()
    worker.work()
    with worker.house.engine.begin() as conn:
        file = FileRef("loan", str(worker.rows("SELECT mlm_reference_number AS r FROM loans LIMIT 1")[0].r))
        own_write_id = own_writes.register(conn, worker.house.rules, file, True)
    with worker.house.engine.begin() as conn:
        rings = own_writes.exit_own_write(conn, worker.house.rules, file, own_write_id, True).rings
    worker.queue.extend(rings)
    worker.work()
    query = "SELECT attempts, captured_at FROM own_writes"
    assert worker.rows(query) == [(0, None)]

    mlm.dials.patch(outage="")
    worker.window_over()
    worker.rests()
    assert [row.captured_at is not None for row in worker.rows(query)] == [True]


CANDIDATE = "UPDATE file_freshness SET mark = mark + interval '1 s', unconfirmed_since = now(), confirm_at = now()"
WAITING = "SELECT ref, confirm_at, confirmations FROM file_freshness ORDER BY ref"


def test_confirmations_keep_their_times_and_one_of_them_probes_when_nothing_else_is_due(
    worker: Worker, mlm: SandboxServer
) -> None:
    with worker.house.engine.begin() as conn:
        conn.exec_driver_sql(CANDIDATE)
        conn.exec_driver_sql("UPDATE refresh_orders SET placed_at = placed_at - interval '1 hour'")
    worker.order(*REFS)
    mlm.dials.patch(outage="429")
    worker.queue.append(Ring(Work.CONFIRM, 1))
    worker.work()
    assert worker.circuit() == "open"
    before = worker.rows(WAITING)
    worker.sweep()
    assert worker.rows(WAITING) == before

    with worker.house.engine.begin() as conn:
        conn.exec_driver_sql("UPDATE file_freshness SET served = ordered")
        conn.exec_driver_sql(
            "UPDATE file_concerns SET served = (SELECT ordered FROM file_freshness WHERE id = file_id)"
        )
        conn.exec_driver_sql("UPDATE refresh_orders SET placed_at = placed_at - interval '1 hour'")
    worker.window_over()
    assert [ring.work for ring in worker.sweep()] == [Work.CONFIRM]


def test_a_refused_sign_in_is_tried_by_one_process_and_no_other(
    worker: Worker, mlm: SandboxServer, environment: dict[str, str]
) -> None:
    mlm.dials.patch(sign_in_refuse_share=1.0)
    worker.order(*REFS)
    newcomers = [Worker(environment, mlm) for _ in range(3)]
    with capture_logs() as logs:
        for each in newcomers:
            each.queue.extend(Ring(Work.HYDRATE_CONCERN, file_id, Concern.LOAN_FIELDS) for file_id in (1, 2, 3, 4))
            each.work()
    assert mlm.calls.sign_ins_refused == 1
    assert mlm.calls.by_operation["LoadByRefNumber"] == 0
    assert [said["event"] for said in logs if said["log_level"] == "error"] == ["circuit.refused"]
    assert "SignInFailed" in (circuit_state(worker.redis).why or "")
    assert worker.rows(ATTEMPTS) == []
    errors = worker.rows("SELECT last_error FROM file_concerns WHERE last_error IS NOT NULL")
    assert {row.last_error.partition(":")[0] for row in errors} == {"SignInFailed"}

    mlm.dials.patch(sign_in_refuse_share=0.0)
    worker.window_over()
    newcomers[1].sweep()
    newcomers[1].work()
    assert worker.circuit() == "closed"
    for each in newcomers:
        each.house.engine.dispose()
