"""The hops between a webhook and a changed row, each measured by itself, with the libraries that ours is made of.

    python -m benchmarks.hops REDIS_URL        the worker of the pick-up

A request: a POST to a server that does nothing. A commit: one row, over a connection that is there. A pick-up: one
message of Dramatiq's, from before it is enqueued until its actor begins in another process that was idle, whose worker
looks every millisecond. A call: LoadByRefNumber with zeep, the question that ours asks, what MLM says not looked at.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

import dramatiq
import httpx
import psycopg
import redis
import sqlalchemy as sa
from dramatiq.brokers.redis import RedisBroker

from .ground import Ground
from .peers.plain_job import asking
from .processes import listens, running
from .seen import share
from .stage import free_port

#: At rest between, as long as a change is that is measured idle.
TIMES, PAUSE_S = 25, 0.05
LOOK_MS = 1
QUEUE, ACTOR, ARRIVED = "hops", "hops.arrive", "hops:arrived"

_TABLE = (
    "CREATE TABLE IF NOT EXISTS committed (id bigserial PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp())"
)
_COMMIT = "INSERT INTO committed DEFAULT VALUES"


@dataclass(frozen=True)
class Floor:
    """Medians, in milliseconds."""

    request: float
    commit: float
    pickup: float
    call: float

    def of(self, *, requests: int, commits: int, pickups: int, calls: int, waits_ms: float) -> float:
        """What so many of each take together."""
        hops = requests * self.request + commits * self.commit + pickups * self.pickup + calls * self.call
        return hops + waits_ms


@dataclass(frozen=True)
class Hops:
    """Who takes each hop once."""

    taking: dict[str, Callable[[], float]]

    def measure(self) -> Floor:
        """Each hop so many times, at uneven intervals, alone."""
        lot = Random(1)
        medians = {}
        for name, take in self.taking.items():
            took = []
            for _ in range(TIMES):
                time.sleep(PAUSE_S * (0.5 + lot.random()))
                took.append(take() * 1e3)
            medians[name] = share(took, 0.5)
        return Floor(**medians)


@contextmanager
def hops(here: Ground, database_url: str, upstream_url: str, ref: str, question: str, body: bytes) -> Iterator[Hops]:
    """Everything that the hops need, for as long as the block runs: a worker that looks every millisecond takes from
    whatever else is measured. `body` is what a request brings."""
    port = free_port()
    redis_url = sa.make_url(here.servers.redis_url).set(database="9").render_as_string(False)
    answering = [sys.executable, "-m", "benchmarks.generator", "--answer", str(port)]
    working = [sys.executable, "-m", "benchmarks.hops", redis_url]
    with ExitStack() as stack:
        stack.enter_context(running(answering, here.directory / "answer.log", os.environ, listens(port)))
        client = stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False))
        connection = stack.enter_context(psycopg.connect(database_url, autocommit=True))
        connection.execute(_TABLE)
        there = stack.enter_context(redis.Redis.from_url(redis_url))
        there.flushdb()
        broker = RedisBroker(url=redis_url)  # type: ignore[no-untyped-call]
        broker.declare_queue(QUEUE)
        stack.callback(broker.close)
        pick_up = _pick_up(broker, there)
        log = here.directory / "hops.log"
        stack.enter_context(running(working, log, os.environ, lambda: there.get(ARRIVED + ":ready") is not None))
        ask = asking(upstream_url)
        yield Hops(
            {
                "request": lambda: _timed(lambda: client.post("/", content=body)),
                "commit": lambda: _timed(lambda: connection.execute(_COMMIT)),
                "pickup": pick_up,
                "call": lambda: _timed(lambda: ask(ref, question)),
            }
        )


def _pick_up(broker: Any, there: redis.Redis) -> Callable[[], float]:
    def once() -> float:
        message: dramatiq.Message[Any] = dramatiq.Message(QUEUE, ACTOR, (), {}, {})
        began = time.time()
        broker.enqueue(message)
        told: Any = there.blpop([ARRIVED], timeout=10)
        return float(told[1]) - began

    return once


def _timed(step: Callable[[], object]) -> float:
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


def main() -> None:
    """Work until told to stop: say when each message has arrived."""
    url = sys.argv[1]
    broker, there = RedisBroker(url=url), redis.Redis.from_url(url)  # type: ignore[no-untyped-call]

    def arrive() -> None:
        there.rpush(ARRIVED, time.time())

    dramatiq.Actor(arrive, broker=broker, actor_name=ACTOR, queue_name=QUEUE, priority=0, options={})
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
    worker = dramatiq.Worker(broker, worker_threads=8, worker_timeout=LOOK_MS)
    worker.start()
    there.set(ARRIVED + ":ready", 1)
    stop.wait()
    worker.stop()


if __name__ == "__main__":
    main()
