"""Whether this process lives, and whether it can take a batch.

Ready means that a batch would be answered 2xx: PostgreSQL can be reached, written to, and is migrated; or there is a
spool that can be written to. While batches wait in the spool, new ones go behind them, and PostgreSQL alone is not
enough. Redis is reported and never required: its bells are rung again by the sweep.
"""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus

from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .desk import in_thread
from .spool import Spool

#: An answer to `/readyz` serves all who ask within this time: nobody can load PostgreSQL by asking.
SERVES_S = 1.0
WITHIN_S = 3.0

_CAN_TAKE_A_BATCH = """
SELECT CASE WHEN current_setting('transaction_read_only')::boolean THEN 'read only'
            WHEN to_regclass('mlm_webhook_receipts') IS NULL THEN 'not migrated'
            ELSE 'ok' END
"""


class Health:
    """The two routes. `redis` and `spool` are None where none is configured."""

    def __init__(self, engine: Engine, redis: Redis | None, spool: Spool | None = None) -> None:
        self._engine = engine
        self._redis = redis
        self._spool = spool
        self._asking = asyncio.Lock()
        self._question: asyncio.Task[str] | None = None
        self._report: dict[str, str | int] = {}
        self._until = 0.0

    def routes(self) -> list[Route]:
        """Liveness and readiness; open to all, they say nothing but words."""
        return [Route("/healthz", self.alive, methods=["GET"]), Route("/readyz", self.ready, methods=["GET"])]

    async def alive(self, _: Request) -> Response:
        """The process answers."""
        return JSONResponse({"status": "ok"})

    async def ready(self, _: Request) -> Response:
        """200 if a batch would be taken, else 503; each part by name, and how many batches wait or were set aside."""
        async with self._asking:
            if time.monotonic() >= self._until:
                spool = await in_thread(self._look_at_spool)
                self._report = {"postgresql": await self._postgresql(), "redis": await self._ask_redis(), **spool}
                self._until = time.monotonic() + SERVES_S
        goes_to_postgresql = not self._report.get("spooled")
        good = (goes_to_postgresql and self._report["postgresql"] == "ok") or self._report.get("spool") == "ok"
        status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
        headers = {} if good else {"Retry-After": "5"}
        return JSONResponse({"status": "ok" if good else "not ready", **self._report}, status, headers)

    async def _postgresql(self) -> str:
        """A PostgreSQL that takes no notice of a question is away until it answers; it is not asked another one."""
        if self._question is None:
            self._question = asyncio.create_task(in_thread(self._ask_postgresql))
        answered, _ = await asyncio.wait({self._question}, timeout=WITHIN_S)
        if not answered:
            return "away"
        question, self._question = self._question, None
        try:
            return question.result()
        except SQLAlchemyError:
            return "away"

    def _ask_postgresql(self) -> str:
        with self._engine.connect() as conn:
            return str(conn.exec_driver_sql(_CAN_TAKE_A_BATCH).scalar_one())

    def _look_at_spool(self) -> dict[str, str | int]:
        if self._spool is None:
            return {}
        try:
            depth = self._spool.depth()
        except OSError:
            return {"spool": "cannot be read"}
        said = "ok" if self._spool.is_writable() else "cannot be written to"
        return {"spool": said, "spooled": depth.waiting, "set_aside": depth.aside}

    async def _ask_redis(self) -> str:
        if self._redis is None:
            return "not configured"
        try:
            async with asyncio.timeout(1.0):
                await self._redis.ping()
        except (RedisError, OSError, TimeoutError):
            return "away"
        return "ok"
