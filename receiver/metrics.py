"""`/metrics`: how the whole house stands, whichever receiver is asked; only its spool and what it reaches are its own.

A scrape reads what processes have counted, the one row that a scheduler measured last, and the queues: a few small
statements whatever there is (docs/decisions/0014-metrics.md). A part that is away, or does not answer in time, leaves
its numbers out, and `freshness_up` says so; the answer is 200 all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import redis
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from freshness import metrics
from freshness.ledger import calibration, measures, tallies, workers
from freshness.ledger.measures import ConcernMeasure, Measure
from freshness.metrics import Tally
from jobs.broker import connect
from jobs.circuit import circuit_state
from jobs.inspecting import inspect

from .desk import in_thread
from .doors import Door
from .exposition import Seen, Standing, written
from .problems import Problem
from .spool import Spool

T = TypeVar("T")

PATH = "/metrics"

#: What was seen serves all who ask within this time: nobody can load the house by asking.
SERVES_S = 1.0
WITHIN_S = 3.0

#: The last words to PostgreSQL when the server stops.
ENDS_WITHIN_S = 1.0

_PASSED_ON = ("x-forwarded-for", "forwarded", "x-real-ip")
_CIRCUIT = ("closed", "open", "half-open")


@dataclass(frozen=True)
class Gate:
    """Who may scrape: who bears a token; where none is configured, who calls from this very machine."""

    door: Door

    def admit(self, request: Request) -> None:
        """Let the request in, or refuse it. What a proxy here passes on for somebody is not from here.

        Raises:
            Problem: 401 or 403.
        """
        if self.door.tokens:
            self.door.admit(request)
            return
        caller = self.door.caller(request)
        if caller is None or not caller.is_loopback or any(name in request.headers for name in _PASSED_ON):
            raise Problem(403, "without METRICS_TOKEN only this machine may ask")


class Question(Generic[T]):
    """A question to a part of the house that may not answer: never asked twice at once, never waited for long."""

    def __init__(self, ask: Callable[[], T]) -> None:
        self._ask = ask
        self._asked: asyncio.Task[T] | None = None

    async def answer(self) -> T | None:
        """The answer; None if the part is away, or lets us wait."""
        if self._asked is None:
            self._asked = asyncio.create_task(in_thread(self._ask))
        answered, _ = await asyncio.wait({self._asked}, timeout=WITHIN_S)
        if not answered:
            return None
        asked, self._asked = self._asked, None
        try:
            return asked.result()
        except (SQLAlchemyError, redis.RedisError):
            return None


class Metrics:
    """The route, and the handing over of what this process counts. `redis_url` and `spool` are None where none is."""

    def __init__(
        self, gate: Gate, engine: Engine, process: str, tally: Tally, redis_url: str | None, spool: Spool | None
    ) -> None:
        self._gate = gate
        self._engine = engine
        self._process = process
        self._tally = tally
        self._client = connect(redis_url, patient=False) if redis_url else None
        self._spool = spool
        self._postgresql = Question(self._ask_postgresql)
        self._redis = Question(self._ask_redis)
        self._asking = asyncio.Lock()
        self._seen = Seen((), None)
        self._until = 0.0

    def routes(self) -> list[Route]:
        """The one route."""
        return [Route(PATH, self.scrape, methods=["GET"])]

    async def scrape(self, request: Request) -> Response:
        """Every metric, as text.

        Raises:
            Problem: 401 or 403.
        """
        self._gate.admit(request)
        async with self._asking:
            if time.monotonic() >= self._until:
                self._seen = await self._look()
                self._until = time.monotonic() + SERVES_S
        body, content_type = await in_thread(lambda: written(self._seen, request.headers.get("accept", "")))
        return Response(body, headers={"Content-Type": content_type})

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Hand over what is counted every so often until the block ends, and then once more."""
        handing = asyncio.create_task(self._hand_over_for_ever())
        try:
            yield
        finally:
            handing.cancel()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ENDS_WITHIN_S):
                    await self._hand_over()
            if self._client is not None:
                self._client.close()

    async def _hand_over_for_ever(self) -> None:
        while True:
            await asyncio.sleep(tallies.EVERY_S)
            await self._hand_over()

    async def _hand_over(self) -> None:
        """What PostgreSQL does not take is kept for the next time."""
        with contextlib.suppress(SQLAlchemyError):
            await in_thread(lambda: tallies.hand_over(self._engine, self._process, self._tally))

    async def _look(self) -> Seen:
        told, queues, spool = await asyncio.gather(
            self._postgresql.answer(), self._redis.answer(), in_thread(self._look_at_spool)
        )
        up: list[Standing] = [(metrics.UP, ("postgresql",), told is not None)]
        if self._client is not None:
            up.append((metrics.UP, ("redis",), queues is not None))
        counted = told.counted if told else None
        return Seen((*(told.standing if told else ()), *(queues or ()), *spool, *up), counted)

    def _ask_postgresql(self) -> Seen:
        tallies.hand_over(self._engine, self._process, self._tally)
        with self._engine.begin() as conn:
            counted, measure = tallies.total(conn), measures.last(conn)
            processes, calibrated = workers.heard_of(conn), calibration.calibration_of(conn)
        living = Counter(each.process for each in processes if each.lives)
        standing: list[Standing] = [
            (metrics.PROCESSES, (process,), living[process]) for process in (workers.WORKER, workers.SCHEDULER)
        ]
        standing.append((metrics.CALIBRATED, (), calibrated.holds))
        return Seen([*standing, *(standing_of(measure, time.time()) if measure else ())], counted)

    def _ask_redis(self) -> list[Standing]:
        if self._client is None:
            return []
        inspection, circuit = inspect(self._client), circuit_state(self._client)
        standing: list[Standing] = []
        for queue in inspection.queues:
            for state in ("waiting", "delayed", "in_flight", "dead"):
                standing.append((metrics.BELLS, (queue.queue, state), getattr(queue, state)))
            standing.append((metrics.WAIT_S, (queue.queue,), queue.oldest_wait_s or 0.0))
        standing += [(metrics.CIRCUIT, (state,), circuit.state == state) for state in _CIRCUIT]
        open_s = time.time() - circuit.since.timestamp() if circuit.since else 0.0
        return [*standing, (metrics.CIRCUIT_OPEN_S, (), max(0.0, open_s))]

    def _look_at_spool(self) -> list[Standing]:
        if self._spool is None:
            return []
        try:
            depth = self._spool.depth()
        except OSError:
            return [(metrics.SPOOL_WRITABLE, (), False)]
        return [
            (metrics.SPOOLED, ("waiting",), depth.waiting),
            (metrics.SPOOLED, ("aside",), depth.aside),
            (metrics.SPOOL_WRITABLE, (), self._spool.is_writable()),
        ]


def standing_of(measure: Measure, now: float) -> list[Standing]:
    """What a scheduler measured, its ages as they are by now (seconds of the epoch)."""

    def age_s(since: float | None) -> float:
        return 0.0 if since is None else max(0.0, now - since)

    standing: list[Standing] = [
        (metrics.MEASURED_AT, (), measure.measured_at),
        (metrics.STALE_FILES, (), measure.stale_files),
        (metrics.OLDEST_S, (), age_s(measure.oldest)),
        (metrics.UNCONFIRMED, (), measure.unconfirmed_files),
        (metrics.CAPTURES, (), measure.captures_waiting),
    ]
    if measure.newest_receipt is not None:
        standing.append((metrics.NEWEST_RECEIPT, (), measure.newest_receipt))
    for concern in metrics.CONCERNS:
        each = measure.concerns.get(concern, ConcernMeasure())
        standing += [
            (metrics.STALE, (concern,), each.stale),
            (metrics.FAILING, (concern,), each.failing),
            (metrics.GIVEN_UP, (concern,), each.given_up),
            (metrics.CONCERN_OLDEST_S, (concern,), age_s(each.oldest)),
        ]
    return standing
