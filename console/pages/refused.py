"""Refused deliveries: what never became entries, and what was wrong with it."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from freshness.ledger import deliveries
from freshness.ledger.deliveries import Wanted

from .filters import moment_of
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
        asked = request.query_params
        wanted, before = _wanted(asked), asked.get("before")
        if before is not None and not (before.isdecimal() and len(before) < 19):
            raise Refused(400, "This address names no place in the list.")
        number = int(before) if before else None
        found = await self._kit.read(lambda conn: deliveries.page(conn, wanted, number, PAGE))
        return await self._kit.page(request, "refused.html", visitor, found=found, wanted=wanted)


def _wanted(asked: Any) -> Wanted:
    status = asked.get("status") or None
    if status is not None and not (status.isdecimal() and len(status) == len("401")):
        raise Refused(400, "This is no status of HTTP.")
    return Wanted(
        status=int(status) if status else None,
        path=(asked.get("path") or "").strip()[:100] or None,
        since=moment_of(asked.get("since")),
        until=moment_of(asked.get("until")),
    )
