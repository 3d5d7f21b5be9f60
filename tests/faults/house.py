"""The house that faults strike: the product as processes, as a service manager keeps them, on servers of its own.

A receiver with a spool, two schedulers, two workers; PostgreSQL that syncs its commits and Valkey that writes its
append-only file; a sandbox MLM that answers in 20 ms, in a thread of this process. `console.processes.Supervisor` is
the service manager: what ends is started again after 0.2 s, doubling to 5 s if it ends again within 10 s.
"""

from __future__ import annotations

import base64
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

import redis
import sqlalchemy as sa

from console import importing
from console.demo.comparing import differences
from console.embedded import PostgreSQL, Servers, Valkey, embedded
from console.laptop import answers
from console.processes import Child, Supervisor
from freshness.settings import SETTINGS, load
from jobs.broker import NAMESPACE, Queue
from jobs.house import House
from migrations.upgrade import upgrade
from mlm_client.sandbox.api import file_json
from mlm_client.sandbox.files import Version
from mlm_client.sandbox.server import SandboxServer

ROOT = Path(__file__).parents[2]
WEBHOOK_TOKEN, PORTAL_TOKEN = "from-mlm", "from-portal"
WEBHOOK = "/api/v1/loans/mlm/webhook"
FILES = 200
LATENCY_MS = 20.0
RESOLUTION_S = 0.004

#: What the house runs with where a fault does not say otherwise. Quiet and time limits are shorter than the defaults,
#: so that a run does not last an hour.
SETTINGS_OF_THE_RUN = {
    "MLM_RATE": "400",
    "MLM_STAMP_RESOLUTION": str(RESOLUTION_S),
    "MLM_QUIET": "3",
    "MLM_TIMEOUT": "2,5,10",
    "MLM_WEBHOOK_TOKEN": WEBHOOK_TOKEN,
    "PORTAL_API_TOKEN": PORTAL_TOKEN,
}
WORKERS, SCHEDULERS, RECEIVER = ("worker-1", "worker-2"), ("scheduler-1", "scheduler-2"), "receiver"


class NotWithin(Exception):
    """Something that was waited for did not come."""

    def __init__(self, what: str, within_s: float) -> None:
        super().__init__(f"not within {within_s:g} s: {what}")


def until(holds: Callable[[], object], what: str, within_s: float = 60.0, every_s: float = 0.02) -> float:
    """Wait until something holds; when it did, by `time.monotonic`. PostgreSQL or Redis away counts as not yet.

    Raises:
        NotWithin: it never did.
    """
    deadline = time.monotonic() + within_s
    while True:
        with suppress(sa.exc.DBAPIError, redis.RedisError):
            if holds():
                return time.monotonic()
        if time.monotonic() > deadline:
            raise NotWithin(what, within_s)
        time.sleep(every_s)


