"""The whole product for the end-to-end tests: a sandbox MLM in a thread, everything else as processes of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import redis
import sqlalchemy as sa
from databases import FIELD_KEYS, database, emptied_redis
from forked import Forked

from console import importing
from console.cli import main
from console.demo.comparing import Difference, differences
from console.laptop import answers
from freshness.ledger.files import import_file
from freshness.ledger.status import freshness_of
from freshness.settings import load
from jobs.house import House
from mlm_client.sandbox.api import file_json
from mlm_client.sandbox.editing import touch
from mlm_client.sandbox.server import SandboxServer

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
WEBHOOK_TOKEN, PORTAL_TOKEN = "from-mlm", "from-portal"
PATIENCE_S = 40.0


def until(look: Callable[[], T | None], what: str, within_s: float = PATIENCE_S) -> T:
    """What `look` finds, as soon as it finds something true; fails naming `what` if it never does."""
    deadline = time.monotonic() + within_s
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
        time.sleep(0.02)
    return found


@dataclass
class Process:
    """A running `freshness <name>`, and where its standard output and error go."""

    name: str
    forked: Forked
    log: Path

    def logged(self) -> list[dict[str, Any]]:
        """What it has logged so far. A line that it has not finished yet is not in it."""
        lines = self.log.read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]

    def ends_of_slices(self) -> list[str]:
        """How its slices ended, as it logged them."""
        return [each["outcome"] for each in self.logged() if each["event"] == "slice.ended"]

    def send(self, number: signal.Signals) -> None:
        self.forked.send_signal(number)

    def ended(self) -> int:
        return self.forked.wait(PATIENCE_S)


class Monitor:
    """Everything that clients have sent to one logical database of Redis, as Redis tells it."""

    def __init__(self, url: str) -> None:
        self.commands: list[str] = []
        self._client = redis.Redis.from_url(url, socket_timeout=None)
        self._db = self._client.connection_pool.connection_kwargs["db"]
        self._open = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        assert self._open.wait(PATIENCE_S)

    def close(self) -> None:
        self._client.echo(b"monitor, stop")
        self._thread.join(PATIENCE_S)

    def _listen(self) -> None:
        with self._client.monitor() as monitor:
            self._open.set()
            for each in monitor.listen():
                if each["db"] == self._db:
                    self.commands.append(each["command"])
                    if each["command"] == "ECHO monitor, stop":
                        return


class WholeHouse:
    """A receiver, two schedulers and, while nobody asks otherwise, one worker."""

    def __init__(self, environment: dict[str, str], mlm: SandboxServer, directory: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.environment = environment | {
            "PORT": str(port),
            "MLM_LOAN_SERVICE_URL": mlm.loan_service_url,
            "MLM_TOKEN_URL": mlm.token_url,
            "MLM_CLIENT_ID": mlm.client_id,
            "MLM_CLIENT_SECRET": mlm.client_secret,
            "MLM_WEBHOOK_TOKEN": WEBHOOK_TOKEN,
            "PORTAL_API_TOKEN": PORTAL_TOKEN,
            "MLM_STAMP_RESOLUTION": "0.004",
            "MLM_RATE": "1000",
        }
        self.mlm = mlm
        self.house = House(load(self.environment), "tests")
        self.redis = redis.Redis.from_url(environment["REDIS_URL"])
        self.monitor = Monitor(environment["REDIS_URL"])
        self.processes: list[Process] = []
        self._directory = directory
        self._worker: Process | None = None
        self.start("receiver")
        self.start("scheduler")
        self.start("scheduler")
        self.worker()
        until(lambda: answers(f"{self.url}/readyz"), "the receiver answers")
        mlm.deliveries.target(f"{self.url}/api/v1/loans/mlm/webhook", WEBHOOK_TOKEN)

    def start(self, name: str, *arguments: str) -> Process:
        """Start `freshness <name>`. It dies with us."""
        log = self._directory / f"{len(self.processes)}-{name}.log"
        log.touch()
        forked = Forked(main, [name, *arguments], env=os.environ | self.environment, cwd=ROOT, out=log, err=log)
        self.processes.append(Process(name, forked, log))
        return self.processes[-1]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        argv, env = [sys.executable, "-m", "console", *arguments], os.environ | self.environment
        return subprocess.run(argv, env=env, cwd=ROOT, capture_output=True, text=True, timeout=60)

    def worker(self) -> Process:
        """The one worker that runs, started now if none does."""
        if self._worker is None or self._worker.forked.poll() is not None:
            self._worker = self.start("worker")
        return self._worker

    def worker_beside(self, other: Process) -> Process:
        """Another worker, which is from now on the one that runs."""
        assert self._worker is other
        self._worker = self.start("worker")
        return self._worker

    def pause(self, worker: Process) -> None:
        """Stop the worker as a frozen machine would, between its transactions: in one it holds locks for 10 s."""
        query = (
            "SELECT FROM pg_stat_activity WHERE application_name = 'mlm-freshness worker' AND xact_start IS NOT NULL"
            " AND datname = current_database()"
        )

        def paused() -> bool:
            worker.send(signal.SIGSTOP)
            if not self.rows(query):
                return True
            worker.send(signal.SIGCONT)
            return False

        until(paused, "the worker is between transactions")

    def id_of(self, worker: Process) -> str:
        """Who a worker is in the ledger, once it has said so."""
        query = "SELECT id FROM workers WHERE pid = %(pid)s"
        return str(until(lambda: self.rows(query, pid=worker.forked.pid), "the worker beats")[0].id)

    def rows(self, query: str, **parameters: Any) -> list[sa.Row[Any]]:
        with self.house.engine.begin() as conn:
            result = conn.exec_driver_sql(query, parameters)
            return list(result) if result.returns_rows else []

    def import_(self, *refs: str) -> None:
        """Import these files and wait until they are equal to MLM's."""
        begun = importing.begin(self.house.engine, refs)
        progress = importing.follow(self.house.engine, self.house.bell, begun.run)
        until(lambda: next(progress).done, f"an import of {refs}")
        for ref in refs:
            self.rests(ref)

    def order(self, ref: str, *, ring: bool = True) -> int:
        """Order a file again; the order's number."""
        with self.house.engine.begin() as conn:
            placed = import_file(conn, ref)
        if ring:
            self.house.bell(placed.rings)
        return placed.number

    def touch(self, ref: str, concern: str) -> None:
        """An outsider edits something in this concern in MLM, which sends its webhook."""
        done = touch(self.mlm.store, self.mlm.maker, ref, concern)
        assert done.changes

    def rests(self, ref: str) -> None:
        """Wait until the file is fresh and every value of ours is MLM's."""
        until(lambda: self.state(ref) == "fresh", f"{ref} is fresh")
        assert self.differences(ref) == []

    def state(self, ref: str) -> str:
        with self.house.engine.begin() as conn:
            return freshness_of(conn, self.house.rules, ref).state

    def differences(self, ref: str) -> list[Difference]:
        with self.house.engine.begin() as conn:
            return differences(conn, self.house.keys, file_json(self.mlm.store.newest(ref), self.mlm.dials.now))

    def leased(self, worker_id: str) -> list[str]:
        """The slices that this worker holds leases of."""
        query = "SELECT concern FROM file_concerns WHERE lease_worker = %(worker)s AND lease_token IS NOT NULL"
        return [row.concern for row in self.rows(query, worker=worker_id)]

    def runs_of(self, worker_id: str) -> list[sa.Row[Any]]:
        """The runs of slices that this worker has ended."""
        return self.rows("SELECT * FROM slice_runs WHERE worker = %(worker)s ORDER BY id", worker=worker_id)

    def all_of(self, ref: str) -> dict[str, str]:
        """Every row of ours that has to do with a file, as text, by table."""
        query = "SELECT id AS file_id, loan_id FROM file_freshness WHERE ref = %(ref)s"
        ids = self.rows(query, ref=ref)[0]._asdict()
        found = {}
        for table in self.tables():
            for column, value in (*ids.items(), ("mlm_reference_number", ref)):
                if column in self._columns(table):
                    found[f"{table} by {column}"] = self.as_text(table, column, value)
        assert "loans by mlm_reference_number" in found
        return found

    def tables(self) -> list[str]:
        """Every table of the database, partitions under their parent's name."""
        return sorted(set(sa.inspect(self.house.engine).get_table_names()) - {"alembic_version"})

    def as_text(self, table: str, column: str = "''", value: Any = "") -> str:
        """A table's rows as text, a line each; bytes stand there as the characters that they are."""
        query = f"SELECT row::text AS line FROM {table} AS row WHERE {column}::text = %(value)s::text ORDER BY line"
        with self.house.engine.begin() as conn:
            conn.exec_driver_sql("SET LOCAL bytea_output = 'escape'")
            return "\n".join(conn.exec_driver_sql(query, {"value": value}).scalars())

    def _columns(self, table: str) -> set[str]:
        return {column["name"] for column in sa.inspect(self.house.engine).get_columns(table)}

    def expire(self, worker_id: str) -> None:
        """Let the time pass after which a worker that is not heard of is taken for dead, and its leases for void."""
        self.rows("UPDATE workers SET beat_at = mlm_now() - interval '1 minute' WHERE id = %(id)s", id=worker_id)
        query = "UPDATE file_concerns SET lease_until = mlm_now() - interval '1 second' WHERE lease_worker = %(id)s"
        self.rows(query, id=worker_id)

    def close(self) -> None:
        for each in self.processes:
            if each.forked.poll() is None:
                each.send(signal.SIGKILL)
                each.ended()
        self.monitor.close()
        self.house.engine.dispose()


@contextmanager
def whole_house(
    admin: psycopg.Connection, directory: Path, purpose: str, *, files: int, seed: int = 7, **settings: str
) -> Iterator[WholeHouse]:
    """A house with a database of its own for this purpose, and a sandbox of so many files, until the block ends."""
    with database(admin, purpose) as url, SandboxServer(files=files, seed=seed) as mlm:
        environment = {"DATABASE_URL": url, "REDIS_URL": emptied_redis(), "FIELD_KEYS": FIELD_KEYS, **settings}
        house = WholeHouse(environment, mlm, directory)
        try:
            yield house
        finally:
            house.close()
