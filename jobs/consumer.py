"""How an idle worker starts a message within a few milliseconds without asking Redis all the time.

Dramatiq's consumer asks Redis in turn, so its pick-up is as slow as its sleep, and its idle cost as high as its
sleep is short. Ours sleeps long, and every enqueue publishes the queue's name on the channel `mlm:work`; a `Listener`
hears it and wakes the queue's consumer. A publication that is lost costs one idle sleep, nothing else.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import redis
import structlog
from dramatiq import Message
from dramatiq.broker import Consumer, MessageProxy
from dramatiq.errors import ConnectionClosed

log = structlog.get_logger(__name__)

#: Queue names are published here after their messages were pushed. Values: `prompt`, `loan-sync.DQ`, …
CHANNEL = "mlm:work"

#: An idle consumer asks Redis this often even if nothing wakes it: what the reaper hands back is not published.
IDLE_S = 0.5

#: How long the listener waits for a word before it looks whether it should stop.
LISTEN_S = 1.0

#: Pause before a listener whose connection broke tries again.
AGAIN_S = 0.5


class WokenConsumer(Consumer):
    """A consumer of one queue that sleeps until it is woken, a delayed message is due, or `IDLE_S` have passed.

    `inner` is dramatiq's own, made with a timeout of 0 so that it never sleeps. `on_lost` is called when Redis has
    been away for longer than the client retries. An acknowledgement that times out is repeated like one whose
    connection broke (dramatiq drops it, and the job would run again: dramatiq #894); repeating it is harmless.
    """

    def __init__(self, inner: Consumer, on_lost: Callable[[], None]) -> None:
        self._inner: Any = inner  # its `message_cache` is in no type
        self._on_lost = on_lost
        self._woken = threading.Event()
        self._due: dict[str, float] = {}  # held in memory for later: message id -> seconds since the epoch

    def wake(self) -> None:
        """Look at once, or at once again if a look is under way. Any thread may call it."""
        self._woken.set()

    def __next__(self) -> MessageProxy | None:
        self._woken.clear()  # before the look: who is pushed from here on wakes us again
        with self._watched():
            message: MessageProxy | None = next(self._inner)
        if message is None:
            self._woken.wait(self._sleep_s())
            return None
        due_ms = message.options.get("eta")
        if due_ms is not None:
            self._due[message.message_id] = due_ms / 1000
        return message

    def ack(self, message: MessageProxy) -> None:
        """The message is done; there may be room to fetch the next, so wake."""
        with self._watched():
            self._inner.ack(message)
        self._due.pop(message.message_id, None)
        self.wake()

    def nack(self, message: MessageProxy) -> None:
        """The message is dead."""
        with self._watched():
            self._inner.nack(message)
        self._due.pop(message.message_id, None)
        self.wake()

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Hand back what was fetched and not begun."""
        with self._watched():
            self._inner.requeue(messages)

    def close(self) -> None:
        """Let go of the queue. What was fetched and not handed on yet goes back too: dramatiq 2.2.1 forgets it, and it
        would wait for the reaper (seen in one end of twelve)."""
        cached, self._inner.message_cache = self._inner.message_cache, []
        self.requeue([MessageProxy(Message.decode(data)) for data in cached if data is not None])
        self._inner.close()

    def _sleep_s(self) -> float:
        next_due_s = min(self._due.values(), default=float("inf")) - time.time()
        return max(0.001, min(IDLE_S, next_due_s))

    @contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except ConnectionClosed:
            self._on_lost()
            raise
        except redis.TimeoutError as error:
            self._on_lost()
            raise ConnectionClosed(error) from None  # type: ignore[no-untyped-call]


class Listener:
    """A thread that listens on one channel for as long as the process runs, whatever happens to Redis meanwhile.

    `on_word` gets each message's text. `on_open` is called each time the subscription stands, again after a break: what
    was published before then was not heard. Neither may raise or take long.
    """

    def __init__(
        self, client: redis.Redis, channel: str, on_word: Callable[[str], None], on_open: Callable[[], None]
    ) -> None:
        self._client = client
        self._channel = channel
        self._on_word = on_word
        self._on_open = on_open
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"listener {channel}", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """Stop within `LISTEN_S`; does not wait for it."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                with self._client.pubsub() as subscription:  # type: ignore[no-untyped-call]
                    subscription.subscribe(self._channel)
                    self._listen(subscription)
            except (redis.RedisError, OSError) as error:
                log.warning("listener.away", channel=self._channel, error=type(error).__name__)
                self._stopped.wait(AGAIN_S)

    def _listen(self, subscription: redis.client.PubSub) -> None:
        while not self._stopped.is_set():
            heard = subscription.get_message(timeout=LISTEN_S)
            if heard is None:
                continue
            if heard["type"] == "subscribe":  # redis-py subscribes again by itself after a break, and says so
                self._on_open()
            elif heard["type"] == "message":
                self._on_word(heard["data"].decode("utf-8", "replace"))
