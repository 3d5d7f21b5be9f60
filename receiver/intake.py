"""The intake: deliveries that arrive while others are being committed share the next commit.

A delivery that finds nothing at work is decided at once. Those that come meanwhile wait together, and the next
transaction takes them all: the busier, the fewer commits and statements a delivery. Where a transaction is held up
(somebody has one of its files locked), further lanes open, so that others do not wait with it. Each delivery is
answered after its commit, with its own counts. If a shared transaction fails, each delivery of it is decided alone, so
that none fails by another; not when there is no PostgreSQL, which fails all alike: then each waits in the spool, if
there is one.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from itertools import accumulate
from typing import Any

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from freshness.ledger.batches import Decided, Entry, counts, receive
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

#: If nothing has begun or ended for so long, all lanes are held up, and another opens, up to so many.
PATIENCE_S, MOST_LANES = 0.1, 8

#: A shared transaction waits no longer than this for a row that somebody has locked; alone, a delivery does.
SHARED_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '500ms'"


@dataclass(frozen=True)
class Taken:
    """What one delivery's sender is told."""

    status: HTTPStatus
    counts: dict[str, int]


@dataclass
class _Delivery:
    entries: Sequence[Entry]
    answer: asyncio.Future[Taken]
    alone: bool = False
    span: Any = None
    received_at: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))


class Intake:
    """For one event loop, and made within none. Without a spool, PostgreSQL's absence is the sender's to sit out."""

    def __init__(self, desk: Desk, spool: Spool | None = None) -> None:
        self._desk = desk
        self._spool = spool
        self._waiting: deque[_Delivery] = deque()
        self._lanes: set[asyncio.Task[None]] = set()
        self._moved_at = 0.0
        self._comes_back = False

    async def take(self, entries: Sequence[Entry]) -> Taken:
        """Have one delivery decided and committed, or left to wait. It runs to its end even if the caller goes away.

        Raises:
            SQLAlchemyError: PostgreSQL could not take it, and it does not wait; nothing of it is kept.
            Unspoolable: PostgreSQL is away, and the disk fails.
        """
        delivery = _Delivery(entries, asyncio.get_running_loop().create_future(), span=self._desk.traces.here())
        self._waiting.append(delivery)
        self._open_lanes()
        return await delivery.answer

    def _open_lanes(self) -> None:
        """Open one that may be opened, and come back as long as anybody waits."""
        loop = asyncio.get_running_loop()
        if len(self._lanes) < self._may_be_open(loop.time() - self._moved_at):
            self._moved_at = loop.time()
            lane = loop.create_task(self._work_off())
            self._lanes.add(lane)
            lane.add_done_callback(self._lanes.discard)
        if not self._comes_back:
            self._comes_back = True
            loop.call_later(PATIENCE_S, self._come_back)

    def _may_be_open(self, still_for_s: float) -> int:
        if still_for_s >= PATIENCE_S:
            return MOST_LANES
        return LANES if sum(len(each.entries) for each in self._waiting) > FEW_ENTRIES else 1

    def _come_back(self) -> None:
        self._comes_back = False
        if self._waiting:
            self._open_lanes()

    async def _work_off(self) -> None:
        """One lane: transaction after transaction, until nobody waits."""
        while self._waiting:
            group = self._next_group()
            try:
                answers = await in_thread(partial(self._work, group))
            except BaseException as error:  # noqa: BLE001 - only the server's own end comes here
                _answer(group, [error] * len(group))
                return
            self._moved_at = asyncio.get_running_loop().time()
            if answers is None:
                for delivery in group:
                    delivery.alone = True
                self._waiting.extendleft(reversed(group))
                self._open_lanes()
            else:
                _answer(group, answers)

    def _next_group(self) -> list[_Delivery]:
        group = [self._waiting.popleft()]
        count = len(group[0].entries)
        while self._waiting and not (group[0].alone or self._waiting[0].alone):
            count += len(self._waiting[0].entries)
            if count > ENTRIES_AT_ONCE:
                break
            group.append(self._waiting.popleft())
        return group

    def _work(self, group: Sequence[_Delivery]) -> Sequence[Taken | BaseException] | None:
        """Decide, commit and ring, or leave to wait: all in one thread. None: each is to be tried alone.

        A commit whose outcome is not known counts as not made: decided again, the guard skips it.
        """
        try:
            if self._spool is not None and not self._spool.is_empty():
                return [_left(each, self._spool) for each in group]
            return self._decide(group)
        except Exception as error:  # noqa: BLE001 - each is answered by it, and no lane may be lost
            if isinstance(error, SQLAlchemyError) and nobody_is_there(error):
                if self._spool is None:
                    return [error] * len(group)
                log.warning("webhook.postgres_away", error=type(error).__name__)
                return [_left(each, self._spool) for each in group]
            return [error] if len(group) == 1 else None

    def _decide(self, group: Sequence[_Delivery]) -> list[Taken]:
        entries = [entry for each in group for entry in each.entries]

        def step(conn: Connection) -> Decided:
            if len(group) > 1:
                conn.exec_driver_sql(SHARED_LOCK_TIMEOUT)
            return receive(conn, self._desk.rules, entries)

        with self._desk.traces.batch([each.span for each in group]) as batch:
            decided = self._desk.count(self._desk.order(step))
            batch.ordered(decided.orders, decided.placed)
        outcomes = decided.outcomes
        log.info("webhook.taken", deliveries=len(group), **counts(outcomes), orders=names_of(decided.orders))
        ends = accumulate(len(each.entries) for each in group)
        return [
            Taken(HTTPStatus.OK, counts(outcomes[end - len(each.entries) : end]))
            for each, end in zip(group, ends, strict=True)
        ]


def _left(delivery: _Delivery, spool: Spool) -> Taken | BaseException:
    """Leave a delivery in the spool."""
    try:
        spool.put(delivery.entries, delivery.received_at)
    except Exception as error:  # noqa: BLE001 - its sender is answered by it
        return error
    told = {"received": len(delivery.entries), "spooled": len(delivery.entries)}
    log.info("webhook.spooled", **told)
    return Taken(HTTPStatus.ACCEPTED, told)


def _answer(group: Sequence[_Delivery], answers: Sequence[Taken | BaseException]) -> None:
    """Let each delivery's caller go on. One that is gone has had it decided all the same."""
    for delivery, answer in zip(group, answers, strict=True):
        if delivery.answer.done():
            continue
        if isinstance(answer, BaseException):
            delivery.answer.set_exception(answer)
        else:
            delivery.answer.set_result(answer)
