"""The other senders' routes: a delivery is proved, decoded, decided and committed before it is answered.

The order is MLM's (the contract, "HTTP"): 404 not configured, 401 not proved, 413 too large, 400 not JSON, 422 of no
known form; only that a proof which looks at the body comes after its size, and that of one which proves once only the
second use is found out as it is decided. What was refused leaves a row without
anything the body said. Nothing of ours answers an event with an event.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.routing import Route

from freshness.errors import Replayed
from freshness.ledger.sendings import Delivery, counts
from freshness.ledger.spent import Once
from freshness.metrics import SENDER_DELIVERIES
from jobs.tracing import Told

from .bodies import LARGEST_DELIVERY, read
from .delivering import LARGEST_HERE, Delivering
from .desk import Desk, in_thread
from .doors import Door
from .errors import BodyFault, NotJson, TooMuch
from .intake import Settled, Shared, Taken, apportioned
from .outline import outline
from .problems import Problem, proved
from .reception import Reception
from .refusals import Refusals
from .senders.proofs import Knock, Proof, ProvesOnce
from .senders.sender import Sender
from .spool import Spool


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
        sealed = self.reception.sealed(delivery)
        spool.put_body(delivery.sender, sealed, delivery.received_at or received_at, delivery.once)
        return said.spooled


class Sending(Delivering):
    """The route of one sender."""

    def __init__(
        self, sender: Sender, intake: SendersIntake | None, door: Door, refusals: Refusals, desk: Desk
    ) -> None:
        super().__init__(sender.path, door, refusals, desk)
        self._sender = sender
        self._intake = intake

    def routes(self) -> list[Route]:
        """Its webhook, and what else its declaration asks for. Unconfigured it answers every method with 404."""
        return [self._route(configured=bool(self._sender.proof)), *self._sender.routes]

    def _answered(self, status: int, delivery: Told) -> None:
        self._desk.tally.count(SENDER_DELIVERIES, self._sender.name, str(status))
        delivery.note(sender=self._sender.name, **{"http.response.status_code": status})

    async def _take(self, request: Request) -> Taken:
        at = dt.datetime.now(dt.UTC)
        intake, proof = self._intake, self._sender.proof
        try:
            if proof is None or intake is None:
                raise Problem(404, "no secret is configured for this route")
            body, once = await _proved(proof, request, at)
        except (Problem, TooMuch) as error:
            raise await self._refused(request, error) from None
        opening = partial(intake.reception.opened, self._sender.name, body, at, once)
        try:
            delivery = opening() if len(body) <= LARGEST_HERE else await in_thread(opening)
        except BodyFault as fault:
            keys = outline(body, fault.position if isinstance(fault, NotJson) else None)
            raise await self._refused(request, _problem(fault), fault.position, keys, len(body)) from None
        try:
            return await intake.take(Opened(delivery, self._sender.spooled))
        except Replayed as error:
            raise await self._refused(request, Problem(401, str(error)), length=len(body)) from None


async def _proved(proof: Proof, request: Request, at: dt.datetime) -> tuple[bytes, Once | None]:
    """The body of a request whose sender is who it says; and what proves that, if it proves no other delivery."""
    if not proof.needs_body and (why := proof.refuses(_knock(request, at))):
        raise Problem(401, why)
    body = await read(request, LARGEST_DELIVERY)
    knock = _knock(request, at, body)
    if proof.needs_body and (why := proof.refuses(knock)):
        raise Problem(401, why)
    proved(request.scope)
    return body, proof.once(knock) if isinstance(proof, ProvesOnce) else None


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
