"""The other senders' routes: a delivery is proved, decoded, decided and committed before it is answered.

The order is MLM's (the contract, "HTTP"): 404 not configured, 401 not proved, 413 too large, 400 not JSON, 422 of no
known form; only that a proof which looks at the body comes after its size. What was refused leaves a row without
anything the body said. Nothing of ours answers an event with an event.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any

import msgspec
from sqlalchemy import Connection
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from freshness.ledger.deliveries import Refusal
from freshness.ledger.sendings import Delivery, counts
from freshness.metrics import SENDER_DELIVERIES
from jobs.tracing import Told

from .bodies import LARGEST_DELIVERY, announced_length, read
from .desk import Desk, in_thread
from .doors import Door
from .errors import BodyFault, NotJson, TooMuch
from .intake import Settled, Shared, apportioned
from .outline import outline
from .problems import Problem, problem_of, proved
from .reception import Reception
from .refusals import Refusals
from .senders.proofs import Knock, Proof
from .senders.sender import Sender
from .spool import Spool
from .webhook import LARGEST_HERE

_ANY_METHOD = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_UNFIT = re.compile(r"[^\x20-\x7e]")


@dataclass(frozen=True)
class Opened:
    """A delivery on its way, and what its sender is answered if it waits in the spool."""

    delivery: Delivery
    spooled: HTTPStatus


class SendersIntake(Shared[Opened]):
    """Deliveries of all senders but MLM, sharing commits."""

    def __init__(self, desk: Desk, spool: Spool | None, reception: Reception) -> None:
        super().__init__(desk, spool)
        self.reception = reception

    def count(self, said: Opened) -> int:
        """How many entries are in it."""
        return len(said.delivery.entries)

    def decide(self, conn: Connection, group: Sequence[Opened]) -> Settled:
        """Decide deliveries as if they came one after the other."""
        received = self.reception.receive(conn, [each.delivery for each in group])
        return Settled(apportioned(received.landings, map(self.count, group), counts), received=received)

    def leave(self, spool: Spool, said: Opened, received_at: dt.datetime) -> HTTPStatus:
        """Leave the body in the spool, sealed."""
        delivery = said.delivery
        spool.put_body(delivery.sender, self.reception.sealed(delivery), delivery.received_at or received_at)
        return said.spooled


class Sending:
    """The route of one sender."""

    def __init__(
        self, sender: Sender, intake: SendersIntake | None, door: Door, refusals: Refusals, desk: Desk
    ) -> None:
        self._sender = sender
        self._desk = desk
        self._intake = intake
        self._door = door
        self._refusals = refusals

    def routes(self) -> list[Route]:
        """Its webhook, and what else its declaration asks for. Unconfigured it answers every method with 404."""
        methods = ["POST"] if self._sender.proof else _ANY_METHOD
        return [Route(self._sender.path, self, methods=methods), *self._sender.routes]

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
        self._desk.tally.count(SENDER_DELIVERIES, self._sender.name, str(status))
        delivery.note(sender=self._sender.name, **{"http.response.status_code": status})

    async def _take(self, request: Request) -> Response:
        at = dt.datetime.now(dt.UTC)
        intake, proof = self._intake, self._sender.proof
        try:
            if proof is None or intake is None:
                raise Problem(404, "no secret is configured for this route")
            body = await _proved(proof, request, at)
        except (Problem, TooMuch) as error:
            problem = error if isinstance(error, Problem) else Problem(413, error.why)
            await self._refusals.leave(self._refusal(request, problem))
            raise problem from None
        opening = partial(intake.reception.opened, self._sender.name, body, at)
        try:
            delivery = opening() if len(body) <= LARGEST_HERE else await in_thread(opening)
        except BodyFault as fault:
            problem = _problem(fault)
            keys = outline(body, fault.position if isinstance(fault, NotJson) else None)
            await self._refusals.leave(self._refusal(request, problem, fault.position, keys, len(body)))
            raise problem from None
        taken = await intake.take(Opened(delivery, self._sender.spooled))
        return Response(msgspec.json.encode(taken.counts), taken.status, media_type="application/json")

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
            path=self._sender.path,
            address=str(self._door.caller(request) or "unknown"),
            status=problem.status,
            reason=problem.detail,
            content_length=announced_length(request) if length is None else length,
            content_type=None if content_type is None else _UNFIT.sub("?", content_type[:100]),
            fault_position=None if position is None else f"byte {position}",
            keys=keys,
        )


async def _proved(proof: Proof, request: Request, at: dt.datetime) -> bytes:
    """The body of a request whose sender is who it says."""
    if not proof.needs_body and (why := proof.refuses(_knock(request, at))):
        raise Problem(401, why)
    body = await read(request, LARGEST_DELIVERY)
    if proof.needs_body and (why := proof.refuses(_knock(request, at, body))):
        raise Problem(401, why)
    proved(request.scope)
    return body


def _problem(fault: BodyFault) -> Problem:
    status = 413 if isinstance(fault, TooMuch) else 400 if isinstance(fault, NotJson) else 422
    where: dict[str, Any] = {} if fault.position is None else {"position": fault.position}
    return Problem(status, str(fault), **where)


def _knock(request: Request, at: dt.datetime, body: bytes = b"") -> Knock:
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw]
    raw_path = request.scope.get("raw_path") or request.url.path.encode()
    query = request.scope["query_string"].decode("latin-1")
    path = raw_path.partition(b"?")[0].decode("latin-1")
    return Knock(request.method, path, query, headers, at.timestamp(), body)
