"""The receiver put together, from parts that the caller made."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

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
from freshness.field_keys import FieldKeys
from freshness.metrics import Tally
from freshness.rules import Rules
from freshness.settings import Settings
from jobs.sentinels import sentinels_of
from jobs.tracing import Traces

from .desk import Desk
from .doors import Door
from .draining import Drain
from .events import Events
from .headers import with_headers
from .health import Health
from .hub import Hub
from .intake import Intake
from .limits import Limits
from .metrics import Gate, Metrics
from .openapi import document
from .portal import Portal
from .problems import Shield
from .reception import Reception
from .refusals import Refusals
from .senders import SENDERS, Declare
from .senders.sender import Sender
from .sending import SendersIntake, Sending
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
    senders: tuple[Declare, ...] = SENDERS,
) -> App:
    """The receiver as an ASGI app.

    `threads` requests are at the database at once, so the engine's pool should hold as many; more wait their turn.
    `redis_url` is where announcements ring; without it, or with it away, event streams look every 2 s. `more_routes`
    is where whoever composes adds what is not the receiver's own. `senders` are those that deliver beside MLM.
    `process` is what this process's counts are kept by: a name of its own.

    Raises:
        SettingError: SPOOL_DIR is set, and is no place to write to; or a sender is configured without FIELD_KEYS.
    """
    desk = Desk(engine, rules, bell, Tally(), traces or Traces())
    spool = Spool(settings.spool_dir) if settings.spool_dir else None
    told = [declare(settings) for declare in senders]
    if any(sender.proof for sender in told):
        settings.need("FIELD_KEYS")
    reception = Reception(told, FieldKeys(settings.field_keys)) if settings.field_keys else None
    intake = Intake(desk, spool)
    taking = SendersIntake(desk, spool, reception) if reception else None
    drain = Drain(spool, desk, reception) if spool else None
    refusals = Refusals(engine)
    redis = _redis(redis_url)
    hub = Hub(engine, redis)
    mlm = Door.of(settings.mlm_webhook_token, settings.mlm_webhook_networks, settings.trusted_proxies)
    portal = Door.of(settings.portal_api_token)
    gate = Gate(Door.of(settings.metrics_token, proxies=settings.trusted_proxies))
    metrics = Metrics(gate, engine, process, desk.tally, redis_url, spool)
    routes: list[BaseRoute] = [
        *Webhook(mlm, intake, settings.mlm_webhook_keys, refusals, desk).routes(),
        *(route for sender in told for route in Sending(sender, taking, mlm, refusals, desk).routes()),
        *Portal(portal, desk).routes(),
        *Events(portal, desk, hub).routes(),
        *Health(engine, redis, spool).routes(),
        *metrics.routes(),
        Route("/openapi.json", _openapi(told), methods=["GET"]),
        *more_routes,
    ]

    @contextlib.asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = threads
        async with metrics.running(), hub.running(), drain.running() if drain else contextlib.nullcontext():
            yield
        if redis is not None:
            await redis.aclose()

    limits = Limits(settings.refusals_a_minute, settings.mlm_webhook_networks, settings.trusted_proxies)
    router = Router(routes, redirect_slashes=False, lifespan=lifespan)
    return App(router, [hub.close, *([drain.stop] if drain else [])], limits)


class App:
    """The routes, shielded, every answer with its headers.

    `ending` tells what would not end by itself that the server stops: event streams, and the drain of the spool. No
    Starlette application around them: its layers took a fifth of a delivery's time here.
    """

    def __init__(self, router: Router, ending: Sequence[Callable[[], None]], limits: Limits) -> None:
        self.routes = router.routes
        self._app = Shield(router, limits.refuse)
        self._ending = ending

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the server's own begin and end."""
        scope["app"] = self  # so that the router raises what it refuses, for the shield to answer
        await self._app(scope, receive, with_headers(send) if scope["type"] == "http" else send)

    def begin_ending(self) -> None:
        """The server stops."""
        for end in self._ending:
            end()


def _openapi(senders: Sequence[Sender]) -> Callable[[Request], Awaitable[Response]]:
    async def get(_: Request) -> Response:
        return JSONResponse(document(senders))

    return get


def _redis(url: str | None) -> Redis | None:
    """A client that waits for messages without a limit, and leaves trying again to its caller."""
    if url is None:
        return None
    options: dict[str, Any] = {"socket_timeout": None, "socket_connect_timeout": 2, "retry": Retry(NoBackoff(), 0)}
    sentinels = sentinels_of(url)
    client: Redis = sentinels.primary_async(**options) if sentinels else Redis.from_url(url, **options)
    return client
