"""The console put together: one mount under /console for whoever composes the receiver."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from http import HTTPStatus
from importlib.resources import files

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from freshness import passwords
from freshness.errors import UnknownFile
from freshness.settings import ConsoleUser, Settings
from jobs.house import House

from ..apart import ROOT
from .acted import Acted
from .file import File
from .files import Files
from .kit import THREADS, Kit, Refused
from .overview import Overview
from .queues import Queues
from .receipts import Receipts
from .refused import RefusedDeliveries
from .replay import Replay
from .sign_in import SignIn

#: The salt of CONSOLE_PASSWORD's hash, which stays in memory: the same in all processes, so that a session is too.
_SALT = b"CONSOLE_PASSWORD"

STATIC = {
    "console.css": "text/css; charset=utf-8",
    "console.js": "text/javascript; charset=utf-8",
    "htmx-2.0.11.min.js": "text/javascript; charset=utf-8",
}

#: Nothing from anywhere else, nothing inline, in nobody's frame.
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


def users_of(settings: Settings) -> dict[str, ConsoleUser]:
    """The people of the console, by name; empty if none is configured."""
    users = {user.name: user for user in settings.console_users}
    if settings.console_password:
        users.setdefault(
            "admin", ConsoleUser("admin", "operator", passwords.hashed(settings.console_password, salt=_SALT))
        )
    return users


def console_routes(settings: Settings, caller: Callable[[Request], str]) -> tuple[BaseRoute, ...]:
    """The console, as routes for the receiver's app; none if nobody is configured, so that it answers 404.

    `caller` says which address a request came from. Connections are the console's own, and few; so is their role, if
    CONSOLE_DATABASE_URL names one. What other senders sent it can neither read nor write so: a rebuild, which lands
    it once more, is the receiver's doing.
    """
    users = users_of(settings)
    if not users:
        return ()
    own = replace(settings, database_url=settings.console_database_url or settings.database_url)
    receiving = House(settings, "web console, rebuilding", threads=1)
    return pages(House(own, "web console", threads=THREADS), receiving, users, caller)


def pages(
    house: House, receiving: House, users: Mapping[str, ConsoleUser], caller: Callable[[Request], str]
) -> tuple[BaseRoute, ...]:
    """The console's routes on this house."""
    kit = Kit(house, receiving, users, caller)
    nouns = (
        SignIn(kit),
        Overview(kit),
        Replay(kit),
        Receipts(kit),
        RefusedDeliveries(kit),
        Files(kit),
        File(kit),
        Queues(kit),
        Acted(kit),
    )
    app = Starlette(
        routes=[*(route for noun in nouns for route in noun.routes()), Route("/static/{name}", _static)],
        middleware=[Middleware(Headers)],
        exception_handlers={
            kind: _Apology(kit).answer
            for kind in (Refused, HTTPException, UnknownFile, OperationalError, InterfaceError, PoolTimeout, Exception)
        },
    )
    app.router.redirect_slashes = False
    return (Mount(ROOT, app), Route(ROOT, _to_overview))


class Headers:
    """Puts the headers on every answer. Pages are not kept by browsers or proxies."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name.decode() for name, _ in message["headers"]}
                more = HEADERS | ({} if "cache-control" in given else {"cache-control": "no-store"})
                message["headers"] = [*message["headers"], *((k.encode(), v.encode()) for k, v in more.items())]
            await send(message)

        await self.app(scope, receive, sending)


class _Apology:
    """What goes wrong, as a page. Nothing of our insides is on it, and no message of a library's: what nobody expected
    the receiver logs, by its type and place."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit

    async def answer(self, request: Request, error: Exception) -> Response:
        """The page."""
        status, said = _told(error)
        title = HTTPStatus(status).phrase
        visitor = await self._kit.visitor(request) if status < HTTPStatus.INTERNAL_SERVER_ERROR else None
        return await self._kit.page(request, "error.html", visitor, status, title=title, said=said)


def _told(error: Exception) -> tuple[int, str]:
    match error:
        case Refused():
            return error.status, error.said
        case UnknownFile():
            return 404, "We have no file with this reference."
        case HTTPException(status_code=404):
            return 404, "There is no such page."
        case HTTPException():
            return error.status_code, error.detail
        case OperationalError(orig=orig) if getattr(orig, "sqlstate", None) == "57014":
            return (
                503,
                "This took PostgreSQL too long, and was broken off. Ask for less: a shorter time, fewer filters.",
            )
        case OperationalError() | InterfaceError() | PoolTimeout():
            return 503, "PostgreSQL cannot be reached, or has no time for this page. Batches go on as SPOOL_DIR says."
        case _:
            return 500, "Something went wrong on our side. The receiver's log names the place."


async def _to_overview(_: Request) -> Response:
    return RedirectResponse(f"{ROOT}/", 303)


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in STATIC:
        raise HTTPException(404)
    content = files("console.pages").joinpath("static", name).read_bytes()
    return Response(content, media_type=STATIC[name], headers={"cache-control": "private, max-age=300"})
