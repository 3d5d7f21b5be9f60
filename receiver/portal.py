"""What a portal in any language asks over HTTP: own writes, the two marks, an order, and how fresh a file is.

Bodies are small and typed; a field that is unknown or of the wrong kind is a 422 that names it, since a misspelt
`capture` must not pass for its default.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from typing import Annotated, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from freshness.errors import UnknownOwnWrite
from freshness.ledger import own_writes
from freshness.ledger.files import FileRef, refresh
from freshness.ledger.status import freshness_of

from .bodies import read_as
from .decoding import fit_reference
from .desk import Desk, in_thread
from .doors import Door
from .problems import Problem

#: The kind of file that each path names.
KINDS: dict[str, Literal["loan", "lead"]] = {"loans": "loan", "leads": "lead"}

Id = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
Handler = Callable[[Request, FileRef], Awaitable[Response]]


class Registration(msgspec.Struct, forbid_unknown_fields=True):
    """`capture: false` for a write with dependents, a document upload or a registration."""

    capture: bool = True


class Exit(msgspec.Struct, forbid_unknown_fields=True):
    """`ok: true` once the local half is committed; `false` if the write ended badly."""

    ok: bool


class CaptureMark(msgspec.Struct, forbid_unknown_fields=True):
    """`own_write`: that one's good exit. Else the short form, for a write since `since` (left out: a while ago)."""

    own_write: Id | None = None
    since: Annotated[dt.datetime, msgspec.Meta(tz=True)] | None = None


class SeedMark(msgspec.Struct, forbid_unknown_fields=True):
    """The stamp that MLM gave the file when it was created there; left out, it is read."""

    last_modified: Annotated[str, msgspec.Meta(max_length=100, pattern=r"^[^\x00-\x1f]*$")] | None = None


class Nothing(msgspec.Struct, forbid_unknown_fields=True):
    """No body, or an empty object."""


class Portal:
    """The portal's routes behind its one door. Without a token configured there are none."""

    def __init__(self, door: Door, desk: Desk) -> None:
        self._door = door
        self._desk = desk

    def routes(self) -> list[Route]:
        """Every route of both kinds of file."""
        table: list[tuple[str, str, Handler]] = [
            ("POST", "/mlm/own-writes", self.register),
            ("POST", "/mlm/own-writes/{id:int}/exit", self.exit),
            ("POST", "/mlm/capture-mark", self.capture_mark),
            ("POST", "/mlm/seed-mark", self.seed_mark),
            ("POST", "/mlm/refresh", self.refresh),
            ("GET", "/freshness", self.freshness),
        ]
        return [
            Route(f"/api/v1/{plural}/{{ref}}{rest}", self._behind_door(handler, plural), methods=[method])
            for plural in KINDS
            for method, rest, handler in (table if self._door.tokens else ())
        ]

    def _behind_door(self, handler: Handler, plural: str) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            self._door.admit(request)
            try:
                ref = fit_reference(request.path_params["ref"])
            except ValueError as error:
                raise Problem(HTTPStatus.NOT_FOUND, f"no file: {error}") from None
            return await handler(request, FileRef(KINDS[plural], ref))

        return endpoint

    async def register(self, request: Request, file: FileRef) -> Response:
        """An own write begins; it is committed when this answers, so MLM may be called."""
        body = await read_as(request, Registration)
        own_write_id = await in_thread(
            partial(self._desk.settle, lambda conn: own_writes.register(conn, self._desk.rules, file, body.capture))
        )
        return _json({"id": own_write_id}, HTTPStatus.CREATED)

    async def exit(self, request: Request, file: FileRef) -> Response:
        """An own write has ended, well or badly."""
        body = await read_as(request, Exit)
        return await self._exit(file, request.path_params["id"], body.ok, HTTPStatus.OK)

    async def capture_mark(self, request: Request, file: FileRef) -> Response:
        """After a write: the good exit of one that was registered, or the short form."""
        body = await read_as(request, CaptureMark)
        if body.own_write is not None:
            if body.since is not None:
                raise Problem(422, "either own_write or since, not both", field="since")
            return await self._exit(file, body.own_write, True, HTTPStatus.ACCEPTED)
        rules, since = self._desk.rules, body.since
        exited = await in_thread(
            partial(self._desk.order, lambda conn: own_writes.capture_mark(conn, rules, file, since))
        )
        return _json({"outcome": exited.outcome}, HTTPStatus.ACCEPTED)

    async def seed_mark(self, request: Request, file: FileRef) -> Response:
        """After the portal created the file in MLM; makes the loan or lead if it is absent."""
        body = await read_as(request, SeedMark)
        rules, stamp_text = self._desk.rules, body.last_modified
        exited = await in_thread(
            partial(self._desk.order, lambda conn: own_writes.seed_mark(conn, rules, file, stamp_text))
        )
        return _json({"outcome": exited.outcome}, HTTPStatus.ACCEPTED)

    async def refresh(self, request: Request, file: FileRef) -> Response:
        """Order the file to be read again."""
        await read_as(request, Nothing)
        placed = await in_thread(partial(self._desk.order, lambda conn: refresh(conn, self._desk.rules, file)))
        return _json({"order": placed.number}, HTTPStatus.ACCEPTED)

    async def freshness(self, _: Request, file: FileRef) -> Response:
        """How fresh the file is, since when, and why."""
        status = await in_thread(partial(self._desk.settle, lambda conn: freshness_of(conn, self._desk.rules, file)))
        return _json(status)

    async def _exit(self, file: FileRef, own_write_id: int, ok: bool, status: HTTPStatus) -> Response:
        if own_write_id >= 2**63:
            raise UnknownOwnWrite(own_write_id)
        rules = self._desk.rules
        exited = await in_thread(
            partial(self._desk.order, lambda conn: own_writes.exit_own_write(conn, rules, file, own_write_id, ok))
        )
        return _json({"outcome": exited.outcome}, status)


def _json(content: object, status: int = HTTPStatus.OK) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")
