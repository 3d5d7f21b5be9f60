"""One file: is it fresh, as of which stamp, and if not, why? What happened to it, on one axis; refresh it now.

The answer is `status.freshness_of`, as `freshness explain` and the portal's API have it, and the sentences are
`story`'s.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from freshness.errors import UnknownFile
from freshness.ledger import calibration, files, shelves, status, workers
from freshness.ledger.files import FileRef, Kind
from freshness.ledger.orders import Placed

from .. import actions, away, story
from ..actions import What
from ..apart import ROOT
from . import timeline
from .kit import Form, Kit
from .sessions import Visitor

#: Of each trail, so many of the newest: what the picture and the tables show.
TRAIL = 40


class File:
    """One file's page."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit

    def routes(self) -> list[Route]:
        """`/files/{ref}`."""
        return [
            self._kit.shown("/files/{ref:path}", self.show),
            self._kit.done("/refresh/{ref:path}", self.refresh),
        ]

    async def show(self, request: Request, visitor: Visitor) -> Response:
        """The page. Parts of it bring themselves up to date."""
        ref, rules = request.path_params["ref"], self._kit.house.rules

        def look(conn: Connection) -> dict[str, Any]:
            said = status.freshness_of(conn, rules, ref)
            found = files.find_by_ref(conn, ref)
            return {
                "file": said,
                "trails": status.story_of(conn, ref, rows=TRAIL),
                "number": shelves.loan_numbers(conn, [found.id]).get(ref) if found else None,
                "living": workers.living(conn),
                "calibrated": calibration.calibration_of(conn).holds,
            }

        shown = await self._kit.read(look)
        circuit, unknown = await self._kit.in_thread(lambda: away.look(self._kit.house.settings))
        said = shown["file"]
        return await self._kit.page(
            request, "file.html", visitor, became=story.what_became, rows_told=story.rows_told,
            lines=story.explained(said, shown.pop("living"), shown.pop("calibrated"), away.told(circuit, unknown)),
            picture=timeline.picture(timeline.marks(shown["trails"], said.as_of), said.as_of),
            **shown,
        )  # fmt: skip

    async def refresh(self, request: Request, visitor: Visitor, form: Form) -> Response:
        """Order the file to be read again, now."""
        ref = request.path_params["ref"]

        def order(conn: Connection) -> Placed:
            found = files.find_by_ref(conn, ref)
            if found is None:
                raise UnknownFile(None, ref)
            kind: Kind = "lead" if found.kind == "lead" else "loan"
            placed = files.refresh(conn, self._kit.house.rules, FileRef(kind, ref))
            result = f"order {placed.number}"
            actions.record(conn, visitor.user.name, What.REFRESH, ref, wanted=1, reached=1, result=result)
            return placed

        await self._kit.write(order, lambda placed: placed.rings)
        return RedirectResponse(f"{ROOT}/files/{quote(ref, safe='')}", 303)
