"""The other senders' routes: a delivery is proved, decoded, decided and committed before it is answered.

The order is MLM's (the contract, "HTTP"): 404 not configured, 401 not proved, 413 too large, 400 not JSON, 422 of no
known form; only that a proof which looks at the body comes after its size. What was refused leaves a row without
anything the body said. Nothing of ours answers an event with an event.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from functools import partial
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from freshness.ledger.deliveries import Refusal
from freshness.ledger.sendings import Delivery, counts

from .bodies import LARGEST_DELIVERY, announced_length, read
from .desk import Desk, in_thread
from .doors import Door
from .errors import BodyFault, NotJson, TooMuch
from .outline import outline
from .problems import Problem, nobody_is_there
from .reception import Reception
from .refusals import Refusals
from .senders.proofs import Knock
from .senders.sender import Sender
from .spool import Spool

log = structlog.get_logger(__name__)

_ANY_METHOD = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_UNFIT = re.compile(r"[^\x20-\x7e]")


class Sending:
    """The route of one sender. Without a spool a body that PostgreSQL cannot take is the sender's to send again."""

    def __init__(
        self,
        sender: Sender,
        reception: Reception | None,
        desk: Desk,
        door: Door,
        refusals: Refusals,
        spool: Spool | None = None,
    ) -> None:
        self._sender = sender
        self._reception = reception
        self._desk = desk
        self._door = door
        self._refusals = refusals
        self._spool = spool

    def routes(self) -> list[Route]:
        """Its webhook, and what else its declaration asks for. Unconfigured it answers every method with 404."""
        methods = ["POST"] if self._sender.proof else _ANY_METHOD
        return [Route(self._sender.path, self.post, methods=methods), *self._sender.routes]

    async def post(self, request: Request) -> Response:
        """Take one delivery.

        Raises:
            Problem: as the module says; 503 by the database's own errors.
            Unspoolable: 503 too: PostgreSQL is away, and the disk fails.
        """
        at = dt.datetime.now(dt.UTC)
        try:
            body = await self._proved(request, at)
        except (Problem, TooMuch) as error:
            problem = error if isinstance(error, Problem) else Problem(413, error.why)
            await self._refusals.leave(self._refusal(request, problem))
            raise problem from None
        return await in_thread(partial(self._take, request, body, at))

    async def _proved(self, request: Request, at: dt.datetime) -> bytes:
        """The body of a request that is who it says."""
        proof = self._sender.proof
        if proof is None or self._reception is None:
            raise Problem(404, "no secret is configured for this route")
        if not proof.needs_body and (why := proof.refuses(_knock(request, at))):
            raise Problem(401, why)
        body = await read(request, LARGEST_DELIVERY)
        if proof.needs_body and (why := proof.refuses(_knock(request, at, body))):
            raise Problem(401, why)
        return body

    def _take(self, request: Request, body: bytes, at: dt.datetime) -> Response:
        """Decode, decide, commit, or leave it to wait: all in one thread.

        A commit whose outcome is not known counts as not made: decided again, its entries are duplicates.
        """
        delivery, spool = self._opened(request, body, at), self._spool
        if spool is None or spool.is_empty():
            try:
                return self._decide([delivery])
            except SQLAlchemyError as error:
                if spool is None or not nobody_is_there(error):
                    raise
                log.warning("sending.postgres_away", error=type(error).__name__)
        spool.put_body(self._sender.name, delivery.sealed, at)
        told = {"received": len(delivery.entries), "spooled": len(delivery.entries)}
        log.info("sending.spooled", sender=self._sender.name, **told)
        return JSONResponse(told, self._sender.spooled)

    def _decide(self, deliveries: Sequence[Delivery]) -> Response:
        assert self._reception is not None  # noqa: S101 - or it was not proved
        reception = self._reception
        received = self._desk.settle(lambda conn: reception.receive(conn, deliveries))
        told = counts(received.landings)
        log.info("sending.taken", sender=self._sender.name, **told)
        return JSONResponse(told)

    def _opened(self, request: Request, body: bytes, at: dt.datetime) -> Delivery:
        assert self._reception is not None  # noqa: S101 - or it was not proved
        try:
            return self._reception.opened(self._sender.name, body, at)
        except BodyFault as fault:
            status = 413 if isinstance(fault, TooMuch) else 400 if isinstance(fault, NotJson) else 422
            where: dict[str, Any] = {} if fault.position is None else {"position": fault.position}
            problem = Problem(status, str(fault), **where)
            sound_until = fault.position if isinstance(fault, NotJson) else None
            keys = outline(body, sound_until)
            self._refusals.leave_here(self._refusal(request, problem, fault.position, keys, len(body)))
            raise problem from None

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


def _knock(request: Request, at: dt.datetime, body: bytes = b"") -> Knock:
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw]
    raw_path = request.scope.get("raw_path") or request.url.path.encode()
    query = request.scope["query_string"].decode("latin-1")
    path = raw_path.partition(b"?")[0].decode("latin-1")
    return Knock(request.method, path, query, headers, at.timestamp(), body)
