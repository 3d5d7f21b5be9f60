"""Every error as a problem document (RFC 9457), and what an unforeseen one becomes.

A 500 says nothing of our insides, and its log line names the error's type and where it was raised, never its
message: a library's message may carry a body. PostgreSQL away is 503 with `Retry-After`, so that the sender,
who has the batch, sends it again.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from freshness.errors import FieldKeyError, UnknownFile, UnknownOwnWrite, UnreadableStamp

from .errors import Unspoolable

log = structlog.get_logger(__name__)

RETRY_AFTER_S = 5
_PROVED = "freshness.proved"
_READ_ONLY = "25006"  # a standby, or a primary that has just become one
#: Classes of SQLSTATE: connection, resources (disk, memory, connections), operator (shutdown, crash, starting up).
_NO_SERVER = ("08", "53", "57")
_CANCELLED = "57014"


class Problem(Exception):
    """A refusal that a caller is told of: its status, what is wrong in words, and members that say where."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None, **members: Any) -> None:
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = members
        super().__init__(f"{status}: {detail}")

    def response(self) -> Response:
        """The document. Its `type` is `about:blank`: the status says the kind, `detail` says the case."""
        headers = dict(self.headers)
        if self.status == HTTPStatus.UNAUTHORIZED:
            headers.setdefault("WWW-Authenticate", "Bearer")
        if self.status == HTTPStatus.SERVICE_UNAVAILABLE:
            headers.setdefault("Retry-After", str(RETRY_AFTER_S))
        body = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            **self.members,
        }
        return Response(msgspec.json.encode(body), self.status, headers, media_type="application/problem+json")


def proved(scope: Scope) -> None:
    """Note that whoever sent this request has proved who they are: what is refused from here on is no knock."""
    scope[_PROVED] = True


def postgres_is_away(error: BaseException) -> bool:
    """Whether the database, not the request, is why a transaction failed: the same request may succeed later."""
    if isinstance(error, (OperationalError, InterfaceError, PoolTimeout)) or is_read_only(error):
        return True
    return isinstance(error, DBAPIError) and error.connection_invalidated


def is_read_only(error: BaseException) -> bool:
    """Whether the server we are connected to takes no writes: there may be another one by now under the same name."""
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) == _READ_ONLY


def nobody_is_there(error: BaseException) -> bool:
    """Whether there is no PostgreSQL to write to: none that answers, none that lets us in, or none that may write.

    A lock or a statement that took too long is none of this, unless it took the connection with it: PostgreSQL is
    there, and says no.
    """
    if isinstance(error, PoolTimeout) or is_read_only(error):
        return True
    if not isinstance(error, DBAPIError):
        return False
    sqlstate = getattr(error.orig, "sqlstate", None)
    if sqlstate is None:
        return isinstance(error, (OperationalError, InterfaceError))
    return error.connection_invalidated or (sqlstate[:2] in _NO_SERVER and sqlstate != _CANCELLED)


def problem_of(error: Exception) -> Problem:
    """What a caller is told of an error."""
    match error:
        case Problem():
            return error
        case HTTPException():
            detail = "no such route" if error.status_code == HTTPStatus.NOT_FOUND else error.detail
            return Problem(error.status_code, detail, error.headers)
        case UnknownFile() | UnknownOwnWrite():
            return Problem(404, str(error))
        case UnreadableStamp():
            return Problem(422, str(error))
        case Unspoolable():
            return Problem(503, str(error))
        case FieldKeyError():
            return Problem(503, "FIELD_KEYS does not hold the key that is needed; its operator has to mend that")
        case _ if postgres_is_away(error):
            return Problem(503, "the database cannot be reached; try again")
        case _:
            return Problem(500, "something went wrong on our side")


class Shield:
    """Outermost: makes every refusal and error an answer; lets no traceback out, neither to a caller nor to a log."""

    def __init__(self, app: ASGIApp, refuse: Callable[[Scope], int] = lambda _: 0) -> None:
        """`refuse` counts a refusal of somebody who has proved nothing; not 0: seconds that they are to wait."""
        self.app = app
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; an error becomes its problem document if no answer has begun."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, receive, sending)
        except ClientDisconnect:
            return
        except asyncio.CancelledError:  # the server stops, and the time that it had to end in is over
            if not begun:
                await Problem(503, "this receiver stops; try again").response()(scope, receive, send)
            raise
        except Exception as error:  # noqa: BLE001 - the last net: whatever it is, the caller gets an answer
            problem = self._limited(problem_of(error), scope)
            report(error, problem.status, scope)
            if not begun:
                await problem.response()(scope, receive, send)

    def _limited(self, problem: Problem, scope: Scope) -> Problem:
        if not HTTPStatus.BAD_REQUEST <= problem.status < HTTPStatus.INTERNAL_SERVER_ERROR or scope.get(_PROVED):
            return problem
        wait_s = self._refuse(scope)
        if not wait_s:
            return problem
        detail = f"too many requests from this address were refused; come again in {wait_s} s ({problem.detail})"
        return Problem(HTTPStatus.TOO_MANY_REQUESTS, detail, {"Retry-After": str(wait_s)})


def report(error: Exception, status: int, scope: Scope) -> None:
    """Log an error by its type and the places it went through."""
    if status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return
    if isinstance(error, FieldKeyError):
        log.error("receiver.wrong_key", error=str(error))
        return
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        log.warning("receiver.postgres_away", error=type(error).__name__)
        return
    route = scope.get("route")
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    log.error(
        "receiver.failed",
        route=getattr(route, "path", None),
        error=type(error).__name__,
        at=[f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}" for frame in frames],
    )
