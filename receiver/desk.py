"""The desk: where a route hands its work to the ledger, one transaction each, and rings after the commit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from sqlalchemy import Connection, Engine
from starlette.concurrency import run_in_threadpool

from freshness.bell import Bell, Ring
from freshness.ledger.batches import Decided
from freshness.ledger.sendings import Received
from freshness.metrics import ENTRIES, SENDER_ENTRIES, Tally
from freshness.rules import Rules
from jobs.tracing import Traces

T = TypeVar("T")


class HasRings(Protocol):
    """What a step of the ledger returns when somebody must look after the commit."""

    @property
    def rings(self) -> Sequence[Ring]:
        """The rings for after the commit."""


R = TypeVar("R", bound=HasRings)


@dataclass(frozen=True)
class Desk:
    """The ledger's database, the rules in force, the bell; what is counted for `/metrics`, and traces. The methods
    block: call them in a thread."""

    engine: Engine
    rules: Rules
    bell: Bell
    tally: Tally = field(default_factory=Tally)
    traces: Traces = field(default_factory=Traces)

    def settle(self, step: Callable[[Connection], T]) -> T:
        """Run one step in a transaction of its own; when this returns, it is committed."""
        with self.engine.begin() as conn:
            return step(conn)

    def order(self, step: Callable[[Connection], R]) -> R:
        """Settle one step, then ring for what it has ordered."""
        result = self.settle(step)
        if result.rings:
            self.bell(result.rings)
        return result

    def count(self, decided: Decided) -> Decided:
        """Count what entries became, once that is committed."""
        for outcome, number in Counter(decided.outcomes).items():
            self.tally.count(ENTRIES, outcome.value, by=number)
        return decided

    def count_received(self, received: Received) -> None:
        """Likewise what other senders' entries became."""
        each = zip(received.senders, received.landings, strict=True)
        for (sender, landing), number in Counter(each).items():
            self.tally.count(SENDER_ENTRIES, sender, landing.value, by=number)


async def in_thread(work: Callable[[], T]) -> T:
    """Run blocking work without holding up other requests. It runs to its end even if the caller goes away."""
    return await run_in_threadpool(work)
