"""The sweep: every 2 seconds, rings for whatever is due and was not heard. A queue that was lost costs seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import redis
import structlog
from sqlalchemy import Engine

from freshness.bell import Bell, Ring
from freshness.ledger import confirmations, events, own_writes, receipts, sweeps, workers
from freshness.ledger.orders import file_ring
from freshness.rules import Rules

from .bell import depth
from .broker import Queue
from .circuit import circuit_state

log = structlog.get_logger()

EVERY_S = 2.0
TIDY_EVERY_S = 300.0

#: The sweep holds back while this many slices wait: more rings would only double what is queued.
DEEP = 500


@dataclass(frozen=True)
class Sweep:
    """One tick of each kind; any number of schedulers may run them, since a ring only says "look".

    `deep` is how many slices may wait before it holds back: at the rate of MLM more than one sweep's time, so that a
    backlog drains without a pause.
    """

    engine: Engine
    rules: Rules
    client: redis.Redis
    bell: Bell
    announce: Callable[[], None]
    deep: int = DEEP
    lot: Random = field(default_factory=Random)

    def ring_what_is_due(self) -> None:
        """Bells for stale concerns that are due, for captures that wait, for files to confirm, for abandoned writes.

        While MLM is away, or Redis is, nothing that calls MLM is rung for. When the circuit is to be probed, one is:
        drawn by lot, so that a file whose calls always fail cannot be every probe.
        """
        with self.engine.begin() as conn:
            rings = [file_ring(file_id) for file_id in own_writes.end_abandoned(conn)]
        circuit, room = self._look()
        if circuit == "closed":
            rings += self._due(room)
            with self.engine.begin() as conn:
                rings += confirmations.due(conn, self.rules)
        elif circuit == "half-open":
            rings += self._one()
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

    def _due(self, room: int) -> list[Ring]:
        """Captures, and slices of the files with the newest changes, up to as many as may wait."""
        with self.engine.begin() as conn:
            rings = sweeps.uncaptured(conn, limit=self.deep)
            return rings + sweeps.stale_and_due(conn, self.rules, limit=room) if room else rings

    def _one(self) -> list[Ring]:
        """A ring for one call to MLM that is due, whichever."""
        if due := self._due(self.deep):
            return [self.lot.choice(due)]
        with self.engine.begin() as conn:
            return confirmations.due(conn, self.rules, limit=1)

    def _look(self) -> tuple[str, int]:
        """The circuit's state, and how many more slices may be queued; `away` if Redis cannot be asked."""
        try:
            return circuit_state(self.client).state, max(0, self.deep - depth(self.client, Queue.LOAN_SYNC_ASSOC))
        except redis.RedisError:
            return "away", 0
