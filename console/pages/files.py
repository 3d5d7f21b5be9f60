"""Files: which are stale, given up, to be confirmed, unstamped, gone; and the way from a number to a file."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from freshness.ledger import files, shelves, status
from freshness.ledger.shelves import Shelf

from ..apart import ROOT
from .kit import Kit, Refused
from .sessions import Visitor


class Files:
    """The list and the search."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit

    def routes(self) -> list[Route]:
        """`/files` and `/search`."""
        return [self._kit.shown("/files", self.list), self._kit.shown("/search", self.search)]

    async def list(self, request: Request, visitor: Visitor) -> Response:
        """One page of a shelf."""
        asked = request.query_params
        try:
            shelf = Shelf(asked.get("state") or Shelf.STALE)
        except ValueError:
            raise Refused(400, "There is no such state.") from None
        after = asked.get("after") or None

        def look(conn: Connection) -> dict[str, Any]:
            try:
                found = shelves.page(conn, shelf, after)
            except ValueError:
                raise Refused(400, "This address names no place in the list.") from None
            statuses = status.freshness_of_each(conn, self._kit.house.rules, found.ids)
            return {"found": found, "statuses": statuses, "numbers": shelves.loan_numbers(conn, found.ids)}

        shown = await self._kit.read(look)
        return await self._kit.page(
            request, "files.html", visitor, shelf=shelf, shelves=list(Shelf), most=shelves.MOST, **shown
        )

    async def search(self, request: Request, visitor: Visitor) -> Response:
        """To the file with this reference or loan number; or what comes near."""
        text = request.query_params.get("q", "").strip()[:100]

        def look(conn: Connection) -> tuple[str | None, list[str], list[str]]:
            found = files.find_by_ref(conn, text)
            if found is None and text.upper() != text:
                found = files.find_by_ref(conn, text.upper())
            if found is not None:
                return found.ref, [], []
            ids = files.find_by_number(conn, text)
            refs = [each.ref for each in status.freshness_of_each(conn, self._kit.house.rules, ids[:20])]
            return (refs[0], [], []) if len(refs) == 1 else (None, refs, shelves.near(conn, text))

        if not text:
            return RedirectResponse(f"{ROOT}/files?state=all", 303)
        exact, same_number, near = await self._kit.read(look)
        if exact is not None:
            return RedirectResponse(f"{ROOT}/files/{quote(exact, safe='')}", 303)
        return await self._kit.page(request, "search.html", visitor, text=text, same_number=same_number, near=near)
