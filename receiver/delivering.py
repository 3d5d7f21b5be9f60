"""What routes for deliveries have in common, whoever sends them: MLM's (`webhook`), other senders' (`sending`).

Each delivery is traced, and counted by the status it is answered with. What is refused leaves a row that says what is
wrong and where, and nothing of what the body said.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import Any

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from freshness.ledger.deliveries import Refusal
from jobs.tracing import Told

from .bodies import announced_length
from .desk import Desk
from .doors import Door
from .errors import TooMuch
from .intake import Taken
from .problems import Problem, problem_of
from .refusals import Refusals

_ANY_METHOD = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_UNFIT = re.compile(r"[^\x20-\x7e]")

#: A body up to so many bytes is decoded between two others' (it takes a millisecond), a larger one in a thread.
LARGEST_HERE = 16 * 1024


class Delivering(ABC):
    """One route at `path`; `door` tells who calls, `refusals` is where what is refused is written down."""

    def __init__(self, path: str, door: Door, refusals: Refusals, desk: Desk) -> None:
        self._path = path
        self._door = door
        self._refusals = refusals
        self._desk = desk

    def _route(self, *, configured: bool) -> Route:
        """The route. Unconfigured it answers every method with 404, as if it were not there."""
        return Route(self._path, self, methods=["POST"] if configured else _ANY_METHOD)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one delivery, and answer it.

        Raises:
            Problem: as the module of the route says; 503 by the database's own errors.
            Unspoolable: 503 too: PostgreSQL is away, and the disk fails.
        """
        with self._desk.traces.delivery() as delivery:
            try:
                taken = await self._take(Request(scope, receive))
            except ClientDisconnect:
                raise
            except Exception as error:
                self._answered(problem_of(error).status, delivery)
                raise
            self._answered(int(taken.status), delivery)
        response = Response(msgspec.json.encode(taken.counts), taken.status, media_type="application/json")
        await response(scope, receive, send)

    @abstractmethod
    async def _take(self, request: Request) -> Taken:
        """Take one delivery; what its sender is told."""

    @abstractmethod
    def _answered(self, status: int, delivery: Told) -> None:
        """Count it, and note in its trace what it was answered."""

    async def _refused(
        self,
        request: Request,
        error: Problem | TooMuch,
        position: int | None = None,
        keys: list[dict[str, Any]] | None = None,
        length: int | None = None,
    ) -> Problem:
        """Leave the row of a delivery that is refused; what its sender is told."""
        problem = error if isinstance(error, Problem) else Problem(413, error.why)
        content_type = request.headers.get("content-type")
        refusal = Refusal(
            path=self._path,
            address=str(self._door.caller(request) or "unknown"),
            status=problem.status,
            reason=problem.detail,
            content_length=announced_length(request) if length is None else length,
            content_type=None if content_type is None else _UNFIT.sub("?", content_type[:100]),
            fault_position=None if position is None else f"byte {position}",
            keys=keys,
        )
        await self._refusals.leave(refusal)
        return problem
