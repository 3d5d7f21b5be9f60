"""A stage to measure on: PostgreSQL, Valkey, sandbox, receiver, worker and scheduler, each a process of its own."""

from __future__ import annotations

import base64
import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import httpx
import sqlalchemy as sa

from console.embedded import embedded
from console.processes import Child, Supervisor
from freshness.settings import load
from jobs.house import House
from migrations.upgrade import upgrade
from mlm_client.sandbox.server import CLIENT_ID, CLIENT_SECRET, LOAN_PATH, TOKEN_PATH

WEBHOOK_TOKEN, PORTAL_TOKEN = "benchmark", "benchmark-portal"


@dataclass
class Stage:
    """Where everything listens. `house` is the measurer's own way to the database and the queue."""

    environment: dict[str, str]
    house: House
    sandbox: httpx.Client
    receiver: httpx.Client
    log: TextIO

    @property
    def engine(self) -> sa.Engine:
        """The measurer's own connections to the database."""
        return self.house.engine

    @contextmanager
    def workers(self, **settings: str) -> Iterator[None]:
        """One worker and one scheduler, with these settings, for as long as the block runs."""
        env = {**self.environment, **settings}
        with Supervisor([_child("worker", env), _child("scheduler", env)], out=self.log):
            yield

    def deliver(self, ref: str, stamp: str) -> None:
        """Send the webhook for one file, as MLM would."""
        entry = {"eventType": "Modified", "referenceNumber": ref, "values": {"sLastModifiedTimestamp": stamp}}
        self.receiver.post("/api/v1/loans/mlm/webhook", json=[entry]).raise_for_status()

    def one(self, query: str, **parameters: object) -> sa.Row[Any]:
        """One row of the database, as it stands now."""
        with self.engine.begin() as conn:
            return conn.exec_driver_sql(query, parameters).one()


@contextmanager
def stage(files: int, **settings: str) -> Iterator[Stage]:
    """Set everything up but workers. Durable: PostgreSQL syncs every commit, as it would in use."""
    sandbox_port, receiver_port = free_port(), free_port()
    sandbox_url, receiver_url = f"http://127.0.0.1:{sandbox_port}", f"http://127.0.0.1:{receiver_port}"
    with embedded() as servers, tempfile.TemporaryDirectory() as directory:
        upgrade(servers.database_url)
        environment = {
            **os.environ,
            "DATABASE_URL": servers.database_url,
            "REDIS_URL": servers.redis_url,
            "MLM_LOAN_SERVICE_URL": sandbox_url + LOAN_PATH,
            "MLM_TOKEN_URL": sandbox_url + TOKEN_PATH,
            "MLM_CLIENT_ID": CLIENT_ID,
            "MLM_CLIENT_SECRET": CLIENT_SECRET,
            "MLM_WEBHOOK_TOKEN": WEBHOOK_TOKEN,
            "PORTAL_API_TOKEN": PORTAL_TOKEN,
            "FIELD_KEYS": base64.urlsafe_b64encode(os.urandom(32)).decode(),
            "PORT": str(receiver_port),
            **settings,
        }
        log = (Path(directory) / "log").open("w")
        sandbox = _child("sandbox", environment, "--port", str(sandbox_port), "--files", str(files))
        receiver = _child("receiver", environment)
        house = House(load(environment), "benchmark")
        with (
            Supervisor([sandbox, receiver], out=log),
            httpx.Client(base_url=sandbox_url, timeout=30) as to_sandbox,
            httpx.Client(base_url=receiver_url, timeout=30) as to_receiver,
        ):
            until(lambda: _answers(to_sandbox, "/api/health") and _answers(to_receiver, "/readyz"), 30)
            to_receiver.headers["Authorization"] = f"Bearer {WEBHOOK_TOKEN}"
            yield Stage(environment, house, to_sandbox, to_receiver, log)
        house.engine.dispose()


def until(holds: Callable[[], object], within_s: float, every_s: float = 0.05) -> None:
    """Wait until something holds; a benchmark whose stage does not come up fails."""
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {within_s:g} s")
        time.sleep(every_s)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def spread(figures_ms: list[float]) -> str:
    """Median, 95th percentile and worst of some milliseconds, for a table."""
    ordered = sorted(figures_ms)
    at = [ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.95)], ordered[-1]]
    return "  ".join(f"{name} {value:6.1f} ms" for name, value in zip(("p50", "p95", "max"), at, strict=True))


def _child(command: str, environment: dict[str, str], *arguments: str) -> Child:
    return Child(command, [sys.executable, "-m", "console", command, *arguments], env=environment)


def _answers(client: httpx.Client, path: str) -> bool:
    try:
        return client.get(path).is_success
    except httpx.TransportError:
        return False