class Standing:
    """The house while it stands."""

    def __init__(self, servers: Servers, mlm: SandboxServer, directory: Path, log: TextIO, shared_reads: bool) -> None:
        assert servers.postgresql is not None
        assert servers.valkey is not None
        self.postgresql: PostgreSQL = servers.postgresql
        self.valkey: Valkey = servers.valkey
        self.mlm = mlm
        self.spool = directory / "spool"
        self._port = _free_port()
        self.environment = {
            "DATABASE_URL": servers.database_url,
            "REDIS_URL": servers.redis_url,
            "PORT": str(self._port),
            "MLM_SHARED_READS": str(int(shared_reads)),
            "MLM_LOAN_SERVICE_URL": mlm.loan_service_url,
            "MLM_TOKEN_URL": mlm.token_url,
            "MLM_CLIENT_ID": mlm.client_id,
            "MLM_CLIENT_SECRET": mlm.client_secret,
            "FIELD_KEYS": base64.urlsafe_b64encode(os.urandom(32)).decode(),
            "SPOOL_DIR": str(self.spool),
            **SETTINGS_OF_THE_RUN,
        }
        self.house = House(load(self.environment), "faults", threads=8)
        self.redis = redis.Redis.from_url(servers.redis_url, socket_timeout=5)
        self.refs = mlm.store.refs()
        self._log = log
        self._running: dict[str, Supervisor] = {}

    @property
    def url(self) -> str:
        """Where the next request goes."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def engine(self) -> sa.Engine:
        """Our own connections to the database."""
        return self.house.engine

    def rows(self, query: str, **parameters: Any) -> Sequence[sa.Row[Any]]:
        """What a query finds."""
        with self.engine.begin() as conn:
            return conn.exec_driver_sql(query, parameters).all()

    def number(self, query: str, **parameters: Any) -> int:
        """The one number that a query finds."""
        return int(self.rows(query, **parameters)[0][0] or 0)

    def run(self, **settings: str) -> None:
        """Run the processes, in place of those that run, with these settings beside the usual ones."""
        self.stop()
        for child in self._children({**bare_environment(), **self.environment, **settings}):
            self._start(child)
        until(lambda: self._beating() >= len(WORKERS) + len(SCHEDULERS), "workers and schedulers beat")

    def stop(self) -> None:
        """End all processes, those that were started last first."""
        while self._running:
            self._running.popitem()[1].stop()

    def pid(self, name: str) -> int:
        """Who runs under this name, waited for if it is between two starts."""
        ids = self._running[name].process_ids
        until(lambda: name in ids(), f"{name} runs")
        return ids()[name]

    def kill(self, name: str) -> float:
        """Kill a process with SIGKILL. When the service manager had started it again, by `time.monotonic`."""
        pid = self.pid(name)
        os.kill(pid, signal.SIGKILL)
        return until(lambda: self.pid(name) != pid, f"{name} was started again", every_s=0.002)

    @contextmanager
    def frozen(self, *names: str) -> Iterator[None]:
        """Processes that are stopped (SIGSTOP) while the block runs."""
        pids = [self.pid(name) for name in names]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def name_of(self, worker_id: str) -> str | None:
        """Which of our processes a worker in the ledger is."""
        running = {pid: name for each in self._running.values() for name, pid in each.process_ids().items()}
        return running.get(int(worker_id.split(":")[1]))

    def retries_pending(self) -> int:
        """Messages for later that stand in Redis."""
        return sum(self.redis.hlen(f"{NAMESPACE}:{queue}.DQ.msgs") for queue in Queue)

    def differs(self, conn: sa.Connection, version: Version) -> list[str]:
        """Where our copy is not this version of a file."""
        found = differences(conn, self.house.keys, file_json(version, self.mlm.dials.now))
        return [str(each) for each in found]

    def import_all(self) -> None:
        """Bring every file here for the first time."""
        begun = importing.begin(self.engine, self.refs)
        for progress in importing.follow(self.engine, self.house.bell, begun.run):
            if progress.given_up or progress.not_found:
                raise RuntimeError(f"the import came to {progress}")

    def close(self) -> None:
        """End what we started, and let go of both servers."""
        self.stop()
        self.redis.close()
        self.engine.dispose()

    def _children(self, environment: dict[str, str]) -> list[Child]:
        """The processes in the order of their start."""
        ready = {RECEIVER: lambda: answers(f"{self.url}/readyz")}
        return [Child(name, argv(name), environment, ready.get(name)) for name in (RECEIVER, *SCHEDULERS, *WORKERS)]

    def _start(self, child: Child) -> None:
        self._running[child.name] = Supervisor([child], out=self._log)
        self._running[child.name].__enter__()

    def _beating(self) -> int:
        return self.number("SELECT count(*) FROM workers WHERE beat_at > mlm_now() - interval '4 seconds'")


@contextmanager
def standing(log: TextIO, shared_reads: bool = True) -> Iterator[Standing]:
    """A house that stands, its files imported, for as long as the block runs. All of it ends with the block.
    `shared_reads`: one call to MLM reads all that is stale of a file."""
    with embedded() as servers, SandboxServer(files=FILES, seed=7) as mlm:
        assert servers.postgresql is not None
        upgrade(servers.database_url)
        house = Standing(servers, mlm, servers.postgresql.directory.parent, log, shared_reads)
        try:
            house.run()
            house.import_all()
            mlm.dials.patch(latency_ms=LATENCY_MS)
            yield house
        finally:
            house.close()


def argv(name: str) -> list[str]:
    """The command line of a process by its name: `worker-2` is a worker."""
    return [sys.executable, "-P", "-m", "console", name.partition("-")[0]]


def bare_environment() -> dict[str, str]:
    """Our environment without any setting of the product; processes import what we do, wherever they start."""
    ours = {name for setting in SETTINGS for name in (setting.name, f"{setting.name}_FILE")}
    return {name: value for name, value in os.environ.items() if name not in ours} | {"PYTHONPATH": str(ROOT)}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
