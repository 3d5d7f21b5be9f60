"""The bell on Redis: turns the ledger's rings into messages, and a ring that waits already into nothing.

Key in Redis: `mlm:rung:<work>:<file>:<concern or own write, or ->` stands while a message for just that work
waits. It is set by the ring that enqueues, deleted by the message when it starts (`started`), and ends by itself
after `WAITS_MS`. It lives in the same Redis as the queue, so `FLUSHALL` takes both. A ring with a delay neither
sets nor obeys it: an immediate ring is never swallowed by one that is due later, nor the other way round; of two
messages for the same work the second finds nothing to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import redis
import structlog
from dramatiq import Message

from freshness.bell import Bell, Ring, Work

from .broker import NAMESPACE, Broker, Letter, Queue

log = structlog.get_logger(__name__)

#: A message that was lost with a killed worker can be rung again after this time (its work is to be taken up within
#: 10 s). A message may wait longer: then the sweep's rings double it, unless the sweep holds back by `depth`.
WAITS_MS = 8_000

#: A ring further off is not sent: its row says when it is due and the sweep looks every 2 s, whereas a message for
#: later is held in a worker's memory.
FAR_S = 10.0


@dataclass(frozen=True)
class Post:
    """Which actor does a kind of work, and in which queue it waits."""

    actor_name: str
    queue: Queue


POSTS: dict[Work, Post] = {
    Work.HYDRATE_FILE: Post("file.hydrate", Queue.LOAN_SYNC),
    Work.HYDRATE_CONCERN: Post("concern.hydrate", Queue.LOAN_SYNC_ASSOC),
    Work.CAPTURE: Post("mark.capture", Queue.PROMPT),
    Work.CONFIRM: Post("file.confirm", Queue.PROMPT),
    Work.CHECK: Post("file.check", Queue.LOAN_SYNC_ASSOC),
    Work.AUDIT: Post("file.audit", Queue.LOAN_SYNC_ASSOC),
}


def make_bell(broker: Broker) -> Bell:
    """The bell of one process. A round trip to Redis for a thousand rings; none for none.

    It never raises: a Redis that is away is logged with the files' ids, and the sweep rings again.
    """

    def bell(rings: Sequence[Ring]) -> None:
        near = [ring for ring in dict.fromkeys(rings) if ring.delay_s <= FAR_S]
        if not near:
            return
        try:
            broker.send([_letter(ring) for ring in near])
        except Exception as error:  # noqa: BLE001  (the work is committed; whoever rang must not fail by it)
            files = sorted({ring.file_id for ring in near})
            log.warning("bell.unheard", rings=len(near), files=files[:20], error=type(error).__name__)

    return bell


def started(client: redis.Redis, ring: Ring) -> None:
    """A message for this work starts: from here on a ring for it is a new message. Never raises."""
    try:
        client.delete(_key(ring))
    except redis.RedisError as error:
        log.warning("bell.mark_stays", file_id=ring.file_id, error=type(error).__name__)


def depth(client: redis.Redis, queue: Queue) -> int:
    """How many messages of a queue wait, those for later among them, those fetched by a worker not.

    Raises:
        redis.RedisError: Redis is away.
    """
    with client.pipeline(transaction=False) as pipe:
        pipe.llen(f"{NAMESPACE}:{queue}")
        pipe.hlen(f"{NAMESPACE}:{queue}.DQ.msgs")
        return sum(pipe.execute())


def _letter(ring: Ring) -> Letter:
    if ring.delay_s > 0:
        return Letter(_message(ring), max(1, round(ring.delay_s * 1000)))
    return Letter(_message(ring), mark=_key(ring), mark_ms=WAITS_MS)


def _message(ring: Ring) -> Message[None]:
    post = POSTS[ring.work]
    args = [part for part in (ring.file_id, ring.concern, ring.own_write_id) if part is not None]
    return Message(queue_name=post.queue, actor_name=post.actor_name, args=tuple(args), kwargs={}, options={})


def _key(ring: Ring) -> str:
    what = ring.concern or ring.own_write_id or "-"
    return f"mlm:rung:{ring.work}:{ring.file_id}:{what}"
