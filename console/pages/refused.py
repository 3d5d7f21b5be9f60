"""Refused deliveries: what never became entries, and what was wrong with it."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from freshness.ledger import deliveries

from .kit import Kit, Refused
from .sessions import Visitor

PAGE = 50


class RefusedDeliveries:
    """The list."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit

    def routes(self) -> list[Route]:
        """`/refused`."""
        return [self._kit.shown("/refused", self.list)]

    async def list(self, request: Request, visitor: Visitor) -> Response:
        """One page, newest first."""
        before = request.query_params.get("before")
        if before is not None and not (before.isdecimal() and len(before) < 19):
            raise Refused(400, "This address names no place in the list.")
        number = int(before) if before else None
        found = await self._kit.read(lambda conn: deliveries.last_refusals(conn, PAGE + 1, before=number))
        more = found[PAGE - 1]["id"] if len(found) > PAGE else None
        return await self._kit.page(request, "refused.html", visitor, refused=found[:PAGE], next=more)
