"""A worker on one core, and everything else on the others; what processors have taken meanwhile."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import redis
import sqlalchemy as sa

from .ground import Ground, settle
from .processes import listens, running
from .stage import free_port


@dataclass(frozen=True)
class Cores:
    """Which core is the worker's, and which are everybody else's."""

    worker: int
    others: tuple[int, ...]

    def of_worker(self, *argv: str) -> list[str]:
        """The command line, bound to the worker's core."""
        return ["taskset", "--cpu-list", str(self.worker), *argv]

    def of_others(self, *argv: str) -> list[str]:
        """The command line, bound to the others."""
        return ["taskset", "--cpu-list", ",".join(map(str, self.others)), *argv]


@contextmanager
def one_core(here: Ground) -> Iterator[Cores]:
    """Keep the first core free of the servers and of this process, for as long as the block runs.

    Raises:
        RuntimeError: there is one core only.
    """
    ours = os.sched_getaffinity(0)
    first, *others = sorted(ours)
    if not others:
        raise RuntimeError("a worker on one core and an upstream on another want two")
    os.sched_setaffinity(0, others)
    try:
        for server in (here.servers.postgresql, here.servers.valkey):
            assert server is not None
            assert server.process is not None
            for pid in (server.process.pid, *_children(server.process.pid)):
                os.sched_setaffinity(pid, others)
        yield Cores(first, tuple(others))
    finally:
        os.sched_setaffinity(0, ours)


@dataclass(frozen=True)
class Processors:
    """Time of processors that a worker and PostgreSQL have taken, in seconds."""

    worker_s: float
    postgresql_s: float


class Party:
    """One who is measured: a database of its own, an upstream of its own, a worker on its core while it runs."""

    def __init__(self, here: Ground, cores: Cores, stack: ExitStack, name: str, logical: int) -> None:
        self.here, self.cores, self.name, self.url = here, cores, name, here.database(name)
        self.redis_url = sa.make_url(here.servers.redis_url).set(database=str(logical)).render_as_string(False)
        port = free_port()
        self.upstream = f"http://127.0.0.1:{port}"
        argv = cores.of_others(sys.executable, "-m", "benchmarks.upstream", str(port))
        stack.enter_context(running(argv, self.log("upstream"), os.environ, listens(port, "/")))
        self._connection = stack.enter_context(psycopg.connect(self.url, autocommit=True))

    def ask(self, query: str, **parameters: Any) -> tuple[Any, ...]:
        """The first row, over a connection that stays: to look again and again must cost PostgreSQL little."""
        row = self._connection.execute(query, parameters or None).fetchone()
        assert row is not None
        return row

    def log(self, what: str) -> Path:
        """Where a process of this party writes."""
        return self.here.directory / f"{self.name}-{what}.log"

    def begin(self) -> None:
        """Nothing of before is in the way."""
        with redis.Redis.from_url(self.redis_url) as client:
            client.flushdb()
        settle(self.url)

    def processors(self, worker: int) -> Processors:
        """Taken until now."""
        postgresql = self.here.servers.postgresql
        assert postgresql is not None
        assert postgresql.process is not None
        pid = postgresql.process.pid
        return Processors(_taken_s(worker), _taken_s(pid, with_ended=True) + sum(map(_taken_s, _children(pid))))


def _children(parent: int) -> list[int]:
    found = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(each) for each in found]


def _taken_s(pid: int, *, with_ended: bool = False) -> float:
    """Time that a process has been at work, in the kernel too; with that of its children that have ended. 0 if gone."""
    try:
        parts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(map(int, parts[11 : 15 if with_ended else 13])) / os.sysconf("SC_CLK_TCK")
