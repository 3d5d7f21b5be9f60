"""The hub: one follower of announcements for all event streams of a process.

Announcements are rows, numbered after commit; the hub reads those past the newest it has seen and keeps the last
few thousand. The Redis channel only rings it to look; it looks every 2 s all the same, so Redis may be away. A stream
holds nothing but its own place among the numbers, so a slow client costs no memory: what it has fallen behind of is
read from PostgreSQL. While no stream is open, the hub does nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import NamedTuple

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from freshness.ledger import events
from freshness.ledger.events import Event, Page
from jobs.announce import CHANNEL

from .desk import in_thread
from .problems import Problem

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 2.0
KEEP = 4000
MOST_STREAMS = 1000
_PAGE = 500
_REDIS_AGAIN_S = 2.0
_REDIS_PING_S = 15.0


class News(NamedTuple):
    """Events in ascending order, and the number up to which nothing is missing; with `reset`, from which to go on."""

    events: Sequence[Event]
    upto: int
    reset: bool


class Hub:
    """Follows announcements for its streams. `redis` is None where there is none to ring."""

    def __init__(self, engine: Engine, redis: Redis | None) -> None:
        self._engine = engine
        self._redis = redis
        self._recent: deque[Event] = deque()
        self._floor = self._head = 0
        self._following = False
        self._streams = 0
        self._needed = asyncio.Event()
        self._rung = asyncio.Event()
        self._changed = asyncio.Event()
        self.closing = False

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow until the block ends, then let go of every stream."""
        tasks = [asyncio.create_task(self._follow())]
        if self._redis is not None:
            tasks.append(asyncio.create_task(self._listen(self._redis)))
        try:
            yield
        finally:
            self.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def close(self) -> None:
        """End all streams, so that a server that stops need not wait for them."""
        self.closing = True
        self._tell()

    @property
    def changed(self) -> asyncio.Event:
        """Set once there is something new, or the hub is closing. Take it before looking, wait on it after."""
        return self._changed

    @contextlib.contextmanager
    def stream(self) -> Iterator[None]:
        """Keep following while a stream is open.

        Raises:
            Problem: 503 when a thousand are open, or the hub is closing.
        """
        if self.closing or self._streams >= MOST_STREAMS:
            raise Problem(503, "no more event streams are taken here now")
        self._streams += 1
        self._needed.set()
        try:
            yield
        finally:
            self._streams -= 1
            if not self._streams:
                self._needed.clear()
                self._rung.set()

    async def newest(self) -> int:
        """The number of the newest announcement."""
        return await in_thread(self._newest)

    async def after(self, number: int | None, ref: str | None) -> News:
        """What came after `number`, at most a page: from memory where it reaches back so far, else from PostgreSQL.

        None is a number that we never gave: a reset.
        """
        if number is not None and self._following and self._floor <= number <= self._head:
            newer = itertools.takewhile(lambda event: event.id > number, reversed(self._recent))
            mine = [event for event in newer if ref in (None, event.ref)]
            return News(mine[::-1], self._head, reset=False)
        page = None if number is None else await in_thread(lambda: self._read(number, ref))
        if page is None or number is None or page.reset:
            return News([], await self.newest(), reset=True)
        return News(page.events, page.events[-1].id if page.events else number, reset=False)

    async def _follow(self) -> None:
        away = False
        while True:
            if not self._needed.is_set():
                self._following = False
                await self._needed.wait()
            self._rung.clear()
            try:
                more = await self._look()
                away = False
            except SQLAlchemyError as error:
                if not away:
                    log.warning("events.postgres_away", error=type(error).__name__)
                more, away = False, True
            if not more:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._rung.wait(), LOOK_EVERY_S)

    async def _look(self) -> bool:
        """Read what is new; True if there may be more at once."""
        if not self._following:
            self._floor = self._head = await self.newest()
            self._recent.clear()
            self._following = True
            self._tell()
            return False
        page = await in_thread(lambda: self._read(self._head, None))
        if page.reset:
            self._following = False
            return True
        for event in page.events:
            self._recent.append(event)
            self._head = event.id
        while len(self._recent) > KEEP:
            self._floor = self._recent.popleft().id
        if page.events:
            self._tell()
        return len(page.events) >= _PAGE

    def _newest(self) -> int:
        with self._engine.begin() as conn:
            return events.newest_id(conn)

    def _read(self, number: int, ref: str | None) -> Page:
        with self._engine.begin() as conn:
            return events.after(conn, number, ref, limit=_PAGE)

    def _tell(self) -> None:
        told, self._changed = self._changed, asyncio.Event()
        told.set()
        if self.closing:
            self._changed.set()

    async def _listen(self, redis: Redis) -> None:
        """Ring at every message of the channel. A Redis that is away is tried again; the hub looks meanwhile anyway."""
        away = False
        while True:
            try:
                async with redis.pubsub(ignore_subscribe_messages=True) as channel:
                    await channel.subscribe(CHANNEL)
                    away = False
                    while True:
                        if await channel.get_message(timeout=_REDIS_PING_S) is not None:
                            self._rung.set()
                        else:
                            await channel.ping()
            except (RedisError, OSError) as error:
                if not away:
                    log.warning("events.redis_away", error=type(error).__name__)
                away = True
            await asyncio.sleep(_REDIS_AGAIN_S)
