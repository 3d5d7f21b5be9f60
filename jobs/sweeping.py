"""The sweep: every 2 seconds, rings for whatever is due and was not heard. A queue that was lost costs seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import redis
import structlog
from sqlalchemy import Connection, Engine

from freshness.bell import Bell, Ring
from freshness.ledger import confirmations, doubts, events, own_writes, sweeps, switches, tallies, weeks, workers
from freshness.ledger.orders import file_ring
from freshness.rules import Rules

from .bell import depth
from .broker import Queue
from .circuit import circuit_state, in_doubt

log = structlog.get_logger()

EVERY_S = 2.0
TIDY_EVERY_S = 300.0

#: A process that started with other `MLM_NAMES` may have been at work since the last look.
SWITCHES_EVERY_S = 600.0

#: Files taken in one transaction, when there may be very many.
AT_ONCE = 200

#: The sweep fills the queue of slices up to what MLM's rate takes in this time. Two sweeps: so a backlog drains without
#: a pause. Less than a mark of the bell stands (`bell.WAITS_MS`): so what waits already is not rung twice. And no
#: more: who waits there waits in the order in which it was rung, not newest first.
FILL_S = 2 * EVERY_S
LEAST_FILL = 50


@dataclass(frozen=True)
class Sweep:
    """One tick of each kind; any number of schedulers may run them, since a ring only says "look".

    `rate` is how many calls a second MLM takes.
    """

    engine: Engine
    rules: Rules
    client: redis.Redis
    bell: Bell
    announce: Callable[[], None]
    rate: float
    lot: Random = field(default_factory=Random)

    def ring_what_is_due(self) -> None:
        """Bells for stale concerns that are due, for captures that wait, for files to confirm, for abandoned writes.

        While calls fail, but of so few files that it may be their fault, others are asked for (`circuit`). While MLM
        is away, or Redis is, nothing that calls MLM is rung for. When the circuit is to be probed, one is: drawn by
        lot, so that a file whose calls always fail cannot be every probe.
        """
        with self.engine.begin() as conn:
            rings = [file_ring(file_id) for file_id in own_writes.end_abandoned(conn)]
        circuit, waiting = self._look()
        if circuit == "closed":
            rings += self._calls_due(waiting)
            with self.engine.begin() as conn:
                rings += confirmations.due(conn, self.rules)
            rings += self._others_in_doubt()
        elif circuit == "half-open":
            rings += self._one_call()
        self.bell(rings)
        self.announce()

    def tidy(self) -> None:
        """Drop announcements older than a day and workers that died; add up counts; make the receipts' next weeks; find
        doubted files again that nobody is to look at."""
        with self.engine.begin() as conn:
            doubts.find_again(conn)
        with self.engine.begin() as conn:
            forgotten = events.forget_old(conn)
            workers.forget_dead(conn)
            tallies.fold(conn)
        with self.engine.begin() as conn:
            made = weeks.make_ahead(conn)
        if forgotten or made:
            log.info("sweep.tidied", events=forgotten, weeks=made)

    def follow_switches(self) -> None:
        """Bring files in line with the concerns that `MLM_NAMES` leaves: none waits for one that is switched off, and
        one that is switched on is read."""
        for follow in (switches.follow_off, switches.follow_on):
            files = found = self._follow(follow)
            while found == AT_ONCE:
                found = self._follow(follow)
                files += found
            if files:
                log.info("sweep.switched", what=follow.__name__.removeprefix("follow_"), files=files)
        self.announce()

    def _follow(self, follow: Callable[[Connection, Rules, int], int]) -> int:
        with self.engine.begin() as conn:
            return follow(conn, self.rules, AT_ONCE)

    def _calls_due(self, waiting: int) -> list[Ring]:
        """Captures, and slices of the files with the newest changes: as many as are to wait. Those that wait already
        are among them, and the bell leaves them out."""
        fill = max(LEAST_FILL, round(FILL_S * self.rate))
        with self.engine.begin() as conn:
            rings = sweeps.uncaptured(conn, limit=fill)
            return rings + sweeps.stale_and_due(conn, self.rules, limit=fill) if waiting < fill else rings

    def _one_call(self) -> list[Ring]:
        """A ring for one call to MLM that is due, whichever."""
        if due := self._calls_due(waiting=0):
            return [self.lot.choice(due)]
        with self.engine.begin() as conn:
            return confirmations.due(conn, self.rules, limit=1)

    def _others_in_doubt(self) -> list[Ring]:
        """Rings for files that have not failed, if calls do, and it may be MLM that is away."""
        try:
            doubt = in_doubt(self.client)
        except redis.RedisError:
            return []
        if doubt is None:
            return []
        with self.engine.begin() as conn:
            return confirmations.others(conn, doubt.failed, doubt.others)

    def _look(self) -> tuple[str, int]:
        """The circuit's state, and how many slices wait in the queue; `unknown` if Redis cannot be asked."""
        try:
            return circuit_state(self.client).state, depth(self.client, Queue.LOAN_SYNC_ASSOC)
        except redis.RedisError:
            return "unknown", 0
