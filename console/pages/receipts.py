"""MLM webhooks: every entry that came, what was decided and why, when our data changed; export."""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from freshness.ledger import browsing, deliveries, replays
from freshness.ledger.browsing import Found, Place, Wanted
from receiver.senders import SENDERS

from .. import actions
from ..actions import What
from . import replay, words
from .filters import OUTCOMES, SLOWER, SPANS, after_of, place_in, wanted_of
from .kit import Form, Kit, Refused
from .sessions import Visitor

EXPORT_PAGE = 2_000

#: Refused deliveries are counted beside the way to them, so far back.
REFUSED_WITHIN = dt.timedelta(hours=24)

#: The columns of an export: what the list knows, and no text that a sender may have put anything into but for the
#: names of things.
EXPORTED = (
    "id", "received_at", "reference_number", "loan_number", "loan_id", "lead_id", "event_type", "outcome", "reason",
    "last_modified_at", "mark_before", "order_number", "served_at", "data_updated_at", "rows_changed", "replay_of",
    "sender", "subject",
)  # fmt: skip


class Receipts:
    """The list, one receipt, the export."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._senders = [replays.MLM, *(declare(kit.house.settings).name for declare in SENDERS)]

    def routes(self) -> list[Route]:
        """Under `/receipts`."""
        return [
            self._kit.shown("/receipts", self.list),
            self._kit.done("/receipts/export", self.export),
            self._kit.shown("/receipts/{place}", self.one),
        ]

    async def list(self, request: Request, visitor: Visitor) -> Response:
        """One page of receipts."""
        asked = request.query_params
        wanted, after = wanted_of(asked), after_of(asked.get("after"))

        def look(conn: Connection) -> tuple[Found, int]:
            lately = dt.datetime.now(dt.UTC) - REFUSED_WITHIN
            return browsing.page(conn, wanted, after), deliveries.refused_since(conn, lately)[0]

        found, refused = await self._kit.read(look)
        return await self._kit.page(
            request, "receipts.html", visitor, found=found, wanted=wanted, outcomes=OUTCOMES, senders=self._senders,
            spans=SPANS, slower=SLOWER, refused=refused, next=words.place_text(found.next) if found.next else None,
        )  # fmt: skip

    async def one(self, request: Request, visitor: Visitor) -> Response:
        """One receipt: what was decided of it and what came of it."""
        place = place_in(request)

        def look(conn: Connection) -> dict[str, Any]:
            receipt = browsing.one(conn, place)
            if receipt is None:
                raise Refused(404, "There is no such receipt. Old ones are pruned.")
            came = browsing.consequences(conn, receipt)
            return {"receipt": receipt, "came": came, "original": browsing.replayed(conn, receipt)}

        shown = await self._kit.read(look)
        why_not = replay.why_not(shown["receipt"], self._kit.house.settings)
        return await self._kit.page(request, "receipt.html", visitor, why_not=why_not, **shown)

    async def export(self, request: Request, visitor: Visitor, form: Form) -> Response:
        """What the filters leave, as CSV, page by page as it is read."""
        wanted = wanted_of(form)
        said = ", ".join(f"{name}: {value}" for name, value in form.items() if value and name != "token")
        action = await self._kit.write(
            lambda conn: actions.record(conn, visitor.user.name, What.EXPORT, said[:300] or "all", wanted=0)
        )
        name = f"mlm-webhooks-{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%SZ}.csv"
        headers = {"content-disposition": f'attachment; filename="{name}"'}
        return StreamingResponse(self._rows(wanted, action), headers=headers, media_type="text/csv; charset=utf-8")

    async def _rows(self, wanted: Wanted, action: int) -> AsyncIterator[bytes]:
        yield _csv([EXPORTED])
        after: Place | None = None
        reached = 0
        wanted = replace(wanted, until=wanted.until or dt.datetime.now(dt.UTC))
        while True:
            begin = after
            found = await self._kit.read(lambda conn, begin=begin: browsing.page(conn, wanted, begin, EXPORT_PAGE))  # type: ignore[misc]
            if found.receipts:
                yield _csv([[_safe(receipt[name]) for name in EXPORTED] for receipt in found.receipts])
            reached += len(found.receipts)
            if found.next is None:
                break
            after = found.next
        await self._kit.write(lambda conn: actions.move(conn, action, reached, "exported"))


def _safe(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula."""
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return value


def _csv(rows: Any) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()
