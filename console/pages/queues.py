"""Queues: what waits and where, what is at work, what was given up and why; redrive a group of it."""

from __future__ import annotations

import datetime as dt
from typing import Any

import redis
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from freshness.concerns import ALL
from freshness.ledger import backlog, given_up, pulse, shelves, workers
from freshness.ledger.given_up import Filter, GivenUp
from jobs.broker import Queue, connect
from jobs.inspecting import Bell, peek

from .. import actions, redriving
from ..actions import What
from ..apart import ROOT
from .behind import AMONG, behind
from .kit import Form, Kit, Refused
from .overview import bells
from .sessions import Visitor
from .under_way import UnderWay

#: Files of one redrive; the same button takes the rest.
MOST_REDRIVEN = 10_000
RATES = {"1": 1.0, "5": 5.0, "20": 20.0, "100": 100.0}

#: What became of a file of a redrive: it was ordered, or somebody had ordered it before its turn came.
ORDERED, LATE = "ordered", "had been ordered meanwhile"

SHOWN = 50

#: An error in an address or a form is cut off here.
LONGEST_ERROR = 4_000

#: Kinds of error on the page.
KINDS = 30

#: How long the drain rate looks back.
DRAIN = dt.timedelta(minutes=5)


class Queues:
    """The page, the dry run, the redrive."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit

    def routes(self) -> list[Route]:
        """`/queues`."""
        return [
            self._kit.shown("/queues", self.show),
            self._kit.shown("/queues/redrive", self.try_out),
            self._kit.done("/queues/redrive", self.redrive),
            self._kit.shown("/queues/bells/{queue}", self.look_into),
        ]

    async def show(self, request: Request, visitor: Visitor) -> Response:
        """The page; its numbers bring themselves up to date."""
        rules = self._kit.house.rules

        def look(conn: Connection) -> dict[str, Any]:
            late, all_of_it = behind(conn, rules)
            return {
                "behind": late,
                "all_of_it": all_of_it,
                "errors": given_up.by_error(conn, rules, AMONG),
                "leases": backlog.leases(conn, rules, AMONG),
                "living": workers.living(conn),
                "runs": actions.under_way(conn),
                "drain": pulse.drain(conn, DRAIN),
            }

        shown = await self._kit.read(look)
        seen = await self._kit.in_thread(lambda: bells(self._kit.house))
        return await self._kit.page(request, "queues.html", visitor, bells=seen, among=AMONG, kinds=KINDS, **shown)

    async def try_out(self, request: Request, visitor: Visitor) -> Response:
        """The dry run: what would be redriven."""
        wanted = _wanted(request.query_params)
        found = await self._kit.read(lambda conn: self._find(conn, wanted))
        files = redriving.files_of(found)
        return await self._kit.page(
            request, "redrive.html", visitor, wanted=wanted, files=files[:SHOWN], count=len(files), found=found[:SHOWN],
            rates=RATES, most=MOST_REDRIVEN, too_many=len(found) >= MOST_REDRIVEN,
        )  # fmt: skip

    async def redrive(self, request: Request, visitor: Visitor, form: Form) -> Response:
        """Order these files again, at a rate, beside whatever else this process does."""
        wanted, rate = _wanted(form), RATES.get(form.get("rate") or "20")
        if rate is None:
            raise Refused(400, "This rate is none of those to choose from.")
        found = await self._kit.read(lambda conn: self._find(conn, wanted))
        if not found:
            raise Refused(409, "Nothing of that kind is given up any more.")
        total = len(redriving.files_of(found))
        action = await self._kit.write(
            lambda conn: actions.record(conn, visitor.user.name, What.REDRIVE, _said(wanted), wanted=total)
        )
        house = self._kit.house
        steps = redriving.redrive(house.engine, house.rules, house.bell, found, rate)
        UnderWay(house, action, (ORDERED if each.order else LATE for each in steps), rate).start()
        return RedirectResponse(f"{ROOT}/queues", 303)

    async def look_into(self, request: Request, visitor: Visitor) -> Response:
        """The bells of one queue that would be taken next."""
        name = request.path_params["queue"]
        if name not in {str(each) for each in Queue}:
            raise Refused(404, "There is no such queue.")

        def peeked() -> list[Bell]:
            with connect(self._kit.house.settings.redis_url or "", patient=False) as client:
                return peek(client, Queue(name))

        try:
            found = await self._kit.in_thread(peeked)
        except redis.RedisError:
            raise Refused(503, "Redis is away: the bells cannot be seen. Nothing is lost.") from None
        ids = [each.file_id for each in found if each.file_id is not None]
        refs = await self._kit.read(lambda conn: shelves.references(conn, ids))
        return await self._kit.page(request, "bells.html", visitor, queue=name, peeked=found, refs=refs)

    def _find(self, conn: Connection, wanted: Filter) -> list[GivenUp]:
        return given_up.listed(conn, self._kit.house.rules, wanted)


def _wanted(asked: Any) -> Filter:
    concern = asked.get("concern") or None
    if concern is not None and concern not in {each.value for each in ALL}:
        raise Refused(400, "There is no such concern.")
    ref = (asked.get("ref") or "").strip()[:100] or None
    error = (asked.get("error") or "")[:LONGEST_ERROR] or None
    return Filter(concern=concern, same_error=error, ref=ref, limit=MOST_REDRIVEN)


def _said(wanted: Filter) -> str:
    parts = {"file": wanted.ref, "concern": wanted.concern, "error": wanted.same_error}
    return ", ".join(f"{name}: {value}" for name, value in parts.items() if value) or "everything given up"
