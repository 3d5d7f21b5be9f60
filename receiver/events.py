"""Server-sent events: what a portal's pages hear of their files (the contract, `GET /api/v1/events`).

Each event is `id: <number>`, `event: <kind>`, `data: {"kind","ref","at"}`. `Last-Event-ID`, or `?last_event_id=` for
what can set no header, resumes behind that number; where that cannot be done without a gap, a `reset` says so and
the stream goes on from the newest. A stream that begins without one hears what comes after its beginning.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

import msgspec
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from freshness.ledger.events import Event, issue_ticket, redeem_ticket

from .decoding import fit_reference
from .desk import Desk, in_thread
from .doors import Door
from .hub import Hub
from .problems import Problem, proved

PATH = "/api/v1/events"
TICKETS = f"{PATH}/tickets"
TICKET_LIFE_S = 60

#: A comment is sent after this long without an event, so that nothing between takes the stream for dead.
KEEP_ALIVE_S = 15.0

#: A client that takes nothing for this long has gone.
SEND_WITHIN_S = 30.0

_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class Events:
    """The two routes behind the portal's door. Without a token configured there are none."""

    def __init__(self, door: Door, desk: Desk, hub: Hub) -> None:
        self._door = door
        self._desk = desk
        self._hub = hub

    def routes(self) -> list[Route]:
        """The stream, and its tickets."""
        if not self._door.tokens:
            return []
        return [
            Route(PATH, self.listen, methods=["GET"]),
            Route(TICKETS, self.ticket, methods=["POST"]),
        ]

    async def ticket(self, request: Request) -> Response:
        """A ticket that signs in one stream, once, within a minute: a browser's EventSource sends no header."""
        self._door.admit(request)
        ticket = await in_thread(lambda: self._desk.settle(issue_ticket))
        body = msgspec.json.encode({"ticket": ticket, "expires_in": TICKET_LIFE_S})
        return Response(body, HTTPStatus.CREATED, {"Cache-Control": "no-store"}, media_type="application/json")

    async def listen(self, request: Request) -> Any:
        """Open a stream.

        Raises:
            Problem: 401 neither bearer nor a good ticket, 422 a reference that cannot be, 503 too many streams.
        """
        await self._sign_in(request)
        try:
            ref = fit_reference(request.query_params["ref"]) if "ref" in request.query_params else None
        except ValueError as error:
            raise Problem(422, str(error), field="ref") from None
        if request.method == "HEAD":
            return Response(None, headers=_HEADERS, media_type="text/event-stream")
        last = request.headers.get("last-event-id") or request.query_params.get("last_event_id")
        number = await self._hub.newest() if last is None else _number(last)
        return Stream(self._hub, number, ref)

    async def _sign_in(self, request: Request) -> None:
        ticket = request.query_params.get("ticket")
        if ticket is None:
            self._door.admit(request)
        elif not ticket.isascii() or not ticket.isprintable() or len(ticket) > 200:
            raise Problem(401, "no such ticket")
        elif not await in_thread(lambda: self._desk.settle(lambda conn: redeem_ticket(conn, ticket))):
            raise Problem(401, "the ticket is unknown, used or more than a minute old")
        else:
            proved(request.scope)


class Stream:
    """One open stream, as an ASGI answer: its place among the numbers is all that it holds."""

    def __init__(self, hub: Hub, number: int | None, ref: str | None) -> None:
        self._hub = hub
        self._number = number
        self._ref = ref

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the client goes, stops taking, or the hub closes."""
        with self._hub.stream():
            sending = asyncio.create_task(self._send_all(send))
            going = asyncio.create_task(_until_gone(receive))
            try:
                await asyncio.wait({sending, going}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                sending.cancel()
                going.cancel()
                results = await asyncio.gather(sending, going, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, (TimeoutError, OSError)):
                raise result

    async def _send_all(self, send: Send) -> None:
        headers = {**_HEADERS, "Content-Type": "text/event-stream; charset=utf-8"}
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": raw})
        place = b"" if self._number is None else b"id: %d\n" % self._number
        await _write(send, place + b"retry: 2000\n\n")
        while not self._hub.closing:
            changed = self._hub.changed
            try:
                text = await self._news()
            except SQLAlchemyError:  # the stream outlives it, and misses nothing: its place stays
                text = b""
            if text:
                await _write(send, text)
                continue
            try:
                await asyncio.wait_for(changed.wait(), KEEP_ALIVE_S)
            except TimeoutError:
                await _write(send, b": still here\n\n")
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _news(self) -> bytes:
        """The events behind our place, as text; moves the place."""
        news = await self._hub.after(self._number, self._ref)
        self._number = news.upto
        if news.reset:
            return b'id: %d\nevent: reset\ndata: {"kind":"reset"}\n\n' % news.upto
        return b"".join(_text(event) for event in news.events)


def _text(event: Event) -> bytes:
    data = msgspec.json.encode({"kind": event.kind, "ref": event.ref, "at": event.at.isoformat()})
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.id, event.kind.encode(), data)


def _number(text: str) -> int | None:
    """The number a client has seen last; what is no number of ours begins with a reset."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


async def _write(send: Send, text: bytes) -> None:
    async with asyncio.timeout(SEND_WITHIN_S):
        await send({"type": "http.response.body", "body": text, "more_body": True})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
