"""The whole product for a benchmark: receiver, worker and scheduler as processes, and a sandbox MLM in this one."""

from __future__ import annotations

import base64
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import redis

from console import importing
from console.demo.comparing import differences
from freshness.settings import load
from jobs.house import House
from migrations.upgrade import upgrade
from mlm_client.sandbox.api import file_json
from mlm_client.sandbox.server import SandboxServer
from receiver.webhook import PATH

from .ground import Ground, settle
from .parties import TOKEN
from .processes import listens, running
from .stage import free_port, until

#: One Python process uses one core.
WORKERS, THREADS = os.cpu_count() or 1, 4
#: What no benchmark of these is about: reads that no change asks for.
NO_BACKSTOPS = {"MLM_CONFIRM_SHARE": "0", "MLM_AUDIT_SHARE": "0"}

_STALE = "SELECT count(*) FROM file_freshness WHERE served < ordered"
_LIVE = "SELECT count(*) FROM workers WHERE process = %(process)s AND beat_at > mlm_now() - interval '3 seconds'"


@dataclass
class Whole:
    """Where everything is. `house` is the benchmark's own way to the database and to the queue."""

    mlm: SandboxServer
    house: House
    port: int
    environment: dict[str, str]
    directory: Path

    @contextmanager
    def working(self, **settings: str) -> Iterator[None]:
        """A worker a core and one scheduler, with these settings, for as long as the block runs."""
        environment = {**self.environment, **settings}
        with ExitStack() as stack:
            stack.enter_context(self._beating("scheduler", environment, 1))
            stack.enter_context(self._beating("worker", environment, WORKERS, "--threads", str(THREADS)))
            yield

    def import_all(self, refs: Sequence[str] | None = None) -> None:
        """Bring every file of the sandbox here, or these; they are fresh afterwards, and equal to MLM's."""
        begun = importing.begin(self.house.engine, refs or self.mlm.store.refs())
        for progress in importing.follow(self.house.engine, self.house.bell, begun.run):
            if progress.done:
                break
        self.rests()
        self.is_equal(refs)

    def rests(self, within_s: float = 120.0) -> None:
        """Wait until nothing is under way: no webhook waits, no file is stale, MLM is asked nothing."""
        until(self._at_rest, within_s, every_s=0.02)

    def is_equal(self, refs: Sequence[str] | None = None) -> None:
        """Every value of every file of ours, or of these, is MLM's.

        Raises:
            RuntimeError: one is not: a change was lost.
        """
        with self.house.engine.begin() as conn:
            for ref in refs or self.mlm.store.refs():
                theirs = file_json(self.mlm.store.newest(ref), self.mlm.dials.now)
                if found := differences(conn, self.house.keys, theirs):
                    raise RuntimeError(f"{ref} is said to be fresh and is not: {found[0]}, of {len(found)}")

    def _at_rest(self) -> bool:
        webhooks, calls = self.mlm.deliveries.counters(), self.mlm.calls
        waiting = webhooks["waiting"] or webhooks["under_way"] or calls.under_way
        return not waiting and not self._count(_STALE)

    def _count(self, query: str, **parameters: str) -> int:
        with self.house.engine.begin() as conn:
            return int(conn.exec_driver_sql(query, parameters).scalar_one())

    @contextmanager
    def _beating(self, process: str, environment: dict[str, str], number: int, *options: str) -> Iterator[None]:
        """So many of a process, all of them alive when the block begins."""
        argv = [sys.executable, "-m", "console", process, *options]
        until(lambda: not self._count(_LIVE, process=process), 10)
        with ExitStack() as stack:
            for each in range(1, number + 1):
                log = self.directory / f"{process}-{each}.log"
                beat = partial(self._beat, process, each)
                stack.enter_context(running(argv, log, environment, beat))
            yield

    def _beat(self, process: str, number: int) -> bool:
        return self._count(_LIVE, process=process) >= number


@contextmanager
def whole(here: Ground, name: str, files: int, **settings: str) -> Iterator[Whole]:
    """The receiver and the sandbox, its webhooks sent to the receiver, for as long as the block runs; no worker yet."""
    url, port = here.database(name), free_port()
    upgrade(url)
    with redis.Redis.from_url(here.servers.redis_url) as client:
        client.flushall()
    with SandboxServer(files=files) as mlm:
        environment = {
            **os.environ,
            "DATABASE_URL": url,
            "REDIS_URL": here.servers.redis_url,
            "PORT": str(port),
            "MLM_LOAN_SERVICE_URL": mlm.loan_service_url,
            "MLM_TOKEN_URL": mlm.token_url,
            "MLM_CLIENT_ID": mlm.client_id,
            "MLM_CLIENT_SECRET": mlm.client_secret,
            "MLM_WEBHOOK_TOKEN": TOKEN,
            "FIELD_KEYS": base64.urlsafe_b64encode(os.urandom(32)).decode(),
            **settings,
        }
        house = House(load(environment), "benchmark")
        argv = [sys.executable, "-m", "console", "receiver"]
        with running(argv, here.directory / f"{name}-receiver.log", environment, listens(port, "/readyz")):
            mlm.deliveries.target(f"http://127.0.0.1:{port}{PATH}", TOKEN)
            yield Whole(mlm, house, port, environment, here.directory)
            mlm.deliveries.target(None, None)
        house.engine.dispose()
    settle(url)


def timed(step: Callable[[], object]) -> float:
    """How many seconds a step takes."""
    began = time.perf_counter()
    step()
    return time.perf_counter() - began
