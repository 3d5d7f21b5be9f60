"""The queues in Redis, and our broker on them: dramatiq's, made safe where it was measured not to be.

A message is a doorbell and carries ids only; what is due stands in PostgreSQL. So a message lost, doubled or late costs
time, and the numbers here are chosen for speed and for clean recovery, not for keeping every message.

Keys in Redis (dramatiq's own, namespace `dramatiq`; `<q>` is a queue's name, `<q>.DQ` its delayed half):
`dramatiq:<q>` list of waiting ids · `dramatiq:<q>.msgs` hash id → message, waiting and fetched ·
`dramatiq:__acks__.<broker>.<q>` set of fetched ids · `dramatiq:__heartbeats__` sorted set of brokers.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import redis
from dramatiq import Message
from dramatiq.broker import Consumer
from dramatiq.brokers.redis import RedisBroker
from dramatiq.common import dq_name
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from .consumer import CHANNEL, Listener, WokenConsumer
from .sentinels import sentinels_of

NAMESPACE = "dramatiq"

#: Enqueues as dramatiq's own script does, many at once; and obeys marks.
_ENQUEUE = Path(__file__).with_name("enqueue.lua")

#: Letters for one call of it: some 2 ms of Redis' time.
AT_ONCE = 1_000

#: A broker silent for this long is taken for dead, and the reaper hands its messages back. An idle worker is heard
#: twice a second; the client's retries last 4 s and a worker's heartbeat in PostgreSQL 6 s, so 10 s is later than
#: both. A worker taken for dead that lives has its work done twice, which is safe: the lease decides.
HEARTBEAT_TIMEOUT_MS = 10_000

#: A worker waits this long for an answer: longer than any stall we mean to sit out. Redis runs a script to its end
#: even when the client has given up, so a fetch repeated after a timeout strands the first one's messages (measured:
#: 4 to 16 messages in a stall of 7 s with a timeout of 5 s).
PATIENT_TIMEOUT_S = 30.0
#: About 4 s in all: 10 ms doubling to 1 s, with jitter. A restart of Redis fits into it.
PATIENT_RETRIES = 10

#: Who only rings (the receiver, a portal) has somebody waiting for an answer, and the sweep rings in its stead.
HASTY_TIMEOUT_S = 2.0
HASTY_RETRIES = 1

#: A worker process has two brokers; the one for slices is called like the process, with this behind it.
BULK = "+bulk"

#: A pooled connection idle for longer is asked whether it lives before it is used.
HEALTH_CHECK_S = 15


class Queue(StrEnum):
    """The queues, most urgent first. A worker process has threads of their own for PROMPT."""

    PROMPT = "prompt"
    LOAN_SYNC = "loan-sync"
    LOAN_SYNC_ASSOC = "loan-sync-assoc"


#: Orders only what one process has fetched already (measured); between queues that share threads, lower runs first.
PRIORITY: dict[Queue, int] = {Queue.PROMPT: 0, Queue.LOAN_SYNC: 10, Queue.LOAN_SYNC_ASSOC: 20}


def connect(redis_url: str, *, patient: bool = True) -> redis.Redis:
    """A client for one process. `patient` for workers and the schedule; not for who answers somebody.

    Only a broken connection is tried again, never a timeout. Nothing is connected until the first command.
    """
    retry = Retry(
        ExponentialWithJitterBackoff(base=0.01, cap=1),
        PATIENT_RETRIES if patient else HASTY_RETRIES,
        supported_errors=(redis.ConnectionError,),
    )
    options: dict[str, Any] = {
        "socket_timeout": PATIENT_TIMEOUT_S if patient else HASTY_TIMEOUT_S,
        "socket_connect_timeout": HASTY_TIMEOUT_S,
        "health_check_interval": HEALTH_CHECK_S,
        "retry": retry,
    }
    sentinels = sentinels_of(redis_url)
    return sentinels.primary(**options) if sentinels else redis.Redis.from_url(redis_url, **options)


@dataclass(frozen=True, slots=True)
class Letter:
    """A message on its way. While the key `mark` stands no other with it is enqueued; it is set for `mark_ms`."""

    message: Message[Any]
    delay_ms: int | None = None
    mark: str = ""
    mark_ms: int = 0

    def packed(self, now_ms: int) -> tuple[str | int | bytes, ...]:
        """What the script takes of it: mark, its time, the queue to wake, the queue it goes to, id, message."""
        wakes = goes_to = self.message.queue_name
        options: dict[str, Any] = {"redis_message_id": str(uuid.uuid4())}
        if self.delay_ms is not None:
            goes_to = dq_name(wakes)
            options["eta"] = now_ms + self.delay_ms
        message = self.message.copy(queue_name=goes_to, options=options)
        return self.mark, self.mark_ms, wakes, goes_to, options["redis_message_id"], message.encode()


class Broker(RedisBroker):
    """Dramatiq's broker with one script for many messages, consumers that are woken, and a word when Redis is lost.

    No middleware at all: Retries and Results write exceptions' text into Redis, AgeLimit and TimeLimit end work
    whose truth stands in PostgreSQL, Prometheus counts twice, callbacks and pipelines are not used. A message whose
    actor raises is acknowledged and gone; its row is still due.
    """

    #: How many values a Lua `unpack` may take: half of the server's 8,000 would do, and dramatiq need not ask for it.
    _max_unpack_size_val = 1000  # type: ignore[assignment]

    def __init__(self, client: redis.Redis, heartbeat_timeout_ms: int, maintenance_chance: int = 0) -> None:
        super().__init__(  # type: ignore[no-untyped-call]
            client=client,
            middleware=[],
            namespace=NAMESPACE,
            heartbeat_timeout=heartbeat_timeout_ms,
            maintenance_chance=maintenance_chance,
        )
        #: Set when Redis has been away for longer than the retries: this process must end (`RedisLost`).
        self.lost = threading.Event()
        self._woken: dict[str, WokenConsumer] = {}
        self._enqueue = client.register_script(_ENQUEUE.read_text("utf-8"))

    def enqueue(self, message: Message[Any], *, delay: int | None = None) -> Message[Any]:
        """Enqueue one message, and wake a worker for it. `delay` in milliseconds.

        Raises:
            redis.RedisError: Redis is away; it may have been enqueued.
        """
        self.send([Letter(message, delay)])
        return message

    def send(self, letters: Sequence[Letter]) -> None:
        """Enqueue many messages, those that a mark keeps out left aside, and wake workers: a round trip a thousand.

        (25 with marks: 0.4 ms of Python's time so; 1.2 through dramatiq's own, in two round trips, measured.)

        Raises:
            redis.RedisError: Redis is away; none, some or all may have been enqueued.
        """
        now_ms = int(time.time() * 1000)
        for first in range(0, len(letters), AT_ONCE):
            packed = (part for letter in letters[first : first + AT_ONCE] for part in letter.packed(now_ms))
            self._enqueue(keys=[NAMESPACE], args=[CHANNEL, *packed])

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Consumer:
        """A consumer that sleeps until it is woken; `timeout` is not used (`consumer.IDLE_S` is)."""
        inner = super().consume(queue_name, prefetch=prefetch, timeout=0)
        consumer = self._woken[queue_name] = WokenConsumer(inner, self.lost.set)
        return consumer

    def wake(self, queue_name: str) -> None:
        """Wake the consumer of this queue, if we have one."""
        consumer = self._woken.get(queue_name)
        if consumer is not None:
            consumer.wake()

    def wake_all(self) -> None:
        """Wake every consumer of ours."""
        for consumer in list(self._woken.values()):
            consumer.wake()

    def twin(self) -> Broker:
        """Another broker with the same client, actors and queues: dramatiq wants one `Worker` to a broker."""
        twin = Broker(self.client, self.heartbeat_timeout, self.maintenance_chance)
        twin.broker_id = self.broker_id + BULK
        twin.lost = self.lost
        for actor in self.actors.values():
            twin.declare_actor(actor)
        return twin


def make_broker(
    redis_url: str,
    *,
    patient: bool = True,
    heartbeat_timeout_ms: int = HEARTBEAT_TIMEOUT_MS,
    name: str | None = None,
) -> Broker:
    """The broker of one process, on a client of its own. `patient` as in `connect`; `name`, which must be unique, is
    what Redis knows it by, so that whoever looks into the queues can tell whose messages are whose.

    It never hands back dead workers' messages itself: that runs `KEYS`, and on the hot path cost 22 ms a command when
    the database was large (measured). The `reaper` of the schedule does.
    """
    broker = Broker(connect(redis_url, patient=patient), heartbeat_timeout_ms)
    broker.broker_id = name or broker.broker_id
    return broker


def listener_for(client: redis.Redis, *brokers: Broker) -> Listener:
    """Wakes these brokers' consumers whenever somebody enqueues. Not started yet."""

    def on_word(queue_name: str) -> None:
        for broker in brokers:
            broker.wake(queue_name)

    def on_open() -> None:
        for broker in brokers:
            broker.wake_all()

    return Listener(client, CHANNEL, on_word, on_open)
