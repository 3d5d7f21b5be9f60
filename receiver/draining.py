"""The drain: decides the batches that wait in the spool, oldest first, once PostgreSQL is back.

A thread of each receiver looks every half second; of those that share a spool, one drains at a time. It takes
batches in their order, as many as make up a thousand entries in one transaction, and removes them after the
commit. What fails is told from what waits:

- The database refuses what a batch says, or the ledger fails on it: alone, that batch is set aside; kept and logged,
  but no longer in the way of all others.
- What is proved by a signature that has proved another delivery is dropped and logged: it was decided before, or is
  a replay that nobody could know for one while PostgreSQL was away.
- Everything else (PostgreSQL away, a lock that took too long, a table not migrated yet, a disk that fails) waits:
  nothing is passed by, and it is tried again after 0.1 s, doubling to 2 s.

Asked to stop, it ends after the transaction under way. What was not drained stays for whoever comes next.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from freshness.errors import Replayed
from freshness.ledger.batches import Entry, receive
from freshness.ledger.sendings import Delivery, Received
from freshness.ledger.spent import Once
from jobs.tracing import names_of

from .desk import Desk, in_thread
from .errors import NoReception, TornBatch
from .intake import Settled
from .problems import is_read_only
from .reception import Reception
from .spool import SealedBody, Spool

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 0.5
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0
ENTRIES_AT_ONCE = 1000
ENDS_WITHIN_S = 0.5


@dataclass(frozen=True, slots=True)
class _Batch:
    path: Path
    entries: list[Entry] | SealedBody

    @property
    def weight(self) -> int:
        """How many entries it counts for."""
        return 1 + (len(self.entries) if isinstance(self.entries, list) else 1)


class Drain:
    """The thread of one receiver that drains its spool."""

    def __init__(self, spool: Spool, desk: Desk, reception: Reception | None = None) -> None:
        self._spool = spool
        self._desk = desk
        self._reception = reception
        self._stop = threading.Event()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Drain until the block ends. A transaction that has not ended soon after is PostgreSQL's to roll back."""
        thread = threading.Thread(target=self._run, name="drain", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.stop()
            await in_thread(lambda: thread.join(ENDS_WITHIN_S))

    def stop(self) -> None:
        """Begin nothing more."""
        self._stop.set()

    def _run(self) -> None:
        try:
            self._spool.set_unfinished_aside()
        except OSError as error:
            log.warning("spool.unfinished_stays", error=type(error).__name__)
        pause_s, failed = FIRST_PAUSE_S, False
        while not self._stop.is_set():
            try:
                if not self._spool.is_empty():
                    self._drain()
                pause_s, failed = FIRST_PAUSE_S, False
                self._stop.wait(LOOK_EVERY_S)
            except Exception as error:  # noqa: BLE001 - whatever it is, what waits is tried again
                if not failed:
                    log.warning("spool.waits", error=type(error).__name__)
                failed = True
                if is_read_only(error):
                    self._desk.engine.dispose()
                self._stop.wait(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _drain(self) -> None:
        """Decide all that waits, if nobody else is at it."""
        with self._spool.drained_here() as ours:
            decided = 0
            while ours and not self._stop.is_set() and (waiting := deque(self._spool.waiting())):
                while waiting and not self._stop.is_set():
                    batches = self._take(waiting)
                    self._decide(batches)
                    decided += len(batches)
            if decided:
                log.info("spool.drained", batches=decided)

    def _take(self, waiting: deque[Path]) -> list[_Batch]:
        """The next batches, taken off the list; one that is torn is set aside."""
        batches: list[_Batch] = []
        entries = 0
        while waiting and entries < ENTRIES_AT_ONCE:
            path = waiting.popleft()
            try:
                batch = _Batch(path, self._spool.read(path))
            except TornBatch as error:
                self._spool.set_aside(path, str(error))
                continue
            except FileNotFoundError:
                continue
            batches.append(batch)
            entries += batch.weight
        return batches

    def _decide(self, batches: Sequence[_Batch]) -> None:
        """Decide batches in one transaction, and remove them; alone, if one of them cannot be decided."""
        try:
            with self._desk.traces.batch(()) as traced:
                drained = self._decide_all(batches)
                decided = self._desk.count(drained.decided)
                self._desk.count_received(drained.received)
                traced.ordered(decided.orders, decided.placed)
        except Exception as error:
            if not _is_the_batchs_own(error):
                raise
            if len(batches) == 1 and isinstance(error, Replayed):
                log.warning("spool.replayed", file=batches[0].path.name)
                self._spool.remove([batches[0].path])
            elif len(batches) == 1:
                self._spool.set_aside(batches[0].path, f"it cannot be decided ({type(error).__name__})")
            else:
                for batch in batches:
                    self._decide([batch])
        else:
            log.info("spool.decided", batches=len(batches), orders=names_of(decided.orders))
            self._spool.remove(batch.path for batch in batches)

    def _decide_all(self, batches: Sequence[_Batch]) -> Settled:
        """MLM's and the other senders' in one transaction: they have no subject in common, and so no order."""
        entries = [entry for batch in batches if isinstance(batch.entries, list) for entry in batch.entries]
        bodies = [batch.entries for batch in batches if isinstance(batch.entries, SealedBody)]

        def step(conn: Connection) -> Settled:
            received = self._receive(conn, bodies) if bodies else Received()
            return Settled((), receive(conn, self._desk.rules, entries), received)

        return self._desk.order(step)

    def _receive(self, conn: Connection, bodies: Sequence[SealedBody]) -> Received:
        if self._reception is None:
            raise NoReception
        return self._reception.receive(conn, [self._reopened(self._reception, each) for each in bodies])

    @staticmethod
    def _reopened(reception: Reception, body: SealedBody) -> Delivery:
        once = Once(*body.once) if body.once else None
        return reception.reopened(body.sender, body.sealed, body.received_at, once)


def _is_the_batchs_own(error: Exception) -> bool:
    """Whether a transaction failed by what the batch says, or by a mistake of ours that it met."""
    return isinstance(error, (DataError, IntegrityError)) or not isinstance(error, SQLAlchemyError)
