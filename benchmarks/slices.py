"""Slices: how many concerns a second one core brings up to date, and how many bare jobs a second the same core does.

Ours is `freshness worker` as it is, bound to one core; all else is on the others: PostgreSQL, which syncs its commits,
Valkey, and an MLM whose answers were made before (`upstream`). Each file has been saved there and told of by a webhook;
then all are rung for at once, and the clock runs until each concern of each file has landed. `same`: no row differs,
only the stamp is new. `other`: every row that MLM tells of differs from the one we hold. With reads apart each concern
is a job and a call of its own; with shared reads (as by default) a call brings all that is stale of a file, and counted
are the concerns that have landed.

The peer is a Dramatiq job that asks MLM for one concern with zeep and commits one row, on the same core and with as
many threads: what a copy cannot be kept fresh for less than. It is asked for the same concerns in turn.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice

import httpx

from freshness.bell import Ring
from freshness.concerns import ALL
from freshness.ledger.batches import Entry, receive
from freshness.settings import load
from hydrators.registry import question_of
from jobs.house import House
from migrations.upgrade import upgrade
from mlm_client.sandbox.server import CLIENT_ID, CLIENT_SECRET, LOAN_PATH, TOKEN_PATH

from . import files, ground
from .ground import Ground, execute
from .one_core import Cores, Party, Processors, one_core
from .peers import plain_job
from .processes import running
from .stage import until
from .table import Figure, Mark, Measured, Row, Series
from .upstream import OTHER, SAME, SAVED

NAME = "slices"

#: Files in one turn, with shared reads and with reads apart, and jobs of the peer: some five seconds each.
TOGETHER, APART, JOBS = 100, 50, 1_500
#: What is done before, so that connections and caches are there.
WARM = 10
WITHIN_S = 300.0

SETTINGS = {"MLM_STAMP_RESOLUTION": "0.004", "MLM_RATE": "100000", "MLM_MAX_CONCURRENCY": "16"}

_STALE = "SELECT count(*) FROM file_freshness WHERE served < ordered"
_BEATS = "SELECT count(*) FROM workers WHERE beat_at > mlm_now() - interval '3 seconds'"
_NOW = "SELECT clock_timestamp()"
_LANDED = """
SELECT count(*) FILTER (WHERE outcome = 'landed'), count(*) FILTER (WHERE rows_changed IS NOT NULL),
       extract(epoch FROM max(finished_at) - %(began)s)::float
FROM slice_runs WHERE started_at >= %(began)s
"""
_DONE = "SELECT count(*), extract(epoch FROM max(at) - %(began)s)::float FROM done WHERE at >= %(began)s"
_FINISHED = "TRUNCATE slice_runs"


@dataclass
class Seen:
    """What the rounds have shown: for each name a figure a round."""

    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, **figures: float) -> str:
        """One turn's figures; the same for a screen."""
        for what, value in figures.items():
            self.values.setdefault(f"{name}: {what}", []).append(value)
        return ", ".join(f"{what} {value:.4g}" for what, value in figures.items())

    def series(self, name: str, label: str) -> Series:
        """All rounds' figures of one name."""
        return Series(label, tuple(self.values[name]))


class Ours(Party):
    """The product, with shared reads or without."""

    def __init__(
        self, here: Ground, cores: Cores, stack: ExitStack, name: str, logical: int, known: int, shared: bool
    ) -> None:
        super().__init__(here, cores, stack, name, logical)
        self.known = known
        upgrade(self.url)
        execute(self.url, files.LOANS, held=files.HELD, files=known)
        execute(self.url, files.THEIR_NUMBERS, held=files.HELD)
        execute(self.url, files.THEIR_CONCERNS, held=files.HELD, concerns=files.ACTIVE)
        execute(self.url, files.RECEIPT_WEEKS)
        execute(self.url, files.CALIBRATED)
        self.environment = {
            **os.environ,
            "DATABASE_URL": self.url,
            "REDIS_URL": self.redis_url,
            "MLM_LOAN_SERVICE_URL": self.upstream + LOAN_PATH,
            "MLM_TOKEN_URL": self.upstream + TOKEN_PATH,
            "MLM_CLIENT_ID": CLIENT_ID,
            "MLM_CLIENT_SECRET": CLIENT_SECRET,
            "FIELD_KEYS": base64.urlsafe_b64encode(os.urandom(32)).decode(),
            "MLM_SHARED_READS": str(int(shared)),
            **SETTINGS,
        }
        self.house = House(load(self.environment), "benchmark")
        stack.callback(self.house.engine.dispose)
        with self.worker():
            self.drain(OTHER, self.known)

    @contextmanager
    def worker(self) -> Iterator[int]:
        """The worker on its core, for as long as the block runs; its id."""
        self.begin()
        argv = self.cores.of_worker(sys.executable, "-m", "console", "worker")

        def beats() -> bool:
            return bool(self.ask(_BEATS)[0])

        until(lambda: not beats(), 10)
        with running(argv, self.log("worker"), self.environment, beats) as pid:
            yield pid

    def measure(self, how: str) -> tuple[float, Processors]:
        """Slices a second, and what processors took for one.

        Raises:
            RuntimeError: not all have landed, or rows have changed other than they should.
        """
        with self.worker() as worker:
            self.drain(SAME, WARM)
            before = self.processors(worker)
            took_s, landed, changed = self.drain(how, self.known)
            after = self.processors(worker)
        slices = self.known * len(ALL)
        if landed != slices or changed != (slices if how == OTHER else 0):
            raise RuntimeError(f"of {slices} slices {landed} have landed, and {changed} have changed rows")
        took = Processors(
            (after.worker_s - before.worker_s) / slices, (after.postgresql_s - before.postgresql_s) / slices
        )
        return slices / took_s, took

    def drain(self, how: str, count: int) -> tuple[float, int, int]:
        """Save in MLM, tell so many files of it, ring, wait. Seconds, slices landed, slices that changed rows."""
        stamp = httpx.post(f"{self.upstream}{SAVED}{how}", trust_env=False).text
        refs = iter(range(1, count + 1))
        rings: list[Ring] = []
        while batch := [_entry(number, stamp) for number in islice(refs, 50)]:
            with self.house.engine.begin() as conn:
                rings += receive(conn, self.house.rules, batch).rings
        execute(self.url, _FINISHED)
        (began,) = self.ask(_NOW)
        self.house.bell(rings)
        until(lambda: not self.ask(_STALE)[0], WITHIN_S)
        landed, changed, took_s = self.ask(_LANDED, began=began)
        return took_s, landed, changed


