"""The worker process: threads for prompt jobs, threads for the rest, a tick each second, and a clean end.

Dramatiq's `Worker`, run in this process rather than by its command: two of them, so that a prompt job never waits for a
thread that thousands of slices, or the rate of MLM, keep busy.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

import dramatiq
import redis
import structlog

from .broker import Broker, Queue, listener_for
from .errors import RedisLost

log = structlog.get_logger(__name__)

#: Running jobs have this long to finish after SIGTERM; below the usual 30 s after which a platform kills.
GRACE_S = 20.0

#: Threads look this often whether they should stop. Pick-up does not hang on it: they are woken (`consumer`).
LOOK_MS = 200

TICK_S = 1.0

#: Where Redis is lost nothing can be fetched or acknowledged: running jobs may commit, no more.
LOST_GRACE_S = 5.0


class WorkerProcess:
    """Runs the actors that a broker has by now, until it is told to stop. Of a kind that has no threads it runs none.

    `on_tick` is called each second in a thread of its own (the heartbeat, the refresh of places); what it raises is
    logged. `stop` is set when the process begins to stop: hand it to whatever waits. Of each queue no more is fetched
    than there are threads, so that other processes find work.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        prompt_threads: int = 2,
        bulk_threads: int = 8,
        grace_s: float = GRACE_S,
        on_tick: Callable[[], None] | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self.stop = stop or threading.Event()
        self._broker = broker
        self._grace_s = grace_s
        self._on_tick = on_tick
        bulk_broker = broker.twin()
        pools = (
            (broker, {Queue.PROMPT}, prompt_threads),
            (bulk_broker, {Queue.LOAN_SYNC, Queue.LOAN_SYNC_ASSOC}, bulk_threads),
        )
        self._workers = [_worker(each, queues, threads) for each, queues, threads in pools if threads]
        self._listener = listener_for(broker.client, broker, bulk_broker)
        self._ticking = threading.Thread(target=self._tick, name="tick", daemon=True)
        self._ended = threading.Event()

    def run(self) -> int:
        """Work until SIGTERM or SIGINT (a second one exits at once), or until Redis is lost. Returns the exit code.

        0: stopped as told; running jobs were let finish, fetched ones handed back. 1: Redis was lost; start again.
        Where Redis is not there yet it waits: who has fetched nothing has nothing to lose by that, and work begins
        with Redis, not after the pause of whoever would start us again.
        """
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        if not self._redis_comes():
            return 0
        self.start()
        while not self.stop.wait(LOOK_MS / 1000):
            if self._broker.lost.is_set():
                log.critical("worker.redis_lost", error=str(RedisLost()))
                self.end(min(self._grace_s, LOST_GRACE_S))
                return 1
        log.info("worker.stopping", grace_s=self._grace_s)
        self.end(self._grace_s)
        return 0

    def start(self) -> None:
        """Begin to work, in threads; `run` does it."""
        self._listener.start()
        for worker in self._workers:
            worker.start()
        self._ticking.start()
        log.info("worker.started", threads={str(q): w.worker_threads for w in self._workers for q in _queues(w)})

    def end(self, grace_s: float) -> None:
        """Fetch no more, let running jobs finish for `grace_s`, hand back what was fetched; `run` does it.

        The tick goes on meanwhile: the jobs that still run hold leases and places.
        """
        self.stop.set()
        ends = [threading.Thread(target=_end, args=(worker, grace_s), daemon=True) for worker in self._workers]
        for each in ends:
            each.start()
        for each in ends:
            each.join(grace_s + 2)
        self._ended.set()
        self._listener.stop()
        self._ticking.join(TICK_S)  # or a beat might follow the word that we have ended

    def _redis_comes(self) -> bool:
        """Wait until Redis answers; False if we are told to stop before it does."""
        while not self.stop.is_set():
            try:
                self._broker.client.ping()
            except redis.RedisError as error:
                log.warning("worker.waits_for_redis", error=type(error).__name__)
            else:
                return True
        return False

    def _tick(self) -> None:
        while not self._ended.wait(TICK_S):
            if self._on_tick is None:
                continue
            try:
                self._on_tick()
            except Exception as error:  # noqa: BLE001  (a tick that fails once must not be the last)
                log.warning("worker.tick_failed", error=type(error).__name__)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.stop.is_set():
            os._exit(128 + number)
        self.stop.set()


def _worker(broker: Broker, queues: set[Queue], threads: int) -> dramatiq.Worker:
    worker = dramatiq.Worker(broker, queues=set(queues), worker_timeout=LOOK_MS, worker_threads=threads)
    worker.queue_prefetch = threads  # by default twice as many: other processes would find nothing (measured)
    return worker


def _queues(worker: dramatiq.Worker) -> set[str]:
    return worker.consumer_whitelist or set()


def _end(worker: dramatiq.Worker, grace_s: float) -> None:
    try:
        worker.stop(timeout=round(grace_s * 1000))
    except redis.RedisError as error:
        log.warning("worker.not_handed_back", error=type(error).__name__)
