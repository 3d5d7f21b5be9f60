"""The sweep: every 2 seconds, rings for whatever is due and was not heard. A queue that was lost costs seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import redis
import structlog
from sqlalchemy import Engine

from freshness.bell import Bell, Ring
from freshness.ledger import confirmations, events, own_writes, receipts, sweeps, workers
from freshness.ledger.orders import file_ring
from freshness.rules import Rules

from .bell import depth
from .broker import Queue

log = structlog.get_logger()

EVERY_S = 2.0
TIDY_EVERY_S = 300.0

#: The sweep holds back while this many slices wait: more rings would only double what is queued.
DEEP = 500


@dataclass(frozen=True)
class Sweep:
    """One tick of each kind; any number of schedulers may run them, since a ring only says "look"."""

    engine: Engine
    rules: Rules
    client: redis.Redis
    bell: Bell
    announce: Callable[[], None]

    def ring_what_is_due(self) -> None:
        """Bells for stale concerns that are due, for captures that wait, for files to confirm, for abandoned writes."""
        rings: list[Ring] = []
        with self.engine.begin() as conn:
            rings += [file_ring(file_id) for file_id in own_writes.end_abandoned(conn)]
        with self.engine.begin() as conn:
            rings += sweeps.uncaptured(conn, limit=DEEP)
            rings += confirmations.due(conn, self.rules)
        if room := self._room():
            with self.engine.begin() as conn:
                rings += sweeps.stale_and_due(conn, self.rules, limit=room)
        self.bell(rings)
        self.announce()

    def tidy(self) -> None:
        """Drop announcements older than a day and workers that died; make the receipts' next weeks."""
        with self.engine.begin() as conn:
            forgotten = events.forget_old(conn)
            workers.forget_dead(conn)
            weeks = receipts.make_weeks_ahead(conn)
        if forgotten or weeks:
            log.info("sweep.tidied", events=forgotten, weeks=weeks)

    def _room(self) -> int:
        try:
            return max(0, DEEP - depth(self.client, Queue.LOAN_SYNC_ASSOC))
        except redis.RedisError:
            return 0
