"""Who did what: every action of the console, newest first."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .. import actions
from .kit import Kit, Refused
from .sessions import Visitor

PAGE = 50


class Acted:
    """The list."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit

    def routes(self) -> list[Route]:
        """`/actions`."""
        return [self._kit.shown("/actions", self.list)]

    async def list(self, request: Request, visitor: Visitor) -> Response:
        """One page."""
        before, who = request.query_params.get("before"), request.query_params.get("who") or None
        if before is not None and not (before.isdecimal() and len(before) < 19):
            raise Refused(400, "This address names no place in the list.")
        number = int(before) if before else None
        found = await self._kit.read(lambda conn: actions.listed(conn, before=number, who=who, limit=PAGE + 1))
        more = found[PAGE - 1].id if len(found) > PAGE else None
        return await self._kit.page(request, "actions.html", visitor, found=found[:PAGE], next=more, who=who)
