"""The web console at the receiver's address, and in a process of its own: the receiver hands on what it is asked there.

A page is tens of milliseconds of an interpreter, and within the receiver every delivery that came meanwhile would wait
for it. The process (`python -m console.pages`) is started when somebody first asks for a page, with a lower priority
than what receives; it ends with the receiver however that ends, and begins anew if it ends by itself.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import httpx
from starlette.requests import Request
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import Receive, Scope, Send

from freshness.settings import Settings
from receiver.problems import Problem

from .processes import Supervisor, of_ours

#: Where it stands at the receiver.
ROOT = "/console"

#: Says to the console which address a request came from. Whoever else says so is not listened to.
CALLER = b"x-freshness-caller"

#: What begins with the first page may import for seconds on a machine that is busy.
STARTS_WITHIN_S, LOOK_EVERY_S = 30.0, 0.05
ENDS_WITHIN_S = 3.0

#: Connections that are kept from one page to the next.
KEPT = 4

#: A page is cut off by PostgreSQL before that.
_TIMEOUT = httpx.Timeout(60).as_dict()

#: Of one connection and not of what it carries; and the date, which every answer has from the receiver's server.
_OF_ONE_CONNECTION = frozenset({b"connection", b"keep-alive", b"transfer-encoding", b"te", b"upgrade", b"date"})


@contextmanager
def console_apart(settings: Settings, caller: Callable[[Request], str]) -> Iterator[tuple[BaseRoute, ...]]:
    """The console's routes for the receiver's app, for as long as the block runs; none if nobody is configured, so that
    it answers 404. `caller` says which address a request came from."""
    if not settings.console_users and not settings.console_password:
        yield ()
        return
    with ExitStack() as stack:
        handing_on = _HandingOn(caller, lambda: _begun(stack))
        yield (Mount(ROOT, handing_on), Route(ROOT, handing_on))


def _begun(stack: ExitStack) -> httpx.AsyncHTTPTransport:
    """The console's process, until the stack is left: the way to it."""
    there = Path(stack.enter_context(TemporaryDirectory(prefix="freshness-")), "console")
    process = of_ours("console", "console.pages", str(there))
    stack.enter_context(Supervisor([process], grace_s=ENDS_WITHIN_S, out=sys.stderr))
    # One that is kept to a process that has ended is seen to be closed before it is used.
    limits = httpx.Limits(max_keepalive_connections=KEPT)
    return httpx.AsyncHTTPTransport(uds=str(there), limits=limits, verify=False)


class _HandingOn:
    """Hands each request on to the console's process, which begins with the first, and its answer back as it comes."""

    def __init__(self, caller: Callable[[Request], str], begin: Callable[[], httpx.AsyncHTTPTransport]) -> None:
        self._caller = caller
        self._begin = begin

    @cached_property
    def _transport(self) -> httpx.AsyncHTTPTransport:
        return self._begin()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request.

        Raises:
            Problem: 502, the console does not begin, or has ended on the way; 400, it has no such address.
        """
        asked = self._asked(Request(scope, receive))
        try:
            answer = await _patiently(lambda: self._transport.handle_async_request(asked))
        except httpx.TransportError:
            raise Problem(HTTPStatus.BAD_GATEWAY, "the web console does not answer; try again") from None
        try:
            headers = [each for each in answer.headers.raw if each[0].lower() not in _OF_ONE_CONNECTION]
            await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
            async for chunk in answer.aiter_raw():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            await answer.aclose()

    def _asked(self, request: Request) -> httpx.Request:
        """The same request, with the address that it came from."""
        unheard = _OF_ONE_CONNECTION | {CALLER}
        headers = [each for each in request.headers.raw if each[0] not in unheard]
        headers.append((CALLER, self._caller(request).encode()))
        has_body = "content-length" in request.headers or "transfer-encoding" in request.headers
        body = request.stream() if has_body else None
        return httpx.Request(
            request.method, _address(request.scope), headers=headers, content=body, extensions={"timeout": _TIMEOUT}
        )


def _address(scope: Scope) -> httpx.URL:
    query = scope["query_string"]
    try:
        return httpx.URL(scheme="http", host="console", raw_path=scope["raw_path"] + (b"?" + query if query else b""))
    except (UnicodeDecodeError, httpx.InvalidURL):
        raise Problem(HTTPStatus.BAD_REQUEST, "no address that a browser sends") from None


async def _patiently(ask: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    """The answer, once somebody is there to give it.

    Raises:
        TransportError: nobody was, in all that time; or who was has ended.
    """
    deadline = time.monotonic() + STARTS_WITHIN_S
    while True:
        try:
            return await ask()
        except httpx.ConnectError:
            if time.monotonic() > deadline:
                raise
            await anyio.sleep(LOOK_EVERY_S)
