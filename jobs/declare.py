"""The actors: five names on three queues, each a thin call to a handler that is passed in.

Nothing here is made at import, and no global broker is used. Actors take ids, return nothing and never raise.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass

import dramatiq
import structlog

from freshness.bell import Ring, Work
from freshness.concerns import Concern

from .bell import POSTS, Post, started
from .broker import PRIORITY, Broker, Queue

log = structlog.get_logger(__name__)

PRUNE = Post("receipts.prune", Queue.PROMPT)
POLL = Post("list.poll", Queue.LOAN_SYNC)


@dataclass(frozen=True)
class Handlers:
    """What the actors call. A handler reads what is due from the ledger and returns at once if nothing is."""

    hydrate_file: Callable[[int], None]
    hydrate_concern: Callable[[int, Concern], None]
    capture: Callable[[int, int], None]
    confirm: Callable[[int], None]
    prune_receipts: Callable[[], None]
    check: Callable[[int], None]
    audit: Callable[[int], None]
    poll: Callable[[], None]


def declare_actors(broker: Broker, handlers: Handlers) -> None:
    """Declare `file.hydrate`, `concern.hydrate`, `mark.capture`, `file.confirm`, `receipts.prune`, and the backstops'
    `file.check`, `file.audit` and `list.poll` on this broker."""

    def file_hydrate(file_id: int) -> None:
        _answer(broker, Ring(Work.HYDRATE_FILE, file_id), lambda: handlers.hydrate_file(file_id))

    def concern_hydrate(file_id: int, concern: str) -> None:
        which = Concern(concern)
        ring = Ring(Work.HYDRATE_CONCERN, file_id, concern=which)
        _answer(broker, ring, lambda: handlers.hydrate_concern(file_id, which))

    def mark_capture(file_id: int, own_write_id: int) -> None:
        ring = Ring(Work.CAPTURE, file_id, own_write_id=own_write_id)
        _answer(broker, ring, lambda: handlers.capture(file_id, own_write_id))

    def file_confirm(file_id: int) -> None:
        _answer(broker, Ring(Work.CONFIRM, file_id), lambda: handlers.confirm(file_id))

    def receipts_prune() -> None:
        _guarded(PRUNE.actor_name, handlers.prune_receipts)

    def file_check(file_id: int) -> None:
        _answer(broker, Ring(Work.CHECK, file_id), lambda: handlers.check(file_id))

    def file_audit(file_id: int) -> None:
        _answer(broker, Ring(Work.AUDIT, file_id), lambda: handlers.audit(file_id))

    def list_poll() -> None:
        _guarded(POLL.actor_name, handlers.poll)

    _declare(broker, POSTS[Work.HYDRATE_FILE], file_hydrate)
    _declare(broker, POSTS[Work.HYDRATE_CONCERN], concern_hydrate)
    _declare(broker, POSTS[Work.CAPTURE], mark_capture)
    _declare(broker, POSTS[Work.CONFIRM], file_confirm)
    _declare(broker, PRUNE, receipts_prune)
    _declare(broker, POSTS[Work.CHECK], file_check)
    _declare(broker, POSTS[Work.AUDIT], file_audit)
    _declare(broker, POLL, list_poll)


def send(broker: Broker, post: Post) -> None:
    """Ask for one run of a job that is no file's: `PRUNE` or `POLL`.

    Raises:
        redis.RedisError: Redis is away.
    """
    message: dramatiq.Message[None] = dramatiq.Message(post.queue, post.actor_name, (), {}, {})
    broker.enqueue(message)


def _declare(broker: Broker, post: Post, actor: Callable[..., None]) -> None:
    dramatiq.Actor(
        actor,
        broker=broker,
        actor_name=post.actor_name,
        queue_name=post.queue,
        priority=PRIORITY[post.queue],
        options={},
    )


def _answer(broker: Broker, ring: Ring, handle: Callable[[], None]) -> None:
    ids = {"file_id": ring.file_id, "concern": ring.concern, "own_write_id": ring.own_write_id}
    with structlog.contextvars.bound_contextvars(**{key: each for key, each in ids.items() if each is not None}):
        started(broker.client, ring)
        _guarded(POSTS[ring.work].actor_name, handle)


def _guarded(actor_name: str, handle: Callable[[], None]) -> None:
    """An exception ends here: its text, which may quote a body, reaches neither dramatiq's log nor Redis."""
    try:
        handle()
    except Exception as error:  # noqa: BLE001
        frame = traceback.extract_tb(error.__traceback__)[-1]
        log.error("job.raised", job=actor_name, error=type(error).__name__, at=f"{frame.filename}:{frame.lineno}")
