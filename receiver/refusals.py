"""The rows that refused deliveries leave, written so that a flood of them stays cheap.

The ledger keeps at most 60 rows a minute for an address and status and counts the rest in one. What it would cost
to ask it is bounded here: a process writes a burst of 200, then 20 a second; what is beyond that is only counted, in
a log line. Writing one never changes the answer: with PostgreSQL away the row is missing, and the log says so.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from freshness.ledger.deliveries import Refusal, record_refusal

from .desk import in_thread

log = structlog.get_logger(__name__)

BURST = 200
RATE_PER_S = 20.0
AWAY_S = 5.0


class Refusals:
    """Writes refusals down. `clock` counts seconds."""

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._clock = clock
        self._lock = threading.Lock()
        self._left = float(BURST)
        self._at = clock()
        self._not_before = 0.0
        self._uncounted = 0

    async def leave(self, refusal: Refusal) -> None:
        """Write the refusal from the event loop; beyond the bound it costs no thread and no connection."""
        if self._may_write():
            await in_thread(lambda: self._write(refusal))

    def _may_write(self) -> bool:
        with self._lock:
            now = self._clock()
            self._left = min(float(BURST), self._left + (now - self._at) * RATE_PER_S)
            self._at = now
            if self._left < 1 or now < self._not_before:
                self._uncounted += 1
                return False
            self._left -= 1
            missed, self._uncounted = self._uncounted, 0
        if missed:
            log.warning("receiver.refusals_not_written", count=missed)
        return True

    def _write(self, refusal: Refusal) -> None:
        try:
            with self._engine.begin() as conn:
                record_refusal(conn, refusal)
        except SQLAlchemyError as error:
            with self._lock:
                self._not_before = self._clock() + AWAY_S
            log.warning("receiver.refusal_not_written", status=refusal.status, error=type(error).__name__)
        else:
            log.info("receiver.refused", path=refusal.path, status=refusal.status, reason=refusal.reason)
