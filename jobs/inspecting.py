"""Looking into the queues without disturbing them: how deep they are, since when, and who has fetched what.

Only names that we know are asked for, never `KEYS` or `SCAN`, which walk the whole database; no message is taken out
or changed. The queues hold bells: what is due stands in PostgreSQL (`freshness.ledger.backlog`, `given_up`).

Keys in Redis are dramatiq's (`broker`), and `dramatiq:<q>.XQ`: bells whose actor no worker knew (one of an older
version, during an upgrade). Their rows are still due, and the sweep rings again.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis

from .broker import BULK, NAMESPACE, Queue

#: Every process that rang lately counts as a broker; of more than this many the longest silent are left out.
MOST_BROKERS = 1000


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """One queue, in bells. `oldest_wait_s`: how long the one at its head has been due; None if none waits."""

    queue: str
    waiting: int
    delayed: int
    in_flight: int
    dead: int
    oldest_wait_s: float | None


@dataclass(frozen=True, slots=True)
class Fetched:
    """Bells of one queue that a worker has fetched and not answered yet, and how long Redis has not heard of it."""

    worker: str
    queue: str
    bells: int
    silent_s: float


@dataclass(frozen=True, slots=True)
class Bell:
    """One bell that waits: when it was rung, for what work, of which file; `told` is all that it says."""

    rung_at: dt.datetime
    work: str
    file_id: int | None
    told: str


@dataclass(frozen=True, slots=True)
class Inspection:
    """The queues, most urgent first, and the workers that hold bells of them."""

    queues: tuple[QueueDepth, ...]
    fetched: tuple[Fetched, ...]


def inspect(client: redis.Redis) -> Inspection:
    """Look into every queue, in two round trips. Times are Redis' own clock's.

    Raises:
        redis.RedisError: Redis is away.
    """
    with client.pipeline(transaction=True) as pipe:  # so that the counts belong to one moment
        pipe.time()
        pipe.zrange(f"{NAMESPACE}:__heartbeats__", 0, MOST_BROKERS - 1, desc=True, withscores=True)
        for queue in Queue:
            name = f"{NAMESPACE}:{queue}"
            pipe.llen(name)
            pipe.hlen(f"{name}.msgs")
            pipe.hlen(f"{name}.DQ.msgs")
            pipe.zcard(f"{name}.XQ")
            pipe.lindex(name, 0)
        (seconds, microseconds), brokers, *answers = pipe.execute()
    now_s = seconds + microseconds / 1_000_000
    counts = [answers[i : i + 5] for i in range(0, len(answers), 5)]
    waits = _waits(client, [head for *_, head in counts], now_s)
    queues = tuple(
        QueueDepth(str(queue), waiting, delayed, max(0, known - waiting), dead, wait_s)
        for queue, (waiting, known, delayed, dead, _), wait_s in zip(Queue, counts, waits, strict=True)
    )
    if not any(queue.in_flight for queue in queues):
        return Inspection(queues, ())
    return Inspection(queues, _fetched(client, {name.decode(): beat for name, beat in brokers}, now_s))


def peek(client: redis.Redis, queue: Queue, limit: int = 20) -> list[Bell]:
    """The bells that would be taken next. None is taken.

    Raises:
        redis.RedisError: Redis is away.
    """
    name = f"{NAMESPACE}:{queue}"
    ids = client.lrange(name, 0, limit - 1)
    messages = client.hmget(f"{name}.msgs", ids) if ids else []
    return [_bell(json.loads(message)) for message in messages if message is not None]


def _bell(message: dict[str, Any]) -> Bell:
    args, kwargs = message["args"], message["kwargs"]
    told = ", ".join([*map(str, args), *(f"{name}={value}" for name, value in kwargs.items())])
    file_id = kwargs.get("file_id", args[0] if args else None)
    rung_at = dt.datetime.fromtimestamp(message["message_timestamp"] / 1000, dt.UTC)
    return Bell(rung_at, message["actor_name"], file_id if isinstance(file_id, int) else None, told)


def _waits(client: redis.Redis, heads: Sequence[bytes | None], now_s: float) -> list[float | None]:
    """How long the message at each queue's head has been due."""
    with client.pipeline(transaction=False) as pipe:
        for queue, head in zip(Queue, heads, strict=True):
            pipe.hget(f"{NAMESPACE}:{queue}.msgs", head or b"")
        return [_wait_s(message, now_s) for message in pipe.execute()]


def _wait_s(message: bytes | None, now_s: float) -> float | None:
    if message is None:
        return None
    told = json.loads(message)
    due_ms: float = max(told["message_timestamp"], told["options"].get("eta") or 0)
    return max(0.0, now_s - due_ms / 1000)


def _fetched(client: redis.Redis, beats: dict[str, float], now_s: float) -> tuple[Fetched, ...]:
    """Of each broker and queue, what it has fetched. `beats`: when each was heard of last, in ms."""
    pairs = [(broker, queue) for broker in beats for queue in Queue]
    with client.pipeline(transaction=False) as pipe:
        for broker, queue in pairs:
            pipe.scard(f"{NAMESPACE}:__acks__.{broker}.{queue}")
        counts = pipe.execute()
    return tuple(
        Fetched(broker.removesuffix(BULK), str(queue), bells, max(0.0, now_s - beats[broker] / 1000))
        for (broker, queue), bells in zip(pairs, counts, strict=True)
        if bells
    )
