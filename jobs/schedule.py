"""The clock: runs ticks at their intervals, and the reaper that hands back dead workers' messages.

APScheduler is a clock only. Who does the work of a period is decided in PostgreSQL (`freshness.ledger.claims`, and
the sweeps' own row locks), so two schedulers do no harm, and a period missed while none ran is made up for by the next
tick.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from .broker import HEARTBEAT_TIMEOUT_MS, Broker, Queue, connect

log = structlog.get_logger(__name__)

REAP_EVERY_S = 15.0

#: Late ticks run late. APScheduler's default of 1 s drops them (measured).
MISFIRE_GRACE_S = 3600

#: Dramatiq counts in millionths: always.
_ALWAYS = 1_000_000


@dataclass(frozen=True)
class Tick:
    """What to call, and how many seconds after the last call began."""

    every_s: float
    call: Callable[[], None]


def make_schedule(ticks: Mapping[str, Tick]) -> BackgroundScheduler:
    """A schedule of these ticks, each with a thread of its own, not started yet; `start()` calls each at once.

    A tick never overlaps with itself; ticks missed meanwhile count as one. What a tick raises is logged by its type.
    """
    schedule = BackgroundScheduler(
        executors={"default": ThreadPoolExecutor(len(ticks))},
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": MISFIRE_GRACE_S},
        timezone=dt.UTC,
    )
    for name, tick in ticks.items():
        schedule.add_job(
            _guarded(name, tick.call),
            "interval",
            seconds=tick.every_s,
            id=name,
            next_run_time=dt.datetime.now(dt.UTC),
        )
    return schedule


class Reaper:
    """Hands messages that dead brokers had fetched back to their queues; tick it every `REAP_EVERY_S`.

    Left to itself dramatiq does so on one command in a thousand: after 111 to 699 s (measured). Any number of reapers
    may run.
    """

    def __init__(self, redis_url: str, heartbeat_timeout_ms: int = HEARTBEAT_TIMEOUT_MS) -> None:
        self._broker = Broker(connect(redis_url), heartbeat_timeout_ms, maintenance_chance=_ALWAYS)

    def tick(self) -> None:
        """Clean up behind brokers that were silent for longer than the timeout.

        Raises:
            redis.RedisError: Redis is away.
        """
        for queue in Queue:
            self._broker.do_qsize(str(queue))
            self._broker.do_qsize(f"{queue}.DQ")


def _guarded(name: str, call: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001  (the next tick tries again)
            log.warning("schedule.tick_failed", tick=name, error=type(error).__name__)

    return run
