"""Handlers that write down what they were called with, for the tests of the queue."""

from __future__ import annotations

import queue
from typing import Any

from jobs.broker import Broker, make_broker
from jobs.declare import Handlers, declare_actors

#: Nothing listens here.
NOWHERE = "redis://127.0.0.1:1/0"

PATIENCE_S = 60.0


class Hands:
    """`calls` holds (handler's name, *ids) in the order the handlers were called."""

    def __init__(self) -> None:
        self.calls: queue.Queue[tuple[Any, ...]] = queue.Queue()

    def handlers(self, **others: Any) -> Handlers:
        names = ("hydrate_file", "hydrate_concern", "capture", "confirm", "prune_receipts", "check", "audit", "poll")
        return Handlers(**{name: others.get(name) or self._noting(name) for name in names})

    def next(self) -> tuple[Any, ...]:
        return self.calls.get(timeout=PATIENCE_S)

    def _noting(self, name: str) -> Any:
        return lambda *ids: self.calls.put((name, *ids))


def broker_with(redis_url: str, handlers: Handlers) -> Broker:
    broker = make_broker(redis_url)
    declare_actors(broker, handlers)
    return broker