class Plain(Party):
    """The peer."""

    def __init__(self, here: Ground, cores: Cores, stack: ExitStack, logical: int) -> None:
        super().__init__(here, cores, stack, "plain", logical)
        execute(self.url, plain_job.TABLE)
        names = House(load(os.environ), "benchmark").names
        questions = [question_of([concern], names).to_xml() for concern in ALL]
        job = {
            "redis_url": self.redis_url,
            "database_url": self.url,
            "upstream_url": self.upstream,
            "questions": questions,
        }
        self.environment = {**os.environ, "JOB": json.dumps(job)}

    def measure(self) -> tuple[float, Processors]:
        """Jobs a second, and what processors took for one."""
        self.begin()
        argv = self.cores.of_worker(sys.executable, "-m", "benchmarks.peers.plain_job")
        with running(argv, self.log("worker"), self.environment, lambda: True) as worker:
            self._run(WARM * len(ALL))
            before = self.processors(worker)
            took_s = self._run(JOBS)
            after = self.processors(worker)
        took = Processors((after.worker_s - before.worker_s) / JOBS, (after.postgresql_s - before.postgresql_s) / JOBS)
        return JOBS / took_s, took

    def _run(self, count: int) -> float:
        (began,) = self.ask(_NOW)
        jobs = [(f"R{number // len(ALL) + 1:06d}", number % len(ALL)) for number in range(count)]
        plain_job.enqueue(self.redis_url, jobs)
        until(lambda: self.ask(_DONE, began=began)[0] >= count, WITHIN_S)
        return float(self.ask(_DONE, began=began)[1])


def run(rounds: int, say: Callable[[str], None]) -> Measured:
    """Ours, nothing changed and everything changed, and the peer, in turn; in the first round with reads apart too."""
    seen = Seen()
    with ground.ground() as here, one_core(here) as cores, ExitStack() as stack:
        together = Ours(here, cores, stack, "together", 0, TOGETHER, shared=True)
        apart = Ours(here, cores, stack, "apart", 1, APART, shared=False)
        plain = Plain(here, cores, stack, 2)
        turns: dict[str, Callable[[], tuple[float, Processors]]] = {"peer": plain.measure}
        for ours in (apart, together):
            for how in (SAME, OTHER):
                turns[f"{ours.name} {how}"] = lambda ours=ours, how=how: ours.measure(how)  # type: ignore[misc]
        for number in range(rounds):
            for name, measure in turns.items():
                if number and name.startswith(apart.name):
                    continue  # here to compare, once
                per_s, took = measure()
                told = seen.add(name, per_s=per_s, worker_ms=took.worker_s * 1e3, postgresql_ms=took.postgresql_s * 1e3)
                say(f"round {number + 1} of {rounds}: {name}: {told}")
        return Measured(_rows(seen), ground.versions(here.servers), _figures(seen))


_NAMES = {
    "apart same": "reads apart, nothing changed",
    "apart other": "reads apart, everything changed",
    "together same": "shared reads, nothing changed",
    "together other": "shared reads, everything changed",
    "peer": "Dramatiq, zeep, one commit",
}


def _rows(seen: Seen) -> list[Row]:
    peer = seen.series("peer: per_s", _NAMES["peer"])
    load = f"{TOGETHER} files of 48 records, all rung for at once"
    under = f"one core, 8 threads; {load}; resolution 4 ms, no bound to the rate, 16 calls at once"
    return [
        Row(
            name.replace(" ", "-"),
            f"slices on one core: {what}",
            "slices/s",
            seen.series(f"{name}: per_s", "ours"),
            peer,
            Mark(0.6 if name.endswith(SAME) else 0.4, True),
            under,
        )
        for name, what in _NAMES.items()
        if name.startswith("together")
    ]


def _figures(seen: Seen) -> list[Figure]:
    apart = [name for name in _NAMES if name.startswith("apart")]
    return [
        *(Figure(_NAMES[name], "slices/s", seen.series(f"{name}: per_s", _NAMES[name])) for name in apart),
        *(
            Figure(f"{what}: processor time of {whose} for one", "ms", seen.series(f"{name}: {figure}", what))
            for name, what in _NAMES.items()
            for figure, whose in (("worker_ms", "the worker"), ("postgresql_ms", "PostgreSQL"))
        ),
    ]


def _entry(number: int, stamp: str) -> Entry:
    return Entry(f"R{number:06d}", f"2026{number:06d}", "Modified", stamp)
