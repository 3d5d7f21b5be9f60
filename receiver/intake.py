"""The intake: deliveries that arrive while others are being committed share the next commit.

A delivery that finds nothing at work is decided at once. Those that come meanwhile wait together, and the next
transaction takes them all: the busier, the fewer commits and statements a delivery. Right after a transaction that
several shared, few who wait give a moment to more. Where a transaction is held up (somebody has one of its files
locked), further lanes open, so that others do not wait with it. Each delivery is answered after its commit, with its
own counts. If a shared transaction fails, each delivery of it is decided alone, so that none fails by another; not when
there is no PostgreSQL, which fails all alike: then each waits in the spool, if there is one.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from itertools import islice
from typing import Any, Generic, TypeVar

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from freshness.bell import Ring
from freshness.ledger.batches import Decided, Entry, counts, receive
from freshness.ledger.sendings import Received
from jobs.tracing import names_of

from .desk import Desk, in_thread
from .problems import nobody_is_there
from .spool import Spool

log = structlog.get_logger(__name__)

#: A transaction takes no further delivery once it has so many entries.
ENTRIES_AT_ONCE = 500

#: Transactions at once, the second once more than so many entries wait: for fewer, a transaction of their own costs
#: more than to wait for the one at work; and more than two only wait for the interpreter (measured).
LANES, FEW_ENTRIES = 2, 10

#: What has just arrived takes some turns of the event loop to get here. To begin before, with the first of many that
#: were answered together, made every other transaction one of a single delivery (measured).
QUIET_TURNS = 4

#: Who shared a transaction is one of many: if few wait when it ends, the next lets so long pass for more. The same
#: deliveries in fewer transactions take a sixth less of the processors, and no longer each (measured: decision 15).
BREATH_S, LOOK_S = 0.005, 0.001

#: If nothing has begun or ended for so long, all lanes are held up, and another opens, up to so many.
PATIENCE_S, MOST_LANES = 0.1, 8

#: A shared transaction waits no longer than this for a row that somebody has locked; alone, a delivery does.
SHARED_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '500ms'"


@dataclass(frozen=True)
class Taken:
    """What one delivery's sender is told."""

    status: HTTPStatus
    counts: dict[str, int]


#: What a sender delivers, decoded.
D = TypeVar("D")
T = TypeVar("T")


@dataclass
class _Delivery(Generic[D]):
    said: D
    answer: asyncio.Future[Taken]
    alone: bool = False
    span: Any = None
    received_at: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))


@dataclass(frozen=True)
class Settled:
    """What each delivery of a transaction is told, and what the entries became: MLM's, or other senders'."""

    counts: Sequence[dict[str, int]]
    decided: Decided = field(default_factory=lambda: Decided((), ()))
    received: Received = field(default_factory=Received)

    @property
    def rings(self) -> Sequence[Ring]:
        """The rings for after the commit."""
        return self.decided.rings


