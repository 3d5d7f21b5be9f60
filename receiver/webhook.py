"""MLM's webhook: a delivery is read, decided and committed before it is answered (the contract, "HTTP").

Checked in this order: 404 no token configured, 403 address, 401 token, 413 size, 400 not JSON, 422 no known form.
The answer 200 goes out after the commit, never before; what was refused leaves a row with what is wrong and where,
and nothing of what the body said. With PostgreSQL away a batch waits in the spool, if there is one, and the answer is
202 once it is on the disk; while any waits, new ones go behind it.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from freshness.ledger.batches import Entry, receive
from freshness.ledger.deliveries import Refusal
from freshness.settings import WebhookKeys

from .bodies import LARGEST_DELIVERY, announced_length, read
from .decoding import decode
from .desk import Desk, in_thread
from .doors import Door
from .errors import BodyFault, NotJson, TooMuch
from .outline import outline
from .problems import Problem, nobody_is_there
from .refusals import Refusals
from .spool import Spool

PATH = "/api/v1/loans/mlm/webhook"

log = structlog.get_logger(__name__)

_ANY_METHOD = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_UNFIT = re.compile(r"[^\x20-\x7e]")


class Webhook:
    """The route, with what it needs: its door, the desk, the key names, and where refusals are written down.

    Without a spool a batch that PostgreSQL cannot take is the sender's to send again.
    """

    def __init__(
        self, door: Door, desk: Desk, keys: WebhookKeys, refusals: Refusals, spool: Spool | None = None
    ) -> None:
        self._door = door
        self._desk = desk
        self._keys = keys
        self._refusals = refusals
        self._spool = spool

    def routes(self) -> list[Route]:
        """The one route. Without a token configured it answers every method with 404, as if it were not there."""
        return [Route(PATH, self.post, methods=["POST"] if self._door.tokens else _ANY_METHOD)]

    async def post(self, request: Request) -> Response:
        """Take one delivery.

        Raises:
            Problem: as the module says; 503 by the database's own errors.
            Unspoolable: 503 too: PostgreSQL is away, and the disk fails.
        """
        try:
            self._door.admit(request)
            body = await read(request, LARGEST_DELIVERY)
        except (Problem, TooMuch) as error:
            problem = error if isinstance(error, Problem) else Problem(413, error.why)
            await self._refusals.leave(self._refusal(request, problem))
            raise problem from None
        return await in_thread(partial(self._take, request, body, dt.datetime.now(dt.UTC)))

    def _take(self, request: Request, body: bytes, received_at: dt.datetime) -> Response:
        """Decode, decide, commit, ring, or leave it to wait: all in one thread.

        A commit whose outcome is not known counts as not made: decided again, the guard skips it.
        """
        entries, spool = self._decode(request, body), self._spool
        if spool is None or spool.is_empty():
            try:
                return self._decide(entries)
            except SQLAlchemyError as error:
                if spool is None or not nobody_is_there(error):
                    raise
                log.warning("webhook.postgres_away", error=type(error).__name__)
        spool.put(entries, received_at)
        counts = {"received": len(entries), "spooled": len(entries)}
        log.info("webhook.spooled", **counts)
        return JSONResponse(counts, HTTPStatus.ACCEPTED)

    def _decode(self, request: Request, body: bytes) -> list[Entry]:
        try:
            return decode(body, self._keys)
        except BodyFault as fault:
            problem = _problem(fault)
            sound_until = fault.position if isinstance(fault, NotJson) else None
            self._refusals.leave_here(
                self._refusal(request, problem, fault.position, outline(body, sound_until), len(body))
            )
            raise problem from None

    def _decide(self, entries: Sequence[Entry]) -> Response:
        decided = self._desk.order(lambda conn: receive(conn, self._desk.rules, entries))
        counts = {
            "received": decided.received,
            "dispatched": decided.dispatched,
            "skipped": decided.skipped,
            "rejected": decided.rejected,
        }
        log.info("webhook.taken", **counts)
        return JSONResponse(counts)

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
