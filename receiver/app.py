"""The receiver put together, from parts that the caller made."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence

import anyio.to_thread
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from sqlalchemy import Engine
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, Router
from starlette.types import Receive, Scope, Send

from freshness.bell import Bell
from freshness.metrics import Tally
from freshness.rules import Rules
from freshness.settings import Settings
from jobs.tracing import Traces

from .desk import Desk
from .doors import Door
from .draining import Drain
from .events import Events
from .health import Health
from .hub import Hub
from .intake import Intake
from .metrics import Gate, Metrics
from .openapi import document
from .portal import Portal
from .problems import Shield
from .refusals import Refusals
from .spool import Spool
from .webhook import Webhook


def make_app(
    *,
    settings: Settings,
    rules: Rules,
    engine: Engine,
    bell: Bell,
    redis_url: str | None = None,
    threads: int = 16,
    more_routes: tuple[BaseRoute, ...] = (),
    process: str = "receiver",
    traces: Traces | None = None,
) -> App:
    """The receiver as an ASGI app.

    `threads` requests are at the database at once, so the engine's pool should hold as many; more wait their turn.
    `redis_url` is where announcements ring; without it, or with it away, event streams look every 2 s. `more_routes`
    is where whoever composes adds what is not the receiver's own. `process` is what its counts are kept by: a name of
    its own for each process.

    Raises:
        SettingError: SPOOL_DIR is set, and is no place to write to.
    """
    desk = Desk(engine, rules, bell, Tally(), traces or Traces())
    spool = Spool(settings.spool_dir) if settings.spool_dir else None
    intake = Intake(desk, spool)
    drain = Drain(spool, desk) if spool else None
    redis = _redis(redis_url)
    hub = Hub(engine, redis)
    mlm = Door.of(settings.mlm_webhook_token, settings.mlm_webhook_networks, settings.trusted_proxies)
    portal = Door.of(settings.portal_api_token)
    gate = Gate(Door.of(settings.metrics_token, proxies=settings.trusted_proxies))
    metrics = Metrics(gate, engine, process, desk.tally, redis_url, spool)
    routes: list[BaseRoute] = [
        *Webhook(mlm, intake, settings.mlm_webhook_keys, Refusals(engine), desk).routes(),
        *Portal(portal, desk).routes(),
        *Events(portal, desk, hub).routes(),
        *Health(engine, redis, spool).routes(),
        *metrics.routes(),
        Route("/openapi.json", _openapi, methods=["GET"]),
        *more_routes,
    ]

    @contextlib.asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = threads
        async with metrics.running(), hub.running(), drain.running() if drain else contextlib.nullcontext():
            yield
        if redis is not None:
            await redis.aclose()

    return App(Router(routes, redirect_slashes=False, lifespan=lifespan), [hub.close, *([drain.stop] if drain else [])])


class App:
    """The routes, shielded. `ending` tells what would not end by itself that the server stops: event streams, and the
    drain of the spool. No Starlette application around them: its layers took a fifth of a delivery's time here."""

    def __init__(self, router: Router, ending: Sequence[Callable[[], None]]) -> None:
        self.routes = router.routes
        self._app = Shield(router)
        self._ending = ending

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the server's own begin and end."""
        scope["app"] = self  # so that the router raises what it refuses, for the shield to answer
        await self._app(scope, receive, send)

    def begin_ending(self) -> None:
        """The server stops."""
        for end in self._ending:
            end()


async def _openapi(_: Request) -> Response:
    return JSONResponse(document())


def _redis(url: str | None) -> Redis | None:
    """A client that waits for messages without a limit, and leaves trying again to its caller."""
    if url is None:
        return None
    client: Redis = Redis.from_url(url, socket_timeout=None, socket_connect_timeout=2, retry=Retry(NoBackoff(), 0))
    return client
