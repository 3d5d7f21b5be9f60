"""Workers and schedulers told to stop: what they had begun ends or is handed back, and nothing of it is done twice."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import sqlalchemy as sa
from forked import Forked
from whole_house import PATIENCE_S, ROOT, until

from console.cli import main
from freshness.concerns import ALL
from freshness.ledger import backlog
from freshness.ledger.backlog import HeldLease
from freshness.ledger.files import import_file
from freshness.ledger.status import freshness_of
from freshness.settings import load
from jobs.house import House
from mlm_client.sandbox.server import SandboxServer

REF = "R000001"


class Processes:
    """Workers and schedulers as processes, and the ledger that they work on."""

    def __init__(self, environment: dict[str, str], mlm: SandboxServer) -> None:
        self.environment = environment | {
            "MLM_LOAN_SERVICE_URL": mlm.loan_service_url,
            "MLM_TOKEN_URL": mlm.token_url,
            "MLM_CLIENT_ID": mlm.client_id,
            "MLM_CLIENT_SECRET": mlm.client_secret,
            "MLM_STAMP_RESOLUTION": "0.004",
            "MLM_RATE": "1000",
            "MLM_CONFIRM_SHARE": "0",
            "MLM_AUDIT_SHARE": "0",
        }
        self.mlm = mlm
        self.house = House(load(self.environment), "tests")
        self.running: list[Forked] = []

    def start(self, *argv: str, **settings: str) -> Forked:
        """Start `freshness …`, and wait until it beats. It dies with us."""
        process = Forked(main, argv, env=os.environ | self.environment | settings, cwd=ROOT)
        self.running.append(process)
        until(lambda: self.rows("SELECT FROM workers WHERE pid = %(pid)s", pid=process.pid), f"{argv} beats")
        return process

    def order(self) -> int:
        """Order the file, and ring for it."""
        with self.house.engine.begin() as conn:
            placed = import_file(conn, REF)
        self.house.bell(placed.rings)
        return placed.number

    def rests(self) -> None:
        """Wait until the file is fresh."""

        def is_fresh() -> bool:
            with self.house.engine.begin() as conn:
                return freshness_of(conn, self.house.rules, REF).state == "fresh"

        until(is_fresh, "the file is fresh")

    def leases(self) -> list[HeldLease]:
        with self.house.engine.begin() as conn:
            return backlog.leases(conn, self.house.rules)

    def rows(self, query: str, **parameters: Any) -> Sequence[sa.Row[Any]]:
        with self.house.engine.begin() as conn:
            return conn.exec_driver_sql(query, parameters).all()


@pytest.fixture
def processes(environment: dict[str, str]) -> Iterator[Processes]:
    with SandboxServer(files=2, seed=3) as mlm:
        processes = Processes(environment, mlm)
        yield processes
        for each in processes.running:
            each.kill()
            each.wait()
        processes.house.engine.dispose()


def stop(process: Forked) -> int:
    process.send_signal(signal.SIGTERM)
    return process.wait(PATIENCE_S)


def test_a_slice_that_outlasts_the_grace_is_free_at_once_and_lands_once(processes: Processes) -> None:
    processes.start("scheduler")
    first = processes.start("worker", "--grace", "0.5")
    processes.order()
    processes.rests()
    processes.mlm.dials.patch(latency_ms=10_000)
    number = processes.order()
    until(lambda: processes.mlm.calls.under_way, "the file is being read")

    assert stop(first) == 0
    assert processes.rows("SELECT FROM workers WHERE process = 'worker'") == []
    assert not any(lease.holds for lease in processes.leases())

    processes.mlm.dials.patch(latency_ms=0)
    processes.start("worker")
    processes.rests()
    query = "SELECT concern, outcome FROM slice_runs WHERE order_number = %(number)s ORDER BY concern"
    assert [tuple(row) for row in processes.rows(query, number=number)] == [(c, "landed") for c in sorted(ALL)]


def test_slices_that_wait_for_their_turn_to_call_are_handed_back_and_count_as_no_try(processes: Processes) -> None:
    worker = processes.start("worker", MLM_RATE="0.01")
    processes.order()
    until(lambda: processes.rows("SELECT FROM slice_runs WHERE outcome = 'landed'"), "loan fields have landed")
    until(lambda: len(processes.leases()) >= 2, "others wait for their turn")

    assert stop(worker) == 0
    assert processes.leases() == []
    assert processes.rows("SELECT FROM file_concerns WHERE attempts > 0 OR last_error IS NOT NULL") == []
    assert processes.rows("SELECT FROM slice_runs WHERE outcome <> 'landed'") == []


def test_a_scheduler_that_stops_says_so_and_the_one_beside_it_goes_on(processes: Processes) -> None:
    first, second = processes.start("scheduler"), processes.start("scheduler")

    assert stop(first) == 0
    assert [row.pid for row in processes.rows("SELECT pid FROM workers")] == [second.pid]
    query = "SELECT max(beat_at) AS beat_at FROM workers"
    last = processes.rows(query)[0].beat_at
    until(lambda: processes.rows(query)[0].beat_at > last, "the other one beats on")
