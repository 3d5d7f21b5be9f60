"""MLM's webhook: a delivery is read, decided and committed before it is answered (the contract, "HTTP").

Checked in this order: 404 no token configured, 403 address, 401 token, 413 size, 400 not JSON, 422 no known form.
The answer 200 goes out after the commit, never before; what was refused leaves a row with what is wrong and where,
and nothing of what the body said. With PostgreSQL away a batch waits in the spool, if there is one, and the answer is
202 once it is on the disk; while any waits, new ones go behind it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from freshness.ledger.batches import Entry
from freshness.metrics import DELIVERIES
from freshness.settings import WebhookKeys
from jobs.tracing import Told

from .bodies import LARGEST_DELIVERY, read
from .decoding import decode
from .delivering import LARGEST_HERE, Delivering
from .desk import Desk, in_thread
from .doors import Door
from .errors import BodyFault, NotJson, TooMuch
from .intake import Intake, Taken
from .outline import outline
from .problems import Problem
from .refusals import Refusals

PATH = "/api/v1/loans/mlm/webhook"


@dataclass(frozen=True)
class Fault:
    """What is wrong with a body, for its sender and for us."""

    problem: Problem
    position: int | None
    outline: list[dict[str, Any]] | None


class Webhook(Delivering):
    """The route, with what it needs: door, intake, key names, where refusals are written down; and the counts."""

    def __init__(self, door: Door, intake: Intake, keys: WebhookKeys, refusals: Refusals, desk: Desk) -> None:
        super().__init__(PATH, door, refusals, desk)
        self._keys = keys
        self._intake = intake

    def routes(self) -> list[Route]:
        """The one route. Without a token configured it answers every method with 404, as if it were not there."""
        return [self._route(configured=bool(self._door.tokens))]

    def _answered(self, status: int, delivery: Told) -> None:
        self._desk.tally.count(DELIVERIES, str(status))
        delivery.note(**{"http.response.status_code": status})

    async def _take(self, request: Request) -> Taken:
        try:
            self._door.admit(request)
            body = await read(request, LARGEST_DELIVERY)
        except (Problem, TooMuch) as error:
            raise await self._refused(request, error) from None
        if len(body) <= LARGEST_HERE:
            entries = self._decode(body)
        else:
            entries = await in_thread(partial(self._decode, body))
        if isinstance(entries, Fault):
            raise await self._refused(request, entries.problem, entries.position, entries.outline, len(body))
        return await self._intake.take(entries)

    def _decode(self, body: bytes) -> list[Entry] | Fault:
        try:
            return decode(body, self._keys)
        except BodyFault as fault:
            sound_until = fault.position if isinstance(fault, NotJson) else None
            return Fault(_problem(fault), fault.position, outline(body, sound_until))


def _problem(fault: BodyFault) -> Problem:
    if isinstance(fault, TooMuch):
        return Problem(413, fault.why)
    status = 400 if isinstance(fault, NotJson) else 422
    return Problem(status, str(fault), position=fault.position)
