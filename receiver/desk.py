"""The desk: where a route hands its work to the ledger, one transaction each, and rings after the commit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from sqlalchemy import Connection, Engine
from starlette.concurrency import run_in_threadpool

from freshness.bell import Bell, Ring
from freshness.rules import Rules

T = TypeVar("T")


class HasRings(Protocol):
    """What a step of the ledger returns when somebody must look after the commit."""

    @property
    def rings(self) -> Sequence[Ring]:
        """The rings for after the commit."""


R = TypeVar("R", bound=HasRings)


@dataclass(frozen=True)
class Desk:
    """The ledger's database, the rules in force, and the bell. The methods block: call them in a thread."""

    engine: Engine
    rules: Rules
    bell: Bell

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


async def in_thread(work: Callable[[], T]) -> T:
    """Run blocking work without holding up other requests. It runs to its end even if the caller goes away."""
    return await run_in_threadpool(work)
