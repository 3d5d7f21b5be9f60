"""Loan.asmx on HTTP: reading the request, taking time, and breaking the connection where a knob says so."""

from __future__ import annotations

import asyncio
import socket
import struct

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mlm_client.sandbox.faults import Asked, Reply, struck
from mlm_client.sandbox.soap import LoanService
from mlm_client.sandbox.wsdl import wsdl

_MOST_BYTES = 32 * 1024 * 1024

#: Connections that are open, by both their ends: an ASGI app cannot reach its own.
_open: dict[tuple[object, object], asyncio.Transport] = {}


class SandboxProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which lets the sandbox cut a connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Remember the connection."""
        super().connection_made(transport)
        _open[self.client, self.server] = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        _open.pop((self.client, self.server), None)
        super().connection_lost(exc)


class LoanEndpoint:
    """The ASGI app at …/Loan.asmx."""

    def __init__(self, service: LoanService) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request: GET tells the WSDL, POST is SOAP."""
        if scope["method"] != "POST":
            await self._describe(Request(scope))(scope, receive, send)
            return
        body = await _body(receive)
        if body is None:
            await Response("Request Entity Too Large", 413)(scope, receive, send)
            return
        headers = dict(scope["headers"])
        with self._service.calls.call() as call:
            pause_s = self._service.dials.now.latency_ms / 2000
            if pause_s:
                await asyncio.sleep(pause_s)
            reply = self._service.answer(body, headers.get(b"soapaction", b"").decode("latin-1"), call)
            if pause_s:
                await asyncio.sleep(pause_s)
            if reply.broken:
                await _break(reply, scope, receive, send)
            else:
                await _send(reply, send)

    def _describe(self, request: Request) -> Response:
        if "wsdl" not in request.url.query.lower():
            return HTMLResponse("<!DOCTYPE html><title>Loan</title><h1>Loan (sandbox)</h1><a href='?wsdl'>WSDL</a>")
        address = str(request.url.replace(query=""))
        return Response(wsdl(address, self._service.dials.now.reference_parameter), media_type="text/xml")


class Away:
    """Another ASGI app of MLM's, but for the time that the knob `outage` is set."""

    def __init__(self, app: ASGIApp, service: LoanService) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it as the outage does; such a call is logged under the address's last part."""
        knobs = self._service.dials.now
        if not knobs.outage:
            await self._app(scope, receive, send)
            return
        with self._service.calls.call() as call:
            call.operation, call.outcome = scope["path"].rsplit("/", 1)[-1], "outage"
            await _body(receive)
            reply = struck(knobs.outage, Asked(), "", knobs)
            await (_break(reply, scope, receive, send) if reply.broken else _send(reply, send))


async def _body(receive: Receive) -> bytes | None:
    """The whole body, None if it is too long."""
    parts: list[bytes] = []
    length = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b"".join(parts)
        parts.append(message.get("body", b""))
        length += len(parts[-1])
        if length > _MOST_BYTES:
            return None
        if not message.get("more_body"):
            return b"".join(parts)


async def _send(reply: Reply, send: Send) -> None:
    await send(_start(reply))
    await send({"type": "http.response.body", "body": reply.body})


def _start(reply: Reply) -> Message:
    length = str(len(reply.body)).encode()
    headers = [(b"content-type", reply.content_type.encode()), (b"content-length", length), *reply.headers]
    return {"type": "http.response.start", "status": reply.status, "headers": headers}


async def _break(reply: Reply, scope: Scope, receive: Receive, send: Send) -> None:
    """Say nothing until the caller goes (`hang`), cut at once (`reset`), or in the middle (`half`)."""
    if reply.broken == "hang":
        while (await receive())["type"] != "http.disconnect":
            pass
        return
    if reply.broken == "half":
        await send(_start(reply))
        await send({"type": "http.response.body", "body": reply.body[: len(reply.body) // 2], "more_body": True})
    transport = _open.get((scope["client"], scope["server"]))
    if transport is None:
        return
    if reply.broken == "half":
        transport.close()
    else:
        _reset(transport)
    await receive()


def _reset(transport: asyncio.Transport) -> None:
    """Close with RST, not FIN."""
    connection = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
