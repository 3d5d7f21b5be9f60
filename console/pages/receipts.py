"""MLM webhooks: every entry that came, what was decided and why, when our data changed; export, replay."""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from freshness.guard import Outcome
from freshness.ledger import browsing, receipts, replays
from freshness.ledger.browsing import Place, Wanted

from .. import actions, replaying
from ..actions import What
from . import words
from .kit import ROOT, Form, Kit, Refused
from .sessions import Visitor

OUTCOMES = [each.value for each in Outcome]
SPANS = {"all": None, "1h": 3600, "24h": 86_400, "7d": 7 * 86_400, "30d": 30 * 86_400}
SLOWER = {"1": "1 s", "10": "10 s", "60": "1 min", "600": "10 min", "3600": "1 h"}
EXPORT_PAGE = 2_000

#: The columns of an export: what the list knows, and no text that a sender may have put anything into but for the
#: names of things.
EXPORTED = (
    "id", "received_at", "reference_number", "loan_number", "loan_id", "lead_id", "event_type", "outcome", "reason",
    "last_modified_at", "mark_before", "order_number", "served_at", "data_updated_at", "rows_changed", "replay_of",
)  # fmt: skip


class Receipts:
    """The list, one receipt, the export, the replay."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit

    def routes(self) -> list[Route]:
        """Under `/receipts`."""
        return [
            self._kit.shown("/receipts", self.list),
            self._kit.done("/receipts/export", self.export),
            self._kit.shown("/receipts/{place}", self.one),
            self._kit.done("/receipts/{place}/replay", self.replay),
        ]

    async def list(self, request: Request, visitor: Visitor) -> Response:
        """One page of receipts."""
        asked = request.query_params
        wanted, after = wanted_of(asked), _after(asked.get("after"))
        found = await self._kit.read(lambda conn: browsing.page(conn, wanted, after))
        return self._kit.page(
            request, "receipts.html", visitor, found=found, wanted=wanted, outcomes=OUTCOMES, spans=SPANS,
            slower=SLOWER, next=words.place_text(found.next) if found.next else None,
        )  # fmt: skip

    async def one(self, request: Request, visitor: Visitor) -> Response:
        """One receipt: what was decided of it and what came of it."""
        place = _place(request)

        def look(conn: Connection) -> dict[str, Any]:
            receipt = browsing.one(conn, place)
            if receipt is None:
                raise Refused(404, "There is no such receipt. Old ones are pruned.")
            came = browsing.consequences(conn, receipt)
            return {"receipt": receipt, "came": came, "original": browsing.replayed(conn, receipt)}

        shown = await self._kit.read(look)
        replayable = _is_replayable(shown["receipt"])
        return self._kit.page(request, "receipt.html", visitor, replayable=replayable, tried=None, **shown)

    async def replay(self, request: Request, visitor: Visitor, form: Form) -> Response:
        """Decide its entry once more; with `dry`, only say what would be decided."""
        place, force, dry = _place(request), form.get("force") == "1", form.get("dry") == "1"

        def work() -> tuple[dict[str, Any], replays.Replayed]:
            house = self._kit.house
            with house.engine.begin() as conn:
                receipt = receipts.at(conn, place.at, place.id)
            if receipt is None or not _is_replayable(receipt):
                raise Refused(409, "This receipt cannot be replayed: it is gone, or its entry was not kept.")
            (done,) = replaying.replay(house.engine, house.rules, house.bell, [receipt], force=force, dry_run=dry)
            return receipt, done

        receipt, done = await self._kit.in_thread(work)
        if dry:
            return self._kit.page(request, "tried.html", visitor, receipt=receipt, tried=done, force=force)
        which = f"receipt {receipt['id']} of {receipt['reference_number']}" + (", with force" if force else "")
        result = f"{done.outcome}, order {done.order_number}" if done.order_number else done.outcome
        await self._kit.write(
            lambda conn: actions.record(conn, visitor.user.name, What.REPLAY, which, wanted=1, reached=1, result=result)
        )
        return RedirectResponse(f"{ROOT}/receipts?search={quote(receipt['reference_number'] or '', safe='')}", 303)

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


def wanted_of(asked: Any) -> Wanted:
    """The filters of an address or a form.

    Raises:
        Refused: one of them cannot be understood.
    """
    span = asked.get("span") or "all"
    if span not in SPANS:
        raise Refused(400, "This length of time is none of those to choose from.")
    outcome = asked.get("outcome") or None
    if outcome is not None and outcome not in OUTCOMES:
        raise Refused(400, "There is no such outcome.")
    search = (asked.get("search") or "").strip()[:100] or None
    since, until = _moment(asked.get("since")), _moment(asked.get("until"))
    length = SPANS[span]
    if since is None and length is not None:
        since = (until or dt.datetime.now(dt.UTC)) - dt.timedelta(seconds=length)
    slower = asked.get("slower") or None
    if slower is not None and slower not in SLOWER:
        raise Refused(400, "This is none of the lengths to choose from.")
    changed = {"yes": True, "no": False}.get(asked.get("changed") or "")
    return Wanted(
        search=search,
        outcome=outcome,
        event=(asked.get("event") or "").strip()[:60] or None,
        since=since,
        until=until,
        slower_s=float(slower) if slower else None,
        changed=changed,
        unserved=asked.get("unserved") == "1",
    )


def _moment(text: str | None) -> dt.datetime | None:
    if not text:
        return None
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise Refused(400, "A moment must be like 2026-11-20T13:04, in UTC.") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def _after(text: str | None) -> Place | None:
    try:
        return words.read_place(text) if text else None
    except ValueError:
        raise Refused(400, "This address names no place in the list.") from None


def _is_replayable(receipt: Mapping[str, Any]) -> bool:
    """Of another sender it is a subject that is rebuilt, not an entry: `freshness replay` does that."""
    return bool(receipt["sender"] == replays.MLM and replays.can_be_replayed(receipt))


def _place(request: Request) -> Place:
    try:
        return words.read_place(request.path_params["place"])
    except ValueError:
        raise Refused(404, "There is no such receipt.") from None


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
