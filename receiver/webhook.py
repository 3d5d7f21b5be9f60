"""MLM's webhook: a delivery is read, decided and committed before it is answered (the contract, "HTTP").

Checked in this order: 404 no token configured, 403 address, 401 token, 413 size, 400 not JSON, 422 no known form.
The answer 200 goes out after the commit, never before; what was refused leaves a row with what is wrong and where,
and nothing of what the body said. With PostgreSQL away a batch waits in the spool, if there is one, and the answer is
202 once it is on the disk; while any waits, new ones go behind it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from freshness.ledger.batches import Entry
from freshness.ledger.deliveries import Refusal
from freshness.metrics import DELIVERIES
from freshness.settings import WebhookKeys
from jobs.tracing import Told

from .bodies import LARGEST_DELIVERY, announced_length, read
from .decoding import decode
from .desk import Desk, in_thread
from .doors import Door
from .errors import BodyFault, NotJson, TooMuch
from .intake import Intake
from .outline import outline
from .problems import Problem, problem_of
from .refusals import Refusals

PATH = "/api/v1/loans/mlm/webhook"

_ANY_METHOD = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_UNFIT = re.compile(r"[^\x20-\x7e]")

#: A body up to so many bytes is decoded between two others' (it takes a millisecond), a larger one in a thread.
LARGEST_HERE = 16 * 1024


@dataclass(frozen=True)
class Fault:
    """What is wrong with a body, for its sender and for us."""

    problem: Problem
    position: int | None
    outline: list[dict[str, Any]] | None


class Webhook:
    """The route, with what it needs: door, intake, key names, where refusals are written down; and the counts."""

    def __init__(self, door: Door, intake: Intake, keys: WebhookKeys, refusals: Refusals, desk: Desk) -> None:
        self._door = door
        self._keys = keys
        self._refusals = refusals
        self._intake = intake
        self._desk = desk

    def routes(self) -> list[Route]:
        """The one route. Without a token configured it answers every method with 404, as if it were not there."""
        return [Route(PATH, self, methods=["POST"] if self._door.tokens else _ANY_METHOD)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one delivery, and answer it.

        Raises:
            Problem: as the module says; 503 by the database's own errors.
            Unspoolable: 503 too: PostgreSQL is away, and the disk fails.
        """
        with self._desk.traces.delivery() as delivery:
            try:
                response = await self._take(Request(scope, receive))
            except ClientDisconnect:
                raise
            except Exception as error:
                self._answered(problem_of(error).status, delivery)
                raise
            self._answered(response.status_code, delivery)
        await response(scope, receive, send)

    def _answered(self, status: int, delivery: Told) -> None:
        self._desk.tally.count(DELIVERIES, str(status))
        delivery.note(**{"http.response.status_code": status})

    async def _take(self, request: Request) -> Response:
        try:
            self._door.admit(request)
            body = await read(request, LARGEST_DELIVERY)
        except (Problem, TooMuch) as error:
            problem = error if isinstance(error, Problem) else Problem(413, error.why)
            await self._refusals.leave(self._refusal(request, problem))
            raise problem from None
        if len(body) <= LARGEST_HERE:
            entries = self._decode(body)
        else:
            entries = await in_thread(partial(self._decode, body))
        if isinstance(entries, Fault):
            await self._refusals.leave(
                self._refusal(request, entries.problem, entries.position, entries.outline, len(body))
            )
            raise entries.problem
        taken = await self._intake.take(entries)
        return Response(msgspec.json.encode(taken.counts), taken.status, media_type="application/json")

    def _decode(self, body: bytes) -> list[Entry] | Fault:
        try:
            return decode(body, self._keys)
        except BodyFault as fault:
            sound_until = fault.position if isinstance(fault, NotJson) else None
            return Fault(_problem(fault), fault.position, outline(body, sound_until))

    def _refusal(
        self,
        request: Request,
        problem: Problem,
        position: int | None = None,
        keys: list[dict[str, Any]] | None = None,
        length: int | None = None,
    ) -> Refusal:
        content_type = request.headers.get("content-type")
        return Refusal(
            path=PATH,
            address=str(self._door.caller(request) or "unknown"),
            status=problem.status,
            reason=problem.detail,
            content_length=announced_length(request) if length is None else length,
            content_type=None if content_type is None else _UNFIT.sub("?", content_type[:100]),
            fault_position=None if position is None else f"byte {position}",
            keys=keys,
        )


def _problem(fault: BodyFault) -> Problem:
    if isinstance(fault, TooMuch):
        return Problem(413, fault.why)
    status = 400 if isinstance(fault, NotJson) else 422
    return Problem(status, str(fault), position=fault.position)