class Shared(ABC, Generic[D]):
    """For deliveries of one kind and one event loop, and made within none. Without a spool, PostgreSQL's absence is the
    sender's to sit out."""

    def __init__(self, desk: Desk, spool: Spool | None = None) -> None:
        self._desk = desk
        self._spool = spool
        self._waiting: deque[_Delivery[D]] = deque()
        self._lanes: set[asyncio.Task[None]] = set()
        self._open = 0
        self._moved_at = 0.0
        self._comes_back = False
        self._breathes_until = 0.0

    @abstractmethod
    def count(self, said: D) -> int:
        """How many entries are in it."""

    @abstractmethod
    def decide(self, conn: Connection, group: Sequence[D]) -> Settled:
        """Decide these in a transaction of the intake's."""

    @abstractmethod
    def leave(self, spool: Spool, said: D, received_at: dt.datetime) -> HTTPStatus:
        """Leave it in the spool; what its sender is answered then."""

    async def take(self, said: D) -> Taken:
        """Have one delivery decided and committed, or left to wait. It runs to its end even if the caller goes away.

        Raises:
            SQLAlchemyError: PostgreSQL could not take it, and it does not wait; nothing of it is kept.
            Unspoolable: PostgreSQL is away, and the disk fails.
        """
        delivery = _Delivery(said, asyncio.get_running_loop().create_future(), span=self._desk.traces.here())
        self._waiting.append(delivery)
        self._open_lanes()
        return await delivery.answer

    def _open_lanes(self) -> None:
        """Open one that may be opened, and come back as long as anybody waits."""
        loop = asyncio.get_running_loop()
        if self._open < self._may_be_open(loop.time() - self._moved_at):
            self._moved_at = loop.time()
            self._open += 1
            lane = loop.create_task(self._work_off())
            self._lanes.add(lane)
            lane.add_done_callback(self._lanes.discard)
        if not self._comes_back:
            self._comes_back = True
            loop.call_later(PATIENCE_S, self._come_back)

    def _may_be_open(self, still_for_s: float) -> int:
        if still_for_s >= PATIENCE_S:
            return MOST_LANES
        return 1 if self._few_wait() else LANES

    def _few_wait(self) -> bool:
        return sum(self.count(each.said) for each in self._waiting) <= FEW_ENTRIES

    def _come_back(self) -> None:
        self._comes_back = False
        if self._waiting:
            self._open_lanes()

    async def _work_off(self) -> None:
        """One lane: transaction after transaction, until nobody waits. What comes from then on opens another."""
        try:
            while self._waiting:
                await self._gather()
                if self._waiting:
                    await self._settle(self._next_group())
        finally:
            self._open -= 1

    async def _gather(self) -> None:
        """Let those in that are at the door: turns of the loop until some bring nobody. Time passes only for few, and
        only right after a transaction that several shared."""
        here, turns = len(self._waiting), 0
        while turns < QUIET_TURNS:
            await asyncio.sleep(0)
            turns = turns + 1 if len(self._waiting) <= here else 0
            here = len(self._waiting)
        loop = asyncio.get_running_loop()
        while loop.time() < self._breathes_until and self._few_wait():
            await asyncio.sleep(LOOK_S)

    async def _settle(self, group: Sequence[_Delivery[D]]) -> None:
        """One transaction, and its answers."""
        try:
            answers = await in_thread(partial(self._work, group))
        except BaseException as error:  # noqa: BLE001 - only the server's own end comes here
            answers = [error] * len(group)
        self._moved_at = asyncio.get_running_loop().time()
        self._breathes_until = self._moved_at + BREATH_S if len(group) > 1 else 0.0
        if answers is None:
            for delivery in group:
                delivery.alone = True
            self._waiting.extendleft(reversed(group))
            self._open_lanes()
        else:
            _answer(group, answers)

    def _next_group(self) -> list[_Delivery[D]]:
        group = [self._waiting.popleft()]
        count = self.count(group[0].said)
        while self._waiting and not (group[0].alone or self._waiting[0].alone):
            count += self.count(self._waiting[0].said)
            if count > ENTRIES_AT_ONCE:
                break
            group.append(self._waiting.popleft())
        return group

    def _work(self, group: Sequence[_Delivery[D]]) -> Sequence[Taken | BaseException] | None:
        """Decide, commit and ring, or leave to wait: all in one thread. None: each is to be tried alone.

        A commit whose outcome is not known counts as not made: decided again, the guard skips it.
        """
        try:
            if self._spool is not None and not self._spool.is_empty():
                return [self._left(each, self._spool) for each in group]
            return self._decide(group)
        except Exception as error:  # noqa: BLE001 - each is answered by it, and no lane may be lost
            if isinstance(error, SQLAlchemyError) and nobody_is_there(error):
                if self._spool is None:
                    return [error] * len(group)
                log.warning("webhook.postgres_away", error=type(error).__name__)
                return [self._left(each, self._spool) for each in group]
            return [error] if len(group) == 1 else None

    def _decide(self, group: Sequence[_Delivery[D]]) -> list[Taken]:
        def step(conn: Connection) -> Settled:
            if len(group) > 1:
                conn.exec_driver_sql(SHARED_LOCK_TIMEOUT)
            return self.decide(conn, [each.said for each in group])

        with self._desk.traces.batch([each.span for each in group]) as batch:
            settled = self._desk.order(step)
            decided = self._desk.count(settled.decided)
            self._desk.count_received(settled.received)
            batch.ordered(decided.orders, decided.placed)
        told = summed(settled.counts)
        log.info("webhook.taken", deliveries=len(group), **told, orders=names_of(decided.orders))
        return [Taken(HTTPStatus.OK, each) for each in settled.counts]

    def _left(self, delivery: _Delivery[D], spool: Spool) -> Taken | BaseException:
        """Leave a delivery in the spool."""
        try:
            status = self.leave(spool, delivery.said, delivery.received_at)
        except Exception as error:  # noqa: BLE001 - its sender is answered by it
            return error
        told = {"received": self.count(delivery.said), "spooled": self.count(delivery.said)}
        log.info("webhook.spooled", **told)
        return Taken(status, told)


class Intake(Shared[Sequence[Entry]]):
    """MLM's."""

    def count(self, said: Sequence[Entry]) -> int:
        """How many entries are in a batch."""
        return len(said)

    def decide(self, conn: Connection, group: Sequence[Sequence[Entry]]) -> Settled:
        """Decide batches as if they were one."""
        decided = receive(conn, self._desk.rules, [entry for entries in group for entry in entries])
        return Settled(apportioned(decided.outcomes, map(len, group), counts), decided)

    def leave(self, spool: Spool, said: Sequence[Entry], received_at: dt.datetime) -> HTTPStatus:
        """Leave a batch in the spool."""
        spool.put(said, received_at)
        return HTTPStatus.ACCEPTED


def apportioned(
    outcomes: Sequence[T], lengths: Iterable[int], counted: Callable[[Sequence[T]], dict[str, int]]
) -> list[dict[str, int]]:
    """What each delivery is told of its own entries; they stand in a row, so many of each."""
    left = iter(outcomes)
    return [counted(list(islice(left, length))) for length in lengths]


def summed(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    """What several deliveries came to together."""
    total: dict[str, int] = {}
    for each in counts:
        for name, count in each.items():
            total[name] = total.get(name, 0) + count
    return total


def _answer(group: Sequence[_Delivery[D]], answers: Sequence[Taken | BaseException]) -> None:
    """Let each delivery's caller go on. One that is gone has had it decided all the same."""
    for delivery, answer in zip(group, answers, strict=True):
        if delivery.answer.done():
            continue
        if isinstance(answer, BaseException):
            delivery.answer.set_exception(answer)
        else:
            delivery.answer.set_result(answer)
